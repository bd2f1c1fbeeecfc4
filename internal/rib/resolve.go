package rib

import (
	"net/netip"
	"slices"
)

// tracker is a next hop address and the prefixes that depend on it.
type tracker struct {
	addr       netip.Addr
	res        resolution // as seen from a prefix that is in no circle
	dependents map[*node]int
}

// fault says why a next hop does not resolve.
type fault uint8

const (
	good        fault = iota
	noRoute           // nothing covers it
	onlyDefault       // nothing but the default route covers it
	ownAddress        // it is an address of this router
	discarded         // the covering route discards
	circular          // only the prefix itself, or one in a circle with it, covers it
	tooDeep           // more than MaxDepth routes
)

// resolution of a next hop address.
type resolution struct {
	hops  []Hop
	depth int
	fault fault
	via   *node // the prefix that decided; nil: none
}

// same reports that a dependent prefix sees no difference.
func (a *resolution) same(b *resolution) bool {
	return a.fault == b.fault && a.depth == b.depth && slices.Equal(a.hops, b.hops)
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// track makes n depend on a next hop address.
func (r *RIB) track(a netip.Addr, n *node) {
	t, ok := r.trackers.Get(host(a))
	if !ok {
		t = &tracker{addr: a, dependents: map[*node]int{}}
		r.trackers.Insert(host(a), t)
		r.fresh[t] = struct{}{}
		for p, cover := range r.nodes.Supernets(host(a)) {
			if p.Bits() > 0 {
				if cover.inside++; cover.inside == 1 {
					// Its contenders are not known: its next change, whatever it is, counts.
					cover.forced = true
					r.relevant[cover] = struct{}{}
				}
			}
		}
	}
	t.dependents[n]++
}

// untrack undoes one track.
func (r *RIB) untrack(a netip.Addr, n *node) {
	t, _ := r.trackers.Get(host(a))
	if t.dependents[n]--; t.dependents[n] > 0 {
		return
	}
	delete(t.dependents, n)
	if len(t.dependents) > 0 {
		return
	}
	r.trackers.Delete(host(a))
	delete(r.fresh, t)
	for p, cover := range r.nodes.Supernets(host(a)) {
		if p.Bits() == 0 {
			continue
		}
		if cover.inside--; cover.inside == 0 {
			// It can be in no circle any more: what it passed over before may serve now.
			cover.circle = none
			cover.rivals = nil
			delete(r.relevant, cover)
			r.dirty[cover] = struct{}{}
		}
	}
}

// settle brings every outcome up to date:
//
//  1. Relevant prefixes, which others may resolve through, if the routes that could win have
//     changed in any of them: circles are found, and outcomes computed in the order of dependence.
//  2. The next hop addresses inside those whose outcome changed.
//  3. The other prefixes that are dirty or depend on an address whose resolution changed.
//     Nothing depends on these, so one pass is enough.
func (r *RIB) settle() {
	if len(r.dirty) == 0 && len(r.fresh) == 0 {
		return
	}
	for n := range r.dirty {
		if _, ok := r.relevant[n]; !ok {
			continue
		}
		rivals := r.contenders(n)
		if n.forced || !slices.Equal(rivals, n.rivals) {
			r.circles = true
		}
		n.rivals = rivals
		r.changed[n] = struct{}{} // an empty node has to go
	}
	pending := r.fresh
	r.fresh = map[*tracker]struct{}{}
	if r.circles {
		r.circles = false
		for _, n := range r.inOrder() {
			out := r.choose(n, func(a netip.Addr) resolution { return r.resolve(a, n.circle) })
			differs := !out.same(&n.outcome) || out.depth != n.outcome.depth
			n.outcome = out
			if !differs {
				continue
			}
			r.changed[n] = struct{}{}
			for _, t := range r.trackers.Subnets(n.prefix) {
				pending[t] = struct{}{}
			}
		}
	}
	for t := range pending {
		res := r.resolve(t.addr, none)
		differs := !res.same(&t.res)
		t.res = res
		if differs {
			for n := range t.dependents {
				r.dirty[n] = struct{}{}
			}
		}
	}
	for n := range r.dirty {
		n.forced = false
		if _, ok := r.relevant[n]; ok {
			continue
		}
		n.outcome = r.choose(n, r.shared)
		r.changed[n] = struct{}{}
	}
	clear(r.dirty)
}

// shared returns what settle has resolved for all prefixes outside of circles.
func (r *RIB) shared(a netip.Addr) resolution {
	t, _ := r.trackers.Get(host(a))
	return t.res
}

// resolve finds the way to a next hop address, passing over the prefixes of one circle.
func (r *RIB) resolve(a netip.Addr, circle int) resolution {
	r.stats.Resolutions++
	res := resolution{fault: noRoute}
	for p, n := range r.nodes.Supernets(host(a)) {
		if p.Bits() == 0 {
			if n.outcome.kind != None && res.fault == noRoute {
				res = resolution{fault: onlyDefault, via: n}
			}
			break
		}
		if circle != none && n.circle == circle {
			res = resolution{fault: circular, via: n}
			continue
		}
		switch n.outcome.kind {
		case None:
			continue
		case Unicast:
		case Local:
			return resolution{fault: ownAddress, via: n}
		default:
			return resolution{fault: discarded, via: n}
		}
		if n.outcome.depth > MaxDepth {
			return resolution{fault: tooDeep, via: n}
		}
		res := resolution{via: n, hops: make([]Hop, len(n.outcome.hops)), depth: n.outcome.depth}
		for i, h := range n.outcome.hops {
			if !h.Gateway.IsValid() {
				h.Gateway = a
			}
			res.hops[i] = h
		}
		return res
	}
	return res
}
