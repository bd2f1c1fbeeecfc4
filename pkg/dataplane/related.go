package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
)

// related takes an ICMP error to whom it concerns: the sender of the packet that it quotes, which the
// session knows. It neither refreshes the session nor ends it (RFC 5508 REQ-6,
// RFC 5382 REQ-10).
func (w *worker) related(p *work) {
	f := &w.flow
	if p.own {
		w.ownError(p)
		return
	}
	s, direction := f.st.Sessions.Find(w.now, &f.parsed.Key)
	switch {
	case s == nil:
		w.stray(p, sessionDrop(conntrack.ReasonNoSession))
		return
	case p.ip().Dst() != f.parsed.Key.Dst:
		w.stray(p, sessionDrop(conntrack.ReasonICMPInner)) // it tells somebody of a packet of somebody else's
		return
	}
	f.rewrite = s.Rewrite(direction)
	dst := p.ip().Dst()
	if f.rewrite.Changed {
		dst = f.rewrite.Dst
	}
	_, a := w.route(p, dst)
	out, leaves := egressOf(a)
	if !leaves {
		w.turnAway(p, a, dst)
		return
	}
	k := w.rulesSee(p, firewall.Related)
	k.Key = conntrack.MakeKey(packet.ProtoICMP, p.ip().Src(), 0, dst, 0)
	k.Out = out
	if _, ok := w.access(p, &k); !ok {
		return
	}
	if rules := f.st.rules(); rules != nil {
		if v := w.judgeAlone(p, rules, &k); v.Action != firewall.Accept {
			w.refuse(p, v.Action, DropFirewall, DropFirewallReject)
			return
		}
	}
	if f.rewrite.Changed {
		f.quoting = true
		p.flow = f
	}
	w.dispatch(p, a, dst)
}

// ownError sends an error of the router's own. What the packet path reports quotes a packet as it came, and bears the right addresses already. The
// host stack quotes what it was given: where it has yielded its port to an inside host, outside knows that packet by another one.
func (w *worker) ownError(p *work) {
	f := &w.flow
	if w == w.d.control {
		w.ip4Lookup(p)
		return
	}
	s, direction := f.st.Sessions.Find(w.now, &f.parsed.Key)
	if s == nil || direction != conntrack.Original {
		w.ip4Lookup(p)
		return
	}
	if from, _ := s.Ports(); from != 0 {
		w.ip4Lookup(p)
		return
	}
	dst := p.ip().Dst()
	if f.rewrite = s.Rewrite(direction); f.rewrite.Changed {
		f.quoting = true
		p.flow, dst = f, f.rewrite.Dst
	}
	_, a := w.route(p, dst)
	w.dispatch(p, a, dst)
}
