package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"vrouterd/internal/control/api"
)

// Status of the router.
func (c *Client) Status(ctx context.Context) (s api.Status, err error) {
	err = c.get(ctx, "/v1/status", nil, &s)
	return s, err
}

// Ports in the order of the configuration.
func (c *Client) Ports(ctx context.Context) (t []api.Port, err error) {
	err = c.get(ctx, "/v1/ports", nil, &t)
	return t, err
}

// Routes of all sources, selected or not.
func (c *Client) Routes(ctx context.Context) (t []api.Route, err error) {
	err = c.get(ctx, "/v1/routes", nil, &t)
	return t, err
}

// Route that a packet to address takes.
func (c *Client) Route(ctx context.Context, address string) (r api.RouteLookup, err error) {
	err = c.get(ctx, "/v1/route/"+url.PathEscape(address), nil, &r)
	return r, err
}

// FIB that the dataplane holds.
func (c *Client) FIB(ctx context.Context) (t []api.FIBEntry, err error) {
	err = c.get(ctx, "/v1/fib", nil, &t)
	return t, err
}

// Neighbors of all ports.
func (c *Client) Neighbors(ctx context.Context) (t []api.Neighbor, err error) {
	err = c.get(ctx, "/v1/neighbors", nil, &t)
	return t, err
}

// Drops by reason, those that never happened too.
func (c *Client) Drops(ctx context.Context) (t []api.Drop, err error) {
	err = c.get(ctx, "/v1/drops", nil, &t)
	return t, err
}

// Counters of the router as a whole.
func (c *Client) Counters(ctx context.Context) (t []api.Counter, err error) {
	err = c.get(ctx, "/v1/counters", nil, &t)
	return t, err
}

// PastEvents that are kept, oldest first.
func (c *Client) PastEvents(ctx context.Context, q EventQuery) (t []api.Event, err error) {
	err = c.get(ctx, "/v1/events", q.values(), &t)
	return t, err
}

// Events calls each with the events kept that q selects and then with those that
// happen, until ctx ends.
func (c *Client) Events(ctx context.Context, q EventQuery, each func(api.Event) error) error {
	return stream(ctx, c, http.MethodGet, "/v1/events/stream", q.values(), nil, each)
}

// SetPort takes a port up or down.
func (c *Client) SetPort(ctx context.Context, name string, up bool) error {
	return c.post(ctx, http.MethodPut, "/v1/ports/"+url.PathEscape(name), api.PortChange{Up: &up}, nil)
}

// AddRoute adds a static route.
func (c *Client) AddRoute(ctx context.Context, r api.RouteSpec) error {
	return c.post(ctx, http.MethodPost, "/v1/routes", r, nil)
}

// DeleteRoute deletes the static route that r describes; what r leaves out is not compared.
func (c *Client) DeleteRoute(ctx context.Context, r api.RouteSpec) error {
	q := url.Values{"to": {r.To}, "via": r.Via}
	for _, text := range []struct{ name, value string }{{"port", r.Port}, {"type", r.Type}} {
		if text.value != "" {
			q.Set(text.name, text.value)
		}
	}
	for _, number := range []struct {
		name  string
		value int
	}{{"distance", r.Distance}, {"metric", r.Metric}, {"tag", r.Tag}} {
		if number.value != 0 {
			q.Set(number.name, strconv.Itoa(number.value))
		}
	}
	return c.call(ctx, http.MethodDelete, "/v1/routes", q, "", nil, nil)
}

// AddNeighbor adds a permanent neighbour.
func (c *Client) AddNeighbor(ctx context.Context, n api.NeighborSpec) error {
	return c.post(ctx, http.MethodPost, "/v1/neighbors", n, nil)
}

// DeleteNeighbor deletes a neighbour; the port may be left out where only one has it.
func (c *Client) DeleteNeighbor(ctx context.Context, n api.NeighborSpec) error {
	q := url.Values{"address": {n.Address}}
	if n.Port != "" {
		q.Set("port", n.Port)
	}
	if n.MAC != "" {
		q.Set("mac", n.MAC)
	}
	return c.call(ctx, http.MethodDelete, "/v1/neighbors", q, "", nil, nil)
}

