package config

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// firewallValidator looks at the section as a whole and makes the Firewall.
type firewallValidator struct {
	*validator
	raw   *rawFirewall
	out   *Firewall
	zones map[string]*rawZone
	sets  map[string]*rawSet
	ruled map[string]*yaml.Node // names of rules, of both kinds
}

// firewall checks the section and adds it to the Config. It relies on the ports, on `nat` and on `rip`.
func (v *validator) firewall() {
	raw := &v.raw.firewall
	if raw.at == nil {
		return
	}
	f := &firewallValidator{
		validator: v, raw: raw, out: &Firewall{Home: raw.home, Pos: Pos{raw.at.Line, raw.at.Column}},
		zones: make(map[string]*rawZone), sets: make(map[string]*rawSet), ruled: make(map[string]*yaml.Node),
	}
	if raw.home {
		f.home()
		return
	}
	for _, z := range raw.zones {
		f.zone(z)
	}
	f.portsApart()
	for _, s := range raw.sets {
		f.set(s)
	}
	for _, r := range raw.rules {
		f.out.Rules = append(f.out.Rules, f.rule(r))
	}
	for _, p := range raw.policy {
		f.pair(p)
	}
	f.pairsApart()
	for _, r := range raw.access {
		f.out.Access = append(f.out.Access, f.accessRule(r))
	}
	f.lastOfAll(raw.rules)
	f.lastOfAll(slices.DeleteFunc(slices.Clone(raw.access), func(r *rawFirewallRule) bool { return (r.in.at == nil) == (r.out.at == nil) }))
	f.emptyOrOpen()
	v.config.Firewall = f.out
}

// zone checks one zone and adds it.
func (f *firewallValidator) zone(z *rawZone) {
	if z.name == RouterZone {
		f.fail(z.at, "zones: `router` is the router itself and cannot be a zone: choose another name")
	}
	f.zones[z.name] = z
	out := Zone{Name: z.name, Comment: z.comment.or(""), Pos: Pos{z.at.Line, z.at.Column}}
	for _, p := range z.ports.v {
		f.portExists(p)
		out.Ports = append(out.Ports, p.v)
	}
	f.out.Zones = append(f.out.Zones, out)
}

// portsApart refuses a port in two zones, or twice in one.
func (f *firewallValidator) portsApart() {
	type place struct {
		zone string
		at   *yaml.Node
	}
	taken := make(map[string]place)
	for _, z := range f.raw.zones {
		for _, p := range z.ports.v {
			switch first, ok := taken[p.v]; {
			case !ok:
				taken[p.v] = place{z.name, p.at}
			case first.zone == z.name:
				f.fail(p.at, "ports: %q stands twice in this zone: remove one", p.v)
			default:
				f.fail(p.at, "ports: %q is already in the zone %q (line %d): a port is in one zone", p.v, first.zone, first.at.Line)
			}
		}
	}
}

// set checks one set and adds it.
func (f *firewallValidator) set(s *rawSet) {
	f.sets[s.name] = s
	f.duplicateNets("addresses", s.addresses)
	f.out.Sets = append(f.out.Sets, AddressSet{
		Name: s.name, Addresses: networks(s.addresses), Timeout: s.timeout.or(0), Max: s.max.or(65_536),
		Comment: s.comment.or(""), Pos: Pos{s.at.Line, s.at.Column},
	})
}

// zoneExists checks a reference to a zone or to the router.
func (f *firewallValidator) zoneExists(what string, name placed[string]) {
	if !name.good() || name.v == RouterZone || f.zones[name.v] != nil {
		return
	}
	names := []string{RouterZone}
	for _, z := range f.raw.zones {
		names = append(names, z.name)
	}
	hint := suggest(name.v, "zones", names)
	if f.byName[name.v] != nil {
		hint = "it is a port: name the zone that it is in, or make one of it"
	}
	f.fail(name.at, "%s: there is no zone %q; %s", what, name.v, hint)
}

// setExists checks a reference to a set.
func (f *firewallValidator) setExists(what string, name placed[string]) {
	if !name.good() || f.sets[name.v] != nil {
		return
	}
	var names []string
	for _, s := range f.raw.sets {
		names = append(names, s.name)
	}
	f.fail(name.at, "%s: there is no set %q; %s", what, name.v, suggest(name.v, "sets", names))
}

// pair checks one policy and adds it.
func (f *firewallValidator) pair(p *rawPolicy) {
	f.zoneExists("from", p.from)
	f.zoneExists("to", p.to)
	if p.from.or("") == RouterZone && p.to.or("") == RouterZone {
		f.fail(p.at, "policy: what the router sends to itself passes no firewall: name a zone in `from:` or `to:`")
	}
	f.out.Policy = append(f.out.Policy, ZonePolicy{
		From: p.from.or(""), To: p.to.or(""), Action: p.action.or(""), Log: p.log.or(false), Comment: p.comment.or(""),
		Pos: Pos{p.at.Line, p.at.Column},
	})
}

// pairsApart refuses two policies for one pair.
func (f *firewallValidator) pairsApart() {
	type pair struct{ from, to string }
	seen := make(map[pair]*rawPolicy)
	for _, p := range f.raw.policy {
		if !p.from.good() || !p.to.good() {
			continue
		}
		if first := seen[pair{p.from.v, p.to.v}]; first != nil {
			f.fail(p.at, "policy: what happens from %s to %s stands already in line %d: keep one of them", p.from.v, p.to.v, first.at.Line)
			continue
		}
		seen[pair{p.from.v, p.to.v}] = p
	}
}

// emptyOrOpen refuses a section that decides nothing, and one that would open the outside of `nat`: between ports
// without a zone everything passes.
func (f *firewallValidator) emptyOrOpen() {
	if f.raw.broken {
		return
	}
	if len(f.out.Zones) == 0 && len(f.out.Rules) == 0 && len(f.out.Access) == 0 {
		f.fail(f.sectionKey("firewall"), "firewall: the section says nothing of what may pass: write `firewall: home`, or zones with policies, or remove it")
		return
	}
	if len(f.out.Zones) == 0 && len(f.out.Rules) == 0 {
		return // access rules alone: what opens sessions is up to `nat`
	}
	zoned := make(map[string]bool)
	for _, z := range f.out.Zones {
		for _, p := range z.Ports {
			zoned[p] = true
		}
	}
	told := make(map[string]bool)
	for _, r := range f.validator.raw.nat {
		name := r.out.or("")
		other := slices.IndexFunc(f.names, func(p string) bool { return p != name && !zoned[p] })
		if f.byName[name] == nil || zoned[name] || told[name] || other < 0 {
			continue
		}
		told[name] = true
		f.fail(f.sectionKey("firewall"), "firewall: neither port %q, the outside of `nat`, nor port %q is in a zone, and between such ports everything passes: put them into zones",
			name, f.names[other])
	}
}
