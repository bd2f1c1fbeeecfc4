package dataplane

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
)

// Two workers carry flows of both directions through NAT while routes, tables and sessions change under them. What
// leaves is always translated rightly.
func TestTwoWorkersTranslateWhileEverythingChanges(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newNATbed(t, natOptions{rules: masquerade(), firewall: home()})
	b.d.most, b.d.queues = 2, b.d.queues[:1]
	defer b.d.Close()
	for _, id := range []PortID{portA, portB} {
		if err := b.d.Start(id, b.d.tables.Load().Ports[id].Attachment); err != nil {
			t.Fatal(err)
		}
	}
	var stop atomic.Bool
	var out, back, wrong atomic.Int64
	done := make(chan struct{}, 3)
	run := func(f func(r *rand.Rand)) {
		go func() {
			r := rand.New(rand.NewPCG(3, 4))
			for !stop.Load() {
				f(r)
				runtime.Gosched()
			}
			done <- struct{}{}
		}()
	}
	run(func(r *rand.Rand) { // inside
		e := ends{inner, hostB, uint16(5000 + r.IntN(50)), 53}
		unix.Write(b.host[portA], frameFor(portA, udpPacket(e, []byte("q"))))
	})
	buf := make([]byte, 2000)
	run(func(*rand.Rand) { // outside answers what it gets
		n, err := unix.Read(b.host[portB], buf)
		if err != nil {
			return
		}
		ip := packet.IPv4(buf[packet.VnetLen+packet.EthernetLen : n])
		if ip.Src() != wan || !transportGood(ip) {
			wrong.Add(1)
		}
		out.Add(1)
		unix.Write(b.host[portB], frameFor(portB, udpPacket(endsOf(ip).back(), []byte("a"))))
	})
	answers := make([]byte, 2000)
	run(func(*rand.Rand) { // inside reads
		n, err := unix.Read(b.host[portA], answers)
		if err != nil {
			return
		}
		ip := packet.IPv4(answers[packet.VnetLen+packet.EthernetLen : n])
		if ip.Dst() != inner || !transportGood(ip) || endsOf(ip).dport < 5000 || endsOf(ip).dport >= 5050 {
			wrong.Add(1)
		}
		back.Add(1)
	})
	reader := b.d.domain.Register()
	for i := range 60 {
		mark := back.Load()
		eventually(t, "answers come through", func() bool {
			for {
				if _, ok := b.d.NextPunt(); !ok {
					return back.Load() > mark+20
				}
			}
		})
		switch i % 3 {
		case 0:
			b.d.Changed()
		case 1:
			b.change(func(*Tables) {})
		case 2:
			b.sessions.Flush(reader, conntrack.TickOf(b.clock), conntrack.Filter{})
		}
	}
	stop.Store(true)
	for range cap(done) {
		<-done
	}
	if wrong.Load() > 0 {
		t.Errorf("%d of %d packets were translated wrongly", wrong.Load(), out.Load()+back.Load())
	}
}

