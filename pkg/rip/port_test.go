package rip

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAHundredPortsKeepTheirHorizonsApart goes past the 64 ports that fit one word.
func TestAHundredPortsKeepTheirHorizonsApart(t *testing.T) {
	cfg := Config{Ports: map[PortID]PortConfig{}}
	for id := PortID(1); id <= 100; id++ {
		cfg.Ports[id] = PortConfig{}
	}
	m := newMachine(cfg)
	now := start
	for id := PortID(1); id <= 100; id++ {
		m.Step(now, PortUp{Port: id, Addresses: []netip.Prefix{pfx(fmt.Sprintf("10.0.%d.1/24", id))}})
	}
	for _, id := range []PortID{3, 70, 99} {
		m.Step(now, with(from520(update("172.16.0.0/16 1")), func(r *Receive) { r.Port, r.Src = id, addr(fmt.Sprintf("10.0.%d.2", id)) }))
	}
	poisoned, told := []PortID{}, 0
	for end := now.Add(6 * time.Second); m.Next().Before(end); {
		now = m.Next()
		for _, a := range m.Step(now, Tick{}) {
			if a, is := a.(Send); is {
				if text := describePayload(a.Payload); strings.Contains(text, "172.16.0.0/16=16") {
					poisoned = append(poisoned, a.Port)
				} else if strings.Contains(text, "172.16.0.0/16=2") {
					told++
				}
			}
		}
		checkWhole(t, m)
	}
	if slices.Sort(poisoned); !slices.Equal(poisoned, []PortID{3, 70, 99}) || told != 97 {
		t.Fatalf("poisoned on %v, announced on %d ports", poisoned, told)
	}
	for id := PortID(1); id <= 100; id++ {
		m.Step(now, PortDown{id})
	}
	m.Step(now, Configure{Config{}})
	if len(m.ports) != 0 {
		t.Fatalf("%d ports are remembered for nothing", len(m.ports))
	}
}

// TestAPortThatChangesItsAddressLosesWhoIsOffLinkNow and tells the others.
func TestAPortThatChangesItsAddressLosesWhoIsOffLinkNow(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.hears(core, "10.0.0.200", update("10.3.0.0/16 1"))
	s.after(6 * time.Second)
	s.expect(s.step(PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/25")}}),
		"route 10.0.0.0/24 lost 1 -> 16",
		"route 10.0.0.0/25 learned 0 -> 1",
		"withdraw 10.3.0.0/16",
		"route 10.3.0.0/16 lost 2 -> 16",
		"neighbor 10.0.0.200 on core lost",
		"core: 10.0.0.1 > 224.0.0.9: request v2 whole table",
		"core: 10.0.0.1 > 224.0.0.9: response v2 10.1.0.0/24=1, 10.2.0.0/16=16",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.0.0.0/24=16, 10.0.0.0/25=1, 10.3.0.0/16=16")
	s.expect(s.step(PortUp{Port: core}),
		"withdraw 10.2.0.0/16",
		"route 10.2.0.0/16 lost 2 -> 16",
		"neighbor 10.0.0.2 on core lost",
		"route 10.0.0.0/25 lost 1 -> 16",
		"lan: 10.1.0.1 > 224.0.0.9: response v2 10.2.0.0/16=16, 10.0.0.0/25=16")
}

func TestRowsTellHowPortsStand(t *testing.T) {
	cfg := both()
	cfg.Ports[core] = PortConfig{Auth: chainOf(AuthMD5), Cost: 4, Send: SendV2Broadcast, Receive: ReceiveBoth, SplitHorizon: SplitSimple}
	cfg.Ports[lan] = PortConfig{Passive: true}
	s := newStation(t, cfg)
	s.step(PortDown{lan})
	rows := s.m.Ports(s.now)
	if len(rows) != 2 {
		t.Fatalf("%d rows", len(rows))
	}
	a, b := rows[0], rows[1]
	if text := fmt.Sprint(a.Up, a.Passive, a.Send, a.Receive, a.Cost, a.SplitHorizon, a.Auth); text != "true false broadcast both 4 simple md5" {
		t.Error(text)
	}
	if a.Counters.RequestsOut != 1 || a.Counters.PacketsOut < 2 || a.NextUpdate <= 0 {
		t.Errorf("%+v", a)
	}
	if text := fmt.Sprint(b.Up, b.Passive, b.NextUpdate, b.Send, b.Receive, b.SplitHorizon); text != "false true -1ns 2 2 poisoned" {
		t.Error(text)
	}
}

func TestNamesOfChoices(t *testing.T) {
	for kind := range numAuthTypes {
		if got, known := ParseAuthType(kind.String()); !known || got != kind {
			t.Errorf("%v is read as %v", kind, got)
		}
	}
	if _, known := ParseAuthType("rot13"); known {
		t.Error("an unknown kind of authentication is read")
	}
	for _, s := range []fmt.Stringer{SplitHorizon(9), SendVersion(9), ReceiveVersion(9), Protocol(99), AuthType(99), RouteChange(9), NeighborChange(9)} {
		if s.String() != "unknown" {
			t.Errorf("%T past the last is called %v", s, s)
		}
	}
}

// TestAChangedTimeoutAppliesToWhatIsKnown shortens all timers of a running machine.
func TestAChangedTimeoutAppliesToWhatIsKnown(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "10.3.0.0/16 1"))
	s.hears(core, "10.0.0.2", update("10.3.0.0/16 16"))
	s.after(20 * time.Second)
	cfg := both()
	cfg.Timers = Timers{Update: 2 * time.Second}
	s.step(Configure{cfg})
	if got := s.row("10.2.0.0/16") + s.row("10.3.0.0/16"); !strings.HasPrefix(got, "rip garbage") || !strings.HasSuffix(got, "none") {
		s.after(time.Millisecond)
		if got := s.row("10.2.0.0/16") + s.row("10.3.0.0/16"); !strings.HasPrefix(got, "rip garbage") || !strings.HasSuffix(got, "none") {
			t.Fatal(got)
		}
	}
	checkWhole(t, s.m)
}

// TestAnswersWithAuthenticationSpillIntoASecondPacket asks for more entries than fit beside a digest.
func TestAnswersWithAuthenticationSpillIntoASecondPacket(t *testing.T) {
	chain := chainOf(AuthHMACSHA512)
	s := newStation(t, withAuth(chain))
	var lines []string
	for i := range 24 {
		lines = append(lines, fmt.Sprintf("10.2.%d.0/24 1", i))
	}
	b := command(1, signed(chain, chain.Keys[0], 9, lines...))
	n := len(b) - chain.Type.digestLen()
	got := s.step(from520(chain.Type.appendDigest(b[:n:n], b[:n], chain.Keys[0].Secret)))
	if packets := sends(got, core); len(packets) != 2 || strings.Count(packets[0], "=16") != 21 || strings.Count(packets[1], "=16") != 3 {
		t.Fatal(strings.Join(got, "\n"))
	}
}
