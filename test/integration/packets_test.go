package integration

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// Raw packets, many at once, and what comes of them.

// tap hears every IPv4 packet that comes to a device of a host.
type tap struct {
	fd   int
	own  bool // those that the host sends as well
	done chan struct{}
	mu   sync.Mutex
	hear func(ip []byte)
}

// tap begins to hear. The function gets each packet's IP header and payload, one at a time.
func (h *host) tap(device string, hear func(ip []byte)) *tap {
	h.lab.t.Helper()
	return h.tapWith(device, false, hear)
}

// tapWith hears what the host itself sends as well, where own says so.
func (h *host) tapWith(device string, own bool, hear func(ip []byte)) *tap {
	h.lab.t.Helper()
	p := &tap{own: own, done: make(chan struct{}), hear: hear}
	err := h.in(func() (err error) {
		// SOCK_DGRAM: the packets without their link-layer header.
		protocol := uint16(0x0008) // IPv4, in network order
		if own {
			protocol = 0x0300 // all: what is sent is told to those sockets only
		}
		if p.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		unix.SetsockoptTimeval(p.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
		request, err := unix.NewIfreq(device)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(p.fd, unix.SIOCGIFINDEX, request); err != nil {
			return err
		}
		return unix.Bind(p.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: int(request.Uint32())})
	})
	if err != nil {
		h.lab.t.Fatalf("hearing at %s of %s: %v", device, h.name, err)
	}
	stop := make(chan struct{})
	go p.run(stop)
	h.lab.t.Cleanup(func() { close(stop); <-p.done; unix.Close(p.fd) })
	return p
}

func (p *tap) run(stop chan struct{}) {
	defer close(p.done)
	buffer := make([]byte, 65536)
	for {
		select {
		case <-stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(p.fd, buffer, 0)
		if l, ok := from.(*unix.SockaddrLinklayer); err != nil || n < 20 || ok && l.Pkttype == unix.PACKET_OUTGOING && !p.own {
			continue
		}
		if buffer[0]>>4 != 4 {
			continue // of all protocols the socket hears others as well
		}
		p.mu.Lock()
		p.hear(buffer[:n])
		p.mu.Unlock()
	}
}

// sender sends raw IP packets from a host.
type sender struct{ fd int }

func (h *host) sender() *sender {
	h.lab.t.Helper()
	s := &sender{}
	err := h.in(func() (err error) {
		s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		h.lab.t.Fatalf("a raw socket on %s: %v", h.name, err)
	}
	h.lab.t.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// send sends a packet to the destination in its header. Full queues are no error: who sends much counts what arrives.
func (s *sender) send(ip []byte) error {
	err := unix.Sendto(s.fd, ip, 0, &unix.SockaddrInet4{Addr: [4]byte(ip[16:20])})
	if err == unix.ENOBUFS {
		return nil
	}
	return err
}

// probe is a packet that may open a session, without a payload.
type probe struct {
	protocol     byte // UDP, TCP (a SYN), ICMP (an echo request; dport is the identifier), or any without ports
	src, dst     netip.Addr
	sport, dport uint16
	id           uint16 // IP identification, not 0: known again in what comes of it
	icmpType     byte
}

// bytes is the packet with all its checksums.
func (p probe) bytes() []byte {
	var l4 []byte
	switch p.protocol {
	case unix.IPPROTO_TCP:
		l4 = make([]byte, 20)
		binary.BigEndian.PutUint32(l4[4:], uint32(p.id)<<16) // the sequence number carries it, too
		l4[12], l4[13] = 5<<4, 2                             // SYN
		binary.BigEndian.PutUint16(l4[14:], 1024)
	case unix.IPPROTO_UDP:
		l4 = make([]byte, 8)
		l4[5] = 8
	case unix.IPPROTO_ICMP:
		l4 = make([]byte, 20) // a timestamp request is as long as that
		l4[0] = p.icmpType
		binary.BigEndian.PutUint16(l4[4:], p.dport)
		binary.BigEndian.PutUint16(l4[2:], packet.Checksum(l4))
	default:
		l4 = make([]byte, 8)
	}
	if p.protocol == unix.IPPROTO_TCP || p.protocol == unix.IPPROTO_UDP {
		binary.BigEndian.PutUint16(l4[0:], p.sport)
		binary.BigEndian.PutUint16(l4[2:], p.dport)
		sum := make([]byte, 0, 64)
		sum = append(append(sum, p.src.AsSlice()...), p.dst.AsSlice()...)
		sum = append(append(sum, 0, p.protocol, 0, byte(len(l4))), l4...)
		at := 6
		if p.protocol == unix.IPPROTO_TCP {
			at = 16
		}
		binary.BigEndian.PutUint16(l4[at:], packet.Checksum(sum))
	}
	ip := make([]byte, 20+len(l4))
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], p.id)
	ip[8], ip[9] = 64, p.protocol
	copy(ip[12:], p.src.AsSlice())
	copy(ip[16:], p.dst.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:20]))
	copy(ip[20:], l4)
	return ip
}

// fixTCP computes the checksum of a TCP segment without IP options anew.
func fixTCP(ip []byte) {
	l4 := ip[20:]
	l4[16], l4[17] = 0, 0
	sum := append(append([]byte{}, ip[12:20]...), 0, unix.IPPROTO_TCP, byte(len(l4)>>8), byte(len(l4)))
	binary.BigEndian.PutUint16(l4[16:], packet.Checksum(append(sum, l4...)))
}

// fixIP and fixICMP compute those checksums anew.
func fixIP(ip []byte) {
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], packet.Checksum(ip[:20]))
}

func fixICMP(ip []byte) {
	ip[22], ip[23] = 0, 0
	binary.BigEndian.PutUint16(ip[22:], packet.Checksum(ip[20:]))
}
