// Package dhcp has what server, relay and client of DHCP share (RFC 2131, RFC 2132): messages, options and their
// wire format. The machines are packages of their own below it:
//
//	pkg/dhcp/server   leases of attached and relayed networks
//	pkg/dhcp/relay    carries messages to servers elsewhere and back
//	pkg/dhcp/client   the router's own address on an uplink
//
// All of them are pure: no socket, goroutine, clock, lock or log. The octets are read and written by
// github.com/insomniacslk/dhcp; what stands here is the border to it, a total decoder with named refusals. docs/dhcp.md tells
// how the parts work together.
package dhcp
