package fib

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// twin is the obviously right table: a map, searched length by length.
type twin map[Prefix]Value

func (w twin) match(a packet.Addr) (Prefix, Value) {
	for bits := 32; bits >= 0; bits-- {
		p := Prefix{a & packet.Mask(bits), bits}
		if v, ok := w[p]; ok {
			return p, v
		}
	}
	return Prefix{}, 0
}

func (w twin) apply(changes []Change) {
	for _, c := range changes {
		if c.Value == 0 {
			delete(w, Prefix{c.Addr, c.Bits})
		} else {
			w[Prefix{c.Addr, c.Bits}] = c.Value
		}
	}
}

// probes are the addresses on both sides of every edge of the changes.
func probes(changes []Change) []packet.Addr {
	var list []packet.Addr
	for _, c := range changes {
		first, last := c.Addr, c.Addr|^packet.Mask(c.Bits)
		list = append(list, first-1, first, first+1, first+(last-first)/2, last-1, last, last+1)
	}
	return list
}

func (w twin) check(t *testing.T, table *Table, addrs []packet.Addr) {
	t.Helper()
	for _, a := range addrs {
		p, v := w.match(a)
		if got := table.Lookup(a); got != v {
			t.Fatalf("Lookup(%v) = %d, want %d by %v", a, got, v, p)
		}
		addr, bits, got, ok := table.Match(a)
		if got != v || ok != (v != 0) || ok && (Prefix{addr, bits}) != p {
			t.Fatalf("Match(%v) = %v/%d, %d, %v, want %v, %d", a, addr, bits, got, ok, p, v)
		}
	}
}

// checkAll compares everything the writer's side can say.
func (w twin) checkAll(t *testing.T, table *Table) {
	t.Helper()
	if table.Len() != len(w) {
		t.Fatalf("Len() = %d, want %d", table.Len(), len(w))
	}
	n := 0
	last := Prefix{0, -1}
	for p, v := range table.All() {
		if w[p] != v {
			t.Fatalf("All() has %v = %d, want %d", p, v, w[p])
		}
		if p.Addr < last.Addr || p.Addr == last.Addr && p.Bits <= last.Bits {
			t.Fatalf("All() gives %v after %v", p, last)
		}
		if got, ok := table.Get(p.Addr, p.Bits); got != v || !ok {
			t.Fatalf("Get(%v) = %d, %v, want %d", p, got, ok, v)
		}
		last = p
		n++
	}
	if n != len(w) {
		t.Fatalf("All() gives %d routes, want %d", n, len(w))
	}
	checkArena(t, table)
}

