package integration

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// hasAddresses is an error unless exactly these addresses, with their lengths, are the port's.
func (u *uplink) hasAddresses(want ...string) error {
	u.t.Helper()
	p := find(u.r.rows("ports"), "name", "wan")
	if got := fmt.Sprint(p["addresses"]); got != fmt.Sprint(want) {
		return fmt.Errorf("the port has %v, not %v", got, want)
	}
	return nil
}

func TestDHCPClientBringsAddressRouteAndNAT(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		u := newUplink(t, kind, usual, uplinkPorts)
		has := u.bound(30*time.Second, "an address", anyAddress)
		if !(netip.MustParsePrefix("203.0.113.0/24").Contains(has)) || has.As4()[3] < 100 || has.As4()[3] > 150 {
			t.Errorf("%v is not of the provider's range", has)
		}
		n := u.inState(5*time.Second, "bound")
		if n["server"] != "203.0.113.1" || n["gateway"] != "203.0.113.1" || fmt.Sprint(n["dns"]) != "[203.0.113.1]" {
			t.Errorf("server, gateway or DNS are wrong: %v", n)
		}
		expires, _ := time.Parse(time.RFC3339, fmt.Sprint(n["expires"]))
		if left := time.Until(expires); left < 500*time.Second || left > 601*time.Second {
			t.Errorf("the lease of 600 s runs %v", left)
		}
		if err := u.hasAddresses(has.String() + "/24"); err != nil {
			t.Error(err)
		}
		u.r.has(5*time.Second, "routes", "prefix", "0.0.0.0/0", "next_hop", "203.0.113.1", "port", "wan", "protocol", "dhcp")
		// The host inside goes out by it, under that address.
		p2 := u.hosts["p2"]
		p2.ping(server1)
		u.isp.serveUDP(server1 + ":7")
		if seen := asks(t, p2.listenUDP("192.168.1.2:5000"), server1+":7"); seen.Addr() != has {
			t.Errorf("the server outside sees %v, not %v", seen, has)
		}
	})
}

func TestDHCPClientRenewsWithItsServerAndRebindsWithAny(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		g := usual
		g.lease, g.t1, g.t2 = 120, 3, 7
		u := newUplink(t, kind, g, uplinkPorts)
		has := u.bound(30*time.Second, "an address", anyAddress)
		mac := u.mac()
		answered := func(mark int, broadcast bool) {
			t.Helper()
			asked := u.watch.await(mark, 20*time.Second, "the REQUEST", func(s dhcpSeen) bool { return renewing(s, mac, has, broadcast) })
			u.watch.await(mark, 5*time.Second, "the ACK", func(s dhcpSeen) bool {
				return s.of(mac, dhcpv4.MessageTypeAck) && s.m.TransactionID == asked.m.TransactionID
			})
		}
		mark := u.watch.mark()
		answered(mark, false) // T1
		// What goes to the server itself is lost: at T2 everyone is asked.
		u.mute(true)
		mark = u.watch.mark()
		answered(mark, true)
		u.mute(false)
		u.inState(10*time.Second, "bound")
		answered(u.watch.mark(), false)
		if lost := u.sent(mark, dhcpv4.MessageTypeDiscover); len(lost) > 0 {
			t.Errorf("expected nothing but renewals: %v", lost)
		}
		if err := u.hasAddresses(has.String() + "/24"); err != nil {
			t.Error(err)
		}
	})
}

func TestDHCPClientKeepsItsAddressWhileTheServerIsGone(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		g := usual
		g.lease, g.t1, g.t2 = 120, 2, 4
		u := newUplink(t, kind, g, uplinkPorts)
		has := u.bound(30*time.Second, "an address", anyAddress)
		u.server.stop()
		u.inState(20*time.Second, "rebinding")
		u.hosts["p2"].ping(server1)
		mark := u.watch.mark()
		u.server.start(g)
		u.r.ctl("dhcp", "renew", "wan") // it would ask again after a minute
		u.inState(30*time.Second, "bound")
		if err := u.hasAddresses(has.String() + "/24"); err != nil {
			t.Error(err)
		}
		if lost := u.sent(mark, dhcpv4.MessageTypeDiscover); len(lost) > 0 {
			t.Errorf("expected it to rebind: %v", lost)
		}
	})
}

