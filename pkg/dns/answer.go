package dns

import "time"

// newEntry makes an answer of a message without OPT. It reports false if the message is not sound; what
// follows its last record is cut off. The message is kept.
func newEntry(wire []byte, at int, q uint16, b bits) (*entry, bool) {
	e := &entry{qtype: q, bits: b}
	total := int(get16(wire, atAnswers)) + int(get16(wire, atAuthority)) + int(get16(wire, atAdditional))
	if total > (len(wire)-at)/(1+recordTail) {
		return nil, false
	}
	e.ttls = make([]uint16, 0, total)
	for range total {
		r, ok := readRecord(wire, at, e.ttls)
		if !ok {
			return nil, false
		}
		e.ttls = append(e.ttls, uint16(r.ttlAt))
		at = r.end
	}
	e.wire = wire[:at:at]
	return e, true
}

// age is how many seconds an answer has been kept.
func (e *entry) age(now time.Duration) uint32 {
	if e.local != 0 {
		return 0
	}
	return uint32((now - e.born) / time.Second)
}

// appendAnswer appends the answer as one asker gets it: with its number, its flags and its spelling of the name, TTLs that
// have counted down, OPT if it had one, and no longer than it can take (RFC 2181 section 9). It allocates only where out has no room.
func (e *entry) appendAnswer(out []byte, a *asker, now time.Duration) (_ []byte, truncated bool) {
	tail := 0
	if a.edns {
		tail = optLen
	}
	if len(e.wire)+tail > a.size {
		return e.appendCut(out, a, now, a.size-tail)
	}
	start := len(out)
	out = append(out, e.wire...)
	e.finish(out[start:], a, len(e.ttls), now)
	return e.appendTail(out, start, a), false
}

// finish makes a copy of the message the asker's.
func (e *entry) finish(b []byte, a *asker, records int, now time.Duration) {
	put16(b, atID, a.id)
	flags := get16(b, atFlags) | a.flags&(flagRecursion|flagNoChecking)
	if !a.do && a.flags&flagAuthentic == 0 {
		flags &^= flagAuthentic // RFC 6840 section 5.8
	}
	put16(b, atFlags, flags)
	copy(b[headerLen:], a.raw)
	if age := e.age(now); age > 0 {
		for _, at := range e.ttls[:records] {
			if ttl := get32(b, int(at)); ttl > age {
				put32(b, int(at), ttl-age)
			} else {
				put32(b, int(at), 0)
			}
		}
	}
}

// appendTail appends OPT.
func (e *entry) appendTail(out []byte, start int, a *asker) []byte {
	if a.edns {
		out = appendOPT(out, 0, a.do)
		put16(out, start+atAdditional, get16(out, start+atAdditional)+1)
	}
	return out
}

// appendCut appends as much as fits: whole sets of records. Where only additional ones are missing, the answer is not
// called truncated: nobody needs them (RFC 2181 section 9).
func (e *entry) appendCut(out []byte, a *asker, now time.Duration, room int) (_ []byte, truncated bool) {
	answers, authority := int(get16(e.wire, atAnswers)), int(get16(e.wire, atAuthority))
	at := headerLen + len(a.raw)
	end, fit := at, 0 // what is sent: up to there, so many records
	var last record
	for i := 0; at <= room; i++ {
		if i == len(e.ttls) {
			end, fit = at, i
			break
		}
		r, _ := readRecord(e.wire, at, nil)
		if i == 0 || i == answers || i == answers+authority || !sameSet(e.wire, last, r) {
			end, fit = at, i
		}
		last, at = r, r.end
	}
	start := len(out)
	out = append(out, e.wire[:end]...)
	b := out[start:]
	put16(b, atAnswers, uint16(min(fit, answers)))
	put16(b, atAuthority, uint16(min(max(fit-answers, 0), authority)))
	put16(b, atAdditional, uint16(max(fit-answers-authority, 0)))
	e.finish(b, a, fit, now)
	if truncated = fit < answers+authority; truncated {
		put16(b, atFlags, get16(b, atFlags)|flagTruncated)
	}
	return e.appendTail(out, start, a), truncated
}

// sameSet reports whether two records belong to one set: one name, type and class (RFC 2181 section 5).
func sameSet(msg []byte, a, b record) bool {
	if a.rtype != b.rtype || a.class != b.class {
		return false
	}
	var x, y [maxName]byte
	return string(appendName(x[:0], msg, a.at)) == string(appendName(y[:0], msg, b.at))
}

// appendCode appends an answer that has nothing but a response code.
func (q *question) appendCode(out []byte, code int) []byte {
	start := len(out)
	var header [headerLen]byte
	out = append(out, header[:]...)
	b := out[start:]
	put16(b, atID, q.id)
	put16(b, atFlags, flagResponse|flagAvailable|q.flags&(maskOpcode|flagRecursion|flagNoChecking)|uint16(code&maskCode))
	if q.raw != nil {
		put16(b, atQuestions, 1)
		out = append(out, q.raw...)
	}
	if q.edns {
		out = appendOPT(out, code, q.do)
		put16(out, start+atAdditional, 1)
	}
	return out
}
