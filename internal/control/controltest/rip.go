package controltest

import (
	"fmt"
	"slices"

	"vrouterd/internal/control/api"
)

// ripRoutes, ripNeighbors and ripPorts are what a Fake has heard: two neighbours on core, one of
// which holds another key, and nobody on lan.
func ripRoutes() []api.RIPRoute {
	return []api.RIPRoute{
		{Prefix: "10.0.0.0/29", Port: "core", Metric: 1, State: "valid", Source: "port", Selected: true},
		{Prefix: "10.1.0.0/24", Port: "lan", Metric: 1, State: "valid", Source: "port", Selected: true},
		{Prefix: "10.20.0.0/16", NextHop: "10.0.0.2", From: "10.0.0.2", Port: "core", Metric: 2, Tag: 65001, State: "valid", ExpiresSeconds: 171.5, Source: "rip", Selected: true},
		{Prefix: "10.20.0.0/16", NextHop: "10.0.0.5", From: "10.0.0.3", Port: "core", Metric: 2, State: "valid", ExpiresSeconds: 160, Source: "rip", Selected: true},
		{Prefix: "10.30.0.0/16", NextHop: "10.0.0.2", From: "10.0.0.2", Port: "core", Metric: 16, State: "garbage", ExpiresSeconds: 45.2, Source: "rip", Selected: true},
		{Prefix: "198.51.100.0/24", Metric: 1, State: "valid", Source: "static", Selected: true},
	}
}

func ripNeighbors() []api.RIPNeighbor {
	return []api.RIPNeighbor{
		{Address: "10.0.0.2", Port: "core", Version: 2, LastSeenSeconds: 8.5, Up: true, Routes: 2, Updates: 3120, Queries: 1, Auth: "md5", AuthSequence: 1767323045, Filtered: 4},
		{Address: "10.0.0.3", Port: "core", Version: 2, LastSeenSeconds: 20, Up: true, Routes: 1, Updates: 3100, Auth: "md5", AuthSequence: 88, BadRoutes: 2,
			Bad: []api.RIPBad{{Reason: "rip_route_metric_range", Description: "A RIP entry has a metric above 16.", Count: 2, Routes: true}}},
		{Address: "10.0.0.4", Port: "core", Version: 2, LastSeenSeconds: -1, Auth: "md5", BadPackets: 310,
			Bad: []api.RIPBad{
				{Reason: "rip_auth_digest", Description: "A RIP packet's digest is wrong: the secrets differ, or the packet was changed on the way.", Count: 309},
				{Reason: "rip_auth_missing", Description: "A RIP packet without authentication arrived where it is required.", Count: 1},
			}},
	}
}

func ripPorts() []api.RIPPort {
	return []api.RIPPort{
		{Name: "core", State: "up", Send: "2", Receive: "2", SplitHorizon: "poisoned", Auth: "md5", Cost: 1, Neighbors: 3, Routes: 3, NextUpdateSeconds: 12.25,
			UpdatesReceived: 6220, QueriesReceived: 1, UpdatesSent: 3125, TriggeredSent: 9, QueriesSent: 1, AnswersSent: 1, RoutesReceived: 9340, RoutesSent: 15625,
			Filtered: 4, BadPackets: 310, BadRoutes: 2,
			Bad: slices.Concat(ripNeighbors()[2].Bad, ripNeighbors()[1].Bad)},
		{Name: "lan", State: "passive", Passive: true, Send: "2", Receive: "both", SplitHorizon: "simple", Auth: "none", Cost: 2, NextUpdateSeconds: -1},
		{Name: "wan", State: "down", Reason: "port wan is missing: its device is gone", Send: "v2_broadcast", Receive: "2", SplitHorizon: "none", Auth: "none", Cost: 1, NextUpdateSeconds: -1},
	}
}

func (f *Fake) RIPRoutes() []api.RIPRoute       { return table(f, f.ripRoutes) }
func (f *Fake) RIPNeighbors() []api.RIPNeighbor { return table(f, f.ripNeighbors) }
func (f *Fake) RIPPorts() []api.RIPPort         { return table(f, f.ripPorts) }

// RIPClear forgets as it was told. A Fake that is Empty speaks no RIP.
func (f *Fake) RIPClear(_ api.Peer, what api.RIPClear) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.Empty:
		return 0, &api.Error{Code: api.Conflict, Message: "RIP is not configured: a section `rip:` starts it"}
	case what.Port != "" && !slices.ContainsFunc(f.ripPorts, func(p api.RIPPort) bool { return p.Name == what.Port }):
		return 0, &api.Error{Code: api.NotFound, Message: fmt.Sprintf("RIP does not run on a port %q", what.Port)}
	case what.Neighbor != "" && !slices.ContainsFunc(f.ripNeighbors, func(n api.RIPNeighbor) bool { return n.Address == what.Neighbor }):
		return 0, &api.Error{Code: api.NotFound, Message: "there is no RIP neighbor " + what.Neighbor}
	}
	before := len(f.ripRoutes)
	f.ripRoutes = slices.DeleteFunc(f.ripRoutes, func(r api.RIPRoute) bool {
		return r.Source == "rip" && (what.Port == "" || r.Port == what.Port) && (what.Neighbor == "" || r.From == what.Neighbor)
	})
	return before - len(f.ripRoutes), nil
}