func TestDHCPClientGivesUpItsAddressWhenTheLeaseIsOver(t *testing.T) {
	t.Parallel()
	g := usual
	g.lease, g.t1, g.t2 = 8, 3, 6 // of the two only Kea gives as little
	u := newUplink(t, "kea", g, uplinkPorts)
	u.bound(30*time.Second, "an address", anyAddress)
	u.server.stop()
	u.inState(30*time.Second, "init", "selecting")
	if err := u.hasAddresses(); err != nil {
		t.Error(err)
	}
	u.r.hasNo(5*time.Second, "routes", "prefix", "0.0.0.0/0")
	if n := u.client(); n["reason"] == "" {
		t.Errorf("expected a reason: %v", n)
	}
	u.server.start(g)
	u.bound(90*time.Second, "an address again", anyAddress)
	u.hosts["p2"].ping(server1)
}

func TestDHCPClientMovesToAnotherAddressInOneStep(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		g := usual
		g.lease, g.t1, g.t2 = 120, 3, 6
		u := newUplink(t, kind, g, uplinkPorts)
		has := u.bound(30*time.Second, "an address", anyAddress)
		u.isp.serveUDP(server1 + ":7")
		p2 := u.hosts["p2"]
		s := p2.listenUDP("192.168.1.2:5000")
		if seen := asks(t, s, server1+":7"); seen.Addr() != has {
			t.Fatalf("the server outside sees %v, not %v", seen, has)
		}
		g.reserved = map[string]int{u.mac(): 77}
		mark := u.watch.mark()
		u.server.again(g)
		now := u.bound(40*time.Second, "the reserved address", func(a netip.Addr) bool { return a.String() == "203.0.113.77" })
		if err := u.hasAddresses(now.String() + "/24"); err != nil {
			t.Error(err)
		}
		mac := u.mac()
		u.watch.await(mark, time.Second, "the NAK", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeNak) })
		// The same inside port goes out under the new address at once.
		eventually(t, 10*time.Second, "the server outside to see the new address", func() error {
			if seen := asks(t, s, server1+":7"); seen.Addr() != now {
				return fmt.Errorf("it sees %v", seen)
			}
			return nil
		})
		u.isp.pingFails(has.String())
	})
}

func TestDHCPClientBeginsAnewInAnotherNetwork(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		g := usual
		// dnsmasq says NAK. Kea is silent to whom it does not know: the lease has to end.
		g.lease, g.t1, g.t2 = 8, 2, 4
		u := newUplink(t, kind, g, uplinkPorts)
		u.bound(30*time.Second, "an address", anyAddress)
		u.server.stop()
		u.isp.ip("addr", "flush", "dev", "br0")
		u.isp.ip("addr", "add", "203.0.77.1/24", "dev", "br0")
		g.network = "203.0.77"
		u.server.start(g)
		has := u.bound(90*time.Second, "an address of the other network", func(a netip.Addr) bool { return a.As4()[2] == 77 })
		if err := u.hasAddresses(has.String() + "/24"); err != nil {
			t.Error(err)
		}
		u.r.has(5*time.Second, "routes", "prefix", "0.0.0.0/0", "next_hop", "203.0.77.1", "port", "wan")
		u.r.hasNo(5*time.Second, "routes", "next_hop", "203.0.113.1")
		u.hosts["p2"].ping(server1)
	})
}

