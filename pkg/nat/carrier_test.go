package nat

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func carrier() Rule {
	return Rule{
		Out: wan, Type: CarrierGrade, Source: nets("100.64.0.0/10"), Outside: []packet.Addr{ip("203.0.113.1"), ip("203.0.113.2")},
		BlockSize: 64, MaxBlocks: 2,
	}
}

var subscriber1, subscriber2 = ip("100.64.0.1"), ip("100.64.0.2")

func TestSubscriberHasBlocksOfPorts(t *testing.T) { // RFC 6888 REQ-2, REQ-4, REQ-14
	b := newBed(t, []Rule{carrier()})
	var all []session
	for i := range uint16(128) {
		all = append(all, b.open(udp(subscriber1, 3000+i, server, 53)))
	}
	b.refused(udp(subscriber1, 4000, server, 53), ReasonNoBlocks)
	tcpToo := b.open(tcp(subscriber1, 4000, server, 53)) // the same ports of another protocol
	icmp := b.open(conntrack.MakeKey(protocolICMP, subscriber1, 9, server, 0))
	lines, lost := b.m.Blocks()
	if len(lines) != 2 || lost != 0 || b.m.Counts().Blocks != 2 {
		t.Fatalf("the log has %+v", lines)
	}
	for _, s := range append(all, tcpToo, icmp) {
		a, port := s.outsideOf()
		in := false
		for _, l := range lines {
			in = in || l.Outside == a && l.PortMin <= port && port <= l.PortMax && l.Subscriber == subscriber1 && !l.Freed && l.At == b.now
		}
		if !in {
			t.Errorf("%v:%d is in no block of the subscriber: %+v", a, port, lines)
		}
	}
	if lines[0].PortMax-lines[0].PortMin != 63 || lines[0].PortMin < 1024 {
		t.Errorf("a block is %d to %d", lines[0].PortMin, lines[0].PortMax)
	}
	b.close(all...)
	b.close(tcpToo, icmp)
	if freed, _ := b.m.Blocks(); len(freed) != 2 || !freed[0].Freed || freed[0].Subscriber != subscriber1 || freed[0].Outside != lines[0].Outside {
		t.Errorf("the log has %+v", freed)
	}
	b.empty()
}

func TestSubscribersShareNoBlock(t *testing.T) {
	r := carrier()
	r.BlockSize = 1024
	b := newBed(t, []Rule{r})
	owner := map[[2]uint32]packet.Addr{}
	for i := range 126 { // 63 blocks at each of two addresses
		for port := range uint16(3) {
			s := b.open(udp(subscriber1+packet.Addr(i), 5000+port, server, 53))
			a, p := s.outsideOf()
			block := [2]uint32{uint32(a), uint32(p) / 1024}
			if o, known := owner[block]; known && o != s.original.Src {
				t.Fatalf("%v and %v share a block", o, s.original.Src)
			}
			owner[block] = s.original.Src
		}
	}
	b.refused(udp(subscriber1+200, 5000, server, 53), ReasonNoBlocks)
	b.open(udp(subscriber1, 5009, server, 53))
}

func TestFreedBlockRests(t *testing.T) { // RFC 6888 REQ-8
	r := carrier()
	r.Outside, r.PortMin, r.PortMax = r.Outside[:1], 2048, 2048+63
	b := newBed(t, []Rule{r})
	s := b.open(udp(subscriber1, 3000, server, 53))
	b.refused(udp(subscriber2, 3000, server, 53), ReasonNoBlocks)
	b.close(s)
	b.now += 1199
	b.refused(udp(subscriber2, 3000, server, 53), ReasonNoBlocks)
	again := b.open(udp(subscriber1, 3000, server, 53)) // its own it may have at once
	b.close(again)
	b.now += 1200
	b.open(udp(subscriber2, 3000, server, 53))
}

func TestForwardedPortsInABlockAreLeftOut(t *testing.T) {
	r := carrier()
	r.Outside, r.PortMin, r.PortMax = r.Outside[:1], 2048, 2048+127
	b := newBed(t, []Rule{r}, Forward{In: wan, Protocol: protocolUDP, PortMin: 2048, PortMax: 2048 + 126, Outside: r.Outside, To: host1, ToPort: 5000})
	got := 0
	for h := range packet.Addr(4) {
		k := udp(subscriber1+h, 3000, server, 53)
		if s, reason := b.m.Outbound(b.p, b.now, wan, -1, &k); reason == ReasonNone {
			if got++; s.Port != 2048+127 {
				t.Errorf("port %d was given", s.Port)
			}
		}
	}
	if got != 1 {
		t.Errorf("%d subscribers have the one port that there is", got)
	}
}

func TestLogOfBlocksIsBounded(t *testing.T) {
	b := newBed(t, []Rule{carrier()})
	for range logLines {
		b.close(b.open(udp(subscriber1, 3000, server, 53)))
	}
	lines, lost := b.m.Blocks()
	if len(lines) != logLines || lost != logLines || lines[0].Freed || !lines[logLines-1].Freed {
		t.Errorf("%d lines, %d lost", len(lines), lost)
	}
	if lines, lost = b.m.Blocks(); len(lines) != 0 || lost != 0 {
		t.Errorf("then %d lines, %d lost", len(lines), lost)
	}
}

