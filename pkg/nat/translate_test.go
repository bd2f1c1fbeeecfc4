package nat_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/nat"
)

// wireFlow is what a packet's addresses are.
type wireFlow struct {
	src, dst         packet.Addr
	srcPort, dstPort uint16
}

func (f wireFlow) reverse() wireFlow { return wireFlow{f.dst, f.src, f.dstPort, f.srcPort} }

// rewriteTo is the rewrite of packets from one flow to another, its deltas added up the slow way.
func rewriteTo(from, to wireFlow) *conntrack.Rewrite {
	var head uint64
	for _, a := range []packet.Addr{to.src, to.dst, ^from.src, ^from.dst} {
		head += uint64(a>>16) + uint64(a&0xffff)
	}
	transport := head
	for _, p := range []uint16{to.srcPort, to.dstPort, ^from.srcPort, ^from.dstPort} {
		transport += uint64(p)
	}
	return &conntrack.Rewrite{
		Changed: from != to, Src: to.src, Dst: to.dst, SrcPort: to.srcPort, DstPort: to.dstPort,
		HeaderDelta: packet.Fold(head), TransportDelta: packet.Fold(transport),
	}
}

// wireShape of a packet that a test makes.
type wireShape struct {
	protocol uint8
	icmpType uint8
	options  int  // octets of IP options
	zero     bool // a datagram without a sum
	partial  bool // a transport sum that is unfinished
	payload  []byte
}

func netAddr(a packet.Addr) tcpip.Address { return tcpip.AddrFrom4(a.Netip().As4()) }

// wireDatagram is the slow twin: a packet built from scratch, its sums those of gVisor.
func wireDatagram(f wireFlow, s wireShape) packet.IPv4 {
	transport := 8
	if s.protocol == packet.ProtoTCP {
		transport = 20
	}
	at := 20 + s.options
	b := make([]byte, at+transport+len(s.payload))
	copy(b[at+transport:], s.payload)
	for i := range s.options {
		b[20+i] = 1 // no operation
	}
	b[0], b[8], b[9] = 0x40|byte(at/4), 63, s.protocol
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	ip := packet.IPv4(b)
	ip.SetSrc(f.src)
	ip.SetDst(f.dst)
	twin := header.IPv4(b)
	twin.SetChecksum(^twin.CalculateChecksum())

	t := b[at:]
	pseudo := header.PseudoHeaderChecksum(tcpip.TransportProtocolNumber(s.protocol), netAddr(f.src), netAddr(f.dst), uint16(len(t)))
	sum, place := uint16(0), 6
	switch s.protocol {
	case packet.ProtoTCP, packet.ProtoUDP, 33, 136:
		if s.protocol == packet.ProtoTCP {
			place, t[12], t[13] = 16, 0x50, 0x18
		}
		if s.protocol == packet.ProtoTCP || s.protocol == packet.ProtoUDP {
			binary.BigEndian.PutUint16(t, f.srcPort)
			binary.BigEndian.PutUint16(t[2:], f.dstPort)
		}
		if s.protocol == packet.ProtoUDP {
			binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
		}
		sum = ^checksum.Checksum(t, pseudo)
		switch {
		case s.partial:
			sum = pseudo
		case s.zero:
			sum = 0
		case sum == 0 && (s.protocol == packet.ProtoUDP || s.protocol == 136):
			sum = 0xffff
		}
	case packet.ProtoICMP:
		place, t[0] = 2, s.icmpType
		binary.BigEndian.PutUint16(t[4:], f.srcPort|f.dstPort)
		if !s.partial {
			sum = ^checksum.Checksum(t, 0)
		}
	default:
		return ip
	}
	binary.BigEndian.PutUint16(t[place:], sum)
	return ip
}

var (
	insideFlow  = wireFlow{0xc0a80105, 0xcb007107, 51000, 443}
	outsideFlow = wireFlow{0xc6336402, 0xcb007107, 4096, 443}
)

// of drops what a protocol does not have.
func (f wireFlow) of(s wireShape) wireFlow {
	switch s.protocol {
	case packet.ProtoTCP, packet.ProtoUDP:
	case packet.ProtoICMP:
		f.dstPort = 0
		if s.icmpType == packet.ICMPEchoReply || s.icmpType == packet.ICMPTimestampReply {
			f.srcPort, f.dstPort = 0, f.srcPort
		}
	default:
		f.srcPort, f.dstPort = 0, 0
	}
	return f
}

