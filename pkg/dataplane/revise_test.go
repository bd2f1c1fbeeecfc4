package dataplane

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane/fib"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

func TestRouteChangeTakesEffectOnTheNextPacket(t *testing.T) {
	b := newNATbed(t, natOptions{})
	e := ends{inner, addr("8.8.8.8"), 5000, 53}
	b.reroute("8.0.0.0/8", adjToB)
	b.cross(portA, udpPacket(e, nil), portB)
	b.cross(portA, udpPacket(e, nil), portB)
	b.reroute("8.0.0.0/8", adjToPlain)
	b.cross(portA, udpPacket(e, nil), portPlain)
	b.reroute("8.0.0.0/8", adjProhibit)
	b.refused(portA, udpPacket(e, nil), DropProhibit)
	b.punt()
	b.reroute("8.0.0.0/8", adjToB)
	b.cross(portA, udpPacket(e, nil), portB)
	b.sessionsAre(1)
}

func TestNeighbourChangeTakesEffectOnTheNextPacket(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	b.cross(portA, udpPacket(e, nil), portB)
	b.change(func(t *Tables) { packet.Ethernet(t.Adjacencies[adjToB].Header[:]).SetDst(packet.MAC{2, 9, 9, 9, 9, 9}) })
	b.arrive(portA, udpPacket(e, nil))
	if s := b.one(portB); s.eth.Dst() != (packet.MAC{2, 9, 9, 9, 9, 9}) {
		t.Errorf("went to %v", s.eth.Dst())
	}
	b.change(func(t *Tables) { t.Adjacencies[adjToB].Kind, t.Adjacencies[adjToB].NextHop = Incomplete, hostB })
	b.arrive(portA, udpPacket(e, []byte("waits")))
	p := b.punt()
	if p.Reason != PuntResolve || p.NextHop != hostB || endsOf(packet.IPv4(p.Packet)) != e {
		t.Fatalf("punted for %v, %+v", p.Reason, endsOf(packet.IPv4(p.Packet)))
	}
	// It waited as it came, and passes the whole way again, counted once.
	b.change(func(t *Tables) { t.Adjacencies[adjToB] = rewriteTo(portB, "10.2.0.2") })
	b.d.Control().Forward(&p)
	s := b.one(portB)
	good(t, s.ip)
	if endsOf(s.ip) != (ends{wan, hostB, 5000, 53}) {
		t.Errorf("left as %+v", endsOf(s.ip))
	}
	page, _ := b.sessions.Page(b.d.domain.Register(), conntrack.TickOf(b.clock), conntrack.Filter{}, 0, 10)
	if len(page) != 1 || page[0].Packets[conntrack.Original] != 3 {
		t.Errorf("%+v", page)
	}
}

func TestFirstPacketWaitsForItsNeighbour(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	b.reroute("10.2.0.0/24", adjGleanB)
	e := ends{inner, addr("10.2.0.77"), 5000, 53}
	b.arrive(portA, udpPacket(e, nil))
	p := b.punt()
	if p.Reason != PuntResolve || p.NextHop != addr("10.2.0.77") || endsOf(packet.IPv4(p.Packet)) != e {
		t.Fatalf("punted for %v, %v, %+v", p.Reason, p.NextHop, endsOf(packet.IPv4(p.Packet)))
	}
	// Nobody answers: its source is told, in its own terms.
	b.d.Control().Return(&p, DropNeighborUnknown, packet.ICMPUnreachable, packet.ICMPHostUnreachable)
	if e2 := b.punt(); e2.Reason != PuntError || endsOf(packet.IPv4(e2.Packet)) != e {
		t.Errorf("punted for %v, quoting %+v", e2.Reason, endsOf(packet.IPv4(e2.Packet)))
	}
	// Somebody does.
	b.reroute("10.2.0.77/32", adjToB)
	b.d.Control().Forward(&p)
	if got := b.one(portB).ip; got.Src() != wan {
		t.Errorf("left from %v", got.Src())
	}
	b.sessionsAre(1)
}

