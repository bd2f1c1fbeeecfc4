package config

import (
	"math"
	"net/netip"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Limits of RIP's section.
const (
	maxRIPUpdate   = time.Hour
	maxRIPAge      = 24 * time.Hour // of timeout and garbage
	maxChainKeys   = 256            // a key id is one octet
	maxRules       = 10_000
	maxOffsets     = 64
	maxRIPPeers    = 256
	maxSecretPlain = 16 // the fields of RFC 2453 section 4.1 and RFC 2082 section 3.2.1
	maxSecretHMAC  = 255
)

// ripTables are the tables of keys of the section `rip:`.
type ripTables struct {
	section      []key[rawRIP]
	timers       []key[rawRIPTimers]
	portTimers   []key[rawRIPTimers]
	chain        []key[rawRIPChain]
	chainKey     []key[rawRIPKey]
	rule         []key[rawPrefixRule]
	port         []key[rawRIPPort]
	offset       []key[rawOffset]
	redistribute []key[rawRedistribute]
}

func newRIPTables() *ripTables {
	t := &ripTables{}
	span := func(name, doc string, least, most time.Duration, at func(*rawRIPTimers) *placed[time.Duration]) key[rawRIPTimers] {
		return field(name, doc, withoutDefault(duration(least, most, 0)), at)
	}
	update := func(r *rawRIPTimers) *placed[time.Duration] { return &r.update }
	timeout := func(r *rawRIPTimers) *placed[time.Duration] { return &r.timeout }
	t.timers = []key[rawRIPTimers]{
		field("update", "Time between two whole tables, give or take a sixth.", duration(time.Second, maxRIPUpdate, 30*time.Second), update),
		span("timeout", "How long a route is believed after its last mention; longer than update, and best three times as long or more. Absent: six times update.",
			time.Second, maxRIPAge, timeout),
		span("garbage", "How long a lost route is still announced as unreachable. Absent: four times update.",
			time.Second, maxRIPAge, func(r *rawRIPTimers) *placed[time.Duration] { return &r.garbage }),
		span("triggered_min", "Shortest pause after a triggered update. Absent: 1s, and in proportion less where update is below 30s.",
			time.Millisecond, time.Minute, func(r *rawRIPTimers) *placed[time.Duration] { return &r.triggeredMin }),
		span("triggered_max", "Longest pause after a triggered update. Absent: 5s, and in proportion less where update is below 30s.",
			time.Millisecond, time.Minute, func(r *rawRIPTimers) *placed[time.Duration] { return &r.triggeredMax }),
	}
	t.portTimers = []key[rawRIPTimers]{
		span("update", "Time between two whole tables on this port. Absent: as in the section.", time.Second, maxRIPUpdate, update),
		span("timeout", "How long a route learned on this port is believed after its last mention. Absent: as in the section, or six times this port's update where that is given.",
			time.Second, maxRIPAge, timeout),
	}
	t.rule = []key[rawPrefixRule]{
		field("action", "What becomes of a prefix that matches.", oneOf("permit", "deny"),
			func(r *rawPrefixRule) *placed[string] { return &r.action }),
		must(field("prefix", "The prefixes within this one are meant: exactly this one without ge and le; `default` is 0.0.0.0/0.", destination(),
			func(r *rawPrefixRule) *placed[netip.Prefix] { return &r.prefix })),
		field("ge", "Shortest length that matches. Absent: the prefix's own.", withoutDefault(integer(0, 32, 0)),
			func(r *rawPrefixRule) *placed[int] { return &r.ge }),
		field("le", "Longest length that matches. Absent: 32 with ge, else the prefix's own.", withoutDefault(integer(0, 32, 0)),
			func(r *rawPrefixRule) *placed[int] { return &r.le }),
		field("comment", "A remark.", text(maxComment), func(r *rawPrefixRule) *placed[string] { return &r.comment }),
	}
	t.offset = []key[rawOffset]{
		must(field("metric", "What is added, to 16 at most, which is unreachable; 0: nothing.", withoutDefault(integer(0, 16, 0)),
			func(o *rawOffset) *placed[int] { return &o.metric })),
		field("filter", "Which prefixes are meant: the name of a prefix list, or a list of rules. Absent: all.", t.filter(),
			func(o *rawOffset) *placed[rawFilter] { return &o.filter }),
	}
	t.redistribute = []key[rawRedistribute]{
		field("metric", "Metric to announce. Absent: that of the route if it is from 1 to 15, else 1.", withoutDefault(integer(1, 15, 0)),
			func(r *rawRedistribute) *placed[int] { return &r.metric }),
		field("tag", "Route tag to announce. Absent: that of the route.", withoutDefault(integer(1, math.MaxUint16, 0)),
			func(r *rawRedistribute) *placed[int] { return &r.tag }),
		field("filter", "Which routes are meant: the name of a prefix list, or a list of rules. Absent: all.", t.filter(),
			func(r *rawRedistribute) *placed[rawFilter] { return &r.filter }),
	}
	t.chainKeys()
	t.portKeys()
	t.sectionKeys()
	return t
}

// withoutDefault is a value whose default depends on others.
func withoutDefault[V any](v value[V]) value[V] {
	v.schema.Default = nil
	return v
}

// chainKeys makes the tables of a chain and of its keys.
func (t *ripTables) chainKeys() {
	instant := func(name, doc string, at func(*rawRIPKey) *placed[time.Time]) key[rawRIPKey] {
		return field(name, doc+", a time such as 2026-07-01T00:00:00Z. Absent: no limit.", instant(), at)
	}
	t.chainKey = []key[rawRIPKey]{
		field("id", "Number of the key, which its packets carry: the neighbours have the same. Needed for every type but simple.", withoutDefault(integer(0, 255, 0)),
			func(k *rawRIPKey) *placed[int] { return &k.id }),
		must(field("secret", "The shared secret, in quotes: for simple and md5 at most 16 octets, else at most 255.", secret(),
			func(k *rawRIPKey) *placed[Secret] { return &k.secret })),
		instant("send_from", "From when packets may be sent with this key", func(k *rawRIPKey) *placed[time.Time] { return &k.sendFrom }),
		instant("send_until", "Until when packets may be sent with this key", func(k *rawRIPKey) *placed[time.Time] { return &k.sendUntil }),
		instant("accept_from", "From when packets with this key are accepted", func(k *rawRIPKey) *placed[time.Time] { return &k.acceptFrom }),
		instant("accept_until", "Until when packets with this key are accepted", func(k *rawRIPKey) *placed[time.Time] { return &k.acceptUntil }),
	}
	kind := oneOf(RIPAuthSimple, RIPAuthMD5, RIPAuthHMACSHA1, RIPAuthHMACSHA256, RIPAuthHMACSHA384, RIPAuthHMACSHA512)
	t.chain = []key[rawRIPChain]{
		must(field("type", "Kind of authentication: simple sends the secret readably; hmac-sha256 is the one to choose where all neighbours have it.", withoutDefault(kind),
			func(c *rawRIPChain) *placed[RIPAuthType] { return &c.kind })),
		{
			name: "keys", doc: "The keys, at least one. Of those that may be sent now, the one whose time to be sent began last is used.", required: true,
			schema: &jsonschema.Schema{Type: "array", Items: mappingSchema(t.chainKey), MinItems: jsonschema.Ptr(1), MaxItems: jsonschema.Ptr(maxChainKeys)},
			read:   t.readChainKeys,
		},
		field("forget_sequence", "Accept any sequence number from a neighbour that was silent for the timeout, for peers that begin anew at 0 when they restart; old packets can be replayed then. Otherwise only 0 is accepted then (RFC 4822 section 3.2.2).",
			boolean(false), func(c *rawRIPChain) *placed[bool] { return &c.forget }),
		field("comment", "A remark.", text(maxComment), func(c *rawRIPChain) *placed[string] { return &c.comment }),
	}
}

func (t *ripTables) readChainKeys(d *decoder, n *yaml.Node, into *rawRIPChain) {
	switch {
	case n.Kind != yaml.SequenceNode:
		d.fail(n, "keys is a list, such as [{id: 1, secret: \"…\"}]")
	case len(n.Content) == 0:
		d.fail(n, "keys: the list is empty; give the chain a key, such as {id: 1, secret: \"…\"}")
	case len(n.Content) > maxChainKeys:
		d.fail(n, "keys: the list has %d entries: at most %d are allowed", len(n.Content), maxChainKeys)
	default:
		readList(d, "keys", "a key", n, func(n *yaml.Node) {
			k := &rawRIPKey{at: n}
			if !notMapping(d, "a key", "{id: 1, secret: \"…\"}", n) {
				readMapping(d, "a key", n, t.chainKey, k)
				into.keys = append(into.keys, k)
			}
		})
	}
}

// filter is the name of a prefix list, or the list itself.
func (t *ripTables) filter() value[rawFilter] {
	name := portName()
	return value[rawFilter]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{name.schema, t.rulesSchema()}},
		read: func(d *decoder, what string, n *yaml.Node) (rawFilter, bool) {
			switch n.Kind {
			case yaml.SequenceNode:
				list, ok := t.readRules(d, what, n)
				return rawFilter{inline: list}, ok
			case yaml.MappingNode:
				d.fail(n, "%s wants the name of a prefix list or a list of rules such as [{prefix: 10.0.0.0/8, le: 24}], not a mapping", what)
				return rawFilter{}, false
			}
			s, ok := name.read(d, what, n)
			return rawFilter{name: placed[string]{v: s, at: n, bad: !ok}}, ok
		},
	}
}

