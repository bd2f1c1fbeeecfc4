package port

import (
	"crypto/sha256"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"vrouterd/internal/packet"
)

// transmitQueue is the length, in frames, of the ring between the kernel end and the
// descriptor. When it is full the kernel drops at the tail. A host that floods may share a
// processor with the dataplane's thread, which then has its turn every few milliseconds and
// finds no more than a ring of frames: with the kernel's own 1000 (500 for TUN) a quarter of a million
// small packets a second, in some runs 0.36 of what the kernel forwards, with 4096 never less than 1.2.
// TCP does not care. The ring costs 32 KB; what waits in it is no longer charged to its
// sender, so that a flood of 64 KB trains at a router that is stopped holds 256 MB at the worst.
const transmitQueue = 4096

// aliasPrefix marks what vrouterd made, in the alias that `ip link` shows.
const aliasPrefix = "vrouterd:"

// kernelEnd is what was last set on the kernel end.
type kernelEnd struct {
	mac packet.MAC
}

// asFound is how an existing device was before it was attached to.
type asFound struct {
	mtu int
	up  bool
}

func rememberLink(link netlink.Link) *asFound {
	return &asFound{mtu: link.Attrs().MTU, up: link.Attrs().Flags&net.FlagUp != 0}
}

// kernelMAC derives the kernel end's address from the router's and the names of the port:
// locally administered, unicast, the same after every start, so that what other
// hosts hold in their ARP caches stays true.
func kernelMAC(spec Spec) packet.MAC {
	sum := sha256.Sum256(fmt.Appendf(nil, "kernel end\x00%s\x00%s\x00%s\x00%s", spec.Instance, spec.Name, spec.Device, spec.MAC[:]))
	mac := packet.MAC(sum[:6])
	mac[0] = mac[0]&^1 | 2
	if mac == spec.MAC {
		mac[5] ^= 1
	}
	return mac
}

// link is a handle by index for netlink calls, which survives a renaming.
func (d *Device) link() netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: d.index}}
}

// prepareLink sets, once, what a device of our own gets at birth. It is down as yet,
// so that no IPv6 address is tried before addrgenmode says that there shall be none.
func (d *Device) prepareLink(spec Spec) error {
	link, err := d.ns.handle.LinkByIndex(d.index)
	if err != nil {
		return fmt.Errorf("port %s: reading device %s: %w", spec.Name, spec.Device, err)
	}
	copy(d.end.mac[:], link.Attrs().HardwareAddr)
	if d.found != nil {
		return nil
	}
	// A kernel without IPv6 refuses this, and needs it not.
	_ = d.ns.handle.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
	if err := d.ns.handle.LinkSetAlias(link, aliasPrefix+spec.Instance+":"+spec.Name); err != nil {
		return fmt.Errorf("port %s: naming device %s in its alias: %w", spec.Name, spec.Device, err)
	}
	if err := d.ns.handle.LinkSetTxQLen(link, transmitQueue); err != nil {
		return fmt.Errorf("port %s: setting the transmit queue of device %s: %w", spec.Name, spec.Device, err)
	}
	return nil
}

// setLink brings MTU and, on a device of our own, the link-layer address to spec.
// An address that the host chose for itself afterwards is left alone.
func (d *Device) setLink(spec Spec, end netlink.Link) error {
	if end.Attrs().MTU != spec.MTU {
		if err := d.ns.handle.LinkSetMTU(end, spec.MTU); err != nil {
			return fmt.Errorf("port %s: setting mtu %d on device %s: %w", spec.Name, spec.MTU, spec.Device, err)
		}
	}
	if d.found != nil || spec.TUN {
		return nil
	}
	if mac := kernelMAC(spec); mac != d.end.mac {
		if err := d.ns.handle.LinkSetHardwareAddr(d.link(), mac[:]); err != nil {
			return fmt.Errorf("port %s: setting the link-layer address of device %s: %w", spec.Name, spec.Device, err)
		}
		d.end.mac = mac
	}
	return nil
}

// setUp sets the kernel end up.
func (d *Device) setUp(spec Spec) error {
	if err := d.ns.handle.LinkSetUp(d.link()); err != nil {
		return fmt.Errorf("port %s: setting device %s up: %w", spec.Name, spec.Device, err)
	}
	return nil
}

// releaseLink gives an existing device its settings back, and deletes one of our own.
// The deletion is explicit: closing the descriptor does the same, but only when no
// other thread is inside a poll of it.
func (d *Device) releaseLink() error {
	if d.found == nil {
		if err := d.ns.handle.LinkDel(d.link()); err != nil && !missing(err) {
			return fmt.Errorf("deleting it: %w", err)
		}
		return nil
	}
	if err := d.ns.handle.LinkSetMTU(d.link(), d.found.mtu); err != nil {
		return fmt.Errorf("giving it its mtu of %d back: %w", d.found.mtu, err)
	}
	if !d.found.up {
		if err := d.ns.handle.LinkSetDown(d.link()); err != nil {
			return fmt.Errorf("setting it down again: %w", err)
		}
	}
	return d.queue.dropOffloads()
}
