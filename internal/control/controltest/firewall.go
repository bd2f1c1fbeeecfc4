package controltest

import (
	"fmt"
	"slices"

	"vrouterd/internal/control/api"
)

// firewallRules, firewallSets and setMembers keep outside out, but for ping, and bar whom they must.
func firewallRules() []api.FirewallRule {
	return []api.FirewallRule{
		{Kind: "access", Name: "spoofed", From: "wan", Match: "source 10.0.0.0/8", Action: "drop", Log: true, Line: 31, Packets: 12, Bytes: 720},
		{Kind: "rule", Name: "barred", From: "outside", Match: "source in set barred", Action: "drop", Line: 24, Packets: 3456, Bytes: 207360},
		{Kind: "rule", Name: "ping", From: "outside", To: "router", Match: "icmp echo_request, within 100/s", Action: "accept", Line: 25, Packets: 88, Bytes: 7392},
		{Kind: "rule", Name: "ssh", From: "inside", To: "inside", Match: "tcp port 22", Action: "accept", Line: 26, Packets: 1, Bytes: 60},
		{Kind: "policy", From: "inside", To: "outside", Match: "everything", Action: "accept", Line: 20, Packets: 123456, Bytes: 7407360},
		{Kind: "policy", From: "outside", To: "router", Match: "everything", Action: "reject", Log: true, Line: 22},
		{Kind: "default", From: "outside", To: "inside", Match: "everything else", Action: "drop", Packets: 250, Bytes: 15000},
	}
}

func firewallSets() []api.FirewallSet {
	return []api.FirewallSet{
		{Name: "barred", Members: 3, Added: 2, Max: 65536, TimeoutSeconds: 3600, Line: 17},
		{Name: "friends", Max: 100, Line: 18},
	}
}

func setMembers() []api.SetMember {
	return []api.SetMember{
		{Set: "barred", Address: "203.0.113.128/25"},
		{Set: "barred", Address: "198.51.100.66", Dynamic: true, ExpiresSeconds: 1820},
		{Set: "barred", Address: "198.51.100.67", Dynamic: true},
	}
}

func (f *Fake) FirewallRules() []api.FirewallRule { return table(f, f.rules) }
func (f *Fake) FirewallSets() []api.FirewallSet   { return table(f, f.sets) }

// hasSet is called with the lock.
func (f *Fake) hasSet(name string) error {
	if f.Empty || !slices.ContainsFunc(f.sets, func(s api.FirewallSet) bool { return s.Name == name }) {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("the firewall has no set %q", name)}
	}
	return nil
}

func (f *Fake) SetMembers(set string) ([]api.SetMember, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.hasSet(set); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(f.members), func(m api.SetMember) bool { return m.Set != set }), nil
}

func (f *Fake) ChangeSet(_ api.Peer, change api.SetChange, add bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.hasSet(change.Set); err != nil {
		return err
	}
	if add {
		f.members = append(f.members, api.SetMember{Set: change.Set, Address: change.Address, Dynamic: true, ExpiresSeconds: change.For.Seconds()})
		return nil
	}
	i := slices.IndexFunc(f.members, func(m api.SetMember) bool { return m.Set == change.Set && m.Address == change.Address })
	if i < 0 {
		return &api.Error{Code: api.NotFound, Message: fmt.Sprintf("%s is not in the set %s", change.Address, change.Set)}
	}
	f.members = slices.Delete(f.members, i, i+1)
	return nil
}

// Explain knows four packets: to the world from lan, to port 80 of wan, from a barred one, and what ends at the router.
func (f *Fake) Explain(r api.ExplainRequest) (api.Explanation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.ports, func(p api.Port) bool { return p.Name == r.In }) {
		return api.Explanation{}, &api.Error{Code: api.NotFound, Message: fmt.Sprintf("there is no port %q", r.In)}
	}
	source := fmt.Sprintf("%s:%d", r.Src, r.SrcPort)
	switch {
	case r.Src == "203.0.113.130":
		return api.Explanation{Verdict: "dropped", Reason: "firewall_drop", Steps: []api.ExplainStep{
			{Stage: "input", Decision: "pass", Text: "The packet came in by wan."},
			{Stage: "filter", Decision: "drop", Text: "Rule barred matches: 203.0.113.130 is in the set barred.", Line: 24, Source: "- {name: barred, from: outside, source_set: barred, action: drop}"},
		}}, nil
	case r.Dst == "192.0.2.1" && r.DstPort == 80:
		s := api.Session{Protocol: r.Protocol, Inside: "10.1.0.5:8080", Outside: "192.0.2.1:80", Remote: source, State: "syn_sent", Direction: "in", InPort: "wan", OutPort: "lan", NAT: "forward web"}
		return api.Explanation{Verdict: "forwarded", Out: "lan", Packet: fmt.Sprintf("tcp %s > 10.1.0.5:8080, flags %s, ttl %d, length %d", source, r.TCPFlags, r.TTL-1, r.Length), Session: &s, Steps: []api.ExplainStep{
			{Stage: "input", Decision: "pass", Text: "The packet came in by wan."},
			{Stage: "session", Decision: "new", Text: "No session has these addresses and ports; the packet may open one."},
			{Stage: "nat_inbound", Decision: "translate", Text: "The forward web sends it to 10.1.0.5:8080.", Line: 16, Source: "- {in: wan, protocol: tcp, port: 80, to: 10.1.0.5:8080, name: web}"},
			{Stage: "lookup", Decision: "forward", Text: "10.1.0.0/24 is connected to lan."},
			{Stage: "filter", Decision: "accept", Text: "No rule matches, and a forward has let it in.", Line: 19, Source: "firewall:"},
			{Stage: "output", Decision: "pass", Text: "It leaves by lan to 02:00:00:00:00:05."},
		}}, nil
	case r.Dst == "192.0.2.1":
		return api.Explanation{Verdict: "rejected", Reason: "firewall_reject", Steps: []api.ExplainStep{
			{Stage: "input", Decision: "pass", Text: "The packet came in by " + r.In + "."},
			{Stage: "filter", Decision: "reject", Text: "The policy from outside to router rejects it.", Line: 22, Source: "- {from: outside, to: router, action: reject, log: true}"},
		}}, nil
	}
	s := f.sessions[0]
	return api.Explanation{Verdict: "forwarded", Out: "wan", Packet: fmt.Sprintf("%s 192.0.2.1:%d > %s:%d, ttl %d, length %d", r.Protocol, r.SrcPort, r.Dst, r.DstPort, r.TTL-1, r.Length), Session: &s, Exists: true, Steps: []api.ExplainStep{
		{Stage: "input", Decision: "pass", Text: "The packet came in by " + r.In + "."},
		{Stage: "session", Decision: "found", Text: "It belongs to a session."},
		{Stage: "rewrite", Decision: "translate", Text: "Its source becomes 192.0.2.1.", Line: 13, Source: "- {out: wan, type: masquerade}"},
	}}, nil
}
