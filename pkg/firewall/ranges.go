package firewall

import (
	"net/netip"
	"slices"

	"vrouterd/internal/packet"
)

// span is a range of numbers (addresses or ports), both ends included.
type span struct{ first, last uint32 }

// merged sorts spans and joins those that overlap or touch, so that each number stands in one at most.
func merged(all []span) []span {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b span) int {
		if a.first < b.first {
			return -1
		}
		if a.first > b.first {
			return 1
		}
		return 0
	})
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 && (out[n-1].last == ^uint32(0) || s.first <= out[n-1].last+1) {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

// complement is every number up to last that stands in none of the merged spans. It is empty, not nil, where there is none.
func complement(all []span, last uint32) []span {
	out := []span{}
	next := uint64(0)
	for _, s := range all {
		if uint64(s.first) > next {
			out = append(out, span{uint32(next), s.first - 1})
		}
		next = uint64(s.last) + 1
	}
	if next <= uint64(last) {
		out = append(out, span{uint32(next), last})
	}
	return out
}

// holds reports whether a number stands in one of the merged spans.
func holds(all []span, x uint32) bool {
	low, high := 0, len(all)
	for low < high {
		middle := int(uint(low+high) >> 1)
		if all[middle].last < x {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low < len(all) && all[low].first <= x
}

// prefixSpans are the addresses of prefixes; false for one that is not IPv4.
func prefixSpans(prefixes []netip.Prefix) ([]span, bool) {
	out := make([]span, 0, len(prefixes))
	for _, p := range prefixes {
		if !p.IsValid() || !p.Addr().Is4() {
			return nil, false
		}
		first := uint32(addrOf(p.Masked().Addr()))
		out = append(out, span{first, first | uint32(uint64(1)<<(32-p.Bits())-1)})
	}
	return merged(out), true
}

// portSpans are the ports of ranges; false for one that runs backwards.
func portSpans(ranges []PortRange) ([]span, bool) {
	out := make([]span, 0, len(ranges))
	for _, r := range ranges {
		if r.Min > r.Max {
			return nil, false
		}
		out = append(out, span{uint32(r.Min), uint32(r.Max)})
	}
	return merged(out), true
}

func addrOf(a netip.Addr) packet.Addr {
	b := a.As4()
	return packet.Addr(b[0])<<24 | packet.Addr(b[1])<<16 | packet.Addr(b[2])<<8 | packet.Addr(b[3])
}

func netipOf(a packet.Addr) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}
