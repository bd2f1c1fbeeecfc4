package integration

import (
	"fmt"
	"testing"
	"time"
)

// between is vrouterd between FRR in host f (10.1.0.2, and 172.20.1.1 on its loopback) and
// BIRD in host b (10.2.0.2, and 172.21.1.1).
const between = `
icmp: {rate: 0, per_destination: 0}
ports:
  left: {netns: {f}, device: eth0, address: 10.1.0.1/24, host: {address: 10.1.0.2/24}}
  right: {netns: {b}, device: eth0, address: 10.2.0.1/24, host: {address: 10.2.0.2/24}}
`

// ripBetween is RIP on both ports.
const ripBetween = `
rip:
  timers: {update: 1s, timeout: 20s, garbage: 3s}
  ports: {left: , right: }
`

// The configurations of the peers. FRR's timers go no lower than 5 seconds.
const (
	frrRIP = `
router rip
 timers basic 5 20 5
 network eth0
 network lo
`
	birdRIP = `
protocol rip rip1 {
	ipv4 { import all; export all; };
	interface "eth0" { update time 2; timeout time 20; garbage time 5; };
}
`
)

// peers gives the hosts their loopbacks and starts the daemons in them.
func peers(l *lab, frrConfig, birdConfig string) (*frr, *bird) {
	l.t.Helper()
	f, b := l.hosts["f"], l.hosts["b"]
	f.ip("addr", "add", "172.20.1.1/32", "dev", "lo")
	b.ip("addr", "add", "172.21.1.1/32", "dev", "lo")
	return f.frr(frrConfig), b.bird(birdConfig)
}

func TestRIPCarriesRoutesMetricsTagsAndWithdrawalsBetweenFRRAndBIRD(t *testing.T) {
	t.Parallel()
	l := newLab(t, "f", "b")
	r := l.router("r1", between+ripBetween+`  redistribute: {static: {metric: 3}}
routes:
  - {to: 198.51.100.0/24, type: blackhole, tag: 33}
`)
	l.hosts["f"].ip("route", "add", "blackhole", "172.20.2.0/24")
	f, b := peers(l, `
route-map tagged permit 10
 set tag 20
`+frrRIP+` redistribute kernel metric 5 route-map tagged
`, `
protocol static stat { ipv4; route 172.21.2.0/24 blackhole; }
`+`
protocol rip rip1 {
	ipv4 { import all; export filter { if net = 172.21.2.0/24 then { rip_metric = 4; rip_tag = 21; } accept; }; };
	interface "eth0" { update time 2; timeout time 20; garbage time 5; };
}
`)
	const soon = 20 * time.Second
	learns(t, "FRR", f, soon, map[string]ripRoute{
		"10.2.0.0/24":     {via: "10.1.0.1", metric: 2},
		"198.51.100.0/24": {via: "10.1.0.1", metric: 4, tag: 33},
		"172.21.1.1/32":   {via: "10.1.0.1", metric: 3},
		"172.21.2.0/24":   {via: "10.1.0.1", metric: 6, tag: 21},
	})
	learns(t, "BIRD", b, soon, map[string]ripRoute{
		"10.1.0.0/24":     {via: "10.2.0.1", metric: 2},
		"198.51.100.0/24": {via: "10.2.0.1", metric: 4, tag: 33},
		"172.20.1.1/32":   {via: "10.2.0.1", metric: 3},
		"172.20.2.0/24":   {via: "10.2.0.1", metric: 7, tag: 20},
	})
	for prefix, want := range map[string]struct {
		hop, port   string
		metric, tag int
	}{
		"172.20.1.1/32": {"10.1.0.2", "left", 2, 0},
		"172.20.2.0/24": {"10.1.0.2", "left", 6, 20},
		"172.21.1.1/32": {"10.2.0.2", "right", 2, 0},
		"172.21.2.0/24": {"10.2.0.2", "right", 5, 21},
	} {
		metric, tag := fmt.Sprint(want.metric), fmt.Sprint(want.tag)
		r.has(soon, "rip", "prefix", prefix, "next_hop", want.hop, "from", want.hop, "port", want.port, "metric", metric, "tag", tag, "state", "valid")
		r.has(soon, "routes", "prefix", prefix, "next_hop", want.hop, "port", want.port, "protocol", "rip",
			"distance", "120", "metric", metric, "tag", tag, "from", want.hop, "selected", "true")
	}
	for _, address := range []string{"10.1.0.2", "10.2.0.2"} {
		r.has(soon, "rip neighbors", "address", address, "version", "2", "up", "true", "bad_packets", "0", "bad_routes", "0")
	}
	eventually(t, soon, "the kernels of both hosts have what was learned", func() error {
		if via := f.kernel()["172.21.1.1"]; via != "10.1.0.1" {
			return fmt.Errorf("that of f: %v", f.kernel())
		}
		if via := b.kernel()["172.20.1.1"]; via != "10.2.0.1" {
			return fmt.Errorf("that of b: %v", b.kernel())
		}
		return nil
	})
	f.ping("172.21.1.1", "-I", "172.20.1.1")
	b.ping("172.20.1.1", "-I", "172.21.1.1")

	// Withdrawn by one, the route is gone from the other long before any timeout.
	f.ip("route", "del", "blackhole", "172.20.2.0/24")
	loses(t, "BIRD", b, 12*time.Second, "172.20.2.0/24")
	r.hasNo(soon, "routes", "prefix", "172.20.2.0/24")
	b.birdc("disable stat")
	loses(t, "FRR", f, 12*time.Second, "172.21.2.0/24")
	r.hasNo(soon, "rip", "prefix", "172.21.2.0/24")
	r.ctl("route", "del", "198.51.100.0/24")
	loses(t, "FRR", f, 10*time.Second, "198.51.100.0/24")
	loses(t, "BIRD", b, 10*time.Second, "198.51.100.0/24")
}
