package config

import (
	"math"
	"net/netip"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// versionKeys are the keys of versions, which the section and its ports have in common.
func versionKeys[T any](version func(*T) *placed[int], send func(*T) *placed[RIPSend], receive func(*T) *placed[RIPReceive]) []key[T] {
	return []key[T]{
		field("version", "Version of RIP that is sent and accepted; `send` and `receive` refine it.", withoutDefault(integer(1, 2, 0)), version),
		field("send", "What is sent: version 1 by broadcast, version 2 by multicast, or version 2 by broadcast. Absent: as version.",
			versionWord(RIPSendV2, RIPSendV1, RIPSendV2Broadcast), send),
		field("receive", "What is accepted. Absent: as version.", versionWord(RIPReceiveV2, RIPReceiveV1, RIPReceiveBoth), receive),
	}
}

// versionWord is a number of a version or a word for more than one.
func versionWord[S ~string](two, one, word S) value[S] {
	return value[S]{
		schema: &jsonschema.Schema{Enum: []any{2, 1, string(word)}},
		read: func(d *decoder, what string, n *yaml.Node) (S, bool) {
			if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.Value == string(word)) {
				switch s := S(n.Value); s {
				case one, two, word:
					return s, true
				}
			}
			d.fail(n, "%s wants 1, 2 or %s, not %s", what, word, kindName(n))
			return "", false
		},
	}
}

// portKeys makes the table of a port of RIP.
func (t *ripTables) portKeys() {
	type port = rawRIPPort
	t.port = append([]key[port]{
		field("passive", "Listen, and send nothing by multicast or broadcast; unicast neighbours get updates all the same.", boolean(false),
			func(p *port) *placed[bool] { return &p.passive }),
		field("auth", "Authentication: the name of a chain of `keys`. Absent: none.", portName(),
			func(p *port) *placed[string] { return &p.auth }),
		field("split_horizon", "What is told of a route to where it came from: that it is unreachable (poisoned), nothing (simple), or the route itself (none).",
			oneOf(SplitHorizonPoisoned, SplitHorizonSimple, SplitHorizonNone), func(p *port) *placed[SplitHorizon] { return &p.splitHorizon }),
		field("cost", "What a route learned here costs more than the neighbour said.", integer(1, 15, 1),
			func(p *port) *placed[int] { return &p.cost }),
	}, versionKeys(func(p *port) *placed[int] { return &p.version }, func(p *port) *placed[RIPSend] { return &p.send },
		func(p *port) *placed[RIPReceive] { return &p.receive })...)
	t.port = append(t.port,
		subsection("timers", "Timers of this port.", "the timers of a port", t.portTimers, func(p *port) *rawRIPTimers { return &p.timers }),
		field("neighbors", "Neighbours, on-link, that get updates by unicast as well.", several(address(), maxRIPPeers),
			func(p *port) *placed[[]placed[netip.Addr]] { return &p.neighbors }),
		field("ttl_security", "Send with TTL 255 and accept nothing less (RFC 5082): the neighbours must do so too.", boolean(false),
			func(p *port) *placed[bool] { return &p.ttlSecurity }),
		field("link_check", "Count a port without carrier as down.", boolean(false),
			func(p *port) *placed[bool] { return &p.linkCheck }),
		field("filter_in", "Which prefixes are learned here: the name of a prefix list, or a list of rules. Absent: all.", t.filter(),
			func(p *port) *placed[rawFilter] { return &p.filterIn }),
		field("filter_out", "Which prefixes are announced here: the name of a prefix list, or a list of rules. Absent: all.", t.filter(),
			func(p *port) *placed[rawFilter] { return &p.filterOut }),
		field("offset_in", "What is added to metrics learned here, besides the cost: a number, or a list with filters of which the first that matches counts.", t.offsets(),
			func(p *port) *placed[[]rawOffset] { return &p.offsetIn }),
		field("offset_out", "What is added to metrics announced here: a number, or a list with filters of which the first that matches counts.", t.offsets(),
			func(p *port) *placed[[]rawOffset] { return &p.offsetOut }),
		field("comment", "A remark.", text(maxComment), func(p *port) *placed[string] { return &p.comment }),
	)
}

