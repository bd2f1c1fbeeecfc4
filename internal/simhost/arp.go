package simhost

import (
	"bytes"
	"encoding/binary"
	"sync"
	"time"

	"vrouterd/internal/packet"
)

// ARP's timing: a request a second, three of them, and so many packets waiting for the answer.
const (
	arpInterval = time.Second
	arpTries    = 3
	arpWaiting  = 64
	arpLen      = 28
)

type neighbors struct {
	mu      sync.Mutex
	known   map[packet.Addr]packet.MAC
	pending map[packet.Addr]*pending
	closed  bool
}

type pending struct {
	packets [][]byte
	tries   int
	timer   *time.Timer
}

func (n *neighbors) init() {
	n.known = map[packet.Addr]packet.MAC{}
	n.pending = map[packet.Addr]*pending{}
}

func (n *neighbors) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, p := range n.pending {
		p.timer.Stop()
	}
	clear(n.pending)
}

// Neighbor returns what ARP knows of an address on the host's network.
func (h *Host) Neighbor(a packet.Addr) (packet.MAC, bool) {
	h.neighbors.mu.Lock()
	defer h.neighbors.mu.Unlock()
	m, ok := h.neighbors.known[a]
	return m, ok
}

// SetNeighbor enters an address without asking; a zero MAC removes it.
func (h *Host) SetNeighbor(a packet.Addr, m packet.MAC) {
	h.neighbors.mu.Lock()
	defer h.neighbors.mu.Unlock()
	if m.IsZero() {
		delete(h.neighbors.known, a)
	} else {
		h.neighbors.known[a] = m
	}
}

// route sends a packet towards its destination.
func (h *Host) route(ip []byte) {
	if h.options.TUN {
		h.SendFrame(ip)
		return
	}
	dst, network := packet.IPv4(ip).Dst(), h.options.Address
	bits := network.Bits()
	broadcast := packet.AddrFrom(network.Addr()) | ^packet.Mask(bits)
	switch {
	case dst == packet.Broadcast || bits < 31 && dst == broadcast:
		h.SendFrame(h.frame(packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, packet.EtherTypeIPv4, ip))
		return
	case dst.IsMulticast(): // RFC 1112 section 6.4
		h.SendFrame(h.frame(packet.MAC{0x01, 0x00, 0x5e, byte(dst>>16) & 0x7f, byte(dst >> 8), byte(dst)}, packet.EtherTypeIPv4, ip))
		return
	case !network.Contains(dst.Netip()):
		if !h.options.Gateway.IsValid() {
			h.stats.noRoute.Add(1)
			return
		}
		dst = packet.AddrFrom(h.options.Gateway)
	}
	if mac, ok := h.resolve(dst, ip); ok {
		h.SendFrame(h.frame(mac, packet.EtherTypeIPv4, ip))
	}
}

// resolve finds a neighbour, or keeps a copy of the packet until it is found.
func (h *Host) resolve(a packet.Addr, ip []byte) (packet.MAC, bool) {
	n := &h.neighbors
	n.mu.Lock()
	defer n.mu.Unlock()
	if mac, ok := n.known[a]; ok {
		return mac, true
	}
	if n.closed {
		return packet.MAC{}, false
	}
	p := n.pending[a]
	if p == nil {
		p = &pending{}
		n.pending[a] = p
		p.timer = time.AfterFunc(arpInterval, func() { h.retry(a, p) })
		p.tries = 1
		h.ask(a)
	}
	if len(p.packets) >= arpWaiting {
		h.stats.unresolved.Add(1)
		return packet.MAC{}, false
	}
	p.packets = append(p.packets, bytes.Clone(ip))
	return packet.MAC{}, false
}

// retry asks again, or gives up.
func (h *Host) retry(a packet.Addr, p *pending) {
	n := &h.neighbors
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending[a] != p {
		return
	}
	if p.tries == arpTries {
		h.stats.unresolved.Add(uint64(len(p.packets)))
		delete(n.pending, a)
		return
	}
	p.tries++
	h.ask(a)
	p.timer.Reset(arpInterval)
}

func (h *Host) ask(a packet.Addr) {
	h.offer(h.frame(packet.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, packet.EtherTypeARP, h.arp(1, packet.MAC{}, a)))
}

// Announce sends a gratuitous ARP request (RFC 5227 section 3).
func (h *Host) Announce() { h.ask(packet.AddrFrom(h.Address())) }

// arp builds a request (1) or a reply (2) from the host (RFC 826).
func (h *Host) arp(operation uint16, to packet.MAC, target packet.Addr) []byte {
	m := make([]byte, arpLen)
	copy(m, []byte{0, 1, 8, 0, 6, 4})
	binary.BigEndian.PutUint16(m[6:], operation)
	copy(m[8:], h.options.MAC[:])
	binary.BigEndian.PutUint32(m[14:], uint32(packet.AddrFrom(h.Address())))
	copy(m[18:], to[:])
	binary.BigEndian.PutUint32(m[24:], uint32(target))
	return m
}

func (h *Host) receiveARP(m []byte) {
	if len(m) < arpLen || !bytes.Equal(m[:6], []byte{0, 1, 8, 0, 6, 4}) {
		h.stats.malformed.Add(1)
		return
	}
	operation := binary.BigEndian.Uint16(m[6:])
	sender, mac := packet.Addr(binary.BigEndian.Uint32(m[14:])), packet.MAC(m[8:14])
	target, us := packet.Addr(binary.BigEndian.Uint32(m[24:])), packet.AddrFrom(h.Address())
	if operation == 1 {
		h.stats.requests.Add(1)
	} else {
		h.stats.replies.Add(1)
	}
	if sender != us && sender != 0 {
		h.learn(sender, mac, target == us)
	}
	if operation == 1 && target == us && sender != us {
		h.offer(h.frame(mac, packet.EtherTypeARP, h.arp(2, mac, sender)))
	}
}

// learn is RFC 826's rule: whoever is known is brought up to date, whoever speaks to us is
// entered; and so is whoever packets wait for.
func (h *Host) learn(a packet.Addr, mac packet.MAC, toUs bool) {
	n := &h.neighbors
	n.mu.Lock()
	_, known := n.known[a]
	p := n.pending[a]
	if known || toUs || p != nil {
		n.known[a] = mac
	}
	delete(n.pending, a)
	n.mu.Unlock()
	if p == nil {
		return
	}
	p.timer.Stop()
	for _, ip := range p.packets {
		h.offer(h.frame(mac, packet.EtherTypeIPv4, ip))
	}
}

func (h *Host) frame(to packet.MAC, kind uint16, payload []byte) []byte {
	f := packet.Ethernet(make([]byte, packet.EthernetLen, packet.EthernetLen+len(payload)))
	f.SetDst(to)
	f.SetSrc(h.options.MAC)
	f.SetType(kind)
	return append(f, payload...)
}
