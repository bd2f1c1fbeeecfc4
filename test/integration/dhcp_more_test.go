package integration

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"vrouterd/internal/packet"
)

func TestDHCPServerTakesOverTheLeasesOfDnsmasq(t *testing.T) {
	t.Parallel()
	// dnsmasq gives addresses, goes, and leaves its file.
	d := newDHCPLAN(t, dhcpPolicy{}, "dhclient", "dhcpcd")
	old := d.addHost("old")
	old.plug("lan", "192.168.1.2/24", "")
	d.r.ctl("port", "down", "lan")
	dir := d.shortDir("old")
	file := filepath.Join(dir, "conf")
	old.writeFile(file, d.policy.dnsmasq(dir))
	dnsmasq := old.start("dnsmasq", "--keep-in-foreground", "-C", file)
	d.startAll()
	dnsmasq.cmd.Process.Kill()
	<-dnsmasq.done
	old.ip("link", "set", "dev", "eth0", "down")
	d.r.ctl("port", "up", "lan")
	d.r.portUp("lan", true)
	leases := filepath.Join(dir, "leases")
	extra := fmt.Sprintf("%d 02:00:00:00:00:77 192.168.77.7 elsewhere *\n", time.Now().Add(time.Hour).Unix())
	if err := os.WriteFile(leases, []byte(readText(leases)+extra), 0o644); err != nil {
		t.Fatal(err)
	}
	said := d.r.ctl("dhcp", "import", leases)
	expect(t, said, "192.168.77.7")
	for _, c := range d.clients {
		held := c.address().Addr()
		d.leased(held, c.mac())
		if l := find(d.r.rows("dhcp", "leases"), "address", held.String()); l["hostname"] != c.name {
			t.Errorf("the name of %v is %v", held, l["hostname"])
		}
	}
	// The hosts boot, and keep what they have: the new server knows them.
	mark := d.watch.mark()
	held := map[string]netip.Addr{}
	for _, c := range d.clients {
		held[c.kind] = c.address().Addr()
		c.kill()
		c.start()
	}
	for _, c := range d.clients {
		c.bound(20*time.Second, "the address that dnsmasq gave", func(a netip.Addr) bool { return a == held[c.kind] })
	}
	if lost := d.watch.since(mark, func(s dhcpSeen) bool { return s.m.MessageType() == dhcpv4.MessageTypeNak }); len(lost) > 0 {
		t.Errorf("expected nobody to be refused: %v", lost)
	}
}

// arpFrame is an ARP packet in which a host claims an address: a request for another one.
func arpFrame(mac packet.MAC, claimed, asked netip.Addr) []byte {
	b := append([]byte{255, 255, 255, 255, 255, 255}, mac[:]...)
	b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	b = append(append(b, mac[:]...), claimed.AsSlice()...)
	return append(append(b, 0, 0, 0, 0, 0, 0), asked.AsSlice()...)
}

func TestDHCPServerHoldsARPAgainstItsLeases(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"log", "drop"} {
		t.Run(mode, func(t *testing.T) {
			d, crowd := newDHCPCrowd(t, dhcpPolicy{long: true, yaml: "    inspection: " + mode + "\n"}, "udhcpc")
			d.startAll()
			owner := d.clients[0]
			held, router := owner.address().Addr(), d.policy.server().Addr()
			owner.ping(router.String())
			thief := packet.MAC{2, 0xbe, 0, 0, 0, 9}
			crowd.send(arpFrame(thief, held, router))
			eventually(t, 10*time.Second, "the conflict to be told of", func() error {
				return contains(d.r.ctl("show", "events"), thief.String())
			})
			// Where it is dropped the router still knows the owner by that address.
			if mode == "drop" {
				if n := find(d.r.rows("neighbors"), "address", held.String()); n == nil || n["mac"] != owner.mac() {
					t.Errorf("the router has %v for %v", n, held)
				}
				if d.r.drops("arp_inspection") == 0 {
					t.Error("the packet is not among the drops")
				}
				owner.ping(router.String())
			}
			// The owner's own packets, and addresses outside of the ranges, are none of its business.
			dropped := d.r.drops("arp_inspection")
			owner.run("arping", "-c", "2", "-w", "3", "-I", "eth0", router.String())
			crowd.send(arpFrame(thief, netip.MustParseAddr("192.168.1.20"), router))
			if now := d.r.drops("arp_inspection"); now != dropped {
				t.Errorf("%d packets that are right are dropped", now-dropped)
			}
		})
	}
}

