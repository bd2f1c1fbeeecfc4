package nat

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Source is what a packet's source becomes.
type Source struct {
	Changed bool
	Addr    packet.Addr
	Port    uint16
	Rule    int  // index of the rule, -1: none matched
	Mapped  bool // the session will hold a reference to a mapping, which Outbound has taken
}

// Outbound chooses the source of a new session that leaves by port out.
//
// k is its key with the inside source and the destination that Inbound made of it. For a hairpin, hairpin is Target.Rules, and k has the
// destination as the packet named it (the outside address, of which the sender knows); else it is -1.
//
// With Source.Mapped it has taken a reference, which [Mappings.Release] gives back: when the session ends, or at once, when it was not made.
func (m *Mappings) Outbound(p *Policy, now conntrack.Tick, out uint16, hairpin int, k *conntrack.Key) (Source, Reason) {
	s, reason := m.outbound(p, now, out, hairpin, k, asking{take: true})
	if reason != ReasonNone {
		m.refuse(reason)
	}
	return s, reason
}

// Preview is Outbound without taking anything: what would be chosen, for explain.
func (m *Mappings) Preview(p *Policy, now conntrack.Tick, out uint16, hairpin int, k *conntrack.Key) (Source, Reason) {
	return m.outbound(p, now, out, hairpin, k, asking{})
}

func (m *Mappings) outbound(p *Policy, now conntrack.Tick, out uint16, hairpin int, k *conntrack.Key, ask asking) (Source, Reason) {
	if p.ownOutside(k.Src) && (hairpin >= 0 || p.Outside(out)) {
		return m.own(p, now, out, k, ask)
	}
	index := hairpin
	if index < 0 || index >= len(p.rules) {
		index = p.Match(out, k.Protocol, k.Src, k.Dst)
	}
	if index < 0 {
		return Source{Rule: -1}, ReasonNone
	}
	r := &p.rules[index]
	if r.Type == Exempt {
		return Source{Rule: index}, ReasonNone
	}
	if len(r.Outside) == 0 {
		return Source{Rule: index}, ReasonNoAddress
	}
	if r.Type == OneToOne {
		return Source{Changed: true, Addr: r.Outside[0], Port: k.SrcPort, Rule: index}, ReasonNone
	}
	class, ported := classOf(k.Protocol)
	sh, number := m.shard(k.Src)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !ported {
		addr, reason := m.pair(sh, r, now, k.Src, class, ask)
		return Source{Changed: true, Addr: addr, Port: k.SrcPort, Rule: index}, reason
	}
	key := insideKey{r.id, k.Src, k.SrcPort, uint16(k.Protocol)}
	slot, exists := sh.inside[key]
	if exists && ask.over.ends(m, sh, slot) {
		exists = false
	}
	if exists && !r.has(sh.slots[slot].outside) {
		// The address went, and Retain has not come by yet.
		exists = false
		if ask.take {
			m.retire(now, sh, slot)
		}
	}
	if !exists {
		made, fresh, reason := m.choose(p, now, sh, number, r, class, key, ask)
		if reason != ReasonNone || !ask.take {
			return Source{Changed: true, Addr: made.outside, Port: made.outsidePort, Rule: index, Mapped: true}, reason
		}
		slot = fresh
	}
	e := &sh.slots[slot]
	if ask.take {
		e.sources++
		sh.allow(slot, k.Dst)
	}
	return Source{Changed: true, Addr: e.outside, Port: e.outsidePort, Rule: index, Mapped: true}, ReasonNone
}

// own registers a port of the router itself, so that no inside host gets it. Only where an inside host has it already does
// the router get another one.
func (m *Mappings) own(p *Policy, now conntrack.Tick, out uint16, k *conntrack.Key, ask asking) (Source, Reason) {
	class, ported := classOf(k.Protocol)
	if !ported {
		return Source{Rule: -1}, ReasonNone
	}
	sh, number := m.shard(k.Src)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	key := insideKey{ownID, k.Src, k.SrcPort, uint16(k.Protocol)}
	slot, exists := sh.inside[key]
	port := k.SrcPort
	if exists && ask.over.ends(m, sh, slot) {
		exists = false
	}
	if !exists {
		if m.live.Load()-ask.over.len() >= int64(m.config.Max) {
			return Source{Rule: -1}, ReasonMappings
		}
		o := m.outside.make(k.Src)
		reserved := p.reserved(class, k.Src)
		table := o.table.Load()
		if p.forwarded(class, k.Src, port) || table != nil && table.owned(int(port/unit)) || !o.claimPort(class, port, ask) {
			var found bool
			s := search{class: class, lo: 1024, hi: 65535, reserved: reserved, chance: m.chance(sh, key, k.Src)}
			if class == classICMP {
				s.lo = 0
			}
			if port, found = o.find(s, k.SrcPort, ask); !found {
				return Source{Rule: -1}, ReasonNoPorts
			}
		}
		if ask.take {
			sh.sequence++
			slot = m.insert(sh, number, o, class, mapping{
				rule: ownID, out: out, inside: k.Src, insidePort: k.SrcPort, outside: k.Src, outsidePort: port,
				protocol: k.Protocol, flags: isIndexed,
			})
		}
	} else {
		port = sh.slots[slot].outsidePort
	}
	if ask.take {
		sh.slots[slot].sources++
		sh.allow(slot, k.Dst)
	}
	return Source{Changed: port != k.SrcPort, Addr: k.Src, Port: port, Rule: -1, Mapped: true}, ReasonNone
}

