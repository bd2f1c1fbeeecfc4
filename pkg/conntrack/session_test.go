package conntrack

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"vrouterd/internal/packet"
)

// rewritten applies a rewrite to a packet as the comment on Rewrite says, with finished or unfinished transport sums.
func rewritten(ip packet.IPv4, r Rewrite, sumAt int, partial bool) packet.IPv4 {
	out := append(packet.IPv4(nil), ip...)
	finished := func(sum, delta uint16) uint16 { return ^packet.Fold(uint64(^sum) + uint64(delta)) }
	out.SetSrc(r.Src)
	out.SetDst(r.Dst)
	out.SetChecksum(finished(ip.Checksum(), r.HeaderDelta))
	body := out.Payload()
	binary.BigEndian.PutUint16(body, r.SrcPort)
	binary.BigEndian.PutUint16(body[2:], r.DstPort)
	sum := binary.BigEndian.Uint16(body[sumAt:])
	if partial {
		sum = packet.Fold(uint64(sum) + uint64(r.HeaderDelta))
	} else {
		sum = finished(sum, r.TransportDelta)
	}
	binary.BigEndian.PutUint16(body[sumAt:], sum)
	return out
}

// transportSum of a packet: what its field should hold.
func transportSum(ip packet.IPv4, sumAt int, partial bool) uint16 {
	sum := packet.PseudoHeaderSum(ip.Src(), ip.Dst(), ip.Protocol(), len(ip.Payload()))
	if partial {
		return packet.Fold(sum)
	}
	whole := append([]byte(nil), ip.Payload()...)
	whole[sumAt], whole[sumAt+1] = 0, 0
	return ^packet.Fold(packet.Sum(whole, sum))
}

// TestDeltasKeepEverySumRight is the convention of Rewrite, on random packets of both directions.
func TestDeltasKeepEverySumRight(t *testing.T) {
	w := newWorld(t, Config{})
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		pick := func() uint16 { // with the corners of ones' complement
			return []uint16{1, 0xffff, 0xfffe, uint16(random.Uint32()) | 1}[random.IntN(4)]
		}
		addr := func() packet.Addr { return packet.Addr(pick())<<16 | packet.Addr(pick()) }
		k := MakeKey(protocolTCP, addr(), pick(), addr(), pick())
		reply := MakeKey(protocolTCP, addr(), pick(), addr(), pick())
		n := New{Original: k, Reply: reply, Flags: SourceTranslated}
		s, r := w.table.Create(w.now, &n, syn(k, 1))
		if r != ReasonNone || n.Existed {
			continue
		}
		for d := range Direction(2) {
			for _, partial := range []bool{false, true} {
				key, leaves := s.Key(d), s.Key(d.Other()).Reverse()
				body := tcp(key.SrcPort, key.DstPort, packet.TCPAck, nil, random.IntN(5))
				ip := ip4(protocolTCP, key.Src, key.Dst, body)
				packet.TCP(ip.Payload()).SetChecksum(transportSum(ip, 16, partial))
				rewrite := s.Rewrite(d)
				out := rewritten(ip, rewrite, 16, partial)
				if got := parse(out).Key; got != leaves || rewrite.Changed != (key != leaves) {
					t.Fatalf("%+v left as %+v, expected %+v", key, got, leaves)
				}
				if packet.Checksum(out.Header()) != 0 {
					t.Fatalf("%+v to %+v: wrong header sum", key, leaves)
				}
				got, want := packet.TCP(out.Payload()).Checksum(), transportSum(out, 16, partial)
				if got != want && !(partial && got%0xffff == want%0xffff) {
					t.Fatalf("%+v to %+v, partial %v: transport sum %04x, expected %04x", key, leaves, partial, got, want)
				}
			}
		}
	}
}

