package dataplane

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// The ports of the test bed. Their devices are pairs of sockets that keep frames apart.
const (
	portA     PortID = 1 + iota // Ethernet with offload, 10.1.0.1/24
	portB                       // Ethernet with offload, 10.2.0.1/24
	portT                       // TUN with offload, 10.3.0.1/30
	portPlain                   // Ethernet without offload, 10.4.0.1/24, MTU 1500
	numPorts
)

// The adjacencies of the test bed, by FIB value.
const (
	adjNone = iota
	adjLocal
	adjToA       // neighbour 10.1.0.2
	adjToB       // neighbour 10.2.0.2
	adjToT       // the far end of T
	adjToPlain   // neighbour 10.4.0.2
	adjGleanB    // 10.2.0.0/24
	adjUnknownB  // gateway 10.2.0.9, not resolved
	adjBroadB    // 10.2.0.255
	adjBlackhole // 192.0.2.0/24
	adjUnreach   // 198.51.100.0/24
	adjProhibit  // 203.0.113.0/24
	adjMulti     // 172.16.0.0/12 over B and Plain
)

var (
	hostMAC   = [numPorts]packet.MAC{portA: {2, 0, 0, 0, 0, 0xa2}, portB: {2, 0, 0, 0, 0, 0xb2}, portPlain: {2, 0, 0, 0, 0, 0xd2}}
	routerMAC = [numPorts]packet.MAC{portA: {2, 0, 0, 0, 0, 0xa1}, portB: {2, 0, 0, 0, 0, 0xb1}, portPlain: {2, 0, 0, 0, 0, 0xd1}}
	hostA     = packet.AddrFrom(netip.MustParseAddr("10.1.0.2"))
	hostB     = packet.AddrFrom(netip.MustParseAddr("10.2.0.2"))
)

// testbed is a dataplane without workers' goroutines: the test itself drains the ports.
type testbed struct {
	t     testing.TB
	d     *Dataplane
	w     *worker
	host  [numPorts]int // the hosts' ends of the pairs
	clock int64
}

func newTestbed(t testing.TB, change ...func(*Tables)) *testbed {
	t.Helper()
	b := &testbed{t: t}
	d, err := New(Config{Workers: 1, Clock: func() int64 { return b.clock }, Midnight: func() uint32 { return 12345678 }})
	if err != nil {
		t.Fatal(err)
	}
	b.d = d
	tables := &Tables{Ports: make([]Port, numPorts), Adjacencies: make([]Adjacency, adjMulti+1)}
	addresses := [numPorts]string{portA: "10.1.0.1/24", portB: "10.2.0.1/24", portT: "10.3.0.1/30", portPlain: "10.4.0.1/24"}
	names := [numPorts]string{portA: "a", portB: "b", portT: "t", portPlain: "plain"}
	for id := portA; id < numPorts; id++ {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.host[id] = pair[1]
		t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
		prefix := netip.MustParsePrefix(addresses[id])
		tables.Ports[id] = Port{
			Name: names[id], Attachment: d.NewAttachment(pair[0], id != portPlain),
			Ethernet: id != portT, MAC: routerMAC[id], MTU: 1500,
			Address: packet.AddrFrom(prefix.Addr()), Prefixes: []netip.Prefix{prefix}, Redirects: true,
		}
	}
	a := tables.Adjacencies
	a[adjLocal] = Adjacency{Kind: Local}
	a[adjToA] = rewriteTo(portA, "10.1.0.2")
	a[adjToB] = rewriteTo(portB, "10.2.0.2")
	a[adjToT] = Adjacency{Kind: Rewrite, Port: portT}
	a[adjToPlain] = rewriteTo(portPlain, "10.4.0.2")
	a[adjGleanB] = Adjacency{Kind: Glean, Port: portB}
	a[adjUnknownB] = Adjacency{Kind: Incomplete, Port: portB, NextHop: addr("10.2.0.9")}
	a[adjBroadB] = Adjacency{Kind: BroadcastTo, Port: portB, NextHop: addr("10.2.0.255")}
	a[adjBlackhole] = Adjacency{Kind: Blackhole}
	a[adjUnreach] = Adjacency{Kind: Unreachable}
	a[adjProhibit] = Adjacency{Kind: Prohibit}
	a[adjMulti] = Adjacency{Kind: Multipath, First: 0, Count: 2}
	tables.Members = append(tables.Members, adjToB, adjToPlain)
	for _, f := range change {
		f(tables)
	}
	d.Publish(tables)
	for prefix, v := range map[string]uint32{
		"10.1.0.1/32": adjLocal, "10.2.0.1/32": adjLocal, "10.3.0.1/32": adjLocal, "10.4.0.1/32": adjLocal,
		"10.1.0.2/32": adjToA, "10.2.0.2/32": adjToB, "10.3.0.0/30": adjToT, "10.4.0.2/32": adjToPlain,
		"10.2.0.0/24": adjGleanB, "10.20.0.0/16": adjUnknownB, "10.2.0.255/32": adjBroadB,
		"192.0.2.0/24": adjBlackhole, "198.51.100.0/24": adjUnreach, "203.0.113.0/24": adjProhibit,
		"172.16.0.0/12": adjMulti, "10.1.0.0/24": adjToA, "8.0.0.0/8": adjToA, "240.0.0.0/4": adjToB,
	} {
		p := netip.MustParsePrefix(prefix)
		if err := d.fib.Insert(packet.AddrFrom(p.Addr()), p.Bits(), fibValue(v)); err != nil {
			t.Fatal(err)
		}
	}
	b.w = d.newWorker(2)
	d.workers = nil
	d.injectors = append(d.injectors, b.w) // so that Counters sees it
	for id := portA; id < numPorts; id++ {
		d.queues = append(d.queues, &tables.Ports[id].Attachment.punts)
	}
	return b
}

