package dataplane

import (
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

var (
	peer = addr("10.2.0.3")
)

// web is a forward of port 80 of the outside to port 8080 of an inside host.
func web() []nat.Forward {
	return []nat.Forward{{In: uint16(portB), Protocol: packet.ProtoTCP, PortMin: 80, PortMax: 80, Outside: []packet.Addr{wan}, To: other, ToPort: 8080}}
}

func TestForwardLetsOutsideIn(t *testing.T) {
	for name, o := range map[string]natOptions{"NAT alone": {rules: masquerade(), forwards: web()}, "with a firewall": {rules: masquerade(), forwards: web(), firewall: home()}} {
		t.Run(name, func(t *testing.T) {
			b := newNATbed(t, o)
			e := ends{hostB, wan, 3333, 80}
			in := b.cross(portB, tcpPacket(e, packet.TCPSyn, 1, 0, nil), portA)
			if endsOf(in) != (ends{hostB, other, 3333, 8080}) {
				t.Fatalf("came as %+v", endsOf(in))
			}
			out := b.cross(portA, tcpPacket(endsOf(in).back(), packet.TCPSyn|packet.TCPAck, 1, 2, nil), portB)
			if endsOf(out) != e.back() {
				t.Fatalf("the answer left as %+v", endsOf(out))
			}
			b.cross(portB, tcpPacket(e, packet.TCPAck, 2, 2, nil), portA)
			b.sessionsAre(1)
		})
	}
}

func TestREQ9_HairpinThroughAForward(t *testing.T) { // RFC 4787 REQ-9, RFC 5382 REQ-8
	for name, o := range map[string]natOptions{"NAT alone": {rules: masquerade(), forwards: web()}, "with a firewall": {rules: masquerade(), forwards: web(), firewall: home()}} {
		t.Run(name, func(t *testing.T) {
			b := newNATbed(t, o)
			e := ends{inner, wan, 4444, 80}
			in := b.cross(portA, tcpPacket(e, packet.TCPSyn, 1, 0, nil), portA)
			seen := endsOf(in)
			if seen.src != wan || seen.dst != other || seen.dport != 8080 {
				t.Fatalf("the server sees %+v; a hairpin shows the outside address (REQ-9a)", seen)
			}
			back := b.cross(portA, tcpPacket(seen.back(), packet.TCPSyn|packet.TCPAck, 1, 2, nil), portA)
			if endsOf(back) != e.back() {
				t.Fatalf("the answer came as %+v", endsOf(back))
			}
			b.noPunt() // no redirect: the other hop does not translate
			b.sessionsAre(1)
		})
	}
}

func TestREQ9_HairpinThroughAMapping(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	mapped := endsOf(b.cross(portA, udpPacket(ends{other, hostB, 7000, 53}, nil), portB))
	in := b.cross(portA, udpPacket(ends{inner, mapped.src, 5000, mapped.sport}, nil), portA)
	seen := endsOf(in)
	if seen.src != wan || seen.dst != other || seen.dport != 7000 {
		t.Fatalf("came as %+v", seen)
	}
	back := b.cross(portA, udpPacket(seen.back(), nil), portA)
	if endsOf(back) != (ends{mapped.src, inner, mapped.sport, 5000}) {
		t.Fatalf("the answer came as %+v", endsOf(back))
	}
}

func TestREQ8_Filtering(t *testing.T) { // RFC 4787 REQ-8
	sameAddress, samePort, stranger := ends{src: hostB, sport: 54}, ends{src: hostB, sport: 53}, ends{src: peer, sport: 53}
	for _, c := range []struct {
		filtering nat.Filtering
		passes    map[ends]bool
	}{
		{nat.EndpointIndependent, map[ends]bool{samePort: true, sameAddress: true, stranger: true}},
		{nat.AddressDependent, map[ends]bool{samePort: true, sameAddress: true, stranger: false}},
		{nat.AddressAndPortDependent, map[ends]bool{samePort: true, sameAddress: false, stranger: false}},
	} {
		b := newNATbed(t, natOptions{rules: masquerade(func(r *nat.Rule) { r.Filtering = c.filtering })})
		seen := endsOf(b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB))
		for from, passes := range c.passes {
			ip := udpPacket(ends{from.src, seen.src, from.sport, seen.sport}, nil)
			if passes {
				if got := b.cross(portB, ip, portA); got.Dst() != inner {
					t.Errorf("filtering %d: from %+v to %v", c.filtering, from, got.Dst())
				}
			} else {
				b.refused(portB, ip, DropNATFiltered)
			}
		}
	}
}

