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

// head is where a lookup starts: the upper levels and the block arena. The words
// of pages, short and slots change in place, the slices never do: to grow or to
// compact them the writer publishes another head, and what was left behind is
// never written again.
type head struct {
	// slots has a word for each /18 of a page. The low half refers to the block
	// that splits the /18 further; the high half is the value for all addresses to
	// which that block gives 0, itself 0 if there is no route longer than 8 bits.
	slots []uint64
	// blocks is the arena: see block.go. Its first unit is 0 throughout.
	blocks []uint32
	// pages has for each /11 where in slots its page begins, less the number of
	// the /11's first /18 (modulo 2^32): added to the number of a /18 it gives
	// that one's slot. Page 0 is for the /11s that have no route longer than 8
	// bits, and stays empty.
	pages [pageCount]uint32
	// short has for each /8 the value of the best route of at most 8 bits.
	short [256]uint32
}

const (
	pageBits  = 21 // of an address, below a page
	pageCount = 1 << (32 - pageBits)
	pageSlots = 1 << (pageBits - slotBits)

	// emptySlot says that a /18 has no route longer than 8 bits.
	emptySlot = uint64(none)

	// MaxRoutes is how many routes a table can hold: 2,097,152, twice the
	// Internet. The blocks of the /18s take at most 64 MB, and each route at most
	// one block of a /24 and one of a /27 (160 bytes), which makes 400 MB in the
	// worst arrangement. A batch that replaces everything before readers let go of
	// anything needs three times as much, on top of a quarter that is unused. That
	// is less than what references reach (maxCells).
	MaxRoutes = 1 << 21
)

// New returns an empty table, of about 15 KB, whose readers take part in d.
func New(d *rcu.Domain) *Table {
	t := &Table{}
	h := &head{slots: emptySlots(pageSlots), blocks: make([]uint32, unit)}
	for i := range h.pages {
		h.setPage(uint32(i), 0)
	}
	t.head.Store(h)
	t.arena = arena{table: t, domain: d, used: unit, live: unit, pages: 1}
	return t
}

// Lookup returns the value of the longest route that covers a, or 0 when none
// does. It allocates nothing. It must be called inside a read section: outside
// of one the writer may reuse what it looks at, and then not only is the answer
// worthless, but no bounds check stops it either.
//
// The loads of slot and cell depend on each other, but the lookups of a burst
// do not: the processor overlaps as many of them as it has room for
// instructions. So the common case is short, with no branch but the last, and
// calls nothing. A call anywhere in this function would give it a stack frame,
// which is why the rare cases have no function of their own.
func (t *Table) Lookup(a packet.Addr) Value {
	h := t.head.Load()
	slot := h.slot(a)
	e := h.cell(ref(slot), a&(1<<slotBits-1))
	if e == 0 {
		e = uint32(slot >> 32)
	}
	if int32(e) > 0 {
		return Value(e)
	}
	// A /24 with longer routes, or no route longer than 8 bits. Start again: what
	// is needed is in the nearest cache by now.
	for {
		changes := t.changes.Load()
		h := t.head.Load()
		slot := h.slot(a)
		e := h.cell(ref(slot), a&(1<<slotBits-1))
		if e&link != 0 {
			e = h.cell(ref(e&^link), a&(1<<cellBits-1))
			if e&link != 0 {
				e = h.cell(ref(e&^link), a&(1<<deepBits-1))
			}
		}
		if e == 0 {
			e = uint32(slot >> 32)
		}
		if e != 0 {
			return Value(e)
		}
		// The answer rests on two words that are stored separately, so it holds
		// only if no change came between them.
		e = atomic.LoadUint32(&h.short[a>>24])
		if t.changes.Load() == changes {
			return Value(e)
		}
	}
}

// slot loads the word of the /18 of a.
//
// It and cell compute addresses without bounds checks, which would be a quarter
// of the instructions of a lookup. What keeps them inside is the shape of the
// structure: a page lies in slots as a whole, and the 7 bits of an address that
// pages does not look at choose within it; a block lies in the arena as a whole,
// and the bits below it, shifted by its span, choose one of its cells. In the
// tests checkArena holds every word that a reader can come by to that, after
// changes of every kind.
func (h *head) slot(a packet.Addr) uint64 {
	slots := unsafe.Pointer(unsafe.SliceData(h.slots)) // first: so h needs no test for nil
	i := atomic.LoadUint32(&h.pages[a>>pageBits]) + uint32(a>>slotBits)
	return atomic.LoadUint64((*uint64)(unsafe.Add(slots, uintptr(i)*8)))
}

// cell loads the cell of a block that the address bits below the block lead to.
func (h *head) cell(r ref, low packet.Addr) uint32 {
	place := uintptr(r &^ (1<<refBits - 1)) // in bytes
	i := uintptr(low >> (r & (1<<refBits - 1)))
	return *(*uint32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(h.blocks)), place+4*i))
}

// page returns where in slots the page of /11 number i begins.
func (h *head) page(i uint32) uint32 { return atomic.LoadUint32(&h.pages[i]) + i*pageSlots }

// setPage lets the page of /11 number i begin there.
func (h *head) setPage(i, begin uint32) { atomic.StoreUint32(&h.pages[i], begin-i*pageSlots) }

func emptySlots(n int) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = emptySlot
	}
	return list
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
