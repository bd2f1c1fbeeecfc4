package integration

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// The tests of the DHCP server stand in a home without a provider: a switch with the router and the hosts, each of which runs
// another client.
//
//	dhclient --+
//	udhcpc   --+-- switch -- 192.168.1.1 [router]
//	dhcpcd   --+
//	networkd --+
//
// With VROUTERD_TEST_DHCP=dnsmasq a namespace with dnsmasq stands where the router would: a test is held against a
// server that the world knows. That is how the tests were tested:
//
//	VROUTERD_TEST_DHCP=dnsmasq scripts/test -run 'DHCPServer' ./test/integration

// dhcpPolicy is what the server under test is to do.
type dhcpPolicy struct {
	network      string            // of 24 bits, its first three octets; "": 192.168.1
	first, last  int               // the range; 0: 100 and 199
	wide         bool              // 10.64.0.0/16 instead, with a range of 65,000 addresses
	probe        bool              // look whether an address is free before it is offered
	reservations map[string]string // addresses by hardware address
	long         bool              // a lease without early renewal
	lease        string            // "": 2m
	yaml         string            // further lines of the port's entry
	sections     string            // further sections of the configuration
}

// The times of the policies: the clients renew, and rebind, long before the lease ends. dnsmasq gives none shorter than two minutes.
const (
	shortRenew  = 4 * time.Second
	shortRebind = 8 * time.Second
)

func (p dhcpPolicy) net() string {
	if p.network == "" {
		return "192.168.1"
	}
	return p.network
}

// server is the server's own address, with its prefix length.
func (p dhcpPolicy) server() netip.Prefix {
	if p.wide {
		return netip.MustParsePrefix("10.64.0.1/16")
	}
	return netip.MustParsePrefix(p.net() + ".1/24")
}

// rangeEnds are the first and the last address of the range.
func (p dhcpPolicy) rangeEnds() (first, last netip.Addr) {
	octets := p.server().Addr().As4()
	if p.wide {
		return netip.AddrFrom4([4]byte{octets[0], octets[1], 1, 1}), netip.AddrFrom4([4]byte{octets[0], octets[1], 255, 254})
	}
	from, to := byte(100), byte(199)
	if p.first > 0 {
		from, to = byte(p.first), byte(p.last)
	}
	return netip.AddrFrom4([4]byte{octets[0], octets[1], octets[2], from}), netip.AddrFrom4([4]byte{octets[0], octets[1], octets[2], to})
}

// contains tells whether an address is of the range.
func (p dhcpPolicy) contains(a netip.Addr) bool {
	first, last := p.rangeEnds()
	return first.Compare(a) <= 0 && a.Compare(last) <= 0
}

// config is the policy in the router's language.
func (p dhcpPolicy) config() string {
	first, last := p.rangeEnds()
	text := fmt.Sprintf("%sports:\n  lan: {netns: {net}, device: r1-lan, bridge: lan, address: %v}\ndhcp:\n  lan:\n    range: %v-%v\n    probe: %v\n    lease: %s\n",
		p.sections, p.server(), first, last, p.probe, cmp.Or(p.lease, "2m"))
	if !p.long {
		text += fmt.Sprintf("    renew: %v\n    rebind: %v\n", shortRenew, shortRebind)
	}
	if len(p.reservations) > 0 {
		text += "    reservations:\n"
	}
	for _, mac := range slices.Sorted(maps.Keys(p.reservations)) {
		text += fmt.Sprintf("      - {mac: %q, address: %s}\n", mac, p.reservations[mac])
	}
	return text + p.yaml
}

// dnsmasq is the policy in dnsmasq's language.
func (p dhcpPolicy) dnsmasq(dir string) string {
	first, last := p.rangeEnds()
	text := fmt.Sprintf("user=root\ninterface=eth0\nbind-interfaces\nno-resolv\nno-hosts\npid-file=\nlog-facility=-\nlog-dhcp\ndhcp-authoritative\ndhcp-leasefile=%s/leases\ndhcp-lease-max=100000\n"+
		"dhcp-range=%v,%v,2m\n", dir, first, last)
	if !p.long {
		text += fmt.Sprintf("dhcp-option=option:T1,%d\ndhcp-option=option:T2,%d\n", int(shortRenew.Seconds()), int(shortRebind.Seconds()))
	}
	if !p.probe {
		text += "no-ping\n"
	}
	for mac, address := range p.reservations {
		text += "dhcp-host=" + mac + "," + address + "\n"
	}
	return text
}

// dhcpLAN is the network above with a server under test.
type dhcpLAN struct {
	*lab
	policy  dhcpPolicy
	r       *router // nil: it is dnsmasq
	k       *host   // where dnsmasq runs
	dir     string
	dnsmasq *process
	watch   *dhcpWatch
	clients []*dhcpHost
}

// newDHCPLAN raises the network, and a host for each client, which does not run yet.
func newDHCPLAN(t *testing.T, p dhcpPolicy, clients ...string) *dhcpLAN {
	t.Helper()
	return raiseDHCPLAN(newLab(t, clients...), p, clients...)
}

