package port

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/songgao/water"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

const clonePath = "/dev/net/tun"

// Features are the offloads that the kernel agreed to. With VnetHdr every frame, in
// either direction, carries a virtio header of packet.VnetLen bytes, little endian.
type Features struct {
	VnetHdr  bool // the header is there
	Checksum bool // frames may arrive with a partial checksum
	TSO4     bool // frames may arrive as trains of TCP segments over IPv4
	TSO6     bool // over IPv6: dropped by an IPv4 router, but USO comes only with it
	ECN      bool // trains may have CWR set on the first segment (GSOECN)
	USO      bool // frames may arrive as trains of UDP datagrams (Linux 6.2 and later)
}

// attachment says how a descriptor is to be tied to a device.
type attachment struct {
	device     string
	tun        bool
	offload    bool
	create     bool // the device must not exist yet
	multiQueue bool // an existing device was made so, and an attachment must match
}

// queue is a descriptor attached to a device.
type queue struct {
	fd       int
	features Features
}

// unattached guards the moments in which this process holds a descriptor of
// /dev/net/tun that belongs to no device. It has to be as wide as the process's
// descriptor table: [reapUnattached] goes through that table.
var unattached sync.Mutex

// attach opens /dev/net/tun and ties it to the device. It must run in the namespace
// of the device: the descriptor belongs to the namespace in which it is opened.
//
// A new device without offload is water's; all else is opened here, because
// water knows no vnet header and would take an existing device's persistence away.
func (a attachment) attach() (queue, error) {
	unattached.Lock()
	defer unattached.Unlock()
	if a.create && !a.offload {
		return a.attachPlain()
	}
	fd, err := unix.Open(clonePath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return queue{}, &os.PathError{Op: "open", Path: clonePath, Err: err}
	}
	q := queue{fd: fd}
	if err := a.tie(&q); err != nil {
		unix.Close(fd)
		return queue{}, err
	}
	return q, nil
}

// attachPlain lets water make the device, and takes the descriptor over.
//
// The descriptor is duplicated and water's own closed again: as an os.File it sits in
// the runtime's poller, which would wake for every burst of frames to find nobody
// waiting, and whose Fd method would make it blocking.
func (a attachment) attachPlain() (queue, error) {
	config := water.Config{DeviceType: water.TAP}
	if a.tun {
		config.DeviceType = water.TUN
	}
	config.Name = a.device
	syscall.ForkLock.RLock() // until it is closed, water's descriptor would survive an exec
	defer syscall.ForkLock.RUnlock()
	iface, err := water.New(config)
	if err != nil {
		reapUnattached()
		if _, bare := err.(syscall.Errno); bare { // so it comes from open alone
			err = &os.PathError{Op: "open", Path: clonePath, Err: err}
		}
		return queue{}, err
	}
	defer iface.Close()
	file, ok := iface.ReadWriteCloser.(syscall.Conn)
	if !ok {
		return queue{}, fmt.Errorf("water opened device %s as %T, which has no descriptor", a.device, iface.ReadWriteCloser)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return queue{}, err
	}
	q := queue{fd: -1}
	var dupErr error
	if err := raw.Control(func(fd uintptr) {
		q.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return queue{}, err
	}
	if dupErr != nil {
		return queue{}, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", dupErr)
	}
	if err := unix.SetNonblock(q.fd, true); err != nil {
		unix.Close(q.fd)
		return queue{}, os.NewSyscallError("fcntl O_NONBLOCK", err)
	}
	return q, nil
}

// tie sets interface, header and offloads of q. No send buffer is set (TUNSETSNDBUF):
// with the default the kernel writes a frame on its short path.
func (a attachment) tie(q *queue) error {
	req, err := unix.NewIfreq(a.device)
	if err != nil {
		return err
	}
	flags := uint16(unix.IFF_NO_PI | unix.IFF_TAP)
	if a.tun {
		flags = unix.IFF_NO_PI | unix.IFF_TUN
	}
	if a.offload {
		flags |= unix.IFF_VNET_HDR
	}
	if a.create {
		flags |= unix.IFF_TUN_EXCL
	}
	if a.multiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(q.fd, unix.TUNSETIFF, req); err != nil {
		return os.NewSyscallError("ioctl TUNSETIFF", err)
	}
	if !a.offload {
		// Whoever held an existing device before may have left offloads on.
		return os.NewSyscallError("ioctl TUNSETOFFLOAD", unix.IoctlSetInt(q.fd, unix.TUNSETOFFLOAD, 0))
	}
	if err := unix.IoctlSetPointerInt(q.fd, unix.TUNSETVNETHDRSZ, packet.VnetLen); err != nil {
		return os.NewSyscallError("ioctl TUNSETVNETHDRSZ", err)
	}
	if err := unix.IoctlSetPointerInt(q.fd, unix.TUNSETVNETLE, 1); err != nil {
		return os.NewSyscallError("ioctl TUNSETVNETLE", err)
	}
	q.features = Features{VnetHdr: true}
	return q.negotiate()
}

// negotiate asks for the most and takes what the kernel has. The kernel grants USO for
// both IP versions or for none.
func (q *queue) negotiate() error {
	const (
		tso = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN
		uso = tso | unix.TUN_F_USO4 | unix.TUN_F_USO6
	)
	var err error
	for _, want := range []int{uso, tso, unix.TUN_F_CSUM, 0} {
		err = unix.IoctlSetInt(q.fd, unix.TUNSETOFFLOAD, want)
		if err == nil {
			q.features.Checksum = want&unix.TUN_F_CSUM != 0
			q.features.TSO4 = want&unix.TUN_F_TSO4 != 0
			q.features.TSO6 = want&unix.TUN_F_TSO6 != 0
			q.features.ECN = want&unix.TUN_F_TSO_ECN != 0
			q.features.USO = want&unix.TUN_F_USO4 != 0
			return nil
		}
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	return os.NewSyscallError("ioctl TUNSETOFFLOAD", err)
}

// device is the present name of the device that the descriptor is tied to; false when
// it never had one or the device was deleted.
func (q *queue) device() (string, bool) {
	req, err := unix.NewIfreq("")
	if err != nil || q.fd < 0 || unix.IoctlIfreq(q.fd, unix.TUNGETIFF, req) != nil {
		return "", false
	}
	return req.Name(), true
}

// reapUnattached closes the descriptor that water leaks when its set-up fails: with
// unattached held, it is the one of /dev/net/tun that has no device and survives an
// exec. Those of this package close on exec, also when their device was deleted.
func reapUnattached() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc there is no namespace to open either
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(10, 200) {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		if _, ok := (&queue{fd: fd}).device(); !ok {
			unix.Close(fd)
		}
	}
}

// dropOffloads leaves a device that stays in the state in which a reader without vnet
// headers can use it: no trains, no partial checksums.
func (q *queue) dropOffloads() error {
	if !q.features.VnetHdr {
		return nil
	}
	return os.NewSyscallError("ioctl TUNSETOFFLOAD", unix.IoctlSetInt(q.fd, unix.TUNSETOFFLOAD, 0))
}
