package conntrack

import (
	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// Config of a table. Timeouts, limits and modes can be changed live with [Table.Configure].
type Config struct {
	Max         int // sessions in all; 1,048,576 by default
	MaxPerHost  int // sessions that one inside address may have; 0: no limit
	MaxHalfOpen int // TCP sessions from outside that nobody has answered yet; 0: an eighth of Max
	Timeouts    Timeouts
	Loose       bool // pick up TCP connections from before our time (ClassContinues)
	Window      WindowMode
}

// WindowMode says what becomes of TCP segments outside of the window.
type WindowMode uint8

// The modes.
const (
	WindowLiberal WindowMode = iota // only resets are held to the window
	WindowStrict                    // segments outside are dropped
	WindowOff
)

// Timeouts in ticks. Defaults are RFC floors: see docs/nat.md.
type Timeouts struct {
	UDP, UDPUnreplied                       Tick // 300 s both (RFC 4787 REQ-5)
	TCPEstablished, TCPTransitory, TCPReset Tick // 7440 s, 240 s (RFC 5382 REQ-5), 240 s (RFC 7857 section 2.2)
	ICMP                                    Tick // 60 s (RFC 5508 REQ-2)
	Other                                   Tick // 600 s
}

// Ended tells of a session that was removed. It is called exactly once for each, by whoever removed it, without any
// lock held; it must not call back into the table.
type Ended func(now Tick, s *Session)

// Table holds the sessions.
type Table struct{}

// NewTable makes an empty table. Memory grows with the sessions that there are.
func NewTable(c Config, seed uint64, d *rcu.Domain, ended Ended) *Table { panic("not written yet") }

// Configure changes limits, timeouts and modes; sessions that exist live by the new timeouts at once.
func (t *Table) Configure(c Config) { panic("not written yet") }

// Find looks a packet's key up. The caller is inside a read section, here and as long as it uses the session.
// A session whose time is over is not found.
func (t *Table) Find(now Tick, k *Key) (*Session, Direction) { panic("not written yet") }

// Create makes a session from its first packet, which it takes into account as Update does. If another worker was faster and the
// same session exists, that one is returned. With a reason other than ReasonNone none was made: full, limits,
// or a key of it belongs to another session (ReasonClash: choose another port).
func (t *Table) Create(now Tick, n *New, p *Parsed) (*Session, Reason) { panic("not written yet") }

// Remove ends a session, now. It reports false when somebody else has already.
func (t *Table) Remove(now Tick, s *Session) bool { panic("not written yet") }

// Expire removes what is due, at most budget sessions, and says when it wants to be called next (now, if there is more).
// One goroutine calls it.
func (t *Table) Expire(now Tick, budget int) (removed int, next Tick) { panic("not written yet") }

// Len is how many sessions there are.
func (t *Table) Len() int { panic("not written yet") }

// Bytes of memory that the table holds.
func (t *Table) Bytes() int { panic("not written yet") }

// Counts of what happened, by reason and by kind; for counters, drops and metrics.
func (t *Table) Counts() Counts { panic("not written yet") }

// Counts of a table since it was made.
type Counts struct {
	Created, Expired, Removed uint64
	Refused                   [NumReasons]uint64 // by Create and Update
	ByProtocol                map[uint8]int      // sessions now
	HalfOpen                  int
}

// Filter selects sessions to look at; zero fields match everything.
type Filter struct {
	Address  packet.Addr // any of the four
	Port     uint16      // any of the four
	Protocol uint8
	NATOnly  bool
	Test     func(*Session) bool // nil: all
}

// Page copies sessions that match, at most limit of them, from the cursor on (0: the beginning), and returns the
// next cursor, 0 at the end. It looks at no more than a bounded number of entries a call (so it may return fewer than
// limit and a cursor). It enters read sections of its own: call it from outside of one, from any goroutine. Sessions that live
// throughout are seen exactly once.
func (t *Table) Page(r *rcu.Reader, now Tick, f Filter, cursor uint64, limit int) (page []Info, next uint64) {
	panic("not written yet")
}

// Flush removes the sessions that match, and returns how many. It may be called from any goroutine.
func (t *Table) Flush(r *rcu.Reader, now Tick, f Filter) int { panic("not written yet") }

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
