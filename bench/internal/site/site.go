// Package site is what a benchmark leaves on the machine while it runs: namespaces, cables, processes. All of it is
// removed at the end, also after an interrupt; what a killed run leaves carries its process number, and bench/run clears it away.
package site

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Site owns the namespaces and processes of a turn.
type Site struct {
	ctx        context.Context
	dir        string
	turns      int
	namespaces []string
	processes  []*Process
}

// Process is a program that runs in a namespace. What it says goes to a file: a pipe would cost the benchmark time while it measures.
type Process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// New returns an empty site with its files in dir. Call Close between turns and at the end, and
// start processes from the thread that lives longest: they die with it.
func New(ctx context.Context, dir string) *Site { return &Site{ctx: ctx, dir: dir} }

// Daemon is the name of an instance of vrouterd in this turn. bench/run removes the sockets of such instances that a killed run left.
func (s *Site) Daemon(end string) string { return s.name("bench", end) }

func (s *Site) name(prefix, end string) string {
	return fmt.Sprintf("%s-%d-%d-%s", prefix, os.Getpid(), s.turns, end)
}

// Folder is a directory of this turn, which is made.
func (s *Site) Folder(name string) (string, error) {
	dir := filepath.Join(s.dir, fmt.Sprintf("%d-%s", s.turns, name))
	return dir, os.MkdirAll(dir, 0o755)
}

// Turn begins a turn: names differ from those of the one before.
func (s *Site) Turn() { s.turns++ }

// Namespace makes a namespace with its loopback up.
func (s *Site) Namespace(end string) (string, error) {
	ns := s.name("vrb", end)
	if err := s.IP("netns", "add", ns); err != nil {
		return "", err
	}
	s.namespaces = append(s.namespaces, ns)
	return ns, s.IP("-n", ns, "link", "set", "lo", "up")
}

// End is one end of a cable.
type End struct{ Namespace, Device, Address string }

// Cable joins two namespaces by a veth pair.
func (s *Site) Cable(a, b End) error {
	if err := s.IP("-n", a.Namespace, "link", "add", a.Device, "type", "veth", "peer", "name", b.Device, "netns", b.Namespace); err != nil {
		return err
	}
	for _, end := range []End{a, b} {
		if err := s.IP("-n", end.Namespace, "addr", "add", end.Address, "dev", end.Device); err != nil {
			return err
		}
		if err := s.IP("-n", end.Namespace, "link", "set", end.Device, "up"); err != nil {
			return err
		}
	}
	return nil
}

// IP runs ip(8).
func (s *Site) IP(args ...string) error {
	text, err := exec.CommandContext(s.ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	return nil
}

func within(ns, name string, args []string) []string {
	return append([]string{"--net=/run/netns/" + ns, name}, args...)
}

// Run runs a program in a namespace to its end and returns what it says, also when it fails.
func (s *Site) Run(ns, name string, args ...string) (string, error) {
	text, err := exec.CommandContext(s.ctx, "nsenter", within(ns, name, args)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	return string(text), err
}

// Spawn starts a program in a namespace; it dies with the benchmark.
func (s *Site) Spawn(ns, name string, args ...string) (*Process, error) {
	log, err := os.CreateTemp(s.dir, "log-")
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command("nsenter", within(ns, name, args)...), log: log, done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		p.forget()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	s.processes = append(s.processes, p)
	return p, nil
}

// Stop ends a process before its turn is over.
func (s *Site) Stop(p *Process) {
	p.end()
	for i, other := range s.processes {
		if other == p {
			s.processes = append(s.processes[:i], s.processes[i+1:]...)
			return
		}
	}
}

func (p *Process) end() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
	p.forget()
}

// forget removes what the process has said.
func (p *Process) forget() {
	p.log.Close()
	os.Remove(p.log.Name())
}

// Said is the end of what the process has said so far.
func (p *Process) Said() string {
	text, _ := os.ReadFile(p.log.Name())
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

// ProcessorTime is what the threads of processes have used so far, in the kernel and outside, to the nanosecond.
func ProcessorTime(processes ...*Process) (sum time.Duration, err error) {
	for _, p := range processes {
		pid := p.cmd.Process.Pid
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(threads) == 0 {
			return 0, fmt.Errorf("process %d is gone", pid)
		}
		for _, file := range threads {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // a thread that has ended meanwhile
			}
			nanoseconds, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			sum += time.Duration(nanoseconds)
		}
	}
	return sum, nil
}

// Alive is an error when a process has ended that was to run on.
func (s *Site) Alive() error {
	for _, p := range s.processes {
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %v: %s", strings.Join(p.cmd.Args[2:], " "), p.cmd.ProcessState, p.Said())
		default:
		}
	}
	return nil
}

// Until polls until something is so.
func (s *Site) Until(what string, so func() error) error {
	var last error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		if last = so(); last == nil {
			return nil
		}
		if err := s.Alive(); err != nil {
			return err
		}
		if err := s.Rest(20 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: not within 15 s: %w", what, last)
}

// Rest waits, unless the benchmark is interrupted.
func (s *Site) Rest(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Close ends the processes and removes the namespaces.
func (s *Site) Close() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		s.processes[i].cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range s.processes {
		p.end()
	}
	for _, ns := range s.namespaces {
		exec.Command("ip", "netns", "del", ns).Run()
	}
	s.processes, s.namespaces = nil, nil
}
