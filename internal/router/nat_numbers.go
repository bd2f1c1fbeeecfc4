package router

import (
	"net/netip"

	"vrouterd/internal/config"
)

// natNumbers are the numbers under which sessions remember the rule or the forward that translates them. A number stays with
// what it stands for when others come and go, and is not given away before all others have been used: so that sessions
// from before a change are not shown as those of another rule.
type natNumbers struct {
	of   map[natIdentity]uint16
	what map[uint16]natIdentity
	last uint16

	list  []uint16       // of the present rules, then of the forwards
	index map[uint16]int // in list; it is never written again once it is here
}

// natIdentity is what makes a rule or forward the one that it was: not its name, nor its place.
type natIdentity struct {
	kind, port                string
	protocol                  uint8
	ports                     config.PortRange
	inside, outside           netip.Addr
	toPort                    uint16
	source, destination       netip.Prefix // the first of them
	sources, destinations, to int          // how many
	again                     int          // among its equals
}

func ruleIdentity(n *config.NATRule) natIdentity {
	id := natIdentity{
		kind: string(n.Type), port: n.Out, protocol: n.Protocol, ports: n.Ports, inside: n.Inside, outside: n.Outside,
		sources: len(n.Source), destinations: len(n.Destination), to: len(n.To),
	}
	if len(n.Source) > 0 {
		id.source = n.Source[0]
	}
	if len(n.Destination) > 0 {
		id.destination = n.Destination[0]
	}
	if len(n.To) > 0 {
		id.outside = n.To[0]
	}
	return id
}

func forwardIdentity(f *config.Forward) natIdentity {
	id := natIdentity{
		kind: "forward", port: f.In, protocol: f.Protocol, ports: f.Ports, inside: f.To, outside: f.Address, toPort: f.ToPort,
		sources: len(f.Source),
	}
	if len(f.Source) > 0 {
		id.source = f.Source[0]
	}
	return id
}

// assign numbers the rules and forwards of a configuration.
func (n *natNumbers) assign(c *config.Config) {
	if n.of == nil {
		n.of, n.what = map[natIdentity]uint16{}, map[uint16]natIdentity{}
	}
	var ids []natIdentity
	equals := map[natIdentity]int{}
	add := func(id natIdentity) {
		equals[id]++
		id.again = equals[id]
		ids = append(ids, id)
	}
	for i := range c.NAT {
		add(ruleIdentity(&c.NAT[i]))
	}
	for i := range c.Forwards {
		add(forwardIdentity(&c.Forwards[i]))
	}
	n.list, n.index = make([]uint16, len(ids)), make(map[uint16]int, len(ids))
	for i, id := range ids {
		if number, known := n.of[id]; known {
			n.list[i], n.index[number] = number, i
		}
	}
	for i, id := range ids {
		if n.list[i] == 0 {
			n.list[i] = n.fresh(id)
			n.index[n.list[i]] = i
		}
	}
}

// fresh gives a number that no present rule has; there are more numbers than a configuration has rules.
func (n *natNumbers) fresh(id natIdentity) uint16 {
	for {
		n.last++
		if _, present := n.index[n.last]; n.last != 0 && !present {
			break
		}
	}
	if before, known := n.what[n.last]; known {
		delete(n.of, before)
	}
	n.of[id], n.what[n.last] = n.last, id
	return n.last
}
