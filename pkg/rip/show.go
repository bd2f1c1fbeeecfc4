package rip

import (
	"cmp"
	"slices"
	"time"
)

// Routes is the table by prefix, a copy. Each prefix has its row in use first.
func (m *Machine) Routes(now time.Time) []RouteRow {
	rows := make([]RouteRow, 0, len(m.table))
	for _, e := range m.table {
		row := RouteRow{Prefix: e.net.prefix()}
		if e.own.source != "" {
			row.Metric, row.Tag, row.Source, row.Selected = e.own.metric, e.own.tag, e.own.source, true
			row.NextHop, row.Port = e.own.nextHop, e.own.port
			rows = append(rows, row)
		}
		for _, pa := range e.paths {
			rows = append(rows, RouteRow{
				Prefix: row.Prefix, NextHop: pa.nextHop, From: pa.from.addr, Port: pa.from.port.id,
				Metric: pa.metric, Tag: pa.tag, Source: "rip", Expires: max(pa.expires().Sub(now), 0),
				Selected: e.own.source == "" && slices.Contains(e.selected, pa),
			})
		}
		if e.metric == Infinity {
			row.Metric, row.Tag, row.Source, row.State = Infinity, e.tag, "rip", RouteGarbage
			row.Expires = max(e.forgetAt.Sub(now), 0)
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b RouteRow) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
			compareBool(b.Selected, a.Selected), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Port, b.Port), cmp.Compare(a.From, b.From))
	})
	return rows
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Neighbors lists the neighbours by port and address, a copy.
func (m *Machine) Neighbors(now time.Time) []NeighborRow {
	rows := make([]NeighborRow, 0, len(m.neighbors))
	for _, p := range m.inOrder {
		for _, n := range m.neighborsOf(p) {
			row := NeighborRow{
				Port: p.id, Addr: n.addr, Version: n.version, LastSeen: -1, Up: n.up,
				Routes: n.routes, Sequence: n.sequence, Counters: n.count,
			}
			if !n.lastGood.IsZero() {
				row.LastSeen = max(now.Sub(n.lastGood), 0)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// Ports lists the ports that RIP is configured on, by id.
func (m *Machine) Ports(now time.Time) []PortRow {
	var rows []PortRow
	for _, p := range m.inOrder {
		if !p.configured {
			continue
		}
		row := PortRow{
			Port: p.id, Up: p.running, Passive: p.cfg.Passive, Send: p.cfg.Send, Receive: p.cfg.Receive, Cost: p.cfg.Cost,
			SplitHorizon: p.cfg.SplitHorizon, Neighbors: p.talkers, Routes: p.heard.Len(), NextUpdate: -1, Counters: p.count,
		}
		if p.cfg.Auth != nil {
			row.Auth = p.cfg.Auth.Type
		}
		if !p.updateAt.IsZero() {
			row.NextUpdate = max(p.updateAt.Sub(now), 0)
		}
		rows = append(rows, row)
	}
	return rows
}

// Counters are those of all ports together; packets to ports without RIP are among the bad ones.
func (m *Machine) Counters() Counters {
	sum := m.total
	for _, p := range m.inOrder {
		sum.PacketsOut += p.count.PacketsOut
		sum.FullOut += p.count.FullOut
		sum.TriggeredOut += p.count.TriggeredOut
		sum.RequestsOut += p.count.RequestsOut
		sum.AnswersOut += p.count.AnswersOut
		sum.RoutesOut += p.count.RoutesOut
	}
	return sum
}

// Len is how many prefixes the table holds, those in garbage included.
func (m *Machine) Len() int { return len(m.table) }

// Learned is how many paths were learned from neighbours and live.
func (m *Machine) Learned() int { return m.learned }
