package conntrack

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vrouterd/internal/packet"
)

// host is a TCP that goes back to the oldest octet that was not acknowledged: simple, and legal whatever the network does to it.
type host struct {
	d             Direction
	iss, una, nxt uint32 // as RFC 9293 section 3.3.1 names them
	irs, rcv      uint32
	passive       bool
	answered      bool   // has the other's SYN
	left          uint32 // octets that it wants to send
	end           uint32 // number of its FIN
	peerWindow    uint32
	buffer        uint32 // that it offers
	scale         uint8  // that it has offered; in force if both have
	peerScale     uint8
	gotFin        bool
}

// net is a connection of two hosts through a table in strict mode, over links that lose, repeat and swap.
type net struct {
	*connection
	random *rand.Rand
	hosts  [2]*host
	near   [2][]*Parsed // from a host to the table
	far    [2][]*Parsed // from the table to the other host
	scaled bool
}

func (h *host) synAcked() bool { return int32(h.una-h.iss) > 0 }
func (h *host) done() bool     { return h.gotFin && h.una == h.end+1 }

// emit makes a segment of what the host has to say from a number on.
func (n *net) emit(h *host, from uint32, most int) (next uint32) {
	p := segment(n.s.Key(h.d), packet.TCPAck, from, h.rcv, 0)
	window := h.buffer >> h.scale
	switch {
	case from == h.iss:
		window = min(h.buffer, 65535)
		p.Flags = packet.TCPSyn
		if h.answered {
			p.Flags |= packet.TCPAck
		} else {
			p.Ack = 0
		}
		if n.scaled {
			p.Scale = h.scale + 1
		}
		next = from + 1
	default:
		room := int32(h.una + h.peerWindow - from)
		size := min(int32(h.end-from), room, int32(most))
		if size < 0 {
			size = 0
		}
		p.Payload = int(size)
		next = from + uint32(size)
		if next == h.end && room > size {
			p.Flags |= packet.TCPFin
			next++
		}
	}
	p.Window = uint16(min(window, 65535))
	n.near[h.d] = append(n.near[h.d], p)
	return next
}

// talk lets a host send something, if it may.
func (n *net) talk(h *host) {
	most := 1 + n.random.IntN(1+n.random.IntN(65000))
	switch {
	case !h.synAcked():
		if !h.passive || h.answered {
			h.nxt = max(n.emit(h, h.iss, 0), h.iss+1)
		}
	case n.random.IntN(4) == 0: // again, from the oldest
		if next := n.emit(h, h.una, most); int32(next-h.nxt) > 0 {
			h.nxt = next
		}
	case n.random.IntN(8) == 0: // keepalive
		p := segment(n.s.Key(h.d), packet.TCPAck, h.una-1, h.rcv, 0)
		p.Window = uint16(min(h.buffer>>h.scale, 65535))
		n.near[h.d] = append(n.near[h.d], p)
	case int32(h.end+1-h.nxt) > 0:
		h.nxt = n.emit(h, h.nxt, most)
	default:
		n.emit(h, h.nxt, 0)
	}
}

// hear lets a host take a segment.
func (n *net) hear(h *host, p *Parsed) {
	_, to := p.span()
	if p.Flags&packet.TCPSyn != 0 && !h.answered {
		h.answered, h.irs, h.rcv = true, p.Seq, p.Seq+1
		h.peerWindow = uint32(p.Window)
		if !n.scaled {
			h.scale = 0
		} else {
			h.peerScale = p.Scale - 1
		}
	}
	if p.Flags&packet.TCPAck != 0 && int32(p.Ack-h.una) >= 0 && int32(h.nxt-p.Ack) >= 0 {
		h.una = p.Ack
		scale := h.peerScale
		if p.Flags&packet.TCPSyn != 0 {
			scale = 0
		}
		h.peerWindow = uint32(p.Window) << scale
	}
	if h.answered && int32(p.Seq-h.rcv) <= 0 && int32(to-h.rcv) > 0 {
		h.rcv = to
		if p.Flags&packet.TCPFin != 0 {
			h.gotFin = true
		}
	}
}

