package nat

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Translate rewrites a whole packet for the wire behind NAT: addresses, ports or ICMP identifier, and their checksums.
// With partial the transport checksum is unfinished (virtio NEEDS_CSUM): the field holds the uncomplemented
// pseudo-header sum and takes the change of addresses only. A UDP sum of zero stays zero (RFC 768). The packet has
// passed conntrack.Parse.
func Translate(ip packet.IPv4, r *conntrack.Rewrite, partial bool) { panic("not written yet") }

// TranslateError rewrites an ICMP error about a packet of the other direction of a session: the quoted packet gets the
// addresses and ports that its sender knows, the outer destination becomes the one whom it is for, and the outer source,
// where it is the host that the session translates, follows. All sums are adjusted, also where the quote is cut short. back is
// the session's rewrite of the direction in which the error travels. (RFC 5508 section 4.2, RFC 4884 for extensions)
func TranslateError(ip packet.IPv4, back *conntrack.Rewrite) { panic("not written yet") }
