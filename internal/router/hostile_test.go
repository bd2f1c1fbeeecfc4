package router

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/port"
	"vrouterd/internal/simhost"
)

// What a hostile host can send. The tests measure what grows and what still works,
// never how long it takes.

func TestASweepOfAHugeNetworkIsBoundedAndHarmsNoNeighbor(t *testing.T) {
	w := newWires()
	w.hosts["lan1"] = host(1, "10.1.0.2/24", "10.1.0.1")
	w.hosts["lan2"] = host(2, "20.0.0.2/8", "20.0.0.1")
	l := run(t, w, "name: r1\nports:\n  lan1: {address: 10.1.0.1/24}\n  lan2: {address: 20.0.0.1/8}\n")
	a := l.host("lan1")
	l.pings(a, "20.0.0.2")
	before := l.port("lan1").RxPackets
	ip := packet.IPv4(probe(a, "20.0.0.2", 64))
	const sweep = 30000
	for i := range sweep {
		ip.SetDst(packet.Addr(20<<24 | i*509 + 3))
		ip.UpdateHeaderChecksum()
		a.SendPacket(ip)
		if i%10000 == 5000 {
			l.pings(a, "20.0.0.2")
		}
	}
	eventually(t, "all have come", func() bool { return l.port("lan1").RxPackets >= before+sweep })
	if n := len(l.Neighbors()); n > 2000 {
		t.Errorf("%d neighbours are held for a sweep", n)
	}
	if s := l.neighborState("lan2", "20.0.0.2"); s == "" || s == "failed" {
		t.Errorf("the real neighbour is %q", s)
	}
	l.do(func() {
		if n := len(l.fwd.entries); n > 64 {
			t.Errorf("%d adjacencies", n)
		}
		if n := len(l.limits.each); n > maxLimited {
			t.Errorf("%d addresses are limited one by one", n)
		}
	})
	l.pings(a, "20.0.0.2")
	l.pings(l.host("lan2"), "10.1.0.2")
}

func TestASweepOfClaimsIsBounded(t *testing.T) {
	w := newWires()
	w.hosts["lan1"] = host(1, "20.0.0.2/8", "20.0.0.1")
	w.hosts["lan2"] = host(2, "10.2.0.2/24", "10.2.0.1")
	l := run(t, w, "name: r1\nports:\n  lan1: {address: 20.0.0.1/8}\n  lan2: {address: 10.2.0.1/24}\narp: {max_cache: 256}\n")
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	// A host that claims to be everybody, and asks for the router, so that it is learned.
	m := make([]byte, 28)
	copy(m, []byte{0, 1, 8, 0, 6, 4, 0, 1})
	mac := a.MAC()
	copy(m[8:], mac[:])
	binary.BigEndian.PutUint32(m[24:], 20<<24|1)
	for i := range 5000 {
		binary.BigEndian.PutUint32(m[14:], uint32(20<<24|i*31+5))
		a.SendFrame(shout(a, m))
		if i%1000 == 500 {
			l.pings(l.host("lan2"), "10.2.0.1")
		}
	}
	eventually(t, "all are served", func() bool { return l.counter("punts_waiting") == 0 })
	if n := len(l.Neighbors()); n > 256 {
		t.Errorf("%d neighbours, 256 are allowed", n)
	}
	l.do(func() {
		if n := len(l.fwd.neighbors); n > 256 {
			t.Errorf("%d neighbours in the forwarding tables", n)
		}
		if n := len(l.fwd.index); n > 300 {
			t.Errorf("%d adjacencies", n)
		}
	})
	l.pings(a, "10.2.0.2")
}

// shout is an ARP packet in a broadcast.
func shout(h *simhost.Host, payload []byte) []byte {
	f := packet.Ethernet(make([]byte, packet.EthernetLen, packet.EthernetLen+len(payload)))
	f.SetDst(packet.BroadcastMAC)
	f.SetSrc(h.MAC())
	f.SetType(packet.EtherTypeARP)
	return append(f, payload...)
}