func TestRequestsOfSubscribersStayInTheirBlocks(t *testing.T) {
	b := newBed(t, []Rule{carrier()})
	made := b.add(Explicit{Protocol: protocolTCP, Inside: subscriber1, InsidePort: 80, OutsidePort: 80}, false)
	lines, _ := b.m.Blocks()
	if len(lines) != 1 || made.OutsidePort < lines[0].PortMin || made.OutsidePort > lines[0].PortMax {
		t.Errorf("%+v with blocks %+v", made, lines)
	}
	inside := lines[0].PortMin + 5
	if inside == made.OutsidePort {
		inside++
	}
	if second := b.add(Explicit{Protocol: protocolTCP, Inside: subscriber1, InsidePort: 81, OutsidePort: inside}, true); second.OutsidePort != inside {
		t.Errorf("%+v", second)
	}
	b.m.Delete(b.now, protocolTCP, subscriber1, 80)
	b.m.Delete(b.now, protocolTCP, subscriber1, 81)
	b.empty()
}

func TestRouterAndBlocksKeepClear(t *testing.T) {
	r := carrier()
	r.Outside = []packet.Addr{public}
	r.PortMin, r.PortMax, r.BlockSize = 2048, 4095, 1024
	b := newBed(t, []Rule{r})
	b.open(udp(public, 2050, server, 53)) // the first block has a port of the router in it
	s := b.open(udp(subscriber1, 2051, server, 53))
	if _, port := s.outsideOf(); port < 3072 {
		t.Errorf("%d is in a block of which the router has a port", port)
	}
	if own := b.open(udp(public, 3080, server, 53)); own.reply.DstPort >= 3072 && own.reply.DstPort < 4096 {
		t.Errorf("the router was given %d, of a subscriber's block", own.reply.DstPort)
	}
}

func TestOtherRulesKeepClearOfBlocks(t *testing.T) {
	r, other := carrier(), home()
	r.Outside = other.Outside
	r.PortMin, r.PortMax = 2048, 2111
	b := newBed(t, []Rule{r, other})
	b.open(udp(subscriber1, 3000, server, 53))
	lines, _ := b.m.Blocks()
	kept := b.open(tcp(host1, lines[0].PortMin+3, server, 53))
	if _, port := kept.outsideOf(); lines[0].PortMin <= port && port <= lines[0].PortMax {
		t.Errorf("%d is in the block %+v of a subscriber", port, lines[0])
	}
}

func TestExhaustedPoolIsSearchedOnceASecond(t *testing.T) {
	r := carrier()
	r.Outside, r.PortMin, r.PortMax = []packet.Addr{public}, 2048, 2111
	b := newBed(t, []Rule{r})
	own := b.open(udp(public, 2050, server, 53)) // of the only block
	b.refused(udp(subscriber1, 3000, server, 53), ReasonNoBlocks)
	b.close(own)
	b.now += 9
	b.refused(udp(subscriber1, 3000, server, 53), ReasonNoBlocks)
	b.now++
	b.open(udp(subscriber1, 3000, server, 53))
}

func deterministic() Rule {
	return Rule{
		Out: wan, Type: Deterministic, Source: nets("100.64.0.0/30", "100.64.1.0/24"), BlockSize: 1024,
		Outside: []packet.Addr{ip("203.0.113.1"), ip("203.0.113.2"), ip("203.0.113.9")},
	}
}

func TestDeterministicBlocksFollowFromTheAddress(t *testing.T) { // RFC 7422 section 2, RFC 6888 REQ-14
	r := deterministic()
	seen := map[[2]uint32]bool{}
	for i := range 189 { // 63 blocks at each of three addresses
		subscriber := ip("100.64.0.0") + packet.Addr(i)
		if i >= 4 {
			subscriber = ip("100.64.1.0") + packet.Addr(i-4)
		}
		a, has := r.AssignmentOf(subscriber)
		if !has || a.PortMin < 1024 || a.PortMax-a.PortMin != 1023 || seen[[2]uint32{uint32(a.Outside), uint32(a.PortMin)}] {
			t.Fatalf("%v has %+v (%v)", subscriber, a, has)
		}
		seen[[2]uint32{uint32(a.Outside), uint32(a.PortMin)}] = true
		for _, port := range []uint16{a.PortMin, a.PortMin + 500, a.PortMax} {
			if back, has := r.AssignmentAt(a.Outside, port); !has || back != a {
				t.Fatalf("%v:%d is of %+v, expected %+v", a.Outside, port, back, a)
			}
		}
	}
	if _, has := r.AssignmentOf(ip("100.64.1.185")); has {
		t.Error("there is no block left for 100.64.1.185")
	}
	if _, has := r.AssignmentOf(ip("100.64.0.4")); has {
		t.Error("100.64.0.4 is no subscriber")
	}
	if _, has := r.AssignmentAt(ip("203.0.113.1"), 1023); has {
		t.Error("port 1023 is in no block")
	}
	list, total := r.Assignments(60, 5)
	if total != 189 || len(list) != 5 || list[3].Outside != ip("203.0.113.2") || list[3].PortMin != 1024 {
		t.Errorf("%d in all, from 60 on %+v", total, list)
	}
}

func TestDeterministicMappingsStayInTheirBlock(t *testing.T) { // RFC 7422
	r := deterministic()
	r.BlockSize = 64
	b := newBed(t, []Rule{r})
	a, _ := r.AssignmentOf(ip("100.64.1.7"))
	var all []session
	for i := range uint16(64) {
		s := b.open(udp(ip("100.64.1.7"), 5000+i, server, 53))
		if addr, port := s.outsideOf(); addr != a.Outside || port < a.PortMin || port > a.PortMax {
			t.Fatalf("%v:%d is not in %+v", addr, port, a)
		}
		all = append(all, s)
	}
	b.refused(udp(ip("100.64.1.7"), 6000, server, 53), ReasonNoPorts)
	if k := conntrack.MakeKey(47, ip("100.64.1.7"), 0, server, 0); b.open(k).reply.Dst != a.Outside {
		t.Error("GRE leaves by another address")
	}
	if lines, _ := b.m.Blocks(); len(lines) != 0 {
		t.Error("computed blocks need no log")
	}
	b.close(all...)
	b.empty()
}
