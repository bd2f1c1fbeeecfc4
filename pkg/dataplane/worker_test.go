package dataplane

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
)

// newRunningTestbed is a test bed whose ports are read by real workers.
func newRunningTestbed(t *testing.T, workers int, change ...func(*Tables)) *testbed {
	t.Helper()
	b := newTestbed(t, change...)
	b.d.most = workers
	b.d.queues = b.d.queues[:1] // Start adds those of the ports
	t.Cleanup(b.d.Close)
	for id := portA; id < numPorts; id++ {
		if err := b.d.Start(id, b.d.tables.Load().Ports[id].Attachment); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("never came to pass: %s", what)
		}
	}
}

// write sends a frame to a port, waiting for room, until the other end is gone.
func write(fd int, frame []byte) error {
	for {
		_, err := unix.Write(fd, frame)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		runtime.Gosched()
	}
}

// without is a copy of the tables in which a port has no device.
func (b *testbed) without(id PortID) (*Tables, *Attachment) {
	tables := *b.d.tables.Load()
	tables.Ports = append([]Port{}, tables.Ports...)
	at := tables.Ports[id].Attachment
	tables.Ports[id].Attachment = nil
	return &tables, at
}

func TestWorkersCarryPacketsBothWays(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newRunningTestbed(t, 2)
	defer b.d.Close()
	if n := b.d.Workers(); n != 2 {
		t.Errorf("%d workers", n)
	}
	there := frameFor(portA, ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 1, 2, numbered(100))))
	back := frameFor(portB, ipPacket(hostB, hostA, packet.ProtoUDP, udp(hostB, hostA, 2, 1, numbered(100))))
	for range 300 {
		if err := write(b.host[portA], there); err != nil {
			t.Fatal(err)
		}
		if err := write(b.host[portB], back); err != nil {
			t.Fatal(err)
		}
		for _, id := range []PortID{portA, portB} {
			eventually(t, "a packet crosses", func() bool {
				s, ok := b.take(id)
				return ok && s.ip.Validate() == packet.HeaderGood && s.ip.TTL() == 63
			})
		}
	}
	eventually(t, "all are counted", func() bool {
		return b.d.tables.Load().Ports[portB].Attachment.Counters().TxPackets == 300
	})
	b.d.Close()
	b.d.Close() // once more does no harm
	c := b.d.Counters()
	if c.Batches == 0 || c.Wakeups == 0 {
		t.Errorf("the counters of the workers went with them: %+v", c)
	}
}

func TestPortIsRemovedUnderTraffic(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newRunningTestbed(t, 2)
	defer b.d.Close()
	var stop atomic.Bool
	var sentTo [numPorts]atomic.Int64
	done := make(chan struct{}, 3)
	for _, id := range []PortID{portA, portT} {
		frame := frameFor(id, ipPacket(hostA, hostB, packet.ProtoUDP, udp(hostA, hostB, 1, 2, numbered(60))))
		go func() {
			defer func() { done <- struct{}{} }()
			for !stop.Load() {
				if _, err := unix.Write(b.host[id], frame); err == nil {
					sentTo[id].Add(1)
				} else {
					runtime.Gosched()
				}
			}
		}()
	}
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 2000)
		for !stop.Load() {
			if _, err := unix.Read(b.host[portB], buf); err != nil {
				runtime.Gosched()
			}
		}
	}()
	eventually(t, "traffic flows", func() bool { return sentTo[portA].Load() > 500 && sentTo[portT].Load() > 500 })

	// The port that is written to goes, then one that is read.
	for _, id := range []PortID{portB, portA} {
		tables, at := b.without(id)
		b.d.Publish(tables)
		b.d.Stop(at)
		before := at.Counters()
		mark := sentTo[portT].Load()
		eventually(t, "the other port's traffic goes on", func() bool { return sentTo[portT].Load() > mark+500 })
		if after := at.Counters(); after != before {
			t.Errorf("port %d was touched after Stop: %+v, then %+v", id, before, after)
		}
	}
	stop.Store(true)
	for range cap(done) {
		<-done
	}
	b.d.Close()
}

