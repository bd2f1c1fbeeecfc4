package dhcp_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/internal/simnet"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/dhcp/client"
	"vrouterd/pkg/dhcp/relay"
	"vrouterd/pkg/dhcp/server"
)

func addr(s string) packet.Addr { return packet.AddrFrom(netip.MustParseAddr(s)) }

// wire is a UDP datagram on a simulated link. A zero hardware address stands for one that ARP finds.
type wire struct {
	to               packet.MAC
	src, dst         packet.Addr
	srcPort, dstPort uint16
	payload          []byte
}

// village is a simulated network with everything that DHCP needs: servers and clients, with or without a relay between them.
type village struct {
	t     *testing.T
	world *simnet.World[wire]
	has   map[packet.Addr]packet.MAC // who uses an address, which ARP would find
	lan   *simnet.Link[wire]
	up    *simnet.Link[wire] // behind the relay
}

func newVillage(t *testing.T, seed uint64) *village {
	return &village{t: t, world: simnet.New[wire](seed), has: map[packet.Addr]packet.MAC{}}
}

func (v *village) rand() *rand.Rand { return rand.New(rand.NewPCG(v.world.Rand.Uint64(), 1)) }

// guest is a client in the village.
type guest struct {
	v     *village
	host  *simnet.Host[wire]
	m     *client.Machine
	cfg   client.Config
	use   *client.Lease
	saved *client.Lease
	uses  []string // addresses in the order of their use, where they changed
	drops []client.Reason
	check packet.Addr // asked for last
}

func (v *village) guest(n byte) *guest {
	mac := packet.MAC{2, 0, 0, 0, 1, n}
	return &guest{v: v, host: v.world.Host(), cfg: client.Config{MAC: mac, ClientID: append([]byte{1}, mac[:]...), Check: true}}
}

// start boots the client, with what it saved.
func (g *guest) start() {
	g.use = nil
	g.cfg.Initial = g.saved
	g.m = client.New(g.cfg, g.v.rand())
	g.host.Start(g)
}

// crash takes the client's power away.
func (g *guest) crash() {
	g.host.Stop()
	g.leave()
}

func (g *guest) leave() {
	if g.use != nil && g.v.has[client.AddrOf(g.use)] == g.cfg.MAC {
		delete(g.v.has, client.AddrOf(g.use))
	}
	g.use = nil
}

func (g *guest) Up(now time.Time, _ int)   { g.do(now, client.LinkUp{}) }
func (g *guest) Down(now time.Time, _ int) { g.do(now, client.LinkDown{}) }
func (g *guest) Tick(now time.Time)        { g.do(now, client.Tick{}) }
func (g *guest) Next() time.Time           { return g.m.Next() }

func (g *guest) Receive(now time.Time, _ int, w wire) {
	if w.dstPort == dhcp.ClientPort && (w.to == g.cfg.MAC || w.to == packet.BroadcastMAC || w.to.IsZero() && w.dst == client.AddrOf(g.use)) {
		g.do(now, client.Receive{Src: w.src, Dst: w.dst, SrcPort: w.srcPort, Payload: w.payload})
	}
}

// ask gives the client an event from its operator.
func (g *guest) ask(ev client.Event) {
	g.do(g.v.world.Now, ev)
	g.host.Poke()
}

func (g *guest) do(now time.Time, ev client.Event) {
	for _, a := range g.m.Step(now, ev) {
		switch a := a.(type) {
		case client.Send:
			g.host.Send(0, wire{macOf(a.Dst), a.Src, a.Dst, dhcp.ClientPort, dhcp.ServerPort, slices.Clone(a.Payload)})
		case client.Check:
			g.check = a.Addr
			g.v.world.After(100*time.Millisecond, func() {
				if g.host.Running() {
					_, taken := g.v.has[a.Addr]
					g.ask(client.Checked{Addr: a.Addr, Taken: taken})
				}
			})
		case client.Use:
			g.leave()
			addr := client.AddrOf(a.Lease)
			if by, taken := g.v.has[addr]; taken {
				g.v.t.Fatalf("%v uses %v, which %v uses", g.cfg.MAC, addr, by)
			}
			g.use, g.v.has[addr] = a.Lease, g.cfg.MAC
			if n := len(g.uses); n == 0 || g.uses[n-1] != addr.String() {
				g.uses = append(g.uses, addr.String())
			}
		case client.Drop:
			g.leave()
			g.drops = append(g.drops, a.Reason)
		case client.Save:
			g.saved = a.Lease
		}
	}
}

// addr is the address in use, as text.
func (g *guest) addr() string {
	if g.use == nil {
		return "none"
	}
	return client.AddrOf(g.use).String()
}

func macOf(dst packet.Addr) packet.MAC {
	if dst == packet.Broadcast {
		return packet.BroadcastMAC
	}
	return packet.MAC{}
}

// office is a server in the village, on port 1 of its own.
type office struct {
	v    *village
	host *simnet.Host[wire]
	m    *server.Machine
	cfg  server.Config
	own  packet.Addr
	disk map[packet.Addr]server.Lease
}

