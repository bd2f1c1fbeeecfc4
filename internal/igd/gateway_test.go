package igd

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

var (
	router = netip.MustParseAddr("192.168.1.1")
	host   = netip.MustParseAddr("192.168.1.10")
	other  = netip.MustParseAddr("192.168.1.11")
	lan    = netip.MustParsePrefix("192.168.1.0/24")
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// table is a NAT that remembers mappings and says no as it is told.
type table struct {
	mu       sync.Mutex
	mappings map[Key]Mapping
	down     bool
	link     Link
	refuse   error // of Add
}

func newTable() *table {
	return &table{mappings: map[Key]Mapping{}, link: Link{Up: true, Uptime: 90 * time.Second}}
}

func (g *table) External(context.Context, netip.Addr) (netip.Addr, bool) {
	return netip.MustParseAddr("81.2.69.142"), !g.down
}

func (g *table) Link(context.Context, netip.Addr) (Link, error) { return g.link, nil }

func (g *table) Add(_ context.Context, m Mapping, elsewhere bool) (Mapping, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse != nil {
		return m, g.refuse
	}
	for {
		old, taken := g.mappings[m.Key]
		if m.External != 0 && (!taken || old.Internal.Addr() == m.Internal.Addr()) {
			g.mappings[m.Key] = m
			return m, nil
		}
		if !elsewhere {
			return m, Conflict
		}
		m.External++
	}
}

func (g *table) Delete(_ context.Context, k Key, client netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, ok := g.mappings[k]
	switch {
	case !ok:
		return NoSuchEntry
	case m.Internal.Addr() != client:
		return NotAuthorized
	}
	delete(g.mappings, k)
	return nil
}

func (g *table) Find(_ context.Context, k Key) (Mapping, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m, ok := g.mappings[k]; ok {
		return m, nil
	}
	return Mapping{}, NoSuchEntry
}

func (g *table) List(context.Context, netip.Addr) (all []Mapping, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, m := range g.mappings { // everybody's: the server is not to rely on the filter
		all = append(all, m)
	}
	return all, nil
}

// all is what there is, by external port.
func (g *table) all() []Mapping {
	all, _ := g.List(context.Background(), netip.Addr{})
	slices.SortFunc(all, func(a, b Mapping) int { return cmp.Compare(a.External, b.External) })
	return all
}

// gatewayServer is a server before a table.
func gatewayServer(t testing.TB) (*Server, *table) {
	t.Helper()
	g := newTable()
	s, err := New(Options{Gateway: g, Seed: []byte("02:00:00:00:00:01"), Version: "0.3 test", Boot: start},
		Config{Port: 5000, MaxLease: time.Hour, Permitted: lan.Contains})
	if err != nil {
		t.Fatal(err)
	}
	return s, g
}

func TestAServerNeedsAGatewayAPortAndALease(t *testing.T) {
	for _, c := range []struct {
		o Options
		c Config
	}{
		{Options{}, Config{Port: 80}},
		{Options{Gateway: newTable()}, Config{}},
		{Options{Gateway: newTable()}, Config{Port: 80, MaxLease: time.Millisecond}},
	} {
		if _, err := New(c.o, c.c); err == nil {
			t.Errorf("%+v %+v was accepted", c.o, c.c)
		}
	}
}
