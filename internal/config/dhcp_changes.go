package config

import (
	"cmp"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vrouterd/internal/packet"
)

// dhcp tells what is different in the server and the relays.
func (c *changes) dhcp(old, new *DHCP) {
	switch {
	case old == nil && new == nil:
		return
	case old == nil:
		c.add("dhcp added%s", servedNames(new))
		return
	case new == nil:
		c.add("dhcp removed")
		return
	}
	c.fields("dhcp_server", dhcpServerFields(old), dhcpServerFields(new))
	compare(c, "dhcp:", old.Subnets, new.Subnets, func(s DHCPSubnet) string { return s.Name }, func(what string, old, new DHCPSubnet) {
		c.fields(what, dhcpSubnetFields(&old), dhcpSubnetFields(&new))
		ordered(c, what+": pool", old.Pools, new.Pools, dhcpPoolFields, func(p *DHCPPool) string { return p.Name })
		compare(c, what+": reservation", old.Reservations, new.Reservations, func(r DHCPReservation) string { return r.Address.String() }, func(what string, old, new DHCPReservation) {
			c.fields(what, reservationFields(&old), reservationFields(&new))
		})
	})
	compare(c, "dhcp: relay", old.Relays, new.Relays, func(r DHCPRelay) string { return r.Port }, func(what string, old, new DHCPRelay) {
		c.fields(what, relayFields(&old), relayFields(&new))
	})
}

// servedNames names the entries of a section.
func servedNames(d *DHCP) string {
	var names []string
	for _, s := range d.Subnets {
		names = append(names, s.Name)
	}
	for _, r := range d.Relays {
		names = append(names, r.Port)
	}
	if len(names) == 0 {
		return ""
	}
	return ", for " + strings.Join(names, ", ")
}

// dhcpServerFields writes what holds for all entries; a test counts them.
func dhcpServerFields(d *DHCP) []keyText {
	return []keyText{{"decline_hold", durationText(d.DeclineHold)}, {"max_leases", strconv.Itoa(d.MaxLeases)}}
}

// dhcpSubnetFields writes an entry key by key, without its lists of pools and reservations; a test counts them.
func dhcpSubnetFields(s *DHCPSubnet) []keyText {
	return []keyText{
		{"port", s.Port},
		{"network", prefixText(s.Network)},
		{"server", addressText(s.Server)},
		{"range", spansText(s.Ranges)},
		{"exclude", spansText(s.Exclude)},
		{"lease", leaseText(s.Lease)},
		{"min_lease", leaseText(s.MinLease)},
		{"max_lease", leaseText(s.MaxLease)},
		{"renew", timeText(s.Renew)},
		{"rebind", timeText(s.Rebind)},
		{"authoritative", strconv.FormatBool(s.Authoritative)},
		{"rapid_commit", strconv.FormatBool(s.RapidCommit)},
		{"probe", strconv.FormatBool(s.Probe)},
		{"inspection", string(s.Inspection)},
		{"gateway", addressesText(s.Gateway)},
		{"dns", addressesText(s.DNS)},
		{"ntp", addressesText(s.NTP)},
		{"domain", s.Domain},
		{"search", strings.Join(s.Search, " ")},
		{"next_server", addressText(s.NextServer)},
		{"boot_file", quoted(s.BootFile)},
		{"tftp_server", quoted(s.TFTPServer)},
		{"options", optionsText(s.Options)},
		{"comment", quoted(s.Comment)},
	}
}

func dhcpPoolFields(p *DHCPPool) []keyText {
	return []keyText{{"vendor", quoted(p.Vendor)}, {"range", spansText(p.Ranges)}, {"options", optionsText(p.Options)}}
}

// reservationFields writes a reservation key by key, without its address; a test counts them.
func reservationFields(r *DHCPReservation) []keyText {
	mac := ""
	if r.MAC != (packet.MAC{}) {
		mac = r.MAC.String()
	}
	return []keyText{
		{"mac", mac},
		{"client_id", clientIDText(r.ClientID)},
		{"name", r.Name},
		{"lease", leaseText(r.Lease)},
		{"options", optionsText(r.Options)},
		{"comment", quoted(r.Comment)},
	}
}

// relayFields writes a relay key by key, without its port; a test counts them.
func relayFields(r *DHCPRelay) []keyText {
	return []keyText{
		{"servers", addressesText(r.Servers)},
		{"max_hops", strconv.Itoa(r.MaxHops)},
		{"option_82", strconv.FormatBool(r.Agent)},
		{"circuit_id", quoted(r.CircuitID)},
		{"remote_id", quoted(r.RemoteID)},
		{"trust_option_82", strconv.FormatBool(r.TrustAgent)},
		{"comment", quoted(r.Comment)},
	}
}

// dhcpClient tells what is different in how a port asks for its address; whether it asks is told of with the port.
func (c *changes) dhcpClient(what string, old, new *DHCPClient) {
	if old != nil && new != nil {
		c.fields(what, dhcpClientFields(old), dhcpClientFields(new))
	}
}

// dhcpClientFields writes a client key by key; a test counts them.
func dhcpClientFields(d *DHCPClient) []keyText {
	var requests []string
	for _, code := range d.Requests {
		requests = append(requests, strconv.Itoa(int(code)))
	}
	return []keyText{
		{"client_id", clientIDText(d.ClientID)},
		{"hostname", d.Hostname},
		{"vendor", quoted(d.Vendor)},
		{"request", strings.Join(requests, " ")},
		{"broadcast", strconv.FormatBool(d.Broadcast)},
		{"check", strconv.FormatBool(d.Check)},
		{"default_route", strconv.FormatBool(d.DefaultRoute)},
		{"routes", strconv.FormatBool(d.Routes)},
		{"distance", strconv.Itoa(d.Distance)},
		{"dns", strconv.FormatBool(d.DNS)},
		{"release", strconv.FormatBool(d.Release)},
		{"lease", leaseText(d.LeaseTime)},
	}
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// spansText writes ranges as the configuration has them.
func spansText(all []AddressRange) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = addressRange{r.First, r.Last}.String()
	}
	return strings.Join(texts, " ")
}

func addressesText(all []netip.Addr) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, " ")
}

// optionsText writes options in the order of their numbers, their values as octets.
func optionsText(all map[uint8][]byte) string {
	var texts []string
	for _, code := range slices.SortedFunc(maps.Keys(all), cmp.Compare[uint8]) {
		texts = append(texts, strconv.Itoa(int(code))+": "+octetsPrefix+hex.EncodeToString(all[code]))
	}
	return strings.Join(texts, ", ")
}
