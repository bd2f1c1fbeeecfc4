package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// prefix of every name that a test gives to something outside its own folder; the process
// number and a count follow.
const prefix = "vrt"

// labs counts the labs of this process.
var labs atomic.Int64

// lab is one test's world.
type lab struct {
	t     *testing.T
	id    string
	dir   string
	hosts map[string]*host
	wires *host // the daemons' own namespace, where bridges and cables are
	pcaps []string
}

// host is a network namespace.
type host struct {
	lab  *lab
	name string // as the test knows it
	ns   string // as `ip netns` knows it
}

// newLab makes a namespace for each name, and one for the wires. Each host's packets are
// recorded, and kept if the test fails.
func newLab(t *testing.T, names ...string) *lab {
	t.Helper()
	l := newUnwatchedLab(t, names...)
	for _, name := range names {
		l.record(l.hosts[name])
	}
	return l
}

// newUnwatchedLab is for tests that move much data or delete their namespaces: a
// recorder would cost time, and keep a deleted namespace alive.
func newUnwatchedLab(t *testing.T, names ...string) *lab {
	t.Helper()
	l := &lab{t: t, dir: t.TempDir(), hosts: map[string]*host{}, id: fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), labs.Add(1))}
	for _, name := range append([]string{"net"}, names...) {
		l.addHost(name)
	}
	l.wires = l.hosts["net"]
	t.Cleanup(l.keepArtifacts)
	return l
}

func (l *lab) addHost(name string) *host {
	l.t.Helper()
	h := &host{lab: l, name: name, ns: l.id + "-" + name}
	l.hosts[name] = h
	l.t.Cleanup(func() { removeNamespace(h.ns) })
	h.create()
	return h
}

// create makes the namespace, without IPv6: its neighbour discovery would stand among the
// packets and drops that tests count.
func (h *host) create() {
	h.lab.t.Helper()
	h.lab.must("flock", "/run", "ip", "netns", "add", h.ns)
	h.sysctl("net/ipv6/conf/all/disable_ipv6", "1")
	h.sysctl("net/ipv6/conf/default/disable_ipv6", "1")
	h.ip("link", "set", "lo", "up")
}

// removeNamespace ends what runs in a namespace and removes it.
func removeNamespace(ns string) {
	out, _ := exec.Command("ip", "netns", "pids", ns).Output()
	for _, field := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	exec.Command("ip", "netns", "del", ns).Run()
}