func TestFragmentsThatNeverCompleteAreBounded(t *testing.T) {
	l := run(t, twoHosts(), two)
	a := l.host("lan1")
	l.pings(a, "10.1.0.1")
	before := l.port("lan1").RxPackets
	ip := packet.IPv4(append(probe(a, "10.1.0.1", 64), make([]byte, 1400)...))
	ip.SetTotalLen(len(ip) / 8 * 8)
	const n = 20000
	for i := range n {
		ip.SetID(uint16(i))
		ip.SetSrc(packet.Addr(10<<24 | 1<<16 | uint32(i>>16+2)))
		ip.SetFlagsFragment(packet.FlagMF | uint16(i%7)*100)
		ip.UpdateHeaderChecksum()
		a.SendPacket(ip)
	}
	eventually(t, "all have come", func() bool {
		return l.port("lan1").RxPackets >= before+n && l.counter("punts_waiting") == 0
	})
	var counted uint64
	for _, d := range l.Drops() {
		if strings.HasPrefix(d.Reason, "reassembly") || d.Reason == "punt_queue" {
			counted += d.Packets
		}
	}
	if counted == 0 {
		t.Errorf("none of %d fragments is counted as lost: %+v", n, l.Drops())
	}
	l.pings(a, "10.1.0.1")
	if p, err := a.PingOnce(t.Context(), l.host("lan2").Address(), 4000, 10*time.Second); err != nil || p.Result != "reply" {
		t.Errorf("whole fragmented packets no longer pass: %+v, %v", p, err)
	}
	if p, err := a.PingOnce(t.Context(), netip.MustParseAddr("10.1.0.1"), 4000, 10*time.Second); err != nil || p.Result != "reply" {
		t.Errorf("fragmented packets to the router are no longer put together: %+v, %v", p, err)
	}
}

func TestAFloodToAnUnresolvedNeighborHoldsAFewPackets(t *testing.T) {
	l := run(t, twoHosts(), two)
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	before := l.port("lan1").RxPackets
	const n = 20000
	ip := probe(a, "10.2.0.99", 64)
	for range n {
		a.SendPacket(ip)
	}
	eventually(t, "all have come", func() bool { return l.port("lan1").RxPackets >= before+n })
	for _, row := range l.Neighbors() {
		if row.Waiting > 16 {
			t.Errorf("%+v", row)
		}
	}
	l.pings(a, "10.2.0.2")
	if asked := l.host("lan2").Stats().ARPRequests; asked > 1000 {
		t.Errorf("%d packets made %d ARP requests", n, asked)
	}
}

