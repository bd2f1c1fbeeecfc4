package router

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/internal/port"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dhcp"
)

func TestAnUplinkWorksBehindFirewallAndReversePath(t *testing.T) {
	l, s := homeServed(t, strings.Replace(uplink, "dhcp_client:", "reverse_path: strict, dhcp_client:", 1)+"firewall: home\n", Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	l.pings(l.host("lan"), "203.0.113.9")
	if n := l.counter("punt_dhcp_client"); n != 2 {
		t.Errorf("%d answers came in", n)
	}
	if n := l.dropped("firewall_drop"); n != 0 {
		t.Errorf("the firewall dropped %d", n)
	}
}

func TestARenewalOfTheUplinkLeavesSessionsAlone(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	serveTCP(t, l.host("wan"), 7)
	c := dialTCP(t, l.host("lan"), "203.0.113.9:7")
	for range 3 {
		echoes(t, c, pattern(1000))
		if err := l.DHCPRenew(tester, "wan"); err != nil {
			t.Fatal(err)
		}
		m := s.next(dhcp.Request)
		if m.CIAddr != ip4("203.0.113.50") || m.src != m.CIAddr || m.dst != s.addr {
			t.Errorf("renewed from %v to %v", m.src, m.dst)
		}
		s.gives(m, dhcp.ACK, "203.0.113.50/24", "203.0.113.9", 3600)
		l.happens("dhcp_client_renewed")
		echoes(t, c, pattern(1000))
	}
	if _, ok := l.eventOf("sessions_flushed"); ok {
		t.Error("sessions were ended")
	}
}

func TestAnUplinkWhoseServerIsGoneKeepsItsAddressUntilItExpires(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	began := time.Now()
	s.lends("203.0.113.50/24", "203.0.113.9", 4)
	l.hasAddress("wan", "203.0.113.50/24")
	first := s.next(dhcp.Request)
	if first.dst != s.addr {
		t.Errorf("at T1 to %v", first.dst)
	}
	l.hasAddress("wan", "203.0.113.50/24")
	eventually(t, "at T2 to everyone", func() bool {
		select {
		case m := <-s.got:
			return m.Type() == dhcp.Request && m.dst == packet.Broadcast && m.src == ip4("203.0.113.50")
		default:
			return false
		}
	})
	l.hasAddress("wan", "203.0.113.50/24")
	if e := l.happens("dhcp_client_lost"); e.Time.Sub(began) < 4*time.Second {
		t.Errorf("lost after %v", e.Time.Sub(began))
	}
	l.hasAddress("wan")
	if got := l.routesOf("dhcp"); len(got) != 0 {
		t.Errorf("%q", got)
	}
	l.do(func() {
		if got := l.stateful.outside; len(got) != 0 {
			t.Errorf("NAT has %v", got)
		}
	})
	for len(s.got) > 0 && (<-s.got).Type() == dhcp.Request { // what else it has asked before
	}
}

func TestALinkThatWasDownConfirmsItsLease(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	l.w.tell("wan", port.State{Word: "down", Reason: "unplugged"})
	eventually(t, "the port is down", func() bool { return !l.port("wan").Up })
	l.hasAddress("wan", "203.0.113.50/24")
	expectError(t, l.DHCPRenew(tester, "wan"), "conflict", "when it is up")
	if row := l.DHCP()[0]; !strings.Contains(row.Reason, "kept until it expires") {
		t.Errorf("%q", row.Reason)
	}
	l.w.tell("wan", port.State{Up: true, Word: "up"})
	m := s.next(dhcp.Request)
	if m.Addr(dhcp.OptionRequestedAddress) != ip4("203.0.113.50") || m.CIAddr != 0 || m.dst != packet.Broadcast {
		t.Errorf("%+v", m.Message)
	}
	l.pings(l.host("lan"), "203.0.113.9") // meanwhile
	s.gives(m, dhcp.NAK, "", "", 0)       // it is another network now
	l.hasAddress("wan")
	s.lends("203.0.113.60/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.60/24")
}

func TestAnAddressThatSomebodyKeepsTakingIsGivenUp(t *testing.T) {
	l, s := homeServed(t, uplink, Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	thief := s.w.station(66)
	claim := func() {
		m := arp.Message{Op: arp.OpRequest, SenderMAC: thief.mac, SenderAddr: ip4("203.0.113.50"), TargetAddr: ip4("203.0.113.50")}
		s.w.h.SendFrame(m.AppendFrame(nil, packet.BroadcastMAC, thief.mac))
	}
	claim()
	l.happens("address_conflict")
	l.do(func() { l.arp.Configure(fast) })
	l.hasAddress("wan", "203.0.113.50/24") // defended
	l.do(func() {
		l.leaseContested(arp.Conflict{Port: arp.PortID(l.ports["wan"].id), Addr: ip4("203.0.113.50"), MAC: thief.mac, Defended: true})
	})
	if m := s.next(dhcp.Decline); m.Addr(dhcp.OptionRequestedAddress) != ip4("203.0.113.50") {
		t.Errorf("%+v", m.Message)
	}
	l.hasAddress("wan")
}

func TestAPortThatIsRemovedOrStoppedGivesItsAddressBack(t *testing.T) {
	l, s := homeServed(t, strings.Replace(uplink, "check: false", "check: false, release: true", 1), Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	l.hasAddress("wan", "203.0.113.50/24")
	l.stop()
	if m := s.next(dhcp.Release); m.CIAddr != ip4("203.0.113.50") || m.dst != s.addr {
		t.Errorf("%+v", m.Message)
	}
}

func TestMappingsMoveWithALeasedAddress(t *testing.T) {
	l, s := homeServed(t, uplink+"port_mapping: {ports: [lan], nat_pmp: true}\n", Options{})
	announced := taken(l.host("lan"), func(ip packet.IPv4) bool { return ip.Dst().String() == "224.0.0.1" })
	tells := func(want string) {
		t.Helper()
		for {
			u := packet.UDP(next(t, "announcement of "+want, announced).Payload())
			if b := u.Payload(); u.DstPort() == 5350 && b[0] == 0 && len(b) == 12 && netip.AddrFrom4([4]byte(b[8:])).String() == want {
				return
			}
		}
	}
	s.lends("203.0.113.50/24", "203.0.113.9", 3600)
	tells("203.0.113.50")
	if err := l.DHCPRenew(tester, "wan"); err != nil {
		t.Fatal(err)
	}
	s.gives(s.next(dhcp.Request), dhcp.NAK, "", "", 0)
	s.lends("203.0.113.60/24", "203.0.113.9", 3600)
	tells("203.0.113.60")
}

func TestARouterWithoutALeaseIsReady(t *testing.T) {
	l, _ := homeServed(t, uplink, Options{})
	if s := l.Status(); !s.Ready {
		t.Errorf("%+v", s)
	}
	l.pings(l.host("lan"), "192.168.5.5")
	if rows := l.DHCP(); len(rows) != 1 || rows[0].State != "selecting" || rows[0].Reason == "" || rows[0].Address != "" {
		t.Errorf("%+v", rows)
	}
	if !slices.Equal(l.port("wan").Addresses, []string{}) {
		t.Errorf("%v", l.port("wan").Addresses)
	}
}

func TestDNSServersOfALeaseThatAreTheRouterItselfAreNotAsked(t *testing.T) {
	l, s := homeServed(t, uplink+"dns: {listen: [lan]}\n", Options{})
	s.lends("203.0.113.50/24", "203.0.113.9", 3600, func(o dhcp.Options) {
		o.SetAddr(dhcp.OptionDNS, ip4("192.168.1.1"), ip4("203.0.113.50"), ip4("203.0.113.53"))
	})
	l.hasAddress("wan", "203.0.113.50/24")
	if up := l.DNS()[0].Upstreams; len(up) != 1 || up[0].Address != "203.0.113.53:53" {
		t.Errorf("asked are %+v", up)
	}
}
