package port

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// Limits of Spec.MTU, in octets of IP packet: the least that IPv4 allows (RFC 791
// section 3.2), and the largest jumbo frame in common use.
const (
	MinMTU = 68
	MaxMTU = 9216
)

// Device is an open attachment. Its methods may be called from any goroutine;
// reading and writing FD is the dataplane's business alone.
type Device struct {
	mu    sync.Mutex // guards what follows
	spec  Spec       // as last applied
	ns    *namespace
	queue queue // fd -1 when closed
	end   kernelEnd
	seat  *seat    // place in a bridge; nil: none
	host  *hostEnd // addresses and gateway given; nil: none

	found *asFound // how an existing device was before; nil: the device is ours. Set by Open
	index int      // of the kernel end. Set by Open

	watched atomic.Pointer[watched] // for a Watcher; nil: not open
}

// Open attaches the port that spec describes and leaves its kernel end up. It either
// succeeds or leaves everything as it was.
//
// Errors to be told apart with errors.Is: [ErrNamespaceMissing] and [ErrDeviceBusy], which
// time may heal; [ErrNoTUN], [ErrPermission], [ErrWrongKind], [ErrMemberMissing],
// [ErrGatewayConflict] and [ErrSpec], which the operator has to.
func Open(spec Spec) (*Device, error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	if err := requireCapabilities(spec); err != nil {
		return nil, err
	}
	ns, err := openNamespace(spec)
	if err != nil {
		return nil, err
	}
	d := &Device{spec: spec, ns: ns, queue: queue{fd: -1}}
	if err := d.open(spec); err != nil {
		d.Close() // its own errors would only hide the first
		return nil, err
	}
	return d, nil
}

func (d *Device) open(spec Spec) error {
	there, err := d.survey(spec)
	if err != nil {
		return err
	}
	if err := d.attach(spec, there); err != nil {
		return err
	}
	if err := d.prepareLink(spec); err != nil {
		return err
	}
	if err := d.converge(spec); err != nil {
		return err
	}
	d.applied(spec)
	return nil
}

// applied records what the device is like now.
func (d *Device) applied(spec Spec) {
	d.spec = spec
	d.watched.Store(&watched{
		port: spec.Name, device: spec.Device, index: d.index, bridge: spec.Bridge,
		netns: spec.Netns, label: d.ns.label, path: d.ns.path,
	})
}

// converge does what differs between what was done before and what spec wants.
func (d *Device) converge(spec Spec) error {
	end, err := d.ns.handle.LinkByIndex(d.index)
	if err != nil {
		return fmt.Errorf("port %s: reading device %s in %s: %w", spec.Name, spec.Device, d.ns.label, err)
	}
	if err := d.setLink(spec, end); err != nil {
		return err
	}
	if err := d.setBridge(spec, end); err != nil {
		return err
	}
	// Before the host's routes: the kernel takes none through a device that is down.
	if err := d.setUp(spec); err != nil {
		return err
	}
	return d.setHost(spec)
}

// survey finds out what of spec is there already. nil: nothing, the device is to be made.
func (d *Device) survey(spec Spec) (*netlink.Tuntap, error) {
	link, err := d.ns.handle.LinkByName(spec.Device)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("port %s: looking for device %s in %s: %w", spec.Name, spec.Device, d.ns.label, err)
	}
	tuntap, ok := link.(*netlink.Tuntap)
	if !ok {
		return nil, &fault{kind: ErrWrongKind, text: fmt.Sprintf(
			"port %s: device %s in %s exists and is no TUN/TAP device but %s: name another `device`, or to plug it in list it under `bridge.members`",
			spec.Name, spec.Device, d.ns.label, describe(link))}
	}
	if isTUN := tuntap.Mode == netlink.TUNTAP_MODE_TUN; isTUN != spec.TUN {
		return nil, &fault{kind: ErrWrongKind, text: fmt.Sprintf(
			"port %s: device %s in %s exists and is a %s device, while the port asks for `kind: %s`: change one of the two",
			spec.Name, spec.Device, d.ns.label, kindWord(isTUN), kindWord(spec.TUN))}
	}
	if tuntap.NonPersist || tuntap.Queues > 0 {
		return nil, busy(spec, d.ns, nil)
	}
	return tuntap, nil
}

