package router

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/port"
	"vrouterd/internal/simhost"
)

func TestTheFirstPingArrives(t *testing.T) {
	for _, vnet := range []bool{false, true} {
		t.Run(fmt.Sprintf("vnet=%v", vnet), func(t *testing.T) {
			w := twoHosts()
			w.vnet = vnet
			l := run(t, w, two)
			// Nobody knows anybody: it waits for ARP at the host and at the router.
			a, b := l.host("lan1"), l.host("lan2")
			p, err := a.PingOnce(t.Context(), b.Address(), 1000, 10*time.Second)
			if err != nil || p.Result != "reply" || p.TTL != 63 || p.Bytes != 1008 {
				t.Fatalf("%+v, %v", p, err)
			}
			// The one has asked for us, the other has answered us.
			if l.neighborState("lan1", "10.1.0.2") != "delay" || l.neighborState("lan2", "10.2.0.2") != "reachable" {
				t.Errorf("neighbours: %+v", l.Neighbors())
			}
			for _, d := range l.Drops() {
				if d.Packets != 0 {
					t.Errorf("dropped: %+v", d)
				}
			}
		})
	}
}

func TestTheRouterAnswersAtAllItsAddresses(t *testing.T) {
	l := run(t, twoHosts(), two)
	l.pings(l.host("lan1"), "10.1.0.1")
	l.pings(l.host("lan1"), "10.2.0.1")
	l.pings(l.host("lan2"), "10.1.0.1")
}

// pattern is a stream whose octets tell their place.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

func TestTCPCarriesABulkTransferBothWays(t *testing.T) {
	for _, vnet := range []bool{false, true} {
		t.Run(fmt.Sprintf("vnet=%v", vnet), func(t *testing.T) {
			w := twoHosts()
			w.vnet = vnet
			l := run(t, w, two)
			from, to := l.host("lan1"), l.host("lan2")
			listener, err := to.ListenTCP(7)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			data := pattern(2 << 20)
			served := make(chan error, 1)
			go func() {
				c, err := listener.Accept()
				if err != nil {
					served <- err
					return
				}
				defer c.Close()
				served <- swap(c, data)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c, err := from.DialTCP(ctx, netip.AddrPortFrom(to.Address(), 7))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := swap(c, data); err != nil {
				t.Error("the near end:", err)
			}
			if err := <-served; err != nil {
				t.Error("the far end:", err)
			}
			if p := l.port("lan1"); p.RxBytes < 2<<20 || p.TxBytes < 2<<20 {
				t.Errorf("fewer octets are counted than were carried: %+v", p)
			}
		})
	}
}

// swap sends data and expects the same.
func swap(c net.Conn, data []byte) error {
	c.SetDeadline(time.Now().Add(60 * time.Second))
	sent := make(chan error, 1)
	go func() { _, err := c.Write(data); sent <- err }()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, data) {
		return fmt.Errorf("the stream is not what was sent")
	}
	return <-sent
}

func TestTracerouteSeesTheRouter(t *testing.T) {
	l := run(t, twoHosts(), two)
	var hops []string
	err := l.host("lan1").Traceroute(t.Context(), api.TracerouteRequest{Address: "10.2.0.2", MaxHops: 5, Probes: 1, Timeout: 5 * time.Second},
		func(h api.TracerouteHop) { hops = append(hops, h.Probes[0].From) })
	if err != nil || strings.Join(hops, " ") != "10.1.0.1 10.2.0.2" {
		t.Fatalf("%v, %v", hops, err)
	}
}

func TestTheRouterItselfPingsAndTraces(t *testing.T) {
	l := run(t, twoHosts(), two)
	var result string
	if err := l.Ping(t.Context(), api.PingRequest{Address: "10.2.0.2", Count: 1, Size: 56, Timeout: 5 * time.Second, Interval: time.Second},
		func(p api.PingReply) { result = p.Result }); err != nil || result != "reply" {
		t.Errorf("%q, %v", result, err)
	}
	var hops []string
	if err := l.Traceroute(t.Context(), api.TracerouteRequest{Address: "10.1.0.2", MaxHops: 3, Probes: 1, Timeout: 5 * time.Second},
		func(h api.TracerouteHop) { hops = append(hops, h.Probes[0].From) }); err != nil || strings.Join(hops, " ") != "10.1.0.2" {
		t.Errorf("%v, %v", hops, err)
	}
}

const narrow = `name: r1
ports:
  lan1: {address: 10.1.0.1/24}
  lan2: {address: 10.2.0.1/24, mtu: 600}
icmp: {rate: 0, per_destination: 0}
`

