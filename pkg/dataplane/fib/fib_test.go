package fib

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gaissmai/bart"

	"vrouterd/internal/packet"
)

func mustInsert(t *testing.T, table *Table, prefixes ...Change) {
	t.Helper()
	for _, c := range prefixes {
		if err := table.Insert(c.Addr, c.Bits, c.Value); err != nil {
			t.Fatal(err)
		}
	}
}

func wantLookup(t *testing.T, table *Table, a packet.Addr, want Value) {
	t.Helper()
	if got := table.Lookup(a); got != want {
		t.Errorf("Lookup(%v) = %d, want %d", a, got, want)
	}
}

func TestEmptyTableHasNoRoute(t *testing.T) {
	table := newTable()
	for _, a := range []packet.Addr{0, 1, 10 << 24, packet.Broadcast} {
		wantLookup(t, table, a, 0)
	}
	if _, _, _, ok := table.Match(5); ok || table.Len() != 0 {
		t.Error("an empty table matches")
	}
	if table.Delete(0, 0) {
		t.Error("an empty table had a default route to delete")
	}
	for p := range table.All() {
		t.Errorf("an empty table has %v", p)
	}
}

func TestDefaultRouteCoversEveryAddress(t *testing.T) {
	table := newTable()
	mustInsert(t, table, Change{0, 0, 7})
	for _, a := range []packet.Addr{0, 1, 10 << 24, packet.Broadcast} {
		wantLookup(t, table, a, 7)
	}
	if !table.Delete(0, 0) {
		t.Error("the default route was not found")
	}
	wantLookup(t, table, 0, 0)
}

func TestHostRouteCoversOneAddress(t *testing.T) {
	for _, a := range []packet.Addr{0, 1, 10<<24 | 63, 10<<24 | 64, 10<<24 | 255, packet.Broadcast} {
		table := newTable()
		mustInsert(t, table, Change{0, 0, 1}, Change{a, 32, 2})
		wantLookup(t, table, a-1, 1)
		wantLookup(t, table, a, 2)
		wantLookup(t, table, a+1, 1)
	}
}

func TestEveryLengthOnTheWayToOneAddress(t *testing.T) {
	const a = packet.Addr(0xa5a5a5a5)
	table := newTable()
	for bits := 0; bits <= 32; bits++ {
		mustInsert(t, table, Change{a & packet.Mask(bits), bits, Value(bits + 1)})
		wantLookup(t, table, a, Value(bits+1))
	}
	for bits := 32; bits >= 0; bits-- {
		if bits > 0 {
			// The address that leaves the route at its last bit has the next shorter one.
			wantLookup(t, table, a^(1<<(32-bits)), Value(bits))
		}
		if !table.Delete(a&packet.Mask(bits), bits) {
			t.Errorf("/%d was not found", bits)
		}
		wantLookup(t, table, a, Value(bits))
	}
}

func TestLargestValueIsKept(t *testing.T) {
	for _, bits := range []int{0, 8, 9, 16, 17, 18, 24, 25, 32} {
		table := newTable()
		a := packet.Addr(10<<24) & packet.Mask(bits)
		mustInsert(t, table, Change{a, bits, MaxValue})
		wantLookup(t, table, a, MaxValue)
		if v, ok := table.Get(a, bits); v != MaxValue || !ok {
			t.Errorf("Get of a /%d = %d, %v", bits, v, ok)
		}
	}
}

func TestRefusedChangesSayWhatWouldBeRight(t *testing.T) {
	table := newTable()
	mustInsert(t, table, Change{10 << 24, 8, 1})
	for _, c := range []struct {
		change Change
		says   string
	}{
		{Change{10 << 24, -1, 1}, "must be 0 to 32"},
		{Change{10 << 24, 33, 1}, "must be 0 to 32"},
		{Change{10<<24 | 1, 8, 1}, "10.0.0.0/8"},
		{Change{10<<24 | 1, 8, 0}, "10.0.0.0/8"},
		{Change{1, 0, 1}, "0.0.0.0/0"},
		{Change{10 << 24, 8, MaxValue + 1}, "above 2147483647"},
	} {
		batch := []Change{{20 << 24, 8, 1}, c.change, {10 << 24, 8, 0}}
		err := table.Apply(batch)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "change 1") {
			t.Errorf("Apply with %+v: error %v, want one with %q", c.change, err, c.says)
		}
		if table.Len() != 1 || table.Lookup(10<<24) != 1 || table.Lookup(20<<24) != 0 {
			t.Errorf("a refused batch changed the table")
		}
	}
	if err := table.Insert(10<<24, 8, 0); err == nil {
		t.Error("value 0 was inserted")
	}
	if table.Delete(10<<24|1, 8) || table.Delete(10<<24, 40) {
		t.Error("a prefix that cannot exist was deleted")
	}
}

