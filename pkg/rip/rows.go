package rip

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
)

// RouteState is how a row of the table stands.
type RouteState uint8

// How a row may stand.
const (
	RouteValid   RouteState = iota
	RouteGarbage            // unreachable; still announced as such
)

func (s RouteState) String() string {
	if s == RouteGarbage {
		return "garbage"
	}
	return "valid"
}

// RouteRow is one way to a prefix: a prefix with several equal-cost paths has several rows, and one
// with none left has one, in state garbage.
type RouteRow struct {
	Prefix   netip.Prefix
	NextHop  packet.Addr // 0: the router itself
	From     packet.Addr // 0: the router itself
	Port     PortID      // 0 with From 0, unless the network of a port
	Metric   uint8
	Tag      uint16
	State    RouteState
	Source   string        // rip, or what the router announces it for: port, connected, static, dhcp, other, default
	Selected bool          // false: known, but a better one is in use
	Expires  time.Duration // until timeout or, in garbage, until it is forgotten; 0: never
}

// Counters of a port or a neighbour (RFC 1724). They never decrease while its row lives.
type Counters struct {
	PacketsIn, PacketsOut   uint64 // good ones in
	ResponsesIn, RequestsIn uint64
	FullOut, TriggeredOut   uint64 // packets of whole tables and of triggered updates
	RequestsOut, AnswersOut uint64 // packets
	RoutesIn, RoutesOut     uint64 // entries
	RoutesFiltered          uint64 // entries that a filter kept out, on arrival
	BadPackets, BadRoutes   uint64
	Bad                     [NumBadReasons]uint64 // by reason, packets and routes
}

// NeighborRow is one neighbour.
type NeighborRow struct {
	Port     PortID
	Addr     packet.Addr
	Version  uint8         // of its last packet; 0: none was readable
	LastSeen time.Duration // since its last good packet; negative: none yet
	Up       bool          // heard within the timeout
	Routes   int           // paths learned from it
	Sequence uint32        // highest accepted, of the last key
	Counters Counters
}

// PortRow is one port.
type PortRow struct {
	Port         PortID
	Up           bool // has link, address and configuration
	Passive      bool
	Send         SendVersion
	Receive      ReceiveVersion
	Cost         uint8
	SplitHorizon SplitHorizon
	Auth         AuthType
	Neighbors    int
	Routes       int           // paths learned there
	NextUpdate   time.Duration // until the next whole table; negative: none is due
	Counters     Counters
}
