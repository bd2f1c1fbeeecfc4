package server

import (
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// The states of REQUEST against what the server knows (RFC 2131 section 4.3.2).

func TestSelectingAnotherServerTakesTheOfferBack(t *testing.T) {
	s := newStation(t, home())
	s.says(numbered(1), dhcp.Discover)
	a := s.reply().YIAddr.String()
	s.expect(s.says(numbered(1), dhcp.Request, "wants", a, "server", "10.0.0.2"), "refused other_server")
	s.expectState(a, Free)
}

func TestSelectingWhatWasNeverOfferedToIt(t *testing.T) {
	s := newStation(t, home())
	taken := s.leases(numbered(1))
	for name, c := range map[string]struct{ addr, want string }{
		"another's lease":   {taken, "send nak 0.0.0.0 to 255.255.255.255:68 by port1"},
		"another's network": {"192.168.7.7", "send nak 0.0.0.0 to 255.255.255.255:68 by port1"},
		"outside the range": {"10.0.0.50", "send nak 0.0.0.0 to 255.255.255.255:68 by port1"},
		"the router's own":  {"10.0.0.1", "send nak 0.0.0.0 to 255.255.255.255:68 by port1"},
	} {
		t.Run(name, func(t *testing.T) {
			s.expect(s.says(numbered(2), dhcp.Request, "wants", c.addr, "server", "10.0.0.1"), c.want)
			r := s.reply()
			if r.Addr(dhcp.OptionServerID) != addr("10.0.0.1") || r.YIAddr != 0 || len(r.Options[dhcp.OptionMessage]) == 0 || r.Options[dhcp.OptionLeaseTime] != nil {
				t.Errorf("the NAK is %+v", r)
			}
		})
	}
}

func TestAForgottenOfferIsHonouredWhenTheAddressIsFree(t *testing.T) {
	s := newStation(t, home())
	s.says(numbered(1), dhcp.Discover)
	a := s.reply().YIAddr.String()
	s.restart()
	s.says(numbered(1), dhcp.Request, "wants", a, "server", "10.0.0.1")
	if r := s.reply(); r == nil || r.Type() != dhcp.ACK {
		t.Errorf("after a crash between offer and request: %v", describe(s.last))
	}
}

func TestRebootingClientKeepsItsAddress(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	s.expect(s.says(numbered(1), dhcp.Request, "wants", a),
		"store bound "+a+" 020000000001 until +1h0m0s",
		"send ack "+a+" to "+a+":68 at 02:00:00:00:00:01 by port1",
		"renewed "+a)
}

func TestRebootingClientInAnotherNetworkIsToldNo(t *testing.T) {
	s := newStation(t, home())
	s.expect(s.says(numbered(1), dhcp.Request, "wants", "192.168.1.7"), "send nak 0.0.0.0 to 255.255.255.255:68 by port1")
}

func TestRebootingClientWithAnotherAddressThanItsLeaseIsToldNo(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	other := "10.0.0.100"
	if a == other {
		other = "10.0.0.101"
	}
	s.expect(s.says(numbered(1), dhcp.Request, "wants", other), "send nak 0.0.0.0 to 255.255.255.255:68 by port1")
	s.expectState(a, Bound)
}

func TestClientWhoseLeaseWasForgottenGetsItAgain(t *testing.T) {
	for name, fields := range map[string][]any{
		"init-reboot": {"wants", "10.0.0.105"},
		"renewing":    {"ciaddr", "10.0.0.105", "to", "10.0.0.1"},
		"rebinding":   {"ciaddr", "10.0.0.105"},
	} {
		s := newStation(t, home())
		s.says(numbered(1), dhcp.Request, fields...)
		if r := s.reply(); r == nil || r.Type() != dhcp.ACK {
			t.Errorf("%s: %v, expected that an authoritative server takes the client's word", name, describe(s.last))
		}
	}
}

func TestServerThatIsNotAuthoritativeIsSilentForUnknownClients(t *testing.T) {
	quiet := home()
	quiet.Authoritative = false
	for name, fields := range map[string][]any{
		"init-reboot":               {"wants", "10.0.0.105"},
		"renewing":                  {"ciaddr", "10.0.0.105", "to", "10.0.0.1"},
		"rebinding":                 {"ciaddr", "10.0.0.105"},
		"init-reboot out of range":  {"wants", "10.0.0.50"},
		"init-reboot elsewhere":     {"wants", "192.168.1.7"},
		"rebinding another network": {"ciaddr", "192.168.1.7"},
	} {
		s := newStation(t, quiet)
		s.says(numbered(1), dhcp.Request, fields...)
		if r := s.reply(); r != nil {
			t.Errorf("%s: %v, expected silence", name, describe(s.last))
		}
	}
	s := newStation(t, quiet)
	s.leases(numbered(1))
	s.expect(s.says(numbered(1), dhcp.Request, "wants", "10.0.0.50"), "send nak 0.0.0.0 to 255.255.255.255:68 by port1")
}

func TestRebindingClientIsServedByBroadcastToo(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	s.after(55 * time.Minute)
	s.expect(s.says(numbered(1), dhcp.Request, "ciaddr", a),
		"store bound "+a+" 020000000001 until +1h55m0s", "send ack "+a+" to "+a+":68 by port1", "renewed "+a)
}

func TestClientThatAsksForAnothersAddressDoesNotGetIt(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	s.says(numbered(2), dhcp.Discover, "wants", a)
	if r := s.reply(); r.YIAddr.String() == a {
		t.Error("it is offered another's address")
	}
	for _, fields := range [][]any{{"wants", a, "server", "10.0.0.1"}, {"wants", a}, {"ciaddr", a}, {"ciaddr", a, "to", "10.0.0.1"}} {
		if s.says(numbered(2), dhcp.Request, fields...); s.reply() == nil || s.reply().Type() != dhcp.NAK {
			t.Errorf("%v: %v, expected a NAK", fields, describe(s.last))
		}
	}
	s.expect(s.says(numbered(2), dhcp.Release, "ciaddr", a), "refused not_the_holder")
	s.expect(s.says(numbered(2), dhcp.Decline, "wants", a, "server", "10.0.0.1"), "refused not_the_holder")
	if l, _ := s.m.Lookup(addr(a)); l.State != Bound || packet.MAC(l.CHAddr) != numbered(1).mac {
		t.Errorf("%s is %v of %x", a, l.State, l.CHAddr)
	}
}

func TestRequestWithoutAnAddressIsRefused(t *testing.T) {
	s := newStation(t, home())
	s.expect(s.says(numbered(1), dhcp.Request), "refused no_requested_address")
	s.expect(s.says(numbered(1), dhcp.Request, "server", "10.0.0.1"), "refused no_requested_address")
}

func TestALateRequestDoesNotTakeFromAClientWhatItHas(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	other := "10.0.0.100"
	if a == other {
		other = "10.0.0.101"
	}
	s.says(numbered(1), dhcp.Request, "wants", other, "server", "10.0.0.1")
	if s.reply().Type() != dhcp.NAK {
		t.Errorf("%v", describe(s.last))
	}
	s.expectState(a, Bound)
}

func TestLeaseEndsAndItsClientGetsItAgain(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1).with(dhcp.OptionHostname, "tv"))
	s.expect(s.after(61*time.Minute), "expired "+a+" before tv")
	s.expectState(a, Expired)
	if again := s.leases(numbered(1)); again != a {
		t.Errorf("it got %s, expected %s", again, a)
	}
}

