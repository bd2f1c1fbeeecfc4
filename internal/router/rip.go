package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/internal/rib"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/rip"
)

// changeRIP starts, changes or stops the RIP machine.
func (r *Router) changeRIP(c *config.Config) {
	now := time.Now()
	switch {
	case c.RIP == nil && r.rip == nil:
	case c.RIP == nil:
		r.stopRIP(now)
		for _, v := range r.rib.All() {
			if v.Protocol == rib.RIP {
				r.rib.Withdraw(v.Key())
			}
		}
	case r.rip == nil:
		rc := r.ripConfig(c.RIP)
		rc.InitialState = r.loadRIPState()
		r.rip = rip.New(rc, r.opt.Rand)
		for _, p := range r.inOrder() {
			if p.up {
				r.ripPortUp(p, now)
			}
		}
		for _, v := range r.rib.All() { // what others have selected so far
			if v.Selected {
				r.redistribute(now, r.rib.Best(v.Prefix))
			}
		}
	default:
		r.ripStep(now, rip.Configure{Config: r.ripConfig(c.RIP)})
	}
}

// stopRIP says goodbye to the neighbours: everything announced is poisoned. The packets of a
// large table are paced, so it takes a moment; it is not allowed to take long.
func (r *Router) stopRIP(now time.Time) {
	if r.rip == nil {
		return
	}
	deadline := now.Add(ripGoodbye)
	stopped := r.ripStep(now, rip.Shutdown{})
	for !stopped && now.Before(deadline) {
		wait := time.NewTimer(max(0, min(time.Until(r.rip.Next()), time.Until(deadline))))
		<-wait.C
		now = time.Now()
		stopped = r.ripStep(now, rip.Tick{})
	}
	r.rip = nil
}

// ripGoodbye bounds the time that a router which stops spends on poisoning its routes.
const ripGoodbye = 2 * time.Second

// ripStep gives the machine an event and does what it asks for; true when it says that it has stopped.
func (r *Router) ripStep(now time.Time, e rip.Event) (stopped bool) {
	if r.rip == nil {
		return false
	}
	for _, a := range r.rip.Step(now, e) {
		switch a := a.(type) {
		case rip.Send:
			r.ripSend(&a)
		case rip.Install:
			r.ripInstall(now, &a)
		case rip.Withdraw:
			r.rib.Withdraw(rib.Key{Prefix: a.Prefix, Protocol: rib.RIP, Source: ripSource})
		case rip.RouteEvent:
			r.ripRouteEvent(&a)
		case rip.NeighborEvent:
			r.ripNeighborEvent(&a)
		case rip.Bad:
			// Counted by the machine, at the port and the neighbour.
		case rip.SaveState:
			r.saveRIPState(a.State)
		case rip.Stopped:
			stopped = true
		}
	}
	return stopped
}

// ripSource is the name of RIP's routes in the RIB: the machine has merged its neighbours.
const ripSource = "rip"

// ripInstall gives a route to the RIB.
func (r *Router) ripInstall(now time.Time, a *rip.Install) {
	route := rib.Route{
		Prefix: a.Prefix, Protocol: rib.RIP, Source: ripSource,
		Distance: int(a.Distance), Metric: int(a.Metric), Tag: int(a.Tag), From: a.Paths[0].From.Netip(),
	}
	for _, p := range a.Paths {
		route.NextHops = append(route.NextHops, rib.NextHop{Addr: p.NextHop.Netip(), Port: uint32(p.Port), From: p.From.Netip()})
	}
	if err := r.rib.Update(now, route); err != nil {
		r.log.Error("the routing table refused a route of RIP", "prefix", a.Prefix, "error", err)
	}
}

// redistribute tells RIP what the RIB has selected from other sources.
func (r *Router) redistribute(now time.Time, c rib.Change) {
	if r.rip == nil {
		return
	}
	e := rip.Redistribute{Prefix: c.Prefix, Gone: true}
	if c.Type != rib.None && c.Type != rib.Local {
		switch c.Protocol {
		case rib.Connected:
			e.Protocol, e.Gone = rip.ProtocolConnected, false
		case rib.Static:
			e.Protocol, e.Gone = rip.ProtocolStatic, false
		case rib.DHCP:
			e.Protocol, e.Gone = rip.ProtocolDHCP, false
		}
	}
	if !e.Gone {
		for _, v := range r.rib.Lookup(c.Prefix.Addr()).Candidates {
			if v.Prefix == c.Prefix && v.Selected {
				e.Metric, e.Tag = uint32(v.Metric), uint16(v.Tag)
				break
			}
		}
		if len(c.Hops) == 1 && c.Hops[0].Gateway.IsValid() {
			e.NextHop, e.Port = packet.AddrFrom(c.Hops[0].Gateway), rip.PortID(c.Hops[0].Port)
		}
	}
	r.ripStep(now, e)
}

