package fib

import (
	"fmt"
	"sync/atomic"

	"vrouterd/internal/packet"
)

// Change is one route of a batch: its new value, or 0 to delete it.
type Change struct {
	Addr  packet.Addr
	Bits  int // 0 to 32
	Value Value
}

// work is what the writer needs while it applies a batch.
type work struct {
	dirty   []uint16 // the /16s to publish
	dirtyLo int      // the regions whose word has to be computed anew; none when Lo > Hi
	dirtyHi int
	dying   []dyingShort
	cells   [256]uint32 // of the /16 at hand, by /24
	deep    [256]uint32 // of a /24, by address
}

// dyingShort is a deleted route of 9 to 16 bits.
type dyingShort struct {
	region uint8
	node   uint16
}

// Insert adds a route or changes its value. It refuses a length outside 0 to
// 32, an address with bits set beyond that length, and values that are 0 or
// above MaxValue.
func (t *Table) Insert(a packet.Addr, bits int, v Value) error {
	if v == 0 {
		return fmt.Errorf("fib: insert %v/%d: value 0 means no route; use Delete", a, bits)
	}
	change := [1]Change{{a, bits, v}}
	return t.Apply(change[:])
}

// Delete removes a route and reports whether it was there.
func (t *Table) Delete(a packet.Addr, bits int) bool {
	if _, ok := t.Get(a, bits); !ok {
		return false
	}
	change := [1]Change{{a, bits, 0}}
	return t.Apply(change[:]) == nil
}

// Apply makes all the changes or, when one of them is refused (as by Insert),
// none. It also refuses a batch whose new routes might take the table beyond
// MaxRoutes; what the batch deletes does not make room for them. Of several
// changes of one prefix the last one counts; deleting a route that is not there
// changes nothing. What the batch changes in one /16 is computed and published
// once.
//
// While Apply runs a reader sees for each address either the route from before
// the batch or the one from after it.
func (t *Table) Apply(changes []Change) error {
	short, inserts := false, 0
	for i, c := range changes {
		switch {
		case c.Bits < 0 || c.Bits > 32:
			return fmt.Errorf("fib: change %d, %v/%d: prefix length must be 0 to 32", i, c.Addr, c.Bits)
		case c.Addr&^packet.Mask(c.Bits) != 0:
			return fmt.Errorf("fib: change %d, %v/%d: host bits set; the prefix would be %v/%d",
				i, c.Addr, c.Bits, c.Addr&packet.Mask(c.Bits), c.Bits)
		case c.Value > MaxValue:
			return fmt.Errorf("fib: change %d, %v/%d: value %d is above %d", i, c.Addr, c.Bits, c.Value, MaxValue)
		}
		short = short || c.Bits <= 8
		if c.Value != 0 {
			inserts++
		}
	}
	if err := t.checkRoom(changes, inserts); err != nil {
		return err
	}
	t.work.dirtyLo, t.work.dirtyHi = 256, -1
	for _, c := range changes {
		switch {
		case c.Bits <= 8:
			t.setTop(c)
		case c.Bits <= 16:
			t.setShort(c)
		default:
			t.setLong(c)
		}
	}
	if short && len(t.work.dirty) != 0 {
		// Two words answer for an address here, that of its /8 and that of its
		// /16. First everything is added and nothing taken away: an address
		// then has either its old or its new route. So the words of the /8s may
		// change, for they answer only where neither had a longer one.
		t.publishSlots()
	}
	t.publishShort()
	t.purge()
	t.publishSlots()
	t.settle()
	return nil
}

// checkRoom refuses a batch that might take the table beyond MaxRoutes.
func (t *Table) checkRoom(changes []Change, inserts int) error {
	if t.routes.count+inserts <= MaxRoutes {
		return nil
	}
	for _, c := range changes {
		if _, ok := t.Get(c.Addr, c.Bits); ok && c.Value != 0 {
			inserts-- // only its value changes
		}
	}
	if t.routes.count+inserts > MaxRoutes {
		return fmt.Errorf("fib: %d routes and %d more do not fit: the table holds at most %d", t.routes.count, inserts, MaxRoutes)
	}
	return nil
}

// setTop stores a route of at most 8 bits.
func (t *Table) setTop(c Change) {
	i := node(uint32(c.Addr>>24), c.Bits)
	t.countChange(t.routes.top[i] != 0, c.Value != 0)
	t.routes.top[i] = uint32(c.Value)
	lo := int(c.Addr >> 24)
	t.work.dirtyLo = min(t.work.dirtyLo, lo)
	t.work.dirtyHi = max(t.work.dirtyHi, lo+1<<(8-c.Bits)-1)
}

