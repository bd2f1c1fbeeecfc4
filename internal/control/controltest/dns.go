package controltest

import (
	"slices"
	"strings"

	"vrouterd/internal/control/api"
)

func dnsRows() []api.DNS {
	return []api.DNS{{
		Listen: []string{"lan"}, Domain: "home.arpa", Names: 6, CacheEntries: 3, CacheMax: 10000, CacheBytes: 1830, CacheHits: 900, CacheMisses: 100,
		Queries: 1100, QueriesTCP: 4, AnsweredLocally: 95, AnsweredFailed: 2, Truncated: 4, Outstanding: 1, OutstandingMax: 1000, AverageSeconds: 0.0125,
		Upstreams: []api.DNSUpstream{
			{Address: "9.9.9.9:53", Source: "config", State: "up", LatencySeconds: 0.0123, Queries: 90, Answers: 89, Timeouts: 1, LastSeenSeconds: 2.5, Outstanding: 1},
			{Address: "198.51.100.53:53", Source: "wan", State: "down", LatencySeconds: 0.02, Queries: 10, Answers: 4, Timeouts: 5, Failures: 1, LastSeenSeconds: 310},
			{Address: "10.0.0.2:53", Domain: "corp.example", Source: "config", State: "unknown", LastSeenSeconds: -1},
		},
		NoSuchName: 12, NoSuchNames: []api.Refusal{{Reason: "dns_local_domain", Description: "a name in the router's own domain that nobody has is not asked upstream", Count: 12}},
		Refused: 5, Refusals: []api.Refusal{{Reason: "dns_too_many_from_client", Description: "the client has too many questions upstream", Count: 5}},
	}}
}

func dnsCacheRows() []api.DNSCacheEntry {
	return []api.DNSCacheEntry{
		{Name: "example.net", Type: "A", State: "answer", TTLSeconds: 290, Hits: 800, Answers: []string{"A 203.0.113.7", "A 203.0.113.8"}},
		{Name: "example.net", Type: "HTTPS", State: "no_data", TTLSeconds: 45, Hits: 12},
		{Name: "laptop.home.arpa", Type: "A", State: "answer", Hits: 3, Answers: []string{"A 10.1.0.100"}},
		{Name: "nobody.example.org", Type: "A", State: "no_name", TTLSeconds: 800},
	}
}

func dnsNameRows() []api.DNSName {
	return []api.DNSName{
		{Name: "laptop.home.arpa", Type: "A", Value: "10.1.0.100", Source: "lease 10.1.0.100"},
		{Name: "printer.home.arpa", Type: "A", Value: "10.1.0.5", Source: "reservation 10.1.0.5"},
		{Name: "printer.home.arpa", Type: "A", Value: "10.1.0.77", Source: "lease 10.1.0.77", Hidden: true},
		{Name: "r1.home.arpa", Type: "A", Value: "10.1.0.1", Source: "record"},
		{Name: "www.home.arpa", Type: "CNAME", Value: "r1.home.arpa", Source: "record"},
	}
}

func (f *Fake) DNS() []api.DNS { return table(f, f.dns) }

func below(name, domain string) bool {
	return domain == "" || name == domain || strings.HasSuffix(name, "."+domain)
}

func (f *Fake) DNSCache(q api.DNSQuery) (p api.DNSCachePage, err error) {
	all := table(f, f.dnsCache)
	p.Total = len(all)
	p.Entries, p.Next, err = part(api.SessionQuery{Cursor: q.Cursor, Limit: q.Limit}, len(all), func(i int) api.DNSCacheEntry { return all[i] },
		func(e api.DNSCacheEntry) bool { return below(e.Name, q.Name) })
	return p, err
}

func (f *Fake) DNSNames(q api.DNSQuery) (p api.DNSNamePage, err error) {
	all := table(f, f.dnsNames)
	p.Total = len(all)
	p.Names, p.Next, err = part(api.SessionQuery{Cursor: q.Cursor, Limit: q.Limit}, len(all), func(i int) api.DNSName { return all[i] },
		func(n api.DNSName) bool { return below(n.Name, q.Name) })
	return p, err
}

func (f *Fake) FlushDNS(_ api.Peer, name string) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Empty {
		return 0, notConfigured("DNS", "dns")
	}
	before := len(f.dnsCache)
	f.dnsCache = slices.DeleteFunc(f.dnsCache, func(e api.DNSCacheEntry) bool { return name == "" || e.Name == name })
	return before - len(f.dnsCache), nil
}
