package integration

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExitCodesOfVrctl(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	for _, c := range []struct {
		want int
		args []string
	}{
		{0, []string{"show", "status"}},
		{0, []string{"assert", "ready"}},
		{0, []string{"ping", "-c", "1", "10.1.0.2"}},
		{0, []string{"assert", "route", "10.1.0.0/24"}},
		{1, []string{"ping", "-c", "1", "192.0.2.1"}},
		{1, []string{"port", "down", "nosuch"}},
		{2, []string{"show", "nonsense"}},
		{2, []string{"nonsense"}},
		{2, []string{"show", "route", "10.1.0.300"}},
		{4, []string{"assert", "route", "192.0.2.0/24"}},
		{4, []string{"wait", "route", "192.0.2.0/24", "--timeout", "100ms"}},
		{4, []string{"wait", "neighbor", "10.2.0.99", "--timeout", "100ms"}},
	} {
		stdout, stderr, code := l.tryApart(r.vrctl(c.args...)...)
		if code != c.want {
			t.Errorf("vrctl %s: expected exit status %d, got %d\n%s%s", strings.Join(c.args, " "), c.want, code, stdout, stderr)
		}
		if c.want == 1 || c.want == 2 {
			if strings.TrimSpace(stderr) == "" {
				t.Errorf("vrctl %s: expected a sentence on stderr", strings.Join(c.args, " "))
			}
		}
	}
	if out, code := l.try(filepath.Join(binaries, "vrctl"), "-n", l.id+"-absent", "show", "status"); code != 3 {
		t.Errorf("no daemon: expected exit status 3, got %d: %s", code, out)
	}
}

func TestEveryTableHasRowsInJSON(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+"routes: [{to: 172.16.0.0/16, via: 10.2.0.2}]\n")
	l.hosts["h1"].ping("10.2.0.2")
	for noun, keys := range map[string][]string{
		"ports":     {"name", "kind", "netns", "device", "mac", "addresses", "mtu", "up", "offload", "queues", "rx_packets", "rx_bytes", "rx_drops", "tx_packets", "tx_bytes", "tx_drops"},
		"routes":    {"prefix", "next_hop", "port", "protocol", "distance", "metric", "tag", "from", "selected", "age_seconds"},
		"neighbors": {"address", "port", "mac", "state", "age_seconds"},
		"drops":     {"reason", "description", "packets"},
		"fib":       {"prefix", "action", "next_hop", "port", "mac"},
		"counters":  {"name", "description", "value"},
		"events":    {"sequence", "time", "kind", "message"},
		"status":    {"name", "version", "pid", "ready"},
	} {
		rows := r.rows(noun)
		if len(rows) == 0 {
			t.Errorf("show %s has no rows", noun)
			continue
		}
		for _, key := range keys {
			if _, there := rows[0][key]; !there {
				t.Errorf("show %s: no key %s in %v", noun, key, rows[0])
			}
		}
	}
	for _, noun := range []string{"status", "ports", "routes", "fib", "neighbors", "drops", "counters", "events"} {
		if out := r.ctl("show", noun); strings.Contains(out, "\x1b[") {
			t.Errorf("show %s has colours though this is no terminal", noun)
		}
	}
	// Nouns may be shortened as `ip` allows.
	if r.ctl("sh", "ro") == "" {
		t.Error("vrctl sh ro printed nothing")
	}
}

func TestTheSocketSpeaksHTTP(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	var ports []row
	text := l.must("curl", "-sS", "--fail", "--max-time", "10", "--unix-socket", r.socket(), "http://vrouterd/v1/ports")
	if err := json.Unmarshal([]byte(text), &ports); err != nil || find(ports, "name", "lan1") == nil {
		t.Errorf("expected the ports as JSON (%v):\n%s", err, text)
	}
	text = l.must("curl", "-sS", "--max-time", "10", "--unix-socket", r.socket(), "http://vrouterd/v1/nonsense")
	expect(t, text, `"error"`, `"code"`, `"message"`)
	text = l.must("curl", "-sS", "--fail", "--max-time", "10", "--unix-socket", r.socket(), "http://vrouterd/metrics")
	expect(t, text, "vrouterd_port_receive_bytes_total")
}

func TestTheRouterPingsAndTracesFromItself(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r1, _, _ := chain(t, l)
	expect(t, r1.ctl("ping", "-c", "2", "10.4.0.2"), "10.4.0.2")
	out := r1.ctl("traceroute", "10.4.0.2")
	expect(t, out, "10.0.12.2", "10.0.23.2", "10.4.0.2")
}

