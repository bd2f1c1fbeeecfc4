package router

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/simhost"
)

// A home: two networks within, one host outside, which knows no way to the networks within. What
// reaches it untranslated is never answered.

const homePorts = `name: r1
ports:
  lan: {address: 192.168.1.1/24}
  srv: {address: 192.168.5.1/24}
  wan: {address: 203.0.113.1/24}
icmp: {rate: 0, per_destination: 0}
`

const home = homePorts + "nat: [{out: wan, type: masquerade, name: internet}]\n"

// homeHosts are plugged into it.
func homeHosts() *wires {
	w := newWires()
	w.hosts["lan"] = host(1, "192.168.1.2/24", "192.168.1.1")
	w.hosts["srv"] = host(5, "192.168.5.5/24", "192.168.5.1")
	w.hosts["wan"] = host(9, "203.0.113.9/24", "")
	return w
}

// runHome runs a router with sessions. When the test has ended, its sessions are flushed, and nothing may be left of them.
func runHome(t *testing.T, text string) *lab {
	t.Helper()
	return runStateful(t, homeHosts(), text)
}

func runStateful(t *testing.T, w *wires, text string) *lab {
	t.Helper()
	l := newLab(t, w, Options{})
	stop := l.stop
	l.stop = func() { l.leavesNothing(); stop() }
	t.Cleanup(l.leavesNothing)
	l.begin(text)
	return l
}

// leavesNothing flushes the sessions: mappings, blocks, counts of hosts and rules all go with them. Sessions
// that hosts make meanwhile are flushed in turn.
func (l *lab) leavesNothing() {
	l.t.Helper()
	if l.do(func() {}) != nil {
		return // stopped already
	}
	s := l.stateful
	for e := range s.mappings.Counts().Explicit + 1 { // those go by themselves, or by command
		_ = e
		l.do(func() {
			page, _ := s.mappings.Page(l.sessionTick(), 0, 1000, nil)
			for i := range page {
				s.mappings.DeleteAt(l.sessionTick(), page[i].Protocol, page[i].Outside, page[i].OutsidePort)
			}
		})
	}
	eventually(l.t, "nothing is left of the sessions", func() bool {
		if _, err := l.FlushSessions(tester, api.NATFlush{}); err != nil {
			return true
		}
		n, m := s.sessions.Counts(), s.mappings.Counts()
		return s.sessions.Len() == 0 && n.HalfOpen == 0 && n.Translated == 0 && m.Mappings == 0 && m.Blocks == 0 && len(n.ByProtocol) == 0
	})
}

// serveTCP answers on a port with what it gets, until the test ends. It tells whom it talks to.
func serveTCP(t *testing.T, h *simhost.Host, port uint16) (from <-chan netip.AddrPort) {
	t.Helper()
	listener, err := h.ListenTCP(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	peers := make(chan netip.AddrPort, 64)
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			peers <- netip.MustParseAddrPort(c.RemoteAddr().String())
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return peers
}

// dialTCP opens a connection, which is closed with the test.
func dialTCP(t *testing.T, h *simhost.Host, to string) net.Conn {
	t.Helper()
	ctx, cancel := contextFor(t, 10*time.Second)
	defer cancel()
	c, err := h.DialTCP(ctx, netip.MustParseAddrPort(to))
	if err != nil {
		t.Fatalf("%v to %s: %v", h.Address(), to, err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// echoes sends data and expects it back.
func echoes(t *testing.T, c net.Conn, data []byte) {
	t.Helper()
	if err := swap(c, data); err != nil {
		t.Fatal(err)
	}
}

// udp is a packet with data, checksum and all.
func udp(src, dst string, data []byte) []byte {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	ip := packet.IPv4(make([]byte, 28+len(data)))
	header(ip, from.Addr(), to.Addr(), packet.ProtoUDP)
	u := packet.UDP(ip[20:])
	u.SetSrcPort(from.Port())
	u.SetDstPort(to.Port())
	u.SetLength(len(u))
	copy(u[8:], data)
	u.SetChecksum(^packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(ip.Src(), ip.Dst(), packet.ProtoUDP, len(u)))))
	return ip
}

// tcp is a segment without data.
func tcp(src, dst string, flags uint8) []byte {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	ip := packet.IPv4(make([]byte, 40))
	header(ip, from.Addr(), to.Addr(), packet.ProtoTCP)
	s := ip[20:]
	binary.BigEndian.PutUint16(s, from.Port())
	binary.BigEndian.PutUint16(s[2:], to.Port())
	binary.BigEndian.PutUint32(s[4:], 1000)
	s[12], s[13] = 5<<4, flags
	binary.BigEndian.PutUint16(s[14:], 65535)
	binary.BigEndian.PutUint16(s[16:], ^packet.Fold(packet.Sum(s, packet.PseudoHeaderSum(ip.Src(), ip.Dst(), packet.ProtoTCP, len(s)))))
	return ip
}

func header(ip packet.IPv4, src, dst netip.Addr, protocol uint8) {
	ip[0] = 0x45
	ip.SetTotalLen(len(ip))
	ip.SetTTL(64)
	ip.SetProtocol(protocol)
	ip.SetSrc(packet.AddrFrom(src))
	ip.SetDst(packet.AddrFrom(dst))
	ip.UpdateHeaderChecksum()
}

// taken are the IPv4 packets that a host gets and does not see itself.
func taken(h *simhost.Host, want func(ip packet.IPv4) bool) <-chan packet.IPv4 {
	got := make(chan packet.IPv4, 1<<14)
	h.OnFrame(func(f []byte) bool {
		if packet.Ethernet(f).Type() != packet.EtherTypeIPv4 {
			return false
		}
		ip := packet.IPv4(f[packet.EthernetLen:])
		if len(ip) < packet.IPv4MinLen || !want(ip) {
			return false
		}
		select {
		case got <- append(packet.IPv4{}, ip[:ip.TotalLen()]...):
		default:
		}
		return true
	})
	return got
}

func ofProtocol(n uint8) func(packet.IPv4) bool {
	return func(ip packet.IPv4) bool { return ip.Protocol() == n }
}

// next is the next packet, which has to come.
func next(t *testing.T, what string, got <-chan packet.IPv4) packet.IPv4 {
	t.Helper()
	select {
	case ip := <-got:
		return ip
	case <-time.After(10 * time.Second):
		t.Fatalf("no packet: %s", what)
		return nil
	}
}

// flowOf is a packet in words.
func flowOf(ip packet.IPv4) string { return describePacket(ip) }

// sessionsOf are all sessions.
func (l *lab) sessionsOf() []api.Session {
	l.t.Helper()
	page, err := l.Sessions(api.SessionQuery{Limit: 10000})
	if err != nil {
		l.t.Fatal(err)
	}
	return page.Sessions
}

// eventOf is the newest event of a kind.
func (l *lab) eventOf(kind string) (api.Event, bool) {
	ctx, cancel := contextFor(l.t, time.Second)
	defer cancel()
	past, _ := l.Events(ctx)
	for _, e := range slices.Backward(past) {
		if e.Kind == kind {
			return e, true
		}
	}
	return api.Event{}, false
}

func (l *lab) happens(kind string) (e api.Event) {
	l.t.Helper()
	eventually(l.t, "event "+kind, func() (ok bool) { e, ok = l.eventOf(kind); return ok })
	return e
}

// hostSessions is how many sessions count for an inside address.
func (l *lab) hostSessions(a string) int {
	return l.stateful.sessions.HostSessions(packet.AddrFrom(netip.MustParseAddr(a)))
}
