package rip

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// station is a router under test with its virtual clock: events in, actions out as text.
type station struct {
	t    *testing.T
	m    *Machine
	now  time.Time
	last []Action
}

const (
	core PortID = 1
	lan  PortID = 2
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// both runs RIP on core and lan.
func both() Config { return Config{Ports: map[PortID]PortConfig{core: {}, lan: {}}} }

// newStation has core up with 10.0.0.1/24 and lan with 10.1.0.1/24, and has said its first words.
func newStation(t *testing.T, c Config) *station {
	t.Helper()
	s := &station{t: t, m: New(c, rand.New(rand.NewPCG(1, 2))), now: start}
	s.step(PortUp{Port: core, Addresses: []netip.Prefix{pfx("10.0.0.1/24")}})
	s.step(PortUp{Port: lan, Addresses: []netip.Prefix{pfx("10.1.0.1/24")}})
	s.after(6 * time.Second) // past the first hold
	return s
}

// step delivers one event and returns what came of it.
func (s *station) step(ev Event) []string {
	actions := s.m.Step(s.now, ev)
	s.last = append(s.last[:0], actions...)
	return describe(actions)
}

// after lets time pass, stopping at every deadline on the way, and returns what happened.
func (s *station) after(d time.Duration) (out []string) {
	s.t.Helper()
	end := s.now.Add(d)
	for n := 0; ; n++ {
		next := s.m.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		if n > 100000 {
			s.t.Fatal("the machine never comes to rest: too many deadlines")
		}
		if next.After(s.now) {
			s.now = next
		}
		out = append(out, s.step(Tick{})...)
	}
	s.now = end
	return append(out, s.step(Tick{})...)
}

// hears delivers a datagram from a neighbour's port 520 to all routers.
func (s *station) hears(port PortID, from string, payload []byte) []string {
	return s.step(Receive{Port: port, Src: addr(from), SrcPort: UDPPort, Dst: AllRouters, TTL: 1, Payload: payload})
}

// rte is an entry of version 2; its words are: prefix, metric, then optionally tag N and via ADDRESS.
func rte(words string) Entry {
	f := strings.Fields(words)
	p := pfx(f[0])
	e := Entry{Family: familyIPv4, Addr: packet.AddrFrom(p.Addr()), Mask: packet.Mask(p.Bits())}
	fmt.Sscan(f[1], &e.Metric)
	for i := 2; i+1 < len(f); i += 2 {
		switch f[i] {
		case "tag":
			fmt.Sscan(f[i+1], &e.Tag)
		case "via":
			e.NextHop = addr(f[i+1])
		}
	}
	return e
}

// update is a response of version 2 with the entries that the lines say.
func update(lines ...string) []byte {
	m := Message{Command: Response, Version: 2}
	for _, l := range lines {
		m.Entries = append(m.Entries, rte(l))
	}
	return m.Append(nil)
}

// query asks for the whole table.
func query() []byte {
	return Message{Command: Request, Version: 2, Entries: []Entry{{Metric: Infinity}}}.Append(nil)
}

var portNames = map[PortID]string{core: "core", lan: "lan"}

func portName(id PortID) string {
	if n, has := portNames[id]; has {
		return n
	}
	return fmt.Sprint("port", id)
}

// describe writes actions one a line.
func describe(actions []Action) (out []string) {
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			out = append(out, fmt.Sprintf("%s: %v > %v: %s", portName(a.Port), a.Src, a.Dst, describePayload(a.Payload)))
		case Install:
			var via []string
			for _, p := range a.Paths {
				via = append(via, fmt.Sprintf("%v on %s", p.NextHop, portName(p.Port)))
			}
			line := fmt.Sprintf("install %v metric %d via %s", a.Prefix, a.Metric, strings.Join(via, ", "))
			if a.Tag != 0 {
				line += fmt.Sprintf(" tag %d", a.Tag)
			}
			out = append(out, line)
		case Withdraw:
			out = append(out, fmt.Sprintf("withdraw %v", a.Prefix))
		case RouteEvent:
			out = append(out, fmt.Sprintf("route %v %v %d -> %d", a.Prefix, a.Change, a.OldMetric, a.Metric))
		case NeighborEvent:
			out = append(out, fmt.Sprintf("neighbor %v on %s %v", a.Addr, portName(a.Port), a.Change))
		case Bad:
			out = append(out, fmt.Sprintf("bad %v from %v", a.Reason, a.Src))
		case SaveState:
			out = append(out, fmt.Sprintf("save %d with %d neighbors", a.State.Sequence, len(a.State.Neighbors)))
		case Stopped:
			out = append(out, "stopped")
		}
	}
	return out
}

func describePayload(b []byte) string {
	m, why := Decode(b, nil)
	if why != BadNone {
		return why.String()
	}
	kind := "response"
	if m.Command == Request {
		kind = "request"
	}
	var words []string
	for _, e := range m.Entries {
		words = append(words, describeEntry(m, e))
	}
	return fmt.Sprintf("%s v%d %s", kind, m.Version, strings.Join(words, ", "))
}

func describeEntry(m Message, e Entry) string {
	switch {
	case e.Family == familyAuth:
		return fmt.Sprintf("auth type %d", e.Tag)
	case e.Family == familyTable:
		return "whole table"
	case m.Version == 1:
		return fmt.Sprintf("%v=%d", e.Addr, e.Metric)
	}
	bits := 0
	for e.Mask<<bits != 0 {
		bits++
	}
	w := fmt.Sprintf("%v/%d=%d", e.Addr, bits, e.Metric)
	if e.Tag != 0 {
		w += fmt.Sprintf(" tag %d", e.Tag)
	}
	if e.NextHop != 0 {
		w += fmt.Sprintf(" via %v", e.NextHop)
	}
	return w
}

// sends keeps the lines that are packets on a port.
func sends(lines []string, port PortID) (out []string) {
	for _, l := range lines {
		if rest, is := strings.CutPrefix(l, portName(port)+": "); is {
			out = append(out, rest)
		}
	}
	return out
}

// expect fails unless the lines are the wanted ones.
func (s *station) expect(got []string, want ...string) {
	s.t.Helper()
	if !slices.Equal(got, want) {
		s.t.Fatalf("happened:\n  %s\nexpected:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// row is the table's row in use for a prefix, as text.
func (s *station) row(prefix string) string {
	for _, r := range s.m.Routes(s.now) {
		if r.Prefix == pfx(prefix) {
			return fmt.Sprintf("%s %v via %v metric %d tag %d", r.Source, r.State, r.NextHop, r.Metric, r.Tag)
		}
	}
	return "none"
}

func newMachine(c Config) *Machine { return New(c, rand.New(rand.NewPCG(1, 2))) }
