package config

import (
	"net/netip"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Limits of the section of DNS.
const (
	dnsPort      = 53
	maxServers   = 16
	maxUpstreams = 1024
	maxRecords   = 10_000
	maxTexts     = 16
	mostTTL      = 8760 * time.Hour
)

// rawDNS is the section `dns:`.
type rawDNS struct {
	at               *yaml.Node // nil: absent
	broken           bool
	listen           placed[[]placed[string]]
	domain           placed[string]
	upstream         placed[[]*rawUpstream]
	records          []*rawRecord
	cache            placed[int]
	minTTL, maxTTL   placed[time.Duration]
	localTTL         placed[time.Duration]
	maxQueries       placed[int]
	maxPerClient     placed[int]
	timeout          placed[time.Duration]
	rebindProtection placed[bool]
	rebindAllow      placed[[]placed[string]]
	privateReverse   placed[bool]
}

// rawUpstream is one element of `upstream:`.
type rawUpstream struct {
	at      *yaml.Node
	broken  bool           // something in it could not be read
	domain  placed[string] // absent: everything
	servers placed[[]placed[netip.AddrPort]]
}

// rawRecord is one entry of `records:`.
type rawRecord struct {
	name    string // lower case
	at      *yaml.Node
	broken  bool
	address placed[[]placed[netip.Addr]]
	cname   placed[string]
	txt     placed[[]placed[string]]
	ttl     placed[time.Duration]
}

// dnsTables are the tables of keys of `dns`.
type dnsTables struct {
	section  []key[rawDNS]
	upstream []key[rawUpstream]
	record   []key[rawRecord]
}

func newDNSTables() *dnsTables {
	t := &dnsTables{}
	t.upstream = []key[rawUpstream]{
		must(field("domain", "The names that these servers are asked for: those of the domain and below it.", domainName(),
			func(u *rawUpstream) *placed[string] { return &u.domain })),
		must(field("servers", "The servers: an address, with or without a port, a list, or none, which says that nobody has such names.", serversOrNone(),
			func(u *rawUpstream) *placed[[]placed[netip.AddrPort]] { return &u.servers })),
	}
	t.record = []key[rawRecord]{
		field("address", "Addresses of the name: an address or a list.", several(address(), maxOptionAddrs),
			func(r *rawRecord) *placed[[]placed[netip.Addr]] { return &r.address }),
		field("cname", "The name is an alias of this one; it has nothing else then.", domainName(), func(r *rawRecord) *placed[string] { return &r.cname }),
		field("txt", "Texts of the name: a text or a list.", several(text(maxOptionText), maxTexts), func(r *rawRecord) *placed[[]placed[string]] { return &r.txt }),
		field("ttl", "How long others may keep it. Absent: as local_ttl.", leaseTime(time.Second, mostTTL, false), func(r *rawRecord) *placed[time.Duration] { return &r.ttl }),
	}
	t.section = []key[rawDNS]{
		must(field("listen", "Ports on which questions are answered; a port's name or a list. They are inside: not the `out` of a rule of `nat`.", several(portName(), maxPorts),
			func(s *rawDNS) *placed[[]placed[string]] { return &s.listen })),
		field("domain", "Domain of the hosts here; names in it are never asked for elsewhere. Absent: none.", domainName(), func(s *rawDNS) *placed[string] { return &s.domain }),
		field("upstream", "Servers that are asked for all other names: an address, with or without a port, or none; for the names of a domain, a mapping; or a list of these. Absent: those that DHCP brings.",
			t.upstreamValue(), func(s *rawDNS) *placed[[]*rawUpstream] { return &s.upstream }),
		t.recordsKey(),
		field("cache", "Answers that are kept; 0: none.", integer(0, 1_000_000, 10_000), func(s *rawDNS) *placed[int] { return &s.cache }),
		field("min_ttl", "An answer is kept at least so long, whatever it says.", duration(0, time.Hour, 0), func(s *rawDNS) *placed[time.Duration] { return &s.minTTL }),
		field("max_ttl", "An answer is kept at most so long, whatever it says.", duration(time.Second, 168*time.Hour, 24*time.Hour), func(s *rawDNS) *placed[time.Duration] { return &s.maxTTL }),
		field("local_ttl", "How long others may keep names of leases, reservations and records.", duration(time.Second, 24*time.Hour, time.Minute),
			func(s *rawDNS) *placed[time.Duration] { return &s.localTTL }),
		field("max_queries", "Questions under way to servers in all; beyond it the answer is a failure.", integer(1, 65_535, 1000), func(s *rawDNS) *placed[int] { return &s.maxQueries }),
		field("max_per_client", "Questions under way for one address. Absent: 150, or max_queries where that is less.", withoutDefault(integer(1, 65_535, 0)),
			func(s *rawDNS) *placed[int] { return &s.maxPerClient }),
		field("timeout", "How long one server is waited for.", duration(100*time.Millisecond, 30*time.Second, 2*time.Second), func(s *rawDNS) *placed[time.Duration] { return &s.timeout }),
		field("rebind_protection", "Refuse answers from elsewhere that hold private addresses, which can turn a browser against hosts within.", boolean(false),
			func(s *rawDNS) *placed[bool] { return &s.rebindProtection }),
		field("rebind_allow", "Domains whose answers may hold private addresses all the same; with rebind_protection.", several(domainName(), maxUpstreams),
			func(s *rawDNS) *placed[[]placed[string]] { return &s.rebindAllow }),
		field("private_reverse", "Ask servers elsewhere for the names of private addresses too (RFC 6303 says not to).", boolean(false),
			func(s *rawDNS) *placed[bool] { return &s.privateReverse }),
	}
	return t
}

// upstreamValue is a server, a mapping for a domain, or a list of them.
func (t *dnsTables) upstreamValue() value[[]*rawUpstream] {
	server, mapping := upstreamServer(), mappingSchema(t.upstream)
	one := func(d *decoder, what string, n *yaml.Node) (*rawUpstream, bool) {
		u := &rawUpstream{at: n}
		if n.Kind == yaml.MappingNode {
			u.broken = !readMapping(d, "an upstream", n, t.upstream, u)
			return u, !u.broken
		}
		a, ok := server.read(d, what, n)
		u.servers, u.broken = placed[[]placed[netip.AddrPort]]{v: []placed[netip.AddrPort]{{v: a, at: n}}, at: n, bad: !ok}, !ok
		return u, ok
	}
	element := &jsonschema.Schema{OneOf: []*jsonschema.Schema{server.schema, mapping}}
	return value[[]*rawUpstream]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Enum: []any{"none"}}, server.schema.CloneSchemas(), mapping.CloneSchemas(),
			{Type: "array", Items: element, MinItems: jsonschema.Ptr(1), MaxItems: jsonschema.Ptr(maxUpstreams)}}},
		read: func(d *decoder, what string, n *yaml.Node) ([]*rawUpstream, bool) {
			switch {
			case n.Kind == yaml.ScalarNode && n.Value == "none":
				return []*rawUpstream{{at: n, servers: placed[[]placed[netip.AddrPort]]{at: n}}}, true
			case n.Kind != yaml.SequenceNode:
				u, ok := one(d, what, n)
				return []*rawUpstream{u}, ok
			case len(n.Content) == 0:
				d.fail(n, "%s: the list is empty; fill it, write none or remove the key", what)
				return nil, false
			case len(n.Content) > maxUpstreams:
				d.fail(n, "%s: the list has %d entries: at most %d are allowed", what, len(n.Content), maxUpstreams)
				return nil, false
			}
			var all []*rawUpstream
			before := len(d.errors)
			readList(d, what, "a server", n, func(n *yaml.Node) {
				u, _ := one(d, what, n)
				all = append(all, u)
			})
			return all, len(d.errors) == before
		},
	}
}

