package rip

// slots is a set of ports by their slot number.
type slots struct {
	low  uint64   // slots 0 to 63, which is all that most routers have
	more []uint64 // 64 and on
}

func (s *slots) has(i int) bool {
	if i < 64 {
		return s.low>>i&1 != 0
	}
	i -= 64
	return i/64 < len(s.more) && s.more[i/64]>>(i%64)&1 != 0
}

func (s *slots) add(i int) {
	if i < 64 {
		s.low |= 1 << i
		return
	}
	i -= 64
	for i/64 >= len(s.more) {
		s.more = append(s.more, 0)
	}
	s.more[i/64] |= 1 << (i % 64)
}

func (s *slots) remove(i int) {
	if i < 64 {
		s.low &^= 1 << i
	} else if i -= 64; i/64 < len(s.more) {
		s.more[i/64] &^= 1 << (i % 64)
	}
}
