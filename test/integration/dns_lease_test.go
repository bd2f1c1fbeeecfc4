package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// leasing gives addresses to the hosts of lan, and answers for their names.
const leasing = unlimited + `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 10.1.0.1/24}
dhcp:
  lan: {range: 10.1.0.100-10.1.0.199, domain: home.arpa, reservations: [{mac: "02:00:00:00:00:09", address: 10.1.0.9, name: printer}]}
dns: {listen: lan, domain: home.arpa, upstream: none}
`

// leases an address with busybox's client, which gives its name.
func (h *host) leases(name string) {
	h.lab.t.Helper()
	h.run("udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "10", "-T", "1", "-s", "/bin/true", "-x", "hostname:"+name)
}

func TestDNSKnowsTheNamesOfLeasesAlsoAfterARestart(t *testing.T) {
	l := newLab(t, "pc", "tv")
	r := l.router("r1", leasing)
	pc := l.hosts["pc"]
	pc.plug("lan", "10.1.0.2/24", "10.1.0.1") // it asks with an address of its own
	l.hosts["tv"].plug("lan", "10.1.0.3/24", "10.1.0.1")
	l.hosts["tv"].leases("television")
	known := func(when string) {
		eventually(t, 20*time.Second, "the name of a lease "+when, func() error {
			out, _ := pc.try("dig", "@10.1.0.1", "+short", "+time=1", "+tries=1", "television.home.arpa")
			return contains(out, "10.1.0.1")
		})
		address := pc.run("dig", "@10.1.0.1", "+short", "television")
		expect(t, pc.run("dig", "@10.1.0.1", "+short", "-x", firstLine(address)), "television.home.arpa.")
		expect(t, pc.run("dig", "@10.1.0.1", "+short", "printer.home.arpa"), "10.1.0.9")
		expect(t, pc.run("dig", "@10.1.0.1", "+short", "-x", "10.1.0.9"), "printer.home.arpa.")
	}
	known("at once")
	r.kill() // without a word to anybody
	r.start()
	r.ready()
	known("after a restart")
	if n := find(r.rows("dns", "names"), "name", "television.home.arpa"); n == nil || !strings.HasPrefix(fmt.Sprint(n["source"]), "lease") {
		t.Errorf("show dns names: %v", r.rows("dns", "names"))
	}
}

func TestDNSAsksTheServersThatDHCPBrings(t *testing.T) {
	l := newLab(t, "pc", "up")
	up, pc := l.hosts["up"], l.hosts["pc"]
	r := l.router("r1", unlimited+`
ports:
  lan: {netns: {pc}, device: eth0, address: 10.1.0.1/24, host: {address: 10.1.0.2/24, gateway: 10.1.0.1}}
  wan: {netns: {up}, device: eth0, address: dhcp, host: {address: 10.2.0.2/24}}
nat: [{out: wan, type: masquerade}]
firewall: home
dns: {listen: lan}
`)
	provider := func(server string) *process {
		return up.start("dnsmasq", "--no-daemon", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--no-ping", "--bind-dynamic", "--interface=eth0", "--except-interface=lo", "--port=0",
			"--pid-file=", "--dhcp-leasefile="+l.dir+"/leases", "--dhcp-range=10.2.0.100,10.2.0.150,2m", "--dhcp-option=option:dns-server,"+server)
	}
	up.ip("addr", "add", "10.2.0.3/24", "dev", "eth0")
	up.nameserver("10.2.0.2", answers(t, "one.example. 300 IN A 198.51.100.1"))
	up.nameserver("10.2.0.3", answers(t, "two.example. 300 IN A 198.51.100.2"))
	answered := func(name, want string) {
		t.Helper()
		eventually(t, 30*time.Second, "an answer about "+name, func() error {
			out, _ := pc.try("dig", "@10.1.0.1", "+short", "+time=2", "+tries=1", name)
			return contains(out, want)
		})
	}
	// Before there is a lease nobody can be asked: the client hears of it at once.
	expect(t, pc.run("dig", "@10.1.0.1", "+time=10", "+tries=1", "one.example"), "status: SERVFAIL")
	dhcp := provider("10.2.0.2")
	answered("one.example", "198.51.100.1")
	upstreams := fmt.Sprint(r.rows("dns")[0]["upstreams"])
	expect(t, upstreams, "address:10.2.0.2:53", "source:wan")
	// The provider moves its server: with the next renewal the new one is asked, and what the old one said is forgotten.
	dhcp.stop()
	provider("10.2.0.3")
	r.ctl("dhcp", "renew", "wan")
	answered("two.example", "198.51.100.2")
	expect(t, pc.run("dig", "@10.1.0.1", "+time=10", "one.example"), "status: NXDOMAIN")
	// Without the lease there is no server any more.
	r.ctl("dhcp", "release", "wan")
	expect(t, pc.run("dig", "@10.1.0.1", "+time=10", "+tries=1", "three.example"), "status: SERVFAIL")
}

func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' {
			return s[:i]
		}
	}
	return s
}