func TestLeaseTimeIsWhatTheClientAsksForWithinBounds(t *testing.T) {
	bounded := home()
	bounded.MinLease, bounded.MaxLease = 10*time.Minute, 2*time.Hour
	forever := home()
	forever.Lease = Infinite
	for name, c := range map[string]struct {
		subnet Subnet
		asked  string
		want   uint32
	}{
		"nothing asked":            {bounded, "", 3600},
		"within":                   {bounded, "\x00\x00\x07\x08", 1800},
		"too long":                 {bounded, "\x00\x01\x00\x00", 7200},
		"for ever":                 {bounded, "\xff\xff\xff\xff", 7200},
		"too short":                {bounded, "\x00\x00\x00\x01", 600},
		"none":                     {bounded, "\x00\x00\x00\x00", 600},
		"a lie":                    {bounded, "\x01\x02", 3600},
		"no bounds and long":       {home(), "\x00\x01\x00\x00", 3600},
		"no bounds and short":      {home(), "\x00\x00\x00\x01", 120},
		"a network without an end": {forever, "", 0xffffffff},
		"its client asks for less": {forever, "\x00\x00\x07\x08", 1800},
	} {
		s := newStation(t, c.subnet)
		h := numbered(1)
		if c.asked != "" {
			h = h.with(dhcp.OptionLeaseTime, c.asked)
		}
		s.says(h, dhcp.Discover)
		if got, _ := s.reply().Uint32(dhcp.OptionLeaseTime); got != c.want {
			t.Errorf("%s: %d s are offered, expected %d", name, got, c.want)
		}
	}
}