func narrowHosts() *wires {
	w := twoHosts()
	o := w.hosts["lan2"]
	o.MTU = 600
	w.hosts["lan2"] = o
	return w
}

func TestAPacketTooBigIsReturnedWithTheMTU(t *testing.T) {
	l := run(t, narrowHosts(), narrow)
	a := l.host("lan1")
	var said string
	if err := a.Ping(t.Context(), api.PingRequest{Address: "10.2.0.2", Count: 1, Size: 1000, DF: true, Timeout: 5 * time.Second},
		func(p api.PingReply) { said = p.Result }); err != nil || !strings.Contains(said, "fragmentation needed") || !strings.Contains(said, "600") {
		t.Errorf("%q, %v", said, err)
	}
	if n := l.dropped("fragmentation_needed"); n != 1 {
		t.Errorf("%d drops", n)
	}
}

func TestTCPFindsThePathMTU(t *testing.T) {
	l := run(t, narrowHosts(), narrow)
	listener, err := l.host("lan2").ListenTCP(7)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	data := pattern(200 << 10)
	served := make(chan error, 1)
	go func() {
		c, err := listener.Accept()
		if err == nil {
			defer c.Close()
			err = swap(c, data)
		}
		served <- err
	}()
	c, err := l.host("lan1").DialTCP(t.Context(), netip.MustParseAddrPort("10.2.0.2:7"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := swap(c, data); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestABigDatagramIsFragmentedAndArrivesWhole(t *testing.T) {
	l := run(t, narrowHosts(), narrow)
	a := l.host("lan1")
	to, err := l.host("lan2").ListenUDP(0x8001)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	l.pings(a, "10.2.0.2")
	data := pattern(1400)
	ip := append(probe(a, "10.2.0.2", 64)[:28], data...)
	packet.IPv4(ip).SetTotalLen(len(ip))
	binary.BigEndian.PutUint16(ip[24:], uint16(8+len(data)))
	packet.IPv4(ip).SetID(77)
	packet.IPv4(ip).UpdateHeaderChecksum()
	a.SendPacket(ip)
	got := make([]byte, 10000)
	to.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, _, err := to.ReadFrom(got)
	if err != nil || !bytes.Equal(got[:n], data) {
		t.Fatalf("%d octets, %v", n, err)
	}
	if made := l.counter("fragments_made"); made != 3 {
		t.Errorf("%d fragments are counted, expected 3 of at most 600 octets", made)
	}
	// Fragments are cut again, and the answer's fragments go through as they are.
	if p, err := a.PingOnce(t.Context(), l.host("lan2").Address(), 9000, 10*time.Second); err != nil || p.Result != "reply" || p.Bytes != 9008 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestAHostThatDoesNotAnswerIsUnreachable(t *testing.T) {
	l := run(t, twoHosts(), two)
	l.quick(fast)
	l.pingSays(l.host("lan1"), "10.2.0.77", "host unreachable", 10*time.Second)
	if s := l.neighborState("lan2", "10.2.0.77"); s != "failed" {
		t.Errorf("the neighbour is %q", s)
	}
	if n := l.dropped("neighbor_unreachable"); n != 1 {
		t.Errorf("%d drops", n)
	}
}

func TestICMPErrorsAreLimited(t *testing.T) {
	l := run(t, twoHosts(), strings.Replace(two, "icmp: {rate: 0, per_destination: 0}", "icmp: {rate: 1000, per_destination: 5}", 1))
	a := l.host("lan1")
	l.pings(a, "10.1.0.1")
	begun := time.Now()
	for range 300 {
		a.SendPacket(probe(a, "10.99.0.1", 64)) // there is no such route
	}
	eventually(t, "all are dropped", func() bool { return l.dropped("no_route") == 300 })
	eventually(t, "all are served", func() bool {
		return l.counter("icmp_errors_sent")+l.counter("icmp_errors_limited")+l.dropped("punt_queue") == 300
	})
	most := 5 * (1 + uint64(time.Since(begun)/time.Second) + 1)
	if sent := l.counter("icmp_errors_sent"); sent == 0 || sent > most {
		t.Errorf("%d errors were sent, expected 1 to %d", sent, most)
	}
	l.pings(a, "10.2.0.2")
}

// probe is a UDP packet to an address.
func probe(from *simhost.Host, to string, ttl uint8) []byte {
	ip := packet.IPv4(make([]byte, 28+16))
	ip[0] = 0x45
	ip.SetTotalLen(len(ip))
	ip[8], ip[9] = ttl, 17
	ip.SetSrc(packet.AddrFrom(from.Address()))
	ip.SetDst(packet.AddrFrom(netip.MustParseAddr(to)))
	copy(ip[20:], []byte{0x80, 0, 0x80, 1, 0, 24, 0, 0})
	ip.UpdateHeaderChecksum()
	return ip
}

func TestAHostIsToldOfABetterFirstHop(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two+"routes: [{to: 10.50.0.0/16, via: 10.1.0.9}]\nneighbors: [{port: lan1, address: 10.1.0.9, mac: 02:00:00:00:00:09}]\n")
	a := l.host("lan1")
	l.pings(a, "10.1.0.1")
	redirects := make(chan packet.Addr, 16)
	a.OnFrame(func(f []byte) bool {
		ip := packet.IPv4(f[packet.EthernetLen:])
		if packet.Ethernet(f).Type() == packet.EtherTypeIPv4 && ip[9] == 1 && ip[20] == 5 && ip[21] == 1 {
			redirects <- packet.Addr(uint32(ip[24])<<24 | uint32(ip[25])<<16 | uint32(ip[26])<<8 | uint32(ip[27]))
		}
		return false
	})
	a.SendPacket(probe(a, "10.50.0.1", 64))
	select {
	case gateway := <-redirects:
		if gateway.String() != "10.1.0.9" {
			t.Errorf("redirected to %v", gateway)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no redirect")
	}
	eventually(t, "the packet went on all the same", func() bool { return l.port("lan1").TxPackets >= 3 })
}

func TestProxyARPAnswersForANetworkBehindTheRouter(t *testing.T) {
	w := twoHosts()
	w.hosts["lan1"] = host(1, "10.1.0.2/8", "") // takes everything for its own network
	l := run(t, w, strings.Replace(two, "lan1: {", "lan1: {proxy_arp: [10.2.0.0/24], ", 1))
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	mac, ok := a.Neighbor(packet.AddrFrom(netip.MustParseAddr("10.2.0.2")))
	if !ok || mac.String() != l.port("lan1").MAC {
		t.Errorf("10.2.0.2 is at %v, %v", mac, ok)
	}
}

func TestTrafficNeverStuttersWhileANeighborIsConfirmed(t *testing.T) {
	l := run(t, twoHosts(), two)
	l.quick(fast)
	a, b := l.host("lan1"), l.host("lan2")
	l.pings(a, "10.2.0.2")
	got := make(chan struct{}, 1<<16)
	b.OnFrame(func(f []byte) bool {
		if packet.Ethernet(f).Type() == packet.EtherTypeIPv4 && f[packet.EthernetLen+9] == 17 {
			got <- struct{}{}
			return true
		}
		return false
	})
	past, events := l.Events(t.Context())
	_ = past
	seen := map[string]int{}
	sent, received := 0, 0
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for seen["probe -> reachable"] < 3 || seen["reachable -> stale"] < 3 {
		select {
		case <-tick.C:
			a.SendPacket(probe(a, "10.2.0.2", 64))
			sent++
		case <-got:
			received++
		case e := <-events:
			if e.Kind == "neighbor_changed" && e.Fields["address"] == "10.2.0.2" {
				seen[e.Fields["old"]+" -> "+e.Fields["new"]]++
			}
		case <-deadline:
			t.Fatalf("the neighbour did not go through its states: %v", seen)
		}
	}
	eventually(t, fmt.Sprintf("all of %d packets arrive", sent), func() bool { return received+len(got) == sent })
	if n := l.counter("punt_resolve"); n > 2 {
		t.Errorf("%d packets had to wait for ARP, expected those of the first ping alone", n)
	}
}

func TestAnIdleNeighborIsNotAskedForUntilItIsUsed(t *testing.T) {
	l := run(t, twoHosts(), two)
	l.quick(fast)
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	eventually(t, "both are stale", func() bool {
		return l.neighborState("lan1", "10.1.0.2") == "stale" && l.neighborState("lan2", "10.2.0.2") == "stale"
	})
	used := l.counter("punt_used")
	l.pings(a, "10.2.0.2")
	if l.counter("punt_used") != used+2 {
		t.Errorf("a ping and its answer use two neighbours: %d notices", l.counter("punt_used")-used)
	}
	eventually(t, "the used one is confirmed", func() bool { return l.neighborState("lan2", "10.2.0.2") == "reachable" })
}

func TestPortEventsMoveRoutesAndTraffic(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two+"routes: [{to: 10.8.0.0/16, via: 10.2.0.2}]\n")
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	w.tell("lan2", port.State{Word: "down", Reason: "someone set it down"})
	eventually(t, "the port is down", func() bool {
		p := l.port("lan2")
		return !p.Up && p.State == "down" && p.Reason == "someone set it down"
	})
	if s := l.Status(); s.Ready || s.PortsUp != 1 {
		t.Errorf("%+v", s)
	}
	l.pingSays(a, "10.2.0.2", "unreachable", 5*time.Second)
	l.pingSays(a, "10.8.0.2", "unreachable", 5*time.Second)
	l.pings(a, "10.2.0.1") // the address stays
	if len(l.neighborState("lan2", "10.2.0.2")) != 0 {
		t.Error("a neighbour outlived its link")
	}
	w.tell("lan2", port.State{Up: true, Word: "up"})
	eventually(t, "the port is up", func() bool { return l.port("lan2").Up })
	l.pings(a, "10.2.0.2")
	if got, _ := l.Route("10.8.0.1"); got.Prefix != "10.8.0.0/16" {
		t.Errorf("the route through it is not back: %+v", got)
	}
}

func TestAMissingPortIsOpenedAgain(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two)
	before := l.host("lan2")
	l.pings(l.host("lan1"), "10.2.0.2")
	tx := l.port("lan2").TxPackets
	var there bool
	w.set(func() {
		w.refuse = func(s port.Spec) error {
			if !there {
				return fmt.Errorf("gone: %w", port.ErrNamespaceMissing)
			}
			return nil
		}
	})
	w.tell("lan2", port.State{Word: "missing", Reason: "network namespace h2 was deleted"})
	eventually(t, "the port is missing", func() bool { return l.port("lan2").State == "missing" })
	if w.end("lan2") != nil {
		t.Error("the device was not closed")
	}
	eventually(t, "it was tried in vain", func() bool { return strings.Contains(l.port("lan2").Reason, "gone") })
	w.set(func() { there = true })
	eventually(t, "it is back", func() bool { return l.port("lan2").Up })
	if l.host("lan2") == before {
		t.Error("it is the same device")
	}
	l.pings(l.host("lan1"), "10.2.0.2")
	if now := l.port("lan2").TxPackets; now <= tx {
		t.Errorf("the counters began anew: %d after %d", now, tx)
	}
}

func TestADeviceThatEndsIsReplaced(t *testing.T) {
	w := twoHosts()
	l := run(t, w, two)
	l.pings(l.host("lan1"), "10.2.0.2")
	before := l.host("lan2")
	before.Close() // the descriptor reads end of file
	eventually(t, "the port has another device", func() bool {
		e := w.end("lan2")
		return e != nil && e.host != before && l.port("lan2").Up
	})
	l.pings(l.host("lan1"), "10.2.0.2")
}

func TestEqualRoutesShareTheFlows(t *testing.T) {
	w := twoHosts()
	w.hosts["lan3"] = host(3, "10.3.0.2/24", "10.3.0.1")
	l := run(t, w, strings.Replace(two, "ports:\n", "ports:\n  lan3: {address: 10.3.0.1/24}\n", 1)+
		"routes: [{to: 10.60.0.0/16, via: [10.2.0.2, 10.3.0.2]}]\n")
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	l.pings(a, "10.3.0.2")
	two, three := l.port("lan2").TxPackets, l.port("lan3").TxPackets
	for i := range 400 {
		a.SendPacket(probe(a, fmt.Sprintf("10.60.%d.%d", i/200, i%200+1), 64))
	}
	eventually(t, "all are forwarded", func() bool {
		return l.port("lan2").TxPackets+l.port("lan3").TxPackets >= two+three+400
	})
	if n, m := l.port("lan2").TxPackets-two, l.port("lan3").TxPackets-three; n < 100 || m < 100 {
		t.Errorf("shared %d to %d", n, m)
	}
	if got, _ := l.Route("10.60.1.1"); len(got.NextHops) != 2 || got.Action != "forward" {
		t.Errorf("%+v", got)
	}
}

func TestARouteMayLeadThroughAnother(t *testing.T) {
	l := run(t, twoHosts(), two+"routes: [{to: 10.70.0.0/16, via: 10.2.0.2}, {to: 10.80.0.0/16, via: 10.70.0.1}]\n")
	got, err := l.Route("10.80.1.1")
	if err != nil || len(got.NextHops) != 1 || got.NextHops[0] != "10.2.0.2" || got.Ports[0] != "lan2" {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := l.DeleteRoute(tester, api.RouteSpec{To: "10.70.0.0/16"}); err != nil {
		expectError(t, err, api.Usage) // a route through nowhere is no configuration
		return
	}
	if got, _ := l.Route("10.80.1.1"); got.Action != "none" {
		t.Errorf("it leads nowhere, but: %+v", got)
	}
}

func TestThousandsOfRoutes(t *testing.T) {
	var b strings.Builder
	b.WriteString(two + "routes:\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "- {to: 20.%d.%d.0/24, via: 10.2.0.2}\n", i/250, i%250)
	}
	l := run(t, twoHosts(), b.String())
	if s := l.Status(); s.Routes != 5002 || s.FIBRoutes < 5002 {
		t.Errorf("%+v", s)
	}
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	before := l.port("lan2").TxPackets
	for i := range 200 {
		a.SendPacket(probe(a, fmt.Sprintf("20.%d.%d.7", i/10, i%250), 64))
	}
	eventually(t, "all are forwarded", func() bool { return l.port("lan2").TxPackets >= before+200 })
	adjacencies := 0
	l.do(func() { adjacencies = len(l.fwd.index) })
	l.apply(two)
	if s := l.Status(); s.Routes != 2 {
		t.Errorf("%d routes are left", s.Routes)
	}
	if adjacencies > 32 {
		t.Errorf("%d adjacencies for one next hop", adjacencies)
	}
}

func TestCountersAgreeWithWhatWasSent(t *testing.T) {
	l := run(t, twoHosts(), two+"routes: [{to: 10.66.0.0/16, type: blackhole}, {to: 10.67.0.0/16, type: prohibit}]\n")
	a := l.host("lan1")
	l.pings(a, "10.2.0.2")
	rx, tx := l.port("lan1").RxPackets, l.port("lan2").TxPackets
	const n = 50
	for range n {
		a.SendPacket(probe(a, "10.2.0.2", 64))
		a.SendPacket(probe(a, "10.66.0.1", 64))
		a.SendPacket(probe(a, "10.67.0.1", 64))
		a.SendPacket(probe(a, "10.2.0.2", 1))
	}
	eventually(t, "all have come", func() bool { return l.port("lan1").RxPackets >= rx+4*n && l.dropped("ttl_exceeded") == n })
	for reason, want := range map[string]uint64{"blackhole": n, "prohibit": n, "ttl_exceeded": n, "no_route": 0} {
		if got := l.dropped(reason); got != want {
			t.Errorf("%s: expected %d, got %d", reason, want, got)
		}
	}
	eventually(t, "the rest has gone on", func() bool { return l.port("lan2").TxPackets >= tx+n })
	metrics := l.Metrics()
	for _, line := range []string{
		fmt.Sprintf(`vrouterd_drops_total{reason="blackhole"} %d`, n),
		fmt.Sprintf(`vrouterd_drops_total{reason="ttl_exceeded"} %d`, n),
		`vrouterd_port_up{port="lan1"} 1`, "vrouterd_routes 4", "vrouterd_ready 1",
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %q in the metrics", line)
		}
	}
	var sum uint64
	for _, d := range l.Drops() {
		sum += d.Packets
	}
	if s := l.Status(); s.Drops > sum {
		t.Errorf("the status says %d drops, the table %d", s.Drops, sum)
	}
}

func TestANumberIsNotReusedWhileAWorkerHoldsIt(t *testing.T) {
	l := run(t, twoHosts(), two)
	for i := range 200 {
		spec := api.RouteSpec{To: "10.9.0.0/16", Via: []string{fmt.Sprintf("10.2.0.%d", i%200+3)}}
		if err := l.AddRoute(tester, spec); err != nil {
			t.Fatal(err)
		}
		if err := l.DeleteRoute(tester, spec); err != nil {
			t.Fatal(err)
		}
	}
	l.do(func() {
		live := map[adjacencyKey]bool{}
		for v, e := range l.fwd.entries {
			if e.refs < 0 {
				t.Errorf("adjacency %d has %d references", v, e.refs)
			}
			if e.refs > 0 && live[e.key] {
				t.Errorf("two numbers for %+v", e.key)
			}
			live[e.key] = e.refs > 0
		}
		if n := len(l.fwd.entries); n > 64 {
			t.Errorf("200 changes, one at a time, left %d numbers", n)
		}
	})
}

func TestTheRouterSaysWhetherItIsAlive(t *testing.T) {
	l := run(t, twoHosts(), two)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if !l.Alive(ctx) {
		t.Error("a router at work is not alive")
	}
	hold := make(chan struct{})
	go l.do(func() { <-hold })
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	eventually(t, "a loop that hangs is not alive", func() bool { return !l.Alive(short) })
	close(hold)
	if !l.Alive(ctx) {
		t.Error("it came back, and is not alive")
	}
	l.stop()
	if l.Alive(ctx) {
		t.Error("a stopped router is alive")
	}
	if _, err := l.ConfigApply(tester, two, 0); err == nil {
		t.Error("a stopped router takes a configuration")
	}
}
