package firewall

import (
	"fmt"
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func mustCompile(t testing.TB, c Config, before *Policy) *Policy {
	t.Helper()
	p, err := Compile(c, before)
	if err != nil {
		t.Fatalf("the policy does not compile: %v", err)
	}
	return p
}

// session is one that a rule with MaxHost has let in.
type openSession struct {
	id   uint16
	rule int
	key  conntrack.Key
}

// against runs packets through a policy and its slow twin, and compares all that they say.
func against(t testing.TB, d *dice, c Config, packets int) {
	p := mustCompile(t, c, nil)
	o := newOracle(c)
	now := conntrack.Tick(1000)
	var open []openSession
	for range packets {
		now += conntrack.Tick(d.n(4))
		k := d.packet()
		dry := p.Recheck(now, &k)
		if want := o.judge(now, &k, true); !sameVerdict(dry, want) {
			t.Fatalf("Recheck of %+v: %s, the twin says %s", k, text(dry), text(want))
		}
		steps, said := p.Explain(now, &k, false)
		if said != dry {
			t.Fatalf("Explain of %+v: %s, but Recheck %s", k, text(said), text(dry))
		}
		if last := steps[len(steps)-1]; !last.Matched || last.Rule != dry.Rule || last.Pair != dry.Pair || last.Text == "" {
			t.Fatalf("the explanation of %+v ends with %+v, not with %s", k, last, text(dry))
		}
		got := p.Judge(now, &k)
		if want := o.judge(now, &k, false); !sameVerdict(got, want) {
			t.Fatalf("Judge of %+v at %d: %s, the twin says %s", k, now, text(got), text(want))
		}
		if got.Rule >= 0 && c.Rules[got.Rule].MaxHost > 0 && got.Action == Accept && k.State != Invalid {
			open = append(open, openSession{got.ID, got.Rule, k.Key})
		}
		if n := len(open); n > 0 && d.one(3) {
			i := d.n(n)
			p.Ended(open[i].id, &open[i].key)
			o.ended(open[i].rule, open[i].key.Src)
			open[i] = open[n-1]
			open = open[:n-1]
		}
		want := o.access(now, &k, true)
		steps, said = p.Explain(now, &k, true)
		if !sameVerdict(said, want) {
			t.Fatalf("Explain of %+v at its ports: %s, the twin says %s", k, text(said), text(want))
		}
		if last := steps[len(steps)-1]; said.Action != Accept && (!last.Matched || last.Rule != want.Rule) {
			t.Fatalf("the explanation of %+v at its ports ends with %+v, not with %s", k, last, text(want))
		}
		got = p.Access(now, &k)
		want = o.access(now, &k, false)
		if got.Log && got.Rule != want.Rule { // both accept, and only the first of them logs
			want.Rule = got.Rule
		}
		if !sameVerdict(got, want) {
			t.Fatalf("Access of %+v: %s, the twin says %s", k, text(got), text(want))
		}
		if !p.HasAccess(k.In, k.Out) && got.Rule >= 0 {
			t.Fatalf("HasAccess denies what %s needs", text(got))
		}
	}
	compareCounts(t, p, o)
	for _, s := range c.Sets {
		n := 0
		for a, until := range o.members[s.Name] {
			if until == 0 || until > now {
				n++
				if member, _ := p.sets[s.Name].has(now, a); !member {
					t.Fatalf("%v should be in %s", addr4(a), s.Name)
				}
			}
		}
		if got := len(p.Members(now, s.Name, 0)) - len(s.Prefixes); got != n {
			t.Fatalf("%s has %d added members, the twin %d", s.Name, got, n)
		}
	}
}

func compareCounts(t testing.TB, p *Policy, o *oracle) {
	t.Helper()
	rules, access, pairs, byDefault := p.Counts()
	check := func(where string, got RuleCount) {
		if want := o.counts[where]; got.Packets != want.Packets || got.Bytes != want.Bytes {
			t.Fatalf("%s counts %+v, the twin %+v", where, got, want)
		}
	}
	for i, c := range rules {
		check(spot("rule", i), c)
	}
	for i, c := range access {
		check(spot("access", i), c)
	}
	for i, c := range pairs {
		check(spot("pair", i), c)
	}
	check(spot("pair", -1), byDefault)
}

func sameVerdict(a, b Verdict) bool {
	return a.Action == b.Action && a.Rule == b.Rule && a.Pair == b.Pair
}

func text(v Verdict) string { return fmt.Sprintf("%v by rule %d, pair %d", v.Action, v.Rule, v.Pair) }

func TestEveryVerdictIsThatOfTheSlowTwin(t *testing.T) {
	for seed := range uint64(400) {
		d := seeded(seed)
		c := d.config(1 + int(seed%40))
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { against(t, d, c, 150) })
	}
}

