package conntrack

import "sync"

// The wheel finds sessions whose time is over. It is cut into rings, each with its own lock, by the numbers of entries. A ring has a
// bucket for every 0.8 seconds of the next 7 minutes, and a bucket is a doubly linked list through its entries. Packets do not touch
// it: they write the time into their entry. When a bucket is due, each of its entries has ended, or is filed
// anew by the deadline that it has by then; deadlines beyond the last bucket are filed there. Only what shortens a deadline tells the wheel:
// a change of state, and a change of timeouts.
//
// Openings from outside that are not established yet wait in a list of their own in each ring, the oldest last: it is the first to go where
// there are too many of them (see displace). One that has been established is filed into a bucket when it comes to the end of that list.

const (
	numRings   = 16
	numBuckets = 512
	pending    = numBuckets     // one more list: the entries of a bucket that is being looked through
	openings   = numBuckets + 1 // and one: openings from outside
	bucketBits = 3              // a bucket is 8 ticks

	headFlag = 1 << 31   // a prev that is the head of a list
	unfiled  = 1<<32 - 1 // a prev: in no list
	horizon  = numBuckets - 1
)

type ring struct {
	mu      sync.Mutex
	started bool
	cursor  uint32 // the last bucket that was due, counted from tick 0
	sweep   int    // buckets that are to be looked through although they are not due
	heads   [numBuckets + 2]uint32
	oldest  uint32 // the last of openings
	_       [64]byte
}

// ringOf an entry.
func (t *Table) ringOf(number uint32) *ring { return &t.rings[number%numRings] }

// push puts an entry into a list.
func (t *Table) push(r *ring, list uint32, number uint32, s *Session) {
	head := r.heads[list]
	s.next, s.prev = head, headFlag|list
	if head != 0 {
		t.entry(head).prev = number
	} else if list == openings {
		r.oldest = number
	}
	r.heads[list] = number
}

// unlink takes an entry out of its list, if it is in one.
func (t *Table) unlink(r *ring, s *Session) {
	if s.prev == unfiled {
		return
	}
	if r.oldest != 0 && t.entry(r.oldest) == s {
		if r.oldest = s.prev; s.prev&headFlag != 0 {
			r.oldest = 0
		}
	}
	switch {
	case s.prev&headFlag != 0:
		r.heads[s.prev&^headFlag] = s.next
	default:
		t.entry(s.prev).next = s.next
	}
	if s.next != 0 {
		t.entry(s.next).prev = s.prev
	}
	s.prev = unfiled
}

// place files an entry by its deadline.
func (t *Table) place(r *ring, now Tick, number uint32, s *Session) {
	if !r.started {
		r.started, r.cursor = true, uint32(now)>>bucketBits
	}
	if s.word.Load()&halfOpen != 0 {
		t.push(r, openings, number, s)
		return
	}
	due := uint32(t.deadline(s)+1<<bucketBits-1) >> bucketBits
	ahead := int32((due-r.cursor)<<bucketBits) >> bucketBits
	t.push(r, (r.cursor+uint32(min(max(ahead, 1), horizon)))%numBuckets, number, s)
}

// file puts a new session into the wheel, unless it has ended already.
func (t *Table) file(now Tick, number uint32, s *Session) {
	r := t.ringOf(number)
	r.mu.Lock()
	if s.word.Load()&alive != 0 {
		t.place(r, now, number, s)
	}
	r.mu.Unlock()
}

// refile puts a session where its deadline, which has become shorter, belongs.
func (t *Table) refile(now Tick, s *Session) {
	number := t.numberOf(s)
	if number == 0 {
		return // it has ended
	}
	r := t.ringOf(number)
	r.mu.Lock()
	if s.prev != unfiled && s.word.Load()&alive != 0 {
		t.unlink(r, s)
		t.place(r, now, number, s)
	}
	r.mu.Unlock()
}

// unfile takes a session that has ended out of the wheel.
func (t *Table) unfile(number uint32, s *Session) {
	r := t.ringOf(number)
	r.mu.Lock()
	t.unlink(r, s)
	r.mu.Unlock()
}

