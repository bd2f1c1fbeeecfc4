package rip

import (
	"net/netip"

	"vrouterd/internal/packet"
)

// PortID names a port; the router chooses the numbers.
type PortID uint32

// UDPPort is RIP's (RFC 2453 section 3.9).
const UDPPort = 520

// AllRouters is 224.0.0.9, where version 2 is heard (RFC 2453 section 4.5).
const AllRouters packet.Addr = 0xe0000009

// Infinity is the metric of what cannot be reached (RFC 2453 section 3.6).
const Infinity = 16

// Event is what may happen to the machine: one of the types below.
type Event interface{ event() }

// PortUp tells that a port's link is up, or that something of an up port changed. Ports without
// a PortConfig are remembered, in case that a Configure brings one.
type PortUp struct {
	Port      PortID
	Addresses []netip.Prefix // the router's own, with the length of the connected network; IPv4 only
	MTU       int            // octets; bounds the packets sent. 0: 1500
	NoCarrier bool           // with PortConfig.LinkCheck this port is as good as down
}

// PortDown tells that a port's link is down or the port is gone: everything through it is poisoned at once.
type PortDown struct{ Port PortID }

// Receive is a UDP datagram to port 520 that arrived.
type Receive struct {
	Port    PortID
	Src     packet.Addr
	SrcPort uint16
	Dst     packet.Addr
	TTL     uint8
	Payload []byte // of UDP. borrowed: not kept past Step
}

// Redistribute tells the route that the RIB selected for a prefix from other sources than RIP, or that it selects
// none any longer. It is told for every such route; which of them RIP announces is the Config's to say.
type Redistribute struct {
	Prefix   netip.Prefix
	Protocol Protocol
	Metric   uint32 // of the RIB
	Tag      uint16
	NextHop  packet.Addr // 0: none. Announced to networks in which it lies (RFC 2453 section 4.4)
	Port     PortID      // where NextHop is
	Gone     bool
}

// Configure changes the configuration. What was announced and is no longer is poisoned at once.
type Configure struct{ Config Config }

// Clear forgets what was learned, from one neighbour, through one port or at all, and asks the
// neighbours for their tables anew.
type Clear struct {
	Port PortID
	All  bool
	Addr packet.Addr // of one neighbour, wherever it is; with Port 0 and All false
}

// Shutdown poisons everything that was announced. The machine goes on asking for Ticks until it
// says Stopped; it hears and learns nothing any more.
type Shutdown struct{}

// Tick tells that time has passed.
type Tick struct{}

func (PortUp) event()       {}
func (PortDown) event()     {}
func (Receive) event()      {}
func (Redistribute) event() {}
func (Configure) event()    {}
func (Clear) event()        {}
func (Shutdown) event()     {}
func (Tick) event()         {}

// Action is what the router is to do, in order: one of the types below.
type Action interface{ action() }

// Send transmits a UDP datagram on a port. A multicast or broadcast Dst goes to the link as such; a
// unicast one is on-link there.
type Send struct {
	Port             PortID
	Src, Dst         packet.Addr
	SrcPort, DstPort uint16
	TTL              uint8
	Payload          []byte // of UDP. borrowed: valid until the next Step
}

// Path is one way to a prefix.
type Path struct {
	NextHop packet.Addr
	Port    PortID
	From    packet.Addr // the neighbour that told it
}

// Install puts RIP's route to a prefix into the RIB, or replaces it. Only learned routes are
// installed: what the router announces on its own account stays with its source.
type Install struct {
	Prefix   netip.Prefix
	Paths    []Path // equal-cost, at least one. Not kept by the machine: the receiver may
	Metric   uint8  // 1 to 15
	Tag      uint16
	Distance uint8
}

// Withdraw takes RIP's route to a prefix out of the RIB.
type Withdraw struct{ Prefix netip.Prefix }

// RouteChange says what became of a prefix.
type RouteChange uint8

// What may become of a prefix in RIP's table.
const (
	RouteLearned RouteChange = iota // reachable, was not
	RouteChanged                    // another metric, tag or path
	RouteLost                       // unreachable: announced with metric 16 until it is forgotten
	RouteRemoved                    // forgotten
)

func (c RouteChange) String() string {
	switch c {
	case RouteLearned:
		return "learned"
	case RouteChanged:
		return "changed"
	case RouteLost:
		return "lost"
	case RouteRemoved:
		return "removed"
	}
	return "unknown"
}

// RouteEvent is for the event log. The router's own announcements are told too, with From 0.
type RouteEvent struct {
	Prefix            netip.Prefix
	Change            RouteChange
	OldMetric, Metric uint8 // 0: there was none
	From              packet.Addr
	Port              PortID
}

// NeighborChange says what became of a neighbour.
type NeighborChange uint8

// What may become of a neighbour.
const (
	NeighborUp      NeighborChange = iota // its first good packet
	NeighborSilent                        // nothing good for the timeout
	NeighborLost                          // its port went down or left RIP
	NeighborEvicted                       // forgotten to make room for another
)

func (c NeighborChange) String() string {
	switch c {
	case NeighborUp:
		return "up"
	case NeighborSilent:
		return "silent"
	case NeighborLost:
		return "lost"
	case NeighborEvicted:
		return "evicted"
	}
	return "unknown"
}

// NeighborEvent is for the event log.
type NeighborEvent struct {
	Port   PortID
	Addr   packet.Addr
	Change NeighborChange
}

// Bad tells that a packet, or a route in it, was refused. It is already counted. For routes
// it is told once a packet and reason.
type Bad struct {
	Port   PortID
	Src    packet.Addr
	Reason BadReason
	Addr   packet.Addr // of a route: the address that the first such entry states
}

// SaveState is to be made durable before the actions that follow it are carried out.
// The State is the receiver's.
type SaveState struct{ State State }

// Stopped tells that a Shutdown is complete.
type Stopped struct{}

func (Send) action()          {}
func (Install) action()       {}
func (Withdraw) action()      {}
func (RouteEvent) action()    {}
func (NeighborEvent) action() {}
func (Bad) action()           {}
func (SaveState) action()     {}
func (Stopped) action()       {}
