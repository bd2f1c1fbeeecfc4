// Package reassembly puts IPv4 fragments together (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2).
//
//	Add -> header and length checks -> the datagram of (source, destination, protocol, id)
//	    -> order, overlap and end checks -> held, or whole
//
// It is a pure machine: time is a parameter, and its memory is bounded. The router uses it for what is
// addressed to itself; NAT and the filter will for what they must see whole.
//
// Fragments are kept sorted by offset. Real senders cut a datagram into pieces that
// do not overlap, so a piece that overlaps another is an attack or a wreck: the
// datagram is given up with all of its fragments, those still to come included (the rule of RFC 5722 for IPv6, which RFC 8900
// section 3.7 and Linux take for IPv4 too). Only an exact double is forgiven, since networks
// make those. A datagram that was given up keeps its place, without data, until its time is over.
//
// Time runs from the first fragment and is not renewed (RFC 1122 section 3.3.2). When the
// memory is full the oldest datagram makes room: a flood of fragments that never complete can push out
// other datagrams that wait, never take more memory, and never stop those that
// complete sooner than the flood fills the memory.
//
// The whole datagram has the header and options of its first fragment, no fragment
// bits (DF neither: it may be fragmented again), and the congestion mark that RFC 3168 section 5.3 asks for.
package reassembly

import (
	"bytes"
	"container/list"
	"slices"
	"time"

	"vrouterd/internal/packet"
)

// Verdict is the fate of a fragment, or of a datagram.
type Verdict uint8

// Verdicts. From Malformed on they are reasons of loss.
const (
	Whole        Verdict = iota // the datagram is complete, or was never a fragment
	Held                        // more fragments are needed
	Duplicate                   // an exact double; forgiven
	Malformed                   // the header is not a good IPv4 header
	BadLength                   // empty, or not the last and not a multiple of 8 octets
	TooLong                     // the datagram would be longer than 65535 octets
	Overlap                     // it overlaps another fragment; the datagram is given up
	Inconsistent                // it contradicts the end that another fragment gave; the datagram is given up
	TooMany                     // more than MaxFragments; the datagram is given up
	BadECN                      // congestion marked on a datagram that also claims not to know it (RFC 3168 section 5.3)
	GivenUp                     // its datagram was given up before
	Full                        // it does not fit into the memory even with all others gone
	Evicted                     // counts datagrams: the oldest, to make room
	TimedOut                    // counts datagrams: not complete in time
	verdicts
)

var names = [verdicts]string{
	"whole", "held", "duplicate", "malformed", "bad_length", "too_long", "overlap", "inconsistent",
	"too_many", "bad_ecn", "given_up", "full", "evicted", "timed_out",
}

// String returns the name in snake_case, as counters are called.
func (v Verdict) String() string {
	if v < verdicts {
		return names[v]
	}
	return "unknown"
}

var sentences = [verdicts]string{
	Whole:        "put together, or never a fragment",
	Held:         "waits for more fragments",
	Duplicate:    "a double of a fragment that is there already",
	Malformed:    "a fragment to the router has no good IPv4 header",
	BadLength:    "a fragment is empty, or not the last and not a multiple of 8 octets",
	TooLong:      "fragments add up to more than 65535 octets",
	Overlap:      "fragments of a datagram overlap; all of it is given up",
	Inconsistent: "fragments disagree where their datagram ends; all of it is given up",
	TooMany:      "a datagram came in too many fragments",
	BadECN:       "fragments contradict each other about congestion (RFC 3168 section 5.3)",
	GivenUp:      "a fragment of a datagram that was given up before",
	Full:         "a fragment does not fit the memory for reassembly",
	Evicted:      "a datagram that was never complete made room for others",
	TimedOut:     "a datagram was not complete in time; answered with reassembly time exceeded",
}

// Description is one sentence for operators.
func (v Verdict) Description() string {
	if v < verdicts {
		return sentences[v]
	}
	return "unknown"
}

// Lost reports that the fragment, or its datagram, is gone.
func (v Verdict) Lost() bool { return v >= Malformed }

// Verdicts returns all of them, for tables of counters.
func Verdicts() []Verdict {
	out := make([]Verdict, verdicts)
	for i := range out {
		out[i] = Verdict(i)
	}
	return out
}

