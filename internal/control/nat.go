package control

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"vrouterd/internal/control/api"
)

// Rows of a page of sessions or mappings, when the client does not say and at the most. A
// million sessions are read in pages, so that neither end ever holds them all.
const (
	pageRows    = 1000
	maxPageRows = 10000
)

// natEndpoints are sessions and NAT. Sessions tell who speaks with whom, as a capture does:
// they are for operators.
func (s *Server) natEndpoints() []endpoint {
	b := s.backend
	return []endpoint{
		{http.MethodGet, "/v1/nat", reads, nil, func(c *call) error {
			all := b.NATRules()
			for i := range all {
				all[i].Outside = filled(all[i].Outside)
			}
			return rows(c, all)
		}},
		{http.MethodGet, "/v1/nat/sessions", inspects, sessionQuery, func(c *call) error { return c.sessions(true) }},
		{http.MethodGet, "/v1/nat/mappings", inspects, sessionQuery, natMappings},
		{http.MethodGet, "/v1/sessions", inspects, sessionQuery, func(c *call) error { return c.sessions(false) }},
		{http.MethodPost, "/v1/nat/flush", operates, nil, flushSessions},
		{http.MethodPost, "/v1/nat/forwards", operates, nil, addForward},
		{http.MethodDelete, "/v1/nat/forwards", operates, []string{"in", "protocol", "port", "to", "name"}, deleteForward},
	}
}

var sessionQuery = []string{"address", "port", "protocol", "limit", "cursor"}

// selection is which sessions or mappings the client wants, and which page of them.
func (c *call) selection() (q api.SessionQuery, err error) {
	v := c.request.URL.Query()
	q = api.SessionQuery{Address: v.Get("address"), Cursor: v.Get("cursor")}
	if q.Port, err = c.queryInt("port", 0, 1<<16-1); err != nil {
		return q, err
	}
	if q.Limit, err = c.queryInt("limit", 1, maxPageRows); err != nil {
		return q, err
	}
	if q.Limit == 0 {
		q.Limit = pageRows
	}
	if q.Address != "" {
		if err := address("address", q.Address); err != nil {
			return q, err
		}
	}
	q.Protocol, err = protocol(v.Get("protocol"))
	return q, err
}

// protocol as the Backend takes it: a name where there is one, else a number.
func protocol(s string) (string, error) {
	switch name := strings.ToLower(s); name {
	case "", "icmp", "tcp", "udp":
		return name, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return "", usage("protocol: %.40q is not one of tcp, udp, icmp and the numbers from 0 to 255", s)
	}
	switch n {
	case 1:
		return "icmp", nil
	case 6:
		return "tcp", nil
	case 17:
		return "udp", nil
	}
	return strconv.FormatUint(n, 10), nil
}

func (c *call) sessions(natOnly bool) error {
	q, err := c.selection()
	if err != nil {
		return err
	}
	q.NATOnly = natOnly
	p, err := c.backend.Sessions(q)
	if err != nil {
		return err
	}
	return page(c, "sessions", p.Sessions, p.Total, p.Next)
}

func natMappings(c *call) error {
	q, err := c.selection()
	if err != nil {
		return err
	}
	p, err := c.backend.NATMappings(q)
	if err != nil {
		return err
	}
	return page(c, "mappings", p.Mappings, p.Total, p.Next)
}

// page answers with a part of a table, encoded a row at a time, a row a line.
func page[T any](c *call, key string, part []T, total int, next string) error {
	c.Header().Set("Content-Type", "application/json")
	w := bufio.NewWriterSize(c, 32<<10)
	w.WriteString(`{"` + key + `":[`)
	for i := range part {
		if i > 0 {
			w.WriteString(",\n")
		}
		row, err := json.Marshal(&part[i])
		if err != nil {
			return err
		}
		w.Write(row)
	}
	cursor, err := json.Marshal(next)
	if err != nil {
		return err
	}
	w.WriteString(`],"total":` + strconv.Itoa(total) + `,"next":`)
	w.Write(cursor)
	w.WriteString("}\n")
	return w.Flush()
}

func flushSessions(c *call) error {
	var f api.NATFlush
	err := c.decode(&f)
	if err != nil {
		return err
	}
	if f.Address != "" {
		if err := address("address", f.Address); err != nil {
			return err
		}
	}
	if err := within("port", f.Port, 0, 1<<16-1); err != nil {
		return err
	}
	if f.Protocol, err = protocol(f.Protocol); err != nil {
		return err
	}
	n, err := c.backend.FlushSessions(c.peer.Peer, f)
	if err != nil {
		return err
	}
	return c.object(api.SessionsFlushed{Sessions: n})
}

func addForward(c *call) error {
	var f api.ForwardSpec
	if err := c.decode(&f); err != nil {
		return err
	}
	if f.To == "" {
		return usage("to: the inside address is wanted, like 192.168.1.5 or 192.168.1.5:8080")
	}
	if err := checkForward(&f); err != nil {
		return err
	}
	if err := c.backend.AddForward(c.peer.Peer, f); err != nil {
		return err
	}
	return c.done()
}

func deleteForward(c *call) error {
	q := c.request.URL.Query()
	f := api.ForwardSpec{In: q.Get("in"), Protocol: q.Get("protocol"), Port: q.Get("port"), To: q.Get("to"), Name: q.Get("name")}
	if err := checkForward(&f); err != nil {
		return err
	}
	if err := c.backend.DeleteForward(c.peer.Peer, f); err != nil {
		return err
	}
	return c.done()
}

// checkForward holds the shape of a forward; whether its port exists and the ports are
// free is the daemon's to say.
func checkForward(f *api.ForwardSpec) error {
	if f.In == "" {
		return usage("in: the name of the outside port is wanted")
	}
	name, err := protocol(f.Protocol)
	if err != nil || name != "tcp" && name != "udp" {
		return usage("protocol: %.40q: tcp or udp is wanted", f.Protocol)
	}
	f.Protocol = name
	if err := portRange(f.Port); err != nil || f.To == "" {
		return err
	}
	if to, err := netip.ParseAddr(f.To); err == nil && to.Is4() {
		return nil
	}
	if to, err := netip.ParseAddrPort(f.To); err != nil || !to.Addr().Is4() || to.Port() == 0 {
		return usage("to: %.60q is not an inside address like 192.168.1.5 or 192.168.1.5:8080", f.To)
	}
	return nil
}

// portRange checks that s is like 80 or 8000-8010.
func portRange(s string) error {
	low, high, ranges := strings.Cut(s, "-")
	a, err := strconv.ParseUint(low, 10, 16)
	b := a
	if ranges && err == nil {
		b, err = strconv.ParseUint(high, 10, 16)
	}
	if err != nil || a == 0 {
		return usage("port: %.40q: a port from 1 to 65535 or a range like 8000-8010 is wanted", s)
	}
	if b < a {
		return usage("port: %s runs backwards: write %d-%d", s, b, a)
	}
	return nil
}
