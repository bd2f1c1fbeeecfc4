package config

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// Lengths of lists; they are beyond any use, and bound the work of checking.
const (
	maxNextHops  = 64
	maxAddresses = 256
	maxMembers   = 64
	maxProxied   = 1024
)

// keyTables are all the tables of keys. They are built once for a decoder, since a
// configuration may have many thousand routes.
type keyTables struct {
	top        []key[rawConfig]
	port       []key[rawPort]
	bridge     []key[rawBridge]
	host       []key[rawHost]
	route      []key[rawRoute]
	neighbor   []key[rawNeighbor]
	icmp       []key[rawICMP]
	forwarding []key[rawForwarding]
	arp        []key[rawARP]
	control    []key[rawControl]
}

func tables() *keyTables {
	t := &keyTables{
		bridge: []key[rawBridge]{
			must(field("name", "Name of the bridge, at most 15 octets. It is made if absent.", deviceName(),
				func(b *rawBridge) *placed[string] { return &b.name })),
			field("members", "Devices of the same namespace, such as a VM's NIC, that join the bridge for as long as the router runs.", listOf(deviceName(), maxMembers),
				func(b *rawBridge) *placed[[]placed[string]] { return &b.members }),
		},
		host: []key[rawHost]{
			must(field("address", "Address of the kernel end with its prefix length, within a subnet of the port; a string or a list.", several(interfacePrefix(), maxAddresses),
				func(h *rawHost) *placed[[]placed[netip.Prefix]] { return &h.address })),
			field("gateway", "Default gateway of the kernel end: an address of this port. Absent: no default route.", address(),
				func(h *rawHost) *placed[netip.Addr] { return &h.gateway }),
		},
		route: []key[rawRoute]{
			must(field("to", "Destination: a prefix without host bits, or `default` for 0.0.0.0/0.", destination(),
				func(r *rawRoute) *placed[netip.Prefix] { return &r.to })),
			field("via", "Next hop, or a list of next hops of equal cost. It is on the subnet of a port or reached through another route.", several(address(), maxNextHops),
				func(r *rawRoute) *placed[[]placed[netip.Addr]] { return &r.via }),
			field("port", "Port through which the destination is on-link; with `via`, the port on which the next hop is.", portName(),
				func(r *rawRoute) *placed[string] { return &r.port }),
			field("type", "What happens to matching packets: forwarded, dropped silently, or refused with ICMP host unreachable or administratively prohibited.",
				oneOf(Unicast, Blackhole, Unreachable, Prohibit),
				func(r *rawRoute) *placed[RouteType] { return &r.kind }),
			field("distance", "Administrative distance: of routes to one prefix the lowest wins. Connected is 0; 255 is never used.", integer(1, 255, 1),
				func(r *rawRoute) *placed[int] { return &r.distance }),
			field("metric", "Of routes to one prefix with equal distance the lowest wins; equal ones share the traffic.", integer(0, math.MaxInt32, 0),
				func(r *rawRoute) *placed[int] { return &r.metric }),
			field("tag", "Route tag, carried into protocols that have one.", integer(0, 65535, 0),
				func(r *rawRoute) *placed[int] { return &r.tag }),
			field("name", "A name of your own.", text(maxComment), func(r *rawRoute) *placed[string] { return &r.name }),
			field("comment", "A remark.", text(maxComment), func(r *rawRoute) *placed[string] { return &r.comment }),
		},
		neighbor: []key[rawNeighbor]{
			must(field("port", "Port on which the neighbour is; of kind tap.", portName(),
				func(n *rawNeighbor) *placed[string] { return &n.port })),
			must(field("address", "Address of the neighbour, on a subnet of the port.", address(),
				func(n *rawNeighbor) *placed[netip.Addr] { return &n.address })),
			must(field("mac", "MAC address of the neighbour.", station(),
				func(n *rawNeighbor) *placed[packet.MAC] { return &n.mac })),
			field("name", "A name of your own.", text(maxComment), func(n *rawNeighbor) *placed[string] { return &n.name }),
			field("comment", "A remark.", text(maxComment), func(n *rawNeighbor) *placed[string] { return &n.comment }),
		},
		icmp: []key[rawICMP]{
			field("rate", "ICMP errors a second in all; 0: no limit.", integer(0, 1_000_000, 1000),
				func(i *rawICMP) *placed[int] { return &i.rate }),
			field("per_destination", "ICMP errors a second to one address; 0: no limit.", integer(0, 1_000_000, 10),
				func(i *rawICMP) *placed[int] { return &i.perDestination }),
		},
		forwarding: []key[rawForwarding]{
			field("class_e", "Forward 240.0.0.0/4; otherwise its packets are dropped as martians.", boolean(false),
				func(f *rawForwarding) *placed[bool] { return &f.classE }),
			field("source_route", "Honour loose and strict source routes; otherwise their packets are dropped (RFC 7126).", boolean(false),
				func(f *rawForwarding) *placed[bool] { return &f.sourceRoute }),
		},
		arp: []key[rawARP]{
			field("reachable", "How long a neighbour counts as reachable after it was confirmed; taken times a random factor from 0.5 to 1.5.",
				duration(time.Second, time.Hour, 30*time.Second),
				func(a *rawARP) *placed[time.Duration] { return &a.reachable }),
			field("max_cache", "Neighbours that are remembered in all; permanent ones are never forgotten.", integer(16, 1<<20, 16384),
				func(a *rawARP) *placed[int] { return &a.maxCache }),
			field("probe", "Ask whether an address is taken before using it (RFC 5227 section 2.1), which takes some seconds; otherwise it is announced at once. It is defended either way.", boolean(false),
				func(a *rawARP) *placed[bool] { return &a.probe }),
		},
		control: []key[rawControl]{
			field("read_only", "Who may read over the control socket besides root and the group vrouterd: nobody (group) or anyone (all).",
				oneOf("group", "all"),
				func(c *rawControl) *placed[string] { return &c.readOnly }),
		},
	}
	t.port = t.portKeys()
	t.top = t.topKeys()
	return t
}

