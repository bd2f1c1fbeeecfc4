package dataplane

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"vrouterd/internal/packet"
)

// superTCP is a super-frame with its offload header, offsets from the IP header.
func superTCP(src, dst packet.Addr, flags uint8, options, data []byte, size int, change ...packetOption) (packet.IPv4, packet.Vnet) {
	ip := ipPacket(src, dst, packet.ProtoTCP, tcpSegment(src, dst, flags, options, data), change...)
	v := partial(ip, 16)
	v.GSOType, v.GSOSize, v.HeaderLen = packet.GSOTCPv4, uint16(size), uint16(len(ip)) // Linux: what lies in one piece
	return ip, v
}

func superUDP(src, dst packet.Addr, data []byte, size int) (packet.IPv4, packet.Vnet) {
	ip := ipPacket(src, dst, packet.ProtoUDP, udp(src, dst, 4000, 5000, data))
	v := partial(ip, 6)
	v.GSOType, v.GSOSize, v.HeaderLen = packet.GSOUDPL4, uint16(size), 28
	return ip, v
}

// goodByGVisor checks a packet with another implementation.
func goodByGVisor(t *testing.T, ip packet.IPv4) {
	t.Helper()
	h := header.IPv4(ip)
	if !h.IsValid(len(ip)) || !h.IsChecksumValid() {
		t.Fatalf("gVisor does not take the header % x", ip.Header())
	}
	switch ip.Protocol() {
	case packet.ProtoTCP:
		seg := header.TCP(h.Payload())
		data := seg.Payload()
		if !seg.IsChecksumValid(h.SourceAddress(), h.DestinationAddress(), checksum.Checksum(data, 0), uint16(len(data))) {
			t.Fatal("gVisor does not take the TCP checksum")
		}
	case packet.ProtoUDP:
		u := header.UDP(h.Payload())
		if int(u.Length()) != len(u) || !u.IsChecksumValid(h.SourceAddress(), h.DestinationAddress(), checksum.Checksum(u.Payload(), 0)) {
			t.Fatal("gVisor does not take the UDP datagram")
		}
	}
}

func TestTCPSuperFrameIsCutForAPortWithoutOffload(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	dst := addr("10.4.0.2")
	timestamps := []byte{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8}
	const all = packet.TCPFin | packet.TCPPsh | packet.TCPAck | packet.TCPCwr | packet.TCPEce
	b := newTestbed(t)
	for range 120 {
		n, size := 1+r.IntN(20000), 200+r.IntN(1200)
		options := timestamps[:12*r.IntN(2)]
		data := numbered(n)
		var change []packetOption
		if r.IntN(2) == 0 {
			change = append(change, withFlags(packet.FlagDF))
		}
		if r.IntN(4) == 0 {
			change = append(change, withOptions(1, 1, 1, 1))
		}
		ip, v := superTCP(hostA, dst, all, options, data, size, change...)
		if r.IntN(2) == 0 {
			v.GSOType |= packet.GSOECN
		}
		b.arrive(portA, ip, v)
		frames := b.all(portPlain)
		if want := (n + size - 1) / size; len(frames) != want {
			t.Fatalf("%d octets by %d came out as %d segments, want %d", n, size, len(frames), want)
		}
		var stream []byte
		for i, s := range frames {
			goodByGVisor(t, s.ip)
			seg := packet.TCP(s.ip.Payload())
			if s.ip.ID() != 0x1234+uint16(i) || s.ip.TTL() != 63 || s.ip.DontFragment() != ip.DontFragment() {
				t.Fatalf("segment %d: ID %x, TTL %d, DF %v", i, s.ip.ID(), s.ip.TTL(), s.ip.DontFragment())
			}
			if seg.Seq() != 1000+uint32(len(stream)) || seg.Ack() != 0 || seg.SrcPort() != 40000 || seg.DstPort() != 80 {
				t.Fatalf("segment %d: sequence %d after %d octets", i, seg.Seq(), len(stream))
			}
			want := uint8(packet.TCPAck | packet.TCPEce)
			if i == 0 {
				want |= packet.TCPCwr
			}
			if i == len(frames)-1 {
				want |= packet.TCPFin | packet.TCPPsh
			}
			if seg.Flags() != want {
				t.Fatalf("segment %d of %d: flags %08b, want %08b", i, len(frames), seg.Flags(), want)
			}
			if !bytes.Equal(seg[packet.TCPMinLen:seg.HeaderLen()], options) {
				t.Fatalf("segment %d: options % x", i, seg[packet.TCPMinLen:seg.HeaderLen()])
			}
			stream = append(stream, seg[seg.HeaderLen():]...)
		}
		if !bytes.Equal(stream, data) {
			t.Fatal("the stream is another")
		}
	}
	c := b.d.tables.Load().Ports[portA].Attachment.Counters()
	if tx := b.d.tables.Load().Ports[portPlain].Attachment.Counters(); tx.TxPackets != c.RxPackets {
		t.Errorf("%d packets received and %d sent; both count segments", c.RxPackets, tx.TxPackets)
	}
}

