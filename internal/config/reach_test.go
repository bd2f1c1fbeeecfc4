package config

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestReachFindsWhatALinearSearchFinds holds the maps against a walk over all
// prefixes, on random tables of nesting prefixes.
func TestReachFindsWhatALinearSearchFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	address := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(random.IntN(2)), byte(random.IntN(4)), byte(random.IntN(256))})
	}
	for range 300 {
		v := &validator{raw: &rawConfig{}}
		var subnets, statics []netip.Prefix
		for i := range random.IntN(6) {
			p := &rawPort{name: fmt.Sprint(i)}
			prefix := netip.PrefixFrom(address(), 8+random.IntN(25))
			subnets = append(subnets, prefix.Masked())
			v.subnets = append(v.subnets, subnet{prefix: prefix, port: p})
		}
		for range random.IntN(12) {
			prefix := netip.PrefixFrom(address(), random.IntN(33)).Masked()
			statics = append(statics, prefix)
			r := &rawRoute{}
			r.to = placed[netip.Prefix]{v: prefix, at: node()}
			v.raw.routes = append(v.raw.routes, r)
		}
		r := newReach(v)
		for range 50 {
			a := address()
			if _, got := r.onSubnet(a); got != longest(subnets, a) {
				t.Fatalf("%s is on %s of %v, found %s", a, longest(subnets, a), subnets, got)
			}
			if _, got := r.through(a); got != longest(statics, a) {
				t.Fatalf("%s is behind %s of %v, found %s", a, longest(statics, a), statics, got)
			}
		}
	}
}

// longest is the slow twin; like reach, it never takes the default route.
func longest(all []netip.Prefix, a netip.Addr) netip.Prefix {
	var best netip.Prefix
	for _, p := range all {
		if p.Contains(a) && p.Bits() > 0 && (!best.IsValid() || p.Bits() > best.Bits()) {
			best = p
		}
	}
	return best
}

// TestOverlapsAreFoundAmongMany compares the sweep with looking at every pair.
func TestOverlapsAreFoundAmongMany(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		v := &validator{decoder: &decoder{}, raw: &rawConfig{}}
		want := false
		for i := range 1 + random.IntN(8) {
			prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(random.IntN(4)), byte(random.IntN(8) * 32), 1}), 14+random.IntN(19))
			for _, s := range v.subnets {
				want = want || s.prefix.Overlaps(prefix)
			}
			n := node()
			n.Line = i + 1
			v.subnets = append(v.subnets, subnet{prefix, &rawPort{name: fmt.Sprint(i)}, n})
		}
		all := fmt.Sprint(v.subnets)
		v.overlaps()
		if got := len(v.errors) > 0; got != want {
			t.Fatalf("overlap %v, want %v: %s", got, want, all)
		}
	}
}

// node is a place; where does not matter.
func node() *yaml.Node { return &yaml.Node{Line: 1, Column: 1} }
