package port

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// payload of a frame behind the vnet header, if there is one.
func payload(d *Device, frame []byte) []byte {
	if d.VnetHdr() {
		return frame[packet.VnetLen:]
	}
	return frame
}

// TestFramesCrossBothWays pings out of the namespace and answers ARP and the ping
// by hand, on every kind of attachment.
func TestFramesCrossBothWays(t *testing.T) {
	for _, c := range []struct {
		name         string
		tun, offload bool
	}{{"tap", false, false}, {"tap with offload", false, true}, {"tun", true, false}, {"tun with offload", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			spec := l.spec()
			spec.TUN, spec.Offload, spec.Host = c.tun, c.offload, l.host()
			if c.tun {
				spec.MAC = packet.MAC{}
			}
			d := l.open(spec)
			if d.VnetHdr() != c.offload || d.Attached() || d.Name() != "eth0" {
				t.Fatalf("VnetHdr %v, Attached %v, Name %q", d.VnetHdr(), d.Attached(), d.Name())
			}
			flags, err := unix.FcntlInt(uintptr(d.FD()), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Fatalf("the descriptor blocks: flags %#x, %v", flags, err)
			}

			ping := exec.Command("ip", "netns", "exec", l.name, "ping", "-c", "1", "-W", "5", "10.1.0.1")
			var out bytes.Buffer
			ping.Stdout, ping.Stderr = &out, &out
			if err := ping.Start(); err != nil {
				t.Fatal(err)
			}
			header := 0
			if !c.tun {
				header = 14
				request := receive(t, d, func(f []byte) bool { return bytes.Equal(payload(d, f)[12:14], []byte{8, 6}) })
				frame := payload(d, request)
				if got := packet.MAC(frame[6:12]); got != d.KernelMAC() {
					t.Errorf("the host sends from %v, KernelMAC says %v", got, d.KernelMAC())
				}
				reply := bytes.Clone(request)
				f := payload(d, reply)
				copy(f[0:6], frame[6:12])
				copy(f[6:12], spec.MAC[:])
				f[21] = 2
				copy(f[22:28], spec.MAC[:])
				copy(f[28:32], frame[38:42])
				copy(f[32:42], frame[22:32])
				send(t, d, reply)
			}
			echo := receive(t, d, func(f []byte) bool {
				p := payload(d, f)
				return len(p) > header+20 && p[header] == 0x45 && p[header+9] == 1
			})
			f := payload(d, echo)
			if !c.tun {
				f = append(append(bytes.Clone(f[6:12]), spec.MAC[:]...), f[12:]...)
			}
			f = bytes.Clone(f)
			ip := f[header:]
			copy(ip[12:16], []byte{10, 1, 0, 1})
			copy(ip[16:20], []byte{10, 1, 0, 2})
			ip[20] = 0 // echo reply: the sum grows by the 8 that the type lost
			sum := uint32(binary.BigEndian.Uint16(ip[22:])) + 0x0800
			binary.BigEndian.PutUint16(ip[22:], uint16(sum+sum>>16))
			if c.offload {
				f = append(make([]byte, packet.VnetLen), f...)
			}
			send(t, d, f)
			if err := ping.Wait(); err != nil {
				t.Fatalf("ping: %v: %s", err, out.String())
			}
		})
	}
}

func send(t *testing.T, d *Device, frame []byte) {
	t.Helper()
	if n, err := unix.Write(d.FD(), frame); err != nil || n != len(frame) {
		t.Fatalf("writing a frame of %d octets: %d, %v", len(frame), n, err)
	}
}

func TestOffloadHandsOverPartialChecksumsAndTrains(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.TUN, spec.MAC, spec.Offload, spec.Host = true, packet.MAC{}, true, l.host()
	d := l.open(spec)
	if f := d.Features(); !f.Checksum || !f.TSO4 {
		t.Fatalf("the kernel granted %+v", f)
	}
	connect := exec.Command("ip", "netns", "exec", l.name, "bash", "-c", "exec 3<>/dev/tcp/10.9.9.9/80")
	if err := connect.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { connect.Process.Kill(); connect.Wait() }()
	syn := receive(t, d, func(f []byte) bool {
		return len(f) > packet.VnetLen+20 && f[packet.VnetLen]>>4 == 4 && f[packet.VnetLen+9] == 6
	})
	v := packet.ParseVnet(syn)
	if v.Flags&packet.VnetNeedsChecksum == 0 || v.ChecksumAt != 20 || v.ChecksumOff != 16 || v.GSOType != packet.GSONone {
		t.Errorf("the SYN's vnet header is %+v: expected a partial checksum at 20+16, little endian", v)
	}
}

