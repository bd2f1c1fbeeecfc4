package router

import (
	"fmt"
	"slices"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dataplane/fib"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/rip"
)

// run is the packet's journey; a stage that ends it returns false.
func (w *walk) run() {
	if !w.input() {
		return
	}
	switch {
	case w.group():
	case w.st == nil:
		w.route(w.inside.Dst)
		w.dispatch()
	default:
		w.track()
	}
}

func (w *walk) input() bool {
	src, dst, line := w.ip.Src(), w.ip.Dst(), w.in.cfg.Pos.Line
	if !w.in.up {
		word, why := w.in.state()
		return w.end("dropped", dataplane.DropPortClosed, "input", line, "port %s is %s: %s", w.in.cfg.Name, word, why)
	}
	if reason, bad := dataplane.Martian(src, dst, w.r.config.Forwarding.ClassE); bad {
		return w.end("dropped", reason, "input", 0, "%s", reason.Description())
	}
	if k := &w.parsed.Key; w.in.client != nil && k.Protocol == packet.ProtoUDP && k.DstPort == dhcp.ClientPort {
		w.say("input", "pass", line, "a DHCP answer that names the hardware address %v goes to the client on port %s, whatever its destination; any other packet goes on",
			w.in.cfg.MAC, w.in.cfg.Name)
	}
	mode := w.in.cfg.ReversePath
	if mode == config.ReversePathOff || mode == "" || src == 0 || dst == packet.Broadcast || dst.IsMulticast() {
		w.say("input", "pass", line, "arrives on port %s", w.in.cfg.Name)
		return true
	}
	if !w.backwards(src, mode == config.ReversePathLoose) {
		return w.end("dropped", dataplane.DropReversePath, "input", line, "the way back to %v does not lead through port %s (reverse_path: %s)",
			src, w.in.cfg.Name, mode)
	}
	w.say("input", "pass", line, "arrives on port %s; the way back to %v passes the reverse-path check (%s)", w.in.cfg.Name, src, mode)
	return true
}

// lookup is what the forwarding table says of an address.
func (w *walk) lookup(a packet.Addr) (*dataplane.Adjacency, *dataplane.Tables) {
	v := w.r.dp.FIB().Lookup(a)
	t := w.r.dp.Tables()
	return adjacencyOf(t, v), t
}

func adjacencyOf(t *dataplane.Tables, v fib.Value) *dataplane.Adjacency {
	if int(v) < len(t.Adjacencies) {
		return &t.Adjacencies[v]
	}
	return &dataplane.Adjacency{}
}

// backwards is the reverse-path check.
func (w *walk) backwards(src packet.Addr, loose bool) bool {
	a, t := w.lookup(src)
	switch a.Kind {
	case dataplane.Glean, dataplane.Incomplete, dataplane.Rewrite:
		return loose || a.Port == w.in.id
	case dataplane.Multipath:
		return loose || slices.ContainsFunc(t.Members[a.First:a.First+uint32(a.Count)], func(m fib.Value) bool {
			return adjacencyOf(t, m).Port == w.in.id
		})
	}
	return false
}

// group ends the way of a packet to everyone or to a group; false: it is none.
func (w *walk) group() bool {
	dst := w.ip.Dst()
	if dst != packet.Broadcast && !dst.IsMulticast() {
		return false
	}
	if w.admitLocal() {
		w.toEveryone(dataplane.DropMulticast, dst.IsMulticast())
	}
	return true
}

// toEveryone ends the way of what was sent to all: DHCP and RIP alone listen.
func (w *walk) toEveryone(reason dataplane.DropReason, group bool) bool {
	k := &w.parsed.Key
	if d := &w.r.dhcp; k.Protocol == packet.ProtoUDP && k.DstPort == dhcp.ServerPort && !group {
		if slices.Contains(d.relayPorts, w.in.id) {
			return w.end("delivered", 0, "output", w.in.cfg.Pos.Line, "handed to the DHCP relay of port %s", w.in.cfg.Name)
		}
		if d.server != nil {
			return w.end("delivered", 0, "output", w.in.cfg.Pos.Line, "handed to the DHCP server, which takes it where it serves port %s", w.in.cfg.Name)
		}
	}
	if w.r.rip != nil && k.Protocol == packet.ProtoUDP && k.DstPort == rip.UDPPort {
		return w.end("delivered", 0, "output", w.in.cfg.Pos.Line, "handed to RIP, which takes it where it speaks on port %s", w.in.cfg.Name)
	}
	if !group {
		reason = dataplane.DropBroadcast
	}
	return w.end("dropped", reason, "lookup", 0, "%s", reason.Description())
}

// broadcast ends the way of a packet to the broadcast address of a subnet.
func (w *walk) broadcast() bool {
	a := w.adjacency
	if a.Port != w.in.id {
		return w.end("dropped", dataplane.DropDirectedBroadcast, "lookup", 0, "%v is the broadcast address of another network", w.ip.Dst())
	}
	return w.admitLocal() && w.toEveryone(dataplane.DropBroadcast, false)
}

