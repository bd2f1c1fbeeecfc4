package rib

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// View is a route as people see it.
type View struct {
	Route
	Active   bool   // its next hops resolve: it may be selected
	Selected bool   // packets use it
	Hops     []Hop  // where it resolves to; those of the prefix may be merged from several routes
	Reason   string // why it is selected, or why not: one sentence
}

// Lookup tells what becomes of packets to an address.
type Lookup struct {
	Change            // of the longest prefix that has a best route; Type None: no route covers the address
	Why        string // one sentence
	Candidates []View // every route that covers the address: longest prefix first, then by preference
}

// Best returns the forwarding of one prefix; Type None when it has none.
func (r *RIB) Best(p netip.Prefix) Change {
	r.settle()
	if n, ok := r.nodes.Get(p); ok && n.outcome.kind != None {
		return n.best()
	}
	return Change{Prefix: p}
}

// Lookup finds the route to an address, with every route that was considered.
func (r *RIB) Lookup(a netip.Addr) Lookup {
	r.settle()
	l := Lookup{Why: fmt.Sprintf("no route covers %v", a)}
	if !a.IsValid() {
		return l
	}
	for p, n := range r.nodes.Supernets(host(a)) {
		views := r.views(n)
		switch {
		case l.Type != None:
			for i := range views {
				views[i].Selected = false
				if views[i].Active {
					views[i].Reason = fmt.Sprintf("the longer prefix %v wins", l.Prefix)
				}
			}
		case n.outcome.kind != None:
			l.Change = n.best()
			l.Why = fmt.Sprintf("%v is the longest prefix that covers %v; %s", p, a, views[n.winnerIndex()].Reason)
			if len(l.Candidates) > 0 {
				l.Why = fmt.Sprintf("%v is the longest prefix with an active route that covers %v; %s",
					p, a, views[n.winnerIndex()].Reason)
			}
		}
		l.Candidates = append(l.Candidates, views...)
	}
	if l.Type == None && len(l.Candidates) > 0 {
		l.Why = fmt.Sprintf("no active route covers %v; %s", a, l.Candidates[0].Reason)
	}
	return l
}

// All returns every route, in address order, shorter prefixes first, then by preference.
func (r *RIB) All() []View {
	r.settle()
	out := make([]View, 0, r.routes)
	for _, n := range r.nodes.AllSorted() {
		out = append(out, r.views(n)...)
	}
	return out
}

func (n *node) best() Change {
	w := n.outcome.winner
	return Change{Prefix: n.prefix, Type: n.outcome.kind, Hops: slices.Clone(n.outcome.hops), Protocol: w.Protocol, Source: w.Source}
}

func (n *node) winnerIndex() int { return slices.Index(n.routes, n.outcome.winner) }

// views describes the routes of a node, which must be settled.
func (r *RIB) views(n *node) []View {
	out := make([]View, len(n.routes))
	resolve := func(a netip.Addr) resolution { return r.resolve(a, n.circle) }
	w := n.outcome.winner
	for i, route := range n.routes {
		v := View{Route: *route}
		v.NextHops = slices.Clone(route.NextHops)
		var hops []Hop
		hops, _, v.Active = r.activate(route, resolve)
		v.Hops = tidy(hops, r.options.MaxPaths)
		v.Active = v.Active && route.Distance < NeverUsed
		switch {
		case route.Distance >= NeverUsed:
			v.Reason = "distance 255 means never"
		case !v.Active:
			v.Reason = r.whyInactive(n, route, resolve)
		case route == w || compareRank(route, w) == 0 && route.Type == Unicast && r.options.MaxPaths > 1:
			v.Selected = true
		default:
			v.Reason = whyLost(route, w)
		}
		out[i] = v
	}
	for i := range out {
		if out[i].Selected {
			out[i].Reason = whyWon(n, out)
		}
	}
	return out
}

// whyWon is the sentence of the routes that are used.
func whyWon(n *node, views []View) string {
	var parts []string
	if n.outcome.equals > 1 {
		parts = append(parts, fmt.Sprintf("%d equal routes share the traffic", n.outcome.equals))
	}
	w := n.outcome.winner
	for i, v := range views {
		if v.Active && !v.Selected {
			parts = append(parts, whyBeats(w, n.routes[i]))
			break
		}
	}
	if len(parts) == 0 {
		if len(views) == 1 {
			return "it is the only route to the prefix"
		}
		return "it is the only active route to the prefix"
	}
	return strings.Join(parts, " and ")
}

// whyBeats says why w is preferred to l, from w's side.
func whyBeats(w, l *Route) string {
	switch {
	case w.Distance != l.Distance:
		return fmt.Sprintf("lower distance %d beats %d of %v", w.Distance, l.Distance, l.Protocol)
	case w.Metric != l.Metric:
		return fmt.Sprintf("lower metric %d beats %d of %v", w.Metric, l.Metric, origin(l))
	case w.Protocol != l.Protocol:
		return fmt.Sprintf("%v goes before %v where distance and metric are equal", w.Protocol, l.Protocol)
	case w.Type != l.Type:
		return fmt.Sprintf("%v goes before %v where all else is equal", w.Type, l.Type)
	}
	return fmt.Sprintf("its source %q comes before %q and all else is equal", w.Source, l.Source)
}

// whyLost is whyBeats from the other side.
func whyLost(l, w *Route) string {
	switch {
	case w.Distance != l.Distance:
		return fmt.Sprintf("distance %d loses to %d of %v", l.Distance, w.Distance, w.Protocol)
	case w.Metric != l.Metric:
		return fmt.Sprintf("metric %d loses to %d of %v", l.Metric, w.Metric, origin(w))
	case w.Protocol != l.Protocol:
		return fmt.Sprintf("%v goes before %v where distance and metric are equal", w.Protocol, l.Protocol)
	case w.Type != l.Type:
		return fmt.Sprintf("%v goes before %v where all else is equal", w.Type, l.Type)
	}
	return fmt.Sprintf("the source %q comes before %q and all else is equal", w.Source, l.Source)
}

func origin(r *Route) string {
	if r.From.IsValid() {
		return fmt.Sprintf("%v from %v", r.Protocol, r.From)
	}
	return r.Protocol.String()
}

// whyInactive names every next hop that fails.
func (r *RIB) whyInactive(n *node, route *Route, resolve func(netip.Addr) resolution) string {
	var parts []string
	for _, h := range route.NextHops {
		var s string
		if h.Port != 0 {
			s = fmt.Sprintf("the port %s is down", r.options.PortName(h.Port))
		} else {
			res := resolve(h.Addr)
			s = fmt.Sprintf("its next hop %v does not resolve: %s", h.Addr, r.whyUnresolved(n, res))
		}
		if !slices.Contains(parts, s) {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, "; ")
}

func (r *RIB) whyUnresolved(n *node, res resolution) string {
	switch res.fault {
	case onlyDefault:
		return "only the default route leads to it"
	case ownAddress:
		return "it is this router's own address"
	case discarded:
		return fmt.Sprintf("%v is %v", res.via.prefix, res.via.outcome.kind)
	case circular:
		if res.via == n {
			return "it lies in this prefix itself"
		}
		return fmt.Sprintf("%v in turn depends on this prefix", res.via.prefix)
	case tooDeep:
		return fmt.Sprintf("it is more than %d routes away from a connected network", MaxDepth)
	}
	return "no active route leads to it"
}
