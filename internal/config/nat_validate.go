package config

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// dynamicPorts are those that mappings get where a rule does not say.
var dynamicPorts = PortRange{1024, 65_535}

// nat checks the rules of `nat` and adds them to the Config. It relies on the ports and on reach.
func (v *validator) nat() {
	names := make(map[string]*yaml.Node)
	for _, r := range v.raw.nat {
		v.uniqueName("nat rule", r.name, names)
		v.natRule(r)
	}
	v.neverReached()
	v.oneToOnes()
	v.pools()
}

// neverReached refuses rules behind one that matches everything that leaves by their port. A 1:1 rule is for
// packets from outside as well.
func (v *validator) neverReached() {
	all := make(map[string]*rawNAT)
	for _, r := range v.raw.nat {
		if !r.out.good() || !r.kind.good() || r.kind.v == NATOneToOne {
			continue
		}
		if first := all[r.out.v]; first != nil {
			v.fail(r.at, "the nat rule in line %d matches everything that leaves by port %q, so that this one never counts: put this one before it", first.at.Line, r.out.v)
		} else if r.source.at == nil && r.destination.at == nil && r.protocol.at == nil {
			all[r.out.v] = r
		}
	}
}

// uniqueName refuses a second rule of a name.
func (v *validator) uniqueName(what string, name placed[string], names map[string]*yaml.Node) {
	if !name.good() {
		return
	}
	if first := names[name.v]; first != nil {
		v.fail(name.at, "name: the %s in line %d is already called %q: give each its own name", what, first.Line, name.v)
		return
	}
	names[name.v] = name.at
}

// natRule checks one rule by itself.
func (v *validator) natRule(r *rawNAT) {
	out := NATRule{
		Out: r.out.or(""), Type: r.kind.or(""), Source: networks(r.source), Destination: networks(r.destination), Protocol: r.protocol.or(0),
		Inside: r.inside.or(netip.Addr{}), Outside: r.outside.or(netip.Addr{}), Name: r.name.or(""), Comment: r.comment.or(""),
		Pos: Pos{r.at.Line, r.at.Column},
	}
	v.portExists(r.out)
	v.duplicateNets("source", r.source)
	v.duplicateNets("destination", r.destination)
	if r.kind.good() {
		v.natKeysFit(r)
		v.natType(r, &out)
	}
	v.config.NAT = append(v.config.NAT, out)
}

// networks lists the prefixes of a key; nil where it is absent.
func networks(all placed[[]placed[netip.Prefix]]) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all.v {
		out = append(out, p.v)
	}
	return out
}

// duplicateNets refuses a prefix that stands twice in one list.
func (v *validator) duplicateNets(what string, all placed[[]placed[netip.Prefix]]) {
	if len(all.v) < 2 {
		return
	}
	seen := make(map[netip.Prefix]bool, len(all.v))
	for _, p := range all.v {
		if seen[p.v] {
			v.fail(p.at, "%s: %s stands twice: remove one", what, p.v)
		}
		seen[p.v] = true
	}
}

// natKeysFit refuses keys that the type of a rule has no use for, and misses those that it needs.
func (v *validator) natKeysFit(r *rawNAT) {
	for _, k := range []struct {
		name       string
		at         *yaml.Node
		with, need string // types, with spaces around each
	}{
		{"source", r.source.at, " masquerade snat none cgnat ", ""},
		{"destination", r.destination.at, " masquerade snat none cgnat ", ""},
		{"protocol", r.protocol.at, " masquerade snat none cgnat ", ""},
		{"to", r.to.at, " snat cgnat ", " snat cgnat "},
		{"inside", r.inside.at, " one_to_one ", " one_to_one "},
		{"outside", r.outside.at, " one_to_one ", " one_to_one "},
		{"filtering", r.filtering.at, " masquerade snat cgnat ", ""},
		{"ports", r.ports.at, " masquerade snat cgnat ", ""},
		{"block_size", r.blockSize.at, " cgnat ", ""},
		{"max_blocks", r.maxBlocks.at, " cgnat ", ""},
		{"deterministic", r.deterministic.at, " cgnat ", ""},
	} {
		kind := " " + string(r.kind.v) + " "
		switch {
		case k.at != nil && !strings.Contains(k.with, kind):
			v.fail(k.at, "%s: a rule of type %s has no use for it: remove the key, or choose another type", k.name, r.kind.v)
		case k.at == nil && strings.Contains(k.need, kind):
			v.fail(r.at, "a nat rule of type %s needs `%s:`", r.kind.v, k.name)
		}
	}
}

