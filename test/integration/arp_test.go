package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestProxyARPAnswersForItsPrefixesOnly(t *testing.T) {
	l := newLab(t, "h1", "h2")
	// h2 believes that everything is on its own link and has no gateway.
	l.router("r1", strings.NewReplacer(
		"address: 10.2.0.1/24", "address: 10.2.0.1/24\n    proxy_arp: [10.1.0.0/24]",
		"host: {address: 10.2.0.2/24, gateway: 10.2.0.1}", "host: {address: 10.2.0.2/24}").Replace(twoHosts))
	h2 := l.hosts["h2"]
	h2.ip("route", "add", "10.0.0.0/8", "dev", "eth0")
	h2.ping("10.1.0.2")
	h2.pingFails("10.7.0.1", "-W", "1")
	if out, code := h2.try("arping", "-c", "2", "-w", "3", "-I", "eth0", "10.7.0.1"); code == 0 {
		t.Errorf("the router answered for an address that is not in its prefixes:\n%s", out)
	}
}

func TestDuplicateAddressDetectionFindsTheRouter(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	h1 := l.hosts["h1"]
	// A probe with the sender address zero (RFC 5227): exit status 1 says that somebody has it.
	if out, code := h1.try("arping", "-D", "-c", "2", "-w", "3", "-I", "eth0", "10.1.0.1"); code != 1 {
		t.Errorf("expected arping -D to find the router's address in use, exit status %d:\n%s", code, out)
	}
	if out, code := h1.try("arping", "-D", "-c", "2", "-w", "3", "-I", "eth0", "10.1.0.77"); code != 0 {
		t.Errorf("expected arping -D to find a free address, exit status %d:\n%s", code, out)
	}
	h1.ping("10.2.0.2")
}

func TestTheRouterAnnouncesItsAddresses(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 10.1.0.1/24}
`)
	h1 := l.hosts["h1"]
	h1.plug("lan", "10.1.0.2/24", "10.1.0.1")
	h1.ping("10.1.0.1")
	seen := h1.start("tcpdump", "-l", "-n", "-c", "1", "-i", "eth0", "arp and src host 10.1.0.1 and arp[24:4] == arp[14:4]")
	eventually(t, 10*time.Second, "tcpdump to listen", func() error { return contains(readOutput(h1), "tcpdump") })
	eventually(t, 20*time.Second, "a gratuitous announcement of 10.1.0.1", func() error {
		r.ctl("port", "down", "lan")
		r.portUp("lan", false)
		r.ctl("port", "up", "lan")
		r.portUp("lan", true)
		select {
		case <-seen.done:
			return nil
		case <-time.After(2 * time.Second):
			return fmt.Errorf("none was seen")
		}
	})
}

// readOutput names the processes that run on a host.
func readOutput(h *host) string {
	pids, _ := h.lab.try("ip", "netns", "pids", h.ns)
	var names strings.Builder
	for _, pid := range strings.Fields(pids) {
		names.WriteString(readText("/proc/" + pid + "/comm"))
	}
	return names.String()
}

func TestNeighborsAreLearnedKeptAndFlushed(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	l.hosts["h1"].ping("10.2.0.2")
	if state := r.neighbor("10.2.0.2"); state != "reachable" && state != "stale" && state != "delay" {
		t.Errorf("expected 10.2.0.2 to be reachable, it is %q", state)
	}
	mac := ""
	link := strings.Fields(l.hosts["h2"].ip("-o", "link", "show", "eth0"))
	for i, field := range link {
		if field == "link/ether" {
			mac = link[i+1]
		}
	}
	if n := find(r.rows("neighbors"), "address", "10.2.0.2"); fmt.Sprint(n["mac"]) != mac {
		t.Errorf("expected the MAC %s: %v", mac, n)
	}
	r.ctl("neighbor", "flush")
	l.hosts["h1"].ping("10.2.0.2") // it is found again, no packet lost
}

func TestPermanentNeighborsAreUsedWithoutAsking(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	h2 := l.hosts["h2"]
	h2.ip("link", "set", "eth0", "arp", "off") // it would not answer
	expect(t, l.hosts["h1"].pingFails("10.2.0.2", "-W", "10"), "Destination Host Unreachable")
	mac := ""
	for i, field := range strings.Fields(h2.ip("-o", "link", "show", "eth0")) {
		if field == "link/ether" {
			mac = strings.Fields(h2.ip("-o", "link", "show", "eth0"))[i+1]
		}
	}
	router := fmt.Sprint(find(r.rows("ports"), "name", "lan2")["mac"])
	h2.ip("neigh", "replace", "10.2.0.1", "lladdr", router, "dev", "eth0", "nud", "permanent")
	r.ctl("neighbor", "add", "10.2.0.2", "mac", mac, "port", "lan2")
	if state := r.neighbor("10.2.0.2"); state != "permanent" {
		t.Errorf("expected a permanent neighbour, it is %q", state)
	}
	l.hosts["h1"].ping("10.2.0.2")
	r.ctl("neighbor", "del", "10.2.0.2")
	expect(t, l.hosts["h1"].pingFails("10.2.0.2", "-W", "10"), "Destination Host Unreachable")
}

func TestASweepOfUnresolvedAddressesLeavesRealNeighborsAlone(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	r := l.router("r1", strings.NewReplacer("10.2.0.1/24", "10.2.0.1/8", "10.2.0.2/24", "10.2.0.2/8", "10.1.0", "192.168.1").Replace(twoHosts)+`
arp: {max_cache: 256}
`)
	h1 := l.hosts["h1"]
	h1.ping("10.2.0.2")
	h1.shell(`
		exec 3>&2 2>/dev/null
		for i in $(seq 1 20); do for j in $(seq 1 100); do echo x >/dev/udp/10.77.$i.$j/9 || true; done; done`)
	h1.ping("10.2.0.2")
	if n := len(r.rows("neighbors")); n > 256 {
		t.Errorf("expected at most 256 neighbours, there are %d", n)
	}
}

func TestTheNextMoveOfAHostIsFollowed(t *testing.T) {
	l := newLab(t, "h1", "h2", "h3")
	r := l.router("r1", `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 10.1.0.1/24}
  far:
    netns: {h3}
    device: eth0
    address: 10.2.0.1/24
    host: {address: 10.2.0.2/24, gateway: 10.2.0.1}
`)
	l.hosts["h1"].plug("lan", "10.1.0.9/24", "10.1.0.1")
	l.hosts["h2"].plug("lan", "10.1.0.3/24", "10.1.0.1")
	l.hosts["h3"].ping("10.1.0.9")
	// The address moves to another machine, which announces it.
	l.hosts["h1"].ip("addr", "del", "10.1.0.9/24", "dev", "eth0")
	l.hosts["h2"].ip("addr", "add", "10.1.0.9/24", "dev", "eth0")
	l.hosts["h2"].run("arping", "-A", "-c", "1", "-I", "eth0", "10.1.0.9")
	eventually(t, 10*time.Second, "traffic to follow the address", func() error {
		if out, code := l.hosts["h3"].try("ping", "-n", "-c", "1", "-W", "1", "10.1.0.9"); code != 0 {
			return fmt.Errorf("%s\n%s", out, r.ctl("show", "neighbors"))
		}
		return nil
	})
}
