package arp

import (
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

func TestFirstPacketOfAHostArrives(t *testing.T) {
	s := newStation(t, Config{})
	s.expect(s.step(Resolve{lan, host, wait(100)}),
		"changed 1 10.0.0.9 none->incomplete",
		"send 1 to all: who has 10.0.0.9 tell 10.0.0.1")
	s.expect(s.step(Resolve{lan, host, wait(101)}))
	s.expect(s.step(answerFrom(hostMAC, host)),
		"bind 1 10.0.0.9 02:00:00:00:00:09",
		"changed 1 10.0.0.9 incomplete->reachable",
		"release 1 10.0.0.9 [100 101]")
}

func TestThreeBroadcastsASecondApartThenHostUnreachable(t *testing.T) {
	s := newStation(t, Config{})
	s.step(Resolve{lan, host, wait(100)})
	s.expect(s.after(999 * time.Millisecond))
	s.expect(s.after(time.Millisecond), "send 1 to all: who has 10.0.0.9 tell 10.0.0.1")
	s.expect(s.after(time.Second), "send 1 to all: who has 10.0.0.9 tell 10.0.0.1")
	s.expect(s.after(time.Second),
		"changed 1 10.0.0.9 incomplete->failed",
		"abandon 1 10.0.0.9 [100] neighbor_unreachable")
	s.expect(s.step(Resolve{lan, host, wait(7)}),
		"changed 1 10.0.0.9 failed->incomplete",
		"send 1 to all: who has 10.0.0.9 tell 10.0.0.1")
	s.after(3 * time.Second)
	s.expect(s.after(30*time.Second), "changed 1 10.0.0.9 failed->none")
	if n := s.m.Next(); !n.IsZero() {
		t.Fatalf("nothing is left, yet something is due at %v", n)
	}
}

func TestReachableBecomesStaleAfterHalfToOneAndAHalfTimesTheBase(t *testing.T) {
	s := newStation(t, Config{})
	var spans []time.Duration
	for range 50 {
		s.step(Flush{All: true})
		s.after(2 * time.Second)
		s.reachable()
		from := s.now
		s.expect(s.until(host, StateStale), "changed 1 10.0.0.9 reachable->stale", "watch 1 10.0.0.9")
		spans = append(spans, s.now.Sub(from))
	}
	if lo, hi := slices.Min(spans), slices.Max(spans); lo < 15*time.Second || hi > 45*time.Second || hi-lo < 10*time.Second {
		t.Fatalf("reachable lasts from %v to %v, expected to spread over 15s to 45s", lo, hi)
	}
}

func TestProbeKeepsTheCachedAdjacency(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.until(host, StateStale)
	s.expect(s.step(Used{lan, host}), "changed 1 10.0.0.9 stale->delay")
	s.expect(s.after(5*time.Second),
		"changed 1 10.0.0.9 delay->probe",
		"send 1 to 02:00:00:00:00:09: who has 10.0.0.9 tell 10.0.0.1")
	s.expect(s.after(time.Second), "send 1 to 02:00:00:00:00:09: who has 10.0.0.9 tell 10.0.0.1")
	s.expect(s.step(answerFrom(hostMAC, host)), "changed 1 10.0.0.9 probe->reachable")
}

func TestThreeUnansweredProbesUnbind(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.until(host, StateStale)
	s.step(Used{lan, host})
	s.until(host, StateProbe)
	s.after(2 * time.Second)
	s.expectState(host, StateProbe)
	s.expect(s.after(time.Second), "unbind 1 10.0.0.9", "changed 1 10.0.0.9 probe->failed")
	if n := s.m.Counters().ProbesSent; n != 3 {
		t.Fatalf("%d probes were sent, expected 3", n)
	}
}

func TestUnusedStaleNeighbourIsNeverProbedAndGoesInTheEnd(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.until(host, StateStale)
	s.expect(s.after(10*time.Minute), "unbind 1 10.0.0.9", "changed 1 10.0.0.9 stale->none")
}

func TestUpperLayersConfirmWithoutAProbe(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.until(host, StateStale)
	s.step(Used{lan, host})
	s.after(4 * time.Second)
	s.expect(s.step(Confirm{lan, host}), "changed 1 10.0.0.9 delay->reachable")
	s.expect(s.after(14 * time.Second))
}

func TestPacketThatCrossedItsAdjacencyIsReleasedAtOnce(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.expect(s.step(Resolve{lan, host, wait(9)}),
		"bind 1 10.0.0.9 02:00:00:00:00:09", "release 1 10.0.0.9 [9]")
}

func TestNewHardwareAddressIsTakenAtOnceAndVerified(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.expect(s.step(requestFrom(otherMAC, host, router)),
		"bad 1 arp_too_soon", "send 1 to 02:00:00:00:00:0a: 10.0.0.1 is at 02:00:00:00:00:01")
	s.after(time.Second)
	s.expect(s.step(requestFrom(otherMAC, host, addr("10.0.0.77"))),
		"bind 1 10.0.0.9 02:00:00:00:00:0a", "changed 1 10.0.0.9 reachable->stale", "watch 1 10.0.0.9")
	s.expect(s.step(requestFrom(hostMAC, host, host)), // announced: believed at once
		"bind 1 10.0.0.9 02:00:00:00:00:09", "changed 1 10.0.0.9 stale->stale", "watch 1 10.0.0.9")
}

func TestSecondAnswerDoesNotMoveTheNeighbour(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.expect(s.step(answerFrom(otherMAC, host)), "bad 1 arp_too_soon")
	if n, _ := s.m.Lookup(s.now, lan, host); n.MAC != hostMAC {
		t.Fatalf("the second answer won: %v", n.MAC)
	}
}

func TestRequestWhileResolvingReleasesAndIsVerified(t *testing.T) {
	s := newStation(t, Config{})
	s.step(Resolve{lan, host, wait(5)})
	s.expect(s.step(requestFrom(hostMAC, host, router)),
		"bind 1 10.0.0.9 02:00:00:00:00:09",
		"changed 1 10.0.0.9 incomplete->stale",
		"watch 1 10.0.0.9",
		"release 1 10.0.0.9 [5]",
		"changed 1 10.0.0.9 stale->delay",
		"send 1 to 02:00:00:00:00:09: 10.0.0.1 is at 02:00:00:00:00:01")
	s.expect(s.step(answerFrom(hostMAC, host)), "changed 1 10.0.0.9 delay->reachable")
}

func TestOldestWaitingPacketMakesRoom(t *testing.T) {
	s := newStation(t, Config{MaxWaitingPackets: 3, MaxWaitingBytes: 1000})
	for i := 1; i <= 3; i++ {
		s.step(Resolve{lan, host, wait(i)})
	}
	s.expect(s.step(Resolve{lan, host, wait(4)}), "dropped 1 10.0.0.9 1 neighbor_queue_packets")
	s.expect(s.step(Resolve{lan, host, wait(995)}),
		"dropped 1 10.0.0.9 2 neighbor_queue_packets", "dropped 1 10.0.0.9 3 neighbor_queue_bytes")
	s.expect(s.step(Resolve{lan, addr("10.0.0.10"), wait(50)}),
		"changed 1 10.0.0.10 none->incomplete",
		"send 1 to all: who has 10.0.0.10 tell 10.0.0.1",
		"dropped 1 10.0.0.10 50 neighbor_queue_bytes")
	s.expect(s.step(Resolve{lan, host, wait(1001)}), "dropped 1 10.0.0.9 1001 neighbor_queue_bytes")
	s.expect(s.step(answerFrom(hostMAC, host))[2:], "release 1 10.0.0.9 [4 995]")
	if s.m.waitingBytes != 0 {
		t.Fatalf("%d octets are still counted as waiting", s.m.waitingBytes)
	}
}

func TestOneRequestASecondEvenAcrossAFlush(t *testing.T) {
	s := newStation(t, Config{})
	s.step(Resolve{lan, host, wait(5)})
	s.after(100 * time.Millisecond)
	s.expect(s.step(Flush{Port: lan}), "changed 1 10.0.0.9 incomplete->none", "abandon 1 10.0.0.9 [5] neighbor_flushed")
	s.expect(s.step(Resolve{lan, host, nil}), "changed 1 10.0.0.9 none->incomplete")
	s.expect(s.after(899 * time.Millisecond))
	s.expect(s.after(time.Millisecond), "send 1 to all: who has 10.0.0.9 tell 10.0.0.1")
}

func TestBroadcastsQueueForTheirTurn(t *testing.T) {
	s := newStation(t, Config{RequestRate: 10, RequestBurst: 2})
	sent := 0
	for i := range 8 {
		for _, l := range s.step(Resolve{lan, addr("10.0.0.20") + packet.Addr(i), wait(1)}) {
			if strings.HasPrefix(l, "send") {
				sent++
			}
		}
	}
	if sent != 2 {
		t.Fatalf("%d requests left at once, expected the burst of 2", sent)
	}
	s.expect(s.after(100*time.Millisecond), "send 1 to all: who has 10.0.0.22 tell 10.0.0.1")
	s.expect(s.after(100*time.Millisecond), "send 1 to all: who has 10.0.0.23 tell 10.0.0.1")
	for i := range 20 {
		s.step(Resolve{lan, addr("10.0.0.40") + packet.Addr(i), wait(1)})
	}
	if n := s.m.Counters().Dropped[DropRate]; n == 0 || n > 15 {
		t.Fatalf("%d packets were refused for the rate, expected those beyond a second's queue", n)
	}
}

func TestStaticNeighbourIsKeptThroughEverything(t *testing.T) {
	s := newStation(t, Config{})
	s.step(Resolve{lan, host, wait(3)})
	s.expect(s.step(AddStatic{lan, host, hostMAC}),
		"bind 1 10.0.0.9 02:00:00:00:00:09", "changed 1 10.0.0.9 incomplete->permanent", "release 1 10.0.0.9 [3]")
	s.expect(s.step(requestFrom(otherMAC, host, router))[:1], "bad 1 arp_permanent")
	s.expect(s.step(answerFrom(otherMAC, host)), "bad 1 arp_permanent")
	s.expect(s.step(Flush{All: true}))
	s.expect(s.after(time.Hour))
	s.expect(s.step(PortDown{lan}), "unbind 1 10.0.0.9")
	s.expect(s.step(Resolve{lan, host, wait(3)}), "dropped 1 10.0.0.9 3 neighbor_port_down")
	s.expect(s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/24")})[:1], "bind 1 10.0.0.9 02:00:00:00:00:09")
	s.expect(s.step(AddStatic{lan, host, otherMAC}), "bind 1 10.0.0.9 02:00:00:00:00:0a", "changed 1 10.0.0.9 permanent->permanent")
	s.expect(s.step(DeleteStatic{lan, host}), "unbind 1 10.0.0.9", "changed 1 10.0.0.9 permanent->none")
	s.expect(s.step(AddStatic{lan, host, packet.MAC{}}), "bad 1 arp_static_mac")
	s.expect(s.step(AddStatic{lan, router, hostMAC}), "bad 1 arp_static_address")
}

func TestStaticNeighbourOfAPortThatIsDownIsBoundWhenItComesUp(t *testing.T) {
	s := newStation(t, Config{})
	s.expect(s.step(AddStatic{wan, addr("10.5.0.9"), hostMAC}), "changed 2 10.5.0.9 none->permanent")
	s.expect(s.step(PortUp{Port: wan, MAC: wanMAC, Addresses: prefixes("10.5.0.1/24")})[:1], "bind 2 10.5.0.9 02:00:00:00:00:09")
}

func TestPortDownForgetsDynamicNeighbours(t *testing.T) {
	s := newStation(t, Config{})
	s.reachable()
	s.step(Resolve{lan, addr("10.0.0.10"), wait(4)})
	s.expect(s.step(PortDown{lan}),
		"changed 1 10.0.0.10 incomplete->none", "abandon 1 10.0.0.10 [4] neighbor_port_lost",
		"unbind 1 10.0.0.9", "changed 1 10.0.0.9 reachable->none")
	if !s.m.Next().IsZero() || len(s.m.Neighbors(s.now)) != 0 {
		t.Fatal("something of the port is left")
	}
}

func TestAddressesThatNoNeighbourCanHaveAreRefused(t *testing.T) {
	s := newStation(t, Config{})
	for a, want := range map[string]string{
		"10.0.0.1": "neighbor_own_address", "10.0.0.0": "neighbor_not_a_host", "10.0.0.255": "neighbor_not_a_host",
		"224.0.0.9": "neighbor_not_a_host", "255.255.255.255": "neighbor_not_a_host", "0.0.0.0": "neighbor_not_a_host",
		"127.0.0.1": "neighbor_not_a_host",
	} {
		s.expect(s.step(Resolve{lan, addr(a), wait(1)}), "dropped 1 "+a+" 1 "+want)
	}
}

func TestEveryUsableStateSendsAPacketThatHasNoAdjacency(t *testing.T) {
	for st := range numStates {
		tr := transitions[st][inResolve]
		if st.Usable() && tr.do&sendAgain != sendAgain {
			t.Errorf("%v does not release on resolve: %v", st, tr.do)
		}
		for in := range numInputs {
			tr := transitions[st][in]
			if tr.do == 0 {
				continue
			}
			if st.Usable() && !tr.next.Usable() && tr.do&stepUnbind == 0 {
				t.Errorf("%v on %v becomes %v and keeps its adjacency", st, in, tr.next)
			}
			if !st.Usable() && tr.next.Usable() && tr.do&stepBind == 0 {
				t.Errorf("%v on %v becomes %v without an adjacency", st, in, tr.next)
			}
			if tr.next != st && tr.do&(stepEnter|stepForget) == 0 {
				t.Errorf("%v on %v does not enter %v", st, in, tr.next)
			}
		}
	}
}
