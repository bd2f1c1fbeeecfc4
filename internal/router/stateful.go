package router

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/internal/rcu"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/dhcp"
	"vrouterd/pkg/firewall"
	"vrouterd/pkg/nat"
	"vrouterd/pkg/rip"
)

// stateful is what the control plane holds of sessions, NAT and the firewall.
//
// The table of sessions and the mappings live as long as the router: a change of configuration gives the
// dataplane new policies over them, and then ends the sessions that hang on an address or a forward that is gone.
// What a filter no longer lets in, the dataplane finds itself with the next packet.
type stateful struct {
	sessions *conntrack.Table
	mappings *nat.Mappings
	nat      *nat.Policy                     // nil: neither nat nor forwards
	firewall *firewall.Policy                // nil: none
	judge    atomic.Pointer[firewall.Policy] // the last one that there was: sessions name its rules
	reader   *rcu.Reader                     // of the control goroutine
	pages    *rcu.Reader                     // of whoever pages through tables, one at a time: under paging
	paging   chan struct{}
	next     conntrack.Tick // when something expires
	numbers  natNumbers

	outside []packet.Addr // what policies were made with
	helpers helpers
	held    heldSYNs
	notices map[string]bool // private outside addresses that have been told of
}

// expireBudget is how many sessions a step of the loop ends at most: at some 200 ns each,
// a millisecond.
const expireBudget = 4096

func (r *Router) newStateful(seed uint64) *stateful {
	s := &stateful{
		reader: r.dp.Domain().Register(), pages: r.dp.Domain().Register(),
		paging: make(chan struct{}, 1), notices: map[string]bool{},
		held: heldSYNs{hold: synHold},
	}
	s.mappings = nat.NewMappings(nat.Config{Seed: seed})
	s.sessions = conntrack.NewTable(sessionsConfig(&config.Sessions{}), seed, r.dp.Domain(), r.sessionEnded)
	return s
}

// sessionEnded gives back what a session held. Any goroutine may call it.
func (r *Router) sessionEnded(now conntrack.Tick, one *conntrack.Session) {
	original, reply := one.Key(conntrack.Original), one.Key(conntrack.Reply)
	if one.Flags()&conntrack.Mapped != 0 {
		r.stateful.mappings.Release(now, original, reply)
	}
	if rule, _ := one.Rules(); rule != 0 {
		if judge := r.stateful.judge.Load(); judge != nil {
			inside := original // as the rule has seen it: with the destination behind NAT
			inside.Dst = reply.Src
			if inside.Protocol != packet.ProtoICMP {
				inside.DstPort = reply.SrcPort
			}
			judge.Ended(rule, &inside)
		}
	}
}

// tick is the present moment for sessions.
func (r *Router) sessionTick() conntrack.Tick { return conntrack.TickOf(r.dp.Now()) }

// sessionsConfig is the section `sessions:` as the table takes it.
func sessionsConfig(c *config.Sessions) conntrack.Config {
	mode := map[string]conntrack.WindowMode{"strict": conntrack.WindowStrict, "off": conntrack.WindowOff}[c.Window]
	return conntrack.Config{
		Max: c.Max, MaxPerHost: c.MaxPerHost, MaxHalfOpen: c.MaxHalfOpen,
		Timeouts: conntrack.Timeouts{
			UDP: conntrack.Ticks(c.UDP), UDPUnreplied: conntrack.Ticks(c.UDP),
			TCPEstablished: conntrack.Ticks(c.TCPEstablished), TCPTransitory: conntrack.Ticks(c.TCPTransitory),
			TCPReset: conntrack.Ticks(c.TCPReset), ICMP: conntrack.Ticks(c.ICMP), Other: conntrack.Ticks(c.Other),
		},
		Loose: c.Loose, Window: mode,
	}
}