// newDHCPCrowd raises the network with a crowd of clients in a host, whose packets are not recorded, beside others.
func newDHCPCrowd(t *testing.T, p dhcpPolicy, clients ...string) (*dhcpLAN, *dhcpCrowd) {
	t.Helper()
	d := raiseDHCPLAN(newUnwatchedLab(t, append([]string{"crowd"}, clients...)...), p, clients...)
	d.hosts["crowd"].cable("lan")
	return d, d.hosts["crowd"].crowd()
}

func raiseDHCPLAN(l *lab, p dhcpPolicy, clients ...string) *dhcpLAN {
	l.t.Helper()
	t := l.t
	d := &dhcpLAN{lab: l, policy: p}
	// The switch is there whether or not the router runs.
	d.wires.ip("link", "add", "lan", "type", "bridge")
	d.watch = d.wires.watchDHCP("lan")
	if os.Getenv("VROUTERD_TEST_DHCP") == "dnsmasq" {
		d.k = d.addHost("k")
		d.dir = d.shortDir("k")
		d.k.plug("lan", p.server().String(), "")
		d.startDnsmasq()
		t.Cleanup(func() {
			if t.Failed() {
				d.dnsmasq.cmd.Process.Kill()
				<-d.dnsmasq.done
				t.Logf("==== leases of dnsmasq\n%s==== what it says\n%s", readText(filepath.Join(d.dir, "leases")), lastLines(d.dnsmasq.output.String(), 100))
			}
		})
	} else {
		d.r = d.router("r1", p.config())
	}
	for _, name := range clients {
		d.clients = append(d.clients, d.hosts[name].dhcpHost("lan"))
	}
	return d
}

func (d *dhcpLAN) startDnsmasq() {
	d.t.Helper()
	file := filepath.Join(d.dir, "conf")
	d.k.writeFile(file, d.policy.dnsmasq(d.dir))
	d.dnsmasq = d.k.start("dnsmasq", "--keep-in-foreground", "-C", file)
	eventually(d.t, 10*time.Second, "dnsmasq to listen", func() error {
		return contains(d.k.run("ss", "-Hlun", "sport = 67"), ":67")
	})
}

// tell applies another policy to the running server.
func (d *dhcpLAN) tell(p dhcpPolicy) {
	d.t.Helper()
	d.policy = p
	if d.r != nil {
		d.r.ctl("config", "apply", changed(d.r, p.config()))
		return
	}
	d.dnsmasq.cmd.Process.Kill()
	<-d.dnsmasq.done
	d.k.ip("addr", "flush", "dev", "eth0")
	d.k.ip("addr", "add", p.server().String(), "dev", "eth0")
	d.startDnsmasq()
}

// silence keeps what is addressed to the server itself from it: only broadcasts get there.
func (d *dhcpLAN) silence(on bool) {
	d.t.Helper()
	rules := "table bridge silence\ndelete table bridge silence\n"
	if on {
		rules += "table bridge silence {\n  chain forward {\n    type filter hook forward priority 0;\n    ether type ip ip daddr " + d.policy.server().Addr().String() + " udp dport 67 drop\n  }\n}\n"
	}
	file := filepath.Join(d.lab.dir, "silence.nft")
	d.wires.writeFile(file, rules)
	d.wires.run("nft", "-f", file)
}

// startAll starts every client and waits until each has an address of the range.
func (d *dhcpLAN) startAll() {
	d.t.Helper()
	for _, c := range d.clients {
		c.start()
	}
	for _, c := range d.clients {
		c.bound(30*time.Second, "an address of the range", d.policy.contains)
	}
}

// lease is the server's state of an address: bound, released and so on; "": it knows nothing of it.
func (d *dhcpLAN) lease(a netip.Addr) (state, mac string) {
	d.t.Helper()
	if d.r != nil {
		if l := find(d.r.rows("dhcp", "leases"), "address", a.String()); l != nil {
			return fmt.Sprint(l["state"]), fmt.Sprint(l["mac"])
		}
		return "", ""
	}
	for line := range strings.Lines(readText(filepath.Join(d.dir, "leases"))) {
		if f := strings.Fields(line); len(f) >= 4 && f[2] == a.String() {
			return "bound", f[1]
		}
	}
	return "", ""
}

// leased waits until the server says that the address is that host's.
func (d *dhcpLAN) leased(a netip.Addr, mac string) {
	d.t.Helper()
	eventually(d.t, 10*time.Second, fmt.Sprintf("the lease of %v to be bound to %s", a, mac), func() error {
		if state, owner := d.lease(a); state != "bound" || owner != mac {
			return fmt.Errorf("it is %q, of %q", state, owner)
		}
		return nil
	})
}

// mac is the server's hardware address.
func (d *dhcpLAN) mac() packet.MAC {
	d.t.Helper()
	if d.r == nil {
		return packet.MAC(d.k.linkAddress())
	}
	return packet.MAC(hexMAC(d.t, fmt.Sprint(find(d.r.rows("ports"), "name", "lan")["mac"])))
}
