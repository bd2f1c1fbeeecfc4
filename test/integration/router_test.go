package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// router is a vrouterd process.
type router struct {
	lab      *lab
	name     string // as the test knows it
	instance string
	file     string // its configuration
	logFile  string
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the process is gone
}

// twoHosts is a router between h1 (10.1.0.2) and h2 (10.2.0.2), each of which has the kernel
// end of a TAP port as its only network card.
const twoHosts = `
ports:
  lan1:
    netns: {h1}
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  lan2:
    netns: {h2}
    device: eth0
    address: 10.2.0.1/24
    host: {address: 10.2.0.2/24, gateway: 10.2.0.1}
`

// unlimited lifts the limits of ICMP errors, for tests that cause many.
const unlimited = `
icmp: {rate: 0, per_destination: 0}
`

// fill puts the lab's names into a configuration: {h1} is the namespace of host h1.
func (l *lab) fill(yaml string) string {
	l.t.Helper()
	filled := regexp.MustCompile(`\{[a-z][a-z0-9]*\}`).ReplaceAllStringFunc(yaml, func(name string) string {
		h := l.hosts[strings.Trim(name, "{}")]
		if h == nil {
			l.t.Fatalf("the configuration names host %s, which the lab does not have", name)
		}
		return h.ns
	})
	return filled
}

// router starts vrouterd with a configuration (without its name) and waits until it
// forwards. When the test ends it is stopped, and has to stop well.
func (l *lab) router(name, yaml string) *router {
	l.t.Helper()
	r := &router{lab: l, name: name, instance: l.id + "-" + name}
	r.file = filepath.Join(l.dir, name+".yaml")
	r.logFile = filepath.Join(l.dir, name+".log")
	r.write(yaml)
	l.t.Cleanup(func() {
		if l.t.Failed() {
			r.dump()
		}
		r.stop()
	})
	r.start()
	r.ready()
	return r
}

// write puts another configuration into the router's file.
func (r *router) write(yaml string) {
	r.lab.t.Helper()
	if err := os.WriteFile(r.file, []byte("name: "+r.instance+"\n"+r.lab.fill(yaml)), 0o644); err != nil {
		r.lab.t.Fatal(err)
	}
}

// start runs the daemon, inside the namespace of the wires.
func (r *router) start() {
	r.lab.t.Helper()
	logFile, err := os.OpenFile(r.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		r.lab.t.Fatal(err)
	}
	defer logFile.Close()
	args := r.lab.wires.inside(filepath.Join(binaries, "vrouterd"), "-c", r.file, "--state-dir", filepath.Join(r.lab.dir, "history"))
	r.cmd = exec.Command(args[0], args[1:]...)
	r.cmd.Stdout, r.cmd.Stderr = logFile, logFile
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		r.lab.t.Fatal(err)
	}
	r.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { defer close(ended); cmd.Wait() }(r.cmd, r.ended)
}

// ready waits until the router says that it forwards.
func (r *router) ready() {
	r.lab.t.Helper()
	eventually(r.lab.t, 20*time.Second, "router "+r.name+" ready", func() error {
		if !r.running() {
			r.lab.t.Fatalf("vrouterd %s ended instead of starting:\n%s", r.name, r.log())
		}
		if out, code := r.try("wait", "ready", "--timeout", "1s"); code != 0 {
			return fmt.Errorf("vrctl wait ready: exit status %d: %s", code, out)
		}
		return nil
	})
}

func (r *router) running() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

func (r *router) log() string {
	text, _ := os.ReadFile(r.logFile)
	return string(text)
}

func (r *router) socket() string { return "/run/vrouterd/" + r.instance + ".sock" }

// stop ends the router with SIGTERM: it has to go within ten seconds, with status 0, and
// take its socket along.
func (r *router) stop() {
	r.lab.t.Helper()
	if !r.running() {
		os.Remove(r.socket()) // a killed router cannot
		return
	}
	r.signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		r.signal(syscall.SIGQUIT) // the goroutines go to the log
		<-r.ended
		r.lab.t.Errorf("vrouterd %s did not stop within 10 s of SIGTERM:\n%s", r.name, r.log())
		return
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		r.lab.t.Errorf("vrouterd %s: expected exit status 0 after SIGTERM, got %v\n%s", r.name, r.cmd.ProcessState, r.log())
	}
	if _, err := os.Stat(r.socket()); !errors.Is(err, os.ErrNotExist) {
		r.lab.t.Errorf("vrouterd %s left its socket %s behind", r.name, r.socket())
	}
}

// kill ends the router as a power cut does.
func (r *router) kill() {
	r.signal(syscall.SIGKILL)
	<-r.ended
}

func (r *router) signal(s syscall.Signal) { r.cmd.Process.Signal(s) }

// ctl runs vrctl, which has to succeed, and returns what it prints.
func (r *router) ctl(args ...string) string {
	r.lab.t.Helper()
	return r.lab.must(r.vrctl(args...)...)
}