// recordsKey is the row of the static names.
func (t *dnsTables) recordsKey() key[rawDNS] {
	addresses, mapping := several(address(), maxOptionAddrs), mappingSchema(t.record)
	return key[rawDNS]{
		name: "records", doc: "Static names: an address, a list, or a mapping. A name without a dot is completed by the domain.", optional: true,
		schema: &jsonschema.Schema{
			Types:                []string{"object", "null"},
			PropertyNames:        &jsonschema.Schema{Pattern: domainPattern},
			AdditionalProperties: &jsonschema.Schema{OneOf: append([]*jsonschema.Schema{mapping}, addresses.schema.OneOf...)},
			MaxProperties:        jsonschema.Ptr(maxRecords),
		},
		read: func(d *decoder, n *yaml.Node, into *rawDNS) {
			if n.Kind == yaml.MappingNode && len(n.Content)/2 > maxRecords {
				d.fail(n, "records: there are %d names: at most %d are allowed", len(n.Content)/2, maxRecords)
				return
			}
			name := domainName()
			readNamed(d, "records", n, func(at, content *yaml.Node) {
				r := &rawRecord{at: at}
				var ok bool
				r.name, ok = name.read(d, "records", at)
				r.broken = !ok
				switch {
				case isNull(content):
					d.fail(content, "%s: the value is missing; write an address or remove the line", shorten(at.Value))
					r.broken = true
				case content.Kind == yaml.MappingNode:
					r.broken = !readMapping(d, "a record", content, t.record, r) || r.broken
				default:
					got, ok := addresses.read(d, shorten(at.Value), content)
					r.address = placed[[]placed[netip.Addr]]{got, content, !ok}
				}
				into.records = append(into.records, r)
			})
		},
	}
}

// key is the row of the document for the section.
func (t *dnsTables) key() key[rawConfig] {
	return key[rawConfig]{
		name: "dns", doc: "The DNS forwarder. Absent: nothing is answered.", optional: true, schema: nullable(mappingSchema(t.section)),
		read: func(d *decoder, n *yaml.Node, into *rawConfig) {
			into.dns.at = n
			into.dns.broken = !readMapping(d, `the section "dns"`, n, t.section, &into.dns)
		},
	}
}
