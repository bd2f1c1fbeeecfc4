package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"vrouterd/internal/packet"
)

// Changes tells in a sentence each what is different in the new configuration. It is
// empty when the two mean the same, whatever their texts look like.
func Changes(old, new *Config) []string {
	var c changes
	c.value("name", old.Name, new.Name)
	c.ports(old, new)
	c.routes(old, new)
	c.neighbors(old, new)
	c.value("icmp: rate", strconv.Itoa(old.ICMP.Rate), strconv.Itoa(new.ICMP.Rate))
	c.value("icmp: per_destination", strconv.Itoa(old.ICMP.PerDestination), strconv.Itoa(new.ICMP.PerDestination))
	c.value("forwarding: class_e", strconv.FormatBool(old.Forwarding.ClassE), strconv.FormatBool(new.Forwarding.ClassE))
	c.value("forwarding: source_route", strconv.FormatBool(old.Forwarding.SourceRoute), strconv.FormatBool(new.Forwarding.SourceRoute))
	c.value("arp: reachable", durationText(old.ARP.Reachable), durationText(new.ARP.Reachable))
	c.value("arp: probe", strconv.FormatBool(old.ARP.Probe), strconv.FormatBool(new.ARP.Probe))
	c.value("arp: max_cache", strconv.Itoa(old.ARP.MaxCache), strconv.Itoa(new.ARP.MaxCache))
	c.value("control: read_only", old.Control.ReadOnly, new.Control.ReadOnly)
	c.rip(old.RIP, new.RIP)
	c.nat(old, new)
	c.firewall(old.Firewall, new.Firewall)
	c.dhcp(old.DHCP, new.DHCP)
	c.dns(old.DNS, new.DNS)
	return c
}

type changes []string

func (c *changes) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

func (c *changes) value(what, old, new string) {
	if old != new {
		c.add("%s %s -> %s", what, orNone(old), orNone(new))
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (c *changes) ports(old, new *Config) {
	before := make(map[string]*Port, len(old.Ports))
	for i := range old.Ports {
		before[old.Ports[i].Name] = &old.Ports[i]
	}
	after := make(map[string]bool, len(new.Ports))
	for _, p := range new.Ports {
		after[p.Name] = true
	}
	for _, p := range old.Ports {
		if !after[p.Name] {
			c.add("port %s removed", p.Name)
		}
	}
	for i := range new.Ports {
		p := &new.Ports[i]
		was := before[p.Name]
		if was == nil {
			c.add("port %s added", p.Name)
			continue
		}
		fields, now := portFields(was), portFields(p)
		for j := range fields {
			c.value("port "+p.Name+": "+fields[j].key, fields[j].text, now[j].text)
		}
		c.dhcpClient("port "+p.Name+": dhcp_client", was.DHCP, p.DHCP)
	}
}

// keyText is a key and what stands behind it.
type keyText struct{ key, text string }

// portFields writes a port key by key. It has a row for every field of Port but Name,
// Pos and the unused Peer; a test counts them.
func portFields(p *Port) []keyText {
	bridge, members, host, gateway := "", "", "", ""
	if p.Bridge != nil {
		bridge, members = p.Bridge.Name, strings.Join(p.Bridge.Members, " ")
	}
	if p.Host != nil {
		host = joined(p.Host.Address)
		if p.Host.Gateway.IsValid() {
			gateway = p.Host.Gateway.String()
		}
	}
	mac := ""
	if p.MAC != (packet.MAC{}) {
		mac = p.MAC.String()
	}
	return []keyText{
		{"kind", string(p.Kind)},
		{"netns", p.Netns},
		{"device", p.Device},
		{"address", word(p.DHCP != nil, byDHCP, joined(p.Address))},
		{"mac", mac},
		{"mtu", strconv.Itoa(p.MTU)},
		{"offload", word(p.Offload, "auto", "off")},
		{"proxy_arp", joined(p.ProxyARP)},
		{"bridge", bridge},
		{"bridge members", members},
		{"host address", host},
		{"host gateway", gateway},
		{"enabled", strconv.FormatBool(p.Enabled)},
		{"mss_clamp", clampText(p.MSSClamp)},
		{"reverse_path", string(p.ReversePath)},
		{"leak_guard", strconv.FormatBool(p.LeakGuard)},
		{"redirects", strconv.FormatBool(p.Redirects)},
		{"comment", quoted(p.Comment)},
	}
}

func joined(all []netip.Prefix) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, " ")
}

