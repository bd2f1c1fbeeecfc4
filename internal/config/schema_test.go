package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// resolved is the schema as users get it: read back from its text.
func resolved(t testing.TB) *jsonschema.Resolved {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	r, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asJSON turns a YAML text into what a JSON Schema judges.
func asJSON(t testing.TB, source string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(source), &v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(namesAsText(v))
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// namesAsText makes texts of the keys of mappings that YAML takes for numbers, such as those of options: in JSON every name is a text.
func namesAsText(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = namesAsText(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = namesAsText(v[name])
		}
	case map[any]any:
		out := make(map[string]any, len(v))
		for name := range v {
			out[fmt.Sprint(name)] = namesAsText(v[name])
		}
		return out
	}
	return v
}

// schemaKeys lists every key of a schema with its path: "ports.*.host.address".
func schemaKeys(path string, s *jsonschema.Schema, into map[string]*jsonschema.Schema) {
	if s == nil {
		return
	}
	for name, property := range s.Properties {
		into[path+name] = property
		schemaKeys(path+name+".", property, into)
	}
	for _, one := range s.OneOf {
		schemaKeys(path, one, into)
	}
	schemaKeys(path, s.Items, into)
	if s.AdditionalProperties != nil && (len(s.AdditionalProperties.Properties) > 0 || s.AdditionalProperties.Items != nil || s.AdditionalProperties.OneOf != nil) {
		schemaKeys(path+"*.", s.AdditionalProperties, into)
	}
}

// decoderKeys lists what the decoder itself says it knows: it is asked with an unknown
// key in every mapping, and answers with all the known ones.
func decoderKeys(t *testing.T) map[string]bool {
	t.Helper()
	_, err := Parse("r1.yaml", []byte(`
qqqqqqqq: 1
ports:
  p:
    qqqqqqqq: 1
    bridge: {qqqqqqqq: 1}
    host: {qqqqqqqq: 1}
    dhcp_client: {qqqqqqqq: 1}
routes: [{qqqqqqqq: 1}]
neighbors: [{qqqqqqqq: 1}]
icmp: {qqqqqqqq: 1}
forwarding: {qqqqqqqq: 1}
arp: {qqqqqqqq: 1}
control: {qqqqqqqq: 1}
rip:
  qqqqqqqq: 1
  timers: {qqqqqqqq: 1}
  keys: {k: {qqqqqqqq: 1, keys: [{qqqqqqqq: 1}]}}
  prefix_lists: {l: [{qqqqqqqq: 1}]}
  ports: {p: {qqqqqqqq: 1, timers: {qqqqqqqq: 1}, offset_in: [{qqqqqqqq: 1}]}}
  redistribute: {qqqqqqqq: 1, static: {qqqqqqqq: 1}}
  default_route: {qqqqqqqq: 1}
nat: [{qqqqqqqq: 1}]
forwards: [{qqqqqqqq: 1}]
sessions: {qqqqqqqq: 1}
port_mapping: {qqqqqqqq: 1}
firewall:
  qqqqqqqq: 1
  zones: {z: {qqqqqqqq: 1}}
  sets: {s: {qqqqqqqq: 1}}
  rules: [{qqqqqqqq: 1}]
  policy: [{qqqqqqqq: 1}]
  access: [{qqqqqqqq: 1}]
dhcp: {p: {qqqqqqqq: 1, pools: [{qqqqqqqq: 1}], reservations: [{qqqqqqqq: 1}], relay: {qqqqqqqq: 1}}}
dhcp_server: {qqqqqqqq: 1}
dns: {qqqqqqqq: 1, upstream: [{qqqqqqqq: 1}], records: {a: {qqqqqqqq: 1}}}
`))
	const port, redistribute = "rip.ports.*.", "rip.redistribute."
	paths := map[string][]string{
		"a configuration": {""}, "a port": {"ports.*."}, "a bridge": {"ports.*.bridge."}, "a host": {"ports.*.host."}, "a route": {"routes."},
		"a neighbour": {"neighbors."}, `the section "icmp"`: {"icmp."}, `the section "forwarding"`: {"forwarding."},
		`the section "arp"`: {"arp."}, `the section "control"`: {"control."},
		`the section "rip"`: {"rip."}, "the timers": {"rip.timers."}, "a chain of keys": {"rip.keys.*."}, "a key": {"rip.keys.*.keys."},
		"a port of RIP": {port}, "the timers of a port": {port + "timers."}, "an offset": {port + "offset_in.", port + "offset_out."},
		"the redistribution": {redistribute}, "the redistribution of a protocol": {redistribute + "connected.", redistribute + "static."},
		"the default route": {"rip.default_route."},
		"a nat rule":        {"nat."}, "a forward": {"forwards."}, `the section "sessions"`: {"sessions."}, `the section "port_mapping"`: {"port_mapping."},
		`the section "firewall"`: {"firewall."}, "a zone": {"firewall.zones.*."}, "a set": {"firewall.sets.*."}, "a firewall rule": {"firewall.rules."},
		"a policy": {"firewall.policy."}, "an access rule": {"firewall.access."},
		"a DHCP client": {"ports.*.dhcp_client."}, "an entry of dhcp": {"dhcp.*."}, "a pool": {"dhcp.*.pools."}, "a reservation": {"dhcp.*.reservations."},
		"a relay": {"dhcp.*.relay."}, `the section "dhcp_server"`: {"dhcp_server."}, `the section "dns"`: {"dns."}, "an upstream": {"dns.upstream."},
		"a record": {"dns.records.*."},
		"a rule of a prefix list": {"rip.prefix_lists.*.", port + "filter_in.", port + "filter_out.", port + "offset_in.filter.", port + "offset_out.filter.",
			redistribute + "connected.filter.", redistribute + "static.filter."},
	}
	known := make(map[string]bool)
	for _, e := range err.(Errors) {
		rest, found := strings.CutPrefix(e.Message, `unknown key "qqqqqqqq" in `)
		if !found {
			continue
		}
		what, list, found := strings.Cut(rest, "; known keys: ")
		places, listed := paths[what]
		if !found || !listed {
			t.Fatalf("unexpected message %q", e.Message)
		}
		delete(paths, what)
		for _, name := range strings.Split(list, ", ") {
			for _, path := range places {
				known[path+name] = true
			}
		}
	}
	if len(paths) > 0 {
		t.Fatalf("no answer about %v", paths)
	}
	return known
}

func TestSchemaAndDecoderKnowTheSameKeys(t *testing.T) {
	inSchema := make(map[string]*jsonschema.Schema)
	schemaKeys("", resolved(t).Schema(), inSchema)
	known := decoderKeys(t)
	for name := range known {
		if inSchema[name] == nil {
			t.Errorf("the decoder knows %s, the schema does not", name)
		}
	}
	for name, s := range inSchema {
		if !known[name] {
			t.Errorf("the schema knows %s, the decoder does not", name)
		}
		if s.Description == "" {
			t.Errorf("%s has no description in the schema", name)
		}
	}
}

// samples are the configurations that the project hands out.
func samples(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("samples: %v %v", files, err)
	}
	return files
}

