package rip

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// noTime is a deadline that is not set.
var noTime time.Time

// Machine is RIP on one router. It is not safe for concurrent use.
type Machine struct {
	cfg Config
	rng *rand.Rand
	now time.Time

	ports     map[PortID]*port
	inOrder   []*port // the same by id: actions must not depend on the order of a map
	own       map[packet.Addr]int
	neighbors map[neighborKey]*neighbor

	table     map[network]*entry
	changes   order.Chain[*entry] // every entry, the one that changed last at the end
	garbage   order.Chain[*entry] // those that are unreachable, the next to be forgotten first
	version   uint64              // of the last change
	externals map[network]Redistribute
	learned   int // paths

	triggerAt time.Time // when the next triggered update goes out; zero: nothing has changed
	pending   pending   // what it will carry
	holdUntil time.Time // before that none does, unless it is urgent
	urgent    bool      // a trigger that does not wait
	triggered time.Time // the last one
	triggers  int       // since there was none for the longest hold

	sequence, reserved uint32
	sequenceDrawn      bool
	sequences          map[sequenceKey]uint32
	saveAt             time.Time

	stopping, stopped bool
	total             Counters // of packets and routes on ports that do not speak RIP too

	actions []Action
	frames  []byte  // what the Send actions of this Step point into
	room    []Entry // for decoding
	equal   []*path // for choosing
}

// New makes a machine without ports. All its randomness comes from rng.
func New(c Config, rng *rand.Rand) *Machine {
	m := &Machine{
		cfg: c.withDefaults(), rng: rng,
		ports:     map[PortID]*port{},
		own:       map[packet.Addr]int{},
		neighbors: map[neighborKey]*neighbor{},
		table:     map[network]*entry{},
		externals: map[network]Redistribute{},
		sequences: map[sequenceKey]uint32{},
		sequence:  c.InitialState.Sequence,
		reserved:  c.InitialState.Sequence,
	}
	for _, s := range c.InitialState.Neighbors {
		m.sequences[sequenceKey{s.Port, packet.AddrFrom(s.Addr), s.KeyID}] = s.Sequence
	}
	for _, id := range slices.Sorted(maps.Keys(m.cfg.Ports)) {
		m.port(id)
	}
	m.settleOwn(network{})
	return m
}

// Step lets everything that is due by now happen, then the event. The actions are to be carried out in
// order; they are valid until the next Step. A now before that of an earlier Step counts as that.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	if now.After(m.now) {
		m.now = now
	}
	clear(m.actions)
	m.actions, m.frames, m.sequenceDrawn = m.actions[:0], m.frames[:0], false
	if m.stopping {
		m.lastWords(ev)
	} else {
		m.expire()
		m.handle(ev)
	}
	m.emit()
	return m.actions
}

// handle carries out an event.
func (m *Machine) handle(ev Event) {
	switch e := ev.(type) {
	case Receive:
		m.receive(e)
	case PortUp:
		m.portUp(e)
	case PortDown:
		m.portDown(e.Port)
	case Redistribute:
		m.redistribute(e)
	case Configure:
		m.configure(e.Config)
	case Clear:
		m.clearLearned(e)
	case Shutdown:
		m.shutdown()
	}
}

// lastWords is handle of a machine that stops: a lost port has nobody left to be told anything.
func (m *Machine) lastWords(ev Event) {
	if e, is := ev.(PortDown); is && m.ports[e.Port] != nil {
		m.ports[e.Port].link = false
	}
}

// Next is when Step is to be called again at the latest; zero: nothing is due. It costs a look
// at each port.
func (m *Machine) Next() time.Time {
	next := noTime
	if !m.stopping { // then only the last words matter
		next = sooner(m.triggerAt, m.saveAt)
		if e := m.garbage.First(); e != nil {
			next = sooner(next, e.Item.forgetAt)
		}
	}
	for _, p := range m.inOrder {
		if !m.stopping {
			next = sooner(next, p.due())
		}
		if len(p.jobs) > 0 {
			next = sooner(next, p.blockedUntil)
		}
	}
	return next
}

