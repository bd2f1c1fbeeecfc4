package router

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func TestHelpersOfSessionsThatAreOverMakeRoom(t *testing.T) {
	var h helpers
	live := map[conntrack.Key]bool{}
	session := func(n int) *conntrack.Info {
		k := conntrack.MakeKey(packet.ProtoTCP, 0xc0a80102, uint16(n+1), 0xc6336401, 21)
		return &conntrack.Info{Original: k, Reply: k.Reverse()}
	}
	lives := func(k *conntrack.Key) bool { return live[*k] }
	for n := range maxHelped {
		live[session(n).Original] = true
		if h.of(100, session(n)) == nil {
			t.Fatalf("no room for number %d", n)
		}
	}
	if h.of(100, session(maxHelped)) != nil {
		t.Fatal("more than there may be")
	}
	delete(live, session(7).Original)
	h.expire(200, lives)
	if h.of(200, session(maxHelped)) == nil || h.of(200, session(8)) == nil {
		t.Error("no room, though one is over")
	}
	if len(h.ftp) != maxHelped {
		t.Errorf("%d helpers", len(h.ftp))
	}
}
