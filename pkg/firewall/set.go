package firewall

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// defaultMembers is how many members may be added to a set that says nothing else.
const defaultMembers = 65536

// set is a compiled set: what the configuration says, and the members that outlive it.
type set struct {
	Set
	static  []span
	learns  bool // some rule adds to it: packets change it, without anybody's knowing
	members *members
}

// has reports whether an address is a member, and whether that stays so until the set is changed by hand or by a new policy.
func (s *set) has(now conntrack.Tick, a packet.Addr) (member, stable bool) {
	if holds(s.static, uint32(a)) {
		return true, true
	}
	switch s.members.expires(now, a) {
	case 0:
		return false, !s.learns
	case never:
		return true, true
	}
	return true, false
}

// add puts an address in for a duration (0: the set's timeout).
func (s *set) add(now conntrack.Tick, a packet.Addr, d time.Duration, extend bool) bool {
	if d <= 0 {
		d = s.Timeout
	}
	expires := never
	if d > 0 {
		if ticks := (d + tickLength - 1) / tickLength; ticks < time.Duration(never-now) {
			expires = max(now+conntrack.Tick(ticks), dead+1)
		}
	}
	return s.members.add(now, a, expires, extend, s.Max)
}

const tickLength = time.Second / conntrack.TicksPerSecond

// Member is an address in a set.
type Member struct {
	Prefix  netip.Prefix
	Expires conntrack.Tick // from now; 0: never
	Dynamic bool
}

// Members of a set, at most limit of them (0: all; beyond it any may be missing): those of the configuration in its order, then
// those that were added, by address. Of a set that there is not: none.
func (p *Policy) Members(now conntrack.Tick, set string, limit int) []Member {
	s := p.sets[set]
	if s == nil {
		return nil
	}
	var all []Member
	for _, x := range s.Prefixes {
		if limit > 0 && len(all) == limit {
			return all
		}
		all = append(all, Member{Prefix: x.Masked()})
	}
	static := len(all)
	s.members.each(now, func(a packet.Addr, expires conntrack.Tick) bool {
		if limit > 0 && len(all) == limit {
			return false
		}
		m := Member{Prefix: netip.PrefixFrom(netipOf(a), 32), Dynamic: true}
		if expires != never {
			m.Expires = expires - now
		}
		all = append(all, m)
		return true
	})
	slices.SortFunc(all[static:], func(a, b Member) int {
		return cmp.Compare(addrOf(a.Prefix.Addr()), addrOf(b.Prefix.Addr()))
	})
	return all
}

// SetCount is how full a set is.
type SetCount struct {
	Name    string
	Static  int    // prefixes of the configuration
	Dynamic int    // members that were added and live
	Max     int    // that may be added
	Refused uint64 // additions that found the set full
}

// Sets in the order of the configuration.
func (p *Policy) Sets(now conntrack.Tick) []SetCount {
	all := make([]SetCount, 0, len(p.config.Sets))
	for i := range p.config.Sets {
		s := p.sets[p.config.Sets[i].Name]
		c := SetCount{Name: s.Name, Static: len(s.Prefixes), Max: s.Max, Refused: s.members.full.Load()}
		s.members.each(now, func(packet.Addr, conntrack.Tick) bool { c.Dynamic++; return true })
		all = append(all, c)
	}
	return all
}

// AddMember puts an address into a set for d (0: the set's timeout; without one it stays), whatever was left of an earlier membership.
// Sessions and cached verdicts learn of it by a new generation of the tables, which the caller makes.
func (p *Policy) AddMember(now conntrack.Tick, set string, a netip.Addr, d time.Duration) error {
	s, err := p.setFor(set, a)
	if err != nil {
		return err
	}
	if d < 0 {
		return fmt.Errorf("set %s: a membership lasts %v: give a duration above zero, or none", set, d)
	}
	if !s.add(now, addrOf(a), d, false) {
		return fmt.Errorf("set %s is full: %d addresses were added to it, as many as its max", set, s.Max)
	}
	return nil
}

// DeleteMember takes an added address out of a set again. As for AddMember, the caller makes a new generation.
func (p *Policy) DeleteMember(set string, a netip.Addr) error {
	s, err := p.setFor(set, a)
	switch {
	case err != nil:
		return err
	case s.members.remove(addrOf(a)):
		return nil
	case holds(s.static, uint32(addrOf(a))):
		return fmt.Errorf("set %s: %v is in the configuration: only there it can be taken out", set, a)
	}
	return fmt.Errorf("set %s: %v was not added to it", set, a)
}

func (p *Policy) setFor(name string, a netip.Addr) (*set, error) {
	s := p.sets[name]
	if s == nil {
		return nil, fmt.Errorf("there is no set %q in the firewall", name)
	}
	if !a.Is4() {
		return nil, fmt.Errorf("set %s: %v is not an IPv4 address", name, a)
	}
	return s, nil
}
