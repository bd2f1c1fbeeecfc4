package fib

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
)

// history is a list of batches and what the twin answers after each.
type history struct {
	batches [][]Change
	addrs   []packet.Addr
	answers [][]Value // answers[i][j]: for addrs[j] after the first i batches
}

// newHistory draws batches that cover, uncover and split the same few
// addresses with routes of all lengths, and now and then fills and empties another
// corner of the table, so that the arena grows and is compacted meanwhile.
func newHistory(n int) *history {
	r := rand.New(rand.NewPCG(7, 7))
	h := &history{}
	for range 24 {
		h.addrs = append(h.addrs, packet.Addr(10<<24|1<<16|r.Uint32N(1<<16)), packet.Addr(10<<24|r.Uint32N(1<<24)))
	}
	w := twin{}
	answer := func() {
		list := make([]Value, len(h.addrs))
		for i, a := range h.addrs {
			_, list[i] = w.match(a)
		}
		h.answers = append(h.answers, list)
	}
	answer()
	for i := range n {
		var batch []Change
		if i%10 == 0 {
			// This stands first, so that the changes below are far apart in time
			// where they are published in several rounds.
			v := Value(i % 20 / 10) // insert them, delete them
			for j := range 600 {
				batch = append(batch, Change{packet.Addr(100<<24 | j<<14), 32, v * Value(j+1)})
			}
		}
		for range 1 + r.IntN(6) {
			bits := r.IntN(33)
			if r.IntN(2) == 0 {
				bits = []int{0, 7, 8, 9, 15, 16, 17, 18, 19, 24, 25, 32}[r.IntN(12)]
			}
			a := h.addrs[r.IntN(len(h.addrs))] & packet.Mask(bits)
			v := Value(0)
			if r.IntN(2) == 0 {
				v = Value(1 + r.IntN(1000))
			}
			batch = append(batch, Change{a, bits, v})
		}
		h.batches = append(h.batches, batch)
		w.apply(batch)
		answer()
	}
	return h
}

func TestReadersSeeTheOldOrTheNewRoute(t *testing.T) {
	h := newHistory(1500)
	d := rcu.NewDomain()
	table := New(d)
	var started, finished atomic.Int64
	var heads atomic.Int64
	var wg sync.WaitGroup
	for n := range 3 {
		wg.Add(1)
		reader := d.Register()
		go func() {
			defer wg.Done()
			defer d.Unregister(reader)
			r := rand.New(rand.NewPCG(uint64(n), 9))
			for finished.Load() < int64(len(h.batches)) {
				d.Enter(reader)
				for range 16 {
					j := r.IntN(len(h.addrs))
					before := finished.Load()
					v := table.Lookup(h.addrs[j])
					after := started.Load()
					right := false
					for i := before; i <= after; i++ {
						right = right || h.answers[i][j] == v
					}
					if !right {
						t.Errorf("between batches %d and %d Lookup(%v) = %d, which it never was (from %d to %d)",
							before, after, h.addrs[j], v, h.answers[before][j], h.answers[after][j])
						d.Exit(reader)
						return
					}
				}
				d.Exit(reader)
			}
		}()
	}
	head := table.head.Load()
	for i, batch := range h.batches {
		started.Store(int64(i + 1))
		if err := table.Apply(batch); err != nil {
			t.Error(err)
		}
		finished.Store(int64(i + 1))
		if now := table.head.Load(); now != head {
			head = now
			heads.Add(1)
		}
	}
	wg.Wait()
	if heads.Load() < 10 {
		t.Errorf("the arena moved only %d times: the test does not cover that", heads.Load())
	}
	checkArena(t, table)
}

// The hand-over between the routes of a slot and the short ones beside it is the
// one place where an answer rests on two words.
func TestAddressIsNeverLostBetweenTwoRoutes(t *testing.T) {
	d := rcu.NewDomain()
	table := New(d)
	const a = packet.Addr(10<<24 | 1<<16 | 77)
	mustInsert(t, table, Change{10 << 24, 8, 1})
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		reader := d.Register()
		go func() {
			defer wg.Done()
			for !done.Load() {
				d.Enter(reader)
				for range 64 {
					if v := table.Lookup(a); v != 1 && v != 2 {
						t.Errorf("Lookup(%v) = %d, want 1 or 2", a, v)
						done.Store(true)
					}
				}
				d.Exit(reader)
			}
		}()
	}
	for i := 0; i < 25000 && !done.Load(); i++ {
		longer := Change{10<<24 | 1<<16, 16, 2}
		if i&1 != 0 {
			longer = Change{a, 32, 2}
		}
		mustInsert(t, table, longer)
		table.Delete(10<<24, 8)
		mustInsert(t, table, Change{10 << 24, 8, 1})
		table.Delete(longer.Addr, longer.Bits)
	}
	done.Store(true)
	wg.Wait()
}

