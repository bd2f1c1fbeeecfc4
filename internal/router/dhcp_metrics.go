package router

import "github.com/prometheus/client_golang/prometheus"

var (
	dhcpLeases       = desc("dhcp_leases", "Addresses of a network under dhcp that are somebody's, or rest.", "subnet", "state")
	dhcpAddresses    = desc("dhcp_addresses", "Addresses in the ranges of a network under dhcp.", "subnet")
	dhcpFree         = desc("dhcp_free_addresses", "Of them, those that could be given away.", "subnet")
	dhcpClientUp     = desc("dhcp_client_up", "1 while a port has the address that DHCP is to bring.", "port")
	dhcpClientExpiry = desc("dhcp_client_expiry_time_seconds", "When a port loses its address unless it is renewed, seconds since the epoch.", "port")
	dhcpJournalLines = desc("dhcp_journal_lines", "Records in the journal of leases, those too that later ones replace.")
	dhcpJournalBytes = desc("dhcp_journal_bytes", "Size of the journal of leases, octets.")
	dhcpJournalUp    = desc("dhcp_journal_up", "0 while the disk refuses leases, so that none is acknowledged.")
)

// collectDHCP sends the gauges of DHCP; what counts up is among the counters and drops. Networks and ports are labels, hosts never.
func (c collector) collectDHCP(gauge func(*prometheus.Desc, float64, ...string)) {
	for _, row := range c.r.DHCP() {
		switch row.Role {
		case "server":
			gauge(dhcpLeases, float64(row.Leased), row.Name, "bound")
			gauge(dhcpLeases, float64(row.Offered), row.Name, "offered")
			gauge(dhcpLeases, float64(row.Declined), row.Name, "declined")
			gauge(dhcpAddresses, float64(row.Size), row.Name)
			gauge(dhcpFree, float64(row.Free), row.Name)
		case "client":
			up := 0.0
			if row.Address != "" {
				up = 1
			}
			gauge(dhcpClientUp, up, row.Port)
			if row.Expires != nil {
				gauge(dhcpClientExpiry, float64(row.Expires.Unix()), row.Port)
			}
		}
	}
	c.r.do(func() {
		j := c.r.dhcp.journal
		if j == nil {
			return
		}
		n, up := j.Counters(), 1.0
		if n.Failing {
			up = 0
		}
		gauge(dhcpJournalUp, up)
		gauge(dhcpJournalLines, float64(n.Lines))
		gauge(dhcpJournalBytes, float64(n.Octets))
	})
}
