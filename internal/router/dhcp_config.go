package router

import (
	"maps"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/server"
)

// changeDHCP follows the section `dhcp:`. Ports have their numbers and addresses already.
func (r *Router) changeDHCP() {
	r.changeRelay()
	r.changeServer()
	r.tellReservations()
}

// changeServer starts, changes or stops the server.
func (r *Router) changeServer() {
	d, c, now := &r.dhcp, r.config.DHCP, time.Now()
	d.retryAt = time.Time{}
	switch {
	case c == nil || len(c.Subnets) == 0:
		if d.server == nil {
			d.failing = ""
			return
		}
		for _, l := range d.server.Leases(now) {
			if l.State == server.Bound && l.Hostname != "" {
				r.dnsName(nameOfLease, "", l.Addr)
			}
		}
		r.closeJournal()
		d.server, d.failing = nil, ""
	case d.server == nil:
		held, err := r.openJournal()
		if err != nil {
			if d.failing != err.Error() { // it is tried again and again
				r.event("dhcp_journal_failed", "dhcp", "no address is given away until the journal of leases can be opened: "+err.Error(), nil)
			}
			d.failing, d.retryAt = err.Error(), now.Add(retryJournal)
			return
		}
		r.journalWorks()
		want := r.serverConfig(c)
		want.Initial = held
		d.server = server.New(want, r.opt.Rand)
		r.serverStep(now, server.Tick{})
		for _, l := range d.server.Leases(now) {
			if l.State == server.Bound && l.Hostname != "" {
				r.dnsName(nameOfLease, l.Hostname, l.Addr)
			}
		}
	default:
		r.serverStep(now, server.Configure{Config: r.serverConfig(c)})
	}
	r.changeInspection()
}

// serverDue tries again to open the journal, and lets the server do what is due.
func (r *Router) serverDue(now time.Time) {
	d := &r.dhcp
	if !d.retryAt.IsZero() && !d.retryAt.After(now) {
		r.changeServer()
	}
	if d.server != nil {
		if next := d.server.Next(); !next.IsZero() && !next.After(now) {
			r.serverStep(now, server.Tick{})
		}
	}
}

// serverConfig turns the section `dhcp:` into what the server takes: ports by number instead of by name.
func (r *Router) serverConfig(c *config.DHCP) server.Config {
	out := server.Config{DeclineHold: c.DeclineHold, MaxLeases: c.MaxLeases}
	for i := range c.Subnets {
		out.Subnets = append(out.Subnets, r.serverSubnet(&c.Subnets[i]))
	}
	return out
}

func (r *Router) serverSubnet(c *config.DHCPSubnet) server.Subnet {
	out := server.Subnet{
		Name: c.Name, Network: c.Network, Ranges: serverRanges(c.Ranges), Exclude: serverRanges(c.Exclude),
		Lease: c.Lease, MinLease: c.MinLease, MaxLease: c.MaxLease, T1: c.Renew, T2: c.Rebind,
		Authoritative: c.Authoritative, RapidCommit: c.RapidCommit, Probe: c.Probe, PingRelayed: c.Port == "",
		Gateway: addrs(c.Gateway), DNS: addrs(c.DNS), Domain: c.Domain, BootFile: c.BootFile, ServerName: c.TFTPServer,
		Options: serverOptions(c),
	}
	if c.Port != "" {
		out.Port = server.PortID(r.numberOf(c.Port))
	}
	if c.Server.Is4() {
		out.Server = packet.AddrFrom(c.Server)
	}
	if c.NextServer.Is4() {
		out.NextServer = packet.AddrFrom(c.NextServer)
	}
	for i := range c.Pools {
		p := &c.Pools[i]
		out.Pools = append(out.Pools, server.Pool{Name: p.Name, Vendor: p.Vendor, Ranges: serverRanges(p.Ranges), Options: p.Options})
	}
	for i := range c.Reservations {
		v := &c.Reservations[i]
		out.Reservations = append(out.Reservations, server.Reservation{
			MAC: v.MAC, ClientID: v.ClientID, Addr: packet.AddrFrom(v.Address), Name: v.Name, Lease: v.Lease, Options: v.Options,
		})
	}
	return out
}

func serverRanges(list []config.AddressRange) (out []server.Range) {
	for _, one := range list {
		out = append(out, server.Range{First: packet.AddrFrom(one.First), Last: packet.AddrFrom(one.Last)})
	}
	return out
}

// serverOptions are the options of a network, with those that have a key of their own and that the machine knows nothing of. What is given by number wins.
func serverOptions(c *config.DHCPSubnet) map[uint8][]byte {
	out := dhcp.Options{}
	if len(c.NTP) > 0 {
		out.SetAddr(dhcp.OptionNTP, addrs(c.NTP)...)
	}
	if v, ok := dhcp.AppendSearch(nil, c.Search...); ok && len(v) > 0 {
		out[dhcp.OptionSearch] = v
	}
	if c.TFTPServer != "" {
		out[dhcp.OptionTFTPServer] = []byte(c.TFTPServer)
	}
	maps.Copy(out, c.Options)
	return out
}

// tellReservations tells DNS of the names of reservations.
func (r *Router) tellReservations() {
	names := map[packet.Addr]string{}
	if c := r.config.DHCP; c != nil {
		for i := range c.Subnets {
			for _, v := range c.Subnets[i].Reservations {
				if v.Name != "" {
					names[packet.AddrFrom(v.Address)] = v.Name
				}
			}
		}
	}
	for a, name := range names {
		if r.dhcp.names[a] != name {
			r.dnsName(nameOfReservation, name, a)
		}
	}
	for a := range r.dhcp.names {
		if names[a] == "" {
			r.dnsName(nameOfReservation, "", a)
		}
	}
	r.dhcp.names = names
}
