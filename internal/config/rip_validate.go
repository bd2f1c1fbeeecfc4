package config

import (
	"net/netip"
	"slices"
	"time"

	"vrouterd/internal/packet"
)

// ripValidator looks at the section as a whole and makes the RIP.
type ripValidator struct {
	*validator
	raw       *rawRIP
	out       *RIP
	chains    map[string]*RIPKeyChain
	lists     map[string]*PrefixList
	listNames []string
}

// rip checks the section and adds it to the Config. It relies on the ports and on reach.
func (v *validator) rip() {
	raw := &v.raw.rip
	if raw.at == nil {
		return
	}
	r := &ripValidator{validator: v, raw: raw, out: &RIP{
		Distance:  raw.distance.or(120),
		MaxPaths:  raw.maxPaths.or(16),
		MaxRoutes: raw.maxRoutes.or(65_536),
		DefaultRoute: RIPDefaultRoute{
			Originate: raw.defaultRoute.originate.or(false), Metric: raw.defaultRoute.metric.or(1), Tag: raw.defaultRoute.tag.or(0),
		},
		Pos: Pos{raw.at.Line, raw.at.Column},
	}}
	r.out.Send, r.out.Receive = versions(raw.version, raw.send, raw.receive, RIPSendV2, RIPReceiveV2)
	r.timers()
	r.keyChains()
	r.prefixLists()
	for _, p := range raw.ports {
		r.port(p)
	}
	r.out.Connected = r.redistribute("connected", raw.redistribute.connected)
	r.out.Static = r.redistribute("static", raw.redistribute.static)
	r.idleDefault("metric", raw.defaultRoute.metric)
	r.idleDefault("tag", raw.defaultRoute.tag)
	v.config.RIP = r.out
}

// idleDefault refuses what would only count if the default route were announced.
func (r *ripValidator) idleDefault(what string, v placed[int]) {
	if originate := r.raw.defaultRoute.originate; v.good() && !originate.bad && !originate.or(false) {
		r.fail(v.at, "%s: the default route is not announced: add `originate: true`, or remove the key", what)
	}
}

// versions are what send and receive say, or version does, or what is inherited.
func versions(version placed[int], send placed[RIPSend], receive placed[RIPReceive], inheritedSend RIPSend, inheritedReceive RIPReceive) (RIPSend, RIPReceive) {
	switch version.or(0) {
	case 1:
		inheritedSend, inheritedReceive = RIPSendV1, RIPReceiveV1
	case 2:
		inheritedSend, inheritedReceive = RIPSendV2, RIPReceiveV2
	}
	return send.or(inheritedSend), receive.or(inheritedReceive)
}

// timers fills in the section's timers and checks how they go together.
func (r *ripValidator) timers() {
	raw, out := r.raw.timers, &r.out.Timers
	out.Update = raw.update.or(30 * time.Second)
	out.Timeout = raw.timeout.or(6 * out.Update)
	out.Garbage = raw.garbage.or(4 * out.Update)
	out.TriggeredMin = raw.triggeredMin.or(min(time.Second, out.Update/30))
	out.TriggeredMax = raw.triggeredMax.or(min(5*time.Second, out.Update/6))
	r.agesOut(raw, *out)
	at := raw.triggeredMax
	if !at.good() {
		at = raw.triggeredMin
	}
	if at.good() && !raw.triggeredMin.bad && !raw.triggeredMax.bad && !raw.update.bad && out.TriggeredMin > out.TriggeredMax {
		r.fail(at.at, "triggered_min, %s, is longer than triggered_max, %s: the pause lies between them", durationText(out.TriggeredMin), durationText(out.TriggeredMax))
	}
}

// agesOut refuses a timeout that routes would reach between two updates.
func (r *ripValidator) agesOut(raw rawRIPTimers, out RIPTimers) {
	at := raw.timeout
	if !at.good() {
		at = raw.update
	}
	if at.good() && !raw.timeout.bad && !raw.update.bad && !r.raw.timers.update.bad && out.Timeout <= out.Update {
		r.fail(at.at, "timeout, %s, is not longer than update, %s: routes would be lost between two updates; %s is usual",
			durationText(out.Timeout), durationText(out.Update), durationText(6*out.Update))
	}
}

