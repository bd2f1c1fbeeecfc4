package dhcp_test

import (
	"fmt"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/internal/simnet"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/client"
	"vrouterd/pkg/dhcp/server"
)

var (
	homeServer = addr("10.0.0.1")
	farServer  = addr("192.0.2.1")
)

// attached is a village with one server and n clients on its own link.
func attached(t *testing.T, n int, lease time.Duration) (*village, *office, []*guest) {
	v := newVillage(t, uint64(n))
	o := v.office(homeServer, subnet("home", "10.0.0.0/24", homeServer, 1, lease))
	hosts := []*simnet.Host[wire]{o.host}
	var guests []*guest
	for i := range n {
		g := v.guest(byte(i))
		guests, hosts = append(guests, g), append(hosts, g.host)
	}
	v.lan = v.world.Connect(time.Millisecond, hosts...)
	o.start()
	for _, g := range guests {
		g.start()
	}
	return v, o, guests
}

// relayed is a village with a relay between one server and one client.
func relayed(t *testing.T, agent bool, lease time.Duration) (*village, *office, *guest) {
	v, o, guests := relayedAll(t, 1, agent, lease)
	return v, o, guests[0]
}

// relayedAll is a village with a relay between one server and n clients.
func relayedAll(t *testing.T, n int, agent bool, lease time.Duration) (*village, *office, []*guest) {
	v := newVillage(t, uint64(n)+3)
	o := v.office(farServer, subnet("home", "10.0.0.0/24", 0, 0, lease))
	r := v.gate(addr("10.0.0.1"), "10.0.0.0/24", agent, farServer)
	hosts := []*simnet.Host[wire]{r.host}
	var guests []*guest
	for i := range n {
		g := v.guest(byte(i))
		guests, hosts = append(guests, g), append(hosts, g.host)
	}
	v.lan = v.world.Connect(time.Millisecond, hosts...)
	v.up = v.world.Connect(5*time.Millisecond, r.host, o.host)
	v.has[addr("10.0.0.1")] = packet.MAC{2}
	r.host.Start(r)
	o.start()
	for _, g := range guests {
		g.start()
	}
	return v, o, guests
}

// expectAddr fails unless the client uses an address of the range, and that of before if there was one.
func (g *guest) expectAddr(before string) string {
	g.v.t.Helper()
	got := g.addr()
	if got == "none" || before != "" && got != before {
		g.v.t.Fatalf("at %v the client has %s, expected %s; it is %v, uses were %v, drops %v", g.v.world.Now.Format("15:04:05.000"), got, before, g.m.State(), g.uses, g.drops)
	}
	return got
}

func (g *guest) expectNone() {
	g.v.t.Helper()
	if g.addr() != "none" {
		g.v.t.Fatalf("the client still has %s", g.addr())
	}
}

func TestFirstLeaseOfTheServerTakesASecondAndIsKeptForHours(t *testing.T) {
	v, o, guests := attached(t, 20, time.Hour)
	v.world.Run(time.Second)
	var first []string
	for _, g := range guests {
		first = append(first, g.expectAddr(""))
	}
	v.world.Run(100 * time.Hour)
	for i, g := range guests {
		g.expectAddr(first[i])
		if c := g.m.Counters(); c.Renewed < 190 || c.Acquired != 1 || len(g.drops) != 0 {
			t.Errorf("client %d renewed %d times, acquired %d, lost %v", i, c.Renewed, c.Acquired, g.drops)
		}
		if l, known := o.m.Lookup(client.AddrOf(g.use)); !known || l.State != server.Bound || l.Expires.Before(g.use.Expires) {
			t.Errorf("the client believes in %v until %v, the server %+v", g.use.Addr, g.use.Expires, l)
		}
	}
}

func TestLeasesOfFourSecondsLast(t *testing.T) {
	v, _, guests := attached(t, 3, 4*time.Second)
	v.world.Run(time.Second)
	first := guests[0].expectAddr("")
	v.world.Run(time.Hour)
	guests[0].expectAddr(first)
	if c := guests[0].m.Counters(); c.Renewed < 1700 || len(guests[0].drops) != 0 {
		t.Errorf("renewed %d times, lost %v", c.Renewed, guests[0].drops)
	}
}

func TestServerThatIsAwayForAWhileIsNotNoticed(t *testing.T) {
	v, o, guests := attached(t, 5, time.Hour)
	v.world.Run(10 * time.Minute)
	first := guests[0].expectAddr("")
	for _, outage := range []time.Duration{time.Minute, 20 * time.Minute, 27 * time.Minute} {
		o.crash()
		v.world.Run(outage)
		o.start()
		v.world.Run(2 * time.Hour)
		guests[0].expectAddr(first)
		if guests[0].m.State() != client.Bound || len(guests[0].drops) != 0 {
			t.Fatalf("after %v the client is %v, lost %v", outage, guests[0].m.State(), guests[0].drops)
		}
	}
}

