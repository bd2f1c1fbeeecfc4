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
