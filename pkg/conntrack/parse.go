package conntrack

import "vrouterd/internal/packet"

// Class is what a packet can be to the session table.
type Class uint8

// The classes.
const (
	ClassInvalid   Class = iota // cannot belong to any session: Parsed.Reason says why
	ClassOpens                  // may open a session: a TCP SYN, any datagram, an ICMP query
	ClassContinues              // can only belong to a session (or, for TCP with loose pick-up, to one from before our time)
	ClassError                  // an ICMP error; Key is that of the direction in which it travels (the inner packet's, reversed)
)

// Parsed is what the session table has to know of a packet. It is read once.
type Parsed struct {
	Key    Key
	Class  Class
	Reason Reason // ClassInvalid: why

	// TCP only.
	Flags    uint8
	Window   uint16
	Seq, Ack uint32
	Header   uint16 // octets of the TCP header, options included
	Payload  int    // octets behind the transport header; for a super-frame, all of them

	// ICMP only.
	ICMPType, ICMPCode uint8

	Length int // octets of the IP packet, for the counters
	Count  int // packets that it stands for: 1, or the segments of a super-frame; set by the caller
}

// Parse reads a whole packet (no fragment) whose IP header is good. Whatever lies about its length is
// ClassInvalid with a named reason; nothing is read beyond ip.
func Parse(ip packet.IPv4, p *Parsed) { panic("conntrack.Parse is not written yet") }
