package nat

import (
	"math/bits"
	"net/netip"
	"slices"

	"vrouterd/internal/packet"
)

// classifier finds the first rule of one port that a packet meets, in the time of two binary searches however many
// rules there are: each axis has the set of rules (bits in their order) that its interval satisfies, and the first bit that all
// three sets have in common is the rule.
type classifier struct {
	index               []int // of the rules of this port, in order
	rules               []rule
	source, destination axis
	any                 []uint64           // rules for any protocol
	protocols           map[uint8][]uint64 // and those with the ones for this protocol
}

// axis divides the addresses into intervals.
type axis struct {
	starts []packet.Addr // the first is 0
	sets   [][]uint64
}

// classify groups the rules by port.
func classify(rules []rule) []*classifier {
	var ports []*classifier
	for i := range rules {
		out := int(rules[i].Out)
		for len(ports) <= out {
			ports = append(ports, nil)
		}
		if ports[out] == nil {
			ports[out] = &classifier{rules: rules, protocols: map[uint8][]uint64{}}
		}
		ports[out].index = append(ports[out].index, i)
	}
	for _, c := range ports {
		if c != nil {
			c.build()
		}
	}
	return ports
}

func (c *classifier) build() {
	words := (len(c.index) + 63) / 64
	c.any = make([]uint64, words)
	var sources, destinations [][]netip.Prefix
	for bit, i := range c.index {
		r := &c.rules[i]
		sources = append(sources, r.Source)
		destinations = append(destinations, r.Destination)
		if r.Protocol == 0 {
			c.any[bit/64] |= 1 << (bit % 64)
		} else if c.protocols[r.Protocol] == nil {
			c.protocols[r.Protocol] = make([]uint64, words)
		}
	}
	for protocol, set := range c.protocols {
		copy(set, c.any)
		for bit, i := range c.index {
			if c.rules[i].Protocol == protocol {
				set[bit/64] |= 1 << (bit % 64)
			}
		}
	}
	c.source = divide(sources, words)
	c.destination = divide(destinations, words)
}

// divide makes an axis of the prefixes of each rule; a rule without any matches everywhere.
func divide(prefixes [][]netip.Prefix, words int) axis {
	a := axis{starts: []packet.Addr{0}}
	for _, list := range prefixes {
		for _, prefix := range list {
			first, last := span(prefix)
			a.starts = append(a.starts, first)
			if last != packet.Broadcast {
				a.starts = append(a.starts, last+1)
			}
		}
	}
	slices.Sort(a.starts)
	a.starts = slices.Compact(a.starts)
	cells := make([]uint64, len(a.starts)*words)
	for i := range a.starts {
		a.sets = append(a.sets, cells[i*words:(i+1)*words])
	}
	for bit, list := range prefixes {
		if len(list) == 0 {
			list = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{}), 0)}
		}
		for _, prefix := range list {
			first, last := span(prefix)
			from, _ := slices.BinarySearch(a.starts, first)
			for i := from; i < len(a.starts) && a.starts[i] <= last; i++ {
				a.sets[i][bit/64] |= 1 << (bit % 64)
			}
		}
	}
	return a
}

// span is the first and the last address of a prefix.
func span(prefix netip.Prefix) (first, last packet.Addr) {
	mask := packet.Mask(prefix.Bits())
	first = packet.AddrFrom(prefix.Addr()) & mask
	return first, first | ^mask
}

// set of the interval in which an address is.
func (a *axis) set(addr packet.Addr) []uint64 {
	low, high := 0, len(a.starts)
	for high-low > 1 {
		if middle := int(uint(low+high) / 2); a.starts[middle] <= addr {
			low = middle
		} else {
			high = middle
		}
	}
	return a.sets[low]
}

// match is the index of the first rule that matches; -1: none.
func (c *classifier) match(protocol uint8, src, dst packet.Addr) int {
	kind, special := c.protocols[protocol]
	if !special {
		kind = c.any
	}
	sources, destinations := c.source.set(src), c.destination.set(dst)
	for i, set := range kind {
		if set &= sources[i] & destinations[i]; set != 0 {
			return c.index[i*64+bits.TrailingZeros64(set)]
		}
	}
	return -1
}

// reach calls use for the rules that packets of an inside host can meet, whatever their destination, in order, until it
// returns true; and returns that rule, or -1.
func (p *Policy) reach(out uint16, protocol uint8, src packet.Addr, use func(index int) bool) int {
	if !p.Outside(out) {
		return -1
	}
	for _, i := range p.ports[out].index {
		r := &p.rules[i]
		if !r.applies(protocol, src) {
			continue
		}
		if use(i) {
			return i
		}
		if len(r.Destination) == 0 {
			break // nothing passes it
		}
	}
	return -1
}