func (t *ripTables) rulesSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: mappingSchema(t.rule), MinItems: jsonschema.Ptr(1), MaxItems: jsonschema.Ptr(maxRules)}
}

// readRules reads the rules of a prefix list.
func (t *ripTables) readRules(d *decoder, what string, n *yaml.Node) (*rawPrefixList, bool) {
	list := &rawPrefixList{at: n}
	before := len(d.errors)
	switch {
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		d.fail(n, "%s: the list has no rules, and would permit nothing; write [{action: deny, prefix: default, le: 32}] if that is meant", what)
	case n.Kind == yaml.SequenceNode && len(n.Content) > maxRules:
		d.fail(n, "%s: the list has %d rules: at most %d are allowed", what, len(n.Content), maxRules)
	default:
		readList(d, what, "a rule", n, func(n *yaml.Node) {
			r := &rawPrefixRule{at: n}
			if readMapping(d, "a rule of a prefix list", n, t.rule, r); n.Kind == yaml.MappingNode {
				list.rules = append(list.rules, r)
			}
		})
	}
	return list, len(d.errors) == before
}

// offsets is a number for every prefix, or a list of numbers with filters.
func (t *ripTables) offsets() value[[]rawOffset] {
	number := withoutDefault(integer(0, 16, 0))
	return value[[]rawOffset]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{number.schema,
			{Type: "array", Items: mappingSchema(t.offset), MinItems: jsonschema.Ptr(1), MaxItems: jsonschema.Ptr(maxOffsets)}}},
		read: func(d *decoder, what string, n *yaml.Node) ([]rawOffset, bool) {
			switch {
			case n.Kind == yaml.MappingNode:
				d.fail(n, "%s wants a number from 0 to 16, or a list such as [{filter: NAME, metric: 2}], not a mapping", what)
				return nil, false
			case n.Kind != yaml.SequenceNode:
				i, ok := number.read(d, what, n)
				return []rawOffset{{at: n, metric: placed[int]{v: i, at: n, bad: !ok}}}, ok
			case len(n.Content) == 0:
				d.fail(n, "%s: the list is empty; fill it or remove the key", what)
				return nil, false
			case len(n.Content) > maxOffsets:
				d.fail(n, "%s: the list has %d entries: at most %d are allowed", what, len(n.Content), maxOffsets)
				return nil, false
			}
			var all []rawOffset
			before := len(d.errors)
			readList(d, what, "an offset", n, func(n *yaml.Node) {
				o := rawOffset{at: n}
				if readMapping(d, "an offset", n, t.offset, &o); n.Kind == yaml.MappingNode {
					all = append(all, o)
				}
			})
			return all, len(d.errors) == before
		},
	}
}
