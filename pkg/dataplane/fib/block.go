package fib

import "math/bits"

// A block splits a prefix by its next 8 bits. Its 256 cells are stored as
// runs of equal entries:
//
//	words 0..15   a word for each 16 cells: the low half has a bit set for every
//	              cell where a run starts; the high half is the index in the block
//	              of the word before the group's first new run
//	words 16..    an entry for each run
//
// so that the entry of a cell is found with one load of the header, a
// population count and one load of the entry. An entry is a value, 0 for "nothing
// longer here", or a link to the block of the next 8 bits. Blocks never change
// once they are linked.
const (
	cells       = 256
	groups      = 16
	headerWords = groups
	link        = uint32(1) << 31
)

// entryAt returns the entry of cell c&0xff in the block at off.
func entryAt(blocks []uint32, off, c uint32) uint32 {
	g := blocks[off+c>>4&0xf]
	// The shift moves the bits of the cells 0..c of this group to the top of
	// the word and everything above them out of it.
	return blocks[off+g>>16+uint32(bits.OnesCount32(g<<((^c&0xf+16)&31)))]
}

// runs counts the entries of the block at off.
func runs(blocks []uint32, off uint32) uint32 {
	last := blocks[off+groups-1]
	return last>>16 + uint32(bits.OnesCount32(last&0xffff)) + 1 - headerWords
}

// expand writes the 256 entries of the block at off into to.
func expand(blocks []uint32, off uint32, to *[cells]uint32) {
	at := off + headerWords - 1
	for g := range uint32(groups) {
		starts := blocks[off+g]
		for i := range uint32(16) {
			at += starts >> i & 1
			to[g*16+i] = blocks[at]
		}
	}
}

// compress is the inverse of expand; it returns the words of the block, at
// most headerWords+cells of them, in to.
func compress(from *[cells]uint32, to *[headerWords + cells]uint32) []uint32 {
	n := uint32(headerWords) // the next free word
	previous := ^from[0]     // a run starts at cell 0
	for g := range uint32(groups) {
		before := n - 1
		starts := uint32(0)
		for i := range uint32(16) {
			e := from[g*16+i]
			if e != previous {
				starts |= 1 << i
				to[n] = e
				n++
				previous = e
			}
		}
		to[g] = before<<16 | starts
	}
	return to[:n]
}

// emptyBlock is a block whose cells are all 0.
func emptyBlock() []uint32 {
	var to [headerWords + cells]uint32
	return compress(new([cells]uint32), &to)
}
