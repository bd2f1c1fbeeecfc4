package dataplane

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
	"vrouterd/internal/reassembly"
	"vrouterd/pkg/dataplane/fib"
)

// MaxWorkers bounds the workers, injectors included.
const MaxWorkers = 18

// Config of a dataplane.
type Config struct {
	Workers  int           // goroutines that read ports, 1 to 16
	Clock    func() int64  // nanoseconds, monotonic
	Midnight func() uint32 // milliseconds since midnight UT, for the timestamp option
}

// Dataplane is the packet path of one router. Its methods are called by the control
// goroutine alone, but for Counters of attachments and those that say otherwise.
type Dataplane struct {
	clock    func() int64
	midnight func() uint32
	domain   *rcu.Domain
	fib      *fib.Table
	tables   atomic.Pointer[Tables]

	generation atomic.Uint32 // of all that a session's stored route follows from; never 0

	errorRate atomic.Int64 // ICMP errors a second and worker; 0: no limit

	workers   []*worker // those with a goroutine
	most      int       // how many there may be
	injectors []*worker
	control   *worker

	own      puntQueue    // packets of the router's own
	queues   []*puntQueue // every queue, for NextPunt
	turn     int
	bell     chan struct{}
	failures chan Failure

	retired Counters // of workers that are gone

	pieces pieces // fragments that NAT and firewall want whole; away from what every packet reads
}

// Attachment is a device that a port reads and writes, with what it has counted. A device
// that replaces it is another attachment.
type Attachment struct {
	fd       int
	vnet     bool
	trains   atomic.Bool // takes UDP super-frames
	failed   atomic.Bool
	worker   *worker
	punts    puntQueue
	counters [MaxWorkers]portCounters
}

// Failure tells that a device can no longer be read.
type Failure struct {
	Port       PortID
	Attachment *Attachment
	Err        error
}

// New returns a dataplane without ports.
func New(c Config) (*Dataplane, error) {
	if c.Workers < 1 || c.Workers > MaxWorkers-2 {
		return nil, fmt.Errorf("%d workers: the range is 1 to %d", c.Workers, MaxWorkers-2)
	}
	if c.Clock == nil || c.Midnight == nil {
		return nil, errors.New("the dataplane needs a clock")
	}
	d := &Dataplane{
		clock: c.Clock, midnight: c.Midnight, most: c.Workers,
		domain:   rcu.NewDomain(),
		bell:     make(chan struct{}, 1),
		failures: make(chan Failure, 64),
	}
	d.generation.Store(1)
	d.pieces.machine = reassembly.New(reassembly.Config{MaxBytes: 4 << 20, Timeout: 30 * time.Second})
	d.fib = fib.New(d.domain)
	d.tables.Store(&Tables{Ports: make([]Port, 1), Adjacencies: make([]Adjacency, 1)})
	d.queues = []*puntQueue{&d.own}
	d.control = d.newWorker(0)
	d.injectors = []*worker{d.control}
	return d, nil
}

// SetErrorRate bounds the ICMP errors a second that workers ask for; 0: no limit.
func (d *Dataplane) SetErrorRate(perSecond int) { d.errorRate.Store(int64(perSecond)) }

// Failures delivers devices that can no longer be read.
func (d *Dataplane) Failures() <-chan Failure { return d.failures }

// Domain is where the writers of the dataplane's tables wait for its readers.
func (d *Dataplane) Domain() *rcu.Domain { return d.domain }

// Publish makes a snapshot the one that packets are decided by from now on. Sessions decide anew.
func (d *Dataplane) Publish(t *Tables) {
	d.tables.Store(t)
	d.Changed()
}

// Changed makes every session decide anew where its packets go and whether they may. The control
// plane calls it after each change of the FIB and before it marks the moment ([rcu.Domain.Retire]) from which numbers that
// the FIB has let go of rest: see track.go.
func (d *Dataplane) Changed() {
	if d.generation.Add(1) == 0 {
		d.generation.Add(1) // 0 is what a session has that stored nothing
	}
}

// Tables is the snapshot in force.
func (d *Dataplane) Tables() *Tables { return d.tables.Load() }

// Workers is how many goroutines read ports now.
func (d *Dataplane) Workers() int { return len(d.workers) }

func (d *Dataplane) all() []*worker {
	return append(append([]*worker(nil), d.injectors...), d.workers...)
}

// NewAttachment prepares a device for a port. fd is a non-blocking descriptor that
// delivers and takes one frame a call; with vnet, each frame behind a
// virtio-net header. Put it into the tables, publish them, then Start it.
func (d *Dataplane) NewAttachment(fd int, vnet bool) *Attachment {
	return &Attachment{fd: fd, vnet: vnet}
}

// Start begins to read an attachment that the published tables hold as port id.
func (d *Dataplane) Start(id PortID, at *Attachment) error {
	w, err := d.leastLoaded()
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(id)}
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, at.fd, &event); err != nil {
		return fmt.Errorf("watch the device: %w", err)
	}
	at.worker = w
	w.load++
	d.queues = append(d.queues, &at.punts)
	return nil
}

