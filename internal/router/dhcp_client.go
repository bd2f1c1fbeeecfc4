package router

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/internal/rib"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/client"
)

// dhcpClient is the DHCP client of a port with `address: dhcp`. The port counts as ready without an address: it is up, and the rest
// of the router does not wait for a server somewhere.
type dhcpClient struct {
	machine *client.Machine
	waiting []client.Event // what came while a step was under way
	leased  netip.Prefix   // in use; zero: none
	lease   *client.Lease  // what brought it
	unfit   *client.Lease  // what cannot be used; nil: nothing
	routes  []rib.Route    // that the RIB has of it
	reason  string         // why there is no address
	link    packet.MAC     // where the last message came from
	contest time.Time      // when somebody else was last seen with the address
}

// clientConfig is how a port's client asks.
func (r *Router) clientConfig(c *config.Port) client.Config {
	d := c.DHCP
	return client.Config{
		MAC: c.MAC, ClientID: d.ClientID, Hostname: d.Hostname, Vendor: d.Vendor, Requests: d.Requests,
		Broadcast: d.Broadcast, Check: d.Check, LeaseTime: d.LeaseTime,
	}
}

// startClient gives a port its client. It begins when the port is up.
func (r *Router) startClient(p *portState) {
	c := r.clientConfig(&p.cfg)
	c.Initial = r.loadLease(p.cfg.Name)
	p.client = &dhcpClient{machine: client.New(c, r.opt.Rand)}
}

// stopClient gives the address back and forgets the client: the configuration has it no longer.
func (r *Router) stopClient(p *portState) {
	if p.client == nil {
		return
	}
	now := time.Now()
	r.clientStep(now, p, client.Release{})
	r.dropLease(now, p)
	r.saveLease(p.cfg.Name, nil)
	p.client = nil
	r.showPort(p)
}

// changeClient follows the port's configuration, which it has already.
func (r *Router) changeClient(p *portState, was *config.Port) {
	switch now := time.Now(); {
	case p.cfg.DHCP == nil: // stopClient has come before
	case p.client == nil:
		r.startClient(p)
		r.showPort(p)
		if p.up {
			r.clientStep(now, p, client.LinkUp{})
		}
	default:
		r.clientStep(now, p, client.Configure{Config: r.clientConfig(&p.cfg)})
		if c := p.client; c.lease != nil { // distance, and what is taken of the lease, are ours
			r.changeLeaseRoutes(now, p)
		}
		if was.DHCP != nil && was.DHCP.DNS != p.cfg.DHCP.DNS {
			r.dnsUpstreamsChanged()
		}
	}
}

// clientStep gives a port's client an event and does what it asks for.
func (r *Router) clientStep(now time.Time, p *portState, e client.Event) {
	c := p.client
	if c == nil {
		return
	}
	c.waiting = append(c.waiting, e)
	if len(c.waiting) > 1 {
		return // from within a step: it is taken at its end
	}
	for i := 0; i < len(c.waiting); i++ {
		last := false
		switch c.waiting[i].(type) {
		case client.Release, client.Shutdown, client.Configure:
			last = true
		}
		for _, a := range c.machine.Step(now, c.waiting[i]) {
			r.clientAction(now, p, a, last)
		}
	}
	c.waiting = c.waiting[:0]
}

// clientAction does what a client asks for. last: its messages are the last ones from their address, and cannot wait until ARP has found where they go; they go
// where the server's came from. So do those to a server to which the way leads by another port, as the other provider's where there are two.
func (r *Router) clientAction(now time.Time, p *portState, a client.Action, last bool) {
	switch a := a.(type) {
	case client.Send:
		d := datagram{src: a.Src, srcPort: dhcp.ClientPort, dst: a.Dst, dstPort: dhcp.ServerPort, ttl: 64, payload: a.Payload}
		if last || !r.leadsOut(p, a.Dst) {
			d.mac = p.client.link
		}
		r.sendDatagram(p, &d)
	case client.Check:
		c := p.client
		r.askAddress(now, p.id, a.Addr, func(taken bool, _ packet.MAC) {
			if p.client == c {
				r.clientStep(time.Now(), p, client.Checked{Addr: a.Addr, Taken: taken})
			}
		})
	case client.Use:
		r.useLease(now, p, a.Lease)
	case client.Drop:
		p.client.unfit, p.client.reason = nil, a.Reason.Description()
		r.dropLease(now, p)
	case client.Save:
		r.saveLease(p.cfg.Name, a.Lease)
	case client.Note:
		r.clientNote(p, &a)
	}
}

