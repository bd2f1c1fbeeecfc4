package router

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"vrouterd/internal/control/api"
)

func TestEditsAreAppliedAndCanBeTakenBack(t *testing.T) {
	l := run(t, twoHosts(), "# mine\n"+two)
	a := l.host("lan1")
	steps := []struct {
		name string
		do   func() error
		want string // in the configuration afterwards
	}{
		{"route add", func() error { return l.AddRoute(tester, api.RouteSpec{To: "10.9.0.0/16", Via: []string{"10.2.0.2"}}) }, "10.9.0.0/16"},
		{"default", func() error {
			return l.AddRoute(tester, api.RouteSpec{To: "default", Type: "unreachable", Distance: 250})
		}, "unreachable"},
		{"neighbor add", func() error {
			return l.AddNeighbor(tester, api.NeighborSpec{Port: "lan2", Address: "10.2.0.9", MAC: "02:00:00:00:00:09"})
		}, "02:00:00:00:00:09"},
		{"port down", func() error { return l.SetPort(tester, "lan2", false) }, "enabled: false"},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if text := l.ConfigText(); !strings.Contains(text, s.want) || !strings.HasPrefix(text, "# mine\n") {
			t.Errorf("after %s:\n%s", s.name, text)
		}
	}
	if p := l.port("lan2"); p.State != "disabled" || p.Up {
		t.Errorf("%+v", p)
	}
	if c := l.w.end("lan2").calls; len(c) != 1 || c[0] {
		t.Errorf("the cable was to be pulled: %v", c)
	}
	l.pingSays(a, "10.2.0.2", "unreachable", 5*time.Second)
	if _, err := l.ConfigRollback(tester, 1); err != nil { // the port
		t.Fatal(err)
	}
	l.pings(a, "10.2.0.2")
	if s := l.neighborState("lan2", "10.2.0.9"); s != "permanent" {
		t.Errorf("the permanent neighbour did not come back with its port: %q", s)
	}
	if err := l.DeleteNeighbor(tester, api.NeighborSpec{Address: "10.2.0.9"}); err != nil {
		t.Error(err)
	}
	if s := l.neighborState("lan2", "10.2.0.9"); s != "" {
		t.Errorf("a deleted neighbour is %q", s)
	}
	for _, to := range []string{"10.9.0.0/16", "0.0.0.0/0"} {
		if err := l.DeleteRoute(tester, api.RouteSpec{To: to}); err != nil {
			t.Error(err)
		}
	}
	if got, _ := l.Route("10.9.1.1"); got.Action != "none" {
		t.Errorf("%+v", got)
	}
	h := l.ConfigHistory()
	if len(h) != 9 || !h[0].Current || h[0].Number != 9 || h[0].Author != "tester" || h[8].Author != "startup" {
		t.Errorf("%+v", h)
	}
	for i := range h[1:] {
		if h[i+1].Number >= h[i].Number || h[i+1].Current {
			t.Errorf("%+v", h)
		}
	}
	if _, err := l.ConfigRollback(tester, 8); err != nil || l.ConfigText() != "# mine\n"+two {
		t.Errorf("%v:\n%s", err, l.ConfigText())
	}
	_, err := l.ConfigRollback(tester, 99)
	expectError(t, err, api.NotFound, "99")
	_, err = l.ConfigRollback(tester, -1)
	expectError(t, err, api.NotFound, "-1")
}

