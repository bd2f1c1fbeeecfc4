package client

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vrouterd/pkg/dhcp"
)

// The lines that most dialogues share.
const (
	discover  = "discover 0.0.0.0 -> 255.255.255.255"
	request   = "request 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100 server 10.0.0.1"
	reboot    = "request 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100"
	renew     = "request 10.0.0.100 -> 10.0.0.1 ciaddr 10.0.0.100"
	rebind    = "request 10.0.0.100 -> 255.255.255.255 ciaddr 10.0.0.100"
	use       = "use 10.0.0.100/24 by [10.0.0.1] changed=true"
	useAgain  = "use 10.0.0.100/24 by [10.0.0.1] changed=false"
	save      = "save 10.0.0.100/24"
	saveNone  = "save nothing"
	expired   = "drop 10.0.0.100/24: expired"
	decline   = "decline 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100 server 10.0.0.1"
	giveBack  = "release 10.0.0.100 -> 10.0.0.1 ciaddr 10.0.0.100 server 10.0.0.1"
	wasSilent = "note no_answer server 10.0.0.1 address 10.0.0.100"
)

// TestTransitionsAreThoseOfTheTable prints the state machine and holds it against testdata/transitions.txt, so that a change of it is
// seen as a change of behaviour. With UPDATE_GOLDEN=1 the file is written anew.
func TestTransitionsAreThoseOfTheTable(t *testing.T) {
	var b strings.Builder
	for s := range NumStates {
		for in := range numInputs {
			if tr := transitions[s][in]; tr.do != 0 {
				fmt.Fprintf(&b, "%-11v  %-7v  ->  %-10v  %v\n", s, in, tr.next, tr.do)
			}
		}
	}
	path := filepath.Join("testdata", "transitions.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Fatalf("the table is now:\n%s\nexpected %s:\n%s", &b, path, want)
	}
}

func TestEveryStateWithALeaseEndsItWhenItExpires(t *testing.T) {
	for s := range Released {
		if tr := transitions[s][inExpired]; tr.do&stepDrop == 0 {
			t.Errorf("in %v the end of the lease is not seen", s)
		}
	}
}

func TestFirstLeaseComesByDiscoverOfferRequestACK(t *testing.T) {
	s := newStation(t, basic())
	s.expect(s.step(Tick{}))
	s.expect(s.step(LinkUp{}), discover)
	s.expectState(Selecting)
	xid := s.last.XID
	s.expect(s.step(s.answer(dhcp.Offer, nil)), request)
	s.expectState(Requesting)
	if s.last.XID != xid {
		t.Error("the REQUEST has another transaction id than the DISCOVER that was answered")
	}
	s.expect(s.step(s.answer(dhcp.ACK, nil)), use, save)
	s.expectState(Bound)
	l := s.m.Lease()
	if !l.Acquired.Equal(start) || !l.T1.Equal(start.Add(1800*time.Second)) || !l.T2.Equal(start.Add(3150*time.Second)) || !l.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("times are %v %v %v %v", l.Acquired, l.T1, l.T2, l.Expires)
	}
	if !s.m.Next().Equal(l.T1) {
		t.Errorf("next is at %v, expected T1", s.m.Next())
	}
	if c := s.m.Counters(); c.Acquired != 1 || c.Sent[dhcp.Discover] != 1 || c.Sent[dhcp.Request] != 1 || c.Received[dhcp.Offer] != 1 || c.Received[dhcp.ACK] != 1 {
		t.Errorf("counters are %+v", c)
	}
}

func TestMessagesSayWhatTheConfigurationAsks(t *testing.T) {
	c := basic()
	c.Hostname, c.Vendor, c.Requests, c.Broadcast, c.LeaseTime = "gate", "vrouterd", []uint8{43, 3}, true, 2*time.Hour
	s := newStation(t, c)
	s.step(LinkUp{})
	for range 2 {
		o := s.last.Options
		if string(o[dhcp.OptionHostname]) != "gate" || string(o[dhcp.OptionVendorClass]) != "vrouterd" {
			t.Errorf("%v: hostname %q vendor %q", s.last.Type(), o[dhcp.OptionHostname], o[dhcp.OptionVendorClass])
		}
		if n, _ := s.last.Uint32(dhcp.OptionLeaseTime); n != 7200 {
			t.Errorf("%v asks for a lease of %d s", s.last.Type(), n)
		}
		if be16(o[dhcp.OptionMaxMessageSize]) != 1472 || !bytes.Equal(o[dhcp.OptionClientID], c.ClientID) || s.last.Flags != dhcp.BroadcastFlag {
			t.Errorf("%v: size, client id or flags are wrong: %+v", s.last.Type(), s.last)
		}
		list := o[dhcp.OptionParameterRequests]
		if bytes.Count(list, []byte{3}) != 1 || list[len(list)-1] != 43 {
			t.Errorf("%v asks for %v, expected each code once and 43 at the end", s.last.Type(), list)
		}
		if bytes.IndexByte(list, 121) > bytes.IndexByte(list, 3) {
			t.Errorf("%v asks for gateways before classless routes: %v", s.last.Type(), list)
		}
		s.step(s.answer(dhcp.Offer, nil))
	}
}

