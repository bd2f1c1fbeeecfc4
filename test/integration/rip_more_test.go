package integration

import (
	"fmt"
	"testing"
	"time"
)

func TestRIPVersion1WithFRR(t *testing.T) {
	t.Parallel()
	l := newLab(t, "f", "b")
	r := l.router("r1", between+`
rip:
  version: 1
  timers: {update: 1s, timeout: 20s, garbage: 3s}
  ports: {left: }
  redistribute: {static: {metric: 3}}
routes:
  - {to: 10.8.1.0/24, type: blackhole}
  - {to: 198.51.100.0/24, type: blackhole}
  - {to: 203.0.113.128/25, type: blackhole}
`)
	f := l.hosts["f"].frr(frrRIP + " version 1\n route 10.7.1.0/24\n route 192.0.2.0/24\n")
	// Version 1 has no masks: subnets of the link's network and class networks pass, the rest would be mistaken.
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{
		"10.8.1.0/24":     {via: "10.1.0.1", metric: 4},
		"198.51.100.0/24": {via: "10.1.0.1", metric: 4},
	})
	for prefix := range f.rip() {
		if prefix != "10.8.1.0/24" && prefix != "198.51.100.0/24" {
			t.Errorf("FRR has learned %s, which version 1 cannot say", prefix)
		}
	}
	for _, prefix := range []string{"10.7.1.0/24", "192.0.2.0/24"} {
		r.has(20*time.Second, "rip", "prefix", prefix, "from", "10.1.0.2", "metric", "2", "tag", "0")
	}
	r.has(time.Second, "rip neighbors", "address", "10.1.0.2", "version", "1", "bad_packets", "0")
}

func TestRIPDefaultRouteIsOriginatedAndLearned(t *testing.T) {
	t.Parallel()
	l := newLab(t, "f", "b")
	r := l.router("r1", between+ripBetween+"  default_route: {originate: true, metric: 2, tag: 9}\n")
	f, b := peers(l, frrRIP, birdRIP)
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{"0.0.0.0/0": {via: "10.1.0.1", metric: 3, tag: 9}})
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"0.0.0.0/0": {via: "10.2.0.1", metric: 3, tag: 9}})
	// Without it, FRR's default route is learned and goes on to BIRD.
	r.write(between + ripBetween)
	r.ctl("config", "apply", r.file)
	loses(t, "FRR", f, 10*time.Second, "0.0.0.0/0")
	loses(t, "BIRD", b, 10*time.Second, "0.0.0.0/0")
	f.vtysh("configure terminal", "router rip", "default-information originate")
	r.has(20*time.Second, "routes", "prefix", "0.0.0.0/0", "next_hop", "10.1.0.2", "protocol", "rip", "selected", "true")
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"0.0.0.0/0": {via: "10.2.0.1", metric: 3}})
}

func TestRIPUsesEqualPathsAndEachGoesByItself(t *testing.T) {
	t.Parallel()
	l := newLab(t, "f", "b", "h")
	r := l.router("r1", between+`  lan: {netns: {h}, device: eth0, address: 10.3.0.1/24, host: {address: 10.3.0.2/24, gateway: 10.3.0.1}}
`+ripBetween)
	f, b := l.hosts["f"], l.hosts["b"]
	for _, h := range []*host{f, b} {
		h.ip("addr", "add", "172.22.0.1/32", "dev", "lo")
		gateway := "10.1.0.1"
		if h == b {
			gateway = "10.2.0.1"
		}
		h.ip("route", "add", "10.3.0.0/24", "via", gateway)
	}
	f.frr(frrRIP)
	b.bird(birdRIP)
	both := [][]string{{"next_hop", "10.1.0.2", "port", "left"}, {"next_hop", "10.2.0.2", "port", "right"}}
	for _, path := range both {
		r.has(20*time.Second, "rip", append([]string{"prefix", "172.22.0.1/32", "metric", "2", "selected", "true"}, path...)...)
		r.has(20*time.Second, "routes", append([]string{"prefix", "172.22.0.1/32", "selected", "true"}, path...)...)
		r.has(20*time.Second, "fib", append([]string{"prefix", "172.22.0.1/32"}, path...)...)
	}
	// The flow's hash decides: among many flows there are some on either path.
	counted := func(port string) int { return find(r.rows("ports"), "name", port).number(t, "tx_packets") }
	left, right := counted("left"), counted("right")
	h := l.hosts["h"]
	h.shell("for port in $(seq 20000 20199); do echo x >/dev/udp/172.22.0.1/$port; done")
	eventually(t, 10*time.Second, "200 flows over two paths", func() error {
		if l, r := counted("left")-left, counted("right")-right; l < 50 || r < 50 {
			return fmt.Errorf("%d to the left, %d to the right", l, r)
		}
		return nil
	})
	// One path goes, the other stays.
	f.ip("addr", "del", "172.22.0.1/32", "dev", "lo")
	r.hasNo(15*time.Second, "routes", "prefix", "172.22.0.1/32", "port", "left")
	r.has(time.Second, "routes", "prefix", "172.22.0.1/32", "port", "right", "selected", "true")
	h.ping("172.22.0.1")
}
