package nat

import (
	"net/netip"
	"slices"
	"testing"

	"vrouterd/internal/packet"
)

func TestSessionsMadeAreCountedByRuleAndForwardAcrossPolicies(t *testing.T) {
	inside := []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}
	a := Rule{Out: 2, Type: Masquerade, Outside: []packet.Addr{1}, Source: inside}
	b := Rule{Out: 3, Type: Masquerade, Outside: []packet.Addr{2}}
	f := Forward{In: 2, Protocol: protocolTCP, PortMin: 80, PortMax: 80, Outside: []packet.Addr{1}, To: 9, ToPort: 80}
	g := Forward{In: 2, Protocol: protocolTCP, PortMin: 81, PortMax: 81, Outside: []packet.Addr{1}, To: 9, ToPort: 81}
	check := func(p *Policy, rules, forwards []uint64) {
		t.Helper()
		if r, f := p.SessionsMade(); !slices.Equal(r, rules) || !slices.Equal(f, forwards) {
			t.Errorf("rules %v, forwards %v; want %v, %v", r, f, rules, forwards)
		}
	}
	p := NewPolicy([]Rule{a, b}, []Forward{f, g}, nil)
	for range 2 {
		p.Made(0, false)
	}
	p.Made(1, false)
	p.Made(0, true)
	for range 3 {
		p.Made(1, true)
	}
	check(p, []uint64{2, 1}, []uint64{1, 3})

	a.Outside = []packet.Addr{7} // the outside address has changed: it is the same rule
	next := NewPolicy([]Rule{b, a, a}, []Forward{g}, nil)
	next.Continue(p)
	p.Made(0, false) // a worker that is in the middle of a batch
	check(next, []uint64{1, 3, 0}, []uint64{3})
}
