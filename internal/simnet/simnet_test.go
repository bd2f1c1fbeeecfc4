package simnet

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/rip"
)

// seedOf is the seed that the command line asks for; 0: all.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	f := flag.Lookup("seed")
	return f.Value.(flag.Getter).Get().(uint64)
}

func TestMain(m *testing.M) {
	flag.Uint64("seed", 0, "run the random networks of this seed only")
	flag.Parse()
	os.Exit(m.Run())
}

// seeds runs a check for the seeds from 1 to n, or for the one of -seed, and says how to replay what fails.
func seeds(t *testing.T, n uint64, check func(seed uint64) (story []string, err error)) {
	t.Helper()
	first, last := uint64(1), n
	if s := seedOf(t); s != 0 {
		first, last = s, s
	}
	for seed := first; seed <= last; seed++ {
		if story, err := check(seed); err != nil {
			t.Fatalf("seed %d: %s\n%v\nreplay it with: go test ./internal/simnet -run '^%s$' -seed %d", seed, strings.Join(story, "\n  "), err, t.Name(), seed)
		} else if first == last {
			t.Log(strings.Join(story, "\n  "))
		}
	}
}

// settleTime is by when the tables of a network without loss are right after its last change: a
// timeout for what ended without a word, a periodic update, and then sixteen steps of counting, each held back once.
const settleTime = 180*time.Second + 35*time.Second + 16*6*time.Second

// stays lets three periodic updates pass and wants the tables to be right still, and no rule broken ever.
func stays(l *Lab) error {
	l.Run(100 * time.Second)
	if err := l.Compare(); err != nil {
		return fmt.Errorf("was right and is not any longer: %w", err)
	}
	return l.Err()
}

// draw makes a network of some kind and size.
func draw(rng *rand.Rand, seed uint64) Graph {
	size := 3 + rng.IntN(20)
	if seed%10 == 0 {
		size = 30 + rng.IntN(71)
	}
	switch rng.IntN(5) {
	case 0:
		return Line(size)
	case 1:
		return Ring(size)
	case 2:
		return Mesh(min(size, 9))
	case 3:
		return Tree(size, rng)
	}
	return Random(size, rng)
}

// TestRandomNetworksConvergeToTheOraclesTables starts networks cold, on links that lose nothing.
func TestRandomNetworksConvergeToTheOraclesTables(t *testing.T) {
	seeds(t, 150, func(seed uint64) ([]string, error) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := draw(rng, seed)
		l := NewLab(seed, g, Options{StubsOnly: g.Routers > 25, MaxLatency: 50 * time.Millisecond, LoopBound: time.Minute})
		took, err := l.Settle(time.Second, 2*time.Minute)
		if err == nil {
			err = stays(l)
		}
		return []string{fmt.Sprintf("%s, right after %v, loops for %v", g.Name, took, l.LongestLoop())}, err
	})
}

// TestTroubledNetworksConverge inflicts cuts, silence, one-way loss, flaps, partitions, restarts and random
// loss, lets the network settle with its scars, and then healed.
func TestTroubledNetworksConverge(t *testing.T) {
	seeds(t, 150, func(seed uint64) ([]string, error) {
		rng := rand.New(rand.NewPCG(seed, 2))
		g := draw(rng, seed)
		l := NewLab(seed, g, Options{StubsOnly: true, MaxLatency: 20 * time.Millisecond, LoopBound: settleTime})
		story := []string{g.Name}
		l.Run(30 * time.Second)
		for range 2 + rng.IntN(4) {
			story = append(story, fmt.Sprintf("%v: %s", l.Elapsed(), l.Trouble()))
			l.Run(time.Duration(rng.Int64N(int64(2 * time.Minute))))
		}
		l.Run(5 * time.Minute) // flaps and power cuts end by themselves
		for _, scars := range []bool{true, false} {
			l.Heal(scars)
			took, err := l.Settle(5*time.Second, settleTime)
			story = append(story, fmt.Sprintf("%v: healed but for scars: %v; right after %v", l.Elapsed(), scars, took))
			if err == nil {
				err = stays(l)
			}
			if err != nil {
				return story, err
			}
		}
		return append(story, fmt.Sprintf("loops for %v", l.LongestLoop())), nil
	})
}

// TestAuthenticatedNetworksConverge restarts routers that must not fall behind their own sequence numbers.
func TestAuthenticatedNetworksConverge(t *testing.T) {
	seeds(t, 20, func(seed uint64) ([]string, error) {
		rng := rand.New(rand.NewPCG(seed, 3))
		g := Random(4+rng.IntN(8), rng)
		chain := &rip.KeyChain{Type: rip.AuthMD5 + rip.AuthType(rng.IntN(5)), Keys: []rip.Key{{ID: 1, Secret: "s"}}}
		l := NewLab(seed, g, Options{Auth: chain})
		for range 3 {
			l.Run(20 * time.Second)
			i := rng.IntN(g.Routers)
			l.Kill(i)
			l.Boot(i)
		}
		_, err := l.Settle(time.Second, 2*time.Minute)
		if err == nil && len(l.Refusals()) > 0 {
			err = fmt.Errorf("refused %v", l.Refusals())
		}
		return []string{g.Name, chain.Type.String()}, err
	})
}

