package arp

import (
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// phase of an own address's life (RFC 5227).
type phase uint8

const (
	phaseProbing    phase = iota // section 2.1.1
	phaseAnnouncing              // section 2.3
	phaseSettled
	phaseConflicted // waiting to be tried again
)

// ownAddress is an address of the router on one port.
type ownAddress struct {
	port     *port
	addr     packet.Addr
	network  network
	phase    phase
	sent     int       // probes or announcements in this phase
	defended time.Time // zero: never
	timer    order.Deadline[expirer]
}

// ready reports that the address may be used: answered for and asked from.
func (o *ownAddress) ready() bool { return o.phase == phaseAnnouncing || o.phase == phaseSettled }

// start takes a fresh address into use: at once, or after probing for it.
func (m *Machine) start(o *ownAddress, detect bool) {
	if !detect {
		m.do(Address{o.port.id, o.addr, AddressReady})
		m.announceAfresh(o)
		return
	}
	o.phase, o.sent = phaseProbing, 0
	m.do(Address{o.port.id, o.addr, AddressTentative})
	m.deadlines.Set(&o.timer, m.now.Add(m.between(0, probeWait)))
}

// announceAfresh sends the first announcement and arms the next.
func (m *Machine) announceAfresh(o *ownAddress) {
	o.phase, o.sent = phaseAnnouncing, 1
	m.announce(o)
	m.deadlines.Set(&o.timer, m.now.Add(announceInterval))
}

func (o *ownAddress) expire(m *Machine) {
	switch o.phase {
	case phaseProbing:
		if o.sent == probeNum {
			m.do(Address{o.port.id, o.addr, AddressReady})
			m.announceAfresh(o)
			return
		}
		o.sent++
		m.count.AddressProbesSent++
		m.send(o.port, packet.BroadcastMAC, Message{Op: OpRequest, SenderMAC: o.port.mac, TargetAddr: o.addr})
		pause := announceWait
		if o.sent < probeNum {
			pause = m.between(probeMin, probeMax)
		}
		m.deadlines.Set(&o.timer, m.now.Add(pause))
	case phaseAnnouncing:
		o.sent++
		m.announce(o)
		if o.sent >= announceNum {
			o.phase = phaseSettled
			return
		}
		m.deadlines.Set(&o.timer, m.now.Add(announceInterval))
	case phaseConflicted:
		m.start(o, true)
	}
}

func (m *Machine) announce(o *ownAddress) {
	m.count.AnnouncementsSent++
	m.send(o.port, packet.BroadcastMAC, Message{Op: OpRequest, SenderMAC: o.port.mac, SenderAddr: o.addr, TargetAddr: o.addr})
}

// conflict handles another station's claim to o. An address in use is defended once in ten seconds
// and never given up: hosts have it as their gateway (RFC 5227 section 2.4, choice c).
func (m *Machine) conflict(o *ownAddress, mac packet.MAC) {
	m.bad(o.port.id, o.addr, mac, BadConflict)
	switch o.phase {
	case phaseProbing:
		o.phase = phaseConflicted
		m.do(Conflict{o.port.id, o.addr, mac, false})
		m.do(Address{o.port.id, o.addr, AddressConflicted})
		m.deadlines.Set(&o.timer, m.now.Add(rateLimitInterval))
	case phaseAnnouncing, phaseSettled:
		if !o.defended.IsZero() && m.now.Sub(o.defended) < defendInterval {
			return
		}
		o.defended = m.now
		m.announce(o)
		m.do(Conflict{o.port.id, o.addr, mac, true})
	}
}

// between draws a duration from low to high.
func (m *Machine) between(low, high time.Duration) time.Duration {
	return low + time.Duration(m.rng.Int64N(int64(high-low)+1))
}
