package conntrack

import "vrouterd/internal/packet"

// kind of a segment, as the machine sees it.
type kind uint8

const (
	kindSyn kind = iota
	kindSynAck
	kindAck
	kindAckAll // an ACK that leaves no FIN unacknowledged
	kindFin    // its FIN; the ACK that every FIN has counts behind it
	kindRst

	numKinds
)

var kindNames = [numKinds]string{"syn", "syn_ack", "ack", "ack_all", "fin", "rst"}

func (k kind) String() string { return kindNames[k] }

// kindOf a segment with legal flags.
func kindOf(flags uint8) kind {
	switch {
	case flags&packet.TCPRst != 0:
		return kindRst
	case flags&(packet.TCPSyn|packet.TCPAck) == packet.TCPSyn|packet.TCPAck:
		return kindSynAck
	case flags&packet.TCPSyn != 0:
		return kindSyn
	case flags&packet.TCPFin != 0:
		return kindFin
	}
	return kindAck
}

// step is what the machine does: a state to go to, or one of these.
type step uint8

const (
	stay   step = 0xf0 + iota // and pass
	open                      // begin (again), as if nothing had been before
	again                     // stay, and remember that the port may be about to be taken again
	refuse                    // ReasonTCPState
)

// Steps that are states.
const (
	sent2 = step(SynSent2)
	recvd = step(SynReceived)
	estab = step(Established)
	finWt = step(FinWait)
	clsWt = step(CloseWait)
	lastA = step(LastAck)
	timeW = step(TimeWait)
	reset = step(Reset)
)

// machine is the life of a connection (RFC 9293 section 3.3.2, seen from between the hosts). The first line of a state is for segments of
// the side that acts: in FinWait and CloseWait the one that ended first, in all other states the one that opened (the original
// direction). The second is for those of the other side.
//
// The bits "ended" say who acts: in FinWait and CloseWait, who has ended; in LastAck, whose FIN is not acknowledged yet; in Reset, who
// has sent it.
//
// A SYN amid a connection passes: its host has lost its memory, and the other will tell it with a challenge ACK, which it answers
// with RST (RFC 9293 section 3.5.1, RFC 5961 section 4), or it has lost its memory too and accepts.
var machine = [NumStates][2][numKinds]step{
	// syn, syn_ack, ack, ack_all, fin, rst
	SynSent: {
		{open, refuse, refuse, refuse, refuse, reset},
		{sent2, recvd, stay, stay, refuse, reset}}, // an ACK: the other side has an older connection, and is to be reset
	SynSent2: { // simultaneous open: RFC 9293 section 3.5, figure 7
		{stay, recvd, stay, stay, refuse, reset},
		{stay, recvd, stay, stay, refuse, reset}},
	SynReceived: {
		{stay, stay, estab, estab, finWt, reset},
		{stay, stay, stay, stay, finWt, reset}},
	Established: {
		{again, stay, stay, stay, finWt, reset},
		{stay, recvd, stay, stay, finWt, reset}},
	FinWait: {
		{again, recvd, stay, stay, stay, reset},
		{again, recvd, stay, clsWt, lastA, reset}},
	CloseWait: {
		{again, recvd, stay, stay, stay, reset},
		{again, recvd, stay, stay, lastA, reset}},
	LastAck: {
		{open, stay, stay, timeW, stay, reset},
		{stay, stay, stay, timeW, stay, reset}},
	TimeWait: {
		{open, refuse, stay, stay, stay, stay},
		{refuse, refuse, stay, stay, stay, stay}},
	Reset: {
		{open, stay, stay, stay, stay, stay},
		{refuse, stay, stay, stay, stay, stay}},
}

// stepFor looks a segment up.
func stepFor(state State, w uint32, d Direction, k kind) step {
	line := d
	if state == FinWait || state == CloseWait {
		line = Original
		if w&ended(d) == 0 {
			line = Reply
		}
	}
	return machine[state][line][k]
}

// segment takes a TCP segment into account. It returns the new word, whether the session has more time by it, and why the
// segment is refused. The entry is locked.
func (t *Table) segment(s *Session, w uint32, d Direction, p *Parsed) (after uint32, refreshes bool, r Reason) {
	set := t.settings.Load()
	state, k := phase(w&phaseMask).state(), kindOf(p.Flags)
	do := stepFor(state, w, d, k)
	switch {
	case do == refuse:
		return w, false, ReasonTCPState
	case k == kindRst:
		return s.reset(w, d, p, state, do, set.window)
	case k == kindSyn || k == kindSynAck:
		return t.synchronise(s, w, d, p, state, do, set)
	case w&(known(Original)|known(Reply)) != known(Original)|known(Reply):
		return w, false, ReasonNone // a stray ACK at an opening
	}
	trusting := w&(uint32(Liberal)<<flagsShift) != 0
	if !s.fits(d, p) {
		if set.window == WindowStrict && w&strayed == 0 && !trusting {
			return w, false, ReasonTCPWindow
		}
		if !trusting {
			// It passes, but it moves nothing; and it gives more time only if it comes from inside: others can make such
			// segments without seeing the connection.
			fromInside := (d == Original) == (w&(uint32(FromOutside)<<flagsShift) == 0)
			return w | strayed, state == Established && fromInside, ReasonNone
		}
	}
	if state == Reset && w&ended(d) != 0 {
		if _, to := p.span(); before(s.end[d], to) {
			// Who is said to have reset goes on sending: the reset was not its own (RFC 7857 section 2.2).
			w = setState(w&^endedMask, Established)
			state, do = Established, stepFor(Established, w, d, k)
		}
	}
	if d == Original {
		w &^= offered // it still knows its connection
	}
	s.follow(d, p)
	if k == kindFin {
		w, state = s.finish(w, d, state, do)
	}
	return s.acknowledge(w, d, p, state), true, ReasonNone
}