// must runs a command on the machine itself and fails the test if the command fails.
func (l *lab) must(args ...string) string {
	l.t.Helper()
	out, code := l.try(args...)
	if code != 0 {
		l.t.Fatalf("%s: exit status %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// try runs a command and returns what it printed, errors too, and its exit status.
func (l *lab) try(args ...string) (output string, code int) {
	l.t.Helper()
	stdout, stderr, code := l.tryApart(args...)
	return stdout + stderr, code
}

// tryApart is try with the two outputs apart.
func (l *lab) tryApart(args ...string) (stdout, stderr string, code int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stdout, c.Stderr = &out, &errs
	c.WaitDelay = 10 * time.Second // on a busy machine the last output may come late
	if err := c.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || ctx.Err() != nil {
			l.t.Fatalf("%s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
		}
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code
}

// inside is the command line that runs args in the namespace.
func (h *host) inside(args ...string) []string {
	return append([]string{"nsenter", "--net=/run/netns/" + h.ns}, args...)
}

// run runs a command on the host and fails the test if the command fails.
func (h *host) run(args ...string) string {
	h.lab.t.Helper()
	return h.lab.must(h.inside(args...)...)
}

// try runs a command on the host.
func (h *host) try(args ...string) (output string, code int) {
	h.lab.t.Helper()
	return h.lab.try(h.inside(args...)...)
}

// shell runs a script on the host and fails the test if it fails.
func (h *host) shell(script string) string {
	h.lab.t.Helper()
	return h.run("bash", "-euc", script)
}

// ip runs `ip` for the host.
func (h *host) ip(args ...string) string {
	h.lab.t.Helper()
	return h.lab.must(append([]string{"ip", "-n", h.ns}, args...)...)
}

// sysctl sets one of the host's kernel settings.
func (h *host) sysctl(path, value string) {
	h.lab.t.Helper()
	h.shell("if [ -e /proc/sys/" + path + " ]; then echo " + value + " >/proc/sys/" + path + "; fi")
}

// ping sends a few echo requests, which must all be answered.
func (h *host) ping(address string, options ...string) string {
	h.lab.t.Helper()
	args := append([]string{"ping", "-n", "-c", "3", "-i", "0.05", "-W", "3"}, options...)
	return h.run(append(args, address)...)
}

// pingFails sends one echo request, which must not be answered, and returns what ping says.
func (h *host) pingFails(address string, options ...string) string {
	h.lab.t.Helper()
	args := append([]string{"ping", "-n", "-c", "1", "-W", "5"}, options...)
	out, code := h.try(append(args, address)...)
	if code == 0 {
		h.lab.t.Fatalf("ping %s from %s: expected no answer, got one\n%s", address, h.name, out)
	}
	return out
}

// plug cables eth0 of the host into a bridge of the wires.
func (h *host) plug(bridge, address, gateway string) {
	h.lab.t.Helper()
	w := h.lab.wires
	w.ip("link", "add", h.name, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
	w.ip("link", "set", h.name, "master", bridge, "up")
	h.ip("addr", "add", address, "dev", "eth0")
	h.ip("link", "set", "eth0", "up")
	if gateway != "" {
		h.ip("route", "add", "default", "via", gateway)
	}
}

// process is a command that runs on while the test does other things.
type process struct {
	lab    *lab
	title  string
	cmd    *exec.Cmd
	output bytes.Buffer
	done   chan struct{}
}

// start runs a command on the host in the background; it is killed when the test ends.
func (h *host) start(args ...string) *process {
	h.lab.t.Helper()
	return h.lab.start(h.inside(args...)...)
}

func (l *lab) start(args ...string) *process {
	l.t.Helper()
	p := &process{lab: l, title: strings.Join(args, " "), cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		l.t.Fatalf("%s: %v", p.title, err)
	}
	go func() { defer close(p.done); p.cmd.Wait() }()
	l.t.Cleanup(func() { p.cmd.Process.Kill(); <-p.done })
	return p
}

// wait waits for the end of the command and returns what it printed.
func (p *process) wait(limit time.Duration) string {
	p.lab.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.lab.t.Fatalf("%s: still running after %v", p.title, limit)
	}
	return p.output.String()
}

// stop ends the command as Ctrl-C does.
func (p *process) stop() string {
	p.lab.t.Helper()
	p.cmd.Process.Signal(os.Interrupt)
	return p.wait(10 * time.Second)
}

// record keeps the host's packets in a pcap, the first 200 octets of at most 20,000.
func (l *lab) record(h *host) {
	file := filepath.Join(l.dir, h.name+".pcap")
	l.pcaps = append(l.pcaps, file)
	h.start("tcpdump", "-i", "any", "-s", "200", "-c", "20000", "-U", "-Z", "root", "-w", file)
}

// keepArtifacts puts the pcaps of a failed test where they outlive it.
func (l *lab) keepArtifacts() {
	if !l.t.Failed() || len(l.pcaps) == 0 {
		return
	}
	dir := os.Getenv("VROUTERD_TEST_ARTIFACTS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "vrouterd-test-artifacts")
	}
	dir = filepath.Join(dir, strings.ReplaceAll(l.t.Name(), "/", "_"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Log(err)
		return
	}
	for _, file := range l.pcaps {
		if err := copyFile(filepath.Join(dir, filepath.Base(file)), file); err != nil {
			l.t.Log(err)
		}
	}
	l.t.Logf("the packets that each host saw are kept in %s", dir)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// eventually polls until the condition holds, that is, returns nil.
func eventually(t *testing.T, limit time.Duration, what string, condition func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); ; <-tick.C {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
	}
}

// expect fails the test unless the text has every one of the pieces.
func expect(t *testing.T, text string, pieces ...string) {
	t.Helper()
	for _, piece := range pieces {
		if !strings.Contains(text, piece) {
			t.Fatalf("expected %q in:\n%s", piece, text)
		}
	}
}

// contains is an error unless the text has the piece; for eventually.
func contains(text, piece string) error {
	if !strings.Contains(text, piece) {
		return fmt.Errorf("no %q in %q", piece, text)
	}
	return nil
}
