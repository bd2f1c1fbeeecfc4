// Command riprunner is what bench/rip starts: RIP of vrouterd beside FRR ripd and BIRD.
//
// Each contender runs the textbooks' five routers and six links with the same timers, in turns
// (A B C C B A). A turn starts all five daemons at once and takes the time until every table is
// full (cold start); then link 2 is cut at both of its ends, and the time is taken until every
// table has the new ways; the link is restored, and so on. Then one router of a contender hears
// 10,000 routes from a neighbour, which this program plays, and its processor time is read.
//
// Tables are read through each daemon's own control socket, about every millisecond; those of
// routers that are done are not read again. The files: main.go (the run), site.go (networks
// of the kernel), vrouterd.go, frr.go and bird.go (the contenders), absorb.go (the 10,000 routes),
// report.go (table and row).
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"vrouterd/bench/internal/report"
	"vrouterd/bench/internal/site"
	"vrouterd/bench/internal/turns"
)

type options struct {
	turns.Options
	contenders []string
	cuts       int
	routes     int
}

func main() { turns.Main("bench/rip", run) }

const usage = `Usage: bench/rip [flags]

Measures RIP of vrouterd beside FRR ripd and BIRD on five routers and six links with the
same timers (update 5s, timeout 30s, garbage 10s): cold start to full tables, link cut to
new tables, processor time for many routes of one neighbour. Appends a row to bench/RESULTS.md.
Needs root, /dev/net/tun, frr and bird2. Makes namespaces vrb-PID-* and removes them.

Flags:
`

func run(ctx context.Context, args []string) error {
	var o options
	f := o.Flags("bench/rip", usage, "one turn and one cut each")
	contenders := f.String("contenders", "vrouterd,frr,bird", "who takes part, separated by commas")
	f.IntVar(&o.Rounds, "rounds", 2, "rounds of A B C C B A")
	f.IntVar(&o.cuts, "cuts", 3, "link cuts a turn")
	f.IntVar(&o.routes, "routes", 10_000, "routes to absorb; at most 60000")
	if err := o.Parse(f, args); err != nil {
		return err
	}
	defer os.RemoveAll(o.Dir)
	o.contenders = strings.Split(*contenders, ",")
	if o.Rounds < 1 || o.cuts < 1 || o.routes < 1 || o.routes > 60_000 {
		return errors.New("-rounds and -cuts must be at least 1, -routes from 1 to 60000")
	}
	if o.Quick {
		o.cuts = 1
	}
	l := &lab{Site: site.New(ctx, o.Dir), ctx: ctx, dir: o.Dir}
	defer l.Close()
	began := time.Now()
	results := report.Results{}
	if err := o.Run(o.contenders, func(name string) error { return l.turn(name, o, results) }); err != nil {
		return err
	}
	return finish(ctx, o, began, results)
}

// turn takes all figures of one contender once, the cut o.cuts times.
func (l *lab) turn(name string, o options, results report.Results) error {
	note := func(figure string, value float64, unit string) {
		results.Add(name, figure, value)
		fmt.Fprintf(os.Stderr, "%-10s %-12s %8.3f %s\n", name, figure, value, unit)
	}
	c, err := l.newContender(name, topology{})
	if err != nil {
		return err
	}
	defer l.Close()
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
		if err := l.Rest(time.Duration(5+5*rand.Float64()) * time.Second); err != nil {
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
	l.Close()
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
		if err := l.Alive(); err != nil {
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
