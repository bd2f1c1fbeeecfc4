package dataplane

import (
	"bytes"
	"testing"

	"vrouterd/internal/packet"
)

func TestErrorsAreHeldBackWhereTheyAreForbidden(t *testing.T) {
	noRoute := addr("9.9.9.9")
	icmp := func(kind byte) []byte { return []byte{kind, 0, 0, 0, 0, 0, 0, 0} }
	for _, c := range []struct {
		name string
		ip   packet.IPv4
		ask  bool
	}{
		{"a datagram", ipPacket(hostA, noRoute, packet.ProtoUDP, numbered(8)), true},
		{"the first fragment", ipPacket(hostA, noRoute, packet.ProtoUDP, numbered(8), withFlags(packet.FlagMF)), true},
		{"a later fragment", ipPacket(hostA, noRoute, packet.ProtoUDP, numbered(8), withFlags(1)), false},
		{"an echo request", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(8)), true},
		{"an echo reply", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(0)), true},
		{"a timestamp request", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(13)), true},
		{"an unreachable", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(3)), false},
		{"a source quench", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(4)), false},
		{"a redirect", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(5)), false},
		{"a time exceeded", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(11)), false},
		{"a parameter problem", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(12)), false},
		{"an unknown ICMP type", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(42)), false},
		{"half an ICMP message", ipPacket(hostA, noRoute, packet.ProtoICMP, icmp(8)[:7]), false},
		{"a source that is a subnet's broadcast", ipPacket(addr("10.2.0.255"), noRoute, packet.ProtoUDP, numbered(8)), false},
		{"a subnet's broadcast with bad options", ipPacket(hostA, addr("10.2.0.255"), packet.ProtoUDP, numbered(8), withOptions(7, 0, 0, 0)), false},
		{"a class E source", ipPacket(addr("240.0.0.1"), noRoute, packet.ProtoUDP, numbered(8)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newTestbed(t, func(t *Tables) { t.ClassE = true })
			b.arrive(portA, c.ip)
			if c.ask {
				b.punt()
			} else {
				b.noPunt()
			}
			b.none()
			if len(b.drops()) != 1 {
				t.Errorf("drops: %v", b.drops())
			}
		})
	}
}

func TestQuotationFits576Octets(t *testing.T) {
	for _, n := range []int{0, 8, 519, 520, 521, 1400} {
		b := newTestbed(t)
		ip := ipPacket(hostA, addr("9.9.9.9"), packet.ProtoUDP, numbered(n+8))
		b.arrive(portA, ip)
		p := b.punt()
		if !bytes.Equal(p.Packet, ip[:min(len(ip), 548)]) {
			t.Errorf("%d octets sent, %d quoted", len(ip), len(p.Packet))
		}
		if out := ICMPError(&p, addr("10.1.0.1")); len(out) > 576 {
			t.Errorf("the error has %d octets", len(out))
		}
	}
}

func TestQuotedPacketHasTheChecksumThatTheWireWouldHaveSeen(t *testing.T) {
	b := newTestbed(t)
	whole := ipPacket(hostA, addr("9.9.9.9"), packet.ProtoUDP, udp(hostA, addr("9.9.9.9"), 1, 2, numbered(100)))
	open := append(packet.IPv4{}, whole...)
	v := partial(open, 6)
	b.arrive(portA, open, v)
	if p := b.punt(); !bytes.Equal(p.Packet, whole) {
		t.Errorf("quoted\n%x\nwant\n%x", p.Packet, []byte(whole))
	}
}

func TestRedirectedPartialPacketIsStillWhole(t *testing.T) {
	b := newTestbed(t)
	src, dst := addr("10.1.0.77"), addr("8.1.1.1")
	ip, v := superTCP(src, dst, packet.TCPAck, nil, numbered(3000), 1000)
	b.arrive(portA, ip, v)
	if p := b.punt(); p.Reason != PuntRedirect || packet.IPv4(p.Packet).TotalLen() != 1040 {
		t.Errorf("punt %v", p.Reason)
	}
	if s := b.one(portA); !bytes.Equal(s.ip.Payload(), ip.Payload()) || s.vnet.GSOSize != 1000 {
		t.Error("the super-frame changed on its way")
	}
}

