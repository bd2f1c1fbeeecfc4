package dataplane

import (
	"testing"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/nat"
)

func TestRoutersOwnPacketsHaveSessions(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	e := ends{wan, hostB, 5000, 53}
	b.d.Control().Output(udpPacket(e, []byte("query")))
	got := b.one(portB).ip
	good(t, got)
	if endsOf(got) != e || got.TTL() != 64 {
		t.Fatalf("left as %+v with TTL %d; a free port is kept", endsOf(got), got.TTL())
	}
	// Its answer passes the firewall, which lets nothing else to the router.
	b.arrive(portB, udpPacket(e.back(), []byte("answer")))
	if p := b.punt(); p.Reason != PuntLocal || endsOf(packet.IPv4(p.Packet)) != e.back() {
		t.Fatalf("punted for %v", p.Reason)
	}
	b.refused(portB, udpPacket(ends{peer, wan, 53, 5000}, nil), DropFirewall)
	// No inside host gets the port that the router uses.
	other := b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB)
	if endsOf(other).sport == 5000 {
		t.Error("an inside host has the router's port")
	}
}

func TestRouterYieldsAPortThatInsideHas(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	inside := b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB)
	if endsOf(inside).sport != 5000 {
		t.Fatalf("port %d", endsOf(inside).sport)
	}
	b.d.Control().Output(udpPacket(ends{wan, hostB, 5000, 53}, []byte("query")))
	got := b.one(portB).ip
	good(t, got)
	if endsOf(got).sport == 5000 {
		t.Fatal("two have one port")
	}
	// The answer is translated before it is handed over.
	b.arrive(portB, udpPacket(endsOf(got).back(), []byte("answer")))
	p := b.punt()
	good(t, packet.IPv4(p.Packet))
	if p.Reason != PuntLocal || endsOf(packet.IPv4(p.Packet)) != (ends{hostB, wan, 53, 5000}) {
		t.Errorf("punted for %v as %+v", p.Reason, endsOf(packet.IPv4(p.Packet)))
	}
	// And so is an error about it.
	b.arrive(portB, icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, got))
	p = b.punt()
	good(t, packet.IPv4(p.Packet))
	if quoted := packet.IPv4(packet.ICMP(packet.IPv4(p.Packet).Payload()).Payload()); endsOf(quoted) != (ends{wan, hostB, 5000, 53}) {
		t.Errorf("quotes %+v", endsOf(quoted))
	}
	// What the host stack has to say about the answer it says of the packet that it knows: outside knows another.
	refused := udpPacket(ends{hostB, wan, 53, 5000}, []byte("answer"))
	Injector{b.w}.Output(icmpError(wan, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, refused))
	out := b.one(portB).ip
	good(t, out)
	if quoted := packet.IPv4(packet.ICMP(out.Payload()).Payload()); endsOf(quoted) != endsOf(got).back() || out.Src() != wan || out.Dst() != hostB {
		t.Errorf("quotes %+v", endsOf(quoted))
	}
	// Whereas the packet path quotes what it has received, and a port of the router's may have the number that another was given.
	b.d.Control().Output(icmpError(wan, packet.ICMPTimeExceeded, packet.ICMPTTLExceeded, 0, refused))
	if quoted := packet.IPv4(packet.ICMP(b.one(portB).ip.Payload()).Payload()); endsOf(quoted) != endsOf(refused) {
		t.Errorf("quotes %+v", endsOf(quoted))
	}
}

func TestRouterTalksToItself(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	b.d.Control().Output(echo(wan, addr("10.1.0.1"), packet.ICMPEchoRequest, 1, nil))
	if p := b.punt(); p.Reason != PuntLocal || !p.Own {
		t.Errorf("punted for %v", p.Reason)
	}
	b.sessionsAre(0)
}

func TestScansOfTheRouterTakeNoSessions(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	for port := uint16(1); port < 500; port++ {
		b.arrive(portB, tcpPacket(ends{hostB, wan, port, port}, packet.TCPSyn, 1, 0, nil))
		b.arrive(portB, udpPacket(ends{hostB, wan, port, port}, nil))
	}
	b.sessionsAre(0)
	// The router serves and answers all the same.
	b.d.Control().Output(tcpPacket(ends{wan, hostB, 7, 7}, packet.TCPSyn|packet.TCPAck, 1, 2, nil))
	if got := endsOf(b.one(portB).ip); got != (ends{wan, hostB, 7, 7}) {
		t.Errorf("answered as %+v", got)
	}
}

