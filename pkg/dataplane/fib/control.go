package fib

import (
	"fmt"
	"iter"

	"vrouterd/internal/packet"
)

// Prefix names a route: an address whose bits beyond the first Bits are zero.
type Prefix struct {
	Addr packet.Addr
	Bits int // 0 to 32
}

func (p Prefix) String() string { return fmt.Sprintf("%v/%d", p.Addr, p.Bits) }

// Get returns the value of exactly this prefix.
func (t *Table) Get(a packet.Addr, bits int) (Value, bool) {
	if bits < 0 || bits > 32 || a&^packet.Mask(bits) != 0 {
		return 0, false
	}
	if bits <= 8 {
		v := Value(t.routes.top[node(uint32(a>>24), bits)])
		return v, v != 0
	}
	r := t.routes.regions[a>>24]
	if r == nil {
		return 0, false
	}
	if bits <= 16 {
		v := Value(r.short[node(uint32(a>>16), bits-8)])
		return v, v != 0
	}
	b := &r.buckets[a>>16&0xff]
	i, found := b.find(routeKey(a, bits))
	if !found {
		return 0, false
	}
	return Value(b.routes[i].value()), true
}

// Match returns the longest route that covers a. It answers from the writer's
// store, for the control plane; Lookup is the fast one.
func (t *Table) Match(a packet.Addr) (prefix packet.Addr, bits int, v Value, ok bool) {
	if r := t.routes.regions[a>>24]; r != nil {
		b := &r.buckets[a>>16&0xff]
		for bits := 32; bits > 16 && len(b.routes) != 0; bits-- {
			p := a & packet.Mask(bits)
			if i, found := b.find(routeKey(p, bits)); found {
				return p, bits, Value(b.routes[i].value()), true
			}
		}
		if v, bits := r.short.best(uint32(a >> 16)); v != 0 {
			return a & packet.Mask(bits+8), bits + 8, Value(v), true
		}
	}
	if v, bits := t.routes.top.best(uint32(a >> 24)); v != 0 {
		return a & packet.Mask(bits), bits, Value(v), true
	}
	return 0, 0, 0, false
}

// All walks the routes by address and, at the same address, from short to
// long. The table must not be changed meanwhile.
func (t *Table) All() iter.Seq2[Prefix, Value] {
	return func(yield func(Prefix, Value) bool) { t.walkTop(1, 0, yield) }
}

// walkTop visits the tree of the routes up to 8 bits from node i on, and every
// region where it comes to one.
func (t *Table) walkTop(i uint32, length int, yield func(Prefix, Value) bool) bool {
	a := packet.Addr(i << (8 - length) << 24)
	if v := t.routes.top[i]; v != 0 && !yield(Prefix{a, length}, Value(v)) {
		return false
	}
	if length < 8 {
		return t.walkTop(2*i, length+1, yield) && t.walkTop(2*i+1, length+1, yield)
	}
	if r := t.routes.regions[a>>24]; r != nil {
		return r.walk(a, 1, 0, yield)
	}
	return true
}

// walk does the same for the routes of 9 to 32 bits of the region at base.
func (r *region) walk(base packet.Addr, i uint32, length int, yield func(Prefix, Value) bool) bool {
	a := base | packet.Addr(i<<(8-length)&0xff)<<16
	if v := r.short[i]; v != 0 && !yield(Prefix{a, 8 + length}, Value(v)) {
		return false
	}
	if length < 8 {
		return r.walk(base, 2*i, length+1, yield) && r.walk(base, 2*i+1, length+1, yield)
	}
	for _, e := range r.buckets[a>>16&0xff].routes {
		if !yield(Prefix{a | packet.Addr(e.low()), e.length()}, Value(e.value())) {
			return false
		}
	}
	return true
}
