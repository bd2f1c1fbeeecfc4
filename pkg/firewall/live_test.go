package firewall

import (
	"fmt"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func ruleOf(name string, port uint16, change func(*Rule)) Rule {
	m := Any()
	m.Protocol, m.DestPorts = 6, []PortRange{{port, port}}
	r := Rule{Name: name, Match: m}
	if change != nil {
		change(&r)
	}
	return r
}

func TestCountersGoOnByNameOrContent(t *testing.T) {
	p := mustCompile(t, Config{
		Rules: []Rule{ruleOf("web", 80, nil), ruleOf("", 22, nil), ruleOf("", 22, nil), ruleOf("", 25, nil)},
		Pairs: []Pair{{From: RouterZone, To: RouterZone, Action: Drop}},
	}, nil)
	for port, n := range map[uint16]int{80: 1, 22: 2, 25: 3, 99: 4} {
		for range n {
			k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", port)
			p.Judge(1, &k)
		}
	}
	k := tcp(Router, Router, "10.0.0.1", "192.0.2.1", 99)
	p.Judge(1, &k)
	before := map[string]uint16{}
	for i, name := range []string{"web", "first 22", "second 22", "25"} {
		before[name] = p.rules.rules[i].id
	}

	web := ruleOf("web", 8080, nil) // another content
	moved := ruleOf("", 22, func(r *Rule) { r.Line = 17 })
	q := mustCompile(t, Config{
		Rules: []Rule{ruleOf("", 1, nil), moved, ruleOf("", 26, nil), web, ruleOf("web", 80, nil), ruleOf("", 22, nil)},
		Pairs: []Pair{{From: RouterZone, To: RouterZone, Action: Accept}},
	}, p)
	rules, _, pairs, byDefault := q.Counts()
	for i, want := range []uint64{0, 2, 0, 1, 0, 0} {
		if rules[i].Packets != want {
			t.Errorf("rule %d has counted %d, expected %d", i, rules[i].Packets, want)
		}
	}
	if pairs[0].Packets != 1 || byDefault.Packets != 4 {
		t.Errorf("the pair has counted %d, the defaults %d", pairs[0].Packets, byDefault.Packets)
	}
	ids := map[uint16]bool{}
	for i := range q.rules.rules {
		ids[q.rules.rules[i].id] = true
	}
	if len(ids) != 6 || ids[0] {
		t.Errorf("the rules' numbers are %v", ids)
	}
	if q.rules.rules[3].id != before["web"] || q.rules.rules[1].id != before["first 22"] || q.rules.rules[5].id != before["second 22"] {
		t.Error("a rule has lost its number")
	}
	if i, name, ok := q.RuleOf(before["web"]); i != 3 || name != "web" || !ok {
		t.Errorf("the number of web stands for %d %q %t", i, name, ok)
	}
	if i, _, ok := q.RuleOf(before["25"]); i != -1 || !ok {
		t.Errorf("the number of a former rule stands for %d, known %t", i, ok)
	}
	for id := range ids {
		if id == before["25"] {
			t.Error("a former rule's number was given away at once")
		}
	}
}

func TestSessionsOfASourceAreCountedAcrossPolicies(t *testing.T) {
	limited := func(r *Rule) { r.MaxHost = 2; r.Action = Accept }
	rest := ruleOf("rest", 80, func(r *Rule) { r.Action = Drop })
	p := mustCompile(t, Config{Rules: []Rule{ruleOf("", 80, limited), rest}}, nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	first, second := p.Judge(1, &k), p.Judge(1, &k)
	if first.Rule != 0 || second.Rule != 0 || p.Judge(1, &k).Rule != 1 {
		t.Fatal("the limit is not two")
	}

	// The rule moves; other rules with limits come before it, so that indices mean something else.
	other := func(r *Rule) { r.MaxHost = 5 }
	q := mustCompile(t, Config{Rules: []Rule{ruleOf("", 1, other), ruleOf("", 2, other), ruleOf("", 80, limited), rest}}, p)
	if q.Judge(2, &k).Rule != 3 {
		t.Error("a new policy has forgotten a source's sessions")
	}
	q.Ended(first.ID, &k.Key)
	if v := q.Judge(2, &k); v.Rule != 2 || v.ID != first.ID {
		t.Errorf("after a session's end: %+v", v)
	}

	// The rule goes, its sessions end, it comes back.
	r := mustCompile(t, Config{Rules: []Rule{rest}}, q)
	r.Ended(second.ID, &k.Key)
	s := mustCompile(t, Config{Rules: []Rule{rest}}, r)
	s.Ended(first.ID, &k.Key)
	if s.known[first.ID] == nil || !s.known[first.ID].quota.empty() {
		t.Error("the sessions of a rule that has gone are not counted down")
	}
	for range 3 {
		s = mustCompile(t, Config{Rules: []Rule{rest}}, s)
	}
	if s.known[first.ID] != nil || len(s.retired) != 0 {
		t.Errorf("former rules without sessions are kept: %d of them", len(s.retired))
	}
	s.Ended(first.ID, &k.Key)
	s.Ended(0, &k.Key)
	s.Ended(65535, &k.Key)
}

// Sessions that nobody counted must not be taken off those that were.
func TestALimitThatComesLaterCountsItsOwnSessionsOnly(t *testing.T) {
	p := mustCompile(t, Config{Rules: []Rule{ruleOf("web", 80, nil)}}, nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	uncounted := p.Judge(1, &k)
	limit := func(n int) *Policy {
		p = mustCompile(t, Config{Rules: []Rule{ruleOf("web", 80, func(r *Rule) { r.MaxHost = n })}}, p)
		return p
	}
	p = limit(1)
	counted := p.Judge(1, &k)
	if counted.Rule != 0 || counted.ID == uncounted.ID {
		t.Fatalf("with a limit: %+v, without %+v", counted, uncounted)
	}
	p.Ended(uncounted.ID, &k.Key)
	if v := p.Judge(1, &k); v.Rule != -1 {
		t.Error("the end of a session from before the limit has made room")
	}
	if rules, _, _, _ := p.Counts(); rules[0].Packets != 2 {
		t.Errorf("the counter did not go on: %d", rules[0].Packets)
	}
	p = limit(2)
	if v := p.Judge(1, &k); v.ID != counted.ID {
		t.Errorf("another limit has made another rule of it: %+v", v)
	}
}

func TestRatesGoOnUnlessTheyChange(t *testing.T) {
	config := func(packets int) Config {
		return Config{Rules: []Rule{ruleOf("web", 80, func(r *Rule) { r.Rate = &Rate{Packets: packets, Per: time.Hour} })}}
	}
	p := mustCompile(t, config(2), nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	p.Judge(1, &k)
	p.Judge(1, &k)
	p = mustCompile(t, config(2), p)
	if p.Judge(1, &k).Rule != -1 {
		t.Error("a new policy with the same rate has refilled the bucket")
	}
	p = mustCompile(t, config(3), p)
	if p.Judge(1, &k).Rule != 0 {
		t.Error("another rate begins with an empty bucket")
	}
}

func TestAddedMembersOutliveThePolicy(t *testing.T) {
	c := Config{Sets: []Set{{Name: "bad", Timeout: 10 * time.Second}}}
	p := mustCompile(t, c, nil)
	if err := p.AddMember(100, "bad", addr4(address("10.0.0.9")), 0); err != nil {
		t.Fatal(err)
	}
	q := mustCompile(t, c, p)
	if m := q.Members(150, "bad", 0); len(m) != 1 || m[0].Expires != 50 || !m[0].Dynamic {
		t.Errorf("after five of ten seconds the members are %+v", m)
	}
	if m := mustCompile(t, Config{Sets: []Set{{Name: "worse"}}}, q).Members(150, "worse", 0); len(m) != 0 {
		t.Errorf("another set has the members %+v", m)
	}
}

func TestNumbersNeverRunOutOfRulesThatCome(t *testing.T) {
	var p *Policy
	kept := ruleOf("kept", 1, nil)
	var id uint16
	for round := range 40 {
		c := Config{Rules: []Rule{kept}}
		for i := range 2000 {
			c.Rules = append(c.Rules, ruleOf(fmt.Sprint(round, " ", i), 2, nil))
		}
		p = mustCompile(t, c, p)
		if round == 0 {
			id = p.rules.rules[0].id
		}
		seen := map[uint16]bool{}
		for i := range p.rules.rules {
			x := p.rules.rules[i].id
			if x == 0 || seen[x] {
				t.Fatalf("round %d: number %d stands for two rules, or for none", round, x)
			}
			seen[x] = true
		}
		if p.rules.rules[0].id != id {
			t.Fatalf("round %d: the rule that stays has another number", round)
		}
	}
}

func TestAnOldPolicyGoesOnBesideTheNew(t *testing.T) {
	limited := Config{Rules: []Rule{ruleOf("web", 80, func(r *Rule) { r.MaxHost = 3 })}}
	old := mustCompile(t, limited, nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	new := mustCompile(t, limited, old)
	var verdicts []Verdict
	for i := range 6 {
		verdicts = append(verdicts, []*Policy{old, new}[i%2].Judge(conntrack.Tick(i), &k))
	}
	for i, v := range verdicts {
		if (v.Rule == 0) != (i < 3) {
			t.Errorf("session %d: %+v: both policies count the same sessions", i, v)
		}
	}
}

// incarnation is a rule of the model, for as long as every policy has it.
type incarnation struct {
	count RuleCount
	open  map[packet.Addr]int
}

// Policies of rules that come, go and change places follow each other; sessions end under later ones than those that
// let them in.
func TestPoliciesFollowEachOtherLikeTheTwins(t *testing.T) {
	type session struct {
		id  uint16
		of  *incarnation
		key conntrack.Key
	}
	for seed := range uint64(30) {
		d := seeded(9000 + seed)
		var stock []Rule
		for i := range 12 {
			r := d.rule(0, 0, false)
			r.Name, r.Rate, r.Over, r.From, r.To = fmt.Sprint("rule ", i), nil, false, "", ""
			r.MaxHost = d.n(4)
			stock = append(stock, r)
		}
		var p *Policy
		living, now := map[string]*incarnation{}, conntrack.Tick(10)
		var open []session
		for epoch := range 25 {
			var c Config
			next := map[string]*incarnation{}
			for _, i := range d.random.Perm(len(stock)) {
				if d.one(4) {
					continue
				}
				r := stock[i]
				r.Line = epoch
				c.Rules = append(c.Rules, r)
				if next[r.Name] = living[r.Name]; next[r.Name] == nil {
					next[r.Name] = &incarnation{open: map[packet.Addr]int{}}
				}
			}
			living = next
			p = mustCompile(t, c, p)
			o := newOracle(c)
			for i, r := range c.Rules {
				o.cap[i], o.counts[spot("rule", i)] = living[r.Name].open, living[r.Name].count
			}
			for range 60 {
				now++
				k := d.packet()
				got, want := p.Judge(now, &k), o.judge(now, &k, false)
				if !sameVerdict(got, want) {
					t.Fatalf("seed %d, policy %d: %+v: %s, the twin says %s", seed, epoch, k, text(got), text(want))
				}
				if got.Rule >= 0 && c.Rules[got.Rule].MaxHost > 0 && got.Action == Accept && k.State != Invalid {
					open = append(open, session{got.ID, living[c.Rules[got.Rule].Name], k.Key})
				}
				if n := len(open); n > 0 && d.n(2) == 0 {
					i := d.n(n)
					p.Ended(open[i].id, &open[i].key)
					open[i].of.open[open[i].key.Src]--
					open[i] = open[n-1]
					open = open[:n-1]
				}
			}
			rules, _, _, _ := p.Counts()
			for i, r := range c.Rules {
				living[r.Name].count = o.counts[spot("rule", i)]
				if rules[i].Packets != living[r.Name].count.Packets {
					t.Fatalf("seed %d, policy %d: %s has counted %d, the twin %d", seed, epoch, r.Name, rules[i].Packets, living[r.Name].count.Packets)
				}
			}
		}
	}
}

func TestFormerRulesAreRememberedAsLongAsTheyMatter(t *testing.T) {
	p := mustCompile(t, Config{Rules: []Rule{
		ruleOf("counted", 80, func(r *Rule) { r.MaxHost = 5 }), ruleOf("plain", 81, nil),
	}}, nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	counted := p.Judge(1, &k)
	k.Key.DstPort = 81
	plain := p.Judge(1, &k)
	// Between the first change and the second, packets may still be judged by the policy that had the rules.
	for change := 1; change <= 6; change++ {
		p = mustCompile(t, Config{}, p)
		_, name, ok := p.RuleOf(plain.ID)
		if want := change <= 2; ok != want || want && name != "plain" {
			t.Errorf("after %d changes a rule that nobody counts by is known: %t %q", change, ok, name)
		}
		if index, name, ok := p.RuleOf(counted.ID); !ok || index != -1 || name != "counted" {
			t.Errorf("after %d changes a rule with a session is known: %t %q", change, ok, name)
		}
	}
	p.Ended(counted.ID, &k.Key)
	if _, _, ok := mustCompile(t, Config{}, p).RuleOf(counted.ID); ok {
		t.Error("a former rule outlives its last session")
	}
}

func TestOnlyWhatMakesASessionCountsForItsSource(t *testing.T) {
	p := mustCompile(t, Config{Rules: []Rule{
		ruleOf("refused", 80, func(r *Rule) { r.MaxHost, r.Action = 1, Drop }),
		ruleOf("accepted", 81, func(r *Rule) { r.MaxHost, r.Match.States = 1, New|Invalid }),
	}}, nil)
	for range 3 {
		k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
		if v := p.Judge(1, &k); v.Rule != 0 {
			t.Errorf("a rule that refuses has used its limit up: %s", text(v))
		}
		k.Key.DstPort, k.State = 81, Invalid
		if v := p.Judge(1, &k); v.Rule != 1 {
			t.Errorf("an invalid packet has used the limit up: %s", text(v))
		}
	}
}
