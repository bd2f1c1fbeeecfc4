package config

import (
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// routes checks the static routes and adds them to the Config.
func (v *validator) routes() {
	v.config.Routes = make([]Route, 0, len(v.raw.routes))
	for _, r := range v.raw.routes {
		v.route(r)
	}
	v.duplicateRoutes()
	if v.subnetsUnknown {
		return // to say that a next hop is nowhere would be a guess
	}
	for _, r := range v.raw.routes {
		if r.to.good() {
			v.resolve(v.reach.static[r.to.v])
		}
	}
}

// route checks one route by itself.
func (v *validator) route(r *rawRoute) {
	out := Route{
		To:       r.to.or(netip.Prefix{}),
		Port:     r.port.or(""),
		Type:     r.kind.or(Unicast),
		Distance: r.distance.or(1),
		Metric:   r.metric.or(0),
		Tag:      r.tag.or(0),
		Name:     r.name.or(""),
		Comment:  r.comment.or(""),
		Pos:      Pos{r.at.Line, r.at.Column},
	}
	for i, a := range r.via.v {
		out.Via = append(out.Via, a.v)
		if slices.ContainsFunc(r.via.v[:i], func(b placed[netip.Addr]) bool { return a.v == b.v }) {
			v.fail(a.at, "via: %s stands twice in this route: remove one", a.v)
		}
	}
	switch {
	case out.Type != Unicast && (r.via.at != nil || r.port.at != nil):
		v.fail(r.at, "a route of type %s leads nowhere: remove `via:` and `port:`, or the type", out.Type)
	case out.Type == Unicast && r.via.at == nil && r.port.at == nil && !r.kind.bad:
		v.fail(r.at, "the route says nothing of where to send: add `via:`, `port:` or `type: blackhole`")
	}
	if r.to.good() && out.Type == Unicast {
		v.destination(r)
	}
	v.portExists(r.port)
	v.config.Routes = append(v.config.Routes, out)
}

// destination refuses prefixes wholly within space that is never routed.
func (v *validator) destination(r *rawRoute) {
	a, bits := packet.AddrFrom(r.to.v.Addr()), r.to.v.Bits()
	switch {
	case bits >= 4 && a.IsMulticast():
		v.fail(r.to.at, "to: %s is multicast, which this version does not forward", r.to.v)
	case bits >= 8 && a.IsLoopback():
		v.fail(r.to.at, "to: %s is loopback space, which never leaves a host", r.to.v)
	case bits >= 8 && a.IsZeroNet():
		v.fail(r.to.at, "to: %s is in 0.0.0.0/8, which is never a destination; write 0.0.0.0/0 for the default route", r.to.v)
	case bits >= 4 && a.IsClassE() && !v.config.Forwarding.ClassE:
		v.fail(r.to.at, "to: %s is in the reserved 240.0.0.0/4: `forwarding: {class_e: true}` allows it", r.to.v)
	}
}

// portExists checks a reference to a port.
func (v *validator) portExists(name placed[string]) {
	if name.good() && v.byName[name.v] == nil {
		v.fail(name.at, "there is no port %q; %s", name.v, suggest(name.v, "ports", v.names))
	}
}

// duplicateRoutes refuses a second route with the same prefix, next hop and metric, and
// routes of equal rank that contradict each other in their type.
func (v *validator) duplicateRoutes() {
	type identity struct {
		to     netip.Prefix
		via    netip.Addr
		port   string
		kind   RouteType
		metric int
	}
	type rank struct {
		to               netip.Prefix
		distance, metric int
	}
	type ranked struct {
		kind RouteType
		line int
	}
	seen := make(map[identity]*rawRoute, len(v.raw.routes))
	ranks := make(map[rank]ranked, len(v.raw.routes))
	for i, r := range v.raw.routes {
		if !r.to.good() || r.via.bad || r.port.bad || r.kind.bad || r.metric.bad {
			continue
		}
		out := v.config.Routes[i]
		hops := out.Via
		if len(hops) == 0 {
			hops = []netip.Addr{{}}
		}
		duplicate := false
		for _, hop := range hops {
			id := identity{out.To, hop, out.Port, out.Type, out.Metric}
			if first, ok := seen[id]; ok && first != r && !duplicate {
				v.fail(r.at, "the route to %s stands already in line %d with the same next hop and metric: remove one", out.To, first.at.Line)
				duplicate = true
			} else if !ok {
				seen[id] = r
			}
		}
		at := rank{out.To, out.Distance, out.Metric}
		switch first, ok := ranks[at]; {
		case !ok:
			ranks[at] = ranked{out.Type, r.at.Line}
		case first.kind != out.Type:
			v.fail(r.at, "the route to %s in line %d has another type (%s) and the same distance and metric: give one of them another metric",
				out.To, first.line, first.kind)
		}
	}
}

// resolve walks what lies behind the routes to one prefix: each next hop must be
// on-link or lead, through other routes, to one that is. An error is noted where
// the way ends or closes, not at every route that relies on it.
func (v *validator) resolve(b *behind) bool {
	if b.mark == settled {
		return b.resolves
	}
	b.mark = onPath
	for _, r := range b.routes {
		if r.kind.or(Unicast) != Unicast {
			continue
		}
		if r.via.at == nil && r.port.good() || r.via.bad || r.port.bad || r.kind.bad {
			b.resolves = true
		}
		for _, hop := range r.via.v {
			if v.nextHop(r, hop) {
				b.resolves = true
			}
		}
	}
	b.mark = settled
	return b.resolves
}

// nextHop judges one next hop of a route.
func (v *validator) nextHop(r *rawRoute, hop placed[netip.Addr]) bool {
	if fault := v.specialAddress(packet.AddrFrom(hop.v)); fault != "" {
		v.fail(hop.at, "via: %s is %s: give the address of a router", hop.v, fault)
		return true // the fault is told; what relies on it is not at fault
	}
	if p := v.reach.own[hop.v]; p != nil {
		v.fail(hop.at, "via: %s is this router's own address (port %q): give that of the next router", hop.v, p.name)
		return true
	}
	if r.port.at != nil {
		p := v.byName[r.port.or("")]
		return p == nil || v.nextHopAtPort(p, hop)
	}
	if p, subnet := v.reach.onSubnet(hop.v); p != nil {
		v.refuseEdge("via", hop, subnet)
		return true
	}
	through, prefix := v.reach.through(hop.v)
	switch {
	case through == nil && v.reach.incomplete:
		return true
	case through == nil:
		v.fail(hop.at, "via: %s is on no port's subnet, and no route leads to it; the subnets are %s%s", hop.v, v.subnetList(nil), v.dynamicHint())
		return false
	case through.mark == onPath:
		v.fail(hop.at, "via: %s is reached through %s, and that again through this route: a loop; give a next hop on a port's subnet", hop.v, prefix)
		return true
	case !slices.ContainsFunc(through.routes, func(r *rawRoute) bool { return r.kind.or(Unicast) == Unicast }):
		v.fail(hop.at, "via: %s falls into the %s route to %s (line %d)", hop.v, through.routes[0].kind.v, prefix, through.routes[0].at.Line)
		return true
	}
	return v.resolve(through)
}

// nextHopAtPort judges a next hop whose port is named.
func (v *validator) nextHopAtPort(p *rawPort, hop placed[netip.Addr]) bool {
	if !v.reach.onLink(p, hop.v) {
		v.fail(hop.at, "via: %s is not on-link at port %q, whose subnets are %s", hop.v, p.name, v.subnetList(p))
		return false
	}
	if _, subnet := v.reach.onSubnet(hop.v); subnet.IsValid() {
		v.refuseEdge("via", hop, subnet)
	}
	return true
}

// refuseEdge refuses the network's own and its broadcast address as a station.
func (v *validator) refuseEdge(what string, a placed[netip.Addr], subnet netip.Prefix) {
	if isEdge(subnet, a.v) {
		v.fail(a.at, "%s: %s is the network or broadcast address of %s: give one between them", what, a.v, subnet)
	}
}

// subnetList names the subnets of one port, or of all.
func (v *validator) subnetList(p *rawPort) string {
	var all []netip.Prefix
	for _, s := range v.subnets {
		if p == nil || s.port == p {
			all = append(all, s.prefix)
		}
	}
	return prefixList(all)
}

// neighbors checks the permanent neighbours and adds them to the Config.
func (v *validator) neighbors() {
	type identity struct {
		port    string
		address netip.Addr
	}
	seen := make(map[identity]*yaml.Node, len(v.raw.neighbors))
	for _, n := range v.raw.neighbors {
		v.config.Neighbors = append(v.config.Neighbors, Neighbor{
			Port: n.port.or(""), Address: n.address.or(netip.Addr{}), MAC: n.mac.or(packet.MAC{}),
			Name: n.name.or(""), Comment: n.comment.or(""), Pos: Pos{n.at.Line, n.at.Column},
		})
		v.portExists(n.port)
		p := v.byName[n.port.or("")]
		switch {
		case p == nil || !n.address.good():
			continue
		case p.kind.or(TAP) == TUN:
			v.fail(n.port.at, "port %q is a tun port, which has no neighbours: remove this entry", p.name)
			continue
		}
		id := identity{p.name, n.address.v}
		if first := seen[id]; first != nil {
			v.fail(n.at, "the neighbour %s on port %q stands already in line %d: remove one", n.address.v, p.name, first.Line)
			continue
		}
		seen[id] = n.at
		v.neighbor(p, n)
	}
}

// neighbor checks that a neighbour is a station of its port.
func (v *validator) neighbor(p *rawPort, n *rawNeighbor) {
	a := n.address
	if fault := v.specialAddress(packet.AddrFrom(a.v)); fault != "" {
		v.fail(a.at, "address: %s is %s: give the neighbour's own", a.v, fault)
		return
	}
	if v.subnetsUnknown {
		return
	}
	if own := v.reach.own[a.v]; own != nil {
		v.fail(a.at, "address: %s is this router's own address (port %q): give the neighbour's", a.v, own.name)
		return
	}
	if !v.reach.onLink(p, a.v) {
		v.fail(a.at, "address: %s is not on-link at port %q, whose subnets are %s", a.v, p.name, v.subnetList(p))
		return
	}
	if _, subnet := v.reach.onSubnet(a.v); subnet.IsValid() {
		v.refuseEdge("address", a, subnet)
	}
	if n.mac.good() && v.config.Ports[p.index].MAC == n.mac.v {
		v.fail(n.mac.at, "mac: %s is the router's own on port %q: give the neighbour's", n.mac.v, p.name)
	}
}
