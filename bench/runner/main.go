// Command runner is what bench/run starts: it measures vrouterd against other
// IPv4 routers on the same machine, in one run.
//
//	host A (own namespace) --- router --- host B (own namespace)
//
// Every contender gets its own pair of host namespaces and stays up for the
// whole run. A measurement goes round the contenders and then back the other
// way (A B B A), a turn each, so that a machine that slowly gets faster or slower favours
// nobody. Each turn of vrouterd is divided by the peer's turn of the same
// half-round; what is printed is the median of these ratios with the least and
// the greatest. An absolute figure without its peer in the same run is not written.
//
// The files in the order in which they work: main.go (flags, the run),
// site.go (namespaces), contender.go (the routers), measure.go (the turns),
// parse.go (what iperf3 and the programs beside this one print), stats.go
// (medians, ratios), targets.go (what must be reached), report.go (the table and the
// row of RESULTS.md).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"vrouterd/bench/internal/report"
)

const usage = `Usage: bench/run [flags]

Measures vrouterd against other routers, in turns in one run, prints each figure
as a ratio to each peer and appends it to bench/RESULTS.md.

Needs root, /dev/net/tun, iproute2, iperf3 and nftables. Makes namespaces vrb-PID-*, removes
them at the end, and removes those of runs that were killed.

Measurements (-only):
  tcp1    TCP through the router, 1 stream, Gbit/s received (iperf3)
  tcp4    the same with 4 streams
  pps     64-octet UDP frames delivered a second, from a sender that floods; the loss
  rtt     round trip of a ping after a rest of 0.5 ms: median and 99th percentile
  cpu     processor time a delivered packet at a fixed rate, whole machine and router
  start   daemon start to first ping through and to ready; resident memory;
          with two ports and 100 static routes
  new     a new session through NAT and firewall, in memory: the router's own time
          (a benchmark of pkg/dataplane; with -nat only)

Contenders (-contenders):
  vrouterd        two TAP ports, offload: auto
  vrouterd-plain  the same with offload: off
  kernel          Linux, ip_forward=1 between two veth pairs
  gvisor          gVisor netstack forwarding between two TAPs (bench/gvisorfwd)

With -nat, host A is inside and host B outside; measurements are tcp1, pps and new:
  vrouterd            no NAT, no firewall: what vrouterd-nat is divided by
  vrouterd-nat        masquerade and firewall: home
  vrouterd-rules1000  masquerade and 1,000 rules that match nothing, divided by
  vrouterd-rules10    the same with 10 rules
  kernel-nft          Linux, nftables: masquerade, and a filter that accepts what is
                      established and what comes from A

Targets are printed as met or not met and do not change the exit code: 0 when
everything was measured, 1 when a measurement failed, 2 for wrong usage or a
machine that lacks something.

Flags:
`

type options struct {
	dir        string
	contenders []string
	only       []string
	turn       time.Duration
	rounds     int
	rate       int
	quick      bool
	nat        bool
	results    string
	write      bool
}

// limit is how long one turn's program may take in all.
func (o options) limit() time.Duration { return 2*o.turn + 15*time.Second }

// usageError is an error of the user's or of the machine's preparation: exit code 2.
type usageError struct{ error }

