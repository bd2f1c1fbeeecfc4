package server

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// audit fails unless the machine's books agree with each other. changed: the configuration was.
func audit(m *Machine, changed bool) error {
	counts := map[*subnet][NumStates]int{}
	offers, spent, probing, waiting := 0, 0, 0, 0
	for a, b := range m.bindings {
		if a != b.lease.Addr || b.state != b.current() {
			return fmt.Errorf("the binding of %v says %v, counted as %v but is %v", a, b.lease.Addr, b.state, b.current())
		}
		c := counts[b.subnet]
		c[b.state]++
		counts[b.subnet] = c
		switch b.current() {
		case Free:
			return fmt.Errorf("%v is free and not forgotten", a)
		case Offered:
			offers++
			if b.offer.probing {
				probing++
			}
			if m.offers[client{b.subnet, b.offer.key}] != b {
				return fmt.Errorf("the offer of %v is not found by its client", a)
			}
			if b.lease.State == Bound {
				return fmt.Errorf("%v is bound and offered", a)
			}
		case Bound:
			// A new reservation may make one client of two that each have a lease.
			if b.subnet != nil && m.clients[client{b.subnet, b.key}] != b && !changed {
				return fmt.Errorf("the lease of %v is not found by its client", a)
			}
		case Released, Expired:
			spent++
			if b.lease.Hostname != "" {
				return fmt.Errorf("%v has ended and has a name", a)
			}
		}
		if b.current() == Offered || b.current() == Declined || b.current() == Bound && !b.lease.Expires.IsZero() {
			if !b.due.IsSet() || !b.due.At().After(m.now) {
				return fmt.Errorf("%v, %v, has no deadline to come", a, b.current())
			}
			waiting++
		}
		if b.span != nil && b.span.pages[(a-b.span.First)/pageSize].words[(a-b.span.First)%pageSize/64]>>((a-b.span.First)%64)&1 == 0 {
			return fmt.Errorf("%v is known and not taken", a)
		}
		if b.lease.Hostname != "" && m.names[b.lease.Hostname] != b {
			return fmt.Errorf("the name %s of %v is not its own", b.lease.Hostname, a)
		}
	}
	for _, s := range m.subnets {
		for state := Offered; state < NumStates; state++ {
			if s.count[state] != counts[s][state] {
				return fmt.Errorf("%s counts %d %v, there are %d", s.Name, s.count[state], state, counts[s][state])
			}
		}
		for _, sp := range s.spans {
			taken := uint64(0)
			for a := uint64(sp.First); a <= uint64(sp.Last); a++ {
				if m.bindings[packet.Addr(a)] != nil || s.fixed(packet.Addr(a)) {
					taken++
				}
			}
			if taken != sp.taken {
				return fmt.Errorf("%s: %d addresses are marked taken, %d are", s.Name, sp.taken, taken)
			}
		}
	}
	if len(m.offers) != offers || m.offered.Len() != offers || m.spent.Len() != spent || m.probing != probing || m.deadlines.Len() != waiting {
		return fmt.Errorf("%d offers by client, %d in the list, %d in all; %d ended of %d; %d probes of %d; %d deadlines of %d",
			len(m.offers), m.offered.Len(), offers, m.spent.Len(), spent, m.probing, probing, m.deadlines.Len(), waiting)
	}
	for c, b := range m.clients {
		if b.key != c.key || m.bindings[b.lease.Addr] != b {
			return fmt.Errorf("client %x has %v, which is of %x", c.key, b.lease.Addr, b.key)
		}
	}
	for n, b := range m.names {
		if b.lease.Hostname != n || m.bindings[b.lease.Addr] != b {
			return fmt.Errorf("%s is the name of %v, which is called %q", n, b.lease.Addr, b.lease.Hostname)
		}
	}
	if len(m.bindings) > m.cfg.MaxLeases || offers > m.cfg.MaxLeases/4+1 || probing > maxProbes || len(m.decliners.by) > maxDecliners {
		return fmt.Errorf("%d leases, %d offers, %d probes, %d decliners: past the bounds", len(m.bindings), offers, probing, len(m.decliners.by))
	}
	in, out := uint64(0), m.count.Accepted
	for _, n := range m.count.Received {
		in += n
	}
	for _, n := range m.count.Sent {
		out += n
	}
	for _, n := range m.count.Refused {
		out += n
	}
	if in != out+uint64(probing) {
		return fmt.Errorf("%d messages were received; %d sent, refused or accepted and %d wait for probes", in, out, probing)
	}
	naks := uint64(0)
	for _, n := range m.count.NAKs {
		naks += n
	}
	if naks != m.count.Sent[dhcp.NAK] {
		return fmt.Errorf("%d NAKs by reason, %d sent", naks, m.count.Sent[dhcp.NAK])
	}
	return nil
}

