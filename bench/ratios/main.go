// Command ratios reads the output of `go test -bench` on standard input and
// divides our longest-prefix match by its peers.
//
// A benchmark belongs to us when one part of its name is "fib" or begins with
// "fib-", to a peer when one begins with "bart."; what stands before that part is the group. Within
// a group each of ours is held against each peer: the ratio is the peer's median
// time over ours, so that 8 means eight times as fast. The spread is the least
// and the greatest that any two runs of both would give.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	results := flag.String("results", "", "file to append a Markdown block to; empty: none")
	flag.Parse()
	err := run(os.Stdin, os.Stdout, *results)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
}

// benchmark is one name with its figures by unit, one a run.
type benchmark struct {
	name    string
	figures map[string][]float64
}

// output is what go test printed.
type output struct {
	processor  string
	benchmarks []*benchmark
}

func run(in io.Reader, out io.Writer, results string) error {
	o, err := parse(in)
	if err != nil {
		return err
	}
	list := compare(o.benchmarks)
	checks := verdicts(o.benchmarks, list)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "OURS\tPEER\tNS\tPEER NS\tTIMES AS FAST\tMIN\tMAX")
	for _, c := range list {
		fmt.Fprintf(w, "%s\t%s\t%.4g\t%.4g\t%.3g\t%.3g\t%.3g\n", c.ours, c.peer, c.ns, c.peerNS, c.median, c.min, c.max)
	}
	if len(checks) > 0 {
		fmt.Fprintln(w, "\nTARGET\tMUST BE\tIS\t\t\t\t")
		for _, v := range checks {
			fmt.Fprintf(w, "%s\t%s\t%.4g\t%s\t\t\t\n", v.what, v.bound(), v.is, v.word())
		}
	}
	if err := w.Flush(); err != nil || results == "" {
		return err
	}
	f, err := os.OpenFile(results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(f, block(time.Now(), o.processor, list, checks)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// parse reads the lines that begin with "Benchmark" and passes over the rest,
// but a failed test is an error.
func parse(in io.Reader) (output, error) {
	var o output
	byName := map[string]*benchmark{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "FAIL") || strings.HasPrefix(line, "--- FAIL") {
			return o, fmt.Errorf("the benchmarks failed: %s", line)
		}
		if cpu, ok := strings.CutPrefix(line, "cpu: "); ok {
			o.processor = cpu
		}
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := trimProcs(strings.TrimPrefix(f[0], "Benchmark"))
		b := byName[name]
		if b == nil {
			b = &benchmark{name, map[string][]float64{}}
			byName[name] = b
			o.benchmarks = append(o.benchmarks, b)
		}
		// Field 1 is the number of iterations; then come pairs of figure and unit.
		for i := 2; i+1 < len(f); i += 2 {
			x, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return o, fmt.Errorf("%q: %q is not a figure", line, f[i])
			}
			b.figures[f[i+1]] = append(b.figures[f[i+1]], x)
		}
	}
	if err := lines.Err(); err != nil {
		return o, err
	}
	if len(o.benchmarks) == 0 {
		return o, fmt.Errorf("no benchmark in the input; the output of `go test -bench` was expected")
	}
	return o, nil
}

// trimProcs takes off the "-8" that go test adds for GOMAXPROCS.
func trimProcs(name string) string {
	return strings.TrimSuffix(name, fmt.Sprintf("-%d", runtime.GOMAXPROCS(0)))
}

// side tells to whom a benchmark belongs, and its group.
func side(name string) (group string, ours, peer bool) {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		ours, peer = p == "fib" || strings.HasPrefix(p, "fib-"), strings.HasPrefix(p, "bart.")
		if ours || peer {
			return strings.Join(parts[:i], "/"), ours, peer
		}
	}
	return "", false, false
}

// chained tells a benchmark that measures the latency of one lookup after the
// other from one whose lookups overlap; the two are not held against each other.
func chained(name string) bool { return strings.HasSuffix(name, "-chained") }

// comparison is one of ours against one peer, in ns/op.
type comparison struct {
	ours, peer       string
	ns, peerNS       float64
	min, median, max float64
}

func compare(list []*benchmark) []comparison {
	var all []comparison
	for _, a := range list {
		group, ours, _ := side(a.name)
		if !ours {
			continue
		}
		for _, b := range list {
			other, _, peer := side(b.name)
			if !peer || other != group || chained(a.name) != chained(b.name) {
				continue
			}
			x, y := a.figures["ns/op"], b.figures["ns/op"]
			if len(x) == 0 || len(y) == 0 || slices.Min(x) <= 0 {
				continue
			}
			all = append(all, comparison{a.name, b.name, median(x), median(y),
				slices.Min(y) / slices.Max(x), median(y) / median(x), slices.Max(y) / slices.Min(x)})
		}
	}
	return all
}

// median of at least one value.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
