package fib

import (
	"sync/atomic"
	"unsafe"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// Value is what the table stores for a route: an index that the dataplane
// understands. Zero means "no route" and cannot be stored.
type Value uint32

// MaxValue is the largest value a route may have: 2^31-1. The 32nd bit of an
// entry tells a link to a deeper block from a value.
const MaxValue Value = 1<<31 - 1

// Table is a forwarding table. Any number of goroutines may call Lookup, each
// inside a read section of the table's rcu.Domain; every other method belongs
// to one writer goroutine.
type Table struct {
	// What readers touch first. The padding keeps the writer's own fields, which
	// change all the time, off this cache line.
	changes atomic.Uint64 // counted up before every round of stores to the head
	head    atomic.Pointer[head]
	_       [48]byte

	arena  arena
	routes store
	work   work
}

// head is where a lookup starts: the uncompressed levels and the block arena.
// The words of pages, short and slots change in place, the slices never do: to
// grow or to compact them the writer publishes another head, and what was left
// behind is never written again.
type head struct {
	// pages has for each /10 the index in slots of its page. Page 0 is all zero,
	// for the /10s that have no route longer than 8 bits.
	pages [1024]uint32
	// short has for each /8 the value of the best route of at most 8 bits.
	short [256]uint32
	// slots has a word for each /18 of a page. The low half is the block that
	// splits the /18 further; the high half is the value for all addresses to
	// which that block gives 0, itself 0 if there is no route longer than 8 bits.
	slots []uint64
	// blocks is the arena: see block.go. Block 0 is 0 throughout.
	blocks []uint64
}

// emptyBlock is block 0: one run of zeros.
var emptyBlock = [2]uint64{1, 0}

// New returns an empty table, of about 16 KB, whose readers take part in d.
func New(d *rcu.Domain) *Table {
	t := &Table{}
	h := &head{slots: make([]uint64, pageSlots), blocks: make([]uint64, len(emptyBlock))}
	copy(h.blocks, emptyBlock[:])
	t.head.Store(h)
	t.arena = arena{table: t, domain: d, used: uint32(len(h.blocks)), live: uint32(len(h.blocks)), pages: 1}
	return t
}

// Lookup returns the value of the longest route that covers a, or 0 when none
// does. It is called inside a read section and allocates nothing.
//
// The three loads of slot, bit map and entry depend on each other, but the
// lookups of a burst do not: there the processor overlaps them.
func (t *Table) Lookup(a packet.Addr) Value {
	h := t.head.Load()
	slot := atomic.LoadUint64(&h.slots[atomic.LoadUint32(&h.pages[a>>22])+uint32(a>>14&0xff)])
	e := entryAt(h.blocks, uint32(slot), uint32(a>>8))
	if e == 0 {
		e = uint32(slot >> 32)
	}
	if int32(e) > 0 {
		return Value(e)
	}
	return t.lookupRest(a)
}

// lookupRest is Lookup for addresses in a /24 with longer routes, and for those
// that have no route longer than 8 bits. It starts again: what it needs is in
// the nearest cache by now, and the common case need not carry it along.
func (t *Table) lookupRest(a packet.Addr) Value {
	for {
		changes := t.changes.Load()
		h := t.head.Load()
		slot := atomic.LoadUint64(&h.slots[atomic.LoadUint32(&h.pages[a>>22])+uint32(a>>14&0xff)])
		e := entryAt(h.blocks, uint32(slot), uint32(a>>8))
		if e&link != 0 {
			e = deepEntryAt(h.blocks, e&^link, uint32(a))
		}
		if e == 0 {
			e = uint32(slot >> 32)
		}
		if e != 0 {
			return Value(e)
		}
		// Nothing longer than 8 bits: the answer rests on two words that are
		// stored separately, so it holds only if no change came between them.
		e = atomic.LoadUint32(&h.short[a>>24])
		if t.changes.Load() == changes {
			return Value(e)
		}
	}
}

// Len is the number of routes.
func (t *Table) Len() int { return t.routes.count }

// Bytes is the memory that lookups use: head, pages and the whole arena,
// spare room included.
func (t *Table) Bytes() int {
	h := t.head.Load()
	return int(unsafe.Sizeof(*t)-unsafe.Sizeof(t.routes)-unsafe.Sizeof(t.work)) +
		int(unsafe.Sizeof(*h)) + 8*cap(h.slots) + 8*cap(h.blocks)
}

// ControlBytes is the memory of the writer's own store of prefixes and of its
// working lists.
func (t *Table) ControlBytes() int {
	return int(unsafe.Sizeof(t.routes)+unsafe.Sizeof(t.work)) +
		t.routes.bytes() + 16*cap(t.arena.pending) + 8*cap(t.arena.unlinked) + 2*cap(t.work.dirty)
}
