package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane/fib"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// opening is a session that a packet is about to open.
type opening struct {
	target nat.Target
	inside conntrack.Key // source before, destination after translation: what rules see
	number fib.Value     // the adjacency that the packet goes to
	out    uint16
	rule   uint16 // firewall.Verdict.ID of what let it in
	stable bool   // access rules will say the same of the packets that follow
}

// open takes a packet that belongs to no session through inbound NAT, lookup and judgement. What passes gets a
// session (outbound.go).
func (w *worker) open(p *work) {
	f := &w.flow
	st := f.st
	if f.parsed.Class == conntrack.ClassContinues && !w.picksUp(p) {
		why := sessionDrop(conntrack.ReasonNoSession)
		if f.ended {
			why = DropSessionPath
		}
		w.stray(p, why)
		return
	}

	if !p.own && w.isOwn(p.ip().Src()) {
		// As in ip4Local, and before anything remembers it: behind a forward, an inside host would take it for the
		// router's, and NAT would give whoever is inside the router's own ports.
		w.drop(p, DropSourceMartian)
		return
	}

	o := opening{inside: f.parsed.Key, target: nat.Target{Rule: -1, Rules: -1}}
	state := firewall.New
	if st.NAT != nil {
		o.target = st.Mappings.Inbound(st.NAT, w.now, uint16(p.in), &f.parsed.Key)
		switch o.target.Kind {
		case nat.Filtered:
			w.unsolicited(p, DropNATFiltered)
			return
		case nat.ToForward:
			state = firewall.Forwarded
			if o.target.Helper {
				state = firewall.Related
			}
		case nat.ToMapping:
			state = firewall.Mapped
		}
		if state != firewall.New {
			o.inside.Dst, o.inside.DstPort = o.target.Addr, o.target.Port
		}
	}

	v, a := w.route(p, o.inside.Dst)
	out, leaves := egressOf(a)
	o.number, o.out = v, out
	switch {
	case !leaves:
		w.letGo(&o)
		w.turnAway(p, a, o.inside.Dst)
		return
	case out == 0 && p.own:
		w.letGo(&o)
		w.ip4Local(p) // from the router to itself
		return
	case out != 0 && o.target.Kind == nat.Unclaimed:
		w.unsolicited(p, DropNATUnsolicited) // sent on, it would only come back
		return
	}

	k := w.rulesSee(p, state)
	k.Key, k.Out = o.inside, out
	if !w.admit(p, &o, &k) {
		w.letGo(&o)
		return
	}
	if out == 0 && st.rules() == nil && st.outside(uint16(p.in)) && state == firewall.New {
		// Nothing would ask for this session: no rule, no translation. Scans and floods of
		// the router's own address take no room from those who are inside.
		w.ip4Local(p)
		return
	}
	if a.Kind == Rewrite && !p.own && w.cannotLeave(p, a, o.inside.Dst) {
		w.letGo(&o)
		return
	}
	w.create(p, a, &o)
}

// picksUp reports a TCP segment that may open a session although it begins no connection: one from before the router's
// own time. The router knows its own connections.
func (w *worker) picksUp(p *work) bool {
	f := &w.flow
	return f.st.Loose && !p.own && f.parsed.PicksUp()
}

// cannotLeave refuses a packet that ip4Rewrite would refuse, before it opens a session and takes a port
// for it: so traceroute's first packets take none.
func (w *worker) cannotLeave(p *work, a *Adjacency, dst packet.Addr) bool {
	port, ip := &w.tables.Ports[a.Port], p.ip()
	switch {
	case port.LeakGuard && dst.IsPrivate():
		w.reject(p, DropLeakGuard, packet.ICMPUnreachable, packet.ICMPNetUnreachable, 0)
	case ip.TTL() <= 1:
		w.reject(p, DropTTL, packet.ICMPTimeExceeded, packet.ICMPTTLExceeded, 0)
	case ip.DontFragment() && p.wireLen() > port.MTU:
		w.reject(p, DropFragmentationNeeded, packet.ICMPUnreachable, packet.ICMPFragNeeded, uint32(port.MTU))
	default:
		return false
	}
	return true
}

// unsolicited drops what NAT lets nobody have. A TCP SYN from outside may be the first half of a simultaneous opening: nothing
// is said about it for six seconds, in the control plane (RFC 5382 REQ-4). A firewall
// never says anything (REQ-4a).
func (w *worker) unsolicited(p *work, why DropReason) {
	f := &w.flow
	const all = packet.TCPSyn | packet.TCPAck | packet.TCPRst | packet.TCPFin
	if f.parsed.Key.Protocol == packet.ProtoTCP && f.parsed.Flags&all == packet.TCPSyn &&
		f.st.outside(uint16(p.in)) && f.st.rules() == nil && w.errorAllowed(p) {
		w.puntError(p, Punt{Reason: PuntHeldSYN, Drop: why, Type: packet.ICMPUnreachable, Code: packet.ICMPPortUnreachable})
	}
	w.drop(p, why)
}
