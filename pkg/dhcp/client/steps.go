package client

import (
	"time"

	"vrouterd/internal/packet"
)

// feed moves the machine along the table.
func (m *Machine) feed(in input) {
	t := transitions[m.state][in]
	if t.do == 0 {
		return
	}
	why, before := inputReasons[in], m.state
	if t.do&stepDecline != 0 {
		m.sendDecline(m.offer)
	}
	if t.do&stepRenounce != 0 {
		m.sendDecline(m.lease)
	}
	if t.do&stepRelease != 0 && m.lease != nil && m.used {
		m.sendRelease()
	}
	if t.do&stepNote != 0 {
		m.note(why)
	}
	if t.do&stepDrop != 0 {
		m.drop(why)
	}
	if t.do&stepHold != 0 {
		m.hold(in)
	}
	if t.do&stepShun != 0 {
		m.shun = m.offer.Server
	}
	if t.do&stepClose != 0 {
		m.offer = nil
	}
	m.state = t.next
	if t.do&stepOpen != 0 {
		m.xid, m.tries, m.began = m.rng.Uint32(), 0, m.now
	}
	if t.do&stepTake != 0 {
		m.take()
	}
	if t.do&stepUse != 0 && !m.used {
		m.used = true
		m.act(Use{Lease: m.lease.clone(), Changed: true})
	}
	if t.do&stepCheck != 0 {
		m.act(Check{Addr: AddrOf(m.offer)})
	}
	if t.do&stepSend != 0 {
		if before != m.state {
			m.tries = 0
		}
		m.send()
	}
	if before != m.state || t.do&stepSend != 0 {
		m.arm()
	}
}

// note tells the operator of what ends an attempt.
func (m *Machine) note(why Reason) {
	n := Note{Reason: why}
	if l := m.concerned(); l != nil {
		n.Server, n.Addr = l.Server, AddrOf(l)
	}
	if why == ReasonTaken || why == ReasonNoAnswer {
		m.count.Reasons[why]++
	}
	m.act(n)
}

// concerned is the lease that the client talks about with a server.
func (m *Machine) concerned() *Lease {
	if m.offer != nil {
		return m.offer
	}
	return m.lease
}

// drop takes the lease away. One that was never used is only forgotten.
func (m *Machine) drop(why Reason) {
	if m.lease == nil {
		return
	}
	m.count.Reasons[why]++
	m.last = 0
	if why == ReasonExpired || why == ReasonReleased {
		m.last = AddrOf(m.lease)
	}
	if m.used {
		m.act(Drop{Lease: m.lease.clone(), Reason: why})
	}
	m.act(Save{})
	m.lease, m.used = nil, false
}

// hold decides how long the client waits before it begins anew. The first refusal costs nothing: a client that was moved gets its new address at once.
func (m *Machine) hold(in input) {
	if in != inNAK {
		m.wait = declineWait + m.within(jitter)
		return
	}
	if m.naks > 0 {
		m.wait = min(time.Second<<min(m.naks-1, 6), longestWait) + m.within(jitter)
	}
	m.naks++
}

// take makes the lease just got the one in use.
func (m *Machine) take() {
	before := m.lease
	m.lease, m.offer = m.offer, nil
	changed := before == nil || !m.used || !before.sameWay(m.lease)
	if before == nil || before.Addr != m.lease.Addr {
		m.count.Acquired++
	} else {
		m.count.Renewed++
	}
	m.used, m.last, m.naks, m.shun = true, 0, 0, 0
	m.act(Use{Lease: m.lease.clone(), Changed: changed})
	m.act(Save{Lease: m.lease.clone()})
}

// arm sets when the time of the state that was entered, or of the message that was sent, is over.
func (m *Machine) arm() {
	m.at = time.Time{}
	switch m.state {
	case Init, InitReboot:
		m.at, m.wait = m.now.Add(m.wait), 0
	case Selecting, Requesting, Rebooting:
		m.at = m.now.Add(m.backoff())
	case Checking:
		m.at = sooner(m.now.Add(checkPatience), m.offer.Expires)
	case Bound:
		m.at = m.lease.T1
	case Renewing:
		if m.early() {
			m.at = sooner(sooner(m.now.Add(m.backoff()), m.lease.T1), m.lease.T2)
		} else {
			m.at = sooner(m.now.Add(m.half(m.lease.T2)), m.lease.T2)
		}
	case Rebinding:
		m.at = m.now.Add(m.half(m.lease.Expires))
	}
}

// backoff is the time before the next repetition: 4, 8, 16, 32, then 64 s, and a second either way (RFC 2131 section 4.1).
func (m *Machine) backoff() time.Duration {
	return min(firstWait<<min(max(m.tries-1, 0), 4), longestWait) - jitter + m.within(2*jitter)
}

// half is the time before renewal is tried again: half of what is left (RFC 2131 section 4.4.5).
func (m *Machine) half(end time.Time) time.Duration {
	least := min(mostRepeat, max(leastRepeat, m.lease.Expires.Sub(m.lease.Acquired)/16))
	return max(end.Sub(m.now)/2, least)
}

// within is a random time below d.
func (m *Machine) within(d time.Duration) time.Duration { return time.Duration(m.rng.Int64N(int64(d))) }

// sooner is the earlier of two deadlines, where zero is never.
func sooner(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

func (m *Machine) act(a Action) { m.actions = append(m.actions, a) }

// AddrOf is the address of a lease; 0 for none.
func AddrOf(l *Lease) packet.Addr {
	if l == nil {
		return 0
	}
	return packet.AddrFrom(l.Addr.Addr())
}