func TestUDPSuperFrameIsCutForAPortWithoutOffload(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	dst := addr("10.4.0.2")
	b := newTestbed(t)
	for range 60 {
		n, size := 1+r.IntN(20000), 300+r.IntN(1172)
		data := numbered(n)
		ip, v := superUDP(hostA, dst, data, size)
		b.arrive(portA, ip, v)
		var got []byte
		for i, s := range b.all(portPlain) {
			goodByGVisor(t, s.ip)
			u := packet.UDP(s.ip.Payload())
			if want := min(size, n-len(got)); len(u.Payload()) != want || u.SrcPort() != 4000 || u.DstPort() != 5000 || u.Checksum() == 0 {
				t.Fatalf("datagram %d: %d octets, want %d", i, len(u.Payload()), want)
			}
			got = append(got, u.Payload()...)
		}
		if !bytes.Equal(got, data) {
			t.Fatal("the data is another")
		}
	}
}

func TestUDPChecksumThatComesOutAsZeroIsSentAsAllOnes(t *testing.T) {
	// The last two octets of the payload are chosen so that the sum comes to nothing.
	dst := addr("10.4.0.2")
	data := make([]byte, 4)
	u := packet.UDP(udp(hostA, dst, 1, 2, data))
	binary.BigEndian.PutUint16(data[2:], u.Checksum())
	for _, kind := range []string{"partial", "segmented"} {
		b := newTestbed(t)
		ip := ipPacket(hostA, dst, packet.ProtoUDP, udp(hostA, dst, 1, 2, data))
		v := partial(ip, 6)
		if kind == "segmented" {
			v.GSOType, v.GSOSize = packet.GSOUDPL4, 100
		}
		b.arrive(portA, ip, v)
		got := b.one(portPlain).ip
		if sum := packet.UDP(got.Payload()).Checksum(); sum != 0xffff {
			t.Errorf("%s: checksum %04x", kind, sum)
		}
		goodByGVisor(t, got)
	}
}

func TestSuperFramesAreForwardedWholeToAPortWithOffload(t *testing.T) {
	for _, c := range []struct {
		name    string
		in, out PortID
		src     packet.Addr
		dst     packet.Addr
	}{
		{"TAP to TAP", portA, portB, hostA, hostB},
		{"TAP to TUN", portA, portT, hostA, addr("10.3.0.2")},
		{"TUN to TAP", portT, portB, addr("10.3.0.2"), hostB},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t)
			tcp, tv := superTCP(c.src, c.dst, packet.TCPAck, nil, numbered(30000), 1448, withFlags(packet.FlagDF))
			udp, uv := superUDP(c.src, c.dst, numbered(30000), 1472)
			part := ipPacket(c.src, c.dst, packet.ProtoUDP, []byte("0123456789abcdef"))
			pv := partial(part, 6)
			for _, f := range []struct {
				ip      packet.IPv4
				v       packet.Vnet
				headers uint16
			}{{tcp, tv, 40}, {udp, uv, 28}, {part, pv, 0}} {
				b.arrive(c.in, f.ip, f.v)
				s := b.one(c.out)
				if !bytes.Equal(s.ip.Payload(), f.ip.Payload()) || s.ip.TTL() != 63 {
					t.Errorf("the payload changed")
				}
				want := f.v
				want.HeaderLen = f.headers
				if f.headers != 0 && c.out != portT {
					want.HeaderLen += packet.EthernetLen // counted from the frame's start
				}
				if s.vnet != want {
					t.Errorf("offload header %+v, want %+v", s.vnet, want)
				}
			}
		})
	}
}

