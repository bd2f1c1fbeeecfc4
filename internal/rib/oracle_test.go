package rib

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// oracle is the slow twin: it keeps a flat list of routes and computes the whole table from
// nothing whenever it is asked.
type oracle struct {
	routes   []Route
	up       map[uint32]bool
	maxPaths int
	memo     map[netip.Prefix]*outcome
}

func (o *oracle) prefixes() []netip.Prefix {
	var out []netip.Prefix
	for _, r := range o.routes {
		if !slices.Contains(out, r.Prefix) {
			out = append(out, r.Prefix)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
	return out
}

// of returns the usable routes of a prefix in order.
func (o *oracle) of(p netip.Prefix) []Route {
	var out []Route
	for _, r := range o.routes {
		if r.Prefix == p && r.Distance < NeverUsed {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Route) int { return compareRoutes(&a, &b) })
	return out
}

func (o *oracle) grounded(r Route) bool {
	return r.Type != Unicast || slices.ContainsFunc(r.NextHops, func(h NextHop) bool { return h.Port != 0 && o.up[h.Port] })
}

// contend returns the routes of a prefix that could win.
func (o *oracle) contend(p netip.Prefix) (out []Route) {
	for _, r := range o.of(p) {
		if slices.ContainsFunc(out, func(x Route) bool { return o.grounded(x) && compareRank(&x, &r) < 0 }) {
			break
		}
		out = append(out, r)
	}
	return out
}

func (o *oracle) isCertain(p netip.Prefix) bool {
	routes := o.contend(p)
	some := false
	for _, r := range routes {
		some = some || o.grounded(r)
		if r.Type == Unicast && slices.ContainsFunc(r.NextHops, func(h NextHop) bool { return h.Port == 0 }) {
			return false
		}
	}
	return some
}

// circles by transitive closure.
func (o *oracle) circles() map[[2]netip.Prefix]bool {
	ps := o.prefixes()
	reach := map[[2]netip.Prefix]bool{}
	for _, p := range ps {
		reach[[2]netip.Prefix{p, p}] = true
		routes := o.contend(p)
		for _, r := range routes {
			for _, h := range r.NextHops {
				if r.Type != Unicast || h.Port != 0 {
					continue
				}
				for _, q := range ps { // longest first
					if q.Bits() > 0 && q.Contains(h.Addr) {
						reach[[2]netip.Prefix{p, q}] = true
						if o.isCertain(q) {
							break
						}
					}
				}
			}
		}
	}
	for _, k := range ps {
		for _, i := range ps {
			for _, j := range ps {
				if reach[[2]netip.Prefix{i, k}] && reach[[2]netip.Prefix{k, j}] {
					reach[[2]netip.Prefix{i, j}] = true
				}
			}
		}
	}
	return reach
}

func (o *oracle) table() map[netip.Prefix]*outcome {
	o.memo = map[netip.Prefix]*outcome{}
	reach := o.circles()
	for _, p := range o.prefixes() {
		o.eval(p, reach)
	}
	return o.memo
}

func (o *oracle) eval(p netip.Prefix, reach map[[2]netip.Prefix]bool) *outcome {
	if got, ok := o.memo[p]; ok {
		if got == nil {
			panic(fmt.Sprintf("%v depends on itself", p))
		}
		return got
	}
	o.memo[p] = nil
	out := outcome{}
	var first *Route
	routes := o.contend(p)
	for _, r := range routes {
		if first != nil && (compareRank(first, &r) != 0 || r.Type != Unicast || o.maxPaths == 1) {
			break
		}
		var hops []Hop
		depth := 0
		for _, h := range r.NextHops {
			switch {
			case r.Type != Unicast:
				if r.Type == Local && h.Port != 0 {
					hops = append(hops, Hop{Port: h.Port})
				}
			case h.Port != 0 && o.up[h.Port]:
				hops = append(hops, Hop{h.Port, h.Addr})
			case h.Port == 0:
				more, d := o.resolve(p, h.Addr, reach)
				hops = append(hops, more...)
				if len(more) > 0 {
					depth = max(depth, d)
				}
			}
		}
		if r.Type == Unicast && len(hops) == 0 {
			continue
		}
		if first == nil {
			first = &r
			out.kind = r.Type
		}
		out.depth = max(out.depth, depth)
		out.hops = append(out.hops, hops...)
	}
	if first != nil && first.Protocol != Connected {
		out.depth++
	}
	out.hops = tidy(out.hops, o.maxPaths)
	o.memo[p] = &out
	return &out
}

func (o *oracle) resolve(from netip.Prefix, a netip.Addr, reach map[[2]netip.Prefix]bool) ([]Hop, int) {
	for _, q := range o.prefixes() {
		if q.Bits() == 0 || !q.Contains(a) || reach[[2]netip.Prefix{from, q}] && reach[[2]netip.Prefix{q, from}] {
			continue
		}
		out := o.eval(q, reach)
		if out.kind == None {
			continue
		}
		if out.kind != Unicast || out.depth > MaxDepth {
			return nil, 0
		}
		var hops []Hop
		for _, h := range out.hops {
			if !h.Gateway.IsValid() {
				h.Gateway = a
			}
			hops = append(hops, h)
		}
		return hops, out.depth
	}
	return nil, 0
}

// The address space is small on purpose, so that prefixes nest and next hops lie in one another's prefixes.
func drawAddr(t *rapid.T) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 3).Draw(t, "b")), 0, byte(rapid.IntRange(0, 3).Draw(t, "d"))})
}

func drawPrefix(t *rapid.T) netip.Prefix {
	bits := rapid.SampledFrom([]int{0, 8, 15, 16, 24, 30, 31, 32}).Draw(t, "bits")
	return netip.PrefixFrom(drawAddr(t), bits).Masked()
}

