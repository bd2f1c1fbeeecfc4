package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tests of NAT and of the firewall stand in the home of the textbooks: inside 192.168.1.0/24,
// one public address outside, and behind the provider's router a link that is smaller than all others.
//
//	p2 192.168.1.2 --+
//	p5 192.168.1.5 --+-- switch -- .1 [router] 83.215.152.95 -- 83.215.152.1 out -- mtu 1300 -- far 203.0.113.2
//	...            --+                                          198.51.100.1 and .2: the servers
//
// With VROUTERD_TEST_NAT=kernel the router is the Linux kernel with nftables, in a namespace: a test
// that gives the rules for both is held against a NAT that the world knows. That is how the
// tests were tested:
//
//	VROUTERD_TEST_NAT=kernel scripts/test -run 'NAT' ./test/integration

// policy is what the router under test is told, in its own language.
type policy struct {
	yaml string // sections of the configuration, behind ports and routes
	nft  string // what stands for it in nftables; "": the kernel cannot
}

// masquerade is NAT without a firewall.
var masquerade = policy{
	yaml: `
nat:
  - {out: wan, type: masquerade}
`,
	nft: `
table ip nat {
  chain postrouting { type nat hook postrouting priority 100;
    oifname "wan" masquerade
  }
}
table ip filter {
  chain forward { type filter hook forward priority 0; policy accept;
    ct state established,related accept
    iifname "wan" drop
  }
}
`}

const (
	publicAddress = "83.215.152.95"
	server1       = "198.51.100.1"
	server2       = "198.51.100.2"
	farAddress    = "203.0.113.2"
)

// home is the network above with a router under test.
type home struct {
	*lab
	r   *router // nil: it is the kernel
	out *host
}

// homePorts are the ports and routes of the router under test.
const homePorts = unlimited + `
ports:
  lan: {netns: {net}, device: r1-lan, bridge: lan, address: 192.168.1.1/24}
  wan: {netns: {out}, device: eth0, address: 83.215.152.95/24, host: {address: 83.215.152.1/24}}
routes:
  - {to: default, via: 83.215.152.1}
`

// newHome raises a home; inside are hosts p2 for 192.168.1.2 and so on.
func newHome(t *testing.T, p policy, inside ...string) *home {
	t.Helper()
	return raiseHome(newLab(t, append([]string{"out", "far"}, inside...)...), p)
}

// newUnwatchedHome is for tests that move much data.
func newUnwatchedHome(t *testing.T, p policy, inside ...string) *home {
	t.Helper()
	return raiseHome(newUnwatchedLab(t, append([]string{"out", "far"}, inside...)...), p)
}

func raiseHome(l *lab, p policy) *home {
	l.t.Helper()
	e := &home{lab: l, out: l.hosts["out"]}
	if os.Getenv("VROUTERD_TEST_NAT") == "kernel" {
		e.kernel(p)
	} else {
		e.r = l.router("r1", homePorts+p.yaml)
	}
	for name, h := range l.hosts {
		if number, found := strings.CutPrefix(name, "p"); found {
			h.plug("lan", "192.168.1."+number+"/24", "192.168.1.1")
		}
	}
	e.provider()
	return e
}

// provider is the outside: servers on out, and far behind a small link.
func (e *home) provider() {
	e.t.Helper()
	for _, address := range []string{server1, server2} {
		e.out.ip("addr", "add", address+"/32", "dev", "lo")
	}
	// Inside addresses are routed to the router, so that what leaks can answer and what attacks can try.
	e.out.ip("route", "add", "192.168.1.0/24", "via", publicAddress)
	far := e.hosts["far"]
	e.out.ip("link", "add", "far", "mtu", "1300", "type", "veth", "peer", "name", "eth0", "mtu", "1300", "netns", far.ns)
	e.out.ip("addr", "add", "203.0.113.1/24", "dev", "far")
	e.out.ip("link", "set", "far", "up")
	far.ip("addr", "add", farAddress+"/24", "dev", "eth0")
	far.ip("link", "set", "eth0", "up")
	far.ip("route", "add", "default", "via", "203.0.113.1")
	e.out.sysctl("net/ipv4/ip_forward", "1")
	// The kernel's own limits of ICMP errors are none of the tests' business.
	for _, h := range []*host{e.out, far} {
		h.unlimitICMP()
	}
}

func (h *host) unlimitICMP() {
	h.lab.t.Helper()
	h.sysctl("net/ipv4/icmp_ratemask", "0")
	h.sysctl("net/ipv4/icmp_msgs_per_sec", "100000")
	h.sysctl("net/ipv4/icmp_msgs_burst", "100000")
}

// kernel makes a namespace with nftables the router.
func (e *home) kernel(p policy) {
	e.t.Helper()
	if p.nft == "" {
		e.t.Fatal("this test has no rules for the kernel")
	}
	k := e.addHost("k")
	w := e.wires
	w.ip("link", "add", "lan", "type", "bridge")
	w.ip("link", "set", "lan", "up")
	w.ip("link", "add", "k-lan", "type", "veth", "peer", "name", "lan", "netns", k.ns)
	w.ip("link", "set", "k-lan", "master", "lan", "up")
	k.ip("link", "add", "wan", "type", "veth", "peer", "name", "eth0", "netns", e.out.ns)
	k.ip("addr", "add", "192.168.1.1/24", "dev", "lan")
	k.ip("addr", "add", publicAddress+"/24", "dev", "wan")
	k.ip("link", "set", "lan", "up")
	k.ip("link", "set", "wan", "up")
	e.out.ip("addr", "add", "83.215.152.1/24", "dev", "eth0")
	e.out.ip("link", "set", "eth0", "up")
	k.ip("route", "add", "default", "via", "83.215.152.1")
	k.sysctl("net/ipv4/ip_forward", "1")
	k.unlimitICMP()
	e.nft(k, p.nft)
}

// nft gives a host's kernel another rule set.
func (l *lab) nft(h *host, rules string) {
	l.t.Helper()
	file := filepath.Join(l.dir, h.name+".nft")
	if err := os.WriteFile(file, []byte("flush ruleset\n"+rules), 0o644); err != nil {
		l.t.Fatal(err)
	}
	h.run("nft", "-f", file)
}

// tell applies another policy to the running router.
func (e *home) tell(p policy) {
	e.t.Helper()
	if e.r == nil {
		e.nft(e.hosts["k"], p.nft)
		return
	}
	e.r.write(homePorts + p.yaml)
	e.r.ctl("config", "apply", e.r.file)
}

// named is an entry of a table with all that the keys say; the table is a noun of `vrctl show`.
func (e *home) named(noun string, keysAndValues ...string) (row, error) {
	if r := find(e.r.rows(strings.Fields(noun)...), keysAndValues...); r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("no such row (%v) in vrctl show %s:\n%s", keysAndValues, noun, e.r.ctl(append([]string{"show"}, strings.Fields(noun)...)...))
}
