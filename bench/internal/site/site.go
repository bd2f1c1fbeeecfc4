// Package site is what a benchmark leaves on the machine while it runs: namespaces, cables, processes. All of it is
// removed at the end, also after an interrupt; what a killed run leaves carries its process number, and bench/run clears it away.
package site

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"vrouterd/bench/internal/procfs"
)

// Site owns the namespaces and processes of a turn.
type Site struct {
	ctx        context.Context
	pid        int
	turns      int
	namespaces []string
	processes  []*Process
}

// Process is a program that runs in a namespace.
type Process struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// New returns an empty site. pid is in the names of its namespaces. Call Close between turns and at the end, and
// start processes from the thread that lives longest: they die with it.
func New(ctx context.Context, pid int) *Site { return &Site{ctx: ctx, pid: pid} }

// Name is the instance's name of a daemon of this turn.
func (s *Site) Name(end string) string { return fmt.Sprintf("vrb-%d-%d-%s", s.pid, s.turns, end) }

// Turn begins a turn: names differ from those of the one before.
func (s *Site) Turn() { s.turns++ }

// Namespace makes a namespace with its loopback up.
func (s *Site) Namespace(end string) (string, error) {
	ns := s.Name(end)
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

// Run runs a program in a namespace to its end and returns what it says.
func (s *Site) Run(ns, name string, args ...string) (string, error) {
	text, err := exec.CommandContext(s.ctx, "nsenter", within(ns, name, args)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(text))
	}
	return string(text), nil
}

// Spawn starts a program in a namespace; it dies with the benchmark.
func (s *Site) Spawn(ns, name string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command("nsenter", within(ns, name, args)...), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
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
}

// ProcessorTime is what a process has used so far, in seconds: all its threads, in the kernel and outside.
func (p *Process) ProcessorTime() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	return procfs.ProcessTime(string(text))
}

// OthersBusy is how many processors are busy while the benchmark does nothing yet.
func OthersBusy(ctx context.Context) (float64, error) {
	busy := func() (float64, error) {
		text, err := os.ReadFile("/proc/stat")
		if err != nil {
			return 0, err
		}
		return procfs.Busy(string(text))
	}
	before, err := busy()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(2 * time.Second):
	}
	after, err := busy()
	return (after - before) / time.Since(began).Seconds(), err
}

// Alive is an error when a process has ended that was to run on.
func (s *Site) Alive() error {
	for _, p := range s.processes {
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %v: %s", strings.Join(p.cmd.Args[2:], " "), p.cmd.ProcessState, bytes.TrimSpace(p.log.Bytes()))
		default:
		}
	}
	return nil
}

// Until polls, a few times a second, until something is so.
func (s *Site) Until(what string, so func() error) error {
	var last error
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		if last = so(); last == nil {
			return nil
		}
		if err := s.Alive(); err != nil {
			return err
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s: not within 15 s: %w", what, last)
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
