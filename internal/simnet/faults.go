package simnet

import (
	"fmt"
	"time"
)

// Trouble inflicts something on the network, drawn from the world's random numbers, and says
// what. What it begins may be under way until Heal.
func (l *Lab) Trouble() string {
	rng := l.world.Rand
	n := rng.IntN(len(l.links))
	link := l.links[n]
	kind := rng.IntN(8)
	if kind == 2 && len(link.ends) > 2 {
		// Split horizon relies on a network where everybody hears everybody: on one where some are deaf to some, RIP
		// has no right answer that the oracle could know.
		kind = 1
	}
	switch kind {
	case 0:
		link.SetCarrier(false)
		return fmt.Sprintf("link %d is cut", n)
	case 1:
		link.SetSilent(true)
		return fmt.Sprintf("link %d loses everything", n)
	case 2:
		link.SetOneWay(0, 1, 1)
		return fmt.Sprintf("link %d loses everything one way", n)
	case 3:
		flaps := 2 + rng.IntN(6)
		for i := range 2 * flaps {
			l.world.After(time.Duration(i)*time.Duration(200+rng.IntN(4000))*time.Millisecond, func() { link.SetCarrier(!link.carrier) })
		}
		return fmt.Sprintf("link %d flaps %d times", n, flaps)
	case 4:
		half := 1 + rng.IntN(max(1, l.graph.Routers-1))
		cut := 0
		for i, members := range l.graph.Links {
			low, high := false, false
			for _, m := range members {
				low, high = low || m < half, high || m >= half
			}
			if low && high {
				l.links[i].SetSilent(rng.IntN(2) == 0)
				l.links[i].SetCarrier(l.links[i].silent)
				cut++
			}
		}
		return fmt.Sprintf("%d links are cut between the routers below %d and the others", cut, half)
	case 5:
		i := rng.IntN(l.graph.Routers)
		l.Kill(i)
		l.world.After(time.Duration(rng.Int64N(int64(5*time.Minute))), func() { l.Boot(i) })
		return fmt.Sprintf("%s loses its power for a while", l.Name(i))
	case 6:
		for _, other := range l.links {
			other.Loss, other.Jitter = rng.Float64()*0.3, time.Duration(rng.IntN(100)+1)*time.Millisecond
		}
		return "every link loses some, and reorders"
	default:
		i := rng.IntN(l.graph.Routers)
		l.Kill(i)
		l.Boot(i)
		return fmt.Sprintf("%s restarts", l.Name(i))
	}
}

// Heal ends every trouble that does not end by itself. With scars, links that are cut stay cut,
// and routers without power stay so.
func (l *Lab) Heal(scars bool) {
	for _, link := range l.links {
		carrier, silent := link.carrier, link.silent
		link.Loss, link.Jitter = 0, 0
		if !scars {
			link.Mend()
			continue
		}
		link.SetCarrier(carrier)
		link.SetSilent(silent)
	}
	if !scars {
		for i := range l.routers {
			l.Boot(i)
		}
	}
}
