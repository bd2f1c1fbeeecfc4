package router

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/hoststack"
	"vrouterd/internal/packet"
	"vrouterd/internal/reassembly"
	"vrouterd/internal/rib"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dataplane/fib"
)

// Status is the router at a glance.
func (r *Router) Status() (s api.Status) {
	r.do(func() {
		c := r.dp.Counters()
		s = api.Status{
			Name: r.config.Name, Version: r.opt.Version, PID: os.Getpid(),
			Started: r.started, UptimeSeconds: time.Since(r.started).Seconds(), Ready: r.ready(),
			Ports: len(r.ports), Routes: r.rib.Len(), FIBRoutes: r.dp.FIB().Len(), FIBBytes: r.dp.FIB().Bytes(),
			Workers: r.dp.Workers(), ConfigFile: r.opt.ConfigPath, Unsaved: r.text != r.saved,
			MemoryBytes: residentBytes(),
		}
		s.Neighbors = len(r.arp.Neighbors(time.Now()))
		if current, ok := r.history.Current(); ok {
			s.Revision = current.Number
		}
		for _, d := range c.Drops {
			s.Drops += d
		}
		for _, p := range r.ports {
			if p.up {
				s.PortsUp++
			}
			pc := r.countersOf(p)
			s.RxPackets += pc.RxPackets
			s.TxPackets += pc.TxPackets
		}
		if r.confirm != nil {
			s.Unconfirmed = true
			s.ConfirmSecs = max(0, time.Until(r.confirm.deadline).Seconds())
		}
	})
	return s
}

// residentBytes is the process's resident memory, from /proc; 0 where there is none.
func residentBytes() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize())
}

// Ports are the rows of `show ports`, in the order of the configuration.
func (r *Router) Ports() (rows []api.Port) {
	r.do(func() {
		for i := range r.config.Ports {
			c := &r.config.Ports[i]
			p := r.ports[c.Name]
			if p == nil {
				continue
			}
			n := r.countersOf(p)
			word, why := p.state()
			row := api.Port{
				Name: c.Name, Kind: string(c.Kind), Netns: c.Netns, Device: c.Device, MTU: c.MTU, Up: p.up, Queues: 1,
				RxPackets: n.RxPackets, RxBytes: n.RxBytes, RxDrops: n.RxDrops,
				TxPackets: n.TxPackets, TxBytes: n.TxBytes, TxDrops: n.TxDrops,
				State: word, Reason: why, Addresses: []string{},
			}
			if c.Kind == config.TAP {
				row.MAC = c.MAC.String()
			}
			if p.dev != nil {
				row.Offload = p.dev.VnetHdr()
			}
			if c.Bridge != nil {
				row.Bridge = c.Bridge.Name
			}
			for _, a := range p.addresses() {
				row.Addresses = append(row.Addresses, a.String())
			}
			rows = append(rows, row)
		}
	})
	return rows
}

// Routes are the rows of `show routes`, in address order.
func (r *Router) Routes() (rows []api.Route) {
	r.do(func() {
		for _, v := range r.rib.All() {
			rows = append(rows, r.routeRows(&v)...)
		}
	})
	return rows
}

// routeRows is a row for each next hop of a route.
func (r *Router) routeRows(v *rib.View) []api.Route {
	row := api.Route{
		Prefix: v.Prefix.String(), Protocol: v.Protocol.String(), Type: v.Type.String(),
		Distance: v.Distance, Metric: v.Metric, Tag: int(v.Tag), Selected: v.Selected, Active: v.Active,
		Reason: v.Reason, AgeSeconds: time.Since(v.Since).Seconds(),
	}
	if v.From.IsValid() {
		row.From = v.From.String()
	}
	if len(v.NextHops) == 0 {
		return []api.Route{row}
	}
	rows := make([]api.Route, 0, len(v.NextHops))
	for _, h := range v.NextHops {
		one := row
		id := h.Port
		if h.Addr.IsValid() {
			one.NextHop = h.Addr.String()
		}
		if id == 0 { // where the resolution found it
			for _, res := range v.Hops {
				if res.Gateway == h.Addr || len(v.Hops) == 1 {
					id = res.Port
				}
			}
		}
		if id != 0 {
			one.Port = r.portName(id)
		}
		if h.From.IsValid() {
			one.From = h.From.String()
		}
		rows = append(rows, one)
	}
	return rows
}

// Route tells which way a packet to an address takes, and why.
func (r *Router) Route(address string) (out api.RouteLookup, err error) {
	a, err := parseAddress(address)
	if err != nil {
		return out, err
	}
	r.do(func() {
		l := r.rib.Lookup(a)
		out = api.RouteLookup{Address: a.String(), Why: l.Why, Action: "none", NextHops: []string{}, Ports: []string{}, Candidates: []api.Route{}}
		for i := range l.Candidates {
			out.Candidates = append(out.Candidates, r.routeRows(&l.Candidates[i])...)
		}
		if l.Type != rib.None {
			out.Prefix = l.Prefix.String()
		}
		r.explainForwarding(a, &l, &out)
	})
	return out, nil
}

