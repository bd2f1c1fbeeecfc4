package server

import (
	"time"

	"vrouterd/internal/order"
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
	due     order.Deadline[*binding]
	inPool  order.Place[*binding] // among the offered, spent or declined ones of its pool
	inAll   order.Place[*binding] // among all offered or spent ones
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
	b.due.Owner, b.inPool.Item, b.inAll.Item = b, b, b
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
		b.inAll.Leave()
		b.inPool.Leave()
		switch is {
		case Offered:
			m.offered.Append(&b.inAll)
		case Released, Expired:
			m.spent.Append(&b.inAll)
		}
		if b.span != nil && !b.subnet.fixed(b.lease.Addr) {
			switch p := b.span.pool; is {
			case Offered:
				p.offered.Append(&b.inPool)
			case Released, Expired:
				p.spent.Append(&b.inPool)
			case Declined:
				p.declined.Append(&b.inPool)
			}
		}
	}
	switch {
	case b.offer != nil:
		m.deadlines.Set(&b.due, b.offer.until)
	case (is == Bound || is == Declined) && !b.lease.Expires.IsZero():
		m.deadlines.Set(&b.due, b.lease.Expires)
	default:
		m.deadlines.Clear(&b.due)
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

// oldest is the first binding of a list, nil when it is empty.
func oldest(c *order.Chain[*binding]) *binding {
	if c.First() == nil {
		return nil
	}
	return c.First().Item
}