func drawRoute(t *rapid.T) Route {
	r := Route{
		Prefix:   drawPrefix(t),
		Protocol: rapid.SampledFrom([]Protocol{Connected, Static, Static, RIP}).Draw(t, "protocol"),
		Source:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "source"),
		Type:     rapid.SampledFrom([]Type{Unicast, Unicast, Unicast, Unicast, Unicast, Local, Blackhole}).Draw(t, "type"),
		Metric:   rapid.IntRange(0, 1).Draw(t, "metric"),
	}
	r.Distance = r.Protocol.Distance()
	if rapid.IntRange(0, 9).Draw(t, "odd distance") == 0 {
		r.Distance = rapid.SampledFrom([]int{0, 1, 120, 255}).Draw(t, "distance")
	}
	for range rapid.IntRange(1, 2).Draw(t, "hops") {
		h := NextHop{Port: uint32(rapid.IntRange(0, 3).Draw(t, "port"))}
		if h.Port == 0 || rapid.Bool().Draw(t, "gateway too") {
			h.Addr = drawAddr(t)
		}
		if r.Protocol == Connected {
			h = NextHop{Port: max(1, h.Port)}
		} else if h.Addr.IsValid() && rapid.Bool().Draw(t, "recursive") {
			h.Port = 0
		}
		r.NextHops = append(r.NextHops, h)
	}
	return r
}

// What the RIB keeps up incrementally is what the oracle computes from nothing, and the changes
// that it tells, applied in turn, give the same table.
func TestIncrementalTableEqualsTheOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		paths := rapid.SampledFrom([]int{1, 2, 16}).Draw(t, "paths")
		r := New(Options{MaxPaths: paths})
		o := &oracle{up: map[uint32]bool{}, maxPaths: paths}
		told := map[netip.Prefix]Change{}
		now := time.Unix(0, 0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 6:
				route := drawRoute(t)
				if err := r.Update(now, route); err != nil {
					t.Fatalf("update %+v: %v", route, err)
				}
				o.routes = slices.DeleteFunc(o.routes, func(x Route) bool { return x.Key() == route.Key() })
				o.routes = append(o.routes, route)
			case op < 8:
				if len(o.routes) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(o.routes)-1).Draw(t, "victim")
				if !r.Withdraw(o.routes[i].Key()) {
					t.Fatalf("route %v was not there", o.routes[i].Key())
				}
				o.routes = slices.Delete(o.routes, i, i+1)
			case op == 8:
				p, up := uint32(rapid.IntRange(1, 3).Draw(t, "port")), rapid.Bool().Draw(t, "up")
				r.SetPort(p, up)
				o.up[p] = up
			default:
				p, s := rapid.SampledFrom([]Protocol{Static, RIP}).Draw(t, "protocol"), rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source")
				n := len(o.routes)
				o.routes = slices.DeleteFunc(o.routes, func(x Route) bool { return x.Protocol == p && x.Source == s })
				if got := r.WithdrawSource(p, s); got != n-len(o.routes) {
					t.Fatalf("withdrew %d routes of %v %s, want %d", got, p, s, n-len(o.routes))
				}
			}
			if rapid.IntRange(0, 2).Draw(t, "batch") == 0 {
				continue
			}
			if rapid.IntRange(0, 3).Draw(t, "ask") == 0 {
				r.All() // settles without telling
				continue
			}
			compare(t, r, o, told)
		}
		compare(t, r, o, told)
	})
}

func compare(t *rapid.T, r *RIB, o *oracle, told map[netip.Prefix]Change) {
	t.Helper()
	changes := r.Changes()
	if !slices.IsSortedFunc(changes, func(a, b Change) int { return comparePrefix(a.Prefix, b.Prefix) }) {
		t.Fatalf("changes are not in address order: %v", changes)
	}
	for _, c := range changes {
		before := told[c.Prefix]
		if before.Type == c.Type && slices.Equal(before.Hops, c.Hops) {
			t.Fatalf("%v was told though nothing changed", c)
		}
		told[c.Prefix] = c
		if c.Type == None {
			delete(told, c.Prefix)
		}
	}
	want := o.table()
	active := 0
	for p, out := range want {
		if out.kind != None {
			active++
		}
		got := told[p]
		if got.Type != out.kind || !slices.Equal(got.Hops, out.hops) {
			t.Fatalf("%v: told %v %v, the oracle has %v %v", p, got.Type, got.Hops, out.kind, out.hops)
		}
		if best := r.Best(p); best.Type != out.kind || !slices.Equal(best.Hops, out.hops) {
			t.Fatalf("%v: Best says %v, the oracle has %v %v", p, best, out.kind, out.hops)
		}
	}
	if len(told) != active {
		t.Fatalf("%d prefixes told, the oracle has %d", len(told), active)
	}
	views := r.All()
	if len(views) != len(o.routes) || r.Len() != len(o.routes) {
		t.Fatalf("All gives %d routes, Len %d, want %d", len(views), r.Len(), len(o.routes))
	}
	selected := map[netip.Prefix]bool{}
	for _, v := range views {
		if v.Reason == "" {
			t.Fatalf("%v has no reason", v)
		}
		if v.Selected && !v.Active {
			t.Fatalf("%v is selected but not active", v)
		}
		selected[v.Prefix] = selected[v.Prefix] || v.Selected
	}
	for p, out := range want {
		if selected[p] != (out.kind != None) {
			t.Fatalf("%v: selected in All: %v, the oracle has %v", p, selected[p], out.kind)
		}
	}
}
