package nat

import (
	"slices"

	"vrouterd/internal/packet"
)

// Assignment is the block of ports that a subscriber has by computation (RFC 7422).
type Assignment struct {
	Subscriber       packet.Addr
	Outside          packet.Addr
	PortMin, PortMax uint16
}

// AssignmentOf is the block of a subscriber of a [Deterministic] rule: the addresses of Source, in their order, get the blocks of
// the addresses of Outside, in their order, one each. There is none for an address that is not in Source, and for
// those for whom no block is left.
func (r *Rule) AssignmentOf(subscriber packet.Addr) (Assignment, bool) {
	c := compileRule(*r)
	return c.assignment(subscriber)
}

// AssignmentAt is the other direction: whose an outside port is.
func (r *Rule) AssignmentAt(outside packet.Addr, port uint16) (Assignment, bool) {
	c := compileRule(*r)
	per := c.perAddress()
	at := slices.Index(c.Outside, outside)
	if c.Type != Deterministic || at < 0 || per == 0 || port < c.lo || int(port-c.lo)/c.BlockSize >= per {
		return Assignment{}, false
	}
	subscriber, found := c.subscriber(uint64(at)*uint64(per) + uint64(int(port-c.lo)/c.BlockSize))
	if !found {
		return Assignment{}, false
	}
	a, found := c.assignment(subscriber)
	return a, found && a.Outside == outside && a.PortMin <= port && port <= a.PortMax
}

// Assignments are those of the subscribers from index first on, at most limit, for tables; and how many there are in all: the
// smaller of subscribers and blocks.
func (r *Rule) Assignments(first, limit int) (list []Assignment, total int) {
	c := compileRule(*r)
	if c.Type != Deterministic {
		return nil, 0
	}
	total = int(min(c.subscribers(), uint64(c.perAddress()*len(c.Outside))))
	for i := max(first, 0); i < total && len(list) < limit; i++ {
		subscriber, _ := c.subscriber(uint64(i))
		a, _ := c.assignment(subscriber)
		list = append(list, a)
	}
	return list, total
}

func (r *rule) assignment(subscriber packet.Addr) (Assignment, bool) {
	per := r.perAddress()
	if r.Type != Deterministic || per == 0 {
		return Assignment{}, false
	}
	index, found := r.ordinal(subscriber)
	if !found || index/uint64(per) >= uint64(len(r.Outside)) {
		return Assignment{}, false
	}
	first := int(r.lo) + int(index%uint64(per))*r.BlockSize
	return Assignment{subscriber, r.Outside[index/uint64(per)], uint16(first), uint16(first + r.BlockSize - 1)}, true
}

// ordinal of a subscriber. An address that is in two prefixes counts by the first.
func (r *rule) ordinal(a packet.Addr) (uint64, bool) {
	var before uint64
	for _, prefix := range r.Source {
		first, last := span(prefix)
		if first <= a && a <= last {
			return before + uint64(a-first), true
		}
		before += uint64(last-first) + 1
	}
	return 0, false
}

// subscriber with an ordinal.
func (r *rule) subscriber(ordinal uint64) (packet.Addr, bool) {
	for _, prefix := range r.Source {
		first, last := span(prefix)
		size := uint64(last-first) + 1
		if ordinal < size {
			a := first + packet.Addr(ordinal)
			_, known := r.ordinal(a)
			return a, known
		}
		ordinal -= size
	}
	return 0, false
}

// subscribers is how many there are.
func (r *rule) subscribers() (n uint64) {
	for _, prefix := range r.Source {
		first, last := span(prefix)
		n += uint64(last-first) + 1
	}
	return n
}
