package config

import (
	"cmp"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"
)

// dhcpNetwork is the network of an entry.
type dhcpNetwork struct {
	name   string // of the entry
	prefix netip.Prefix
	port   *rawPort     // nil: relays reach it
	server netip.Addr   // the router's address there
	taken  []netip.Addr // the router's own, those of a lab host, the gateway behind relays
}

// network finds the network of an entry; nil where it has none, which has been told.
func (d *dhcpValidator) network(e *rawDHCPEntry) *dhcpNetwork {
	if d.byName[e.name] == nil {
		return d.relayedNetwork(e)
	}
	p := d.servedPort(e)
	if p == nil || p.address.bad || e.network.bad {
		return nil
	}
	own := d.subnetsOf(p)
	if len(own) == 0 {
		return nil
	}
	n := &dhcpNetwork{name: e.name, port: p}
	for _, s := range own {
		n.taken = append(n.taken, s.Addr())
	}
	for _, a := range p.host.v.address.v {
		n.taken = append(n.taken, a.v.Addr())
	}
	if e.network.good() {
		i := slices.IndexFunc(own, func(s netip.Prefix) bool { return s.Masked() == e.network.v })
		if i < 0 {
			d.fail(e.network.at, "network: %s is none of port %q, which has %s", e.network.v, p.name, prefixList(own))
			return nil
		}
		n.prefix, n.server = own[i].Masked(), own[i].Addr()
		return n
	}
	i := 0
	if len(own) > 1 && slices.ContainsFunc(own, func(s netip.Prefix) bool { return s.Masked() != own[0].Masked() }) {
		first, ok := e.firstAddress()
		if !ok {
			return nil // it gives nothing away, which is told
		}
		if i = slices.IndexFunc(own, func(s netip.Prefix) bool { return s.Contains(first.v) }); i < 0 {
			d.fail(first.at, "%s is in no network of port %q, which has %s", first.v, p.name, prefixList(own))
			return nil
		}
	}
	n.prefix, n.server = own[i].Masked(), own[i].Addr()
	return n
}

// firstAddress is one of those that an entry gives away.
func (e *rawDHCPEntry) firstAddress() (placed[netip.Addr], bool) {
	for _, r := range e.ranges.v {
		return placed[netip.Addr]{v: r.v.first, at: r.at}, true
	}
	for _, p := range e.pools {
		for _, r := range p.ranges.v {
			return placed[netip.Addr]{v: r.v.first, at: r.at}, true
		}
	}
	for _, r := range e.reservations {
		if r.address.good() {
			return r.address, true
		}
	}
	return placed[netip.Addr]{}, false
}

// relayedNetwork is that of an entry whose name is no port.
func (d *dhcpValidator) relayedNetwork(e *rawDHCPEntry) *dhcpNetwork {
	if e.network.at == nil {
		d.fail(e.at, "dhcp: there is no port %q; %s (for a network that relays reach, add `network:`)", shorten(e.name), suggest(e.name, "ports", d.names))
		return nil
	}
	if e.gateway.at == nil {
		d.fail(e.at, "dhcp: %q is reached by relays, and needs `gateway:`: the clients' gateway there, or none", shorten(e.name))
	}
	if e.inspection.good() && e.inspection.v != InspectionOff {
		d.fail(e.inspection.at, "inspection: %q is no port, and no ARP packets of its network come here: remove the key", shorten(e.name))
	}
	if !e.network.good() {
		return nil
	}
	network := e.network.v
	if fault := d.stationPrefix(network); fault != "" {
		d.fail(e.network.at, "network: %s %s", network, fault)
		return nil
	}
	for _, s := range d.subnets {
		if s.prefix.Masked().Overlaps(network) {
			d.fail(e.network.at, "network: %s overlaps %s of port %q (line %d): a network is attached or reached by relays; an entry %q serves the port's",
				network, s.prefix.Masked(), s.port.name, s.at.Line, s.port.name)
			return nil
		}
	}
	for _, other := range d.relayed {
		if other.network.v.Overlaps(network) {
			d.fail(e.network.at, "network: %s overlaps %s of %q (line %d): give each entry its own network", network, other.network.v, other.name, other.network.at.Line)
			return nil
		}
	}
	d.relayed = append(d.relayed, e)
	n := &dhcpNetwork{name: e.name, prefix: network}
	for _, a := range e.gateway.v {
		n.taken = append(n.taken, a.v)
	}
	return n
}

