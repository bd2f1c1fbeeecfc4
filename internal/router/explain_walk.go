package router

import (
	"fmt"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// run is the packet's journey; a stage that ends it returns false.
func (w *walk) run() {
	for _, stage := range []func() bool{w.input, w.track, w.inbound, w.route, w.access, w.judge, w.outbound, w.rewrite, w.output} {
		if !stage() {
			return
		}
	}
}

func (w *walk) input() bool {
	k, line := &w.parsed.Key, w.in.cfg.Pos.Line
	if !w.in.up {
		word, why := w.in.state()
		return w.end("dropped", dataplane.DropPortClosed, "input", line, "port %s is %s: %s", w.in.cfg.Name, word, why)
	}
	if reason, bad := dataplane.Martian(k.Src, k.Dst, w.r.config.Forwarding.ClassE); bad {
		return w.end("dropped", reason, "input", 0, "%s", reason.Description())
	}
	if w.in.cfg.ReversePath != config.ReversePathOff && w.in.cfg.ReversePath != "" {
		l := w.r.rib.Lookup(k.Src.Netip())
		good := false
		for _, h := range l.Hops {
			good = good || w.in.cfg.ReversePath == config.ReversePathLoose || dataplane.PortID(h.Port) == w.in.id
		}
		if !good {
			return w.end("dropped", dataplane.DropReversePath, "input", line, "the way back to %v does not lead through port %s (reverse_path: %s)",
				k.Src, w.in.cfg.Name, w.in.cfg.ReversePath)
		}
		w.say("input", "pass", line, "arrives on port %s; the way back to %v passes the reverse-path check (%s)", w.in.cfg.Name, k.Src, w.in.cfg.ReversePath)
		return true
	}
	w.say("input", "pass", line, "arrives on port %s", w.in.cfg.Name)
	return true
}

// track looks for a session that the packet belongs to.
func (w *walk) track() bool {
	s := w.r.stateful
	if w.r.fwd.stateful == nil {
		return true // without NAT and firewall there are no sessions
	}
	now := w.r.sessionTick()
	if info, dir, ok := s.sessions.Peek(s.reader, now, &w.parsed.Key); ok {
		w.session, w.dir = &info, dir
		row := w.r.sessionRow(&info, w.r.portLabels())
		w.out.Session, w.out.Exists = &row, true
		w.dst, w.dstPort = w.translatedDst()
		w.say("session", "pass", 0, "belongs to a session that is %s: %s %s, opened from %s", row.State, row.Protocol, sessionText(&row), map[string]string{"out": "inside", "in": "outside"}[row.Direction])
		return true
	}
	if w.parsed.Class == conntrack.ClassContinues {
		if !w.r.config.Sessions.Loose || w.parsed.Key.Protocol != packet.ProtoTCP || w.parsed.Flags&packet.TCPRst != 0 {
			w.state = firewall.Invalid
			w.say("session", "pass", 0, "belongs to no session and cannot open one: it is invalid")
			return true
		}
		w.say("session", "pass", 0, "belongs to no session; connections from before the router's time are taken up (sessions: loose)")
	} else {
		w.say("session", "pass", 0, "belongs to no session: it would open one")
	}
	w.state = firewall.New
	return true
}

func sessionText(s *api.Session) string {
	if s.Inside == s.Outside {
		return s.Inside + " <-> " + s.Remote
	}
	return s.Inside + " as " + s.Outside + " <-> " + s.Remote
}

// translatedDst is where the session sends packets of the walk's direction.
func (w *walk) translatedDst() (packet.Addr, uint16) {
	to := w.session.Reply
	if w.dir == conntrack.Reply {
		to = w.session.Original
	}
	if to.Protocol == packet.ProtoICMP {
		return to.Src, w.parsed.Key.DstPort
	}
	return to.Src, to.SrcPort
}

func (w *walk) inbound() bool {
	s := w.r.stateful
	w.to = nat.Target{Kind: nat.NotOurs, Rules: -1, Rule: -1}
	if w.session != nil || s.nat == nil || w.state == firewall.Invalid {
		return true
	}
	k := &w.parsed.Key
	w.to = s.mappings.InboundPreview(s.nat, w.r.sessionTick(), uint16(w.in.id), k)
	outside := s.nat.Outside(uint16(w.in.id))
	switch w.to.Kind {
	case nat.ToForward, nat.ToMapping:
		w.dst, w.dstPort = w.to.Addr, w.to.Port
		name, line := w.targetName()
		if w.state = firewall.Forwarded; w.to.Kind == nat.ToMapping {
			w.state = firewall.Mapped
		}
		hairpin := ""
		if w.to.Rules >= 0 {
			hairpin = "; both ends are inside (hairpin), so its source is translated too"
		}
		w.say("nat_inbound", "translate", line, "%s leads %s to %s%s", name, endpoint(k.Dst, k.DstPort), endpoint(w.dst, w.dstPort), hairpin)
	case nat.Filtered:
		return w.end("dropped", dataplane.DropNATFiltered, "nat_inbound", w.ruleLine(w.to.Rule),
			"%s is somebody's mapping, whose filtering does not let %v in", endpoint(k.Dst, k.DstPort), k.Src)
	case nat.Unclaimed:
		w.say("nat_inbound", "pass", 0, "%s belongs to no forward and no mapping: it is for the router itself", endpoint(k.Dst, k.DstPort))
	default:
		if outside {
			w.say("nat_inbound", "pass", 0, "%v is no address that NAT has to do with", k.Dst)
		}
	}
	return true
}

// targetName words what an inbound packet is for.
func (w *walk) targetName() (string, int) {
	c := w.r.config
	switch {
	case w.to.Kind == nat.ToMapping:
		return "a mapping of " + endpoint(w.to.Addr, w.to.Port), w.ruleLine(w.to.Rule)
	case w.to.OneToOne && w.to.Rule >= 0 && w.to.Rule < len(c.NAT):
		return "1:1", c.NAT[w.to.Rule].Pos.Line
	case w.to.Rule >= 0 && w.to.Rule < len(c.Forwards):
		return forwardName(&c.Forwards[w.to.Rule]), c.Forwards[w.to.Rule].Pos.Line
	}
	return "a mapping that a host has asked for", 0
}

func (w *walk) ruleLine(rule int) int {
	if rule >= 0 && rule < len(w.r.config.NAT) {
		return w.r.config.NAT[rule].Pos.Line
	}
	return 0
}

// route finds the way to the destination.
func (w *walk) route() bool {
	r := w.r
	var found api.RouteLookup
	w.lookup = r.rib.Lookup(w.dst.Netip())
	found.Action = "none"
	r.explainForwarding(w.dst.Netip(), &w.lookup, &found)
	line := w.routeLine()
	switch found.Action {
	case "deliver":
		w.local = true
		w.say("lookup", "deliver", 0, "%s", found.Why)
		return true
	case "blackhole":
		return w.end("dropped", dataplane.DropBlackhole, "lookup", line, "the route %v is a blackhole", w.lookup.Prefix)
	case "unreachable":
		return w.end("rejected", dataplane.DropUnreachable, "lookup", line, "the route %v is of type unreachable: host unreachable is sent back", w.lookup.Prefix)
	case "prohibit":
		return w.end("rejected", dataplane.DropProhibit, "lookup", line, "the route %v is of type prohibit: administratively prohibited is sent back", w.lookup.Prefix)
	case "none":
		return w.end("rejected", dataplane.DropNoRoute, "lookup", 0, "no route leads to %v: net unreachable is sent back", w.dst)
	}
	if len(found.Ports) == 0 {
		return w.end("rejected", dataplane.DropNoRoute, "lookup", line, "the route %v leads nowhere now", w.lookup.Prefix)
	}
	w.egress = r.ports[found.Ports[0]]
	w.neighbor = found.MAC
	via := "directly"
	if found.NextHops[0] != w.dst.String() {
		via = "by next hop " + found.NextHops[0]
	}
	more := ""
	if len(found.Ports) > 1 {
		more = fmt.Sprintf(" (one of %d equal ways, chosen by flow)", len(found.Ports))
	}
	w.say("lookup", "pass", line, "the route %v leads to %v through port %s, %s%s", w.lookup.Prefix, w.dst, found.Ports[0], via, more)
	w.out.Out = found.Ports[0]
	return true
}

// routeLine is the line of the static route that won, or of the port whose network it is.
func (w *walk) routeLine() int {
	c := w.r.config
	for i := range c.Routes {
		if c.Routes[i].To == w.lookup.Prefix {
			return c.Routes[i].Pos.Line
		}
	}
	for i := range c.Ports {
		for _, a := range c.Ports[i].Address {
			if a.Masked() == w.lookup.Prefix {
				return c.Ports[i].Pos.Line
			}
		}
	}
	return 0
}

// packetFor is what the firewall sees of the packet: that which opened the session, if there is one.
func (w *walk) packetFor() firewall.Packet {
	k := w.parsed.Key
	p := firewall.Packet{
		Key: k, In: uint16(w.in.id), State: w.state, ICMPType: w.parsed.ICMPType, TCPFlags: w.parsed.Flags,
		Length: w.length, Count: 1,
	}
	p.Key.Dst, p.Key.DstPort = w.dst, w.dstPort
	if w.egress != nil {
		p.Out = uint16(w.egress.id)
	}
	return p
}

func (w *walk) access() bool {
	policy := w.r.stateful.firewall
	p := w.packetFor()
	if policy == nil || !policy.HasAccess(p.In, p.Out) {
		return true
	}
	if w.session != nil {
		p.State = firewall.Established
	}
	steps, v := policy.Explain(w.r.sessionTick(), &p, true)
	c := w.r.config.Firewall
	for _, s := range steps {
		if s.Rule >= 0 && s.Matched {
			rule := &c.Access[s.Rule]
			w.say("access", string(rule.Action), rule.Pos.Line, "access rule %s: %s", ruleWord(rule, s.Rule), s.Text)
		}
	}
	if v.Action == firewall.Accept {
		if v.Rule < 0 {
			w.say("access", "pass", c.Pos.Line, "none of the access rules of its ports matches")
		}
		return true
	}
	return w.refused(v.Action, dataplane.DropAccess, "access", w.accessLine(v.Rule))
}

func (w *walk) accessLine(rule int) int {
	if c := w.r.config.Firewall; rule >= 0 && rule < len(c.Access) {
		return c.Access[rule].Pos.Line
	}
	return 0
}

// refused ends the walk by a verdict of the firewall.
func (w *walk) refused(a firewall.Action, reason dataplane.DropReason, stage string, line int) bool {
	if a == firewall.Drop {
		return w.end("dropped", reason, stage, line, "dropped without an answer")
	}
	reset, code := a.Answer(w.parsed.Key.Protocol)
	answer := "an ICMP error"
	switch {
	case reset:
		answer = "a TCP reset"
	case code == packet.ICMPPortUnreachable:
		answer = "ICMP port unreachable"
	case code == packet.ICMPHostUnreachable:
		answer = "ICMP host unreachable"
	case code == packet.ICMPNetUnreachable:
		answer = "ICMP net unreachable"
	case code == packet.ICMPAdminProhibited:
		answer = "ICMP administratively prohibited"
	}
	return w.end("rejected", reason, stage, line, "refused: %s is sent back", answer)
}

func ruleWord(c *config.FirewallRule, i int) string {
	if c.Name != "" {
		return c.Name
	}
	return fmt.Sprintf("%d", i+1)
}

func (w *walk) judge() bool {
	s := w.r.stateful
	switch {
	case w.r.fwd.stateful == nil:
		return true
	case s.firewall == nil || !s.firewall.Stateful():
		return w.withoutFirewall()
	}
	p := w.packetFor()
	if w.session != nil { // judged by what opened it
		o, reply := w.session.Original, w.session.Reply
		p.Key = o
		p.Key.Dst = reply.Src
		if o.Protocol != packet.ProtoICMP {
			p.Key.DstPort = reply.SrcPort
		}
		p.In, p.Out, p.State = w.session.In, w.session.Out, firewall.New
		if w.session.Flags&conntrack.Forwarded != 0 {
			p.State = firewall.Forwarded
		}
	}
	steps, v := s.firewall.Explain(w.r.sessionTick(), &p, false)
	c := w.r.config.Firewall
	passed := 0
	for _, step := range steps {
		switch {
		case step.Rule >= 0 && !step.Matched:
			passed++
		case step.Rule >= 0:
			rule := &c.Rules[step.Rule]
			if passed > 0 {
				w.say("filter", "pass", 0, "%s before it %s not match", plural(passed, "rule"), map[bool]string{true: "does", false: "do"}[passed == 1])
			}
			w.say("filter", string(rule.Action), rule.Pos.Line, "rule %s: %s", ruleWord(rule, step.Rule), step.Text)
		}
	}
	line := 0
	switch {
	case v.Rule >= 0:
		line = c.Rules[v.Rule].Pos.Line
	case v.Pair >= 0:
		pair := &c.Policy[v.Pair]
		line = pair.Pos.Line
		w.say("filter", string(pair.Action), line, "%s; the policy from %s to %s is %s", noRule(passed), pair.From, pair.To, pair.Action)
	case p.State == firewall.Forwarded && v.Action == firewall.Accept:
		w.say("filter", "accept", 0, "%s; what a forward or a mapping that was asked for lets in is accepted", noRule(passed))
	default:
		w.say("filter", v.Action.String(), c.Pos.Line, "%s; no policy names this pair of zones: %s", noRule(passed), v.Action)
	}
	if v.Action == firewall.Accept {
		return true
	}
	return w.refused(v.Action, dataplane.DropFirewall, "filter", line)
}

func noRule(passed int) string {
	if passed == 0 {
		return "there is no rule for it"
	}
	return "no rule matches"
}

// withoutFirewall is the filter that NAT alone is.
func (w *walk) withoutFirewall() bool {
	s := w.r.stateful
	outside := s.nat != nil && s.nat.Outside(uint16(w.in.id))
	if w.session != nil || !outside || w.local || w.to.Kind == nat.ToForward || w.to.Kind == nat.ToMapping {
		return true
	}
	return w.end("dropped", dataplane.DropNATUnsolicited, "filter", 0,
		"it comes from outside (port %s has a rule of `nat:`), belongs to no session and no forward", w.in.cfg.Name)
}

func (w *walk) outbound() bool {
	s := w.r.stateful
	w.source = nat.Source{Rule: -1}
	if w.local || s.nat == nil || w.state == firewall.Invalid {
		return true
	}
	k := w.parsed.Key
	if w.session != nil {
		other := w.session.Reply
		if w.dir == conntrack.Reply {
			other = w.session.Original
		}
		if other.Dst != k.Src || (other.DstPort != k.SrcPort && k.Protocol != packet.ProtoICMP) {
			w.source = nat.Source{Changed: true, Addr: other.Dst, Port: other.DstPort, Rule: int(w.session.NATRule) - 1}
			w.say("nat_outbound", "translate", w.ruleLine(w.source.Rule), "the session translates the source %s to %s",
				endpoint(k.Src, k.SrcPort), endpoint(other.Dst, other.DstPort))
		}
		return true
	}
	k.Dst, k.DstPort = w.dst, w.dstPort
	source, why := s.mappings.Preview(s.nat, w.r.sessionTick(), uint16(w.egress.id), w.to.Rules, &k)
	if why != nat.ReasonNone {
		return w.end("rejected", dataplane.NATDrop(why), "nat_outbound", w.ruleLine(source.Rule), "%s", why.Description())
	}
	w.source = source
	switch {
	case source.Rule >= 0 && source.Changed:
		how := "keeps its port"
		if source.Port != k.SrcPort {
			how = "its port being taken"
		}
		if k.Protocol == packet.ProtoICMP {
			how = "ICMP identifier included"
		}
		w.say("nat_outbound", "translate", w.ruleLine(source.Rule), "the source %s becomes %s (%s)", endpoint(k.Src, k.SrcPort), endpoint(source.Addr, source.Port), how)
	case source.Rule >= 0:
		w.say("nat_outbound", "pass", w.ruleLine(source.Rule), "this rule leaves the source as it is")
	case s.nat.Outside(uint16(w.egress.id)):
		w.say("nat_outbound", "pass", 0, "no rule of `nat:` for port %s matches: the source stays", w.egress.cfg.Name)
	}
	return true
}

func (w *walk) rewrite() bool {
	if w.local {
		w.propose()
		return w.end("delivered", 0, "output", 0, "handed to the router itself")
	}
	c := &w.egress.cfg
	if c.LeakGuard && w.dst.IsPrivate() {
		return w.end("rejected", dataplane.DropLeakGuard, "rewrite", c.Pos.Line, "%v is a private address, which may not leave by port %s (leak_guard)", w.dst, c.Name)
	}
	if w.ttl <= 1 {
		return w.end("rejected", dataplane.DropTTL, "rewrite", 0, "its time to live is %d: time exceeded is sent back", w.ttl)
	}
	text := fmt.Sprintf("time to live %d becomes %d", w.ttl, w.ttl-1)
	switch {
	case w.length > c.MTU && w.df:
		return w.end("rejected", dataplane.DropFragmentationNeeded, "rewrite", c.Pos.Line,
			"%d octets do not fit the MTU %d of port %s and it may not be fragmented: fragmentation needed is sent back", w.length, c.MTU, c.Name)
	case w.length > c.MTU:
		text += fmt.Sprintf("; %d octets are fragmented for the MTU %d", w.length, c.MTU)
	}
	w.say("rewrite", "pass", 0, "%s", text)
	return true
}

func (w *walk) output() bool {
	w.propose()
	c := &w.egress.cfg
	k := &w.parsed.Key
	src := endpoint(k.Src, k.SrcPort)
	if w.source.Changed {
		src = endpoint(w.source.Addr, w.source.Port)
	}
	w.out.Packet = fmt.Sprintf("%s %s -> %s", protocolName(k.Protocol), src, endpoint(w.dst, w.dstPort))
	if c.Kind == config.TAP && w.neighbor == "" {
		return w.end("waits", 0, "output", c.Pos.Line, "waits, for at most three seconds, until ARP has found the next hop on port %s", c.Name)
	}
	if c.Kind == config.TAP {
		return w.end("forwarded", 0, "output", c.Pos.Line, "leaves by port %s to %s", c.Name, w.neighbor)
	}
	return w.end("forwarded", 0, "output", c.Pos.Line, "leaves by port %s", c.Name)
}

// propose is the session that the packet would make.
func (w *walk) propose() {
	if w.session != nil || w.r.fwd.stateful == nil || w.state == firewall.Invalid {
		return
	}
	k := w.parsed.Key
	reply := k.Reverse()
	reply.Src = w.dst
	if k.Protocol != packet.ProtoICMP {
		reply.SrcPort = w.dstPort
	}
	if w.source.Changed {
		reply.Dst, reply.DstPort = w.source.Addr, w.source.Port
	}
	info := conntrack.Info{Original: k, Reply: reply, In: uint16(w.in.id), State: conntrack.Unreplied}
	if k.Protocol == packet.ProtoTCP {
		info.State = conntrack.SynSent
	}
	if w.egress != nil {
		info.Out = uint16(w.egress.id)
	}
	if nat := w.r.stateful.nat; nat != nil && nat.Outside(info.In) {
		info.Flags |= conntrack.FromOutside
	}
	row := w.r.sessionRow(&info, w.r.portLabels())
	w.out.Session = &row
}
