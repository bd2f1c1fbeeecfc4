package router

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"vrouterd/internal/packet"
	"vrouterd/internal/rib"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dataplane/fib"
)

// newBareForwarding is a forwarding over a dataplane without workers, with Ethernet
// ports 1 to 3 and the point-to-point port 4.
func newBareForwarding(t *testing.T) *forwarding {
	t.Helper()
	dp, err := dataplane.New(dataplane.Config{Workers: 1, Clock: func() int64 { return 0 }, Midnight: func() uint32 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dp.Close)
	f := newForwarding(dp)
	for id := dataplane.PortID(1); id <= 4; id++ {
		f.setPort(id, dataplane.Port{Name: fmt.Sprint("p", id), Ethernet: id != 4, MAC: packet.MAC{2, 0, 0, 0, 0, byte(id)}, MTU: 1500})
	}
	return f
}

func (f *forwarding) mustPublish(t *testing.T) {
	t.Helper()
	if err := f.publish(); err != nil {
		t.Fatal(err)
	}
}

// meaning is what the dataplane does with a packet to an address, in words, by what is published.
func (f *forwarding) meaning(a packet.Addr) string {
	v := f.dp.FIB().Lookup(a)
	tables := f.dp.Tables()
	if int(v) >= len(tables.Adjacencies) {
		return fmt.Sprintf("number %d, which the tables do not hold", v)
	}
	adj := tables.Adjacencies[v]
	if adj.Kind != dataplane.Multipath {
		return inWords(adj)
	}
	s := "multipath"
	for _, m := range tables.Members[adj.First : adj.First+uint32(adj.Count)] {
		s += ", " + inWords(tables.Adjacencies[m])
	}
	return s
}

func inWords(a dataplane.Adjacency) string {
	return fmt.Sprintf("%v port %d next hop %v watched %v header %x", a.Kind, a.Port, a.NextHop, a.Watched, a.Header)
}

// belief is the slow twin of forwarding: it keeps what it was told, and answers by
// looking through all of it.
type belief struct {
	macs      map[dataplane.PortID]packet.MAC
	own       []ownClaim
	best      map[netip.Prefix]rib.Change
	neighbors map[neighborKey]packet.MAC
	watched   map[neighborKey]bool
}

type ownClaim struct {
	prefix netip.Prefix
	key    adjacencyKey
}

// route is the best route that covers an address.
func (b *belief) route(a netip.Addr) (best rib.Change, ok bool) {
	for p, c := range b.best {
		if p.Contains(a) && (!ok || p.Bits() > best.Prefix.Bits()) {
			best, ok = c, true
		}
	}
	return best, ok
}

func (b *belief) meaning(a packet.Addr) string {
	n := a.Netip()
	var claims []adjacencyKey
	for _, c := range b.own {
		if c.prefix.Addr() == n {
			claims = append(claims, c.key)
		}
	}
	for _, k := range claims {
		if k.kind == dataplane.Local {
			return inWords(dataplane.Adjacency{Kind: dataplane.Local})
		}
	}
	if len(claims) > 0 {
		return inWords(dataplane.Adjacency{Kind: claims[0].kind, Port: claims[0].port, NextHop: claims[0].nextHop})
	}
	c, ok := b.route(n)
	if !ok {
		return inWords(dataplane.Adjacency{})
	}
	switch c.Type {
	case rib.Local:
		return inWords(dataplane.Adjacency{Kind: dataplane.Local})
	case rib.Blackhole:
		return inWords(dataplane.Adjacency{Kind: dataplane.Blackhole})
	case rib.Unreachable:
		return inWords(dataplane.Adjacency{Kind: dataplane.Unreachable})
	case rib.Prohibit:
		return inWords(dataplane.Adjacency{Kind: dataplane.Prohibit})
	}
	if c.Prefix.Bits() != 32 {
		for _, h := range c.Hops {
			k := neighborKey{dataplane.PortID(h.Port), a}
			if _, bound := b.neighbors[k]; bound && !h.Gateway.IsValid() {
				return b.towards(k)
			}
		}
	}
	var members []string
	for _, h := range c.Hops {
		id := dataplane.PortID(h.Port)
		switch {
		case h.Gateway.IsValid():
			members = append(members, b.towards(neighborKey{id, packet.AddrFrom(h.Gateway)}))
		case id == 4:
			members = append(members, b.towards(neighborKey{id, 0}))
		case c.Prefix.Bits() == 32:
			members = append(members, b.towards(neighborKey{id, a}))
		default:
			members = append(members, inWords(dataplane.Adjacency{Kind: dataplane.Glean, Port: id}))
		}
	}
	if len(members) == 1 {
		return members[0]
	}
	s := "multipath"
	for _, m := range members {
		s += ", " + m
	}
	return s
}

// towards is a rewrite where the neighbour is known, and its resolution where not.
func (b *belief) towards(k neighborKey) string {
	a := dataplane.Adjacency{Kind: dataplane.Rewrite, Port: k.port, NextHop: k.addr}
	if k.port != 4 {
		mac, bound := b.neighbors[k]
		if !bound {
			a.Kind = dataplane.Incomplete
			return inWords(a)
		}
		a.Watched = b.watched[k]
		eth := packet.Ethernet(a.Header[:])
		eth.SetDst(mac)
		eth.SetSrc(b.macs[k.port])
		eth.SetType(packet.EtherTypeIPv4)
	}
	return inWords(a)
}

// TestForwardingAgainstItsSlowTwin lets everything change at random: addresses of the
// router, routes of every type, neighbours, link-layer addresses.
func TestForwardingAgainstItsSlowTwin(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		f := newBareForwarding(t)
		b := &belief{
			macs: map[dataplane.PortID]packet.MAC{}, best: map[netip.Prefix]rib.Change{},
			neighbors: map[neighborKey]packet.MAC{}, watched: map[neighborKey]bool{},
		}
		for id := range f.ports {
			b.macs[dataplane.PortID(id)] = f.ports[id].MAC
		}
		// A small world, so that everything meets everything.
		someAddr := func() packet.Addr { return 10<<24 | packet.Addr(r.IntN(2))<<8 | packet.Addr(r.IntN(16)) }
		somePort := func() dataplane.PortID { return dataplane.PortID(1 + r.IntN(4)) }
		someHops := func() (hops []rib.Hop) {
			for range 1 + r.IntN(3) {
				h := rib.Hop{Port: uint32(somePort())}
				if r.IntN(2) == 0 && h.Port != 4 {
					h.Gateway = someAddr().Netip()
				}
				if !slices.Contains(hops, h) {
					hops = append(hops, h)
				}
			}
			return hops
		}
		for step := range 2000 {
			switch r.IntN(8) {
			case 0, 1, 2:
				var changes []rib.Change
				for range 1 + r.IntN(4) {
					bits := []int{0, 8, 24, 28, 30, 31, 32}[r.IntN(7)]
					p := netip.PrefixFrom(someAddr().Netip(), bits).Masked()
					c := rib.Change{Prefix: p, Type: rib.Type(r.IntN(int(rib.Prohibit) + 1))}
					if r.IntN(2) == 0 {
						c.Type = rib.Unicast
					}
					if c.Type == rib.Unicast {
						c.Hops = someHops()
					}
					changes = append(changes, c)
					if c.Type == rib.None {
						delete(b.best, p)
					} else {
						b.best[p] = c
					}
				}
				f.routesChanged(changes)
			case 3:
				k := neighborKey{dataplane.PortID(1 + r.IntN(3)), someAddr()}
				mac := packet.MAC{2, 1, 0, 0, 0, byte(r.IntN(4))}
				b.neighbors[k] = mac
				delete(b.watched, k)
				f.bind(k, mac)
			case 4:
				for k := range b.neighbors {
					delete(b.neighbors, k)
					delete(b.watched, k)
					f.unbind(k)
					break
				}
			case 5:
				for k := range b.neighbors {
					on := r.IntN(2) == 0
					if on {
						b.watched[k] = true
					} else {
						delete(b.watched, k)
					}
					f.watch(k, on)
					break
				}
			case 6:
				if n := len(b.own); n > 0 && r.IntN(2) == 0 {
					i := r.IntN(n)
					c := b.own[i]
					b.own = slices.Delete(b.own, i, i+1)
					f.setOwn(c.prefix, c.key, false)
					break
				}
				a := someAddr()
				c := ownClaim{hostPrefix(a), adjacencyKey{kind: dataplane.Local}}
				if r.IntN(2) == 0 {
					c.key = adjacencyKey{kind: dataplane.BroadcastTo, port: somePort(), nextHop: a}
				}
				b.own = append(b.own, c)
				f.setOwn(c.prefix, c.key, true)
			case 7:
				id := dataplane.PortID(1 + r.IntN(3))
				p := f.ports[id]
				p.MAC = packet.MAC{2, 0, 0, 0, byte(r.IntN(2)), byte(id)}
				b.macs[id] = p.MAC
				f.setPort(id, p)
			}
			if r.IntN(3) != 0 {
				continue // several changes to one publication
			}
			f.mustPublish(t)
			for net := range packet.Addr(2) {
				for host := range packet.Addr(17) {
					a := 10<<24 | net<<8 | host
					if got, want := f.meaning(a), b.meaning(a); got != want {
						t.Fatalf("seed %d step %d: %v is\n%s\nand should be\n%s", seed, step, a, got, want)
					}
				}
			}
			if got, want := f.meaning(11<<24), b.meaning(11<<24); got != want {
				t.Fatalf("seed %d step %d: elsewhere is %s, want %s", seed, step, got, want)
			}
		}

		// When all is taken back nothing is held: no entry, no number, no reference.
		for p := range b.best {
			f.routesChanged([]rib.Change{{Prefix: p}})
		}
		for k := range b.neighbors {
			f.unbind(k)
		}
		for _, c := range b.own {
			f.setOwn(c.prefix, c.key, false)
		}
		f.mustPublish(t)
		f.mustPublish(t) // takes back the numbers that rest
		if n := f.dp.FIB().Len(); n != 0 || len(f.held) != 0 || len(f.index) != 0 || len(f.own) != 0 || len(f.watched) != 0 {
			t.Errorf("seed %d: left over: %d FIB entries, %d held, %d adjacencies, %d own, %d watched", seed, n, len(f.held), len(f.index), len(f.own), len(f.watched))
		}
		if len(f.free) != len(f.entries)-1 {
			t.Errorf("seed %d: %d of %d numbers are free", seed, len(f.free), len(f.entries)-1)
		}
	}
}

