package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane/fib"
)

// ip4Lookup finds where the packet goes, and hands it over.
func (w *worker) ip4Lookup(p *work) {
	ip := p.ip()
	v := w.d.fib.Lookup(ip.Dst())
	// The order matters: a number seen in the FIB is known to every table
	// loaded afterwards (see the package comment).
	w.tables = w.d.tables.Load()
	if w.tables.Stateful != nil && !p.own {
		w.track(p) // NAT or the firewall has begun since the packet passed by: it must not slip through
		return
	}
	a := w.adjacency(v)
	if a.Kind == Multipath {
		v = w.choose(p, a)
		a = w.adjacency(v)
	}
	if p.group && a.Kind != BroadcastTo {
		w.drop(p, DropLinkBroadcast)
		return
	}
	if a.Kind == Rewrite {
		if a.Watched {
			w.reportUse(a)
		}
		w.ip4Rewrite(p, a)
		return
	}
	w.ip4Special(p, a, ip.Dst())
}

// ip4Special does what is to be done with a packet to dst that cannot be sent at once.
func (w *worker) ip4Special(p *work, a *Adjacency, dst packet.Addr) {
	switch a.Kind {
	case Local:
		w.ip4Local(p)
	case Glean:
		w.resolve(p, a.Port, dst)
	case Incomplete:
		w.resolve(p, a.Port, a.NextHop)
	case BroadcastTo:
		w.ip4Broadcast(p, a)
	case Blackhole:
		w.drop(p, DropBlackhole)
	case Unreachable:
		w.reject(p, DropUnreachable, packet.ICMPUnreachable, packet.ICMPHostUnreachable, 0)
	case Prohibit:
		w.reject(p, DropProhibit, packet.ICMPUnreachable, packet.ICMPAdminProhibited, 0)
	default:
		w.reject(p, DropNoRoute, packet.ICMPUnreachable, packet.ICMPNetUnreachable, 0)
	}
}

// adjacency never fails: a number that the tables do not hold is no route.
func (w *worker) adjacency(v fib.Value) *Adjacency {
	if int(v) < len(w.tables.Adjacencies) {
		return &w.tables.Adjacencies[v]
	}
	return &noRoute
}

// noRoute is what number 0 and every unknown number mean. It is never written.
var noRoute = Adjacency{Kind: None}

// choose picks a member of a multipath adjacency so that a flow keeps its way: by
// addresses, protocol and ports, or by addresses alone for fragments, whose
// later pieces have no ports to show.
func (w *worker) choose(p *work, a *Adjacency) fib.Value {
	if a.Count == 0 {
		return 0
	}
	h := FlowHash(p.ip())
	return w.tables.Members[a.First+uint32(uint64(h)*uint64(a.Count)>>32)]
}

// FlowHash spreads flows evenly over 32 bits.
func FlowHash(ip packet.IPv4) uint32 {
	key := uint64(ip.Src())<<32 | uint64(ip.Dst())
	ports := uint64(0)
	if !ip.IsFragment() {
		ports = uint64(ip.Protocol())
		if pr := ip.Protocol(); pr == packet.ProtoTCP || pr == packet.ProtoUDP {
			if hl := ip.HeaderLen(); len(ip) >= hl+4 {
				t := ip[hl : hl+4]
				ports |= uint64(t[0])<<32 | uint64(t[1])<<24 | uint64(t[2])<<16 | uint64(t[3])<<8
			}
		}
	}
	// The finalizer of SplitMix64, over both halves.
	h := key ^ ports*0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return uint32((h ^ h>>31) >> 32)
}

// ip4Local hands the router a packet of its own.
func (w *worker) ip4Local(p *work) {
	if !p.own && w.isOwn(p.ip().Src()) {
		w.drop(p, DropSourceMartian) // forged, so that the router would answer itself
		return
	}
	if p.opts.sourceRoute != 0 && w.tables.SourceRoute && w.nextSourceRoute(p) {
		return
	}
	if p.flow != nil {
		w.translate(p)
	}
	w.punt(p, Punt{Reason: PuntLocal})
}

// ip4Broadcast delivers a subnet's broadcast to the router when it came from
// that subnet, and never lets it cross to another (RFC 2644).
func (w *worker) ip4Broadcast(p *work, a *Adjacency) {
	switch {
	case p.own:
		w.sendBroadcast(p, a)
	case a.Port == p.in:
		w.punt(p, Punt{Reason: PuntBroadcast})
	default:
		w.drop(p, DropDirectedBroadcast)
	}
}

// resolve asks the control plane for a neighbour; the packet waits there.
func (w *worker) resolve(p *work, port PortID, nextHop packet.Addr) {
	w.punt(p, Punt{Reason: PuntResolve, Egress: port, NextHop: nextHop})
}
