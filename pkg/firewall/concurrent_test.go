package firewall

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// together runs f in several workers.
func together(workers int, f func(worker int)) {
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { f(w) })
	}
	all.Wait()
}

func TestWorkersShareLimitsExactly(t *testing.T) {
	p := mustCompile(t, Config{
		Sets: []Set{{Name: "seen", Max: 500}},
		Rules: []Rule{
			ruleOf("rate", 1, func(r *Rule) { r.Rate = &Rate{Packets: 1000, Per: time.Hour} }),
			ruleOf("source", 2, func(r *Rule) { r.Rate = &Rate{Packets: 10, Per: time.Hour, PerHost: true} }),
			ruleOf("sessions", 3, func(r *Rule) { r.MaxHost = 7 }),
			ruleOf("add", 4, func(r *Rule) { r.AddTo = "seen" }),
			ruleOf("log", 5, func(r *Rule) { r.Log = true }),
		},
	}, nil)
	var passed [6]atomic.Int64
	var logs atomic.Int64
	together(4, func(w int) {
		for i := range 4000 {
			port := uint16(1 + i%5)
			k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", port)
			k.Key.Src = packet.Addr(i / 5 % 20)
			if port == 4 {
				k.Key.Src = packet.Addr(i*4 + w)
			}
			if v := p.Judge(50, &k); v.Rule >= 0 {
				passed[port].Add(1)
				if v.Log {
					logs.Add(1)
				}
			}
		}
	})
	for port, want := range []int64{0, 1000, 20 * 10, 20 * 7, 3200, 3200} {
		if got := passed[port].Load(); got != want {
			t.Errorf("by rule %d %d passed, expected %d", port, got, want)
		}
	}
	if n := len(p.Members(50, "seen", 0)); n > 500 || n < 490 {
		t.Errorf("the set has %d members of 500", n)
	}
	if logs.Load() != logsAtOnce {
		t.Errorf("%d logs", logs.Load())
	}
	rules, _, _, _ := p.Counts()
	if rules[4].Packets != 3200 || rules[4].LogsSuppressed != 3200-logsAtOnce || rules[4].Bytes != 3200*60 {
		t.Errorf("the last rule counts %+v", rules[4])
	}
}

// All at once: judging, changing, explaining, and policies that follow each other. The race detector looks on; in the end no session is
// counted.
func TestPoliciesChangeUnderTraffic(t *testing.T) {
	config := func(d *dice) Config {
		c := d.config(20)
		c.Sets = append(c.Sets, Set{Name: "all", Timeout: time.Second})
		for i := range 5 {
			c.Rules = append(c.Rules, ruleOf("", uint16(80+i%2), func(r *Rule) { r.MaxHost = 1 + i; r.AddTo = "all" }))
		}
		return c
	}
	var current atomic.Pointer[Policy]
	current.Store(mustCompile(t, config(seeded(1)), nil))
	var over atomic.Bool
	var workers sync.WaitGroup
	for w := range 3 {
		workers.Go(func() {
			d := seeded(uint64(100 + w))
			var open []openSession
			for i := 0; !over.Load() || len(open) > 0; i++ {
				p := current.Load()
				now := conntrack.Tick(10 + i/10)
				k := d.packet()
				if v := p.Judge(now, &k); v.ID != 0 && k.State != Invalid {
					if _, _, known := p.RuleOf(v.ID); !known {
						t.Errorf("a verdict names %d, which its policy does not know", v.ID)
						return
					}
					open = append(open, openSession{id: v.ID, key: k.Key})
				}
				p.Access(now, &k)
				p.Recheck(now, &k)
				if n := len(open); n > 50 || n > 0 && over.Load() {
					current.Load().Ended(open[0].id, &open[0].key)
					open = open[1:]
				}
			}
		})
	}
	d := seeded(7)
	for round := range 60 {
		next := mustCompile(t, config(seeded(uint64(1+round%4))), current.Load())
		current.Store(next)
		now := conntrack.Tick(10 + round)
		for range 20 {
			a := addr4(d.addr())
			if err := next.AddMember(now, "all", a, 0); err != nil {
				t.Fatal(err)
			}
			k := d.packet()
			next.Explain(now, &k, d.n(2) == 0)
			next.Members(now, "all", 10)
			next.Counts()
			next.Sets(now)
			if err := next.DeleteMember("all", a); err != nil {
				t.Log(err) // expired and swept meanwhile
			}
		}
	}
	over.Store(true)
	workers.Wait()
	for id, i := range current.Load().known {
		if i.quota != nil && !i.quota.empty() {
			t.Errorf("rule number %d counts sessions, and all have ended", id)
		}
	}
}

func TestJudgingAllocatesNothing(t *testing.T) {
	d := seeded(3)
	c := d.config(40)
	for len(c.Rules) < 600 {
		c.Rules = append(c.Rules, d.rule(len(c.Zones), len(c.Sets), false))
	}
	p := mustCompile(t, c, nil)
	packets := make([]Packet, 64)
	for i := range packets {
		packets[i] = d.packet()
	}
	run := func() {
		for i := range packets {
			v := p.Judge(50, &packets[i])
			if packets[i].State != Invalid {
				p.Ended(v.ID, &packets[i].Key)
			}
			p.Recheck(50, &packets[i])
			p.Access(50, &packets[i])
			p.HasAccess(packets[i].In, packets[i].Out)
		}
	}
	run() // buckets and members of these sources are there from now on
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations for %d packets", n, len(packets))
	}
}
