package integration

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// twoProviders is a home with two ways out, each with an address of its own; both lead to the server.
const twoProviders = unlimited + `
ports:
  lan: {netns: {p2}, device: eth0, address: 192.168.1.1/24, host: {address: 192.168.1.2/24, gateway: 192.168.1.1}}
  one: {netns: {out}, device: one, address: 83.215.152.95/24, host: {address: 83.215.152.1/24}}
  two: {netns: {out}, device: two, address: 203.0.113.95/24, host: {address: 203.0.113.1/24}}
nat:
  - {out: one, type: masquerade}
  - {out: two, type: masquerade}
firewall: home
routes:
`

func newTwoProviders(t *testing.T, routes string) (*lab, *router) {
	t.Helper()
	l := newLab(t, "p2", "out")
	r := l.router("r1", twoProviders+routes)
	l.hosts["out"].ip("addr", "add", server1+"/32", "dev", "lo")
	l.hosts["out"].serveTCP(server1 + ":7")
	l.hosts["out"].serveUDP(server1 + ":7")
	return l, r
}

func TestNATSharesFlowsOverTwoProviders(t *testing.T) {
	l, _ := newTwoProviders(t, "  - {to: default, via: [83.215.152.1, 203.0.113.1]}\n")
	p2 := l.hosts["p2"]
	// Every flow keeps to the provider whose address it has, in both directions.
	ways := map[string]int{}
	for range 40 {
		c := p2.converse("", server1+":7")
		ways[netip.MustParseAddrPort(c.seen).Addr().String()]++
		for range 3 {
			if err := c.say(20 * time.Second); err != nil {
				t.Fatalf("a connection by %s: %v", c.seen, err)
			}
		}
		c.Close()
	}
	if len(ways) != 2 || ways[publicAddress] < 5 || ways["203.0.113.95"] < 5 {
		t.Errorf("expected both providers to have flows: %v", ways)
	}
}

func TestNATFollowsTheRouteToAnotherProvider(t *testing.T) {
	l, r := newTwoProviders(t, "  - {to: default, via: 83.215.152.1}\n")
	p2 := l.hosts["p2"]
	s := p2.listenUDP("192.168.1.2:5000")
	old := p2.converse("", server1+":7")
	if seen := asks(t, s, server1+":7"); seen.Addr().String() != publicAddress {
		t.Fatalf("the server saw %v", seen)
	}
	// A better way: what has the address of the first provider cannot go by the second, and starts anew.
	r.ctl("route", "add", "198.51.100.0/24", "via", "203.0.113.1")
	eventually(t, 20*time.Second, "the datagrams to go by the second provider", func() error {
		if seen := asks(t, s, server1+":7"); seen != netip.MustParseAddrPort("203.0.113.95:5000") {
			return fmt.Errorf("the server sees %v", seen)
		}
		return nil
	})
	if seen := p2.converse("", server1+":7").seen; !strings.HasPrefix(seen, "203.0.113.95:") {
		t.Errorf("a new connection goes as %s", seen)
	}
	if err := old.say(2 * time.Second); err == nil {
		t.Error("a connection lives on, though its address is that of the other provider")
	}
	// The second provider fails: everything goes by the first again.
	r.ctl("port", "down", "two")
	r.portUp("two", false)
	eventually(t, 20*time.Second, "the datagrams to go by the first provider", func() error {
		if seen := asks(t, s, server1+":7"); seen != netip.MustParseAddrPort(publicAddress+":5000") {
			return fmt.Errorf("the server sees %v", seen)
		}
		return nil
	})
	r.ctl("port", "up", "two")
	r.portUp("two", true)
	eventually(t, 20*time.Second, "the datagrams to go by the second provider again", func() error {
		if seen := asks(t, s, server1+":7"); seen.Addr().String() != "203.0.113.95" {
			return fmt.Errorf("the server sees %v", seen)
		}
		return nil
	})
}
