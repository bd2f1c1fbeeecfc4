package port

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

func TestAttachedDeviceStaysAsItWasFound(t *testing.T) {
	for _, made := range []string{"mode tap", "mode tap multi_queue", "mode tap vnet_hdr", "mode tap multi_queue vnet_hdr", "mode tun", "mode tun multi_queue"} {
		for _, offload := range []bool{false, true} {
			t.Run(strings.ReplaceAll(made, " ", "_"), func(t *testing.T) {
				l := newLab(t)
				l.ip("link set lo up")
				l.ip("tuntap add eth0 " + made)
				l.ip("link set eth0 mtu 1400 txqueuelen 700")
				before := l.picture()
				spec := l.spec()
				spec.TUN, spec.Offload, spec.Host = strings.Contains(made, "tun"), offload, l.host()
				for range 2 { // what the first left, the second can use
					d := l.open(spec)
					if !d.Attached() || d.VnetHdr() != offload {
						t.Fatalf("Attached %v, VnetHdr %v", d.Attached(), d.VnetHdr())
					}
					k := l.links()["eth0"]
					if !k.has("UP") || k.MTU != 1500 || k.Queue != 700 {
						t.Errorf("while attached: %+v", k)
					}
					if !spec.TUN && k.MAC != d.KernelMAC().String() {
						t.Errorf("KernelMAC %v, the device has %s", d.KernelMAC(), k.MAC)
					}
					if err := d.Close(); err != nil {
						t.Fatal(err)
					}
				}
				if after := l.picture(); after != before {
					t.Errorf("before:\n%s\nafter:\n%s", before, after)
				}
			})
		}
	}
}

