package client

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

func TestRenewingClientKeepsItsAddress(t *testing.T) {
	s := bound(t, basic())
	xid := s.last.XID
	s.expect(s.after(1800*time.Second - 1))
	s.expect(s.after(1), renew)
	s.expectState(Renewing)
	if s.last.XID == xid || s.last.Flags != 0 {
		t.Errorf("xid %x was %x, flags %x", s.last.XID, xid, s.last.Flags)
	}
	s.expect(s.step(s.answer(dhcp.ACK, nil)), useAgain, save)
	s.expectState(Bound)
	if l := s.m.Lease(); !l.Expires.Equal(start.Add(5400 * time.Second)) {
		t.Errorf("the lease ends at %v", l.Expires)
	}
	if c := s.m.Counters(); c.Renewed != 1 || c.Acquired != 1 {
		t.Errorf("counted %d renewed, %d acquired", c.Renewed, c.Acquired)
	}
}

func TestLeaseCountsFromTheMomentOfItsRequest(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.after(2 * time.Second)
	s.step(s.answer(dhcp.ACK, nil))
	if l := s.m.Lease(); !l.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("the lease ends at +%v, expected an hour after its REQUEST", l.Expires.Sub(start))
	}
}

func TestUnansweredRenewalIsTriedAfterHalfOfWhatIsLeft(t *testing.T) {
	s := bound(t, basic())
	s.when = nil
	got := s.after(3600*time.Second - 1)
	var want []time.Duration
	at, t2, end := 1800*time.Second, 3150*time.Second, time.Hour
	for at < t2 {
		want = append(want, at)
		at += max((t2-at)/2, time.Minute)
	}
	for at = t2; at < end; at += max((end-at)/2, time.Minute) {
		want = append(want, at)
	}
	if !slices.Equal(s.when, want) {
		t.Errorf("asked at %v, expected %v", s.when, want)
	}
	n := slices.Index(got, wasSilent)
	if n < 0 || slices.Contains(got[:n], rebind) || slices.Contains(got[n:], renew) {
		t.Errorf("expected renewal until T2, a note, and rebinding then: %v", got)
	}
	s.expectState(Rebinding)
	s.expect(s.after(1), expired, saveNone, "discover 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100")
}

func TestRebindingAcceptsAnyServer(t *testing.T) {
	s := bound(t, basic())
	s.after(3150 * time.Second)
	s.expectState(Rebinding)
	byOther := func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, other) }
	s.expect(s.step(s.answer(dhcp.ACK, byOther)), useAgain, save)
	if s.m.Lease().Server != other {
		t.Errorf("the server is %v", s.m.Lease().Server)
	}
	s.expect(s.after(1800*time.Second), "request 10.0.0.100 -> 10.0.0.2 ciaddr 10.0.0.100")
}

func TestLeaseOfFourSecondsIsRenewedInTime(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, leaseTime(4)))
	s.step(s.answer(dhcp.ACK, leaseTime(4)))
	for range 1000 {
		s.until(Renewing)
		s.step(s.answer(dhcp.ACK, leaseTime(4)))
		s.expectState(Bound)
	}
	if c := s.m.Counters(); c.Renewed != 1000 || c.Sent[dhcp.Request] != 1001 {
		t.Errorf("renewed %d times with %d requests", c.Renewed, c.Sent[dhcp.Request])
	}
	s.when = nil
	got := s.after(4*time.Second - 1)
	if len(s.when) < 4 || len(s.when) > 10 || !slices.Contains(got, rebind) {
		t.Errorf("in four seconds without a server: %v at %v", got, s.when)
	}
}

func TestInfiniteLeaseIsNeverRenewed(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, leaseTime(infinite)))
	s.expect(s.step(s.answer(dhcp.ACK, leaseTime(infinite))), use, save)
	if !s.m.Next().IsZero() {
		t.Errorf("next is at %v", s.m.Next())
	}
	s.expect(s.after(100 * 365 * 24 * time.Hour))
	s.expect(s.step(Renew{}), renew)
	got := s.after(2 * time.Minute)
	s.expect(got, renew, renew, renew, wasSilent)
	s.expectState(Bound)
}

