package firewall

import (
	"sync/atomic"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// tickTime is the time between two ticks, in nanoseconds.
const tickTime = int64(time.Second / conntrack.TicksPerSecond)

// maxDepth bounds how far a bucket's time may run ahead, in nanoseconds (a hundred years), so that no sum overflows: ticks end after 14
// years, and a bucket is at most twice this ahead of them.
const maxDepth = int64(100 * 365 * 24 * time.Hour)

// meter is the measure of a token bucket. The bucket itself is one number, the virtual time up to which its tokens are spent (the
// generic cell rate algorithm, ITU-T I.371): full as long as that has passed. So taking is one comparison and one exchange, and
// a bucket that was never used, or that is full again, needs no memory.
type meter struct {
	each  int64 // nanoseconds that one packet costs
	depth int64 // how far ahead of now a bucket may be spent: what it holds
}

func newMeter(packets int, per time.Duration, burst int) meter {
	n := int64(packets)
	m := meter{each: max(1, min((int64(per)+n/2)/n, maxDepth))}
	if int64(burst) > maxDepth/m.each {
		m.depth = maxDepth
	} else {
		m.depth = int64(burst) * m.each
	}
	// Between two ticks nothing is refilled: a bucket that held less than one tick brings would slow the rate down.
	m.depth = max(m.depth, tickTime)
	return m
}

// take takes n packets out of a bucket spent until spent, and returns until when it is spent then. More than what a
// full bucket holds (a super-frame's segments) is taken from a full one, which goes into debt: what passes is the rate in
// the long run, whatever the sizes.
func (m meter) take(now conntrack.Tick, spent int64, n int) (int64, bool) {
	t := int64(now) * tickTime
	spent = max(spent, t)
	cost := maxDepth // debt has an end as well
	if int64(n) <= maxDepth/m.each {
		cost = int64(n) * m.each
	}
	if spent+min(cost, m.depth) > t+m.depth {
		return spent, false
	}
	return spent + cost, true
}

// bucket is a token bucket that workers share.
type bucket struct{ spent atomic.Int64 }

func (b *bucket) take(m meter, now conntrack.Tick, n int) bool {
	for {
		old := b.spent.Load()
		spent, ok := m.take(now, old, n)
		if !ok {
			return false
		}
		if b.spent.CompareAndSwap(old, spent) {
			return true
		}
	}
}

// maxRateHosts is how many hosts a rule with a rate for each source remembers at a time. A source whose bucket is full again is
// forgotten when room is wanted. Those that find no room share one bucket, and are counted: a flood of invented sources can
// neither fill memory nor get more than one source's rate.
const maxRateHosts = 1 << 16

// limiter is the state of a rule's rate: what goes on when the configuration changes and the rate does not.
type limiter struct {
	shared  bucket // of all sources; of those that found no room where each has its own
	hosts   *hostTable
	crowded atomic.Uint64 // packets of sources that found no room
}

func newLimiter(r *Rate) *limiter {
	l := &limiter{}
	if r.PerHost {
		l.hosts = newHostTable(maxRateHosts)
	}
	return l
}

// take asks for n packets of a source.
func (l *limiter) take(m meter, now conntrack.Tick, source packet.Addr, n int) bool {
	if l.hosts == nil {
		return l.shared.take(m, now, n)
	}
	s := l.hosts.shard(source)
	s.Lock()
	spent, known := s.value[source]
	if !known && !l.hosts.room(s, now, func(spent int64) bool { return spent <= int64(now)*tickTime }) {
		s.Unlock()
		l.crowded.Add(1)
		return l.shared.take(m, now, n)
	}
	spent, ok := m.take(now, spent, n)
	if ok {
		s.put(source, spent)
	}
	s.Unlock()
	return ok
}

// Logs of each rule and pair: so many a second, and so many at once. Those beyond are counted.
const (
	logsPerSecond = 10
	logsAtOnce    = 20
)

func logMeter() meter { return newMeter(logsPerSecond, time.Second, logsAtOnce) }
