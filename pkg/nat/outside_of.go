package nat

import (
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// OutsideOf is the outside address that an explicit mapping of an inside host would get now; false: no rule translates it, or
// the outside has no address.
func (m *Mappings) OutsideOf(p *Policy, now conntrack.Tick, inside packet.Addr) (packet.Addr, bool) {
	index := p.ruleFor(0, protocolTCP, inside)
	if index < 0 || len(p.rules[index].Outside) == 0 {
		return 0, false
	}
	r := &p.rules[index]
	if r.Type == OneToOne {
		return r.Outside[0], true
	}
	class, _ := classOf(protocolTCP)
	sh, _ := m.shard(inside)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a, reason := m.pair(sh, r, now, inside, class, asking{})
	return a, reason == ReasonNone
}
