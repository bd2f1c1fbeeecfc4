package integration

import (
	"strings"
	"testing"
	"time"
)

func TestRIPNextHopsThatAreNotTheSenderAreSentAndTaken(t *testing.T) {
	t.Parallel()
	l := newLab(t, "f", "b")
	r := l.router("r1", between+ripBetween+`  redistribute: {static: {metric: 1}}
routes:
  - {to: 198.51.100.0/24, via: 10.2.0.9}
`)
	f, b := peers(l, frrRIP, `
protocol static stat { ipv4; route 172.21.3.0/24 via 10.2.0.8; }
`+birdRIP)
	// BIRD is told of the router on its own network, FRR on the other one is not.
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"198.51.100.0/24": {via: "10.2.0.9", metric: 2}})
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{
		"198.51.100.0/24": {via: "10.1.0.1", metric: 2},
		"172.21.3.0/24":   {via: "10.1.0.1", metric: 3},
	})
	r.has(20*time.Second, "rip", "prefix", "172.21.3.0/24", "next_hop", "10.2.0.8", "from", "10.2.0.2")
	r.has(time.Second, "routes", "prefix", "172.21.3.0/24", "next_hop", "10.2.0.8", "from", "10.2.0.2", "selected", "true")
}

func TestRIPSpeaksByUnicastWithFRRAndByBroadcastAndTTLWithBIRD(t *testing.T) {
	t.Parallel()
	l := newLab(t, "f", "b")
	r := l.router("r1", between+`
rip:
  timers: {update: 1s, timeout: 20s, garbage: 3s}
  ports:
    left: {passive: true, neighbors: 10.1.0.2}
    right: {send: v2_broadcast, ttl_security: true}
`)
	f, b := peers(l, frrRIP+" passive-interface eth0\n neighbor 10.1.0.1\n",
		strings.Replace(birdRIP, "update time 2;", "update time 2; mode broadcast; ttl security yes;", 1))
	// Whatever FRR says by multicast does not come from here, and the other way round.
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{"172.21.1.1/32": {via: "10.1.0.1", metric: 3}})
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"172.20.1.1/32": {via: "10.2.0.1", metric: 3}})
	f.sees("udp port 520 and src host 10.1.0.1 and dst host 10.1.0.2", func() {})
	b.sees("udp port 520 and src host 10.2.0.1 and dst host 10.2.0.255 and ip[8] == 255", func() {})
	for _, n := range r.rows("rip", "neighbors") {
		if n.number(t, "bad_packets") > 0 {
			t.Errorf("expected nothing refused, got %v", n)
		}
	}
}

func TestRIPWhatAFilterTakesAwayIsPoisonedAtOnce(t *testing.T) {
	t.Parallel()
	l, f, b := segmentLab(t, "", "")
	r := l.router("r1", segments+ripBetween)
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"172.20.1.1/32": {via: "10.2.0.1", metric: 3}, "10.1.0.0/24": {via: "10.2.0.1", metric: 2}})
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{"172.21.1.1/32": {via: "10.1.0.1", metric: 3}})
	r.ctl("config", "apply", changed(r, segments+strings.Replace(ripBetween, "right: ", "right: {filter_out: [{prefix: 10.0.0.0/8, le: 32}]}", 1)))
	loses(t, "BIRD", b, 10*time.Second, "172.20.1.1/32")
	learns(t, "BIRD", b, 10*time.Second, map[string]ripRoute{"10.1.0.0/24": {via: "10.2.0.1", metric: 2}})
	// What comes in at the other port no longer does: FRR's routes go, and BIRD hears of it.
	r.ctl("config", "apply", changed(r, segments+strings.Replace(ripBetween, "right: ", "right: {filter_in: [{prefix: 10.0.0.0/8, le: 32}]}", 1)))
	loses(t, "FRR", f, 10*time.Second, "172.21.1.1/32")
	learns(t, "BIRD", b, 10*time.Second, map[string]ripRoute{"172.20.1.1/32": {via: "10.2.0.1", metric: 3}})
}

func TestRIPClearForgetsAndLearnsAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t, "f", "b")
	r := l.router("r1", between+ripBetween)
	peers(l, frrRIP, birdRIP)
	for _, prefix := range []string{"172.20.1.1/32", "172.21.1.1/32"} {
		r.has(20*time.Second, "routes", "prefix", prefix, "protocol", "rip")
	}
	r.ctl("rip", "clear")
	for _, port := range []string{"left", "right"} {
		if asked := find(r.rows("rip", "ports"), "name", port).number(t, "queries_sent"); asked < 2 {
			t.Errorf("expected a request at the start and one now on %s, got %d", port, asked)
		}
	}
	for _, prefix := range []string{"172.20.1.1/32", "172.21.1.1/32"} {
		r.has(10*time.Second, "routes", "prefix", prefix, "protocol", "rip")
	}
}