// TestFiftyRoutersOnOneNetwork has them all start on one segment that loses a tenth of everything.
func TestFiftyRoutersOnOneNetwork(t *testing.T) {
	g := Graph{Name: "one network of 50", Routers: 50, Links: [][]int{nil}}
	for i := range g.Routers {
		g.Links[0] = append(g.Links[0], i)
	}
	l := NewLab(1, g, Options{LoopBound: time.Second})
	l.Link(0).Loss = 0.1
	if _, err := l.Settle(time.Second, 2*time.Minute); err != nil {
		t.Fatal(err)
	}
	l.Link(0).Loss = 0
	if err := stays(l); err != nil {
		t.Fatal(err)
	}
	if n := len(l.Router(0).Machine().Neighbors(l.world.Now)); n != 49 {
		t.Fatalf("%d neighbours", n)
	}
}

// TestTenThousandRoutesPassALine redistributes them at one end and takes them back.
func TestTenThousandRoutesPassALine(t *testing.T) {
	l := NewLab(1, Line(4), Options{})
	l.Run(10 * time.Second)
	inject := func(gone bool) {
		for i := range 10000 {
			p := netip.PrefixFrom(packet.Addr(0x14000000+i<<8).Netip(), 24)
			l.Router(0).step(l.world.Now, rip.Redistribute{Prefix: p, Protocol: rip.ProtocolStatic, Gone: gone})
		}
		l.Router(0).host.Poke()
	}
	reach := func(what string, done func(n int) bool) {
		t.Helper()
		begin := l.Elapsed()
		for !done(len(l.Router(3).table)) {
			if l.Elapsed()-begin > 30*time.Second {
				t.Fatalf("%s: the last router has %d routes", what, len(l.Router(3).table))
			}
			l.Run(100 * time.Millisecond)
		}
		t.Logf("%s: %v over three links", what, l.Elapsed()-begin)
	}
	inject(false)
	reach("learned", func(n int) bool { return n >= 10000 })
	l.Run(200 * time.Second) // refreshed, never lost
	if n := len(l.Router(3).table); n < 10000 || l.Err() != nil {
		t.Fatalf("%d routes, %v", n, l.Err())
	}
	inject(true)
	reach("taken back", func(n int) bool { return n < 10 })
}

// TestARunRepeatsFromItsSeed wants two runs of a seed to pass the same way.
func TestARunRepeatsFromItsSeed(t *testing.T) {
	run := func() string {
		l := NewLab(7, Random(12, rand.New(rand.NewPCG(7, 7))), Options{LoopBound: time.Hour})
		text := ""
		for range 6 {
			text += l.Trouble()
			l.Run(time.Minute)
			for i := range 12 {
				if r := l.Router(i); r.host.Running() {
					text += fmt.Sprintln(l.Elapsed(), r.Machine().Counters(), r.Machine().Routes(l.world.Now))
				}
			}
		}
		return text
	}
	if a, b := run(), run(); a != b {
		t.Fatal("two runs of one seed differ")
	}
}

// cells is a router's table as the textbook writes it: for each router the link and the cost; where two
// links are as good, both.
func cells(l *Lab, i int) string {
	var row []string
	for to := range l.graph.Routers {
		r := l.Router(i)
		route, has := r.Route(l.Router(to).Stub())
		switch {
		case to == i:
			row = append(row, "local/0")
		case !has:
			row = append(row, "-")
		default:
			var ways []string
			for _, p := range route.Paths {
				for n, link := range l.links {
					if r.host.ports[p.Port].link == link {
						ways = append(ways, fmt.Sprintf("%d/%d", n+1, route.Metric-1))
					}
				}
			}
			slices.Sort(ways)
			row = append(row, strings.Join(ways, " or "))
		}
	}
	return strings.Join(row, " | ")
}

