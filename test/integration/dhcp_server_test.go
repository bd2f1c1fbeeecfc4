package integration

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestDHCPServerGivesEveryClientAddressMaskGatewayAndDNS(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{long: true}, clientKinds...)
	d.startAll()
	owners := map[netip.Addr]string{}
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		held := c.address()
		if held.Bits() != 24 {
			t.Errorf("the mask of %v is not the network's", held)
		}
		if other := owners[held.Addr()]; other != "" {
			t.Errorf("%v is %s's too", held, other)
		}
		owners[held.Addr()] = c.name
		eventually(t, 10*time.Second, "the gateway", func() error {
			if g := c.gateway(); g != "192.168.1.1" {
				return fmt.Errorf("it is %q", g)
			}
			return nil
		})
		eventually(t, 10*time.Second, "DNS, server and time of the lease", func() error {
			told := c.told()
			seconds, _ := strconv.Atoi(told["lease"])
			if told["dns"] != "192.168.1.1" || told["server"] != "192.168.1.1" || seconds < 100 || seconds > 120 {
				return fmt.Errorf("it was told %v", told)
			}
			return nil
		})
		c.ping("192.168.1.1")
		d.leased(held.Addr(), c.mac())
	})
	d.clients[0].ping(d.clients[1].address().Addr().String())
}

// renewing tells whether a message is the REQUEST of a client that has its address, to the server itself or to everyone.
func renewing(s dhcpSeen, mac string, held netip.Addr, broadcast bool) bool {
	return s.of(mac, dhcpv4.MessageTypeRequest) && s.m.ClientIPAddr.String() == held.String() && len(s.m.Options.Get(dhcpv4.OptionServerIdentifier)) == 0 &&
		(s.dst.Addr().String() == "255.255.255.255") == broadcast
}

func TestDHCPServerRenewsForTheClientThatAsksIt(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{}, clientKinds...)
	d.startAll()
	mark := d.watch.mark()
	for _, c := range d.clients {
		c.nudge()
	}
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		held, mac := c.address().Addr(), c.mac()
		asked := d.watch.await(mark, 20*time.Second, c.name+" to renew", func(s dhcpSeen) bool { return renewing(s, mac, held, false) })
		answer := d.watch.await(mark, 5*time.Second, "the answer to "+c.name, func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeAck) && s.m.TransactionID == asked.m.TransactionID
		})
		if answer.m.YourIPAddr.String() != held.String() || answer.dst.Addr() != held {
			t.Errorf("expected the answer to be sent to the address that is renewed: %v", answer)
		}
		if lost := d.watch.since(mark, func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeNak) }); len(lost) > 0 {
			t.Errorf("expected nothing but the renewal: %v", lost)
		}
		if now := c.address().Addr(); now != held {
			t.Errorf("the address is %v and was %v", now, held)
		}
	})
}

func TestDHCPServerAnswersTheClientThatRebinds(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{}, clientKinds...)
	d.startAll()
	// What is sent to the server's own address does not arrive: clients turn to everyone.
	d.silence(true)
	mark := d.watch.mark()
	for _, c := range d.clients {
		c.nudge()
	}
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		held, mac := c.address().Addr(), c.mac()
		asked := d.watch.await(mark, 40*time.Second, c.name+" to rebind", func(s dhcpSeen) bool { return renewing(s, mac, held, true) })
		answer := d.watch.await(mark, 5*time.Second, "the answer to "+c.name, func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeAck) && s.m.TransactionID == asked.m.TransactionID
		})
		if answer.m.YourIPAddr.String() != held.String() {
			t.Errorf("expected %v to be kept: %v", held, answer)
		}
		if now := c.address().Addr(); now != held {
			t.Errorf("the address is %v and was %v", now, held)
		}
	})
}

func TestDHCPServerTakesBackWhatIsReleased(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{long: true}, clientKinds...)
	d.startAll()
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		held, mac := c.address().Addr(), c.mac()
		d.leased(held, mac)
		// networkd takes its address away at once: a RELEASE that still waited for ARP would be lost.
		c.ping("192.168.1.1")
		mark := d.watch.mark()
		c.release()
		d.watch.await(mark, 10*time.Second, "the RELEASE of "+c.name, func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeRelease) && s.m.ClientIPAddr.String() == held.String()
		})
		if d.r == nil && c.kind == "networkd" {
			return // its RELEASE has no server identifier, and dnsmasq passes it over
		}
		eventually(t, 10*time.Second, "the lease to be given back", func() error {
			if state, _ := d.lease(held); state != "released" && state != "" {
				return fmt.Errorf("it is %s", state)
			}
			return nil
		})
	})
}

func TestDHCPServerKnowsClientsThatReboot(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{long: true}, clientKinds...)
	d.startAll()
	held := map[string]netip.Addr{}
	for _, c := range d.clients {
		held[c.kind] = c.address().Addr()
	}
	mark := d.watch.mark()
	for _, c := range d.clients {
		c.kill()
		c.start()
	}
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		c.bound(20*time.Second, "the address that it had", func(a netip.Addr) bool { return a == held[c.kind] })
		mac := c.mac()
		discovered := len(d.watch.since(mark, func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeDiscover) })) > 0
		if c.kind == "udhcpc" {
			// It has no INIT-REBOOT: it asks for the address in its DISCOVER.
			if !discovered {
				t.Error("expected a DISCOVER")
			}
			return
		}
		if discovered {
			t.Error("expected INIT-REBOOT, got a DISCOVER")
		}
		d.watch.await(mark, time.Second, "INIT-REBOOT", func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeRequest) && s.m.ClientIPAddr.IsUnspecified() && len(s.m.Options.Get(dhcpv4.OptionServerIdentifier)) == 0 &&
				netip.AddrFrom4([4]byte(s.m.Options.Get(dhcpv4.OptionRequestedIPAddress))) == held[c.kind]
		})
	})
}