func TestUnsolicitedFromOutsideWithoutFirewall(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	b.refused(portB, udpPacket(ends{hostB, inner, 1, 2}, nil), DropNATUnsolicited)
	b.noPunt()
	b.refused(portB, tcpPacket(ends{hostB, inner, 1, 2}, packet.TCPSyn, 1, 0, nil), DropNATUnsolicited)
	p := b.punt()
	if p.Reason != PuntHeldSYN || p.Type != packet.ICMPUnreachable || p.Code != packet.ICMPPortUnreachable || endsOf(packet.IPv4(p.Packet)) != (ends{hostB, inner, 1, 2}) {
		t.Errorf("punted for %v, type %d code %d", p.Reason, p.Type, p.Code)
	}
	// Between inside ports everything passes, and the router's own addresses are served.
	b.cross(portA, udpPacket(ends{inner, addr("10.4.0.2"), 1, 2}, nil), portPlain)
	b.arrive(portB, udpPacket(ends{hostB, wan, 1, 2}, nil))
	if p := b.punt(); p.Reason != PuntLocal {
		t.Errorf("punted for %v", p.Reason)
	}
}

func TestRFC5382REQ4_FilteredSYNIsHeld(t *testing.T) {
	o := natOptions{rules: masquerade(func(r *nat.Rule) { r.Filtering = nat.AddressAndPortDependent })}
	b := newNATbed(t, o)
	seen := b.connect(ends{inner, hostB, 40000, 80}, portA, portB)
	syn := tcpPacket(ends{peer, seen.src, 99, seen.sport}, packet.TCPSyn, 1, 0, nil)
	b.refused(portB, syn, DropNATFiltered)
	p := b.punt()
	if p.Reason != PuntHeldSYN || p.Drop != DropNATFiltered || b.d.Control().Opened(&p) {
		t.Errorf("punted for %v", p.Reason)
	}
	// Inside opens towards the same peer: it was one half of a simultaneous opening.
	b.reroute("10.2.0.3/32", adjToB)
	b.cross(portA, tcpPacket(ends{inner, peer, 40000, 99}, packet.TCPSyn, 1, 0, nil), portB)
	if !b.d.Control().Opened(&p) {
		t.Error("the session that inside has opened is not found")
	}
	b.cross(portB, syn, portA)
	// What opens nothing is no business of a mapping: the router answers it as any host would.
	b.arrive(portB, tcpPacket(ends{peer, seen.src, 98, seen.sport}, packet.TCPSyn|packet.TCPAck, 1, 0, nil))
	if p := b.punt(); p.Reason != PuntLocal {
		t.Errorf("punted for %v", p.Reason)
	}
	o.firewall = home() // REQ-4a: its policy is silence
	b = newNATbed(t, o)
	b.connect(ends{inner, hostB, 40000, 80}, portA, portB)
	b.refused(portB, syn, DropNATFiltered)
	b.noPunt()
}

func TestFirewallHome(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	e := ends{inner, hostB, 5000, 53}
	seen := endsOf(b.cross(portA, udpPacket(e, nil), portB))
	b.cross(portB, udpPacket(seen.back(), nil), portA)
	for _, c := range []packet.IPv4{
		udpPacket(ends{hostB, inner, 1, 2}, nil),
		udpPacket(ends{peer, seen.src, 1, seen.sport}, nil), // the mapping's filtering would let it in
		udpPacket(ends{hostB, wan, 1, 2}, nil),              // the router
		echo(hostB, wan, packet.ICMPEchoRequest, 1, nil),
	} {
		b.refused(portB, c, DropFirewall)
	}
	b.sessionsAre(1)
	b.noPunt()
	// What inside says to the router is heard, and answered.
	b.arrive(portA, udpPacket(ends{inner, addr("10.1.0.1"), 1, 2}, nil))
	if p := b.punt(); p.Reason != PuntLocal {
		t.Fatalf("punted for %v", p.Reason)
	}
	b.d.Control().Output(udpPacket(ends{addr("10.1.0.1"), inner, 2, 1}, nil))
	b.one(portA)
	b.sessionsAre(2)
}

func TestMappedStateCanBeAccepted(t *testing.T) {
	accept := rule("outside", "inside", packet.ProtoUDP, 0, firewall.Accept)
	accept.Match.States = firewall.Mapped
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home(accept)})
	seen := endsOf(b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB))
	if got := b.cross(portB, udpPacket(ends{peer, seen.src, 1, seen.sport}, nil), portA); got.Dst() != inner {
		t.Errorf("came to %v", got.Dst())
	}
	b.refused(portB, udpPacket(ends{hostB, inner, 1, 2}, nil), DropFirewall)
}

