package rip

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// TestAPortWithTwoAddressesSpeaksToBothNetworks: each hears of the other network and not of its own.
func TestAPortWithTwoAddressesSpeaksToBothNetworks(t *testing.T) {
	cfg := both()
	s := newStation(t, cfg)
	s.step(PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24"), pfx("10.8.0.1/24"), pfx("10.8.0.5/24")}})
	s.after(6 * time.Second)
	s.hears(core, "10.8.0.9", update("10.2.0.0/16 1"))
	s.after(6 * time.Second)
	s.expect(sends(s.after(34*time.Second), core),
		"10.0.0.1 > 224.0.0.9: response v2 10.1.0.0/24=1, 10.8.0.0/24=1, 10.2.0.0/16=16",
		"10.8.0.1 > 224.0.0.9: response v2 10.0.0.0/24=1, 10.1.0.0/24=1, 10.2.0.0/16=16")
}

func TestSplitHorizonIsPoisonedSimpleOrNone(t *testing.T) {
	for split, want := range map[SplitHorizon]string{
		SplitPoisoned: "10.0.0.1 > 224.0.0.9: response v2 10.1.0.0/24=1, 10.2.0.0/16=16, 10.3.0.0/16=16",
		SplitSimple:   "10.0.0.1 > 224.0.0.9: response v2 10.1.0.0/24=1",
		SplitNone:     "10.0.0.1 > 224.0.0.9: response v2 10.0.0.0/24=1, 10.1.0.0/24=1, 10.2.0.0/16=2 via 10.0.0.2, 10.3.0.0/16=2 via 10.0.0.7",
	} {
		cfg := both()
		cfg.Ports[core] = PortConfig{SplitHorizon: split}
		s := newStation(t, cfg)
		s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.3.0.0/16 1 via 10.0.0.7"))
		s.after(5 * time.Second)
		if got := sends(s.after(31*time.Second), core); len(got) != 1 || got[0] != want {
			t.Errorf("%v: %s\nexpected %s", split, strings.Join(got, "\n"), want)
		}
	}
}

func TestANextHopOffTheLinkIsReadAsTheSender(t *testing.T) {
	s := newStation(t, both())
	for hop, want := range map[string]string{"10.0.0.7": "10.0.0.7", "10.1.0.7": "10.0.0.2", "192.0.2.1": "10.0.0.2", "10.0.0.1": "10.0.0.2", "10.0.0.255": "10.0.0.2", "224.0.0.9": "10.0.0.2"} {
		s.hears(core, "10.0.0.2", update("10.2.0.0/16 1 via "+hop))
		if got := s.row("10.2.0.0/16"); got != "rip valid via "+want+" metric 2 tag 0" {
			t.Errorf("next hop %s: %s", hop, got)
		}
	}
}

func TestEqualCostPathsAgeByThemselves(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.after(100 * time.Second)
	s.expect(s.hears(lan, "10.1.0.2", update("10.2.0.0/16 1")),
		"neighbor 10.1.0.2 on lan up",
		"install 10.2.0.0/16 metric 2 via 10.0.0.2 on core, 10.1.0.2 on lan",
		"route 10.2.0.0/16 changed 2 -> 2")
	// Now it leads through both ports and is poisoned on both.
	s.expect(s.after(10*time.Millisecond),
		"core: 10.0.0.1 > 224.0.0.9: response v2 10.2.0.0/16=16",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.2.0.0/16=16")
	got := strings.Join(s.after(90*time.Second), "\n")
	if !strings.Contains(got, "install 10.2.0.0/16 metric 2 via 10.1.0.2 on lan") || strings.Contains(got, "withdraw") {
		t.Fatalf("the path of 10.0.0.2 did not age by itself:\n%s", got)
	}
}

func TestMaxPathsKeepsThePathsInUse(t *testing.T) {
	cfg := both()
	cfg.MaxPaths = 1
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.3", update("10.2.0.0/16 1"))
	for _, l := range s.hears(core, "10.0.0.2", update("10.2.0.0/16 1")) {
		if strings.Contains(l, "install") {
			t.Fatalf("a tie moved traffic: %s", l)
		}
	}
	s.hears(core, "10.0.0.3", update("10.2.0.0/16 2"))
	s.hears(core, "10.0.0.3", update("10.2.0.0/16 1"))
	if got := s.row("10.2.0.0/16"); got != "rip valid via 10.0.0.2 metric 2 tag 0" {
		t.Fatal(got)
	}
}

func TestAWorsePathOfTheSameNeighborCounts(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.hears(lan, "10.1.0.2", update("10.2.0.0/16 5"))
	s.expect(s.hears(core, "10.0.0.2", update("10.2.0.0/16 16")),
		"install 10.2.0.0/16 metric 6 via 10.1.0.2 on lan",
		"route 10.2.0.0/16 changed 2 -> 6")
	s.expect(s.hears(lan, "10.1.0.2", update("10.2.0.0/16 15")), // 16 with the cost
		"withdraw 10.2.0.0/16",
		"route 10.2.0.0/16 lost 6 -> 16")
}

// TestRedistributionFollowsItsRules: metric, tag, filter, next hop, and the poison when it ends.
func TestRedistributionFollowsItsRules(t *testing.T) {
	cfg := both()
	cfg.Redistribute = map[Protocol]RedistributeRule{
		ProtocolStatic: {Metric: 3, Tag: 9, Filter: &PrefixList{Rules: []PrefixRule{{Prefix: pfx("172.16.0.0/12"), Max: 24}}}},
	}
	s := newStation(t, cfg)
	s.step(Redistribute{Prefix: pfx("172.16.1.0/24"), Protocol: ProtocolStatic, NextHop: addr("10.0.0.99"), Port: core})
	s.step(Redistribute{Prefix: pfx("192.168.1.0/24"), Protocol: ProtocolStatic})
	s.step(Redistribute{Prefix: pfx("172.16.2.0/24"), Protocol: ProtocolDHCP})
	s.expect(s.after(10*time.Millisecond),
		"core: 10.0.0.1 > 224.0.0.9: response v2 172.16.1.0/24=3 tag 9 via 10.0.0.99",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 172.16.1.0/24=3 tag 9")
	cfg.Redistribute = map[Protocol]RedistributeRule{ProtocolDHCP: {}}
	s.expect(s.step(Configure{cfg}),
		"route 172.16.1.0/24 lost 3 -> 16",
		"route 172.16.2.0/24 learned 0 -> 1",
		"core: 10.0.0.1 > 224.0.0.9: response v2 172.16.1.0/24=16 tag 9, 172.16.2.0/24=1",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 172.16.1.0/24=16 tag 9, 172.16.2.0/24=1")
	s.after(6 * time.Second)
	s.step(Redistribute{Prefix: pfx("172.16.2.0/24"), Gone: true})
	s.expect(s.after(10*time.Millisecond),
		"core: 10.0.0.1 > 224.0.0.9: response v2 172.16.2.0/24=16",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 172.16.2.0/24=16")
}

func TestTheDefaultRouteIsOriginated(t *testing.T) {
	cfg := both()
	cfg.Default = DefaultRoute{Originate: true, Metric: 4, Tag: 2}
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("0.0.0.0/0 1"))
	s.after(6 * time.Second)
	s.expect(sends(s.after(31*time.Second), lan), "10.1.0.1 > 224.0.0.9: response v2 0.0.0.0/0=4 tag 2, 10.0.0.0/24=1")
	if got := s.row("0.0.0.0/0"); got != "default valid via 0.0.0.0 metric 4 tag 2" {
		t.Fatal(got)
	}
}

// TestAFilterThatChangesPoisonsAtOnce: what the port announced and no longer may, then again.
func TestAFilterThatChangesPoisonsAtOnce(t *testing.T) {
	cfg := both()
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.3.0.0/16 1"))
	s.after(6 * time.Second)
	filtered := both()
	filtered.Ports[lan] = PortConfig{FilterOut: &PrefixList{Rules: []PrefixRule{{Prefix: pfx("10.2.0.0/16"), Deny: true}, {Prefix: pfx("0.0.0.0/0"), Max: 32}}}}
	s.expect(sends(s.step(Configure{filtered}), lan),
		"10.1.0.1 > 224.0.0.9: request v2 whole table",
		"10.1.0.1 > 224.0.0.9: response v2 10.0.0.0/24=1, 10.2.0.0/16=16, 10.3.0.0/16=2")
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.3.0.0/16 1"))
	s.after(121 * time.Second) // what was poisoned for the garbage time is not mentioned again
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.3.0.0/16 1"))
	s.after(31 * time.Second)
	s.expect(sends(s.after(36*time.Second), lan)[:1], "10.1.0.1 > 224.0.0.9: response v2 10.0.0.0/24=1, 10.3.0.0/16=2")
}

func TestAPortThatLeavesRIPIsPoisonedInItsOwnManner(t *testing.T) {
	cfg := both()
	chain := chainOf(AuthSimple)
	cfg.Ports[lan] = PortConfig{Auth: chain, Send: SendV2Broadcast}
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.after(6 * time.Second)
	s.expect(s.step(Configure{Config{Ports: map[PortID]PortConfig{core: {}}}}),
		"route 10.1.0.0/24 lost 1 -> 16",
		"core: 10.0.0.1 > 224.0.0.9: response v2 10.1.0.0/24=16",
		"lan: 10.1.0.1 > 10.1.0.255: response v2 auth type 2, 10.0.0.0/24=16, 10.2.0.0/16=16")
	s.expect(s.hears(lan, "10.1.0.2", update("10.3.0.0/16 1")), "bad rip_port from 10.1.0.2")
}

func TestFiltersAndOffsetsApplyToWhatArrives(t *testing.T) {
	cfg := both()
	cfg.Ports[core] = PortConfig{
		Cost:     3,
		FilterIn: &PrefixList{Rules: []PrefixRule{{Prefix: pfx("10.2.0.0/16"), Min: 17, Max: 24}, {Prefix: pfx("10.3.0.0/16")}}},
		OffsetIn: []Offset{{Filter: &PrefixList{Rules: []PrefixRule{{Prefix: pfx("10.3.0.0/16")}}}, Metric: 4}},
	}
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.2.5.0/24 1", "10.2.5.0/25 1", "10.3.0.0/16 1", "10.4.0.0/16 1"))
	for prefix, want := range map[string]string{"10.2.0.0/16": "none", "10.2.5.0/24": "rip valid via 10.0.0.2 metric 4 tag 0", "10.2.5.0/25": "none", "10.3.0.0/16": "rip valid via 10.0.0.2 metric 8 tag 0", "10.4.0.0/16": "none"} {
		if got := s.row(prefix); got != want {
			t.Errorf("%s: %s, expected %s", prefix, got, want)
		}
	}
	if got := s.m.Neighbors(s.now)[0].Counters.RoutesFiltered; got != 3 {
		t.Errorf("%d routes counted as filtered", got)
	}
	cfg = both()
	cfg.Ports[core] = PortConfig{Cost: 1}
	if got := strings.Join(s.step(Configure{cfg}), "\n"); !strings.Contains(got, "install 10.3.0.0/16 metric 2") {
		t.Errorf("a changed cost did not apply to what was learned:\n%s", got)
	}
}

func TestUnicastNeighborsOfAPassivePort(t *testing.T) {
	cfg := both()
	cfg.Ports[core] = PortConfig{Passive: true, Neighbors: []netip.Addr{netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("192.0.2.9")}}
	s := newStation(t, cfg)
	s.expect(sends(s.after(40*time.Second), core)[:2],
		"10.0.0.1 > 10.0.0.9: response v2 10.1.0.0/24=1",
		"10.0.0.1 > 192.0.2.9: response v2 10.1.0.0/24=1")
	if s.hears(core, "192.0.2.9", update("10.2.0.0/16 1")); s.row("10.2.0.0/16") == "none" {
		t.Fatal("a configured neighbour that is not on-link was not heard")
	}
}

// TestVersion1InfersMasks holds RFC 1058 section 3.2's inference, in and out.
func TestVersion1InfersMasks(t *testing.T) {
	cfg := both()
	cfg.Ports[core] = PortConfig{Send: SendV1, Receive: ReceiveBoth}
	s := newStation(t, cfg)
	v1 := func(list ...string) []byte {
		m := Message{Command: Response, Version: 1}
		for _, l := range list {
			m.Entries = append(m.Entries, Entry{Family: familyIPv4, Addr: addr(l), Metric: 1})
		}
		return m.Append(nil)
	}
	s.hears(core, "10.0.0.2", v1("10.5.0.0", "10.5.6.7", "172.16.0.0", "192.168.3.0", "192.168.3.4", "0.0.0.0"))
	for _, p := range []string{"10.5.0.0/24", "10.5.6.7/32", "172.16.0.0/16", "192.168.3.0/24", "192.168.3.4/32", "0.0.0.0/0"} {
		if s.row(p) == "none" {
			t.Errorf("%s was not inferred; the table is %v", p, s.m.Routes(s.now))
		}
	}
	s.hears(lan, "10.1.0.2", update("10.6.0.0/16 1", "10.6.1.0/24 1", "10.6.1.1/32 1", "172.20.0.0/16 1", "172.20.1.0/24 1"))
	s.after(6 * time.Second)
	s.expect(sends(s.after(31*time.Second), core),
		"10.0.0.1 > 10.0.0.255: response v1 10.1.0.0=1, 10.5.0.0=16, 10.5.6.7=16, 172.16.0.0=16, 192.168.3.0=16, 192.168.3.4=16, 0.0.0.0=16, 10.6.1.0=2, 10.6.1.1=2, 172.20.0.0=2")
	s.hears(core, "10.0.0.2", update("10.7.0.0/16 1"))
	e := rte("10.0.0.0/8 1")
	e.Addr, e.Mask = addr("172.30.0.0"), 0
	s.hears(core, "10.0.0.2", entries(e)) // version 2 without a mask
	if s.row("172.30.0.0/16") == "none" {
		t.Error("a version 2 entry without a mask was not inferred")
	}
}

// TestLargeUpdatesArePaced counts the packets that leave in a row.
func TestLargeUpdatesArePaced(t *testing.T) {
	cfg := both()
	cfg.Redistribute = map[Protocol]RedistributeRule{ProtocolStatic: {}}
	s := newStation(t, cfg)
	for i := range 5000 {
		s.step(Redistribute{Prefix: netip.PrefixFrom(packet.Addr(0x14000000+i<<8).Netip(), 24), Protocol: ProtocolStatic})
	}
	told, bursts := 0, 0
	var last time.Time
	for told < 5000 {
		next := s.m.Next()
		if next.IsZero() || next.After(start.Add(time.Minute)) {
			t.Fatalf("only %d routes were told", told)
		}
		s.now = next
		n := 0
		for _, line := range sends(s.step(Tick{}), lan) {
			n++
			told += strings.Count(line, "=1")
		}
		if n > 40 {
			t.Fatalf("%d packets left in a row", n)
		}
		if n > 0 {
			if gap := s.now.Sub(last); bursts > 0 && gap < 50*time.Millisecond {
				t.Fatalf("the gap is %v", gap)
			}
			last = s.now
			bursts++
		}
	}
	if bursts != 5 {
		t.Fatalf("%d bursts, expected 5 of 40 packets of 25 routes", bursts)
	}
}

func TestPeriodicUpdatesAreJittered(t *testing.T) {
	s := newStation(t, both())
	var gaps []time.Duration
	var last time.Time
	for len(gaps) < 50 {
		s.now = s.m.Next()
		for _, a := range s.m.Step(s.now, Tick{}) {
			if a, is := a.(Send); is && a.Port == core {
				if !last.IsZero() {
					gaps = append(gaps, s.now.Sub(last))
				}
				last = s.now
			}
		}
	}
	low, high := slices.Min(gaps), slices.Max(gaps)
	if low < 25*time.Second || high > 35*time.Second || high-low < 5*time.Second {
		t.Fatalf("whole tables came %v to %v apart", low, high)
	}
}

func TestShortTimersScaleTheHold(t *testing.T) {
	c := Config{Timers: Timers{Update: 3 * time.Second}}.withDefaults()
	if c.TriggerHoldMin != 100*time.Millisecond || c.TriggerHoldMax != 500*time.Millisecond || c.Timers.Timeout != 18*time.Second || c.Timers.Garbage != 12*time.Second {
		t.Fatalf("%+v", c)
	}
}

func TestClearAsksAgain(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.after(6 * time.Second)
	s.expect(s.step(Clear{All: true}),
		"withdraw 10.2.0.0/16",
		"route 10.2.0.0/16 lost 2 -> 16",
		"core: 10.0.0.1 > 224.0.0.9: request v2 whole table",
		"lan: 10.1.0.1 > 224.0.0.9: request v2 whole table")
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.expect(sends(s.after(10*time.Millisecond), lan), "10.1.0.1 > 224.0.0.9: response v2 10.2.0.0/16=2")
}

func TestLinkCheckTakesAPortWithoutCarrierAsDown(t *testing.T) {
	cfg := both()
	cfg.Ports[core] = PortConfig{LinkCheck: true}
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	up := PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}}
	up.NoCarrier = true
	if got := strings.Join(s.step(up), "\n"); !strings.Contains(got, "withdraw 10.2.0.0/16") {
		t.Fatalf("the loss of carrier did nothing:\n%s", got)
	}
	up.NoCarrier = false
	if got := strings.Join(s.step(up), "\n"); !strings.Contains(got, "core: 10.0.0.1 > 224.0.0.9: request") {
		t.Fatalf("the return of carrier did nothing:\n%s", got)
	}
}

func TestTTLSecuritySends255(t *testing.T) {
	cfg := both()
	cfg.Ports[core] = PortConfig{TTLSecurity: true}
	s := &station{t: t, m: newMachine(cfg), now: start}
	s.step(PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}})
	if got := s.last[len(s.last)-1].(Send).TTL; got != 255 {
		t.Fatalf("TTL %d", got)
	}
	s.step(PortUp{Port: lan, Addresses: []netip.Prefix{pfx("10.1.0.1/24")}})
	if got := s.last[len(s.last)-1].(Send).TTL; got != 1 {
		t.Fatalf("TTL %d", got)
	}
	if s.step(with(from520(update("10.2.0.0/16 1")), func(r *Receive) { r.TTL = 255 })); s.row("10.2.0.0/16") == "none" {
		t.Fatal("TTL 255 was refused")
	}
}