// explainForwarding adds what the dataplane does, which knows more than the
// routing table: the router's own addresses, and neighbours.
func (r *Router) explainForwarding(a netip.Addr, l *rib.Lookup, out *api.RouteLookup) {
	prefix, bits, v, ok := r.dp.FIB().Match(packet.AddrFrom(a))
	if !ok {
		return
	}
	e := r.fwd.entries[v]
	switch e.key.kind {
	case dataplane.Local:
		out.Action, out.Prefix = "deliver", netip.PrefixFrom(prefix.Netip(), bits).String()
		out.Why = fmt.Sprintf("%v is an address of the router itself", a)
		return
	case dataplane.BroadcastTo:
		out.Action, out.Prefix = "deliver", netip.PrefixFrom(prefix.Netip(), bits).String()
		out.Ports = []string{r.portName(uint32(e.key.port))}
		out.Why = fmt.Sprintf("%v is a broadcast address of the subnet of port %s; from other ports it is dropped (RFC 2644)", a, out.Ports[0])
		return
	case dataplane.Blackhole, dataplane.Unreachable, dataplane.Prohibit:
		out.Action = e.key.kind.String()
		return
	}
	out.Action = "forward"
	for _, h := range l.Hops {
		nextHop := a
		if h.Gateway.IsValid() {
			nextHop = h.Gateway
		}
		out.NextHops = append(out.NextHops, nextHop.String())
		out.Ports = append(out.Ports, r.portName(h.Port))
		k := neighborKey{dataplane.PortID(h.Port), packet.AddrFrom(nextHop)}
		if !r.fwd.ports[k.port].Ethernet {
			continue
		}
		if mac, bound := r.fwd.neighbors[k]; !bound {
			out.Action = "resolve"
		} else if out.MAC == "" {
			out.MAC = mac.String()
		}
	}
}

// FIB is what the dataplane holds.
func (r *Router) FIB() []api.FIBEntry {
	type entry struct {
		prefix netip.Prefix
		v      fib.Value
	}
	var held []entry
	ways := map[fib.Value][]api.FIBEntry{} // what an adjacency says, but for the prefix
	r.do(func() {
		held = make([]entry, 0, len(r.fwd.held))
		for p, v := range r.fwd.held {
			held = append(held, entry{p, v})
			if ways[v] == nil {
				ways[v] = r.fibWays(v)
			}
		}
	})
	// A full table takes a while to sort and to word: the control loop need not wait for it.
	slices.SortFunc(held, func(a, b entry) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	rows := make([]api.FIBEntry, 0, len(held))
	for _, e := range held {
		name := e.prefix.String()
		for _, row := range ways[e.v] {
			row.Prefix = name
			rows = append(rows, row)
		}
	}
	return rows
}

// fibWays is a row for each way that an adjacency leads, by next hop.
func (r *Router) fibWays(v fib.Value) []api.FIBEntry {
	e := &r.fwd.entries[v]
	if e.key.kind != dataplane.Multipath {
		return []api.FIBEntry{r.fibRow(v)}
	}
	var rows []api.FIBEntry
	for _, m := range e.members {
		row := r.fibRow(m)
		row.Action = "multipath"
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b api.FIBEntry) int { return cmp.Compare(a.NextHop, b.NextHop) })
	return rows
}

func (r *Router) fibRow(v fib.Value) api.FIBEntry {
	e := &r.fwd.entries[v]
	a := r.fwd.adjacency(e)
	row := api.FIBEntry{Action: a.Kind.String()}
	if a.Port != 0 {
		row.Port = r.portName(uint32(a.Port))
	}
	if a.Kind == dataplane.Rewrite || a.Kind == dataplane.Incomplete {
		if a.NextHop != 0 {
			row.NextHop = a.NextHop.String()
		}
		if mac, ok := r.fwd.neighbors[neighborKey{a.Port, a.NextHop}]; ok {
			row.MAC = mac.String()
		}
	}
	return row
}

// Neighbors are the rows of `show neighbors`.
func (r *Router) Neighbors() (rows []api.Neighbor) {
	r.do(func() {
		for _, n := range r.arp.Neighbors(time.Now()) {
			row := api.Neighbor{
				Address: n.Addr.String(), Port: r.portName(uint32(n.Port)), State: n.State.String(),
				AgeSeconds: n.Age.Seconds(), Waiting: n.Waiting,
			}
			if !n.MAC.IsZero() {
				row.MAC = n.MAC.String()
			}
			rows = append(rows, row)
		}
	})
	return rows
}

