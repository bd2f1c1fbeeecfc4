package dataplane

import (
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// Stateful is what packets are tracked, filtered and translated by. A snapshot of the tables without one
// sends packets straight from input to lookup.
type Stateful struct {
	Sessions *conntrack.Table
	Mappings *nat.Mappings    // nil: no NAT
	NAT      *nat.Policy      // nil: no NAT
	Firewall *firewall.Policy // nil: no firewall
	HelpFTP  bool             // sessions to TCP port 21 are helped: their packets go through the control plane
}