// Config bounds a machine. Zero fields take the defaults.
type Config struct {
	MaxBytes     int           // octets of memory, bookkeeping included; default 4 MiB
	Timeout      time.Duration // from a datagram's first fragment; default 30 s
	MaxFragments int           // of one datagram; default 1400, enough for 65535 octets at the smallest legal MTU of 68
}

// What bookkeeping is charged for each datagram and each fragment, in
// octets: generous roundings of what the structures, the map and the allocator take.
const (
	datagramCost = 512
	fragmentCost = 96
)

const maxLen = 65535

type key struct {
	src, dst packet.Addr
	id       uint16
	protocol uint8
	side     uint32
}

// piece is a fragment's payload.
type piece struct {
	offset int
	data   []byte
}

type datagram struct {
	key      key
	deadline time.Time
	header   []byte  // of the first fragment; nil while it is missing
	pieces   []piece // sorted, without overlaps
	have     int     // octets in pieces
	end      int     // length of the whole payload; -1 while unknown
	cost     int
	ecn      uint8 // set of the ECN fields seen, a bit each
	givenUp  bool
	place    *list.Element
}

// Machine reassembles. It is not safe for concurrent use.
type Machine struct {
	config    Config
	datagrams map[key]*datagram
	order     *list.List // of *datagram, the oldest first; so also by deadline
	used      int
	counts    [verdicts]uint64
}

// New makes an empty machine.
func New(c Config) *Machine {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 4 << 20
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MaxFragments <= 0 {
		c.MaxFragments = 1400
	}
	return &Machine{config: c, datagrams: map[key]*datagram{}, order: list.New()}
}

// Add takes a packet, which is copied if it is kept. With the verdict Whole it returns the datagram: a
// fresh slice, or ip itself (without padding) if it is no fragment.
// now must not run backwards; call [Machine.Expire] first when [Machine.Next] has passed.
func (m *Machine) Add(now time.Time, ip []byte) ([]byte, Verdict) { return m.AddFrom(now, 0, ip) }

// AddFrom is Add for a packet that came from a certain side. Fragments from different sides are never put together, so
// that nobody on one can slip pieces into what comes from another, or spoil it.
func (m *Machine) AddFrom(now time.Time, side uint32, ip []byte) ([]byte, Verdict) {
	whole, v := m.add(now, side, ip)
	m.counts[v]++
	return whole, v
}

func (m *Machine) add(now time.Time, side uint32, ip []byte) ([]byte, Verdict) {
	p := packet.IPv4(ip)
	if p.Validate() != packet.HeaderGood {
		return nil, Malformed
	}
	p = p[:p.TotalLen()]
	if !p.IsFragment() {
		return p, Whole
	}
	data, offset := p.Payload(), p.FragmentOffset()
	if len(data) == 0 || p.MoreFragments() && len(data)%8 != 0 {
		return nil, BadLength
	}
	if p.HeaderLen()+offset+len(data) > maxLen {
		return nil, TooLong
	}
	k := key{p.Src(), p.Dst(), p.ID(), p.Protocol(), side}
	d := m.datagrams[k]
	if d != nil && d.givenUp {
		return nil, GivenUp
	}
	at := 0
	if d != nil {
		var exact bool
		at, exact = slices.BinarySearchFunc(d.pieces, offset, func(x piece, o int) int { return x.offset - o })
		if v := d.check(p, at, exact); v != Held {
			if v != Duplicate {
				m.giveUp(d)
			}
			return nil, v
		}
		if len(d.pieces) >= m.config.MaxFragments {
			m.giveUp(d)
			return nil, TooMany
		}
	}
	cost := fragmentCost + len(data)
	if offset == 0 {
		cost += p.HeaderLen()
	}
	if d == nil {
		cost += datagramCost
	}
	if !m.room(cost, d) {
		if d != nil {
			m.giveUp(d)
		}
		return nil, Full
	}
	if d == nil {
		d = &datagram{key: k, deadline: now.Add(m.config.Timeout), end: -1}
		d.place = m.order.PushBack(d)
		m.datagrams[k] = d
	}
	m.used += cost
	d.cost += cost
	d.pieces = slices.Insert(d.pieces, at, piece{offset, bytes.Clone(data)})
	d.have += len(data)
	d.ecn |= 1 << (p.TOS() & 3)
	if offset == 0 {
		d.header = bytes.Clone(p.Header())
	}
	if !p.MoreFragments() {
		d.end = offset + len(data)
	}
	if d.have != d.end {
		return nil, Held
	}
	return m.finish(d)
}

