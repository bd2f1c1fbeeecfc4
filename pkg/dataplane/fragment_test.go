package dataplane

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"vrouterd/internal/packet"
)

// all is every frame that left by a port, each with a good header.
func (b *testbed) all(id PortID) []sent {
	b.t.Helper()
	var frames []sent
	for {
		s, ok := b.take(id)
		if !ok {
			return frames
		}
		if fault := s.ip.Validate(); fault != packet.HeaderGood {
			b.t.Fatalf("what left by port %d has header fault %d", id, fault)
		}
		frames = append(frames, s)
	}
}

// pieces are the frames that left by a port, which must fit the MTU.
func (b *testbed) pieces(id PortID, mtu int) []packet.IPv4 {
	b.t.Helper()
	var pieces []packet.IPv4
	for _, s := range b.all(id) {
		if len(s.ip) > mtu || s.ip.TotalLen() != len(s.ip) {
			b.t.Fatalf("a piece of %d octets (total length %d), the MTU is %d", len(s.ip), s.ip.TotalLen(), mtu)
		}
		if s.vnet != (packet.Vnet{}) {
			b.t.Fatalf("a piece with offload header %+v", s.vnet)
		}
		pieces = append(pieces, s.ip)
	}
	return pieces
}

// reassemble puts pieces together octet by octet: the slow twin of fragmentInto. It
// returns the payload with its offset, and whether more is to follow.
func reassemble(t *testing.T, pieces []packet.IPv4) (payload []byte, offset int, more bool) {
	t.Helper()
	type octet struct {
		there bool
		value byte
	}
	octets := make([]octet, 70000)
	offset, end := 70000, 0
	for _, p := range pieces {
		if p.ID() != pieces[0].ID() || p.Src() != pieces[0].Src() || p.Dst() != pieces[0].Dst() || p.Protocol() != pieces[0].Protocol() || p.TOS() != pieces[0].TOS() || p.TTL() != pieces[0].TTL() {
			t.Fatalf("pieces of different packets")
		}
		at := p.FragmentOffset()
		offset = min(offset, at)
		for i, v := range p.Payload() {
			if octets[at+i].there {
				t.Fatalf("octet %d comes twice", at+i)
			}
			octets[at+i] = octet{true, v}
		}
		if e := at + len(p.Payload()); e > end {
			end, more = e, p.MoreFragments()
		} else if !p.MoreFragments() {
			t.Fatal("the piece that says it is last is not")
		}
		if p.MoreFragments() && len(p.Payload())%8 != 0 {
			t.Fatalf("a piece of %d octets, which is not the last", len(p.Payload()))
		}
	}
	for i := offset; i < end; i++ {
		if !octets[i].there {
			t.Fatalf("octet %d is missing", i)
		}
		payload = append(payload, octets[i].value)
	}
	return payload, offset, more
}

func TestFragmentsFitAndReassembleToTheOriginal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	mtu := 0
	b := newTestbed(t)
	for round := range 400 {
		mtu = []int{68, 69, 75, 76, 296, 576, 1006, 1280, 1499, 1500}[r.IntN(10)]
		tables := *b.d.tables.Load()
		tables.Ports = append([]Port{}, tables.Ports...)
		tables.Ports[portB].MTU, tables.Ports[portPlain].MTU = mtu, mtu
		b.d.Publish(&tables)
		out, dst := portB, hostB
		if round%2 == 0 {
			out, dst = portPlain, addr("10.4.0.2")
		}
		n := r.IntN(4000)
		if round%20 == 0 {
			n = 60000 + r.IntN(5000)
		}
		n = min(n, 60*(mtu-60)) // no more pieces than a socket holds
		options := make([]byte, 4*r.IntN(11))
		for i := range options {
			options[i] = optNop
		}
		ip := ipPacket(hostA, dst, packet.ProtoUDP, numbered(n), withTOS(0x2a), withOptions(options...))
		b.arrive(portA, ip)
		pieces := b.pieces(out, mtu)
		payload, offset, more := reassemble(t, pieces)
		if offset != 0 || more || !bytes.Equal(payload, ip.Payload()) {
			t.Fatalf("round %d: %d octets at MTU %d came out as %d pieces of %d octets, more %v", round, n, mtu, len(pieces), len(payload), more)
		}
		if pieces[0].ID() != 0x1234 || pieces[0].TTL() != 63 {
			t.Fatalf("ID %x TTL %d", pieces[0].ID(), pieces[0].TTL())
		}
		if len(ip) <= mtu && len(pieces) != 1 {
			t.Fatalf("%d octets fit the MTU of %d, and left in %d pieces", len(ip), mtu, len(pieces))
		}
		b.noPunt()
	}
	if d := b.drops(); len(d) != 0 {
		t.Errorf("drops: %v", d)
	}
}

func TestLastFragmentFillsItsMTU(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 1006 })
	b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoUDP, numbered(984+986)))
	if n := len(b.pieces(portB, 1006)); n != 2 {
		t.Errorf("%d pieces where two do", n)
	}
	if b.d.Counters().FragmentsMade != 2 {
		t.Errorf("%d fragments counted", b.d.Counters().FragmentsMade)
	}
}

