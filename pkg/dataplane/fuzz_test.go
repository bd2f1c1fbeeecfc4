package dataplane

import (
	"testing"

	"vrouterd/internal/packet"
)

// newFuzzbed is a test bed with everything switched on that reads packets deeply.
func newFuzzbed(t testing.TB, taps ...*Tap) *testbed {
	return newTestbed(t, withTaps(taps...), func(t *Tables) {
		t.SourceRoute = true
		for id := range t.Ports {
			t.Ports[id].MSSClamp = 1000
		}
		t.Ports[portB].MTU = 300
		t.Ports[portPlain].MTU = 600
	})
}

// fates are the counts that say what became of frames.
type fates struct{ received, sent, dropped, punted, waiting uint64 }

func (b *testbed) fates() fates {
	var f fates
	c := b.d.Counters()
	for _, n := range c.Drops {
		f.dropped += n
	}
	for r := PuntARP; r <= PuntResolve; r++ {
		f.punted += c.Punts[r]
	}
	for id := portA; id < numPorts; id++ {
		p := b.d.tables.Load().Ports[id].Attachment.Counters()
		f.received += p.RxPackets
		f.sent += p.TxPackets
	}
	f.waiting = uint64(c.PuntsWaiting)
	return f
}

// FuzzFrame lets any octets arrive at any port: nothing panics, every frame has one
// fate, and what leaves is a valid packet that fits.
func FuzzFrame(f *testing.F) {
	toPlain := addr("10.4.0.2")
	add := func(id PortID, frame []byte) { f.Add(uint8(id), frame) }
	for _, dst := range []packet.Addr{hostB, toPlain, addr("10.1.0.1"), addr("10.2.0.77"), addr("9.9.9.9"), addr("10.2.0.255"), addr("172.16.1.1"), addr("224.0.0.1"), packet.Broadcast, addr("10.3.0.2")} {
		add(portA, frameFor(portA, ipPacket(hostA, dst, packet.ProtoUDP, udp(hostA, dst, 1, 2, numbered(900)))))
		add(portT, frameFor(portT, ipPacket(addr("10.3.0.2"), dst, packet.ProtoTCP, tcpSegment(hostA, dst, packet.TCPSyn, mssOption(1460), nil))))
		add(portPlain, frameFor(portPlain, ipPacket(toPlain, dst, packet.ProtoICMP, []byte{8, 0, 0, 0, 0, 0, 0, 0}, withTTL(1))))
		ip, v := superTCP(hostA, dst, packet.TCPAck|packet.TCPPsh, []byte{1, 1, 1, 1}, numbered(4000), 900)
		add(portA, frameFor(portA, ip, v))
		ip, v = superUDP(hostA, dst, numbered(4000), 900)
		add(portT, frameFor(portT, ip, v))
		add(portA, frameFor(portA, ipPacket(hostA, dst, packet.ProtoUDP, numbered(700), withOptions(concat([]byte{7, 7, 4}, words(0), []byte{68, 12, 5, 1}, words(0, 0), []byte{148, 4, 0, 0})...))))
		add(portA, frameFor(portA, sourceRouted(optStrictRoute, dst.String(), 4, "10.2.0.2", "10.4.0.2")))
		add(portA, frameFor(portA, sourceRouted(optLooseRoute, "10.1.0.1", 4, dst.String())))
		add(portB, frameFor(portB, ipPacket(hostB, dst, packet.ProtoUDP, numbered(700), withFlags(packet.FlagDF))))
		add(portB, frameFor(portB, ipPacket(hostB, dst, packet.ProtoUDP, numbered(700), withFlags(packet.FlagMF|100))))
	}
	add(portA, []byte{})
	add(portPlain, make([]byte, 14))

	f.Fuzz(func(t *testing.T, port uint8, frame []byte) {
		id := portA + PortID(port)%(numPorts-1)
		if len(frame) == 0 || len(frame) > 60000 {
			return
		}
		tap := newTap(1000, StageRx, StagePunt, StageDrop, StageTx)
		b := newFuzzbed(t, tap)
		fix(frame, id)
		b.receive(id, frame)

		left := 0
		for out := portA; out < numPorts; out++ {
			for _, s := range b.all(out) { // checks each header
				left++
				if s.vnet.IsSuper() && out == portPlain {
					t.Fatal("a super-frame left by a port without offload")
				}
				if mtu := b.d.tables.Load().Ports[out].MTU; len(s.ip) > mtu && !s.vnet.IsSuper() {
					t.Fatalf("%d octets left by a port with an MTU of %d", len(s.ip), mtu)
				}
			}
		}
		got := b.fates()
		switch parts := got.dropped + got.punted; {
		case left == 0 && parts == 0:
			t.Fatalf("the frame vanished: %+v", got)
		case left > 0 && parts > 0:
			t.Fatalf("the frame left, and was dropped or punted: %+v", got)
		case parts > 1 && got.received != parts:
			t.Fatalf("more than one fate: %+v, drops %v", got, b.drops())
		}
		if got.received > 0 && left > 0 && b.d.Counters().FragmentsMade == 0 && got.sent != got.received {
			t.Fatalf("%d packets came and %d went", got.received, got.sent)
		}
		for {
			p, ok := b.d.NextPunt()
			if !ok {
				break
			}
			switch p.Reason {
			case PuntError, PuntRedirect:
				e := packet.IPv4(ICMPError(&p, addr("10.1.0.1")))
				if e.Validate() != packet.HeaderGood || len(e) > 576 {
					t.Fatalf("ICMP error % x", []byte(e))
				}
			case PuntResolve, PuntRouterAlert:
				b.d.Control().Forward(&p)
				b.d.Control().Return(&p, DropNeighborUnknown, 3, 1)
			}
			if n := b.d.Counters().PuntsWaiting; n > 100 {
				t.Fatalf("%d punts of one frame", n)
			}
			if p.Reason == PuntResolve {
				break // its neighbour stays unknown: it would come round for ever
			}
		}
	})
}

// fix makes the link-layer addresses and the header checksum right, so that the fuzzer
// gets past the door.
func fix(frame []byte, id PortID) {
	at := 0
	if id != portPlain {
		at += packet.VnetLen
	}
	if id != portT {
		if len(frame) < at+packet.EthernetLen {
			return
		}
		copy(frame[at:], routerMAC[id][:])
		frame[at+6] &^= 1
		at += packet.EthernetLen
	}
	if ip := packet.IPv4(frame[min(at, len(frame)):]); len(ip) >= packet.IPv4MinLen && ip.HeaderLen() >= packet.IPv4MinLen && len(ip) >= ip.HeaderLen() {
		ip.UpdateHeaderChecksum()
	}
}
