package dns

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"vrouterd/internal/packet"
)

// checkWhole holds the machine's tables against each other and against their limits.
func checkWhole(t *testing.T, m *Machine) {
	t.Helper()
	placed := 0
	m.cache.order.from("\x00", false, func(wire string) bool {
		if placed++; m.cache.names[wire] == nil || !m.cache.names[wire].listed {
			t.Fatalf("%q has a place and no answers", wire)
		}
		return true
	})
	count, octets := 0, 0
	for name, o := range m.cache.names {
		if o.listed {
			placed--
		}
		if len(o.entries) == 0 || len(o.entries) > maxPerName || o.name != name {
			t.Fatalf("%q has %d answers", name, len(o.entries))
		}
		for _, e := range o.entries {
			if e.owner != o || m.cache.find([]byte(name), e.qtype, e.bits) != e {
				t.Fatalf("an answer for %q is not found", name)
			}
			count, octets = count+1, octets+e.cost()
		}
	}
	if placed != 0 {
		t.Fatalf("%d names have a place and are not listed", placed)
	}
	for e := m.cache.ring.newer; e != &m.cache.ring; e = e.newer {
		if count--; e.newer.older != e {
			t.Fatal("the order of use is broken")
		}
	}
	if count != 0 || octets != m.cache.octets || m.cache.count > m.cfg.CacheSize || octets > m.cfg.CacheOctets {
		t.Fatalf("cache: %+v, %d octets", m.CacheStats(), octets)
	}
	clients, waiting := map[netip.Addr]int{}, map[*ask]bool{}
	for key, f := range m.flights {
		if f.key != key || len(f.waiters) > m.cfg.MaxWaiting || f.sent > maxSent {
			t.Fatalf("question %q: %d wait, %d were sent", key, len(f.waiters), f.sent)
		}
		live := 0
		for _, a := range f.asks {
			if a.flight != f {
				t.Fatal("a question of another")
			}
			if a.place >= 0 {
				live++
				waiting[a] = true
			}
		}
		if live == 0 {
			t.Fatalf("question %q waits for nothing", key)
		}
		for _, w := range f.waiters {
			clients[w.from.Addr()]++
		}
	}
	if len(m.flights) > m.cfg.MaxQueries || fmt.Sprint(clients) != fmt.Sprint(m.clients) {
		t.Fatalf("%d questions; clients %v, counted %v", len(m.flights), clients, m.clients)
	}
	for i, a := range m.timers {
		if a.place != i || m.asks[a.id] != a || a.due <= m.now || a.flight == nil && !a.probe || a.flight != nil && !waiting[a] {
			t.Fatalf("a timer is wrong: %+v", a)
		}
	}
	open := map[*server]int{}
	for _, a := range m.asks {
		if open[a.server]++; a.flight == nil && !a.probe || a.flight != nil && m.flights[a.flight.key] != a.flight {
			t.Fatalf("an ask is open for nothing: %+v", a)
		}
	}
	for _, s := range m.servers {
		if s.open != open[s] {
			t.Fatalf("%v has %d questions open, %d are counted", s.addr, open[s], s.open)
		}
	}
}

// watcher holds what a machine says against what it was told: each query gets one answer or is dropped, each ask ends.
type watcher struct {
	t     *testing.T
	m     *Machine
	now   time.Time
	open  map[AskID]Ask
	state map[ClientID]int // answers that are due
	gone  map[ClientID]bool
	down  map[netip.AddrPort]bool
}

func newWatcher(t *testing.T, c Config, rng *rand.Rand) *watcher {
	return &watcher{t: t, m: New(c, rng), now: start, open: map[AskID]Ask{}, state: map[ClientID]int{}, gone: map[ClientID]bool{}, down: map[netip.AddrPort]bool{}}
}

