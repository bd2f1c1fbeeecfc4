package router

import "net/netip"

// dhcpClient is the DHCP client of a port with `address: dhcp`.
type dhcpClient struct {
	leased netip.Prefix // in use; zero: none
}
