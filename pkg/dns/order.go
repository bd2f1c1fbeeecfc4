package dns

import (
	"cmp"
	"slices"
	"sort"
)

// maxBlock is how many names stand in one block of an order.
const maxBlock = 512

// order keeps names, as messages have them, in the order of the tree (RFC 4034 section 6.1): a name stands before those below it, and these
// stand together. Tables are listed from it in parts, so that a long one never holds up the control loop. The names stand in
// blocks: one comes or goes by moving a few hundred others.
type order struct{ blocks [][]string }

// find is where a name stands, or would stand: its block, and where in that. exact: it is there.
func (o *order) find(name string) (block, at int, exact bool) {
	block = sort.Search(len(o.blocks), func(i int) bool { return compareNames(o.blocks[i][0], name) > 0 })
	if block = max(block-1, 0); block < len(o.blocks) {
		at, exact = slices.BinarySearchFunc(o.blocks[block], name, compareNames)
	}
	return block, at, exact
}

// add puts a name where it belongs, if it is not there.
func (o *order) add(name string) {
	block, at, exact := o.find(name)
	switch {
	case exact:
		return
	case len(o.blocks) == 0:
		o.blocks = [][]string{{name}}
		return
	}
	all := slices.Insert(o.blocks[block], at, name)
	o.blocks[block] = all
	if len(all) > maxBlock {
		half := len(all) / 2
		o.blocks[block] = slices.Clone(all[:half])
		o.blocks = slices.Insert(o.blocks, block+1, slices.Clone(all[half:]))
	}
}

// remove takes a name out, if it is there.
func (o *order) remove(name string) {
	block, at, exact := o.find(name)
	if !exact {
		return
	}
	if o.blocks[block] = slices.Delete(o.blocks[block], at, at+1); len(o.blocks[block]) == 0 {
		o.blocks = slices.Delete(o.blocks, block, block+1)
	}
}

// from calls each with the names from one on, or behind it, until it says no.
func (o *order) from(name string, behind bool, each func(name string) bool) {
	block, at, exact := o.find(name)
	if exact && behind {
		at++
	}
	for ; block < len(o.blocks); block, at = block+1, 0 {
		for _, name := range o.blocks[block][at:] {
			if !each(name) {
				return
			}
		}
	}
}

// compareNames compares label by label from the root.
func compareNames(a, b string) int {
	var roomA, roomB [128]uint8
	x, y := labelPlaces(roomA[:0], a), labelPlaces(roomB[:0], b)
	for i := 1; i <= len(x) && i <= len(y); i++ {
		if c := cmp.Compare(labelAt(a, x[len(x)-i]), labelAt(b, y[len(y)-i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// labelPlaces are where the labels of a name begin, without the root's.
func labelPlaces(room []uint8, name string) []uint8 {
	for at := 0; at < len(name) && name[at] != 0; at += 1 + int(name[at]) {
		room = append(room, uint8(at))
	}
	return room
}

func labelAt(name string, at uint8) string { return name[int(at)+1 : int(at)+1+int(name[at])] }

// Part is a part of a table, so that a long one never holds up whoever else waits for the machine.
type Part struct {
	Below  string // a name: it and those below it; "": all
	Behind string // where the part before ended; "": from the beginning
	Names  int    // look at no more than so many
	Rows   int    // and at no more when there are so many rows; those of one name stay together
}

// walk calls each with the names of a part; it says how many rows a name has. next is the last name looked at, with its last dot, "" when there are no more.
func (p *Part) walk(o *order, each func(wire string) (rows int)) (next string) {
	below, ok := wireName(p.Below)
	if !ok {
		return ""
	}
	start, behind := below, false
	if wire, ok := wireName(p.Behind); ok && p.Behind != "" && compareNames(wire, below) >= 0 {
		start, behind = wire, true
	}
	names, rows, last := 0, 0, ""
	o.from(start, behind, func(wire string) bool {
		switch {
		case !isBelow(wire, below):
			return false
		case names > 0 && (names >= p.Names || rows >= p.Rows):
			next = textName(last)
			return false
		}
		names, rows, last = names+1, rows+each(wire), wire
		return true
	})
	return next
}

// isBelow reports whether a name is another one, or below it.
func isBelow(wire, other string) bool {
	at := 0
	for ; len(wire)-at > len(other); at += 1 + int(wire[at]) {
	}
	return wire[at:] == other
}
