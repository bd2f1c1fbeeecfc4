package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// many is as many routes as a peer sends in these tests.
const many = 5000

// block writes prefixes, one for each of many /32 in 100.64.0.0/10 or wherever it begins.
func block(base string, line func(prefix string) string) string {
	var b strings.Builder
	for i := range many {
		b.WriteString(line(fmt.Sprintf("%s.%d.%d/32", base, i/250, i%250)))
	}
	return b.String()
}

// learned counts a peer's routes within a base.
func learned(p ripPeer, base string) (n int) {
	for prefix, route := range p.rip() {
		if strings.HasPrefix(prefix, base+".") && route.metric < 16 {
			n++
		}
	}
	return n
}

// installed counts the router's RIP routes within a base.
func (r *router) installed(base string) (n int) {
	for _, route := range r.rows("routes") {
		if route["protocol"] == "rip" && route["selected"] == true && strings.HasPrefix(fmt.Sprint(route["prefix"]), base+".") {
			n++
		}
	}
	return n
}

// awaitAll waits until somebody has them all, or none. It asks seldom: to list thousands
// of routes is work that takes the processor from those who are to learn them.
func awaitAll(t *testing.T, who string, want int, limit time.Duration, count func() int) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	n := count()
	for deadline := time.Now().Add(limit); n != want; n = count() {
		if <-tick.C; time.Now().After(deadline) {
			t.Fatalf("%s has %d, not %d, after %v", who, n, want, limit)
		}
	}
}

func TestRIPPassesOnThousandsOfRoutesAndLosesNoPacketMeanwhile(t *testing.T) {
	t.Parallel()
	l := newUnwatchedLab(t, "f", "b")
	// The peers are bound to the timeouts of networks of this size: updates of 5,000 routes take them a while.
	r := l.router("r1", between+strings.Replace(ripBetween, "update: 1s, timeout: 20s", "update: 5s, timeout: 60s", 1))
	f, b := peers(l, strings.Replace(frrRIP, "5 20 5", "5 60 5", 1), `
protocol static stat { disabled; ipv4; `+block("100.64", func(p string) string { return "route " + p + " blackhole; " })+`}
`+strings.NewReplacer("update time 2", "update time 5", "timeout time 20", "timeout time 60").Replace(birdRIP))
	learns(t, "FRR", f, 20*time.Second, map[string]ripRoute{"172.21.1.1/32": {via: "10.1.0.1", metric: 3}})
	learns(t, "BIRD", b, 20*time.Second, map[string]ripRoute{"172.20.1.1/32": {via: "10.2.0.1", metric: 3}})
	eventually(t, 10*time.Second, "the kernels of both hosts have the way", func() error {
		if f.kernel()["172.21.1.1"] == "" || b.kernel()["172.20.1.1"] == "" {
			return fmt.Errorf("%v and %v", f.kernel(), b.kernel())
		}
		return nil
	})
	// A hundred packets a second, there and back, through all that follows.
	traffic := f.start("ping", "-n", "-q", "-i", "0.01", "-I", "172.20.1.1", "172.21.1.1")

	b.birdc("enable stat")
	awaitAll(t, "our table from BIRD", many, 40*time.Second, func() int { return r.installed("100.64") })
	awaitAll(t, "FRR's table", many, 40*time.Second, func() int { return learned(f, "100.64") })

	commands := []string{"configure terminal", "router rip"}
	f.writeFile(f.dir+"/more.conf", "router rip\n"+block("100.100", func(p string) string { return " route " + p + "\n" }))
	f.vtysh(append(commands, "end")...)
	f.lab.must("vtysh", "--vty_socket", f.dir, "-f", f.dir+"/more.conf")
	awaitAll(t, "our table from FRR", many, 60*time.Second, func() int { return r.installed("100.100") })
	awaitAll(t, "BIRD's table", many, 40*time.Second, func() int { return learned(b, "100.100") })

	b.birdc("disable stat")
	awaitAll(t, "our table from BIRD, withdrawn,", 0, 40*time.Second, func() int { return r.installed("100.64") })
	awaitAll(t, "FRR's table, withdrawn,", 0, 60*time.Second, func() int { return learned(f, "100.64") })

	text := traffic.stop()
	expect(t, text, " 0% packet loss")
	t.Logf("across all of that:\n%s", text)
	for _, n := range r.rows("rip", "neighbors") {
		if n.number(t, "bad_packets") > 0 || n.number(t, "bad_routes") > 0 {
			t.Errorf("expected nothing refused, got %v", n)
		}
	}
	if lost := r.drops("punt", "queue", "full"); lost > 0 {
		t.Errorf("expected no packet for the router itself to be lost:\n%s", r.ctl("show", "drops"))
	}
}
