package nat

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"vrouterd/internal/packet"
)

// portSet is a set of ports.
type portSet [65536 / 64]uint64

func (s *portSet) add(port uint16)      { s[port/64] |= 1 << (port % 64) }
func (s *portSet) has(port uint16) bool { return s != nil && s[port/64]&(1<<(port%64)) != 0 }

// pagePorts is how many ports a page holds.
const pagePorts = 512

// page is a part of the ports of one protocol at one outside address. It is made when its first port is taken.
type page struct {
	taken    [2]atomic.Int32 // even ones, odd ones
	used     [pagePorts / 64]atomic.Uint64
	mappings [pagePorts]atomic.Uint32 // reference of the mapping that has a port; 0: none (yet)
}

// full reports whether none of these ports is free.
func (p *page) full(parity uint64) bool {
	return (parity&evenPorts == 0 || p.taken[0].Load() >= pagePorts/2) && (parity&^evenPorts == 0 || p.taken[1].Load() >= pagePorts/2)
}

// outside is an outside address: who has which of its ports. Ports are taken by compare-and-swap, so that
// workers that open sessions for different inside hosts do not wait for each other.
type outside struct {
	addr  packet.Addr
	ports [numClasses][numKinds]atomic.Int32 // taken, and claims under way
	gone  atomic.Bool                        // out of the directory: nothing is to be taken any more
	pages [numClasses][65536 / pagePorts]atomic.Pointer[page]
	once  sync.Once
	table atomic.Pointer[blockTable]
}

// Kinds of ports that are counted apart.
const (
	evenKind = iota // from 1024 on
	oddKind
	lowKind // below 1024
	numKinds

	ofParity = (65536 - 1024) / 2 // ports of evenKind, of oddKind
)

func kindOf(port uint16) int {
	if port < 1024 {
		return lowKind
	}
	return int(port % 2)
}

// isEmpty reports whether no port is taken.
func (o *outside) isEmpty() bool {
	for class := range o.ports {
		for kind := range o.ports[class] {
			if o.ports[class][kind].Load() != 0 {
				return false
			}
		}
	}
	return true
}

// page of a port, made where it is missing.
func (o *outside) page(class int, port uint16) *page {
	at := &o.pages[class][port/pagePorts]
	if p := at.Load(); p != nil {
		return p
	}
	at.CompareAndSwap(nil, new(page))
	return at.Load()
}

// mapping is the reference of the mapping that has a port; 0: none.
func (o *outside) mapping(class int, port uint16) uint32 {
	p := o.pages[class][port/pagePorts].Load()
	if p == nil {
		return 0
	}
	return p.mappings[port%pagePorts].Load()
}

// used is a word of the bitmap: 64 ports from word*64 on.
func (o *outside) used(class, word int) uint64 {
	p := o.pages[class][word/(pagePorts/64)].Load()
	if p == nil {
		return 0
	}
	return p.used[word%(pagePorts/64)].Load()
}

// isFree reports whether nobody has a port.
func (o *outside) isFree(class int, port uint16) bool {
	return o.used(class, int(port/64))&(1<<(port%64)) == 0
}

// take takes one port, and reports whether it was free. The caller says by [outside.assign] who has it.
func (o *outside) take(class int, port uint16) bool {
	count := &o.ports[class][kindOf(port)]
	count.Add(1)
	p := o.page(class, port)
	bit := uint64(1) << (port % 64)
	if o.gone.Load() || p.used[port%pagePorts/64].Or(bit)&bit != 0 {
		count.Add(-1)
		return false
	}
	p.taken[port%2].Add(1)
	return true
}

// assign says which mapping has a port that was taken.
func (o *outside) assign(class int, port uint16, reference uint32) {
	o.page(class, port).mappings[port%pagePorts].Store(reference)
}

// release gives a port back.
func (o *outside) release(class int, port uint16) {
	p := o.page(class, port)
	p.mappings[port%pagePorts].Store(0)
	p.used[port%pagePorts/64].And(^(uint64(1) << (port % 64)))
	p.taken[port%2].Add(-1)
	o.ports[class][kindOf(port)].Add(-1)
}

// search says which ports may be chosen.
type search struct {
	class    int
	lo, hi   uint16
	reserved *portSet // not these; nil: none
	low      bool     // a low port, if one is to be had, for an inside port that is one
	blocks   bool     // the range is a block of the subscriber: else, blocks that somebody has are left alone
	chance   uint64   // where to begin
}

// Every second port.
const (
	evenPorts uint64 = 0x5555555555555555
	anyPorts  uint64 = 1<<64 - 1
)

// find looks for a free port of the parity of like, or for any where that parity has none left: a scan of the bitmap, word by
// word, from a random one on; pages without any are passed at once. With asking.take the port is taken.
func (o *outside) find(s search, like uint16, ask asking) (port uint16, found bool) {
	if s.class == classICMP {
		return o.scan(s, anyPorts, ask) // identifiers have no parity
	}
	parity := evenPorts
	if like%2 == 1 {
		parity = ^evenPorts
	}
	if s.lo < 1024 || o.ports[s.class][like%2].Load() < ofParity || ask.over != nil {
		port, found = o.scan(s, parity, ask)
	}
	if !found {
		port, found = o.scan(s, ^parity, ask)
	}
	return port, found
}

const classICMP = 2

func (o *outside) scan(s search, parity uint64, ask asking) (uint16, bool) {
	const perPage = pagePorts / 64
	first, last := int(s.lo/64), int(s.hi/64)
	n := last - first + 1
	blocks := o.table.Load()
	if s.blocks {
		blocks = nil
	}
	begin := int(uint32(s.chance) % uint32(n))
	turn := int(s.chance >> 32 % 64)
	for i := 0; i < n; i++ {
		word := first + begin + i
		if word > last {
			word -= n
		}
		if word%perPage == 0 && word+perPage-1 <= last && i+perPage <= n {
			if p := o.pages[s.class][word/perPage].Load(); p != nil && p.full(parity) && ask.over == nil {
				i += perPage - 1
				continue
			}
		}
		if blocks != nil && blocks.owned(word) {
			continue
		}
		free := parity &^ (o.used(s.class, word) &^ ask.over.freed(o, s.class, word))
		if word == first {
			free &= anyPorts << (s.lo % 64)
		}
		if word == last {
			free &= anyPorts >> (63 - s.hi%64)
		}
		if s.reserved != nil {
			free &^= s.reserved[word]
		}
		for free != 0 {
			bit := (bits.TrailingZeros64(bits.RotateLeft64(free, -turn)) + turn) % 64
			port := uint16(word*64 + bit)
			if !ask.take || o.take(s.class, port) {
				return port, true
			}
			free &^= 1 << bit // another worker was faster
		}
	}
	return 0, false
}
