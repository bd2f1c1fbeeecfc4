package router

import (
	"testing"
	"time"

	"vrouterd/internal/packet"
)

// allowed is how many of so many errors the limiter lets out at one moment.
func allowed(l *errorLimiter, now time.Time, n int, to func(i int) packet.Addr) (out int) {
	for i := range n {
		if l.allow(now, to(i)) {
			out++
		}
	}
	return out
}

func TestErrorLimitsHoldInAllAndForEachDestination(t *testing.T) {
	now := time.Unix(1000, 0)
	one := func(int) packet.Addr { return 1 }
	many := func(i int) packet.Addr { return packet.Addr(100 + i) }
	l := newErrorLimiter()
	l.set(20, 5)
	if n := allowed(l, now, 50, one); n != 5 {
		t.Errorf("%d errors went to one address, expected 5", n)
	}
	if n := allowed(l, now, 50, many); n != 15 {
		t.Errorf("%d errors went to the others, expected the 15 that are left of 20", n)
	}
	if sent, held := l.counts(); sent != 20 || held != 80 {
		t.Errorf("%d sent and %d held back", sent, held)
	}
	now = now.Add(200 * time.Millisecond)
	if n := allowed(l, now, 50, one); n != 1 {
		t.Errorf("a fifth of a second later %d errors went to one address, expected 1", n)
	}
	if n := allowed(l, now.Add(-time.Second), 50, one) + allowed(l, now, 50, one); n != 0 {
		t.Errorf("%d errors out of a clock that went back", n)
	}
	l.set(0, 0)
	if n := allowed(l, now, 500, one); n != 500 {
		t.Errorf("without limits %d of 500 errors went out", n)
	}
}

func TestErrorLimitsTakeBoundedMemory(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newErrorLimiter()
	l.set(0, 2)
	if n := allowed(l, now, 3*maxLimited, func(i int) packet.Addr { return packet.Addr(i) }); n != maxLimited+2 {
		t.Errorf("%d errors went out: expected one to each of %d addresses, and two to all others together", n, maxLimited)
	}
	if len(l.each) > maxLimited {
		t.Errorf("%d addresses are remembered, the bound is %d", len(l.each), maxLimited)
	}
	// Those that have been quiet make way.
	now = now.Add(time.Second)
	if n := allowed(l, now, 3, func(int) packet.Addr { return 0xffff0000 }); n != 2 || len(l.each) != 1 {
		t.Errorf("a second later %d errors went to a new address, expected 2; %d addresses are remembered", n, len(l.each))
	}
}
