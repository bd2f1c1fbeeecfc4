package arp

import "time"

// pacer keeps the machine's broadcasts within its rates. It gives every request a
// turn rather than refusing it: a queue is what lets the first ping of a hundred hosts
// arrive, where a plain limit would lose most of them.
type pacer struct {
	gap   time.Duration // between two requests at full rate
	burst time.Duration // how far ahead of the rate a burst may run
	due   time.Time     // when the requests granted so far would have left at full rate

	hold  time.Duration // between two requests for one address
	asked map[key]time.Time
	order []stamp // asked, oldest first, from head on
	head  int
}

type stamp struct {
	key key
	at  time.Time
}

func newPacer(c Config) pacer {
	gap := max(time.Second/time.Duration(c.RequestRate), 1)
	return pacer{
		gap:   gap,
		burst: gap * time.Duration(c.RequestBurst-1),
		hold:  c.Retransmit,
		asked: map[key]time.Time{},
	}
}

// wait is how long a request that is granted now would queue.
func (p *pacer) wait(now time.Time) time.Duration {
	return max(p.due.Add(-p.burst).Sub(now), 0)
}

// reserve grants a request and tells when its turn is, now at the earliest.
func (p *pacer) reserve(now time.Time) time.Time {
	turn := now.Add(p.wait(now))
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(p.gap)
	return turn
}

// earliest is when k may be asked again, now at the earliest. It remembers what its
// neighbour entry may have forgotten: the entry can be evicted or flushed and made anew.
func (p *pacer) earliest(k key, now time.Time) time.Time {
	if at, ok := p.asked[k]; ok && at.Add(p.hold).After(now) {
		return at.Add(p.hold)
	}
	return now
}

// record notes that k is asked now, and forgets what is too old to matter: it never holds
// more than what leaves within one hold time.
func (p *pacer) record(k key, now time.Time) {
	for p.head < len(p.order) && !p.order[p.head].at.Add(p.hold).After(now) {
		if old := p.order[p.head]; p.asked[old.key].Equal(old.at) {
			delete(p.asked, old.key)
		}
		p.head++
	}
	if p.head > len(p.order)/2 {
		p.order = p.order[:copy(p.order, p.order[p.head:])]
		p.head = 0
	}
	p.asked[k] = now
	p.order = append(p.order, stamp{k, now})
}
