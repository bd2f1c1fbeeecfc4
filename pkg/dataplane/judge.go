package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// rulesSee is the packet in hand as rules see it, addressed as it is now: the caller puts
// in what NAT makes of the destination, and the port of departure.
func (w *worker) rulesSee(p *work, state firewall.State) firewall.Packet {
	parsed := &w.flow.parsed
	ip := p.ip()
	k := firewall.Packet{
		Key: parsed.Key, In: uint16(p.in), State: state,
		ICMPType: parsed.ICMPType, ICMPCode: parsed.ICMPCode, TCPFlags: parsed.Flags,
		DSCP: ip.TOS() >> 2, Length: len(ip), Segment: p.wireLen(), Count: parsed.Count,
	}
	if parsed.Class == conntrack.ClassError || parsed.Class == conntrack.ClassInvalid {
		// Its own addresses, not those of the packet that it quotes; ports it has none, or they lie.
		k.Key = conntrack.MakeKey(ip.Protocol(), ip.Src(), 0, ip.Dst(), 0)
	}
	return k
}

// access holds a packet against the stateless rules of its ports; false: it went no further. stable tells that
// the packets that follow it need not be asked about.
func (w *worker) access(p *work, k *firewall.Packet) (stable, ok bool) {
	rules := w.flow.st.Firewall
	if rules == nil || p.own && k.Out == 0 || !rules.HasAccess(k.In, k.Out) {
		return true, true
	}
	v := rules.Access(w.now, k)
	if v.Log {
		w.logged(p, k.Out, v, true)
	}
	if v.Action == firewall.Accept {
		return v.Stable, true
	}
	w.refuse(p, v.Action, DropAccess, DropAccessReject)
	return false, false
}

// guard is all of it where there are access rules and nothing else: no sessions, which a flood could
// use up. TCP segments that open no connection are Established to rules, as with the access lists of old.
func (w *worker) guard(p *work) {
	dst := p.ip().Dst()
	_, a := w.route(p, dst)
	out, leaves := egressOf(a)
	if !leaves {
		w.turnAway(p, a, dst)
		return
	}
	state := firewall.Established
	switch w.flow.parsed.Class {
	case conntrack.ClassInvalid:
		state = firewall.Invalid
	case conntrack.ClassOpens:
		state = firewall.New
	case conntrack.ClassError:
		state = firewall.Related
	}
	k := w.rulesSee(p, state)
	k.Out = out
	if _, ok := w.access(p, &k); ok {
		w.dispatch(p, a, dst)
	}
}

// judge asks the rules between zones.
func (w *worker) judge(p *work, rules *firewall.Policy, k *firewall.Packet) firewall.Verdict {
	v := rules.Judge(w.now, k)
	if v.Log {
		w.logged(p, k.Out, v, false)
	}
	return v
}

// judgeAlone is judge for a packet that will have no session: a rule that counts sessions is to forget it at once.
func (w *worker) judgeAlone(p *work, rules *firewall.Policy, k *firewall.Packet) firewall.Verdict {
	v := w.judge(p, rules, k)
	if v.Action == firewall.Accept && v.ID != 0 && k.State != firewall.Invalid {
		rules.Ended(v.ID, &k.Key)
	}
	return v
}

// admit decides whether a packet may open a session; false: it went no further.
func (w *worker) admit(p *work, o *opening, k *firewall.Packet) (ok bool) {
	st := w.flow.st
	if o.stable, ok = w.access(p, k); !ok {
		return false
	}
	if rules := st.rules(); rules != nil {
		v := w.judge(p, rules, k)
		if v.Action != firewall.Accept {
			w.refuse(p, v.Action, DropFirewall, DropFirewallReject)
			return false
		}
		o.rule = v.ID
		return true
	}
	if k.Out != 0 && st.outside(k.In) && o.target.Kind != nat.ToForward && o.target.Kind != nat.ToMapping {
		w.unsolicited(p, DropNATUnsolicited)
		return false
	}
	return true
}

// admitGroup decides about a packet to everyone, or to a group, which the router itself may want.
func (w *worker) admitGroup(p *work) bool {
	w.flow.st = w.tables.Stateful
	return w.admitLocal(p)
}

