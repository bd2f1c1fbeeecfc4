package relay

import (
	"vrouterd/internal/packet"
)

// PortID names a port; the router chooses the numbers.
type PortID uint32

// Config is what the relay does on each port.
type Config struct {
	Ports []Port
	Own   []packet.Addr // the router's addresses on other ports: as giaddr of a request they are forged, too
}

// Port is a port with clients.
type Port struct {
	Port    PortID
	Name    string
	Addr    packet.Addr   // the router's there: giaddr
	Servers []packet.Addr // every request goes to each of them
	MaxHops uint8         // requests with more hops are dropped; 0: 10 (RFC 1542 section 4.1.1 allows 4 to 16)
	// Agent adds option 82 with the circuit (the port's name, or CircuitID) and, where RemoteID is set, the remote id. It is taken off answers again.
	Agent     bool
	CircuitID []byte
	RemoteID  []byte
	// TrustAgent relays requests that bear an option 82 with no giaddr already; otherwise they are dropped (RFC 3046 section 2.1.1).
	TrustAgent bool
}

// Event is what may happen to the machine: one of the types below.
type Event interface{ event() }

// Receive is a UDP datagram to port 67, from a client or a server.
type Receive struct {
	Port     PortID
	Link     packet.MAC
	Src, Dst packet.Addr
	SrcPort  uint16
	Payload  []byte // borrowed
}

// Configure changes the configuration.
type Configure struct{ Config Config }

func (Receive) event()   {}
func (Configure) event() {}

// Action is what the router is to do.
type Action interface{ action() }

// Send transmits a message; its fields are as in package server.
type Send struct {
	Port    PortID
	MAC     packet.MAC
	Src     packet.Addr
	Dst     packet.Addr
	DstPort uint16
	Payload []byte // borrowed: valid until the next Step
}

// Refused tells that a message was not relayed. It is already counted.
type Refused struct {
	Port   PortID
	Reason Reason
}

func (Send) action()    {}
func (Refused) action() {}
