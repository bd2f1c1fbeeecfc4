package rib

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const (
	lan  = 1
	core = 2
	wan  = 3
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }

// table is a RIB with three ports that are up.
func table(o Options) *RIB {
	names := map[uint32]string{lan: "lan", core: "core", wan: "wan"}
	o.PortName = func(p uint32) string { return names[p] }
	r := New(o)
	for p := range names {
		r.SetPort(p, true)
	}
	return r
}

func connected(p string, port uint32) Route {
	return Route{Prefix: pfx(p), Protocol: Connected, NextHops: []NextHop{{Port: port}}}
}

func own(a string, port uint32) Route {
	return Route{Prefix: host(ip(a)), Protocol: Connected, Source: "own", Type: Local, NextHops: []NextHop{{Port: port}}}
}

func static(p string, via ...string) Route {
	r := Route{Prefix: pfx(p), Protocol: Static, Distance: 1}
	for _, v := range via {
		r.NextHops = append(r.NextHops, NextHop{Addr: ip(v)})
	}
	return r
}

func rip(p, from string, port uint32, metric int) Route {
	return Route{
		Prefix: pfx(p), Protocol: RIP, Source: from, Distance: 120, Metric: metric, From: ip(from),
		NextHops: []NextHop{{Addr: ip(from), Port: port}},
	}
}

func must(t *testing.T, r *RIB, routes ...Route) {
	t.Helper()
	for _, route := range routes {
		if err := r.Update(start, route); err != nil {
			t.Fatal(err)
		}
	}
}

