package server

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// Addresses that somebody uses who should not: probes, declines, and what ARP inspection sees.

func probing() Subnet {
	n := home()
	n.Probe = true
	return n
}

func TestFreshAddressIsAskedForBeforeItIsOffered(t *testing.T) {
	s := newStation(t, probing())
	s.expect(s.says(numbered(1), dhcp.Discover, "wants", "10.0.0.105"), "probe 10.0.0.105 on port1")
	s.expect(s.says(numbered(1), dhcp.Discover, "wants", "10.0.0.105"), "refused probing")
	s.now = s.now.Add(time.Second)
	s.expect(s.step(Probed{Addr: addr("10.0.0.105")}), "send offer 10.0.0.105 to 10.0.0.105:68 at 02:00:00:00:00:01 by port1")
	s.expect(s.says(numbered(1), dhcp.Discover), "send offer 10.0.0.105 to 10.0.0.105:68 at 02:00:00:00:00:01 by port1")
}

func TestProbeHoldsUpNobodyElse(t *testing.T) {
	s := newStation(t, probing())
	had := func() string {
		s.says(numbered(2), dhcp.Discover)
		for _, a := range s.last {
			if p, is := a.(Probe); is {
				s.step(Probed{Addr: p.Addr})
			}
		}
		a := s.reply().YIAddr.String()
		s.says(numbered(2), dhcp.Request, "wants", a, "server", "10.0.0.1")
		return a
	}()
	s.says(numbered(1), dhcp.Discover)
	s.expect(s.says(numbered(2), dhcp.Request, "ciaddr", had),
		"store bound "+had+" 020000000002 until +1h0m0s", "send ack "+had+" to "+had+":68 by port1", "renewed "+had)
	s.expect(s.says(numbered(2), dhcp.Discover), "send offer "+had+" to "+had+":68 at 02:00:00:00:00:02 by port1")
}

func TestAddressThatAnswersIsNotOfferedButRests(t *testing.T) {
	s := newStation(t, probing())
	s.says(numbered(1), dhcp.Discover, "wants", "10.0.0.105")
	got := s.step(Probed{Addr: addr("10.0.0.105"), Taken: true, MAC: numbered(66).mac})
	if len(got) != 3 || got[0] != "store declined 10.0.0.105 020000000042 until +10m0s" || got[2][:6] != "probe " {
		t.Errorf("happened: %q; expected that it rests and the next one is asked for", got)
	}
	s.expectState("10.0.0.105", Declined)
	s.after(10 * time.Minute)
	s.expectState("10.0.0.105", Free)
}

func TestClientThatAnswersForItsOwnAddressMayHaveIt(t *testing.T) {
	s := newStation(t, probing())
	s.says(numbered(1), dhcp.Discover, "wants", "10.0.0.105")
	s.expect(s.step(Probed{Addr: addr("10.0.0.105"), Taken: true, MAC: numbered(1).mac}),
		"send offer 10.0.0.105 to 10.0.0.105:68 at 02:00:00:00:00:01 by port1")
}

func TestClientIsLeftToAskAnewAfterManyTakenAddresses(t *testing.T) {
	big := probing()
	big.Ranges = []Range{span1("10.0.0.2", "10.0.0.254")}
	s := newStation(t, big)
	s.says(numbered(1), dhcp.Discover)
	for n := 1; ; n++ {
		p, is := s.last[len(s.last)-1].(Probe)
		if !is {
			if got := line(s.last[len(s.last)-1]); n-1 != maxTries || got != "refused exhausted" {
				t.Errorf("after %d probes: %s", n-1, got)
			}
			return
		}
		s.step(Probed{Addr: p.Addr, Taken: true, MAC: numbered(66).mac})
	}
}

func TestProbeWithoutAnAnswerEndsInAnOffer(t *testing.T) {
	s := newStation(t, probing())
	s.says(numbered(1), dhcp.Discover, "wants", "10.0.0.105")
	s.expect(s.after(probeTime), "send offer 10.0.0.105 to 10.0.0.105:68 at 02:00:00:00:00:01 by port1")
}