func TestRejectsAreAnsweredAsTheRuleSays(t *testing.T) {
	for _, c := range []struct {
		action firewall.Action
		tcp    bool
		reason PuntReason
		code   uint8
	}{
		{firewall.Reject, true, PuntReset, 0},
		{firewall.Reject, false, PuntError, packet.ICMPPortUnreachable},
		{firewall.RejectReset, true, PuntReset, 0},
		{firewall.RejectReset, false, PuntError, packet.ICMPPortUnreachable},
		{firewall.RejectAdmin, true, PuntError, packet.ICMPAdminProhibited},
		{firewall.RejectHost, false, PuntError, packet.ICMPHostUnreachable},
		{firewall.RejectNetwork, false, PuntError, packet.ICMPNetUnreachable},
	} {
		b := newNATbed(t, natOptions{rules: masquerade(), firewall: home(rule("inside", "outside", 0, 0, c.action))})
		e := ends{inner, hostB, 40000, 80}
		ip := udpPacket(e, nil)
		if c.tcp {
			ip = tcpPacket(e, packet.TCPSyn, 77, 0, nil)
		}
		b.refused(portA, ip, DropFirewallReject)
		p := b.punt()
		if p.Reason != c.reason || p.Code != c.code || p.Drop != DropFirewallReject || endsOf(packet.IPv4(p.Packet)) != e {
			t.Errorf("action %d: punted for %v, code %d", c.action, p.Reason, p.Code)
		}
		b.sessionsAre(0)
		if c.reason == PuntReset {
			// Sent as a packet of the router's, it reaches its source and opens nothing.
			b.d.Control().Output(TCPReset(&p))
			got := b.one(portA).ip
			good(t, got)
			if endsOf(got) != e.back() {
				t.Errorf("the reset went as %+v", endsOf(got))
			}
			b.sessionsAre(0)
		}
	}
}

func TestTCPResetHasTheNumbersOfAClosedConnection(t *testing.T) { // RFC 9293 section 3.10.7.1
	e := ends{hostA, hostB, 1111, 2222}
	for _, c := range []struct {
		flags    uint8
		data     int
		seq, ack uint32
		want     uint8
	}{
		{packet.TCPSyn, 0, 0, 501, packet.TCPRst | packet.TCPAck},
		{packet.TCPSyn, 10, 0, 511, packet.TCPRst | packet.TCPAck},
		{packet.TCPFin, 5, 0, 506, packet.TCPRst | packet.TCPAck},
		{packet.TCPAck, 100, 800, 0, packet.TCPRst},
		{packet.TCPSyn | packet.TCPAck, 0, 800, 0, packet.TCPRst},
	} {
		quoted := tcpPacket(e, c.flags, 500, 800, numbered(c.data))
		out := packet.IPv4(TCPReset(&Punt{Packet: quoted[:min(len(quoted), 44)]})) // the quote may be cut short
		good(t, out)
		s := packet.TCP(out.Payload())
		if endsOf(out) != e.back() || s.Seq() != c.seq || s.Ack() != c.ack || s.Flags() != c.want {
			t.Errorf("flags %08b, %d octets: answered with %d, %d, %08b", c.flags, c.data, s.Seq(), s.Ack(), s.Flags())
		}
	}
	for _, p := range [][]byte{nil, udpPacket(e, nil), tcpPacket(e, packet.TCPRst, 1, 1, nil), tcpPacket(e, packet.TCPSyn, 1, 1, nil)[:30]} {
		if TCPReset(&Punt{Packet: p}) != nil {
			t.Errorf("a reset for % x", p)
		}
	}
}

func TestAccessRulesMeetEveryPacket(t *testing.T) {
	no := rule("", "", packet.ProtoUDP, 53, firewall.Drop)
	no.In = uint16(portA)
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: &firewall.Config{Access: []firewall.Rule{no}}})
	b.refused(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), DropAccess)
	e := ends{inner, hostB, 5000, 54}
	b.cross(portA, udpPacket(e, nil), portB)
	b.sessionsAre(1)
	// A rule that comes meets the packets of sessions that exist.
	b.change(func(t *Tables) {
		no := rule("", "", packet.ProtoUDP, 54, firewall.Reject)
		no.In = uint16(portA)
		t.Stateful.Firewall = compile(b.t, firewall.Config{Access: []firewall.Rule{no}})
	})
	b.refused(portA, udpPacket(e, nil), DropAccessReject)
	b.punt()
	b.sessionsAre(1)
	b.change(func(t *Tables) { t.Stateful.Firewall = nil })
	b.cross(portA, udpPacket(e, nil), portB)
}

