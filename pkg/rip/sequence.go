package rip

import (
	"cmp"
	"math"
	"slices"
)

// sequenceBlock is how many sequence numbers are reserved at a time: as many as seconds
// in about an hour, so that a router at rest writes its state that seldom.
const sequenceBlock = 4096

// nextSequence is the sequence number of the packets of this Step. It follows the
// clock, as RFC 4822 section 3.1 suggests, but never falls back when the clock does, and a number is never
// used before the state that survives a restart is past it. Packets of one Step share it, so that
// reordering on the link does not make a neighbour refuse half of them.
func (m *Machine) nextSequence() uint32 {
	if m.sequenceDrawn {
		return m.sequence
	}
	m.sequenceDrawn = true
	next := int64(m.sequence)
	if next < math.MaxUint32 {
		next++
	}
	next = max(next, min(m.now.Unix(), math.MaxUint32))
	m.sequence = uint32(next)
	if m.sequence >= m.reserved {
		m.reserved = uint32(min(next+sequenceBlock, math.MaxUint32))
		m.save()
	}
	return m.sequence
}

// save asks for the state to be made durable.
func (m *Machine) save() {
	m.saveAt = noTime
	s := State{Sequence: m.reserved}
	for k, v := range m.sequences {
		s.Neighbors = append(s.Neighbors, NeighborSequence{k.port, k.addr.Netip(), k.key, v})
	}
	slices.SortFunc(s.Neighbors, func(a, b NeighborSequence) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), a.Addr.Compare(b.Addr), cmp.Compare(a.KeyID, b.KeyID))
	})
	m.do(SaveState{s})
}
