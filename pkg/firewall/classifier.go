package firewall

// A block is the part of a bit vector that stands for blockRules consecutive rules: one cache line.
type block [blockWords]uint64

const (
	blockWords = 8
	blockRules = 64 * blockWords
)

// table maps a number (an address, a port, a protocol, a pair of zones) to the rules that do not refuse it: a row of
// block numbers, one for each blockRules rules. Every different block is stored once, and number 0 is the
// empty one, so that a column in which some field allows nothing costs a comparison and no AND.
type table struct {
	bounds []uint32 // interval i begins at bounds[i] and ends before the next; bounds[0] is 0
	index  []uint32 // interval in which i << shift lies; nil where bounds is short
	shift  uint8
	rows   []uint32 // columns block numbers for each interval
	blocks []block
}

// shortBounds is how many intervals are searched without an index; longBucket how many may lie under one entry of the index
// before a finer one is tried.
const (
	shortBounds = 24
	longBucket  = 6
)

// interval finds the interval of x, by the index and then by halving.
func (t *table) interval(x uint32) int {
	low, n := 0, len(t.bounds)
	if t.index != nil {
		i := int(x >> t.shift)
		low = int(t.index[i])
		n = int(t.index[i+1]) - low + 1
	}
	for n > 1 {
		half := n >> 1
		if t.bounds[low+half] <= x {
			low += half
		}
		n -= half
	}
	return low
}

// classifier finds the rules of a list that a packet's key and zones meet, in their order.
type classifier struct {
	columns                    int
	source, dest, sport, dport table
	protocols                  [256]uint32 // row of protocolRows
	protocolRows               table
	cells                      table // by pair of zones; of access rules: one cell
}

// lanes are the rows of one packet's fields.
type lanes struct{ source, dest, sport, dport, protocol, cell []uint32 }

func (t *table) row(interval, columns int) []uint32 {
	return t.rows[interval*columns : interval*columns+columns]
}

// find looks the fields up, once for all columns.
func (c *classifier) find(l *lanes, src, dst uint32, sport, dport uint16, protocol uint8, cell int) {
	l.source = c.source.row(c.source.interval(src), c.columns)
	l.dest = c.dest.row(c.dest.interval(dst), c.columns)
	l.sport = c.sport.row(c.sport.interval(uint32(sport)), c.columns)
	l.dport = c.dport.row(c.dport.interval(uint32(dport)), c.columns)
	l.protocol = c.protocolRows.row(int(c.protocols[protocol]), c.columns)
	l.cell = c.cells.row(c.cells.interval(uint32(cell)), c.columns)
}

// column ANDs one column into out. It reports false, leaving out as it was, where nothing can match.
func (c *classifier) column(l *lanes, i int, out *block) bool {
	s, d, sp, dp, p, z := l.source[i], l.dest[i], l.sport[i], l.dport[i], l.protocol[i], l.cell[i]
	if s == 0 || d == 0 || sp == 0 || dp == 0 || p == 0 || z == 0 {
		return false
	}
	a, b, e, f := &c.source.blocks[s], &c.dest.blocks[d], &c.sport.blocks[sp], &c.dport.blocks[dp]
	g, h := &c.protocolRows.blocks[p], &c.cells.blocks[z]
	some := uint64(0)
	for w := range out {
		m := a[w] & b[w] & e[w] & f[w] & g[w] & h[w]
		out[w] = m
		some |= m
	}
	return some != 0
}

// bytes is the memory that a classifier holds.
func (c *classifier) bytes() (n int) {
	for _, t := range []*table{&c.source, &c.dest, &c.sport, &c.dport, &c.protocolRows, &c.cells} {
		n += 4*(cap(t.bounds)+cap(t.index)+cap(t.rows)) + blockWords*8*cap(t.blocks)
	}
	return n + 4*len(c.protocols)
}
