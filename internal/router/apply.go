package router

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/internal/port"
	"vrouterd/internal/rib"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
)

// A change of configuration is all or nothing. Its only steps that may fail are
// those that touch devices; they come first, each with its undoing. What follows, in
// memory, cannot fail, and touches only what differs: a port that stays as it was
// does not lose a packet.

// Start brings up the first configuration. A port whose namespace does not exist
// yet is waited for; any other port that cannot be opened is an error.
func (r *Router) Start(c *config.Config, text string) error {
	var err error
	stopped := r.do(func() {
		if err = r.apply(c, true); err != nil {
			return
		}
		r.saved, r.running = text, true
		r.record("startup", "configuration loaded", text)
	})
	return errors.Join(stopped, err)
}

// apply makes c the running configuration. waiting: a port whose namespace does not
// exist is waited for; else it is an error.
func (r *Router) apply(c *config.Config, waiting bool) (err error) {
	var undo []func()
	defer func() {
		if err != nil {
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
	}()

	wanted := map[string]*config.Port{}
	ends := map[string]bool{} // kernel ends that are about to be opened
	for i := range c.Ports {
		wanted[c.Ports[i].Name] = &c.Ports[i]
	}

	// What can change under traffic changes; the rest is opened anew.
	var open []*config.Port
	reopen := map[string]bool{}
	for i := range c.Ports {
		want := &c.Ports[i]
		p := r.ports[want.Name]
		if p == nil {
			open = append(open, want)
			ends[kernelEnd(want)] = true
			continue
		}
		again, back, err := r.updateDevice(c.Name, p, want)
		if err != nil {
			return err
		}
		if back != nil {
			undo = append(undo, back)
		}
		if again {
			open = append(open, want)
			reopen[want.Name] = true
			ends[kernelEnd(want)] = true
		}
	}

	// A kernel end that is needed elsewhere has to be let go of first.
	for _, p := range r.ports {
		if p.dev != nil && (reopen[p.cfg.Name] || wanted[p.cfg.Name] == nil && ends[kernelEnd(&p.cfg)]) {
			p.link = port.State{Word: "down", Reason: "its device is opened anew"}
			r.unplug(p)
			undo = append(undo, func() { r.reopenAsItWas(p) })
		}
	}
	opened := map[string]Device{}
	missing := map[string]error{}
	for _, want := range open {
		dev, err := r.opt.Attach.Open(specOf(c.Name, want))
		if waiting && errors.Is(err, port.ErrNamespaceMissing) {
			r.log.Warn("port waits for its namespace", "port", want.Name, "reason", err)
			missing[want.Name] = err
			continue
		}
		if err != nil {
			return err
		}
		opened[want.Name] = dev
		undo = append(undo, func() { dev.Close() })
	}

	// Nothing fails from here on.
	before := r.config
	r.config = c
	for _, p := range r.inOrder() {
		if wanted[p.cfg.Name] == nil {
			r.removePort(p)
		}
	}
	for i := range c.Ports { // while the address is there to give it back from
		if p := r.ports[c.Ports[i].Name]; p != nil && c.Ports[i].DHCP == nil {
			r.stopClient(p)
		}
	}
	for i := range c.Ports { // first: an address may move to another port
		if p, want := r.ports[c.Ports[i].Name], &c.Ports[i]; p != nil {
			keep := r.addressesOf(want)
			if p.cfg.Kind != want.Kind {
				keep = nil // what belongs to an address differs
			}
			r.releaseAddresses(p, keep)
		}
	}
	r.changeStateful(c) // before a port is opened: NAT and firewall are there before the first packet
	for i := range c.Ports {
		want := &c.Ports[i]
		switch p := r.ports[want.Name]; {
		case p == nil:
			r.addPort(want, opened[want.Name], missing[want.Name])
		default:
			r.changePort(p, want)
			if dev := opened[want.Name]; dev != nil {
				r.plugIn(p, dev)
			}
		}
	}
	r.changeLeases(time.Now())
	r.changeNeighbors(before, c)
	r.changeRoutes(c)
	r.changeOnLink()
	r.limits.set(c.ICMP.Rate, c.ICMP.PerDestination)
	r.dp.SetErrorRate(c.ICMP.Rate)
	r.fwd.classE, r.fwd.sourceRoute, r.fwd.dirty = c.Forwarding.ClassE, c.Forwarding.SourceRoute, true
	if before.ARP != c.ARP {
		r.arp.Configure(arp.Config{Reachable: c.ARP.Reachable, MaxNeighbors: c.ARP.MaxCache})
	}
	r.changeRIP(c)
	r.tellReadOnly()
	r.stack.SetAddresses(r.ownAddresses())
	r.changeUPnP()
	r.changeDNS()
	r.changeDHCP()
	return nil
}

// kernelEnd names the device that a port is attached to.
func kernelEnd(c *config.Port) string { return c.Netns + "\x00" + c.Device }

// updateDevice changes an open device to what is wanted of it. again: it has to be
// opened anew. back undoes the change.
func (r *Router) updateDevice(instance string, p *portState, want *config.Port) (again bool, back func(), err error) {
	was, spec := specOf(r.config.Name, &p.cfg), specOf(instance, want)
	if reflect.DeepEqual(was, spec) {
		return false, nil, nil
	}
	if p.dev == nil { // missing: the next try will use what is wanted then
		return kernelEnd(&p.cfg) != kernelEnd(want), nil, nil
	}
	dev := p.dev
	switch _, err = dev.Update(spec); {
	case errors.Is(err, port.ErrNeedsReopen):
		return true, nil, nil
	case err != nil:
		return false, nil, err
	}
	return false, func() {
		if _, err := dev.Update(was); err != nil {
			r.log.Error("a refused change could not be undone", "port", p.cfg.Name, "error", err)
		}
	}, nil
}

// reopenAsItWas undoes an unplug.
func (r *Router) reopenAsItWas(p *portState) {
	dev, err := r.opt.Attach.Open(specOf(r.config.Name, &p.cfg))
	if err != nil {
		r.log.Error("a refused change could not be undone yet", "port", p.cfg.Name, "error", err)
		r.portMissing(p, err)
		return
	}
	r.plugIn(p, dev)
}

// inOrder are the ports in the order of their numbers.
func (r *Router) inOrder() []*portState {
	out := make([]*portState, 0, len(r.ports))
	for _, p := range r.ports {
		out = append(out, p)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

// changePort gives a port its new configuration, with the device that it has.
func (r *Router) changePort(p *portState, want *config.Port) {
	was, is := p.cfg, *want
	p.cfg = is
	was.Pos, is.Pos = config.Pos{}, config.Pos{}
	if reflect.DeepEqual(was, is) {
		return
	}
	p.forgetTentative()
	r.changeClient(p, &was)
	r.showPort(p)
	if p.holds {
		r.claimAddresses(p)
	}
	if was.Enabled != want.Enabled {
		r.carrier(p, want.Enabled)
	}
	wasUp := p.up
	r.reconsider(p)
	if wasUp && p.up {
		r.fwd.publish()
		r.arpPortUp(p, time.Now())
		r.ripPortUp(p, time.Now())
	}
}

// changeNeighbors tells ARP which permanent neighbours came and went.
func (r *Router) changeNeighbors(before, after *config.Config) {
	now := time.Now()
	type key struct {
		port string
		addr packet.Addr
	}
	kept := map[key]packet.MAC{}
	for i := range after.Neighbors {
		n := &after.Neighbors[i]
		kept[key{n.Port, packet.AddrFrom(n.Address)}] = n.MAC
	}
	for i := range before.Neighbors {
		n := &before.Neighbors[i]
		k := key{n.Port, packet.AddrFrom(n.Address)}
		if _, ok := kept[k]; ok {
			continue
		}
		if p := r.ports[n.Port]; p != nil {
			r.neighborActions(r.arp.Step(now, arp.DeleteStatic{Port: arp.PortID(p.id), Addr: k.addr}))
		}
	}
	for k, mac := range kept {
		if p := r.ports[k.port]; p != nil && p.up {
			r.neighborActions(r.arp.Step(now, arp.AddStatic{Port: arp.PortID(p.id), Addr: k.addr, MAC: mac}))
		}
	}
}

// changeRoutes brings the static routes of the RIB in line with the configuration.
func (r *Router) changeRoutes(c *config.Config) {
	now := time.Now()
	wanted := make(map[rib.Key]bool, len(c.Routes))
	for i := range c.Routes {
		route := r.staticRoute(&c.Routes[i])
		wanted[route.Key()] = true
		if err := r.rib.Update(now, route); err != nil {
			r.log.Error("static route refused", "route", describeRoute(&c.Routes[i]), "error", err)
		}
	}
	for k := range r.static {
		if !wanted[k] {
			r.rib.Withdraw(k)
		}
	}
	r.static = wanted
}

// changeOnLink tells ARP which networks are on-link now, where that has changed: what
// ceased to be is no neighbour any more.
func (r *Router) changeOnLink() {
	for _, p := range r.inOrder() {
		if p.up && !slices.Equal(p.onLink, r.onLink(p)) {
			r.arpPortUp(p, time.Now())
		}
	}
}

// staticRoute is a configured route as the RIB has it.
func (r *Router) staticRoute(c *config.Route) rib.Route {
	route := rib.Route{
		Prefix: c.To, Protocol: rib.Static, Source: routeSource(c),
		Distance: c.Distance, Metric: c.Metric, Tag: c.Tag,
	}
	var id dataplane.PortID
	if p := r.ports[c.Port]; p != nil {
		id = p.id
	}
	switch c.Type {
	case config.Blackhole:
		route.Type = rib.Blackhole
	case config.Unreachable:
		route.Type = rib.Unreachable
	case config.Prohibit:
		route.Type = rib.Prohibit
	default:
		route.Type = rib.Unicast
		for _, via := range c.Via {
			route.NextHops = append(route.NextHops, rib.NextHop{Addr: via, Port: uint32(id)})
		}
		if len(c.Via) == 0 {
			route.NextHops = []rib.NextHop{{Port: uint32(id)}}
		}
	}
	return route
}

// routeSource tells rival static routes to one prefix apart.
func routeSource(c *config.Route) string {
	var b strings.Builder
	for _, v := range c.Via {
		b.WriteString(v.String())
		b.WriteByte(' ')
	}
	fmt.Fprintf(&b, "%s %d %d", c.Port, c.Distance, c.Metric)
	return b.String()
}

// describeRoute is a route as `vrctl route add` takes it.
func describeRoute(c *config.Route) string {
	var b strings.Builder
	if c.Type != config.Unicast && c.Type != "" {
		b.WriteString(string(c.Type) + " ")
	}
	b.WriteString(c.To.String())
	for _, v := range c.Via {
		b.WriteString(" via " + v.String())
	}
	if c.Port != "" {
		b.WriteString(" port " + c.Port)
	}
	return b.String()
}
