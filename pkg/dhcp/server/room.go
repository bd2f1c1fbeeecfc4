package server

import (
	"math/bits"
	"slices"
	"sort"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// room says which addresses of one range are taken. It finds the next free one in a few steps however large and
// full the range is: 4096 addresses are a page, which exists once one of them is taken and knows which of its words are full, and a
// bit a page says which pages are.
type room struct {
	size, taken uint64
	pages       []*page
	full        []uint64
}

const (
	pageBits = 12
	pageSize = 1 << pageBits
)

type page struct {
	words [pageSize / 64]uint64
	full  uint64 // a bit a word
	taken int
}

func newRoom(size uint64) room {
	n := (size + pageSize - 1) / pageSize
	r := room{size: size, pages: make([]*page, n), full: make([]uint64, (n+63)/64)}
	for past := size; past < n*pageSize; past++ {
		r.set(past)
	}
	for past := n; past < uint64(len(r.full))*64; past++ {
		r.full[past/64] |= 1 << (past % 64)
	}
	r.taken = 0
	return r
}

// set takes an address, by its place in the range.
func (r *room) set(at uint64) {
	n := at / pageSize
	p := r.pages[n]
	if p == nil {
		p = &page{}
		r.pages[n] = p
	}
	word, bit := at%pageSize/64, uint64(1)<<(at%64)
	if p.words[word]&bit != 0 {
		return
	}
	r.taken++
	p.taken++
	if p.words[word] |= bit; p.words[word] == ^uint64(0) {
		p.full |= 1 << word
	}
	if p.taken == pageSize {
		r.full[n/64] |= 1 << (n % 64)
	}
}

// clear gives an address back.
func (r *room) clear(at uint64) {
	n := at / pageSize
	p := r.pages[n]
	word, bit := at%pageSize/64, uint64(1)<<(at%64)
	if p == nil || p.words[word]&bit == 0 {
		return
	}
	r.taken--
	p.taken--
	p.words[word] &^= bit
	p.full &^= 1 << word
	r.full[n/64] &^= 1 << (n % 64)
}

// next is the first free place at or after one.
func (r *room) next(from uint64) (uint64, bool) {
	if from >= r.size || r.taken == r.size {
		return 0, false
	}
	n := from / pageSize
	if in, ok := r.pages[n].next(from % pageSize); ok {
		return n*pageSize + in, true
	}
	n++
	for word := n / 64; word < uint64(len(r.full)); word++ {
		open := ^r.full[word]
		if word == n/64 {
			open &= ^uint64(0) << (n % 64)
		}
		if open != 0 {
			n = word*64 + uint64(bits.TrailingZeros64(open))
			in, _ := r.pages[n].next(0)
			return n*pageSize + in, true
		}
	}
	return 0, false
}

func (p *page) next(from uint64) (uint64, bool) {
	if p == nil {
		return from, true
	}
	word := from / 64
	if open := ^p.words[word] & (^uint64(0) << (from % 64)); open != 0 {
		return word*64 + uint64(bits.TrailingZeros64(open)), true
	}
	open := ^p.full & (^uint64(0) << (word + 1))
	if open == 0 {
		return 0, false
	}
	word = uint64(bits.TrailingZeros64(open))
	return word*64 + uint64(bits.TrailingZeros64(^p.words[word])), true
}

// span is a range without exclusions.
type span struct {
	Range
	pool  *pool
	start uint64 // how many addresses of the pool stand before it
	room
}

// pool is what one kind of client is served from: the ranges of a subnet, or those of a vendor class.
type pool struct {
	conf  *Pool // nil: the subnet's own
	spans []*span
	size  uint64 // addresses that can be given away: neither excluded nor reserved nor the router's

	offered, spent, declined order.Chain[*binding] // of its addresses, oldest first
}

// add gives ranges to the pool, less what is excluded. exclude is sorted.
func (p *pool) add(ranges, exclude []Range) {
	for _, r := range ranges {
		for first := uint64(r.First); first <= uint64(r.Last); {
			last := uint64(r.Last)
			i := sort.Search(len(exclude), func(i int) bool { return uint64(exclude[i].Last) >= first })
			if i < len(exclude) && uint64(exclude[i].First) <= last {
				if uint64(exclude[i].First) <= first {
					first = uint64(exclude[i].Last) + 1
					continue
				}
				last = uint64(exclude[i].First) - 1
			}
			p.spans = append(p.spans, &span{
				Range: Range{packet.Addr(first), packet.Addr(last)}, pool: p, start: p.size, room: newRoom(last - first + 1),
			})
			p.size += last - first + 1
			first = last + 1
		}
	}
}

// merged sorts ranges by their ends, and joins those that overlap, so that the ends are sorted as the beginnings are.
func merged(ranges []Range) (out []Range) {
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b Range) int {
		if a.First < b.First {
			return -1
		}
		return 1
	})
	for _, r := range ranges {
		if n := len(out); n > 0 && r.First <= out[n-1].Last {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// fresh is a free address at or after a place that hash chooses.
func (p *pool) fresh(hash uint64) (packet.Addr, bool) {
	var size uint64
	if n := len(p.spans); n > 0 {
		size = p.spans[n-1].start + p.spans[n-1].room.size
	}
	if size == 0 {
		return 0, false
	}
	at := hash % size
	k := sort.Search(len(p.spans), func(i int) bool { return p.spans[i].start > at }) - 1
	from := at - p.spans[k].start
	for i := range len(p.spans) + 1 {
		s := p.spans[(k+i)%len(p.spans)]
		if n, ok := s.next(from); ok {
			return s.First + packet.Addr(n), true
		}
		from = 0
	}
	return 0, false
}