func rewriteTo(id PortID, nextHop string) Adjacency {
	a := Adjacency{Kind: Rewrite, Port: id, NextHop: addr(nextHop)}
	eth := packet.Ethernet(a.Header[:])
	eth.SetDst(hostMAC[id])
	eth.SetSrc(routerMAC[id])
	eth.SetType(packet.EtherTypeIPv4)
	return a
}

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// receive lets a frame arrive at a port and handles it.
func (b *testbed) receive(id PortID, frame []byte) {
	b.t.Helper()
	if _, err := unix.Write(b.host[id], frame); err != nil {
		b.t.Fatalf("write to port %d: %v", id, err)
	}
	b.drain(id)
}

func (b *testbed) drain(id PortID) {
	b.w.begin()
	b.w.drain(id)
	b.w.end()
}

// arrive lets an IP packet arrive at a port, with the headers that the port has.
func (b *testbed) arrive(id PortID, ip []byte, v ...packet.Vnet) {
	b.t.Helper()
	b.receive(id, frameFor(id, ip, v...))
}

// frameFor wraps an IP packet as the host behind a port would send it. Offsets in
// the offload header are given from the IP header.
func frameFor(id PortID, ip []byte, v ...packet.Vnet) []byte {
	var f []byte
	shift := uint16(packet.EthernetLen)
	if id == portT {
		shift = 0
	}
	if id != portPlain {
		h := packet.Vnet{}
		if len(v) > 0 {
			h = v[0]
			h.ChecksumAt += shift
			h.HeaderLen += shift
		}
		f = make([]byte, packet.VnetLen)
		h.Put(f)
	}
	if id != portT {
		eth := make([]byte, packet.EthernetLen)
		packet.Ethernet(eth).SetDst(routerMAC[id])
		packet.Ethernet(eth).SetSrc(hostMAC[id])
		packet.Ethernet(eth).SetType(packet.EtherTypeIPv4)
		f = append(f, eth...)
	}
	return append(f, ip...)
}

// sent is a frame that left by a port.
type sent struct {
	vnet packet.Vnet // offsets from the IP header
	eth  packet.Ethernet
	ip   packet.IPv4
}

// take is the next frame that left by a port; ok is false when there is none.
func (b *testbed) take(id PortID) (s sent, ok bool) {
	b.t.Helper()
	buf := make([]byte, 70000)
	n, err := unix.Read(b.host[id], buf)
	if errors.Is(err, unix.EAGAIN) {
		return s, false
	}
	if err != nil {
		b.t.Fatalf("read from port %d: %v", id, err)
	}
	f := buf[:n]
	if id != portPlain {
		s.vnet = packet.ParseVnet(f)
		f = f[packet.VnetLen:]
	}
	if id != portT {
		s.eth, f = packet.Ethernet(f[:packet.EthernetLen]), f[packet.EthernetLen:]
		if s.vnet.Flags != 0 {
			s.vnet.ChecksumAt -= packet.EthernetLen
		}
	}
	s.ip = packet.IPv4(f)
	return s, true
}

// one is the only frame that left by a port.
func (b *testbed) one(id PortID) sent {
	b.t.Helper()
	s, ok := b.take(id)
	if !ok {
		b.t.Fatalf("nothing left by port %d; drops: %v", id, b.drops())
	}
	if _, more := b.take(id); more {
		b.t.Fatalf("more than one frame left by port %d", id)
	}
	if fault := s.ip.Validate(); fault != packet.HeaderGood {
		b.t.Fatalf("what left by port %d has header fault %d", id, fault)
	}
	return s
}

// none checks that nothing left by any port.
func (b *testbed) none() {
	b.t.Helper()
	for id := portA; id < numPorts; id++ {
		if s, ok := b.take(id); ok {
			b.t.Fatalf("a packet %v -> %v left by port %d; none was expected", s.ip.Src(), s.ip.Dst(), id)
		}
	}
}

// drops are the reasons counted so far.
func (b *testbed) drops() map[string]uint64 {
	m := map[string]uint64{}
	for i, n := range b.d.Counters().Drops {
		if n > 0 {
			m[DropReason(i).String()] = n
		}
	}
	return m
}

