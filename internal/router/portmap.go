package router

import (
	"net/netip"
	"slices"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/nat"
	"vrouterd/pkg/pcp"
)

// portMapping serves hosts that ask for mappings by NAT-PMP and PCP: on the ports that `port_mapping:` names and on no
// others, so that nobody outside can open anything.
//
//	punt (local, UDP port 5351) -> pcp.Server -> mapper -> nat.Mappings -> answer
type portMapping struct {
	server *pcp.Server // nil: not configured
	// announced is the next announcement to come of a restart or a changed address.
	announced int
	due       time.Time // zero: none
	told      []packet.Addr
}

// changePortMapping follows the configuration.
func (r *Router) changePortMapping(c *config.Config) {
	m := &r.portMapping
	if c.PortMapping != nil {
		r.stateful.mappings.Limit(c.PortMapping.MaxPerHost)
	}
	if c.PortMapping == nil || !(c.PortMapping.NATPMP || c.PortMapping.PCP) {
		m.server, m.due = nil, time.Time{}
		return
	}
	want := pcp.Config{NATPMP: c.PortMapping.NATPMP, PCP: c.PortMapping.PCP, MaxLifetime: c.PortMapping.MaxLifetime}
	if m.server == nil {
		m.server = pcp.New(want, mapper{r}, time.Now())
		r.announce()
	} else {
		m.server.Configure(want)
	}
	if outside := r.allOutside(c); !slices.Equal(outside, m.told) {
		if m.told != nil {
			m.server.ResetEpoch(time.Now()) // the mappings that clients know are gone
		}
		m.told = outside
		m.server.ResetEpoch(time.Now()) // mappings at addresses that went are lost
		r.announce()
	}
}

// announce begins a row of announcements.
func (r *Router) announce() { r.portMapping.announced, r.portMapping.due = 0, time.Now() }

// announceDue sends the announcements that are due (RFC 6886 section 3.2.1, RFC 6887 section 14.1.3).
func (r *Router) announceDue(now time.Time) {
	m := &r.portMapping
	if m.due.IsZero() || m.due.After(now) {
		return
	}
	for _, p := range r.inOrder() {
		if !p.up || !slices.Contains(r.config.PortMapping.Ports, p.cfg.Name) {
			continue
		}
		near := p.usable()
		if len(near) == 0 {
			continue
		}
		for _, payload := range m.server.Announce(now, near[0].Addr()) {
			r.sendDatagram(p, &datagram{src: packet.AddrFrom(near[0].Addr()), srcPort: pcp.ServerPort,
				dst: packet.AddrFrom(pcp.Group()), dstPort: pcp.ClientPort, ttl: 1, payload: payload})
		}
	}
	if m.announced++; m.announced == pcp.Announcements {
		m.due = time.Time{}
		return
	}
	m.due = now.Add(pcp.AnnounceAfter(m.announced))
}

// portMapReceive serves a request; false: it is none. Only one to an address of the port by which it came is: RFC 6886 section 3.3
// refuses those to the outside address, be they from inside.
func (r *Router) portMapReceive(now time.Time, p *dataplane.Punt, ip packet.IPv4) bool {
	in := r.byID[p.Port]
	if r.portMapping.server == nil || p.Own || in == nil || !slices.Contains(r.config.PortMapping.Ports, in.cfg.Name) {
		return false
	}
	if !slices.ContainsFunc(in.usable(), func(own netip.Prefix) bool { return own.Addr() == ip.Dst().Netip() }) {
		return false
	}
	u, mine := r.datagram(ip, pcp.ServerPort)
	if u == nil {
		return mine
	}
	from := netip.AddrPortFrom(ip.Src().Netip(), u.SrcPort())
	if answer := r.portMapping.server.Receive(now, from, u.Payload()); answer != nil {
		r.sendDatagram(in, &datagram{src: ip.Dst(), srcPort: pcp.ServerPort, dst: ip.Src(), dstPort: u.SrcPort(), ttl: 64, payload: answer})
	}
	return true
}

// mapper is the NAT as NAT-PMP, PCP and UPnP see it. Its methods run on the control goroutine.
type mapper struct{ r *Router }

// Address is the outside address that a host's mappings get.
func (m mapper) Address(client netip.Addr) (netip.Addr, bool) {
	s := m.r.stateful
	if s.nat == nil {
		return netip.Addr{}, false
	}
	a, ok := s.mappings.OutsideOf(s.nat, m.r.sessionTick(), packet.AddrFrom(client))
	return a.Netip(), ok
}