func TestAccessRulesAloneNeedNoSessions(t *testing.T) {
	no := rule("", "", packet.ProtoTCP, 0, firewall.Drop)
	no.In, no.Match.TCPFlags, no.Match.TCPMask = uint16(portB), packet.TCPSyn, packet.TCPSyn|packet.TCPAck
	away := rule("", "", packet.ProtoUDP, 0, firewall.RejectAdmin)
	away.Out = uint16(portB)
	b := newNATbed(t, natOptions{firewall: &firewall.Config{Access: []firewall.Rule{no, away}}})
	b.change(func(t *Tables) { t.Stateful.Sessions = nil })
	e := ends{hostB, inner, 1, 2}
	b.refused(portB, tcpPacket(e, packet.TCPSyn, 1, 0, nil), DropAccess)
	b.cross(portB, tcpPacket(e, packet.TCPSyn|packet.TCPAck, 1, 1, nil), portA)
	b.refused(portA, udpPacket(e.back(), nil), DropAccessReject)
	b.punt()
	b.cross(portB, udpPacket(e, nil), portA)
	// Fragments show their ports together only.
	pieces := cut(udpPacket(e.back(), numbered(2000)), 1480)
	b.arrive(portA, pieces[0])
	b.refused(portA, pieces[1], DropAccessReject)
	b.punt()
	b.sessionsAre(0)
}

func TestOneToOneBothWays(t *testing.T) {
	outside := addr("10.2.0.50")
	rules := []nat.Rule{{Out: uint16(portB), Type: nat.OneToOne, Inside: other, Source: []netip.Prefix{netip.MustParsePrefix("10.1.0.3/32")}, Outside: []packet.Addr{outside}}}
	b := newNATbed(t, natOptions{rules: append(rules, masquerade()...), firewall: home()})
	if got := endsOf(b.cross(portA, udpPacket(ends{other, hostB, 5000, 53}, nil), portB)); got != (ends{outside, hostB, 5000, 53}) {
		t.Errorf("left as %+v", got)
	}
	b.reroute("10.2.0.3/32", adjToB)
	got := b.cross(portB, echo(peer, outside, packet.ICMPEchoRequest, 7, nil), portA)
	if got.Dst() != other || endsOf(got).sport != 7 {
		t.Errorf("came to %v", got.Dst())
	}
	back := b.cross(portA, echo(other, peer, packet.ICMPEchoReply, 7, nil), portB)
	if back.Src() != outside {
		t.Errorf("the answer left from %v", back.Src())
	}
	// A protocol without ports.
	gre := ipPacket(peer, outside, 47, numbered(20))
	if got := b.cross(portB, gre, portA); got.Dst() != other {
		t.Errorf("GRE came to %v", got.Dst())
	}
}

func TestBroadcastsAreJudgedWithoutASession(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home(), tables: func(t *Tables) { t.Adjacencies[adjBroadB].Port = portB }})
	for _, dst := range []string{"255.255.255.255", "224.0.0.9", "10.2.0.255"} {
		b.refused(portB, udpPacket(ends{hostB, addr(dst), 520, 520}, nil), DropFirewall)
		b.noPunt()
	}
	b.arrive(portA, udpPacket(ends{inner, packet.Broadcast, 520, 520}, nil))
	if p := b.punt(); p.Reason != PuntBroadcast {
		t.Errorf("punted for %v", p.Reason)
	}
	b.sessionsAre(0)
}

func TestOnlySessionsCountForARulesLimit(t *testing.T) {
	few := rule("", "", 0, 0, firewall.Accept)
	few.MaxHost = 2
	b := newNATbed(t, natOptions{rules: masquerade(func(r *nat.Rule) { r.PortMin, r.PortMax = 5000, 5001 }), firewall: home(few, rule("", "", 0, 0, firewall.Drop))})
	for range 4 { // broadcasts, packets that cannot leave, and those for which there is no port
		b.arrive(portA, udpPacket(ends{inner, packet.Broadcast, 1, 2}, nil))
		b.punt()
		b.refused(portA, udpPacket(ends{inner, hostB, 1, 2}, nil, withTTL(1)), DropTTL)
		b.punt()
	}
	first := b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB)
	for range 4 { // and errors
		b.cross(portB, icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, first), portA)
	}
	b.cross(portA, udpPacket(ends{inner, hostB, 5001, 53}, nil), portB)
	b.refused(portA, udpPacket(ends{inner, hostB, 5002, 53}, nil), DropFirewall)
	for range 4 {
		b.refused(portA, udpPacket(ends{other, hostB, 5002, 53}, nil), DropNATNoPorts)
		b.punt()
	}
	b.clock += 301e9
	b.sessions.Expire(conntrack.TickOf(b.clock), 10)
	for port := uint16(5002); port < 5004; port++ {
		b.cross(portA, udpPacket(ends{other, hostB, port, 53}, nil), portB)
	}
}

