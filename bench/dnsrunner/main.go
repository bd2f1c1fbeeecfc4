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
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"vrouterd/bench/internal/report"
	"vrouterd/bench/internal/site"
	"vrouterd/bench/internal/turns"
)

type options struct {
	turns.Options
	names   int
	seconds int
	rate    int
}

func main() { turns.Main("bench/dns", run) }

const usage = `Usage: bench/dns [flags]

Measures cached answers of DNS: vrouterd beside dnsmasq, under dnsperf, with the same names
and in the same place between a client and an upstream. Appends a row to bench/RESULTS.md.
Needs root, /dev/net/tun, dnsmasq and dnsperf. Makes namespaces vrb-PID-* and removes them.

Flags:
`

func run(ctx context.Context, args []string) error {
	var o options
	f := o.Flags("bench/dns", usage, "one turn of a second each")
	f.IntVar(&o.Rounds, "rounds", 3, "rounds of A B B A")
	f.IntVar(&o.names, "names", 1000, "names that are asked for; at most 9000, which fit either cache")
	f.IntVar(&o.seconds, "seconds", 5, "of each measurement")
	f.IntVar(&o.rate, "rate", 5000, "questions a second for the latency")
	if err := o.Parse(f, args); err != nil {
		return err
	}
	defer os.RemoveAll(o.Dir)
	if o.Rounds < 1 || o.seconds < 1 || o.rate < 1 || o.names < 1 || o.names > 9000 {
		return errors.New("-rounds, -seconds and -rate must be at least 1, -names from 1 to 9000")
	}
	if o.Quick {
		o.seconds = 1
	}
	if err := writeNames(o); err != nil {
		return err
	}
	s := site.New(ctx, o.Dir)
	defer s.Close()
	others, err := report.OthersBusy(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	results := report.Results{}
	if err := o.Run([]string{"vrouterd", "dnsmasq"}, func(name string) error { return turn(s, name, o, results) }); err != nil {
		return err
	}
	return finish(ctx, o, began, others, results)
}

// questions and hosts are the files that dnsperf and the upstream read.
func (o options) questions() string { return filepath.Join(o.Dir, "questions") }
func (o options) hosts() string     { return filepath.Join(o.Dir, "hosts") }

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

// turn takes all figures of one contender.
func turn(s *site.Site, name string, o options, results report.Results) error {
	s.Turn()
	defer s.Close()
	note := func(figure string, value float64, unit string) {
		results.Add(name, figure, value)
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
	before, err := site.ProcessorTime(p.server)
	if err != nil {
		return err
	}
	fast, err := ask(s, p.client, o, "-l", seconds, "-c", "4", "-q", "100")
	if err != nil {
		return err
	}
	after, err := site.ProcessorTime(p.server)
	if err != nil {
		return err
	}
	note("answers", float64(fast.answered)/fast.seconds, "a second")
	note("processor", (after-before).Seconds()*1e6/float64(max(fast.answered, 1)), "us an answer")
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
