package dataplane

import (
	"sync"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane/fib"
	"vrouterd/pkg/firewall"
)

// Punt is a packet, or a notice, for the control plane.
type Punt struct {
	Reason  PuntReason
	Port    PortID // where it arrived; 0: the router's own
	Egress  PortID // PuntResolve, PuntUsed: the port of the next hop; PuntLogged: of departure
	NextHop packet.Addr
	Drop    DropReason // PuntError, PuntReset, PuntHeldSYN: why it was dropped

	Type, Code uint8  // PuntError, PuntRedirect, PuntHeldSYN: the ICMP error that the source is owed
	Rest       uint32 // and the second word of it

	Rule, Pair int32           // PuntLogged: of firewall.Verdict
	ID         uint16          // PuntLogged
	Action     firewall.Action // PuntLogged
	Access     bool            // PuntLogged: Rule is one of the access rules

	Own      bool // sent by the router itself
	Helped   bool // a helper has looked at it before
	Group    bool // came in a link-layer broadcast or multicast
	Ethernet bool
	Link     [packet.EthernetLen]byte // the header it came with, where Ethernet
	Packet   []byte                   // the IP or ARP packet; the receiver owns it
	Vnet     packet.Vnet              // offsets from the start of Packet
}

// Size is what the packet holds of memory, in octets.
func (p *Punt) Size() int { return len(p.Packet) }

const (
	// puntDepth is how many packets a class of a port's queue holds, and
	// puntBytes how many octets: super-frames are large. There are routers that send their
	// whole RIP table at once: 1024 packets are 25,600 routes.
	puntDepth = 1024
	puntBytes = 1 << 20
)

// puntQueue holds what a port has sent to the control plane. The lock is taken
// only for packets that leave the fast path.
type puntQueue struct {
	mu      sync.Mutex
	classes [2]puntRing
}

type puntRing struct {
	slots []Punt // grows to puntDepth with use
	head  int
	n     int
	bytes int
	most  int // the deepest it has been
}

// push reports whether there was room.
func (q *puntQueue) push(p Punt) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := &q.classes[0]
	if p.Reason.exception() {
		r = &q.classes[1]
	}
	if r.n == puntDepth || r.bytes+p.Size() > puntBytes {
		return false
	}
	if r.n == len(r.slots) {
		grown := make([]Punt, max(8, 2*len(r.slots)))
		for i := range r.n {
			grown[i] = r.slots[(r.head+i)%len(r.slots)]
		}
		r.slots, r.head = grown, 0
	}
	r.slots[(r.head+r.n)%len(r.slots)] = p
	r.n++
	r.bytes += p.Size()
	r.most = max(r.most, r.n)
	return true
}

// pop takes the oldest packet of a class.
func (q *puntQueue) pop(class int) (Punt, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := &q.classes[class]
	if r.n == 0 {
		return Punt{}, false
	}
	p := r.slots[r.head]
	r.slots[r.head] = Punt{}
	r.head = (r.head + 1) % len(r.slots)
	r.n--
	r.bytes -= p.Size()
	return p, true
}

// depth is how many packets wait, and how many have waited at the most.
func (q *puntQueue) depth() (now, most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.classes {
		now += q.classes[i].n
		most = max(most, q.classes[i].most)
	}
	return now, most
}

// punt copies the packet for the control plane. A checksum that was left to the
// device is completed first: nobody behind the queue has a device.
func (w *worker) punt(p *work, to Punt) {
	if to.Reason != PuntARP && to.Reason != PuntResolve && to.Reason != PuntRouterAlert {
		if p.vnet.GSOType&^packet.GSOECN == packet.GSOUDPL4 || to.Reason == PuntHelper && p.vnet.IsSuper() {
			// Datagrams, unlike a stream, may not be run together; nor what is to leave again.
			w.eachSegment(p, func(s *work) {
				s.group = p.group
				w.punt(s, to)
			})
			return
		}
		completeWhole(p)
	}
	to.Port, to.Own, to.Group, to.Vnet, to.Helped = p.in, p.own, p.group, p.vnet, p.helped
	w.copyLink(p, &to)
	if w.tables.Taps != nil {
		w.tap(StagePunt, p, p.in, dropNone, to.Ethernet)
	}
	to.Packet = append(make([]byte, 0, p.len()), p.buf[headroom:p.end]...)
	if !w.queueOf(p.in).push(to) {
		w.drop(p, DropPuntQueue)
		return
	}
	w.counters.punts[to.Reason].Add(1)
	w.d.Ring()
}

// copyLink keeps the link-layer header of a packet that arrived on an Ethernet port.
func (w *worker) copyLink(p *work, to *Punt) {
	if in := int(p.in); in != 0 && in < len(w.tables.Ports) && w.tables.Ports[in].Ethernet {
		to.Ethernet = true
		copy(to.Link[:], p.link())
	}
}

func (w *worker) queueOf(in PortID) *puntQueue {
	if in != 0 && int(in) < len(w.tables.Ports) {
		if at := w.tables.Ports[in].Attachment; at != nil {
			return &at.punts
		}
	}
	return &w.d.own
}

// reportUse tells the control plane that a watched adjacency carries traffic:
// once, until the tables change.
func (w *worker) reportUse(a *Adjacency) {
	if w.used.tables == w.tables && w.used.port == a.Port && w.used.nextHop == a.NextHop {
		return
	}
	if w.d.own.push(Punt{Reason: PuntUsed, Egress: a.Port, NextHop: a.NextHop}) {
		w.used = usedNotice{tables: w.tables, port: a.Port, nextHop: a.NextHop}
		w.counters.punts[PuntUsed].Add(1)
		w.d.Ring()
	}
}

// usedNotice is the last notice that a worker has sent.
type usedNotice struct {
	tables  *Tables
	port    PortID
	nextHop packet.Addr
}

// Ring wakes the control plane.
func (d *Dataplane) Ring() {
	select {
	case d.bell <- struct{}{}:
	default:
	}
}

// Bell delivers a value when punts may be waiting.
func (d *Dataplane) Bell() <-chan struct{} { return d.bell }

// NextPunt takes a waiting punt: those addressed to the router before those that
// want a favour, and the ports in turn, so that none of them can starve another.
// Only the control goroutine may call it.
func (d *Dataplane) NextPunt() (Punt, bool) {
	queues := d.queues
	for class := range 2 {
		for range queues {
			d.turn = (d.turn + 1) % len(queues)
			if p, ok := queues[d.turn].pop(class); ok {
				return p, true
			}
		}
	}
	return Punt{}, false
}

// FIB is the table that Lookup asks. The control goroutine is its one writer.
func (d *Dataplane) FIB() *fib.Table { return d.fib }
