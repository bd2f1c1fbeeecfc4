package dataplane

import (
	"encoding/binary"

	"vrouterd/internal/packet"
)

const (
	tcpOptEnd = 0
	tcpOptNop = 1
	tcpOptMSS = 2
	// minMSS is the smallest segment that every host accepts (RFC 791, 9293 section 3.7.1).
	minMSS = 536
)

// clampMSS lowers the MSS option of a SYN to what the ports on its way carry, for
// paths on which fragmentation-needed messages are lost (RFC 4459 section 3.2).
// It works in both directions: a SYN that arrives by a clamped port is lowered as well as one that leaves.
func (w *worker) clampMSS(p *work, egress *Port) {
	limit := clampOf(egress)
	if in := int(p.in); in != 0 && in < len(w.tables.Ports) {
		if other := clampOf(&w.tables.Ports[in]); other != 0 && (limit == 0 || other < limit) {
			limit = other
		}
	}
	if limit == 0 {
		return
	}
	ip := p.ip()
	if ip.IsFragment() {
		return
	}
	segment := []byte(ip.Payload())
	if len(segment) < packet.TCPMinLen {
		return
	}
	tcp := packet.TCP(segment)
	if tcp.Flags()&packet.TCPSyn == 0 || tcp.HeaderLen() < packet.TCPMinLen || tcp.HeaderLen() > len(segment) {
		return
	}
	lowerMSS(tcp, limit, p.partial())
}

// clampOf is the largest MSS that a port lets through, or 0 for any.
func clampOf(port *Port) int {
	switch {
	case port.MSSClamp < 0:
		return max(minMSS, port.MTU-packet.IPv4MinLen-packet.TCPMinLen)
	default:
		return port.MSSClamp
	}
}

// lowerMSS changes the option in place. A checksum that is still to be completed
// covers only the pseudo-header, which does not change.
func lowerMSS(tcp packet.TCP, limit int, partial bool) {
	header := tcp[:tcp.HeaderLen()]
	for i := packet.TCPMinLen; i < len(header); {
		switch kind := header[i]; {
		case kind == tcpOptEnd:
			return
		case kind == tcpOptNop:
			i++
			continue
		case i+1 >= len(header) || header[i+1] < 2 || i+int(header[i+1]) > len(header):
			return
		case kind == tcpOptMSS && header[i+1] == 4:
			if old := binary.BigEndian.Uint16(header[i+2:]); int(old) > limit {
				setOddAligned(tcp, i+2, uint16(limit), partial)
			}
			return
		}
		i += int(header[i+1])
	}
}

// setOddAligned stores a 16-bit value at an offset that need not be even, and
// adjusts the checksum by the words that it touches.
func setOddAligned(tcp packet.TCP, at int, v uint16, partial bool) {
	from, to := at&^1, (at+3)&^1
	before := packet.Fold(packet.Sum(tcp[from:to], 0))
	binary.BigEndian.PutUint16(tcp[at:], v)
	if !partial {
		after := packet.Fold(packet.Sum(tcp[from:to], 0))
		tcp.SetChecksum(packet.UpdateChecksum16(tcp.Checksum(), before, after))
	}
}
