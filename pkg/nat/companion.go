package nat

import "vrouterd/pkg/conntrack"

// maxMoves is how many ports are tried for one whose companion is no other host's: each costs a lock, and hosts may ask
// often.
const maxMoves = 512

// moveFromCompanion gives a mapping that was just made for NAT-PMP another outside port, if the same port of the other protocol is
// another host's: a host is to have both or none (RFC 6886 section 3.3).
//
// It comes behind the choice of a port, not within it: there the asker's shard is locked, and the companion may be in any.
func (m *Mappings) moveFromCompanion(p *Policy, now conntrack.Tick, out uint16, made, e Explicit) (Explicit, Reason) {
	if m.companionFits(p, &made, made.OutsidePort) {
		return made, ReasonNone
	}
	if _, was := m.DeleteAt(now, made.Protocol, made.Outside, made.OutsidePort); !was {
		return made, ReasonNone // a 1:1 host has every port by itself
	}
	r := &p.rules[p.ruleFor(out, e.Protocol, e.Inside)]
	lo, hi := max(int(r.lo), 1024), int(r.hi)
	if r.blocks() {
		lo, hi = 1024, 65535 // add knows which of them are the subscriber's
	}
	n := hi - lo + 1
	next := max(int(made.OutsidePort)+1-lo, 0) // from the port behind on: in the same block, or near by
	e.Outside = made.Outside
	for i, moves := 0, 0; i < n && moves < maxMoves; i++ {
		e.OutsidePort = uint16(lo + (next+i)%n)
		if e.OutsidePort == made.OutsidePort || !m.companionFits(p, &made, e.OutsidePort) {
			continue
		}
		moves++
		if moved, reason := m.add(p, now, out, e, true); reason != ReasonTaken {
			return moved, reason
		}
	}
	return e, ReasonNoPorts
}

// companionFits reports whether the port of the other protocol is no other host's: neither by a forward nor by a mapping
// that somebody asked for.
func (m *Mappings) companionFits(p *Policy, of *Explicit, port uint16) bool {
	other := uint8(protocolTCP)
	if of.Protocol == protocolTCP {
		other = protocolUDP
	}
	if at := p.addrs[of.Outside]; at != nil {
		for _, i := range at.ports[classMust(other)].at(port) {
			if p.forwards[i].To != of.Inside {
				return false
			}
		}
	}
	x, explicit := m.ExplicitAt(other, of.Outside, port)
	return !explicit || x.Inside == of.Inside
}
