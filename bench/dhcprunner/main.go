// Command dhcprunner is what bench/dhcp starts: the DHCP server of vrouterd beside dnsmasq and Kea.
//
// Each contender serves one network of a million addresses at a switch, and perfdhcp of the Kea project, at the same
// switch, plays a relay agent there, as it always does. Every exchange is one of four messages by a client that nobody has seen before. Turns
// go A B C C B A.
//
// Two figures. Leases a second: the rate is raised until more than one exchange in a hundred is not complete a second after its message; what counts is
// the greatest rate that was held. perfdhcp itself is a limit: its socket has room for some hundred answers, and it cannot send more than one
// processor bears. Answers lost there are counted, and are no failure of the server; a rate that it cannot send is not tried further, but the rates below are. It runs
// with one thread: with two, the one that sends leaves the one that listens too little of two processors (it lost half of the answers of any server at rates that it hears whole with one). Every trial has a server that has just been started, with no leases. And the time from DISCOVER to ACK at a moderate rate that
// everybody holds.
//
// Leases are on disk in all three, each as its makers have it: vrouterd and dnsmasq have them written through before the ACK leaves, Kea
// writes its file and does not wait for the disk. vrouterd and dnsmasq do not ask whether an address is in use, as
// Kea never does; the contenders vrouterd-probe and dnsmasq-ping do, which is the default of both.
//
// The files: main.go (the run), servers.go (the contenders), perfdhcp.go (the generator), report.go (table and row).
package main

import (
	"context"
	"errors"
	"fmt"
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
	seconds    int
	steps      int
	moderate   int
	ceiling    int
}

func main() { turns.Main("bench/dhcp", run) }

const usage = `Usage: bench/dhcp [flags]

Measures the DHCP server of vrouterd beside dnsmasq and Kea with perfdhcp: the greatest rate of
leases that is held, and the time from DISCOVER to ACK at a moderate rate. Appends a row to
bench/RESULTS.md. Needs root, /dev/net/tun, dnsmasq, kea-dhcp4-server and kea-admin. Makes namespaces
vrb-PID-* and removes them.

Contenders: vrouterd, dnsmasq, kea; vrouterd-probe and dnsmasq-ping ask whether an address is in use
before they offer it.

Flags:
`

func run(ctx context.Context, args []string) error {
	var o options
	f := o.Flags("bench/dhcp", usage, "one turn of short trials each")
	contenders := f.String("contenders", "vrouterd,dnsmasq,kea", "who takes part, separated by commas")
	f.IntVar(&o.Rounds, "rounds", 2, "rounds of A B C C B A")
	f.IntVar(&o.seconds, "seconds", 4, "length of a trial")
	f.IntVar(&o.steps, "steps", 3, "steps by which the greatest rate is narrowed down after it was doubled")
	f.IntVar(&o.moderate, "moderate", 200, "the moderate rate, in exchanges a second")
	f.IntVar(&o.ceiling, "ceiling", 64_000, "the greatest rate that is tried")
	if err := o.Parse(f, args); err != nil {
		return err
	}
	defer os.RemoveAll(o.Dir)
	o.contenders = strings.Split(*contenders, ",")
	if o.Rounds < 1 || o.seconds < 1 || o.steps < 0 || o.moderate < 1 || o.ceiling < 1000 {
		return errors.New("-rounds, -seconds and -moderate must be at least 1, -steps at least 0, -ceiling at least 1000")
	}
	if o.Quick {
		o.seconds, o.steps, o.ceiling = 1, 0, 4000
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

// turn takes all figures of one contender once.
func (l *lab) turn(name string, o options, results report.Results) error {
	note := func(figure string, value float64, unit string) {
		results.Add(name, figure, value)
		fmt.Fprintf(os.Stderr, "%-14s %-10s %9.3f %s\n", name, figure, value, unit)
	}
	defer l.Close()
	t, err := l.trial(name, o.moderate, o.seconds, true)
	if err != nil {
		return err
	}
	note("median", t.delay(0.5).Seconds()*1000, "ms")
	note("p99", t.delay(0.99).Seconds()*1000, "ms")
	note("processor", t.processor.Seconds()*1e6/float64(max(t.complete, 1)), "us")
	rate, bound, err := l.greatest(name, o)
	if err != nil {
		return err
	}
	note("rate", rate, "leases/s")
	limit := 0.0
	if bound {
		limit = 1
		fmt.Fprintf(os.Stderr, "%-14s %s\n", name, "the generator, or the greatest rate allowed, was the limit")
	}
	results.Add(name, "bound", limit)
	return nil
}

// greatest looks for the greatest rate that a contender holds. Bound tells that it would have held more, but that the generator could not, or that
// the ceiling was met.
func (l *lab) greatest(name string, o options) (best float64, bound bool, err error) {
	low, high := 0, 0 // held; not held
	for rate := 1000; high == 0 && !bound || low == 0; {
		if rate < 10 {
			return 0, false, errors.New("it does not hold ten leases a second")
		}
		held, spent, err := l.holds(name, rate, o, &best)
		if err != nil {
			return 0, false, err
		}
		switch {
		case spent: // the server held what came; what the generator can ask for lies below
			bound, high = true, rate
			if low == 0 {
				rate /= 2
			}
		case held:
			low = rate
			if high == 0 && rate*2 > o.ceiling {
				bound = true
			}
			rate *= 2
		default:
			high = rate
			rate /= 2
		}
		if low > 0 && high > 0 {
			break
		}
	}
	for step := 0; step < o.steps && high > 0; step++ {
		rate := (low + high) / 2
		held, spent, err := l.holds(name, rate, o, &best)
		if err != nil {
			return 0, false, err
		}
		if held && !spent {
			low = rate
		} else {
			high, bound = rate, spent
		}
	}
	return best, bound, nil
}

// holds tries a rate, and tells whether it was held, and whether the generator itself was spent. Best is raised to the leases that were given a second.
// What fails is tried once more: other work on the machine is not to decide. Answers that perfdhcp's own socket had no room for are no
// failure of the server.
func (l *lab) holds(name string, rate int, o options, best *float64) (held, spent bool, err error) {
	for tries := 0; tries < 2 && !held; tries++ {
		t, err := l.trial(name, rate, o.seconds, false)
		if err != nil {
			return false, false, fmt.Errorf("%d a second: %w", rate, err)
		}
		held = t.held()
		spent = float64(t.sent) < 0.95*float64(rate*o.seconds)
		fmt.Fprintf(os.Stderr, "%-14s %d a second: %d sent, %d complete, %d that the generator did not hear\n", name, rate, t.sent, t.complete, t.deaf)
		if held {
			*best = max(*best, float64(t.given())/float64(o.seconds))
		}
	}
	return held, spent && held, nil
}
