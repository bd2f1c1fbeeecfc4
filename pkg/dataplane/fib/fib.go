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

// head is where a lookup starts: the two uncompressed levels and the block
// arena. The words of regions and slots change in place, the slices never do:
// to grow or to compact them the writer publishes another head, and what was
// left behind is never written again.
type head struct {
	// regions has a word for each /8: the low half is the index of the region's
	// page in slots, the high half the value of the best route of at most 8 bits.
	regions [256]uint64
	// slots has pages of 256 words, a word for each /16 of a region: the low
	// half is the block that splits the /16 further, the high half the value of
	// the best route of 9 to 16 bits, or 0. Page 0 is all zero, for the regions
	// that have nothing longer than a /8.
	slots []uint64
	// blocks is the arena: see block.go. Block 0 says "no route" throughout.
	blocks []uint32
}

// New returns an empty table, of about 6 KB, whose readers take part in d.
func New(d *rcu.Domain) *Table {
	t := &Table{}
	t.arena.domain = d
	t.arena.table = t
	h := &head{slots: make([]uint64, pageSlots), blocks: make([]uint32, headerWords+1)}
	copy(h.blocks, emptyBlock())
	t.arena.used = uint32(len(h.blocks))
	t.arena.live = t.arena.used
	t.arena.pages = 1
	t.head.Store(h)
	return t
}

// Lookup returns the value of the longest route that covers a, or 0 when none
// does. It is called inside a read section and allocates nothing.
func (t *Table) Lookup(a packet.Addr) Value {
	for {
		changes := t.changes.Load()
		h := t.head.Load()
		region := atomic.LoadUint64(&h.regions[a>>24])
		slot := atomic.LoadUint64(&h.slots[uint32(region)+uint32(a>>16&0xff)])
		e := entryAt(h.blocks, uint32(slot), uint32(a>>8))
		if e&link != 0 {
			e = entryAt(h.blocks, e&^link, uint32(a))
		}
		if e != 0 {
			return Value(e)
		}
		if slot>>32 != 0 {
			return Value(slot >> 32)
		}
		// Nothing longer than 8 bits: the answer rests on two words that are
		// stored separately, so it holds only if no change came between them.
		if t.changes.Load() == changes {
			return Value(region >> 32)
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
		int(unsafe.Sizeof(*h)) + 8*cap(h.slots) + 4*cap(h.blocks)
}

// ControlBytes is the memory of the writer's own store of prefixes and of its
// working lists.
func (t *Table) ControlBytes() int {
	return int(unsafe.Sizeof(t.routes)+unsafe.Sizeof(t.work)) +
		t.routes.bytes() + 16*cap(t.arena.pending) + 8*cap(t.arena.unlinked) + 2*cap(t.work.dirty)
}
