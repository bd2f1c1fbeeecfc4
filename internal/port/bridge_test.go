package port

import (
	"os"
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
	spec.Bridge, spec.Members = "br0", []string{"nic0", "eth7"}
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
