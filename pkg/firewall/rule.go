package firewall

import (
	"math/bits"
	"sync/atomic"

	"vrouterd/pkg/conntrack"
)

// Protocols that rules know more of than the number.
const (
	protocolICMP    = 1
	protocolTCP     = 6
	protocolUDP     = 17
	protocolDCCP    = 33
	protocolSCTP    = 132
	protocolUDPLite = 136
)

// counter is what a rule, pair or default has done. It goes on when the configuration changes.
type counter struct {
	packets, bytes atomic.Uint64
	logs           bucket
	silenced       atomic.Uint64 // logs beyond the limit
}

func (c *counter) count(k *Packet) {
	c.packets.Add(uint64(max(k.Count, 1)))
	c.bytes.Add(uint64(max(k.Length, 0)))
}

// log reports whether one more may be logged.
func (c *counter) log(m meter, now conntrack.Tick) bool {
	if c.logs.take(m, now, 1) {
		return true
	}
	c.silenced.Add(1)
	return false
}

// rule is a compiled rule: what the classifier has not decided, and what the rule does.
type rule struct {
	simple bool // the classifier has decided everything
	opens  bool // it lets sessions in: what is invalid does not meet it
	action Action
	log    bool
	id     uint16
	index  int32
	count  *counter

	sourceNot, destNot bool // asks for no member of the set
	source, dest       *set

	// What another packet of the same key may have differently.
	changing             bool // any of what follows
	flags, mask          uint8
	states               State
	icmpType, icmpCode   int16 // -1: any
	dscp                 int16 // -1: any
	lengthMin, lengthMax int32 // 0: any
	over                 bool
	limiter              *limiter
	meter                meter
	quota                *quota
	maxHost              int
	addTo                *set

	of *Rule
}

// match decides about a packet whose key and zones meet the rule. With dry, rates and quotas count as not exhausted, and
// nothing is spent. lasting is false when another packet of the same key, or the same one later, may
// fare otherwise by this rule.
func (r *rule) match(now conntrack.Tick, k *Packet, dry bool) (matched, lasting bool) {
	if r.opens && k.State == Invalid {
		return false, false
	}
	if r.simple {
		return true, true
	}
	member, settled := r.inSets(now, k)
	if !member {
		return false, settled
	}
	lasting = settled && !r.changing
	if r.mask != 0 && k.TCPFlags&r.mask != r.flags ||
		r.states != 0 && k.State&r.states == 0 ||
		r.icmpType >= 0 && k.ICMPType != uint8(r.icmpType) ||
		r.icmpCode >= 0 && k.ICMPCode != uint8(r.icmpCode) ||
		r.dscp >= 0 && k.DSCP != uint8(r.dscp) ||
		r.lengthMin > 0 && k.size() < int(r.lengthMin) ||
		r.lengthMax > 0 && k.size() > int(r.lengthMax) {
		return false, lasting
	}
	if dry {
		return !(r.limiter != nil && r.over), lasting
	}
	counts := r.quota != nil && k.State != Invalid // what is invalid makes no session
	if counts && !r.quota.acquire(k.Key.Src, r.maxHost) {
		return false, lasting
	}
	if r.limiter != nil && r.limiter.take(r.meter, now, k.Key.Src, max(k.Count, 1)) == r.over {
		if counts {
			r.quota.release(k.Key.Src) // it was counted for a session that this rule does not let in
		}
		return false, lasting
	}
	return true, lasting
}

// inSets reports whether both addresses are in their sets, or not in them, as the rule asks; and whether that is settled as
// long as nobody changes a set by hand. One settled refusal is enough for that.
func (r *rule) inSets(now conntrack.Tick, k *Packet) (match, settled bool) {
	match, settled = true, true
	if r.source != nil {
		member, lasting := r.source.has(now, k.Key.Src)
		match, settled = member != r.sourceNot, lasting
		if !match && lasting {
			return false, true
		}
	}
	if r.dest != nil {
		member, lasting := r.dest.has(now, k.Key.Dst)
		if member == r.destNot {
			return false, lasting
		}
		settled = settled && lasting
	}
	return match, settled
}

// list is rules in their order, and how to find those that a key meets.
type list struct {
	rules      []rule
	classifier *classifier
}

// first is the first rule that a packet matches, or nil. lasting: every packet of the same key fares so.
func (l *list) first(now conntrack.Tick, k *Packet, cell int, dry bool) (r *rule, lasting bool) {
	lasting = true
	c := l.classifier
	if c == nil {
		return nil, true
	}
	var rows lanes
	c.find(&rows, uint32(k.Key.Src), uint32(k.Key.Dst), k.Key.SrcPort, k.Key.DstPort, k.Key.Protocol, cell)
	var b block
	for i := range c.columns {
		if !c.column(&rows, i, &b) {
			continue
		}
		for w := range b {
			for m := b[w]; m != 0; m &= m - 1 {
				r := &l.rules[i*blockRules+w*64+bits.TrailingZeros64(m)]
				matched, same := r.match(now, k, dry)
				lasting = lasting && same
				if matched {
					return r, lasting
				}
			}
		}
	}
	return nil, lasting
}
