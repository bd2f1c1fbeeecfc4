// Package port makes and watches the router's attachments: TUN/TAP devices
// whose kernel ends live in network namespaces.
//
// A port is a wire with two ends. The near end is a file descriptor from which the
// dataplane reads what the host sent and to which it writes what the host is to
// receive. The far end, the kernel end, is a network device in some namespace: the
// only NIC of a lab host, or a port of a Linux bridge on which other hosts and real
// NICs sit.
//
//	dataplane <-> FD() | /dev/net/tun | kernel end [ in a bridge [ with members ] ] <-> host
//
// [Open] builds the wire from the inside out, in the order of device.go:
//
//	privileges -> namespace -> what is there already? -> device -> link -> bridge -> host -> up
//
// and takes all of it back if a step fails. What exists is never overwritten on a
// guess: a device of the wrong kind, or one that somebody else holds, is an error
// that says so. A device that was made persistent before (`ip tuntap add`) is attached
// to and left behind as it was found; every other one dies with its descriptor, also
// when the daemon is killed.
//
// What a kill cannot undo is the bridge. Bridges that are made here carry the alias
// "vrouterd:<instance>", so that the next run knows them for its own kind; whichever
// router leaves such a bridge last removes it.
//
// Each step converges: it is told what is wanted, compares that with what it did
// before, and does the difference. So the same code opens a port, changes it under
// traffic ([Device.Update]), heals it after the host meddled with it, and takes it
// down (nothing is wanted any more).
//
// IPv6: a device made here gets no link-local address (addrgenmode none). The
// router forwards IPv4 only, and a kernel end that solicits routers and joins
// multicast groups would do nothing but fill the drop counters. Devices made by
// others keep their setting.
//
// A [Watcher] tells within a second when a kernel end goes down, goes away or loses
// its namespace. It only tells: the owner closes the device and opens it again.
package port

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// Limits of Spec.MTU, in octets of IP packet: the least that IPv4 allows (RFC 791
// section 3.2), and the largest jumbo frame in common use.
const (
	MinMTU = 68
	MaxMTU = 9216
)

// Spec says how a port is to be attached.
type Spec struct {
	Name     string // the port's name in the configuration, for messages
	Instance string // the router's name, for the alias of what is made
	TUN      bool   // point to point without Ethernet headers; else TAP
	Netns    string // namespace of the kernel end: name, absolute path, "" for the daemon's own
	Device   string // name of the kernel end
	MTU      int
	Offload  bool       // vnet headers and segmentation offload where the kernel has them
	MAC      packet.MAC // the router's own; the kernel end of a TAP gets another, derived from it
	Bridge   string     // plug the kernel end into this bridge of the same namespace, made if absent; not with Host
	Members  []string   // devices moved into the bridge until Close
	// AttachOnly waits for a device that somebody else makes: where it does not exist, Open
	// returns ErrDeviceMissing and makes nothing.
	AttachOnly bool
	Host       *HostSpec // configure the kernel end as a lab host
}

// HostSpec is the configuration of a kernel end that plays a lab host.
type HostSpec struct {
	Address []netip.Prefix
	Gateway netip.Addr // zero: none
}

// State of a port's kernel end as the watcher sees it.
type State struct {
	Up     bool   // the device exists, is administratively up and forwards frames
	Word   string // up, down, missing: one word for `show ports`
	Reason string // a sentence when not up
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
	case spec.Host != nil && spec.Bridge != "":
		return bad("a device in bridge %s cannot be a host, because the bridge takes its frames: leave out `host` or `bridge`", spec.Bridge)
	case spec.Bridge == "" && len(spec.Members) > 0:
		return bad("devices %s have no bridge to be members of", strings.Join(spec.Members, ", "))
	case spec.Bridge == spec.Device:
		return bad("device and bridge are both called %s: name another `device`", spec.Device)
	}
	return nil
}
