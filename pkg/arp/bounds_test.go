package arp

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// TestSweepLeavesRealNeighboursAlone drives 300,000 distinct addresses of a /8 through a
// router with real neighbours, 100 for each millisecond.
func TestSweepLeavesRealNeighboursAlone(t *testing.T) {
	s := newStation(t, Config{MaxNeighbors: 1024})
	s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/8")})
	const real = 768 // as many as fit beside the unresolved ones
	first := addr("10.200.0.1")
	for i := range packet.Addr(real) {
		s.step(requestFrom(hostMAC, first+i, router))
	}
	fixed := addr("10.201.0.1")
	s.step(AddStatic{lan, fixed, otherMAC})
	before := s.m.Counters()
	began := s.now
	asked := map[packet.Addr]time.Time{}
	target := addr("10.1.0.0")
	watch := func(actions []Action) {
		for _, a := range actions {
			switch a := a.(type) {
			case Send:
				to := Packet(packet.Ethernet(a.Frame).Payload()).TargetAddr()
				if last, ok := asked[to]; ok && s.now.Sub(last) < time.Second {
					t.Fatalf("%v was asked twice within %v", to, s.now.Sub(last))
				}
				asked[to] = s.now
			case Unbind:
				t.Fatalf("the sweep cost the neighbour %v", a.Addr)
			}
		}
	}
	for range 3000 {
		s.now = s.now.Add(time.Millisecond)
		for range 100 {
			target++
			if target&0xff == 0xff {
				target += 2
			}
			watch(s.m.Step(s.now, Resolve{lan, target, wait(1500)}))
		}
		if n := len(s.m.cache); n > 1024+1 {
			t.Fatalf("the cache has %d entries, its cap is 1024 and one static", n)
		}
		if s.m.waitingBytes > s.m.cfg.MaxWaitingBytes {
			t.Fatalf("%d octets wait", s.m.waitingBytes)
		}
	}
	c := s.m.Counters()
	if n, most := c.RequestsSent-before.RequestsSent, uint64(s.now.Sub(began)/time.Second)*500+100+1; n > most {
		t.Fatalf("%d broadcasts left, at most %d may", n, most)
	}
	if n := s.m.Len(StateStale); n != real {
		t.Fatalf("%d of %d real neighbours are left", n, real)
	}
	s.expectState(fixed, StatePermanent)
	if c.Dropped[DropBudget]+c.Dropped[DropRate] == 0 {
		t.Fatal("nothing was refused")
	}
	if len(s.m.pace.asked) > 1024+700 || len(s.m.pace.order) > 4000 {
		t.Fatalf("the pacer remembers %d addresses in %d places", len(s.m.pace.asked), len(s.m.pace.order))
	}
}

// TestRealHostResolvesBesideAModestSweep shows that a budget full of silence is not a closed door.
func TestRealHostResolvesBesideAModestSweep(t *testing.T) {
	s := newStation(t, Config{MaxNeighbors: 64})
	s.step(PortUp{Port: lan, MAC: routerMAC, Addresses: prefixes("10.0.0.1/8")})
	for i := range packet.Addr(200) {
		s.after(50 * time.Millisecond)
		s.step(Resolve{lan, addr("10.2.0.1") + i, wait(100)})
	}
	s.after(50 * time.Millisecond)
	s.step(Resolve{lan, host, wait(100)})
	s.step(answerFrom(hostMAC, host))
	s.expectState(host, StateReachable)
}

func TestFullCacheOfLiveNeighboursRefusesStrangers(t *testing.T) {
	s := newStation(t, Config{MaxNeighbors: 8, MaxUnresolved: 2})
	for i := range packet.Addr(6) {
		s.step(Resolve{Port: lan, Addr: host + i})
		s.step(answerFrom(hostMAC, host+i))
	}
	s.expect(s.step(requestFrom(otherMAC, addr("10.0.0.50"), router)),
		"bad 1 arp_cache_full", "send 1 to 02:00:00:00:00:0a: 10.0.0.1 is at 02:00:00:00:00:01")
	for range 6 {
		s.after(time.Minute)
	}
	s.step(requestFrom(otherMAC, addr("10.0.0.50"), router))
	s.expectState(addr("10.0.0.50"), StateStale)
	if n := s.m.Counters().Evictions; n != 1 {
		t.Fatalf("%d evictions, expected the oldest stale one", n)
	}
}

