package conntrack

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vrouterd/internal/packet"
)

// twin is the table as one would write it without any care for speed: a map of both keys. It knows datagrams, queries and other
// protocols; the life of TCP has its own tests.
type twin struct {
	c     Config
	keys  map[Key]*twinSession
	hosts map[packet.Addr]int
	live  int
}

type twinSession struct {
	new       New
	replied   bool
	refreshed Tick
	packets   [2]uint64
}

func (t *twin) timeout(s *twinSession) Tick {
	switch s.new.Original.Protocol {
	case protocolUDP:
		if s.replied {
			return t.c.Timeouts.UDP
		}
		return t.c.Timeouts.UDPUnreplied
	case protocolICMP:
		return t.c.Timeouts.ICMP
	}
	return t.c.Timeouts.Other
}

func (t *twin) over(now Tick, s *twinSession) bool { return now >= s.refreshed+t.timeout(s) }

func (t *twin) find(now Tick, k Key) (*twinSession, Direction) {
	s := t.keys[k]
	if s == nil || t.over(now, s) {
		return nil, Original
	}
	if s.new.Original == k {
		return s, Original
	}
	return s, Reply
}

func (t *twin) remove(s *twinSession) {
	delete(t.keys, s.new.Original)
	delete(t.keys, s.new.Reply)
	t.live--
	if s.new.Inside != 0 {
		t.hosts[s.new.Inside]--
	}
}

func (t *twin) create(now Tick, n New) (*twinSession, Reason) {
	for _, k := range []Key{n.Original, n.Reply} {
		s := t.keys[k]
		switch {
		case s == nil:
		case t.over(now, s):
			t.remove(s)
		case k == n.Original && s.new.Original == k:
			s.update(now, Original)
			return s, ReasonNone
		default:
			return nil, ReasonClash
		}
	}
	switch {
	case t.live >= t.c.Max, n.Flags&FromOutside != 0 && t.live >= t.c.Max-t.c.Max/8:
		return nil, ReasonTableFull
	case n.Inside != 0 && t.c.MaxPerHost > 0 && t.hosts[n.Inside] >= t.c.MaxPerHost:
		return nil, ReasonHostLimit
	}
	s := &twinSession{new: n, refreshed: now, packets: [2]uint64{1, 0}}
	t.keys[n.Original], t.keys[n.Reply] = s, s
	t.live++
	if n.Inside != 0 {
		t.hosts[n.Inside]++
	}
	return s, ReasonNone
}

func (s *twinSession) update(now Tick, d Direction) {
	s.packets[d]++
	if d == Reply || s.new.Flags&FromOutside == 0 {
		s.refreshed = now
	}
	if d == Reply {
		s.replied = true
	}
}

func (t *twin) expire(now Tick) (n int) {
	for {
		var due *twinSession
		for _, s := range t.keys {
			if t.over(now, s) {
				due = s
				break
			}
		}
		if due == nil {
			return n
		}
		t.remove(due)
		n++
	}
}

// TestTableDoesWhatItsTwinDoes lets both do the same random things and compares all that can be seen.
func TestTableDoesWhatItsTwinDoes(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { runTwin(t, seed, 6000) })
	}
}

