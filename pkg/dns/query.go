package dns

// query answers a client's query, or sees to it that it will be.
func (m *Machine) query(ev *Query) {
	m.countQuery(ev.Stream)
	q := &m.q
	if why := q.read(ev.Payload, ev.Stream); why != ReasonNone {
		m.refuse(ev.Client, why)
		return
	}
	if e := m.hit(q.name, q.qtype, q.bits); e != nil {
		m.act(Answer{ev.Client, m.written(e, &q.asker)})
		return
	}
	e, al, why := m.here(q, ev.From.Addr().Unmap())
	switch {
	case why != ReasonNone:
		m.refuse(ev.Client, why)
	case e != nil:
		// Names that nobody has are without number: they take what room there is, and nobody's answer from upstream.
		if !e.varies() && (get16(e.wire, atAnswers) > 0 || m.cache.fits(e, m.cfg.CacheSize, m.cfg.CacheOctets)) {
			m.cache.keep(q.name, e, m.cfg.CacheSize, m.cfg.CacheOctets)
		}
		m.act(Answer{ev.Client, m.written(e, &q.asker)})
	case al != nil:
		m.askAlias(ev, q, al)
	default:
		m.cache.stats.Misses++
		m.askFor(ev, q, q.name, nil)
	}
}

// askAlias answers for a static alias of a name elsewhere, from the cache or from upstream.
func (m *Machine) askAlias(ev *Query, q *question, al *alias) {
	if e := m.hit(al.target, q.qtype, q.bits); e != nil {
		m.act(Answer{ev.Client, m.writtenAlias(e, &q.asker, al)})
		return
	}
	m.cache.stats.Misses++
	m.askFor(ev, q, al.target, al)
}

// hit is the answer that is kept for a question and still holds.
func (m *Machine) hit(name []byte, qtype uint16, b bits) *entry {
	e := m.cache.find(name, qtype, b)
	if e == nil {
		return nil
	}
	if e.local != 0 && e.local != m.names.version || e.local == 0 && m.now >= e.expires {
		m.cache.remove(e)
		return nil
	}
	m.cache.use(e)
	e.hits++
	if e.local == 0 {
		m.cache.stats.Hits++
	}
	return e
}

// written is the answer as the asker gets it, and counts it.
func (m *Machine) written(e *entry, a *asker) []byte {
	start, truncated := len(m.out), false
	m.out, truncated = e.appendAnswer(m.out, a, m.now)
	m.countAnswer(e, truncated)
	return m.out[start:len(m.out):len(m.out)]
}

// codes are what clients are told when their query is refused. Whoever is told nothing has sent something that is no query: an answer
// could go in circles.
var codes = map[Reason]int{
	ReasonOpcode: codeNotImplemented, ReasonQuestions: codeFormat, ReasonMalformed: codeFormat, ReasonVersion: codeVersion,
	ReasonClass: codeRefused, ReasonTransfer: codeRefused, ReasonType: codeFormat, ReasonNotRecursive: codeRefused, ReasonLocalOnly: codeRefused,
	ReasonNoUpstream: codeFailure, ReasonClientLimit: codeFailure, ReasonQueryLimit: codeFailure, ReasonWaitingLimit: codeFailure,
	ReasonAliasLoop: codeFailure,
}

// refuse ends the query that has been read: with a code, or without an answer.
func (m *Machine) refuse(client ClientID, why Reason) {
	m.count.Refused[why]++
	code, answered := codes[why]
	if !answered {
		m.act(Dropped{client, why})
		return
	}
	m.count.Answered[code&maskCode]++
	if code == codeFailure {
		m.count.Failed++
	}
	start := len(m.out)
	m.out = m.q.appendCode(m.out, code)
	m.act(Answer{client, m.out[start:len(m.out):len(m.out)]})
}
