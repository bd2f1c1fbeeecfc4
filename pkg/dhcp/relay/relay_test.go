package relay

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

const (
	lan   PortID = 1
	guest PortID = 2
	wan   PortID = 3
)

var (
	hostMAC = packet.MAC{2, 0, 0, 0, 0, 9}
	gateway = addr("10.1.0.1")
	serverA = addr("192.0.2.1")
	serverB = addr("192.0.2.2")
	given   = addr("10.1.0.9")
)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func lanPort() Port {
	return Port{Port: lan, Name: "lan", Addr: gateway, Servers: []packet.Addr{serverA}}
}

func newMachine(ports ...Port) *Machine {
	return New(Config{Ports: ports}, rand.New(rand.NewPCG(1, 2)))
}

// request is a DISCOVER of the host, as changed.
func request(change func(*dhcp.Message)) []byte {
	m := &dhcp.Message{Op: dhcp.BootRequest, HType: 1, HLen: 6, XID: 7, Options: dhcp.Options{dhcp.OptionMessageType: {byte(dhcp.Discover)}}}
	copy(m.CHAddr[:], hostMAC[:])
	if change != nil {
		change(m)
	}
	return m.Append(nil)
}

// answer is an OFFER of serverA for the host, as changed.
func answer(change func(*dhcp.Message)) []byte {
	return request(func(m *dhcp.Message) {
		m.Op, m.YIAddr, m.GIAddr = dhcp.BootReply, given, gateway
		m.Options[dhcp.OptionMessageType] = []byte{byte(dhcp.Offer)}
		m.Options.SetAddr(dhcp.OptionServerID, serverA)
		if change != nil {
			change(m)
		}
	})
}

// overloaded is a message whose option 52 says that fields hold options.
func overloaded(message func(func(*dhcp.Message)) []byte, fields byte) []byte {
	b := message(func(m *dhcp.Message) { m.Options[200] = []byte{fields} }) // the encoder writes option 52 only where it needs it
	b[bytes.Index(b, []byte{200, 1, fields})] = dhcp.OptionOverload
	return b
}

func fromHost(payload []byte) Receive {
	return Receive{Port: lan, Link: hostMAC, Dst: packet.Broadcast, SrcPort: 68, Payload: payload}
}

func fromServer(server packet.Addr, payload []byte) Receive {
	return Receive{Port: wan, Src: server, Dst: gateway, SrcPort: 67, Payload: payload}
}

// sends are the messages that an event leads to.
func sends(t *testing.T, m *Machine, ev Event) (out []Send) {
	t.Helper()
	for _, a := range m.Step(time.Time{}, ev) {
		s, is := a.(Send)
		if !is {
			t.Fatalf("expected messages to be sent, got %+v: %v", a, a.(Refused).Reason)
		}
		out = append(out, s)
	}
	return out
}

// one is the only message that an event leads to, and what it says.
func one(t *testing.T, m *Machine, ev Event) (Send, *dhcp.Message) {
	t.Helper()
	out := sends(t, m, ev)
	if len(out) != 1 {
		t.Fatalf("expected one message, got %d", len(out))
	}
	d, bad := dhcp.Decode(out[0].Payload)
	if bad != dhcp.Good {
		t.Fatalf("the message sent is bad: %v", bad)
	}
	return out[0], d
}

// refused fails unless the event leads to nothing but this refusal, and that is counted.
func refused(t *testing.T, m *Machine, ev Event, why Reason, port PortID) {
	t.Helper()
	before := m.counters(port).Refused[why]
	got := m.Step(time.Time{}, ev)
	if len(got) != 1 || got[0] != (Refused{port, why}) {
		t.Fatalf("expected a refusal for %v at port %d, got %+v", why, port, got)
	}
	if m.counters(port).Refused[why] != before+1 {
		t.Fatalf("%v is not counted", why)
	}
}

func (m *Machine) counters(id PortID) Counters {
	if c, known := m.Counters(id); known {
		return c
	}
	return m.Other()
}

func TestRequestGoesToEveryServerWithGiaddr(t *testing.T) {
	p := lanPort()
	p.Servers = []packet.Addr{serverA, serverB}
	m := newMachine(p)
	in := request(func(m *dhcp.Message) { m.Hops = 2 })
	out := sends(t, m, fromHost(in))
	if len(out) != 2 || out[0].Dst != serverA || out[1].Dst != serverB {
		t.Fatalf("expected a message to each server, got %+v", out)
	}
	for _, s := range out {
		if s.Port != 0 || s.Src != gateway || s.DstPort != 67 {
			t.Errorf("sent from %v to port %d by %d", s.Src, s.DstPort, s.Port)
		}
		want := bytes.Clone(in)
		want[3] = 3
		copy(want[24:], []byte{10, 1, 0, 1})
		if !bytes.Equal(s.Payload, want) {
			t.Errorf("more than hops and giaddr has changed:\n%x\nexpected\n%x", s.Payload, want)
		}
	}
	if c := m.counters(lan); c.Requests != 1 {
		t.Errorf("counted %d requests", c.Requests)
	}
}