// Stop ends the reading of an attachment that the published tables no longer
// hold, and returns when no worker can touch its descriptor any more.
func (d *Dataplane) Stop(at *Attachment) {
	if at.worker != nil {
		if !at.failed.Load() {
			unix.EpollCtl(at.worker.epoll, unix.EPOLL_CTL_DEL, at.fd, nil)
		}
		at.worker.load--
		at.worker = nil
	}
	for i, q := range d.queues {
		if q == &at.punts {
			d.queues = append(d.queues[:i:i], d.queues[i+1:]...)
			break
		}
	}
	d.domain.Synchronize()
	// What still waits came from a port that is gone. The errors and notices of the
	// second class are about packets that have been counted already.
	for class := range at.punts.classes {
		for {
			p, ok := at.punts.pop(class)
			if !ok {
				break
			}
			if p.Reason <= PuntResolve || p.Reason == PuntHelper {
				d.CountDrop(DropPortClosed)
			}
		}
	}
}

// leastLoaded is the worker for a new port: a new one as long as there may be more.
func (d *Dataplane) leastLoaded() (*worker, error) {
	var best *worker
	for _, w := range d.workers {
		if best == nil || w.load < best.load {
			best = w
		}
	}
	if best != nil && (best.load == 0 || len(d.workers) == d.most) {
		return best, nil
	}
	w := d.newWorker(2 + len(d.workers))
	if err := w.start(); err != nil {
		return nil, err
	}
	d.workers = append(d.workers, w)
	return w, nil
}

// Close ends all workers. Descriptors stay open: they belong to who opened them.
func (d *Dataplane) Close() {
	for _, w := range d.workers {
		w.halt()
		d.domain.Unregister(w.reader)
		w.counters.addTo(&d.retired)
	}
	d.workers = nil
}

// Injector sends packets that did not come from a port. Each belongs to one goroutine.
type Injector struct{ w *worker }

// Control is the control goroutine's injector.
func (d *Dataplane) Control() Injector { return Injector{d.control} }

// NewInjector makes one more, for the host stack's goroutine.
func (d *Dataplane) NewInjector() (Injector, error) {
	if len(d.injectors) == 2 {
		return Injector{}, errors.New("the dataplane has room for one more injector only")
	}
	w := d.newWorker(1)
	d.injectors = append(d.injectors, w)
	return Injector{w}, nil
}

// Output routes and sends an IP packet of the router's own. It is copied; its
// header must be valid.
func (i Injector) Output(ip []byte) {
	w := i.w
	w.begin()
	defer w.end()
	p := w.load4(ip)
	if packet.IPv4(ip).Validate() != packet.HeaderGood {
		w.drop(p, DropHeaderLength)
		return
	}
	p.own = true
	p.end = headroom + p.ip().TotalLen()
	dst := p.ip().Dst()
	if dst.IsMulticast() || dst == packet.Broadcast {
		w.drop(p, DropMulticast) // needs a port: SendFrame
		return
	}
	w.ip4Forward(p)
}

// Forward lets a punted packet go on at the lookup: one that waited for its
// neighbour, or whose router alert has been looked at.
func (i Injector) Forward(punt *Punt) {
	w := i.w
	w.begin()
	defer w.end()
	p := w.loadPunt(punt)
	if hl := p.ip().HeaderLen(); hl > packet.IPv4MinLen {
		p.opts, _ = parseOptions(p.ip().Header()) // checked when it arrived
	}
	p.repeat = punt.Reason == PuntResolve
	w.ip4Forward(p)
}

// SendFrame writes a finished frame to a port: ARP, and what goes to a link-layer
// address that no route leads to. It reports whether the port took it.
func (i Injector) SendFrame(id PortID, frame []byte) bool {
	w := i.w
	w.begin()
	defer w.end()
	p := &w.pkt
	*p = work{buf: w.buf, end: headroom, own: true}
	if int(id) >= len(w.tables.Ports) {
		w.drop(p, DropTxPortDown)
		return false
	}
	port := &w.tables.Ports[id]
	start := headroom
	if port.Ethernet {
		start -= packet.EthernetLen
	}
	if len(frame) < headroom-start || len(frame) > bufferLen-headroom {
		w.drop(p, DropTxTooLong)
		return false
	}
	p.end = start + copy(p.buf[start:], frame)
	return w.transmit(p, port, id)
}

// load4 puts an IP packet into the worker's buffer.
func (w *worker) load4(ip []byte) *work {
	p := &w.pkt
	*p = work{buf: w.buf}
	p.end = headroom + copy(p.buf[headroom:], ip)
	return p
}

// loadPunt puts a punted packet back as it was.
func (w *worker) loadPunt(punt *Punt) *work {
	p := w.load4(punt.Packet)
	p.in, p.own, p.group, p.vnet, p.helped = punt.Port, punt.Own, punt.Group, punt.Vnet, punt.Helped
	p.alert = true
	if punt.Ethernet {
		copy(p.link(), punt.Link[:])
	}
	return p
}
