package conntrack

import "vrouterd/internal/packet"

// Create makes a session from its first packet, which it takes into account as Update does. The caller is in a read section. If another
// worker was faster and the same session exists (one whose original direction has the same key), that one is returned, with
// n.Existed set. With a reason other than ReasonNone none was made: full, limits,
// or a key of it belongs to another session (ReasonClash: choose another port). A session whose time is over
// is no obstacle, and ends here if it has not yet.
func (t *Table) Create(now Tick, n *New, p *Parsed) (*Session, Reason) {
	n.Existed = false
	set := t.settings.Load()
	if r := mayOpen(set, p); r != ReasonNone {
		return nil, t.refuse(r)
	}
	original, reply := t.hashKey(&n.Original), t.hashKey(&n.Reply)
	t.lockBoth(original, reply)
	s, d, other := t.holders(n, original, reply)
	for s != nil {
		if !t.over(now, s) {
			t.unlockBoth(original, reply)
			if other || d != Original {
				return nil, t.refuse(ReasonClash)
			}
			n.Existed = true
			return s, s.Update(t, now, Original, p, false)
		}
		t.unlockBoth(original, reply)
		if word, verdict := t.kill(s, now, true); verdict == killed {
			t.expired.Add(1)
			number := t.numberOf(s)
			t.unfile(number, s)
			t.bury(now, number, s, word)
		}
		t.lockBoth(original, reply)
		s, d, other = t.holders(n, original, reply)
	}
	number, s, r := t.make(now, set, n, p)
	if r != ReasonNone {
		t.unlockBoth(original, reply)
		return nil, t.refuse(r)
	}
	t.insert(t.shardOf(original), original, reference(original, number, Original))
	if n.Reply != n.Original {
		t.insert(t.shardOf(reply), reply, reference(reply, number, Reply))
	}
	t.unlockBoth(original, reply)
	t.file(now, number, s)
	return s, ReasonNone
}

// hashKey is the hash of a key.
func (t *Table) hashKey(k *Key) uint64 {
	addrs, ports := k.words()
	return t.hash(addrs, ports, k.Protocol)
}

// holders finds a session that has one of the keys of a new one, first that of the original direction; other: it has the
// reply's. Both shards are locked.
func (t *Table) holders(n *New, original, reply uint64) (s *Session, d Direction, other bool) {
	if s, d = t.holder(t.shardOf(original), original, &n.Original); s != nil {
		return s, d, false
	}
	s, d = t.holder(t.shardOf(reply), reply, &n.Reply)
	return s, d, true
}

// mayOpen reports whether a packet can make a session: what opens one, and with loose pick-up a TCP segment from the middle
// of a connection. One that ends it (FIN, RST), or answers to an opening that nobody saw (SYN-ACK), cannot.
func mayOpen(set *settings, p *Parsed) Reason {
	switch {
	case p.Class == ClassOpens, set.loose && p.PicksUp():
		return ReasonNone
	case p.Class == ClassInvalid:
		return p.Reason
	}
	return ReasonNoSession
}

// insideShare is the part of the table, an eighth, that sessions opened from outside do not get: a flood of datagrams to a forwarded
// port, which MaxHalfOpen does not see, must not keep inside from opening anything.
const insideShare = 8

// PicksUp reports a packet that can make a session in the middle of a connection, where that is allowed.
func (p *Parsed) PicksUp() bool {
	return p.Class == ClassContinues && p.Key.Protocol == protocolTCP && p.Flags&(packet.TCPSyn|packet.TCPFin|packet.TCPRst) == 0
}

