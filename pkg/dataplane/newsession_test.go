package dataplane

import (
	"fmt"
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
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
			openSessions(b, n)
		})
	}
}
