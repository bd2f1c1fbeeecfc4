package nat

import (
	"testing"

	"vrouterd/internal/packet"
)

func (b *bed) add(e Explicit, exact bool) Explicit {
	b.t.Helper()
	made, reason := b.m.Add(b.p, b.now, 0, e, exact)
	if reason != ReasonNone {
		b.t.Fatalf("%+v was refused: %v", e, reason)
	}
	return made
}

func TestExplicitMappingServesBothWays(t *testing.T) { // RFC 6886 section 3.3, RFC 6887 section 11
	b := newBed(t, []Rule{home()})
	made := b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 6881, OutsidePort: 7000, By: ByPCP, Owner: "nonce", Expires: 1000}, false)
	if made.Outside != public || made.OutsidePort != 7000 || made.Owner != "nonce" {
		t.Errorf("made %+v", made)
	}
	in, target := b.enter(wan, udp(server, 9, public, 7000))
	if target.Kind != ToForward || target.Rule != -1 || target.Addr != host1 || target.Port != 6881 || target.Helper || !target.Mapped {
		t.Errorf("came to %+v", target)
	}
	out := b.open(udp(host1, 6881, server, 53))
	b.leaves(out, public, 7000)
	b.close(in, out)
	b.expect(wan, udp(server, 9, public, 7000), ToForward, host1, 6881) // it stays without sessions
	if got, found := b.m.ExplicitAt(protocolUDP, public, 7000); !found || got != made {
		t.Errorf("at its outside port stands %+v (%v)", got, found)
	}
	if list := b.m.ExplicitOf(protocolUDP, host1, 6881); len(list) != 1 || list[0] != made {
		t.Errorf("of its inside port stand %+v", list)
	}
	if !b.m.Delete(b.now, protocolUDP, host1, 6881) || b.m.Delete(b.now, protocolUDP, host1, 6881) {
		t.Error("expected to delete it once")
	}
	b.empty()
}

func TestExplicitMappingIsFilteredByItsRemote(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.add(Explicit{Protocol: protocolTCP, Inside: host1, InsidePort: 2000, Remote: server, By: ByHelper}, false)
	b.expect(wan, tcp(server, 20, public, 2000), ToForward, host1, 2000)
	b.expect(wan, tcp(remote2, 20, public, 2000), Filtered, 0, 0)
	if target := b.arrive(wan, tcp(server, 21, public, 2000)); !target.Helper {
		t.Error("the session is related to another")
	}
}

func TestExplicitMappingIsNotGivenToOthers(t *testing.T) {
	b := newBed(t, []Rule{home()}, web())
	b.add(Explicit{Protocol: protocolTCP, Inside: host1, InsidePort: 5000, By: ByUPnP}, false)
	if _, port := b.open(tcp(host2, 5000, server, 80)).outsideOf(); port == 5000 {
		t.Error("another host was given its port")
	}
	for _, exact := range []bool{true, false} {
		made, reason := b.m.Add(b.p, b.now, 0, Explicit{Protocol: protocolTCP, Inside: host2, InsidePort: 1, OutsidePort: 5000}, exact)
		if exact && reason != ReasonTaken || !exact && (reason != ReasonNone || made.OutsidePort == 5000) {
			t.Errorf("exact %v: %+v, %v", exact, made, reason)
		}
	}
	if _, reason := b.m.Add(b.p, b.now, 0, Explicit{Protocol: protocolTCP, Inside: host2, InsidePort: 2, OutsidePort: 80}, true); reason != ReasonTaken {
		t.Errorf("a forwarded port was given away (%v)", reason)
	}
}

func TestRenewalKeepsTheOutsidePort(t *testing.T) {
	b := newBed(t, []Rule{home()})
	first := b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 9, OutsidePort: 7000, Expires: 500, By: ByNATPMP}, false)
	again := b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 9, OutsidePort: 8000, Expires: 900, By: ByNATPMP}, false)
	if again.OutsidePort != first.OutsidePort || again.Expires != 900 || b.m.Counts().Explicit != 1 {
		t.Errorf("renewed as %+v", again)
	}
	if ended, next := b.m.Expire(500); len(ended) != 0 || next != 900 {
		t.Errorf("ended %v, next %d", ended, next)
	}
	if ended, next := b.m.Expire(900); len(ended) != 1 || ended[0] != again || next != 0 {
		t.Errorf("ended %v, next %d", ended, next)
	}
	b.empty()
}

