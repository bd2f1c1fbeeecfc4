package client

import (
	"context"
	"net/http"

	"vrouterd/internal/control/api"
)

// RIPRoutes that RIP knows, its own announcements too.
func (c *Client) RIPRoutes(ctx context.Context) (t []api.RIPRoute, err error) {
	err = c.get(ctx, "/v1/rip", nil, &t)
	return t, err
}

// RIPNeighbors that RIP has heard.
func (c *Client) RIPNeighbors(ctx context.Context) (t []api.RIPNeighbor, err error) {
	err = c.get(ctx, "/v1/rip/neighbors", nil, &t)
	return t, err
}

// RIPPorts that RIP runs on; none: it does not run.
func (c *Client) RIPPorts(ctx context.Context) (t []api.RIPPort, err error) {
	err = c.get(ctx, "/v1/rip/ports", nil, &t)
	return t, err
}

// RIPClear forgets what was learned and asks for it anew, and tells how many paths went.
func (c *Client) RIPClear(ctx context.Context, what api.RIPClear) (int, error) {
	var cleared api.RIPCleared
	err := c.post(ctx, http.MethodPost, "/v1/rip/clear", what, &cleared)
	return cleared.Routes, err
}
