package conntrack

import (
	"testing"
	"unsafe"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// world is a table with a reader that is inside a read section.
type world struct {
	t     *testing.T
	table *Table
	d     *rcu.Domain
	r     *rcu.Reader
	now   Tick
	ended map[Key]int // calls of Ended, by original key
}

func newWorld(t *testing.T, c Config) *world {
	t.Helper()
	w := &world{t: t, d: rcu.NewDomain(), now: 1000, ended: map[Key]int{}}
	w.r = w.d.Register()
	w.table = NewTable(c, 1, w.d, func(now Tick, s *Session) { w.ended[s.Key(Original)]++ })
	w.d.Enter(w.r)
	return w
}

// rest leaves the read section and enters it again.
func (w *world) rest() {
	w.d.Exit(w.r)
	w.d.Enter(w.r)
}

// pass lets time pass, and Expire do its work.
func (w *world) pass(ticks Tick) (removed int) {
	w.now += ticks
	w.rest()
	return w.expire()
}

func (w *world) expire() (removed int) {
	for {
		n, next := w.table.Expire(w.now, 1000)
		removed += n
		if next != w.now {
			return removed
		}
	}
}

// page is all sessions that match.
func (w *world) page(f Filter) (all []Info) {
	w.d.Exit(w.r)
	defer w.d.Enter(w.r)
	for cursor := uint64(0); ; {
		var some []Info
		some, cursor = w.table.Page(w.r, w.now, f, cursor, 100)
		all = append(all, some...)
		if cursor == 0 {
			return all
		}
	}
}

const (
	client = packet.Addr(0x0a000001)
	server = packet.Addr(0xcb007101)
	public = packet.Addr(0xc6336401)
)

func udpKey(i int) Key {
	return MakeKey(protocolUDP, client+packet.Addr(i>>15), uint16(i&0x7fff)+1, server, 53)
}

func datagram(k Key) *Parsed {
	return &Parsed{Key: k, Class: ClassOpens, Payload: 72, Length: 100, Count: 1}
}

// open makes a plain session and fails if it cannot.
func (w *world) open(n New, p *Parsed) *Session {
	w.t.Helper()
	s, r := w.table.Create(w.now, &n, p)
	if r != ReasonNone {
		w.t.Fatalf("expected a session for %+v, got %v", n.Original, r)
	}
	return s
}

func (w *world) openUDP(i int) *Session {
	w.t.Helper()
	k := udpKey(i)
	return w.open(New{Original: k, Reply: k.Reverse(), In: 1, Out: 2}, datagram(k))
}

func TestSessionIs112OctetsWithoutPointers(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n != 112 {
		t.Errorf("a session has %d octets", n)
	}
}

func TestBothDirectionsFindTheSession(t *testing.T) {
	w := newWorld(t, Config{})
	k := MakeKey(protocolUDP, client, 4000, server, 53)
	reply := MakeKey(protocolUDP, server, 53, public, 61000)
	s := w.open(New{Original: k, Reply: reply, Flags: SourceTranslated, In: 3, Out: 4, NATRule: 5, Rule: 6}, datagram(k))
	for d, key := range []Key{k, reply} {
		found, direction := w.table.Find(w.now, &key)
		if found != s || direction != Direction(d) || s.Key(Direction(d)) != key {
			t.Errorf("direction %d: found %p, direction %d, expected %p", d, found, direction, s)
		}
	}
	for _, key := range []Key{k.Reverse(), reply.Reverse(), MakeKey(protocolTCP, client, 4000, server, 53)} {
		if found, _ := w.table.Find(w.now, &key); found != nil {
			t.Errorf("%+v is no key of it", key)
		}
	}
	if in, out := s.Ports(); in != 3 || out != 4 {
		t.Errorf("ports %d and %d", in, out)
	}
	if rule, nat := s.Rules(); rule != 6 || nat != 5 {
		t.Errorf("rules %d and %d", rule, nat)
	}
	if s.Flags() != SourceTranslated || s.State() != Unreplied {
		t.Errorf("flags %b, state %v", s.Flags(), s.State())
	}
}

func TestSecondWorkerGetsTheSessionOfTheFirst(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.openUDP(1)
	k := udpKey(1)
	n := New{Original: k, Reply: k.Reverse()}
	again, r := w.table.Create(w.now, &n, datagram(k))
	if again != s || r != ReasonNone || !n.Existed || w.table.Len() != 1 {
		t.Errorf("got %p for %p, %v, existed %v, %d sessions", again, s, r, n.Existed, w.table.Len())
	}
	if i := w.page(Filter{}); len(i) != 1 || i[0].Packets[Original] != 2 || i[0].Bytes[Original] != 200 {
		t.Errorf("the second packet was not counted: %+v", i)
	}
}

func TestClashingKeysAreRefused(t *testing.T) {
	w := newWorld(t, Config{})
	k := MakeKey(protocolUDP, client, 4000, server, 53)
	reply := MakeKey(protocolUDP, server, 53, public, 61000)
	w.open(New{Original: k, Reply: reply}, datagram(k))
	other := MakeKey(protocolUDP, client+1, 4000, server, 53)
	for _, n := range []New{{Original: other, Reply: reply}, {Original: reply, Reply: other}, {Original: other, Reply: k}} {
		if s, r := w.table.Create(w.now, &n, datagram(n.Original)); s != nil || r != ReasonClash {
			t.Errorf("%+v: got %v", n, r)
		}
	}
	if c := w.table.Counts(); c.Refused[ReasonClash] != 3 || c.Created != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestPortsOfASessionWhoseTimeIsOverAreFree(t *testing.T) {
	w := newWorld(t, Config{})
	k := MakeKey(protocolUDP, client, 4000, server, 53)
	reply := MakeKey(protocolUDP, server, 53, public, 61000)
	w.open(New{Original: k, Reply: reply}, datagram(k))
	w.now += 3000
	if s, _ := w.table.Find(w.now, &k); s != nil {
		t.Error("its time is over, and still it is found")
	}
	other := MakeKey(protocolUDP, client+1, 4000, server, 53)
	s := w.open(New{Original: other, Reply: reply}, datagram(other))
	if found, d := w.table.Find(w.now, &reply); found != s || d != Reply {
		t.Error("the new one is not found")
	}
	if w.table.Len() != 1 || w.ended[k] != 1 {
		t.Errorf("%d sessions, ended %d times", w.table.Len(), w.ended[k])
	}
	if n := w.pass(3000); n != 1 || w.table.Len() != 0 || w.ended[other] != 1 {
		t.Errorf("%d expired, %d are left", n, w.table.Len())
	}
}

func TestKeysThatAreEqualInBothDirectionsMakeOneSession(t *testing.T) {
	w := newWorld(t, Config{})
	k := MakeKey(protocolUDP, client, 500, client, 500)
	s := w.open(New{Original: k, Reply: k}, datagram(k))
	if found, d := w.table.Find(w.now, &k); found != s || d != Original {
		t.Error("not found")
	}
	if !w.table.Remove(w.now, s) || w.table.Remove(w.now, s) {
		t.Error("it ends once")
	}
	if found, _ := w.table.Find(w.now, &k); found != nil || w.table.Len() != 0 {
		t.Error("it is still there")
	}
}

func TestSessionsExpireByTheTimeOfTheirState(t *testing.T) {
	w := newWorld(t, Config{Timeouts: Timeouts{UDPUnreplied: 300, UDP: 3000}})
	a, b := w.openUDP(1), w.openUDP(2)
	w.now += 100
	p := datagram(udpKey(2).Reverse())
	if r := b.Update(w.table, w.now, Reply, p, false); r != ReasonNone || b.State() != Replied || a.State() != Unreplied {
		t.Fatalf("%v, %v, %v", r, b.State(), a.State())
	}
	if n := w.pass(199); n != 0 {
		t.Errorf("%d expired before their time", n)
	}
	if n := w.pass(10); n != 1 || w.ended[udpKey(1)] != 1 {
		t.Errorf("%d expired, expected the unreplied one", n)
	}
	if n := w.pass(2780); n != 0 {
		t.Errorf("%d expired before their time", n)
	}
	if n := w.pass(30); n != 1 || w.table.Len() != 0 {
		t.Errorf("%d expired, expected the replied one", n)
	}
}

func TestNewTimeoutsHoldForSessionsThatExist(t *testing.T) {
	w := newWorld(t, Config{})
	w.openUDP(1)
	w.pass(500)
	w.table.Configure(Config{Timeouts: Timeouts{UDPUnreplied: 400}})
	k := udpKey(1)
	if s, _ := w.table.Find(w.now, &k); s != nil {
		t.Error("its time is over now")
	}
	if n := w.expire(); n != 1 {
		t.Errorf("%d expired", n)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, Config{Max: 20, MaxPerHost: 5, MaxHalfOpen: 3})
	create := func(k Key, flags Flags, inside packet.Addr, p *Parsed) Reason {
		n := New{Original: k, Reply: k.Reverse(), Flags: flags, Inside: inside}
		_, r := w.table.Create(w.now, &n, p)
		return r
	}
	for i := range 7 {
		k := udpKey(i)
		want := ReasonNone
		if i >= 5 {
			want = ReasonHostLimit
		}
		if r := create(k, 0, client, datagram(k)); r != want {
			t.Errorf("session %d of a host: %v", i, r)
		}
	}
	for i := range 5 {
		k := MakeKey(protocolTCP, server, uint16(i+1), client, 80)
		if r := create(k, FromOutside, 0, syn(k, 1)); r != ReasonNone {
			t.Errorf("opening %d from outside: %v", i, r)
		}
	}
	for i := range 15 {
		k := udpKey(100 + i)
		want := ReasonNone
		if i >= 12 {
			want = ReasonTableFull
		}
		if r := create(k, 0, 0, datagram(k)); r != want {
			t.Errorf("session %d: %v", i, r)
		}
	}
	if w.table.Len() != 20 || w.table.HostSessions(client) != 5 || w.table.Counts().HalfOpen != 3 {
		t.Errorf("%d sessions, %d of the host, %d half open", w.table.Len(), w.table.HostSessions(client), w.table.Counts().HalfOpen)
	}
	if n := w.pass(100000); n != 20 || w.table.Len() != 0 || w.table.HostSessions(client) != 0 || w.table.Counts().HalfOpen != 0 {
		t.Errorf("%d expired, %d are left, %d of the host, %d half open", n, w.table.Len(), w.table.HostSessions(client), w.table.Counts().HalfOpen)
	}
}

func TestMillionSessionsAndThenRefusals(t *testing.T) {
	const most = 1_000_000
	w := newWorld(t, Config{Max: most})
	told := 0
	w.table.ended = func(Tick, *Session) { told++ }
	for i := range most {
		w.openUDP(i)
	}
	if per := float64(w.table.Bytes()) / most; per > 128 {
		t.Errorf("%.1f octets a session", per)
	}
	held := w.table.Bytes()
	for i := range 1000 {
		k := udpKey(most + i)
		if _, r := w.table.Create(w.now, &New{Original: k, Reply: k.Reverse()}, datagram(k)); r != ReasonTableFull {
			t.Fatalf("expected a refusal, got %v", r)
		}
	}
	if n := w.table.Counts().Refused[ReasonTableFull]; n != 1000 {
		t.Errorf("%d refusals were counted", n)
	}
	for i := 0; i < most; i += 7 {
		k := udpKey(i)
		if s, _ := w.table.Find(w.now, &k); s == nil {
			t.Fatalf("session %d is gone", i)
		}
	}
	if n := w.pass(3010); n != most || w.table.Len() != 0 || told != most {
		t.Errorf("%d of %d expired, %d are left, %d were told of", n, most, w.table.Len(), told)
	}
	w.rest()
	w.expire()
	for i := range most / 10 {
		w.openUDP(2*most + i)
		if i%1000 == 0 {
			w.rest()
		}
	}
	if n := w.table.Bytes(); n != held {
		t.Errorf("with new sessions it takes %d octets, the first million took %d", n, held)
	}
}