func TestExactRequestGetsASecondMapping(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.add(Explicit{Protocol: protocolTCP, Inside: host1, InsidePort: 80, OutsidePort: 80, By: ByUPnP}, true)
	b.add(Explicit{Protocol: protocolTCP, Inside: host1, InsidePort: 80, OutsidePort: 8080, By: ByUPnP}, true)
	b.expect(wan, tcp(server, 1, public, 80), ToForward, host1, 80)
	b.expect(wan, tcp(server, 1, public, 8080), ToForward, host1, 80)
	out := b.open(tcp(host1, 80, server, 1))
	b.leaves(out, public, 80)
	if e, found := b.m.DeleteAt(b.now, protocolTCP, public, 80); !found || e.OutsidePort != 80 {
		t.Errorf("deleted %+v (%v)", e, found)
	}
	b.expect(wan, tcp(server, 1, public, 8080), ToForward, host1, 80)
	b.leaves(b.open(tcp(host1, 80, server, 2)), public, 80) // endpoint-independent as long as it lives
	b.close(out, session{tcp(host1, 80, server, 2), tcp(server, 2, public, 80)})
	b.m.Delete(b.now, protocolTCP, host1, 80)
	b.empty()
}

func TestSecondMappingTakesNobodyOnOnceDeleted(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 80, OutsidePort: 80, By: ByUPnP}, true)
	b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 80, OutsidePort: 8080, By: ByUPnP}, true)
	in, _ := b.enter(wan, udp(server, 1, public, 8080))
	b.m.DeleteAt(b.now, protocolUDP, public, 8080)
	b.expect(wan, udp(server, 2, public, 8080), Filtered, 0, 0)
	b.close(in)
	b.expect(wan, udp(server, 2, public, 8080), Unclaimed, 0, 0)
}

func TestRequestForAMappedPortMakesItExplicit(t *testing.T) { // RFC 6887 section 11.3
	b := newBed(t, []Rule{home()})
	b.open(udp(host2, 5000, server, 53))
	out := b.open(udp(host1, 5000, server, 53))
	_, port := out.outsideOf()
	made := b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 5000, OutsidePort: 9999, By: ByPCP}, false)
	if made.OutsidePort != port {
		t.Errorf("made %+v, expected port %d, which it has", made, port)
	}
	exact := b.add(Explicit{Protocol: protocolUDP, Inside: host2, InsidePort: 5000, OutsidePort: 9999, By: ByPCP}, true)
	b.leaves(b.open(udp(host2, 5000, remote2, 53)), public, exact.OutsidePort)
}

func TestDeletedMappingLivesOnForItsSessions(t *testing.T) {
	r := home()
	r.Filtering = AddressAndPortDependent
	b := newBed(t, []Rule{r})
	b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 5000, By: ByPCP}, false)
	in, _ := b.enter(wan, udp(server, 9, public, 5000))
	b.m.Delete(b.now, protocolUDP, host1, 5000)
	b.expect(wan, udp(server, 10, public, 5000), Filtered, 0, 0)
	if _, port := b.open(udp(host2, 5000, server, 9)).outsideOf(); port == 5000 {
		t.Error("its port was given away under a live session")
	}
	b.close(in)
	if n := b.m.Counts().Mappings; n != 1 {
		t.Errorf("%d mappings, expected the other host's", n)
	}
}

func TestExpiredMappingLetsNobodyIn(t *testing.T) {
	r := home()
	r.Filtering = AddressAndPortDependent
	b := newBed(t, []Rule{r})
	b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 5000, Expires: 200}, false)
	b.now = 199
	b.expect(wan, udp(server, 10, public, 5000), ToForward, host1, 5000)
	b.now = 200 // nobody has called Expire yet
	b.expect(wan, udp(server, 10, public, 5000), Filtered, 0, 0)
}

func TestExplicitMappingsAreBoundedForEachHost(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.m = NewMappings(Config{MaxPerHost: 3})
	for port := range uint16(3) {
		b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 10 + port}, false)
	}
	if _, reason := b.m.Add(b.p, b.now, 0, Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 99}, false); reason != ReasonHostLimit {
		t.Errorf("the fourth: %v", reason)
	}
	b.add(Explicit{Protocol: protocolUDP, Inside: host2, InsidePort: 99}, false)
	b.m.Delete(b.now, protocolUDP, host1, 10)
	b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 99}, false)
}

