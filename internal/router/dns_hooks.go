package router

import "vrouterd/internal/packet"

// What DHCP tells DNS. Both run on the control goroutine, so a change of a lease and what DNS makes of it are one step.

// nameSource says where a name comes from: a lease gives way to a reservation.
type nameSource string

const (
	nameOfLease       nameSource = "lease"
	nameOfReservation nameSource = "reservation"
)

// dnsName tells DNS which name an address has by a source: one label in lower case as the client or the configuration gave it, or one
// with a domain; "" takes the name away. It is called whenever that changes, and for all that is there when DHCP starts.
func (r *Router) dnsName(source nameSource, name string, addr packet.Addr) {}

// dnsUpstreamsChanged tells DNS that the servers which leases of the router's ports bring are others now; [Router.leasedDNS] has them.
func (r *Router) dnsUpstreamsChanged() {}