func TestTableRefusesToGrowBeyondItsBound(t *testing.T) {
	table := newTable()
	mustInsert(t, table, Change{10 << 24, 8, 1})
	table.routes.count = MaxRoutes // as if so many others were there
	if err := table.Insert(20<<24, 8, 1); err == nil || !strings.Contains(err.Error(), "at most 2097152") {
		t.Errorf("one route too many: error %v", err)
	}
	wantLookup(t, table, 20<<24, 0)
	mustInsert(t, table, Change{10 << 24, 8, 2})
	wantLookup(t, table, 10<<24, 2)
	if !table.Delete(10<<24, 8) {
		t.Error("a full table does not let go of a route")
	}
	mustInsert(t, table, Change{20 << 24, 8, 3})
}

func TestBlocksAreAsCoarseAsTheirRoutesAllow(t *testing.T) {
	for _, c := range []struct {
		routes []Change
		size   int // cells taken, the empty block included
	}{
		{[]Change{{10 << 24, 8, 1}}, unit},
		{[]Change{{10 << 24, 16, 1}}, unit},
		{[]Change{{10 << 24, 18, 1}}, unit},
		{[]Change{{10 << 24, 19, 1}}, unit + unit},
		{[]Change{{10 << 24, 20, 1}, {10<<24 | 1<<12, 20, 2}}, unit + unit},
		{[]Change{{10 << 24, 22, 1}}, unit + 16},
		{[]Change{{10 << 24, 24, 1}}, unit + 64},
		{[]Change{{10 << 24, 24, 1}, {10<<24 | 1<<8, 24, 1}}, unit + 32}, // two halves with one value are one /23
		{[]Change{{10 << 24, 27, 1}}, unit + 64 + unit},
		{[]Change{{10 << 24, 32, 1}}, unit + 64 + unit + 32},
		{[]Change{{10 << 24, 29, 1}, {10<<24 | 64, 30, 1}}, unit + 64 + unit + 2*unit},
	} {
		table := newTable()
		if err := table.Apply(c.routes); err != nil {
			t.Fatal(err)
		}
		if int(table.arena.live) != c.size {
			t.Errorf("%v takes %d cells, want %d", c.routes, table.arena.live, c.size)
		}
		checkArena(t, table)
	}
}

func TestTheLastChangeOfAPrefixInABatchCounts(t *testing.T) {
	for _, bits := range []int{0, 8, 9, 16, 17, 24, 32} {
		table := newTable()
		a := packet.Addr(10<<24) & packet.Mask(bits)
		for _, c := range []struct {
			values []Value
			want   Value
		}{
			{[]Value{1, 0}, 0}, {[]Value{0, 2}, 2}, {[]Value{0, 0, 3}, 3},
			{[]Value{0, 4, 0}, 0}, {[]Value{5, 6}, 6}, {[]Value{0, 7, 0, 8}, 8}, {[]Value{0}, 0},
		} {
			// A change of a short route beside it makes Apply publish in two rounds.
			batch := []Change{{128 << 24, 1, Value(len(c.values))}}
			for _, v := range c.values {
				batch = append(batch, Change{a, bits, v})
			}
			if err := table.Apply(batch); err != nil {
				t.Fatal(err)
			}
			wantLookup(t, table, 10<<24, c.want)
			want := 1
			if c.want != 0 {
				want = 2
			}
			if table.Len() != want {
				t.Errorf("/%d, %v: Len() = %d, want %d", bits, c.values, table.Len(), want)
			}
		}
		checkArena(t, table)
	}
}

