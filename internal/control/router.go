package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"time"

	"vrouterd/internal/control/api"
)

// access that an endpoint asks for.
type access int

const (
	reads    access = iota // a table: others too, where control.read_only is all
	inspects               // other people's traffic: operators only, who change nothing by it
	operates               // a change or a secret: operators only, and the log tells of it
)

// endpoint is one method of one path. A path's last segment may be {a parameter}.
type endpoint struct {
	method, path string
	access       access
	query        []string // parameters that it takes
	handle       func(*call) error
}

// call is one request on its way.
type call struct {
	*Server
	http.ResponseWriter
	request   *http.Request
	control   *http.ResponseController
	peer      *peer
	parameter string // the path's last segment where the endpoint has one
	committed bool   // the status line is out: no other answer can follow
}

func (s *Server) endpoints() []endpoint {
	return slices.Concat(s.readEndpoints(), s.ripEndpoints(), s.natEndpoints(), s.firewallEndpoints(), s.dhcpEndpoints(), s.dnsEndpoints(), changeEndpoints(), configEndpoints(), streamEndpoints())
}

// routes is the server's HTTP handler. It is no http.ServeMux, because every
// answer, also to a path or a method that does not exist, has the one error shape.
func (s *Server) routes() http.Handler {
	exact := map[string]map[string]endpoint{}
	for _, e := range s.endpoints() {
		key := e.path
		if i := strings.Index(key, "{"); i >= 0 {
			key = key[:i] // ends in a slash
		}
		if exact[key] == nil {
			exact[key] = map[string]endpoint{}
		}
		exact[key][e.method] = e
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Server: s, request: r, control: http.NewResponseController(w)}
		c.ResponseWriter = &commitWatch{ResponseWriter: w, call: c}
		c.peer, _ = r.Context().Value(peerKey{}).(*peer)
		defer c.survive()
		if err := c.dispatch(exact); err != nil {
			c.refuse(err)
		}
	})
}

func (c *call) dispatch(exact map[string]map[string]endpoint) error {
	now := time.Now()
	c.control.SetReadDeadline(now.Add(bodyTimeout))
	c.control.SetWriteDeadline(now.Add(answerTimeout))
	path := c.request.URL.Path
	methods := exact[path]
	if methods == nil {
		if i := strings.LastIndex(path, "/"); i >= 0 && i+1 < len(path) {
			methods, c.parameter = exact[path[:i+1]], path[i+1:]
		}
	}
	if methods == nil || strings.HasSuffix(path, "/") {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no %s: docs/openapi.yaml lists the paths", c.place())}
	}
	e, ok := methods[c.request.Method]
	if !ok {
		allowed := make([]string, 0, len(methods))
		for m := range methods {
			allowed = append(allowed, m)
		}
		sort.Strings(allowed)
		c.Header().Set("Allow", strings.Join(allowed, ", "))
		return &statusError{http.StatusMethodNotAllowed, &api.Error{Code: api.Usage,
			Message: fmt.Sprintf("%s takes %s, not %.20q", c.place(), strings.Join(allowed, " or "), c.request.Method)}}
	}
	if err := c.permit(e); err != nil {
		return err
	}
	if err := c.checkQuery(e.query); err != nil {
		return err
	}
	if r := c.request; r.ContentLength != 0 && (r.Method == http.MethodGet || r.Method == http.MethodDelete) {
		return usage("%s takes no body", r.Method)
	}
	err := e.handle(c)
	if e.access == operates {
		c.log.Info("control request", "user", c.peer.Name, "pid", c.peer.PID, "method", e.method, "path", path, "ok", err == nil)
	}
	return err
}

// place is the path as a message names it: short and without control characters.
func (c *call) place() string {
	path := c.request.URL.EscapedPath()
	return path[:min(len(path), 80)]
}

// permit refuses peers that may not use the endpoint.
func (c *call) permit(e endpoint) error {
	switch {
	case c.peer == nil:
		return &api.Error{Code: api.Forbidden, Message: "the kernel does not tell who is connected: use the Unix socket"}
	case c.peer.operator:
		return nil
	case e.access == reads && c.openRead.Load():
		return nil
	}
	who := "root"
	if c.operator.gid >= 0 {
		who = fmt.Sprintf("root and members of the group %s", c.operator.group)
	}
	if c.openRead.Load() {
		return &api.Error{Code: api.Forbidden, Message: fmt.Sprintf("user %s may read the tables only: this is for %s", c.peer.Name, who)}
	}
	return &api.Error{Code: api.Forbidden, Message: fmt.Sprintf("user %s may not use this router: it is for %s (control.read_only: all would let anyone read the tables)", c.peer.Name, who)}
}

// survive turns a handler's panic into one failed request.
func (c *call) survive() {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	c.log.Error("control: a request made a handler panic", "path", c.request.URL.Path, "panic", v, "stack", string(debug.Stack()))
	c.refuse(&api.Error{Code: api.Internal, Message: "the daemon met an internal error: its log has the details"})
}

// refuse answers with an error, or cuts the connection where an answer is under
// way already, so that the client never takes half an answer for a whole one.
func (c *call) refuse(err error) {
	if c.committed {
		panic(http.ErrAbortHandler)
	}
	status, e := classify(err)
	if e.Code == api.Internal {
		c.log.Error("control: request failed", "path", c.request.URL.Path, "error", err)
	}
	// The rest of a body that nobody wants is not read: the connection ends here.
	c.Header().Set("Connection", "close")
	c.Header().Set("Content-Type", "application/json")
	c.WriteHeader(status)
	json.NewEncoder(c).Encode(api.ErrorBody{Error: *e})
}

// statusError is an error whose status does not follow from its code.
type statusError struct {
	status int
	err    *api.Error
}

func (e *statusError) Error() string { return e.err.Message }

// classify an error as a status and what the client is told.
func classify(err error) (int, *api.Error) {
	var se *statusError
	if errors.As(err, &se) {
		return se.status, se.err
	}
	var e *api.Error
	if !errors.As(err, &e) {
		return http.StatusInternalServerError, &api.Error{Code: api.Internal, Message: err.Error()}
	}
	// A wrapped refusal keeps the place that the wrapping names.
	told := &api.Error{Code: e.Code, Message: err.Error()}
	switch e.Code {
	case api.Usage:
		return http.StatusBadRequest, told
	case api.NotFound:
		return http.StatusNotFound, told
	case api.Conflict:
		return http.StatusConflict, told
	case api.Forbidden:
		return http.StatusForbidden, told
	case api.Failed:
		return http.StatusUnprocessableEntity, told
	case api.Busy:
		return http.StatusServiceUnavailable, told
	}
	told.Code = api.Internal
	return http.StatusInternalServerError, told
}

// commitWatch notes when the answer's first byte leaves.
type commitWatch struct {
	http.ResponseWriter
	call *call
}

func (w *commitWatch) WriteHeader(status int) {
	w.call.committed = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *commitWatch) Write(b []byte) (int, error) {
	w.call.committed = true
	return w.ResponseWriter.Write(b)
}

func (w *commitWatch) Unwrap() http.ResponseWriter { return w.ResponseWriter }
