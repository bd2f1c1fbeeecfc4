package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// segments are links that outlive the router: bridges with a second cable in them, so that the
// peers on them (br0) keep their link, and what they know, when the router is gone.
const segments = `
icmp: {rate: 0, per_destination: 0}
ports:
  left: {netns: {f}, device: tap0, bridge: br0, address: 10.1.0.1/24}
  right: {netns: {b}, device: tap0, bridge: br0, address: 10.2.0.1/24}
`

// segment makes br0 with an address in a host.
func (h *host) segment(address string) {
	h.lab.t.Helper()
	h.ip("link", "add", "br0", "type", "bridge")
	h.ip("link", "add", "near", "type", "veth", "peer", "name", "far")
	h.ip("link", "set", "near", "master", "br0", "up")
	h.ip("link", "set", "far", "up")
	h.ip("addr", "add", address, "dev", "br0")
	h.ip("link", "set", "br0", "up")
}

// segmentLab has both segments and starts the peers, with long timeouts: what happens in
// these tests within seconds is not for want of updates.
func segmentLab(t *testing.T, frrAuth, birdAuth string) (*lab, *frr, *bird) {
	l := newLab(t, "f", "b")
	l.hosts["f"].segment("10.1.0.2/24")
	l.hosts["b"].segment("10.2.0.2/24")
	onBridge := strings.NewReplacer("eth0", "br0", "timeout time 20", birdAuth+" timeout time 120", "timers basic 5 20 5", "timers basic 5 120 5")
	f, b := peers(l, frrAuth+onBridge.Replace(frrRIP), onBridge.Replace(birdRIP))
	return l, f, b
}

const (
	frrMD5  = "key chain ours\n key 7\n  key-string between-us\n!\ninterface br0\n ip rip authentication mode md5 auth-length rfc\n ip rip authentication key-chain ours\n!\n"
	birdMD5 = `authentication cryptographic; password "between-us" { id 7; algorithm keyed md5; };`
	oursMD5 = `
rip:
  timers: {update: 1s, timeout: 12s, garbage: 3s}
  keys: {ours: {type: md5, forget_sequence: true, keys: [{id: 7, secret: between-us}]}}
  ports: {left: {auth: ours}, right: {auth: ours}}
`
)

func TestRIPPeersThatAreKilledAreForgottenAndLearnedAgain(t *testing.T) {
	t.Parallel()
	l, f, b := segmentLab(t, frrMD5, birdMD5)
	r := l.router("r1", segments+oursMD5)
	theirs := []struct {
		name, prefix, address string
		peer                  ripPeer
	}{{"FRR", "172.20.1.1/32", "10.1.0.2", f}, {"BIRD", "172.21.1.1/32", "10.2.0.2", b}}
	for _, p := range theirs {
		r.has(20*time.Second, "routes", "prefix", p.prefix, "protocol", "rip")
	}
	for _, p := range theirs {
		p.peer.kill()
	}
	for _, p := range theirs {
		r.hasNo(25*time.Second, "routes", "prefix", p.prefix)
		r.has(time.Second, "rip neighbors", "address", p.address, "up", "false")
	}
	for _, p := range theirs {
		p.peer.restart()
	}
	for _, p := range theirs {
		// FRR counts its packets from the start again: the chain's forget_sequence allows that.
		r.has(20*time.Second, "routes", "prefix", p.prefix, "protocol", "rip")
	}
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{"172.21.1.1/32": {via: "10.1.0.1", metric: 3}})
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"172.20.1.1/32": {via: "10.2.0.1", metric: 3}})
}

func TestRIPSequenceSurvivesThatTheRouterIsKilled(t *testing.T) {
	t.Parallel()
	l, f, b := segmentLab(t, frrMD5, birdMD5)
	r := l.router("r1", segments+oursMD5)
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"172.20.1.1/32": {via: "10.2.0.1", metric: 3}})
	for round := range 2 {
		r.kill()
		r.start()
		r.ready()
		// What is new after the restart proves that the peers accept what it sends.
		prefix := fmt.Sprintf("198.51.100.%d/32", round)
		r.ctl("config", "apply", changed(r, segments+strings.Replace(oursMD5, "rip:\n", "rip:\n  redistribute: {static: {metric: 1}}\n", 1)+
			"routes: [{to: "+prefix+", type: blackhole}]\n"))
		learns(t, "BIRD", b, 10*time.Second, map[string]ripRoute{prefix: {via: "10.2.0.1", metric: 2}})
		learns(t, "FRR", f, 15*time.Second, map[string]ripRoute{prefix: {via: "10.1.0.1", metric: 2}})
	}
	if log := readText(b.dir + "/log"); strings.Contains(log, "uthentication") {
		t.Errorf("expected BIRD to have refused nothing:\n%s", log)
	}
}

// changed writes another configuration and names its file.
func changed(r *router, yaml string) string {
	r.lab.t.Helper()
	r.write(yaml)
	return r.file
}

func TestRIPRouterThatStopsPoisonsWhatItAnnounced(t *testing.T) {
	t.Parallel()
	l, f, b := segmentLab(t, "", "")
	r := l.router("r1", segments+ripBetween)
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{"10.2.0.0/24": {via: "10.1.0.1", metric: 2}, "172.21.1.1/32": {via: "10.1.0.1", metric: 3}})
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"10.1.0.0/24": {via: "10.2.0.1", metric: 2}, "172.20.1.1/32": {via: "10.2.0.1", metric: 3}})
	r.stop()
	// Their own timeout is two minutes.
	loses(t, "BIRD", b, 10*time.Second, "10.1.0.0/24", "172.20.1.1/32")
	loses(t, "FRR", f, 10*time.Second, "10.2.0.0/24", "172.21.1.1/32")
}

func TestRIPPoisonsAtOnceWhatWasBehindALostPort(t *testing.T) {
	t.Parallel()
	l, _, b := segmentLab(t, "", "")
	r := l.router("r1", segments+ripBetween)
	left := map[string]ripRoute{"10.1.0.0/24": {via: "10.2.0.1", metric: 2}, "172.20.1.1/32": {via: "10.2.0.1", metric: 3}}
	learns(t, "BIRD", b, 20*time.Second, left)
	r.ctl("port", "down", "left")
	loses(t, "BIRD", b, 10*time.Second, "10.1.0.0/24", "172.20.1.1/32")
	r.hasNo(10*time.Second, "routes", "prefix", "172.20.1.1/32")
	r.ctl("port", "up", "left")
	learns(t, "BIRD", b, 20*time.Second, left)
	// The same when the device itself goes.
	l.hosts["f"].ip("link", "del", "tap0")
	loses(t, "BIRD", b, 10*time.Second, "10.1.0.0/24", "172.20.1.1/32")
}