func TestRewriteOfAQueryChangesTheIdentifier(t *testing.T) {
	w := newWorld(t, Config{})
	k := MakeKey(protocolICMP, client, 77, server, 0)
	s := w.open(New{Original: k, Reply: MakeKey(protocolICMP, server, 0, public, 99), Flags: SourceTranslated},
		&Parsed{Key: k, Class: ClassOpens, ICMPType: 8, Count: 1, Length: 84})
	there, back := s.Rewrite(Original), s.Rewrite(Reply)
	if there.Src != public || there.SrcPort != 99 || there.Dst != server || there.DstPort != 0 {
		t.Errorf("request: %+v", there)
	}
	if back.Src != server || back.SrcPort != 0 || back.Dst != client || back.DstPort != 77 {
		t.Errorf("reply: %+v", back)
	}
	delta := packet.Fold(uint64(there.TransportDelta) + uint64(^there.HeaderDelta))
	if sum, want := ^packet.Fold(uint64(^uint16(0x1234))+uint64(delta)), packet.UpdateChecksum16(0x1234, 77, 99); sum != want {
		t.Errorf("the sum of ICMP becomes %04x, expected %04x", sum, want)
	}
}

func TestUntranslatedSessionsChangeNothing(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.openUDP(1)
	for d := range Direction(2) {
		r := s.Rewrite(d)
		if r.Changed || r.HeaderDelta%0xffff != 0 || r.TransportDelta%0xffff != 0 {
			t.Errorf("direction %d: %+v", d, r)
		}
	}
}

func TestRoutesHoldForOneGenerationAndOnePort(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.openUDP(1)
	expect := func(d Direction, generation uint32, in uint16, want uint32, ok bool) {
		t.Helper()
		if a, found := s.Route(d, generation, in); found != ok || ok && a != want {
			t.Errorf("direction %d, generation %d, port %d: %d, %v", d, generation, in, a, found)
		}
	}
	expect(Original, 0, 1, 0, false) // a new session has none, under any generation
	s.SetRoute(Original, 7, 1, 100)
	s.SetRoute(Reply, 7, 2, 200)
	expect(Original, 7, 1, 100, true)
	expect(Reply, 7, 2, 200, true)
	expect(Original, 8, 1, 0, false)
	expect(Original, 7, 2, 0, false)
	s.SetRoute(Original, 8, 3, 300)
	expect(Original, 8, 3, 300, true)
	expect(Reply, 8, 2, 0, false)
	expect(Reply, 7, 2, 0, false)
	s.SetRoute(Reply, 7, 2, 200) // by a worker that is late: a reader might find it under the generation that comes after
	expect(Original, 8, 3, 300, true)
	expect(Reply, 7, 2, 0, false)
	expect(Reply, 8, 2, 0, false)
	s.SetRoute(Reply, 8+1<<20, 2, 200) // after a long sleep, or around the end
	s.SetRoute(Reply, 8, 2, 200)
	expect(Reply, 8, 2, 200, true)
	if a, b := s.Ports(); a != 3 || b != 2 {
		t.Errorf("ports %d and %d", a, b)
	}
}

func TestWhatEndedIsNoLongerUpdated(t *testing.T) {
	w := newWorld(t, Config{})
	s := w.openUDP(1)
	p := datagram(udpKey(1))
	if r := s.Update(w.table, w.now, Original, p, true); r != ReasonNone || s.counts[Original].packets != 1 {
		t.Errorf("a packet that waited: %v, %d packets", r, s.counts[Original].packets)
	}
	w.table.Remove(w.now, s)
	for _, repeat := range []bool{false, true} {
		if r := s.Update(w.table, w.now, Original, p, repeat); r != ReasonNoSession {
			t.Errorf("got %v", r)
		}
	}
}

func TestCountersGoBeyond32Bits(t *testing.T) {
	var c count
	for range 5 {
		c.add(1<<31, 1<<32-1)
	}
	if p, o := c.values(); p != 5<<31 || o != 5*(1<<32-1) {
		t.Errorf("%d packets, %d octets", p, o)
	}
	c = count{packets: 1<<32 - 1, octets: 1<<32 - 1, high: 1<<32 - 1}
	c.add(1, 1)
	if p, o := c.values(); p != 0 || o != 0 {
		t.Errorf("they begin anew together: %d packets, %d octets", p, o)
	}
}

// refreshed tells whether a packet of a direction, after a while, gives a session more time.
func refreshes(t *testing.T, flags Flags, d Direction) bool {
	w := newWorld(t, Config{Timeouts: Timeouts{UDP: 1000}})
	k := udpKey(1)
	s := w.open(New{Original: k, Reply: k.Reverse(), Flags: flags}, datagram(k))
	s.Update(w.table, w.now, Reply, datagram(k.Reverse()), false)
	w.now += 900
	s.Update(w.table, w.now, d, datagram(s.Key(d)), false)
	w.now += 900
	found, _ := w.table.Find(w.now, &k)
	return found != nil
}

