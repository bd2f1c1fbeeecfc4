package conntrack

import (
	"testing"

	"vrouterd/internal/packet"
)

func TestFloodFromOutsideLeavesRoomForInside(t *testing.T) {
	w := newWorld(t, Config{Max: 64})
	open := func(src packet.Addr, port uint16, flags Flags) Reason {
		k := MakeKey(protocolUDP, src, port, 0x08080808, 53)
		_, reason := w.table.Create(w.now, &New{Original: k, Reply: k.Reverse(), Flags: flags}, &Parsed{Key: k, Class: ClassOpens, Count: 1})
		return reason
	}
	for port := uint16(1); port <= 200; port++ {
		want := ReasonNone
		if port > 56 {
			want = ReasonTableFull
		}
		if got := open(0x01010101, port, FromOutside); got != want {
			t.Fatalf("from outside, number %d: %v", port, got)
		}
	}
	for port := uint16(1); port <= 8; port++ {
		if got := open(0x0a000001, port, 0); got != ReasonNone {
			t.Fatalf("from inside, number %d: %v", port, got)
		}
	}
	if got := open(0x0a000001, 9, 0); got != ReasonTableFull {
		t.Errorf("beyond Max: %v", got)
	}
}