// useless reports whether a segment would tell a host nothing, or has been overtaken by more than a window: its sender
// knows by now that what it begins with has arrived, and whatever it says next acknowledges as much.
func useless(sender, h *host, p *Parsed) bool {
	_, to := p.span()
	return int32(to-h.rcv) <= 0 && (int32(p.Ack-h.una) <= 0 || int32(to-sender.una) < 0)
}

// carry moves one segment along a queue: it may get lost, be repeated, or be overtaken.
func (n *net) carry(queue *[]*Parsed) *Parsed {
	if len(*queue) == 0 {
		return nil
	}
	i := 0
	if len(*queue) > 1 && n.random.IntN(10) == 0 {
		i = 1
	}
	p := (*queue)[i]
	if n.random.IntN(20) != 0 { // else it comes again
		*queue = append(append([]*Parsed(nil), (*queue)[:i]...), (*queue)[i+1:]...)
	}
	if n.random.IntN(15) == 0 {
		return nil
	}
	return p
}

// TestLegalTrafficPassesInStrictMode has two TCPs talk over bad links through the table, with window scaling and without, with super-frames, opening
// by one side or by both at once: nothing that would have told a host anything is ever refused, and in the end
// the table knows that both have ended.
func TestLegalTrafficPassesInStrictMode(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 17))
			w := newWorld(t, Config{Window: WindowStrict})
			n := &net{random: random, scaled: seed%3 != 0}
			for d := range n.hosts {
				h := &host{d: Direction(d), iss: random.Uint32(), buffer: 1000 + uint32(random.IntN(1<<(8+random.IntN(16)))), left: uint32(random.IntN(1 << (4 + random.IntN(14))))}
				if n.scaled {
					h.scale = uint8(random.IntN(9))
				}
				h.passive = d == 1 && seed%4 != 1
				h.una, h.nxt, h.end = h.iss, h.iss+1, h.iss+1+h.left
				n.hosts[d] = h
			}
			a := n.hosts[0]
			k := MakeKey(protocolTCP, client, 40000, server, 80)
			first := segment(k, packet.TCPSyn, a.iss, 0, 0)
			first.Window = uint16(min(a.buffer, 65535))
			if n.scaled {
				first.Scale = a.scale + 1
			}
			n.connection = &connection{world: w, key: k, s: w.open(New{Original: k, Reply: k.Reverse()}, first)}
			for round := 0; !n.hosts[0].done() || !n.hosts[1].done() || n.s.State() != TimeWait; round++ {
				if round > 400000 {
					t.Fatalf("they do not come to an end: %+v %+v, state %v", n.hosts[0], n.hosts[1], n.s.State())
				}
				d := Direction(random.IntN(2))
				switch random.IntN(3) {
				case 0:
					if len(n.near[d]) < 8 {
						n.talk(n.hosts[d])
					}
				case 1:
					p := n.carry(&n.near[d])
					if p == nil {
						continue
					}
					switch r := n.s.Update(w.table, w.now, d, p, false); {
					case r == ReasonNone:
						n.far[d] = append(n.far[d], p)
					case r == ReasonTCPState && p.Flags&packet.TCPSyn != 0: // an old SYN, when all is over
					case !useless(n.hosts[d], n.hosts[d.Other()], p):
						t.Fatalf("round %d, direction %d: %v for %+v in %v\n%+v\n%+v\nend %v limit %v", round, d, r, p, n.s.State(), n.hosts[0], n.hosts[1], n.s.end, n.s.limit)
					}
				default:
					if p := n.carry(&n.far[d]); p != nil {
						n.hear(n.hosts[d.Other()], p)
					}
				}
			}
		})
	}
}
