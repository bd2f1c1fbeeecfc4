package control

import (
	"net/http"

	"vrouterd/internal/control/api"
)

// ripEndpoints are the tables of RIP, and what makes it forget them.
func (s *Server) ripEndpoints() []endpoint {
	b := s.backend
	return []endpoint{
		{http.MethodGet, "/v1/rip", reads, nil, func(c *call) error { return rows(c, b.RIPRoutes()) }},
		{http.MethodGet, "/v1/rip/neighbors", reads, nil, func(c *call) error {
			all := b.RIPNeighbors()
			for i := range all {
				all[i].Bad = filled(all[i].Bad)
			}
			return rows(c, all)
		}},
		{http.MethodGet, "/v1/rip/ports", reads, nil, func(c *call) error {
			all := b.RIPPorts()
			for i := range all {
				all[i].Bad = filled(all[i].Bad)
			}
			return rows(c, all)
		}},
		{http.MethodPost, "/v1/rip/clear", operates, nil, clearRIP},
	}
}

func clearRIP(c *call) error {
	var what api.RIPClear
	if err := c.decode(&what); err != nil {
		return err
	}
	if what.Neighbor != "" && what.Port != "" {
		return usage("neighbor and port are both given: name the one whose routes are to be forgotten")
	}
	if what.Neighbor != "" {
		if err := address("neighbor", what.Neighbor); err != nil {
			return err
		}
	}
	n, err := c.backend.RIPClear(c.peer.Peer, what)
	if err != nil {
		return err
	}
	return c.object(api.RIPCleared{Routes: n})
}