func TestMTUIsComparedWithTheSegments(t *testing.T) {
	for size, fits := range map[int]bool{1460: true, 1461: false} {
		b := newTestbed(t)
		ip, v := superTCP(hostA, hostB, packet.TCPAck, nil, numbered(9000), size, withFlags(packet.FlagDF))
		b.arrive(portA, ip, v)
		if fits {
			b.one(portB)
			continue
		}
		b.dropped(DropFragmentationNeeded)
		p := b.punt()
		if p.Rest != 1500 || len(p.Packet) != quoteLimit {
			t.Errorf("rest %d, quotes %d octets", p.Rest, len(p.Packet))
		}
		// It quotes the first segment, as the source's device would have sent it.
		q := packet.IPv4(p.Packet)
		if q.TotalLen() != 1501 || q.TTL() != 64 {
			t.Errorf("quoted total length %d, TTL %d", q.TotalLen(), q.TTL())
		}
		first := ipPacket(hostA, hostB, packet.ProtoTCP, tcpSegment(hostA, hostB, packet.TCPAck, nil, numbered(9000)[:1461]), withFlags(packet.FlagDF))
		if !bytes.Equal(q, first[:quoteLimit]) {
			t.Errorf("quoted\n%x\nwant\n%x", []byte(q)[:48], first[:48])
		}
	}
	// A super-frame of one segment is no longer than it is.
	b := newTestbed(t)
	ip, v := superTCP(hostA, hostB, packet.TCPAck, nil, numbered(500), 3000, withFlags(packet.FlagDF))
	b.arrive(portA, ip, v)
	b.one(portB)
}

// TestCompleteAgainstAddingOctetByOctet holds complete to a sum that anyone can follow.
func TestCompleteAgainstAddingOctetByOctet(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 2000 {
		proto, off := uint8(packet.ProtoTCP), 16
		if r.IntN(2) == 0 {
			proto, off = packet.ProtoUDP, 6
		}
		body := make([]byte, 20+r.IntN(100))
		for i := range body {
			body[i] = byte(r.Uint32()) * byte(r.IntN(2))
		}
		src, dst := packet.Addr(r.Uint32()), packet.Addr(r.Uint32())
		ip := ipPacket(src, dst, proto, body)
		v := partial(ip, off)
		want := append([]byte{}, ip.Payload()...)
		sum := 0
		for i, x := range append([]byte(want), make([]byte, len(want)%2)...) {
			sum += int(x) << (8 * (1 - i%2))
			for sum > 0xffff {
				sum -= 0xffff
			}
		}
		sum = 0xffff - sum
		if sum == 0 && proto == packet.ProtoUDP {
			sum = 0xffff
		}
		want[off], want[off+1] = byte(sum>>8), byte(sum)
		buf := make([]byte, bufferLen)
		p := &work{buf: buf, end: headroom + copy(buf[headroom:], ip), vnet: v}
		complete(p)
		if !bytes.Equal(p.ip().Payload(), want) || p.partial() {
			t.Fatalf("got % x, want % x", p.ip().Payload()[:20], want[:20])
		}
		complete(p) // nothing is left to be done
		if !bytes.Equal(p.ip().Payload(), want) {
			t.Fatal("completed twice")
		}
	}
}

func TestSuperFrameToTheRouterIsWhatAStackTakes(t *testing.T) {
	b := newTestbed(t)
	ip, v := superTCP(hostA, addr("10.1.0.1"), packet.TCPAck, nil, numbered(20000), 1448)
	b.arrive(portA, ip, v)
	p := b.punt()
	if p.Vnet != (packet.Vnet{}) || len(p.Packet) != len(ip) {
		t.Errorf("offload header %+v, %d octets", p.Vnet, len(p.Packet))
	}
	goodByGVisor(t, p.Packet)

	// Datagrams are not run together.
	data := numbered(3500)
	ip, v = superUDP(hostA, addr("10.1.0.1"), data, 1000)
	b.arrive(portA, ip, v)
	for from := 0; from < len(data); from += 1000 {
		p, ok := b.d.NextPunt()
		if !ok || p.Reason != PuntLocal || p.Port != portA {
			t.Fatalf("datagram at %d: %v %+v", from, ok, p)
		}
		goodByGVisor(t, p.Packet)
		if got := packet.UDP(packet.IPv4(p.Packet).Payload()).Payload(); !bytes.Equal(got, data[from:min(from+1000, len(data))]) {
			t.Errorf("datagram at %d has %d octets", from, len(got))
		}
	}
	b.noPunt()
}