// dropped checks that exactly one packet was dropped, for this reason.
func (b *testbed) dropped(why DropReason) {
	b.t.Helper()
	m := b.drops()
	if len(m) != 1 || m[why.String()] != 1 {
		b.t.Fatalf("drops: %v, want one for %v", m, why)
	}
}

// punt is the only punt that waits.
func (b *testbed) punt() Punt {
	b.t.Helper()
	p, ok := b.d.NextPunt()
	if !ok {
		b.t.Fatalf("nothing was punted; drops: %v", b.drops())
	}
	if q, more := b.d.NextPunt(); more {
		b.t.Fatalf("a second punt, of reason %v", q.Reason)
	}
	return p
}

func (b *testbed) noPunt() {
	b.t.Helper()
	if p, ok := b.d.NextPunt(); ok {
		b.t.Fatalf("punted for %v; nothing was expected", p.Reason)
	}
}

// packetOption changes a packet that is being built.
type packetOption func(packet.IPv4) packet.IPv4

// ipPacket builds an IPv4 packet with a good checksum.
func ipPacket(src, dst packet.Addr, protocol uint8, payload []byte, options ...packetOption) packet.IPv4 {
	ip := packet.IPv4(make([]byte, packet.IPv4MinLen+len(payload)))
	ip[0] = 0x45
	ip.SetTotalLen(len(ip))
	ip.SetID(0x1234)
	ip.SetTTL(64)
	ip.SetProtocol(protocol)
	ip.SetSrc(src)
	ip.SetDst(dst)
	copy(ip[packet.IPv4MinLen:], payload)
	for _, o := range options {
		ip = o(ip)
	}
	ip.UpdateHeaderChecksum()
	return ip
}

func withTTL(ttl uint8) packetOption {
	return func(ip packet.IPv4) packet.IPv4 { ip.SetTTL(ttl); return ip }
}
func withTOS(tos uint8) packetOption {
	return func(ip packet.IPv4) packet.IPv4 { ip.SetTOS(tos); return ip }
}
func withFlags(v uint16) packetOption {
	return func(ip packet.IPv4) packet.IPv4 { ip.SetFlagsFragment(v); return ip }
}

// withOptions inserts IPv4 options, padded to whole words.
func withOptions(opts ...byte) packetOption {
	return func(ip packet.IPv4) packet.IPv4 {
		for len(opts)%4 != 0 {
			opts = append(opts, 0)
		}
		out := append(packet.IPv4{}, ip[:packet.IPv4MinLen]...)
		out = append(out, opts...)
		out = append(out, ip[packet.IPv4MinLen:]...)
		out[0] = 0x40 | byte((packet.IPv4MinLen+len(opts))/4)
		out.SetTotalLen(len(out))
		return out
	}
}

// udp builds a UDP datagram with a complete checksum.
func udp(src, dst packet.Addr, sport, dport uint16, payload []byte) []byte {
	u := packet.UDP(make([]byte, packet.UDPLen+len(payload)))
	u.SetSrcPort(sport)
	u.SetDstPort(dport)
	u.SetLength(len(u))
	copy(u[packet.UDPLen:], payload)
	u.SetChecksum(^packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(src, dst, packet.ProtoUDP, len(u)))))
	return u
}

// tcpSegment builds a TCP segment with a complete checksum.
func tcpSegment(src, dst packet.Addr, flags uint8, options, payload []byte) []byte {
	s := packet.TCP(make([]byte, packet.TCPMinLen+len(options)+len(payload)))
	binary.BigEndian.PutUint16(s, 40000)
	binary.BigEndian.PutUint16(s[2:], 80)
	s.SetSeq(1000)
	s[12] = byte((packet.TCPMinLen+len(options))/4) << 4
	s.SetFlags(flags)
	copy(s[packet.TCPMinLen:], options)
	copy(s[packet.TCPMinLen+len(options):], payload)
	s.SetChecksum(^packet.Fold(packet.Sum(s, packet.PseudoHeaderSum(src, dst, packet.ProtoTCP, len(s)))))
	return s
}

// transportGood checks the checksum of a whole TCP or UDP packet.
func transportGood(ip packet.IPv4) bool {
	body := ip.Payload()
	return packet.Fold(packet.Sum(body, packet.PseudoHeaderSum(ip.Src(), ip.Dst(), ip.Protocol(), len(body)))) == 0xffff
}

// partial turns a complete checksum into one that is left to the device.
func partial(ip packet.IPv4, offset int) packet.Vnet {
	body := ip.Payload()
	binary.BigEndian.PutUint16(body[offset:], packet.Fold(packet.PseudoHeaderSum(ip.Src(), ip.Dst(), ip.Protocol(), len(body))))
	return packet.Vnet{Flags: packet.VnetNeedsChecksum, ChecksumAt: uint16(ip.HeaderLen()), ChecksumOff: uint16(offset)}
}

func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}
