package firewall

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// oracle is the slow twin: it reads the configuration as it is written, rule by rule, and keeps its books in maps.
type oracle struct {
	config  Config
	tokens  map[string]map[packet.Addr]*tokens // of rules by place, of sources (0 for all)
	cap     map[int]map[packet.Addr]int        // sessions by stateful rule and source
	members map[string]map[packet.Addr]conntrack.Tick
	counts  map[string]RuleCount
}

// tokens of a bucket, in nanoseconds of credit: what it may still spend.
type tokens struct {
	credit int64
	at     conntrack.Tick
}

func newOracle(c Config) *oracle {
	return &oracle{config: c, tokens: map[string]map[packet.Addr]*tokens{}, cap: map[int]map[packet.Addr]int{},
		members: map[string]map[packet.Addr]conntrack.Tick{}, counts: map[string]RuleCount{}}
}

func (o *oracle) zone(port uint16) string {
	if port == Router {
		return "router"
	}
	for _, z := range o.config.Zones {
		for _, x := range z.Ports {
			if x == port {
				return z.Name
			}
		}
	}
	return ""
}

func addr4(a packet.Addr) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

func contains(list []netip.Prefix, a packet.Addr) bool {
	for _, p := range list {
		if p.Contains(addr4(a)) {
			return true
		}
	}
	return false
}

func (o *oracle) inSet(now conntrack.Tick, name string, a packet.Addr) bool {
	for _, s := range o.config.Sets {
		if s.Name != name {
			continue
		}
		if contains(s.Prefixes, a) {
			return true
		}
		until, ok := o.members[name][a]
		return ok && (until == 0 || until > now)
	}
	panic("no set " + name)
}

func inPorts(list []PortRange, port uint16) bool {
	for _, r := range list {
		if port >= r.Min && port <= r.Max {
			return true
		}
	}
	return false
}

// matches is the static part of a rule: everything but rates and quotas.
func (o *oracle) matches(now conntrack.Tick, m *Match, k *Packet, state State) bool {
	y := &k.Key
	if len(m.Source) > 0 && contains(m.Source, y.Src) == m.NotSource {
		return false
	}
	if len(m.Destination) > 0 && contains(m.Destination, y.Dst) == m.NotDestination {
		return false
	}
	if name := m.SourceSet; name != "" && o.inSet(now, strings.TrimPrefix(name, "!"), y.Src) == strings.HasPrefix(name, "!") {
		return false
	}
	if name := m.DestinationSet; name != "" && o.inSet(now, strings.TrimPrefix(name, "!"), y.Dst) == strings.HasPrefix(name, "!") {
		return false
	}
	if m.Protocol != 0 && m.Protocol != y.Protocol {
		return false
	}
	ported := y.Protocol == 6 || y.Protocol == 17 || y.Protocol == 33 || y.Protocol == 132 || y.Protocol == 136
	if len(m.SourcePorts) > 0 && !(ported && inPorts(m.SourcePorts, y.SrcPort)) {
		return false
	}
	if len(m.DestPorts) > 0 && !(ported && inPorts(m.DestPorts, y.DstPort)) {
		return false
	}
	if m.ICMPType != -1 && !(y.Protocol == 1 && int(k.ICMPType) == m.ICMPType) {
		return false
	}
	if m.ICMPCode != -1 && !(y.Protocol == 1 && int(k.ICMPCode) == m.ICMPCode) {
		return false
	}
	if m.TCPMask != 0 && !(y.Protocol == 6 && k.TCPFlags&m.TCPMask == m.TCPFlags) {
		return false
	}
	if m.States != 0 && m.States&state == 0 {
		return false
	}
	if m.DSCP != -1 && m.DSCP != int(k.DSCP) {
		return false
	}
	length := k.Length
	if k.Segment != 0 {
		length = k.Segment
	}
	return (m.LengthMin == 0 || length >= m.LengthMin) && (m.LengthMax == 0 || length <= m.LengthMax)
}

