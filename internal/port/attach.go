package port

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// survey finds out what of spec is there already. nil: nothing, the device is to be made.
func (d *Device) survey(spec Spec) (*netlink.Tuntap, error) {
	link, err := d.ns.handle.LinkByName(spec.Device)
	if missing(err) {
		if spec.AttachOnly {
			return nil, &fault{kind: ErrDeviceMissing, text: fmt.Sprintf(
				"port %s: device %s, which somebody else had made, is gone from %s: make it again and the port attaches to it",
				spec.Name, spec.Device, d.ns.label)}
		}
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("port %s: looking for device %s in %s: %w", spec.Name, spec.Device, d.ns.label, err)
	}
	tuntap, ok := link.(*netlink.Tuntap)
	if !ok {
		return nil, &fault{kind: ErrWrongKind, text: fmt.Sprintf(
			"port %s: device %s in %s exists and is %s, not a TUN/TAP device: name another `device`, or to plug it in list it under `bridge.members`",
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
	if opening := (*os.PathError)(nil); errors.As(err, &opening) {
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
		"port %s: device %s in %s is held by another process or port: stop that one, or name another `device`",
		spec.Name, spec.Device, ns.label)}
}

func kindWord(tun bool) string {
	if tun {
		return "tun"
	}
	return "tap"
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
		return "an interface of type " + kind
	}
}
