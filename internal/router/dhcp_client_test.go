package router

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"vrouterd/pkg/dhcp"
)

const uplink = `name: r1
ports:
  lan: {address: 192.168.1.1/24}
  srv: {address: 192.168.5.1/24}
  wan: {address: dhcp, dhcp_client: {check: false}}
icmp: {rate: 0, per_destination: 0}
nat: [{out: wan, type: masquerade}]
`

// routesOf are the routes of a protocol in words.
func (l *lab) routesOf(protocol string) (out []string) {
	for _, v := range l.Routes() {
		if v.Protocol == protocol {
			out = append(out, fmt.Sprintf("%s via %s port %s distance %d active %v", v.Prefix, v.NextHop, v.Port, v.Distance, v.Active))
		}
	}
	return out
}

func TestALeaseBringsAddressRouteAndNAT(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	if got := l.routesOf("dhcp"); !slices.Equal(got, []string{"0.0.0.0/0 via 203.0.113.9 port wan distance 210 active true"}) {
		t.Errorf("%q", got)
	}
	l.pings(l.host("lan"), "203.0.113.9") // by NAT's address, since the host outside knows no other way back
	l.pings(l.host("wan"), "203.0.113.50")
	if e := l.happens("dhcp_client_bound"); e.Subject != "wan" || e.Fields["address"] != "203.0.113.50/24" || e.Fields["server"] != "203.0.113.9" {
		t.Errorf("%+v", e)
	}
}

func TestClasslessRoutesWinOverTheGateway(t *testing.T) {
	l, s := homeServed(t, uplink+"routes: [{to: 198.51.100.0/24, via: 203.0.113.77, port: wan}]\n", Options{})
	s.lends("203.0.113.50/24", "203.0.113.1", 3600, func(o dhcp.Options) {
		o[dhcp.OptionClasslessRoutes] = []byte{0, 203, 0, 113, 9, 16, 10, 9, 203, 0, 113, 8, 8, 11, 0, 0, 0, 0}
	})
	l.hasAddress("wan", "203.0.113.50/24")
	want := []string{
		"0.0.0.0/0 via 203.0.113.9 port wan distance 210 active true",
		"10.9.0.0/16 via 203.0.113.8 port wan distance 210 active true",
		"11.0.0.0/8 via  port wan distance 210 active true",
	}
	if got := l.routesOf("dhcp"); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// A static route by a next hop of the leased network has found its way.
	if got := l.routesOf("static"); len(got) != 1 || !strings.HasSuffix(got[0], "active true") {
		t.Errorf("%q", got)
	}
}

func TestAChangedAddressIsOneStepForRoutesNATAndDNS(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600, func(o dhcp.Options) { o.SetAddr(dhcp.OptionDNS, ip4("203.0.113.53")) })
	l.hasAddress("wan", "203.0.113.50/24")
	from := serveTCP(t, l.host("wan"), 7)
	c := dialTCP(t, l.host("lan"), "203.0.113.9:7")
	echoes(t, c, pattern(100))
	if who := <-from; who.Addr().String() != "203.0.113.50" {
		t.Errorf("the far end talks to %v", who)
	}
	if err := l.DHCPRenew(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	s.gives(s.next(dhcp.Request), dhcp.NAK, "", "", 0)
	s.lends("203.0.113.60/24", "203.0.113.9", 3600, func(o dhcp.Options) { o.SetAddr(dhcp.OptionDNS, ip4("203.0.113.54")) })
	l.hasAddress("wan", "203.0.113.60/24")
	for _, one := range l.sessionsOf() {
		if strings.HasPrefix(one.Outside, "203.0.113.50:") {
			t.Errorf("a session lives on at the old address: %+v", one)
		}
	}
	if got := l.fibText(); strings.Contains(got, "203.0.113.50/32") {
		t.Errorf("the old address is still there:\n%s", got)
	}
	c2 := dialTCP(t, l.host("lan"), "203.0.113.9:7")
	echoes(t, c2, pattern(100))
	if who := <-from; who.Addr().String() != "203.0.113.60" {
		t.Errorf("the far end talks to %v", who)
	}
	l.do(func() {
		if got := l.leasedDNS(); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("203.0.113.54")}) {
			t.Errorf("DNS servers %v", got)
		}
	})
}

