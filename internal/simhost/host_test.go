package simhost

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	macA = packet.MAC{2, 0, 0, 0, 0, 1}
	macB = packet.MAC{2, 0, 0, 0, 0, 2}
	ipA  = netip.MustParsePrefix("10.0.0.1/24")
	ipB  = netip.MustParsePrefix("10.0.0.2/24")
)

// pair is two hosts on one wire.
func pair(t *testing.T, o Options) (a, b *Host) {
	t.Helper()
	x, y, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	o.MAC, o.Address = macA, ipA
	if a, err = New(x, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	o.MAC, o.Address = macB, ipB
	if b, err = New(y, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return a, b
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestHostsOnOneWireReachEachOther(t *testing.T) {
	for _, o := range []Options{{}, {VnetHdr: true}, {TUN: true}, {TUN: true, VnetHdr: true}, {MTU: 600}} {
		t.Run(fmt.Sprintf("vnet=%v tun=%v mtu=%d", o.VnetHdr, o.TUN, o.MTU), func(t *testing.T) {
			a, b := pair(t, o)
			for _, size := range []int{0, 56, 5000, 65507} {
				p, err := a.PingOnce(t.Context(), b.Address(), size, 10*time.Second)
				if err != nil || p.Result != "reply" || p.Bytes != size+8 {
					t.Fatalf("a ping with %d octets gives %+v, %v", size, p, err)
				}
			}
			talk(t, a, b)
		})
	}
}

// talk sends a megabyte over TCP and back.
func talk(t *testing.T, a, b *Host) {
	t.Helper()
	l, err := b.ListenTCP(80)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	echoed := make(chan struct{})
	go func() {
		defer close(echoed)
		if c, err := l.Accept(); err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := a.DialTCP(ctx, netip.AddrPortFrom(b.Address(), 80))
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go c.Write(data)
	got := make([]byte, len(data))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what came back differs: %v", err)
	}
	c.Close()
	<-echoed
}

func TestAnUnansweredNeighbourLosesItsPacketsInTheEnd(t *testing.T) {
	a, _ := pair(t, Options{})
	p, err := a.PingOnce(t.Context(), netip.MustParseAddr("10.0.0.77"), 0, time.Millisecond)
	if err != nil || p.Result != "timeout" {
		t.Fatalf("the ping gives %+v, %v", p, err)
	}
	eventually(t, "the packet is given up", func() bool { return a.Stats().Unresolved == 1 })
}

func TestWithoutAGatewayOtherNetworksAreOutOfReach(t *testing.T) {
	a, _ := pair(t, Options{})
	a.SendPacket(udp(ipA.Addr(), netip.MustParseAddr("172.16.0.1"), []byte("x")))
	if s := a.Stats(); s.NoRoute != 1 || s.Sent != 0 {
		t.Errorf("the counters are %+v", s)
	}
}

func TestPacketsToOtherNetworksGoToTheGateway(t *testing.T) {
	a, b := pair(t, Options{Gateway: ipB.Addr()})
	seen := make(chan []byte, 1)
	b.OnFrame(func(f []byte) bool {
		if packet.Ethernet(f).Type() != packet.EtherTypeIPv4 {
			return false
		}
		seen <- bytes.Clone(f)
		return true
	})
	a.SendPacket(udp(ipA.Addr(), netip.MustParseAddr("172.16.0.1"), []byte("x")))
	if f := packet.Ethernet(<-seen); f.Dst() != macB || f.Src() != macA {
		t.Errorf("the frame went to %v from %v", f.Dst(), f.Src())
	}
	if m, ok := a.Neighbor(packet.AddrFrom(ipB.Addr())); !ok || m != macB {
		t.Errorf("the gateway's MAC is %v", m)
	}
	eventually(t, "the hook took the frame", func() bool { return b.Stats().Taken == 1 })
}

func TestFramesForOthersAreNotTaken(t *testing.T) {
	a, b := pair(t, Options{})
	f := packet.Ethernet(a.frame(packet.MAC{2, 9, 9, 9, 9, 9}, packet.EtherTypeIPv4, make([]byte, 40)))
	if err := a.SendFrame(f); err != nil {
		t.Fatal(err)
	}
	if err := a.SendFrame(f[:9]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both frames are counted", func() bool { s := b.Stats(); return s.OtherHost == 1 && s.Malformed == 1 })
}

func udp(src, dst netip.Addr, data []byte) packet.IPv4 {
	p := packet.IPv4(make([]byte, 28, 28+len(data)))
	p[0] = 0x45
	p.SetTotalLen(28 + len(data))
	p.SetTTL(64)
	p.SetProtocol(packet.ProtoUDP)
	p.SetSrc(packet.AddrFrom(src))
	p.SetDst(packet.AddrFrom(dst))
	p.UpdateHeaderChecksum()
	p = append(p, data...)
	u := packet.UDP(p.Payload())
	u.SetSrcPort(4000)
	u.SetDstPort(5000)
	u.SetLength(len(u))
	// As the kernel leaves it with offload: the pseudo-header's sum, to be completed.
	u.SetChecksum(packet.Fold(packet.PseudoHeaderSum(p.Src(), p.Dst(), packet.ProtoUDP, len(u))))
	return p
}

func TestPartialChecksumsAndSuperFramesAreTaken(t *testing.T) {
	a, b := pair(t, Options{VnetHdr: true})
	l, err := b.ListenUDP(5000)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	data := bytes.Repeat([]byte("0123456789"), 250)
	partial := packet.Vnet{Flags: packet.VnetNeedsChecksum, ChecksumAt: 34, ChecksumOff: 6}
	super := partial
	super.GSOType, super.GSOSize, super.HeaderLen = packet.GSOUDPL4, 1000, 42
	for _, c := range []struct {
		v    packet.Vnet
		data []byte
		want []int
	}{{partial, data[:1000], []int{1000}}, {super, data, []int{1000, 1000, 500}}} {
		f := a.frame(macB, packet.EtherTypeIPv4, udp(ipA.Addr(), ipB.Addr(), c.data))
		if err := a.SendSuper(c.v, f); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.want {
			buf := make([]byte, 4000)
			l.SetDeadline(time.Now().Add(10 * time.Second))
			if n, _, err := l.ReadFrom(buf); err != nil || n != want {
				t.Fatalf("a datagram of %d octets, %v; want %d", n, err, want)
			}
		}
	}
	if s := b.Stats(); s.SuperFrames != 1 {
		t.Errorf("%d super-frames, want 1", s.SuperFrames)
	}
}

func TestAnAnnouncementUpdatesTheNeighbour(t *testing.T) {
	a, b := pair(t, Options{})
	if _, err := a.PingOnce(t.Context(), b.Address(), 0, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	a.SetNeighbor(packet.AddrFrom(b.Address()), packet.MAC{2, 7, 7, 7, 7, 7})
	b.Announce()
	eventually(t, "the announced MAC is known", func() bool {
		m, _ := a.Neighbor(packet.AddrFrom(b.Address()))
		return m == macB
	})
}

func TestTracerouteToANeighbourIsOneHop(t *testing.T) {
	a, b := pair(t, Options{})
	var hops []api.TracerouteHop
	err := a.Traceroute(t.Context(), api.TracerouteRequest{Address: b.Address().String(), Timeout: 10 * time.Second}, func(h api.TracerouteHop) { hops = append(hops, h) })
	if err != nil || len(hops) != 1 || !hops[0].Done || hops[0].Probes[2].From != "10.0.0.2" {
		t.Errorf("the hops are %+v, %v", hops, err)
	}
}
