package integration

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// relayLAN is a network whose server is elsewhere:
//
//	dhclient --+
//	udhcpc   --+-- switch -- 192.168.1.1 [relay] 10.0.0.1 -- 10.0.0.2 srv, with dnsmasq or Kea
//	crowd    --+
//
// With VROUTERD_TEST_DHCP=dhcrelay a namespace with ISC's relay stands where the router would.
type relayLAN struct {
	*lab
	r          *router // nil: it is dhcrelay
	srv        *host
	server     *dhcpServer
	near, far  *dhcpWatch // at the clients' switch, and at the server
	clients    []*dhcpHost
	crowd      *dhcpCrowd
	serverAddr netip.Addr
}

const relayConfig = unlimited + `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 192.168.1.1/24}
  up: {netns: {srv}, device: eth0, address: 10.0.0.1/24, host: {address: 10.0.0.2/24, gateway: 10.0.0.1}}
dhcp:
  lan: {relay: {servers: 10.0.0.2, option_82: true, circuit_id: eth0, remote_id: r1, max_hops: 4}}
`

func newRelayLAN(t *testing.T, kind string) *relayLAN {
	t.Helper()
	l := newLab(t, "dhclient", "udhcpc", "crowd", "srv")
	n := &relayLAN{lab: l, srv: l.hosts["srv"], serverAddr: netip.MustParseAddr("10.0.0.2")}
	l.wires.ip("link", "add", "lan", "type", "bridge")
	n.near = l.wires.watchDHCP("lan")
	if os.Getenv("VROUTERD_TEST_DHCP") == "dhcrelay" {
		k := l.addHost("k")
		k.plug("lan", "192.168.1.1/24", "")
		k.ip("link", "add", "dev", "eth1", "type", "veth", "peer", "name", "eth0", "netns", n.srv.ns)
		k.ip("addr", "add", "10.0.0.1/24", "dev", "eth1")
		k.ip("link", "set", "dev", "eth1", "up")
		n.srv.ip("addr", "add", "10.0.0.2/24", "dev", "eth0")
		n.srv.ip("link", "set", "dev", "eth0", "up")
		n.srv.ip("route", "add", "default", "via", "10.0.0.1")
		k.sysctl("net/ipv4/ip_forward", "1")
		k.start("dhcrelay", "-4", "-d", "-a", "-c", "4", "-id", "eth0", "-iu", "eth1", "10.0.0.2")
	} else {
		n.r = l.router("r1", relayConfig)
	}
	n.far = n.srv.watchDHCP("eth0")
	n.server = n.srv.dhcpServer(kind, "eth0")
	n.server.start(provision{network: "192.168.1", first: 100, last: 150, lease: 600, circuit: "eth0"})
	for _, name := range []string{"dhclient", "udhcpc"} {
		n.clients = append(n.clients, l.hosts[name].dhcpHost("lan"))
	}
	l.hosts["crowd"].cable("lan")
	n.crowd = l.hosts["crowd"].crowd()
	return n
}

func TestDHCPRelayCarriesRequestsToAServerAndAnswersBack(t *testing.T) {
	t.Parallel()
	eachServer(t, func(t *testing.T, kind string) {
		n := newRelayLAN(t, kind)
		for _, c := range n.clients {
			c.start()
		}
		for _, c := range n.clients {
			has := c.bound(30*time.Second, "an address", func(a netip.Addr) bool { return strings.HasPrefix(a.String(), "192.168.1.") })
			mac := c.mac()
			c.ping("10.0.0.2")
			// What the server saw came by the relay, with what tells of the port.
			asked := n.far.await(0, time.Second, "the DISCOVER at the server", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeDiscover) })
			agent := asked.m.Options.Get(dhcpv4.OptionRelayAgentInformation)
			if asked.m.GatewayIPAddr.String() != "192.168.1.1" || asked.m.HopCount != 1 || asked.dst.String() != "10.0.0.2:67" ||
				!strings.HasPrefix(string(agent), "\x01\x04eth0") {
				t.Errorf("%s: giaddr %v, hops %d, to %v, option 82 %q", c.name, asked.m.GatewayIPAddr, asked.m.HopCount, asked.dst, agent)
			}
			// The server made something of it, and the client sees nothing of it.
			answer := n.near.await(0, time.Second, "the ACK at the client", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeAck) })
			if got := string(answer.m.Options.Get(dhcpv4.OptionDomainName)); strings.TrimRight(got, "\x00") != "by-circuit" {
				t.Errorf("%s: the domain for the circuit is %q", c.name, got)
			}
			if answer.m.Options.Has(dhcpv4.OptionRelayAgentInformation) {
				t.Errorf("%s: option 82 reaches the client: %v", c.name, answer)
			}
			// The client renews with the server itself, through the router.
			mark, near := n.far.mark(), n.near.mark()
			if c.kind == "udhcpc" {
				c.nudge()
				renewal := n.far.await(mark, 10*time.Second, "the renewal at the server", func(s dhcpSeen) bool { return renewing(s, mac, has, false) })
				if renewal.m.HopCount != 0 || renewal.src.Addr() != has {
					t.Errorf("expected the renewal as the client sent it: %v", renewal)
				}
				n.near.await(near, 10*time.Second, "the ACK of the renewal", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeAck) })
			}
			mark = n.far.mark()
			c.release()
			n.far.await(mark, 10*time.Second, "the RELEASE at the server", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeRelease) })
		}
		// A server that does not know an address says so, and that comes back too.
		m := n.crowd.member(0)
		m.addr = netip.MustParseAddr("192.168.77.9")
		mark := n.near.mark()
		n.crowd.reboot(m)
		if kind == "dnsmasq" { // Kea is silent
			n.near.await(mark, 10*time.Second, "the NAK", func(s dhcpSeen) bool {
				return s.of(m.mac.String(), dhcpv4.MessageTypeNak) && s.dst.Addr().String() == "255.255.255.255"
			})
		}
	})
}

