package router

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dns"
)

// What DHCP tells DNS. Both run on the control goroutine, so a change of a lease and what DNS makes of it are one step.

// nameSource says where a name comes from: a lease gives way to a reservation.
type nameSource string

const (
	nameOfLease       nameSource = "lease"
	nameOfReservation nameSource = "reservation"
)

// dnsName tells DNS which name an address has by a source: one label in lower case as the client or the configuration gave it, or one
// with a domain; "" takes the name away. It is called whenever that changes, and for all that is there when DHCP starts. Names are
// kept while DNS is not configured: there are no more of them than leases and reservations.
func (r *Router) dnsName(source nameSource, name string, addr packet.Addr) {
	label, _, _ := strings.Cut(name, ".") // the domain is ours to say
	one := dns.Name{Source: string(source) + " " + addr.String(), Name: label, Addr: addr}
	if label == "" {
		delete(r.dns.names, one.Source)
	} else {
		r.dns.names[one.Source] = one
	}
	r.dnsStep(time.Now(), one)
}

// tellNames gives a new machine all names, in an order that is always the same.
func (r *Router) tellNames(now time.Time) {
	for _, source := range slices.Sorted(maps.Keys(r.dns.names)) {
		r.dnsStep(now, r.dns.names[source])
	}
}

// dnsUpstreamsChanged tells DNS that the servers which leases of the router's ports bring are others now; [Router.leasedDNS] has them.
func (r *Router) dnsUpstreamsChanged() {
	if r.dns.machine != nil {
		r.changeDNS()
	}
}

// leasedUpstreams are those servers, where the configuration leaves the choice to DHCP.
func (r *Router) leasedUpstreams() (out []netip.AddrPort) {
	if r.config.DNS == nil || !r.config.DNS.UpstreamDHCP {
		return nil
	}
	for _, a := range r.leasedDNS() {
		out = append(out, netip.AddrPortFrom(a, dnsPort))
	}
	return out
}

// upstreamSource says who has named a server: the configuration, or the port whose lease brought it.
func (r *Router) upstreamSource(domain string, server netip.AddrPort) string {
	if domain != "" || !slices.Contains(r.leasedUpstreams(), server) {
		return "config"
	}
	for _, p := range r.inOrder() {
		if p.client != nil && p.client.lease != nil && p.cfg.DHCP.DNS && slices.Contains(p.client.lease.DNS, packet.AddrFrom(server.Addr())) {
			return p.cfg.Name
		}
	}
	return "config"
}
