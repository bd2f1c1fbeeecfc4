package server

import (
	"time"

	"vrouterd/internal/packet"
)

// binding is all that is known of one address. An offer lies over what was known before, which comes back when the offer runs out.
type binding struct {
	lease  Lease   // its State is never Offered; Free: nothing is known beside the offer
	key    string  // of the client that has it, or had it; "" where nobody did
	subnet *subnet // nil: its network is served no more
	span   *span   // nil: it lies in no range
	offer  *offer  // nil where the lease is Bound

	state   State     // as it was counted
	ended   time.Time // when it was released or expired
	checked time.Time // when a probe found it free
	told    time.Time // when a conflict was told of
	due     deadline
	inPool  place // among the offered, spent or declined ones of its pool
	inAll   place // among all offered or spent ones
}

// offer is an address that a client was offered, or will be when it was found free.
type offer struct {
	ask     *ask
	key     string
	since   time.Time
	until   time.Time
	probing bool
	tries   int // addresses that were found taken for this ask
}

// current is the state that counts.
func (b *binding) current() State {
	if b.offer != nil {
		return Offered
	}
	return b.lease.State
}

// whose is the client that the address is kept for: the one that it is offered to, else the one that has or had it.
func (b *binding) whose() string {
	if b.offer != nil {
		return b.offer.key
	}
	return b.key
}

// client is a client in a subnet: it may have an address in each.
type client struct {
	subnet *subnet
	key    string
}

// at is the binding of an address, made when there is none.
func (m *Machine) at(s *subnet, a packet.Addr) *binding {
	if b := m.bindings[a]; b != nil {
		return b
	}
	b := &binding{lease: Lease{Addr: a}, subnet: s}
	if s != nil {
		b.span = s.spanOf(a)
	}
	b.due.owner, b.inPool.owner, b.inAll.owner = b, b, b
	m.bindings[a] = b
	if b.span != nil {
		b.span.set(uint64(a - b.span.First))
	}
	return b
}

// settle brings counts, lists and the deadline up to what has become of a binding. One of which nothing is left is forgotten.
func (m *Machine) settle(b *binding) {
	if b.offer == nil && b.lease.State == Declined && !b.lease.Expires.IsZero() && !b.lease.Expires.After(m.now) {
		b.lease.State = Free // it has rested, perhaps while it was asked for again
	}
	was, is := b.state, b.current()
	b.state = is
	if b.subnet != nil {
		b.subnet.count[was]--
		b.subnet.count[is]++
	}
	if was != is || is == Offered {
		b.inAll.leave()
		b.inPool.leave()
		switch is {
		case Offered:
			m.offered.append(&b.inAll)
		case Released, Expired:
			m.spent.append(&b.inAll)
		}
		if b.span != nil && !b.subnet.fixed(b.lease.Addr) {
			switch p := b.span.pool; is {
			case Offered:
				p.offered.append(&b.inPool)
			case Released, Expired:
				p.spent.append(&b.inPool)
			case Declined:
				p.declined.append(&b.inPool)
			}
		}
	}
	switch {
	case b.offer != nil:
		m.deadlines.set(&b.due, b.offer.until)
	case (is == Bound || is == Declined) && !b.lease.Expires.IsZero():
		m.deadlines.set(&b.due, b.lease.Expires)
	default:
		m.deadlines.clear(&b.due)
	}
	if is == Free {
		m.forget(b)
	}
	if (is == Free || is == Released || is == Expired) && b.span != nil && !b.subnet.fixed(b.lease.Addr) {
		m.recovered(b.subnet, was == Offered)
	}
}

// recovered tells that a subnet has addresses again. Where that is the doing of offers, which come and go fast when somebody asks under many names, it is
// told once in a while only.
func (m *Machine) recovered(s *subnet, offers bool) {
	if s.dry && !(offers && m.now.Sub(s.drySince) < dryGap) {
		s.dry = false
		m.do(Exhausted{Subnet: s.Name, Again: true})
	}
}

// forget drops a binding that is Free.
func (m *Machine) forget(b *binding) {
	m.unlist(b)
	delete(m.bindings, b.lease.Addr)
	if b.span != nil && !b.subnet.fixed(b.lease.Addr) {
		b.span.clear(uint64(b.lease.Addr - b.span.First))
	}
}

// unlist makes a client forget an address that it has no more.
func (m *Machine) unlist(b *binding) {
	if c := (client{b.subnet, b.key}); m.clients[c] == b {
		delete(m.clients, c)
	}
	if m.names[b.lease.Hostname] == b {
		delete(m.names, b.lease.Hostname)
	}
}

// dropOffer takes an offer back.
func (m *Machine) dropOffer(b *binding) {
	if b.offer == nil {
		return
	}
	if c := (client{b.subnet, b.offer.key}); m.offers[c] == b {
		delete(m.offers, c)
	}
	if b.offer.probing {
		m.probing--
	}
	b.offer = nil
	m.settle(b)
}

// end makes a lease one that was: released, or expired.
func (m *Machine) end(b *binding, state State, when time.Time) (hostname string) {
	hostname = b.lease.Hostname
	if m.names[hostname] == b {
		delete(m.names, hostname)
	}
	b.lease.State, b.lease.Hostname, b.lease.Expires, b.ended = state, "", when, when
	m.settle(b)
	return hostname
}

// expire is what happens at the deadline of a binding.
func (b *binding) expire(m *Machine) {
	switch {
	case b.offer != nil && b.offer.probing:
		m.unasked(b) // the answer is late
	case b.offer != nil:
		m.count.OffersExpired++
		m.dropOffer(b)
	case b.lease.State == Bound:
		name := m.end(b, Expired, b.lease.Expires)
		m.do(LeaseEvent{Change: LeaseExpired, Lease: b.lease, Before: name})
	case b.lease.State == Declined:
		m.settle(b)
	}
}

// chain is a list of bindings, oldest first, whose members know their place.
type chain struct {
	first, last *place
	len         int
}

type place struct {
	prev, next *place
	in         *chain
	owner      *binding
}

// append puts p at the end, taking it out of where it was.
func (c *chain) append(p *place) {
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

func (p *place) leave() {
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

// head is the oldest of a list, nil when it is empty.
func (c *chain) head() *binding {
	if c.first == nil {
		return nil
	}
	return c.first.owner
}

// deadline is when its owner is due. It knows its place in the heap, so that moving it costs no search.
type deadline struct {
	at    time.Time
	place int // index plus one; 0: not set
	owner *binding
}

// deadlines is a binary heap, the earliest first.
type deadlines []*deadline

func (h *deadlines) set(d *deadline, at time.Time) {
	d.at = at
	if d.place == 0 {
		*h = append(*h, d)
		d.place = len(*h)
	}
	h.sift(d.place - 1)
}

func (h *deadlines) clear(d *deadline) {
	if d.place == 0 {
		return
	}
	i, last := d.place-1, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	d.place = 0
	if i < last {
		h.sift(i)
	}
}

func (h deadlines) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

// sift moves the entry at i up or down to where it belongs.
func (h deadlines) sift(i int) {
	for i > 0 && h[i].at.Before(h[(i-1)/2].at) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].at.Before(h[least].at) {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
