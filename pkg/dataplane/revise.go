package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane/fib"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// revise decides anew about a session, since something has changed after its last packet, or because
// it comes by another port: where does the packet go now, would the session be let in today, is its translation still
// that of its way? A session that no longer may be ends here, and its packet starts like any other.
func (w *worker) revise(p *work, s *conntrack.Session, d conntrack.Direction) {
	f := &w.flow
	if why := w.forged(p, s, d); why != dropNone {
		w.drop(p, why)
		return
	}
	f.rewrite = s.Rewrite(d)
	dst := p.ip().Dst()
	if f.rewrite.Changed {
		dst = f.rewrite.Dst
	}
	v, a := w.routeOf(p, s, d, dst)
	if w.tables.Stateful != f.st {
		w.track(p) // as in open
		return
	}
	out, leaves := egressOf(a)
	if !leaves {
		if f.rewrite.Changed {
			p.flow = f
		}
		w.turnAway(p, a, dst)
		return
	}
	if allowed := w.stillAllowed(p, s, d, out); !allowed && w.strays(p, s, d) {
		w.drop(p, DropFirewall) // whoever sent it there does not end other people's session
		return
	} else if !allowed || !w.stillTranslated(s, d, out) {
		f.st.Sessions.Remove(w.now, s)
		f.ended = true
		w.open(p)
		return
	}
	k := w.rulesSee(p, firewall.Established)
	k.Key.Dst, k.Out = dst, out
	if f.rewrite.Changed {
		k.Key.DstPort = f.rewrite.DstPort
	}
	stable, ok := w.access(p, &k)
	if !ok {
		return
	}
	if reason := s.Update(f.st.Sessions, w.now, d, &f.parsed, p.repeat); reason != conntrack.ReasonNone {
		w.misfit(p, s, reason)
		return
	}
	helped := f.st.HelpFTP && s.Flags()&conntrack.Helped != 0
	if stable && !helped && w.keepsItsPort(p, s, d, out) { // those that are looked at packet by packet come by here each time
		s.SetRoute(d, f.generation, uint16(p.in), uint32(v))
	}
	if helped && w.help(p) {
		return
	}
	if f.rewrite.Changed {
		p.flow = f
	}
	w.dispatch(p, a, dst)
}

// keepsItsPort holds on to the port whose address a session has been given, by which it leaves: the one that its replies are
// known to come by. A reply by another one passes, but is not remembered, or whoever can send one would choose by which
// port the session leaves. False: the packet is such a reply.
func (w *worker) keepsItsPort(p *work, s *conntrack.Session, d conntrack.Direction, out uint16) bool {
	if s.Flags()&conntrack.SourceTranslated == 0 {
		return true
	}
	if d == conntrack.Reply {
		return !w.strays(p, s, d)
	}
	if _, given := s.Ports(); given != out {
		const none = 1<<32 - 1
		s.SetRoute(conntrack.Reply, w.flow.generation, out, none) // the same address stands for both ports
	}
	return true
}

// routeOf is route for a packet of a session: where several ways are equally good, one that
// leads out of the port whose address the session has been given is better than others.
func (w *worker) routeOf(p *work, s *conntrack.Session, d conntrack.Direction, dst packet.Addr) (fib.Value, *Adjacency) {
	v := w.d.fib.Lookup(dst)
	w.tables = w.d.tables.Load()
	a := w.adjacency(v)
	if a.Kind != Multipath {
		return v, a
	}
	asked, given := s.Ports()
	keeps := s.Flags()&conntrack.SourceTranslated != 0
	if d == conntrack.Reply { // of a forward: back by where it was asked
		keeps, given = s.Flags()&conntrack.DestTranslated != 0, asked
	}
	if keeps {
		for _, m := range w.tables.Members[a.First : a.First+uint32(a.Count)] {
			if w.adjacency(m).Port == PortID(given) {
				return m, w.adjacency(m)
			}
		}
	}
	v = w.choose(p, a)
	return v, w.adjacency(v)
}

// egressOf is the port that an adjacency leads to, 0 for the router itself; false where it leads nowhere.
func egressOf(a *Adjacency) (out uint16, leaves bool) {
	switch a.Kind {
	case Rewrite, Glean, Incomplete:
		return uint16(a.Port), true
	case Local:
		return 0, true
	}
	return 0, false
}

// turnAway ends the way of a packet that no route leads on, or only to a broadcast address. Only
// the rules of its port of arrival concern it.
func (w *worker) turnAway(p *work, a *Adjacency, dst packet.Addr) {
	if a.Kind == BroadcastTo {
		w.broadcast(p, a)
		return
	}
	k := w.rulesSee(p, firewall.New)
	k.Key.Dst = dst
	if _, ok := w.access(p, &k); ok {
		w.ip4Special(p, a, dst)
	}
}