func TestDHCPClientBelievesOnlyTheServerThatItAsked(t *testing.T) {
	t.Parallel()
	u := newUplink(t, "dnsmasq", usual, uplinkPorts)
	has := u.bound(30*time.Second, "an address", anyAddress)
	// A rogue at the provider's network, which sees everything that is broadcast.
	rogue := u.addHost("rogue")
	u.isp.ip("link", "add", "dev", "rogue", "type", "veth", "peer", "name", "eth0", "netns", rogue.ns)
	u.isp.ip("link", "set", "dev", "rogue", "master", "br0", "up")
	rogue.ip("link", "set", "dev", "eth0", "up")
	crowd := rogue.crowd()
	port := packet.MAC(hexMAC(t, u.mac()))
	answer := func(kind dhcpv4.MessageType, xid uint32, server, given string) {
		id := netip.MustParseAddr(server)
		b := dhcpOctets(kind, xid, port, netip.Addr{}, append(append(option(54, id), option(3, id)...), 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0)...)
		b[0] = 2
		copy(b[16:], netip.MustParseAddr(given).AsSlice())
		frame := append(append(append([]byte{}, port[:]...), 2, 0xbe, 0, 0, 0, 1), 8, 0)
		crowd.send(append(frame, udpPacket(netip.AddrPortFrom(id, 67), netip.AddrPortFrom(netip.MustParseAddr(given), 68), b)...))
	}
	ignored := func(what string, n int) {
		t.Helper()
		eventually(t, 10*time.Second, what+" to be counted", func() error {
			if dropped := u.r.drops("dhcp_client"); dropped < n {
				return fmt.Errorf("%d of %d: %s", dropped, n, u.r.ctl("show", "drops"))
			}
			return nil
		})
	}
	// Unasked answers, while it is bound.
	answer(dhcpv4.MessageTypeAck, 99, "203.0.113.66", "203.0.113.9")
	answer(dhcpv4.MessageTypeOffer, 99, "203.0.113.66", "203.0.113.9")
	answer(dhcpv4.MessageTypeNak, 99, "203.0.113.66", has.String())
	ignored("answers that nobody asked for", 3)
	// While it renews, with the right number: a server that it did not ask says NAK, and gives something else.
	u.server.stop()
	mark := u.watch.mark()
	u.r.ctl("dhcp", "renew", "wan")
	mac := u.mac()
	asked := u.watch.await(mark, 10*time.Second, "the renewal", func(s dhcpSeen) bool { return renewing(s, mac, has, false) })
	xid := binary.BigEndian.Uint32(asked.m.TransactionID[:])
	answer(dhcpv4.MessageTypeNak, xid, "203.0.113.66", has.String())
	answer(dhcpv4.MessageTypeAck, xid, "203.0.113.66", "203.0.113.9")
	ignored("answers of a server that was not asked", 5)
	if err := u.hasAddresses(has.String() + "/24"); err != nil {
		t.Error(err)
	}
	u.server.start(usual)
	u.r.ctl("dhcp", "renew", "wan")
	u.inState(20*time.Second, "bound")
	if n := u.client(); n["server"] != "203.0.113.1" || n["gateway"] != "203.0.113.1" {
		t.Errorf("it believes somebody else: %v", n)
	}
	u.hosts["p2"].ping(server1)
}

// withDNS is the home behind a provider, with names.
const withDNS = uplinkPorts + "dns: {listen: [lan]}\n"

func TestDHCPClientBringsServersForDNS(t *testing.T) {
	t.Parallel()
	u := newUplink(t, "dnsmasq", usual, withDNS)
	u.bound(30*time.Second, "an address", anyAddress)
	p2 := u.hosts["p2"]
	resolves := func(when string) {
		t.Helper()
		eventually(t, 15*time.Second, "the provider's server to be asked "+when, func() error {
			out, _ := p2.try("dig", "@192.168.1.1", "+short", "+time=1", "+tries=1", "www.example")
			return contains(out, "198.51.100.1")
		})
	}
	resolves("with the lease")
	// Without the lease there is nobody to ask.
	u.r.ctl("dhcp", "release", "wan")
	u.inState(10*time.Second, "released")
	u.r.ctl("dns", "flush")
	if out, _ := p2.try("dig", "@192.168.1.1", "+time=2", "+tries=1", "www.example"); strings.Contains(out, "198.51.100.1") {
		t.Errorf("expected no answer without an uplink:\n%s", out)
	}
	u.r.ctl("dhcp", "renew", "wan")
	u.bound(30*time.Second, "an address", anyAddress)
	resolves("with the next lease")
}

