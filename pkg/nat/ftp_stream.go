package nat

import (
	"bytes"
	"encoding/binary"
)

// ftpStream is what one side of a control connection says, as its sender counts the octets and as its receiver does. The two
// differ by the edits: places where the receiver gets another text. An edit is remembered until the receiver has acknowledged it; from then
// on only its part in the shift counts. (What is sent again from before that lies below everything that the receiver waits for, and is ignored
// by it.)
//
// Octet i of an edit stands for octet i of the new text, as far as that goes, and the last one for all the rest. So however TCP
// cuts the stream when it sends again, the pieces fit together.
type ftpStream struct {
	known  bool
	atLine bool      // next is the beginning of a line, of which nothing has passed
	first  uint32    // the first octet
	next   uint32    // behind the last octet that has passed
	shift  uint32    // what the edits before all those in edits add to a sequence number
	edits  []ftpEdit // in order, not yet acknowledged
}

// ftpEdit is a place where the receiver gets another text.
type ftpEdit struct {
	at  uint32 // as the sender counts
	old int    // octets of the sender's text; at least 1
	new []byte // at least 1
}

// How many edits may wait for their acknowledgement (FTP waits for a reply after each command, so that one is usual), and how
// far from where it is expected a segment may lie and still teach something.
const (
	ftpEdits = 8
	ftpFar   = 1 << 20
)

// begin starts a stream, with a line if its first octet is known.
func (s *ftpStream) begin(first uint32, line bool) {
	*s = ftpStream{known: true, atLine: line, first: first, next: first}
}

// fresh is the part of a segment that has not passed before, and where it begins; after this it has. It is not ordered if something before it is
// missing: then nothing can be said of its lines, only where the next one begins.
func (s *ftpStream) fresh(first uint32, payload []byte) (fresh []byte, at uint32, ordered bool) {
	ahead := int32(first - s.next)
	if ahead > ftpFar || ahead < -ftpFar {
		return nil, 0, false
	}
	end := first + uint32(len(payload))
	if int32(end-s.next) <= 0 {
		return nil, 0, true
	}
	if ahead > 0 {
		s.next, s.atLine = end, payload[len(payload)-1] == '\n'
		return nil, 0, false
	}
	at, s.next = s.next, end
	return payload[-ahead:], at, true
}

// edit replaces octets of which none has passed before the present segment.
func (s *ftpStream) edit(at uint32, old int, text []byte) {
	s.edits = append(s.edits, ftpEdit{at, old, text})
}

// rewrite is a piece of the sender's stream as the receiver is to get it; payload itself where nothing is edited.
func (s *ftpStream) rewrite(first uint32, payload []byte) []byte {
	var out []byte
	done := 0
	for _, e := range s.edits {
		from := int(int32(e.at - first))
		to := from + e.old
		if to <= 0 || from >= len(payload) {
			continue
		}
		text := e.new
		if to > len(payload) {
			text = text[:min(len(payload)-from, len(text))]
		}
		text = text[min(max(-from, 0), len(text)):]
		out = append(out, payload[done:max(from, 0)]...)
		out = append(out, text...)
		done = min(to, len(payload))
	}
	if done == 0 {
		return payload
	}
	return append(out, payload[done:]...)
}

// forward is a sequence number of the sender as the receiver counts.
func (s *ftpStream) forward(seq uint32) uint32 {
	shift := s.shift
	for _, e := range s.edits {
		in := int32(seq - e.at)
		if in <= 0 {
			break
		}
		if int(in) < e.old {
			return e.at + shift + uint32(min(int(in), len(e.new)))
		}
		shift += uint32(len(e.new) - e.old)
	}
	return seq + shift
}

// back is a number of the receiver as the sender counts. Inside of an edit, that is the last octet up to which the receiver
// has everything, or with up the first from which on it has.
func (s *ftpStream) back(seq uint32, up bool) uint32 {
	shift := s.shift
	for _, e := range s.edits {
		in := int32(seq - e.at - shift)
		if in <= 0 {
			break
		}
		if int(in) < len(e.new) {
			if up {
				return e.at + uint32(min(int(in), e.old))
			}
			return e.at + uint32(min(int(in), e.old-1))
		}
		shift += uint32(len(e.new) - e.old)
	}
	return seq - shift
}

// still reports that numbers of both sides are the same.
func (s *ftpStream) still() bool { return s.shift == 0 && len(s.edits) == 0 }

// settle forgets the edits that the receiver has acknowledged.
func (s *ftpStream) settle(ack uint32) {
	if int32(ack-s.forward(s.next)) > 1 { // beyond what was sent, FIN included: no such acknowledgement
		return
	}
	for len(s.edits) > 0 {
		e := s.edits[0]
		if int32(ack-e.at-s.shift) < int32(len(e.new)) {
			return
		}
		s.shift += uint32(len(e.new) - e.old)
		s.edits = s.edits[1:]
	}
	s.edits = nil
}

// moveSACK moves the blocks of a SACK option (RFC 2018) to the sender's numbers. An option with a block of which nothing
// is left, because it lies inside an edit, is taken out: SACK is advice.
func (s *ftpStream) moveSACK(options []byte) {
	const end, none, sack = 0, 1, 5
	for len(options) > 0 && options[0] != end {
		if options[0] == none {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			return
		}
		option := options[:options[1]]
		options = options[len(option):]
		if option[0] != sack || (len(option)-2)%8 != 0 {
			continue
		}
		for b := option[2:]; len(b) > 0; b = b[8:] {
			left, right := s.back(binary.BigEndian.Uint32(b), true), s.back(binary.BigEndian.Uint32(b[4:]), false)
			if int32(right-left) <= 0 {
				copy(option, bytes.Repeat([]byte{none}, len(option)))
				break
			}
			binary.BigEndian.PutUint32(b, left)
			binary.BigEndian.PutUint32(b[4:], right)
		}
	}
}
