package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// seeds are the samples, the bad files and a few texts that have hurt YAML readers.
func seeds(f *testing.F) {
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(samples(f), bad...) {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(source))
	}
	f.Add(commented)
	f.Add("a: &a [*a, *a]\nb: {<<: *a}\n")
	f.Add("? - a\n: b\n")
	f.Add("%YAML 1.1\n---\nname: !!binary aGk=\n...\n---\n")
	f.Add("name: \"\\x00\\u2028\"\nports: {\"\": {}}\n")
	f.Add("\ufeffname: r1\n")
	f.Add("ports: {A}")
	f.Add(home(`nat: [{out: wan, type: snat, to: [83.215.152.6-83.215.152.8, 198.51.100.0/30], ports: "2000 - 2999"}]
firewall:
  zones: {in: {ports: [lan]}, out: {ports: wan}}
  sets: {bad: , worse: {addresses: 10.0.0.1, timeout: 1h}}
  rules: [{name: a, flags: "syn, !ack", protocol: tcp, port: [80, "81"], length: 40-50, dscp: af11, rate: over 10/s burst 5 per source, add_to: bad, action: drop}]
  access: [{in: wan, protocol: icmp, icmp_type: 8, icmp_code: 0, action: reject}]
`))
	f.Add(dhcpOn(wholeDHCP))
	f.Add(dnsOn(wholeDNS))
	f.Add(dhcpOn("dhcp:\n  lan:\n    range: 192.168.1.0/24\n    options: {121: [10.0.0.0/8 via 192.168.1.2, {to: default, via: 192.168.1.1}], 43: {1: 10.0.0.1, 2: x, 3: hex:ff}, 119: a.b, 224: [1, 300], 225: 01:02, 33: [10.0.0.0, 10.1.0.1]}\n"))
	f.Add("ports: {a: {address: dhcp, dhcp_client: {client_id: off, request: [1, 2]}}}\n")
	f.Add("ports: {a: {address: 10.0.0.1/24}}\nforwards: [{in: a, protocol: tcp, port: 1, to: 10.0.0.2}]\n")
}

// FuzzParse: whatever the text, Parse returns a Config or errors with places; and a
// Config can be edited there and back, and follows the schema.
func FuzzParse(f *testing.F) {
	seeds(f)
	schema := resolved(f)
	f.Fuzz(func(t *testing.T, source string) { judge(t, schema, source) })
}

// judge holds one text against what FuzzParse says, and reports whether it is right.
func judge(t *testing.T, schema *jsonschema.Resolved, source string) bool {
	c, err := Parse("r1.yaml", []byte(source))
	if err != nil {
		var all Errors
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("not Errors: %v", err)
		}
		for _, e := range all {
			if e.Line < 1 || e.Column < 1 || e.Message == "" || strings.Contains(e.Message, "\n") {
				t.Errorf("an error without a good place or sentence: %+v", e)
			}
		}
		return false
	}
	if changes := Changes(c, c); len(changes) > 0 {
		t.Errorf("differs from itself: %q", changes)
	}
	if err := schema.Validate(asJSON(t, source)); err != nil {
		t.Errorf("the decoder accepts it, the schema does not: %v", err)
	}
	roundTrip(t, source, c)
	editThereAndBack(t, source)
	forwardThereAndBack(t, source)
	return true
}

// roundTrip writes the tree out anew; it must mean the same.
func roundTrip(t *testing.T, source string, c *Config) {
	tree, err := readSource("r1.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	text, err := writeTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse("r1.yaml", []byte(text))
	if err != nil || !sameMeaning(c, again) {
		t.Errorf("written out anew it means something else (%v)\n%q\n%q", err, source, text)
	}
}

// editThereAndBack adds a route and deletes it. An edit may be refused, but then the
// text is as it was; one that is done is exactly that.
func editThereAndBack(t *testing.T, source string) {
	d, err := NewDocument("r1.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	before := d.Config()
	r := Route{To: netip.MustParsePrefix("203.0.113.77/32"), Type: Blackhole, Metric: 77}
	if err := d.AddRoute(r); err != nil {
		if d.Text() != source {
			t.Errorf("refused (%v), but the text changed", err)
		}
		return
	}
	if changes := Changes(before, d.Config()); len(changes) != 1 || changes[0] != "route 203.0.113.77/32 type blackhole metric 77 added" {
		t.Errorf("adding a route changed %q", changes)
	}
	if err := d.DeleteRoute(r); err != nil {
		t.Errorf("cannot delete what was added: %v\n%q", err, d.Text())
	}
	if changes := Changes(before, d.Config()); len(changes) != 0 {
		t.Errorf("there and back changed %q", changes)
	}
}

// forwardThereAndBack adds a forward of both protocols and deletes it.
func forwardThereAndBack(t *testing.T, source string) {
	d, err := NewDocument("r1.yaml", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	before := d.Config()
	if len(before.Ports) == 0 {
		return
	}
	f, err := ParseForward(before.Ports[0].Name, "tcp_udp", "64000-64001", "203.0.113.77:7", "fuzz")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AddForward(f); err != nil {
		if d.Text() != source {
			t.Errorf("refused (%v), but the text changed", err)
		}
		return
	}
	if changes := Changes(before, d.Config()); len(changes) != 2 || !strings.HasPrefix(changes[0], "forward ") || !strings.HasSuffix(changes[1], " added") {
		t.Errorf("adding a forward changed %q", changes)
	}
	if err := d.DeleteForward(f); err != nil {
		t.Errorf("cannot delete what was added: %v\n%q", err, d.Text())
	}
	if changes := Changes(before, d.Config()); len(changes) != 0 {
		t.Errorf("there and back changed %q", changes)
	}
}

// FuzzDiff: the diff of two texts, applied to the first, gives the second.
func FuzzDiff(f *testing.F) {
	f.Add("a\nb\n", "b\nc")
	f.Add("", "x")
	f.Add(commented, manyRoutes(3))
	f.Fuzz(func(t *testing.T, old, new string) {
		var got strings.Builder
		a, b := splitLines(old), splitLines(new)
		at := 0
		for _, e := range diffLines(a, b) {
			got.WriteString(strings.Join(a[at:e.aFrom], "") + strings.Join(b[e.bFrom:e.bTo], ""))
			at = e.aTo
		}
		got.WriteString(strings.Join(a[at:], ""))
		if got.String() != new {
			t.Errorf("%q to %q gave %q", old, new, got.String())
		}
		if (Diff(old, new, "x") == "") != (old == new) {
			t.Error("empty for different texts, or the other way round")
		}
	})
}