// make counts a new session against the limits and fills its entry. The shards are locked.
func (t *Table) make(now Tick, set *settings, n *New, p *Parsed) (number uint32, s *Session, r Reason) {
	most := set.max
	if n.Flags&FromOutside != 0 {
		most -= set.max / insideShare
	}
	if t.live.Add(1) > most {
		t.live.Add(-1)
		return 0, nil, ReasonTableFull
	}
	word := uint32(n.Original.Protocol)<<protocolShift | uint32(n.Flags)<<flagsShift | insideBits(n) | uint32(firstPhase(n.Original.Protocol))
	if n.Original.Protocol == protocolTCP && p.Class == ClassOpens && n.Flags&FromOutside != 0 {
		if !t.addHalfOpen(set) {
			t.live.Add(-1)
			return 0, nil, ReasonHalfOpen
		}
		word |= halfOpen
	}
	if word&insideMask != 0 && !t.hosts.add(n.Inside, set.perHost) {
		t.release(word, 0)
		return 0, nil, ReasonHostLimit
	}
	number, s = t.allocate(set.slabLimit, n.Original.Protocol, n.Flags)
	if s == nil {
		if word&insideMask != 0 {
			t.release(word, n.Inside)
		} else {
			t.release(word, 0)
		}
		return 0, nil, ReasonTableFull
	}
	s.addrs[Original], s.ports[Original] = n.Original.words()
	s.addrs[Reply], s.ports[Reply] = n.Reply.words()
	s.headerDelta, s.transportDelta = deltas(n.Original, n.Reply.Reverse())
	s.refreshed.Store(uint32(now))
	s.seen = now
	s.routes[Original].Store(routeWord(noAdjacency, n.In, n.Rule))
	s.routes[Reply].Store(routeWord(noAdjacency, n.Out, n.NATRule))
	s.next, s.prev = 0, unfiled
	s.counts = [2]count{}
	s.counts[Original].add(uint32(p.Count), uint32(p.Length))
	s.end, s.limit, s.window = [2]uint32{}, [2]uint32{}, [2]window{}
	switch {
	case n.Original.Protocol == protocolICMP:
		s.end[Original] = uint32(p.ICMPType)
	case n.Original.Protocol == protocolTCP && p.Class == ClassOpens:
		word = s.opening(word, p)
	case n.Original.Protocol == protocolTCP:
		word = s.pickUp(word, p)
	}
	s.word.Store(word | alive)
	return number, s, ReasonNone
}

// addHalfOpen counts an unanswered opening, if there may be one more.
func (t *Table) addHalfOpen(set *settings) bool {
	if t.halfOpen.Add(1) > set.halfOpen {
		t.halfOpen.Add(-1)
		return false
	}
	return true
}

// release takes a session off the limits.
func (t *Table) release(word uint32, inside packet.Addr) {
	t.live.Add(-1)
	if word&halfOpen != 0 {
		t.halfOpen.Add(-1)
	}
	if inside != 0 {
		t.hosts.remove(inside)
	}
}

// Remove ends a session, now. It reports false when somebody else has already. The caller is in a read section.
func (t *Table) Remove(now Tick, s *Session) bool {
	word, verdict := t.kill(s, now, false)
	if verdict != killed {
		return false
	}
	t.removed.Add(1)
	number := t.numberOf(s)
	t.unfile(number, s)
	t.bury(now, number, s, word)
	return true
}

// verdict of an attempt to end a session.
type verdict uint8

const (
	killed      verdict = iota // by this call, which is to bury it
	deadAlready                // by another
	refreshed                  // it has more time
)

// kill ends a session: nobody finds it any more. With onlyOver it must have had its time.
func (t *Table) kill(s *Session, now Tick, onlyOver bool) (word uint32, v verdict) {
	w := s.lock()
	switch {
	case w&alive == 0:
		v = deadAlready
	case onlyOver && t.over(now, s):
		v = killed
	case onlyOver:
		v = refreshed
	}
	if v == killed {
		w &^= alive
	}
	s.word.Store(w)
	return w, v
}

// bury removes what a session that was killed has left in index and counters, once the wheel does not know it any more.
func (t *Table) bury(now Tick, number uint32, s *Session, word uint32) {
	original, reply := t.hashOf(s, Original), t.hashOf(s, Reply)
	t.lockBoth(original, reply)
	t.remove(t.shardOf(original), original, reference(original, number, Original))
	if s.addrs[Original] != s.addrs[Reply] || s.ports[Original] != s.ports[Reply] {
		t.remove(t.shardOf(reply), reply, reference(reply, number, Reply))
	}
	t.unlockBoth(original, reply)
	t.release(word, s.inside(word))
	if t.ended != nil {
		t.ended(now, s)
	}
	t.retire(number, s)
}

// numberOf an entry: the index knows it; 0: it has left the index.
func (t *Table) numberOf(s *Session) uint32 {
	h := t.hashOf(s, Original)
	sh := t.shardOf(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	array := *sh.array.Load()
	for i := home(h, len(array)); array[i] != 0; {
		if number := array[i] >> 1 & numberMask; t.entry(number) == s {
			return number
		}
		if i++; i == len(array) {
			i = 0
		}
	}
	return 0
}
