package rip

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// from520 is a datagram as a neighbour on core sends it.
func from520(payload []byte) Receive {
	return Receive{Port: core, Src: addr("10.0.0.2"), SrcPort: UDPPort, Dst: AllRouters, TTL: 1, Payload: payload}
}

// with changes a datagram.
func with(r Receive, change func(*Receive)) Receive {
	change(&r)
	return r
}

// entries is a response of version 2 with raw entries.
func entries(list ...Entry) []byte {
	return Message{Command: Response, Version: 2, Entries: list}.Append(nil)
}

// version changes the version of a packet.
func version(v byte, b []byte) []byte {
	b[1] = v
	return b
}

func command(c byte, b []byte) []byte {
	b[0] = c
	return b
}

// TestEveryRungRefusesItsPacket has a packet for each reason that one datagram can meet with, and sees
// that the table stays as it was and that the refusal is counted. The rungs of authentication are in auth_test.go.
func TestEveryRungRefusesItsPacket(t *testing.T) {
	good := "10.2.0.0/16 1"
	word := func(prefix string, metric uint32, change func(*Entry)) []byte {
		e := rte(prefix + " 1")
		e.Metric = metric
		if change != nil {
			change(&e)
		}
		return entries(e)
	}
	many := func(n int) (list []Entry) {
		for i := range n {
			list = append(list, rte(fmt.Sprintf("10.2.%d.0/24 1", i)))
		}
		return list
	}
	plain := func(PortConfig) PortConfig { return PortConfig{} }
	receiveV1 := func(PortConfig) PortConfig { return PortConfig{Receive: ReceiveBoth} }
	for _, c := range []struct {
		why  BadReason
		port func(PortConfig) PortConfig
		in   Receive
	}{
		{BadPort, plain, with(from520(update(good)), func(r *Receive) { r.Port = 9 })},
		{BadSourceSelf, plain, with(from520(update(good)), func(r *Receive) { r.Src = addr("10.0.0.1") })},
		{BadSourceSelf, plain, with(from520(update(good)), func(r *Receive) { r.Src = addr("10.1.0.1") })},
		{BadSourceOffLink, plain, with(from520(update(good)), func(r *Receive) { r.Src = addr("10.9.0.2") })},
		{BadSourceOffLink, plain, with(from520(update(good)), func(r *Receive) { r.Src = addr("10.0.0.255") })},
		{BadSourceOffLink, plain, with(from520(update(good)), func(r *Receive) { r.Src = addr("10.0.0.0") })},
		{BadSourceOffLink, plain, with(from520(update(good)), func(r *Receive) { r.Src = addr("10.1.0.2") })}, // of the other port
		{BadDestination, plain, with(from520(update(good)), func(r *Receive) { r.Dst = addr("10.1.0.1") })},
		{BadTTL, func(PortConfig) PortConfig { return PortConfig{TTLSecurity: true} }, with(from520(update(good)), func(r *Receive) { r.TTL = 254 })},
		{BadSize, plain, from520(nil)},
		{BadSize, plain, from520([]byte{2, 2, 0})},
		{BadAlignment, plain, from520(update(good)[:14])}, // half an entry
		{BadAlignment, plain, from520(append(update(good), 0))},
		{BadNoEntry, plain, from520([]byte{2, 2, 0, 0})},
		{BadTooManyEntries, plain, from520(entries(many(26)...))},
		{BadVersion, plain, from520(version(0, update(good)))},
		{BadVersionRefused, plain, from520(version(1, update(good)))},
		{BadVersionRefused, func(PortConfig) PortConfig { return PortConfig{Receive: ReceiveV1} }, from520(update(good))},
		{BadCommand, plain, from520(command(0, update(good)))},
		{BadCommand, plain, from520(command(3, update(good)))},
		{BadCommand, plain, from520(command(9, update(good)))},
		{BadSourcePort, plain, with(from520(update(good)), func(r *Receive) { r.SrcPort = 521 })},
		{BadMustBeZero, receiveV1, from520(version(1, update(good)))},
		{BadMustBeZero, receiveV1, from520(version(1, word("10.0.0.0/8", 1, func(e *Entry) { e.Mask, e.Tag = 0, 1 })))},
		{BadMustBeZero, receiveV1, from520(version(1, word("10.0.0.0/8", 1, func(e *Entry) { e.Mask, e.NextHop = 0, 1 })))},
		{BadMustBeZero, receiveV1, from520([]byte{2, 1, 0, 1, 0, 2, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})},
		{BadRequestPassive, func(PortConfig) PortConfig { return PortConfig{Passive: true} }, from520(query())},
		{BadRequestMix, plain, from520(command(1, entries(Entry{Metric: Infinity}, rte(good))))},
		{BadRequestMix, plain, from520(command(1, entries(rte(good), Entry{Family: familyAuth, Tag: wireSimple})))},
		{BadRouteFamily, plain, from520(word("10.2.0.0/16", 1, func(e *Entry) { e.Family = 10 }))},
		{BadRouteFamily, plain, from520(word("10.2.0.0/16", 1, func(e *Entry) { e.Family = 0 }))},
		{BadRouteAuthPlace, plain, from520(entries(rte("10.1.0.0/24 1"), Entry{Family: familyAuth, Tag: wireSimple}))},
		{BadRouteMetricZero, plain, from520(word("10.2.0.0/16", 0, nil))},
		{BadRouteMetricRange, plain, from520(word("10.2.0.0/16", 17, nil))},
		{BadRouteMetricRange, plain, from520(word("10.2.0.0/16", 1<<24, nil))},
		{BadRouteMask, plain, from520(word("10.2.0.0/16", 1, func(e *Entry) { e.Mask = 0xff00ff00 }))},
		{BadRouteMask, plain, from520(word("10.2.0.0/16", 1, func(e *Entry) { e.Mask = 1 }))},
		{BadRouteHostBits, plain, from520(word("10.2.3.0/16", 1, nil))},
		{BadRouteZeroNet, plain, from520(word("0.0.0.0/8", 1, nil))},
		{BadRouteZeroNet, plain, from520(word("0.1.0.0/16", 1, nil))},
		{BadRouteLoopback, plain, from520(word("127.0.0.0/8", 1, nil))},
		{BadRouteLoopback, plain, from520(word("127.1.0.0/16", 1, nil))},
		{BadRouteMulticast, plain, from520(word("224.0.0.0/4", 1, nil))},
		{BadRouteMulticast, plain, from520(word("239.1.1.0/24", 1, nil))},
		{BadRouteClassE, plain, from520(word("240.0.0.0/4", 1, nil))},
		{BadRouteClassE, plain, from520(word("255.255.255.255/32", 1, nil))},
	} {
		t.Run(c.why.String(), func(t *testing.T) {
			cfg := both()
			cfg.Ports[core] = c.port(PortConfig{})
			s := newStation(t, cfg)
			before := s.m.Counters()
			for range 2 {
				got := strings.Join(s.step(c.in), "\n")
				if !strings.Contains(got, fmt.Sprintf("bad %v from %v", c.why, c.in.Src)) {
					t.Fatalf("expected the refusal %v, happened:\n%s", c.why, got)
				}
			}
			if got := s.m.Counters().Bad[c.why] - before.Bad[c.why]; got != 2 {
				t.Fatalf("%v was counted %d times, expected 2", c.why, got)
			}
			if s.m.Learned() > 1 || s.row("10.2.0.0/16") != "none" {
				t.Fatalf("a refused packet changed the table: %v", s.m.Routes(s.now))
			}
			if c.why.Route() != (s.m.Counters().BadRoutes > 0) || c.why.Route() == (s.m.Counters().BadPackets > 0) {
				t.Fatalf("%v is about a route: %v; counted: %+v", c.why, c.why.Route(), s.m.Counters())
			}
		})
	}
}

