package port

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
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
	if err := Check(spec); err != nil {
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

// missing reports netlink's "no such link", in either of its forms.
func missing(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}
