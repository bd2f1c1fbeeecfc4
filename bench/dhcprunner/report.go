package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/report"
)

var measured = []struct{ key, what, unit string }{
	{"rate", "leases held, a second", ""},
	{"median", "DISCOVER to ACK, median", "ms"},
	{"p99", "DISCOVER to ACK, 99th percentile", "ms"},
	{"processor", "processor time a lease", "us"},
}

// targets are what a figure of ours must be as a multiple of a peer's.
var targets = []struct {
	key, peer string
	atLeast   float64 // 0: atMost counts
	atMost    float64
}{
	{"rate", "dnsmasq", 3, 0},
	{"rate", "kea", 1, 0},
	{"median", "dnsmasq", 0, 1},
}

// finish prints the figures and appends them to the results.
func finish(ctx context.Context, o options, began time.Time, results report.Results) error {
	var b strings.Builder
	b.WriteString(report.Heading(ctx, "DHCP", began, how(o)))
	fmt.Fprintf(&b, "| figure | %s |\n|---|%s\n", strings.Join(o.contenders, " | "), strings.Repeat("---|", len(o.contenders)))
	for _, f := range measured {
		fmt.Fprintf(&b, "| %s |", strings.Trim(f.what+", "+f.unit, ", "))
		for _, name := range o.contenders {
			s := report.SpreadOf(results[name][f.key])
			mark := ""
			if f.key == "rate" && slices.Max(results[name]["bound"]) > 0 {
				mark = ", generator spent"
			}
			fmt.Fprintf(&b, " **%.4g** (%.4g to %.4g%s) |", s.Median, s.Min, s.Max, mark)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| vrouterd's figure by a peer's | must be | is | |\n|---|---|---|---|\n")
	for _, f := range targets {
		all := report.Ratios(results["vrouterd"][f.key], results[f.peer][f.key])
		if len(all) == 0 {
			continue
		}
		s := report.SpreadOf(all)
		what, must, word := "", fmt.Sprintf("at most %.3g x %s", f.atMost, f.peer), "met"
		for _, m := range measured {
			if m.key == f.key {
				what = m.what
			}
		}
		if f.atLeast > 0 {
			must = fmt.Sprintf("at least %.3g x %s", f.atLeast, f.peer)
		}
		if f.atLeast > 0 && s.Median < f.atLeast || f.atMost > 0 && s.Median > f.atMost {
			word = "NOT MET"
		}
		fmt.Fprintf(&b, "| %s | %s | **%.2f** (%.2f to %.2f) | %s |\n", what, must, s.Median, s.Min, s.Max, word)
	}
	return report.Finish(b.String(), o.Results)
}

// how is what a row must say beside the figures and the machine.
func how(o options) string {
	disk := "disk"
	var fs unix.Statfs_t
	if unix.Statfs(o.Dir, &fs) == nil && fs.Type == unix.TMPFS_MAGIC {
		disk = "memory, which flatters whoever waits for the disk"
	}
	return fmt.Sprintf("%d rounds of turns there and back, trials of %d s; leases on %s; delays at %d exchanges a second; a rate is held when 99 of 100 exchanges are complete; median (least to greatest)",
		o.Rounds, o.seconds, disk, o.moderate)
}
