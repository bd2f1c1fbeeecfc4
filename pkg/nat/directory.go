package nat

import (
	"sync"
	"sync/atomic"

	"vrouterd/internal/packet"
)

// directory finds outside addresses. Readers take no lock: they see one table or the next. It is written when an
// address is used for the first time, and when one that no rule names any more has no port left.
type directory struct {
	mu    sync.Mutex
	table atomic.Pointer[directoryTable]
	count int // slots that are not free, under mu
}

// directoryTable is open addressing with linear probing; a slot once taken stays so until the table is replaced.
type directoryTable struct {
	slots []atomic.Pointer[outside] // a power of two of them
}

func newDirectory() *directory {
	d := &directory{}
	d.table.Store(&directoryTable{slots: make([]atomic.Pointer[outside], 16)})
	return d
}

// get finds an address; nil: nothing of it was ever taken.
func (d *directory) get(a packet.Addr) *outside {
	t := d.table.Load()
	mask := uint64(len(t.slots) - 1)
	for i := mix(uint64(a)) & mask; ; i = (i + 1) & mask {
		o := t.slots[i].Load()
		if o == nil || o.addr == a {
			return o
		}
	}
}

// make finds an address, or adds it.
func (d *directory) make(a packet.Addr) *outside {
	if o := d.get(a); o != nil && !o.gone.Load() {
		return o
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.get(a); o != nil {
		return o
	}
	if d.count++; d.count*2 > len(d.table.Load().slots) {
		d.rebuild(2 * len(d.table.Load().slots))
	}
	o := &outside{addr: a}
	d.table.Load().insert(o)
	return o
}

func (t *directoryTable) insert(o *outside) {
	mask := uint64(len(t.slots) - 1)
	i := mix(uint64(o.addr)) & mask
	for t.slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	t.slots[i].Store(o)
}

// rebuild copies the addresses that are not gone into a new table.
func (d *directory) rebuild(size int) {
	next := &directoryTable{slots: make([]atomic.Pointer[outside], size)}
	old := d.table.Load()
	for i := range old.slots {
		if o := old.slots[i].Load(); o != nil && !o.gone.Load() {
			next.insert(o)
		}
	}
	d.table.Store(next)
}

// prune forgets the addresses without a port that keep does not name. Whoever holds one that is gone takes nothing of it:
// either take sees that it is gone, or prune sees that something was taken.
func (d *directory) prune(keep func(packet.Addr) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gone := 0
	t := d.table.Load()
	for i := range t.slots {
		o := t.slots[i].Load()
		if o == nil || keep(o.addr) || o.resting() {
			continue
		}
		o.gone.Store(true)
		if !o.isEmpty() {
			o.gone.Store(false)
			continue
		}
		gone++
	}
	if gone > 0 {
		d.count -= gone
		d.rebuild(len(t.slots))
	}
}

// mix spreads the bits of a number (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
