package fib

import (
	"unsafe"

	"vrouterd/internal/rcu"
)

const (
	maxPages = pageCount + 1

	// Room that the arena gains at least when it is full, in cells, and spare room
	// that is never worth a compaction, in bytes.
	minGrowth = 1024
	minWaste  = 16 << 10

	// Unlinked blocks wait for a common grace period, but no more than this
	// many, so that a large batch can reuse its own garbage.
	maxUnlinked = 512
)

// arena gives out blocks of the current head's block slice and takes them back
// once no reader can see them. Places and sizes are in cells, and multiples of
// unit.
type arena struct {
	table  *Table
	domain *rcu.Domain

	used  uint32           // cells below this one have been given out at some time
	live  uint32           // cells of blocks that are linked, or about to be
	pages uint32           // pages of slots given out, page 0 included
	inUse [maxPages]uint16 // by page: slots that are not empty
	empty uint32           // pages without such slots, page 0 not counted

	free     [cells/unit + 1]uint32 // by size in units: the first free block; its first cell is the next one
	unlinked []span                 // unlinked, grace period not yet begun
	pending  []retired              // oldest first, waiting for their grace period
	first    int                    // index of the oldest in pending
}

// span is a block: where it is and how many cells it takes.
type span struct{ off, size uint32 }

type retired struct {
	span
	token rcu.Token
}

// fold stores the cells, each of which spans so many address bits, in a new
// block as coarse as can be, or returns their entry if it is only one. Nobody sees
// the block until it is linked.
func (a *arena) fold(from []uint32, bits int) (r ref, only uint32, single bool) {
	g := grain(from)
	n := uint32(len(from)) >> g
	if n == 1 {
		return none, from[0], true
	}
	off := a.take(room(n))
	to := a.table.head.Load().blocks[off:][:n]
	for i := range to {
		to[i] = from[i<<g]
	}
	return makeRef(off, bits+g), 0, false
}

// take finds room for a block.
func (a *arena) take(size uint32) uint32 {
	free := &a.free[size/unit]
	if *free == 0 && len(a.pending) != 0 {
		a.reclaim()
	}
	a.live += size
	h := a.table.head.Load()
	if off := *free; off != 0 {
		*free = h.blocks[off]
		return off
	}
	if a.used+size > uint32(len(h.blocks)) {
		a.grow(size)
	}
	a.used += size
	return a.used - size
}

// unlink notes a block, which spans so many address bits, that the next store
// takes out of readers' sight.
func (a *arena) unlink(r ref, bits int) {
	size := room(r.length(bits))
	a.unlinked = append(a.unlinked, span{r.off(), size})
	a.live -= size
}

// unlinkDeep does so for the block of a /24 and those it links to.
func (a *arena) unlinkDeep(r ref) {
	for _, e := range a.table.head.Load().blocks[r.off():][:r.length(cellBits)] {
		if e&link != 0 {
			a.unlink(ref(e&^link), deepBits)
		}
	}
	a.unlink(r, cellBits)
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
		blocks[p.off] = a.free[p.size/unit]
		a.free[p.size/unit] = p.off
		a.first++
	}
	if a.first*2 >= len(a.pending) {
		a.pending = a.pending[:copy(a.pending, a.pending[a.first:])]
		a.first = 0
	}
}

// grow publishes a head whose arena has room for n more cells. Every reference
// stays what it was.
func (a *arena) grow(n uint32) {
	old := a.table.head.Load()
	if a.used+n > maxCells {
		panic("fib: the arena is full, which MaxRoutes should have prevented")
	}
	more := max(int(n), len(old.blocks)/8, minGrowth)
	blocks := make([]uint32, min(len(old.blocks)+more&^(unit-1), maxCells))
	copy(blocks, old.blocks[:a.used])
	a.publish(len(old.slots), blocks)
}

// attach gives a /11 a page of empty slots.
func (a *arena) attach(i uint32) *head {
	h := a.table.head.Load()
	if int(a.pages)*pageSlots == len(h.slots) {
		n := min(a.pages+max(1, a.pages/4), maxPages)
		h = a.publish(int(n)*pageSlots, h.blocks)
	}
	// The page is empty, so no answer changes yet.
	h.setPage(i, a.pages*pageSlots)
	a.pages++
	a.empty++
	return h
}

// count notes that a slot of a page is no longer empty, or empty again.
func (a *arena) count(page uint32, filled bool) {
	n := &a.inUse[page/pageSlots]
	if filled {
		if *n++; *n == 1 {
			a.empty--
		}
	} else if *n--; *n == 0 {
		a.empty++
	}
}

// publish makes a new head the current one. Readers that are still on the old
// one see it frozen, for later stores go to the new one; that is why the slots
// are copied even where only the blocks moved.
func (a *arena) publish(slots int, blocks []uint32) *head {
	old := a.table.head.Load()
	h := &head{slots: emptySlots(slots), blocks: blocks, pages: old.pages, short: old.short}
	copy(h.slots, old.slots)
	a.table.head.Store(h)
	return h
}

// wasted is the room that a compaction would win, and all there is, in bytes.
func (a *arena) wasted() (waste, total int) {
	h := a.table.head.Load()
	const cell, slot = int(unsafe.Sizeof(h.blocks[0])), int(unsafe.Sizeof(h.slots[0]))
	waste = cell*(len(h.blocks)-int(a.live)) + slot*(len(h.slots)-int(a.pages-a.empty)*pageSlots)
	return waste, cell*len(h.blocks) + slot*len(h.slots)
}

// compact moves everything that is alive to a new head without holes, in
// address order. The old arena is left to its readers and the garbage
// collector; nothing in it is reused, so it needs no grace period.
func (a *arena) compact() {
	old := a.table.head.Load()
	spare := (a.live/16 + minGrowth/4) &^ (unit - 1)
	c := compaction{from: old.blocks, to: make([]uint32, a.live+spare), used: unit}
	h := &head{slots: emptySlots(int(a.pages-a.empty) * pageSlots), blocks: c.to, short: old.short}
	var inUse [maxPages]uint16
	pages := uint32(1)
	for i := range uint32(pageCount) {
		page := old.page(i)
		if a.inUse[page/pageSlots] == 0 {
			h.setPage(i, 0)
			continue
		}
		h.setPage(i, pages*pageSlots)
		inUse[pages] = a.inUse[page/pageSlots]
		to := h.slots[pages*pageSlots:][:pageSlots]
		for j, slot := range old.slots[page:][:pageSlots] {
			if r := ref(slot); r != none {
				slot = slot>>32<<32 | uint64(c.move(r, slotBits))
			}
			to[j] = slot
		}
		pages++
	}
	a.used, a.pages, a.empty, a.inUse = c.used, pages, 0, inUse
	clear(a.free[:])
	a.unlinked, a.pending, a.first = nil, nil, 0
	a.table.head.Store(h)
}

// compaction copies blocks from one arena to another.
type compaction struct {
	from, to []uint32
	used     uint32
}

// move copies a block, which spans so many address bits, and everything below it.
func (c *compaction) move(r ref, bits int) ref {
	to, n := c.used, r.length(bits)
	c.used += room(n)
	for i, e := range c.from[r.off():][:n] {
		if e&link != 0 {
			e = link | uint32(c.move(ref(e&^link), r.span()))
		}
		c.to[to+uint32(i)] = e
	}
	return makeRef(to, r.span())
}
