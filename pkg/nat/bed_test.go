package nat

import (
	"net/netip"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Ports and addresses of the tests' networks.
const (
	lan uint16 = 1
	wan uint16 = 2
)

func ip(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func nets(list ...string) (prefixes []netip.Prefix) {
	for _, s := range list {
		prefixes = append(prefixes, netip.MustParsePrefix(s))
	}
	return prefixes
}

var (
	public  = ip("83.215.152.95")
	gateway = ip("192.168.1.1")
	host1   = ip("192.168.1.10")
	host2   = ip("192.168.1.11")
	server  = ip("198.51.100.7")
	remote2 = ip("198.51.100.8")
)

// bed is mappings under a policy; its sessions are kept by the test.
type bed struct {
	t   testing.TB
	m   *Mappings
	p   *Policy
	now conntrack.Tick
}

// session is a session's two keys, as the dataplane would make them.
type session struct{ original, reply conntrack.Key }

func home() Rule {
	return Rule{Out: wan, Type: Masquerade, Source: nets("192.168.0.0/16"), Outside: []packet.Addr{public}}
}

func newBed(t testing.TB, rules []Rule, forwards ...Forward) *bed {
	return &bed{t: t, m: NewMappings(Config{Seed: 1}), p: NewPolicy(rules, forwards, []packet.Addr{public, gateway}), now: 100}
}

func udp(src packet.Addr, srcPort uint16, dst packet.Addr, dstPort uint16) conntrack.Key {
	return conntrack.MakeKey(protocolUDP, src, srcPort, dst, dstPort)
}

func tcp(src packet.Addr, srcPort uint16, dst packet.Addr, dstPort uint16) conntrack.Key {
	return conntrack.MakeKey(protocolTCP, src, srcPort, dst, dstPort)
}

// open sends the first packet of a session from inside, and expects that it passes. Preview must have foreseen it.
func (b *bed) open(k conntrack.Key) session {
	b.t.Helper()
	foreseen, why := b.m.Preview(b.p, b.now, wan, -1, &k)
	s, reason := b.m.Outbound(b.p, b.now, wan, -1, &k)
	if reason != ReasonNone {
		b.t.Fatalf("%v was refused: %v", k, reason)
	}
	if foreseen != s || why != reason {
		b.t.Fatalf("Preview foresaw %+v (%v) for %v, Outbound came to %+v", foreseen, why, k, s)
	}
	return opened(k, s)
}

// opened are the keys of a session with a translated source.
func opened(k conntrack.Key, s Source) session {
	r := k.Reverse()
	if s.Changed {
		r.Dst, r.DstPort = s.Addr, s.Port
	}
	return session{k, r}
}

// refused sends the first packet of a session from inside, and expects a reason.
func (b *bed) refused(k conntrack.Key, want Reason) {
	b.t.Helper()
	if _, why := b.m.Preview(b.p, b.now, wan, -1, &k); why != want {
		b.t.Errorf("Preview of %v: reason %v, expected %v", k, why, want)
	}
	if s, reason := b.m.Outbound(b.p, b.now, wan, -1, &k); reason != want {
		b.t.Errorf("%v: reason %v (%+v), expected %v", k, reason, s, want)
	}
}

// arrive sends the first packet of a session by a port, and holds InboundPreview to the same.
func (b *bed) arrive(in uint16, k conntrack.Key) Target {
	b.t.Helper()
	foreseen := b.m.InboundPreview(b.p, b.now, in, &k)
	got := b.m.Inbound(b.p, b.now, in, &k)
	if foreseen != got {
		b.t.Fatalf("InboundPreview foresaw %+v for %v, Inbound came to %+v", foreseen, k, got)
	}
	return got
}

// expect sends the first packet of a session by a port, and expects what it comes to; no session is made.
func (b *bed) expect(in uint16, k conntrack.Key, kind Kind, to packet.Addr, port uint16) {
	b.t.Helper()
	got := b.arrive(in, k)
	b.m.ReleaseTarget(b.now, &k, &got)
	if got.Kind != kind || (kind == ToForward || kind == ToMapping) && (got.Addr != to || got.Port != port) {
		b.t.Errorf("%v: came to %+v, expected kind %d to %v:%d", k, got, kind, to, port)
	}
}

// enter makes a session that arrives by a port: as the dataplane does, hairpins too.
func (b *bed) enter(in uint16, k conntrack.Key) (session, Target) {
	b.t.Helper()
	target := b.arrive(in, k)
	if target.Kind != ToForward && target.Kind != ToMapping {
		b.t.Fatalf("%v was not let in: %+v", k, target)
	}
	source := Source{}
	if target.Rules >= 0 {
		var reason Reason
		if source, reason = b.m.Outbound(b.p, b.now, lan, target.Rules, &k); reason != ReasonNone {
			b.t.Fatalf("the hairpin %v was refused: %v", k, reason)
		}
	}
	return entered(k, target, source), target
}

// entered are the keys of a session with a translated destination, and source.
func entered(k conntrack.Key, target Target, source Source) session {
	to := k
	to.Dst, to.DstPort = target.Addr, target.Port
	s := opened(to, source)
	s.original = k
	return s
}

func (b *bed) close(list ...session) {
	for _, s := range list {
		b.m.Release(b.now, s.original, s.reply)
	}
}

// outsideOf is the outside endpoint of a session from inside.
func (s session) outsideOf() (packet.Addr, uint16) { return s.reply.Dst, s.reply.DstPort }

// leaves expects a session's outside endpoint.
func (b *bed) leaves(s session, a packet.Addr, port uint16) {
	b.t.Helper()
	if s.reply.Dst != a || s.reply.DstPort != port {
		b.t.Errorf("%v leaves as %v:%d, expected %v:%d", s.original, s.reply.Dst, s.reply.DstPort, a, port)
	}
}

// empty expects that nothing is left: every mapping gone, every port free.
func (b *bed) empty() {
	b.t.Helper()
	if c := b.m.Counts(); c.Mappings != 0 || c.Explicit != 0 || c.Blocks != 0 {
		b.t.Errorf("left behind: %+v", c)
	}
	for i := range b.m.shards {
		sh := &b.m.shards[i]
		if n := len(sh.inside) + len(sh.allowed) + len(sh.hosts) + len(sh.owners) + len(sh.explicit) + len(sh.perHost) + len(sh.texts); n != 0 {
			b.t.Errorf("shard %d still has %d entries: %v %v %v %v", i, n, sh.inside, sh.allowed, sh.hosts, sh.owners)
		}
	}
	t := b.m.outside.table.Load()
	for i := range t.slots {
		if o := t.slots[i].Load(); o != nil && !o.isEmpty() {
			b.t.Errorf("%v still has ports taken", o.addr)
		}
	}
}
