package router

import (
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/pkg/dhcp"
)

func TestTablesOfDHCPTellOfNetworksRelaysAndClients(t *testing.T) {
	l, far := homeServed(t, `name: r1
ports:
  lan: {address: 192.168.1.1/24}
  srv: {address: 192.168.5.1/24}
  wan: {address: dhcp, dhcp_client: {check: false}}
dhcp:
  lan: {range: 192.168.1.100-192.168.1.199, probe: false, lease: 1h, reservations: [{mac: "02:00:00:00:00:01", address: 192.168.1.9, name: printer}]}
  srv: {relay: 203.0.113.9}
`, Options{})
	far.lends("203.0.113.50/24", "203.0.113.9", 3600, func(o dhcp.Options) { o.SetAddr(dhcp.OptionDNS, ip4("203.0.113.53")) })
	l.hasAddress("wan", "203.0.113.50/24")
	w := stationsOn(t, l, "lan")
	if ack := w.station(1).joins(); ack.YIAddr != ip4("192.168.1.9") {
		t.Errorf("reserved is 192.168.1.9, given %v", ack.YIAddr)
	}
	a := w.station(2).joins().YIAddr

	rows := l.DHCP()
	if len(rows) != 3 || rows[0].Role != "server" || rows[1].Role != "relay" || rows[2].Role != "client" {
		t.Fatalf("%+v", rows)
	}
	if s := rows[0]; s.Name != "lan" || s.State != "up" || s.Leased != 2 || s.Size != 100 || s.Free != 99 || s.Ranges[0] != "192.168.1.100-192.168.1.199" ||
		s.Address != "192.168.1.1" || s.Network != "192.168.1.0/24" {
		t.Errorf("%+v", s)
	}
	if c := rows[2]; c.State != "bound" || c.Address != "203.0.113.50/24" || c.Server != "203.0.113.9" || c.Gateway != "203.0.113.9" ||
		c.DNS[0] != "203.0.113.53" || c.Renews == nil || c.Expires == nil || time.Until(*c.Expires) < 50*time.Minute {
		t.Errorf("%+v", c)
	}
	if relay := rows[1]; relay.Address != "192.168.5.1" || relay.Servers[0] != "203.0.113.9" || relay.State != "up" {
		t.Errorf("%+v", relay)
	}

	page, err := l.Leases(api.LeaseQuery{Limit: 1})
	if err != nil || page.Total != 2 || len(page.Leases) != 1 || page.Next != a.String() {
		t.Fatalf("%+v, %v", page, err)
	}
	if p := page.Leases[0]; p.Address != "192.168.1.9" || !p.Reserved || p.Hostname != "printer" || p.State != "bound" || p.Port != "lan" || p.MAC != "02:00:00:00:00:01" {
		t.Errorf("%+v", p)
	}
	page, err = l.Leases(api.LeaseQuery{Limit: 10, Cursor: page.Next, Address: "192.168.1.0/24", State: "bound"})
	if err != nil || len(page.Leases) != 1 || page.Leases[0].Address != a.String() || page.Next != "" || page.Leases[0].Reserved {
		t.Errorf("%+v, %v", page, err)
	}

	if err := l.DeleteLease(tester, a.String()); err != nil {
		t.Fatal(err)
	}
	expectError(t, l.DeleteLease(tester, a.String()), "not_found", a.String())
	if n, err := l.FlushLeases(tester, api.LeaseFlush{Subnet: "lan", State: "bound"}); n != 1 || err != nil {
		t.Errorf("%d flushed, %v", n, err)
	}
	_, err = l.FlushLeases(tester, api.LeaseFlush{Subnet: "nowhere"})
	expectError(t, err, "not_found", "nowhere")
	if l.dropped("dhcp_other_server") != 0 || !strings.Contains(l.Metrics(), "dhcp_sent_ack") {
		t.Error("metrics do not tell of DHCP")
	}
}

func TestExplainTellsWhatBecomesOfDHCP(t *testing.T) {
	l := runHome(t, served+"firewall: home\n")
	for in, want := range map[string]string{"lan": "DHCP server", "wan": ""} {
		out, err := l.Explain(api.ExplainRequest{In: in, Src: "0.0.0.0", Dst: "255.255.255.255", Protocol: "udp", SrcPort: 68, DstPort: 67})
		if err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, s := range out.Steps {
			text += s.Text + "\n"
		}
		if delivered := out.Verdict == "delivered"; delivered != (want != "") || !strings.Contains(text, want) {
			t.Errorf("from %s: %s\n%s", in, out.Verdict, text)
		}
	}
}
