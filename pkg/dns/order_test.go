package dns

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// kept are all answers that are kept, of a name and those below it.
func (s *station) kept(below string) (all []CacheRow) {
	p := Part{Below: below, Names: 1000, Rows: 1000}
	for {
		rows, next := s.m.Cache(s.now, p)
		all = append(all, rows...)
		if p.Behind = next; next == "" {
			return all
		}
	}
}

// names are all names here.
func (s *station) names() []NameRow {
	rows, next := s.m.Names(Part{Names: 1 << 20, Rows: 1 << 20})
	if next != "" {
		s.t.Fatalf("names are left out behind %s", next)
	}
	return rows
}

func mustWire(t *testing.T, text string) string {
	wire, ok := wireName(text)
	if !ok {
		t.Fatalf("%q is no name", text)
	}
	return wire
}

func TestNamesStandInTheOrderOfTheTree(t *testing.T) {
	// Those of RFC 4034 section 6.1, but for the root.
	want := []string{".", "example.", "a.example.", "yljkjljk.a.example.", "z.a.example.", "zabc.a.example.", "z.example.", `\001.z.example.`, "*.z.example.", `\200.z.example.`}
	var o order
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(want)) {
		o.add(mustWire(t, want[i]))
	}
	var got []string
	o.from("\x00", false, func(wire string) bool { got = append(got, textName(wire)); return true })
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestOrderIsThatOfASortedList(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var o order
	var twin []string
	for range 20000 {
		name := mustWire(t, fmt.Sprintf("n%d.d%d.example", rng.IntN(3000), rng.IntN(3)))
		at, has := slices.BinarySearchFunc(twin, name, compareNames)
		if rng.IntN(5) < 2 {
			if o.remove(name); has {
				twin = slices.Delete(twin, at, at+1)
			}
		} else if o.add(name); !has {
			twin = slices.Insert(twin, at, name)
		}
	}
	var got []string
	o.from("\x00", false, func(wire string) bool { got = append(got, wire); return true })
	if !slices.Equal(got, twin) {
		t.Fatalf("%d names in order, expected %d", len(got), len(twin))
	}
	for _, b := range o.blocks {
		if len(b) == 0 || len(b) > maxBlock {
			t.Fatalf("a block has %d names", len(b))
		}
	}
	for _, name := range twin {
		o.remove(name)
	}
	if len(o.blocks) != 0 {
		t.Errorf("%d blocks are left", len(o.blocks))
	}
}

func TestLongTablesAreListedInParts(t *testing.T) {
	c := one()
	for i := range 100 {
		c.Records = append(c.Records, Record{Name: fmt.Sprintf("host%d", i), Addresses: addrs("192.168.1.2", "192.168.1.3")})
	}
	s := newStation(t, c)
	for i := range 50 {
		s.ask(fmt.Sprintf("nobody%d.home.arpa A", i))
		s.ask(fmt.Sprintf("w%d.example.com A", i))
		s.replies(s.only(), 0, fmt.Sprintf("w%d.example.com. 300 A 192.0.2.1", i))
	}
	s.ask(". NS")
	s.replies(s.only(), 0, ". 300 NS a.root.example.")
	if r, next := s.m.Cache(s.now.Add(time.Hour), Part{Names: 7, Rows: 5}); len(r) != 0 || next == "" {
		t.Errorf("of answers whose time is over: %v, and on behind %q", r, next)
	}
	p, seen, parts := Part{Names: 7, Rows: 5}, map[string]bool{}, 0
	for {
		rows, next := s.m.Cache(s.now, p)
		if parts++; len(rows) > 5 {
			t.Fatalf("%d rows", len(rows))
		}
		for _, r := range rows {
			if seen[r.Name] {
				t.Fatalf("%s comes twice", r.Name)
			}
			seen[r.Name] = true
		}
		if p.Behind = next; next == "" {
			break
		}
	}
	if len(seen) != 51 || parts < 51/5 {
		t.Errorf("%d names in %d parts", len(seen), parts)
	}
	for below, want := range map[string]int{"example.com": 50, "Example.Com.": 50, "w7.example.com": 1, "ample.com": 0, "7.example.com": 0, "no..name": 0} {
		if got := s.kept(below); len(got) != want {
			t.Errorf("%d below %s, expected %d", len(got), below, want)
		}
	}
	rows, next := s.m.Names(Part{Names: 10, Rows: 3})
	if len(rows) != 4 || !strings.HasPrefix(next, rows[3].Name) {
		t.Errorf("the rows of a name are parted: %v, %s", rows, next)
	}
	if answered, hidden := s.m.NameCount(); answered != 200 || hidden != 0 {
		t.Errorf("%d are answered, %d hidden", answered, hidden)
	}
}
