package dataplane

import (
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
	"vrouterd/pkg/conntrack"
)

const (
	// batch is how many packets a worker takes from one port before it looks at
	// the next: enough to spread the cost of a round, few enough to be fair.
	batch = 64
	// spins is how often an idle worker reads its ports again before it sleeps: about
	// five microseconds. More would take the processor from those who have work.
	spins = 12
	// lookAround is after how many rounds over its busy ports a worker asks
	// whether others have become ready.
	lookAround = 8
	// nap is how long, in milliseconds, a worker first sleeps without telling the Go
	// scheduler, from which it wakes in a third of the time. The scheduler's own
	// preemption signal ends such a sleep, so that a collection need not wait for it.
	nap = 2
)

// worker handles packets. Most own a goroutine and some ports; the control plane and the
// host stack have one each without, to send by (see [Injector]).
type worker struct {
	d        *Dataplane
	slot     int // index of its counters in every attachment
	reader   *rcu.Reader
	counters workerCounters

	tables   *Tables        // the snapshot that the packet in hand is decided by
	now      conntrack.Tick // of this batch; 0: nobody has asked yet
	flow     flow           // what the stateful stages know of the packet in hand
	tokens   float64        // ICMP errors that may be asked for
	tokensAt int64
	used     usedNotice
	tx       txBatch
	train    train

	pkt     work   // the packet in hand
	buf     []byte // where it is read to
	piece   work   // the segment in hand
	scratch []byte // where segments and fragments are built
	extra   []byte // where fragments of segments are built; made on first use
	options [packet.IPv4MaxLen]byte

	epoll, wake int // descriptors; -1 for an injector
	events      [64]unix.EpollEvent
	stop        atomic.Bool
	done        chan struct{}
	load        int // ports that it reads; kept by the control goroutine
}

func (d *Dataplane) newWorker(slot int) *worker {
	w := &worker{d: d, slot: slot, reader: d.domain.Register(), epoll: -1, wake: -1}
	w.tables = d.tables.Load()
	w.buf = make([]byte, bufferLen)
	w.scratch = make([]byte, bufferLen)
	return w
}

// third is a buffer that is rarely needed.
func (w *worker) third() []byte {
	if w.extra == nil {
		w.extra = make([]byte, bufferLen)
	}
	return w.extra
}

// start gives the worker its descriptors and its goroutine.
func (w *worker) start() error {
	var err error
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if w.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		unix.Close(w.epoll)
		return err
	}
	if err = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, w.wake, &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		unix.Close(w.epoll)
		unix.Close(w.wake)
		return err
	}
	w.done = make(chan struct{})
	go w.run()
	return nil
}

// halt ends the goroutine and waits for it.
func (w *worker) halt() {
	w.stop.Store(true)
	var one = [8]byte{1}
	unix.Write(w.wake, one[:])
	<-w.done
	unix.Close(w.epoll)
	unix.Close(w.wake)
}

// run is the worker's life: wait, and drain what is ready. The wait costs a
// system call, so ports that were busy are read again a few times before it.
func (w *worker) run() {
	defer close(w.done)
	// A thread of its own: system calls that the scheduler is not told of must
	// not hold up other goroutines that happen to share the thread's processor.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var busy []PortID // ports that had packets at the last look
	idle := 0         // rounds without a packet
	for round := 0; !w.stop.Load(); round++ {
		if idle > spins || len(busy) == 0 {
			busy = w.sleep(busy[:0])
			idle = 0
		} else if round%lookAround == 0 {
			busy = w.ready(0, busy[:0])
		}
		got := 0
		w.begin()
		for _, id := range busy {
			got += w.drain(id)
		}
		w.end()
		if got > 0 {
			idle = 0
		} else {
			idle++
		}
	}
}

// sleep waits until some ports are ready, and appends them: a nap first, then, on a
// quiet network, a sleep that the scheduler knows of.
func (w *worker) sleep(ports []PortID) []PortID {
	w.counters.wakeups.Add(1)
	if ports = w.ready(nap, ports); len(ports) > 0 {
		return ports
	}
	n, err := unix.EpollWait(w.epoll, w.events[:], -1)
	if err != nil {
		return ports // EINTR
	}
	return appendReady(ports, w.events[:n])
}

