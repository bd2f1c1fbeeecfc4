package router

import (
	"fmt"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
)

// neighborActions carries out what the ARP machine asks for, in its order. What it
// lends is used up before the machine's next step.
func (r *Router) neighborActions(actions []arp.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case arp.Send:
			r.send.SendFrame(dataplane.PortID(a.Port), a.Frame)
		case arp.Bind:
			r.fwd.bind(neighborKey{dataplane.PortID(a.Port), a.Addr}, a.MAC)
		case arp.Unbind:
			r.fwd.unbind(neighborKey{dataplane.PortID(a.Port), a.Addr})
		case arp.Watch:
			r.fwd.watch(neighborKey{dataplane.PortID(a.Port), a.Addr}, true)
		case arp.Release:
			// They go on once the adjacency that they waited for is published.
			for _, w := range a.Packets {
				p := w.(*dataplane.Punt)
				r.later = append(r.later, func() { r.send.Forward(p) })
			}
		case arp.Abandon:
			for _, w := range a.Packets {
				r.send.Return(w.(*dataplane.Punt), dataplane.DropNeighborUnknown,
					packet.ICMPUnreachable, packet.ICMPHostUnreachable)
			}
		case arp.Dropped:
			// Counted by the machine, under the reason's own name.
		case arp.Changed:
			r.neighborChanged(a)
		case arp.Conflict:
			r.addressConflict(a)
		case arp.Address:
			r.addressState(a)
		}
	}
}

func (r *Router) neighborChanged(a arp.Changed) {
	name := r.portName(uint32(a.Port))
	subject := fmt.Sprintf("%v on %s", a.Addr, name)
	fields := map[string]string{"port": name, "address": a.Addr.String(), "old": a.Old.String(), "new": a.New.String()}
	if !a.MAC.IsZero() {
		fields["mac"] = a.MAC.String()
	}
	switch {
	case a.Old == a.New || (!a.OldMAC.IsZero() && !a.MAC.IsZero() && a.OldMAC != a.MAC):
		r.event("neighbor_moved", subject, fmt.Sprintf("neighbor %s moved from %v to %v", subject, a.OldMAC, a.MAC), fields)
	default:
		r.note("neighbor_changed", subject, fmt.Sprintf("neighbor %s: %v -> %v", subject, a.Old, a.New), fields)
	}
}

func (r *Router) addressConflict(a arp.Conflict) {
	name := r.portName(uint32(a.Port))
	text := fmt.Sprintf("address %v of port %s is also used by %v", a.Addr, name, a.MAC)
	r.log.Warn("address conflict", "port", name, "address", a.Addr, "mac", a.MAC, "defended", a.Defended)
	r.leaseContested(a)
	r.event("address_conflict", a.Addr.String(), text, map[string]string{"port": name, "mac": a.MAC.String()})
}

// addressState follows an address of ours through its probes (RFC 5227 section 2.1).
func (r *Router) addressState(a arp.Address) {
	p := r.byID[dataplane.PortID(a.Port)]
	if p == nil {
		return
	}
	tentative := a.State != arp.AddressReady
	if p.tentative[a.Addr] == tentative {
		return
	}
	p.tentative[a.Addr] = tentative
	r.claimAddresses(p)
	if p.up {
		r.ripPortUp(p, time.Now())
	}
}