func TestEveryReasonHasANameAndASentence(t *testing.T) {
	seen := map[string]bool{}
	for why := range NumBadReasons {
		if why.String() == "" || seen[why.String()] || !strings.HasSuffix(why.Description(), ".") {
			t.Errorf("reason %d is called %q: %q", why, why.String(), why.Description())
		}
		seen[why.String()] = true
	}
	if NumBadReasons.String() != "unknown" || NumBadReasons.Description() == "" {
		t.Error("a reason past the last has no name")
	}
}

// TestABadEntrySparesTheOthers has good routes around a bad one, and the default route apart from network 0.
func TestABadEntrySparesTheOthers(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1", "127.0.0.0/8 1", "127.1.0.0/16 1", "0.0.0.0/0 2", "10.3.0.0/16 17"))
	for _, p := range []string{"10.2.0.0/16", "0.0.0.0/0"} {
		if s.row(p) == "none" {
			t.Errorf("%s was not learned", p)
		}
	}
	n := s.m.Neighbors(s.now)[0]
	if n.Counters.BadRoutes != 3 || n.Counters.Bad[BadRouteLoopback] != 2 || n.Counters.BadPackets != 0 || n.Counters.PacketsIn != 1 {
		t.Errorf("counted %+v", n.Counters)
	}
}

