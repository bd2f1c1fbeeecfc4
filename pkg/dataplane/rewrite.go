package dataplane

import (
	"vrouterd/internal/packet"
)

// ip4Rewrite makes the packet ready for the wire that the adjacency leads to.
// Everything that may still refuse it comes before the first changed octet, so that an
// ICMP error quotes what the source has sent.
func (w *worker) ip4Rewrite(p *work, a *Adjacency) {
	port := &w.tables.Ports[a.Port]
	ip := p.ip()
	if port.LeakGuard && p.dst().IsPrivate() {
		w.reject(p, DropLeakGuard, packet.ICMPUnreachable, packet.ICMPNetUnreachable, 0)
		return
	}
	if !p.own {
		if ip.TTL() <= 1 {
			w.reject(p, DropTTL, packet.ICMPTimeExceeded, packet.ICMPTTLExceeded, 0)
			return
		}
		if p.opts.strict && !w.strictGood(p, port, a) {
			w.reject(p, DropSourceRoute, packet.ICMPUnreachable, packet.ICMPSourceRouteFail, 0)
			return
		}
		if a.Port == p.in && port.Redirects && p.flow == nil {
			w.redirect(p, port, a)
		}
	}
	tooBig := p.wireLen() > port.MTU
	if tooBig && ip.DontFragment() {
		w.reject(p, DropFragmentationNeeded, packet.ICMPUnreachable, packet.ICMPFragNeeded, uint32(port.MTU))
		return
	}

	if p.flow != nil {
		w.translate(p)
	}
	if !p.own {
		ip.DecrementTTL()
	}
	if p.opts.recordRoute|p.opts.timestamp|p.opts.sourceRoute != 0 {
		w.stampOptions(p, port)
	}
	if ip.Protocol() == packet.ProtoTCP {
		w.clampMSS(p, port)
	}
	if port.Ethernet {
		copy(p.link(), a.Header[:])
	}
	if tooBig {
		w.fragment(p, port, a.Port)
		return
	}
	w.transmit(p, port, a.Port)
}

// redirect tells a source of a better first hop in its own subnet (RFC 1812 section
// 5.2.7.2); the packet goes on regardless. A source-routed packet is never redirected, nor
// one that is translated: the other hop would not do that for it.
func (w *worker) redirect(p *work, port *Port, a *Adjacency) {
	if p.opts.sourceRoute != 0 || !port.Ethernet || !shareSubnet(port, p.ip().Src(), a.NextHop) || !w.errorAllowed(p) {
		return
	}
	w.puntError(p, Punt{Reason: PuntRedirect, Type: packet.ICMPRedirect, Code: packet.ICMPRedirectHost, Rest: uint32(a.NextHop)})
}

// onLink reports whether an address belongs to a subnet of the port.
func onLink(port *Port, a packet.Addr) bool { return shareSubnet(port, a, a) }

// shareSubnet reports whether two addresses belong to one subnet of the port.
func shareSubnet(port *Port, a, b packet.Addr) bool {
	for _, prefix := range port.Prefixes {
		mask, network := packet.Mask(prefix.Bits()), packet.AddrFrom(prefix.Addr())
		if (a^network)&mask == 0 && (b^network)&mask == 0 {
			return true
		}
	}
	return false
}

// sendBroadcast sends a packet of the router's own to everyone on a port.
func (w *worker) sendBroadcast(p *work, a *Adjacency) {
	port := &w.tables.Ports[a.Port]
	if port.Ethernet {
		eth := packet.Ethernet(p.link())
		eth.SetDst(packet.BroadcastMAC)
		eth.SetSrc(port.MAC)
		eth.SetType(packet.EtherTypeIPv4)
	}
	if p.wireLen() > port.MTU {
		w.fragment(p, port, a.Port)
		return
	}
	w.transmit(p, port, a.Port)
}