// Drops are all the reasons for which a packet may be lost, and how many were.
func (r *Router) Drops() (rows []api.Drop) {
	r.do(func() {
		c := r.dp.Counters()
		for reason := dataplane.DropReason(1); reason < dataplane.NumDropReasons; reason++ {
			rows = append(rows, api.Drop{Reason: reason.String(), Description: reason.Description(), Packets: c.Drops[reason]})
		}
		a := r.arp.Counters()
		for reason := arp.DropNone + 1; reason < arp.NumDropReasons; reason++ {
			rows = append(rows, api.Drop{Reason: reason.String(), Description: reason.Description(), Packets: a.Dropped[reason]})
		}
		for reason := arp.BadReason(1); reason < arp.NumBadReasons; reason++ {
			rows = append(rows, api.Drop{Reason: reason.String(), Description: reason.Description(), Packets: a.Bad[reason]})
		}
		for _, v := range reassembly.Verdicts() {
			if v.Lost() {
				rows = append(rows, api.Drop{Reason: "reassembly_" + v.String(), Description: v.Description(), Packets: r.pieces.Count(v)})
				rows = append(rows, api.Drop{Reason: "transit_reassembly_" + v.String(), Description: v.Description() + " (in transit, for NAT and firewall)", Packets: r.dp.FragmentCount(v)})
			}
		}
		rows = append(rows, r.ripDrops()...)
		rows = append(rows, r.dnsDrops()...)
		rows = append(rows, r.dhcpDrops()...)
		rows = append(rows, hostDrops(r.stack.Stats())...)
	})
	return rows
}

// hostDrops are the packets to the router itself that its host stack refused.
func hostDrops(s hoststack.Stats) []api.Drop {
	return []api.Drop{
		{Reason: "local_malformed", Description: "a packet to the router is not whole", Packets: s.Malformed},
		{Reason: "local_datagram", Description: "a datagram to a service of the router has a wrong length or checksum, or comes from port 0", Packets: s.BadDatagram},
		{Reason: "local_source", Description: "a packet to the router is from an address that nobody can have", Packets: s.BadSource},
		{Reason: "local_group_echo", Description: "an echo request to a group is not answered (RFC 1122 section 3.2.2.6)", Packets: s.GroupEcho},
		{Reason: "local_send_queue", Description: "the router's own packets were more than their queue holds", Packets: s.SendDropped},
	}
}

// Counters are what else the router counts.
func (r *Router) Counters() (rows []api.Counter) {
	r.do(func() {
		c := r.dp.Counters()
		add := func(name, description string, v uint64) {
			rows = append(rows, api.Counter{Name: name, Description: description, Value: v})
		}
		for reason := range dataplane.NumPuntReasons {
			add("punt_"+reason.String(), "punted: "+reason.Description(), c.Punts[reason])
		}
		add("punts_waiting", "packets in the queues to the control plane now", uint64(c.PuntsWaiting))
		add("punts_waiting_max", "the deepest that one of these queues has been", uint64(c.PuntsWaitedMax))
		sent, held := r.limits.counts()
		add("icmp_errors_sent", "ICMP errors sent", sent)
		add("icmp_errors_limited", "ICMP errors held back by the rate limits", held+c.Suppressed)
		if r.rip != nil {
			rip := r.rip.Counters()
			add("rip_updates_received", "good RIP responses", rip.ResponsesIn)
			add("rip_queries_received", "good RIP requests", rip.RequestsIn)
			add("rip_updates_sent", "RIP packets of whole tables", rip.FullOut)
			add("rip_triggered_sent", "RIP packets of triggered updates", rip.TriggeredOut)
			add("rip_routes_refused", "routes in RIP packets that were refused; show rip neighbors tells why", rip.BadRoutes)
		}
		r.dnsCounters(add)
		r.dhcpCounters(add)
		h := r.stack.Stats()
		add("local_delivered", "packets that the router's host stack took", h.Delivered)
		add("local_served", "datagrams that the router's own services took, DNS among them", h.Served)
		add("local_probe_answers", "answers to the router's own pings and traceroutes", h.Probes)
		add("local_sent", "packets that the router's host stack sent", h.Sent)
		add("udp_trains_made", "super-frames made of UDP datagrams of one flow that came one by one", c.TrainsMade)
		add("udp_trains_datagrams", "datagrams that left in them", c.Aboard)
		add("fragments_made", "fragments that packets were cut into", c.FragmentsMade)
		add("worker_batches", "batches of packets that the workers handled", c.Batches)
		add("worker_wakeups", "times that a worker slept and was woken", c.Wakeups)
	})
	return rows
}

func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, &api.Error{Code: api.Usage, Message: fmt.Sprintf("%q is not an IPv4 address; write it like 10.0.0.1", s)}
	}
	return a, nil
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
