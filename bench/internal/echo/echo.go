// Package echo sends ICMP echo requests from inside a network namespace, one at
// a time, and tells how long the reply took. It works with raw system calls on
// the calling thread, so that Go's scheduler adds nothing to what is measured.
package echo

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/netnsock"
)

// Conversation is a raw socket and the identifier that is ours. It is for one
// goroutine.
type Conversation struct {
	fd      int
	timeout time.Duration
	to      unix.RawSockaddrInet4
	id      uint16
	seq     uint16
	out     [64]byte
	in      [256]byte
}

// conversations keeps two of one process from hearing each other's replies.
var conversations atomic.Uint32

// Open makes a conversation from the namespace (see netnsock.Open) with an IPv4
// address. A reply that takes longer than timeout counts as lost.
func Open(netns string, dst netip.Addr, timeout time.Duration) (*Conversation, error) {
	fd, err := netnsock.Open(netns, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, func(fd int) error {
		tv := unix.NsecToTimeval(int64(timeout))
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	})
	if err != nil {
		return nil, err
	}
	e := &Conversation{fd: fd, timeout: timeout, id: uint16(os.Getpid()) + uint16(conversations.Add(1))<<12}
	e.to.Family = unix.AF_INET
	e.to.Addr = dst.As4()
	return e, nil
}

// Close ends the conversation.
func (e *Conversation) Close() { unix.Close(e.fd) }

// Once sends a request and waits for its own reply, passing over everything
// else that a raw socket hears. The error is unix.EAGAIN when no reply came in
// time, and wraps the system's when the request could not leave.
func (e *Conversation) Once() (time.Duration, error) {
	e.seq++
	b := e.out[:]
	clear(b[:8])
	b[0] = 8 // echo request
	binary.BigEndian.PutUint16(b[4:], e.id)
	binary.BigEndian.PutUint16(b[6:], e.seq)
	binary.BigEndian.PutUint16(b[2:], checksum(b))

	start := time.Now()
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(e.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0,
		uintptr(unsafe.Pointer(&e.to)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return 0, fmt.Errorf("send: %w", errno)
	}
	for time.Since(start) < e.timeout {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(e.fd), uintptr(unsafe.Pointer(&e.in[0])), uintptr(len(e.in)), 0, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		took := time.Since(start)
		if e.mine(e.in[:n]) {
			return took, nil
		}
	}
	return 0, unix.EAGAIN
}

// mine tells whether an IPv4 packet from the raw socket is the awaited reply.
func (e *Conversation) mine(p []byte) bool {
	if len(p) < 20 {
		return false
	}
	ihl := int(p[0]&0xf) * 4
	if ihl < 20 || len(p) < ihl+8 {
		return false
	}
	m := p[ihl:]
	return m[0] == 0 && binary.BigEndian.Uint16(m[4:]) == e.id && binary.BigEndian.Uint16(m[6:]) == e.seq
}

// checksum of RFC 1071 over an even number of octets.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