func TestRequestWithoutARelayOnItsPortIsRefused(t *testing.T) {
	ev := fromHost(request(nil))
	ev.Port = guest
	refused(t, newMachine(lanPort()), ev, ReasonPort, guest)
}

func TestPortWithoutAddressOrServerRelaysNothing(t *testing.T) {
	p := lanPort()
	p.Addr = 0
	refused(t, newMachine(p), fromHost(request(nil)), ReasonAddress, lan)
	p = lanPort()
	p.Servers = nil
	refused(t, newMachine(p), fromHost(request(nil)), ReasonNoServer, lan)
}

func TestHopsAreLimited(t *testing.T) {
	for _, c := range []struct{ max, within, beyond uint8 }{{0, 10, 11}, {4, 4, 5}, {200, 16, 17}} {
		p := lanPort()
		p.MaxHops = c.max
		m := newMachine(p)
		one(t, m, fromHost(request(func(m *dhcp.Message) { m.Hops = c.within })))
		refused(t, m, fromHost(request(func(m *dhcp.Message) { m.Hops = c.beyond })), ReasonHops, lan)
		refused(t, m, fromHost(request(func(m *dhcp.Message) { m.Hops = 255 })), ReasonHops, lan)
	}
}

func TestGiaddrOfAnotherRelayIsKept(t *testing.T) {
	p := lanPort()
	p.Agent = true
	other := addr("10.9.0.1")
	_, d := one(t, newMachine(p), fromHost(request(func(m *dhcp.Message) { m.GIAddr, m.Hops = other, 1 })))
	if d.GIAddr != other || d.Hops != 2 || d.Options[dhcp.OptionRelayAgent] != nil {
		t.Errorf("giaddr %v hops %d option 82 %x", d.GIAddr, d.Hops, d.Options[dhcp.OptionRelayAgent])
	}
}

func TestRequestThatBearsOurOwnGiaddrIsRefused(t *testing.T) {
	g := lanPort()
	g.Port, g.Addr = guest, addr("10.2.0.1")
	m := newMachine(lanPort(), g)
	uplink := addr("192.0.2.99")
	m.Step(time.Time{}, Configure{Config{Ports: []Port{lanPort(), g}, Own: []packet.Addr{uplink}}})
	for _, own := range []packet.Addr{gateway, g.Addr, uplink} {
		refused(t, m, fromHost(request(func(m *dhcp.Message) { m.GIAddr = own })), ReasonSpoofed, lan)
	}
}

func TestOption82IsAddedAndTakenOffAgain(t *testing.T) {
	p := lanPort()
	p.Agent, p.RemoteID = true, []byte("gate")
	m := newMachine(p)
	in := request(func(m *dhcp.Message) { m.Options[200] = []byte("unknown") })
	s, d := one(t, m, fromHost(in))
	if got := string(d.Options[dhcp.OptionRelayAgent]); got != "\x01\x03lan\x02\x04gate" {
		t.Errorf("option 82 is %q", got)
	}
	rest, _ := bytes.CutSuffix(bytes.TrimRight(s.Payload, "\x00"), []byte("\x52\x0b\x01\x03lan\x02\x04gate\xff"))
	if len(rest) == len(s.Payload) || !bytes.Equal(rest[28:], bytes.TrimRight(in, "\x00\xff")[28:]) {
		t.Error("option 82 is not the last before the end, or something else changed")
	}
	plain := answer(nil)
	bearing := answer(func(m *dhcp.Message) { m.Options[dhcp.OptionRelayAgent] = d.Options[dhcp.OptionRelayAgent] })
	s, _ = one(t, m, fromServer(serverA, bearing))
	if !bytes.Equal(bytes.TrimRight(s.Payload, "\x00"), bytes.TrimRight(plain, "\x00")) || len(s.Payload) < dhcp.MinLen {
		t.Errorf("to the client went\n%x\nexpected\n%x", s.Payload, plain)
	}
	if c := m.counters(lan); c.AgentAdded != 1 || c.Answers != 1 {
		t.Errorf("counted %+v", c)
	}
}

