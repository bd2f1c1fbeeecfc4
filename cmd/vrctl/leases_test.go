package main

import (
	"strings"
	"testing"

	"vrouterd/internal/control/api"
)

func TestALongClientIDDoesNotMakeTheTableUnreadable(t *testing.T) {
	table := leasesTable()
	addLease(table, api.Lease{Address: "10.1.0.2", ClientID: strings.TrimSuffix(strings.Repeat("61:", 255), ":")})
	addLease(table, api.Lease{Address: "10.1.0.3", ClientID: "01:02:00:00:00:00:09"})
	if drawn := table.draw(screen{}); strings.Count(drawn, "61:") > 24 || !strings.Contains(drawn, "…") || !strings.Contains(drawn, "01:02:00:00:00:00:09") {
		t.Errorf("%s", drawn)
	}
}

func TestMessagesOfAServerAreToldOfWhereTheyAreCounted(t *testing.T) {
	drawn := dhcpBlocks(screen{}, []api.DHCP{
		{Name: "lan", Role: "server", State: "up", Messages: []api.DHCPMessages{{Type: "discover", Received: 2}}},
		{Name: "guests", Role: "server", State: "up"},
		{Name: "far", Role: "relay", State: "up"},
	})
	if strings.Count(drawn, "received") != 2 || !strings.Contains(drawn, "2 discover") {
		t.Errorf("%s", drawn)
	}
}

func TestAMistypedStateOfALeaseIsNotWaitedFor(t *testing.T) {
	for _, state := range []string{"bound", "declined", "renewing", "released"} {
		if _, err := leaseCondition([]string{"192.168.1.5", "state", state}); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
	if _, err := leaseCondition([]string{"port", "wan", "state", "boundd"}); err == nil || !strings.Contains(err.Error(), "did you mean bound?") {
		t.Errorf("%v", err)
	}
}

// What a host calls itself does not decide whether the operator sees what its lease is.
func TestALongNameDoesNotPushTheStateOffTheScreen(t *testing.T) {
	table := leasesTable()
	addLease(table, api.Lease{Address: "192.168.1.129", MAC: "02:00:00:00:00:09", Hostname: strings.Repeat("x", 63), State: "bound"})
	if drawn := table.draw(screen{width: 80}); !strings.Contains(drawn, "bound  never") {
		t.Errorf("%s", drawn)
	}
}
