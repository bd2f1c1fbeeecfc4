package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// accessRule checks a stateless rule, which is of one port.
func (f *firewallValidator) accessRule(r *rawFirewallRule) FirewallRule {
	f.portExists(r.in)
	f.portExists(r.out)
	switch {
	case r.in.at != nil && r.out.at != nil:
		f.fail(r.out.at, "out: an access rule is of one port: keep `in:` or `out:`, or write a rule for each")
	case r.in.at == nil && r.out.at == nil && !r.misplaced:
		f.fail(r.at, "an access rule needs `in:` or `out:` with the name of a port")
	}
	return f.rule(r)
}

// rule checks a rule of either kind.
func (f *firewallValidator) rule(r *rawFirewallRule) FirewallRule {
	f.uniqueName("rule", r.name, f.ruled)
	out := FirewallRule{
		Name: r.name.or(""), From: r.from.or(""), To: r.to.or(""), In: r.in.or(""), Out: r.out.or(""),
		Protocol: r.protocol.or(0), SourcePorts: portRanges(r.sourcePorts), Ports: portRanges(r.ports),
		ICMPType: r.icmpType.or(-1), ICMPCode: r.icmpCode.or(-1), TCPFlags: r.flags.or(tcpFlags{}).flags, TCPMask: r.flags.or(tcpFlags{}).mask,
		DSCP: r.dscp.or(-1), LengthMin: r.length.or(lengthRange{}).least, LengthMax: r.length.or(lengthRange{}).most,
		MaxSessions: r.maxSessions.or(0), AddTo: r.addTo.or(""), AddFor: r.addFor.or(0),
		Action: r.action.or(""), Log: r.log.or(false), Comment: r.comment.or(""), Pos: Pos{r.at.Line, r.at.Column},
	}
	f.zoneExists("from", r.from)
	f.zoneExists("to", r.to)
	if r.from.or("") == RouterZone && r.to.or("") == RouterZone {
		f.fail(r.at, "what the router sends to itself passes no firewall: name a zone in `from:` or `to:`")
	}
	f.addresses(r, &out)
	f.portsFit(r)
	f.icmpFits(r)
	for i, s := range r.states.v {
		out.States = append(out.States, s.v)
		if slices.Contains(out.States[:i], s.v) {
			f.fail(s.at, "state: %s stands twice: remove one", s.v)
		}
	}
	if r.rate.good() {
		rate := r.rate.v
		out.Rate = &rate
	}
	if r.maxSessions.good() && r.action.good() && r.action.v != ActionAccept {
		f.fail(r.maxSessions.at, "max_sessions: %s lets no session in that could be counted: use `action: accept`, and let the next rule or the policy refuse the others", r.action.v)
	}
	f.setExists("add_to", r.addTo)
	if r.addFor.at != nil && r.addTo.at == nil {
		f.fail(r.addFor.at, "add_for: add `add_to:` with the name of a set, or remove the key")
	}
	return out
}

func portRanges(all placed[[]placed[PortRange]]) []PortRange {
	var out []PortRange
	for _, p := range all.v {
		out = append(out, p.v)
	}
	return out
}

// addresses fills in what the rule asks of source and destination: each positively or negatively, and sets likewise.
func (f *firewallValidator) addresses(r *rawFirewallRule, out *FirewallRule) {
	out.Source, out.Destination = networks(r.source), networks(r.destination)
	if r.notSource.at != nil {
		out.Source, out.NotSource = networks(r.notSource), true
	}
	if r.notDestination.at != nil {
		out.Destination, out.NotDestination = networks(r.notDestination), true
	}
	f.duplicateNets("source", r.source)
	f.duplicateNets("not_source", r.notSource)
	f.duplicateNets("destination", r.destination)
	f.duplicateNets("not_destination", r.notDestination)
	if r.source.at != nil {
		f.notBoth("source", r.notSource.at)
	}
	if r.destination.at != nil {
		f.notBoth("destination", r.notDestination.at)
	}
	out.SourceSet = f.setOf("source_set", r.sourceSet, r.notSourceSet)
	out.DestinationSet = f.setOf("destination_set", r.destSet, r.notDestSet)
}

func (f *firewallValidator) notBoth(what string, not *yaml.Node) {
	if not != nil {
		f.fail(not, "not_%s: the rule has `%s:` already: keep one of them", what, what)
	}
}

