package conntrack

import (
	"testing"

	"vrouterd/internal/packet"
)

// FuzzSegments does what the fuzzer says to a few TCP connections. Whatever that is: what is refused changes nothing, what
// passes leaves a state that there is, a half-open session is one that is counted, pages show what there is, and each
// session that ended has been told of once.
func FuzzSegments(f *testing.F) {
	f.Add([]byte{0, 2, 0, 0, 1, 18, 0, 1, 0, 16, 1, 1, 0, 17, 1, 1, 1, 17, 1, 2, 0, 16, 2, 2}, uint8(0))
	f.Add([]byte{4, 2, 0, 0, 5, 20, 0, 1, 4, 2, 9, 9, 8, 1, 0, 0}, uint8(1))
	f.Add([]byte{0, 16, 0, 0, 1, 4, 3, 3, 0, 2, 200, 200, 1, 18, 9, 201, 24, 0, 0, 0}, uint8(6))
	f.Add([]byte{0, 2, 0, 0, 16, 9, 0, 0, 0, 2, 0, 0, 32, 0, 0, 0, 0, 2, 0, 0}, uint8(3))
	f.Add([]byte("8B00\x9fB00ZB00"), uint8(14)) // the third opening from outside displaces the first
	f.Fuzz(func(t *testing.T, script []byte, mode uint8) {
		c := Config{Max: 5, MaxPerHost: 4, MaxHalfOpen: 2, Loose: mode&4 != 0, Window: WindowMode(mode&3) % 3,
			Timeouts: Timeouts{TCPTransitory: 80, TCPReset: 40, TCPEstablished: 800}}
		w := newWorld(t, c)
		told := 0
		w.table.ended = func(Tick, *Session) { told++ }
		for ; len(script) >= 4; script = script[4:] {
			w.fuzzStep(script[0], script[1], script[2], script[3])
		}
		w.consistent()
		w.pass(100000)
		if counts := w.table.Counts(); w.table.Len() != 0 || counts.HalfOpen != 0 || told != int(counts.Created) ||
			counts.Created != counts.Expired+counts.Removed+counts.Displaced || w.table.HostSessions(client) != 0 {
			t.Fatalf("%d sessions are left, %d were told of: %+v", w.table.Len(), told, counts)
		}
	})
}

// fuzzStep does one thing: a segment of a connection, or with the upper bits of what, something else.
func (w *world) fuzzStep(what, flags, seq, ack byte) {
	k := MakeKey(protocolTCP, client, uint16(what>>1&7)+1, server, 80)
	found, _ := w.table.Find(w.now, &k)
	switch what >> 4 {
	case 1:
		w.pass(Tick(flags) * 8)
		return
	case 2:
		if found != nil {
			w.table.Remove(w.now, found)
		}
		return
	}
	d := Direction(what & 1)
	if d == Reply {
		k = k.Reverse()
	}
	// Numbers are near the beginning of the space, sometimes far away.
	number := func(b byte) uint32 { return uint32(int32(int8(b))) * [4]uint32{1, 1000, 1 << 20, 1 << 24}[flags>>6] }
	ip := ip4(protocolTCP, k.Src, k.Dst, tcp(k.SrcPort, k.DstPort, flags&31, []byte{3, 3, seq & 15, 0}, int(ack)%7))
	p := parse(ip)
	p.Seq, p.Ack = number(seq), number(ack)
	if p.Class == ClassInvalid {
		return
	}
	if found == nil {
		n := New{Original: k, Reply: k.Reverse(), Flags: Flags(what>>3&1) * FromOutside, Inside: client}
		w.table.Create(w.now, &n, &p)
		return
	}
	_, d = w.table.Find(w.now, &k)
	before, refused := found.word.Load(), w.table.Counts().Refused
	r := found.Update(w.table, w.now, d, &p, false)
	after := found.word.Load()
	switch {
	case r != ReasonNone && (after != before || w.table.Counts().Refused[r] != refused[r]+1):
		w.t.Fatalf("%v changed the session from %x to %x, or was not counted", r, before, after)
	case after&(locked|alive) != alive:
		w.t.Fatalf("the word is %x", after)
	case found.State() < SynSent || found.State() >= NumStates:
		w.t.Fatalf("state %d", found.State())
	}
	if s := found.State(); r == ReasonNone && after&endedMask == 0 && (s == FinWait || s == CloseWait || s == LastAck || s == Reset) {
		w.t.Fatalf("nobody has ended, and still it is %v", s)
	}
	if p.Flags&packet.TCPRst != 0 && r == ReasonNone && w.table.settings.Load().window != WindowOff &&
		before&phaseMask == uint32(tcpPhase(Established)) && !found.resetFits(d, &p) {
		w.t.Fatalf("a reset from outside of the window: %+v", p)
	}
}

// consistent holds Len, the pages and the counters against each other.
func (w *world) consistent() {
	w.now = w.now&^7 + 8
	w.rest()
	w.expire()
	open := 0
	page := w.page(Filter{Test: func(s *Session) bool {
		if s.word.Load()&halfOpen != 0 {
			open++
		}
		return true
	}})
	if c := w.table.Counts(); len(page) != w.table.Len() || c.ByProtocol[protocolTCP] != len(page) || c.HalfOpen != open {
		w.t.Fatalf("%d on the pages, %d sessions, %d of TCP, %d half open of %d", len(page), w.table.Len(), c.ByProtocol[protocolTCP], open, c.HalfOpen)
	}
	for _, i := range page {
		for d, k := range []Key{i.Original, i.Reply} {
			if s, direction := w.table.Find(w.now, &k); s == nil || int(direction) != d {
				w.t.Fatalf("%+v is on a page and cannot be found", k)
			}
		}
	}
}
