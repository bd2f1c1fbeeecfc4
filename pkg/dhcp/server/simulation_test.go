package server

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// The simulation is a town of clients that share too few addresses, a network that loses, doubles, delays and reorders what it carries by up to slowest, a disk that is
// slow and refuses now and then, and a server that dies at any moment. What had not got to the disk by then is lost but for a beginning of it. The next
// server knows what the disk holds. Never may two clients use one address.
//
// The clients follow RFC 2131 section 4.4: a lease counts from the moment at which its first REQUEST was sent, a client that has released or declined waits
// until nothing of that can be on its way, and one that was told no, or does not hear, begins anew.

const slowest = 2 * time.Second

type town struct {
	seed  uint64
	hasty bool // messages leave without waiting for the disk: what must not be
	rng   *rand.Rand
	now   time.Time
	begun time.Time

	cfg     Config
	m       *Machine // nil: the server is down
	durable map[packet.Addr]Lease
	pending []record // what the server has said, in order, since the last write
	mail    []letter
	people  []*resident
	log     []string
	failure string

	acks, crashes, refusals int
}

// record is a Store, or a Send that waits for those before it.
type record struct {
	lease Lease
	send  *Send
}

// letter arrives at a time: at the server, or at a client.
type letter struct {
	at      time.Time
	order   uint64
	payload []byte
	dst     packet.Addr
	src     packet.Addr
	up      bool
	probe   packet.Addr // an answer to a Probe
}

// resident is a client.
type resident struct {
	mac     packet.MAC
	phase   string // off, selecting, requesting, rebooting, bound, renewing
	wake    time.Time
	xid     uint32
	sentAt  time.Time // of the first REQUEST with this xid
	tries   int
	offered packet.Addr
	server  packet.Addr
	addr    packet.Addr // in use, until expires; or remembered
	uses    bool
	expires time.Time
	t1      time.Time
}

func (w *town) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("seed %d, at +%v: %s", w.seed, w.now.Sub(w.begun), fmt.Sprintf(format, args...))
	}
}

func (w *town) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("+%v ", w.now.Sub(w.begun))+fmt.Sprintf(format, args...))
	if len(w.log) > 1000 {
		w.log = slices.Delete(w.log, 0, 500)
	}
}

func (w *town) chance(percent int) bool { return w.rng.IntN(100) < percent }

// post hands a letter to the network.
func (w *town) post(l letter) {
	for {
		if !w.chance(15) {
			l.at, l.order = w.now.Add(time.Duration(w.rng.Int64N(int64(slowest)))), w.rng.Uint64()
			if w.chance(70) {
				l.at = w.now.Add(time.Duration(w.rng.Int64N(int64(20 * time.Millisecond))))
			}
			w.mail = append(w.mail, l)
		}
		if !w.chance(15) {
			return
		}
	}
}

// step gives the server an event, and takes what it does down for the disk.
func (w *town) step(ev Event) {
	if w.m == nil {
		return
	}
	for _, a := range w.m.Step(w.now, ev) {
		switch a := a.(type) {
		case Store:
			w.note("server: %s", line(a))
			w.pending = append(w.pending, record{lease: a.Lease})
		case Send:
			w.note("server: %s", line(a))
			a.Payload = slices.Clone(a.Payload)
			if w.hasty {
				w.post(letter{payload: a.Payload, dst: a.Dst})
				continue
			}
			w.pending = append(w.pending, record{send: &a})
		case Probe:
			w.mail = append(w.mail, letter{at: w.now.Add(time.Second), probe: a.Addr, up: true})
		}
	}
	if err := audit(w.m, true); err != nil {
		w.fail("%v", err)
	}
}

// write makes a beginning of what is pending durable; then the messages in it leave.
func (w *town) write(n int, leave bool) {
	for _, r := range w.pending[:n] {
		if r.send == nil {
			w.durable[r.lease.Addr] = r.lease
		} else if leave {
			w.post(letter{payload: r.send.Payload, dst: r.send.Dst})
		}
	}
	w.pending = slices.Delete(w.pending, 0, n)
}

// refuse is a write that fails: what it held is lost, and the server is told.
func (w *town) refuse() {
	var failed []packet.Addr
	for _, r := range w.pending {
		if r.send == nil {
			failed = append(failed, r.lease.Addr)
		}
	}
	w.pending = w.pending[:0]
	if len(failed) > 0 {
		w.refusals++
		w.note("disk: refuses %d leases", len(failed))
		w.step(StoreFailed{failed})
	}
}

func (w *town) crash() {
	if w.m == nil {
		return
	}
	w.crashes++
	n := w.rng.IntN(len(w.pending) + 1)
	w.note("server: crash, %d of %d records get to the disk", n, len(w.pending))
	w.write(n, w.chance(50))
	w.pending, w.m = nil, nil
}

