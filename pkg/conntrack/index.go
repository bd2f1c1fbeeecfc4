package conntrack

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// The index finds entries by key. It is cut into shards by the upper bits of the hash; a shard is an array with open
// addressing and linear probing, of 4-octet references.
//
// Readers take no lock and may be anywhere while a writer works, and yet never miss a key that is there
// throughout. An insertion moves nothing. A growing shard is copied, and readers of the old array see what there was. A removal
// closes its gap by moving later references back (there are no tombstones, so that an index that lives through
// churn is as small and quick as a new one), which a reader between the two places may miss: so it is announced by the shard's
// sequence, and a reader that found nothing looks again when that has changed.

const (
	shardBits = 8
	numShards = 1 << shardBits

	// A reference: 7 bits of the hash (never 0), 24 of the entry's number, 1 of the direction. 0 is no reference.
	tagShift   = 25
	numberMask = 1<<24 - 1
)

// shard of the index. It fills a cache line.
type shard struct {
	array    atomic.Pointer[[]uint32]
	sequence atomic.Uint32 // odd while references are moved
	live     int           // references, guarded by mu
	mu       sync.Mutex
	_        [32]byte
}

// reference to a direction of an entry.
func reference(h uint64, number uint32, d Direction) uint32 {
	return tag(h)<<tagShift | number<<1 | uint32(d)
}

// tag is what a reference holds of a hash, so that other keys' entries are seldom looked at.
func tag(h uint64) uint32 { return max(uint32(h>>40)&127, 1) }

// home is where a key belongs in an array: the lower half of the hash, scaled, so that arrays of any length do.
func home(h uint64, length int) int { return int(uint64(uint32(h)) * uint64(length) >> 32) }

// shardOf a hash.
func (t *Table) shardOf(h uint64) *shard { return &t.shards[h>>(64-shardBits)] }

// hash of a key: two multiplications with the table's seeds between, whose high and low halves are folded.
func (t *Table) hash(addrs uint64, ports uint32, protocol uint8) uint64 {
	high, low := bits.Mul64(addrs^t.seeds[0], (uint64(protocol)<<32|uint64(ports))^t.seeds[1])
	high, low = bits.Mul64(high^low^t.seeds[2], 0x9e3779b97f4a7c15)
	return high ^ low
}

// hashOf a direction of an entry.
func (t *Table) hashOf(s *Session, d Direction) uint64 {
	return t.hash(s.addrs[d], s.ports[d], s.protocol())
}

// Find looks a packet's key up. The caller is inside a read section, here and as long as it uses the session.
// A session whose time is over is not found.
func (t *Table) Find(now Tick, k *Key) (*Session, Direction) {
	addrs, ports := k.words()
	h := t.hash(addrs, ports, k.Protocol)
	sh, wanted := t.shardOf(h), tag(h)
	for {
		sequence := sh.sequence.Load()
		array := *sh.array.Load()
		for i := home(h, len(array)); ; {
			ref := atomic.LoadUint32(&array[i])
			if ref>>tagShift == wanted {
				s, d := t.entry(ref>>1&numberMask), Direction(ref&1)
				if s.matches(d, addrs, ports, k.Protocol) && !t.over(now, s) {
					return s, d
				}
			} else if ref == 0 {
				break
			}
			if i++; i == len(array) {
				i = 0
			}
		}
		if sequence&1 == 0 && sh.sequence.Load() == sequence {
			return nil, Original
		}
	}
}

// holder finds the live session that has a key. The shard is locked.
func (t *Table) holder(sh *shard, h uint64, k *Key) (*Session, Direction) {
	addrs, ports := k.words()
	array, wanted := *sh.array.Load(), tag(h)
	for i := home(h, len(array)); array[i] != 0; {
		if ref := array[i]; ref>>tagShift == wanted {
			s, d := t.entry(ref>>1&numberMask), Direction(ref&1)
			if s.matches(d, addrs, ports, k.Protocol) {
				return s, d
			}
		}
		if i++; i == len(array) {
			i = 0
		}
	}
	return nil, Original
}

// insert adds a reference. The shard is locked.
func (t *Table) insert(sh *shard, h uint64, ref uint32) {
	array := *sh.array.Load()
	if (sh.live+1)*4 > len(array)*3 {
		array = t.grow(sh)
	}
	atomic.StoreUint32(&array[vacant(array, h)], ref)
	sh.live++
}

// vacant finds the first free place from a hash's home on.
func vacant(array []uint32, h uint64) int {
	i := home(h, len(array))
	for array[i] != 0 {
		if i++; i == len(array) {
			i = 0
		}
	}
	return i
}

// grow copies a shard's references into an array half as long again, so that arrays are between a half and three quarters full: the
// references of a session cost 16 octets at the most, and a session 128.
func (t *Table) grow(sh *shard) []uint32 {
	old := *sh.array.Load()
	array := make([]uint32, len(old)*3/2)
	for _, ref := range old {
		if ref != 0 {
			// A plain store, as nobody sees the array yet: the processor reads many entries at once.
			array[vacant(array, t.hashOf(t.entry(ref>>1&numberMask), Direction(ref&1)))] = ref
		}
	}
	sh.array.Store(&array)
	return array
}

// remove takes a reference out and closes the gap. The shard is locked.
func (t *Table) remove(sh *shard, h uint64, ref uint32) {
	array := *sh.array.Load()
	gap := home(h, len(array))
	for array[gap] != ref {
		if gap++; gap == len(array) {
			gap = 0
		}
	}
	sh.sequence.Add(1)
	for i := gap; ; {
		if i++; i == len(array) {
			i = 0
		}
		if array[i] == 0 {
			break
		}
		// What belongs behind the gap stays; what belongs at it or before it moves.
		at := home(t.hashOf(t.entry(array[i]>>1&numberMask), Direction(array[i]&1)), len(array))
		if distance(at, i, len(array)) >= distance(gap, i, len(array)) {
			atomic.StoreUint32(&array[gap], array[i])
			gap = i
		}
	}
	atomic.StoreUint32(&array[gap], 0)
	sh.sequence.Add(1)
	sh.live--
}

// distance from one place to a later one, around the end.
func distance(from, to, length int) int {
	if to < from {
		to += length
	}
	return to - from
}

// lockBoth locks the shards of two keys, in the order of the shards.
func (t *Table) lockBoth(a, b uint64) {
	// Both places are fetched from memory at once, rather than one after the other between the locks.
	t.touch(a)
	t.touch(b)
	x, y := a>>(64-shardBits), b>>(64-shardBits)
	if x > y {
		x, y = y, x
	}
	t.shards[x].mu.Lock()
	if y != x {
		t.shards[y].mu.Lock()
	}
}

// touch reads where a hash's references stand.
func (t *Table) touch(h uint64) {
	array := *t.shardOf(h).array.Load()
	atomic.LoadUint32(&array[home(h, len(array))])
}

// unlockBoth unlocks them.
func (t *Table) unlockBoth(a, b uint64) {
	x, y := t.shardOf(a), t.shardOf(b)
	x.mu.Unlock()
	if y != x {
		y.mu.Unlock()
	}
}
