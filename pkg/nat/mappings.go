package nat

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// Config of the mappings.
type Config struct {
	Max        int    // mappings in all; default 1,048,576
	MaxPerHost int    // explicit mappings that one inside address may have; default 128
	Seed       uint64 // of the choice of ports: equal seeds and packets give equal ports
}

// Mappings is the mutable side of NAT. Its methods may be called from any goroutine.
type Mappings struct{}

// NewMappings makes an empty one.
func NewMappings(c Config) *Mappings { panic("not written yet") }

// Kind of an inbound decision.
type Kind uint8

// What a packet's destination can be to NAT.
const (
	NotOurs   Kind = iota // no address that NAT has to do with: the packet goes its way
	Unclaimed             // one of the outside addresses, and nobody has the port: for the router itself, if it listens
	ToForward             // a forward, or an explicit mapping (NAT-PMP, PCP, UPnP, a helper), or 1:1
	ToMapping             // a dynamic mapping whose filtering lets the sender in
	Filtered              // a dynamic mapping whose filtering does not
)

// Target is where an inbound packet is to go.
type Target struct {
	Kind   Kind
	Addr   packet.Addr // the new destination
	Port   uint16
	Rule   int    // index of the forward (for ToForward; -1 for an explicit mapping) or of the rule
	Mapped bool   // the session will hold a reference to a mapping, which Inbound has taken: Release gives it back
	From   uint16 // the outside port of forward or rule: when the packet came in by another port, this is a hairpin
	Rules  int    // index of the rule whose translation the source of a hairpin gets; -1: none
	Helper bool   // mapping of a helper: the session is related to another
}

// Inbound finds whom a new packet means that arrived by port in (0: from the router itself).
func (m *Mappings) Inbound(p *Policy, now conntrack.Tick, in uint16, k *conntrack.Key) Target {
	panic("not written yet")
}

// Source is what a packet's source becomes.
type Source struct {
	Changed bool
	Addr    packet.Addr
	Port    uint16
	Rule    int  // index of the rule, -1: none matched
	Mapped  bool // the session will hold a reference to a mapping, which Outbound has taken
}

// Outbound chooses the source of a new session that leaves by port out. k is its key with the inside source and
// the destination that Inbound made of it. hairpin is Target.Rules of a hairpin, else -1. reply is asked whether
// replies with a key would clash with another session (for protocols without ports).
func (m *Mappings) Outbound(p *Policy, now conntrack.Tick, out uint16, hairpin int, k *conntrack.Key) (Source, Reason) {
	panic("not written yet")
}

// Preview is Outbound without taking anything: what would be chosen, for explain.
func (m *Mappings) Preview(p *Policy, now conntrack.Tick, out uint16, hairpin int, k *conntrack.Key) (Source, Reason) {
	panic("not written yet")
}

// Release gives back the reference that a session held: the Ended of the session table. original and reply are its keys.
// The last one removes a dynamic mapping.
func (m *Mappings) Release(now conntrack.Tick, original, reply conntrack.Key) {
	panic("not written yet")
}

// Refresh tells that inside has used a mapping: it lives on for at least the session's timeout
// (RFC 4787 REQ-6). Sessions that outside opened do not refresh.

// Explicit is a mapping that somebody asked for by name: NAT-PMP, PCP, UPnP IGD, a helper.
type Explicit struct {
	Protocol    uint8
	Inside      packet.Addr
	InsidePort  uint16
	Outside     packet.Addr
	OutsidePort uint16
	Remote      packet.Addr    // only this one may use it; 0: anybody
	Expires     conntrack.Tick // when it ends unless renewed; 0: never
	By          By
	Owner       string // description or nonce of who asked; for tables
}

// By is who made a mapping.
type By uint8

// The makers.
const (
	ByTraffic By = iota // dynamic
	ByNATPMP
	ByPCP
	ByUPnP
	ByHelper
)

// Add makes or renews an explicit mapping on the outside of a rule that leaves by port out (0: the first rule that matches the
// inside address). OutsidePort 0, or one that is taken, is replaced by a free one unless exact. It returns what was made.
func (m *Mappings) Add(p *Policy, now conntrack.Tick, out uint16, e Explicit, exact bool) (Explicit, Reason) {
	panic("not written yet")
}

// Delete ends an explicit mapping (live sessions over it end by the caller's hand).
func (m *Mappings) Delete(now conntrack.Tick, protocol uint8, inside packet.Addr, insidePort uint16) bool {
	panic("not written yet")
}

// Expire removes explicit mappings whose time is over and says when it wants to be called next (0: never).
func (m *Mappings) Expire(now conntrack.Tick) (ended []Explicit, next conntrack.Tick) {
	panic("not written yet")
}

// Row is a mapping as tables show it.
type Row struct {
	Explicit
	Rule     int
	Sessions int // live over it
}

// Page copies mappings from the cursor on, in a stable order, as conntrack.Table.Page does.
func (m *Mappings) Page(now conntrack.Tick, cursor uint64, limit int, match func(*Row) bool) (page []Row, next uint64) {
	panic("not written yet")
}

// Block is a block of ports that a subscriber got or gave back (RFC 6888 REQ-14), for the log.
type Block struct {
	At               conntrack.Tick
	Subscriber       packet.Addr
	Outside          packet.Addr
	PortMin, PortMax uint16
	Freed            bool
}

// Blocks takes the log of blocks since the last call, oldest first, and how many lines were lost because nobody took them.
func (m *Mappings) Blocks() (log []Block, lost uint64) { panic("not written yet") }

// Counts of the mappings.
type Counts struct {
	Mappings, Explicit, Blocks int
	Refused                    [NumReasons]uint64
}

// Counts now.
func (m *Mappings) Counts() Counts { panic("not written yet") }

// Reason why NAT refuses a new session.
type Reason uint8

// The reasons.
const (
	ReasonNone       Reason = iota
	ReasonNoAddress         // the outside port has no address now
	ReasonNoPorts           // all outside ports of the address are taken
	ReasonNoBlocks          // the subscriber has its blocks, or there are none left
	ReasonMappings          // as many mappings as there may be
	ReasonTaken             // that outside port is somebody else's (Add with exact)
	ReasonNotAllowed        // no rule would translate this inside address (Add)
	ReasonHostLimit         // as many explicit mappings as one host may have

	NumReasons
)

// String is the name in snake_case.
func (r Reason) String() string { panic("not written yet") }

// Description is one sentence for the operator.
func (r Reason) Description() string { panic("not written yet") }