func TestCaptureNamesTheDropReason(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+unlimited+"routes: [{to: 192.0.2.0/24, type: blackhole}]\n")
	file := filepath.Join(t.TempDir(), "r1.pcapng")
	capture := l.start(r.vrctl("capture", "lan1", "-w", file)...)
	h1 := l.hosts["h1"]
	var text string
	eventually(t, 30*time.Second, "a packet with its drop reason in the capture", func() error {
		h1.try("ping", "-n", "-c", "1", "-W", "0.2", "192.0.2.1")
		var code int
		// The file grows while it is read: tshark may find its last block cut short.
		text, code = l.try("tshark", "-n", "-r", file, "-T", "fields", "-e", "ip.dst", "-e", "frame.comment", "-e", "frame.interface_name")
		if !strings.Contains(text, "blackhole") {
			return fmt.Errorf("tshark (exit status %d): %s", code, text)
		}
		return nil
	})
	expect(t, text, "192.0.2.1", "lan1")
	capture.stop()
	if out, code := l.try("tshark", "-n", "-r", file); code != 0 {
		t.Errorf("tshark cannot read the whole file: exit status %d\n%s", code, out)
	}
}

func TestCaptureFiltersAndCounts(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	file := filepath.Join(t.TempDir(), "r1.pcapng")
	capture := l.start(r.vrctl("capture", "lan1", "-f", "icmp and dst host 10.2.0.2", "-c", "3", "-w", file)...)
	eventually(t, 30*time.Second, "the capture to have its three packets", func() error {
		l.hosts["h1"].ping("10.2.0.2")
		l.hosts["h1"].ping("10.1.0.1")
		select {
		case <-capture.done:
			return nil
		default:
			return fmt.Errorf("it goes on")
		}
	})
	text, said, code := l.tryApart("tshark", "-n", "-r", file, "-T", "fields", "-e", "ip.dst")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if code != 0 || len(lines) != 3 {
		t.Errorf("expected three packets, got %v; tshark says %s", lines, said)
	}
	for _, line := range lines {
		if !strings.Contains(line, "10.2.0.2") {
			t.Errorf("a packet to %s is in the capture", line)
		}
	}
}

func TestEventsAreStreamed(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	stream := l.start(r.vrctl("--json", "events")...)
	eventually(t, 20*time.Second, "the events of a port in the stream", func() error {
		r.ctl("port", "down", "lan2")
		r.portUp("lan2", false)
		r.ctl("port", "up", "lan2")
		r.portUp("lan2", true)
		down := find(r.rows("events"), "kind", "port_down")
		if down == nil {
			return fmt.Errorf("no port_down in show events")
		}
		return nil
	})
	text := stream.stop()
	expect(t, text, "port_down", "port_up", "lan2")
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		var event row
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Errorf("a line is no JSON object: %v: %s", err, line)
		}
	}
}

func TestAnybodyElseMayNotChangeTheRouter(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts)
	nobody := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}
	out, code := l.try(append(nobody, r.vrctl("port", "down", "lan1")...)...)
	if code == 0 {
		t.Fatal("nobody took a port down")
	}
	if strings.TrimSpace(out) == "" {
		t.Error("expected a sentence that says why")
	}
	l.hosts["h1"].ping("10.2.0.2")
}

func TestShowRouteSaysWhy(t *testing.T) {
	l := newLab(t, "h1", "h2")
	r := l.router("r1", twoHosts+`
routes:
  - {to: 172.16.0.0/16, via: 10.2.0.2}
  - {to: 172.16.0.0/16, via: 10.1.0.2, distance: 50}
`)
	expect(t, r.ctl("show", "route", "172.16.1.1"), "172.16.0.0/16", "10.2.0.2", "distance")
	if selected := find(r.rows("routes"), "prefix", "172.16.0.0/16", "selected", "true"); selected == nil || selected["next_hop"] != "10.2.0.2" {
		t.Errorf("expected the route of distance 1 to be selected:\n%s", r.ctl("show", "routes"))
	}
	// The better one goes with its port, the other takes over.
	r.ctl("port", "down", "lan2")
	r.ctl("wait", "route", "172.16.0.0/16", "via", "10.1.0.2", "--timeout", "5s")
}
