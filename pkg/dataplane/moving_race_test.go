package dataplane

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/nat"
)

// Two workers carry flows from two inside ports out of two others, and their answers back, while the route goes back and forth between
// those and the outside addresses of both change. Packets bear the round in which they were sent. One that was sent after the
// changes of a round had returned is never sent as they were before; and at no time by one port with an address of the other, to
// another port's neighbour, or back to another host than the one that is meant.
func TestNothingLeavesByWhatHasChanged(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	const rounds, flows = 120, 20
	far := addr("20.0.0.1")
	given := func(id PortID, round uint32) packet.Addr { // the address lasts for 4 rounds, in which the route changes
		return map[PortID]packet.Addr{portB: addr("10.2.0.100"), portPlain: addr("10.4.0.100")}[id] + packet.Addr(round/4)
	}
	way := func(round uint32) PortID { return []PortID{portB, portPlain}[round%2] }
	rules := func(round uint32) []nat.Rule {
		rule := func(id PortID) nat.Rule {
			// Late answers must not open sessions of their own: what inside sends would answer those, from the address that they are for.
			return nat.Rule{Out: uint16(id), Type: nat.Masquerade, Outside: []packet.Addr{given(id, round)}, Filtering: nat.AddressAndPortDependent}
		}
		return []nat.Rule{rule(portB), rule(portPlain)}
	}
	b := newNATbed(t, natOptions{rules: rules(0)})
	b.reroute("20.0.0.0/8", adjToB)
	b.reroute("10.2.0.0/24", adjLocal)
	b.reroute("10.4.0.0/24", adjLocal)
	b.d.most, b.d.queues = 2, b.d.queues[:1]
	defer b.d.Close()
	for _, id := range []PortID{portA, portB, portT, portPlain} {
		if err := b.d.Start(id, b.d.tables.Load().Ports[id].Attachment); err != nil {
			t.Fatal(err)
		}
	}
	var begun, done atomic.Uint32 // rounds whose changes have begun, have returned
	var stop atomic.Bool
	var out, back, wrong atomic.Int64
	fail := func(format string, a ...any) {
		if wrong.Add(1) < 5 {
			t.Errorf(format, a...)
		}
	}
	ended := make(chan struct{}, 6)
	run := func(f func(i int)) {
		go func() {
			for i := 0; !stop.Load(); i++ {
				f(i)
				runtime.Gosched()
			}
			ended <- struct{}{}
		}()
	}
	read := func(id PortID, buf []byte) (eth packet.Ethernet, ip packet.IPv4) {
		n, err := unix.Read(b.host[id], buf)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				fail("read: %v", err)
			}
			return nil, nil
		}
		f := buf[:n]
		if id != portPlain {
			f = f[packet.VnetLen:]
		}
		if id != portT {
			eth, f = packet.Ethernet(f[:packet.EthernetLen]), f[packet.EthernetLen:]
		}
		return eth, packet.IPv4(f)
	}
	hosts := map[PortID]packet.Addr{portA: inner, portT: addr("10.3.0.2")}
	for id, host := range hosts {
		first := uint16(5000 + 1000*int(id))
		run(func(i int) {
			e := ends{host, far, first + uint16(i%flows), 53}
			unix.Write(b.host[id], frameFor(id, udpPacket(e, binary.BigEndian.AppendUint32(nil, done.Load()))))
		})
		buf := make([]byte, 2000)
		run(func(int) {
			_, ip := read(id, buf)
			if ip == nil || ip.Protocol() != packet.ProtoUDP {
				return
			}
			if e := endsOf(ip); e.dst != host || e.src != far || e.dport < first || e.dport >= first+flows || !transportGood(ip) {
				fail("back by port %d: %+v", id, e)
			}
			back.Add(1)
		})
	}
	for _, id := range []PortID{portB, portPlain} {
		buf := make([]byte, 2000)
		run(func(int) {
			eth, ip := read(id, buf)
			if ip == nil || ip.Protocol() != packet.ProtoUDP {
				return
			}
			sent, now := binary.BigEndian.Uint32(packet.UDP(ip.Payload()).Payload()), begun.Load()
			route, address := false, false
			for round := sent; round <= now; round++ {
				route = route || way(round) == id
				address = address || given(id, round) == ip.Src()
			}
			if e := endsOf(ip); !route || !address || eth.Dst() != hostMAC[id] || e.dst != far || !transportGood(ip) {
				fail("by port %d to %v: %+v, sent in round %d, read in %d", id, eth.Dst(), e, sent, now)
			}
			out.Add(1)
			unix.Write(b.host[id], frameFor(id, udpPacket(endsOf(ip).back(), []byte("answer"))))
		})
	}
	for round := uint32(1); round <= rounds; round++ {
		begun.Store(round)
		policy := nat.NewPolicy(rules(round), nil, append(ownAddresses(), given(portB, round), given(portPlain, round)))
		b.change(func(tables *Tables) { tables.Stateful.NAT = policy })
		b.reroute("20.0.0.0/8", map[PortID]uint32{portB: adjToB, portPlain: adjToPlain}[way(round)])
		done.Store(round)
		b.mappings.Retain(policy, conntrack.TickOf(b.clock))
		wasOut, wasBack := out.Load(), back.Load()
		eventually(t, "packets cross both ways", func() bool {
			for {
				if _, ok := b.d.NextPunt(); !ok {
					return out.Load() > wasOut+50 && back.Load() > wasBack+10
				}
			}
		})
	}
	stop.Store(true)
	for range cap(ended) {
		<-ended
	}
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d of %d packets were wrong", n, out.Load()+back.Load())
	}
}