func TestRecentlyProbedAddressIsNotAskedForAgain(t *testing.T) {
	s := newStation(t, probing())
	s.says(numbered(1), dhcp.Discover, "wants", "10.0.0.105")
	s.step(Probed{Addr: addr("10.0.0.105")})
	s.says(numbered(1), dhcp.Request, "wants", "10.0.0.105", "server", "10.0.0.1")
	s.says(numbered(1), dhcp.Release, "ciaddr", "10.0.0.105")
	s.after(30 * time.Second)
	s.expect(s.says(numbered(1), dhcp.Discover), "send offer 10.0.0.105 to 10.0.0.105:68 at 02:00:00:00:00:01 by port1")
	s.after(5 * time.Minute)
	s.expect(s.says(numbered(1), dhcp.Discover), "probe 10.0.0.105 on port1")
}

func TestReservedAddressesAreNotAskedFor(t *testing.T) {
	n := probing()
	n.Reservations = []Reservation{{MAC: numbered(1).mac, Addr: addr("10.0.0.5")}}
	s := newStation(t, n)
	s.expect(s.says(numbered(1), dhcp.Discover), "send offer 10.0.0.5 to 10.0.0.5:68 at 02:00:00:00:00:01 by port1")
}

func TestProbesOutstandingAreBounded(t *testing.T) {
	big := probing()
	big.Network, big.Ranges = pfx("10.0.0.0/16"), []Range{span1("10.0.1.0", "10.0.9.255")}
	s := newStation(t, big)
	for i := range maxProbes + 50 {
		s.says(numbered(i), dhcp.Discover)
	}
	if c := s.m.Counters(); c.Probes != maxProbes || c.ProbesSkipped != 50 || c.Sent[dhcp.Offer] != 50 {
		t.Errorf("%d probes, %d skipped, %d offers: those beyond go unprobed", c.Probes, c.ProbesSkipped, c.Sent[dhcp.Offer])
	}
}

func TestRelayedNetworkIsProbedByTheRoutingTable(t *testing.T) {
	n := far()
	n.Probe, n.PingRelayed = true, true
	s := newStation(t, home(), n)
	h := numbered(1)
	h.relay = addr("10.9.0.1")
	s.expect(s.says(h, dhcp.Discover, "wants", "10.9.0.60"), "probe 10.9.0.60 on port0")
	s.expect(s.step(Probed{Addr: addr("10.9.0.60")}), "send offer 10.9.0.60 to 10.9.0.1:67 by port0")
}

func TestDeclinedAddressRestsAndTheClientGetsAnother(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1).with(dhcp.OptionHostname, "tv"))
	s.expect(s.says(numbered(1), dhcp.Decline, "wants", a, "server", "10.0.0.1"),
		"store declined "+a+" 020000000001 until +10m0s", "declined "+a+" before tv: the client found the address in use")
	if b := s.leases(numbered(1)); b == a {
		t.Error("it gets the same")
	}
	s.restart()
	s.expectState(a, Declined)
	s.expect(s.step(Delete{addr(a)}), "store free "+a, "deleted "+a)
	if row := s.m.Subnets(s.now)[0]; row.Declined != 0 || row.Free != 9 {
		t.Errorf("after it was cleared: %+v", row)
	}
}

func TestOneClientCannotDeclineThePoolDry(t *testing.T) {
	s := newStation(t, home())
	for range 50 {
		a := s.leases(numbered(1))
		s.says(numbered(1), dhcp.Decline, "wants", a, "server", "10.0.0.1")
	}
	if row := s.m.Subnets(s.now)[0]; row.Declined != maxDeclines || row.Free != uint64(10-maxDeclines) {
		t.Errorf("%+v", row)
	}
	if c := s.m.Counters(); c.Refused[ReasonTooManyDeclines] != 46 {
		t.Errorf("%d declines refused", c.Refused[ReasonTooManyDeclines])
	}
	s.after(11 * time.Minute)
	a := s.leases(numbered(1))
	s.says(numbered(1), dhcp.Decline, "wants", a, "server", "10.0.0.1")
	s.expectState(a, Declined)
}

