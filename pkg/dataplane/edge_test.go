package dataplane

import (
	"testing"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

func TestHostWithoutAnAddressReachesTheRouterByBroadcast(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portA].ReversePath = ReversePathStrict })
	b.arrive(portA, ipPacket(0, packet.Broadcast, packet.ProtoUDP, udp(0, packet.Broadcast, 68, 67, nil)))
	if p := b.punt(); p.Reason != PuntBroadcast || p.Port != portA {
		t.Errorf("punt %+v", p)
	}
	if d := b.drops(); len(d) != 0 {
		t.Errorf("drops: %v", d)
	}
}

func TestReversePathThroughOneOfSeveralEqualWaysIsGood(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].ReversePath = ReversePathStrict })
	b.arrive(portB, ipPacket(addr("172.16.1.1"), hostA, packet.ProtoUDP, nil))
	b.one(portA)
}

func TestNumberThatTheTablesDoNotHoldIsNoRoute(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Adjacencies[adjMulti].Count = 0 })
	b.arrive(portA, ipPacket(hostA, addr("172.16.1.1"), packet.ProtoUDP, nil)) // a way of no members
	if err := b.d.fib.Insert(addr("6.0.0.0"), 8, fibValue(9999)); err != nil {
		t.Fatal(err)
	}
	b.arrive(portA, ipPacket(hostA, addr("6.0.0.1"), packet.ProtoUDP, nil))
	if d := b.drops(); d["no_route"] != 2 || len(d) != 1 {
		t.Errorf("drops: %v", d)
	}
	b.none()
}

func TestFrameThatTheDeviceRefusesIsCountedForItsReason(t *testing.T) {
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, nil)
	for _, c := range []struct {
		name  string
		spoil func(b *testbed)
		why   string
	}{
		{"its far end is gone", func(b *testbed) { unix.Shutdown(b.host[portB], unix.SHUT_RDWR) }, "tx_port_down"},
		{"its queue is full", func(b *testbed) {
			fd := b.d.tables.Load().Ports[portB].Attachment.fd
			for {
				if _, err := unix.Write(fd, make([]byte, 2000)); err != nil {
					return
				}
			}
		}, "tx_queue"},
		{"it is no device", func(b *testbed) { b.d.tables.Load().Ports[portB].Attachment.fd = -1 }, "tx_port_down"},
		{"it cannot be written to", func(b *testbed) {
			fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { unix.Close(fd) })
			b.d.tables.Load().Ports[portB].Attachment.fd = fd
		}, "tx_port_down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			c.spoil(b)
			b.arrive(portA, ip)
			if d := b.drops(); d[c.why] != 1 || len(d) != 1 {
				t.Errorf("drops: %v, want %s", d, c.why)
			}
			tables := b.d.tables.Load()
			if tx := tables.Ports[portB].Attachment.Counters(); tx.TxDrops != 1 || tx.TxPackets != 0 {
				t.Errorf("egress counters %+v", tx)
			}
			// The arrival port has no part in it.
			if rx := tables.Ports[portA].Attachment.Counters(); rx.RxDrops != 0 || rx.RxPackets != 1 {
				t.Errorf("arrival counters %+v", rx)
			}
		})
	}
}

func TestFrameThatIsTooLongForItsDevice(t *testing.T) {
	b := newTestbed(t)
	fd := b.d.tables.Load().Ports[portB].Attachment.fd
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 0); err != nil { // the least that there is
		t.Fatal(err)
	}
	ip, v := superTCP(hostA, hostB, packet.TCPAck, nil, numbered(30000), 1400)
	b.arrive(portA, ip, v)
	b.dropped(DropTxTooLong)
}

func TestErrorsThatFindNoRoomAreCountedAsSuppressed(t *testing.T) {
	b := newTestbed(t)
	frame := frameFor(portA, ipPacket(hostA, addr("9.9.9.9"), packet.ProtoUDP, numbered(8)))
	for range puntDepth + 7 {
		b.receive(portA, frame)
	}
	c := b.d.Counters()
	if c.Suppressed != 7 || c.Punts[PuntError] != puntDepth || c.Drops[DropNoRoute] != puntDepth+7 {
		t.Errorf("%d suppressed, %d asked for, %d dropped", c.Suppressed, c.Punts[PuntError], c.Drops[DropNoRoute])
	}
}

func TestNoRedirectWhereNoneIsDue(t *testing.T) {
	stranger := addr("10.1.0.77")
	for name, ip := range map[string]packet.IPv4{
		"about an ICMP error":   ipPacket(stranger, addr("8.1.1.1"), packet.ProtoICMP, []byte{3, 1, 0, 0, 0, 0, 0, 0}),
		"about a later piece":   ipPacket(stranger, addr("8.1.1.1"), packet.ProtoUDP, numbered(8), withFlags(2)),
		"to a subnet broadcast": ipPacket(addr("10.1.0.255"), addr("8.1.1.1"), packet.ProtoUDP, numbered(8)),
	} {
		b := newTestbed(t)
		if err := b.d.fib.Insert(addr("10.1.0.255"), 32, adjBroadB); err != nil {
			t.Fatal(err)
		}
		b.arrive(portA, ip)
		b.one(portA)
		if p, ok := b.d.NextPunt(); ok {
			t.Errorf("%s: %v", name, p.Reason)
		}
	}
	// The better hop has to be on the source's own wire.
	b := newTestbed(t, func(t *Tables) { t.Adjacencies[adjToA].NextHop = addr("10.77.0.1") })
	b.arrive(portA, ipPacket(stranger, addr("8.1.1.1"), packet.ProtoUDP, numbered(8)))
	b.one(portA)
	b.noPunt()
}

func TestOwnBroadcastTooBigForTheWireIsFragmented(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 576 })
	b.d.Control().Output(ipPacket(addr("10.2.0.1"), addr("10.2.0.255"), packet.ProtoUDP, numbered(1000)))
	frames := b.all(portB)
	if len(frames) != 2 {
		t.Fatalf("%d frames", len(frames))
	}
	for _, s := range frames {
		if s.eth.Dst() != packet.BroadcastMAC {
			t.Errorf("to %v", s.eth.Dst())
		}
	}
}

func TestOptionsOfAFragmentThatIsCutAgainAreKeptInOrder(t *testing.T) {
	first := []byte{0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for _, c := range []struct{ have, want []byte }{
		{[]byte{1, 1, 1, 0}, nil},
		{[]byte{0x94, 4, 0, 0, 1, 0x82, 3, 9}, []byte{0x94, 4, 0, 0, 0x82, 3, 9, 0}},
		{[]byte{0x82, 40, 0, 0}, nil}, // beyond the header: the parser has refused it long before
		{[]byte{1, 1, 1, 0x82}, nil},
		{[]byte{7, 0, 0x82, 2}, nil},
	} {
		var room [packet.IPv4MaxLen]byte
		got := later(append(append([]byte{}, first...), c.have...), room[:])
		if string(got[packet.IPv4MinLen:]) != string(c.want) || int(got[0]&15)*4 != len(got) {
			t.Errorf("% x became % x, want % x", c.have, got[packet.IPv4MinLen:], c.want)
		}
	}
}
