package dataplane

import "sync/atomic"

// workerCounters belong to one worker, which alone adds to them; anyone may read.
type workerCounters struct {
	_          [64]byte // away from other workers' cache lines
	drops      [NumDropReasons]atomic.Uint64
	punts      [NumPuntReasons]atomic.Uint64
	suppressed atomic.Uint64 // ICMP errors not even asked for
	logsLost   atomic.Uint64 // log lines for which there was no room
	fragments  atomic.Uint64 // fragments made
	trains     atomic.Uint64 // trains of datagrams made
	aboard     atomic.Uint64 // datagrams that left in them
	wakeups    atomic.Uint64 // times that the worker slept and was woken
	batches    atomic.Uint64
	_          [64]byte
}

// portCounters are one worker's share of a port's counters.
type portCounters struct {
	rxPackets, rxBytes, rxDrops atomic.Uint64
	txPackets, txBytes, txDrops atomic.Uint64
	_                           [16]byte
}

// PortCounters of an attachment. A super-frame counts as the packets that it stands for.
type PortCounters struct {
	RxPackets, RxBytes, RxDrops uint64
	TxPackets, TxBytes, TxDrops uint64
}

// Counters of the whole dataplane.
type Counters struct {
	Drops          [NumDropReasons]uint64
	Punts          [NumPuntReasons]uint64
	Suppressed     uint64 // ICMP errors held back before the control plane, by the rate limit
	LogsLost       uint64 // packets that a rule wanted logged, and the queue had no room for
	FragmentsMade  uint64
	TrainsMade     uint64 // super-frames made of datagrams that came one by one
	Aboard         uint64 // datagrams that left in them
	Wakeups        uint64 // times that a worker slept and was woken
	Batches        uint64
	PuntsWaiting   int
	PuntsWaitedMax int    // the deepest that a class of a queue has been
	TapsLost       uint64 // by the captures under way
}

// Counters adds up what all workers have counted. The control goroutine calls it.
func (d *Dataplane) Counters() Counters {
	c := d.retired
	for _, w := range d.all() {
		w.counters.addTo(&c)
	}
	for _, q := range d.queues {
		now, most := q.depth()
		c.PuntsWaiting += now
		c.PuntsWaitedMax = max(c.PuntsWaitedMax, most)
	}
	if taps := d.tables.Load().Taps; taps != nil {
		for _, t := range taps.List {
			c.TapsLost += t.Lost()
		}
	}
	return c
}

func (w *workerCounters) addTo(c *Counters) {
	for i := range w.drops {
		c.Drops[i] += w.drops[i].Load()
	}
	for i := range w.punts {
		c.Punts[i] += w.punts[i].Load()
	}
	c.Suppressed += w.suppressed.Load()
	c.LogsLost += w.logsLost.Load()
	c.FragmentsMade += w.fragments.Load()
	c.TrainsMade += w.trains.Load()
	c.Aboard += w.aboard.Load()
	c.Wakeups += w.wakeups.Load()
	c.Batches += w.batches.Load()
}

// Counters of this attachment, added up over the workers.
func (a *Attachment) Counters() PortCounters {
	var c PortCounters
	for i := range a.counters {
		s := &a.counters[i]
		c.RxPackets += s.rxPackets.Load()
		c.RxBytes += s.rxBytes.Load()
		c.RxDrops += s.rxDrops.Load()
		c.TxPackets += s.txPackets.Load()
		c.TxBytes += s.txBytes.Load()
		c.TxDrops += s.txDrops.Load()
	}
	return c
}

// CountDrop lets the control plane count a packet that ended there, such as one
// whose neighbour never answered.
func (d *Dataplane) CountDrop(r DropReason) { d.control.counters.drops[r].Add(1) }

// lose ends a packet's way, at no port's expense.
func (w *worker) lose(p *work, reason DropReason) {
	w.counters.drops[reason].Add(1)
	if w.tables.Taps != nil {
		w.tap(StageDrop, p, p.in, reason, w.isEthernet(p.in))
	}
}

// drop ends a packet's way, and counts it at the port that it came in by.
func (w *worker) drop(p *work, reason DropReason) {
	w.lose(p, reason)
	if in := int(p.in); in != 0 && in < len(w.tables.Ports) {
		if at := w.tables.Ports[in].Attachment; at != nil {
			at.counters[w.slot].rxDrops.Add(1)
		}
	}
}

func (w *worker) isEthernet(id PortID) bool {
	return id != 0 && int(id) < len(w.tables.Ports) && w.tables.Ports[id].Ethernet
}

// countTx counts what left: packets as on the wire, octets of IP.
func (w *worker) countTx(at *Attachment, p *work) {
	w.countTrain(at, uint64(p.segments()), uint64(p.len()))
}

// countTrain counts packets that left in one write.
func (w *worker) countTrain(at *Attachment, packets, octets uint64) {
	if w.tx.at != at {
		w.flushTx()
		w.tx.at = at
	}
	w.tx.packets += packets
	w.tx.bytes += octets
}

// flushTx writes the batch's transmit counts where readers see them.
func (w *worker) flushTx() {
	if w.tx.at == nil {
		return
	}
	c := &w.tx.at.counters[w.slot]
	c.txPackets.Add(w.tx.packets)
	c.txBytes.Add(w.tx.bytes)
	w.tx = txBatch{}
}

// txBatch gathers the transmit counts of consecutive packets to one port.
type txBatch struct {
	at             *Attachment
	packets, bytes uint64
}
