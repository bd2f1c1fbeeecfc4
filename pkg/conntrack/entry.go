package conntrack

import (
	"runtime"
	"sync/atomic"

	"vrouterd/internal/packet"
)

// Session is one entry of the table; the pointer is borrowed, for as long as the caller stays in its
// read section. (112 octets; no pointer inside.)
//
// Keys, protocol, flags, deltas and rules are written before the entry is alive and never again. Atomics are read by anybody.
// The rest is guarded by the lock bit of word, but for next and prev, which belong to the wheel or to the list
// of free entries.
type Session struct {
	addrs          [2]uint64     // of each direction: source and destination
	ports          [2]uint32     // likewise
	word           atomic.Uint32 // protocol, flags, phase and bits: see below
	headerDelta    uint16        // of the original direction
	transportDelta uint16
	refreshed      atomic.Uint32 // Tick from which the timeout counts; written under the lock
	seen           Tick          // of the last packet
	routes         [2]atomic.Uint64
	generation     atomic.Uint32 // of both routes
	next, prev     uint32
	counts         [2]count
	// TCP. For ICMP, end[Original] is the type of the query.
	end    [2]uint32 // one past the last sequence number that a side has sent
	limit  [2]uint32 // one past the last that it may send: what the other side has acknowledged, and its window
	window [2]window // the greatest that a side has offered
}

// The word of a session, from the lowest bit.
const (
	phaseMask   = 1<<4 - 1
	locked      = 1 << 4 // somebody changes the entry
	alive       = 1 << 5 // it is a session: set last when it is made, cleared first when it ends
	halfOpen    = 1 << 6 // it counts as an opening from outside that is not established
	offered     = 1 << 7 // TCP: the opening SYN offered a window scale
	strayed     = 1 << 8 // TCP: a segment outside of the windows was let pass: they are no longer to be trusted
	endedShift  = 9      // TCP, two bits: see machine
	endedMask   = 3 << endedShift
	knownShift  = 11 // TCP, two bits: end, limit and window of the side are known
	insideShift = 13 // whose session it is: 0 nobody's, else 1 + 2*direction + (0: source, 1: destination)
	insideMask  = 7 << insideShift

	flagsShift    = 16
	protocolShift = 24
)

// ended is the bit of a side that has sent FIN, or RST.
func ended(d Direction) uint32 { return 1 << (endedShift + d) }

// known is the bit of a side whose window is known.
func known(d Direction) uint32 { return 1 << (knownShift + d) }

// lock waits for the entry's lock bit and returns the word without it. Storing the word unlocks. Whoever holds it
// takes no other lock and runs a few dozen instructions.
func (s *Session) lock() uint32 {
	const patience = 64 // tries, before the holder may be thought to have lost its processor
	for tries := 1; ; tries++ {
		w := s.word.Load()
		if w&locked == 0 && s.word.CompareAndSwap(w, w|locked) {
			return w
		}
		if tries%patience == 0 {
			runtime.Gosched()
		}
	}
}

// matches reports whether a direction of a live session has a key.
func (s *Session) matches(d Direction, addrs uint64, ports uint32, protocol uint8) bool {
	w := s.word.Load()
	return w&alive != 0 && s.addrs[d] == addrs && s.ports[d] == ports && uint8(w>>protocolShift) == protocol
}

// words of a key, as entries hold them.
func (k *Key) words() (addrs uint64, ports uint32) {
	return uint64(k.Src)<<32 | uint64(k.Dst), uint32(k.SrcPort)<<16 | uint32(k.DstPort)
}

// insideBits finds whose session it is among its four addresses.
func insideBits(n *New) uint32 {
	if n.Inside == 0 {
		return 0
	}
	for i, a := range [4]packet.Addr{n.Original.Src, n.Original.Dst, n.Reply.Src, n.Reply.Dst} {
		if a == n.Inside {
			return uint32(i+1) << insideShift
		}
	}
	return 0
}

// inside is whose session it is, from the word; 0: nobody's.
func (s *Session) inside(w uint32) packet.Addr {
	code := w & insideMask >> insideShift
	if code == 0 {
		return 0
	}
	addrs := s.addrs[(code-1)>>1]
	if code&1 != 0 {
		return packet.Addr(addrs >> 32)
	}
	return packet.Addr(addrs)
}

// count of one direction: 43 bits of packets, 53 of octets, both modulo; at a million packets of 1250 octets a second the
// octets last 83 days. Guarded by the lock bit.
type count struct {
	packets, octets uint32 // the lower 32 bits
	high            uint32 // 11 bits of packets above 21 of octets
}

const octetsHighBits = 21

// add counts packets.
func (c *count) add(packets, octets uint32) {
	p, o := c.packets+packets, c.octets+octets
	if p < packets || o < octets {
		c.carry(p < packets, o < octets)
	}
	c.packets, c.octets = p, o
}

// carry adds to the upper bits: once in four thousand million.
func (c *count) carry(packets, octets bool) {
	p, o := c.high>>octetsHighBits, c.high&(1<<octetsHighBits-1)
	if packets {
		p++
	}
	if octets {
		o++
	}
	c.high = p<<octetsHighBits | o&(1<<octetsHighBits-1)
}

// values are the whole counters.
func (c *count) values() (packets, octets uint64) {
	return uint64(c.high>>octetsHighBits)<<32 | uint64(c.packets),
		uint64(c.high&(1<<octetsHighBits-1))<<32 | uint64(c.octets)
}

// phase is what a session is in, as its word holds it: a state, and for states that several protocols share, which. It
// is the index of its timeout.
type phase uint8

const (
	udpUnreplied phase = iota
	udpReplied
	icmpUnreplied
	icmpReplied
	otherUnreplied
	otherReplied
	firstTCP // SynSent; the other states of TCP follow: 15 in all
)

// tcpPhase of a state of TCP.
func tcpPhase(s State) phase { return firstTCP + phase(s-SynSent) }

// state for users.
func (p phase) state() State {
	if p >= firstTCP {
		return SynSent + State(p-firstTCP)
	}
	return State(p & 1)
}

// firstPhase of a session of a protocol; TCP's is the machine's business.
func firstPhase(protocol uint8) phase {
	switch protocol {
	case protocolTCP:
		return firstTCP
	case protocolUDP:
		return udpUnreplied
	case protocolICMP:
		return icmpUnreplied
	}
	return otherUnreplied
}
