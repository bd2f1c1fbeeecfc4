package client

import (
	"math/rand/v2"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// judge watches a client from outside: it carries its actions out as a router would, and holds them against what must always be true.
type judge struct {
	*station
	use     *Lease             // what the router uses
	saved   packet.Addr        // what the next start would know
	offered map[[2]uint32]bool // address and server of offers, as they were delivered
	check   packet.Addr        // asked for and not answered yet
	spoken  map[time.Time]int  // messages by the clock alone, by second
}

func newJudge(t *testing.T, c Config) *judge {
	s := newStation(t, c)
	s.last = &dhcp.Message{}
	j := &judge{station: s, offered: map[[2]uint32]bool{}, spoken: map[time.Time]int{}}
	if c.Initial != nil {
		j.saved = AddrOf(c.Initial)
	}
	return j
}

// deliver steps the machine and looks at what it does.
func (j *judge) deliver(ev Event) {
	j.t.Helper()
	actions := j.m.Step(j.now, ev)
	if len(actions) > 12 {
		j.t.Fatalf("%d actions in one step", len(actions))
	}
	for _, a := range actions {
		j.carryOut(a, ev)
	}
	j.describe(actions)
	if j.use != nil && !j.use.Expires.IsZero() && !j.use.Expires.After(j.now) {
		j.t.Fatalf("%v is in use after its end", j.use.Addr)
	}
	l := j.m.Lease()
	if j.use != nil && (l == nil || AddrOf(l) != AddrOf(j.use)) {
		j.t.Fatalf("the router uses %v, the machine holds %v", j.use.Addr, l)
	}
	if j.saved != AddrOf(l) {
		j.t.Fatalf("saved is %v, held is %v", j.saved, AddrOf(l))
	}
	if next := j.m.Next(); !next.IsZero() && !next.After(j.now) {
		j.t.Fatalf("in %v something is due at %v, which has passed", j.m.State(), next)
	}
	switch j.m.State() {
	case Bound, Renewing, Rebinding:
		if j.use == nil {
			j.t.Fatalf("%v without an address in use", j.m.State())
		}
	case Released:
		if j.use != nil || !j.m.Next().IsZero() {
			j.t.Fatal("a client that gave its address back does something")
		}
	case Init, Selecting, Requesting, Checking, InitReboot, Rebooting:
		if j.m.Next().IsZero() {
			j.t.Fatalf("%v for ever", j.m.State())
		}
	}
}

func (j *judge) carryOut(a Action, ev Event) {
	j.t.Helper()
	switch a := a.(type) {
	case Use:
		if !a.Lease.Expires.IsZero() && !a.Lease.Expires.After(j.now) {
			j.t.Fatalf("%v is taken into use after its end", a.Lease.Addr)
		}
		j.use = a.Lease
	case Drop:
		if j.use == nil || AddrOf(j.use) != AddrOf(a.Lease) {
			j.t.Fatalf("%v is dropped and not in use", a.Lease.Addr)
		}
		j.use = nil
	case Save:
		j.saved = AddrOf(a.Lease)
	case Check:
		j.check = a.Addr
	case Send:
		m, bad := dhcp.Decode(a.Payload)
		if bad != dhcp.Good || len(a.Payload) > dhcp.MaxDefault {
			j.t.Fatalf("sent is %v of %d octets", bad, len(a.Payload))
		}
		j.speak(a, m, ev)
	}
}

// speak judges one message.
func (j *judge) speak(a Send, m *dhcp.Message, ev Event) {
	j.t.Helper()
	requested, server := m.Addr(dhcp.OptionRequestedAddress), m.Addr(dhcp.OptionServerID)
	if m.Type() == dhcp.Request && server != 0 && !j.offered[[2]uint32{uint32(requested), uint32(server)}] {
		j.t.Fatalf("a REQUEST for %v of %v, which nobody offered", requested, server)
	}
	if m.Type() == dhcp.Request && server == 0 && AddrOf(j.use) != max(requested, m.CIAddr) {
		j.t.Fatalf("a REQUEST for %v, in use is %v", max(requested, m.CIAddr), AddrOf(j.use))
	}
	if a.Src != m.CIAddr || a.Src != 0 && a.Src != AddrOf(j.use) {
		j.t.Fatalf("%v from %v with ciaddr %v, in use is %v", m.Type(), a.Src, m.CIAddr, AddrOf(j.use))
	}
	if a.Src == 0 && a.Dst != packet.Broadcast {
		j.t.Fatalf("%v without an address goes to %v", m.Type(), a.Dst)
	}
	if _, clock := ev.(Tick); clock {
		second := j.now.Truncate(time.Second)
		if j.spoken[second]++; j.spoken[second] > 10 {
			j.t.Fatalf("%d messages in a second, and nothing happened", j.spoken[second])
		}
	}
}

// pass lets time pass, stopping at deadlines.
func (j *judge) pass(d time.Duration) {
	j.t.Helper()
	end := j.now.Add(d)
	for range 200 {
		next := j.m.Next()
		if next.IsZero() || next.After(end) {
			break
		}
		j.now = next
		j.deliver(Tick{})
	}
	j.now = end // where there were more deadlines, the clock is late
	j.deliver(Tick{})
}

var pauses = []time.Duration{time.Millisecond, 300 * time.Millisecond, time.Second, 5 * time.Second, time.Minute, 31 * time.Minute, 24 * time.Hour}

var lifetimes = []uint32{0, 1, 2, 4, 60, 3600, infinite - 1, infinite}

// play turns octets into a life: what happens, and with what.
func (j *judge) play(data []byte) {
	j.t.Helper()
	for ; len(data) >= 3; data = data[3:] {
		what, how, more := data[0], data[1], data[2]
		switch what % 16 {
		case 0, 1:
			j.deliver(LinkUp{})
		case 2:
			j.deliver(LinkDown{})
		case 3, 4, 5, 6:
			j.deliver(j.reply(dhcp.Offer, how, more))
		case 7, 8, 9:
			j.deliver(j.reply(dhcp.ACK, how, more))
		case 10:
			j.deliver(j.reply(dhcp.NAK, how, more))
		case 11:
			j.deliver([]Event{Renew{}, Release{}, Renew{}, Conflict{Addr: AddrOf(j.use)}, Shutdown{Release: more&1 != 0}}[how%5])
		case 12:
			c := basic()
			c.Check, c.Broadcast = more&1 != 0, more&2 != 0
			if more&4 != 0 {
				c.Hostname = "gate"
			}
			if how == 0 {
				c.ClientID = []byte{1, more}
			}
			j.deliver(Configure{c})
		case 13:
			if j.check != 0 {
				j.deliver(Checked{Addr: j.check, Taken: how&1 != 0})
				j.check = 0
			}
		case 14:
			j.deliver(Receive{Src: server, SrcPort: 67, Payload: data})
		default:
			j.pass(pauses[int(how)%len(pauses)] * time.Duration(1+more%8))
		}
	}
}

// reply is an answer to the last message: mostly what was asked for, now and then something else.
func (j *judge) reply(t dhcp.Type, how, more byte) Receive {
	ev := j.answer(t, func(m *dhcp.Message) {
		if id := j.last.Options[dhcp.OptionClientID]; id != nil {
			m.Options[dhcp.OptionClientID] = id
		}
		leaseTime(lifetimes[int(more)%len(lifetimes)])(m)
		if asked := max(j.last.Addr(dhcp.OptionRequestedAddress), j.last.CIAddr); asked != 0 && t != dhcp.NAK {
			m.YIAddr = asked
		}
		switch how {
		case 1:
			m.Options.SetAddr(dhcp.OptionServerID, other)
		case 2:
			m.YIAddr++
		case 3:
			m.XID++
		case 4:
			m.Options.SetAddr(dhcp.OptionSubnetMask, packet.Addr(more))
		case 5:
			m.Options.SetUint32(dhcp.OptionRenewalTime, uint32(more))
			m.Options.SetUint32(dhcp.OptionRebindingTime, uint32(more)/2)
		}
		if t == dhcp.Offer {
			j.offered[[2]uint32{uint32(m.YIAddr), uint32(m.Addr(dhcp.OptionServerID))}] = true
		}
	})
	return ev
}

func FuzzClient(f *testing.F) {
	f.Add([]byte{0, 0, 0, 3, 0, 5, 7, 0, 5, 15, 5, 1, 7, 0, 5, 15, 6, 1}, false, false)
	f.Add([]byte{0, 0, 0, 3, 0, 3, 7, 0, 3, 13, 0, 0, 15, 2, 3, 7, 0, 3, 2, 0, 0, 0, 0, 0, 10, 1, 0}, true, false)
	f.Add([]byte{0, 0, 0, 15, 4, 1, 3, 0, 5, 7, 0, 5, 11, 3, 0, 15, 4, 0}, false, true)
	f.Fuzz(func(t *testing.T, data []byte, check, initial bool) {
		c := basic()
		c.Check = check
		if initial {
			c.Initial = bound(t, basic()).m.Lease()
		}
		newJudge(t, c).play(data[:min(len(data), 3000)])
	})
}

// FuzzAnswer delivers any datagram in each state: nothing but a good answer moves the client.
func FuzzAnswer(f *testing.F) {
	s := newStation(nil, basic())
	s.m.Step(start, LinkUp{})
	s.last = &dhcp.Message{XID: s.m.xid}
	copy(s.last.CHAddr[:], ourMAC[:])
	f.Add(s.answer(dhcp.Offer, nil).Payload)
	f.Add(s.answer(dhcp.Offer, func(m *dhcp.Message) {
		m.Options[dhcp.OptionClasslessRoutes] = []byte{24, 10, 0, 9, 10, 0, 0, 1, 0, 10, 0, 0, 1}
		m.Options[dhcp.OptionSearch], _ = dhcp.AppendSearch(nil, "a.example", "b.example")
	}).Payload)
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := newStation(t, basic())
		s.step(LinkUp{})
		s.step(Receive{Src: server, SrcPort: 67, Payload: payload})
		if s.m.State() != Requesting {
			s.expectState(Selecting)
			return
		}
		l := s.m.offer
		if !host(AddrOf(l)) || l.Addr.Bits() < 1 || l.Addr.Bits() > 32 || !host(l.Server) || len(l.Routes) > maxRoutes || len(l.Search) > maxSearch {
			t.Errorf("a bad offer was taken: %+v", l)
		}
		if !l.Expires.IsZero() && !(l.Acquired.Before(l.T1) && l.T1.Before(l.T2) && l.T2.Before(l.Expires)) {
			t.Errorf("times out of order: %v %v %v %v", l.Acquired, l.T1, l.T2, l.Expires)
		}
	})
}

func TestRandomLivesKeepTheInvariants(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		data := make([]byte, 3*(20+rng.IntN(200)))
		for i := range data {
			data[i] = byte(rng.Uint32())
			if i%3 == 1 && data[i] > 64 { // mostly what fits
				data[i] = 0
			}
		}
		c := basic()
		c.Check = seed&1 != 0
		newJudge(t, c).play(data)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
