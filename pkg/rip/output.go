package rip

import (
	"math"
	"slices"
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// audience is somebody who hears updates: the routers of one network of a port, or one router.
type audience struct {
	src packet.Addr
	net network
	dst packet.Addr
}

type jobKind uint8

const (
	jobFull jobKind = iota
	jobTriggered
	jobAnswer // a whole table to the one who asked
	jobPoison // metric 16 for everything that was announced
)

// job is an update on its way: the pace may spread its packets over many Steps.
type job struct {
	kind    jobKind
	to      audience
	port    uint16 // of UDP
	version uint8
	ttl     uint8
	auth    *KeyChain
	cursor  *order.Place[*entry] // the entry to come next
	end     uint64               // entries that changed later are another update's
}

// maxJobs bounds what may be queued at a port; answers get at most half.
const maxJobs = 128

func (c PortConfig) ttl() uint8 {
	if c.TTLSecurity {
		return 255
	}
	return 1
}

func (c PortConfig) wireVersion() uint8 {
	if c.Send == SendV1 {
		return 1
	}
	return 2
}

// audiences are those whom a port's updates are for. A port with addresses in several networks
// speaks to each from its own address there: who is in one ignores senders from another.
func (m *Machine) audiences(p *port) (list []audience) {
	if !p.cfg.Passive {
		for i, at := range p.attached {
			if slices.ContainsFunc(p.attached[:i], func(other attachment) bool { return other.net == at.net }) {
				continue
			}
			dst := AllRouters
			if p.cfg.Send != SendV2 {
				dst = at.net.broadcast()
			}
			list = append(list, audience{at.addr, at.net, dst})
		}
	}
	for _, n := range p.cfg.Neighbors {
		list = append(list, p.towards(packet.AddrFrom(n)))
	}
	return list
}

// towards is one station as an audience.
func (p *port) towards(a packet.Addr) audience {
	at, on := p.net(a)
	if !on && len(p.attached) > 0 {
		at = p.attached[0]
	}
	return audience{at.addr, at.net, a}
}

// queue adds an update to what a port has to send.
func (p *port) queue(c PortConfig, j job) {
	j.version, j.ttl, j.auth = max(j.version, 1), c.ttl(), c.Auth
	if j.port == 0 {
		j.port = UDPPort
	}
	p.jobs = append(p.jobs, j)
}

// beginFull begins the periodic update of a port.
func (m *Machine) beginFull(p *port) {
	interval := p.cfg.Timers.Update
	p.updateAt = m.now.Add(m.between(interval-interval/6, interval+interval/6))
	if len(p.jobs) > maxJobs/2 || slices.ContainsFunc(p.jobs, func(j job) bool { return j.kind == jobFull }) {
		return // the last one is still on its way
	}
	for _, a := range m.audiences(p) {
		p.queue(p.cfg, job{kind: jobFull, to: a, version: p.cfg.wireVersion(), cursor: m.changes.First(), end: m.version})
	}
	p.sentVersion = m.version
}

// beginTriggered begins an update with what has changed since the last one.
func (m *Machine) beginTriggered(p *port) {
	if !p.running || p.sentVersion >= m.version {
		return
	}
	if len(p.jobs) > maxJobs/2 { // changes outrun the pace: try again after the hold
		m.triggerAt = m.now.Add(m.cfg.TriggerHoldMax)
		return
	}
	var from *order.Place[*entry]
	for at := m.changes.Last(); at != nil && at.Item.version > p.sentVersion; at = at.Prev() {
		from = at
	}
	if from != nil {
		for _, a := range m.audiences(p) {
			p.queue(p.cfg, job{kind: jobTriggered, to: a, version: p.cfg.wireVersion(), cursor: from, end: m.version})
		}
	}
	p.sentVersion = m.version
}

// poisonAudiences takes back what was announced to somebody, in the manner of a configuration.
func (m *Machine) poisonAudiences(p *port, c PortConfig, list []audience) {
	for _, a := range list {
		p.queue(c, job{kind: jobPoison, to: a, version: c.wireVersion(), cursor: m.changes.First(), end: math.MaxUint64})
	}
}

// pump sends what is queued at a port, at most a burst at a time: the receive buffers of
// neighbours hold no more.
func (m *Machine) pump(p *port) {
	if !p.link {
		p.jobs = nil
	}
	for len(p.jobs) > 0 {
		if m.now.Before(p.blockedUntil) {
			return
		}
		if m.now.Sub(p.lastSent) >= m.cfg.BurstGap {
			p.budget = m.cfg.Burst
		}
		if p.budget <= 0 {
			p.blockedUntil = p.lastSent.Add(m.cfg.BurstGap)
			return
		}
		if m.updatePacket(p, &p.jobs[0]) {
			p.budget--
			p.lastSent = m.now
		} else {
			p.jobs = slices.Delete(p.jobs, 0, 1)
		}
	}
	p.blockedUntil = noTime
}

// updatePacket sends one packet of a job; false: there is nothing left of it.
func (m *Machine) updatePacket(p *port, j *job) bool {
	w, ok := m.open(p, Response, j.version, j.auth)
	if !ok {
		return false
	}
	for j.cursor != nil && w.left > 0 {
		e := j.cursor.Item
		if e.version > j.end {
			j.cursor = nil
			break
		}
		j.cursor = j.cursor.Next()
		if entry, say := m.advertise(p, j, e); say {
			w.add(entry)
		}
	}
	if w.entries == 0 {
		m.frames = m.frames[:w.start]
		return false
	}
	switch j.kind {
	case jobTriggered, jobPoison:
		p.count.TriggeredOut++
	case jobAnswer:
		p.count.AnswersOut++
	case jobFull:
		p.count.FullOut++
	}
	m.send(w, j.to, j.port, j.ttl)
	return true
}

// writer is a packet being made at the end of Machine.frames.
type writer struct {
	m       *Machine
	p       *port
	start   int
	left    int // entries that still fit
	entries int
	auth    *KeyChain
	key     Key
}

// open begins a packet; false: it may not be sent, for want of a key.
func (m *Machine) open(p *port, c Command, version uint8, auth *KeyChain) (*writer, bool) {
	w := &writer{m: m, p: p, start: len(m.frames), left: auth.room(p.mtu - packet.IPv4MinLen - 8), auth: auth}
	if auth != nil {
		var has bool
		if w.key, has = auth.sendKey(m.now); !has {
			m.bad(p.id, p, nil, 0, BadAuthNoKey)
			return nil, false
		}
	}
	m.frames = append(m.frames, byte(c), version, 0, 0)
	if auth != nil {
		var sequence uint32
		if auth.Type != AuthSimple {
			sequence = m.nextSequence()
		}
		m.frames = auth.openAuth(m.frames, w.key, sequence)
	}
	return w, true
}

func (w *writer) add(e Entry) {
	w.m.frames = e.Append(w.m.frames)
	w.left--
	w.entries++
}

// send closes a packet and sends it.
func (m *Machine) send(w *writer, to audience, port uint16, ttl uint8) {
	if w.auth != nil {
		m.frames = w.auth.closeAuth(m.frames, w.start, w.key)
	}
	w.p.count.PacketsOut++
	w.p.count.RoutesOut += uint64(w.entries)
	m.do(Send{
		Port: w.p.id, Src: to.src, Dst: to.dst, SrcPort: UDPPort, DstPort: port, TTL: ttl,
		Payload: m.frames[w.start:len(m.frames):len(m.frames)],
	})
}

// advertise is what a job's audience is told of an entry; false: nothing.
func (m *Machine) advertise(p *port, j *job, e *entry) (Entry, bool) {
	if j.version < 2 && !fitsVersion1(e.net, j.to.net) {
		return Entry{}, false
	}
	out := Entry{Family: familyIPv4, Tag: e.tag, Addr: e.net.addr, Mask: e.net.mask(), Metric: Infinity}
	if j.version < 2 {
		out.Tag, out.Mask = 0, 0
	}
	if j.kind == jobPoison {
		return out, e.announced.has(p.slot)
	}
	split := p.cfg.SplitHorizon
	if split != SplitNone && e.own.source == sourcePort && e.net == j.to.net {
		return out, false // who hears this is on that network
	}
	permitted := p.cfg.FilterOut.permits(e.net)
	back := e.through.has(p.slot)
	switch {
	case e.metric >= Infinity:
		return out, e.announced.has(p.slot)
	case permitted && back && split == SplitPoisoned:
		return out, true
	case !permitted || back && split == SplitSimple:
		return out, m.takesBack(p, e)
	}
	out.Metric = uint32(min(int(e.metric)+offset(p.cfg.OffsetOut, e.net), Infinity))
	if out.Metric < Infinity {
		e.announced.add(p.slot)
	}
	if j.version >= 2 {
		out.NextHop = m.betterHop(p, j.to, e)
	}
	return out, true
}

// takesBack reports whether an entry that is not to be announced on a port must be poisoned there,
// because it was announced before: for the garbage time, then that is forgotten.
func (m *Machine) takesBack(p *port, e *entry) bool {
	if !e.announced.has(p.slot) {
		return false
	}
	since := e.changedAt
	if p.configuredAt.After(since) {
		since = p.configuredAt
	}
	if m.now.Sub(since) <= m.cfg.Timers.Garbage {
		return true
	}
	e.announced.remove(p.slot)
	return false
}

// betterHop is a router on the audience's own network to which the traffic is better sent at once
// (RFC 2453 section 4.4); 0: none.
func (m *Machine) betterHop(p *port, to audience, e *entry) packet.Addr {
	hop, at := e.own.nextHop, e.own.port
	if e.own.source == "" && len(e.selected) > 0 {
		hop, at = e.selected[0].nextHop, e.selected[0].from.port.id
	}
	if hop == 0 || at != p.id || !to.net.host(hop) || m.own[hop] > 0 || hop == to.dst {
		return 0
	}
	return hop
}

// fitsVersion1 reports whether version 1 routers on another network infer the mask that is meant.
func fitsVersion1(n, to network) bool { return inferredAt(n.addr, to) == n }

// ask requests the whole tables of everybody at a port.
func (m *Machine) ask(p *port) {
	for _, a := range m.audiences(p) {
		w, ok := m.open(p, Request, p.cfg.wireVersion(), p.cfg.Auth)
		if !ok {
			return
		}
		w.add(Entry{Family: familyTable, Metric: Infinity})
		p.count.RequestsOut++
		m.send(w, a, UDPPort, p.cfg.ttl())
	}
}

// second is a pause of a second, or less where the timers are short.
func (m *Machine) second() time.Duration {
	return min(time.Second, m.cfg.Timers.Update/30)
}
