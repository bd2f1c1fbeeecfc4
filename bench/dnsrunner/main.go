// Command dnsrunner is what bench/dns starts: cached answers of vrouterd's DNS beside those of dnsmasq.
//
//	client namespace (dnsperf) --- the contender --- upstream namespace (a dnsmasq that knows the names)
//
// dnsmasq has a namespace of its own and veth pairs to both; vrouterd has a TAP in either. A turn starts the contender, has
// each name asked until it is answered, and takes the upstream away: what is answered from then on comes from the
// cache. Then dnsperf asks as fast as it is answered, which gives answers a second and the server's processor time for each, and at a rate that both bear with ease, which
// gives the latency. Turns go A B B A.
//
// The files: main.go (the run), contenders.go (what is measured), report.go (table and row).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"vrouterd/bench/internal/site"
)

type options struct {
	dir     string
	rounds  int
	names   int
	seconds int
	rate    int
	quick   bool
	results string
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
		fmt.Fprintln(os.Stderr, "bench/dns: interrupted; nothing is written")
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "bench/dns:", err)
		os.Exit(1)
	}
}

const usage = `Usage: bench/dns [flags]

Measures cached answers of DNS: vrouterd beside dnsmasq, under dnsperf, with the same names
and in the same place between a client and an upstream. Appends a row to bench/RESULTS.md.
Needs root, /dev/net/tun, dnsmasq and dnsperf. Makes namespaces vrb-PID-* and removes them.

Flags:
`

func run(ctx context.Context, args []string) error {
	var o options
	f := flag.NewFlagSet("bench/dns", flag.ContinueOnError)
	f.Usage = func() { fmt.Fprint(f.Output(), usage); f.PrintDefaults() }
	f.IntVar(&o.rounds, "rounds", 3, "rounds of A B B A")
	f.IntVar(&o.names, "names", 1000, "names that are asked for; at most 9000, which fit either cache")
	f.IntVar(&o.seconds, "seconds", 5, "of each measurement")
	f.IntVar(&o.rate, "rate", 5000, "questions a second for the latency")
	f.BoolVar(&o.quick, "quick", false, "a smoke run: one turn of a second each; writes no row")
	f.StringVar(&o.results, "results", "bench/RESULTS.md", "file to append the row to; empty: none")
	f.StringVar(&o.dir, "dir", "", "directory with the binaries, removed at the end; bench/dns gives it")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.dir == "" {
		return errors.New("start it by bench/dns, which builds what it needs")
	}
	defer os.RemoveAll(o.dir)
	if o.rounds < 1 || o.seconds < 1 || o.rate < 1 || o.names < 1 || o.names > 9000 {
		return errors.New("-rounds, -seconds and -rate must be at least 1, -names from 1 to 9000")
	}
	order := []string{"vrouterd", "dnsmasq", "dnsmasq", "vrouterd"}
	if o.quick {
		o.rounds, o.seconds, order = 1, 1, order[:2]
	}
	if err := writeNames(o); err != nil {
		return err
	}
	s := site.New(ctx, os.Getpid())
	defer s.Close()
	others, err := site.OthersBusy(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	results := map[string]figures{}
	for range o.rounds {
		for _, name := range order {
			if err := turn(s, name, o, results); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return report(ctx, o, began, others, results)
}

// questions and hosts are the files that dnsperf and the upstream read.
func (o options) questions() string { return filepath.Join(o.dir, "questions") }
func (o options) hosts() string     { return filepath.Join(o.dir, "hosts") }

func writeNames(o options) error {
	var questions, hosts strings.Builder
	for i := range o.names {
		name := fmt.Sprintf("host%04d.lab.example", i)
		fmt.Fprintf(&questions, "%s A\n", name)
		fmt.Fprintf(&hosts, "198.51.%d.%d %s\n", 100+i/250, 1+i%250, name)
	}
	if err := os.WriteFile(o.questions(), []byte(questions.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(o.hosts(), []byte(hosts.String()), 0o644)
}

// figures are a contender's, by name, in the order of the turns.
type figures map[string][]float64

// turn takes all figures of one contender.
func turn(s *site.Site, name string, o options, results map[string]figures) error {
	s.Turn()
	defer s.Close()
	if results[name] == nil {
		results[name] = figures{}
	}
	note := func(figure string, value float64, unit string) {
		results[name][figure] = append(results[name][figure], value)
		fmt.Fprintf(os.Stderr, "%-10s %-10s %10.1f %s\n", name, figure, value, unit)
	}
	p, err := start(s, name, o)
	if err != nil {
		return err
	}
	// Each name in turn until all are answered: a question may be lost while the daemons start.
	warm := func() error {
		r, err := ask(s, p.client, o, "-n", "1", "-q", "20", "-t", "1")
		if err == nil && r.answered != o.names {
			err = fmt.Errorf("%d of %d names answered", r.answered, o.names)
		}
		return err
	}
	if err := s.Until("every name is answered", warm); err != nil {
		return err
	}
	s.Stop(p.upstream)
	seconds := strconv.Itoa(o.seconds)
	before, err := p.server.ProcessorTime()
	if err != nil {
		return err
	}
	fast, err := ask(s, p.client, o, "-l", seconds, "-c", "4", "-q", "100")
	if err != nil {
		return err
	}
	after, err := p.server.ProcessorTime()
	if err != nil {
		return err
	}
	note("answers", float64(fast.answered)/fast.seconds, "a second")
	note("processor", (after-before)*1e6/float64(max(fast.answered, 1)), "us an answer")
	slow, err := ask(s, p.client, o, "-l", seconds, "-c", "4", "-Q", strconv.Itoa(o.rate))
	if err != nil {
		return err
	}
	note("latency", slow.latency*1e6, "us")
	for _, r := range []result{fast, slow} {
		if r.sent > r.answered+r.sent/1000 {
			return fmt.Errorf("of %d questions only %d were answered: that was not from the cache", r.sent, r.answered)
		}
	}
	return nil
}

// result is what dnsperf says.
type result struct {
	sent, answered   int     // answered without an error
	seconds, latency float64 // of the run; the mean
}

var said = map[string]*regexp.Regexp{
	"sent":     regexp.MustCompile(`Queries sent:\s+(\d+)`),
	"answered": regexp.MustCompile(`NOERROR (\d+)`),
	"seconds":  regexp.MustCompile(`Run time \(s\):\s+([\d.]+)`),
	"latency":  regexp.MustCompile(`Average Latency \(s\):\s+([\d.]+)`),
}

// ask runs dnsperf in the client's namespace.
func ask(s *site.Site, client string, o options, args ...string) (r result, err error) {
	if err := s.Alive(); err != nil {
		return r, err
	}
	text, err := s.Run(client, "dnsperf", append([]string{"-s", "10.9.9.1", "-d", o.questions()}, args...)...)
	if err != nil {
		return r, err
	}
	number := func(key string) (v float64) {
		if m := said[key].FindStringSubmatch(text); m != nil {
			v, _ = strconv.ParseFloat(m[1], 64)
		}
		return v
	}
	r = result{sent: int(number("sent")), answered: int(number("answered")), seconds: number("seconds"), latency: number("latency")}
	if r.sent == 0 || r.seconds == 0 {
		return r, fmt.Errorf("dnsperf has asked nothing: %s", strings.TrimSpace(text))
	}
	return r, nil
}
