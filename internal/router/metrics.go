package router

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"vrouterd/internal/control/api"
)

// collector reads the router's counters when Prometheus asks.
type collector struct{ r *Router }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("vrouterd_"+name, help, labels, nil)
}

var (
	portMetrics = []struct {
		desc  *prometheus.Desc
		value func(*api.Port) uint64
	}{
		{desc("port_receive_packets_total", "Packets received on a port.", "port"), func(p *api.Port) uint64 { return p.RxPackets }},
		{desc("port_receive_bytes_total", "Octets of IP received on a port.", "port"), func(p *api.Port) uint64 { return p.RxBytes }},
		{desc("port_receive_drops_total", "Packets received on a port and dropped.", "port"), func(p *api.Port) uint64 { return p.RxDrops }},
		{desc("port_transmit_packets_total", "Packets sent on a port.", "port"), func(p *api.Port) uint64 { return p.TxPackets }},
		{desc("port_transmit_bytes_total", "Octets of IP sent on a port.", "port"), func(p *api.Port) uint64 { return p.TxBytes }},
		{desc("port_transmit_drops_total", "Packets that a port's device did not take.", "port"), func(p *api.Port) uint64 { return p.TxDrops }},
	}
	portUp       = desc("port_up", "1 while the port is up.", "port")
	dropsTotal   = desc("drops_total", "Packets dropped, by reason.", "reason")
	eventsTotal  = desc("counter_total", "Other counters of the router.", "name")
	routesGauge  = desc("routes", "Routes in the routing table.")
	fibRoutes    = desc("fib_routes", "Prefixes in the forwarding table.")
	fibBytes     = desc("fib_bytes", "Memory of the forwarding table, octets.")
	neighbors    = desc("neighbors", "Neighbours known.", "state")
	ripRoutes    = desc("rip_routes", "Ways to prefixes in RIP's table.", "state")
	ripNeighbors = desc("rip_neighbors", "Neighbours that RIP has heard.", "state")
	natSessions  = desc("nat_sessions", "Live sessions that NAT translates.")
	natMappings  = desc("nat_mappings", "Mappings of inside to outside addresses and ports.")
	natExplicit  = desc("nat_explicit_mappings", "Mappings that hosts have asked for.")
	natBlocks    = desc("nat_port_blocks", "Port blocks that subscribers have.")
	sessionGauge = desc("sessions", "Live sessions.", "protocol")
	sessionBytes = desc("session_table_bytes", "Memory of the session table, octets.")
	sessionsMade = desc("sessions_created_total", "Sessions made.")
	sessionsGone = desc("sessions_ended_total", "Sessions ended, by their time or otherwise.", "how")
	ruleMatches  = desc("firewall_rule_packets_total", "Packets that a rule of the firewall has decided about.", "kind", "rule", "action")
	startSeconds = desc("start_time_seconds", "When the router started, seconds since the epoch.")
	readyGauge   = desc("ready", "1 while every enabled port is up.")
)

// Describe sends nothing: which reasons there are is known when they are collected.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends the present values.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	truth := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	for _, p := range c.r.Ports() {
		for _, m := range portMetrics {
			counter(m.desc, m.value(&p), p.Name)
		}
		gauge(portUp, truth(p.Up), p.Name)
	}
	for _, d := range c.r.Drops() {
		counter(dropsTotal, d.Packets, d.Reason)
	}
	for _, n := range c.r.Counters() {
		counter(eventsTotal, n.Value, n.Name)
	}
	states := map[string]int{}
	for _, n := range c.r.Neighbors() {
		states[n.State]++
	}
	for state, n := range states {
		gauge(neighbors, float64(n), state)
	}
	ways := map[string]int{}
	for _, v := range c.r.RIPRoutes() {
		ways[v.State]++
	}
	for state, n := range ways {
		gauge(ripRoutes, float64(n), state)
	}
	heard := map[string]int{}
	for _, n := range c.r.RIPNeighbors() {
		if n.Up {
			heard["up"]++
		} else {
			heard["silent"]++
		}
	}
	for state, n := range heard {
		gauge(ripNeighbors, float64(n), state)
	}
	c.collectStateful(gauge, counter)
	c.collectDHCP(gauge)
	c.collectDNS(gauge, counter)
	s := c.r.Status()
	gauge(routesGauge, float64(s.Routes))
	gauge(fibRoutes, float64(s.FIBRoutes))
	gauge(fibBytes, float64(s.FIBBytes))
	gauge(startSeconds, float64(s.Started.UnixNano())/1e9)
	gauge(readyGauge, truth(s.Ready))
}

// collectStateful sends what there is of sessions, NAT and the firewall. Rules are labels, flows never.
func (c collector) collectStateful(gauge func(*prometheus.Desc, float64, ...string), counter func(*prometheus.Desc, uint64, ...string)) {
	s := c.r.stateful
	n := s.sessions.Counts()
	for protocol, live := range n.ByProtocol {
		gauge(sessionGauge, float64(live), protocolName(protocol))
	}
	counter(sessionsMade, n.Created)
	counter(sessionsGone, n.Expired, "expired")
	counter(sessionsGone, n.Removed, "removed")
	counter(sessionsGone, n.Displaced, "displaced")
	gauge(sessionBytes, float64(s.sessions.Bytes()))
	m := s.mappings.Counts()
	gauge(natSessions, float64(n.Translated))
	gauge(natMappings, float64(m.Mappings))
	gauge(natExplicit, float64(m.Explicit))
	gauge(natBlocks, float64(m.Blocks))
	for i, rule := range c.r.FirewallRules() {
		name := rule.Name
		if name == "" {
			name = rule.From + "-" + rule.To
			if rule.Kind == "rule" || rule.Kind == "access" {
				name = strconv.Itoa(i + 1)
			}
		}
		counter(ruleMatches, rule.Packets, rule.Kind, name, rule.Action)
	}
}

// Metrics is the router's state as Prometheus reads it.
func (r *Router) Metrics() string {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{r})
	families, err := registry.Gather()
	if err != nil {
		r.log.Error("metrics are incomplete", "error", err)
	}
	var b strings.Builder
	for _, f := range families {
		expfmt.MetricFamilyToText(&b, f)
	}
	return b.String()
}
