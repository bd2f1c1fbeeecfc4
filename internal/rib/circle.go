package rib

import "slices"

// contenders are the routes of a node that could win: all up to the first that is active
// without resolving anything, and its equals. What ranks below that one never
// matters to anybody, and so makes no circle.
func (r *RIB) contenders(n *node) []*Route {
	var grounded *Route
	for i, route := range n.routes {
		if route.Distance >= NeverUsed || grounded != nil && compareRank(grounded, route) != 0 {
			return slices.Clone(n.routes[:i])
		}
		if grounded == nil && r.isGrounded(route) {
			grounded = route
		}
	}
	return slices.Clone(n.routes)
}

func (r *RIB) isGrounded(route *Route) bool {
	if route.Type != Unicast {
		return true
	}
	for _, h := range route.NextHops {
		if h.Port != 0 && r.up[h.Port] {
			return true
		}
	}
	return false
}

// inOrder finds the circles among the relevant prefixes and returns those prefixes so that each
// comes after the ones that its next hops may resolve through. It is Tarjan's algorithm (SIAM J. Comput. 1972),
// with a stack of its own, since chains of static routes may be as long as a user likes: the
// strongly connected components leave it in just that order.
func (r *RIB) inOrder() []*node {
	var (
		order  = make([]*node, 0, len(r.relevant))
		number = make(map[*node]int, len(r.relevant)) // order of discovery, from 1
		low    = make(map[*node]int, len(r.relevant))
		on     = make(map[*node]bool)
		stack  []*node
		circle int
	)
	type frame struct {
		n     *node
		edges []*node
	}
	var walk []frame
	enter := func(n *node) {
		number[n] = len(number) + 1
		low[n] = number[n]
		on[n] = true
		stack = append(stack, n)
		walk = append(walk, frame{n, r.dependsOn(n)})
	}
	for root := range r.relevant {
		if number[root] != 0 {
			continue
		}
		enter(root)
		for len(walk) > 0 {
			f := &walk[len(walk)-1]
			n := f.n
			if len(f.edges) > 0 {
				next := f.edges[0]
				f.edges = f.edges[1:]
				if number[next] == 0 {
					enter(next)
				} else if on[next] {
					low[n] = min(low[n], number[next])
				}
				continue
			}
			walk = walk[:len(walk)-1]
			if len(walk) > 0 {
				parent := walk[len(walk)-1].n
				low[parent] = min(low[parent], low[n])
			}
			if low[n] != number[n] {
				continue
			}
			for {
				member := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				on[member] = false
				member.circle = circle
				order = append(order, member)
				if member == n {
					break
				}
			}
			circle++
		}
	}
	return order
}

// dependsOn returns the prefixes that the next hops of n's contenders may resolve
// through: those that cover one, up to the first that certainly will do, whatever the others do.
func (r *RIB) dependsOn(n *node) []*node {
	var out []*node
	n.rivals = r.contenders(n)
	for _, route := range n.rivals {
		for _, h := range route.NextHops {
			if h.Port != 0 || route.Type != Unicast {
				continue
			}
			for p, cover := range r.nodes.Supernets(host(h.Addr)) {
				if p.Bits() == 0 {
					break
				}
				out = append(out, cover)
				if r.isCertain(cover) {
					break
				}
			}
		}
	}
	return out
}

// isCertain reports a prefix that has a route and needs no resolution: it is in no circle, and
// no next hop looks for a shorter one.
func (r *RIB) isCertain(n *node) bool {
	grounded := false
	for _, route := range r.contenders(n) {
		grounded = grounded || r.isGrounded(route)
		for _, h := range route.NextHops {
			if h.Port == 0 && route.Type == Unicast {
				return false
			}
		}
	}
	return grounded
}