func TestForgedOwnSourceOpensNoSession(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	b.refused(portB, udpPacket(ends{wan, wan, 1, 2}, nil), DropSourceMartian)
	b.sessionsAre(0)
}

func TestUnicastInABroadcastFrameOpensNoSession(t *testing.T) { // RFC 1122 section 3.3.6
	b := newNATbed(t, natOptions{rules: masquerade()})
	f := frameFor(portA, udpPacket(ends{inner, hostB, 1, 2}, nil))
	packet.Ethernet(f[packet.VnetLen:]).SetDst(packet.BroadcastMAC)
	b.receive(portA, f)
	b.dropped(DropLinkBroadcast)
	b.sessionsAre(0)
}

func TestLeakGuardLooksAtTheDestinationAsItLeaves(t *testing.T) {
	guard := func(t *Tables) { t.Ports[portA].LeakGuard = true }
	b := newNATbed(t, natOptions{rules: masquerade(), forwards: web(), tables: guard})
	b.refused(portB, tcpPacket(ends{hostB, wan, 1, 80}, packet.TCPSyn, 1, 0, nil), DropLeakGuard)
	p := b.punt()
	if endsOf(packet.IPv4(p.Packet)) != (ends{hostB, wan, 1, 80}) {
		t.Errorf("quotes %+v", endsOf(packet.IPv4(p.Packet)))
	}
	b.sessionsAre(0)
}

func TestSourceRouteIsFollowedBeforeTracking(t *testing.T) {
	b := newNATbed(t, natOptions{firewall: home(), tables: func(t *Tables) { t.SourceRoute = true }})
	header := sourceRouted(optLooseRoute, "10.1.0.1", 4, "10.2.0.2").Header()
	ip := append(append(packet.IPv4{}, header...), udp(hostA, hostB, 1, 2, nil)...)
	ip.SetTotalLen(len(ip))
	ip.UpdateHeaderChecksum()
	b.arrive(portA, ip)
	if got := b.one(portB).ip; got.Dst() != hostB {
		t.Errorf("left for %v", got.Dst())
	}
	b.sessionsAre(1)
}

func TestCapturesShowPacketsAsTheyAreAtTheirStage(t *testing.T) {
	tap := newTap(100, StageRx, StagePunt, StageDrop, StageTx)
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home(), tables: withTaps(tap)})
	e := ends{inner, hostB, 5000, 53}
	seen := endsOf(b.cross(portA, udpPacket(e, nil), portB))
	b.refused(portA, udpPacket(e, nil, withTTL(1)), DropTTL)
	b.cross(portB, udpPacket(seen.back(), nil), portA)
	for i, want := range []struct {
		stage Stage
		port  PortID
		ends  ends
	}{
		{StageRx, portA, e}, {StageTx, portB, seen},
		{StageRx, portA, e}, {StageDrop, portA, e},
		{StageRx, portB, seen.back()}, {StageTx, portA, e.back()},
	} {
		r := <-tap.C
		if got := endsOf(packet.IPv4(r.Frame[packet.EthernetLen:])); r.Stage != want.stage || r.Port != want.port || got != want.ends {
			t.Errorf("record %d: %v at port %d, %+v", i, r.Stage, r.Port, got)
		}
	}
}

