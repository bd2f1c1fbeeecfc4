package server

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// subnet is a Subnet made ready to serve.
type subnet struct {
	Subnet
	pools    []*pool // those of classes in their order, then the subnet's own
	spans    []*span // of all pools, by address
	base     dhcp.Options
	reserved map[packet.Addr]*Reservation
	byMAC    map[packet.MAC]*Reservation
	byID     map[string]*Reservation
	own      map[packet.Addr]bool // the router's and the gateways': nobody's to have

	count    [NumStates]int // of bindings; that of Free means nothing
	dry      bool           // it was told that there is no address to give
	drySince time.Time
}

func newSubnet(c Subnet) *subnet {
	s := &subnet{
		Subnet:   c,
		reserved: map[packet.Addr]*Reservation{}, byMAC: map[packet.MAC]*Reservation{}, byID: map[string]*Reservation{},
		own: map[packet.Addr]bool{c.Server: true},
	}
	for _, g := range c.Gateway {
		s.own[g] = true
	}
	s.setBounds()
	exclude := merged(append(s.edges(), c.Exclude...))
	for i := range c.Pools {
		p := &pool{conf: &c.Pools[i]}
		p.add(merged(c.Pools[i].Ranges), exclude)
		s.pools = append(s.pools, p)
	}
	own := &pool{}
	own.add(merged(c.Ranges), exclude)
	s.pools = append(s.pools, own)
	for _, p := range s.pools {
		s.spans = append(s.spans, p.spans...)
	}
	slices.SortFunc(s.spans, func(a, b *span) int { return int(int64(a.First) - int64(b.First)) })
	for i := range c.Reservations {
		r := &c.Reservations[i]
		s.reserved[r.Addr] = r
		if r.MAC.IsZero() {
			s.byID[string(r.ClientID)] = r
		} else {
			s.byMAC[r.MAC] = r
		}
	}
	for a := range s.own {
		s.fix(a)
	}
	for a := range s.reserved {
		if !s.own[a] {
			s.fix(a)
		}
	}
	s.setBase()
	return s
}

// edges are the network's own address and its broadcast address, which are no host's (RFC 1122 section 3.2.1.3); networks of two
// addresses have neither (RFC 3021).
func (s *subnet) edges() []Range {
	if s.Network.Bits() > 30 {
		return nil
	}
	first := packet.AddrFrom(s.Network.Addr())
	last := first | ^packet.Mask(s.Network.Bits())
	return []Range{{first, first}, {last, last}}
}

// fix takes an address out of its range for good.
func (s *subnet) fix(a packet.Addr) {
	if sp := s.spanOf(a); sp != nil {
		sp.set(uint64(a - sp.First))
		sp.pool.size--
	}
}

// fixed reports that an address of a range is not given away from it.
func (s *subnet) fixed(a packet.Addr) bool { return s.own[a] || s.reserved[a] != nil }

// setBounds fills in what the configuration leaves to us.
func (s *subnet) setBounds() {
	if s.Lease <= 0 {
		s.Lease = defaultLease
	}
	if s.MaxLease <= 0 {
		s.MaxLease = s.Lease
	}
	if s.MinLease <= 0 {
		s.MinLease = min(minLease, s.Lease)
	}
	s.MinLease = min(s.MinLease, s.MaxLease)
}

// setBase encodes the options that every client of the subnet may have.
func (s *subnet) setBase() {
	o := dhcp.Options{}
	o.SetAddr(dhcp.OptionSubnetMask, packet.Mask(s.Network.Bits()))
	if s.Network.Bits() <= 30 {
		o.SetAddr(dhcp.OptionBroadcast, packet.AddrFrom(s.Network.Addr())|^packet.Mask(s.Network.Bits()))
	}
	if len(s.Gateway) > 0 {
		o.SetAddr(dhcp.OptionRouter, s.Gateway...)
	}
	if len(s.DNS) > 0 {
		o.SetAddr(dhcp.OptionDNS, s.DNS...)
	}
	for code, text := range map[uint8]string{dhcp.OptionDomain: s.Domain, dhcp.OptionBootfile: s.BootFile, dhcp.OptionTFTPServer: s.ServerName} {
		if text != "" {
			o[code] = []byte(text)
		}
	}
	for code, v := range s.Options {
		o[code] = v
	}
	s.base = o
}

// contains reports that an address is one of the network's.
func (s *subnet) contains(a packet.Addr) bool {
	return (a^packet.AddrFrom(s.Network.Addr()))&packet.Mask(s.Network.Bits()) == 0
}

// spanOf is the span that an address lies in.
func (s *subnet) spanOf(a packet.Addr) *span {
	i := sort.Search(len(s.spans), func(i int) bool { return s.spans[i].Last >= a })
	if i < len(s.spans) && s.spans[i].First <= a {
		return s.spans[i]
	}
	return nil
}

// reservation is that of a client, known by its hardware address or its id.
func (s *subnet) reservation(htype uint8, chaddr, id []byte) *Reservation {
	if len(id) > 0 {
		if r := s.byID[string(id)]; r != nil {
			return r
		}
	}
	if htype == dhcp.Ethernet && len(chaddr) == 6 {
		return s.byMAC[packet.MAC(chaddr)]
	}
	return nil
}

// key tells clients of the subnet apart. A client with a reservation is known by that, as the operator sees it: a machine that boots first with one id and
// then with another is one client when its reservation is by its hardware address.
func (s *subnet) key(htype uint8, chaddr, id []byte) string {
	if s == nil {
		return s.keyOf(nil, htype, chaddr, id)
	}
	return s.keyOf(s.reservation(htype, chaddr, id), htype, chaddr, id)
}

// keyOf is key for a client whose reservation is known.
func (*subnet) keyOf(r *Reservation, htype uint8, chaddr, id []byte) string {
	var b [20]byte
	switch {
	case r != nil:
		return string(binary.BigEndian.AppendUint32(append(b[:0], reservedKey), uint32(r.Addr)))
	case len(id) >= 2:
		return "\x01" + string(id)
	}
	return string(append(append(b[:0], 0, htype), chaddr...))
}

const reservedKey = 2 // the first octet of a key; those of dhcp.Message.ClientKey are 0 and 1

// class is the first pool whose vendor class begins as the client's does; nil: none.
func (s *subnet) class(vendor []byte) *pool {
	for _, p := range s.pools {
		if p.conf != nil && bytes.HasPrefix(vendor, []byte(p.conf.Vendor)) {
			return p
		}
	}
	return nil
}

// fits reports that a client may have an address: it is its reservation, or nobody's and in a range that is open to it.
func (s *subnet) fits(a packet.Addr, r *Reservation, class *pool) bool {
	if r != nil && r.Addr == a {
		return true
	}
	if s.fixed(a) {
		return false
	}
	sp := s.spanOf(a)
	return sp != nil && (sp.pool.conf == nil || sp.pool == class)
}
