package nat

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// policy puts another policy in force.
func (b *bed) policy(rules []Rule, forwards ...Forward) []Row {
	b.p = NewPolicy(rules, forwards, []packet.Addr{public, gateway, ip("83.215.152.96")})
	return b.m.Retain(b.p, b.now)
}

func (b *bed) stands(s session, want bool) {
	b.t.Helper()
	if got := b.m.Stands(b.p, s.original, s.reply); got != want {
		b.t.Errorf("session %v stands: %v, expected %v", s, got, want)
	}
}

func TestMappingsFollowTheirRuleToAnotherPlace(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.m.Retain(b.p, b.now)
	s := b.open(udp(host1, 5000, server, 53))
	gone := b.policy([]Rule{{Out: wan, Type: Exempt, Destination: nets("10.0.0.0/8")}, {Out: 7, Type: Masquerade}, home()})
	if len(gone) != 0 {
		t.Errorf("gone: %+v", gone)
	}
	b.stands(s, true)
	b.leaves(b.open(udp(host1, 5000, remote2, 53)), public, 5000)
	if rows, _ := b.m.Page(b.now, 0, 10, nil); len(rows) != 1 || rows[0].Rule != 2 {
		t.Errorf("rows: %+v", rows)
	}
	b.expect(wan, udp(server, 9, public, 5000), ToMapping, host1, 5000)
}

func TestMappingsGoOnUnderARuleThatWasEdited(t *testing.T) {
	b := newBed(t, []Rule{home()})
	s := b.open(udp(host1, 5000, server, 53))
	wider := home()
	wider.Source = nets("192.168.0.0/16", "10.0.0.0/8")
	if gone := b.policy([]Rule{wider}); len(gone) != 0 {
		t.Errorf("gone: %+v", gone)
	}
	b.stands(s, true)
	b.expect(wan, udp(server, 9, public, 5000), ToMapping, host1, 5000)
	two := b.open(udp(host1, 5000, remote2, 53))
	b.leaves(two, public, 5000)
	b.close(s, two)
	b.empty()
}

func TestMappingsOnAnAddressThatWentAreGone(t *testing.T) { // sessions on the old address are flushed at once
	b := newBed(t, []Rule{home()})
	s := b.open(udp(host1, 5000, server, 53))
	gre := b.open(conntrack.MakeKey(47, host1, 0, server, 0))
	own := b.open(udp(public, 6000, server, 53))
	b.add(Explicit{Protocol: protocolTCP, Inside: host1, InsidePort: 22, By: ByPCP, Owner: "me"}, false)
	moved := home()
	moved.Outside = []packet.Addr{ip("83.215.152.96")}
	// Between the policy and Retain new sessions have the new address already.
	b.p = NewPolicy([]Rule{moved}, nil, nil)
	early := b.open(udp(host1, 5000, remote2, 53))
	b.leaves(early, ip("83.215.152.96"), 5000)
	gone := b.policy([]Rule{moved})
	if len(gone) != 3 {
		t.Errorf("gone: %+v", gone)
	}
	named := 0
	for _, row := range gone {
		if row.By == ByPCP && row.Owner == "me" {
			named++
		}
	}
	if named != 1 || b.m.Counts().Explicit != 0 {
		t.Errorf("of the explicit mapping the asker must know: %+v", gone)
	}
	b.stands(s, false)
	b.stands(gre, false)
	b.stands(own, false)
	b.stands(early, true)
	b.expect(wan, udp(server, 9, public, 5000), NotOurs, 0, 0)
	b.close(s, own, early)
	b.empty()
	if b.m.outside.get(public) != nil {
		b.policy([]Rule{moved})
	}
	if b.m.outside.get(public) != nil {
		t.Error("the address that went is still kept")
	}
}

func TestWorkerWithTheOldPolicyMakesNothingThatStands(t *testing.T) {
	b := newBed(t, []Rule{home()})
	old := b.p
	moved := home()
	moved.Outside = []packet.Addr{ip("83.215.152.96")}
	b.policy([]Rule{moved})
	k, own := udp(host1, 5000, server, 53), udp(public, 6000, server, 53)
	s, _ := b.m.Outbound(old, b.now, wan, -1, &k)
	o, _ := b.m.Outbound(old, b.now, wan, -1, &own)
	b.stands(opened(k, s), false)
	b.stands(opened(own, o), false)
	if gone := b.policy([]Rule{moved}); len(gone) != 2 {
		t.Errorf("gone: %+v", gone)
	}
	b.close(opened(k, s), opened(own, o))
	b.empty()
}

func TestPoolThatGrowsKeepsEverything(t *testing.T) {
	pool := Rule{Out: wan, Type: SNAT, Outside: []packet.Addr{ip("203.0.113.1"), ip("203.0.113.2")}}
	b := newBed(t, []Rule{pool})
	var all []session
	for i := range packet.Addr(50) {
		all = append(all, b.open(udp(host1+i, 5000, server, 53)))
	}
	grown := pool
	grown.Outside = append(grown.Outside, ip("203.0.113.3"))
	if gone := b.policy([]Rule{grown}); len(gone) != 0 {
		t.Errorf("gone: %+v", gone)
	}
	for _, s := range all {
		again := b.open(udp(s.original.Src, 6000, server, 53))
		if again.reply.Dst != s.reply.Dst {
			t.Errorf("%v had %v, and now %v", s.original.Src, s.reply.Dst, again.reply.Dst)
		}
	}
	shrunk := pool
	shrunk.Outside = pool.Outside[1:]
	gone := b.policy([]Rule{shrunk})
	for _, s := range all {
		b.stands(s, s.reply.Dst == pool.Outside[1])
	}
	for _, row := range gone {
		if row.Outside == pool.Outside[1] {
			t.Errorf("%+v is still in the pool", row)
		}
	}
}

