package conntrack

import (
	"math/bits"

	"vrouterd/internal/packet"
)

// Flags of a session, set when it is made.
type Flags uint8

// The flags.
const (
	SourceTranslated Flags = 1 << iota // SNAT: masquerade and its kin
	DestTranslated                     // DNAT: a forward, a mapping, 1:1
	Mapped                             // holds a reference to a mapping of package nat
	Forwarded                          // its first packet was let in by a forward or an explicit mapping
	Helped                             // its payload is looked at by a helper (FTP control)
	Liberal                            // sequence windows are not checked: picked up in the middle, or helped
	FromOutside                        // opened by a packet from outside: only replies from inside refresh it
)

// New is what a session is made of.
type New struct {
	Original, Reply Key // as packets of each direction arrive
	Flags           Flags
	In              uint16      // port number by which the original direction arrives; 0: the router itself
	Out             uint16      // by which replies arrive; 0: the router itself
	NATRule         uint16      // number of the NAT rule or forward plus 1; 0: none
	Rule            uint16      // number of the firewall rule plus 1 that let it in; 0: none
	Inside          packet.Addr // whom it counts for in the limit for each host, one of the four addresses of the keys; 0: nobody

	Existed bool // set by Create: the session that it returns was there before, with its own keys, flags and rules
}

// Rewrite is what NAT does to a packet of one direction. With the zero value of Changed nothing is to be done, and
// the deltas are no-ops.
//
// For an ICMP query the new identifier is SrcPort of a request (with DstPort 0) and DstPort of a reply (with SrcPort 0), as in
// a [Key]. Protocols without ports have zeros in both.
//
// # The deltas
//
// A delta is a folded ones' complement sum: of all 16-bit words that change, what they become, minus what they were
// (minus is adding the complement). HeaderDelta is over both addresses, TransportDelta over both addresses and both ports; for each
// protocol alike, also ICMP and those without ports. With fold as in packet.Fold:
//
//	finished sum (IP header; TCP, UDP):      sum' = ^fold(^sum + delta)
//	unfinished sum (virtio NEEDS_CSUM):      sum' = fold(sum + HeaderDelta)
//
// A finished sum is the complement of what it covers, so that the delta is added to its complement (RFC 1624, equation 3, for
// all words at once). The IP header takes HeaderDelta. TCP and UDP take TransportDelta, because their pseudo-header
// covers the addresses. An unfinished sum is that of the pseudo-header alone, not complemented, and whoever finishes it adds
// the ports as they are then: it takes HeaderDelta.
//
// Two cases are the caller's: a UDP sum of 0 is no sum and stays 0, and one that comes out as 0 is sent as
// 0xffff (RFC 768). An ICMP sum covers no addresses: it takes the change of the identifier alone, which is
// fold(TransportDelta + ^HeaderDelta), or packet.UpdateChecksum16 with the old and the new one.
//
// To undo a rewrite (the quoted packet of an ICMP error), add ^delta in place of delta: it is what the other direction's Rewrite holds.
type Rewrite struct {
	Changed          bool
	Src, Dst         packet.Addr // as they leave
	SrcPort, DstPort uint16
	HeaderDelta      uint16 // ones' complement: what the change of addresses adds to a sum (IP header, pseudo-header)
	TransportDelta   uint16 // that, and what the change of ports adds
}

// Rewrite is what is to be done to packets of a direction. Constant over the session's life.
func (s *Session) Rewrite(d Direction) Rewrite {
	// A packet leaves as the answers to it arrive, turned round.
	addrs, ports := bits.RotateLeft64(s.addrs[d.Other()], 32), bits.RotateLeft32(s.ports[d.Other()], 16)
	header, transport := s.headerDelta, s.transportDelta
	if d == Reply {
		header, transport = ^header, ^transport
	}
	return Rewrite{
		Changed: addrs != s.addrs[d] || ports != s.ports[d],
		Src:     packet.Addr(addrs >> 32), Dst: packet.Addr(addrs),
		SrcPort: uint16(ports >> 16), DstPort: uint16(ports),
		HeaderDelta: header, TransportDelta: transport,
	}
}