func TestAttachedDeviceReturnsToItsBridge(t *testing.T) {
	l := newLab(t)
	l.ip("link add old type bridge")
	l.ip("tuntap add eth0 mode tap")
	l.ip("link set eth0 master old")
	before := l.picture()
	spec := l.spec()
	spec.Bridge = "br0"
	d := l.open(spec)
	if l.links()["eth0"].Master != "br0" {
		t.Error("the device was not plugged into br0")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestWrongKindOfInterfaceIsRefused(t *testing.T) {
	l := newLab(t)
	l.ip("tuntap add eth0 mode tun")
	l.ip("link add eth1 type veth peer name eth2")
	before, fds := l.picture(), openDescriptors(t)
	spec := l.spec()
	if text := l.refuse(spec, ErrWrongKind); !strings.Contains(text, "is a tun device") || !strings.Contains(text, "kind: tap") {
		t.Errorf("%q", text)
	}
	spec.Device = "eth1"
	if text := l.refuse(spec, ErrWrongKind); !strings.Contains(text, "veth") || !strings.Contains(text, "bridge.members") {
		t.Errorf("%q", text)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if n := openDescriptors(t); n != fds {
		t.Errorf("%d descriptors open, %d before", n, fds)
	}
}

func TestDeviceInUseIsBusy(t *testing.T) {
	l := newLab(t)
	l.ip("tuntap add eth0 mode tap")
	l.ip("tuntap add eth1 mode tap multi_queue")
	fds := openDescriptors(t)
	for _, device := range []string{"eth0", "eth1", "eth2"} {
		for _, offload := range []bool{false, true} {
			spec := l.spec()
			spec.Device, spec.Offload = device, offload
			d := l.open(spec)
			l.refuse(spec, ErrDeviceBusy)
			d.Close()
		}
	}
	if n := openDescriptors(t); n != fds {
		t.Errorf("%d descriptors open, %d before", n, fds)
	}
}

// TestWatersLeakIsReaped has water fail half-way, which leaves its descriptor
// open, beside a port whose device was deleted, which has to keep its own.
func TestWatersLeakIsReaped(t *testing.T) {
	l := newLab(t)
	l.ip("tuntap add eth1 mode tun")
	d := l.open(l.spec())
	l.ip("link del eth0")
	fds := openDescriptors(t)
	err := d.ns.do(func() error {
		_, err := water.New(water.Config{DeviceType: water.TAP, PlatformSpecificParams: water.PlatformSpecificParams{Name: "eth1"}})
		return err
	})
	if err == nil || openDescriptors(t) != fds+1 {
		t.Fatalf("water did not leak: %v, %d descriptors, %d before", err, openDescriptors(t), fds)
	}
	reapUnattached()
	if n := openDescriptors(t); n != fds {
		t.Errorf("%d descriptors open, %d before", n, fds)
	}
	if _, err := unix.FcntlInt(uintptr(d.FD()), unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor of a port was closed: %v", err)
	}
}

func TestUpdateChangesOnlyWhatDiffers(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.Host = l.host()
	d := l.open(spec)
	fd, index := d.FD(), d.Ifindex()

	next := spec
	next.MTU, next.MAC = 9000, packet.MAC{2, 0, 0x5e, 0x10, 0, 9}
	next.Host = &HostSpec{
		Address: []netip.Prefix{netip.MustParsePrefix("10.1.0.3/24"), netip.MustParsePrefix("10.1.0.2/24")},
		Gateway: netip.MustParseAddr("10.1.0.254"),
	}
	what, err := d.Update(next)
	if err != nil || strings.Join(what, " ") != "mtu mac host" {
		t.Fatalf("Update: %v, %v", what, err)
	}
	k := l.links()["eth0"]
	if k.MTU != 9000 || k.MAC != d.KernelMAC().String() || d.FD() != fd || d.Ifindex() != index {
		t.Errorf("device after the update: %+v", k)
	}
	addrs := l.ip("-4 -o addr show dev eth0")
	if !strings.Contains(addrs, "10.1.0.2/24") || !strings.Contains(addrs, "10.1.0.3/24") {
		t.Errorf("addresses: %s", addrs)
	}
	if got := l.ip("route show default"); !strings.Contains(got, "via 10.1.0.254") || strings.Count(got, "\n") != 1 {
		t.Errorf("default routes: %q", got)
	}

	if what, err = d.Update(spec); err != nil || strings.Join(what, " ") != "mtu mac host" {
		t.Fatalf("Update back: %v, %v", what, err)
	}
	if got := l.ip("-4 -o addr show dev eth0"); strings.Contains(got, "10.1.0.3") {
		t.Errorf("addresses: %s", got)
	}
	bare := l.spec()
	if what, err = d.Update(bare); err != nil || strings.Join(what, " ") != "host" {
		t.Fatalf("Update without host: %v, %v", what, err)
	}
	if got := l.ip("-4 -o addr show dev eth0") + l.ip("route show"); got != "" {
		t.Errorf("left of the host: %s", got)
	}
	if what, err = d.Update(bare); err != nil || len(what) != 0 {
		t.Errorf("an unchanged update: %v, %v", what, err)
	}
}

func TestFailedUpdateGoesBack(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.Host = l.host()
	d := l.open(spec)
	before := l.picture()
	bad := spec
	bad.Host = nil
	bad.MTU, bad.Bridge, bad.Members = 9000, "br0", []string{"absent"}
	if what, err := d.Update(bad); !errors.Is(err, ErrMemberMissing) || what != nil {
		t.Fatalf("Update: %v, %v", what, err)
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func TestUpdateThatNeedsAReopenChangesNothing(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	d := l.open(spec)
	before := l.picture()
	for what, change := range map[string]func(*Spec){
		"kind":      func(s *Spec) { s.TUN = true },
		"namespace": func(s *Spec) { s.Netns = "elsewhere" },
		"device":    func(s *Spec) { s.Device = "eth9" },
		"offload":   func(s *Spec) { s.Offload = true },
		"instance":  func(s *Spec) { s.Instance = "r9" },
	} {
		other := spec
		other.MTU = 9000
		change(&other)
		if _, err := d.Update(other); !errors.Is(err, ErrNeedsReopen) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	d.Close()
	if _, err := d.Update(spec); !errors.Is(err, ErrClosed) {
		t.Errorf("updating a closed port: %v", err)
	}
}

func TestFileThatIsNoNamespace(t *testing.T) {
	l := newLab(t)
	path := t.TempDir() + "/ns"
	if err := os.WriteFile(path, nil, 0o444); err != nil {
		t.Fatal(err)
	}
	spec := l.spec()
	for _, netns := range []string{path, "/proc/self/ns/uts"} {
		spec.Netns = netns
		if text := l.refuse(spec, ErrNamespaceMissing); !strings.Contains(text, netns) {
			t.Errorf("%q", text)
		}
	}
}
