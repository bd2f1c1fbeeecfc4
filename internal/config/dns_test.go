package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// dnsOn is a router with two ports and a section.
func dnsOn(section string) string {
	return "name: r1\nports:\n  lan: {address: 192.168.1.1/24}\n  two: {address: 192.168.2.1/24}\n" + section
}

func servers(all ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range all {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestDNSDefaultsAreFilledIn(t *testing.T) {
	c := mustParse(t, dnsOn("dns: {listen: lan}\n"))
	want := &DNS{
		Listen: []string{"lan"}, Cache: 10_000, MaxTTL: 24 * time.Hour, LocalTTL: time.Minute, MaxQueries: 1000, MaxPerClient: 150,
		Timeout: 2 * time.Second, Pos: Pos{5, 6},
	}
	if !reflect.DeepEqual(c.DNS, want) {
		t.Errorf("\n got %+v\nwant %+v", c.DNS, want)
	}
	if d := mustParse(t, dnsOn("dns: {listen: lan, max_queries: 10, cache: 0}\n")).DNS; d.MaxPerClient != 10 || d.Cache != noCache {
		t.Errorf("got %d questions of one client, %d answers", d.MaxPerClient, d.Cache)
	}
}

const wholeDNS = `dns:
  listen: [lan, two]
  domain: Home.Arpa
  upstream:
    - 9.9.9.9
    - {domain: corp.example, servers: [10.1.0.53, "10.2.0.53:5353"]}
    - 149.112.112.112:5353
    - {domain: test, servers: none}
  records:
    nas: [192.168.1.9, 192.168.2.9]
    www.home.arpa: {cname: nas, ttl: 5m}
    _acme.example: {txt: [one, two], address: 0.0.0.0}
  cache: 50
  min_ttl: 1s
  max_ttl: 1h
  local_ttl: 10s
  max_queries: 100
  max_per_client: 20
  timeout: 500ms
  rebind_protection: true
  rebind_allow: [corp.example, plex.direct]
  private_reverse: true
`

func TestEveryKeyOfDNSIsRead(t *testing.T) {
	d := mustParse(t, dnsOn(wholeDNS)).DNS
	want := &DNS{
		Listen: []string{"lan", "two"}, Domain: "home.arpa",
		Upstreams: []DNSUpstream{
			{Servers: servers("9.9.9.9:53", "149.112.112.112:5353")},
			{Domain: "corp.example", Servers: servers("10.1.0.53:53", "10.2.0.53:5353")},
			{Domain: "test"},
		},
		Records: []DNSRecord{
			{Name: "nas", Addresses: addresses("192.168.1.9", "192.168.2.9")},
			{Name: "www.home.arpa", CNAME: "nas", TTL: 5 * time.Minute},
			{Name: "_acme.example", Addresses: addresses("0.0.0.0"), TXT: []string{"one", "two"}},
		},
		Cache: 50, MinTTL: time.Second, MaxTTL: time.Hour, LocalTTL: 10 * time.Second, MaxQueries: 100, MaxPerClient: 20, Timeout: 500 * time.Millisecond,
		RebindProtection: true, RebindAllow: []string{"corp.example", "plex.direct"}, PrivateReverse: true,
	}
	if got := dnsWithoutPlaces(d); !reflect.DeepEqual(got, dnsWithoutPlaces(want)) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if err := resolved(t).Validate(asJSON(t, dnsOn(wholeDNS))); err != nil {
		t.Errorf("it is right, but the schema says: %v", err)
	}
}

func TestUpstreamsHaveShortForms(t *testing.T) {
	schema := resolved(t)
	for upstream, want := range map[string][]DNSUpstream{
		"9.9.9.9":                             {{Servers: servers("9.9.9.9:53")}},
		"9.9.9.9:54":                          {{Servers: servers("9.9.9.9:54")}},
		"[9.9.9.9, 1.1.1.1]":                  {{Servers: servers("9.9.9.9:53", "1.1.1.1:53")}},
		"none":                                {{}},
		"{domain: a, servers: 10.9.0.1}":      {{Domain: "a", Servers: servers("10.9.0.1:53")}},
		"[{domain: a.b., servers: 10.9.0.1}]": {{Domain: "a.b", Servers: servers("10.9.0.1:53")}},
	} {
		source := dnsOn("dns: {listen: lan, upstream: " + strings.Replace(upstream, "9.9.9.9:54", "'9.9.9.9:54'", 1) + "}\n")
		d := dnsWithoutPlaces(mustParse(t, source).DNS)
		if !reflect.DeepEqual(d.Upstreams, want) {
			t.Errorf("%s: got %+v, want %+v", upstream, d.Upstreams, want)
		}
		if err := schema.Validate(asJSON(t, source)); err != nil {
			t.Errorf("%s: it is right, but the schema says: %v", upstream, err)
		}
	}
}

func TestServersFromDHCPAreForThoseWhoNameNone(t *testing.T) {
	for rest, want := range map[string]bool{
		"dns: {listen: lan}": true, "dns: {listen: lan, upstream: {domain: a, servers: 10.9.0.1}}": true,
		"dns: {listen: lan, upstream: 9.9.9.9}": false, "dns: {listen: lan, upstream: none}": false,
	} {
		source := dnsOn("  up: {address: dhcp}\n" + rest + "\n")
		if got := mustParse(t, source).DNS.UpstreamDHCP; got != want {
			t.Errorf("%s: got %v", rest, got)
		}
		if mustParse(t, strings.Replace(source, "dhcp}", "dhcp, dhcp_client: {dns: false}}", 1)).DNS.UpstreamDHCP {
			t.Errorf("%s: servers come from a port that takes none", rest)
		}
	}
}

func TestChangesOfDNSAreTold(t *testing.T) {
	old := dnsOn(wholeDNS)
	for _, k := range []struct{ from, to, want string }{
		{wholeDNS, "", "dns removed"},
		{"[lan, two]", "[two, lan]", ""},
		{"[lan, two]", "lan", "dns: listen lan two -> lan"},
		{"domain: Home.Arpa", "domain: example.org", "dns: domain home.arpa -> example.org"},
		{"    - 149.112.112.112:5353\n", "", "dns: upstream for everything: servers 9.9.9.9 149.112.112.112:5353 -> 9.9.9.9"},
		{"servers: none", "servers: 10.9.0.1", "dns: upstream for test: servers none -> 10.9.0.1"},
		{"    - {domain: test, servers: none}\n", "", "dns: upstream for test removed"},
		{"cname: nas, ttl: 5m", "cname: nas", "dns: record www.home.arpa: ttl 5m -> none"},
		{"txt: [one, two]", "txt: one", `dns: record _acme.example: txt "one" "two" -> "one"`},
		{"192.168.2.9]\n", "192.168.2.9]\n    more: 10.0.0.1\n", "dns: record more added"},
		{"cache: 50", "cache: 0", "dns: cache 50 -> 0"},
		{"timeout: 500ms", "timeout: 1s", "dns: timeout 500ms -> 1s"},
	} {
		if !strings.Contains(old, k.from) {
			t.Fatalf("%q is not in the text", k.from)
		}
		if got := strings.Join(Changes(mustParse(t, old), mustParse(t, strings.Replace(old, k.from, k.to, 1))), "; "); got != k.want {
			t.Errorf("%q to %q: got %q, want %q", k.from, k.to, got, k.want)
		}
	}
	if got, want := Changes(mustParse(t, dnsOn("")), mustParse(t, old)), []string{"dns added, on port lan, two"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