func translateShapes() (all []wireShape) {
	payload := []byte("seventeen octets.")
	for _, options := range []int{0, 4, 40} {
		for _, partial := range []bool{false, true} {
			for _, protocol := range []uint8{packet.ProtoTCP, packet.ProtoUDP, 33, 47, 132, 136} {
				all = append(all, wireShape{protocol: protocol, options: options, partial: partial, payload: payload})
			}
			for _, icmp := range []uint8{0, 8, 13, 14} {
				all = append(all, wireShape{protocol: 1, icmpType: icmp, options: options, partial: partial, payload: payload})
			}
		}
		all = append(all, wireShape{protocol: packet.ProtoUDP, options: options, zero: true, payload: payload})
	}
	super := make([]byte, 65000)
	for i := range super {
		super[i] = byte(i * 7)
	}
	return append(all, wireShape{protocol: packet.ProtoTCP, payload: super}, wireShape{protocol: packet.ProtoTCP, payload: super, partial: true})
}

func TestTranslatedPacketsAreThoseThatTheOutsideWouldHaveSent(t *testing.T) {
	for _, s := range translateShapes() {
		name := fmt.Sprintf("protocol %d, ICMP type %d, %d octets of options, partial %t, zero %t, %d octets", s.protocol, s.icmpType, s.options, s.partial, s.zero, len(s.payload))
		t.Run(name, func(t *testing.T) {
			from, to := insideFlow.of(s), outsideFlow.of(s)
			got, want := wireDatagram(from, s), wireDatagram(to, s)
			nat.Translate(got, rewriteTo(from, to), s.partial)
			if !bytes.Equal(got, want) {
				t.Fatalf("translated to\n%x, built from scratch it is\n%x", got[:min(len(got), 80)], want[:min(len(want), 80)])
			}
			nat.Translate(got, rewriteTo(to, from), s.partial)
			if back := wireDatagram(from, s); !bytes.Equal(got, back) {
				t.Fatalf("there and back is\n%x, it was\n%x", got[:min(len(got), 80)], back[:min(len(back), 80)])
			}
		})
	}
}

func TestAPacketThatNothingChangesStaysAsItIs(t *testing.T) {
	s := wireShape{protocol: packet.ProtoUDP, payload: []byte("x")}
	got := wireDatagram(insideFlow, s)
	nat.Translate(got, &conntrack.Rewrite{}, false)
	if !bytes.Equal(got, wireDatagram(insideFlow, s)) {
		t.Fatal("the zero rewrite changed a packet")
	}
}

func TestAnyPortCanGiveAUDPSumOfZeroAndItIsSentAsAllOnes(t *testing.T) {
	seen := false
	s := wireShape{protocol: packet.ProtoUDP, payload: []byte{1, 2, 3}}
	for port := range 65536 {
		to := outsideFlow
		to.srcPort = uint16(port)
		got := wireDatagram(insideFlow, s)
		nat.Translate(got, rewriteTo(insideFlow, to), false)
		sum := packet.UDP(got.Payload()).Checksum()
		if sum == 0 {
			t.Fatalf("port %d: the computed sum went out as zero, which says that there is none", port)
		}
		if !header.UDP(got.Payload()[:8]).IsChecksumValid(netAddr(to.src), netAddr(to.dst), checksum.Checksum(s.payload, 0)) {
			t.Fatalf("port %d: sum %#x is wrong", port, sum)
		}
		seen = seen || sum == 0xffff
	}
	if !seen {
		t.Fatal("no port gave the corner case")
	}
}

func TestAWrongSumStaysWrong(t *testing.T) {
	for _, s := range translateShapes() {
		place := map[uint8]int{packet.ProtoTCP: 16, packet.ProtoUDP: 6, packet.ProtoICMP: 2}[s.protocol]
		if place == 0 || s.partial || s.zero {
			continue
		}
		from, to := insideFlow.of(s), outsideFlow.of(s)
		got := wireDatagram(from, s)
		got.Payload()[len(got.Payload())-1] ^= 0x10
		got[8]-- // the IP header's sum is wrong by one
		nat.Translate(got, rewriteTo(from, to), false)
		want := wireDatagram(to, s)
		want.Payload()[len(want.Payload())-1] ^= 0x10
		want[8]--
		if !bytes.Equal(got, want) {
			t.Fatalf("protocol %d: the sums of a damaged packet were repaired", s.protocol)
		}
	}
}

