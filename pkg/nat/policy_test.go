package nat

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// linear is the rule that a packet meets, by asking one after the other.
func linear(rules []Rule, out uint16, protocol uint8, src, dst packet.Addr) int {
	contains := func(list []netip.Prefix, a packet.Addr) bool {
		for _, prefix := range list {
			if prefix.Contains(a.Netip()) {
				return true
			}
		}
		return len(list) == 0
	}
	for i, r := range rules {
		source := r.Source
		if r.Type == OneToOne {
			source = []netip.Prefix{netip.PrefixFrom(r.Inside.Netip(), 32)}
		}
		if r.Out == out && (r.Protocol == 0 || r.Protocol == protocol) && contains(source, src) && contains(r.Destination, dst) {
			return i
		}
	}
	return -1
}

func randomPrefixes(r *rand.Rand) (list []netip.Prefix) {
	for range r.IntN(4) {
		a := packet.Addr(r.Uint32())
		if r.IntN(2) == 0 {
			a = []packet.Addr{0, packet.Broadcast, host1, host2, server}[r.IntN(5)]
		}
		list = append(list, netip.PrefixFrom(a.Netip(), r.IntN(33)).Masked())
	}
	return list
}

func TestFirstRuleThatMatchesCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var rules []Rule
		var edges []packet.Addr
		for range r.IntN(150) {
			rule := Rule{
				Out: uint16(r.IntN(4)), Type: Type(r.IntN(4)), Protocol: []uint8{0, 0, 6, 17, 47}[r.IntN(5)], Inside: host1,
				Source: randomPrefixes(r), Destination: randomPrefixes(r),
			}
			rules = append(rules, rule)
			for _, prefix := range append(rule.Source, rule.Destination...) {
				first, last := span(prefix)
				edges = append(edges, first, first-1, last, last+1)
			}
		}
		edges = append(edges, packet.Addr(r.Uint32()), host1)
		p := NewPolicy(rules, nil, nil)
		for range 200 {
			src, dst := edges[r.IntN(len(edges))], edges[r.IntN(len(edges))]
			out, protocol := uint16(r.IntN(5)), []uint8{1, 6, 17, 47}[r.IntN(4)]
			if got, want := p.Match(out, protocol, src, dst), linear(rules, out, protocol, src, dst); got != want {
				t.Fatalf("%v to %v, protocol %d by port %d meets rule %d, expected %d", src, dst, protocol, out, got, want)
			}
		}
	}
}

func TestFirstForwardThatMatchesCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var forwards []Forward
		for range r.IntN(30) {
			low := uint16(1 + r.IntN(50))
			f := Forward{
				In: wan, Protocol: []uint8{6, 17}[r.IntN(2)], PortMin: low, PortMax: low + uint16(r.IntN(20)),
				Outside: []packet.Addr{public, gateway}[r.IntN(2):], To: host1 + packet.Addr(r.IntN(5)), ToPort: uint16(100 + r.IntN(9)),
			}
			if r.IntN(2) == 0 {
				f.Source = nets("198.51.100.7/32")
			}
			forwards = append(forwards, f)
		}
		p := NewPolicy([]Rule{home()}, forwards, nil)
		m := NewMappings(Config{})
		for port := range uint16(80) {
			for _, k := range []conntrack.Key{tcp(server, 9, public, port), udp(remote2, 9, public, port), udp(server, 9, gateway, port)} {
				want, kind := -1, Unclaimed
				for i, f := range forwards {
					if f.Protocol != k.Protocol || port < f.PortMin || port > f.PortMax || f.Outside[0] != k.Dst && f.Outside[len(f.Outside)-1] != k.Dst {
						continue
					}
					if kind = Filtered; f.Source == nil || k.Src == server {
						want, kind = i, ToForward
						break
					}
				}
				if known := p.addrs[k.Dst] != nil; !known {
					kind = NotOurs
				}
				got := m.InboundPreview(p, 1, wan, &k)
				if got.Kind != kind || kind == ToForward && (got.Rule != want || got.Addr != forwards[want].To || got.Port != forwards[want].ToPort+port-forwards[want].PortMin) {
					t.Fatalf("%v came to %+v, expected kind %d by forward %d", k, got, kind, want)
				}
			}
		}
	}
}

func TestPolicyKnowsItsAddressesAndPorts(t *testing.T) {
	one := Rule{Out: 5, Type: OneToOne, Inside: host1, Outside: []packet.Addr{ip("203.0.113.5")}}
	exempt := Rule{Out: 7, Type: Exempt, Outside: []packet.Addr{gateway}}
	p := NewPolicy([]Rule{home(), one, exempt}, []Forward{web()}, []packet.Addr{public, gateway})
	for a, want := range map[packet.Addr]bool{public: true, ip("203.0.113.5"): true, gateway: false, server: false} {
		if got := p.Translated(a); got != want {
			t.Errorf("%v is translated to: %v, expected %v", a, got, want)
		}
	}
	for port, want := range map[uint16]bool{0: false, lan: false, wan: true, 5: true, 6: false, 7: true, 65535: false} {
		if got := p.Outside(port); got != want {
			t.Errorf("port %d is an outside: %v, expected %v", port, got, want)
		}
	}
	if p.Rules() != 3 {
		t.Errorf("%d rules", p.Rules())
	}
}

func TestEveryReasonHasANameAndASentence(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		if seen[r.String()] || r.String() == "" || !strings.Contains(r.Description(), " ") {
			t.Errorf("reason %d is %q: %q", r, r, r.Description())
		}
		seen[r.String()] = true
	}
	if NumReasons.String() != "unknown" || NumReasons.Description() == "" {
		t.Error("an unknown reason has no name")
	}
	for _, by := range []By{ByTraffic, ByNATPMP, ByPCP, ByUPnP, ByHelper} {
		if seen[by.String()] {
			t.Errorf("maker %d is called %v like another one", by, by)
		}
		seen[by.String()] = true
	}
}

func TestMappingsHoldNoPointer(t *testing.T) { // so that the collector never looks into a million of them
	if size := reflect.TypeFor[mapping]().Size(); size > 72 {
		t.Errorf("a mapping has %d octets, expected at most 72", size)
	}
	for f := range reflect.TypeFor[mapping]().Fields() {
		if k := f.Type.Kind(); k < reflect.Bool || k > reflect.Uint64 {
			t.Errorf("%s is a %v", f.Name, k)
		}
	}
}

func TestNewSessionsAllocateNothing(t *testing.T) {
	b := newBed(t, []Rule{home()}, web())
	warm := b.open(udp(host1, 5000, server, 53))
	b.enter(wan, tcp(server, 9, public, 80))
	k, known, in := udp(host1, 5001, server, 53), udp(host1, 5000, remote2, 53), udp(remote2, 9, public, 5000)
	for name, do := range map[string]func(){
		"a new mapping": func() {
			s, _ := b.m.Outbound(b.p, b.now, wan, -1, &k)
			b.m.Release(b.now, k, opened(k, s).reply)
		},
		"a known one": func() {
			b.m.Outbound(b.p, b.now, wan, -1, &known)
			b.m.Release(b.now, known, conntrack.MakeKey(protocolUDP, remote2, 53, warm.reply.Dst, warm.reply.DstPort))
		},
		"from outside": func() {
			target := b.m.Inbound(b.p, b.now, wan, &in)
			b.m.ReleaseTarget(b.now, &in, &target)
		},
	} {
		if n := testing.AllocsPerRun(100, do); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}