func TestDHCPRelayDropsWhatItMayNotCarry(t *testing.T) {
	t.Parallel()
	n := newRelayLAN(t, "dnsmasq")
	mac := crowdMAC(7)
	forged := bareMessage(mac, 53, 1, 1, 82, 6, 1, 4, 'e', 't', 'h', '0', 255)
	far := bareMessage(mac, 53, 1, 1, 255)
	far[3] = 5 // more relays than there may be
	binary.BigEndian.PutUint32(far[24:], 0xc0a80201)
	lies := bareMessage(mac, 53, 1, 1, 12, 200, 'a')
	for i, message := range [][]byte{forged, far, lies} {
		n.crowd.send(dhcpFrame(mac, message))
		if n.r != nil {
			eventually(t, 10*time.Second, "the message among the drops", func() error {
				if dropped := n.r.drops("dhcp_relay"); dropped < i+1 {
					return fmt.Errorf("%d dropped of %d", dropped, i+1)
				}
				return nil
			})
		}
	}
	// The next good one arrives, and alone.
	if n.crowd.acquire(0, 1, 20*time.Second, nil) != 1 {
		t.Fatal("a client gets no address")
	}
	if bad := n.far.since(0, func(s dhcpSeen) bool { return s.m.ClientHWAddr.String() == mac.String() }); len(bad) > 0 && n.r != nil {
		t.Errorf("expected none of it at the server: %v", bad)
	}
	// Whoever claims to be a server, on the clients' side, to a relay is not believed.
	before, answers := 0, len(n.near.since(0, func(s dhcpSeen) bool { return s.dst.Port() == 68 }))
	if n.r == nil {
		return
	}
	before = n.r.drops("dhcp_relay")
	reply := bareMessage(mac, 53, 1, 5, 54, 4, 192, 168, 1, 66, 51, 4, 0, 0, 2, 0, 255)
	reply[0] = 2
	binary.BigEndian.PutUint32(reply[24:], 0xc0a80101)
	router := hexMAC(t, fmt.Sprint(find(n.r.rows("ports"), "name", "lan")["mac"]))
	frame := append(append(append([]byte{}, router...), mac[:]...), 8, 0)
	n.crowd.send(append(frame, udpPacket(netip.MustParseAddrPort("192.168.1.66:67"), netip.MustParseAddrPort("192.168.1.1:67"), reply)...))
	eventually(t, 10*time.Second, "the forged answer among the drops", func() error {
		if n.r.drops("dhcp_relay") == before {
			return fmt.Errorf("there are %d", before)
		}
		return nil
	})
	if now := len(n.near.since(0, func(s dhcpSeen) bool { return s.dst.Port() == 68 })); now != answers {
		t.Errorf("%d answers more reach the clients", now-answers)
	}
}

// branchConfig is a server for a network behind a relay.
const branchConfig = unlimited + `
ports:
  up: {netns: {relay}, device: up0, address: 10.0.0.1/24, host: {address: 10.0.0.2/24}}
routes:
  - {to: 10.5.0.0/24, via: 10.0.0.2}
dhcp:
  branch: {network: 10.5.0.0/24, range: RANGE, gateway: 10.5.0.1, dns: 10.0.0.1, lease: 2m, renew: 4s, rebind: 8s}
`

// branch is a network behind ISC's relay, with our server, or dnsmasq, before it:
//
//	clients -- switch -- 10.5.0.1 [dhcrelay] 10.0.0.2 -- 10.0.0.1 [router]
type branch struct {
	*lab
	r         *router
	near, far *dhcpWatch
	clients   []*dhcpHost
}

