package rip

import (
	"testing"
	"time"
)

func TestAPortKeepsItsOwnTimers(t *testing.T) {
	cfg := both()
	cfg.Ports[lan] = PortConfig{Timers: Timers{Update: 10 * time.Second}}
	s := newStation(t, cfg)
	tables := map[PortID]int{}
	for end := s.now.Add(10 * time.Minute); s.m.Next().Before(end); {
		s.now = s.m.Next()
		for _, a := range s.m.Step(s.now, Tick{}) {
			if a, is := a.(Send); is {
				tables[a.Port]++
			}
		}
	}
	if tables[core] < 17 || tables[core] > 24 || tables[lan] < 51 || tables[lan] > 72 {
		t.Fatalf("in ten minutes %d whole tables every 30 s, %d every 10 s", tables[core], tables[lan])
	}
}

func TestAnOffsetRaisesWhatIsAnnounced(t *testing.T) {
	cfg := both()
	cfg.Ports[lan] = PortConfig{OffsetOut: []Offset{
		{Filter: &PrefixList{Rules: []PrefixRule{{Prefix: pfx("10.2.0.0/16")}}}, Metric: 5},
		{Metric: 1},
	}}
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.after(6 * time.Second)
	s.expect(sends(s.after(31*time.Second), lan), "10.1.0.1 > 224.0.0.9: response v2 10.0.0.0/24=2, 10.2.0.0/16=7")
}

func TestConnectedNetworksAreRedistributedWhereAskedFor(t *testing.T) {
	cfg := both()
	cfg.Redistribute = map[Protocol]RedistributeRule{ProtocolConnected: {Metric: 2}}
	s := newStation(t, cfg)
	s.step(Redistribute{Prefix: pfx("10.7.0.0/24"), Protocol: ProtocolConnected})
	s.step(Redistribute{Prefix: pfx("10.8.0.0/24"), Protocol: ProtocolStatic})
	s.expect(s.after(10*time.Millisecond),
		"core: 10.0.0.1 > 224.0.0.9: response v2 10.7.0.0/24=2",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.7.0.0/24=2")
}