// admitLocal judges a broadcast or multicast that comes to the router: by the rules to the router, and without a session,
// since nobody answers from that address. False: it went no further.
func (w *worker) admitLocal(p *work) bool {
	f := &w.flow
	if f.st.Firewall == nil {
		return true
	}
	if p.ip().IsFragment() && !w.whole(p) {
		return false
	}
	w.readTick()
	conntrack.Parse(p.ip(), &f.parsed)
	f.parsed.Count = 1
	state := firewall.New
	if f.parsed.Class != conntrack.ClassOpens {
		state = firewall.Invalid
	}
	k := w.rulesSee(p, state)
	if _, ok := w.access(p, &k); !ok {
		return false
	}
	if rules := f.st.rules(); rules != nil {
		if v := w.judgeAlone(p, rules, &k); v.Action != firewall.Accept {
			w.refuse(p, v.Action, DropFirewall, DropFirewallReject)
			return false
		}
	}
	return true
}

// trackGroup handles a packet that came in a link-layer broadcast: only one to
// the broadcast address of a subnet may (RFC 1122 section 3.3.6).
func (w *worker) trackGroup(p *work) {
	dst := p.ip().Dst()
	if _, a := w.route(p, dst); a.Kind == BroadcastTo {
		w.broadcast(p, a)
		return
	}
	w.drop(p, DropLinkBroadcast)
}

// broadcast handles a packet to a subnet's broadcast address.
func (w *worker) broadcast(p *work, a *Adjacency) {
	if !p.own && a.Port == p.in && !w.admitLocal(p) {
		return
	}
	w.ip4Broadcast(p, a)
}

// stray handles a packet that is of no session and can open none. Rules decide about it where there are any;
// where NAT would have to translate it, nobody knows into what. What is left passes as in a router
// that has no sessions.
func (w *worker) stray(p *work, why DropReason) {
	if p.own {
		w.ip4Lookup(p) // such as a reset of the router's own
		return
	}
	st := w.flow.st
	dst := p.ip().Dst()
	_, a := w.route(p, dst)
	out, leaves := egressOf(a)
	if !leaves {
		w.turnAway(p, a, dst)
		return
	}
	k := w.rulesSee(p, firewall.Invalid)
	k.Out = out
	if _, ok := w.access(p, &k); !ok {
		return
	}
	if rules := st.rules(); rules != nil {
		v := w.judge(p, rules, &k)
		switch {
		case v.Rule >= 0 && v.Action != firewall.Accept:
			w.refuse(p, v.Action, DropFirewall, DropFirewallReject)
			return
		case v.Rule < 0 && (v.Pair >= 0 || v.Action != firewall.Accept):
			w.drop(p, why) // a policy is about sessions; what is wrong with the packet says more
			return
		}
	}
	if out != 0 && st.NAT != nil && (st.outside(k.In) || st.outside(out) || st.NAT.Translated(dst)) {
		w.drop(p, why)
		return
	}
	w.dispatch(p, a, dst)
}

// misfit handles a packet that the state of its session does not allow.
func (w *worker) misfit(p *work, s *conntrack.Session, reason conntrack.Reason) {
	if s.Flags()&(conntrack.SourceTranslated|conntrack.DestTranslated) != 0 {
		w.drop(p, sessionDrop(reason))
		return
	}
	w.stray(p, sessionDrop(reason))
}

// refuse drops a packet as a rule wants it: in silence, or with an answer.
func (w *worker) refuse(p *work, action firewall.Action, drop, reject DropReason) {
	code := uint8(packet.ICMPPortUnreachable)
	switch action {
	case firewall.Drop:
		w.drop(p, drop)
		return
	case firewall.Reject, firewall.RejectReset:
		if p.ip().Protocol() == packet.ProtoTCP {
			w.reset(p, reject)
			return
		}
	case firewall.RejectAdmin:
		code = packet.ICMPAdminProhibited
	case firewall.RejectHost:
		code = packet.ICMPHostUnreachable
	case firewall.RejectNetwork:
		code = packet.ICMPNetUnreachable
	}
	w.reject(p, reject, packet.ICMPUnreachable, code, 0)
}
