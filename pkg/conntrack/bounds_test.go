package conntrack

import (
	"testing"

	"vrouterd/internal/packet"
)

// TestLiveSessionsSurviveFloods: a SYN flood and a scan from outside, a storm of RST and FIN at a live connection, and datagrams from one
// inside host: all bounded and counted, and the connection goes on.
func TestLiveSessionsSurviveFloods(t *testing.T) {
	w := newWorld(t, Config{Max: 2000, MaxPerHost: 500, MaxHalfOpen: 100})
	c := w.connection(0)
	c.dialogue(handshake)
	for i := range 5000 {
		k := MakeKey(protocolTCP, server+packet.Addr(i), uint16(i+1), public, 22)
		w.table.Create(w.now, &New{Original: k, Reply: k.Reverse(), Flags: FromOutside}, syn(k, 1))
		u := udpKey(i)
		w.table.Create(w.now, &New{Original: u, Reply: u.Reverse(), Inside: u.Src}, datagram(u))
		for _, flags := range []uint8{packet.TCPRst, packet.TCPFin | packet.TCPAck} {
			c.s.Update(w.table, w.now, Reply, segment(c.key.Reverse(), flags, uint32(i)*850000+100000, uint32(i), 0), false)
		}
	}
	counts := w.table.Counts()
	if w.table.Len() != 601 || counts.HalfOpen != 100 || counts.Displaced != 4900 || counts.Refused[ReasonHostLimit] != 4500 ||
		counts.Refused[ReasonTCPWindow] < 4990 {
		t.Errorf("%d sessions, %+v", w.table.Len(), counts)
	}
	c.dialogue("> ack seq=1 ack=1 len=10 -> established\n< ack seq=1 ack=11 -> established")
}

// TestStrayTrafficFromOutsideDoesNotKeepAConnectionAlive: what lies outside of the windows passes in liberal mode, but gives more time only
// where it comes from inside.
func TestStrayTrafficFromOutsideDoesNotKeepAConnectionAlive(t *testing.T) {
	for _, c := range []struct {
		line string
		want bool
	}{{"< ack seq=900000 ack=1", false}, {"> ack seq=900000 ack=1", true}} {
		w := newWorld(t, Config{Timeouts: Timeouts{TCPEstablished: 1000}})
		x := w.connection(0)
		x.dialogue(handshake)
		w.now += 900
		x.dialogue(c.line + " -> established")
		w.now += 900
		if s, _ := w.table.Find(w.now, &x.key); (s != nil) != c.want {
			t.Errorf("%s: alive %v", c.line, s != nil)
		}
	}
}

func TestPagesShowWhatLivesThroughoutExactlyOnce(t *testing.T) {
	w := newWorld(t, Config{})
	const stay = 3000
	for i := range stay {
		w.openUDP(i)
		w.openUDP(stay + i)
	}
	seen := map[Key]int{}
	removed, added := 0, 2*stay
	w.d.Exit(w.r)
	for cursor := uint64(0); ; {
		var page []Info
		page, cursor = w.table.Page(w.r, w.now, Filter{}, cursor, 37)
		if len(page) > 37 {
			t.Fatalf("%d on a page", len(page))
		}
		for _, i := range page {
			seen[i.Original]++
		}
		if cursor == 0 {
			break
		}
		w.d.Enter(w.r)
		for range 10 {
			k := udpKey(stay + removed)
			if s, _ := w.table.Find(w.now, &k); s != nil {
				w.table.Remove(w.now, s)
			}
			removed++
			w.openUDP(added)
			added++
		}
		w.d.Exit(w.r)
	}
	for i := range stay {
		if n := seen[udpKey(i)]; n != 1 {
			t.Fatalf("session %d was seen %d times", i, n)
		}
	}
}

