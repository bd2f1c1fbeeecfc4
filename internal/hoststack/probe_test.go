package hoststack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

func pings(t *testing.T, s *Stack, r api.PingRequest) []api.PingReply {
	t.Helper()
	if r.Interval == 0 {
		r.Interval = time.Millisecond
	}
	if r.Timeout == 0 {
		r.Timeout = 5 * time.Second
	}
	var out []api.PingReply
	if err := s.Ping(t.Context(), r, here, func(p api.PingReply) { out = append(out, p) }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPingTellsTheFateOfEachProbe(t *testing.T) {
	a, _ := pair(t)
	got := pings(t, a, api.PingRequest{Address: "10.0.0.2", Count: 3, Size: 56})
	if len(got) != 3 {
		t.Fatalf("%d replies, want 3", len(got))
	}
	for i, p := range got {
		if p.Sequence != i+1 || p.From != "10.0.0.2" || p.Bytes != 64 || p.TTL != 64 || p.Result != "reply" || p.RTTSeconds <= 0 {
			t.Errorf("reply %d is %+v", i, p)
		}
	}
}

func TestThePingedAddressMayBeOurOwn(t *testing.T) {
	s := wire(t, 1500, func(ip []byte) { t.Errorf("%x left the router", ip) })
	if got := pings(t, s, api.PingRequest{Address: "10.0.0.1", Count: 1}); got[0].Result != "reply" {
		t.Errorf("the result is %q", got[0].Result)
	}
}

// The probe carries what was asked for, and an error about it is told in words.
func TestICMPErrorsAreToldInWords(t *testing.T) {
	for _, c := range []struct {
		kind, code uint8
		rest       uint32
		want       string
	}{
		{3, 0, 0, "network unreachable"},
		{3, 1, 0, "host unreachable"},
		{3, 4, 1280, "fragmentation needed, mtu 1280"},
		{3, 10, 0, "host administratively prohibited"},
		{3, 13, 0, "administratively prohibited"},
		{3, 77, 0, "unreachable, code 77"},
		{11, 0, 0, "time to live exceeded"},
		{11, 1, 0, "fragment reassembly time exceeded"},
		{12, 0, 20 << 24, "parameter problem at octet 20"},
	} {
		var s *Stack
		ready := make(chan struct{})
		s = wire(t, 1500, func(ip []byte) {
			<-ready
			p := packet.IPv4(ip)
			if p.TTL() != 9 || !p.DontFragment() || len(p) != 20+8+100 {
				t.Errorf("the probe is %x", ip)
			}
			s.Deliver(icmpError("10.9.9.9", c.kind, c.code, c.rest, p))
		})
		close(ready)
		got := pings(t, s, api.PingRequest{Address: "172.16.0.1", Count: 1, TTL: 9, DF: true, Size: 100})
		if got[0].Result != c.want || got[0].From != "10.9.9.9" {
			t.Errorf("type %d code %d gives %+v, want %q", c.kind, c.code, got[0], c.want)
		}
	}
}

func TestErrorsAboutOtherPacketsAreNotTaken(t *testing.T) {
	var s *Stack
	ready := make(chan struct{})
	s = wire(t, 1500, func(ip []byte) {
		<-ready
		p := packet.IPv4(ip)
		other := append(packet.IPv4(nil), p...)
		other.SetDst(packet.AddrFrom(netip.MustParseAddr("172.16.0.2")))
		s.Deliver(icmpError("10.9.9.9", 3, 1, 0, other)) // about another destination
		stranger := append(packet.IPv4(nil), p...)
		stranger[24] ^= 0xff
		s.Deliver(icmpError("10.9.9.9", 3, 1, 0, stranger)) // another identifier
		broken := icmpError("10.9.9.9", 3, 1, 0, p)
		broken[len(broken)-1] ^= 1
		s.Deliver(broken)                                     // bad checksum
		s.Deliver(icmpError("10.9.9.9", 3, 1, 0, p[:24]))     // too little quoted
		s.Deliver(icmpError("10.9.9.9", 5, 1, 0x0a090909, p)) // a redirect is no fate
	})
	close(ready)
	got := pings(t, s, api.PingRequest{Address: "172.16.0.1", Count: 2, Timeout: 30 * time.Millisecond})
	for _, p := range got {
		if p.Result != "timeout" || p.From != "" {
			t.Errorf("the fate is %+v, want a timeout", p)
		}
	}
}

func TestALargeProbeLeavesInFragments(t *testing.T) {
	out := newSink()
	s := wire(t, 1000, out.put)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- s.Ping(ctx, api.PingRequest{Address: "10.0.0.2", Count: 1, Size: 2500, Timeout: time.Minute}, here, func(api.PingReply) {})
	}()
	var body []byte
	for last := false; !last; {
		p := out.next(t)
		if len(p) > 1000 || p.FragmentOffset() != len(body) {
			t.Errorf("a fragment of %d octets at %d, want at most 1000 at %d", len(p), p.FragmentOffset(), len(body))
		}
		body = append(body, p.Payload()...)
		last = !p.MoreFragments()
	}
	if len(body) != 2508 || packet.Checksum(body) != 0 {
		t.Errorf("%d octets, want 2508 with a good checksum", len(body))
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

func TestAProbeThatMayNotBeFragmentedAndDoesNotFitIsNotSent(t *testing.T) {
	s := wire(t, 1000, func(ip []byte) { t.Error("it was sent") })
	if got := pings(t, s, api.PingRequest{Address: "10.0.0.2", Count: 1, Size: 1000, DF: true}); got[0].Result != "fragmentation needed, mtu 1000" {
		t.Errorf("the result is %q", got[0].Result)
	}
}

func TestManyPingsAtOnceKeepTheirAnswersApart(t *testing.T) {
	a, b := pair(t)
	b.SetAddresses([]netip.Prefix{netip.MustParsePrefix("10.0.0.2/24"), netip.MustParsePrefix("10.0.0.3/24")})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			to := fmt.Sprintf("10.0.0.%d", 2+i%2)
			n := 0
			err := a.Ping(t.Context(), api.PingRequest{Address: to, Count: 5, Interval: time.Millisecond, Timeout: 5 * time.Second}, here, func(p api.PingReply) {
				n++
				if p.From != to || p.Result != "reply" {
					t.Errorf("a ping of %s got %+v", to, p)
				}
			})
			if err != nil || n != 5 {
				t.Errorf("%d replies, %v", n, err)
			}
		})
	}
	wg.Wait()
	if n := len(a.probes.flows); n != 0 {
		t.Errorf("%d flows are left", n)
	}
}

