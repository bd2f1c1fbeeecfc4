package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func TestMembersEndOnTime(t *testing.T) {
	p := mustCompile(t, Config{Sets: []Set{{Name: "bad", Timeout: 5 * time.Second, Prefixes: prefixes("10.1.0.0/16")}}}, nil)
	a := netip.MustParseAddr("10.0.0.1")
	has := func(now conntrack.Tick) bool { member, _ := p.sets["bad"].has(now, addrOf(a)); return member }
	add := func(now conntrack.Tick, d time.Duration) {
		if err := p.AddMember(now, "bad", a, d); err != nil {
			t.Fatal(err)
		}
	}
	add(100, 0)
	if !has(149) || has(150) {
		t.Errorf("a membership of five seconds: at 4.9 s %t, at 5 s %t", has(149), has(150))
	}
	add(200, 250*time.Millisecond) // three ticks
	if !has(202) || has(203) {
		t.Error("a quarter of a second is not three ticks")
	}
	add(300, time.Hour)
	add(300, time.Second) // by hand it may become shorter
	if !has(309) || has(310) {
		t.Error("a user's word did not replace the earlier one")
	}
	if err := p.DeleteMember("bad", a); err != nil {
		t.Error(err)
	}
	if err := p.DeleteMember("bad", a); err == nil || !strings.Contains(err.Error(), "was not added") {
		t.Errorf("taken out twice: %v", err)
	}
	if err := p.DeleteMember("bad", netip.MustParseAddr("10.1.0.1")); err == nil || !strings.Contains(err.Error(), "configuration") {
		t.Errorf("a member of the configuration taken out: %v", err)
	}
	for _, err := range []error{
		p.AddMember(1, "good", a, 0), p.AddMember(1, "bad", netip.MustParseAddr("::1"), 0), p.AddMember(1, "bad", netip.Addr{}, 0),
		p.AddMember(1, "bad", a, -1), p.DeleteMember("good", a),
	} {
		if err == nil {
			t.Error("no error")
		}
	}
	add(0, time.Nanosecond) // in the first tick of all
	if has(2) {
		t.Error("a nanosecond lasts")
	}
	for _, extreme := range []packet.Addr{0, ^packet.Addr(0)} {
		if err := p.AddMember(10, "bad", addr4(extreme), 1<<62); err != nil {
			t.Error(err)
		}
	}
	if m := p.Members(1<<31, "bad", 0); len(m) != 3 || m[0].Dynamic || m[1].Expires != 0 || m[2].Prefix.Addr() != addr4(^packet.Addr(0)) {
		t.Errorf("the members are %+v", m)
	}
	if m := p.Members(11, "bad", 2); len(m) != 2 {
		t.Errorf("at most two: %+v", m)
	}
	if p.Members(1, "good", 0) != nil {
		t.Error("a set that there is not has members")
	}
}

func TestRulesExtendAMembershipAndNeverShortenIt(t *testing.T) {
	p := mustCompile(t, Config{
		Sets:  []Set{{Name: "seen", Timeout: time.Second}},
		Rules: []Rule{ruleOf("long", 80, func(r *Rule) { r.AddTo, r.AddFor = "seen", 10*time.Second }), ruleOf("short", 81, func(r *Rule) { r.AddTo = "seen" })},
	}, nil)
	expires := func(now conntrack.Tick) conntrack.Tick {
		m := p.Members(now, "seen", 0)
		if len(m) != 1 {
			t.Fatalf("members: %+v", m)
		}
		return m[0].Expires
	}
	judge := func(now conntrack.Tick, port uint16) {
		k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", port)
		p.Judge(now, &k)
	}
	judge(10, 81)
	if x := expires(10); x != 10 {
		t.Errorf("a second is %d ticks", x)
	}
	judge(10, 80)
	judge(11, 81)
	if x := expires(11); x != 99 {
		t.Errorf("the longer membership has %d ticks left, expected 99", x)
	}
	judge(12, 80)
	if x := expires(12); x != 100 {
		t.Errorf("seen again: %d ticks left, expected 100", x)
	}
	if err := p.DeleteMember("seen", addr4(address("10.0.0.1"))); err != nil {
		t.Fatal(err)
	}
	if m := p.Members(13, "seen", 0); len(m) != 0 {
		t.Errorf("taken out, the members are %+v", m)
	}
	judge(13, 81)
	if x := expires(13); x != 10 {
		t.Errorf("added again after it was taken out: %d ticks", x)
	}
}

