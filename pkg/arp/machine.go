package arp

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// Machine is the address resolution of one router. It is not safe for concurrent use.
type Machine struct {
	cfg Config
	rng *rand.Rand
	now time.Time

	ports map[PortID]*port
	own   map[packet.Addr]int // how many ports have the address

	cache        map[key]*neighbor
	lists        [numStates]list
	waitingBytes int

	deadlines order.Heap[expirer]
	pace      pacer
	count     Counters

	actions []Action
	frames  []byte // what the Send actions of this Step point into
}

// New makes a machine without ports. All its randomness comes from rng.
func New(c Config, rng *rand.Rand) *Machine {
	c = c.withDefaults()
	return &Machine{
		cfg: c, rng: rng,
		ports: map[PortID]*port{},
		own:   map[packet.Addr]int{},
		cache: map[key]*neighbor{},
		pace:  newPacer(c),
	}
}

// expirer is called when its deadline has passed; the deadline is no longer set then.
type expirer interface{ expire(m *Machine) }

// Step lets everything that is due by now happen, then the event. The actions are
// to be carried out in order; they are valid until the next Step. A now before that of an earlier
// Step counts as that.
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
	case Frame:
		m.frame(e)
	case Resolve:
		m.resolve(e)
	case Used:
		m.tell(key{e.Port, e.Addr}, inUsed)
	case Confirm:
		m.tell(key{e.Port, e.Addr}, inConfirmed)
	case PortUp:
		m.portUp(e)
	case PortDown:
		m.portDown(e.Port)
	case AddStatic:
		m.addStatic(e)
	case DeleteStatic:
		if n := m.cache[key{e.Port, e.Addr}]; n != nil && n.state == StatePermanent {
			m.forget(n, DropFlushed)
		}
	case Flush:
		m.forgetWhere(DropFlushed, func(n *neighbor) bool {
			return n.state != StatePermanent && (e.All || n.port == e.Port && (e.Addr == 0 || n.addr == e.Addr))
		})
	}
	return m.actions
}

// Configure changes the machine's choices. Deadlines that are set already stay as they are.
func (m *Machine) Configure(c Config) { m.cfg = c.withDefaults() }

// Next is when Step is to be called again at the latest; zero: nothing is due.
func (m *Machine) Next() time.Time { return m.deadlines.Next() }

// resolve handles a packet, or a wish without one, for an address without an adjacency.
func (m *Machine) resolve(e Resolve) {
	k := key{e.Port, e.Addr}
	p, n := m.ports[e.Port], m.cache[k]
	if n != nil && n.state.Usable() && p != nil { // the packet and the adjacency crossed
		if e.Packet != nil {
			m.hold(n, e.Packet, max(e.Packet.Size(), 0))
		}
		m.feed(n, inResolve, n.mac)
		return
	}
	if n != nil && n.state == StateIncomplete {
		m.enqueue(n, e.Packet)
		return
	}
	if why := m.unresolvable(p, e.Addr); why != DropNone {
		m.drop(k, e.Packet, why)
		return
	}
	if n == nil {
		if !m.roomToAsk() {
			m.drop(k, e.Packet, DropBudget)
			return
		}
		n = m.create(k)
	}
	m.feed(n, inResolve, packet.MAC{})
	m.enqueue(n, e.Packet)
}

// unresolvable says why a resolution is not even begun.
func (m *Machine) unresolvable(p *port, a packet.Addr) DropReason {
	switch {
	case p == nil:
		return DropPortDown
	case m.own[a] > 0:
		return DropOwnAddress
	case !p.host(a):
		return DropNotNeighbor
	case p.source(a) == 0:
		return DropNoAddress
	case m.pace.wait(m.now) > m.cfg.Retransmit:
		return DropRate
	}
	return DropNone
}

// tell feeds an input to a neighbour if there is one.
func (m *Machine) tell(k key, in input) {
	if n := m.cache[k]; n != nil {
		m.feed(n, in, n.mac)
	}
}

func (m *Machine) addStatic(e AddStatic) {
	p := m.ports[e.Port]
	if p == nil {
		p = &port{}
	}
	switch {
	case e.MAC.IsZero() || e.MAC == packet.BroadcastMAC:
		m.bad(e.Port, e.Addr, e.MAC, BadStaticMAC)
		return
	case m.own[e.Addr] > 0 || !p.host(e.Addr):
		m.bad(e.Port, e.Addr, e.MAC, BadStaticAddress)
		return
	}
	n := m.cache[key{e.Port, e.Addr}]
	if n == nil {
		n = m.create(key{e.Port, e.Addr})
	}
	m.feed(n, inFix, e.MAC)
}

func (m *Machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *Machine) bad(port PortID, addr packet.Addr, mac packet.MAC, why BadReason) {
	m.count.Bad[why]++
	m.do(Bad{port, addr, mac, why})
}

func (m *Machine) drop(k key, w Waiting, why DropReason) {
	m.count.Dropped[why]++
	m.do(Dropped{k.port, k.addr, w, why})
}

func (m *Machine) send(p *port, dst packet.MAC, msg Message) {
	start := len(m.frames)
	m.frames = msg.AppendFrame(m.frames, dst, p.mac)
	m.do(Send{p.id, m.frames[start:len(m.frames):len(m.frames)]})
}

// Counters returns a copy of the counters.
func (m *Machine) Counters() Counters { return m.count }

// Len is how many neighbours there are in a state.
func (m *Machine) Len(s State) int {
	if s >= numStates {
		return 0
	}
	return m.lists[s].len
}

// Lookup is one row of the neighbour table.
func (m *Machine) Lookup(now time.Time, port PortID, addr packet.Addr) (Neighbor, bool) {
	n := m.cache[key{port, addr}]
	if n == nil {
		return Neighbor{}, false
	}
	return n.row(now), true
}

// Neighbors is the neighbour table by port and address, a copy.
func (m *Machine) Neighbors(now time.Time) []Neighbor {
	rows := make([]Neighbor, 0, len(m.cache))
	for _, n := range m.cache {
		rows = append(rows, n.row(now))
	}
	slices.SortFunc(rows, func(a, b Neighbor) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Addr, b.Addr))
	})
	return rows
}

func (n *neighbor) row(now time.Time) Neighbor {
	since := n.confirmed
	if since.IsZero() {
		since = n.created
	}
	return Neighbor{
		Port: n.port, Addr: n.addr, MAC: n.mac, State: n.state, Age: max(now.Sub(since), 0),
		Waiting: len(n.waiting), WaitingBytes: n.waitingBytes, Tries: n.tries,
	}
}
