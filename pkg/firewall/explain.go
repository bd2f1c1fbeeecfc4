package firewall

import (
	"fmt"
	"net/netip"
	"slices"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Step is one line of an explanation.
type Step struct {
	Rule, Pair int // as in Verdict
	Matched    bool
	Text       string // why it matched, or which condition failed: a sentence
}

// Explain is Recheck with its reasons, rule by rule, up to the one that decides. access: the stateless rules. It goes through the rules one
// after the other, without the classifier.
func (p *Policy) Explain(now conntrack.Tick, k *Packet, access bool) ([]Step, Verdict) {
	packet := *k
	if packet.State == 0 && !access {
		packet.State = New
	}
	if access {
		return p.explainAccess(now, &packet)
	}
	cell := p.cell(&packet)
	steps, r := p.explainList(nil, now, &packet, &p.rules)
	_, lasting := p.first(now, &packet, cell, true)
	if r != nil {
		return steps, Verdict{Action: r.action, Rule: int(r.index), Pair: -1, ID: r.id, Stable: lasting}
	}
	v, f := p.fallback(&packet, cell, lasting)
	return append(steps, Step{Rule: -1, Pair: v.Pair, Matched: true, Text: p.fallbackText(&packet, f)}), v
}

func (p *Policy) explainAccess(now conntrack.Tick, k *Packet) (steps []Step, v Verdict) {
	v = Verdict{Rule: -1, Pair: -1, Stable: true}
	for direction, port := range [2]uint16{k.In, k.Out} {
		l := p.door(direction, port)
		if l == nil {
			continue
		}
		var r *rule
		steps, r = p.explainList(steps, now, k, l)
		_, lasting := l.first(now, k, 0, true)
		v.Stable = v.Stable && lasting
		if r == nil {
			continue
		}
		if v.Rule, v.ID, v.Action = int(r.index), r.id, r.action; v.Action != Accept {
			return steps, v
		}
	}
	if v.Rule < 0 {
		steps = append(steps, Step{Rule: -1, Pair: -1, Matched: true, Text: "no access rule of its ports matches: it passes"})
	}
	return steps, v
}

// explainList goes through a list up to the rule that matches.
func (p *Policy) explainList(steps []Step, now conntrack.Tick, k *Packet, l *list) ([]Step, *rule) {
	for i := range l.rules {
		r := &l.rules[i]
		why := p.refusal(now, k, r)
		if why == "" {
			return append(steps, Step{Rule: int(r.index), Pair: -1, Matched: true, Text: r.decision()}), r
		}
		steps = append(steps, Step{Rule: int(r.index), Pair: -1, Text: why})
	}
	return steps, nil
}

// decision says what the rule that matches does.
func (r *rule) decision() string {
	text := fmt.Sprintf("%s matches: %v", r.of.Words(), r.action)
	if r.limiter != nil {
		text += ", as long as the rate is not exceeded"
	}
	if r.quota != nil {
		text += fmt.Sprintf(", for a source with fewer than %d sessions by this rule", r.maxHost)
	}
	return text
}

// refusal is the first condition of a rule that a packet fails, or nothing.
func (p *Policy) refusal(now conntrack.Tick, k *Packet, r *rule) string {
	m := &r.of.Match
	if why := p.zoneRefusal(k, r.of); why != "" {
		return why
	}
	if !m.takes(k.Key.Protocol) {
		return fmt.Sprintf("it is %s, not %s", protocolWord(k.Key.Protocol), m.protocolWanted())
	}
	for _, why := range []string{
		addressRefusal("source", k.Key.Src, m.Source, m.NotSource),
		setRefusal("source", now, k.Key.Src, r.source, r.sourceNot),
		portRefusal("source port", k.Key.SrcPort, m.SourcePorts),
		addressRefusal("destination", k.Key.Dst, m.Destination, m.NotDestination),
		setRefusal("destination", now, k.Key.Dst, r.dest, r.destNot),
		portRefusal("port", k.Key.DstPort, m.DestPorts),
		m.packetRefusal(k),
	} {
		if why != "" {
			return why
		}
	}
	if r.opens && k.State == Invalid {
		return "it is invalid, and what accepts takes that only with `state: invalid`"
	}
	if r.limiter != nil && r.over {
		return fmt.Sprintf("it matches only beyond %v, which is taken as not exceeded", r.of.Rate)
	}
	return ""
}

func (p *Policy) zoneRefusal(k *Packet, of *Rule) string {
	if of.From != "" && p.names[p.zone(k.In)] != of.From {
		return fmt.Sprintf("it comes from %s, not from %s", p.place(k.In), place(of.From))
	}
	if of.To != "" && p.names[p.zone(k.Out)] != of.To {
		return fmt.Sprintf("it goes to %s, not to %s", p.place(k.Out), place(of.To))
	}
	return ""
}

func (p *Policy) place(port uint16) string {
	if number := p.zone(port); number != zoneNone {
		return place(p.names[number])
	}
	return "a port without a zone"
}

func place(zone string) string {
	if zone == RouterZone {
		return "the router itself"
	}
	return "zone " + zone
}

// takes reports whether a packet of this protocol can have all that the match asks for.
func (m *Match) takes(protocol uint8) bool {
	return (m.Protocol == 0 || m.Protocol == protocol) &&
		(len(m.SourcePorts)+len(m.DestPorts) == 0 || hasPorts(protocol)) &&
		(m.ICMPType < 0 && m.ICMPCode < 0 || protocol == protocolICMP) &&
		(m.TCPMask == 0 || protocol == protocolTCP)
}

func (m *Match) protocolWanted() string {
	switch {
	case m.Protocol != 0:
		return protocolWord(m.Protocol)
	case m.TCPMask != 0:
		return "tcp"
	case m.ICMPType >= 0 || m.ICMPCode >= 0:
		return "icmp"
	}
	return "a protocol with ports"
}

func addressRefusal(what string, a packet.Addr, list []netip.Prefix, not bool) string {
	if len(list) == 0 {
		return ""
	}
	in := slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(netipOf(a)) })
	switch {
	case in && not:
		return fmt.Sprintf("%s %v is in %s", what, netipOf(a), prefixWords(list))
	case !in && !not:
		return fmt.Sprintf("%s %v is not in %s", what, netipOf(a), prefixWords(list))
	}
	return ""
}

