package rip

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// configure changes what the machine does while it runs. Whoever heard something that is not
// announced any longer is told so at once, in the manner in which it was announced.
func (m *Machine) configure(c Config) {
	if m.stopping {
		return
	}
	old := m.cfg
	m.cfg = c.withDefaults()
	for _, id := range slices.Sorted(maps.Keys(m.cfg.Ports)) {
		m.port(id)
	}
	for _, p := range slices.Clone(m.inOrder) {
		now, has := m.cfg.Ports[p.id]
		m.configurePort(p, now, has)
	}
	m.configureOwn()
	if old.MaxPaths != m.cfg.MaxPaths || old.Distance != m.cfg.Distance {
		for _, e := range m.entries() {
			m.reconsider(e, true)
		}
	}
	m.regarbage(old)
	m.urgent = !m.triggerAt.IsZero()
}

func (m *Machine) configurePort(p *port, now PortConfig, has bool) {
	before, ran := p.cfg, p.running
	was := m.audiences(p)
	switch {
	case !has && !p.configured:
		return
	case !has:
		p.configured = false
		m.settlePort(p)
		if ran {
			m.poisonAudiences(p, before, was)
		}
		p.cfg = PortConfig{}
		return
	case p.configured && reflect.DeepEqual(before, now):
		return
	}
	p.cfg, p.configured, p.configuredAt = now, true, m.now
	m.settlePort(p)
	if !ran || !p.running {
		return
	}
	if gone := slices.DeleteFunc(was, func(a audience) bool { return slices.Contains(m.audiences(p), a) }); len(gone) > 0 {
		m.poisonAudiences(p, before, gone)
	}
	m.reweigh(p)
	m.greet(p) // what is filtered out now is poisoned by this update, what was filtered on arrival comes again
}

// reweigh applies a changed cost, filter or offset to what was learned on a port.
func (m *Machine) reweigh(p *port) {
	for at := p.heard.First(); at != nil; {
		pa := at.Item
		at = at.Next()
		metric := p.weigh(pa.entry.net, pa.told)
		if metric >= Infinity {
			m.dropPath(pa)
		} else if metric != pa.metric {
			pa.metric = metric
			m.reconsider(pa.entry, false)
		}
	}
}

// configureOwn brings every own route in step with the rules.
func (m *Machine) configureOwn() {
	m.settleOwn(network{})
	for _, e := range m.entries() {
		m.settleOwn(e.net)
	}
	unknown := slices.DeleteFunc(slices.Collect(maps.Keys(m.externals)), func(n network) bool { return m.table[n] != nil })
	slices.SortFunc(unknown, func(a, b network) int { return cmp.Or(cmp.Compare(a.addr, b.addr), cmp.Compare(a.bits, b.bits)) })
	for _, n := range unknown {
		m.settleOwn(n)
	}
}

// regarbage applies a changed garbage time to what waits to be forgotten.
func (m *Machine) regarbage(old Config) {
	if change := m.cfg.Timers.Garbage - old.Timers.Garbage; change != 0 {
		for at := m.garbage.First(); at != nil; at = at.Next() {
			at.Item.forgetAt = at.Item.changedAt.Add(m.cfg.Timers.Garbage)
		}
	}
}

// entries lists the table in the order of change, so that it can be changed meanwhile.
func (m *Machine) entries() []*entry {
	list := make([]*entry, 0, m.changes.Len())
	for at := m.changes.First(); at != nil; at = at.Next() {
		list = append(list, at.Item)
	}
	return list
}
