package dataplane

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// transmit writes the packet, whose link-layer header is in place, to a port, and
// reports whether the port took it.
func (w *worker) transmit(p *work, port *Port, id PortID) bool {
	at := port.Attachment
	if at == nil || port.Down {
		w.drop(p, DropTxPortDown)
		return false
	}
	if !at.vnet && (p.partial() || p.vnet.IsSuper()) {
		w.finishInSoftware(p, port, id)
		return true
	}
	if w.tables.Taps != nil { // who looks sees each packet by itself
		w.depart()
		w.tap(StageTx, p, id, dropNone, port.Ethernet)
	} else if w.board(p, port, id) {
		return true
	}
	if errno := writeFrame(at.fd, w.label(p, port)); errno != 0 {
		w.txFailed(p, at, errno)
		return false
	}
	w.countTx(at, p)
	return true
}

// label puts the offload header before a packet where the device wants one, and returns the frame.
func (w *worker) label(p *work, port *Port) []byte {
	start := headroom
	if port.Ethernet {
		start -= packet.EthernetLen
	}
	if port.Attachment.vnet {
		// Offsets in a virtio-net header count from the start of the frame.
		shift := uint16(headroom - start)
		v := p.vnet
		if v.Flags&packet.VnetNeedsChecksum != 0 {
			v.ChecksumAt += shift
		}
		if v.IsSuper() {
			v.HeaderLen = uint16(p.headersLen()) + shift
		}
		start -= packet.VnetLen
		v.Put(p.buf[start:])
	}
	return p.buf[start:p.end]
}

// writeFrame is one non-blocking write. It does not tell the Go scheduler: a
// hand-over costs more than the call.
func writeFrame(fd int, b []byte) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return errno
}

// readFrame is one non-blocking read.
func readFrame(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

// txFailed names what became of a frame that the device did not take.
func (w *worker) txFailed(p *work, at *Attachment, errno unix.Errno) {
	reason := DropTxError
	switch errno {
	case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
		reason = DropTxQueue
	case unix.EIO, unix.EBADFD, unix.EBADF, unix.ENODEV, unix.EPIPE, unix.ECONNRESET, unix.ENETDOWN:
		reason = DropTxPortDown // the kernel end is down, or going
	case unix.EMSGSIZE:
		reason = DropTxTooLong
	}
	at.counters[w.slot].txDrops.Add(1)
	w.lose(p, reason)
}