// keyChains checks the chains and adds them.
func (r *ripValidator) keyChains() {
	r.out.Keys = make([]RIPKeyChain, 0, len(r.raw.chains))
	r.chains = make(map[string]*RIPKeyChain, len(r.raw.chains))
	for _, c := range r.raw.chains {
		chain := RIPKeyChain{Name: c.name, Type: c.kind.or(""), ForgetSequence: c.forget.or(false), Comment: c.comment.or("")}
		if c.kind.good() && chain.Type == RIPAuthSimple && chain.ForgetSequence {
			r.fail(c.forget.at, "forget_sequence: a simple password has no sequence number: remove the key")
		}
		ids := make(map[int]*rawRIPKey, len(c.keys))
		for _, k := range c.keys {
			chain.Keys = append(chain.Keys, r.key(c, k))
			if first := ids[k.id.v]; k.id.good() && first != nil {
				r.fail(k.id.at, "id: the chain %q has a key %d already, in line %d: give each key its own number", c.name, k.id.v, first.at.Line)
			} else if k.id.good() {
				ids[k.id.v] = k
			}
		}
		r.out.Keys = append(r.out.Keys, chain)
	}
	for i := range r.out.Keys {
		r.chains[r.out.Keys[i].Name] = &r.out.Keys[i]
	}
}

// key checks one key of a chain.
func (r *ripValidator) key(c *rawRIPChain, k *rawRIPKey) RIPKey {
	if c.kind.good() && c.kind.v != RIPAuthSimple && k.id.at == nil {
		r.fail(k.at, "a key of type %s needs `id:`, a number from 0 to 255 that the neighbours have too", c.kind.v)
	}
	if plain := c.kind.v == RIPAuthSimple || c.kind.v == RIPAuthMD5; c.kind.good() && plain && len(k.secret.v) > maxSecretPlain {
		r.fail(k.secret.at, "secret has %d octets: the type %s carries at most %d; shorten it, or choose an hmac type", len(k.secret.v), c.kind.v, maxSecretPlain)
	}
	r.lifetime("send", k.sendFrom, k.sendUntil)
	r.lifetime("accept", k.acceptFrom, k.acceptUntil)
	return RIPKey{
		ID: k.id.or(0), Secret: k.secret.or(""),
		Send:   Lifetime{k.sendFrom.or(time.Time{}), k.sendUntil.or(time.Time{})},
		Accept: Lifetime{k.acceptFrom.or(time.Time{}), k.acceptUntil.or(time.Time{})},
	}
}

// lifetime refuses a span that ends before it begins.
func (r *ripValidator) lifetime(what string, from, until placed[time.Time]) {
	if from.good() && until.good() && !from.v.Before(until.v) {
		r.fail(until.at, "%s_until, %s, is not later than %s_from, %s: exchange them, or leave one out", what, until.v.Format(time.RFC3339), what, from.v.Format(time.RFC3339))
	}
}

// prefixLists checks the lists with names and adds them.
func (r *ripValidator) prefixLists() {
	r.lists = make(map[string]*PrefixList, len(r.raw.lists))
	r.out.PrefixLists = make([]PrefixList, 0, len(r.raw.lists))
	for _, l := range r.raw.lists {
		r.out.PrefixLists = append(r.out.PrefixLists, r.prefixList(l))
		r.listNames = append(r.listNames, l.name)
	}
	for i := range r.out.PrefixLists {
		r.lists[r.out.PrefixLists[i].Name] = &r.out.PrefixLists[i]
	}
}

func (r *ripValidator) prefixList(l *rawPrefixList) PrefixList {
	out := PrefixList{Name: l.name, Rules: make([]PrefixRule, 0, len(l.rules))}
	for _, rule := range l.rules {
		out.Rules = append(out.Rules, r.rule(rule))
	}
	return out
}

// rule fills in the lengths of a rule, which lie between that of its prefix and 32.
func (r *ripValidator) rule(raw *rawPrefixRule) PrefixRule {
	bits := max(raw.prefix.or(netip.Prefix{}).Bits(), 0)
	out := PrefixRule{
		Deny: raw.action.or("permit") == "deny", Prefix: raw.prefix.or(netip.Prefix{}),
		Min: raw.ge.or(bits), Max: bits, Comment: raw.comment.or(""),
	}
	if raw.ge.good() {
		out.Max = 32
	}
	out.Max = raw.le.or(out.Max)
	switch {
	case !raw.prefix.good() || raw.ge.bad || raw.le.bad:
	case out.Min < bits:
		r.fail(raw.ge.at, "ge: nothing within %s is shorter than %d: give %d to 32, or leave the key out", out.Prefix, bits, bits)
	case out.Max < bits:
		r.fail(raw.le.at, "le: nothing within %s is shorter than %d: give %d to 32, or leave the key out", out.Prefix, bits, bits)
	case out.Min > out.Max:
		r.fail(raw.le.at, "le, %d, is less than ge, %d: no length lies between them; exchange the two", out.Max, out.Min)
	}
	return out
}

// filter resolves the use of a prefix list; what it cannot resolve is nil.
func (r *ripValidator) filter(what string, f placed[rawFilter]) *PrefixList {
	switch {
	case f.v.inline != nil:
		list := r.prefixList(f.v.inline)
		return &list
	case !f.good():
		return nil
	}
	list := r.lists[f.v.name.v]
	if list == nil {
		r.fail(f.at, "%s: there is no prefix list %q; %s", what, f.v.name.v, suggest(f.v.name.v, "prefix lists", r.listNames))
	}
	return list
}

