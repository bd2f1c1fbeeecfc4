package nat

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func web() Forward {
	return Forward{In: wan, Protocol: protocolTCP, PortMin: 80, PortMax: 80, Outside: []packet.Addr{public}, To: host1, ToPort: 80}
}

func TestPortForwards(t *testing.T) { // single, range, remapped
	b := newBed(t, []Rule{home()}, web(),
		Forward{In: wan, Protocol: protocolTCP, PortMin: 8000, PortMax: 8010, Outside: []packet.Addr{public}, To: host1, ToPort: 9000},
		Forward{In: wan, Protocol: protocolUDP, PortMin: 65530, PortMax: 65535, Outside: []packet.Addr{public}, To: host2, ToPort: 65530})
	b.expect(wan, tcp(server, 1234, public, 80), ToForward, host1, 80)
	b.expect(wan, tcp(server, 1234, public, 8000), ToForward, host1, 9000)
	b.expect(wan, tcp(server, 1234, public, 8010), ToForward, host1, 9010)
	b.expect(wan, tcp(server, 1234, public, 8011), Unclaimed, 0, 0)
	b.expect(wan, tcp(server, 1234, public, 7999), Unclaimed, 0, 0)
	b.expect(wan, udp(server, 1234, public, 80), Unclaimed, 0, 0)
	b.expect(wan, udp(server, 1234, public, 65535), ToForward, host2, 65535)
	b.expect(wan, tcp(server, 1234, ip("83.215.152.96"), 80), NotOurs, 0, 0)
	b.empty()
}

func TestForwardsMayBeRestrictedToSources(t *testing.T) {
	office := web()
	office.Source = nets("198.51.100.7/32")
	rest := web()
	rest.To, rest.Source = host2, nets("198.51.100.8/31")
	b := newBed(t, []Rule{home()}, office, rest)
	b.expect(wan, tcp(server, 1, public, 80), ToForward, host1, 80)
	b.expect(wan, tcp(remote2, 1, public, 80), ToForward, host2, 80)
	b.expect(wan, tcp(ip("192.0.2.1"), 1, public, 80), Filtered, 0, 0)
	b.empty()
}

func TestForwardedPortsAreNotGivenToOthers(t *testing.T) {
	r := home()
	r.PortMin, r.PortMax = 2000, 2063
	b := newBed(t, []Rule{r}, Forward{In: wan, Protocol: protocolUDP, PortMin: 2000, PortMax: 2060, Outside: []packet.Addr{public}, To: host1, ToPort: 3000})
	for i := range 3 {
		if _, port := b.open(udp(host2, 2000+uint16(i), server, 53)).outsideOf(); port < 2061 {
			t.Errorf("port %d is forwarded, and was given to another host", port)
		}
	}
	b.refused(udp(host2, 2003, server, 53), ReasonNoPorts)
	b.leaves(b.open(tcp(host2, 2000, server, 53)), public, 2000) // TCP has ports of its own
}

func TestForwardedHostSendsFromItsOutsidePort(t *testing.T) { // RFC 4787 REQ-1: one mapping, both ways
	mail := Forward{In: wan, Protocol: protocolUDP, PortMin: 3478, PortMax: 3479, Outside: []packet.Addr{public}, To: host1, ToPort: 6000}
	b := newBed(t, []Rule{home()}, mail)
	out := b.open(udp(host1, 6001, server, 9))
	b.leaves(out, public, 3479)
	in, target := b.enter(wan, udp(remote2, 5, public, 3479))
	if !target.Mapped || b.m.Counts().Mappings != 1 {
		t.Errorf("a forwarded port has %d mappings", b.m.Counts().Mappings)
	}
	b.close(out)
	b.leaves(b.open(udp(host1, 6001, server, 10)), public, 3479)
	b.close(session{udp(host1, 6001, server, 10), udp(server, 10, public, 3479)}, in)
	b.empty()
}