func TestInfiniteLeasesDoNotExpire(t *testing.T) {
	forever := home()
	forever.Lease = Infinite
	s := newStation(t, forever)
	a := s.leases(numbered(1))
	r := s.reply()
	if r.Options[dhcp.OptionRenewalTime] != nil || r.Options[dhcp.OptionRebindingTime] != nil {
		t.Error("a lease without an end has times for its renewal")
	}
	s.expect(s.after(100000 * time.Hour))
	s.expectState(a, Bound)
}

func TestRenewalTimes(t *testing.T) {
	set := home()
	set.T1, set.T2 = 10*time.Minute, 20*time.Minute
	for name, c := range map[string]struct {
		subnet Subnet
		asked  string
		t1, t2 uint32
	}{
		"by default half and seven eighths":  {home(), "", 1800, 3150},
		"as configured":                      {set, "", 600, 1200},
		"a lease too short for the second":   {set, "\x00\x00\x03\xe8", 600, 875},
		"a lease too short for both of them": {set, "\x00\x00\x00\xf0", 120, 210},
	} {
		s := newStation(t, c.subnet)
		h := numbered(1)
		if c.asked != "" {
			h = h.with(dhcp.OptionLeaseTime, c.asked)
		}
		s.says(h, dhcp.Discover)
		t1, _ := s.reply().Uint32(dhcp.OptionRenewalTime)
		t2, _ := s.reply().Uint32(dhcp.OptionRebindingTime)
		if t1 != c.t1 || t2 != c.t2 {
			t.Errorf("%s: T1 %d, T2 %d, expected %d and %d", name, t1, t2, c.t1, c.t2)
		}
	}
}

func TestALeaseDoesNotBecomeShorterByARenewal(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	short := home()
	short.Lease = 5 * time.Minute
	s.step(Configure{Config{Subnets: []Subnet{short}}})
	s.expect(s.says(numbered(1), dhcp.Request, "ciaddr", a, "to", "10.0.0.1"),
		"store bound "+a+" 020000000001 until +1h0m0s", "send ack "+a+" to "+a+":68 by port1", "renewed "+a)
	if n, _ := s.reply().Uint32(dhcp.OptionLeaseTime); n != 300 {
		t.Errorf("the client is told %d s, expected 300", n)
	}
}

func TestInformTellsOptionsAndLeasesNothing(t *testing.T) {
	s := newStation(t, home())
	s.expect(s.says(numbered(1).with(dhcp.OptionParameterRequests, "\x06\x0f"), dhcp.Inform, "ciaddr", "10.0.0.7"), "send ack 0.0.0.0 to 10.0.0.7:68 by port1")
	r := s.reply()
	if r.Options[dhcp.OptionLeaseTime] != nil || r.Addr(dhcp.OptionDNS) != addr("10.0.0.1") || string(r.Options[dhcp.OptionDomain]) != "home.arpa" || r.CIAddr != addr("10.0.0.7") {
		t.Errorf("%+v", r)
	}
	s.expect(s.says(numbered(1), dhcp.Inform, "from", "10.0.0.8"), "send ack 0.0.0.0 to 10.0.0.8:68 by port1")
	s.expect(s.says(numbered(1), dhcp.Inform, "ciaddr", "192.168.1.1"), "refused wrong_network")
	if n := len(s.m.Leases(s.now)); n != 0 {
		t.Errorf("%d leases", n)
	}
}

func TestBootpClientsAreServedByReservationOnly(t *testing.T) {
	reserved := home()
	reserved.Reservations = []Reservation{{MAC: numbered(7).mac, Addr: addr("10.0.0.7"), Name: "meter"}}
	s := newStation(t, reserved)
	s.expect(s.says(numbered(1), 0), "refused bootp")
	s.expect(s.says(numbered(7), 0), "store bound 10.0.0.7 020000000007", "send bootp 10.0.0.7 to 10.0.0.7:68 at 02:00:00:00:00:07 by port1", "bound 10.0.0.7 named meter")
	r := s.reply()
	if len(r.Options[dhcp.OptionMessageType]) != 0 || len(r.Options[dhcp.OptionLeaseTime]) != 0 || r.Addr(dhcp.OptionRouter) != addr("10.0.0.1") {
		t.Errorf("the answer has options %v", r.Options)
	}
}