func TestDontFragmentIsHonouredWithTheNextHopsMTU(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 576 })
	fits := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(556), withFlags(packet.FlagDF))
	b.arrive(portA, fits)
	if got := b.one(portB).ip; !got.DontFragment() {
		t.Error("DF was lost")
	}
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(557), withFlags(packet.FlagDF))
	b.arrive(portA, ip)
	b.dropped(DropFragmentationNeeded)
	b.none()
	p := b.punt()
	if p.Type != packet.ICMPUnreachable || p.Code != packet.ICMPFragNeeded || p.Rest != 576 {
		t.Errorf("type %d code %d rest %d", p.Type, p.Code, p.Rest)
	}
	if !bytes.Equal(p.Packet, ip[:min(len(ip), quoteLimit)]) {
		t.Errorf("quotes %x", p.Packet)
	}
}

func TestOnlyCopiedOptionsStandInLaterFragments(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 120 })
	security := []byte{130, 5, 1, 2, 3}
	unknown := []byte{30, 4, 9, 9}
	route := concat([]byte{7, 7, 4}, words(0))
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(300), withOptions(concat([]byte{1}, unknown, security, route)...))
	b.arrive(portA, ip)
	pieces := b.pieces(portB, 120)
	first := concat([]byte{1}, unknown, security, []byte{7, 7, 8}, words(uint32(addr("10.2.0.1"))))
	if got := pieces[0].Options(); !bytes.HasPrefix(got, first) {
		t.Errorf("first: % x, want % x", got, first)
	}
	for _, p := range pieces[1:] {
		if want := append(security, 0, 0, 0); !bytes.Equal(p.Options(), want) {
			t.Errorf("later: % x, want % x", p.Options(), want)
		}
	}
	if payload, _, _ := reassemble(t, pieces); !bytes.Equal(payload, ip.Payload()) {
		t.Error("the payload is another")
	}
}

func TestFragmentsOfFragmentsKeepTheirPlace(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 300 })
	for _, c := range []struct {
		units uint16
		more  uint16
	}{{0, packet.FlagMF}, {185, packet.FlagMF}, {185, 0}, {8000, 0}} {
		ip := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(1200), withFlags(c.units|c.more))
		b.arrive(portA, ip)
		payload, offset, more := reassemble(t, b.pieces(portB, 300))
		if offset != int(c.units)*8 || more != (c.more != 0) || !bytes.Equal(payload, ip.Payload()) {
			t.Errorf("%+v came out at %d with %d octets, more %v", c, offset, len(payload), more)
		}
	}
}

func TestFragmentBeyondTheLongestPacketIsNotCut(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 300 })
	b.arrive(portA, ipPacket(hostA, hostB, packet.ProtoUDP, numbered(1200), withFlags(8191)))
	b.dropped(DropFragmentOffset)
	b.none()
}

func TestPartialChecksumIsCompletedBeforeCutting(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 300 })
	ip := ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 1, 2, numbered(1111)))
	want := append([]byte{}, ip.Payload()...)
	v := partial(ip, 6)
	b.arrive(portA, ip, v)
	if payload, _, _ := reassemble(t, b.pieces(portB, 300)); !bytes.Equal(payload, want) {
		t.Errorf("payload\n%x\nwant\n%x", payload[:8], want[:8])
	}
}

func TestSuperFrameWithoutDFIsCutAndThenFragmented(t *testing.T) {
	for _, c := range []struct {
		out PortID
		dst packet.Addr
	}{{portB, hostB}, {portPlain, addr("10.4.0.2")}} {
		b := newTestbed(t, func(t *Tables) { t.Ports[c.out].MTU = 700 })
		data := numbered(5000)
		ip := ipPacket(hostA, c.dst, packet.ProtoTCP, tcpSegment(hostA, c.dst, packet.TCPAck|packet.TCPPsh, nil, data))
		v := partial(ip, 16)
		v.GSOType, v.GSOSize, v.HeaderLen = packet.GSOTCPv4, 1400, 40
		b.arrive(portA, ip, v)
		byID := map[uint16][]packet.IPv4{}
		for _, p := range b.pieces(c.out, 700) {
			byID[p.ID()] = append(byID[p.ID()], p)
		}
		if len(byID) != 4 {
			t.Fatalf("%d segments, want 4", len(byID))
		}
		var stream []byte
		for i := range uint16(4) {
			payload, _, more := reassemble(t, byID[0x1234+i])
			whole := ipPacket(hostA, c.dst, packet.ProtoTCP, payload)
			if more || !transportGood(whole) {
				t.Errorf("segment %d: more %v, checksum good %v", i, more, transportGood(whole))
			}
			stream = append(stream, payload[packet.TCPMinLen:]...)
		}
		if !bytes.Equal(stream, data) {
			t.Error("the stream is another")
		}
	}
}

func TestOwnPacketsAreFragmentedToo(t *testing.T) {
	b := newTestbed(t, func(t *Tables) { t.Ports[portB].MTU = 576 })
	ip := ipPacket(addr("10.2.0.1"), hostB, packet.ProtoUDP, numbered(2000))
	b.d.Control().Output(ip)
	pieces := b.pieces(portB, 576)
	if payload, _, _ := reassemble(t, pieces); !bytes.Equal(payload, ip.Payload()) || pieces[0].TTL() != 64 {
		t.Errorf("TTL %d, %d octets", pieces[0].TTL(), len(payload))
	}
}
