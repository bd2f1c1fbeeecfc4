package main

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
	"syscall"
	"time"
)

const (
	nsPrefix  = "vrb-"            // vrb-PID-CONTENDER-a, -b and -r
	dirPrefix = "vrouterd-bench-" // in the directory for temporary files, with the pid
	socketDir = "/run/vrouterd"   // where vrouterd puts bench-PID-CONTENDER.sock
)

// The addresses are the same for every contender.
const (
	addressA, gatewayA = "10.1.0.2", "10.1.0.1"
	addressB, gatewayB = "10.2.0.2", "10.2.0.1"
	mtu                = 1500
	queueLength        = 1000
)

// lab owns everything that a run leaves on the machine, to remove it again.
type lab struct {
	ctx        context.Context
	dir        string
	pid        int
	namespaces []string
	processes  []*process
}

// site is one contender with its two hosts.
type site struct {
	*lab
	tag    string // unique within the run
	a, b   string // the hosts' namespaces
	r      string // the router's namespace, "" if it has none
	router *process
}

// process is a child whose end is noticed.
type process struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{}
}

func (l *lab) newSite(tag string) (*site, error) {
	s := &site{lab: l, tag: tag}
	for _, host := range []struct {
		to   *string
		name string
	}{{&s.a, "a"}, {&s.b, "b"}} {
		ns, err := s.addNamespace(host.name)
		if err != nil {
			return nil, err
		}
		*host.to = ns
	}
	return s, nil
}

func (s *site) addNamespace(end string) (string, error) {
	ns := fmt.Sprintf("%s%d-%s-%s", nsPrefix, s.pid, s.tag, end)
	if err := s.ip("netns", "add", ns); err != nil {
		return "", err
	}
	s.namespaces = append(s.namespaces, ns)
	return ns, s.ip("-n", ns, "link", "set", "dev", "lo", "up")
}

// configureHosts gives both kernel ends address, route and queue length.
func (s *site) configureHosts() error {
	for _, h := range []struct{ ns, address, gateway string }{{s.a, addressA, gatewayA}, {s.b, addressB, gatewayB}} {
		for _, args := range [][]string{
			{"addr", "replace", h.address + "/24", "dev", "eth0"},
			{"link", "set", "dev", "eth0", "mtu", strconv.Itoa(mtu), "txqueuelen", strconv.Itoa(queueLength), "up"},
			{"route", "replace", "default", "via", h.gateway},
		} {
			if err := s.ip(append([]string{"-n", h.ns}, args...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lab) ip(args ...string) error {
	text, err := exec.CommandContext(l.ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	return nil
}

// spawn starts a program that dies with the runner, even when that is killed.
func (l *lab) spawn(name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), log: new(bytes.Buffer), done: make(chan struct{})}
	// A session of its own: Ctrl-C is for the runner, which ends its children in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	l.processes = append(l.processes, p)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// alive is nil while the process runs, else an error that holds its last words.
func (p *process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended: %v: %s", filepath.Base(p.cmd.Path), p.cmd.ProcessState, bytes.TrimSpace(p.log.Bytes()))
	default:
		return nil
	}
}

// stop asks the process to end and insists after three seconds.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// output runs a program to its end, which must come before the limit, and
// returns what it printed. iperf3 waits for ever when a router stops to forward.
func (l *lab) output(limit time.Duration, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	if err != nil && ctx.Err() != nil && l.ctx.Err() == nil {
		return nil, fmt.Errorf("%s did not end within %v: does the router still forward?", filepath.Base(name), limit)
	}
	if err != nil {
		// iperf3 -J says what went wrong in its JSON.
		return out, fmt.Errorf("%s %s: %w: %s%s", filepath.Base(name), strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()), iperfError(out))
	}
	return out, nil
}

// close ends the children, youngest first, and removes the namespaces. It is
// called also after an interrupt, so it must not use the run's context.
func (l *lab) close() {
	for i := len(l.processes) - 1; i >= 0; i-- {
		l.processes[i].stop()
	}
	for _, ns := range l.namespaces {
		exec.Command("ip", "netns", "del", ns).Run()
	}
	l.processes, l.namespaces = nil, nil
}

// sweep removes what runs have left that were killed: everything named after a
// process that is no more.
func sweep(log io.Writer) {
	remove := func(pattern, prefix string, f func(path string) error) {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			pid, ok := owner(filepath.Base(path), prefix)
			if !ok || errors.Is(syscall.Kill(pid, 0), nil) {
				continue
			}
			if err := f(path); err != nil {
				fmt.Fprintf(log, "bench/run: left over from a dead run and not removed: %s: %v\n", path, err)
			}
		}
	}
	remove("/run/netns/"+nsPrefix+"*", nsPrefix, func(path string) error {
		ns := filepath.Base(path)
		pids, _ := exec.Command("ip", "netns", "pids", ns).Output()
		for pid := range strings.FieldsSeq(string(pids)) {
			if n, err := strconv.Atoi(pid); err == nil {
				syscall.Kill(n, syscall.SIGKILL)
			}
		}
		return exec.Command("ip", "netns", "del", ns).Run()
	})
	remove(filepath.Join(os.TempDir(), dirPrefix+"*"), dirPrefix, os.RemoveAll)
	remove(socketDir+"/bench-*", "bench-", os.RemoveAll)
}

// owner reads the process number that stands behind the prefix of a name.
func owner(name, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return 0, false
	}
	digits := rest
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = rest[:i]
	}
	pid, err := strconv.Atoi(digits)
	return pid, err == nil && pid > 1
}
