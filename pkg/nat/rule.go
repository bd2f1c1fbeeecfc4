package nat

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"

	"vrouterd/internal/packet"
)

// rule is a compiled Rule.
type rule struct {
	Rule
	id     uint64        // what the rule says, but for what may change under live mappings
	lo, hi uint16        // range of dynamic ports
	whole  bool          // the range was not narrowed: ports below 1024 may be kept
	sorted []packet.Addr // Outside, to look an address up
}

// Identities of mappings that no rule made.
const (
	ownID     uint64 = 0 // of the router's own ports
	forwardID uint64 = 1 // of forwards for whose host no rule stands
)

// unit is the smallest block of ports, and one word of a bitmap.
const unit = 64

func compileRule(r Rule) rule {
	c := rule{Rule: r, lo: r.PortMin, hi: r.PortMax}
	if c.hi == 0 {
		c.hi = 65535
	}
	if c.lo == 0 {
		c.lo = 1024
	}
	c.whole = c.lo == 1024 && c.hi == 65535
	if r.Type == OneToOne {
		c.Source = []netip.Prefix{netip.PrefixFrom(r.Inside.Netip(), 32)}
	}
	if c.blocks() {
		c.BlockSize = max(c.BlockSize, unit)
		c.lo = uint16(min((int(c.lo)+unit-1)/unit*unit, 65535-unit+1)) // blocks are whole words of the bitmaps
		c.whole = false
	}
	if c.Type == CarrierGrade {
		c.MaxBlocks = max(c.MaxBlocks, 1)
	}
	c.sorted = slices.Clone(r.Outside)
	slices.Sort(c.sorted)
	c.id = c.identity()
	return c
}

// blocks reports whether ports are given in blocks.
func (r *rule) blocks() bool { return r.Type == CarrierGrade || r.Type == Deterministic }

// perAddress is how many blocks an outside address has.
func (r *rule) perAddress() int { return (int(r.hi) - int(r.lo) + 1) / r.BlockSize }

// has reports whether the rule translates to an address.
func (r *rule) has(a packet.Addr) bool {
	if len(r.sorted) == 1 {
		return r.sorted[0] == a
	}
	_, found := slices.BinarySearch(r.sorted, a)
	return found
}

// applies reports whether a rule's source and protocol let it stand for an inside host.
func (r *rule) applies(protocol uint8, src packet.Addr) bool {
	return (r.Protocol == 0 || r.Protocol == protocol) && within(r.Source, src)
}

// identity is the same for rules that say the same of which packets they take and how. Where they are translated to,
// who is let in, and the range of ports may change without ending what exists.
func (r *rule) identity() uint64 {
	h := fnv.New64a()
	text := []byte{byte(r.Type), r.Protocol}
	text = binary.BigEndian.AppendUint16(text, r.Out)
	text = binary.BigEndian.AppendUint32(text, uint32(r.Inside))
	if r.blocks() {
		text = binary.BigEndian.AppendUint32(text, uint32(r.BlockSize))
	}
	for _, list := range [][]netip.Prefix{r.Source, r.Destination} {
		text = binary.BigEndian.AppendUint32(text, uint32(len(list)))
		for _, prefix := range list {
			text = binary.BigEndian.AppendUint32(text, uint32(packet.AddrFrom(prefix.Addr())))
			text = append(text, byte(prefix.Bits()))
		}
	}
	h.Write(text)
	return max(h.Sum64(), forwardID+1)
}

// within reports whether an address is in one of the prefixes, or there are none.
func within(list []netip.Prefix, a packet.Addr) bool {
	if len(list) == 0 {
		return true
	}
	for _, prefix := range list {
		if (a^packet.AddrFrom(prefix.Addr()))&packet.Mask(prefix.Bits()) == 0 {
			return true
		}
	}
	return false
}
