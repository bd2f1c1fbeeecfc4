package server

import (
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// held is the address that a client says it has, if it has.
func (m *Machine) held(a *ask, addr packet.Addr) *binding {
	b := m.bindings[addr]
	if b == nil || b.subnet == nil || len(holding(a.subnets, addr)) == 0 || b.whose() != a.key(b.subnet) {
		return nil
	}
	return b
}

// forUs reports that a message to one server is for this one; one that names none is for all.
func (m *Machine) forUs(a *ask) bool {
	_, names := a.msg.Options[dhcp.OptionServerID]
	return !names || m.ours(a, a.msg.Addr(dhcp.OptionServerID))
}

// decline lets an address rest that its client found in use (RFC 2131 section 4.3.3). One client may do that to few addresses at a time only; beyond that it merely gives them back, and
// they are asked for before they are offered again.
func (m *Machine) decline(a *ask) {
	if !m.forUs(a) {
		m.refuse(a, ReasonOtherServer)
		return
	}
	b := m.held(a, a.msg.Addr(dhcp.OptionRequestedAddress))
	if b == nil || b.current() != Bound && b.current() != Offered || b.offer != nil && b.offer.probing {
		m.refuse(a, ReasonNotHolder)
		return
	}
	if !m.decliners.allow(m.now, m.cfg.DeclineHold, string(a.chaddr())) {
		m.dropOffer(b)
		if b.lease.State == Bound {
			name := m.end(b, Released, m.now)
			b.ended, b.checked = time.Time{}, time.Time{}
			m.do(Store{b.lease})
			m.do(LeaseEvent{Change: LeaseReleased, Lease: b.lease, Before: name, Reason: ReasonTooManyDeclines.Description()})
		}
		m.refuse(a, ReasonTooManyDeclines)
		return
	}
	m.count.Accepted++
	m.rest(b, a.mac(), "the client found the address in use")
}

// release ends a lease at its client's wish (RFC 2131 section 4.3.4). The address is kept for it while there are others.
func (m *Machine) release(a *ask) {
	if !m.forUs(a) {
		m.refuse(a, ReasonOtherServer)
		return
	}
	b := m.held(a, a.msg.CIAddr)
	if b == nil || b.lease.State != Bound {
		m.refuse(a, ReasonNotHolder)
		return
	}
	m.count.Accepted++
	name := m.end(b, Released, m.now)
	m.do(Store{b.lease})
	m.do(LeaseEvent{Change: LeaseReleased, Lease: b.lease, Before: name})
}

// inform tells a host that has its address from elsewhere what else it should know (RFC 2131 section 4.3.5).
func (m *Machine) inform(a *ask) {
	addr := a.msg.CIAddr
	if addr == 0 {
		addr = a.src
	}
	its := holding(a.subnets, addr)
	if len(its) == 0 {
		m.refuse(a, ReasonWrongNetwork)
		return
	}
	r := m.begin(a, its[0], dhcp.ACK)
	r.CIAddr = a.msg.CIAddr
	m.configured(a, its[0], a.reservation(its[0]), r)
	m.send(a, its[0], r, dhcp.ACK)
}

// bootp answers hosts that speak the older protocol (RFC 951, RFC 1534): those that have a reservation, for they keep their address for ever.
func (m *Machine) bootp(a *ask) {
	for _, s := range a.subnets {
		r := a.reservation(s)
		if r == nil || !m.reservedFree(s, r, a.key(s)) {
			continue
		}
		if m.bindings[r.Addr] == nil {
			if why := m.roomForLease(); why != ReasonNone {
				m.refuse(a, why)
				return
			}
		}
		event := m.give(a, s, r.Addr, time.Time{})
		reply := m.begin(a, s, 0)
		reply.YIAddr = r.Addr
		m.configured(a, s, r, reply)
		m.send(a, s, reply, 0)
		m.do(event)
		return
	}
	m.refuse(a, ReasonBootp)
}

// decliners remember who declined addresses lately. There are so many of them at most; the one that has been remembered longest makes room.
type decliners struct {
	by    map[string]*decliner
	order []string
}

type decliner struct {
	since time.Time
	n     int
}

// allow counts a decline and reports that it is not one too many.
func (d *decliners) allow(now time.Time, hold time.Duration, who string) bool {
	for len(d.order) > 0 && (len(d.order) >= maxDecliners || now.Sub(d.by[d.order[0]].since) >= hold) {
		delete(d.by, d.order[0])
		d.order = d.order[1:]
	}
	c := d.by[who]
	if c == nil {
		c = &decliner{since: now}
		d.by[who] = c
		d.order = append(d.order, who)
	}
	c.n++
	return c.n <= maxDeclines
}