// natType checks what each type asks for, and fills in its defaults.
func (v *validator) natType(r *rawNAT, out *NATRule) {
	switch r.kind.v {
	case NATOneToOne:
		v.natAddress("inside", r.inside)
		v.natAddress("outside", r.outside)
		return
	case NATNone:
		return
	case NATMasquerade:
		if p := v.byName[r.out.or("")]; p != nil && p.address.at == nil && !p.broken {
			v.fail(r.out.at, "out: port %q has no address that packets could get: give it one with `address:` under `ports:`", p.name)
		}
	}
	out.Filtering = r.filtering.or(FilterEndpointIndependent)
	out.Ports = r.ports.or(dynamicPorts)
	size := 0
	for _, to := range r.to.v {
		size += to.v.size()
		for _, end := range []netip.Addr{to.v.first, to.v.last} {
			if fault := v.specialAddress(packet.AddrFrom(end)); fault != "" {
				v.fail(to.at, "to: %s is %s: give addresses that packets from outside can reach", end, fault)
				break
			}
		}
	}
	switch {
	case strings.Contains("snat cgnat", string(r.kind.v)) && size > maxPool:
		v.fail(r.to.at, "to: the pool has %d addresses: at most %d are allowed", size, maxPool)
	case strings.Contains("snat cgnat", string(r.kind.v)):
		if v.pooled += size; v.pooled > maxPools && v.pooled-size <= maxPools {
			v.fail(r.to.at, "to: with this one the pools of all rules have %d addresses: at most %d are allowed", v.pooled, maxPools)
		}
		if v.pooled <= maxPools {
			out.To = expanded(r.to.v)
		}
	}
	if r.kind.v == NATCGNAT {
		v.carrierGrade(r, out, size)
	}
}

// carrierGrade checks the blocks of ports.
func (v *validator) carrierGrade(r *rawNAT, out *NATRule, size int) {
	out.BlockSize, out.MaxBlocks, out.Deterministic = r.blockSize.or(defaultBlock), r.maxBlocks.or(defaultBlocks), r.deterministic.or(false)
	if r.blockSize.bad || r.ports.bad {
		return
	}
	blocks := (int(out.Ports.Max) - int(out.Ports.Min) + 1) / out.BlockSize
	if blocks == 0 {
		at := r.blockSize.at
		if at == nil {
			at = r.ports.at
		}
		v.fail(at, "block_size: a block of %d ports does not fit in %s: choose a smaller one, or more ports", out.BlockSize, out.Ports)
		return
	}
	if !out.Deterministic {
		return
	}
	out.MaxBlocks = 1
	if r.maxBlocks.good() && r.maxBlocks.v != 1 {
		v.fail(r.maxBlocks.at, "max_blocks: with `deterministic: true` each subscriber has one block: remove the key")
	}
	if r.source.at == nil {
		v.fail(r.at, "deterministic: add `source:` with the subscribers' prefixes, since their blocks follow from their addresses")
		return
	}
	if subscribers := subscribersOf(out.Source); !r.source.bad && !r.to.bad && r.to.at != nil && size <= maxPool && subscribers > size*blocks {
		v.fail(r.source.at, "source: %d subscribers need as many blocks, and %s of %d ports have %d: give more addresses in `to:`, or a smaller block_size",
			subscribers, counted(size, "address", "addresses"), int(out.Ports.Max)-int(out.Ports.Min)+1, size*blocks)
	}
}

// subscribersOf counts the addresses of prefixes.
func subscribersOf(all []netip.Prefix) int {
	n := 0
	for _, p := range all {
		n += 1 << (32 - p.Bits())
	}
	return n
}

