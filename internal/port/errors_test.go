package port

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// sentence checks that an error is one line that says all of the words.
func sentence(t *testing.T, err error, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("expected %v, got %v", kind, err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than a line", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestMissingCapabilitiesAreNamed(t *testing.T) {
	const admin, enter = uint64(1) << unix.CAP_NET_ADMIN, uint64(1) << unix.CAP_SYS_ADMIN
	own := Spec{Name: "lan", Device: "eth0"}
	other := Spec{Name: "lan", Device: "eth0", Netns: "h1"}
	for _, c := range []struct {
		spec      Spec
		effective uint64
		words     []string // none: enough
	}{
		{own, admin, nil},
		{other, admin | enter, nil},
		{own, ^uint64(0), nil},
		{own, 0, []string{"port lan", "CAP_NET_ADMIN is missing", "eth0", "setcap cap_net_admin+ep"}},
		{own, enter, []string{"CAP_NET_ADMIN is missing"}},
		{other, admin, []string{"CAP_SYS_ADMIN is missing", "namespace h1", "cap_net_admin,cap_sys_admin+ep"}},
		{other, enter, []string{"CAP_NET_ADMIN is missing"}},
		{other, 0, []string{"CAP_NET_ADMIN and CAP_SYS_ADMIN are missing", "h1"}},
	} {
		err := checkCapabilities(c.spec, c.effective)
		if c.words == nil {
			if err != nil {
				t.Errorf("%#x is enough for %q: %v", c.effective, c.spec.Netns, err)
			}
			continue
		}
		sentence(t, err, ErrPermission, c.words...)
	}
}

func TestMissingTUNDeviceIsNamedWithItsCure(t *testing.T) {
	spec, ns := Spec{Name: "lan", Device: "eth0"}, &namespace{label: "namespace h1"}
	opening := func(e unix.Errno) error { return &fs.PathError{Op: "open", Path: clonePath, Err: e} }
	sentence(t, attachFault(spec, ns, opening(unix.ENOENT)), ErrNoTUN, "/dev/net/tun", "modprobe tun", "--device")
	sentence(t, attachFault(spec, ns, opening(unix.ENODEV)), ErrNoTUN, "no such device", "modprobe tun")
	sentence(t, attachFault(spec, ns, opening(unix.EPERM)), ErrNoTUN, "DeviceAllow=")
	sentence(t, attachFault(spec, ns, os.NewSyscallError("ioctl", unix.EBUSY)), ErrDeviceBusy, "eth0", "namespace h1", "another process")
	sentence(t, attachFault(spec, ns, os.NewSyscallError("ioctl", unix.EPERM)), ErrPermission, "CAP_NET_ADMIN", "user namespace")
	sentence(t, attachFault(spec, ns, os.NewSyscallError("ioctl", unix.ENOMEM)), unix.ENOMEM, "port lan", "eth0")
}

func TestSpecsThatCannotBe(t *testing.T) {
	good := Spec{Name: "lan", Device: "eth0", MTU: 1500}
	if err := checkSpec(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Spec){
		"mtu 67 ":           func(s *Spec) { s.MTU = 67 },
		"mtu 9217 ":         func(s *Spec) { s.MTU = 9217 },
		"device name":       func(s *Spec) { s.Device = "" },
		`"tap%d"`:           func(s *Spec) { s.Device = "tap%d" },
		`"a/b"`:             func(s *Spec) { s.Bridge = "a/b" },
		`"sixteen-letters"`: func(s *Spec) { s.Members, s.Bridge = []string{"sixteen-letters"}, "br0"; s.Members[0] += "!" },
		"kind: tap":         func(s *Spec) { s.TUN, s.Bridge = true, "br0" },
		"cannot be a host":  func(s *Spec) { s.Bridge, s.Host = "br0", &HostSpec{} },
		"no bridge":         func(s *Spec) { s.Members = []string{"eth1"} },
		"both called eth0":  func(s *Spec) { s.Bridge = "eth0" },
	} {
		spec := good
		change(&spec)
		word := strings.TrimSuffix(name, `"`)
		sentence(t, checkSpec(spec), ErrSpec, "port lan", word)
	}
	for _, netns := range []string{"a/b", "..", "."} {
		spec := good
		spec.Netns = netns
		_, err := openNamespace(spec)
		sentence(t, err, ErrSpec, netns)
	}
}

func TestMissingNamespaceIsCheapToRefuse(t *testing.T) {
	spec := Spec{Name: "lan", Device: "eth0", MTU: 1500, Netns: "vrp-there-is-none"}
	_, err := openNamespace(spec)
	sentence(t, err, ErrNamespaceMissing, "ip netns add vrp-there-is-none")
	spec.Netns = "/run/vrp/there/is/none"
	_, err = openNamespace(spec)
	sentence(t, err, ErrNamespaceMissing, spec.Netns)
}

func TestKernelMACIsStableLocalAndNotTheRouters(t *testing.T) {
	spec := Spec{Instance: "r1", Name: "lan", Device: "eth0", MAC: packet.MAC{2, 0, 0x5e, 0x10, 0, 1}}
	mac := kernelMAC(spec)
	if mac != kernelMAC(spec) || mac[0]&3 != 2 || mac == spec.MAC {
		t.Errorf("kernel MAC %v", mac)
	}
	for _, change := range []func(*Spec){
		func(s *Spec) { s.Instance = "r2" }, func(s *Spec) { s.Name = "wan" },
		func(s *Spec) { s.Device = "eth1" }, func(s *Spec) { s.MAC[5]++ },
	} {
		other := spec
		change(&other)
		if kernelMAC(other) == mac {
			t.Errorf("%+v has the same kernel MAC as %+v", other, spec)
		}
	}
}

func TestGatewayOutsideTheHostsNetworksIsOnLink(t *testing.T) {
	d := &Device{}
	host := &HostSpec{Address: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}, Gateway: netip.MustParseAddr("10.0.0.1")}
	if d.defaultRoute(host).Flags != 0 {
		t.Error("a gateway in the host's network needs no onlink")
	}
	host.Gateway = netip.MustParseAddr("10.0.1.1")
	if d.defaultRoute(host).Flags == 0 {
		t.Error("a gateway elsewhere needs onlink")
	}
}
