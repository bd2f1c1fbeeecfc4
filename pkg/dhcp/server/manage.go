package server

import (
	"fmt"
	"slices"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// taken notes that somebody uses an address without having it. Of a lease it is told; an address that nobody has rests, so that it is not given away meanwhile.
func (m *Machine) taken(e Taken) {
	its := holding(m.byPort[e.Port], e.Addr)
	if len(its) == 0 || its[0].own[e.Addr] {
		return
	}
	b := m.bindings[e.Addr]
	if b != nil && b.lease.State == Bound {
		if string(b.lease.CHAddr) == string(e.MAC[:]) || !b.told.IsZero() && m.now.Sub(b.told) < conflictGap {
			return
		}
		b.told = m.now
		m.count.Conflicts++
		m.do(LeaseEvent{Change: LeaseConflict, Lease: b.lease, Before: b.lease.Hostname, Reason: fmt.Sprintf("%v uses the address of another's lease", e.MAC)})
		return
	}
	if b != nil && b.lease.State == Declined || b != nil && b.offer != nil && string(b.offer.ask.chaddr()) == string(e.MAC[:]) {
		return
	}
	if b != nil && b.offer == nil && string(b.lease.CHAddr) == string(e.MAC[:]) && !b.told.IsZero() && m.now.Sub(b.told) < conflictGap {
		return
	}
	s := its[0]
	l := Lease{Addr: e.Addr, State: Declined, HType: dhcp.Ethernet, CHAddr: append([]byte(nil), e.MAC[:]...), Subnet: s.Name}
	m.count.Conflicts++
	m.do(LeaseEvent{Change: LeaseConflict, Lease: l, Reason: fmt.Sprintf("%v uses an address that is not leased", e.MAC)})
	if b != nil && b.offer == nil && string(b.lease.CHAddr) == string(e.MAC[:]) {
		b.told = m.now // it goes on after its lease: it may have it again
		return
	}
	if s.spanOf(e.Addr) == nil || s.count[Declined] >= int(s.size()/2) || b == nil && len(m.bindings) >= m.cfg.MaxLeases {
		return
	}
	if b != nil && b.offer != nil {
		m.lost(b.offer)
	}
	m.rest(m.at(s, e.Addr), e.MAC, "somebody uses the address without a lease")
}

// delete forgets the lease of an address, or that it rests.
func (m *Machine) delete(b *binding) {
	if b == nil {
		return
	}
	was := b.lease
	if b.offer != nil {
		m.lost(b.offer)
		m.dropOffer(b)
	}
	if was.State == Free {
		return
	}
	m.free(b)
	m.do(LeaseEvent{Change: LeaseDeleted, Lease: was, Before: was.Hostname})
}

func (m *Machine) deleteAll(e DeleteAll) {
	for _, b := range m.sorted() {
		in := b.subnet != nil && b.subnet.Name == e.Subnet
		if (e.Subnet == "" || in || b.subnet == nil && b.lease.Subnet == e.Subnet) && (e.State == Free || b.current() == e.State) {
			if e.State == Offered {
				m.lost(b.offer)
				m.dropOffer(b)
				continue
			}
			m.delete(b)
		}
	}
}

// importLeases takes leases from elsewhere, each by itself.
func (m *Machine) importLeases(leases []Lease) {
	for _, l := range leases {
		if why := m.importOne(l); why != "" {
			m.do(LeaseEvent{Change: LeaseImported, Lease: l, Reason: why})
		}
	}
}

// importOne takes a lease, or says why it does not.
func (m *Machine) importOne(l Lease) (refused string) {
	s := m.home(l.Addr, l.Subnet)
	switch {
	case s == nil:
		return fmt.Sprintf("%v is in no network that is served", l.Addr)
	case s.own[l.Addr]:
		return fmt.Sprintf("%v is the router's own address, or a gateway's", l.Addr)
	case slices.ContainsFunc(s.edges(), func(r Range) bool { return r.First == l.Addr }):
		return fmt.Sprintf("%v is the network's own or its broadcast address", l.Addr)
	case l.State != Bound:
		return fmt.Sprintf("%v is %v: only leases that are bound are imported", l.Addr, l.State)
	case len(l.CHAddr) > 16 || len(l.CHAddr) == 0 && len(l.ClientID) < 2:
		return fmt.Sprintf("%v has neither a hardware address of 1 to 16 octets nor a client identifier", l.Addr)
	}
	key := s.key(l.HType, l.CHAddr, l.ClientID)
	b := m.bindings[l.Addr]
	if b != nil && b.lease.State == Bound && b.key != key {
		return fmt.Sprintf("%v is leased to another client", l.Addr)
	}
	if r := s.reserved[l.Addr]; r != nil && r != s.reservation(l.HType, l.CHAddr, l.ClientID) {
		return fmt.Sprintf("%v is reserved for another client", l.Addr)
	}
	if has := m.clients[client{s, key}]; has != nil && has.lease.State == Bound && has.lease.Addr != l.Addr {
		return fmt.Sprintf("the client of %v has %v", l.Addr, has.lease.Addr)
	}
	if b == nil && len(m.bindings) >= m.cfg.MaxLeases {
		return ReasonTooManyLeases.Description()
	}
	if b != nil && b.offer != nil {
		m.lost(b.offer)
		m.dropOffer(b)
	}
	name := dhcp.Label(l.Hostname)
	if owner, kept := m.titles[name]; kept && owner != l.Addr {
		name = ""
	}
	b = m.at(s, l.Addr)
	before := b.lease.Hostname
	m.unlist(b)
	if l.Start.IsZero() {
		l.Start = m.now
	}
	if !l.Expires.IsZero() {
		l.Expires = roundUp(l.Expires)
	}
	l.Hostname, l.Subnet, l.Vendor = "", s.Name, printable([]byte(l.Vendor))
	l.CHAddr, l.ClientID, l.Agent = clone(l.CHAddr), clone(l.ClientID), clone(l.Agent)
	if !l.Expires.IsZero() && !l.Expires.After(m.now) {
		l.State, b.ended = Expired, l.Expires
	} else if rival := m.names[name]; name != "" && rival == nil {
		l.Hostname = name
		m.names[name] = b
	}
	b.lease, b.key = l, key
	m.clients[client{s, key}] = b
	m.settle(b)
	m.do(Store{b.lease})
	m.do(LeaseEvent{Change: LeaseImported, Lease: b.lease, Before: before})
	return ""
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// size is how many addresses a subnet can give away from its ranges, those of classes included.
func (s *subnet) size() (n uint64) {
	for _, p := range s.pools {
		n += p.size
	}
	return n
}

// SubnetStatus is a row of the table of networks.
type SubnetStatus struct {
	Name         string
	Port         PortID
	Server       packet.Addr
	Size         uint64 // addresses that can be given away: neither excluded nor reserved nor the router's
	Bound        int    // reservations included
	Offered      int
	Declined     int
	Ended        int    // released or expired, kept for their clients
	Free         uint64 // of Size, that nobody has; ended ones among them
	Reservations int
	Exhausted    bool
}