func TestICMPErrorIsAValidPacketForEveryType(t *testing.T) {
	quoted := ipPacket(hostA, hostB, packet.ProtoUDP, numbered(33))
	for _, c := range []struct {
		kind, code uint8
		rest       uint32
	}{
		{packet.ICMPUnreachable, packet.ICMPNetUnreachable, 0}, {packet.ICMPUnreachable, packet.ICMPHostUnreachable, 0},
		{packet.ICMPUnreachable, packet.ICMPProtoUnreach, 0}, {packet.ICMPUnreachable, packet.ICMPPortUnreachable, 0},
		{packet.ICMPUnreachable, packet.ICMPFragNeeded, 1400}, {packet.ICMPUnreachable, packet.ICMPSourceRouteFail, 0},
		{packet.ICMPUnreachable, packet.ICMPAdminProhibited, 0}, {packet.ICMPTimeExceeded, packet.ICMPTTLExceeded, 0},
		{packet.ICMPTimeExceeded, packet.ICMPReassembly, 0}, {packet.ICMPParamProblem, 0, 20 << 24},
		{packet.ICMPRedirect, packet.ICMPRedirectHost, uint32(addr("10.1.0.9"))},
	} {
		out := packet.IPv4(ICMPError(&Punt{Reason: PuntError, Type: c.kind, Code: c.code, Rest: c.rest, Packet: quoted}, addr("10.1.0.1")))
		if f := out.Validate(); f != packet.HeaderGood || out.TotalLen() != len(out) {
			t.Fatalf("header fault %d", f)
		}
		if out.Src() != addr("10.1.0.1") || out.Dst() != hostA || out.Protocol() != packet.ProtoICMP || out.TTL() != 64 || out.TOS() != 0xc0 {
			t.Errorf("header % x", out.Header())
		}
		m := packet.ICMP(out.Payload())
		if packet.Checksum(m) != 0 || m.Type() != c.kind || m.Code() != c.code || m.Rest() != c.rest || !bytes.Equal(m.Payload(), quoted) {
			t.Errorf("message % x", []byte(m))
		}
	}
}

func TestTokenBucketShieldsTheControlPlane(t *testing.T) {
	b := newTestbed(t)
	bad := frameFor(portA, ipPacket(hostA, addr("9.9.9.9"), packet.ProtoUDP, numbered(8)))
	asked := func(n int) (got int) {
		for range n {
			b.receive(portA, bad)
			for {
				if _, ok := b.d.NextPunt(); !ok {
					break
				}
				got++
			}
		}
		return got
	}
	if got := asked(500); got != 500 {
		t.Errorf("without a limit %d of 500 errors were asked for", got)
	}
	const second = 1_000_000_000
	b.d.SetErrorRate(100)
	b.clock = 10 * second
	if got := asked(500); got != errorBurst+10 {
		t.Errorf("a burst of %d, want %d", got, errorBurst+10)
	}
	if got := b.d.Counters().Suppressed; got != 500-errorBurst-10 {
		t.Errorf("%d suppressed", got)
	}
	b.clock += second / 10
	if got := asked(500); got != 10 {
		t.Errorf("a tenth of a second later %d, want 10", got)
	}
	b.clock -= second // a clock that steps back gives nothing, and takes nothing
	if got := asked(10); got != 0 {
		t.Errorf("%d errors out of a clock that went back", got)
	}
	if got := b.drops()["no_route"]; got != 500+500+500+10 {
		t.Errorf("%d drops counted; the limit does not hide them", got)
	}
}

