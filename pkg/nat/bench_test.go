package nat

import (
	"fmt"
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// BenchmarkOutbound is a session of an inside port that has no mapping; BenchmarkRelease is its end. Among other hosts' mappings.
func BenchmarkOutbound(b *testing.B) { newMappings(b, true) }

func BenchmarkRelease(b *testing.B) { newMappings(b, false) }

func newMappings(b *testing.B, outbound bool) {
	const batch = 4096
	for _, live := range []int{0, 10000, 50000} {
		b.Run(fmt.Sprintf("mappings=%d", live), func(b *testing.B) {
			r := home()
			r.Source = nil
			m, p := NewMappings(Config{Seed: 1}), NewPolicy([]Rule{r}, nil, nil)
			for i := range live {
				k := udp(host1+packet.Addr(i), 5000, server, 53)
				m.Outbound(p, 1, wan, -1, &k)
			}
			var keys, replies [batch]conntrack.Key
			for i := range keys {
				keys[i] = udp(host1+packet.Addr(i&255), uint16(20000+i), server, 53)
			}
			b.ReportAllocs()
			b.ResetTimer()
			b.StopTimer()
			for done := 0; done < b.N; done += batch {
				n := min(batch, b.N-done)
				if outbound {
					b.StartTimer()
				}
				for i := range n {
					s, _ := m.Outbound(p, 1, wan, -1, &keys[i])
					replies[i] = conntrack.MakeKey(protocolUDP, server, 53, s.Addr, s.Port)
				}
				if outbound {
					b.StopTimer()
				} else {
					b.StartTimer()
				}
				for i := range n {
					m.Release(1, keys[i], replies[i])
				}
				if !outbound {
					b.StopTimer()
				}
			}
		})
	}
}

// BenchmarkOutboundKnown is another session of an inside port that has a mapping; Release included.
func BenchmarkOutboundKnown(b *testing.B) {
	m, p := NewMappings(Config{Seed: 1}), NewPolicy([]Rule{home()}, nil, nil)
	k := udp(host1, 5000, server, 53)
	m.Outbound(p, 1, wan, -1, &k)
	b.ReportAllocs()
	for b.Loop() {
		s, _ := m.Outbound(p, 1, wan, -1, &k)
		m.Release(1, k, conntrack.MakeKey(protocolUDP, server, 53, s.Addr, s.Port))
	}
}

// BenchmarkOutboundNearlyFull takes and gives back ports of an address of which 99 in 100 are taken.
func BenchmarkOutboundNearlyFull(b *testing.B) {
	m, p := NewMappings(Config{Seed: 1}), NewPolicy([]Rule{home()}, nil, nil)
	for i := range 64512 * 99 / 100 {
		k := udp(host1+packet.Addr(i/60000), uint16(1024+i%60000), server, 53)
		m.Outbound(p, 1, wan, -1, &k)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		k := udp(host2+100, uint16(2000+i&0xfff), server, 53)
		s, _ := m.Outbound(p, 1, wan, -1, &k)
		m.Release(1, k, conntrack.MakeKey(protocolUDP, server, 53, s.Addr, s.Port))
		i++
	}
}

// BenchmarkInbound is a packet for a dynamic mapping; ReleaseTarget included.
func BenchmarkInbound(b *testing.B) {
	m, p := NewMappings(Config{Seed: 1}), NewPolicy([]Rule{home()}, []Forward{web()}, nil)
	k := udp(host1, 5000, server, 53)
	m.Outbound(p, 1, wan, -1, &k)
	for _, c := range []struct {
		name string
		k    conntrack.Key
	}{{"mapping", udp(remote2, 9, public, 5000)}, {"unclaimed", udp(remote2, 9, public, 5001)}, {"forward", tcp(remote2, 9, public, 80)}, {"not ours", tcp(remote2, 9, server, 80)}} {
		b.Run(c.name, func(b *testing.B) {
			hold := m.Inbound(p, 1, wan, &c.k)
			b.ReportAllocs()
			for b.Loop() {
				t := m.Inbound(p, 1, wan, &c.k)
				m.ReleaseTarget(1, &c.k, &t)
			}
			m.ReleaseTarget(1, &c.k, &hold)
		})
	}
}

// BenchmarkMatch is the rule of a packet among many.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			var rules []Rule
			for i := range n {
				r := home()
				r.Source = []netip.Prefix{netip.PrefixFrom((host1 + packet.Addr(i*4)).Netip(), 30)}
				rules = append(rules, r)
			}
			p := NewPolicy(rules, nil, nil)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p.Match(wan, protocolUDP, host1+packet.Addr(i%(4*n)), server)
				i++
			}
		})
	}
}
