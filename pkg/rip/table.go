package rip

import (
	"slices"
	"time"

	"vrouterd/internal/order"
	"vrouterd/internal/packet"
)

// entry is what the machine knows of a prefix: the paths that neighbours told, what the router
// announces on its own account, and what follows from both.
type entry struct {
	at        order.Place[*entry] // in Machine.changes
	trash     order.Place[*entry] // in Machine.garbage, while it is unreachable
	net       network
	own       ownRoute
	toldOwn   ownRoute // own, when the entry changed last
	paths     []*path  // in the order of their arrival
	selected  []*path  // the equal-cost paths in use
	installed bool

	metric    uint8 // announced, before offsets; 16: unreachable; 0: not decided yet
	tag       uint16
	bestTag   uint16 // of what is installed
	best      uint8
	through   slots  // ports that lead there: split horizon is for these
	announced slots  // ports where a finite metric was told
	version   uint64 // of its last change
	changedAt time.Time
	forgetAt  time.Time // with metric 16
}

// path is what one neighbour tells of one prefix.
type path struct {
	at      order.Place[*path] // in its port's heard
	entry   *entry
	from    *neighbor
	nextHop packet.Addr
	told    uint8 // as received, 1 to 15
	metric  uint8 // with cost and offset, 1 to 15
	tag     uint16
	last    time.Time // when it was told last
}

func (pa *path) expires() time.Time { return pa.last.Add(pa.from.port.cfg.Timers.Timeout) }

// ownRoute is a prefix that the router announces on its own account.
type ownRoute struct {
	source  string // "" for none
	metric  uint8
	tag     uint16
	nextHop packet.Addr
	port    PortID
}

// Sources of own routes besides the protocols.
const (
	sourcePort    = "port"
	sourceDefault = "default"
)

// ownRouteTo finds what the router has to say of a prefix by itself.
func (m *Machine) ownRouteTo(n network) ownRoute {
	if n == (network{}) && m.cfg.Default.Originate {
		return ownRoute{source: sourceDefault, metric: m.cfg.Default.Metric, tag: m.cfg.Default.Tag}
	}
	for _, p := range m.inOrder {
		if p.running && slices.ContainsFunc(p.attached, func(at attachment) bool { return at.net == n }) {
			return ownRoute{source: sourcePort, metric: 1, port: p.id}
		}
	}
	ext, has := m.externals[n]
	rule, may := m.cfg.Redistribute[ext.Protocol]
	if !has || !may || !rule.Filter.permits(n) || n.check() != BadNone {
		return ownRoute{}
	}
	r := ownRoute{source: ext.Protocol.String(), metric: rule.Metric, tag: rule.Tag, nextHop: ext.NextHop, port: ext.Port}
	if r.metric == 0 || r.metric >= Infinity {
		r.metric = 1
		if ext.Metric >= 1 && ext.Metric < Infinity {
			r.metric = uint8(ext.Metric)
		}
	}
	if r.tag == 0 {
		r.tag = ext.Tag
	}
	return r
}

// settleOwn brings an entry in step with what the router says of the prefix by itself.
func (m *Machine) settleOwn(n network) {
	own, e := m.ownRouteTo(n), m.table[n]
	if m.stopping || e == nil && own.source == "" || e != nil && e.own == own {
		return
	}
	if e == nil {
		e = m.create(n)
	}
	e.own = own
	m.reconsider(e, false)
}

func (m *Machine) create(n network) *entry {
	e := &entry{net: n}
	e.at.Item, e.trash.Item = e, e
	m.table[n] = e
	return e
}

// learn takes in what a neighbour tells of a prefix.
func (m *Machine) learn(n *neighbor, net network, told uint8, tag uint16, nextHop packet.Addr) BadReason {
	e := m.table[net]
	var pa *path
	if e != nil {
		for _, known := range e.paths {
			if known.from == n {
				pa = known
				break
			}
		}
	}
	metric := n.port.weigh(net, told)
	if metric >= Infinity {
		if pa != nil {
			m.dropPath(pa)
		}
		return BadNone
	}
	if pa == nil {
		switch {
		case n.routes >= m.cfg.MaxRoutesPerNeighbor:
			return BadRouteNeighborLimit
		case m.learned >= m.cfg.MaxLearned:
			return BadRouteLearnedLimit
		case e == nil && len(m.table) >= m.cfg.MaxRoutes:
			return BadRouteLimit
		case e == nil:
			e = m.create(net)
		}
		pa = &path{entry: e, from: n, nextHop: nextHop, told: told, metric: metric, tag: tag, last: m.now}
		pa.at.Item = pa
		e.paths = append(e.paths, pa)
		n.port.heard.Append(&pa.at)
		n.routes++
		m.learned++
		m.reconsider(e, false)
		return BadNone
	}
	pa.last = m.now
	n.port.heard.Append(&pa.at)
	rewired := pa.nextHop != nextHop
	changed := rewired || pa.metric != metric || pa.tag != tag
	pa.told, pa.metric, pa.tag, pa.nextHop = told, metric, tag, nextHop
	if changed {
		m.reconsider(e, rewired)
	}
	return BadNone
}

// weigh adds what a port adds to a received metric; 16: not to be used.
func (p *port) weigh(net network, told uint8) uint8 {
	if told >= Infinity || !p.cfg.FilterIn.permits(net) {
		return Infinity
	}
	return uint8(min(int(told)+int(p.cfg.Cost)+offset(p.cfg.OffsetIn, net), Infinity))
}

// dropPath forgets a path.
func (m *Machine) dropPath(pa *path) {
	pa.at.Leave()
	pa.from.routes--
	m.learned--
	e := pa.entry
	e.paths = slices.DeleteFunc(e.paths, func(other *path) bool { return other == pa })
	m.reconsider(e, false)
}

// reconsider chooses anew and tells the RIB and the neighbours what differs. With rewired, a path
// has another next hop than before.
func (m *Machine) reconsider(e *entry, rewired bool) {
	if m.stopping {
		return
	}
	best := m.choose(e)
	differs := rewired || !slices.Equal(m.equal, e.selected)
	e.selected = append(e.selected[:0], m.equal...)
	m.install(e, best, differs)

	oldMetric, oldTag, oldThrough := e.metric, e.tag, e.through
	e.through = slots{}
	switch {
	case e.own.source != "":
		e.metric, e.tag = e.own.metric, e.own.tag
	case best < Infinity:
		e.metric, e.tag = best, e.selected[0].tag
		for _, pa := range e.selected {
			e.through.add(pa.from.port.slot)
		}
	default:
		e.metric = Infinity
	}
	if e.metric == oldMetric && e.tag == oldTag && e.own == e.toldOwn &&
		e.through.low == oldThrough.low && slices.Equal(e.through.more, oldThrough.more) {
		return
	}
	e.toldOwn = e.own
	m.touch(e)
	m.tell(e, oldMetric)
	if e.metric < Infinity {
		e.trash.Leave()
	} else if oldMetric != Infinity {
		e.forgetAt = m.now.Add(m.cfg.Timers.Garbage)
		m.garbage.Append(&e.trash)
	}
}
