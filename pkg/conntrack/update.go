package conntrack

import "vrouterd/internal/packet"

// Update takes a packet into account: TCP state and window, timers, counters. With repeat the packet has been
// counted before (it waited for a neighbour) and only the verdict is wanted: it was let pass then, and is, unless
// the session has ended. ICMP errors never come here. What is refused changes nothing but Table.Counts. ReasonNoSession says that the session has
// ended since it was found.
//
// # What gives a session more time
//
// Packets of both directions; but where outside has opened it (FromOutside), only those of inside (RFC 4787 REQ-6: outbound
// refresh is true; inbound refresh is true only for who was asked). A TCP connection that both sides have established is
// refreshed by both: there inside acknowledges whatever outside sends. A change of state gives a session the whole time of
// its new state, whoever caused it; otherwise resets, SYNs that were sent again in the middle, and what was refused give none. There is
// one exception: where outside knocks at a closed port, neither the reset that it gets nor its next SYN gives more time (RFC 7857 section
// 7.1), or outside would hold the mapping for as long as it likes.
func (s *Session) Update(t *Table, now Tick, d Direction, p *Parsed, repeat bool) Reason {
	if repeat {
		if s.word.Load()&alive == 0 {
			return t.refuse(ReasonNoSession)
		}
		return ReasonNone
	}
	before := s.lock()
	if before&alive == 0 {
		s.word.Store(before)
		return t.refuse(ReasonNoSession)
	}
	w, refreshes, r := before, true, ReasonNone
	switch before >> protocolShift {
	case protocolTCP:
		if before&phaseMask == uint32(tcpPhase(Established)) && before&offered == 0 &&
			p.Flags&(packet.TCPSyn|packet.TCPFin|packet.TCPRst) == 0 && s.fits(d, p) {
			s.follow(d, p) // what segment would come to, for nearly all packets
			break
		}
		w, refreshes, r = t.segment(s, w, d, p)
	case protocolICMP:
		w, r = s.query(w, d, p)
	default:
		w = answered(w, d)
	}
	if r != ReasonNone {
		s.word.Store(before)
		if r == ReasonHalfOpen {
			t.displace(now) // the SYN is going to be sent again
		}
		return t.refuse(r)
	}
	s.counts[d].add(uint32(p.Count), uint32(p.Length))
	s.seen = now
	changed := (w^before)&phaseMask != 0
	prolongs := changed || refreshes
	if w&(uint32(FromOutside)<<flagsShift) != 0 {
		if prolongs = refreshes && (d == Reply || w&phaseMask == uint32(tcpPhase(Established))); changed {
			prolongs = !knocks(before, w)
		}
	}
	if prolongs && int32(uint32(now)-s.refreshed.Load()) > 0 {
		s.refreshed.Store(uint32(now))
	}
	if state := phase(w & phaseMask); w&halfOpen != 0 && state >= tcpPhase(Established) && state <= tcpPhase(TimeWait) {
		w &^= halfOpen
		t.halfOpen.Add(-1)
	}
	s.word.Store(w)
	if w&^before&halfOpen != 0 {
		t.refile(now, s) // it opens again: with the openings, which make room
	}
	if changed {
		timeouts := &t.settings.Load().timeouts
		if timeouts[w&phaseMask] < timeouts[before&phaseMask] {
			t.refile(now, s)
		}
	}
	return ReasonNone
}

// knocks reports whether a change of state is that of a SYN which is reset before it has been answered, or of one behind a reset.
func knocks(before, after uint32) bool {
	const sent, gone = firstTCP, firstTCP + phase(Reset-SynSent)
	from, to := phase(before&phaseMask), phase(after&phaseMask)
	return from == sent && to == gone || from == gone && to == sent
}

// answered is the word of a session without a machine: its first reply is all that ever happens to it. (Of each pair of phases, the
// odd one is the replied one.)
func answered(w uint32, d Direction) uint32 { return w | uint32(d) }

// query takes an ICMP query or its answer into account: requests travel one way, answers the other, and they are of the type that opened
// the session. An identifier alone would let an echo session pass timestamps.
func (s *Session) query(w uint32, d Direction, p *Parsed) (uint32, Reason) {
	request, _ := queryOf(p.ICMPType)
	if uint32(request) != s.end[Original] || (d == Original) != (request == p.ICMPType) {
		return w, ReasonICMPType
	}
	return answered(w, d), ReasonNone
}