// witness checks what a Step did against what its reader must be able to trust.
type witness struct{ stored map[packet.Addr]Lease }

func (w *witness) check(m *Machine, actions []Action) error {
	for _, a := range actions {
		switch a := a.(type) {
		case Store:
			if was := w.stored[a.Lease.Addr]; a.Lease.State == Bound && was.State == Bound && unexpired(was, m.now) && !sameClient(m, was, a.Lease) {
				return fmt.Errorf("%v went from %x to %x before its lease ran out", a.Lease.Addr, was.CHAddr, a.Lease.CHAddr)
			}
			w.stored[a.Lease.Addr] = a.Lease
		case Send:
			msg, why := dhcp.Decode(a.Payload)
			if why != dhcp.Good {
				return fmt.Errorf("sent what is no message: %v", why)
			}
			if msg.Type() != dhcp.ACK || msg.YIAddr == 0 {
				continue
			}
			st := w.stored[msg.YIAddr]
			if st.State != Bound || string(st.CHAddr) != string(msg.CHAddr[:msg.HLen]) {
				return fmt.Errorf("acknowledged %v to %x, which is on disk %v, of %x", msg.YIAddr, msg.CHAddr[:msg.HLen], st.State, st.CHAddr)
			}
			if n, _ := msg.Uint32(dhcp.OptionLeaseTime); !st.Expires.IsZero() && (n == 0xffffffff || m.now.Add(time.Duration(n)*time.Second).After(st.Expires)) {
				return fmt.Errorf("acknowledged %v for %d s, on disk it ends at %v", msg.YIAddr, n, st.Expires)
			}
		}
	}
	for a, l := range w.stored {
		if has, _ := m.Lookup(a); l.State == Bound && unexpired(l, m.now) && (has.State != Bound || !sameClient(m, has, l)) {
			return fmt.Errorf("%v is %x's on disk and %v, of %x, in memory", a, l.CHAddr, has.State, has.CHAddr)
		}
	}
	return nil
}

func unexpired(l Lease, now time.Time) bool { return l.Expires.IsZero() || l.Expires.After(now) }

func sameClient(m *Machine, a, b Lease) bool {
	s := m.home(a.Addr, a.Subnet)
	return s.key(a.HType, a.CHAddr, a.ClientID) == s.key(b.HType, b.CHAddr, b.ClientID)
}

