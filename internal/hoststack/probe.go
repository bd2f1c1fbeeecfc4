package hoststack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"vrouterd/internal/packet"
)

// answer is a packet that came back for a probe.
type answer struct {
	index      int // the probe's number, from 0
	at         time.Time
	from       netip.Addr
	ttl        int
	bytes      int // of the ICMP message, as ping prints it
	kind, code uint8
	rest       uint32 // the second word of an ICMP error: MTU, pointer
	udp        bool   // a UDP datagram instead of an ICMP message
}

// probeKey names the flow of one ping or traceroute: what comes back carries it.
type probeKey struct {
	udp bool
	id  uint16 // echo identifier, or UDP source port
}

// flow is one ping or traceroute under way.
type flow struct {
	target  packet.Addr
	answers chan answer
}

// UDP source ports of traceroutes: outside of the range that the netstack takes
// for its own sockets (16000 and up), so that neither takes the other's answers.
const (
	probePortFirst = 10000
	probePortCount = 6000
	// tracePort is the first destination port of a traceroute, as of the classic one.
	tracePort = 33434
)

// prober knows the flows that wait for answers.
type prober struct {
	mu    sync.RWMutex
	flows map[probeKey]*flow
	next  uint16
	ipID  uint32
}

func (p *prober) init() {
	p.flows = map[probeKey]*flow{}
	p.next = uint16(rand.Uint32())
	p.ipID = rand.Uint32()
}

// open registers a flow under a free identifier.
func (p *prober) open(udp bool, target packet.Addr, room int) (probeKey, *flow, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range 1 << 16 {
		p.next++
		k := probeKey{udp, p.next}
		if udp {
			k.id = probePortFirst + p.next%probePortCount
		}
		if _, taken := p.flows[k]; !taken {
			f := &flow{target: target, answers: make(chan answer, room)}
			p.flows[k] = f
			return k, f, nil
		}
	}
	return probeKey{}, nil, fmt.Errorf("host stack: every probe identifier is in use; wait until other pings have ended")
}

func (p *prober) close(k probeKey) {
	p.mu.Lock()
	delete(p.flows, k)
	p.mu.Unlock()
}

// give hands an answer to its flow. A flow that does not keep up loses
// it, as a socket with a full buffer would.
func (p *prober) give(k probeKey, target packet.Addr, checkTarget bool, a answer) bool {
	p.mu.RLock()
	f := p.flows[k]
	p.mu.RUnlock()
	if f == nil || checkTarget && f.target != target {
		return false
	}
	select {
	case f.answers <- a:
	default:
	}
	return true
}

// match reports an ICMP message that answers a probe, and hands it over.
func (p *prober) match(ip packet.IPv4) bool {
	m := packet.ICMP(ip.Payload())
	if len(m) < packet.ICMPLen || packet.Checksum(m) != 0 {
		return false
	}
	a := answer{
		at: time.Now(), from: ip.Src().Netip(), ttl: int(ip.TTL()), bytes: len(m),
		kind: m.Type(), code: m.Code(), rest: m.Rest(),
	}
	switch m.Type() {
	case packet.ICMPEchoReply:
		a.index = int(uint16(m.Rest()))
		return p.give(probeKey{false, uint16(m.Rest() >> 16)}, 0, false, a)
	case packet.ICMPUnreachable, packet.ICMPTimeExceeded, packet.ICMPParamProblem:
	default:
		return false
	}
	// The quotation: the header of our probe and at least eight octets of its
	// payload (RFC 792). Its sums and its TTL were changed on the way and are not looked at.
	q := packet.IPv4(m.Payload())
	if len(q) < packet.IPv4MinLen || q.Version() != 4 || q.HeaderLen() < packet.IPv4MinLen ||
		len(q) < q.HeaderLen()+8 || q.FragmentOffset() != 0 {
		return false
	}
	inner := q.Payload()
	switch q.Protocol() {
	case packet.ProtoICMP:
		if inner[0] != packet.ICMPEchoRequest {
			return false
		}
		rest := packet.ICMP(inner).Rest()
		a.index = int(uint16(rest))
		return p.give(probeKey{false, uint16(rest >> 16)}, q.Dst(), true, a)
	case packet.ProtoUDP:
		u := packet.UDP(inner)
		a.index = int(u.DstPort()) - tracePort
		return a.index >= 0 && p.give(probeKey{true, u.SrcPort()}, q.Dst(), true, a)
	}
	return false
}

// matchUDP reports a datagram that answers a UDP probe: somebody listens on its port.
func (p *prober) matchUDP(ip packet.IPv4) bool {
	u := packet.UDP(ip.Payload())
	if len(u) < packet.UDPLen || u.SrcPort() < tracePort {
		return false
	}
	a := answer{at: time.Now(), from: ip.Src().Netip(), ttl: int(ip.TTL()), bytes: len(u), index: int(u.SrcPort()) - tracePort, udp: true}
	return p.give(probeKey{true, u.DstPort()}, ip.Src(), true, a)
}