// admitLocal judges what is sent to everyone.
func (w *walk) admitLocal() bool {
	if w.st == nil || w.st.Firewall == nil {
		return true
	}
	k := w.rulesSee(firewall.New)
	if w.parsed.Class != conntrack.ClassOpens {
		k.State = firewall.Invalid
	}
	if !w.access(&k) {
		return false
	}
	if !w.st.Firewall.Stateful() {
		return true
	}
	v := w.judge(&k)
	return v.Action == firewall.Accept || w.refused(v.Action, false, w.verdictLine(v))
}

// route finds the way to an address, and words it.
func (w *walk) route(dst packet.Addr) {
	r := w.r
	a, t := w.lookup(dst)
	more := ""
	if a.Kind == dataplane.Multipath {
		members := t.Members[a.First : a.First+uint32(a.Count)]
		more = fmt.Sprintf(" (one of %d equal ways, chosen by flow)", len(members))
		a = w.member(t, members)
	}
	w.adjacency, w.egress, w.out.Out = a, nil, ""
	found := r.rib.Lookup(dst.Netip())
	switch a.Kind {
	case dataplane.Local:
		w.say("lookup", "deliver", w.addressLine(dst), "%v is an address of the router itself", dst)
	case dataplane.Rewrite, dataplane.Incomplete, dataplane.Glean:
		w.egress = r.byID[a.Port]
		w.out.Out = w.egress.cfg.Name
		via := "directly"
		if a.Kind != dataplane.Glean && a.NextHop != dst {
			via = "by next hop " + a.NextHop.String()
		}
		w.say("lookup", "pass", w.routeLine(found.Prefix), "the route %v leads to %v through port %s, %s%s", found.Prefix, dst, w.egress.cfg.Name, via, more)
	}
}

// member chooses among equal ways as the dataplane does: for a session, that out of the port whose address it has.
func (w *walk) member(t *dataplane.Tables, members []fib.Value) *dataplane.Adjacency {
	if len(members) == 0 {
		return &dataplane.Adjacency{}
	}
	if s := w.session; s != nil {
		keeps, given := s.Flags&conntrack.SourceTranslated != 0, s.Out
		if w.dir == conntrack.Reply { // of a forward: back by where it was asked
			keeps, given = s.Flags&conntrack.DestTranslated != 0, s.In
		}
		for _, m := range members {
			if a := adjacencyOf(t, m); keeps && a.Port == dataplane.PortID(given) {
				return a
			}
		}
	}
	return adjacencyOf(t, members[uint64(dataplane.FlowHash(w.ip))*uint64(len(members))>>32])
}

// somewhere reports whether the adjacency leads to a port or to the router, and which port.
func (w *walk) somewhere() (out uint16, leads bool) {
	switch w.adjacency.Kind {
	case dataplane.Rewrite, dataplane.Incomplete, dataplane.Glean:
		return uint16(w.adjacency.Port), true
	}
	return 0, w.adjacency.Kind == dataplane.Local
}

// turnAway ends the way of a packet that no route leads on.
func (w *walk) turnAway(dst packet.Addr) bool {
	if w.adjacency.Kind == dataplane.BroadcastTo {
		return w.broadcast()
	}
	k := w.rulesSee(firewall.New)
	k.Key.Dst = dst
	return w.access(&k) && w.special(dst)
}

// special is what is done where no port leads.
func (w *walk) special(dst packet.Addr) bool {
	prefix := w.r.rib.Lookup(dst.Netip()).Prefix
	line := w.routeLine(prefix)
	switch w.adjacency.Kind {
	case dataplane.BroadcastTo:
		return w.broadcast()
	case dataplane.Blackhole:
		return w.end("dropped", dataplane.DropBlackhole, "lookup", line, "the route %v is a blackhole", prefix)
	case dataplane.Unreachable:
		return w.end("rejected", dataplane.DropUnreachable, "lookup", line, "the route %v is of type unreachable: host unreachable is sent back", prefix)
	case dataplane.Prohibit:
		return w.end("rejected", dataplane.DropProhibit, "lookup", line, "the route %v is of type prohibit: administratively prohibited is sent back", prefix)
	}
	return w.end("rejected", dataplane.DropNoRoute, "lookup", 0, "no route leads to %v: net unreachable is sent back", dst)
}

// routeLine is the line of the static route to a prefix, or of the port whose network it is.
func (w *walk) routeLine(prefix interface{ String() string }) int {
	c := w.r.config
	for i := range c.Routes {
		if c.Routes[i].To == prefix {
			return c.Routes[i].Pos.Line
		}
	}
	for i := range c.Ports {
		for _, a := range w.r.addressesOf(&c.Ports[i]) {
			if a.Masked() == prefix {
				return c.Ports[i].Pos.Line
			}
		}
		if p := w.r.ports[c.Ports[i].Name]; p != nil && p.client != nil {
			for _, route := range p.client.routes {
				if route.Prefix == prefix {
					return c.Ports[i].Pos.Line
				}
			}
		}
	}
	return 0
}

