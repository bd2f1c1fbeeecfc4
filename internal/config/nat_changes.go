package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nat tells what is different in translation, forwards and sessions.
func (c *changes) nat(old, new *Config) {
	ordered(c, "nat rule", old.NAT, new.NAT, natRuleFields, func(r *NATRule) string { return nameOr(r.Name, natRuleText, r) })
	c.forwards(old.Forwards, new.Forwards)
	before, after := sessionFields(&old.Sessions), sessionFields(&new.Sessions)
	for i := range before {
		c.value("sessions: "+before[i].key, before[i].text, after[i].text)
	}
	switch was, is := old.PortMapping, new.PortMapping; {
	case was == nil && is == nil:
	case was == nil:
		c.add("port_mapping added, on port %s", strings.Join(is.Ports, ", "))
	case is == nil:
		c.add("port_mapping removed")
	default:
		before, after := portMappingFields(was), portMappingFields(is)
		for i := range before {
			c.value("port_mapping: "+before[i].key, before[i].text, after[i].text)
		}
	}
}

// ordered compares two lists whose order counts. Rules with a name are paired by it and told of key by key; the
// others are what they say, so that one that changed was removed and another one added.
func ordered[T any](c *changes, what string, old, new []T, fields func(*T) []keyText, identity func(*T) string) {
	before, after := identities(old, identity), identities(new, identity)
	was := make(map[string]int, len(before))
	for i, id := range before {
		was[id] = i
	}
	is := make(map[string]int, len(after))
	for i, id := range after {
		is[id] = i
	}
	for _, id := range before {
		if _, stays := is[id]; !stays {
			c.add("%s %s removed", what, id)
		}
	}
	last, moved := -1, false
	for i, id := range after {
		at, known := was[id]
		if !known {
			c.add("%s %s added", what, id)
			continue
		}
		moved = moved || at < last
		last = max(last, at)
		a, b := fields(&old[at]), fields(&new[i])
		for j := range a {
			c.long(what+" "+id+": "+a[j].key, a[j].text, b[j].text)
		}
	}
	if moved {
		c.add("%ss: their order changed", what)
	}
}

// nameOr is a rule's name in quotes, or what it says.
func nameOr[T any](name string, text func(*T) string, r *T) string {
	if name != "" {
		return strconv.Quote(name)
	}
	return text(r)
}

// identities tell rules apart; equal ones are counted.
func identities[T any](all []T, identity func(*T) string) []string {
	out := make([]string, len(all))
	seen := make(map[string]int, len(all))
	for i := range all {
		id := identity(&all[i])
		if seen[id]++; seen[id] > 1 {
			id += fmt.Sprintf(" (number %d of these)", seen[id])
		}
		out[i] = id
	}
	return out
}

// said is what a rule says, key by key, without what it leaves out.
func said(fields []keyText) string {
	var parts []string
	for _, f := range fields {
		if f.text != "" {
			parts = append(parts, f.key+" "+f.text)
		}
	}
	return strings.Join(parts, ", ")
}

// natRuleFields writes a rule key by key, without its name; a test counts them.
func natRuleFields(r *NATRule) []keyText {
	cgnat := r.Type == NATCGNAT
	return []keyText{
		{"out", r.Out},
		{"type", string(r.Type)},
		{"source", joined(r.Source)},
		{"destination", joined(r.Destination)},
		{"protocol", protocolText(r.Protocol)},
		{"to", poolText(r.To)},
		{"inside", addressText(r.Inside)},
		{"outside", addressText(r.Outside)},
		{"filtering", string(r.Filtering)},
		{"ports", rangesText([]PortRange{r.Ports})},
		{"block_size", word(cgnat || r.BlockSize != 0, strconv.Itoa(r.BlockSize), "")},
		{"max_blocks", word(cgnat || r.MaxBlocks != 0, strconv.Itoa(r.MaxBlocks), "")},
		{"deterministic", word(r.Deterministic, "true", "")},
		{"comment", quoted(r.Comment)},
	}
}

// natRuleText is what a rule says, without its defaults.
func natRuleText(r *NATRule) string {
	short := *r
	if short.Filtering == FilterEndpointIndependent {
		short.Filtering = ""
	}
	if short.Ports == dynamicPorts {
		short.Ports = PortRange{}
	}
	return said(natRuleFields(&short))
}

// unless leaves out what is the default.
func unless(s, standard string) string {
	if s == standard {
		return ""
	}
	return s
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// poolText writes addresses as ranges.
func poolText(all []netip.Addr) string {
	var parts []string
	for i := 0; i < len(all); {
		j := i
		for j+1 < len(all) && all[j].Next() == all[j+1] {
			j++
		}
		parts = append(parts, addressRange{all[i], all[j]}.String())
		i = j + 1
	}
	return strings.Join(parts, " ")
}

func rangesText(all []PortRange) string {
	var parts []string
	for _, r := range all {
		if r != (PortRange{}) {
			parts = append(parts, r.String())
		}
	}
	return strings.Join(parts, " ")
}

// forwards compares them as sets, since their order means nothing: no two overlap.
func (c *changes) forwards(old, new []Forward) {
	before := make(map[string]Forward, len(old))
	for _, f := range old {
		before[forwardText(f)] = f
	}
	var added []string
	for _, f := range new {
		id := forwardText(f)
		was, ok := before[id]
		if !ok {
			added = append(added, fmt.Sprintf("forward %s added", id))
			continue
		}
		delete(before, id)
		c.value("forward "+id+": name", quoted(was.Name), quoted(f.Name))
		c.value("forward "+id+": comment", quoted(was.Comment), quoted(f.Comment))
	}
	for _, f := range old {
		if _, gone := before[forwardText(f)]; gone {
			c.add("forward %s removed", forwardText(f))
		}
	}
	*c = append(*c, added...)
}

// sessionFields writes the section key by key; a test counts them.
func sessionFields(s *Sessions) []keyText {
	return []keyText{
		{"max", strconv.Itoa(s.Max)},
		{"max_per_host", strconv.Itoa(s.MaxPerHost)},
		{"max_half_open", strconv.Itoa(s.MaxHalfOpen)},
		{"udp", durationText(s.UDP)},
		{"icmp", durationText(s.ICMP)},
		{"other", durationText(s.Other)},
		{"tcp_established", durationText(s.TCPEstablished)},
		{"tcp_transitory", durationText(s.TCPTransitory)},
		{"tcp_reset", durationText(s.TCPReset)},
		{"short_timeouts", strconv.FormatBool(s.ShortTimeouts)},
		{"loose", strconv.FormatBool(s.Loose)},
		{"window", s.Window},
		{"helpers", strings.Join(s.Helpers, " ")},
	}
}

// portMappingFields writes the section key by key; a test counts them. The order of ports means nothing.
func portMappingFields(p *PortMapping) []keyText {
	return []keyText{
		{"ports", strings.Join(slices.Sorted(slices.Values(p.Ports)), " ")},
		{"nat_pmp", strconv.FormatBool(p.NATPMP)},
		{"pcp", strconv.FormatBool(p.PCP)},
		{"upnp", strconv.FormatBool(p.UPnP)},
		{"max_lifetime", durationText(p.MaxLifetime)},
		{"max_per_host", strconv.Itoa(p.MaxPerHost)},
	}
}

// timeText is a duration; "" for none.
func timeText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return durationText(d)
}