func TestLyingOffloadHeadersAreDropped(t *testing.T) {
	goodTCP := func() (packet.IPv4, packet.Vnet) {
		return superTCP(hostA, hostB, packet.TCPAck, nil, numbered(3000), 1400)
	}
	goodUDP := func() (packet.IPv4, packet.Vnet) { return superUDP(hostA, hostB, numbered(3000), 1400) }
	plain := func() (packet.IPv4, packet.Vnet) {
		ip := ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 1, 2, numbered(10)))
		return ip, partial(ip, 6)
	}
	for _, c := range []struct {
		name string
		base func() (packet.IPv4, packet.Vnet)
		lie  func(packet.IPv4, *packet.Vnet)
	}{
		{"sum starts in the IP header", plain, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumAt = 10 }},
		{"sum starts before the IP header", plain, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumAt = 0xfff8 }},
		{"sum starts behind the transport header's start", plain, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumAt = 24 }},
		{"sum starts beyond the packet", plain, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumAt = 5000 }},
		{"sum stored beyond the packet", plain, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumOff = 17 }},
		{"sum stored far beyond the packet", plain, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumOff = 0xffff }},
		{"sum open in a fragment", plain, func(ip packet.IPv4, _ *packet.Vnet) {
			ip.SetFlagsFragment(packet.FlagMF)
			ip.UpdateHeaderChecksum()
		}},
		{"segments of no octets", goodTCP, func(_ packet.IPv4, v *packet.Vnet) { v.GSOSize = 0 }},
		{"segments with nothing left to complete", goodTCP, func(_ packet.IPv4, v *packet.Vnet) { v.Flags = 0 }},
		{"segmentation of IPv6", goodTCP, func(_ packet.IPv4, v *packet.Vnet) { v.GSOType = packet.GSOTCPv6 }},
		{"fragmentation offload", goodUDP, func(_ packet.IPv4, v *packet.Vnet) { v.GSOType = packet.GSOUDP }},
		{"an unknown type", goodTCP, func(_ packet.IPv4, v *packet.Vnet) { v.GSOType = 9 }},
		{"a bare ECN bit", goodTCP, func(_ packet.IPv4, v *packet.Vnet) { v.GSOType = packet.GSOECN }},
		{"TCP segments of a UDP packet", goodUDP, func(_ packet.IPv4, v *packet.Vnet) { v.GSOType = packet.GSOTCPv4 }},
		{"UDP segments of a TCP packet", goodTCP, func(_ packet.IPv4, v *packet.Vnet) { v.GSOType = packet.GSOUDPL4 }},
		{"TCP sum in the wrong place", goodTCP, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumOff = 14 }},
		{"UDP sum in the wrong place", goodUDP, func(_ packet.IPv4, v *packet.Vnet) { v.ChecksumOff = 4 }},
		{"a fragment as super-frame", goodTCP, func(ip packet.IPv4, _ *packet.Vnet) {
			ip.SetFlagsFragment(packet.FlagMF)
			ip.UpdateHeaderChecksum()
		}},
		{"a TCP header below 20 octets", goodTCP, func(ip packet.IPv4, _ *packet.Vnet) { ip[32] = 0x40 }},
		{"a TCP header beyond the packet", func() (packet.IPv4, packet.Vnet) {
			return superTCP(hostA, hostB, packet.TCPAck, nil, numbered(8), 1400)
		}, func(ip packet.IPv4, _ *packet.Vnet) { ip[32] = 0xf0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			tap := &Tap{C: make(chan Tapped, 10), Stages: [NumStages]bool{true, true, true, true}}
			b := newTestbed(t, func(t *Tables) { t.Taps = &Taps{List: []*Tap{tap}} })
			ip, v := c.base()
			c.lie(ip, &v)
			b.arrive(portA, ip, v)
			b.dropped(DropVnetHeader)
			b.none()
			b.noPunt()
		})
	}
}

func TestDevicesHeaderLengthIsNoMoreThanAdvice(t *testing.T) {
	for _, n := range []uint16{0, 1, 40, 1000, 0xffff - packet.EthernetLen} {
		b := newTestbed(t)
		ip, v := superTCP(hostA, addr("10.4.0.2"), packet.TCPAck, nil, numbered(3000), 1000)
		v.HeaderLen = n
		b.arrive(portA, ip, v)
		if got := len(b.all(portPlain)); got != 3 {
			t.Errorf("header length %d: %d segments", n, got)
		}
		if c := b.d.tables.Load().Ports[portA].Attachment.Counters(); c.RxPackets != 3 {
			t.Errorf("header length %d: %d packets received", n, c.RxPackets)
		}
	}
}
