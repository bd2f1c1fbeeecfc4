package arp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// station is a router under test with its virtual clock: events in, actions out as text.
type station struct {
	t   *testing.T
	m   *Machine
	now time.Time
}

// wait is a Waiting in tests: its octets are its only content.
type wait int

func (w wait) Size() int { return int(w) }

const (
	lan PortID = 1
	wan PortID = 2
)

var (
	start     = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	routerMAC = mac("02:00:00:00:00:01")
	wanMAC    = mac("02:00:00:00:00:02")
	hostMAC   = mac("02:00:00:00:00:09")
	otherMAC  = mac("02:00:00:00:00:0a")
	router    = addr("10.0.0.1")
	host      = addr("10.0.0.9")
)

func mac(s string) packet.MAC {
	m, err := packet.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return m
}

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func prefixes(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// newStation has port lan up with 10.0.0.1/24, its announcements sent.
func newStation(t *testing.T, c Config) *station {
	s := &station{t: t, m: New(c, rand.New(rand.NewPCG(1, 2))), now: start}
	s.m.Step(s.now, PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24")})
	s.after(3 * time.Second)
	return s
}

// step delivers one event and returns what came of it.
func (s *station) step(ev Event) []string { return describe(s.m.Step(s.now, ev)) }

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
		s.now = next
		out = append(out, describe(s.m.Step(s.now, Tick{}))...)
	}
	s.now = end
	return append(out, describe(s.m.Step(s.now, Tick{}))...)
}

// expect compares what happened with the lines of want.
func (s *station) expect(got []string, want ...string) {
	s.t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Fatalf("at +%v happened:\n\t%s\nexpected:\n\t%s", s.now.Sub(start), strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// expectState fails unless the neighbour is in the state.
func (s *station) expectState(a packet.Addr, want State) {
	s.t.Helper()
	n, _ := s.m.Lookup(s.now, lan, a)
	if n.State != want {
		s.t.Fatalf("at +%v neighbour %v is %v, expected %v", s.now.Sub(start), a, n.State, want)
	}
}

func frame(port PortID, src, dst packet.MAC, m Message) Frame {
	return Frame{Port: port, Src: src, Dst: dst, Payload: m.Append(nil)}
}

// requestFrom is a broadcast request of a station on lan.
func requestFrom(m packet.MAC, from, target packet.Addr) Frame {
	return frame(lan, m, packet.BroadcastMAC, Message{Op: OpRequest, SenderMAC: m, SenderAddr: from, TargetAddr: target})
}

// answerFrom is a reply to the router by a station on lan.
func answerFrom(m packet.MAC, from packet.Addr) Frame {
	return frame(lan, m, routerMAC, Message{Op: OpReply, SenderMAC: m, SenderAddr: from, TargetMAC: routerMAC, TargetAddr: router})
}

// reachable makes host a reachable neighbour on lan.
func (s *station) reachable() {
	s.t.Helper()
	s.step(Resolve{Port: lan, Addr: host})
	s.step(answerFrom(hostMAC, host))
	s.expectState(host, StateReachable)
}

// until lets time pass until the neighbour is in the state, and returns what happened.
func (s *station) until(a packet.Addr, want State) (out []string) {
	s.t.Helper()
	for range 1000 {
		if n, _ := s.m.Lookup(s.now, lan, a); n.State == want {
			return out
		}
		next := s.m.Next()
		if next.IsZero() {
			break
		}
		s.now = next
		out = append(out, describe(s.m.Step(s.now, Tick{}))...)
	}
	s.t.Fatalf("neighbour %v never becomes %v", a, want)
	return nil
}

func describe(actions []Action) (out []string) {
	for _, a := range actions {
		out = append(out, line(a))
	}
	return out
}

func line(a Action) string {
	switch a := a.(type) {
	case Send:
		e := packet.Ethernet(a.Frame)
		m, why := Decode(e.Payload())
		if why != BadNone || e.Type() != packet.EtherTypeARP || len(a.Frame) != FrameLen {
			return "send garbage: " + why.String()
		}
		to := "to " + e.Dst().String()
		if e.Dst() == packet.BroadcastMAC {
			to = "to all"
		}
		if m.Op == OpReply {
			return fmt.Sprintf("send %d %s: %v is at %v", a.Port, to, m.SenderAddr, m.SenderMAC)
		}
		return fmt.Sprintf("send %d %s: who has %v tell %v", a.Port, to, m.TargetAddr, m.SenderAddr)
	case Bind:
		return fmt.Sprintf("bind %d %v %v", a.Port, a.Addr, a.MAC)
	case Unbind:
		return fmt.Sprintf("unbind %d %v", a.Port, a.Addr)
	case Watch:
		return fmt.Sprintf("watch %d %v", a.Port, a.Addr)
	case Release:
		return fmt.Sprintf("release %d %v %v", a.Port, a.Addr, a.Packets)
	case Abandon:
		return fmt.Sprintf("abandon %d %v %v %v", a.Port, a.Addr, a.Packets, a.Reason)
	case Dropped:
		return fmt.Sprintf("dropped %d %v %v %v", a.Port, a.Addr, a.Packet, a.Reason)
	case Changed:
		return fmt.Sprintf("changed %d %v %v->%v", a.Port, a.Addr, a.Old, a.New)
	case Conflict:
		return fmt.Sprintf("conflict %d %v %v defended=%v", a.Port, a.Addr, a.MAC, a.Defended)
	case Address:
		return fmt.Sprintf("address %d %v %v", a.Port, a.Addr, a.State)
	case Bad:
		return fmt.Sprintf("bad %d %v", a.Port, a.Reason)
	}
	return fmt.Sprintf("unknown %T", a)
}
