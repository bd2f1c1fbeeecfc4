package dns

import (
	"container/heap"
	"slices"
	"time"
)

const (
	patience    = 3 // a question is given up after so many times Config.Timeout
	maxTries    = 3 // of one question at one server
	maxSent     = 12
	wrongLimit  = 8 // wrong replies to one question; then somebody is guessing, and it is asked by TCP
	silentTTL   = time.Second
	failureTTL  = 5 * time.Second // RFC 9520 section 3.2: at least one second, at most five minutes
	lowestPort  = 1024
	sourcePorts = 65536 - lowestPort
)

// ask is one message to one server.
type ask struct {
	id      AskID
	flight  *flight // nil: it is over, only the server's health is of interest
	server  *server
	number  uint16 // of the message
	sent    time.Duration
	due     time.Duration
	place   int // among the timers; -1: its time is over, but an answer is still welcome
	stream  bool
	plain   bool // without EDNS
	probe   bool
	wrong   int
	retried bool // by TCP or without EDNS
}

// askFor makes a query wait for an answer from upstream to a name, which is its own or that of its alias.
func (m *Machine) askFor(ev *Query, q *question, name []byte, al *alias) {
	if q.flags&flagRecursion == 0 {
		m.refuse(ev.Client, ReasonNotRecursive)
		return
	}
	_, g := m.whose(name)
	if g == nil || len(g.servers) == 0 {
		why := ReasonNoUpstream // for now: a lease may bring one
		if m.cfg.LocalOnly {
			why = ReasonLocalOnly
		}
		m.refuse(ev.Client, why)
		return
	}
	var room [maxName + 3]byte
	key := append(append(room[:0], name...), byte(q.qtype>>8), byte(q.qtype), byte(q.bits))
	f := m.flights[string(key)]
	switch {
	case f != nil && f.repeats(ev, q):
		m.refuse(ev.Client, ReasonRepeated)
		return
	case m.clients[ev.From.Addr()] >= m.cfg.MaxPerClient:
		m.refuse(ev.Client, ReasonClientLimit)
		return
	case f == nil && len(m.flights) >= m.cfg.MaxQueries:
		m.refuse(ev.Client, ReasonQueryLimit)
		return
	case f != nil && len(f.waiters) >= m.cfg.MaxWaiting:
		m.refuse(ev.Client, ReasonWaitingLimit)
		return
	}
	w := waiter{asker: q.asker, client: ev.Client, from: ev.From, alias: al}
	w.raw = slices.Clone(q.raw)
	m.clients[ev.From.Addr()]++
	if ev.Stream {
		m.streams[ev.Client]++
	}
	if f != nil {
		f.waiters = append(f.waiters, w)
		m.count.Joined++
		return
	}
	f = &flight{
		key: string(key), name: slices.Clone(name), qtype: q.qtype, bits: q.bits, group: g, waiters: []waiter{w},
		until: m.now + patience*m.cfg.Timeout, code: codeFailure, version: m.version,
	}
	m.flights[f.key] = f
	m.count.Asked++
	m.try(f)
	m.probe(f)
}

// try asks the best server that may still answer, or gives the question up if there is none and none is waited for.
func (m *Machine) try(f *flight) {
	if s := m.choose(f); s != nil {
		m.send(f, s, false, false)
		return
	}
	if slices.ContainsFunc(f.asks, func(a *ask) bool { return a.place >= 0 }) {
		return
	}
	why, ttl := ReasonUpstreamsFailed, failureTTL
	if len(f.failed) == 0 {
		why, ttl = ReasonDeadline, silentTTL
	}
	e := bareEntry(f.name, f.qtype, f.bits, f.code)
	e.reason = why
	m.finish(f, e, ttl)
}

