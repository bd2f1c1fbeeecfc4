package port

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestBridgeIsMadeAndRemoved(t *testing.T) {
	l := newLab(t)
	before := l.picture()
	spec := l.spec()
	spec.Bridge = "br0"
	d := l.open(spec)
	all := l.links()
	if br := all["br0"]; br.Info.Kind != "bridge" || !br.has("UP") || br.Alias != "vrouterd:r1" {
		t.Errorf("bridge: %+v", br)
	}
	if all["eth0"].Master != "br0" {
		t.Errorf("device: %+v", all["eth0"])
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestExistingBridgeStays(t *testing.T) {
	l := newLab(t)
	l.ip("link add br0 type bridge")
	spec := l.spec()
	spec.Bridge = "br0"
	d := l.open(spec)
	if !l.links()["br0"].has("UP") {
		t.Error("the bridge was not set up")
	}
	d.Close()
	if _, ok := l.links()["br0"]; !ok {
		t.Error("a bridge that somebody else made was removed")
	}
}

func TestLastRouterOutRemovesTheBridge(t *testing.T) {
	l := newLab(t)
	a := l.spec()
	a.Bridge = "br0"
	b := a
	b.Instance, b.Device, b.MAC[5] = "r2", "eth1", 2
	first, second := l.open(a), l.open(b)
	first.Close()
	if l.links()["eth1"].Master != "br0" {
		t.Fatal("the bridge went while another router's port was in it")
	}
	second.Close()
	if left := l.links(); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBridgeOfOursStaysForOthers(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.Bridge = "br0"
	d := l.open(spec)
	l.ip("link add v0 type veth peer name v1")
	l.ip("link set v0 master br0")
	d.Close()
	if l.links()["v0"].Master != "br0" {
		t.Error("the bridge was taken from under a host that joined it")
	}
}

func TestMembersMoveInAndBack(t *testing.T) {
	l := newLab(t)
	l.ip("link add old type bridge")
	for _, nic := range []string{"nic0", "nic1", "nic2"} {
		l.nic(nic)
	}
	l.ip("link set nic1 master old")
	l.ip("link set nic1 up")
	before := l.picture()
	spec := l.spec()
	spec.Bridge, spec.Members = "br0", []string{"nic0", "nic1"}
	d := l.open(spec)
	all := l.links()
	for _, nic := range []string{"nic0", "nic1"} {
		if all[nic].Master != "br0" || !all[nic].has("UP") {
			t.Errorf("%s is no working member: %+v", nic, all[nic])
		}
	}
	changed := spec
	changed.Members = []string{"nic0", "nic2"}
	if what, err := d.Update(changed); err != nil || strings.Join(what, " ") != "members" {
		t.Fatalf("Update: %v, %v", what, err)
	}
	all = l.links()
	if all["nic1"].Master != "old" || all["nic2"].Master != "br0" || all["nic0"].Master != "br0" {
		t.Errorf("after the update: %+v", all)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestMemberOfAnExistingBridgeStaysInIt(t *testing.T) {
	l := newLab(t)
	l.ip("link add br0 type bridge")
	l.ip("link set br0 up")
	l.nic("nic0")
	l.ip("link set nic0 master br0")
	l.ip("link set nic0 up")
	before := l.picture()
	spec := l.spec()
	spec.Bridge, spec.Members = "br0", []string{"nic0"}
	l.open(spec).Close()
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestMemberTakenAwayMeanwhileIsLetBe(t *testing.T) {
	l := newLab(t)
	l.ip("link add other type bridge")
	l.nic("nic0")
	l.nic("nic1")
	spec := l.spec()
	spec.Bridge, spec.Members = "br0", []string{"nic0", "nic1"}
	d := l.open(spec)
	l.ip("link set nic0 master other")
	l.ip("link del nic1")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	all := l.links()
	if all["nic0"].Master != "other" {
		t.Errorf("nic0: %+v", all["nic0"])
	}
	if _, ok := all["br0"]; ok {
		t.Error("the bridge was left behind")
	}
}

func TestMissingMemberIsRefusedAndNothingIsLeft(t *testing.T) {
	l := newLab(t)
	l.nic("nic0")
	before, fds := l.picture(), openDescriptors(t)
	spec := l.spec()
	spec.Bridge, spec.Members, spec.Host = "br0", []string{"nic0", "eth7"}, l.host()
	text := l.refuse(spec, ErrMemberMissing)
	if !strings.Contains(text, "eth7") || !strings.Contains(text, "members") {
		t.Errorf("%q names neither the device nor the cure", text)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if n := openDescriptors(t); n != fds {
		t.Errorf("%d descriptors open, %d before", n, fds)
	}
}

func TestInterfaceInThePlaceOfTheBridgeIsRefused(t *testing.T) {
	l := newLab(t)
	l.nic("br0")
	before := l.picture()
	spec := l.spec()
	spec.Bridge = "br0"
	if text := l.refuse(spec, ErrWrongKind); !strings.Contains(text, "veth") {
		t.Errorf("%q does not say what br0 is", text)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestUpdateMovesToAnotherBridgeAndOut(t *testing.T) {
	l := newLab(t)
	l.nic("nic0")
	before := l.picture()
	spec := l.spec()
	spec.Bridge, spec.Members = "br0", []string{"nic0"}
	d := l.open(spec)
	to := spec
	to.Bridge = "br1"
	if what, err := d.Update(to); err != nil || strings.Join(what, " ") != "bridge" {
		t.Fatalf("Update: %v, %v", what, err)
	}
	all := l.links()
	if _, ok := all["br0"]; ok || all["eth0"].Master != "br1" || all["nic0"].Master != "br1" {
		t.Errorf("after moving to br1: %+v", all)
	}
	out := l.spec()
	if what, err := d.Update(out); err != nil || strings.Join(what, " ") != "bridge members" {
		t.Fatalf("Update: %v, %v", what, err)
	}
	all = l.links()
	if _, ok := all["br1"]; ok || all["eth0"].Master != "" || all["nic0"].Master != "" {
		t.Errorf("after moving out: %+v", all)
	}
	d.Close()
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

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

func TestWhatAKilledRunLeftIsTakenOver(t *testing.T) {
	l := newLab(t)
	l.nic("nic0")
	l.ip("link set nic0 up")
	before := l.picture()
	spec := l.spec()
	spec.Bridge, spec.Members = "br0", []string{"nic0"}
	run, said := startChild(t, spec, os.Args[0])
	if said != "open" {
		t.Fatalf("the other router said %q", said)
	}
	if text := l.refuse(spec, ErrDeviceBusy); !strings.Contains(text, "another process") {
		t.Errorf("%q", text)
	}
	run.Process.Kill()
	eventually(t, 5*time.Second, "the device died with its router", func() bool { _, ok := l.links()["eth0"]; return !ok })
	if l.links()["nic0"].Master != "br0" {
		t.Fatal("expected the bridge and its member to be left by a kill")
	}
	if err := l.open(spec).Close(); err != nil {
		t.Fatal(err)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
