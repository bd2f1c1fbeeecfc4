package integration

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The tests of the DHCP client stand behind a provider whose server is dnsmasq or Kea:
//
//	p2 192.168.1.2 -- 192.168.1.1 [router] by DHCP -- br0 203.0.113.1 isp, with the server 198.51.100.1
//
// br0 outlives the router and hears everything that passes.

// serverKinds are the servers that stand at the provider's, or behind a relay.
var serverKinds = []string{"dnsmasq", "kea"}

// provision is what such a server gives.
type provision struct {
	network     string // of 24 bits, its first three octets
	gateway     string // "": .1 of the network
	first, last int
	lease       int            // in seconds; dnsmasq takes none below 120
	t1, t2      int            // in seconds; 0: the server's own
	reserved    map[string]int // the last octet by hardware address
	circuit     string         // of the relay agent's option 82: whoever comes by it gets the domain "by-circuit"
}

// dhcpServer is such a server in a host.
type dhcpServer struct {
	*host
	kind   string
	device string
	dir    string
	p      *process
}

func (h *host) dhcpServer(kind, device string) *dhcpServer {
	s := &dhcpServer{host: h, kind: kind, device: device, dir: h.lab.shortDir(kind)}
	h.lab.t.Cleanup(func() {
		if h.lab.t.Failed() && s.p != nil {
			s.stop()
			h.lab.t.Logf("==== what %s says\n%s", kind, lastLines(s.p.output.String()+readText(filepath.Join(s.dir, "log")), 80))
		}
	})
	return s
}

// start runs the server; what it has leased before it knows.
func (s *dhcpServer) start(g provision) {
	s.lab.t.Helper()
	if g.gateway == "" {
		g.gateway = g.network + ".1"
	}
	if s.kind == "kea" {
		file := filepath.Join(s.dir, "kea.json")
		os.Remove(filepath.Join(s.dir, "log"))
		s.writeFile(file, g.kea(s.device, s.dir))
		s.p = s.host.start("env", "KEA_PIDFILE_DIR="+s.dir, "KEA_LOCKFILE_DIR="+s.dir, "kea-dhcp4", "-c", file)
	} else {
		file := filepath.Join(s.dir, "dnsmasq.conf")
		s.writeFile(file, g.dnsmasq(s.device, s.dir))
		s.p = s.host.start("dnsmasq", "--keep-in-foreground", "-C", file)
	}
	eventually(s.lab.t, 20*time.Second, s.kind+" to listen", func() error {
		if s.kind == "kea" {
			return contains(readText(filepath.Join(s.dir, "log")), "DHCP4_STARTED")
		}
		return contains(s.run("ss", "-Hlun", "sport = 67"), ":67")
	})
}

// stop ends the server at once.
func (s *dhcpServer) stop() {
	s.p.cmd.Process.Kill()
	<-s.p.done
}

// again starts the server with something else to give.
func (s *dhcpServer) again(g provision) {
	s.lab.t.Helper()
	s.stop()
	s.start(g)
}

func (g provision) dnsmasq(device, dir string) string {
	text := fmt.Sprintf("user=root\ninterface=%s\nexcept-interface=lo\nbind-interfaces\nno-resolv\nno-hosts\npid-file=\nlog-facility=-\nlog-dhcp\nno-ping\ndhcp-authoritative\n"+
		"dhcp-leasefile=%s/leases\ndhcp-range=%[3]s.%[4]d,%[3]s.%[5]d,255.255.255.0,%[6]d\naddress=/www.example/198.51.100.1\ndhcp-option=option:router,%[7]s\n",
		device, dir, g.network, g.first, g.last, max(g.lease, 120), g.gateway)
	if g.t1 > 0 {
		text += fmt.Sprintf("dhcp-option=option:T1,%d\ndhcp-option=option:T2,%d\n", g.t1, g.t2)
	}
	for mac, octet := range g.reserved {
		text += fmt.Sprintf("dhcp-host=%s,%s.%d\n", mac, g.network, octet)
	}
	if g.circuit != "" {
		text += fmt.Sprintf("dhcp-circuitid=set:circuit,%s\ndhcp-option=tag:circuit,option:domain-name,by-circuit\n", g.circuit)
	}
	return text
}

func (g provision) kea(device, dir string) string {
	options := fmt.Sprintf(`{"name": "routers", "data": "%s"}, {"name": "domain-name-servers", "data": "%s.1"}`, g.gateway, g.network)
	more, classes := "", ""
	if g.t1 > 0 {
		more += fmt.Sprintf(`"renew-timer": %d, "rebind-timer": %d, `, g.t1, g.t2)
	}
	var reserved []string
	for mac, octet := range g.reserved {
		reserved = append(reserved, fmt.Sprintf(`{"hw-address": "%s", "ip-address": "%s.%d"}`, mac, g.network, octet))
	}
	if g.circuit != "" {
		classes = fmt.Sprintf(`"client-classes": [{"name": "circuit", "test": "relay4[1].hex == '%s'", "option-data": [{"name": "domain-name", "data": "by-circuit"}]}], `, g.circuit)
	}
	return fmt.Sprintf(`{"Dhcp4": {
  "interfaces-config": {"interfaces": ["%[1]s"]},
  "lease-database": {"type": "memfile", "persist": true, "name": "%[2]s/leases.csv"},
  "valid-lifetime": %[3]d, "authoritative": true, %[4]s%[5]s
  "subnet4": [{"subnet": "%[6]s.0/24", "pools": [{"pool": "%[6]s.%[7]d - %[6]s.%[8]d"}], "option-data": [%[9]s], "reservations": [%[10]s]}],
  "loggers": [{"name": "kea-dhcp4", "severity": "DEBUG", "debuglevel": 40, "output_options": [{"output": "%[2]s/log"}]}]
}}`, device, dir, g.lease, more, classes, g.network, g.first, g.last, options, strings.Join(reserved, ", "))
}

