package dataplane

import (
	"net/netip"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dataplane/fib"
)

// PortID numbers a port from 1; 0 stands for the router itself.
type PortID uint16

// MaxPorts bounds the port numbers.
const MaxPorts = 4096

// Tables is everything but the FIB that a packet is decided by. A snapshot is
// immutable once published.
type Tables struct {
	Ports       []Port      // by PortID; the zero Port where there is none
	Adjacencies []Adjacency // by fib.Value; number 0 means "no route"
	Members     []fib.Value // members of multipath adjacencies, each a run of it
	ClassE      bool        // forward 240.0.0.0/4
	SourceRoute bool        // honour source routes
	Taps        *Taps       // captures under way; nil for none
	Stateful    *Stateful   // sessions, NAT and firewall; nil for none
}

// ReversePath is the check of a packet's source against the FIB (RFC 3704).
type ReversePath uint8

// The modes of the check.
const (
	ReversePathOff ReversePath = iota
	ReversePathStrict
	ReversePathLoose
)

// Port is what a packet needs to know of a port.
type Port struct {
	Name        string
	Attachment  *Attachment // where to read and write; nil while the device is missing
	Down        bool        // nothing is sent, and what arrives is dropped
	Ethernet    bool        // frames have an Ethernet header
	MAC         packet.MAC  // the router's own
	MTU         int         // the largest IP packet
	Address     packet.Addr // the first address, for options and ICMP errors; 0 when there is none
	Prefixes    []netip.Prefix
	ReversePath ReversePath
	LeakGuard   bool // no packet to an RFC 1918 destination leaves here
	Redirects   bool // tell sources of a better first hop
	DHCPClient  bool // answers of DHCP to MAC are the router's, whatever their destination
	MSSClamp    int  // 0: off; -1: from the MTU; else octets
}

// Kind of an adjacency.
type Kind uint8

// What may happen to a packet.
const (
	None        Kind = iota // no route
	Local                   // addressed to the router
	BroadcastTo             // the broadcast (or network) address of Port's subnet
	Glean                   // on Port's wire, station unknown: resolve the destination
	Incomplete              // the next hop is known, its link-layer address is not
	Rewrite                 // put Header before the packet and send it
	Multipath               // choose one of Members by flow
	Blackhole               // drop in silence
	Unreachable             // drop, host unreachable
	Prohibit                // drop, administratively prohibited
)

var kindNames = [...]string{"none", "local", "broadcast", "glean", "resolve", "forward", "multipath", "blackhole", "unreachable", "prohibit"}

func (k Kind) String() string { return kindNames[k] }

// Adjacency is where a route leads: a rewrite towards an attached next hop, or
// what else is to be done. It holds no pointer, so that a table of a hundred thousand is
// nothing to the collector.
type Adjacency struct {
	Kind    Kind
	Watched bool   // report the next packet (PuntUsed): the neighbour is stale
	Port    PortID // where it leads
	Count   uint16 // Multipath: how many members
	First   uint32 // Multipath: where they begin in Tables.Members
	NextHop packet.Addr
	Header  [packet.EthernetLen]byte // Rewrite: the link-layer header, for an Ethernet port
}