func TestAllStopsWhenAsked(t *testing.T) {
	table := newTable()
	routes := append(labRoutes(), scatteredRoutes(50)...)
	if err := table.Apply(routes); err != nil {
		t.Fatal(err)
	}
	for stop := 1; stop < table.Len(); stop += 7 {
		n := 0
		for range table.All() {
			if n++; n == stop {
				break
			}
		}
		if n != stop {
			t.Fatalf("All() went on to %d after it was stopped at %d", n, stop)
		}
	}
}

func TestLookupAgreesWithBart(t *testing.T) {
	s := &source{Rand: rand.New(rand.NewPCG(11, 11))}
	table, oracle := newTable(), new(bart.Table[Value])
	for range 40 {
		batch := s.changes(500)
		if err := table.Apply(batch); err != nil {
			t.Fatal(err)
		}
		for _, c := range batch {
			if c.Value == 0 {
				oracle.Delete(c.netip())
			} else {
				oracle.Insert(c.netip(), c.Value)
			}
		}
		if table.Len() != oracle.Size() {
			t.Fatalf("Len() = %d, bart has %d", table.Len(), oracle.Size())
		}
		for i := range 20000 {
			a := s.addr()
			if i%2 == 0 {
				a = packet.Addr(s.Uint32())
			}
			want, _ := oracle.Lookup(a.Netip())
			if got := table.Lookup(a); got != want {
				t.Fatalf("Lookup(%v) = %d, bart says %d", a, got, want)
			}
		}
	}
	next, stop := oracle.AllSorted4(), 0
	want := make([]string, 0, oracle.Size())
	for p, v := range next {
		want = append(want, fmt.Sprint(p, v))
	}
	for p, v := range table.All() {
		if got := fmt.Sprint(p, v); got != want[stop] {
			t.Fatalf("All() gives %s, bart %s", got, want[stop])
		}
		stop++
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	table := newTable()
	if err := table.Apply(labRoutes()); err != nil {
		t.Fatal(err)
	}
	var sum Value
	for _, c := range labRoutes() {
		if n := testing.AllocsPerRun(10, func() { sum += table.Lookup(c.Addr) }); n != 0 {
			t.Errorf("Lookup(%v) allocates %v times", c.Addr, n)
		}
	}
	if sum == 0 {
		t.Error("no route was found")
	}
}

func TestSteadyUpdatesAllocateNothing(t *testing.T) {
	table := newTable()
	routes := labRoutes()
	if err := table.Apply(routes); err != nil {
		t.Fatal(err)
	}
	flap := func() {
		for _, c := range routes {
			if !table.Delete(c.Addr, c.Bits) || table.Insert(c.Addr, c.Bits, c.Value) != nil {
				t.Fatalf("%v/%d does not flap", c.Addr, c.Bits)
			}
		}
	}
	flap()
	// A route that is alone in its list or region takes that with it and
	// brings it back, so not every flap is free; a few are.
	if n := testing.AllocsPerRun(20, flap); n > float64(len(routes)) {
		t.Errorf("%d flaps allocate %v times", len(routes), n)
	}
}

func TestSmallTablesAreSmall(t *testing.T) {
	for _, c := range []struct {
		name           string
		routes         []Change
		bytes, control int
	}{
		{"no route", nil, 16 << 10, 16 << 10},
		{"100 lab routes", labRoutes(), 64 << 10, 64 << 10},
		{"100 scattered host routes", scatteredRoutes(100), 300 << 10, 1500 << 10},
	} {
		table := newTable()
		mustInsert(t, table, c.routes...)
		t.Logf("%s: %d bytes for readers, %d for the writer", c.name, table.Bytes(), table.ControlBytes())
		if table.Bytes() > c.bytes {
			t.Errorf("%s: readers' structure has %d bytes, want at most %d", c.name, table.Bytes(), c.bytes)
		}
		if table.ControlBytes() > c.control {
			t.Errorf("%s: the writer's store has %d bytes, want at most %d", c.name, table.ControlBytes(), c.control)
		}
	}
}
