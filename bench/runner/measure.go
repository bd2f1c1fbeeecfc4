package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"vrouterd/bench/internal/procfs"
)

// startRoutes is how many static routes a daemon has whose start and memory are measured.
const startRoutes = 100

// turn is what one turn of one contender gave: figures by key.
type turn map[string]float64

// figure is one line of the report.
type figure struct {
	key     string
	what    string
	unit    string
	lower   bool // lower is better
	decimal int
	plain   bool // shown beside its peer's, but a ratio would say nothing
}

// measurement is one way to load a site; it yields one or more figures.
type measurement struct {
	name    string
	fresh   bool // it starts and stops its own routers
	memory  bool // it needs none: a benchmark in memory
	figures []figure
	take    func(s *site, name string, o options) (turn, error)
}

func measurements() []measurement {
	return []measurement{
		{"tcp1", false, false, []figure{{"tcp1", "TCP, 1 stream", "Gbit/s", false, 2, false}},
			func(s *site, _ string, o options) (turn, error) { return takeTCP(s, o, 1) }},
		{"tcp4", false, false, []figure{{"tcp4", "TCP, 4 streams", "Gbit/s", false, 2, false}},
			func(s *site, _ string, o options) (turn, error) { return takeTCP(s, o, 4) }},
		{"pps", false, false, []figure{
			{"pps", "64 B UDP delivered", "kpps", false, 0, false},
			{"pps-offered", "64 B UDP offered", "kpps", false, 0, true},
			{"pps-loss", "64 B UDP lost of those", "%", true, 1, true},
			{"pps-sink", "64 B UDP that the sink was too slow for", "%", true, 1, true}},
			func(s *site, _ string, o options) (turn, error) { return takePPS(s, o, 0) }},
		{"rtt", false, false, []figure{
			{"rtt", "round trip, median", "us", true, 1, false},
			{"rtt99", "round trip, 99th percentile", "us", true, 1, false}}, takeRTT},
		{"cpu", false, false, []figure{
			{"cpu", "processor time a packet, machine", "ns", true, 0, false},
			{"cpu-router", "processor time a packet, router", "ns", true, 0, false}},
			func(s *site, _ string, o options) (turn, error) { return takePPS(s, o, o.rate) }},
		{"start", true, false, []figure{
			{"start", "start to first ping through", "ms", true, 1, false},
			{"start-ready", "start to ready", "ms", true, 1, false},
			{"rss", "resident memory, 100 routes", "MB", true, 1, false}}, takeStart},
		{"new", false, true, []figure{{"new", "a new session, without devices", "ns", true, 0, false}}, takeNew},
	}
}

// defaultMeasurements are those of a run in which nobody has chosen.
func defaultMeasurements(nat bool) []string {
	if nat {
		return []string{"tcp1", "pps", "new"}
	}
	return []string{"tcp1", "tcp4", "pps", "rtt", "cpu", "start"}
}

func measurementNames() (names []string) {
	for _, m := range measurements() {
		names = append(names, m.name)
	}
	return names
}

// series holds the turns of every contender for one measurement. Turns with
// the same index belong together: they stood next to each other in time.
type series struct {
	measurement measurement
	turns       map[string][]turn
}

// measureAll raises the sites and goes through the measurements.
func (l *lab) measureAll(o options, log io.Writer) ([]series, error) {
	sites := map[string]*site{}
	for _, name := range o.contenders {
		s, err := l.newSite(name)
		if err != nil {
			return nil, err
		}
		c, _ := newContender(name)
		if err := c.start(s, 0); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := c.ready(s); err != nil {
			return nil, fmt.Errorf("%s: %w%s", name, err, s.lastWords())
		}
		if err := s.firstPing(); err != nil {
			return nil, fmt.Errorf("%s: first ping: %w%s", name, err, s.lastWords())
		}
		if _, err := l.spawn("ip", "netns", "exec", s.b, "iperf3", "-s", "--bind", addressB); err != nil {
			return nil, err
		}
		sites[name] = s
	}

	var all []series
	for _, m := range measurements() {
		if !contains(o.only, m.name) {
			continue
		}
		var names []string
		for _, name := range o.contenders {
			if (!m.fresh || daemon(name)) && (!m.memory || newSessions(name) != "") {
				names = append(names, name)
			}
		}
		sr := series{m, map[string][]turn{}}
		for half := range 2 * o.rounds {
			for i := range names {
				name := names[i]
				if half%2 == 1 {
					name = names[len(names)-1-i]
				}
				t, err := m.take(sites[name], name, o)
				if l.ctx.Err() != nil {
					return nil, l.ctx.Err()
				}
				if err == nil && sites[name].router != nil {
					err = sites[name].router.alive()
				}
				if err != nil {
					return nil, fmt.Errorf("%s of %s, turn %d: %w", m.name, name, half+1, err)
				}
				sr.turns[name] = append(sr.turns[name], t)
				f := m.figures[0]
				fmt.Fprintf(log, "%-6s turn %d of %d  %-15s %s %s\n", m.name, half+1, 2*o.rounds, name, number(t[f.key], f.decimal), f.unit)
			}
		}
		all = append(all, sr)
	}
	return all, nil
}

