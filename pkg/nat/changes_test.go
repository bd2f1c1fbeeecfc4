package nat

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// randomPolicy is one of many configurations over the same few addresses.
func randomPolicy(r *rand.Rand) *Policy {
	addresses := []packet.Addr{public, ip("203.0.113.1"), ip("203.0.113.2"), ip("203.0.113.3")}
	var rules []Rule
	for range 1 + r.IntN(4) {
		rule := Rule{
			Out: wan, Type: Type(r.IntN(6)), Filtering: Filtering(r.IntN(3)), Inside: host1,
			PortMin: 2048, PortMax: uint16(2048 + 255 + 64*r.IntN(4)), BlockSize: 64 << r.IntN(2), MaxBlocks: 1 + r.IntN(2),
			Source: nets([]string{"192.168.1.8/29", "192.168.1.0/24", "192.168.0.0/16"}[r.IntN(3)]),
		}
		if from := r.IntN(len(addresses)); rule.Type == OneToOne {
			rule.Outside = []packet.Addr{ip("203.0.113.77")}
		} else if rule.Type != Exempt {
			rule.Outside = slices.Clone(addresses[from:])
		}
		if r.IntN(4) == 0 {
			rule.Destination = nets("198.51.100.8/32")
		}
		if r.IntN(4) == 0 {
			rule.Protocol = protocolTCP
		}
		rules = append(rules, rule)
	}
	var forwards []Forward
	for range r.IntN(3) {
		low := uint16(2048 + r.IntN(200))
		forwards = append(forwards, Forward{
			In: wan, Protocol: protocolUDP, PortMin: low, PortMax: low + uint16(r.IntN(20)), Outside: addresses[:1+r.IntN(2)],
			To: host1 + packet.Addr(r.IntN(3)), ToPort: uint16(2048 + r.IntN(50)),
		})
	}
	return NewPolicy(rules, forwards, []packet.Addr{public})
}

// TestNothingIsSharedWhilePoliciesChange plays sessions of many kinds under policies that change all the time, those that do not stand
// being flushed. No two inside ports that stand have the same outside port, and at the end nothing is left.
func TestNothingIsSharedWhilePoliciesChange(t *testing.T) { // RFC 4787 REQ-3, RFC 6888 REQ-11
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playChanges(t, rand.New(rand.NewPCG(seed, 6888))) })
	}
}

func playChanges(t *testing.T, r *rand.Rand) {
	b := &bed{t: t, m: NewMappings(Config{Seed: r.Uint64()}), p: randomPolicy(r), now: 1}
	var live []session
	for range 1500 {
		b.now += conntrack.Tick(r.IntN(20))
		k := udp(host1+packet.Addr(r.IntN(12)), uint16(2040+r.IntN(60)), server+packet.Addr(r.IntN(3)), 53)
		if r.IntN(3) == 0 {
			k.Protocol = protocolTCP
		}
		switch r.IntN(12) {
		default:
			foreseen, why := b.m.Preview(b.p, b.now, wan, -1, &k)
			s, reason := b.m.Outbound(b.p, b.now, wan, -1, &k)
			if s != foreseen || reason != why {
				t.Fatalf("%v: Preview foresaw %+v (%v), Outbound came to %+v (%v)", k, foreseen, why, s, reason)
			}
			if reason == ReasonNone && s.Mapped {
				live = append(live, opened(k, s))
			}
		case 5, 6:
			k.Src, k.Dst, k.DstPort = k.Dst, public, uint16(2048+r.IntN(200))
			if target := b.arrive(wan, k); target.Mapped {
				live = append(live, entered(k, target, Source{}))
			}
		case 7, 8, 9:
			if len(live) > 0 {
				i := r.IntN(len(live))
				b.close(live[i])
				live = slices.Delete(live, i, i+1)
			}
		case 10:
			b.m.Add(b.p, b.now, wan, Explicit{Protocol: k.Protocol, Inside: k.Src, InsidePort: k.SrcPort, OutsidePort: uint16(2048 + r.IntN(300)), Expires: b.now + 500}, r.IntN(2) == 0)
			b.m.Expire(b.now)
		case 11:
			b.p = randomPolicy(r)
			b.m.Retain(b.p, b.now)
			live = slices.DeleteFunc(live, func(s session) bool {
				if b.m.Stands(b.p, s.original, s.reply) {
					return false
				}
				b.close(s)
				return true
			})
		}
		if shared := sharedPort(live); shared != "" {
			t.Fatal(shared)
		}
	}
	b.close(live...)
	b.m.Expire(b.now + 1000)
	b.empty()
}

// sharedPort finds two inside ports that have the same outside port.
func sharedPort(live []session) string {
	has := map[twinPort]twinPort{}
	for _, s := range live {
		in := twinPort{s.original.Protocol, s.original.Src, s.original.SrcPort}
		out := twinPort{s.original.Protocol, s.reply.Dst, s.reply.DstPort}
		if s.original.Dst != s.reply.Src || s.original.DstPort != s.reply.SrcPort {
			in = twinPort{s.original.Protocol, s.reply.Src, s.reply.SrcPort}
			out = twinPort{s.original.Protocol, s.original.Dst, s.original.DstPort}
		}
		if other, taken := has[out]; taken && other != in {
			return fmt.Sprintf("%v and %v are both %v", other, in, out)
		}
		has[out] = in
	}
	return ""
}
