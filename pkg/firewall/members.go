package firewall

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// members are the addresses that rules and users have put into a set. Whoever looks one up takes no lock: a slot is one word, address and
// expiry together, and a slot in use never gets another address; tables are replaced whole. Changes lock one shard.
type members struct {
	seed   uint64
	filed  atomic.Int64  // slots with an address, the expired ones that nobody has swept yet included
	swept  atomic.Uint32 // tick of the last sweep of all shards, plus one
	full   atomic.Uint64 // additions refused because the set was full
	shards [memberShards]memberShard
}

const memberShards = 16

type memberShard struct {
	sync.Mutex
	table atomic.Pointer[memberTable]
	used  int // slots that are not empty, dead ones included
}

type memberTable struct{ slots []atomic.Uint64 } // a power of two of them; a quarter at least is empty

// Expiries of slots besides a tick. Tick 1 itself is no loss: a member that ends in the first tenth of a second is none.
const (
	dead  conntrack.Tick = 1 // was taken out
	never                = ^conntrack.Tick(0)
)

func slot(a packet.Addr, expires conntrack.Tick) uint64 { return uint64(a)<<32 | uint64(expires) }

func slotAddr(e uint64) packet.Addr       { return packet.Addr(e >> 32) }
func slotExpires(e uint64) conntrack.Tick { return conntrack.Tick(e) }

// live reports whether a slot's address is a member now.
func live(e uint64, now conntrack.Tick) bool {
	x := slotExpires(e)
	return x == never || x > now && x != dead
}

func newMembers() *members { return &members{seed: rand.Uint64()} }

func (m *members) shard(a packet.Addr) (*memberShard, uint64) {
	h := scatter(m.seed, a)
	return &m.shards[h%memberShards], h / memberShards
}

// find is the slot of an address, or nil.
func (t *memberTable) find(h uint64, a packet.Addr) *atomic.Uint64 {
	if t == nil {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch e := t.slots[i].Load(); {
		case e == 0:
			return nil
		case slotAddr(e) == a:
			return &t.slots[i]
		}
	}
}

// expires is when an address ceases to be a member; 0: it is none.
func (m *members) expires(now conntrack.Tick, a packet.Addr) conntrack.Tick {
	s, h := m.shard(a)
	if at := s.table.Load().find(h, a); at != nil {
		if e := at.Load(); live(e, now) {
			return slotExpires(e)
		}
	}
	return 0
}

// add makes an address a member until expires. With extend a membership only becomes longer. It reports false when the set has
// most members already.
func (m *members) add(now conntrack.Tick, a packet.Addr, expires conntrack.Tick, extend bool, most int) bool {
	s, h := m.shard(a)
	if at := s.table.Load().find(h, a); at != nil {
		if e := at.Load(); live(e, now) && (slotExpires(e) == expires || extend && slotExpires(e) > expires) {
			return true // a flood from one source adds it over and over
		}
	}
	reserved := m.filed.Add(1) <= int64(most)
	if !reserved {
		m.filed.Add(-1)
		m.sweep(now)
		if reserved = m.filed.Add(1) <= int64(most); !reserved {
			m.filed.Add(-1)
		}
	}
	s.Lock()
	defer s.Unlock()
	if at := s.table.Load().find(h, a); at != nil {
		e := at.Load()
		was := slotExpires(e) != dead
		if was && reserved {
			m.filed.Add(-1) // it is filed already
		}
		if !was && !reserved {
			m.full.Add(1)
			return false
		}
		if extend && live(e, now) {
			expires = max(expires, slotExpires(e))
		}
		at.Store(slot(a, expires))
		return true
	}
	if !reserved {
		m.full.Add(1)
		return false
	}
	m.insert(s, now, h, slot(a, expires))
	return true
}

// insert files a new address in a locked shard.
func (m *members) insert(s *memberShard, now conntrack.Tick, h uint64, e uint64) {
	t := s.table.Load()
	if t == nil || s.used+1 > len(t.slots)*3/4 {
		t = m.rebuild(s, now, 1)
	}
	t.place(h, e)
	s.used++
}

func (t *memberTable) place(h uint64, e uint64) {
	mask := uint64(len(t.slots) - 1)
	i := h & mask
	for t.slots[i].Load() != 0 {
		i = (i + 1) & mask
	}
	t.slots[i].Store(e)
}

// rebuild copies what lives in a locked shard to a new table with room for more.
func (m *members) rebuild(s *memberShard, now conntrack.Tick, more int) *memberTable {
	old := s.table.Load()
	n := more
	if old != nil {
		for i := range old.slots {
			if e := old.slots[i].Load(); e != 0 && live(e, now) {
				n++
			}
		}
	}
	size := 8
	for size < 2*n {
		size *= 2
	}
	t := &memberTable{slots: make([]atomic.Uint64, size)}
	s.used = 0
	if old != nil {
		for i := range old.slots {
			e := old.slots[i].Load()
			switch {
			case e == 0 || slotExpires(e) == dead:
			case live(e, now):
				_, h := m.shard(slotAddr(e))
				t.place(h, e)
				s.used++
			default:
				m.filed.Add(-1)
			}
		}
	}
	s.table.Store(t)
	return t
}

// sweep forgets the expired, of all shards, at most once a tick.
func (m *members) sweep(now conntrack.Tick) {
	if old := m.swept.Load(); old == uint32(now)+1 || !m.swept.CompareAndSwap(old, uint32(now)+1) {
		return
	}
	for i := range m.shards {
		s := &m.shards[i]
		s.Lock()
		if t := s.table.Load(); t != nil && t.expired(now) {
			m.rebuild(s, now, 0)
		}
		s.Unlock()
	}
}

func (t *memberTable) expired(now conntrack.Tick) bool {
	for i := range t.slots {
		if e := t.slots[i].Load(); e != 0 && slotExpires(e) != dead && !live(e, now) {
			return true
		}
	}
	return false
}

// remove takes an address out. It reports false when it is not filed.
func (m *members) remove(a packet.Addr) bool {
	s, h := m.shard(a)
	s.Lock()
	defer s.Unlock()
	at := s.table.Load().find(h, a)
	if at == nil || slotExpires(at.Load()) == dead {
		return false
	}
	at.Store(slot(a, dead))
	m.filed.Add(-1)
	return true
}

// each calls f with the members of now until it returns false.
func (m *members) each(now conntrack.Tick, f func(a packet.Addr, expires conntrack.Tick) bool) {
	for i := range m.shards {
		t := m.shards[i].table.Load()
		if t == nil {
			continue
		}
		for i := range t.slots {
			if e := t.slots[i].Load(); e != 0 && live(e, now) && !f(slotAddr(e), slotExpires(e)) {
				return
			}
		}
	}
}