func TestNeighboursThatFailTogetherDoNotOverfillTheCache(t *testing.T) {
	s := newStation(t, Config{MaxNeighbors: 8, MaxUnresolved: 2})
	for i := range packet.Addr(6) {
		s.step(requestFrom(hostMAC, host+i, router))
		s.step(Used{lan, host + i})
	}
	s.after(9 * time.Second)
	if n := s.m.Len(StateFailed); n != 6 {
		t.Fatalf("%d neighbours have failed, expected 6", n)
	}
	for i := range packet.Addr(6) {
		s.step(requestFrom(otherMAC, addr("10.0.0.50")+i, router))
	}
	if n := len(s.m.Neighbors(s.now)); n > 8 || s.m.Len(StateStale) != 6 {
		t.Fatalf("%d neighbours, %d of the 6 live ones; the cap is 8", n, s.m.Len(StateStale))
	}
}

func TestUnansweredNeighbourHasItsSecondBeforeItMakesRoom(t *testing.T) {
	s := newStation(t, Config{MaxNeighbors: 8, MaxUnresolved: 2, RequestRate: 2, RequestBurst: 1})
	s.step(Resolve{lan, host, wait(1)})
	s.step(Resolve{lan, host + 1, wait(2)}) // its request leaves half a second later
	s.after(999 * time.Millisecond)
	s.expect(s.step(Resolve{lan, host + 2, wait(3)}), "dropped 1 10.0.0.11 3 neighbor_budget")
	s.after(time.Millisecond)
	s.expect(s.step(Resolve{lan, host + 2, wait(4)})[:2],
		"changed 1 10.0.0.9 incomplete->none", "abandon 1 10.0.0.9 [1] neighbor_evicted")
	s.expect(s.step(Resolve{lan, host + 3, wait(5)}), "dropped 1 10.0.0.12 5 neighbor_budget")
}

func TestNeighbourStillWaitingForItsTurnIsNotEvicted(t *testing.T) {
	s := newStation(t, Config{MaxNeighbors: 8, MaxUnresolved: 2, RequestRate: 1, RequestBurst: 1, Retransmit: 3 * time.Second})
	for i := range packet.Addr(2) {
		s.step(Resolve{lan, host + i, wait(1)})
	}
	s.step(answerFrom(hostMAC, host)) // the second is now the oldest, and not asked yet
	s.expectState(host+1, StateIncomplete)
	s.step(Resolve{lan, host + 2, wait(1)})
	s.expect(s.step(Resolve{lan, host + 3, wait(9)}), "dropped 1 10.0.0.12 9 neighbor_budget")
}

func TestAnsweredNeighboursTakeRoomFromStaleOnesOnly(t *testing.T) {
	s := newStation(t, Config{MaxNeighbors: 8, MaxUnresolved: 2})
	for i := range packet.Addr(6) {
		s.step(requestFrom(hostMAC, host+i, router))
	}
	fresh := addr("10.0.0.50")
	s.step(Resolve{Port: lan, Addr: fresh})
	s.expect(s.step(answerFrom(otherMAC, fresh)),
		"bind 1 10.0.0.50 02:00:00:00:00:0a", "changed 1 10.0.0.50 incomplete->reachable",
		"unbind 1 10.0.0.9", "changed 1 10.0.0.9 stale->none")
}

func FuzzDecode(f *testing.F) {
	good := Message{Op: OpReply, SenderMAC: hostMAC, SenderAddr: host, TargetMAC: routerMAC, TargetAddr: router}.Append(nil)
	f.Add(good)
	f.Add(good[:27])
	f.Add(append(good, make([]byte, 18)...))
	f.Add([]byte{})
	for _, at := range []int{0, 2, 4, 5, 6} {
		lie := append([]byte(nil), good...)
		lie[at] = 0xff
		f.Add(lie)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, why := Decode(b)
		if why != BadNone {
			return
		}
		again, why := Decode(m.Append(nil))
		if why != BadNone || again != m {
			t.Fatalf("%+v became %+v (%v)", m, again, why)
		}
	})
}