func runTwin(t *testing.T, seed uint64, rounds int) {
	random := rand.New(rand.NewPCG(seed, 99))
	timeouts := func() Timeouts {
		tick := func() Tick { return Tick(random.IntN(1000) + 1) }
		return Timeouts{UDP: tick(), UDPUnreplied: tick(), ICMP: tick(), Other: tick()}
	}
	c := Config{Max: 60 + random.IntN(200), MaxPerHost: random.IntN(3) * 20, Timeouts: timeouts()}
	w := newWorld(t, c)
	w.now = Tick(random.Uint32()) &^ 7 >> 1 &^ 7 // buckets of the wheel end at multiples of 8
	other := &twin{c: c, keys: map[Key]*twinSession{}, hosts: map[packet.Addr]int{}}
	key := func() Key {
		protocol := []uint8{protocolUDP, protocolUDP, protocolICMP, 47}[random.IntN(4)]
		a, b := client+packet.Addr(random.IntN(4)), server+packet.Addr(random.IntN(3))
		if random.IntN(8) == 0 {
			a, b = b, a
		}
		switch protocol {
		case protocolUDP:
			return MakeKey(protocol, a, uint16(random.IntN(20)+1), b, uint16(random.IntN(2)+1))
		case protocolICMP:
			return MakeKey(protocol, a, uint16(random.IntN(20)+1), b, 0)
		}
		return MakeKey(protocol, a, 0, b, 0)
	}
	parsed := func(k Key, d Direction) *Parsed {
		return &Parsed{Key: k, Class: ClassOpens, ICMPType: 8 * (1 - uint8(d)), Count: 1, Length: 10}
	}
	for round := range rounds {
		switch what := random.IntN(20); {
		case what < 7:
			n := New{Original: key(), Flags: Flags(random.IntN(2)) * FromOutside}
			n.Reply = n.Original.Reverse()
			if random.IntN(2) == 0 {
				n.Reply.Dst = public
				n.Flags |= SourceTranslated
			}
			if random.IntN(2) == 0 {
				n.Inside = n.Original.Src
			}
			s, r := w.table.Create(w.now, &n, parsed(n.Original, Original))
			theirs, want := other.create(w.now, n)
			if r != want || (s == nil) != (theirs == nil) || s != nil && s.Key(Reply) != theirs.new.Reply {
				t.Fatalf("round %d: Create %+v: %v, the twin says %v", round, n, r, want)
			}
		case what < 16:
			k := key()
			if random.IntN(2) == 0 {
				k = k.Reverse()
			}
			if random.IntN(3) == 0 {
				k.Dst = public
			}
			s, d := w.table.Find(w.now, &k)
			theirs, want := other.find(w.now, k)
			if (s == nil) != (theirs == nil) || d != want {
				t.Fatalf("round %d: Find %+v: %v and %d, the twin says %v and %d", round, k, s != nil, d, theirs != nil, want)
			}
			if s == nil {
				continue
			}
			if random.IntN(10) == 0 {
				w.table.Remove(w.now, s)
				other.remove(theirs)
				continue
			}
			if r := s.Update(w.table, w.now, d, parsed(k, d), false); r != ReasonNone {
				t.Fatalf("round %d: Update: %v", round, r)
			}
			theirs.update(w.now, d)
		case what < 18:
			w.now += Tick(random.IntN(random.IntN(200)+1)) * 8
			if random.IntN(50) == 0 {
				w.now += 8 * 600
			}
			w.rest()
			if n, want := w.expire(), other.expire(w.now); n != want {
				t.Fatalf("round %d: %d expired, the twin says %d", round, n, want)
			}
		case what < 19 && random.IntN(20) == 0:
			c.Timeouts = timeouts()
			w.table.Configure(c)
			other.c = c
		case random.IntN(10) == 0:
			w.compare(other)
		}
		if w.table.Len() != other.live {
			t.Fatalf("round %d: %d sessions, the twin has %d", round, w.table.Len(), other.live)
		}
	}
	w.compare(other)
}

// compare holds all sessions against the twin's.
func (w *world) compare(other *twin) {
	w.t.Helper()
	live := 0
	for k, s := range other.keys {
		if k == s.new.Original && !other.over(w.now, s) {
			live++
		}
	}
	page := w.page(Filter{})
	if len(page) != live {
		w.t.Fatalf("%d sessions on the pages, the twin has %d", len(page), live)
	}
	for _, i := range page {
		s := other.keys[i.Original]
		if s == nil || i.Reply != s.new.Reply || i.Packets != s.packets || i.Flags != s.new.Flags || (i.State == Replied) != s.replied ||
			i.Expires != s.refreshed+other.timeout(s)-w.now {
			w.t.Fatalf("%+v, the twin has %+v", i, s)
		}
	}
	for a, n := range other.hosts {
		if got := w.table.HostSessions(a); got != n {
			w.t.Fatalf("%v has %d sessions, the twin says %d", a, got, n)
		}
	}
}

// TestEqualSeedsGiveEqualTables: the order of pages, which is that of the slab, and every answer.
func TestEqualSeedsGiveEqualTables(t *testing.T) {
	run := func(seed uint64) (pages []Info) {
		random := rand.New(rand.NewPCG(seed, 5))
		w := newWorld(t, Config{Timeouts: Timeouts{UDPUnreplied: 100}})
		for range 3000 {
			k := udpKey(random.IntN(500))
			w.table.Create(w.now, &New{Original: k, Reply: k.Reverse()}, datagram(k))
			if random.IntN(10) == 0 {
				w.pass(8)
			}
		}
		return w.page(Filter{})
	}
	a, b := run(3), run(3)
	if len(a) != len(b) || len(a) == 0 {
		t.Fatalf("%d and %d sessions", len(a), len(b))
	}
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("session %d: %+v and %+v", i, a[i], b[i])
		}
	}
}