// changeStateful makes the policies of a configuration those of the dataplane's next snapshot. Every
// port of c has its number already. It cannot fail: package config has refused what could.
func (r *Router) changeStateful(c *config.Config) {
	s := r.stateful
	s.sessions.Configure(sessionsConfig(&c.Sessions))
	s.outside = r.allOutside(c)
	before := s.nat
	s.nat = nil
	s.numbers.assign(c)
	if len(c.NAT) > 0 || len(c.Forwards) > 0 {
		s.nat = r.natPolicy(c)
		s.nat.Continue(before)
	}
	was := s.judge.Load()
	s.firewall = nil
	if c.Firewall != nil {
		policy, err := firewall.Compile(r.firewallConfig(c.Firewall), was)
		if err != nil { // a fault of ours: what was checked does not compile
			r.log.Error("the firewall does not compile; nothing passes", "error", err)
			policy, _ = firewall.Compile(firewall.Config{Zones: everyPortItsZone(r.numbers(c))}, nil)
		}
		s.firewall = policy
		s.judge.Store(policy)
	}
	r.fwd.stateful = nil
	if s.nat != nil || s.firewall != nil {
		r.fwd.stateful = &dataplane.Stateful{
			Sessions: s.sessions, Mappings: s.mappings, NAT: s.nat, Firewall: s.firewall,
			NATNumbers: s.numbers.list,
			HelpFTP:    s.nat != nil && slices.Contains(c.Sessions.Helpers, "ftp"), Loose: c.Sessions.Loose,
		}
	}
	if s.nat == nil && s.firewall != nil && !s.firewall.Stateful() {
		r.fwd.stateful.Sessions = nil // access rules need none, and a flood shall not fill a table for nothing
	}
	r.fwd.dirty = true
	r.later = append(r.later, r.endForbidden)
	r.noticeDoubleNAT(c)
	r.changePortMapping(c)
}

// everyPortItsZone is a firewall's zones between which nothing passes.
func everyPortItsZone(numbers map[string]uint16) (zones []firewall.Zone) {
	for name, n := range numbers {
		zones = append(zones, firewall.Zone{Name: name, Ports: []uint16{n}})
	}
	return zones
}

// endForbidden ends the sessions that the new policy leaves without their address or forward. It runs when the
// policy has been published: a packet that comes later meets the new one.
func (r *Router) endForbidden() {
	s := r.stateful
	now := r.sessionTick()
	switch {
	case s.nat == nil && s.firewall == nil:
		s.sessions.Flush(s.reader, now, conntrack.Filter{})
		s.mappings.Retain(nat.NewPolicy(nil, nil, nil), now)
		return
	case s.nat == nil:
		s.sessions.Flush(s.reader, now, conntrack.Filter{NATOnly: true})
		s.mappings.Retain(nat.NewPolicy(nil, nil, nil), now)
		return
	}
	r.dp.Domain().Synchronize() // a worker in the middle of a batch may still make what the old policy allows
	s.mappings.Retain(s.nat, now)
	ended := s.sessions.Flush(s.reader, now, conntrack.Filter{Test: func(one *conntrack.Session) bool {
		return !s.mappings.Stands(s.nat, one.Key(conntrack.Original), one.Key(conntrack.Reply))
	}})
	if ended > 0 {
		r.event("sessions_flushed", "nat", plural(ended, "session")+" ended: their translation is no longer configured",
			map[string]string{"sessions": fmt.Sprint(ended)})
	}
}

// numbers are the ports' numbers by name.
func (r *Router) numbers(c *config.Config) map[string]uint16 {
	out := make(map[string]uint16, len(c.Ports))
	for i := range c.Ports {
		out[c.Ports[i].Name] = uint16(r.numberOf(c.Ports[i].Name))
	}
	return out
}

// numberOf is the number of a port, which is reserved for it if it does not exist yet.
func (r *Router) numberOf(name string) dataplane.PortID {
	if p := r.ports[name]; p != nil {
		return p.id
	}
	if id, ok := r.reserved[name]; ok {
		return id
	}
	id := r.freeID()
	r.reserved[name] = id
	return id
}

// addressesOf are the addresses of a port as a configuration has it, with the one that is leased.
func (r *Router) addressesOf(c *config.Port) []netip.Prefix {
	if p := r.ports[c.Name]; p != nil && c.DHCP != nil && p.client != nil && p.client.leased.IsValid() {
		return append(slices.Clip(c.Address), p.client.leased)
	}
	return c.Address
}

