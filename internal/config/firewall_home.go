package config

import (
	"slices"
	"time"
)

// Zones of `firewall: home`.
const (
	homeInside  = "inside"
	homeOutside = "outside"
)

// ripPort is where RIP listens (RFC 2453 section 3.9.1).
const ripPort = 520

// dhcpServerPort is where servers and relays of DHCP listen (RFC 2131 section 4.1).
const dhcpServerPort = 67

// home expands `firewall: home`: outside are the ports that `nat` names, inside all others. Inside may open
// anything; outside reaches forwards, gets answers to its pings, and nothing else but what the configuration needs: RIP and DHCP, where
// they are served outside.
func (f *firewallValidator) home() {
	at := f.out.Pos
	if len(f.validator.raw.nat) == 0 {
		f.fail(f.raw.at, "firewall: `home` takes the ports of `nat` for the outside, and there is no rule: add `nat: [{out: PORT, type: masquerade}]`, or write zones and policies")
		return
	}
	outside, inside := Zone{Name: homeOutside, Pos: at}, Zone{Name: homeInside, Pos: at}
	unknown := false
	for _, r := range f.validator.raw.nat {
		switch name := r.out.or(""); {
		case f.byName[name] == nil:
			unknown = true // which has been told
		case !slices.Contains(outside.Ports, name):
			outside.Ports = append(outside.Ports, name)
		}
	}
	for _, name := range f.names {
		if !slices.Contains(outside.Ports, name) {
			inside.Ports = append(inside.Ports, name)
		}
	}
	if len(inside.Ports) == 0 && !unknown {
		f.fail(f.raw.at, "firewall: every port is the outside of a nat rule, so that `home` has no inside: add a port that is not in `nat:`, or write zones and policies")
		return
	}
	f.out.Zones = []Zone{inside, outside}
	f.out.Policy = []ZonePolicy{
		{From: homeInside, To: homeOutside, Action: ActionAccept, Pos: at},
		{From: homeOutside, To: homeInside, Action: ActionDrop, Pos: at},
		{From: homeOutside, To: RouterZone, Action: ActionDrop, Pos: at},
		// Nobody outside sends through the router to somebody else outside, in its name.
		{From: homeOutside, To: homeOutside, Action: ActionDrop, Pos: at},
	}
	ping := homeRule("ping", protoICMP, at)
	ping.ICMPType, ping.Rate = 8, &RuleRate{Packets: 100, Per: time.Second, Burst: 100}
	f.out.Rules = []FirewallRule{ping}
	if rip := f.config.RIP; rip != nil && slices.ContainsFunc(rip.Ports, func(p RIPPort) bool { return !p.Passive && slices.Contains(outside.Ports, p.Name) }) {
		updates := homeRule("rip", protoUDP, at)
		updates.Ports = []PortRange{{ripPort, ripPort}}
		f.out.Rules = append(f.out.Rules, updates)
	}
	if slices.ContainsFunc(f.validator.raw.dhcp, func(e *rawDHCPEntry) bool { return slices.Contains(outside.Ports, e.name) }) {
		requests := homeRule("dhcp", protoUDP, at)
		requests.Ports = []PortRange{{dhcpServerPort, dhcpServerPort}}
		f.out.Rules = append(f.out.Rules, requests)
	}
	f.config.Firewall = f.out
}

// homeRule lets something of outside reach the router.
func homeRule(name string, protocol uint8, at Pos) FirewallRule {
	return FirewallRule{
		Name: name, From: homeOutside, To: RouterZone, Protocol: protocol, ICMPType: -1, ICMPCode: -1, DSCP: -1, Action: ActionAccept, Pos: at,
	}
}
