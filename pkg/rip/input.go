package rip

import (
	"vrouterd/internal/packet"
)

// receive lets a datagram climb the ladder.
func (m *Machine) receive(e Receive) {
	p := m.ports[e.Port]
	if p == nil || !p.running {
		m.bad(e.Port, p, nil, e.Src, BadPort)
		return
	}
	if why := m.checkAddresses(p, e); why != BadNone {
		m.bad(e.Port, p, nil, e.Src, why)
		return
	}
	n := m.neighbor(p, e.Src)
	if n == nil {
		m.bad(e.Port, p, nil, e.Src, BadNeighborLimit)
		return
	}
	if why := m.hear(p, n, e); why != BadNone {
		m.bad(e.Port, p, n, e.Src, why)
	}
}

// checkAddresses climbs the part of the ladder that is below RIP: what fails here names no neighbour.
func (m *Machine) checkAddresses(p *port, e Receive) BadReason {
	switch {
	case m.own[e.Src] > 0:
		return BadSourceSelf
	case !p.neighborly(e.Src):
		return BadSourceOffLink
	case !p.listens(e.Dst):
		return BadDestination
	case p.cfg.TTLSecurity && e.TTL < 255:
		return BadTTL
	}
	return BadNone
}

// hear climbs the rest.
func (m *Machine) hear(p *port, n *neighbor, e Receive) BadReason {
	if !m.admit(n) {
		return BadRate
	}
	msg, why := Decode(e.Payload, m.room[:0])
	m.room = msg.Entries[:0]
	if len(e.Payload) >= HeaderLen {
		n.version = e.Payload[1]
	}
	switch {
	case why != BadNone:
		return why
	case msg.Version == 0:
		return BadVersion
	case msg.Version == 1 && p.cfg.Receive == ReceiveV2, msg.Version > 1 && p.cfg.Receive == ReceiveV1:
		return BadVersionRefused
	case msg.Command != Request && msg.Command != Response:
		return BadCommand
	case msg.Command == Response && e.SrcPort != UDPPort:
		return BadSourcePort
	}
	if why := m.authenticate(p, n, &msg, e.Payload); why != BadNone {
		return why
	}
	if msg.Version == 1 && !msg.mustBeZero() {
		return BadMustBeZero
	}
	if msg.Command == Request {
		return m.request(p, n, e, msg)
	}
	m.good(n)
	for _, c := range [...]*Counters{&m.total, &p.count, &n.count} {
		c.PacketsIn++
		c.ResponsesIn++
		c.RoutesIn += uint64(len(msg.Entries))
	}
	m.response(p, n, msg)
	return BadNone
}

// response takes in the entries of an update.
func (m *Machine) response(p *port, n *neighbor, msg Message) {
	var refused [NumBadReasons]uint16
	var first [NumBadReasons]packet.Addr
	for _, e := range msg.Entries {
		why := m.route(p, n, msg.Version, e)
		if why == BadNone {
			continue
		}
		if refused[why] == 0 {
			first[why] = e.Addr
		}
		refused[why]++
	}
	for why := BadRouteFamily; why < NumBadReasons; why++ {
		if refused[why] > 0 {
			m.tally(p, n, why, uint64(refused[why]))
			m.do(Bad{Port: p.id, Src: n.addr, Reason: why, Addr: first[why]})
		}
	}
}

// route climbs the ladder of one entry, then learns it.
func (m *Machine) route(p *port, n *neighbor, version uint8, e Entry) BadReason {
	switch {
	case e.Family == familyAuth:
		return BadRouteAuthPlace
	case e.Family != familyIPv4:
		return BadRouteFamily
	case e.Metric == 0:
		return BadRouteMetricZero
	case e.Metric > Infinity:
		return BadRouteMetricRange
	}
	var net network
	var why BadReason
	if version == 1 || e.Mask == 0 { // without a mask it is inferred (RFC 2453 section 4.3)
		net = inferred(e.Addr, p.attached)
		why = net.check()
	} else {
		net, why = e.check()
	}
	if why != BadNone {
		return why
	}
	if !p.cfg.FilterIn.permits(net) {
		m.total.RoutesFiltered++
		p.count.RoutesFiltered++
		n.count.RoutesFiltered++
	}
	hop := n.addr
	if at, on := p.net(e.NextHop); on && m.own[e.NextHop] == 0 && at.addr != e.NextHop {
		hop = e.NextHop
	}
	return m.learn(n, net, uint8(e.Metric), e.Tag, hop)
}

// request answers a question for the whole table or for some entries (RFC 2453 section 3.9.1).
func (m *Machine) request(p *port, n *neighbor, e Receive, msg Message) BadReason {
	whole := 0
	for _, entry := range msg.Entries {
		switch {
		case entry.Family == familyTable && entry.Metric == Infinity:
			whole++
		case entry.Family == familyAuth:
			return BadRequestMix
		}
	}
	silent := p.cfg.Passive && e.SrcPort == UDPPort && !p.named(n.addr)
	switch {
	case silent:
		return BadRequestPassive
	case whole > 0 && len(msg.Entries) > 1:
		return BadRequestMix
	}
	if whole > 0 {
		if m.now.Before(n.answerAfter) || len(p.jobs) >= maxJobs/2 {
			return BadRequestRate
		}
		n.answerAfter = m.now.Add(m.second())
	}
	m.good(n)
	for _, c := range [...]*Counters{&m.total, &p.count, &n.count} {
		c.PacketsIn++
		c.RequestsIn++
	}
	version := min(msg.Version, 2)
	if whole > 0 {
		p.queue(p.cfg, job{kind: jobAnswer, to: p.towards(n.addr), port: e.SrcPort, version: version, cursor: m.changes.First(), end: m.version})
		return BadNone
	}
	m.answer(p, n, e, version, msg.Entries)
	return BadNone
}

// answer fills in the metrics of the entries that were asked for. There is no split horizon: whoever asks
// like this wants to know what the table says.
func (m *Machine) answer(p *port, n *neighbor, e Receive, version uint8, entries []Entry) {
	w, ok := m.open(p, Response, version, p.cfg.Auth)
	if !ok {
		return
	}
	to := p.towards(n.addr)
	for _, asked := range entries {
		if w.left == 0 { // authentication leaves less room than the request had
			m.send(w, to, e.SrcPort, p.cfg.ttl())
			p.count.AnswersOut++
			w, _ = m.open(p, Response, version, p.cfg.Auth)
		}
		asked.Metric = Infinity
		net := network{}
		if version == 1 || asked.Mask == 0 {
			net = inferred(asked.Addr, p.attached)
		} else if found, why := asked.check(); why == BadNone {
			net = found
		}
		known := asked.Family == familyIPv4 && (net != network{} || asked.Addr == 0 && asked.Mask == 0)
		if found := m.table[net]; known && found != nil && p.cfg.FilterOut.permits(net) {
			asked.Metric = uint32(found.metric)
			if version >= 2 {
				asked.Tag = found.tag
			}
		}
		w.add(asked)
	}
	p.count.AnswersOut++
	m.send(w, to, e.SrcPort, p.cfg.ttl())
}