func TestHelpedSessionsGoThroughTheControlPlane(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), helpFTP: true})
	e := ends{inner, hostB, 40000, 21}
	pass := func(in PortID, ip packet.IPv4, out PortID, change func(packet.IPv4) packet.IPv4) packet.IPv4 {
		t.Helper()
		b.arrive(in, ip)
		b.none()
		p := b.punt()
		if p.Reason != PuntHelper || endsOf(packet.IPv4(p.Packet)) != endsOf(ip) {
			t.Fatalf("punted for %v", p.Reason)
		}
		if change != nil {
			p.Packet = change(p.Packet)
		}
		b.d.Control().ForwardHelped(&p)
		got := b.one(out).ip
		good(t, got)
		b.noPunt()
		return got
	}
	syn := pass(portA, tcpPacket(e, packet.TCPSyn, 100, 0, nil), portB, nil)
	seen := endsOf(syn)
	if seen.src != wan {
		t.Fatalf("left as %+v", seen)
	}
	pass(portB, tcpPacket(seen.back(), packet.TCPSyn|packet.TCPAck, 900, 101, nil), portA, nil)
	longer := pass(portA, tcpPacket(e, packet.TCPAck, 101, 901, []byte("PORT 10,1,0,2,4,1\r\n")), portB, func(packet.IPv4) packet.IPv4 {
		return tcpPacket(e, packet.TCPAck, 101, 901, []byte("PORT 10,2,0,1,195,80 and more\r\n"))
	})
	if longer.TotalLen() != 40+31 {
		t.Errorf("%d octets", longer.TotalLen())
	}
	b.sessionsAre(1)
	page, _ := b.sessions.Page(b.d.domain.Register(), conntrack.TickOf(b.clock), conntrack.Filter{}, 0, 10)
	if len(page) != 1 || page[0].Packets != [2]uint64{2, 1} {
		t.Errorf("counted %+v", page)
	}

	// Several segments in one frame are handed over one by one.
	ip, v := superTCP(inner, hostB, packet.TCPAck, nil, numbered(3000), 1000)
	copy(ip.Payload(), tcpPacket(e, packet.TCPAck, 120, 901, nil).Payload()[:4])
	packet.TCP(ip.Payload()).SetSeq(120)
	b.arrive(portA, ip, partialAgain(ip, v))
	for i := range 3 {
		p, ok := b.d.NextPunt()
		if !ok || p.Reason != PuntHelper || len(p.Packet) != 1040 || !transportGood(packet.IPv4(p.Packet)) {
			t.Fatalf("segment %d: %v, %d octets", i, p.Reason, len(p.Packet))
		}
	}

	// One that waits for its neighbour has been helped already.
	b.change(func(t *Tables) { t.Adjacencies[adjToB].Kind, t.Adjacencies[adjToB].NextHop = Incomplete, hostB })
	b.arrive(portA, tcpPacket(e, packet.TCPAck, 200, 901, nil))
	p := b.punt()
	b.d.Control().ForwardHelped(&p)
	if p = b.punt(); p.Reason != PuntResolve || !p.Helped {
		t.Fatalf("punted for %v", p.Reason)
	}
	b.change(func(t *Tables) { t.Adjacencies[adjToB] = rewriteTo(portB, "10.2.0.2") })
	b.d.Control().Forward(&p)
	b.one(portB)
	b.noPunt()
}

// partialAgain makes an unfinished sum after a change of ports.
func partialAgain(ip packet.IPv4, v packet.Vnet) packet.Vnet {
	again := partial(ip, int(v.ChecksumOff))
	v.Flags, v.ChecksumAt = again.Flags, again.ChecksumAt
	return v
}

func TestEveryReasonOfTheStatefulStagesHasItsDrop(t *testing.T) {
	seen := map[DropReason]bool{}
	for r := conntrack.ReasonTruncated; r < conntrack.NumReasons; r++ {
		d := sessionDrop(r)
		if seen[d] || d.String() != r.String() {
			t.Errorf("%v is counted as %v", r, d)
		}
		seen[d] = true
	}
	for r := nat.ReasonNoAddress; r < nat.ReasonTaken; r++ {
		if d := natDrop(r); seen[d] || d.String() != "nat_"+r.String() && d.String() != r.String() {
			t.Errorf("%v is counted as %v", r, d)
		}
		seen[natDrop(r)] = true
	}
	names := map[string]bool{}
	for d := range NumDropReasons {
		if d.String() == "" || d.Description() == "" || names[d.String()] {
			t.Errorf("reason %d is called %q", d, d.String())
		}
		names[d.String()] = true
	}
	for r := range NumPuntReasons {
		if r.String() == "" || r.Description() == "" {
			t.Errorf("punt reason %d has no name", r)
		}
	}
}

func TestEstablishedFlowAllocatesNothing(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	e := ends{inner, hostB, 5000, 53}
	b.cross(portA, udpPacket(e, nil), portB)
	frame := frameFor(portA, udpPacket(e, numbered(100)))
	buf := make([]byte, 2000)
	allocs := testing.AllocsPerRun(200, func() {
		if _, err := unix.Write(b.host[portA], frame); err != nil {
			t.Fatal(err)
		}
		b.w.begin()
		b.w.drain(portA)
		b.w.end()
		if _, err := unix.Read(b.host[portB], buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a packet", allocs)
	}
}
