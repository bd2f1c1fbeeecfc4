package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

// document is docs/openapi.yaml, as far as the tests read it.
type document struct {
	Paths      map[string]map[string]yaml.Node `yaml:"paths"`
	Components struct {
		Schemas map[string]schema `yaml:"schemas"`
	} `yaml:"components"`
}

type operation struct {
	ID         string               `yaml:"operationId"`
	Summary    string               `yaml:"summary"`
	Access     string               `yaml:"x-access"`
	Parameters []parameter          `yaml:"parameters"`
	Body       *content             `yaml:"requestBody"`
	Responses  map[string]yaml.Node `yaml:"responses"`
}

type parameter struct {
	Name string `yaml:"name"`
	In   string `yaml:"in"`
}

type content struct {
	Content map[string]struct {
		Schema map[string]any `yaml:"schema"`
	} `yaml:"content"`
}

type schema struct {
	Type       string                    `yaml:"type"`
	Required   []string                  `yaml:"required"`
	Additional *bool                     `yaml:"additionalProperties"`
	Properties map[string]map[string]any `yaml:"properties"`
}

const documentFile = "../../docs/openapi.yaml"

func readDocument(t *testing.T) (document, []byte) {
	t.Helper()
	data, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := yaml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d, data
}

// operations by "METHOD path", with the parameters of their path.
func (d document) operations(t *testing.T) map[string]operation {
	t.Helper()
	all := map[string]operation{}
	for path, item := range d.Paths {
		var shared []parameter
		for key, node := range item {
			if key == "parameters" {
				if err := node.Decode(&shared); err != nil {
					t.Fatal(err)
				}
			}
		}
		for key, node := range item {
			if key == "parameters" {
				continue
			}
			var o operation
			if err := node.Decode(&o); err != nil {
				t.Fatalf("%s %s: %v", key, path, err)
			}
			o.Parameters = append(o.Parameters, shared...)
			all[strings.ToUpper(key)+" "+path] = o
		}
	}
	return all
}

func TestWhatIsServedIsDocumentedAndTheOtherWayRound(t *testing.T) {
	d, _ := readDocument(t)
	documented := d.operations(t)
	ids := map[string]string{}
	for _, e := range (&Server{}).endpoints() {
		name := e.method + " " + e.path
		o, ok := documented[name]
		if !ok {
			t.Errorf("%s is served and not documented", name)
			continue
		}
		delete(documented, name)
		if want := map[access]string{reads: "read", inspects: "operate", operates: "operate"}[e.access]; o.Access != want {
			t.Errorf("%s: x-access is %q, want %q", name, o.Access, want)
		}
		if o.ID == "" || o.Summary == "" || ids[o.ID] != "" {
			t.Errorf("%s: operationId %q and summary %q are wanted, and the id once", name, o.ID, o.Summary)
		}
		ids[o.ID] = name
		if _, ok := o.Responses["default"]; !ok {
			t.Errorf("%s: how it refuses is not documented", name)
		}
		var query []string
		for _, p := range o.Parameters {
			if p.In == "query" {
				query = append(query, p.Name)
			}
			if p.In == "path" && !strings.Contains(e.path, "{"+p.Name+"}") {
				t.Errorf("%s: the path has no {%s}", name, p.Name)
			}
		}
		served := slices.Sorted(slices.Values(e.query))
		if slices.Sort(query); !slices.Equal(query, served) {
			t.Errorf("%s: takes the parameters %v, documented are %v", name, served, query)
		}
	}
	for name := range documented {
		t.Errorf("%s is documented and not served", name)
	}
}

