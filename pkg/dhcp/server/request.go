package server

import (
	"bytes"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// request answers the four ways of REQUEST (RFC 2131 section 4.3.2).
//
//	              server identifier   option 50   ciaddr
//	selecting     there               the offer   0
//	init-reboot   none                the lease   0
//	renewing      none                none        the lease; came to our address
//	rebinding     none                none        the lease; came by broadcast
func (m *Machine) request(a *ask) {
	id, selecting := a.msg.Options[dhcp.OptionServerID]
	if selecting && !(len(id) == 4 && m.ours(a, a.msg.Addr(dhcp.OptionServerID))) {
		m.chosenAnother(a)
		return
	}
	addr := a.msg.Addr(dhcp.OptionRequestedAddress)
	if addr == 0 || !selecting && a.msg.CIAddr != 0 {
		addr = a.msg.CIAddr
	}
	if addr == 0 {
		m.refuse(a, ReasonNoRequestedAddress)
		return
	}
	s, known, why := m.judge(a, addr)
	switch {
	case why == ReasonNone && (known || selecting || s.Authoritative):
		if m.bindings[addr] == nil {
			if why := m.roomForLease(); why != ReasonNone {
				m.refuse(a, why)
				return
			}
		}
		m.bind(a, s, addr)
	case why == ReasonNone:
		m.refuse(a, ReasonUnknownClient)
	case selecting || known || s.Authoritative:
		m.nak(a, s, why)
	default:
		m.refuse(a, why)
	}
}

// chosenAnother takes back what was offered to a client that went to another server.
func (m *Machine) chosenAnother(a *ask) {
	for _, s := range a.subnets {
		if b := m.offers[client{s, a.key(s)}]; b != nil {
			m.lost(b.offer)
			m.dropOffer(b)
		}
	}
	m.refuse(a, ReasonOtherServer)
}

// judge says whether a client may have, or keep, an address. known: the server has, or had, a lease or an offer for the client.
func (m *Machine) judge(a *ask, addr packet.Addr) (s *subnet, known bool, why Reason) {
	for _, s := range a.subnets {
		c := client{s, a.key(s)}
		known = known || m.clients[c] != nil || m.offers[c] != nil
	}
	its := holding(a.subnets, addr)
	if len(its) == 0 {
		return a.subnets[0], known, ReasonWrongNetwork
	}
	s = its[0]
	key, b := a.key(s), m.bindings[addr]
	has := b != nil && b.lease.State == Bound && b.key == key
	if r := a.reservation(s); r != nil && r.Addr != addr && m.reservedFree(s, r, key) {
		return s, known, ReasonReservedElsewhere
	}
	switch {
	case !a.fits(s, addr):
		return s, known, ReasonDoesNotFit
	case has || b == nil:
	case b.lease.State == Bound || b.offer != nil && b.offer.key != key || b.offer == nil && b.lease.State == Declined,
		b.offer != nil && b.offer.probing && b.lease.State == Declined:
		return s, known, ReasonAddressTaken
	}
	// A late copy of an old request must not take from a client the address that it has: without an offer it keeps that.
	if b == nil || b.whose() != key {
		if old := m.clients[client{s, key}]; old != nil && old.lease.State == Bound && old.lease.Addr != addr && a.fits(s, old.lease.Addr) {
			return s, known, ReasonAddressTaken
		}
	}
	return s, known, ReasonNone
}

// nak refuses an address (RFC 2131 table 3), so that the client begins anew.
func (m *Machine) nak(a *ask, s *subnet, why Reason) {
	m.count.NAKs[why]++
	m.sendNAK(a, s, why)
}

// bind gives a client an address, or extends its lease, and acknowledges that: the lease is stored first.
func (m *Machine) bind(a *ask, s *subnet, addr packet.Addr) {
	event := m.give(a, s, addr, m.expiry(m.leaseTime(a, s, a.reservation(s))))
	m.answer(a, s, dhcp.ACK, addr)
	m.do(event)
}

// give makes an address a client's until a time, and stores that. What else it had on the link ends: a client that takes an address uses no other.
func (m *Machine) give(a *ask, s *subnet, addr packet.Addr, expires time.Time) LeaseEvent {
	for _, t := range a.subnets {
		c := client{t, a.key(t)}
		if b := m.offers[c]; b != nil && b.lease.Addr != addr {
			m.lost(b.offer)
			m.dropOffer(b)
		}
		if old := m.clients[c]; old != nil && old.lease.Addr != addr && old.lease.State == Bound {
			name := m.end(old, Released, m.now)
			m.do(Store{old.lease})
			m.do(LeaseEvent{Change: LeaseReleased, Lease: old.lease, Before: name, Reason: "the client took another address"})
		}
	}
	key, b := a.key(s), m.at(s, addr)
	if b.offer != nil {
		if b.offer.probing {
			m.lost(b.offer)
			m.probing--
		}
		delete(m.offers, client{s, b.offer.key})
		b.offer = nil
	}
	event := LeaseEvent{Change: LeaseBound}
	begun := m.now
	if b.lease.State == Bound {
		event, begun = LeaseEvent{Change: LeaseRenewed, Before: b.lease.Hostname}, b.lease.Start
		expires = longer(b.lease.Expires, expires, a.anew())
	}
	if b.key != key {
		m.unlist(b)
	}
	b.key = key
	b.lease = Lease{
		Addr: addr, State: Bound, HType: a.msg.HType, CHAddr: bytes.Clone(a.chaddr()), ClientID: a.id(),
		Vendor: printable(a.msg.Options[dhcp.OptionVendorClass]), Subnet: s.Name, Agent: a.msg.Options[dhcp.OptionRelayAgent],
		Start: begun, Expires: expires,
	}
	m.clients[client{s, key}] = b
	b.lease.Hostname = m.name(a, b, a.reservation(s), event.Before, event.Change == LeaseRenewed)
	m.settle(b)
	m.do(Store{b.lease})
	event.Lease = b.lease
	return event
}

// longer is when a lease ends that is extended to a time: not before it would have ended, for the answer that says so may be lost, and the client keep to the
// one before. Only a lease without end gets one, and only from a client that begins anew: else it would be there for ever when leases are made
// finite.
func longer(before, after time.Time, anew bool) time.Time {
	if after.IsZero() || before.IsZero() && anew || !before.IsZero() && before.Before(after) {
		return after
	}
	return before
}

// anew reports that the client has given up what it had before: it asked for offers.
func (a *ask) anew() bool {
	_, selecting := a.msg.Options[dhcp.OptionServerID]
	return selecting || a.msg.Type() == dhcp.Discover
}

// expiry is when a lease of that length ends: never before the client thinks so, also where the journal writes whole seconds.
func (m *Machine) expiry(length time.Duration) time.Time {
	if length >= Infinite {
		return time.Time{}
	}
	return roundUp(m.now.Add(length))
}

// roundUp is the next whole second.
func roundUp(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}

// leaseTime is how long a lease of a client is: what it asks for within bounds, else what is configured.
func (m *Machine) leaseTime(a *ask, s *subnet, r *Reservation) time.Duration {
	if r != nil && r.Lease > 0 {
		return r.Lease
	}
	if want, asked := a.msg.Uint32(dhcp.OptionLeaseTime); asked {
		return min(max(time.Duration(want)*time.Second, s.MinLease), s.MaxLease)
	}
	return s.Lease
}

// name is what a client is called in DNS: its reservation's name, else what it says. A name goes to the client that took an address with it last, but not
// to one that only renews; those of reservations are kept for them.
func (m *Machine) name(a *ask, b *binding, r *Reservation, before string, renewed bool) string {
	name := claimed(a.msg)
	if r != nil && r.Name != "" {
		name = dhcp.Label(r.Name)
	} else if owner, kept := m.titles[name]; kept && !(r != nil && r.Addr == owner) || trusted(name) {
		m.count.NamesRefused++
		name = ""
	}
	if before != name && m.names[before] == b {
		delete(m.names, before)
	}
	if name == "" {
		return ""
	}
	if rival := m.names[name]; rival != nil && rival != b {
		if renewed && r == nil {
			return ""
		}
		rival.lease.Hostname = ""
		m.do(LeaseEvent{Change: LeaseRenewed, Lease: rival.lease, Before: name, Reason: "another client took the name"})
	}
	m.names[name] = b
	return name
}

// claimed is the name that a client says it has: option 81 goes before option 12 (RFC 4702 section 3.1), and may ask that nothing be done with it.
func claimed(msg *dhcp.Message) string {
	if v, has := msg.Options[dhcp.OptionFQDN]; has {
		if q, ok := dhcp.DecodeFQDN(v); ok && (q.Name != "" || q.Flags&dhcp.FQDNNoUpdates != 0) {
			if q.Flags&dhcp.FQDNNoUpdates != 0 {
				return ""
			}
			return dhcp.Label(q.Name)
		}
	}
	return dhcp.Label(string(msg.Options[dhcp.OptionHostname]))
}

// trusted reports a name that other hosts look up by themselves to find out whom to send their traffic to (web proxies, tunnels): only a
// reservation may bear it.
func trusted(name string) bool { return name == "wpad" || name == "isatap" }

// printable is a text of a client for logs and the journal: what is no visible ASCII character becomes a question mark.
func printable(v []byte) string {
	v = bytes.TrimRight(v[:min(len(v), 128)], "\x00")
	out := make([]byte, len(v))
	for i, c := range v {
		if out[i] = c; c < ' ' || c > '~' {
			out[i] = '?'
		}
	}
	return string(out)
}
