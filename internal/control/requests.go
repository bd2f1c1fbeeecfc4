package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"vrouterd/internal/control/api"
)

func usage(format string, a ...any) error {
	return &api.Error{Code: api.Usage, Message: fmt.Sprintf(format, a...)}
}

// checkQuery refuses parameters that the endpoint does not take: a mistyped one
// must not be ignored.
func (c *call) checkQuery(known []string) error {
	values, err := url.ParseQuery(c.request.URL.RawQuery)
	if err != nil {
		return usage("the query is not valid: %v", err)
	}
	for name := range values {
		if slices.Contains(known, name) {
			continue
		}
		if len(known) == 0 {
			return usage("unknown parameter %.40q: %s takes none", name, c.place())
		}
		return usage("unknown parameter %.40q: %s takes %s", name, c.place(), strings.Join(known, ", "))
	}
	return nil
}

func (c *call) queryInt(name string, low, high int) (int, error) {
	text := c.request.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, usage("%s=%.40q: a number from %d to %d is wanted", name, text, low, high)
	}
	return n, nil
}

// body reads the whole body, so that net/http sees from then on when the client goes away.
func (c *call) body(limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.ResponseWriter, c.request.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, &statusError{http.StatusRequestEntityTooLarge,
			&api.Error{Code: api.Usage, Message: fmt.Sprintf("the body is longer than the %d octets that %s takes", limit, c.place())}}
	}
	if err != nil {
		return nil, usage("the body did not arrive whole: %v", err)
	}
	c.control.SetReadDeadline(time.Time{})
	return data, nil
}

// decode the JSON body strictly into v: one object, no unknown field, nothing after it.
func (c *call) decode(v any) error {
	data, err := c.body(maxJSONBytes)
	if err != nil {
		return err
	}
	if !utf8.Valid(data) {
		return usage("the body is not UTF-8: JSON is wanted")
	}
	if first := bytes.TrimLeft(data, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return usage("the body is not a JSON object: docs/openapi.yaml shows what %s takes", c.place())
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return usage("the body: %s", jsonMessage(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return usage("the body goes on after its JSON object: send one object")
	}
	return nil
}

// jsonMessage says what encoding/json found in the user's terms.
func jsonMessage(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return fmt.Sprintf("field %q cannot be a %s", kind.Field, kind.Value)
	case errors.As(err, &syntax):
		return fmt.Sprintf("not valid JSON at octet %d", syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "not valid JSON: it ends too early"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// text reads a body of text; what says in refusals what it is.
func (c *call) text(what string) (string, error) {
	data, err := c.body(maxConfigBytes)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(data) {
		return "", usage("%s is not UTF-8 text", what)
	}
	return string(data), nil
}

// address checks that s is an IPv4 address.
func address(field, s string) error {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return usage("%s: %.60q is not an IPv4 address like 10.1.0.2", field, s)
	}
	return nil
}

// prefix checks that s is an IPv4 network without host bits.
func prefix(field, s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return usage("%s: %.60q is not an IPv4 network like 10.1.0.0/24", field, s)
	}
	if p != p.Masked() {
		return usage("%s: %s has bits beyond its prefix length: %s is the network", field, p, p.Masked())
	}
	return nil
}

func within(field string, n, low, high int) error {
	if n < low || n > high {
		return usage("%s: %d is not from %d to %d", field, n, low, high)
	}
	return nil
}

// checkRoute holds the shape of a route; whether its port exists and its next hops
// can be reached is the daemon's to say.
func checkRoute(r api.RouteSpec) error {
	if err := prefix("to", r.To); err != nil {
		return err
	}
	for _, via := range r.Via {
		if err := address("via", via); err != nil {
			return err
		}
	}
	switch r.Type {
	case "", "unicast":
	case "blackhole", "unreachable", "prohibit":
		if len(r.Via) > 0 || r.Port != "" {
			return usage("type: a %s route leads nowhere: leave via and port out", r.Type)
		}
	default:
		return usage("type: %.40q is not one of unicast, blackhole, unreachable, prohibit", r.Type)
	}
	return first(
		within("distance", r.Distance, 0, 255),
		within("metric", r.Metric, 0, 1<<31-1),
		within("tag", r.Tag, 0, 1<<32-1),
	)
}

// first of the errors that is one.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// checkNewRoute asks more of a route that is to be added: that it leads somewhere.
func checkNewRoute(r api.RouteSpec) error {
	if err := checkRoute(r); err != nil {
		return err
	}
	if (r.Type == "" || r.Type == "unicast") && len(r.Via) == 0 && r.Port == "" {
		return usage("a route to %s leads nowhere: give via, port, or a type like blackhole", r.To)
	}
	return nil
}
