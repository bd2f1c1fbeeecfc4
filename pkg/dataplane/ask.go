package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/nat"
)

// What the control plane asks of the path without a packet, to explain what would become of one.

// Now is the dataplane's clock, in nanoseconds.
func (d *Dataplane) Now() int64 { return d.clock() }

// Martian reports why a packet between two addresses is dropped at the door, if it is.
func Martian(src, dst packet.Addr, classE bool) (DropReason, bool) {
	reason := martian(src, dst, classE)
	return reason, reason != dropNone
}

// NATDrop is the reason for which a packet is dropped that NAT refuses a session.
func NATDrop(r nat.Reason) DropReason { return natDrop(r) }
