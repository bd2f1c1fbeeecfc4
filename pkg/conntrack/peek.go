package conntrack

import "vrouterd/internal/rcu"

// Peek copies the session of a key, without taking part in it: nothing is refreshed or counted. It enters a read
// section of its own.
func (t *Table) Peek(r *rcu.Reader, now Tick, k *Key) (info Info, d Direction, ok bool) {
	t.domain.Enter(r)
	defer t.domain.Exit(r)
	s, d := t.Find(now, k)
	if s == nil {
		return Info{}, d, false
	}
	return t.info(now, s), d, true
}

// End removes the session of a key, and reports whether there was one. It enters a read section of its own.
func (t *Table) End(r *rcu.Reader, now Tick, k *Key) bool {
	t.domain.Enter(r)
	defer t.domain.Exit(r)
	s, _ := t.Find(now, k)
	return s != nil && t.Remove(now, s)
}