// types of the API, and whether the daemon sends them: then all keys without
// omitempty are always there.
func apiTypes() map[reflect.Type]bool {
	return map[reflect.Type]bool{
		reflect.TypeFor[api.Status](): true, reflect.TypeFor[api.Port](): true, reflect.TypeFor[api.Route](): true,
		reflect.TypeFor[api.RouteLookup](): true, reflect.TypeFor[api.FIBEntry](): true, reflect.TypeFor[api.Neighbor](): true,
		reflect.TypeFor[api.Drop](): true, reflect.TypeFor[api.Counter](): true, reflect.TypeFor[api.Event](): true,
		reflect.TypeFor[api.Revision](): true, reflect.TypeFor[api.ApplyResult](): true, reflect.TypeFor[api.PingReply](): true,
		reflect.TypeFor[api.TracerouteHop](): true, reflect.TypeFor[api.TracerouteProbe](): true, reflect.TypeFor[api.Flushed](): true,
		reflect.TypeFor[api.Saved](): true, reflect.TypeFor[api.Error](): true, reflect.TypeFor[api.ErrorBody](): true,
		reflect.TypeFor[api.RIPRoute](): true, reflect.TypeFor[api.RIPNeighbor](): true, reflect.TypeFor[api.RIPPort](): true,
		reflect.TypeFor[api.RIPBad](): true, reflect.TypeFor[api.RIPCleared](): true, reflect.TypeFor[api.RIPClear](): false,
		reflect.TypeFor[api.NATRule](): true, reflect.TypeFor[api.Session](): true, reflect.TypeFor[api.SessionPage](): true,
		reflect.TypeFor[api.NATMapping](): true, reflect.TypeFor[api.MappingPage](): true, reflect.TypeFor[api.SessionsFlushed](): true,
		reflect.TypeFor[api.FirewallRule](): true, reflect.TypeFor[api.FirewallSet](): true, reflect.TypeFor[api.SetMember](): true,
		reflect.TypeFor[api.ExplainStep](): true, reflect.TypeFor[api.Explanation](): true, reflect.TypeFor[api.ExplainRequest](): false,
		reflect.TypeFor[api.NATFlush](): false, reflect.TypeFor[api.ForwardSpec](): false, reflect.TypeFor[api.SetChange](): false,
		reflect.TypeFor[api.DHCP](): true, reflect.TypeFor[api.DHCPMessages](): true, reflect.TypeFor[api.Refusal](): true,
		reflect.TypeFor[api.Lease](): true, reflect.TypeFor[api.LeasePage](): true, reflect.TypeFor[api.LeasesFlushed](): true,
		reflect.TypeFor[api.LeaseImport](): true, reflect.TypeFor[api.LeaseRefusal](): true, reflect.TypeFor[api.LeaseFlush](): false,
		reflect.TypeFor[api.DHCPPort](): false, reflect.TypeFor[api.DNS](): true, reflect.TypeFor[api.DNSUpstream](): true,
		reflect.TypeFor[api.DNSCacheEntry](): true, reflect.TypeFor[api.DNSName](): true, reflect.TypeFor[api.DNSCachePage](): true,
		reflect.TypeFor[api.DNSNamePage](): true, reflect.TypeFor[api.DNSFlushed](): true, reflect.TypeFor[api.DNSFlush](): false,
		reflect.TypeFor[api.RouteSpec](): false, reflect.TypeFor[api.NeighborSpec](): false, reflect.TypeFor[api.PortChange](): false,
		reflect.TypeFor[api.NeighborFlush](): false, reflect.TypeFor[api.Rollback](): false, reflect.TypeFor[api.PingRequest](): false,
		reflect.TypeFor[api.TracerouteRequest](): false, reflect.TypeFor[api.CaptureRequest](): false,
	}
}

func TestSchemasAreTheGoTypes(t *testing.T) {
	d, _ := readDocument(t)
	for goType, sent := range apiTypes() {
		name := goType.Name()
		s, ok := d.Components.Schemas[name]
		if !ok {
			t.Errorf("%s has no schema", name)
			continue
		}
		delete(d.Components.Schemas, name)
		if s.Type != "object" || s.Additional == nil || *s.Additional {
			t.Errorf("%s: want type object and additionalProperties false", name)
		}
		var always []string
		for i := range goType.NumField() {
			f := goType.Field(i)
			key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			p, ok := s.Properties[key]
			if !ok {
				t.Errorf("%s: the key %s is not documented", name, key)
				continue
			}
			delete(s.Properties, key)
			if options != "omitempty" {
				always = append(always, key)
			}
			if either, ok := p["anyOf"].([]any); ok && f.Type.Kind() == reflect.Pointer && len(either) == 2 { // or null
				p = either[0].(map[string]any)
			}
			if want := schemaOf(f.Type); want != p["type"] && want != p["$ref"] {
				t.Errorf("%s: %s is documented as %v%v and is %s", name, key, p["type"], p["$ref"], want)
			}
		}
		for key := range s.Properties {
			t.Errorf("%s: the key %s is documented and does not exist", name, key)
		}
		if sent && !sameSet(always, s.Required) {
			t.Errorf("%s: the keys %v are always there, documented as required are %v", name, always, s.Required)
		}
	}
	for name := range d.Components.Schemas {
		t.Errorf("the schema %s belongs to no type of the API", name)
	}
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func schemaOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "string"
	case t == reflect.TypeFor[time.Duration]():
		return "integer"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Uint64:
		return "integer"
	case reflect.Float64:
		return "number"
	case reflect.Slice:
		return "array"
	case reflect.Map:
		return "object"
	}
	return "#/components/schemas/" + t.Name()
}