func TestServerThatIsGoneCostsTheAddressWhenItExpiresAndNotSooner(t *testing.T) {
	v, o, guests := attached(t, 1, time.Hour)
	v.world.Run(time.Second)
	g := guests[0]
	first := g.expectAddr("")
	o.crash()
	v.world.Run(59 * time.Minute)
	g.expectAddr(first)
	if g.m.State() != client.Rebinding {
		t.Errorf("the client is %v", g.m.State())
	}
	v.world.Run(time.Minute)
	g.expectNone()
	o.start()
	v.world.Run(2 * time.Minute)
	g.expectAddr(first) // the server has kept it
}

func TestOtherServerTakesOverByRebinding(t *testing.T) {
	v := newVillage(t, 1)
	s := subnet("home", "10.0.0.0/24", homeServer, 1, time.Hour)
	o := v.office(homeServer, s)
	s.Server = addr("10.0.0.2")
	backup := v.office(s.Server, s)
	g := v.guest(1)
	v.lan = v.world.Connect(time.Millisecond, o.host, backup.host, g.host)
	o.start()
	g.start()
	v.world.Run(time.Minute)
	first := g.expectAddr("")
	o.crash()
	for a, l := range o.disk { // the other has its journal
		backup.disk[a] = l
	}
	backup.start()
	v.world.Run(50 * time.Minute)
	if g.m.State() != client.Renewing {
		t.Errorf("before T2 the client is %v", g.m.State())
	}
	v.world.Run(5 * time.Minute)
	g.expectAddr(first)
	if g.m.State() != client.Bound || g.use.Server != s.Server {
		t.Errorf("after T2 the client is %v with %v", g.m.State(), g.use.Server)
	}
	v.world.Run(10 * time.Hour)
	g.expectAddr(first)
}

func TestRestartedClientConfirmsItsLease(t *testing.T) {
	v, _, guests := attached(t, 1, time.Hour)
	v.world.Run(time.Minute)
	g := guests[0]
	first := g.expectAddr("")
	g.crash()
	v.world.Run(time.Minute)
	g.start()
	g.expectAddr(first) // at once
	v.world.Run(time.Second)
	if g.m.State() != client.Bound || g.m.Counters().Sent[dhcp.Discover] != 0 {
		t.Errorf("the client is %v after %v", g.m.State(), g.m.Counters().Sent)
	}
}

func TestClientThatWasMovedIsRefusedAndGetsANewAddress(t *testing.T) {
	v, o, guests := attached(t, 1, time.Hour)
	v.world.Run(time.Minute)
	g := guests[0]
	g.expectAddr("")
	v.lan.SetCarrier(false)
	o.configure(func(c *server.Config) {
		c.Subnets = []server.Subnet{subnet("home", "192.168.7.0/24", addr("192.168.7.1"), 1, time.Hour)}
	})
	o.own = addr("192.168.7.1")
	v.world.Run(time.Minute)
	v.lan.SetCarrier(true)
	v.world.Run(2 * time.Second)
	if got := g.expectAddr(""); got[:10] != "192.168.7." || len(g.drops) != 1 || g.drops[0] != client.ReasonRefused {
		t.Errorf("the client has %s, lost %v", got, g.drops)
	}
}

func TestChangedReservationTakesEffectAtTheNextRenewal(t *testing.T) {
	v, o, guests := attached(t, 1, time.Hour)
	v.world.Run(time.Minute)
	g := guests[0]
	first := g.expectAddr("")
	o.configure(func(c *server.Config) {
		c.Subnets[0].Reservations = []server.Reservation{{MAC: g.cfg.MAC, Addr: addr("10.0.0.7"), Name: "gate"}}
	})
	v.world.Run(10 * time.Minute)
	g.expectAddr(first)
	v.world.Run(30 * time.Minute)
	g.expectAddr("10.0.0.7")
}

func TestReleasedAddressComesBackByRenew(t *testing.T) {
	v, o, guests := attached(t, 1, time.Hour)
	v.world.Run(time.Minute)
	g := guests[0]
	first := g.expectAddr("")
	held := client.AddrOf(g.use)
	g.ask(client.Release{})
	v.world.Run(time.Hour)
	g.expectNone()
	if l, _ := o.m.Lookup(held); l.State != server.Released {
		t.Errorf("to the server the lease is %v", l.State)
	}
	g.ask(client.Renew{})
	v.world.Run(time.Second)
	g.expectAddr(first)
}

