package rip

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// checkWhole holds the machine's tables against each other.
func checkWhole(t *testing.T, m *Machine) {
	t.Helper()
	paths, perNeighbor := 0, map[*neighbor]int{}
	lastVersion, listed := uint64(0), 0
	for at := m.changes.First(); at != nil; at = at.Next() {
		e := at.Item
		listed++
		if e.version <= lastVersion {
			t.Fatalf("%v is out of the order of change", e.net.prefix())
		}
		lastVersion = e.version
		if m.table[e.net] != e {
			t.Fatalf("%v is listed and not in the table", e.net.prefix())
		}
		if e.metric < 1 || e.metric > Infinity || (e.metric == Infinity) != (e.trash.In() == &m.garbage) {
			t.Fatalf("%v has metric %d and garbage %v", e.net.prefix(), e.metric, e.trash.In() != nil)
		}
		best := uint8(Infinity)
		for _, pa := range e.paths {
			paths++
			perNeighbor[pa.from]++
			if pa.metric < 1 || pa.metric >= Infinity || pa.entry != e || pa.at.In() != &pa.from.port.heard {
				t.Fatalf("%v has a path of metric %d", e.net.prefix(), pa.metric)
			}
			best = min(best, pa.metric)
		}
		for _, pa := range e.selected {
			if pa.metric != best {
				t.Fatalf("%v uses a path of metric %d, the best is %d", e.net.prefix(), pa.metric, best)
			}
		}
		if len(e.selected) > m.cfg.MaxPaths || (len(e.selected) > 0) != (best < Infinity) || e.installed != (len(e.selected) > 0) {
			t.Fatalf("%v uses %d of %d paths", e.net.prefix(), len(e.selected), len(e.paths))
		}
	}
	if listed != len(m.table) || paths != m.learned || paths > m.cfg.MaxLearned || len(m.neighbors) > m.cfg.MaxNeighbors {
		t.Fatalf("%d of %d prefixes listed, %d paths of %d counted", listed, len(m.table), paths, m.learned)
	}
	for _, n := range m.neighbors {
		if n.routes != perNeighbor[n] || n.routes > m.cfg.MaxRoutesPerNeighbor {
			t.Fatalf("%v has %d paths, %d are counted", n.addr, perNeighbor[n], n.routes)
		}
	}
}

// watcher holds what a machine says against what it was told.
type watcher struct {
	t         *testing.T
	m         *Machine
	installed map[netip.Prefix]Install
}

func (w *watcher) watch(actions []Action) {
	w.t.Helper()
	for _, a := range actions {
		switch a := a.(type) {
		case Install:
			if a.Metric < 1 || a.Metric >= Infinity || len(a.Paths) == 0 {
				w.t.Fatalf("installed %+v", a)
			}
			w.installed[a.Prefix] = a
		case Withdraw:
			if _, has := w.installed[a.Prefix]; !has {
				w.t.Fatalf("withdrew %v, which was not installed", a.Prefix)
			}
			delete(w.installed, a.Prefix)
		case Send:
			w.packet(a)
		}
	}
}

func (w *watcher) packet(a Send) {
	w.t.Helper()
	m, why := Decode(a.Payload, nil)
	if why != BadNone || len(a.Payload) > maxDatagram {
		w.t.Fatalf("sent %x of %d octets: %v", a.Payload, len(a.Payload), why)
	}
	if a.DstPort != UDPPort || m.Command != Response {
		return
	}
	p := w.m.ports[a.Port]
	for _, e := range m.Entries {
		if e.Family != familyIPv4 {
			continue
		}
		if e.Metric < 1 || e.Metric > Infinity {
			w.t.Fatalf("announced metric %d", e.Metric)
		}
		found := w.m.table[network{e.Addr, uint8(32 - zeros(e.Mask))}]
		if e.Metric < Infinity && p.cfg.SplitHorizon != SplitNone && found != nil && found.own.source == "" {
			for _, path := range w.installed[found.net.prefix()].Paths {
				if path.Port == a.Port {
					w.t.Fatalf("%v was announced with metric %d on port %d, through which it leads", found.net.prefix(), e.Metric, a.Port)
				}
			}
		}
	}
}

func zeros(m packet.Addr) int {
	n := 0
	for n < 32 && m>>n&1 == 0 {
		n++
	}
	return n
}

