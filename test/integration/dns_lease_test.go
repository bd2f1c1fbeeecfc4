package integration

import (
	"fmt"
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
	if n := find(r.rows("dns", "names"), "name", "television.home.arpa"); n == nil || fmt.Sprint(n["source"]) != "lease" {
		t.Errorf("show dns names: %v", r.rows("dns", "names"))
	}
}

func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' {
			return s[:i]
		}
	}
	return s
}
