package dataplane

import (
	"bytes"
	"encoding/binary"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/nat"
)

func TestUDPThroughMasqueradeBothWays(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	out := b.cross(portA, udpPacket(e, []byte("query")), portB)
	if got := endsOf(out); got != (ends{wan, hostB, 5000, 53}) {
		t.Fatalf("left as %+v", got)
	}
	if out.TTL() != 63 {
		t.Errorf("TTL %d", out.TTL())
	}
	in := b.cross(portB, udpPacket(endsOf(out).back(), []byte("answer")), portA)
	if got := endsOf(in); got != e.back() {
		t.Fatalf("the answer came as %+v", got)
	}
	b.sessionsAre(1)
	// All of it once more, by what the session has stored.
	b.cross(portA, udpPacket(e, []byte("query")), portB)
	b.cross(portB, udpPacket(endsOf(out).back(), []byte("answer")), portA)
	b.sessionsAre(1)
}

func TestREQ1_OneMappingForAllDestinations(t *testing.T) { // RFC 4787 REQ-1
	b := newNATbed(t, natOptions{rules: masquerade()})
	first := endsOf(b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB))
	b.reroute("10.2.0.3/32", adjToB)
	second := endsOf(b.cross(portA, udpPacket(ends{inner, addr("10.2.0.3"), 5000, 99}, nil), portB))
	if first.src != second.src || first.sport != second.sport {
		t.Errorf("%+v and %+v: the mapping depends on the destination", first, second)
	}
	// Another host with the same port gets another outside port: no overloading (REQ-3).
	third := endsOf(b.cross(portA, udpPacket(ends{other, hostB, 5000, 53}, nil), portB))
	if third.src != wan || third.sport == first.sport {
		t.Errorf("two inside hosts share %+v", third)
	}
}

func TestTCPThroughMasqueradeBothWays(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 40000, 80}
	seen := b.connect(e, portA, portB)
	if seen.src != wan {
		t.Fatalf("the server sees %+v", seen)
	}
	b.cross(portA, tcpPacket(e, packet.TCPAck|packet.TCPPsh, 101, 901, []byte("GET /")), portB)
	got := b.cross(portB, tcpPacket(seen.back(), packet.TCPAck|packet.TCPFin, 901, 106, []byte("hello")), portA)
	if endsOf(got) != e.back() || !bytes.HasSuffix(got, []byte("hello")) {
		t.Errorf("came as %+v", endsOf(got))
	}
	b.cross(portA, tcpPacket(e, packet.TCPAck|packet.TCPFin, 106, 907, nil), portB)
	b.cross(portB, tcpPacket(seen.back(), packet.TCPAck, 907, 107, nil), portA)
	b.sessionsAre(1)
}

func TestRFC5508REQ1_ICMPQueriesAreTranslated(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	out := b.cross(portA, echo(inner, hostB, packet.ICMPEchoRequest, 77, []byte("data")), portB)
	id := endsOf(out).sport
	if out.Src() != wan || out.Dst() != hostB {
		t.Fatalf("left as %v -> %v", out.Src(), out.Dst())
	}
	// Another host with the same identifier is told apart.
	also := b.cross(portA, echo(other, hostB, packet.ICMPEchoRequest, 77, []byte("data")), portB)
	if endsOf(also).sport == id {
		t.Error("two inside hosts share an identifier")
	}
	in := b.cross(portB, echo(hostB, wan, packet.ICMPEchoReply, id, []byte("data")), portA)
	if in.Dst() != inner || endsOf(in).sport != 77 {
		t.Errorf("the reply came to %v with identifier %d", in.Dst(), endsOf(in).sport)
	}
	in = b.cross(portB, echo(hostB, wan, packet.ICMPEchoReply, endsOf(also).sport, []byte("data")), portA)
	if in.Dst() != other {
		t.Errorf("the reply came to %v", in.Dst())
	}
}

// plainToo is masquerade out of the port without offload as well.
func plainToo() []nat.Rule {
	return append(masquerade(), nat.Rule{Out: uint16(portPlain), Type: nat.Masquerade, Outside: []packet.Addr{addr("10.4.0.1")}})
}

