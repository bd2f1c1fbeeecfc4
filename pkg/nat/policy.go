package nat

import (
	"net/netip"

	"vrouterd/internal/packet"
)

// Type of a rule.
type Type uint8

// The types.
const (
	Masquerade    Type = iota // to the addresses of the port that the packet leaves by
	SNAT                      // to addresses of a pool
	OneToOne                  // one inside address for one outside address, both ways, ports untouched
	Exempt                    // not translated ("none" in the configuration)
	CarrierGrade              // port blocks for each subscriber
	Deterministic             // carrier grade, blocks by computation, no state and no log needed (RFC 7422)
)

// Filtering is who outside may use a mapping (RFC 4787 section 5).
type Filtering uint8

// The kinds of filtering.
const (
	EndpointIndependent Filtering = iota
	AddressDependent
	AddressAndPortDependent
)

// Rule is one entry of `nat:`; the first that matches a packet counts.
type Rule struct {
	Out                 uint16 // number of the port by which packets leave
	Type                Type
	Protocol            uint8          // 0: any
	Source, Destination []netip.Prefix // empty: any; inside (un-translated) source, translated destination
	Outside             []packet.Addr  // resolved: the addresses of the port, or of the pool. Empty: new sessions are refused (ReasonNoAddress)
	Inside              packet.Addr    // OneToOne
	Filtering           Filtering
	PortMin, PortMax    uint16 // range of dynamic ports; 0: 1024 to 65535
	BlockSize           int    // CarrierGrade, Deterministic: ports in a block; a power of two from 64 to 32768
	MaxBlocks           int    // CarrierGrade: blocks that a subscriber may have; 1 to 64
}

// Forward is one entry of `forwards:`.
type Forward struct {
	In               uint16         // number of the outside port
	Protocol         uint8          // TCP, UDP
	PortMin, PortMax uint16         // as packets from outside name them
	Outside          []packet.Addr  // resolved: the addresses at which it answers
	Source           []netip.Prefix // who may use it; empty: anybody
	To               packet.Addr
	ToPort           uint16 // of PortMin; the others follow
}

// Policy is what the configuration says about NAT. It is immutable.
type Policy struct{}

// NewPolicy compiles rules and forwards (validated by package config). own are all addresses of the router.
func NewPolicy(rules []Rule, forwards []Forward, own []packet.Addr) *Policy { panic("not written yet") }

// Outside reports whether a port is the outside of some rule (its `out`).
func (p *Policy) Outside(port uint16) bool { panic("not written yet") }

// Translated reports whether an address is one that rules translate to.
func (p *Policy) Translated(a packet.Addr) bool { panic("not written yet") }