// ripPortUp tells RIP of a port's addresses.
func (r *Router) ripPortUp(p *portState, now time.Time) {
	r.ripStep(now, rip.PortUp{Port: rip.PortID(p.id), Addresses: p.usable(), MTU: p.cfg.MTU})
}

// ripReceive takes a packet that was addressed to the router, its networks or a group;
// false: it is not RIP's.
func (r *Router) ripReceive(now time.Time, p *dataplane.Punt, ip packet.IPv4) bool {
	if r.rip == nil || p.Own {
		return false
	}
	u, mine := r.datagram(ip, rip.UDPPort)
	if u == nil {
		return mine
	}
	r.ripStep(now, rip.Receive{
		Port: rip.PortID(p.Port), Src: ip.Src(), SrcPort: u.SrcPort(), Dst: ip.Dst(), TTL: ip.TTL(), Payload: u.Payload(),
	})
	return true
}

// ripSend puts a datagram on the wire, with the precedence of every routing protocol:
// internetwork control (RFC 1812 section 4.2.3.2).
func (r *Router) ripSend(s *rip.Send) {
	if p := r.byID[dataplane.PortID(s.Port)]; p != nil {
		r.sendDatagram(p, &datagram{src: s.Src, srcPort: s.SrcPort, dst: s.Dst, dstPort: s.DstPort, ttl: s.TTL, tos: 0xc0, payload: s.Payload})
	}
}

func (r *Router) ripRouteEvent(e *rip.RouteEvent) {
	who := ""
	if e.From != 0 {
		who = fmt.Sprintf(" from %v on %s", e.From, r.portName(uint32(e.Port)))
	}
	metric := fmt.Sprint(e.Metric)
	if e.OldMetric != 0 && e.OldMetric != e.Metric {
		metric = fmt.Sprintf("%d -> %d", e.OldMetric, e.Metric)
	}
	message := fmt.Sprintf("rip: %v %v%s, metric %s", e.Prefix, e.Change, who, metric)
	r.note("rip_route_"+e.Change.String(), e.Prefix.String(), message, map[string]string{
		"prefix": e.Prefix.String(), "metric": fmt.Sprint(e.Metric),
	})
}

func (r *Router) ripNeighborEvent(e *rip.NeighborEvent) {
	name := r.portName(uint32(e.Port))
	r.event("rip_neighbor_"+e.Change.String(), e.Addr.String(),
		fmt.Sprintf("rip: neighbour %v on %s is %v", e.Addr, name, e.Change), map[string]string{"port": name, "address": e.Addr.String()})
	// A neighbour that talks is there: ARP need not ask.
	if e.Change == rip.NeighborUp {
		r.neighborActions(r.arp.Step(time.Now(), arp.Confirm{Port: arp.PortID(e.Port), Addr: e.Addr}))
	}
}

// RIP's state survives a restart in a file beside the revisions: authentication must never go
// back to a sequence number that was used (RFC 4822 section 3.2.1).

func (r *Router) ripStatePath() string {
	if r.opt.StateDir == "" {
		return ""
	}
	return filepath.Join(r.opt.StateDir, "rip-state.json")
}

// savedState is the file's form. Ports go by name: their numbers are of one run.
type savedState struct {
	Sequence  uint32          `json:"sequence"`
	Neighbors []savedNeighbor `json:"neighbors"`
}

type savedNeighbor struct {
	Port     string     `json:"port"`
	Address  netip.Addr `json:"address"`
	KeyID    uint8      `json:"key_id"`
	Sequence uint32     `json:"sequence"`
}

func (r *Router) saveRIPState(s rip.State) {
	path := r.ripStatePath()
	if path == "" {
		return
	}
	out := savedState{Sequence: s.Sequence}
	for _, n := range s.Neighbors {
		out.Neighbors = append(out.Neighbors, savedNeighbor{r.portName(uint32(n.Port)), n.Addr, n.KeyID, n.Sequence})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		r.log.Warn("RIP's sequence numbers could not be saved; after a restart neighbours may refuse ours for a while", "error", err)
	}
}

func (r *Router) loadRIPState() (s rip.State) {
	path := r.ripStatePath()
	if path == "" {
		return s
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	var in savedState
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil {
		r.log.Warn("RIP's sequence numbers could not be read; neighbours may refuse ours for a while", "file", path, "error", err)
		return s
	}
	s.Sequence = in.Sequence
	for _, n := range in.Neighbors {
		if p := r.ports[n.Port]; p != nil {
			s.Neighbors = append(s.Neighbors, rip.NeighborSequence{Port: rip.PortID(p.id), Addr: n.Address, KeyID: n.KeyID, Sequence: n.Sequence})
		}
	}
	return s
}
