package router

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
	"vrouterd/internal/rib"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dataplane/fib"
)

// forwarding turns what the control plane knows (best routes, neighbours, own
// addresses) into what the dataplane reads: numbered adjacencies and FIB entries.
//
// Four sources may want an entry for the same /32; the first of this list has it: an
// address of the router, a broadcast address of a connected subnet, a route of exactly that
// prefix, a neighbour. A neighbour gets an entry only where the connected network of
// its own port is the best route to it: a more specific route through elsewhere wins.
type forwarding struct {
	dp    *dataplane.Dataplane
	ports []dataplane.Port // by PortID; the master copy of Tables.Ports

	own         map[netip.Prefix][]adjacencyKey // the router's and the subnets' broadcast addresses, once a claim
	best        bart.Table[rib.Change]          // what the RIB selected
	neighbors   map[neighborKey]packet.MAC      // bound by ARP
	watched     map[neighborKey]bool            // stale: their next use is reported
	held        map[netip.Prefix]fib.Value      // what the FIB holds
	recheck     bool                            // routes changed: neighbours may have become or ceased to be on-link
	rekind      bool                            // a port became or ceased to be Ethernet: routes through it differ
	classE      bool
	sourceRoute bool
	taps        []*dataplane.Tap
	stateful    *dataplane.Stateful // nil: neither NAT nor firewall

	entries []adjacencyEntry // by number; 0 is "no route"
	index   map[adjacencyKey]fib.Value
	free    []fib.Value
	resting []restingNumbers // unused, but a worker may still hold them
	changes []fib.Change
	unused  []fib.Value // to rest once the FIB no longer names them
	dirty   bool        // the tables differ from what is published
}

// adjacencyKey is what makes two adjacencies the same.
type adjacencyKey struct {
	kind    dataplane.Kind // Rewrite stands for Incomplete too: that depends on ARP
	port    dataplane.PortID
	nextHop packet.Addr
	members string // Multipath: the members' numbers
}

type adjacencyEntry struct {
	key     adjacencyKey
	refs    int // FIB entries and multipath members that name it
	members []fib.Value
}

type neighborKey struct {
	port dataplane.PortID
	addr packet.Addr
}

type restingNumbers struct {
	after   rcu.Token
	numbers []fib.Value
}

func newForwarding(dp *dataplane.Dataplane) *forwarding {
	return &forwarding{
		dp:        dp,
		ports:     make([]dataplane.Port, 1),
		own:       map[netip.Prefix][]adjacencyKey{},
		neighbors: map[neighborKey]packet.MAC{},
		watched:   map[neighborKey]bool{},
		held:      map[netip.Prefix]fib.Value{},
		index:     map[adjacencyKey]fib.Value{},
		entries:   make([]adjacencyEntry, 1),
	}
}

// setPort changes what the dataplane knows of a port.
func (f *forwarding) setPort(id dataplane.PortID, p dataplane.Port) {
	for int(id) >= len(f.ports) {
		f.ports = append(f.ports, dataplane.Port{})
	}
	f.rekind = f.rekind || f.ports[id].Ethernet != p.Ethernet
	f.ports[id] = p
	f.dirty = true
}

// setOwn claims an address for the router, or gives one such claim up: two
// addresses of one subnet share its broadcast address.
func (f *forwarding) setOwn(a netip.Prefix, key adjacencyKey, there bool) {
	if there {
		f.own[a] = append(f.own[a], key)
	} else if i := slices.Index(f.own[a], key); i >= 0 {
		f.own[a] = slices.Delete(f.own[a], i, i+1)
	}
	if len(f.own[a]) == 0 {
		delete(f.own, a)
	}
	f.refresh(a)
}

// routesChanged takes over what the RIB selected.
func (f *forwarding) routesChanged(changes []rib.Change) {
	for _, c := range changes {
		if c.Type == rib.None {
			f.best.Delete(c.Prefix)
		} else {
			f.best.Insert(c.Prefix, c)
		}
		f.refresh(c.Prefix)
		f.recheck = true
	}
}

// bind installs a neighbour's link-layer address; unbind removes it.
func (f *forwarding) bind(k neighborKey, mac packet.MAC) {
	f.neighbors[k] = mac
	delete(f.watched, k)
	f.dirty = true
	f.refresh(hostPrefix(k.addr))
}

func (f *forwarding) unbind(k neighborKey) {
	delete(f.neighbors, k)
	delete(f.watched, k)
	f.dirty = true
	f.refresh(hostPrefix(k.addr))
}

