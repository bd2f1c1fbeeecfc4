// Package turns runs a benchmark that measures contenders in turns, there and back (A B C C B A), so that a machine that slowly gets faster or
// slower favours nobody. It has what such programs have in common: signals, flags, the order.
package turns

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// Options are those of every benchmark.
type Options struct {
	Dir     string // with the binaries, removed at the end
	Rounds  int
	Quick   bool   // one turn each, and no row
	Results string // the file to append the row to; "": none
}

// Main runs a benchmark, until it ends or a signal comes, and exits with 1 when it fails. It is the whole of a program's main function.
func Main(name string, run func(ctx context.Context, args []string) error) {
	// Children die with the thread that started them; the main thread lives as long as the process.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:])
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintf(os.Stderr, "%s: interrupted; nothing is written\n", name)
		os.Exit(1)
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Flags are those of every benchmark; a program adds its own, -rounds among them, and has them read by Parse.
func (o *Options) Flags(name, usage, quick string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.Usage = func() { fmt.Fprint(f.Output(), usage); f.PrintDefaults() }
	f.BoolVar(&o.Quick, "quick", false, "a smoke run: "+quick+"; writes no row")
	f.StringVar(&o.Results, "results", "bench/RESULTS.md", "file to append the row to; empty: none")
	f.StringVar(&o.Dir, "dir", "", "directory with the binaries, removed at the end; "+name+" gives it")
	return f
}

// Parse reads the arguments. From then on the caller removes Dir.
func (o *Options) Parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.Dir == "" {
		return fmt.Errorf("start it by %s, which builds what it needs", f.Name())
	}
	if o.Quick {
		o.Rounds, o.Results = 1, ""
	}
	return nil
}

// Run has each contender take its turns: there and back in every round; a quick run does not come back.
func (o *Options) Run(contenders []string, turn func(name string) error) error {
	order := contenders
	if !o.Quick {
		for i := len(contenders) - 1; i >= 0; i-- {
			order = append(order[:len(order):len(order)], contenders[i])
		}
	}
	for range o.Rounds {
		for _, name := range order {
			if err := turn(name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}
