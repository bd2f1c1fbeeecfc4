package config

import (
	"net/netip"
	"slices"
)

// reach answers where a next hop is: on the subnet of a port, or behind other static
// routes. It holds prefixes in maps and asks only for the lengths in use, so
// that ten thousand routes take ten thousand times a few look-ups.
//
// A port's subnet is asked first, whatever routes lie within it: a host route to a
// neighbour through that neighbour is legal and no loop. The default route is never
// asked: nearly every mistyped next hop would be "reachable" through it.
type reach struct {
	own       map[netip.Addr]*rawPort
	connected map[netip.Prefix]*rawPort
	static    map[netip.Prefix]*behind
	inUse     uint64 // a bit for each prefix length, 1 to 32, of static
	inUsePort uint64 // and of connected

	incomplete bool // a route's destination could not be read
}

// behind is what lies behind the static routes to one prefix.
type behind struct {
	routes   []*rawRoute
	mark     mark
	resolves bool
}

// mark is the colour of a depth-first walk.
type mark uint8

const (
	unseen  mark = iota
	onPath       // being walked: to meet it again is a loop
	settled      // resolves is known
)

func newReach(v *validator) *reach {
	r := &reach{
		own:       make(map[netip.Addr]*rawPort, len(v.subnets)),
		connected: make(map[netip.Prefix]*rawPort, len(v.subnets)),
		static:    make(map[netip.Prefix]*behind, len(v.raw.routes)),
	}
	for _, s := range v.subnets {
		r.own[s.prefix.Addr()] = s.port
		r.connected[s.prefix.Masked()] = s.port
		r.inUsePort |= 1 << s.prefix.Bits()
	}
	for _, route := range v.raw.routes {
		if !route.to.good() {
			r.incomplete = true
			continue
		}
		b := r.static[route.to.v]
		if b == nil {
			b = &behind{}
			r.static[route.to.v] = b
			r.inUse |= 1 << route.to.v.Bits()
		}
		b.routes = append(b.routes, route)
	}
	return r
}

// onSubnet returns the port and the subnet that hold an address, or nil.
func (r *reach) onSubnet(a netip.Addr) (*rawPort, netip.Prefix) {
	for bits := 32; bits > 0; bits-- {
		if r.inUsePort&(1<<bits) == 0 {
			continue
		}
		prefix := netip.PrefixFrom(a, bits).Masked()
		if p := r.connected[prefix]; p != nil {
			return p, prefix
		}
	}
	return nil, netip.Prefix{}
}

// through returns the longest static prefix that holds an address, the default
// route apart, or nil.
func (r *reach) through(a netip.Addr) (*behind, netip.Prefix) {
	for bits := 32; bits > 0; bits-- {
		if r.inUse&(1<<bits) == 0 {
			continue
		}
		prefix := netip.PrefixFrom(a, bits).Masked()
		if b := r.static[prefix]; b != nil {
			return b, prefix
		}
	}
	return nil, netip.Prefix{}
}

// onLink reports a next hop that the port of that name can send to directly: by its
// subnet, by a route that says so, or because a tun port has only one far end. Of a port whose
// network DHCP brings it may be true.
func (r *reach) onLink(p *rawPort, a netip.Addr) bool {
	if at, _ := r.onSubnet(a); at != nil {
		return at == p
	}
	if p.kind.or(TAP) == TUN || p.dynamic {
		return true
	}
	return r.portRoute(p.name, a)
}

// portRoute reports that the longest static prefix of an address is on-link at the port.
func (r *reach) portRoute(port string, a netip.Addr) bool {
	b, _ := r.through(a)
	return b != nil && slices.ContainsFunc(b.routes, func(r *rawRoute) bool {
		return r.via.at == nil && r.port.or("") == port && r.kind.or(Unicast) == Unicast
	})
}
