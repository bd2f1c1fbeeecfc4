package conntrack

import (
	"sync"

	"vrouterd/internal/packet"
)

// hosts counts the sessions of inside addresses: shards of small arrays with open addressing.
type hosts struct {
	shards [numHostShards]hostShard
}

const numHostShards = 64

type hostShard struct {
	mu    sync.Mutex
	slots []hostSlot // a power of two
	used  int
	_     [24]byte // shards share no cache line
}

// hostSlot is free when it counts nothing.
type hostSlot struct {
	addr  packet.Addr
	count uint32
}

// place finds the slot of an address, or the free one where it would stand.
func (h *hostShard) place(addr packet.Addr) int {
	mask := len(h.slots) - 1
	i := hostHash(addr) >> 6 & mask
	for h.slots[i].count != 0 && h.slots[i].addr != addr {
		i = (i + 1) & mask
	}
	return i
}

// hostHash spreads addresses. It has no seed: who floods the table with inside addresses is inside.
func hostHash(addr packet.Addr) int {
	return int(uint64(addr) * 0x9e3779b97f4a7c15 >> 33)
}

// add counts a session of an address, if it has fewer than most (0: no limit).
func (hs *hosts) add(addr packet.Addr, most int) bool {
	h := &hs.shards[hostHash(addr)&(numHostShards-1)]
	h.mu.Lock()
	defer h.mu.Unlock()
	if (h.used+1)*4 > len(h.slots)*3 {
		old := h.slots
		h.slots = make([]hostSlot, max(16, 2*len(old)))
		for _, slot := range old {
			if slot.count != 0 {
				h.slots[h.place(slot.addr)] = slot
			}
		}
	}
	slot := &h.slots[h.place(addr)]
	if most > 0 && int(slot.count) >= most {
		return false
	}
	if slot.count == 0 {
		h.used++
	}
	slot.addr = addr
	slot.count++
	return true
}

// remove takes a session off.
func (hs *hosts) remove(addr packet.Addr) {
	h := &hs.shards[hostHash(addr)&(numHostShards-1)]
	h.mu.Lock()
	defer h.mu.Unlock()
	gap := h.place(addr)
	if h.slots[gap].count--; h.slots[gap].count != 0 {
		return
	}
	h.used--
	mask := len(h.slots) - 1
	for i := (gap + 1) & mask; h.slots[i].count != 0; i = (i + 1) & mask {
		at := hostHash(h.slots[i].addr) >> 6 & mask
		if (i-at)&mask >= (i-gap)&mask {
			h.slots[gap], h.slots[i] = h.slots[i], hostSlot{}
			gap = i
		}
	}
}

// of is how many sessions an address has.
func (hs *hosts) of(addr packet.Addr) int {
	h := &hs.shards[hostHash(addr)&(numHostShards-1)]
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.slots) == 0 {
		return 0
	}
	return int(h.slots[h.place(addr)].count)
}

// bytes that the arrays hold.
func (hs *hosts) bytes() (n int) {
	for i := range hs.shards {
		h := &hs.shards[i]
		h.mu.Lock()
		n += 8 * len(h.slots)
		h.mu.Unlock()
	}
	return n
}
