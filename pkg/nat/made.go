package nat

import "sync/atomic"

// made counts the sessions that each rule and forward has made. The numbers are pointers, so that a policy that follows goes on with
// those of its predecessor.
type made struct{ rules, forwards []*atomic.Uint64 }

// Made notes a session that was made by a rule, or by a forward, of the policy.
func (p *Policy) Made(index int, forward bool) {
	if forward {
		p.made.forwards[index].Add(1)
	} else {
		p.made.rules[index].Add(1)
	}
}

// SessionsMade by each rule and by each forward, in their order.
func (p *Policy) SessionsMade() (rules, forwards []uint64) {
	for _, n := range p.made.rules {
		rules = append(rules, n.Load())
	}
	for _, n := range p.made.forwards {
		forwards = append(forwards, n.Load())
	}
	return rules, forwards
}

// forwardName is what makes two forwards the same to whoever counts: the outside addresses may change.
type forwardName struct {
	in, portMin, portMax, toPort uint16
	protocol                     uint8
	to                           uint32
}

func (f *forward) name() forwardName {
	return forwardName{f.In, f.PortMin, f.PortMax, f.ToPort, f.Protocol, uint32(f.To)}
}

// Continue lets the counts of the rules and forwards that before has as well go on. Call it before the policy is published.
func (p *Policy) Continue(before *Policy) {
	p.made = made{}
	counters := map[any]*atomic.Uint64{}
	if before != nil {
		for i := range before.rules {
			counters[before.rules[i].id] = before.made.rules[i]
		}
		for i := range before.forwards {
			counters[before.forwards[i].name()] = before.made.forwards[i]
		}
	}
	next := func(name any) *atomic.Uint64 {
		n := counters[name]
		if n == nil {
			n = new(atomic.Uint64)
		}
		delete(counters, name) // an equal one that stands twice counts for itself
		return n
	}
	for i := range p.rules {
		p.made.rules = append(p.made.rules, next(p.rules[i].id))
	}
	for i := range p.forwards {
		p.made.forwards = append(p.made.forwards, next(p.forwards[i].name()))
	}
}
