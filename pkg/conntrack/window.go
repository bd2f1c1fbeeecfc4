package conntrack

import "vrouterd/internal/packet"

// Windows are followed as Guido van Rooij describes in "Real Stateful TCP Packet Filtering in IP Filter" (2000). Of each side S, with
// the other side R, the table keeps
//
//	end[S]     one past the last number that S has sent
//	limit[S]   one past the last that S may send: the greatest of what R has acknowledged plus R's window
//	window[S]  the greatest window that S has offered
//
// and a segment of S fits, if
//
//	seq <= limit[S]                                it begins in R's window (a probe of a closed window begins at its end)
//	seq + length >= end[S] - window[R]             it is no older than what R may still miss
//	ack <= end[R]                                  it acknowledges what R has sent
//	ack >= end[R] - max(window[S], 66000)          and is no older than what S may still miss
//
// A super-frame is a segment like another: only its beginning is held to the window, so that what a sender had cut into segments, and an
// interface has put together again, is never refused for its length. All comparisons are modulo 2^32.

const (
	// maxScale is the greatest shift of RFC 7323 section 2.3.
	maxScale = 14
	// guessedScale is assumed for connections whose SYN nobody saw: what common systems offer.
	guessedScale = 7
	// oldestAck is how far behind an acknowledgment may lag in any case.
	oldestAck = 66000
)

// window is a size in 16 bits: 4 of the side's scale above 12 of the size in 16ths of its units, rounded up. It is too
// great by 15 units at most, never too small.
type window uint16

// makeWindow rounds a size up.
func makeWindow(octets uint32, scale uint8) window {
	units := min((octets+1<<scale-1)>>scale, 1<<16-1)
	return window(scale)<<12 | window(units>>4)
}

// octets is the size.
func (w window) octets() uint32 { return ((uint32(w)&0xfff+1)<<4 - 1) << w.scale() }

// scale is what the side's later windows are to be shifted by.
func (w window) scale() uint8 { return uint8(w >> 12) }

// before compares sequence numbers.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// later is the greater of two.
func later(a, b uint32) uint32 {
	if before(a, b) {
		return b
	}
	return a
}

// span is the sequence space that a segment takes up: its beginning, and one past its end.
func (p *Parsed) span() (from, to uint32) {
	to = p.Seq + uint32(p.Payload)
	if p.Flags&packet.TCPSyn != 0 {
		to++
	}
	if p.Flags&packet.TCPFin != 0 {
		to++
	}
	return p.Seq, to
}

// opening starts with the SYN of the original direction. (RFC 7323 section 2.2: the window of a SYN is never scaled.)
func (s *Session) opening(w uint32, p *Parsed) uint32 {
	w = w&^(phaseMask|strayed|endedMask|offered|known(Reply)) | uint32(tcpPhase(SynSent)) | known(Original)
	scale := uint8(0)
	if p.Scale != 0 {
		w |= offered
		scale = p.Scale - 1
	}
	_, s.end[Original] = p.span()
	s.limit[Original] = p.Seq + 1 // until it is answered: see acceptable
	s.window[Original] = makeWindow(uint32(p.Window), scale)
	return w
}

// answering takes the SYN, or SYN-ACK, of the reply direction.
func (s *Session) answering(w uint32, p *Parsed) uint32 {
	scale := uint8(0)
	switch {
	case p.Scale == 0: // both offer it, or neither uses it (RFC 7323 section 1.3)
		s.window[Original] = makeWindow(min(s.window[Original].octets(), 1<<16-1), 0)
	case w&offered != 0:
		scale = p.Scale - 1
	}
	from, to := p.span()
	s.end[Reply] = to
	s.limit[Reply] = later(to, from+1+s.window[Original].octets())
	s.window[Reply] = makeWindow(uint32(p.Window), scale)
	s.limit[Original] = s.end[Original] + max(uint32(p.Window), 1)
	return w&^offered | known(Reply)
}

// pickUp starts in the middle of a connection: an established one, whose scales can only be guessed.
func (s *Session) pickUp(w uint32, p *Parsed) uint32 {
	size := max(uint32(p.Window), 1) << guessedScale
	_, to := p.span()
	s.end = [2]uint32{Original: to, Reply: p.Ack}
	s.limit = [2]uint32{Original: to + size, Reply: p.Ack + size}
	s.window = [2]window{makeWindow(size, guessedScale), makeWindow(size, guessedScale)}
	return w&^phaseMask | uint32(tcpPhase(Established)) | known(Original) | known(Reply) | uint32(Liberal)<<flagsShift
}

// near reports whether a number is one that a side may have used a while ago, or may use soon. A SYN from there is taken for an old one
// that comes late, not for a new connection.
func (s *Session) near(d Direction, number uint32) bool {
	return !before(s.limit[d], number) && !before(number, s.end[d]-max(s.window[d.Other()].octets(), oldestAck))
}

// takeOver starts anew with the SYN-ACK that answers a SYN amid a connection which the table thought alive: its host has forgotten
// it, and has taken the port again. The scale of the SYN is taken to be what it was.
func (s *Session) takeOver(w uint32, p *Parsed) uint32 {
	s.end[Original] = p.Ack
	return s.answering(w&^(endedMask|strayed)|offered, p)
}

// fits reports whether a segment lies within the windows. Both sides are known.
func (s *Session) fits(d Direction, p *Parsed) bool {
	from, to := p.span()
	o := d.Other()
	return !before(s.limit[d], from) && !before(to, s.end[d]-s.window[o].octets()) &&
		!before(s.end[o], p.Ack) && !before(p.Ack, s.end[o]-max(s.window[d].octets(), oldestAck))
}

// follow takes a segment that fits into account.
func (s *Session) follow(d Direction, p *Parsed) {
	_, to := p.span()
	s.end[d] = later(s.end[d], to)
	scale := s.window[d].scale()
	size := uint32(p.Window) << scale
	if size > s.window[d].octets() {
		s.window[d] = makeWindow(size, scale)
	}
	o := d.Other()
	s.limit[o] = later(s.limit[o], p.Ack+max(size, 1))
}

// resetFits reports whether a reset comes from where a host could send it: between the oldest number that the other side may
// still miss and the end of its window. (An end host is stricter, RFC 5961 section 3.2, but it knows what has arrived.)
func (s *Session) resetFits(d Direction, p *Parsed) bool {
	return !before(s.limit[d], p.Seq) && !before(p.Seq, s.end[d]-s.window[d.Other()].octets())
}