func TestOwnPacketsAreRoutedAndAnswered(t *testing.T) {
	b := newTestbed(t)
	out := b.d.Control()
	src := addr("10.1.0.1")
	ip := ipPacket(src, hostB, packet.ProtoUDP, numbered(30), withTTL(1))
	out.Output(append(append([]byte{}, ip...), 1, 2, 3)) // what follows the packet is not part of it
	if got := b.one(portB).ip; !bytes.Equal(got, ip) {   // no TTL step
		t.Errorf("sent\n%x\nleft\n%x", []byte(ip), []byte(got))
	}
	out.Output(ipPacket(src, addr("10.2.0.255"), packet.ProtoUDP, numbered(30)))
	if s := b.one(portB); s.eth.Dst() != packet.BroadcastMAC || s.eth.Src() != routerMAC[portB] {
		t.Errorf("broadcast with link header % x", []byte(s.eth))
	}
	out.Output(ipPacket(src, addr("10.3.0.1"), packet.ProtoUDP, numbered(30)))
	if p := b.punt(); p.Reason != PuntLocal || !p.Own || p.Port != 0 {
		t.Errorf("to ourselves: %+v", p)
	}
	out.Output(ipPacket(src, addr("9.9.9.9"), packet.ProtoUDP, numbered(30)))
	if p := b.punt(); p.Reason != PuntError || !p.Own || p.Port != 0 || p.Code != packet.ICMPNetUnreachable {
		t.Errorf("without a route: %+v", p)
	}
	out.Output(ipPacket(src, addr("224.0.0.9"), packet.ProtoUDP, nil)) // needs a port
	out.Output(ip[:19])
	out.Output(nil)
	bad := append(packet.IPv4{}, ip...)
	bad[10] ^= 1
	out.Output(bad)
	if d := b.drops(); d["multicast"] != 1 || d["ip_header_length"] != 3 || d["no_route"] != 1 || len(d) != 3 {
		t.Errorf("drops: %v", d)
	}
	b.none()
}

func TestFinishedFramesGoOutAsTheyAre(t *testing.T) {
	b := newTestbed(t)
	out := b.d.Control()
	frame := frameFor(portPlain, ipPacket(addr("10.1.0.1"), addr("224.0.0.9"), packet.ProtoUDP, nil))
	if !out.SendFrame(portA, frame) {
		t.Error("refused")
	}
	if s, ok := b.take(portA); !ok || !bytes.Equal(append(append([]byte{}, s.eth...), s.ip...), frame) || s.vnet != (packet.Vnet{}) {
		t.Errorf("% x left", []byte(s.eth))
	}
	for _, c := range []struct {
		id    PortID
		frame []byte
		why   string
	}{
		{99, frame, "tx_port_down"}, {0, frame, "tx_port_down"},
		{portA, frame[:13], "tx_too_long"}, {portA, make([]byte, bufferLen), "tx_too_long"},
	} {
		before := b.drops()[c.why]
		if out.SendFrame(c.id, c.frame) || b.drops()[c.why] != before+1 {
			t.Errorf("port %d, %d octets: drops %v", c.id, len(c.frame), b.drops())
		}
	}
	b.none()
}

func TestPacketThatWaitedInVainIsReturned(t *testing.T) {
	b := newTestbed(t)
	ip := ipPacket(hostA, addr("10.2.0.77"), packet.ProtoUDP, numbered(40))
	b.arrive(portA, ip)
	p := b.punt()
	b.d.Control().Return(&p, DropNeighborUnknown, packet.ICMPUnreachable, packet.ICMPHostUnreachable)
	e := b.punt()
	if e.Reason != PuntError || e.Port != portA || e.Drop != DropNeighborUnknown || e.Code != packet.ICMPHostUnreachable || !bytes.Equal(e.Packet, ip) {
		t.Errorf("error %+v", e)
	}
	if d := b.drops(); len(d) != 0 {
		t.Errorf("counted twice: %v", d) // whoever returns it has counted it
	}
	// Nobody is told about a packet that may not be answered.
	p = Punt{Reason: PuntResolve, Port: portA, Packet: ipPacket(hostA, addr("10.2.0.77"), packet.ProtoUDP, numbered(40), withFlags(5))}
	b.d.Control().Return(&p, DropNeighborUnknown, packet.ICMPUnreachable, packet.ICMPHostUnreachable)
	b.noPunt()
}

func TestSuperFrameThatWaitedGoesOnWhole(t *testing.T) {
	b := newTestbed(t)
	ip, v := superTCP(hostA, addr("10.2.0.77"), packet.TCPAck, nil, numbered(20000), 1448)
	b.arrive(portA, ip, v)
	p := b.punt()
	tables := *b.d.tables.Load()
	tables.Adjacencies = append([]Adjacency{}, tables.Adjacencies...)
	tables.Adjacencies[adjGleanB] = rewriteTo(portB, "10.2.0.77")
	b.d.Publish(&tables)
	b.d.Control().Forward(&p)
	if s := b.one(portB); s.vnet.GSOSize != 1448 || !bytes.Equal(s.ip.Payload(), ip.Payload()) {
		t.Errorf("offload header %+v", s.vnet)
	}
}
