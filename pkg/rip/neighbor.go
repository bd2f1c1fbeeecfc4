package rip

import (
	"cmp"
	"slices"
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

type neighborKey struct {
	port PortID
	addr packet.Addr
}

// neighbor is a station that sent something to port 520 from an on-link address, be it good or bad.
type neighbor struct {
	at       order.Place[*neighbor] // in its port's talking, while it is up
	port     *port
	addr     packet.Addr
	version  uint8
	created  time.Time
	lastGood time.Time
	up       bool
	routes   int // paths learned from it
	sequence uint32

	allowance   float64 // packets that it may send at once
	allowanceAt time.Time
	answerAfter time.Time // before that its requests for the whole table are refused

	count Counters
}

func (n *neighbor) silentAt() time.Time { return n.lastGood.Add(n.port.cfg.Timers.Timeout) }

// neighbor finds a neighbour's row or makes it; nil: there is no room.
func (m *Machine) neighbor(p *port, a packet.Addr) *neighbor {
	k := neighborKey{p.id, a}
	if n := m.neighbors[k]; n != nil {
		return n
	}
	if len(m.neighbors) >= m.cfg.MaxNeighbors && !m.evict() {
		return nil
	}
	n := &neighbor{port: p, addr: a, created: m.now, allowance: float64(m.cfg.NeighborBurst), allowanceAt: m.now}
	n.at.Item = n
	m.neighbors[k] = n
	p.talkers++
	return n
}

// evict makes room by forgetting a neighbour that gives nothing: first those that never sent anything good, so
// that whoever forges sources only replaces forgeries, then the longest silent.
func (m *Machine) evict() bool {
	var victim *neighbor
	for _, n := range m.neighbors {
		if n.up || n.routes > 0 {
			continue
		}
		if victim == nil || cmp.Or(n.lastGood.Compare(victim.lastGood), n.created.Compare(victim.created),
			cmp.Compare(n.port.id, victim.port.id), cmp.Compare(n.addr, victim.addr)) < 0 {
			victim = n
		}
	}
	if victim == nil {
		return false
	}
	m.removeNeighbor(victim, NeighborEvicted)
	return true
}

func (m *Machine) removeNeighbor(n *neighbor, why NeighborChange) {
	n.at.Leave()
	delete(m.neighbors, neighborKey{n.port.id, n.addr})
	n.port.talkers--
	if !n.lastGood.IsZero() {
		m.do(NeighborEvent{n.port.id, n.addr, why})
	}
}

// neighborsOf lists a port's neighbours by address.
func (m *Machine) neighborsOf(p *port) []*neighbor {
	list := make([]*neighbor, 0, p.talkers)
	for _, n := range m.neighbors {
		if n.port == p {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b *neighbor) int { return cmp.Compare(a.addr, b.addr) })
	return list
}

// admit reports whether a neighbour keeps to its rate.
func (m *Machine) admit(n *neighbor) bool {
	n.allowance += m.now.Sub(n.allowanceAt).Seconds() * float64(m.cfg.NeighborRate)
	n.allowance = min(n.allowance, float64(m.cfg.NeighborBurst))
	n.allowanceAt = m.now
	if n.allowance < 1 {
		return false
	}
	n.allowance--
	return true
}

// good notes that a neighbour is alive.
func (m *Machine) good(n *neighbor) {
	n.lastGood = m.now
	n.port.talking.Append(&n.at)
	if !n.up {
		n.up = true
		m.do(NeighborEvent{n.port.id, n.addr, NeighborUp})
	}
}

// silence notes that a neighbour has said nothing good for the timeout. Its paths have a
// timeout each and are gone by now.
func (m *Machine) silence(n *neighbor) {
	n.at.Leave()
	n.up = false
	m.do(NeighborEvent{n.port.id, n.addr, NeighborSilent})
}
