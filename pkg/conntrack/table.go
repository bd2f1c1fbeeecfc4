package conntrack

import (
	"sync/atomic"
	"time"
	"unsafe"

	"vrouterd/internal/rcu"
)

// Config of a table. Timeouts, limits and modes can be changed live with [Table.Configure].
type Config struct {
	Max         int // sessions in all; 1,048,576 by default, 16,769,023 at most. The last eighth is not for those from outside
	MaxPerHost  int // sessions that one inside address may have; 0: no limit
	MaxHalfOpen int // TCP sessions from outside that are not established yet: beyond, the oldest makes room; 0: an eighth of Max
	Timeouts    Timeouts
	Loose       bool // pick up TCP connections from before our time (ClassContinues)
	Window      WindowMode
}

// DefaultMax is Config.Max where it is 0.
const DefaultMax = 1 << 20

// WindowMode says what becomes of TCP segments outside of the window.
type WindowMode uint8

// The modes.
const (
	WindowLiberal WindowMode = iota // only resets are held to the window
	WindowStrict                    // segments outside are dropped
	WindowOff
)

// Timeouts in ticks; 0 is the default, more than 3 years are 3 years. Defaults are RFC floors: see docs/nat.md.
type Timeouts struct {
	UDP, UDPUnreplied                       Tick // 300 s both (RFC 4787 REQ-5)
	TCPEstablished, TCPTransitory, TCPReset Tick // 7440 s, 240 s (RFC 5382 REQ-5), 240 s (RFC 7857 section 2.2)
	ICMP                                    Tick // 60 s (RFC 5508 REQ-2)
	Other                                   Tick // 600 s
}

// settings are a Config as packets meet it. Immutable.
type settings struct {
	timeouts  [1 << 4]Tick // by phase
	max       int64
	perHost   int
	halfOpen  int64
	slabLimit uint32
	loose     bool
	window    WindowMode
}

// compile fills in the defaults.
func (c Config) compile() *settings {
	if c.Max <= 0 {
		c.Max = DefaultMax
	}
	c.Max = min(c.Max, maxSessions)
	if c.MaxHalfOpen <= 0 {
		c.MaxHalfOpen = max(c.Max/8, 1)
	}
	// Beyond Max there is room for a few that have ended and wait for their grace period.
	s := &settings{
		max: int64(c.Max), perHost: c.MaxPerHost, halfOpen: int64(c.MaxHalfOpen),
		slabLimit: uint32(min(c.Max+c.Max/64+chunkSize, numberMask)), loose: c.Loose, window: c.Window,
	}
	ticks := func(t Tick, standard time.Duration) Tick {
		const most = 1 << 30 // a quarter of the clock, so that comparisons around its end are right
		if t == 0 {
			t = Ticks(standard)
		}
		return min(t, most)
	}
	transitory := ticks(c.Timeouts.TCPTransitory, 240*time.Second)
	for i := range s.timeouts {
		s.timeouts[i] = transitory
	}
	s.timeouts[udpUnreplied] = ticks(c.Timeouts.UDPUnreplied, 300*time.Second)
	s.timeouts[udpReplied] = ticks(c.Timeouts.UDP, 300*time.Second)
	s.timeouts[icmpUnreplied] = ticks(c.Timeouts.ICMP, 60*time.Second)
	s.timeouts[icmpReplied] = s.timeouts[icmpUnreplied]
	s.timeouts[otherUnreplied] = ticks(c.Timeouts.Other, 600*time.Second)
	s.timeouts[otherReplied] = s.timeouts[otherUnreplied]
	s.timeouts[tcpPhase(Established)] = ticks(c.Timeouts.TCPEstablished, 7440*time.Second)
	s.timeouts[tcpPhase(Reset)] = ticks(c.Timeouts.TCPReset, 240*time.Second)
	return s
}

// Ended tells of a session that was removed. It is called exactly once for each, by whoever removed it, without any
// lock held; it must not call back into the table.
type Ended func(now Tick, s *Session)

// Table holds the sessions.
type Table struct {
	settings atomic.Pointer[settings]
	seeds    [3]uint64
	domain   *rcu.Domain
	ended    Ended

	shards [numShards]shard
	slab   slab
	rings  [numRings]ring
	hosts  hosts

	live, halfOpen   atomic.Int64
	expired, removed atomic.Uint64
	displaced        atomic.Uint64
	next             atomic.Uint32 // whose turn it is among the rings, for displace
	refused          [NumReasons]atomic.Uint64
}

// Sizes for Bytes.
const (
	sessionSize = int(unsafe.Sizeof(Session{}))
	tableSize   = int(unsafe.Sizeof(Table{}))
)

// NewTable makes an empty table. Memory grows with the sessions that there are. ended may be nil.
func NewTable(c Config, seed uint64, d *rcu.Domain, ended Ended) *Table {
	t := &Table{domain: d, ended: ended}
	t.settings.Store(c.compile())
	for i := range t.seeds {
		// splitmix64: equal seeds give equal tables, unequal ones have nothing in common.
		seed += 0x9e3779b97f4a7c15
		z := (seed ^ seed>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		t.seeds[i] = z ^ z>>31
	}
	const smallest = 12 // places in a shard's first array: see grow
	for i := range t.shards {
		array := make([]uint32, smallest)
		t.shards[i].array.Store(&array)
	}
	t.slab.fresh = 1
	t.slab.chunks[0].Store(new(chunk))
	t.slab.made = chunkSize
	return t
}

// Configure changes limits, timeouts and modes; sessions that exist live by the new timeouts at once.
func (t *Table) Configure(c Config) {
	after := c.compile()
	before := t.settings.Swap(after)
	for i := range after.timeouts {
		if after.timeouts[i] < before.timeouts[i] {
			t.sweep()
			return
		}
	}
}

// sweep has Expire look through the whole wheel.
func (t *Table) sweep() {
	for i := range t.rings {
		r := &t.rings[i]
		r.mu.Lock()
		r.sweep = numBuckets
		r.mu.Unlock()
	}
}

// deadline of a session, by the present timeouts.
func (t *Table) deadline(s *Session) Tick {
	return Tick(s.refreshed.Load()) + t.settings.Load().timeouts[s.word.Load()&phaseMask]
}

// over reports whether a session's time is over.
func (t *Table) over(now Tick, s *Session) bool { return int32(now-t.deadline(s)) >= 0 }

// refuse counts a reason and returns it.
func (t *Table) refuse(r Reason) Reason {
	t.refused[r].Add(1)
	return r
}
