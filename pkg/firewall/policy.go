package firewall

import (
	"net/netip"
	"time"

	"vrouterd/pkg/conntrack"
)

// Action of a rule.
type Action uint8

// The actions.
const (
	Accept Action = iota
	Drop
	Reject        // TCP: reset; else ICMP port unreachable
	RejectAdmin   // ICMP administratively prohibited
	RejectReset   // TCP reset; other protocols as Reject
	RejectHost    // ICMP host unreachable
	RejectNetwork // ICMP network unreachable
)

// State of a packet with regard to sessions, as rules match it.
type State uint8

// The states, as bits.
const (
	New         State = 1 << iota
	Invalid           // belongs to no session and can open none
	Forwarded         // new, and let in by a forward, 1:1 or an explicit mapping
	Mapped            // new, and let in by the filtering of a dynamic mapping
	Related           // an ICMP error about a session, or a session that a helper foresaw
	Established       // only access rules and tables meet it: sessions are judged once
)

// Router is the number of the router itself where a zone's port is asked for.
const Router uint16 = 0

// Match is what a rule asks of a packet; zero fields match everything.
type Match struct {
	Source, Destination       []netip.Prefix // inside addresses; any of them
	NotSource, NotDestination bool           // any but them
	SourceSet, DestinationSet string         // name of a set; "!name" for any but its members
	Protocol                  uint8          // 0: any
	SourcePorts, DestPorts    []PortRange
	ICMPType, ICMPCode        int // -1: any
	TCPFlags, TCPMask         uint8
	States                    State // 0: any
	DSCP                      int   // -1: any
	LengthMin, LengthMax      int   // octets of IP; 0: any
}

// PortRange is a range of ports, both ends included.
type PortRange struct{ Min, Max uint16 }

// Rate is a token bucket: Packets each Per, and Burst at once.
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
	MaxHost  int           // sessions that one source may have by this rule; beyond it does not match; 0: no limit
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

// Config of a policy; validated by package config.
type Config struct {
	Zones  []Zone
	Rules  []Rule // the first that matches counts
	Pairs  []Pair
	Access []Rule
	Sets   []Set
}

// Policy is a compiled configuration.
type Policy struct{}

// Compile makes a policy. Counters, members of dynamic sets and buckets of what before (nil: nothing) has as well, by name or
// by equal content, go on.
func Compile(c Config, before *Policy) (*Policy, error) { panic("not written yet") }

// Packet is what rules see.
type Packet struct {
	Key      conntrack.Key // inside addresses: source un-translated, destination translated
	In, Out  uint16        // ports; Router for the router itself
	State    State
	ICMPType uint8
	ICMPCode uint8
	TCPFlags uint8
	DSCP     uint8
	Length   int
	Count    int // packets that it stands for
}

// Verdict on a packet.
type Verdict struct {
	Action Action
	Rule   int  // index in Config.Rules or Config.Access; -1: no rule, the policy of a pair or the default
	Pair   int  // index in Config.Pairs where Rule is -1; -1: the default
	Log    bool // this one is to be logged (within the rate limit of logs)
	Stable bool // every packet with this key, in and out port gets the same verdict under this policy: it may be cached
}

// Judge decides about the first packet of a session, and counts. A new packet that a forward or mapping let in is accepted
// where no rule says otherwise, for State Forwarded; a Mapped one goes by the pair's policy like any other. Without a pair:
// within one zone, to and from the router, and between ports without a zone: accept; else drop.
func (p *Policy) Judge(now conntrack.Tick, k *Packet) Verdict { panic("not written yet") }

// Recheck decides about a session that exists, after something has changed: as Judge with State New (or as given), but it
// counts nothing, logs nothing, and takes rates and caps as not exhausted.
func (p *Policy) Recheck(now conntrack.Tick, k *Packet) Verdict { panic("not written yet") }

// HasAccess reports whether any access rule can apply to packets that come in by one port and leave by the other.
func (p *Policy) HasAccess(in, out uint16) bool { panic("not written yet") }

// Access judges every packet by the stateless rules: those of its port of arrival, then those of its port of departure.
func (p *Policy) Access(now conntrack.Tick, k *Packet) Verdict { panic("not written yet") }

// Stateful reports whether the policy needs sessions: it has zones, rules or pairs.
func (p *Policy) Stateful() bool { panic("not written yet") }

// Ended tells that a session which Judge let in by a rule with MaxHost is over.
func (p *Policy) Ended(rule int, k *conntrack.Key) { panic("not written yet") }

// Step is one line of an explanation.
type Step struct {
	Rule, Pair int // as in Verdict
	Matched    bool
	Text       string // why it matched, or which condition failed: a sentence
}

// Explain is Recheck with its reasons, rule by rule, up to the one that decides. access: the stateless rules.
func (p *Policy) Explain(now conntrack.Tick, k *Packet, access bool) ([]Step, Verdict) {
	panic("not written yet")
}

// RuleCount is what a rule has matched.
type RuleCount struct{ Packets, Bytes uint64 }

// Counts of the rules, of the access rules, of the pairs (by index), and of the defaults.
func (p *Policy) Counts() (rules, access, pairs []RuleCount, byDefault RuleCount) {
	panic("not written yet")
}

// Member is an address in a set.
type Member struct {
	Prefix  netip.Prefix
	Expires conntrack.Tick // from now; 0: never
	Dynamic bool
}

// Members of a set, at most limit of them.
func (p *Policy) Members(now conntrack.Tick, set string, limit int) []Member {
	panic("not written yet")
}

// AddMember and DeleteMember change a set live.
func (p *Policy) AddMember(now conntrack.Tick, set string, a netip.Addr, d time.Duration) error {
	panic("not written yet")
}

// DeleteMember takes an added address out of a set again.
func (p *Policy) DeleteMember(set string, a netip.Addr) error { panic("not written yet") }
