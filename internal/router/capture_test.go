package router

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"vrouterd/internal/control/api"
)

// captureFile is a capture's output that a test may look into while it grows.
type captureFile struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (f *captureFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Write(b)
}

func (f *captureFile) Flush() {}

func (f *captureFile) has(words string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Contains(f.text.Bytes(), []byte(words))
}

func (f *captureFile) begun() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text.Len() > 0
}

// captured runs a capture of what f causes, until f has returned.
func (l *lab) captured(q api.CaptureRequest, f func(*captureFile)) {
	l.t.Helper()
	out := &captureFile{}
	ctx, cancel := context.WithCancel(l.t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Capture(ctx, q, out) }()
	eventually(l.t, "the capture is on", out.begun)
	f(out)
	cancel()
	if err := <-done; err != nil {
		l.t.Error(err)
	}
}

func TestACaptureSeesWhatFollowsItsBeginning(t *testing.T) {
	l := run(t, twoHosts(), two)
	for range 20 {
		l.captured(api.CaptureRequest{Filter: "udp", Stages: []string{"drop"}}, func(out *captureFile) {
			l.host("lan1").SendPacket(probe(l.host("lan1"), "10.99.0.1", 64))
			eventually(t, "the drop is captured", func() bool { return out.has("no_route") })
		})
	}
}

func TestACaptureKnowsAPortThatCameLater(t *testing.T) {
	w := twoHosts()
	w.hosts["late"] = host(3, "10.3.0.2/24", "10.3.0.1")
	l := run(t, w, two)
	l.captured(api.CaptureRequest{Filter: "icmp"}, func(out *captureFile) {
		l.apply(two[:len("name: r1\nports:\n")] + "  late: {address: 10.3.0.1/24}\n" + two[len("name: r1\nports:\n"):])
		l.pings(l.host("late"), "10.3.0.1")
		eventually(t, "a packet of the new port is captured", func() bool { return out.has("stage rx") })
		if !out.has("late") {
			t.Error("the file does not name the port")
		}
	})
}