// TestOutboundTrafficRefreshesAndInboundOnlyWhereInsideAsked is RFC 4787 REQ-6: the outbound refresh behaviour is true, the inbound one too
// (REQ-6 a), but for sessions that outside has opened.
func TestOutboundTrafficRefreshesAndInboundOnlyWhereInsideAsked(t *testing.T) {
	for _, c := range []struct {
		flags Flags
		d     Direction
		want  bool
	}{
		{0, Original, true}, {0, Reply, true}, {FromOutside, Original, false}, {FromOutside, Reply, true},
	} {
		if got := refreshes(t, c.flags, c.d); got != c.want {
			t.Errorf("flags %b, direction %d: %v", c.flags, c.d, got)
		}
	}
}

// TestDefaultTimeoutsAreTheFloorsOfTheRFCs: RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2, RFC 7857 section 2.
func TestDefaultTimeoutsAreTheFloorsOfTheRFCs(t *testing.T) {
	last := func(n New, p *Parsed, more func(w *world, s *Session)) int {
		w := newWorld(t, Config{})
		s := w.open(n, p)
		if more != nil {
			more(w, s)
		}
		i := w.page(Filter{})
		return int(i[0].Expires) / TicksPerSecond
	}
	u := udpKey(1)
	echo := MakeKey(protocolICMP, client, 5, server, 0)
	other := MakeKey(47, client, 0, server, 0)
	c := MakeKey(protocolTCP, client, 40000, server, 80)
	expect := func(what string, got, want int) {
		if got != want {
			t.Errorf("%s: %d s, expected %d", what, got, want)
		}
	}
	expect("UDP", last(New{Original: u, Reply: u.Reverse()}, datagram(u), nil), 300)
	expect("UDP, answered", last(New{Original: u, Reply: u.Reverse()}, datagram(u), func(w *world, s *Session) {
		s.Update(w.table, w.now, Reply, datagram(u.Reverse()), false)
	}), 300)
	expect("ICMP", last(New{Original: echo, Reply: echo.Reverse()}, &Parsed{Class: ClassOpens, ICMPType: 8}, nil), 60)
	expect("another protocol", last(New{Original: other, Reply: other.Reverse()}, &Parsed{Class: ClassOpens}, nil), 600)
	for _, phases := range []struct {
		what string
		text string
		want int
	}{
		{"TCP opening", "", 240},
		{"TCP established", handshake, 7440},
		{"TCP closing", handshake + "> fin+ack seq=1 ack=1 -> fin_wait", 240},
		{"TCP after a reset", handshake + "> rst seq=1 -> reset", 240},
	} {
		expect(phases.what, last(New{Original: c, Reply: c.Reverse()}, syn(c, isn0), func(w *world, s *Session) {
			(&connection{world: w, key: c, s: s}).dialogue(phases.text)
		}), phases.want)
	}
}

func TestAnswersOfAnotherTypeBelongToNoQuery(t *testing.T) {
	w := newWorld(t, Config{})
	k := MakeKey(protocolICMP, client, 5, server, 0)
	s := w.open(New{Original: k, Reply: k.Reverse()}, &Parsed{Key: k, Class: ClassOpens, ICMPType: 8})
	for _, c := range []struct {
		d        Direction
		icmpType uint8
		want     Reason
	}{
		{Original, 8, ReasonNone}, {Reply, 0, ReasonNone}, {Reply, 8, ReasonICMPType}, {Original, 0, ReasonICMPType},
		{Original, 13, ReasonICMPType}, {Reply, 14, ReasonICMPType}, {Reply, 18, ReasonICMPType},
	} {
		if r := s.Update(w.table, w.now, c.d, &Parsed{Class: ClassContinues, ICMPType: c.icmpType}, false); r != c.want {
			t.Errorf("direction %d, type %d: %v", c.d, c.icmpType, r)
		}
	}
	if s.State() != Replied {
		t.Errorf("state %v", s.State())
	}
}