// stillTranslated reports whether NAT would do today what it does to the session. Only the direction that
// opened it can tell by its egress; replies come in wherever they like.
func (w *worker) stillTranslated(s *conntrack.Session, d conntrack.Direction, out uint16) bool {
	st := w.flow.st
	flags := s.Flags()
	translated := flags&(conntrack.SourceTranslated|conntrack.DestTranslated) != 0
	if st.NAT == nil {
		return !translated // NAT has been switched off
	}
	there, back := s.Key(conntrack.Original), s.Key(conntrack.Reply)
	if flags&conntrack.SourceTranslated != 0 && !st.NAT.Translated(back.Dst) {
		return false // the outside address is gone
	}
	if translated && !st.Mappings.Stands(st.NAT, there, back) {
		return false // its rule, forward or mapping is
	}
	in, given := s.Ports()
	if d == conntrack.Reply || flags&conntrack.FromOutside != 0 || in != 0 && flags&conntrack.DestTranslated != 0 {
		return true
	}
	if flags&conntrack.SourceTranslated != 0 && out == given || !st.outside(out) && flags&conntrack.SourceTranslated == 0 {
		return true
	}
	// By another port, or by one that has become an outside: which address would it get today?
	inside := insideKey(there, back)
	source, reason := st.Mappings.Preview(st.NAT, w.now, out, -1, &inside)
	if reason != nat.ReasonNone {
		return false
	}
	if !source.Changed {
		source.Addr, source.Port = there.Src, there.SrcPort
	}
	return source.Addr == back.Dst && source.Port == back.DstPort
}

// insideKey is how the inside knows a session's original direction: the source before, the destination after translation.
func insideKey(there, back conntrack.Key) conntrack.Key {
	there.Dst, there.DstPort = back.Src, back.SrcPort
	return there
}

// forged finds a packet that has the addresses and ports of a session and comes from where its sender cannot be: with an
// address of the router's own, or from outside in the name of the inside host that opened the session.
func (w *worker) forged(p *work, s *conntrack.Session, d conntrack.Direction) DropReason {
	switch {
	case p.own || !w.strays(p, s, d):
	case w.isOwn(p.ip().Src()):
		return DropSourceMartian
	case d == conntrack.Original && s.Flags()&conntrack.FromOutside == 0 && w.flow.st.outside(uint16(p.in)):
		return DropNATUnsolicited
	}
	return dropNone
}

// strays reports that a packet comes by another port than those of its direction before it.
func (w *worker) strays(p *work, s *conntrack.Session, d conntrack.Direction) bool {
	known, back := s.Ports()
	if d == conntrack.Reply {
		known = back
	}
	return known != uint16(p.in)
}

// stillAllowed asks the firewall about the packet that once opened the session. Without a firewall
// only a packet that has come by an outside port, to a session that NAT knows nothing of, is not.
func (w *worker) stillAllowed(p *work, s *conntrack.Session, d conntrack.Direction, out uint16) bool {
	f := &w.flow
	rules := f.st.rules()
	if rules == nil {
		there, back := s.Ports()
		const known = conntrack.SourceTranslated | conntrack.DestTranslated | conntrack.FromOutside
		return !f.st.outside(uint16(p.in)) || s.Flags()&known != 0 || f.st.outside(there) || f.st.outside(back)
	}
	k := w.rulesSee(p, firewall.New)
	k.Key = insideKey(s.Key(conntrack.Original), s.Key(conntrack.Reply))
	switch flags := s.Flags(); {
	case flags&conntrack.Forwarded != 0:
		k.State = firewall.Forwarded
	case flags&conntrack.FromOutside != 0 && flags&conntrack.Mapped != 0:
		k.State = firewall.Mapped
	}
	k.In, k.Out = uint16(p.in), out
	if d == conntrack.Reply {
		k.In, _ = s.Ports()
		k.Out = uint16(p.in)
	}
	switch k.Key.Protocol {
	case packet.ProtoTCP:
		k.TCPFlags = packet.TCPSyn
	case packet.ProtoICMP:
		k.ICMPType = queryOf(f.parsed.ICMPType)
		k.ICMPCode = 0
	}
	if rules.Recheck(w.now, &k).Action == firewall.Accept {
		return true
	}
	// How long the packet was that opened the session nobody remembers: it gets the benefit of the doubt.
	k.Length, k.Segment, k.DSCP = packet.IPv4MinLen, 0, 0
	return rules.Recheck(w.now, &k).Action == firewall.Accept
}

// queryOf is the type of the ICMP query that a message of a session is, or answers.
func queryOf(kind uint8) uint8 {
	switch kind {
	case packet.ICMPEchoReply:
		return packet.ICMPEchoRequest
	case packet.ICMPTimestampReply, 16, 18: // information and address mask replies (RFC 792, RFC 950)
		return kind - 1
	}
	return kind
}
