package port

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childSpec is the environment variable that makes the test binary a router to be killed.
const childSpec = "PORT_TEST_SPEC"

// child opens a port as the variable says, says so, and waits to be killed.
func child(text string) {
	var spec Spec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		panic(err)
	}
	d, err := Open(spec)
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		return
	}
	os.Stdout.WriteString("open\n")
	os.Stdin.Read(make([]byte, 1)) // for ever: the parent kills
	d.Close()
}

// startChild runs the command, which ends with the test binary, as a router with that
// port until the end of the test, and returns its first words.
func startChild(t *testing.T, spec Spec, command ...string) (*exec.Cmd, string) {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command(command[0], command[1:]...)
	run.Env = append(os.Environ(), childSpec+"="+string(text))
	run.Stderr = os.Stderr
	stdin, err := run.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		run.Process.Kill()
		run.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the other router said nothing: %v", err)
	}
	return run, strings.TrimSpace(line)
}

// TestPortInTheDaemonsOwnNamespace runs a daemon whose own namespace is the lab.
func TestPortInTheDaemonsOwnNamespace(t *testing.T) {
	l := newLab(t)
	l.nic("up0")
	l.ip("addr add 10.7.0.2/24 dev up0")
	l.ip("link set up0 up")
	daemon := []string{"ip", "netns", "exec", l.name, os.Args[0]}
	before := l.picture()
	spec := l.spec()
	spec.Netns, spec.Host = "", l.host()
	l.ip("route add default via 10.7.0.1 dev up0")
	_, said := startChild(t, spec, daemon...)
	for _, word := range []string{"10.1.0.1", "the daemon's own namespace already has (default via 10.7.0.1 dev up0)", "`netns`"} {
		if !strings.Contains(said, word) {
			t.Errorf("%q does not say %q", said, word)
		}
	}
	l.ip("route del default")
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if _, said = startChild(t, spec, daemon...); said != "open" {
		t.Fatalf("the daemon said %q", said)
	}
	if got := l.ip("route show default"); !strings.Contains(got, "via 10.1.0.1 dev eth0") {
		t.Errorf("default route: %q", got)
	}
	if l.links()["lo"].has("UP") {
		t.Error("lo of the daemon's own namespace is not the port's business")
	}
}

func TestWhatTheProcessLacksIsNamed(t *testing.T) {
	l := newLab(t)
	before := l.picture()
	for name, c := range map[string]struct {
		offload bool
		command []string
		words   []string
	}{
		"no device": {false, []string{"unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev/net && exec " + os.Args[0]},
			[]string{"/dev/net/tun", "no such file", "modprobe tun"}},
		"no device, with offload": {true, []string{"unshare", "-m", "sh", "-c", "mount -t tmpfs none /dev/net && exec " + os.Args[0]},
			[]string{"/dev/net/tun", "no such file", "modprobe tun"}},
		"no CAP_SYS_ADMIN": {false, []string{"setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", os.Args[0]},
			[]string{"CAP_SYS_ADMIN is missing", l.name}},
		"no CAP_NET_ADMIN": {true, []string{"setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", os.Args[0]},
			[]string{"CAP_NET_ADMIN is missing", "eth0"}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := l.spec()
			spec.Offload = c.offload
			_, said := startChild(t, spec, c.command...)
			for _, word := range c.words {
				if !strings.Contains(said, word) {
					t.Errorf("%q does not say %q", said, word)
				}
			}
		})
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
