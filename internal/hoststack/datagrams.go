package hoststack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/ports"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"vrouterd/internal/packet"
)

// A datagram service is a UDP port of the router that is served without a socket: what comes for it is given to a
// function on the goroutine that delivers it, and what it sends is a packet that the caller hands to the dataplane. A
// socket of the netstack costs, for each datagram, a queue and a goroutine's waking on the way in, and a queue and
// another goroutine on the way out; for a server whose machine runs on the delivering goroutine all of that is for
// nothing (docs/dns.md has the measurement). A service also learns what sockets keep to themselves: the port of
// arrival, and which of its own datagrams an ICMP error is about.

// Datagram is a UDP datagram whose checksum is right.
type Datagram struct {
	Arrival  uint32 // the port of the router by which it came, as [Stack.DeliverFrom] was told
	From, To netip.AddrPort
	Payload  []byte // borrowed: valid during the call
}

// Service is what a datagram service does. Its functions are called by [Stack.DeliverFrom].
type Service struct {
	// Take is given a datagram. False: it is not for this service after all, and the netstack
	// answers as for a closed port.
	Take func(d Datagram) bool
	// Failed, if not nil, is told of ICMP errors, in words, about datagrams that the service has sent.
	Failed func(to netip.AddrPort, why string)
}

// DatagramPort is a UDP port at one of the router's addresses that a service has.
type DatagramPort struct {
	stack   *Stack
	at      netip.AddrPort
	key     serviceKey
	service Service
	closed  bool
}

// serviceKey is an address and a port.
type serviceKey struct {
	addr packet.Addr
	port uint16
}

// services are the datagram services by where they are.
type services struct {
	mu   sync.RWMutex
	at   map[serviceKey]*DatagramPort
	ipID atomic.Uint32
}

func (v *services) init() {
	v.at = map[serviceKey]*DatagramPort{}
	v.ipID.Store(rand.Uint32())
}

func (v *services) find(k serviceKey) *DatagramPort {
	v.mu.RLock()
	p := v.at[k]
	v.mu.RUnlock()
	return p
}

// ServeUDP gives a UDP port of one of the router's addresses to a service. It is an error when the port is a
// socket's, another service's, or one of those that traceroutes use.
func (s *Stack) ServeUDP(at netip.AddrPort, service Service) (*DatagramPort, error) {
	if err := s.mine(at); err != nil {
		return nil, fmt.Errorf("host stack: serve udp %v: %w", at, err)
	}
	if at.Port() == 0 || at.Addr().IsUnspecified() {
		return nil, fmt.Errorf("host stack: serve udp %v: a service needs an address and a port", at)
	}
	if at.Port() >= probePortFirst && at.Port() < probePortFirst+probePortCount {
		return nil, fmt.Errorf("host stack: serve udp %v: traceroutes use the ports %d to %d", at, probePortFirst, probePortFirst+probePortCount-1)
	}
	p := &DatagramPort{stack: s, at: at, key: serviceKey{packet.AddrFrom(at.Addr()), at.Port()}, service: service}
	if _, err := s.net.ReservePort(s.net.SecureRNG(), p.reservation(), nil); err != nil {
		return nil, fmt.Errorf("host stack: serve udp %v: %v", at, err)
	}
	s.services.mu.Lock()
	s.services.at[p.key] = p
	s.services.mu.Unlock()
	return p, nil
}

// reservation keeps the netstack's own sockets off the port.
func (p *DatagramPort) reservation() ports.Reservation {
	return ports.Reservation{
		Networks: []tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber}, Transport: udp.ProtocolNumber,
		Addr: address(p.at.Addr()), Port: p.at.Port(),
	}
}

// Addr is where the service is.
func (p *DatagramPort) Addr() netip.AddrPort { return p.at }

// Close gives the port back. What comes for it from now on meets a closed port.
func (p *DatagramPort) Close() {
	v := &p.stack.services
	v.mu.Lock()
	was := p.closed
	p.closed = true
	if !was {
		delete(v.at, p.key)
	}
	v.mu.Unlock()
	if !was {
		p.stack.net.ReleasePort(p.reservation())
	}
}

// Append appends an IPv4 packet with a datagram from the service's address, to be routed and sent, to b.
func (p *DatagramPort) Append(b []byte, to netip.AddrPort, payload []byte) []byte {
	const headers = packet.IPv4MinLen + packet.UDPLen
	start := len(b)
	b = append(b, make([]byte, headers)...)
	b = append(b, payload...)
	ip := packet.IPv4(b[start:])
	ip[0] = 4<<4 | packet.IPv4MinLen/4
	ip.SetTotalLen(len(ip))
	ip.SetID(uint16(p.stack.services.ipID.Add(1)))
	ip.SetTTL(64)
	ip.SetProtocol(packet.ProtoUDP)
	ip.SetSrc(p.key.addr)
	ip.SetDst(packet.AddrFrom(to.Addr()))
	ip.UpdateHeaderChecksum()
	u := packet.UDP(ip[packet.IPv4MinLen:])
	u.SetSrcPort(p.key.port)
	u.SetDstPort(to.Port())
	u.SetLength(len(u))
	sum := ^packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(ip.Src(), ip.Dst(), packet.ProtoUDP, len(u))))
	if sum == 0 {
		sum = 0xffff // zero would mean "no checksum" (RFC 768)
	}
	u.SetChecksum(sum)
	return b
}

// serve gives a whole packet to the service that it is for. done: there is one, and it has taken it, or the packet was bad.
func (s *Stack) serve(arrival uint32, ip packet.IPv4) (done bool) {
	u := packet.UDP(ip.Payload())
	if len(u) < packet.UDPLen {
		return false
	}
	p := s.services.find(serviceKey{ip.Dst(), u.DstPort()})
	if p == nil {
		return false
	}
	n := u.Length()
	if n < packet.UDPLen || n > len(u) || u.SrcPort() == 0 { // from port 0: no answer is wanted (RFC 768)
		s.count.badDatagrams.Add(1)
		return true
	}
	u = u[:n]
	if u.Checksum() != 0 && packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(ip.Src(), ip.Dst(), packet.ProtoUDP, n))) != 0xffff {
		s.count.badDatagrams.Add(1)
		return true
	}
	d := Datagram{
		Arrival: arrival, From: netip.AddrPortFrom(ip.Src().Netip(), u.SrcPort()), To: p.at, Payload: u.Payload(),
	}
	if !p.service.Take(d) {
		return false
	}
	s.count.served.Add(1)
	return true
}

// serveError tells a service of an ICMP error about what it has sent; false: it is about nothing of the kind.
func (s *Stack) serveError(ip packet.IPv4) bool {
	m := packet.ICMP(ip.Payload())
	if len(m) < packet.ICMPLen || m.Type() != packet.ICMPUnreachable || m.Code() == packet.ICMPFragNeeded || packet.Checksum(m) != 0 {
		return false
	}
	q := packet.IPv4(m.Payload())
	if len(q) < packet.IPv4MinLen || q.Version() != 4 || q.HeaderLen() < packet.IPv4MinLen || len(q) < q.HeaderLen()+packet.UDPLen ||
		q.FragmentOffset() != 0 || q.Protocol() != packet.ProtoUDP {
		return false
	}
	u := packet.UDP(q.Payload())
	p := s.services.find(serviceKey{q.Src(), u.SrcPort()})
	if p == nil {
		return false
	}
	s.count.served.Add(1)
	if p.service.Failed != nil {
		a := answer{kind: m.Type(), code: m.Code()}
		p.service.Failed(netip.AddrPortFrom(q.Dst().Netip(), u.DstPort()), a.inWords())
	}
	return true
}