// TestTextbookTables has the five routers and six links of the textbooks: the converged tables, and those after link 2 has failed,
// once where the routers see it and once where they do not.
func TestTextbookTables(t *testing.T) {
	want := []string{
		"local/0 | 1/1 | 1/2 | 3/1 | 1/2 or 3/2",
		"1/1 | local/0 | 2/1 | 1/2 or 4/2 | 4/1",
		"2/2 | 2/1 | local/0 | 5/2 | 5/1",
		"3/1 | 3/2 or 6/2 | 6/2 | local/0 | 6/1",
		"4/2 or 6/2 | 4/1 | 5/1 | 6/1 | local/0",
	}
	after := []string{
		"local/0 | 1/1 | 1/3 or 3/3 | 3/1 | 1/2 or 3/2",
		"1/1 | local/0 | 4/2 | 1/2 or 4/2 | 4/1",
		"5/3 | 5/2 | local/0 | 5/2 | 5/1",
		"3/1 | 3/2 or 6/2 | 6/2 | local/0 | 6/1",
		"4/2 or 6/2 | 4/1 | 5/1 | 6/1 | local/0",
	}
	check := func(l *Lab, want []string, limit time.Duration) time.Duration {
		t.Helper()
		took, err := l.Settle(100*time.Millisecond, limit)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range want {
			if got := cells(l, i); got != row {
				t.Errorf("%s has %s\nexpected %s", l.Name(i), got, row)
			}
		}
		return took
	}
	for _, seen := range []bool{true, false} {
		l := NewLab(1, Textbook(), Options{LoopBound: 30 * time.Second})
		cold := check(l, want, 15*time.Second)
		l.Run(time.Minute)
		limit := 15 * time.Second
		if seen {
			l.Link(1).SetCarrier(false)
		} else {
			l.Link(1).SetSilent(true)
			limit = 200 * time.Second // the timeout has to notice it
		}
		took := check(l, after, limit)
		t.Logf("cold start %v; after link 2 failed (the routers see it: %v) %v", cold, seen, took)
		l.Link(1).Mend()
		check(l, want, 40*time.Second)
		if err := l.Err(); err != nil {
			t.Error(err)
		}
	}
}

// TestCountingToInfinityIsBounded cuts off the last router of a ring with a tail, where poisoned reverse
// does not help, and counts how the metric grows: never for longer than sixteen holds.
func TestCountingToInfinityIsBounded(t *testing.T) {
	seeds(t, 30, func(seed uint64) ([]string, error) {
		g := Graph{Name: "a ring of three with a tail", Routers: 4, Links: [][]int{{0, 1}, {1, 2}, {2, 0}, {0, 3}}}
		split := []rip.SplitHorizon{rip.SplitPoisoned, rip.SplitSimple, rip.SplitNone}[seed%3]
		l := NewLab(seed, g, Options{Split: split, MaxLatency: 30 * time.Millisecond, LoopBound: 16 * 5 * time.Second})
		if _, err := l.Settle(time.Second, time.Minute); err != nil {
			return nil, err
		}
		l.Run(time.Minute)
		lost := l.Router(3).Stub()
		l.Link(3).SetCarrier(false)
		story := []string{g.Name, split.String()}
		seen, begin := "", l.Elapsed()
		for l.Elapsed()-begin < 16*5*time.Second {
			now := ""
			for i := range 3 {
				route, _ := l.Router(i).Route(lost)
				now += fmt.Sprintf(" %s:%d", l.Name(i), route.Metric)
			}
			if now != seen {
				story = append(story, fmt.Sprintf("%v%s", l.Elapsed()-begin, now))
				seen = now
			}
			if now == " A:0 B:0 C:0" {
				return story, l.Err()
			}
			l.Run(10 * time.Millisecond)
		}
		return story, fmt.Errorf("after %v the ring still counts", l.Elapsed()-begin)
	})
}

// TestTheOracleSeesAWrongTable spoils a table in each way.
func TestTheOracleSeesAWrongTable(t *testing.T) {
	l := NewLab(1, Ring(4), Options{})
	if _, err := l.Settle(time.Second, time.Minute); err != nil {
		t.Fatal(err)
	}
	r, to := l.Router(0), l.Router(2).Stub()
	right := r.table[to]
	for name, spoil := range map[string]func(){
		"a metric":         func() { i := right; i.Metric++; r.table[to] = i },
		"a path too few":   func() { i := right; i.Paths = i.Paths[:1]; r.table[to] = i },
		"a missing route":  func() { delete(r.table, to) },
		"a route too many": func() { r.table[netip.MustParsePrefix("192.0.2.0/24")] = right },
		"another next hop": func() { i := right; i.Paths = []rip.Path{i.Paths[0], i.Paths[0]}; r.table[to] = i },
	} {
		spoil()
		if l.Compare() == nil {
			t.Errorf("%s was not seen", name)
		}
		r.table[to] = right
		delete(r.table, netip.MustParsePrefix("192.0.2.0/24"))
	}
	if err := l.Compare(); err != nil {
		t.Fatal(err)
	}
}

// TestTheLoopWatchSeesALoop gives two routers tables that point at each other.
func TestTheLoopWatchSeesALoop(t *testing.T) {
	l := NewLab(1, Line(3), Options{LoopBound: time.Second})
	l.Run(10 * time.Second)
	if l.LongestLoop() != 0 || l.Err() != nil {
		t.Fatalf("loops for %v: %v", l.LongestLoop(), l.Err())
	}
	to := l.Router(2).Stub()
	hop := func(a netip.Prefix, port rip.PortID) rip.Install {
		return rip.Install{Paths: []rip.Path{{NextHop: packet.AddrFrom(a.Addr()), Port: port}}, Metric: 3}
	}
	l.Router(0).table[to] = hop(l.Router(1).addrs[0], 0)
	l.Router(1).table[to] = hop(l.Router(0).addrs[0], 0)
	l.changed = true
	l.Run(5 * time.Second)
	if l.Err() == nil {
		t.Fatal("a loop was not seen")
	}
}
