package arp

import (
	"net/netip"

	"vrouterd/internal/packet"
)

// network is an IPv4 prefix as numbers.
type network struct {
	addr packet.Addr // masked
	bits int
}

func networkOf(p netip.Prefix) (network, bool) {
	if !p.IsValid() || !p.Addr().Unmap().Is4() {
		return network{}, false
	}
	bits := p.Bits()
	if p.Addr().Is4In6() {
		bits -= 96
	}
	if bits < 0 {
		return network{}, false
	}
	return network{packet.AddrFrom(p.Addr()) & packet.Mask(bits), bits}, true
}

func networksOf(ps []netip.Prefix) []network {
	var out []network
	for _, p := range ps {
		if n, ok := networkOf(p); ok {
			out = append(out, n)
		}
	}
	return out
}

func (n network) contains(a packet.Addr) bool { return a&packet.Mask(n.bits) == n.addr }

// reserves reports the network and the directed broadcast address. A /31 has neither (RFC 3021).
func (n network) reserves(a packet.Addr) bool {
	return n.bits < 31 && n.contains(a) && (a == n.addr || a == n.addr|^packet.Mask(n.bits))
}

// longest is the length of the longest network that holds a, or -1.
func longest(ns []network, a packet.Addr) int {
	bits := -1
	for _, n := range ns {
		if n.contains(a) {
			bits = max(bits, n.bits)
		}
	}
	return bits
}

// port is a port that is up.
type port struct {
	id     PortID
	mac    packet.MAC
	own    []*ownAddress
	onLink []network // the networks of own, and those of routes
	proxy  []network
}

// find is the port's own address a, or nil.
func (p *port) find(a packet.Addr) *ownAddress {
	for _, o := range p.own {
		if o.addr == a {
			return o
		}
	}
	return nil
}

// source is the address to ask for a from: one of a's network, else the first in use; 0 if none is.
func (p *port) source(a packet.Addr) packet.Addr {
	var first packet.Addr
	for _, o := range p.own {
		if !o.ready() {
			continue
		}
		if o.network.contains(a) {
			return o.addr
		}
		if first == 0 {
			first = o.addr
		}
	}
	return first
}

// host reports an address that a station on the port's link can have. 240.0.0.0/4 is let
// pass: whether it is forwarded is not decided here.
func (p *port) host(a packet.Addr) bool {
	if a.IsZeroNet() || a.IsLoopback() || a.IsMulticast() || a == packet.Broadcast {
		return false
	}
	for _, n := range p.onLink {
		if n.reserves(a) {
			return false
		}
	}
	return true
}

// portUp brings a port up, or fits an up port to what changed.
func (m *Machine) portUp(e PortUp) {
	p, known := m.ports[e.Port], true
	if p == nil {
		p, known = &port{id: e.Port}, false
		m.ports[e.Port] = p
	}
	moved := known && p.mac != e.MAC
	p.mac = e.MAC
	p.proxy = networksOf(e.ProxyARP)
	p.onLink = networksOf(e.OnLink)

	before := p.own
	p.own = nil
	var fresh []*ownAddress
	for _, prefix := range e.Addresses {
		net, ok := networkOf(prefix)
		addr := packet.AddrFrom(prefix.Addr())
		if !ok || addr == 0 || p.find(addr) != nil {
			continue
		}
		o := (&port{own: before}).find(addr)
		if o == nil {
			o = &ownAddress{port: p, addr: addr}
			o.timer.Owner = o
			m.own[addr]++
			fresh = append(fresh, o)
		}
		o.network = net
		p.own = append(p.own, o)
		p.onLink = append(p.onLink, net)
	}
	for _, o := range before {
		if p.find(o.addr) == nil {
			m.dropOwn(o)
		}
	}

	m.forgetWhere(DropMoved, func(n *neighbor) bool {
		switch {
		case m.own[n.addr] > 0:
			if n.state == StatePermanent {
				m.bad(n.port, n.addr, n.mac, BadStaticAddress)
			}
			return true
		case n.port != p.id || n.state == StatePermanent:
			return false
		}
		return longest(p.onLink, n.addr) < 0 || !p.host(n.addr)
	})
	for n := m.lists[StatePermanent].oldest; n != nil; n = n.newer {
		if n.port == p.id {
			m.bind(n)
		}
	}
	for _, o := range p.own {
		if moved && o.ready() {
			m.announceAfresh(o)
		}
	}
	for _, o := range fresh {
		m.start(o, e.DAD)
	}
}

// portDown forgets a port. Permanent neighbours stay, without an adjacency, until it is up again.
func (m *Machine) portDown(id PortID) {
	p := m.ports[id]
	if p == nil {
		return
	}
	m.forgetWhere(DropPortLost, func(n *neighbor) bool { return n.port == id && n.state != StatePermanent })
	for n := m.lists[StatePermanent].oldest; n != nil; n = n.newer {
		if n.port == id {
			m.unbind(n)
		}
	}
	for _, o := range p.own {
		m.dropOwn(o)
	}
	delete(m.ports, id)
}

func (m *Machine) dropOwn(o *ownAddress) {
	m.deadlines.Clear(&o.timer)
	if m.own[o.addr]--; m.own[o.addr] == 0 {
		delete(m.own, o.addr)
	}
}
