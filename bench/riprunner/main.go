// Command riprunner is what bench/rip starts: RIP of vrouterd beside FRR ripd and BIRD.
//
// Each contender runs the textbooks' five routers and six links with the same timers, in turns
// (A B C C B A). A turn starts all five daemons at once and takes the time until every table is
// full (cold start); then link 2 is cut at both of its ends, and the time is taken until every
// table has the new ways; the link is restored, and so on. Then one router of a contender hears
// 10,000 routes from a neighbour, which this program plays, and its processor time is read.
//
// Tables are read through each daemon's own control socket, about every millisecond; those of
// routers that are done are not read again. The files: main.go (the run), site.go (namespaces and
// processes), vrouterd.go, frr.go and bird.go (the contenders), absorb.go (the 10,000 routes),
// report.go (table and row).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

type options struct {
	dir        string
	contenders []string
	rounds     int
	cuts       int
	routes     int
	quick      bool
	results    string
}

func main() {
	// Children die with the thread that started them; the main thread lives as long as the process.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench/rip: interrupted; nothing is written")
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "bench/rip:", err)
		os.Exit(1)
	}
}

const usage = `Usage: bench/rip [flags]

Measures RIP of vrouterd beside FRR ripd and BIRD on five routers and six links with the
same timers (update 5s, timeout 30s, garbage 10s): cold start to full tables, link cut to
new tables, processor time for many routes of one neighbour. Appends a row to bench/RESULTS.md.
Needs root, /dev/net/tun, frr and bird2. Makes namespaces vrb-PID-* and removes them.

Flags:
`

func run(ctx context.Context, args []string) error {
	var o options
	f := flag.NewFlagSet("bench/rip", flag.ContinueOnError)
	f.Usage = func() { fmt.Fprint(f.Output(), usage); f.PrintDefaults() }
	contenders := f.String("contenders", "vrouterd,frr,bird", "who takes part, separated by commas")
	f.IntVar(&o.rounds, "rounds", 2, "rounds of A B C C B A")
	f.IntVar(&o.cuts, "cuts", 3, "link cuts a turn")
	f.IntVar(&o.routes, "routes", 10_000, "routes to absorb; at most 60000")
	f.BoolVar(&o.quick, "quick", false, "a smoke run: one turn and one cut each; writes no row")
	f.StringVar(&o.results, "results", "bench/RESULTS.md", "file to append the row to; empty: none")
	f.StringVar(&o.dir, "dir", "", "directory with the binaries, removed at the end; bench/rip gives it")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.dir == "" {
		return errors.New("start it by bench/rip, which builds what it needs")
	}
	defer os.RemoveAll(o.dir)
	o.contenders = strings.Split(*contenders, ",")
	if o.rounds < 1 || o.cuts < 1 || o.routes < 1 || o.routes > 60_000 {
		return errors.New("-rounds and -cuts must be at least 1, -routes from 1 to 60000")
	}
	order := o.contenders
	if o.quick {
		o.rounds, o.cuts = 1, 1
	} else {
		for i := len(o.contenders) - 1; i >= 0; i-- {
			order = append(order[:len(order):len(order)], o.contenders[i])
		}
	}
	l := &lab{ctx: ctx, dir: o.dir, pid: os.Getpid()}
	defer l.close()
	began := time.Now()
	results := map[string]figures{}
	for range o.rounds {
		for _, name := range order {
			if err := l.turn(name, o, results); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return report(ctx, o, began, results)
}

// figures are a contender's, by name, in the order of the turns.
type figures map[string][]float64

// turn takes all figures of one contender once, the cut o.cuts times.
func (l *lab) turn(name string, o options, results map[string]figures) error {
	if results[name] == nil {
		results[name] = figures{}
	}
	note := func(figure string, value float64, unit string) {
		results[name][figure] = append(results[name][figure], value)
		fmt.Fprintf(os.Stderr, "%-10s %-12s %8.3f %s\n", name, figure, value, unit)
	}
	c, err := l.newContender(name, topology{})
	if err != nil {
		return err
	}
	defer l.close()
	start := time.Now()
	if err := c.start(); err != nil {
		return err
	}
	cold, err := l.converge(c, whole, start)
	if err != nil {
		return fmt.Errorf("cold start: %w", err)
	}
	note("cold", cold.Seconds(), "s")
	for range o.cuts {
		// At any moment between two updates, alike for all.
		if err := l.rest(time.Duration(5+5*rand.Float64()) * time.Second); err != nil {
			return err
		}
		start := time.Now()
		if err := c.link(2, false); err != nil {
			return err
		}
		cut, err := l.converge(c, without2, start)
		if err != nil {
			return fmt.Errorf("link cut: %w", err)
		}
		note("cut", cut.Seconds(), "s")
		if err := c.link(2, true); err != nil {
			return err
		}
		if _, err := l.converge(c, whole, time.Now()); err != nil {
			return fmt.Errorf("link restored: %w", err)
		}
	}
	l.close()
	absorbed, err := l.absorb(name, o.routes)
	if err != nil {
		return fmt.Errorf("%d routes: %w", o.routes, err)
	}
	note("absorb", absorbed.Seconds()*1000, "ms")
	return nil
}

// costs are the metrics of networks A to E at routers A to E, the router's own network left out.
type costs [5][5]int

var (
	whole = costs{
		{0, 2, 3, 2, 3},
		{2, 0, 2, 3, 2},
		{3, 2, 0, 3, 2},
		{2, 3, 3, 0, 2},
		{3, 2, 2, 2, 0},
	}
	without2 = costs{
		{0, 2, 4, 2, 3},
		{2, 0, 3, 3, 2},
		{4, 3, 0, 3, 2},
		{2, 3, 3, 0, 2},
		{3, 2, 2, 2, 0},
	}
)

// converge waits until every router has these costs and says how long that took.
func (l *lab) converge(c contender, want costs, start time.Time) (time.Duration, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	right := [5]bool{}
	for {
		last := ""
		all := true
		for i := range right {
			if right[i] {
				continue
			}
			have, err := c.metrics(i)
			if err == nil {
				right[i] = true
				for j, metric := range want[i] {
					right[i] = right[i] && (j == i || have[j] == metric)
				}
				if !right[i] {
					last = fmt.Sprintf("router %c has %v, not %v", 'A'+i, have, want[i])
				}
			} else {
				last = err.Error()
			}
			all = all && right[i]
		}
		if all {
			return time.Since(start), nil
		}
		if err := l.alive(); err != nil {
			return 0, err
		}
		if time.Since(start) > time.Minute {
			return 0, fmt.Errorf("not within a minute: %s", last)
		}
		select {
		case <-l.ctx.Done():
			return 0, l.ctx.Err()
		case <-tick.C:
		}
	}
}

func (l *lab) rest(d time.Duration) error {
	select {
	case <-l.ctx.Done():
		return l.ctx.Err()
	case <-time.After(d):
		return nil
	}
}
