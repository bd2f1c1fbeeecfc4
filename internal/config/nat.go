package config

import (
	"net/netip"
	"time"
)

// NATType of a rule.
type NATType string

const (
	NATMasquerade NATType = "masquerade" // to the addresses of the port that packets leave by
	NATSource     NATType = "snat"       // to the addresses in `to`
	NATOneToOne   NATType = "one_to_one" // `inside` is `outside`, both ways
	NATNone       NATType = "none"       // matching packets are not translated
	NATCGNAT      NATType = "cgnat"      // in port blocks for each subscriber
)

// NATFiltering is who outside may use a mapping (RFC 4787 section 5).
type NATFiltering string

const (
	FilterEndpointIndependent     NATFiltering = "endpoint_independent" // the default
	FilterAddressDependent        NATFiltering = "address_dependent"
	FilterAddressAndPortDependent NATFiltering = "address_and_port_dependent"
)

// NATRule is one entry of `nat:`; the first that matches counts.
type NATRule struct {
	Out           string // a port
	Type          NATType
	Source        []netip.Prefix // empty: any
	Destination   []netip.Prefix // empty: any
	Protocol      uint8          // 0: any
	To            []netip.Addr   // NATSource, NATCGNAT: the pool, expanded; at most 65536
	Inside        netip.Addr     // NATOneToOne
	Outside       netip.Addr     // NATOneToOne
	Filtering     NATFiltering
	Ports         PortRange // of dynamic mappings; default 1024-65535
	BlockSize     int       // NATCGNAT: 64 to 32768, a power of two; default 512
	MaxBlocks     int       // NATCGNAT: blocks that a subscriber may have, 1 to 64; default 4
	Deterministic bool      // NATCGNAT: blocks follow from the address (RFC 7422)
	Name          string
	Comment       string
	Pos           Pos
}

// PortRange is a range of TCP or UDP ports, both ends included.
type PortRange struct{ Min, Max uint16 }

// Forward is one entry of `forwards:`, or half of one whose protocol is `tcp_udp`: that is two, TCP
// first, with one Pos.
type Forward struct {
	In       string // a port
	Protocol uint8  // 6 or 17
	Ports    PortRange
	Address  netip.Addr // the outside address that it answers at; zero: every address of the port
	To       netip.Addr
	ToPort   uint16 // of Ports.Min; the others follow
	Source   []netip.Prefix
	Name     string
	Comment  string
	Pos      Pos
}

// Sessions is the section `sessions:`; without it all its defaults hold.
type Sessions struct {
	Max                                     int           // 1024 to 16777216, default 1048576
	MaxPerHost                              int           // 0: no limit
	MaxHalfOpen                             int           // 1 to Max; default an eighth of Max
	UDP, ICMP, Other                        time.Duration // default 300s, 60s, 600s; at least 120s, 60s, 1s
	TCPEstablished, TCPTransitory, TCPReset time.Duration // default and least 7440s, 240s, 240s
	ShortTimeouts                           bool          // the least of each timeout is 1s: for labs and tests
	Loose                                   bool          // default true: connections from before the router's time are taken up
	Window                                  string        // liberal (default), strict, off
	Helpers                                 []string      // ftp; none by default
}

// PortMapping is the section `port_mapping:`: hosts ask for forwards by themselves.
type PortMapping struct {
	Ports       []string      // on which hosts may ask
	NATPMP, PCP bool          // default true
	UPnP        bool          // default false
	MaxLifetime time.Duration // default 24h
	MaxPerHost  int           // default 128
	Pos         Pos
}

// FirewallAction of a rule or policy.
type FirewallAction string

const (
	ActionAccept        FirewallAction = "accept"
	ActionDrop          FirewallAction = "drop"
	ActionReject        FirewallAction = "reject" // TCP: a reset; else ICMP port unreachable
	ActionRejectAdmin   FirewallAction = "reject_admin"
	ActionRejectReset   FirewallAction = "reject_reset"
	ActionRejectHost    FirewallAction = "reject_host"
	ActionRejectNetwork FirewallAction = "reject_network"
)

// RouterZone is the name of the router itself where a zone is asked for.
const RouterZone = "router"

// Firewall is the section `firewall:`. `firewall: home` is expanded: what it stands for is here.
type Firewall struct {
	Home   bool // it was `home`
	Zones  []Zone
	Sets   []AddressSet
	Rules  []FirewallRule // stateful: the first that matches a session's first packet counts
	Policy []ZonePolicy
	Access []FirewallRule // stateless: for every packet
	Pos    Pos
}

// Zone is a group of ports.
type Zone struct {
	Name    string
	Ports   []string
	Comment string
	Pos     Pos
}

// AddressSet is a named set of addresses.
type AddressSet struct {
	Name      string
	Addresses []netip.Prefix
	Timeout   time.Duration // of members that rules and users add; 0: they stay
	Max       int           // members that may be added; default 65536
	Comment   string
	Pos       Pos
}

// ZonePolicy is what happens from one zone to another where no rule matches.
type ZonePolicy struct {
	From, To string
	Action   FirewallAction
	Log      bool
	Comment  string
	Pos      Pos
}

// FirewallRule is one entry of `rules` or `access`.
type FirewallRule struct {
	Name                      string
	From, To                  string // rules: zones, RouterZone, or "" for any
	In, Out                   string // access: a port; exactly one of them
	Source, Destination       []netip.Prefix
	NotSource, NotDestination bool
	SourceSet, DestinationSet string      // name of a set, with "!" before it for any but its members
	Protocol                  uint8       // 0: any
	SourcePorts, Ports        []PortRange // Ports: of the destination
	ICMPType, ICMPCode        int         // -1: any
	TCPFlags, TCPMask         uint8       // matches where the flags under the mask are these; mask 0: any
	States                    []string    // new, invalid, forwarded, mapped, related; empty: any
	DSCP                      int         // -1: any
	LengthMin, LengthMax      int         // 0: any
	Rate                      *RuleRate
	MaxSessions               int // that one source may have by this rule; 0: no limit
	AddTo                     string
	AddFor                    time.Duration
	Action                    FirewallAction
	Log                       bool
	Comment                   string
	Pos                       Pos
}

// RuleRate is how often a rule matches: `10/s`, `5/m burst 20`, `over 100/s per source`.
type RuleRate struct {
	Packets   int           // 1 to 10000000
	Per       time.Duration // 1s, 1m or 1h
	Burst     int           // 1 to 10000000; default: Packets
	Over      bool          // match beyond the rate, not within
	PerSource bool
}