// FuzzEvents feeds random events, four octets each, and holds the machine to its invariants.
func FuzzEvents(f *testing.F) {
	f.Add(uint64(1), []byte{0, 0, 0, 0, 1, 2, 9, 9, 2, 3, 9, 1, 3, 3, 9, 1, 9, 200, 0, 0, 4, 0, 9, 0})
	rng := rand.New(rand.NewPCG(7, 7))
	for range 8 {
		b := make([]byte, 2000)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(rng.Uint64(), b)
	}
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		first := play(t, seed, script)
		if again := play(t, seed, script); again != first {
			t.Fatal("the same seed and events gave other actions")
		}
	})
}

func play(t *testing.T, seed uint64, script []byte) string {
	var record strings.Builder
	c := Config{MaxNeighbors: 12, MaxUnresolved: 4, MaxWaitingPackets: 3, MaxWaitingBytes: 400, RequestRate: 20, RequestBurst: 4, StaleHold: time.Minute}
	m := New(c, rand.New(rand.NewPCG(seed, 0)))
	now := start
	held := map[int]bool{} // packets the machine has
	asked := map[key]time.Time{}
	next := 0
	for ; len(script) >= 4; script = script[4:] {
		a, b, d := script[1], script[2], script[3]
		now = now.Add(time.Duration(d) * time.Duration(d) * time.Millisecond)
		ev := event(script[0], a, b, &next)
		if r, ok := ev.(Resolve); ok && r.Packet != nil {
			held[r.Packet.(numbered).id] = true
		}
		actions := m.Step(now, ev)
		for _, act := range actions {
			record.WriteString(line(act) + "\n")
			back := func(ws ...Waiting) {
				for _, w := range ws {
					id := w.(numbered).id
					if !held[id] {
						t.Fatalf("packet %d came back twice, or never went in", id)
					}
					delete(held, id)
				}
			}
			switch act := act.(type) {
			case Send:
				msg, _ := Decode(packet.Ethernet(act.Frame).Payload())
				if msg.Op != OpRequest || msg.SenderAddr == 0 || msg.Gratuitous() {
					break
				}
				k := key{act.Port, msg.TargetAddr}
				if last, ok := asked[k]; ok && now.Sub(last) < time.Second {
					t.Fatalf("%v was asked twice within %v", k, now.Sub(last))
				}
				asked[k] = now
			case Bind:
				if act.MAC.IsGroup() || act.MAC.IsZero() || m.own[act.Addr] > 0 {
					t.Fatalf("bound %v to %v", act.Addr, act.MAC)
				}
			case Release:
				back(act.Packets...)
			case Abandon:
				back(act.Packets...)
			case Dropped:
				if act.Packet != nil {
					back(act.Packet)
				}
			}
		}
		if n := m.Next(); !n.IsZero() && !n.After(now) {
			t.Fatalf("something is due at %v, not after %v", n, now)
		}
		check(t, m, held)
	}
	return record.String()
}

type numbered struct{ id, size int }

func (n numbered) Size() int { return n.size }

