package order

// Chain is a list whose members know their place, so that moving one to the end
// costs no search. Where all members have the same time to live, the order of
// their last refresh is that of their deadlines: a list does what a heap would, in constant time.
// The zero Chain is empty.
type Chain[T any] struct {
	first, last *Place[T]
	len         int
}

// Place is a member's place in a chain; it is part of the member. The zero Place is in none.
type Place[T any] struct {
	prev, next *Place[T]
	in         *Chain[T]
	Item       T // the member
}

// First is the member that has been there longest, nil when there is none.
func (c *Chain[T]) First() *Place[T] { return c.first }

// Last is the member that came last, nil when there is none.
func (c *Chain[T]) Last() *Place[T] { return c.last }

// Len is how many members there are.
func (c *Chain[T]) Len() int { return c.len }

// Append puts p at the end, taking it out of where it was.
func (c *Chain[T]) Append(p *Place[T]) {
	p.Leave()
	p.in, p.prev = c, c.last
	if c.last == nil {
		c.first = p
	} else {
		c.last.next = p
	}
	c.last = p
	c.len++
}

// Next is the member that came after p, nil when there is none.
func (p *Place[T]) Next() *Place[T] { return p.next }

// Prev is the member that came before p, nil when there is none.
func (p *Place[T]) Prev() *Place[T] { return p.prev }

// In is the chain that p is in, nil when there is none.
func (p *Place[T]) In() *Chain[T] { return p.in }

// Leave takes p out of its chain, if it is in one.
func (p *Place[T]) Leave() {
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
