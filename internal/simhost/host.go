// Package simhost is a host for tests: an IPv4 host in this process at the far end of a
// router's port, whose wire is a file descriptor that carries a frame a message.
//
//	frames -> read -> vnet header, MAC filter -> ARP
//	                                          -> reassembly -> hoststack (TCP, UDP, ICMP, probes)
//	hoststack -> route (on-link, gateway) -> ARP -> write -> frames
//
// The wire is one end of a SOCK_SEQPACKET socket pair; the router holds the other as it would
// hold a TAP device. With VnetHdr each frame has a virtio-net header before it, and the host takes
// super-frames as a kernel's TAP would; what it sends is plain. ARP is done here, so that it is no
// relative of the router's; it is the simplest that works: entries do not age.
package simhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/internal/control/api"
	"vrouterd/internal/hoststack"
	"vrouterd/internal/packet"
	"vrouterd/internal/reassembly"
)

// Options of a host.
type Options struct {
	MAC     packet.MAC
	Address netip.Prefix // the host's own, with the length of its network
	Gateway netip.Addr   // zero: only its network is reachable
	MTU     int          // 0: 1500
	VnetHdr bool         // frames have a virtio-net header before them
	TUN     bool         // packets instead of frames: no Ethernet header, no ARP
	// OnFrame sees every frame that arrives, whoever it is for, without the vnet header; true
	// takes it away from the host. It is called from the reading goroutine, before anything else looks at the frame; the
	// slice is only valid during the call. See also [Host.OnFrame].
	OnFrame func(frame []byte) bool
}

// Stats counts frames and packets.
type Stats struct {
	Received    uint64 // frames
	Sent        uint64
	Taken       uint64 // by the OnFrame hook
	OtherHost   uint64 // for another MAC address
	Malformed   uint64 // too short for their headers, or of an unknown protocol
	SuperFrames uint64 // that stood for several
	Unresolved  uint64 // packets dropped since nobody answered ARP
	NoRoute     uint64 // packets dropped for want of a gateway
	SendDropped uint64 // the wire was full or closed
	ARPRequests uint64 // received
	ARPReplies  uint64 // received
	Unassembled uint64 // fragments lost in reassembly
}

// Host is a host. Its methods may be called from any goroutine.
type Host struct {
	options Options
	file    *os.File
	raw     rawConn
	stack   *hoststack.Stack
	hook    atomic.Pointer[func([]byte) bool]
	stats   struct {
		received, sent, taken, otherHost, malformed, superFrames  atomic.Uint64
		unresolved, noRoute, sendDropped, requests, replies, lost atomic.Uint64
	}
	neighbors neighbors
	fragments *reassembly.Machine // of the reading goroutine
	done      chan struct{}
	closing   sync.Once
}

type rawConn interface {
	Write(f func(fd uintptr) (done bool)) error
}

// New starts a host on a descriptor, which it owns from then on, also on failure.
func New(fd int, o Options) (*Host, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("simhost: descriptor %d: %w", fd, err)
	}
	file := os.NewFile(uintptr(fd), "simhost")
	if o.MTU == 0 {
		o.MTU = 1500
	}
	if !o.Address.IsValid() || !o.Address.Addr().Is4() {
		file.Close()
		return nil, fmt.Errorf("simhost: %v is not an IPv4 address with a prefix length", o.Address)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("simhost: descriptor %d: %w", fd, err)
	}
	h := &Host{options: o, file: file, raw: raw, fragments: reassembly.New(reassembly.Config{}), done: make(chan struct{})}
	h.neighbors.init()
	h.OnFrame(o.OnFrame)
	h.stack, err = hoststack.New(hoststack.Options{MTU: o.MTU, Output: h.route})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("simhost: %w", err)
	}
	h.stack.SetAddresses([]netip.Prefix{o.Address})
	go h.read()
	return h, nil
}

// Pair makes a wire: two connected descriptors that keep the borders of messages.
func Pair() (a, b int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("simhost: socket pair: %w", err)
	}
	return fds[0], fds[1], nil
}

// Close takes the host off its wire and returns when none of its goroutines is left.
func (h *Host) Close() {
	h.closing.Do(func() {
		h.file.Close()
		<-h.done
		h.neighbors.close()
		h.stack.Close()
	})
}

