package dataplane

import (
	"bytes"
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane/fib"
)

func fibValue(v uint32) fib.Value { return fib.Value(v) }

func TestForwardedPacketChangesOnlyTTLChecksumAndLinkHeader(t *testing.T) {
	b := newTestbed(t)
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 1, 2, []byte("payload")), withTOS(0xb9), withTTL(17))
	b.arrive(portA, ip)
	s := b.one(portB)
	if s.eth.Dst() != hostMAC[portB] || s.eth.Src() != routerMAC[portB] || s.eth.Type() != packet.EtherTypeIPv4 {
		t.Errorf("link header %x", []byte(s.eth))
	}
	want := append(packet.IPv4{}, ip...)
	want.SetTTL(16)
	want.UpdateHeaderChecksum()
	if !bytes.Equal(s.ip, want) {
		t.Errorf("packet\n%x\nwant\n%x", []byte(s.ip), []byte(want))
	}
	c := b.d.tables.Load().Ports[portA].Attachment.Counters()
	if c.RxPackets != 1 || c.RxBytes != uint64(len(ip)) || c.RxDrops != 0 {
		t.Errorf("receive counters %+v", c)
	}
	if c := b.d.tables.Load().Ports[portB].Attachment.Counters(); c.TxPackets != 1 || c.TxBytes != uint64(len(ip)) {
		t.Errorf("transmit counters %+v", c)
	}
}

func TestEthernetPaddingIsTrimmed(t *testing.T) {
	b := newTestbed(t)
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 1, 2, nil))
	b.arrive(portA, append(append([]byte{}, ip...), make([]byte, 18)...))
	if got := b.one(portB).ip; len(got) != len(ip) {
		t.Errorf("%d octets left, the packet has %d", len(got), len(ip))
	}
}

func TestEveryTTLKeepsTheHeaderChecksumRight(t *testing.T) {
	b := newTestbed(t)
	for ttl := 2; ttl < 256; ttl++ {
		for _, id := range []uint16{0, 0xffff, 0x00fe, uint16(ttl) << 8} {
			ip := ipPacket(hostA, hostB, packet.ProtoUDP, nil, withTTL(uint8(ttl)), func(ip packet.IPv4) packet.IPv4 { ip.SetID(id); return ip })
			b.arrive(portA, ip)
			if got := b.one(portB).ip; got.TTL() != uint8(ttl-1) {
				t.Fatalf("TTL %d became %d", ttl, got.TTL())
			}
		}
	}
}

func TestMalformedFramesAreDroppedForTheirReason(t *testing.T) {
	good := ipPacket(hostA, hostB, packet.ProtoUDP, []byte("12345678"))
	broken := func(f func(packet.IPv4)) []byte {
		ip := append(packet.IPv4{}, good...)
		f(ip)
		return frameFor(portA, ip)
	}
	fix := func(ip packet.IPv4) { ip.UpdateHeaderChecksum() }
	frame := frameFor(portA, good)
	etherAt := packet.VnetLen
	changed := func(f func([]byte)) []byte {
		g := append([]byte{}, frame...)
		f(g)
		return g
	}
	for _, c := range []struct {
		name  string
		frame []byte
		want  DropReason
	}{
		{"shorter than the offload header", frame[:4], DropFrameShort},
		{"shorter than the Ethernet header", frame[:packet.VnetLen+9], DropFrameShort},
		{"another station's", changed(func(g []byte) { g[etherAt+5] ^= 1 }), DropNotOurMAC},
		{"from a group address", changed(func(g []byte) { g[etherAt+6] |= 1 }), DropSourceMAC},
		{"from no address", changed(func(g []byte) { copy(g[etherAt+6:], make([]byte, 6)) }), DropSourceMAC},
		{"IPv6", changed(func(g []byte) { g[etherAt+12], g[etherAt+13] = 0x86, 0xdd }), DropEtherType},
		{"no IP header", frame[:packet.VnetLen+packet.EthernetLen], DropHeaderShort},
		{"half an IP header", frame[:packet.VnetLen+packet.EthernetLen+13], DropHeaderShort},
		{"version 6", broken(func(ip packet.IPv4) { ip[0] = 0x65; fix(ip) }), DropHeaderVersion},
		{"header of 16 octets", broken(func(ip packet.IPv4) { ip[0] = 0x44 }), DropHeaderLength},
		{"header beyond the frame", broken(func(ip packet.IPv4) { ip[0] = 0x4f }), DropHeaderLength},
		{"wrong checksum", broken(func(ip packet.IPv4) { ip[11] ^= 1 }), DropHeaderChecksum},
		{"total length below the header", broken(func(ip packet.IPv4) { ip.SetTotalLen(19); fix(ip) }), DropTotalLength},
		{"total length beyond the frame", broken(func(ip packet.IPv4) { ip.SetTotalLen(len(ip) + 1); fix(ip) }), DropTotalLength},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			b.receive(portA, c.frame)
			b.dropped(c.want)
			b.none()
			b.noPunt()
		})
	}
}

