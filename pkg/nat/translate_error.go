package nat

import (
	"encoding/binary"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// ErrorGood reports whether an ICMP error may be translated at all (RFC 5508 REQ-3): its own sum is right, and so is that of the
// header of the packet that it quotes. The quote's transport sum is not looked at (REQ-3c): the quote may be
// cut short, or the sum unfinished when it was quoted. The outer IP header is good already.
func ErrorGood(ip packet.IPv4) bool {
	if len(ip) < packet.IPv4MinLen || ip.HeaderLen() > len(ip) {
		return false
	}
	message := ip.Payload()
	if len(message) < packet.ICMPLen || packet.Checksum(message) != 0 {
		return false
	}
	inner, _, ok := quote(message)
	return ok && packet.Checksum(inner.Header()) == 0
}

// TranslateError rewrites an ICMP error about a packet of the other direction of a session: the quoted packet gets the
// addresses and ports that its sender knows, the outer destination becomes the one whom it is for, and the outer source,
// where it is on the side that the session translates, follows. All sums are adjusted, also where the quote is cut short. back is
// the session's rewrite of the direction in which the error travels. (RFC 5508 section 4.2, RFC 4884 for extensions)
//
//   - The outer destination is the quoted source after translation (REQ-4c, REQ-7a).
//   - The outer source: where the rewrite changes the source of packets that travel as the error does, the error comes from the inside
//     of the translation, be it from the host that the session belongs to or from a router before it, and gets the
//     session's outside address (REQ-5c): nobody outside is told of an inside address. Otherwise it comes from outside, and a router
//     on the way keeps its own address, for traceroute's sake (REQ-4).
//   - Type and code are left as they are (REQ-4b, REQ-5b); so is everything behind the quoted transport header. RFC 4884 extensions begin at 128 octets of
//     quote at the earliest, and the transport header of a quote ends at 80 at the latest, so they are never in question.
//
// Sums are adjusted and not computed anew, the ICMP message's, the quoted header's and the quoted transport's where
// it is inside of the quote: each is right afterwards if and only if it was right. Of a quote with the
// fewest octets that RFC 792 allows (8), UDP's and ICMP's sums are there and TCP's is not. An unfinished quoted sum
// becomes another meaningless number; who receives it must not care (REQ-3c).
//
// A message whose quoted header is not whole is left alone; conntrack.Parse refuses such. Nothing is read or written beyond
// ip, nor beyond the end that the quoted packet's total length gives it.
func TranslateError(ip packet.IPv4, back *conntrack.Rewrite) {
	if !back.Changed || len(ip) < packet.IPv4MinLen || ip.HeaderLen() > len(ip) {
		return
	}
	message := ip.Payload()
	inner, transport, ok := quote(message)
	if !ok {
		return
	}

	// Outside of the message: the IP header.
	var outer change
	if back.Src != inner.Dst() {
		outer.put32(ip[12:], uint32(back.Src))
	}
	outer.put32(ip[16:], uint32(back.Dst))
	ip.SetChecksum(outer.finished(ip.Checksum()))

	// The quoted packet travelled the other way: what is source for back is destination here.
	var addresses change
	addresses.put32(inner[12:], uint32(back.Dst))
	addresses.put32(inner[16:], uint32(back.Src))
	sums := change{}
	sums.put16(inner[10:], addresses.finished(inner.Checksum()))

	var fields change // ports or identifier
	if inner.FragmentOffset() == 0 {
		fields = quotedTransport(inner.Protocol(), transport, back, addresses, &sums)
	}

	// The message's own sum covers every octet that was changed.
	all := change{addresses.sum + fields.sum + sums.sum}
	binary.BigEndian.PutUint16(message[2:], all.finished(binary.BigEndian.Uint16(message[2:])))
}

// quotedTransport changes ports or identifier of a quoted transport header, as far as it is there, returns that change, and notes
// what becomes of the transport sum in sums.
func quotedTransport(protocol uint8, t []byte, back *conntrack.Rewrite, addresses change, sums *change) (fields change) {
	switch protocol {
	case packet.ProtoTCP, packet.ProtoUDP:
		if len(t) < 4 {
			return fields
		}
		fields.put16(t, back.DstPort)
		fields.put16(t[2:], back.SrcPort)
		all := change{addresses.sum + fields.sum}
		if protocol == packet.ProtoTCP {
			if len(t) >= tcpSumAt+2 {
				sums.put16(t[tcpSumAt:], all.finished(binary.BigEndian.Uint16(t[tcpSumAt:])))
			}
		} else {
			all.datagram(t, sums)
		}
	case packet.ProtoICMP:
		if len(t) < 6 || !isQuery(t[0]) {
			return fields
		}
		fields.put16(t[4:], back.SrcPort|back.DstPort)
		sums.put16(t[2:], fields.finished(binary.BigEndian.Uint16(t[2:])))
	case protoUDPLite:
		addresses.datagram(t, sums)
	case protoDCCP:
		if len(t) >= datagramSumAt+2 {
			sums.put16(t[datagramSumAt:], addresses.finished(binary.BigEndian.Uint16(t[datagramSumAt:])))
		}
	}
	return fields
}

// quote is the packet that an ICMP error quotes, with the part of its transport header that is there: no more than
// its total length says, and no more than has arrived. It is false if the quoted IP header, options included, is not whole.
func quote(message []byte) (inner packet.IPv4, transport []byte, ok bool) {
	if len(message) < packet.ICMPLen+packet.IPv4MinLen {
		return nil, nil, false
	}
	inner = packet.IPv4(message[packet.ICMPLen:])
	header := inner.HeaderLen()
	if inner.Version() != 4 || header < packet.IPv4MinLen || header > len(inner) {
		return nil, nil, false
	}
	end := min(inner.TotalLen(), len(inner))
	if end < header {
		return nil, nil, false
	}
	return inner, inner[header:end], true
}

// change adds up what the writing of words changes in a sum that covers them, all at even places: new words minus old ones, in ones' complement.
type change struct{ sum uint32 }

func (c *change) put16(b []byte, v uint16) {
	c.sum += uint32(^binary.BigEndian.Uint16(b)) + uint32(v)
	binary.BigEndian.PutUint16(b, v)
}

func (c *change) put32(b []byte, v uint32) {
	c.put16(b, uint16(v>>16))
	c.put16(b[2:], uint16(v))
}

// finished is a complemented sum after the change.
func (c *change) finished(sum uint16) uint16 {
	return ^packet.Fold(uint64(^sum) + uint64(c.sum))
}

// datagram adjusts the sum of UDP and UDP-Lite, if it is there and not zero, and notes that in sums.
func (c *change) datagram(t []byte, sums *change) {
	if len(t) < datagramSumAt+2 {
		return
	}
	sum := binary.BigEndian.Uint16(t[datagramSumAt:])
	if sum == 0 {
		return
	}
	if sum = c.finished(sum); sum == 0 {
		sum = 0xffff
	}
	sums.put16(t[datagramSumAt:], sum)
}
