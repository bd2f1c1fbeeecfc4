package igd

import (
	"net/netip"
	"sync"
	"time"
)

// budget is how many answers may go out within a second: answers are longer than questions, and the sources of datagrams
// can be lied about.
type budget struct {
	mu    sync.Mutex
	since time.Time
	spent map[netip.Addr]int // by hosts in this second: no more of them than answers
	total int
}

// take spends n on a host, or reports that there is not so much left.
func (b *budget) take(now time.Time, host netip.Addr, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if age := now.Sub(b.since); age >= time.Second || age < 0 || b.spent == nil {
		b.since, b.spent, b.total = now, map[netip.Addr]int{}, 0
	}
	if b.total+n > perSecond || b.spent[host]+n > perHost {
		return false
	}
	b.total += n
	b.spent[host] += n
	return true
}
