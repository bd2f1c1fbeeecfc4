package server

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// What is said, and to whom.

func TestAnswersGoWhereTheClientCanHearThem(t *testing.T) {
	relayed := func(h host) host { h.relay = addr("10.9.0.1"); return h }
	flagged := func(h host) host { h.flags = dhcp.BroadcastFlag; return h }
	for name, c := range map[string]struct {
		h      host
		t      dhcp.Type
		fields []any
		want   string
	}{
		"to the hardware address, without ARP":  {numbered(1), dhcp.Discover, nil, "10.0.0.103:68 02:00:00:00:00:01 port1"},
		"by broadcast where the flag asks":      {flagged(numbered(1)), dhcp.Discover, nil, "255.255.255.255:68 00:00:00:00:00:00 port1"},
		"to the relay":                          {relayed(numbered(1)), dhcp.Discover, nil, "10.9.0.1:67 00:00:00:00:00:00 port0"},
		"to the relay in spite of the flag":     {relayed(flagged(numbered(1))), dhcp.Discover, nil, "10.9.0.1:67 00:00:00:00:00:00 port0"},
		"to the address that the client has":    {flagged(numbered(1)), dhcp.Request, []any{"ciaddr", "10.0.0.105"}, "10.0.0.105:68 00:00:00:00:00:00 port1"},
		"a NAK by broadcast":                    {numbered(1), dhcp.Request, []any{"wants", "10.0.0.5"}, "255.255.255.255:68 00:00:00:00:00:00 port1"},
		"a NAK of a renewal by broadcast":       {numbered(1), dhcp.Request, []any{"ciaddr", "10.0.0.5", "to", "10.0.0.1"}, "255.255.255.255:68 00:00:00:00:00:00 port1"},
		"a NAK to the relay":                    {relayed(numbered(1)), dhcp.Request, []any{"wants", "10.9.0.5"}, "10.9.0.1:67 00:00:00:00:00:00 port0"},
		"a renewal from a relayed network":      {numbered(1), dhcp.Request, []any{"ciaddr", "10.9.0.60", "to", "10.0.0.1"}, "10.9.0.60:68 00:00:00:00:00:00 port0"},
		"a NAK of one from a relayed network":   {numbered(1), dhcp.Request, []any{"ciaddr", "10.9.0.5", "to", "10.0.0.1"}, "10.9.0.5:68 00:00:00:00:00:00 port0"},
		"what was asked through a relay inform": {relayed(numbered(1)), dhcp.Inform, []any{"ciaddr", "10.9.0.7"}, "10.9.0.7:68 00:00:00:00:00:00 port0"},
	} {
		s := newStation(t, home(), far())
		s.says(c.h, c.t, c.fields...)
		out := s.sent()
		if got := fmt.Sprintf("%v:%d %v port%d", out.Dst, out.DstPort, out.MAC, out.Port); got != c.want {
			t.Errorf("%s: %s, expected %s", name, got, c.want)
		}
		if out.Src != addr("10.0.0.1") {
			t.Errorf("%s: from %v", name, out.Src)
		}
		if m := s.reply(); m.Type() == dhcp.NAK && c.h.relay != 0 && m.Flags&dhcp.BroadcastFlag == 0 {
			t.Errorf("%s: the relay is not told to broadcast it", name)
		}
	}
}

func TestPortsWithoutHardwareAddressesAreAnsweredByBroadcast(t *testing.T) {
	s := newStation(t, home())
	s.step(Receive{Port: lan, Dst: broadcast, Payload: numbered(1).message(dhcp.Discover).Append(nil)})
	if out := s.sent(); out.Dst != broadcast || !out.MAC.IsZero() {
		t.Errorf("to %v at %v", out.Dst, out.MAC)
	}
	m := numbered(1).message(dhcp.Discover)
	m.HType, m.HLen = 32, 16 // InfiniBand
	s.step(Receive{Port: lan, Link: packet.MAC{2}, Dst: broadcast, Payload: m.Append(nil)})
	if out := s.sent(); out.Dst != broadcast {
		t.Errorf("another kind of hardware: to %v at %v", out.Dst, out.MAC)
	}
}

