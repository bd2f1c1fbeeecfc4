package rcu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestGracePeriodWaitsForThoseInsideAndNobodyElse(t *testing.T) {
	d := NewDomain()
	a, b := d.Register(), d.Register()
	if !d.Passed(d.Retire()) {
		t.Error("nobody reads, and still it has not passed")
	}
	d.Enter(a)
	token := d.Retire()
	if d.Passed(token) {
		t.Error("passed under a reader that was inside")
	}
	d.Enter(b) // after the moment: it cannot have seen what was unlinked
	if d.Passed(token) {
		t.Error("passed under the first reader")
	}
	d.Exit(a)
	if !d.Passed(token) {
		t.Error("held up by a reader that came later")
	}
	if d.Passed(d.Retire()) {
		t.Error("passed under the second reader")
	}
	d.Exit(b)
}

func TestReaderThatLeftAndCameBackDoesNotHoldUp(t *testing.T) {
	d := NewDomain()
	r := d.Register()
	d.Enter(r)
	token := d.Retire()
	d.Exit(r)
	d.Enter(r)
	if !d.Passed(token) {
		t.Error("its new read section began after the moment")
	}
}

func TestTokensPassInTheirOrder(t *testing.T) {
	d := NewDomain()
	r := d.Register()
	first := d.Retire()
	d.Enter(r)
	second := d.Retire()
	if !d.Passed(first) || d.Passed(second) || first >= second {
		t.Errorf("first %v, second %v", d.Passed(first), d.Passed(second))
	}
}

func TestReaderThatIsGoneHoldsNobodyUp(t *testing.T) {
	d := NewDomain()
	a, b := d.Register(), d.Register()
	d.Enter(a)
	token := d.Retire()
	d.Unregister(b)
	if d.Passed(token) {
		t.Error("the wrong reader was removed")
	}
	d.Unregister(a)
	if !d.Passed(token) {
		t.Error("held up by a reader that is gone")
	}
	d.Unregister(a) // once more does no harm
	d.Synchronize()
}

// TestNoReaderSeesWhatIsReused has readers look at cells that a writer unlinks and, after
// the grace period, breaks: a reader that finds its cell broken was not waited for. Cells are
// written without atomics, so that the race detector is a judge as well.
func TestNoReaderSeesWhatIsReused(t *testing.T) {
	type cell struct{ value int }
	d := NewDomain()
	var current atomic.Pointer[cell]
	current.Store(&cell{1})
	var stop atomic.Bool
	var wg sync.WaitGroup
	var reads atomic.Int64
	for range 3 {
		r := d.Register()
		wg.Go(func() {
			defer d.Unregister(r)
			for !stop.Load() {
				d.Enter(r)
				c := current.Load()
				for range 3 {
					if c.value == 0 {
						t.Error("a reader holds a cell that was given away")
					}
				}
				d.Exit(r)
				reads.Add(1)
				runtime.Gosched()
			}
		})
	}
	var resting []struct {
		c *cell
		t Token
	}
	for i := 0; i < 5000 || reads.Load() < 100; i++ {
		old := current.Swap(&cell{i + 1})
		if i%3 == 0 {
			d.Synchronize()
			old.value = 0
			continue
		}
		resting = append(resting, struct {
			c *cell
			t Token
		}{old, d.Retire()})
		for len(resting) > 0 && d.Passed(resting[0].t) {
			resting[0].c.value = 0
			resting = resting[1:]
		}
	}
	stop.Store(true)
	wg.Wait()
	for _, r := range resting {
		if !d.Passed(r.t) {
			t.Error("all readers are gone, and still it has not passed")
		}
	}
}

func TestReadersMayComeAndGoWhileAWriterWaits(t *testing.T) {
	d := NewDomain()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 300 {
				r := d.Register()
				d.Enter(r)
				runtime.Gosched()
				d.Exit(r)
				d.Unregister(r)
			}
		})
	}
	for range 300 {
		d.Synchronize()
	}
	wg.Wait()
	if n := len(*d.readers.Load()); n != 0 {
		t.Errorf("%d readers are left over", n)
	}
}