// setShort stores a route of 9 to 16 bits.
func (t *Table) setShort(c Change) {
	r := t.region(c)
	if r == nil {
		return
	}
	i := node(uint32(c.Addr>>16), c.Bits-8)
	old := r.short[i]
	t.countChange(old != 0 && old&dying == 0, c.Value != 0)
	switch {
	case c.Value != 0:
		if old == 0 {
			r.count++
		}
		r.short[i] = uint32(c.Value)
	case old == 0 || old&dying != 0:
		return
	default:
		r.short[i] |= dying
		t.work.dying = append(t.work.dying, dyingShort{uint8(c.Addr >> 24), uint16(i)})
	}
	first := uint32(c.Addr >> 16)
	for s := first; s < first+1<<(16-c.Bits); s++ {
		t.mark(s, &r.buckets[s&0xff])
	}
}

// setLong stores a route of more than 16 bits.
func (t *Table) setLong(c Change) {
	r := t.region(c)
	if r == nil {
		return
	}
	s := uint32(c.Addr >> 16)
	b := &r.buckets[s&0xff]
	key := routeKey(c.Addr, c.Bits)
	i, found := b.find(key)
	alive := found && !b.routes[i].dying()
	t.countChange(alive, c.Value != 0)
	switch {
	case c.Value != 0 && found:
		b.routes[i] = makeRoute(key, c.Value)
	case c.Value != 0:
		b.insert(i, makeRoute(key, c.Value))
		r.count++
	case alive:
		b.routes[i] |= route(dying)
		b.dying = true
	default:
		return
	}
	b.touch(uint32(c.Addr&0xffff), c.Bits)
	t.mark(s, b)
}

// region returns the region of a change, made if the change needs it.
func (t *Table) region(c Change) *region {
	at := &t.routes.regions[c.Addr>>24]
	if *at == nil && c.Value != 0 {
		*at = &region{}
		t.routes.regionCount++
	}
	return *at
}

func (t *Table) countChange(before, after bool) {
	if before != after {
		if after {
			t.routes.count++
		} else {
			t.routes.count--
		}
	}
}

func (t *Table) mark(s uint32, b *bucket) {
	if !b.dirty {
		b.dirty = true
		t.work.dirty = append(t.work.dirty, uint16(s))
	}
}

// purge drops the routes that the batch deleted.
func (t *Table) purge() {
	for _, d := range t.work.dying {
		r := t.routes.regions[d.region]
		if r.short[d.node]&dying != 0 { // else it was inserted again, or is listed twice
			r.short[d.node] = 0
			r.count--
		}
	}
	t.work.dying = t.work.dying[:0]
	for _, s := range t.work.dirty {
		r := t.routes.regions[s>>8]
		if b := &r.buckets[s&0xff]; b.dying {
			r.count -= b.purge()
		}
	}
}

// publishShort stores the best routes of up to 8 bits where they changed.
func (t *Table) publishShort() {
	if t.work.dirtyLo > t.work.dirtyHi {
		return
	}
	h := t.head.Load()
	t.changes.Add(1)
	for i := t.work.dirtyLo; i <= t.work.dirtyHi; i++ {
		if v, _ := t.routes.top.best(uint32(i)); v != h.short[i] {
			atomic.StoreUint32(&h.short[i], v)
		}
	}
}

// publishSlots rebuilds and stores every dirty /16.
func (t *Table) publishSlots() {
	if len(t.work.dirty) == 0 {
		return
	}
	t.changes.Add(1)
	for _, s := range t.work.dirty {
		t.publishSlot(uint32(s))
		if len(t.arena.unlinked) >= maxUnlinked {
			t.arena.retire()
		}
	}
	t.arena.retire()
}

// publishSlot brings one /16 up to date: at most one store for each of its four
// /18s.
func (t *Table) publishSlot(s uint32) {
	r := t.routes.regions[s>>8]
	b := &r.buckets[s&0xff]
	v, _ := r.short.best(s)
	cover := uint64(v) << 32
	if !b.cells {
		for q := range uint32(4) {
			if b.whole>>q&1 == 0 {
				t.storeSlot(s<<2|q, cover|t.slot(s<<2|q)&0xffffffff)
			}
		}
		return
	}
	first, last := uint32(b.lo>>6), uint32(b.hi>>6)
	for q := first; q <= last; q++ {
		t.open(b, q, t.slot(s<<2|q))
	}
	t.paint(b)
	for q := first; q <= last; q++ {
		quarter := t.work.cells[q*cells:][:cells]
		b.whole &^= 1 << q
		switch r, only, single := t.arena.fold(quarter, cellBits); {
		case !single:
			t.storeSlot(s<<2|q, cover|uint64(r))
		case only != 0:
			b.whole |= 1 << q
			t.storeSlot(s<<2|q, uint64(only)<<32|uint64(none))
		default:
			t.storeSlot(s<<2|q, cover|uint64(none))
		}
	}
	if first > 0 || last < 3 {
		for q := range uint32(4) {
			if (q < first || q > last) && b.whole>>q&1 == 0 {
				t.storeSlot(s<<2|q, cover|t.slot(s<<2|q)&0xffffffff)
			}
		}
	}
	b.cells = b.dying // a second time only after the purge
}

