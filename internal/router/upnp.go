package router

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"vrouterd/internal/igd"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/nat"
)

// upnp serves UPnP IGD on the ports that `port_mapping:` names, where `upnp: true` asks for it.
//
//	punt (239.255.255.250, UDP port 1900) -> igd.Server.Search -> answers
//	host stack, TCP port upnpPort         -> igd.Server.Serve  -> gateway -> control loop -> nat.Mappings
type upnp struct {
	server *igd.Server // nil: not configured
	served map[netip.Addr]*upnpAddress
}

// upnpAddress is one of the router's addresses at which UPnP is served.
type upnpAddress struct {
	port     string
	listener net.Listener
	stop     context.CancelFunc
	told     int       // announcements of the present row that were sent
	due      time.Time // of the next one
}

// upnpPort is where the HTTP side listens.
const upnpPort = 49000

// ssdpTTL is how far announcements may go (UPnP Device Architecture 1.0 section 1.1.2 allows 4, later versions ask for 2).
const ssdpTTL = 2

// changeUPnP follows the configuration and the addresses of its ports; the host stack has them already.
func (r *Router) changeUPnP() {
	u, c := &r.upnp, r.config
	if c.PortMapping == nil || !c.PortMapping.UPnP {
		r.stopUPnP()
		u.server = nil
		return
	}
	var networks []netip.Prefix
	wanted := map[netip.Addr]string{}
	for _, p := range r.inOrder() {
		if !p.holds || !slices.Contains(c.PortMapping.Ports, p.cfg.Name) {
			continue
		}
		for _, a := range p.usable() {
			wanted[a.Addr()] = p.cfg.Name
			networks = append(networks, a.Masked())
		}
	}
	settings := igd.Config{Port: upnpPort, MaxLease: c.PortMapping.MaxLifetime, Permitted: func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
	}}
	var err error
	if u.server == nil {
		u.server, err = igd.New(igd.Options{
			Gateway: gateway{r}, Seed: []byte(c.Name), Version: r.opt.Version, Boot: r.started,
		}, settings)
		u.served = map[netip.Addr]*upnpAddress{}
	} else {
		err = u.server.Configure(settings)
	}
	if err != nil {
		r.log.Error("UPnP is not served", "error", err)
		u.server = nil
		return
	}
	for a, at := range u.served {
		if wanted[a] != at.port {
			r.leaveUPnP(a, at)
		}
	}
	for a, port := range wanted {
		if u.served[a] == nil {
			r.serveUPnP(a, port)
		}
	}
}