func TestAddressOfASquatterIsDeclinedAndAnotherIsGiven(t *testing.T) {
	v, o, guests := attached(t, 1, time.Hour)
	g := guests[0]
	o.configure(func(c *server.Config) { c.Subnets[0].Probe = false }) // so that only the client finds out
	v.world.Run(50 * time.Millisecond)
	if g.m.State() != client.Checking {
		t.Fatalf("the client is %v", g.m.State())
	}
	taken := g.check
	v.has[taken] = packet.MAC{2, 0, 0, 0, 9, 9}
	v.world.Run(time.Minute)
	if got := g.expectAddr(""); got == taken.String() {
		t.Errorf("the client uses %s", got)
	}
	if l, _ := o.m.Lookup(taken); l.State != server.Declined {
		t.Errorf("to the server %v is %v", taken, l.State)
	}
}

func TestLeaseComesAndStaysThroughTheRelay(t *testing.T) {
	for _, agent := range []bool{false, true} {
		t.Run(fmt.Sprintf("option 82 %v", agent), func(t *testing.T) {
			v, o, g := relayed(t, agent, time.Hour)
			v.world.Run(2 * time.Second)
			first := g.expectAddr("")
			if l, _ := o.m.Lookup(client.AddrOf(g.use)); (string(l.Agent) == "\x01\x03lan") != agent {
				t.Errorf("the server knows the circuit %q", l.Agent)
			}
			v.world.Run(24 * time.Hour)
			g.expectAddr(first)
			if c := g.m.Counters(); c.Renewed < 40 || len(g.drops) != 0 {
				t.Errorf("renewed %d times, lost %v", c.Renewed, g.drops)
			}
		})
	}
}

func TestServerBehindTheRelayGoesAndComesBack(t *testing.T) {
	v, o, g := relayed(t, true, 4*time.Second)
	v.world.Run(2 * time.Second)
	first := g.expectAddr("")
	v.up.SetSilent(true)
	v.world.Run(3500 * time.Millisecond) // T1 has passed, and T2
	v.up.SetSilent(false)
	v.world.Run(time.Minute)
	g.expectAddr(first)
	o.crash()
	v.world.Run(time.Minute)
	g.expectNone()
	o.start()
	v.world.Run(2 * time.Minute)
	g.expectAddr(first)
}

func TestRebindingGoesThroughTheRelay(t *testing.T) {
	v, _, g := relayed(t, true, time.Hour)
	v.world.Run(2 * time.Second)
	first := g.expectAddr("")
	v.lan.SetOneWay(1, 0, 1) // the client is not heard, until T2
	v.world.Run(53 * time.Minute)
	if g.m.State() != client.Rebinding {
		t.Fatalf("the client is %v", g.m.State())
	}
	v.lan.Mend()
	v.world.Run(5 * time.Minute)
	g.expectAddr(first)
	if g.m.State() != client.Bound {
		t.Errorf("the client is %v", g.m.State())
	}
}

// TestNoAddressIsUsedTwiceWhateverHappens inflicts losses, crashes and cuts on clients and a server for hours; the village fails the test when two
// clients use an address at a time. Afterwards everyone has one.
func TestNoAddressIsUsedTwiceWhateverHappens(t *testing.T) {
	for seed := range 3 {
		t.Run(fmt.Sprintf("attached %d", seed), func(t *testing.T) {
			inflict(attached(t, 12+seed, 5*time.Minute))
		})
		t.Run(fmt.Sprintf("relayed %d", seed), func(t *testing.T) {
			inflict(relayedAll(t, 12+seed, seed&1 != 0, 5*time.Minute))
		})
	}
}

func inflict(v *village, o *office, guests []*guest) {
	v.t.Helper()
	upTo := func(d time.Duration) { v.world.Run(time.Duration(v.world.Rand.Int64N(int64(d)))) }
	v.lan.Loss, v.lan.Jitter = 0.2, 200*time.Millisecond
	for range 150 {
		upTo(3 * time.Minute)
		g := guests[v.world.Rand.IntN(len(guests))]
		switch v.world.Rand.IntN(8) {
		case 0:
			g.crash()
			upTo(10 * time.Minute)
			g.start()
		case 1:
			o.crash()
			upTo(10 * time.Minute)
			o.start()
		case 2:
			v.lan.SetCarrier(false)
			upTo(7 * time.Minute)
			v.lan.SetCarrier(true)
		case 3:
			g.ask(client.Release{})
			g.ask(client.Renew{})
		case 4:
			g.ask(client.Renew{})
		}
	}
	v.lan.Mend()
	v.world.Run(10 * time.Minute)
	for _, g := range guests {
		g.expectAddr("")
	}
}
