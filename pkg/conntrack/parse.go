package conntrack

import (
	"encoding/binary"

	"vrouterd/internal/packet"
)

// Class is what a packet can be to the session table.
type Class uint8

// The classes.
const (
	ClassInvalid   Class = iota // cannot belong to any session: Parsed.Reason says why
	ClassOpens                  // may open a session: a TCP SYN, any datagram, an ICMP query
	ClassContinues              // can only belong to a session (or, for TCP with loose pick-up, to one from before our time)
	ClassError                  // an ICMP error; Key is that of the direction in which it travels (the inner packet's, reversed)
)

// Parsed is what the session table has to know of a packet. It is read once.
type Parsed struct {
	Key    Key
	Class  Class
	Reason Reason // ClassInvalid: why

	// TCP only.
	Flags    uint8
	Scale    uint8 // of a SYN: the window scale that it offers, plus 1, at most 15; 0: none (RFC 7323)
	Window   uint16
	Seq, Ack uint32
	Header   uint16 // octets of the TCP header, options included
	Payload  int    // octets behind the transport header; for a super-frame, all of them

	// ICMP only.
	ICMPType, ICMPCode uint8

	Length int // octets of the IP packet, for the counters
	Count  int // packets that it stands for: 1, or the segments of a super-frame; set by the caller
}

// IP protocols that are more than addresses to the table.
const (
	protocolICMP = 1
	protocolTCP  = 6
	protocolUDP  = 17
)

// ICMP types that package packet has no name for (RFC 792, RFC 950).
const (
	icmpInformation      = 15
	icmpInformationReply = 16
	icmpMask             = 17
	icmpMaskReply        = 18
)

// quoted is how much of a transport header an ICMP error must quote (RFC 792): ports, or an identifier.
const quoted = 8

// Parse reads a whole packet (no fragment) whose IP header is good. Whatever lies about its length is
// ClassInvalid with a named reason; nothing is read beyond ip. What of ip is beyond its total length is padding.
//
// A UDP length below what IP brought is legal: a super-frame's may be that of its first segment, and RFC 9868 puts options
// behind it. Port 0 is refused for UDP as for TCP: RFC 768 lets a datagram that wants no answer come
// from there, but it is no endpoint (RFC 6335 section 6) that answers or a mapping could name.
func Parse(ip packet.IPv4, p *Parsed) {
	*p = Parsed{Length: len(ip), Count: 1}
	if len(ip) < packet.IPv4MinLen {
		p.invalid(ReasonTruncated)
		return
	}
	header, total := ip.HeaderLen(), ip.TotalLen()
	if header < packet.IPv4MinLen || header > total || total > len(ip) || ip.IsFragment() {
		p.invalid(ReasonTruncated)
		return
	}
	p.Length = total
	p.Key.Src, p.Key.Dst, p.Key.Protocol = ip.Src(), ip.Dst(), ip.Protocol()
	body := ip[header:total]
	switch p.Key.Protocol {
	case protocolTCP:
		p.tcp(packet.TCP(body))
	case protocolUDP:
		p.udp(packet.UDP(body))
	case protocolICMP:
		p.icmp(packet.ICMP(body))
	default:
		p.Class, p.Payload = ClassOpens, len(body)
	}
}

// invalid says that a packet belongs to nothing.
func (p *Parsed) invalid(r Reason) { p.Class, p.Reason = ClassInvalid, r }

// tcp reads a segment (RFC 9293 section 3.1).
func (p *Parsed) tcp(t packet.TCP) {
	if len(t) < packet.TCPMinLen {
		p.invalid(ReasonTruncated)
		return
	}
	header := t.HeaderLen()
	if header < packet.TCPMinLen || header > len(t) {
		p.invalid(ReasonTruncated)
		return
	}
	p.Key.SrcPort, p.Key.DstPort = t.SrcPort(), t.DstPort()
	p.Flags, p.Seq, p.Ack = t.Flags(), t.Seq(), t.Ack()
	p.Window = binary.BigEndian.Uint16(t[14:])
	p.Header, p.Payload = uint16(header), len(t)-header
	if p.Key.SrcPort == 0 || p.Key.DstPort == 0 {
		p.invalid(ReasonPorts)
		return
	}
	switch p.Flags & (packet.TCPSyn | packet.TCPFin | packet.TCPRst | packet.TCPAck) {
	case packet.TCPAck, packet.TCPFin | packet.TCPAck, packet.TCPRst, packet.TCPRst | packet.TCPAck:
		p.Class = ClassContinues
	case packet.TCPSyn:
		p.Class = ClassOpens
		p.Scale = offeredScale(t[packet.TCPMinLen:header])
	case packet.TCPSyn | packet.TCPAck:
		p.Class = ClassContinues
		p.Scale = offeredScale(t[packet.TCPMinLen:header])
	default:
		p.invalid(ReasonTCPFlags)
	}
}