// portKeys is the table of a port.
func (t *keyTables) portKeys() []key[rawPort] {
	return []key[rawPort]{
		field("kind", "tap: an Ethernet device with ARP. tun: point to point, without Ethernet headers.", oneOf(TAP, TUN),
			func(p *rawPort) *placed[Kind] { return &p.kind }),
		field("netns", "Namespace of the kernel end: a name of `ip netns` or an absolute path. Absent: the daemon's own.", netnsName(),
			func(p *rawPort) *placed[string] { return &p.netns }),
		field("device", "Name of the kernel end, at most 15 octets. Absent: the port's name.", deviceName(),
			func(p *rawPort) *placed[string] { return &p.device }),
		addressKey(),
		field("dhcp_client", "How the port asks for its address; only with `address: dhcp`.", mappingValue("a DHCP client", dhcpClientKeys()),
			func(p *rawPort) *placed[rawDHCPClient] { return &p.client }),
		field("mac", "The router's MAC address. Absent: a stable one, derived from the names of instance and port. Not for tun.", station(),
			func(p *rawPort) *placed[packet.MAC] { return &p.mac }),
		field("mtu", "Largest IP packet on the wire, in octets.", integer(68, 9216, 1500),
			func(p *rawPort) *placed[int] { return &p.mtu }),
		field("offload", "Segmentation and checksum offload between the router and the kernel, where the kernel has it.", oneOf("auto", "off"),
			func(p *rawPort) *placed[string] { return &p.offload }),
		field("proxy_arp", "Prefixes for whose addresses the router answers ARP requests on this port. Not for tun.", listOf(network(), maxProxied),
			func(p *rawPort) *placed[[]placed[netip.Prefix]] { return &p.proxyARP }),
		field("bridge", "Linux bridge of the kernel end's namespace into which it is plugged: a name, or a mapping with `name` and `members`. Not for tun.", t.bridgeValue(),
			func(p *rawPort) *placed[rawBridge] { return &p.bridge }),
		field("host", "Configures the kernel end as a lab host.", mappingValue("a host", t.host),
			func(p *rawPort) *placed[rawHost] { return &p.host }),
		field("enabled", "Whether the port is up; `vrctl port down` makes it false.", boolean(true),
			func(p *rawPort) *placed[bool] { return &p.enabled }),
		field("mss_clamp", "Largest TCP segment that connections through this port may ask for, in octets; auto: as the MTU allows.", clamp(),
			func(p *rawPort) *placed[int] { return &p.mssClamp }),
		field("reverse_path", "Check of source addresses (RFC 3704): strict: routed through the port of arrival; loose: routed through any port.",
			oneOf(ReversePathOff, ReversePathStrict, ReversePathLoose),
			func(p *rawPort) *placed[ReversePath] { return &p.reversePath }),
		field("leak_guard", "Packets to private addresses (RFC 1918) never leave through this port.", boolean(false),
			func(p *rawPort) *placed[bool] { return &p.leakGuard }),
		field("redirects", "Send ICMP redirects for packets that leave where they came in.", boolean(true),
			func(p *rawPort) *placed[bool] { return &p.redirects }),
		field("comment", "A remark.", text(maxComment), func(p *rawPort) *placed[string] { return &p.comment }),
	}
}