func TestAnEditThatIsRefusedChangesNothing(t *testing.T) {
	l := run(t, twoHosts(), two+"routes: [{to: 10.9.0.0/16, via: 10.2.0.2}]\n")
	before, fib := l.ConfigText(), l.fibText()
	refusals := []struct {
		name, code string
		do         func() error
		words      []string
	}{
		{"no such port", api.NotFound, func() error { return l.SetPort(tester, "lan9", false) }, []string{"lan9", "lan1, lan2"}},
		{"route through nowhere", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{To: "10.8.0.0/16", Via: []string{"10.77.0.1"}}) }, []string{"10.77.0.1"}},
		{"not a prefix", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{To: "ten", Via: []string{"10.2.0.2"}}) }, []string{"ten"}},
		{"IPv6", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{To: "2001:db8::/32", Via: []string{"10.2.0.2"}}) }, []string{"2001:db8::/32"}},
		{"not an address", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{To: "10.8.0.0/16", Via: []string{"x"}}) }, []string{"x"}},
		{"nothing", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{}) }, nil},
		{"no next hop", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{To: "10.8.0.0/16"}) }, []string{"via"}},
		{"there already", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{To: "10.9.0.0/16", Via: []string{"10.2.0.2"}}) }, []string{"10.9.0.0/16"}},
		{"distance", api.Usage, func() error {
			return l.AddRoute(tester, api.RouteSpec{To: "10.8.0.0/16", Via: []string{"10.2.0.2"}, Distance: 256})
		}, []string{"256"}},
		{"type", api.Usage, func() error { return l.AddRoute(tester, api.RouteSpec{To: "10.8.0.0/16", Type: "hole"}) }, []string{"hole"}},
		{"delete what is not", api.NotFound, func() error { return l.DeleteRoute(tester, api.RouteSpec{To: "10.8.0.0/16"}) }, []string{"10.8.0.0/16"}},
		{"neighbor mac", api.Usage, func() error {
			return l.AddNeighbor(tester, api.NeighborSpec{Port: "lan1", Address: "10.1.0.9", MAC: "x"})
		}, []string{"x"}},
		{"neighbor address", api.Usage, func() error {
			return l.AddNeighbor(tester, api.NeighborSpec{Port: "lan1", Address: "x", MAC: "02:00:00:00:00:01"})
		}, []string{"x"}},
		{"neighbor elsewhere", api.Usage, func() error {
			return l.AddNeighbor(tester, api.NeighborSpec{Port: "lan1", Address: "10.2.0.9", MAC: "02:00:00:00:00:01"})
		}, []string{"10.2.0.9"}},
		{"neighbor port", api.Usage, func() error {
			return l.AddNeighbor(tester, api.NeighborSpec{Port: "nope", Address: "10.2.0.9", MAC: "02:00:00:00:00:01"})
		}, []string{"nope"}},
		{"no such neighbor", api.NotFound, func() error { return l.DeleteNeighbor(tester, api.NeighborSpec{Address: "10.1.0.99"}) }, []string{"10.1.0.99"}},
		{"flush", api.NotFound, func() error { _, err := l.FlushNeighbors("nope"); return err }, []string{"nope"}},
		{"another name", api.Usage, func() error { _, err := l.ConfigApply(tester, "name: r2\n", 0); return err }, []string{"r2", "r1"}},
		{"check of another name", api.Usage, func() error { return l.ConfigCheck("name: r2\n") }, []string{"r2", "r1"}},
		{"negative confirm", api.Usage, func() error { _, err := l.ConfigApply(tester, two, -time.Second); return err }, nil},
		{"lookup", api.Usage, func() error { _, err := l.Route("x"); return err }, []string{"x"}},
		{"IPv6 lookup", api.Usage, func() error { _, err := l.Route("::1"); return err }, []string{"::1"}},
		{"save without a file", api.Conflict, func() error { _, err := l.ConfigSave(); return err }, []string{"without a file"}},
		{"confirm nothing", api.Conflict, l.ConfigConfirm, nil},
		{"capture port", api.NotFound, func() error { return l.Capture(t.Context(), api.CaptureRequest{Ports: []string{"nope"}}, &pipe{}) }, []string{"nope"}},
		{"capture stage", api.Usage, func() error { return l.Capture(t.Context(), api.CaptureRequest{Stages: []string{"nope"}}, &pipe{}) }, []string{"nope"}},
		{"capture filter", api.Usage, func() error { return l.Capture(t.Context(), api.CaptureRequest{Filter: "((("}, &pipe{}) }, nil},
		{"ping nobody", api.Usage, func() error { return l.Ping(t.Context(), api.PingRequest{Address: "x", Count: 1}, nil) }, []string{"x"}},
	}
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) { expectError(t, c.do(), c.code, c.words...) })
	}
	if l.ConfigText() != before || l.fibText() != fib || len(l.ConfigHistory()) != 1 {
		t.Errorf("something changed:\n%s", l.ConfigText())
	}
}

