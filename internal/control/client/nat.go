package client

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"vrouterd/internal/control/api"
)

// NATRules are the rules of NAT and the forwards, with what they have done.
func (c *Client) NATRules(ctx context.Context) (t []api.NATRule, err error) {
	err = c.get(ctx, "/v1/nat", nil, &t)
	return t, err
}

// SessionPage is one page of the sessions; with q.NATOnly of those that NAT has to do with.
func (c *Client) SessionPage(ctx context.Context, q api.SessionQuery) (p api.SessionPage, err error) {
	path := "/v1/sessions"
	if q.NATOnly {
		path = "/v1/nat/sessions"
	}
	err = c.get(ctx, path, selection(q), &p)
	return p, err
}

// MappingPage is one page of the mappings.
func (c *Client) MappingPage(ctx context.Context, q api.SessionQuery) (p api.MappingPage, err error) {
	err = c.get(ctx, "/v1/nat/mappings", selection(q), &p)
	return p, err
}

// Part of a table that comes in pages.
type Part[T any] struct {
	Rows  []T
	Total int  // rows of the whole table, whatever the filter
	More  bool // this was not the last part
}

// Sessions that match, page after page of at most q.Limit rows, from q.Cursor on. It asks for a page when
// the loop wants it, and ends with the first error.
func (c *Client) Sessions(ctx context.Context, q api.SessionQuery) iter.Seq2[Part[api.Session], error] {
	return parts(q.Cursor, func(cursor string) (Part[api.Session], string, error) {
		q.Cursor = cursor
		p, err := c.SessionPage(ctx, q)
		return Part[api.Session]{p.Sessions, p.Total, p.Next != ""}, p.Next, err
	})
}

// Mappings that match, as Sessions does.
func (c *Client) Mappings(ctx context.Context, q api.SessionQuery) iter.Seq2[Part[api.NATMapping], error] {
	return parts(q.Cursor, func(cursor string) (Part[api.NATMapping], string, error) {
		q.Cursor = cursor
		p, err := c.MappingPage(ctx, q)
		return Part[api.NATMapping]{p.Mappings, p.Total, p.Next != ""}, p.Next, err
	})
}

// parts asks for page after page, from a cursor on.
func parts[T any](cursor string, page func(cursor string) (Part[T], string, error)) iter.Seq2[Part[T], error] {
	return func(yield func(Part[T], error) bool) {
		for {
			p, next, err := page(cursor)
			if err == nil && next != "" && next == cursor {
				err = errors.New("the daemon's pages have no end: the next of one is itself")
			}
			if !yield(p, err) || err != nil || next == "" {
				return
			}
			cursor = next
		}
	}
}

func selection(q api.SessionQuery) url.Values {
	return given("address", q.Address, "protocol", q.Protocol, "cursor", q.Cursor, "port", numeral(q.Port), "limit", numeral(q.Limit))
}

// given are the parameters, name and value in turn, that have a value.
func given(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

// numeral of a number; "" for 0.
func numeral(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// FlushSessions ends the sessions that match, and tells how many went.
func (c *Client) FlushSessions(ctx context.Context, which api.NATFlush) (int, error) {
	var f api.SessionsFlushed
	err := c.post(ctx, http.MethodPost, "/v1/nat/flush", which, &f)
	return f.Sessions, err
}

// AddForward adds a port forward to the running configuration.
func (c *Client) AddForward(ctx context.Context, f api.ForwardSpec) error {
	return c.post(ctx, http.MethodPost, "/v1/nat/forwards", f, nil)
}

// DeleteForward takes one out; To and Name are not compared where they are left out.
func (c *Client) DeleteForward(ctx context.Context, f api.ForwardSpec) error {
	q := url.Values{"in": {f.In}, "protocol": {f.Protocol}, "port": {f.Port}}
	if f.To != "" {
		q.Set("to", f.To)
	}
	if f.Name != "" {
		q.Set("name", f.Name)
	}
	return c.call(ctx, http.MethodDelete, "/v1/nat/forwards", q, "", nil, nil)
}
