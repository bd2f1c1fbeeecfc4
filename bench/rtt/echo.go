package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/netnsock"
)

// replyTimeout is how long one reply may take before the request counts as lost.
const replyTimeout = 200 * time.Millisecond

// echo is one ICMP conversation: a raw socket and the identifier that is ours.
type echo struct {
	fd  int
	to  unix.RawSockaddrInet4
	id  uint16
	seq uint16
	out [64]byte
	in  [256]byte
}

func measure(netns string, dst netip.Addr, warmup, length, gap time.Duration) (result, error) {
	// The loop sits in raw system calls on its own thread; neither the
	// scheduler nor the collector shall add to what it measures.
	runtime.LockOSThread()
	debug.SetGCPercent(-1)

	fd, err := netnsock.Open(netns, unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, func(fd int) error {
		tv := unix.NsecToTimeval(int64(replyTimeout))
		return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	})
	if err != nil {
		return result{}, err
	}
	defer unix.Close(fd)
	e := &echo{fd: fd, id: uint16(os.Getpid())}
	e.to.Family = unix.AF_INET
	e.to.Addr = dst.As4()

	var samples []time.Duration
	lost := 0
	start := time.Now()
	for {
		now := time.Since(start)
		if now > warmup+length {
			break
		}
		took, err := e.once()
		switch {
		case errors.Is(err, unix.EAGAIN):
			lost++
		case err != nil:
			return result{}, err
		case now > warmup:
			samples = append(samples, took)
		}
		if gap > 0 {
			ts := unix.NsecToTimespec(int64(gap))
			unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		}
	}
	if len(samples) == 0 {
		return result{}, fmt.Errorf("no reply from %s within %v each to %d requests", dst, replyTimeout, lost)
	}
	return summarise(samples, lost), nil
}

// once sends a request and waits for its own reply, passing over everything
// else that a raw socket hears.
func (e *echo) once() (time.Duration, error) {
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
	for time.Since(start) < replyTimeout {
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
func (e *echo) mine(p []byte) bool {
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

// summarise orders the samples and reads the quantiles off: the smallest
// sample that at least that share of all samples does not exceed.
func summarise(samples []time.Duration, lost int) result {
	slices.Sort(samples)
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	at := func(q float64) float64 {
		i := int(q*float64(len(samples))+0.999999) - 1
		return us(samples[min(max(i, 0), len(samples)-1)])
	}
	return result{
		Samples: len(samples), Lost: lost,
		Min: us(samples[0]), Median: at(0.5), P90: at(0.9), P99: at(0.99), Max: us(samples[len(samples)-1]),
	}
}
