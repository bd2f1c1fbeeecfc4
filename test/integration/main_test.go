// Package integration holds vrouterd against the real thing: real namespaces, real
// TUN/TAP devices, the kernel's own hosts, and the tools that people use on them.
//
// A test asks for a lab ([newLab]), which has named namespaces as hosts, starts routers in
// it from configurations, and runs ordinary commands on the hosts. The pieces:
//
//	lab      one test's world: unique names, cleared away at the end
//	host     a namespace; run a command in it and read what it says
//	router   a vrouterd process and its vrctl
//
// Daemons run inside the lab's own namespace of wires, so that no device shows up
// in the machine's even for a moment. Names carry the number of the test process: what a
// killed run has left is known by that and cleared away when the next one starts.
//
// Nothing here waits for a fixed time: every wait polls for a condition until a deadline,
// and what is awaited stands in the failure. When a test fails, the tables, counters and
// log of each router are printed, and the packets of each host are kept in a pcap.
//
// Root, /dev/net/tun and the tools of scripts/install-deps are needed. A missing one
// fails the run, it never skips a test.
package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// binaries is the folder with the vrouterd and vrctl under test, made once by TestMain.
var binaries string

func TestMain(m *testing.M) {
	code, err := prepareAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration tests:", err)
		code = 1
	}
	os.Exit(code)
}

func prepareAndRun(m *testing.M) (int, error) {
	if os.Getuid() != 0 {
		return 0, fmt.Errorf("namespaces and devices take root: run sudo scripts/test")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return 0, fmt.Errorf("there is no /dev/net/tun: load the kernel's tun module, or give the container the device")
	}
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin")
	os.Setenv("LC_ALL", "C")
	for _, tool := range []string{"ip", "nsenter", "ping", "traceroute", "tracepath", "arping", "iperf3", "tcpdump", "tshark", "ethtool", "curl", "setpriv",
		"nft", "conntrack", "dig", "dnsmasq", "unshare", "setsid", "dhclient", "udhcpc", "dhcpcd", "dhcrelay", "kea-dhcp4",
		"/lib/systemd/systemd-networkd", "vsftpd", "tnftp", "natpmpc", "upnpc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return 0, fmt.Errorf("%s is missing: run scripts/install-deps test", tool)
		}
	}
	sweep()
	dir, err := os.MkdirTemp("", "vrouterd-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	// Somebody without privileges runs the binary, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	binaries = dir
	if given := os.Getenv("VROUTERD_TEST_BIN"); given != "" {
		binaries = given
		return m.Run(), nil
	}
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", "vrouterd/cmd/vrouterd", "vrouterd/cmd/vrctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// sweep clears away what runs that were killed have left: namespaces, sockets and folders
// whose name carries the number of a process that is no longer a test.
func sweep() {
	spaces, _ := filepath.Glob("/run/netns/" + prefix + "*")
	sockets, _ := filepath.Glob("/run/vrouterd/" + prefix + "*")
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"[0-9]*-[0-9]*-*"))
	for _, path := range slices.Concat(spaces, sockets, folders) {
		number, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), prefix), "-")
		if command, _ := os.ReadFile("/proc/" + number + "/comm"); strings.Contains(string(command), "integration") {
			continue
		}
		if strings.HasPrefix(path, "/run/netns/") {
			removeNamespace(filepath.Base(path))
		} else {
			os.RemoveAll(path)
		}
	}
}
