package fib

import "math/bits"

// A block splits a prefix by its next 6 bits. Its 64 cells are stored as runs of
// equal entries:
//
//	word 0    a bit set for every cell where a run starts (cell 0 is the lowest bit)
//	word 1..  the entry of each run, 32 bits, two a word, the lower half first
//
// so that the entry of a cell is found with one load, a population count and one
// load that hits the same cache line more often than not. An entry is a value, 0
// for "nothing longer here", or a link. Blocks never change once they are linked.
//
// A link leads from a /24 to a quad, two words with the entries of its four
// /26s, and from there to the block of a /26.
const (
	cells     = 64
	maxWords  = 1 + cells/2 // the largest block
	quadWords = 2
	link      = uint32(1) << 31
)

// entryAt returns the entry of cell c&0x3f in the block at off.
func entryAt(blocks []uint64, off, c uint32) uint32 {
	// The shift moves the starts beyond cell c out of the word.
	n := uint32(bits.OnesCount64(blocks[off]<<(^c&0x3f))) + 1
	return uint32(blocks[off+n>>1] >> (n & 1 << 5))
}

// deepEntryAt returns the entry of address a&0xff in the quad at off.
func deepEntryAt(blocks []uint64, off, a uint32) uint32 {
	e := quadEntry(blocks, off, a>>6&3)
	if e&link != 0 {
		e = entryAt(blocks, e&^link, a)
	}
	return e
}

func quadEntry(blocks []uint64, off, i uint32) uint32 {
	return uint32(blocks[off+i>>1] >> (i & 1 << 5))
}

// words is the size of the block at off.
func words(blocks []uint64, off uint32) uint32 {
	return 1 + (uint32(bits.OnesCount64(blocks[off]))+1)/2
}

// expand writes the entries of the block at off into to.
func expand(blocks []uint64, off uint32, to []uint32) {
	n := uint32(1)
	e := uint32(0)
	starts := blocks[off]
	for i := range to[:cells] {
		if starts>>i&1 != 0 {
			n++
			e = uint32(blocks[off+n>>1] >> (n & 1 << 5))
		}
		to[i] = e
	}
}

// compress is the inverse of expand. It returns the words of the block, which
// are part of to, and the entry that fills the block if it is only one.
func compress(from []uint32, to *[maxWords]uint64) (block []uint64, only uint32, single bool) {
	from = from[:cells]
	n := uint32(2) // half words used
	starts := uint64(1)
	previous := from[0]
	to[1] = uint64(previous)
	for i := 1; i < cells; i++ {
		if e := from[i]; e != previous {
			starts |= 1 << i
			n++
			if n&1 == 0 {
				to[n>>1] = uint64(e)
			} else {
				to[n>>1] |= uint64(e) << 32
			}
			previous = e
		}
	}
	to[0] = starts
	return to[:n>>1+1], previous, starts == 1
}
