package server

import (
	"testing"
	"time"

	"vrouterd/pkg/dhcp"
)

func TestDiscoverOfferRequestAck(t *testing.T) {
	s := newStation(t, home())
	h := numbered(9)
	s.expect(s.says(h, dhcp.Discover, "wants", "10.0.0.105"),
		"send offer 10.0.0.105 to 10.0.0.105:68 at 02:00:00:00:00:09 by port1")
	s.expectState("10.0.0.105", Offered)
	s.expect(s.says(h.with(dhcp.OptionHostname, "Printer"), dhcp.Request, "wants", "10.0.0.105", "server", "10.0.0.1"),
		"store bound 10.0.0.105 020000000009 until +1h0m0s",
		"send ack 10.0.0.105 to 10.0.0.105:68 at 02:00:00:00:00:09 by port1",
		"bound 10.0.0.105 named printer")
	s.expectState("10.0.0.105", Bound)
}

func TestRenewingClientKeepsItsAddress(t *testing.T) {
	s := newStation(t, home())
	h := numbered(9)
	a := s.leases(h)
	s.after(30 * time.Minute)
	s.expect(s.says(h, dhcp.Request, "ciaddr", a, "to", "10.0.0.1"),
		"store bound "+a+" 020000000009 until +1h30m0s",
		"send ack "+a+" to "+a+":68 by port1",
		"renewed "+a)
	s.after(59 * time.Minute)
	s.expectState(a, Bound)
}

func TestReleasedAddressIsKeptForItsClient(t *testing.T) {
	s := newStation(t, home())
	h := numbered(9)
	a := s.leases(h)
	s.expect(s.says(h, dhcp.Release, "ciaddr", a, "server", "10.0.0.1", "to", "10.0.0.1"),
		"store released "+a+" 020000000009 until +0s",
		"released "+a)
	s.expectState(a, Released)
	if again := s.leases(h); again != a {
		t.Errorf("the client got %s, expected the address that it released, %s", again, a)
	}
}