func TestSumsAreRightHoweverTheyCome(t *testing.T) {
	b := newNATbed(t, natOptions{rules: plainToo()})
	port := uint16(3000)
	for _, out := range []PortID{portB, portPlain} {
		server := map[PortID]packet.Addr{portB: hostB, portPlain: addr("10.4.0.2")}[out]
		for _, protocol := range []uint8{packet.ProtoTCP, packet.ProtoUDP} {
			for _, open := range []bool{false, true} {
				for size := range 4 {
					port++
					e := ends{inner, server, port, 80}
					there, at := udpPacket(e, numbered(100+size)), 6
					if protocol == packet.ProtoTCP {
						there, at = tcpPacket(e, packet.TCPSyn, 1, 0, numbered(size)), 16
					}
					var v packet.Vnet
					if open {
						v = partial(there, at)
					}
					b.arrive(portA, there, v)
					s := b.one(out)
					if out == portPlain && s.vnet.Flags != 0 {
						t.Fatal("an offload header for a port without offload")
					}
					finish(s)
					good(t, s.ip)

					answer := endsOf(s.ip).back()
					back := udpPacket(answer, numbered(50+size))
					if protocol == packet.ProtoTCP {
						back = tcpPacket(answer, packet.TCPSyn|packet.TCPAck, 7, 2, nil)
					}
					v = packet.Vnet{}
					if open && out == portB {
						v = partial(back, at)
					}
					b.arrive(out, back, v)
					s = b.one(portA)
					finish(s)
					good(t, s.ip)
					if endsOf(s.ip) != e.back() {
						t.Fatalf("the answer came as %+v", endsOf(s.ip))
					}
				}
			}
		}
	}
}

// finish does what the device behind a port would do with a checksum that was left to it.
func finish(s sent) {
	if s.vnet.Flags&packet.VnetNeedsChecksum == 0 {
		return
	}
	body := s.ip[s.vnet.ChecksumAt:]
	sum := ^packet.Fold(packet.Sum(body, 0))
	if sum == 0 && s.ip.Protocol() == packet.ProtoUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(body[s.vnet.ChecksumOff:], sum)
}

func TestUDPWithoutSumHasNoneBehindNAT(t *testing.T) { // RFC 768
	b := newNATbed(t, natOptions{rules: masquerade()})
	ip := udpPacket(ends{inner, hostB, 5000, 53}, []byte("no sum"))
	packet.UDP(ip.Payload()).SetChecksum(0)
	if got := packet.UDP(b.cross(portA, ip, portB).Payload()).Checksum(); got != 0 {
		t.Errorf("the sum became %04x", got)
	}
}

func TestSuperFramesAreTranslatedWhole(t *testing.T) {
	b := newNATbed(t, natOptions{rules: plainToo()})
	for _, out := range []PortID{portB, portPlain} {
		server := map[PortID]packet.Addr{portB: hostB, portPlain: addr("10.4.0.2")}[out]
		outside := map[PortID]packet.Addr{portB: wan, portPlain: addr("10.4.0.1")}[out]
		b.connect(ends{inner, server, 40000, 80}, portA, out)
		ip, v := superTCP(inner, server, packet.TCPAck|packet.TCPPsh, nil, numbered(20000), 1400)
		packet.TCP(ip.Payload()).SetSeq(101)
		binary.BigEndian.PutUint32(ip.Payload()[8:], 901)
		b.arrive(portA, ip, v)
		checkSuper(t, b.all(out), outside, 20000, out == portB)

		datagrams, v := superUDP(inner, server, numbered(9000), 1000)
		b.arrive(portA, datagrams, v)
		checkSuper(t, b.all(out), outside, 9000, out == portB)
	}
	// And back: from outside, behind one frame, to the inside port.
	seen := ends{wan, hostB, 40000, 80}
	ip, v := superTCP(hostB, wan, packet.TCPAck, nil, numbered(9000), 1000)
	binary.BigEndian.PutUint16(ip.Payload(), seen.dport)
	binary.BigEndian.PutUint16(ip.Payload()[2:], seen.sport)
	packet.TCP(ip.Payload()).SetSeq(901)
	binary.BigEndian.PutUint32(ip.Payload()[8:], 101+20000)
	b.arrive(portB, ip, v)
	checkSuper(t, b.all(portA), hostB, 9000, true)
}