// subnet is a network to be served, 100 addresses from .100.
func subnet(name, network string, own packet.Addr, port server.PortID, lease time.Duration) server.Subnet {
	n := netip.MustParsePrefix(network)
	first := packet.AddrFrom(n.Addr())
	return server.Subnet{
		Name: name, Port: port, Network: n, Server: own, Ranges: []server.Range{{First: first + 100, Last: first + 199}}, Lease: lease, MaxLease: lease,
		MinLease: time.Second, Authoritative: true, Probe: true, Gateway: []packet.Addr{first + 1}, DNS: []packet.Addr{first + 1},
	}
}

func (v *village) office(own packet.Addr, subnets ...server.Subnet) *office {
	return &office{v: v, host: v.world.Host(), own: own, cfg: server.Config{Subnets: subnets}, disk: map[packet.Addr]server.Lease{}}
}

func (o *office) start() {
	o.cfg.Initial = nil
	for _, l := range o.disk {
		o.cfg.Initial = append(o.cfg.Initial, l)
	}
	slices.SortFunc(o.cfg.Initial, func(a, b server.Lease) int { return int(a.Addr) - int(b.Addr) })
	o.m = server.New(o.cfg, o.v.rand())
	o.v.has[o.own] = packet.MAC{2, 0, 0, 0, 2, byte(o.own)}
	o.host.Start(o)
}

func (o *office) crash() { o.host.Stop() }

func (o *office) Up(time.Time, int)   {}
func (o *office) Down(time.Time, int) {}
func (o *office) Tick(now time.Time)  { o.do(now, server.Tick{}) }
func (o *office) Next() time.Time     { return o.m.Next() }

func (o *office) Receive(now time.Time, _ int, w wire) {
	if w.dstPort == dhcp.ServerPort && (w.dst == o.own || w.dst == packet.Broadcast) {
		o.do(now, server.Receive{Port: 1, Src: w.src, Dst: w.dst, SrcPort: w.srcPort, Payload: w.payload})
	}
}

// configure changes the server's configuration.
func (o *office) configure(change func(*server.Config)) {
	change(&o.cfg)
	o.do(o.v.world.Now, server.Configure{Config: o.cfg})
	o.host.Poke()
}

func (o *office) do(now time.Time, ev server.Event) {
	for _, a := range o.m.Step(now, ev) {
		switch a := a.(type) {
		case server.Store:
			if o.disk[a.Lease.Addr] = a.Lease; a.Lease.State == server.Free {
				delete(o.disk, a.Lease.Addr)
			}
		case server.Send:
			mac := a.MAC
			if mac.IsZero() {
				mac = macOf(a.Dst)
			}
			o.host.Send(0, wire{mac, a.Src, a.Dst, dhcp.ServerPort, a.DstPort, slices.Clone(a.Payload)})
		case server.Probe:
			o.v.world.After(50*time.Millisecond, func() {
				if o.host.Running() {
					mac, taken := o.v.has[a.Addr]
					o.do(o.v.world.Now, server.Probed{Addr: a.Addr, Taken: taken, MAC: mac})
					o.host.Poke()
				}
			})
		}
	}
}

// gate is a router with a relay agent: port 0 to the clients, port 1 to the server. It forwards, too.
type gate struct {
	host   *simnet.Host[wire]
	m      *relay.Machine
	inside netip.Prefix
	own    []packet.Addr
}

func (v *village) gate(own packet.Addr, inside string, agent bool, servers ...packet.Addr) *gate {
	return &gate{host: v.world.Host(), inside: netip.MustParsePrefix(inside), own: []packet.Addr{own}, m: relay.New(relay.Config{
		Ports: []relay.Port{{Port: 1, Name: "lan", Addr: own, Servers: servers, Agent: agent}},
	}, v.rand())}
}

func (g *gate) Up(time.Time, int)   {}
func (g *gate) Down(time.Time, int) {}
func (g *gate) Tick(time.Time)      {}
func (g *gate) Next() time.Time     { return time.Time{} }

func (g *gate) Receive(now time.Time, port int, w wire) {
	if w.dst != packet.Broadcast && !slices.Contains(g.own, w.dst) {
		if out := g.way(w.dst); out != port && w.to.IsZero() {
			g.host.Send(out, w)
		}
		return
	}
	if w.dstPort != dhcp.ServerPort {
		return
	}
	for _, a := range g.m.Step(now, relay.Receive{Port: relay.PortID(port + 1), Src: w.src, Dst: w.dst, SrcPort: w.srcPort, Payload: w.payload}) {
		if s, is := a.(relay.Send); is {
			out := int(s.Port) - 1
			if s.Port == 0 {
				out = g.way(s.Dst)
			}
			g.host.Send(out, wire{s.MAC, s.Src, s.Dst, dhcp.ServerPort, s.DstPort, slices.Clone(s.Payload)})
		}
	}
}

func (g *gate) way(dst packet.Addr) int {
	if g.inside.Contains(dst.Netip()) {
		return 0
	}
	return 1
}