func TestReloadDoesNotTouchALease(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	l.apply(strings.Replace(uplink, "check: false", "check: false, distance: 5", 1) + "routes: [{to: 10.0.0.0/8, via: 203.0.113.9, port: wan}]\n")
	l.hasAddress("wan", "203.0.113.50/24")
	if got := l.routesOf("dhcp"); !slices.Equal(got, []string{"0.0.0.0/0 via 203.0.113.9 port wan distance 5 active true"}) {
		t.Errorf("%q", got)
	}
	s.silent("a reload asks nobody")
	// Without `address: dhcp` the address is given back.
	l.apply(strings.Replace(uplink, "address: dhcp, dhcp_client: {check: false}", "address: 203.0.113.1/24", 1))
	if m := s.next(dhcp.Release); m.CIAddr != ip4("203.0.113.50") || m.dst != s.addr {
		t.Errorf("released %v to %v", m.CIAddr, m.dst)
	}
	l.hasAddress("wan", "203.0.113.1/24")
	if got := l.routesOf("dhcp"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	l.pings(l.host("lan"), "203.0.113.9")
}

func TestAnAddressThatSomebodyHasIsDeclined(t *testing.T) {
	l, s := homeServed(t, strings.Replace(uplink, "check: false", "check: true", 1), Options{})
	taken := s.w.station(77)
	taken.has(ip4("203.0.113.50"))
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	if m := s.next(dhcp.Decline); m.Addr(dhcp.OptionRequestedAddress) != ip4("203.0.113.50") {
		t.Errorf("declined %v", m.Addr(dhcp.OptionRequestedAddress))
	}
	l.hasAddress("wan")
}

func TestALeaseSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	l, s := homeServed(t, uplink, Options{StateDir: dir})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	l.stop()
	l, s = homeServed(t, uplink, Options{StateDir: dir})
	l.hasAddress("wan", "203.0.113.50/24") // used meanwhile
	m := s.next(dhcp.Request)
	if m.Addr(dhcp.OptionRequestedAddress) != ip4("203.0.113.50") || m.CIAddr != 0 || m.Options[dhcp.OptionServerID] != nil {
		t.Errorf("not INIT-REBOOT: %+v", m.Message)
	}
	s.gives(m, dhcp.ACK, "203.0.113.50/24", "203.0.113.9", 3600)
	l.happens("dhcp_client_renewed")
	l.pings(l.host("lan"), "203.0.113.9")
}

func TestALeaseInTheNetworkOfAnotherPortIsNotUsedUntilThatHasAnother(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.lends("192.168.1.50/24", "192.168.1.9", 3600)
	e := l.happens("dhcp_client_overlap")
	if row := l.DHCP()[0]; !strings.Contains(row.Reason, "192.168.1.50/24, which overlaps 192.168.1.0/24 of port lan") || row.Address != "" || !strings.Contains(e.Message, row.Reason) {
		t.Errorf("%+v, %+v", row, e)
	}
	l.hasAddress("wan")
	l.pings(l.host("lan"), "192.168.1.1")
	if got := l.routesOf("dhcp"); len(got) > 0 {
		t.Errorf("%q", got)
	}
	l.apply(strings.Replace(uplink, "192.168.1.1/24", "192.168.7.1/24", 1))
	l.hasAddress("wan", "192.168.1.50/24")
	if got := l.routesOf("dhcp"); len(got) != 1 {
		t.Errorf("%q", got)
	}
	l.apply(uplink) // and back
	l.hasAddress("wan")
	l.pings(l.host("lan"), "192.168.1.1")
}

// A server far away is asked by the port that it serves: the best way to it may be another uplink's, and that provider has no use for the address.
func TestAServerFarAwayIsAskedByThePortThatItServes(t *testing.T) {
	l, s := homeServed(t, strings.Replace(uplink, "check: false", "check: false, default_route: false", 1)+"routes: [{to: 0.0.0.0/0, via: 192.168.5.2}]\n", Options{})
	s.addr = ip4("198.51.100.9")
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	if err := l.DHCPRenew(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	m := s.next(dhcp.Request)
	if m.dst != s.addr || m.CIAddr != ip4("203.0.113.50") {
		t.Errorf("%v for %v", m.dst, m.CIAddr)
	}
	liar := s.w.station(0xbad)
	m.XID++ // it does not know what was asked
	(&serverOn{liar, s.addr}).gives(m, dhcp.NAK, "", "", 0)
	eventually(t, "the answer is ignored", func() bool { return l.DHCP()[0].Refused > 0 })
	if err := l.DHCPRelease(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	if m := s.next(dhcp.Release); m.eth != s.mac {
		t.Errorf("given back to %v, which only claims to be the server", m.eth)
	}
}

func TestReleaseAndRenewByTheOperator(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.next(dhcp.Discover)
	if err := l.DHCPRelease(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	if row := l.DHCP()[0]; row.State != "released" || !strings.Contains(row.Reason, "`vrctl dhcp renew wan`") {
		t.Errorf("released without a lease: %s, %q", row.State, row.Reason)
	}
	if err := l.DHCPRenew(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	if err := l.DHCPRelease(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	s.next(dhcp.Release)
	l.hasAddress("wan")
	l.happens("dhcp_client_lost")
	s.silent("released")
	if row := l.DHCP()[0]; row.Reason != "the address was given back" || row.Refused != 0 {
		t.Errorf("%q, and %d messages refused", row.Reason, row.Refused)
	}
	if err := l.DHCPRenew(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	if row := l.DHCP()[0]; row.Reason != "no server has answered yet" {
		t.Errorf("asked anew, and still: %q", row.Reason)
	}
	s.lends("203.0.113.51/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.51/24")
	expectError(t, l.DHCPRenew(tester, "lan"), "conflict", "lan")
	expectError(t, l.DHCPRelease(tester, "nowhere"), "not_found", "nowhere")
}
