package dataplane

import (
	"fmt"
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
)

// manyRules are rules that match none of the benchmark's packets, each by another condition of the
// kind that people write.
func manyRules(n int) []firewall.Rule {
	rules := make([]firewall.Rule, n)
	for i := range rules {
		r := rule("inside", "outside", []uint8{packet.ProtoTCP, packet.ProtoUDP}[i%2], uint16(10_000+i), firewall.Drop)
		r.Name = fmt.Sprintf("r%d", i)
		r.Match.Source = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/26", 16+i/250, i%250))}
		r.Match.Destination = []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("172.%d.0.0/16", 16+i%16))}
		rules[i] = r
	}
	return rules
}

// BenchmarkNewSessionUnderRules is BenchmarkNewSession with rule sets of two sizes, none of whose rules matches: what a
// session costs that has met all of them. bench/run -nat divides one by the other.
func BenchmarkNewSessionUnderRules(b *testing.B) {
	for _, rules := range []int{0, 10, 1000} {
		b.Run(fmt.Sprintf("rules=%d", rules), func(b *testing.B) {
			n := bare(b, natOptions{rules: masquerade(), firewall: home(manyRules(rules)...)})
			n.reroute("20.0.0.0/8", adjToB)
			ip := udpPacket(ends{inner, addr("20.0.0.0"), 5000, 53}, numbered(22))
			reader := n.d.domain.Register()
			b.ReportAllocs()
			n.w.begin()
			for i := 1; b.Loop(); i++ {
				if i%(1<<18) == 0 { // the same table for ever, and not a full one
					b.StopTimer()
					n.w.end()
					n.sessions.Flush(reader, conntrack.TickOf(n.clock), conntrack.Filter{})
					n.w.begin()
					b.StartTimer()
				}
				ip.SetDst(addr("20.0.0.0") + packet.Addr(i%(1<<24)))
				ip.SetSrc(inner + packet.Addr(i%64))
				packet.UDP(ip.Payload()).SetSrcPort(uint16(2000 + i/64%50))
				ip.UpdateHeaderChecksum()
				n.handle(ip, portA)
			}
			n.w.end()
			if n.sessions.Len() == 0 {
				b.Fatalf("no sessions; drops: %v", n.drops())
			}
		})
	}
}
