package simnet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// echo is a node of another kind than a router: it says a word every second and notes what it hears.
type echo struct {
	host  *Host[string]
	name  string
	next  time.Time
	heard []string
}

func (e *echo) note(now time.Time, format string, args ...any) {
	e.heard = append(e.heard, fmt.Sprintf("%s ", now.Format("05.000"))+fmt.Sprintf(format, args...))
}
func (e *echo) Up(now time.Time, port int)                { e.note(now, "up %d", port) }
func (e *echo) Down(now time.Time, port int)              { e.note(now, "down %d", port) }
func (e *echo) Receive(now time.Time, port int, m string) { e.note(now, "%s on %d", m, port) }
func (e *echo) Next() time.Time                           { return e.next }
func (e *echo) Tick(now time.Time) {
	e.next = now.Add(time.Second)
	e.host.Send(0, e.name)
}

// TestAWorldCarriesAnyMachine joins three nodes of that kind.
func TestAWorldCarriesAnyMachine(t *testing.T) {
	w := New[string](1)
	var nodes []*echo
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, &echo{host: w.Host(), name: name})
	}
	l := w.Connect(20*time.Millisecond, nodes[0].host, nodes[1].host, nodes[2].host)
	for i, n := range nodes {
		if i == 0 {
			n.next = w.Now.Add(time.Second)
		}
		n.host.Start(n)
	}
	expect := func(n *echo, want ...string) {
		t.Helper()
		if !slices.Equal(n.heard, want) {
			t.Fatalf("%s heard\n%s\nexpected\n%s", n.name, strings.Join(n.heard, "\n"), strings.Join(want, "\n"))
		}
		n.heard = nil
	}
	w.Run(1500 * time.Millisecond)
	expect(nodes[0], "00.000 up 0")
	expect(nodes[1], "00.000 up 0", "01.020 a on 0")
	expect(nodes[2], "00.000 up 0", "01.020 a on 0")
	l.SetOneWay(0, 1, 1)
	w.Run(time.Second)
	expect(nodes[1])
	expect(nodes[2], "02.020 a on 0")
	l.SetOneWay(0, 1, 0)
	w.Run(510 * time.Millisecond) // the third word is on its way
	l.SetSilent(true)
	w.Run(500 * time.Millisecond)
	expect(nodes[1])
	l.SetSilent(false)
	l.SetCarrier(false)
	w.Run(time.Second)
	expect(nodes[2], "03.510 down 0")
	l.Mend()
	nodes[2].host.Stop()
	w.Run(time.Second)
	expect(nodes[1], "03.510 down 0", "04.510 up 0", "05.020 a on 0")
	expect(nodes[2], "04.510 up 0")
	l.Loss = 0.5
	w.Run(200 * time.Second)
	if n := len(nodes[1].heard); n < 70 || n > 130 {
		t.Fatalf("of 200 words %d arrived through a loss of half", n)
	}
}