// The number of an adjacency leads to B, then to Plain, and back, in the control plane's order. No packet of a session
// that has stored it may follow it to where it leads now.
func TestNumberThatIsUsedAgainIsNotFollowed(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	b := newNATbed(t, natOptions{})
	b.d.most, b.d.queues = 2, b.d.queues[:1]
	defer b.d.Close()
	for _, id := range []PortID{portA, portT} {
		if err := b.d.Start(id, b.d.tables.Load().Ports[id].Attachment); err != nil {
			t.Fatal(err)
		}
	}
	const number = adjMulti // any that other routes do not use
	b.reroute("172.16.0.0/12", adjUnreach)
	first, second := addr("8.8.8.1"), addr("8.8.8.2")
	var stop atomic.Bool
	var right [numPorts]atomic.Int64
	var wrong atomic.Int64
	done := make(chan struct{}, 4)
	for _, id := range []PortID{portA, portT} {
		go func() {
			for i := 0; !stop.Load(); i++ {
				dst := []packet.Addr{first, second}[i%2]
				e := ends{inner, dst, uint16(5000 + i%10), uint16(id)}
				unix.Write(b.host[id], frameFor(id, udpPacket(e, nil)))
				if i%4 == 0 {
					runtime.Gosched()
				}
			}
			done <- struct{}{}
		}()
	}
	for id, want := range map[PortID]packet.Addr{portB: first, portPlain: second} {
		go func() {
			buf := make([]byte, 2000)
			for !stop.Load() {
				n, err := unix.Read(b.host[id], buf)
				if err != nil {
					runtime.Gosched()
					continue
				}
				at := packet.EthernetLen
				if id != portPlain {
					at += packet.VnetLen
				}
				if packet.IPv4(buf[at:n]).Dst() == want {
					right[id].Add(1)
				} else {
					wrong.Add(1)
				}
			}
			done <- struct{}{}
		}()
	}
	use := func(id PortID, prefix, nextHop string) {
		b.change(func(t *Tables) { t.Adjacencies[number] = rewriteTo(id, nextHop) })
		b.reroute(prefix, number)
		mark := right[id].Load()
		eventually(t, "packets leave", func() bool {
			for {
				if _, ok := b.d.NextPunt(); !ok {
					return right[id].Load() > mark+10
				}
			}
		})
		b.reroute(prefix, adjUnreach) // which calls Changed
		b.d.domain.Synchronize()      // Retire, and the grace period
	}
	for range 40 {
		use(portB, "8.8.8.1/32", "10.2.0.2")
		use(portPlain, "8.8.8.2/32", "10.4.0.2")
	}
	stop.Store(true)
	for range cap(done) {
		<-done
	}
	if wrong.Load() > 0 {
		t.Errorf("%d packets followed the number to another adjacency", wrong.Load())
	}
}

// Two workers meet the first packets of the same flows: there is one session of each, both packets are counted in it, and
// whoever was slower has given back what it took.
func TestTwoWorkersOpenTheSameSessions(t *testing.T) {
	few := rule("inside", "outside", 0, 0, firewall.Accept)
	few.MaxHost = 600
	b := newNATbed(t, natOptions{rules: masquerade(), forwards: web(), firewall: home(few)})
	injectors := []Injector{{b.w}, {b.d.newWorker(3)}}
	done := make(chan struct{}, 2)
	const flows = 500
	for _, i := range injectors {
		go func() {
			for n := range flows {
				ip := udpPacket(ends{inner, hostB, uint16(2000 + n), 53}, nil)
				i.Forward(&Punt{Reason: PuntRouterAlert, Port: portA, Packet: ip})
				syn := tcpPacket(ends{hostB, wan, uint16(2000 + n), 80}, packet.TCPSyn, 1, 0, nil)
				i.Forward(&Punt{Reason: PuntRouterAlert, Port: portB, Packet: syn})
				pair := tcpPacket(ends{inner, wan, uint16(2000 + n), 80}, packet.TCPSyn, 1, 0, nil) // a hairpin
				i.Forward(&Punt{Reason: PuntRouterAlert, Port: portA, Packet: pair})
			}
			done <- struct{}{}
		}()
	}
	for range injectors {
		<-done
	}
	b.sessionsAre(3 * flows)
	reader := b.d.domain.Register()
	now := conntrack.TickOf(b.clock)
	for cursor, seen := uint64(0), 0; seen < 3*flows; {
		page, next := b.sessions.Page(reader, now, conntrack.Filter{}, cursor, 1000)
		for _, s := range page {
			if s.Packets[conntrack.Original] != 2 {
				t.Fatalf("%+v", s)
			}
		}
		if seen, cursor = seen+len(page), next; next == 0 {
			break
		}
	}
	b.sessions.Flush(reader, now, conntrack.Filter{})
	if n := b.mappings.Counts().Mappings; n != 0 {
		t.Errorf("%d mappings without a session", n)
	}
	for n := range 600 { // as many as the rule lets a host have: none is counted that is over
		b.arrive(portA, udpPacket(ends{inner, hostB, uint16(9000 + n), 53}, nil))
		if _, ok := b.take(portB); !ok {
			t.Fatalf("session %d: drops %v", n, b.drops())
		}
	}
}
