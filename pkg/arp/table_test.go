package arp

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// TestTransitionsAreThoseOfTheTable prints the state machine and holds it against
// testdata/transitions.txt, so that a change of it is seen as a change of behaviour. With
// UPDATE_GOLDEN=1 the file is written anew.
func TestTransitionsAreThoseOfTheTable(t *testing.T) {
	var b strings.Builder
	for s := range numStates {
		for in := range numInputs {
			if tr := transitions[s][in]; tr.do != 0 {
				fmt.Fprintf(&b, "%-10v  %-9v  ->  %-10v  %v\n", s, in, tr.next, tr.do)
			}
		}
	}
	path := filepath.Join("testdata", "transitions.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Fatalf("the table is now:\n%s\nexpected %s:\n%s", &b, path, want)
	}
}

// TestTwoRoutersKeepEachOtherResolved lets two machines talk for ten virtual minutes over a link
// that loses every seventh frame, with traffic all the time: the adjacency never goes.
func TestTwoRoutersKeepEachOtherResolved(t *testing.T) {
	addrs := [2]packet.Addr{addr("10.0.0.1"), addr("10.0.0.2")}
	macs := [2]packet.MAC{routerMAC, wanMAC}
	var ms [2]*Machine
	now := start
	type onWire struct {
		to    int
		frame []byte
	}
	var wire []onWire
	used := [2]bool{}
	bound := [2]bool{}
	frames, confirmed := 0, 0
	step := func(i int, ev Event) {
		for _, a := range ms[i].Step(now, ev) {
			switch a := a.(type) {
			case Send:
				if frames++; frames%7 != 0 {
					wire = append(wire, onWire{1 - i, append([]byte(nil), a.Frame...)})
				}
			case Bind:
				bound[i] = true
			case Unbind:
				t.Fatalf("router %d lost its adjacency after %v", i, now.Sub(start))
			case Watch:
				used[i] = true // traffic never ceases
			case Changed:
				if a.Old == StateProbe && a.New == StateReachable {
					confirmed++
				}
			}
		}
	}
	for i := range ms {
		ms[i] = New(Config{}, rand.New(rand.NewPCG(uint64(i), 5)))
		step(i, PortUp{Port: lan, MAC: macs[i], Addresses: prefixes(fmt.Sprintf("%v/24", addrs[i]))})
	}
	step(0, Resolve{lan, addrs[1], wait(1)})
	for now.Sub(start) < 10*time.Minute {
		for len(wire) > 0 {
			f := wire[0]
			wire = wire[1:]
			e := packet.Ethernet(f.frame)
			step(f.to, Frame{Port: lan, Src: e.Src(), Dst: e.Dst(), Payload: e.Payload()})
		}
		for i := range ms {
			if used[i] {
				used[i] = false
				step(i, Used{lan, addrs[1-i]})
			}
			step(i, Tick{})
		}
		now = now.Add(50 * time.Millisecond)
	}
	if !bound[0] || !bound[1] || confirmed < 20 {
		t.Fatalf("bound %v, confirmed %d times by probes, expected both and at least 20", bound, confirmed)
	}
}
