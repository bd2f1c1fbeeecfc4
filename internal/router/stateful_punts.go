package router

import (
	"fmt"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/dataplane"
	"vrouterd/pkg/nat"
)

// What the stateful stages of the dataplane hand to the control plane: rule hits to be logged, resets to be sent,
// SYNs to be held, and the control connections of helpers.

// logged writes down that a rule with `log: true` has matched. The dataplane has limited how often.
func (r *Router) logged(p *dataplane.Punt) {
	ip := packet.IPv4(p.Packet)
	name, line := r.ruleOf(p)
	what := describePacket(ip)
	from, to := r.portName(uint32(p.Port)), "router"
	if p.Egress != 0 {
		to = r.portName(uint32(p.Egress))
	}
	fields := map[string]string{
		"rule": name, "line": fmt.Sprint(line), "action": p.Action.String(), "in": from, "out": to,
		"src": ip.Src().String(), "dst": ip.Dst().String(), "protocol": protocolName(ip.Protocol()),
	}
	r.event("firewall_"+p.Action.String(), name, fmt.Sprintf("%s (line %d): %s %s, from %s to %s", name, line, p.Action, what, from, to), fields)
}

// describePacket is a packet in words.
func describePacket(ip packet.IPv4) string {
	var k conntrack.Parsed
	conntrack.Parse(ip, &k)
	if k.Class == conntrack.ClassInvalid || k.Class == conntrack.ClassError {
		return fmt.Sprintf("%s %v -> %v", protocolName(ip.Protocol()), ip.Src(), ip.Dst())
	}
	return fmt.Sprintf("%s %s -> %s", protocolName(k.Key.Protocol), endpoint(k.Key.Src, k.Key.SrcPort), endpoint(k.Key.Dst, k.Key.DstPort))
}

// ruleOf names what has decided: a rule, an access rule, a pair's policy or the default.
func (r *Router) ruleOf(p *dataplane.Punt) (name string, line int) {
	c := r.config.Firewall
	if c == nil {
		return "firewall", 0
	}
	rule, pair := int(p.Rule), int(p.Pair)
	switch {
	case p.Access && rule >= 0 && rule < len(c.Access):
		one := &c.Access[rule]
		return "access rule " + ruleWord(one, rule), one.Pos.Line
	case rule >= 0 && rule < len(c.Rules):
		one := &c.Rules[rule]
		return "rule " + ruleWord(one, rule), one.Pos.Line
	case pair >= 0 && pair < len(c.Policy):
		one := &c.Policy[pair]
		return "policy " + one.From + " to " + one.To, one.Pos.Line
	}
	return "default policy", c.Pos.Line
}

// sendReset answers a TCP segment that a rule rejects.
func (r *Router) sendReset(now time.Time, p *dataplane.Punt) {
	if reset := dataplane.TCPReset(p); reset != nil && r.limits.allow(now, packet.IPv4(p.Packet).Src()) {
		r.send.Output(reset)
	}
}

const (
	// synHold is how long an unsolicited SYN waits for a SYN of the other side (RFC 5382 REQ-4).
	synHold = 6 * time.Second
	// maxHeld bounds them: a flood is dropped in silence, which is what REQ-4 asks of the first six seconds anyway.
	maxHeld = 1024
)

// heldSYNs are SYNs from outside that nobody has asked for, oldest first.
type heldSYNs struct {
	waiting []heldSYN
	hold    time.Duration // synHold, but in tests
}

type heldSYN struct {
	due  time.Time
	punt dataplane.Punt
}

// hold keeps a SYN that NAT refuses. It has been counted as dropped, whatever comes of it.
func (r *Router) hold(now time.Time, p *dataplane.Punt) {
	held := &r.stateful.held
	if len(held.waiting) == maxHeld {
		return
	}
	held.waiting = append(held.waiting, heldSYN{now.Add(held.hold), *p})
}

// releaseSYNs answers those whose time is over with port unreachable, unless an inside host has opened the
// same connection meanwhile.
func (r *Router) releaseSYNs(now time.Time) {
	held := &r.stateful.held
	for len(held.waiting) > 0 && !held.waiting[0].due.After(now) {
		p := held.waiting[0].punt
		held.waiting = held.waiting[1:]
		if !r.send.Opened(&p) {
			r.send.Return(&p, dataplane.DropNATUnsolicited, packet.ICMPUnreachable, packet.ICMPPortUnreachable)
		}
	}
}

