package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/bench/internal/procfs"
)

// spent is processor time since boot, in seconds.
type spent struct{ busy, router float64 }

// processorTime reads the machine's and, unless pid is 0, that process's.
func processorTime(pid int) (spent, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return spent{}, err
	}
	var s spent
	if s.busy, err = procfs.Busy(string(text)); err != nil || pid == 0 {
		return s, err
	}
	text, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return spent{}, err
	}
	s.router, err = procfs.ProcessTime(string(text))
	return s, err
}

// drops counts the packets that a socket's full buffer turned away.
func drops(fd int) (uint32, error) {
	var info [9]uint32 // SK_MEMINFO_VARS of linux/sock_diag.h; the last is SK_MEMINFO_DROPS
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("read the socket's drops: %w", errno)
	}
	return info[8], nil
}