// deltas computes those of the original direction from a key as it arrives and as it leaves.
func deltas(arrives, leaves Key) (header, transport uint16) {
	words := func(a packet.Addr) uint64 { return uint64(a>>16) + uint64(a&0xffff) }
	sum := words(leaves.Src) + words(leaves.Dst) +
		uint64(^packet.Fold(words(arrives.Src))) + uint64(^packet.Fold(words(arrives.Dst)))
	header = packet.Fold(sum)
	sum += uint64(leaves.SrcPort) + uint64(leaves.DstPort) + uint64(^arrives.SrcPort) + uint64(^arrives.DstPort)
	return header, packet.Fold(sum)
}

// Key of a direction, as its packets arrive. Constant.
func (s *Session) Key(d Direction) Key {
	addrs, ports := s.addrs[d], s.ports[d]
	return MakeKey(s.protocol(), packet.Addr(addrs>>32), uint16(ports>>16), packet.Addr(addrs), uint16(ports))
}

// Flags of the session. Constant.
func (s *Session) Flags() Flags { return Flags(s.word.Load() >> flagsShift) }

// State of the session now.
func (s *Session) State() State { return phase(s.word.Load() & phaseMask).state() }

// protocol of the session. Constant.
func (s *Session) protocol() uint8 { return uint8(s.word.Load() >> protocolShift) }

// noAdjacency in a route says that there is none.
const noAdjacency = 1<<32 - 1

// A route word holds, from the top: the adjacency (32 bits), the port of arrival (16), and a rule (16), which has nothing to do
// with it and never changes.
func routeWord(adjacency uint32, in, rule uint16) uint64 {
	return uint64(adjacency)<<32 | uint64(in)<<16 | uint64(rule)
}

// Route is the adjacency that the direction's packets are sent by, if it was stored under this generation for
// packets that arrive by port in.
func (s *Session) Route(d Direction, generation uint32, in uint16) (adjacency uint32, ok bool) {
	// SetRoute forgets both words before it changes the generation, which only grows. So a word read between two equal
	// generations was stored under that one, or forgotten.
	if s.generation.Load() != generation {
		return 0, false
	}
	route := s.routes[d].Load()
	adjacency = uint32(route >> 32)
	return adjacency, adjacency != noAdjacency && uint16(route>>16) == in && s.generation.Load() == generation
}

// oldGeneration is how far behind a generation can be that a worker still has in hand. An entry that was not used for longer begins anew.
const oldGeneration = 1 << 16

// SetRoute stores it. Entries of the other direction under an older generation are forgotten; and so is what a slow worker has decided under
// a generation that others have left behind. The adjacency 1<<32 - 1 is none.
func (s *Session) SetRoute(d Direction, generation uint32, in uint16, adjacency uint32) {
	w := s.lock()
	if before := s.generation.Load(); before != generation {
		if before != 0 && int32(generation-before) < 0 && before-generation < oldGeneration {
			s.word.Store(w)
			return
		}
		for i := range s.routes {
			s.routes[i].Store(s.routes[i].Load() | noAdjacency<<32)
		}
		s.generation.Store(generation)
	}
	s.routes[d].Store(routeWord(adjacency, in, uint16(s.routes[d].Load())))
	s.word.Store(w)
}

// Ports by which the two directions arrived last.
func (s *Session) Ports() (original, reply uint16) {
	return uint16(s.routes[Original].Load() >> 16), uint16(s.routes[Reply].Load() >> 16)
}

// Rules are New.Rule and New.NATRule.
func (s *Session) Rules() (firewall, nat uint16) {
	return uint16(s.routes[Original].Load()), uint16(s.routes[Reply].Load())
}
