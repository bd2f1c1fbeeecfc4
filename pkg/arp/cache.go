package arp

import "vrouterd/internal/packet"

// list holds the neighbours of one state in the order in which they entered it.
type list struct {
	oldest, newest *neighbor
	len            int
}

func (l *list) append(n *neighbor) {
	n.older, n.newer = l.newest, nil
	if l.newest != nil {
		l.newest.newer = n
	} else {
		l.oldest = n
	}
	l.newest = n
	l.len++
}

func (l *list) remove(n *neighbor) {
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		l.oldest = n.newer
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		l.newest = n.older
	}
	n.older, n.newer = nil, nil
	l.len--
}

// create adds a neighbour in no state; the caller feeds it its first input.
func (m *Machine) create(k key) *neighbor {
	n := &neighbor{key: k, created: m.now}
	n.timer.Owner = n
	m.cache[k] = n
	m.lists[StateNone].append(n)
	return n
}

// remove deletes n. Nothing waits for it any more.
func (m *Machine) remove(n *neighbor) {
	m.deadlines.Clear(&n.timer)
	m.lists[n.state].remove(n)
	delete(m.cache, n.key)
}

// forget deletes n for a reason from outside its state machine.
func (m *Machine) forget(n *neighbor, why DropReason) {
	m.unbind(n)
	m.do(Changed{n.port, n.addr, n.state, StateNone, n.mac, packet.MAC{}})
	m.abandon(n, why)
	m.remove(n)
}

// forgetWhere forgets the neighbours that match, in an order that a seed repeats.
func (m *Machine) forgetWhere(why DropReason, match func(*neighbor) bool) {
	for s := range m.lists {
		for n := m.lists[s].oldest; n != nil; {
			next := n.newer
			if match(n) {
				m.forget(n, why)
			}
			n = next
		}
	}
}

func (m *Machine) unresolved() int {
	return m.lists[StateIncomplete].len + m.lists[StateFailed].len
}

func (m *Machine) resolved() int {
	return m.lists[StateReachable].len + m.lists[StateStale].len + m.lists[StateDelay].len + m.lists[StateProbe].len
}

// roomToAsk makes room for one more unresolved neighbour. Unresolved ones replace only each
// other: first a failed one, else the longest asked, once it has had its second to answer.
func (m *Machine) roomToAsk() bool {
	full := m.unresolved()+m.resolved() >= m.cfg.MaxNeighbors
	if m.unresolved() < m.cfg.MaxUnresolved && !full {
		return true
	}
	victim := m.lists[StateFailed].oldest
	if victim == nil {
		victim = m.lists[StateIncomplete].oldest
		if victim != nil && (victim.tries == 0 || m.now.Sub(victim.asked) < m.cfg.Retransmit) {
			victim = nil
		}
	}
	if victim == nil && m.unresolved() < m.cfg.MaxUnresolved {
		victim = m.lists[StateStale].oldest // resolved ones have spread into the budget of the others
	}
	return m.evict(victim)
}

// roomToLearn makes room for a station that was heard.
func (m *Machine) roomToLearn() bool {
	if m.resolved() >= m.cfg.MaxNeighbors-m.cfg.MaxUnresolved {
		return m.evict(m.lists[StateStale].oldest)
	}
	if m.unresolved()+m.resolved() < m.cfg.MaxNeighbors {
		return true
	}
	// Many resolved ones have failed at once and sit in the budget of the others.
	if m.lists[StateFailed].oldest != nil {
		return m.evict(m.lists[StateFailed].oldest)
	}
	return m.evict(m.lists[StateIncomplete].oldest)
}

// trim takes back the room that n, now resolved, has taken from the unresolved ones.
func (m *Machine) trim(n *neighbor) {
	if m.resolved() <= m.cfg.MaxNeighbors-m.cfg.MaxUnresolved {
		return
	}
	if victim := m.lists[StateStale].oldest; victim != n {
		m.evict(victim)
	}
}

func (m *Machine) evict(victim *neighbor) bool {
	if victim == nil {
		return false
	}
	m.count.Evictions++
	m.forget(victim, DropEvicted)
	return true
}
