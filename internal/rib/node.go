package rib

import (
	"cmp"
	"net/netip"
	"slices"
)

// node is a prefix with all of its routes, the best first.
type node struct {
	prefix  netip.Prefix
	routes  []*Route // immutable each; in the order of compareRoutes
	outcome outcome
	told    outcome  // what Changes last said
	rivals  []*Route // of a relevant node: the routes that could win, see contenders
	inside  int      // next hop addresses inside the prefix
	circle  int      // which circle of prefixes it belongs to; none: none
	forced  bool     // its contenders must be looked at, though they may seem the same
}

// none is the circle of a prefix that no next hop lies in: it can be in no circle.
const none = -1

// outcome is the forwarding of a prefix.
type outcome struct {
	kind   Type
	hops   []Hop
	depth  int    // routes that a next hop passes which resolves through here: 0 for a connected network
	winner *Route // the first of the routes that are used
	equals int    // how many routes, from the winner on, are used together (inactive ones in between not counted)
}

// same reports that packets see no difference.
func (o *outcome) same(p *outcome) bool { return o.kind == p.kind && slices.Equal(o.hops, p.hops) }

// compareRoutes is the order of preference.
func compareRoutes(a, b *Route) int {
	return cmp.Or(compareRank(a, b), cmp.Compare(a.Source, b.Source))
}

// compareRank leaves the sources out: routes of one rank may be used together.
func compareRank(a, b *Route) int {
	return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(a.Metric, b.Metric),
		cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Type, b.Type))
}

func (n *node) find(p Protocol, source string) int {
	return slices.IndexFunc(n.routes, func(r *Route) bool { return r.Protocol == p && r.Source == source })
}

func (n *node) insert(route *Route) {
	i, _ := slices.BinarySearchFunc(n.routes, route, compareRoutes)
	n.routes = slices.Insert(n.routes, i, route)
}

// node returns the prefix's node, made if absent.
func (r *RIB) node(p netip.Prefix) *node {
	if n, ok := r.nodes.Get(p); ok {
		return n
	}
	n := &node{prefix: p, circle: none}
	r.nodes.Insert(p, n)
	if p.Bits() > 0 {
		for range r.trackers.Subnets(p) {
			n.inside++
		}
		if n.inside > 0 {
			r.relevant[n] = struct{}{}
		}
	}
	return n
}

// link enters a route into the indexes.
func (r *RIB) link(n *node, route *Route) {
	r.routes++
	k := sourceKey{route.Protocol, route.Source}
	if r.sources[k] == nil {
		r.sources[k] = map[*node]struct{}{}
	}
	r.sources[k][n] = struct{}{}
	for _, h := range route.NextHops {
		if h.Port != 0 {
			if r.ports[h.Port] == nil {
				r.ports[h.Port] = map[*node]struct{}{}
			}
			r.ports[h.Port][n] = struct{}{}
			continue
		}
		if route.Type == Unicast {
			r.track(h.Addr, n)
		}
	}
}

// unlink takes a route out of the indexes; the node still holds it.
func (r *RIB) unlink(n *node, route *Route) {
	r.routes--
	k := sourceKey{route.Protocol, route.Source}
	delete(r.sources[k], n)
	if len(r.sources[k]) == 0 {
		delete(r.sources, k)
	}
	for _, h := range route.NextHops {
		if h.Port == 0 {
			if route.Type == Unicast {
				r.untrack(h.Addr, n)
			}
			continue
		}
		// Another route of the same prefix may use the port too.
		if !slices.ContainsFunc(n.routes, func(o *Route) bool {
			return o != route && slices.ContainsFunc(o.NextHops, func(x NextHop) bool { return x.Port == h.Port })
		}) {
			delete(r.ports[h.Port], n)
			if len(r.ports[h.Port]) == 0 {
				delete(r.ports, h.Port)
			}
		}
	}
}

// choose computes the node's outcome. resolve answers for a next hop address.
func (r *RIB) choose(n *node, resolve func(netip.Addr) resolution) outcome {
	r.stats.Selections++
	var out outcome
	for _, route := range n.routes {
		if route.Distance >= NeverUsed {
			break
		}
		if out.winner != nil && (compareRank(out.winner, route) != 0 || route.Type != Unicast || r.options.MaxPaths == 1) {
			break
		}
		hops, depth, active := r.activate(route, resolve)
		if !active {
			continue
		}
		if out.winner == nil {
			out.winner, out.kind = route, route.Type
		}
		out.equals++
		out.depth = max(out.depth, depth)
		out.hops = append(out.hops, hops...)
	}
	if out.winner != nil && out.winner.Protocol != Connected {
		out.depth++
	}
	out.hops = tidy(out.hops, r.options.MaxPaths)
	return out
}

// activate resolves a route's next hops and reports whether it can be used.
func (r *RIB) activate(route *Route, resolve func(netip.Addr) resolution) (hops []Hop, depth int, active bool) {
	switch route.Type {
	case Unicast:
	case Local:
		for _, h := range route.NextHops {
			if h.Port != 0 {
				hops = append(hops, Hop{Port: h.Port})
			}
		}
		return hops, 0, true
	default:
		return nil, 0, true
	}
	for _, h := range route.NextHops {
		if h.Port != 0 {
			if r.up[h.Port] {
				hops = append(hops, Hop{Port: h.Port, Gateway: h.Addr})
			}
			continue
		}
		if res := resolve(h.Addr); res.fault == good {
			hops = append(hops, res.hops...)
			depth = max(depth, res.depth)
		}
	}
	return hops, depth, len(hops) > 0
}

// tidy sorts hops, removes doubles and cuts at the limit.
func tidy(hops []Hop, limit int) []Hop {
	if len(hops) > 1 {
		slices.SortFunc(hops, func(a, b Hop) int {
			return cmp.Or(cmp.Compare(a.Port, b.Port), a.Gateway.Compare(b.Gateway))
		})
		hops = slices.Compact(hops)
	}
	if len(hops) > limit {
		hops = hops[:limit]
	}
	return slices.Clip(hops)
}
