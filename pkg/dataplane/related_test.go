package dataplane

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/nat"
)

func TestRFC5508REQ4_ErrorFromOutsideIsTranslatedWithin(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	out := b.cross(portA, udpPacket(e, numbered(40)), portB)
	// From the server, and from a router on the way, which is no end of the session.
	for _, from := range []packet.Addr{hostB, addr("10.2.0.9")} {
		got := b.cross(portB, icmpError(from, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, out), portA)
		quoted := packet.IPv4(packet.ICMP(got.Payload()).Payload())
		if got.Src() != from || got.Dst() != inner || endsOf(quoted) != e {
			t.Errorf("from %v to %v, quoting %+v", got.Src(), got.Dst(), endsOf(quoted))
		}
	}
	b.sessionsAre(1)
}

func TestRFC5508REQ5_ErrorFromInsideIsTranslatedToo(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	seen := endsOf(b.cross(portA, udpPacket(e, nil), portB))
	answer := b.cross(portB, udpPacket(seen.back(), numbered(30)), portA)
	got := b.cross(portA, icmpError(inner, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, answer), portB)
	quoted := packet.IPv4(packet.ICMP(got.Payload()).Payload())
	if got.Src() != wan || got.Dst() != hostB || endsOf(quoted) != seen.back() {
		t.Errorf("from %v to %v, quoting %+v", got.Src(), got.Dst(), endsOf(quoted))
	}
}

func TestFragmentationNeededReachesTheInsideSource(t *testing.T) { // RFC 5382 REQ-9, RFC 1191
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 40000, 80}
	b.connect(e, portA, portB)
	out := b.cross(portA, tcpPacket(e, packet.TCPAck, 101, 901, numbered(1000), withFlags(packet.FlagDF)), portB)
	cut := append(packet.IPv4{}, out[:packet.IPv4MinLen+8]...) // no more than RFC 792 asks for
	got := b.cross(portB, icmpError(addr("10.2.0.9"), packet.ICMPUnreachable, packet.ICMPFragNeeded, 900, cut), portA)
	m := packet.ICMP(got.Payload())
	quoted := packet.IPv4(m.Payload())
	if m.Code() != packet.ICMPFragNeeded || m.Rest()&0xffff != 900 || got.Dst() != inner || endsOf(quoted) != e {
		t.Errorf("code %d, MTU %d, to %v, quoting %+v", m.Code(), m.Rest(), got.Dst(), endsOf(quoted))
	}
}

func TestRoutersOwnErrorsQuoteWhatTheSourceHasSent(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), tables: func(t *Tables) { t.Ports[portB].MTU = 1000 }})
	e := ends{inner, hostB, 5000, 53}
	b.cross(portA, udpPacket(e, nil), portB)
	for _, c := range []struct {
		ip   packet.IPv4
		why  DropReason
		code uint8
	}{
		{udpPacket(e, numbered(1200), withFlags(packet.FlagDF)), DropFragmentationNeeded, packet.ICMPFragNeeded},
		{udpPacket(e, nil, withTTL(1)), DropTTL, packet.ICMPTTLExceeded},
		// The same of a session that is not made for it.
		{udpPacket(ends{inner, hostB, 5001, 53}, numbered(1200), withFlags(packet.FlagDF)), DropFragmentationNeeded, packet.ICMPFragNeeded},
		{udpPacket(ends{inner, hostB, 5001, 53}, nil, withTTL(1)), DropTTL, packet.ICMPTTLExceeded},
	} {
		b.refused(portA, c.ip, c.why)
		p := b.punt()
		if p.Reason != PuntError || p.Code != c.code || endsOf(packet.IPv4(p.Packet)) != endsOf(c.ip) || packet.IPv4(p.Packet).TTL() != c.ip.TTL() {
			t.Errorf("%v: punted for %v, code %d, quoting %+v", c.why, p.Reason, p.Code, endsOf(packet.IPv4(p.Packet)))
		}
		// The control plane sends it, and NAT leaves it alone.
		b.d.Control().Output(ICMPError(&p, addr("10.1.0.1")))
		got := b.one(portA).ip
		good(t, got)
		if got.Src() != addr("10.1.0.1") || got.Dst() != inner {
			t.Errorf("the error went from %v to %v", got.Src(), got.Dst())
		}
	}
	b.sessionsAre(1)
	// Outwards: what is too big for inside is quoted with the outside address, as its source has sent it.
	b.change(func(t *Tables) { t.Ports[portA].MTU = 600 })
	big := udpPacket(ends{hostB, wan, 53, 5000}, numbered(800), withFlags(packet.FlagDF))
	b.refused(portB, big, DropFragmentationNeeded)
	p := b.punt()
	if got := endsOf(packet.IPv4(p.Packet)); got != endsOf(big) || p.Rest != 600 {
		t.Errorf("quoting %+v, MTU %d", got, p.Rest)
	}
}