func TestDHCPServerTellsOptionsThatClientsActOn(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{long: true, yaml: `    domain: home.arpa
    search: [home.arpa, example.com]
    ntp: 192.168.1.1
    options:
      26: 1400
      121: ["10.9.0.0/16 via 192.168.1.77", {to: default, via: 192.168.1.1}]
      224: hex:c0ffee
`}, "dhcpcd", "networkd")
	d.clients[0].more = "option classless_static_routes\noption ntp_servers\n"
	d.clients[1].more = "UseMTU=yes\nRequestOptions=224\n"
	d.startAll()
	each(t, d.clients, func(t *testing.T, c *dhcpHost) {
		eventually(t, 10*time.Second, "the classless route", func() error {
			return contains(c.ip("-4", "route"), "10.9.0.0/16 via 192.168.1.77")
		})
		if g := c.gateway(); g != "192.168.1.1" {
			t.Errorf("the gateway is %q", g)
		}
		eventually(t, 10*time.Second, "the MTU", func() error {
			// dhcpcd sets it on its routes, networkd on the card.
			return contains(c.ip("-4", "route")+c.ip("link", "show", "dev", "eth0"), "mtu 1400")
		})
		c.ping("192.168.1.1")
	})
	told := d.clients[1].told()
	if told["DOMAINNAME"] != "home.arpa" || told["NTP"] != "192.168.1.1" {
		t.Errorf("networkd was told %v", told)
	}
	mac := d.clients[1].mac()
	ack := d.watch.await(0, time.Second, "the ACK for networkd", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeAck) })
	if got := fmt.Sprintf("%x", ack.m.Options.Get(dhcpv4.GenericOptionCode(224))); got != "c0ffee" {
		t.Errorf("option 224 is %q", got)
	}
}

func TestDHCPServerGivesAtOnceToWhoAsksForThat(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{long: true, yaml: "    rapid_commit: true\n"}, "dhcpcd", "udhcpc")
	d.clients[0].more = "option rapid_commit\n"
	d.startAll()
	messages := func(c *dhcpHost) (types []dhcpv4.MessageType) {
		mac := c.mac()
		for _, s := range d.watch.since(0, func(s dhcpSeen) bool { return s.m.ClientHWAddr.String() == mac }) {
			types = append(types, s.m.MessageType())
		}
		return types
	}
	if got := fmt.Sprint(messages(d.clients[0])); got != "[DISCOVER ACK]" {
		t.Errorf("dhcpcd asks for rapid commit: %s", got)
	}
	if got := fmt.Sprint(messages(d.clients[1])); got != "[DISCOVER OFFER REQUEST ACK]" {
		t.Errorf("udhcpc does not: %s", got)
	}
	d.clients[0].ping("192.168.1.1")
}

func TestDHCPServerInformsHostsThatHaveAddresses(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{long: true, yaml: "    domain: home.arpa\n"}, "fixed")
	h := d.clients[0]
	h.ip("addr", "add", "192.168.1.20/24", "dev", "eth0")
	socket := h.listenUDP("192.168.1.20:68")
	mac := packet.MAC(h.linkAddress())
	server := netip.MustParseAddrPort("192.168.1.1:67")
	if _, err := socket.WriteToUDPAddrPort(dhcpOctets(dhcpv4.MessageTypeInform, 5, mac, netip.MustParseAddr("192.168.1.20"), 55, 3, 6, 15, 51), server); err != nil {
		t.Fatal(err)
	}
	ack := d.watch.await(0, 10*time.Second, "the answer", func(s dhcpSeen) bool { return s.of(mac.String(), dhcpv4.MessageTypeAck) })
	if ack.dst.String() != "192.168.1.20:68" || !ack.m.YourIPAddr.IsUnspecified() || ack.m.Options.Has(dhcpv4.OptionIPAddressLeaseTime) ||
		string(ack.m.Options.Get(dhcpv4.OptionDomainName)) != "home.arpa" || len(ack.m.Options.Get(dhcpv4.OptionDomainNameServer)) != 4 {
		t.Errorf("expected DNS and domain, and no lease: %v, %v", ack, ack.m.Options)
	}
	if all := d.r.rows("dhcp", "leases"); len(all) != 0 {
		t.Errorf("there are leases: %v", all)
	}
}

func TestDHCPServerHasRangesForClassesOfVendors(t *testing.T) {
	t.Parallel()
	d := newDHCPLAN(t, dhcpPolicy{long: true, yaml: "    pools: [{name: phones, vendor: phone, range: 192.168.1.20-192.168.1.29, options: {150: 192.168.1.9}}]\n"}, "dhcpcd", "udhcpc")
	d.clients[0].more = "vendorclassid phone-7\n"
	for _, c := range d.clients {
		c.start()
	}
	phone := d.clients[0].bound(30*time.Second, "an address for phones", func(a netip.Addr) bool { return a.As4()[3] >= 20 && a.As4()[3] <= 29 })
	d.clients[1].bound(30*time.Second, "an address of the usual range", d.policy.contains)
	if l := find(d.r.rows("dhcp", "leases"), "address", phone.String()); l["vendor"] != "phone-7" {
		t.Errorf("the lease has %v", l)
	}
}
