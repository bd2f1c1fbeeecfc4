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

// Policy is what the configuration says about NAT. It is immutable, and may be read from any goroutine.
type Policy struct {
	rules    []rule
	forwards []forward
	many     bool          // more than one port is outside of rules
	ports    []*classifier // by number of the port of departure; nil: no rule
	addrs    map[packet.Addr]*address
	byID     map[uint64]int         // the first rule with an identity
	toward   map[endpointHost][]int // forwards to an inside host, in order
	made     made
}

// NewPolicy compiles rules and forwards (validated by package config). own are all addresses of the router.
func NewPolicy(rules []Rule, forwards []Forward, own []packet.Addr) *Policy {
	p := &Policy{
		addrs:  map[packet.Addr]*address{},
		byID:   map[uint64]int{},
		toward: map[endpointHost][]int{},
	}
	for i := range rules {
		p.rules = append(p.rules, compileRule(rules[i]))
		if _, known := p.byID[p.rules[i].id]; !known {
			p.byID[p.rules[i].id] = i
		}
	}
	p.ports = classify(p.rules)
	for i := range p.rules {
		p.many = p.many || p.rules[i].Out != p.rules[0].Out
	}
	for i := range p.rules {
		p.claim(i)
	}
	for i := range forwards {
		p.forwards = append(p.forwards, compileForward(forwards[i]))
		f := &p.forwards[i]
		host := endpointHost{f.Protocol, f.To}
		p.toward[host] = append(p.toward[host], i)
		for _, a := range f.Outside {
			at := p.at(a)
			at.forwards = append(at.forwards, i)
		}
	}
	p.indexForwards()
	for _, a := range own {
		if at := p.addrs[a]; at != nil {
			at.own = true
		}
	}
	p.Continue(nil)
	return p
}

// claim notes the outside addresses of a rule.
func (p *Policy) claim(index int) {
	r := &p.rules[index]
	if r.Type == Exempt {
		return
	}
	for _, a := range r.Outside {
		at := p.at(a)
		if r.Type != OneToOne {
			at.shared = true
		} else if at.oneToOne < 0 {
			at.oneToOne = index
		}
	}
}

// at is what is known of an outside address, made when it is not known yet.
func (p *Policy) at(a packet.Addr) *address {
	at := p.addrs[a]
	if at == nil {
		at = &address{oneToOne: -1}
		p.addrs[a] = at
	}
	return at
}

// Outside reports whether a port is the outside of some rule (its `out`).
func (p *Policy) Outside(port uint16) bool {
	return int(port) < len(p.ports) && p.ports[port] != nil
}

// Translated reports whether an address is one that rules translate to.
func (p *Policy) Translated(a packet.Addr) bool {
	at := p.addrs[a]
	return at != nil && (at.shared || at.oneToOne >= 0)
}

// ownOutside reports whether an address is the router's own, and inside hosts share its ports.
func (p *Policy) ownOutside(a packet.Addr) bool {
	at := p.addrs[a]
	return at != nil && at.own && at.shared
}

// Match is the index of the rule that a packet meets which leaves by port out; -1: none.
func (p *Policy) Match(out uint16, protocol uint8, src, dst packet.Addr) int {
	if !p.Outside(out) {
		return -1
	}
	return p.ports[out].match(protocol, src, dst)
}

// Rules is how many rules there are, Forwards how many forwards.
func (p *Policy) Rules() int { return len(p.rules) }

// Forwards is how many forwards there are.
func (p *Policy) Forwards() int { return len(p.forwards) }
