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
	target          string
	met             func(ratio float64) bool
}{
	{"answers", "cached answers a second", "1/s", "at least 1.0", func(r float64) bool { return r >= 1 }},
	{"processor", "the server's processor time for a cached answer", "us", "none", func(float64) bool { return true }},
	{"latency", "mean latency of a cached answer", "us", "none", func(float64) bool { return true }},
}

// finish prints the figures and appends them to the results.
func finish(ctx context.Context, o options, began time.Time, others float64, results report.Results) error {
	how := fmt.Sprintf("others busy before: %.1f; dnsperf with 4 clients and 100 questions outstanding, or %d questions a second for the latency; %d names, all cached, the upstream gone; %d rounds of A B B A, turns of %d s; median (least to greatest)",
		others, o.rate, o.names, o.Rounds, o.seconds)
	var b strings.Builder
	b.WriteString(report.Heading(ctx, "DNS", began, how))
	b.WriteString("| figure | vrouterd | dnsmasq | ours / dnsmasq | target |\n|---|---|---|---|---|\n")
	for _, f := range measured {
		ours, peers := results["vrouterd"][f.key], results["dnsmasq"][f.key]
		own, other, r := report.SpreadOf(ours), report.SpreadOf(peers), report.SpreadOf(report.Ratios(ours, peers))
		word := "met"
		if !f.met(r.Median) {
			word = "NOT MET"
		}
		if f.target == "none" {
			word = ""
		} else {
			word = f.target + ": " + word
		}
		fmt.Fprintf(&b, "| %s, %s | %.3g (%.3g to %.3g) | %.3g (%.3g to %.3g) | **%.2f** (%.2f to %.2f) | %s |\n", f.what, f.unit,
			own.Median, own.Min, own.Max, other.Median, other.Min, other.Max, r.Median, r.Min, r.Max, word)
	}
	return report.Finish(b.String(), o.Results)
}
