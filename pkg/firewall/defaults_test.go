package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Ports of the tests' router.
const (
	lan, lan2, wan, bare, bare2 = 1, 2, 3, 4, 5
)

func home() Config {
	ping := Any()
	ping.Protocol, ping.ICMPType = 1, 8
	return Config{
		Zones: []Zone{{Name: "inside", Ports: []uint16{lan, lan2}}, {Name: "outside", Ports: []uint16{wan}}},
		Pairs: []Pair{
			{From: "inside", To: "outside", Action: Accept},
			{From: "outside", To: "inside", Action: Drop},
			{From: "outside", To: "router", Action: Drop},
		},
		Rules: []Rule{{Name: "ping", From: "outside", To: "router", Match: ping, Rate: &Rate{Packets: 100, Per: 1e9}, Action: Accept}},
	}
}

func tcp(in, out uint16, src, dst string, port uint16) Packet {
	return Packet{Key: conntrack.MakeKey(6, address(src), 40000, address(dst), port), In: in, Out: out, State: New, TCPFlags: 2, Length: 60, Count: 1}
}

func address(s string) packet.Addr { return addrOf(netip.MustParseAddr(s)) }

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// The table "What passes" of docs/nat.md.
func TestWhatNoRuleNames(t *testing.T) {
	p := mustCompile(t, home(), nil)
	for _, c := range []struct {
		what    string
		in, out uint16
		state   State
		action  Action
		pair    int
	}{
		{"inside to outside", lan, wan, New, Accept, 0},
		{"outside to inside", wan, lan, New, Drop, 1},
		{"outside to inside, by a forward", wan, lan, Forwarded, Accept, -1},
		{"outside to inside, by a mapping's filtering", wan, lan2, Mapped, Drop, 1},
		{"outside to inside, foreseen", wan, lan2, Related, Accept, -1},
		{"outside to inside, invalid", wan, lan2, Invalid, Drop, 1},
		{"outside to the router", wan, Router, New, Drop, 2},
		{"outside to the router, by an explicit mapping", wan, Router, Forwarded, Accept, -1},
		{"the router to outside", Router, wan, New, Accept, -1},
		{"inside to the router", lan, Router, New, Accept, -1},
		{"the router to itself", Router, Router, New, Accept, -1},
		{"within a zone", lan, lan2, New, Accept, -1},
		{"back by the same port", lan, lan, New, Accept, -1},
		{"between ports without a zone", bare, bare2, New, Accept, -1},
		{"a zone to a port without one", lan, bare, New, Drop, -1},
		{"a port without a zone to one with", bare, lan, New, Drop, -1},
		{"a port without a zone to the router", bare, Router, New, Accept, -1},
		{"a port that nobody knows", 60000, lan, New, Drop, -1},
	} {
		k := tcp(c.in, c.out, "10.0.0.1", "192.0.2.1", 80)
		k.State = c.state
		if v := p.Judge(1, &k); v.Action != c.action || v.Rule != -1 || v.Pair != c.pair || v.ID != 0 {
			t.Errorf("%s: %s, expected %v by pair %d", c.what, text(v), c.action, c.pair)
		}
	}
	empty := mustCompile(t, Config{}, nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	if v := empty.Judge(1, &k); v.Action != Accept || empty.Stateful() || !p.Stateful() {
		t.Errorf("a policy without anything: %s, stateful %t", text(v), empty.Stateful())
	}
}

// A rule that accepts is about sessions: what belongs to none and can open none it takes only where it says so. What refuses, refuses that too,
// and stateless rules know no sessions.
func TestRulesThatAcceptTakeNothingInvalidUnlessTheySaySo(t *testing.T) {
	outside := func(action Action, states State) Rule {
		m := Any()
		m.Protocol, m.DestPorts, m.States = 6, []PortRange{{80, 80}}, states
		return Rule{From: "outside", To: "inside", Match: m, Action: action}
	}
	for _, c := range []struct {
		what  string
		rule  Rule
		state State
		meets bool
	}{
		{"accept, new", outside(Accept, 0), New, true},
		{"accept, no state known", outside(Accept, 0), 0, true},
		{"accept, forwarded", outside(Accept, 0), Forwarded, true},
		{"accept, mapped", outside(Accept, 0), Mapped, true},
		{"accept, related", outside(Accept, 0), Related, true},
		{"accept, invalid", outside(Accept, 0), Invalid, false},
		{"accept with its state, invalid", outside(Accept, Invalid), Invalid, true},
		{"accept with every state, invalid", outside(Accept, allStates), Invalid, true},
		{"drop, invalid", outside(Drop, 0), Invalid, true},
		{"reject, invalid", outside(Reject, 0), Invalid, true},
	} {
		home := home()
		home.Rules = []Rule{c.rule}
		p := mustCompile(t, home, nil)
		k := tcp(wan, lan, "198.51.100.1", "10.0.0.1", 80)
		k.State = c.state
		v := p.Judge(1, &k)
		if meets := v.Rule == 0; meets != c.meets || !meets && (v.Action != Drop || v.Pair != 1) {
			t.Errorf("%s: %s", c.what, text(v))
		}
		steps, said := p.Explain(1, &k, false)
		if !sameVerdict(said, v) || !c.meets && !strings.Contains(steps[0].Text, "invalid") {
			t.Errorf("%s: explained by %+v", c.what, steps)
		}
	}
	m := Any()
	p := mustCompile(t, Config{Access: []Rule{{In: wan, Match: m, Action: Accept}, {In: wan, Match: m, Action: Drop}}}, nil)
	k := tcp(wan, lan, "198.51.100.1", "10.0.0.1", 80)
	k.State = Invalid
	if v := p.Access(1, &k); v.Action != Accept {
		t.Errorf("a stateless rule: %s", text(v))
	}
}

func TestPingOfHomeKeepsToItsRate(t *testing.T) {
	p := mustCompile(t, home(), nil)
	k := Packet{Key: conntrack.MakeKey(1, address("198.51.100.1"), 80, address("192.0.2.1"), 0), In: wan, ICMPType: 8, Length: 84}
	passed := 0
	for tick := range conntrack.Tick(100) {
		for range 50 {
			if v := p.Judge(tick, &k); v.Action == Accept {
				passed++
			}
		}
	}
	if passed != 100+990 {
		t.Errorf("in ten seconds %d pings passed, expected the burst of 100 and 99 ticks of 10", passed)
	}
	if k.ICMPType = 13; p.Judge(1000, &k).Action != Drop {
		t.Error("a timestamp request passed")
	}
}

// An ICMP identifier stands where ports stand.
func TestPortsAreNoICMPIdentifiers(t *testing.T) {
	m := Any()
	m.SourcePorts = []PortRange{{80, 80}}
	p := mustCompile(t, Config{Rules: []Rule{{Match: m, Action: Drop}}}, nil)
	k := Packet{Key: conntrack.MakeKey(1, 1, 80, 2, 0), In: lan, Out: wan, ICMPType: 8}
	if v := p.Judge(1, &k); v.Rule != -1 {
		t.Errorf("an echo request with identifier 80 met a rule for source port 80: %s", text(v))
	}
	k.Key.Protocol = 17
	if v := p.Judge(1, &k); v.Rule != 0 {
		t.Errorf("a datagram from port 80 did not meet the rule: %s", text(v))
	}
}

func TestAccessAsksBothPorts(t *testing.T) {
	web, any, ssh := Any(), Any(), Any()
	web.Protocol, web.DestPorts = 6, []PortRange{{80, 80}}
	ssh.Protocol, ssh.DestPorts = 6, []PortRange{{22, 22}}
	p := mustCompile(t, Config{Access: []Rule{
		0: {Out: wan, Match: ssh, Action: RejectAdmin},
		1: {In: lan, Match: web, Action: Accept, Log: true},
		2: {In: lan, Match: ssh, Action: Accept},
		3: {In: lan, Match: any, Action: Drop},
		4: {Out: wan, Match: web, Action: Accept},
	}}, nil)
	for _, c := range []struct {
		what    string
		in, out uint16
		port    uint16
		action  Action
		rule    int
		log     bool
	}{
		{"accepted by both, logged by the first", lan, wan, 80, Accept, 1, true},
		{"accepted at the door, refused behind it", lan, wan, 22, RejectAdmin, 0, false},
		{"refused at the door", lan, wan, 25, Drop, 3, false},
		{"accepted at the door, nothing said behind it", lan, lan2, 22, Accept, 2, false},
		{"only behind it", lan2, wan, 80, Accept, 4, false},
		{"no rule of the port behind it", lan2, wan, 25, Accept, -1, false},
		{"no rule at all", lan2, bare, 22, Accept, -1, false},
		{"of the router itself", Router, wan, 22, RejectAdmin, 0, false},
	} {
		k := tcp(c.in, c.out, "10.0.0.1", "192.0.2.1", c.port)
		v := p.Access(1, &k)
		if v.Action != c.action || v.Rule != c.rule || v.Log != c.log || !v.Stable || (v.ID == 0) != (c.rule < 0) {
			t.Errorf("%s: %+v, expected %v by rule %d", c.what, v, c.action, c.rule)
		}
		steps, said := p.Explain(1, &k, true)
		if said.Action != c.action || len(steps) == 0 {
			t.Errorf("%s: the explanation says %v in %d steps", c.what, said.Action, len(steps))
		}
	}
	for _, c := range []struct {
		in, out uint16
		has     bool
	}{{lan, wan, true}, {lan, bare, true}, {lan2, wan, true}, {wan, lan, false}, {Router, Router, false}, {65535, 65535, false}} {
		if p.HasAccess(c.in, c.out) != c.has {
			t.Errorf("HasAccess(%d, %d) is not %t", c.in, c.out, c.has)
		}
	}
	if p.Stateful() {
		t.Error("access rules alone want no sessions")
	}
}

func TestRecheckSpendsNothing(t *testing.T) {
	m := Any()
	p := mustCompile(t, Config{
		Sets: []Set{{Name: "seen"}},
		Rules: []Rule{
			{Match: m, Rate: &Rate{Packets: 1, Per: 1e9}, Over: true, Action: Drop},
			{Match: m, Rate: &Rate{Packets: 1, Per: 1e9}, MaxHost: 1, AddTo: "seen", Action: Accept, Log: true},
		},
	}, nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	for range 10 {
		if v := p.Recheck(5, &k); v.Rule != 1 || v.Log || v.ID == 0 {
			t.Fatalf("rechecked: %+v", v)
		}
	}
	rules, _, _, _ := p.Counts()
	if rules[0].Packets+rules[1].Packets != 0 || len(p.Members(5, "seen", 0)) != 0 {
		t.Error("Recheck has counted, or added to a set")
	}
	if v := p.Judge(5, &k); v.Rule != 1 || !v.Log {
		t.Errorf("judged: %+v", v)
	}
	if v := p.Recheck(5, &k); v.Rule != 1 {
		t.Errorf("rechecked with rate and limit used up: %+v", v)
	}
	if v := p.Judge(5, &k); v.Rule != 0 {
		t.Errorf("judged with the rate used up: %+v", v)
	}
}
