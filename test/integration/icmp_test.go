package integration

import (
	"strings"
	"testing"
	"time"
)

func TestUnresolvedNeighborIsAnsweredWithHostUnreachable(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	out := l.hosts["h1"].pingFails("10.2.0.99", "-W", "10")
	expect(t, out, "From 10.1.0.1", "Destination Host Unreachable")
	if r.drops("neighbor") == 0 {
		t.Errorf("expected the packet among the drops:\n%s", r.ctl("show", "drops"))
	}
	if state := r.neighbor("10.2.0.99"); state != "failed" && state != "" {
		t.Errorf("expected the neighbour to have failed, it is %s", state)
	}
}

func TestRouteTypesAnswerAsTheySay(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+unlimited+`
routes:
  - {to: 192.0.2.0/26, type: blackhole}
  - {to: 192.0.2.64/26, type: unreachable}
  - {to: 192.0.2.128/26, type: prohibit}
`)
	h1 := l.hosts["h1"]
	silent := h1.pingFails("192.0.2.1", "-W", "1")
	if strings.Contains(silent, "From ") {
		t.Errorf("a blackhole is silent, but this answered:\n%s", silent)
	}
	expect(t, h1.pingFails("192.0.2.65"), "From 10.1.0.1", "Destination Host Unreachable")
	expect(t, h1.pingFails("192.0.2.129"), "From 10.1.0.1", "Packet filtered")
	expect(t, h1.pingFails("192.0.2.200"), "From 10.1.0.1", "Destination Net Unreachable")
	for _, reason := range []string{"blackhole", "unreachable", "prohibit", "no_route"} {
		if r.drops(reason) == 0 {
			t.Errorf("expected a drop called %s:\n%s", reason, r.ctl("show", "drops"))
		}
	}
}

func TestClosedPortsOfTheRouterRefuse(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	out, code := l.hosts["h1"].try("bash", "-c", "exec 3<>/dev/tcp/10.1.0.1/81")
	if code == 0 {
		t.Fatal("port 81 of the router accepted a connection")
	}
	expect(t, out, "Connection refused")
	// UDP: the port unreachable is what ends a traceroute at its first hop.
	trace := l.hosts["h1"].run("traceroute", "-U", "-n", "-q", "1", "10.2.0.1")
	expect(t, trace, " 1  10.2.0.1")
	if strings.Contains(trace, "\n 2 ") {
		t.Errorf("expected the trace to end at the router:\n%s", trace)
	}
}

func TestBroadcastPingIsIgnored(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	// The host behind the router would answer, if the packet came to it.
	h2.sysctl("net/ipv4/icmp_echo_ignore_broadcasts", "0")
	h1.ping("10.2.0.2")
	before := l.received("h2")
	for _, address := range []string{"10.1.0.255", "255.255.255.255"} {
		out := h1.pingFails(address, "-b", "-W", "1")
		if strings.Contains(out, "From ") || strings.Contains(out, "bytes from") {
			t.Errorf("nobody may answer a ping to %s:\n%s", address, out)
		}
	}
	// Directed broadcast (RFC 2644).
	out := h1.pingFails("10.2.0.255", "-W", "1")
	if strings.Contains(out, "bytes from") {
		t.Errorf("the directed broadcast was forwarded:\n%s", out)
	}
	if got := l.received("h2") - before; got > 1 { // an ARP probe may be among them
		t.Errorf("%d packets came through to h2", got)
	}
	if r.drops("broadcast") == 0 {
		t.Errorf("expected broadcasts among the drops:\n%s", r.ctl("show", "drops"))
	}
}

func TestMartiansAreDropped(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	h1 := l.hosts["h1"]
	h1.ip("addr", "add", "240.0.0.1/32", "dev", "lo")
	h1.ping("10.2.0.2") // h1 knows its gateway now and need not ask in the name of 240.0.0.1
	h1.pingFails("10.2.0.2", "-W", "1", "-I", "240.0.0.1")
	if r.drops("martian") == 0 {
		t.Errorf("expected martians among the drops:\n%s", r.ctl("show", "drops"))
	}
}

