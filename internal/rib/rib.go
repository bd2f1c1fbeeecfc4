// Package rib holds every route that any source knows, and picks the best for each prefix.
//
// Connected networks, static routes, RIP and DHCP tell the RIB what they know
// ([RIB.Update], [RIB.Withdraw], [RIB.SetPort]); the RIB tells the forwarding table
// what has changed ([RIB.Changes]) and people why ([RIB.Lookup], [RIB.All]).
//
//	Update, Withdraw, SetPort -> dirty prefixes -> next hops resolved -> best chosen -> Changes
//
// It is a pure machine: no clock, no goroutine, no log. Work is done once for a
// batch: whoever applies a thousand updates and then asks for the changes pays for one pass.
//
// # Which route wins
//
// Of the active routes of a prefix the lowest distance wins, then the lowest
// metric, then the protocol in the order of its constants (connected first), then the
// route type, then the source's name: a total order, so that the same routes always
// give the same table, in whatever order they came. Routes that are equal
// up to the type, and of one protocol, are used together when they are unicast: their next hops merge, at
// most [Options.MaxPaths] of them. A distance of 255 means never (as in FRR and Cisco IOS).
//
// # Which route is active
//
// A next hop with a port is used as it is, while that port is up. A next hop without
// a port is resolved: the longest prefix of this table that covers its address and
// has a best route gives the port and the station to ask ARP for. A connected network gives
// the address itself; another route gives its own next hops, so that
// resolution may take several steps, at most [MaxDepth]. Three rules bound it:
//
//   - The default route never resolves a next hop (as in FRR without `ip nht
//     resolve-via-default`): a gateway that is only reachable by default is a mistake
//     or a dead link, and using it would send its traffic around in circles.
//   - A prefix never takes part in the resolution of its own next hops, nor do
//     prefixes whose next hops lie in one another's prefixes in a circle. They are passed over,
//     and a shorter prefix outside of the circle may serve.
//     Only routes that could win count: a static rival behind a connected network makes no circle.
//   - The router's own addresses, and blackhole, unreachable and prohibit routes, resolve
//     nothing, and nothing shorter is looked for behind them.
//
// A route with several next hops is active while one of them resolves. Local routes (the router's own
// addresses) are active whatever their port does, as Linux answers on an
// address whose cable is out; blackhole, unreachable and prohibit routes always are.
//
// # How a change stays cheap
//
// Next hop addresses are indexed, each with the prefixes that depend on it, and so
// are ports. A change of a prefix matters to others only if a next hop address lies inside it; those prefixes
// are few (networks that hold routers) and are kept in a set of their own. When
// one changes, the addresses inside it are resolved again, once each, and only if the
// outcome differs are the prefixes that depend on them chosen anew. Ten thousand routes
// over one gateway cost one resolution and ten thousand selections when its port
// falls, and one selection when one of them changes.
package rib

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"
)

// Protocol is where a route comes from.
type Protocol uint8

// Protocols, in the order in which they win when all else is equal.
const (
	Connected Protocol = iota
	Static
	DHCP
	RIP
)