// bulk is n routes in full packets.
func bulk(n int, metric uint32) (packets [][]byte) {
	for i := 0; i < n; {
		m := Message{Command: Response, Version: 2}
		for ; i < n && len(m.Entries) < MaxEntries; i++ {
			m.Entries = append(m.Entries, Entry{Family: familyIPv4, Addr: packet.Addr(0x14000000 + i<<8), Mask: packet.Mask(24), Metric: metric})
		}
		packets = append(packets, m.Append(nil))
	}
	return packets
}

// TestFiftyNeighborsOnOneNetwork has each tell the same thousand routes.
func TestFiftyNeighborsOnOneNetwork(t *testing.T) {
	s := newStation(t, both())
	packets := bulk(1000, 1)
	for round := range 2 {
		for n := range 50 {
			for _, b := range packets {
				s.m.Step(s.now, with(from520(b), func(r *Receive) { r.Src = addr("10.0.0.10") + packet.Addr(n) }))
			}
		}
		s.now = s.now.Add(20 * time.Second)
		if round == 0 {
			checkWhole(t, s.m)
		}
	}
	if s.m.Learned() != 50000 || len(s.m.Neighbors(s.now)) != 50 {
		t.Fatalf("%d paths of %d neighbours", s.m.Learned(), len(s.m.Neighbors(s.now)))
	}
	s.step(PortDown{core})
	if s.m.Learned() != 0 {
		t.Fatal("paths outlived their port")
	}
	checkWhole(t, s.m)
}

