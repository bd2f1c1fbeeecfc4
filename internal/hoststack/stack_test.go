package hoststack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	here  = netip.MustParseAddr("10.0.0.1")
	there = netip.MustParseAddr("10.0.0.2")
)

// wire is a stack whose output goes to a function.
func wire(t *testing.T, mtu int, output func(ip []byte)) *Stack {
	t.Helper()
	s, err := New(Options{MTU: mtu, Output: output})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.SetAddresses([]netip.Prefix{netip.PrefixFrom(here, 24)})
	return s
}

// pair is two stacks on one wire, at here and there.
func pair(t *testing.T) (a, b *Stack) {
	t.Helper()
	ready := make(chan struct{})
	a = wire(t, 1500, func(ip []byte) { <-ready; b.Deliver(ip) })
	b = wire(t, 1500, func(ip []byte) { a.Deliver(ip) })
	b.SetAddresses([]netip.Prefix{netip.PrefixFrom(there, 24)})
	close(ready)
	return a, b
}

// sink collects output.
type sink struct{ packets chan packet.IPv4 }

func newSink() sink { return sink{make(chan packet.IPv4, 100)} }

func (s sink) put(ip []byte) { s.packets <- bytes.Clone(ip) }

func (s sink) next(t *testing.T) packet.IPv4 {
	t.Helper()
	select {
	case p := <-s.packets:
		if f := p.Validate(); f != packet.HeaderGood {
			t.Fatalf("the header is bad: fault %d", f)
		}
		return p
	case <-time.After(5 * time.Second):
		t.Fatal("nothing was sent within 5 s")
		return nil
	}
}

// ipv4Packet builds a packet.
func ipv4Packet(src, dst string, protocol uint8, body []byte) packet.IPv4 {
	p := packet.IPv4(make([]byte, 20, 20+len(body)))
	p[0] = 0x45
	p.SetTotalLen(20 + len(body))
	p.SetTTL(64)
	p.SetProtocol(protocol)
	p.SetSrc(packet.AddrFrom(netip.MustParseAddr(src)))
	p.SetDst(packet.AddrFrom(netip.MustParseAddr(dst)))
	p.UpdateHeaderChecksum()
	return append(p, body...)
}

// icmpError quotes 28 octets of a packet.
func icmpError(from string, kind, code uint8, rest uint32, about packet.IPv4) packet.IPv4 {
	m := append(make([]byte, 8), about[:min(28, len(about))]...)
	packet.ICMP(m).SetType(kind)
	packet.ICMP(m).SetCode(code)
	packet.ICMP(m).SetRest(rest)
	packet.ICMP(m).SetChecksum(packet.Checksum(m))
	return ipv4Packet(from, about.Src().String(), packet.ProtoICMP, m)
}

func TestEchoIsAnsweredOnOwnAddresses(t *testing.T) {
	out := newSink()
	s := wire(t, 1500, out.put)
	s.Deliver(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoICMP, echo(7, 3, 100)))
	p := out.next(t)
	if m := packet.ICMP(p.Payload()); m.Type() != packet.ICMPEchoReply || m.Rest() != 7<<16|3 || len(m) != 108 ||
		p.Dst().String() != "10.0.0.9" || p.Src().String() != "10.0.0.1" {
		t.Errorf("the answer is %x", p)
	}
}

func TestALargeEchoIsAnsweredInFragments(t *testing.T) {
	out := newSink()
	s := wire(t, 1500, out.put)
	s.Deliver(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoICMP, echo(7, 3, 4000)))
	total := 0
	for last := false; !last; {
		p := out.next(t)
		if len(p) > 1500 {
			t.Errorf("a fragment of %d octets does not fit the mtu", len(p))
		}
		total += len(p.Payload())
		last = !p.MoreFragments()
	}
	if total != 4008 {
		t.Errorf("the fragments carry %d octets, want 4008", total)
	}
}

func TestClosedPortsAndUnknownProtocolsAreRefused(t *testing.T) {
	out := newSink()
	s := wire(t, 1500, out.put)
	src, dst := packet.AddrFrom(netip.MustParseAddr("10.0.0.9")), packet.AddrFrom(here)
	s.Deliver(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoUDP, datagram(src, dst, 4000, 53, 10)))
	if p := out.next(t); p.Protocol() != packet.ProtoICMP || p.Payload()[0] != packet.ICMPUnreachable || p.Payload()[1] != packet.ICMPPortUnreachable {
		t.Errorf("a closed udp port answers %x, want port unreachable", p)
	}
	s.Deliver(ipv4Packet("10.0.0.9", "10.0.0.1", 253, []byte("experimental")))
	if p := out.next(t); p.Payload()[0] != packet.ICMPUnreachable || p.Payload()[1] != packet.ICMPProtoUnreach {
		t.Errorf("an unknown protocol answers %x, want protocol unreachable", p)
	}
	syn := packet.TCP(make([]byte, 20))
	syn[1], syn[3], syn[12] = 9, 80, 5<<4
	syn.SetFlags(packet.TCPSyn)
	syn.SetChecksum(^packet.Fold(packet.Sum(syn, packet.PseudoHeaderSum(src, dst, packet.ProtoTCP, 20))))
	s.Deliver(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoTCP, syn))
	if p := out.next(t); p.Protocol() != packet.ProtoTCP || packet.TCP(p.Payload()).Flags()&packet.TCPRst == 0 {
		t.Errorf("a closed tcp port answers %x, want a reset", p)
	}
}

