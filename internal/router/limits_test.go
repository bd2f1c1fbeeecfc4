package router

import (
	"math/rand/v2"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

func TestErrorsAreLimitedInAllAndToOneAddress(t *testing.T) {
	l := newErrorLimiter()
	l.set(100, 10)
	now := time.Unix(1000, 0)
	allowed := func(n int, to packet.Addr) (got int) {
		for range n {
			if l.allow(now, to) {
				got++
			}
		}
		return got
	}
	if got := allowed(50, 1); got != 10 {
		t.Errorf("one address gets %d at once, want 10", got)
	}
	total := 10
	for a := range packet.Addr(30) {
		total += allowed(50, 2+a)
	}
	if total != 100 {
		t.Errorf("all together get %d, want 100", total)
	}
	now = now.Add(time.Second / 2)
	if got := allowed(50, 1); got != 5 {
		t.Errorf("half a second later one gets %d, want 5", got)
	}
	now = now.Add(time.Hour)
	if got := allowed(50, 1); got != 10 {
		t.Errorf("tokens pile up: %d", got)
	}
	now = now.Add(-time.Minute)
	if got := allowed(50, 1); got != 0 {
		t.Errorf("a clock that steps back gives %d", got)
	}
}

func TestNoLimitIsNoLimit(t *testing.T) {
	now := time.Unix(1000, 0)
	l := newErrorLimiter()
	for i := range 5000 {
		if !l.allow(now, packet.Addr(i%3)) {
			t.Fatal("held back without a limit")
		}
	}
	l.set(0, 5)
	got := 0
	for range 100 {
		if l.allow(now, 9) {
			got++
		}
	}
	if got != 5 {
		t.Errorf("with a limit for one address alone: %d of 100", got)
	}
}

func TestNoisyAddressDoesNotUseUpWhatAllShare(t *testing.T) {
	l := newErrorLimiter()
	l.set(100, 10)
	now := time.Unix(1000, 0)
	for range 10000 {
		l.allow(now, 1)
	}
	if !l.allow(now, 2) {
		t.Error("a quiet address is held back by a noisy one")
	}
}

func TestAddressesUnderWatchAreBounded(t *testing.T) {
	l := newErrorLimiter()
	l.set(0, 1)
	now := time.Unix(1000, 0)
	for a := range packet.Addr(3 * maxLimited) {
		l.allow(now, a)
	}
	if len(l.each) != maxLimited {
		t.Errorf("%d addresses are kept, want %d", len(l.each), maxLimited)
	}
	if l.allow(now, 9*maxLimited) {
		t.Error("the addresses without room share one bucket, which is empty")
	}
	now = now.Add(time.Second)
	if !l.allow(now, 9*maxLimited) || len(l.each) > maxLimited {
		t.Errorf("those that have been quiet do not make way; %d are kept", len(l.each))
	}
}

// slowBucket remembers when every token was taken.
type slowBucket struct {
	tokens float64
	last   time.Time
	begun  bool
}

func (b *slowBucket) refill(now time.Time, depth float64) {
	if !b.begun {
		b.begun, b.tokens, b.last = true, depth, now
	}
	b.tokens = min(depth, b.tokens+depth*now.Sub(b.last).Seconds())
	b.last = now
}

func TestLimiterAgainstItsSlowTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	l := newErrorLimiter()
	l.set(64, 8) // powers of two, and times in 64ths: no rounding
	var all slowBucket
	each := map[packet.Addr]*slowBucket{}
	now := time.Unix(1000, 0)
	for i := range 20000 {
		now = now.Add(time.Duration(r.IntN(3)) * time.Second / 64)
		to := packet.Addr(r.IntN(20))
		if each[to] == nil {
			each[to] = &slowBucket{}
		}
		want := false
		each[to].refill(now, 8)
		if each[to].tokens >= 1 {
			each[to].tokens--
			all.refill(now, 64)
			if all.tokens >= 1 {
				all.tokens--
				want = true
			}
		}
		if got := l.allow(now, to); got != want {
			t.Fatalf("step %d, to %d: %v, want %v", i, to, got, want)
		}
	}
}
