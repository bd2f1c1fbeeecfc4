package router

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/rip"
)

// ripTwo is the router of two hosts with RIP on the first port.
const ripTwo = two + `rip:
  timers: {update: 1s, timeout: 6s, garbage: 4s}
  keys:
    k: {type: md5, keys: [{id: 7, secret: s3cret}]}
  ports: {lan1: {}, lan2: {auth: k}}
`

// ripResponse is a version 2 response that tells of 10.99.0.0/16 with metric 3.
var ripResponse = []byte{2, 2, 0, 0, 0, 2, 0, 0, 10, 99, 0, 0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3}

func (l *lab) dropsOf(reason string) uint64 {
	for _, d := range l.Drops() {
		if d.Reason == reason {
			return d.Packets
		}
	}
	l.t.Fatalf("show drops has no row %s", reason)
	return 0
}

func TestARefusedRIPPacketIsInTheDropsThePortsAndTheMetrics(t *testing.T) {
	l := run(t, twoHosts(), ripTwo)
	c, err := l.host("lan1").DialUDP(netip.MustParseAddrPort("10.1.0.1:520"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(ripResponse); err != nil { // from a port that is not 520
		t.Fatal(err)
	}
	eventually(t, "the refusal is counted", func() bool { return l.dropsOf("rip_source_port") == 1 })
	for _, p := range l.RIPPorts() {
		if p.Name == "lan1" && (p.BadPackets != 1 || len(p.Bad) != 1 || p.Bad[0].Reason != "rip_source_port") {
			t.Errorf("show rip ports: %+v", p)
		}
	}
	for _, r := range l.Routes() {
		if r.Protocol == "rip" {
			t.Errorf("a route was learned from it: %+v", r)
		}
	}
	for _, name := range []string{`vrouterd_rip_routes{state="valid"} 2`, `vrouterd_drops_total{reason="rip_source_port"} 1`} {
		if text := l.Metrics(); !strings.Contains(text, name) {
			t.Errorf("the metrics have no %s:\n%s", name, text)
		}
	}
}

func TestRIPStartsAndStopsWithItsSection(t *testing.T) {
	l := run(t, twoHosts(), two)
	_, err := l.RIPClear(tester, api.RIPClear{})
	expectError(t, err, api.Conflict, "RIP is not configured")
	if _, err := l.ConfigApply(tester, ripTwo, 0); err != nil {
		t.Fatal(err)
	}
	if n := len(l.RIPPorts()); n != 2 {
		t.Fatalf("RIP runs on %d ports", n)
	}
	if rows := l.RIPRoutes(); len(rows) != 2 || rows[0].Source != "port" {
		t.Errorf("the networks of its ports: %+v", rows)
	}
	_, err = l.RIPClear(tester, api.RIPClear{Neighbor: "10.1.0.77"})
	expectError(t, err, api.NotFound, "10.1.0.77")
	if _, err := l.ConfigApply(tester, two, 0); err != nil {
		t.Fatal(err)
	}
	if n := len(l.RIPPorts()) + len(l.RIPRoutes()); n != 0 {
		t.Errorf("%d rows are left of RIP", n)
	}
}

func TestTheSequenceOfRIPSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "rip-state.json")
	r := &Router{opt: Options{StateDir: dir}, ports: map[string]*portState{"lan2": {id: 3}}, log: slog.New(slog.DiscardHandler)}
	if s := r.loadRIPState(); s.Sequence != 0 {
		t.Errorf("without a file the sequence is %d", s.Sequence)
	}
	r.byID = map[dataplane.PortID]*portState{3: {cfg: config.Port{Name: "lan2"}}}
	want := rip.State{Sequence: 4711, Neighbors: []rip.NeighborSequence{{Port: 3, Addr: netip.MustParseAddr("10.2.0.2"), KeyID: 7, Sequence: 9}}}
	r.saveRIPState(want)
	if got := r.loadRIPState(); got.Sequence != 4711 || len(got.Neighbors) != 1 || got.Neighbors[0] != want.Neighbors[0] {
		t.Errorf("read back: %+v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.loadRIPState(); got.Sequence != 0 || got.Neighbors != nil {
		t.Errorf("a damaged file gives %+v", got)
	}
}

func TestConfigurationAndMachineKnowTheSameKindsOfAuthentication(t *testing.T) {
	for _, kind := range []config.RIPAuthType{
		config.RIPAuthSimple, config.RIPAuthMD5, config.RIPAuthHMACSHA1,
		config.RIPAuthHMACSHA256, config.RIPAuthHMACSHA384, config.RIPAuthHMACSHA512,
	} {
		if got, ok := rip.ParseAuthType(string(kind)); !ok || got.String() != string(kind) {
			t.Errorf("the machine takes %q for %v", kind, got)
		}
	}
}