// outsideOf are the addresses of a port that NAT may use.
func (r *Router) outsideOf(c *config.Config, name string) (out []packet.Addr) {
	for i := range c.Ports {
		if c.Ports[i].Name != name {
			continue
		}
		for _, a := range r.addressesOf(&c.Ports[i]) {
			addr := packet.AddrFrom(a.Addr())
			if p := r.ports[name]; p == nil || !p.tentative[addr] {
				out = append(out, addr)
			}
		}
	}
	return out
}

// outsideChanged gives NAT the addresses that its ports may use now, where those are others: one may be probed still, or
// be somebody else's.
func (r *Router) outsideChanged() {
	if r.fwd.stateful == nil {
		return
	}
	now := r.allOutside(r.config)
	if !slices.Equal(now, r.stateful.outside) {
		r.changeStateful(r.config)
	}
}

// allOutside are the addresses of all outside ports.
func (r *Router) allOutside(c *config.Config) (out []packet.Addr) {
	for i := range c.NAT {
		out = append(out, r.outsideOf(c, c.NAT[i].Out)...)
	}
	for i := range c.Forwards {
		out = append(out, r.outsideOf(c, c.Forwards[i].In)...)
	}
	return out
}

func addrs(list []netip.Addr) (out []packet.Addr) {
	for _, a := range list {
		out = append(out, packet.AddrFrom(a))
	}
	return out
}

// natPolicy compiles `nat:` and `forwards:`.
func (r *Router) natPolicy(c *config.Config) *nat.Policy {
	var rules []nat.Rule
	for i := range c.NAT {
		rules = append(rules, r.natRule(c, &c.NAT[i]))
	}
	var forwards []nat.Forward
	for i := range c.Forwards {
		f := &c.Forwards[i]
		one := nat.Forward{
			In: uint16(r.numberOf(f.In)), Protocol: f.Protocol, PortMin: f.Ports.Min, PortMax: f.Ports.Max,
			Source: f.Source, To: packet.AddrFrom(f.To), ToPort: f.ToPort, Outside: r.outsideOf(c, f.In),
		}
		if f.Address.IsValid() {
			one.Outside = []packet.Addr{packet.AddrFrom(f.Address)}
		}
		forwards = append(forwards, one)
	}
	var own []packet.Addr
	for i := range c.Ports {
		for _, a := range r.addressesOf(&c.Ports[i]) {
			own = append(own, packet.AddrFrom(a.Addr()))
		}
	}
	policy := nat.NewPolicy(rules, forwards, own)
	if ports := servedPorts(c); len(ports) > 0 {
		policy.Serve(packet.ProtoUDP, ports...)
	}
	return policy
}

// servedPorts are the UDP ports at which the router itself is spoken to.
func servedPorts(c *config.Config) (ports []uint16) {
	if c.RIP != nil {
		ports = append(ports, rip.UDPPort)
	}
	if c.DHCP != nil {
		ports = append(ports, dhcp.ServerPort)
	}
	if slices.ContainsFunc(c.Ports, func(p config.Port) bool { return p.DHCP != nil }) {
		ports = append(ports, dhcp.ClientPort)
	}
	if c.DNS != nil {
		const dnsPort = 53
		ports = append(ports, dnsPort)
	}
	return ports
}

