package nat

import (
	"math/bits"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func TestMappingIsEndpointIndependent(t *testing.T) { // RFC 4787 REQ-1, RFC 5382 REQ-1
	b := newBed(t, []Rule{home()})
	first := b.open(udp(host1, 5000, server, 53))
	b.leaves(b.open(udp(host1, 5000, server, 54)), first.reply.Dst, first.reply.DstPort)
	b.leaves(b.open(udp(host1, 5000, remote2, 53)), first.reply.Dst, first.reply.DstPort)
	if other := b.open(tcp(host1, 5000, server, 53)); other.reply.DstPort != 5000 {
		t.Errorf("TCP has ports of its own, yet 5000 became %d", other.reply.DstPort)
	}
}

func TestMappingLivesAsLongAsASessionOverIt(t *testing.T) { // RFC 4787 REQ-5, REQ-6
	b := newBed(t, []Rule{home()})
	one := b.open(udp(host1, 5000, server, 53))
	two := b.open(udp(host1, 5000, remote2, 53))
	b.close(one)
	b.expect(wan, udp(server, 99, public, 5000), ToMapping, host1, 5000)
	b.close(two)
	b.expect(wan, udp(server, 99, public, 5000), Unclaimed, 0, 0)
	b.empty()
}

func TestPoolingIsPaired(t *testing.T) { // RFC 4787 REQ-2, RFC 6888 REQ-2
	pool := Rule{Out: wan, Type: SNAT}
	for i := range 16 {
		pool.Outside = append(pool.Outside, ip("203.0.113.0")+packet.Addr(i))
	}
	b := newBed(t, []Rule{pool})
	used := map[packet.Addr]bool{}
	var all []session
	for h := range 200 {
		inside := host1 + packet.Addr(h)
		first := b.open(udp(inside, 4000, server, 53))
		used[first.reply.Dst] = true
		all = append(all, first)
		for port := range uint16(20) {
			s := b.open(tcp(inside, 6000+port, remote2, 80))
			if s.reply.Dst != first.reply.Dst {
				t.Fatalf("%v has %v and %v", inside, first.reply.Dst, s.reply.Dst)
			}
			all = append(all, s)
		}
		if s := b.open(conntrack.MakeKey(47, inside, 0, server, 0)); s.reply.Dst != first.reply.Dst {
			t.Fatalf("%v has %v, and %v for GRE", inside, first.reply.Dst, s.reply.Dst)
		}
	}
	if len(used) < 12 {
		t.Errorf("200 hosts share %d of 16 addresses", len(used))
	}
	b.close(all...)
	b.empty()
}

func TestHostKeepsItsAddressWhileThePoolFills(t *testing.T) { // RFC 4787 REQ-2
	pool := Rule{Out: wan, Type: SNAT, PortMin: 2000, PortMax: 2063, Outside: []packet.Addr{ip("203.0.113.1"), ip("203.0.113.2")}}
	b := newBed(t, []Rule{pool})
	first := b.open(udp(host1, 9000, server, 53))
	for port := range uint16(63) {
		b.leaves(session{reply: conntrack.Key{Dst: b.open(udp(host1, 10000+port, server, 53)).reply.Dst}}, first.reply.Dst, 0)
	}
	b.refused(udp(host1, 20000, server, 53), ReasonNoPorts)
	if s := b.open(udp(host2, 20000, server, 53)); s.reply.Dst == first.reply.Dst {
		t.Errorf("a new host was given the full address %v", s.reply.Dst)
	}
}

func TestPortIsPreservedWhereFree(t *testing.T) { // RFC 4787 REQ-3, RFC 5382 REQ-7
	b := newBed(t, []Rule{home()})
	b.leaves(b.open(udp(host1, 5060, server, 5060)), public, 5060)
	b.leaves(b.open(udp(host1, 123, server, 123)), public, 123)
	b.leaves(b.open(tcp(host1, 65535, server, 123)), public, 65535)
}

func TestPortIsNeverOverloaded(t *testing.T) { // RFC 4787 REQ-3, RFC 5382 REQ-7
	b := newBed(t, []Rule{home()})
	seen := map[uint16]bool{}
	for i := range 500 {
		s := b.open(udp(host1+packet.Addr(i), 5000, server+packet.Addr(i), 53)) // all remotes differ: overloading would be possible
		if seen[s.reply.DstPort] {
			t.Fatalf("port %d was given twice", s.reply.DstPort)
		}
		seen[s.reply.DstPort] = true
	}
}

func TestPortParityAndRangeAreKept(t *testing.T) { // RFC 4787 REQ-3a, REQ-4
	b := newBed(t, []Rule{home()})
	for _, port := range []uint16{53, 500, 5000, 5001, 40000, 40001} {
		b.open(udp(host1, port, server, 53))
		for i := range 50 {
			_, got := b.open(udp(host2+packet.Addr(i), port, server, 53)).outsideOf()
			if got%2 != port%2 || (got < 1024) != (port < 1024) {
				t.Errorf("inside port %d became %d", port, got)
			}
		}
	}
}

// Services, the router's own and those that it may get, live below 600: nothing is moved there. When the low ports are used up, others serve.
func TestLowPortsAreNotMovedToWhereServicesLive(t *testing.T) { // RFC 4787 REQ-3a
	b := newBed(t, []Rule{home()}, Forward{In: wan, Protocol: packet.ProtoTCP, PortMin: 700, PortMax: 800, Outside: []packet.Addr{public}, To: host2, ToPort: 700})
	high := 0
	for i := range 500 {
		_, got := b.open(tcp(host1+packet.Addr(i), 513, server, 22)).outsideOf()
		switch {
		case i == 0 && got == 513:
		case got < 600, got >= 700 && got <= 800:
			t.Fatalf("host %d got port %d", i, got)
		case got >= 1024:
			high++
		}
	}
	if want := 500 - 1 - (1024 - 600 - 101); high != want {
		t.Errorf("%d hosts got a port from 1024 on, want %d", high, want)
	}
}

// A rule with a range of its own keeps to it, and the router's own low ports are nobody else's.
func TestLowPortsOfNarrowRulesAndOfTheRouter(t *testing.T) {
	r := home()
	r.PortMin, r.PortMax = 2000, 3000
	b := newBed(t, []Rule{r})
	if _, got := b.open(udp(host1, 513, server, 53)).outsideOf(); got < 2000 || got > 3000 {
		t.Errorf("outside of the range: %d", got)
	}
	b = newBed(t, []Rule{home()})
	own := map[uint16]bool{}
	for port := uint16(600); port < 1024; port += 3 {
		_, got := b.open(udp(public, port, server, 53)).outsideOf()
		own[got] = true
	}
	for i := range 300 {
		if _, got := b.open(udp(host1+packet.Addr(i), 700, server, 53)).outsideOf(); own[got] {
			t.Fatalf("host %d got port %d of the router", i, got)
		}
	}
}

func TestTheOtherParityServesWhenOneIsUsedUp(t *testing.T) {
	r := home()
	r.PortMin, r.PortMax = 2000, 2009
	b := newBed(t, []Rule{r})
	for i := range 10 {
		b.open(udp(host1+packet.Addr(i), 4000, server, 53))
	}
	b.refused(udp(host1+50, 4000, server, 53), ReasonNoPorts)
}

func TestIdentifiersOfICMPAreMapped(t *testing.T) { // RFC 5508 REQ-1
	b := newBed(t, []Rule{home()})
	echo := func(h packet.Addr, id uint16) conntrack.Key { return conntrack.MakeKey(protocolICMP, h, id, server, 0) }
	b.leaves(b.open(echo(host1, 0)), public, 0)
	b.leaves(b.open(echo(host1, 77)), public, 77)
	if s := b.open(echo(host2, 77)); s.reply.DstPort == 77 {
		t.Error("two hosts share an identifier")
	}
	b.leaves(b.open(conntrack.MakeKey(protocolICMP, host1, 77, remote2, 0)), public, 77) // REQ-1: endpoint-independent
	b.expect(wan, conntrack.MakeKey(protocolICMP, server, 77, public, 0), Unclaimed, 0, 0)
}

func TestProtocolsWithoutPortsChangeTheAddressOnly(t *testing.T) {
	b := newBed(t, []Rule{home()})
	k := conntrack.MakeKey(47, host1, 0, server, 0)
	if s, reason := b.m.Outbound(b.p, b.now, wan, -1, &k); reason != ReasonNone || s != (Source{Changed: true, Addr: public, Rule: 0}) {
		t.Errorf("GRE leaves as %+v (%v)", s, reason)
	}
	b.empty()
}

func TestPortsOfTheRouterItselfAreItsOwn(t *testing.T) {
	b := newBed(t, []Rule{home()})
	own := b.open(udp(public, 5353, server, 53))
	b.leaves(own, public, 5353)
	if s := b.open(udp(host1, 5353, server, 53)); s.reply.DstPort == 5353 {
		t.Error("an inside host was given a port that the router uses")
	}
	b.leaves(b.open(udp(public, 123, server, 123)), public, 123)
	b.expect(wan, udp(remote2, 9, public, 5353), Unclaimed, 0, 0)
	taken := b.open(udp(host1, 6000, server, 53))
	moved := b.open(udp(public, 6000, server, 53))
	if moved.reply.DstPort == 6000 || moved.reply.Dst != public {
		t.Errorf("the router was given the port of an inside host: %v and %v", taken, moved)
	}
	b.expect(wan, udp(remote2, 9, public, moved.reply.DstPort), Filtered, 0, 0)
	b.leaves(b.open(udp(gateway, 7000, server, 53)), public, 7000) // another address of the router is translated as any
}

func TestRulesApplyInOrder(t *testing.T) {
	exempt := Rule{Out: wan, Type: Exempt, Destination: nets("10.0.0.0/8")}
	tcpOnly := Rule{Out: wan, Type: SNAT, Protocol: protocolTCP, Source: nets("192.168.1.10/32"), Outside: []packet.Addr{ip("203.0.113.9")}}
	nowhere := Rule{Out: wan, Type: Masquerade, Source: nets("172.16.0.0/12")}
	b := newBed(t, []Rule{exempt, tcpOnly, home(), nowhere})
	b.leaves(b.open(udp(host1, 5000, ip("10.1.1.1"), 53)), host1, 5000)
	b.leaves(b.open(tcp(host1, 5000, server, 53)), ip("203.0.113.9"), 5000)
	b.leaves(b.open(udp(host1, 5000, server, 53)), public, 5000)
	b.leaves(b.open(tcp(host2, 5000, server, 53)), public, 5000)
	b.leaves(b.open(tcp(ip("10.9.9.9"), 5000, server, 53)), ip("10.9.9.9"), 5000)
	b.refused(tcp(ip("172.16.1.1"), 5000, server, 53), ReasonNoAddress)
	k := udp(host1, 5000, host2, 53)
	if s, _ := b.m.Outbound(b.p, b.now, lan, -1, &k); s.Changed || s.Rule != -1 {
		t.Errorf("a packet that leaves by a port without rules becomes %+v", s)
	}
}

func TestExhaustionRefusesNewSessionsAndLeavesLiveOnes(t *testing.T) { // RFC 4787 REQ-3, RFC 6888 REQ-11
	b := newBed(t, []Rule{home()})
	var all []session
	for i := range 64512 {
		k := tcp(host1+packet.Addr(i/60000), uint16(1024+i%60000), server, 80)
		s, reason := b.m.Outbound(b.p, b.now, wan, -1, &k)
		if reason != ReasonNone {
			t.Fatalf("refused (%v) with %d of 64512 ports taken", reason, i)
		}
		all = append(all, opened(k, s))
	}
	b.refused(tcp(host1+5, 4000, server, 80), ReasonNoPorts)
	if n := b.m.Counts().Refused[ReasonNoPorts]; n != 1 {
		t.Errorf("counted %d refusals, expected 1", n)
	}
	for _, s := range all[:100] {
		if again := b.open(tcp(s.original.Src, s.original.SrcPort, remote2, 80)); again.reply.DstPort != s.reply.DstPort {
			t.Fatal("a live mapping was touched")
		} else {
			b.close(again)
		}
	}
	_, back := all[500].outsideOf()
	b.close(all[500])
	b.leaves(b.open(tcp(host1+5, 4000, server, 80)), public, back)
	b.close(all[:500]...)
	b.close(all[501:]...)
	b.close(session{tcp(host1+5, 4000, server, 80), tcp(server, 80, public, back)})
	b.empty()
}

func TestScanPassesFullPages(t *testing.T) {
	o := &outside{}
	for port := 1024; port <= 65535; port++ {
		if port != 33333 && !o.take(0, uint16(port)) {
			t.Fatalf("port %d is not free", port)
		}
	}
	for chance := range uint64(300) {
		got, found := o.find(search{lo: 1024, hi: 65535, chance: mix(chance)}, 4, asking{})
		if !found || got != 33333 {
			t.Fatalf("found %d (%v), expected 33333, the last free port", got, found)
		}
	}
}

func TestEveryPortOfARangeIsFound(t *testing.T) {
	for _, c := range []search{{lo: 1024, hi: 1024}, {lo: 1000, hi: 1100}, {lo: 5, hi: 63}, {lo: 64, hi: 127}, {lo: 65000, hi: 65535}, {lo: 1030, hi: 3333}} {
		o, seen := &outside{}, 0
		for {
			c.chance = mix(uint64(seen))
			port, found := o.find(c, uint16(seen), asking{take: true})
			if !found {
				break
			}
			if seen++; port < c.lo || port > c.hi {
				t.Fatalf("%d is not in %d to %d", port, c.lo, c.hi)
			}
		}
		if want := int(c.hi-c.lo) + 1; seen != want {
			t.Errorf("%d to %d: %d ports were found, expected %d", c.lo, c.hi, seen, want)
		}
	}
}

func TestMostMappingsAreBounded(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.m = NewMappings(Config{Max: 10})
	for port := range uint16(10) {
		b.open(udp(host1, 5000+port, server, 53))
	}
	b.refused(udp(host1, 6000, server, 53), ReasonMappings)
	b.refused(udp(public, 6000, server, 53), ReasonMappings)
	b.open(udp(host1, 5000, remote2, 53))
}

func TestEqualSeedsGiveEqualPorts(t *testing.T) {
	run := func(seed uint64) (ports []uint16) {
		b := newBed(t, []Rule{home()})
		b.m = NewMappings(Config{Seed: seed})
		for i := range 300 {
			s := b.open(udp(host1+packet.Addr(i%7), 5000+uint16(i%50), server, 53))
			ports = append(ports, s.reply.DstPort)
			if i%3 == 0 {
				b.close(s)
			}
		}
		return ports
	}
	one, same, other := run(7), run(7), run(8)
	differ := 0
	for i := range one {
		if one[i] != same[i] {
			t.Fatalf("choice %d: %d, then %d under the same seed", i, one[i], same[i])
		}
		if one[i] != other[i] {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed gives the same ports")
	}
}

func TestChosenPortsAreSpread(t *testing.T) { // RFC 7857 section 9, RFC 6888 REQ-15
	b := newBed(t, []Rule{home()})
	b.open(udp(host1, 5000, server, 53))
	var changed uint16
	for i := range 200 {
		_, port := b.open(udp(host2+packet.Addr(i), 5000, server, 53)).outsideOf()
		changed |= port ^ 5000
	}
	if n := bits.OnesCount16(changed); n < 15 {
		t.Errorf("only %d bits of the ports vary", n)
	}
}
