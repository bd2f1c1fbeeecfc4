package dns

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// negativeCap bounds how long it is kept that there is nothing (RFC 2308 section 5).
const negativeCap = 3 * time.Hour

// reply takes a message that came to the socket of an ask.
func (m *Machine) reply(ev Reply) {
	a := m.asks[ev.Ask]
	if a == nil {
		m.count.Refused[ReasonReplyUnknown]++
		return
	}
	if why := a.wrongReply(ev); why != ReasonNone {
		m.disbelieve(a, why)
		return
	}
	m.answered(a)
	f := a.flight
	if f == nil {
		m.end(a)
		return
	}
	flags := get16(ev.Payload, atFlags)
	if flags&flagTruncated != 0 && !a.stream {
		m.again(a, true, a.plain)
		return
	}
	e, ttl, code, why := m.accept(f, a, ev.Payload)
	if why == ReasonNone {
		a.server.refusals = 0
		if a.plain && a.retried {
			a.server.plain = m.now + plainTime // RFC 6891 section 6.2.2
		}
		m.end(a)
		m.finish(f, e, ttl)
		return
	}
	m.count.Refused[why]++
	if why == ReasonReplyRebind {
		e = bareEntry(f.name, f.qtype, f.bits, codeRefused)
		m.end(a)
		m.finish(f, e, failureTTL)
		return
	}
	a.server.failures++
	if !a.plain && (code == codeFormat || code == codeNotImplemented || code == codeVersion) { // it may not know EDNS
		m.again(a, a.stream, true)
		return
	}
	if code == codeRefused || code == codeNotImplemented {
		a.server.refusals++
	}
	if f.code = codeFailure; code == codeRefused || code == codeNotImplemented {
		f.code = code
	}
	m.failAsk(a)
}

// wrongReply looks whether a message is the answer to an ask (RFC 5452 section 9.1). Errors may lack the question.
func (a *ask) wrongReply(ev Reply) Reason {
	b := ev.Payload
	if from := ev.From; from.Addr().Unmap() != a.server.addr.Addr() || from.Port() != a.server.addr.Port() {
		return ReasonReplyServer
	}
	if len(b) < headerLen {
		return ReasonReplyShort
	}
	flags := get16(b, atFlags)
	switch {
	case get16(b, atID) != a.number:
		return ReasonReplyID
	case flags&flagResponse == 0:
		return ReasonReplyNoResponse
	case flags&maskOpcode != 0:
		return ReasonReplyOpcode
	case a.flight == nil:
		return ReasonNone
	}
	f := a.flight
	if get16(b, atQuestions) == 0 && len(b) == headerLen && flags&maskCode != codeSuccess && flags&maskCode != codeNoName {
		return ReasonNone
	}
	tail := headerLen + len(f.name)
	if get16(b, atQuestions) != 1 || len(b) < tail+questionTail || !sameName(b[headerLen:tail], f.name) ||
		get16(b, tail) != f.qtype || get16(b, tail+2) != classIN {
		return ReasonReplyQuestion
	}
	return ReasonNone
}

// disbelieve counts a wrong reply. Where there are too many to one ask somebody may be guessing its number: it is asked again in a way in
// which guessing is of no use.
func (m *Machine) disbelieve(a *ask, why Reason) {
	m.count.Refused[why]++
	a.wrong++
	switch {
	case a.stream:
		a.server.failures++
		m.failAsk(a)
	case a.wrong >= wrongLimit:
		m.count.Refused[ReasonReplyGuessed]++
		if a.flight == nil {
			m.end(a)
			return
		}
		m.again(a, true, a.plain)
	}
}

// again asks the same server once more, in another way.
func (m *Machine) again(a *ask, stream, plain bool) {
	f := a.flight
	m.end(a)
	if f.sent >= maxSent || f.until <= m.now {
		f.failed = append(f.failed, a.server)
		m.try(f)
		return
	}
	m.send(f, a.server, stream, plain).retried = true
}

// accept makes an answer of a reply that is believed, and says how long it may be kept; or why it is none.
func (m *Machine) accept(f *flight, a *ask, payload []byte) (e *entry, ttl time.Duration, code int, why Reason) {
	code = int(get16(payload, atFlags) & maskCode)
	if get16(payload, atQuestions) == 0 {
		return nil, 0, code, ReasonReplyFailure
	}
	start := headerLen + len(f.name) + questionTail
	wire := slices.Clone(payload)
	e, ok := newEntry(wire, start, f.qtype, f.bits)
	if !ok {
		return nil, 0, code, ReasonReplyMalformed
	}
	answers, authority := int(get16(wire, atAnswers)), int(get16(wire, atAuthority))
	keep, at, life := len(e.ttls), start, m.cfg.MaxTTL
	has, private, referral, negative := false, false, false, time.Duration(-1)
	for i := range e.ttls {
		r, _ := readRecord(wire, at, nil)
		if r.rtype == typeOPT {
			if i < answers+authority || wire[r.at] != 0 {
				return nil, 0, code, ReasonReplyMalformed
			}
			code |= int(wire[r.ttlAt]) << 4
			keep, e.wire = i, wire[:r.at:r.at] // what may stand behind it is only additional
			break
		}
		if !soundData(wire, r, e.ttls) {
			return nil, 0, code, ReasonReplyMalformed
		}
		t := time.Duration(get32(wire, r.ttlAt)) * time.Second
		if t >= 1<<31*time.Second {
			t = 0 // RFC 2181 section 8
		}
		t = max(min(t, m.cfg.MaxTTL), m.cfg.MinTTL)
		switch {
		case i < answers:
			has = has || r.rtype == f.qtype || f.qtype == typeAny
		case i < answers+authority && r.rtype == typeSOA && negative < 0:
			t = max(min(t, time.Duration(get32(wire, r.end-4))*time.Second, negativeCap), m.cfg.MinTTL)
			negative = t
		case i < answers+authority && r.rtype == typeNS:
			referral = true
		}
		if i < answers+authority {
			life = min(life, t)
		}
		private = private || m.cfg.RebindProtection && isPrivate(wire, r)
		put32(wire, r.ttlAt, uint32(t/time.Second))
		at = r.end
	}
	e.ttls = e.ttls[:keep:keep]
	put16(wire, atAdditional, uint16(keep-answers-authority))
	put16(wire, atID, 0)
	flags := get16(wire, atFlags)
	put16(wire, atFlags, flagResponse|flagAvailable|flags&(flagAuthentic|maskCode))
	switch {
	case code != codeSuccess && code != codeNoName && code != dns.RcodeYXDomain:
		return nil, 0, code, ReasonReplyFailure
	case flags&flagTruncated != 0:
		return nil, 0, code, ReasonReplyMalformed
	case code == codeSuccess && answers == 0 && referral && negative < 0 && flags&flagAvailable == 0:
		return nil, 0, code, ReasonReplyReferral
	case private && !m.mayBePrivate(f):
		return nil, 0, code, ReasonReplyRebind
	}
	if (!has || code != codeSuccess) && negative < 0 {
		life = 0 // that there is nothing, and not for how long (RFC 2308 section 5)
	}
	return e, life, code, ReasonNone
}