// stationPrefix says why a network has no stations, or "".
func (d *dhcpValidator) stationPrefix(p netip.Prefix) string {
	switch fault := d.specialOrNone(placed[netip.Addr]{v: p.Addr(), at: &yaml.Node{}}); {
	case p.Bits() < 8:
		return "is larger than any network of hosts: give a prefix length of 8 to 30, such as 10.5.0.0/24"
	case p.Bits() > 30:
		return "has no room for hosts beside their gateway: give a prefix length of 8 to 30, such as 10.5.0.0/24"
	case fault != "":
		return "is " + fault + ": give a network of hosts, such as 10.5.0.0/24"
	}
	return ""
}

// claimedRange is a range of an entry or of one of its pools.
type claimedRange struct {
	addressRange
	at *yaml.Node
}

// ranges checks what an entry and its pools give away, and adds it.
func (d *dhcpValidator) ranges(e *rawDHCPEntry, n *dhcpNetwork, out *DHCPSubnet) {
	var all []claimedRange
	claim := func(ranges placed[[]placed[addressRange]]) []AddressRange {
		var fit []addressRange
		for _, r := range ranges.v {
			if n == nil {
				continue
			}
			switch {
			case !n.prefix.Contains(r.v.first) || !n.prefix.Contains(r.v.last):
				d.fail(r.at, "range: %s is not in %s, the network of %q: give addresses within it", r.v, n.prefix, n.name)
			default:
				all = append(all, claimedRange{r.v, r.at})
				fit = append(fit, r.v)
			}
		}
		left := n.without(fit)
		if len(fit) > 0 && len(left) == 0 {
			d.fail(ranges.at, "range: nothing of it can be given away: the network's own, its broadcast and the router's address are nobody's")
		}
		return left
	}
	out.Ranges = claim(e.ranges)
	names, vendors := make(map[string]*yaml.Node), make(map[string]*yaml.Node)
	for _, p := range e.pools {
		d.uniqueName("pool", p.name, names)
		if first := vendors[p.vendor.v]; p.vendor.good() && first != nil {
			d.fail(p.vendor.at, "vendor: the pool in line %d is already for %q, and this one never counts: remove one", first.Line, p.vendor.v)
		} else if p.vendor.good() {
			vendors[p.vendor.v] = p.vendor.at
		}
		if p.ranges.at == nil && p.options.at == nil {
			d.fail(p.at, "a pool has addresses or options of its own: add `range:` or `options:`, or remove it")
		}
		out.Pools = append(out.Pools, DHCPPool{
			Name: p.name.or(""), Vendor: p.vendor.or(""), Ranges: claim(p.ranges), Options: optionsMap(p.options.v), Pos: Pos{p.at.Line, p.at.Column},
		})
	}
	d.rangesApart(all)
	for _, x := range e.exclude.v {
		out.Exclude = append(out.Exclude, AddressRange{x.v.first, x.v.last})
		if n != nil && !e.broken && !slices.ContainsFunc(all, func(r claimedRange) bool { return r.overlaps(x.v) }) {
			d.fail(x.at, "exclude: %s is in no range of %q, so that it is not given away anyway: remove it", x.v, e.name)
		}
	}
}

// rangesApart refuses ranges that overlap. Sorted by their first address, one that overlaps any before it overlaps
// the one that reaches furthest.
func (d *dhcpValidator) rangesApart(all []claimedRange) {
	slices.SortStableFunc(all, func(a, b claimedRange) int { return cmp.Or(a.first.Compare(b.first), a.last.Compare(b.last)) })
	for i, furthest := 1, 0; i < len(all); i++ {
		if a, b := all[furthest], all[i]; a.overlaps(b.addressRange) {
			if b.at.Line < a.at.Line || b.at.Line == a.at.Line && b.at.Column < a.at.Column {
				a, b = b, a
			}
			d.fail(b.at, "range: %s overlaps %s (line %d): an address is in one range", b.addressRange, a.addressRange, a.at.Line)
		}
		if all[furthest].last.Less(all[i].last) {
			furthest = i
		}
	}
}

