package conntrack

import (
	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// Len is how many sessions there are, those included whose time is over but which Expire has not met yet.
func (t *Table) Len() int { return int(t.live.Load()) }

// HostSessions is how many sessions count for an inside address (New.Inside).
func (t *Table) HostSessions(inside packet.Addr) int { return t.hosts.of(inside) }

// Bytes of memory that the table holds.
func (t *Table) Bytes() int {
	t.slab.mu.Lock()
	n := int(t.slab.made) * sessionSize
	t.slab.mu.Unlock()
	for i := range t.shards {
		n += 4 * len(*t.shards[i].array.Load())
	}
	return n + tableSize + t.hosts.bytes()
}

// Counts of what happened, by reason and by kind; for counters, drops and metrics.
func (t *Table) Counts() Counts {
	c := Counts{
		Expired: t.expired.Load(), Removed: t.removed.Load(), Displaced: t.displaced.Load(),
		ByProtocol: map[uint8]int{}, HalfOpen: int(t.halfOpen.Load()),
	}
	t.slab.mu.Lock()
	c.Created, c.Translated = t.slab.created, t.slab.translated
	for i, n := range t.slab.protocols {
		if n != 0 {
			c.ByProtocol[uint8(i)] = int(n)
		}
	}
	t.slab.mu.Unlock()
	for i := range t.refused {
		c.Refused[i] = t.refused[i].Load()
	}
	return c
}

// Counts of a table since it was made.
type Counts struct {
	Created, Expired, Removed uint64
	Displaced                 uint64             // openings from outside that made room for newer ones
	Refused                   [NumReasons]uint64 // by Create and Update
	ByProtocol                map[uint8]int      // sessions now
	HalfOpen                  int
	Translated                int // sessions now whose addresses or ports NAT changes
}

// Filter selects sessions to look at; zero fields match everything.
type Filter struct {
	Address  packet.Addr // any of the four
	Port     uint16      // any of the four
	Protocol uint8
	NATOnly  bool
	Test     func(*Session) bool // nil: all; it is called in a read section, and must be brief
}

// matches a live session.
func (f *Filter) matches(s *Session) bool {
	if f.Protocol != 0 && s.protocol() != f.Protocol {
		return false
	}
	if f.NATOnly && s.Flags()&(SourceTranslated|DestTranslated) == 0 {
		return false
	}
	if f.Address != 0 || f.Port != 0 {
		a, b := s.Key(Original), s.Key(Reply)
		if f.Address != 0 && f.Address != a.Src && f.Address != a.Dst && f.Address != b.Src && f.Address != b.Dst {
			return false
		}
		if f.Port != 0 && f.Port != a.SrcPort && f.Port != a.DstPort && f.Port != b.SrcPort && f.Port != b.DstPort {
			return false
		}
	}
	return f.Test == nil || f.Test(s)
}

// Info is a copy of a session for tables.
type Info struct {
	Original, Reply Key
	State           State
	Flags           Flags
	In, Out         uint16
	NATRule, Rule   uint16
	Idle, Expires   Tick // from now
	Packets, Bytes  [2]uint64
}

// info copies a live session.
func (t *Table) info(now Tick, s *Session) Info {
	i := Info{Original: s.Key(Original), Reply: s.Key(Reply), Flags: s.Flags(), State: s.State()}
	i.In, i.Out = s.Ports()
	i.Rule, i.NATRule = s.Rules()
	if left := int32(t.deadline(s) - now); left > 0 {
		i.Expires = Tick(left)
	}
	w := s.lock()
	if idle := int32(now - s.seen); idle > 0 {
		i.Idle = Tick(idle)
	}
	for d := range s.counts {
		i.Packets[d], i.Bytes[d] = s.counts[d].values()
	}
	s.word.Store(w)
	return i
}

const (
	// section is how many entries are looked at in one read section of Page and Flush.
	section = 1024
	// sections is how many of them one call of Page may take.
	sections = 64
)

// Page copies sessions that match, at most limit of them, from the cursor on (0: the beginning), and returns the
// next cursor, 0 at the end. It looks at no more than a bounded number of entries a call (so it may return fewer than
// limit and a cursor). It enters read sections of its own: call it from outside of one, from any goroutine. Sessions that live
// throughout are seen exactly once. Those whose time is over are left out.
func (t *Table) Page(r *rcu.Reader, now Tick, f Filter, cursor uint64, limit int) (page []Info, next uint64) {
	for range sections {
		var found bool
		if cursor, found = t.walk(r, now, &f, cursor, func(s *Session) bool {
			page = append(page, t.info(now, s))
			return len(page) < limit
		}); !found || len(page) >= limit {
			break
		}
	}
	return page, cursor
}

// Flush removes the sessions that match, and returns how many. It may be called from any goroutine, outside of read sections.
func (t *Table) Flush(r *rcu.Reader, now Tick, f Filter) int {
	removed := 0
	for cursor, more := uint64(0), true; more; {
		cursor, more = t.walk(r, now, &f, cursor, func(s *Session) bool {
			if t.Remove(now, s) {
				removed++
			}
			return true
		})
	}
	return removed
}

// walk shows the sessions that match among the next entries, in one read section, until visit has enough. It returns where to go
// on, 0 at the end, and whether there is more.
func (t *Table) walk(r *rcu.Reader, now Tick, f *Filter, cursor uint64, visit func(*Session) bool) (next uint64, more bool) {
	t.slab.mu.Lock()
	end := uint64(t.slab.fresh)
	t.slab.mu.Unlock()
	cursor = max(cursor, 1)
	t.domain.Enter(r)
	defer t.domain.Exit(r)
	for stop := min(cursor+section, end); cursor < stop; {
		s := t.entry(uint32(cursor))
		cursor++
		if s.word.Load()&alive != 0 && !t.over(now, s) && f.matches(s) && !visit(s) {
			break
		}
	}
	if cursor >= end {
		return 0, false
	}
	return cursor, true
}
