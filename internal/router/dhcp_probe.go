package router

import (
	"encoding/binary"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/arp"
	"vrouterd/pkg/dataplane"
)

// Before an address is given away or taken, the router asks whether somebody has it: by ARP with the sender address 0
// (RFC 5227 section 1.1) on an attached network, by an ICMP echo elsewhere (RFC 2131 section 2.2).

const (
	// askTries and the times to wait for an answer: together below the second that the machines are promised. A host
	// on the wire answers ARP within a millisecond or two, unless it sleeps.
	askTries    = 2
	askARPWait  = 150 * time.Millisecond
	askEchoWait = 400 * time.Millisecond
	// maxAsked bounds the questions that are under way at once. What is asked beyond that counts as free: a flood of clients
	// shall not hold up those who come after it.
	maxAsked = 2048
)

// probeKey is what is asked for: an address on a port's wire, or somewhere (port 0).
type probeKey struct {
	port dataplane.PortID
	addr packet.Addr
}

type addressProbe struct {
	tries  int
	due    time.Time
	answer []func(taken bool, mac packet.MAC)
}

// addressProbes are the questions under way.
type addressProbes struct {
	open    map[probeKey]*addressProbe
	next    time.Time // no later than the earliest deadline; zero: there is none
	skipped uint64    // not asked: too many were under way
	ident   uint16    // of our echo requests
	frame   []byte
}

// askAddress asks whether somebody has an address, and tells once what came of it: never before it returns, but where there is no room. port 0: somewhere, by ICMP.
func (r *Router) askAddress(now time.Time, port dataplane.PortID, addr packet.Addr, answer func(taken bool, mac packet.MAC)) {
	a := &r.probes
	key := probeKey{port, addr}
	if one := a.open[key]; one != nil {
		one.answer = append(one.answer, answer)
		return
	}
	if len(a.open) >= maxAsked {
		a.skipped++
		answer(false, packet.MAC{})
		return
	}
	if a.open == nil {
		a.open = map[probeKey]*addressProbe{}
		a.ident = uint16(r.opt.Rand.Uint32())
	}
	one := &addressProbe{answer: []func(bool, packet.MAC){answer}}
	a.open[key] = one
	r.askOnce(now, key, one)
}

// askOnce sends the question.
func (r *Router) askOnce(now time.Time, k probeKey, one *addressProbe) {
	one.tries++
	wait := askEchoWait
	if k.port != 0 {
		wait = askARPWait
		if p := r.byID[k.port]; p != nil {
			m := arp.Message{Op: arp.OpRequest, SenderMAC: p.cfg.MAC, TargetAddr: k.addr}
			r.probes.frame = m.AppendFrame(r.probes.frame[:0], packet.BroadcastMAC, p.cfg.MAC)
			r.send.SendFrame(p.id, r.probes.frame)
		}
	} else if src := r.sourceFor(k.addr.Netip()); src.IsValid() {
		r.probes.frame = appendEcho(r.probes.frame[:0], packet.AddrFrom(src), k.addr, r.probes.ident, uint16(one.tries))
		r.send.Output(r.probes.frame)
	}
	one.due = now.Add(wait)
	if r.probes.next.IsZero() || one.due.Before(r.probes.next) {
		r.probes.next = one.due
	}
}

// probesDue asks again, and gives up.
func (r *Router) probesDue(now time.Time) {
	a := &r.probes
	if a.next.IsZero() || a.next.After(now) {
		return
	}
	a.next = time.Time{}
	var silent []probeKey
	for k, one := range a.open {
		switch {
		case one.due.After(now):
			if a.next.IsZero() || one.due.Before(a.next) {
				a.next = one.due
			}
		case one.tries < askTries:
			r.askOnce(now, k, one)
		default:
			silent = append(silent, k)
		}
	}
	for _, k := range silent {
		r.answered(k, false, packet.MAC{})
	}
}

// answered ends a question.
func (r *Router) answered(k probeKey, taken bool, mac packet.MAC) {
	one := r.probes.open[k]
	if one == nil {
		return
	}
	delete(r.probes.open, k)
	for _, f := range one.answer {
		f(taken, mac)
	}
}

// sawARP lets the questions see an ARP packet: its sender has the address. So has one who probes for it
// at the same time (RFC 5227 section 2.1.1).
func (r *Router) sawARP(in dataplane.PortID, payload []byte) {
	if len(r.probes.open) == 0 {
		return
	}
	m, bad := arp.Decode(payload)
	p := r.byID[in]
	if bad != arp.BadNone || p == nil || m.SenderMAC == p.cfg.MAC {
		return
	}
	if m.Probe() {
		r.answered(probeKey{in, m.TargetAddr}, true, m.SenderMAC)
	} else {
		r.answered(probeKey{in, m.SenderAddr}, true, m.SenderMAC)
	}
}

// sawEcho lets the questions see a packet to the router; false: it answers none of them.
func (r *Router) sawEcho(ip packet.IPv4) bool {
	if len(r.probes.open) == 0 || ip.Protocol() != packet.ProtoICMP || len(ip.Payload()) < packet.ICMPLen {
		return false
	}
	m := packet.ICMP(ip.Payload())
	if m.Type() != packet.ICMPEchoReply || uint16(m.Rest()>>16) != r.probes.ident {
		return false
	}
	r.answered(probeKey{0, ip.Src()}, true, packet.MAC{})
	return true
}

// appendEcho writes an echo request (RFC 792).
func appendEcho(b []byte, src, dst packet.Addr, ident, sequence uint16) []byte {
	const n = packet.IPv4MinLen + packet.ICMPLen
	b = append(b, make([]byte, n)...)
	ip := packet.IPv4(b[len(b)-n:])
	ip[0] = 4<<4 | packet.IPv4MinLen/4
	ip.SetTotalLen(n)
	ip.SetTTL(64)
	ip.SetProtocol(packet.ProtoICMP)
	ip.SetSrc(src)
	ip.SetDst(dst)
	ip.UpdateHeaderChecksum()
	m := packet.ICMP(ip.Payload())
	m.SetType(packet.ICMPEchoRequest)
	binary.BigEndian.PutUint16(m[4:], ident)
	binary.BigEndian.PutUint16(m[6:], sequence)
	m.SetChecksum(^packet.Fold(packet.Sum(m, 0)))
	return b
}
