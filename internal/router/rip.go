package router

import "vrouterd/internal/control/api"

// RIPRoutes is empty: this router speaks no RIP.
func (r *Router) RIPRoutes() []api.RIPRoute { return nil }

// RIPNeighbors is empty: this router speaks no RIP.
func (r *Router) RIPNeighbors() []api.RIPNeighbor { return nil }

// RIPPorts is empty: this router speaks no RIP.
func (r *Router) RIPPorts() []api.RIPPort { return nil }

// RIPClear has nothing to forget.
func (r *Router) RIPClear(api.Peer, api.RIPClear) (int, error) {
	return 0, &api.Error{Code: api.Conflict, Message: "RIP is not configured: a section `rip:` starts it"}
}