// check compares a fragment, which would be the piece number at, with those that are there.
func (d *datagram) check(p packet.IPv4, at int, exact bool) Verdict {
	data, offset := p.Payload(), p.FragmentOffset()
	end, last := offset+len(data), !p.MoreFragments()
	if exact && bytes.Equal(d.pieces[at].data, data) && last == (d.end == end) {
		return Duplicate
	}
	if exact || at > 0 && d.pieces[at-1].offset+len(d.pieces[at-1].data) > offset || at < len(d.pieces) && end > d.pieces[at].offset {
		return Overlap
	}
	// Beyond a known end, a second end, or an end with fragments behind it.
	if d.end >= 0 && (last || end > d.end) || last && at < len(d.pieces) {
		return Inconsistent
	}
	return Held
}

// finish builds the whole datagram and forgets its parts.
func (m *Machine) finish(d *datagram) ([]byte, Verdict) {
	const notCapable, congested = 1 << 0, 1 << 3
	if d.ecn&congested != 0 && d.ecn&notCapable != 0 {
		m.giveUp(d)
		return nil, BadECN
	}
	if len(d.header)+d.end > maxLen {
		m.giveUp(d)
		return nil, TooLong
	}
	m.remove(d)
	whole := make([]byte, 0, len(d.header)+d.end)
	whole = append(whole, d.header...)
	for _, x := range d.pieces {
		whole = append(whole, x.data...)
	}
	p := packet.IPv4(whole)
	p.SetTotalLen(len(whole))
	p.SetFlagsFragment(0)
	if d.ecn&congested != 0 {
		p.SetTOS(p.TOS() | 3)
	}
	p.UpdateHeaderChecksum()
	return whole, Whole
}

// room makes place for cost octets, at the expense of the oldest datagrams other than d.
func (m *Machine) room(cost int, d *datagram) bool {
	for m.used+cost > m.config.MaxBytes {
		oldest := m.order.Front()
		if oldest != nil && oldest.Value == d {
			oldest = oldest.Next()
		}
		if oldest == nil {
			return false
		}
		m.remove(oldest.Value.(*datagram))
		m.counts[Evicted]++
	}
	return true
}

// giveUp drops a datagram's data and remembers that what follows is to be dropped too.
func (m *Machine) giveUp(d *datagram) {
	m.used -= d.cost - datagramCost
	d.cost = datagramCost
	d.header, d.pieces, d.givenUp = nil, nil, true
}

func (m *Machine) remove(d *datagram) {
	m.used -= d.cost
	m.order.Remove(d.place)
	delete(m.datagrams, d.key)
}

// Next is when the oldest datagram's time is over; zero: none waits.
func (m *Machine) Next() time.Time {
	if oldest := m.order.Front(); oldest != nil {
		return oldest.Value.(*datagram).deadline
	}
	return time.Time{}
}

// Expire drops the datagrams whose time is over. It returns the first fragment of
// each that had arrived, as a packet: the sender is to get an ICMP time exceeded, code 1, that
// quotes it; without the first fragment nothing may be sent (RFC 792, RFC 1122 section 3.3.2).
func (m *Machine) Expire(now time.Time) [][]byte {
	var firsts [][]byte
	for {
		oldest := m.order.Front()
		if oldest == nil || oldest.Value.(*datagram).deadline.After(now) {
			return firsts
		}
		d := oldest.Value.(*datagram)
		m.remove(d)
		m.counts[TimedOut]++
		if d.header == nil {
			continue
		}
		p := packet.IPv4(append(d.header, d.pieces[0].data...))
		firsts = append(firsts, p)
	}
}

// Waiting is the number of datagrams that are not complete.
func (m *Machine) Waiting() int { return len(m.datagrams) }

// Bytes is the memory charged, bookkeeping included; never above MaxBytes.
func (m *Machine) Bytes() int { return m.used }

// Count returns how often a verdict was given.
func (m *Machine) Count(v Verdict) uint64 {
	if v < verdicts {
		return m.counts[v]
	}
	return 0
}
