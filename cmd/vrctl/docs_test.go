package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"vrouterd/internal/control/api"
)

const reference = "../../docs/vrctl.md"

func readReference(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEveryCommandAndFlagIsInTheReference(t *testing.T) {
	text := readReference(t)
	a := &app{env: func(string) string { return "" }}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if !strings.Contains(text, "`"+c.CommandPath()) {
			t.Errorf("%s does not tell of %s", reference, c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if c.Parent() != nil && strings.HasPrefix(c.CommandPath(), "vrctl completion") {
				return
			}
			if !strings.Contains(text, "--"+f.Name) {
				t.Errorf("%s does not tell of --%s of %s", reference, f.Name, c.CommandPath())
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.command())
}

// rowTypes are what --json prints rows of, by the commands that do.
func rowTypes() [][2]any {
	return [][2]any{
		{"show status", api.Status{}}, {"show ports", api.Port{}}, {"show routes", api.Route{}}, {"show route ADDRESS", api.RouteLookup{}},
		{"show fib", api.FIBEntry{}}, {"show neighbors", api.Neighbor{}}, {"show rip", api.RIPRoute{}},
		{"show rip neighbors", api.RIPNeighbor{}}, {"show rip ports", api.RIPPort{}}, {"bad of show rip neighbors, show rip ports", api.RIPBad{}},
		{"rip clear", api.RIPCleared{}},
		{"show nat", api.NATRule{}}, {"show sessions, show nat sessions", api.Session{}}, {"show nat mappings", api.NATMapping{}}, {"nat flush", api.SessionsFlushed{}},
		{"show firewall", api.FirewallRule{}}, {"show firewall set", api.FirewallSet{}}, {"show firewall set NAME", api.SetMember{}},
		{"show dhcp", api.DHCP{}},
		{"messages of show dhcp", api.DHCPMessages{}},
		{"refusals of show dhcp, show dns", api.Refusal{}},
		{"show dhcp leases", api.Lease{}},
		{"dhcp lease del all", api.LeasesFlushed{}},
		{"dhcp import", api.LeaseImport{}},
		{"refusals of dhcp import", api.LeaseRefusal{}},
		{"show dns", api.DNS{}},
		{"upstreams of show dns", api.DNSUpstream{}},
		{"show dns cache", api.DNSCacheEntry{}},
		{"show dns names", api.DNSName{}},
		{"dns flush", api.DNSFlushed{}},
		{"explain", api.Explanation{}}, {"steps of explain", api.ExplainStep{}},
		{"show drops", api.Drop{}}, {"show counters", api.Counter{}},
		{"show events, events", api.Event{}}, {"neighbor flush", api.Flushed{}}, {"config apply, config rollback", api.ApplyResult{}},
		{"config history", api.Revision{}}, {"config save", api.Saved{}}, {"ping", api.PingReply{}}, {"traceroute", api.TracerouteHop{}},
		{"probes of traceroute", api.TracerouteProbe{}}, {"capture", captured{}},
	}
}

func TestTheKeysOfJSONAreInTheReference(t *testing.T) {
	text := readReference(t)
	for _, k := range rowTypes() {
		goType := reflect.TypeOf(k[1])
		var keys []string
		for i := range goType.NumField() {
			key, _, _ := strings.Cut(goType.Field(i).Tag.Get("json"), ",")
			keys = append(keys, key)
		}
		row := fmt.Sprintf("| %s | %s |\n", k[0], strings.Join(keys, ", "))
		if !strings.Contains(text, row) {
			t.Errorf("%s lacks the row\n%s", reference, row)
		}
	}
}

// vrctl is a client: of the daemon it knows the control socket only.
func TestVrctlImportsNothingOfTheDaemon(t *testing.T) {
	allowed := []string{"vrouterd/internal/control/api", "vrouterd/internal/control/client"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			if strings.HasPrefix(path, "vrouterd/") && !slices.Contains(allowed, path) {
				t.Errorf("%s imports %s", name, path)
			}
		}
	}
}
