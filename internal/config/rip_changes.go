package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// rip tells what is different in the section. Of a secret it tells that it changed.
func (c *changes) rip(old, new *RIP) {
	switch {
	case old == nil && new == nil:
		return
	case old == nil:
		c.add("rip added, on %s", ripPortList(new))
		return
	case new == nil:
		c.add("rip removed")
		return
	}
	before, after := ripFields(old), ripFields(new)
	for i := range before {
		c.value("rip: "+before[i].key, before[i].text, after[i].text)
	}
	compare(c, "rip: key chain", old.Keys, new.Keys, func(k RIPKeyChain) string { return k.Name }, c.keyChain)
	compare(c, "rip: prefix list", old.PrefixLists, new.PrefixLists, func(l PrefixList) string { return l.Name }, func(what string, old, new PrefixList) {
		c.long(what+":", listText(&old), listText(&new))
	})
	compare(c, "rip: port", old.Ports, new.Ports, func(p RIPPort) string { return p.Name }, func(what string, was, is RIPPort) {
		before, after := ripPortFields(&was), ripPortFields(&is)
		for i := range before {
			if !inherited(old, before[i]) || !inherited(new, after[i]) {
				c.long(what+": "+before[i].key, before[i].text, after[i].text)
			}
		}
	})
}

// inherited reports that a port's key has the section's value: where it is so before and
// after, the section's change has been told.
func inherited(r *RIP, field keyText) bool {
	switch field.key {
	case "update":
		return field.text == durationText(r.Timers.Update)
	case "timeout":
		return field.text == durationText(r.Timers.Timeout)
	case "send":
		return field.text == string(r.Send)
	case "receive":
		return field.text == string(r.Receive)
	}
	return false
}

// compare pairs the things of two lists by name and tells what came, went and changed.
func compare[T any](c *changes, what string, old, new []T, name func(T) string, changed func(what string, old, new T)) {
	before, after := make(map[string]int, len(old)), make(map[string]bool, len(new))
	for i, o := range old {
		before[name(o)] = i
	}
	for _, n := range new {
		after[name(n)] = true
	}
	for _, o := range old {
		if !after[name(o)] {
			c.add("%s %s removed", what, name(o))
		}
	}
	for _, n := range new {
		i, known := before[name(n)]
		if !known {
			c.add("%s %s added", what, name(n))
			continue
		}
		changed(what+" "+name(n), old[i], n)
	}
}

// long tells of a change of a text that may be too long for a sentence.
func (c *changes) long(what, old, new string) {
	const most = 120
	switch {
	case old == new:
	case len(old)+len(new) > most:
		c.add("%s changed", strings.TrimSuffix(what, ":"))
	default:
		c.value(what, old, new)
	}
}

func ripPortList(r *RIP) string {
	if len(r.Ports) == 0 {
		return "no port"
	}
	var names []string
	for _, p := range r.Ports {
		names = append(names, p.Name)
	}
	return "port " + strings.Join(names, ", ")
}

// ripFields writes the section key by key, without what has names; a test counts them.
func ripFields(r *RIP) []keyText {
	return append(timerFields(r.Timers, true),
		keyText{"send", string(r.Send)},
		keyText{"receive", string(r.Receive)},
		keyText{"redistribute connected", redistributeText(r.Connected)},
		keyText{"redistribute static", redistributeText(r.Static)},
		keyText{"default_route", defaultRouteText(r.DefaultRoute)},
		keyText{"distance", strconv.Itoa(r.Distance)},
		keyText{"max_paths", strconv.Itoa(r.MaxPaths)},
		keyText{"max_routes", strconv.Itoa(r.MaxRoutes)},
	)
}

// timerFields are the timers; in a port only two are its own.
func timerFields(t RIPTimers, all bool) []keyText {
	fields := []keyText{{"update", durationText(t.Update)}, {"timeout", durationText(t.Timeout)}}
	if all {
		fields = append(fields, keyText{"garbage", durationText(t.Garbage)},
			keyText{"triggered_min", durationText(t.TriggeredMin)}, keyText{"triggered_max", durationText(t.TriggeredMax)})
	}
	return fields
}

