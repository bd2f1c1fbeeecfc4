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

// rulesSee is the packet as rules see it before its way is known.
func (w *walk) rulesSee(state firewall.State) firewall.Packet {
	p := &w.parsed
	k := firewall.Packet{
		Key: p.Key, In: uint16(w.in.id), State: state,
		ICMPType: p.ICMPType, ICMPCode: p.ICMPCode, TCPFlags: p.Flags, DSCP: w.ip.TOS() >> 2, Length: len(w.ip), Count: 1,
	}
	if p.Class == conntrack.ClassInvalid {
		k.Key = conntrack.MakeKey(w.ip.Protocol(), w.ip.Src(), 0, w.ip.Dst(), 0)
	}
	return k
}

// access holds the packet against the stateless rules of its ports.
func (w *walk) access(k *firewall.Packet) bool {
	if w.st == nil || w.st.Firewall == nil || !w.st.Firewall.HasAccess(k.In, k.Out) {
		return true
	}
	steps, v := w.st.Firewall.Explain(w.r.sessionTick(), k, true)
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
	return w.refused(v.Action, true, c.Access[v.Rule].Pos.Line)
}

// judge asks the rules between zones, and words what they say.
func (w *walk) judge(k *firewall.Packet) firewall.Verdict {
	steps, v := w.st.Firewall.Explain(w.r.sessionTick(), k, false)
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
		default:
			w.say("filter", v.Action.String(), w.verdictLine(v), "%s", step.Text)
		}
	}
	return v
}

// verdictLine is the line behind a verdict of the rules between zones.
func (w *walk) verdictLine(v firewall.Verdict) int {
	c := w.r.config.Firewall
	switch {
	case v.Rule >= 0:
		return c.Rules[v.Rule].Pos.Line
	case v.Pair >= 0:
		return c.Policy[v.Pair].Pos.Line
	}
	return c.Pos.Line
}

// rules are those between zones; nil where there are none.
func (w *walk) rules() *firewall.Policy {
	if w.st.Firewall != nil && w.st.Firewall.Stateful() {
		return w.st.Firewall
	}
	return nil
}

// admit decides whether the packet may open a session.
func (w *walk) admit(k *firewall.Packet) bool {
	if !w.access(k) {
		return false
	}
	if w.rules() != nil {
		v := w.judge(k)
		w.rule = v.ID
		return v.Action == firewall.Accept || w.refused(v.Action, false, w.verdictLine(v))
	}
	outside := w.st.NAT != nil && w.st.NAT.Outside(k.In)
	if k.Out != 0 && outside && w.target.Kind != nat.ToForward && w.target.Kind != nat.ToMapping {
		return w.end("dropped", dataplane.DropNATUnsolicited, "filter", w.outsideLine(),
			"it comes from outside (port %s has a rule of `nat:`), and belongs to no session and no forward", w.in.cfg.Name)
	}
	return true
}

// outsideLine is the line by which the port of arrival is outside.
func (w *walk) outsideLine() int {
	c := w.r.config
	for i := range c.NAT {
		if c.NAT[i].Out == w.in.cfg.Name {
			return c.NAT[i].Pos.Line
		}
	}
	for i := range c.Forwards {
		if c.Forwards[i].In == w.in.cfg.Name {
			return c.Forwards[i].Pos.Line
		}
	}
	return 0
}

