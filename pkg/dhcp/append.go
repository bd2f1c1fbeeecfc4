package dhcp

import (
	"encoding/binary"
	"slices"
)

const cookie = 0x63825363 // RFC 2131 section 3

// Append writes the message behind b, however long it becomes. The message type stands first, then what Order says, then the others by code, and the relay
// agent's information last (RFC 3046 section 2.1); long options are split (RFC 3396). A message shorter than MinLen is padded.
func (m *Message) Append(b []byte) []byte {
	b, _ = m.AppendWithin(b, 1<<20)
	return b
}

// AppendWithin is Append for a receiver that takes size octets, at least MinLen: a datagram's without the headers of IP and UDP. What does not fit into the field
// `options` goes, whole, into `file` and `sname` where these are empty (option 52); what fits nowhere is left out, and told of.
func (m *Message) AppendWithin(b []byte, size int) (message []byte, left []uint8) {
	start := len(b)
	b = append(b, m.Op, m.HType, m.HLen, m.Hops)
	b = binary.BigEndian.AppendUint32(b, m.XID)
	b = binary.BigEndian.AppendUint16(b, m.Secs)
	b = binary.BigEndian.AppendUint16(b, m.Flags)
	b = binary.BigEndian.AppendUint32(b, uint32(m.CIAddr))
	b = binary.BigEndian.AppendUint32(b, uint32(m.YIAddr))
	b = binary.BigEndian.AppendUint32(b, uint32(m.SIAddr))
	b = binary.BigEndian.AppendUint32(b, uint32(m.GIAddr))
	b = append(b, m.CHAddr[:]...)
	b = append(b, make([]byte, 64+128)...)
	copy(b[start+44:start+107], m.SName)
	copy(b[start+108:start+235], m.File)
	b = binary.BigEndian.AppendUint32(b, cookie)

	var codes [256]uint8
	order := m.order(codes[:0], m.Order)
	room := max(size, MinLen) - headerLen - 1
	if m.wireLen(order) > room {
		order = m.order(codes[:0], slices.Concat(indispensable, m.Order))
		b, left = m.overload52(b, start, order, room)
	} else {
		for _, code := range order {
			b = appendOption(b, code, m.Options[code])
		}
	}
	b = append(b, OptionEnd)
	for len(b)-start < MinLen {
		b = append(b, 0)
	}
	return b, left
}

// indispensable are the options without which a message is of no use to its receiver (RFC 2131 table 3, RFC 6842): where not all fit, they do.
var indispensable = []uint8{OptionServerID, OptionLeaseTime, OptionSubnetMask, OptionRenewalTime, OptionRebindingTime, OptionClientID}

// order is the order of the options that the message has: the message type, then first, then the others.
func (m *Message) order(codes, first []uint8) []uint8 {
	var has [256]bool
	for code := range m.Options {
		has[code] = true
	}
	agent := has[OptionRelayAgent]
	has[0], has[OptionEnd], has[OptionOverload], has[OptionRelayAgent] = false, false, false, false
	add := func(code uint8) {
		if has[code] {
			has[code] = false
			codes = append(codes, code)
		}
	}
	add(OptionMessageType)
	for _, code := range first {
		add(code)
	}
	for code := range has {
		add(uint8(code))
	}
	if agent {
		codes = append(codes, OptionRelayAgent)
	}
	return codes
}

func (m *Message) wireLen(codes []uint8) (n int) {
	for _, code := range codes {
		n += optionLen(m.Options[code])
	}
	return n
}

// optionLen is how many octets an option takes, with the headers of its parts.
func optionLen(v []byte) int { return len(v) + 2*max((len(v)+254)/255, 1) }

// overload52 writes options into the field of that name, as far as room goes, and into `file` and `sname`. The relay agent's
// information has its room first: a relay must find it in the field `options`.
func (m *Message) overload52(b []byte, start int, order []uint8, room int) (message []byte, left []uint8) {
	agent, hasAgent := m.Options[OptionRelayAgent]
	if n := optionLen(agent); hasAgent && n <= room-6 {
		room -= n
	} else if hasAgent {
		hasAgent, left = false, append(left, OptionRelayAgent)
	}
	var inFile, inSName []byte
	option52 := -1
	for _, code := range order {
		v := m.Options[code]
		switch n := optionLen(v); {
		case code == OptionRelayAgent:
		case n <= room:
			b, room = appendOption(b, code, v), room-n
		case m.File == "" && len(inFile)+n < 128:
			inFile = appendOption(inFile, code, v)
		case m.SName == "" && len(inSName)+n < 64:
			inSName = appendOption(inSName, code, v)
		default:
			left = append(left, code)
		}
		if option52 < 0 { // behind the message type
			option52 = len(b)
			b, room = append(b, 0, 0, 0), room-3
		}
	}
	var fields byte
	if inFile != nil {
		fields |= 1
		copy(b[start+108:], append(inFile, OptionEnd))
	}
	if inSName != nil {
		fields |= 2
		copy(b[start+44:], append(inSName, OptionEnd))
	}
	if fields != 0 {
		copy(b[option52:], []byte{OptionOverload, 1, fields})
	}
	if hasAgent {
		b = appendOption(b, OptionRelayAgent, agent)
	}
	return b, left
}

// appendOption writes an option in as many parts as it needs (RFC 3396).
func appendOption(b []byte, code uint8, v []byte) []byte {
	for {
		n := min(len(v), 255)
		b = append(append(b, code, byte(n)), v[:n]...)
		if v = v[n:]; len(v) == 0 {
			return b
		}
	}
}