func TestManyClientsThatDeclineEverythingDoNotKeepOthersOut(t *testing.T) {
	s := newStation(t, probing())
	get := func(h host) *dhcp.Message {
		s.says(h, dhcp.Discover)
		for _, a := range s.last {
			if p, is := a.(Probe); is {
				s.step(Probed{Addr: p.Addr})
			}
		}
		return s.reply()
	}
	for i := range 10 {
		a := get(numbered(i)).YIAddr.String()
		s.says(numbered(i), dhcp.Decline, "wants", a, "server", "10.0.0.1")
	}
	if get(numbered(50)) != nil {
		t.Error("an address that was declined a moment ago is offered")
	}
	s.after(freshness)
	if r := get(numbered(51)); r == nil || r.Type() != dhcp.Offer {
		t.Errorf("%v: expected that a resting address is asked for again and offered", describe(s.last))
	}
}

func TestAddressSeenInUseWithoutALeaseIsToldOfAndRests(t *testing.T) {
	s := newStation(t, home())
	s.expect(s.step(Taken{Port: lan, Addr: addr("10.0.0.104"), MAC: numbered(66).mac}),
		"conflict 10.0.0.104: 02:00:00:00:00:42 uses an address that is not leased",
		"store declined 10.0.0.104 020000000042 until +10m0s",
		"declined 10.0.0.104: somebody uses the address without a lease")
	s.expect(s.step(Taken{Port: lan, Addr: addr("10.0.0.104"), MAC: numbered(66).mac}))
	s.expect(s.step(Taken{Port: dmz, Addr: addr("10.0.0.105"), MAC: numbered(66).mac}))
	for i := range 40 {
		s.step(Taken{Port: lan, Addr: addr("10.0.0.100") + packet.Addr(i%10), MAC: numbered(66).mac})
	}
	if row := s.m.Subnets(s.now)[0]; row.Declined != 5 {
		t.Errorf("%d addresses rest, expected half of ten: one host must not empty the range", row.Declined)
	}
}

func TestLeasedAddressSeenWithAnotherHardwareAddressIsToldOfOnceAMinute(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	s.expect(s.step(Taken{Port: lan, Addr: addr(a), MAC: numbered(1).mac}))
	s.expect(s.step(Taken{Port: lan, Addr: addr(a), MAC: numbered(66).mac}), "conflict "+a+": 02:00:00:00:00:42 uses the address of another's lease")
	s.expect(s.step(Taken{Port: lan, Addr: addr(a), MAC: numbered(66).mac}))
	s.after(conflictGap)
	if got := s.step(Taken{Port: lan, Addr: addr(a), MAC: numbered(66).mac}); len(got) != 1 {
		t.Errorf("%q", got)
	}
	s.expectState(a, Bound)
}

func TestImportTakesLeasesAndSaysWhichItDoesNot(t *testing.T) {
	n := home()
	n.Reservations = []Reservation{{MAC: numbered(5).mac, Addr: addr("10.0.0.5")}}
	s := newStation(t, n)
	held := s.leases(numbered(1))
	l := func(a string, i int, name string) Lease {
		m := numbered(i).mac
		return Lease{Addr: addr(a), State: Bound, HType: 1, CHAddr: m[:], Hostname: name, Expires: start.Add(time.Hour)}
	}
	old := l("10.0.0.60", 8, "old")
	old.Expires = start.Add(-time.Hour)
	s.expect(s.step(Import{[]Lease{
		l("10.0.0.50", 7, "NAS.lan"), l("192.168.0.1", 9, ""), l("10.0.0.1", 9, ""), l(held, 9, ""), l("10.0.0.5", 9, ""), l("10.0.0.51", 1, ""),
		{Addr: addr("10.0.0.52"), State: Bound}, {Addr: addr("10.0.0.53"), State: Declined}, old, l("10.0.0.255", 9, ""), l("10.0.0.0", 9, ""),
	}}),
		"store bound 10.0.0.50 020000000007 until +1h0m0s", "imported 10.0.0.50 named nas",
		"imported 192.168.0.1: 192.168.0.1 is in no network that is served",
		"imported 10.0.0.1: 10.0.0.1 is the router's own address, or a gateway's",
		"imported "+held+": "+held+" is leased to another client",
		"imported 10.0.0.5: 10.0.0.5 is reserved for another client",
		"imported 10.0.0.51: the client of 10.0.0.51 has "+held,
		"imported 10.0.0.52: 10.0.0.52 has neither a hardware address of 1 to 16 octets nor a client identifier",
		"imported 10.0.0.53: 10.0.0.53 is declined: only leases that are bound are imported",
		"store expired 10.0.0.60 020000000008 until +-1h0m0s", "imported 10.0.0.60",
		"imported 10.0.0.255: 10.0.0.255 is the network's own or its broadcast address",
		"imported 10.0.0.0: 10.0.0.0 is the network's own or its broadcast address",
	)
	s.expectState("10.0.0.50", Bound)
	s.expectState("10.0.0.60", Expired)
}

