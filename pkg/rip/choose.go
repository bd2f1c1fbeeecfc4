package rip

import "slices"

// choose leaves the equal-cost paths of the lowest metric in m.equal, at most MaxPaths, and
// returns that metric. Where not all fit, those in use stay: a tie moves no traffic.
func (m *Machine) choose(e *entry) uint8 {
	best, count := uint8(Infinity), 0
	for _, pa := range e.paths {
		switch {
		case pa.metric < best:
			best, count = pa.metric, 1
		case pa.metric == best:
			count++
		}
	}
	m.equal = m.equal[:0]
	for _, pa := range e.paths {
		if pa.metric == best && (count <= m.cfg.MaxPaths || slices.Contains(e.selected, pa)) && len(m.equal) < m.cfg.MaxPaths {
			m.equal = append(m.equal, pa)
		}
	}
	for _, pa := range e.paths {
		if len(m.equal) >= min(count, m.cfg.MaxPaths) {
			break
		}
		if pa.metric == best && !slices.Contains(m.equal, pa) {
			m.equal = append(m.equal, pa)
		}
	}
	return best
}

// install tells the RIB what was learned, if that is another thing than before.
func (m *Machine) install(e *entry, best uint8, differs bool) {
	if len(e.selected) == 0 {
		if e.installed {
			e.installed = false
			m.do(Withdraw{e.net.prefix()})
		}
		return
	}
	tag := e.selected[0].tag
	if e.installed && !differs && best == e.best && tag == e.bestTag {
		return
	}
	e.installed, e.best, e.bestTag = true, best, tag
	paths := make([]Path, len(e.selected))
	for i, pa := range e.selected {
		paths[i] = Path{NextHop: pa.nextHop, Port: pa.from.port.id, From: pa.from.addr}
	}
	m.do(Install{Prefix: e.net.prefix(), Paths: paths, Metric: best, Tag: tag, Distance: m.cfg.Distance})
}

// touch makes an entry the last that changed, and due for a triggered update.
func (m *Machine) touch(e *entry) {
	m.stepOver(e)
	if m.triggerAt.IsZero() {
		m.pending = pending{since: m.now, from: m.version}
	}
	m.pending.last = m.now
	m.version++
	e.version, e.changedAt = m.version, m.now
	m.changes.Append(&e.at)
	if m.triggerAt.IsZero() {
		m.triggerAt = m.now.Add(m.cfg.TriggerDelay)
		if m.triggerAt.Before(m.holdUntil) {
			m.triggerAt = m.holdUntil
		}
	}
}

// tell logs what became of an entry.
func (m *Machine) tell(e *entry, before uint8) {
	ev := RouteEvent{Prefix: e.net.prefix(), Change: RouteChanged, OldMetric: before, Metric: e.metric}
	switch {
	case e.metric == Infinity:
		ev.Change = RouteLost
	case before == 0 || before == Infinity:
		ev.Change = RouteLearned
	}
	if e.own.source != "" {
		ev.Port = e.own.port
	} else if len(e.selected) > 0 {
		ev.From, ev.Port = e.selected[0].from.addr, e.selected[0].from.port.id
	}
	m.do(ev)
}

// forget removes an entry whose garbage time is over.
func (m *Machine) forget(e *entry) {
	m.stepOver(e)
	e.at.Leave()
	e.trash.Leave()
	delete(m.table, e.net)
	m.do(RouteEvent{Prefix: e.net.prefix(), Change: RouteRemoved, OldMetric: Infinity})
}

// stepOver moves the updates that stand at an entry to the next, before it moves or goes.
func (m *Machine) stepOver(e *entry) {
	for _, p := range m.inOrder {
		for i := range p.jobs {
			if p.jobs[i].cursor == &e.at {
				p.jobs[i].cursor = e.at.Next()
			}
		}
	}
}
