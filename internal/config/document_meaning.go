package config

import (
	"net/netip"
	"reflect"
)

// sameMeaning compares two configurations without their places in the text.
func sameMeaning(a, b *Config) bool {
	return reflect.DeepEqual(withoutPlaces(a), withoutPlaces(b))
}

func withoutPlaces(c *Config) Config {
	out := *c
	out.Ports = append([]Port{}, c.Ports...)
	out.Routes = append([]Route{}, c.Routes...)
	out.Neighbors = append([]Neighbor{}, c.Neighbors...)
	for i := range out.Ports {
		out.Ports[i].Pos = Pos{}
	}
	for i := range out.Routes {
		out.Routes[i].Pos = Pos{}
		out.Routes[i].Via = append([]netip.Addr{}, out.Routes[i].Via...)
	}
	for i := range out.Neighbors {
		out.Neighbors[i].Pos = Pos{}
	}
	if c.RIP != nil {
		rip := *c.RIP
		rip.Pos = Pos{}
		rip.Ports = append([]RIPPort{}, rip.Ports...)
		for i := range rip.Ports {
			rip.Ports[i].Pos = Pos{}
		}
		out.RIP = &rip
	}
	out.NAT = append([]NATRule{}, c.NAT...)
	for i := range out.NAT {
		out.NAT[i].Pos = Pos{}
	}
	out.Forwards = append([]Forward{}, c.Forwards...)
	for i := range out.Forwards {
		out.Forwards[i].Pos = Pos{}
		out.Forwards[i].Source = append([]netip.Prefix{}, out.Forwards[i].Source...)
	}
	if c.PortMapping != nil {
		mapping := *c.PortMapping
		mapping.Pos = Pos{}
		out.PortMapping = &mapping
	}
	out.Firewall = firewallWithoutPlaces(c.Firewall)
	out.DHCP, out.DNS = dhcpWithoutPlaces(c.DHCP), dnsWithoutPlaces(c.DNS)
	return out
}

func dhcpWithoutPlaces(d *DHCP) *DHCP {
	if d == nil {
		return nil
	}
	out := *d
	out.Subnets = append([]DHCPSubnet{}, d.Subnets...)
	out.Relays = append([]DHCPRelay{}, d.Relays...)
	for i := range out.Subnets {
		s := &out.Subnets[i]
		s.Pos = Pos{}
		s.Pools = append([]DHCPPool{}, s.Pools...)
		s.Reservations = append([]DHCPReservation{}, s.Reservations...)
		for j := range s.Pools {
			s.Pools[j].Pos = Pos{}
		}
		for j := range s.Reservations {
			s.Reservations[j].Pos = Pos{}
		}
	}
	for i := range out.Relays {
		out.Relays[i].Pos = Pos{}
	}
	return &out
}

func dnsWithoutPlaces(d *DNS) *DNS {
	if d == nil {
		return nil
	}
	out := *d
	out.Pos = Pos{}
	out.Upstreams = append([]DNSUpstream{}, d.Upstreams...)
	out.Records = append([]DNSRecord{}, d.Records...)
	for i := range out.Upstreams {
		out.Upstreams[i].Pos = Pos{}
	}
	for i := range out.Records {
		out.Records[i].Pos = Pos{}
	}
	return &out
}

func firewallWithoutPlaces(f *Firewall) *Firewall {
	if f == nil {
		return nil
	}
	out := *f
	out.Pos = Pos{}
	out.Zones = append([]Zone{}, f.Zones...)
	out.Sets = append([]AddressSet{}, f.Sets...)
	out.Rules = append([]FirewallRule{}, f.Rules...)
	out.Policy = append([]ZonePolicy{}, f.Policy...)
	out.Access = append([]FirewallRule{}, f.Access...)
	for i := range out.Zones {
		out.Zones[i].Pos = Pos{}
	}
	for i := range out.Sets {
		out.Sets[i].Pos = Pos{}
	}
	for i := range out.Rules {
		out.Rules[i].Pos = Pos{}
	}
	for i := range out.Policy {
		out.Policy[i].Pos = Pos{}
	}
	for i := range out.Access {
		out.Access[i].Pos = Pos{}
	}
	return &out
}
