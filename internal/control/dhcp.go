package control

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"vrouterd/internal/control/api"
)

// dhcpEndpoints are the tables of DHCP, and what changes them.
func (s *Server) dhcpEndpoints() []endpoint {
	b := s.backend
	return []endpoint{
		{http.MethodGet, "/v1/dhcp", reads, nil, func(c *call) error {
			all := b.DHCP()
			for i := range all {
				r := &all[i]
				r.Ranges, r.Servers, r.DNS = filled(r.Ranges), filled(r.Servers), filled(r.DNS)
				r.Messages, r.Refusals = filled(r.Messages), filled(r.Refusals)
			}
			return rows(c, all)
		}},
		{http.MethodGet, "/v1/dhcp/leases", reads, []string{"address", "mac", "hostname", "port", "subnet", "state", "limit", "cursor"}, leases},
		{http.MethodDelete, "/v1/dhcp/leases", operates, []string{"address"}, deleteLease},
		{http.MethodPost, "/v1/dhcp/leases/flush", operates, nil, flushLeases},
		{http.MethodPost, "/v1/dhcp/import", operates, nil, importLeases},
		{http.MethodPost, "/v1/dhcp/release", operates, nil, func(c *call) error { return onClient(c, b.DHCPRelease) }},
		{http.MethodPost, "/v1/dhcp/renew", operates, nil, func(c *call) error { return onClient(c, b.DHCPRenew) }},
	}
}

// leaseStates are those that a client may ask for.
var leaseStates = []string{"offered", "bound", "released", "expired", "declined"}

func leaseState(state string) error {
	if state != "" && !slices.Contains(leaseStates, state) {
		return usage("state: %.40q is not one of %s", state, strings.Join(leaseStates, ", "))
	}
	return nil
}

func leases(c *call) error {
	v := c.request.URL.Query()
	q := api.LeaseQuery{
		Address: v.Get("address"), MAC: strings.ToLower(v.Get("mac")), Hostname: strings.ToLower(v.Get("hostname")),
		Port: v.Get("port"), Subnet: v.Get("subnet"), State: v.Get("state"), Cursor: v.Get("cursor"),
	}
	var err error
	if q.Limit, err = c.pageLimit(); err != nil {
		return err
	}
	if strings.Contains(q.Address, "/") {
		err = prefix("address", q.Address)
	} else if q.Address != "" {
		err = address("address", q.Address)
	}
	if err = first(err, leaseState(q.State), cursor(q.Cursor)); err != nil {
		return err
	}
	if q.MAC != "" {
		if err := hardware(q.MAC); err != nil {
			return err
		}
	}
	p, err := c.backend.Leases(q)
	if err != nil {
		return err
	}
	return page(c, "leases", p.Leases, p.Total, p.Next)
}

// cursor of the leases is the address that the page begins with.
func cursor(text string) error {
	if a, err := netip.ParseAddr(text); text != "" && (err != nil || !a.Is4()) {
		return usage("cursor=%.40q: no page has told it", text)
	}
	return nil
}

// pageLimit is how many rows the client wants in a page.
func (c *call) pageLimit() (int, error) {
	n, err := c.queryInt("limit", 1, maxPageRows)
	if n == 0 {
		n = pageRows
	}
	return n, err
}

func deleteLease(c *call) error {
	which := c.request.URL.Query().Get("address")
	if err := address("address", which); err != nil {
		return err
	}
	if err := c.backend.DeleteLease(c.peer.Peer, which); err != nil {
		return err
	}
	return c.done()
}

func flushLeases(c *call) error {
	var which api.LeaseFlush
	if err := c.decode(&which); err != nil {
		return err
	}
	if err := leaseState(which.State); err != nil {
		return err
	}
	n, err := c.backend.FlushLeases(c.peer.Peer, which)
	if err != nil {
		return err
	}
	return c.object(api.LeasesFlushed{Leases: n})
}

func importLeases(c *call) error {
	text, err := c.text("the file of leases")
	if err != nil {
		return err
	}
	done, err := c.backend.ImportLeases(c.peer.Peer, text)
	if err != nil {
		return err
	}
	done.Refusals = filled(done.Refusals)
	return c.object(done)
}

// onClient does something to the DHCP client of a port.
func onClient(c *call, do func(api.Peer, string) error) error {
	var which api.DHCPPort
	if err := c.decode(&which); err != nil {
		return err
	}
	if which.Port == "" {
		return usage("port: the name of a port with `address: dhcp` is wanted")
	}
	if err := do(c.peer.Peer, which.Port); err != nil {
		return err
	}
	return c.done()
}
