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
	helped := s.Flags()&conntrack.Helped != 0
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
		source, refusal := w.source(p, o)
		if refusal != nat.ReasonNone {
			w.letGo(o)
			w.exhausted(p, natDrop(refusal))
			return nil, false
		}
		n := w.session(p, o, &source)
		s, reason := st.Sessions.Create(w.now, &n, &f.parsed)
		if reason == conntrack.ReasonNone {
			return s, true
		}
		if source.Mapped {
			st.Mappings.Release(w.now, n.Original, n.Reply)
		}
		if reason != conntrack.ReasonClash || !again {
			w.letGo(o)
			w.exhausted(p, sessionDrop(reason))
			return nil, false
		}
	}
}

// source asks NAT for the source of what leaves by a port with rules, and of a hairpin: a packet from inside to
// an outside address that leads inside again. Its source is translated too, or the answer would
// not come back this way (RFC 4787 REQ-9). The router itself needs no such help.
func (w *worker) source(p *work, o *opening) (nat.Source, nat.Reason) {
	st := w.flow.st
	source := nat.Source{Rule: -1}
	if st.NAT == nil || o.out == 0 {
		return source, nat.ReasonNone
	}
	hairpin := -1
	if t := &o.target; p.in != 0 && (t.Kind == nat.ToForward || t.Kind == nat.ToMapping) && t.From != uint16(p.in) {
		hairpin = t.Rules
	}
	if hairpin < 0 && !st.NAT.Outside(o.out) {
		return source, nat.ReasonNone
	}
	return st.Mappings.Outbound(st.NAT, w.now, o.out, hairpin, &o.inside)
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
		In: uint16(p.in), Out: o.out, Rule: uint16(o.rule + 1), NATRule: uint16(source.Rule + 1),
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
	if o.target.Kind == nat.ToForward || o.target.Kind == nat.ToMapping {
		n.NATRule = uint16(o.target.Rule + 1)
	}
	if f.parsed.Class == conntrack.ClassContinues {
		n.Flags |= conntrack.Liberal
	}
	if f.st.HelpFTP && there.Protocol == packet.ProtoTCP && outside.DstPort == portFTP && o.out != 0 && p.in != 0 {
		n.Flags |= conntrack.Helped | conntrack.Liberal
	}
	if f.st.outside(uint16(p.in)) {
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
		st.Mappings.Release(w.now, w.flow.parsed.Key, o.inside.Reverse())
		o.target.Mapped = false
	}
	if o.rule >= 0 {
		st.Firewall.Ended(o.rule, &o.inside)
		o.rule = -1
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