// chain answers probes as routers 10.9.0.1, 10.9.0.2 … and the destination behind them would.
func chain(s **Stack, routers int, end func(p packet.IPv4) packet.IPv4) func([]byte) {
	return func(ip []byte) {
		p := packet.IPv4(ip)
		if hop := int(p.TTL()); hop <= routers {
			if hop != 2 { // the second is silent
				(*s).Deliver(icmpError(fmt.Sprintf("10.9.0.%d", hop), 11, 0, 0, p))
			}
			return
		}
		(*s).Deliver(end(p))
	}
}

func trace(t *testing.T, routers int, icmp bool, end func(p packet.IPv4) packet.IPv4) string {
	t.Helper()
	var s *Stack
	ready := make(chan struct{})
	f := chain(&s, routers, end)
	s = wire(t, 1500, func(ip []byte) { <-ready; f(ip) })
	close(ready)
	var b strings.Builder
	err := s.Traceroute(t.Context(), api.TracerouteRequest{Address: "172.16.0.1", MaxHops: 6, Timeout: 50 * time.Millisecond, ICMP: icmp}, here,
		func(h api.TracerouteHop) {
			fmt.Fprintf(&b, "%d", h.TTL)
			for _, p := range h.Probes {
				fmt.Fprintf(&b, " %s%s", p.From, p.Note)
				if p.From != "" && p.RTTSeconds <= 0 {
					t.Errorf("hop %d has no round trip time", h.TTL)
				}
			}
			fmt.Fprintf(&b, " %v\n", h.Done)
		})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTracerouteNamesEachHopAndStopsAtTheDestination(t *testing.T) {
	want := `1 10.9.0.1 10.9.0.1 10.9.0.1 false
2    false
3 10.9.0.3 10.9.0.3 10.9.0.3 false
4 172.16.0.1 172.16.0.1 172.16.0.1 true
`
	if got := trace(t, 3, false, func(p packet.IPv4) packet.IPv4 {
		return icmpError("172.16.0.1", 3, 3, 0, p)
	}); got != want {
		t.Errorf("with UDP it says\n%s\nwant\n%s", got, want)
	}
	if got := trace(t, 3, true, func(p packet.IPv4) packet.IPv4 {
		m := append([]byte(nil), p.Payload()...)
		packet.ICMP(m).SetType(packet.ICMPEchoReply)
		packet.ICMP(m).SetChecksum(0)
		packet.ICMP(m).SetChecksum(packet.Checksum(m))
		return ipv4Packet("172.16.0.1", "10.0.0.1", packet.ProtoICMP, m)
	}); got != want {
		t.Errorf("with ICMP it says\n%s\nwant\n%s", got, want)
	}
	if got := trace(t, 3, false, func(p packet.IPv4) packet.IPv4 {
		u := packet.UDP(p.Payload())
		return ipv4Packet("172.16.0.1", "10.0.0.1", packet.ProtoUDP, datagram(p.Dst(), p.Src(), u.DstPort(), u.SrcPort(), 1))
	}); got != want {
		t.Errorf("with a listener it says\n%s\nwant\n%s", got, want)
	}
}

func TestTracerouteNotesWhyNothingBeyondCanBeReached(t *testing.T) {
	for code, note := range map[uint8]string{0: "!N", 1: "!H", 2: "!P", 4: "!F", 13: "!X"} {
		got := trace(t, 1, false, func(p packet.IPv4) packet.IPv4 { return icmpError("10.9.0.9", 3, code, 0, p) })
		if want := fmt.Sprintf("2 10.9.0.9%[1]s 10.9.0.9%[1]s 10.9.0.9%[1]s true\n", note); !strings.HasSuffix(got, want) {
			t.Errorf("code %d gives\n%s\nwant\n%s", code, got, want)
		}
	}
}

func TestTracerouteEndsAtTheLastHopAsked(t *testing.T) {
	if got := strings.Count(trace(t, 100, false, nil), "\n"); got != 6 {
		t.Errorf("%d hops, want 6", got)
	}
}

func TestImpossibleRequestsAreUsageErrors(t *testing.T) {
	s := wire(t, 1500, func([]byte) {})
	for _, r := range []api.PingRequest{
		{Address: "nobody"}, {Address: "::1"}, {Address: "10.0.0.2", Count: -1}, {Address: "10.0.0.2", Size: 65508},
		{Address: "10.0.0.2", TTL: 256}, {Address: "10.0.0.2", Source: "10.0.0.7"}, {Address: "10.0.0.2", Source: "x"},
	} {
		var e *api.Error
		if err := s.Ping(t.Context(), r, here, func(api.PingReply) {}); !errors.As(err, &e) || e.Code != "usage" {
			t.Errorf("%+v gives %v, want a usage error", r, err)
		}
	}
	var e *api.Error
	err := s.Traceroute(t.Context(), api.TracerouteRequest{Address: "10.0.0.2", MaxHops: 300}, here, func(api.TracerouteHop) {})
	if !errors.As(err, &e) || e.Code != "usage" {
		t.Errorf("300 hops give %v, want a usage error", err)
	}
	if err := s.Ping(t.Context(), api.PingRequest{Address: "10.0.0.2"}, netip.Addr{}, func(api.PingReply) {}); !errors.As(err, &e) || e.Code != "failed" {
		t.Errorf("no source gives %v", err)
	}
}

func TestCloseEndsAPing(t *testing.T) {
	sent := make(chan struct{}, 1)
	s := wire(t, 1500, func([]byte) { sent <- struct{}{} })
	done := make(chan error)
	go func() {
		done <- s.Ping(t.Context(), api.PingRequest{Address: "10.0.0.2", Count: 1, Timeout: time.Hour}, here, func(api.PingReply) {})
	}()
	<-sent
	s.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v, want ErrClosed", err)
	}
}

