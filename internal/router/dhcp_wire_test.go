package router

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/internal/simhost"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dhcp"
)

// The other ends of DHCP: stations that share the wire of a simulated host and speak by hand, and a server whose answers a test
// writes.

func ip4(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// wireOf is what a simulated host's wire carries, as the stations on it see it.
type wireOf struct {
	t      *testing.T
	h      *simhost.Host
	gw     packet.MAC // the router's there, once it was heard of
	mu     sync.Mutex
	list   map[packet.MAC]*station
	server *station // which gets what goes to servers
	lax    bool     // messages that are none are no fault: the relay carries what hosts say
}

// station is a host by hand.
type station struct {
	w    *wireOf
	mac  packet.MAC
	addr packet.Addr // it answers ARP for it; 0: none
	got  chan heard
	arp  chan arp.Message // what it heard of ARP
}

// heard is a message to a station, and how it came.
type heard struct {
	*dhcp.Message
	eth      packet.MAC // link-layer destination
	src, dst packet.Addr
	port     uint16
}

// stationsOn puts stations beside a host, which goes on as before.
func stationsOn(t *testing.T, l *lab, port string) *wireOf {
	w := &wireOf{t: t, list: map[packet.MAC]*station{}}
	w.plug(l, port)
	w.h.OnFrame(w.frame)
	return w
}

// plug is called when the port has its host.
func (w *wireOf) plug(l *lab, port string) {
	h, mac := l.host(port), packet.MAC{}
	l.do(func() { mac = l.ports[port].cfg.MAC })
	w.mu.Lock()
	w.h, w.gw = h, mac
	w.mu.Unlock()
}

func (w *wireOf) station(n int) *station {
	s := &station{w: w, mac: packet.MAC{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}, got: make(chan heard, 64), arp: make(chan arp.Message, 64)}
	w.mu.Lock()
	w.list[s.mac] = s
	w.mu.Unlock()
	return s
}

// frame is called with what arrives; true: it was for a station.
func (w *wireOf) frame(f []byte) bool {
	eth := packet.Ethernet(f)
	switch eth.Type() {
	case packet.EtherTypeARP:
		m, bad := arp.Decode(f[packet.EthernetLen:])
		if bad != arp.BadNone {
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, s := range w.list {
			select {
			case s.arp <- m:
			default:
			}
			if w.h != nil && m.Op == arp.OpRequest && s.addr != 0 && m.TargetAddr == s.addr {
				answer := arp.Message{Op: arp.OpReply, SenderMAC: s.mac, SenderAddr: s.addr, TargetMAC: m.SenderMAC, TargetAddr: m.SenderAddr}
				w.h.SendFrame(answer.AppendFrame(nil, m.SenderMAC, s.mac))
				return true
			}
		}
	case packet.EtherTypeIPv4:
		ip := packet.IPv4(bytes.Clone(f[packet.EthernetLen:]))
		if ip.Protocol() != packet.ProtoUDP {
			return false
		}
		u := packet.UDP(ip.Payload())
		if u.DstPort() != dhcp.ClientPort && u.DstPort() != dhcp.ServerPort {
			return false
		}
		m, bad := dhcp.Decode(u[packet.UDPLen:u.Length()])
		if bad != dhcp.Good && w.lax {
			return true
		}
		if bad != dhcp.Good {
			w.t.Errorf("the router sends what is no message: %v", bad)
			return true
		}
		what := heard{m, eth.Dst(), ip.Src(), ip.Dst(), u.DstPort()}
		w.mu.Lock()
		defer w.mu.Unlock()
		to := w.list[m.MAC()]
		if u.DstPort() == dhcp.ServerPort {
			to = w.server
		}
		if to != nil {
			to.got <- what
		}
		return true
	}
	return false
}

// send puts a message on the wire; dst 0: broadcast from 0.0.0.0.
func (s *station) send(m *dhcp.Message, src, dst packet.Addr) {
	to := packet.BroadcastMAC
	if dst == 0 {
		dst = packet.Broadcast
	} else if dst != packet.Broadcast {
		to = s.w.gw
	}
	from, at := uint16(dhcp.ClientPort), uint16(dhcp.ServerPort)
	if m.Op == dhcp.BootReply {
		from, at = at, from
		if m.GIAddr != 0 {
			at = dhcp.ServerPort
		}
	}
	s.datagram(to, src, dst, from, at, m.Append(nil))
}

func (s *station) datagram(to packet.MAC, src, dst packet.Addr, from, at uint16, payload []byte) {
	frame := appendDatagram(nil, &datagram{src: src, dst: dst, srcPort: from, dstPort: at, ttl: 64, payload: payload})
	eth := packet.Ethernet(frame)
	eth.SetDst(to)
	eth.SetSrc(s.mac)
	eth.SetType(packet.EtherTypeIPv4)
	if err := s.w.h.SendFrame(frame); err != nil {
		s.w.t.Error(err)
	}
}

func (s *station) message(kind dhcp.Type) *dhcp.Message {
	m := &dhcp.Message{Op: dhcp.BootRequest, HType: dhcp.Ethernet, HLen: 6, XID: uint32(s.mac[5]) | uint32(s.mac[4])<<8 | 0x5000000, Options: dhcp.Options{
		dhcp.OptionMessageType: {byte(kind)}, dhcp.OptionParameterRequests: {1, 3, 6, 15, 51, 54},
	}}
	copy(m.CHAddr[:], s.mac[:])
	return m
}

// next is the next message to the station.
func (s *station) next(want dhcp.Type) heard {
	s.w.t.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	select {
	case m := <-s.got:
		if m.Type() != want {
			s.w.t.Fatalf("%v came, expected %v", m.Type(), want)
		}
		return m
	case <-timeout.C:
		s.w.t.Fatalf("no %v came", want)
		return heard{}
	}
}

// silent fails when a message comes within a moment.
func (s *station) silent(what string) {
	s.w.t.Helper()
	timeout := time.NewTimer(300 * time.Millisecond)
	defer timeout.Stop()
	select {
	case m := <-s.got:
		s.w.t.Fatalf("%s: %v came", what, m.Type())
	case <-timeout.C:
	}
}

// joins gets an address by DISCOVER and REQUEST.
func (s *station) joins() heard {
	s.w.t.Helper()
	s.send(s.message(dhcp.Discover), 0, 0)
	offer := s.next(dhcp.Offer)
	s.send(s.selects(offer), 0, 0)
	ack := s.next(dhcp.ACK)
	if ack.YIAddr != offer.YIAddr {
		s.w.t.Fatalf("%v was offered, %v acknowledged", offer.YIAddr, ack.YIAddr)
	}
	s.has(ack.YIAddr)
	return ack
}

// selects is the REQUEST that follows an offer.
func (s *station) selects(offer heard) *dhcp.Message {
	m := s.message(dhcp.Request)
	m.XID, m.GIAddr = offer.XID, offer.GIAddr
	m.Options.SetAddr(dhcp.OptionRequestedAddress, offer.YIAddr)
	m.Options[dhcp.OptionServerID] = offer.Options[dhcp.OptionServerID]
	return m
}

// has gives the station an address, for which it answers ARP.
func (s *station) has(a packet.Addr) {
	s.w.mu.Lock()
	s.addr = a
	s.w.mu.Unlock()
}

// renewal is the REQUEST of a client that has an address.
func (s *station) renewal() *dhcp.Message {
	m := s.message(dhcp.Request)
	m.CIAddr = s.addr
	return m
}

// serverOn is a DHCP server by hand beside a simulated host, as which it is known: it has the host's addresses.
type serverOn struct {
	*station
	addr packet.Addr
}

// homeServed is a home with a server outside, which is there before the router.
func homeServed(t *testing.T, text string, opt Options) (*lab, *serverOn) {
	t.Helper()
	hosts, w := homeHosts(), &wireOf{t: t, list: map[packet.MAC]*station{}}
	w.server = w.station(0xfeed)
	outside := hosts.hosts["wan"]
	outside.OnFrame = w.frame
	hosts.hosts["wan"] = outside
	l := newLab(t, hosts, opt)
	l.begin(text)
	w.plug(l, "wan")
	return l, &serverOn{w.server, packet.AddrFrom(outside.Address.Addr())}
}

// gives is an answer to what a client asks.
func (s *serverOn) gives(to heard, kind dhcp.Type, address, router string, seconds uint32, more ...func(dhcp.Options)) {
	m := &dhcp.Message{Op: dhcp.BootReply, HType: to.HType, HLen: to.HLen, XID: to.XID, Flags: to.Flags, CHAddr: to.CHAddr, GIAddr: to.GIAddr, Options: dhcp.Options{
		dhcp.OptionMessageType: {byte(kind)},
	}}
	m.Options.SetAddr(dhcp.OptionServerID, s.addr)
	if id, ok := to.Options[dhcp.OptionClientID]; ok {
		m.Options[dhcp.OptionClientID] = id
	}
	dst := packet.Broadcast
	if kind != dhcp.NAK {
		p := netip.MustParsePrefix(address)
		m.YIAddr = packet.AddrFrom(p.Addr())
		m.Options.SetAddr(dhcp.OptionSubnetMask, packet.Mask(p.Bits()))
		m.Options.SetUint32(dhcp.OptionLeaseTime, seconds)
		if router != "" {
			m.Options.SetAddr(dhcp.OptionRouter, ip4(router))
		}
		for _, f := range more {
			f(m.Options)
		}
		if to.Flags&dhcp.BroadcastFlag == 0 {
			dst = m.YIAddr // to an address that nobody has yet
		}
	}
	s.send(m, s.addr, dst)
}

// lends lets a client have an address from its DISCOVER on.
func (s *serverOn) lends(address, router string, seconds uint32, more ...func(dhcp.Options)) {
	s.w.t.Helper()
	s.gives(s.next(dhcp.Discover), dhcp.Offer, address, router, seconds, more...)
	s.gives(s.next(dhcp.Request), dhcp.ACK, address, router, seconds, more...)
}

// hasAddress waits until a port has just these addresses.
func (l *lab) hasAddress(port string, want ...string) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("port %s has %v", port, want), func() bool {
		got := l.port(port).Addresses
		return fmt.Sprint(got) == fmt.Sprint(want)
	})
}
