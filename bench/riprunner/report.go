package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/procfs"
)

// spread is a median between the least and the greatest value.
type spread struct{ min, median, max float64 }

func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return spread{v[0], (v[(n-1)/2] + v[n/2]) / 2, v[n-1]}
}

var measured = []struct {
	key, what, unit string
	absolute        float64 // ours must be below; 0: at most the better peer's, half of it is the aim
}{
	{"cold", "cold start to full tables", "s", 0},
	{"cut", "link cut to new tables", "s", 0},
	{"absorb", "processor time to absorb the routes of a neighbour", "ms", 100},
}

// report prints the figures and appends them to the results.
func report(ctx context.Context, o options, began time.Time, results map[string]figures) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## RIP, %s\n\n%s\n\n", began.UTC().Format("2006-01-02 15:04 UTC"), machine(ctx, o))
	fmt.Fprintf(&b, "| figure | %s | ours to the better peer | target |\n|---|%s---|---|\n", strings.Join(o.contenders, " | "), strings.Repeat("---|", len(o.contenders)))
	for _, f := range measured {
		fmt.Fprintf(&b, "| %s, %s |", f.what, f.unit)
		best := 0.0
		for _, name := range o.contenders {
			s := spreadOf(results[name][f.key])
			fmt.Fprintf(&b, " **%.3g** (%.3g to %.3g) |", s.median, s.min, s.max)
			if name != "vrouterd" && (best == 0 || s.median < best) {
				best = s.median
			}
		}
		if ours := results["vrouterd"][f.key]; len(ours) == 0 || best == 0 {
			b.WriteString(" - | - |\n")
		} else {
			own := spreadOf(ours).median
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
	fmt.Print(b.String())
	if o.quick || o.results == "" {
		fmt.Println("\nNo row is written.")
		return nil
	}
	out, err := os.OpenFile(o.results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := out.WriteString(b.String()); err != nil {
		out.Close()
		return err
	}
	fmt.Printf("\nA row was appended to %s.\n", o.results)
	return out.Close()
}

// machine is what a row must say beside the figures.
func machine(ctx context.Context, o options) string {
	processor := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := procfs.Model(string(text)); model != "" {
			processor = model
		}
	}
	var u unix.Utsname
	unix.Uname(&u)
	commit := "unknown"
	if text, err := exec.CommandContext(ctx, "git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--exclude=*").Output(); err == nil {
		commit = strings.TrimSpace(string(text))
	}
	return fmt.Sprintf("commit %s, Linux %s, %s, %d cores; %d rounds of turns there and back, %d cuts a turn, %d routes; update 5s, timeout 30s, garbage 10s; median (least to greatest)",
		commit, unix.ByteSliceToString(u.Release[:]), processor, runtime.NumCPU(), o.rounds, o.cuts, o.routes)
}
