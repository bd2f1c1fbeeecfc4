package rib

import (
	"net/netip"
	"testing"
)

func numbered(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 0}), 24)
}

// work returns what f cost.
func work(r *RIB, f func()) Stats {
	before := r.Stats()
	f()
	after := r.Stats()
	return Stats{after.Resolutions - before.Resolutions, after.Selections - before.Selections}
}

func TestAPortFlapCostsOnePassOverTheRoutesBehindOneGateway(t *testing.T) {
	const routes = 10000
	r := table(Options{})
	must(t, r, connected("10.9.0.0/24", core), connected("10.0.0.0/24", lan))
	for i := range routes {
		s := static("0.0.0.0/0", "10.9.0.2")
		s.Prefix = numbered(i)
		must(t, r, s)
	}
	if n := len(r.Changes()); n != routes+2 {
		t.Fatalf("%d changes, want %d", n, routes+2)
	}
	for _, up := range []bool{false, true} {
		var changes int
		cost := work(r, func() {
			r.SetPort(core, up)
			changes = len(r.Changes())
		})
		if changes != routes+1 {
			t.Errorf("%d changes, want %d", changes, routes+1)
		}
		if cost.Resolutions > 4 || cost.Selections > routes+4 {
			t.Errorf("port up=%v cost %+v, want one resolution and one selection a route", up, cost)
		}
	}
	cost := work(r, func() {
		r.SetPort(lan, false)
		r.Changes()
	})
	if cost.Resolutions > 0 || cost.Selections > 1 {
		t.Errorf("the flap of another port cost %+v", cost)
	}
}

func TestOneRouteAmongTenThousandCostsOneSelection(t *testing.T) {
	const routes = 10000
	r := table(Options{})
	must(t, r, connected("10.9.0.0/24", core), static("10.8.0.0/16", "10.9.0.7"))
	for i := range routes {
		route := rip("0.0.0.0/0", "10.9.0.2", core, 3)
		route.Prefix = numbered(i)
		must(t, r, route)
	}
	r.Changes()
	cost := work(r, func() {
		route := rip("0.0.0.0/0", "10.9.0.2", core, 9)
		route.Prefix = numbered(77)
		must(t, r, route)
		r.Changes()
	})
	if cost.Resolutions > 0 || cost.Selections != 1 {
		t.Errorf("a new metric cost %+v, want one selection", cost)
	}
	cost = work(r, func() {
		must(t, r, rip("10.9.0.0/24", "10.9.0.2", core, 3)) // a rival that loses to the connected network
		r.Changes()
	})
	if cost.Resolutions > 0 || cost.Selections > 1 {
		t.Errorf("a losing rival of the gateway's network cost %+v", cost)
	}
	cost = work(r, func() {
		if n := r.WithdrawSource(RIP, "10.9.0.2"); n != routes+1 {
			t.Errorf("withdrew %d routes, want %d", n, routes+1)
		}
		r.Changes()
	})
	if cost.Selections > routes+1 {
		t.Errorf("losing the neighbour cost %+v", cost)
	}
	if r.Len() != 2 {
		t.Errorf("%d routes left, want 2", r.Len())
	}
}
