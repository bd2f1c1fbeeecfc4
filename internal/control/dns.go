package control

import (
	"net/http"
	"strings"

	"vrouterd/internal/control/api"
)

// dnsEndpoints are the tables of DNS. What is in its cache tells who asks for what: it is for operators.
func (s *Server) dnsEndpoints() []endpoint {
	b := s.backend
	query := []string{"name", "limit", "cursor"}
	return []endpoint{
		{http.MethodGet, "/v1/dns", reads, nil, func(c *call) error {
			all := b.DNS()
			for i := range all {
				d := &all[i]
				d.Listen, d.Upstreams, d.NoSuchNames, d.Refusals = filled(d.Listen), filled(d.Upstreams), filled(d.NoSuchNames), filled(d.Refusals)
			}
			return rows(c, all)
		}},
		{http.MethodGet, "/v1/dns/cache", inspects, query, dnsCache},
		{http.MethodGet, "/v1/dns/names", reads, query, dnsNames},
		{http.MethodPost, "/v1/dns/flush", operates, nil, flushDNS},
	}
}

// dnsSelection is which names the client wants, and which page of them.
func (c *call) dnsSelection() (q api.DNSQuery, err error) {
	v := c.request.URL.Query()
	q = api.DNSQuery{Name: bareName(v.Get("name")), Cursor: v.Get("cursor")}
	if err := dnsName(q.Name); err != nil {
		return q, err
	}
	q.Limit, err = c.pageLimit()
	return q, err
}

// bareName is a name as tables have it.
func bareName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

func dnsName(s string) error {
	if len(s) > 1024 {
		return usage("name: %.40q… is longer than a name of DNS can be", s)
	}
	return nil
}

func dnsCache(c *call) error {
	q, err := c.dnsSelection()
	if err != nil {
		return err
	}
	p, err := c.backend.DNSCache(q)
	if err != nil {
		return err
	}
	for i := range p.Entries {
		p.Entries[i].Answers = filled(p.Entries[i].Answers)
	}
	return page(c, "entries", p.Entries, p.Total, p.Next)
}

func dnsNames(c *call) error {
	q, err := c.dnsSelection()
	if err != nil {
		return err
	}
	p, err := c.backend.DNSNames(q)
	if err != nil {
		return err
	}
	return page(c, "names", p.Names, p.Total, p.Next)
}

func flushDNS(c *call) error {
	var f api.DNSFlush
	if err := c.decode(&f); err != nil {
		return err
	}
	f.Name = bareName(f.Name)
	if err := dnsName(f.Name); err != nil {
		return err
	}
	n, err := c.backend.FlushDNS(c.peer.Peer, f.Name)
	if err != nil {
		return err
	}
	return c.object(api.DNSFlushed{Entries: n})
}