func TestSamplesAreRight(t *testing.T) {
	schema := resolved(t)
	for _, file := range samples(t) {
		c, err := Load(file)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(asJSON(t, string(source))); err != nil {
			t.Errorf("%s is right, but the schema says: %v", file, err)
		}
		if changes := Changes(c, c); len(changes) > 0 {
			t.Errorf("%s differs from itself: %q", file, changes)
		}
	}
}

func TestSchemaRefusesWhatTheDecoderRefuses(t *testing.T) {
	schema := resolved(t)
	for _, source := range []string{
		"{}", "[]", "name: 5", "nmae: r1", "name: a b", "ports: []", "ports: {a b: {}}", "ports: {lan: 5}", "ports: {lan: {adress: 10.1.0.1/24}}",
		"ports: {lan: {address: 10.1.0.1}}", "ports: {lan: {address: []}}", "ports: {lan: {address: [dhcp]}}", "ports: {lan: {mtu: 67}}",
		"ports: {lan: {mtu: big}}", "ports: {lan: {offload: on}}", "ports: {lan: {bridge: {members: [a]}}}", "ports: {lan: {bridge: sixteen-octets-x}}",
		"ports: {lan: {mac: 02}}", "ports: {lan: {mss_clamp: 20}}", "ports: {lan: {mss_clamp: big}}", "ports: {lan: {enabled: 'yes'}}",
		"ports: {lan: {proxy_arp: 10.0.0.0/8}}", "ports: {lan: {host: {gateway: 10.0.0.1}}}", "ports: {lan: {comment: ''}}",
		"routes: {}", "routes: [{via: 10.0.0.1}]", "routes: [{to: 10.0.0.0/8, type: reject}]", "routes: [{to: 10.0.0.0/8, distance: 256}]",
		"neighbors: [{port: lan}]", "icmp: {rate: -1}", "arp: {reachable: 30}", "control: {read_only: no one}",
		"forwarding: {class_e: 1}",
		"nat: {}", "nat: [{out: wan}]", "nat: [{type: masquerade}]", "{ports: {wan: {address: 10.1.0.1/24}}, nat: [{out: wan, type: dynamic}]}",
		"nat: [{out: wan, type: snat, to: big}]", "nat: [{out: wan, type: cgnat, to: 192.0.2.1, block_size: 100}]", "nat: [{out: wan, type: masquerade, protocol: 0}]",
		"nat: [{out: wan, type: masquerade, protocol: tcp_udp}]", "nat: [{out: wan, type: masquerade, ports: 0-9}, 5]", "nat: [{out: wan, type: masquerade, source: []}]",
		"forwards: {}", "forwards: [{in: wan, protocol: icmp, port: 80, to: 10.1.0.2}]", "forwards: [{in: wan, protocol: tcp, port: 0, to: 10.1.0.2}]",
		"forwards: [{in: wan, protocol: tcp, port: http, to: 10.1.0.2}]", "forwards: [{in: wan, protocol: tcp, port: 80, to: '10.1.0.2:'}]", "forwards: [{in: wan, protocol: tcp, port: 80}]",
		"sessions: {max: 1}", "sessions: {udp: 300}", "sessions: {window: loose}", "sessions: {helpers: sip}", "sessions: []",
		"port_mapping: {}", "port_mapping: {ports: []}", "port_mapping: {ports: lan, max_per_host: 0}",
		"firewall:", "firewall: office", "firewall: []", "firewall: {zones: {lan: }}", "firewall: {zones: {lan: {ports: []}}}", "firewall: {zones: {lan: {}}}",
		"firewall: {policy: [{from: lan, to: wan}]}", "firewall: {policy: [{from: lan, to: wan, action: deny}]}", "firewall: {sets: []}", "firewall: {sets: {a b: {}}}",
		"firewall: {rules: [{action: drop, in: lan}]}", "firewall: {access: [{action: drop, from: lan}]}", "firewall: {rules: [{from: lan}]}",
		"firewall: {rules: [{action: drop, rate: 10}]}", "firewall: {rules: [{action: drop, rate: 10/d}]}", "firewall: {rules: [{action: drop, flags: syn ack}]}",
		"firewall: {rules: [{action: drop, state: established}]}", "firewall: {rules: [{action: drop, dscp: af99}]}", "firewall: {rules: [{action: drop, dscp: 64}]}",
		"firewall: {rules: [{action: drop, icmp_type: ping}]}", "firewall: {rules: [{action: drop, length: big}]}", "firewall: {rules: [{action: drop, port: []}]}",
		"dhcp: []", "dhcp: {lan: }", "dhcp: {a b: {}}", "dhcp: {lan: {ranges: 10.1.0.9}}", "dhcp: {lan: {range: []}}", "dhcp: {lan: {range: big}}", "dhcp: {lan: {lease: 12}}",
		"dhcp: {lan: {lease: forever}}", "dhcp: {lan: {gateway: [none]}}", "dhcp: {lan: {gateway: no}}", "dhcp: {lan: {inspection: on}}", "dhcp: {lan: {options: [42]}}",
		"dhcp: {lan: {options: {42: }}}", "dhcp: {lan: {options: {'4 2': x}}}", "dhcp: {lan: {reservations: [{mac: '02:00:00:00:00:01'}]}}", "dhcp: {lan: {reservations: {}}}",
		"dhcp: {lan: {reservations: [{address: 10.1.0.9, name: a.b}]}}", "dhcp: {lan: {reservations: [{address: 10.1.0.9, name: -a}]}}", "dhcp: {lan: {pools: [{name: a}]}}",
		"dhcp: {lan: {relay: }}", "dhcp: {lan: {relay: {}}}", "dhcp: {lan: {relay: none}}", "dhcp: {lan: {relay: {servers: 10.0.0.5, max_hops: 0}}}", "dhcp: {lan: {domain: a b}}",
		"dhcp_server: []", "dhcp_server: {max_leases: many}", "ports: {a: {dhcp_client: {}, address: 10}}", "ports: {a: {address: dhcp, dhcp_client: }}",
		"ports: {a: {address: dhcp, dhcp_client: {client_id: 5}}}", "ports: {a: {address: dhcp, dhcp_client: {request: ntp}}}", "ports: {a: {address: dhcp, dhcp_client: {distance: 0}}}",
		"dns: {}", "dns: {listen: []}", "dns: []", "dns: {listen: lan, upstream: []}", "dns: {listen: lan, upstream: dns.example}", "dns: {listen: lan, upstream: {domain: a}}",
		"dns: {listen: lan, upstream: [none]}", "dns: {listen: lan, upstream: {servers: 10.0.0.1}}", "dns: {listen: lan, records: []}", "dns: {listen: lan, records: {a: }}",
		"dns: {listen: lan, records: {a: b}}", "dns: {listen: lan, records: {a: {cname: }}}", "dns: {listen: lan, records: {'*': 10.0.0.1}}", "dns: {listen: lan, cache: many}",
		"dns: {listen: lan, timeout: 2}", "dns: {listen: lan, max_per_client: 0}", "dns: {listen: lan, rebind_allow: []}", "dns: {listen: lan, domain: -a}",
		"rip: []", "rip: {version: 3}", "rip: {version: '2'}", "rip: {send: both}", "rip: {receive: v2_broadcast}", "rip: {distance: 255}", "rip: {max_paths: 0}",
		"rip: {timers: {update: 30}}", "rip: {timers: {timeouts: 30s}}", "rip: {keys: []}", "rip: {keys: {k: {keys: [{id: 1, secret: a}]}}}",
		"rip: {keys: {k: {type: md5}}}", "rip: {keys: {k: {type: md5, keys: []}}}", "rip: {keys: {k: {type: sha1, keys: [{id: 1, secret: a}]}}}",
		"rip: {keys: {k: {type: md5, keys: [{id: 256, secret: a}]}}}", "rip: {keys: {k: {type: md5, keys: [{id: 1, secret: 5}]}}}",
		"rip: {keys: {k: {type: md5, keys: [{id: 1}]}}}", "rip: {keys: {a b: {type: md5, keys: [{id: 1, secret: a}]}}}",
		"rip: {prefix_lists: {l: []}}", "rip: {prefix_lists: {l: }}", "rip: {prefix_lists: {l: [{le: 32}]}}", "rip: {prefix_lists: {l: [{prefix: 10.0.0.0/8, le: 33}]}}",
		"rip: {prefix_lists: {l: [{prefix: 10.0.0.0/8, action: allow}]}}",
		"{ports: {lan: {address: 10.1.0.1/24}}, rip: {ports: {lan: {cost: 16}}}}", "{ports: {lan: {address: 10.1.0.1/24}}, rip: {ports: {lan: {offset_in: [{filter: a}]}}}}",
		"{ports: {lan: {address: 10.1.0.1/24}}, rip: {ports: {lan: {timers: {garbage: 5s}}}}}",
		"rip: {redistribute: {connected: }}", "rip: {redistribute: {static: {metric: 16}}}", "rip: {redistribute: {rip: {}}}", "rip: {default_route: {originate: always}}",
	} {
		if err := schema.Validate(asJSON(t, source)); err == nil {
			t.Errorf("the schema accepts %s", source)
		}
		if _, err := Parse("r1.yaml", []byte(source)); err == nil {
			t.Errorf("the decoder accepts %s", source)
		}
	}
}

// TestDocumentationTellsOfEveryKey looks for each key's heading and description.
func TestDocumentationTellsOfEveryKey(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]*jsonschema.Schema)
	schemaKeys("", resolved(t).Schema(), keys)
	rulesOfFilters := regexp.MustCompile(`\.filter(?:_in|_out)?\.(.+)$`)
	var names []string
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if rule := rulesOfFilters.FindStringSubmatch(name); rule != nil {
			name = "rip.prefix_lists.*." + rule[1] // told of once
		}
		shown := strings.Replace(name, "*", "NAME", 1)
		if !strings.Contains(string(text), "`"+shown+"`") {
			t.Errorf("docs/configuration.md does not tell of `%s`", shown)
		}
	}
}

// TestDocumentedExamplesFollowTheSchema judges every YAML block of the document.
func TestDocumentedExamplesFollowTheSchema(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	schema := resolved(t)
	blocks := strings.Split(string(text), "```yaml\n")[1:]
	if len(blocks) < 4 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, block := range blocks {
		source, _, _ := strings.Cut(block, "```")
		if err := schema.Validate(asJSON(t, source)); err != nil {
			t.Errorf("%v\n%s", err, source)
		}
	}
}
