package router

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/pkg/conntrack"
	"vrouterd/pkg/firewall"
)

// FirewallRules are the rows of `show firewall`, in the order in which a packet meets them.
func (r *Router) FirewallRules() (rows []api.FirewallRule) {
	r.do(func() {
		c, policy := r.config.Firewall, r.stateful.firewall
		if c == nil || policy == nil {
			return
		}
		rules, access, pairs, rest := policy.Counts()
		for i := range c.Access {
			one := &c.Access[i]
			row := r.firewallRow("access", one, access[i])
			row.From, row.To = one.In, one.Out
			rows = append(rows, row)
		}
		for i := range c.Rules {
			one := &c.Rules[i]
			row := r.firewallRow("rule", one, rules[i])
			row.From, row.To = cmp.Or(one.From, "any"), cmp.Or(one.To, "any")
			rows = append(rows, row)
		}
		for i := range c.Policy {
			p := &c.Policy[i]
			rows = append(rows, api.FirewallRule{
				Kind: "policy", From: p.From, To: p.To, Match: "everything else", Action: string(p.Action), Log: p.Log, Line: p.Pos.Line,
				Packets: pairs[i].Packets, Bytes: pairs[i].Bytes,
			})
		}
		if len(c.Zones) > 0 {
			rows = append(rows, api.FirewallRule{
				Kind: "default", From: "any", To: "any", Match: "pairs without a policy, and what forwards let in",
				Action: "accept within a zone and to and from the router, else drop", Packets: rest.Packets, Bytes: rest.Bytes,
			})
		}
	})
	return rows
}

func (r *Router) firewallRow(kind string, c *config.FirewallRule, n firewall.RuleCount) api.FirewallRule {
	compiled := r.firewallRule(c)
	return api.FirewallRule{
		Kind: kind, Name: c.Name, Match: compiled.Words(), Action: string(c.Action), Log: c.Log, Line: c.Pos.Line,
		Packets: n.Packets, Bytes: n.Bytes,
	}
}

// ruleName names the firewall rule of a session by its identity.
func (w *worded) ruleName(id uint16) string {
	if w.firewall == nil || w.policy == nil || id == 0 {
		return ""
	}
	index, name, ok := w.policy.RuleOf(id)
	switch {
	case name != "":
		return name
	case !ok || index >= len(w.firewall.Rules):
		return ""
	}
	return ruleWord(&w.firewall.Rules[index], index)
}

// FirewallSets are the rows of `show firewall set`.
func (r *Router) FirewallSets() (rows []api.FirewallSet) {
	r.do(func() {
		c, policy := r.config.Firewall, r.stateful.firewall
		if c == nil || policy == nil {
			return
		}
		counts := policy.Sets(r.sessionTick())
		for i := range c.Sets {
			s := &c.Sets[i]
			row := api.FirewallSet{Name: s.Name, Max: s.Max, TimeoutSeconds: s.Timeout.Seconds(), Line: s.Pos.Line, Members: len(s.Addresses)}
			for _, n := range counts {
				if n.Name == s.Name {
					row.Added = n.Dynamic
					row.Members += n.Dynamic
				}
			}
			rows = append(rows, row)
		}
	})
	return rows
}

// setNames are the names of the firewall's sets.
func (r *Router) setNames() string {
	var names []string
	if c := r.config.Firewall; c != nil {
		for i := range c.Sets {
			names = append(names, c.Sets[i].Name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// setKnown is an error unless the firewall has the set.
func (r *Router) setKnown(name string) error {
	if c := r.config.Firewall; c != nil {
		for i := range c.Sets {
			if c.Sets[i].Name == name {
				return nil
			}
		}
	}
	return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("the firewall has no set %q; its sets are %s", name, r.setNames())}
}

// maxMembersShown bounds the members of a set that are listed.
const maxMembersShown = 65536

// SetMembers are the rows of `show firewall set NAME`.
func (r *Router) SetMembers(set string) (rows []api.SetMember, err error) {
	rows = []api.SetMember{}
	stopped := r.do(func() {
		if err = r.setKnown(set); err != nil {
			return
		}
		for _, m := range r.stateful.firewall.Members(r.sessionTick(), set, maxMembersShown) {
			text := m.Prefix.String()
			if m.Prefix.IsSingleIP() {
				text = m.Prefix.Addr().String()
			}
			rows = append(rows, api.SetMember{Set: set, Address: text, Dynamic: m.Dynamic,
				ExpiresSeconds: float64(m.Expires) / conntrack.TicksPerSecond})
		}
	})
	return rows, errors.Join(stopped, err)
}

// ChangeSet adds an address to a set, or takes an added one out again. Sessions that exist are judged again.
func (r *Router) ChangeSet(peer api.Peer, what api.SetChange, add bool) (err error) {
	a, err := parseAddress(what.Address)
	if err != nil {
		return err
	}
	if what.For < 0 {
		return usage(errors.New("the time in the set is negative; give a duration like 1h"))
	}
	stopped := r.do(func() {
		if err = r.setKnown(what.Set); err != nil {
			return
		}
		policy, word := r.stateful.firewall, "taken out of"
		if add {
			word = "added to"
			err = policy.AddMember(r.sessionTick(), what.Set, a, what.For)
		} else {
			err = policy.DeleteMember(what.Set, a)
		}
		if err != nil {
			err = &api.Error{Code: api.Conflict, Message: err.Error()}
			return
		}
		r.dp.Changed()
		r.event("set_changed", what.Set, fmt.Sprintf("%v %s set %s by %s", a, word, what.Set, peer.Name),
			map[string]string{"address": a.String(), "set": what.Set})
	})
	return errors.Join(stopped, err)
}

// AddForward adds a port forward to the configuration.
func (r *Router) AddForward(peer api.Peer, s api.ForwardSpec) error {
	f, err := forwardOf(s)
	if err != nil {
		return usage(err)
	}
	return r.edit(peer, func(d *config.Document) error { return d.AddForward(f) })
}

// DeleteForward deletes the port forward that s describes: what it leaves out matches anything.
func (r *Router) DeleteForward(peer api.Peer, s api.ForwardSpec) error {
	f, err := forwardOf(s)
	if err != nil {
		return usage(err)
	}
	return r.edit(peer, func(d *config.Document) error {
		err := d.DeleteForward(f)
		if errors.Is(err, config.ErrNoForward) {
			return &api.Error{Code: api.NotFound, Message: err.Error()}
		}
		return err
	})
}

// forwardOf reads the description of a forward.
func forwardOf(s api.ForwardSpec) (config.Forward, error) {
	return config.ParseForward(s.In, s.Protocol, s.Port, s.To, s.Name)
}