// validator of answers: the document's schemas as a JSON Schema's definitions.
func validator(t *testing.T, source []byte, s map[string]any) *jsonschema.Resolved {
	t.Helper()
	var whole map[string]any
	if err := yaml.Unmarshal(source, &whole); err != nil {
		t.Fatal(err)
	}
	with := map[string]any{"$defs": whole["components"].(map[string]any)["schemas"]}
	for k, v := range s {
		with[k] = v
	}
	data, err := json.Marshal(with)
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.ReplaceAll(string(data), "#/components/schemas/", "#/$defs/"))
	var js jsonschema.Schema
	if err := json.Unmarshal(data, &js); err != nil {
		t.Fatal(err)
	}
	r, err := js.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswersAreAsDocumented(t *testing.T) {
	d, source := readDocument(t)
	f := controltest.New("r1")
	f.Packets = []byte("packets")
	s := start(t, f, nil)
	bodies := map[string]string{
		"PUT /v1/ports/{name}":       `{"up":false}`,
		"POST /v1/routes":            `{"to":"10.7.0.0/16","via":["10.0.0.2"]}`,
		"POST /v1/neighbors":         `{"address":"10.1.0.77","mac":"02:00:00:00:00:77","port":"lan"}`,
		"POST /v1/neighbors/flush":   `{}`,
		"POST /v1/rip/clear":         `{"neighbor":"10.0.0.2"}`,
		"POST /v1/nat/flush":         `{"protocol":"icmp"}`,
		"POST /v1/nat/forwards":      `{"in":"wan","protocol":"tcp","port":"8000-8010","to":"10.1.0.5"}`,
		"POST /v1/firewall/members":  `{"set":"barred","address":"198.51.100.9","for":60000000000}`,
		"POST /v1/explain":           `{"in":"wan","src":"203.0.113.1","dst":"192.0.2.1","protocol":"tcp","dport":80}`,
		"POST /v1/dhcp/leases/flush": `{"state":"declined"}`,
		"POST /v1/dhcp/import":       "1767500000 02:00:00:00:00:31 10.1.0.131 nas *\n",
		"POST /v1/dhcp/release":      `{"port":"wan"}`,
		"POST /v1/dhcp/renew":        `{"port":"wan"}`,
		"POST /v1/dns/flush":         `{}`,
		"PUT /v1/config":             "name: r1\n",
		"POST /v1/config/check":      "name: r1\n",
		"POST /v1/config/diff":       "name: other\n",
		"POST /v1/config/rollback":   `{"revisions":1}`,
		"POST /v1/ping":              `{"address":"10.1.0.2","count":2,"interval":1000000}`,
		"POST /v1/traceroute":        `{"address":"10.8.0.1"}`,
		"POST /v1/capture":           `{"count":1}`,
	}
	queries := map[string]string{
		"DELETE /v1/routes": "?to=10.9.0.0/16&via=10.0.0.2", "DELETE /v1/neighbors": "?address=10.0.0.2",
		"DELETE /v1/nat/forwards": "?in=wan&protocol=tcp&port=80", "DELETE /v1/firewall/members": "?set=barred&address=198.51.100.67",
		"GET /v1/nat/sessions": "?protocol=tcp&limit=1", "GET /v1/nat/mappings": "?address=10.1.0.9&port=3074",
		"DELETE /v1/dhcp/leases": "?address=10.1.0.5", "GET /v1/dhcp/leases": "?limit=2", "GET /v1/dns/names": "?name=home.arpa",
		"PUT /v1/config": "?confirm=60s",
	}
	order := (&Server{}).endpoints()
	// The stream of events has no end: the other tests read it. A confirmation needs the change before it.
	for _, e := range order {
		name := e.method + " " + e.path
		if name == "GET /v1/events/stream" {
			continue
		}
		named := "lan"
		if strings.Contains(e.path, "/sets/") {
			named = "barred"
		}
		path := strings.NewReplacer("{name}", named, "{address}", "10.9.1.1").Replace(e.path) + queries[name]
		status, header, body := request(t, httpTo(t, s.Path()), e.method, path, bodies[name])
		node, ok := d.operations(t)[name].Responses[fmt.Sprint(status)]
		if !ok {
			t.Errorf("%s answers %d, which is not documented: %s", name, status, body)
			continue
		}
		var c content
		if err := node.Decode(&c); err != nil {
			t.Fatal(err)
		}
		if status == http.StatusNoContent {
			continue
		}
		kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
		documented, ok := c.Content[kind]
		if !ok {
			t.Errorf("%s answers with %s, which is not documented", name, kind)
			continue
		}
		var values []string
		switch kind {
		case "application/json":
			values = []string{body}
		case "application/x-ndjson":
			values = strings.Split(strings.TrimSpace(body), "\n")
		}
		for _, text := range values {
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%s: %v in %s", name, err, text)
			}
			if err := validator(t, source, documented.Schema).Validate(v); err != nil {
				t.Errorf("%s: %v in %s", name, err, text)
			}
		}
	}
	_, _, body := request(t, httpTo(t, s.Path()), "GET", "/nowhere", "")
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	if err := validator(t, source, map[string]any{"$ref": "#/components/schemas/ErrorBody"}).Validate(v); err != nil {
		t.Error(err)
	}
}
