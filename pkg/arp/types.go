package arp

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
)

// PortID names a port; the router chooses the numbers.
type PortID uint32

// State of a neighbour. StateNone, the zero value, is no entry at all; it
// occurs only in [Changed].
type State uint8

// The states, as Linux has them.
const (
	StateNone       State = iota
	StateIncomplete       // asked for, not answered yet; packets wait
	StateReachable        // confirmed a short while ago
	StateStale            // known, not confirmed lately, not in use
	StateDelay            // stale and in use: upper layers may confirm it yet
	StateProbe            // stale and in use: being asked by unicast
	StateFailed           // does not answer
	StatePermanent        // set by the operator
	numStates
)

var stateNames = [numStates]string{"none", "incomplete", "reachable", "stale", "delay", "probe", "failed", "permanent"}

func (s State) String() string {
	if s >= numStates {
		return "unknown"
	}
	return stateNames[s]
}

// Usable reports a state in which packets are sent to the cached hardware address.
func (s State) Usable() bool {
	switch s {
	case StateReachable, StateStale, StateDelay, StateProbe, StatePermanent:
		return true
	}
	return false
}

// Waiting is a packet that waits for resolution. The machine only counts its
// octets and hands it back, each exactly once, in [Release], [Abandon] or [Dropped].
type Waiting interface{ Size() int }

// Event is what may happen to the machine: one of the types below.
type Event interface{ event() }

// PortUp tells that a port's link is up, or that something of an up port changed: what is new
// is announced, neighbours that are no longer on-link go.
type PortUp struct {
	Port      PortID
	MAC       packet.MAC
	Addresses []netip.Prefix // the router's own, with the length of the connected network; IPv4 only
	OnLink    []netip.Prefix // further networks that routes reach through this port without a next hop
	ProxyARP  []netip.Prefix // networks on other ports that are answered for here
	DAD       bool           // probe before use (RFC 5227 section 2.1), else announce at once
}

// PortDown tells that a port's link is down or the port is gone. Its dynamic neighbours are
// forgotten; permanent ones wait for the next PortUp.
type PortDown struct{ Port PortID }

// Frame is an ARP packet that arrived.
type Frame struct {
	Port     PortID
	Src, Dst packet.MAC // of the Ethernet header
	Payload  []byte     // what follows the Ethernet header. borrowed: not kept past Step
}

// Resolve asks for the hardware address of an on-link address that the dataplane has no adjacency for.
type Resolve struct {
	Port   PortID
	Addr   packet.Addr
	Packet Waiting // nil: just resolve
}

// Confirm tells that an upper layer made progress through a neighbour (RFC 1122 section 2.3.2.1).
type Confirm struct {
	Port PortID
	Addr packet.Addr
}

// Used tells that the dataplane sent something along an adjacency since [Watch].
type Used struct {
	Port PortID
	Addr packet.Addr
}

// AddStatic makes a permanent neighbour, or changes it. MAC is neither zero nor broadcast; a
// multicast address is allowed, as server clusters that share one need it.
type AddStatic struct {
	Port PortID
	Addr packet.Addr
	MAC  packet.MAC
}

// DeleteStatic removes a permanent neighbour; one that does not exist is ignored.
type DeleteStatic struct {
	Port PortID
	Addr packet.Addr
}

// Flush forgets dynamic neighbours: one, those of a port, or those of all ports.
type Flush struct {
	Port PortID
	Addr packet.Addr // 0: every neighbour of the port
	All  bool        // of every port
}

// Tick tells that time has passed.
type Tick struct{}

func (PortUp) event()       {}
func (PortDown) event()     {}
func (Frame) event()        {}
func (Resolve) event()      {}
func (Confirm) event()      {}
func (Used) event()         {}
func (AddStatic) event()    {}
func (DeleteStatic) event() {}
func (Flush) event()        {}
func (Tick) event()         {}

// Action is what the router is to do, in order: one of the types below.
type Action interface{ action() }

// Send transmits a complete Ethernet frame on a port.
type Send struct {
	Port  PortID
	Frame []byte // borrowed: valid until the next Step
}

// Bind installs an adjacency, or gives it a new hardware address.
type Bind struct {
	Port PortID
	Addr packet.Addr
	MAC  packet.MAC
}

// Unbind removes an adjacency; packets to Addr come as [Resolve] from now on.
type Unbind struct {
	Port PortID
	Addr packet.Addr
}

// Watch asks to be told with [Used] when the adjacency carries traffic from now on.
type Watch struct {
	Port PortID
	Addr packet.Addr
}

// Release gives back waiting packets, oldest first, to be sent along the adjacency just bound.
type Release struct {
	Port    PortID
	Addr    packet.Addr
	Packets []Waiting
}

// Abandon gives back waiting packets that cannot be delivered: each deserves an ICMP host
// unreachable (RFC 1812 section 5.2.7.1).
type Abandon struct {
	Port    PortID
	Addr    packet.Addr
	Packets []Waiting
	Reason  DropReason
}

// Dropped gives back one packet that is dropped without a word to its sender; Packet is nil
// where a Resolve without one was refused.
type Dropped struct {
	Port   PortID
	Addr   packet.Addr
	Packet Waiting
	Reason DropReason
}

// Changed tells that a neighbour's state or hardware address changed, for the event log.
type Changed struct {
	Port     PortID
	Addr     packet.Addr
	Old, New State      // equal when only the hardware address changed
	OldMAC   packet.MAC // zero when unknown
	MAC      packet.MAC // zero when unknown
}

// Conflict tells that another station uses an address of ours (RFC 5227 section 2.4). It is told
// at most once in 10 s an address; every conflicting packet is counted.
type Conflict struct {
	Port     PortID
	Addr     packet.Addr
	MAC      packet.MAC // the other station's
	Defended bool       // an announcement went out; false: the address was still being probed and is not used
}

// Address tells how far an address of ours has come.
type Address struct {
	Port  PortID
	Addr  packet.Addr
	State AddressState
}

// AddressState of an address of our own.
type AddressState uint8

// How an address of ours may stand.
const (
	AddressTentative  AddressState = iota // being probed: not to be used yet
	AddressReady                          // ours
	AddressConflicted                     // another station has it; tried again every minute
)

func (s AddressState) String() string {
	switch s {
	case AddressTentative:
		return "tentative"
	case AddressReady:
		return "ready"
	case AddressConflicted:
		return "conflicted"
	}
	return "unknown"
}

// Bad tells that a received packet or a request of the router's was refused.
type Bad struct {
	Port   PortID
	Addr   packet.Addr // whom it was about, where known
	MAC    packet.MAC
	Reason BadReason
}

func (Send) action()     {}
func (Bind) action()     {}
func (Unbind) action()   {}
func (Watch) action()    {}
func (Release) action()  {}
func (Abandon) action()  {}
func (Dropped) action()  {}
func (Changed) action()  {}
func (Conflict) action() {}
func (Address) action()  {}
func (Bad) action()      {}

// Neighbor is a row of the neighbour table.
type Neighbor struct {
	Port         PortID
	Addr         packet.Addr
	MAC          packet.MAC // zero when unknown
	State        State
	Age          time.Duration // since the last confirmation; for one never confirmed, since it is known
	Waiting      int           // packets
	WaitingBytes int
	Tries        int // requests or probes sent in this state
}