// probe is what is sent.
type probe struct {
	src, dst packet.Addr
	protocol uint8
	ttl      uint8
	df       bool
	body     []byte // transport header and payload, checksum included
}

// echo builds the body of an echo request with size octets of payload.
func echo(id, sequence uint16, size int) []byte {
	m := make([]byte, packet.ICMPLen+size)
	for i := range size {
		m[packet.ICMPLen+i] = byte(i)
	}
	packet.ICMP(m).SetType(packet.ICMPEchoRequest)
	packet.ICMP(m).SetRest(uint32(id)<<16 | uint32(sequence))
	packet.ICMP(m).SetChecksum(packet.Checksum(m))
	return m
}

// datagram builds the body of a UDP probe.
func datagram(src, dst packet.Addr, sport, dport uint16, size int) []byte {
	u := packet.UDP(make([]byte, packet.UDPLen+size))
	for i := range size {
		u[packet.UDPLen+i] = byte('@' + i%64)
	}
	u.SetSrcPort(sport)
	u.SetDstPort(dport)
	u.SetLength(len(u))
	sum := ^packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(src, dst, packet.ProtoUDP, len(u))))
	if sum == 0 {
		sum = 0xffff // zero would mean "no checksum" (RFC 768)
	}
	u.SetChecksum(sum)
	return u
}

// transmit queues a probe, in fragments where it is longer than the MTU.
func (s *Stack) transmit(p probe) {
	s.probes.mu.Lock()
	s.probes.ipID++
	id := uint16(s.probes.ipID)
	s.probes.mu.Unlock()
	room := len(p.body)
	if packet.IPv4MinLen+room > s.mtu {
		room = (s.mtu - packet.IPv4MinLen) &^ 7
	}
	for offset := 0; offset == 0 || offset < len(p.body); offset += room {
		end := min(offset+room, len(p.body))
		ip := packet.IPv4(make([]byte, packet.IPv4MinLen, packet.IPv4MinLen+end-offset))
		ip[0] = 0x45
		ip.SetTotalLen(packet.IPv4MinLen + end - offset)
		ip.SetID(id)
		flags := uint16(offset / 8)
		if p.df {
			flags |= packet.FlagDF
		}
		if end < len(p.body) {
			flags |= packet.FlagMF
		}
		ip.SetFlagsFragment(flags)
		ip.SetTTL(p.ttl)
		ip.SetProtocol(p.protocol)
		ip.SetSrc(p.src)
		ip.SetDst(p.dst)
		ip.UpdateHeaderChecksum()
		s.queue(append(ip, p.body[offset:end]...))
		if room == 0 {
			return
		}
	}
}

// inWords says what an ICMP error means, in lower case and without the author.
func (a *answer) inWords() string {
	switch a.kind {
	case packet.ICMPEchoReply:
		return "reply"
	case packet.ICMPTimeExceeded:
		if a.code == packet.ICMPReassembly {
			return "fragment reassembly time exceeded"
		}
		return "time to live exceeded"
	case packet.ICMPParamProblem:
		return fmt.Sprintf("parameter problem at octet %d", a.rest>>24)
	case packet.ICMPUnreachable:
		if a.code == packet.ICMPFragNeeded {
			return fmt.Sprintf("fragmentation needed, mtu %d", uint16(a.rest))
		}
		if int(a.code) < len(unreachable) {
			return unreachable[a.code]
		}
		return fmt.Sprintf("unreachable, code %d", a.code)
	}
	return fmt.Sprintf("icmp type %d code %d", a.kind, a.code)
}

// unreachable names the codes of RFC 792, 1122 section 3.2.2.1 and 1812 section 5.2.7.1.
var unreachable = [...]string{
	0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable",
	4: "fragmentation needed", 5: "source route failed", 6: "network unknown", 7: "host unknown",
	8: "source host isolated", 9: "network administratively prohibited", 10: "host administratively prohibited",
	11: "network unreachable for this type of service", 12: "host unreachable for this type of service",
	13: "administratively prohibited", 14: "host precedence violation", 15: "precedence cutoff in effect",
}

// note is how traceroute prints an unreachable.
func (a *answer) note() string {
	if a.udp || a.kind != packet.ICMPUnreachable {
		return ""
	}
	switch a.code {
	case 0, 6, 11:
		return "!N"
	case 1, 7, 8, 12:
		return "!H"
	case 2:
		return "!P"
	case 3:
		return ""
	case 4:
		return "!F"
	case 5:
		return "!S"
	case 9, 10, 13:
		return "!X"
	case 14:
		return "!V"
	case 15:
		return "!C"
	}
	return fmt.Sprintf("!%d", a.code)
}
