package config

import (
	"slices"
	"strconv"
	"strings"
)

// firewall tells what is different in the section.
func (c *changes) firewall(old, new *Firewall) {
	switch {
	case old == nil && new == nil:
		return
	case old == nil:
		c.add("firewall added%s", word(new.Home, ": home", ""))
		return
	case new == nil:
		c.add("firewall removed")
		return
	}
	c.value("firewall: home", strconv.FormatBool(old.Home), strconv.FormatBool(new.Home))
	compare(c, "firewall: zone", old.Zones, new.Zones, func(z Zone) string { return z.Name }, func(what string, old, new Zone) {
		c.fields(what, zoneFields(&old), zoneFields(&new))
	})
	compare(c, "firewall: set", old.Sets, new.Sets, func(s AddressSet) string { return s.Name }, func(what string, old, new AddressSet) {
		c.fields(what, setFields(&old), setFields(&new))
	})
	ordered(c, "firewall rule", old.Rules, new.Rules, firewallRuleFields, func(r *FirewallRule) string { return nameOr(r.Name, firewallRuleText, r) })
	compare(c, "firewall: policy", old.Policy, new.Policy, pairText, func(what string, old, new ZonePolicy) {
		c.fields(what, policyFields(&old), policyFields(&new))
	})
	ordered(c, "access rule", old.Access, new.Access, firewallRuleFields, func(r *FirewallRule) string { return nameOr(r.Name, firewallRuleText, r) })
}

// fields tells of two things key by key.
func (c *changes) fields(what string, old, new []keyText) {
	for i := range old {
		c.long(what+": "+old[i].key, old[i].text, new[i].text)
	}
}

// zoneFields writes a zone key by key; the order of its ports means nothing.
func zoneFields(z *Zone) []keyText {
	return []keyText{{"ports", strings.Join(slices.Sorted(slices.Values(z.Ports)), " ")}, {"comment", quoted(z.Comment)}}
}

func setFields(s *AddressSet) []keyText {
	return []keyText{
		{"addresses", joined(s.Addresses)},
		{"timeout", timeText(s.Timeout)},
		{"max", strconv.Itoa(s.Max)},
		{"comment", quoted(s.Comment)},
	}
}

func pairText(p ZonePolicy) string { return "from " + p.From + " to " + p.To }

func policyFields(p *ZonePolicy) []keyText {
	return []keyText{{"action", string(p.Action)}, {"log", strconv.FormatBool(p.Log)}, {"comment", quoted(p.Comment)}}
}

// firewallRuleFields writes a rule key by key, without its name; what it does not ask for is "". A test
// counts them.
func firewallRuleFields(r *FirewallRule) []keyText {
	rate := ""
	if r.Rate != nil {
		rate = r.Rate.String()
	}
	length := ""
	if r.LengthMin != 0 || r.LengthMax != 0 {
		length = strconv.Itoa(r.LengthMin)
		if r.LengthMax != r.LengthMin {
			length += "-" + strconv.Itoa(r.LengthMax)
		}
	}
	return []keyText{
		{"from", r.From},
		{"to", r.To},
		{"in", r.In},
		{"out", r.Out},
		{"source", word(r.NotSource, "not ", "") + joined(r.Source)},
		{"source_set", r.SourceSet},
		{"destination", word(r.NotDestination, "not ", "") + joined(r.Destination)},
		{"destination_set", r.DestinationSet},
		{"protocol", protocolText(r.Protocol)},
		{"source_port", rangesText(r.SourcePorts)},
		{"port", rangesText(r.Ports)},
		{"icmp_type", numberText(icmpTypes(), r.ICMPType)},
		{"icmp_code", numberText(nil, r.ICMPCode)},
		{"flags", flagsText(r.TCPFlags, r.TCPMask)},
		{"state", strings.Join(r.States, " ")},
		{"dscp", numberText(codePoints(), r.DSCP)},
		{"length", length},
		{"rate", rate},
		{"max_sessions", unless(strconv.Itoa(r.MaxSessions), "0")},
		{"add_to", r.AddTo},
		{"add_for", timeText(r.AddFor)},
		{"action", string(r.Action)},
		{"log", word(r.Log, "true", "")},
		{"comment", quoted(r.Comment)},
	}
}

func firewallRuleText(r *FirewallRule) string { return said(firewallRuleFields(r)) }

// numberText is the word of a number, or the number; "" for any.
func numberText(all []namedNumber, n int) string {
	if n < 0 {
		return ""
	}
	return nameOfNumber(all, n)
}
