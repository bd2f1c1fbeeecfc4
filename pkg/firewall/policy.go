package firewall

import (
	"vrouterd/pkg/conntrack"
)

// Policy is a compiled configuration.
type Policy struct {
	config Config
	zones  []uint16 // number of the zone of each port; those beyond the end have none
	names  []string // of the zones by number
	logs   meter

	rules     list
	fallbacks []fallback // by pair of zones
	byDefault *counter
	pairs     []*counter
	access    []rule    // by index, for tables
	doors     [2][]list // access rules by port: of arrival, of departure
	sets      map[string]*set

	identities map[string]*identity // of the rules, by what they go on by
	equals     map[string]int       // how many rules of equal name or content there are
	pairCounts map[[2]string]*counter
	known      map[uint16]*identity // by number: of the rules, and of former ones that sessions may still name
	retired    []*identity
	lastID     uint16
}

// Zones' numbers that are always there.
const (
	zoneNone   = 0 // ports without a zone
	zoneRouter = 1
)

// fallback is what happens from one zone to another where no rule matches.
type fallback struct {
	action Action
	log    bool
	pair   int32 // -1: the default
	count  *counter
}

// Packet is what rules see: the addresses and ports that are known inside, whichever way it goes. Of an ICMP error it is the error itself,
// protocol ICMP, not the packet that it quotes.
type Packet struct {
	Key      conntrack.Key // inside addresses: source un-translated, destination translated
	In, Out  uint16        // ports; Router for the router itself
	State    State         // 0: New
	ICMPType uint8
	ICMPCode uint8
	TCPFlags uint8
	DSCP     uint8
	Length   int // octets of IP; for a super-frame, all of them
	Segment  int // octets of IP of each packet of a super-frame, which is what rules compare; 0: Length
	Count    int // packets that it stands for; 0: 1
}

// Verdict on a packet.
type Verdict struct {
	Action Action
	Rule   int    // index in Config.Rules or Config.Access; -1: no rule, the policy of a pair or the default
	Pair   int    // index in Config.Pairs where Rule is -1; -1: the default
	ID     uint16 // of the rule: a session keeps it, for it stays the same when other rules come and go; 0: no rule
	Log    bool   // this one is to be logged (within the rate limit of logs)
	Stable bool   // every packet with this key, in and out port gets the same action under this policy: it may be cached (Judge: unless it is Invalid)
}

// size is what rules compare with a length.
func (k *Packet) size() int {
	if k.Segment > 0 {
		return k.Segment
	}
	return k.Length
}

func (p *Policy) zone(port uint16) int {
	if int(port) < len(p.zones) {
		return int(p.zones[port])
	}
	return zoneNone
}

// Zone is a number that ports of one zone share; those without a zone have one as well.
func (p *Policy) Zone(port uint16) int { return p.zone(port) }

// cell is the number of a pair of zones.
func (p *Policy) cell(k *Packet) int { return p.zone(k.In)*len(p.names) + p.zone(k.Out) }

// HasAccess reports whether any access rule can apply to packets that come in by one port and leave by the other.
func (p *Policy) HasAccess(in, out uint16) bool {
	return p.door(0, in) != nil || p.door(1, out) != nil
}

// door is the access rules of a port in one direction, or nil.
func (p *Policy) door(direction int, port uint16) *list {
	if doors := p.doors[direction]; int(port) < len(doors) && len(doors[port].rules) > 0 {
		return &doors[port]
	}
	return nil
}

// Access judges every packet by the stateless rules: those of its port of arrival, then those of its port of departure. Each
// port lets pass what none of its rules matches, and a packet has to pass both: what the first accepts the second may
// still refuse. At both, rules see the inside addresses of Packet: a rule at an outside port names the inside host, not the
// address that it is known by outside.
//
// The verdict names the rule that refused the packet; of two that accepted it that of departure, unless only
// that of arrival is to be logged.
func (p *Policy) Access(now conntrack.Tick, k *Packet) Verdict {
	v := Verdict{Rule: -1, Pair: -1, Stable: true}
	for direction, port := range [2]uint16{k.In, k.Out} {
		l := p.door(direction, port)
		if l == nil {
			continue
		}
		r, lasting := l.first(now, k, 0, false)
		v.Stable = v.Stable && lasting
		if r == nil {
			continue
		}
		logged := p.matched(now, r, k)
		if logged || !v.Log || r.action != Accept {
			v.Rule, v.ID, v.Action, v.Log = int(r.index), r.id, r.action, logged
		}
		if r.action != Accept {
			break
		}
	}
	return v
}

