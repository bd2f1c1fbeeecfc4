package client

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

func TestAnswersThatAreNotForUsAreIgnoredAndCounted(t *testing.T) {
	for _, c := range []struct {
		why    Reason
		change func(*dhcp.Message)
	}{
		{IgnoredOp, func(m *dhcp.Message) { m.Op = dhcp.BootRequest }},
		{IgnoredHardware, func(m *dhcp.Message) { m.CHAddr[5]++ }},
		{IgnoredHardware, func(m *dhcp.Message) { m.HType = 6 }},
		{IgnoredHardware, func(m *dhcp.Message) { m.HLen = 8 }},
		{IgnoredTransaction, func(m *dhcp.Message) { m.XID++ }},
		{IgnoredClientID, func(m *dhcp.Message) { m.Options[dhcp.OptionClientID] = []byte{1, 2, 3} }},
		{IgnoredType, func(m *dhcp.Message) { m.Options[dhcp.OptionMessageType] = []byte{byte(dhcp.Inform)} }},
		{IgnoredType, func(m *dhcp.Message) { delete(m.Options, dhcp.OptionMessageType) }},
		{IgnoredUnexpected, func(m *dhcp.Message) { m.Options[dhcp.OptionMessageType] = []byte{byte(dhcp.ACK)} }},
		{IgnoredNoServer, func(m *dhcp.Message) { delete(m.Options, dhcp.OptionServerID) }},
		{IgnoredNoServer, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, packet.Broadcast) }},
		{IgnoredAddress, func(m *dhcp.Message) { m.YIAddr = 0 }},
		{IgnoredAddress, func(m *dhcp.Message) { m.YIAddr = addr("127.0.0.1") }},
		{IgnoredAddress, func(m *dhcp.Message) { m.YIAddr = addr("224.0.0.9") }},
		{IgnoredAddress, func(m *dhcp.Message) { m.YIAddr = addr("10.0.0.255") }},
		{IgnoredAddress, func(m *dhcp.Message) { m.YIAddr = addr("10.0.0.0") }},
		{IgnoredAddress, func(m *dhcp.Message) { m.YIAddr = server }},
		{IgnoredNoMask, func(m *dhcp.Message) { delete(m.Options, dhcp.OptionSubnetMask) }},
		{IgnoredMask, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionSubnetMask, addr("255.0.255.0")) }},
		{IgnoredMask, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionSubnetMask, 0) }},
		{IgnoredMask, func(m *dhcp.Message) { m.Options[dhcp.OptionSubnetMask] = []byte{255} }},
		{IgnoredLeaseTime, leaseTime(0)},
	} {
		s := newStation(t, basic())
		s.step(LinkUp{})
		s.expectIgnored(c.why, s.answer(dhcp.Offer, c.change))
	}
}

func TestDatagramsThatAreNoAnswersAreIgnoredAndCounted(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	ev := s.answer(dhcp.Offer, nil)
	ev.SrcPort = 68
	s.expectIgnored(IgnoredPort, ev)
	for n := range 240 {
		s.expectIgnored(IgnoredMessage, Receive{SrcPort: 67, Payload: ev.Payload[:n]})
	}
	if n := s.m.Counters().Bad[dhcp.BadShort]; n != 240 {
		t.Errorf("counted %d short messages", n)
	}
}

func TestUselessOffersAreToldOfOncePerMessage(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	noMask := func(m *dhcp.Message) { delete(m.Options, dhcp.OptionSubnetMask) }
	s.expect(s.step(s.answer(dhcp.Offer, noMask)), "note no_mask server 10.0.0.1 address 10.0.0.100")
	s.expect(s.step(s.answer(dhcp.Offer, noMask)))
	s.after(5 * time.Second)
	s.expect(s.step(s.answer(dhcp.Offer, noMask)), "note no_mask server 10.0.0.1 address 10.0.0.100")
}

func TestOurOwnClientIDMayBeEchoed(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.expect(s.step(s.answer(dhcp.Offer, func(m *dhcp.Message) { m.Options[dhcp.OptionClientID] = basic().ClientID })), request)
}

func TestClientIDThatWasNotSentIsNotAccepted(t *testing.T) {
	s := newStation(t, Config{MAC: ourMAC})
	s.step(LinkUp{})
	s.expectIgnored(IgnoredClientID, s.answer(dhcp.Offer, func(m *dhcp.Message) { m.Options[dhcp.OptionClientID] = basic().ClientID }))
}

func TestACKOfAnotherServerOrAddressIsIgnored(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.expectIgnored(IgnoredOtherServer, s.answer(dhcp.ACK, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, other) }))
	s.expectIgnored(IgnoredOther, s.answer(dhcp.ACK, func(m *dhcp.Message) { m.YIAddr++ }))
	s.expectIgnored(IgnoredUnexpected, s.answer(dhcp.Offer, nil))
	s.expect(s.step(s.answer(dhcp.ACK, nil)), use, save)
	s.expectIgnored(IgnoredUnexpected, s.answer(dhcp.ACK, nil))
	s.expectIgnored(IgnoredUnexpected, s.answer(dhcp.NAK, nil))
}