// setState puts a state of TCP into a word.
func setState(w uint32, s State) uint32 { return w&^phaseMask | uint32(tcpPhase(s)) }

// finish takes a FIN into account.
func (s *Session) finish(w uint32, d Direction, state State, do step) (uint32, State) {
	switch do {
	case finWt:
		w = w&^endedMask | ended(d)
	case lastA:
		if state == CloseWait { // the first FIN has been acknowledged
			w &^= endedMask
		}
		w |= ended(d)
	default:
		return w, state
	}
	return setState(w, State(do)), State(do)
}

// acknowledge takes the ACK of a segment into account, which may be what a FIN waits for.
func (s *Session) acknowledge(w uint32, d Direction, p *Parsed, state State) uint32 {
	k, o := kindAck, d.Other()
	if w&ended(o) != 0 && !before(p.Ack, s.end[o]) {
		switch state {
		case FinWait:
			k = kindAckAll
		case LastAck:
			if w &^= ended(o); w&endedMask == 0 {
				k = kindAckAll
			}
		}
	}
	if do := stepFor(state, w, d, k); do < step(NumStates) {
		return setState(w, State(do))
	}
	return w
}

// synchronise takes a SYN or SYN-ACK into account.
func (t *Table) synchronise(s *Session, w uint32, d Direction, p *Parsed, state State, do step, set *settings) (uint32, bool, Reason) {
	switch {
	case do == open:
		if state != SynSent && w&(uint32(FromOutside)<<flagsShift) != 0 && w&halfOpen == 0 {
			if !t.addHalfOpen(set) {
				return w, false, ReasonHalfOpen
			}
			w |= halfOpen
		}
		return s.opening(w, p), true, ReasonNone
	case do == sent2:
		return setState(s.answering(w, p), SynSent2), true, ReasonNone
	case do == again:
		if d == Original && !s.near(Original, p.Seq) {
			w |= offered
		}
		return w, false, ReasonNone
	case do != recvd:
		return w, false, ReasonNone
	}
	switch state {
	case SynSent:
		if !s.acceptable(p.Ack) {
			return w, false, ReasonNone // an answer to an older SYN: who opens will reset it (RFC 9293 section 3.5, figure 8)
		}
		w = s.answering(w, p)
	case SynSent2:
		if o := d.Other(); p.Ack != s.end[o] {
			return w, false, ReasonNone
		}
	default:
		if d != Reply || w&offered == 0 || s.near(Original, p.Ack) {
			return w, false, ReasonNone // one that was sent again, or comes late
		}
		w = s.takeOver(w, p)
	}
	return setState(w, SynReceived), true, ReasonNone
}

// acceptable reports whether what answers a SYN acknowledges it (RFC 9293 section 3.10.7.3); until it is
// answered, limit is one past the SYN, and end one past its data.
func (s *Session) acceptable(ack uint32) bool {
	return !before(ack, s.limit[Original]) && !before(s.end[Original], ack)
}

// reset takes a RST into account. One that does not fit is refused in every mode but WindowOff: a blind attacker
// would have to guess (RFC 5961 section 3, RFC 7857 section 2.2).
func (s *Session) reset(w uint32, d Direction, p *Parsed, state State, do step, mode WindowMode) (uint32, bool, Reason) {
	switch {
	case state == SynSent && d == Original:
		if p.Seq != s.end[Original] {
			return w, false, ReasonNone // for an older connection of the other side, not for this one
		}
	case mode == WindowOff:
	case state == SynSent && p.Flags&packet.TCPAck == 0:
		return w, false, ReasonTCPState
	case state == SynSent:
		if !s.acceptable(p.Ack) {
			return w, false, ReasonTCPWindow
		}
	case w&known(d) != 0 && !s.resetFits(d, p):
		return w, false, ReasonTCPWindow
	}
	if do != reset {
		return w, false, ReasonNone // a reset of what has ended gives it no more time
	}
	if w&known(d) != 0 {
		s.end[d] = later(s.end[d], p.Seq)
	}
	return setState(w&^endedMask|ended(d), Reset), true, ReasonNone
}
