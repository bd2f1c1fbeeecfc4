package server

import (
	"cmp"
	"slices"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// configure puts a configuration into force. Leases stay, with the subnet that their address is in now.
func (m *Machine) configure(c Config) {
	if c.DeclineHold <= 0 {
		c.DeclineHold = defaultRest
	}
	if c.MaxLeases <= 0 {
		c.MaxLeases = defaultLeases
	}
	before := m.subnets
	m.cfg, m.subnets = c, nil
	m.byPort, m.own, m.titles = map[PortID][]*subnet{}, map[packet.Addr]bool{}, map[string]packet.Addr{}
	for _, sc := range c.Subnets {
		s := newSubnet(sc)
		m.subnets = append(m.subnets, s)
		if s.Port != 0 {
			m.byPort[s.Port] = append(m.byPort[s.Port], s)
		}
		if s.Server != 0 {
			m.own[s.Server] = true
		}
		for _, r := range sc.Reservations {
			if name := dhcp.Label(r.Name); name != "" {
				m.titles[name] = r.Addr
			}
		}
		for _, old := range before {
			if old.Name == s.Name {
				s.dry, s.drySince = old.dry, old.drySince
			}
		}
	}
	m.refile()
	for _, s := range m.subnets {
		if s.available() {
			m.recovered(s, false)
		}
	}
}

// available reports that there is an address to give to a client without a class.
func (s *subnet) available() bool {
	p := s.pools[len(s.pools)-1]
	if _, ok := p.fresh(0); ok {
		return true
	}
	return p.spent.Len() > 0
}

// refile gives every binding its subnet, its range and its client's key under the configuration. Offers are taken back: a client that
// was made one asks, or is told to ask, again.
func (m *Machine) refile() {
	all := m.sorted()
	m.bindings, m.clients, m.offers, m.names = map[packet.Addr]*binding{}, map[client]*binding{}, map[client]*binding{}, map[string]*binding{}
	m.offered, m.spent, m.deadlines, m.probing = order.Chain[*binding]{}, order.Chain[*binding]{}, order.Heap[*binding]{}, 0
	for _, b := range all {
		if b.offer != nil {
			m.lost(b.offer)
		}
		if b.lease.State != Free {
			m.restore(b)
		}
	}
}

// sorted are all bindings: those that ended first, then by when they began, so that lists and names come out as they were.
func (m *Machine) sorted() []*binding {
	all := make([]*binding, 0, len(m.bindings))
	for _, b := range m.bindings {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *binding) int {
		return cmp.Or(a.ended.Compare(b.ended), a.lease.Start.Compare(b.lease.Start), cmp.Compare(a.lease.Addr, b.lease.Addr))
	})
	return all
}

// restore files what is known of an address anew.
func (m *Machine) restore(old *binding) *binding {
	l := old.lease
	s := m.home(l.Addr, l.Subnet)
	b := m.at(s, l.Addr)
	b.lease, b.ended, b.checked, b.told = l, old.ended, old.checked, old.told
	if s != nil {
		b.lease.Subnet = s.Name
	}
	if l.State != Declined {
		b.key = s.key(l.HType, l.CHAddr, l.ClientID)
		c := client{s, b.key}
		if has := m.clients[c]; has == nil || l.State == Bound || has.lease.State != Bound {
			m.clients[c] = b
		}
	}
	if owner, kept := m.titles[l.Hostname]; kept && owner != l.Addr {
		b.lease.Hostname, l.Hostname = "", ""
		if l.State == Bound {
			m.do(LeaseEvent{Change: LeaseRenewed, Lease: b.lease, Before: old.lease.Hostname, Reason: "the name is a reservation's now"})
		}
	}
	if l.State == Bound && l.Hostname != "" {
		if rival := m.names[l.Hostname]; rival != nil {
			rival.lease.Hostname = ""
		}
		m.names[l.Hostname] = b
	}
	m.settle(b)
	return b
}

// home is the subnet of an address: the one of that name, if the address lies there, else any.
func (m *Machine) home(a packet.Addr, name string) *subnet {
	var any *subnet
	for _, s := range m.subnets {
		if s.contains(a) {
			if s.Name == name {
				return s
			}
			if any == nil {
				any = s
			}
		}
	}
	return any
}

// load takes what the journal held.
func (m *Machine) load(leases []Lease) {
	leases = slices.Clone(leases)
	slices.SortStableFunc(leases, func(a, b Lease) int { return a.Start.Compare(b.Start) })
	for _, l := range leases {
		if l.State == Free || l.State >= NumStates || l.State == Offered {
			continue
		}
		b := &binding{lease: l}
		if l.State == Released || l.State == Expired {
			b.ended = l.Expires
		}
		b.lease.Hostname = dhcp.Label(l.Hostname)
		m.restore(b)
	}
}
