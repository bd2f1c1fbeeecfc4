package config

import (
	"net/netip"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Limits of the section `firewall`.
const (
	maxRulePorts   = 256
	maxSetNets     = 1 << 20
	maxSetMembers  = 1 << 20
	maxMemberTime  = 30 * 24 * time.Hour
	firewallAsHome = "home"
)

// firewallTables are the tables of keys of the section `firewall`.
type firewallTables struct {
	section []key[rawFirewall]
	zone    []key[rawZone]
	set     []key[rawSet]
	policy  []key[rawPolicy]
	rule    []key[rawFirewallRule]
	access  []key[rawFirewallRule]
}

func newFirewallTables() *firewallTables {
	t := &firewallTables{}
	t.zone = []key[rawZone]{
		must(field("ports", "Ports of the zone: a name or a list. A port is in one zone at most.", several(portName(), maxPorts),
			func(z *rawZone) *placed[[]placed[string]] { return &z.ports })),
		field("comment", "A remark.", text(maxComment), func(z *rawZone) *placed[string] { return &z.comment }),
	}
	t.set = []key[rawSet]{
		field("addresses", "Members that stay: a prefix, an address, or a list. Absent: none.", several(networkOrHost(false), maxSetNets),
			func(s *rawSet) *placed[[]placed[netip.Prefix]] { return &s.addresses }),
		field("timeout", "How long a member stays that a rule or `vrctl` adds. Absent: until it is removed, or the router ends.",
			withoutDefault(duration(time.Second, maxMemberTime, 0)), func(s *rawSet) *placed[time.Duration] { return &s.timeout }),
		field("max", "Members that may be added.", integer(1, maxSetMembers, 65_536), func(s *rawSet) *placed[int] { return &s.max }),
		field("comment", "A remark.", text(maxComment), func(s *rawSet) *placed[string] { return &s.comment }),
	}
	t.policy = []key[rawPolicy]{
		must(field("from", "Zone that sessions come from, or `router` for the router itself.", portName(), func(p *rawPolicy) *placed[string] { return &p.from })),
		must(field("to", "Zone that they go to, or `router` for the router itself.", portName(), func(p *rawPolicy) *placed[string] { return &p.to })),
		must(field("action", actionDoc, actions(), func(p *rawPolicy) *placed[FirewallAction] { return &p.action })),
		field("log", "Log what this decides, within the limit of logs.", boolean(false), func(p *rawPolicy) *placed[bool] { return &p.log }),
		field("comment", "A remark.", text(maxComment), func(p *rawPolicy) *placed[string] { return &p.comment }),
	}
	t.ruleKeys()
	t.sectionKeys()
	return t
}

const actionDoc = "accept, drop silently, or refuse: by a TCP reset, else ICMP port unreachable (reject), ICMP administratively prohibited (reject_admin), a TCP reset (reject_reset), ICMP host or network unreachable."

func actions() value[FirewallAction] {
	return withoutDefault(oneOf(ActionAccept, ActionDrop, ActionReject, ActionRejectAdmin, ActionRejectReset, ActionRejectHost, ActionRejectNetwork))
}

// elsewhere are the rows of keys that a mapping has not, for reasons that the operator is told.
func elsewhere(because string, names ...string) []key[rawFirewallRule] {
	var rows []key[rawFirewallRule]
	for _, name := range names {
		rows = append(rows, key[rawFirewallRule]{name: name, refused: because, read: func(_ *decoder, _ *yaml.Node, into *rawFirewallRule) { into.misplaced = true }})
	}
	return rows
}

// ruleKeys makes the tables of stateful rules and of access rules, which have most keys in common.
func (t *firewallTables) ruleKeys() {
	type rule = rawFirewallRule
	name := field("name", "A name of your own, which tables and logs show; no other rule has it.", text(maxRuleName), func(r *rule) *placed[string] { return &r.name })
	t.rule = append([]key[rule]{
		name,
		field("from", "Zone of the port of arrival, or `router` for the router itself. Absent: any.", portName(), func(r *rule) *placed[string] { return &r.from }),
		field("to", "Zone of the port of departure, or `router` for the router itself. Absent: any.", portName(), func(r *rule) *placed[string] { return &r.to }),
		field("state", "What the packet is to sessions, a word or a list: new, invalid, forwarded (let in by a forward, 1:1 or an asked-for mapping), mapped (let in by the filtering of a mapping), related. Absent: any, but a rule that accepts does not take what is invalid.",
			states(), func(r *rule) *placed[[]placed[string]] { return &r.states }),
		field("max_sessions", "Sessions that one source may have by this rule; beyond it the rule does not match.", withoutDefault(integer(1, maxSessions, 0)),
			func(r *rule) *placed[int] { return &r.maxSessions }),
	}, matchKeys()...)
	t.rule = append(t.rule, elsewhere("a rule is between zones: use `from:` and `to:`, or write it under `access:`, whose rules are of ports", "in", "out")...)
	t.access = append([]key[rule]{
		name,
		field("in", "Port of arrival that the rule is for; either this or `out`.", portName(), func(r *rule) *placed[string] { return &r.in }),
		field("out", "Port of departure that the rule is for; either this or `in`.", portName(), func(r *rule) *placed[string] { return &r.out }),
	}, matchKeys()...)
	t.access = append(t.access, elsewhere("an access rule is of one port: use `in:` or `out:`, or write it under `rules:`, whose rules are between zones", "from", "to")...)
	t.access = append(t.access, elsewhere("an access rule knows no sessions: write it under `rules:`", "state", "max_sessions")...)
}

// matchKeys are the rows that both kinds of rules have.
func matchKeys() []key[rawFirewallRule] {
	type rule = rawFirewallRule
	nets := func(name, doc string, at func(*rule) *placed[[]placed[netip.Prefix]]) key[rule] {
		return field(name, doc, several(networkOrHost(name == "source" || name == "destination"), maxRuleNets), at)
	}
	return []key[rule]{
		must(field("action", actionDoc, actions(), func(r *rule) *placed[FirewallAction] { return &r.action })),
		nets("source", "Sources: a prefix, an address, or a list. Absent: all.", func(r *rule) *placed[[]placed[netip.Prefix]] { return &r.source }),
		nets("not_source", "Any source but these.", func(r *rule) *placed[[]placed[netip.Prefix]] { return &r.notSource }),
		field("source_set", "The source is a member of this set.", portName(), func(r *rule) *placed[string] { return &r.sourceSet }),
		field("not_source_set", "The source is no member of this set.", portName(), func(r *rule) *placed[string] { return &r.notSourceSet }),
		nets("destination", "Destinations, behind translation: a prefix, an address, or a list. Absent: all.",
			func(r *rule) *placed[[]placed[netip.Prefix]] { return &r.destination }),
		nets("not_destination", "Any destination but these.", func(r *rule) *placed[[]placed[netip.Prefix]] { return &r.notDestination }),
		field("destination_set", "The destination is a member of this set.", portName(), func(r *rule) *placed[string] { return &r.destSet }),
		field("not_destination_set", "The destination is no member of this set.", portName(), func(r *rule) *placed[string] { return &r.notDestSet }),
		field("protocol", "A word or a number. Absent: any.", protocol(), func(r *rule) *placed[uint8] { return &r.protocol }),
		field("port", "Destination port of TCP or UDP, behind translation: a number, a range such as 8000-8010, or a list.", several(portRange(), maxRulePorts),
			func(r *rule) *placed[[]placed[PortRange]] { return &r.ports }),
		field("source_port", "Source port of TCP or UDP: a number, a range, or a list.", several(portRange(), maxRulePorts),
			func(r *rule) *placed[[]placed[PortRange]] { return &r.sourcePorts }),
		field("icmp_type", "Type of ICMP: a word such as echo_request, or a number.", wordOrNumber(icmpTypes(), 255), func(r *rule) *placed[int] { return &r.icmpType }),
		field("icmp_code", "Code of ICMP.", withoutDefault(integer(0, 255, 0)), func(r *rule) *placed[int] { return &r.icmpCode }),
		field("flags", "TCP flags that are set, and with ! those that are not, such as syn,!ack; the others may be either.", flags(),
			func(r *rule) *placed[tcpFlags] { return &r.flags }),
		field("dscp", "Differentiated services code point: a word such as ef or af41, or a number.", wordOrNumber(codePoints(), 63), func(r *rule) *placed[int] { return &r.dscp }),
		field("length", "Length of the IP packet in octets: a number or a range such as 64-128.", lengths(), func(r *rule) *placed[lengthRange] { return &r.length }),
		field("rate", "How often the rule matches: 10/s, 5/m burst 20; beyond it: over 100/s; each source by itself: 10/s per source. Units s, m and h; the burst is otherwise as many as the rate's packets.",
			rate(), func(r *rule) *placed[RuleRate] { return &r.rate }),
		field("add_to", "Set into which the source is put when the rule matches.", portName(), func(r *rule) *placed[string] { return &r.addTo }),
		field("add_for", "How long it stays there. Absent: the timeout of the set.", withoutDefault(duration(time.Second, maxMemberTime, 0)),
			func(r *rule) *placed[time.Duration] { return &r.addFor }),
		field("log", "Log what this rule decides, within the limit of logs.", boolean(false), func(r *rule) *placed[bool] { return &r.log }),
		field("comment", "A remark.", text(maxComment), func(r *rule) *placed[string] { return &r.comment }),
	}
}

// sectionKeys makes the table of the section.
func (t *firewallTables) sectionKeys() {
	rules := func(into func(*rawFirewall) *[]*rawFirewallRule) func(f *rawFirewall, n *yaml.Node) *rawFirewallRule {
		return func(f *rawFirewall, n *yaml.Node) *rawFirewallRule {
			r := &rawFirewallRule{at: n}
			*into(f) = append(*into(f), r)
			return r
		}
	}
	t.section = []key[rawFirewall]{
		named("zones", "Groups of ports, by name.", mappingSchema(t.zone), false, t.readZone),
		named("sets", "Sets of addresses, by name.", nullable(mappingSchema(t.set)), true, t.readSet),
		ruleList("rules", "Stateful rules: of those that match the first packet of a session, the first decides.", "a firewall rule", t.rule,
			rules(func(f *rawFirewall) *[]*rawFirewallRule { return &f.rules })),
		ruleList("policy", "What happens from one zone to another where no rule matches.", "a policy", t.policy, func(f *rawFirewall, n *yaml.Node) *rawPolicy {
			p := &rawPolicy{at: n}
			f.policy = append(f.policy, p)
			return p
		}),
		ruleList("access", "Stateless rules of a port, for every packet: of those that match, the first decides; what none matches passes.", "an access rule", t.access,
			rules(func(f *rawFirewall) *[]*rawFirewallRule { return &f.access })),
	}
}

// key is the row of the document for the section.
func (t *firewallTables) key() key[rawConfig] {
	return key[rawConfig]{
		name: "firewall", doc: "The firewall: `home`, or zones, rules and policies. Absent: there is none.",
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Enum: []any{firewallAsHome}}, mappingSchema(t.section)}},
		read: func(d *decoder, n *yaml.Node, into *rawConfig) {
			into.firewall.at = n
			switch {
			case n.Kind == yaml.ScalarNode && n.Value == firewallAsHome:
				into.firewall.home = true
			case n.Kind != yaml.MappingNode:
				into.firewall.broken = true
				d.fail(n, "firewall wants the word home, or a mapping with `zones:` and `policy:`, not %s", kindName(n))
			default:
				into.firewall.broken = !readMapping(d, `the section "firewall"`, n, t.section, &into.firewall)
			}
		},
	}
}

// What cannot be read is known by its name all the same, so that who refers to it is right.

func (t *firewallTables) readZone(d *decoder, name, content *yaml.Node, into *rawFirewall) {
	z := &rawZone{name: name.Value, at: name}
	z.broken = isNull(content) || !readMapping(d, "a zone", content, t.zone, z)
	into.zones = append(into.zones, z)
}

func (t *firewallTables) readSet(d *decoder, name, content *yaml.Node, into *rawFirewall) {
	s := &rawSet{name: name.Value, at: name}
	if !isNull(content) {
		readMapping(d, "a set", content, t.set, s)
	}
	into.sets = append(into.sets, s)
}