func TestMartiansAreDropped(t *testing.T) {
	for _, c := range []struct {
		src, dst string
		want     DropReason
	}{
		{"0.0.0.5", "10.2.0.2", DropSourceMartian},
		{"0.0.0.0", "10.2.0.2", DropSourceMartian},
		{"127.0.0.1", "10.2.0.2", DropSourceMartian},
		{"224.0.0.5", "10.2.0.2", DropSourceMartian},
		{"255.255.255.255", "10.2.0.2", DropSourceMartian},
		{"240.0.0.1", "10.2.0.2", DropSourceMartian},
		{"10.1.0.2", "0.0.0.0", DropDestinationMartian},
		{"10.1.0.2", "127.1.2.3", DropDestinationMartian},
		{"10.1.0.2", "240.1.2.3", DropDestinationMartian},
	} {
		t.Run(c.src+" to "+c.dst, func(t *testing.T) {
			b := newTestbed(t)
			b.arrive(portA, ipPacket(addr(c.src), addr(c.dst), packet.ProtoUDP, []byte("12345678")))
			b.dropped(c.want)
			b.none()
			b.noPunt()
		})
	}
}

func TestNobodyElseSpeaksToTheRouterInItsOwnName(t *testing.T) {
	b := newTestbed(t)
	for _, own := range []string{"10.1.0.1", "10.2.0.1"} {
		b.arrive(portA, ipPacket(addr(own), addr("10.1.0.1"), packet.ProtoUDP, []byte("12345678")))
	}
	b.noPunt()
	if n := b.drops()["source_martian"]; n != 2 {
		t.Errorf("%d dropped, want 2", n)
	}
	b.d.Control().Output(ipPacket(addr("10.1.0.1"), addr("10.2.0.1"), packet.ProtoUDP, nil)) // the router itself may
	if p := b.punt(); p.Reason != PuntLocal || !p.Own {
		t.Errorf("punt %+v", p)
	}
}

func TestClassEIsForwardedWhenTheOperatorSaysSo(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.ClassE = true })
	b.arrive(portA, ipPacket(hostA, addr("240.1.2.3"), packet.ProtoUDP, nil))
	b.one(portB)
	b.arrive(portA, ipPacket(hostA, packet.Broadcast, packet.ProtoUDP, nil))
	if p := b.punt(); p.Reason != PuntBroadcast {
		t.Errorf("limited broadcast: %v", p.Reason)
	}
}