// addressLine is the line of the port that has an address.
func (w *walk) addressLine(own packet.Addr) int {
	for _, p := range w.r.inOrder() {
		for _, a := range p.addresses() {
			if a.Addr() == own.Netip() {
				return p.cfg.Pos.Line
			}
		}
	}
	return 0
}

// local ends the way of a packet to the router itself.
func (w *walk) local() bool {
	if w.isOwn(w.ip.Src()) {
		return w.end("dropped", dataplane.DropSourceMartian, "lookup", w.addressLine(w.ip.Src()), "%v is the router's own address, so the source is forged", w.ip.Src())
	}
	if w.session == nil && w.r.unsolicited(w.ip) {
		return w.end("dropped", dataplane.DropNATUnsolicited, "output", 0,
			"nobody listens on TCP port %d of the router, and an inside host may be about to open this connection: port unreachable is sent back after %v (RFC 5382 REQ-4)",
			w.parsed.Key.DstPort, w.r.stateful.held.hold)
	}
	w.out.Packet = keyText(&w.leaves)
	if line, what := w.dns(); what != "" {
		return w.end("delivered", 0, "output", line, "handed to the router itself: %s", what)
	}
	return w.end("delivered", 0, "output", 0, "handed to the router itself")
}

// dns says what DNS does with a packet to one of its addresses; "": it is none of its.
func (w *walk) dns() (line int, what string) {
	k, d := &w.parsed.Key, w.r.dns
	if k.DstPort != dnsPort || k.Protocol != packet.ProtoUDP && k.Protocol != packet.ProtoTCP || d.served[k.Dst.Netip()] == nil {
		return 0, ""
	}
	line = w.r.config.DNS.Pos.Line
	if !d.listens[w.in.id] {
		return line, "DNS serves this address, but not the hosts of port " + w.in.cfg.Name + ", which `dns.listen` does not name: answered as a closed port"
	}
	return line, "DNS answers"
}

func (w *walk) isOwn(a packet.Addr) bool {
	found, _ := w.lookup(a)
	return found.Kind == dataplane.Local
}

// dispatch sends the packet where its adjacency leads.
func (w *walk) dispatch() bool {
	switch w.adjacency.Kind {
	case dataplane.Local:
		return w.local()
	case dataplane.Glean, dataplane.Incomplete:
		w.out.Packet = keyText(&w.leaves)
		return w.end("waits", 0, "output", w.egress.cfg.Pos.Line, "waits, for at most three seconds, until ARP has found the next hop on port %s", w.egress.cfg.Name)
	case dataplane.Rewrite:
		return w.fits() && w.output()
	}
	return w.special(w.leaves.Dst)
}

// fits is what may still refuse a packet when its headers are to be changed.
func (w *walk) fits() bool {
	c := &w.egress.cfg
	switch ttl := w.ip.TTL(); {
	case c.LeakGuard && w.leaves.Dst.IsPrivate():
		return w.end("rejected", dataplane.DropLeakGuard, "rewrite", c.Pos.Line,
			"%v is a private address, which may not leave by port %s (leak_guard)", w.leaves.Dst, c.Name)
	case ttl <= 1:
		return w.end("rejected", dataplane.DropTTL, "rewrite", 0, "its time to live is %d: time exceeded is sent back", ttl)
	case len(w.ip) > c.MTU && w.ip.DontFragment():
		return w.end("rejected", dataplane.DropFragmentationNeeded, "rewrite", c.Pos.Line,
			"%d octets do not fit the MTU %d of port %s and it may not be fragmented: fragmentation needed is sent back", len(w.ip), c.MTU, c.Name)
	}
	return true
}

func (w *walk) output() bool {
	c := &w.egress.cfg
	text := fmt.Sprintf("time to live %d becomes %d", w.ip.TTL(), w.ip.TTL()-1)
	if len(w.ip) > c.MTU {
		text += fmt.Sprintf("; %d octets are fragmented for the MTU %d", len(w.ip), c.MTU)
	}
	w.say("rewrite", "pass", 0, "%s", text)
	w.out.Packet = keyText(&w.leaves)
	if c.Kind == config.TAP {
		return w.end("forwarded", 0, "output", c.Pos.Line, "leaves by port %s to %v", c.Name, packet.Ethernet(w.adjacency.Header[:]).Dst())
	}
	return w.end("forwarded", 0, "output", c.Pos.Line, "leaves by port %s", c.Name)
}

func keyText(k *conntrack.Key) string {
	return fmt.Sprintf("%s %s -> %s", protocolName(k.Protocol), endpoint(k.Src, k.SrcPort), endpoint(k.Dst, k.DstPort))
}
