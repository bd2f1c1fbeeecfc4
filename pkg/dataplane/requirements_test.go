package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
)

// Requirements of the RFCs about NAT that are about the whole way of a packet, and have no test elsewhere.

func TestRFC4787REQ13a_FragmentsLeaveInOrder(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), tables: func(t *Tables) { t.Ports[portB].MTU = 600 }})
	pieces := cut(udpPacket(ends{inner, hostB, 5000, 53}, numbered(4000)), 1480)
	for i := len(pieces) - 1; i >= 0; i-- { // they come in the wrong order
		b.arrive(portA, pieces[i])
	}
	frames := b.all(portB)
	at := 0
	for i, s := range frames {
		if got := int(s.ip.FragmentOffset()); got != at {
			t.Fatalf("fragment %d of %d begins at %d, expected %d", i+1, len(frames), got, at)
		}
		at += len(s.ip.Payload())
	}
	if at != packet.UDPLen+4000 {
		t.Errorf("%d octets left", at)
	}
}

func TestRFC4787REQ14a_AFloodOfFragmentsLeavesOthersAlone(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	seen := endsOf(b.cross(portA, udpPacket(e, nil), portB))
	half := cut(udpPacket(ends{hostB, wan, 9, 9}, numbered(3000)), 1480)[0]
	for i := range 12_000 {
		half.SetID(uint16(i))
		half.SetSrc(hostB + packet.Addr(i>>16))
		half.UpdateHeaderChecksum()
		b.arrive(portB, half)
		if i%1000 != 0 {
			continue
		}
		b.cross(portA, udpPacket(e, nil), portB)
		b.cross(portB, udpPacket(seen.back(), nil), portA)
		for _, f := range cut(udpPacket(e, numbered(3000)), 1480) {
			b.arrive(portA, f)
		}
		good(t, join(t, b.all(portB)))
	}
}

// every ICMP error that there is or was, hard and soft.
func everyError() (kinds [][2]uint8) {
	for code := range uint8(16) {
		kinds = append(kinds, [2]uint8{packet.ICMPUnreachable, code})
	}
	return append(kinds, [2]uint8{packet.ICMPSourceQuench, 0}, [2]uint8{packet.ICMPTimeExceeded, 0}, [2]uint8{packet.ICMPTimeExceeded, 1},
		[2]uint8{packet.ICMPParamProblem, 0}, [2]uint8{packet.ICMPParamProblem, 1}, [2]uint8{packet.ICMPRedirect, 1})
}

func TestRFC5382REQ10_NoICMPMessageEndsAConnection(t *testing.T) { // nor the mapping: RFC 4787 REQ-12
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 40000, 80}
	seen := b.connect(e, portA, portB)
	out := b.cross(portA, tcpPacket(e, packet.TCPAck, 101, 901, []byte("x")), portB)
	in := b.cross(portB, tcpPacket(seen.back(), packet.TCPAck, 901, 102, []byte("y")), portA)
	passed := 0
	for _, kind := range everyError() {
		for _, from := range []packet.Addr{hostB, addr("10.2.0.9")} {
			b.arrive(portB, icmpError(from, kind[0], kind[1], 0, out))
			for {
				s, ok := b.take(portA)
				if !ok {
					break
				}
				good(t, s.ip)
				passed++
			}
		}
		b.arrive(portA, icmpError(inner, kind[0], kind[1], 0, in))
		b.all(portB)
		for {
			if _, ok := b.d.NextPunt(); !ok {
				break
			}
		}
		page, _ := b.sessions.Page(b.d.domain.Register(), conntrack.TickOf(b.clock), conntrack.Filter{}, 0, 10)
		if len(page) != 1 || page[0].State != conntrack.Established {
			t.Fatalf("after type %d code %d: %+v", kind[0], kind[1], page)
		}
	}
	if want := 2 * (len(everyError()) - 1); passed != want { // all but redirects, which no router passes on
		t.Errorf("%d errors reached the host, expected %d", passed, want)
	}
	b.cross(portB, tcpPacket(seen.back(), packet.TCPAck, 902, 102, []byte("z")), portA)
	if n := b.mappings.Counts().Mappings; n != 1 {
		t.Errorf("%d mappings", n)
	}
}

func TestRFC5508REQ5_ErrorFromInsideThatMatchesNothingIsDropped(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	seen := endsOf(b.cross(portA, udpPacket(e, nil), portB))
	answer := b.cross(portB, udpPacket(seen.back(), nil), portA)
	about := append(packet.IPv4{}, answer...)
	packet.UDP(about.Payload()).SetDstPort(5001) // nothing was ever sent there
	b.refused(portA, icmpError(inner, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, about), DropSessionNone)
	b.cross(portA, icmpError(inner, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, answer), portB)
}

