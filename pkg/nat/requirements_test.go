package nat

import (
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

func TestRFC7857Section5And6_MappingsAndFilteringAreByProtocol(t *testing.T) {
	b := newBed(t, []Rule{home()})
	b.open(udp(host1, 5000, server, 53))
	b.expect(wan, tcp(server, 53, public, 5000), Unclaimed, 0, 0)
	other := b.open(tcp(host2, 5000, server, 53)) // TCP's port 5000 is nobody's yet
	b.leaves(other, public, 5000)
	b.expect(wan, udp(remote2, 9, public, 5000), ToMapping, host1, 5000)
	b.expect(wan, tcp(remote2, 9, public, 5000), ToMapping, host2, 5000)
	b.leaves(b.open(conntrack.MakeKey(protocolICMP, host2, 5000, server, 0)), public, 5000)
}

func TestRFC7857Section4_PairingHoldsForAllProtocolsWhenPortsRunOut(t *testing.T) {
	pool := Rule{Out: wan, Type: SNAT, PortMin: 2000, PortMax: 2001, Outside: []packet.Addr{ip("203.0.113.1"), ip("203.0.113.2"), ip("203.0.113.3")}}
	b := newBed(t, []Rule{pool})
	first := b.open(udp(host1, 2000, server, 53))
	b.open(udp(host1, 2001, server, 53))
	b.refused(udp(host1, 2002, server, 53), ReasonNoPorts) // other addresses of the pool have ports, and it gets none of them
	if s := b.open(tcp(host1, 2002, server, 53)); s.reply.Dst != first.reply.Dst {
		t.Errorf("TCP leaves by %v, UDP by %v", s.reply.Dst, first.reply.Dst)
	}
}

func TestRFC6888REQ7_CarrierGradeFilteringIsEndpointIndependent(t *testing.T) {
	b := newBed(t, []Rule{carrier()})
	s := b.open(udp(subscriber1, 5000, server, 53))
	a, port := s.outsideOf()
	b.expect(wan, udp(remote2, 9, a, port), ToMapping, subscriber1, 5000)
	b.leaves(b.open(udp(subscriber1, 5000, remote2, 99)), a, port)
}

// TestRFC6886Section33_ThePortOfTheOtherProtocolIsTheSameHosts: who has asked for a port of one protocol has that of the other kept from others.
func TestRFC6886Section33_ThePortOfTheOtherProtocolIsTheSameHosts(t *testing.T) {
	dns := Forward{Protocol: protocolUDP, PortMin: 7100, PortMax: 7100, In: wan, Outside: []packet.Addr{public}, To: host1, ToPort: 53}
	for _, companion := range []string{"asked for by NAT-PMP", "asked for by PCP", "a forward"} {
		b := newBed(t, []Rule{home()}, dns)
		port, asked := uint16(7000), Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 9, OutsidePort: 7000, By: ByNATPMP}
		switch companion {
		case "asked for by PCP":
			asked.By = ByPCP
			b.add(asked, false)
		case "a forward":
			port = 7100
		default:
			b.add(asked, false)
		}
		wish := Explicit{Protocol: protocolTCP, Inside: host2, InsidePort: port, OutsidePort: port, By: ByNATPMP, Expires: 500}
		made := b.add(wish, false)
		if made.OutsidePort == port || made.Outside != public || made.Expires != 500 || b.m.Counts().Explicit != map[bool]int{true: 1, false: 2}[port == 7100] {
			t.Errorf("%s: another host was given %+v", companion, made)
		}
		if again := b.add(wish, false); again.OutsidePort != made.OutsidePort {
			t.Errorf("%s: renewed as %+v, made as %+v", companion, again, made)
		}
		b.expect(wan, tcp(server, 9, public, made.OutsidePort), ToForward, host2, port)
		b.m.Delete(b.now, protocolTCP, host2, port)
		// The same host has it.
		if made := b.add(Explicit{Protocol: protocolTCP, Inside: host1, InsidePort: 10, OutsidePort: port, By: ByNATPMP}, false); made.OutsidePort != port {
			t.Errorf("%s: the same host was given %+v", companion, made)
		}
		b.m.Delete(b.now, protocolTCP, host1, 10)
		// PCP asks for nothing of the kind.
		wish.By = ByPCP
		if made := b.add(wish, false); made.OutsidePort != port {
			t.Errorf("%s: by PCP another host was given %+v", companion, made)
		}
		b.m.Delete(b.now, protocolTCP, host2, port)
		b.m.Delete(b.now, protocolUDP, host1, 9)
		b.empty()
	}
}

// A renewal stays where it is, whoever has taken the other protocol's port since; and a mapping that traffic has made moves like any other.
func TestRFC6886Section33_RenewalsStayAndMappingsOfTrafficMove(t *testing.T) {
	b := newBed(t, []Rule{home()})
	first := Explicit{Protocol: protocolUDP, Inside: host1, InsidePort: 9, OutsidePort: 7000, By: ByNATPMP}
	b.add(first, false)
	b.add(Explicit{Protocol: protocolTCP, Inside: host2, InsidePort: 9, OutsidePort: 7000, By: ByPCP}, false)
	if again := b.add(first, false); again.OutsidePort != 7000 {
		t.Errorf("renewed as %+v", again)
	}
	s := b.open(udp(host2, 7001, server, 53))
	b.leaves(s, public, 7001)
	b.add(Explicit{Protocol: protocolTCP, Inside: host1, InsidePort: 9, OutsidePort: 7001, By: ByNATPMP}, false)
	made := b.add(Explicit{Protocol: protocolUDP, Inside: host2, InsidePort: 7001, By: ByNATPMP}, false)
	if made.OutsidePort == 7001 {
		t.Errorf("made %+v", made)
	}
	b.leaves(b.open(udp(host2, 7001, server, 54)), public, made.OutsidePort)
}

// Where every companion is another host's there is no port: what is forwarded whole of one protocol leaves none of the other to NAT-PMP.
func TestRFC6886Section33_WithoutACompanionThereIsNoPort(t *testing.T) {
	all := Forward{Protocol: protocolTCP, PortMin: 1, PortMax: 65535, In: wan, Outside: []packet.Addr{public}, To: host1, ToPort: 1}
	b := newBed(t, []Rule{home()}, all)
	wish := Explicit{Protocol: protocolUDP, Inside: host2, InsidePort: 9, OutsidePort: 9, By: ByNATPMP}
	if made, reason := b.m.Add(b.p, b.now, 0, wish, false); reason != ReasonNoPorts || b.m.Counts().Explicit != 0 {
		t.Errorf("made %+v, %v", made, reason)
	}
	b.empty()
	wish.Inside = host1
	if made := b.add(wish, false); made.OutsidePort != 9 {
		t.Errorf("the forward's own host was given %+v", made)
	}
}
