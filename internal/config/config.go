package config

import (
	"net/netip"
	"time"

	"vrouterd/internal/packet"
)

// Config is a whole, validated configuration: every default is filled in, every
// reference resolves, no two things clash. It is immutable once Parse has returned it.
type Config struct {
	Name       string // instance; the socket is /run/vrouterd/<name>.sock
	Ports      []Port // in the order of the file
	Routes     []Route
	Neighbors  []Neighbor
	ICMP       ICMP
	Forwarding Forwarding
	ARP        ARP
	Control    Control
	RIP        *RIP // nil: the section is absent, and no RIP is spoken

	NAT         []NATRule // in the order of the file
	Forwards    []Forward
	Sessions    Sessions
	PortMapping *PortMapping // nil: hosts cannot ask for mappings
	Firewall    *Firewall    // nil: the section is absent, and everything is forwarded (see docs/nat.md for `nat` alone)

	DHCP *DHCP // nil: the section is absent, and nobody is served
	DNS  *DNS  // nil: the section is absent, and nothing is answered
}

// Kind of a port's device.
type Kind string

const (
	TAP Kind = "tap"
	TUN Kind = "tun"
)

// ReversePath is a port's check of source addresses (RFC 3704).
type ReversePath string

const (
	ReversePathOff    ReversePath = "off"
	ReversePathStrict ReversePath = "strict" // the source must be routed through the arrival port
	ReversePathLoose  ReversePath = "loose"  // the source must be routed through any port
)

// Port is one attachment of the router.
type Port struct {
	Name        string
	Kind        Kind
	Netns       string         // namespace of the kernel end: name, absolute path, or "" for the daemon's own
	Device      string         // name of the kernel end; default: Name
	Address     []netip.Prefix // the router's own: address with prefix length, not masked
	DHCP        *DHCPClient    // `address: dhcp`; nil: the addresses are those above
	Peer        netip.Addr     // unused for now: reserved
	MAC         packet.MAC     // the router's; zero for tun
	MTU         int            // 68 to 9216, default 1500
	Offload     bool           // auto: true, off: false
	ProxyARP    []netip.Prefix // masked
	Bridge      *Bridge
	Host        *Host
	Enabled     bool        // default true; `vrctl port down` makes it false
	MSSClamp    int         // 0: off; -1: auto, from the egress MTU; else the largest MSS in octets (RFC 4459 section 3.2)
	ReversePath ReversePath // default off
	LeakGuard   bool        // packets to RFC 1918 destinations never leave here
	Redirects   bool        // send ICMP redirects for packets that leave where they came in; default true
	Comment     string
	Pos         Pos
}

// Bridge is the Linux bridge that the kernel end is plugged into.
type Bridge struct {
	Name    string
	Members []string // devices moved into the bridge for as long as the router runs
}

// Host configures the kernel end as a lab host.
type Host struct {
	Address []netip.Prefix
	Gateway netip.Addr // zero: none
}

// RouteType of a static route.
type RouteType string

const (
	Unicast     RouteType = "unicast"
	Blackhole   RouteType = "blackhole"
	Unreachable RouteType = "unreachable"
	Prohibit    RouteType = "prohibit"
)

// Route is one static route.
type Route struct {
	To       netip.Prefix // masked
	Via      []netip.Addr // one, or several of equal cost; empty: on-link through Port, or a Type without one
	Port     string       // may stand with or without Via
	Type     RouteType
	Distance int // 1 to 255, default 1; 255: never used
	Metric   int // default 0
	Tag      int
	Name     string
	Comment  string
	Pos      Pos
}

// Neighbor is one permanent neighbour.
type Neighbor struct {
	Port    string
	Address netip.Addr
	MAC     packet.MAC
	Name    string
	Comment string
	Pos     Pos
}

// ICMP limits the errors that the router sends (RFC 1812 section 4.3.2.8).
type ICMP struct {
	Rate           int // errors a second in all; default 1000; 0: no limit
	PerDestination int // errors a second to one address; default 10; 0: no limit
}

// Forwarding holds the router-wide choices of IPv4 forwarding.
type Forwarding struct {
	ClassE      bool // forward 240.0.0.0/4; default false: a martian
	SourceRoute bool // honour LSRR and SSRR options; default false: dropped (RFC 7126 section 4.3)
}

// ARP holds the neighbour timers; defaults are those of Linux.
type ARP struct {
	Reachable time.Duration // base of the 0.5-1.5 random factor; default 30s
	MaxCache  int           // neighbours in all; default 16384
	Probe     bool          // ask whether an address is taken before using it (RFC 5227 section 2.1); default false
}

// Control says who may do what on the socket.
type Control struct {
	ReadOnly string // "group" (default): root and the group only; "all": anyone may read
}

// Pos is a place in the configuration's source.
type Pos struct {
	Line, Column int
}
