package firewall

import (
	"net/netip"
	"time"
)

// RouterZone is the name of the router itself where a zone is asked for.
const RouterZone = "router"

// Router is the number of the router itself where a zone's port is asked for.
const Router uint16 = 0

// MaxRules is how many stateful and access rules a policy may have together: sessions name theirs by 16 bits.
const MaxRules = 60000

// Match is what a rule asks of a packet. Where a field says "any" that value matches everything, as do
// empty lists and names; [Any] is the match with all of them. Ports are those of TCP, UDP, DCCP, SCTP and UDP-Lite: a rule with
// ports never matches a packet of another protocol (an ICMP identifier is no port).
type Match struct {
	Source, Destination       []netip.Prefix // inside addresses; any of them
	NotSource, NotDestination bool           // any but them
	SourceSet, DestinationSet string         // name of a set; "!name" for any but its members
	Protocol                  uint8          // 0: any
	SourcePorts, DestPorts    []PortRange
	ICMPType, ICMPCode        int // -1: any
	TCPFlags, TCPMask         uint8
	States                    State // 0: any; for a stateful rule that accepts: any but Invalid
	DSCP                      int   // -1: any
	LengthMin, LengthMax      int   // octets of IP; 0: any
}

// Any is the match that every packet meets.
func Any() Match { return Match{ICMPType: -1, ICMPCode: -1, DSCP: -1} }

// PortRange is a range of ports, both ends included.
type PortRange struct{ Min, Max uint16 }

// Rate is a token bucket: Packets each Per, and Burst at once (0: Packets). Time comes in ticks of a tenth of a second, so a
// bucket always has room for what one tick brings, however small its burst.
type Rate struct {
	Packets int
	Per     time.Duration
	Burst   int
	PerHost bool // a bucket for each source
}

// Rule is a stateful rule between zones, or a stateless access rule.
type Rule struct {
	Name     string
	Line     int    // of the configuration
	From, To string // zones; "" any; "router" the router itself. Stateful rules only
	In, Out  uint16 // ports; 0: any. Access rules only: exactly one of them is set
	Match    Match
	Rate     *Rate // matches only within it (with Over: only beyond it)
	Over     bool
	MaxHost  int           // sessions that one source may have by this rule; beyond it does not match; 0: no limit. Stateful rules only
	AddTo    string        // set into which the source is put when it matches
	AddFor   time.Duration // for how long; 0: the set's timeout
	Action   Action
	Log      bool
}

// Zone is a group of ports.
type Zone struct {
	Name  string
	Ports []uint16
	Line  int
}

// Pair is the policy from one zone to another, for what no rule has matched.
type Pair struct {
	From, To string // "router" stands for the router itself
	Action   Action
	Log      bool
	Line     int
}

// Set is a named set of addresses.
type Set struct {
	Name     string
	Prefixes []netip.Prefix
	Timeout  time.Duration // of members that rules and users add; 0: they stay
	Max      int           // members that may be added; 0: 65536
	Line     int
}

// Config of a policy; validated by package config. What it gets wrong nevertheless [Compile] refuses.
type Config struct {
	Zones  []Zone
	Rules  []Rule // the first that matches counts
	Pairs  []Pair
	Access []Rule
	Sets   []Set
}