func TestRequestsNeedARule(t *testing.T) {
	nowhere := Rule{Out: 9, Type: Masquerade, Source: nets("172.16.0.0/12")}
	one := Rule{Out: wan, Type: OneToOne, Inside: host2, Outside: []packet.Addr{ip("203.0.113.5")}}
	b := newBed(t, []Rule{{Out: wan, Type: Exempt, Source: nets("192.168.2.0/24")}, one, home(), nowhere})
	for _, c := range []struct {
		e    Explicit
		want Reason
	}{
		{Explicit{Protocol: protocolUDP, Inside: ip("192.168.2.5"), InsidePort: 1}, ReasonNotAllowed},
		{Explicit{Protocol: protocolUDP, Inside: ip("10.0.0.1"), InsidePort: 1}, ReasonNotAllowed},
		{Explicit{Protocol: protocolICMP, Inside: host1, InsidePort: 1}, ReasonNotAllowed},
		{Explicit{Protocol: 132, Inside: host1, InsidePort: 1}, ReasonNotAllowed},
		{Explicit{Protocol: protocolUDP, Inside: ip("172.16.0.1"), InsidePort: 1}, ReasonNoAddress},
		{Explicit{Protocol: protocolUDP, Inside: host2, InsidePort: 1, OutsidePort: 2}, ReasonTaken},
	} {
		if made, reason := b.m.Add(b.p, b.now, 0, c.e, true); reason != c.want {
			t.Errorf("%+v: %+v, %v, expected %v", c.e, made, reason, c.want)
		}
	}
	if made := b.add(Explicit{Protocol: protocolUDP, Inside: host2, InsidePort: 7}, false); made.Outside != ip("203.0.113.5") || made.OutsidePort != 7 {
		t.Errorf("a 1:1 host got %+v", made)
	}
	b.empty()
}

func TestTablesShowEveryMappingOnce(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.m.Retain(b.p, b.now)
	want := map[packet.Addr]bool{}
	for i := range 1000 {
		inside := host1 + packet.Addr(i)
		b.open(udp(inside, 5000, server, 53))
		want[inside] = true
	}
	b.open(udp(host1, 5000, remote2, 53))
	var cursor uint64
	for pages := 0; pages == 0 || cursor != 0; pages++ {
		var page []Row
		page, cursor = b.m.Page(b.now, cursor, 7, nil)
		for _, row := range page {
			if !want[row.Inside] || row.Rule != 0 || row.Outside != public || row.InsidePort != 5000 {
				t.Fatalf("unexpected or seen before: %+v", row)
			}
			if sessions := map[bool]int{true: 2, false: 1}[row.Inside == host1]; row.Sessions != sessions {
				t.Errorf("%v has %d sessions", row.Inside, row.Sessions)
			}
			delete(want, row.Inside)
		}
	}
	if len(want) != 0 {
		t.Errorf("%d mappings were not shown", len(want))
	}
	some, _ := b.m.Page(b.now, 0, 10000, func(r *Row) bool { return r.Inside == host2 })
	if len(some) != 1 {
		t.Errorf("%d rows match", len(some))
	}
}

func TestEndedMappingIsNotKeptOpenByOutside(t *testing.T) {
	for name, end := range map[string]func(b *bed){
		"deleted": func(b *bed) { b.m.Delete(b.now, protocolUDP, host1, 5000) },
		"expired": func(b *bed) { b.now = 900; b.m.Expire(b.now) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, []Rule{home()}) // with endpoint-independent filtering
			b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 5000, Expires: 900, By: ByPCP}, false)
			in, _ := b.enter(wan, udp(server, 9, public, 5000))
			end(b)
			b.expect(wan, udp(server, 10, public, 5000), Filtered, 0, 0)
			b.close(in)
			b.empty()
			// One that inside uses as well is a dynamic mapping from then on.
			b.add(Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 5000, By: ByPCP}, false)
			out := b.open(udp(host1, 5000, server, 53))
			b.m.Delete(b.now, protocolUDP, host1, 5000)
			b.expect(wan, udp(server, 10, public, 5000), ToMapping, host1, 5000)
			b.close(out)
			b.empty()
		})
	}
}
