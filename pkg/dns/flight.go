package dns

import (
	"net/netip"
	"slices"
	"time"
)

// flight is a question that is on its way upstream, for all clients that wait for its answer.
type flight struct {
	key     string
	name    []byte
	qtype   uint16
	bits    bits
	group   *group
	waiters []waiter
	asks    []*ask
	failed  []*server // that answered with an error
	sent    int
	until   time.Duration
	code    int // of the last server that failed
	version uint64
}

// waiter is a query that waits.
type waiter struct {
	asker
	client ClientID
	from   netip.AddrPort
	alias  *alias // that led here; nil: the question itself was asked
}

// repeats reports a query that a client of UDP has sent before.
func (f *flight) repeats(ev *Query, q *question) bool {
	return !ev.Stream && slices.ContainsFunc(f.waiters, func(w waiter) bool {
		return !w.stream && w.from == ev.From && w.id == q.id && string(w.raw) == string(q.raw)
	})
}

// finish answers everybody who waits for a question, and keeps the answer for a time.
func (m *Machine) finish(f *flight, e *entry, ttl time.Duration) {
	delete(m.flights, f.key)
	e.born, e.expires = m.now, m.now+ttl
	for i := range f.waiters {
		w := &f.waiters[i]
		m.leave(w)
		payload := []byte(nil)
		if w.alias != nil {
			payload = m.writtenAlias(e, &w.asker, w.alias)
		} else {
			payload = m.written(e, &w.asker)
		}
		m.act(Answer{w.client, payload})
	}
	for _, a := range f.asks {
		if a.flight = nil; m.asks[a.id] != nil && (!a.probe || a.place < 0) {
			m.end(a)
		}
	}
	if ttl > 0 && f.version == m.version && !m.isHere(f.name) {
		m.cache.keep(f.name, e, m.cfg.CacheSize, m.cfg.CacheOctets)
	}
}

// isHere reports a name that somebody here has got while it was asked upstream.
func (m *Machine) isHere(name []byte) bool {
	if a, is := reverseAddr(name); is && m.names.reverse[a] != nil {
		return true
	}
	return m.nodeOf(name) != nil
}

// leave takes a query out of what its client waits for.
func (m *Machine) leave(w *waiter) {
	if m.clients[w.from.Addr()]--; m.clients[w.from.Addr()] <= 0 {
		delete(m.clients, w.from.Addr())
	}
	if w.stream {
		if m.streams[w.client]--; m.streams[w.client] <= 0 {
			delete(m.streams, w.client)
		}
	}
}

// gone drops what a client waits for. The questions stay on their way: their answers are good for the next who asks.
func (m *Machine) gone(c ClientID) {
	if m.streams[c] == 0 {
		return
	}
	for _, f := range m.flights {
		f.waiters = slices.DeleteFunc(f.waiters, func(w waiter) bool {
			if w.client != c || !w.stream {
				return false
			}
			m.leave(&w)
			m.count.Refused[ReasonGone]++
			m.act(Dropped{c, ReasonGone})
			return true
		})
	}
}