func TestWithoutClientIDNoneIsSent(t *testing.T) {
	s := newStation(t, Config{MAC: ourMAC})
	s.step(LinkUp{})
	if _, there := s.last.Options[dhcp.OptionClientID]; there {
		t.Error("option 61 is there")
	}
}

func TestDiscoverIsRepeatedAfterGrowingIntervals(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	xid := s.last.XID
	s.after(6 * time.Minute)
	want := []float64{4, 8, 16, 32, 64, 64, 64, 64}
	for i := range want {
		got := (s.when[i+1] - s.when[i]).Seconds()
		if got < want[i]-1 || got > want[i]+1 {
			t.Errorf("interval %d is %v s, expected %v give or take 1", i, got, want[i])
		}
	}
	if s.last.XID != xid {
		t.Error("a repetition has another transaction id")
	}
	if secs := time.Duration(s.last.Secs) * time.Second; s.when[len(s.when)-1]-secs >= time.Second || s.last.Secs == 0 {
		t.Errorf("secs is %v, sent at +%v", secs, s.when[len(s.when)-1])
	}
}

func TestRequestBearsTheSecondsOfItsDiscover(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.after(30 * time.Second)
	secs := s.last.Secs
	s.after(2 * time.Second)
	s.step(s.answer(dhcp.Offer, nil))
	if s.last.Type() != dhcp.Request || s.last.Secs != secs {
		t.Errorf("REQUEST says %d s, its DISCOVER %d", s.last.Secs, secs)
	}
}

func TestUnansweredRequestsBeginAnewAndPreferOthers(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.expect(s.until(Init, Selecting), request, request, request, wasSilent, discover)
	s.expectIgnored(IgnoredShunned, s.answer(dhcp.Offer, nil))
	byOther := func(m *dhcp.Message) { m.Options.SetAddr(dhcp.OptionServerID, other) }
	s.expect(s.step(s.answer(dhcp.Offer, byOther)), "request 0.0.0.0 -> 255.255.255.255 requested 10.0.0.100 server 10.0.0.2")
}

func TestServerThatWasSilentIsTakenWhenThereIsNoOther(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.until(Init, Selecting)
	s.expect(s.after(5*time.Second), discover)
	s.expect(s.step(s.answer(dhcp.Offer, nil)), request)
}

func TestAddressIsCheckedBeforeUse(t *testing.T) {
	c := basic()
	c.Check = true
	s := newStation(t, c)
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.expect(s.step(s.answer(dhcp.ACK, nil)), "check 10.0.0.100")
	s.expectState(Checking)
	s.expect(s.step(Checked{Addr: other, Taken: true})) // about something else
	s.expect(s.step(Checked{Addr: given}), use, save)
	s.expectState(Bound)
}

func TestAddressThatIsTakenIsDeclined(t *testing.T) {
	c := basic()
	c.Check = true
	s := newStation(t, c)
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.step(s.answer(dhcp.ACK, nil))
	s.expect(s.step(Checked{Addr: given, Taken: true}), decline, "note taken server 10.0.0.1 address 10.0.0.100")
	for _, code := range []uint8{dhcp.OptionParameterRequests, dhcp.OptionMaxMessageSize, dhcp.OptionHostname} {
		if _, there := s.last.Options[code]; there {
			t.Errorf("DECLINE has option %d", code)
		}
	}
	s.expect(s.after(10*time.Second - time.Millisecond)) // RFC 2131 section 3.1: at least ten seconds
	s.expect(s.after(1001*time.Millisecond), discover)
}

func TestCheckWithoutAnAnswerCountsAsFree(t *testing.T) {
	c := basic()
	c.Check = true
	s := newStation(t, c)
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, nil))
	s.step(s.answer(dhcp.ACK, nil))
	s.expect(s.after(checkPatience), use, save)
}

func TestLeaseThatEndsDuringItsCheckIsNotUsed(t *testing.T) {
	c := basic()
	c.Check = true
	s := newStation(t, c)
	s.step(LinkUp{})
	s.step(s.answer(dhcp.Offer, leaseTime(4)))
	s.step(s.answer(dhcp.ACK, leaseTime(4)))
	s.expect(s.after(4*time.Second), discover)
}

func TestLeaseOfUntoldTimeIsAnHour(t *testing.T) {
	s := newStation(t, basic())
	s.step(LinkUp{})
	none := func(m *dhcp.Message) { delete(m.Options, dhcp.OptionLeaseTime) }
	s.step(s.answer(dhcp.Offer, none))
	s.step(s.answer(dhcp.ACK, none))
	if l := s.m.Lease(); !l.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("expires at %v, expected an hour", l.Expires)
	}
}
