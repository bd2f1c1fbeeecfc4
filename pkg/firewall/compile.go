package firewall

import (
	"fmt"
	"slices"
	"strings"
)

// Compile makes a policy. Counters, members of dynamic sets and buckets of what before (nil: nothing) has as well, by name or
// by equal content, go on; so do the numbers of rules and the sessions that sources are counted for. before
// may be in use meanwhile. The policy keeps c, which must not change any more. An error names the rule, zone or set and its line.
func Compile(c Config, before *Policy) (*Policy, error) {
	if n := len(c.Rules) + len(c.Access); n > MaxRules {
		return nil, fmt.Errorf("firewall: %d rules: there may be %d", n, MaxRules)
	}
	p := &Policy{
		config:     c,
		logs:       logMeter(),
		sets:       map[string]*set{},
		identities: map[string]*identity{},
		known:      map[uint16]*identity{},
		equals:     map[string]int{},
		pairCounts: map[[2]string]*counter{},
	}
	for _, step := range []func(*Policy) error{
		p.compileZones, p.compilePairs, p.compileSets, p.compileRules, p.compileAccess, p.compileNumbers,
	} {
		if err := step(before); err != nil {
			return nil, err
		}
	}
	p.equals = nil
	return p, nil
}

func (p *Policy) compileZones(*Policy) error {
	p.names = []string{"", RouterZone}
	p.zones = []uint16{Router: zoneRouter}
	for _, z := range p.config.Zones {
		if z.Name == "" || slices.Contains(p.names, z.Name) {
			return fmt.Errorf("line %d: zone %q: a zone wants a name of its own, other than %s", z.Line, z.Name, RouterZone)
		}
		number := uint16(len(p.names))
		p.names = append(p.names, z.Name)
		for _, port := range z.Ports {
			for int(port) >= len(p.zones) {
				p.zones = append(p.zones, zoneNone)
			}
			if other := p.zones[port]; other != zoneNone {
				return fmt.Errorf("line %d: zone %s: port number %d is in zone %s already: a port is in one zone", z.Line, z.Name, port, p.names[other])
			}
			p.zones[port] = number
		}
	}
	return nil
}

// zoneNumber finds a zone that a rule or pair names.
func (p *Policy) zoneNumber(name string) (int, bool) {
	if name == "" {
		return 0, false
	}
	i := slices.Index(p.names, name)
	return i, i > 0
}

func (p *Policy) compilePairs(before *Policy) error {
	n := len(p.names)
	p.byDefault = &counter{}
	if before != nil {
		p.byDefault = before.byDefault
	}
	p.fallbacks = make([]fallback, n*n)
	for i := range p.fallbacks {
		from, to := i/n, i%n
		action := Drop
		if from == to || from == zoneRouter || to == zoneRouter {
			action = Accept
		}
		p.fallbacks[i] = fallback{action: action, pair: -1, count: p.byDefault}
	}
	for i, pair := range p.config.Pairs {
		from, ok1 := p.zoneNumber(pair.From)
		to, ok2 := p.zoneNumber(pair.To)
		if !ok1 || !ok2 {
			return fmt.Errorf("line %d: the policy from %q to %q: both have to be zones, or %s", pair.Line, pair.From, pair.To, RouterZone)
		}
		if pair.Action >= numActions {
			return fmt.Errorf("line %d: the policy from %s to %s: there is no %v", pair.Line, pair.From, pair.To, pair.Action)
		}
		cell := &p.fallbacks[from*n+to]
		if cell.pair >= 0 {
			return fmt.Errorf("line %d: the policy from %s to %s stands on line %d already", pair.Line, pair.From, pair.To, p.config.Pairs[cell.pair].Line)
		}
		names := [2]string{pair.From, pair.To}
		var count *counter
		if before != nil {
			count = before.pairCounts[names]
		}
		if count == nil {
			count = &counter{}
		}
		p.pairCounts[names] = count
		p.pairs = append(p.pairs, count)
		*cell = fallback{action: pair.Action, log: pair.Log, pair: int32(i), count: count}
	}
	return nil
}

func (p *Policy) compileSets(before *Policy) error {
	for _, s := range p.config.Sets {
		if s.Name == "" || strings.HasPrefix(s.Name, "!") || p.sets[s.Name] != nil {
			return fmt.Errorf("line %d: set %q: a set wants a name of its own, without ! before it", s.Line, s.Name)
		}
		static, ok := prefixSpans(s.Prefixes)
		if !ok {
			return fmt.Errorf("line %d: set %s: its addresses have to be IPv4 prefixes", s.Line, s.Name)
		}
		if s.Timeout < 0 || s.Max < 0 {
			return fmt.Errorf("line %d: set %s: neither timeout nor max may be below zero", s.Line, s.Name)
		}
		if s.Max == 0 {
			s.Max = defaultMembers
		}
		compiled := &set{Set: s, static: static}
		if before != nil && before.sets[s.Name] != nil {
			compiled.members = before.sets[s.Name].members
		} else {
			compiled.members = newMembers()
		}
		p.sets[s.Name] = compiled
	}
	for _, rules := range [][]Rule{p.config.Rules, p.config.Access} {
		for i := range rules {
			if s := p.sets[rules[i].AddTo]; s != nil {
				s.learns = true
			}
		}
	}
	return nil
}