// chance is the number from which the choice of a port begins. It follows from the seed, what was asked for, and how many
// choices were made before, so that a preview comes to the same.
func (m *Mappings) chance(sh *shard, key insideKey, outside packet.Addr) uint64 {
	x := mix(m.config.Seed ^ sh.sequence)
	x = mix(x ^ uint64(key.addr)<<32 ^ uint64(key.port)<<16 ^ uint64(key.protocol))
	return mix(x ^ uint64(outside))
}

// claimPort takes a certain port, or without asking.take only says whether it is free.
func (o *outside) claimPort(class int, port uint16, ask asking) bool {
	if !ask.take {
		return o.isFree(class, port) || ask.over.frees(o, class, port)
	}
	return o.take(class, port)
}

// choose makes a mapping for an inside port that has none; without asking.take it only says which. It returns its slot.
func (m *Mappings) choose(p *Policy, now conntrack.Tick, sh *shard, number uint32, r *rule, class int, key insideKey, ask asking) (made mapping, slot uint32, reason Reason) {
	made = mapping{
		rule: r.id, out: r.Out, inside: key.addr, insidePort: key.port,
		protocol: uint8(key.protocol), flags: isIndexed,
	}
	if m.live.Load()-ask.over.len() >= int64(m.config.Max) {
		return made, 0, ReasonMappings
	}
	if reason = m.claim(p, now, sh, r, class, &made, ask); reason != ReasonNone || !ask.take {
		return made, 0, reason
	}
	sh.sequence++
	return made, m.insert(sh, number, m.outside.make(made.outside), class, made), ReasonNone
}

// claim chooses address and port by the rule's type.
func (m *Mappings) claim(p *Policy, now conntrack.Tick, sh *shard, r *rule, class int, made *mapping, ask asking) Reason {
	key := made.key()
	switch r.Type {
	case CarrierGrade:
		return m.claimOfBlocks(p, now, sh, r, class, made, ask)
	case Deterministic:
		a, has := r.assignment(key.addr)
		if !has {
			return ReasonNoBlocks
		}
		made.outside = a.Outside
		o := m.outside.make(a.Outside)
		s := search{
			class: class, lo: a.PortMin, hi: a.PortMax, blocks: true,
			reserved: p.reserved(class, a.Outside), chance: m.chance(sh, key, a.Outside),
		}
		return made.takePort(o, s, s.lo <= key.port && key.port <= s.hi, ask)
	}
	paired, reason := m.pair(sh, r, now, key.addr, class, ask)
	if reason != ReasonNone {
		return reason
	}
	made.outside, made.flags = paired, made.flags|inHostCount
	if addr, port, is := p.forwardedAs(r, made.protocol, key.addr, key.port, paired); is {
		if m.outside.make(addr).claimPort(class, port, ask) {
			made.outside, made.outsidePort, made.flags = addr, port, made.flags|atForward
			if addr != paired {
				made.flags &^= inHostCount
			}
			return ReasonNone
		}
	}
	s := search{
		class: class, lo: r.lo, hi: r.hi,
		reserved: p.reserved(class, paired), chance: m.chance(sh, key, paired),
	}
	keep := s.lo <= key.port && key.port <= s.hi || r.whole && (key.port != 0 || class == classICMP)
	if class == classICMP && r.whole {
		s.lo = 0
	}
	s.low = r.whole && key.port < 1024 && class != classICMP
	return made.takePort(m.outside.make(paired), s, keep, ask)
}

// Ports that low inside ports get which cannot be kept (RFC 4787 REQ-3a recommends the same range): where clients bind that want to be
// trusted for it, above those at which services of the router would be asked for.
const lowest, highest = 600, 1023

// takePort takes the inside port's number where it may be kept and is free, else another one.
func (made *mapping) takePort(o *outside, s search, keep bool, ask asking) Reason {
	port := made.insidePort
	if keep && !s.reserved.has(port) && (s.blocks || o.unowned(port)) && o.claimPort(s.class, port, ask) {
		made.outsidePort = port
		return ReasonNone
	}
	var found bool
	if s.low {
		low := s
		low.lo, low.hi = lowest, highest
		if made.outsidePort, found = o.find(low, port, ask); found {
			return ReasonNone
		}
	}
	if made.outsidePort, found = o.find(s, port, ask); !found {
		return ReasonNoPorts
	}
	return ReasonNone
}

// unowned reports whether a port is in no block of a subscriber.
func (o *outside) unowned(port uint16) bool {
	t := o.table.Load()
	return t == nil || !t.owned(int(port/unit))
}

// retire ends what a mapping is to new sessions: those that live keep it.
func (m *Mappings) retire(now conntrack.Tick, sh *shard, slot uint32) {
	m.unindex(sh, slot)
	m.unname(sh, slot)
	r := &sh.slots[slot]
	r.flags |= isRetired
	if r.idle() {
		m.remove(now, sh, slot)
	}
}