func TestDeleteAllForgetsBySubnetAndState(t *testing.T) {
	s := newStation(t, home(), far())
	a, b := s.leases(numbered(1)), s.leases(numbered(2))
	h := numbered(3)
	h.relay = addr("10.9.0.1")
	c := s.leases(h)
	s.says(numbered(2), dhcp.Release, "ciaddr", b, "to", "10.0.0.1")
	s.expect(s.step(DeleteAll{Subnet: "lan", State: Released}), "store free "+b, "deleted "+b)
	s.expect(s.step(DeleteAll{Subnet: "far"}), "store free "+c, "deleted "+c)
	s.expect(s.step(DeleteAll{}), "store free "+a, "deleted "+a)
	if n := len(s.m.Leases(s.now)); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestLeasesThatFitNoMoreAreKeptButNotRenewed(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	other := home()
	other.Ranges = []Range{span1("10.0.0.200", "10.0.0.209")}
	s.step(Configure{Config{Subnets: []Subnet{other}}})
	s.expectState(a, Bound)
	s.says(numbered(1), dhcp.Request, "ciaddr", a, "to", "10.0.0.1")
	if s.reply().Type() != dhcp.NAK {
		t.Errorf("%v", describe(s.last))
	}
	if b := s.leases(numbered(1)); b < "10.0.0.200" {
		t.Errorf("got %s", b)
	}
	s.step(Configure{Config{Subnets: []Subnet{far()}}})
	if n := len(s.m.Leases(s.now)); n != 2 {
		t.Errorf("%d leases are known without their network, expected 2", n)
	}
	if len(s.after(2*time.Hour)) == 0 {
		t.Error("they do not expire")
	}
}

func TestLeasesAreShownByAddressAsTheyAreNow(t *testing.T) {
	s := newStation(t, home())
	s.leases(numbered(1))
	s.leases(numbered(2))
	s.says(numbered(3), dhcp.Discover)
	rows := s.m.Leases(s.now)
	if !slices.IsSortedFunc(rows, func(a, b Lease) int { return int(a.Addr) - int(b.Addr) }) || len(rows) != 3 {
		t.Errorf("%v", rows)
	}
	n := 0
	for _, l := range s.m.Leases(s.now.Add(2 * time.Hour)) {
		if l.State == Expired {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d of 2 leases are shown as expired before the machine got to it", n)
	}
	if row := s.m.Subnets(s.now)[0]; fmt.Sprint(row.Bound, row.Offered, row.Free) != "2 1 7" {
		t.Errorf("%+v", row)
	}
}

func TestLeasesThatRanOutWhileTheServerWasDownExpireAtOnce(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1).with(dhcp.OptionHostname, "tv"))
	s.now = s.now.Add(2 * time.Hour)
	s.restart()
	s.expect(s.step(Tick{}), "expired "+a+" before tv")
}

func TestFailedStoreIsCountedAndTheAddressStaysTheClients(t *testing.T) {
	s := newStation(t, home())
	a := s.leases(numbered(1))
	s.expect(s.step(StoreFailed{[]packet.Addr{addr(a)}}))
	s.expectState(a, Bound)
	if s.m.Counters().StoreFailures != 1 {
		t.Error("it is not counted")
	}
}