func (r *ripValidator) offsets(what string, all placed[[]rawOffset]) []RIPOffset {
	var out []RIPOffset
	for i, o := range all.v {
		out = append(out, RIPOffset{Filter: r.filter(what, o.filter), Metric: o.metric.or(0)})
		if o.filter.at == nil && i+1 < len(all.v) && !all.bad {
			r.fail(o.at, "%s: this offset has no filter and matches every prefix, so that those behind it never count: put it last", what)
		}
	}
	return out
}

func (r *ripValidator) redistribute(what string, raw placed[rawRedistribute]) *RIPRedistribute {
	if raw.at == nil {
		return nil
	}
	return &RIPRedistribute{Metric: raw.v.metric.or(0), Tag: raw.v.tag.or(0), Filter: r.filter("the filter of "+what, raw.v.filter)}
}

// port checks RIP on one port and adds it.
func (r *ripValidator) port(raw *rawRIPPort) {
	out := RIPPort{
		Name: raw.name, Passive: raw.passive.or(false), Cost: raw.cost.or(1),
		SplitHorizon: raw.splitHorizon.or(SplitHorizonPoisoned), Timers: r.out.Timers,
		TTLSecurity: raw.ttlSecurity.or(false), LinkCheck: raw.linkCheck.or(false),
		FilterIn: r.filter("filter_in", raw.filterIn), FilterOut: r.filter("filter_out", raw.filterOut),
		OffsetIn: r.offsets("offset_in", raw.offsetIn), OffsetOut: r.offsets("offset_out", raw.offsetOut),
		Comment: raw.comment.or(""), Pos: Pos{raw.at.Line, raw.at.Column},
	}
	out.Send, out.Receive = versions(raw.version, raw.send, raw.receive, r.out.Send, r.out.Receive)
	if raw.timers.update.good() {
		out.Timers.Update = raw.timers.update.v
		out.Timers.Timeout = 6 * raw.timers.update.v
	}
	out.Timers.Timeout = raw.timers.timeout.or(out.Timers.Timeout)
	r.agesOut(raw.timers, out.Timers)
	r.auth(raw, &out)
	p := r.byName[raw.name]
	switch {
	case p == nil:
		r.fail(raw.at, "rip: there is no port %q; %s", shorten(raw.name), suggest(raw.name, "ports", r.names))
	case p.address.at == nil && !p.broken:
		r.fail(raw.at, "rip: port %q has no address, so RIP cannot run on it: give it one with `address:` under `ports:`, or remove it here", p.name)
	}
	for i, n := range raw.neighbors.v {
		out.Neighbors = append(out.Neighbors, n.v)
		if slices.ContainsFunc(raw.neighbors.v[:i], func(b placed[netip.Addr]) bool { return b.v == n.v }) {
			r.fail(n.at, "neighbors: %s stands twice: remove one", n.v)
		} else if p != nil {
			r.neighbor(p, n)
		}
	}
	r.out.Ports = append(r.out.Ports, out)
}

// auth resolves the chain of a port.
func (r *ripValidator) auth(raw *rawRIPPort, out *RIPPort) {
	if !raw.auth.good() {
		return
	}
	out.Auth = r.chains[raw.auth.v]
	if out.Auth == nil {
		var names []string
		for _, c := range r.raw.chains {
			names = append(names, c.name)
		}
		r.fail(raw.auth.at, "auth: there is no chain %q under `keys:`; %s", raw.auth.v, suggest(raw.auth.v, "chains", names))
		return
	}
	if out.Send == RIPSendV1 || out.Receive == RIPReceiveV1 {
		r.fail(raw.auth.at, "auth: version 1 of RIP has no authentication: use version 2 on port %q, or remove `auth:`", raw.name)
	}
}

// neighbor checks that a unicast neighbour is a station of the port.
func (r *ripValidator) neighbor(p *rawPort, a placed[netip.Addr]) {
	if fault := r.specialAddress(packet.AddrFrom(a.v)); fault != "" {
		r.fail(a.at, "neighbors: %s is %s: give the neighbour's own", a.v, fault)
		return
	}
	if r.subnetsUnknown {
		return
	}
	if own := r.reach.own[a.v]; own != nil {
		r.fail(a.at, "neighbors: %s is this router's own address (port %q): give the neighbour's", a.v, own.name)
		return
	}
	at, subnet := r.reach.onSubnet(a.v)
	switch {
	case at != nil && at != p, at == nil && p.kind.or(TAP) != TUN && !p.dynamic:
		r.fail(a.at, "neighbors: %s is not on-link at port %q, whose subnets are %s", a.v, p.name, r.subnetList(p))
	case at != nil:
		r.refuseEdge("neighbors", a, subnet)
	}
}
