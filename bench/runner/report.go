package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"vrouterd/bench/internal/report"
)

// about is what a row must say beside the figures.
type about struct {
	began     time.Time
	took      time.Duration
	turn      time.Duration
	rounds    int
	rate      int
	nat       bool
	kernel    string
	processor string
	cores     int
	others    float64 // processors that other processes kept busy just before the run
	commit    string
	dirty     bool
}

func describeMachine(ctx context.Context) about {
	a := about{cores: runtime.NumCPU(), kernel: report.Kernel(), processor: report.Processor(), commit: "unknown"}
	// Root runs this in a tree that somebody else owns, which git would refuse.
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-c", "safe.directory=*"}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	// A source archive has no history; that is said, not refused.
	if commit, err := git("rev-parse", "--short=12", "HEAD"); err == nil {
		a.commit = commit
		changes, err := git("status", "--porcelain", "--", ".", ":!bench/RESULTS.md")
		a.dirty = err != nil || changes != ""
	}
	return a
}

func (a about) String() string {
	dirty := ""
	if a.dirty {
		dirty = " with uncommitted changes"
	}
	return fmt.Sprintf("commit %s%s, Linux %s, %s, %d cores; others busy before: %.1f; %d x A B B A, turns of %v, processor time at %d packets/s",
		a.commit, dirty, a.kernel, a.processor, a.cores, a.others, a.rounds, a.turn, a.rate)
}

// row is one figure of one of ours beside all peers of the run.
type row struct {
	figure figure
	name   string
	own    spread
	peers  []peer
}

type peer struct {
	name  string
	value spread
	ratio spread
}

// rows leaves out every figure that no peer of the run has.
func rows(results []series) []row {
	var list []row
	for _, sr := range results {
		for _, f := range sr.measurement.figures {
			for _, name := range contenderNames() {
				own, ok := spreadOf(pick(sr.turns[name], f.key))
				if !ok {
					continue
				}
				r := row{figure: f, name: name, own: own}
				for _, other := range contenderNames() {
					value, ok := spreadOf(pick(sr.turns[other], f.key))
					if !ok || !against(name, other) {
						continue
					}
					q, ok := spreadOf(pairs(sr.turns[name], sr.turns[other], f.key, ratio))
					if ok || f.plain {
						r.peers = append(r.peers, peer{other, value, q})
					}
				}
				if len(r.peers) > 0 {
					list = append(list, r)
				}
			}
		}
	}
	return list
}

// verdict is one target with what was measured.
type verdict struct {
	target   target
	what     string
	measured spread
	met      bool
}

func verdicts(results []series) []verdict {
	var list []verdict
	for _, t := range targets() {
		for _, sr := range results {
			for _, f := range sr.measurement.figures {
				if f.key != t.figure {
					continue
				}
				if m, ok := t.measured(sr); ok {
					what := f.what
					if t.own != "vrouterd" {
						what += ", " + t.own
					}
					list = append(list, verdict{t, what, m, t.met(m.median)})
				}
			}
		}
	}
	return list
}

func (v verdict) word() string {
	if v.met {
		return "met"
	}
	return "NOT MET"
}

// printTable shows a run to whoever started it: every contender's own figures,
// the ratios, the targets.
func printTable(out io.Writer, a about, results []series) {
	fmt.Fprintf(out, "\n%s\n\n", a)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FIGURE\tUNIT\tCONTENDER\tMEDIAN\tMIN\tMAX")
	for _, sr := range results {
		for _, f := range sr.measurement.figures {
			for _, name := range contenderNames() {
				if s, ok := spreadOf(pick(sr.turns[name], f.key)); ok {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.what, f.unit, name,
						number(s.median, f.decimal), number(s.min, f.decimal), number(s.max, f.decimal))
				}
			}
		}
	}
	w.Flush()

	if list := rows(results); len(list) > 0 {
		fmt.Fprintln(out)
		w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "RATIO\tOURS\tPEER\tMEDIAN\tMIN\tMAX\tBETTER IS")
		for _, r := range list {
			if r.figure.plain {
				continue
			}
			for _, p := range r.peers {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.figure.what, r.name, p.name,
					times(p.ratio.median), times(p.ratio.min), times(p.ratio.max), better(r.figure))
			}
		}
		w.Flush()
	}

	if list := verdicts(results); len(list) > 0 {
		fmt.Fprintln(out)
		w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "TARGET\tMUST BE\tIS\tMIN\tMAX\t")
		for _, v := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", v.what, v.target, times(v.measured.median),
				times(v.measured.min), times(v.measured.max), v.word())
		}
		w.Flush()
	}
}

func better(f figure) string {
	if f.lower {
		return "lower"
	}
	return "higher"
}