// leaseWith is the lease that an answer with these options gives.
func leaseWith(t *testing.T, change func(*dhcp.Message)) *Lease {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, change))
	s.step(s.answer(dhcp.ACK, change))
	s.expectState(Bound)
	return s.m.Lease()
}

func TestLeaseSaysWhatTheServerTold(t *testing.T) {
	l := leaseWith(t, func(m *dhcp.Message) {
		m.Options.SetAddr(dhcp.OptionDNS, addr("9.9.9.9"), addr("224.0.0.1"), addr("1.1.1.1"), addr("9.9.9.9"))
		m.Options.SetAddr(dhcp.OptionNTP, addr("10.0.0.3"))
		m.Options[dhcp.OptionDomain] = []byte("Lab.Example.\x00")
		m.Options[dhcp.OptionSearch], _ = dhcp.AppendSearch(nil, "a.example", "b.example")
		m.Options[dhcp.OptionMTU] = []byte{0x05, 0xdc}
		m.Options[200] = []byte("as it came")
	})
	if got := fmt.Sprintf("%v %v %s %v %d", l.DNS, l.NTP, l.Domain, l.Search, l.MTU); got != "[9.9.9.9 1.1.1.1] [10.0.0.3] lab.example [a.example b.example] 1500" {
		t.Errorf("the lease says %s", got)
	}
	if string(l.Options[200]) != "as it came" {
		t.Errorf("option 200 is %q", l.Options[200])
	}
}

func TestOptionsThatMakeNoSenseAreLeftOut(t *testing.T) {
	l := leaseWith(t, func(m *dhcp.Message) {
		m.Options.SetAddr(dhcp.OptionRouter, 0, given, packet.Broadcast, other)
		m.Options[dhcp.OptionDNS] = []byte{9, 9, 9}
		m.Options[dhcp.OptionDomain] = []byte("lab example; rm -rf")
		m.Options[dhcp.OptionSearch] = []byte("\x03lab\xc0\x00")
		m.Options[dhcp.OptionMTU] = []byte{0, 68}
		m.Options[dhcp.OptionClasslessRoutes] = []byte{33, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	})
	if got := fmt.Sprintf("%v %v %q %v %d %v", l.Gateways, l.DNS, l.Domain, l.Search, l.MTU, l.Routes); got != `[10.0.0.2] [] "" [] 0 []` {
		t.Errorf("the lease says %s", got)
	}
}

func TestListsOfAServerAreBounded(t *testing.T) {
	l := leaseWith(t, func(m *dhcp.Message) {
		var many []packet.Addr
		var routes []dhcp.Route
		var names []string
		for i := range 500 {
			many = append(many, addr("10.1.0.0")+packet.Addr(i))
			routes = append(routes, dhcp.Route{To: netip.PrefixFrom((addr("10.2.0.0") + packet.Addr(i)).Netip(), 32), Gateway: other})
			names = append(names, fmt.Sprintf("n%d.example", i))
		}
		m.Options.SetAddr(dhcp.OptionDNS, many...)
		m.Options[dhcp.OptionClasslessRoutes] = dhcp.AppendRoutes(nil, routes...)
		m.Options[dhcp.OptionSearch], _ = dhcp.AppendSearch(nil, names...)
	})
	if len(l.DNS) != maxAddresses || len(l.Routes) != maxRoutes || len(l.Search) != maxSearch {
		t.Errorf("kept are %d servers, %d routes, %d names", len(l.DNS), len(l.Routes), len(l.Search))
	}
}

func TestClasslessRoutesAreRead(t *testing.T) {
	l := leaseWith(t, func(m *dhcp.Message) {
		m.Options[dhcp.OptionClasslessRoutes] = dhcp.AppendRoutes(nil,
			dhcp.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Gateway: other},
			dhcp.Route{To: netip.MustParsePrefix("10.7.0.0/17"), Gateway: 0},
			dhcp.Route{To: netip.MustParsePrefix("10.8.0.0/16"), Gateway: packet.Broadcast})
	})
	if got := fmt.Sprint(l.Routes); got != "[{0.0.0.0/0 10.0.0.2} {10.7.0.0/17 0.0.0.0}]" {
		t.Errorf("the routes are %s", got)
	}
}

func TestHostMaskIsAccepted(t *testing.T) {
	l := leaseWith(t, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionSubnetMask, packet.Broadcast) })
	if l.Addr.String() != "10.0.0.100/32" {
		t.Errorf("the address is %v", l.Addr)
	}
}

func TestEveryReasonHasANameAndASentence(t *testing.T) {
	names := map[string]bool{}
	for r := range NumReasons {
		if r.String() == "" || names[r.String()] || !strings.Contains(r.Description(), " ") {
			t.Errorf("reason %d is %q: %q", r, r, r.Description())
		}
		names[r.String()] = true
	}
	if NumReasons.String() != "unknown" || NumStates.String() != "unknown" || NumReasons.Description() == "" {
		t.Error("a reason that does not exist has a name")
	}
}