func TestEveryRoundOfStoresIsCounted(t *testing.T) {
	table := newTable()
	for _, c := range []Change{
		{0, 0, 1}, {10 << 24, 8, 1}, {10 << 24, 9, 1}, {10 << 24, 16, 1}, {10 << 24, 24, 1}, {10 << 24, 32, 1},
		{10 << 24, 32, 0}, {10 << 24, 24, 0}, {10 << 24, 16, 0}, {10 << 24, 9, 0}, {10 << 24, 8, 0}, {0, 0, 0},
	} {
		before := table.changes.Load()
		if err := table.Apply([]Change{c}); err != nil {
			t.Fatal(err)
		}
		if table.changes.Load() == before {
			t.Errorf("%v/%d = %d was published without being counted", c.Addr, c.Bits, c.Value)
		}
	}
}

func TestBlocksAreNotReusedWhileAReaderMayHoldThem(t *testing.T) {
	d := rcu.NewDomain()
	table := New(d)
	if err := table.Apply([]Change{{10 << 24, 8, 1}, {10<<24 | 1<<8, 24, 2}, {10<<24 | 1<<8 | 5, 32, 3}}); err != nil {
		t.Fatal(err)
	}
	reader := d.Register()
	d.Enter(reader)
	// What a reader holds that was interrupted between two loads.
	h := table.head.Load()
	old := ref(table.slot(10 << 10))
	for i := range Value(2000) {
		if err := table.Insert(10<<24|1<<8, 24, 10+i); err != nil {
			t.Fatal(err)
		}
		e := h.cell(old, 1<<8)
		if e&link == 0 {
			t.Fatalf("after %d changes the old block of the /18 was overwritten: entry %#x", i, e)
		}
		for low, want := range map[packet.Addr]uint32{5: 3, 6: 2, 32: 2} {
			e := h.cell(ref(e&^link), low)
			if e&link != 0 {
				e = h.cell(ref(e&^link), low&(hostCells-1))
			}
			if e != want {
				t.Fatalf("after %d changes the old block of the /24 gives %d for .%d, want %d", i, e, low, want)
			}
		}
	}
	held, used := table.Bytes(), table.arena.used
	d.Exit(reader)
	for i := range Value(5000) {
		if err := table.Insert(10<<24|1<<8, 24, 10+i); err != nil {
			t.Fatal(err)
		}
	}
	if now := table.Bytes(); now > held {
		t.Errorf("after the reader left, memory grew from %d to %d bytes", held, now)
	}
	if table.arena.used > used {
		t.Errorf("%d more cells were taken while old blocks could be had", table.arena.used-used)
	}
	checkArena(t, table)
}

func TestMemoryStaysBoundedUnderEndlessChurn(t *testing.T) {
	d := rcu.NewDomain()
	table := New(d)
	reader := d.Register()
	s := &source{Rand: rand.New(rand.NewPCG(5, 5))}
	// 4000 routes in the same places all the time, half of them present.
	pool := make([]Change, 4000)
	for i := range pool {
		bits := 1 + s.IntN(32)
		pool[i] = Change{s.addr() & packet.Mask(bits), bits, Value(i + 1)}
	}
	churn := func(n int) (most int) {
		for i := range n {
			d.Enter(reader)
			c := pool[s.IntN(len(pool))]
			if s.IntN(2) == 0 {
				c.Value = 0
			}
			if err := table.Apply([]Change{c}); err != nil {
				t.Fatal(err)
			}
			d.Exit(reader)
			if i%100 == 0 {
				most = max(most, table.Bytes()+table.ControlBytes())
			}
		}
		return most
	}
	churn(20000)
	first := churn(20000)
	if later := churn(100000); later > first+first/4 {
		t.Errorf("memory grew from %d to %d bytes under churn", first, later)
	}
	checkArena(t, table)
	for i := range pool {
		pool[i].Value = 0
	}
	if err := table.Apply(pool); err != nil {
		t.Fatal(err)
	}
	if table.Len() != 0 {
		t.Errorf("%d routes left", table.Len())
	}
	if empty := newTable(); table.Bytes() > empty.Bytes()+minWaste+4*minGrowth {
		t.Errorf("the emptied table still has %d bytes; a new one has %d", table.Bytes(), empty.Bytes())
	}
}
