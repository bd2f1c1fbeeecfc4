package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"vrouterd/bench/internal/report"
)

var measured = []struct {
	key, what, unit string
	absolute        float64 // ours must be below; 0: at most the better peer's, half of it is the aim
}{
	{"cold", "cold start to full tables", "s", 0},
	{"cut", "link cut to new tables", "s", 0},
	{"absorb", "processor time to absorb the routes of a neighbour", "ms", 100},
}

// finish prints the figures and appends them to the results.
func finish(ctx context.Context, o options, began time.Time, results report.Results) error {
	how := fmt.Sprintf("%d rounds of turns there and back, %d cuts a turn, %d routes; update 5s, timeout 30s, garbage 10s; median (least to greatest)",
		o.Rounds, o.cuts, o.routes)
	var b strings.Builder
	b.WriteString(report.Heading(ctx, "RIP", began, how))
	fmt.Fprintf(&b, "| figure | %s | ours to the better peer | target |\n|---|%s---|---|\n", strings.Join(o.contenders, " | "), strings.Repeat("---|", len(o.contenders)))
	for _, f := range measured {
		fmt.Fprintf(&b, "| %s, %s |", f.what, f.unit)
		best := 0.0
		for _, name := range o.contenders {
			s := report.SpreadOf(results[name][f.key])
			fmt.Fprintf(&b, " **%.3g** (%.3g to %.3g) |", s.Median, s.Min, s.Max)
			if name != "vrouterd" && (best == 0 || s.Median < best) {
				best = s.Median
			}
		}
		if ours := results["vrouterd"][f.key]; len(ours) == 0 || best == 0 {
			b.WriteString(" - | - |\n")
		} else {
			own := report.SpreadOf(ours).Median
			ratio, word := own/best, "met"
			target := "at most 1, aiming at 0.5"
			if f.absolute > 0 {
				target = fmt.Sprintf("ours below %.0f %s", f.absolute, f.unit)
			}
			if f.absolute > 0 && own >= f.absolute || f.absolute == 0 && ratio > 1 {
				word = "NOT MET"
			}
			fmt.Fprintf(&b, " **%.2f** | %s: %s |\n", ratio, target, word)
		}
	}
	return report.Finish(b.String(), o.Results)
}
