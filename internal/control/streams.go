package control

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"vrouterd/internal/control/api"
)

// streamEndpoints answer for as long as the client listens, or until they are
// done. Objects come one a line; a stream that fails ends with an error object.
func streamEndpoints() []endpoint {
	return []endpoint{
		{http.MethodGet, "/v1/events/stream", reads, eventQuery, streamEvents},
		{http.MethodPost, "/v1/ping", operates, nil, ping},
		{http.MethodPost, "/v1/traceroute", operates, nil, traceroute},
		{http.MethodPost, "/v1/capture", operates, nil, capture},
	}
}

// stream takes one of the places for streams and lifts the deadlines of ordinary
// answers: a client that reads slowly keeps its place, and the daemon's side of
// the stream is bounded by the Backend. release gives the place back.
func (c *call) stream(contentType string) (ctx context.Context, release func(), err error) {
	select {
	case c.streams <- struct{}{}:
	default:
		return nil, nil, &api.Error{Code: api.Busy, Message: "too many streams are open: end a vrctl events, ping or capture and try again"}
	}
	c.control.SetReadDeadline(time.Time{})
	c.control.SetWriteDeadline(time.Time{})
	c.Header().Set("Content-Type", contentType)
	c.Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithCancel(c.request.Context())
	return ctx, func() { cancel(); <-c.streams }, nil
}

const lines = "application/x-ndjson"

// line writes one object and pushes it out.
func (c *call) line(v any) error {
	if err := json.NewEncoder(c).Encode(v); err != nil {
		return err
	}
	return c.control.Flush()
}

// finish a stream of lines: an error after the first line becomes the last one.
func (c *call) finish(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return nil // the client went, or the server stops: a clean end
	}
	if !c.committed {
		return err
	}
	_, told := classify(err)
	c.line(api.ErrorBody{Error: *told})
	return nil
}

func streamEvents(c *call) error {
	want, err := c.eventSelection()
	if err != nil {
		return err
	}
	ctx, release, err := c.stream(lines)
	if err != nil {
		return err
	}
	defer release()
	past, next := c.backend.Events(ctx)
	c.WriteHeader(http.StatusOK)
	enc := json.NewEncoder(c)
	for _, ev := range want.of(past) {
		if enc.Encode(ev) != nil {
			return nil
		}
	}
	// The header goes out even when nothing has happened yet, so that a client
	// knows that it will miss nothing from here on.
	if c.control.Flush() != nil {
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev, open := <-next:
			if !open || enc.Encode(ev) != nil {
				return nil
			}
			if len(next) == 0 && c.control.Flush() != nil {
				return nil
			}
		}
	}
}

func ping(c *call) error {
	r := api.PingRequest{Count: 4, Interval: time.Second, Timeout: time.Second, Size: 56, TTL: 64}
	if err := c.decode(&r); err != nil {
		return err
	}
	if err := checkPing(r); err != nil {
		return err
	}
	ctx, release, err := c.stream(lines)
	if err != nil {
		return err
	}
	defer release()
	err = c.backend.Ping(ctx, r, func(p api.PingReply) { c.line(p) })
	return c.finish(ctx, err)
}

// ends checks where a probe goes, and where from unless that is left to the router.
func ends(to, from string) error {
	if err := address("address", to); err != nil || from == "" {
		return err
	}
	return address("source", from)
}

func checkPing(r api.PingRequest) error {
	return first(
		ends(r.Address, r.Source),
		within("count", r.Count, 1, 100000),
		spanning("interval", r.Interval, time.Millisecond, time.Hour),
		spanning("timeout", r.Timeout, time.Millisecond, time.Hour),
		within("size", r.Size, 0, 65507),
		within("ttl", r.TTL, 1, 255),
	)
}

func spanning(field string, d, low, high time.Duration) error {
	if d < low || d > high {
		return usage("%s: %s (in nanoseconds: %d) is not from %s to %s", field, d, d.Nanoseconds(), low, high)
	}
	return nil
}

func traceroute(c *call) error {
	r := api.TracerouteRequest{MaxHops: 30, Probes: 3, Timeout: time.Second}
	if err := c.decode(&r); err != nil {
		return err
	}
	if err := checkTraceroute(r); err != nil {
		return err
	}
	ctx, release, err := c.stream(lines)
	if err != nil {
		return err
	}
	defer release()
	err = c.backend.Traceroute(ctx, r, func(h api.TracerouteHop) {
		h.Probes = filled(h.Probes)
		c.line(h)
	})
	return c.finish(ctx, err)
}

func checkTraceroute(r api.TracerouteRequest) error {
	return first(
		ends(r.Address, r.Source),
		within("max_hops", r.MaxHops, 1, 255),
		within("probes", r.Probes, 1, 10),
		spanning("timeout", r.Timeout, time.Millisecond, time.Hour),
	)
}

// errorTrailer tells why a capture ended early: pcapng has no place for it.
const errorTrailer = "Vrouterd-Error"

func capture(c *call) error {
	var r api.CaptureRequest
	if err := c.decode(&r); err != nil {
		return err
	}
	if err := checkCapture(r); err != nil {
		return err
	}
	ctx, release, err := c.stream("application/x-pcapng")
	if err != nil {
		return err
	}
	defer release()
	err = c.backend.Capture(ctx, r, &captureWriter{c})
	if err == nil || ctx.Err() != nil {
		return nil
	}
	if !c.committed {
		return err
	}
	_, told := classify(err)
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	c.Header().Set(http.TrailerPrefix+errorTrailer, string(text))
	return nil
}

func checkCapture(r api.CaptureRequest) error {
	return first(
		within("snaplen", r.Snaplen, 0, 1<<18),
		within("count", r.Count, 0, 1<<31-1),
		within("number of ports", len(r.Ports), 0, 4096),
		within("number of stages", len(r.Stages), 0, 256),
		within("length of filter", len(r.Filter), 0, 4096),
	)
}

// captureWriter lets the Backend push packets out when it has written a batch.
type captureWriter struct{ *call }

func (w *captureWriter) Flush() { w.control.Flush() }
