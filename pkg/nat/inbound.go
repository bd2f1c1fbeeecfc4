package nat

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Kind of an inbound decision.
type Kind uint8

// What a packet's destination can be to NAT.
const (
	NotOurs   Kind = iota // no address that NAT has to do with: the packet goes its way
	Unclaimed             // one of the outside addresses, and nobody has the port, or the router itself has: for the router, if it listens
	ToForward             // a forward, or an explicit mapping (NAT-PMP, PCP, UPnP, a helper), or 1:1
	ToMapping             // a dynamic mapping whose filtering lets the sender in
	Filtered              // a mapping or forward that does not let this sender in
)

// Target is where an inbound packet is to go.
type Target struct {
	Kind     Kind
	Addr     packet.Addr // the new destination
	Port     uint16
	Rule     int    // ToForward: index of the forward, or -1 for an explicit mapping; with OneToOne, and for ToMapping, index of the rule
	OneToOne bool   // ToForward by a 1:1 rule
	Mapped   bool   // the session will hold a reference to a mapping, which Inbound has taken: ReleaseTarget or Release gives it back
	From     uint16 // the outside port of forward or rule: when the packet came in from inside, this is a hairpin
	Rules    int    // index of the rule whose translation the source of a hairpin gets (RFC 4787 REQ-9); -1: no hairpin, or it is not translated
	Helper   bool   // mapping of a helper: the session is related to another
}

// Inbound finds whom a new packet means that arrived by port in (0: from the router itself).
//
// It is a hairpin when it came from inside: by another port than that of the forward or mapping, and one that is not outside of any
// rule itself (or else from a source that the rule names). Then Target.Rules is what Outbound is to be asked with, and mappings
// filter by the address that the source will be translated to.
//
// With Target.Mapped it has taken a reference, so that the mapping stays until the session is made: until Outbound was asked,
// [Mappings.ReleaseTarget] gives it back; from then on [Mappings.Release].
func (m *Mappings) Inbound(p *Policy, now conntrack.Tick, in uint16, k *conntrack.Key) Target {
	return m.inbound(p, now, in, k, asking{take: true})
}

// InboundPreview is Inbound without taking anything, for explain.
func (m *Mappings) InboundPreview(p *Policy, now conntrack.Tick, in uint16, k *conntrack.Key) Target {
	return m.inbound(p, now, in, k, asking{})
}

func (m *Mappings) inbound(p *Policy, now conntrack.Tick, in uint16, k *conntrack.Key, ask asking) Target {
	at := p.addrs[k.Dst]
	if at == nil {
		return Target{Rule: -1, Rules: -1}
	}
	// An identifier of an ICMP query is the sender's: only replies go by it, and those have a session.
	class, ported := classOf(k.Protocol)
	if ported && k.Protocol != protocolICMP {
		if list := at.ports[class].at(k.DstPort); len(list) > 0 {
			return m.toForward(p, now, in, k, class, list, ask)
		}
		if t, found := m.toMapping(p, now, in, k, class, ask); found {
			return t
		}
	}
	if at.oneToOne >= 0 {
		r := &p.rules[at.oneToOne]
		if r.Protocol == 0 || r.Protocol == k.Protocol {
			return Target{
				Kind: ToForward, Addr: r.Inside, Port: k.DstPort, Rule: at.oneToOne, OneToOne: true,
				From: r.Out, Rules: p.hairpin(in, r.Out, k),
			}
		}
	}
	return Target{Kind: Unclaimed, Rule: -1, Rules: -1}
}

// hairpin is the rule by which the source of a packet for an outside address is translated; -1: it is none, or not translated. The
// rule's destinations are compared with what the sender knows: the outside address.
func (p *Policy) hairpin(in, from uint16, k *conntrack.Key) int {
	if !p.fromInside(in, from, k) {
		return -1
	}
	index := p.Match(from, k.Protocol, k.Src, k.Dst)
	if p.ownOutside(k.Src) {
		// The router's own: whatever the rule, its port becomes a mapping.
		if index < 0 {
			index = p.ports[from].index[0]
		}
		return index
	}
	if index >= 0 && p.rules[index].Type == Exempt {
		return -1
	}
	return index
}

// fromInside reports whether a packet for an address of port from came from inside. What arrives by another port with rules, that of
// a second uplink say, did only if the rule that it would leave by says so.
func (p *Policy) fromInside(in, from uint16, k *conntrack.Key) bool {
	if in == from || !p.Outside(from) {
		return false
	}
	if !p.Outside(in) {
		return true
	}
	index := p.Match(from, k.Protocol, k.Src, k.Dst)
	return index >= 0 && len(p.rules[index].Source) > 0
}

// toForward applies the first forward of a port that the sender may use.
func (m *Mappings) toForward(p *Policy, now conntrack.Tick, in uint16, k *conntrack.Key, class int, list []int, ask asking) Target {
	for _, i := range list {
		f := &p.forwards[i]
		if !within(f.Source, k.Src) {
			continue
		}
		t := Target{Kind: ToForward, Rule: i, From: f.In, Rules: p.hairpin(in, f.In, k)}
		t.Addr, t.Port = f.target(k.DstPort)
		t.Mapped = m.holdForward(p, now, f, k, class, &t, ask)
		return t
	}
	return Target{Kind: Filtered, Rule: list[0], Rules: -1}
}

