package router

import (
	"fmt"
	"net/netip"
	"time"

	"vrouterd/pkg/dhcp/client"
)

// A lease may bring the network of another port: a router at home behind the provider's, both with 192.168.1.0/24. The configuration refuses
// two ports with one network, since nobody could tell where an address of it is, and so does the router with a lease: what is inside goes on.

// overlapping is another port with a network that overlaps one; nil: there is none.
func (r *Router) overlapping(p *portState, network netip.Prefix) (other *portState, its netip.Prefix) {
	for _, q := range r.inOrder() {
		if q == p {
			continue
		}
		for _, own := range q.addresses() {
			if own.Overlaps(network) {
				return q, own.Masked()
			}
		}
	}
	return nil, netip.Prefix{}
}

// unfit reports a lease that cannot be used, and tells why. It is kept for when it can.
func (r *Router) unfit(now time.Time, p *portState, lease *client.Lease) bool {
	c := p.client
	other, network := r.overlapping(p, lease.Addr)
	if other == nil {
		c.unfit = nil
		return false
	}
	why := fmt.Sprintf("the DHCP server %v gives %v, which overlaps %v of port %s: give one of the two another network", lease.Server, lease.Addr, network, other.cfg.Name)
	told := c.unfit != nil && c.reason == why
	c.unfit, c.reason = lease, why
	switch {
	case c.lease != nil:
		r.dropLease(now, p)
	case !told:
		r.event("dhcp_client_overlap", p.cfg.Name, fmt.Sprintf("port %s has no address: %s", p.cfg.Name, why),
			map[string]string{"port": p.cfg.Name, "address": lease.Addr.String(), "server": lease.Server.String()})
	}
	return true
}

// changeLeases looks again which leases can be used, after the addresses of other ports have changed.
func (r *Router) changeLeases(now time.Time) {
	for _, p := range r.inOrder() {
		switch c := p.client; {
		case c == nil:
		case c.lease != nil:
			r.unfit(now, p, c.lease)
		case c.unfit != nil:
			r.useLease(now, p, c.unfit)
		}
	}
}

// leaseGone is for the other ports when a port has lost its address: it may have been in the way.
func (r *Router) leaseGone() {
	for _, p := range r.ports {
		if p.client != nil && p.client.unfit != nil {
			r.later = append(r.later, func() { r.changeLeases(time.Now()) })
			return
		}
	}
}