// choose is the healthiest server that has not failed this question, is not asked it now, and has time left to answer.
func (m *Machine) choose(f *flight) (best *server) {
	if f.sent >= maxSent || f.until <= m.now {
		return nil
	}
	for _, s := range f.group.servers {
		tries, waiting := 0, false
		for _, a := range f.asks {
			if a.server == s {
				tries++
				waiting = waiting || a.place >= 0
			}
		}
		if waiting || tries >= maxTries || slices.Contains(f.failed, s) {
			continue
		}
		if best == nil || s.better(best) {
			best = s
		}
	}
	return best
}

// probe asks servers that were passed over in the background, so that it is known when they are well again.
func (m *Machine) probe(f *flight) {
	for _, s := range f.group.servers {
		if s.wantsProbe(m.now) && !slices.ContainsFunc(f.asks, func(a *ask) bool { return a.server == s }) {
			a := m.send(f, s, false, false)
			a.probe, s.probing = true, true
		}
	}
}

// send sends the question to a server, with a number and a port of its own.
func (m *Machine) send(f *flight, s *server, stream, plain bool) *ask {
	m.lastAsk++
	random := m.rng.Uint64()
	a := &ask{
		id: m.lastAsk, flight: f, server: s, number: uint16(random), sent: m.now, due: min(m.now+m.cfg.Timeout, f.until),
		stream: stream, plain: plain || m.now < s.plain && f.bits&bitDO == 0,
	}
	m.asks[a.id] = a
	f.asks = append(f.asks, a)
	f.sent++
	heap.Push(&m.timers, a)
	s.queries++
	s.open++
	s.asked, s.everAsked = m.now, true
	if stream {
		m.count.AskedTCP++
	}
	start := len(m.out)
	m.out = f.appendQuery(m.out, a)
	m.act(Ask{
		ID: a.id, Server: s.addr, Port: lowestPort + uint16((random>>32)%sourcePorts), Stream: stream,
		Payload: m.out[start:len(m.out):len(m.out)],
	})
	return a
}

// appendQuery appends the message that asks.
func (f *flight) appendQuery(out []byte, a *ask) []byte {
	flags := uint16(flagRecursion | flagAuthentic) // RFC 6840 section 5.7: AD in a query asks for AD in the answer
	if f.bits&bitNoChecking != 0 {
		flags |= flagNoChecking
	}
	additional := byte(1)
	if a.plain {
		additional = 0
	}
	out = append(out, byte(a.number>>8), byte(a.number), byte(flags>>8), byte(flags), 0, 1, 0, 0, 0, 0, 0, additional)
	out = append(append(out, f.name...), byte(f.qtype>>8), byte(f.qtype), 0, classIN)
	if !a.plain {
		out = appendOPT(out, 0, f.bits&bitDO != 0)
	}
	return out
}

// end closes an ask.
func (m *Machine) end(a *ask) {
	if a.place >= 0 {
		heap.Remove(&m.timers, a.place)
		a.place = -1
	}
	if a.probe {
		a.server.probing = false
	}
	a.server.open--
	delete(m.asks, a.id)
	m.act(Done{a.id})
}

// timeout is called when an ask's time is over. Its answer is still welcome while the question is open.
func (m *Machine) timeout(a *ask) {
	a.server.timeouts++
	if !a.stream {
		m.wasSilent(a)
	}
	if a.probe {
		a.probe, a.server.probing = false, false
	}
	if a.flight == nil {
		m.end(a)
		return
	}
	m.try(a.flight)
}

// askFailed is called when an ask could not be sent, or its connection failed.
func (m *Machine) askFailed(ev AskFailed) {
	a := m.asks[ev.Ask]
	if a == nil {
		return
	}
	a.server.failures++
	if !a.stream && a.place >= 0 {
		m.wasSilent(a)
	}
	m.failAsk(a)
}

// failAsk ends an ask and goes on with the next server.
func (m *Machine) failAsk(a *ask) {
	f, waited := a.flight, a.place >= 0
	m.end(a)
	if f == nil {
		return
	}
	if !slices.Contains(f.failed, a.server) {
		f.failed = append(f.failed, a.server)
	}
	if waited || !slices.ContainsFunc(f.asks, func(a *ask) bool { return a.place >= 0 }) {
		m.try(f)
	}
}