// topKeys is the table of the whole document.
func (t *keyTables) topKeys() []key[rawConfig] {
	rows := []key[rawConfig]{
		field("name", "Name of the instance; its socket is named after it, in /run/vrouterd. Absent: the file's name without its extension.", instanceName(),
			func(c *rawConfig) *placed[string] { return &c.name }),
		{
			name: "ports", doc: "The router's attachments, by name.", optional: true,
			schema: &jsonschema.Schema{
				Types:                []string{"object", "null"},
				PropertyNames:        &jsonschema.Schema{Pattern: namePattern, MaxLength: jsonschema.Ptr(maxPort)},
				AdditionalProperties: nullable(mappingSchema(t.port)),
				MaxProperties:        jsonschema.Ptr(maxPorts),
			},
			read: func(d *decoder, n *yaml.Node, into *rawConfig) {
				readNamed(d, "ports", n, func(name, content *yaml.Node) {
					into.ports = append(into.ports, t.readPort(d, name, content))
				})
			},
		},
		{
			name: "routes", doc: "Static routes.", optional: true, schema: listSchema(t.route),
			read: func(d *decoder, n *yaml.Node, into *rawConfig) {
				readList(d, "routes", "a route", n, func(n *yaml.Node) {
					r := &rawRoute{at: n}
					if readMapping(d, "a route", n, t.route, r); n.Kind == yaml.MappingNode {
						into.routes = append(into.routes, r)
					}
				})
			},
		},
		{
			name: "neighbors", doc: "Permanent neighbours, which are never asked for by ARP.", optional: true, schema: listSchema(t.neighbor),
			read: func(d *decoder, n *yaml.Node, into *rawConfig) {
				readList(d, "neighbors", "a neighbour", n, func(n *yaml.Node) {
					one := &rawNeighbor{at: n}
					if readMapping(d, "a neighbour", n, t.neighbor, one); n.Kind == yaml.MappingNode {
						into.neighbors = append(into.neighbors, one)
					}
				})
			},
		},
		section("icmp", "Limits of the ICMP errors that the router sends (RFC 1812 section 4.3.2.8).", t.icmp,
			func(c *rawConfig) *rawICMP { return &c.icmp }),
		section("forwarding", "Choices of IPv4 forwarding.", t.forwarding,
			func(c *rawConfig) *rawForwarding { return &c.forwarding }),
		section("arp", "The neighbour table.", t.arp,
			func(c *rawConfig) *rawARP { return &c.arp }),
		section("control", "The control socket.", t.control,
			func(c *rawConfig) *rawControl { return &c.control }),
		newRIPTables().key(),
	}
	rows = append(rows, newNATTables().rows()...)
	rows = append(rows, newFirewallTables().key())
	rows = append(rows, newDHCPTables().rows()...)
	return append(rows, newDNSTables().key())
}

