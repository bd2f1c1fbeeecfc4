package conntrack

import "vrouterd/internal/packet"

// Flags of a session, set when it is made.
type Flags uint8

// The flags.
const (
	SourceTranslated Flags = 1 << iota // SNAT: masquerade and its kin
	DestTranslated                     // DNAT: a forward, a mapping, 1:1
	Mapped                             // holds a reference to a mapping of package nat
	Forwarded                          // its first packet was let in by a forward or an explicit mapping
	Helped                             // its payload is looked at by a helper (FTP control)
	Liberal                            // sequence windows are not checked: picked up in the middle, or helped
	FromOutside                        // opened by a packet from outside: only replies from inside refresh it
)

// Session is one entry of the table; the pointer is borrowed, for as long as the caller stays in its
// read section. (112 octets; no pointer inside.)
type Session struct{}

// New is what a session is made of.
type New struct {
	Original, Reply Key // as packets of each direction arrive
	Flags           Flags
	In              uint16      // port number by which the original direction arrives; 0: the router itself
	Out             uint16      // by which replies arrive; 0: the router itself
	NATRule         uint16      // number of the NAT rule or forward plus 1; 0: none
	Rule            uint16      // number of the firewall rule plus 1 that let it in; 0: none
	Inside          packet.Addr // whom it counts for in the limit for each host; 0: nobody
}

// Rewrite is what NAT does to a packet of one direction. With the zero value of Changed nothing is to be done, and
// the deltas are no-ops.
//
// For an ICMP query the new identifier is SrcPort of a request (with DstPort 0) and DstPort of a reply (with SrcPort 0), as in
// a [Key]. Protocols without ports have zeros in both.
//
// # The deltas
//
// A delta is a folded ones' complement sum: of all 16-bit words that change, what they become, minus what they were
// (minus is adding the complement). HeaderDelta is over both addresses, TransportDelta over both addresses and both ports; for each
// protocol alike, also ICMP and those without ports. With fold as in packet.Fold:
//
//	finished sum (IP header; TCP, UDP):      sum' = ^fold(^sum + delta)
//	unfinished sum (virtio NEEDS_CSUM):      sum' = fold(sum + HeaderDelta)
//
// A finished sum is the complement of what it covers, so that the delta is added to its complement (RFC 1624, equation 3, for
// all words at once). The IP header takes HeaderDelta. TCP and UDP take TransportDelta, because their pseudo-header
// covers the addresses. An unfinished sum is that of the pseudo-header alone, not complemented, and whoever finishes it adds
// the ports as they are then: it takes HeaderDelta.
//
// Two cases are the caller's: a UDP sum of 0 is no sum and stays 0, and one that comes out as 0 is sent as
// 0xffff (RFC 768). An ICMP sum covers no addresses: it takes the change of the identifier alone, which is
// fold(TransportDelta + ^HeaderDelta), or packet.UpdateChecksum16 with the old and the new one.
//
// To undo a rewrite (the quoted packet of an ICMP error), add ^delta in place of delta: it is what the other direction's Rewrite holds.
type Rewrite struct {
	Changed          bool
	Src, Dst         packet.Addr // as they leave
	SrcPort, DstPort uint16
	HeaderDelta      uint16 // ones' complement: what the change of addresses adds to a sum (IP header, pseudo-header)
	TransportDelta   uint16 // that, and what the change of ports adds
}

// Update takes a packet into account: TCP state and window, timers, counters. With repeat the packet has been
// counted before (it waited for a neighbour) and only the verdict is wanted. ICMP errors never come here.
func (s *Session) Update(t *Table, now Tick, d Direction, p *Parsed, repeat bool) Reason {
	panic("not written yet")
}

// Route is the adjacency that the direction's packets are sent by, if it was stored under this generation for
// packets that arrive by port in.
func (s *Session) Route(d Direction, generation uint32, in uint16) (adjacency uint32, ok bool) {
	panic("not written yet")
}

// SetRoute stores it. Entries of the other direction under another generation are forgotten.
func (s *Session) SetRoute(d Direction, generation uint32, in uint16, adjacency uint32) {
	panic("not written yet")
}

// Rewrite is what is to be done to packets of a direction. Constant over the session's life.
func (s *Session) Rewrite(d Direction) Rewrite { panic("not written yet") }

// Key of a direction, as its packets arrive. Constant.
func (s *Session) Key(d Direction) Key { panic("not written yet") }

// Flags of the session. Constant.
func (s *Session) Flags() Flags { panic("not written yet") }

// Ports by which the two directions arrived last.
func (s *Session) Ports() (original, reply uint16) { panic("not written yet") }

// Rules are New.Rule and New.NATRule.
func (s *Session) Rules() (firewall, nat uint16) { panic("not written yet") }

// State of the session now.
func (s *Session) State() State { panic("not written yet") }