func TestRouteTypesDecideAndAnswer(t *testing.T) {
	for _, c := range []struct {
		dst        string
		drop       DropReason
		typ, code  uint8
		wantsError bool
	}{
		{"192.0.2.1", DropBlackhole, 0, 0, false},
		{"198.51.100.1", DropUnreachable, packet.ICMPUnreachable, packet.ICMPHostUnreachable, true},
		{"203.0.113.1", DropProhibit, packet.ICMPUnreachable, packet.ICMPAdminProhibited, true},
		{"9.9.9.9", DropNoRoute, packet.ICMPUnreachable, packet.ICMPNetUnreachable, true},
	} {
		t.Run(c.drop.String(), func(t *testing.T) {
			b := newTestbed(t)
			ip := ipPacket(hostA, addr(c.dst), packet.ProtoUDP, []byte("12345678"))
			b.arrive(portA, ip)
			b.dropped(c.drop)
			b.none()
			if !c.wantsError {
				b.noPunt()
				return
			}
			p := b.punt()
			if p.Reason != PuntError || p.Type != c.typ || p.Code != c.code || p.Drop != c.drop {
				t.Errorf("punt %+v", p)
			}
			if !bytes.Equal(p.Packet, ip) {
				t.Errorf("the error quotes\n%x\nthe source has sent\n%x", p.Packet, []byte(ip))
			}
		})
	}
}

func TestTTLThatRunsOutIsAnsweredAndQuotedAsReceived(t *testing.T) {
	for _, ttl := range []uint8{0, 1} {
		b := newTestbed(t)
		ip := ipPacket(hostA, hostB, packet.ProtoUDP, []byte("12345678"), withTTL(ttl))
		b.arrive(portA, ip)
		b.dropped(DropTTL)
		p := b.punt()
		if p.Type != packet.ICMPTimeExceeded || p.Code != packet.ICMPTTLExceeded || !bytes.Equal(p.Packet, ip) {
			t.Errorf("TTL %d: punt %+v", ttl, p)
		}
	}
}

func TestPacketToTheRouterNeedsNoTTL(t *testing.T) {
	b := newTestbed(t)
	b.arrive(portA, ipPacket(hostA, addr("10.2.0.1"), packet.ProtoICMP, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}, withTTL(1)))
	if p := b.punt(); p.Reason != PuntLocal || p.Port != portA {
		t.Errorf("punt %+v", p)
	}
}

func TestBroadcastsAndMulticastsAreNotForwarded(t *testing.T) {
	b := newTestbed(t)
	b.arrive(portA, ipPacket(hostA, addr("10.2.0.255"), packet.ProtoUDP, nil))
	b.dropped(DropDirectedBroadcast) // RFC 2644
	b.noPunt()

	b.arrive(portB, ipPacket(hostB, addr("10.2.0.255"), packet.ProtoUDP, nil))
	if p := b.punt(); p.Reason != PuntBroadcast {
		t.Errorf("its own subnet's broadcast: %v", p.Reason)
	}
	b.arrive(portA, ipPacket(0, addr("224.0.0.22"), packet.ProtoIGMP, nil)) // a bridge reports its groups
	if p := b.punt(); p.Reason != PuntMulticast {
		t.Errorf("a report from no address: %v", p.Reason)
	}
	for _, dst := range []string{"224.0.0.9", "239.1.2.3"} {
		b.arrive(portA, ipPacket(hostA, addr(dst), packet.ProtoUDP, nil))
		if p := b.punt(); p.Reason != PuntMulticast {
			t.Errorf("%s: %v", dst, p.Reason)
		}
	}
	b.none()
}

func TestUnicastPacketInALinkBroadcastIsDropped(t *testing.T) {
	b := newTestbed(t)
	f := frameFor(portA, ipPacket(hostA, hostB, packet.ProtoUDP, nil))
	copy(f[packet.VnetLen:], packet.BroadcastMAC[:])
	b.receive(portA, f)
	b.dropped(DropLinkBroadcast) // RFC 1122 section 3.3.6
	b.none()
	b.noPunt()
}

func TestUnknownNeighboursArePuntedWithTheirNextHop(t *testing.T) {
	for dst, want := range map[string]string{"10.2.0.77": "10.2.0.77", "10.20.1.1": "10.2.0.9"} {
		b := newTestbed(t)
		ip := ipPacket(hostA, addr(dst), packet.ProtoUDP, []byte("12345678"))
		b.arrive(portA, ip)
		p := b.punt()
		if p.Reason != PuntResolve || p.Egress != portB || p.NextHop != addr(want) || !bytes.Equal(p.Packet, ip) {
			t.Errorf("%s: %+v", dst, p)
		}
		// Once the neighbour is known, the packet goes on, TTL step and all.
		tables := *b.d.tables.Load()
		tables.Adjacencies = append([]Adjacency{}, tables.Adjacencies...)
		tables.Adjacencies[adjUnknownB] = rewriteTo(portB, "10.2.0.9")
		tables.Adjacencies[adjGleanB] = rewriteTo(portB, dst)
		b.d.Publish(&tables)
		b.d.Control().Forward(&p)
		if got := b.one(portB).ip; got.TTL() != 63 {
			t.Errorf("the packet left with TTL %d", got.TTL())
		}
	}
}

