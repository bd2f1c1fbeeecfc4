package router

import (
	"errors"
	"fmt"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/pkg/dhcp/client"
)

// DHCP are the rows of `show dhcp`.
func (r *Router) DHCP() (rows []api.DHCP) { return nil }

// Leases is a page of `show dhcp leases`. The cursor is the address that the page begins with.
func (r *Router) Leases(api.LeaseQuery) (page api.LeasePage, err error) { return page, nil }

// noDHCPServer refuses what only a server of DHCP can do.
func noDHCPServer() error {
	return &api.Error{Code: api.Conflict, Message: "no DHCP server is configured: a section `dhcp:` starts it"}
}

// DeleteLease forgets the lease of an address.
func (r *Router) DeleteLease(api.Peer, string) error { return noDHCPServer() }

// FlushLeases forgets the leases that match, and tells how many.
func (r *Router) FlushLeases(api.Peer, api.LeaseFlush) (int, error) { return 0, noDHCPServer() }

// ImportLeases takes the leases of a file that dnsmasq wrote.
func (r *Router) ImportLeases(api.Peer, string) (done api.LeaseImport, err error) {
	return done, noDHCPServer()
}

// noDHCPClient refuses what only a port with a DHCP client can do.
func noDHCPClient(port string) error {
	return &api.Error{Code: api.Conflict, Message: fmt.Sprintf("port %s does not get its address by DHCP: `address: dhcp` makes it", port)}
}

// DHCPRelease gives a port's address back to its server.
func (r *Router) DHCPRelease(_ api.Peer, port string) error {
	return r.tellClient(port, client.Release{})
}

// DHCPRenew asks for a port's address anew at once.
func (r *Router) DHCPRenew(_ api.Peer, port string) error {
	return r.tellClient(port, client.Renew{})
}

func (r *Router) tellClient(port string, e client.Event) (err error) {
	stopped := r.do(func() {
		switch p := r.ports[port]; {
		case p == nil:
			err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q; the ports are %s", port, r.portNames())}
		case p.client == nil:
			err = noDHCPClient(port)
		default:
			r.clientStep(time.Now(), p, e)
		}
	})
	return errors.Join(stopped, err)
}
