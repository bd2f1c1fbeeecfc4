package server

import (
	"cmp"
	"slices"
	"time"

	"vrouterd/internal/packet"
)

// Leases are all leases and offers, by address, as they are at a time that is not before the last Step. What they hold is not to be changed.
func (m *Machine) Leases(now time.Time) []Lease {
	leases := make([]Lease, 0, len(m.bindings))
	for _, b := range m.bindings {
		leases = append(leases, b.shown(now))
	}
	slices.SortFunc(leases, func(a, b Lease) int { return cmp.Compare(a.Addr, b.Addr) })
	return leases
}

// Lookup is what is known of an address.
func (m *Machine) Lookup(a packet.Addr) (Lease, bool) {
	b := m.bindings[a]
	if b == nil {
		return Lease{}, false
	}
	return b.shown(m.now), true
}

// shown is a binding as others see it.
func (b *binding) shown(now time.Time) Lease {
	l := b.lease
	if o := b.offer; o != nil {
		l = Lease{
			Addr: l.Addr, State: Offered, HType: o.ask.msg.HType, CHAddr: o.ask.chaddr(), ClientID: o.ask.id(),
			Subnet: b.subnet.Name, Start: o.since, Expires: o.until,
		}
	} else if l.State == Bound && !l.Expires.IsZero() && !l.Expires.After(now) {
		l.State, l.Hostname = Expired, ""
	}
	return l
}

// Subnets are the networks in the order of the configuration, as of the last Step.
func (m *Machine) Subnets(time.Time) []SubnetStatus {
	rows := make([]SubnetStatus, 0, len(m.subnets))
	for _, s := range m.subnets {
		row := SubnetStatus{
			Name: s.Name, Port: s.Port, Server: s.Server, Size: s.size(), Reservations: len(s.reserved), Exhausted: s.dry,
			Bound: s.count[Bound], Offered: s.count[Offered], Declined: s.count[Declined], Ended: s.count[Released] + s.count[Expired],
		}
		for _, sp := range s.spans {
			row.Free += sp.room.size - sp.taken
		}
		for _, p := range s.pools {
			row.Free += uint64(p.spent.Len())
		}
		rows = append(rows, row)
	}
	return rows
}

// Counters are what was counted since New.
func (m *Machine) Counters() Counters { return m.count }