func TestRFC5508REQ6_ErrorsAboutAQueryNeitherRefreshNorEndIt(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	out := b.cross(portA, echo(inner, hostB, packet.ICMPEchoRequest, 77, []byte("data")), portB)
	reply := echo(hostB, wan, packet.ICMPEchoReply, endsOf(out).sport, []byte("data"))
	b.clock += 59e9
	for _, kind := range [][2]uint8{{packet.ICMPUnreachable, packet.ICMPHostUnreachable}, {packet.ICMPTimeExceeded, 0}} {
		got := b.cross(portB, icmpError(addr("10.2.0.9"), kind[0], kind[1], 0, out), portA)
		quoted := packet.IPv4(packet.ICMP(got.Payload()).Payload())
		if got.Dst() != inner || quoted.Src() != inner || binary.BigEndian.Uint16(quoted.Payload()[4:]) != 77 {
			t.Errorf("to %v, quoting % x", got.Dst(), []byte(quoted))
		}
	}
	b.cross(portB, reply, portA) // they have not ended it

	b = newNATbed(t, natOptions{rules: masquerade()})
	out = b.cross(portA, echo(inner, hostB, packet.ICMPEchoRequest, 77, []byte("data")), portB)
	b.clock += 59e9
	b.cross(portB, icmpError(addr("10.2.0.9"), packet.ICMPTimeExceeded, 0, 0, out), portA)
	b.clock += 2e9
	b.arrive(portB, reply)
	if _, through := b.take(portA); through {
		t.Error("an ICMP error has refreshed the query's session")
	}
}

func TestRFC5508REQ7_PingOfAOneToOneAddressIsTurnedAround(t *testing.T) {
	one := func(inside packet.Addr, outside string) nat.Rule {
		return nat.Rule{Out: uint16(portB), Type: nat.OneToOne, Inside: inside, Source: []netip.Prefix{netip.PrefixFrom(inside.Netip(), 32)}, Outside: []packet.Addr{addr(outside)}}
	}
	b := newNATbed(t, natOptions{rules: append([]nat.Rule{one(inner, "10.2.0.50"), one(other, "10.2.0.51")}, masquerade()...)})
	got := b.cross(portA, echo(inner, addr("10.2.0.51"), packet.ICMPEchoRequest, 7, []byte("data")), portA)
	if got.Src() != addr("10.2.0.50") || got.Dst() != other || endsOf(got).sport != 7 {
		t.Fatalf("came as %v -> %v, identifier %d", got.Src(), got.Dst(), endsOf(got).sport)
	}
	back := b.cross(portA, echo(other, addr("10.2.0.50"), packet.ICMPEchoReply, 7, []byte("data")), portA)
	if back.Src() != addr("10.2.0.51") || back.Dst() != inner {
		t.Errorf("the answer came as %v -> %v", back.Src(), back.Dst())
	}
	// And an error about it, by the host behind (REQ-7a).
	about := b.cross(portA, icmpError(other, packet.ICMPUnreachable, packet.ICMPHostProhibited, 0, got), portA)
	quoted := packet.IPv4(packet.ICMP(about.Payload()).Payload())
	if about.Src() != addr("10.2.0.51") || about.Dst() != inner || quoted.Src() != inner || quoted.Dst() != addr("10.2.0.51") {
		t.Errorf("the error came as %v -> %v, quoting %v -> %v", about.Src(), about.Dst(), quoted.Src(), quoted.Dst())
	}
	b.sessionsAre(1)
}

func TestRFC5508REQ10b_TimestampsAndParameterProblemsPass(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	stamp := func(src, dst packet.Addr, kind uint8, id uint16) packet.IPv4 {
		return echo(src, dst, kind, id, numbered(12))
	}
	out := b.cross(portA, stamp(inner, hostB, packet.ICMPTimestamp, 9), portB)
	if out.Src() != wan {
		t.Errorf("left from %v", out.Src())
	}
	in := b.cross(portB, stamp(hostB, wan, packet.ICMPTimestampReply, endsOf(out).sport), portA)
	if in.Dst() != inner || endsOf(in).sport != 9 {
		t.Errorf("the answer came to %v, identifier %d", in.Dst(), endsOf(in).sport)
	}
	got := b.cross(portB, icmpError(addr("10.2.0.9"), packet.ICMPParamProblem, 0, 20<<24, out), portA)
	if m := packet.ICMP(got.Payload()); got.Dst() != inner || m.Type() != packet.ICMPParamProblem || m.Rest() != 20<<24 {
		t.Errorf("to %v, type %d, pointer %d", got.Dst(), m.Type(), m.Rest()>>24)
	}
}

func TestRFC5508REQ9_RulesMayKeepErrorsFromPassing(t *testing.T) {
	quiet := rule("outside", "inside", packet.ProtoICMP, 0, firewall.Drop)
	quiet.Match.States, quiet.Match.ICMPType = firewall.Related, packet.ICMPTimeExceeded
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home(quiet)})
	out := b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB)
	b.refused(portB, icmpError(hostB, packet.ICMPTimeExceeded, 0, 0, out), DropFirewall)
	b.cross(portB, icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, out), portA) // without a rule they pass
	b.cross(portB, udpPacket(endsOf(out).back(), nil), portA)
}
