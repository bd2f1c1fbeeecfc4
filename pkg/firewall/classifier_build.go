package firewall

import (
	"cmp"
	"slices"
)

// terms are what one rule asks of key and zones, as merged spans; nil: anything.
type terms struct {
	source, dest, sport, dport []span
	protocols                  []span
	cells                      []span
}

// newClassifier builds the tables for rules in their order; cells is how many pairs of zones there are.
func newClassifier(rules []terms, cells int) *classifier {
	c := &classifier{columns: (len(rules) + blockRules - 1) / blockRules}
	field := func(last uint32, of func(*terms) []span) table {
		b := builder{columns: c.columns, last: last}
		for i := range rules {
			b.add(i, of(&rules[i]))
		}
		return b.build()
	}
	c.source = field(^uint32(0), func(t *terms) []span { return t.source })
	c.dest = field(^uint32(0), func(t *terms) []span { return t.dest })
	c.sport = field(0xffff, func(t *terms) []span { return t.sport })
	c.dport = field(0xffff, func(t *terms) []span { return t.dport })
	c.cells = field(uint32(max(cells, 1)-1), func(t *terms) []span { return t.cells })
	c.protocolRows = field(0xff, func(t *terms) []span { return t.protocols })
	for i := range c.protocols {
		c.protocols[i] = uint32(c.protocolRows.interval(uint32(i)))
	}
	return c
}

// edge is where a rule's span begins, or where it has ended.
type edge struct {
	at   uint32
	rule int32
}

// builder sweeps over a field's numbers and writes down a row wherever a span begins or ends.
type builder struct {
	columns int
	last    uint32 // the largest number of the field
	edges   []edge // each turns its rule on or off
	whole   []int  // rules that take any number
}

func (b *builder) add(rule int, spans []span) {
	if spans == nil {
		b.whole = append(b.whole, rule)
		return
	}
	for _, s := range spans {
		b.edges = append(b.edges, edge{s.first, int32(rule)})
		if s.last < b.last {
			b.edges = append(b.edges, edge{s.last + 1, int32(rule)})
		}
	}
}

func (b *builder) build() table {
	slices.SortFunc(b.edges, func(x, y edge) int { return cmp.Compare(x.at, y.at) })
	t := table{blocks: make([]block, 1)} // number 0 is the empty block
	numbers := map[block]uint32{{}: 0}
	now := make([]block, b.columns)
	row := make([]uint32, b.columns)
	changed := make([]bool, b.columns)
	flip := func(rule int) {
		now[rule/blockRules][rule%blockRules/64] ^= 1 << (rule % 64)
		changed[rule/blockRules] = true
	}
	for _, r := range b.whole {
		flip(r)
	}
	for at, i := uint32(0), 0; ; at = b.edges[i].at {
		for i < len(b.edges) && b.edges[i].at == at {
			flip(int(b.edges[i].rule))
			i++
		}
		for k := range changed {
			if !changed[k] {
				continue
			}
			n, known := numbers[now[k]]
			if !known {
				n = uint32(len(t.blocks))
				numbers[now[k]] = n
				t.blocks = append(t.blocks, now[k])
			}
			row[k], changed[k] = n, false
		}
		// A boundary that changes nothing (one span ends where the same rule's next begins, or a twin's) is none.
		if n := len(t.rows); n == 0 || !slices.Equal(t.rows[n-b.columns:], row) {
			t.bounds = append(t.bounds, at)
			t.rows = append(t.rows, row...)
		}
		if i == len(b.edges) {
			break
		}
	}
	t.bounds, t.rows, t.blocks = slices.Clip(t.bounds), slices.Clip(t.rows), slices.Clip(t.blocks)
	t.makeIndex(b.last)
	return t
}

// makeIndex chooses the coarsest index under which no entry has many intervals: a small one stays in the processor's first cache.
func (t *table) makeIndex(last uint32) {
	if len(t.bounds) <= shortBounds {
		return
	}
	shifts := []uint8{24, 20, 16}
	if last <= 0xffff {
		shifts = []uint8{8, 4}
	}
	for _, t.shift = range shifts {
		n := int(last>>t.shift) + 1
		t.index = make([]uint32, n+1)
		longest, at := 0, 0
		for i := range n {
			for at+1 < len(t.bounds) && uint64(t.bounds[at+1]) <= uint64(i)<<t.shift {
				at++
			}
			t.index[i] = uint32(at)
			if i > 0 {
				longest = max(longest, at-int(t.index[i-1]))
			}
		}
		t.index[n] = uint32(len(t.bounds) - 1)
		if longest = max(longest, int(t.index[n]-t.index[n-1])); longest <= longBucket {
			return
		}
	}
}