func TestRapidCommitGivesTheLeaseAtOnce(t *testing.T) {
	rapid := home()
	rapid.RapidCommit = true
	h := numbered(1).with(dhcp.OptionRapidCommit, "")
	s := newStation(t, rapid)
	s.says(h, dhcp.Discover)
	if _, says := s.reply().Options[dhcp.OptionRapidCommit]; !says || s.reply().Type() != dhcp.ACK || len(s.stored) != 1 {
		t.Errorf("%v", describe(s.last))
	}
	s = newStation(t, home())
	if s.says(h, dhcp.Discover); s.reply().Type() != dhcp.Offer {
		t.Error("it is not configured, and done")
	}
	s = newStation(t, rapid)
	if s.says(numbered(1), dhcp.Discover); s.reply().Type() != dhcp.Offer {
		t.Error("the client does not ask for it, and gets it")
	}
}

func TestMessagesThatAreNoRequestsOfClientsAreNamed(t *testing.T) {
	s := newStation(t, home())
	reply := numbered(1).message(dhcp.Offer)
	reply.Op = dhcp.BootReply
	nobody := numbered(1).message(dhcp.Discover)
	nobody.HLen = 0
	for want, m := range map[string]*dhcp.Message{
		"refused not_a_request": reply,
		"refused no_identity":   nobody,
		"refused type":          numbered(1).message(dhcp.ACK),
	} {
		s.expect(s.step(Receive{Port: lan, Dst: broadcast, Payload: m.Append(nil)}), want)
	}
	s.expect(s.step(Receive{Port: lan, Dst: broadcast, Payload: make([]byte, 100)}), "refused malformed")
	s.expect(s.says(host{mac: numbered(1).mac, port: dmz}, dhcp.Discover), "refused no_subnet")
	s.expect(s.says(numbered(1), 9), "refused type")
	if c := s.m.Counters(); c.Bad[dhcp.BadShort] != 1 || c.Received[NumTypes-1] != 1 || c.Refused[ReasonNoSubnet] != 1 {
		t.Errorf("%+v", c)
	}
}

func TestWhatIsTooLargeToBeRememberedIsRefused(t *testing.T) {
	s := newStation(t, home())
	long := func(code uint8, n int) host { return numbered(1).with(code, strings.Repeat("x", n)) }
	s.expect(s.says(long(dhcp.OptionClientID, 256), dhcp.Discover), "refused too_long")
	s.expect(s.says(long(dhcp.OptionRelayAgent, 256), dhcp.Discover), "refused too_long")
	s.expect(s.says(long(dhcp.OptionUserClass, 60000), dhcp.Discover), "refused too_long")
	s.says(long(dhcp.OptionClientID, 255).with(dhcp.OptionUserClass, strings.Repeat("x", 3000)), dhcp.Discover)
	if r := s.reply(); r == nil || len(r.Options[dhcp.OptionClientID]) != 255 {
		t.Errorf("happened: %q; expected an offer to the longest identifier that one option holds", describe(s.last))
	}
}

func TestAHostIsNotItsOwnRelayAgentInAnotherNetwork(t *testing.T) {
	other := home()
	other.Name, other.Port, other.Network, other.Server = "dmz", dmz, pfx("10.1.0.0/24"), addr("10.1.0.1")
	other.Ranges, other.Gateway = []Range{span1("10.1.0.100", "10.1.0.109")}, nil
	s := newStation(t, home(), other)
	guest := host{mac: numbered(1).mac, port: dmz, relay: addr("10.0.0.1")}
	s.expect(s.says(guest, dhcp.Discover), "refused forged_relay")
	guest.relay = addr("10.0.0.77")
	s.expect(s.says(guest, dhcp.Discover), "refused forged_relay")
	guest.relay = addr("10.1.0.77")
	s.expect(s.says(guest.with(dhcp.OptionSubnetSelection, "\x0a\x00\x00\x00"), dhcp.Discover), "refused forged_relay")
	if s.says(guest, dhcp.Discover); s.reply() == nil || s.sent().Dst != guest.relay { // one beside the host may be there
		t.Errorf("happened: %q", describe(s.last))
	}
}