// TestTrainOfDatagramsArrivesWhole sends five datagrams with one call (UDP_SEGMENT).
func TestTrainOfDatagramsArrivesWhole(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.TUN, spec.MAC, spec.Offload, spec.Host = true, packet.MAC{}, true, l.host()
	d := l.open(spec)
	err := d.ns.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 1000); err != nil {
			return err
		}
		return unix.Sendto(fd, make([]byte, 5000), 0, &unix.SockaddrInet4{Port: 7, Addr: [4]byte{10, 9, 9, 9}})
	})
	if err != nil {
		t.Fatal(err)
	}
	got := receive(t, d, func(f []byte) bool {
		return len(f) > packet.VnetLen+20 && f[packet.VnetLen]>>4 == 4 && f[packet.VnetLen+9] == 17
	})
	v, whole := packet.ParseVnet(got), packet.VnetLen+20+8+5000
	switch {
	case d.USO() && (len(got) != whole || v.GSOType != packet.GSOUDPL4 || v.GSOSize != 1000):
		t.Errorf("with USO: %d octets, %+v; expected %d as trains of 1000", len(got), v, whole)
	case !d.USO() && (len(got) != packet.VnetLen+20+8+1000 || v.IsSuper()):
		t.Errorf("without USO: %d octets, %+v; expected single datagrams", len(got), v)
	}
}

func TestKernelEndIsConfiguredAsSpecified(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.MTU, spec.Host = 9216, l.host()
	d := l.open(spec)
	k := l.links()["eth0"]
	if k.MTU != 9216 || k.Queue != transmitQueue || k.MAC != d.KernelMAC().String() || !k.has("UP") || !k.has("LOWER_UP") || k.AddrMode != "none" {
		t.Errorf("eth0 is %+v", k)
	}
	if d.KernelMAC() == spec.MAC || d.KernelMAC()[0]&3 != 2 {
		t.Errorf("kernel MAC %v is not a local address of its own", d.KernelMAC())
	}
	if k.Alias != "vrouterd:r1:lan" {
		t.Errorf("alias %q", k.Alias)
	}
	if got := l.ip("-4 -o addr show dev eth0"); !strings.Contains(got, "10.1.0.2/24") {
		t.Errorf("addresses: %s", got)
	}
	if got := l.ip("route show default"); !strings.Contains(got, "via 10.1.0.1 dev eth0") {
		t.Errorf("default route: %q", got)
	}
	if got := l.ip("link show lo"); !strings.Contains(got, "UP") {
		t.Errorf("lo is down: %s", got)
	}
	mac := d.KernelMAC()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if again := l.open(spec); again.KernelMAC() != mac {
		t.Errorf("kernel MAC changed over a restart: %v, before %v", again.KernelMAC(), mac)
	}
}

func TestCarrierOffIsSeenByTheHost(t *testing.T) {
	l := newLab(t)
	for _, offload := range []bool{false, true} {
		spec := l.spec()
		spec.Offload = offload
		d := l.open(spec)
		if err := d.SetCarrier(false); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "NO-CARRIER", func() bool { return l.links()["eth0"].has("NO-CARRIER") })
		if err := d.SetCarrier(true); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, "carrier", func() bool { return l.links()["eth0"].has("LOWER_UP") })
		d.Close()
		if err := d.SetCarrier(true); !errors.Is(err, ErrClosed) {
			t.Errorf("carrier of a closed port: %v", err)
		}
	}
}

