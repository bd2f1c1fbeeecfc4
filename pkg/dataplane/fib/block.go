package fib

import "math/bits"

// A block splits a prefix further. It is an array of 2, 4, 8, 16, 32 or 64 cells
// that span equally many addresses each: as few as its routes allow. A /18 with
// nothing longer than /20 inside has 4 cells; one with a /24 somewhere has 64. Blocks
// never change once they are linked.
//
// A cell holds a value, 0 for "nothing longer here", or a link, which is a reference
// to a deeper block with the highest bit set. Links lead from a /24 to the block of
// its /27s and from a /27 to the block of its addresses:
//
//	block of a   spans     a cell spans at least   cells    bytes
//	/18          14 bits   8 bits (a /24)          2 to 64  32 to 256
//	/24           8 bits   5 bits (a /27)          2 to 8   32
//	/27           5 bits   0 bits                  2 to 32  32 to 128
const (
	slotBits = 14 // of an address, below a slot
	cellBits = 8  // below the finest cell of a /18
	deepBits = 5  // below the finest cell of a /24

	unit      = 8 // cells: blocks begin at multiples of it and are as long as a power of two of it
	cells     = 1 << (slotBits - cellBits)
	deepCells = 1 << (cellBits - deepBits)
	hostCells = 1 << deepBits

	link = uint32(1) << 31
)

// ref tells where a block is and how it is divided: the upper 27 bits count in
// units from the start of the arena, the lower 5 are the number of address bits
// that a cell spans. In bytes, a unit being 32 of them, the place is the reference
// without its lower 5 bits: no shift is needed to get there.
type ref uint32

const (
	refBits = 5

	// none refers to block 0, which says 0 for the whole of a /18.
	none ref = slotBits

	// A link has 26 bits for the place, so the arena has at most 2^29 cells (2 GB).
	maxCells = 1 << (31 - refBits) * unit
)

func makeRef(off uint32, span int) ref { return ref(off/unit<<refBits | uint32(span)) }

// off is the index of the block's first cell in the arena.
func (r ref) off() uint32 { return uint32(r) >> refBits * unit }

// span is the number of address bits below a cell.
func (r ref) span() int { return int(r & (1<<refBits - 1)) }

// length is the number of cells of the block, which spans so many address bits.
func (r ref) length(bits int) uint32 { return 1 << (bits - r.span()) }

// room is what a block of n cells takes in the arena, in cells.
func room(n uint32) uint32 { return max(n, unit) }

// grain tells how coarse a block may be that says the same as these cells, a
// power of two of them: 1<<grain of them become one.
func grain(from []uint32) int {
	// Equal neighbours can be one as far as all the edges between unequal ones
	// are at multiples of the new size.
	edges := uint(len(from))
	for i := 1; i < len(from); i++ {
		if from[i] != from[i-1] {
			edges |= uint(i)
		}
	}
	return bits.TrailingZeros(edges)
}

// unfold writes the cells of a /18's block to to, in the finest division.
func unfold(blocks []uint32, r ref, to []uint32) {
	off, shift := r.off(), r.span()-cellBits
	for i := range to[:cells] {
		to[i] = blocks[off+uint32(i>>shift)]
	}
}