// within takes tokens for a packet out of a rule's bucket.
func (o *oracle) within(now conntrack.Tick, place string, r *Rate, source packet.Addr, n int) bool {
	if !r.PerHost {
		source = 0
	}
	each := int64(r.Per) / int64(r.Packets)
	burst := r.Burst
	if burst == 0 {
		burst = r.Packets
	}
	room := max(int64(burst)*each, 100_000_000)
	if o.tokens[place] == nil {
		o.tokens[place] = map[packet.Addr]*tokens{}
	}
	t := o.tokens[place][source]
	if t == nil {
		t = &tokens{credit: room, at: now}
		o.tokens[place][source] = t
	}
	t.credit = min(room, t.credit+int64(now-t.at)*100_000_000)
	t.at = now
	if t.credit < min(int64(n)*each, room) {
		return false
	}
	t.credit -= int64(n) * each
	return true
}

// try matches a rule, with all that this costs.
func (o *oracle) try(now conntrack.Tick, place string, index int, r *Rule, k *Packet, state State, dry bool) bool {
	if !o.matches(now, &r.Match, k, state) || index >= 0 && r.Action == Accept && r.Match.States == 0 && state == Invalid {
		return false
	}
	if dry {
		return r.Rate == nil || !r.Over
	}
	counts := r.MaxHost > 0 && r.Action == Accept && state != Invalid
	if counts && o.cap[index][k.Key.Src] >= r.MaxHost {
		return false
	}
	if r.Rate != nil && o.within(now, place, r.Rate, k.Key.Src, max(k.Count, 1)) == r.Over {
		return false
	}
	if counts {
		if o.cap[index] == nil {
			o.cap[index] = map[packet.Addr]int{}
		}
		o.cap[index][k.Key.Src]++
	}
	o.count(place, k)
	if r.AddTo != "" {
		o.add(now, r.AddTo, k.Key.Src, r.AddFor)
	}
	return true
}

func (o *oracle) count(place string, k *Packet) {
	c := o.counts[place]
	c.Packets += uint64(max(k.Count, 1))
	c.Bytes += uint64(k.Length)
	o.counts[place] = c
}

func (o *oracle) add(now conntrack.Tick, name string, a packet.Addr, d time.Duration) {
	for _, s := range o.config.Sets {
		if s.Name != name {
			continue
		}
		if d == 0 {
			d = s.Timeout
		}
		if o.members[name] == nil {
			o.members[name] = map[packet.Addr]conntrack.Tick{}
		}
		old, was := o.members[name][a]
		switch {
		case was && old == 0:
		case d == 0:
			o.members[name][a] = 0
		default:
			o.members[name][a] = max(old, now+conntrack.Ticks(d))
		}
	}
}

func (o *oracle) judge(now conntrack.Tick, k *Packet, dry bool) Verdict {
	state := k.State
	if state == 0 {
		state = New
	}
	from, to := o.zone(k.In), o.zone(k.Out)
	for i := range o.config.Rules {
		r := &o.config.Rules[i]
		if (r.From == "" || r.From == from) && (r.To == "" || r.To == to) && o.try(now, spot("rule", i), i, r, k, state, dry) {
			return Verdict{Action: r.Action, Rule: i, Pair: -1}
		}
	}
	v := Verdict{Rule: -1, Pair: -1}
	if state != Forwarded && state != Related {
		if from != to && from != "router" && to != "router" {
			v.Action = Drop
		}
		for i, pair := range o.config.Pairs {
			if pair.From == from && pair.To == to {
				v.Pair, v.Action = i, pair.Action
			}
		}
	}
	if !dry {
		o.count(spot("pair", v.Pair), k)
	}
	return v
}

func (o *oracle) access(now conntrack.Tick, k *Packet, dry bool) Verdict {
	v := Verdict{Rule: -1, Pair: -1}
	for _, arrival := range []bool{true, false} {
		for i := range o.config.Access {
			r := &o.config.Access[i]
			if arrival && (r.In == 0 || r.In != k.In) || !arrival && (r.Out == 0 || r.Out != k.Out) {
				continue
			}
			if !o.try(now, spot("access", i), -1-i, r, k, k.State, dry) {
				continue
			}
			v.Action, v.Rule = r.Action, i
			if r.Action != Accept {
				return v
			}
			break
		}
	}
	return v
}

func (o *oracle) ended(rule int, source packet.Addr) {
	if o.cap[rule][source] > 0 {
		o.cap[rule][source]--
	}
}

func spot(kind string, index int) string { return fmt.Sprint(kind, " ", index) }