// setOf is the name of a set, with a ! where the key was not_….
func (f *firewallValidator) setOf(what string, set, not placed[string]) string {
	f.setExists(what, set)
	f.setExists("not_"+what, not)
	switch {
	case set.at != nil:
		f.notBoth(what, not.at)
		return set.or("")
	case not.good():
		return "!" + not.v
	}
	return ""
}

// portsFit refuses ports and flags of protocols that have none.
func (f *firewallValidator) portsFit(r *rawFirewallRule) {
	if r.protocol.bad {
		return
	}
	for _, k := range []struct {
		what string
		at   *yaml.Node
	}{{"port", r.ports.at}, {"source_port", r.sourcePorts.at}} {
		switch protocol := r.protocol.or(0); {
		case k.at == nil || protocol == protoTCP || protocol == protoUDP:
		case protocol == 0:
			f.fail(k.at, "%s: say of which protocol: add `protocol: tcp` or `protocol: udp`", k.what)
		default:
			f.fail(k.at, "%s: %s has no ports that the router looks at: remove the key, or choose tcp or udp", k.what, protocolName(protocol))
		}
	}
	if r.flags.at != nil && r.protocol.or(0) != protoTCP {
		f.fail(r.flags.at, "flags: only TCP has them: write `protocol: tcp`")
	}
}

// protocolName names a protocol in messages: "icmp", "protocol 89".
func protocolName(p uint8) string {
	if s := protocolText(p); strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' }) {
		return s
	}
	return fmt.Sprintf("protocol %d", p)
}

// icmpFits refuses types and codes without ICMP, and codes without a type.
func (f *firewallValidator) icmpFits(r *rawFirewallRule) {
	for _, k := range []struct {
		what string
		at   *yaml.Node
	}{{"icmp_type", r.icmpType.at}, {"icmp_code", r.icmpCode.at}} {
		if k.at != nil && !r.protocol.bad && r.protocol.or(0) != protoICMP {
			f.fail(k.at, "%s: only ICMP has it: write `protocol: icmp`", k.what)
			return
		}
	}
	if r.icmpCode.at != nil && r.icmpType.at == nil {
		f.fail(r.icmpCode.at, "icmp_code: a code means something with its type only: add `icmp_type:`")
	}
}

// lastOfAll refuses rules behind one of the same kind and place that matches everything. One that accepts sessions leaves what is
// invalid to those behind it that name it; any other behind it is taken for one that stands in the wrong place.
func (f *firewallValidator) lastOfAll(rules []*rawFirewallRule) {
	type place struct{ from, to, in, out string }
	all := make(map[place]*rawFirewallRule)
	for _, r := range rules {
		here := place{r.from.or(""), r.to.or(""), r.in.or(""), r.out.or("")}
		last := false
		for _, where := range []place{here, {from: here.from}, {to: here.to}, {}} {
			first := all[where]
			if last = first != nil && !(first.action.or("") == ActionAccept && r.namesInvalid()); last {
				f.fail(r.at, "the rule in line %d matches everything that this one could, so that this one never counts: put this one before it", first.at.Line)
				break
			}
		}
		if !last && r.matchesAll() {
			all[here] = r
		}
	}
}

// namesInvalid reports a rule that asks for packets which are of no session and can open none.
func (r *rawFirewallRule) namesInvalid() bool {
	return slices.ContainsFunc(r.states.v, func(s placed[string]) bool { return s.v == "invalid" })
}

// matchesAll reports a rule that asks nothing of a packet but where it comes from and goes to.
func (r *rawFirewallRule) matchesAll() bool {
	broken := r.from.bad || r.to.bad || r.in.bad || r.out.bad
	for _, at := range []*yaml.Node{
		r.source.at, r.notSource.at, r.destination.at, r.notDestination.at, r.sourceSet.at, r.notSourceSet.at, r.destSet.at, r.notDestSet.at,
		r.protocol.at, r.ports.at, r.sourcePorts.at, r.icmpType.at, r.icmpCode.at, r.flags.at, r.states.at, r.dscp.at, r.length.at, r.rate.at, r.maxSessions.at,
	} {
		if at != nil {
			return false
		}
	}
	return !broken
}