func (p *Policy) compileRules(before *Policy) error {
	n := len(p.names)
	all := make([]terms, len(p.config.Rules))
	p.rules.rules = make([]rule, len(all))
	for i := range p.config.Rules {
		of := &p.config.Rules[i]
		wrong := func(err error) error { return fmt.Errorf("line %d: rule %s: %w", of.Line, of.title(i), err) }
		if of.In != 0 || of.Out != 0 {
			return wrong(fmt.Errorf("it names a port: rules go by zones, access rules by ports"))
		}
		r := &p.rules.rules[i]
		if err := p.compileRule(r, &all[i], of, i); err != nil {
			return wrong(err)
		}
		r.opens = of.Action == Accept && of.Match.States == 0
		from, known := p.zoneNumber(of.From)
		if of.From != "" && !known {
			return wrong(fmt.Errorf("there is no zone %q to come from", of.From))
		}
		to, known := p.zoneNumber(of.To)
		if of.To != "" && !known {
			return wrong(fmt.Errorf("there is no zone %q to go to", of.To))
		}
		all[i].cells = cellSpans(from, to, n)
		p.rules.rules[i].attach(p.identify(of, i, false, before))
	}
	if len(all) > 0 {
		p.rules.classifier = newClassifier(all, n*n)
	}
	return nil
}

// cellSpans are the pairs of n zones from one to another; 0: from or to any.
func cellSpans(from, to, n int) []span {
	switch {
	case from == 0 && to == 0:
		return nil
	case to == 0:
		return []span{{uint32(from * n), uint32(from*n + n - 1)}}
	case from != 0:
		return []span{{uint32(from*n + to), uint32(from*n + to)}}
	}
	out := make([]span, n)
	for i := range out {
		out[i] = span{uint32(i*n + to), uint32(i*n + to)}
	}
	return out
}

func (p *Policy) compileAccess(before *Policy) error {
	p.access = make([]rule, len(p.config.Access))
	all := make([]terms, len(p.config.Access))
	var byPort [2]map[uint16][]int
	byPort[0], byPort[1] = map[uint16][]int{}, map[uint16][]int{}
	for i := range p.config.Access {
		of := &p.config.Access[i]
		wrong := func(err error) error { return fmt.Errorf("line %d: access rule %s: %w", of.Line, of.title(i), err) }
		switch {
		case of.From != "" || of.To != "":
			return wrong(fmt.Errorf("it names a zone: access rules go by ports, rules by zones"))
		case (of.In == 0) == (of.Out == 0):
			return wrong(fmt.Errorf("it wants one port, either of arrival or of departure"))
		case of.MaxHost != 0:
			return wrong(fmt.Errorf("it has max_sessions: only stateful rules make sessions"))
		}
		if err := p.compileRule(&p.access[i], &all[i], of, i); err != nil {
			return wrong(err)
		}
		p.access[i].attach(p.identify(of, i, true, before))
		if of.In != 0 {
			byPort[0][of.In] = append(byPort[0][of.In], i)
		} else {
			byPort[1][of.Out] = append(byPort[1][of.Out], i)
		}
	}
	for direction := range byPort {
		for port, indices := range byPort[direction] {
			for int(port) >= len(p.doors[direction]) {
				p.doors[direction] = append(p.doors[direction], list{})
			}
			l := &p.doors[direction][port]
			own := make([]terms, len(indices))
			l.rules = make([]rule, len(indices))
			for n, i := range indices {
				own[n], l.rules[n] = all[i], p.access[i]
			}
			l.classifier = newClassifier(own, 1)
		}
	}
	return nil
}

// compileNumbers gives rules their numbers, when it is known which of the former ones are in use.
func (p *Policy) compileNumbers(before *Policy) error {
	p.retire(before)
	if err := p.number(before); err != nil {
		return err
	}
	for _, i := range p.identities {
		if i.access {
			p.access[i.rule].id = i.id
		} else {
			p.rules.rules[i.rule].id = i.id
		}
	}
	for _, doors := range p.doors {
		for _, d := range doors {
			for n := range d.rules {
				d.rules[n].id = p.access[d.rules[n].index].id
			}
		}
	}
	return nil
}

// title is how errors name a rule.
func (r *Rule) title(index int) string {
	if r.Name != "" {
		return r.Name
	}
	return fmt.Sprintf("number %d", index+1)
}