// try runs vrctl and returns what it prints, errors too, and its exit status.
func (r *router) try(args ...string) (output string, code int) {
	r.lab.t.Helper()
	return r.lab.try(r.vrctl(args...)...)
}

func (r *router) vrctl(args ...string) []string {
	return append([]string{filepath.Join(binaries, "vrctl"), "-n", r.instance}, args...)
}

// row is an object of a table, as --json prints it.
type row map[string]any

// rows are what `vrctl --json show NOUN` prints.
func (r *router) rows(noun ...string) []row {
	r.lab.t.Helper()
	// What is said beside the rows, such as that there are more, stands on stderr.
	text, complaint, code := r.lab.tryApart(r.vrctl(append([]string{"--json", "show"}, noun...)...)...)
	if code != 0 {
		r.lab.t.Fatalf("vrctl --json show %s: exit status %d: %s%s", strings.Join(noun, " "), code, text, complaint)
	}
	var all []row
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		r.lab.t.Fatalf("vrctl --json show %s: %v in\n%s", strings.Join(noun, " "), err, text)
	}
	return all
}

// find is the row in which every given key has its value; nil if there is none.
func find(rows []row, keysAndValues ...string) row {
next:
	for _, candidate := range rows {
		for i := 0; i < len(keysAndValues); i += 2 {
			if fmt.Sprint(candidate[keysAndValues[i]]) != keysAndValues[i+1] {
				continue next
			}
		}
		return candidate
	}
	return nil
}

// neighbor is the state of a neighbour; "" if it is not known.
func (r *router) neighbor(address string) string {
	r.lab.t.Helper()
	if n := find(r.rows("neighbors"), "address", address); n != nil {
		return fmt.Sprint(n["state"])
	}
	return ""
}

// drops are the packets dropped for reasons in whose name one of the words stands.
func (r *router) drops(words ...string) (sum int) {
	r.lab.t.Helper()
	for _, d := range r.rows("drops") {
		for _, word := range words {
			if strings.Contains(fmt.Sprint(d["reason"]), word) {
				packets, _ := d["packets"].(float64)
				sum += int(packets)
				break
			}
		}
	}
	return sum
}

// portUp waits until a port is up, or down.
func (r *router) portUp(name string, up bool) {
	r.lab.t.Helper()
	eventually(r.lab.t, 10*time.Second, fmt.Sprintf("port %s of %s up=%v", name, r.name, up), func() error {
		p := find(r.rows("ports"), "name", name)
		if p == nil {
			return fmt.Errorf("there is no such port")
		}
		if p["up"] != up {
			return fmt.Errorf("it is %v", p)
		}
		return nil
	})
}

// dump prints everything that the router can tell, for a failed test.
func (r *router) dump() {
	r.lab.t.Logf("==== configuration of %s\n%s", r.name, firstLines(readText(r.file), 60))
	if r.running() {
		for _, noun := range []string{"status", "ports", "routes", "fib", "neighbors", "drops", "counters", "events"} {
			out, _ := exec.Command(r.vrctl("show", noun)[0], r.vrctl("show", noun)[1:]...).CombinedOutput()
			r.lab.t.Logf("==== %s: vrctl show %s\n%s", r.name, noun, firstLines(string(out), 60))
		}
	}
	r.lab.t.Logf("==== log of %s\n%s", r.name, firstLines(r.log(), 200))
}

func readText(file string) string {
	text, _ := os.ReadFile(file)
	return string(text)
}

func firstLines(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) <= n {
		return text
	}
	return strings.Join(lines[:n], "") + fmt.Sprintf("… and %d lines more\n", len(lines)-n)
}

// chain is three routers in a row between h1 (10.1.0.2) and h2 (10.4.0.2).
func chain(t *testing.T, l *lab) (r1, r2, r3 *router) {
	t.Helper()
	r1 = l.router("r1", unlimited+`
ports:
  lan:
    netns: {h1}
    device: eth0
    address: 10.1.0.1/24
    host: {address: 10.1.0.2/24, gateway: 10.1.0.1}
  up: {netns: {net}, device: r1-up, bridge: br12, address: 10.0.12.1/30}
routes:
  - {to: default, via: 10.0.12.2}
`)
	r2 = l.router("r2", unlimited+`
ports:
  down: {netns: {net}, device: r2-down, bridge: br12, address: 10.0.12.2/30}
  up: {netns: {net}, device: r2-up, bridge: br23, address: 10.0.23.1/30}
routes:
  - {to: 10.1.0.0/24, via: 10.0.12.1}
  - {to: 10.4.0.0/24, via: 10.0.23.2}
`)
	r3 = l.router("r3", unlimited+`
ports:
  down: {netns: {net}, device: r3-down, bridge: br23, address: 10.0.23.2/30}
  lan:
    netns: {h2}
    device: eth0
    address: 10.4.0.1/24
    host: {address: 10.4.0.2/24, gateway: 10.4.0.1}
routes:
  - {to: default, via: 10.0.23.1}
`)
	return r1, r2, r3
}
