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

// ratios are ours to a peer's, turn by turn.
func ratios(ours, peer []float64) (all []float64) {
	for i := range min(len(ours), len(peer)) {
		if peer[i] > 0 {
			all = append(all, ours[i]/peer[i])
		}
	}
	return all
}

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

// report prints the figures and appends them to the results.
func report(ctx context.Context, o options, began time.Time, results map[string]figures) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## DHCP, %s\n\n%s\n\n", began.UTC().Format("2006-01-02 15:04 UTC"), machine(ctx, o))
	fmt.Fprintf(&b, "| figure | %s |\n|---|%s\n", strings.Join(o.contenders, " | "), strings.Repeat("---|", len(o.contenders)))
	for _, f := range measured {
		fmt.Fprintf(&b, "| %s |", strings.Trim(f.what+", "+f.unit, ", "))
		for _, name := range o.contenders {
			s := spreadOf(results[name][f.key])
			mark := ""
			if f.key == "rate" && slices.Max(results[name]["bound"]) > 0 {
				mark = ", generator spent"
			}
			fmt.Fprintf(&b, " **%.4g** (%.4g to %.4g%s) |", s.median, s.min, s.max, mark)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n| vrouterd's figure by a peer's | must be | is | |\n|---|---|---|---|\n")
	for _, f := range targets {
		all := ratios(results["vrouterd"][f.key], results[f.peer][f.key])
		if len(all) == 0 {
			continue
		}
		s := spreadOf(all)
		what, must, word := "", fmt.Sprintf("at most %.3g x %s", f.atMost, f.peer), "met"
		for _, m := range measured {
			if m.key == f.key {
				what = m.what
			}
		}
		if f.atLeast > 0 {
			must = fmt.Sprintf("at least %.3g x %s", f.atLeast, f.peer)
		}
		if f.atLeast > 0 && s.median < f.atLeast || f.atMost > 0 && s.median > f.atMost {
			word = "NOT MET"
		}
		fmt.Fprintf(&b, "| %s | %s | **%.2f** (%.2f to %.2f) | %s |\n", what, must, s.median, s.min, s.max, word)
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
	disk := "disk"
	var fs unix.Statfs_t
	if unix.Statfs(o.dir, &fs) == nil && fs.Type == unix.TMPFS_MAGIC {
		disk = "memory, which flatters whoever waits for the disk"
	}
	return fmt.Sprintf("commit %s, Linux %s, %s, %d cores; %d rounds of turns there and back, trials of %d s; leases on %s; delays at %d exchanges a second; a rate is held when 99 of 100 exchanges are complete; median (least to greatest)",
		commit, unix.ByteSliceToString(u.Release[:]), processor, runtime.NumCPU(), o.rounds, o.seconds, disk, o.moderate)
}
