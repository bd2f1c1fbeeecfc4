package main

import (
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSpreadOfEvenCountTakesTheMeanOfTheMiddle(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{9, 1, 5}, spread{1, 5, 9}},
		{[]float64{4, 1, 3, 2}, spread{1, 2.5, 4}},
	} {
		if got, ok := spreadOf(c.values); !ok || got != c.want {
			t.Errorf("spreadOf(%v) = %v, %v; want %v", c.values, got, ok, c.want)
		}
	}
	if _, ok := spreadOf(nil); ok {
		t.Error("no values have a spread")
	}
}

func TestSpreadLeavesTheTurnsInTheirOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	spreadOf(values)
	if values[0] != 3 || values[1] != 1 || values[2] != 2 {
		t.Errorf("the turns were reordered to %v", values)
	}
}

func TestPairsDividesTurnsOfTheSameHalfRound(t *testing.T) {
	a := []turn{{"x": 10}, {"x": 30}, {"y": 1}, {"x": 5}, {"x": 7}}
	b := []turn{{"x": 5}, {"x": 10}, {"x": 1}, {"x": 0}}
	got := pairs(a, b, "x", ratio)
	if len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("pairs = %v; want [2 3]: a missing figure, a division by zero and a turn without its peer are left out", got)
	}
	if got := pairs(a[:1], b[:1], "x", difference); len(got) != 1 || got[0] != 5 {
		t.Errorf("difference = %v; want [5]", got)
	}
}

func TestNumbersKeepTheirMeaningfulDigits(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(0.034, 0), "0.03"}, {number(1234.5, 0), "1234"}, {number(0, 1), "0.0"}, {number(12.34, 1), "12.3"},
		{times(0.834), "0.83"}, {times(12.44), "12.4"}, {times(132.2), "132"},
	} {
		if c.got != c.want {
			t.Errorf("printed %q; want %q", c.got, c.want)
		}
	}
}

func TestIperfReceivedBitsAreRead(t *testing.T) {
	bits, err := parseIperf([]byte(`{"end":{"sum_sent":{"bits_per_second":9e9},"sum_received":{"bits_per_second":8.5e9}}}`))
	if err != nil || bits != 8.5e9 {
		t.Errorf("got %v, %v; want the 8.5e9 that were received, not the 9e9 sent", bits, err)
	}
}