func TestASetTakesNoMoreThanItMay(t *testing.T) {
	p := mustCompile(t, Config{Sets: []Set{{Name: "few", Max: 100, Timeout: time.Second}}}, nil)
	refused := 0
	for i := range 150 {
		if err := p.AddMember(10, "few", addr4(packet.Addr(i)), 0); err != nil {
			refused++
		}
	}
	if c := p.Sets(10)[0]; refused != 50 || c.Refused != 50 || c.Dynamic != 100 || c.Max != 100 || c.Name != "few" {
		t.Errorf("%d refused; %+v", refused, c)
	}
	if err := p.AddMember(10, "few", addr4(5), time.Hour); err != nil {
		t.Errorf("a member of a full set is not renewed: %v", err)
	}
	if err := p.DeleteMember("few", addr4(7)); err != nil {
		t.Error(err)
	}
	if p.AddMember(10, "few", addr4(1007), 0) != nil || p.AddMember(10, "few", addr4(7), 0) == nil {
		t.Error("one place was free, not another number of them")
	}
	for i := range 99 { // all but the one that was renewed have ended
		if err := p.AddMember(20, "few", addr4(packet.Addr(5000+i)), 0); err != nil {
			t.Fatalf("after a second, number %d: %v", i, err)
		}
	}
	if p.AddMember(20, "few", addr4(9999), 0) == nil {
		t.Error("more than there may be")
	}
}

func TestMembersAgainstAMap(t *testing.T) {
	for seed := range uint64(20) {
		d := seeded(seed)
		m, twin := newMembers(), map[packet.Addr]conntrack.Tick{}
		now := conntrack.Tick(5)
		for range 5000 {
			now += conntrack.Tick(d.n(2))
			a := packet.Addr(d.n(200))
			switch d.n(4) {
			case 0:
				_, filed := twin[a]
				if m.remove(a) && !filed {
					t.Fatalf("seed %d: %d was taken out, and was never in", seed, a)
				}
				delete(twin, a)
			default:
				until := now + conntrack.Tick(1+d.n(60))
				if !m.add(now, a, until, false, 1000) {
					t.Fatalf("seed %d: no room", seed)
				}
				twin[a] = until
			}
			b := packet.Addr(d.n(200))
			want := twin[b]
			if want <= now {
				want = 0
			}
			if got := m.expires(now, b); got != want {
				t.Fatalf("seed %d: %d ends at %d, the map says %d", seed, b, got, want)
			}
		}
		if filed := m.filed.Load(); filed < 0 || filed > 200 {
			t.Errorf("seed %d: %d filed", seed, filed)
		}
		m.sweep(now)
		living := 0
		for _, until := range twin {
			if until > now {
				living++
			}
		}
		if filed := m.filed.Load(); int(filed) != living {
			t.Errorf("seed %d: after a sweep %d filed, %d live", seed, filed, living)
		}
	}
}

// Whoever looks a set up between two packets of a port scan pays for the members that there are, not for those that there were.
func TestATableOfMembersShrinks(t *testing.T) {
	m := newMembers()
	for i := range 50000 {
		m.add(10, packet.Addr(i), 20, false, 60000)
	}
	m.sweep(30)
	slots := 0
	for i := range m.shards {
		slots += len(m.shards[i].table.Load().slots)
	}
	if slots > memberShards*8 || m.filed.Load() != 0 {
		t.Errorf("%d slots for nobody, %d filed", slots, m.filed.Load())
	}
}

func TestSettledMembershipsMakeStableVerdicts(t *testing.T) {
	c := Config{
		Sets: []Set{{Name: "fixed", Prefixes: prefixes("10.0.0.0/8")}, {Name: "learnt", Prefixes: prefixes("10.0.0.0/8")}},
		Access: []Rule{
			{In: 1, Match: setMatch("fixed"), Action: Drop},
			{In: 2, Match: setMatch("learnt"), Action: Drop},
			{In: 3, Match: ruleOf("", 9, nil).Match, AddTo: "learnt"},
			{In: 4, Match: setMatch("!learnt"), Action: Drop},
		},
	}
	p := mustCompile(t, c, nil)
	for i, add := range []time.Duration{0, time.Hour} {
		for s := range 2 {
			if err := p.AddMember(1, c.Sets[s].Name, addr4(address(fmt.Sprint("192.0.2.", i))), add); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, x := range []struct {
		what   string
		in     uint16
		source string
		action Action
		stable bool
	}{
		{"in the configuration's set", 1, "10.1.1.1", Drop, true},
		{"in it for good", 1, "192.0.2.0", Drop, true},
		{"in it for an hour", 1, "192.0.2.1", Drop, false},
		{"not in it, and no rule adds", 1, "192.0.2.9", Accept, true},
		{"in the configuration's part of a set that rules add to", 2, "10.1.1.1", Drop, true},
		{"not in it, and rules may add it", 2, "192.0.2.9", Accept, false},
		{"not in it, where that is asked for", 4, "192.0.2.9", Drop, false},
		{"a rule that adds", 3, "10.1.1.1", Accept, false},
	} {
		k := tcp(x.in, 9, x.source, "198.51.100.1", 9)
		if v := p.Access(10, &k); v.Action != x.action || v.Stable != x.stable {
			t.Errorf("%s: %+v, expected %v, stable %t", x.what, v, x.action, x.stable)
		}
	}
}

func setMatch(name string) Match {
	m := Any()
	m.SourceSet = name
	return m
}
