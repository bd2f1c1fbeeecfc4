package firewall

import (
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func TestARateIsKeptInTheLongRun(t *testing.T) {
	for _, c := range []struct {
		packets int
		per     time.Duration
		burst   int
		offered int            // packets each tick
		count   int            // of each super-frame
		ticks   conntrack.Tick // how long
		want    int            // packets that pass
	}{
		{10, time.Second, 10, 5, 1, 100, 10 + 99},        // the burst, and one a tick
		{10, time.Second, 1, 5, 1, 100, 1 + 99},          // a small burst slows nothing down
		{1000, time.Second, 1, 500, 1, 100, 100 * 100},   // nor where a tick brings a hundred
		{5, time.Minute, 20, 1, 1, 6001, 20 + 50},        // 5/m burst 20 for ten minutes
		{1, time.Hour, 1, 1, 1, 36001, 2},                // one now, one in an hour
		{100, time.Second, 100, 1, 45, 1000, 1125 * 9},   // super-frames of 45: what passes is the rate, on the average
		{10, time.Second, 1, 3, 1, 11, 11},               // for a second
		{10_000_000, time.Second, 1, 3, 1, 10, 30},       // faster than anybody asks
		{1, time.Hour, 10_000_000, 1000, 1, 100, 100000}, // a burst beyond all bounds
	} {
		m, b, passed := newMeter(c.packets, c.per, c.burst), &bucket{}, 0
		for now := range c.ticks {
			for range c.offered {
				if b.take(m, 1000+now, c.count) {
					passed += c.count
				}
			}
		}
		if c.count > 1 { // 100/s for 100 s, and what a bucket holds
			if passed < 9900 || passed > 10150 {
				t.Errorf("%d/%v in super-frames: %d passed, expected about 10000", c.packets, c.per, passed)
			}
			continue
		}
		if passed != c.want {
			t.Errorf("%d/%v burst %d, %d offered each tick for %d: %d passed, expected %d", c.packets, c.per, c.burst, c.offered, c.ticks, passed, c.want)
		}
	}
}

func TestASuperFrameLargerThanTheBurstPassesAFullBucket(t *testing.T) {
	m, b := newMeter(10, time.Second, 5), &bucket{}
	if !b.take(m, 100, 40) {
		t.Error("a super-frame of 40 found a full bucket and did not pass")
	}
	if b.take(m, 135, 5) {
		t.Error("its debt of 35 was forgotten after 3.5 seconds, with 5 more wanted")
	}
	if !b.take(m, 140, 5) {
		t.Error("its debt was not paid after 4 seconds")
	}
}

func perSource(n int, over bool) *Policy {
	p, err := Compile(Config{Rules: []Rule{{Match: Any(), Rate: &Rate{Packets: n, Per: time.Second, PerHost: true}, Over: over, Action: Accept}}}, nil)
	if err != nil {
		panic(err)
	}
	return p
}

func TestEachSourceHasItsOwnBucket(t *testing.T) {
	p := perSource(2, false)
	for _, source := range []packet.Addr{1, 2, 3} {
		k := Packet{Key: conntrack.MakeKey(17, source, 1, 9, 1), Count: 1}
		for i := range 4 {
			if passes := p.Judge(50, &k).Rule == 0; passes != (i < 2) {
				t.Errorf("packet %d of source %d: passes %t", i, source, passes)
			}
		}
	}
}

func TestAFloodOfSourcesIsBoundedAndCounted(t *testing.T) {
	p := perSource(1, false)
	sources, passed := 3*maxRateHosts, 0
	k := Packet{Count: 1}
	flood := func(now conntrack.Tick, base int) {
		for i := range sources {
			k.Key = conntrack.MakeKey(17, packet.Addr(base+i), 1, 9, 1)
			if p.Judge(now, &k).Rule == 0 {
				passed++
			}
		}
	}
	flood(50, 1<<24)
	limiter := p.rules.rules[0].limiter
	hosts := func() (n int) {
		for i := range limiter.hosts.shards {
			n += len(limiter.hosts.shards[i].value)
		}
		return n
	}
	if n := hosts(); n > maxRateHosts {
		t.Errorf("%d sources are remembered, more than %d", n, maxRateHosts)
	}
	// Those that found room have a bucket each; all others together have one.
	if passed != hosts()+1 {
		t.Errorf("%d packets passed, expected one of each of the %d sources with a bucket and one of all others", passed, hosts())
	}
	rules, _, _, _ := p.Counts()
	if int(rules[0].Crowded) != sources-hosts() {
		t.Errorf("%d packets are counted as crowded, expected %d", rules[0].Crowded, sources-hosts())
	}
	// When the buckets are full again, other sources get them.
	passed = 0
	flood(61, 2<<24)
	if passed != hosts()+1 || passed < maxRateHosts*9/10 {
		t.Errorf("after the buckets were refilled %d other sources passed", passed)
	}
}

func TestBeyondARateIsWhatIsNotWithin(t *testing.T) {
	within, beyond := perSource(3, false), perSource(3, true)
	d := seeded(1)
	k := Packet{}
	for now := conntrack.Tick(10); now < 500; now += conntrack.Tick(d.n(3)) {
		k.Key = conntrack.MakeKey(17, packet.Addr(d.n(5)), 1, 9, 1)
		k.Count = 1 + d.n(3)
		if a, b := within.Judge(now, &k), beyond.Judge(now, &k); (a.Rule == 0) == (b.Rule == 0) {
			t.Fatalf("tick %d: within: rule %d, beyond: rule %d", now, a.Rule, b.Rule)
		}
	}
}

func TestLogsAreLimitedAndTheRestCounted(t *testing.T) {
	p := mustCompile(t, Config{
		Zones: []Zone{{Name: "a", Ports: []uint16{lan}}, {Name: "b", Ports: []uint16{wan}}},
		Rules: []Rule{ruleOf("web", 80, func(r *Rule) { r.Log = true })},
		Pairs: []Pair{{From: "a", To: "b", Action: Drop, Log: true}},
	}, nil)
	for _, port := range []uint16{80, 81} {
		logs := 0
		k := tcp(lan, wan, "10.0.0.1", "192.0.2.1", port)
		for now := range conntrack.Tick(101) {
			for range 10 {
				if p.Judge(1000+now, &k).Log {
					logs++
				}
			}
		}
		if logs != logsAtOnce+100 {
			t.Errorf("port %d: %d logs in ten seconds, expected %d", port, logs, logsAtOnce+100)
		}
	}
	rules, _, pairs, _ := p.Counts()
	for _, c := range []RuleCount{rules[0], pairs[0]} {
		if c.Packets != 1010 || c.LogsSuppressed != 1010-120 {
			t.Errorf("counted: %+v", c)
		}
	}
}

func TestSourcesBeyondWhatALimitCanCountHaveUsedItUp(t *testing.T) {
	q := &quota{hosts: newHostTable(4 * hostShards)}
	held := 0
	for a := range packet.Addr(1000) {
		if q.acquire(a, 2) {
			held++
		}
	}
	if held != 4*hostShards || int(q.crowded.Load()) != 1000-held {
		t.Fatalf("%d of 1000 sources are counted, %d were crowded out, expected %d", held, q.crowded.Load(), 4*hostShards)
	}
	for a := range packet.Addr(1000) {
		if q.acquire(a, 2) { // those that are counted have a second session
			held++
			if q.acquire(a, 2) {
				t.Fatalf("source %d has a third", a)
			}
		}
	}
	if held != 8*hostShards {
		t.Errorf("%d sessions, expected two of each source", held)
	}
	for range 3 {
		for a := range packet.Addr(1000) {
			q.release(a)
		}
	}
	if !q.empty() || !q.acquire(7, 1) {
		t.Error("released, the sources are still counted")
	}
}