// corpse is an entry that Expire has ended.
type corpse struct {
	number, word uint32
	s            *Session
}

// Expire removes what is due, at most budget sessions, and says when it wants to be called next (now, if there is more).
// One goroutine calls it, outside of read sections or inside of one.
func (t *Table) Expire(now Tick, budget int) (removed int, next Tick) {
	const (
		batch = 64   // sessions that end under one hold of a ring's lock
		looks = 1024 // entries that are looked at under it
	)
	var dead [batch]corpse
	visits := 4*budget + numRings*looks
	more := false
	for i := range t.rings {
		r := &t.rings[i]
		for done := false; !done; {
			if removed >= budget || visits <= 0 {
				more = true
				break
			}
			r.mu.Lock()
			n, looked := 0, 0
			n, looked, done = t.turn(r, now, dead[:min(batch, budget-removed)], min(looks, visits))
			r.mu.Unlock()
			visits -= looked
			for _, c := range dead[:n] {
				t.expired.Add(1)
				t.bury(now, c.number, c.s, c.word)
			}
			removed += n
		}
	}
	t.slab.mu.Lock()
	t.harvest()
	t.slab.mu.Unlock()
	if more {
		return removed, now
	}
	return removed, now + 1<<bucketBits
}

// turn brings a ring up to the present: it ends as many sessions as dead has room for, and looks at no more entries than looks. done: nothing is left
// to do. The ring is locked.
func (t *Table) turn(r *ring, now Tick, dead []corpse, looks int) (n, looked int, done bool) {
	target := uint32(now) >> bucketBits
	if !r.started {
		r.started, r.cursor = true, target
	}
	if behind := int32((target-r.cursor)<<bucketBits) >> bucketBits; behind > numBuckets {
		r.cursor = target - numBuckets // once around is enough
	}
	for n < len(dead) && looked < looks {
		number := r.oldest
		if number == 0 || t.stays(now, t.entry(number)) {
			number = r.heads[pending]
		}
		if number == 0 {
			switch {
			case r.sweep > 0:
				r.sweep--
				t.draw(r, uint32(r.sweep))
			case int32((target-r.cursor)<<bucketBits) > 0:
				r.cursor++
				t.draw(r, r.cursor%numBuckets)
			default:
				return n, looked, true
			}
			continue
		}
		s := t.entry(number)
		t.unlink(r, s)
		looked++
		if !t.over(now, s) {
			t.place(r, now, number, s)
			continue
		}
		switch word, verdict := t.kill(s, now, isOver); verdict {
		case killed:
			dead[n] = corpse{number, word, s}
			n++
		case spared:
			t.place(r, now, number, s)
		case deadAlready: // whoever ended it finds it in no list, and goes on
		}
	}
	return n, looked, false
}

// stays reports that an entry belongs into the list of openings still.
func (t *Table) stays(now Tick, s *Session) bool {
	return s.word.Load()&halfOpen != 0 && !t.over(now, s)
}

// displace ends the oldest opening from outside of the ring whose turn it is, to make room for a new one. Rings have like numbers of
// openings of like ages, as entries are given out evenly: so it is nearly the oldest of all.
func (t *Table) displace(now Tick) {
	const looks = 64 // those established since
	for range numRings {
		r := &t.rings[t.next.Add(1)%numRings]
		r.mu.Lock()
		for looked := 0; looked < looks && r.oldest != 0; looked++ {
			number := r.oldest
			s := t.entry(number)
			t.unlink(r, s)
			word, verdict := t.kill(s, now, isOpening)
			if verdict == killed {
				r.mu.Unlock()
				t.displaced.Add(1)
				t.bury(now, number, s, word)
				return
			}
			if verdict == spared {
				t.place(r, now, number, s)
			}
		}
		r.mu.Unlock()
	}
}

// draw makes a bucket the list that is being looked through, which is empty.
func (t *Table) draw(r *ring, bucket uint32) {
	head := r.heads[bucket]
	if head != 0 {
		t.entry(head).prev = headFlag | pending
	}
	r.heads[pending], r.heads[bucket] = head, 0
}