// due is when the oldest is to be answered; zero: none waits.
func (h *heldSYNs) due() time.Time {
	if len(h.waiting) == 0 {
		return time.Time{}
	}
	return h.waiting[0].due
}

// holdLocal keeps a SYN that has come as far as the router, where nobody listens. Its session goes: it would have
// the addresses and ports of the connection that an inside host may be about to open. If the host
// has done so while the SYN was on its way here, the session is the host's, and stays.
func (r *Router) holdLocal(now time.Time, p *dataplane.Punt, ip packet.IPv4) {
	r.dp.CountDrop(dataplane.DropNATUnsolicited)
	s, tick := r.stateful, r.sessionTick()
	var parsed conntrack.Parsed
	conntrack.Parse(ip, &parsed)
	if info, d, ok := s.sessions.Peek(s.reader, tick, &parsed.Key); ok && d == conntrack.Original && info.Out == 0 {
		s.sessions.End(s.reader, tick, &parsed.Key)
	}
	whole := *p
	whole.Packet = ip
	r.hold(now, &whole)
}

// unsolicited reports a SYN to an address that NAT translates to, at a port where the router does not
// listen: an inside host may be about to open that very connection.
func (r *Router) unsolicited(ip packet.IPv4) bool {
	s := r.stateful
	if s.nat == nil || ip.Protocol() != packet.ProtoTCP || len(ip.Payload()) < packet.TCPMinLen || !s.nat.Translated(ip.Dst()) {
		return false
	}
	tcp := packet.TCP(ip.Payload())
	return tcp.Flags()&(packet.TCPSyn|packet.TCPAck) == packet.TCPSyn && !r.stack.Listens(ip.Dst(), tcp.DstPort())
}

// maxHelped bounds the control connections that helpers follow at once.
const maxHelped = 4096

// helpers follow the control connections of FTP, by the key of their sessions. They go when those do.
type helpers struct {
	ftp    map[conntrack.Key]*helped
	refuse uint64         // connections that found no room
	looked conntrack.Tick // when it was last seen whose sessions are gone
}

type helped struct {
	machine *nat.FTP
	reply   conntrack.Key // a session with another translation is another session
}

// help lets the helper of a packet's session see it, and sends it on.
func (r *Router) help(p *dataplane.Punt) {
	s := r.stateful
	now := r.sessionTick()
	ip := packet.IPv4(p.Packet)
	var parsed conntrack.Parsed
	conntrack.Parse(ip, &parsed)
	info, dir, ok := s.sessions.Peek(s.reader, now, &parsed.Key)
	if !ok || s.nat == nil {
		r.send.ForwardHelped(p)
		return
	}
	one := s.helpers.of(now, &info)
	if one == nil { // no room: the connection passes as it is
		r.send.ForwardHelped(p)
		return
	}
	outside := info.Out // where what this end sends leaves: by the other direction's port of arrival
	if dir == conntrack.Reply {
		outside = info.In
	}
	p.Packet = one.Segment(now, dir, ip, func(want nat.Explicit) (nat.Explicit, bool) {
		made, why := s.mappings.Add(s.nat, now, outside, want, false)
		if why != nat.ReasonNone {
			r.note("helper_refused", "ftp", fmt.Sprintf("a data connection of FTP for %v gets no port: %s", want.Inside, why.Description()), nil)
			return made, false
		}
		r.mappingEvent("mapping_added", &made, "made for a data connection of FTP")
		return made, true
	})
	r.send.ForwardHelped(p)
}

// of is the helper of a session; nil when there are too many.
func (h *helpers) of(now conntrack.Tick, info *conntrack.Info) *nat.FTP {
	if h.ftp == nil {
		h.ftp = map[conntrack.Key]*helped{}
	}
	one := h.ftp[info.Original]
	if one == nil || one.reply != info.Reply {
		if one == nil && len(h.ftp) >= maxHelped {
			h.refuse++
			return nil
		}
		one = &helped{machine: nat.NewFTP(now, info.Original, info.Reply), reply: info.Reply}
		h.ftp[info.Original] = one
	}
	return one.machine
}

// expire forgets, about once a second, those whose sessions are over.
func (h *helpers) expire(now conntrack.Tick, lives func(*conntrack.Key) bool) {
	if now-h.looked < conntrack.TicksPerSecond {
		return
	}
	h.looked = now
	for key := range h.ftp {
		if !lives(&key) {
			delete(h.ftp, key)
		}
	}
}
