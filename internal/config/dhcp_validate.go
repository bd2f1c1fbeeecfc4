package config

import (
	"net/netip"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// defaultLease is how long a lease lasts where the file does not say.
const defaultLease = 12 * time.Hour

// dhcpValidator looks at the section as a whole and makes the DHCP.
type dhcpValidator struct {
	*validator
	out     *DHCP
	relayed []*rawDHCPEntry            // networks that relays reach, and are right by themselves
	hosts   map[string]*rawReservation // by name, across all entries
}

// dhcp checks the sections and adds them to the Config. It relies on the ports, on reach and on the raw section of DNS.
func (v *validator) dhcp() {
	server := v.raw.dhcpServer
	if v.raw.dhcpAt == nil {
		if server.at != nil {
			v.fail(v.sectionKey("dhcp_server"), "dhcp_server: there is no section `dhcp:`, so that nobody is served: add one, or remove this")
		}
		return
	}
	d := &dhcpValidator{validator: v, hosts: make(map[string]*rawReservation), out: &DHCP{
		Subnets: []DHCPSubnet{}, Relays: []DHCPRelay{},
		DeclineHold: server.declineHold.or(10 * time.Minute), MaxLeases: server.maxLeases.or(65_536),
	}}
	for _, e := range v.raw.dhcp {
		if e.relay.at != nil {
			d.relay(e)
		} else {
			d.subnet(e)
		}
	}
	v.config.DHCP = d.out
}

// servedPort finds the port of an entry, and finds fault with one on which hosts cannot be served; p is nil then.
func (d *dhcpValidator) servedPort(e *rawDHCPEntry) *rawPort {
	p := d.byName[e.name]
	switch {
	case p == nil:
	case p.kind.or(TAP) == TUN:
		d.fail(e.at, "dhcp: %q is a tun port, whose hosts have no hardware address to be known by: give them their addresses by hand, or make it `kind: tap`", p.name)
	case p.dynamic:
		d.fail(e.at, "dhcp: port %q gets its own address by DHCP, and cannot give any away: give it one with `address:` under `ports:`, or remove this entry", p.name)
	case p.address.at == nil && !p.broken:
		d.fail(e.at, "dhcp: port %q has no address: give it one with `address:` under `ports:`, such as 192.168.1.1/24", p.name)
	default:
		return p
	}
	return nil
}

// subnet checks an entry that gives addresses away, and adds it.
func (d *dhcpValidator) subnet(e *rawDHCPEntry) {
	out := DHCPSubnet{
		Name: e.name, Lease: e.lease.or(defaultLease), MinLease: e.minLease.or(0), MaxLease: e.maxLease.or(0), Renew: e.renew.or(0), Rebind: e.rebind.or(0),
		Authoritative: e.authoritative.or(true), RapidCommit: e.rapidCommit.or(false), Probe: e.probe.or(true), Inspection: e.inspection.or(InspectionOff),
		Domain: e.domain.or(d.raw.dns.domain.or("")), Search: unplaced(e.search), NextServer: e.nextServer.or(netip.Addr{}),
		BootFile: e.bootFile.or(""), TFTPServer: e.tftpServer.or(""), Options: optionsMap(e.options.v), Comment: e.comment.or(""),
		Pos: Pos{e.at.Line, e.at.Column},
	}
	n := d.network(e)
	if n != nil && n.port != nil {
		out.Port, out.Server = n.port.name, n.server
	}
	if n != nil {
		out.Network = n.prefix
	}
	d.leases(e, &out)
	out.Gateway = d.stations("gateway", e.gateway, out.Server)
	if n != nil {
		for _, a := range e.gateway.v {
			d.within("gateway", a, n)
		}
	}
	out.DNS = d.stations("dns", e.dns, out.Server)
	out.NTP = d.stations("ntp", e.ntp, netip.Addr{})
	if fault := d.specialOrNone(e.nextServer); fault != "" {
		d.fail(e.nextServer.at, "next_server: %s is %s: give the address of a server", e.nextServer.v, fault)
	}
	for i, s := range e.search.v {
		if slices.Contains(out.Search[:i], s.v) {
			d.fail(s.at, "search: %s stands twice: remove one", s.v)
		}
	}
	d.optionsOnce(e)
	d.ranges(e, n, &out)
	d.reservations(e, n, &out)
	if !e.broken && e.ranges.at == nil && len(e.reservations) == 0 && !slices.ContainsFunc(e.pools, func(p *rawDHCPPool) bool { return p.ranges.at != nil }) {
		d.fail(e.at, "dhcp: %q has no addresses to give away: add `range:`, `reservations:`, or `relay:` to a server elsewhere", shorten(e.name))
	}
	d.out.Subnets = append(d.out.Subnets, out)
}

// unplaced are the values of a list; nil where it is absent.
func unplaced[V any](all placed[[]placed[V]]) []V {
	var out []V
	for _, v := range all.v {
		out = append(out, v.v)
	}
	return out
}

// stations are the addresses of a key, or the one that it defaults to.
func (d *dhcpValidator) stations(what string, all placed[[]placed[netip.Addr]], standard netip.Addr) []netip.Addr {
	if all.at == nil {
		if standard.IsValid() {
			return []netip.Addr{standard}
		}
		return nil
	}
	for i, a := range all.v {
		if fault := d.specialAddress(packet.AddrFrom(a.v)); fault != "" {
			d.fail(a.at, "%s: %s is %s: give the address of a station, or none", what, a.v, fault)
		} else if slices.ContainsFunc(all.v[:i], func(b placed[netip.Addr]) bool { return b.v == a.v }) {
			d.fail(a.at, "%s: %s stands twice: remove one", what, a.v)
		}
	}
	return unplaced(all)
}

// within refuses an address that no station of the network can have.
func (d *dhcpValidator) within(what string, a placed[netip.Addr], n *dhcpNetwork) bool {
	switch {
	case !n.prefix.Contains(a.v):
		d.fail(a.at, "%s: %s is not in %s, the network of %q: give an address within it", what, a.v, n.prefix, n.name)
	case isEdge(n.prefix, a.v):
		d.fail(a.at, "%s: %s is the network or broadcast address of %s: give one between them", what, a.v, n.prefix)
	default:
		return true
	}
	return false
}

// leases checks the lengths of leases and when they are renewed.
func (d *dhcpValidator) leases(e *rawDHCPEntry, out *DHCPSubnet) {
	if e.lease.bad {
		return
	}
	if e.minLease.good() && out.MinLease > out.Lease {
		d.fail(e.minLease.at, "min_lease, %s, is more than lease, %s: give a shorter one, or a longer lease", leaseText(out.MinLease), leaseText(out.Lease))
	}
	if e.maxLease.good() && out.MaxLease < out.Lease {
		d.fail(e.maxLease.at, "max_lease, %s, is less than lease, %s: give a longer one, or a shorter lease", leaseText(out.MaxLease), leaseText(out.Lease))
	}
	if e.renew.bad || e.rebind.bad || e.renew.at == nil && e.rebind.at == nil {
		return
	}
	renew, rebind := e.renew.or(out.Lease/2), e.rebind.or(out.Lease/8*7)
	at := e.rebind.at
	if at == nil {
		at = e.renew.at
	}
	switch {
	case rebind >= out.Lease:
		d.fail(at, "rebind, %s, is not before the end of the lease, %s: give a shorter time (RFC 2131 section 4.4.5)", durationText(rebind), leaseText(out.Lease))
	case renew >= rebind:
		d.fail(at, "renew, %s, is not before rebind, %s: clients ask their own server first (RFC 2131 section 4.4.5)", durationText(renew), durationText(rebind))
	}
}

// optionsOnce refuses an option that a key of the entry gives as well.
func (d *dhcpValidator) optionsOnce(e *rawDHCPEntry) {
	for _, o := range e.options.v {
		for _, k := range []struct {
			code uint8
			name string
			at   *yaml.Node
		}{
			{3, "gateway", e.gateway.at}, {6, "dns", e.dns.at}, {42, "ntp", e.ntp.at}, {15, "domain", e.domain.at},
			{119, "search", e.search.at}, {66, "tftp_server", e.tftpServer.at}, {67, "boot_file", e.bootFile.at},
		} {
			if k.code == o.code && k.at != nil {
				d.fail(o.at, "options: the option %s is what `%s:` in line %d gives: keep one of them", optionText(o.code), k.name, k.at.Line)
			}
		}
	}
}

// relay checks an entry whose requests are carried elsewhere, and adds it.
func (d *dhcpValidator) relay(e *rawDHCPEntry) {
	raw := e.relay.v
	out := DHCPRelay{
		Port: e.name, Servers: unplaced(raw.servers), MaxHops: raw.maxHops.or(10), Agent: raw.agent.or(false), CircuitID: raw.circuitID.or(""),
		RemoteID: raw.remoteID.or(""), TrustAgent: raw.trust.or(false), Comment: e.comment.or(""), Pos: Pos{e.at.Line, e.at.Column},
	}
	if d.byName[e.name] == nil {
		d.fail(e.at, "dhcp: there is no port %q whose requests could be relayed; %s", shorten(e.name), suggest(e.name, "ports", d.names))
	}
	d.servedPort(e)
	for _, k := range e.serverKeys() {
		d.fail(k.at, "%s: this entry has `relay:` (line %d), and then the servers elsewhere decide: remove the one or the other", k.name, e.relay.at.Line)
	}
	for _, k := range []struct {
		name string
		v    placed[string]
	}{{"circuit_id", raw.circuitID}, {"remote_id", raw.remoteID}} {
		if k.v.good() && !raw.agent.bad && !out.Agent {
			d.fail(k.v.at, "%s: it is part of option 82, which is off: add `option_82: true`, or remove the key", k.name)
		}
	}
	for i, s := range raw.servers.v {
		if slices.Contains(out.Servers[:i], s.v) {
			d.fail(s.at, "relay: %s stands twice: remove one", s.v)
			continue
		}
		d.relayServer(s)
	}
	d.out.Relays = append(d.out.Relays, out)
}

func (d *dhcpValidator) relayServer(s placed[netip.Addr]) {
	if fault := d.specialAddress(packet.AddrFrom(s.v)); fault != "" {
		d.fail(s.at, "relay: %s is %s: give the address of a server", s.v, fault)
		return
	}
	if d.subnetsUnknown {
		return
	}
	if own := d.reach.own[s.v]; own != nil {
		d.fail(s.at, "relay: %s is this router's own address (port %q): give the address of a server elsewhere, or the entry a `range:` to be served from here", s.v, own.name)
		return
	}
	if at, subnet := d.reach.onSubnet(s.v); at != nil {
		d.refuseEdge("relay", s, subnet)
	} else if d.nowhere(s.v) {
		d.fail(s.at, "relay: %s is on no port's subnet, and no route leads to it; the subnets are %s", s.v, d.subnetList(nil))
	}
}

// namedNode is a key with its place.
type namedNode struct {
	name string
	at   *yaml.Node
}

// serverKeys are the keys of an entry that a relay has no use for.
func (e *rawDHCPEntry) serverKeys() []namedNode {
	all := []namedNode{
		{"range", e.ranges.at}, {"exclude", e.exclude.at}, {"network", e.network.at}, {"lease", e.lease.at}, {"min_lease", e.minLease.at},
		{"max_lease", e.maxLease.at}, {"renew", e.renew.at}, {"rebind", e.rebind.at}, {"gateway", e.gateway.at}, {"dns", e.dns.at}, {"ntp", e.ntp.at},
		{"domain", e.domain.at}, {"search", e.search.at}, {"options", e.options.at}, {"authoritative", e.authoritative.at},
		{"rapid_commit", e.rapidCommit.at}, {"probe", e.probe.at}, {"inspection", e.inspection.at}, {"next_server", e.nextServer.at},
		{"boot_file", e.bootFile.at}, {"tftp_server", e.tftpServer.at},
	}
	if len(e.reservations) > 0 {
		all = append(all, namedNode{"reservations", e.reservations[0].at})
	}
	if len(e.pools) > 0 {
		all = append(all, namedNode{"pools", e.pools[0].at})
	}
	return slices.DeleteFunc(all, func(k namedNode) bool { return k.at == nil })
}
