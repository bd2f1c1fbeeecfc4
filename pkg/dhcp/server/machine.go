package server

import (
	"math/rand/v2"
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// Machine is the server. It is not safe for concurrent use.
type Machine struct {
	cfg Config
	rng *rand.Rand
	now time.Time

	subnets []*subnet
	byPort  map[PortID][]*subnet
	own     map[packet.Addr]bool   // server identifiers
	titles  map[string]packet.Addr // names of reservations: nobody else may bear them

	bindings  map[packet.Addr]*binding
	clients   map[client]*binding   // the address that a client has, or had last
	offers    map[client]*binding   // the one that it is offered
	names     map[string]*binding   // who bears a name
	offered   order.Chain[*binding] // all offers, oldest first
	spent     order.Chain[*binding] // all leases that were, the one that ended longest ago first
	deadlines order.Heap[*binding]
	probing   int
	decliners decliners

	count   Counters
	actions []Action
	frames  []byte       // what the Sends of this Step point into
	reply   dhcp.Message // the message that is being put together
}

// New makes a server whose leases are c.Initial. Those that ran out meanwhile expire in the first Step.
func New(c Config, rng *rand.Rand) *Machine {
	m := &Machine{
		rng:      rng,
		bindings: map[packet.Addr]*binding{}, clients: map[client]*binding{}, offers: map[client]*binding{}, names: map[string]*binding{},
		decliners: decliners{by: map[string]*decliner{}},
	}
	m.reply.Options = dhcp.Options{}
	m.configure(c)
	m.load(c.Initial)
	m.cfg.Initial = nil
	return m
}

// Step lets what is due by now happen, and then the event. The actions are to be carried out in order; they are valid until the next Step. A now before
// that of an earlier Step counts as that.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	if now.After(m.now) {
		m.now = now
	}
	clear(m.actions)
	m.actions, m.frames = m.actions[:0], m.frames[:0]
	for owner, due := m.deadlines.Take(m.now); due; owner, due = m.deadlines.Take(m.now) {
		owner.expire(m)
	}
	switch e := ev.(type) {
	case Receive:
		m.receive(e)
	case Probed:
		m.probed(e)
	case Taken:
		m.taken(e)
	case Configure:
		m.configure(e.Config)
	case Delete:
		m.delete(m.bindings[e.Addr])
	case DeleteAll:
		m.deleteAll(e)
	case Import:
		m.importLeases(e.Leases)
	case StoreFailed:
		m.count.StoreFailures += uint64(len(e.Addrs))
	}
	return m.actions
}

// Next is when to call Step with a Tick at the latest; the zero time: nothing is due.
func (m *Machine) Next() time.Time { return m.deadlines.Next() }

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

// Bounds that are not configured.
const (
	defaultLease  = 12 * time.Hour
	minLease      = 2 * time.Minute // the least that a client's wish makes a lease, where nothing is configured
	defaultLeases = 65536
	defaultRest   = 10 * time.Minute

	offerTime    = time.Minute     // how long an offered address is kept: RFC 2131 section 4.1 has clients ask for that long
	offerGrace   = 5 * time.Second // before that no other client gets it
	freshness    = time.Minute     // how long an address is known not to be anybody else's
	probeTime    = 2 * time.Second // after that no answer is one
	maxMessage   = 4096            // octets of a message: an offer keeps it while its address is asked for
	maxOption    = 255             // octets of what is kept of a client: one option, unless it is split (RFC 3396), which no known client does with these
	maxProbes    = 256             // outstanding; what comes beyond is offered unprobed
	maxTries     = 8               // addresses that are asked for before a client is left to ask anew
	maxDeclines  = 4               // addresses that one client may put to rest at a time
	maxDecliners = 4096            // clients whose declines are remembered
	dryGap       = 10 * time.Second
	conflictGap  = time.Minute // between two conflicts told of the same address
)

// Infinite is a lease without end (RFC 2131 section 3.3), and so is anything longer.
const Infinite = 0xffffffff * time.Second
