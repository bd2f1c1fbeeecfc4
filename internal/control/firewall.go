package control

import (
	"net/http"
	"strings"
	"time"

	"vrouterd/internal/control/api"
)

// firewallEndpoints are the firewall and its sets, and the packet that does not exist.
func (s *Server) firewallEndpoints() []endpoint {
	b := s.backend
	return []endpoint{
		{http.MethodGet, "/v1/firewall", reads, nil, func(c *call) error { return rows(c, b.FirewallRules()) }},
		{http.MethodGet, "/v1/firewall/sets", reads, nil, func(c *call) error { return rows(c, b.FirewallSets()) }},
		{http.MethodGet, "/v1/firewall/sets/{name}", reads, nil, setMembers},
		{http.MethodPost, "/v1/firewall/members", operates, nil, addMember},
		{http.MethodDelete, "/v1/firewall/members", operates, []string{"set", "address"}, deleteMember},
		{http.MethodPost, "/v1/explain", inspects, nil, explain},
	}
}

func setMembers(c *call) error {
	all, err := c.backend.SetMembers(c.parameter)
	if err != nil {
		return err
	}
	return rows(c, all)
}

func addMember(c *call) error {
	var m api.SetChange
	if err := c.decode(&m); err != nil {
		return err
	}
	if m.For != 0 {
		if err := spanning("for", m.For, time.Second, 366*24*time.Hour); err != nil {
			return err
		}
	}
	return c.changeSet(m, true)
}

func deleteMember(c *call) error {
	q := c.request.URL.Query()
	return c.changeSet(api.SetChange{Set: q.Get("set"), Address: q.Get("address")}, false)
}

func (c *call) changeSet(m api.SetChange, add bool) error {
	if m.Set == "" {
		return usage("set: the name of a set of the firewall is wanted")
	}
	if err := address("address", m.Address); err != nil {
		return err
	}
	if err := c.backend.ChangeSet(c.peer.Peer, m, add); err != nil {
		return err
	}
	return c.done()
}

func explain(c *call) error {
	r := api.ExplainRequest{ICMPType: echoRequest}
	if err := c.decode(&r); err != nil {
		return err
	}
	if err := completeExplain(&r); err != nil {
		return err
	}
	e, err := c.backend.Explain(r)
	if err != nil {
		return err
	}
	e.Steps = filled(e.Steps)
	return c.object(e)
}

// Defaults of a packet that does not exist: a TCP client's first segment, or a ping.
const (
	explainPort       = 49152 // the first dynamic port (RFC 6335 section 6)
	explainIdentifier = 1
	explainTTL        = 64
	echoRequest       = 8
)

// completeExplain checks the packet and fills in what was left out.
func completeExplain(r *api.ExplainRequest) (err error) {
	if r.In == "" {
		return usage("in: the name of the port of arrival is wanted")
	}
	if err := first(address("src", r.Src), address("dst", r.Dst)); err != nil {
		return err
	}
	if r.Protocol, err = protocol(r.Protocol); err != nil {
		return err
	}
	if r.Protocol == "" {
		r.Protocol = "icmp"
	}
	if r.TTL == 0 {
		r.TTL = explainTTL
	}
	headers, err := completeTransport(r)
	if err != nil {
		return err
	}
	if r.Length == 0 {
		r.Length = headers
	}
	return first(
		within("ttl", r.TTL, 1, 255),
		within("length", r.Length, headers, 1<<16-1),
	)
}

// completeTransport does so above IP, and tells how long the packet's headers are.
func completeTransport(r *api.ExplainRequest) (headers int, err error) {
	if r.TCPFlags != "" && r.Protocol != "tcp" {
		return 0, usage("flags: only tcp has them, and this is %s", r.Protocol)
	}
	switch r.Protocol {
	case "icmp":
		if r.DstPort != 0 {
			return 0, usage("dport: icmp has no ports; sport is its identifier")
		}
		if r.SrcPort == 0 {
			r.SrcPort = explainIdentifier
		}
		headers = 28
		if r.ICMPType == 13 || r.ICMPType == 14 { // timestamps (RFC 792)
			headers += 12
		}
		err = within("icmp_type", r.ICMPType, 0, 255)
	case "tcp", "udp":
		if r.DstPort == 0 {
			return 0, usage("dport: the port of the destination is wanted, as this is %s", r.Protocol)
		}
		if r.SrcPort == 0 {
			r.SrcPort = explainPort
		}
		headers = 28
		if r.Protocol == "tcp" {
			headers, err = 40, completeFlags(r)
		}
	default:
		if r.SrcPort != 0 || r.DstPort != 0 {
			return 0, usage("sport, dport: protocol %s has no ports", r.Protocol)
		}
		headers = 20
	}
	return headers, first(err, within("sport", r.SrcPort, 0, 1<<16-1), within("dport", r.DstPort, 0, 1<<16-1))
}

func completeFlags(r *api.ExplainRequest) error {
	if r.TCPFlags == "" {
		r.TCPFlags = "S"
	}
	if r.TCPFlags == "none" {
		return nil
	}
	flags := strings.ReplaceAll(strings.ToUpper(r.TCPFlags), ".", "A") // as tcpdump writes ACK
	if strings.Trim(flags, "FSRPAUEW") != "" {
		return usage("flags: %.20q: letters of FSRPAUEW are wanted, like S or SA, or none", r.TCPFlags)
	}
	r.TCPFlags = flags
	return nil
}
