package relay

import (
	"bytes"
	"encoding/binary"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// Offsets of the fixed header (RFC 951, RFC 2131 section 2).
const (
	offOp     = 0
	offHType  = 1
	offHLen   = 2
	offHops   = 3
	offFlags  = 10
	offCIAddr = 12
	offYIAddr = 16
	offGIAddr = 24
	offCHAddr = 28
	offSName  = 44
	offFile   = 108
	offCookie = 236
	offOption = 240
)

const cookie = 0x63825363

// view is a BOOTP message as octets.
type view []byte

func (v view) addr(at int) packet.Addr       { return packet.Addr(binary.BigEndian.Uint32(v[at:])) }
func (v view) setAddr(at int, a packet.Addr) { binary.BigEndian.PutUint32(v[at:], uint32(a)) }
func (v view) broadcast() bool               { return binary.BigEndian.Uint16(v[offFlags:])&dhcp.BroadcastFlag != 0 }

// mac is the client's hardware address, where it is an Ethernet one that one host may have; otherwise false.
func (v view) mac() (packet.MAC, bool) {
	m := packet.MAC(v[offCHAddr : offCHAddr+6])
	return m, v[offHType] == dhcp.Ethernet && v[offHLen] == 6 && !m.IsGroup() && !m.IsZero()
}

// span is an option in a message, from its code to behind its value.
type span struct{ from, to int }

// layout is where in a message options stand that a relay agent has to know of.
type layout struct {
	options bool   // there is a magic cookie
	end     int    // where the end option stands, or the message ends
	kind    byte   // option 53; 0: none
	agent   []span // option 82, in all its parts (RFC 3396), in the order in which they are to be read
	inField bool   // a part stands in `file` or `sname` (option 52)
}

// layoutOf walks over the options. It reports false for one that is longer than what is there.
func layoutOf(v view) (layout, bool) {
	l := layout{end: len(v)}
	if len(v) < offOption || binary.BigEndian.Uint32(v[offCookie:]) != cookie {
		return l, true
	}
	l.options = true
	var overload byte
	end, ok := walk(v, offOption, len(v), func(s span) {
		switch value := v[s.from+2 : s.to]; v[s.from] {
		case dhcp.OptionRelayAgent:
			l.agent = append(l.agent, s)
		case dhcp.OptionMessageType:
			if len(value) == 1 {
				l.kind = value[0]
			}
		case dhcp.OptionOverload:
			if len(value) == 1 {
				overload = value[0]
			}
		}
	})
	l.end = end
	field := func(from, to int) bool {
		_, ok := walk(v, from, to, func(s span) {
			if v[s.from] == dhcp.OptionRelayAgent {
				l.agent, l.inField = append(l.agent, s), true
			}
		})
		return ok
	}
	if ok && overload&1 != 0 {
		ok = field(offFile, offCookie)
	}
	if ok && overload&2 != 0 {
		ok = field(offSName, offFile)
	}
	return l, ok
}

// walk calls visit with each option between from and to, up to the end option, and tells where that is.
func walk(v view, from, to int, visit func(span)) (end int, ok bool) {
	for at := from; at < to; {
		switch {
		case v[at] == 0: // padding
			at++
			continue
		case v[at] == dhcp.OptionEnd:
			return at, true
		case at+1 >= to || at+2+int(v[at+1]) > to:
			return to, false
		}
		s := span{at, at + 2 + int(v[at+1])}
		visit(s)
		at = s.to
	}
	return to, true
}

// agentInformation is the value of option 82, its parts joined; nil when there is none.
func (l *layout) agentInformation(v view) []byte {
	var out []byte
	for _, s := range l.agent {
		out = append(out, v[s.from+2:s.to]...)
	}
	return out
}

// appendWith copies a message behind b and puts option 82 before its end option, so that it is the last (RFC 3046 section 2.1). What stands behind the
// end stays.
func (l *layout) appendWith(b []byte, v view, value []byte) []byte {
	b = append(b, v[:l.end]...)
	b = append(b, dhcp.OptionRelayAgent, byte(len(value)))
	b = append(b, value...)
	if l.end == len(v) {
		return append(b, dhcp.OptionEnd)
	}
	return append(b, v[l.end:]...)
}

// appendWithout copies a message behind b without option 82. What then is shorter than a BOOTP message is padded, as some clients demand; within `file` and `sname`,
// whose length is fixed, padding takes the option's place.
func (l *layout) appendWithout(b []byte, v view) []byte {
	start, from := len(b), 0
	for _, s := range l.agent {
		if s.from >= offOption {
			b = append(b, v[from:s.from]...)
			from = s.to
		}
	}
	b = append(b, v[from:]...)
	for _, s := range l.agent {
		if s.from < offOption {
			clear(b[start+s.from : start+s.to])
		}
	}
	if short := dhcp.MinLen - (len(b) - start); len(l.agent) > 0 && short > 0 {
		b = append(b, bytes.Repeat([]byte{0}, min(short, len(v)-(len(b)-start)))...)
	}
	return b
}