// serveUPnP begins to serve at an address.
func (r *Router) serveUPnP(a netip.Addr, port string) {
	l, err := r.stack.ListenTCP(netip.AddrPortFrom(a, upnpPort))
	if err != nil {
		r.log.Warn("UPnP is not served at an address", "address", a, "error", err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := r.upnp.server
	go func() {
		if err := server.Serve(ctx, l); err != nil && ctx.Err() == nil {
			r.log.Warn("UPnP has stopped at an address", "address", a, "error", err)
		}
	}()
	at := &upnpAddress{port: port, listener: l, stop: cancel, due: time.Now()}
	r.upnp.served[a] = at
	r.tellSSDP(a, port, server.ByeBye(time.Now(), a)) // of a life before this one
}

// leaveUPnP ends serving at an address, and says so.
func (r *Router) leaveUPnP(a netip.Addr, at *upnpAddress) {
	r.tellSSDP(a, at.port, r.upnp.server.ByeBye(time.Now(), a))
	at.stop()
	at.listener.Close()
	delete(r.upnp.served, a)
}

// stopUPnP ends serving at every address.
func (r *Router) stopUPnP() {
	for a, at := range r.upnp.served {
		r.leaveUPnP(a, at)
	}
}

// tellSSDP sends announcements to the group on a port.
func (r *Router) tellSSDP(from netip.Addr, port string, datagrams [][]byte) {
	p := r.ports[port]
	if p == nil || !p.up {
		return
	}
	for _, payload := range datagrams {
		r.sendDatagram(p, &datagram{src: packet.AddrFrom(from), srcPort: igd.Port, dst: packet.AddrFrom(igd.Group()), dstPort: igd.Port,
			ttl: ssdpTTL, payload: payload})
	}
}

// upnpDue announces where it is time.
func (r *Router) upnpDue(now time.Time) {
	for a, at := range r.upnp.served {
		if !at.due.After(now) {
			r.tellSSDP(a, at.port, r.upnp.server.Alive(now, a))
			if at.told++; at.told < igd.Repeats {
				at.due = now.Add(igd.RepeatAfter)
			} else {
				at.told = 0
				at.due = now.Add(igd.AliveEvery + time.Duration(r.opt.Rand.Int64N(int64(igd.AliveEvery/10))))
			}
		}
	}
}

// upnpReceive serves a search; false: it is none.
func (r *Router) upnpReceive(now time.Time, p *dataplane.Punt, ip packet.IPv4) bool {
	in := r.byID[p.Port]
	if r.upnp.server == nil || p.Own || in == nil || !slices.Contains(r.config.PortMapping.Ports, in.cfg.Name) {
		return false
	}
	u, mine := r.datagram(ip, igd.Port)
	if u == nil {
		return mine
	}
	local, ok := r.sourceTowards(p.Port, ip.Src())
	if !ok || r.upnp.served[local.Netip()] == nil {
		return true
	}
	for _, answer := range r.upnp.server.Search(now, netip.AddrPortFrom(ip.Src().Netip(), u.SrcPort()), local.Netip(), u.Payload()) {
		r.sendDatagram(in, &datagram{src: local, srcPort: igd.Port, dst: ip.Src(), dstPort: u.SrcPort(), ttl: 64, payload: answer})
	}
	return true
}

// gateway is the NAT as UPnP sees it. Its methods are called from the goroutines of connections, and do their work in
// the control loop.
type gateway struct{ r *Router }

// External is the outside address of a client's mappings.
func (g gateway) External(_ context.Context, client netip.Addr) (a netip.Addr, ok bool) {
	g.r.do(func() { a, ok = mapper(g).Address(client) })
	return a, ok
}

// Link tells how the outside port of a client's mappings does.
func (g gateway) Link(_ context.Context, client netip.Addr) (l igd.Link, err error) {
	stopped := g.r.do(func() {
		outside, ok := mapper(g).Address(client)
		for _, p := range g.r.inOrder() {
			if !ok || !slices.ContainsFunc(p.addresses(), func(a netip.Prefix) bool { return a.Addr() == outside }) {
				continue
			}
			n := g.r.countersOf(p)
			l = igd.Link{Up: p.up, Uptime: time.Since(g.r.started), BytesSent: n.TxBytes, BytesReceived: n.RxBytes,
				PacketsSent: n.TxPackets, PacketsReceived: n.RxPackets}
		}
	})
	return l, stopped
}

// Add makes or renews a mapping.
func (g gateway) Add(_ context.Context, m igd.Mapping, elsewhere bool) (igd.Mapping, error) {
	var why nat.Reason
	var made nat.Explicit
	stopped := g.r.do(func() {
		e := nat.Explicit{
			Protocol: m.Protocol, Inside: packet.AddrFrom(m.Internal.Addr()), InsidePort: m.Internal.Port(), OutsidePort: m.External,
			By: nat.ByUPnP, Owner: m.Description,
		}
		if m.Remote.IsValid() {
			e.Remote = packet.AddrFrom(m.Remote)
		}
		made, why = mapper(g).add(e, m.Lease, !elsewhere)
	})
	if stopped != nil {
		return m, stopped
	}
	switch why {
	case nat.ReasonNone:
		m.External = made.OutsidePort
		return m, nil
	case nat.ReasonTaken:
		return m, igd.Conflict
	case nat.ReasonHostLimit, nat.ReasonNotAllowed:
		return m, igd.NotAuthorized
	case nat.ReasonMappings, nat.ReasonNoPorts, nat.ReasonNoBlocks:
		return m, igd.NoPortMaps
	}
	return m, fmt.Errorf("%w: %s", igd.ActionFailed, why.Description())
}

// at is the explicit mapping that a key names, at whichever outside address it is. It runs on the control goroutine.
func (g gateway) at(k igd.Key) (nat.Explicit, bool) {
	var remote packet.Addr
	if k.Remote.IsValid() {
		remote = packet.AddrFrom(k.Remote)
	}
	for _, outside := range g.r.stateful.outside {
		if e, ok := g.r.stateful.mappings.ExplicitAt(k.Protocol, outside, k.External); ok && e.Remote == remote {
			return e, true
		}
	}
	return nat.Explicit{}, false
}

// Delete ends a client's mapping, and the sessions that came in by it.
func (g gateway) Delete(_ context.Context, k igd.Key, client netip.Addr) (err error) {
	stopped := g.r.do(func() {
		e, ok := g.at(k)
		switch {
		case !ok:
			err = igd.NoSuchEntry
		case e.Inside != packet.AddrFrom(client):
			err = igd.NotAuthorized
		default:
			g.r.stateful.mappings.DeleteAt(g.r.sessionTick(), e.Protocol, e.Outside, e.OutsidePort)
			g.r.mappingEvent("mapping_removed", &e, "removed")
			g.r.later = append(g.r.later, func() { g.r.endMapped([]nat.Explicit{e}) })
		}
	})
	if stopped != nil {
		return stopped
	}
	return err
}

// Find returns one mapping.
func (g gateway) Find(_ context.Context, k igd.Key) (m igd.Mapping, err error) {
	stopped := g.r.do(func() {
		if e, ok := g.at(k); ok {
			m = g.mapping(&e)
		} else {
			err = igd.NoSuchEntry
		}
	})
	if stopped != nil {
		return m, stopped
	}
	return m, err
}

// List returns all mappings of a client that somebody has asked for.
func (g gateway) List(_ context.Context, client netip.Addr) (list []igd.Mapping, err error) {
	inside := packet.AddrFrom(client)
	mine := func(row *nat.Row) bool {
		return row.Inside == inside && row.By != nat.ByTraffic && row.By != nat.ByHelper
	}
	for cursor := uint64(0); ; { // off the control loop: the table has locks of its own
		page, next := g.r.stateful.mappings.Page(g.r.sessionTick(), cursor, pageMost, mine)
		for i := range page {
			list = append(list, g.mapping(&page[i].Explicit))
		}
		if cursor = next; next == 0 {
			return list, nil
		}
	}
}

// mapping is an explicit mapping as UPnP has it.
func (g gateway) mapping(e *nat.Explicit) igd.Mapping {
	m := igd.Mapping{
		Key:      igd.Key{Protocol: e.Protocol, External: e.OutsidePort},
		Internal: netip.AddrPortFrom(e.Inside.Netip(), e.InsidePort), Description: e.Owner,
	}
	if e.Remote != 0 {
		m.Remote = e.Remote.Netip()
	}
	if now := g.r.sessionTick(); e.Expires > now {
		m.Lease = time.Duration(e.Expires-now) * time.Second / conntrack.TicksPerSecond
	}
	return m
}