func TestOption82ThatWouldNotFitIsLeftOut(t *testing.T) {
	p := lanPort()
	p.Agent = true
	m := newMachine(p)
	room := maxPayload - 2 - len("\x01\x03lan") - 1
	for _, c := range []struct {
		length int
		added  uint64
	}{{room, 1}, {room + 1, 1}} {
		in := request(nil)
		in = append(in, make([]byte, c.length-len(in))...)
		s, _ := one(t, m, fromHost(in))
		if n := m.counters(lan).AgentAdded; n != c.added || len(s.Payload) > maxPayload {
			t.Errorf("a request of %d octets left with %d, added %d times", c.length, len(s.Payload), n)
		}
	}
	if n := m.counters(lan).AgentTooLong; n != 1 {
		t.Errorf("counted %d that did not fit", n)
	}
}

func TestUntrustedOption82IsRefused(t *testing.T) {
	bearing := request(func(m *dhcp.Message) { m.Options[dhcp.OptionRelayAgent] = []byte("\x01\x02sw") })
	refused(t, newMachine(lanPort()), fromHost(bearing), ReasonAgent, lan)
	relayed := request(func(m *dhcp.Message) {
		m.Options[dhcp.OptionRelayAgent], m.GIAddr = []byte("\x01\x02sw"), addr("10.9.0.1")
	})
	one(t, newMachine(lanPort()), fromHost(relayed)) // of another agent: its business
}

func TestTrustedOption82IsKeptBothWays(t *testing.T) {
	p := lanPort()
	p.Agent, p.TrustAgent = true, true
	m := newMachine(p)
	add := func(m *dhcp.Message) { m.Options[dhcp.OptionRelayAgent] = []byte("\x01\x02sw") }
	_, d := one(t, m, fromHost(request(add)))
	if string(d.Options[dhcp.OptionRelayAgent]) != "\x01\x02sw" || d.GIAddr != gateway {
		t.Errorf("went on with option 82 %q, giaddr %v", d.Options[dhcp.OptionRelayAgent], d.GIAddr)
	}
	in := answer(add)
	s, _ := one(t, m, fromServer(serverA, in))
	if !bytes.Equal(s.Payload, in) {
		t.Error("the answer was changed")
	}
}

func TestAnswersCountOnlyFromTheServersOfThePort(t *testing.T) {
	m := newMachine(lanPort())
	refused(t, m, fromServer(serverB, answer(nil)), ReasonNotServer, lan)
	refused(t, m, fromServer(serverA, answer(func(m *dhcp.Message) { m.GIAddr = addr("10.9.0.1") })), ReasonGIAddr, wan)
	refused(t, m, fromServer(serverA, answer(func(m *dhcp.Message) { m.GIAddr = 0 })), ReasonGIAddr, wan)
	one(t, m, fromServer(serverA, answer(nil)))
}

func TestAnswersFindTheirPortByGiaddr(t *testing.T) {
	g := lanPort()
	g.Port, g.Name, g.Addr = guest, "guest", addr("10.2.0.1")
	m := newMachine(lanPort(), g)
	s, _ := one(t, m, fromServer(serverA, answer(func(m *dhcp.Message) { m.GIAddr = g.Addr })))
	if s.Port != guest || s.Src != g.Addr {
		t.Errorf("went by port %d from %v", s.Port, s.Src)
	}
}

func TestPortsThatShareAnAddressAreToldApartByCircuit(t *testing.T) {
	l, g := lanPort(), lanPort()
	l.Agent, g.Agent = true, true
	g.Port, g.Name, g.CircuitID = guest, "guest", []byte("g7")
	m := newMachine(l, g)
	agent := func(v string) []byte {
		return answer(func(m *dhcp.Message) { m.Options[dhcp.OptionRelayAgent] = []byte(v) })
	}
	if s, _ := one(t, m, fromServer(serverA, agent("\x01\x02g7"))); s.Port != guest {
		t.Errorf("the circuit of guest leads to port %d", s.Port)
	}
	if s, _ := one(t, m, fromServer(serverA, agent("\x01\x03lan"))); s.Port != lan {
		t.Errorf("the circuit of lan leads to port %d", s.Port)
	}
	refused(t, m, fromServer(serverA, agent("\x01\x03who")), ReasonCircuit, wan)
	refused(t, m, fromServer(serverA, answer(nil)), ReasonCircuit, wan)
}