// uplink is the network above.
type uplink struct {
	*lab
	r      *router
	isp    *host
	server *dhcpServer
	watch  *dhcpWatch
}

const uplinkPorts = unlimited + `
ports:
  lan: {netns: {p2}, device: eth0, address: 192.168.1.1/24, host: {address: 192.168.1.2/24, gateway: 192.168.1.1}}
  wan: {netns: {isp}, device: tap0, bridge: br0, address: dhcp}
nat: [{out: wan, type: masquerade}]
`

// usual is what the provider gives where a test wants nothing special.
var usual = provision{network: "203.0.113", first: 100, last: 150, lease: 600}

// newUplink raises the network with the provider's server running, and does not wait for an address. With a host "squatter"
// somebody has the first three addresses of the range.
func newUplink(t *testing.T, kind string, g provision, config string, more ...string) *uplink {
	t.Helper()
	u := &uplink{lab: newLab(t, append([]string{"p2", "isp"}, more...)...)}
	u.isp = u.hosts["isp"]
	u.isp.segment("203.0.113.1/24")
	u.isp.ip("addr", "add", server1+"/32", "dev", "lo")
	u.isp.unlimitICMP()
	u.watch = u.isp.watchDHCP("br0")
	if h := u.hosts["squatter"]; h != nil {
		u.isp.ip("link", "add", "dev", "squat", "type", "veth", "peer", "name", "eth0", "netns", h.ns)
		u.isp.ip("link", "set", "dev", "squat", "master", "br0", "up")
		h.ip("link", "set", "dev", "eth0", "up")
		h.squat("203.0.113", 100, 102)
	}
	u.server = u.isp.dhcpServer(kind, "br0")
	u.server.start(g)
	u.r = u.router("r1", config)
	return u
}

// client is the row of the port in `show dhcp`.
func (u *uplink) client() row {
	u.t.Helper()
	n := find(u.r.rows("dhcp"), "name", "wan", "role", "client")
	if n == nil {
		u.t.Fatalf("show dhcp has no client at wan: %v", u.r.rows("dhcp"))
	}
	return n
}

// bound waits until the port has an address for which the condition holds.
func (u *uplink) bound(limit time.Duration, what string, right func(netip.Addr) bool) netip.Addr {
	u.t.Helper()
	var has netip.Prefix
	eventually(u.t, limit, "the port to have "+what, func() error {
		n := u.client()
		var err error
		if has, err = netip.ParsePrefix(fmt.Sprint(n["address"])); err != nil || !right(has.Addr()) {
			return fmt.Errorf("it has %q in state %v: %v", n["address"], n["state"], n["reason"])
		}
		return nil
	})
	return has.Addr()
}

// any is a condition that every address meets.
func anyAddress(netip.Addr) bool { return true }

// inState waits until the client is in one of the states.
func (u *uplink) inState(limit time.Duration, states ...string) row {
	u.t.Helper()
	var n row
	eventually(u.t, limit, "the client to be "+strings.Join(states, " or "), func() error {
		n = u.client()
		for _, state := range states {
			if n["state"] == state {
				return nil
			}
		}
		return fmt.Errorf("it is %v: %v", n["state"], n["reason"])
	})
	return n
}

// mac is the port's hardware address.
func (u *uplink) mac() string {
	u.t.Helper()
	return fmt.Sprint(find(u.r.rows("ports"), "name", "wan")["mac"])
}

// sent are the client's messages of some types since a mark.
func (u *uplink) sent(mark int, types ...dhcpv4.MessageType) []dhcpSeen {
	mac := u.mac()
	return u.watch.since(mark, func(s dhcpSeen) bool { return s.of(mac, types...) && s.dst.Port() == 67 })
}

// mute keeps what is sent to the provider's own address, at the port of DHCP, from its server.
func (u *uplink) mute(on bool) {
	u.t.Helper()
	rules := "table bridge mute\ndelete table bridge mute\n"
	if on {
		rules += "table bridge mute {\n  chain input {\n    type filter hook input priority 0;\n    ether type ip ip daddr 203.0.113.1 udp dport 67 drop\n  }\n}\n"
	}
	file := filepath.Join(u.lab.dir, "mute.nft")
	u.isp.writeFile(file, rules)
	u.isp.run("nft", "-f", file)
}

// eachServer runs a test at a provider with each of the servers.
func eachServer(t *testing.T, f func(t *testing.T, kind string)) {
	for _, kind := range serverKinds {
		t.Run(kind, func(t *testing.T) { t.Parallel(); f(t, kind) })
	}
}
