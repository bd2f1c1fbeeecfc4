package control

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"vrouterd/internal/control/api"
)

// readEndpoints are the tables and look-ups.
func (s *Server) readEndpoints() []endpoint {
	b := s.backend
	return []endpoint{
		{http.MethodGet, "/v1/status", reads, nil, func(c *call) error { return c.object(b.Status()) }},
		{http.MethodGet, "/v1/ports", reads, nil, func(c *call) error {
			ports := b.Ports()
			for i := range ports {
				ports[i].Addresses = filled(ports[i].Addresses)
			}
			return rows(c, ports)
		}},
		{http.MethodGet, "/v1/routes", reads, nil, func(c *call) error { return rows(c, b.Routes()) }},
		{http.MethodGet, "/v1/route/{address}", reads, nil, lookupRoute},
		{http.MethodGet, "/v1/fib", reads, nil, func(c *call) error { return rows(c, b.FIB()) }},
		{http.MethodGet, "/v1/neighbors", reads, nil, func(c *call) error { return rows(c, b.Neighbors()) }},
		{http.MethodGet, "/v1/drops", reads, nil, func(c *call) error { return rows(c, b.Drops()) }},
		{http.MethodGet, "/v1/counters", reads, nil, func(c *call) error { return rows(c, b.Counters()) }},
		{http.MethodGet, "/v1/events", reads, eventQuery, pastEvents},
		{http.MethodGet, "/metrics", reads, nil, metrics},
	}
}

func lookupRoute(c *call) error {
	if err := address("address", c.parameter); err != nil {
		return err
	}
	r, err := c.backend.Route(c.parameter)
	if err != nil {
		return err
	}
	r.NextHops, r.Ports, r.Candidates = filled(r.NextHops), filled(r.Ports), filled(r.Candidates)
	return c.object(r)
}

// pastEvents answers with the events kept.
func pastEvents(c *call) error {
	want, err := c.eventSelection()
	if err != nil {
		return err
	}
	past, _ := c.backend.Events(c.request.Context()) // ends with the request
	return rows(c, want.of(past))
}

var eventQuery = []string{"last", "since", "after"}

// eventSelection is which of the kept events the client wants.
type eventSelection struct {
	last  int       // at most so many, the newest; 0: all
	since time.Time // not older
	after uint64    // later in sequence, to go on where another stream ended
}

func (c *call) eventSelection() (eventSelection, error) {
	var e eventSelection
	var err error
	if e.last, err = c.queryInt("last", 0, 1<<20); err != nil {
		return e, err
	}
	after, err := c.queryInt("after", 0, 1<<62)
	if err != nil {
		return e, err
	}
	e.after = uint64(after)
	if text := c.request.URL.Query().Get("since"); text != "" {
		if e.since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return e, usage("since=%.40q: a time like 2026-01-02T15:04:05Z is wanted", text)
		}
	}
	return e, nil
}

func (e eventSelection) of(past []api.Event) []api.Event {
	for len(past) > 0 && (past[0].Sequence <= e.after || past[0].Time.Before(e.since)) {
		past = past[1:]
	}
	if e.last > 0 && len(past) > e.last {
		past = past[len(past)-e.last:]
	}
	return past
}

func metrics(c *call) error {
	c.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, err := io.WriteString(c, c.backend.Metrics())
	return err
}

// filled is a list that JSON shows as [] and never as null.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// object answers with one JSON object.
func (c *call) object(v any) error {
	c.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(c).Encode(v)
}

// rows answers with a JSON array, encoded a row at a time, a row a line: a full
// Internet table never stands in memory twice, and grep works.
func rows[T any](c *call, table []T) error {
	c.Header().Set("Content-Type", "application/json")
	w := bufio.NewWriterSize(c, 32<<10)
	w.WriteByte('[')
	for i := range table {
		if i > 0 {
			w.WriteString(",\n")
		}
		row, err := json.Marshal(&table[i])
		if err != nil {
			return err
		}
		w.Write(row)
	}
	w.WriteString("]\n")
	return w.Flush()
}

// done answers that a change was made.
func (c *call) done() error {
	c.WriteHeader(http.StatusNoContent)
	return nil
}