// watch asks to be told of the next packet to a neighbour, or no longer.
func (f *forwarding) watch(k neighborKey, on bool) {
	if on {
		f.watched[k] = true
	} else {
		delete(f.watched, k)
	}
	f.dirty = true
}

// refresh brings the FIB entry of a prefix up to date.
func (f *forwarding) refresh(p netip.Prefix) {
	want := f.number(p)
	had := f.held[p]
	if want == had {
		return
	}
	if want != 0 {
		f.entries[want].refs++
		f.held[p] = want
	} else {
		delete(f.held, p)
	}
	f.release(had)
	f.changes = append(f.changes, fib.Change{Addr: packet.AddrFrom(p.Addr()), Bits: p.Bits(), Value: want})
}

// number is the adjacency that a prefix should have; 0 for none.
func (f *forwarding) number(p netip.Prefix) fib.Value {
	if keys := f.own[p]; len(keys) > 0 {
		key := keys[0]
		for _, k := range keys {
			if k.kind == dataplane.Local { // before being another subnet's broadcast address
				key = k
			}
		}
		return f.intern(key, nil)
	}
	if c, ok := f.best.Get(p); ok {
		return f.route(c)
	}
	if p.Bits() == 32 {
		return f.neighbor(p.Addr())
	}
	return 0
}

// neighbor is the adjacency of a bound neighbour whose port's connected network
// is the best route to it.
func (f *forwarding) neighbor(a netip.Addr) fib.Value {
	c, ok := f.best.Lookup(a)
	if !ok || c.Type != rib.Unicast {
		return 0
	}
	for _, hop := range c.Hops {
		k := neighborKey{dataplane.PortID(hop.Port), packet.AddrFrom(a)}
		if _, bound := f.neighbors[k]; bound && !hop.Gateway.IsValid() {
			return f.intern(adjacencyKey{kind: dataplane.Rewrite, port: k.port, nextHop: k.addr}, nil)
		}
	}
	return 0
}

// route is the adjacency of a best route.
func (f *forwarding) route(c rib.Change) fib.Value {
	switch c.Type {
	case rib.Local:
		return f.intern(adjacencyKey{kind: dataplane.Local}, nil)
	case rib.Blackhole:
		return f.intern(adjacencyKey{kind: dataplane.Blackhole}, nil)
	case rib.Unreachable:
		return f.intern(adjacencyKey{kind: dataplane.Unreachable}, nil)
	case rib.Prohibit:
		return f.intern(adjacencyKey{kind: dataplane.Prohibit}, nil)
	}
	if len(c.Hops) == 1 {
		return f.intern(f.hop(c.Prefix, c.Hops[0]), nil)
	}
	members := make([]fib.Value, 0, len(c.Hops))
	var name strings.Builder
	for _, h := range c.Hops {
		v := f.intern(f.hop(c.Prefix, h), nil)
		members = append(members, v)
		for range 4 {
			name.WriteByte(byte(v))
			v >>= 8
		}
	}
	return f.intern(adjacencyKey{kind: dataplane.Multipath, members: name.String()}, members)
}

// hop is the adjacency of one resolved next hop of a prefix. A single address that
// is on the wire is its own next hop: there is nothing left to glean.
func (f *forwarding) hop(p netip.Prefix, h rib.Hop) adjacencyKey {
	id := dataplane.PortID(h.Port)
	ethernet := int(id) < len(f.ports) && f.ports[id].Ethernet
	if !h.Gateway.IsValid() {
		if ethernet && p.Bits() == 32 {
			return adjacencyKey{kind: dataplane.Rewrite, port: id, nextHop: packet.AddrFrom(p.Addr())}
		}
		if ethernet {
			return adjacencyKey{kind: dataplane.Glean, port: id}
		}
		return adjacencyKey{kind: dataplane.Rewrite, port: id}
	}
	return adjacencyKey{kind: dataplane.Rewrite, port: id, nextHop: packet.AddrFrom(h.Gateway)}
}

