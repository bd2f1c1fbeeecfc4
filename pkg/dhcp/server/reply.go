package server

import (
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// headers are the octets of IP and UDP, which a client's largest message size counts (RFC 2132 section 9.10).
const headers = 28

// largest is the longest message that is sent, whatever a client takes: one that an Ethernet frame holds.
const largest = 1500 - headers

// begin puts a reply together as far as all are alike.
func (m *Machine) begin(a *ask, s *subnet, t dhcp.Type) *dhcp.Message {
	r := &m.reply
	o := r.Options
	clear(o)
	*r = dhcp.Message{
		Op: dhcp.BootReply, HType: a.msg.HType, HLen: a.msg.HLen, XID: a.msg.XID, Flags: a.msg.Flags,
		GIAddr: a.msg.GIAddr, CHAddr: a.msg.CHAddr, Options: o,
	}
	if t != 0 {
		o[dhcp.OptionMessageType] = []byte{byte(t)}
		o.SetAddr(dhcp.OptionServerID, m.identifier(a, s))
	}
	for _, echoed := range [...]uint8{dhcp.OptionClientID, dhcp.OptionRelayAgent} { // RFC 6842, RFC 3046 section 2.2
		if v, has := a.msg.Options[echoed]; has && t != 0 {
			o[echoed] = v
		}
	}
	return r
}

// answer sends an OFFER or ACK of an address.
func (m *Machine) answer(a *ask, s *subnet, t dhcp.Type, addr packet.Addr) {
	r := m.begin(a, s, t)
	r.YIAddr = addr
	if t == dhcp.ACK {
		r.CIAddr = a.msg.CIAddr
	}
	reserved := a.reservation(s)
	length := m.leaseTime(a, s, reserved)
	if length >= Infinite {
		r.Options.SetUint32(dhcp.OptionLeaseTime, 0xffffffff)
	} else {
		t1, t2 := s.timers(length)
		r.Options.SetUint32(dhcp.OptionLeaseTime, uint32(length/time.Second))
		r.Options.SetUint32(dhcp.OptionRenewalTime, uint32(t1/time.Second))
		r.Options.SetUint32(dhcp.OptionRebindingTime, uint32(t2/time.Second))
	}
	if _, discover := a.msg.Options[dhcp.OptionRapidCommit]; discover && t == dhcp.ACK && a.msg.Type() == dhcp.Discover {
		r.Options[dhcp.OptionRapidCommit] = nil
	}
	if v, has := a.msg.Options[dhcp.OptionFQDN]; has {
		m.answerFQDN(r, s, v, m.bindings[addr], reserved)
	}
	m.configured(a, s, reserved, r)
	m.send(a, s, r, t)
}

// timers are T1 and T2 of a lease (RFC 2131 section 4.4.5): as configured where the lease is long enough for them, else half and seven eighths.
func (s *subnet) timers(length time.Duration) (t1, t2 time.Duration) {
	t1, t2 = s.T1, s.T2
	if t2 <= 0 || t2 >= length {
		t2 = length * 7 / 8
	}
	if t1 <= 0 || t1 >= t2 {
		t1 = min(length/2, t2)
	}
	return t1, t2
}

// answerFQDN answers option 81 (RFC 4702 section 4): the router serves the client's name, so it does the updating, unless it is told not to.
func (m *Machine) answerFQDN(r *dhcp.Message, s *subnet, v []byte, b *binding, reserved *Reservation) {
	q, ok := dhcp.DecodeFQDN(v)
	if !ok {
		return
	}
	reply := dhcp.FQDN{Flags: q.Flags & dhcp.FQDNEncoded}
	switch {
	case q.Flags&dhcp.FQDNNoUpdates != 0:
		reply.Flags |= dhcp.FQDNNoUpdates
	case q.Flags&dhcp.FQDNServerUpdates == 0:
		reply.Flags |= dhcp.FQDNServerUpdates | dhcp.FQDNOverride
	default:
		reply.Flags |= dhcp.FQDNServerUpdates
	}
	name := dhcp.Label(q.Name)
	if reserved != nil && reserved.Name != "" {
		name = dhcp.Label(reserved.Name)
	} else if b != nil && b.lease.State == Bound {
		name = b.lease.Hostname
	}
	if reply.Name = name; name != "" && s.Domain != "" {
		reply.Name += "." + s.Domain
	}
	r.Options[dhcp.OptionFQDN] = reply.Append(nil)
}

// layers are the options that a client may have, the ones that win first.
type layers [3]map[uint8][]byte

func (l *layers) get(code uint8) ([]byte, bool) {
	for _, options := range l {
		if v, has := options[code]; has {
			return v, true
		}
	}
	return nil, false
}

// kept are codes that no configuration decides: the protocol does.
func kept(code uint8) bool {
	switch code {
	case 0, dhcp.OptionRequestedAddress, dhcp.OptionLeaseTime, dhcp.OptionOverload, dhcp.OptionMessageType, dhcp.OptionServerID, dhcp.OptionParameterRequests,
		dhcp.OptionMaxMessageSize, dhcp.OptionRenewalTime, dhcp.OptionRebindingTime, dhcp.OptionClientID, dhcp.OptionRapidCommit, dhcp.OptionFQDN,
		dhcp.OptionRelayAgent, dhcp.OptionEnd:
		return true
	}
	return false
}

// configured adds what is configured for a client: of the network and its class what it asks for (option 55), in its order, or everything if it does not say; always the subnet
// mask, and what its own reservation says. With classless routes it gets no other ones (RFC 3442).
func (m *Machine) configured(a *ask, s *subnet, reserved *Reservation, r *dhcp.Message) {
	all := layers{2: s.base}
	if reserved != nil {
		all[0] = reserved.Options
	}
	if class := a.class(s); class != nil {
		all[1] = class.conf.Options
	}
	add := func(code uint8) {
		if kept(code) {
			return
		}
		if code == dhcp.OptionHostname && reserved != nil && reserved.Name != "" {
			r.Options[code] = []byte(dhcp.Label(reserved.Name))
		}
		if v, has := all.get(code); has {
			r.Options[code] = v
		}
	}
	requests, picky := a.msg.Options[dhcp.OptionParameterRequests]
	for _, code := range requests {
		add(code)
	}
	r.Order = requests
	if !picky {
		for _, options := range all[1:] {
			for code := range options {
				add(code)
			}
		}
		add(dhcp.OptionHostname)
	}
	for code := range all[0] {
		add(code)
	}
	add(dhcp.OptionSubnetMask)
	if _, routes := r.Options[dhcp.OptionClasslessRoutes]; routes && picky {
		delete(r.Options, dhcp.OptionRouter)
		delete(r.Options, optionStaticRoutes)
	}
	r.SIAddr = s.NextServer
	// Who does not ask for these as options reads them in the header.
	if _, sent := r.Options[dhcp.OptionBootfile]; !sent || !picky {
		r.File = field(&all, r, dhcp.OptionBootfile, 127)
	}
	if _, sent := r.Options[dhcp.OptionTFTPServer]; !sent || !picky {
		r.SName = field(&all, r, dhcp.OptionTFTPServer, 63)
	}
}

const optionStaticRoutes = 33 // of classful networks (RFC 2132 section 5.8)

// field is an option's text for a field of the header, and takes the option's place, if it is short enough.
func field(all *layers, r *dhcp.Message, code uint8, most int) string {
	v, _ := all.get(code)
	if len(v) > most {
		return ""
	}
	delete(r.Options, code)
	return string(v)
}

// sendNAK says no.
func (m *Machine) sendNAK(a *ask, s *subnet, why Reason) {
	r := m.begin(a, s, dhcp.NAK)
	r.Options[dhcp.OptionMessage] = []byte(why.Description())
	if r.GIAddr != 0 {
		r.Flags |= dhcp.BroadcastFlag // the relay is to broadcast it (RFC 2131 section 4.3.2)
	}
	m.send(a, s, r, dhcp.NAK)
}

// send puts a reply on its way (RFC 2131 section 4.1).
func (m *Machine) send(a *ask, s *subnet, r *dhcp.Message, t dhcp.Type) {
	size := dhcp.MaxDefault - headers
	if v := a.msg.Options[dhcp.OptionMaxMessageSize]; len(v) == 2 {
		size = min(max(int(v[0])<<8|int(v[1])-headers, size), largest)
	}
	if t == 0 {
		m.count.OptionsLeftOut += uint64(shorten(r.Options))
	}
	start := len(m.frames)
	var left []uint8
	m.frames, left = r.AppendWithin(m.frames, size)
	m.count.OptionsLeftOut += uint64(len(left))
	m.count.Sent[t]++
	out := Send{Port: a.port, Src: m.source(a, s), DstPort: dhcp.ClientPort, Payload: m.frames[start:len(m.frames):len(m.frames)]}
	m.direct(a, r, t, &out)
	m.do(out)
}

// shorten leaves the options with the lowest codes that the 64 octets hold which a BOOTP client reads (RFC 1533 section 2), and tells how many it took away.
func shorten(o dhcp.Options) (left int) {
	room := 64 - 4 - 1 // less the cookie and the end
	for code := range dhcp.OptionEnd {
		v, has := o[uint8(code)]
		if n := len(v) + 2; has && n > room {
			delete(o, uint8(code))
			left++
		} else if has {
			room -= n
		}
	}
	return left
}

// direct says where a reply goes.
func (m *Machine) direct(a *ask, r *dhcp.Message, t dhcp.Type, out *Send) {
	informed := a.msg.Type() == dhcp.Inform
	switch ci := a.msg.CIAddr; {
	case informed && ci != 0: // RFC 2131 section 4.3.5, relayed or not
		out.Dst = ci
	case a.msg.GIAddr != 0:
		out.Dst, out.DstPort = a.msg.GIAddr, dhcp.ServerPort
	case a.routed:
		out.Dst = ci
	case t == dhcp.NAK:
		out.Dst = broadcast
	case ci != 0:
		out.Dst = ci
	case informed && a.src != 0: // a client that forgot to say who it is
		out.Dst = a.src
	case a.msg.Flags&dhcp.BroadcastFlag != 0 || a.link.IsZero() || a.msg.HType != dhcp.Ethernet || a.msg.HLen != 6 || r.YIAddr == 0:
		out.Dst = broadcast
	default:
		out.Dst, out.MAC = r.YIAddr, a.msg.MAC()
	}
	if a.msg.GIAddr != 0 || a.routed {
		out.Port = 0
	}
}