func setRefusal(what string, now conntrack.Tick, a packet.Addr, s *set, not bool) string {
	if s == nil {
		return ""
	}
	switch member, _ := s.has(now, a); {
	case member && not:
		return fmt.Sprintf("%s %v is in the set %s", what, netipOf(a), s.Name)
	case !member && !not:
		return fmt.Sprintf("%s %v is not in the set %s", what, netipOf(a), s.Name)
	}
	return ""
}

func portRefusal(what string, port uint16, list []PortRange) string {
	if len(list) == 0 || slices.ContainsFunc(list, func(r PortRange) bool { return r.Min <= port && port <= r.Max }) {
		return ""
	}
	return fmt.Sprintf("%s %d is not in %s", what, port, portWords(list))
}

// packetRefusal is about what is not in the key.
func (m *Match) packetRefusal(k *Packet) string {
	switch {
	case m.ICMPType >= 0 && int(k.ICMPType) != m.ICMPType:
		return fmt.Sprintf("the ICMP type is %s, not %s", icmpWord(int(k.ICMPType)), icmpWord(m.ICMPType))
	case m.ICMPCode >= 0 && int(k.ICMPCode) != m.ICMPCode:
		return fmt.Sprintf("the ICMP code is %d, not %d", k.ICMPCode, m.ICMPCode)
	case k.TCPFlags&m.TCPMask != m.TCPFlags:
		return fmt.Sprintf("the TCP flags are %s, not %s", flagWords(k.TCPFlags, m.TCPMask), flagWords(m.TCPFlags, m.TCPMask))
	case m.States != 0 && k.State&m.States == 0:
		return fmt.Sprintf("its state is %s, not %s", k.State.word(), m.States)
	case m.DSCP >= 0 && int(k.DSCP) != m.DSCP:
		return fmt.Sprintf("the DSCP is %d, not %d", k.DSCP, m.DSCP)
	case m.LengthMin > 0 && k.size() < m.LengthMin:
		return fmt.Sprintf("it has %d octets, fewer than %d", k.size(), m.LengthMin)
	case m.LengthMax > 0 && k.size() > m.LengthMax:
		return fmt.Sprintf("it has %d octets, more than %d", k.size(), m.LengthMax)
	}
	return ""
}

// word is the state of a packet, which is one or unknown.
func (s State) word() string {
	if s == 0 {
		return "unknown"
	}
	return s.String()
}

func (p *Policy) fallbackText(k *Packet, f *fallback) string {
	from, to := p.place(k.In), p.place(k.Out)
	switch {
	case k.State&Forwarded != 0:
		return "no rule matches, and a forward or mapping let it in: accept"
	case k.State&Related != 0:
		return "no rule matches, and a session that passed foresaw it: accept"
	case f.pair >= 0:
		return fmt.Sprintf("no rule matches, and the policy from %s to %s is %v", from, to, f.action)
	}
	return fmt.Sprintf("no rule matches, and from %s to %s nothing is said: %v", from, to, f.action)
}