func TestErrorsWithoutASessionAreDropped(t *testing.T) { // RFC 5508 REQ-4, the other way round: spoofed and stale ones
	b := newNATbed(t, natOptions{rules: masquerade()})
	out := b.cross(portA, udpPacket(ends{inner, hostB, 5000, 53}, nil), portB)
	stale := append(packet.IPv4{}, out...)
	packet.UDP(stale.Payload()).SetDstPort(54)
	e := icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, stale)
	// It is addressed to the router, which nobody else speaks for.
	b.arrive(portB, e)
	b.none()
	if p := b.punt(); p.Reason != PuntLocal {
		t.Errorf("punted for %v", p.Reason)
	}
	// Through the router to inside it does not come.
	toInside := icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, udpPacket(ends{inner, hostB, 7, 7}, nil))
	b.refused(portB, toInside, DropSessionNone)
	// Nor one that quotes a session's packet, but is for somebody else.
	lying := icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, out)
	lying.SetDst(inner)
	lying.UpdateHeaderChecksum()
	b.refused(portB, lying, DropSessionICMPInner)
}

func TestRFC5508REQ3_ErrorWithAWrongChecksumIsDropped(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), forwards: web()})
	in := endsOf(b.cross(portB, tcpPacket(ends{hostB, wan, 3333, 80}, packet.TCPSyn, 1, 0, nil), portA))
	answer := b.cross(portA, tcpPacket(in.back(), packet.TCPSyn|packet.TCPAck, 1, 2, nil), portB)
	b.cross(portB, icmpError(peer, packet.ICMPUnreachable, packet.ICMPFragNeeded, 1000, answer), portA)
	lying := icmpError(other, packet.ICMPUnreachable, packet.ICMPFragNeeded, 1000, tcpPacket(in, packet.TCPAck, 2, 2, numbered(20)))
	lying.Payload()[5] ^= 1
	b.refused(portA, lying, DropSessionICMPChecksum)
}

func TestErrorsNeitherRefreshNorEndASession(t *testing.T) { // RFC 5508 REQ-6, RFC 5382 REQ-10, RFC 4787 REQ-12
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 5000, 53}
	out := b.cross(portA, udpPacket(e, nil), portB)
	b.clock += 299e9
	b.cross(portB, icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, out), portA)
	b.cross(portB, udpPacket(endsOf(out).back(), nil), portA) // not ended
	b = newNATbed(t, natOptions{rules: masquerade(func(r *nat.Rule) { r.Filtering = nat.AddressAndPortDependent })})
	b.cross(portA, udpPacket(e, nil), portB)
	b.clock += 299e9
	b.cross(portB, icmpError(hostB, packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0, out), portA)
	b.clock += 10e9
	b.arrive(portB, udpPacket(endsOf(out).back(), nil)) // not refreshed
	if _, through := b.take(portA); through {
		t.Error("an ICMP error has refreshed the session")
	}
}

func TestErrorAboutAHairpin(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), forwards: web(), firewall: home()})
	e := ends{inner, wan, 4444, 80}
	in := b.cross(portA, tcpPacket(e, packet.TCPSyn, 1, 0, nil), portA)
	got := b.cross(portA, icmpError(other, packet.ICMPUnreachable, packet.ICMPHostProhibited, 0, in), portA)
	quoted := packet.IPv4(packet.ICMP(got.Payload()).Payload())
	if got.Src() != wan || got.Dst() != inner || endsOf(quoted) != e {
		t.Errorf("from %v to %v, quoting %+v", got.Src(), got.Dst(), endsOf(quoted))
	}
}

func TestErrorAboutAForwardsAnswer(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade(), forwards: web(), firewall: home()})
	e := ends{hostB, wan, 3333, 80}
	in := endsOf(b.cross(portB, tcpPacket(e, packet.TCPSyn, 1, 0, nil), portA))
	answer := b.cross(portA, tcpPacket(in.back(), packet.TCPSyn|packet.TCPAck, 1, 2, nil), portB)
	got := b.cross(portB, icmpError(peer, packet.ICMPUnreachable, packet.ICMPFragNeeded, 1000, answer), portA)
	quoted := packet.IPv4(packet.ICMP(got.Payload()).Payload())
	if got.Src() != peer || got.Dst() != other || endsOf(quoted) != in.back() {
		t.Errorf("from %v to %v, quoting %+v", got.Src(), got.Dst(), endsOf(quoted))
	}
}

func TestTracerouteThroughNAT(t *testing.T) {
	b := newNATbed(t, natOptions{rules: masquerade()})
	e := ends{inner, hostB, 33434, 33434}
	b.refused(portA, udpPacket(e, nil, withTTL(1)), DropTTL)
	b.sessionsAre(0)
	b.punt()
	out := b.cross(portA, udpPacket(e, nil, withTTL(2)), portB)
	if out.TTL() != 1 {
		t.Fatalf("TTL %d", out.TTL())
	}
	got := b.cross(portB, icmpError(addr("10.2.0.9"), packet.ICMPTimeExceeded, 0, 0, out), portA)
	if got.Dst() != inner || got.Src() != addr("10.2.0.9") {
		t.Errorf("from %v to %v", got.Src(), got.Dst())
	}
}