// event makes an event of three octets.
func event(kind, a, b byte, next *int) Event {
	port := PortID(a & 1)
	target := addr("10.0.0.0") + packet.Addr(port)<<16 + packet.Addr(b&31)
	station := packet.MAC{2, 0, 0, 0, b & 3, a >> 4}
	if a>>4 == 15 {
		station[0] = b // at times a group or zero address
	}
	switch kind % 12 {
	case 0, 10:
		own := prefixes(fmt.Sprintf("10.%d.0.1/24", port), fmt.Sprintf("10.%d.0.%d/%d", port, b&31, 24+a>>4&7))
		return PortUp{Port: port, MAC: packet.MAC{2, 9, 0, 0, 0, byte(port)}, Addresses: own[:1+b>>7], DAD: b&64 != 0, ProxyARP: prefixes("10.0.0.0/8")}
	case 1:
		if b < 200 {
			return Tick{}
		}
		return PortDown{port}
	case 2, 3, 11:
		if a&2 != 0 {
			return Resolve{Port: port, Addr: target}
		}
		*next++
		return Resolve{port, target, numbered{*next, int(a)}}
	case 4:
		return Confirm{port, target}
	case 5:
		return Used{port, target}
	case 6:
		if b < 128 {
			return AddStatic{port, target, packet.MAC{2, 1, 1, 1, 1, b}}
		}
		return DeleteStatic{port, target}
	case 7:
		if b > 240 {
			return Flush{Port: port, All: a&2 != 0}
		}
		return Tick{}
	}
	m := Message{Op: OpRequest, SenderMAC: station, SenderAddr: target, TargetAddr: addr("10.0.0.1") + packet.Addr(port)<<16}
	dst := packet.BroadcastMAC
	switch a >> 1 & 7 {
	case 1, 2, 3:
		m.Op, dst = OpReply, packet.MAC{2, 9, 0, 0, 0, byte(port)}
	case 4:
		m.TargetAddr = target
	case 5:
		m.SenderAddr = 0
	case 6:
		m.TargetAddr += packet.Addr(b)
	}
	fr := frame(port, station, dst, m)
	if a == 255 {
		binary.BigEndian.PutUint16(fr.Payload[b%27:], uint16(b))
	}
	return fr
}

// check holds the machine's inner state to what must always be so.
func check(t *testing.T, m *Machine, held map[int]bool) {
	t.Helper()
	total, packets, octets, timers := 0, 0, 0, 0
	for s := range m.lists {
		n := 0
		for e := m.lists[s].oldest; e != nil; e = e.newer {
			n++
			packets += len(e.waiting)
			for _, w := range e.waiting {
				octets += w.Size()
			}
			if int(e.state) != s || m.cache[e.key] != e {
				t.Fatalf("%v is in the list of %v", e.key, State(s))
			}
			if e.timer.IsSet() {
				timers++
			} else if e.state != StatePermanent {
				t.Fatalf("%v is %v and nothing is due for it", e.key, e.state)
			}
			if e.state.Usable() == e.mac.IsZero() {
				t.Fatalf("%v is %v with %v", e.key, e.state, e.mac)
			}
			if m.ports[e.port] != nil && e.state.Usable() != e.bound {
				t.Fatalf("%v is %v, bound %v", e.key, e.state, e.bound)
			}
			if e.state.Usable() && len(e.waiting) > 0 || len(e.waiting) > m.cfg.MaxWaitingPackets {
				t.Fatalf("%d packets wait for %v, which is %v", len(e.waiting), e.key, e.state)
			}
		}
		if n != m.lists[s].len {
			t.Fatalf("%d neighbours are %v, counted as %d", n, State(s), m.lists[s].len)
		}
		total += n
	}
	if m.lists[StateNone].len != 0 || total != len(m.cache) {
		t.Fatalf("%d neighbours in lists, %d in the cache", total, len(m.cache))
	}
	if dynamic := total - m.lists[StatePermanent].len; dynamic > m.cfg.MaxNeighbors || m.unresolved() > m.cfg.MaxUnresolved+m.cfg.MaxNeighbors/2 {
		t.Fatalf("%d dynamic neighbours, %d unresolved", dynamic, m.unresolved())
	}
	if packets != len(held) || octets != m.waitingBytes || octets > m.cfg.MaxWaitingBytes {
		t.Fatalf("%d packets (%d octets, counted %d) wait, %d were given", packets, octets, m.waitingBytes, len(held))
	}
	for _, p := range m.ports {
		for _, o := range p.own {
			if o.timer.IsSet() {
				timers++
			}
		}
	}
	if timers != m.deadlines.Len() {
		t.Fatalf("%d deadlines in the heap, %d owners", m.deadlines.Len(), timers)
	}
	if !m.deadlines.Sound() {
		t.Fatal("the heap of deadlines is out of order")
	}
}
