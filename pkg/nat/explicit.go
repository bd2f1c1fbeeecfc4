package nat

import (
	"slices"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Explicit is a mapping that somebody asked for by name: NAT-PMP, PCP, UPnP IGD, a helper.
type Explicit struct {
	Protocol    uint8
	Inside      packet.Addr
	InsidePort  uint16
	Outside     packet.Addr
	OutsidePort uint16
	Remote      packet.Addr    // only this one may use it; 0: anybody
	Expires     conntrack.Tick // when it ends unless renewed; 0: never
	By          By
	Owner       string // description or nonce of who asked; for tables
}

// By is who made a mapping.
type By uint8

// The makers.
const (
	ByTraffic By = iota // dynamic
	ByNATPMP
	ByPCP
	ByUPnP
	ByHelper
)

// String is the name in snake_case.
func (b By) String() string {
	switch b {
	case ByNATPMP:
		return "nat_pmp"
	case ByPCP:
		return "pcp"
	case ByUPnP:
		return "upnp"
	case ByHelper:
		return "helper"
	}
	return "traffic"
}

// Add makes or renews an explicit mapping of TCP or UDP on the outside of a rule that leaves by port out (0: the first rule that
// matches the inside address). OutsidePort 0, or one that is taken, is replaced by a free one unless exact. It returns what was made.
//
// An inside port that has one already keeps it, renewed (unless exact asks for another outside port: then it
// has two). One that has a dynamic mapping keeps its outside port, unless exact. A 1:1 host has every port
// already: nothing is made. A new one of NAT-PMP gets no port whose companion, the same port of the other protocol, is
// another host's.
func (m *Mappings) Add(p *Policy, now conntrack.Tick, out uint16, e Explicit, exact bool) (Explicit, Reason) {
	var before []Explicit
	if e.By == ByNATPMP {
		before = m.ExplicitOf(e.Protocol, e.Inside, e.InsidePort)
	}
	made, reason := m.add(p, now, out, e, exact)
	if reason == ReasonNone && e.By == ByNATPMP && !exact && !slices.ContainsFunc(before, func(b Explicit) bool {
		return b.Outside == made.Outside && b.OutsidePort == made.OutsidePort
	}) {
		made, reason = m.moveFromCompanion(p, now, out, made, e)
	}
	if reason != ReasonNone {
		m.refuse(reason)
	}
	return made, reason
}

func (m *Mappings) add(p *Policy, now conntrack.Tick, out uint16, e Explicit, exact bool) (Explicit, Reason) {
	class, ported := classOf(e.Protocol)
	index := p.ruleFor(out, e.Protocol, e.Inside)
	if !ported || e.Protocol == protocolICMP || e.InsidePort == 0 || index < 0 {
		return e, ReasonNotAllowed
	}
	r := &p.rules[index]
	if len(r.Outside) == 0 {
		return e, ReasonNoAddress
	}
	if r.Type == OneToOne {
		if exact && (e.OutsidePort != 0 && e.OutsidePort != e.InsidePort || e.Outside != 0 && e.Outside != r.Outside[0]) {
			return e, ReasonTaken
		}
		e.Outside, e.OutsidePort = r.Outside[0], e.InsidePort
		return e, ReasonNone
	}
	if e.OutsidePort == 0 {
		exact = false
	}
	sh, number := m.shard(e.Inside)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if slot, found := sh.renewable(r, &e, exact); found {
		return m.name(sh, number, slot, e), ReasonNone
	}
	if int64(sh.perHost[e.Inside]) >= m.perHost.Load() {
		return e, ReasonHostLimit
	}
	key := insideKey{r.id, e.Inside, e.InsidePort, uint16(e.Protocol)}
	slot, exists := sh.inside[key]
	if exists && sh.slots[slot].flags&isExplicit == 0 && r.has(sh.slots[slot].outside) {
		if d := &sh.slots[slot]; !exact || d.outsidePort == e.OutsidePort && (e.Outside == 0 || e.Outside == d.outside) {
			return m.name(sh, number, slot, e), ReasonNone
		}
	}
	if m.live.Load() >= int64(m.config.Max) {
		return e, ReasonMappings
	}
	fresh := mapping{rule: r.id, out: r.Out, inside: e.Inside, insidePort: e.InsidePort, protocol: e.Protocol}
	if reason := m.claimFor(p, now, sh, r, class, &fresh, &e, exact); reason != ReasonNone {
		return e, reason
	}
	if exists && sh.slots[slot].flags&isExplicit == 0 {
		m.retire(now, sh, slot) // sessions that come use the one that was asked for
		exists = false
	}
	if !exists {
		fresh.flags |= isIndexed
	}
	sh.sequence++
	return m.name(sh, number, m.insert(sh, number, m.outside.make(fresh.outside), class, fresh), e), ReasonNone
}

// ruleFor is the rule that translates an inside host; out 0: by whatever port.
func (p *Policy) ruleFor(out uint16, protocol uint8, inside packet.Addr) int {
	translates := func(i int) bool { return p.rules[i].Type != Exempt && len(p.rules[i].Destination) == 0 }
	if out != 0 {
		return p.reach(out, protocol, inside, translates)
	}
	first := -1
	for port := range p.ports {
		if i := p.reach(uint16(port), protocol, inside, translates); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	return first
}

// renewable finds the explicit mapping that a request is about.
func (sh *shard) renewable(r *rule, e *Explicit, exact bool) (uint32, bool) {
	for ref := sh.explicit[endpoint{e.Inside, e.InsidePort, e.Protocol}]; ref != 0; {
		slot := slotOf(ref)
		x := &sh.slots[slot]
		switch {
		case x.rule != r.id, !r.has(x.outside), (x.by == ByHelper) != (e.By == ByHelper), e.By == ByHelper && x.remote != e.Remote:
		case exact && (x.outsidePort != e.OutsidePort || e.Outside != 0 && x.outside != e.Outside):
		default:
			return slot, true
		}
		ref = x.after
	}
	return 0, false
}

// claimFor takes the outside port that a request names, or another.
func (m *Mappings) claimFor(p *Policy, now conntrack.Tick, sh *shard, r *rule, class int, fresh *mapping, e *Explicit, exact bool) Reason {
	if e.OutsidePort != 0 && !r.blocks() {
		paired, reason := m.pair(sh, r, now, e.Inside, class, asking{})
		if reason != ReasonNone {
			return reason
		}
		addr := paired
		if e.Outside != 0 && r.has(e.Outside) {
			addr = e.Outside
		} else if e.Outside != 0 && exact {
			return ReasonTaken
		}
		free := !p.reserved(class, addr).has(e.OutsidePort) || p.forwardsTo(class, addr, e.OutsidePort, e.Inside, e.InsidePort)
		if o := m.outside.make(addr); free && o.unowned(e.OutsidePort) && o.claimPort(class, e.OutsidePort, asking{take: true}) {
			fresh.outside, fresh.outsidePort = addr, e.OutsidePort
			if addr == paired {
				fresh.flags |= inHostCount
			}
			return ReasonNone
		}
	}
	if e.OutsidePort != 0 && r.blocks() {
		if m.claimInBlocks(p, sh, r, class, fresh, e) {
			return ReasonNone
		}
	}
	if exact {
		return ReasonTaken
	}
	return m.claim(p, now, sh, r, class, fresh, asking{take: true})
}

// claimInBlocks takes a port that is named, if it is in a block of the subscriber.
func (m *Mappings) claimInBlocks(p *Policy, sh *shard, r *rule, class int, fresh *mapping, e *Explicit) bool {
	var addr packet.Addr
	if a, has := r.assignment(e.Inside); has && a.PortMin <= e.OutsidePort && e.OutsidePort <= a.PortMax {
		addr = a.Outside
	} else if s := sh.owners[hostKey{r.id, e.Inside}]; s != nil && r.has(s.outside) && m.outside.make(s.outside).blocks().of(e.OutsidePort, e.Inside) {
		addr = s.outside
		fresh.flags |= inBlock
	}
	if addr == 0 || e.Outside != 0 && e.Outside != addr || p.reserved(class, addr).has(e.OutsidePort) || !m.outside.make(addr).claimPort(class, e.OutsidePort, asking{take: true}) {
		fresh.flags &^= inBlock
		return false
	}
	fresh.outside, fresh.outsidePort = addr, e.OutsidePort
	return true
}

// name makes a mapping an explicit one, or renews it.
func (m *Mappings) name(sh *shard, number, slot uint32, e Explicit) Explicit {
	x := &sh.slots[slot]
	if x.flags&isExplicit == 0 {
		at := endpoint{x.inside, x.insidePort, x.protocol}
		x.after = sh.explicit[at]
		sh.explicit[at] = reference(number, slot)
		sh.perHost[x.inside]++
		m.named.Add(1)
		x.flags |= isExplicit
	}
	x.by, x.remote, x.expires = e.By, e.Remote, e.Expires
	delete(sh.texts, slot)
	if e.Owner != "" {
		sh.texts[slot] = e.Owner
	}
	if x.expires != 0 && (sh.next == 0 || x.expires < sh.next) {
		sh.next = x.expires
	}
	return sh.explicitOf(slot)
}

// explicitOf is a mapping as tables show it.
func (sh *shard) explicitOf(slot uint32) Explicit {
	x := &sh.slots[slot]
	return Explicit{
		Protocol: x.protocol, Inside: x.inside, InsidePort: x.insidePort, Outside: x.outside, OutsidePort: x.outsidePort,
		Remote: x.remote, Expires: x.expires, By: x.by, Owner: sh.texts[slot],
	}
}

// unname makes an explicit mapping a dynamic one.
func (m *Mappings) unname(sh *shard, slot uint32) {
	x := &sh.slots[slot]
	if x.flags&isExplicit == 0 {
		return
	}
	at := endpoint{x.inside, x.insidePort, x.protocol}
	ref := sh.explicit[at]
	if slotOf(ref) == slot {
		if x.after == 0 {
			delete(sh.explicit, at)
		} else {
			sh.explicit[at] = x.after
		}
	} else {
		before := &sh.slots[slotOf(ref)]
		for slotOf(before.after) != slot {
			before = &sh.slots[slotOf(before.after)]
		}
		before.after = x.after
	}
	if sh.perHost[x.inside]--; sh.perHost[x.inside] <= 0 {
		delete(sh.perHost, x.inside)
	}
	m.named.Add(-1)
	delete(sh.texts, slot)
	x.flags &^= isExplicit
	if x.flags&isIndexed == 0 {
		x.flags |= isRetired // it was the second one of its inside port
	}
	x.by, x.remote, x.expires, x.after = ByTraffic, 0, 0, 0
}

// end takes the name off a mapping, and removes it if no session is over it. One that only outside uses takes
// nobody in any more: outside could keep it open by itself, with one session after the other.
func (m *Mappings) end(now conntrack.Tick, sh *shard, slot uint32) Explicit {
	ended := sh.explicitOf(slot)
	m.unname(sh, slot)
	if x := &sh.slots[slot]; x.sources == 0 {
		m.unindex(sh, slot)
		x.flags |= isRetired
	}
	if sh.slots[slot].idle() {
		m.remove(now, sh, slot)
	}
	return ended
}

// Delete ends the explicit mappings of an inside port (live sessions over them end by the caller's hand; where the
// inside port has opened some itself, it is a dynamic mapping with its rule's filtering until they have ended). It reports whether there was any.
func (m *Mappings) Delete(now conntrack.Tick, protocol uint8, inside packet.Addr, insidePort uint16) bool {
	sh, _ := m.shard(inside)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found := false
	for ref := sh.explicit[endpoint{inside, insidePort, protocol}]; ref != 0; found = true {
		after := sh.slots[slotOf(ref)].after
		m.end(now, sh, slotOf(ref))
		ref = after
	}
	return found
}

// DeleteAt ends the explicit mapping that has an outside port, and returns it.
func (m *Mappings) DeleteAt(now conntrack.Tick, protocol uint8, outside packet.Addr, outsidePort uint16) (Explicit, bool) {
	class, _ := classOf(protocol)
	sh, slot, x := m.lockAt(class, protocol, outside, outsidePort)
	if x == nil {
		return Explicit{}, false
	}
	defer sh.mu.Unlock()
	if x.flags&isExplicit == 0 {
		return Explicit{}, false
	}
	return m.end(now, sh, slot), true
}

// ExplicitAt is the explicit mapping that has an outside port.
func (m *Mappings) ExplicitAt(protocol uint8, outside packet.Addr, outsidePort uint16) (Explicit, bool) {
	class, _ := classOf(protocol)
	sh, slot, x := m.lockAt(class, protocol, outside, outsidePort)
	if x == nil {
		return Explicit{}, false
	}
	defer sh.mu.Unlock()
	return sh.explicitOf(slot), x.flags&isExplicit != 0
}

// ExplicitOf are the explicit mappings of an inside port.
func (m *Mappings) ExplicitOf(protocol uint8, inside packet.Addr, insidePort uint16) (list []Explicit) {
	sh, _ := m.shard(inside)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for ref := sh.explicit[endpoint{inside, insidePort, protocol}]; ref != 0; ref = sh.slots[slotOf(ref)].after {
		list = append(list, sh.explicitOf(slotOf(ref)))
	}
	return list
}

// SessionsAt is how many sessions are over the mapping that has an outside port, and whether it goes with the last of them.
func (m *Mappings) SessionsAt(protocol uint8, outside packet.Addr, outsidePort uint16) (sessions int, goes bool) {
	class, _ := classOf(protocol)
	sh, _, x := m.lockAt(class, protocol, outside, outsidePort)
	if x == nil {
		return 0, false
	}
	defer sh.mu.Unlock()
	return int(x.sources) + int(x.targets), x.flags&isExplicit == 0
}

// Expire removes explicit mappings whose time is over and says when it wants to be called next (0: never).
func (m *Mappings) Expire(now conntrack.Tick) (ended []Explicit, next conntrack.Tick) {
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		if sh.next != 0 && sh.next <= now {
			ended = append(ended, m.expire(now, sh)...)
		}
		if sh.next != 0 && (next == 0 || sh.next < next) {
			next = sh.next
		}
		sh.mu.Unlock()
	}
	return ended, next
}

func (m *Mappings) expire(now conntrack.Tick, sh *shard) (ended []Explicit) {
	sh.next = 0
	for slot := range sh.slots {
		switch x := &sh.slots[slot]; {
		case x.flags&isExplicit == 0 || x.expires == 0:
		case x.over(now):
			ended = append(ended, m.end(now, sh, uint32(slot)))
		case sh.next == 0 || x.expires < sh.next:
			sh.next = x.expires
		}
	}
	return ended
}