// intern numbers an adjacency. One that nothing refers to yet costs nothing: the
// caller refers to it, or it is swept at the next publication.
func (f *forwarding) intern(key adjacencyKey, members []fib.Value) fib.Value {
	if v, ok := f.index[key]; ok {
		return v
	}
	var v fib.Value
	if n := len(f.free); n > 0 {
		v, f.free = f.free[n-1], f.free[:n-1]
	} else {
		v = fib.Value(len(f.entries))
		f.entries = append(f.entries, adjacencyEntry{})
	}
	for _, m := range members {
		f.entries[m].refs++
	}
	f.entries[v] = adjacencyEntry{key: key, members: members}
	f.index[key] = v
	f.dirty = true
	return v
}

// release drops a reference. The number rests once nothing refers to it.
func (f *forwarding) release(v fib.Value) {
	if v == 0 {
		return
	}
	e := &f.entries[v]
	if e.refs--; e.refs == 0 {
		f.unused = append(f.unused, v)
	}
}

// publish makes the dataplane see the present state. Its order is the promise of
// package dataplane: tables first, then the FIB that names what is in them; a number
// is used again only when the FIB has let go of it and every worker has moved on.
func (f *forwarding) publish() error {
	if f.rekind {
		f.rekind = false
		for p := range f.best.All() {
			f.refresh(p)
		}
	}
	if f.recheck {
		f.recheck = false
		for k := range f.neighbors {
			f.refresh(hostPrefix(k.addr))
		}
	}
	f.collect()
	if f.dirty {
		f.dirty = false
		f.dp.Publish(f.tables())
	}
	var err error
	if len(f.changes) > 0 {
		err = f.dp.FIB().Apply(f.changes)
		f.changes = f.changes[:0]
		f.dp.Changed() // before numbers go to rest: sessions remember them
	}
	f.retire()
	return err
}

// retire lets go of numbers that nothing refers to any more.
func (f *forwarding) retire() {
	var numbers []fib.Value
	for i := 0; i < len(f.unused); i++ { // grows as multipath adjacencies let go of members
		v := f.unused[i]
		e := &f.entries[v]
		if e.refs > 0 || f.index[e.key] != v {
			continue // taken up again meanwhile, or seen already
		}
		delete(f.index, e.key)
		for _, m := range e.members {
			f.release(m)
		}
		numbers = append(numbers, v)
	}
	f.unused = f.unused[:0]
	if len(numbers) > 0 {
		f.resting = append(f.resting, restingNumbers{f.dp.Domain().Retire(), numbers})
	}
}

// collect takes back the numbers that have rested long enough.
func (f *forwarding) collect() {
	for len(f.resting) > 0 && f.dp.Domain().Passed(f.resting[0].after) {
		for _, v := range f.resting[0].numbers {
			f.entries[v] = adjacencyEntry{}
			f.free = append(f.free, v)
		}
		f.resting = f.resting[1:]
	}
}

// tables is a snapshot of the present state.
func (f *forwarding) tables() *dataplane.Tables {
	t := &dataplane.Tables{
		Ports:       append([]dataplane.Port(nil), f.ports...),
		Adjacencies: make([]dataplane.Adjacency, len(f.entries)),
		ClassE:      f.classE,
		SourceRoute: f.sourceRoute,
		Stateful:    f.stateful,
	}
	for v := range f.entries {
		e := &f.entries[v]
		t.Adjacencies[v] = f.adjacency(e)
		if e.key.kind == dataplane.Multipath {
			t.Adjacencies[v].First = uint32(len(t.Members))
			t.Adjacencies[v].Count = uint16(len(e.members))
			t.Members = append(t.Members, e.members...)
		}
	}
	if len(f.taps) > 0 {
		t.Taps = &dataplane.Taps{List: append([]*dataplane.Tap(nil), f.taps...)}
	}
	return t
}

// adjacency is what the dataplane sees of an entry.
func (f *forwarding) adjacency(e *adjacencyEntry) dataplane.Adjacency {
	k := e.key
	a := dataplane.Adjacency{Kind: k.kind, Port: k.port, NextHop: k.nextHop}
	if k.kind != dataplane.Rewrite || !f.ports[k.port].Ethernet {
		return a
	}
	n := neighborKey{k.port, k.nextHop}
	mac, ok := f.neighbors[n]
	if !ok {
		a.Kind = dataplane.Incomplete
		return a
	}
	a.Watched = f.watched[n]
	eth := packet.Ethernet(a.Header[:])
	eth.SetDst(mac)
	eth.SetSrc(f.ports[k.port].MAC)
	eth.SetType(packet.EtherTypeIPv4)
	return a
}

func hostPrefix(a packet.Addr) netip.Prefix { return netip.PrefixFrom(a.Netip(), 32) }