// without returns ranges in order, without the addresses that are nobody's or known to be taken.
func (n *dhcpNetwork) without(ranges []addressRange) []AddressRange {
	if n == nil || len(ranges) == 0 {
		return nil
	}
	holes := slices.Clone(n.taken)
	if n.prefix.Bits() < 31 {
		holes = append(holes, n.prefix.Addr(), lastOf(n.prefix))
	}
	slices.SortFunc(holes, netip.Addr.Compare)
	holes = slices.Compact(holes)
	slices.SortStableFunc(ranges, func(a, b addressRange) int { return a.first.Compare(b.first) })
	var out []AddressRange
	for _, r := range ranges {
		first := r.first
		for _, hole := range holes {
			if hole.Less(first) || r.last.Less(hole) {
				continue
			}
			if first.Less(hole) {
				out = append(out, AddressRange{first, hole.Prev()})
			}
			first = hole.Next()
		}
		if first.IsValid() && !r.last.Less(first) {
			out = append(out, AddressRange{first, r.last})
		}
	}
	return out
}

// reservations checks the reservations of an entry and adds them.
func (d *dhcpValidator) reservations(e *rawDHCPEntry, n *dhcpNetwork, out *DHCPSubnet) {
	clients, addresses := make(map[string]*yaml.Node), make(map[netip.Addr]*yaml.Node)
	names := make(map[string]*rawReservation)
	for _, r := range e.reservations {
		res := DHCPReservation{
			MAC: r.mac.v, Address: r.address.or(netip.Addr{}), Name: r.name.or(""), Lease: r.lease.or(0), Options: optionsMap(r.options.v),
			Comment: r.comment.or(""), Pos: Pos{r.at.Line, r.at.Column},
		}
		if r.clientID.good() {
			res.ClientID = []byte(r.clientID.v)
		}
		out.Reservations = append(out.Reservations, res)
		switch {
		case r.mac.at == nil && r.clientID.at == nil:
			d.fail(r.at, "a reservation says whose it is: add `mac:` or `client_id:`")
		case r.mac.at != nil && r.clientID.at != nil:
			d.fail(r.clientID.at, "client_id: the client is known by its `mac:` already, and one of them decides: remove the other")
		}
		if key, at := r.client(); at != nil {
			if first := clients[key]; first != nil {
				d.fail(at, "the client has a reservation already, in line %d: a client has one address in a network; keep one of them", first.Line)
			} else {
				clients[key] = at
			}
		}
		if r.address.good() {
			if first := addresses[r.address.v]; first != nil {
				d.fail(r.address.at, "address: %s is already reserved, in line %d: give each client its own", r.address.v, first.Line)
			} else {
				addresses[r.address.v] = r.address.at
			}
			d.reservedAddress(r, n)
		}
		d.reservedName(r, names)
	}
}

// client is what a reservation knows its client by; at is nil where that could not be read.
func (r *rawReservation) client() (key string, at *yaml.Node) {
	switch {
	case r.mac.good():
		return "mac " + r.mac.v.String(), r.mac.at
	case r.clientID.good():
		return "id " + r.clientID.v, r.clientID.at
	}
	return "", nil
}

func (d *dhcpValidator) reservedAddress(r *rawReservation, n *dhcpNetwork) {
	if n == nil || !d.within("address", r.address, n) {
		return
	}
	if n.port == nil && slices.Contains(n.taken, r.address.v) {
		d.fail(r.address.at, "address: %s is the gateway of %q: give the client another", r.address.v, n.name)
	} else if own := d.reach.own[r.address.v]; own != nil {
		d.fail(r.address.at, "address: %s is this router's own address (port %q): give the client another", r.address.v, own.name)
	}
}

// reservedName refuses a name that two clients have. One client may have it in several networks.
func (d *dhcpValidator) reservedName(r *rawReservation, names map[string]*rawReservation) {
	if !r.name.good() {
		return
	}
	first := names[r.name.v]
	if first == nil {
		if other := d.hosts[r.name.v]; other != nil {
			a, atA := r.client()
			b, atB := other.client()
			if atA != nil && atB != nil && a != b {
				first = other
			}
		}
	}
	if first != nil {
		d.fail(r.name.at, "name: %q is already that of the client in line %d: give each its own name", r.name.v, first.at.Line)
		return
	}
	names[r.name.v], d.hosts[r.name.v] = r, r
}