// String returns the name that `vrctl show routes` prints.
func (p Protocol) String() string {
	if int(p) < len(protocolNames) {
		return protocolNames[p]
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

var protocolNames = [...]string{"connected", "static", "dhcp", "rip"}

// Distance is the administrative distance that a protocol's routes get when
// nothing else is configured: 0, 1, 210, 120. RIP's is that of every other router; DHCP's is
// VyOS's, so that a default route from a lease yields to one that was configured or learned.
func (p Protocol) Distance() int {
	switch p {
	case Connected:
		return 0
	case Static:
		return 1
	case RIP:
		return 120
	case DHCP:
		return 210
	}
	return NeverUsed
}

// NeverUsed is the distance of a route that is kept and shown but not used.
const NeverUsed = 255

// MaxDepth is the largest number of routes between a next hop and the
// connected network (or named port) that it resolves to.
const MaxDepth = 8

// DefaultMaxPaths is the number of next hops that one prefix may use at a time.
const DefaultMaxPaths = 16

// Type says what becomes of packets.
type Type uint8

// Route types. None stands for "no route" in results; in [RIB.Update] it means Unicast.
const (
	None        Type = iota
	Local            // deliver to the router itself
	Unicast          // forward
	Blackhole        // discard silently
	Unreachable      // discard, answer with ICMP host unreachable
	Prohibit         // discard, answer with ICMP administratively prohibited
)

// String returns the name that the configuration uses.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

var typeNames = [...]string{"none", "local", "unicast", "blackhole", "unreachable", "prohibit"}

// NextHop is where a route points, as its source gave it.
type NextHop struct {
	Addr netip.Addr // the gateway; zero: destinations are on the link of Port
	Port uint32     // 0: found by resolving Addr
	From netip.Addr // who told of this way, where that is not the route's From; for people only
}

// Hop is a resolved next hop.
type Hop struct {
	Port    uint32
	Gateway netip.Addr // the station to ask ARP for; zero: the packet's own destination
}

// Key names a route. A protocol may hold rivals for one prefix under different sources:
// static routes of different distance, RIP neighbours, DHCP ports. A port whose address is
// a /32 has a connected and a local route for that prefix: they need different sources too.
type Key struct {
	Prefix   netip.Prefix
	Protocol Protocol
	Source   string
}

// Route is what one source knows about one prefix.
type Route struct {
	Prefix   netip.Prefix // masked
	Protocol Protocol
	Source   string
	Type     Type
	NextHops []NextHop // of a unicast route at least one; owned by the RIB once given
	Distance int       // 0 to 255, see [NeverUsed]; [Protocol.Distance] is the usual one
	Metric   int
	Tag      int
	From     netip.Addr // the router that told us; zero: nobody
	Since    time.Time  // set by the RIB: when the route became what it is
}

// Key returns the route's name.
func (r Route) Key() Key { return Key{r.Prefix, r.Protocol, r.Source} }

// Change is a prefix whose forwarding has changed. Type None: the prefix is gone.
type Change struct {
	Prefix netip.Prefix
	Type   Type
	Hops   []Hop // of Unicast at least one, sorted and without doubles; of Local the port, if known
	// The route that won (the first of equals); for messages only.
	Protocol Protocol
	Source   string
}

// Options of a RIB.
type Options struct {
	MaxPaths int                      // next hops of one prefix; 0: DefaultMaxPaths; 1: no multipath
	PortName func(port uint32) string // for the sentences of Lookup and All; nil: "port 3"
}

// Stats counts work done, for tests and for measuring.
type Stats struct {
	Resolutions uint64 // next hop addresses looked up
	Selections  uint64 // prefixes whose best route was chosen anew
}

// RIB is the table. It is not safe for concurrent use: one goroutine owns it.
type RIB struct {
	options  Options
	nodes    bart.Table[*node]
	trackers bart.Table[*tracker] // by next hop address, as a host prefix
	sources  map[sourceKey]map[*node]struct{}
	ports    map[uint32]map[*node]struct{} // prefixes with a next hop that names the port
	up       map[uint32]bool
	relevant map[*node]struct{} // prefixes, not the default, that hold a next hop address
	dirty    map[*node]struct{}
	fresh    map[*tracker]struct{} // not resolved yet
	changed  map[*node]struct{}    // outcome may differ from what Changes last told
	circles  bool                  // the graph of relevant prefixes must be built anew
	routes   int
	stats    Stats
}

type sourceKey struct {
	protocol Protocol
	source   string
}

// New makes an empty RIB. Every port is down until [RIB.SetPort] says otherwise.
func New(o Options) *RIB {
	if o.MaxPaths <= 0 {
		o.MaxPaths = DefaultMaxPaths
	}
	if o.PortName == nil {
		o.PortName = func(port uint32) string { return fmt.Sprintf("port %d", port) }
	}
	return &RIB{
		options:  o,
		sources:  map[sourceKey]map[*node]struct{}{},
		ports:    map[uint32]map[*node]struct{}{},
		up:       map[uint32]bool{},
		relevant: map[*node]struct{}{},
		dirty:    map[*node]struct{}{},
		fresh:    map[*tracker]struct{}{},
		changed:  map[*node]struct{}{},
	}
}

// Update adds a route, or replaces the one with the same key. Since is set to
// now unless the route is the same as before. A route that could never be used is refused.
func (r *RIB) Update(now time.Time, route Route) error {
	if route.Type == None {
		route.Type = Unicast
	}
	if err := route.check(); err != nil {
		return err
	}
	n := r.node(route.Prefix)
	i := n.find(route.Protocol, route.Source)
	if i >= 0 {
		if n.routes[i].same(&route) {
			return nil
		}
		r.unlink(n, n.routes[i])
		n.routes = slices.Delete(n.routes, i, i+1)
	}
	route.Since = now
	n.insert(&route)
	r.link(n, &route)
	r.dirty[n] = struct{}{}
	return nil
}

// Withdraw removes a route and reports whether it was there.
func (r *RIB) Withdraw(k Key) bool {
	n, ok := r.nodes.Get(k.Prefix)
	if !ok {
		return false
	}
	i := n.find(k.Protocol, k.Source)
	if i < 0 {
		return false
	}
	r.unlink(n, n.routes[i])
	n.routes = slices.Delete(n.routes, i, i+1)
	r.dirty[n] = struct{}{}
	return true
}

// WithdrawSource removes every route of one source and returns how many there were.
func (r *RIB) WithdrawSource(p Protocol, source string) int {
	var keys []Key
	for n := range r.sources[sourceKey{p, source}] {
		keys = append(keys, Key{n.prefix, p, source})
	}
	for _, k := range keys {
		r.Withdraw(k)
	}
	return len(keys)
}

// SetPort says whether a port forwards. Connected routes, and others whose next
// hop names the port, are active only while it does.
func (r *RIB) SetPort(port uint32, up bool) {
	if r.up[port] == up {
		return
	}
	if up {
		r.up[port] = true
	} else {
		delete(r.up, port)
	}
	for n := range r.ports[port] {
		n.forced = true
		r.dirty[n] = struct{}{}
	}
}

// Len is the number of routes held, active or not.
func (r *RIB) Len() int { return r.routes }

// Stats returns the work done so far.
func (r *RIB) Stats() Stats { return r.stats }

// Changes settles the table and returns the prefixes whose forwarding differs from what the last call
// told, in address order, shorter prefixes first. A prefix that lost one
// route and won another within the batch is one change: there is no moment without it.
// The hops belong to the RIB and must not be written to.
func (r *RIB) Changes() []Change {
	r.settle()
	var out []Change
	for n := range r.changed {
		if !n.outcome.same(&n.told) {
			c := Change{Prefix: n.prefix, Type: n.outcome.kind, Hops: n.outcome.hops}
			if w := n.outcome.winner; w != nil {
				c.Protocol, c.Source = w.Protocol, w.Source
			}
			out = append(out, c)
		}
		n.told = n.outcome
		if len(n.routes) == 0 {
			r.nodes.Delete(n.prefix)
			delete(r.relevant, n)
		}
	}
	clear(r.changed)
	slices.SortFunc(out, func(a, b Change) int { return comparePrefix(a.Prefix, b.Prefix) })
	return out
}

func (r *Route) check() error {
	p := r.Prefix
	switch {
	case !p.IsValid() || p != p.Masked():
		return fmt.Errorf("route %v: the prefix must be masked, such as 10.0.0.0/24", p)
	case r.Type == Unicast && len(r.NextHops) == 0:
		return fmt.Errorf("route %v: a unicast route needs a next hop with an address, a port or both", p)
	case r.Type > Prohibit:
		return fmt.Errorf("route %v: unknown type %d", p, r.Type)
	case r.Distance < 0 || r.Distance > NeverUsed:
		return fmt.Errorf("route %v: distance %d is not within 0 to 255", p, r.Distance)
	}
	for _, h := range r.NextHops {
		switch {
		case !h.Addr.IsValid() && h.Port == 0:
			return fmt.Errorf("route %v: a next hop has neither an address nor a port", p)
		case h.Addr.IsValid() && h.Addr.BitLen() != p.Addr().BitLen():
			return fmt.Errorf("route %v: the next hop %v is of another address family", p, h.Addr)
		}
	}
	return nil
}

func (r *Route) same(o *Route) bool {
	return r.Type == o.Type && r.Distance == o.Distance && r.Metric == o.Metric && r.Tag == o.Tag &&
		r.From == o.From && slices.Equal(r.NextHops, o.NextHops)
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