func TestWatchedAdjacencyReportsItsUseOnceASnapshot(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Adjacencies[adjToB].Watched = true })
	for range 5 {
		b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoUDP, nil))
		b.one(portB)
	}
	if p := b.punt(); p.Reason != PuntUsed || p.Egress != portB || p.NextHop != hostB {
		t.Errorf("punt %+v", p)
	}
}

func TestEqualCostPathsKeepFlowsTogetherAndShareThem(t *testing.T) {
	b := newTestbed(t)
	count := map[PortID]int{}
	for flow := range 400 {
		src := addr("8.0.0.1") + packet.Addr(flow*7)
		var first PortID
		for range 3 {
			b.arrive(portA, ipPacket(src, addr("172.16.5.5"), packet.ProtoUDP, udp(src, addr("172.16.5.5"), uint16(flow), 53, nil)))
			way := portB
			if _, ok := b.take(portB); !ok {
				way = portPlain
				b.one(portPlain)
			}
			if first == 0 {
				first = way
				count[way]++
			} else if first != way {
				t.Fatalf("flow %d changed its way", flow)
			}
		}
	}
	for _, way := range []PortID{portB, portPlain} {
		if count[way] < 140 {
			t.Errorf("port %d carries %d of 400 flows", way, count[way])
		}
	}
}

func TestFragmentsOfAFlowTakeOneWay(t *testing.T) {
	src, dst := addr("8.0.0.1"), addr("172.16.5.5")
	first := ipPacket(src, dst, packet.ProtoUDP, udp(src, dst, 7, 8, numbered(16)), withFlags(packet.FlagMF))
	later := ipPacket(src, dst, packet.ProtoUDP, numbered(24), withFlags(3))
	if FlowHash(first) != FlowHash(later) {
		t.Error("the first fragment, which has ports, goes another way than the later ones")
	}
}

func TestReversePathCheck(t *testing.T) {
	for _, c := range []struct {
		mode ReversePath
		src  string
		pass bool
	}{
		{ReversePathStrict, "10.1.0.2", true},
		{ReversePathStrict, "10.2.0.2", false}, // routed through B
		{ReversePathStrict, "9.9.9.9", false},  // no route
		{ReversePathStrict, "192.0.2.1", false},
		{ReversePathLoose, "10.2.0.2", true},
		{ReversePathLoose, "9.9.9.9", false},
		{ReversePathLoose, "192.0.2.1", false}, // a blackhole is no way back
		{ReversePathLoose, "172.16.1.1", true},
		{ReversePathStrict, "172.16.1.1", false},
	} {
		b := newTestbed(t, func(t *Tables) { t.Ports[portA].ReversePath = c.mode })
		b.arrive(portA, ipPacket(addr(c.src), hostB, packet.ProtoUDP, nil))
		if c.pass {
			b.one(portB)
		} else {
			b.dropped(DropReversePath)
			b.none()
		}
	}
}

func TestPrivateDestinationsDoNotLeakWhereGuarded(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].LeakGuard = true; t.ClassE = true })
	b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoUDP, []byte("12345678")))
	b.dropped(DropLeakGuard)
	if p := b.punt(); p.Code != packet.ICMPNetUnreachable {
		t.Errorf("punt %+v", p)
	}
	b.arrive(portA, ipPacket(hostA, addr("240.0.0.9"), packet.ProtoUDP, nil))
	b.one(portB)
}

