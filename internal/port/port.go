// Package port makes and watches the router's attachments: TUN/TAP devices
// whose kernel ends live in network namespaces.
package port

import (
	"net/netip"

	"vrouterd/internal/packet"
)

// Spec says how a port is to be attached.
type Spec struct {
	Name    string // the port's name in the configuration, for messages
	TUN     bool   // point to point without Ethernet headers; else TAP
	Netns   string // namespace of the kernel end: name, absolute path, "" for the daemon's own
	Device  string // name of the kernel end
	MTU     int
	Offload bool       // vnet headers and segmentation offload where the kernel has them
	MAC     packet.MAC // the router's own; the kernel end gets another, derived from it, when Host is set
	Bridge  string     // plug the kernel end into this bridge of the same namespace, made if absent
	Members []string   // devices moved into the bridge until Close
	Host    *HostSpec  // configure the kernel end as a lab host
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
