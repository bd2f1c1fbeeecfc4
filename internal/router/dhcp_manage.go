package router

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/leases"
	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp/client"
	"vrouterd/pkg/dhcp/server"
)

// What the operator does to leases.

// noDHCPServer refuses what only a server of DHCP can do.
func (r *Router) noDHCPServer() error {
	if why := r.dhcp.failing; why != "" {
		return &api.Error{Code: api.Conflict, Message: "the DHCP server has not started: " + why}
	}
	return &api.Error{Code: api.Conflict, Message: "no DHCP server is configured: a section `dhcp:` starts it"}
}

// DeleteLease forgets the lease of an address.
func (r *Router) DeleteLease(_ api.Peer, address string) (err error) {
	a, err := parseAddress(address)
	if err != nil {
		return err
	}
	stopped := r.do(func() {
		d := &r.dhcp
		if d.server == nil {
			err = r.noDHCPServer()
			return
		}
		if _, there := d.server.Lookup(packet.AddrFrom(a)); !there {
			err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("%v has no lease; `vrctl show dhcp leases` lists them", a)}
			return
		}
		r.serverStep(time.Now(), server.Delete{Addr: packet.AddrFrom(a)})
	})
	return errors.Join(stopped, err)
}

// FlushLeases forgets the leases that match, and tells how many.
func (r *Router) FlushLeases(_ api.Peer, which api.LeaseFlush) (n int, err error) {
	state, ok := server.ParseState(which.State)
	if which.State != "" && !ok {
		return 0, &api.Error{Code: api.Usage, Message: fmt.Sprintf("%q is no state of a lease", which.State)}
	}
	stopped := r.do(func() {
		d := &r.dhcp
		if d.server == nil {
			err = r.noDHCPServer()
			return
		}
		known := func(s config.DHCPSubnet) bool { return s.Name == which.Subnet }
		if which.Subnet != "" && (r.config.DHCP == nil || !slices.ContainsFunc(r.config.DHCP.Subnets, known)) {
			err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no network %q under dhcp", which.Subnet)}
			return
		}
		now := time.Now()
		for _, l := range d.server.Leases(now) {
			if (which.Subnet == "" || l.Subnet == which.Subnet) && (which.State == "" || l.State == state) {
				n++
			}
		}
		r.serverStep(now, server.DeleteAll{Subnet: which.Subnet, State: state})
	})
	return n, errors.Join(stopped, err)
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

// idle refuses what a client cannot do while its port is down.
func idle(p *portState, e client.Event) error {
	if _, renew := e.(client.Renew); !renew || p.client.machine.State() != client.Down {
		return nil
	}
	word, _ := p.state()
	return &api.Error{Code: api.Conflict, Message: fmt.Sprintf("port %s is %s: its address is asked for when it is up", p.cfg.Name, word)}
}

func (r *Router) tellClient(port string, e client.Event) (err error) {
	stopped := r.do(func() {
		switch p := r.ports[port]; {
		case p == nil:
			err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q; the ports are %s", port, r.portNames())}
		case p.client == nil:
			err = noDHCPClient(port)
		case idle(p, e) != nil:
			err = idle(p, e)
		default:
			if p.client.machine.State() == client.Released { // why there was no address counts no more
				p.client.reason = ""
			}
			r.clientStep(time.Now(), p, e)
		}
	})
	return errors.Join(stopped, err)
}

// ImportLeases takes the leases of a file that dnsmasq wrote.
func (r *Router) ImportLeases(_ api.Peer, text string) (done api.LeaseImport, err error) {
	list, skipped, err := leases.ParseDnsmasq(text) // long texts are not to hold up the loop
	if err != nil {
		return done, usage(err)
	}
	stopped := r.do(func() {
		d := &r.dhcp
		if d.server == nil {
			err = r.noDHCPServer()
			return
		}
		d.refused = nil
		r.serverStep(time.Now(), server.Import{Leases: list})
		done = api.LeaseImport{Imported: len(list) - len(d.refused), Skipped: skipped, Refused: len(d.refused)}
		done.Refusals = d.refused[:min(len(d.refused), mostRefusals)]
		d.refused = nil
	})
	return done, errors.Join(stopped, err)
}

// mostRefusals is how many refusals of an import are told.
const mostRefusals = 100