func (r *Router) natRule(c *config.Config, n *config.NATRule) nat.Rule {
	rule := nat.Rule{
		Out: uint16(r.numberOf(n.Out)), Protocol: n.Protocol, Source: n.Source, Destination: n.Destination,
		PortMin: n.Ports.Min, PortMax: n.Ports.Max, BlockSize: n.BlockSize, MaxBlocks: n.MaxBlocks,
		Outside: addrs(n.To),
	}
	switch n.Filtering {
	case config.FilterAddressDependent:
		rule.Filtering = nat.AddressDependent
	case config.FilterAddressAndPortDependent:
		rule.Filtering = nat.AddressAndPortDependent
	}
	switch n.Type {
	case config.NATMasquerade:
		rule.Type = nat.Masquerade
		rule.Outside = r.outsideOf(c, n.Out)
	case config.NATSource:
		rule.Type = nat.SNAT
	case config.NATOneToOne:
		rule.Type = nat.OneToOne
		rule.Inside, rule.Outside = packet.AddrFrom(n.Inside), addrs([]netip.Addr{n.Outside})
	case config.NATNone:
		rule.Type = nat.Exempt
	case config.NATCGNAT:
		rule.Type = nat.CarrierGrade
		if n.Deterministic {
			rule.Type = nat.Deterministic
		}
		if len(rule.Outside) == 0 {
			rule.Outside = r.outsideOf(c, n.Out)
		}
	}
	return rule
}

var firewallActions = map[config.FirewallAction]firewall.Action{
	config.ActionAccept: firewall.Accept, config.ActionDrop: firewall.Drop, config.ActionReject: firewall.Reject,
	config.ActionRejectAdmin: firewall.RejectAdmin, config.ActionRejectReset: firewall.RejectReset,
	config.ActionRejectHost: firewall.RejectHost, config.ActionRejectNetwork: firewall.RejectNetwork,
}

var firewallStates = map[string]firewall.State{
	"new": firewall.New, "invalid": firewall.Invalid, "forwarded": firewall.Forwarded, "mapped": firewall.Mapped,
	"related": firewall.Related, "established": firewall.Established,
}

// firewallConfig is the section `firewall:` with numbers for ports.
func (r *Router) firewallConfig(c *config.Firewall) (out firewall.Config) {
	for i := range c.Zones {
		z := &c.Zones[i]
		one := firewall.Zone{Name: z.Name, Line: z.Pos.Line}
		for _, name := range z.Ports {
			one.Ports = append(one.Ports, uint16(r.numberOf(name)))
		}
		out.Zones = append(out.Zones, one)
	}
	for i := range c.Sets {
		s := &c.Sets[i]
		out.Sets = append(out.Sets, firewall.Set{Name: s.Name, Prefixes: s.Addresses, Timeout: s.Timeout, Max: s.Max, Line: s.Pos.Line})
	}
	for i := range c.Rules {
		out.Rules = append(out.Rules, r.firewallRule(&c.Rules[i]))
	}
	for i := range c.Access {
		out.Access = append(out.Access, r.firewallRule(&c.Access[i]))
	}
	for i := range c.Policy {
		p := &c.Policy[i]
		out.Pairs = append(out.Pairs, firewall.Pair{From: p.From, To: p.To, Action: firewallActions[p.Action], Log: p.Log, Line: p.Pos.Line})
	}
	return out
}

func portRanges(list []config.PortRange) (out []firewall.PortRange) {
	for _, p := range list {
		out = append(out, firewall.PortRange{Min: p.Min, Max: p.Max})
	}
	return out
}

func (r *Router) firewallRule(c *config.FirewallRule) firewall.Rule {
	rule := firewall.Rule{
		Name: c.Name, Line: c.Pos.Line, From: c.From, To: c.To,
		Match: firewall.Match{
			Source: c.Source, Destination: c.Destination, NotSource: c.NotSource, NotDestination: c.NotDestination,
			SourceSet: c.SourceSet, DestinationSet: c.DestinationSet, Protocol: c.Protocol,
			SourcePorts: portRanges(c.SourcePorts), DestPorts: portRanges(c.Ports),
			ICMPType: c.ICMPType, ICMPCode: c.ICMPCode, TCPFlags: c.TCPFlags, TCPMask: c.TCPMask,
			DSCP: c.DSCP, LengthMin: c.LengthMin, LengthMax: c.LengthMax,
		},
		MaxHost: c.MaxSessions, AddTo: c.AddTo, AddFor: c.AddFor, Action: firewallActions[c.Action], Log: c.Log,
	}
	if c.In != "" {
		rule.In = uint16(r.numberOf(c.In))
	}
	if c.Out != "" {
		rule.Out = uint16(r.numberOf(c.Out))
	}
	for _, s := range c.States {
		rule.Match.States |= firewallStates[s]
	}
	if c.Rate != nil {
		rule.Rate = &firewall.Rate{Packets: c.Rate.Packets, Per: c.Rate.Per, Burst: c.Rate.Burst, PerHost: c.Rate.PerSource}
		rule.Over = c.Rate.Over
	}
	return rule
}

