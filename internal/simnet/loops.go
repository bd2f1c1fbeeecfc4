package simnet

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
)

// watch looks for loops every virtual second in which a table has changed, and for loops that stay.
func (l *Lab) watch() {
	l.world.After(time.Second, func() {
		if l.changed {
			l.changed = false
			l.findLoops()
		}
		for p, since := range l.loops {
			lasted := l.world.Now.Sub(since)
			l.longest = max(l.longest, lasted)
			if lasted > l.options.LoopBound {
				l.fault("the loop to %v has lasted for %v, more than %v", p, lasted, l.options.LoopBound)
				l.loops[p] = l.world.Now
			}
		}
		l.watch()
	})
}

// LongestLoop is how long a prefix was part of some forwarding loop without a break.
func (l *Lab) LongestLoop() time.Duration { return l.longest }

// findLoops notes which stubs have a forwarding loop now, and since when.
func (l *Lab) findLoops() {
	at := l.addresses()
	for _, r := range l.routers {
		if !l.loop(r.stub, at) {
			delete(l.loops, r.stub)
		} else if _, known := l.loops[r.stub]; !known {
			l.loops[r.stub] = l.world.Now
		}
	}
}

// addresses says whose the routers' addresses are.
func (l *Lab) addresses() map[packet.Addr]int {
	at := map[packet.Addr]int{}
	for i, r := range l.routers {
		for _, a := range r.addrs {
			at[packet.AddrFrom(a.Addr())] = i
		}
	}
	return at
}

// loop walks along all next hops of all routers: a router that is met again on its own way is in a loop.
func (l *Lab) loop(p netip.Prefix, at map[packet.Addr]int) bool {
	const unseen, walking, clean = 0, 1, 2
	state := make([]uint8, len(l.routers))
	var walk func(i int) bool
	walk = func(i int) bool {
		r := l.routers[i]
		if state[i] != unseen || r.stub == p || !r.host.Running() {
			return state[i] == walking
		}
		state[i] = walking
		for _, path := range r.table[p].Paths {
			if walk(at[path.NextHop]) {
				return true
			}
		}
		state[i] = clean
		return false
	}
	for i := range l.routers {
		if walk(i) {
			return true
		}
	}
	return false
}
