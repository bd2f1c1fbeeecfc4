package nat

import (
	"encoding/binary"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Translate rewrites a whole packet for the wire behind NAT: addresses, ports or ICMP identifier, and their checksums.
// With partial the transport checksum is unfinished (virtio NEEDS_CSUM): the field holds the uncomplemented
// pseudo-header sum and takes the change of addresses only. A UDP sum of zero stays zero (RFC 768). The packet has
// passed conntrack.Parse. A super-frame is translated as the one packet that it looks like.
//
// Sums are adjusted, never computed anew (RFC 1624): what was wrong stays wrong, so that its receiver still
// sees it (RFC 3022 section 4.1). Deltas are added to the uncomplemented sum: a finished one becomes ^fold(^sum + delta),
// an unfinished one fold(sum + delta).
//
// ICMP queries have no pseudo-header; what changes in their sum follows from their identifier, and TransportDelta is not looked at.
// UDP-Lite (RFC 3828) and DCCP (RFC 4340) have a pseudo-header and keep their ports, as sessions of them have none: their sum takes the change of
// addresses. All other protocols get addresses alone: SCTP's CRC does not cover any (RFC 9260 section 6.8), and those of
// GRE, ESP and tunnels neither.
func Translate(ip packet.IPv4, r *conntrack.Rewrite, partial bool) {
	if !r.Changed {
		return
	}
	_ = ip[packet.IPv4MinLen-1]
	ip.SetChecksum(adjust(ip.Checksum(), r.HeaderDelta))
	binary.BigEndian.PutUint64(ip[12:], uint64(r.Src)<<32|uint64(r.Dst))

	at := ip.HeaderLen()
	if at+8 > len(ip) {
		return // no protocol whose sum we know is that short
	}
	t := ip[at:]
	switch ip.Protocol() {
	case packet.ProtoTCP:
		if len(t) < packet.TCPMinLen {
			return
		}
		binary.BigEndian.PutUint32(t, uint32(r.SrcPort)<<16|uint32(r.DstPort))
		sum := binary.BigEndian.Uint16(t[tcpSumAt:])
		if partial {
			sum = adjustPartial(sum, r.HeaderDelta)
		} else {
			sum = adjust(sum, r.TransportDelta)
		}
		binary.BigEndian.PutUint16(t[tcpSumAt:], sum)
	case packet.ProtoUDP:
		binary.BigEndian.PutUint32(t, uint32(r.SrcPort)<<16|uint32(r.DstPort))
		datagramSum(t, r.HeaderDelta, r.TransportDelta, partial)
	case packet.ProtoICMP:
		if !isQuery(t[0]) {
			return // an error is for TranslateError
		}
		old, id := binary.BigEndian.Uint16(t[4:]), r.SrcPort|r.DstPort // one of them is 0: see conntrack.Key
		binary.BigEndian.PutUint16(t[4:], id)
		if !partial { // an unfinished sum covers the identifier when it is finished
			binary.BigEndian.PutUint16(t[2:], packet.UpdateChecksum16(binary.BigEndian.Uint16(t[2:]), old, id))
		}
	case protoUDPLite:
		datagramSum(t, r.HeaderDelta, r.HeaderDelta, partial)
	case protoDCCP:
		sum := binary.BigEndian.Uint16(t[datagramSumAt:])
		if partial {
			sum = adjustPartial(sum, r.HeaderDelta)
		} else {
			sum = adjust(sum, r.HeaderDelta)
		}
		binary.BigEndian.PutUint16(t[datagramSumAt:], sum)
	}
}

// Protocols whose sums cover the addresses, beside TCP and UDP (IANA), and where sums lie.
const (
	protoDCCP     = 33
	protoUDPLite  = 136
	tcpSumAt      = 16
	datagramSumAt = 6 // UDP, UDP-Lite and DCCP
)

// datagramSum adjusts a sum in which zero means that there is none, and whose zero is written as all ones (RFC 768, 3828 section 3.1).
func datagramSum(t []byte, header, transport uint16, partial bool) {
	sum := binary.BigEndian.Uint16(t[datagramSumAt:])
	switch {
	case partial:
		sum = adjustPartial(sum, header)
	case sum == 0:
		return
	default:
		if sum = adjust(sum, transport); sum == 0 {
			sum = 0xffff
		}
	}
	binary.BigEndian.PutUint16(t[datagramSumAt:], sum)
}

// adjust is a finished sum after what it covers has changed by delta (RFC 1624 equation 3).
func adjust(sum, delta uint16) uint16 { return ^adjustPartial(^sum, delta) }

// adjustPartial is an uncomplemented sum after what it covers has changed by delta.
func adjustPartial(sum, delta uint16) uint16 {
	s := uint32(sum) + uint32(delta)
	return uint16(s + s>>16)
}

// isQuery reports the ICMP messages that have an identifier: echo, timestamp, information and address mask, and their
// answers (RFC 792, 950).
func isQuery(icmpType uint8) bool {
	const queries = 1<<0 | 1<<8 | 1<<13 | 1<<14 | 1<<15 | 1<<16 | 1<<17 | 1<<18
	return icmpType < 32 && uint32(queries)>>icmpType&1 != 0
}