// noticeDoubleNAT tells once of each outside address that is itself private: somebody translates again, and forwards
// reach this router only if that one forwards too (RFC 6598, RFC 1918).
func (r *Router) noticeDoubleNAT(c *config.Config) {
	for i := range c.NAT {
		for _, a := range r.outsideOf(c, c.NAT[i].Out) {
			name := a.String()
			shared := a>>22 == 0x64400000>>22 // 100.64.0.0/10
			if !(a.IsPrivate() || shared) || r.stateful.notices[name] || c.NAT[i].Type == config.NATNone {
				continue
			}
			r.stateful.notices[name] = true
			r.event("double_nat", c.NAT[i].Out, fmt.Sprintf(
				"port %s translates to %s, which is not a public address: another NAT follows, and nobody beyond it can reach forwards here unless it forwards them too",
				c.NAT[i].Out, name), map[string]string{"address": name})
		}
	}
}

// expireSessions runs what is due of sessions and mappings.
func (r *Router) expireSessions(now time.Time) {
	s := r.stateful
	tick := r.sessionTick()
	_, s.next = s.sessions.Expire(tick, expireBudget)
	gone, next := s.mappings.Expire(tick)
	if next != 0 && next < s.next {
		s.next = next
	}
	for i := range gone {
		r.mappingEvent("mapping_expired", &gone[i], "expired")
	}
	r.logBlocks()
	s.helpers.expire(tick, func(k *conntrack.Key) bool {
		_, _, lives := s.sessions.Peek(s.reader, tick, k)
		return lives
	})
	r.releaseSYNs(now)
}

// nextExpiry is when expireSessions wants to run again; zero: not at all. Workers make sessions
// without telling, so what may be due is looked at each second.
func (r *Router) nextExpiry(now time.Time) time.Time {
	s := r.stateful
	if r.fwd.stateful == nil && s.sessions.Len() == 0 {
		return time.Time{}
	}
	wait := max(0, int64(s.next)-int64(r.sessionTick()))
	return now.Add(min(time.Second, time.Duration(wait)*time.Second/conntrack.TicksPerSecond))
}

// logBlocks writes down which subscriber has which ports (RFC 6888 REQ-12).
func (r *Router) logBlocks() {
	blocks, lost := r.stateful.mappings.Blocks()
	for i := range blocks {
		b := &blocks[i]
		kind, word := "nat_block_allocated", "gets"
		if b.Freed {
			kind, word = "nat_block_freed", "gives back"
		}
		r.event(kind, b.Subscriber.String(), fmt.Sprintf("subscriber %v %s ports %d-%d of %v", b.Subscriber, word, b.PortMin, b.PortMax, b.Outside),
			map[string]string{"subscriber": b.Subscriber.String(), "outside": b.Outside.String(),
				"ports": fmt.Sprintf("%d-%d", b.PortMin, b.PortMax)})
	}
	if lost > 0 {
		r.event("nat_blocks_lost", "nat", plural(int(lost), "line")+" of the log of port blocks lost: they came faster than they could be written", nil)
	}
}

func (r *Router) mappingEvent(kind string, e *nat.Explicit, what string) {
	r.event(kind, e.Inside.String(), fmt.Sprintf("mapping %s %v:%d -> %v:%d (%v) %s",
		protocolName(e.Protocol), e.Outside, e.OutsidePort, e.Inside, e.InsidePort, e.By, what),
		map[string]string{"protocol": protocolName(e.Protocol), "inside": endpoint(e.Inside, e.InsidePort),
			"outside": endpoint(e.Outside, e.OutsidePort), "by": e.By.String()})
}