// Map makes or renews a mapping for NAT-PMP or PCP.
func (m mapper) Map(_ time.Time, q pcp.Request) (pcp.Granted, pcp.Refusal) {
	e := nat.Explicit{
		Protocol: q.Protocol, Inside: packet.AddrFrom(q.Client.Addr()), InsidePort: q.Client.Port(),
		OutsidePort: q.Suggested.Port(), By: nat.ByNATPMP, Owner: "nat-pmp",
	}
	if q.PCP {
		e.By, e.Owner = nat.ByPCP, "pcp"
	}
	if a := q.Suggested.Addr(); a.Is4() && !a.IsUnspecified() {
		e.Outside = packet.AddrFrom(a)
	}
	if q.Remote.IsValid() {
		e.Remote = packet.AddrFrom(q.Remote)
	}
	made, why := m.add(e, q.Lifetime, q.Exact)
	switch why {
	case nat.ReasonNone:
		return pcp.Granted{Outside: netip.AddrPortFrom(made.Outside.Netip(), made.OutsidePort), Lifetime: q.Lifetime}, pcp.Made
	case nat.ReasonNoAddress:
		return pcp.Granted{}, pcp.NoAddress
	case nat.ReasonNotAllowed:
		return pcp.Granted{}, pcp.NotAuthorized
	case nat.ReasonHostLimit:
		return pcp.Granted{}, pcp.Quota
	case nat.ReasonTaken:
		return pcp.Granted{}, pcp.Taken
	}
	return pcp.Granted{}, pcp.NoRoom
}

// add makes or renews an explicit mapping, and tells of a new one.
func (m mapper) add(e nat.Explicit, lifetime time.Duration, exact bool) (nat.Explicit, nat.Reason) {
	s := m.r.stateful
	if s.nat == nil {
		return e, nat.ReasonNotAllowed
	}
	now := m.r.sessionTick()
	if lifetime > 0 {
		e.Expires = now + conntrack.Ticks(lifetime)
	}
	before := s.mappings.Counts().Explicit
	made, why := s.mappings.Add(s.nat, now, 0, e, exact)
	if why == nat.ReasonNone && s.mappings.Counts().Explicit > before {
		m.r.mappingEvent("mapping_added", &made, "added")
	}
	return made, why
}

// Unmap ends a mapping, and the sessions that came in by it. A forward of the configuration stays, and that is said where there
// is nothing else to end.
func (m mapper) Unmap(_ time.Time, protocol uint8, client netip.AddrPort) pcp.Refusal {
	s := m.r.stateful
	inside, port := packet.AddrFrom(client.Addr()), client.Port()
	gone := s.mappings.ExplicitOf(protocol, inside, port)
	asked := slices.ContainsFunc(gone, func(e nat.Explicit) bool { return e.By == nat.ByNATPMP || e.By == nat.ByPCP })
	if !asked || !s.mappings.Delete(m.r.sessionTick(), protocol, inside, port) {
		// Asking again costs a host nothing: it shall not cost the router a walk through its sessions.
		if s.nat != nil && s.nat.ForwardsTo(protocol, inside, port) {
			return pcp.NotAuthorized
		}
		return pcp.Made
	}
	for i := range gone {
		m.r.mappingEvent("mapping_removed", &gone[i], "removed")
	}
	m.r.later = append(m.r.later, func() { m.r.endMapped(gone) })
	return pcp.Made
}

// endMapped ends the sessions that came in by mappings which are gone. What the host has opened itself lives on.
func (r *Router) endMapped(gone []nat.Explicit) {
	s := r.stateful
	for i := range gone {
		e := &gone[i]
		s.sessions.Flush(s.reader, r.sessionTick(), conntrack.Filter{
			Protocol: e.Protocol, Address: e.Inside, Port: e.InsidePort,
			Test: func(one *conntrack.Session) bool {
				there, back := one.Key(conntrack.Original), one.Key(conntrack.Reply)
				return one.Flags()&conntrack.Forwarded != 0 && there.Dst == e.Outside && there.DstPort == e.OutsidePort &&
					back.Src == e.Inside && back.SrcPort == e.InsidePort
			},
		})
	}
}