func TestAFailedMeasurementIsAnErrorNotAZero(t *testing.T) {
	for name, err := range map[string]error{
		"iperf3 says why":       second(parseIperf([]byte(`{"error":"unable to connect"}`))),
		"iperf3 without result": second(parseIperf([]byte(`{"end":{}}`))),
		"iperf3 cut off":        second(parseIperf([]byte(`{"end":`))),
		"pps delivered nothing": second(parsePPS([]byte(`{"delivered":0,"sent_pps":1000}`))),
		"rtt without samples":   second(parseRTT([]byte(`{"samples":0}`))),
		"rtt no JSON":           second(parseRTT([]byte(`no`))),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := parseIperf([]byte(`{"error":"unable to connect"}`)); !strings.Contains(err.Error(), "unable to connect") {
		t.Errorf("iperf3's own words are missing in %q", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestOwnerReadsTheProcessNumber(t *testing.T) {
	for _, c := range []struct {
		name, prefix string
		pid          int
		ok           bool
	}{
		{"vrb-1234-kernel-a", nsPrefix, 1234, true},
		{"bench-77-vrouterd.sock", "bench-", 77, true},
		{"vrouterd-bench-9", dirPrefix, 9, true},
		{"vrb-x-a", nsPrefix, 0, false},
		{"vrb--a", nsPrefix, 0, false},
		{"vrb-1-a", nsPrefix, 1, false}, // never a runner
		{"other-12-a", nsPrefix, 0, false},
	} {
		pid, ok := owner(c.name, c.prefix)
		if ok != c.ok || (ok && pid != c.pid) {
			t.Errorf("owner(%q) = %d, %v; want %d, %v", c.name, pid, ok, c.pid, c.ok)
		}
	}
}

func TestFlagsNameWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-only", "tcp9"}, "tcp1, tcp4, pps, rtt, cpu, start, new"},
		{[]string{"-contenders", "ovs"}, "vrouterd, vrouterd-plain, vrouterd-nat, vrouterd-rules1000, vrouterd-rules10, kernel, kernel-nft, gvisor"},
		{[]string{"tcp1"}, "-only tcp1"},
		{[]string{"-rounds", "0"}, "at least 1"},
	} {
		_, err := parseFlags(c.args)
		var wrong usageError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v; want a usage error that says %q", c.args, err, c.want)
		}
	}
	if _, err := parseFlags([]string{"-help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
}

func TestShortRunsWriteNoRow(t *testing.T) {
	for _, c := range []struct {
		args  []string
		write bool
	}{
		{nil, true},
		{[]string{"-quick"}, false},
		{[]string{"-quick", "-turn", "6s"}, false},
		{[]string{"-turn", "4s"}, false},
		{[]string{"-results", ""}, false},
	} {
		o, err := parseFlags(c.args)
		if err != nil || o.write != c.write {
			t.Errorf("%v: writes %v, %v; want %v", c.args, o.write, err, c.write)
		}
	}
	if o, _ := parseFlags([]string{"-quick", "-only", "tcp4"}); o.turn != time.Second || o.rounds != 1 || len(o.only) != 1 || o.only[0] != "tcp4" {
		t.Errorf("-quick with a selection: %+v", o)
	}
}

// sampleRun is one round of vrouterd against the kernel, the second turn being
// on a machine twice as fast.
func sampleRun() []series {
	find := func(name string) measurement {
		for _, m := range measurements() {
			if m.name == name {
				return m
			}
		}
		panic(name)
	}
	return []series{
		{find("tcp1"), map[string][]turn{"vrouterd": {{"tcp1": 8}, {"tcp1": 18}}, "kernel": {{"tcp1": 10}, {"tcp1": 20}}}},
		{find("pps"), map[string][]turn{
			"vrouterd": {{"pps": 450, "pps-offered": 900, "pps-loss": 50}, {"pps": 600, "pps-offered": 900, "pps-loss": 33}},
			"kernel":   {{"pps": 500, "pps-offered": 500, "pps-loss": 0}, {"pps": 500, "pps-offered": 500, "pps-loss": 0}}}},
		{find("rtt"), map[string][]turn{"vrouterd": {{"rtt": 30, "rtt99": 500}}, "kernel": {{"rtt": 5, "rtt99": 10}}}},
		{find("start"), map[string][]turn{"vrouterd": {{"start": 20, "start-ready": 21, "rss": 50}}}},
	}
}

func TestRatiosArePairedBeforeTheMedian(t *testing.T) {
	for _, r := range rows(sampleRun()) {
		if r.figure.key != "tcp1" {
			continue
		}
		if got := r.peers[0].ratio; math.Abs(got.median-0.85) > 1e-9 || got.min != 0.8 || got.max != 0.9 {
			t.Errorf("tcp1 ratio %+v; want 0.8 and 0.9", got)
		}
		return
	}
	t.Error("no row for tcp1")
}

func TestAFigureWithoutItsPeerIsNotWritten(t *testing.T) {
	block := resultsBlock(about{}, sampleRun())
	if strings.Contains(block, "| start to ready") {
		t.Errorf("start to ready has no peer in this run and was written:\n%s", block)
	}
	if got := resultsBlock(about{}, []series{{measurements()[0], map[string][]turn{"vrouterd": {{"tcp1": 8}}}}}); got != "" {
		t.Errorf("a run without any peer was written:\n%s", got)
	}
	if got := resultsBlock(about{}, []series{{measurements()[0], map[string][]turn{"kernel": {{"tcp1": 8}}}}}); got != "" {
		t.Errorf("a run without vrouterd was written:\n%s", got)
	}
}

func TestNATIsDividedByWhatItIsComparedWith(t *testing.T) {
	for name, peers := range map[string][]string{
		"vrouterd":           {"kernel", "gvisor"},
		"vrouterd-plain":     {"kernel", "gvisor"},
		"vrouterd-nat":       {"vrouterd", "kernel", "kernel-nft", "gvisor"},
		"vrouterd-rules1000": {"vrouterd-rules10", "kernel", "gvisor"},
		"kernel-nft":         nil,
	} {
		for _, peer := range contenderNames() {
			if got, want := against(name, peer), contains(peers, peer); got != want {
				t.Errorf("%s against %s: %v; want %v", name, peer, got, want)
			}
		}
	}
	o, err := parseFlags([]string{"-nat", "-quick"})
	if err != nil || strings.Join(o.contenders, " ") != "vrouterd vrouterd-nat vrouterd-rules1000 vrouterd-rules10 kernel-nft" || strings.Join(o.only, " ") != "tcp1 pps new" || o.write {
		t.Errorf("-nat -quick: %+v, %v", o, err)
	}
}

func TestBenchmarkReportsOneFigure(t *testing.T) {
	ns, err := parseBenchmark([]byte("goos: linux\nBenchmarkNewSession/rules=10-2   \t 1201414\t       712.5 ns/op\t 0 B/op\nPASS\n"))
	if err != nil || ns != 712.5 {
		t.Errorf("got %v, %v", ns, err)
	}
	for _, text := range []string{"PASS\n", "BenchmarkA 1 2 ns/op\nBenchmarkB 1 2 ns/op\n"} {
		if _, err := parseBenchmark([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestNATContendersHaveTheirRules(t *testing.T) {
	s := &site{lab: &lab{pid: 42}, tag: "vrouterd-nat"}
	for name, want := range map[string]int{"vrouterd": 0, "vrouterd-nat": 0, "vrouterd-rules10": 10, "vrouterd-rules1000": 1000} {
		c, _ := newContender(name)
		text := c.(vrouterd).config(s, 0)
		if n := strings.Count(text, "action: drop}\n") - strings.Count(text, "from: outside"); n != want {
			t.Errorf("%s has %d rules; want %d", name, n, want)
		}
		if strings.Contains(text, "masquerade") != (name != "vrouterd") {
			t.Errorf("%s:\n%.300s", name, text)
		}
	}
}

func TestTargetsAreReadAsRatioDifferenceOrAbsolute(t *testing.T) {
	want := map[string]bool{"tcp1 kernel": true, "pps kernel": true, "rtt kernel": true, "rtt99 kernel": false, "start ": true, "rss ": false}
	got := map[string]bool{}
	for _, v := range verdicts(sampleRun()) {
		got[v.target.figure+" "+v.target.peer] = v.met
	}
	if len(got) != len(want) {
		t.Errorf("verdicts %v; want %v: a target whose peer did not run has none", got, want)
	}
	for k, met := range want {
		if got[k] != met {
			t.Errorf("%s: met %v; want %v", k, got[k], met)
		}
	}
}

func TestEveryTargetNamesAFigureAndAContender(t *testing.T) {
	keys := map[string]bool{}
	for _, m := range measurements() {
		for _, f := range m.figures {
			keys[f.key] = true
		}
	}
	for _, target := range targets() {
		if !keys[target.figure] {
			t.Errorf("target %q is of no measurement", target.figure)
		}
		if !ours(target.own) || !contains(contenderNames(), target.own) {
			t.Errorf("target %q is of %q, which is none of ours", target.figure, target.own)
		}
		if target.peer != "" && !contains(contenderNames(), target.peer) {
			t.Errorf("target %q is against %q, which is no contender", target.figure, target.peer)
		}
	}
}

func TestResultsGetTheirHeaderOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "RESULTS.md")
	for range 2 {
		if err := appendResults(path, resultsBlock(about{commit: "abc", dirty: true}, sampleRun())); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := string(text)
	if strings.Count(s, "# Results of bench/run") != 1 || strings.Count(s, "\n## ") != 2 || !strings.HasPrefix(s, "# Results") {
		t.Errorf("want one header and two blocks:\n%s", s)
	}
	if !strings.Contains(s, "commit abc with uncommitted changes") || !strings.Contains(s, "**0.85** (0.80 to 0.90)") {
		t.Errorf("the block lacks its commit or its ratio:\n%s", s)
	}
}

func TestConfigurationHasBothPortsAndTheRoutes(t *testing.T) {
	s := &site{lab: &lab{pid: 42}, tag: "vrouterd", a: "vrb-42-vrouterd-a", b: "vrb-42-vrouterd-b"}
	text := vrouterd{offload: "auto"}.config(s, 100)
	for _, want := range []string{"name: bench-42-vrouterd\n", "netns: vrb-42-vrouterd-a", "offload: auto", "to: 172.16.99.0/24, via: 10.2.0.2"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(vrouterd{offload: "off"}.config(s, 0), "routes:") {
		t.Error("an empty list of routes was written")
	}
}