func TestLearnedNeighborsCanBeForgotten(t *testing.T) {
	l := run(t, twoHosts(), two+"neighbors: [{port: lan2, address: 10.2.0.9, mac: 02:00:00:00:00:09}]\n")
	l.pings(l.host("lan1"), "10.2.0.2")
	if err := l.DeleteNeighbor(tester, api.NeighborSpec{Address: "10.2.0.2", Port: "lan1"}); err == nil {
		t.Error("a neighbour was found on the wrong port")
	}
	if err := l.DeleteNeighbor(tester, api.NeighborSpec{Address: "10.2.0.2"}); err != nil || l.neighborState("lan2", "10.2.0.2") != "" {
		t.Errorf("%v: %+v", err, l.Neighbors())
	}
	l.pings(l.host("lan1"), "10.2.0.2")
	if n, err := l.FlushNeighbors("lan2"); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	l.pings(l.host("lan1"), "10.2.0.2")
	if n, err := l.FlushNeighbors(""); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if s := l.neighborState("lan2", "10.2.0.9"); s != "permanent" {
		t.Errorf("a flush took a permanent neighbour: %q", s)
	}
	if n := len(l.ConfigHistory()); n != 1 {
		t.Errorf("forgetting is no change of configuration, but there are %d revisions", n)
	}
}

func TestSaveWritesTheFileAndKeepsItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r1.yaml")
	if err := os.WriteFile(path, []byte(two), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, twoHosts(), Options{ConfigPath: path, StateDir: t.TempDir()})
	l.begin(two)
	if err := l.AddRoute(tester, api.RouteSpec{To: "10.9.0.0/16", Via: []string{"10.2.0.2"}}); err != nil {
		t.Fatal(err)
	}
	if !l.Status().Unsaved {
		t.Error("the status does not say that the file is behind")
	}
	if got, err := l.ConfigSave(); err != nil || got != path {
		t.Fatal(got, err)
	}
	if l.Status().Unsaved {
		t.Error("the status says that the file is behind after it was saved")
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != l.ConfigText() {
		t.Errorf("%v:\n%s", err, text)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	_, err = l.ConfigSave()
	expectError(t, err, api.Failed, path)
}

func TestAStateDirectoryThatFailsDoesNotStopChanges(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	l := newLab(t, twoHosts(), Options{StateDir: dir})
	l.begin(two)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.AddRoute(tester, api.RouteSpec{To: "10.9.0.0/16", Via: []string{"10.2.0.2"}}); err != nil {
		t.Fatal(err)
	}
	if n := len(l.ConfigHistory()); n != 2 {
		t.Errorf("%d revisions", n)
	}
	if _, err := l.ConfigRollback(tester, 1); err != nil {
		t.Error(err)
	}
	if !strings.Contains(l.log.String(), "kept in memory") {
		t.Error("nothing was said")
	}
}

func TestEventsThatWereLostAreToldOf(t *testing.T) {
	l := run(t, twoHosts(), two)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, events := l.Events(ctx)
	l.do(func() {
		for i := range subscriberEvents + 100 {
			l.note("test", "x", fmt.Sprint(i), nil)
		}
	})
	for range subscriberEvents {
		<-events
	}
	l.do(func() { l.note("test", "x", "after", nil) })
	notice, after := <-events, <-events
	if notice.Kind != "events_lost" || !strings.Contains(notice.Message, "100 events lost") || after.Message != "after" {
		t.Errorf("%+v, %+v", notice, after)
	}
	past, _ := l.Events(ctx)
	for i := range past[1:] {
		if past[i+1].Sequence != past[i].Sequence+1 {
			t.Fatalf("the sequence jumps: %+v, %+v", past[i], past[i+1])
		}
	}
	l.do(func() {
		for range 3 * keptEvents {
			l.note("test", "x", "more", nil)
		}
	})
	past, _ = l.Events(ctx)
	if len(past) != keptEvents || past[0].Sequence+keptEvents-1 != past[keptEvents-1].Sequence {
		t.Errorf("%d events, %d to %d", len(past), past[0].Sequence, past[len(past)-1].Sequence)
	}
	cancel()
	for range events {
	}
}

// pipe collects what a capture writes.
type pipe struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes.Write(b)
}

func (p *pipe) Flush() {}