func (w *town) boot() {
	c := w.cfg
	for _, a := range slices.Sorted(maps.Keys(w.durable)) {
		c.Initial = append(c.Initial, w.durable[a])
	}
	w.m = New(c, w.rng)
	w.note("server: starts with %d leases", len(c.Initial))
	w.step(Tick{})
}

// says posts a message of a client.
func (w *town) says(r *resident, t dhcp.Type, ciaddr, wants, server packet.Addr) {
	m := host{mac: r.mac}.message(t)
	m.XID, m.CIAddr = r.xid, ciaddr
	if wants != 0 {
		m.Options.SetAddr(dhcp.OptionRequestedAddress, wants)
	}
	l := letter{up: true, dst: broadcast, src: ciaddr}
	if server != 0 {
		m.Options.SetAddr(dhcp.OptionServerID, server)
	}
	if r.phase == "renewing" && w.now.Before(r.expires.Add(-5*time.Second)) || t == dhcp.Release {
		l.dst = addr("10.0.0.1")
	}
	l.payload = m.Append(nil)
	w.note("%v: %v ciaddr %v wants %v server %v", r.mac, t, ciaddr, wants, server)
	w.post(l)
}

// turn is when a client wakes.
func (w *town) turn(r *resident) {
	if r.uses && !w.now.Before(r.expires) {
		w.note("%v: %v ran out", r.mac, r.addr)
		r.uses, r.phase = false, "off"
	}
	if r.uses && w.chance(10) {
		switch w.rng.IntN(3) {
		case 0:
			w.says(r, dhcp.Release, r.addr, 0, r.server)
			r.uses, r.phase, r.wake = false, "off", w.now.Add(slowest+time.Duration(w.rng.IntN(20))*time.Second)
			return
		case 1:
			r.uses, r.phase, r.wake = false, "off", w.now.Add(time.Duration(w.rng.IntN(60))*time.Second) // the plug was pulled
			return
		case 2:
			r.xid++
			w.says(r, dhcp.Decline, 0, r.addr, r.server)
			r.uses, r.phase, r.addr, r.wake = false, "off", 0, w.now.Add(10*time.Second) // RFC 2131 section 3.1
			return
		}
	}
	again := w.now.Add(time.Duration(1000+w.rng.IntN(4000)) * time.Millisecond)
	switch r.phase {
	case "off":
		r.xid, r.tries, r.sentAt = w.rng.Uint32(), 0, w.now
		if r.phase = "selecting"; r.addr != 0 && w.chance(50) {
			r.phase = "rebooting"
		}
		r.wake = w.now
	case "selecting":
		wants := packet.Addr(0)
		if w.chance(30) {
			wants = addr("10.0.0.100") + packet.Addr(w.rng.IntN(10))
		}
		w.says(r, dhcp.Discover, 0, wants, 0)
		r.wake = again
	case "requesting", "rebooting":
		if r.tries++; r.tries > 4 {
			r.phase, r.wake, r.addr = "off", w.now, 0
			return
		}
		if r.phase == "requesting" {
			w.says(r, dhcp.Request, 0, r.offered, r.server)
		} else {
			w.says(r, dhcp.Request, 0, r.addr, 0)
		}
		r.wake = again
	case "bound":
		r.phase, r.xid, r.sentAt, r.wake = "renewing", w.rng.Uint32(), w.now, w.now
		if w.now.Before(r.t1) {
			r.phase, r.wake = "bound", r.t1
		}
	case "renewing":
		w.says(r, dhcp.Request, r.addr, 0, 0)
		r.wake = again
		if r.expires.Before(again) {
			r.wake = r.expires
		}
	}
}

// hears is a message from the server.
func (w *town) hears(m *dhcp.Message) {
	for _, r := range w.people {
		if m.MAC() != r.mac || m.XID != r.xid {
			continue
		}
		switch {
		case m.Type() == dhcp.Offer && r.phase == "selecting":
			r.phase, r.offered, r.server, r.tries, r.sentAt, r.wake = "requesting", m.YIAddr, m.Addr(dhcp.OptionServerID), 0, w.now, w.now
		case m.Type() == dhcp.NAK && (r.phase == "requesting" || r.phase == "rebooting" || r.phase == "renewing"):
			w.note("%v: is told no", r.mac)
			r.phase, r.uses, r.addr, r.wake = "off", false, 0, w.now
		case m.Type() == dhcp.ACK && (r.phase == "requesting" || r.phase == "rebooting" || r.phase == "renewing"):
			length, _ := m.Uint32(dhcp.OptionLeaseTime)
			r.phase, r.uses, r.addr = "bound", true, m.YIAddr
			r.expires = r.sentAt.Add(time.Duration(length) * time.Second)
			r.t1 = r.sentAt.Add(time.Duration(length) * time.Second / 2)
			r.wake = r.t1
			w.acks++
			w.note("%v: has %v until +%v", r.mac, r.addr, r.expires.Sub(w.begun))
			for _, other := range w.people {
				if other != r && other.uses && other.addr == r.addr && other.expires.After(w.now) && r.expires.After(w.now) {
					w.fail("%v and %v both use %v", r.mac, other.mac, r.addr)
				}
			}
		}
	}
}