// TestResetsDoNotProlong: a storm of resets ends nothing else and lives no longer than the first.
func TestResetsDoNotProlong(t *testing.T) {
	w := newWorld(t, Config{})
	c := w.connection(0)
	c.dialogue(handshake + "< rst seq=1 -> reset")
	for range 30 {
		w.now += 100
		c.say("< rst seq=1")
	}
	if s, _ := w.table.Find(w.now, &c.key); s != nil {
		t.Error("the session is still there")
	}
}

// TestOutsideCannotKeepItsOpeningAlive: SYNs that outside sends again give an unanswered session no more time.
func TestOutsideCannotKeepItsOpeningAlive(t *testing.T) {
	w := newWorld(t, Config{})
	c := w.connection(FromOutside)
	for range 24 {
		w.now += 100
		c.say("> syn")
	}
	if s, _ := w.table.Find(w.now, &c.key); s != nil {
		t.Error("the session is still there")
	}
}

// TestRFC7857Section7_ResetsFromInsideDoNotKeepWhatOutsideHasOpened: whoever knocks at a closed port gets a reset for each SYN, and
// whoever resets its own SYN needs not even that. Neither holds a mapping for longer than the first SYN.
func TestRFC7857Section7_ResetsFromInsideDoNotKeepWhatOutsideHasOpened(t *testing.T) {
	for what, round := range map[string]string{
		"inside resets each SYN":     "< rst+ack ack=1 -> reset\n> syn -> syn_sent",
		"outside resets its own SYN": "> rst seq=1 -> reset\n> syn -> syn_sent",
	} {
		w := newWorld(t, Config{})
		c := w.connection(FromOutside)
		for range 23 {
			w.now += 100 // ten seconds
			c.dialogue(round)
		}
		w.now += 100
		if s, _ := w.table.Find(w.now, &c.key); s != nil {
			t.Errorf("%s: the session is still there after four minutes", what)
		}
		// What inside has opened has its time from the last change, as before.
		w = newWorld(t, Config{})
		c = w.connection(0)
		for range 30 {
			w.now += 100
			c.dialogue(round)
		}
	}
}

// TestRFC7857Section7_WhatHasBeenAnsweredIsResetForItsWholeTime: forged resets shall not end a connection (section 2.2), whoever opened it.
func TestRFC7857Section7_WhatHasBeenAnsweredIsResetForItsWholeTime(t *testing.T) {
	for _, line := range []string{"< rst seq=1 -> reset", "> rst seq=1 -> reset"} {
		w := newWorld(t, Config{})
		c := w.connection(FromOutside)
		c.dialogue(handshake)
		w.now += 10 * 3600
		c.dialogue(line)
		w.now += 10 * 239
		if s, _ := w.table.Find(w.now, &c.key); s == nil {
			t.Errorf("%q: a connection that was established an hour ago is forgotten at once", line)
		}
	}
}

func TestFindAndUpdateAllocateNothing(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 100 {
		w.openUDP(i)
	}
	k := udpKey(50)
	p := datagram(k)
	if n := testing.AllocsPerRun(100, func() {
		s, d := w.table.Find(w.now, &k)
		s.Update(w.table, w.now, d, p, false)
		s.SetRoute(d, 1, 1, 1)
		s.Route(d, 1, 1)
		s.Rewrite(d)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	i := 1000
	if n := testing.AllocsPerRun(100, func() {
		k := udpKey(i)
		w.table.Create(w.now, &New{Original: k, Reply: k.Reverse()}, p)
		i++
	}); n > 2 { // shards of the index that grow, and nothing else
		t.Errorf("%v allocations of Create", n)
	}
}

func TestEveryReasonAndStateHasItsWords(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		if r.String() == "" || r.Description() == "" || seen[r.String()] {
			t.Errorf("reason %d: %q, %q", r, r, r.Description())
		}
		seen[r.String()] = true
	}
	for s := range NumStates {
		if s.String() == "" || seen[s.String()] {
			t.Errorf("state %d: %q", s, s)
		}
		seen[s.String()] = true
	}
	for p := range phase(15) {
		if s := p.state(); s >= NumStates || p >= firstTCP && tcpPhase(s) != p {
			t.Errorf("phase %d is state %v", p, s)
		}
	}
}
