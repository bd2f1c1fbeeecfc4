package simnet

import "time"

// Link joins the ports of two or more hosts: what one sends, all others get.
type Link[M any] struct {
	world   *World[M]
	ends    []place[M]
	carrier bool
	silent  bool
	Latency time.Duration
	Jitter  time.Duration // added, evenly drawn: messages may overtake each other
	Loss    float64       // of each delivery, 0 to 1

	oneWay map[[2]int]float64 // loss from one place to another, besides Loss
}

type place[M any] struct {
	host *Host[M]
	port int
}

// Connect joins hosts by a link that has carrier, and returns it. The nodes are not told: connect
// first, start then.
func (w *World[M]) Connect(latency time.Duration, hosts ...*Host[M]) *Link[M] {
	l := &Link[M]{world: w, carrier: true, Latency: latency, oneWay: map[[2]int]float64{}}
	for i, h := range hosts {
		l.ends = append(l.ends, place[M]{h, len(h.ports)})
		h.ports = append(h.ports, end[M]{l, i})
	}
	w.links = append(w.links, l)
	return l
}

// carry delivers a message from one place to all others. What is on its way when the link
// is cut is lost.
func (l *Link[M]) carry(from int, m M) {
	if !l.carrier {
		return
	}
	for to, e := range l.ends {
		if to == from || l.silent || l.lost(from, to) {
			continue
		}
		delay := l.Latency
		if l.Jitter > 0 {
			delay += time.Duration(l.world.Rand.Int64N(int64(l.Jitter)))
		}
		l.world.After(delay, func() {
			if l.carrier && !l.silent {
				e.host.do(func(now time.Time) { e.host.node.Receive(now, e.port, m) })
			}
		})
	}
}

func (l *Link[M]) lost(from, to int) bool {
	for _, p := range [...]float64{l.Loss, l.oneWay[[2]int{from, to}]} {
		if p > 0 && l.world.Rand.Float64() < p {
			return true
		}
	}
	return false
}

// SetCarrier cuts the link or mends it, and its nodes see it at once.
func (l *Link[M]) SetCarrier(up bool) {
	if l.carrier == up {
		return
	}
	l.carrier = up
	for _, e := range l.ends {
		e.host.do(func(now time.Time) {
			if up {
				e.host.node.Up(now, e.port)
			} else {
				e.host.node.Down(now, e.port)
			}
		})
	}
}

// SetSilent makes the link lose everything, or stops that; the nodes see nothing of it.
func (l *Link[M]) SetSilent(silent bool) { l.silent = silent }

// SetOneWay makes the link lose a part of what goes from one of its ends to another. 0 mends it.
func (l *Link[M]) SetOneWay(from, to int, loss float64) { l.oneWay[[2]int{from, to}] = loss }

// Carries reports whether a message from one end to another would have a chance.
func (l *Link[M]) Carries(from, to int) bool {
	return l.carrier && !l.silent && l.Loss < 1 && l.oneWay[[2]int{from, to}] < 1
}

// Mend takes every impairment away but the latency.
func (l *Link[M]) Mend() {
	l.Loss, l.Jitter = 0, 0
	clear(l.oneWay)
	l.SetSilent(false)
	l.SetCarrier(true)
}
