package igd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of the HTTP side.
const (
	maxConnections = 64
	maxPerHost     = 8
	maxHeader      = 8 << 10 // octets
	requestTime    = 10 * time.Second
	idleTime       = 15 * time.Second
)

// Serve answers connections until ctx ends, which closes the listener and all of them; it then returns nil. Those of strangers, and
// too many, are closed at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), ReadTimeout: requestTime, WriteTimeout: requestTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // what clients do wrong is counted
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var ending sync.WaitGroup
	ending.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer ending.Done()
		// What it could say is that the listener was closed already.
		_ = server.Close()
	})
	err := server.Serve(&gate{Listener: l, server: s, hosts: map[netip.Addr]int{}})
	if stop() {
		ending.Done()
		_ = server.Close()
	}
	ending.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("igd: serving %v: %w", l.Addr(), err)
}

// gate is a listener that lets in whom it may and as many as it may.
type gate struct {
	net.Listener
	server *Server

	mu    sync.Mutex
	hosts map[netip.Addr]int // connections
	total int
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, ok := address(c.RemoteAddr())
		switch {
		case !ok || !g.server.config.Load().permits(peer.Addr()):
			g.server.count.strangers.Add(1)
		case !g.enter(peer.Addr()):
			g.server.count.crowded.Add(1)
		default:
			return &visit{Conn: c, leave: sync.OnceFunc(func() { g.leave(peer.Addr()) })}, nil
		}
		// It was not answered: nothing is lost with it.
		_ = c.Close()
	}
}

func (g *gate) enter(host netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= maxConnections || g.hosts[host] >= maxPerHost {
		return false
	}
	g.total++
	g.hosts[host]++
	return true
}

func (g *gate) leave(host netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if g.hosts[host]--; g.hosts[host] == 0 {
		delete(g.hosts, host)
	}
}

// visit is a connection that is counted.
type visit struct {
	net.Conn
	leave func()
}

func (v *visit) Close() error {
	v.leave()
	return v.Conn.Close()
}

func address(a net.Addr) (netip.AddrPort, bool) {
	if a == nil {
		return netip.AddrPort{}, false
	}
	at, err := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), err == nil
}

// Handler is the HTTP side. It needs requests of a real server, in whose context the local address is. [Server.Serve] adds bounds of time and
// number around it.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.handle) }

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", s.product())
	config := *s.config.Load()
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !config.permits(peer.Addr().Unmap()) {
		s.count.strangers.Add(1)
		refuse(w, http.StatusForbidden)
		return
	}
	if !ownName(r) {
		s.count.wrongHost.Add(1)
		refuse(w, http.StatusForbidden)
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, controlPath); ok && s.services[name] != nil {
		s.control(w, r, config, peer.Addr().Unmap(), s.services[name])
		return
	}
	status := http.StatusNotFound
	if name, ok := strings.CutPrefix(r.URL.Path, eventPath); ok && s.services[name] != nil {
		status = http.StatusNotImplemented // there are no events: the package says why
	}
	if file, ok := s.files[r.URL.Path]; ok {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			s.count.documents.Add(1)
			reply(w, r, http.StatusOK, file)
			return
		}
		w.Header().Set("Allow", "GET, HEAD")
		status = http.StatusMethodNotAllowed
	}
	s.count.badRequests.Add(1)
	refuse(w, status)
}

// ownName reports that a request names the very address and port on which it came in.
func ownName(r *http.Request) bool {
	a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	local, ok := address(a)
	if !ok {
		return false
	}
	named, err := netip.ParseAddrPort(r.Host)
	if err != nil {
		bare, err := netip.ParseAddr(r.Host)
		if err != nil {
			return false
		}
		named = netip.AddrPortFrom(bare, 80)
	}
	return named == local
}

// control answers a SOAP request (UDA section 3.1).
func (s *Server) control(w http.ResponseWriter, r *http.Request, config Config, peer netip.Addr, v *service) {
	bad := func(status int) {
		s.count.badRequests.Add(1)
		refuse(w, status)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		bad(http.StatusMethodNotAllowed)
		return
	}
	header := strings.Trim(strings.TrimSpace(r.Header.Get("SOAPACTION")), `"`)
	if header == "" || r.Header.Get("Origin") != "" {
		bad(http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		bad(http.StatusRequestEntityTooLarge)
		return
	}
	m, err := parseCall(body)
	if err != nil {
		bad(http.StatusBadRequest)
		return
	}
	values, a, err := s.do(r.Context(), config, peer, v, m, header)
	if err != nil {
		s.count.faults.Add(1)
		reply(w, r, http.StatusInternalServerError, fault(codeOf(err)))
		return
	}
	s.count.actions.Add(1)
	reply(w, r, http.StatusOK, answer(m, a, values))
}

// do has the action done that header and body agree on.
func (s *Server) do(ctx context.Context, config Config, peer netip.Addr, v *service, m message, header string) ([]string, *action, error) {
	tree := 0
	for t := 1; t <= v.version; t++ {
		if m.service == v.serviceType(t) {
			tree = t
		}
	}
	a := v.find(m.action, tree)
	if tree == 0 || a == nil || header != m.service+"#"+m.action {
		return nil, nil, InvalidAction
	}
	in, err := v.decode(a, m.args)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime/2)
	defer cancel()
	values, err := a.do(&call{server: s, config: config, ctx: ctx, peer: peer, tree: tree, in: in})
	return values, a, err
}

func reply(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Type", `text/xml; charset="utf-8"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("EXT", "")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// Who has gone does not get it.
		_, _ = w.Write(body)
	}
}

func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}
