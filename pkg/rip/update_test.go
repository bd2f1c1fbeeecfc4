package rip

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAPortThatComesUpAsksForTablesAndTellsItsOwn(t *testing.T) {
	s := &station{t: t, m: newMachine(both()), now: start}
	s.expect(s.step(PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}}),
		"route 10.0.0.0/24 learned 0 -> 1",
		"core: 10.0.0.1 > 224.0.0.9: request v2 whole table")
	s.expect(s.step(PortUp{Port: lan, Addresses: []netip.Prefix{pfx("10.1.0.1/24")}}),
		"route 10.1.0.0/24 learned 0 -> 1",
		"lan: 10.1.0.1 > 224.0.0.9: request v2 whole table",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.0.0.0/24=1")
	s.expect(s.after(10*time.Millisecond), "core: 10.0.0.1 > 224.0.0.9: response v2 10.1.0.0/24=1")
}

func TestTriggeredUpdateCarriesOnlyChangedRoutes(t *testing.T) {
	s := newStation(t, both())
	s.expect(s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.3.0.0/16 4 tag 7")),
		"neighbor 10.0.0.2 on core up",
		"install 10.2.0.0/16 metric 2 via 10.0.0.2 on core",
		"route 10.2.0.0/16 learned 0 -> 2",
		"install 10.3.0.0/16 metric 5 via 10.0.0.2 on core tag 7",
		"route 10.3.0.0/16 learned 0 -> 5")
	s.expect(s.after(10*time.Millisecond),
		"core: 10.0.0.1 > 224.0.0.9: response v2 10.2.0.0/16=16, 10.3.0.0/16=16 tag 7",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.2.0.0/16=2, 10.3.0.0/16=5 tag 7")
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.3.0.0/16 5 tag 7"))
	s.expect(s.after(500 * time.Millisecond)) // held back
	s.expect(s.after(5*time.Second),
		"core: 10.0.0.1 > 224.0.0.9: response v2 10.3.0.0/16=16 tag 7",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.3.0.0/16=6 tag 7")
}

func TestALostPortPoisonsAtOnceEvenDuringTheHold(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.after(20 * time.Millisecond)
	s.expect(s.step(PortDown{Port: core}),
		"withdraw 10.2.0.0/16",
		"route 10.2.0.0/16 lost 2 -> 16",
		"neighbor 10.0.0.2 on core lost",
		"route 10.0.0.0/24 lost 1 -> 16",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.2.0.0/16=16, 10.0.0.0/24=16")
}

func TestAPathTimesOutIsPoisonedAndForgotten(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.after(179 * time.Second)
	if got := s.row("10.2.0.0/16"); got != "rip valid via 10.0.0.2 metric 2 tag 0" {
		t.Fatal(got)
	}
	s.after(2 * time.Second)
	if got := s.row("10.2.0.0/16"); got != "rip garbage via 0.0.0.0 metric 16 tag 0" {
		t.Fatal(got)
	}
	s.after(117 * time.Second)
	if got := s.row("10.2.0.0/16"); got == "none" {
		t.Fatal("forgotten before the garbage time")
	}
	s.after(3 * time.Second)
	if got := s.row("10.2.0.0/16"); got != "none" {
		t.Fatal(got)
	}
}

func TestShutdownPoisonsEverythingAnnounced(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.after(time.Second)
	s.expect(s.step(Shutdown{}),
		"core: 10.0.0.1 > 224.0.0.9: response v2 10.1.0.0/24=16",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.0.0.0/24=16, 10.2.0.0/16=16",
		"stopped")
	if !s.m.Next().IsZero() && len(s.after(time.Minute)) > 0 {
		t.Fatal("a stopped machine goes on talking")
	}
}

// TestATriggerBurstComesBeforeTheHold lets three changes pass on at once and holds the fourth.
func TestATriggerBurstComesBeforeTheHold(t *testing.T) {
	cfg := both()
	cfg.TriggerBurst = 3
	s := newStation(t, cfg)
	s.after(10 * time.Second)
	for i := range 5 {
		s.hears(core, "10.0.0.2", update(fmt.Sprintf("10.2.%d.0/24 1", i)))
		if told := len(sends(s.after(10*time.Millisecond), lan)) > 0; told != (i < 3) {
			t.Fatalf("change %d was passed on at once: %v", i+1, told)
		}
	}
}

// TestALargeTableIsPassedOnWhole hears bursts with gaps between, as a neighbour paces them.
func TestALargeTableIsPassedOnWhole(t *testing.T) {
	s := newStation(t, both())
	told := 0
	passed := func(lines []string) {
		for _, l := range sends(lines, lan) {
			told += strings.Count(l, "=2")
		}
	}
	for i, b := range bulk(2000, 1) {
		if i%20 == 0 {
			passed(s.after(50 * time.Millisecond))
		}
		passed(s.hears(core, "10.0.0.2", b))
		if told > 0 {
			t.Fatalf("the update began after %d packets of 80", i+1)
		}
	}
	passed(s.after(200 * time.Millisecond))
	if told != 2000 {
		t.Fatalf("%d routes were passed on, expected all", told)
	}
}

// TestAnUpdateOnItsWayLosesNothing changes and forgets the very entry that an update would tell next.
func TestAnUpdateOnItsWayLosesNothing(t *testing.T) {
	for what, disturb := range map[string]func(s *station, e *entry){
		"changed":   func(s *station, e *entry) { s.step(Redistribute{Prefix: e.net.prefix(), Gone: true}) },
		"forgotten": func(s *station, e *entry) { s.m.forget(e) },
	} {
		cfg := both()
		cfg.Burst = 1
		cfg.Redistribute = map[Protocol]RedistributeRule{ProtocolStatic: {}}
		s := newStation(t, cfg)
		for i := range 200 {
			s.step(Redistribute{Prefix: pfx(fmt.Sprintf("10.7.%d.0/24", i)), Protocol: ProtocolStatic})
		}
		s.after(6 * time.Second)
		p := s.m.ports[lan]
		for s.now = p.updateAt; len(p.jobs) == 0; s.now = s.now.Add(time.Millisecond) {
			s.step(Tick{})
		}
		disturb(s, p.jobs[0].cursor.Item)
		told := map[string]bool{}
		for _, l := range sends(s.after(900*time.Millisecond), lan) {
			_, list, _ := strings.Cut(l, " v2 ")
			for _, e := range strings.Split(list, ", ") {
				told[e] = true
			}
		}
		if n := len(told); n < 200+1-25-1 {
			t.Errorf("an entry was %s on the way: the rest of the update told %d of 175", what, n)
		}
	}
}