// lastWords is what the router's log ends with, for an error message.
func (s *site) lastWords() string {
	if s.router == nil {
		return ""
	}
	if err := s.router.alive(); err != nil {
		return ": " + err.Error()
	}
	return ""
}

func takeTCP(s *site, o options, streams int) (turn, error) {
	// iperf3 takes whole seconds, or fractions only above a tenth.
	seconds := strconv.FormatFloat(o.turn.Seconds(), 'f', 1, 64)
	// iperf3's server needs a moment to begin to listen and, between two
	// clients, to be free again.
	var out []byte
	err := s.poll(func() (err error) {
		out, err = s.output(o.limit(), "ip", "netns", "exec", s.a, "iperf3", "-c", addressB, "-B", addressA,
			"-P", strconv.Itoa(streams), "-t", seconds, "-O", omit(o.turn), "-J")
		return err
	})
	if err != nil {
		return nil, err
	}
	bits, err := parseIperf(out)
	if err != nil {
		return nil, err
	}
	return turn{fmt.Sprintf("tcp%d", streams): bits / 1e9}, nil
}

// omit is the slow start that iperf3 shall not count: a second in a real turn, nothing in a smoke run.
func omit(length time.Duration) string {
	if length >= 5*time.Second {
		return "1"
	}
	return "0"
}

func takePPS(s *site, o options, rate int) (turn, error) {
	args := []string{"-from", s.a, "-to", s.b, "-dst", addressB, "-time", o.turn.String(), "-rate", strconv.Itoa(rate)}
	if s.router != nil {
		args = append(args, "-pid", strconv.Itoa(s.router.pid()))
	}
	out, err := s.output(o.limit(), filepath.Join(s.dir, "pps"), args...)
	if err != nil {
		return nil, err
	}
	r, err := parsePPS(out)
	if err != nil {
		return nil, err
	}
	if rate == 0 {
		return turn{"pps": r.PPS / 1e3, "pps-offered": r.SentPPS / 1e3, "pps-loss": r.Loss * 100,
			"pps-sink": float64(r.Dropped) / float64(r.Delivered+r.Dropped) * 100}, nil
	}
	t := turn{"cpu": r.Busy / float64(r.Delivered) * 1e9}
	if s.router != nil {
		t["cpu-router"] = r.Router / float64(r.Delivered) * 1e9
	}
	return t, nil
}

func takeRTT(s *site, _ string, o options) (turn, error) {
	out, err := s.output(o.limit(), filepath.Join(s.dir, "rtt"), "-netns", s.a, "-dst", addressB, "-time", o.turn.String())
	if err != nil {
		return nil, err
	}
	r, err := parseRTT(out)
	if err != nil {
		return nil, err
	}
	return turn{"rtt": r.Median, "rtt99": r.P99}, nil
}

// takeStart starts another instance in namespaces of its own, waits for the
// first ping through it and takes it down again.
func takeStart(near *site, name string, o options) (turn, error) {
	l := &lab{ctx: near.ctx, dir: near.dir, pid: near.pid}
	defer l.close()
	s, err := l.newSite(name + "-s")
	if err != nil {
		return nil, err
	}
	c, _ := newContender(name)
	began := time.Now()
	if err := c.start(s, startRoutes); err != nil {
		return nil, err
	}
	if err := s.firstPing(); err != nil {
		return nil, fmt.Errorf("first ping: %w%s", err, s.lastWords())
	}
	t := turn{"start": float64(time.Since(began).Microseconds()) / 1e3}
	if err := c.ready(s); err != nil {
		return nil, err
	}
	if ours(name) {
		t["start-ready"] = float64(time.Since(began).Microseconds()) / 1e3
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.router.pid()))
	if err != nil {
		return nil, err
	}
	rss, err := procfs.Resident(string(status))
	if err != nil {
		return nil, err
	}
	t["rss"] = float64(rss) / 1e6
	return t, nil
}
