package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTCPFlowsThroughTheRouter(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	for _, options := range [][]string{nil, {"-R"}, {"-P", "4"}, {"--bidir"}} {
		if got := l.throughput("h1", "h2", "10.2.0.2", options...).End.Received.Bytes; got < 10<<20 {
			t.Errorf("iperf3 %v: only %.0f octets arrived in a second", options, got)
		}
	}
}

func TestUDPFlowsThroughTheRouter(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	for _, options := range [][]string{{"-l", "1400"}, {"-R", "-l", "64"}, {"-l", "4000"}} { // the last in fragments
		// A receiver that the machine keeps from its processor loses packets that the router has
		// delivered; a router that loses them loses them every time.
		var lost []string
		for range 3 {
			got := l.throughput("h1", "h2", "10.2.0.2", append([]string{"-u", "-b", "5M"}, options...)...).End.Sum
			if got.Packets >= 50 && got.LostPackets <= got.Packets/20 {
				lost = nil
				break
			}
			lost = append(lost, fmt.Sprintf("%.0f of %.0f", got.LostPackets, got.Packets))
		}
		if lost != nil {
			t.Errorf("iperf3 -u %v: lost %v packets", options, lost)
		}
	}
}

// mixed is a router with offload as given on the port of each host.
func mixed(offload1, offload2 string) string {
	return strings.NewReplacer("device: eth0\n    address: 10.1", "device: eth0\n    offload: "+offload1+"\n    address: 10.1",
		"device: eth0\n    address: 10.2", "device: eth0\n    offload: "+offload2+"\n    address: 10.2").Replace(twoHosts)
}

func TestSuperFramesPassWholeOrAreSegmented(t *testing.T) {
	for _, c := range []struct {
		offload1, offload2 string
		whole, cut         bool // super-frames must be seen at h2; must not
	}{
		{"auto", "auto", true, false},
		{"auto", "off", false, true},
		{"off", "auto", false, false}, // the router may join segments for a port that takes them
		{"off", "off", false, true},
	} {
		t.Run(c.offload1+" to "+c.offload2, func(t *testing.T) {
			l := newUnwatchedLab(t, "h1", "h2")
			l.router("r1", mixed(c.offload1, c.offload2))
			file := filepath.Join(t.TempDir(), "h2.pcap")
			recorder := l.hosts["h2"].start("tcpdump", "-i", "eth0", "-Z", "root", "-s", "100", "-U", "-c", "5000", "-w", file, "tcp and src 10.1.0.2")
			for _, options := range [][]string{nil, {"-R"}, {"-P", "2"}} {
				if got := l.throughput("h1", "h2", "10.2.0.2", options...).End.Received.Bytes; got < 1<<20 {
					t.Errorf("iperf3 %v: only %.0f octets arrived in a second", options, got)
				}
			}
			recorder.stop()
			if _, err := os.Stat(file); err != nil {
				t.Fatal(err)
			}
			frames := func(filter ...string) int {
				lines, _, _ := l.tryApart(append([]string{"tcpdump", "-n", "-r", file}, filter...)...)
				return strings.Count(lines, "\n")
			}
			large, all := frames("greater", "1515"), frames()
			if all == 0 {
				t.Fatal("tcpdump saw nothing at h2")
			}
			if c.whole && large == 0 {
				t.Errorf("expected super-frames to pass whole, but none of %d frames at h2 was larger than the MTU", all)
			}
			if c.cut && large > 0 {
				t.Errorf("%d of %d frames at h2 were larger than the MTU", large, all)
			}
		})
	}
}

func TestHostsWithoutSegmentationOffload(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	l.router("r1", twoHosts)
	for _, features := range []string{"tso off gso off", "tx off", "tso on gso on tx on"} {
		args := append([]string{"ethtool", "-K", "eth0"}, strings.Fields(features)...)
		l.hosts["h1"].try(args...) // a feature that the kernel has fixed stays, which is fine
		for _, options := range [][]string{nil, {"-R"}} {
			if got := l.throughput("h1", "h2", "10.2.0.2", options...).End.Received.Bytes; got < 1<<20 {
				t.Errorf("%s, iperf3 %v: only %.0f octets arrived in a second", features, options, got)
			}
		}
	}
}

func TestSuperFramesGoThroughATUNLink(t *testing.T) {
	for _, offload := range []string{"auto", "off"} {
		t.Run(offload, func(t *testing.T) {
			l := newUnwatchedLab(t, "h1", "h2")
			l.router("r1", strings.Replace(mixed("auto", offload), "  lan2:\n", "  lan2:\n    kind: tun\n", 1))
			for _, options := range [][]string{nil, {"-R"}} {
				if got := l.throughput("h1", "h2", "10.2.0.2", options...).End.Received.Bytes; got < 1<<20 {
					t.Errorf("iperf3 %v: only %.0f octets arrived in a second", options, got)
				}
			}
		})
	}
}

func TestThroughputCountsOnThePorts(t *testing.T) {
	l := newUnwatchedLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	arrived := l.throughput("h1", "h2", "10.2.0.2").End.Received.Bytes
	for _, c := range []struct{ port, key string }{{"lan1", "rx_bytes"}, {"lan2", "tx_bytes"}} {
		p := find(r.rows("ports"), "name", c.port)
		if octets, _ := p[c.key].(float64); octets < arrived {
			t.Errorf("%s of %s: expected at least the %.0f octets that arrived, it is %v", c.key, c.port, arrived, p[c.key])
		}
	}
}