func TestClientIdentifierAndRelayInformationAreEchoed(t *testing.T) {
	s := newStation(t, home(), far())
	h := numbered(1).with(dhcp.OptionRelayAgent, "\x01\x04eth0")
	h.relay, h.id = addr("10.9.0.1"), "\x00me"
	s.says(h, dhcp.Discover)
	raw := slices.Clone(s.sent().Payload)
	for i, fields := range [][]any{{}, {"wants", s.reply().YIAddr.String(), "server", "10.0.0.1"}, {"wants", "10.9.0.5"}} {
		if i > 0 {
			s.says(h, dhcp.Request, fields...)
		}
		r := s.reply()
		if string(r.Options[dhcp.OptionClientID]) != "\x00me" || string(r.Options[dhcp.OptionRelayAgent]) != "\x01\x04eth0" {
			t.Errorf("%v echoes %q and %q (RFC 6842, RFC 3046)", r.Type(), r.Options[dhcp.OptionClientID], r.Options[dhcp.OptionRelayAgent])
		}
	}
	if tail := bytes.TrimRight(raw, "\x00"); !bytes.HasSuffix(tail, []byte("\x52\x06\x01\x04eth0\xff")) {
		t.Error("option 82 is not the last")
	}
	if l := s.m.Leases(s.now); len(l) != 1 || string(l[0].Agent) != "\x01\x04eth0" {
		t.Errorf("the lease has %v", l)
	}
}

func TestRelayedNetworkIsChosenByLinkSelectionThenOption118ThenGiaddr(t *testing.T) {
	second := far()
	second.Name, second.Network, second.Ranges = "far2", pfx("10.8.0.0/24"), []Range{span1("10.8.0.10", "10.8.0.20")}
	third := far()
	third.Name, third.Network, third.Ranges = "far3", pfx("10.7.0.0/24"), []Range{span1("10.7.0.10", "10.7.0.20")}
	h := numbered(1)
	h.relay = addr("10.9.0.1")
	for want, h := range map[string]host{
		"10.9.": h,
		"10.8.": h.with(dhcp.OptionSubnetSelection, "\x0a\x08\x00\x00"),
		"10.7.": h.with(dhcp.OptionSubnetSelection, "\x0a\x08\x00\x00").with(dhcp.OptionRelayAgent, "\x05\x04\x0a\x07\x00\x00"),
	} {
		s := newStation(t, home(), far(), second, third)
		s.says(h, dhcp.Discover)
		if r := s.reply(); r == nil || !strings.HasPrefix(r.YIAddr.String(), want) {
			t.Errorf("expected an address in %s: %v", want, describe(s.last))
		}
		if s.sent().Dst != addr("10.9.0.1") {
			t.Error("the answer does not go to giaddr")
		}
	}
	h.relay = addr("10.6.0.1")
	s := newStation(t, home(), far())
	s.expect(s.says(h, dhcp.Discover), "refused no_subnet")
}

func TestServerIdentifierOverrideIsOursToo(t *testing.T) {
	s := newStation(t, home(), far())
	h := numbered(1).with(dhcp.OptionRelayAgent, "\x0b\x04\x0a\x09\x00\x01")
	h.relay = addr("10.9.0.1")
	s.says(h, dhcp.Discover)
	if id := s.reply().Addr(dhcp.OptionServerID); id != addr("10.9.0.1") || s.sent().Src != addr("10.0.0.1") {
		t.Errorf("the identifier is %v, from %v (RFC 5107)", id, s.sent().Src)
	}
	s.says(h, dhcp.Request, "wants", s.reply().YIAddr.String(), "server", "10.9.0.1")
	if s.reply() == nil || s.reply().Type() != dhcp.ACK {
		t.Errorf("%v", describe(s.last))
	}
}

