package simnet

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Node is a machine under simulation. Ports are numbered from 0 in the order in which they were
// connected. Every call has the virtual time.
type Node[M any] interface {
	Up(now time.Time, port int)   // the port's link has carrier
	Down(now time.Time, port int) // the port's link has lost carrier
	Receive(now time.Time, port int, m M)
	Tick(now time.Time)
	Next() time.Time // when Tick is to be called at the latest; zero: never
}

// World is a network and its clock.
type World[M any] struct {
	Now  time.Time
	Rand *rand.Rand

	events  events
	planned uint64
	hosts   []*Host[M]
	links   []*Link[M]
}

// New makes an empty world. Its clock begins at the same moment whatever the seed.
func New[M any](seed uint64) *World[M] {
	return &World[M]{
		Now:  time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		Rand: rand.New(rand.NewPCG(seed, 0x51)),
	}
}

// After plans something for d from now.
func (w *World[M]) After(d time.Duration, do func()) {
	w.planned++
	heap.Push(&w.events, event{w.Now.Add(d), w.planned, do})
}

// Run lets d pass.
func (w *World[M]) Run(d time.Duration) {
	end := w.Now.Add(d)
	for len(w.events) > 0 && !w.events[0].at.After(end) {
		e := heap.Pop(&w.events).(event)
		w.Now = e.at
		e.do()
	}
	w.Now = end
}

// Host is a place for a node: it keeps its links when the node is replaced.
type Host[M any] struct {
	world *World[M]
	node  Node[M]
	ports []end[M]
	armed time.Time // when the node will be ticked at the latest; zero: not planned
}

// end is where a host's port is plugged in.
type end[M any] struct {
	link  *Link[M]
	place int
}

// Host makes a host without a node.
func (w *World[M]) Host() *Host[M] {
	h := &Host[M]{world: w}
	w.hosts = append(w.hosts, h)
	return h
}

// Start puts a node into a host and tells it of the links that have carrier.
func (h *Host[M]) Start(n Node[M]) {
	h.node = n
	for port, e := range h.ports {
		if e.link.carrier {
			h.do(func(now time.Time) { n.Up(now, port) })
		}
	}
}

// Stop takes the node out without a word, as a loss of power does.
func (h *Host[M]) Stop() {
	h.node = nil
	h.armed = time.Time{}
}

// Running reports whether there is a node in the host.
func (h *Host[M]) Running() bool { return h.node != nil }

// Send puts a message on a port's link.
func (h *Host[M]) Send(port int, m M) {
	e := h.ports[port]
	e.link.carry(e.place, m)
}

// do calls the node and plans its next tick.
func (h *Host[M]) do(call func(now time.Time)) {
	if h.node == nil {
		return
	}
	call(h.world.Now)
	h.arm()
}

// Poke plans the node's next tick anew, after somebody changed the node from outside.
func (h *Host[M]) Poke() { h.arm() }

func (h *Host[M]) arm() {
	if h.node == nil {
		return
	}
	next := h.node.Next()
	if next.IsZero() || !h.armed.IsZero() && !h.armed.After(next) {
		return
	}
	if next.Before(h.world.Now) {
		next = h.world.Now
	}
	h.armed = next
	h.world.After(next.Sub(h.world.Now), func() {
		if !h.armed.Equal(next) { // a sooner tick has taken its place
			return
		}
		h.armed = time.Time{}
		if h.node == nil {
			return
		}
		if due := h.node.Next(); due.IsZero() || due.After(h.world.Now) {
			h.arm()
			return
		}
		h.do(h.node.Tick)
	})
}

// event is something planned; order keeps events of one moment in the order of their planning.
type event struct {
	at    time.Time
	order uint64
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	(*e)[len(*e)-1] = event{}
	*e = (*e)[:len(*e)-1]
	return last
}