func main() {
	// Children are told to die with the thread that started them; the main
	// thread lives as long as the process.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	var wrong usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench/run: interrupted; nothing is written")
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "bench/run:", err)
		if errors.As(err, &wrong) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench/run", flag.ContinueOnError)
	f.SetOutput(os.Stderr)
	f.Usage = func() { fmt.Fprint(f.Output(), usage); f.PrintDefaults() }
	only := f.String("only", "", "measurements, separated by commas; default: all but new, with -nat tcp1, pps and new")
	contenders := f.String("contenders", "", "contenders, separated by commas; default: all of those above, without or with -nat")
	f.DurationVar(&o.turn, "turn", 5*time.Second, "length of one turn; shorter than 5s is for trying out and writes no row")
	f.IntVar(&o.rounds, "rounds", 2, "rounds of A B B A")
	f.IntVar(&o.rate, "rate", 50_000, "packets a second while processor time is measured")
	f.BoolVar(&o.quick, "quick", false, "a smoke run: turns of 1s, one round, tcp1, pps, rtt, start (with -nat all of its own); writes no row")
	f.BoolVar(&o.nat, "nat", false, "measure NAT and firewall instead of plain forwarding")
	f.StringVar(&o.results, "results", "bench/RESULTS.md", "file to append the row to; empty: none")
	f.StringVar(&o.dir, "dir", "", "directory for binaries, removed at the end; bench/run gives it")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	if f.NArg() > 0 {
		return o, usageError{fmt.Errorf("%q is not a flag; give a selection as -only %s", f.Arg(0), f.Arg(0))}
	}
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	o.only, o.contenders = defaultMeasurements(o.nat), defaultContenders(o.nat)
	if o.quick && !o.nat {
		o.only, o.contenders = []string{"tcp1", "pps", "rtt", "start"}, []string{"vrouterd", "kernel", "gvisor"}
	}
	if o.quick {
		if !set["turn"] {
			o.turn = time.Second
		}
		if !set["rounds"] {
			o.rounds = 1
		}
	}
	var err error
	if set["only"] {
		if o.only, err = choose("measurement", *only, measurementNames()); err != nil {
			return o, err
		}
	}
	if set["contenders"] {
		if o.contenders, err = choose("contender", *contenders, contenderNames()); err != nil {
			return o, err
		}
	}
	if o.turn < 200*time.Millisecond || o.rounds < 1 || o.rate < 1 {
		return o, usageError{errors.New("-turn must be at least 200ms, -rounds and -rate at least 1")}
	}
	o.write = !o.quick && o.turn >= 5*time.Second && o.results != ""
	return o, nil
}

// choose splits a list and checks every name against those known.
func choose(what, list string, known []string) ([]string, error) {
	var chosen []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if !contains(known, name) {
			return nil, usageError{fmt.Errorf("%q is not a %s; there are %s", name, what, strings.Join(known, ", "))}
		}
		if !contains(chosen, name) {
			chosen = append(chosen, name)
		}
	}
	return chosen, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parseFlags(args)
	if o.dir != "" {
		defer os.RemoveAll(o.dir)
	}
	if err != nil {
		return err
	}
	if err := checkMachine(); err != nil {
		return usageError{err}
	}
	if o.dir == "" {
		o.dir = filepath.Join(os.TempDir(), fmt.Sprintf("%s%d", dirPrefix, os.Getpid()))
		if err := os.MkdirAll(o.dir, 0o755); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	sweep(os.Stderr)
	if err := build(ctx, o); err != nil {
		return err
	}
	about := describeMachine(ctx)
	if about.others, err = report.OthersBusy(ctx); err != nil {
		return err
	}
	if about.others > 0.1 {
		fmt.Fprintf(os.Stderr, "bench/run: other processes keep %.1f of %d processors busy: expect a wide spread, and \"processor time, machine\" counts them too\n", about.others, about.cores)
	}

	l := &lab{ctx: ctx, dir: o.dir, pid: os.Getpid()}
	defer l.close()
	began := time.Now()
	results, err := l.measureAll(o, os.Stderr)
	if err != nil {
		return err
	}
	about.began, about.took = began, time.Since(began)
	about.turn, about.rounds, about.rate, about.nat = o.turn, o.rounds, o.rate, o.nat
	printTable(out, about, results)
	if !o.write {
		fmt.Fprintln(out, "\nA short run: no row is written.")
		return nil
	}
	block := resultsBlock(about, results)
	if block == "" {
		fmt.Fprintln(out, "\nNo contender and peer in this run: no row is written.")
		return nil
	}
	if err := appendResults(o.results, block); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nA row was appended to %s.\n", o.results)
	return nil
}

// checkMachine says everything that is missing in one go.
func checkMachine() error {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root is needed for network namespaces: run it with sudo")
	}
	for tool, pkg := range map[string]string{"ip": "iproute2", "iperf3": "iperf3", "nft": "nftables"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, fmt.Sprintf("%s is not installed: apt-get install %s", tool, pkg))
		}
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		missing = append(missing, fmt.Sprintf("/dev/net/tun cannot be opened (%v): modprobe tun, or give the container the device and CAP_NET_ADMIN", err))
	} else {
		f.Close()
	}
	if len(missing) > 0 {
		return errors.New(strings.Join(missing, "; "))
	}
	return nil
}

// build makes the binaries that the chosen contenders and measurements need.
func build(ctx context.Context, o options) error {
	packages := []string{"./bench/pps", "./bench/rtt"}
	for _, name := range o.contenders {
		c, _ := newContender(name)
		packages = append(packages, c.packages()...)
	}
	args := append([]string{"build", "-buildvcs=false", "-o", o.dir + "/"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, text)
	}
	return nil
}