func TestRuleThatNoLongerReachesAHostEndsItsMappings(t *testing.T) {
	b := newBed(t, []Rule{home()})
	s1, s2 := b.open(udp(host1, 5000, server, 53)), b.open(udp(host2, 5000, server, 53))
	b.policy([]Rule{{Out: wan, Type: Exempt, Source: nets("192.168.1.10/32")}, home()})
	b.stands(s1, false)
	b.stands(s2, true)
	b.policy(nil)
	b.stands(s2, false)
	b.close(s1, s2)
	b.empty()
}

func TestNewForwardTakesItsPortFromNewSessionsOnly(t *testing.T) {
	b := newBed(t, []Rule{home()})
	s := b.open(tcp(host2, 80, server, 9))
	if gone := b.policy([]Rule{home()}, web()); len(gone) != 0 {
		t.Errorf("gone: %+v", gone)
	}
	b.stands(s, true)
	b.expect(wan, tcp(remote2, 9, public, 80), ToForward, host1, 80)
	other := b.open(tcp(host2, 80, remote2, 9))
	if _, port := other.outsideOf(); port == 80 {
		t.Error("a new session of the other host leaves by the forwarded port")
	}
	b.close(s)
	b.leaves(b.open(tcp(host1, 80, server, 9)), public, 80)
}

func TestForwardThatWentEndsWhoCameByIt(t *testing.T) {
	b := newBed(t, []Rule{home()}, web())
	in, _ := b.enter(wan, tcp(server, 9, public, 80))
	pin, _ := b.enter(lan, tcp(host2, 4000, public, 80))
	out := b.open(tcp(host1, 80, server, 10))
	narrow := web()
	narrow.Source = nets("192.0.2.0/24", "192.168.0.0/16")
	b.policy([]Rule{home()}, narrow)
	b.stands(in, false)
	b.stands(pin, true)
	b.stands(out, true)
	b.policy([]Rule{home()}, web())
	b.stands(in, true)
	b.policy([]Rule{home()})
	b.stands(in, false)
	b.stands(pin, false)
	b.stands(out, true)
	b.close(in, pin, out)
	b.empty()
}

func TestForwardThatWentHoldsItsPortUntilSessionsEnd(t *testing.T) {
	b := newBed(t, []Rule{home()}, web())
	in, _ := b.enter(wan, tcp(server, 9, public, 80))
	b.policy([]Rule{home()})
	if _, port := b.open(tcp(host2, 80, server, 9)).outsideOf(); port == 80 {
		t.Error("the port was given away under a live session")
	}
	b.close(in)
	b.leaves(b.open(tcp(host2+1, 80, server, 9)), public, 80)
}

func TestOneToOneSessionsStandWithTheirRule(t *testing.T) {
	one := Rule{Out: wan, Type: OneToOne, Inside: host1, Outside: []packet.Addr{ip("203.0.113.5")}}
	b := newBed(t, []Rule{one, home()})
	out := b.open(tcp(host1, 22, server, 9))
	in, _ := b.enter(wan, tcp(server, 9, ip("203.0.113.5"), 7777))
	b.stands(out, true)
	b.stands(in, true)
	b.policy([]Rule{home()})
	b.stands(out, false)
	b.stands(in, false)
	b.stands(session{tcp(host1, 1, server, 2), tcp(server, 2, host1, 1)}, true)
}

func TestSubscribersKeepTheirBlocksUnderAnEditedRule(t *testing.T) {
	b := newBed(t, []Rule{carrier()})
	s := b.open(udp(subscriber1, 3000, server, 53))
	wider := carrier()
	wider.Source, wider.MaxBlocks = nets("100.64.0.0/10", "10.0.0.0/8"), 4
	if gone := b.policy([]Rule{wider}); len(gone) != 0 {
		t.Errorf("gone: %+v", gone)
	}
	two := b.open(udp(subscriber1, 3001, server, 53))
	if lines, _ := b.m.Blocks(); len(lines) != 1 || two.reply.Dst != s.reply.Dst {
		t.Errorf("the subscriber got another block: %+v", lines)
	}
	shrunk := wider
	for i, a := range wider.Outside {
		if a != s.reply.Dst {
			shrunk.Outside = wider.Outside[i : i+1]
		}
	}
	b.policy([]Rule{shrunk})
	b.stands(s, false)
	three := b.open(udp(subscriber1, 3000, server, 53))
	if three.reply.Dst != shrunk.Outside[0] {
		t.Errorf("new sessions leave by %v", three.reply.Dst)
	}
	b.close(s, two, three)
	b.empty()
}

func TestDeterministicMappingsGoWithTheirBlock(t *testing.T) {
	b := newBed(t, []Rule{deterministic()})
	s := b.open(udp(ip("100.64.1.7"), 5000, server, 53))
	same := deterministic()
	b.policy([]Rule{{Out: wan, Type: Exempt, Destination: nets("10.0.0.0/8")}, same})
	b.stands(s, true)
	same.Source = same.Source[1:] // all blocks follow anew
	b.policy([]Rule{same})
	b.stands(s, false)
	b.close(s)
	b.empty()
}