// sectionKeys makes the table of the section.
func (t *ripTables) sectionKeys() {
	redistribute := []key[rawRedistribution]{
		field("connected", "The networks of ports that RIP does not run on. Those of its own ports are announced anyway.", mappingValue("the redistribution of a protocol", t.redistribute),
			func(r *rawRedistribution) *placed[rawRedistribute] { return &r.connected }),
		field("static", "Static routes.", mappingValue("the redistribution of a protocol", t.redistribute),
			func(r *rawRedistribution) *placed[rawRedistribute] { return &r.static }),
	}
	defaultRoute := []key[rawRIPDefaultRoute]{
		field("originate", "Announce 0.0.0.0/0 on every port.", boolean(false), func(r *rawRIPDefaultRoute) *placed[bool] { return &r.originate }),
		field("metric", "Metric to announce.", integer(1, 15, 1), func(r *rawRIPDefaultRoute) *placed[int] { return &r.metric }),
		field("tag", "Route tag to announce.", integer(0, math.MaxUint16, 0), func(r *rawRIPDefaultRoute) *placed[int] { return &r.tag }),
	}
	t.section = versionKeys(func(r *rawRIP) *placed[int] { return &r.version }, func(r *rawRIP) *placed[RIPSend] { return &r.send },
		func(r *rawRIP) *placed[RIPReceive] { return &r.receive })
	t.section[0] = field("version", "Version of RIP that is sent and accepted; `send` and `receive` refine it, and ports may differ.", integer(1, 2, 2),
		func(r *rawRIP) *placed[int] { return &r.version })
	t.section = append(t.section,
		subsection("timers", "Timers (RFC 2453 section 3.8).", "the timers", t.timers, func(r *rawRIP) *rawRIPTimers { return &r.timers }),
		named("keys", "Chains of keys for authentication, by name.", mappingSchema(t.chain), false, t.readChain),
		named("prefix_lists", "Lists of prefixes for filters, by name. The first rule that matches decides; what none matches is denied.", t.rulesSchema(), false, t.readPrefixList),
		named("ports", "The ports that RIP runs on, by name. Their networks are announced.", nullable(mappingSchema(t.port)), true, t.readPort),
		subsection("redistribute", "Routes from elsewhere that RIP announces.", "the redistribution", redistribute, func(r *rawRIP) *rawRedistribution { return &r.redistribute }),
		subsection("default_route", "The default route.", "the default route", defaultRoute, func(r *rawRIP) *rawRIPDefaultRoute { return &r.defaultRoute }),
		field("distance", "Administrative distance of RIP's routes: of routes to one prefix the lowest wins.", integer(1, 254, 120),
			func(r *rawRIP) *placed[int] { return &r.distance }),
		field("max_paths", "Equal-cost paths to one prefix that share its traffic; 1: only one is used.", integer(1, 16, 16),
			func(r *rawRIP) *placed[int] { return &r.maxPaths }),
		field("max_routes", "Prefixes that RIP knows at most; one neighbour fills half of it at most.", integer(1, 1_000_000, 65_536),
			func(r *rawRIP) *placed[int] { return &r.maxRoutes }),
	)
}

// key is the row of the document for the section.
func (t *ripTables) key() key[rawConfig] {
	return key[rawConfig]{
		name: "rip", doc: "RIP (RFC 2453). Absent: it is not spoken.", optional: true, schema: nullable(mappingSchema(t.section)),
		read: func(d *decoder, n *yaml.Node, into *rawConfig) {
			into.rip.at = n
			readMapping(d, `the section "rip"`, n, t.section, &into.rip)
		},
	}
}

// subsection is the row of a key that holds a mapping; what names it in messages.
func subsection[T, S any](name, doc, what string, keys []key[S], at func(*T) *S) key[T] {
	return key[T]{name: name, doc: doc, schema: mappingSchema(keys), read: func(d *decoder, n *yaml.Node, into *T) {
		readMapping(d, what, n, keys, at(into))
	}}
}

// What cannot be read is known by its name all the same, so that who refers to it is right.

func (t *ripTables) readChain(d *decoder, name, content *yaml.Node, into *rawRIP) {
	c := &rawRIPChain{name: name.Value, at: name}
	if !isNull(content) && !notMapping(d, "a chain of keys", "{type: md5, keys: […]}", content) {
		readMapping(d, "a chain of keys", content, t.chain, c)
	}
	into.chains = append(into.chains, c)
}

func (t *ripTables) readPrefixList(d *decoder, name, content *yaml.Node, into *rawRIP) {
	list := &rawPrefixList{}
	if !isNull(content) {
		list, _ = t.readRules(d, shorten(name.Value), content)
	}
	list.name, list.at = name.Value, name
	into.lists = append(into.lists, list)
}

func (t *ripTables) readPort(d *decoder, name, content *yaml.Node, into *rawRIP) {
	p := &rawRIPPort{name: name.Value, at: name}
	if !isNull(content) {
		readMapping(d, "a port of RIP", content, t.port, p)
	}
	into.ports = append(into.ports, p)
}
