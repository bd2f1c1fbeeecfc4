package client

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// How long the client waits, and how often it tries.
const (
	firstWait     = 4 * time.Second  // before the first repetition (RFC 2131 section 4.1)
	longestWait   = 64 * time.Second // before later ones
	jitter        = time.Second      // either way
	requestTries  = 4                // of a REQUEST after an offer, then the client begins anew
	rebootTries   = 3                // of a REQUEST after a restart, then it looks for other servers
	renewTries    = 4                // of a renewal by the operator before T1
	declineWait   = 10 * time.Second // before the client begins anew (RFC 2131 section 3.1)
	checkPatience = 15 * time.Second // for the answer to a Check; then the address counts as free
	leastRepeat   = 250 * time.Millisecond
	mostRepeat    = time.Minute // of the least time between renewals (RFC 2131 section 4.4.5)
	defaultLease  = time.Hour   // where the server tells none
)

// Machine is the client of one port. It is not safe for concurrent use.
type Machine struct {
	cfg Config
	rng *rand.Rand
	now time.Time

	state State
	up    bool // the port has a link

	lease *Lease // held: in use, or to be used when there is a link
	used  bool   // the router was told to use it
	offer *Lease // what a server offered, or gave and is being checked
	last  packet.Addr

	at    time.Time     // when the state's time is over; zero: never
	wait  time.Duration // before the client begins anew
	naks  int           // in a row
	shun  packet.Addr   // server that offered and then did not answer
	xid   uint32
	tries int       // messages sent in this transaction
	began time.Time // of the transaction
	sent  time.Time // the last message
	secs  uint16    // of the last DISCOVER
	noted bool      // an ignored answer to the last message was told of
	count Counters

	actions []Action
	buf     []byte // what the Send actions of this Step point into
}

// Counters count since [New]; they never decrease.
type Counters struct {
	Sent, Received [dhcp.Inform + 1]uint64 // by type; what was ignored is not among those received
	Bad            [dhcp.NumBadReasons]uint64
	Reasons        [NumReasons]uint64 // leases that ended and messages that were ignored
	Acquired       uint64             // leases taken into use afresh, or with another address
	Renewed        uint64             // leases that were confirmed or renewed
}

// New makes a client that waits for a link. All its randomness comes from rng. An Initial lease that no server can have given is as none.
func New(c Config, rng *rand.Rand) *Machine {
	m := &Machine{cfg: c, rng: rng}
	if l := c.Initial; l != nil && l.Addr.IsValid() && l.Addr.Addr().Is4() && host(AddrOf(l)) && host(l.Server) {
		m.lease = l.clone()
	}
	m.cfg.Initial = nil
	return m
}

// Step lets everything that is due by now happen, then the event. The actions are to be carried out in order; they are valid until
// the next Step. A now before that of an earlier Step counts as that.
func (m *Machine) Step(now time.Time, ev Event) []Action {
	if now.After(m.now) {
		m.now = now
	}
	clear(m.actions)
	m.actions, m.buf = m.actions[:0], m.buf[:0]
	m.due()
	switch e := ev.(type) {
	case LinkUp:
		m.up = true
		if m.state == Down {
			m.start()
		}
	case LinkDown:
		m.up = false
		m.feed(inDown)
	case Receive:
		m.receive(e)
	case Checked:
		m.checked(e)
	case Conflict:
		if m.lease != nil && m.used && AddrOf(m.lease) == e.Addr {
			m.feed(inLost)
		}
	case Renew:
		if m.state == Released {
			m.start()
		} else {
			m.feed(inRenew)
		}
	case Release:
		m.feed(inRelease)
	case Shutdown:
		if e.Release {
			m.feed(inRelease)
		} else {
			m.feed(inDown)
		}
		m.up = false
	case Configure:
		m.configure(e.Config)
	}
	m.due()
	return m.actions
}

// Next is when Step is to be called again at the latest; zero: nothing is due.
func (m *Machine) Next() time.Time {
	next := m.at
	if m.lease != nil && !m.lease.Expires.IsZero() && (next.IsZero() || m.lease.Expires.Before(next)) {
		next = m.lease.Expires
	}
	return next
}

// due lets happen what is due. The end of the lease comes first, however late the clock is: no message may rest on an address that is gone.
func (m *Machine) due() {
	for {
		switch {
		case m.lease != nil && m.over(m.lease.Expires):
			m.feed(inExpired)
		case m.over(m.at):
			m.at = time.Time{}
			m.feed(m.timeout())
		default:
			return
		}
	}
}

// over reports whether a deadline has come.
func (m *Machine) over(at time.Time) bool { return !at.IsZero() && !at.After(m.now) }

// timeout is what the end of the state's time means.
func (m *Machine) timeout() input {
	switch m.state {
	case Requesting:
		if m.tries >= requestTries {
			return inSpent
		}
	case Rebooting:
		if m.tries >= rebootTries {
			return inSpent
		}
	case Checking:
		if m.over(m.offer.Expires) {
			return inSpent
		}
	case Renewing:
		if m.over(m.lease.T2) {
			return inT2
		}
		if m.early() && m.tries >= renewTries {
			return inSpent
		}
	}
	return inTimeout
}

// early reports a renewal before its time, by the operator.
func (m *Machine) early() bool { return !m.over(m.lease.T1) }

// start begins, as far as there is a link.
func (m *Machine) start() {
	switch {
	case !m.up:
		m.feed(inAwait)
	case m.lease != nil:
		m.feed(inResume)
	default:
		m.feed(inBegin)
	}
}

// checked takes the answer to a Check.
func (m *Machine) checked(e Checked) {
	if m.state != Checking || AddrOf(m.offer) != e.Addr {
		return // the answer comes too late
	}
	if e.Taken {
		m.feed(inTaken)
	} else {
		m.feed(inFree)
	}
}

// configure changes the configuration. What makes the client another to its servers begins anew; what changes their answers is asked for at once; the
// rest counts from the next message on.
func (m *Machine) configure(c Config) {
	c.Initial = nil
	old := m.cfg
	if old.MAC != c.MAC || !bytes.Equal(old.ClientID, c.ClientID) {
		m.feed(inReset) // says farewell under the old name
		m.cfg = c
		return
	}
	m.cfg = c
	if old.Hostname != c.Hostname || old.Vendor != c.Vendor || old.LeaseTime != c.LeaseTime || !slices.Equal(old.Requests, c.Requests) {
		m.feed(inRenew)
	}
}

// State is the client's state.
func (m *Machine) State() State { return m.state }

// Lease is the lease held, in use unless the state is Down before the first link; nil: none. It is the caller's.
func (m *Machine) Lease() *Lease { return m.lease.clone() }

// Counters are the counters.
func (m *Machine) Counters() Counters { return m.count }