// checkSuper checks frames that stand for so many octets of payload, whole or cut.
func checkSuper(t *testing.T, frames []sent, src packet.Addr, octets int, whole bool) {
	t.Helper()
	if whole != (len(frames) == 1 && frames[0].vnet.IsSuper()) {
		t.Fatalf("%d frames", len(frames))
	}
	got := 0
	for _, s := range frames {
		if s.ip.Src() != src {
			t.Fatalf("source %v", s.ip.Src())
		}
		headers := packet.UDPLen
		if s.ip.Protocol() == packet.ProtoTCP {
			headers = packet.TCP(s.ip.Payload()).HeaderLen()
		}
		got += len(s.ip.Payload()) - headers
		if !whole {
			goodByGVisor(t, s.ip)
			continue
		}
		// What the device goes on from is the sum of the pseudo-header as it is now.
		body := s.ip.Payload()
		want := packet.Fold(packet.PseudoHeaderSum(s.ip.Src(), s.ip.Dst(), s.ip.Protocol(), len(body)))
		if have := binary.BigEndian.Uint16(body[s.vnet.ChecksumOff:]); have != want {
			t.Fatalf("unfinished sum %04x, want %04x", have, want)
		}
	}
	if got != octets {
		t.Fatalf("%d octets came out of %d", got, octets)
	}
}

func TestREQ13_WhatIsTooBigIsFragmentedBehindNAT(t *testing.T) { // RFC 4787 REQ-13
	b := newNATbed(t, natOptions{rules: masquerade(), tables: func(t *Tables) { t.Ports[portB].MTU = 600 }})
	e := ends{inner, hostB, 5000, 53}
	b.arrive(portA, udpPacket(e, numbered(1200)))
	frames := b.all(portB)
	got := join(t, frames)
	good(t, got)
	if len(frames) != 3 || got.Src() != wan || len(got) != 1228 {
		t.Errorf("%d fragments of %d octets from %v", len(frames), len(got), got.Src())
	}
}

func TestRFC5382REQ2_SimultaneousOpen(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(func(r *nat.Rule) { r.Filtering = nat.AddressAndPortDependent }), firewall: home()})
	e := ends{inner, hostB, 40000, 80}
	seen := endsOf(b.cross(portA, tcpPacket(e, packet.TCPSyn, 100, 0, nil), portB))
	b.cross(portB, tcpPacket(seen.back(), packet.TCPSyn, 900, 0, nil), portA)
	b.cross(portA, tcpPacket(e, packet.TCPSyn|packet.TCPAck, 100, 901, nil), portB)
	b.cross(portB, tcpPacket(seen.back(), packet.TCPSyn|packet.TCPAck, 900, 101, nil), portA)
	b.cross(portA, tcpPacket(e, packet.TCPAck, 101, 901, []byte("x")), portB)
	b.cross(portB, tcpPacket(seen.back(), packet.TCPAck, 901, 102, []byte("y")), portA)
	b.sessionsAre(1)
}

func TestMSSIsClampedBehindNAT(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), tables: func(t *Tables) { t.Ports[portB].MSSClamp = 1300 }})
	ip := ipPacket(inner, hostB, packet.ProtoTCP, tcpSegment(inner, hostB, packet.TCPSyn, mssOption(1460), nil))
	got := b.cross(portA, ip, portB)
	if mss := binary.BigEndian.Uint16(got.Payload()[packet.TCPMinLen+2:]); mss != 1300 || got.Src() != wan {
		t.Errorf("MSS %d from %v", mss, got.Src())
	}
}

func TestRouterWithoutNATForwardsAsBefore(t *testing.T) {
	b := newNATbed(t, natOptions{})
	ip := udpPacket(ends{inner, hostB, 1, 2}, []byte("payload"))
	got := b.cross(portA, ip, portB)
	if endsOf(got) != endsOf(ip) {
		t.Errorf("left as %+v", endsOf(got))
	}
	b.sessionsAre(1)
	// What opens no session passes as well.
	b.cross(portB, tcpPacket(ends{hostB, inner, 9, 9}, packet.TCPAck, 5, 5, nil), portA)
	b.cross(portB, tcpPacket(ends{hostB, inner, 9, 9}, packet.TCPRst, 5, 5, nil), portA)
	b.sessionsAre(1)
}