func TestNothingAnswersBroadcastsMulticastsAndStrangers(t *testing.T) {
	out := newSink()
	s := wire(t, 1500, out.put)
	src := packet.AddrFrom(netip.MustParseAddr("10.0.0.9"))
	for _, dst := range []string{"10.0.0.255", "255.255.255.255", "224.0.0.1", "224.0.0.9", "10.0.0.77"} {
		s.Deliver(ipv4Packet("10.0.0.9", dst, packet.ProtoICMP, echo(7, 3, 10)))
		s.Deliver(ipv4Packet("10.0.0.9", dst, packet.ProtoUDP, datagram(src, packet.AddrFrom(netip.MustParseAddr(dst)), 4000, 53, 10)))
		s.Deliver(ipv4Packet("10.0.0.9", dst, 253, nil))
	}
	for _, src := range []string{"10.0.0.255", "224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1"} {
		s.Deliver(ipv4Packet(src, "10.0.0.1", packet.ProtoICMP, echo(7, 3, 10)))
	}
	s.Deliver([]byte("not a packet"))
	// The one that is answered comes first, since all are handled in order.
	s.Deliver(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoICMP, echo(99, 1, 0)))
	if p := out.next(t); p.Payload()[0] != packet.ICMPEchoReply || p.Payload()[5] != 99 {
		t.Errorf("%x was sent", p)
	}
	if st := s.Stats(); st.BadSource != 5 || st.GroupEcho != 5 || st.Malformed != 1 {
		t.Errorf("the counters are %+v", st)
	}
}

func TestAddressesComeAndGoWhileConnectionsOnOthersLive(t *testing.T) {
	a, b := pair(t)
	l, err := b.ListenTCP(netip.AddrPortFrom(there, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			io.Copy(c, c)
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := a.DialTCP(ctx, here, netip.AddrPortFrom(there, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	talk := func() {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 5)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
			t.Fatalf("the echo is %q, %v", buf, err)
		}
	}
	talk()
	extra := netip.MustParsePrefix("10.5.0.1/24")
	b.SetAddresses([]netip.Prefix{netip.PrefixFrom(there, 24), extra})
	talk()
	if got := pings(t, a, api.PingRequest{Address: "10.5.0.1", Count: 1}); got[0].Result != "reply" {
		t.Errorf("the new address answers %q", got[0].Result)
	}
	b.SetAddresses([]netip.Prefix{netip.PrefixFrom(there, 24)})
	talk()
	if got := pings(t, a, api.PingRequest{Address: "10.5.0.1", Count: 1, Timeout: 20 * time.Millisecond}); got[0].Result != "timeout" {
		t.Errorf("the removed address answers %q", got[0].Result)
	}
}

func TestDatagramsReachAListener(t *testing.T) {
	a, b := pair(t)
	l, err := b.ListenUDP(netip.AddrPortFrom(netip.Addr{}, 53))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := a.DialUDP(netip.AddrPort{}, netip.AddrPortFrom(there, 53))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	l.SetDeadline(time.Now().Add(5 * time.Second))
	n, from, err := l.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "question" || !strings.HasPrefix(from.String(), "10.0.0.1:") {
		t.Errorf("it received %q from %v, %v", buf[:n], from, err)
	}
}

func TestImpossibleOptionsAreRefused(t *testing.T) {
	for _, o := range []Options{{}, {MTU: 67, Output: func([]byte) {}}, {MTU: 70000, Output: func([]byte) {}}} {
		if s, err := New(o); err == nil {
			s.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := New(Options{Output: func([]byte) {}})
		if err != nil {
			b.Fatal(err)
		}
		s.SetAddresses([]netip.Prefix{netip.PrefixFrom(here, 24)})
		s.Close()
	}
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for l := range strings.Lines(string(status)) {
			if strings.HasPrefix(l, "VmRSS") {
				fmt.Fprint(os.Stderr, l)
			}
		}
	}
}