func TestForwardAtAnotherAddressOfThePoolIsUsedBothWays(t *testing.T) {
	first, second := ip("203.0.113.1"), ip("203.0.113.2")
	f := web()
	f.Outside = []packet.Addr{second}
	for _, inboundFirst := range []bool{false, true} {
		pool := Rule{Out: wan, Type: Masquerade, Outside: []packet.Addr{first, second}}
		b := newBed(t, []Rule{pool}, f)
		paired := b.open(tcp(host1, 5000, server, 9))
		var in session
		if inboundFirst {
			in, _ = b.enter(wan, tcp(server, 9, second, 80))
		}
		out := b.open(tcp(host1, 80, server, 9))
		b.leaves(paired, first, 5000)
		b.leaves(out, second, 80)
		if !inboundFirst {
			in, _ = b.enter(wan, tcp(server, 9, second, 80))
		}
		b.close(paired, in, out)
		b.empty()
	}
}

func TestPortWithTwoForwardsSendsFromAnyPort(t *testing.T) {
	also := web()
	also.PortMin, also.PortMax = 8080, 8080
	b := newBed(t, []Rule{home()}, web(), also)
	in, _ := b.enter(wan, tcp(server, 5, public, 8080))
	out := b.open(tcp(host1, 80, server, 6))
	if _, port := out.outsideOf(); port == 80 || port == 8080 {
		t.Errorf("it leaves by %d, which is one forward of two", port)
	}
	b.close(in, out)
	b.empty()
}

func TestFilteringEndpointIndependent(t *testing.T) { // RFC 4787 REQ-8, RFC 5382 REQ-3
	b := newBed(t, []Rule{home()})
	s := b.open(udp(host1, 5000, server, 53))
	in, target := b.enter(wan, udp(remote2, 9, public, 5000))
	if target.Kind != ToMapping || target.Addr != host1 || target.Port != 5000 || target.Rule != 0 {
		t.Errorf("came to %+v", target)
	}
	b.close(s)
	b.expect(wan, udp(remote2, 9, public, 5000), ToMapping, host1, 5000) // the session from outside holds it
	b.close(in)
	b.empty()
}

func TestFilteringAddressDependent(t *testing.T) { // RFC 4787 REQ-8
	r := home()
	r.Filtering = AddressDependent
	b := newBed(t, []Rule{r})
	one := b.open(udp(host1, 5000, server, 53))
	two := b.open(udp(host1, 5000, server, 54))
	other := b.open(udp(host1, 5000, remote2, 54))
	third := b.open(udp(host1, 5000, ip("192.0.2.1"), 54))
	b.expect(wan, udp(server, 9, public, 5000), ToMapping, host1, 5000)
	b.expect(wan, udp(remote2, 9, public, 5000), ToMapping, host1, 5000)
	b.expect(wan, udp(ip("192.0.2.2"), 9, public, 5000), Filtered, 0, 0)
	b.close(one)
	b.expect(wan, udp(server, 9, public, 5000), ToMapping, host1, 5000)
	b.close(two, third)
	b.expect(wan, udp(server, 9, public, 5000), Filtered, 0, 0)
	b.expect(wan, udp(remote2, 9, public, 5000), ToMapping, host1, 5000)
	b.close(other)
	b.empty()
}

func TestSessionsFromOutsidePermitNobody(t *testing.T) { // RFC 4787 REQ-6, REQ-8
	r := home()
	b := newBed(t, []Rule{r})
	s := b.open(udp(host1, 5000, server, 53))
	in, _ := b.enter(wan, udp(remote2, 9, public, 5000))
	r.Filtering = AddressDependent
	b.p = NewPolicy([]Rule{r}, nil, nil)
	b.expect(wan, udp(remote2, 10, public, 5000), Filtered, 0, 0)
	b.expect(wan, udp(server, 10, public, 5000), ToMapping, host1, 5000)
	b.close(s, in)
	b.empty()
}

func TestFilteringAddressAndPortDependent(t *testing.T) { // RFC 4787 REQ-8; replies find their session
	r := home()
	r.Filtering = AddressAndPortDependent
	b := newBed(t, []Rule{r})
	b.open(udp(host1, 5000, server, 53))
	b.expect(wan, udp(server, 53, public, 5000), Filtered, 0, 0)
	b.expect(wan, udp(server, 54, public, 5000), Filtered, 0, 0)
	b.expect(wan, udp(server, 54, public, 5001), Unclaimed, 0, 0)
}