func (w *watcher) step(ev Event) {
	w.t.Helper()
	if q, is := ev.(Query); is {
		w.state[q.Client]++
	}
	for _, a := range w.m.Step(w.now, ev) {
		switch a := a.(type) {
		case Answer:
			if w.state[a.Client]--; w.state[a.Client] < 0 || len(a.Payload) < headerLen || a.Payload[2]&0x80 == 0 || w.gone[a.Client] {
				w.t.Fatalf("client %d: answer %x, %d are due, gone %v", a.Client, a.Payload, w.state[a.Client], w.gone[a.Client])
			}
		case Dropped:
			if w.state[a.Client]--; w.state[a.Client] < 0 || a.Reason == ReasonNone {
				w.t.Fatalf("client %d: dropped for %v, %d are due", a.Client, a.Reason, w.state[a.Client])
			}
		case Ask:
			if _, has := w.open[a.ID]; has || a.Port < 1024 || !a.Server.IsValid() || new(dns.Msg).Unpack(a.Payload) != nil {
				w.t.Fatalf("asked %+v", a)
			}
			a.Payload = append([]byte{}, a.Payload...)
			w.open[a.ID] = a
		case Done:
			if _, has := w.open[a.ID]; !has {
				w.t.Fatalf("%d is done, and was not open", a.ID)
			}
			delete(w.open, a.ID)
		case UpstreamEvent:
			if w.down[a.Server] == !a.Up {
				w.t.Fatalf("%v is up %v, and was", a.Server, a.Up)
			}
			w.down[a.Server] = !a.Up
		}
	}
	checkWhole(w.t, w.m)
}

// dice are numbers from a fuzzer's octets; when these run out all are 0.
type dice []byte

func (d *dice) roll(n int) int {
	if len(*d) == 0 {
		return 0
	}
	v := int((*d)[0])
	*d = (*d)[1:]
	return v % n
}

var (
	someNames   = []string{"a.example.com.", "B.example.com.", "c.corp.example.", "printer.", "host1.home.arpa.", "alias.home.arpa.", "5.1.168.192.in-addr.arpa.", "x.invalid."}
	someTypes   = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT, dns.TypePTR, dns.TypeANY}
	someRecords = []string{" 300 A 192.0.2.1", " 0 A 192.168.1.1", " 60 CNAME b.example.com.", " 5 AAAA fd00::1", ` 9 TXT "x"`, ` 10 TYPE999 \# 3 010203`}
)

func someConfig(d *dice) Config {
	c := Config{
		Domain: "home.arpa", CacheSize: 1 + d.roll(8), MaxQueries: 1 + d.roll(8), MaxPerClient: 1 + d.roll(6), MaxWaiting: 1 + d.roll(4),
		RebindProtection: d.roll(2) == 0, Records: []Record{{Name: "alias", CNAME: "a.example.com"}, {Name: "nas", Addresses: addrs("192.168.1.2")}},
	}
	for i := range d.roll(4) {
		u := Upstream{Domain: []string{"", "corp.example", "example.com", "invalid"}[i]}
		for range d.roll(4) {
			u.Servers = append(u.Servers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + d.roll(4))}), 53))
		}
		c.Upstreams = append(c.Upstreams, u)
	}
	return c
}

