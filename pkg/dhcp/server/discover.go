package server

import (
	"bytes"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// choice is an address that a client may be offered.
type choice struct {
	subnet *subnet
	addr   packet.Addr
	mine   bool // nobody else can have it by rights: it is not probed
	rested bool // it was declined: it is offered only when a probe says that it is free
}

// discover answers a DISCOVER with an offer, once it is known that nobody has the address (RFC 2131 section 4.3.1).
func (m *Machine) discover(a *ask) {
	for _, s := range a.subnets {
		if b := m.offers[client{s, a.key(s)}]; b != nil && b.offer.probing {
			b.offer.ask = a // the answer goes to the latest message
			m.refuse(a, ReasonProbing)
			return
		}
	}
	m.offerOne(a, 0)
}

// offerOne finds an address and offers it. tries is how many were found taken before.
func (m *Machine) offerOne(a *ask, tries int) {
	c, why := m.choose(a)
	if why != ReasonNone {
		m.refuse(a, why)
		return
	}
	key := a.key(c.subnet)
	b := m.bindings[c.addr]
	if b != nil && b.lease.State == Bound { // it has the address already
		m.sendOffer(a, b)
		return
	}
	if b == nil || b.offer == nil {
		why := m.roomForOffer()
		if why == ReasonNone && b == nil {
			why = m.roomForLease()
		}
		if why != ReasonNone {
			m.refuse(a, why)
			return
		}
	}
	for _, s := range a.subnets { // a client is offered one address at a time
		if other := m.offers[client{s, a.key(s)}]; other != nil && other != b {
			m.dropOffer(other)
		}
	}
	if b = m.at(c.subnet, c.addr); b.offer == nil {
		b.offer = &offer{}
	}
	m.recovered(c.subnet, true)
	*b.offer = offer{ask: a, key: key, since: m.now, until: m.now.Add(offerTime), tries: tries}
	m.offers[client{c.subnet, key}] = b
	if m.wantsProbe(c, b) {
		m.probe(b)
	}
	m.settle(b)
	if !b.offer.probing {
		m.sendOffer(a, b)
	}
}

// sendOffer answers a DISCOVER: with an offer, or at once with the lease where both sides want that (RFC 4039).
func (m *Machine) sendOffer(a *ask, b *binding) {
	if _, asked := a.msg.Options[dhcp.OptionRapidCommit]; asked && b.subnet.RapidCommit {
		m.bind(a, b.subnet, b.lease.Addr)
		return
	}
	m.answer(a, b.subnet, dhcp.Offer, b.lease.Addr)
}

// choose finds an address for a client: its reservation, what it has, what it is offered, what it had, what it asks for, a fresh one, the one that
// has been nobody's for longest. It looks for what a client has in all networks of its link before it looks for a fresh address in any.
func (m *Machine) choose(a *ask) (choice, Reason) {
	for _, s := range a.subnets {
		if r := a.reservation(s); r != nil && m.reservedFree(s, r, a.key(s)) {
			return choice{subnet: s, addr: r.Addr, mine: true}, ReasonNone
		}
	}
	for _, s := range a.subnets {
		if b := m.clients[client{s, a.key(s)}]; b != nil && b.lease.State == Bound && a.fits(s, b.lease.Addr) {
			return choice{subnet: s, addr: b.lease.Addr, mine: true}, ReasonNone
		}
	}
	for _, s := range a.subnets {
		key := a.key(s)
		if b := m.offers[client{s, key}]; b != nil && a.fits(s, b.lease.Addr) {
			return choice{subnet: s, addr: b.lease.Addr, mine: true}, ReasonNone
		}
		if b := m.clients[client{s, key}]; b != nil && b.offer == nil && (b.lease.State == Released || b.lease.State == Expired) && a.fits(s, b.lease.Addr) {
			return choice{subnet: s, addr: b.lease.Addr, mine: s.Port == 0 || m.now.Sub(b.ended) < freshness}, ReasonNone
		}
	}
	if want := a.msg.Addr(dhcp.OptionRequestedAddress); want != 0 && m.bindings[want] == nil {
		for _, s := range a.subnets {
			if s.contains(want) && !s.fixed(want) && a.fits(s, want) {
				return choice{subnet: s, addr: want}, ReasonNone
			}
		}
	}
	for _, s := range a.subnets {
		if addr, ok := m.unused(a, s); ok {
			return choice{subnet: s, addr: addr}, ReasonNone
		}
	}
	return m.lastResort(a)
}

// reservedFree reports that a client may have what is reserved for it now: nobody else has it still, and it does not rest.
func (m *Machine) reservedFree(s *subnet, r *Reservation, key string) bool {
	b := m.bindings[r.Addr]
	if s.own[r.Addr] {
		return false
	}
	return b == nil || b.whose() == key || b.offer == nil && (b.lease.State == Released || b.lease.State == Expired)
}

// unused is an address that nobody has, of the pools that a client may have one from.
func (m *Machine) unused(a *ask, s *subnet) (packet.Addr, bool) {
	class, own := a.class(s), s.pools[len(s.pools)-1]
	for _, p := range [...]*pool{class, own} {
		if p == nil {
			continue
		}
		if addr, ok := p.fresh(hash(a.key(s))); ok {
			return addr, true
		}
		if b := oldest(&p.spent); b != nil {
			return b.lease.Addr, true
		}
	}
	return 0, false
}

// lastResort takes an offer back that its client let lie, or an address that rests, if a probe now says that it is free. There is nothing else left.
func (m *Machine) lastResort(a *ask) (choice, Reason) {
	for _, s := range a.subnets {
		for _, p := range [...]*pool{a.class(s), s.pools[len(s.pools)-1]} {
			if p == nil {
				continue
			}
			if b := oldest(&p.offered); b != nil && !b.offer.probing && m.now.Sub(b.offer.since) >= offerGrace && b.offer.key != a.key(s) {
				addr := b.lease.Addr
				m.count.OffersRevoked++
				m.dropOffer(b)
				return choice{subnet: s, addr: addr}, ReasonNone
			}
			if b := oldest(&p.declined); b != nil && b.offer == nil && s.probes() && m.probing < maxProbes && m.now.Sub(b.checked) >= freshness {
				return choice{subnet: s, addr: b.lease.Addr, rested: true}, ReasonNone
			}
		}
	}
	for _, s := range a.subnets {
		if !s.dry && len(s.spans) > 0 {
			s.dry, s.drySince = true, m.now
			m.do(Exhausted{Subnet: s.Name})
		}
	}
	return choice{}, ReasonExhausted
}

// roomForOffer keeps offers within their bound, a quarter of that of leases. The oldest one goes that was let lie.
func (m *Machine) roomForOffer() Reason {
	if m.offered.Len() >= m.cfg.MaxLeases/4+1 && !m.revoke() {
		return ReasonTooManyOffers
	}
	return ReasonNone
}

// roomForLease keeps leases within their bound. The lease goes that ended longest ago, else an offer that was let lie.
func (m *Machine) roomForLease() Reason {
	if len(m.bindings) < m.cfg.MaxLeases {
		return ReasonNone
	}
	if b := oldest(&m.spent); b != nil {
		m.count.Evicted++
		m.free(b)
		return ReasonNone
	}
	if m.revoke() && len(m.bindings) < m.cfg.MaxLeases {
		return ReasonNone
	}
	return ReasonTooManyLeases
}

// revoke takes the oldest offer back, if its client has had the time to take it.
func (m *Machine) revoke() bool {
	b := oldest(&m.offered)
	if b == nil || b.offer.probing || m.now.Sub(b.offer.since) < offerGrace {
		return false
	}
	m.count.OffersRevoked++
	m.dropOffer(b)
	return true
}

// free forgets a lease, on disk too.
func (m *Machine) free(b *binding) {
	m.unlist(b)
	b.lease = Lease{Addr: b.lease.Addr, Subnet: b.lease.Subnet}
	b.key = ""
	m.do(Store{b.lease})
	m.settle(b)
}

// hash spreads clients over a range, and each to the same place at all times (FNV-1a, finished as in MurmurHash3, for its low bits are few).
func hash(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// probes reports that fresh addresses of the subnet are asked for.
func (s *subnet) probes() bool { return s.Probe && (s.Port != 0 || s.PingRelayed) }

// wantsProbe reports that an address must be asked for before it is offered.
func (m *Machine) wantsProbe(c choice, b *binding) bool {
	switch {
	case c.rested:
		return true
	case !c.subnet.probes() || c.mine || !b.checked.IsZero() && m.now.Sub(b.checked) < freshness:
		return false
	case m.probing >= maxProbes:
		m.count.ProbesSkipped++
		return false
	}
	return true
}

// probe asks for an address; the offer waits.
func (m *Machine) probe(b *binding) {
	m.probing++
	m.count.Probes++
	b.offer.probing = true
	b.offer.until = m.now.Add(probeTime)
	m.do(Probe{Port: b.subnet.Port, Addr: b.lease.Addr})
}

// probed takes the answer. Who answers may be the client itself, which then has the address already.
func (m *Machine) probed(e Probed) {
	b := m.bindings[e.Addr]
	if b == nil || b.offer == nil || !b.offer.probing {
		return
	}
	a, tries := b.offer.ask, b.offer.tries
	if !e.Taken || !e.MAC.IsZero() && bytes.Equal(e.MAC[:], a.chaddr()) {
		if b.lease.State == Declined {
			b.lease.State = Free
			m.do(Store{Lease{Addr: b.lease.Addr, Subnet: b.lease.Subnet}})
		}
		b.checked = m.now
		m.found(b)
		return
	}
	m.count.ProbesTaken++
	b.checked = m.now
	m.rest(b, e.MAC, "a probe before an offer was answered")
	if tries+1 >= maxTries {
		m.refuse(a, ReasonExhausted)
		return
	}
	m.offerOne(a, tries+1)
}

// unasked ends a probe to which the router gave no answer: the address is offered as if it were free, unless it rested.
func (m *Machine) unasked(b *binding) {
	m.count.ProbesUnanswered++
	if b.lease.State == Declined {
		a := b.offer.ask
		m.dropOffer(b)
		m.refuse(a, ReasonExhausted)
		return
	}
	m.found(b)
}

// found offers an address that nobody has.
func (m *Machine) found(b *binding) {
	m.probing--
	b.offer.probing, b.offer.since, b.offer.until = false, m.now, m.now.Add(offerTime)
	m.settle(b)
	m.sendOffer(b.offer.ask, b)
}

// rest lets an address lie for a while: somebody uses it who should not.
func (m *Machine) rest(b *binding, mac packet.MAC, why string) {
	m.dropOffer(b)
	name := b.lease.Hostname
	m.unlist(b)
	b = m.at(b.subnet, b.lease.Addr) // it may have been forgotten with its offer
	l := Lease{Addr: b.lease.Addr, State: Declined, Start: m.now, Expires: roundUp(m.now.Add(m.cfg.DeclineHold))}
	if !mac.IsZero() {
		l.HType, l.CHAddr = dhcp.Ethernet, bytes.Clone(mac[:])
	}
	if b.subnet != nil {
		l.Subnet = b.subnet.Name
	}
	b.lease, b.key, b.checked = l, "", m.now
	m.settle(b)
	m.do(Store{b.lease})
	m.do(LeaseEvent{Change: LeaseDeclined, Lease: b.lease, Before: name, Reason: why})
}