func TestHairpinToAForward(t *testing.T) { // RFC 4787 REQ-9, RFC 5382 REQ-8
	b := newBed(t, []Rule{home()}, web())
	s, target := b.enter(lan, tcp(host2, 4000, public, 80))
	if target.Kind != ToForward || target.From != wan || target.Rules != 0 || !target.Mapped {
		t.Errorf("came to %+v", target)
	}
	if want := tcp(host1, 80, public, 4000); s.reply != want {
		t.Errorf("replies are %v, expected %v: the source is external address and port", s.reply, want)
	}
	if n := b.m.Counts().Mappings; n != 2 {
		t.Errorf("%d mappings, expected those of both ends", n)
	}
	b.close(s)
	b.empty()
}

func TestHairpinToOneself(t *testing.T) { // RFC 4787 REQ-9
	b := newBed(t, []Rule{home()}, web())
	s, _ := b.enter(lan, tcp(host1, 4000, public, 80))
	if want := tcp(host1, 80, public, 4000); s.reply != want {
		t.Errorf("replies are %v, expected %v", s.reply, want)
	}
	b.close(s)
	b.empty()
}

func TestHairpinBetweenMappings(t *testing.T) { // RFC 4787 REQ-9, RFC 5382 REQ-8
	for _, filtering := range []Filtering{EndpointIndependent, AddressDependent} {
		r := home()
		r.Filtering = filtering
		b := newBed(t, []Rule{r})
		one := b.open(udp(host1, 5000, server, 53))
		two := b.open(udp(host2, 6000, server, 53))
		toTwo := udp(host1, 5000, public, 6000)
		if filtering == AddressDependent {
			b.expect(lan, toTwo, Filtered, 0, 0)
			// Two sends to one, who does not let it in either; but it has a session now, as the dataplane refuses only behind it.
			k := udp(host2, 6000, public, 5000)
			b.expect(lan, k, Filtered, 0, 0)
			s, reason := b.m.Outbound(b.p, b.now, lan, 0, &k)
			if reason != ReasonNone {
				t.Fatal(reason)
			}
			two = session{k, udp(public, 5000, s.Addr, s.Port)}
		}
		in, target := b.enter(lan, toTwo)
		if target.Kind != ToMapping || in.reply != udp(host2, 6000, public, 5000) {
			t.Errorf("filtering %d: came to %+v, replies %v", filtering, target, in.reply)
		}
		if n := b.m.Counts().Mappings; n != 2 {
			t.Errorf("%d mappings: the hairpin shares those that there are", n)
		}
		b.close(one, in, two)
		if filtering == AddressDependent {
			b.close(session{udp(host2, 6000, server, 53), udp(server, 53, public, 6000)})
		}
		b.empty()
	}
}

func TestHairpinOfTheRouterItself(t *testing.T) {
	b := newBed(t, []Rule{home()}, web())
	own := b.open(tcp(public, 4000, server, 9))
	s, target := b.enter(0, tcp(public, 4000, public, 80))
	if target.Rules < 0 || s.reply != tcp(host1, 80, public, 4000) {
		t.Errorf("came to %+v, replies %v", target, s.reply)
	}
	// Refused before Outbound was asked: the router's own port stays.
	k := tcp(public, 4000, public, 80)
	refused := b.arrive(0, k)
	b.m.ReleaseTarget(b.now, &k, &refused)
	b.close(s)
	if n := b.m.Counts().Mappings; n != 1 {
		t.Errorf("%d mappings, expected the router's own", n)
	}
	b.close(own)
	lanSide, _ := b.enter(0, tcp(gateway, 4001, public, 80))
	if lanSide.reply != tcp(host1, 80, public, 4001) {
		t.Errorf("replies %v", lanSide.reply)
	}
	b.close(lanSide)
	b.empty()
}

func TestHairpinPassesExemptHostsUntranslated(t *testing.T) {
	exempt := Rule{Out: wan, Type: Exempt, Source: nets("192.168.1.11/32")}
	b := newBed(t, []Rule{exempt, home()}, web())
	s, target := b.enter(lan, tcp(host2, 4000, public, 80))
	if target.Rules != -1 || s.reply != tcp(host1, 80, host2, 4000) {
		t.Errorf("came to %+v, replies %v", target, s.reply)
	}
	b.close(s)
	b.empty()
}

