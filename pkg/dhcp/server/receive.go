package server

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// ask is one message, and what is known of its sender. It outlives the Step where an offer waits for a probe.
type ask struct {
	port     PortID
	link     packet.MAC
	src, dst packet.Addr
	msg      *dhcp.Message
	subnets  []*subnet // those that the client may be in; never empty past locate
	routed   bool      // a client of a relayed network that wrote to us without its relay
	override packet.Addr
	seen     seen // by the subnet that was asked about last
}

// broadcast is the limited broadcast address.
const broadcast = packet.Addr(0xffffffff)

// receive is the ladder that a datagram climbs.
func (m *Machine) receive(e Receive) {
	msg, bad := dhcp.Decode(e.Payload)
	if bad != dhcp.Good {
		m.count.Bad[bad]++
		m.do(Refused{Port: e.Port, MAC: e.Link, Reason: ReasonMalformed})
		return
	}
	a := &ask{port: e.Port, link: e.Link, src: e.Src, dst: e.Dst, msg: msg}
	m.count.Received[min(int(msg.Type()), NumTypes-1)]++
	why := m.admit(a)
	if len(e.Payload) > maxMessage {
		why = ReasonTooLong
	}
	if why != ReasonNone {
		m.refuse(a, why)
		return
	}
	switch msg.Type() {
	case 0:
		m.bootp(a)
	case dhcp.Discover:
		m.discover(a)
	case dhcp.Request:
		m.request(a)
	case dhcp.Decline:
		m.decline(a)
	case dhcp.Release:
		m.release(a)
	case dhcp.Inform:
		m.inform(a)
	default:
		m.refuse(a, ReasonType)
	}
}

// admit refuses what is too large to be remembered, has no sender or comes from nowhere.
func (m *Machine) admit(a *ask) Reason {
	switch {
	case len(a.id()) > maxOption || len(a.msg.Options[dhcp.OptionRelayAgent]) > maxOption:
		return ReasonTooLong
	case a.msg.Op != dhcp.BootRequest:
		return ReasonNotRequest
	case a.msg.HLen == 0 && len(a.msg.Options[dhcp.OptionClientID]) < 2:
		return ReasonNoIdentity
	case m.own[a.msg.GIAddr]:
		return ReasonForgedRelay
	}
	return m.locate(a)
}

// locate finds the networks that a client may be in. What a relay says goes before its own address (RFC 3527), and that
// before what the client says (RFC 3011).
func (m *Machine) locate(a *ask) Reason {
	selected := a.msg.Addr(dhcp.OptionSubnetSelection)
	if a.msg.GIAddr != 0 {
		link := a.msg.GIAddr
		if selected != 0 {
			link = selected
		}
		if subs, ok := dhcp.DecodeSubOptions(a.msg.Options[dhcp.OptionRelayAgent]); ok {
			if by := subs.Addr(dhcp.RelayLinkSelection); by != 0 {
				link = by
			}
			a.override = subs.Addr(dhcp.RelayServerOverride)
		}
		a.subnets = m.around(link)
		if len(a.subnets) > 0 && a.subnets[0].Port != 0 && a.subnets[0].Port != a.port {
			return ReasonForgedRelay // else a host of one port could empty the pool of another
		}
	} else {
		a.subnets = m.byPort[a.port]
		if selected != 0 {
			a.subnets = holding(a.subnets, selected)
		}
		if c := a.msg.CIAddr; c != 0 && a.dst != broadcast && len(holding(a.subnets, c)) == 0 {
			if far := holding(m.subnets, c); len(far) > 0 && far[0].Port == 0 {
				a.subnets, a.routed = far, true
			}
		}
	}
	if len(a.subnets) == 0 {
		return ReasonNoSubnet
	}
	return ReasonNone
}

// around are the networks that share a link with an address, its own first.
func (m *Machine) around(link packet.Addr) []*subnet {
	its := holding(m.subnets, link)
	if len(its) == 0 || its[0].Port == 0 || len(m.byPort[its[0].Port]) == len(its) {
		return its
	}
	for _, s := range m.byPort[its[0].Port] {
		if !s.contains(link) {
			its = append(its, s)
		}
	}
	return its
}

// holding are those of the networks that an address is of.
func holding(subnets []*subnet, a packet.Addr) []*subnet {
	if len(subnets) == 1 && subnets[0].contains(a) {
		return subnets
	}
	var out []*subnet
	for _, s := range subnets {
		if s.contains(a) {
			out = append(out, s)
		}
	}
	return out
}

// refuse counts and tells that a message is not served.
func (m *Machine) refuse(a *ask, why Reason) {
	m.count.Refused[why]++
	m.do(Refused{Port: a.port, MAC: a.mac(), Reason: why})
}

// lost gives an offer up that still waits for its probe.
func (m *Machine) lost(o *offer) {
	if o.probing {
		m.refuse(o.ask, ReasonReconfigured)
	}
}

// mac is the client's hardware address where it is an Ethernet one, else the sender's of the frame.
func (a *ask) mac() packet.MAC {
	if a.msg.HType == dhcp.Ethernet && a.msg.HLen == 6 {
		return a.msg.MAC()
	}
	return a.link
}

func (a *ask) chaddr() []byte { return a.msg.CHAddr[:a.msg.HLen] }

func (a *ask) id() []byte { return a.msg.Options[dhcp.OptionClientID] }

// seen is what a subnet knows the sender by.
type seen struct {
	in          *subnet
	key         string
	reservation *Reservation
	class       *pool
}

// as looks the sender up in a subnet, once for all that follows: an ask does not outlive a configuration.
func (a *ask) as(s *subnet) *seen {
	if a.seen.in != s {
		r := s.reservation(a.msg.HType, a.chaddr(), a.id())
		a.seen = seen{s, s.keyOf(r, a.msg.HType, a.chaddr(), a.id()), r, s.class(a.msg.Options[dhcp.OptionVendorClass])}
	}
	return &a.seen
}

func (a *ask) key(s *subnet) string { return a.as(s).key }

func (a *ask) reservation(s *subnet) *Reservation { return a.as(s).reservation }

func (a *ask) class(s *subnet) *pool { return a.as(s).class }

// fits reports that the sender may have an address of a subnet.
func (a *ask) fits(s *subnet, addr packet.Addr) bool {
	return s.fits(addr, a.reservation(s), a.class(s))
}

// ours reports that a server identifier names this server.
func (m *Machine) ours(a *ask, id packet.Addr) bool {
	return m.own[id] || id == a.override && id != 0 || id == a.dst && id != broadcast
}

// identifier is how the server calls itself to a client (RFC 2132 section 9.7, RFC 5107).
func (m *Machine) identifier(a *ask, s *subnet) packet.Addr {
	if a.override != 0 {
		return a.override
	}
	return m.source(a, s)
}

// source is the router's address that answers come from.
func (m *Machine) source(a *ask, s *subnet) packet.Addr {
	if s.Server != 0 {
		return s.Server
	}
	if a.dst != broadcast && a.dst != 0 {
		return a.dst
	}
	for _, s := range m.byPort[a.port] {
		return s.Server
	}
	return 0
}