// ready appends the ports that are ready within so many milliseconds.
func (w *worker) ready(milliseconds int, ports []PortID) []PortID {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll),
		uintptr(unsafe.Pointer(&w.events)), uintptr(len(w.events)), uintptr(milliseconds), 0, 0)
	if errno != 0 {
		return ports // EINTR
	}
	return appendReady(ports, w.events[:n])
}

func appendReady(ports []PortID, events []unix.EpollEvent) []PortID {
	for _, e := range events {
		if e.Fd != 0 { // 0: the descriptor that ends the worker
			ports = append(ports, PortID(e.Fd))
		}
	}
	return ports
}

// begin and end bracket a batch: between them the worker may hold on to what it saw.
func (w *worker) begin() {
	w.d.domain.Enter(w.reader)
	w.tables = w.d.tables.Load()
	w.now = 0
}

func (w *worker) end() {
	w.depart()
	w.flushTx()
	w.counters.batches.Add(1)
	w.d.domain.Exit(w.reader)
}

// drain reads a port until it is empty or has had its turn, and returns how many
// frames there were.
func (w *worker) drain(id PortID) int {
	w.tables = w.d.tables.Load()
	if int(id) >= len(w.tables.Ports) {
		return 0
	}
	port := &w.tables.Ports[id]
	at := port.Attachment
	if at == nil || at.failed.Load() {
		return 0
	}
	start := headroom
	if port.Ethernet {
		start -= packet.EthernetLen
	}
	if at.vnet {
		start -= packet.VnetLen
	}
	var packets, octets uint64
	n := 0
	for ; n < batch; n++ {
		got, errno := readFrame(at.fd, w.buf[start:])
		if errno != 0 || got <= 0 {
			if errno != unix.EAGAIN && errno != unix.EINTR {
				w.portFailed(at, id, errno)
			}
			break
		}
		p := &w.pkt
		*p = work{buf: w.buf, end: start + got, in: id}
		if at.vnet && !w.readVnet(p, start) {
			continue
		}
		if w.tables.Taps != nil {
			w.tap(StageRx, p, id, dropNone, port.Ethernet)
		}
		octets += uint64(max(0, p.len()))
		packets += uint64(p.arrived())
		w.etherInput(p, port)
	}
	w.depart()
	if packets > 0 {
		c := &at.counters[w.slot]
		c.rxPackets.Add(packets)
		c.rxBytes.Add(octets)
	}
	return n
}

// readVnet takes the offload header off, and turns its offsets so that they
// count from the IP header.
func (w *worker) readVnet(p *work, start int) bool {
	if p.end < start+packet.VnetLen {
		p.end = headroom
		w.drop(p, DropFrameShort)
		return false
	}
	// A frame without offload has an all-zero header: one comparison.
	v := packet.ParseVnet(p.buf[start:])
	v.Flags &= packet.VnetNeedsChecksum
	if v.Flags != 0 || v.GSOType != packet.GSONone {
		shift := uint16(headroom - start - packet.VnetLen)
		if v.Flags != 0 {
			if v.ChecksumAt < shift {
				w.drop(p, DropVnetHeader)
				return false
			}
			v.ChecksumAt -= shift
		} else {
			v.ChecksumAt, v.ChecksumOff = 0, 0
		}
		v.HeaderLen -= min(shift, v.HeaderLen)
		p.vnet = v
	}
	return true
}

// portFailed stops reading a device that is gone, and tells the control plane.
func (w *worker) portFailed(at *Attachment, id PortID, errno unix.Errno) {
	if at.failed.Swap(true) {
		return
	}
	unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, at.fd, nil)
	select {
	case w.d.failures <- Failure{Port: id, Attachment: at, Err: errno}:
	default: // the control plane learns of it from the watcher as well
	}
}