// crowded has everything in small numbers, so that hosts meet: probes, reservations, classes, two networks on a link, and one behind a relay.
func crowded(rng *rand.Rand) Config {
	a := home()
	a.Probe, a.RapidCommit = rng.IntN(2) == 0, rng.IntN(2) == 0
	a.Exclude = []Range{span1("10.0.0.102", "10.0.0.103")}
	a.Authoritative = rng.IntN(4) > 0
	a.Pools = []Pool{{Name: "phones", Vendor: "phone", Ranges: []Range{span1("10.0.0.200", "10.0.0.202")}}}
	for range rng.IntN(4) {
		h := numbered(rng.IntN(16))
		a.Reservations = append(a.Reservations, Reservation{MAC: h.mac, Addr: addr("10.0.0.100") + packet.Addr(rng.IntN(12)), Name: "host" + fmt.Sprint(rng.IntN(4))})
		if rng.IntN(3) == 0 {
			break
		}
	}
	seen := map[packet.Addr]bool{}
	macs := map[packet.MAC]bool{}
	rs := a.Reservations[:0]
	for _, r := range a.Reservations {
		if !seen[r.Addr] && !macs[r.MAC] {
			rs = append(rs, r)
		}
		seen[r.Addr], macs[r.MAC] = true, true
	}
	a.Reservations = rs
	b := home()
	b.Name, b.Network, b.Server, b.Ranges = "lan2", pfx("10.0.1.0/24"), addr("10.0.1.1"), []Range{span1("10.0.1.10", "10.0.1.12")}
	b.Gateway = []packet.Addr{b.Server}
	c := far()
	c.Ranges, c.Probe, c.PingRelayed = []Range{span1("10.9.0.50", "10.9.0.53")}, rng.IntN(2) == 0, true
	subnets := []Subnet{a, c}
	if rng.IntN(3) > 0 {
		subnets = []Subnet{a, b, c}
	}
	return Config{Subnets: subnets, DeclineHold: 5 * time.Minute, MaxLeases: 24}
}

// randomEvent is something that may happen.
func randomEvent(rng *rand.Rand, m *Machine) Event {
	pick := func() packet.Addr {
		all := []packet.Addr{addr("10.0.0.99"), addr("10.0.0.100"), addr("10.0.0.200"), addr("10.0.1.10"), addr("10.9.0.50")}
		return all[rng.IntN(len(all))] + packet.Addr(rng.IntN(12))
	}
	switch n := rng.IntN(40); n {
	case 0:
		return Taken{Port: lan, Addr: pick(), MAC: numbered(rng.IntN(30)).mac}
	case 1:
		return Configure{crowded(rng)}
	case 2:
		return Delete{pick()}
	case 3:
		return DeleteAll{Subnet: [...]string{"", "lan", "far"}[rng.IntN(3)], State: State(rng.IntN(int(NumStates)))}
	case 4:
		return StoreFailed{Addrs: []packet.Addr{pick()}}
	case 5:
		return Import{[]Lease{{Addr: pick(), State: Bound, HType: 1, CHAddr: []byte{2, 0, 0, 0, 0, byte(rng.IntN(16))}, Hostname: fmt.Sprint("host", rng.IntN(6)), Expires: m.now.Add(time.Duration(rng.IntN(3600)-600) * time.Second)}}}
	case 6:
		return Tick{}
	case 7, 8, 9, 10, 11:
		for a, b := range m.bindings {
			if b.offer != nil && b.offer.probing {
				return Probed{Addr: a, Taken: rng.IntN(3) == 0, MAC: numbered(rng.IntN(16)).mac}
			}
		}
		return Probed{Addr: pick(), Taken: true}
	}
	h := numbered(rng.IntN(16))
	if rng.IntN(4) == 0 {
		h.relay = addr("10.9.0.1")
	}
	if rng.IntN(4) == 0 {
		h.id = string([]byte{0, byte(rng.IntN(8))})
	}
	if rng.IntN(4) == 0 {
		h = h.with(dhcp.OptionVendorClass, "phone 7")
	}
	if rng.IntN(4) == 0 {
		h = h.with(dhcp.OptionRapidCommit, "")
	}
	if rng.IntN(2) == 0 {
		h = h.with(dhcp.OptionHostname, fmt.Sprint("host", rng.IntN(6)))
	}
	var fields []any
	if rng.IntN(3) > 0 {
		fields = append(fields, [...]string{"wants", "ciaddr"}[rng.IntN(2)], pick().String())
		if c := m.clients[client{m.subnets[0], "\x00\x01" + string(h.mac[:])}]; c != nil && rng.IntN(2) == 0 {
			fields[1] = c.lease.Addr.String()
		}
		if c := m.offers[client{m.subnets[0], "\x00\x01" + string(h.mac[:])}]; c != nil && rng.IntN(2) == 0 {
			fields[1] = c.lease.Addr.String()
		}
	}
	if rng.IntN(2) == 0 {
		fields = append(fields, "server", [...]string{"10.0.0.1", "10.0.0.1", "10.0.0.2"}[rng.IntN(3)])
	}
	t := [...]dhcp.Type{dhcp.Discover, dhcp.Discover, dhcp.Request, dhcp.Request, dhcp.Request, dhcp.Request, dhcp.Decline, dhcp.Release, dhcp.Inform, 0, 9}[rng.IntN(11)]
	msg := h.message(t, fields...)
	return Receive{Port: lan, Link: h.mac, Src: msg.CIAddr, Dst: [...]packet.Addr{broadcast, addr("10.0.0.1")}[rng.IntN(2)], Payload: msg.Append(nil)}
}

