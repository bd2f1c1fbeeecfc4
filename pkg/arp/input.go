package arp

import "vrouterd/internal/packet"

// frame climbs the ladder of refusals and then asks whom the packet is about.
func (m *Machine) frame(e Frame) {
	p := m.ports[e.Port]
	if p == nil {
		m.bad(e.Port, 0, e.Src, BadPort)
		return
	}
	msg, why := Decode(e.Payload)
	if why == BadNone {
		why = m.refuse(p, e, msg)
	}
	if why != BadNone {
		m.bad(p.id, msg.SenderAddr, e.Src, why)
		return
	}
	switch {
	case msg.Probe():
		m.count.ProbesReceived++
	case msg.Op == OpRequest:
		m.count.RequestsReceived++
	default:
		m.count.RepliesReceived++
	}

	if msg.Probe() {
		m.probed(p, msg)
		return
	}
	if o := p.find(msg.SenderAddr); o != nil {
		m.conflict(o, msg.SenderMAC)
		return
	}
	if m.own[msg.SenderAddr] > 0 {
		m.bad(p.id, msg.SenderAddr, msg.SenderMAC, BadOwnAddress)
		return
	}
	// An off-link sender is heard only if a route made us ask for it.
	n := m.cache[key{p.id, msg.SenderAddr}]
	if n == nil && longest(p.onLink, msg.SenderAddr) < 0 {
		m.bad(p.id, msg.SenderAddr, msg.SenderMAC, BadOffLink)
		return
	}
	if msg.Op == OpRequest {
		m.requested(p, n, msg)
	} else {
		m.replied(p, n, msg, e.Dst)
	}
}

// refuse checks what no station on the link may send, whatever its purpose.
func (m *Machine) refuse(p *port, e Frame, msg Message) BadReason {
	switch {
	case e.Dst != p.mac && e.Dst != packet.BroadcastMAC:
		return BadFrameDestination
	case e.Src.IsGroup() || e.Src.IsZero():
		return BadFrameSource
	case msg.SenderMAC.IsGroup() || msg.SenderMAC.IsZero():
		return BadSenderMAC // RFC 1812 section 3.3.2
	case msg.SenderMAC == p.mac:
		return BadLoop
	case m.cfg.MatchSource && msg.SenderMAC != e.Src:
		return BadSourceMismatch
	case msg.Probe():
		return BadNone
	case !p.host(msg.SenderAddr):
		return BadSenderAddress
	case msg.Op == OpRequest && !p.host(msg.TargetAddr):
		return BadTargetAddress
	}
	return BadNone
}

// probed handles a station that looks whether an address is free: if it is ours it gets an
// answer, if we are looking too it is a conflict (RFC 5227 section 2.1.1). Nobody is
// proxied for here: the station that probes is the one that will have the address.
func (m *Machine) probed(p *port, msg Message) {
	switch o := p.find(msg.TargetAddr); {
	case o == nil:
	case o.ready():
		m.reply(p, msg)
	default:
		m.conflict(o, msg.SenderMAC)
	}
}

// requested handles a request. Asked for us, we learn who asks (RFC 826): we are about
// to hear from it. Asked for anyone else, we only bring up to date what we know.
func (m *Machine) requested(p *port, n *neighbor, msg Message) {
	o := p.find(msg.TargetAddr)
	forUs := o != nil && o.ready()
	proxied := o == nil && m.proxies(p, msg)
	switch {
	case n != nil:
		m.sighted(n, msg)
	case forUs || proxied:
		m.learn(p, msg)
	}
	switch {
	case forUs:
		m.reply(p, msg)
	case proxied:
		m.count.ProxyRepliesSent++
		m.reply(p, msg)
	}
}

// proxies reports whether a request is answered for a station on another port. It is not
// where the target is on the asker's own side: the asker itself, a neighbour known on this port,
// or an address whose most specific network is this port's own.
func (m *Machine) proxies(p *port, msg Message) bool {
	if msg.Gratuitous() {
		return false
	}
	if n := m.cache[key{p.id, msg.TargetAddr}]; n != nil && n.state.Usable() {
		return false
	}
	bits := longest(p.proxy, msg.TargetAddr)
	return bits >= 0 && bits > longest(p.onLink, msg.TargetAddr)
}

// replied handles a reply: an answer if we asked, else news of a neighbour that we know.
func (m *Machine) replied(p *port, n *neighbor, msg Message, dst packet.MAC) {
	if n == nil {
		if !msg.Gratuitous() {
			m.bad(p.id, msg.SenderAddr, msg.SenderMAC, BadUnsolicited)
		}
		return
	}
	o := p.find(msg.TargetAddr)
	toUs := dst == p.mac && o != nil && o.ready()
	asked := n.state == StateIncomplete && n.tries > 0 || n.state == StateProbe || m.pace.earliest(n.key, m.now).After(m.now)
	if !toUs || !asked || n.state == StatePermanent {
		m.sighted(n, msg)
		return
	}
	if m.tooSoon(n, msg) {
		m.bad(n.port, n.addr, msg.SenderMAC, BadTooSoon)
		return
	}
	m.feed(n, inAnswer, msg.SenderMAC)
}

// learn makes a neighbour of a station that asked for us.
func (m *Machine) learn(p *port, msg Message) {
	if !m.roomToLearn() {
		m.bad(p.id, msg.SenderAddr, msg.SenderMAC, BadCacheFull)
		return
	}
	m.feed(m.create(key{p.id, msg.SenderAddr}), inHeard, msg.SenderMAC)
}

// sighted brings a known neighbour up to date.
func (m *Machine) sighted(n *neighbor, msg Message) {
	switch {
	case !n.state.Usable() || msg.SenderMAC == n.mac:
		m.feed(n, inHeard, msg.SenderMAC)
	case n.state == StatePermanent:
		m.bad(n.port, n.addr, msg.SenderMAC, BadPermanent)
	case m.tooSoon(n, msg):
		m.bad(n.port, n.addr, msg.SenderMAC, BadTooSoon)
	default:
		m.feed(n, inMoved, msg.SenderMAC)
	}
}

// tooSoon reports a second station that claims what a first one has just claimed. A station
// that announces itself is believed: that is how addresses move in redundant pairs.
func (m *Machine) tooSoon(n *neighbor, msg Message) bool {
	return n.state.Usable() && msg.SenderMAC != n.mac && !msg.Gratuitous() && m.now.Sub(n.updated) < m.cfg.LockTime
}

// reply answers a request with the port's own hardware address.
func (m *Machine) reply(p *port, msg Message) {
	m.count.RepliesSent++
	m.send(p, msg.SenderMAC, Message{
		Op:        OpReply,
		SenderMAC: p.mac, SenderAddr: msg.TargetAddr,
		TargetMAC: msg.SenderMAC, TargetAddr: msg.SenderAddr,
	})
}
