package firewall

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// manyRules are rules whose sources, destinations and ports all differ, and packets of which half meet one of them.
func manyRules(n int) (Config, []Packet) {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	c := Config{
		Zones: []Zone{{Name: "inside", Ports: []uint16{1}}, {Name: "outside", Ports: []uint16{2}}},
		Pairs: []Pair{{From: "inside", To: "outside", Action: Accept}, {From: "outside", To: "inside", Action: Drop}},
	}
	for i := range n {
		m := Any()
		bits := 16 + r.IntN(17)
		prefix := netip.PrefixFrom(addr4(packet.Addr(r.Uint32())), bits).Masked()
		port := uint16(1 + r.IntN(65000))
		switch i % 4 {
		case 0:
			m.Destination, m.Protocol, m.DestPorts = []netip.Prefix{prefix}, 6, []PortRange{{port, port}}
		case 1:
			m.Source, m.Protocol, m.DestPorts = []netip.Prefix{prefix}, 17, []PortRange{{port, port + uint16(r.IntN(100))}}
		case 2:
			m.Source = []netip.Prefix{prefix}
		case 3:
			other := netip.PrefixFrom(addr4(packet.Addr(r.Uint32())), 24).Masked()
			m.Source, m.Destination = []netip.Prefix{prefix}, []netip.Prefix{other}
		}
		rule := Rule{Match: m, Action: Action(i % 2)}
		if i%3 == 0 {
			rule.From, rule.To = "inside", "outside"
		}
		c.Rules = append(c.Rules, rule)
	}
	packets := make([]Packet, 4096)
	for i := range packets {
		k := Packet{Key: conntrack.MakeKey([]uint8{6, 17}[i%2], packet.Addr(r.Uint32()), uint16(r.Uint32()), packet.Addr(r.Uint32()), uint16(r.Uint32())),
			In: 1, Out: 2, State: New, Length: 60, Count: 1, TCPFlags: 2}
		if i%4 < 2 && n > 0 {
			m := &c.Rules[r.IntN(n)].Match
			if len(m.Source) > 0 {
				k.Key.Src = addrOf(m.Source[0].Addr())
			}
			if len(m.Destination) > 0 {
				k.Key.Dst = addrOf(m.Destination[0].Addr())
			}
			if len(m.DestPorts) > 0 {
				k.Key.DstPort, k.Key.Protocol = m.DestPorts[0].Min, m.Protocol
			}
		}
		packets[i] = k
	}
	return c, packets
}

func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{0, 10, 100, 1000, 10000} {
		b.Run(fmt.Sprint(n, " rules"), func(b *testing.B) {
			c, packets := manyRules(n)
			p := mustCompile(b, c, nil)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p.Judge(100, &packets[i%len(packets)])
				i++
			}
			b.ReportMetric(float64(p.Bytes())/1024, "KiB")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n, " rules"), func(b *testing.B) {
			c, _ := manyRules(n)
			for b.Loop() {
				mustCompile(b, c, nil)
			}
		})
	}
}

// BenchmarkJudgeDense is the classifier's bad day: every rule leaves all fields open but one, so that no block is empty, and
// no packet meets any of them.
func BenchmarkJudgeDense(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n, " rules"), func(b *testing.B) {
			_, packets := manyRules(0)
			for i := range packets {
				packets[i].Key.SrcPort |= 1 << 15
				packets[i].Key.DstPort |= 1 << 15
			}
			var c Config
			for i := range n {
				m := Any()
				host := []netip.Prefix{netip.PrefixFrom(addr4(packet.Addr(i+1)<<10), 28)}
				switch port := []PortRange{{uint16(i), uint16(i)}}; i % 4 {
				case 0:
					m.Source = host
				case 1:
					m.Destination = host
				case 2:
					m.SourcePorts = port
				case 3:
					m.DestPorts = port
				}
				c.Rules = append(c.Rules, Rule{Match: m})
			}
			p := mustCompile(b, c, nil)
			i := 0
			for b.Loop() {
				p.Recheck(100, &packets[i%len(packets)])
				i++
			}
		})
	}
}

// BenchmarkAccess is what a packet pays whose verdict cannot be kept.
func BenchmarkAccess(b *testing.B) {
	c, packets := manyRules(1000)
	var rules []Rule
	for i, r := range c.Rules {
		r.From, r.To, r.In = "", "", 1
		r.Match.DSCP = i % 64
		rules = append(rules, r)
	}
	p := mustCompile(b, Config{Access: rules}, nil)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p.Access(100, &packets[i%len(packets)])
		i++
	}
}
