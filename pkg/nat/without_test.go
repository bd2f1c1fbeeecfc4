package nat

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// withoutSession is a session with what gives its references back.
type withoutSession struct {
	session
	mapped bool
}

// What the previews say without a session has to be what they say once it is over: the release itself is the oracle. Few
// ports, hosts and blocks, so that the last of everything goes often.
func TestPreviewsForeseeTheEndOfASession(t *testing.T) {
	pool := []packet.Addr{ip("83.215.152.96"), ip("83.215.152.97"), ip("83.215.152.98")}
	policies := map[string]Rule{
		"masquerade": {Out: wan, Type: Masquerade, Source: nets("192.168.0.0/16"), Outside: []packet.Addr{public}},
		"few":        {Out: wan, Type: Masquerade, Source: nets("192.168.0.0/16"), Outside: []packet.Addr{public}, PortMin: 5000, PortMax: 5007},
		"pool":       {Out: wan, Type: SNAT, Source: nets("192.168.0.0/16"), Outside: pool, PortMin: 5000, PortMax: 5003},
		"blocks":     {Out: wan, Type: CarrierGrade, Source: nets("192.168.0.0/16"), Outside: pool[:2], PortMin: 4096, PortMax: 4096 + 4*64 - 1, BlockSize: 64, MaxBlocks: 2},
	}
	for name, rule := range policies {
		for _, filtering := range []Filtering{EndpointIndependent, AddressDependent} {
			t.Run(fmt.Sprint(name, filtering), func(t *testing.T) {
				rule.Filtering = filtering
				b := newBed(t, []Rule{rule}, Forward{In: wan, Protocol: protocolUDP, Outside: []packet.Addr{public}, PortMin: 5005, PortMax: 5006, To: host2, ToPort: 5001})
				r := rand.New(rand.NewPCG(uint64(filtering), 7))
				var live []withoutSession
				same := 0
				for range 4000 {
					b.now += conntrack.Tick(r.IntN(3 * conntrack.TicksPerSecond))
					switch {
					case len(live) < 8 && r.IntN(3) > 0:
						if s, ok := b.begin(b.some(r, live)); ok {
							live = append(live, s)
						}
					case len(live) > 0:
						i := r.IntN(len(live))
						s := live[i]
						live = append(live[:i], live[i+1:]...)
						same += b.foresees(r, s, live)
					}
				}
				for _, s := range live {
					b.close(s.session)
				}
				b.empty()
				if same < 500 {
					t.Errorf("only %d comparisons were about something", same)
				}
			})
		}
	}
}

// some is a packet of an inside host, of a remote one, or for an outside port that somebody has.
func (b *bed) some(r *rand.Rand, live []withoutSession) (in uint16, k conntrack.Key) {
	inside := []packet.Addr{host1, host2, ip("192.168.1.12")}[r.IntN(3)]
	outside := []packet.Addr{server, remote2}[r.IntN(2)]
	port := func() uint16 { return uint16(5000 + r.IntN(8)) }
	make := []func(packet.Addr, uint16, packet.Addr, uint16) conntrack.Key{udp, tcp}[r.IntN(2)]
	k = make(inside, port(), outside, 53)
	if r.IntN(2) == 0 {
		return lan, k
	}
	to, toPort := public, port()
	if len(live) > 0 && r.IntN(4) > 0 {
		s := live[r.IntN(len(live))]
		k.Protocol = s.original.Protocol
		to, toPort = s.outsideOf()
	}
	if r.IntN(2) == 0 { // a hairpin
		return lan, conntrack.MakeKey(k.Protocol, inside, port(), to, toPort)
	}
	return wan, conntrack.MakeKey(k.Protocol, outside, 53, to, toPort)
}

// begin makes a session, as the dataplane does.
func (b *bed) begin(in uint16, k conntrack.Key) (withoutSession, bool) {
	target := b.m.Inbound(b.p, b.now, in, &k)
	switch {
	case target.Kind == Filtered || target.Kind == Unclaimed:
		return withoutSession{}, false
	case target.Kind == NotOurs && in == wan:
		return withoutSession{}, false
	}
	s := withoutSession{mapped: target.Mapped}
	source := Source{}
	inside := k
	if target.Kind != NotOurs {
		inside.Dst, inside.DstPort = target.Addr, target.Port
	}
	if in == lan && (target.Kind == NotOurs || target.Rules >= 0) {
		out := uint16(wan)
		if target.Rules >= 0 {
			out = lan
		}
		var reason Reason
		if source, reason = b.m.Outbound(b.p, b.now, out, target.Rules, &k); reason != ReasonNone {
			b.m.ReleaseTarget(b.now, &k, &target)
			return withoutSession{}, false
		}
	}
	s.session = opened(inside, source)
	s.original = k
	s.mapped = s.mapped || source.Mapped
	return s, true
}

// foresees ends a session, and holds what was foreseen of its end against what there is then.
func (b *bed) foresees(r *rand.Rand, s withoutSession, live []withoutSession) (compared int) {
	b.t.Helper()
	type asked struct {
		in      uint16
		k       conntrack.Key
		target  Target
		source  Source
		refused Reason
	}
	var list []asked
	about := append([]withoutSession{s}, live...)
	for range 6 {
		in, k := b.some(r, about[:1+r.IntN(len(about))])
		if r.IntN(3) == 0 {
			in, k = lan, s.original
		}
		a := asked{in: in, k: k, target: b.m.InboundPreviewWithout(b.p, b.now, in, &k, s.original, s.reply)}
		a.source, a.refused = b.m.PreviewWithout(b.p, b.now, wan, a.target.Rules, &k, s.original, s.reply)
		list = append(list, a)
	}
	b.close(s.session)
	for _, a := range list {
		target := b.m.InboundPreview(b.p, b.now, a.in, &a.k)
		source, refused := b.m.Preview(b.p, b.now, wan, target.Rules, &a.k)
		if target != a.target || source != a.source || refused != a.refused {
			b.t.Fatalf("without %v, %v by port %d: foreseen %+v, %+v, %v; it is %+v, %+v, %v", s.session, a.k, a.in,
				a.target, a.source, a.refused, target, source, refused)
		}
		compared++
	}
	return compared
}