// play lets the dice choose what happens, holds the machine's invariants at every step, and waits for the end of everything.
func play(t *testing.T, d dice) {
	seed := uint64(len(d))
	w := newWatcher(t, someConfig(&d), rand.New(rand.NewPCG(seed, 2)))
	client := ClientID(0)
	for len(d) > 0 {
		switch d.roll(12) {
		case 0, 1, 2, 3:
			m := new(dns.Msg)
			m.SetQuestion(someNames[d.roll(len(someNames))], someTypes[d.roll(len(someTypes))])
			m.Id = uint16(d.roll(3))
			if d.roll(3) == 0 {
				m.SetEdns0(uint16(d.roll(256)*8), d.roll(2) == 0)
			}
			m.RecursionDesired = d.roll(8) != 7
			b := packed(t, m)
			if d.roll(16) == 15 {
				b[d.roll(len(b))] = byte(d.roll(256))
			}
			stream := d.roll(3) == 0
			if client++; stream && d.roll(2) == 0 && client > 1 && !w.gone[client-1] {
				client-- // one connection, several queries
			}
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 1, byte(1 + d.roll(3))}), uint16(1+d.roll(2)))
			w.step(Query{Client: client, From: from, Stream: stream, Payload: b})
		case 4, 5, 6:
			if a, has := w.some(&d); has {
				m := reply(t, a, []int{0, 0, 0, 3, 2, 5, 1}[d.roll(7)])
				for range d.roll(4) {
					owner := m.Question[0].Name
					if rr, err := dns.NewRR(owner + someRecords[d.roll(len(someRecords))]); err == nil {
						m.Answer = append(m.Answer, rr)
					}
				}
				m.Truncated = d.roll(8) == 7
				if d.roll(8) == 7 {
					m.Id++
				}
				b := packed(t, m)
				if d.roll(8) == 7 {
					b[d.roll(len(b))] = byte(d.roll(256))
				}
				w.step(Reply{Ask: a.ID, From: a.Server, Payload: b})
			}
		case 7:
			if a, has := w.some(&d); has {
				w.step(AskFailed{Ask: a.ID})
			}
		case 8:
			c := ClientID(d.roll(int(client) + 1))
			due := w.state[c]
			w.step(Gone{c})
			w.gone[c] = w.state[c] == 0 && due > 0
		case 9:
			name := Name{Source: fmt.Sprint([]string{"lease ", "reservation "}[d.roll(2)], d.roll(4)), Addr: packet.Addr(0xc0a80100 + d.roll(8))}
			name.Name = []string{"", "printer", "Host1", "nas", "alias", "wpad"}[d.roll(6)]
			w.step(name)
		case 10:
			if d.roll(4) == 0 {
				c := someConfig(&d)
				c.MaxQueries, c.MaxWaiting = w.m.cfg.MaxQueries, w.m.cfg.MaxWaiting // smaller ones are for what comes then
				w.step(Configure{c})
				for a := range w.down {
					if w.m.servers[a] == nil {
						delete(w.down, a)
					}
				}
			} else {
				w.step(Flush{[]string{"", "a.example.com", "printer"}[d.roll(3)]})
			}
		case 11:
			w.now = w.now.Add(time.Duration(d.roll(256)) * 20 * time.Millisecond)
			w.step(Tick{})
		}
	}
	for n := 0; !w.m.Next().IsZero(); n++ {
		if n > 10000 {
			t.Fatal("the machine never comes to rest")
		}
		w.now = w.m.Next()
		w.step(Tick{})
	}
	for c, due := range w.state {
		if due != 0 {
			t.Fatalf("client %d waits for %d answers for ever", c, due)
		}
	}
	if len(w.open) != 0 || len(w.m.asks) != 0 || len(w.m.flights) != 0 || len(w.m.streams) != 0 {
		t.Fatalf("%d asks are never done", len(w.open))
	}
}

// some is one of the open asks.
func (w *watcher) some(d *dice) (Ask, bool) {
	n := d.roll(8)
	for id := AskID(1); id <= w.m.lastAsk; id++ {
		if a, has := w.open[id]; has {
			if n--; n < 0 || len(w.open) == 1 {
				return a, true
			}
		}
	}
	return Ask{}, false
}

func TestRandomEventsKeepTheMachineWhole(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 7))
		d := make(dice, 2000)
		for i := 0; i+8 <= len(d); i += 8 {
			binary.LittleEndian.PutUint64(d[i:], rng.Uint64())
		}
		play(t, d)
	}
}

func FuzzEvents(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 7))
	for range 8 {
		d := make([]byte, 400)
		for i := range d {
			d[i] = byte(rng.Uint32())
		}
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, b []byte) { play(t, b[:min(len(b), 4096)]) })
}