func TestExemptionByDestinationDoesNotBreakHairpins(t *testing.T) {
	exempt := Rule{Out: wan, Type: Exempt, Destination: nets("192.168.0.0/16")}
	b := newBed(t, []Rule{exempt, home()}, web())
	s, _ := b.enter(lan, tcp(host2, 4000, public, 80))
	if s.reply != tcp(host1, 80, public, 4000) {
		t.Errorf("replies %v: the sender knows the outside address, which is not exempt", s.reply)
	}
}

func TestAnotherOutsidePortIsNoHairpin(t *testing.T) {
	const wan2 uint16 = 3
	second := Rule{Out: wan2, Type: Masquerade, Outside: []packet.Addr{ip("203.0.113.1")}}
	b := newBed(t, []Rule{home(), second}, web())
	if target := b.arrive(wan2, tcp(server, 4000, public, 80)); target.Kind != ToForward || target.Rules != -1 {
		t.Errorf("came to %+v", target)
	}
}

func TestPortWithRulesOfItsOwnMayBeInside(t *testing.T) { // RFC 4787 REQ-9
	toLAN := Rule{Out: lan, Type: Masquerade, Source: nets("10.8.0.0/16"), Outside: []packet.Addr{gateway}}
	r := home()
	r.Filtering = AddressDependent
	b := newBed(t, []Rule{r, toLAN}, web())
	s, target := b.enter(lan, tcp(host2, 4000, public, 80))
	if target.Rules != 0 || s.reply != tcp(host1, 80, public, 4000) {
		t.Errorf("came to %+v, replies %v", target, s.reply)
	}
	two := b.open(udp(host1, 6000, server, 53))
	b.expect(lan, udp(host2, 5000, public, 6000), Filtered, 0, 0)
	b.expect(wan, udp(server, 5000, public, 6000), ToMapping, host1, 6000)
	b.close(s, two)
	b.empty()
}

func TestOneToOne(t *testing.T) { // RFC 5508 REQ-7: hairpins of ICMP queries under Basic NAT
	mapped := ip("203.0.113.5")
	one := Rule{Out: wan, Type: OneToOne, Inside: host1, Outside: []packet.Addr{mapped}}
	b := newBed(t, []Rule{one, home()})
	b.leaves(b.open(tcp(host1, 22, server, 9)), mapped, 22)
	b.leaves(b.open(tcp(host2, 22, server, 9)), public, 22)
	b.expect(wan, tcp(server, 9, mapped, 7777), ToForward, host1, 7777)
	b.expect(wan, conntrack.MakeKey(protocolICMP, server, 3, mapped, 0), ToForward, host1, 0)
	b.expect(wan, conntrack.MakeKey(47, server, 0, mapped, 0), ToForward, host1, 0)
	if target := b.arrive(lan, tcp(host2, 9, mapped, 1)); target.Rules != 1 || !target.OneToOne || target.Rule != 0 || target.Mapped {
		t.Errorf("the hairpin came to %+v", target)
	}
	if s, _ := b.enter(lan, conntrack.MakeKey(protocolICMP, host2, 7, mapped, 0)); s.reply.Src != host1 || s.reply.Dst != public {
		t.Errorf("the hairpin of a ping has replies %v", s.reply)
	}
	if s, _ := b.enter(lan, tcp(host1, 9, mapped, 1)); s.reply != tcp(host1, 1, mapped, 9) {
		t.Errorf("the hairpin to itself has replies %v", s.reply)
	}
}

func TestReferenceOfInboundKeepsTheMapping(t *testing.T) {
	b := newBed(t, []Rule{home()})
	s := b.open(udp(host1, 5000, server, 53))
	k := udp(remote2, 9, public, 5000)
	target := b.arrive(wan, k)
	b.close(s)
	if n := b.m.Counts().Mappings; n != 1 {
		t.Fatal("the mapping went between Inbound and Create")
	}
	b.m.ReleaseTarget(b.now, &k, &target)
	b.empty()
}

func TestHairpinHoldsTwoReferences(t *testing.T) {
	b := newBed(t, []Rule{home()})
	two := b.open(udp(host2, 6000, server, 53))
	in, _ := b.enter(lan, udp(host1, 5000, public, 6000))
	b.close(two)
	if n := b.m.Counts().Mappings; n != 2 {
		t.Errorf("%d mappings are held, expected 2", n)
	}
	b.close(in)
	b.empty()
}
