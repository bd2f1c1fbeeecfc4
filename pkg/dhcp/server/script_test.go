package server

import (
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

// station is a server under test with its virtual clock: events in, actions out as text.
type station struct {
	t      *testing.T
	m      *Machine
	now    time.Time
	last   []Action
	stored map[packet.Addr]Lease // what is on disk
}

const (
	lan PortID = 1
	dmz PortID = 2
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func span1(first, last string) Range { return Range{addr(first), addr(last)} }

// home is a subnet of ten addresses without probes.
func home() Subnet {
	return Subnet{
		Name: "lan", Port: lan, Network: pfx("10.0.0.0/24"), Server: addr("10.0.0.1"),
		Ranges: []Range{span1("10.0.0.100", "10.0.0.109")}, Lease: time.Hour, Authoritative: true,
		Gateway: []packet.Addr{addr("10.0.0.1")}, DNS: []packet.Addr{addr("10.0.0.1")}, Domain: "home.arpa",
	}
}

// far is a network that a relay with the address 10.9.0.1 brings.
func far() Subnet {
	return Subnet{
		Name: "far", Network: pfx("10.9.0.0/24"), Ranges: []Range{span1("10.9.0.50", "10.9.0.99")},
		Lease: time.Hour, Authoritative: true, Gateway: []packet.Addr{addr("10.9.0.1")},
	}
}

func newStation(t *testing.T, subnets ...Subnet) *station {
	return stationOf(t, Config{Subnets: subnets})
}

func stationOf(t *testing.T, c Config) *station {
	return &station{t: t, m: New(c, rand.New(rand.NewPCG(1, 2))), now: start, stored: map[packet.Addr]Lease{}}
}

// step delivers one event and returns what came of it.
func (s *station) step(ev Event) []string {
	actions := s.m.Step(s.now, ev)
	s.last = slices.Clone(actions)
	for _, a := range actions {
		if st, is := a.(Store); is {
			s.stored[st.Lease.Addr] = st.Lease
		}
	}
	return describe(actions)
}

// after lets time pass, stopping at every deadline on the way.
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

// restart is a server that knows what is on disk.
func (s *station) restart() {
	c := s.m.cfg
	for _, l := range s.stored {
		c.Initial = append(c.Initial, l)
	}
	s.m = New(c, rand.New(rand.NewPCG(3, 4)))
}

// host is a client as far as tests need one.
type host struct {
	mac   packet.MAC
	port  PortID
	id    string // option 61
	relay packet.Addr
	flags uint16
	more  dhcp.Options
}

func numbered(n int) host {
	return host{mac: packet.MAC{2, 0, 0, byte(n >> 16), byte(n >> 8), byte(n)}, port: lan}
}

func (h host) with(code uint8, v string) host {
	more := dhcp.Options{code: []byte(v)}
	for c, v := range h.more {
		if c != code {
			more[c] = v
		}
	}
	h.more = more
	return h
}

// message is one of the host; words are pairs of a field and an address.
func (h host) message(t dhcp.Type, fields ...any) *dhcp.Message {
	m := &dhcp.Message{Op: dhcp.BootRequest, HType: dhcp.Ethernet, HLen: 6, XID: 0x1234, Flags: h.flags, GIAddr: h.relay, Options: dhcp.Options{}}
	copy(m.CHAddr[:], h.mac[:])
	if t != 0 {
		m.Options[dhcp.OptionMessageType] = []byte{byte(t)}
	}
	if h.id != "" {
		m.Options[dhcp.OptionClientID] = []byte(h.id)
	}
	for c, v := range h.more {
		m.Options[c] = v
	}
	for i := 0; i+1 < len(fields); i += 2 {
		a := addr(fields[i+1].(string))
		switch fields[i] {
		case "ciaddr":
			m.CIAddr = a
		case "wants":
			m.Options.SetAddr(dhcp.OptionRequestedAddress, a)
		case "server":
			m.Options.SetAddr(dhcp.OptionServerID, a)
		}
	}
	return m
}

// says delivers a message of a host: by broadcast, or to the server where the host has an address.
func (s *station) says(h host, t dhcp.Type, fields ...any) []string {
	m := h.message(t, fields...)
	r := Receive{Port: h.port, Link: h.mac, Src: m.CIAddr, Dst: broadcast, SrcPort: dhcp.ClientPort, Payload: m.Append(nil)}
	if h.relay != 0 {
		r.Src, r.Dst, r.SrcPort = h.relay, addr("10.0.0.1"), dhcp.ServerPort
	}
	for i := 0; i+1 < len(fields); i += 2 {
		switch fields[i] {
		case "to":
			r.Dst = addr(fields[i+1].(string))
		case "from":
			r.Src = addr(fields[i+1].(string))
		}
	}
	return s.step(r)
}

// reply is the message that the last Step sent; nil: none.
func (s *station) reply() *dhcp.Message {
	for _, a := range s.last {
		if send, is := a.(Send); is {
			m, why := dhcp.Decode(send.Payload)
			if why != dhcp.Good {
				s.t.Fatalf("the server sent what is no message: %v", why)
			}
			return m
		}
	}
	return nil
}

// sent is the datagram of the last Step.
func (s *station) sent() Send {
	s.t.Helper()
	for _, a := range s.last {
		if send, is := a.(Send); is {
			return send
		}
	}
	s.t.Fatalf("nothing was sent; happened: %v", describe(s.last))
	return Send{}
}

// leases makes a host get an address in the whole way, and returns it.
func (s *station) leases(h host) string {
	s.t.Helper()
	s.says(h, dhcp.Discover)
	o := s.reply()
	if o == nil || o.Type() != dhcp.Offer {
		s.t.Fatalf("no offer: %v", describe(s.last))
	}
	s.says(h, dhcp.Request, "wants", o.YIAddr.String(), "server", o.Addr(dhcp.OptionServerID).String())
	a := s.reply()
	if a == nil || a.Type() != dhcp.ACK || a.YIAddr != o.YIAddr {
		s.t.Fatalf("no acknowledgement of %v: %v", o.YIAddr, describe(s.last))
	}
	return a.YIAddr.String()
}

// expect compares what happened with the lines of want.
func (s *station) expect(got []string, want ...string) {
	s.t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Fatalf("at +%v happened:\n\t%s\nexpected:\n\t%s", s.now.Sub(start), strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// expectState fails unless an address is in the state.
func (s *station) expectState(a string, want State) {
	s.t.Helper()
	if l, _ := s.m.Lookup(addr(a)); l.State != want {
		s.t.Fatalf("at +%v %s is %v, expected %v", s.now.Sub(start), a, l.State, want)
	}
}

func describe(actions []Action) (out []string) {
	for _, a := range actions {
		out = append(out, line(a))
	}
	return out
}

func line(a Action) string {
	switch a := a.(type) {
	case Store:
		w := fmt.Sprintf("store %v %v", a.Lease.State, a.Lease.Addr)
		if a.Lease.State != Free {
			w += fmt.Sprintf(" %x", a.Lease.CHAddr)
			if !a.Lease.Expires.IsZero() {
				w += fmt.Sprintf(" until +%v", a.Lease.Expires.Sub(start))
			}
		}
		return w
	case Send:
		m, why := dhcp.Decode(a.Payload)
		if why != dhcp.Good {
			return why.String()
		}
		w := fmt.Sprintf("send %v %v to %v:%d", m.Type(), m.YIAddr, a.Dst, a.DstPort)
		if !a.MAC.IsZero() {
			w += fmt.Sprintf(" at %v", a.MAC)
		}
		return w + fmt.Sprintf(" by port%d", a.Port)
	case Probe:
		return fmt.Sprintf("probe %v on port%d", a.Addr, a.Port)
	case LeaseEvent:
		w := fmt.Sprintf("%v %v", a.Change, a.Lease.Addr)
		if a.Lease.Hostname != "" {
			w += " named " + a.Lease.Hostname
		}
		if a.Before != "" {
			w += " before " + a.Before
		}
		if a.Reason != "" {
			w += ": " + a.Reason
		}
		return w
	case Exhausted:
		if a.Again {
			return a.Subnet + " has addresses again"
		}
		return a.Subnet + " is exhausted"
	case Refused:
		return fmt.Sprintf("refused %v", a.Reason)
	}
	return fmt.Sprintf("%#v", a)
}