// ripPortFields writes a port key by key; a test counts them.
func ripPortFields(p *RIPPort) []keyText {
	auth := ""
	if p.Auth != nil {
		auth = p.Auth.Name
	}
	var neighbors []string
	for _, a := range p.Neighbors {
		neighbors = append(neighbors, a.String())
	}
	return append([]keyText{
		{"passive", strconv.FormatBool(p.Passive)},
		{"send", string(p.Send)},
		{"receive", string(p.Receive)},
		{"cost", strconv.Itoa(p.Cost)},
		{"split_horizon", string(p.SplitHorizon)},
		{"auth", auth},
		{"neighbors", strings.Join(neighbors, " ")},
		{"ttl_security", strconv.FormatBool(p.TTLSecurity)},
		{"link_check", strconv.FormatBool(p.LinkCheck)},
		{"filter_in", filterText(p.FilterIn)},
		{"filter_out", filterText(p.FilterOut)},
		{"offset_in", offsetsText(p.OffsetIn)},
		{"offset_out", offsetsText(p.OffsetOut)},
		{"comment", quoted(p.Comment)},
	}, timerFields(p.Timers, false)...)
}

func redistributeText(r *RIPRedistribute) string {
	if r == nil {
		return "off"
	}
	s := "on"
	if r.Metric != 0 {
		s += " metric " + strconv.Itoa(r.Metric)
	}
	if r.Tag != 0 {
		s += " tag " + strconv.Itoa(r.Tag)
	}
	if r.Filter != nil {
		s += " filter " + filterText(r.Filter)
	}
	return s
}

func defaultRouteText(d RIPDefaultRoute) string {
	s := word(d.Originate, "on", "off") + " metric " + strconv.Itoa(d.Metric)
	if d.Tag != 0 {
		s += " tag " + strconv.Itoa(d.Tag)
	}
	return s
}

// filterText is the name of a list, or the rules of one without a name.
func filterText(l *PrefixList) string {
	switch {
	case l == nil:
		return ""
	case l.Name != "":
		return l.Name
	}
	return "[" + listText(l) + "]"
}

// listText writes rules as routers do: "permit 10.0.0.0/8 ge 16 le 24, deny …".
func listText(l *PrefixList) string {
	rules := make([]string, len(l.Rules))
	for i, r := range l.Rules {
		s := word(r.Deny, "deny ", "permit ") + r.Prefix.String()
		if r.Min != r.Prefix.Bits() {
			s += " ge " + strconv.Itoa(r.Min)
		}
		if r.Max != r.Prefix.Bits() {
			s += " le " + strconv.Itoa(r.Max)
		}
		if r.Comment != "" {
			s += " " + quoted(r.Comment)
		}
		rules[i] = s
	}
	return strings.Join(rules, ", ")
}

func offsetsText(all []RIPOffset) string {
	texts := make([]string, len(all))
	for i, o := range all {
		texts[i] = strconv.Itoa(o.Metric)
		if o.Filter != nil {
			texts[i] += " for " + filterText(o.Filter)
		}
	}
	return strings.Join(texts, ", ")
}

// keyChain tells what changed in a chain. Its keys have no names but their numbers, and those of a
// simple password not even these: keys of one number are told apart by their order.
func (c *changes) keyChain(what string, old, new RIPKeyChain) {
	c.value(what+": type", string(old.Type), string(new.Type))
	c.value(what+": forget_sequence", strconv.FormatBool(old.ForgetSequence), strconv.FormatBool(new.ForgetSequence))
	c.value(what+": comment", quoted(old.Comment), quoted(new.Comment))
	compare(c, what+": key", numbered(old.Keys), numbered(new.Keys), func(k numberedKey) string { return k.number }, func(what string, old, new numberedKey) {
		if old.Secret != new.Secret {
			c.add("%s: the secret changed", what)
		}
		c.value(what+": send", lifetimeText(old.Send), lifetimeText(new.Send))
		c.value(what+": accept", lifetimeText(old.Accept), lifetimeText(new.Accept))
	})
}

type numberedKey struct {
	RIPKey
	number string
}

func numbered(keys []RIPKey) []numberedKey {
	out := make([]numberedKey, len(keys))
	seen := make(map[int]int, len(keys))
	for i, k := range keys {
		out[i] = numberedKey{k, strconv.Itoa(k.ID)}
		if seen[k.ID]++; seen[k.ID] > 1 {
			out[i].number = fmt.Sprintf("%d (number %d of this id)", k.ID, seen[k.ID])
		}
	}
	return out
}

func lifetimeText(l Lifetime) string {
	var parts []string
	if !l.From.IsZero() {
		parts = append(parts, "from "+l.From.Format(time.RFC3339))
	}
	if !l.Until.IsZero() {
		parts = append(parts, "until "+l.Until.Format(time.RFC3339))
	}
	if len(parts) == 0 {
		return "always"
	}
	return strings.Join(parts, " ")
}
