package port

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childSpec); text != "" {
		child(text)
		return
	}
	goleak.VerifyTestMain(m)
}

// lab is a network namespace of one test.
type lab struct {
	t    *testing.T
	name string
}

func newLab(t *testing.T) lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces and devices: run it as root")
	}
	l := lab{t, fmt.Sprintf("vrp%08x", rand.Uint32())}
	l.run("ip", "netns", "add", l.name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.name).Run() })
	return l
}

// run runs a command of the machine and returns what it printed.
func (l lab) run(command ...string) string {
	l.t.Helper()
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v: %s", strings.Join(command, " "), err, out)
	}
	return string(out)
}

// ip runs `ip -n <namespace> ...`.
func (l lab) ip(words string) string {
	l.t.Helper()
	return l.run(append([]string{"ip", "-n", l.name}, strings.Fields(words)...)...)
}

// link is what `ip -d -j link` tells of one device.
type link struct {
	Name        string   `json:"ifname"`
	Index       int      `json:"ifindex"`
	Flags       []string `json:"flags"`
	MTU         int      `json:"mtu"`
	Master      string   `json:"master"`
	Promiscuity int      `json:"promiscuity"`
	MAC         string   `json:"address"`
	Queue       int      `json:"txqlen"`
	Alias       string   `json:"ifalias"`
	AddrMode    string   `json:"inet6_addr_gen_mode"`
	Info        struct {
		Kind string `json:"info_kind"`
	} `json:"linkinfo"`
}

func (k link) has(flag string) bool {
	return slices.Contains(k.Flags, flag)
}

// links is every device of the namespace, by name.
func (l lab) links() map[string]link {
	l.t.Helper()
	var list []link
	if err := json.Unmarshal([]byte(l.ip("-d -j link show")), &list); err != nil {
		l.t.Fatal(err)
	}
	byName := map[string]link{}
	for _, k := range list {
		byName[k.Name] = k
	}
	return byName
}

// picture is all of the namespace that a port may touch, for comparing before and
// after. Carrier is not part of it: the kernel tells of that with up to a second of delay.
func (l lab) picture() string {
	l.t.Helper()
	all := l.links()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		k := all[name]
		fmt.Fprintf(&b, "%d %s %s up=%v mtu=%d master=%q mac=%s queue=%d alias=%q promiscuity=%d\n",
			k.Index, k.Name, k.Info.Kind, k.has("UP"), k.MTU, k.Master, k.MAC, k.Queue, k.Alias, k.Promiscuity)
	}
	b.WriteString(l.ip("-o -4 addr show") + l.ip("route show"))
	return b.String()
}

// nic makes a device that stands for a network card.
func (l lab) nic(name string) {
	l.t.Helper()
	l.ip("link add " + name + " type veth peer name far-" + name)
}

// spec of a plain TAP port that is the namespace's eth0.
func (l lab) spec() Spec {
	return Spec{Name: "lan", Instance: "r1", Netns: l.name, Device: "eth0", MTU: 1500,
		MAC: packet.MAC{2, 0, 0x5e, 0x10, 0, 1}}
}

func (l lab) host() *HostSpec {
	return &HostSpec{Address: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24")}, Gateway: netip.MustParseAddr("10.1.0.1")}
}

// open opens a port and closes it at the end of the test.
func (l lab) open(spec Spec) *Device {
	l.t.Helper()
	d, err := Open(spec)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return d
}

// refuse opens a port and expects that kind of error; it returns the sentence.
func (l lab) refuse(spec Spec, kind error) string {
	l.t.Helper()
	d, err := Open(spec)
	if err == nil {
		d.Close()
		l.t.Fatalf("the port opened; expected %v", kind)
	}
	if kind != nil && !errors.Is(err, kind) {
		l.t.Fatalf("expected %v, got: %v", kind, err)
	}
	return err.Error()
}

// receive reads frames from the port until one satisfies want.
func receive(t *testing.T, d *Device, want func(frame []byte) bool) []byte {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	buf := make([]byte, 128<<10)
	for time.Now().Before(deadline) {
		n, err := unix.Read(d.FD(), buf)
		if errors.Is(err, unix.EAGAIN) {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(d.FD()), Events: unix.POLLIN}}, 100); err != nil && !errors.Is(err, unix.EINTR) {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("reading the port: %v", err)
		}
		if want(buf[:n]) {
			return append([]byte(nil), buf[:n]...)
		}
	}
	t.Fatal("the frame did not arrive within 5 seconds")
	return nil
}

// eventually polls until the condition holds.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-tick.C
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
