package main

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

// lab owns everything that a trial leaves on the machine, to remove it again.
type lab struct {
	ctx        context.Context
	dir        string
	pid        int
	trials     int
	client     string // the generator's namespace
	namespaces []string
	processes  []*process
}

// process is a program that runs on. What it says goes to a file: a pipe would cost this program time while it measures.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// said is the end of what the program has said.
func (p *process) said() string {
	text, _ := os.ReadFile(p.log.Name())
	return string(bytes.TrimSpace(text[max(0, len(text)-2000):]))
}

func (l *lab) addNamespace(end string) (string, error) {
	ns := fmt.Sprintf("vrb-%d-%d-%s", l.pid, l.trials, end)
	if err := l.ip("netns", "add", ns); err != nil {
		return "", err
	}
	l.namespaces = append(l.namespaces, ns)
	return ns, l.ip("-n", ns, "link", "set", "lo", "up")
}

// plug cables eth0 of a namespace, with an address, into the switch.
func (l *lab) plug(wires, name, ns, address string) error {
	for _, args := range [][]string{
		{"-n", wires, "link", "add", "dev", name, "type", "veth", "peer", "name", "eth0", "netns", ns},
		{"-n", wires, "link", "set", "dev", name, "master", "lan"},
		{"-n", wires, "link", "set", "dev", name, "up"},
		{"-n", ns, "addr", "add", address, "dev", "eth0"},
		{"-n", ns, "link", "set", "dev", "eth0", "up"},
	} {
		if err := l.ip(args...); err != nil {
			return err
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

// spawn starts a program in a namespace; it dies with the runner.
func (l *lab) spawn(ns, name string, args ...string) (*process, error) {
	log, err := os.CreateTemp(l.dir, "log-")
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command("nsenter", append([]string{"--net=/run/netns/" + ns, name}, args...)...), log: log, done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.cmd.Wait(); close(p.done) }()
	l.processes = append(l.processes, p)
	return p, nil
}

// alive is an error when a process has ended that was to run on.
func (l *lab) alive() error {
	for _, p := range l.processes {
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %v: %s", strings.Join(p.cmd.Args[2:], " "), p.cmd.ProcessState, p.said())
		default:
		}
	}
	return nil
}

// close ends the children and removes the namespaces, also after an interrupt.
func (l *lab) close() {
	for _, p := range l.processes {
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range l.processes {
		select {
		case <-p.done:
		case <-time.After(3 * time.Second):
			p.cmd.Process.Kill()
			<-p.done
		}
		p.log.Close()
		os.Remove(p.log.Name())
	}
	for _, ns := range l.namespaces {
		exec.Command("ip", "netns", "del", ns).Run()
	}
	l.processes, l.namespaces = nil, nil
}

// processorTime is what the threads of a process have used, to the nanosecond.
func processorTime(pid int) (sum time.Duration, err error) {
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
	return sum, nil
}
