package integration

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// dhcpCrowd is many clients in one host, played by the test: each is a hardware address, what it asks for, and what it got.
// They share eth0, which has no address of its own.
type dhcpCrowd struct {
	*host
	fd      int
	link    *unix.SockaddrLinklayer
	mu      sync.Mutex
	members map[packet.MAC]*crowdMember
	acks    []crowdACK // all that were ever heard
}

// crowdMember is one of them.
type crowdMember struct {
	mac    packet.MAC
	xid    uint32
	state  dhcpv4.MessageType // what was sent last, or ACK, or NAK; none: it has not begun
	sent   time.Time
	tries  int
	addr   netip.Addr // offered, then given
	server netip.Addr
}

// crowdACK is an address that a server has given.
type crowdACK struct {
	mac  packet.MAC
	addr netip.Addr
}

// crowd makes the host's eth0 hear what is meant for everybody.
func (h *host) crowd() *dhcpCrowd {
	h.lab.t.Helper()
	c := &dhcpCrowd{host: h, members: map[packet.MAC]*crowdMember{}}
	h.ip("link", "set", "dev", "eth0", "promisc", "on")
	err := h.in(func() (err error) {
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq("eth0")
		if err != nil {
			return err
		}
		err = unix.IoctlIfreq(c.fd, unix.SIOCGIFINDEX, request)
		c.link = &unix.SockaddrLinklayer{Ifindex: int(request.Uint32()), Protocol: 0x0008}
		return err
	})
	if err != nil {
		h.lab.t.Fatalf("%s: a packet socket: %v", h.name, err)
	}
	h.lab.t.Cleanup(func() { unix.Close(c.fd) })
	h.tap("eth0", c.hear) // ends before the socket is closed
	return c
}

// crowdMAC is the hardware address of the crowd's member with a number.
func crowdMAC(i int) packet.MAC {
	return packet.MAC{0x02, 0xcd, 0, byte(i >> 16), byte(i >> 8), byte(i)}
}

// dhcpOctets is a message to a server; options are whole, with code and length, and the end is added.
func dhcpOctets(kind dhcpv4.MessageType, xid uint32, mac packet.MAC, ciaddr netip.Addr, options ...byte) []byte {
	b := make([]byte, 240, 300)
	b[0], b[1], b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(b[4:], xid)
	if ciaddr.IsValid() {
		copy(b[12:], ciaddr.AsSlice())
	}
	copy(b[28:], mac[:])
	binary.BigEndian.PutUint32(b[236:], 0x63825363)
	b = append(append(append(b, 53, 1, byte(kind)), options...), 255)
	for len(b) < 300 {
		b = append(b, 0)
	}
	return b
}

// option is one that holds an address.
func option(code byte, a netip.Addr) []byte { return append([]byte{code, 4}, a.AsSlice()...) }

// dhcpFrame wraps a message of a client without an address into a broadcast.
func dhcpFrame(mac packet.MAC, message []byte) []byte {
	ip := udpPacket(netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), message)
	frame := append([]byte{255, 255, 255, 255, 255, 255}, mac[:]...)
	return append(append(frame, 8, 0), ip...)
}

// send sends a frame. Full queues are no error: whoever gets no answer asks again.
func (c *dhcpCrowd) send(frame []byte) {
	if err := unix.Sendto(c.fd, frame, 0, c.link); err != nil && err != unix.ENOBUFS && c.lab.t.Context().Err() == nil {
		c.lab.t.Errorf("%s: sending a frame: %v", c.name, err)
	}
}

// say sends a member's message and notes it.
func (c *dhcpCrowd) say(m *crowdMember, kind dhcpv4.MessageType, options ...byte) {
	m.state, m.sent = kind, time.Now()
	m.tries++
	c.send(dhcpFrame(m.mac, dhcpOctets(kind, m.xid, m.mac, netip.Addr{}, options...)))
}

// hear takes an answer.
func (c *dhcpCrowd) hear(ip []byte) {
	s, is := parseDHCP(ip)
	if !is || s.dst.Port() != 68 || len(s.m.ClientHWAddr) != 6 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[packet.MAC(s.m.ClientHWAddr)]
	if m == nil || binary.BigEndian.Uint32(s.m.TransactionID[:]) != m.xid {
		return
	}
	given, _ := netip.AddrFromSlice(s.m.YourIPAddr.To4())
	switch kind := s.m.MessageType(); {
	case kind == dhcpv4.MessageTypeAck:
		// It counts whether it is awaited or not: the server has promised the address.
		c.acks = append(c.acks, crowdACK{m.mac, given})
		m.addr, m.state = given, kind
	case kind == dhcpv4.MessageTypeNak && m.state == dhcpv4.MessageTypeRequest:
		m.state = kind
	case kind == dhcpv4.MessageTypeOffer && m.state == dhcpv4.MessageTypeDiscover:
		id := s.m.Options.Get(dhcpv4.OptionServerIdentifier)
		if len(id) != 4 {
			return
		}
		m.addr, m.server = given, netip.AddrFrom4([4]byte(id))
		c.request(m)
	}
}