func TestPolicyChangeEndsWhatItWouldNotLetIn(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	dns, web := ends{inner, hostB, 5000, 53}, ends{inner, hostB, 40000, 80}
	seenDNS := endsOf(b.cross(portA, udpPacket(dns, nil), portB))
	seenWeb := b.connect(web, portA, portB)
	b.change(func(t *Tables) {
		t.Stateful.Firewall = compile(b.t, *home(rule("inside", "outside", packet.ProtoUDP, 53, firewall.Drop)))
	})
	b.cross(portA, tcpPacket(web, packet.TCPAck, 101, 901, []byte("x")), portB)
	b.cross(portB, tcpPacket(seenWeb.back(), packet.TCPAck, 901, 102, []byte("y")), portA)
	b.sessionsAre(2)
	b.refused(portB, udpPacket(seenDNS.back(), nil), DropFirewall) // the reply finds that its session has ended
	b.sessionsAre(1)
	b.refused(portA, udpPacket(dns, nil), DropFirewall)
	if b.ended != 1 {
		t.Errorf("%d sessions ended", b.ended)
	}
	// Let in again, it is another session.
	b.change(func(t *Tables) { t.Stateful.Firewall = compile(b.t, *home()) })
	b.cross(portA, udpPacket(dns, nil), portB)
	b.sessionsAre(2)
}

func TestForwardThatGoesEndsItsSessions(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), forwards: web(), firewall: home()})
	e := ends{hostB, wan, 3333, 80}
	b.cross(portB, tcpPacket(e, packet.TCPSyn, 1, 0, nil), portA)
	b.cross(portB, tcpPacket(e, packet.TCPSyn, 1, 0, nil), portA)
	policy := nat.NewPolicy(masquerade(), nil, ownAddresses())
	b.change(func(t *Tables) { t.Stateful.NAT = policy })
	b.mappings.Retain(policy, conntrack.TickOf(b.clock))
	b.refused(portB, tcpPacket(e, packet.TCPSyn, 1, 0, nil), DropFirewall)
	b.sessionsAre(0)
}

func TestSessionEndsWhereItsWayLeadsOutOfAnotherPort(t *testing.T) {
	b := newNATbed(t, natOptions{rules: plainToo()})
	b.reroute("8.0.0.0/8", adjToB)
	e := ends{inner, addr("8.8.8.8"), 5000, 53}
	if got := b.cross(portA, udpPacket(e, nil), portB); got.Src() != wan {
		t.Fatalf("left from %v", got.Src())
	}
	b.reroute("8.0.0.0/8", adjToPlain)
	if got := b.cross(portA, udpPacket(e, nil), portPlain); got.Src() != addr("10.4.0.1") {
		t.Fatalf("left from %v", got.Src())
	}
	b.sessionsAre(1)
	if b.ended != 1 {
		t.Errorf("%d sessions ended", b.ended)
	}
	// A TCP connection cannot begin anew in its middle.
	c := ends{inner, addr("8.8.8.8"), 40000, 80}
	b.connect(c, portA, portPlain)
	b.reroute("8.0.0.0/8", adjToB)
	b.refused(portA, tcpPacket(c, packet.TCPAck, 101, 901, nil), DropSessionPath)
}

func TestRepliesByAnotherPortEndNothing(t *testing.T) {
	b := newNATbed(t, natOptions{rules: plainToo()})
	b.reroute("8.0.0.0/8", adjToB)
	e := ends{inner, addr("8.8.8.8"), 5000, 53}
	seen := endsOf(b.cross(portA, udpPacket(e, nil), portB))
	b.cross(portPlain, udpPacket(seen.back(), nil), portA)
	b.d.Changed()
	if got := endsOf(b.cross(portA, udpPacket(e, nil), portB)); got != seen {
		t.Errorf("left as %+v", got)
	}
	if b.ended != 0 {
		t.Error("the session ended")
	}
}

func TestMultipathKeepsTheSessionsPort(t *testing.T) {
	b := newNATbed(t, natOptions{rules: plainToo()})
	for i := range 40 {
		e := ends{inner, addr("172.16.1.1") + packet.Addr(i), 5000, 53}
		b.arrive(portA, udpPacket(e, nil))
		out, s := portB, sent{}
		s, ok := b.take(portB)
		if !ok {
			out, s = portPlain, b.one(portPlain)
		}
		b.change(func(t *Tables) { t.Members = []fib.Value{adjToPlain, adjToB} }) // hashes lead elsewhere now
		if got := b.cross(portA, udpPacket(e, nil), out); endsOf(got) != endsOf(s.ip) {
			t.Fatalf("left as %+v, before as %+v", endsOf(got), endsOf(s.ip))
		}
		b.change(func(t *Tables) { t.Members = []fib.Value{adjToB, adjToPlain} })
	}
	if b.ended != 0 {
		t.Errorf("%d sessions ended", b.ended)
	}
}

