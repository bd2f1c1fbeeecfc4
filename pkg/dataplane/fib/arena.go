package fib

import (
	"sync/atomic"

	"vrouterd/internal/rcu"
)

const (
	pageSlots = 256
	maxPages  = 257

	// Room that the arena gains at least when it is full, and spare room that is
	// never worth a compaction, in words of 4 bytes.
	minGrowth = 1024
	minWaste  = 4096

	// Unlinked blocks wait for a common grace period, but no more than this
	// many, so that a large batch can reuse its own garbage.
	maxUnlinked = 512
)

// arena gives out blocks of the current head's block slice and takes them back
// once no reader can see them.
type arena struct {
	table  *Table
	domain *rcu.Domain

	used  uint32 // words below this one have been given out at some time
	live  uint32 // words of blocks that are linked, or about to be
	pages uint32 // pages of slots in use, page 0 included

	free     [cells + 1]uint32 // by number of runs: the first free block; its first word is the next one
	unlinked []span            // unlinked, grace period not yet begun
	pending  []retired         // oldest first, waiting for their grace period
	first    int               // index of the oldest in pending
}

// span is a block: where it is and how many runs it has.
type span struct{ off, runs uint32 }

type retired struct {
	span
	token rcu.Token
}

// place stores a new block, header included, and returns its offset. Nobody
// sees it until it is linked.
func (a *arena) place(block []uint32) uint32 {
	n := uint32(len(block)) - headerWords
	if a.free[n] == 0 && len(a.pending) != 0 {
		a.reclaim()
	}
	off := a.free[n]
	h := a.table.head.Load()
	if off != 0 {
		a.free[n] = h.blocks[off]
	} else {
		if int(a.used)+len(block) > len(h.blocks) {
			h = a.grow(len(block))
		}
		off = a.used
		a.used += uint32(len(block))
	}
	copy(h.blocks[off:], block)
	a.live += uint32(len(block))
	return off
}

// unlink notes a block that the next store takes out of readers' sight.
func (a *arena) unlink(off uint32) {
	if off == 0 {
		return // block 0 is everyone's
	}
	n := runs(a.table.head.Load().blocks, off)
	a.unlinked = append(a.unlinked, span{off, n})
	a.live -= n + headerWords
}

// retire begins the grace period of what has been unlinked. It is called when
// the stores that unlinked it are done.
func (a *arena) retire() {
	if len(a.unlinked) == 0 {
		return
	}
	token := a.domain.Retire()
	for _, s := range a.unlinked {
		a.pending = append(a.pending, retired{s, token})
	}
	a.unlinked = a.unlinked[:0]
}

// reclaim moves the blocks whose grace period is over to the free lists.
func (a *arena) reclaim() {
	blocks := a.table.head.Load().blocks
	var passed rcu.Token
	for a.first < len(a.pending) {
		p := a.pending[a.first]
		if p.token != passed && !a.domain.Passed(p.token) {
			break
		}
		passed = p.token
		blocks[p.off] = a.free[p.runs]
		a.free[p.runs] = p.off
		a.first++
	}
	if a.first*2 >= len(a.pending) {
		a.pending = a.pending[:copy(a.pending, a.pending[a.first:])]
		a.first = 0
	}
}

// grow publishes a head whose arena has room for n more words. Every offset
// stays what it was.
func (a *arena) grow(n int) *head {
	old := a.table.head.Load()
	blocks := make([]uint32, len(old.blocks)+max(n, len(old.blocks)/8, minGrowth))
	copy(blocks, old.blocks[:a.used])
	return a.publish(old.slots, blocks)
}

// page attaches a page of empty slots to a region that has none.
func (a *arena) page(region uint32) *head {
	h := a.table.head.Load()
	if int(a.pages)*pageSlots == len(h.slots) {
		n := min(a.pages+max(1, a.pages/2), maxPages)
		h = a.publish(make([]uint64, n*pageSlots), h.blocks)
	}
	// The page is all zero, so no answer changes yet.
	atomic.StoreUint64(&h.regions[region], h.regions[region]|uint64(a.pages*pageSlots))
	a.pages++
	return h
}

// publish makes a new head the current one. Readers that are still on the old
// one see it frozen, for later stores go to the new one; that is why slots and
// regions are copied even where only the blocks moved.
func (a *arena) publish(slots []uint64, blocks []uint32) *head {
	old := a.table.head.Load()
	h := &head{regions: old.regions, slots: slots, blocks: blocks}
	if len(slots) == len(old.slots) {
		h.slots = make([]uint64, len(slots))
	}
	copy(h.slots, old.slots)
	a.table.head.Store(h)
	return h
}

// wasted is the room that a compaction would win, in words.
func (a *arena) wasted() (waste, total int) {
	h := a.table.head.Load()
	pages := 1 + a.table.routes.regionCount
	waste = len(h.blocks) - int(a.live) + 2*(len(h.slots)-pages*pageSlots)
	return waste, len(h.blocks) + 2*len(h.slots)
}

// compact moves everything that is alive to a new head without holes, in
// address order. The old arena is left to its readers and the garbage
// collector; nothing in it is reused, so it needs no grace period.
func (a *arena) compact() {
	old := a.table.head.Load()
	h := &head{
		slots:  make([]uint64, (1+a.table.routes.regionCount)*pageSlots),
		blocks: make([]uint32, int(a.live)+int(a.live)/16+minGrowth/4),
	}
	copy(h.blocks, emptyBlock())
	used := uint32(headerWords + 1)
	move := func(off uint32) uint32 {
		size := headerWords + runs(old.blocks, off)
		to := used
		copy(h.blocks[to:], old.blocks[off:off+size])
		used += size
		return to
	}
	pages := uint32(1)
	for i, region := range old.regions {
		h.regions[i] = region >> 32 << 32
		if a.table.routes.regions[i] == nil {
			continue
		}
		h.regions[i] |= uint64(pages * pageSlots)
		from := old.slots[uint32(region):][:pageSlots]
		to := h.slots[pages*pageSlots:][:pageSlots]
		pages++
		for j, slot := range from {
			off := uint32(slot)
			if off != 0 {
				off = move(off)
				for k := range runs(h.blocks, off) {
					if e := &h.blocks[off+headerWords+k]; *e&link != 0 {
						*e = link | move(*e&^link)
					}
				}
			}
			to[j] = slot>>32<<32 | uint64(off)
		}
	}
	a.used, a.pages = used, pages
	clear(a.free[:])
	a.unlinked, a.pending, a.first = nil, nil, 0
	a.table.head.Store(h)
}
