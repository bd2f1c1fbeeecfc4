package dns

import "github.com/miekg/dns"

// writtenAlias is the answer for an alias: the chain that leads to the name, then what the answer for that name holds.
func (m *Machine) writtenAlias(e *entry, a *asker, al *alias) []byte {
	made, ok := m.joined(e, a, al)
	if ok {
		made.reason = e.reason
	} else {
		made = bareEntry(a.raw[:len(a.raw)-questionTail], e.qtype, e.bits, codeFailure)
		made.reason = ReasonTooLong
	}
	made.hits, made.born = e.hits, m.now
	return m.written(made, a)
}

// joined makes one message of both.
func (m *Machine) joined(e *entry, a *asker, al *alias) (*entry, bool) {
	aged := append([]byte(nil), e.wire...)
	own := asker{raw: aged[headerLen : headerLen+len(al.target)+questionTail], do: true}
	e.finish(aged, &own, len(e.ttls), m.now)
	var msg dns.Msg
	if msg.Unpack(aged) != nil {
		return nil, false
	}
	name := textName(string(a.raw[:len(a.raw)-questionTail]))
	msg.Id, msg.Compress, msg.Question[0].Name = 0, true, name
	msg.Answer = append(append([]dns.RR{}, al.chain...), msg.Answer...)
	msg.Answer[0].Header().Name = name
	wire, err := msg.Pack()
	if err != nil || len(wire) > maxMessage {
		return nil, false
	}
	return newEntry(wire, headerLen+len(a.raw), e.qtype, e.bits)
}
