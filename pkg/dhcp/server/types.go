package server

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
)

// PortID names a port; the router chooses the numbers. 0: none.
type PortID uint32

// Config is what the server serves. Package config has validated it: ranges lie in their networks and do not overlap.
type Config struct {
	Subnets     []Subnet
	DeclineHold time.Duration // how long a declined address rests; 0: 10 min
	MaxLeases   int           // in all, offers included; 0: 65536
	Initial     []Lease       // what the journal held; used by New only
}

// Subnet is one network in which addresses are given away.
type Subnet struct {
	Name    string       // of the entry under `dhcp:`
	Port    PortID       // where it is attached; 0: reached by relays only
	Network netip.Prefix // masked
	Server  packet.Addr  // the router's address there, the server identifier; 0 for a relayed network: the address that was asked

	Ranges   []Range
	Exclude  []Range
	Pools    []Pool // further ranges, for clients of a class only
	Lease    time.Duration
	MinLease time.Duration // of what a client asks for (option 51); 0: Lease caps and nothing lifts
	MaxLease time.Duration // 0: Lease
	T1, T2   time.Duration // 0: half and seven eighths of the lease

	Authoritative bool // NAK clients that ask for what is not theirs, also those of which nothing is known
	RapidCommit   bool // RFC 4039
	Probe         bool // before an offer of a fresh address
	PingRelayed   bool // in a relayed network, where probes go by ICMP echo: without it there are none

	Gateway, DNS []packet.Addr
	Domain       string
	NextServer   packet.Addr // siaddr
	BootFile     string
	ServerName   string
	Options      map[uint8][]byte // by number, encoded; they win over what the keys above give
	Reservations []Reservation
}

// Range is a span of addresses, both ends included.
type Range struct{ First, Last packet.Addr }

// Pool is for the clients whose vendor class (option 60) begins with Vendor.
type Pool struct {
	Name, Vendor string
	Ranges       []Range          // empty: those of the subnet
	Options      map[uint8][]byte // win over those of the subnet
}

// Reservation keeps an address for a client, which is known by its hardware address or by option 61.
type Reservation struct {
	MAC      packet.MAC // zero: by ClientID
	ClientID []byte
	Addr     packet.Addr
	Name     string
	Lease    time.Duration    // 0: the subnet's
	Options  map[uint8][]byte // win over all others
}

// State of a lease.
type State uint8

// The states. Offered ones are in memory only.
const (
	Free State = iota
	Offered
	Bound
	Released // by the client: the address is kept for it while others are free
	Expired  // likewise
	Declined // found in use by someone else; rests until Expires
	NumStates
)

var stateNames = [NumStates]string{"free", "offered", "bound", "released", "expired", "declined"}

func (s State) String() string {
	if s >= NumStates {
		return "unknown"
	}
	return stateNames[s]
}

// ParseState is the reverse of String.
func ParseState(s string) (State, bool) {
	for i, name := range stateNames {
		if s == name {
			return State(i), true
		}
	}
	return Free, false
}

// Lease is what is known of one address.
type Lease struct {
	Addr     packet.Addr
	State    State
	HType    uint8
	CHAddr   []byte // hardware address, 1 to 16 octets
	ClientID []byte // option 61; nil: none
	Hostname string // as it is served in DNS: one valid label, lower case, or ""
	Vendor   string // option 60
	Subnet   string // Subnet.Name
	Agent    []byte // option 82 that the relay added; nil: none
	Start    time.Time
	Expires  time.Time // zero: never
}

// Event is what may happen to the machine: one of the types below.
type Event interface{ event() }

// Receive is a UDP datagram to port 67 that arrived, by a port or by way of a relay.
type Receive struct {
	Port     PortID
	Link     packet.MAC // link-layer source; zero on a TUN port
	Src, Dst packet.Addr
	SrcPort  uint16
	Payload  []byte // borrowed: not kept past Step
}

// Probed is the answer to a Probe.
type Probed struct {
	Addr  packet.Addr
	Taken bool
	MAC   packet.MAC // who has it, where that is known
}

// Taken tells of an address of the server's networks that somebody was seen to use without a lease (ARP inspection).
type Taken struct {
	Port PortID
	Addr packet.Addr
	MAC  packet.MAC
}

// Configure changes the configuration. Leases that fit no more are kept until they expire, but not renewed.
type Configure struct{ Config Config }

// Delete forgets the lease of an address; a declined one is free again. DeleteAll forgets all of a subnet ("": of all).
type Delete struct{ Addr packet.Addr }

// DeleteAll is Delete for a subnet, or everything where Subnet is "".
type DeleteAll struct {
	Subnet string
	State  State // Free: whatever their state
}

// Import takes leases from elsewhere, such as dnsmasq's file. What clashes with a lease that is bound is refused, with an Event each.
type Import struct{ Leases []Lease }

// StoreFailed tells that leases could not be made durable: the messages that waited for it were not sent. What they gave stays given in memory, where it is at worst an address that
// nobody uses until it expires; the client asks again, and the lease is stored again.
type StoreFailed struct{ Addrs []packet.Addr }

// Tick tells that time has passed.
type Tick struct{}

func (Receive) event()     {}
func (Probed) event()      {}
func (Taken) event()       {}
func (Configure) event()   {}
func (Delete) event()      {}
func (DeleteAll) event()   {}
func (Import) event()      {}
func (StoreFailed) event() {}
func (Tick) event()        {}

// Action is what the router is to do, in order: one of the types below.
type Action interface{ action() }

// Store is to be made durable before the Sends that follow it in the same Step leave. A lease that is Free is forgotten.
type Store struct{ Lease Lease }

// Send transmits a message.
type Send struct {
	Port    PortID     // 0: the way to Dst, by the routing table
	MAC     packet.MAC // link-layer destination for a Dst that does not answer ARP yet; zero: ARP, or the broadcast address for a broadcast
	Src     packet.Addr
	Dst     packet.Addr
	DstPort uint16
	Payload []byte // borrowed: valid until the next Step
}

// Probe asks whether somebody uses an address: by ARP where it is attached to Port, by ICMP echo where Port is 0. One Probed answers it, within a second.
type Probe struct {
	Port PortID
	Addr packet.Addr
}

// LeaseEvent is for the event log, for DNS and for `wait lease`.
type LeaseEvent struct {
	Change LeaseChange
	Lease  Lease
	Before string // the hostname that it had
	Reason string // for refusals: one sentence
}

// Exhausted tells that a subnet has no address to give (once), or has again.
type Exhausted struct {
	Subnet string
	Again  bool
}

// Refused tells that a message was not served. It is already counted.
type Refused struct {
	Port   PortID
	MAC    packet.MAC
	Reason Reason
}

func (Store) action()      {}
func (Send) action()       {}
func (Probe) action()      {}
func (LeaseEvent) action() {}
func (Exhausted) action()  {}
func (Refused) action()    {}

// LeaseChange says what became of a lease.
type LeaseChange uint8

// What may become of a lease.
const (
	LeaseBound LeaseChange = iota
	LeaseRenewed
	LeaseReleased
	LeaseExpired
	LeaseDeclined
	LeaseDeleted
	LeaseImported
	LeaseConflict // somebody uses the address of another's lease, or one that is not leased
	NumLeaseChanges
)

var changeNames = [NumLeaseChanges]string{"bound", "renewed", "released", "expired", "declined", "deleted", "imported", "conflict"}

func (c LeaseChange) String() string {
	if c >= NumLeaseChanges {
		return "unknown"
	}
	return changeNames[c]
}