func TestARequestForTheTableIsAnsweredToTheAskerOnly(t *testing.T) {
	s := newStation(t, both())
	s.hears(lan, "10.1.0.7", update("10.2.0.0/16 1"))
	s.after(10 * time.Second)
	s.expect(s.step(with(from520(query()), func(r *Receive) { r.SrcPort = 40000 })),
		"neighbor 10.0.0.2 on core up",
		"core: 10.0.0.1 > 10.0.0.2: response v2 10.1.0.0/24=1, 10.2.0.0/16=2")
	if got := s.last[len(s.last)-1].(Send).DstPort; got != 40000 {
		t.Fatalf("answered to port %d, expected 40000", got)
	}
	s.expect(s.step(from520(query())), "bad rip_request_rate from 10.0.0.2")
	s.now = s.now.Add(2 * time.Second)
	s.expect(s.step(from520(query())), "core: 10.0.0.1 > 10.0.0.2: response v2 10.1.0.0/24=1, 10.2.0.0/16=2")
}

func TestSpecificEntriesAreAnsweredOneByOne(t *testing.T) {
	s := newStation(t, both())
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 3 tag 5"))
	s.expect(s.step(from520(command(1, update("10.2.0.0/16 1", "10.9.0.0/16 1", "10.1.0.0/24 16")))),
		"core: 10.0.0.1 > 10.0.0.2: response v2 10.2.0.0/16=4 tag 5, 10.9.0.0/16=16, 10.1.0.0/24=1")
}

func TestAPassivePortHearsAndAnswersOnlyMonitors(t *testing.T) {
	cfg := both()
	cfg.Ports[core] = PortConfig{Passive: true}
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	if got := sends(s.after(2*time.Minute), core); len(got) > 0 {
		t.Fatalf("a passive port said %v", got)
	}
	if s.row("10.2.0.0/16") == "none" {
		t.Fatal("a passive port did not learn")
	}
	s.expect(s.step(with(from520(query()), func(r *Receive) { r.SrcPort = 40000 })),
		"core: 10.0.0.1 > 10.0.0.2: response v2 10.1.0.0/24=1, 10.2.0.0/16=16")
}