// leadsOut reports that what goes to an address leaves by a port, and by no other.
func (r *Router) leadsOut(p *portState, to packet.Addr) bool {
	hops := r.rib.Lookup(to.Netip()).Hops
	other := func(hop rib.Hop) bool { return hop.Port != uint32(p.id) }
	return len(hops) > 0 && !slices.ContainsFunc(hops, other)
}

// useLease takes a lease into use: address, routes, NAT and DNS change within this turn of the loop and are published
// together.
func (r *Router) useLease(now time.Time, p *portState, lease *client.Lease) {
	c := p.client
	if r.unfit(now, p, lease) {
		return
	}
	before := c.lease
	c.lease, c.reason = lease, ""
	if c.leased != lease.Addr {
		c.leased = lease.Addr
		r.addressesChanged(now, p)
	}
	r.changeLeaseRoutes(now, p)
	if before == nil || !slices.Equal(before.DNS, lease.DNS) {
		r.dnsUpstreamsChanged()
	}
	fields := map[string]string{"port": p.cfg.Name, "address": lease.Addr.String(), "server": lease.Server.String()}
	text := fmt.Sprintf("port %s has the address %v from the DHCP server %v", p.cfg.Name, lease.Addr, lease.Server)
	if before != nil && before.Addr == lease.Addr {
		r.note("dhcp_client_renewed", p.cfg.Name, text+", confirmed", fields)
		return
	}
	if before != nil {
		fields["old"] = before.Addr.String()
		text += fmt.Sprintf(", instead of %v", before.Addr)
	}
	r.event("dhcp_client_bound", p.cfg.Name, text, fields)
}

// dropLease takes the leased address away, and all that came with it.
func (r *Router) dropLease(now time.Time, p *portState) {
	c := p.client
	if c == nil || c.lease == nil {
		return
	}
	was := c.lease
	c.lease, c.leased = nil, netip.Prefix{}
	r.changeLeaseRoutes(now, p)
	r.addressesChanged(now, p)
	r.dnsUpstreamsChanged()
	text := fmt.Sprintf("port %s has lost the address %v", p.cfg.Name, was.Addr)
	if c.reason != "" {
		text += ": " + c.reason
	}
	r.leaseGone()
	r.event("dhcp_client_lost", p.cfg.Name, text, map[string]string{"port": p.cfg.Name, "address": was.Addr.String(), "server": was.Server.String()})
}

// contestTime is how soon after another a conflict tells that the address is lost. ARP defends it against the first
// (RFC 5227 section 2.4 b) and tells of one in 10 s.
const contestTime = 30 * time.Second

// leaseContested gives a leased address up that somebody else keeps using.
func (r *Router) leaseContested(a arp.Conflict) {
	p := r.byID[dataplane.PortID(a.Port)]
	if p == nil || p.client == nil || !p.client.leased.IsValid() || p.client.leased.Addr() != a.Addr.Netip() {
		return
	}
	now, before := time.Now(), p.client.contest
	p.client.contest = now
	if a.Defended && now.Sub(before) > contestTime {
		return
	}
	r.later = append(r.later, func() { // ARP is in the middle of a step
		r.clientStep(time.Now(), p, client.Conflict{Addr: a.Addr})
	})
}

// addressesChanged tells everyone of the addresses that a port has now: forwarding tables, RIB, host stack, NAT, ARP, RIP.
func (r *Router) addressesChanged(now time.Time, p *portState) {
	p.forgetTentative()
	r.showPort(p)
	if p.holds {
		r.claimAddresses(p)
	}
	if p.up {
		r.arpPortUp(p, now)
		r.ripPortUp(p, now)
	}
}

// changeLeaseRoutes brings the routes in the RIB in line with the port's lease.
func (r *Router) changeLeaseRoutes(now time.Time, p *portState) {
	c := p.client
	before := c.routes
	c.routes = leaseRoutes(p)
	for _, route := range c.routes {
		if err := r.rib.Update(now, route); err != nil {
			r.log.Error("the routing table refused a route of DHCP", "port", p.cfg.Name, "prefix", route.Prefix, "error", err)
		}
	}
	for _, was := range before {
		if !slices.ContainsFunc(c.routes, func(is rib.Route) bool { return is.Key() == was.Key() }) {
			r.rib.Withdraw(was.Key())
		}
	}
	if onLink := r.onLink(p); p.up && !slices.Equal(p.onLink, onLink) {
		r.arpPortUp(p, now)
	}
}

