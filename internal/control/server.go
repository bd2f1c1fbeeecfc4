// Package control is the daemon's side of the control socket: HTTP/1.1 with JSON
// on a Unix socket, so that vrctl, `curl --unix-socket` and any language's HTTP
// library steer the router alike.
//
// A request meets the files of this package in this order:
//
//	socket.go     the socket is made, or is refused because its owner lives
//	peer.go       accept: who is calling, by the kernel's word (SO_PEERCRED)
//	router.go     which endpoint; may this peer; one error shape for every refusal
//	requests.go   the body and the query are read, bounded and checked
//	reads.go      tables and lookups        (GET); those of RIP, NAT and the firewall have files of their own
//	changes.go    changes of the router     (POST, PUT, DELETE)
//	streams.go    events, ping, traceroute, capture: as long as the client listens
//
// # What is promised
//
// Nothing a client does may hurt the router: connections, streams, header and body
// sizes and the time to send them are bounded, a panic in a handler costs that one
// request, and no handler keeps state after its request. The server knows nothing
// of routing: it checks the shape of a request (is this an address, is that in
// range) and leaves the meaning to the api.Backend, whose *api.Error becomes the
// answer. Other errors of the Backend are internal: logged, and told as such.
//
// # Who may do what
//
// The kernel tells uid, gid and groups of the process that connected. Root, the
// daemon's own uid and members of the group (vrouterd) are operators and may do
// everything. Others may read tables only where the configuration says
// `control: {read_only: all}`; what can hold secrets (the configuration) or shows
// other people's traffic (capture, sessions, mappings, explain) is for operators always.
package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"vrouterd/internal/control/api"
)

// Bounds of the server. They are generous for people and scripts, and small
// enough that a runaway script cannot hold the daemon's memory.
const (
	maxConnections      = 256 // at once, all peers
	maxGuestConnections = 64  // of these, peers that are not operators
	maxTurnedAway       = 16  // peers being told that there is no room
	maxStreams          = 64  // events, ping, traceroute and capture at once

	headerTimeout = 5 * time.Second  // to send the request's header
	bodyTimeout   = 15 * time.Second // to send the request's body
	answerTimeout = 60 * time.Second // to take an answer that is not a stream
	idleTimeout   = 2 * time.Minute  // between requests on one connection
	stopTimeout   = time.Second      // for requests under way when the server stops

	maxHeaderBytes = 16 << 10
	maxJSONBytes   = 64 << 10 // body of a JSON request
	maxConfigBytes = 16 << 20 // body of a configuration: as much as the decoder takes
)

// Options of a Server.
type Options struct {
	Path     string      // of the socket, at most 107 octets; its name without .sock is the instance
	Group    string      // whose members are operators, besides root; "" or a group that does not exist: nobody
	ReadOnly string      // control.read_only: "all" lets anyone read tables; else operators only
	Backend  api.Backend // the daemon
	Log      *slog.Logger
}

// Server answers on one control socket.
type Server struct {
	backend  api.Backend
	log      *slog.Logger
	socket   *socket
	http     *http.Server
	operator operators
	openRead atomic.Bool // others may read tables
	streams  chan struct{}

	stop     context.CancelFunc // ends every request's context
	requests context.Context
	closing  sync.Once
	closeErr error
}

// NewServer makes the socket and listens on it; nothing is answered before Serve.
// A socket that a dead daemon left behind is replaced. If its owner lives the
// error is a *RunningError.
func NewServer(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ops := lookupOperators(o.Group, o.Log)
	sock, err := listen(o.Path, ops.gid, o.ReadOnly == "all")
	if err != nil {
		return nil, err
	}
	s := &Server{
		backend:  o.Backend,
		log:      o.Log,
		socket:   sock,
		operator: ops,
		streams:  make(chan struct{}, maxStreams),
	}
	s.openRead.Store(o.ReadOnly == "all")
	s.requests, s.stop = context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return s.requests },
		ConnContext:       withPeer,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Path of the socket.
func (s *Server) Path() string { return s.socket.path }

// SetReadOnly takes control.read_only of a new configuration: the socket's mode
// and the rule for peers that are not operators change at once, also for
// connections that are open already.
func (s *Server) SetReadOnly(who string) error {
	open := who == "all"
	s.openRead.Store(open)
	return s.socket.setMode(open)
}

// Serve answers until ctx ends or Close is called, and then returns nil. Streams
// under way end cleanly; the socket is removed.
func (s *Server) Serve(ctx context.Context) error {
	unhook := context.AfterFunc(ctx, func() { s.Close() })
	defer unhook()
	err := s.http.Serve(newListener(s.socket, s.operator, s.log))
	if !errors.Is(err, http.ErrServerClosed) {
		s.Close()
		return fmt.Errorf("control socket %s: %w", s.socket.path, err)
	}
	return s.Close() // waits for the requests under way
}

// Close ends every stream, waits at most a second for requests under way, and
// removes the socket. It may be called more than once.
func (s *Server) Close() error {
	s.closing.Do(func() {
		s.stop()
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.http.Close() // a peer that does not read: cut it off
		}
		s.closeErr = s.socket.close()
	})
	return s.closeErr
}

// RunningError says that the instance's daemon lives.
type RunningError struct {
	Instance string
	PID      int // 0 where the kernel does not tell
}

func (e *RunningError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("instance %s is already running: stop it first, or give this one another name", e.Instance)
	}
	return fmt.Sprintf("instance %s is already running (pid %d): stop it first, or give this one another name", e.Instance, e.PID)
}
