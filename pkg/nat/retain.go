package nat

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Retain holds the mappings against a new policy, which is published already. What the policy would still give
// stays, even where the rule stands at another place or its prefixes have changed; it returns the others. New
// sessions do not get those any more, and [Mappings.Stands] is false for the sessions over them, so
// that the control plane flushes just these:
//
//	gone := mappings.Retain(policy, now)
//	sessions.Flush(reader, now, conntrack.Filter{Test: func(s *conntrack.Session) bool {
//		return !mappings.Stands(policy, s.Key(conntrack.Original), s.Key(conntrack.Reply))
//	}})
//
// Call it when no worker uses the policy before any more; what one has made with it until then does not stand either, but is only
// listed by the next Retain.
//
// A mapping whose port a forward has now to another host is only retired: its sessions go on, new
// ones get another port.
func (m *Mappings) Retain(p *Policy, now conntrack.Tick) (gone []Row) {
	before := m.current.Swap(p)
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		for slot := range sh.slots {
			if x := &sh.slots[slot]; x.flags&inUse != 0 && x.flags&isGone == 0 {
				gone = m.hold(p, before, now, sh, uint32(slot), gone)
			}
		}
		sh.mu.Unlock()
	}
	m.outside.prune(func(a packet.Addr) bool { return p.addrs[a] != nil })
	return gone
}

// hold applies the policy to one mapping.
func (m *Mappings) hold(p, before *Policy, now conntrack.Tick, sh *shard, slot uint32, gone []Row) []Row {
	x := &sh.slots[slot]
	id, stands := p.holds(x)
	if taken := p.taken(x); stands && taken && x.flags&isExplicit == 0 {
		m.retire(now, sh, slot)
		return gone
	} else if stands && !taken {
		m.rekey(sh, slot, id)
		return gone
	}
	row := sh.row(before, slot)
	m.unindex(sh, slot)
	m.unname(sh, slot)
	x.flags |= isRetired | isGone
	sh.unpair(x)
	if x.idle() {
		m.remove(now, sh, slot)
	}
	return append(gone, row)
}

// holds finds the rule (its identity) under which a mapping goes on.
func (p *Policy) holds(x *mapping) (id uint64, stands bool) {
	class, _ := classOf(x.protocol)
	if x.rule == ownID {
		return ownID, p.ownOutside(x.outside)
	}
	forwarded := p.forwardsTo(class, x.outside, x.outsidePort, x.inside, x.insidePort)
	if x.rule == forwardID || x.flags&(atForward|isExplicit) == atForward && x.sources == 0 {
		return x.rule, forwarded
	}
	index := p.reach(x.out, x.protocol, x.inside, func(i int) bool { return p.rules[i].id == x.rule && p.rules[i].gives(x) })
	if index < 0 {
		index = p.reach(x.out, x.protocol, x.inside, func(i int) bool { return p.rules[i].gives(x) })
	}
	if index >= 0 {
		return p.rules[index].id, true
	}
	return forwardID, forwarded
}

// gives reports whether a rule could give a mapping.
func (r *rule) gives(x *mapping) bool {
	switch r.Type {
	case Masquerade, SNAT:
		return x.flags&inBlock == 0 && r.has(x.outside)
	case CarrierGrade:
		return x.flags&inBlock != 0 && r.has(x.outside)
	case Deterministic:
		a, has := r.assignment(x.inside)
		return has && a.Outside == x.outside && a.PortMin <= x.outsidePort && x.outsidePort <= a.PortMax
	}
	return false
}

// taken reports whether a mapping's port leads to another host by a forward.
func (p *Policy) taken(x *mapping) bool {
	class, _ := classOf(x.protocol)
	if x.rule == ownID && !p.forwarded(class, x.outside, x.outsidePort) {
		return false // where the router listens itself, it may send from as well
	}
	return p.reserved(class, x.outside).has(x.outsidePort) && !p.forwardsTo(class, x.outside, x.outsidePort, x.inside, x.insidePort)
}

