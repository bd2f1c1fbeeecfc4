package nat

import (
	"slices"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// asking is how NAT is asked: taking what it gives, or only looking, and that perhaps as if a session were over. A packet that
// ends the session it belongs to, and then starts like any other, meets mappings from which this session has gone; who only
// wants to know what would become of it has to see them like that.
type asking struct {
	take bool
	over *ending // nil: everything as it is
}

// ending is what goes with a session. Its methods may be called on nil: nothing goes.
type ending struct {
	mappings []going        // those that nothing else holds
	shard    *shard         // of the mapping that its source has
	slot     uint32         // and its slot there
	remotes  [2]packet.Addr // whom that lets in for its sake: the first of them that it knows, as in Release
}

// going is a mapping that goes.
type going struct {
	outside *outside
	class   int
	port    uint16
	paired  hostKey // the host whose pairing it counts for, if it does
	block   uint16  // the first unit of its block, and how many it has; with freed only
	units   uint16
	freed   bool // it is among the last of that block
}

// InboundPreviewWithout is InboundPreview as if a session, given by its keys, had ended before.
func (m *Mappings) InboundPreviewWithout(p *Policy, now conntrack.Tick, in uint16, k *conntrack.Key, original, reply conntrack.Key) Target {
	return m.inbound(p, now, in, k, asking{over: m.ending(original, reply)})
}

// PreviewWithout is Preview as if a session, given by its keys, had ended before.
func (m *Mappings) PreviewWithout(p *Policy, now conntrack.Tick, out uint16, hairpin int, k *conntrack.Key, original, reply conntrack.Key) (Source, Reason) {
	return m.outbound(p, now, out, hairpin, k, asking{over: m.ending(original, reply)})
}

// ending finds what Release would give back.
func (m *Mappings) ending(original, reply conntrack.Key) *ending {
	if _, ported := classOf(original.Protocol); !ported {
		return nil
	}
	e := &ending{remotes: [2]packet.Addr{original.Dst, reply.Src}}
	translated := original.Dst != reply.Src || original.DstPort != reply.SrcPort
	mine := original.Reverse()
	switch {
	case !translated:
		e.look(m, &reply, &mine, 1, 0)
	case reply == original: // a host that has come back to its own port by the outside one: both ends are one mapping
		e.look(m, &reply, &mine, 1, 1)
	default:
		e.look(m, &reply, &mine, 1, 0)
		there := reply.Reverse()
		e.look(m, &original, &there, 0, 1)
	}
	e.lookAtBlocks()
	return e
}

// look finds the mapping between two destinations, an outside one and the inside one behind it, and what of it goes with the session.
func (e *ending) look(m *Mappings, outside, inside *conntrack.Key, sources, targets uint32) {
	class, _ := classOf(outside.Protocol)
	sh, slot, x := m.lockAt(class, outside.Protocol, outside.Dst, outside.DstPort)
	if x == nil {
		return
	}
	defer sh.mu.Unlock()
	if x.inside != inside.Dst || x.insidePort != inside.DstPort || x.sources < sources || x.targets < targets {
		return
	}
	if sources > 0 {
		e.shard, e.slot = sh, slot
	}
	if x.sources > sources || x.targets > targets || x.flags&isExplicit != 0 {
		return
	}
	g := going{outside: m.outside.get(x.outside), class: class, port: x.outsidePort, freed: x.flags&inBlock != 0}
	if x.flags&inHostCount != 0 {
		g.paired = hostKey{x.rule, x.inside}
	}
	e.mappings = append(e.mappings, g)
}

// lookAtBlocks finds the blocks of which the last mappings go.
func (e *ending) lookAtBlocks() {
	for i := range e.mappings {
		g := &e.mappings[i]
		if !g.freed {
			continue
		}
		t := g.outside.blocks()
		t.mu.Lock()
		g.block = t.start[g.port/unit]
		g.units = t.units[g.block]
		mine := int32(0)
		for _, other := range e.mappings {
			if other.outside == g.outside && t.owned(int(other.port/unit)) && t.start[other.port/unit] == g.block {
				mine++
			}
		}
		g.freed = t.owned(int(g.port/unit)) && t.live[g.block] <= mine
		t.mu.Unlock()
	}
}

// frees reports whether a port will be free.
func (e *ending) frees(o *outside, class int, port uint16) bool {
	return e != nil && o != nil && slices.ContainsFunc(e.mappings, func(g going) bool {
		return g.outside == o && g.class == class && g.port == port
	})
}

// freed are the ports of a word of the bitmap that will be free.
func (e *ending) freed(o *outside, class, word int) (ports uint64) {
	if e == nil {
		return 0
	}
	for _, g := range e.mappings {
		if g.outside == o && g.class == class && int(g.port/64) == word {
			ports |= 1 << (g.port % 64)
		}
	}
	return ports
}

// len is how many mappings go.
func (e *ending) len() int64 {
	if e == nil {
		return 0
	}
	return int64(len(e.mappings))
}

// ends reports whether a mapping goes. Its shard is locked.
func (e *ending) ends(m *Mappings, sh *shard, slot uint32) bool {
	if e == nil {
		return false
	}
	x := &sh.slots[slot]
	class, _ := classOf(x.protocol)
	return e.frees(m.outside.get(x.outside), class, x.outsidePort)
}

// left are those of a subscriber's blocks that stay.
func (e *ending) left(m *Mappings, blocks []held) []held {
	if e == nil {
		return blocks
	}
	return slices.DeleteFunc(slices.Clone(blocks), func(b held) bool { return e.freesBlock(m.outside.get(b.outside), b.first/unit) })
}

// freesAll reports whether a subscriber will have no block any more.
func (e *ending) freesAll(m *Mappings, s *subscriber) bool {
	return e != nil && len(e.left(m, s.blocks)) == 0
}

// freesBlockOf reports whether the block will be free in which a port is.
func (e *ending) freesBlockOf(o *outside, port uint16) bool {
	return e != nil && slices.ContainsFunc(e.mappings, func(g going) bool {
		return g.freed && g.outside == o && g.block <= port/unit && port/unit < g.block+g.units
	})
}

// freesBlock reports whether the block will be free that begins at a unit.
func (e *ending) freesBlock(o *outside, first uint16) bool {
	return e != nil && slices.ContainsFunc(e.mappings, func(g going) bool { return g.freed && g.outside == o && g.block == first })
}

// unpairs reports whether a host will have none of its mappings any more.
func (e *ending) unpairs(key hostKey, mappings int32) bool {
	if e == nil {
		return false
	}
	for _, g := range e.mappings {
		if g.paired == key {
			mappings--
		}
	}
	return mappings <= 0
}

// allows is shard.allows without what the session allows.
func (e *ending) allows(sh *shard, slot uint32, remote packet.Addr) bool {
	n := sh.sessionsTo(slot, remote)
	if e == nil || n == 0 || e.shard != sh || e.slot != slot {
		return n > 0
	}
	mine := e.remotes[0]
	if sh.sessionsTo(slot, mine) == 0 {
		mine = e.remotes[1]
	}
	if mine == remote {
		n--
	}
	return n > 0
}
