package dataplane

import (
	"encoding/binary"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// What the stateful stages ask the control plane for: resets, log lines, the work of helpers.

// logOctets is how much of a packet a log line gets to see.
const logOctets = 128

// logged tells the control plane of a packet that a rule wants logged. Rules hold their own rate; what is lost on the
// way is counted.
func (w *worker) logged(p *work, out uint16, v firewall.Verdict, access bool) {
	to := Punt{
		Reason: PuntLogged, Port: p.in, Egress: PortID(out), Own: p.own,
		Rule: int32(v.Rule), Pair: int32(v.Pair), ID: v.ID, Action: v.Action, Access: access,
	}
	ip := p.ip()
	n := min(len(ip), logOctets)
	to.Packet = append(make([]byte, 0, n), ip[:n]...)
	if !w.queueOf(p.in).push(to) {
		w.counters.logsLost.Add(1)
		return
	}
	w.counters.punts[PuntLogged].Add(1)
	w.d.Ring()
}

// reset drops a TCP segment whose sender is to get a reset, and asks the control plane to send it.
func (w *worker) reset(p *work, why DropReason) {
	w.drop(p, why)
	if w.flow.parsed.Flags&packet.TCPRst == 0 && w.errorAllowed(p) {
		w.puntError(p, Punt{Reason: PuntReset, Drop: why})
	}
}

// TCPReset builds the reset for a punt of reason PuntReset: from the one whom the segment was for, to the
// one who sent it, with the numbers that RFC 9293 section 3.10.7.1 gives a closed connection. It returns nil when the quoted
// packet is no TCP segment, or itself a reset. Send it with [Injector.Output].
func TCPReset(p *Punt) []byte {
	quoted := packet.IPv4(p.Packet)
	if len(quoted) < packet.IPv4MinLen || quoted.Protocol() != packet.ProtoTCP || quoted.IsFragment() || len(quoted) < quoted.HeaderLen()+packet.TCPMinLen {
		return nil
	}
	segment := packet.TCP(quoted.Payload())
	flags := segment.Flags()
	if flags&packet.TCPRst != 0 || segment.HeaderLen() < packet.TCPMinLen {
		return nil
	}
	const n = packet.IPv4MinLen + packet.TCPMinLen
	out := packet.IPv4(make([]byte, n))
	out[0] = 4<<4 | packet.IPv4MinLen/4
	out.SetTotalLen(n)
	out.SetFlagsFragment(packet.FlagDF)
	out.SetTTL(64)
	out.SetProtocol(packet.ProtoTCP)
	out.SetSrc(quoted.Dst())
	out.SetDst(quoted.Src())
	out.UpdateHeaderChecksum()

	t := packet.TCP(out.Payload())
	binary.BigEndian.PutUint16(t, segment.DstPort())
	binary.BigEndian.PutUint16(t[2:], segment.SrcPort())
	t[12] = packet.TCPMinLen / 4 << 4
	if flags&packet.TCPAck != 0 {
		t.SetSeq(segment.Ack())
		t.SetFlags(packet.TCPRst)
	} else {
		// The quote may be cut short: its header tells how long the segment was.
		length := max(0, quoted.TotalLen()-quoted.HeaderLen()-segment.HeaderLen())
		if flags&packet.TCPSyn != 0 {
			length++
		}
		if flags&packet.TCPFin != 0 {
			length++
		}
		binary.BigEndian.PutUint32(t[8:], segment.Seq()+uint32(length))
		t.SetFlags(packet.TCPRst | packet.TCPAck)
	}
	t.SetChecksum(^packet.Fold(packet.Sum(t, packet.PseudoHeaderSum(out.Src(), out.Dst(), packet.ProtoTCP, packet.TCPMinLen))))
	return out
}

// help hands a packet of a helped session to the control plane, un-translated, unless it comes from there.
func (w *worker) help(p *work) bool {
	if p.helped {
		return false
	}
	w.punt(p, Punt{Reason: PuntHelper})
	return true
}

// ForwardHelped lets a packet go on that a helper has looked at (PuntHelper). It is un-translated still, and may have
// another length than it came with; its checksums are right.
func (i Injector) ForwardHelped(punt *Punt) {
	w := i.w
	w.begin()
	defer w.end()
	p := w.loadPunt(punt)
	if fault := p.ip().Validate(); fault != packet.HeaderGood {
		w.drop(p, headerFaults[fault])
		return
	}
	p.end = headroom + p.ip().TotalLen()
	if hl := p.ip().HeaderLen(); hl > packet.IPv4MinLen {
		p.opts, _ = parseOptions(p.ip().Header())
	}
	p.repeat, p.helped = true, true
	w.ip4Forward(p)
}

// Opened reports whether inside has opened the connection of a held SYN (PuntHeldSYN) in the meantime: then it was
// the first half of a simultaneous opening, and no error is sent (RFC 5382 REQ-4).
func (i Injector) Opened(punt *Punt) bool {
	w := i.w
	w.begin()
	defer w.end()
	st := w.tables.Stateful
	if st == nil || st.Sessions == nil {
		return false
	}
	w.readTick()
	conntrack.Parse(punt.Packet, &w.flow.parsed)
	if w.flow.parsed.Class != conntrack.ClassOpens {
		return false
	}
	s, _ := st.Sessions.Find(w.now, &w.flow.parsed.Key)
	return s != nil
}

// sessionDrop is the drop reason that stands for a reason of package conntrack.
func sessionDrop(r conntrack.Reason) DropReason {
	if r == conntrack.ReasonNone || r >= conntrack.NumReasons {
		return DropSessionNone
	}
	return DropSessionTruncated + DropReason(r-conntrack.ReasonTruncated)
}

// natDrop is the drop reason that stands for a reason of package nat.
func natDrop(r nat.Reason) DropReason {
	if r == nat.ReasonNone || r >= nat.ReasonTaken { // those concern mappings that somebody asks for by name
		return DropNATNoPorts
	}
	return DropNATNoAddress + DropReason(r-nat.ReasonNoAddress)
}
