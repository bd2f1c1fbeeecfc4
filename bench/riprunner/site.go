package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// lab owns everything that a turn leaves on the machine, to remove it again.
type lab struct {
	ctx        context.Context
	dir        string
	pid        int
	turns      int
	namespaces []string
	processes  []*process
}

type process struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// links are the pairs of routers, 0 for A, at links 1 to 6.
var links = [][2]int{{0, 1}, {1, 2}, {0, 3}, {1, 4}, {2, 4}, {3, 4}}

// topology is what a contender runs: the five routers, or one router with one link to
// a namespace where this program is its neighbour.
type topology struct{ single bool }

// contender is a set of routers of one make.
type contender interface {
	// start starts all daemons at once.
	start() error
	// link sets both ends of a link up or down.
	link(number int, up bool) error
	// metrics are those of networks A to E, 10.0.1.0/24 to 10.0.5.0/24, at a router; 0: none.
	metrics(router int) ([5]int, error)
	// learned counts the routes that the single router has from its neighbour.
	learned() (int, error)
	// neighborNamespace is where the single router's neighbour has eth0 with 10.9.1.2.
	neighborNamespace() string
	// pids are the processes of the single router.
	pids() []int
}

func (l *lab) newContender(name string, t topology) (contender, error) {
	l.turns++
	switch name {
	case "vrouterd":
		return newVrouterd(l, t)
	case "frr":
		return newFRR(l, t)
	case "bird":
		return newBIRD(l, t)
	}
	return nil, fmt.Errorf("there is no such contender; there are vrouterd, frr and bird")
}

func (l *lab) addNamespace(end string) (string, error) {
	ns := fmt.Sprintf("vrb-%d-%d-%s", l.pid, l.turns, end)
	if err := l.ip("netns", "add", ns); err != nil {
		return "", err
	}
	l.namespaces = append(l.namespaces, ns)
	return ns, l.ip("-n", ns, "link", "set", "lo", "up")
}

// kernelRouters makes a namespace for each router, with its network on lo and a veth pair for
// each link: what FRR and BIRD run on.
func (l *lab) kernelRouters(t topology) (routers []string, neighbor string, err error) {
	count := 5
	if t.single {
		count = 1
	}
	for i := range count {
		ns, err := l.addNamespace(string(rune('a' + i)))
		if err != nil {
			return nil, "", err
		}
		routers = append(routers, ns)
		if err := l.ip("-n", ns, "addr", "add", fmt.Sprintf("10.0.%d.1/24", i+1), "dev", "lo"); err != nil {
			return nil, "", err
		}
	}
	if t.single {
		if neighbor, err = l.addNamespace("n"); err != nil {
			return nil, "", err
		}
		return routers, neighbor, l.cable(routers[0], "link1", "10.9.1.1/24", neighbor, "eth0", "10.9.1.2/24")
	}
	for n, ends := range links {
		name := fmt.Sprintf("link%d", n+1)
		address := func(router int) string { return fmt.Sprintf("10.9.%d.%d/24", n+1, router+1) }
		if err := l.cable(routers[ends[0]], name, address(ends[0]), routers[ends[1]], name, address(ends[1])); err != nil {
			return nil, "", err
		}
	}
	return routers, "", nil
}

func (l *lab) cable(ns1, dev1, address1, ns2, dev2, address2 string) error {
	if err := l.ip("-n", ns1, "link", "add", dev1, "type", "veth", "peer", "name", dev2, "netns", ns2); err != nil {
		return err
	}
	for _, end := range [][3]string{{ns1, dev1, address1}, {ns2, dev2, address2}} {
		if err := l.ip("-n", end[0], "addr", "add", end[2], "dev", end[1]); err != nil {
			return err
		}
		if err := l.ip("-n", end[0], "link", "set", end[1], "up"); err != nil {
			return err
		}
	}
	return nil
}

// setLink sets both ends of a veth link.
func (l *lab) setLink(routers []string, number int, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	for _, router := range links[number-1] {
		if err := l.ip("-n", routers[router], "link", "set", fmt.Sprintf("link%d", number), state); err != nil {
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
	p := &process{cmd: exec.Command("nsenter", append([]string{"--net=/run/netns/" + ns, name}, args...)...), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
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
			return fmt.Errorf("%s has ended: %v: %s", strings.Join(p.cmd.Args[2:], " "), p.cmd.ProcessState, bytes.TrimSpace(p.log.Bytes()))
		default:
		}
	}
	return nil
}

// await polls until a file is there.
func (l *lab) await(path string) error {
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if err := l.alive(); err != nil {
			return err
		}
		if err := l.rest(5 * time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s is not there after 15 s", path)
}

// folder is a daemon's own, writable by an account.
func (l *lab) folder(name string, uid, gid int) (string, error) {
	dir := filepath.Join(l.dir, fmt.Sprintf("%d-%s", l.turns, name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, os.Chown(dir, uid, gid)
}

// close ends the children and removes the namespaces, also after an interrupt.
func (l *lab) close() {
	for i := len(l.processes) - 1; i >= 0; i-- {
		l.processes[i].cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range l.processes {
		select {
		case <-p.done:
		case <-time.After(3 * time.Second):
			p.cmd.Process.Kill()
			<-p.done
		}
	}
	for _, ns := range l.namespaces {
		exec.Command("ip", "netns", "del", ns).Run()
	}
	l.processes, l.namespaces = nil, nil
}
