package dataplane

import (
	"sync"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/internal/reassembly"
)

// firstsHeld is how many first fragments of datagrams that ran out of time wait
// for the control plane: each becomes an ICMP error at the most, and those are limited anyway.
const firstsHeld = 1024

// pieces are the fragments that wait for the rest of their datagrams. All workers share them: the fragments
// of a datagram may come by different ports, though all from one side. No side can push out another's but by having less. The lock is
// taken for fragments only.
type pieces struct {
	mu      sync.Mutex
	machine *reassembly.Machine
	firsts  [][]byte // of datagrams whose time was over, for the control plane
	counted uint64   // datagrams lost whole that have been counted as drops
}

// whole puts a fragment to the others of its datagram, since sessions are known by ports that only the
// first fragment has (RFC 4787 REQ-14). It reports true when the datagram is complete: it
// then stands in the worker's buffer in the fragment's place.
func (w *worker) whole(p *work) bool {
	q := &w.d.pieces
	q.mu.Lock()
	now := time.Unix(0, w.d.clock()) // under the lock, so that it never runs backwards for the machine
	q.expire(w.d, now)
	datagram, verdict := q.machine.AddFrom(now, w.flow.st.side(uint16(p.in)), p.ip())
	q.account(w.d)
	q.mu.Unlock()
	switch {
	case verdict.Lost():
		w.drop(p, DropFragmentLost)
		return false
	case datagram == nil:
		return false // it waits, or is a double of one that does
	}
	p.end = headroom + copy(p.buf[headroom:], datagram)
	p.vnet = packet.Vnet{}
	p.opts = optionSet{}
	if p.ip().HeaderLen() > packet.IPv4MinLen {
		p.opts, _ = parseOptions(p.ip().Header()) // those of the first fragment, checked when it arrived
	}
	return true
}

// expire forgets the datagrams whose time is over.
func (q *pieces) expire(d *Dataplane, now time.Time) {
	if next := q.machine.Next(); next.IsZero() || next.After(now) {
		return
	}
	q.firsts = append(q.firsts, q.machine.Expire(now)...)
	if n := len(q.firsts); n > firstsHeld {
		clear(q.firsts[firstsHeld:])
		q.firsts = q.firsts[:firstsHeld]
	}
	q.account(d)
}

// account counts the datagrams that were lost while they waited.
func (q *pieces) account(d *Dataplane) {
	lost := q.machine.Count(reassembly.Evicted) + q.machine.Count(reassembly.TimedOut)
	if lost > q.counted {
		d.control.counters.drops[DropFragmentLost].Add(lost - q.counted)
		q.counted = lost
	}
}

// ExpireFragments forgets the fragments whose datagrams were not complete in time, and returns the first fragment
// of each that had arrived: its source is to get an ICMP time exceeded, code 1, with
// [Injector.Return] (RFC 792). Call it about once a second. Any goroutine may.
func (d *Dataplane) ExpireFragments() [][]byte {
	q := &d.pieces
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire(d, time.Unix(0, d.clock()))
	firsts := q.firsts
	q.firsts = nil
	return firsts
}

// FragmentCount is how often fragments in transit met with a verdict: the losses that
// DropFragmentLost counts together, one by one. Any goroutine may call it.
func (d *Dataplane) FragmentCount(v reassembly.Verdict) uint64 {
	d.pieces.mu.Lock()
	defer d.pieces.mu.Unlock()
	return d.pieces.machine.Count(v)
}

// FragmentsWaiting is how many datagrams are not complete, and the octets of memory that they are charged.
func (d *Dataplane) FragmentsWaiting() (datagrams, octets int) {
	d.pieces.mu.Lock()
	defer d.pieces.mu.Unlock()
	return d.pieces.machine.Waiting(), d.pieces.machine.Bytes()
}
