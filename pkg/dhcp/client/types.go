package client

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// Config is how the client asks.
type Config struct {
	MAC       packet.MAC
	ClientID  []byte        // option 61; nil: none is sent
	Hostname  string        // option 12; "": none
	Vendor    string        // option 60; "": none
	Requests  []uint8       // further codes of option 55
	Broadcast bool          // ask for answers by broadcast
	Check     bool          // ask by ARP whether the address is taken before it is used, and decline it then (RFC 5227)
	LeaseTime time.Duration // to ask for; 0: the server's choice
	Initial   *Lease        // what was held before a restart: INIT-REBOOT; used by New only
}

// Lease is what a server has given.
type Lease struct {
	Addr     netip.Prefix // with the length of the subnet mask
	Server   packet.Addr  // server identifier
	Gateways []packet.Addr
	Routes   []Route // option 121; where it is there, Gateways count no more (RFC 3442)
	DNS      []packet.Addr
	Domain   string
	Search   []string
	NTP      []packet.Addr
	MTU      int              // 0: not told
	Options  map[uint8][]byte // as they came
	Acquired time.Time
	T1, T2   time.Time
	Expires  time.Time // zero: never
}

// Route is a classless static route; Gateway 0: on link.
type Route = dhcp.Route

// State of the client (RFC 2131 figure 5).
type State uint8

// The states. Down: the port has no link.
const (
	Down State = iota
	Init
	Selecting
	Requesting
	Checking // ARP asks whether the address is taken
	Bound
	Renewing
	Rebinding
	InitReboot
	Rebooting
	Released // by the operator, until Renew
	NumStates
)

var stateNames = [NumStates]string{"down", "init", "selecting", "requesting", "checking", "bound", "renewing", "rebinding", "init_reboot", "rebooting", "released"}

func (s State) String() string {
	if s >= NumStates {
		return "unknown"
	}
	return stateNames[s]
}

// Event is what may happen to the machine: one of the types below.
type Event interface{ event() }

// LinkUp tells that the port has a link. A lease that is still valid is confirmed (INIT-REBOOT) and kept meanwhile.
type LinkUp struct{}

// LinkDown tells that the link is gone. The address is kept until it expires.
type LinkDown struct{}

// Receive is a UDP datagram to port 68 that arrived on the port.
type Receive struct {
	Src, Dst packet.Addr
	SrcPort  uint16
	Payload  []byte // borrowed
}

// Checked is the answer to a Check.
type Checked struct {
	Addr  packet.Addr
	Taken bool
}

// Conflict tells that the address in use was lost to another host (RFC 5227 section 2.4): it is declined.
type Conflict struct{ Addr packet.Addr }

// Renew asks at once: a bound client renews, a released one begins anew.
type Renew struct{}

// Release gives the address back and stays without one until Renew.
type Release struct{}

// Shutdown is for a router that stops: with Release the address is given back, otherwise it is kept for the next start.
type Shutdown struct{ Release bool }

// Configure changes the configuration.
type Configure struct{ Config Config }

// Tick tells that time has passed.
type Tick struct{}

func (LinkUp) event()    {}
func (LinkDown) event()  {}
func (Receive) event()   {}
func (Checked) event()   {}
func (Conflict) event()  {}
func (Renew) event()     {}
func (Release) event()   {}
func (Shutdown) event()  {}
func (Configure) event() {}
func (Tick) event()      {}

// Action is what the router is to do, in order.
type Action interface{ action() }

// Send transmits a message to port 67. To the broadcast address it leaves by the port as a broadcast, with Src 0 where there is no address yet;
// otherwise it takes the way to Dst.
type Send struct {
	Src, Dst packet.Addr
	Payload  []byte // borrowed: valid until the next Step
}

// Check asks by ARP whether somebody has the address. One Checked answers it.
type Check struct{ Addr packet.Addr }

// Use takes a lease, new, renewed or changed, into use: address, routes, DNS and NAT in one step. Lease is the receiver's.
type Use struct {
	Lease   *Lease
	Changed bool // the address, its network or the gateways are others than before
}

// Drop takes address and routes away: the lease has expired, was refused, declined or given back.
type Drop struct {
	Lease  *Lease
	Reason Reason
}

// Save keeps the lease for the next start; nil: there is none any longer.
type Save struct{ Lease *Lease }

// Note is for the event log.
type Note struct {
	Reason Reason
	Server packet.Addr
	Addr   packet.Addr
	Text   string // what a server said with a NAK (option 56), printable
}

func (Send) action()  {}
func (Check) action() {}
func (Use) action()   {}
func (Drop) action()  {}
func (Save) action()  {}
func (Note) action()  {}
