package client

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// station is a client under test with its virtual clock: events in, actions out as text.
type station struct {
	t    *testing.T
	m    *Machine
	now  time.Time
	last *dhcp.Message // the last message sent
	when []time.Duration
}

var (
	start  = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	ourMAC = packet.MAC{2, 0, 0, 0, 0, 1}
	server = addr("10.0.0.1")
	other  = addr("10.0.0.2")
	given  = addr("10.0.0.100")
)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// basic is a client that checks nothing.
func basic() Config { return Config{MAC: ourMAC, ClientID: []byte{1, 2, 0, 0, 0, 0, 1}} }

func newStation(t *testing.T, c Config) *station {
	return &station{t: t, m: New(c, rand.New(rand.NewPCG(1, 2))), now: start}
}

// bound is a station with 10.0.0.100/24 from 10.0.0.1 for an hour.
func bound(t *testing.T, c Config) *station {
	t.Helper()
	s := newStation(t, c)
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.step(s.answer(dhcp.ACK, nil))
	if c.Check {
		s.step(Checked{Addr: given})
	}
	s.expectState(Bound)
	return s
}

// step delivers one event and returns what came of it.
func (s *station) step(ev Event) []string { return s.describe(s.m.Step(s.now, ev)) }

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
		out = append(out, s.step(Tick{})...)
	}
	s.now = end
	return append(out, s.step(Tick{})...)
}

// until lets time pass until the client is in one of the states, and returns what happened.
func (s *station) until(states ...State) (out []string) {
	s.t.Helper()
	for range 1000 {
		if s.m.Next().IsZero() {
			break
		}
		s.now = s.m.Next()
		if out = append(out, s.step(Tick{})...); slices.Contains(states, s.m.State()) {
			return out
		}
	}
	s.t.Fatalf("the client stays %v and never becomes %v", s.m.State(), states)
	return nil
}

func (s *station) expect(got []string, want ...string) {
	s.t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Fatalf("at +%v happened:\n\t%s\nexpected:\n\t%s", s.now.Sub(start), strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (s *station) expectState(want State) {
	s.t.Helper()
	if s.m.State() != want {
		s.t.Fatalf("at +%v the client is %v, expected %v", s.now.Sub(start), s.m.State(), want)
	}
}

// expectIgnored delivers a datagram that must change nothing but one counter.
func (s *station) expectIgnored(why Reason, ev Receive) {
	s.t.Helper()
	state, before := s.m.State(), s.m.Counters().Reasons[why]
	for _, line := range s.step(ev) {
		if line != fmt.Sprintf("note %v", why) && !strings.HasPrefix(line, fmt.Sprintf("note %v ", why)) {
			s.t.Fatalf("expected it to be ignored for %v, happened: %s", why, line)
		}
	}
	if s.m.State() != state {
		s.t.Fatalf("expected it to be ignored for %v, but the state is now %v", why, s.m.State())
	}
	if s.m.Counters().Reasons[why] != before+1 {
		s.t.Fatalf("expected it to be counted as %v, counted is %v", why, s.m.Counters().Reasons)
	}
}

// answer is a good answer of the server to the last message, as changed.
func (s *station) answer(t dhcp.Type, change func(*dhcp.Message)) Receive {
	m := &dhcp.Message{Op: dhcp.BootReply, HType: 1, HLen: 6, XID: s.last.XID, CHAddr: s.last.CHAddr, Options: dhcp.Options{dhcp.OptionMessageType: {byte(t)}}}
	m.Options.SetAddr(dhcp.OptionServerID, server)
	if t != dhcp.NAK {
		m.YIAddr = given
		m.Options.SetAddr(dhcp.OptionSubnetMask, addr("255.255.255.0"))
		m.Options.SetAddr(dhcp.OptionRouter, server)
		m.Options.SetUint32(dhcp.OptionLeaseTime, 3600)
		m.Options.SetUint32(dhcp.OptionRenewalTime, 1800)
		m.Options.SetUint32(dhcp.OptionRebindingTime, 3150)
	}
	if change != nil {
		change(m)
	}
	return Receive{Src: server, Dst: packet.Broadcast, SrcPort: 67, Payload: m.Append(nil)}
}

func leaseTime(seconds uint32) func(*dhcp.Message) {
	return func(m *dhcp.Message) {
		m.Options.SetUint32(dhcp.OptionLeaseTime, seconds)
		delete(m.Options, dhcp.OptionRenewalTime)
		delete(m.Options, dhcp.OptionRebindingTime)
	}
}

func (s *station) describe(actions []Action) (out []string) {
	for _, a := range actions {
		if send, is := a.(Send); is {
			m, bad := dhcp.Decode(send.Payload)
			if bad != dhcp.Good {
				s.t.Fatalf("the client sent garbage: %v", bad)
			}
			s.last, s.when = m, append(s.when, s.now.Sub(start))
		}
		out = append(out, line(a))
	}
	return out
}

func line(a Action) string {
	switch a := a.(type) {
	case Send:
		m, _ := dhcp.Decode(a.Payload)
		out := fmt.Sprintf("%v %v -> %v", m.Type(), a.Src, a.Dst)
		if m.CIAddr != 0 {
			out += fmt.Sprintf(" ciaddr %v", m.CIAddr)
		}
		if v := m.Addr(dhcp.OptionRequestedAddress); v != 0 {
			out += fmt.Sprintf(" requested %v", v)
		}
		if v := m.Addr(dhcp.OptionServerID); v != 0 {
			out += fmt.Sprintf(" server %v", v)
		}
		return out
	case Check:
		return fmt.Sprintf("check %v", a.Addr)
	case Use:
		return fmt.Sprintf("use %v by %v changed=%v", a.Lease.Addr, a.Lease.Gateways, a.Changed)
	case Drop:
		return fmt.Sprintf("drop %v: %v", a.Lease.Addr, a.Reason)
	case Save:
		if a.Lease == nil {
			return "save nothing"
		}
		return fmt.Sprintf("save %v", a.Lease.Addr)
	case Note:
		out := fmt.Sprintf("note %v", a.Reason)
		if a.Server != 0 {
			out += fmt.Sprintf(" server %v", a.Server)
		}
		if a.Addr != 0 {
			out += fmt.Sprintf(" address %v", a.Addr)
		}
		if a.Text != "" {
			out += fmt.Sprintf(" %q", a.Text)
		}
		return out
	}
	return fmt.Sprintf("unknown %T", a)
}

func be16(v []byte) uint16 { return binary.BigEndian.Uint16(v) }