func TestDHCPServerRefusesClientsOfANetworkThatHasMoved(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{}, clientKinds...)
	d.startAll()
	// Half of them find out when they rebind, half when they boot.
	mark := d.watch.mark()
	booting := map[string]bool{"dhclient": true, "dhcpcd": true}
	for _, c := range d.clients {
		if booting[c.kind] {
			c.kill()
		}
	}
	d.tell(dhcpPolicy{network: "192.168.77"})
	for _, c := range d.clients {
		if booting[c.kind] {
			c.start()
		} else {
			c.nudge()
		}
	}
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		mac := c.mac()
		d.watch.await(mark, 40*time.Second, "the NAK for "+c.name, func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeNak) && s.dst.Addr().String() == "255.255.255.255"
		})
		c.bound(20*time.Second, "an address of the new network", d.policy.contains)
		eventually(t, 10*time.Second, "the new gateway", func() error {
			if g := c.gateway(); g != "192.168.77.1" {
				return fmt.Errorf("it is %q", g)
			}
			return nil
		})
		c.ping("192.168.77.1")
	})
}

func TestDHCPServerGivesAChangedReservationAtTheNextRenewal(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{}, clientKinds...)
	d.startAll()
	p := d.policy
	p.reservations = map[string]string{}
	for i, c := range d.clients {
		p.reservations[c.mac()] = fmt.Sprintf("192.168.1.%d", 50+i) // outside of the range
	}
	mark := d.watch.mark()
	d.tell(p)
	for _, c := range d.clients {
		c.nudge()
	}
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		mac := c.mac()
		d.watch.await(mark, 20*time.Second, c.name+" to be refused", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeNak) })
		want := netip.MustParseAddr(p.reservations[mac])
		c.bound(20*time.Second, "the reserved address", func(a netip.Addr) bool { return a == want })
		d.leased(want, mac)
	})
}

// squat gives the host addresses that the server takes for free.
func (h *host) squat(network string, first, last int) {
	h.lab.t.Helper()
	for i := first; i <= last; i++ {
		h.ip("addr", "add", fmt.Sprintf("%s.%d/24", network, i), "dev", "eth0")
	}
}

func TestDHCPServerDoesNotOfferWhatSomebodyUses(t *testing.T) {
	t.Parallel()
	// Most of the range is taken by a host that never asked.
	d := newDHCPLAN(t, dhcpPolicy{first: 100, last: 106, probe: true, long: true}, "dhclient", "udhcpc", "squatter")
	squatter := d.clients[2]
	squatter.squat("192.168.1", 100, 104)
	for _, c := range d.clients[:2] {
		c.check = true
		c.start()
	}
	for _, c := range d.clients[:2] {
		c.bound(60*time.Second, "a free address", func(a netip.Addr) bool { return a.As4()[3] >= 105 })
	}
	if declined := d.watch.since(0, func(s dhcpSeen) bool { return s.m.MessageType() == dhcpv4.MessageTypeDecline }); len(declined) > 0 {
		t.Errorf("expected the server to find out by itself, not by the clients: %v", declined)
	}
}

func TestDHCPServerLetsDeclinedAddressesRest(t *testing.T) {
	t.Parallel()
	// It is not to look itself, so that the clients have to. networkd finds the conflict too, but gives the address up without a word
	// (systemd 252).
	d := newDHCPLAN(t, dhcpPolicy{first: 100, last: 102, long: true}, "squatter", "dhclient", "udhcpc", "dhcpcd")
	squatter, clients := d.clients[0], d.clients[1:]
	squatter.squat("192.168.1", 100, 102)
	for _, c := range clients {
		c.check = true
		c.start()
	}
	declined := map[string]bool{}
	each(t, clients, func(t *testing.T, c *dhcpHost) {
		mac := c.mac()
		message := d.watch.await(0, 30*time.Second, c.name+" to decline", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeDecline) })
		address := netip.AddrFrom4([4]byte(message.m.Options.Get(dhcpv4.OptionRequestedIPAddress)))
		declined[address.String()] = true
		if d.r != nil {
			eventually(t, 10*time.Second, "the address to rest", func() error {
				if state, _ := d.lease(address); state != "declined" {
					return fmt.Errorf("%v is %s", address, state)
				}
				return nil
			})
		}
	})
	if len(declined) != len(clients) && d.r != nil { // dnsmasq has them rest for a moment only
		t.Errorf("expected each client to decline another address: %v", declined)
	}
	// With room beside them nobody is given what rests.
	p := d.policy
	p.last = 130
	mark := d.watch.mark()
	d.tell(p)
	each(t, clients, func(t *testing.T, c *dhcpHost) {
		c.bound(40*time.Second, "a free address", func(a netip.Addr) bool { return a.As4()[3] > 102 })
	})
	again := d.watch.since(mark, func(s dhcpSeen) bool {
		return s.m.MessageType() == dhcpv4.MessageTypeOffer && declined[s.m.YourIPAddr.String()]
	})
	if len(again) > 0 && d.r != nil { // dnsmasq has forgotten, for it was started anew
		t.Errorf("expected declined addresses to rest: %v", again)
	}
	if d.r != nil {
		d.r.ctl("dhcp", "lease", "del", "192.168.1.100")
		if state, _ := d.lease(netip.MustParseAddr("192.168.1.100")); state != "" {
			t.Errorf("expected the rest to be over: 192.168.1.100 is %s", state)
		}
		expect(t, strings.ToLower(d.r.ctl("show", "events")), "declined")
	}
}
