package hoststack

import (
	"net/netip"
	"strings"
	"testing"

	"vrouterd/internal/packet"
)

// served is a service that keeps what it got.
type served struct {
	got    []Datagram
	failed []string
	refuse bool
}

func (v *served) service() Service {
	return Service{
		Take: func(d Datagram) bool {
			if v.refuse {
				return false
			}
			one := d
			one.Payload = append([]byte(nil), d.Payload...)
			v.got = append(v.got, one)
			return true
		},
		Failed: func(to netip.AddrPort, why string) { v.failed = append(v.failed, to.String()+": "+why) },
	}
}

func (v *served) at(t *testing.T, s *Stack, where string) *DatagramPort {
	t.Helper()
	p, err := s.ServeUDP(netip.MustParseAddrPort(where), v.service())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// udpTo builds a datagram with a right checksum.
func udpTo(src, dst string, sport, dport uint16, size int) packet.IPv4 {
	a, b := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	return ipv4Packet(src, dst, packet.ProtoUDP, datagram(packet.AddrFrom(a), packet.AddrFrom(b), sport, dport, size))
}

func TestDatagramServiceLearnsWhoSentByWhichPortAndWhat(t *testing.T) {
	s := wire(t, 1500, newSink().put)
	var v served
	v.at(t, s, "10.0.0.1:53")
	s.DeliverFrom(7, udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 5))
	s.DeliverFrom(7, udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 0))
	if len(v.got) != 2 {
		t.Fatalf("%d datagrams", len(v.got))
	}
	d := v.got[0]
	if d.Arrival != 7 || d.From.String() != "10.0.0.9:4000" || d.To.String() != "10.0.0.1:53" || string(d.Payload) != "@ABCD" || len(v.got[1].Payload) != 0 {
		t.Errorf("got %+v", v.got)
	}
	if n := s.Stats(); n.Served != 2 || n.Delivered != 0 || n.BadDatagram != 0 {
		t.Errorf("counted %+v", n)
	}
}

func TestDatagramServiceAnswersFromTheAddressThatWasAsked(t *testing.T) {
	s := wire(t, 1500, newSink().put)
	s.SetAddresses([]netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.0.1.1/24")})
	var v served
	p := v.at(t, s, "10.0.1.1:53")
	first := packet.IPv4(p.Append(nil, netip.MustParseAddrPort("10.0.0.9:4000"), []byte("hello")))
	ids := map[uint16]bool{first.ID(): true}
	if first.Validate() != packet.HeaderGood || first.Src().String() != "10.0.1.1" || first.Dst().String() != "10.0.0.9" || first.TTL() != 64 || first.DontFragment() {
		t.Errorf("the header is %x", first[:20])
	}
	u := packet.UDP(first.Payload())
	if u.SrcPort() != 53 || u.DstPort() != 4000 || u.Length() != 13 || string(u.Payload()) != "hello" || u.Checksum() == 0 ||
		packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(first.Src(), first.Dst(), packet.ProtoUDP, len(u)))) != 0xffff {
		t.Errorf("the datagram is %x", u)
	}
	buf := []byte("before")
	for range 99 { // fragments of two answers must not be mixed up
		again := packet.IPv4(p.Append(buf, netip.MustParseAddrPort("10.0.0.9:4000"), []byte("hello"))[len(buf):])
		ids[again.ID()] = true
	}
	if len(ids) != 100 {
		t.Errorf("100 packets have %d identifications", len(ids))
	}
}

func TestDatagramOfAWrongChecksumOrLengthIsCountedAndNotServed(t *testing.T) {
	s := wire(t, 1500, newSink().put)
	var v served
	v.at(t, s, "10.0.0.1:53")
	whole := func(change func(u packet.UDP)) packet.IPv4 {
		p := udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 8)
		change(packet.UDP(p.Payload()))
		return p
	}
	bad := []packet.IPv4{
		whole(func(u packet.UDP) { u[8] ^= 1 }),
		whole(func(u packet.UDP) { u.SetChecksum(0); u.SetLength(7) }),
		whole(func(u packet.UDP) { u.SetChecksum(0); u.SetLength(17) }),
		udpTo("10.0.0.9", "10.0.0.1", 0, 53, 8),
	}
	for _, p := range bad {
		s.DeliverFrom(1, p)
	}
	if len(v.got) != 0 || s.Stats().BadDatagram != uint64(len(bad)) {
		t.Errorf("%d served, %d counted as bad", len(v.got), s.Stats().BadDatagram)
	}
	s.DeliverFrom(1, whole(func(u packet.UDP) { u.SetChecksum(0) })) // RFC 768: the sender made none
	if len(v.got) != 1 {
		t.Error("a datagram without a checksum was not served")
	}
}

func TestDatagramThatAServiceRefusesMeetsAClosedPort(t *testing.T) {
	out := newSink()
	s := wire(t, 1500, out.put)
	v := served{refuse: true}
	v.at(t, s, "10.0.0.1:53")
	s.DeliverFrom(1, udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 8))
	if m := packet.ICMP(out.next(t).Payload()); m.Type() != packet.ICMPUnreachable || m.Code() != packet.ICMPPortUnreachable {
		t.Errorf("the answer is %x", m)
	}
	if s.Stats().Served != 0 || s.Stats().Delivered != 1 {
		t.Errorf("counted %+v", s.Stats())
	}
}

