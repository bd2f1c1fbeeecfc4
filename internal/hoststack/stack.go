// Package hoststack is the host inside the router: what is addressed to one of the router's
// own addresses ends here, and what the router itself has to say starts here.
//
//	dataplane -> Deliver -> probes (answers to our pings and traceroutes)
//	                     -> datagram services (DNS)
//	                     -> gVisor's netstack (echo, TCP, UDP, refusals)
//	netstack, probes -> one queue -> Output -> dataplane
//
// The netstack is gVisor's, on one interface without a link layer; routing, ARP and
// fragments of what arrives are the dataplane's business. It forwards nothing: it has no route but back into the dataplane,
// and packets that are not for one of its addresses are dropped. No other package sees gVisor's types.
//
// Pings and traceroutes do not go through the netstack. They need the time to live of
// answers, don't-fragment, and every ICMP error with its code, its author and the probe that it is about;
// the sockets of the netstack keep most of that to themselves. So probes are built and
// matched here (probe.go), by the echo identifier or UDP source port that only they use.
//
// Datagram services have a UDP port without a socket (datagrams.go).
//
// Broadcasts and multicasts are never answered with an echo reply (as Linux by default, against
// amplification) nor with an error (RFC 1122 section 3.2.2).
package hoststack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"vrouterd/internal/packet"
)

// ErrClosed is what a closed stack returns.
var ErrClosed = errors.New("the host stack is closed")

// Options of a stack.
type Options struct {
	MTU int // octets of the largest packet given to Output, 68 to 65535; 0: 1500
	// Output takes a packet to be routed and sent. It is called from one goroutine;
	// the slice is only valid during the call. It sees ICMP errors without a limit.
	Output func(ip []byte)
	Log    *slog.Logger // nil: silent
}

// Stats counts packets. Every one that Deliver takes is in exactly one of the first seven.
type Stats struct {
	Delivered   uint64 // to the netstack
	Probes      uint64 // answers to our own probes
	Served      uint64 // to a datagram service, ICMP errors about its datagrams included
	Malformed   uint64 // not a whole IPv4 packet with a good header
	BadDatagram uint64 // to a datagram service, with a wrong length or checksum, or from port 0
	BadSource   uint64 // from an address that can be nobody's: not answered
	GroupEcho   uint64 // echo requests to a broadcast or multicast address: not answered
	Sent        uint64 // given to Output
	LoopedBack  uint64 // sent to one of our own addresses
	SendDropped uint64 // the queue towards Output was full
}

type counters struct {
	delivered, probes, served, malformed, badDatagrams, badSource, groupEcho, sent, loopedBack, sendDropped atomic.Uint64
}

// queueLen is the number of packets that may wait for Output: enough for the
// fragments of the largest datagrams of a few flows.
const queueLen = 512

// TCP buffers in octets: least, usual, most. The router serves small things to a few.
const (
	bufferMin     = 4 << 10
	bufferDefault = 64 << 10
	bufferMax     = 256 << 10
)

const nic tcpip.NICID = 1

// own is the set of the router's addresses, replaced as a whole.
type own struct {
	prefixes   []netip.Prefix
	addresses  map[packet.Addr]struct{}
	broadcasts map[packet.Addr]struct{}
}

// Stack is the router as a host. Its methods may be called from any goroutine.
type Stack struct {
	mtu      int
	output   func([]byte)
	log      *slog.Logger
	net      *stack.Stack
	link     *channel.Endpoint
	own      atomic.Pointer[own]
	count    counters
	probes   prober
	services services

	setting sync.Mutex // one SetAddresses at a time
	cancel  context.CancelFunc
	ctx     context.Context
	done    chan struct{}
	closing sync.Once
}

// New starts a stack without addresses.
func New(o Options) (*Stack, error) {
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if o.MTU < 68 || o.MTU > 65535 {
		return nil, fmt.Errorf("host stack: mtu %d is not within 68 to 65535", o.MTU)
	}
	if o.Output == nil {
		return nil, errors.New("host stack: an output is needed")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	s := &Stack{
		mtu: o.MTU, output: o.Output, log: o.Log,
		net: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
		link: channel.New(queueLen, uint32(o.MTU), ""),
		done: make(chan struct{}),
	}
	s.own.Store(&own{})
	s.probes.init()
	s.services.init()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.configure(); err != nil {
		s.net.Destroy()
		return nil, err
	}
	go s.send()
	return s, nil
}

func (s *Stack) configure() error {
	s.net.SetICMPLimit(rate.Inf) // whoever has Output limits what the whole router sends
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	for _, option := range []tcpip.SettableTransportProtocolOption{
		&sack, &moderate,
		&tcpip.TCPSendBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax},
		&tcpip.TCPReceiveBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax},
	} {
		if err := s.net.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("host stack: tcp option %T: %v", option, err)
		}
	}
	if err := s.net.CreateNIC(nic, s.link); err != nil {
		return fmt.Errorf("host stack: interface: %v", err)
	}
	s.net.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return nil
}

// Listens reports whether something in the router accepts TCP connections at an address and port.
func (s *Stack) Listens(a packet.Addr, port uint16) bool {
	id := stack.TransportEndpointID{LocalAddress: address(a.Netip()), LocalPort: port}
	return s.net.FindTransportEndpoint(ipv4.ProtocolNumber, tcp.ProtocolNumber, id, nic) != nil
}