// checkArena verifies what Lookup relies on, which computes addresses without
// bounds checks: wherever a page, a slot or a link leads, there is a block, wholly inside the
// arena and divided so that no bits of an address lead out of it. The blocks in
// use, free and waiting are disjoint, nothing is lost, and the counts are right.
func checkArena(t *testing.T, table *Table) {
	t.Helper()
	h := table.head.Load()
	a := &table.arena
	owner := make([]string, len(h.blocks)/unit)
	live := uint32(0)
	claim := func(off, size uint32, who string) {
		if size%unit != 0 || size == 0 || off%unit != 0 || off+size > a.used {
			t.Fatalf("%s has %d cells from %d on: not whole units within %d", who, size, off, a.used)
		}
		for i := off / unit; i < (off+size)/unit; i++ {
			if owner[i] != "" {
				t.Fatalf("arena unit %d belongs to %s and to %s", i, owner[i], who)
			}
			owner[i] = who
		}
	}
	use := func(off, size uint32, who string) {
		claim(off, size, who)
		live += size
	}
	// finest is the number of bits below the smallest cell that the level has.
	var check func(r ref, bits, finest int, who string)
	check = func(r ref, bits, finest int, who string) {
		if r.span() < finest || r.span() >= bits {
			t.Fatalf("%s has cells of %d bits, want %d to %d", who, r.span(), finest, bits-1)
		}
		use(r.off(), room(r.length(bits)), who)
		same := true
		for i, e := range h.blocks[r.off():][:r.length(bits)] {
			if i%2 != 0 && e != h.blocks[r.off()+uint32(i)-1] {
				same = false
			}
			switch {
			case e&link == 0:
			case r.span() != finest || finest == 0:
				t.Fatalf("%s has a link in a cell of %d bits", who, r.span())
			case finest == cellBits:
				check(ref(e&^link), cellBits, deepBits, who+" /24")
			default:
				check(ref(e&^link), deepBits, 0, who+" /27")
			}
		}
		if same {
			t.Fatalf("%s could be half as large", who)
		}
	}
	use(0, unit, "the empty block")
	for _, e := range h.blocks[:unit] {
		if e != 0 {
			t.Fatal("the empty block was written")
		}
	}
	if int(a.used) > len(h.blocks) || len(h.blocks)%unit != 0 || int(a.pages)*pageSlots > len(h.slots) {
		t.Fatalf("%d cells and %d pages are given out, there are %d and %d", a.used, a.pages, len(h.blocks), len(h.slots)/pageSlots)
	}
	taken := map[uint32]int{}
	for i := range pageCount {
		page := h.page(uint32(i))
		if page == 0 {
			continue
		}
		if other, ok := taken[page]; ok || page%pageSlots != 0 || page/pageSlots >= a.pages {
			t.Fatalf("the page of /11 number %d is at slot %d of %d pages; that of number %d is there too", i, page, a.pages, other)
		}
		taken[page] = i
		inUse := uint16(0)
		for j, slot := range h.slots[page:][:pageSlots] {
			if slot == emptySlot {
				continue
			}
			inUse++
			if slot>>63 != 0 {
				t.Fatalf("slot %d of /11 number %d has a link for a value", j, i)
			}
			if ref(slot) != none {
				check(ref(slot), slotBits, cellBits, fmt.Sprint(Prefix{packet.Addr(i<<pageBits | j<<slotBits), 18}))
			}
		}
		if inUse != a.inUse[page/pageSlots] {
			t.Fatalf("page %d: arena counts %d slots, found %d", page/pageSlots, a.inUse[page/pageSlots], inUse)
		}
	}
	empty := uint32(0)
	for _, n := range a.inUse[1:a.pages] {
		if n == 0 {
			empty++
		}
	}
	if empty != a.empty {
		t.Fatalf("arena counts %d empty pages, found %d", a.empty, empty)
	}
	if live != a.live {
		t.Fatalf("arena counts %d live cells, found %d", a.live, live)
	}
	for n, off := range a.free {
		for ; off != 0; off = h.blocks[off] {
			claim(off, uint32(n)*unit, "the free list")
		}
	}
	for _, p := range a.pending[a.first:] {
		claim(p.off, p.size, "the pending list")
	}
	for i := range a.used / unit {
		if owner[i] == "" {
			t.Fatalf("arena unit %d is lost", i)
		}
	}
	for i, v := range h.slots {
		if v != emptySlot && (i < pageSlots || i >= int(a.pages)*pageSlots) {
			t.Fatalf("slot %d, which no prefix has, was written", i)
		}
	}
}

// source draws changes that meet one another: few places, all lengths.
type source struct {
	*rand.Rand
	known []Prefix
}

func (s *source) addr() packet.Addr {
	switch s.IntN(4) {
	case 0: // anywhere
		return packet.Addr(s.Uint32())
	case 1: // a crowded /16
		return packet.Addr(10<<24 | s.Uint32N(1<<16))
	case 2: // a crowded /24
		return packet.Addr(192<<24 | 168<<16 | s.Uint32N(256))
	default: // a crowded /8, and the edges of the address space
		return packet.Addr([]uint32{10 << 24, 0, 255 << 24, 172 << 24}[s.IntN(4)] | s.Uint32N(1<<24)&0xff0f0f)
	}
}

func (s *source) change() Change {
	if len(s.known) > 0 && s.IntN(2) == 0 {
		i := s.IntN(len(s.known))
		p := s.known[i]
		if s.IntN(3) == 0 {
			return Change{p.Addr, p.Bits, Value(1 + s.IntN(5))}
		}
		s.known[i] = s.known[len(s.known)-1]
		s.known = s.known[:len(s.known)-1]
		return Change{p.Addr, p.Bits, 0}
	}
	bits := s.IntN(33)
	p := Prefix{s.addr() & packet.Mask(bits), bits}
	s.known = append(s.known, p)
	v := Value(1 + s.IntN(5))
	if s.IntN(4) == 0 {
		v = MaxValue - Value(s.IntN(5))
	}
	return Change{p.Addr, bits, v}
}

func (s *source) changes(n int) []Change {
	list := make([]Change, n)
	for i := range list {
		list[i] = s.change()
	}
	return list
}

func newTable() *Table { return New(rcu.NewDomain()) }

func TestEverySingleChangeAgreesWithTheTwin(t *testing.T) {
	for seed := range uint64(8) {
		s := &source{Rand: rand.New(rand.NewPCG(seed, 1))}
		table, w := newTable(), twin{}
		for i := range 1500 {
			c := s.change()
			_, present := w[Prefix{c.Addr, c.Bits}]
			if c.Value == 0 {
				if got := table.Delete(c.Addr, c.Bits); got != present {
					t.Fatalf("seed %d: Delete(%v/%d) = %v, want %v", seed, c.Addr, c.Bits, got, present)
				}
			} else if err := table.Insert(c.Addr, c.Bits, c.Value); err != nil {
				t.Fatal(err)
			}
			w.apply([]Change{c})
			w.check(t, table, probes([]Change{c}))
			if i%100 == 0 {
				w.checkAll(t, table)
			}
		}
		w.checkAll(t, table)
	}
}

func TestBatchesAgreeWithTheTwin(t *testing.T) {
	for seed := range uint64(8) {
		s := &source{Rand: rand.New(rand.NewPCG(seed, 2))}
		table, w := newTable(), twin{}
		for range 60 {
			// Repeats within a batch are wanted: the last change of a prefix counts.
			batch := s.changes(1 + s.IntN(150))
			for range s.IntN(20) {
				c := batch[s.IntN(len(batch))]
				c.Value = Value(s.IntN(3))
				batch = append(batch, c)
				s.known = append(s.known, Prefix{c.Addr, c.Bits})
			}
			if err := table.Apply(batch); err != nil {
				t.Fatal(err)
			}
			w.apply(batch)
			w.check(t, table, probes(batch))
			w.checkAll(t, table)
		}
		// And everything goes away again.
		var batch []Change
		for p := range table.All() {
			batch = append(batch, Change{p.Addr, p.Bits, 0})
		}
		if err := table.Apply(batch); err != nil {
			t.Fatal(err)
		}
		clear(w)
		w.check(t, table, probes(batch))
		w.checkAll(t, table)
		if table.routes.regionCount != 0 {
			t.Fatalf("%d regions left without routes", table.routes.regionCount)
		}
	}
}

// FuzzUpdates reads a batch from each 8 bytes: address, length, value, and
// whether the batch goes on.
func FuzzUpdates(f *testing.F) {
	f.Add([]byte{10, 0, 0, 0, 8, 1, 0, 0, 10, 1, 2, 3, 32, 2, 0, 0, 10, 0, 0, 0, 8, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 9, 0, 1, 10, 1, 2, 0, 24, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{10, 1, 128, 0, 17, 1, 0, 1, 10, 1, 2, 0, 25, 2, 0, 1, 10, 1, 0, 0, 16, 3, 0, 1, 10, 1, 128, 0, 17, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 32, 1, 0, 0, 255, 255, 255, 254, 31, 1, 0, 0, 255, 255, 255, 255, 32, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		table, w := newTable(), twin{}
		var batch, all []Change
		for len(data) >= 8 && len(all) < 400 {
			bits := int(data[4]) % 33
			a := packet.Addr(uint32(data[0])<<24|uint32(data[1])<<16|uint32(data[2])<<8|uint32(data[3])) & packet.Mask(bits)
			c := Change{a, bits, Value(data[5]) | Value(data[6])<<16}
			batch, all = append(batch, c), append(all, c)
			if data[7]&1 == 0 {
				if err := table.Apply(batch); err != nil {
					t.Fatal(err)
				}
				w.apply(batch)
				w.check(t, table, probes(batch))
				batch = batch[:0]
			}
			data = data[8:]
		}
		if err := table.Apply(batch); err != nil {
			t.Fatal(err)
		}
		w.apply(batch)
		w.check(t, table, probes(all))
		w.checkAll(t, table)
	})
}