func optioned() Subnet {
	n := home()
	n.NextServer, n.BootFile, n.ServerName = addr("10.0.0.9"), "pxe.0", "tftp.home.arpa"
	n.Options = map[uint8][]byte{42: {10, 0, 0, 2}, 26: {5, 120}, 43: []byte("vendor"), 119: []byte("\x03lan\x00"), 121: {0, 10, 0, 0, 1}, 150: {10, 0, 0, 3}, 51: {0, 0, 0, 1}, 15: []byte("other.lan")}
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr("10.0.0.5"), Name: "printer", Options: map[uint8][]byte{3: {10, 0, 0, 254}, 222: []byte("x")}}}
	return n
}

func codes(m *dhcp.Message) (out []int) {
	for c := range m.Options {
		out = append(out, int(c))
	}
	slices.Sort(out)
	return out
}

func TestClientGetsWhatItAsksFor(t *testing.T) {
	for name, c := range map[string]struct {
		h    host
		want string
	}{
		"what it asks for":                       {numbered(1).with(55, "\x06\x0f\x77\x63"), "[1 6 15 51 53 54 58 59 119]"},
		"nothing but what must be":               {numbered(1).with(55, ""), "[1 51 53 54 58 59]"},
		"everything when it does not say":        {numbered(1), "[1 3 6 15 26 28 42 43 51 53 54 58 59 119 121 150]"},
		"classless routes instead of the router": {numbered(1).with(55, "\x79\x03\x21"), "[1 51 53 54 58 59 121]"},
		"boot options":                           {numbered(1).with(55, "\x42\x43\x96"), "[1 51 53 54 58 59 66 67 150]"},
		"its reservation's in any case":          {numbered(5).with(55, "\x06"), "[1 3 6 51 53 54 58 59 222]"},
		"its name":                               {numbered(5).with(55, "\x0c"), "[1 3 12 51 53 54 58 59 222]"},
		"what the protocol decides, as it does":  {numbered(1).with(55, "\x33\x35\x36\x3a\x3b\x52\x3d\x00\xff"), "[1 51 53 54 58 59]"},
	} {
		s := newStation(t, optioned())
		s.says(c.h, dhcp.Discover)
		if got := fmt.Sprint(codes(s.reply())); got != c.want {
			t.Errorf("%s: %s, expected %s", name, got, c.want)
		}
		if n, _ := s.reply().Uint32(51); n != 3600 {
			t.Errorf("%s: a configured option makes the lease %d s", name, n)
		}
	}
}

func TestOptionsComeInTheOrderAsked(t *testing.T) {
	s := newStation(t, optioned())
	s.says(numbered(1).with(55, "\x77\x06\x0f\x01"), dhcp.Discover)
	var got []byte
	for b := s.sent().Payload[240:]; b[0] != 255; b = b[2+b[1]:] {
		got = append(got, b[0])
	}
	if fmt.Sprint(got[:5]) != "[53 119 6 15 1]" {
		t.Errorf("%v", got)
	}
}

func TestBootFileStandsInTheHeaderUnlessAskedForAsAnOption(t *testing.T) {
	s := newStation(t, optioned())
	s.says(numbered(1).with(55, "\x01"), dhcp.Discover)
	if r := s.reply(); r.File != "pxe.0" || r.SName != "tftp.home.arpa" || r.SIAddr != addr("10.0.0.9") {
		t.Errorf("%+v", r)
	}
	s.says(numbered(1).with(55, "\x43\x42"), dhcp.Discover)
	if r := s.reply(); r.File != "" || string(r.Options[67]) != "pxe.0" || string(r.Options[66]) != "tftp.home.arpa" {
		t.Errorf("%+v", r)
	}
}

