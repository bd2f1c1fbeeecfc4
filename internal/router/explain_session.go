package router

import (
	"slices"
	"strings"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// track looks for the session that the packet belongs to.
func (w *walk) track() bool {
	s := w.r.stateful
	if w.st.Sessions == nil {
		return w.guard()
	}
	if w.parsed.Class == conntrack.ClassInvalid {
		w.say("session", "pass", 0, "it can belong to no session: %s", w.parsed.Reason.Description())
		return w.stray(dropOf(w.parsed.Reason))
	}
	if info, dir, ok := s.sessions.Peek(s.reader, w.r.sessionTick(), &w.parsed.Key); ok {
		w.session, w.dir = &info, dir
		return w.genuine() && w.revise()
	}
	return w.open()
}

// guard is all of it where there are access rules and nothing else: no sessions.
func (w *walk) guard() bool {
	dst := w.ip.Dst()
	w.route(dst)
	out, leads := w.somewhere()
	if !leads {
		return w.turnAway(dst)
	}
	k := w.rulesSee(firewall.Established)
	switch w.parsed.Class {
	case conntrack.ClassInvalid:
		k.State = firewall.Invalid
	case conntrack.ClassOpens:
		k.State = firewall.New
	}
	k.Out = out
	return w.access(&k) && w.dispatch()
}

// dropOf is the drop reason of a session's reason.
func dropOf(r conntrack.Reason) dataplane.DropReason {
	return dataplane.DropSessionTruncated + dataplane.DropReason(r-conntrack.ReasonTruncated)
}

// genuine ends the way of a packet that has a session's addresses and ports and comes from where its sender cannot be.
func (w *walk) genuine() bool {
	src := w.ip.Src()
	switch {
	case w.cameBy() == uint16(w.in.id):
		return true
	case w.isOwn(src):
		return w.end("dropped", dataplane.DropSourceMartian, "session", w.addressLine(src), "%v is the router's own address, so the source is forged", src)
	case w.dir == conntrack.Original && w.session.Flags&conntrack.FromOutside == 0 && w.st.NAT != nil && w.st.NAT.Outside(uint16(w.in.id)):
		return w.end("dropped", dataplane.DropNATUnsolicited, "session", w.in.cfg.Pos.Line,
			"has the addresses and ports of a session that inside has opened, but comes from outside: it is forged")
	}
	return true
}

// revise sends the packet on as its session says, if that may still be.
func (w *walk) revise() bool {
	row := w.wordSession(w.session)
	w.say("session", "pass", 0, "belongs to a session that is %s: %s %s, opened from %s", row.State, row.Protocol, sessionText(&row),
		map[string]string{"out": "inside", "in": "outside"}[row.Direction])
	onward := w.session.Reply
	if w.dir == conntrack.Reply {
		onward = w.session.Original
	}
	w.leaves = onward.Reverse()
	w.inside = w.parsed.Key
	w.inside.Dst, w.inside.DstPort = w.leaves.Dst, w.leaves.DstPort
	w.route(w.leaves.Dst)
	out, leads := w.somewhere()
	if !leads {
		return w.turnAway(w.leaves.Dst)
	}
	allowed := w.stillAllowed(out)
	if known := w.cameBy(); !allowed && known != uint16(w.in.id) {
		return w.end("dropped", dataplane.DropFirewall, "filter", w.in.cfg.Pos.Line,
			"the session's packets come by port %s, and what comes by port %s would not be let in", w.r.portName(uint32(known)), w.in.cfg.Name)
	}
	if !allowed || !w.stillTranslated(out) {
		w.say("session", "pass", 0, "the session ends here, since it would not be made like this any more: the packet is one without a session")
		w.session, w.ended = nil, w.session
		w.inside, w.leaves = w.parsed.Key, w.parsed.Key
		return w.open()
	}
	k := w.rulesSee(firewall.Established)
	k.Key, k.Out = w.inside, out
	if !w.access(&k) {
		return false
	}
	w.out.Session, w.out.Exists = &row, true
	if w.leaves.Dst != w.parsed.Key.Dst || w.leaves.DstPort != w.parsed.Key.DstPort {
		w.say("nat_inbound", "translate", w.natLine(w.session.NATRule), "the session translates the destination %s to %s",
			endpoint(w.parsed.Key.Dst, w.parsed.Key.DstPort), endpoint(w.leaves.Dst, w.leaves.DstPort))
	}
	if w.leaves.Src != w.parsed.Key.Src || w.leaves.SrcPort != w.parsed.Key.SrcPort {
		w.say("nat_outbound", "translate", w.natLine(w.session.NATRule), "the session translates the source %s to %s",
			endpoint(w.parsed.Key.Src, w.parsed.Key.SrcPort), endpoint(w.leaves.Src, w.leaves.SrcPort))
	}
	if w.leaves == w.parsed.Key && w.natLine(w.session.NATRule) > 0 {
		w.say("nat_outbound", "pass", w.natLine(w.session.NATRule), "the session's rule leaves its addresses as they are")
	}
	return w.dispatch()
}

// cameBy is the port by which packets of this direction have come so far.
func (w *walk) cameBy() uint16 {
	if w.dir == conntrack.Reply {
		return w.session.Out
	}
	return w.session.In
}

// stillTranslated reports whether NAT would do today what it does to the session.
func (w *walk) stillTranslated(out uint16) bool {
	st, i := w.st, w.session
	translated := i.Flags&(conntrack.SourceTranslated|conntrack.DestTranslated) != 0
	switch {
	case st.NAT == nil:
		return !translated
	case i.Flags&conntrack.SourceTranslated != 0 && !st.NAT.Translated(i.Reply.Dst):
		return false
	case translated && !st.Mappings.Stands(st.NAT, i.Original, i.Reply):
		return false
	case w.dir == conntrack.Reply, i.Flags&conntrack.FromOutside != 0, i.In != 0 && i.Flags&conntrack.DestTranslated != 0:
		return true
	case i.Flags&conntrack.SourceTranslated != 0 && out == i.Out, !st.NAT.Outside(out) && i.Flags&conntrack.SourceTranslated == 0:
		return true
	}
	inside := i.Original
	inside.Dst, inside.DstPort = i.Reply.Src, i.Reply.SrcPort
	source, reason := st.Mappings.Preview(st.NAT, w.r.sessionTick(), out, -1, &inside)
	if !source.Changed {
		source.Addr, source.Port = i.Original.Src, i.Original.SrcPort
	}
	return reason == nat.ReasonNone && source.Addr == i.Reply.Dst && source.Port == i.Reply.DstPort
}

// open takes a packet without a session.
func (w *walk) open() bool {
	if w.parsed.Class == conntrack.ClassContinues {
		if !w.st.Loose || !w.parsed.PicksUp() {
			why := dataplane.DropSessionNone
			if w.ended != nil {
				why = dataplane.DropSessionPath
			}
			w.say("session", "pass", 0, "belongs to no session and cannot open one: it is invalid")
			return w.stray(why)
		}
		w.say("session", "pass", w.sectionLine("sessions"), "belongs to no session; connections from before the router's time are taken up (sessions: loose)")
	} else if w.ended == nil {
		w.say("session", "pass", 0, "belongs to no session: it would open one")
	}
	if src := w.ip.Src(); w.isOwn(src) {
		return w.end("dropped", dataplane.DropSourceMartian, "session", w.addressLine(src), "%v is the router's own address, so the source is forged", src)
	}
	state := firewall.New
	if w.st.NAT != nil {
		if state = w.inbound(); state == 0 {
			return false
		}
	}
	w.route(w.inside.Dst)
	out, leads := w.somewhere()
	switch {
	case !leads:
		return w.turnAway(w.inside.Dst)
	case out != 0 && w.target.Kind == nat.Unclaimed:
		return w.end("dropped", dataplane.DropNATUnsolicited, "nat_inbound", 0,
			"%s is no forward and no mapping, and the way to it leads out again", endpoint(w.inside.Dst, w.inside.DstPort))
	}
	k := w.rulesSee(state)
	k.Key, k.Out = w.inside, out
	if !w.admit(&k) {
		return false
	}
	if out == 0 && w.rules() == nil && w.st.NAT != nil && w.st.NAT.Outside(uint16(w.in.id)) && state == firewall.New {
		return w.local() // nothing would ask for a session
	}
	w.leaves.Dst, w.leaves.DstPort = w.inside.Dst, w.inside.DstPort
	if w.adjacency.Kind == dataplane.Rewrite && !w.fits() {
		return false
	}
	return w.outbound(out) && w.room(out) && w.dispatch()
}

// inbound finds whom the packet means; 0: it went no further.
func (w *walk) inbound() firewall.State {
	k := &w.parsed.Key
	now, in := w.r.sessionTick(), uint16(w.in.id)
	if e := w.ended; e != nil && e.Flags&conntrack.Mapped != 0 {
		w.target = w.st.Mappings.InboundPreviewWithout(w.st.NAT, now, in, k, e.Original, e.Reply)
	} else {
		w.target = w.st.Mappings.InboundPreview(w.st.NAT, now, in, k)
	}
	t, state := &w.target, firewall.New
	switch t.Kind {
	case nat.Filtered:
		line := w.ruleLine(t.Rule)
		what := "a mapping"
		if c := w.r.config; line == 0 && t.Rule >= 0 && t.Rule < len(c.Forwards) || t.Rule >= 0 && t.Addr == 0 && t.Rule < len(c.Forwards) {
			line, what = c.Forwards[t.Rule].Pos.Line, forwardName(&c.Forwards[t.Rule])
		}
		w.end("dropped", dataplane.DropNATFiltered, "nat_inbound", line, "%s belongs to %s, which does not let %v in", endpoint(k.Dst, k.DstPort), what, k.Src)
		return 0
	case nat.Unclaimed:
		w.say("nat_inbound", "pass", 0, "%s belongs to no forward and no mapping: it is for the router itself", endpoint(k.Dst, k.DstPort))
		return state
	case nat.NotOurs:
		if w.st.NAT.Outside(uint16(w.in.id)) {
			w.say("nat_inbound", "pass", 0, "%v is no address that NAT has to do with", k.Dst)
		}
		return state
	case nat.ToMapping:
		state = firewall.Mapped
	default:
		if state = firewall.Forwarded; t.Helper {
			state = firewall.Related
		}
	}
	w.inside.Dst, w.inside.DstPort = t.Addr, t.Port
	index := t.Rule
	if t.Kind == nat.ToForward && !t.OneToOne && index >= 0 {
		index += w.st.NAT.Rules()
	}
	w.natRule = w.number(index)
	hairpin := ""
	if t.Rules >= 0 {
		hairpin = "; both ends are inside (hairpin), so its source is translated too"
	}
	name := w.wording().natName(w.natRule)
	if t.Kind == nat.ToMapping || w.natRule == 0 {
		name = "a mapping of " + endpoint(t.Addr, t.Port)
	}
	w.say("nat_inbound", "translate", w.natLine(w.natRule), "%s leads %s to %s%s", name, endpoint(k.Dst, k.DstPort), endpoint(t.Addr, t.Port), hairpin)
	return state
}

// outbound chooses the source.
func (w *walk) outbound(out uint16) bool {
	st := w.st
	if st.NAT == nil || out == 0 || w.target.Rules < 0 && !st.NAT.Outside(out) {
		return true
	}
	k, before := w.inside, w.parsed.Key
	if w.target.Rules >= 0 {
		k = before
	}
	source, why := w.source(out, &k)
	line := w.ruleLine(source.Rule)
	if why != nat.ReasonNone {
		return w.exhausted(dataplane.NATDrop(why), "nat_outbound", line, why.Description())
	}
	if w.target.Kind != nat.ToForward && w.target.Kind != nat.ToMapping {
		w.natRule = w.number(source.Rule)
	}
	switch {
	case source.Changed:
		w.leaves.Src, w.leaves.SrcPort = source.Addr, source.Port
		how := ""
		switch {
		case before.SrcPort != 0 && source.Port == before.SrcPort:
			how = ", with its port"
		case before.SrcPort != 0 && source.Port != before.SrcPort:
			how = "; another port, since its own is taken or out of the rule's range"
		}
		w.say("nat_outbound", "translate", line, "the source %s becomes %s%s", endpoint(before.Src, before.SrcPort), endpoint(source.Addr, source.Port), how)
	case source.Rule >= 0:
		w.say("nat_outbound", "pass", line, "this rule leaves the source as it is")
	default:
		w.say("nat_outbound", "pass", 0, "no rule of `nat:` for port %s matches: the source stays", w.egress.cfg.Name)
	}
	return true
}

// source asks for the source, from which the session is gone that ends with the packet.
func (w *walk) source(out uint16, k *conntrack.Key) (nat.Source, nat.Reason) {
	st, now := w.st, w.r.sessionTick()
	if e := w.ended; e != nil && e.Flags&conntrack.Mapped != 0 {
		return st.Mappings.PreviewWithout(st.NAT, now, out, w.target.Rules, k, e.Original, e.Reply)
	}
	return st.Mappings.Preview(st.NAT, now, out, w.target.Rules, k)
}

// exhausted refuses a session that there is no room for: only inside is told.
func (w *walk) exhausted(why dataplane.DropReason, stage string, line int, text string) bool {
	if w.st.NAT != nil && w.st.NAT.Outside(uint16(w.in.id)) {
		return w.end("dropped", why, stage, line, "%s", text)
	}
	return w.end("rejected", why, stage, line, "%s", text)
}

// room asks whether the session can be made, and shows it.
func (w *walk) room(out uint16) bool {
	s, c := w.r.stateful, &w.r.config.Sessions
	outside := w.st.NAT != nil && w.st.NAT.Outside(uint16(w.in.id)) && w.target.Rules < 0 // a hairpin comes from inside, by whatever port
	info := conntrack.Info{
		Original: w.parsed.Key, Reply: w.leaves.Reverse(), In: uint16(w.in.id), Out: out,
		State: conntrack.Unreplied, NATRule: w.natRule, Rule: w.rule,
	}
	if info.Original.Protocol == packet.ProtoTCP {
		info.State = conntrack.SynSent
	}
	if outside {
		info.Flags |= conntrack.FromOutside
	}
	line := w.sectionLine("sessions")
	less := 0 // the session that ends with the packet is in nobody's way
	if w.ended != nil {
		less = 1
	}
	if other, _, taken := s.sessions.Peek(s.reader, w.r.sessionTick(), &info.Reply); taken && (w.ended == nil || other.Original != w.ended.Original) {
		return w.exhausted(dataplane.DropSessionClash, "session", 0, dataplane.DropSessionClash.Description())
	}
	if c.Max > 0 && s.sessions.Len()-less-w.displaced(outside) >= roomOf(c.Max, outside) {
		return w.exhausted(dataplane.DropSessionTableFull, "session", line, dataplane.DropSessionTableFull.Description())
	}
	if w.ended != nil && w.ended.Original.Src != info.Original.Src {
		less = 0
	}
	if !outside && c.MaxPerHost > 0 && s.sessions.HostSessions(info.Original.Src)-less >= c.MaxPerHost {
		return w.exhausted(dataplane.DropSessionHostLimit, "session", line, dataplane.DropSessionHostLimit.Description())
	}
	row := w.wordSession(&info)
	w.out.Session = &row
	return true
}

// roomOf is how many sessions there may be when another is opened: the last eighth of the table is not for outside.
func roomOf(most int, outside bool) int {
	if outside {
		return most - most/8
	}
	return most
}

// displaced is how many openings from outside make room for a TCP connection that outside opens.
func (w *walk) displaced(outside bool) int {
	if !outside || w.parsed.Key.Protocol != packet.ProtoTCP || w.parsed.Class != conntrack.ClassOpens {
		return 0
	}
	return min(max(w.r.stateful.sessions.Counts().HalfOpen-w.r.config.Sessions.MaxHalfOpen+1, 0), 2)
}

func (w *walk) ruleLine(rule int) int {
	if rule >= 0 && rule < len(w.r.config.NAT) {
		return w.r.config.NAT[rule].Pos.Line
	}
	return 0
}

// number is what sessions keep of a rule, or of a forward behind them.
func (w *walk) number(index int) uint16 {
	if list := w.r.stateful.numbers.list; index >= 0 && index < len(list) {
		return list[index]
	}
	return 0
}

// natLine is the line of a session's rule or forward.
func (w *walk) natLine(number uint16) int {
	index, forward, ok := w.st.NATRule(number)
	c := w.r.config
	switch {
	case !ok:
		return 0
	case forward && index < len(c.Forwards):
		return c.Forwards[index].Pos.Line
	}
	return w.ruleLine(index)
}

// sectionLine is the line of a section that has no place of its own in the configuration; 0: it is not there.
func (w *walk) sectionLine(name string) int {
	return 1 + slices.IndexFunc(w.lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
}