// live lets random things happen to a server, and holds it to its invariants after each.
func live(t *testing.T, seed uint64, steps int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	m := New(crowded(rng), rng)
	w := &witness{stored: map[packet.Addr]Lease{}}
	now, changed := start, false
	for n := range steps {
		now = now.Add(time.Duration(rng.IntN(20)) * time.Second)
		if rng.IntN(50) == 0 {
			now = now.Add(time.Duration(rng.IntN(90)) * time.Minute)
		}
		if rng.IntN(100) == 0 { // a restart from what is on disk
			c := m.cfg
			for _, l := range w.stored {
				c.Initial = append(c.Initial, l)
			}
			m = New(c, rng)
			m.Step(now, Tick{})
		}
		ev := randomEvent(rng, m)
		actions := m.Step(now, ev)
		err := w.check(m, actions)
		if err == nil {
			_, is := ev.(Configure)
			changed = changed || is
			err = audit(m, changed)
		}
		if err != nil {
			t.Fatalf("seed %d, step %d, %T:\n%v\nactions: %q", seed, n, ev, err, describe(actions))
		}
	}
}

func TestRandomLivesKeepTheInvariants(t *testing.T) {
	for seed := range uint64(60) {
		live(t, seed, 400)
	}
}

// FuzzLives lets the fuzzer choose the lives.
func FuzzLives(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) { live(t, seed, int(steps%1000)) })
}

// FuzzReceive delivers any octets, after which the server still keeps its invariants.
func FuzzReceive(f *testing.F) {
	f.Add(numbered(1).message(dhcp.Discover).Append(nil), uint32(0xffffffff))
	f.Add(numbered(1).message(dhcp.Request, "ciaddr", "10.0.0.100").Append(nil), uint32(0x0a000001))
	f.Add(numbered(1).with(dhcp.OptionRelayAgent, "\x05\x04\x0a\x09\x00\x00\x0b\x04\x0a\x00\x00\x01").message(dhcp.Discover).Append(nil), uint32(0x0a000001))
	f.Add(numbered(1).with(dhcp.OptionFQDN, "\x05\x00\x00\x04host\x03lan\x00").message(dhcp.Request, "wants", "10.0.0.100", "server", "10.0.0.1").Append(nil), uint32(0x0a000001))
	f.Fuzz(func(t *testing.T, b []byte, dst uint32) {
		rng := rand.New(rand.NewPCG(1, 2))
		m := New(crowded(rng), rng)
		w := &witness{stored: map[packet.Addr]Lease{}}
		for range 2 {
			actions := m.Step(start, Receive{Port: lan, Link: packet.MAC{2}, Dst: packet.Addr(dst), Payload: b})
			if err := w.check(m, actions); err != nil {
				t.Fatal(err)
			}
			if err := audit(m, false); err != nil {
				t.Fatal(err)
			}
		}
	})
}
