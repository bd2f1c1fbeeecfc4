package simnet

import (
	"fmt"
	"net/netip"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/rip"
)

// Datagram is a UDP datagram on a link.
type Datagram struct {
	Src, Dst packet.Addr
	SrcPort  uint16
	TTL      uint8
	Payload  []byte
}

// Router runs a rip.Machine on a host of a Lab and keeps the table that the machine fills.
type Router struct {
	lab     *Lab
	index   int
	host    *Host[Datagram]
	machine *rip.Machine
	addrs   []netip.Prefix // of its ports

	stub  netip.Prefix
	table map[netip.Prefix]rip.Install
	state rip.State // what the last life saved
	lives uint64
}

// stubPort is the port of the router's own network; it has no link.
const stubPort rip.PortID = 1 << 20

// Machine is the router's machine, for its rows and counters.
func (r *Router) Machine() *rip.Machine { return r.machine }

// Stub is the router's own network.
func (r *Router) Stub() netip.Prefix { return r.stub }

// Route is what the router's table says of a prefix.
func (r *Router) Route(p netip.Prefix) (rip.Install, bool) {
	i, has := r.table[p]
	return i, has
}

// Up implements Node.
func (r *Router) Up(now time.Time, port int) {
	r.step(now, rip.PortUp{Port: rip.PortID(port), Addresses: []netip.Prefix{r.addrs[port]}})
}

// Down implements Node.
func (r *Router) Down(now time.Time, port int) { r.step(now, rip.PortDown{Port: rip.PortID(port)}) }

// Tick implements Node.
func (r *Router) Tick(now time.Time) { r.step(now, rip.Tick{}) }

// Next implements Node.
func (r *Router) Next() time.Time { return r.machine.Next() }

// Receive implements Node. The host would not hand up what is addressed to another.
func (r *Router) Receive(now time.Time, port int, d Datagram) {
	if own := packet.AddrFrom(r.addrs[port].Addr()); d.Dst != own && !d.Dst.IsMulticast() && d.Dst&0xff != 0xff {
		return
	}
	r.step(now, rip.Receive{Port: rip.PortID(port), Src: d.Src, SrcPort: d.SrcPort, Dst: d.Dst, TTL: d.TTL, Payload: d.Payload})
}

// step carries out what the machine wants.
func (r *Router) step(now time.Time, ev rip.Event) {
	for _, a := range r.machine.Step(now, ev) {
		switch a := a.(type) {
		case rip.Install:
			r.table[a.Prefix] = a
			r.lab.changed = true
		case rip.Withdraw:
			delete(r.table, a.Prefix)
			r.lab.changed = true
		case rip.SaveState:
			r.state = a.State
		case rip.Send:
			r.lab.inspect(r, a)
			r.host.Send(int(a.Port), Datagram{a.Src, a.Dst, a.SrcPort, a.TTL, append([]byte(nil), a.Payload...)})
		case rip.Bad:
			r.lab.refusals[a.Reason]++
		}
	}
}

// own reports whether a prefix is one of the router's own networks that are up.
func (r *Router) own(p netip.Prefix) bool {
	if p == r.stub {
		return true
	}
	for port, a := range r.addrs {
		if a.Masked() == p && r.host.ports[port].link.carrier {
			return true
		}
	}
	return false
}

// inspect holds a packet against what no router may ever say.
func (l *Lab) inspect(r *Router, a rip.Send) {
	if int(a.Port) >= len(r.addrs) {
		l.fault("%s sends on port %d, which has no link", l.Name(r.index), a.Port)
		return
	}
	m, why := rip.Decode(a.Payload, l.room[:0])
	l.room = m.Entries[:0]
	if why != rip.BadNone {
		l.fault("%s sends a packet that is refused: %v", l.Name(r.index), why)
		return
	}
	if m.Command != rip.Response {
		return
	}
	for _, e := range m.Entries {
		if e.Family != 2 {
			continue
		}
		if e.Metric < 1 || e.Metric > rip.Infinity {
			l.fault("%s announces metric %d", l.Name(r.index), e.Metric)
		}
		if e.Metric == rip.Infinity || l.split == rip.SplitNone {
			continue
		}
		p := netip.PrefixFrom(e.Addr.Netip(), maskBits(e.Mask))
		if r.own(p) {
			continue
		}
		for _, path := range r.table[p].Paths {
			if path.Port == a.Port {
				l.fault("%s announces %v with metric %d on port %d, through which it reaches it", l.Name(r.index), p, e.Metric, a.Port)
			}
		}
	}
}

func maskBits(m packet.Addr) int {
	n := 0
	for m<<n != 0 {
		n++
	}
	return n
}

// fault notes a broken rule; the first ones are kept.
func (l *Lab) fault(format string, args ...any) {
	if len(l.faults) < 5 {
		l.faults = append(l.faults, fmt.Sprintf("at %v: ", l.world.Now.Sub(l.born))+fmt.Sprintf(format, args...))
	}
}