func TestTimesOfTheServerThatMakeNoSenseAreReplaced(t *testing.T) {
	hour := 3600 * time.Second
	for _, c := range []struct {
		lease, t1, t2 uint32
		want1, want2  time.Duration
		advance1      bool // T1 is ours, and may come a little sooner
	}{
		{lease: 3600, t1: 900, t2: 1800, want1: 900 * time.Second, want2: 1800 * time.Second},
		{lease: 3600, want1: hour / 2, want2: hour * 7 / 8, advance1: true},
		{lease: 3600, t1: 3600, t2: 1800, want1: hour / 2, want2: hour * 7 / 8, advance1: true},
		{lease: 3600, t1: 1000, want1: 1000 * time.Second, want2: hour * 7 / 8},
		{lease: 3600, t2: 2000, want1: hour / 2, want2: 2000 * time.Second, advance1: true},
		{lease: 3600, t2: 1000, want1: hour / 2, want2: hour * 7 / 8, advance1: true},
		{lease: 3600, t1: 1000, t2: 3600, want1: hour / 2, want2: hour * 7 / 8, advance1: true},
		{lease: 3600, t1: 2000, t2: 1000, want1: hour / 2, want2: hour * 7 / 8, advance1: true},
		{lease: 3600, t1: infinite, t2: infinite, want1: hour / 2, want2: hour * 7 / 8, advance1: true},
	} {
		s := newStation(t, basic())
		s.step(LinkUp{})
		times := func(m *dhcp.Message) {
			leaseTime(c.lease)(m)
			if c.t1 != 0 {
				m.Options.SetUint32(dhcp.OptionRenewalTime, c.t1)
			}
			if c.t2 != 0 {
				m.Options.SetUint32(dhcp.OptionRebindingTime, c.t2)
			}
		}
		s.step(s.answer(dhcp.Offer, times))
		s.step(s.answer(dhcp.ACK, times))
		l := s.m.Lease()
		t1, t2 := l.T1.Sub(start), l.T2.Sub(start)
		early := c.want1 - t1
		if t2 != c.want2 || early < 0 || early > 0 && (!c.advance1 || early > time.Duration(c.lease)*time.Second/32) {
			t.Errorf("T1 %d, T2 %d of %d s: taken are %v and %v, expected %v and %v", c.t1, c.t2, c.lease, t1, t2, c.want1, c.want2)
		}
	}
}

func TestNAKOfTheServerAskedBeginsAnew(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.expectIgnored(IgnoredOtherServer, s.answer(dhcp.NAK, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, other) }))
	said := func(m *dhcp.Message) { m.Options[dhcp.OptionMessage] = []byte("no\x1b[1m such \xff") }
	s.expect(s.step(s.answer(dhcp.NAK, said)), `note refused server 10.0.0.1 address 10.0.0.100 "no?[1m such ?"`, discover)
}

func TestNAKWhileRenewingDropsTheAddress(t *testing.T) {
	s := bound(t, basic())
	s.after(1800 * time.Second)
	s.expectIgnored(IgnoredOtherServer, s.answer(dhcp.NAK, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, other) }))
	s.expect(s.step(s.answer(dhcp.NAK, nil)), "note refused server 10.0.0.1 address 10.0.0.100", "drop 10.0.0.100/24: refused", saveNone, discover)
}

func TestNAKOfAnyServerCountsWhileRebinding(t *testing.T) {
	s := bound(t, basic())
	s.after(3150 * time.Second)
	s.expect(s.step(s.answer(dhcp.NAK, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, other) })),
		"note refused server 10.0.0.2 address 10.0.0.100", "drop 10.0.0.100/24: refused", saveNone, discover)
}

func TestClientThatIsRefusedAgainAndAgainSlowsDown(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	for range 50 {
		s.step(s.answer(dhcp.Offer, nil))
		s.step(s.answer(dhcp.NAK, nil))
		if s.m.State() == Init {
			s.until(Selecting)
		}
	}
	if passed := s.now.Sub(start); passed < 40*time.Minute {
		t.Errorf("fifty refusals took %v", passed)
	}
	s.step(s.answer(dhcp.Offer, nil))
	s.step(s.answer(dhcp.ACK, nil))
	s.expectState(Bound)
}

func TestAfterARestartTheLeaseIsUsedAndConfirmed(t *testing.T) {
	before := bound(t, basic())
	c := basic()
	c.Initial = before.m.Lease()
	s := newStation(t, c)
	s.now = start.Add(10 * time.Minute)
	s.expect(s.step(Tick{}))
	s.expect(s.step(LinkUp{}), use, reboot)
	s.expectState(Rebooting)
	if s.last.CIAddr != 0 {
		t.Errorf("ciaddr is %v", s.last.CIAddr)
	}
	s.expect(s.step(s.answer(dhcp.ACK, nil)), useAgain, save)
	s.expectState(Bound)
}