// deliver brings the letters that are due.
func (w *town) deliver() {
	slices.SortFunc(w.mail, func(a, b letter) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order)) })
	for len(w.mail) > 0 && !w.mail[0].at.After(w.now) {
		l := w.mail[0]
		w.mail = slices.Delete(w.mail, 0, 1)
		switch {
		case l.probe != 0:
			taken := slices.ContainsFunc(w.people, func(r *resident) bool { return r.uses && r.addr == l.probe && r.expires.After(w.now) })
			w.step(Probed{Addr: l.probe, Taken: taken})
		case l.up:
			w.step(Receive{Port: lan, Link: packet.MAC(l.payload[28:34]), Src: l.src, Dst: l.dst, Payload: l.payload})
		default:
			m, why := dhcp.Decode(l.payload)
			if why != dhcp.Good {
				w.fail("the server sent what is no message: %v", why)
			}
			w.hears(m)
		}
	}
}

// change gives the server another configuration.
func (w *town) change() {
	s := home()
	s.Lease, s.Probe, s.RapidCommit = time.Duration(20+w.rng.IntN(40))*time.Second, w.seed%4 == 0, false
	s.Ranges = []Range{span1("10.0.0.100", "10.0.0.105")}
	if w.chance(50) {
		s.Ranges = []Range{span1("10.0.0.100", "10.0.0.102"), span1("10.0.0.104", "10.0.0.107")}
	}
	for i := range w.rng.IntN(3) {
		s.Reservations = append(s.Reservations, Reservation{MAC: w.people[w.rng.IntN(4)*3+i].mac, Addr: addr("10.0.0.101") + packet.Addr(i*2)})
	}
	w.cfg = Config{Subnets: []Subnet{s}, DeclineHold: 15 * time.Second, MaxLeases: 12}
	w.note("server: reservations %v", s.Reservations)
	w.step(Configure{w.cfg})
}

// simulate lets a town live for a time.
func simulate(seed uint64, life time.Duration, hasty bool) *town {
	w := &town{seed: seed, hasty: hasty, rng: rand.New(rand.NewPCG(seed, 7)), now: start, begun: start, durable: map[packet.Addr]Lease{}}
	for i := range 14 {
		w.people = append(w.people, &resident{mac: numbered(i + 1).mac, phase: "off", wake: start.Add(time.Duration(w.rng.IntN(5000)) * time.Millisecond)})
	}
	w.change()
	w.boot()
	for end := start.Add(life); w.failure == "" && w.now.Before(end); w.now = w.now.Add(time.Duration(1+w.rng.IntN(80)) * time.Millisecond) {
		if w.m != nil {
			if next := w.m.Next(); !next.IsZero() && !next.After(w.now) {
				w.step(Tick{})
			}
		}
		w.deliver()
		for _, r := range w.people {
			for n := 0; !r.wake.After(w.now) && n < 5; n++ {
				w.turn(r)
			}
		}
		switch n := w.rng.IntN(1000); {
		case n < 400:
			w.write(w.rng.IntN(len(w.pending)+1), true)
		case n < 402:
			w.refuse()
		case n < 404:
			w.crash()
		case n < 405:
			w.change()
		case n < 430 && w.m == nil:
			w.boot()
		}
	}
	return w
}

func TestNeverTwoClientsWithOneAddressUnderRandomRestarts(t *testing.T) {
	acks, crashes, refusals := 0, 0, 0
	for seed := range uint64(24) {
		w := simulate(seed, 10*time.Minute, false)
		if w.failure != "" {
			t.Fatalf("%s\n%s", w.failure, strings.Join(w.log[max(0, len(w.log)-60):], "\n"))
		}
		acks, crashes, refusals = acks+w.acks, crashes+w.crashes, refusals+w.refusals
	}
	t.Logf("seeds 0 to 23: %d acknowledgements, %d crashes, %d failed writes", acks, crashes, refusals)
	if acks < 1000 || crashes < 100 || refusals < 20 {
		t.Errorf("%d acknowledgements, %d crashes, %d failed writes: too few to say anything", acks, crashes, refusals)
	}
}

func TestTheSimulationFindsAServerThatDoesNotWaitForTheDisk(t *testing.T) {
	for seed := range uint64(200) {
		if w := simulate(seed, 10*time.Minute, true); w.failure != "" {
			t.Log(w.failure)
			return
		}
	}
	t.Error("acknowledgements leave before their leases are on disk, and the simulation does not see it")
}

func TestASimulationIsRepeatable(t *testing.T) {
	a, b := simulate(99, time.Minute, false), simulate(99, time.Minute, false)
	if !slices.Equal(a.log, b.log) {
		t.Error("the same seed lives another life: a failure could not be repeated")
	}
}