// randomRun drives a machine with events drawn from a seed.
func randomRun(t *testing.T, seed uint64, steps int) {
	rng := rand.New(rand.NewPCG(seed, 77))
	draw := func() Config {
		c := Config{
			Ports: map[PortID]PortConfig{}, Redistribute: map[Protocol]RedistributeRule{},
			MaxRoutes: 40, MaxNeighbors: 5, MaxPaths: 1 + rng.IntN(3), Burst: 1 + rng.IntN(4),
			Default: DefaultRoute{Originate: rng.IntN(3) == 0},
		}
		for id := PortID(1); id <= 4; id++ {
			if rng.IntN(5) == 0 {
				continue
			}
			pc := PortConfig{Passive: rng.IntN(6) == 0, Cost: uint8(rng.IntN(4)), SplitHorizon: SplitHorizon(rng.IntN(3)), LinkCheck: rng.IntN(2) == 0}
			if rng.IntN(4) == 0 {
				pc.FilterOut = &PrefixList{Rules: []PrefixRule{{Prefix: pfx("10.0.0.0/8"), Max: 20}}}
			}
			if rng.IntN(4) == 0 {
				pc.FilterIn = &PrefixList{Rules: []PrefixRule{{Prefix: pfx("10.16.0.0/12"), Max: 32, Deny: true}, {Prefix: pfx("0.0.0.0/0"), Max: 32}}}
			}
			if rng.IntN(3) == 0 {
				pc.OffsetOut = []Offset{{Metric: uint8(rng.IntN(17))}}
			}
			if rng.IntN(5) == 0 {
				pc.Neighbors = []netip.Addr{netip.MustParseAddr(fmt.Sprintf("10.0.%d.9", id))}
			}
			c.Ports[id] = pc
		}
		for p := ProtocolConnected; p < NumProtocols; p++ {
			if rng.IntN(2) == 0 {
				c.Redistribute[p] = RedistributeRule{Metric: uint8(rng.IntN(5))}
			}
		}
		return c
	}
	m := New(draw(), rand.New(rand.NewPCG(seed, 1)))
	w := &watcher{t: t, m: m, installed: map[netip.Prefix]Install{}}
	now := start
	prefix := func() netip.Prefix {
		bits := []int{0, 8, 16, 24, 24, 32}[rng.IntN(6)]
		return netip.PrefixFrom(packet.Addr(0x0a000000|rng.Uint32N(24)<<16|rng.Uint32N(3)<<8).Netip(), bits).Masked()
	}
	for range steps {
		id := PortID(1 + rng.IntN(4))
		var ev Event = Tick{}
		switch rng.IntN(24) {
		case 0, 1:
			list := []netip.Prefix{pfx(fmt.Sprintf("10.0.%d.1/24", id))}
			if rng.IntN(4) == 0 {
				list = append(list, pfx(fmt.Sprintf("10.9.%d.1/24", id)))
			}
			ev = PortUp{Port: id, Addresses: list, NoCarrier: rng.IntN(8) == 0}
		case 2:
			ev = PortDown{id}
		case 3, 4:
			ev = Redistribute{Prefix: prefix(), Protocol: Protocol(rng.IntN(int(NumProtocols))), Metric: rng.Uint32N(20), Gone: rng.IntN(3) == 0}
		case 5:
			if rng.IntN(4) == 0 {
				ev = Configure{draw()}
			}
		case 6:
			ev = Clear{Port: id, All: rng.IntN(3) == 0}
		case 7, 8, 9:
			now = now.Add(time.Duration(rng.Int64N(int64(40 * time.Second))))
		case 10, 11, 12:
			if next := m.Next(); next.After(now) {
				now = next
			}
		case 13:
			ev = with(from520(query()), func(r *Receive) { r.Port, r.Src = id, addr(fmt.Sprintf("10.0.%d.%d", id, 2+rng.IntN(8))) })
		default:
			var list []Entry
			for range 1 + rng.IntN(8) {
				e := rte(fmt.Sprintf("%v %d tag %d", prefix(), 1+rng.IntN(16), rng.IntN(2)))
				if rng.IntN(3) == 0 {
					e.NextHop = addr(fmt.Sprintf("10.0.%d.7", id))
				}
				list = append(list, e)
			}
			ev = with(from520(entries(list...)), func(r *Receive) { r.Port, r.Src = id, addr(fmt.Sprintf("10.0.%d.%d", id, 2+rng.IntN(8))) })
		}
		w.watch(m.Step(now, ev))
		checkWhole(t, m)
		if next := m.Next(); !next.IsZero() && !next.After(now) {
			t.Fatalf("after %T at %v the machine wants to be called at %v", ev, now, next)
		}
	}
	w.watch(m.Step(now, Shutdown{}))
	for n := 0; !m.stopped; n++ {
		if n > 10000 {
			t.Fatal("the machine does not stop")
		}
		if next := m.Next(); !next.After(now) {
			t.Fatalf("a stopping machine wants to be called at %v, and it is %v", next, now)
		} else {
			now = next
		}
		w.watch(m.Step(now, Tick{}))
	}
	if !m.Next().IsZero() {
		t.Fatal("a stopped machine wants to be called again")
	}
}

func TestRandomEventsKeepTheInvariants(t *testing.T) {
	for seed := range uint64(150) {
		randomRun(t, seed, 400)
	}
}

func FuzzEvents(f *testing.F) {
	f.Add(uint64(1), uint16(50))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) { randomRun(t, seed, int(steps%500)) })
}

// TestARunRepeatsFromItsSeed runs the same events twice, and wants the same actions to the byte.
func TestARunRepeatsFromItsSeed(t *testing.T) {
	run := func() string {
		cfg := both()
		cfg.Default.Originate = true
		cfg.Redistribute = map[Protocol]RedistributeRule{ProtocolStatic: {}}
		s := newStation(t, cfg)
		text := ""
		for i := range 30 {
			s.step(Redistribute{Prefix: pfx(fmt.Sprintf("10.7.%d.0/24", i)), Protocol: ProtocolStatic})
			s.hears(core, fmt.Sprintf("10.0.0.%d", 2+i%5), update(fmt.Sprintf("10.2.%d.0/24 %d", i%7, 1+i%4)))
			text += fmt.Sprintln(s.after(7 * time.Second))
		}
		text += fmt.Sprintln(s.step(Configure{Config{Ports: map[PortID]PortConfig{core: {}}}}))
		return text + fmt.Sprintln(s.after(time.Minute))
	}
	if a, b := run(), run(); a != b {
		t.Fatalf("two runs differ:\n%s\n%s", a, b)
	}
}
