package config

import (
	"net/netip"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// Limits of the sections of DHCP.
const (
	maxNetworks    = 4096 // entries of `dhcp`
	maxRanges      = 256
	maxOptionAddrs = 32
	maxSearch      = 16
	maxRelayed     = 8   // servers of a relay
	maxOptionText  = 255 // octets of a text in an option (RFC 2132 section 2)
	maxBootFile    = 127 // the field `file` with the zero at its end
	maxAgentText   = 64
	maxRequests    = 64
)

// dhcpTables are the tables of keys of `dhcp` and `dhcp_server`.
type dhcpTables struct {
	entry       []key[rawDHCPEntry]
	pool        []key[rawDHCPPool]
	reservation []key[rawReservation]
	relay       []key[rawRelay]
	server      []key[rawDHCPServer]
}

func newDHCPTables() *dhcpTables {
	t := &dhcpTables{}
	t.pool = []key[rawDHCPPool]{
		must(field("name", "Name of the pool; no other of the entry has it.", portName(), func(p *rawDHCPPool) *placed[string] { return &p.name })),
		must(field("vendor", "What the vendor class of its clients begins with (option 60).", text(maxOptionText), func(p *rawDHCPPool) *placed[string] { return &p.vendor })),
		field("range", "Addresses for these clients only: a range, or a list. Absent: those of the entry.", several(addressSpan(), maxRanges),
			func(p *rawDHCPPool) *placed[[]placed[addressRange]] { return &p.ranges }),
		field("options", "Options for these clients, by number or name; they win over those of the entry.", dhcpOptions(),
			func(p *rawDHCPPool) *placed[rawOptions] { return &p.options }),
	}
	t.reservation = []key[rawReservation]{
		field("mac", "Hardware address of the client; or `client_id`.", station(), func(r *rawReservation) *placed[packet.MAC] { return &r.mac }),
		field("client_id", "Identifier of the client (option 61): a text, which is sent with the type 0 before it, or octets such as hex:0102ff; or `mac`.", clientID(),
			func(r *rawReservation) *placed[string] { return &r.clientID }),
		must(field("address", "The address that is kept for it, within the network; it need not be in a range.", address(),
			func(r *rawReservation) *placed[netip.Addr] { return &r.address })),
		field("name", "Name of the host, one label; it is served in DNS and told to the client.", hostLabel(), func(r *rawReservation) *placed[string] { return &r.name }),
		field("lease", "How long this client's lease lasts, or infinite. Absent: as the entry says.", leaseTime(leastLease, mostLease, true),
			func(r *rawReservation) *placed[time.Duration] { return &r.lease }),
		field("options", "Options for this client, by number or name; they win over all others.", dhcpOptions(),
			func(r *rawReservation) *placed[rawOptions] { return &r.options }),
		field("comment", "A remark.", text(maxComment), func(r *rawReservation) *placed[string] { return &r.comment }),
	}
	t.relay = []key[rawRelay]{
		must(field("servers", "Servers elsewhere; every request goes to each of them.", several(address(), maxRelayed),
			func(r *rawRelay) *placed[[]placed[netip.Addr]] { return &r.servers })),
		field("option_82", "Add the relay agent's information (RFC 3046) to requests, and take it off answers.", boolean(false),
			func(r *rawRelay) *placed[bool] { return &r.agent }),
		field("circuit_id", "The circuit in option 82. Absent: the port's name.", text(maxAgentText), func(r *rawRelay) *placed[string] { return &r.circuitID }),
		field("remote_id", "The remote id in option 82. Absent: none.", text(maxAgentText), func(r *rawRelay) *placed[string] { return &r.remoteID }),
		field("max_hops", "Requests that have passed more relays are dropped.", integer(1, 16, 10), func(r *rawRelay) *placed[int] { return &r.maxHops }),
		field("trust_option_82", "Relay requests that bear an option 82 from a host or a switch; otherwise they are dropped (RFC 3046 section 2.1.1).", boolean(false),
			func(r *rawRelay) *placed[bool] { return &r.trust }),
	}
	t.server = []key[rawDHCPServer]{
		field("decline_hold", "How long an address rests that a client found in use.", duration(time.Second, 24*time.Hour, 10*time.Minute),
			func(s *rawDHCPServer) *placed[time.Duration] { return &s.declineHold }),
		field("max_leases", "Leases in all, offers included; beyond it nobody new is served.", integer(1, 1<<20, 65_536),
			func(s *rawDHCPServer) *placed[int] { return &s.maxLeases }),
	}
	t.entryKeys()
	return t
}

// entryKeys makes the table of an entry of `dhcp`.
func (t *dhcpTables) entryKeys() {
	type entry = rawDHCPEntry
	t.entry = []key[entry]{
		field("range", "Addresses to give away: a range such as 192.168.1.100-192.168.1.199, or a list of them. Absent: only reservations are served.", several(addressSpan(), maxRanges),
			func(e *entry) *placed[[]placed[addressRange]] { return &e.ranges }),
		field("exclude", "Addresses within the ranges that are not given away: an address, a range, or a list.", several(addressSpan(), maxRanges),
			func(e *entry) *placed[[]placed[addressRange]] { return &e.exclude }),
		field("network", "The network: needed where the entry's name is no port, and is then reached by relays; for a port with several networks, which of them. Absent: that in which the ranges lie.", network(),
			func(e *entry) *placed[netip.Prefix] { return &e.network }),
		field("lease", "How long a lease lasts where the client does not ask for less, or infinite.", withDefault(leaseTime(leastLease, mostLease, true), "12h"),
			func(e *entry) *placed[time.Duration] { return &e.lease }),
		field("min_lease", "The shortest lease that a client gets when it asks for less. Absent: whatever it asks for.", leaseTime(leastLease, mostLease, false),
			func(e *entry) *placed[time.Duration] { return &e.minLease }),
		field("max_lease", "The longest lease that a client gets when it asks for more. Absent: as lease.", leaseTime(leastLease, mostLease, true),
			func(e *entry) *placed[time.Duration] { return &e.maxLease }),
		field("renew", "When clients renew (T1), from the beginning of the lease. Absent: half of it.", leaseTime(time.Second, mostLease, false),
			func(e *entry) *placed[time.Duration] { return &e.renew }),
		field("rebind", "When clients ask any server (T2), from the beginning of the lease. Absent: seven eighths of it.", leaseTime(time.Second, mostLease, false),
			func(e *entry) *placed[time.Duration] { return &e.rebind }),
		field("gateway", "The clients' gateway: an address, a list, or none. Absent: the port's address.", addressesOrNone(maxOptionAddrs),
			func(e *entry) *placed[[]placed[netip.Addr]] { return &e.gateway }),
		field("dns", "The clients' DNS servers: an address, a list, or none. Absent: the port's address.", addressesOrNone(maxOptionAddrs),
			func(e *entry) *placed[[]placed[netip.Addr]] { return &e.dns }),
		field("ntp", "The clients' time servers: an address or a list. Absent: none.", addressesOrNone(maxOptionAddrs),
			func(e *entry) *placed[[]placed[netip.Addr]] { return &e.ntp }),
		field("domain", "The clients' domain. Absent: that of `dns:`.", domainName(), func(e *entry) *placed[string] { return &e.domain }),
		field("search", "Domains in which clients look names up: a domain or a list (option 119). Absent: none.", several(domainName(), maxSearch),
			func(e *entry) *placed[[]placed[string]] { return &e.search }),
		field("options", "Further options, by number or name.", dhcpOptions(), func(e *entry) *placed[rawOptions] { return &e.options }),
		dhcpList("reservations", "Addresses that are kept for clients.", "a reservation", t.reservation, maxRules, func(e *entry, n *yaml.Node) *rawReservation {
			r := &rawReservation{at: n}
			e.reservations = append(e.reservations, r)
			return r
		}),
		dhcpList("pools", "Addresses or options for the clients of a vendor class; the first pool that fits counts.", "a pool", t.pool, maxRanges, func(e *entry, n *yaml.Node) *rawDHCPPool {
			p := &rawDHCPPool{at: n}
			e.pools = append(e.pools, p)
			return p
		}),
		field("authoritative", "Refuse clients that ask for an address which is not of this network, also those of which nothing is known.", boolean(true),
			func(e *entry) *placed[bool] { return &e.authoritative }),
		field("rapid_commit", "Give a lease in one exchange to clients that ask for it (RFC 4039).", boolean(false), func(e *entry) *placed[bool] { return &e.rapidCommit }),
		field("probe", "Ask whether an address is in use before it is offered.", boolean(true), func(e *entry) *placed[bool] { return &e.probe }),
		field("inspection", "What happens to ARP packets of the port that contradict the leases: nothing, a log line and a counter, or they are not believed as well.",
			oneOf(InspectionOff, InspectionLog, InspectionDrop), func(e *entry) *placed[DHCPInspection] { return &e.inspection }),
		field("next_server", "Server of the boot file (siaddr). Absent: none.", address(), func(e *entry) *placed[netip.Addr] { return &e.nextServer }),
		field("boot_file", "Boot file for clients that boot from the network. Absent: none.", text(maxBootFile), func(e *entry) *placed[string] { return &e.bootFile }),
		field("tftp_server", "Name or address of the TFTP server (option 66). Absent: none.", text(maxOptionText), func(e *entry) *placed[string] { return &e.tftpServer }),
		field("relay", "Servers elsewhere to which requests of this port are carried, instead of a server here: an address, a list, or a mapping.", t.relayValue(),
			func(e *entry) *placed[rawRelay] { return &e.relay }),
		field("comment", "A remark.", text(maxComment), func(e *entry) *placed[string] { return &e.comment }),
	}
}

// dhcpList is the row of a key that holds a list of mappings, most at most.
func dhcpList[T, R any](name, doc, one string, keys []key[R], most int, add func(*T, *yaml.Node) *R) key[T] {
	row := ruleList(name, doc, one, keys, add)
	row.schema.MaxItems = jsonschema.Ptr(most)
	plain := row.read
	row.read = func(d *decoder, n *yaml.Node, into *T) {
		if n.Kind == yaml.SequenceNode && len(n.Content) > most {
			d.fail(n, "%s: the list has %d entries: at most %d are allowed", name, len(n.Content), most)
			return
		}
		plain(d, n, into)
	}
	return row
}

// relayValue is the servers, or the mapping for more than these.
func (t *dhcpTables) relayValue() value[rawRelay] {
	servers, long := several(address(), maxRelayed), mappingValue("a relay", t.relay)
	return value[rawRelay]{
		schema: &jsonschema.Schema{OneOf: append([]*jsonschema.Schema{long.schema}, servers.schema.OneOf...)},
		read: func(d *decoder, what string, n *yaml.Node) (rawRelay, bool) {
			if n.Kind == yaml.MappingNode {
				return long.read(d, what, n)
			}
			all, ok := servers.read(d, what, n)
			return rawRelay{servers: placed[[]placed[netip.Addr]]{v: all, at: n, bad: !ok}}, ok
		},
	}
}

// rows are the rows of the document.
func (t *dhcpTables) rows() []key[rawConfig] {
	entries := named("dhcp", "DHCP, by port: a server that gives addresses away, or a relay to servers elsewhere. A name that is no port is a network that relays reach.",
		mappingSchema(t.entry), false, t.readEntry)
	entries.schema.MaxProperties = jsonschema.Ptr(maxNetworks)
	plain := entries.read
	entries.read = func(d *decoder, n *yaml.Node, into *rawConfig) {
		into.dhcpAt = n
		if n.Kind == yaml.MappingNode && len(n.Content)/2 > maxNetworks {
			d.fail(n, "dhcp: there are %d entries: at most %d are allowed", len(n.Content)/2, maxNetworks)
			return
		}
		plain(d, n, into)
	}
	return []key[rawConfig]{entries, {
		name: "dhcp_server", doc: "What holds for the server as a whole.", optional: true, schema: nullable(mappingSchema(t.server)),
		read: func(d *decoder, n *yaml.Node, into *rawConfig) {
			into.dhcpServer.at = n
			readMapping(d, `the section "dhcp_server"`, n, t.server, &into.dhcpServer)
		},
	}}
}

// readEntry reads one entry; one that cannot be read is still known by its name.
func (t *dhcpTables) readEntry(d *decoder, name, content *yaml.Node, into *rawConfig) {
	if isNull(content) {
		return // which has been told
	}
	e := &rawDHCPEntry{name: name.Value, at: name}
	e.broken = !readMapping(d, "an entry of dhcp", content, t.entry, e)
	into.dhcp = append(into.dhcp, e)
}
