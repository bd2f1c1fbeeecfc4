package controltest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vrouterd/internal/control/api"
)

// natRules, sessions and natMappings are those of a home network: lan and core are inside, wan
// is outside with 192.0.2.1, and port 80 there is a web server inside.
func natRules() []api.NATRule {
	return []api.NATRule{
		{Kind: "rule", Name: "guests", Type: "none", Port: "wan", Match: "source 10.1.1.0/24", Line: 12},
		{Kind: "rule", Type: "masquerade", Port: "wan", Match: "any source", Outside: []string{"192.0.2.1"}, Filtering: "endpoint_independent", Sessions: 4, Mappings: 3, Created: 123456, Line: 13},
		{Kind: "forward", Name: "web", Type: "forward", Port: "wan", Match: "tcp port 80", Outside: []string{"192.0.2.1"}, To: "10.1.0.5:8080", Sessions: 1, Created: 77, Line: 16},
		{Kind: "pcp", Type: "forward", Port: "wan", Match: "udp port 3074", Outside: []string{"192.0.2.1"}, To: "10.1.0.9:3074", Created: 2},
	}
}

func sessions() []api.Session {
	const masquerade, web = "masquerade out wan", "forward web"
	return []api.Session{
		{Protocol: "tcp", Inside: "10.1.0.2:40000", Outside: "192.0.2.1:40000", Remote: "203.0.113.7:443", State: "established", Direction: "out", InPort: "lan", OutPort: "wan",
			IdleSeconds: 3.5, ExpiresSeconds: 7436.5, PacketsOut: 1200, BytesOut: 98000, PacketsIn: 2400, BytesIn: 3456000, NAT: masquerade},
		{Protocol: "udp", Inside: "10.1.0.2:5353", Outside: "192.0.2.1:5353", Remote: "198.51.100.53:53", State: "replied", Direction: "out", InPort: "lan", OutPort: "wan",
			IdleSeconds: 12, ExpiresSeconds: 288, PacketsOut: 1, BytesOut: 61, PacketsIn: 1, BytesIn: 93, NAT: masquerade},
		{Protocol: "tcp", Inside: "10.1.0.5:8080", Outside: "192.0.2.1:80", Remote: "203.0.113.99:51234", State: "syn_received", Direction: "in", InPort: "wan", OutPort: "lan",
			IdleSeconds: 0.2, ExpiresSeconds: 239.8, PacketsOut: 1, BytesOut: 60, PacketsIn: 2, BytesIn: 112, NAT: web},
		{Protocol: "icmp", Inside: "10.1.0.9:7", Outside: "192.0.2.1:7", Remote: "203.0.113.7:7", State: "replied", Direction: "out", InPort: "lan", OutPort: "wan",
			IdleSeconds: 1, ExpiresSeconds: 59, PacketsOut: 5, BytesOut: 420, PacketsIn: 5, BytesIn: 420, NAT: masquerade},
		{Protocol: "47", Inside: "10.1.0.9", Outside: "192.0.2.1", Remote: "203.0.113.8", State: "unreplied", Direction: "out", InPort: "lan", OutPort: "wan",
			IdleSeconds: 30, ExpiresSeconds: 570, PacketsOut: 3, BytesOut: 264, NAT: masquerade},
		{Protocol: "tcp", Inside: "10.1.0.2:40001", Outside: "10.1.0.2:40001", Remote: "10.0.0.2:22", State: "established", Direction: "out", InPort: "lan", OutPort: "core",
			IdleSeconds: 61, ExpiresSeconds: 7379, PacketsOut: 40, BytesOut: 4000, PacketsIn: 38, BytesIn: 5100, Rule: "ssh"},
	}
}

// manySession is one of the Many.
func manySession(i int) api.Session {
	host := fmt.Sprintf("10.2.%d.%d:%d", i>>8&0xff, i&0xff, 1024+i>>16)
	return api.Session{Protocol: "udp", Inside: host, Outside: fmt.Sprintf("192.0.2.1:%d", 1024+i%64000), Remote: "198.51.100.53:53", State: "replied", Direction: "out",
		InPort: "lan", OutPort: "wan", IdleSeconds: float64(i % 300), ExpiresSeconds: float64(300 - i%300), PacketsOut: 1, BytesOut: 61, PacketsIn: 1, BytesIn: uint64(90 + i%100), NAT: "masquerade out wan"}
}

func natMappings() []api.NATMapping {
	return []api.NATMapping{
		{Protocol: "tcp", Inside: "10.1.0.2:40000", Outside: "192.0.2.1:40000", By: "traffic", Rule: "masquerade out wan", Filtering: "endpoint_independent", Sessions: 1},
		{Protocol: "udp", Inside: "10.1.0.2:5353", Outside: "192.0.2.1:5353", By: "traffic", Rule: "masquerade out wan", Filtering: "endpoint_independent", Sessions: 1},
		{Protocol: "icmp", Inside: "10.1.0.9:7", Outside: "192.0.2.1:7", By: "traffic", Rule: "masquerade out wan", Filtering: "endpoint_independent", Sessions: 1},
		{Protocol: "udp", Inside: "10.1.0.9:3074", Outside: "192.0.2.1:3074", Remote: "203.0.113.40", By: "pcp", Owner: "console", Rule: "masquerade out wan", Filtering: "endpoint_independent", ExpiresSeconds: 3512},
	}
}