func TestPagesAndFlushGoByTheFilter(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 10 {
		w.openUDP(i)
	}
	k := MakeKey(protocolTCP, client+7, 4000, server, 443)
	w.open(New{Original: k, Reply: MakeKey(protocolTCP, server, 443, public, 61000), Flags: SourceTranslated}, syn(k, 1))
	for _, c := range []struct {
		what string
		f    Filter
		want int
	}{
		{"all", Filter{}, 11},
		{"UDP", Filter{Protocol: protocolUDP}, 10},
		{"an inside address", Filter{Address: client + 7}, 1},
		{"an outside address", Filter{Address: public}, 1},
		{"a server", Filter{Address: server}, 11},
		{"a port", Filter{Port: 443}, 1},
		{"a translated port", Filter{Port: 61000}, 1},
		{"NAT", Filter{NATOnly: true}, 1},
		{"NAT of UDP", Filter{NATOnly: true, Protocol: protocolUDP}, 0},
		{"a test", Filter{Test: func(s *Session) bool { return s.Key(Original).SrcPort <= 3 }}, 3},
	} {
		if n := len(w.page(c.f)); n != c.want {
			t.Errorf("%s: %d sessions, expected %d", c.what, n, c.want)
		}
	}
	w.d.Exit(w.r)
	n := w.table.Flush(w.r, w.now, Filter{Protocol: protocolUDP})
	w.d.Enter(w.r)
	if n != 10 || w.table.Len() != 1 || w.table.Counts().Removed != 10 || len(w.ended) != 10 {
		t.Errorf("%d flushed, %d are left, %d were told of", n, w.table.Len(), len(w.ended))
	}
}

// TestEntriesRestWhileSomebodyMayHoldThem: what a reader has found stays what it is until the reader leaves its section.
func TestEntriesRestWhileSomebodyMayHoldThem(t *testing.T) {
	w := newWorld(t, Config{Max: 100})
	s := w.openUDP(1)
	creator := w.d.Register()
	w.table.Remove(w.now, s)
	for i := range 3 * chunkSize {
		w.d.Enter(creator)
		k := udpKey(100 + i)
		if other, r := w.table.Create(w.now, &New{Original: k, Reply: k.Reverse()}, datagram(k)); r == ReasonNone {
			if other == s {
				t.Fatal("the entry was used again under its reader")
			}
			w.table.Remove(w.now, other)
		}
		w.d.Exit(creator)
	}
	if s.Key(Original) != udpKey(1) {
		t.Error("the entry is another session")
	}
	held := w.table.Bytes()
	w.rest()
	for i := range 3 * chunkSize {
		w.d.Enter(creator)
		k := udpKey(100 + i)
		other, r := w.table.Create(w.now, &New{Original: k, Reply: k.Reverse()}, datagram(k))
		if r != ReasonNone {
			t.Fatalf("session %d, when nobody holds anything: %v", i, r)
		}
		w.table.Remove(w.now, other)
		w.d.Exit(creator)
		w.rest()
	}
	if n := w.table.Bytes(); n > held {
		t.Errorf("%d octets, %d before: nothing was used again", n, held)
	}
}

func TestExpireKeepsToItsBudget(t *testing.T) {
	w := newWorld(t, Config{Timeouts: Timeouts{UDPUnreplied: 80}})
	for i := range 1000 {
		w.openUDP(i)
	}
	w.now += 88
	for left := 1000; left > 0; {
		n, next := w.table.Expire(w.now, 30)
		if n > 30 || n == 0 {
			t.Fatalf("%d expired", n)
		}
		if left -= n; left > 0 && next != w.now {
			t.Fatalf("%d are left, and it wants to be called at %d, not at once", left, next)
		}
	}
	if n, next := w.table.Expire(w.now, 30); n != 0 || next <= w.now {
		t.Errorf("%d expired, next at %d of %d", n, next, w.now)
	}
}

func TestWindowsAreRoundedUpAndByLittle(t *testing.T) {
	for scale := range uint8(maxScale + 1) {
		for units := range uint32(1 << 16) {
			got := makeWindow(units<<scale, scale)
			if got.scale() != scale || got.octets() < units<<scale || got.octets() > (units+15)<<scale {
				t.Fatalf("%d units of 1<<%d: %d octets, scale %d", units, scale, got.octets(), got.scale())
			}
		}
	}
}