func TestErrorsAreRateLimitedPerDestination(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", twoHosts+`
icmp: {rate: 1000, per_destination: 5}
`)
	out, _ := l.hosts["h1"].try("ping", "-n", "-c", "200", "-i", "0.002", "-W", "1", "192.0.2.1")
	answers := strings.Count(out, "Destination Net Unreachable")
	// Two hundred in half a second: a few seconds' worth, were the machine very slow.
	if answers == 0 || answers > 60 {
		t.Errorf("expected about five errors a second, got %d for 200 packets:\n%s", answers, out)
	}
}

func TestRedirectNamesTheBetterGateway(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 10.1.0.1/24}
routes:
  - {to: 172.16.0.0/24, via: 10.1.0.3}
`)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	h1.plug("lan", "10.1.0.2/24", "10.1.0.1")
	h2.plug("lan", "10.1.0.3/24", "")
	h2.ip("addr", "add", "172.16.0.1/32", "dev", "lo")
	h1.sysctl("net/ipv4/conf/all/accept_redirects", "1")
	h1.sysctl("net/ipv4/conf/eth0/secure_redirects", "0")
	h1.ping("172.16.0.1") // it is forwarded nevertheless
	eventually(t, 10*time.Second, "h1 to follow the redirect", func() error {
		h1.ping("172.16.0.1")
		return contains(h1.ip("route", "get", "172.16.0.1"), "via 10.1.0.3")
	})
}

func TestRedirectsCanBeSwitchedOff(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 10.1.0.1/24, redirects: false}
routes:
  - {to: 172.16.0.0/24, via: 10.1.0.3}
`)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	h1.plug("lan", "10.1.0.2/24", "10.1.0.1")
	h2.plug("lan", "10.1.0.3/24", "")
	h2.ip("addr", "add", "172.16.0.1/32", "dev", "lo")
	out := h1.ping("172.16.0.1")
	if strings.Contains(out, "Redirect") {
		t.Errorf("expected no redirect:\n%s", out)
	}
}

func TestReversePathCheckDropsForgedSources(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", strings.Replace(twoHosts, "address: 10.1.0.1/24\n", "address: 10.1.0.1/24\n    reverse_path: strict\n", 1))
	h1 := l.hosts["h1"]
	h1.ping("10.2.0.2")
	h1.ip("addr", "add", "10.9.9.9/32", "dev", "lo")
	h1.pingFails("10.2.0.2", "-W", "1", "-I", "10.9.9.9")
	if r.drops("reverse_path") == 0 {
		t.Errorf("expected the forged source among the drops:\n%s", r.ctl("show", "drops"))
	}
}

func TestMulticastIsNotForwarded(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	h1 := l.hosts["h1"]
	h1.ip("route", "add", "224.0.0.0/4", "dev", "eth0")
	h1.ping("10.2.0.2")
	before := l.received("h2")
	for _, group := range []string{"224.0.0.9", "239.1.2.3"} { // link-local, and any other
		h1.pingFails(group, "-W", "1", "-t", "8")
	}
	if got := l.received("h2") - before; got > 1 { // an ARP probe may be among them
		t.Errorf("%d packets came through to h2", got)
	}
	if r.drops("multicast") < 2 {
		t.Errorf("expected two multicasts among the drops:\n%s", r.ctl("show", "drops"))
	}
}

func TestLeakGuardKeepsPrivateDestinationsIn(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", strings.NewReplacer("10.2.0.1/24\n", "198.51.100.1/24\n    leak_guard: true\n",
		"10.2.0.2/24", "198.51.100.2/24", "gateway: 10.2.0.1", "gateway: 198.51.100.1").Replace(twoHosts)+`
routes:
  - {to: default, via: 198.51.100.2}
`)
	h1, h2 := l.hosts["h1"], l.hosts["h2"]
	h2.ip("addr", "add", "203.0.113.9/32", "dev", "lo")
	h2.ip("addr", "add", "192.168.7.7/32", "dev", "lo")
	h1.ping("203.0.113.9")
	expect(t, h1.pingFails("192.168.7.7"), "From 10.1.0.1", "Destination Net Unreachable")
	if r.drops("leak_guard") == 0 {
		t.Errorf("expected the packet among the drops:\n%s", r.ctl("show", "drops"))
	}
}
