package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestHostsReachEachOtherThroughTheRouter(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	// One packet each way and nothing lost: the first waits for ARP instead of being dropped.
	l.hosts["h1"].run("ping", "-n", "-c", "1", "-W", "3", "10.2.0.2")
	expect(t, l.hosts["h2"].ping("10.1.0.2"), " 0% packet loss", "ttl=63")
}

func TestTheRouterAnswersPingOnEveryAddress(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	for _, address := range []string{"10.1.0.1", "10.2.0.1"} {
		l.hosts["h1"].ping(address)
		l.hosts["h2"].ping(address)
	}
}

func TestTracerouteShowsEveryHop(t *testing.T) {
	l := newLab(t, "h1", "h2")
	chain(t, l)
	for _, kind := range []string{"-U", "-I", "-T"} { // UDP, ICMP, TCP probes
		out := l.hosts["h1"].run("traceroute", kind, "-n", "-q", "3", "-w", "3", "10.4.0.2")
		// Each hop answers all three probes from the address at which they arrived.
		for hop, address := range []string{"10.1.0.1", "10.0.12.2", "10.0.23.2", "10.4.0.2"} {
			line := regexp.MustCompile(fmt.Sprintf(`(?m)^ ?%d  %s( .*ms){3}$`, hop+1, regexp.QuoteMeta(address)))
			if !line.MatchString(out) {
				t.Fatalf("traceroute %s: expected hop %d to be %s with three answers in:\n%s", kind, hop+1, address, out)
			}
		}
	}
}

func TestPingOfEverySizeArrives(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	l.router("r1", twoHosts+unlimited)
	// Past 1472 octets the hosts send fragments.
	out := l.hosts["h1"].shell(`
		lost=0
		for size in $(seq 0 1600); do
			ping -n -q -c 1 -W 5 -s $size 10.2.0.2 >/dev/null || { echo "no answer to $size octets"; lost=$((lost+1)); }
			[ $lost -lt 10 ]
		done`)
	if out != "" {
		t.Fatal(out)
	}
}

func TestLargePingsCrossInFragments(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	h1 := l.hosts["h1"]
	h1.ping("10.2.0.2", "-s", "20000")
	h1.ping("10.2.0.2", "-s", "65507") // the largest there is
	// The router reassembles what is for itself, and fragments its answer.
	h1.ping("10.1.0.1", "-s", "20000")
	h1.ping("10.2.0.1", "-s", "9000")
	if r.drops("reassembly") != 0 {
		t.Fatalf("fragments were dropped:\n%s", r.ctl("show", "drops"))
	}
}

func TestRecordRouteNamesTheRouters(t *testing.T) {
	l := newLab(t, "h1", "h2")
	chain(t, l)
	out := l.hosts["h1"].ping("10.4.0.2", "-R")
	// Each router records the address of the port through which the packet leaves (RFC 791 section 3.1).
	expect(t, out, "RR:", "10.0.12.1", "10.0.23.1", "10.4.0.1", "10.4.0.2")
}

func TestTimestampOptionIsFilledIn(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	out := l.hosts["h1"].ping("10.2.0.2", "-T", "tsandaddr")
	expect(t, out, "TS:", "10.2.0.1")
}

func TestTTLIsCountedDown(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r1, _, _ := chain(t, l)
	h1 := l.hosts["h1"]
	for ttl, from := range []string{"10.1.0.1", "10.0.12.2", "10.0.23.2"} {
		out := h1.pingFails("10.4.0.2", "-t", fmt.Sprint(ttl+1))
		expect(t, out, "From "+from, "Time to live exceeded")
	}
	h1.ping("10.4.0.2", "-t", "4")
	h1.ping("10.1.0.1", "-t", "1") // what is for the router itself is delivered
	if r1.drops("ttl") == 0 {
		t.Fatalf("expected the expired packet among the drops:\n%s", r1.ctl("show", "drops"))
	}
}

func TestTheLongestPrefixWins(t *testing.T) {
	l := newLab(t, "h1", "h2", "h3")
	r := l.router("r1", twoHosts+`
  lan3:
    netns: {h3}
    device: eth0
    address: 10.3.0.1/24
    host: {address: 10.3.0.2/24, gateway: 10.3.0.1}
routes:
  - {to: 172.16.0.0/12, via: 10.2.0.2}
  - {to: 172.16.5.0/24, via: 10.3.0.2}
  - {to: 172.16.5.77/32, via: 10.2.0.2}
`)
	for _, h := range []string{"h2", "h3"} {
		for _, address := range []string{"172.16.1.1", "172.16.5.1", "172.16.5.77"} {
			l.hosts[h].ip("addr", "add", address+"/32", "dev", "lo")
		}
	}
	for address, host := range map[string]string{"172.16.1.1": "h2", "172.16.5.1": "h3", "172.16.5.77": "h2"} {
		before := l.received(host)
		l.hosts["h1"].ping(address)
		if l.received(host) < before+3 {
			t.Errorf("packets to %s did not come to %s", address, host)
		}
	}
	expect(t, r.ctl("show", "route", "172.16.5.77"), "172.16.5.77/32", "10.2.0.2", "lan2")
	expect(t, r.ctl("show", "route", "172.16.5.78"), "172.16.5.0/24", "10.3.0.2", "lan3")
	expect(t, r.ctl("show", "route", "172.31.0.1"), "172.16.0.0/12", "10.2.0.2")
}

