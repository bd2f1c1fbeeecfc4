package conntrack

import "vrouterd/internal/packet"

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

// Session is one entry of the table; the pointer is borrowed, for as long as the caller stays in its
// read section. (112 octets; no pointer inside.)
type Session struct{}

// New is what a session is made of.
type New struct {
	Original, Reply Key // as packets of each direction arrive
	Flags           Flags
	In              uint16      // port number by which the original direction arrives; 0: the router itself
	Out             uint16      // by which replies arrive; 0: the router itself
	NATRule         uint16      // number of the NAT rule or forward plus 1; 0: none
	Rule            uint16      // number of the firewall rule plus 1 that let it in; 0: none
	Inside          packet.Addr // whom it counts for in the limit for each host; 0: nobody
}

// Rewrite is what NAT does to a packet of one direction. With the zero value of Changed nothing is to be done.
type Rewrite struct {
	Changed          bool
	Src, Dst         packet.Addr // as they leave
	SrcPort, DstPort uint16
	HeaderDelta      uint16 // ones' complement: what the change of addresses adds to a sum (IP header, pseudo-header)
	TransportDelta   uint16 // that, and what the change of ports adds
}

// Update takes a packet into account: TCP state and window, timers, counters. With repeat the packet has been
// counted before (it waited for a neighbour) and only the verdict is wanted. ICMP errors never come here.
func (s *Session) Update(t *Table, now Tick, d Direction, p *Parsed, repeat bool) Reason {
	panic("not written yet")
}

// Route is the adjacency that the direction's packets are sent by, if it was stored under this generation for
// packets that arrive by port in.
func (s *Session) Route(d Direction, generation uint32, in uint16) (adjacency uint32, ok bool) {
	panic("not written yet")
}

// SetRoute stores it. Entries of the other direction under another generation are forgotten.
func (s *Session) SetRoute(d Direction, generation uint32, in uint16, adjacency uint32) {
	panic("not written yet")
}

// Rewrite is what is to be done to packets of a direction. Constant over the session's life.
func (s *Session) Rewrite(d Direction) Rewrite { panic("not written yet") }

// Key of a direction, as its packets arrive. Constant.
func (s *Session) Key(d Direction) Key { panic("not written yet") }

// Flags of the session. Constant.
func (s *Session) Flags() Flags { panic("not written yet") }

// Ports by which the two directions arrived last.
func (s *Session) Ports() (original, reply uint16) { panic("not written yet") }

// Rules are New.Rule and New.NATRule.
func (s *Session) Rules() (firewall, nat uint16) { panic("not written yet") }

// State of the session now.
func (s *Session) State() State { panic("not written yet") }