// slot returns the word of a /18.
func (t *Table) slot(s uint32) uint64 {
	return t.head.Load().slot(packet.Addr(s << slotBits))
}

// storeSlot gives a /18 another word, and a page if it needs one.
func (t *Table) storeSlot(s uint32, word uint64) {
	old := t.slot(s)
	if word == old {
		return
	}
	h := t.head.Load()
	if h.page(s/pageSlots) == 0 {
		h = t.arena.attach(s / pageSlots)
	}
	page := h.page(s / pageSlots)
	if old == emptySlot || word == emptySlot {
		t.arena.count(page, old == emptySlot)
	}
	atomic.StoreUint64(&h.slots[page+s%pageSlots], word)
}

// open writes what a slot says into the cells of quarter q, without the
// dirty ones, and unlinks the blocks that are about to be replaced.
func (t *Table) open(b *bucket, q uint32, slot uint64) {
	quarter := t.work.cells[q*cells:][:cells]
	old := ref(slot)
	if b.whole>>q&1 != 0 {
		fill(quarter, 0, cells-1, uint32(slot>>32))
	} else if old == none {
		clear(quarter)
	} else {
		unfold(t.head.Load().blocks, old, quarter)
	}
	lo, hi := max(uint32(b.lo), q*cells), min(uint32(b.hi), q*cells+cells-1)
	for c := lo; c <= hi; c++ {
		if e := t.work.cells[c]; e&link != 0 {
			t.arena.unlinkDeep(ref(e &^ link))
		}
		t.work.cells[c] = 0
	}
	if old != none {
		t.arena.unlink(old, slotBits)
	}
}

// paint writes the bucket's routes over its dirty cells.
func (t *Table) paint(b *bucket) {
	w := &t.work
	lo, hi := uint32(b.lo), uint32(b.hi)
	i, _ := b.find(lo << 8 << 6)
	// Routes that start before the first dirty cell and reach it.
	for length := 17; length <= 24 && i > 0; length++ {
		low := lo << 8 &^ (1<<(32-length) - 1)
		if low == lo<<8 {
			break // this one, and longer ones, come in their order below
		}
		if j, found := b.find(low<<6 | uint32(length)); found {
			fill(w.cells[:], lo, min(hi, low>>8+1<<(24-length)-1), b.routes[j].value())
		}
	}
	for i < len(b.routes) && b.routes[i].low()>>8 <= hi {
		r := b.routes[i]
		c := r.low() >> 8
		if n := r.length(); n <= 24 {
			fill(w.cells[:], c, min(hi, c+1<<(24-n)-1), r.value())
			i++
			continue
		}
		end := i + 1
		for end < len(b.routes) && b.routes[end].low()>>8 == c {
			end++
		}
		w.cells[c] = t.deepen(w.cells[c], b.routes[i:end])
		i = end
	}
}

// deepen returns the entry for a /24 with longer routes inside, which are in
// order: a link to its block, or a value if they all agree.
func (t *Table) deepen(cover uint32, routes []route) uint32 {
	w := &t.work
	fill(w.deep[:], 0, 255, cover)
	for _, r := range routes {
		c := r.low() & 0xff
		fill(w.deep[:], c, c+1<<(32-r.length())-1, r.value())
	}
	var eighths [deepCells]uint32
	for i := range eighths {
		r, only, single := t.arena.fold(w.deep[i*hostCells:][:hostCells], 0)
		if !single {
			only = link | uint32(r)
		}
		eighths[i] = only
	}
	r, only, single := t.arena.fold(eighths[:], deepBits)
	if !single {
		return link | uint32(r)
	}
	return only
}

func fill(to []uint32, lo, hi, v uint32) {
	part := to[lo : hi+1]
	for i := range part {
		part[i] = v
	}
}

// settle ends a batch: it forgets the marks, lets go of empty regions, and
// compacts the arena when too much of it is unused.
func (t *Table) settle() {
	for _, s := range t.work.dirty {
		r := t.routes.regions[s>>8]
		if r == nil {
			continue
		}
		b := &r.buckets[s&0xff]
		b.dirty, b.cells = false, false
		if r.count == 0 {
			t.routes.regions[s>>8] = nil
			t.routes.regionCount--
		}
	}
	t.work.dirty = t.work.dirty[:0]
	if cap(t.work.dirty) > 4096 {
		t.work.dirty = nil
	}
	if waste, total := t.arena.wasted(); waste > minWaste && waste > total/4 {
		t.arena.compact()
	}
}