// FlushNeighbors forgets what ARP has learnt on a port, "" for all, and tells how many went.
func (c *Client) FlushNeighbors(ctx context.Context, port string) (int, error) {
	var f api.Flushed
	err := c.post(ctx, http.MethodPost, "/v1/neighbors/flush", api.NeighborFlush{Port: port}, &f)
	return f.Neighbors, err
}

// ConfigText is the running configuration as YAML.
func (c *Client) ConfigText(ctx context.Context) (string, error) {
	return c.text(ctx, http.MethodGet, "/v1/config", "")
}

// ConfigCheck validates a configuration without applying it.
func (c *Client) ConfigCheck(ctx context.Context, source string) error {
	_, err := c.text(ctx, http.MethodPost, "/v1/config/check", source)
	return err
}

// ConfigDiff is the unified diff from the running configuration to source; "" for none.
func (c *Client) ConfigDiff(ctx context.Context, source string) (string, error) {
	return c.text(ctx, http.MethodPost, "/v1/config/diff", source)
}

// ConfigApply makes source the running configuration, whole or not at all. With
// confirm above zero it undoes itself after that time unless ConfigConfirm comes first.
func (c *Client) ConfigApply(ctx context.Context, source string, confirm time.Duration) (r api.ApplyResult, err error) {
	q := url.Values{}
	if confirm > 0 {
		q.Set("confirm", confirm.String())
	}
	resp, err := c.send(ctx, http.MethodPut, "/v1/config", q, "application/yaml", bodyOf(source))
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return r, c.broken(ctx, err)
	}
	return r, nil
}

// ConfigConfirm keeps the configuration that waits for it.
func (c *Client) ConfigConfirm(ctx context.Context) error {
	return c.post(ctx, http.MethodPost, "/v1/config/confirm", nil, nil)
}

// ConfigRollback goes n revisions back, at least 1.
func (c *Client) ConfigRollback(ctx context.Context, n int) (r api.ApplyResult, err error) {
	err = c.post(ctx, http.MethodPost, "/v1/config/rollback", api.Rollback{Revisions: n}, &r)
	return r, err
}

// ConfigHistory lists the revisions kept, oldest first.
func (c *Client) ConfigHistory(ctx context.Context) (t []api.Revision, err error) {
	err = c.get(ctx, "/v1/config/history", nil, &t)
	return t, err
}

// ConfigSave writes the running configuration to the daemon's file and tells which that is.
func (c *Client) ConfigSave(ctx context.Context) (string, error) {
	var s api.Saved
	err := c.post(ctx, http.MethodPost, "/v1/config/save", nil, &s)
	return s.Path, err
}

// Ping from the router; each is called with the fate of every probe.
func (c *Client) Ping(ctx context.Context, r api.PingRequest, each func(api.PingReply) error) error {
	return stream(ctx, c, http.MethodPost, "/v1/ping", nil, r, each)
}

// Traceroute from the router; each is called with every hop.
func (c *Client) Traceroute(ctx context.Context, r api.TracerouteRequest, each func(api.TracerouteHop) error) error {
	return stream(ctx, c, http.MethodPost, "/v1/traceroute", nil, r, each)
}

// Metrics in the Prometheus text format.
func (c *Client) Metrics(ctx context.Context) (string, error) {
	return c.text(ctx, http.MethodGet, "/metrics", "")
}

// errorTrailer is where a capture that failed on its way says why.
const errorTrailer = "Vrouterd-Error"

// Capture hands read a pcapng stream, and returns when that returns. At the end of
// the stream read sees io.EOF, and io.ErrUnexpectedEOF where it was cut off.
func (c *Client) Capture(ctx context.Context, r api.CaptureRequest, read func(io.Reader) error) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, http.MethodPost, "/v1/capture", nil, "application/json", bodyOf(string(data)))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := read(resp.Body); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	if text := resp.Trailer.Get(errorTrailer); text != "" {
		var e api.Error
		if err := json.Unmarshal([]byte(text), &e); err == nil {
			return &e
		}
	}
	return ctx.Err()
}