// text renders changes the way `ip route` would.
func text(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, "%v %v", c.Prefix, c.Type)
		for _, h := range c.Hops {
			if h.Gateway.IsValid() {
				fmt.Fprintf(&b, " via %v", h.Gateway)
			}
			fmt.Fprintf(&b, " port %d", h.Port)
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func expect(t *testing.T, r *RIB, want ...string) {
	t.Helper()
	if got := text(r.Changes()); got != strings.Join(want, "\n") {
		t.Errorf("the changes are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestLowestDistanceWinsThenMetric(t *testing.T) {
	r := table(Options{})
	must(t, r, connected("10.0.0.0/24", lan), connected("10.9.0.0/24", core))
	r.Changes()
	must(t, r, rip("10.2.0.0/16", "10.9.0.2", core, 3), rip("10.2.0.0/16", "10.0.0.2", lan, 4))
	expect(t, r, "10.2.0.0/16 unicast via 10.9.0.2 port 2")
	must(t, r, rip("10.2.0.0/16", "10.0.0.2", lan, 2))
	expect(t, r, "10.2.0.0/16 unicast via 10.0.0.2 port 1")
	must(t, r, static("10.2.0.0/16", "10.9.0.7"))
	expect(t, r, "10.2.0.0/16 unicast via 10.9.0.7 port 2")
}

func TestWithdrawalIsReplacedByTheNextBestWithoutAHole(t *testing.T) {
	r := table(Options{})
	s := static("10.2.0.0/16", "10.9.0.7")
	must(t, r, connected("10.9.0.0/24", core), s, rip("10.2.0.0/16", "10.9.0.2", core, 3))
	r.Changes()
	if !r.Withdraw(s.Key()) {
		t.Fatal("the static route was not there")
	}
	expect(t, r, "10.2.0.0/16 unicast via 10.9.0.2 port 2")
	if n := r.WithdrawSource(RIP, "10.9.0.2"); n != 1 {
		t.Fatalf("withdrew %d routes, want 1", n)
	}
	expect(t, r, "10.2.0.0/16 none")
}

func TestAChangeAndItsUndoingInOneBatchIsNoChange(t *testing.T) {
	r := table(Options{})
	s := static("10.2.0.0/16", "10.9.0.7")
	must(t, r, connected("10.9.0.0/24", core), s)
	r.Changes()
	r.Withdraw(s.Key())
	must(t, r, s)
	r.SetPort(core, false)
	r.SetPort(core, true)
	expect(t, r)
}

func TestARouteThatIsToldAgainKeepsItsAge(t *testing.T) {
	r := table(Options{})
	route := rip("10.2.0.0/16", "10.9.0.2", core, 3)
	must(t, r, route)
	if err := r.Update(start.Add(time.Minute), route); err != nil {
		t.Fatal(err)
	}
	if got := r.All()[0].Since; !got.Equal(start) {
		t.Errorf("it is since %v, want %v", got, start)
	}
	route.Metric = 4
	if err := r.Update(start.Add(time.Minute), route); err != nil {
		t.Fatal(err)
	}
	if got := r.All()[0].Since; !got.Equal(start.Add(time.Minute)) {
		t.Errorf("after a new metric it is since %v, want a minute later", got)
	}
}

func TestEqualRoutesOfOneProtocolShareTheTraffic(t *testing.T) {
	r := table(Options{})
	must(t, r, rip("10.2.0.0/16", "10.9.0.2", core, 3), rip("10.2.0.0/16", "10.0.0.2", lan, 3), rip("10.2.0.0/16", "10.0.0.3", lan, 4))
	expect(t, r, "10.2.0.0/16 unicast via 10.0.0.2 port 1 via 10.9.0.2 port 2")
	r.SetPort(lan, false)
	expect(t, r, "10.2.0.0/16 unicast via 10.9.0.2 port 2")

	single := table(Options{MaxPaths: 1})
	must(t, single, rip("10.2.0.0/16", "10.9.0.2", core, 3), rip("10.2.0.0/16", "10.0.0.2", lan, 3))
	expect(t, single, "10.2.0.0/16 unicast via 10.0.0.2 port 1")
}

func TestAtMostSixteenPathsAreUsed(t *testing.T) {
	r := table(Options{})
	for i := range 20 {
		must(t, r, rip("10.2.0.0/16", fmt.Sprintf("10.9.0.%d", i+1), core, 3))
	}
	if got := len(r.Changes()[0].Hops); got != 16 {
		t.Errorf("%d paths, want 16", got)
	}
}

func TestStaticRouteWithSeveralGatewaysUsesThoseThatResolve(t *testing.T) {
	r := table(Options{})
	must(t, r, connected("10.0.0.0/24", lan), connected("10.9.0.0/24", core), static("0.0.0.0/0", "10.9.0.2", "10.0.0.2"))
	expect(t, r, "0.0.0.0/0 unicast via 10.0.0.2 port 1 via 10.9.0.2 port 2", "10.0.0.0/24 unicast port 1", "10.9.0.0/24 unicast port 2")
	r.SetPort(core, false)
	expect(t, r, "0.0.0.0/0 unicast via 10.0.0.2 port 1", "10.9.0.0/24 none")
}

func TestNextHopsResolveThroughOtherRoutes(t *testing.T) {
	r := table(Options{})
	must(t, r, static("10.3.0.0/16", "10.2.0.1"), static("10.2.0.0/16", "10.9.0.2"))
	expect(t, r)
	must(t, r, connected("10.9.0.0/24", core))
	expect(t, r, "10.2.0.0/16 unicast via 10.9.0.2 port 2", "10.3.0.0/16 unicast via 10.9.0.2 port 2", "10.9.0.0/24 unicast port 2")
	// A more specific route takes over what lies behind it.
	must(t, r, Route{Prefix: pfx("10.2.0.0/24"), Protocol: Static, Distance: 1, NextHops: []NextHop{{Addr: ip("10.0.0.9"), Port: lan}}})
	expect(t, r, "10.2.0.0/24 unicast via 10.0.0.9 port 1", "10.3.0.0/16 unicast via 10.0.0.9 port 1")
}

func TestAnOnLinkRouteResolvesToTheGatewayItself(t *testing.T) {
	r := table(Options{})
	must(t, r, Route{Prefix: pfx("10.9.9.0/24"), Protocol: Static, Distance: 1, NextHops: []NextHop{{Port: wan}}}, static("10.3.0.0/16", "10.9.9.1"))
	expect(t, r, "10.3.0.0/16 unicast via 10.9.9.1 port 3", "10.9.9.0/24 unicast port 3")
}

func TestChainsOfRoutesAreBounded(t *testing.T) {
	r := table(Options{})
	must(t, r, connected("10.0.0.0/24", lan))
	gateway := "10.0.0.2"
	for i := 1; i <= MaxDepth+2; i++ {
		must(t, r, static(fmt.Sprintf("10.%d.0.0/24", i), gateway))
		gateway = fmt.Sprintf("10.%d.0.1", i)
	}
	r.Changes()
	if got := r.Best(pfx(fmt.Sprintf("10.%d.0.0/24", MaxDepth+1))); got.Type != Unicast {
		t.Errorf("a next hop behind %d routes does not resolve", MaxDepth)
	}
	if got := r.Best(pfx(fmt.Sprintf("10.%d.0.0/24", MaxDepth+2))); got.Type != None {
		t.Errorf("a next hop behind %d routes resolves", MaxDepth+1)
	}
}

func TestNothingResolvesThroughTheDefaultRoute(t *testing.T) {
	r := table(Options{})
	must(t, r, connected("10.9.0.0/24", core), static("0.0.0.0/0", "10.9.0.2"), static("10.3.0.0/16", "172.16.0.1"))
	expect(t, r, "0.0.0.0/0 unicast via 10.9.0.2 port 2", "10.9.0.0/24 unicast port 2")
	reasonOf(t, r, "10.3.0.0/16", "its next hop 172.16.0.1 does not resolve: only the default route leads to it")
}

// Linux takes this route too: the gateway is found on the connected network.
func TestAPrefixIsPassedOverForItsOwnNextHop(t *testing.T) {
	r := table(Options{})
	must(t, r, connected("10.9.0.0/16", core), static("10.9.9.0/24", "10.9.9.2"))
	expect(t, r, "10.9.0.0/16 unicast port 2", "10.9.9.0/24 unicast via 10.9.9.2 port 2")
	r.Withdraw(connected("10.9.0.0/16", core).Key())
	expect(t, r, "10.9.0.0/16 none", "10.9.9.0/24 none")
	reasonOf(t, r, "10.9.9.0/24", "its next hop 10.9.9.2 does not resolve: it lies in this prefix itself")
}

func TestRoutesInACircleDoNotHoldEachOtherUp(t *testing.T) {
	r := table(Options{})
	must(t, r, static("10.1.0.0/16", "10.2.0.1"), static("10.2.0.0/16", "10.1.0.1"))
	expect(t, r)
	reasonOf(t, r, "10.1.0.0/16", "its next hop 10.2.0.1 does not resolve: 10.2.0.0/16 in turn depends on this prefix")
	// A connected network breaks the circle, a losing rival of it makes none.
	must(t, r, connected("10.2.0.0/16", core))
	expect(t, r, "10.1.0.0/16 unicast via 10.2.0.1 port 2", "10.2.0.0/16 unicast port 2")
	// It closes again when the port falls.
	r.SetPort(core, false)
	expect(t, r, "10.1.0.0/16 none", "10.2.0.0/16 none")
}

func TestDiscardingRoutesNeedNoPortAndResolveNothing(t *testing.T) {
	r := table(Options{})
	hole := Route{Prefix: pfx("10.2.0.0/16"), Protocol: Static, Distance: 1, Type: Blackhole}
	must(t, r, hole, static("10.3.0.0/16", "10.2.0.1"), Route{Prefix: pfx("10.4.0.0/16"), Protocol: Static, Distance: 1, Type: Prohibit},
		Route{Prefix: pfx("10.5.0.0/16"), Protocol: Static, Distance: 1, Type: Unreachable})
	expect(t, r, "10.2.0.0/16 blackhole", "10.4.0.0/16 prohibit", "10.5.0.0/16 unreachable")
	reasonOf(t, r, "10.3.0.0/16", "its next hop 10.2.0.1 does not resolve: 10.2.0.0/16 is blackhole")
}

func TestOwnAddressesStayWhenTheirPortFalls(t *testing.T) {
	r := table(Options{})
	must(t, r, connected("10.0.0.0/24", lan), own("10.0.0.1", lan), static("10.3.0.0/16", "10.0.0.1"))
	expect(t, r, "10.0.0.0/24 unicast port 1", "10.0.0.1/32 local port 1")
	reasonOf(t, r, "10.3.0.0/16", "its next hop 10.0.0.1 does not resolve: it is this router's own address")
	r.SetPort(lan, false)
	expect(t, r, "10.0.0.0/24 none")
	reasonOf(t, r, "10.0.0.0/24", "the port lan is down")
}

func TestAHostPrefixOfAPortIsLocalAndConnectedAtOnce(t *testing.T) {
	r := table(Options{})
	must(t, r, connected("10.0.0.1/32", lan), own("10.0.0.1", lan))
	expect(t, r, "10.0.0.1/32 local port 1")
}

func TestDistance255IsNeverUsed(t *testing.T) {
	r := table(Options{})
	s := static("10.3.0.0/16", "10.0.0.2")
	s.Distance = 255
	must(t, r, connected("10.0.0.0/24", lan), s)
	expect(t, r, "10.0.0.0/24 unicast port 1")
	reasonOf(t, r, "10.3.0.0/16", "distance 255 means never")
}

func TestImpossibleRoutesAreRefusedWithTheCure(t *testing.T) {
	for _, c := range []struct {
		route Route
		want  string
	}{
		{Route{Prefix: pfx("10.0.0.1/24"), Type: Blackhole}, "must be masked"},
		{Route{}, "must be masked"},
		{Route{Prefix: pfx("10.0.0.0/24")}, "needs a next hop"},
		{Route{Prefix: pfx("10.0.0.0/24"), NextHops: []NextHop{{}}}, "neither an address nor a port"},
		{Route{Prefix: pfx("10.0.0.0/24"), NextHops: []NextHop{{Addr: ip("2001:db8::1")}}}, "another address family"},
		{Route{Prefix: pfx("10.0.0.0/24"), Type: Blackhole, Distance: 256}, "not within 0 to 255"},
		{Route{Prefix: pfx("10.0.0.0/24"), Type: 9}, "unknown type"},
	} {
		if err := New(Options{}).Update(start, c.route); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: the error is %v, want one with %q", c.route, err, c.want)
		}
	}
}

func reasonOf(t *testing.T, r *RIB, prefix, want string) {
	t.Helper()
	for _, v := range r.All() {
		if v.Prefix == pfx(prefix) && v.Type != Local {
			if v.Reason != want {
				t.Errorf("the reason of %s is %q, want %q", prefix, v.Reason, want)
			}
			return
		}
	}
	t.Errorf("%s is not in the table", prefix)
}