// The answers of a forwarded port bear the address that the client has asked: another uplink's provider would drop them.
func TestMultipathKeepsAForwardsPort(t *testing.T) {
	b := newNATbed(t, natOptions{rules: plainToo(), forwards: web()})
	for i := range 40 {
		e := ends{addr("172.16.1.1") + packet.Addr(i), wan, 5000, 80}
		in := b.cross(portB, tcpPacket(e, packet.TCPSyn, 1, 0, nil), portA)
		if got := b.cross(portA, tcpPacket(endsOf(in).back(), packet.TCPSyn|packet.TCPAck, 1, 2, nil), portB); endsOf(got) != e.back() {
			t.Fatalf("answered as %+v", endsOf(got))
		}
	}
}

func TestOutsideAddressThatGoesEndsItsSessions(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	b.cross(portA, udpPacket(e, nil), portB)
	fresh := addr("10.2.0.7")
	policy := nat.NewPolicy(masquerade(func(r *nat.Rule) { r.Outside = []packet.Addr{fresh} }), nil, append(ownAddresses(), fresh))
	b.change(func(t *Tables) { t.Stateful.NAT = policy })
	got := b.cross(portA, udpPacket(e, nil), portB)
	if got.Src() != fresh {
		t.Errorf("left from %v", got.Src())
	}
	b.sessionsAre(1)
	if b.ended != 1 {
		t.Errorf("%d sessions ended", b.ended)
	}
}

func TestNATSwitchedOnAndOff(t *testing.T) {
	b := newNATbed(t, natOptions{})
	e := ends{inner, hostB, 5000, 53}
	if got := b.cross(portA, udpPacket(e, nil), portB); got.Src() != inner {
		t.Fatalf("left from %v", got.Src())
	}
	policy := nat.NewPolicy(masquerade(), nil, ownAddresses())
	b.change(func(t *Tables) { t.Stateful.NAT, t.Stateful.Mappings = policy, b.mappings })
	if got := b.cross(portA, udpPacket(e, nil), portB); got.Src() != wan {
		t.Fatalf("left from %v", got.Src())
	}
	b.change(func(t *Tables) { t.Stateful.NAT, t.Stateful.Mappings = nil, nil })
	if got := b.cross(portA, udpPacket(e, nil), portB); got.Src() != inner {
		t.Fatalf("left from %v", got.Src())
	}
	b.change(func(t *Tables) { t.Stateful = nil })
	if got := b.cross(portA, udpPacket(e, nil), portB); got.Src() != inner {
		t.Fatalf("left from %v", got.Src())
	}
}

func TestStrangerDoesNotEndASessionOfOthers(t *testing.T) {
	c := home()
	c.Zones[0].Ports = []uint16{uint16(portA)}
	c.Zones = append(c.Zones, firewall.Zone{Name: "guests", Ports: []uint16{uint16(portT)}})
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: c})
	e := ends{inner, hostB, 5000, 53}
	b.cross(portA, udpPacket(e, nil), portB)
	b.refused(portT, udpPacket(e, nil), DropFirewall) // another zone forges its packets
	b.sessionsAre(1)
	b.cross(portA, udpPacket(e, nil), portB)
	if b.ended != 0 {
		t.Error("the session ended")
	}
}

func TestExhaustionRefusesNewSessionsOnly(t *testing.T) { // RFC 5508 REQ-8
	few := func(r *nat.Rule) { r.PortMin, r.PortMax = 5000, 5001 }
	for _, c := range []struct {
		name string
		o    natOptions
		why  DropReason
	}{
		{"table full", natOptions{rules: masquerade(), sessions: conntrack.Config{Max: 2}}, DropSessionTableFull},
		{"host limit", natOptions{rules: masquerade(), sessions: conntrack.Config{MaxPerHost: 2}}, DropSessionHostLimit},
		{"no ports", natOptions{rules: masquerade(few)}, DropNATNoPorts},
		{"mappings", natOptions{rules: masquerade(), mappings: nat.Config{Max: 2}}, DropNATMappings},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newNATbed(t, c.o)
			for port := uint16(5000); port < 5002; port++ {
				b.cross(portA, udpPacket(ends{inner, hostB, port, 53}, nil), portB)
			}
			e := ends{inner, hostB, 5002, 53}
			for range 3 {
				b.refused(portA, udpPacket(e, nil), c.why)
				p := b.punt()
				if p.Reason != PuntError || p.Type != packet.ICMPUnreachable || p.Code != packet.ICMPAdminProhibited || endsOf(packet.IPv4(p.Packet)) != e {
					t.Errorf("punted for %v, type %d code %d", p.Reason, p.Type, p.Code)
				}
			}
			b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB) // live ones go on
			b.sessionsAre(2)
			if n := b.mappings.Counts().Mappings; n != 2 {
				t.Errorf("%d mappings for 2 sessions: a reference was not given back", n)
			}
			b.clock += 301e9
			b.sessions.Expire(conntrack.TickOf(b.clock), 10)
			b.cross(portA, udpPacket(e, nil), portB)
		})
	}
}

