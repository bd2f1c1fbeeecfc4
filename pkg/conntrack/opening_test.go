package conntrack

import (
	"testing"

	"vrouterd/internal/packet"
)

// flood opens TCP sessions from as many addresses outside that never answer.
func (w *world) flood(from, n int) (refused int) {
	for i := from; i < from+n; i++ {
		k := MakeKey(protocolTCP, server+packet.Addr(i+1), 1000, client, 80)
		if _, r := w.table.Create(w.now, &New{Original: k, Reply: k.Reverse(), Flags: FromOutside}, syn(k, 1)); r != ReasonNone {
			refused++
		}
	}
	return refused
}

func (w *world) halfOpenAre(n int) {
	w.t.Helper()
	if got := w.table.Counts().HalfOpen; got != n {
		w.t.Errorf("%d half open, want %d", got, n)
	}
}

func TestFloodOfSYNsDisplacesTheOldestOpenings(t *testing.T) {
	w := newWorld(t, Config{MaxHalfOpen: 160})
	live := w.connection(FromOutside)
	live.dialogue(handshake)
	if n := w.flood(0, 5000); n != 0 {
		t.Errorf("%d openings were refused, although older ones might have made room", n)
	}
	w.halfOpenAre(160)
	if n := w.table.Counts().Displaced; n != 4840 {
		t.Errorf("%d were displaced", n)
	}
	if w.table.Len() != 161 || len(w.ended) != 4840 {
		t.Errorf("%d sessions, %d have ended", w.table.Len(), len(w.ended))
	}
	for i := range 5000 {
		k := MakeKey(protocolTCP, server+packet.Addr(i+1), 1000, client, 80)
		s, _ := w.table.Find(w.now, &k)
		if s == nil && i >= 4880 || s != nil && i < 4800 { // nearly in order: each of 16 rings is
			t.Fatalf("opening %d of 5000: found %v", i, s != nil)
		}
	}
	live.dialogue("> ack seq=1 ack=1 len=10 -> established\n< ack seq=1 ack=11 -> established")
}

// A connection amid the flood has as long to complete its handshake as the flood needs to fill the room for openings.
func TestConnectionOpensAmidAFloodOfSYNs(t *testing.T) {
	w := newWorld(t, Config{MaxHalfOpen: 160})
	w.flood(0, 1000)
	c := w.connection(FromOutside)
	w.flood(1000, 70)
	c.dialogue("< syn+ack ack=1 -> syn_received")
	w.flood(1070, 70)
	c.dialogue("> ack seq=1 ack=1 -> established")
	w.flood(1140, 1000)
	c.dialogue("> ack seq=1 ack=1 len=10 -> established\n< ack seq=1 ack=11 -> established")
	w.halfOpenAre(160)
}

func TestOpeningsFromOutsideCountUntilTheyAreEstablished(t *testing.T) {
	w := newWorld(t, Config{MaxHalfOpen: 1})
	c := w.connection(FromOutside)
	// A server answers every SYN, and resets a closed port's: neither shows that anybody is there who opens.
	c.dialogue("> rst seq=1 -> reset\n> syn seq=100 -> syn_sent\n> rst seq=101 -> reset\n> syn -> syn_sent\n< syn+ack ack=1 -> syn_received")
	w.halfOpenAre(1)
	c.dialogue("> ack seq=1 ack=1 -> established")
	w.halfOpenAre(0)
}

func TestConnectionThatOpensAgainIsAnOpening(t *testing.T) {
	w := newWorld(t, Config{MaxHalfOpen: 1})
	c := w.connection(FromOutside)
	c.dialogue(handshake)
	c.dialogue("> rst seq=1 -> reset")
	w.flood(0, 1)
	c.dialogue("> syn seq=100 -> ! half_open") // it was refused, and there is room now
	w.halfOpenAre(0)
	c.dialogue("> syn seq=100 -> syn_sent")
	w.halfOpenAre(1)
	w.flood(1, 1)
	w.halfOpenAre(1)
	if s, _ := w.table.Find(w.now, &c.key); s != nil {
		t.Error("it was not displaced")
	}
}

func TestOpeningsExpireAsOthersDo(t *testing.T) {
	w := newWorld(t, Config{Timeouts: Timeouts{TCPTransitory: 100, TCPEstablished: 1000}})
	w.flood(0, 50)
	c := w.connection(FromOutside)
	c.dialogue(handshake)
	w.pass(50)
	w.flood(50, 50)
	if n := w.pass(60); n != 50 {
		t.Errorf("%d of the first 50 expired", n)
	}
	if n := w.pass(60); n != 50 {
		t.Errorf("%d of the second 50 expired", n)
	}
	w.halfOpenAre(0)
	if n := w.pass(1000); n != 1 {
		t.Errorf("%d connections expired", n)
	}
}