func TestLoggedPacketsAreCopied(t *testing.T) {
	log := rule("inside", "outside", packet.ProtoUDP, 53, firewall.Accept)
	log.Log = true
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home(log)})
	e := ends{inner, hostB, 5000, 53}
	b.cross(portA, udpPacket(e, numbered(400)), portB)
	p := b.punt()
	if p.Reason != PuntLogged || p.Port != portA || p.Egress != portB || p.Rule != 0 || p.Access || p.Action != firewall.Accept ||
		len(p.Packet) != logOctets || endsOf(packet.IPv4(p.Packet)) != e {
		t.Errorf("%+v", p)
	}
	b.cross(portA, udpPacket(e, numbered(400)), portB)
	b.noPunt() // a session is logged once
}

func TestInvalidPackets(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	e := ends{inner, hostB, 40000, 80}
	seen := b.connect(e, portA, portB)
	b.refused(portA, tcpPacket(ends{inner, hostB, 40001, 80}, packet.TCPAck, 1, 1, nil), DropSessionNone)
	b.refused(portA, tcpPacket(e, packet.TCPSyn|packet.TCPFin, 1, 1, nil), DropSessionTCPFlags)
	b.refused(portA, udpPacket(ends{inner, hostB, 0, 80}, nil), DropSessionPorts)
	b.refused(portA, ipPacket(inner, hostB, packet.ProtoUDP, []byte{1, 2, 3}), DropSessionTruncated)
	b.refused(portB, tcpPacket(seen.back(), packet.TCPRst, 901+1<<30, 0, nil), DropSessionTCPWindow)
	b.refused(portA, echo(inner, hostB, 40, 1, nil), DropSessionICMPType)
	b.cross(portB, tcpPacket(seen.back(), packet.TCPAck, 901, 101, nil), portA) // the connection lives
	// From outside a rule or policy says so anyway; the reason stays that of the packet.
	b.refused(portB, tcpPacket(ends{hostB, wan, 1, 2}, packet.TCPAck, 1, 1, nil), DropSessionNone)
}

// Who opens a port to new sessions does not let stray segments through.
func TestRulesThatAcceptLetNoStraySegmentsThrough(t *testing.T) {
	stray := tcpPacket(ends{hostB, inner, 40000, 80}, packet.TCPAck, 1, 1, nil)
	m := firewall.Any()
	m.Protocol, m.DestPorts = packet.ProtoTCP, []firewall.PortRange{{Min: 80, Max: 80}}
	config := home()
	config.Rules = []firewall.Rule{{From: "outside", To: "inside", Match: m, Action: firewall.Accept}}
	b := newNATbed(t, natOptions{firewall: config})
	b.refused(portB, stray, DropSessionNone)
	b.sessionsAre(0)
	e := ends{hostB, inner, 40001, 80}
	b.connect(e, portB, portA)
	b.cross(portB, tcpPacket(e, packet.TCPAck, 101, 901, nil), portA)
	config.Rules[0].Match.States = firewall.New | firewall.Invalid
	b = newNATbed(t, natOptions{firewall: config})
	b.cross(portB, stray, portA)
	b.sessionsAre(0)
}

func TestLooseTableTakesUpOldConnections(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home(), sessions: conntrack.Config{Loose: true}})
	e := ends{inner, hostB, 40000, 80}
	out := b.cross(portA, tcpPacket(e, packet.TCPAck, 5000, 6000, numbered(10)), portB)
	if endsOf(out) != (ends{wan, hostB, 40000, 80}) {
		t.Fatalf("left as %+v", endsOf(out))
	}
	b.cross(portB, tcpPacket(endsOf(out).back(), packet.TCPAck, 6000, 5010, numbered(10)), portA)
	b.refused(portB, tcpPacket(ends{hostB, inner, 9, 9}, packet.TCPAck, 1, 1, nil), DropFirewall)
	b.refused(portA, tcpPacket(ends{inner, hostB, 40001, 80}, packet.TCPRst, 1, 1, nil), DropSessionNone)
}