func TestOutsideWithoutAddressRefuses(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(func(r *nat.Rule) { r.Outside = nil })})
	b.refused(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), DropNATNoAddress)
	if p := b.punt(); p.Code != packet.ICMPAdminProhibited {
		t.Errorf("code %d", p.Code)
	}
}

func TestFloodOfSYNsFromOutsideClosesNoForward(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), forwards: web(), sessions: conntrack.Config{MaxHalfOpen: 3}})
	for port := uint16(1); port <= 100; port++ {
		b.cross(portB, tcpPacket(ends{hostB, wan, port, 80}, packet.TCPSyn, 1, 0, nil), portA)
	}
	b.noPunt()
	b.sessionsAre(3)
	if n := b.mappings.Counts().Mappings; n != 1 {
		t.Errorf("%d mappings: those of what was displaced are to go with it", n)
	}
	if n := b.sessions.Counts().Displaced; n != 97 || b.ended != 97 {
		t.Errorf("%d displaced, told of %d", n, b.ended)
	}
	seen := b.connect(ends{hostB, wan, 200, 80}, portB, portA) // who completes the handshake gets in
	b.cross(portA, tcpPacket(seen.back(), packet.TCPAck, 901, 101, []byte("x")), portB)
	b.connect(ends{inner, hostB, 40000, 80}, portA, portB) // inside is not concerned
}

func TestRepliesByAnotherPortDoNotMoveASession(t *testing.T) {
	b := newNATbed(t, natOptions{rules: plainToo(), tables: func(t *Tables) {
		t.Members = []fib.Value{fibValue(adjToB), fibValue(adjToPlain)}
		t.Adjacencies = append(t.Adjacencies, Adjacency{Kind: Multipath, Count: 2})
	}})
	b.reroute("8.0.0.0/8", uint32(len(b.d.tables.Load().Adjacencies)-1))
	for port := uint16(5000); port < 5010; port++ { // of equally good ways some take the one, some the other
		e := ends{inner, addr("8.8.8.8"), port, 53}
		b.arrive(portA, udpPacket(e, nil))
		mine, another := PortID(portB), PortID(portPlain)
		left, ok := b.take(mine)
		if !ok {
			mine, another = another, mine
			left = b.one(mine)
		}
		seen := endsOf(left.ip)
		b.cross(another, udpPacket(seen.back(), nil), portA)
		b.d.Changed()
		if got := endsOf(b.cross(portA, udpPacket(e, nil), mine)); got != seen {
			t.Errorf("left as %+v, before as %+v", got, seen)
		}
	}
}

// A worker takes up its batch under tables that know no NAT, and the way it finds is newer than that.
func TestNATThatBeginsInTheMiddleOfABatchIsNotPassedBy(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	with := b.d.Tables()
	bare := *with
	bare.Stateful = nil
	e := ends{inner, hostB, 5000, 53}
	send := func(before, after *Tables) {
		b.d.Publish(before)
		b.w.begin()
		b.d.Publish(after)
		p := b.w.load4(udpPacket(e, nil))
		p.in = portA
		b.w.ip4Input(p, &before.Ports[portA])
		b.w.end()
	}
	send(&bare, with)
	if got := b.one(portB).ip; got.Src() != wan {
		t.Errorf("left as %v, bare", got.Src())
	}
	// So is another policy, whatever the session's packet before.
	other := *with
	st := *with.Stateful
	st.NAT = nat.NewPolicy([]nat.Rule{{Out: uint16(portB), Type: nat.SNAT, Outside: []packet.Addr{addr("10.2.0.99")}}}, nil, nil)
	other.Stateful = &st
	e.sport++
	send(with, &other)
	if got := b.one(portB).ip; got.Src() != addr("10.2.0.99") {
		t.Errorf("left as %v, by the policy of before", got.Src())
	}
}
