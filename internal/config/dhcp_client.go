package config

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// byDHCP is the address of a port that asks for one.
const byDHCP = "dhcp"

// defaultDHCPDistance is that of routes which DHCP brings: those of protocols and static ones come before them.
const defaultDHCPDistance = 210

// addressKey is the row of a port's addresses, or of the word for one that DHCP brings.
func addressKey() key[rawPort] {
	plain := several(interfacePrefix(), maxAddresses)
	return key[rawPort]{
		name: "address", doc: "The router's own address with its prefix length; a string or a list. `dhcp`: the port asks for one. Absent: the port has none.",
		schema: &jsonschema.Schema{OneOf: append([]*jsonschema.Schema{{Enum: []any{byDHCP}}}, plain.schema.OneOf...)},
		read: func(d *decoder, n *yaml.Node, into *rawPort) {
			isWord := func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Value == byDHCP }
			if isWord(n) {
				into.dynamic, into.address.at = true, n
				return
			}
			if i := slices.IndexFunc(n.Content, isWord); n.Kind == yaml.SequenceNode && i >= 0 {
				d.fail(n.Content[i], "address: `dhcp` stands alone: write `address: dhcp`, or addresses only")
				into.address = placed[[]placed[netip.Prefix]]{at: n, bad: true}
				return
			}
			got, ok := plain.read(d, "address", n)
			into.address = placed[[]placed[netip.Prefix]]{got, n, !ok}
		},
	}
}

// dhcpClientKeys is the table of `dhcp_client`.
func dhcpClientKeys() []key[rawDHCPClient] {
	type client = rawDHCPClient
	return []key[client]{
		field("client_id", "Identifier to send (option 61): mac, off, a text, or octets such as hex:0102ff.", ownClientID(),
			func(c *client) *placed[rawClientID] { return &c.clientID }),
		field("hostname", "Name to send (option 12), one label. Absent: none.", hostLabel(), func(c *client) *placed[string] { return &c.hostname }),
		field("vendor", "Vendor class to send (option 60). Absent: none.", text(maxOptionText), func(c *client) *placed[string] { return &c.vendor }),
		field("request", "Further options to ask for, by number: one or a list.", several(optionCode(), maxRequests),
			func(c *client) *placed[[]placed[uint8]] { return &c.request }),
		field("broadcast", "Ask for answers by broadcast, for servers and networks that need it.", boolean(false), func(c *client) *placed[bool] { return &c.broadcast }),
		field("check", "Ask by ARP whether the address is taken before it is used (RFC 5227).", boolean(true), func(c *client) *placed[bool] { return &c.check }),
		field("default_route", "Take the default route that the server names.", boolean(true), func(c *client) *placed[bool] { return &c.defaultRoute }),
		field("routes", "Take the classless routes that the server names (option 121).", boolean(true), func(c *client) *placed[bool] { return &c.routes }),
		field("distance", "Administrative distance of these routes: of routes to one prefix the lowest wins.", integer(1, 254, defaultDHCPDistance),
			func(c *client) *placed[int] { return &c.distance }),
		field("dns", "Take the DNS servers that the server names, for a `dns:` that has no upstream of its own.", boolean(true), func(c *client) *placed[bool] { return &c.dns }),
		field("release", "Give the address back when the router stops; otherwise it is kept for the next start.", boolean(false),
			func(c *client) *placed[bool] { return &c.release }),
		field("lease", "How long a lease to ask for, or infinite. Absent: the server's choice.", leaseTime(leastLease, mostLease, true),
			func(c *client) *placed[time.Duration] { return &c.lease }),
	}
}

// dhcpClients checks the clients of ports and adds them to the Config. It relies on the ports' MAC addresses.
func (v *validator) dhcpClients() {
	for i, p := range v.raw.ports {
		switch raw := p.client; {
		case !p.dynamic && raw.at != nil && !p.address.bad:
			v.fail(raw.at, "dhcp_client: port %q does not ask for its address: write `address: dhcp`, or remove the key", p.name)
		case p.dynamic && p.kind.or(TAP) == TUN:
			v.fail(p.address.at, "address: a tun port has no Ethernet header, and a server tells clients apart by their hardware address: choose `kind: tap`, or give an address")
		case p.dynamic:
			v.config.Ports[i].DHCP = v.dhcpClient(p, i)
		}
	}
}

func (v *validator) dhcpClient(p *rawPort, i int) *DHCPClient {
	raw := p.client.v
	out := &DHCPClient{
		Hostname: raw.hostname.or(""), Vendor: raw.vendor.or(""), Broadcast: raw.broadcast.or(false), Check: raw.check.or(true),
		DefaultRoute: raw.defaultRoute.or(true), Routes: raw.routes.or(true), Distance: raw.distance.or(defaultDHCPDistance),
		DNS: raw.dns.or(true), Release: raw.release.or(false), LeaseTime: raw.lease.or(0),
	}
	switch id := raw.clientID.v; {
	case id.octets != "":
		out.ClientID = []byte(id.octets)
	case !id.off:
		mac := v.config.Ports[i].MAC
		out.ClientID = append([]byte{1}, mac[:]...) // type 1: Ethernet (RFC 2132 section 9.14)
	}
	for _, code := range raw.request.v {
		if slices.Contains(out.Requests, code.v) {
			v.fail(code.at, "request: %d stands twice: remove one", code.v)
		}
		out.Requests = append(out.Requests, code.v)
	}
	return out
}

// dynamicHint tells how to name a next hop in a network that DHCP brings.
func (v *validator) dynamicHint() string {
	for _, p := range v.raw.ports {
		if p.dynamic {
			return "; if it is in the network that DHCP brings, add `port: " + p.name + "`"
		}
	}
	return ""
}

// anyDynamic reports a port whose network DHCP brings.
func (v *validator) anyDynamic() bool {
	return slices.ContainsFunc(v.raw.ports, func(p *rawPort) bool { return p.dynamic })
}