func TestAnswersAreAddressedAsAServerWould(t *testing.T) {
	all := fmt.Sprint(packet.Broadcast, packet.BroadcastMAC)
	for _, c := range []struct {
		what   string
		change func(*dhcp.Message)
		want   string
	}{
		{"a new address", nil, fmt.Sprint(given, hostMAC)},
		{"the broadcast flag", func(m *dhcp.Message) { m.Flags = dhcp.BroadcastFlag }, all},
		{"a NAK", func(m *dhcp.Message) { m.Options[dhcp.OptionMessageType] = []byte{byte(dhcp.NAK)} }, all},
		{"INFORM", func(m *dhcp.Message) { m.YIAddr, m.CIAddr = 0, given }, fmt.Sprint(given, hostMAC)},
		{"no address at all", func(m *dhcp.Message) { m.YIAddr = 0 }, all},
		{"a multicast address", func(m *dhcp.Message) { m.YIAddr = addr("224.0.0.1") }, all},
		{"another kind of hardware", func(m *dhcp.Message) { m.HType = 6 }, all},
		{"a group's hardware address", func(m *dhcp.Message) { m.CHAddr[0] = 1 }, all},
	} {
		s, _ := one(t, newMachine(lanPort()), fromServer(serverA, answer(c.change)))
		if got := fmt.Sprint(s.Dst, s.MAC); got != c.want || s.Port != lan || s.DstPort != 68 || s.Src != gateway {
			t.Errorf("%s: goes to %s, expected %s: %+v", c.what, got, c.want, s)
		}
	}
}

func TestOption82InOverloadedFieldsIsTakenOff(t *testing.T) {
	m := newMachine(lanPort())
	in := overloaded(answer, 3)
	copy(in[44:], "\x0c\x04host\x52\x05\x01\x03lan\xff")
	copy(in[108:], "\x52\x02ab\x0f\x03lab\xff")
	s, d := one(t, m, fromServer(serverA, in))
	if d.Options[dhcp.OptionRelayAgent] != nil || string(d.Options[dhcp.OptionHostname]) != "host" || string(d.Options[dhcp.OptionDomain]) != "lab" {
		t.Errorf("the client reads %v", d.Options)
	}
	if len(s.Payload) != len(in) {
		t.Errorf("the length went from %d to %d", len(in), len(s.Payload))
	}
}

func TestBOOTPWithoutOptionsIsRelayed(t *testing.T) {
	p := lanPort()
	p.Agent = true
	in := request(nil)
	clear(in[236:])
	s := sends(t, newMachine(p), fromHost(in))[0]
	if len(s.Payload) != len(in) || view(s.Payload).addr(offGIAddr) != gateway {
		t.Errorf("went on as %x", s.Payload)
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	m := newMachine(lanPort())
	whole := request(nil)
	refused(t, m, fromHost(whole[:235]), ReasonShort, lan)
	refused(t, m, fromHost(nil), ReasonShort, lan)
	odd := bytes.Clone(whole)
	odd[0] = 3
	refused(t, m, fromHost(odd), ReasonOp, lan)
	for _, options := range []string{"\x35\x05\x01", "\x35", "\x35\x01\x01\x0c\xff"} {
		refused(t, m, fromHost(append(bytes.Clone(whole[:240]), options...)), ReasonOptions, lan)
	}
	lying := overloaded(request, 1)
	for i := range 128 {
		lying[108+i] = 200
	}
	refused(t, m, fromHost(lying), ReasonOptions, lan)
}

func TestConfigureKeepsTheCountersOfAPort(t *testing.T) {
	m := newMachine(lanPort())
	one(t, m, fromHost(request(nil)))
	p := lanPort()
	p.Servers = []packet.Addr{serverB}
	m.Step(time.Time{}, Configure{Config{Ports: []Port{p}}})
	if s, _ := one(t, m, fromHost(request(nil))); s.Dst != serverB || m.counters(lan).Requests != 2 {
		t.Errorf("went to %v, counted %d", s.Dst, m.counters(lan).Requests)
	}
	m.Step(time.Time{}, Configure{})
	refused(t, m, fromHost(request(nil)), ReasonPort, lan)
}

func TestEveryReasonHasANameAndASentence(t *testing.T) {
	names := map[string]bool{}
	for r := range NumReasons {
		if r.String() == "" || names[r.String()] || !strings.Contains(r.Description(), " ") {
			t.Errorf("reason %d is %q: %q", r, r, r.Description())
		}
		names[r.String()] = true
	}
	if NumReasons.String() != "unknown" || NumReasons.Description() == "" {
		t.Error("a reason that does not exist has a name")
	}
}
