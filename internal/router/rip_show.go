package router

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/rip"
)

// RIPRoutes are the rows of `show rip`.
func (r *Router) RIPRoutes() (rows []api.RIPRoute) {
	r.do(func() {
		if r.rip == nil {
			return
		}
		for _, v := range r.rip.Routes(time.Now()) {
			row := api.RIPRoute{
				Prefix: v.Prefix.String(), Metric: int(v.Metric), Tag: int(v.Tag), State: v.State.String(),
				ExpiresSeconds: v.Expires.Seconds(), Source: v.Source, Selected: v.Selected,
			}
			if v.NextHop != 0 {
				row.NextHop = v.NextHop.String()
			}
			if v.From != 0 {
				row.From = v.From.String()
			}
			if v.Port != 0 {
				row.Port = r.portName(uint32(v.Port))
			}
			rows = append(rows, row)
		}
	})
	return rows
}

// RIPNeighbors are the rows of `show rip neighbors`.
func (r *Router) RIPNeighbors() (rows []api.RIPNeighbor) {
	r.do(func() {
		if r.rip == nil {
			return
		}
		auth := map[rip.PortID]string{}
		for _, p := range r.rip.Ports(time.Now()) {
			auth[p.Port] = p.Auth.String()
		}
		for _, v := range r.rip.Neighbors(time.Now()) {
			row := api.RIPNeighbor{
				Address: v.Addr.String(), Port: r.portName(uint32(v.Port)), Version: int(v.Version),
				LastSeenSeconds: v.LastSeen.Seconds(), Up: v.Up, Routes: v.Routes,
				Updates: v.Counters.ResponsesIn, Queries: v.Counters.RequestsIn,
				Auth: auth[v.Port], AuthSequence: uint64(v.Sequence), Filtered: v.Counters.RoutesFiltered,
				BadPackets: v.Counters.BadPackets, BadRoutes: v.Counters.BadRoutes, Bad: ripBad(&v.Counters),
			}
			if v.LastSeen < 0 {
				row.LastSeenSeconds = -1
			}
			rows = append(rows, row)
		}
	})
	return rows
}

// ripBad is what was refused, by reason, the most frequent first.
func ripBad(c *rip.Counters) []api.RIPBad {
	bad := []api.RIPBad{}
	for reason := range rip.NumBadReasons {
		if n := c.Bad[reason]; n > 0 {
			bad = append(bad, api.RIPBad{Reason: reason.String(), Description: reason.Description(), Count: n, Routes: reason.Route()})
		}
	}
	slices.SortStableFunc(bad, func(a, b api.RIPBad) int { return cmp.Compare(b.Count, a.Count) })
	return bad
}

// ripDrops are the packets that RIP refused, from neighbours and from others.
func (r *Router) ripDrops() (rows []api.Drop) {
	if r.rip == nil {
		return nil
	}
	c := r.rip.Counters()
	for reason := rip.BadNone + 1; reason < rip.NumBadReasons; reason++ {
		if !reason.Route() {
			rows = append(rows, api.Drop{Reason: reason.String(), Description: reason.Description(), Packets: c.Bad[reason]})
		}
	}
	return rows
}

// RIPPorts are the rows of `show rip ports`.
func (r *Router) RIPPorts() (rows []api.RIPPort) {
	r.do(func() {
		if r.rip == nil {
			return
		}
		for _, v := range r.rip.Ports(time.Now()) {
			row := api.RIPPort{
				Name: r.portName(uint32(v.Port)), State: "up", Passive: v.Passive, SplitHorizon: v.SplitHorizon.String(),
				Auth: v.Auth.String(), Cost: int(v.Cost), Neighbors: v.Neighbors, Routes: v.Routes, NextUpdateSeconds: -1,
				UpdatesReceived: v.Counters.ResponsesIn, QueriesReceived: v.Counters.RequestsIn,
				UpdatesSent: v.Counters.FullOut, TriggeredSent: v.Counters.TriggeredOut, QueriesSent: v.Counters.RequestsOut,
				AnswersSent: v.Counters.AnswersOut, RoutesReceived: v.Counters.RoutesIn, RoutesSent: v.Counters.RoutesOut,
				Filtered: v.Counters.RoutesFiltered, BadPackets: v.Counters.BadPackets, BadRoutes: v.Counters.BadRoutes, Bad: ripBad(&v.Counters),
			}
			r.ripPortWords(&row, &v)
			rows = append(rows, row)
		}
	})
	return rows
}

// ripPortWords adds what the configuration and the port itself say.
func (r *Router) ripPortWords(row *api.RIPPort, v *rip.PortRow) {
	if v.NextUpdate >= 0 {
		row.NextUpdateSeconds = v.NextUpdate.Seconds()
	}
	if r.config.RIP != nil {
		if i := slices.IndexFunc(r.config.RIP.Ports, func(c config.RIPPort) bool { return c.Name == row.Name }); i >= 0 {
			row.Send, row.Receive = string(r.config.RIP.Ports[i].Send), string(r.config.RIP.Ports[i].Receive)
		}
	}
	switch p := r.ports[row.Name]; {
	case v.Up && v.Passive:
		row.State = "passive"
	case v.Up:
	case p == nil:
		row.State, row.Reason = "down", "there is no such port"
	case !p.up:
		_, row.Reason = p.state()
		row.State = "down"
	default:
		row.State, row.Reason = "down", "the port has no address in use"
	}
}

// RIPClear forgets what RIP has learned, and asks for it anew.
func (r *Router) RIPClear(_ api.Peer, what api.RIPClear) (n int, err error) {
	stopped := r.do(func() {
		if r.rip == nil {
			err = &api.Error{Code: api.Conflict, Message: "RIP is not configured: a section `rip:` starts it"}
			return
		}
		clearing := rip.Clear{All: what.Port == "" && what.Neighbor == ""}
		switch {
		case what.Port != "":
			p := r.ports[what.Port]
			if p == nil {
				err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q; the ports are %s", what.Port, r.portNames())}
				return
			}
			clearing.Port = rip.PortID(p.id)
		case what.Neighbor != "":
			a, parseErr := parseAddress(what.Neighbor)
			if parseErr != nil {
				err = parseErr
				return
			}
			clearing.Addr = packet.AddrFrom(a)
			if !r.ripKnows(clearing.Addr) {
				err = &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no RIP neighbour %v; `vrctl show rip neighbors` lists them", a)}
				return
			}
		}
		before := r.rip.Learned()
		r.ripStep(time.Now(), clearing)
		n = before - r.rip.Learned()
	})
	return n, errors.Join(stopped, err)
}

func (r *Router) ripKnows(a packet.Addr) bool {
	for _, n := range r.rip.Neighbors(time.Now()) {
		if n.Addr == a {
			return true
		}
	}
	return false
}