func TestTranslateDoesNotAllocate(t *testing.T) {
	s := wireShape{protocol: packet.ProtoTCP, payload: make([]byte, 100)}
	p, there := wireDatagram(insideFlow, s), rewriteTo(insideFlow, outsideFlow)
	if n := testing.AllocsPerRun(100, func() { nat.Translate(p, there, false) }); n != 0 {
		t.Fatalf("%v allocations a packet", n)
	}
	e, back := icmpError(outsideFlow.dst, outsideFlow.src, 3, wireDatagram(outsideFlow, s), nil), rewriteTo(outsideFlow.reverse(), insideFlow.reverse())
	if n := testing.AllocsPerRun(100, func() { nat.TranslateError(e, back) }); n != 0 {
		t.Fatalf("%v allocations an error", n)
	}
}

func FuzzTranslate(f *testing.F) {
	for i, s := range translateShapes()[:24] {
		f.Add(uint64(i), []byte(wireDatagram(insideFlow.of(s), s)), s.partial)
	}
	f.Add(uint64(1), []byte{0x45, 19: 0}, false)
	f.Add(uint64(2), []byte{0x4f, 9: 6, 20: 0}, false)
	f.Fuzz(func(t *testing.T, seed uint64, data []byte, partial bool) {
		if len(data) < packet.IPv4MinLen || packet.IPv4(data).HeaderLen() < packet.IPv4MinLen {
			return
		}
		r := rand.New(rand.NewPCG(seed, 1))
		ip := packet.IPv4(bytes.Clone(data))
		from := wireFlow{src: ip.Src(), dst: ip.Dst()}
		if at := ip.HeaderLen(); len(ip) >= at+8 {
			switch ip.Protocol() {
			case packet.ProtoTCP, packet.ProtoUDP:
				from.srcPort, from.dstPort = binary.BigEndian.Uint16(ip[at:]), binary.BigEndian.Uint16(ip[at+2:])
			case packet.ProtoICMP:
				from.srcPort = binary.BigEndian.Uint16(ip[at+4:])
			}
		}
		to := wireFlow{packet.Addr(r.Uint32()), from.dst, uint16(r.Uint32()), from.dstPort}
		if ip.Protocol() == packet.ProtoICMP {
			to.dstPort = 0
		} else if from.srcPort|from.dstPort == 0 {
			to.srcPort = 0
		}
		there, back := rewriteTo(from, to), rewriteTo(to, from)
		nat.Translate(ip, there, partial)
		if there.Changed && (ip.Src() != to.src || ip.Dst() != to.dst) {
			t.Fatal("the addresses are not those of the rewrite")
		}
		nat.Translate(ip, back, partial)
		if !sameModuloZero(ip, data) {
			t.Fatalf("there and back is\n%x, it was\n%x", ip, data)
		}
	})
}

// sameModuloZero compares packets octet by octet; a sum of zero and one of all ones are one number in ones' complement.
func sameModuloZero(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); {
		if a[i] == b[i] {
			i++
			continue
		}
		at := i &^ 1
		if at+2 > len(a) {
			return false
		}
		x, y := binary.BigEndian.Uint16(a[at:]), binary.BigEndian.Uint16(b[at:])
		if x+y != 0xffff || (x != 0 && y != 0) {
			return false
		}
		i = at + 2
	}
	return true
}

func BenchmarkTranslate(b *testing.B) {
	for _, protocol := range []uint8{packet.ProtoTCP, packet.ProtoUDP, packet.ProtoICMP} {
		s := wireShape{protocol: protocol, icmpType: 8, payload: make([]byte, 26)}
		p, r := wireDatagram(insideFlow.of(s), s), rewriteTo(insideFlow.of(s), outsideFlow.of(s))
		b.Run(fmt.Sprint(protocol), func(b *testing.B) {
			for b.Loop() {
				nat.Translate(p, r, false)
			}
		})
	}
}