func TestDeviceThatFailsIsReported(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newRunningTestbed(t, 1)
	defer b.d.Close()
	at := b.d.tables.Load().Ports[portA].Attachment
	unix.Shutdown(b.host[portA], unix.SHUT_RDWR) // the far end is gone: end of file
	select {
	case f := <-b.d.Failures():
		if f.Port != portA || f.Attachment != at {
			t.Errorf("failure %+v", f)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	// The others are served, and the port can be stopped.
	if err := write(b.host[portT], frameFor(portT, ipPacket(hostA, hostB, packet.ProtoUDP, nil))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another port's packet crosses", func() bool { _, ok := b.take(portB); return ok })
	tables, at := b.without(portA)
	b.d.Publish(tables)
	b.d.Stop(at)
	select {
	case f := <-b.d.Failures():
		t.Errorf("told twice: %+v", f)
	default:
	}
	b.d.Close()
}

func TestBusyPortDoesNotStarveAnother(t *testing.T) {
	b := newRunningTestbed(t, 1)
	defer b.d.Close()
	var stop atomic.Bool
	done := make(chan struct{})
	flood := frameFor(portA, ipPacket(hostA, addr("192.0.2.1"), packet.ProtoUDP, numbered(60))) // to the blackhole
	go func() {
		defer close(done)
		for !stop.Load() {
			unix.Write(b.host[portA], flood)
		}
	}()
	busy := b.d.tables.Load().Ports[portA].Attachment
	eventually(t, "the flood is on", func() bool { return busy.Counters().RxPackets > 1000 })
	for range 50 {
		if err := write(b.host[portT], frameFor(portT, ipPacket(addr("10.3.0.2"), hostB, packet.ProtoUDP, nil))); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the quiet port's packet crosses", func() bool { _, ok := b.take(portB); return ok })
	}
	stop.Store(true)
	<-done
}

func TestPortsAreSpreadOverTheWorkers(t *testing.T) {
	b := newRunningTestbed(t, 3)
	defer b.d.Close()
	load := map[int]int{}
	for _, w := range b.d.workers {
		load[w.load]++
	}
	if b.d.Workers() != 3 || load[2] != 1 || load[1] != 2 {
		t.Errorf("four ports on three workers: %v", load)
	}
	tables, at := b.without(portA)
	b.d.Publish(tables)
	b.d.Stop(at)
	b.d.Stop(at) // already stopped: nothing happens
	sum := 0
	for _, w := range b.d.workers {
		sum += w.load
	}
	if sum != 3 || len(b.d.queues) != 4 {
		t.Errorf("load %d, %d queues after one port went", sum, len(b.d.queues))
	}
}

func TestConfigurationOfADataplaneIsChecked(t *testing.T) {
	clock, midnight := func() int64 { return 0 }, func() uint32 { return 0 }
	for _, c := range []Config{{}, {Workers: 17, Clock: clock, Midnight: midnight}, {Workers: 1}, {Workers: 1, Clock: clock}} {
		if d, err := New(c); err == nil || d != nil {
			t.Errorf("%+v was taken", c)
		}
	}
	d, err := New(Config{Workers: 1, Clock: clock, Midnight: midnight})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NewInjector(); err != nil {
		t.Error(err)
	}
	if _, err := d.NewInjector(); err == nil {
		t.Error("a third injector was made")
	}
	if err := d.Start(1, d.NewAttachment(-1, false)); err == nil {
		t.Error("a descriptor that is none was taken")
	}
	d.Close()
}

// TestChangesUnderTrafficSendEveryPacketTheOldWayOrTheNew moves a route between two
// neighbours, renumbers the adjacencies and publishes tables while packets flow. A packet may
// meet the old state or the new, but not a mixture: one that left by a port bears the
// link-layer address of that port's neighbour.
func TestChangesUnderTrafficSendEveryPacketTheOldWayOrTheNew(t *testing.T) {
	b := newRunningTestbed(t, 2)
	defer b.d.Close()
	dst := addr("7.7.7.7")
	const packets = 4000
	frame := frameFor(portA, ipPacket(hostA, dst, packet.ProtoUDP, numbered(60)))
	done := make(chan error, 1)
	var inFlight atomic.Int64

	r := rand.New(rand.NewPCG(5, 5))
	seen := make([]bool, packets)
	count := map[PortID]int{}
	current := 0
	change := func() {
		tables := *b.d.tables.Load()
		tables.Adjacencies = append([]Adjacency{}, tables.Adjacencies...)
		// A number never seen before, or one that has rested: each means one thing.
		way := []string{"10.2.0.2", "10.4.0.2"}[r.IntN(2)]
		id := portB
		if way == "10.4.0.2" {
			id = portPlain
		}
		n := len(tables.Adjacencies)
		if n > 60 {
			for n = current; n == current; { // any but the one that the FIB names
				n = adjMulti + 1 + r.IntN(len(tables.Adjacencies)-adjMulti-1)
			}
			tables.Adjacencies[n] = rewriteTo(id, way)
		} else {
			tables.Adjacencies = append(tables.Adjacencies, rewriteTo(id, way))
		}
		b.d.Publish(&tables)
		if err := b.d.fib.Insert(dst, 32, fibValue(uint32(n))); err != nil {
			t.Error(err)
		}
		b.d.domain.Synchronize() // from now on the number before may mean something else
		current = n
	}
	change()
	go func() {
		for i := range packets {
			for inFlight.Load() > 50 { // so that no socket overflows
				runtime.Gosched()
			}
			inFlight.Add(1)
			f := append([]byte{}, frame...)
			binary.BigEndian.PutUint32(f[len(f)-4:], uint32(i))
			if err := write(b.host[portA], f); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	total := 0
	eventually(t, "all packets have come out", func() bool {
		if r.IntN(3) == 0 {
			change()
		}
		for _, id := range []PortID{portB, portPlain} {
			for {
				s, ok := b.take(id)
				if !ok {
					break
				}
				if s.eth.Dst() != hostMAC[id] || s.eth.Src() != routerMAC[id] || s.ip.Validate() != packet.HeaderGood || s.ip.TTL() != 63 {
					t.Fatalf("by port %d left % x", id, []byte(s.eth))
				}
				n := binary.BigEndian.Uint32(s.ip[len(s.ip)-4:])
				if seen[n] {
					t.Fatalf("packet %d left twice", n)
				}
				seen[n] = true
				count[id]++
				total++
				inFlight.Add(-1)
			}
		}
		return total == packets
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := b.drops(); len(d) != 0 {
		t.Errorf("drops: %v", d)
	}
	if count[portB] == 0 || count[portPlain] == 0 {
		t.Errorf("ways taken: %v", count)
	}
}
