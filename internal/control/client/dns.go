package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"vrouterd/internal/control/api"
)

// DNS is the forwarder: one row, or none where it is not configured.
func (c *Client) DNS(ctx context.Context) (t []api.DNS, err error) {
	err = c.get(ctx, "/v1/dns", nil, &t)
	return t, err
}

func dnsSelection(q api.DNSQuery) url.Values {
	return given("name", q.Name, "cursor", q.Cursor, "limit", numeral(q.Limit))
}

// DNSCache are the answers kept, page after page, as Sessions does.
func (c *Client) DNSCache(ctx context.Context, q api.DNSQuery) iter.Seq2[Part[api.DNSCacheEntry], error] {
	return parts(q.Cursor, func(cursor string) (Part[api.DNSCacheEntry], string, error) {
		q.Cursor = cursor
		var p api.DNSCachePage
		err := c.get(ctx, "/v1/dns/cache", dnsSelection(q), &p)
		return Part[api.DNSCacheEntry]{p.Entries, p.Total, p.Next != ""}, p.Next, err
	})
}

// DNSNames are the names that are answered from the router itself, page after page.
func (c *Client) DNSNames(ctx context.Context, q api.DNSQuery) iter.Seq2[Part[api.DNSName], error] {
	return parts(q.Cursor, func(cursor string) (Part[api.DNSName], string, error) {
		q.Cursor = cursor
		var p api.DNSNamePage
		err := c.get(ctx, "/v1/dns/names", dnsSelection(q), &p)
		return Part[api.DNSName]{p.Names, p.Total, p.Next != ""}, p.Next, err
	})
}

// FlushDNS forgets the answers of a name, or all (""), and tells how many.
func (c *Client) FlushDNS(ctx context.Context, name string) (int, error) {
	var f api.DNSFlushed
	err := c.post(ctx, http.MethodPost, "/v1/dns/flush", api.DNSFlush{Name: name}, &f)
	return f.Entries, err
}