// TestFloodsAreBounded has a neighbour that sends without end, neighbours that do not exist, and
// more routes than there is room for.
func TestFloodsAreBounded(t *testing.T) {
	cfg := both()
	cfg.MaxRoutes, cfg.MaxRoutesPerNeighbor, cfg.MaxNeighbors, cfg.NeighborBurst, cfg.NeighborRate = 50, 30, 8, 100, 10
	s := newStation(t, cfg)
	n := 0
	flood := func(from string, packets int) {
		for range packets {
			n++
			s.hears(core, from, update(fmt.Sprintf("172.16.%d.%d/32 1", n>>8&255, n&255)))
		}
	}
	flood("10.0.0.2", 1000)
	rows := s.m.Neighbors(s.now)
	if got := rows[0].Counters.Bad[BadRate]; got != 900 {
		t.Errorf("%d packets were refused for their rate, expected 900", got)
	}
	if rows[0].Routes != 30 || rows[0].Counters.Bad[BadRouteNeighborLimit] != 70 {
		t.Errorf("the neighbour has %d routes and %d were refused", rows[0].Routes, rows[0].Counters.Bad[BadRouteNeighborLimit])
	}
	flood("10.0.0.3", 100)
	if s.m.Len() != 50 {
		t.Errorf("the table has %d prefixes, expected its limit", s.m.Len())
	}
	for i := range 200 {
		s.step(with(from520([]byte{0, 9}), func(r *Receive) { r.Src = addr("10.0.0.20") + packet.Addr(i) }))
	}
	if got := len(s.m.Neighbors(s.now)); got > 8 {
		t.Errorf("%d neighbours, expected at most 8", got)
	}
	if s.m.neighbors[neighborKey{core, addr("10.0.0.2")}] == nil {
		t.Error("forged sources pushed a real neighbour out")
	}
	cfg.MaxLearned = 5
	s = newStation(t, cfg)
	flood("10.0.0.2", 20)
	if s.m.Learned() != 5 || s.m.Counters().Bad[BadRouteLearnedLimit] != 15 {
		t.Errorf("%d paths were learned, expected 5", s.m.Learned())
	}
}

// TestANeighborLimitOfLiveNeighborsRefuses has as many live neighbours as there is room for.
func TestANeighborLimitOfLiveNeighborsRefuses(t *testing.T) {
	cfg := both()
	cfg.MaxNeighbors = 2
	s := newStation(t, cfg)
	s.hears(core, "10.0.0.2", update("10.2.0.0/16 1"))
	s.hears(core, "10.0.0.3", update("10.2.0.0/16 1"))
	s.expect(s.hears(core, "10.0.0.4", update("10.2.0.0/16 1")), "bad rip_neighbor_limit from 10.0.0.4")
}

// FuzzDecode holds that decoding is total and that decode, encode, decode is a fixed point.
func FuzzDecode(f *testing.F) {
	f.Add(update("10.2.0.0/16 1", "0.0.0.0/0 16"))
	f.Add(query())
	f.Add([]byte{2, 2, 0, 0})
	for kind := AuthSimple; kind < numAuthTypes; kind++ {
		c := &KeyChain{Type: kind, Keys: []Key{{ID: 1, Secret: "s"}}}
		f.Add(signed(c, c.Keys[0], 7, "10.2.0.0/16 1"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, why := Decode(b, nil)
		if why != BadNone {
			if len(m.Entries) > 0 {
				t.Fatal("a refused packet has entries")
			}
			return
		}
		if len(m.Entries) == 0 || len(m.Entries) > MaxEntries {
			t.Fatalf("%d entries", len(m.Entries))
		}
		again := m.Append(nil)
		if string(again) != string(b) {
			t.Fatalf("%x was encoded as %x", b, again)
		}
	})
}

// FuzzReceive lets any bytes arrive, with and without authentication, and sees that the machine stays whole.
func FuzzReceive(f *testing.F) {
	f.Add(update("10.2.0.0/16 1", "10.3.0.0/16 16", "0.0.0.0/0 2"), uint8(0))
	f.Add(query(), uint8(1))
	f.Add(version(1, entries(Entry{Family: 2, Addr: addr("10.0.0.0"), Metric: 1})), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		cfg := both()
		pc := PortConfig{Receive: ReceiveBoth}
		if a := AuthType(kind % uint8(numAuthTypes)); a != AuthNone {
			pc.Auth = &KeyChain{Type: a, Keys: []Key{{ID: 1, Secret: "s"}}}
		}
		cfg.Ports[core] = pc
		m := New(cfg, rand.New(rand.NewPCG(1, 2)))
		m.Step(start, PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}})
		m.Step(start, PortUp{Port: lan, Addresses: []netip.Prefix{pfx("10.1.0.1/24")}})
		for i := range 3 {
			m.Step(start.Add(time.Duration(i)*10*time.Second), from520(b))
			checkWhole(t, m)
		}
	})
}