// leaseRoutes are the routes that a port's lease brings: the classless ones (RFC 3442), and where there are none the
// default route. The gateway may lie outside of the network: it is asked for on the wire all the same.
func leaseRoutes(p *portState) (out []rib.Route) {
	lease, want := p.client.lease, p.cfg.DHCP
	if lease == nil || want == nil {
		return nil
	}
	add := func(to netip.Prefix, gateway packet.Addr) {
		if to.Bits() == 0 && !want.DefaultRoute || gateway == packet.AddrFrom(lease.Addr.Addr()) {
			return
		}
		route := rib.Route{
			Prefix: to.Masked(), Protocol: rib.DHCP, Source: p.cfg.Name, Distance: want.Distance,
			NextHops: []rib.NextHop{{Port: uint32(p.id)}}, From: lease.Server.Netip(),
		}
		if gateway != 0 {
			route.NextHops[0].Addr = gateway.Netip()
		}
		if !slices.ContainsFunc(out, func(other rib.Route) bool { return other.Prefix == route.Prefix }) {
			out = append(out, route)
		}
	}
	if want.Routes && len(lease.Routes) > 0 {
		for _, route := range lease.Routes {
			add(route.To, route.Gateway)
		}
	} else if len(lease.Gateways) > 0 {
		add(netip.PrefixFrom(netip.IPv4Unspecified(), 0), lease.Gateways[0])
	}
	return out
}

// leasedDNS are the servers that the leases of ports bring which take them, in the order of the configuration. An address of the router's
// own among them is left out, as the configuration refuses one: the router would ask itself.
func (r *Router) leasedDNS() (out []netip.Addr) {
	own := map[netip.Addr]bool{}
	for _, p := range r.ports {
		for _, a := range p.addresses() {
			own[a.Addr()] = true
		}
	}
	for i := range r.config.Ports {
		p := r.ports[r.config.Ports[i].Name]
		if p == nil || p.client == nil || p.client.lease == nil || !p.cfg.DHCP.DNS {
			continue
		}
		for _, a := range p.client.lease.DNS {
			if n := a.Netip(); !own[n] && !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	return out
}

// clientReceive takes an answer of DHCP to the client on the port of arrival.
func (r *Router) clientReceive(now time.Time, p *dataplane.Punt) {
	in := r.byID[p.Port]
	if in == nil || in.client == nil { // it has just gone
		r.dp.CountDrop(dataplane.DropBroadcast)
		return
	}
	ip := packet.IPv4(p.Packet)
	if u, _ := r.datagram(ip, dhcp.ClientPort); u != nil {
		before := in.client.machine.Counters().Received
		r.clientStep(now, in, client.Receive{Src: ip.Src(), Dst: ip.Dst(), SrcPort: u.SrcPort(), Payload: u.Payload()})
		if in.client.machine.Counters().Received != before { // what was ignored does not turn the last messages elsewhere
			in.client.link = packet.Ethernet(p.Link[:]).Src()
		}
	}
}

// clientsDue runs the clients whose time has come.
func (r *Router) clientsDue(now time.Time) {
	for _, p := range r.ports {
		if p.client == nil {
			continue
		}
		if next := p.client.machine.Next(); !next.IsZero() && !next.After(now) {
			r.clientStep(now, p, client.Tick{})
		}
	}
}

// stopClients is for the router's end: what is leased is kept for the next start, unless its port says otherwise.
func (r *Router) stopClients(now time.Time) {
	for _, p := range r.inOrder() {
		if p.client != nil {
			r.clientStep(now, p, client.Shutdown{Release: p.cfg.DHCP != nil && p.cfg.DHCP.Release})
		}
	}
	r.leaseFiles.done.Wait()
}

// clientNote tells what the client has to say.
func (r *Router) clientNote(p *portState, n *client.Note) {
	text := fmt.Sprintf("port %s: %s", p.cfg.Name, n.Reason.Description())
	fields := map[string]string{"port": p.cfg.Name, "reason": n.Reason.String()}
	if n.Server != 0 {
		fields["server"] = n.Server.String()
		text += fmt.Sprintf(" (server %v)", n.Server)
	}
	if n.Addr != 0 {
		fields["address"] = n.Addr.String()
	}
	if n.Text != "" {
		fields["message"] = n.Text
		text += fmt.Sprintf(": %q", n.Text)
	}
	r.note("dhcp_client_"+n.Reason.String(), p.cfg.Name, text, fields)
}