// rekey lets a mapping go on under another rule.
func (m *Mappings) rekey(sh *shard, slot uint32, id uint64) {
	x := &sh.slots[slot]
	if x.rule == id {
		return
	}
	from, to := hostKey{x.rule, x.inside}, hostKey{id, x.inside}
	if x.flags&inHostCount != 0 {
		sh.unpair(x)
		if h, has := sh.hosts[to]; !has || h.outside == x.outside {
			sh.hosts[to] = host{x.outside, h.mappings + 1}
			x.flags |= inHostCount
		}
	}
	if s := sh.owners[from]; s != nil && x.flags&inBlock != 0 {
		if into := sh.owners[to]; into == nil {
			sh.owners[to] = s
		} else if into != s {
			into.blocks = append(into.blocks, s.blocks...)
		}
		delete(sh.owners, from)
	}
	indexed := x.flags&isIndexed != 0
	m.unindex(sh, slot)
	x.rule = id
	if _, has := sh.inside[x.key()]; indexed && !has && id != forwardID {
		sh.inside[x.key()] = slot
		x.flags |= isIndexed
	}
}

// Stands reports whether a session's translation is one that a policy allows: its mappings are not gone, and what needs no
// mapping (1:1, protocols without ports) is as its rules say, and who came in by a forward still may. original and reply are its
// keys. Sessions that are not translated stand, but for those of the router itself from an address that went.
func (m *Mappings) Stands(p *Policy, original, reply conntrack.Key) bool {
	if original.Src != reply.Dst || original.SrcPort != reply.DstPort {
		if !m.standsFor(p, original.Protocol, original.Src, original.SrcPort, reply.Dst, reply.DstPort, nil) {
			return false
		}
	} else if m.lost(p, original.Protocol, original.Src, original.SrcPort) {
		return false // of the router itself, whose address went
	}
	if original.Dst != reply.Src || original.DstPort != reply.SrcPort {
		return m.standsFor(p, original.Protocol, reply.Src, reply.SrcPort, original.Dst, original.DstPort, &original.Src)
	}
	return true
}

// lost reports whether a port is one of the router itself that it should not use any more.
func (m *Mappings) lost(p *Policy, protocol uint8, a packet.Addr, port uint16) bool {
	class, ported := classOf(protocol)
	if !ported {
		return false
	}
	sh, _, x := m.lockAt(class, protocol, a, port)
	if x == nil {
		return false
	}
	defer sh.mu.Unlock()
	return x.rule == ownID && x.inside == a && x.insidePort == port && (x.flags&isGone != 0 || !p.ownOutside(a))
}

// standsFor looks at one side of a session; sender is who came in, where that is the side.
func (m *Mappings) standsFor(p *Policy, protocol uint8, inside packet.Addr, insidePort uint16, outside packet.Addr, outsidePort uint16, sender *packet.Addr) bool {
	class, ported := classOf(protocol)
	if ported {
		if sender != nil && p.admits(class, outside, outsidePort, inside, insidePort, *sender) {
			return true
		}
		if sh, _, x := m.lockAt(class, protocol, outside, outsidePort); x != nil {
			mine := x.inside == inside && x.insidePort == insidePort
			_, stands := p.holds(x) // a worker with the policy before may have made it behind Retain's back
			gone := !stands || x.flags&isGone != 0 || sender != nil && x.flags&(atForward|isExplicit) == atForward
			sh.mu.Unlock()
			if mine {
				return !gone
			}
		}
	}
	for port := range p.ports {
		found := p.reach(uint16(port), protocol, inside, func(i int) bool {
			r := &p.rules[i]
			return r.Type != Exempt && r.has(outside) && (r.Type == OneToOne && insidePort == outsidePort || !ported)
		})
		if found >= 0 {
			return true
		}
	}
	return false
}