func via(prefix, gateway string, port uint32) rib.Change {
	return rib.Change{Prefix: netip.MustParsePrefix(prefix), Type: rib.Unicast, Hops: []rib.Hop{{Port: port, Gateway: netip.MustParseAddr(gateway)}}}
}

func connected(prefix string, port uint32) rib.Change {
	return rib.Change{Prefix: netip.MustParsePrefix(prefix), Type: rib.Unicast, Hops: []rib.Hop{{Port: port}}}
}

func address(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

func TestNumberIsUsedAgainOnlyAfterEveryWorkerHasMovedOn(t *testing.T) {
	f := newBareForwarding(t)
	worker := f.dp.Domain().Register()
	f.routesChanged([]rib.Change{via("20.0.0.0/8", "10.0.0.1", 1)})
	f.mustPublish(t)
	old := f.dp.FIB().Lookup(address("20.0.0.1"))
	f.dp.Domain().Enter(worker) // it has looked up, and is about to read the tables
	f.routesChanged([]rib.Change{{Prefix: netip.MustParsePrefix("20.0.0.0/8")}})
	f.mustPublish(t)
	for i := range 50 {
		f.routesChanged([]rib.Change{via("30.0.0.0/8", fmt.Sprintf("10.0.0.%d", i+2), 1)})
		f.mustPublish(t)
		if v := f.dp.FIB().Lookup(address("30.0.0.1")); v == old {
			t.Fatal("a worker holds the number, and it means something else already")
		}
		if a := f.dp.Tables().Adjacencies[old]; a.NextHop != address("10.0.0.1") || a.Kind != dataplane.Incomplete {
			t.Fatalf("a worker holds the number, and it has become %s", inWords(a))
		}
	}
	f.dp.Domain().Exit(worker)
	seen := map[fib.Value]bool{}
	for i := range 500 {
		f.routesChanged([]rib.Change{via("30.0.0.0/8", fmt.Sprintf("10.0.%d.%d", 1+i/200, i%200+2), 1)})
		f.mustPublish(t)
		seen[f.dp.FIB().Lookup(address("30.0.0.1"))] = true
	}
	if len(f.entries) > 60 {
		t.Errorf("%d numbers for one route: they are not used again", len(f.entries))
	}
}

func TestNeighbourHasItsEntryOnlyWhereItsPortsNetworkIsBest(t *testing.T) {
	f := newBareForwarding(t)
	host := address("10.0.0.9")
	f.bind(neighborKey{1, host}, packet.MAC{2, 1})
	check := func(what string, want fib.Value) {
		t.Helper()
		f.mustPublish(t)
		got, _ := f.dp.FIB().Get(host, 32)
		if (got != 0) != (want != 0) {
			t.Errorf("%s: %s", what, f.meaning(host))
		}
	}
	check("no route", 0)
	f.routesChanged([]rib.Change{via("10.0.0.0/16", "10.9.0.1", 1)})
	check("behind a gateway", 0)
	f.routesChanged([]rib.Change{connected("10.0.0.0/24", 1)})
	check("on its port's network", 1)
	f.routesChanged([]rib.Change{connected("10.0.0.0/28", 2)})
	check("a longer network of another port", 0)
	f.routesChanged([]rib.Change{{Prefix: netip.MustParsePrefix("10.0.0.0/28"), Type: rib.Blackhole}})
	check("a longer blackhole", 0)
	f.routesChanged([]rib.Change{{Prefix: netip.MustParsePrefix("10.0.0.0/28")}})
	check("the longer one is gone", 1)
	f.unbind(neighborKey{1, host})
	check("forgotten", 0)
}

func TestHostOnTheWireWithARouteOfItsOwnIsResolvedOnce(t *testing.T) {
	f := newBareForwarding(t)
	host := address("10.7.7.7")
	f.routesChanged([]rib.Change{connected("10.7.7.7/32", 2)})
	f.mustPublish(t)
	if got, want := f.meaning(host), inWords(dataplane.Adjacency{Kind: dataplane.Incomplete, Port: 2, NextHop: host}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	f.bind(neighborKey{2, host}, packet.MAC{2, 1})
	f.mustPublish(t)
	v := f.dp.FIB().Lookup(host)
	if a := f.dp.Tables().Adjacencies[v]; a.Kind != dataplane.Rewrite || packet.Ethernet(a.Header[:]).Dst() != (packet.MAC{2, 1}) {
		t.Errorf("once known: %s", inWords(a))
	}
}

func TestAddressesOfOneSubnetShareItsBroadcastAddress(t *testing.T) {
	f := newBareForwarding(t)
	all := hostPrefix(address("10.0.0.255"))
	key := adjacencyKey{kind: dataplane.BroadcastTo, port: 1, nextHop: address("10.0.0.255")}
	f.setOwn(all, key, true)
	f.setOwn(all, key, true)
	f.setOwn(all, key, false)
	f.mustPublish(t)
	if got := f.dp.Tables().Adjacencies[f.dp.FIB().Lookup(address("10.0.0.255"))].Kind; got != dataplane.BroadcastTo {
		t.Errorf("one of two addresses went, and the broadcast address is %v", got)
	}
	f.setOwn(all, adjacencyKey{kind: dataplane.Local}, true)
	f.mustPublish(t)
	if got := f.dp.Tables().Adjacencies[f.dp.FIB().Lookup(address("10.0.0.255"))].Kind; got != dataplane.Local {
		t.Errorf("an address of the router is %v", got)
	}
}

// TestWorkersNeverMeetANumberThatMeansSomethingElse has readers do what a worker does while
// routes, neighbours and numbers change under them. All next hops of a prefix end in the
// prefix's own octet, by which a mix-up shows.
func TestWorkersNeverMeetANumberThatMeansSomethingElse(t *testing.T) {
	const prefixes = 40
	f := newBareForwarding(t)
	var stop atomic.Bool
	var found atomic.Int64
	var wg sync.WaitGroup
	fits := func(tables *dataplane.Tables, a dataplane.Adjacency, i packet.Addr) bool {
		switch a.Kind {
		case dataplane.None:
			return true
		case dataplane.Incomplete:
			found.Add(1)
			return a.NextHop&0xff == i
		case dataplane.Rewrite:
			found.Add(1)
			return a.NextHop&0xff == i && packet.Ethernet(a.Header[:]).Dst() == packet.MAC{2, byte(a.Port), 0, 0, 0, byte(i)}
		}
		return false
	}
	for range 2 {
		reader := f.dp.Domain().Register()
		wg.Go(func() {
			for n := uint32(0); !stop.Load(); n++ {
				i := packet.Addr(n % prefixes)
				f.dp.Domain().Enter(reader)
				v := f.dp.FIB().Lookup(20<<24 | i<<16 | 1)
				tables := f.dp.Tables()
				if int(v) >= len(tables.Adjacencies) {
					t.Errorf("number %d is not in the tables", v)
					stop.Store(true)
				} else if a := tables.Adjacencies[v]; a.Kind == dataplane.Multipath {
					for _, m := range tables.Members[a.First : a.First+uint32(a.Count)] {
						if !fits(tables, tables.Adjacencies[m], i) {
							t.Errorf("prefix %d has the member %s", i, inWords(tables.Adjacencies[m]))
							stop.Store(true)
						}
					}
				} else if !fits(tables, a, i) {
					t.Errorf("prefix %d leads to %s", i, inWords(a))
					stop.Store(true)
				}
				f.dp.Domain().Exit(reader)
				if n%16 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(9, 9))
	for step := 0; (step < 3000 || found.Load() < 1000) && !stop.Load(); step++ {
		i := packet.Addr(r.IntN(prefixes))
		c := rib.Change{Prefix: netip.PrefixFrom((20<<24 | i<<16).Netip(), 16)}
		if r.IntN(4) != 0 {
			c.Type = rib.Unicast
			for port := range uint32(1 + r.IntN(3)) {
				c.Hops = append(c.Hops, rib.Hop{Port: port + 1, Gateway: (10<<24 | packet.Addr(r.IntN(3))<<8 | i).Netip()})
			}
		}
		f.routesChanged([]rib.Change{c})
		k := neighborKey{dataplane.PortID(1 + r.IntN(3)), 10<<24 | packet.Addr(r.IntN(3))<<8 | i}
		if r.IntN(2) == 0 {
			f.bind(k, packet.MAC{2, byte(k.port), 0, 0, 0, byte(i)})
		} else {
			f.unbind(k)
		}
		if r.IntN(2) == 0 {
			f.mustPublish(t)
		}
	}
	stop.Store(true)
	wg.Wait()
}
