package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// sample is what go test prints, with this machine's suffix.
func sample() string {
	return strings.ReplaceAll(`goos: linux
cpu: AMD EPYC
BenchmarkLookup/random/fib-P         	1000	5.0 ns/op	0 B/op	0 allocs/op
BenchmarkLookup/random/fib-P         	1000	7.0 ns/op	0 B/op	0 allocs/op
BenchmarkLookup/random/fib-chained-P 	1000	12.0 ns/op
BenchmarkLookup/random/bart.Table-P  	1000	60.0 ns/op	0 B/op
BenchmarkLookup/random/bart.Table-P  	1000	84.0 ns/op	0 B/op
BenchmarkLookup/zipf/bart.Table-P    	1000	20.0 ns/op
BenchmarkUpdate/fib/batch-100-P      	1000	30000 ns/op
BenchmarkLoad/fib/one-batch-P        	1	900000000 ns/op	9.5 MB-readers
PASS
`, "-P", fmt.Sprintf("-%d", runtime.GOMAXPROCS(0)))
}

func TestComparesWithinAGroupOnly(t *testing.T) {
	o, err := parse(strings.NewReader(sample()))
	if err != nil {
		t.Fatal(err)
	}
	list := compare(o.benchmarks)
	if len(list) != 1 || list[0].ours != "Lookup/random/fib" {
		t.Fatalf("comparisons %+v; want only fib against bart.Table under random: nothing across groups, and no chained lookups against overlapping ones", list)
	}
	if c := list[0]; c.ns != 6 || c.peerNS != 72 || c.median != 12 || c.min != 60.0/7 || c.max != 84.0/5 {
		t.Errorf("%+v; want medians 6 and 72, ratio 12", c)
	}
}

func TestVerdictsComeFromWhatRan(t *testing.T) {
	o, err := parse(strings.NewReader(sample()))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, v := range verdicts(o.benchmarks, compare(o.benchmarks)) {
		got[v.what] = v.word()
	}
	want := map[string]string{
		"lookup, full table, random, against bart.Table": "met",
		"memory, full table":                             "met",
		"a route change, 100 a batch":                    "NOT MET",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("verdicts %v; want %v", got, want)
	}
}

func TestFailedBenchmarksAreAnError(t *testing.T) {
	for _, text := range []string{"", "PASS\n", sample() + "FAIL\n", "--- FAIL: BenchmarkLookup\n", "BenchmarkX 1 many ns/op\n"} {
		if _, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

func TestBlockIsAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "RESULTS.md")
	if err := os.WriteFile(path, []byte("# Results\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(strings.NewReader(sample()), &out, path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); !strings.HasPrefix(s, "# Results\n") || !strings.Contains(s, "**12** (8.57 to 16.8)") || !strings.Contains(s, "AMD EPYC") {
		t.Errorf("the file holds\n%s", s)
	}
}