func (p *pipe) has(words ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range words {
		if !bytes.Contains(p.bytes.Bytes(), []byte(w)) {
			return false
		}
	}
	return true
}

func TestACaptureShowsStagesAndDropReasons(t *testing.T) {
	l := run(t, twoHosts(), two)
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &pipe{}
	done := make(chan error, 1)
	go func() {
		done <- l.Capture(ctx, api.CaptureRequest{Stages: []string{"rx", "punt", "drop", "tx"}, Filter: "udp or icmp"}, out)
	}()
	eventually(t, "the capture shows all", func() bool {
		a.SendPacket(probe(a, "10.2.0.2", 64))
		a.SendPacket(probe(a, "10.2.0.2", 1))
		a.SendPacket(probe(a, "10.99.0.2", 64))
		l.pings(a, "10.2.0.1")
		return out.has("stage rx", "stage tx", "stage drop; drop ttl_exceeded", "drop no_route", "lan1", "lan2", "stage punt")
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	l.do(func() {
		if len(l.fwd.taps) != 0 {
			t.Error("the tap is still there")
		}
	})
	// So many, and no more; one port.
	out = &pipe{}
	go func() {
		done <- l.Capture(t.Context(), api.CaptureRequest{Ports: []string{"lan2"}, Stages: []string{"tx"}, Count: 2}, out)
	}()
	eventually(t, "the capture ends by itself", func() bool {
		a.SendPacket(probe(a, "10.2.0.2", 64))
		select {
		case err := <-done:
			return err == nil
		default:
			return false
		}
	})
	if out.has("lan1") {
		t.Error("another port's packets")
	}
}

func TestShowRouteExplainsItself(t *testing.T) {
	l := run(t, twoHosts(), two+`routes:
- {to: 10.9.0.0/16, via: 10.2.0.2}
- {to: 10.9.0.0/16, via: 10.1.0.2, distance: 5}
- {to: 10.9.9.0/24, type: prohibit}
`)
	for _, c := range []struct{ address, prefix, action, why string }{
		{"10.1.0.1", "10.1.0.1/32", "deliver", "address of the router itself"},
		{"10.1.0.255", "10.1.0.255/32", "deliver", "broadcast"},
		{"10.1.0.7", "10.1.0.0/24", "resolve", "longest prefix"},
		{"10.9.1.1", "10.9.0.0/16", "resolve", "distance"},
		{"10.9.9.9", "10.9.9.0/24", "prohibit", "longest prefix"},
		{"11.0.0.1", "", "none", "no "},
	} {
		got, err := l.Route(c.address)
		if err != nil || got.Prefix != c.prefix || got.Action != c.action || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %+v, %v", c.address, got, err)
		}
	}
	l.pings(l.host("lan1"), "10.2.0.2")
	if got, _ := l.Route("10.9.1.1"); got.Action != "forward" || got.MAC != "02:00:00:00:aa:02" || len(got.Candidates) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestManyClientsChangeRoutesAtOnce(t *testing.T) {
	l := run(t, twoHosts(), two)
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	fib := l.fibText()
	var wait sync.WaitGroup
	for client := range 4 {
		wait.Go(func() {
			for i := range 50 {
				spec := api.RouteSpec{To: fmt.Sprintf("30.%d.%d.0/24", client, i), Via: []string{"10.2.0.2"}}
				if err := l.AddRoute(api.Peer{Name: fmt.Sprint(client)}, spec); err != nil {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := l.DeleteRoute(tester, spec); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wait.Wait()
	if s := l.Status(); s.Routes != 2+4*25 {
		t.Errorf("%d routes", s.Routes)
	}
	l.pings(a, "10.2.0.2")
	l.apply(two)
	if got := l.fibText(); got != fib {
		t.Errorf("the FIB is not what it was:\n%s\nbefore:\n%s", got, fib)
	}
}

func TestStoppingLeavesNoDescriptor(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	first := run(t, twoHosts(), two) // what the runtime opens once is open now
	first.pings(first.host("lan1"), "10.2.0.2")
	first.stop()
	before := count()
	for range 3 {
		l := run(t, twoHosts(), two)
		l.pings(l.host("lan1"), "10.2.0.2")
		l.apply(strings.Replace(two, "lan2: {", "lan2: {device: x, ", 1))
		l.stop()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