func newBranch(t *testing.T, first, last int, names ...string) *branch {
	t.Helper()
	l := newLab(t, append([]string{"relay"}, names...)...)
	b := &branch{lab: l}
	relay := l.hosts["relay"]
	l.wires.ip("link", "add", "branch", "type", "bridge")
	b.near = l.wires.watchDHCP("branch")
	relay.plug("branch", "10.5.0.1/24", "")
	relay.sysctl("net/ipv4/ip_forward", "1")
	if os.Getenv("VROUTERD_TEST_DHCP") == "dnsmasq" {
		k := l.addHost("k")
		relay.ip("link", "add", "dev", "up0", "type", "veth", "peer", "name", "eth0", "netns", k.ns)
		relay.ip("addr", "add", "10.0.0.2/24", "dev", "up0")
		relay.ip("link", "set", "dev", "up0", "up")
		k.ip("addr", "add", "10.0.0.1/24", "dev", "eth0")
		k.ip("link", "set", "dev", "eth0", "up")
		k.ip("route", "add", "10.5.0.0/24", "via", "10.0.0.2")
		k.dhcpServer("dnsmasq", "eth0").start(provision{network: "10.5.0", first: first, last: last, t1: 4, t2: 8})
	} else {
		b.r = l.router("r1", strings.Replace(branchConfig, "RANGE", fmt.Sprintf("10.5.0.%d-10.5.0.%d", first, last), 1))
	}
	b.far = relay.watchDHCP("up0")
	relay.start("dhcrelay", "-4", "-d", "-a", "-id", "eth0", "-iu", "up0", "10.0.0.1")
	for _, name := range names {
		b.clients = append(b.clients, l.hosts[name].dhcpHost("branch"))
	}
	return b
}

func TestDHCPServerServesClientsBehindARelay(t *testing.T) {
	t.Parallel()
	b := newBranch(t, 100, 199, clientKinds...)
	for _, c := range b.clients {
		c.start()
	}
	for _, c := range b.clients {
		c.bound(30*time.Second, "an address", func(a netip.Addr) bool { return strings.HasPrefix(a.String(), "10.5.0.1") })
		c.nudge()
	}
	each(t, b.clients, func(t *testing.T, c *dhcpHost) {
		held, mac := c.address(), c.mac()
		if held.Bits() != 24 || held.Addr().As4()[3] < 100 || c.gateway() != "10.5.0.1" {
			t.Errorf("it has %v and the gateway %q", held, c.gateway())
		}
		c.ping("10.0.0.1")
		// The answer went to the relay with its option 82, which the relay took away.
		offer := b.far.await(0, time.Second, "the OFFER to the relay", func(s dhcpSeen) bool { return s.of(mac, dhcpv4.MessageTypeOffer) })
		if offer.dst.String() != "10.5.0.1:67" || !offer.m.Options.Has(dhcpv4.OptionRelayAgentInformation) {
			t.Errorf("expected it at 10.5.0.1:67 with option 82: %v", offer)
		}
		// Renewals come through the relay's router as any packet does, and are known by ciaddr.
		asked := b.far.await(0, 20*time.Second, "the renewal", func(s dhcpSeen) bool { return renewing(s, mac, held.Addr(), false) })
		b.far.await(0, 5*time.Second, "the ACK of the renewal", func(s dhcpSeen) bool {
			return s.of(mac, dhcpv4.MessageTypeAck) && s.m.TransactionID == asked.m.TransactionID && s.dst.Addr() == held.Addr()
		})
		if b.r != nil {
			l := find(b.r.rows("dhcp", "leases"), "address", held.Addr().String())
			if l == nil || l["mac"] != mac || l["subnet"] != "branch" || l["state"] != "bound" {
				t.Errorf("show dhcp leases has %v", l)
			}
		}
	})
}

func TestDHCPServerAsksByEchoBehindARelay(t *testing.T) {
	t.Parallel()
	b := newBranch(t, 100, 105, "udhcpc", "squatter")
	if b.r == nil {
		t.Fatal("dnsmasq is told not to look here")
	}
	squatter := b.clients[1]
	squatter.squat("10.5.0", 100, 104)
	squatter.ip("route", "add", "default", "via", "10.5.0.1")
	c := b.clients[0]
	c.start()
	c.bound(60*time.Second, "the free address", func(a netip.Addr) bool { return a.String() == "10.5.0.105" })
	if offers := b.far.since(0, func(s dhcpSeen) bool {
		return s.m.MessageType() == dhcpv4.MessageTypeOffer && s.m.YourIPAddr.String() != "10.5.0.105"
	}); len(offers) > 0 {
		t.Errorf("expected no offer of what somebody uses: %v", offers)
	}
}
