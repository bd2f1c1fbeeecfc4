package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/echo"
)

// contender is one router to be measured. To add one, write it and name it in
// contenders below.
type contender interface {
	packages() []string         // Go packages whose binaries it needs
	start(s *site, n int) error // connect s.a and s.b, set s.router if it is a process; n static routes beside the connected ones
	ready(s *site) error        // nil once the router itself says that it forwards
}

// readyTimeout bounds how long a contender may take to come up.
const readyTimeout = 10 * time.Second

// competitor is a contender by name. plain and nat say in which runs it stands
// when nobody chooses.
type competitor struct {
	name       string
	plain, nat bool
	make       func() contender
}

func contenders() []competitor {
	return []competitor{
		{"vrouterd", true, true, func() contender { return vrouterd{offload: "auto"} }},
		{"vrouterd-plain", true, false, func() contender { return vrouterd{offload: "off"} }},
		{"vrouterd-nat", false, true, func() contender { return vrouterd{offload: "auto", more: natHome} }},
		{"vrouterd-rules1000", false, true, func() contender { return vrouterd{offload: "auto", more: natRules(1000)} }},
		{"vrouterd-rules10", false, true, func() contender { return vrouterd{offload: "auto", more: natRules(10)} }},
		{"kernel", true, false, func() contender { return kernel{} }},
		{"kernel-nft", false, true, func() contender { return kernelNFT{} }},
		{"gvisor", true, false, func() contender { return gvisor{} }},
	}
}

// defaultContenders are those of a run in which nobody has chosen.
func defaultContenders(nat bool) (names []string) {
	for _, c := range contenders() {
		if nat && c.nat || !nat && c.plain {
			names = append(names, c.name)
		}
	}
	return names
}

func contenderNames() (names []string) {
	for _, c := range contenders() {
		names = append(names, c.name)
	}
	return names
}

func newContender(name string) (contender, bool) {
	for _, c := range contenders() {
		if c.name == name {
			return c.make(), true
		}
	}
	return nil, false
}

// ours tells our own variants from the peers that they are divided by.
func ours(name string) bool { return name == "vrouterd" || strings.HasPrefix(name, "vrouterd-") }

// against tells whether one of ours is divided by another contender: by every router
// that is not ours, and with NAT by what it is to be compared with.
func against(name, peer string) bool {
	switch peer {
	case "vrouterd", "kernel-nft":
		return name == "vrouterd-nat"
	case "vrouterd-rules10":
		return name == "vrouterd-rules1000"
	}
	return ours(name) && !ours(peer)
}

// daemon tells the contenders that are processes, whose start can be measured.
func daemon(name string) bool { return !strings.HasPrefix(name, "kernel") }

// vrouterd is the router of this repository.
type vrouterd struct {
	offload string
	more    string // sections of the configuration behind ports and routes
}

func (vrouterd) packages() []string { return []string{"./cmd/vrouterd", "./cmd/vrctl"} }

func (v vrouterd) instance(s *site) string { return fmt.Sprintf("bench-%d-%s", s.pid, s.tag) }

func (v vrouterd) start(s *site, n int) error {
	file := filepath.Join(s.dir, v.instance(s)+".yaml")
	if err := os.WriteFile(file, []byte(v.config(s, n)), 0o600); err != nil {
		return err
	}
	var err error
	s.router, err = s.spawn(filepath.Join(s.dir, "vrouterd"), "-c", file, "--state-dir", s.dir)
	return err
}

func (v vrouterd) config(s *site, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nports:\n", v.instance(s))
	for _, p := range []struct{ name, netns, router, host string }{
		{"a", s.a, gatewayA, addressA}, {"b", s.b, gatewayB, addressB},
	} {
		fmt.Fprintf(&b, "  %s: {netns: %s, device: eth0, address: %s/24, mtu: %d, offload: %s, host: {address: %s/24, gateway: %s}}\n",
			p.name, p.netns, p.router, mtu, v.offload, p.host, p.router)
	}
	if n > 0 {
		b.WriteString("routes:\n")
		for i := range n {
			fmt.Fprintf(&b, "  - {to: 172.16.%d.0/24, via: %s}\n", i, addressB)
		}
	}
	return b.String() + v.more
}

func (v vrouterd) ready(s *site) error {
	socket := filepath.Join(socketDir, v.instance(s)+".sock")
	out, err := exec.CommandContext(s.ctx, filepath.Join(s.dir, "vrctl"), "-s", socket, "wait", "ready", "--timeout", "10s").CombinedOutput()
	if err != nil {
		return fmt.Errorf("vrctl wait ready: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// kernel is Linux between two veth pairs, which have the offloads that veth has by default.
type kernel struct{}

func (kernel) packages() []string { return nil }

func (kernel) start(s *site, n int) error {
	r, err := s.addNamespace("r")
	if err != nil {
		return err
	}
	s.r = r
	steps := [][]string{}
	for _, p := range []struct{ port, host, gateway string }{{"port-a", s.a, gatewayA}, {"port-b", s.b, gatewayB}} {
		steps = append(steps,
			[]string{"-n", r, "link", "add", p.port, "mtu", strconv.Itoa(mtu), "txqueuelen", strconv.Itoa(queueLength),
				"type", "veth", "peer", "name", "eth0", "netns", p.host},
			[]string{"-n", r, "addr", "add", p.gateway + "/24", "dev", p.port},
			[]string{"-n", r, "link", "set", "dev", p.port, "up"})
	}
	steps = append(steps, []string{"netns", "exec", r, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"})
	for _, step := range steps {
		if err := s.ip(step...); err != nil {
			return err
		}
	}
	if err := s.configureHosts(); err != nil {
		return err
	}
	for i := range n {
		if err := s.ip("-n", r, "route", "add", fmt.Sprintf("172.16.%d.0/24", i), "via", addressB); err != nil {
			return err
		}
	}
	return nil
}

func (kernel) ready(*site) error { return nil }

// gvisor is gVisor's stack forwarding between two TAPs. It has no static routes:
// the two connected ones are all that its figures here need.
type gvisor struct{}

func (gvisor) packages() []string { return []string{"./bench/gvisorfwd"} }

func (gvisor) start(s *site, _ int) error {
	var err error
	s.router, err = s.spawn(filepath.Join(s.dir, "gvisorfwd"), "-a", s.a, "-b", s.b, "-mtu", strconv.Itoa(mtu))
	if err != nil {
		return err
	}
	// The program makes the devices; the hosts can be configured once they exist.
	return s.poll(func() error { return s.configureHosts() })
}

func (gvisor) ready(*site) error { return nil }

// poll repeats until f succeeds, the router has died or readyTimeout is over.
func (s *site) poll(f func() error) error {
	deadline := time.Now().Add(readyTimeout)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if s.router != nil {
			if dead := s.router.alive(); dead != nil {
				return dead
			}
		}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %v: %w", readyTimeout, err)
		}
		time.Sleep(500 * time.Microsecond)
	}
}

// firstPing sends echo requests from A to B until one comes back.
func (s *site) firstPing() error {
	e, err := echo.Open(s.a, netip.MustParseAddr(addressB), 5*time.Millisecond)
	if err != nil {
		return err
	}
	defer e.Close()
	return s.poll(func() error {
		_, err := e.Once()
		if errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("no reply from %s to %s", addressB, addressA)
		}
		return err
	})
}
