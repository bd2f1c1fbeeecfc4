package dataplane

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// bare is a test bed whose ports end before the device: what remains is the router's own work.
func bare(b *testing.B, o natOptions) *natbed {
	o.tables = func(t *Tables) {
		for id := range t.Ports {
			t.Ports[id].Attachment = nil
		}
	}
	return newNATbed(b, o)
}

// handle lets a packet pass from ip4Input to the edge of the egress device.
func (b *natbed) handle(ip packet.IPv4, in PortID) {
	p := &b.w.pkt
	*p = work{buf: b.w.buf, end: headroom + len(ip), in: in}
	copy(b.w.buf[headroom:], ip)
	b.w.ip4Input(p, &b.w.tables.Ports[in])
}

// BenchmarkPacket is the router's own work for a packet, without reading and writing.
func BenchmarkPacket(b *testing.B) {
	e := ends{inner, hostB, 5000, 53}
	c := ends{inner, hostB, 40000, 80}
	for _, k := range []struct {
		name string
		o    natOptions
		ip   packet.IPv4
		off  bool
	}{
		{"plain", natOptions{}, udpPacket(e, numbered(22)), true},
		{"tracked", natOptions{}, udpPacket(e, numbered(22)), false},
		{"nat", natOptions{rules: masquerade(), firewall: home()}, udpPacket(e, numbered(22)), false},
		{"nat-tcp", natOptions{rules: masquerade(), firewall: home()}, tcpPacket(c, packet.TCPAck, 101, 901, numbered(1400)), false},
	} {
		b.Run(k.name, func(b *testing.B) {
			n := bare(b, k.o)
			if k.off {
				n.change(func(t *Tables) { t.Stateful = nil })
			}
			n.w.begin()
			defer n.w.end()
			n.handle(tcpPacket(c, packet.TCPSyn, 100, 0, nil), portA)
			n.handle(tcpPacket(ends{hostB, wan, 80, 40000}, packet.TCPSyn|packet.TCPAck, 900, 101, nil), portB)
			b.ReportAllocs()
			before := n.drops()[DropTxPortDown.String()]
			i := uint64(0)
			for b.Loop() {
				n.handle(k.ip, portA)
				i++
			}
			if got := n.drops()[DropTxPortDown.String()] - before; got != i {
				b.Fatalf("%d of %d packets came to the device; drops: %v", got, i, n.drops())
			}
		})
	}
}

// BenchmarkNewSession is the router's own work for a packet that opens a session through NAT and firewall.
func BenchmarkNewSession(b *testing.B) {
	n := bare(b, natOptions{rules: masquerade(), firewall: home()})
	n.reroute("20.0.0.0/8", adjToB)
	openSessions(b, n)
}

// openSessions makes each packet the first of a session.
func openSessions(b *testing.B, n *natbed) {
	ip := udpPacket(ends{inner, addr("20.0.0.0"), 5000, 53}, numbered(22))
	reader := n.d.domain.Register()
	b.ReportAllocs()
	i := 0
	n.w.begin()
	for b.Loop() {
		if i++; i%(1<<18) == 0 {
			b.StopTimer()
			n.w.end()
			n.sessions.Flush(reader, conntrack.TickOf(n.clock), conntrack.Filter{})
			n.w.begin()
			b.StartTimer()
		}
		ip.SetDst(addr("20.0.0.0") + packet.Addr(i%(1<<24)))
		ip.SetSrc(inner + packet.Addr(i%64))
		packet.UDP(ip.Payload()).SetSrcPort(uint16(2000 + i/64%50))
		ip.UpdateHeaderChecksum()
		n.handle(ip, portA)
	}
	n.w.end()
	if n.sessions.Len() == 0 {
		b.Fatalf("no sessions; drops: %v", n.drops())
	}
}
