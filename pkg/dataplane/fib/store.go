package fib

import (
	"slices"
	"unsafe"

	"vrouterd/internal/packet"
)

// store holds every prefix with its value, for the writer: lookups answer from
// what is derived from it. It has the same shape as the dataplane's levels, so
// that what has to be rebuilt together lies together.
//
// Routes of up to 8 bits, and those of 9 to 16 bits of each region, are in a
// complete binary tree in an array (node 1 is the root, the children of i are 2i
// and 2i+1); longer routes are in a sorted list for each /16.
type store struct {
	count       int
	regionCount int
	top         tree
	regions     [256]*region
}

// region is a /8 that has routes longer than 8 bits.
type region struct {
	count   int // routes of 9 to 32 bits, the dying ones included
	short   tree
	buckets [256]bucket
}

// bucket has the routes of more than 16 bits of a /16, and what Apply has to
// remember about it.
type bucket struct {
	routes []route // by address, then by length: a route stands before those inside it
	dirty  bool    // the slot is in work.dirty
	cells  bool    // the cells lo to hi (the /24s) have to be rebuilt
	dying  bool    // some routes are to be purged
	lo, hi uint8
	whole  uint8 // bit q: the routes give all of the /18 number q one value, which is in its slot
}

// route is a prefix within its /16 and its value: 16 bits of address, 6 bits
// of length, then in the low half 31 bits of value and the dying bit.
type route uint64

// dying marks a route that has been deleted in this batch but still answers.
const dying = uint32(1) << 31

func routeKey(a packet.Addr, length int) uint32 { return uint32(a&0xffff)<<6 | uint32(length) }

func makeRoute(key uint32, v Value) route { return route(key)<<32 | route(v) }

func (r route) key() uint32   { return uint32(r >> 32) }
func (r route) low() uint32   { return uint32(r >> 38) } // the address within the /16
func (r route) length() int   { return int(r >> 32 & 0x3f) }
func (r route) value() uint32 { return uint32(r) &^ dying } // dying routes still count
func (r route) dying() bool   { return uint32(r)&dying != 0 }
func (b *bucket) find(key uint32) (int, bool) {
	lo, hi := 0, len(b.routes)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if b.routes[mid].key() < key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(b.routes) && b.routes[lo].key() == key
}

// insert puts r at index i. Lists grow by a quarter: most of them are short
// and there are many.
func (b *bucket) insert(i int, r route) {
	if len(b.routes) == cap(b.routes) {
		grown := make([]route, len(b.routes), len(b.routes)+len(b.routes)/4+1)
		copy(grown, b.routes)
		b.routes = grown
	}
	b.routes = b.routes[:len(b.routes)+1]
	copy(b.routes[i+1:], b.routes[i:])
	b.routes[i] = r
}

// purge drops the dying routes and returns how many there were.
func (b *bucket) purge() int {
	n := len(b.routes)
	b.routes = slices.DeleteFunc(b.routes, route.dying)
	if len(b.routes) == 0 {
		b.routes = nil
	} else if len(b.routes)*2 < cap(b.routes) && cap(b.routes) > 8 {
		b.routes = append(make([]route, 0, len(b.routes)+len(b.routes)/4), b.routes...)
	}
	b.dying = false
	return n - len(b.routes)
}

// touch widens the range of cells to rebuild to that of a route.
func (b *bucket) touch(low uint32, length int) {
	lo := uint8(low >> 8)
	hi := lo
	if length < 24 {
		hi = lo + uint8(1)<<(24-length) - 1
	}
	if b.cells {
		lo, hi = min(lo, b.lo), max(hi, b.hi)
	}
	b.cells, b.lo, b.hi = true, lo, hi
}

// tree holds the values of the prefixes of 0 to 8 further bits.
type tree [512]uint32

// node is the place in a tree of the prefix whose first length bits (of 8) are
// those of b.
func node(b uint32, length int) uint32 { return (b&0xff | 1<<8) >> (8 - length) }

// best is the value of the longest prefix that covers b, and its length.
func (t *tree) best(b uint32) (v uint32, length int) {
	length = 8
	for i := b&0xff | 1<<8; i != 0; i >>= 1 {
		if t[i] != 0 {
			return t[i] &^ dying, length
		}
		length--
	}
	return 0, 0
}

func (s *store) bytes() int {
	n := s.regionCount * int(unsafe.Sizeof(region{}))
	for _, r := range s.regions {
		if r == nil {
			continue
		}
		for i := range r.buckets {
			n += 8 * cap(r.buckets[i].routes)
		}
	}
	return n
}