// Stateful reports whether the policy needs sessions: it has zones, rules or pairs.
func (p *Policy) Stateful() bool {
	return len(p.config.Zones)+len(p.config.Rules)+len(p.config.Pairs) > 0
}

// Judge decides about the first packet of a session, and counts. A new packet that a forward or mapping let in is accepted
// where no rule says otherwise, for State Forwarded, and so is a Related one; a Mapped one goes by the pair's policy like any
// other. Without a pair: within one zone, to and from the router, and between ports without a zone: accept; else drop.
//
// A rule with MaxHost that accepts a packet has counted a session of the source, unless the packet is Invalid: whoever makes none in the
// end (a broadcast, no room, no port), or finds that somebody else has made it, calls [Policy.Ended] at once.
func (p *Policy) Judge(now conntrack.Tick, k *Packet) Verdict {
	cell := p.cell(k)
	r, lasting := p.first(now, k, cell, false)
	if r != nil {
		return Verdict{Action: r.action, Rule: int(r.index), Pair: -1, ID: r.id, Log: p.matched(now, r, k), Stable: lasting}
	}
	v, f := p.fallback(k, cell, lasting)
	count := p.byDefault
	if v.Pair >= 0 {
		count = f.count
		v.Log = f.log && count.log(p.logs, now)
	}
	count.count(k)
	return v
}

// Recheck decides about a session that exists, after something has changed: as Judge with State New (or as given), but it
// counts nothing, logs nothing, and takes rates and caps as not exhausted.
func (p *Policy) Recheck(now conntrack.Tick, k *Packet) Verdict {
	cell := p.cell(k)
	r, lasting := p.first(now, k, cell, true)
	if r != nil {
		return Verdict{Action: r.action, Rule: int(r.index), Pair: -1, ID: r.id, Stable: lasting}
	}
	v, _ := p.fallback(k, cell, lasting)
	return v
}

// first finds the stateful rule; a packet without a state is a new one.
func (p *Policy) first(now conntrack.Tick, k *Packet, cell int, dry bool) (*rule, bool) {
	if k.State == 0 {
		fresh := *k
		fresh.State = New
		return p.rules.first(now, &fresh, cell, dry)
	}
	return p.rules.first(now, k, cell, dry)
}

// fallback is the verdict where no rule matches.
func (p *Policy) fallback(k *Packet, cell int, lasting bool) (Verdict, *fallback) {
	f := &p.fallbacks[cell]
	if k.State&(Forwarded|Related) != 0 {
		return Verdict{Action: Accept, Rule: -1, Pair: -1, Stable: lasting && f.action == Accept}, f
	}
	return Verdict{Action: f.action, Rule: -1, Pair: int(f.pair), Stable: lasting && f.action == Accept}, f
}

// matched does what a rule does besides its action, and reports whether the packet is to be logged.
func (p *Policy) matched(now conntrack.Tick, r *rule, k *Packet) bool {
	r.count.count(k)
	if r.addTo != nil {
		r.addTo.add(now, k.Key.Src, r.of.AddFor, true)
	}
	return r.log && r.count.log(p.logs, now)
}

// Ended tells that a session of a rule is over, or was not made after all: id is Verdict.ID as Judge gave it, of this or an
// earlier policy, and k the key that Judge saw. Rules without MaxHost and numbers that nobody knows any more are ignored.
func (p *Policy) Ended(id uint16, k *conntrack.Key) {
	if i := p.known[id]; i != nil && i.quota != nil {
		i.quota.release(k.Src)
	}
}