// readPort reads one port; one that cannot be read is still known by its name.
func (t *keyTables) readPort(d *decoder, name, content *yaml.Node) *rawPort {
	p := &rawPort{name: name.Value, at: name}
	if len(name.Value) > maxPort {
		d.fail(name, "the name of a port has at most %d octets, this one has %d", maxPort, len(name.Value))
	} else if fault := checkWord(name.Value); fault != "" {
		d.fail(name, "%s", fault)
	}
	if !isNull(content) {
		p.broken = !readMapping(d, "a port", content, t.port, p)
	}
	return p
}

// bridgeValue is a bridge's name, or the mapping for one with members.
func (t *keyTables) bridgeValue() value[rawBridge] {
	name, long := deviceName(), mappingValue("a bridge", t.bridge)
	return value[rawBridge]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{name.schema, long.schema}},
		read: func(d *decoder, what string, n *yaml.Node) (rawBridge, bool) {
			if n.Kind == yaml.MappingNode {
				return long.read(d, what, n)
			}
			if n.Kind == yaml.SequenceNode {
				d.fail(n, "bridge wants one name, or {name: br0, members: [eth1]}, not a list")
				return rawBridge{}, false
			}
			s, ok := name.read(d, what, n)
			return rawBridge{name: placed[string]{v: s, at: n, bad: !ok}}, ok
		},
	}
}

// clamp is off (0), auto (-1), or a number of octets.
func clamp() value[int] {
	// The least is what TCP options leave of the smallest MTU of practice; the
	// most is the largest MTU without the headers of IPv4 and TCP.
	number := integer(88, 9176, 0)
	number.schema.Default = nil
	return value[int]{
		schema: &jsonschema.Schema{
			OneOf:   []*jsonschema.Schema{{Enum: []any{"off", "auto"}}, number.schema},
			Default: defaultTo("off"),
		},
		read: func(d *decoder, what string, n *yaml.Node) (int, bool) {
			switch {
			case n.Kind == yaml.ScalarNode && n.Value == "off":
				return 0, true
			case n.Kind == yaml.ScalarNode && n.Value == "auto":
				return -1, true
			case n.Kind == yaml.ScalarNode && n.ShortTag() != "!!int":
				d.fail(n, "%s wants off, auto or a number of octets such as 1360, not %s", what, kindName(n))
				return 0, false
			}
			return number.read(d, what, n)
		},
	}
}

// portName refers to a port; whether it exists is seen later.
func portName() value[string] {
	return checked(maxPort, namePattern, checkWord)
}

// mappingValue is a value that is itself a mapping with a table.
func mappingValue[T any](what string, keys []key[T]) value[T] {
	return value[T]{schema: mappingSchema(keys), read: func(d *decoder, _ string, n *yaml.Node) (T, bool) {
		var into T
		ok := readMapping(d, what, n, keys, &into)
		return into, ok
	}}
}

// section is the row of a key of the document that holds a mapping.
func section[T any](name, doc string, keys []key[T], at func(*rawConfig) *T) key[rawConfig] {
	return key[rawConfig]{
		name: name, doc: doc, optional: true, schema: nullable(mappingSchema(keys)),
		read: func(d *decoder, n *yaml.Node, into *rawConfig) {
			readMapping(d, fmt.Sprintf("the section %q", name), n, keys, at(into))
		},
	}
}
