package router

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
)

// punted serves one packet that the dataplane could not finish.
func (r *Router) punted(p *dataplane.Punt) {
	now := time.Now()
	switch p.Reason {
	case dataplane.PuntARP:
		eth := packet.Ethernet(p.Link[:])
		r.neighborActions(r.arp.Step(now, arp.Frame{
			Port: arp.PortID(p.Port), Src: eth.Src(), Dst: eth.Dst(), Payload: p.Packet,
		}))
	case dataplane.PuntLocal:
		r.local(now, p)
	case dataplane.PuntBroadcast:
		if !r.ripReceive(now, p, p.Packet) {
			r.dp.CountDrop(dataplane.DropBroadcast)
		}
	case dataplane.PuntMulticast:
		if !r.ripReceive(now, p, p.Packet) {
			r.dp.CountDrop(dataplane.DropMulticast)
		}
	case dataplane.PuntRouterAlert:
		r.send.Forward(p) // nothing here asks for such packets yet: they go their way
	case dataplane.PuntResolve:
		r.neighborActions(r.arp.Step(now, arp.Resolve{
			Port: arp.PortID(p.Egress), Addr: p.NextHop, Packet: p,
		}))
	case dataplane.PuntUsed:
		r.fwd.watch(neighborKey{p.Egress, p.NextHop}, false)
		r.neighborActions(r.arp.Step(now, arp.Used{Port: arp.PortID(p.Egress), Addr: p.NextHop}))
	case dataplane.PuntError, dataplane.PuntRedirect:
		r.sendError(now, p)
	}
}

// local serves a packet to one of the router's addresses.
func (r *Router) local(now time.Time, p *dataplane.Punt) {
	ip := packet.IPv4(p.Packet)
	if ip.IsFragment() {
		whole, _ := r.pieces.Add(now, ip)
		if whole == nil {
			return
		}
		ip = whole
	}
	if !r.ripReceive(now, p, ip) {
		r.stack.Deliver(ip)
	}
}

// reassemblyTimedOut tells a source that its fragments never made a whole packet
// (RFC 792; RFC 1122 section 3.3.2). first is the first fragment, where it came.
func (r *Router) reassemblyTimedOut(first []byte) {
	if first == nil {
		return
	}
	r.send.Return(&dataplane.Punt{Packet: first, Own: true}, dataplane.DropNoReassembly,
		packet.ICMPTimeExceeded, packet.ICMPReassembly)
}

// sendError sends the ICMP error that the dataplane asked for, within the limits.
func (r *Router) sendError(now time.Time, p *dataplane.Punt) {
	to := packet.IPv4(p.Packet).Src()
	if !r.limits.allow(now, to) {
		r.errorsTx[1]++
		return
	}
	src, ok := r.sourceTowards(p.Port, to)
	if !ok {
		r.errorsTx[1]++
		return
	}
	r.errorsTx[0]++
	r.send.Output(dataplane.ICMPError(p, src))
}

// sourceTowards chooses the address that an ICMP error bears (RFC 1812 section
// 4.3.2.4): one of the port that the packet came in by, that of the source's own
// network first; any of the router's when the port has none.
func (r *Router) sourceTowards(in dataplane.PortID, to packet.Addr) (packet.Addr, bool) {
	if p := r.byID[in]; p != nil {
		addresses := p.usable()
		for _, a := range addresses {
			if a.Contains(to.Netip()) {
				return packet.AddrFrom(a.Addr()), true
			}
		}
		if len(addresses) > 0 {
			return packet.AddrFrom(addresses[0].Addr()), true
		}
	}
	own := r.ownAddresses()
	for _, a := range own {
		if a.Addr() == to.Netip() { // an answer to ourselves
			return to, true
		}
	}
	if len(own) == 0 {
		return 0, false
	}
	return packet.AddrFrom(own[0].Addr()), true
}

// sourceFor is the address that the router's own packets to an address bear.
func (r *Router) sourceFor(to netip.Addr) netip.Addr {
	l := r.rib.Lookup(to)
	for _, hop := range l.Hops {
		p := r.byID[dataplane.PortID(hop.Port)]
		if p == nil {
			continue
		}
		near := hop.Gateway
		if !near.IsValid() {
			near = to
		}
		if a, ok := r.sourceTowards(p.id, packet.AddrFrom(near)); ok {
			return a.Netip()
		}
	}
	if a, ok := r.sourceTowards(0, packet.AddrFrom(to)); ok {
		return a.Netip()
	}
	return netip.Addr{}
}