// received counts the packets that came in at eth0 of a host.
func (l *lab) received(host string) (packets int) {
	l.t.Helper()
	for _, line := range strings.Split(l.hosts[host].run("cat", "/proc/net/dev"), "\n") {
		if counters, found := strings.CutPrefix(strings.TrimSpace(line), "eth0:"); found {
			var octets int
			fmt.Sscan(counters, &octets, &packets)
			return packets
		}
	}
	l.t.Fatalf("host %s has no eth0", host)
	return 0
}

func TestEqualCostRoutesShareTheFlows(t *testing.T) {
	l := newLab(t, "h1", "h2", "h3")
	l.router("r1", twoHosts+`
  lan3:
    netns: {h3}
    device: eth0
    address: 10.3.0.1/24
    host: {address: 10.3.0.2/24, gateway: 10.3.0.1}
routes:
  - {to: 172.16.0.0/16, via: [10.2.0.2, 10.3.0.2]}
`)
	for _, h := range []string{"h2", "h3"} {
		l.hosts[h].ip("route", "add", "local", "172.16.0.0/16", "dev", "lo")
	}
	before := [2]int{l.received("h2"), l.received("h3")}
	l.hosts["h1"].shell(`for i in $(seq 1 64); do ping -n -q -c 1 -W 3 172.16.0.$i >/dev/null; done`)
	for i, h := range []string{"h2", "h3"} {
		if got := l.received(h) - before[i]; got < 8 {
			t.Errorf("of 64 flows only %d went to %s", got, h)
		}
	}
}

func TestTenThousandRoutes(t *testing.T) {
	l := newLab(t, "h1", "h2")
	var config strings.Builder
	config.WriteString(twoHosts + "routes:\n")
	for i := range 10_000 {
		fmt.Fprintf(&config, "  - {to: 172.%d.%d.%d/30, via: 10.2.0.2}\n", 16+i/4096, i/64%64, i%64*4)
	}
	r := l.router("r1", config.String())
	if n := len(r.rows("fib")); n < 10_000 {
		t.Fatalf("expected 10,000 routes in the FIB, found %d", n)
	}
	l.hosts["h2"].ip("route", "add", "local", "172.16.0.0/12", "dev", "lo")
	for _, i := range []int{0, 1, 63, 64, 4095, 4096, 9999} {
		l.hosts["h1"].run("ping", "-n", "-c", "1", "-W", "3", fmt.Sprintf("172.%d.%d.%d", 16+i/4096, i/64%64, i%64*4+1))
	}
	// One more and one less, while the router runs.
	r.ctl("route", "add", "192.0.2.0/24", "via", "10.2.0.2")
	r.ctl("wait", "route", "192.0.2.0/24", "via", "10.2.0.2", "--timeout", "5s")
	expect(t, r.ctl("show", "route", "192.0.2.9"), "192.0.2.0/24")
	r.ctl("route", "del", "192.0.2.0/24")
	expect(t, l.hosts["h1"].pingFails("192.0.2.9"), "Destination Net Unreachable")
}

func TestRoutesResolveThroughOtherRoutes(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+`
routes:
  - {to: 192.0.2.0/24, via: 172.16.0.9}
  - {to: 172.16.0.0/24, via: 10.2.0.2}
`)
	l.hosts["h2"].ip("addr", "add", "192.0.2.1/32", "dev", "lo")
	l.hosts["h1"].ping("192.0.2.1")
	// Without the route to its next hop the other one would lead through nowhere.
	if out, code := r.try("route", "del", "172.16.0.0/24"); code == 0 {
		t.Errorf("the route to a next hop could be deleted: %s", out)
	}
	// With the port of the next hop both go, and both come back.
	r.ctl("port", "down", "lan2")
	r.ctl("wait", "no", "route", "192.0.2.0/24", "--timeout", "5s")
	expect(t, l.hosts["h1"].pingFails("192.0.2.1"), "Destination Net Unreachable")
	r.ctl("port", "up", "lan2")
	r.ctl("wait", "route", "192.0.2.0/24", "--timeout", "5s")
	l.hosts["h1"].ping("192.0.2.1")
}

func TestBigTTLAndTypeOfServiceStayAsTheyAre(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	seen := l.hosts["h2"].start("tcpdump", "-n", "-v", "-c", "1", "-i", "eth0", "icmp[icmptype] == icmp-echo and ip[1] != 0")
	eventually(t, 10*time.Second, "a packet with its DSCP", func() error {
		l.hosts["h1"].ping("10.2.0.2", "-Q", "0xb9", "-t", "255") // DSCP EF, ECT(1)
		select {
		case <-seen.done:
			return nil
		default:
			return fmt.Errorf("tcpdump has seen none")
		}
	})
	expect(t, seen.output.String(), "tos 0xb9", "ttl 254")
}
