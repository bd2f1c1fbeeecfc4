package config

import (
	"net/netip"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Limits of the sections of NAT.
const (
	maxRuleName    = 64 // octets of a rule's name, which stands in logs and tables
	maxRuleNets    = 1024
	maxSessions    = 16_777_216
	maxTimeout     = 7 * 24 * time.Hour
	leastTimeout   = time.Second
	defaultBlock   = 512
	defaultBlocks  = 4
	forwardTCP     = "tcp"
	forwardUDP     = "udp"
	forwardBoth    = "tcp_udp"
	defaultMaxHost = 128
)

// natTables are the tables of keys of `nat`, `forwards`, `sessions` and `port_mapping`.
type natTables struct {
	nat         []key[rawNAT]
	forward     []key[rawForward]
	sessions    []key[rawSessions]
	portMapping []key[rawPortMapping]
}

func newNATTables() *natTables {
	t := &natTables{}
	t.natKeys()
	t.forwardKeys()
	t.sessionKeys()
	t.portMapping = []key[rawPortMapping]{
		must(field("ports", "Ports on which hosts may ask; a port's name or a list. They are inside: not the `out` of a rule of `nat`.", several(portName(), maxPorts),
			func(p *rawPortMapping) *placed[[]placed[string]] { return &p.ports })),
		field("nat_pmp", "Answer NAT-PMP (RFC 6886).", boolean(true), func(p *rawPortMapping) *placed[bool] { return &p.natPMP }),
		field("pcp", "Answer PCP (RFC 6887).", boolean(true), func(p *rawPortMapping) *placed[bool] { return &p.pcp }),
		field("upnp", "Be a UPnP Internet gateway device. It has no authentication: any program on a host can open ports.", boolean(false),
			func(p *rawPortMapping) *placed[bool] { return &p.upnp }),
		field("max_lifetime", "How long a mapping may be asked for; it can be renewed.", duration(2*time.Minute, maxTimeout, 24*time.Hour),
			func(p *rawPortMapping) *placed[time.Duration] { return &p.maxLifetime }),
		field("max_per_host", "Mappings that one host may have.", integer(1, 65_535, defaultMaxHost),
			func(p *rawPortMapping) *placed[int] { return &p.maxPerHost }),
	}
	return t
}

// ruleNets is the row of a key of prefixes.
func ruleNets[T any](name, doc string, at func(*T) *placed[[]placed[netip.Prefix]]) key[T] {
	return field(name, doc, several(networkOrHost(false), maxRuleNets), at)
}

// nameAndComment are the last rows of every rule.
func nameAndComment[T any](name, comment func(*T) *placed[string]) []key[T] {
	return []key[T]{
		field("name", "A name of your own, which tables and logs show; no other of its kind has it.", text(maxRuleName), name),
		field("comment", "A remark.", text(maxComment), comment),
	}
}

// natKeys makes the table of a rule of `nat`.
func (t *natTables) natKeys() {
	t.nat = append([]key[rawNAT]{
		must(field("out", "The port by which packets leave that the rule is for.", portName(),
			func(r *rawNAT) *placed[string] { return &r.out })),
		must(field("type", "What becomes of the source: the address of the port (masquerade), one of the pool `to` (snat), `outside` for `inside` (one_to_one), nothing (none), or a block of ports of the pool for each subscriber (cgnat).",
			withoutDefault(oneOf(NATMasquerade, NATSource, NATOneToOne, NATNone, NATCGNAT)),
			func(r *rawNAT) *placed[NATType] { return &r.kind })),
		ruleNets("source", "Inside addresses that the rule is for: a prefix, an address, or a list. Absent: all.",
			func(r *rawNAT) *placed[[]placed[netip.Prefix]] { return &r.source }),
		ruleNets("destination", "Destinations that the rule is for: a prefix, an address, or a list. Absent: all.",
			func(r *rawNAT) *placed[[]placed[netip.Prefix]] { return &r.destination }),
		field("protocol", "Protocol that the rule is for: a word or a number. Absent: all.", protocol(),
			func(r *rawNAT) *placed[uint8] { return &r.protocol }),
		field("to", "The pool of snat and cgnat: an address, a range such as 198.51.100.1-198.51.100.4, a prefix, which means all its addresses, or a list of them.",
			several(addressSpan(), maxRuleNets), func(r *rawNAT) *placed[[]placed[addressRange]] { return &r.to }),
		field("inside", "one_to_one: the address of the host within.", address(), func(r *rawNAT) *placed[netip.Addr] { return &r.inside }),
		field("outside", "one_to_one: the address that it has outside.", address(), func(r *rawNAT) *placed[netip.Addr] { return &r.outside }),
		field("filtering", "Who outside may use a mapping (RFC 4787 section 5): anybody, an address that was sent to, or an address and port that were sent to.",
			oneOf(FilterEndpointIndependent, FilterAddressDependent, FilterAddressAndPortDependent),
			func(r *rawNAT) *placed[NATFiltering] { return &r.filtering }),
		field("ports", "Range of the ports that mappings get. Absent: 1024-65535.", portRange(), func(r *rawNAT) *placed[PortRange] { return &r.ports }),
		field("block_size", "cgnat: ports in a block.", powerOfTwo(64, 32_768, defaultBlock), func(r *rawNAT) *placed[int] { return &r.blockSize }),
		field("max_blocks", "cgnat: blocks that one subscriber may have.", integer(1, 64, defaultBlocks), func(r *rawNAT) *placed[int] { return &r.maxBlocks }),
		field("deterministic", "cgnat: the block follows from the subscriber's address (RFC 7422), so that nothing needs to be logged; one block for each address of `source`.",
			boolean(false), func(r *rawNAT) *placed[bool] { return &r.deterministic }),
	}, nameAndComment(func(r *rawNAT) *placed[string] { return &r.name }, func(r *rawNAT) *placed[string] { return &r.comment })...)
}

// forwardKeys makes the table of a forward.
func (t *natTables) forwardKeys() {
	t.forward = append([]key[rawForward]{
		must(field("in", "The port at which packets from outside arrive.", portName(), func(f *rawForward) *placed[string] { return &f.in })),
		must(field("protocol", "tcp, udp, or both.", withoutDefault(oneOf(forwardTCP, forwardUDP, forwardBoth)),
			func(f *rawForward) *placed[string] { return &f.protocol })),
		must(field("port", "Port that packets from outside name, or a range such as 8000-8010.", portRange(),
			func(f *rawForward) *placed[PortRange] { return &f.ports })),
		field("address", "Outside address that the forward answers at. Absent: every address of the port.", address(),
			func(f *rawForward) *placed[netip.Addr] { return &f.address }),
		must(field("to", "Host within, with or without a port: 192.168.1.5 or 192.168.1.5:8080. Of a range it is the first port's, and the others follow.", hostAndPort(),
			func(f *rawForward) *placed[netip.AddrPort] { return &f.to })),
		ruleNets("source", "Who outside may use it: a prefix, an address, or a list. Absent: anybody.",
			func(f *rawForward) *placed[[]placed[netip.Prefix]] { return &f.source }),
	}, nameAndComment(func(f *rawForward) *placed[string] { return &f.name }, func(f *rawForward) *placed[string] { return &f.comment })...)
}

// sessionKeys makes the table of the section `sessions`.
func (t *natTables) sessionKeys() {
	timeout := func(name, doc string, standard time.Duration, at func(*rawSessions) *placed[time.Duration]) key[rawSessions] {
		return field(name, doc, duration(leastTimeout, maxTimeout, standard), at)
	}
	t.sessions = []key[rawSessions]{
		field("max", "Sessions in all; beyond it new ones are refused. The last eighth is kept for those that inside opens.", integer(1024, maxSessions, 1_048_576), func(s *rawSessions) *placed[int] { return &s.max }),
		field("max_per_host", "Sessions that one inside address may have; 0: no limit.", integer(0, maxSessions, 0),
			func(s *rawSessions) *placed[int] { return &s.maxPerHost }),
		field("max_half_open", "TCP sessions from outside that are not established yet; beyond it the oldest makes room. Absent: an eighth of max.", withoutDefault(integer(1, maxSessions, 0)),
			func(s *rawSessions) *placed[int] { return &s.maxHalfOpen }),
		timeout("udp", "How long an idle UDP session lives; at least 2m (RFC 4787 REQ-5).", 5*time.Minute,
			func(s *rawSessions) *placed[time.Duration] { return &s.udp }),
		timeout("icmp", "How long an idle ICMP query session lives; at least 1m (RFC 5508 REQ-2).", time.Minute,
			func(s *rawSessions) *placed[time.Duration] { return &s.icmp }),
		timeout("other", "How long an idle session of another protocol lives.", 10*time.Minute,
			func(s *rawSessions) *placed[time.Duration] { return &s.other }),
		timeout("tcp_established", "How long an idle open TCP session lives; at least 2h4m (RFC 5382 REQ-5).", 7440*time.Second,
			func(s *rawSessions) *placed[time.Duration] { return &s.tcpEstablished }),
		timeout("tcp_transitory", "How long a TCP session lives that is opening or closing; at least 4m (RFC 5382 REQ-5).", 240*time.Second,
			func(s *rawSessions) *placed[time.Duration] { return &s.tcpTransitory }),
		timeout("tcp_reset", "How long a TCP session lives after a reset; at least 4m (RFC 7857 section 2).", 240*time.Second,
			func(s *rawSessions) *placed[time.Duration] { return &s.tcpReset }),
		field("short_timeouts", "Allow timeouts below what the RFCs require, down to 1s, for labs and tests.", boolean(false),
			func(s *rawSessions) *placed[bool] { return &s.shortTimeouts }),
		field("loose", "Take up TCP connections that were open before the router began.", boolean(true),
			func(s *rawSessions) *placed[bool] { return &s.loose }),
		field("window", "Check of TCP sequence numbers: of resets and what is far off (liberal), of every segment (strict), or none (off).", oneOf("liberal", "strict", "off"),
			func(s *rawSessions) *placed[string] { return &s.window }),
		field("helpers", "Helpers that foresee further sessions of a protocol: ftp. Absent: none.", several(onlyWord("ftp"), 8),
			func(s *rawSessions) *placed[[]placed[string]] { return &s.helpers }),
	}
}

// onlyWord is the only word that there is so far.
func onlyWord(only string) value[string] {
	return value[string]{
		schema: &jsonschema.Schema{Enum: []any{only}},
		read: func(d *decoder, what string, n *yaml.Node) (string, bool) {
			if n.Kind != yaml.ScalarNode || n.Value != only {
				d.fail(n, "%s: there is only %s, not %s", what, only, kindName(n))
				return "", false
			}
			return only, true
		},
	}
}

// rows are those of the document for the sections.
func (t *natTables) rows() []key[rawConfig] {
	return []key[rawConfig]{
		ruleList("nat", "Translation of addresses: rules of which the first that matches a packet counts.", "a nat rule", t.nat, func(c *rawConfig, n *yaml.Node) *rawNAT {
			r := &rawNAT{at: n}
			c.nat = append(c.nat, r)
			return r
		}),
		ruleList("forwards", "Ports of outside addresses that lead to hosts within.", "a forward", t.forward, func(c *rawConfig, n *yaml.Node) *rawForward {
			f := &rawForward{at: n}
			c.forwards = append(c.forwards, f)
			return f
		}),
		section("sessions", "Sessions, which NAT and the firewall keep.", t.sessions, func(c *rawConfig) *rawSessions { return &c.sessions }),
		{
			name: "port_mapping", doc: "Hosts may ask for forwards by themselves. Absent: they may not.", optional: true, schema: nullable(mappingSchema(t.portMapping)),
			read: func(d *decoder, n *yaml.Node, into *rawConfig) {
				into.portMapping.at = n
				readMapping(d, `the section "port_mapping"`, n, t.portMapping, &into.portMapping)
			},
		},
	}
}

// ruleList is the row of a key that holds a list of rules. add makes the rule that an element fills in.
func ruleList[T, R any](name, doc, one string, keys []key[R], add func(*T, *yaml.Node) *R) key[T] {
	schema := listSchema(keys)
	schema.MaxItems = jsonschema.Ptr(maxRules)
	return key[T]{
		name: name, doc: doc, optional: true, schema: schema,
		read: func(d *decoder, n *yaml.Node, into *T) {
			if len(n.Content) > maxRules && n.Kind == yaml.SequenceNode {
				d.fail(n, "%s: the list has %d entries: at most %d are allowed", name, len(n.Content), maxRules)
				return
			}
			readList(d, name, one, n, func(n *yaml.Node) {
				if n.Kind != yaml.MappingNode {
					d.fail(n, "%s is a mapping of keys such as `%s:`, not %s", one, keys[0].name, kindName(n))
					return
				}
				readMapping(d, one, n, keys, add(into, n))
			})
		},
	}
}
