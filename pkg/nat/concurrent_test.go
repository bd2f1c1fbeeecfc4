package nat

import (
	"math/rand/v2"
	"sync"
	"testing"

	"vrouterd/internal/packet"
)

// TestWorkersShareTheMappings lets workers open and close sessions of the same hosts, with forwards, hairpins, requests,
// tables and policies that change: nothing is given twice, and nothing is left at the end. It is for the race detector.
func TestWorkersShareTheMappings(t *testing.T) {
	narrow := home()
	narrow.PortMin, narrow.PortMax = 2000, 2511
	narrow.Filtering = AddressDependent
	cg := carrier()
	rules := []Rule{narrow, cg}
	policies := []*Policy{
		NewPolicy(rules, []Forward{web()}, []packet.Addr{public}),
		NewPolicy([]Rule{{Out: wan, Type: Exempt, Destination: nets("10.0.0.0/8")}, narrow, cg}, nil, []packet.Addr{public}),
	}
	m := NewMappings(Config{Seed: 3})
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() { work(t, m, policies, rand.New(rand.NewPCG(uint64(w), 9))) })
	}
	for i := range 200 {
		m.Retain(policies[i%2], 100)
		m.Page(100, 0, 100, nil)
		m.Blocks()
		m.Expire(100)
	}
	workers.Wait()
	b := &bed{t: t, m: m, p: policies[0], now: 100}
	b.empty()
}

func work(t *testing.T, m *Mappings, policies []*Policy, r *rand.Rand) {
	b := &bed{t: t, m: m}
	var live []session
	for range 3000 {
		p := policies[r.IntN(2)]
		k := udp(host1+packet.Addr(r.IntN(20)), uint16(1990+r.IntN(40)), server+packet.Addr(r.IntN(3)), 53)
		if r.IntN(3) == 0 {
			k.Src = subscriber1 + packet.Addr(r.IntN(20))
		}
		switch r.IntN(6) {
		case 0, 1:
			if s, reason := m.Outbound(p, 100, wan, -1, &k); reason == ReasonNone && s.Mapped {
				live = append(live, opened(k, s))
			}
		case 2:
			k.Dst, k.DstPort = public, uint16(2000+r.IntN(100))
			if target := m.Inbound(p, 100, lan, &k); target.Mapped {
				if target.Rules < 0 {
					m.ReleaseTarget(100, &k, &target)
				} else if s, reason := m.Outbound(p, 100, lan, target.Rules, &k); reason != ReasonNone {
					m.ReleaseTarget(100, &k, &target)
				} else {
					live = append(live, entered(k, target, s))
				}
			}
		case 3:
			in := tcp(server, uint16(r.IntN(1000)), public, 80)
			if target := m.Inbound(p, 100, wan, &in); target.Mapped {
				live = append(live, entered(in, target, Source{}))
			}
		case 4:
			m.Add(p, 100, wan, Explicit{Protocol: protocolUDP, Inside: k.Src, InsidePort: k.SrcPort}, false)
			m.Delete(100, protocolUDP, k.Src, k.SrcPort)
		case 5:
			if len(live) > 0 {
				i := r.IntN(len(live))
				b.now = 100
				b.close(live[i])
				live[i] = live[len(live)-1]
				live = live[:len(live)-1]
			}
		}
	}
	for _, s := range live {
		m.Release(100, s.original, s.reply)
	}
}