// Anything may arrive: nothing panics, and what is no answer to a probe is not taken for one.
func FuzzDeliver(f *testing.F) {
	f.Add([]byte(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoICMP, echo(1, 1, 10))), true)
	f.Add([]byte(icmpError("10.0.0.9", 3, 1, 0, ipv4Packet("10.0.0.1", "10.0.0.9", packet.ProtoICMP, echo(1, 1, 10)))), true)
	f.Add([]byte(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoUDP, datagram(1, 2, 33434, 10000, 3))), true)
	f.Add([]byte(ipv4Packet("10.0.0.9", "10.0.0.1", packet.ProtoTCP, make([]byte, 20))), false)
	f.Add([]byte{}, false)
	s, err := New(Options{Output: func([]byte) {}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	s.SetAddresses([]netip.Prefix{netip.PrefixFrom(here, 24)})
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if p := packet.IPv4(b); repair && len(b) >= 20 && b[0]>>4 == 4 && p.HeaderLen() >= 20 && p.HeaderLen() <= len(b) {
			p.UpdateHeaderChecksum()
			if m := packet.ICMP(p.Payload()); p.Protocol() == packet.ProtoICMP && len(m) >= 8 {
				m.SetChecksum(0)
				m.SetChecksum(packet.Checksum(m))
			}
		}
		before := s.Stats()
		s.Deliver(b)
		if st := s.Stats(); st.Probes != before.Probes {
			t.Errorf("%x was taken for the answer of a probe, and there is none", b)
		}
	})
}
