package control

import (
	"encoding/json"
	"net/url"
	"testing"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

func TestPagesHoldEveryLeaseOnce(t *testing.T) {
	f := controltest.New("r1")
	f.Many = 25_000
	s := start(t, f, nil)
	for query, want := range map[string]struct{ leases, pages int }{
		"": {25_005, 3}, "&subnet=campus": {25_000, 3}, "&address=10.1.0.0/24": {5, 1}, "&hostname=Printer": {1, 1}, "&mac=02:00:00:00:00:09&state=bound": {1, 1}, "&port=nix": {0, 1},
	} {
		seen, pages := map[string]bool{}, 0
		for cursor := ""; pages == 0 || cursor != ""; pages++ {
			var p api.LeasePage
			status, _, body := request(t, httpTo(t, s.Path()), "GET", "/v1/dhcp/leases?limit=10000&cursor="+url.QueryEscape(cursor)+query, "")
			if err := json.Unmarshal([]byte(body), &p); status != 200 || err != nil || p.Total != 25_005 {
				t.Fatalf("%d %v %.200s", status, err, body)
			}
			for _, row := range p.Leases {
				if seen[row.Address] {
					t.Fatalf("%q: %s came twice", query, row.Address)
				}
				seen[row.Address] = true
			}
			cursor = p.Next
		}
		if pages != want.pages || len(seen) != want.leases {
			t.Errorf("%q: %d leases in %d pages, want %+v", query, len(seen), pages, want)
		}
	}
}

// askedNames is a Backend that tells which names it was asked for.
type askedNames struct {
	api.Backend
	names *[]string
}

func (a askedNames) DNSNames(q api.DNSQuery) (api.DNSNamePage, error) {
	*a.names = append(*a.names, q.Name)
	return api.DNSNamePage{}, nil
}

func (a askedNames) FlushDNS(_ api.Peer, name string) (int, error) {
	*a.names = append(*a.names, name)
	return 0, nil
}

func TestNamesOfDNSComeWithoutTheLastDotAndInLowerCase(t *testing.T) {
	var names []string
	s := start(t, askedNames{controltest.New("r1"), &names}, nil)
	request(t, httpTo(t, s.Path()), "GET", "/v1/dns/names?name=WWW.Home.ARPA.", "")
	request(t, httpTo(t, s.Path()), "POST", "/v1/dns/flush", `{"name":"Example.NET."}`)
	request(t, httpTo(t, s.Path()), "POST", "/v1/dns/flush", `{}`)
	if len(names) != 3 || names[0] != "www.home.arpa" || names[1] != "example.net" || names[2] != "" {
		t.Errorf("asked for %q", names)
	}
}