// BenchmarkTenThousandRoutes absorbs them from one neighbour and announces them to another network.
func BenchmarkTenThousandRoutes(b *testing.B) {
	packets := bulk(10000, 1)
	b.ReportAllocs()
	for b.Loop() {
		m := New(both(), rand.New(rand.NewPCG(1, 2)))
		now := start
		m.Step(now, PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}})
		m.Step(now, PortUp{Port: lan, Addresses: []netip.Prefix{pfx("10.1.0.1/24")}})
		now = now.Add(6 * time.Second)
		for _, p := range packets {
			m.Step(now, from520(p))
		}
		for end := now.Add(10 * time.Second); m.Next().Before(end); {
			now = m.Next()
			m.Step(now, Tick{})
		}
	}
}

// BenchmarkRefresh hears ten thousand known routes again.
func BenchmarkRefresh(b *testing.B) {
	packets := bulk(10000, 1)
	cfg := both()
	cfg.NeighborRate, cfg.NeighborBurst = 1<<30, 1<<30
	m := New(cfg, rand.New(rand.NewPCG(1, 2)))
	m.Step(start, PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}})
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range packets {
			m.Step(start, from520(p))
		}
	}
	if m.Learned() != 10000 {
		b.Fatal(fmt.Sprint(m.Learned(), " routes learned"))
	}
}
