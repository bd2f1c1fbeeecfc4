package arp

import (
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// key names a neighbour.
type key struct {
	port PortID
	addr packet.Addr
}

// neighbor is one entry of the cache.
type neighbor struct {
	key
	state     State
	mac       packet.MAC // zero while unknown
	bound     bool       // the dataplane has the adjacency
	queued    bool       // a request of it waits for its turn
	tries     int        // sent in this state
	created   time.Time
	confirmed time.Time // zero: never
	updated   time.Time // when mac was last vouched for
	asked     time.Time // when this state's first request left
	timer     order.Deadline[expirer]

	waiting      []Waiting
	waitingBytes int

	older, newer *neighbor // in the list of its state
}

// feed applies one input. mac is what the station was heard with, where the input has one.
func (m *Machine) feed(n *neighbor, in input, mac packet.MAC) {
	t := transitions[n.state][in]
	if t.do == 0 {
		return
	}
	old, oldMAC := n.state, n.mac
	if t.do&stepBind != 0 {
		n.updated = m.now
		if n.mac != mac {
			n.mac, n.bound = mac, false
		}
		m.bind(n)
	}
	if t.do&stepRebind != 0 {
		n.bound = false
		m.bind(n)
	}
	if t.do&stepUnbind != 0 {
		m.unbind(n)
		n.mac = packet.MAC{}
	}
	if t.do&stepConfirm != 0 {
		n.confirmed = m.now
	}
	if t.do&stepEnter != 0 {
		m.enter(n, t.next)
	}
	if old != t.next || oldMAC != n.mac && !oldMAC.IsZero() {
		m.do(Changed{n.port, n.addr, old, t.next, oldMAC, n.mac})
		if old.Usable() && t.next.Usable() && oldMAC != n.mac {
			m.count.Moves++
		}
	}
	released := t.do&stepRelease != 0 && len(n.waiting) > 0
	if t.do&stepAbandon != 0 {
		m.count.Failures++
		m.abandon(n, DropFailed)
	} else if t.next == StateFailed {
		m.count.Failures++
	}
	if t.do&stepWatch != 0 && n.bound {
		m.do(Watch{n.port, n.addr})
	}
	if released && n.bound {
		m.release(n)
	}
	if t.do&stepAsk != 0 {
		m.ask(n)
	}
	if t.do&stepProbe != 0 {
		m.probe(n)
	}
	if t.do&stepForget != 0 {
		m.remove(n)
		return
	}
	if !old.Usable() && t.next.Usable() {
		m.trim(n)
	}
	if released && n.state == StateStale {
		m.feed(n, inUsed, n.mac) // what has just been released is use
	}
}

// bind tells the dataplane of the adjacency unless it has it, or the port is down.
func (m *Machine) bind(n *neighbor) {
	if !n.bound && m.ports[n.port] != nil {
		n.bound = true
		m.do(Bind{n.port, n.addr, n.mac})
	}
}

func (m *Machine) unbind(n *neighbor) {
	if n.bound {
		n.bound = false
		m.do(Unbind{n.port, n.addr})
	}
}

// enter puts n into a state afresh and arms the state's timer. The states that ask
// arm it themselves when the request leaves.
func (m *Machine) enter(n *neighbor, s State) {
	m.lists[n.state].remove(n)
	n.state, n.tries, n.queued = s, 0, false
	m.lists[s].append(n)
	var d time.Duration
	switch s {
	case StateReachable:
		d = m.cfg.Reachable/2 + time.Duration(m.rng.Int64N(int64(m.cfg.Reachable)+1))
	case StateStale:
		d = m.cfg.StaleHold
	case StateDelay:
		d = m.cfg.Delay
	case StateFailed:
		d = m.cfg.FailedHold
	default:
		m.deadlines.Clear(&n.timer)
		return
	}
	m.deadlines.Set(&n.timer, m.now.Add(d))
}

// expire is called when the time of n's state is over, or a queued request has its turn.
func (n *neighbor) expire(m *Machine) {
	switch {
	case n.queued && n.state == StateIncomplete:
		m.ask(n)
	case n.queued && n.state == StateProbe:
		m.probe(n)
	case n.state == StateIncomplete && n.tries < m.cfg.BroadcastTries,
		n.state == StateProbe && n.tries < m.cfg.UnicastProbes:
		m.feed(n, inTimeout, n.mac)
	default:
		m.feed(n, inSpent, n.mac)
	}
}

// ask broadcasts a request for n, now or when its turn comes.
func (m *Machine) ask(n *neighbor) {
	if !n.queued {
		turn := m.pace.reserve(m.now)
		if hold := m.pace.earliest(n.key, m.now); hold.After(turn) {
			turn = hold
		}
		if turn.After(m.now) {
			n.queued = true
			m.deadlines.Set(&n.timer, turn)
			return
		}
	}
	m.request(n, packet.BroadcastMAC)
}

// probe asks n by unicast (RFC 1122 section 2.3.2.1), now or as soon as it may be asked again.
func (m *Machine) probe(n *neighbor) {
	if hold := m.pace.earliest(n.key, m.now); hold.After(m.now) {
		n.queued = true
		m.deadlines.Set(&n.timer, hold)
		return
	}
	m.request(n, n.mac)
}

// request sends one request and arms the timer for the next. Where the port has just lost its
// last address nothing can be sent, and the try counts as unanswered.
func (m *Machine) request(n *neighbor, dst packet.MAC) {
	n.queued = false
	n.tries++
	if n.tries == 1 {
		n.asked = m.now
	}
	m.deadlines.Set(&n.timer, m.now.Add(m.cfg.Retransmit))
	p := m.ports[n.port]
	source := p.source(n.addr)
	if source == 0 {
		return
	}
	m.pace.record(n.key, m.now)
	if dst == packet.BroadcastMAC {
		m.count.RequestsSent++
	} else {
		m.count.ProbesSent++
	}
	m.send(p, dst, Message{Op: OpRequest, SenderMAC: p.mac, SenderAddr: source, TargetAddr: n.addr})
}

// enqueue lets w wait for n; the oldest of n's packets make room.
func (m *Machine) enqueue(n *neighbor, w Waiting) {
	if w == nil {
		return
	}
	size := max(w.Size(), 0)
	if size > m.cfg.MaxWaitingBytes {
		m.drop(n.key, w, DropWaitingBytes)
		return
	}
	for len(n.waiting) >= m.cfg.MaxWaitingPackets {
		m.pushOut(n, DropWaitingPacket)
	}
	for m.waitingBytes+size > m.cfg.MaxWaitingBytes && len(n.waiting) > 0 {
		m.pushOut(n, DropWaitingBytes)
	}
	if m.waitingBytes+size > m.cfg.MaxWaitingBytes {
		m.drop(n.key, w, DropWaitingBytes)
		return
	}
	m.hold(n, w, size)
}

func (m *Machine) hold(n *neighbor, w Waiting, size int) {
	n.waiting = append(n.waiting, w)
	n.waitingBytes += size
	m.waitingBytes += size
}

// pushOut drops n's oldest waiting packet.
func (m *Machine) pushOut(n *neighbor, why DropReason) {
	w := n.waiting[0]
	n.waiting[0] = nil
	n.waiting = n.waiting[1:]
	size := max(w.Size(), 0)
	n.waitingBytes -= size
	m.waitingBytes -= size
	m.drop(n.key, w, why)
}

// takeWaiting empties n's queue.
func (m *Machine) takeWaiting(n *neighbor) []Waiting {
	packets := n.waiting
	m.waitingBytes -= n.waitingBytes
	n.waiting, n.waitingBytes = nil, 0
	return packets
}

func (m *Machine) release(n *neighbor) {
	m.do(Release{n.port, n.addr, m.takeWaiting(n)})
}

func (m *Machine) abandon(n *neighbor, why DropReason) {
	if len(n.waiting) == 0 {
		return
	}
	m.count.Dropped[why] += uint64(len(n.waiting))
	m.do(Abandon{n.port, n.addr, m.takeWaiting(n), why})
}
