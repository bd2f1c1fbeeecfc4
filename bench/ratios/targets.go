package main

import (
	"fmt"
	"strings"
	"time"
)

// verdict is one target with what was measured.
type verdict struct {
	what  string
	least bool // at least, else at most
	value float64
	unit  string
	is    float64
}

func (v verdict) bound() string {
	if v.least {
		return fmt.Sprintf("at least %g %s", v.value, v.unit)
	}
	return fmt.Sprintf("at most %g %s", v.value, v.unit)
}

func (v verdict) word() string {
	if v.least && v.is >= v.value || !v.least && v.is <= v.value {
		return "met"
	}
	return "NOT MET"
}

// verdicts holds the measurements against what the first release must reach. A
// target whose benchmark did not run has none.
func verdicts(list []*benchmark, ratios []comparison) []verdict {
	var v []verdict
	for _, c := range ratios {
		if c.ours == "Lookup/random/fib" && c.peer == "Lookup/random/bart.Table" {
			v = append(v, verdict{"lookup, full table, random, against bart.Table", true, 8, "x", c.median})
		}
	}
	for _, t := range []struct {
		benchmark, unit string
		verdict         verdict
		scale           float64
	}{
		{"Load/fib/one-batch", "MB-readers", verdict{what: "memory, full table", value: 24, unit: "MB"}, 1},
		{"LookupLab/fib", "B-readers", verdict{what: "memory, 100 routes", value: 300, unit: "kB"}, 1e-3},
		{"Update/fib/batch-100", "ns/op", verdict{what: "a route change, 100 a batch", value: 20, unit: "us"}, 1e-3},
	} {
		for _, b := range list {
			if x := b.figures[t.unit]; b.name == t.benchmark && len(x) > 0 {
				t.verdict.is = median(x) * t.scale
				v = append(v, t.verdict)
			}
		}
	}
	return v
}

// block is the run as Markdown.
func block(at time.Time, processor string, list []comparison, checks []verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s, longest-prefix match\n\n%s; a ratio of 8 means eight times as fast as the peer\n\n", at.UTC().Format("2006-01-02 15:04 UTC"), processor)
	b.WriteString("| ours | peer | times as fast |\n|---|---|---|\n")
	for _, c := range list {
		fmt.Fprintf(&b, "| %s | %s | **%.3g** (%.3g to %.3g) <sub>%.4g / %.4g ns</sub> |\n", c.ours, c.peer, c.median, c.min, c.max, c.ns, c.peerNS)
	}
	if len(checks) > 0 {
		b.WriteString("\n| target | must be | is | |\n|---|---|---|---|\n")
		for _, v := range checks {
			fmt.Fprintf(&b, "| %s | %s | %.4g | %s |\n", v.what, v.bound(), v.is, v.word())
		}
	}
	return b.String()
}
