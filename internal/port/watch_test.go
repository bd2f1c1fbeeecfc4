package port

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// promise is how soon a change is told.
const promise = time.Second

func newWatcher(t *testing.T) *Watcher {
	t.Helper()
	w := NewWatcher()
	t.Cleanup(w.Close)
	return w
}

// expect waits for the event that puts the port into a state and returns its reason.
func expect(t *testing.T, w *Watcher, port, word string) string {
	t.Helper()
	deadline := time.After(promise)
	for {
		select {
		case e := <-w.Events():
			if e.Port == port && e.State.Word == word {
				if e.State.Up != (word == "up") || e.State.Up != (e.State.Reason == "") {
					t.Errorf("the state contradicts itself: %+v", e.State)
				}
				return e.State.Reason
			}
		case <-deadline:
			t.Fatalf("port %s was not reported %s within %v", port, word, promise)
		}
	}
}

func watchUp(t *testing.T, w *Watcher, d *Device) {
	t.Helper()
	if err := w.Watch(d); err != nil {
		t.Fatal(err)
	}
	expect(t, w, d.spec.Name, "up")
}

func TestHostTakesItsEndDownAndUp(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	spec := l.spec()
	spec.Host = l.host()
	d := l.open(spec)
	watchUp(t, w, d)
	l.ip("link set eth0 down")
	if reason := expect(t, w, "lan", "down"); !strings.Contains(reason, "ip -n "+l.name+" link set eth0 up") {
		t.Errorf("no cure in %q", reason)
	}
	l.ip("link set eth0 up")
	expect(t, w, "lan", "up")
	if got := l.ip("route show default"); got != "" {
		t.Fatalf("the kernel kept the default route %q over a link that went down", got)
	}
	if changed, err := d.Update(spec); err != nil || len(changed) != 0 {
		t.Fatalf("Update: %v, %v", changed, err)
	}
	if got := l.ip("route show default"); !strings.Contains(got, "via 10.1.0.1 dev eth0") {
		t.Errorf("Update did not heal the default route: %q", got)
	}
}

func TestDeletedDeviceIsMissingAndOpensAgain(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	fds := openDescriptors(t)
	d := l.open(l.spec())
	watchUp(t, w, d)
	l.ip("link del eth0")
	expect(t, w, "lan", "missing")
	w.Unwatch("lan")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	again := l.open(l.spec())
	watchUp(t, w, again)
	again.Close()
	w.Unwatch("lan")
	eventually(t, promise, "all descriptors closed", func() bool { return openDescriptors(t) == fds })
}

func TestDeviceMovedToAnotherNamespaceIsMissing(t *testing.T) {
	l, other, w := newLab(t), newLab(t), newWatcher(t)
	d := l.open(l.spec())
	watchUp(t, w, d)
	l.ip("link set eth0 netns " + other.name)
	expect(t, w, "lan", "missing")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := other.links()["eth0"]; ok {
		t.Error("the device outlived its port in the other namespace")
	}
}

func TestNamespaceGoneAndBack(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	d := l.open(l.spec())
	watchUp(t, w, d)
	l.run("ip", "netns", "del", l.name)
	expect(t, w, "lan", "missing")
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	text := l.refuse(l.spec(), ErrNamespaceMissing)
	if !strings.Contains(text, "ip netns add "+l.name) {
		t.Errorf("no cure in %q", text)
	}
	l.run("ip", "netns", "add", l.name)
	watchUp(t, w, l.open(l.spec()))
}

func TestNamespaceReplacedUnderItsNameIsMissing(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	d := l.open(l.spec())
	watchUp(t, w, d)
	l.run("ip", "netns", "del", l.name)
	l.run("ip", "netns", "add", l.name)
	expect(t, w, "lan", "missing")
}

func TestWatcherSeesTheBridge(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	spec := l.spec()
	spec.Bridge = "br0"
	d := l.open(spec)
	watchUp(t, w, d)
	l.ip("link set br0 down")
	if reason := expect(t, w, "lan", "down"); !strings.Contains(reason, "bridge br0") {
		t.Errorf("reason %q", reason)
	}
	l.ip("link set br0 up")
	expect(t, w, "lan", "up")
	l.ip("link set eth0 nomaster")
	expect(t, w, "lan", "down")
	if _, err := d.Update(spec); err != nil {
		t.Fatal(err)
	}
	expect(t, w, "lan", "up")
}

func TestSlowReaderGetsTheLastStateOfEachPort(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	a := l.spec()
	b := l.spec()
	b.Name, b.Device, b.MAC[5] = "lan2", "eth1", 2
	for _, spec := range []Spec{a, b} {
		if err := w.Watch(l.open(spec)); err != nil {
			t.Fatal(err)
		}
	}
	l.ip("link set eth0 down")
	l.ip("link set eth1 down")
	for range 3 {
		l.ip("link set eth0 up")
		l.ip("link set eth0 down")
	}
	l.ip("link del eth1")
	got := map[string]string{}
	eventually(t, 2*promise, "the last states", func() bool {
		select {
		case e := <-w.Events():
			got[e.Port] = e.State.Word
		default:
		}
		return got["lan"] == "down" && got["lan2"] == "missing"
	})
}

func TestClosedPortIsNoLongerWatched(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	d := l.open(l.spec())
	watchUp(t, w, d)
	d.Close()
	if err := w.Watch(d); !errors.Is(err, ErrClosed) {
		t.Errorf("watching a closed port: %v", err)
	}
	// Another port of the namespace: its event comes after any there were of the first.
	other := l.spec()
	other.Name, other.Device = "lan2", "eth1"
	if err := w.Watch(l.open(other)); err != nil {
		t.Fatal(err)
	}
	if e := <-w.Events(); e.Port != "lan2" {
		t.Errorf("a closed port made news: %+v", e)
	}
}

func TestClosedWatcherRefuses(t *testing.T) {
	l := newLab(t)
	d := l.open(l.spec())
	w := NewWatcher()
	w.Close()
	w.Close()
	w.Unwatch("lan")
	if err := w.Watch(d); err == nil {
		t.Error("a closed watcher took a port")
	}
}

func TestNamespaceOfAProcessEndsWithIt(t *testing.T) {
	l, w := newLab(t), newWatcher(t)
	sleeper := exec.Command("ip", "netns", "exec", l.name, "sleep", "60")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleeper.Process.Kill()
	spec := l.spec()
	spec.Netns = "/proc/" + strconv.Itoa(sleeper.Process.Pid) + "/ns/net"
	// `ip netns exec` enters the namespace a moment after it starts.
	eventually(t, 5*time.Second, "the process is in its namespace", func() bool {
		ns, err := openNamespace(spec)
		if err != nil {
			return false
		}
		defer ns.close()
		return !ns.own
	})
	watchUp(t, w, l.open(spec))
	sleeper.Process.Kill()
	sleeper.Wait()
	expect(t, w, "lan", "missing")
}
