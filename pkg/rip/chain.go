package rip

// chain is a list whose members know their place, so that moving one to the end
// costs no search. Where all members have the same time to live, the order of
// their last refresh is that of their deadlines: a list does what a heap would, in constant time.
type chain[T any] struct {
	first, last *place[T]
	len         int
}

// place is a member's place in a chain; it is part of the member.
type place[T any] struct {
	prev, next *place[T]
	in         *chain[T]
	item       T
}

// append puts p at the end, taking it out of where it was.
func (c *chain[T]) append(p *place[T]) {
	p.leave()
	p.in, p.prev = c, c.last
	if c.last == nil {
		c.first = p
	} else {
		c.last.next = p
	}
	c.last = p
	c.len++
}

// leave takes p out of its chain, if it is in one.
func (p *place[T]) leave() {
	c := p.in
	if c == nil {
		return
	}
	if p.prev == nil {
		c.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		c.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next, p.in = nil, nil, nil
	c.len--
}

// slots is a set of ports by their slot number.
type slots struct {
	low  uint64   // slots 0 to 63, which is all that most routers have
	more []uint64 // 64 and on
}

func (s *slots) has(i int) bool {
	if i < 64 {
		return s.low>>i&1 != 0
	}
	i -= 64
	return i/64 < len(s.more) && s.more[i/64]>>(i%64)&1 != 0
}

func (s *slots) add(i int) {
	if i < 64 {
		s.low |= 1 << i
		return
	}
	i -= 64
	for i/64 >= len(s.more) {
		s.more = append(s.more, 0)
	}
	s.more[i/64] |= 1 << (i % 64)
}

func (s *slots) remove(i int) {
	if i < 64 {
		s.low &^= 1 << i
	} else if i -= 64; i/64 < len(s.more) {
		s.more[i/64] &^= 1 << (i % 64)
	}
}
