package fib

import (
	"sync/atomic"

	"vrouterd/internal/rcu"
)

const (
	pageSlots = 256
	maxPages  = 1025

	// Room that the arena gains at least when it is full, and spare room that is
	// never worth a compaction, in words of 8 bytes.
	minGrowth = 512
	minWaste  = 2048

	// Unlinked blocks wait for a common grace period, but no more than this
	// many, so that a large batch can reuse its own garbage.
	maxUnlinked = 512
)

// arena gives out blocks of the current head's block slice and takes them back
// once no reader can see them.
type arena struct {
	table  *Table
	domain *rcu.Domain

	used  uint32           // words below this one have been given out at some time
	live  uint32           // words of blocks that are linked, or about to be
	pages uint32           // pages of slots given out, page 0 included
	inUse [maxPages]uint16 // by page: slots that are not 0
	empty uint32           // pages without such slots, page 0 not counted

	free     [maxWords + 1]uint32 // by size: the first free block; its first word is the next one
	unlinked []span               // unlinked, grace period not yet begun
	pending  []retired            // oldest first, waiting for their grace period
	first    int                  // index of the oldest in pending
}

// span is a block or a quad: where it is and how many words it has.
type span struct{ off, words uint32 }

type retired struct {
	span
	token rcu.Token
}

// place stores a new block or quad and returns its offset. Nobody sees it until
// it is linked.
func (a *arena) place(block []uint64) uint32 {
	n := uint32(len(block))
	if a.free[n] == 0 && len(a.pending) != 0 {
		a.reclaim()
	}
	off := a.free[n]
	h := a.table.head.Load()
	if off != 0 {
		a.free[n] = uint32(h.blocks[off])
	} else {
		if a.used+n > uint32(len(h.blocks)) {
			h = a.grow(n)
		}
		off = a.used
		a.used += n
	}
	copy(h.blocks[off:], block)
	a.live += n
	return off
}

// unlink notes a block that the next store takes out of readers' sight.
func (a *arena) unlink(off, words uint32) {
	a.unlinked = append(a.unlinked, span{off, words})
	a.live -= words
}

// unlinkQuad does so for a quad and what it links to.
func (a *arena) unlinkQuad(off uint32) {
	blocks := a.table.head.Load().blocks
	for i := range uint32(4) {
		if e := quadEntry(blocks, off, i); e&link != 0 {
			a.unlink(e&^link, words(blocks, e&^link))
		}
	}
	a.unlink(off, quadWords)
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
		blocks[p.off] = uint64(a.free[p.words])
		a.free[p.words] = p.off
		a.first++
	}
	if a.first*2 >= len(a.pending) {
		a.pending = a.pending[:copy(a.pending, a.pending[a.first:])]
		a.first = 0
	}
}

// grow publishes a head whose arena has room for n more words. Every offset
// stays what it was.
func (a *arena) grow(n uint32) *head {
	old := a.table.head.Load()
	blocks := make([]uint64, len(old.blocks)+max(int(n), len(old.blocks)/8, minGrowth))
	copy(blocks, old.blocks[:a.used])
	return a.publish(len(old.slots), blocks)
}

// attach gives a /10 a page of empty slots.
func (a *arena) attach(i uint32) *head {
	h := a.table.head.Load()
	if int(a.pages)*pageSlots == len(h.slots) {
		n := min(a.pages+max(1, a.pages/4), maxPages)
		h = a.publish(int(n)*pageSlots, h.blocks)
	}
	// The page is all zero, so no answer changes yet.
	atomic.StoreUint32(&h.pages[i], a.pages*pageSlots)
	a.pages++
	a.empty++
	return h
}

// count notes that a slot of a page has become other than 0, or 0 again.
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
func (a *arena) publish(slots int, blocks []uint64) *head {
	old := a.table.head.Load()
	h := &head{pages: old.pages, short: old.short, slots: make([]uint64, slots), blocks: blocks}
	copy(h.slots, old.slots)
	a.table.head.Store(h)
	return h
}

// wasted is the room that a compaction would win, and all there is, in words.
func (a *arena) wasted() (waste, total int) {
	h := a.table.head.Load()
	waste = len(h.blocks) - int(a.live) + len(h.slots) - int(a.pages-a.empty)*pageSlots
	return waste, len(h.blocks) + len(h.slots)
}

// compact moves everything that is alive to a new head without holes, in
// address order. The old arena is left to its readers and the garbage
// collector; nothing in it is reused, so it needs no grace period.
func (a *arena) compact() {
	old := a.table.head.Load()
	c := compaction{from: old.blocks, to: make([]uint64, int(a.live)+int(a.live)/16+minGrowth/4)}
	c.used = uint32(copy(c.to, emptyBlock[:]))
	h := &head{short: old.short, slots: make([]uint64, pageSlots, len(old.slots)), blocks: c.to}
	var inUse [maxPages]uint16
	pages := uint32(1)
	for i, page := range old.pages {
		if a.inUse[page/pageSlots] == 0 {
			continue
		}
		h.pages[i] = pages * pageSlots
		inUse[pages] = a.inUse[page/pageSlots]
		pages++
		for _, slot := range old.slots[page:][:pageSlots] {
			h.slots = append(h.slots, slot>>32<<32|uint64(c.block(uint32(slot))))
		}
	}
	h.slots = append(make([]uint64, 0, len(h.slots)), h.slots...)
	a.used, a.pages, a.empty, a.inUse = c.used, pages, 0, inUse
	clear(a.free[:])
	a.unlinked, a.pending, a.first = nil, nil, 0
	a.table.head.Store(h)
}

// compaction copies blocks from one arena to another.
type compaction struct {
	from, to []uint64
	used     uint32
}

// move copies n words as they are.
func (c *compaction) move(off, n uint32) uint32 {
	to := c.used
	c.used += uint32(copy(c.to[to:], c.from[off:off+n]))
	return to
}

// block moves the block of a slot and everything below it.
func (c *compaction) block(off uint32) uint32 {
	if off == 0 {
		return 0
	}
	n := words(c.from, off)
	to := c.move(off, n)
	for i := to + 1; i < to+n; i++ {
		c.to[i] = c.links(c.to[i], c.quad)
	}
	return to
}

func (c *compaction) quad(off uint32) uint32 {
	to := c.move(off, quadWords)
	for i := to; i < to+quadWords; i++ {
		c.to[i] = c.links(c.to[i], func(off uint32) uint32 { return c.move(off, words(c.from, off)) })
	}
	return to
}

// links replaces the links among the two entries of a word.
func (c *compaction) links(word uint64, move func(uint32) uint32) uint64 {
	for shift := 0; shift < 64; shift += 32 {
		if e := uint32(word >> shift); e&link != 0 {
			word = word&^(0xffffffff<<shift) | uint64(link|move(e&^link))<<shift
		}
	}
	return word
}