func TestATTLFloodLeavesTheControlPlaneItsTime(t *testing.T) {
	l := run(t, twoHosts(), strings.Replace(two, "icmp: {rate: 0, per_destination: 0}", "icmp: {rate: 100, per_destination: 10}", 1))
	a, b := l.host("lan1"), l.host("lan2")
	l.pings(a, "10.2.0.2")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		ip := probe(a, "10.2.0.2", 1)
		for {
			select {
			case <-stop:
				return
			default:
				a.SendPacket(ip)
			}
		}
	}()
	for i := range 20 {
		l.pings(b, "10.2.0.1") // the router itself, through its punt queues
		if err := l.AddRoute(tester, api.RouteSpec{To: fmt.Sprintf("10.9.%d.0/24", i), Via: []string{"10.2.0.2"}}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
	if l.dropped("ttl_exceeded") == 0 {
		t.Error("there was no flood")
	}
	seconds := uint64(l.Status().UptimeSeconds) + 2
	if sent := l.counter("icmp_errors_sent"); sent == 0 || sent > 10*seconds {
		t.Errorf("%d errors were sent in %d s", sent, seconds)
	}
}

func TestMalformedFramesDoNoHarm(t *testing.T) {
	for _, vnet := range []bool{false, true} {
		t.Run(fmt.Sprintf("vnet=%v", vnet), func(t *testing.T) {
			w := twoHosts()
			w.vnet = vnet
			l := run(t, w, two)
			a, b := l.host("lan1"), l.host("lan2")
			l.pings(a, "10.2.0.2")
			stop, done := make(chan struct{}), make(chan int)
			mac := l.port("lan1").MAC
			go func() {
				rng := rand.New(rand.NewPCG(3, 4))
				to, _ := packet.ParseMAC(mac)
				n := 0
				for ; ; n++ {
					select {
					case <-stop:
						done <- n
						return
					default:
					}
					a.SendSuper(mangledVnet(rng), mangled(rng, a, to))
				}
			}()
			for i := range 30 {
				l.pings(b, "10.2.0.1")
				spec := api.RouteSpec{To: fmt.Sprintf("10.9.%d.0/24", i), Via: []string{"10.2.0.2"}}
				if err := l.AddRoute(tester, spec); err != nil {
					t.Error(err)
				}
				l.Drops()
				l.Metrics()
			}
			close(stop)
			n := <-done
			if n < 100 {
				t.Errorf("only %d frames", n)
			}
			l.pings(b, "10.2.0.1")
			if !l.Alive(t.Context()) {
				t.Error("a worker hangs")
			}
			if p := l.port("lan1"); !p.Up {
				t.Errorf("%+v", p)
			}
		})
	}
}

// mangled is a frame that is wrong somewhere.
func mangled(rng *rand.Rand, h *simhost.Host, to packet.MAC) []byte {
	ip := append(probe(h, "10.2.0.2", byte(rng.IntN(4))), make([]byte, rng.IntN(200))...)
	packet.IPv4(ip).SetTotalLen(len(ip))
	for range 1 + rng.IntN(4) {
		ip[rng.IntN(40)] = byte(rng.Uint32())
	}
	if rng.IntN(2) == 0 && ip[0]>>4 == 4 && int(ip[0]&15)*4 <= len(ip) && ip[0]&15 >= 5 {
		packet.IPv4(ip).UpdateHeaderChecksum()
	}
	f := packet.Ethernet(make([]byte, packet.EthernetLen, 512))
	f.SetDst(to)
	f.SetSrc(h.MAC())
	f.SetType([]uint16{packet.EtherTypeIPv4, packet.EtherTypeIPv4, packet.EtherTypeARP, 0x86dd, uint16(rng.Uint32())}[rng.IntN(5)])
	f = append(f, ip...)
	return f[:1+rng.IntN(len(f))]
}

func mangledVnet(rng *rand.Rand) packet.Vnet {
	if rng.IntN(2) == 0 {
		return packet.Vnet{}
	}
	return packet.Vnet{
		Flags: uint8(rng.IntN(4)), GSOType: uint8(rng.IntN(6)), HeaderLen: uint16(rng.IntN(100)),
		GSOSize: uint16(rng.IntN(100)), ChecksumAt: uint16(rng.IntN(100)), ChecksumOff: uint16(rng.IntN(40)),
	}
}

func TestAReloadStormLosesNoPacketOfAnUnchangedPort(t *testing.T) {
	w := twoHosts()
	w.hosts["lan3"] = host(3, "10.3.0.2/24", "10.3.0.1")
	l := run(t, w, two)
	a, b := l.host("lan1"), l.host("lan2")
	l.pings(a, "10.2.0.2")
	var got int
	arrived := make(chan struct{}, 1<<16)
	b.OnFrame(func(f []byte) bool {
		if packet.Ethernet(f).Type() == packet.EtherTypeIPv4 && f[packet.EthernetLen+9] == 17 {
			arrived <- struct{}{}
			return true
		}
		return false
	})
	// One packet is under way at a time, so that only the router can lose it.
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		sent := 0
		ip := probe(a, "10.2.0.2", 64)
		for {
			select {
			case <-stop:
				done <- sent
				return
			default:
				a.SendPacket(ip)
				sent++
				select {
				case <-arrived:
					got++
				case <-time.After(10 * time.Second):
					done <- sent
					return
				}
			}
		}
	}()
	more := strings.Replace(two, "ports:\n", "ports:\n  lan3: {address: 10.3.0.1/24}\n", 1) + "routes: [{to: 10.8.0.0/16, via: 10.3.0.2}]\n"
	for range 40 {
		if _, err := l.Reload(more); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reload(two); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if sent := <-done; got != sent || sent == 0 {
		t.Errorf("%d of %d arrived", got, sent)
	}
}

func TestManyForgedSourcesDoNotMakeTheLimiterSearch(t *testing.T) {
	l := newErrorLimiter()
	l.set(0, 5)
	now := time.Unix(1000, 0)
	for a := range packet.Addr(10 * maxLimited) {
		l.allow(now.Add(time.Duration(a)*time.Microsecond), a)
	}
	if l.sweeps > 1 {
		t.Errorf("the full table was gone through %d times in 41 ms", l.sweeps)
	}
	l = newErrorLimiter()
	l.set(1000, 0)
	for a := range packet.Addr(maxLimited) {
		l.allow(now, a)
	}
	if len(l.each) != 0 {
		t.Errorf("%d addresses are kept without a limit for one", len(l.each))
	}
}

func TestAPortComesAndGoesUnderItsTraffic(t *testing.T) {
	w := twoHosts()
	w.hosts["lan3"] = host(3, "10.3.0.2/24", "10.3.0.1")
	l := run(t, w, two)
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	// The hosts look at none of what the flood brings them: their stacks, which answer every datagram and queue no more than 512
	// packets, would lose the ping behind it, and not the router.
	taken(a, func(ip packet.IPv4) bool {
		return ip.Protocol() == packet.ProtoICMP && ip[20] == packet.ICMPUnreachable
	})
	taken(l.host("lan2"), ofProtocol(packet.ProtoUDP))
	more := strings.Replace(two, "ports:\n", "ports:\n  lan3: {address: 10.3.0.1/24}\n", 1)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // both ways: to the port that is not always there, and from it
		defer close(done)
		to := probe(a, "10.3.0.2", 64)
		for {
			select {
			case <-stop:
				return
			default:
			}
			a.SendPacket(to)
			if e := w.end("lan3"); e != nil {
				e.host.SendPacket(probe(e.host, "10.2.0.2", 64))
			}
		}
	}()
	for i := range 30 {
		l.apply(more)
		if i%3 == 0 {
			w.tell("lan3", port.State{Word: "missing", Reason: "pulled"})
		}
		if i%5 == 0 {
			w.tell("lan3", port.State{Word: "down", Reason: "down"})
			w.tell("lan3", port.State{Up: true, Word: "up"})
		}
		l.apply(two)
	}
	close(stop)
	<-done
	l.pings(a, "10.2.0.2")
	l.do(func() {
		if len(l.byID) != 2 || len(l.fwd.ports) > 8 || len(l.fwd.neighbors) > 2 {
			t.Errorf("left behind: %d ports by number, %d slots, %d neighbours", len(l.byID), len(l.fwd.ports), len(l.fwd.neighbors))
		}
		for v, e := range l.fwd.entries {
			if e.refs < 0 {
				t.Errorf("adjacency %d has %d references", v, e.refs)
			}
		}
	})
	if got, _ := l.Route("10.3.0.2"); got.Action != "none" {
		t.Errorf("%+v", got)
	}
}

func TestASlowReaderOfACaptureHoldsNobodyUp(t *testing.T) {
	l := run(t, twoHosts(), two)
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow := &stuck{release: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- l.Capture(ctx, api.CaptureRequest{}, slow) }()
	eventually(t, "the capture is on", func() bool {
		on := false
		l.do(func() { on = len(l.fwd.taps) == 1 })
		return on
	})
	before := l.port("lan1").RxPackets
	for range 3 * captureDepth {
		a.SendPacket(probe(a, "10.2.0.2", 1))
	}
	eventually(t, "all have come", func() bool { return l.port("lan1").RxPackets >= before+3*captureDepth })
	l.pings(l.host("lan2"), "10.1.0.1")
	close(slow.release)
	eventually(t, "what was lost is told", func() bool {
		a.SendPacket(probe(a, "10.2.0.2", 1))
		return slow.has("lost before this one: the reader is too slow")
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// stuck is a reader that takes the file's head, and then nothing until it is released.
type stuck struct {
	pipe
	release chan struct{}
	writes  atomic.Int32
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.writes.Add(1) > 4 {
		<-s.release
	}
	return s.pipe.Write(b)
}