// offeredScale finds the window scale option of a SYN, plus 1; 0 if there is none, or if the options are broken
// before it. Shifts above 14 count as 14 (RFC 7323 section 2.3).
func offeredScale(options []byte) uint8 {
	const end, nop, windowScale = 0, 1, 3
	for len(options) > 0 {
		switch kind := options[0]; kind {
		case end:
			return 0
		case nop:
			options = options[1:]
			continue
		default:
			if len(options) < 2 {
				return 0
			}
			length := int(options[1])
			if length < 2 || length > len(options) {
				return 0
			}
			if kind == windowScale && length == 3 {
				return min(options[2], maxScale) + 1
			}
			options = options[length:]
		}
	}
	return 0
}

// udp reads a datagram (RFC 768).
func (p *Parsed) udp(u packet.UDP) {
	if len(u) < packet.UDPLen || u.Length() < packet.UDPLen || u.Length() > len(u) {
		p.invalid(ReasonTruncated)
		return
	}
	p.Key.SrcPort, p.Key.DstPort = u.SrcPort(), u.DstPort()
	if p.Key.SrcPort == 0 || p.Key.DstPort == 0 {
		p.invalid(ReasonPorts)
		return
	}
	p.Class, p.Payload = ClassOpens, len(u)-packet.UDPLen
}

// icmp reads a query, its answer, or an error. Redirects belong to no session: they speak of a link, and no
// router passes them on (RFC 1812 section 5.2.7.2).
func (p *Parsed) icmp(m packet.ICMP) {
	if len(m) < packet.ICMPLen {
		p.invalid(ReasonTruncated)
		return
	}
	p.ICMPType, p.ICMPCode, p.Payload = m.Type(), m.Code(), len(m)-packet.ICMPLen
	switch p.ICMPType {
	case packet.ICMPUnreachable, packet.ICMPSourceQuench, packet.ICMPTimeExceeded, packet.ICMPParamProblem:
		p.icmpError(m)
		return
	}
	request, length := queryOf(p.ICMPType)
	switch {
	case length == 0:
		p.invalid(ReasonICMPType)
	case len(m) < length:
		p.invalid(ReasonTruncated)
	case request == p.ICMPType:
		p.Class, p.Key.SrcPort = ClassOpens, identifier(m)
	default:
		p.Class, p.Key.DstPort = ClassContinues, identifier(m)
	}
}

// identifier of an ICMP query and of its answer.
func identifier(m packet.ICMP) uint16 { return binary.BigEndian.Uint16(m[4:]) }

// queryOf gives the request to which a type belongs, itself or the one that it answers, and the least
// length of such a message; 0: it is no query.
func queryOf(icmpType uint8) (request uint8, length int) {
	switch icmpType {
	case packet.ICMPEchoRequest, packet.ICMPEchoReply:
		return packet.ICMPEchoRequest, packet.ICMPLen
	case packet.ICMPTimestamp, packet.ICMPTimestampReply:
		return packet.ICMPTimestamp, 20
	case icmpInformation, icmpInformationReply:
		return icmpInformation, packet.ICMPLen
	case icmpMask, icmpMaskReply:
		return icmpMask, 12
	}
	return 0, 0
}

// icmpError reads the quoted packet. Its sums are checked as RFC 5508 REQ-3 asks: that of the message and that of the quoted IP
// header, not that of the quoted transport. The error must go to whom the quoted packet came from.
func (p *Parsed) icmpError(m packet.ICMP) {
	if packet.Checksum(m) != 0 {
		p.invalid(ReasonICMPChecksum)
		return
	}
	inner := packet.IPv4(m.Payload())
	if len(inner) < packet.IPv4MinLen || inner.Version() != 4 {
		p.invalid(ReasonICMPInner)
		return
	}
	header := inner.HeaderLen()
	if header < packet.IPv4MinLen || len(inner) < header+quoted || inner.TotalLen() < header+quoted ||
		inner.FragmentOffset() != 0 || packet.Checksum(inner[:header]) != 0 || inner.Src() != p.Key.Dst {
		p.invalid(ReasonICMPInner)
		return
	}
	k := Key{Src: inner.Src(), Dst: inner.Dst(), Protocol: inner.Protocol()}
	switch body := inner[header:]; k.Protocol {
	case protocolTCP, protocolUDP:
		k.SrcPort, k.DstPort = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
		if k.SrcPort == 0 || k.DstPort == 0 {
			p.invalid(ReasonICMPInner)
			return
		}
	case protocolICMP:
		request, length := queryOf(packet.ICMP(body).Type())
		switch {
		case length == 0:
			p.invalid(ReasonICMPInner)
			return
		case request == packet.ICMP(body).Type():
			k.SrcPort = identifier(packet.ICMP(body))
		default:
			k.DstPort = identifier(packet.ICMP(body))
		}
	}
	p.Class, p.Key = ClassError, k.Reverse()
}
