package dns

import (
	"container/heap"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"time"
)

// noTime is a deadline that is not set.
var noTime time.Time

// Machine is the forwarder. It is not safe for concurrent use.
type Machine struct {
	cfg   Config
	rng   *rand.Rand
	epoch time.Time     // of the first event
	now   time.Duration // since then

	places  map[string]*place // by name
	allowed map[string]bool   // names that may have private addresses, with those below
	domain  string            // the router's, as messages have it; "": none
	names   names
	turns   uint64 // of the addresses of names
	cache   cache

	servers map[netip.AddrPort]*server
	flights map[string]*flight
	asks    map[AskID]*ask
	lastAsk AskID
	timers  timers
	clients map[netip.Addr]int // questions that they wait for
	streams map[ClientID]int
	version uint64 // of what decides about answers

	count   Counters
	actions []Action
	out     []byte // what the actions of this Step point into
	q       question
}

// New makes a forwarder. All its randomness comes from rng, which must be one that nobody can predict: numbers and ports of
// questions are drawn from it (RFC 5452 section 9).
func New(c Config, rng *rand.Rand) *Machine {
	m := &Machine{
		cfg: c.withDefaults(), rng: rng,
		servers: map[netip.AddrPort]*server{},
		flights: map[string]*flight{},
		asks:    map[AskID]*ask{},
		clients: map[netip.Addr]int{},
		streams: map[ClientID]int{},
	}
	m.cache.empty()
	m.settlePlaces()
	m.settleNames()
	return m
}

func (c Config) withDefaults() Config {
	or := func(v *int, normal int) {
		if *v == 0 {
			*v = normal
		}
	}
	orTime := func(v *time.Duration, normal time.Duration) {
		if *v <= 0 {
			*v = normal
		}
	}
	or(&c.CacheSize, 10000)
	c.CacheSize = max(c.CacheSize, 0)
	or(&c.CacheOctets, 1024*c.CacheSize)
	or(&c.MaxQueries, 1000)
	or(&c.MaxPerClient, 150)
	or(&c.MaxWaiting, 100)
	orTime(&c.MaxTTL, 24*time.Hour)
	orTime(&c.LocalTTL, time.Minute)
	orTime(&c.Timeout, 2*time.Second)
	c.MinTTL = max(min(c.MinTTL, c.MaxTTL), 0)
	return c
}

// Step lets everything that is due by now happen, then the event. The actions are to be carried out in order; they, and what they
// point to, are valid until the next Step or Quick. A now before that of an earlier Step counts as that.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	m.begin(now)
	clear(m.actions)
	m.actions = m.actions[:0]
	m.expire()
	switch e := ev.(type) {
	case Query:
		m.query(&e)
	case Reply:
		m.reply(e)
	case AskFailed:
		m.askFailed(e)
	case Gone:
		m.gone(e.Client)
	case Name:
		m.learn(e)
	case Configure:
		m.configure(e.Config)
	case Flush:
		m.flush(e.Name)
	}
	return m.actions
}

// Quick is the answer to a query that one is kept for, and whether there is one. If there is none nothing has happened, and the
// query is to be given to Step. It does what Step would, without allocating: most queries end here. The answer is valid until the next Step or Quick.
func (m *Machine) Quick(now time.Time, q *Query) (answer []byte, done bool) {
	m.begin(now)
	if m.q.read(q.Payload, q.Stream) != ReasonNone {
		return nil, false
	}
	e := m.hit(m.q.name, m.q.qtype, m.q.bits)
	if e == nil {
		return nil, false
	}
	m.countQuery(q.Stream)
	return m.written(e, &m.q.asker), true
}

// keepRoom is what the room for answers may have grown to and be kept for the next Step.
const keepRoom = 1 << 18

func (m *Machine) begin(now time.Time) {
	if m.epoch.IsZero() {
		m.epoch = now
	}
	if at := now.Sub(m.epoch); at > m.now {
		m.now = at
	}
	if m.out = m.out[:0]; cap(m.out) > keepRoom {
		m.out = nil
	}
}

// Next is when Step is to be called again at the latest; zero: nothing is due.
func (m *Machine) Next() time.Time {
	if len(m.timers) == 0 {
		return noTime
	}
	return m.epoch.Add(m.timers[0].due)
}

// timers are the questions upstream that wait, the one that is given up next first.
type timers []*ask

func (t timers) Len() int { return len(t) }
func (t timers) Less(i, j int) bool {
	return t[i].due < t[j].due || t[i].due == t[j].due && t[i].id < t[j].id
}
func (t timers) Swap(i, j int) { t[i], t[j] = t[j], t[i]; t[i].place, t[j].place = i, j }
func (t *timers) Push(x any)   { a := x.(*ask); a.place = len(*t); *t = append(*t, a) }
func (t *timers) Pop() any {
	last := len(*t) - 1
	a := (*t)[last]
	(*t)[last] = nil
	*t, a.place = (*t)[:last], -1
	return a
}

// expire gives up what has waited long enough.
func (m *Machine) expire() {
	for len(m.timers) > 0 && m.timers[0].due <= m.now {
		m.timeout(heap.Pop(&m.timers).(*ask))
	}
}

func (m *Machine) act(a Action) { m.actions = append(m.actions, a) }

// configure changes the configuration.
func (m *Machine) configure(c Config) {
	old := m.cfg
	m.cfg = c.withDefaults()
	if !reflect.DeepEqual(old.deciding(), m.cfg.deciding()) {
		m.version++
		m.cache.empty()
		m.settlePlaces()
		m.forgetServers()
		m.settleNames()
	}
	m.cache.trim(m.cfg.CacheSize, m.cfg.CacheOctets)
}

// deciding is what of a configuration decides about answers.
func (c Config) deciding() Config {
	c.CacheSize, c.CacheOctets, c.MaxQueries, c.MaxPerClient, c.MaxWaiting, c.Timeout = 0, 0, 0, 0, 0, 0
	return c
}

// flush forgets answers.
func (m *Machine) flush(name string) {
	if name == "" {
		m.act(Flushed{m.cache.empty()})
		return
	}
	wire, _ := wireName(name)
	m.act(Flushed{m.cache.forget([]byte(wire))})
}
