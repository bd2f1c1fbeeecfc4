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
		r.sawARP(p.Port, p.Packet)
		if r.contradicts(now, p.Port, p.Packet) {
			return
		}
		eth := packet.Ethernet(p.Link[:])
		r.neighborActions(r.arp.Step(now, arp.Frame{
			Port: arp.PortID(p.Port), Src: eth.Src(), Dst: eth.Dst(), Payload: p.Packet,
		}))
	case dataplane.PuntLocal:
		r.local(now, p)
	case dataplane.PuntBroadcast:
		if !r.whole(now, p) {
			return
		}
		if !r.dhcpReceive(now, p, p.Packet) && !r.ripReceive(now, p, p.Packet) {
			r.dp.CountDrop(dataplane.DropBroadcast)
		}
	case dataplane.PuntMulticast:
		if !r.whole(now, p) {
			return
		}
		if !r.ripReceive(now, p, p.Packet) && !r.upnpReceive(now, p, p.Packet) {
			r.dp.CountDrop(dataplane.DropMulticast)
		}
	case dataplane.PuntDHCPClient:
		r.clientReceive(now, p)
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
	case dataplane.PuntReset:
		r.sendReset(now, p)
	case dataplane.PuntLogged:
		r.logged(p)
	case dataplane.PuntHelper:
		r.help(p)
	case dataplane.PuntHeldSYN:
		r.hold(now, p)
	}
}

// whole puts the pieces together of what was sent to everyone, each port's by themselves; false: some are missing yet, or it never will be.
func (r *Router) whole(now time.Time, p *dataplane.Punt) bool {
	if !packet.IPv4(p.Packet).IsFragment() {
		return true
	}
	p.Packet, _ = r.pieces.AddFrom(now, uint32(p.Port), p.Packet)
	return p.Packet != nil
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
	if r.unsolicited(ip) {
		r.holdLocal(now, p, ip)
		return
	}
	if !r.dhcpReceive(now, p, ip) && !r.sawEcho(ip) && !r.ripReceive(now, p, ip) && !r.portMapReceive(now, p, ip) && !r.upnpReceive(now, p, ip) {
		if !r.dnsKeepsOut(now, p, ip) {
			r.stack.DeliverFrom(uint32(p.Port), ip)
		}
	}
}

// expireFragments tells the sources of fragments that never made a whole packet
// (RFC 792; RFC 1122 section 3.3.2), as far as their first fragment has come.
func (r *Router) expireFragments(now time.Time) {
	for _, first := range r.pieces.Expire(now) {
		r.send.Return(&dataplane.Punt{Packet: first, Own: true}, dataplane.DropNoReassembly,
			packet.ICMPTimeExceeded, packet.ICMPReassembly)
	}
	for _, first := range r.dp.ExpireFragments() { // in transit, for NAT and the filter
		r.send.Return(&dataplane.Punt{Packet: first, Own: true}, dataplane.DropFragmentLost,
			packet.ICMPTimeExceeded, packet.ICMPReassembly)
	}
}

// sendError sends the ICMP error that the dataplane asked for, within the limits.
func (r *Router) sendError(now time.Time, p *dataplane.Punt) {
	src, ok := r.errorSource(p)
	if !ok {
		r.limits.refuse()
		return
	}
	if r.limits.allow(now, packet.IPv4(p.Packet).Src()) {
		r.send.Output(dataplane.ICMPError(p, src))
	}
}

// hostOutput sends what the host stack makes. Its ICMP errors, such as those about closed
// ports, and its resets of connections that it does not have are held to the limits of all others: segments with a forged source would
// have it reset their victim. It runs on the host stack's goroutine.
func (r *Router) hostOutput(out dataplane.Injector) func([]byte) {
	return func(b []byte) {
		ip := packet.IPv4(b)
		if ip.Protocol() == packet.ProtoICMP && ip.FragmentOffset() == 0 && len(ip.Payload()) >= packet.ICMPLen &&
			packet.ICMP(ip.Payload()).IsError() && !r.limits.allow(time.Now(), ip.Dst()) {
			return
		}
		if resetsNothing(ip) && !r.limits.allow(time.Now(), ip.Dst()) {
			return
		}
		out.Output(b)
	}
}

// resetsNothing reports a reset that answers a segment of no connection (RFC 9293 section 3.10.7.1): it has no ACK,
// or the number 0. Those of a connection have both, but for one in four thousand million.
func resetsNothing(ip packet.IPv4) bool {
	if ip.Protocol() != packet.ProtoTCP || ip.IsFragment() || len(ip.Payload()) < packet.TCPMinLen {
		return false
	}
	tcp := packet.TCP(ip.Payload())
	return tcp.Flags()&packet.TCPRst != 0 && (tcp.Flags()&packet.TCPAck == 0 || tcp.Seq() == 0)
}

// errorSource chooses the address that an ICMP error bears. Fragments that were never whole
// had come to the end of their way: the error is from there.
func (r *Router) errorSource(p *dataplane.Punt) (packet.Addr, bool) {
	quoted := packet.IPv4(p.Packet)
	if p.Drop == dataplane.DropNoReassembly {
		for _, a := range r.ownAddresses() {
			if a.Addr() == quoted.Dst().Netip() {
				return quoted.Dst(), true
			}
		}
	}
	if p.Drop == dataplane.DropFragmentLost { // nobody remembers which port the first fragment came in by
		a := r.sourceFor(quoted.Src().Netip())
		return packet.AddrFrom(a), a.IsValid()
	}
	return r.sourceTowards(p.Port, quoted.Src())
}

// sourceTowards is an address for what goes back by the port that a packet came in by
// (RFC 1812 section 4.3.2.4): one of the port's, that of the receiver's own network
// first; any of the router's when the port has none.
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