// Address is the host's own.
func (h *Host) Address() netip.Addr { return h.options.Address.Addr() }

// MAC is the host's own.
func (h *Host) MAC() packet.MAC { return h.options.MAC }

// OnFrame replaces the hook of [Options]; nil takes it away.
func (h *Host) OnFrame(f func(frame []byte) bool) {
	if f == nil {
		h.hook.Store(nil)
		return
	}
	h.hook.Store(&f)
}

// Ping sends echo requests; see [hoststack.Stack.Ping].
func (h *Host) Ping(ctx context.Context, r api.PingRequest, reply func(api.PingReply)) error {
	return h.stack.Ping(ctx, r, h.Address(), reply)
}

// PingOnce sends one echo request of size octets of payload and tells its fate.
func (h *Host) PingOnce(ctx context.Context, to netip.Addr, size int, timeout time.Duration) (api.PingReply, error) {
	var out api.PingReply
	err := h.Ping(ctx, api.PingRequest{Address: to.String(), Count: 1, Size: size, Timeout: timeout}, func(p api.PingReply) { out = p })
	return out, err
}

// Traceroute finds the path; see [hoststack.Stack.Traceroute].
func (h *Host) Traceroute(ctx context.Context, r api.TracerouteRequest, hop func(api.TracerouteHop)) error {
	return h.stack.Traceroute(ctx, r, h.Address(), hop)
}

// ListenTCP accepts connections on a port; 0 takes a free one.
func (h *Host) ListenTCP(port uint16) (net.Listener, error) {
	return h.stack.ListenTCP(netip.AddrPortFrom(h.Address(), port))
}

// DialTCP connects to an address.
func (h *Host) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return h.stack.DialTCP(ctx, h.Address(), to)
}

// ListenUDP receives datagrams on a port; 0 takes a free one.
func (h *Host) ListenUDP(port uint16) (net.PacketConn, error) {
	return h.stack.ListenUDP(netip.AddrPortFrom(h.Address(), port))
}

// DialUDP sends to and receives from one address.
func (h *Host) DialUDP(to netip.AddrPort) (net.Conn, error) {
	return h.stack.DialUDP(netip.AddrPortFrom(h.Address(), 0), to)
}

// SendPacket sends an IPv4 packet as it is, through ARP, as if the host had made it.
func (h *Host) SendPacket(ip []byte) { h.route(ip) }

// SendFrame puts a frame on the wire as it is; the vnet header is put before it. It
// waits while the wire is full.
func (h *Host) SendFrame(frame []byte) error {
	return h.SendSuper(packet.Vnet{}, frame)
}

// SendSuper is SendFrame with a vnet header of the caller's choice, which is left away without VnetHdr.
func (h *Host) SendSuper(v packet.Vnet, frame []byte) error {
	if _, err := h.file.Write(h.message(v, frame)); err != nil {
		h.stats.sendDropped.Add(1)
		return fmt.Errorf("simhost: %w", err)
	}
	h.stats.sent.Add(1)
	return nil
}

// offer sends without waiting; a full wire loses the frame.
func (h *Host) offer(frame []byte) {
	m := h.message(packet.Vnet{}, frame)
	var failed error
	err := h.raw.Write(func(fd uintptr) bool {
		_, failed = unix.Write(int(fd), m)
		return true
	})
	if errors.Join(err, failed) != nil {
		h.stats.sendDropped.Add(1)
		return
	}
	h.stats.sent.Add(1)
}

func (h *Host) message(v packet.Vnet, frame []byte) []byte {
	if !h.options.VnetHdr {
		return frame
	}
	m := make([]byte, packet.VnetLen, packet.VnetLen+len(frame))
	v.Put(m)
	return append(m, frame...)
}

// Stats returns the counters.
func (h *Host) Stats() Stats {
	s := &h.stats
	return Stats{
		Received: s.received.Load(), Sent: s.sent.Load(), Taken: s.taken.Load(), OtherHost: s.otherHost.Load(),
		Malformed: s.malformed.Load(), SuperFrames: s.superFrames.Load(), Unresolved: s.unresolved.Load(),
		NoRoute: s.noRoute.Load(), SendDropped: s.sendDropped.Load(), ARPRequests: s.requests.Load(),
		ARPReplies: s.replies.Load(), Unassembled: s.lost.Load(),
	}
}