func TestDatagramServiceThatClosedLeavesAClosedPort(t *testing.T) {
	out := newSink()
	s := wire(t, 1500, out.put)
	var v served
	p := v.at(t, s, "10.0.0.1:53")
	p.Close()
	p.Close()
	s.DeliverFrom(1, udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 8))
	if m := packet.ICMP(out.next(t).Payload()); m.Code() != packet.ICMPPortUnreachable {
		t.Errorf("the answer is %x", m)
	}
	var again served
	again.at(t, s, "10.0.0.1:53")
	p.Close() // is not this one's
	s.DeliverFrom(1, udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 8))
	if len(v.got) != 0 || len(again.got) != 1 {
		t.Errorf("%d and %d served", len(v.got), len(again.got))
	}
}

func TestDatagramServicesSeeNothingOfWhatTheStackSendsItself(t *testing.T) {
	s := wire(t, 1500, newSink().put)
	var v served
	v.at(t, s, "10.0.0.1:53")
	s.Deliver(udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 8))
	if len(v.got) != 0 || s.Stats().Delivered != 1 {
		t.Errorf("served %v", v.got)
	}
}

func TestDatagramServicesAndSocketsDoNotShareAPort(t *testing.T) {
	s := wire(t, 1500, newSink().put)
	var v served
	v.at(t, s, "10.0.0.1:53")
	for where, want := range map[string]string{
		"10.0.0.1:53": "in use", "10.0.0.2:53": "is not an address", "0.0.0.0:53": "needs an address", "10.0.0.1:0": "needs an address",
		"10.0.0.1:10000": "traceroutes", "10.0.0.1:15999": "traceroutes",
	} {
		if p, err := s.ServeUDP(netip.MustParseAddrPort(where), v.service()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v %v, want %q", where, p, err, want)
		}
	}
	if c, err := s.ListenUDP(netip.MustParseAddrPort("10.0.0.1:53")); err == nil {
		c.Close()
		t.Error("a socket got the port of a service")
	}
	c, err := s.ListenUDP(netip.MustParseAddrPort("10.0.0.1:5353"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p, err := s.ServeUDP(netip.MustParseAddrPort("10.0.0.1:5353"), v.service()); err == nil {
		p.Close()
		t.Error("a service got the port of a socket")
	}
}

func TestDatagramServiceLearnsOfErrorsAboutWhatItSent(t *testing.T) {
	s := wire(t, 1500, newSink().put)
	var v served
	p := v.at(t, s, "10.0.0.1:4444")
	sent := packet.IPv4(p.Append(nil, netip.MustParseAddrPort("10.0.0.9:53"), []byte("question")))
	s.DeliverFrom(1, icmpError("10.0.0.9", packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, sent))
	s.DeliverFrom(1, icmpError("10.0.0.7", packet.ICMPUnreachable, 1, 0, sent))
	s.DeliverFrom(1, icmpError("10.0.0.7", packet.ICMPUnreachable, packet.ICMPFragNeeded, 576, sent)) // of no concern: it may be fragmented
	s.DeliverFrom(1, icmpError("10.0.0.7", packet.ICMPTimeExceeded, 0, 0, sent))
	if got := strings.Join(v.failed, ", "); got != "10.0.0.9:53: port unreachable, 10.0.0.9:53: host unreachable" {
		t.Errorf("told of %q", got)
	}
	other := sent.Header()
	other[12] = 11 // not sent from here
	s.DeliverFrom(1, icmpError("10.0.0.9", packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, sent))
	if len(v.failed) != 2 {
		t.Errorf("told of %q", v.failed)
	}
}

func TestDatagramServiceTakesNoMemoryForADatagram(t *testing.T) {
	s := wire(t, 1500, newSink().put)
	var p *DatagramPort
	var b []byte
	answers := 0
	p, err := s.ServeUDP(netip.MustParseAddrPort("10.0.0.1:53"), Service{Take: func(d Datagram) bool {
		b = p.Append(b[:0], d.From, d.Payload)
		answers++
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	question := udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 40)
	if n := testing.AllocsPerRun(100, func() { s.DeliverFrom(1, question) }); n > 0 {
		t.Errorf("%v allocations for a datagram and its answer", n)
	}
	if answers == 0 {
		t.Error("nothing was answered")
	}
}

// FuzzDeliverFrom gives the stack any octets as a packet: each is counted once, and none goes to a service with more than it holds.
func FuzzDeliverFrom(f *testing.F) {
	f.Add([]byte(udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 5)))
	sent := udpTo("10.0.0.1", "10.0.0.9", 53, 4000, 5)
	f.Add([]byte(icmpError("10.0.0.9", packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, sent)))
	f.Add([]byte(udpTo("10.0.0.9", "10.0.0.1", 4000, 53, 0)[:24]))
	f.Fuzz(func(t *testing.T, octets []byte) {
		s, err := New(Options{Output: func([]byte) {}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.SetAddresses([]netip.Prefix{netip.PrefixFrom(here, 24)})
		p, err := s.ServeUDP(netip.MustParseAddrPort("10.0.0.1:53"), Service{
			Take: func(d Datagram) bool {
				if len(d.Payload) > len(octets)-28 || !d.From.IsValid() {
					t.Errorf("%d octets came out of %d, from %v", len(d.Payload), len(octets), d.From)
				}
				return len(d.Payload)%2 == 0
			},
			Failed: func(netip.AddrPort, string) {},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		// With right sums, so that more of it is looked at.
		if ip := packet.IPv4(octets); len(ip) >= packet.IPv4MinLen && ip.HeaderLen() >= packet.IPv4MinLen && ip.HeaderLen() <= len(ip) {
			ip = append(packet.IPv4(nil), ip...)
			ip.UpdateHeaderChecksum()
			octets = ip
		}
		s.DeliverFrom(3, octets)
		n := s.Stats()
		if n.Delivered+n.Probes+n.Served+n.Malformed+n.BadDatagram+n.BadSource+n.GroupEcho != 1 {
			t.Errorf("counted as %+v", n)
		}
	})
}