func TestOptionsOfReservationAndClassWinOverTheNetworks(t *testing.T) {
	n := optioned()
	n.Pools = []Pool{{Name: "p", Vendor: "phone", Options: map[uint8][]byte{42: {10, 0, 0, 77}, 3: {10, 0, 0, 78}}}}
	s := newStation(t, n)
	s.says(numbered(5).with(60, "phone 7").with(55, "\x2a\x03\x0f"), dhcp.Discover)
	r := s.reply()
	if r.Addr(42) != addr("10.0.0.77") || r.Addr(3) != addr("10.0.0.254") || string(r.Options[15]) != "other.lan" {
		t.Errorf("%v", r.Options)
	}
}

func TestRepliesKeepToTheClientsMessageSize(t *testing.T) {
	n := home()
	n.Options = map[uint8][]byte{}
	for code := uint8(200); code < 230; code++ {
		n.Options[code] = bytes.Repeat([]byte{code}, 60)
	}
	asks := string([]byte{229, 228, 227, 226, 225, 224, 223, 222, 221, 220, 219, 218, 217, 216})
	for size, most := range map[string]int{"": 548, "\x02\x40": 548, "\x01\x00": 548, "\x03\xe8": 972, "\xff\xff": 1472} {
		s := newStation(t, n)
		h := numbered(1).with(55, asks)
		if size != "" {
			h = h.with(dhcp.OptionMaxMessageSize, size)
		}
		s.says(h, dhcp.Discover)
		got := len(s.sent().Payload)
		r := s.reply()
		if got > most || r.Options[229] == nil || r.Options[228] == nil || r.Options[54] == nil {
			t.Errorf("size %x: %d octets with options %v", size, got, codes(r))
		}
		if left := s.m.Counters().OptionsLeftOut; (left > 0) != (most < 972) {
			t.Errorf("size %x: %d options left out", size, left)
		}
	}
}

func TestFQDNIsAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		asked dhcp.FQDN
		want  dhcp.FQDN
		host  string
	}{
		"the client wants the server to update": {dhcp.FQDN{Flags: 5, Name: "Tv.old.lan"}, dhcp.FQDN{Flags: 5, Name: "tv.home.arpa"}, "tv"},
		"it wants to do it itself":              {dhcp.FQDN{Flags: 4, Name: "tv"}, dhcp.FQDN{Flags: 7, Name: "tv.home.arpa"}, "tv"},
		"in ASCII":                              {dhcp.FQDN{Flags: 1, Name: "tv"}, dhcp.FQDN{Flags: 1, Name: "tv.home.arpa"}, "tv"},
		"nothing is to be updated":              {dhcp.FQDN{Flags: 12, Name: "tv"}, dhcp.FQDN{Flags: 12, Name: "home.arpa"}, ""},
	} {
		s := newStation(t, home())
		h := numbered(1).with(dhcp.OptionFQDN, string(c.asked.Append(nil))).with(dhcp.OptionHostname, "option12")
		a := s.leases(h)
		got, ok := dhcp.DecodeFQDN(s.reply().Options[dhcp.OptionFQDN])
		if c.host == "" {
			c.want.Name = got.Name
		}
		if l, _ := s.m.Lookup(addr(a)); !ok || got != c.want || l.Hostname != c.host {
			t.Errorf("%s: %+v and the name %q, expected %+v and %q", name, got, l.Hostname, c.want, c.host)
		}
	}
}

