package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr of sendmmsg(2) and recvmmsg(2), which golang.org/x/sys lacks.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// messages makes a batch whose members all use buffers of the given size.
func messages(batch, size int) []mmsghdr {
	msgs := make([]mmsghdr, batch)
	iovs := make([]unix.Iovec, batch)
	for i := range msgs {
		buf := make([]byte, size)
		iovs[i].Base = &buf[0]
		iovs[i].SetLen(size)
		msgs[i].hdr.Iov = &iovs[i]
		msgs[i].hdr.SetIovlen(1)
	}
	return msgs
}

// receive counts packets until stop.
func receive(fd, batch int, delivered *atomic.Uint64, stop *atomic.Bool) error {
	runtime.LockOSThread()
	msgs := messages(batch, 2048)
	for !stop.Load() {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])),
			uintptr(len(msgs)), unix.MSG_WAITFORONE, 0, 0)
		switch errno {
		case 0:
			delivered.Add(uint64(n))
		case unix.EAGAIN, unix.EINTR:
		default:
			return fmt.Errorf("receive: %w", errno)
		}
	}
	return nil
}

// send floods, or paces in bursts of at most one batch, until stop.
func send(fd int, c config, sent *atomic.Uint64, stop *atomic.Bool) error {
	runtime.LockOSThread()
	msgs := messages(c.batch, c.payload)
	start := time.Now()
	var total uint64
	for !stop.Load() {
		want := len(msgs)
		if c.rate > 0 {
			due := uint64(time.Since(start).Seconds() * float64(c.rate))
			if due <= total {
				// Sleep for about half a batch; nanosleep(2) leaves the processor to the router.
				gap := unix.NsecToTimespec(int64(c.batch) * int64(time.Second) / int64(2*c.rate))
				unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&gap)), 0, 0)
				continue
			}
			want = int(min(due-total, uint64(len(msgs))))
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])),
			uintptr(want), 0, 0, 0)
		switch errno {
		case 0:
			total += uint64(n)
			sent.Store(total)
		// ENOBUFS is a full queue; ECONNREFUSED is a late ICMP error from before the sink was bound.
		case unix.ENOBUFS, unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH:
		default:
			return fmt.Errorf("send: %w", errno)
		}
	}
	return nil
}
