package client

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// receive lets a datagram climb the ladder. What falls off is counted; what was meant for us and is of no use is told of, once for each message that we
// sent, as it may be why there is no address.
func (m *Machine) receive(e Receive) {
	a, why := m.answer(e)
	if why != ReasonNone {
		m.ignore(why, a, e.Src)
		return
	}
	t := a.Type()
	server := a.Addr(dhcp.OptionServerID)
	if why = m.fromWhom(t, server); why != ReasonNone {
		m.ignore(why, a, e.Src)
		return
	}
	if t == dhcp.NAK {
		m.refused(a, server)
		return
	}
	l, why := m.leaseOf(a, server)
	if why == ReasonNone {
		why = m.asAsked(t, l)
	}
	if why != ReasonNone {
		m.ignore(why, a, e.Src)
		return
	}
	m.count.Received[t]++
	m.offer = l
	switch {
	case t == dhcp.Offer:
		m.feed(inOffer)
	case m.state == Requesting && m.cfg.Check && !(m.used && AddrOf(m.lease) == AddrOf(l)):
		m.feed(inFresh)
	default:
		m.feed(inACK)
	}
}

// answer is the message of a datagram, if it answers our last one.
func (m *Machine) answer(e Receive) (*dhcp.Message, Reason) {
	if e.SrcPort != dhcp.ServerPort {
		return nil, IgnoredPort
	}
	a, bad := dhcp.Decode(e.Payload)
	if bad != dhcp.Good {
		m.count.Bad[bad]++
		return nil, IgnoredMessage
	}
	id, hasID := a.Options[dhcp.OptionClientID]
	switch {
	case a.Op != dhcp.BootReply:
		return nil, IgnoredOp
	case a.HType != dhcp.Ethernet || a.HLen != 6 || a.MAC() != m.cfg.MAC:
		return nil, IgnoredHardware
	case a.XID != m.xid:
		return nil, IgnoredTransaction
	case hasID && string(id) != string(m.cfg.ClientID): // RFC 6842 section 3
		return nil, IgnoredClientID
	}
	in := inACK
	switch a.Type() {
	case dhcp.Offer:
		in = inOffer
	case dhcp.NAK:
		in = inNAK
	case dhcp.ACK:
	default:
		return nil, IgnoredType
	}
	if transitions[m.state][in].do == 0 {
		return nil, IgnoredUnexpected
	}
	return a, ReasonNone
}

// fromWhom checks the server identifier: after an offer only the server that was asked may answer, and while renewing only that one may refuse.
// When every server was asked, each may.
func (m *Machine) fromWhom(t dhcp.Type, server packet.Addr) Reason {
	switch {
	case !host(server):
		return IgnoredNoServer
	case m.state == Requesting && server != m.offer.Server, m.state == Renewing && t == dhcp.NAK && server != m.lease.Server:
		return IgnoredOtherServer
	case m.state == Selecting && m.tries <= 1 && server == m.shun:
		return IgnoredShunned
	}
	return ReasonNone
}

// asAsked checks that an ACK gives what was asked for.
func (m *Machine) asAsked(t dhcp.Type, l *Lease) Reason {
	if t != dhcp.ACK {
		return ReasonNone
	}
	asked := m.lease
	if m.state == Requesting {
		asked = m.offer
	}
	if AddrOf(l) != AddrOf(asked) {
		return IgnoredOther
	}
	return ReasonNone
}

// refused takes a NAK.
func (m *Machine) refused(a *dhcp.Message, server packet.Addr) {
	m.count.Received[dhcp.NAK]++
	if m.lease == nil {
		m.count.Reasons[ReasonRefused]++
	}
	at := len(m.actions)
	m.feed(inNAK)
	for i := at; i < len(m.actions); i++ {
		if n, is := m.actions[i].(Note); is {
			n.Server, n.Text = server, printable(a.Options[dhcp.OptionMessage])
			m.actions[i] = n
		}
	}
}

// ignore counts a message, and tells of one that answers us without being of use.
func (m *Machine) ignore(why Reason, a *dhcp.Message, from packet.Addr) {
	m.count.Reasons[why]++
	if why < IgnoredNoServer || why == IgnoredOtherServer || why == IgnoredShunned || m.noted {
		return
	}
	m.noted = true
	n := Note{Reason: why, Server: from}
	if a != nil {
		n.Addr = a.YIAddr
	}
	m.act(n)
}

// printable is what a server said, for people: at most 200 characters of ASCII.
func printable(b []byte) string {
	out := make([]byte, 0, min(len(b), 200))
	for _, c := range b {
		if len(out) == cap(out) || c == 0 {
			break
		}
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