func TestNamesMoveToTheClientThatTookThemLast(t *testing.T) {
	n := home()
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr("10.0.0.5"), Name: "printer"}}
	s := newStation(t, n)
	tv := func(i int) host { return numbered(i).with(dhcp.OptionHostname, "TV") }
	a := s.leases(tv(1))
	s.says(tv(2), dhcp.Discover)
	b := s.reply().YIAddr.String()
	s.expect(s.says(tv(2), dhcp.Request, "wants", b, "server", "10.0.0.1"),
		"renewed "+a+" before tv: another client took the name",
		"store bound "+b+" 020000000002 until +1h0m0s", "send ack "+b+" to "+b+":68 at 02:00:00:00:00:02 by port1", "bound "+b+" named tv")
	s.says(tv(1), dhcp.Request, "ciaddr", a)
	if l, _ := s.m.Lookup(addr(a)); l.Hostname != "" {
		t.Error("a renewal takes the name back: it would go to and fro")
	}
	s.restart()
	if l, _ := s.m.Lookup(addr(b)); l.Hostname != "tv" {
		t.Errorf("after a restart it is called %q", l.Hostname)
	}
	thief := s.leases(numbered(9).with(dhcp.OptionHostname, "printer"))
	if l, _ := s.m.Lookup(addr(thief)); l.Hostname != "" || s.m.Counters().NamesRefused != 1 {
		t.Errorf("the name of a reservation went to another client: %q", l.Hostname)
	}
	s.leases(numbered(2).with(dhcp.OptionHostname, "radio"))
	if e := s.last[len(s.last)-1].(LeaseEvent); e.Before != "tv" || e.Lease.Hostname != "radio" {
		t.Errorf("%+v: expected the name before, for DNS", e)
	}
}

func TestNameThatBecomesAReservationsLeavesItsBearer(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1).with(dhcp.OptionHostname, "printer"))
	n := home()
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr("10.0.0.5"), Name: "printer"}}
	s.expect(s.step(Configure{Config{Subnets: []Subnet{n}}}), "renewed "+a+" before printer: the name is a reservation's now") // else DNS would keep it
	if l, _ := s.m.Lookup(addr(a)); l.State != Bound || l.Hostname != "" {
		t.Errorf("%+v", l)
	}
}

func TestNamesThatOtherHostsTrustAreForReservationsOnly(t *testing.T) {
	n := home()
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr("10.0.0.5"), Name: "wpad"}}
	s := newStation(t, n)
	for i, name := range []string{"wpad", "WPAD.example", "isatap"} {
		if l, _ := s.m.Lookup(addr(s.leases(numbered(i+1).with(dhcp.OptionHostname, name)))); l.Hostname != "" {
			t.Errorf("a client is called %q", l.Hostname)
		}
	}
	if l, _ := s.m.Lookup(addr(s.leases(numbered(5)))); l.Hostname != "wpad" || s.m.Counters().NamesRefused != 3 {
		t.Errorf("the reservation is called %q", l.Hostname)
	}
}

func TestReasonsHaveNamesAndSentences(t *testing.T) {
	seen := map[string]bool{}
	for r := ReasonNone; r < NumReasons; r++ {
		if r.String() == "" || r.Description() == "" || seen[r.String()] {
			t.Errorf("reason %d is called %q, %q", r, r, r.Description())
		}
		seen[r.String()] = true
	}
	if NumReasons.String() != "unknown" || State(99).String() != "unknown" || LeaseChange(99).String() != "unknown" {
		t.Error("what is unknown has a name")
	}
	for st := Free; st < NumStates; st++ {
		if got, ok := ParseState(st.String()); !ok || got != st {
			t.Errorf("%v is read %v, %v", st, got, ok)
		}
	}
}

// Without server identifier and time there is no offer, so what was asked for does not take their room.
func TestWhatAnOfferCannotDoWithoutIsNeverLeftOut(t *testing.T) {
	n := optioned()
	n.Options[43], n.Options[119] = bytes.Repeat([]byte("v"), 250), bytes.Repeat([]byte("\x03lan\x00"), 10)
	s := newStation(t, n)
	h := numbered(1).with(dhcp.OptionParameterRequests, "\x2b\x77\x79\x0f\x1a\x2a\x96\x06\x03\x01")
	h.id = strings.Repeat("i", 60)
	s.says(h, dhcp.Discover)
	r := s.reply()
	for _, code := range []uint8{dhcp.OptionServerID, dhcp.OptionLeaseTime, dhcp.OptionSubnetMask, dhcp.OptionClientID, dhcp.OptionRenewalTime} {
		if r.Options[code] == nil {
			t.Errorf("option %d was left out; there are %v", code, codes(r))
		}
	}
	if s.m.Counters().OptionsLeftOut == 0 {
		t.Error("everything fits: the test tells nothing")
	}
}
