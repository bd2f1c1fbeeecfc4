package integration

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// leasePage is a part of the leases.
type leasePage struct {
	Leases []row  `json:"leases"`
	Total  int    `json:"total"`
	Next   string `json:"next"`
}

func (r *router) leasePage(query url.Values) (p leasePage) {
	r.lab.t.Helper()
	r.request("GET", "/v1/dhcp/leases?"+query.Encode(), nil, &p)
	return p
}

// leasesByPage are all leases in a state, by address, asked for a page at a time.
func (r *router) leasesByPage(state string) map[netip.Addr]row {
	r.lab.t.Helper()
	all := map[netip.Addr]row{}
	for query := (url.Values{"limit": {"1000"}, "state": {state}}); ; {
		p := r.leasePage(query)
		if len(p.Leases) > 1000 {
			r.lab.t.Fatalf("a page of %d leases", len(p.Leases))
		}
		for _, l := range p.Leases {
			a := netip.MustParseAddr(fmt.Sprint(l["address"]))
			if all[a] != nil {
				r.lab.t.Fatalf("%v is on two pages", a)
			}
			all[a] = l
		}
		if p.Next == "" {
			return all
		}
		query.Set("cursor", p.Next)
	}
}

// agree is an error unless the server has every lease that the crowd was given.
func (r *router) agree(given map[netip.Addr]packet.MAC) error {
	r.lab.t.Helper()
	known := r.leasesByPage("bound")
	for a, mac := range given {
		if known[a] == nil || known[a]["mac"] != mac.String() {
			return fmt.Errorf("%v was given to %v, but the server says %v", a, mac, known[a])
		}
	}
	return nil
}

func TestDHCPServerHasTenThousandClients(t *testing.T) {
	d, crowd := newDHCPCrowd(t, dhcpPolicy{wide: true, long: true})
	count := 10_000
	if d.r == nil {
		count = 500 // dnsmasq writes its whole file for each of them
	}
	if have := crowd.acquire(0, count, time.Minute, nil); have != count {
		t.Fatalf("%d of %d clients have an address", have, count)
	}
	given, err := crowd.owners()
	if err != nil {
		t.Fatal(err)
	}
	for a := range given {
		if !d.policy.contains(a) {
			t.Fatalf("%v is not of the range", a)
		}
	}
	if len(given) != count {
		t.Fatalf("%d addresses for %d clients", len(given), count)
	}
	if d.r == nil {
		return
	}
	if err := d.r.agree(given); err != nil {
		t.Error(err)
	}
	if rows := d.r.rows("dhcp", "leases"); len(rows) != count {
		t.Errorf("show dhcp leases: %d rows", len(rows))
	}
	if rows := d.r.rows("dhcp", "leases", "--limit", "25"); len(rows) != 25 {
		t.Errorf("show dhcp leases --limit 25: %d rows", len(rows))
	}
	if total := d.r.leasePage(url.Values{"limit": {"1"}}).Total; total != count {
		t.Errorf("the total is %d", total)
	}
	n := d.r.has(5*time.Second, "dhcp", "name", "lan", "role", "server")
	if n.number(t, "leased") != count || n.number(t, "free") != n.number(t, "size")-count {
		t.Errorf("show dhcp: %v", n)
	}
	// What was promised survives that the router is killed, and its clients come back to it.
	d.r.kill()
	d.r.start()
	d.r.ready()
	if err := d.r.agree(given); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if have := crowd.acquire(0, 500, 20*time.Second, crowd.reboot); have != 500 {
		t.Errorf("%d of 500 clients got their address again", have)
	}
	if _, err := crowd.owners(); err != nil {
		t.Error(err)
	}
}

func TestDHCPServerThatRunsDrySaysSoAndRecovers(t *testing.T) {
	t.Parallel()
	d, crowd := newDHCPCrowd(t, dhcpPolicy{first: 100, last: 129, long: true})
	if have := crowd.acquire(0, 30, 20*time.Second, nil); have != 30 {
		t.Fatalf("%d of 30 clients have an address", have)
	}
	if have := crowd.acquire(30, 10, 3*time.Second, nil); have != 0 {
		t.Fatalf("%d clients have an address where there was none left", have)
	}
	if d.r != nil {
		n := d.r.has(5*time.Second, "dhcp", "name", "lan", "free", "0", "leased", "30")
		if n.number(t, "refused") == 0 || n["reason"] == "" {
			t.Errorf("expected refusals, and a reason: %v", n)
		}
		eventually(t, 5*time.Second, "the event", func() error {
			return contains(d.r.ctl("show", "events"), "no address")
		})
	}
	// Some go, and others have their addresses.
	mac := d.mac()
	crowd.mu.Lock()
	left := map[netip.Addr]bool{}
	for i := range 10 {
		m := crowd.member(i)
		left[m.addr] = true
		crowd.release(m, d.policy.server().Addr(), mac)
	}
	crowd.mu.Unlock()
	if have := crowd.acquire(30, 10, 20*time.Second, nil); have != 10 {
		t.Fatalf("%d of 10 clients have an address that was given back", have)
	}
	for i := 30; i < 40; i++ {
		if a := crowd.member(i).addr; !left[a] {
			t.Errorf("%v was not given back", a)
		}
	}
	if d.r != nil {
		n := d.r.has(5*time.Second, "dhcp", "name", "lan", "leased", "30")
		t.Logf("afterwards: %v", n)
	}
}

func TestDHCPServerThatRanDryRecoversByExpiry(t *testing.T) {
	t.Parallel()
	d, crowd := newDHCPCrowd(t, dhcpPolicy{first: 100, last: 109, long: true, lease: "5s"})
	if have := crowd.acquire(0, 10, 20*time.Second, nil); have != 10 {
		t.Fatalf("%d of 10 clients have an address", have)
	}
	// The others ask on until the leases of the first are over.
	if have := crowd.acquire(10, 10, 30*time.Second, nil); have != 10 {
		t.Fatalf("%d of 10 clients have an address of those that have expired", have)
	}
	expect(t, strings.ToLower(d.r.ctl("show", "events")), "expired")
}

func TestDHCPServerKilledUnderLoadGivesNoAddressTwice(t *testing.T) {
	t.Parallel()
	d, crowd := newDHCPCrowd(t, dhcpPolicy{wide: true, long: true})
	const count = 3000
	done := make(chan int, 1)
	go func() { done <- crowd.acquire(0, count, 90*time.Second, nil) }()
	for round := range 4 {
		// In the midst of it: when so many more have been promised an address.
		crowd.await(500 * (round + 1))
		d.r.kill()
		d.r.start()
		d.r.ready()
		crowd.mu.Lock()
		promised := append([]crowdACK(nil), crowd.acks...)
		crowd.mu.Unlock()
		known := d.r.leasesByPage("bound")
		for _, a := range promised {
			if known[a.addr] == nil || known[a.addr]["mac"] != a.mac.String() {
				t.Fatalf("round %d: %v was promised to %v before the kill, but the server says %v", round, a.addr, a.mac, known[a.addr])
			}
		}
	}
	if have := <-done; have != count {
		t.Errorf("%d of %d clients have an address", have, count)
	}
	given, err := crowd.owners()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.r.agree(given); err != nil {
		t.Error(err)
	}
}
