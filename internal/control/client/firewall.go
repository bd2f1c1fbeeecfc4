package client

import (
	"context"
	"net/http"
	"net/url"

	"vrouterd/internal/control/api"
)

// FirewallRules in the order in which a packet meets them.
func (c *Client) FirewallRules(ctx context.Context) (t []api.FirewallRule, err error) {
	err = c.get(ctx, "/v1/firewall", nil, &t)
	return t, err
}

// FirewallSets are the named sets of addresses.
func (c *Client) FirewallSets(ctx context.Context) (t []api.FirewallSet, err error) {
	err = c.get(ctx, "/v1/firewall/sets", nil, &t)
	return t, err
}

// SetMembers of a set of the firewall.
func (c *Client) SetMembers(ctx context.Context, set string) (t []api.SetMember, err error) {
	err = c.get(ctx, "/v1/firewall/sets/"+url.PathEscape(set), nil, &t)
	return t, err
}

// AddMember adds an address to a set of the firewall.
func (c *Client) AddMember(ctx context.Context, m api.SetChange) error {
	return c.post(ctx, http.MethodPost, "/v1/firewall/members", m, nil)
}

// DeleteMember takes an address out of a set of the firewall.
func (c *Client) DeleteMember(ctx context.Context, set, address string) error {
	return c.call(ctx, http.MethodDelete, "/v1/firewall/members", url.Values{"set": {set}, "address": {address}}, "", nil, nil)
}

// Explain what would happen to a packet.
func (c *Client) Explain(ctx context.Context, r api.ExplainRequest) (e api.Explanation, err error) {
	err = c.post(ctx, http.MethodPost, "/v1/explain", r, &e)
	return e, err
}