// holdForward takes a reference to the mapping of a forwarded port, making it where there is none: so that nobody gets the
// outside port as long as a session is over it, even when the forward goes meanwhile, and so that what the inside host
// sends from there leaves by it. It reports false where the outside port still belongs to sessions of
// another host, from before the forward.
func (m *Mappings) holdForward(p *Policy, now conntrack.Tick, f *forward, k *conntrack.Key, class int, t *Target, ask asking) bool {
	sh, number := m.shard(t.Addr)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	o := m.outside.make(k.Dst)
	if ref := o.mapping(class, k.DstPort); ref != 0 && !ask.over.frees(o, class, k.DstPort) {
		if ref%numShards != number {
			return false
		}
		r := &sh.slots[slotOf(ref)]
		if r.flags&(inUse|isGone) != inUse || r.outside != k.Dst || r.outsidePort != k.DstPort || r.inside != t.Addr || r.insidePort != t.Port {
			return false
		}
		if ask.take {
			r.targets++
		}
		return true
	}
	if m.live.Load() >= int64(m.config.Max) || !o.claimPort(class, k.DstPort, ask) {
		return false
	}
	if !ask.take {
		return true
	}
	made := mapping{
		rule: forwardID, out: f.In, inside: t.Addr, insidePort: t.Port,
		outside: k.Dst, outsidePort: k.DstPort, protocol: k.Protocol, targets: 1, flags: atForward,
	}
	index := p.reach(f.In, k.Protocol, t.Addr, func(i int) bool { return p.rules[i].Type == Masquerade || p.rules[i].Type == SNAT })
	if index >= 0 && len(p.rules[index].Outside) > 0 {
		r := &p.rules[index]
		paired, _ := m.pair(sh, r, now, t.Addr, class, ask)
		addr, port, is := p.forwardedAs(r, k.Protocol, t.Addr, t.Port, paired)
		made.rule = r.id
		if _, has := sh.inside[made.key()]; is && !has && addr == k.Dst && port == k.DstPort {
			made.flags |= isIndexed
			if paired == addr {
				made.flags |= inHostCount
			}
		} else {
			made.rule = forwardID
		}
	}
	m.insert(sh, number, o, class, made)
	return true
}

// toMapping applies the mapping that has an outside port.
func (m *Mappings) toMapping(p *Policy, now conntrack.Tick, in uint16, k *conntrack.Key, class int, ask asking) (Target, bool) {
	if ask.over.frees(m.outside.get(k.Dst), class, k.DstPort) {
		return Target{}, false
	}
	sender := k.Src
	var asked uint64
	if !p.Outside(in) || p.many {
		// The mapping is asked twice: whose is it, and then, with the address that its filtering will see.
		if rule, known := m.outsideRule(p, k, class); known && p.fromInside(in, rule.Out, k) {
			asked = rule.id
			sender = m.translated(p, now, in, rule.Out, k, ask)
		}
	}
	hairpin := asked != 0
	sh, slot, e := m.lockAt(class, k.Protocol, k.Dst, k.DstPort)
	if e == nil {
		return Target{}, false
	}
	defer sh.mu.Unlock()
	if e.rule == ownID && e.inside == e.outside && e.insidePort == e.outsidePort {
		return Target{Kind: Unclaimed, Rule: -1, Rules: -1}, true
	}
	index, known := p.byID[e.rule]
	if !known || e.flags&(isRetired|isGone) != 0 || !p.rules[index].has(k.Dst) || hairpin && asked != e.rule || !hairpin && p.fromInside(in, p.rules[index].Out, k) {
		return Target{Kind: Filtered, Rule: -1, Rules: -1}, true
	}
	r := &p.rules[index]
	t := Target{Kind: Filtered, Addr: e.inside, Port: e.insidePort, Rule: index, From: r.Out, Rules: -1}
	switch {
	case e.flags&isExplicit != 0 && !e.over(now):
		if e.remote != 0 && e.remote != sender {
			return t, true
		}
		t.Kind, t.Rule, t.Helper = ToForward, -1, e.by == ByHelper
	case r.Filtering == EndpointIndependent, r.Filtering == AddressDependent && ask.over.allows(sh, slot, sender):
		t.Kind = ToMapping
	default:
		return t, true
	}
	t.Mapped = true
	if ask.take {
		e.targets++
	}
	if hairpin {
		t.Rules = p.hairpin(in, r.Out, k)
	}
	return t, true
}

// over reports whether an explicit mapping's time is over.
func (r *mapping) over(now conntrack.Tick) bool { return r.expires != 0 && now >= r.expires }

// outsideRule is the rule of the mapping that has an outside port.
func (m *Mappings) outsideRule(p *Policy, k *conntrack.Key, class int) (*rule, bool) {
	sh, _, e := m.lockAt(class, k.Protocol, k.Dst, k.DstPort)
	if e == nil {
		return nil, false
	}
	id := e.rule
	sh.mu.Unlock()
	index, known := p.byID[id]
	if !known {
		return nil, false
	}
	return &p.rules[index], true
}

// translated is the address that the source of a hairpin will have.
func (m *Mappings) translated(p *Policy, now conntrack.Tick, in, from uint16, k *conntrack.Key, ask asking) packet.Addr {
	index := p.hairpin(in, from, k)
	if index < 0 || p.ownOutside(k.Src) {
		return k.Src
	}
	r := &p.rules[index]
	switch {
	case len(r.Outside) == 1:
		return r.Outside[0]
	case len(r.Outside) == 0:
		return k.Src
	}
	source, reason := m.outbound(p, now, from, index, k, asking{over: ask.over})
	if reason != ReasonNone {
		return k.Src
	}
	return source.Addr
}
