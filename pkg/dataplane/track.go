package dataplane

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane/fib"
	"vrouterd/pkg/nat"
)

// The way of a packet where there are sessions, NAT or a firewall:
//
//	ip4Input -> track -> the session's own adjacency -> ip4Rewrite -> translate -> transmit
//	              |                                       ^
//	              +- something has changed: revise -------+
//	              +- no session: open (inbound, lookup, judge, outbound, create)
//	              +- an ICMP error: related
//	              +- neither of these: stray
//
// # The generation
//
// A session stores, for each direction, the number of the adjacency that its packets go to, under the
// generation in which that was decided. Dataplane.generation grows with everything that such a decision follows from:
// the tables (ports, adjacencies, policies) and the FIB. A worker reads
//
//	the generation, then the tables, then policies and FIB, then the tables once more
//
// and stores what it found under the generation that it read first. Every writer changes tables or FIB first and the
// generation second. So whoever read the generation after a change has also seen the change: what
// is stored under a generation follows from a state at least as new, and the next packet after
// Changed or Publish has returned decides anew.
//
// # Numbers of adjacencies are used again
//
// A stored number must never be followed to another adjacency that has got it meanwhile. The control
// plane gives a number away in this order: the FIB lets go of it; Changed; Retire; and, after the grace period, tables
// in which it means something else. Suppose that a worker follows a number from a session, having read the
// generation g in its read section. Either g was read after that Changed: then nothing stored under g names
// the number, because whoever stored under g had read the FIB without it. Or it was read before: then the
// worker's section began before Retire, and the grace period cannot end, nor tables with a new meaning
// be published, before the worker leaves it. That Changed comes before Retire is what makes the two cases all cases.
// (The worker marks its section first and reads the generation second; Retire's caller does the reverse.
// A section in which the generation is old was therefore seen by [rcu.Domain.Passed].)
//
// The tables are loaded after the number is known, as in ip4Lookup, so that they hold it.
//
// The generation has 32 bits: a session would have to sleep through exactly 2^32 changes to be
// deceived, and none lives long enough for that.

// flow is what the stateful stages know of the packet in hand. It belongs to the worker.
type flow struct {
	st         *Stateful
	generation uint32
	ended      bool // the packet's session has just ended, since its way has changed
	quoting    bool // an ICMP error: what it quotes is translated too
	parsed     conntrack.Parsed
	rewrite    conntrack.Rewrite
}

// track finds the packet's session. With one whose decisions still hold, this is all there is between
// ip4Input and ip4Rewrite.
func (w *worker) track(p *work) {
	f := &w.flow
	f.generation = w.d.generation.Load()
	w.tables = w.d.tables.Load()
	st := w.tables.Stateful
	if st == nil { // switched off since the packet before
		w.ip4Lookup(p)
		return
	}
	f.st, f.ended, f.quoting = st, false, false
	if p.group {
		w.trackGroup(p)
		return
	}
	if p.ip().IsFragment() && !w.whole(p) {
		return
	}
	if p.opts.sourceRoute != 0 && !p.own && w.tables.SourceRoute && w.sourceRouteGoesOn(p) {
		return
	}
	w.readTick()
	conntrack.Parse(p.ip(), &f.parsed)
	f.parsed.Count = 1
	if p.vnet.IsSuper() {
		f.parsed.Count = p.segments()
	}
	if st.Sessions == nil {
		w.guard(p)
		return
	}
	switch f.parsed.Class {
	case conntrack.ClassError:
		w.related(p)
		return
	case conntrack.ClassInvalid:
		w.stray(p, sessionDrop(f.parsed.Reason))
		return
	}
	s, direction := st.Sessions.Find(w.now, &f.parsed.Key)
	if s == nil {
		w.open(p)
		return
	}
	number, fresh := s.Route(direction, f.generation, uint16(p.in))
	if !fresh {
		w.revise(p, s, direction)
		return
	}
	if reason := s.Update(st.Sessions, w.now, direction, &f.parsed, p.repeat); reason != conntrack.ReasonNone {
		w.misfit(p, s, reason)
		return
	}
	f.rewrite = s.Rewrite(direction)
	dst := p.ip().Dst()
	if f.rewrite.Changed {
		p.flow = f
		dst = f.rewrite.Dst
	}
	w.tables = w.d.tables.Load()
	a := w.adjacency(fib.Value(number))
	if a.Kind == Rewrite && !a.Watched {
		w.ip4Rewrite(p, a)
		return
	}
	w.dispatch(p, a, dst)
}

// readTick reads the time, once a batch.
func (w *worker) readTick() {
	if w.now == 0 {
		w.now = conntrack.TickOf(w.d.clock())
	}
}

// dispatch is the end of ip4Lookup, for a packet that leaves for dst.
func (w *worker) dispatch(p *work, a *Adjacency, dst packet.Addr) {
	if a.Kind == Rewrite {
		if a.Watched {
			w.reportUse(a)
		}
		w.ip4Rewrite(p, a)
		return
	}
	w.ip4Special(p, a, dst)
}

// route is the beginning of ip4Lookup: where a packet to dst goes.
func (w *worker) route(p *work, dst packet.Addr) (fib.Value, *Adjacency) {
	v := w.d.fib.Lookup(dst)
	w.tables = w.d.tables.Load()
	a := w.adjacency(v)
	if a.Kind == Multipath {
		v = w.choose(p, a)
		a = w.adjacency(v)
	}
	return v, a
}

// translate changes the packet's addresses and ports, at the place where headers are changed: everything
// that might have refused it has let it pass.
func (w *worker) translate(p *work) {
	f := p.flow
	p.flow = nil
	if f.quoting {
		complete(p) // no device has an ICMP checksum left to it, but nothing keeps one from asking for it
		nat.TranslateError(p.ip(), &f.rewrite)
		return
	}
	nat.Translate(p.ip(), &f.rewrite, p.partial())
}

// sourceRouteGoesOn sends a source-routed packet on whose present stop is this router: only where it goes
// next makes it part of a session.
func (w *worker) sourceRouteGoesOn(p *work) bool {
	ip := p.ip()
	return w.isOwn(ip.Dst()) && !w.isOwn(ip.Src()) && w.nextSourceRoute(p)
}