// sooner is the earlier of two deadlines; one that is zero is not set.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// expire carries out every deadline that has passed, except those of sending.
func (m *Machine) expire() {
	for _, p := range m.inOrder {
		for first := p.heard.First(); first != nil && !first.Item.expires().After(m.now); first = p.heard.First() {
			m.dropPath(first.Item)
		}
		for first := p.talking.First(); first != nil && !first.Item.silentAt().After(m.now); first = p.talking.First() {
			m.silence(first.Item)
		}
	}
	for first := m.garbage.First(); first != nil && !first.Item.forgetAt.After(m.now); first = m.garbage.First() {
		m.forget(first.Item)
	}
	if !m.saveAt.IsZero() && !m.saveAt.After(m.now) {
		m.save()
	}
}

// emit begins the updates that are due and sends what the pace allows.
func (m *Machine) emit() {
	for _, p := range m.inOrder {
		if !p.updateAt.IsZero() && !p.updateAt.After(m.now) {
			m.beginFull(p)
		}
	}
	if !m.triggerAt.IsZero() && (m.urgent || !m.triggerAt.After(m.now) && !m.streaming()) {
		m.trigger()
	}
	m.urgent = false
	for _, p := range m.inOrder {
		m.pump(p)
	}
	m.retire()
	if m.stopping && !m.stopped && !slices.ContainsFunc(m.inOrder, func(p *port) bool { return len(p.jobs) > 0 }) {
		m.stopped = true
		if len(m.sequences) > 0 || m.sequence > 0 {
			m.save()
		}
		m.do(Stopped{})
	}
}

// pending is what has changed since the last triggered update.
type pending struct {
	since, last time.Time // the first change, and the last so far
	from        uint64    // version before the first
}

// streaming reports whether a whole table is just arriving, and puts the trigger off: until there is a
// pause longer than the gaps between a neighbour's bursts, for at most a second. Passing on the first burst at
// once would hold back all the others.
func (m *Machine) streaming() bool {
	calm := m.pending.last.Add(m.cfg.BurstGap + m.cfg.TriggerDelay)
	if limit := m.pending.since.Add(m.second()); limit.Before(calm) {
		calm = limit
	}
	if m.version-m.pending.from < MaxEntries || !m.now.Before(calm) {
		return false
	}
	m.triggerAt = calm
	return true
}

// trigger begins a triggered update on every port, then holds further ones back (RFC 2453 section 3.10.1).
func (m *Machine) trigger() {
	m.triggerAt = noTime
	if m.stopping {
		return
	}
	for _, p := range m.inOrder {
		m.beginTriggered(p)
	}
	if m.now.Sub(m.triggered) >= m.cfg.TriggerHoldMax {
		m.triggers = 0
	}
	m.triggered = m.now
	if m.triggers++; m.triggers >= m.cfg.TriggerBurst {
		m.holdUntil = m.now.Add(m.between(m.cfg.TriggerHoldMin, m.cfg.TriggerHoldMax))
	}
}

// between draws a duration.
func (m *Machine) between(low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(m.rng.Int64N(int64(high-low)+1))
}

// redistribute notes what the RIB selected and announces it if a rule says so.
func (m *Machine) redistribute(e Redistribute) {
	if !e.Prefix.IsValid() || !e.Prefix.Addr().Is4() {
		return
	}
	n := networkFrom(e.Prefix)
	if e.Gone {
		delete(m.externals, n)
	} else {
		m.externals[n] = e
	}
	m.settleOwn(n)
}

// shutdown begins the last words.
func (m *Machine) shutdown() {
	if m.stopping {
		return
	}
	m.stopping = true
	m.triggerAt = noTime
	for _, p := range m.inOrder {
		p.updateAt, p.jobs = noTime, nil
		if p.running {
			m.poisonAudiences(p, p.cfg, m.audiences(p))
		}
	}
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

// bad counts a refusal and tells of it.
func (m *Machine) bad(id PortID, p *port, n *neighbor, src packet.Addr, why BadReason) {
	m.tally(p, n, why, 1)
	m.do(Bad{Port: id, Src: src, Reason: why})
}

func (m *Machine) tally(p *port, n *neighbor, why BadReason, times uint64) {
	m.total.refuse(why, times)
	if p != nil {
		p.count.refuse(why, times)
	}
	if n != nil {
		n.count.refuse(why, times)
	}
}

func (c *Counters) refuse(why BadReason, times uint64) {
	c.Bad[why] += times
	if why.Route() {
		c.BadRoutes += times
	} else if why != BadAuthNoKey {
		c.BadPackets += times
	}
}