func TestAfterARestartInAnotherNetworkTheLeaseGoes(t *testing.T) {
	c := basic()
	c.Initial = bound(t, basic()).m.Lease()
	s := newStation(t, c)
	s.step(LinkUp{})
	s.expect(s.step(s.answer(dhcp.NAK, func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, other) })),
		"note refused server 10.0.0.2 address 10.0.0.100", "drop 10.0.0.100/24: refused", saveNone, discover)
}

func TestLeaseThatEndedWhileTheRouterWasDownIsForgotten(t *testing.T) {
	c := basic()
	c.Initial = bound(t, basic()).m.Lease()
	s := newStation(t, c)
	s.now = start.Add(2 * time.Hour)
	s.expect(s.step(LinkUp{}), saveNone, "discover 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100")
}

func TestSavedLeaseThatMakesNoSenseIsAsNone(t *testing.T) {
	for _, l := range []*Lease{
		{},
		{Addr: netip.MustParsePrefix("10.0.0.9/24")},
		{Addr: netip.MustParsePrefix("127.0.0.1/8"), Server: server},
		{Addr: netip.MustParsePrefix("2001:db8::1/64"), Server: server},
	} {
		c := basic()
		c.Initial = l
		s := newStation(t, c)
		s.expect(s.step(LinkUp{}), discover)
	}
}

func TestAddressIsKeptUntilItExpiresWhenNobodyConfirmsIt(t *testing.T) {
	c := basic()
	c.Initial = bound(t, basic()).m.Lease()
	s := newStation(t, c)
	s.step(LinkUp{})
	s.expect(s.until(Selecting), reboot, reboot, wasSilent, "discover 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100")
	for s.now.Before(start.Add(time.Hour - time.Minute)) {
		if got := s.after(time.Minute); len(got) > 4 || slices.Contains(got, expired) {
			t.Fatalf("at +%v: %v", s.now.Sub(start), got)
		}
	}
	if s.m.Lease() == nil {
		t.Fatal("the lease is gone before its time")
	}
	got := s.after(time.Minute)
	if !slices.Contains(got, expired) || !slices.Contains(got, saveNone) {
		t.Errorf("at its end: %v", got)
	}
	s.expectState(Selecting)
}

func TestServerThatComesBackConfirmsTheAddressInUseWithoutACheck(t *testing.T) {
	c := basic()
	c.Check = true
	c.Initial = bound(t, basic()).m.Lease()
	s := newStation(t, c)
	s.step(LinkUp{})
	s.until(Selecting)
	s.step(s.answer(dhcp.Offer, nil))
	s.expect(s.step(s.answer(dhcp.ACK, nil)), useAgain, save)
}

func TestServerOfAnotherNetworkReplacesALeaseThatNobodyConfirms(t *testing.T) {
	c := basic()
	c.Check = true
	c.Initial = bound(t, basic()).m.Lease()
	s := newStation(t, c)
	s.step(LinkUp{})
	s.until(Selecting)
	elsewhere := func(m *dhcp.Message) {
		m.YIAddr = addr("192.168.7.9")
		m.Options.SetAddr(dhcp.OptionRouter, addr("192.168.7.1"))
	}
	s.step(s.answer(dhcp.Offer, elsewhere))
	s.expect(s.step(s.answer(dhcp.ACK, elsewhere)), "check 192.168.7.9")
	s.expect(s.step(Checked{Addr: addr("192.168.7.9")}), "use 192.168.7.9/24 by [192.168.7.1] changed=true", "save 192.168.7.9/24")
}

func TestLinkLossKeepsTheAddressAndConfirmsItAfterwards(t *testing.T) {
	s := bound(t, basic())
	s.expect(s.step(LinkDown{}))
	s.expectState(Down)
	s.expect(s.after(40 * time.Minute)) // past T1: nobody can be asked
	s.expect(s.step(LinkUp{}), reboot)
	s.expect(s.step(s.answer(dhcp.ACK, nil)), useAgain, save)
	s.step(LinkDown{})
	s.expect(s.after(2*time.Hour), expired, saveNone)
	s.expectState(Down)
	s.expect(s.step(LinkUp{}), "discover 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100")
}