// attach makes the device, or ties itself to the one that is there.
func (d *Device) attach(spec Spec, there *netlink.Tuntap) error {
	a := attachment{device: spec.Device, tun: spec.TUN, offload: spec.Offload, create: there == nil}
	if there != nil {
		a.multiQueue = there.Flags&netlink.TUNTAP_MULTI_QUEUE != 0
	}
	err := d.ns.do(func() (err error) {
		d.queue, err = a.attach()
		return err
	})
	if err != nil {
		d.queue.fd = -1
		return attachFault(spec, d.ns, err)
	}
	link, err := d.ns.handle.LinkByName(spec.Device)
	if err != nil {
		return fmt.Errorf("port %s: device %s in %s went away at once: %w", spec.Name, spec.Device, d.ns.label, err)
	}
	d.index = link.Attrs().Index
	if there != nil {
		d.found = rememberLink(there)
	}
	return nil
}

// attachFault words the failure of attachment.attach.
func attachFault(spec Spec, ns *namespace, err error) error {
	if opening := (*os.PathError)(nil); errors.As(err, &opening) || errors.Is(err, unix.ENOENT) {
		cure := "load the module with `modprobe tun`, or pass the device into the container with `--device /dev/net/tun`"
		if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
			cure = "allow the device to this process (file mode, or DeviceAllow=/dev/net/tun rw in its unit)"
		}
		return &fault{kind: ErrNoTUN, cause: err, text: fmt.Sprintf("port %s: %s cannot be opened (%v): %s", spec.Name, clonePath, errno(err), cure)}
	}
	switch {
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		return busy(spec, ns, err)
	case errors.Is(err, unix.EPERM):
		return &fault{kind: ErrPermission, cause: err, text: fmt.Sprintf(
			"port %s: the kernel does not let this process have device %s in %s: it needs CAP_NET_ADMIN in the user namespace that owns it",
			spec.Name, spec.Device, ns.label)}
	}
	return fmt.Errorf("port %s: attaching device %s in %s: %w", spec.Name, spec.Device, ns.label, err)
}

func busy(spec Spec, ns *namespace, cause error) error {
	return &fault{kind: ErrDeviceBusy, cause: cause, text: fmt.Sprintf(
		"port %s: device %s in %s is held by another process: stop that process, or name another `device`",
		spec.Name, spec.Device, ns.label)}
}

// checkSpec refuses what no kernel could do. The configuration has its own and
// finer checks; these keep the package safe by itself.
func checkSpec(spec Spec) error {
	bad := func(format string, args ...any) error {
		return &fault{kind: ErrSpec, text: "port " + spec.Name + ": " + fmt.Sprintf(format, args...)}
	}
	for _, name := range append([]string{spec.Device, spec.Bridge}, spec.Members...) {
		if name == "" {
			continue
		}
		if len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsAny(name, "/:%\x00 \t\n\v\f\r") {
			return bad("%q cannot name a device: 1 to 15 characters without space, slash, colon and percent sign", name)
		}
	}
	switch {
	case spec.Device == "":
		return bad("the kernel end needs a device name")
	case spec.MTU < MinMTU || spec.MTU > MaxMTU:
		return bad("mtu %d is out of range: %d to %d octets", spec.MTU, MinMTU, MaxMTU)
	case spec.TUN && spec.Bridge != "":
		return bad("a tun device has no Ethernet header and cannot join bridge %s: use `kind: tap`", spec.Bridge)
	case spec.Bridge == "" && len(spec.Members) > 0:
		return bad("devices %s have no bridge to be members of", strings.Join(spec.Members, ", "))
	case spec.Bridge == spec.Device:
		return bad("device and bridge are both called %s: name another `device`", spec.Device)
	}
	return nil
}

// Name of the kernel end.
func (d *Device) Name() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.spec.Device
}

// Ifindex of the kernel end, in its namespace.
func (d *Device) Ifindex() int { return d.index }

// KernelMAC is the link-layer address of the kernel end; zero for a TUN device.
func (d *Device) KernelMAC() packet.MAC {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.end.mac
}

// Attached reports that the device existed before; Close leaves such a device there.
func (d *Device) Attached() bool { return d.found != nil }

// FD is the non-blocking descriptor for read(2) and write(2), one frame a call. The
// Device owns it; whoever uses it must have stopped before Close is called, because
// the number may belong to another file right after. -1 once closed.
//
// A read fails with EAGAIN when nothing waits, with EBADFD once the device was
// deleted; a write fails with EIO while the kernel end is down.
func (d *Device) FD() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.queue.fd
}