func (c *dhcpCrowd) request(m *crowdMember) {
	c.say(m, dhcpv4.MessageTypeRequest, append(option(50, m.addr), option(54, m.server)...)...)
}

// discover begins anew.
func (c *dhcpCrowd) discover(m *crowdMember) {
	m.xid, m.tries, m.server = m.xid+0x10000, 0, netip.Addr{}
	c.say(m, dhcpv4.MessageTypeDiscover)
}

// reboot asks for the address that the member had (INIT-REBOOT).
func (c *dhcpCrowd) reboot(m *crowdMember) {
	m.xid, m.tries, m.server = m.xid+0x10000, 0, netip.Addr{}
	c.say(m, dhcpv4.MessageTypeRequest, option(50, m.addr)...)
}

// member is the one with a number.
func (c *dhcpCrowd) member(i int) *crowdMember {
	mac := crowdMAC(i)
	m := c.members[mac]
	if m == nil {
		m = &crowdMember{mac: mac, xid: uint32(i&0xffff) + 1}
		c.members[mac] = m
	}
	return m
}

// acquire has the members from first on ask for addresses, some at a time, until all have one or were refused, or the time is over, and tells
// how many have one. A member asks again after a second; with begin it starts otherwise than with a DISCOVER.
func (c *dhcpCrowd) acquire(first, n int, limit time.Duration, begin func(*crowdMember)) (have int) {
	c.lab.t.Helper()
	if begin == nil {
		begin = c.discover
	}
	const window = 100
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	next, waiting := first, map[int]*crowdMember{}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline) && c.lab.t.Context().Err() == nil; <-tick.C {
		c.mu.Lock()
		for i, m := range waiting {
			switch {
			case m.state == dhcpv4.MessageTypeAck:
				delete(waiting, i)
				have++
			case m.state == dhcpv4.MessageTypeNak:
				delete(waiting, i)
			case time.Since(m.sent) > time.Second && m.state == dhcpv4.MessageTypeRequest && m.tries < 4 && m.server.IsValid():
				c.request(m)
			case time.Since(m.sent) > time.Second && m.state == dhcpv4.MessageTypeRequest && m.tries < 4:
				c.reboot(m)
			case time.Since(m.sent) > time.Second:
				c.discover(m)
			}
		}
		for ; len(waiting) < window && next < first+n; next++ {
			m := c.member(next)
			waiting[next] = m
			m.state = 0
			begin(m)
		}
		c.mu.Unlock()
		if len(waiting) == 0 && next == first+n {
			break
		}
	}
	return have
}

// owners are the addresses that were ever given, with the member that each was given to. An address with two is an error.
func (c *dhcpCrowd) owners() (owners map[netip.Addr]packet.MAC, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	owners = map[netip.Addr]packet.MAC{}
	for _, a := range c.acks {
		if other, known := owners[a.addr]; known && other != a.mac {
			return owners, fmt.Errorf("%v was given to %v and to %v", a.addr, other, a.mac)
		}
		owners[a.addr] = a.mac
	}
	return owners, nil
}

// await waits until so many addresses were given.
func (c *dhcpCrowd) await(given int) {
	c.lab.t.Helper()
	eventually(c.lab.t, 30*time.Second, fmt.Sprintf("%d addresses to be given", given), func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.acks) < given {
			return fmt.Errorf("there are %d", len(c.acks))
		}
		return nil
	})
}

// release gives a member's address back, as a host does that has one: from that address, to the server.
func (c *dhcpCrowd) release(m *crowdMember, server netip.Addr, to packet.MAC) {
	message := dhcpOctets(dhcpv4.MessageTypeRelease, m.xid, m.mac, m.addr, option(54, server)...)
	ip := udpPacket(netip.AddrPortFrom(m.addr, 68), netip.AddrPortFrom(server, 67), message)
	frame := append(to[:], m.mac[:]...)
	c.send(append(append(frame, 8, 0), ip...))
}
