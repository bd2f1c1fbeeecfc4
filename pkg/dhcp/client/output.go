package client

import (
	"slices"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// maxMessage is option 57: what a frame of 1500 octets carries, so that no server has to guess. RFC 2132 does not say whether the headers of IP
// and UDP count, and servers differ; this fits either way.
const maxMessage = 1472

// wanted is option 55, but for what the configuration adds. The classless routes stand before the gateways, as RFC 3442 demands.
var wanted = []uint8{
	dhcp.OptionSubnetMask, dhcp.OptionClasslessRoutes, dhcp.OptionRouter, dhcp.OptionDNS, dhcp.OptionDomain, dhcp.OptionSearch, dhcp.OptionMTU,
	dhcp.OptionBroadcast, dhcp.OptionNTP, dhcp.OptionLeaseTime, dhcp.OptionRenewalTime, dhcp.OptionRebindingTime,
}

// send transmits the message of the state (RFC 2131 table 5 and section 4.3.2).
func (m *Machine) send() {
	m.tries++
	m.sent, m.noted = m.now, false
	switch m.state {
	case Selecting:
		m.secs = m.elapsed()
		q := m.question(dhcp.Discover, m.secs)
		if a := AddrOf(m.lease); a != 0 {
			q.Options.SetAddr(dhcp.OptionRequestedAddress, a)
		} else if m.last != 0 {
			q.Options.SetAddr(dhcp.OptionRequestedAddress, m.last)
		}
		m.emit(q, 0, packet.Broadcast)
	case Requesting:
		q := m.question(dhcp.Request, m.secs)
		q.Options.SetAddr(dhcp.OptionRequestedAddress, AddrOf(m.offer))
		q.Options.SetAddr(dhcp.OptionServerID, m.offer.Server)
		m.emit(q, 0, packet.Broadcast)
	case Rebooting:
		q := m.question(dhcp.Request, m.elapsed())
		q.Options.SetAddr(dhcp.OptionRequestedAddress, AddrOf(m.lease))
		m.emit(q, 0, packet.Broadcast)
	case Renewing, Rebinding:
		q := m.question(dhcp.Request, m.elapsed())
		q.CIAddr, q.Flags = AddrOf(m.lease), 0
		to := m.lease.Server
		if m.state == Rebinding {
			to = packet.Broadcast
		}
		m.emit(q, q.CIAddr, to)
	}
}

// question is a DISCOVER or REQUEST.
func (m *Machine) question(t dhcp.Type, secs uint16) *dhcp.Message {
	q := m.message(t)
	q.Secs = secs
	if m.cfg.Broadcast {
		q.Flags = dhcp.BroadcastFlag
	}
	q.Options[dhcp.OptionMaxMessageSize] = []byte{maxMessage >> 8, maxMessage & 0xff}
	list := slices.Clone(wanted)
	for _, code := range m.cfg.Requests {
		if !slices.Contains(list, code) && code != 0 && code != dhcp.OptionEnd {
			list = append(list, code)
		}
	}
	q.Options[dhcp.OptionParameterRequests] = list
	if m.cfg.Hostname != "" {
		q.Options[dhcp.OptionHostname] = []byte(m.cfg.Hostname)
	}
	if m.cfg.Vendor != "" {
		q.Options[dhcp.OptionVendorClass] = []byte(m.cfg.Vendor)
	}
	if s := m.cfg.LeaseTime / time.Second; s > 0 {
		q.Options.SetUint32(dhcp.OptionLeaseTime, uint32(min(s, infinite)))
	}
	return q
}

// message is what all messages have in common.
func (m *Machine) message(t dhcp.Type) *dhcp.Message {
	q := &dhcp.Message{Op: dhcp.BootRequest, HType: dhcp.Ethernet, HLen: 6, XID: m.xid, Options: dhcp.Options{dhcp.OptionMessageType: {byte(t)}}}
	copy(q.CHAddr[:], m.cfg.MAC[:])
	if len(m.cfg.ClientID) > 0 {
		q.Options[dhcp.OptionClientID] = m.cfg.ClientID
	}
	return q
}

// sendDecline tells the server that somebody else has the address (RFC 2131 section 4.4.4). Afterwards the address is nobody's to speak from.
func (m *Machine) sendDecline(l *Lease) {
	if l == nil {
		return
	}
	m.xid = m.rng.Uint32()
	q := m.message(dhcp.Decline)
	q.Options.SetAddr(dhcp.OptionRequestedAddress, AddrOf(l))
	q.Options.SetAddr(dhcp.OptionServerID, l.Server)
	m.emit(q, 0, packet.Broadcast)
}

// sendRelease gives the lease in use back (RFC 2131 section 4.4.6). It leaves before the address goes.
func (m *Machine) sendRelease() {
	m.xid = m.rng.Uint32()
	q := m.message(dhcp.Release)
	q.CIAddr = AddrOf(m.lease)
	q.Options.SetAddr(dhcp.OptionServerID, m.lease.Server)
	m.emit(q, q.CIAddr, m.lease.Server)
}

func (m *Machine) emit(q *dhcp.Message, src, dst packet.Addr) {
	start := len(m.buf)
	m.buf = q.Append(m.buf)
	m.count.Sent[q.Type()]++
	m.act(Send{Src: src, Dst: dst, Payload: m.buf[start:len(m.buf):len(m.buf)]})
}

// elapsed is the field `secs`: since the transaction began.
func (m *Machine) elapsed() uint16 { return uint16(min(m.now.Sub(m.began)/time.Second, 0xffff)) }
