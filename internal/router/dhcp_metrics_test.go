package router

import (
	"strings"
	"testing"

	"vrouterd/pkg/dhcp"
)

func TestMetricsTellOfNetworksThePortsOwnAddressAndTheJournal(t *testing.T) {
	l, far := homeServed(t, `name: r1
ports:
  lan: {address: 192.168.1.1/24}
  wan: {address: dhcp, dhcp_client: {check: false}}
dhcp:
  lan: {range: 192.168.1.100-192.168.1.199, probe: false, lease: 1h}
`, Options{StateDir: t.TempDir()})
	expect := func(lines ...string) {
		t.Helper()
		text := l.Metrics()
		for _, line := range lines {
			if !strings.Contains(text, "\nvrouterd_"+line) {
				t.Errorf("the metrics lack %s", line)
			}
		}
	}
	expect(`dhcp_client_up{port="wan"} 0`, `dhcp_leases{state="bound",subnet="lan"} 0`, "dhcp_journal_lines 0", "dhcp_journal_up 1")
	far.lends("203.0.113.50/24", "203.0.113.9", 3600, func(dhcp.Options) {})
	l.hasAddress("wan", "203.0.113.50/24")
	stationsOn(t, l, "lan").station(2).joins()
	expect(`dhcp_client_up{port="wan"} 1`, `dhcp_client_expiry_time_seconds{port="wan"} `, `dhcp_leases{state="bound",subnet="lan"} 1`,
		`dhcp_addresses{subnet="lan"} 100`, `dhcp_free_addresses{subnet="lan"} 99`, "dhcp_journal_lines 1", "dhcp_journal_bytes ")
}
