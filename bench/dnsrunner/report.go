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

// ratios are those of neighbouring turns: the machine's mood is much the same in both.
func ratios(ours, peers []float64) (out []float64) {
	for i := range min(len(ours), len(peers)) {
		out = append(out, ours[i]/peers[i])
	}
	return out
}

var measured = []struct {
	key, what, unit string
	target          string
	met             func(ratio float64) bool
}{
	{"answers", "cached answers a second", "1/s", "at least 1.0", func(r float64) bool { return r >= 1 }},
	{"processor", "the server's processor time for a cached answer", "us", "none", func(float64) bool { return true }},
	{"latency", "mean latency of a cached answer", "us", "none", func(float64) bool { return true }},
}

// report prints the figures and appends them to the results.
func report(ctx context.Context, o options, began time.Time, others float64, results map[string]figures) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## DNS, %s\n\n%s\n\n", began.UTC().Format("2006-01-02 15:04 UTC"), machine(ctx, o, others))
	b.WriteString("| figure | vrouterd | dnsmasq | ours / dnsmasq | target |\n|---|---|---|---|---|\n")
	for _, f := range measured {
		ours, peers := results["vrouterd"][f.key], results["dnsmasq"][f.key]
		own, other, r := spreadOf(ours), spreadOf(peers), spreadOf(ratios(ours, peers))
		word := "met"
		if !f.met(r.median) {
			word = "NOT MET"
		}
		if f.target == "none" {
			word = ""
		} else {
			word = f.target + ": " + word
		}
		fmt.Fprintf(&b, "| %s, %s | %.3g (%.3g to %.3g) | %.3g (%.3g to %.3g) | **%.2f** (%.2f to %.2f) | %s |\n", f.what, f.unit,
			own.median, own.min, own.max, other.median, other.min, other.max, r.median, r.min, r.max, word)
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
func machine(ctx context.Context, o options, others float64) string {
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
	return fmt.Sprintf("commit %s, Linux %s, %s, %d cores; others busy before: %.1f; dnsperf with 4 clients and 100 questions outstanding, or %d questions a second for the latency; %d names, all cached, the upstream gone; %d rounds of A B B A, turns of %d s; median (least to greatest)",
		commit, unix.ByteSliceToString(u.Release[:]), processor, runtime.NumCPU(), others, o.rate, o.names, o.rounds, o.seconds)
}