func TestDHCPClientReleasesAndRenewsByCommand(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		u := newUplink(t, kind, usual, uplinkPorts)
		has := u.bound(30*time.Second, "an address", anyAddress)
		mac := u.mac()
		mark := u.watch.mark()
		u.r.ctl("dhcp", "renew", "wan")
		u.watch.await(mark, 10*time.Second, "the renewal", func(s dhcpSeen) bool { return renewing(s, mac, has, false) })
		u.inState(10*time.Second, "bound")
		u.r.ctl("dhcp", "release", "wan")
		u.watch.await(mark, 10*time.Second, "the RELEASE", func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeRelease) && s.m.ClientIPAddr.String() == has.String() && s.dst.Addr().String() == "203.0.113.1"
		})
		u.inState(10*time.Second, "released")
		if err := u.hasAddresses(); err != nil {
			t.Error(err)
		}
		u.r.hasNo(5*time.Second, "routes", "prefix", "0.0.0.0/0")
		u.r.ctl("dhcp", "renew", "wan")
		u.bound(30*time.Second, "an address again", anyAddress)
		u.hosts["p2"].ping(server1)
	})
}

func TestDHCPClientKnowsItsAddressAfterAKill(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		u := newUplink(t, kind, usual, uplinkPorts)
		has := u.bound(30*time.Second, "an address", anyAddress)
		mac := u.mac()
		mark := u.watch.mark()
		u.r.kill()
		u.r.start()
		u.r.ready()
		u.bound(10*time.Second, "its address", func(a netip.Addr) bool { return a == has })
		u.watch.await(mark, 10*time.Second, "INIT-REBOOT", func(s dhcpSeen) bool {
			asked := s.m.Options.Get(dhcpv4.OptionRequestedIPAddress)
			return s.of(mac, dhcpv4.MessageTypeRequest) && s.m.ClientIPAddr.IsUnspecified() && len(asked) == 4 && netip.AddrFrom4([4]byte(asked)) == has &&
				len(s.m.Options.Get(dhcpv4.OptionServerIdentifier)) == 0
		})
		u.inState(10*time.Second, "bound")
		if lost := u.sent(mark, dhcpv4.MessageTypeDiscover); len(lost) > 0 {
			t.Errorf("expected no DISCOVER: %v", lost)
		}
		// With nobody to confirm it the address is used all the same, for it is still the router's.
		u.server.stop()
		u.r.kill()
		u.r.start()
		u.r.ready()
		u.bound(10*time.Second, "its address", func(a netip.Addr) bool { return a == has })
		u.hosts["p2"].ping(server1)
	})
}

func TestDHCPClientThatStopsGivesBackWhereItIsTold(t *testing.T) {
	t.Parallel()
	u := newUplink(t, "dnsmasq", usual, uplinkPorts)
	u.bound(30*time.Second, "an address", anyAddress)
	mac := u.mac()
	mark := u.watch.mark()
	u.r.stop()
	if given := u.watch.since(mark, func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeRelease) }); len(given) > 0 {
		t.Errorf("expected the address to be kept for the next start: %v", given)
	}
	u.r.write(releasing)
	u.r.start()
	u.r.ready()
	u.bound(30*time.Second, "an address", anyAddress)
	u.r.stop()
	u.watch.await(mark, 5*time.Second, "the RELEASE", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeRelease) })
}

const releasing = unlimited + `
ports:
  lan: {netns: {p2}, device: eth0, address: 192.168.1.1/24, host: {address: 192.168.1.2/24, gateway: 192.168.1.1}}
  wan: {netns: {isp}, device: tap0, bridge: br0, address: dhcp, dhcp_client: {release: true}}
nat: [{out: wan, type: masquerade}]
`

func TestDHCPClientDeclinesWhatSomebodyUses(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		// The whole range is taken, and the server does not look.
		g := usual
		g.first, g.last = 100, 100
		u := newUplink(t, kind, g, uplinkPorts, "squatter")
		mac := u.mac()
		u.watch.await(0, 30*time.Second, "the DECLINE", func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeDecline) && s.dst.Addr().String() == "255.255.255.255" && len(s.m.Options.Get(dhcpv4.OptionServerIdentifier)) == 4
		})
		if n := u.client(); fmt.Sprint(n["address"]) != "" {
			t.Errorf("expected no address: %v", n)
		}
		g.last = 150
		u.server.again(g)
		u.bound(60*time.Second, "a free address", func(a netip.Addr) bool { return a.As4()[3] > 102 })
		u.hosts["p2"].ping(server1)
	})
}