func (f *Fake) NATRules() []api.NATRule { return table(f, f.natRules) }

// part of n rows from the query's cursor on: those that match. The cursor is the number of the row.
func part[T any](q api.SessionQuery, n int, row func(int) T, match func(T) bool) (rows []T, next string, err error) {
	at := 0
	if q.Cursor != "" {
		if at, err = strconv.Atoi(q.Cursor); err != nil || at < 0 {
			return nil, "", &api.Error{Code: api.Usage, Message: fmt.Sprintf("cursor=%.40q: no page has told it", q.Cursor)}
		}
	}
	for ; at < n; at++ {
		r := row(at)
		if !match(r) {
			continue
		}
		if len(rows) == q.Limit {
			return rows, strconv.Itoa(at), nil
		}
		rows = append(rows, r)
	}
	return rows, "", nil
}

// asked tells whether something of this protocol with these ends is what the query asks for.
func asked(q api.SessionQuery, protocol string, ends ...string) bool {
	if q.Protocol != "" && q.Protocol != protocol {
		return false
	}
	address, port := q.Address == "", q.Port == 0
	for _, end := range ends {
		host, number, _ := strings.Cut(end, ":")
		address = address || host == q.Address
		port = port || number == strconv.Itoa(q.Port)
	}
	return address && port
}

// Sessions are the few, and then as many more as Many.
func (f *Fake) Sessions(q api.SessionQuery) (p api.SessionPage, err error) {
	few := table(f, f.sessions)
	p.Total = len(few) + f.Many
	p.Sessions, p.Next, err = part(q, p.Total, func(i int) api.Session {
		if i < len(few) {
			return few[i]
		}
		return manySession(i - len(few))
	}, func(s api.Session) bool {
		return asked(q, s.Protocol, s.Inside, s.Outside, s.Remote) && (!q.NATOnly || s.NAT != "")
	})
	return p, err
}

func (f *Fake) NATMappings(q api.SessionQuery) (p api.MappingPage, err error) {
	all := table(f, f.mappings)
	p.Total = len(all)
	p.Mappings, p.Next, err = part(q, len(all), func(i int) api.NATMapping { return all[i] }, func(m api.NATMapping) bool {
		return asked(q, m.Protocol, m.Inside, m.Outside, m.Remote)
	})
	return p, err
}

// notConfigured is the refusal of a Fake that is Empty.
func notConfigured(what, key string) error {
	return &api.Error{Code: api.Conflict, Message: fmt.Sprintf("%s is not configured: a section `%s:` starts it", what, key)}
}

// FlushSessions ends the few that match; the many stay.
func (f *Fake) FlushSessions(_ api.Peer, which api.NATFlush) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Empty {
		return 0, notConfigured("NAT", "nat")
	}
	before := len(f.sessions)
	f.sessions = slices.DeleteFunc(f.sessions, func(s api.Session) bool {
		return asked(api.SessionQuery{Address: which.Address, Port: which.Port, Protocol: which.Protocol}, s.Protocol, s.Inside, s.Outside, s.Remote)
	})
	return before - len(f.sessions), nil
}

// forward finds the forward that is meant.
func (f *Fake) forward(s api.ForwardSpec) int {
	return slices.IndexFunc(f.natRules, func(r api.NATRule) bool {
		return r.Kind == "forward" && r.Port == s.In && r.Match == s.Protocol+" port "+s.Port && (s.To == "" || s.To == r.To) && (s.Name == "" || s.Name == r.Name)
	})
}

func (f *Fake) AddForward(_ api.Peer, s api.ForwardSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.Empty:
		return notConfigured("NAT", "nat")
	case !slices.ContainsFunc(f.ports, func(p api.Port) bool { return p.Name == s.In }):
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q", s.In)}
	case f.forward(api.ForwardSpec{In: s.In, Protocol: s.Protocol, Port: s.Port}) >= 0:
		return &api.Error{Code: api.Conflict, Message: fmt.Sprintf("%s port %s of %s is forwarded already: delete that forward first", s.Protocol, s.Port, s.In)}
	}
	f.natRules = append(f.natRules, api.NATRule{Kind: "forward", Name: s.Name, Type: "forward", Port: s.In, Match: s.Protocol + " port " + s.Port, Outside: []string{"192.0.2.1"}, To: s.To})
	return nil
}

func (f *Fake) DeleteForward(_ api.Peer, s api.ForwardSpec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Empty {
		return notConfigured("NAT", "nat")
	}
	i := f.forward(s)
	if i < 0 {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no forward of %s port %s of %s", s.Protocol, s.Port, s.In)}
	}
	f.natRules = slices.Delete(f.natRules, i, i+1)
	return nil
}
