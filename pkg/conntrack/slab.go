package conntrack

import (
	"sync"
	"sync/atomic"

	"vrouterd/internal/rcu"
)

// The slab holds the entries, in chunks that are made as they are needed and stay. Entries have numbers from 1 on. An entry that has
// ended goes through two lists before it is free: open, while others join it, and closed, until the grace period that began when the list
// was closed has passed.

const (
	chunkBits = 12
	chunkSize = 1 << chunkBits
	numChunks = (numberMask + 1) / chunkSize

	// maxSessions is what the references of the index can number.
	maxSessions = numberMask - 2*chunkSize
)

type chunk [chunkSize]Session

type slab struct {
	chunks [numChunks]atomic.Pointer[chunk]

	_      [64]byte // every packet reads chunks, and new sessions write what follows
	mu     sync.Mutex
	made   uint32 // numbers below have a chunk
	fresh  uint32 // numbers from here on have never been used
	free   uint32 // heads of lists through next; 0: empty
	closed uint32
	open   uint32
	token  rcu.Token // of closed

	created    uint64
	protocols  [256]int32 // sessions of each
	translated int        // sessions that NAT changes
}

// entry by its number.
func (t *Table) entry(number uint32) *Session {
	return &t.slab.chunks[number>>chunkBits&(numChunks-1)].Load()[number&(chunkSize-1)]
}

// allocate takes a free entry for a session of a protocol; 0: there is none below the limit.
func (t *Table) allocate(limit uint32, protocol uint8, flags Flags) (uint32, *Session) {
	b := &t.slab
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.free == 0 {
		t.harvest()
	}
	if b.free == 0 && b.fresh > limit {
		return 0, nil
	}
	b.created++
	b.protocols[protocol]++
	if flags&(SourceTranslated|DestTranslated) != 0 {
		b.translated++
	}
	if number := b.free; number != 0 {
		s := t.entry(number)
		b.free = s.next
		return number, s
	}
	if b.fresh == b.made {
		b.chunks[b.made>>chunkBits].Store(new(chunk))
		b.made += chunkSize
	}
	b.fresh++
	return b.fresh - 1, t.entry(b.fresh - 1)
}

// harvest frees what nobody can hold any more, if nothing is free, and closes the open list if it can. The slab is locked.
func (t *Table) harvest() {
	b := &t.slab
	if b.closed != 0 && b.free == 0 && t.domain.Passed(b.token) {
		b.free, b.closed = b.closed, 0
	}
	if b.closed == 0 && b.open != 0 {
		b.closed, b.open = b.open, 0
		b.token = t.domain.Retire()
	}
}

// retire puts an entry to rest that no list and no index knows any more.
func (t *Table) retire(number uint32, s *Session) {
	b := &t.slab
	protocol, flags := s.protocol(), s.Flags()
	b.mu.Lock()
	s.next, b.open = b.open, number
	b.protocols[protocol]--
	if flags&(SourceTranslated|DestTranslated) != 0 {
		b.translated--
	}
	b.mu.Unlock()
}
