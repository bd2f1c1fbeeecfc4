package dns

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// zone is a part of the tree of names that is answered here and never asked upstream.
type zone struct {
	name   string // with the last dot
	kind   zoneKind
	reason Reason // what an answer that nobody has the name, or not that type, is counted as
}

type zoneKind uint8

const (
	zoneDomain    zoneKind = iota // the router's own
	zoneReverse                   // of private addresses
	zoneNoName                    // has no names at all
	zoneNoData                    // has names, without records
	zoneLocalhost                 // every name is this host
	zoneBlocked                   // configured to be asked nowhere
)

// specialTTL is how long clients may remember, in seconds, that special names have nothing (RFC 6303 section 3).
const specialTTL = 10800

// specialZones are the names that RFC 6761, 6762, 7686, 8375 and 9462 keep off the servers of the world.
var specialZones = []zone{
	{"localhost.", zoneLocalhost, ReasonSpecialName},
	{"invalid.", zoneNoName, ReasonSpecialName},
	{"test.", zoneNoName, ReasonSpecialName},
	{"onion.", zoneNoName, ReasonSpecialName},
	{"local.", zoneNoName, ReasonSpecialName},
	{"home.arpa.", zoneNoName, ReasonSpecialName},
	{"resolver.arpa.", zoneNoData, ReasonSpecialName},
}

// reverseZones are those of private addresses, of both families (RFC 6303 section 4, RFC 7793).
func reverseZones() (names []string) {
	for _, n := range []string{"0", "10", "127", "254.169", "168.192", "2.0.192", "100.51.198", "113.0.203", "255.255.255.255"} {
		names = append(names, n+".in-addr.arpa.")
	}
	for i := 16; i < 32; i++ {
		names = append(names, fmt.Sprintf("%d.172.in-addr.arpa.", i))
	}
	for i := 64; i < 128; i++ {
		names = append(names, fmt.Sprintf("%d.100.in-addr.arpa.", i))
	}
	zeros := strings.Repeat("0.", 31)
	for _, n := range []string{"0." + zeros, "1." + zeros, "d.f.", "8.e.f.", "9.e.f.", "a.e.f.", "b.e.f.", "8.b.d.0.1.0.0.2."} {
		names = append(names, n+"ip6.arpa.")
	}
	return names
}

// place is what is known of a name and those below it.
type place struct {
	zone  *zone
	group *group
}

// wireName is a name in lower case as messages have it; false: it is none. It may lack the last dot.
func wireName(s string) (string, bool) {
	var room [maxName + 1]byte
	n, err := dns.PackDomainName(dns.Fqdn(strings.ToLower(s)), room[:], 0, nil, false)
	if err != nil || n > maxName {
		return "", false
	}
	return string(room[:n]), true
}

// textName is a name of a message as text, with the last dot.
func textName(wire string) string {
	s, _, err := dns.UnpackDomainName([]byte(wire), 0)
	if err != nil {
		return "."
	}
	return s
}

// settlePlaces builds the tree of zones and upstreams from the configuration. The more specific always wins; for one and the same
// name the router's own domain does, and what is configured goes before what is built in.
func (m *Machine) settlePlaces() {
	m.places, m.allowed, m.domain = map[string]*place{}, map[string]bool{}, ""
	for _, d := range m.cfg.RebindAllow {
		if wire, ok := wireName(d); ok {
			m.allowed[wire] = true
		}
	}
	if !m.cfg.PrivateReverse {
		for _, n := range reverseZones() {
			m.addZone(zone{n, zoneReverse, ReasonPrivateReverse})
		}
	}
	for _, z := range specialZones {
		m.addZone(z)
	}
	for _, u := range m.cfg.Upstreams {
		wire, ok := wireName(u.Domain)
		if !ok {
			continue
		}
		p := m.at(wire)
		if len(u.Servers) == 0 && len(wire) > 1 {
			p.zone, p.group = &zone{textName(wire), zoneBlocked, ReasonBlocked}, nil
			continue
		}
		if p.group == nil {
			p.group = &group{domain: wire}
		}
		m.addServers(p.group, u.Servers)
	}
	if wire, ok := wireName(m.cfg.Domain); ok && len(wire) > 1 {
		m.domain = wire
		m.addZone(zone{textName(wire), zoneDomain, ReasonLocalDomain})
	}
}

func (m *Machine) at(wire string) *place {
	p := m.places[wire]
	if p == nil {
		p = &place{}
		m.places[wire] = p
	}
	return p
}

func (m *Machine) addZone(z zone) {
	wire, _ := wireName(z.name)
	m.at(wire).zone = &z
}

// whose finds who answers for a name: a zone here, or else a group of upstream servers; neither if none is known. Upstreams that
// are configured for a domain go before zones that are built in, and before the router's own domain only where theirs lies below it.
func (m *Machine) whose(name []byte) (*zone, *group) {
	var z *zone
	for at := name; at != nil; at = parent(at) {
		p := m.places[string(at)]
		if p == nil {
			continue
		}
		if z == nil {
			z = p.zone
		}
		if z != nil && (z.kind == zoneDomain || z.kind == zoneBlocked) {
			return z, nil
		}
		if p.group != nil {
			if z != nil && len(at) == 1 {
				return z, nil
			}
			return nil, p.group
		}
	}
	return z, nil
}