// natAddress refuses what no host can have, and what is the router's own.
func (v *validator) natAddress(what string, a placed[netip.Addr]) {
	if !a.good() {
		return
	}
	if fault := v.specialAddress(packet.AddrFrom(a.v)); fault != "" {
		v.fail(a.at, "%s: %s is %s: give the address of a host", what, a.v, fault)
		return
	}
	if own := v.reach.own[a.v]; own != nil {
		v.fail(a.at, "%s: %s is this router's own address (port %q), which would be cut off: give another one", what, a.v, own.name)
		return
	}
	if _, subnet := v.reach.onSubnet(a.v); subnet.IsValid() {
		v.refuseEdge(what, a, subnet)
	}
}

// oneToOnes refuses addresses that two rules give away.
func (v *validator) oneToOnes() {
	inside, outside := make(map[netip.Addr]*yaml.Node), make(map[netip.Addr]*yaml.Node)
	for _, r := range v.raw.nat {
		if r.kind.or("") != NATOneToOne {
			continue
		}
		for _, k := range []struct {
			what  string
			a     placed[netip.Addr]
			taken map[netip.Addr]*yaml.Node
		}{{"inside", r.inside, inside}, {"outside", r.outside, outside}} {
			if !k.a.good() {
				continue
			}
			if first := k.taken[k.a.v]; first != nil {
				v.fail(k.a.at, "%s: %s is already that of the rule in line %d: give each host its own", k.what, k.a.v, first.Line)
				continue
			}
			k.taken[k.a.v] = k.a.at
		}
		if r.inside.good() && r.outside.good() && r.inside.v == r.outside.v {
			v.fail(r.outside.at, "outside: %s is `inside` too, so that nothing would be translated: use `type: none` for that", r.outside.v)
		}
	}
}

// pool is a range of a rule of type snat or cgnat, or the outside address of a 1:1 rule.
type pool struct {
	addressRange
	rule *rawNAT
	at   *yaml.Node
}

// pools refuses pools that overlap: two carriers would give the same block twice, and a 1:1 host has its address for itself. Rules
// of type snat share their mappings and may share their pools, as a whole.
func (v *validator) pools() {
	var all []pool
	for _, r := range v.raw.nat {
		switch r.kind.or("") {
		case NATSource, NATCGNAT:
			for _, to := range r.to.v {
				all = append(all, pool{to.v, r, to.at})
			}
		case NATOneToOne:
			if r.outside.good() {
				all = append(all, pool{addressRange{r.outside.v, r.outside.v}, r, r.outside.at})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b pool) int { return cmp.Or(a.first.Compare(b.first), a.last.Compare(b.last)) })
	told := make(map[*rawNAT]bool)
	for i, furthest := 0, (pool{}); i < len(all); i++ {
		// Of those so far, the one that reaches furthest is the one to meet: what overlaps another of them overlaps it.
		p := all[i]
		if i > 0 && furthest.overlaps(p.addressRange) {
			v.poolsClash(furthest, p, told)
		}
		if i == 0 || furthest.last.Less(p.last) {
			furthest = p
		}
	}
}

// poolsClash judges two ranges that overlap; of each rule it tells once.
func (v *validator) poolsClash(a, b pool, told map[*rawNAT]bool) {
	if a.rule != b.rule && a.rule.kind.v == NATSource && b.rule.kind.v == NATSource && samePool(a.rule, b.rule) {
		return
	}
	if a.rule != b.rule && a.rule.kind.v == NATOneToOne && b.rule.kind.v == NATOneToOne {
		return // oneToOnes tells of it
	}
	if b.at.Line < a.at.Line || b.at.Line == a.at.Line && b.at.Column < a.at.Column {
		a, b = b, a
	}
	if told[b.rule] {
		return
	}
	told[b.rule] = true
	what := "to"
	if b.rule.kind.v == NATOneToOne {
		what = "outside"
	}
	if a.rule == b.rule {
		v.fail(b.at, "%s: %s overlaps %s of the same rule: let them be apart", what, b.addressRange, a.addressRange)
	} else {
		v.fail(b.at, "%s: %s overlaps %s of the %s rule in line %d: give each rule its own addresses", what, b.addressRange, a.addressRange, a.rule.kind.v, a.at.Line)
	}
}

// samePool reports rules whose pools are the same as a whole.
func samePool(a, b *rawNAT) bool {
	return slices.EqualFunc(a.to.v, b.to.v, func(x, y placed[addressRange]) bool { return x.v == y.v })
}