func TestCloseLeavesNothingAndIsIdempotent(t *testing.T) {
	l := newLab(t)
	l.ip("link set lo up")
	before, fds := l.picture(), openDescriptors(t)
	for _, offload := range []bool{false, true} {
		for _, tun := range []bool{false, true} {
			spec := l.spec()
			spec.Offload, spec.TUN, spec.Host = offload, tun, l.host()
			d := l.open(spec)
			for range 2 {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if d.FD() != -1 {
				t.Errorf("a closed port has descriptor %d", d.FD())
			}
		}
	}
	if after := l.picture(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if n := openDescriptors(t); n != fds {
		t.Errorf("%d descriptors open, %d before", n, fds)
	}
}

func TestGatewayNeverReplacesAnotherDefaultRoute(t *testing.T) {
	l := newLab(t)
	l.ip("link add up0 type veth peer name up1")
	l.ip("addr add 10.7.0.2/24 dev up0")
	l.ip("link set up0 up")
	l.ip("link set up1 up")
	l.ip("route add default via 10.7.0.1 dev up0")
	before := l.picture()
	spec := l.spec()
	spec.Host = l.host()
	text := l.refuse(spec, ErrGatewayConflict)
	for _, word := range []string{"10.1.0.1", "default via 10.7.0.1 dev up0", "host.gateway"} {
		if !strings.Contains(text, word) {
			t.Errorf("%q does not say %q", text, word)
		}
	}
	if after := l.picture(); after != before {
		t.Errorf("a refused port left something:\n%s\nbefore:\n%s", after, before)
	}
}

func TestNamespaceByPath(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.Netns = "/run/netns/" + l.name
	l.open(spec)
	if _, ok := l.links()["eth0"]; !ok {
		t.Error("the device is not in the namespace")
	}
}

func TestPointToPointHostWithGatewayOutsideItsNetwork(t *testing.T) {
	l := newLab(t)
	spec := l.spec()
	spec.TUN = true
	spec.Host = &HostSpec{Address: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/32")}, Gateway: netip.MustParseAddr("10.1.0.1")}
	l.open(spec)
	if got := l.ip("route show default"); !strings.Contains(got, "via 10.1.0.1 dev eth0") {
		t.Errorf("default route: %q", got)
	}
}

// TestDeletedDeviceWakesWhoeverPolls holds the kernel to what FD promises: a dataplane
// that sleeps in poll(2) learns at once that its device is gone.
func TestDeletedDeviceWakesWhoeverPolls(t *testing.T) {
	l := newLab(t)
	for _, offload := range []bool{false, true} {
		spec := l.spec()
		spec.Offload = offload
		d := l.open(spec)
		receiveNothing(t, d)
		woken := make(chan int16, 1)
		go func(fd int) {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			for {
				if _, err := unix.Poll(fds, 10_000); !errors.Is(err, unix.EINTR) {
					break
				}
			}
			woken <- fds[0].Revents
		}(d.FD())
		l.ip("link del eth0")
		if got := <-woken; got&unix.POLLERR == 0 {
			t.Errorf("poll returned %#x, expected POLLERR", got)
		}
		if _, err := unix.Read(d.FD(), make([]byte, 2048)); !errors.Is(err, unix.EBADFD) {
			t.Errorf("reading: %v, expected EBADFD", err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// receiveNothing reads what is there until nothing is.
func receiveNothing(t *testing.T, d *Device) {
	t.Helper()
	buf := make([]byte, 2048)
	for {
		if _, err := unix.Read(d.FD(), buf); errors.Is(err, unix.EAGAIN) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWritingWhileTheHostsEndIsDownIsAnError(t *testing.T) {
	l := newLab(t)
	d := l.open(l.spec())
	l.ip("link set eth0 down")
	if _, err := unix.Write(d.FD(), make([]byte, 60)); !errors.Is(err, unix.EIO) {
		t.Errorf("writing: %v, expected EIO", err)
	}
}

func TestSilentKernelEndSendsNothingByItself(t *testing.T) {
	l := newLab(t)
	d := l.open(l.spec())
	// What IPv6 has to say at a birth is said within the random delay of a second
	// that the probe for duplicates takes (RFC 4862 section 5.4.2).
	fds := []unix.PollFd{{Fd: int32(d.FD()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 1200)
	if err != nil && !errors.Is(err, unix.EINTR) {
		t.Fatal(err)
	}
	if n != 0 {
		buf := make([]byte, 2048)
		n, _ = unix.Read(d.FD(), buf)
		t.Errorf("a frame came without anybody sending: %x", buf[:n])
	}
}

func TestPortsOpenConcurrently(t *testing.T) {
	labs := []lab{newLab(t), newLab(t)}
	fds := openDescriptors(t)
	const ports = 8
	type result struct {
		d   *Device
		err error
	}
	results := make(chan result)
	for n := range ports {
		go func() {
			l := labs[n%2]
			spec := l.spec()
			spec.Name, spec.Device, spec.Offload, spec.Bridge = "p"+strconv.Itoa(n), "eth"+strconv.Itoa(n), n%3 == 0, "br0"
			d, err := Open(spec)
			results <- result{d, err}
		}()
	}
	var open []*Device
	for range ports {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
			continue
		}
		open = append(open, r.d)
	}
	for _, l := range labs {
		if got := len(l.links()); got != 2+ports/2 {
			t.Errorf("%d devices in %s: %v", got, l.name, l.links())
		}
	}
	closed := make(chan error)
	for _, d := range open {
		go func() { closed <- d.Close() }()
	}
	for range open {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	for _, l := range labs {
		if got := len(l.links()); got != 1 {
			t.Errorf("left behind in %s: %v", l.name, l.links())
		}
	}
	if n := openDescriptors(t); n != fds {
		t.Errorf("%d descriptors open, %d before", n, fds)
	}
}
