package arp

import (
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

const answered = "send 1 to 02:00:00:00:00:09: 10.0.0.1 is at 02:00:00:00:00:01"

func TestRequestForUsIsAnsweredAndTeachesItsSender(t *testing.T) {
	s := newStation(t, Config{})
	s.expect(s.step(requestFrom(hostMAC, host, router)),
		"bind 1 10.0.0.9 02:00:00:00:00:09", "changed 1 10.0.0.9 none->stale", "watch 1 10.0.0.9", answered)
}

func TestRequestForAnotherTeachesNothingNew(t *testing.T) {
	s := newStation(t, Config{})
	s.expect(s.step(requestFrom(hostMAC, host, addr("10.0.0.44"))))
	s.expect(s.step(requestFrom(hostMAC, host, host))) // an announcement
	reply := Message{Op: OpReply, SenderMAC: hostMAC, SenderAddr: host, TargetMAC: hostMAC, TargetAddr: host}
	s.expect(s.step(frame(lan, hostMAC, packet.BroadcastMAC, reply))) // a gratuitous reply
	s.expect(s.step(answerFrom(hostMAC, host)), "bad 1 arp_unsolicited")
	if n := len(s.m.Neighbors(s.now)); n != 0 {
		t.Fatalf("%d neighbours were learned, expected none", n)
	}
}

func TestGratuitousReplyUpdatesAnExistingNeighbour(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.after(2 * time.Second)
	reply := Message{Op: OpReply, SenderMAC: otherMAC, SenderAddr: host, TargetMAC: otherMAC, TargetAddr: host}
	s.expect(s.step(frame(lan, otherMAC, packet.BroadcastMAC, reply)),
		"bind 1 10.0.0.9 02:00:00:00:00:0a", "changed 1 10.0.0.9 reachable->stale", "watch 1 10.0.0.9")
}

func TestProbeForUsIsAnsweredAndTeachesNothing(t *testing.T) {
	s := newStation(t, Config{})
	s.expect(s.step(requestFrom(hostMAC, 0, router)), answered)
	s.expect(s.step(requestFrom(hostMAC, 0, host)))
	if n := len(s.m.Neighbors(s.now)); n != 0 {
		t.Fatalf("a probe taught %d neighbours", n)
	}
}

func TestLadderNamesEveryRefusal(t *testing.T) {
	good := Message{Op: OpRequest, SenderMAC: hostMAC, SenderAddr: host, TargetAddr: router}
	change := func(f func(*Message)) Frame {
		m := good
		f(&m)
		return frame(lan, hostMAC, packet.BroadcastMAC, m)
	}
	raw := func(at int, v byte) Frame {
		f := frame(lan, hostMAC, packet.BroadcastMAC, good)
		f.Payload[at] = v
		return f
	}
	short := frame(lan, hostMAC, packet.BroadcastMAC, good)
	short.Payload = short.Payload[:27]
	group := mac("01:00:5e:00:00:01")
	tests := map[BadReason][]Frame{
		BadPort:             {frame(wan, hostMAC, packet.BroadcastMAC, good)},
		BadShort:            {short},
		BadHardwareType:     {raw(1, 6)},
		BadProtocolType:     {raw(2, 0x86)},
		BadLengths:          {raw(4, 8), raw(5, 16)},
		BadOperation:        {raw(7, 3), raw(7, 0)},
		BadFrameDestination: {frame(lan, hostMAC, otherMAC, good), frame(lan, hostMAC, group, good)},
		BadFrameSource:      {frame(lan, group, routerMAC, good), frame(lan, packet.MAC{}, routerMAC, good)},
		BadSourceMismatch:   {frame(lan, otherMAC, packet.BroadcastMAC, good)},
		BadSenderMAC: {
			change(func(m *Message) { m.SenderMAC = group }),
			change(func(m *Message) { m.SenderMAC = packet.BroadcastMAC }),
			change(func(m *Message) { m.SenderMAC = packet.MAC{} }),
		},
		BadLoop: {change(func(m *Message) { m.SenderMAC = routerMAC })},
		BadSenderAddress: {
			change(func(m *Message) { m.SenderAddr = addr("10.0.0.255") }),
			change(func(m *Message) { m.SenderAddr = addr("224.0.0.1") }),
			change(func(m *Message) { m.SenderAddr = addr("127.0.0.1") }),
			change(func(m *Message) { m.SenderAddr, m.Op = 0, OpReply }),
			change(func(m *Message) { m.SenderAddr = packet.Broadcast }),
		},
		BadConflict:      {change(func(m *Message) { m.SenderAddr = router })},
		BadOwnAddress:    {change(func(m *Message) { m.SenderAddr = addr("10.7.0.1") })},
		BadOffLink:       {change(func(m *Message) { m.SenderAddr = addr("10.1.0.9") })},
		BadTargetAddress: {change(func(m *Message) { m.TargetAddr = addr("10.0.0.255") })},
	}
	for want, frames := range tests {
		for i, f := range frames {
			s := newStation(t, Config{MatchSource: true})
			s.step(PortUp{Port: 7, MAC: wanMAC, Addresses: prefixes("10.7.0.1/24")})
			s.after(3 * time.Second)
			if got := s.step(f); len(got) == 0 || got[0] != line(Bad{Port: f.Port, Reason: want}) {
				t.Errorf("%v, frame %d: got %q", want, i, got)
			}
			if n := s.m.Counters().Bad[want]; n != 1 {
				t.Errorf("%v, frame %d: counted %d times", want, i, n)
			}
			if n := len(s.m.Neighbors(s.now)); n != 0 {
				t.Errorf("%v, frame %d: a neighbour was learned", want, i)
			}
		}
	}
}

func TestReasonsHaveNamesAndSentences(t *testing.T) {
	names := map[string]bool{}
	check := func(name, sentence string) {
		if name == "" || name != "none" && names[name] || len(sentence) < 10 || sentence[len(sentence)-1] == '.' ||
			sentence[0] >= 'A' && sentence[0] <= 'Z' && !strings.HasPrefix(sentence, "ARP") {
			t.Errorf("reason %q says %q: expected its own name, and words that stand in a table as those of the dataplane do", name, sentence)
		}
		names[name] = true
	}
	for r := range NumBadReasons {
		check(r.String(), r.Description())
	}
	for r := range NumDropReasons {
		check(r.String(), r.Description())
	}
	if BadReason(200).String() != "unknown" || DropReason(200).String() != "unknown" || State(99).String() != "unknown" {
		t.Error("a reason beyond the last is not called unknown")
	}
}

func TestOffLinkNeighbourOfARouteIsHeard(t *testing.T) {
	s := newStation(t, Config{})
	far := addr("10.9.9.5")
	s.expect(s.step(Resolve{lan, far, wait(8)}),
		"changed 1 10.9.9.5 none->incomplete", "send 1 to all: who has 10.9.9.5 tell 10.0.0.1")
	s.expect(s.step(answerFrom(hostMAC, far)),
		"bind 1 10.9.9.5 02:00:00:00:00:09", "changed 1 10.9.9.5 incomplete->reachable", "release 1 10.9.9.5 [8]")

	s = newStation(t, Config{})
	s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24"), OnLink: prefixes("10.9.9.0/24")})
	s.expect(s.step(requestFrom(hostMAC, far, router))[1:2], "changed 1 10.9.9.5 none->stale")
}

func TestProxyAnswersForTheOtherSideOnly(t *testing.T) {
	s := newStation(t, Config{})
	s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24"), ProxyARP: prefixes("10.3.0.0/24", "10.0.0.128/25", "0.0.0.0/0")})
	answer := func(target string) bool {
		got := s.step(requestFrom(hostMAC, host, addr(target)))
		return len(got) > 0 && got[len(got)-1] == "send 1 to 02:00:00:00:00:09: "+target+" is at 02:00:00:00:00:01"
	}
	for target, want := range map[string]bool{
		"10.3.0.7":     true,  // a network of another port
		"198.51.100.7": true,  // anything else, by 0.0.0.0/0
		"10.0.0.130":   true,  // half of our own network, stated to be elsewhere
		"10.0.0.44":    false, // the port's own side
		"10.0.0.9":     false, // the asker itself
		"224.0.0.5":    false,
	} {
		if got := answer(target); got != want {
			t.Errorf("%s: answered %v, expected %v", target, got, want)
		}
	}
	s.expect(s.step(requestFrom(hostMAC, 0, addr("10.3.0.7")))) // a probe
	s.step(AddStatic{lan, addr("10.0.0.131"), otherMAC})
	if answer("10.0.0.131") {
		t.Error("answered for a neighbour of the arrival port")
	}
}

func TestAnnouncementsAtLinkUpAndAddressChange(t *testing.T) {
	s := &station{t: t, m: newStation(t, Config{}).m, now: start.Add(time.Minute)}
	one, two := "send 1 to all: who has 10.0.0.1 tell 10.0.0.1", "send 1 to all: who has 10.5.0.1 tell 10.5.0.1"
	s.step(PortDown{lan})
	s.expect(s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24")}), "address 1 10.0.0.1 ready", one)
	s.expect(s.after(2*time.Second), one)
	s.expect(s.after(time.Minute))
	s.reachable()
	s.expect(s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24", "10.5.0.1/24")}), "address 1 10.5.0.1 ready", two)
	s.expect(s.after(2*time.Second), two)
	s.expect(s.step(Resolve{Port: lan, Addr: addr("10.5.0.7")}),
		"changed 1 10.5.0.7 none->incomplete", "send 1 to all: who has 10.5.0.7 tell 10.5.0.1")
	s.expect(s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.5.0.1/24")}),
		"unbind 1 10.0.0.9", "changed 1 10.0.0.9 reachable->none")
	s.expect(s.step(PortUp{Port: lan, MAC: wanMAC, Addresses: prefixes("10.5.0.1/24")}), two)
}

func TestPointToPointAndHostPrefixes(t *testing.T) {
	s := newStation(t, Config{})
	s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.8.0.0/31", "10.8.1.1/32")})
	s.expect(s.step(Resolve{Port: lan, Addr: addr("10.8.0.1")}),
		"changed 1 10.8.0.1 none->incomplete", "send 1 to all: who has 10.8.0.1 tell 10.8.0.0")
	s.expect(s.step(requestFrom(hostMAC, addr("10.8.0.1"), addr("10.8.0.0")))[1:2], "changed 1 10.8.0.1 incomplete->stale")
	s.expect(s.step(requestFrom(hostMAC, addr("10.8.1.2"), addr("10.8.1.1"))), "bad 1 arp_off_link")
}

func TestAddressIsProbedBeforeUse(t *testing.T) {
	s := &station{t: t, m: newStation(t, Config{}).m, now: start.Add(time.Minute)}
	s.step(PortDown{lan})
	up := PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24"), DAD: true}
	s.expect(s.step(up), "address 1 10.0.0.1 tentative")
	s.expect(s.step(requestFrom(hostMAC, host, router)))
	s.expect(s.step(Resolve{lan, host, wait(1)}), "dropped 1 10.0.0.9 1 neighbor_no_source")
	began := s.now
	probe, announcement := "send 1 to all: who has 10.0.0.1 tell 0.0.0.0", "send 1 to all: who has 10.0.0.1 tell 10.0.0.1"
	s.expect(s.after(10*time.Second), probe, probe, probe, "address 1 10.0.0.1 ready", announcement, announcement)
	if n := s.m.Counters().AddressProbesSent; n != 3 {
		t.Fatalf("%d probes since %v, expected 3", n, began)
	}
}

func TestProbedAddressInUseIsNotTakenAndTriedAgainAfterAMinute(t *testing.T) {
	for name, f := range map[string]Frame{
		"its holder":      requestFrom(hostMAC, router, host),
		"another prober":  requestFrom(hostMAC, 0, router),
		"holder's answer": frame(lan, hostMAC, packet.BroadcastMAC, Message{Op: OpReply, SenderMAC: hostMAC, SenderAddr: router, TargetMAC: routerMAC}),
	} {
		s := &station{t: t, m: newStation(t, Config{}).m, now: start.Add(time.Minute)}
		s.step(PortDown{lan})
		s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24"), DAD: true})
		s.after(1500 * time.Millisecond)
		t.Log(name)
		s.expect(s.step(f), "bad 1 arp_conflict",
			"conflict 1 10.0.0.1 02:00:00:00:00:09 defended=false", "address 1 10.0.0.1 conflicted")
		s.expect(s.after(59 * time.Second))
		s.expect(s.after(time.Second), "address 1 10.0.0.1 tentative")
	}
}

func TestAddressIsDefendedOnceInTenSeconds(t *testing.T) {
	s := newStation(t, Config{})
	claim := requestFrom(hostMAC, router, router)
	s.expect(s.step(claim), "bad 1 arp_conflict",
		"send 1 to all: who has 10.0.0.1 tell 10.0.0.1", "conflict 1 10.0.0.1 02:00:00:00:00:09 defended=true")
	s.after(9 * time.Second)
	s.expect(s.step(claim), "bad 1 arp_conflict")
	s.after(time.Second)
	s.expect(s.step(claim)[1:], "send 1 to all: who has 10.0.0.1 tell 10.0.0.1", "conflict 1 10.0.0.1 02:00:00:00:00:09 defended=true")
	if n := s.m.Counters().Bad[BadConflict]; n != 3 {
		t.Fatalf("%d conflicting packets were counted, expected 3", n)
	}
}
