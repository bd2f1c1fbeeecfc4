package rip

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// attachment is an address of the router's own on a port.
type attachment struct {
	addr packet.Addr
	net  network
}

// port is what the machine knows of a port, whether it speaks RIP or not.
type port struct {
	id   PortID
	slot int // its number in entry.announced

	cfg        PortConfig
	configured bool
	link       bool
	noCarrier  bool
	attached   []attachment
	mtu        int
	running    bool // configured, with link and address: RIP is spoken

	heard   order.Chain[*path]     // every path learned here, the one to expire first in front
	talking order.Chain[*neighbor] // those up, the longest silent first
	talkers int                    // neighbours in all

	updateAt     time.Time // of the next whole table
	jobs         []job     // what is being sent, one after another
	blockedUntil time.Time // pacing: a gap
	lastSent     time.Time
	budget       int    // packets until the next gap
	sentVersion  uint64 // changes up to this one are sent, or in jobs
	configuredAt time.Time

	count Counters
}

// due is when something is to happen at this port, sending apart; zero: nothing.
func (p *port) due() time.Time {
	next := p.updateAt
	if f := p.heard.First(); f != nil {
		next = sooner(next, f.Item.expires())
	}
	if f := p.talking.First(); f != nil {
		next = sooner(next, f.Item.silentAt())
	}
	return next
}

// net finds the network of the port that a neighbour's address is in.
func (p *port) net(a packet.Addr) (attachment, bool) {
	for _, at := range p.attached {
		if at.net.host(a) {
			return at, true
		}
	}
	return attachment{}, false
}

// neighborly reports whether a station with this address may talk RIP to the port: it is
// on-link, or the operator named it, as is needed on unnumbered links.
func (p *port) neighborly(a packet.Addr) bool {
	_, on := p.net(a)
	return on || p.named(a)
}

// listens reports whether a datagram to dst is for this port.
func (p *port) listens(dst packet.Addr) bool {
	return dst == AllRouters || dst == packet.Broadcast || slices.ContainsFunc(p.attached, func(at attachment) bool {
		return at.addr == dst || at.net.broadcast() == dst
	})
}

// port finds a port or makes it, in the lowest free slot.
func (m *Machine) port(id PortID) *port {
	if p := m.ports[id]; p != nil {
		return p
	}
	p := &port{id: id}
	for slices.ContainsFunc(m.inOrder, func(other *port) bool { return other.slot == p.slot }) {
		p.slot++
	}
	m.ports[id] = p
	m.inOrder = append(m.inOrder, p)
	slices.SortFunc(m.inOrder, func(a, b *port) int { return cmp.Compare(a.id, b.id) })
	if c, has := m.cfg.Ports[id]; has {
		p.cfg, p.configured = c, true
	}
	return p
}

// retire forgets ports that have neither a link nor something to say.
func (m *Machine) retire() {
	m.inOrder = slices.DeleteFunc(m.inOrder, func(p *port) bool {
		if p.link || len(p.jobs) > 0 || p.configured {
			return false
		}
		for at := m.changes.First(); at != nil; at = at.Next() {
			at.Item.announced.remove(p.slot)
		}
		delete(m.ports, p.id)
		return true
	})
}

func (m *Machine) portUp(e PortUp) {
	p := m.port(e.Port)
	before := p.attached
	p.link, p.noCarrier, p.mtu = true, e.NoCarrier, e.MTU
	if p.mtu <= 0 {
		p.mtu = 1500
	}
	p.attached = nil
	for _, a := range e.Addresses {
		if a.IsValid() && a.Addr().Is4() {
			p.attached = append(p.attached, attachment{packet.AddrFrom(a.Addr()), networkFrom(a)})
		}
	}
	m.countOwn(before, -1)
	m.countOwn(p.attached, 1)
	if p.running && !slices.Equal(before, p.attached) && len(p.attached) > 0 {
		m.readdress(p, before)
	}
	m.settlePort(p)
	m.settleNetworks(before)
}

func (m *Machine) portDown(id PortID) {
	p := m.ports[id]
	if p == nil || !p.link {
		return
	}
	p.link = false
	before := p.attached
	m.countOwn(before, -1)
	m.settlePort(p)
	p.attached, p.jobs = nil, nil
	m.settleNetworks(before)
}

// countOwn keeps the set of the router's own addresses, which may be on several ports.
func (m *Machine) countOwn(list []attachment, step int) {
	for _, at := range list {
		if m.own[at.addr] += step; m.own[at.addr] <= 0 {
			delete(m.own, at.addr)
		}
	}
}

func (m *Machine) settleNetworks(list []attachment) {
	for _, at := range list {
		m.settleOwn(at.net)
	}
}

// settlePort starts or stops RIP on a port as its link, its configuration and its addresses demand.
func (m *Machine) settlePort(p *port) {
	want := p.configured && p.link && len(p.attached) > 0 && !m.stopping && !(p.noCarrier && p.cfg.LinkCheck)
	switch {
	case want && !p.running:
		p.running = true
		m.settleNetworks(p.attached)
		p.sentVersion = 0
		m.greet(p)
	case !want && p.running:
		m.stopPort(p)
	}
}

// greet asks the neighbours for their tables and tells them ours, as at port up (RFC 2453 section 3.9.1).
func (m *Machine) greet(p *port) {
	m.ask(p)
	p.updateAt = m.now
}

// stopPort forgets what was learned on a port and tells the others without delay.
func (m *Machine) stopPort(p *port) {
	p.running = false
	p.updateAt = noTime
	p.jobs = nil
	m.dropLearned(p)
	for _, n := range m.neighborsOf(p) {
		m.removeNeighbor(n, NeighborLost)
	}
	m.settleNetworks(p.attached)
	m.urgent = true
}

// readdress follows a change of the addresses of a running port.
func (m *Machine) readdress(p *port, before []attachment) {
	m.settleNetworks(before)
	m.settleNetworks(p.attached)
	for _, n := range m.neighborsOf(p) {
		if !p.neighborly(n.addr) || m.own[n.addr] > 0 {
			m.dropHeard(p, func(pa *path) bool { return pa.from == n })
			m.removeNeighbor(n, NeighborLost)
		}
	}
	m.urgent = true
	p.jobs = nil
	m.greet(p)
}

// dropHeard forgets the paths learned on a port that match.
func (m *Machine) dropHeard(p *port, match func(*path) bool) {
	for at := p.heard.First(); at != nil; {
		next := at.Next()
		if match(at.Item) {
			m.dropPath(at.Item)
		}
		at = next
	}
}

// dropLearned forgets every path learned on a port.
func (m *Machine) dropLearned(p *port) { m.dropHeard(p, func(*path) bool { return true }) }

// clearLearned forgets what was learned and asks for it again.
func (m *Machine) clearLearned(e Clear) {
	for _, p := range m.inOrder {
		if !p.running || !e.All && e.Addr == 0 && p.id != e.Port {
			continue
		}
		before := p.heard.Len()
		m.dropHeard(p, func(pa *path) bool { return e.Addr == 0 || pa.from.addr == e.Addr })
		if e.Addr == 0 || p.heard.Len() != before {
			m.ask(p)
		}
	}
}

// named reports whether the operator listed a neighbour for unicast.
func (p *port) named(a packet.Addr) bool {
	return slices.ContainsFunc(p.cfg.Neighbors, func(n netip.Addr) bool { return packet.AddrFrom(n) == a })
}