func TestManyRulesAreThoseOfTheSlowTwin(t *testing.T) {
	for seed := range uint64(3) {
		d := seeded(1000 + seed)
		c := d.config(0)
		for len(c.Rules) < 1500 { // three columns
			c.Rules = append(c.Rules, d.rule(len(c.Zones), len(c.Sets), false))
		}
		for i := range c.Rules {
			if !d.one(50) { // mostly such as few packets meet, so that all columns are reached
				c.Rules[i].Match.Source = d.prefixes()[:1]
				c.Rules[i].Match.NotSource = false
				c.Rules[i].Match.Source[0] = netip.PrefixFrom(addr4(d.addr()), 32)
			}
		}
		against(t, d, c, 3000)
	}
}

// The fuzzer writes the beginning; what follows it is thrown by a seed that it chooses as well, so that its inputs remain short.
func FuzzPolicyAgainstSlowTwin(f *testing.F) {
	for seed := range uint64(8) {
		d := seeded(seed)
		b := make([]byte, 6*seed)
		for i := range b {
			b[i] = byte(d.n(256))
		}
		f.Add(b, seed)
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		d := seeded(seed)
		d.data = data
		against(t, d, d.config(12), 20)
	})
}

func TestAStableVerdictIsThatOfEveryPacketOfItsKey(t *testing.T) {
	stable, unstable, needless := 0, 0, 0
	for seed := range uint64(300) {
		d := seeded(5000 + seed)
		c := d.config(12)
		p := mustCompile(t, c, nil)
		for range 60 {
			k := d.packet()
			access, judged, opens := p.Access(10, &k), p.Recheck(10, &k), k.State != Invalid
			if access.Stable {
				stable++
			} else {
				unstable++
			}
			differs := false
			for n := range conntrack.Tick(12) {
				d.perPacket(&k)
				// Other packets' doings: the rates' state and members that rules add change meanwhile.
				other := d.packet()
				if other.Key.Src = [...]packet.Addr{other.Key.Src, k.Key.Src, k.Key.Dst}[d.n(3)]; d.n(2) == 0 {
					other.In, other.Out = k.In, k.Out
				}
				p.Judge(10+n, &other)
				p.Access(10+n, &other)
				if again := p.Access(10+n*7, &k); again.Action != access.Action {
					differs = true
					if access.Stable {
						t.Fatalf("seed %d: Access of %+v was stable, %s, and is %s", seed, k, text(access), text(again))
					}
				}
				if k.State == Invalid && opens {
					continue // no session has such packets
				}
				if again := p.Recheck(10+n*7, &k); judged.Stable && again.Action != judged.Action {
					t.Fatalf("seed %d: Recheck of %+v was stable, %s, and is %s", seed, k, text(judged), text(again))
				}
			}
			if !access.Stable && !differs {
				needless++
			}
		}
	}
	if stable < 1000 || unstable < 1000 {
		t.Errorf("of the verdicts %d were stable and %d not: that tests little", stable, unstable)
	}
	t.Logf("%d stable, %d not, of which %d did not change in the test", stable, unstable, needless)
}

// A rule compares the length of packets, not of the train in which they came.
func TestLengthsAreThoseOfASuperFramesPackets(t *testing.T) {
	m := Any()
	m.LengthMin, m.LengthMax = 1000, 1500
	p := mustCompile(t, Config{Rules: []Rule{{Match: m, Action: Drop}}}, nil)
	k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", 80)
	k.Length, k.Segment, k.Count = 60000, 1480, 41
	if v := p.Judge(1, &k); v.Rule != 0 {
		t.Errorf("segments of 1480 octets: %s", text(v))
	}
	if rules, _, _, _ := p.Counts(); rules[0].Packets != 41 || rules[0].Bytes != 60000 {
		t.Errorf("counted: %+v", rules[0])
	}
	if k.Segment = 0; p.Judge(1, &k).Rule != -1 {
		t.Error("one packet of 60000 octets met a rule for 1000 to 1500")
	}
}