// VnetHdr reports that every frame, in either direction, carries a virtio header
// of packet.VnetLen octets.
func (d *Device) VnetHdr() bool { return d.queue.features.VnetHdr }

// USO reports that frames may arrive as trains of UDP datagrams.
func (d *Device) USO() bool { return d.queue.features.USO }

// Features are the offloads that the kernel agreed to.
func (d *Device) Features() Features { return d.queue.features }

// SetCarrier plugs the cable in or pulls it: without carrier the host sees
// NO-CARRIER and hands out no frames. A device opens with its carrier up.
func (d *Device) SetCarrier(up bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue.fd < 0 {
		return closedFault(d.spec)
	}
	value := 0
	if up {
		value = 1
	}
	if err := unix.IoctlSetPointerInt(d.queue.fd, unix.TUNSETCARRIER, value); err != nil {
		return fmt.Errorf("port %s: setting the carrier of device %s: %w", d.spec.Name, d.spec.Device, err)
	}
	return nil
}

// Update changes an open port to what spec says and returns a word for each thing
// that it changed, sorted by the order of the work: "mtu", "mac", "bridge", "members", "host".
//
// It also heals: what the host took away meanwhile (the kernel end set down, a
// route lost with it, a place in the bridge) is put back, so that an Update with an
// unchanged spec is the answer to a State that is down. Only differences are touched;
// frames keep flowing.
//
// With ErrNeedsReopen nothing was changed. With any other error what spec wanted was
// taken back as far as the kernel allowed.
func (d *Device) Update(spec Spec) (changed []string, err error) {
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.queue.fd < 0 {
		return nil, closedFault(spec)
	}
	if what := needsReopen(d.spec, spec); what != "" {
		return nil, &fault{kind: ErrNeedsReopen, text: fmt.Sprintf(
			"port %s: its %s cannot change while device %s is open: close the port and open it again", spec.Name, what, d.spec.Device)}
	}
	if err := d.converge(spec); err != nil {
		if back := d.converge(d.spec); back != nil {
			err = together(err, fmt.Errorf("port %s: going back to the settings before: %w", spec.Name, back))
		}
		return nil, err
	}
	changed = differences(d.spec, spec)
	d.applied(spec)
	return changed, nil
}

// Close detaches and removes what Open and Update made: addresses, routes, places in
// bridges, bridges that nobody else uses, the device. Members go back to the bridge
// they came from. A device that existed before stays, with the settings it had. What can
// be taken back is, also when something fails on the way. A second Close does nothing.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ns.handle == nil {
		return nil
	}
	d.watched.Store(nil) // what happens from here on is no news
	var errs []error
	exists := d.exists()
	if d.found != nil || !exists {
		errs = append(errs, d.clearHost(exists))
	}
	errs = append(errs, d.leaveBridge(exists))
	if exists {
		errs = append(errs, d.releaseLink())
	}
	if d.queue.fd >= 0 {
		errs = append(errs, os.NewSyscallError("close", unix.Close(d.queue.fd)))
		d.queue.fd = -1
	}
	d.ns.close()
	if err := together(errs...); err != nil {
		return fmt.Errorf("port %s: closing device %s: %w", d.spec.Name, d.spec.Device, err)
	}
	return nil
}

// exists reports that the kernel end is still in its namespace, under its index: not
// deleted, not moved to another namespace, its number not taken by another device.
func (d *Device) exists() bool {
	name, ok := d.queue.device()
	if !ok || d.index == 0 {
		return false
	}
	link, err := d.ns.handle.LinkByIndex(d.index)
	return err == nil && link.Type() == "tuntap" && link.Attrs().Name == name
}

func closedFault(spec Spec) error {
	return &fault{kind: ErrClosed, text: fmt.Sprintf("port %s: device %s was closed: open the port again", spec.Name, spec.Device)}
}

func kindWord(tun bool) string {
	if tun {
		return "tun"
	}
	return "tap"
}

// missing reports netlink's "no such link", in either of its forms.
func missing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}

// errno reduces an error to the system's own words.
func errno(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// describe names an interface that stands in the way.
func describe(link netlink.Link) string {
	switch kind := link.Type(); kind {
	case "device":
		return "a network card"
	case "bridge":
		return "a bridge"
	default:
		return "of type " + kind
	}
}
