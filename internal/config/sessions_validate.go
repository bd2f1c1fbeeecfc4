package config

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
)

// sessions fills in the section's defaults and checks it.
func (v *validator) sessions() {
	raw, out := &v.raw.sessions, &v.config.Sessions
	*out = Sessions{
		Max: raw.max.or(1_048_576), MaxPerHost: raw.maxPerHost.or(0),
		ShortTimeouts: raw.shortTimeouts.or(false), Loose: raw.loose.or(true), Window: raw.window.or("liberal"),
	}
	out.MaxHalfOpen = raw.maxHalfOpen.or(out.Max / 8)
	if raw.maxHalfOpen.good() && !raw.max.bad && out.MaxHalfOpen > out.Max {
		v.fail(raw.maxHalfOpen.at, "max_half_open, %d, is more than max, %d: give a smaller one, or leave the key out", out.MaxHalfOpen, out.Max)
	}
	if raw.maxPerHost.good() && !raw.max.bad && out.MaxPerHost > out.Max {
		v.fail(raw.maxPerHost.at, "max_per_host, %d, is more than max, %d: give a smaller one, or 0 for no limit", out.MaxPerHost, out.Max)
	}
	for _, t := range []struct {
		name            string
		raw             placed[time.Duration]
		into            *time.Duration
		standard, least time.Duration
		from            string
	}{
		{"udp", raw.udp, &out.UDP, 300 * time.Second, 120 * time.Second, "RFC 4787 REQ-5"},
		{"icmp", raw.icmp, &out.ICMP, 60 * time.Second, 60 * time.Second, "RFC 5508 REQ-2"},
		{"other", raw.other, &out.Other, 600 * time.Second, time.Second, ""},
		{"tcp_established", raw.tcpEstablished, &out.TCPEstablished, 7440 * time.Second, 7440 * time.Second, "RFC 5382 REQ-5"},
		{"tcp_transitory", raw.tcpTransitory, &out.TCPTransitory, 240 * time.Second, 240 * time.Second, "RFC 5382 REQ-5"},
		{"tcp_reset", raw.tcpReset, &out.TCPReset, 240 * time.Second, 240 * time.Second, "RFC 7857 section 2"},
	} {
		*t.into = t.raw.or(t.standard)
		if t.raw.good() && *t.into < t.least && !out.ShortTimeouts && !raw.shortTimeouts.bad {
			v.fail(t.raw.at, "%s is %s: %s wants at least %s; for labs and tests, `short_timeouts: true` allows less", t.name, durationText(*t.into), t.from, durationText(t.least))
		}
	}
	for i, h := range raw.helpers.v {
		out.Helpers = append(out.Helpers, h.v)
		if slices.Contains(out.Helpers[:i], h.v) {
			v.fail(h.at, "helpers: %s stands twice: remove one", h.v)
		}
	}
}

// portMapping checks the section and adds it to the Config. It relies on `nat`.
func (v *validator) portMapping() {
	raw := &v.raw.portMapping
	if raw.at == nil {
		return
	}
	out := &PortMapping{
		NATPMP: raw.natPMP.or(true), PCP: raw.pcp.or(true), UPnP: raw.upnp.or(false),
		MaxLifetime: raw.maxLifetime.or(24 * time.Hour), MaxPerHost: raw.maxPerHost.or(defaultMaxHost),
		Pos: Pos{raw.at.Line, raw.at.Column},
	}
	seen := make(map[string]bool)
	for _, name := range raw.ports.v {
		out.Ports = append(out.Ports, name.v)
		v.portExists(name)
		p := v.byName[name.v]
		switch {
		case seen[name.v]:
			v.fail(name.at, "ports: %q stands twice: remove one", name.v)
		case p == nil:
		case p.address.at == nil && !p.broken:
			v.fail(name.at, "ports: port %q has no address at which hosts could ask: give it one with `address:` under `ports:`", name.v)
		case slices.ContainsFunc(v.raw.nat, func(r *rawNAT) bool { return r.out.or("") == name.v }):
			v.fail(name.at, "ports: port %q is the outside of a nat rule, and anybody there could open ports: name the ports of the inside", name.v)
		}
		seen[name.v] = true
	}
	switch {
	case !slices.ContainsFunc(v.raw.nat, func(r *rawNAT) bool { return r.kind.bad || r.kind.or("") != NATNone }):
		v.fail(v.sectionKey("port_mapping"), "port_mapping: nothing is translated, so that hosts have nothing to ask for: add a rule to `nat:`, or remove the section")
	case !out.NATPMP && !out.PCP && !out.UPnP && !raw.upnp.bad:
		v.fail(v.sectionKey("port_mapping"), "port_mapping: every protocol is off: turn on one of nat_pmp, pcp and upnp, or remove the section")
	}
	v.config.PortMapping = out
}

// sectionKey is the node of a section's name.
func (v *validator) sectionKey(name string) *yaml.Node {
	if key, _ := lookUp(v.raw.root, name); key != nil {
		return key
	}
	return v.raw.root
}
