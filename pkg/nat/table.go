package nat

import "vrouterd/pkg/conntrack"

// Row is a mapping as tables show it.
type Row struct {
	Explicit
	Rule     int // index in the policy of the last Retain; -1: none (the router's own port, a forward, or a rule that went)
	Out      uint16
	Sessions int  // live over it
	Retired  bool // sessions that live keep it, new ones do not get it
	Router   bool // a port of the router itself
}

// lookAt is how many entries one call of Page looks at, at most.
const lookAt = 4096

// Page copies mappings from the cursor on (0: the beginning), at most limit of them, in a stable order, and returns the next cursor, 0
// at the end. It looks at a bounded number of entries, so that it may return fewer than limit and a cursor. Mappings that
// live throughout are seen exactly once.
func (m *Mappings) Page(now conntrack.Tick, cursor uint64, limit int, match func(*Row) bool) (page []Row, next uint64) {
	p := m.current.Load()
	number, slot := int(cursor>>32), int(uint32(cursor))
	for looked := 0; number < numShards; number, slot = number+1, 0 {
		sh := &m.shards[number]
		sh.mu.Lock()
		for ; slot < len(sh.slots); slot++ {
			if looked >= lookAt || len(page) >= limit {
				sh.mu.Unlock()
				return page, uint64(number)<<32 | uint64(slot)
			}
			looked++
			if sh.slots[slot].flags&inUse == 0 {
				continue
			}
			row := sh.row(p, uint32(slot))
			if match == nil || match(&row) {
				page = append(page, row)
			}
		}
		sh.mu.Unlock()
	}
	return page, 0
}

// row is a mapping as tables show it.
func (sh *shard) row(p *Policy, slot uint32) Row {
	x := &sh.slots[slot]
	row := Row{
		Explicit: sh.explicitOf(slot), Rule: -1, Out: x.out, Sessions: int(x.sources) + int(x.targets),
		Retired: x.flags&isRetired != 0, Router: x.rule == ownID,
	}
	if p != nil {
		if index, known := p.byID[x.rule]; known {
			row.Rule = index
		}
	}
	return row
}

// Counts of the mappings.
type Counts struct {
	Mappings, Explicit, Blocks int
	Refused                    [NumReasons]uint64 // since the start
}

// Counts now.
func (m *Mappings) Counts() Counts {
	c := Counts{Mappings: int(m.live.Load()), Explicit: int(m.named.Load())}
	m.log.mu.Lock()
	c.Blocks = m.log.inUse
	m.log.mu.Unlock()
	for i := range c.Refused {
		c.Refused[i] = m.refused[i].Load()
	}
	return c
}