func TestLinkLossEndsEveryAttempt(t *testing.T) {
	c := basic()
	c.Check = true
	s := newStation(t, c)
	for n := range 4 {
		s.step(LinkUp{})
		if n > 0 {
			s.step(s.answer(dhcp.Offer, nil))
		}
		if n > 1 {
			s.step(s.answer(dhcp.ACK, nil))
		}
		s.expect(s.step(LinkDown{}))
		s.expectState(Down)
		if !s.m.Next().IsZero() {
			t.Errorf("something is due at %v", s.m.Next())
		}
		s.expect(s.step(Checked{Addr: given}))
	}
}

func TestReleaseGivesTheAddressBackUntilRenew(t *testing.T) {
	s := bound(t, basic())
	s.expect(s.step(Release{}), giveBack, "drop 10.0.0.100/24: released", saveNone)
	s.expectState(Released)
	if s.last.Options[dhcp.OptionParameterRequests] != nil || s.last.Options[dhcp.OptionRequestedAddress] != nil {
		t.Error("RELEASE has options that it must not have")
	}
	s.step(LinkDown{})
	s.step(LinkUp{})
	s.expect(s.after(24 * time.Hour))
	s.expect(s.step(Renew{}), "discover 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100")
}

func TestRenewWithoutALinkWaitsForIt(t *testing.T) {
	s := bound(t, basic())
	s.step(Release{})
	s.step(LinkDown{})
	s.expect(s.step(Renew{}))
	s.expectState(Down)
	s.expect(s.step(LinkUp{}), "discover 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100")
}

func TestOperatorsRenewAsksAtOnce(t *testing.T) {
	s := bound(t, basic())
	s.after(time.Minute)
	s.expect(s.step(Renew{}), renew)
	s.expect(s.step(s.answer(dhcp.ACK, nil)), useAgain, save)
	s.step(Renew{})
	s.expect(s.until(Bound), renew, renew, renew, wasSilent)
	if !s.m.Next().Equal(s.m.Lease().T1) {
		t.Errorf("next is at %v, expected T1 as before", s.m.Next())
	}
}

func TestShutdownKeepsOrReleasesTheLease(t *testing.T) {
	s := bound(t, basic())
	s.expect(s.step(Shutdown{}))
	s.expectState(Down)
	s.expect(s.after(50 * time.Minute))
	s = bound(t, basic())
	s.expect(s.step(Shutdown{Release: true}), giveBack, "drop 10.0.0.100/24: released", saveNone)
}

func TestAddressThatIsLostInUseIsDeclined(t *testing.T) {
	s := bound(t, basic())
	s.expect(s.step(Conflict{Addr: other}))
	s.expect(s.step(Conflict{Addr: given}), decline, "drop 10.0.0.100/24: conflict", saveNone)
	s.expect(s.after(10*time.Second - 1))
	s.expect(s.after(time.Second+1), discover)
}

func TestChangeOfIdentityBeginsAnew(t *testing.T) {
	s := bound(t, basic())
	c := basic()
	c.ClientID = []byte("\x00other")
	s.expect(s.step(Configure{c}), giveBack, "drop 10.0.0.100/24: reconfigured", saveNone, discover)
	if string(s.last.Options[dhcp.OptionClientID]) != "\x00other" {
		t.Errorf("client id is %q", s.last.Options[dhcp.OptionClientID])
	}
}

func TestChangeOfWhatIsAskedForRenews(t *testing.T) {
	s := bound(t, basic())
	c := basic()
	s.expect(s.step(Configure{c}))
	c.Check = true
	s.expect(s.step(Configure{c}))
	c.Hostname = "gate"
	s.expect(s.step(Configure{c}), renew)
	if string(s.last.Options[dhcp.OptionHostname]) != "gate" {
		t.Error("the new hostname is not sent")
	}
}

func TestNewGatewayAtRenewalIsAChange(t *testing.T) {
	s := bound(t, basic())
	s.after(1800 * time.Second)
	by := func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionRouter, other) }
	s.expect(s.step(s.answer(dhcp.ACK, by)), "use 10.0.0.100/24 by [10.0.0.2] changed=true", save)
}

func TestLateClockEndsTheLeaseBeforeAnythingElse(t *testing.T) {
	s := bound(t, basic())
	s.now = start.Add(48 * time.Hour)
	s.expect(s.step(Tick{}), expired, saveNone, "discover 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100")
}

func TestLeasesHandedOutShareNothing(t *testing.T) {
	s := bound(t, basic())
	l := s.m.Lease()
	l.Gateways[0], l.Options[3][0] = packet.Broadcast, 99
	if got := s.m.Lease(); got.Gateways[0] != server || got.Options[3][0] != 10 {
		t.Error("a change of the copy changed the machine")
	}
}