func word(yes bool, ifYes, ifNo string) string {
	if yes {
		return ifYes
	}
	return ifNo
}

func clampText(n int) string {
	switch n {
	case 0:
		return "off"
	case -1:
		return "auto"
	}
	return strconv.Itoa(n)
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}

// routeText names a route as the commands do: "10.0.0.0/8 via 10.1.0.2 metric 5".
func routeText(r Route) string {
	var b strings.Builder
	b.WriteString(r.To.String())
	for i, a := range r.Via {
		b.WriteString(word(i == 0, " via ", ", "))
		b.WriteString(a.String())
	}
	if r.Port != "" {
		b.WriteString(" port " + r.Port)
	}
	if r.Type != Unicast && r.Type != "" {
		b.WriteString(" type " + string(r.Type))
	}
	if r.Distance > 1 {
		b.WriteString(" distance " + strconv.Itoa(r.Distance))
	}
	if r.Metric != 0 {
		b.WriteString(" metric " + strconv.Itoa(r.Metric))
	}
	if r.Tag != 0 {
		b.WriteString(" tag " + strconv.Itoa(r.Tag))
	}
	return b.String()
}

// routes compares what routes mean as multisets, since their order means nothing. A route
// with another metric is another route.
func (c *changes) routes(old, new *Config) {
	before := make(map[string]Route, len(old.Routes))
	for _, r := range old.Routes {
		before[routeKey(r)] = r
	}
	var added []string
	for _, r := range new.Routes {
		id := routeKey(r)
		was, ok := before[id]
		if !ok {
			added = append(added, fmt.Sprintf("route %s added", routeText(r)))
			continue
		}
		delete(before, id)
		c.value("route "+routeText(r)+": name", quoted(was.Name), quoted(r.Name))
		c.value("route "+routeText(r)+": comment", quoted(was.Comment), quoted(r.Comment))
	}
	for _, r := range old.Routes {
		if _, gone := before[routeKey(r)]; gone {
			c.add("route %s removed", routeText(r))
		}
	}
	*c = append(*c, added...)
}

// routeKey is routeText with the next hops in order.
func routeKey(r Route) string {
	r.Via = slices.SortedFunc(slices.Values(r.Via), netip.Addr.Compare)
	return routeText(r)
}

// neighborText names a neighbour: "10.1.0.9 port lan".
func neighborText(n Neighbor) string {
	if n.Port == "" {
		return n.Address.String()
	}
	return n.Address.String() + " port " + n.Port
}

func (c *changes) neighbors(old, new *Config) {
	before := make(map[string]Neighbor, len(old.Neighbors))
	for _, n := range old.Neighbors {
		before[neighborText(n)] = n
	}
	var added []string
	for _, n := range new.Neighbors {
		id := neighborText(n)
		was, ok := before[id]
		if !ok {
			added = append(added, fmt.Sprintf("neighbour %s added", id))
			continue
		}
		delete(before, id)
		c.value("neighbour "+id+": mac", was.MAC.String(), n.MAC.String())
		c.value("neighbour "+id+": name", quoted(was.Name), quoted(n.Name))
		c.value("neighbour "+id+": comment", quoted(was.Comment), quoted(n.Comment))
	}
	for _, n := range old.Neighbors {
		if _, gone := before[neighborText(n)]; gone {
			c.add("neighbour %s removed", neighborText(n))
		}
	}
	*c = append(*c, added...)
}