func TestRedirectIsAskedForAndThePacketGoesOn(t *testing.T) {
	b := newTestbed(t)
	ip := ipPacket(addr("10.1.0.77"), addr("8.1.1.1"), packet.ProtoUDP, []byte("12345678"))
	b.arrive(portA, ip)
	p := b.punt()
	if p.Reason != PuntRedirect || p.Type != packet.ICMPRedirect || p.Code != packet.ICMPRedirectHost || p.Rest != uint32(hostA) {
		t.Errorf("punt %+v", p)
	}
	b.one(portA)

	// Not for a source that is not on the wire, nor where it is switched off.
	b.arrive(portA, ipPacket(addr("10.9.0.77"), addr("8.1.1.1"), packet.ProtoUDP, nil))
	b.one(portA)
	b.noPunt()
	b = newTestbed(t, func(t *Tables) { t.Ports[portA].Redirects = false })
	b.arrive(portA, ip)
	b.one(portA)
	b.noPunt()
}

// RFC 1812 section 5.2.7.2: the source and the better first hop share a subnet.
func TestASourceIsNotRedirectedToAGatewayOfAnotherSubnet(t *testing.T) {
	b := newTestbed(t, func(t *Tables) {
		t.Ports[portA].Prefixes = append(t.Ports[portA].Prefixes, netip.MustParsePrefix("10.5.0.1/24"))
	})
	b.arrive(portA, ipPacket(addr("10.5.0.77"), addr("8.1.1.1"), packet.ProtoUDP, nil)) // by way of 10.1.0.2
	b.one(portA)
	b.noPunt()
	b.arrive(portA, ipPacket(addr("10.1.0.77"), addr("8.1.1.1"), packet.ProtoUDP, nil))
	b.one(portA)
	if p := b.punt(); p.Reason != PuntRedirect {
		t.Errorf("punt %+v", p)
	}
}

func TestPointToPointPortsHaveNoLinkHeader(t *testing.T) {
	b := newTestbed(t)
	b.arrive(portA, ipPacket(hostA, addr("10.3.0.2"), packet.ProtoUDP, nil))
	b.one(portT)
	b.arrive(portT, ipPacket(addr("10.3.0.2"), hostB, packet.ProtoUDP, nil))
	if s := b.one(portB); s.eth.Dst() != hostMAC[portB] {
		t.Errorf("link header %x", []byte(s.eth))
	}
	b.receive(portT, append(make([]byte, packet.VnetLen), 0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	b.dropped(DropEtherType) // IPv6, told by its version
}

func TestDownPortNeitherSendsNorReceives(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].Down = true })
	b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoUDP, nil))
	b.dropped(DropTxPortDown)
	b = newTestbed(t, func(t *Tables) { t.Ports[portA].Down = true })
	b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoUDP, nil))
	b.dropped(DropPortClosed)
	b.none()
}

func TestForwardingAllocatesNothing(t *testing.T) {
	b := newTestbed(t)
	plain := frameFor(portA, ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 1, 2, numbered(22))))
	big := ipPacket(hostA, addr("10.4.0.2"), packet.ProtoTCP, tcpSegment(hostA, addr("10.4.0.2"), packet.TCPAck, nil, numbered(20000)))
	v := partial(big, 16)
	v.GSOType, v.GSOSize, v.HeaderLen = packet.GSOTCPv4, 1400, 40
	super := frameFor(portA, big, v)
	b.w.begin()
	defer b.w.end()
	port := &b.w.tables.Ports[portA]
	for name, frame := range map[string][]byte{"packet": plain, "super-frame cut in software": super} {
		allocs := testing.AllocsPerRun(100, func() {
			start := headroom - packet.EthernetLen - packet.VnetLen
			n := copy(b.w.buf[start:], frame)
			p := &b.w.pkt
			*p = work{buf: b.w.buf, end: start + n, in: portA}
			b.w.readVnet(p, start)
			b.w.etherInput(p, port)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	if b.drops()["tx_queue"] == 0 { // the sockets fill up: that is as good a transmit as any
		for id := portA; id < numPorts; id++ {
			for {
				if _, ok := b.take(id); !ok {
					break
				}
			}
		}
	}
}