// stillAllowed asks the rules about the packet that opened the session.
func (w *walk) stillAllowed(out uint16) bool {
	i := w.session
	if w.rules() == nil {
		const known = conntrack.SourceTranslated | conntrack.DestTranslated | conntrack.FromOutside
		outside := func(port uint16) bool { return w.st.NAT != nil && port != 0 && w.st.NAT.Outside(port) }
		return !outside(uint16(w.in.id)) || i.Flags&known != 0 || outside(i.In) || outside(i.Out)
	}
	k := w.rulesSee(firewall.New)
	k.Key = i.Original
	k.Key.Dst, k.Key.DstPort = i.Reply.Src, i.Reply.SrcPort
	switch {
	case i.Flags&conntrack.Forwarded != 0:
		k.State = firewall.Forwarded
	case i.Flags&conntrack.FromOutside != 0 && i.Flags&conntrack.Mapped != 0:
		k.State = firewall.Mapped
	}
	k.Out = out
	if w.dir == conntrack.Reply {
		k.In, k.Out = i.In, uint16(w.in.id)
	}
	switch k.Key.Protocol {
	case packet.ProtoTCP:
		k.TCPFlags = packet.TCPSyn
	case packet.ProtoICMP:
		k.ICMPCode = 0
		switch k.ICMPType {
		case packet.ICMPEchoReply:
			k.ICMPType = packet.ICMPEchoRequest
		case packet.ICMPTimestampReply, 16, 18:
			k.ICMPType--
		}
	}
	said := len(w.out.Steps)
	if w.judge(&k).Action == firewall.Accept {
		return true
	}
	// How long the packet was that opened the session nobody remembers: it gets the benefit of the doubt.
	refused := w.out.Steps[said:len(w.out.Steps):len(w.out.Steps)]
	w.out.Steps = w.out.Steps[:said:said]
	k.Length, k.DSCP = packet.IPv4MinLen, 0
	if w.judge(&k).Action == firewall.Accept {
		return true
	}
	w.out.Steps = append(w.out.Steps[:said:said], refused...)
	return false
}

// stray handles a packet that is of no session and can open none.
func (w *walk) stray(why dataplane.DropReason) bool {
	dst := w.ip.Dst()
	w.route(dst)
	out, leads := w.somewhere()
	if !leads {
		return w.turnAway(dst)
	}
	k := w.rulesSee(firewall.Invalid)
	k.Out = out
	if !w.access(&k) {
		return false
	}
	if w.rules() != nil {
		switch v := w.judge(&k); {
		case v.Rule >= 0 && v.Action != firewall.Accept:
			return w.refused(v.Action, false, w.verdictLine(v))
		case v.Rule < 0 && (v.Pair >= 0 || v.Action != firewall.Accept):
			return w.end("dropped", why, "filter", w.verdictLine(v), "policies are about sessions: %s", why.Description())
		}
	}
	if n := w.st.NAT; out != 0 && n != nil && (n.Outside(k.In) || n.Outside(out) || n.Translated(dst)) {
		return w.end("dropped", why, "nat_outbound", 0, "%s", why.Description())
	}
	return w.dispatch()
}

// refused ends the walk by a verdict of the firewall.
func (w *walk) refused(a firewall.Action, access bool, line int) bool {
	drop, reject, stage := dataplane.DropFirewall, dataplane.DropFirewallReject, "filter"
	if access {
		drop, reject, stage = dataplane.DropAccess, dataplane.DropAccessReject, "access"
	}
	if a == firewall.Drop {
		return w.end("dropped", drop, stage, line, "dropped without an answer")
	}
	reset, code := a.Answer(w.ip.Protocol())
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
	return w.end("rejected", reject, stage, line, "refused: %s is sent back", answer)
}

func ruleWord(c *config.FirewallRule, i int) string {
	if c.Name != "" {
		return c.Name
	}
	return fmt.Sprintf("%d", i+1)
}

func sessionText(s *api.Session) string {
	if s.Inside == s.Outside {
		return s.Inside + " <-> " + s.Remote
	}
	return s.Inside + " as " + s.Outside + " <-> " + s.Remote
}

// wording is what rows are worded with.
func (w *walk) wording() *worded {
	c := w.r.config
	return &worded{ports: w.r.portLabels(), natRules: c.NAT, forwards: c.Forwards, numbers: w.r.stateful.numbers.index, firewall: c.Firewall, policy: w.r.stateful.firewall}
}

// wordSession is a session's row.
func (w *walk) wordSession(i *conntrack.Info) api.Session {
	words := w.wording()
	row := w.r.sessionRow(i, words.ports)
	row.NAT, row.Rule = words.natName(i.NATRule), words.ruleName(i.Rule)
	return row
}
