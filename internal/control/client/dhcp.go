package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"vrouterd/internal/control/api"
)

// DHCP lists the networks in which addresses are given away, the relays, and the ports that get their own address.
func (c *Client) DHCP(ctx context.Context) (t []api.DHCP, err error) {
	err = c.get(ctx, "/v1/dhcp", nil, &t)
	return t, err
}

// LeasePage is one page of the leases.
func (c *Client) LeasePage(ctx context.Context, q api.LeaseQuery) (p api.LeasePage, err error) {
	err = c.get(ctx, "/v1/dhcp/leases", given("address", q.Address, "mac", q.MAC, "hostname", q.Hostname, "port", q.Port,
		"subnet", q.Subnet, "state", q.State, "cursor", q.Cursor, "limit", numeral(q.Limit)), &p)
	return p, err
}

// Leases that match, page after page, as Sessions does.
func (c *Client) Leases(ctx context.Context, q api.LeaseQuery) iter.Seq2[Part[api.Lease], error] {
	return parts(q.Cursor, func(cursor string) (Part[api.Lease], string, error) {
		q.Cursor = cursor
		p, err := c.LeasePage(ctx, q)
		return Part[api.Lease]{p.Leases, p.Total, p.Next != ""}, p.Next, err
	})
}

// DeleteLease forgets the lease of an address.
func (c *Client) DeleteLease(ctx context.Context, address string) error {
	return c.call(ctx, http.MethodDelete, "/v1/dhcp/leases", url.Values{"address": {address}}, "", nil, nil)
}

// FlushLeases forgets the leases that match, and tells how many.
func (c *Client) FlushLeases(ctx context.Context, which api.LeaseFlush) (int, error) {
	var f api.LeasesFlushed
	err := c.post(ctx, http.MethodPost, "/v1/dhcp/leases/flush", which, &f)
	return f.Leases, err
}

// ImportLeases takes over the leases of a file that dnsmasq wrote.
func (c *Client) ImportLeases(ctx context.Context, text string) (done api.LeaseImport, err error) {
	err = c.call(ctx, http.MethodPost, "/v1/dhcp/import", nil, "text/plain; charset=utf-8", bodyOf(text), &done)
	return done, err
}

// DHCPRelease gives a port's address back to its server.
func (c *Client) DHCPRelease(ctx context.Context, port string) error {
	return c.post(ctx, http.MethodPost, "/v1/dhcp/release", api.DHCPPort{Port: port}, nil)
}

// DHCPRenew asks for a port's address anew at once.
func (c *Client) DHCPRenew(ctx context.Context, port string) error {
	return c.post(ctx, http.MethodPost, "/v1/dhcp/renew", api.DHCPPort{Port: port}, nil)
}
