package integration

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// narrow is a router whose link to h2 is smaller than that to h1.
const narrow = unlimited + `
ports:
  lan1:
    netns: {h1}
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  lan2:
    netns: {h2}
    device: eth0
    mtu: 1300
    address: 10.2.0.1/24
    host: {address: 10.2.0.2/24, gateway: 10.2.0.1}
`

func TestPathMTUIsToldToThePinger(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", narrow)
	h1 := l.hosts["h1"]
	out := h1.pingFails("10.2.0.2", "-M", "do", "-s", "1400")
	expect(t, out, "From 10.1.0.1", "(mtu = 1300)")
	h1.ping("10.2.0.2", "-M", "do", "-s", "1272")
	// The host has learned: it does not even send the larger one.
	out, code := h1.try("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", "1273", "10.2.0.2")
	if code == 0 {
		t.Fatal("1301 octets went through a link of 1300")
	}
	expect(t, out, "mtu=1300")
}

func TestTracepathFindsThePathMTU(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", narrow)
	expect(t, l.hosts["h1"].run("tracepath", "-n", "10.2.0.2"), "pmtu 1300", "reached")
}

func TestPacketsWithoutDFAreFragmentedToTheSmallerLink(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", narrow)
	h1 := l.hosts["h1"]
	for _, size := range []string{"1272", "1273", "1400", "1472", "1473", "8000"} {
		h1.ping("10.2.0.2", "-M", "dont", "-s", size)
	}
}

func TestTCPFindsThePathMTU(t *testing.T) {
	// The small link is in the middle, where the ends of the connection do not see it.
	l := newUnwatchedLab(t, "h1", "h2")
	r1 := l.router("r1", unlimited+`
ports:
  lan:
    netns: {h1}
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  mid: {netns: {net}, device: r1-mid, bridge: mid, mtu: 1300, address: 10.0.0.1/30}
routes:
  - {to: 10.2.0.0/24, via: 10.0.0.2}
`)
	l.router("r2", unlimited+`
ports:
  mid: {netns: {net}, device: r2-mid, bridge: mid, mtu: 1300, address: 10.0.0.2/30}
  lan:
    netns: {h2}
    device: eth0
    address: 10.2.0.1/24
    host: {address: 10.2.0.2/24, gateway: 10.2.0.1}
routes:
  - {to: 10.1.0.0/24, via: 10.0.0.1}
`)
	for _, direction := range [][]string{nil, {"-R"}} {
		if got := l.throughput("h1", "h2", "10.2.0.2", direction...); got.End.Received.Bytes < 1<<20 {
			t.Errorf("TCP over the smaller link, iperf3 %v: only %v octets arrived", direction, got.End.Received.Bytes)
		}
	}
	// h1 was told; what it has learned it also offers h2 as its segment size, which r2 need not tell.
	if r1.drops("fragmentation_needed") == 0 {
		t.Errorf("expected r1 to have asked for smaller packets:\n%s", r1.ctl("show", "drops"))
	}
}

func TestMSSClampKeepsTCPBelowTheSmallerLink(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	l.router("r1", regexp.MustCompile(`(?m)^    mtu: 1300$`).ReplaceAllString(narrow, "    mtu: 1300\n    mss_clamp: auto"))
	seen := l.hosts["h1"].start("tcpdump", "-n", "-c", "1", "-i", "eth0", "tcp[tcpflags] & (tcp-syn|tcp-ack) == (tcp-syn|tcp-ack)")
	eventually(t, 20*time.Second, "a SYN-ACK seen", func() error {
		l.throughput("h1", "h2", "10.2.0.2")
		select {
		case <-seen.done:
			return nil
		default:
			return fmt.Errorf("not yet")
		}
	})
	mss := regexp.MustCompile(`mss (\d+)`).FindStringSubmatch(seen.output.String())
	if mss == nil {
		t.Fatalf("no MSS in %s", seen.output.String())
	}
	if n, _ := strconv.Atoi(mss[1]); n > 1260 {
		t.Errorf("the MSS was %d, the link of 1300 octets holds 1260", n)
	}
}

// iperf is what the tests read of iperf3's report.
type iperf struct {
	Error string `json:"error"`
	End   struct {
		Received struct {
			Bytes float64 `json:"bytes"`
		} `json:"sum_received"`
		Sum struct {
			Packets     float64 `json:"packets"`
			LostPackets float64 `json:"lost_packets"`
		} `json:"sum"`
	} `json:"end"`
}

// throughput runs iperf3 for a second from one host to a server on another.
func (l *lab) throughput(from, to, address string, options ...string) (report iperf) {
	l.t.Helper()
	args := append([]string{"iperf3", "-J", "-t", "1", "-c", address}, options...)
	eventually(l.t, 30*time.Second, "iperf3 to "+address, func() error {
		// A server that has lost its client's connection serves nobody else: a new one each time.
		server := l.hosts[to].start("iperf3", "-s", "-1")
		defer func() { server.cmd.Process.Kill(); <-server.done }()
		eventually(l.t, 10*time.Second, "iperf3 to listen", func() error {
			sockets, _ := l.hosts[to].try("cat", "/proc/net/tcp", "/proc/net/tcp6")
			return contains(sockets, ":1451 0") // port 5201
		})
		out, _, _ := l.tryApart(l.hosts[from].inside(args...)...)
		report = iperf{}
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			return fmt.Errorf("%w in %s", err, out)
		}
		if report.Error != "" {
			l.t.Logf("iperf3: %s", report.Error)
			return fmt.Errorf("iperf3: %s", report.Error)
		}
		return nil
	})
	return report
}

func TestJumboFramesPass(t *testing.T) {
	l := newLab(t, "h1", "h2")
	l.router("r1", strings.ReplaceAll(twoHosts, "    device: eth0\n", "    device: eth0\n    mtu: 9216\n"))
	l.hosts["h1"].ping("10.2.0.2", "-M", "do", "-s", "9188")
	l.hosts["h2"].ping("10.1.0.1", "-M", "do", "-s", "9188")
}
