package simnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/rip"
)

// Options of a Lab. The zero value is a lab with the timers of RFC 2453 and links of 1 ms.
type Options struct {
	Timers     rip.Timers
	Split      rip.SplitHorizon
	Auth       *rip.KeyChain
	MaxLatency time.Duration // links have from 1 ms to this
	StubsOnly  bool          // announce the routers' stubs, not the networks between them
	LoopBound  time.Duration // a loop that lasts longer is a fault; zero: not watched
}

// Lab is a network of routers that speak RIP.
type Lab struct {
	graph   Graph
	options Options
	split   rip.SplitHorizon
	seed    uint64
	world   *World[Datagram]
	born    time.Time
	routers []*Router
	links   []*Link[Datagram]

	changed  bool // some table, since loops were looked for
	loops    map[netip.Prefix]time.Time
	longest  time.Duration
	faults   []string
	refusals map[rip.BadReason]int
	room     []rip.Entry
}

// NewLab builds the network and starts every router.
func NewLab(seed uint64, g Graph, o Options) *Lab {
	w := New[Datagram](seed)
	l := &Lab{
		graph: g, options: o, split: o.Split, seed: seed, world: w, born: w.Now,
		loops: map[netip.Prefix]time.Time{}, refusals: map[rip.BadReason]int{},
	}
	for i := range g.Routers {
		l.routers = append(l.routers, &Router{
			lab: l, index: i, host: w.Host(),
			stub: netip.PrefixFrom(packet.Addr(0x0aff0000+i).Netip(), 32),
		})
	}
	for n, members := range g.Links {
		latency := time.Millisecond
		if o.MaxLatency > latency {
			latency += time.Duration(w.Rand.Int64N(int64(o.MaxLatency - latency)))
		}
		var hosts []*Host[Datagram]
		for place, i := range members {
			r := l.routers[i]
			r.addrs = append(r.addrs, netip.PrefixFrom(packet.Addr(0x0a000000+n<<8+place+1).Netip(), 24))
			hosts = append(hosts, r.host)
		}
		l.links = append(l.links, w.Connect(latency, hosts...))
	}
	for i := range l.routers {
		l.Boot(i)
	}
	if o.LoopBound > 0 {
		l.watch()
	}
	return l
}

// Boot starts a router that does not run, with what its last life saved and nothing else.
func (l *Lab) Boot(i int) {
	r := l.routers[i]
	if r.host.Running() {
		return
	}
	c := rip.Config{
		Timers: l.options.Timers, InitialState: r.state,
		Ports:        map[rip.PortID]rip.PortConfig{stubPort: {Passive: true}},
		Redistribute: map[rip.Protocol]rip.RedistributeRule{rip.ProtocolStatic: {}},
	}
	for port := range r.addrs {
		pc := rip.PortConfig{SplitHorizon: l.options.Split, Auth: l.options.Auth}
		if l.options.StubsOnly {
			pc.FilterOut = &rip.PrefixList{Rules: []rip.PrefixRule{{Prefix: netip.MustParsePrefix("10.255.0.0/16"), Max: 32}}}
		}
		c.Ports[rip.PortID(port)] = pc
	}
	r.lives++
	r.table = map[netip.Prefix]rip.Install{}
	l.changed = true
	r.machine = rip.New(c, rand.New(rand.NewPCG(l.seed<<16+uint64(i), r.lives)))
	r.host.Start(r)
	r.step(l.world.Now, rip.PortUp{Port: stubPort, Addresses: []netip.Prefix{r.stub}})
	r.host.Poke()
}

// Kill stops a router without a word.
func (l *Lab) Kill(i int) {
	l.routers[i].host.Stop()
	l.routers[i].table = nil
	l.changed = true
}

// Run lets d pass.
func (l *Lab) Run(d time.Duration) { l.world.Run(d) }

// Elapsed is the virtual time since the lab began.
func (l *Lab) Elapsed() time.Duration { return l.world.Now.Sub(l.born) }

// Router is the router with an index.
func (l *Lab) Router(i int) *Router { return l.routers[i] }

// Link is the link with an index.
func (l *Lab) Link(i int) *Link[Datagram] { return l.links[i] }

// Refusals counts what the routers refused, by reason.
func (l *Lab) Refusals() map[rip.BadReason]int { return l.refusals }

// Name is what a router is called: a letter, or a number where letters run out.
func (l *Lab) Name(i int) string {
	if l.graph.Routers <= 26 {
		return string(rune('A' + i))
	}
	return fmt.Sprint("R", i)
}

// Err is every rule that was broken so far; nil: none.
func (l *Lab) Err() error {
	if len(l.faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(l.faults, "\n"))
}

// Settle runs until every table is what the oracle says, looking every step, for at most limit. It
// returns how long that took, or what still differs.
func (l *Lab) Settle(step, limit time.Duration) (time.Duration, error) {
	begin := l.world.Now
	for {
		err := l.Compare()
		if err == nil {
			return l.world.Now.Sub(begin), nil
		}
		if l.world.Now.Sub(begin) >= limit {
			return limit, fmt.Errorf("after %v: %w", limit, err)
		}
		l.Run(step)
	}
}
