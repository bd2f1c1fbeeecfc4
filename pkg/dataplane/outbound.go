package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/nat"
)

// portFTP is the port of FTP's control connection (RFC 959 section 5.2).
const portFTP = 21

// create gives the packet's session its outside address and port, makes it, and sends the packet on.
func (w *worker) create(p *work, a *Adjacency, o *opening) {
	f := &w.flow
	s, ok := w.tryCreate(p, o)
	if !ok {
		return
	}
	f.rewrite = s.Rewrite(conntrack.Original)
	helped := f.st.HelpFTP && s.Flags()&conntrack.Helped != 0
	if o.stable && !helped {
		s.SetRoute(conntrack.Original, f.generation, uint16(p.in), uint32(o.number))
	}
	if helped && w.help(p) {
		return
	}
	if f.rewrite.Changed {
		p.flow = f
	}
	w.dispatch(p, a, o.inside.Dst)
}

// tryCreate makes the session. A clash of two workers over one outside port is tried once more; then, and
// where anything is exhausted, the packet goes no further.
func (w *worker) tryCreate(p *work, o *opening) (*conntrack.Session, bool) {
	f := &w.flow
	st := f.st
	for again := true; ; again = false {
		source, refusal := w.source(o)
		if refusal != nat.ReasonNone {
			w.letGo(o)
			w.exhausted(p, natDrop(refusal))
			return nil, false
		}
		n := w.session(p, o, &source)
		s, reason := st.Sessions.Create(w.now, &n, &f.parsed)
		if reason == conntrack.ReasonNone && !n.Existed {
			if index, forward, ok := st.NATRule(n.NATRule); ok {
				st.NAT.Made(index, forward)
			}
			return s, true
		}
		if n.Flags&conntrack.Mapped != 0 {
			st.Mappings.Release(w.now, n.Original, n.Reply) // what Inbound has taken as well
		}
		wanted := o.target
		o.target.Mapped = false
		switch {
		case reason == conntrack.ReasonClash && again:
			if !wanted.Mapped {
				continue
			}
			if o.target = st.Mappings.Inbound(st.NAT, w.now, uint16(p.in), &f.parsed.Key); o.target == wanted {
				continue
			}
		case reason == conntrack.ReasonNone:
			// Another worker was quicker to make the same one, and this packet is counted there.
			w.letGo(o)
			p.repeat = true
			w.revise(p, s, conntrack.Original)
			return nil, false
		case n.Existed:
			w.letGo(o)
			w.misfit(p, s, reason)
			return nil, false
		}
		w.letGo(o)
		w.exhausted(p, sessionDrop(reason))
		return nil, false
	}
}

// source asks NAT for the source of what leaves by a port with rules, and of a hairpin: a packet from inside to
// an outside address that leads inside again. Its source is translated too, or the answer would
// not come back this way (RFC 4787 REQ-9).
func (w *worker) source(o *opening) (nat.Source, nat.Reason) {
	f := &w.flow
	st := f.st
	switch {
	case st.NAT == nil || o.out == 0:
		return nat.Source{Rule: -1}, nat.ReasonNone
	case o.target.Rules >= 0:
		return st.Mappings.Outbound(st.NAT, w.now, o.out, o.target.Rules, &f.parsed.Key)
	case st.NAT.Outside(o.out):
		return st.Mappings.Outbound(st.NAT, w.now, o.out, -1, &o.inside)
	}
	return nat.Source{Rule: -1}, nat.ReasonNone
}

// session describes what is to be made.
func (w *worker) session(p *work, o *opening, source *nat.Source) conntrack.New {
	f := &w.flow
	there := f.parsed.Key
	outside := o.inside
	if source.Changed {
		outside.Src, outside.SrcPort = source.Addr, source.Port
	}
	n := conntrack.New{
		Original: there, Reply: outside.Reverse(),
		In: uint16(p.in), Out: o.out, Rule: o.rule, NATRule: f.st.natNumber(source.Rule),
	}
	if outside.Src != there.Src || outside.SrcPort != there.SrcPort {
		n.Flags |= conntrack.SourceTranslated
	}
	if outside.Dst != there.Dst || outside.DstPort != there.DstPort {
		n.Flags |= conntrack.DestTranslated
	}
	if o.target.Mapped || source.Mapped {
		n.Flags |= conntrack.Mapped
	}
	if o.target.Kind == nat.ToForward {
		n.Flags |= conntrack.Forwarded
	}
	if t := &o.target; t.Kind == nat.ToForward || t.Kind == nat.ToMapping {
		index := t.Rule
		if t.Kind == nat.ToForward && !t.OneToOne && index >= 0 {
			index += f.st.NAT.Rules()
		}
		n.NATRule = f.st.natNumber(index)
	}
	if f.parsed.Class == conntrack.ClassContinues {
		n.Flags |= conntrack.Liberal
	}
	if f.st.HelpFTP && there.Protocol == packet.ProtoTCP && outside.DstPort == portFTP && o.out != 0 && p.in != 0 {
		n.Flags |= conntrack.Helped | conntrack.Liberal
	}
	if f.st.outside(uint16(p.in)) && o.target.Rules < 0 { // a hairpin comes from inside, also by a port with rules of its own
		n.Flags |= conntrack.FromOutside
	} else if p.in != 0 {
		n.Inside = there.Src // what outside opens counts for nobody: it must not use up what an inside host may have
	}
	return n
}

// letGo gives back what the packet has been given on its way to a session that is not made.
func (w *worker) letGo(o *opening) {
	st := w.flow.st
	if o.target.Mapped {
		st.Mappings.ReleaseTarget(w.now, &w.flow.parsed.Key, &o.target)
		o.target.Mapped = false
	}
	if o.rule != 0 {
		st.Firewall.Ended(o.rule, &o.inside) // ignored unless the rule counts its sessions
		o.rule = 0
	}
}

// exhausted refuses a new session that there is no room for. Whoever is inside is told: administratively prohibited (RFC
// 5508 REQ-8). Outside is not: a flood of openings would become one of errors.
func (w *worker) exhausted(p *work, why DropReason) {
	if w.flow.st.outside(uint16(p.in)) {
		w.drop(p, why)
		return
	}
	w.reject(p, why, packet.ICMPUnreachable, packet.ICMPAdminProhibited, 0)
}