// SetAddresses replaces the router's own addresses, each with the length of its
// network. Connections on addresses that stay are not touched.
func (s *Stack) SetAddresses(prefixes []netip.Prefix) {
	s.setting.Lock()
	defer s.setting.Unlock()
	next := &own{addresses: map[packet.Addr]struct{}{}, broadcasts: map[packet.Addr]struct{}{}}
	for _, p := range prefixes {
		a := packet.AddrFrom(p.Addr())
		if _, twice := next.addresses[a]; twice || !p.Addr().Is4() {
			continue
		}
		next.prefixes = append(next.prefixes, p)
		next.addresses[a] = struct{}{}
		if p.Bits() < 31 {
			next.broadcasts[a|^packet.Mask(p.Bits())] = struct{}{}
		}
	}
	before := map[netip.Prefix]bool{}
	for _, p := range s.own.Load().prefixes {
		before[p] = true
	}
	keep := map[netip.Prefix]bool{}
	for _, p := range next.prefixes {
		keep[p] = true
	}
	for p := range before {
		if keep[p] {
			continue
		}
		if err := s.net.RemoveAddress(nic, address(p.Addr())); err != nil {
			s.log.Error("an address cannot be removed from the host stack", "address", p, "error", err.String())
		}
	}
	for _, p := range next.prefixes {
		if before[p] {
			continue
		}
		err := s.net.AddProtocolAddress(nic, tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: address(p.Addr()), PrefixLen: p.Bits()},
		}, stack.AddressProperties{})
		if err != nil {
			s.log.Error("an address cannot be added to the host stack", "address", p, "error", err.String())
		}
	}
	s.own.Store(next)
}

// Deliver takes a whole IPv4 packet that is addressed to the router, to a broadcast address
// or to a multicast group. The packet is copied. It does not wait for anything. Datagram services do not see it.
func (s *Stack) Deliver(ip []byte) { s.deliver(ip, 0, false) }

// DeliverFrom is Deliver for a packet that came by the port with a number of the caller's. Datagram services are
// called on the caller's goroutine, for which there may be only one.
func (s *Stack) DeliverFrom(arrival uint32, ip []byte) { s.deliver(ip, arrival, true) }

func (s *Stack) deliver(ip []byte, arrival uint32, services bool) {
	p := packet.IPv4(ip)
	if p.Validate() != packet.HeaderGood {
		s.count.malformed.Add(1)
		return
	}
	p = p[:p.TotalLen()]
	o := s.own.Load()
	src := p.Src()
	if _, bad := o.broadcasts[src]; bad || src.IsMulticast() || src.IsClassE() || src.IsZeroNet() || src.IsLoopback() {
		s.count.badSource.Add(1)
		return
	}
	if p.Protocol() == packet.ProtoICMP && !p.IsFragment() {
		if s.probes.match(p) {
			s.count.probes.Add(1)
			return
		}
		if services && s.serveError(p) {
			return
		}
		_, unicast := o.addresses[p.Dst()]
		if m := p.Payload(); !unicast && len(m) > 0 && m[0] == packet.ICMPEchoRequest {
			s.count.groupEcho.Add(1)
			return
		}
	}
	if services && p.Protocol() == packet.ProtoUDP && !p.IsFragment() && s.serve(arrival, p) {
		return
	}
	if p.Protocol() == packet.ProtoUDP && !p.IsFragment() && s.probes.matchUDP(p) {
		s.count.probes.Add(1)
		return
	}
	s.count.delivered.Add(1)
	b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(append([]byte(nil), p...))})
	s.link.InjectInbound(ipv4.ProtocolNumber, b)
	b.DecRef()
}

// send hands what is queued to Output until the stack is closed.
func (s *Stack) send() {
	defer close(s.done)
	for {
		b := s.link.ReadContext(s.ctx)
		if b == nil {
			return
		}
		v := b.ToView()
		b.DecRef()
		ip := packet.IPv4(v.AsSlice())
		if _, us := s.own.Load().addresses[ip.Dst()]; us {
			s.count.loopedBack.Add(1)
			s.Deliver(ip)
		} else {
			s.count.sent.Add(1)
			s.output(ip)
		}
		v.Release()
	}
}

// queue puts a packet of our own making behind those of the netstack. It keeps ip.
func (s *Stack) queue(ip []byte) {
	b := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(ip)})
	var l stack.PacketBufferList
	l.PushBack(b)
	if n, err := s.link.WritePackets(l); n == 0 || err != nil {
		s.count.sendDropped.Add(1)
	}
	b.DecRef()
}

// Stats returns the counters.
func (s *Stack) Stats() Stats {
	return Stats{
		Delivered: s.count.delivered.Load(), Probes: s.count.probes.Load(), Served: s.count.served.Load(),
		Malformed: s.count.malformed.Load(), BadDatagram: s.count.badDatagrams.Load(), BadSource: s.count.badSource.Load(), GroupEcho: s.count.groupEcho.Load(), Sent: s.count.sent.Load(),
		LoopedBack: s.count.loopedBack.Load(), SendDropped: s.count.sendDropped.Load(),
	}
}

// Close ends every connection and returns when no goroutine of the stack is left.
// Pings and traceroutes under way return ErrClosed.
func (s *Stack) Close() {
	s.closing.Do(func() {
		s.cancel()
		<-s.done
		s.net.Destroy()
	})
}

func address(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }
