package router

import "vrouterd/internal/control/api"

// NATRules are the rows of `show nat`.
func (r *Router) NATRules() []api.NATRule { return nil }

// Sessions are a page of `show sessions` or `show nat sessions`.
func (r *Router) Sessions(api.SessionQuery) (api.SessionPage, error) { return api.SessionPage{}, nil }

// NATMappings are a page of `show nat mappings`.
func (r *Router) NATMappings(api.SessionQuery) (api.MappingPage, error) {
	return api.MappingPage{}, nil
}

// FirewallRules are the rows of `show firewall`.
func (r *Router) FirewallRules() []api.FirewallRule { return nil }

// FirewallSets are the rows of `show firewall set`.
func (r *Router) FirewallSets() []api.FirewallSet { return nil }

// SetMembers are the rows of `show firewall set NAME`.
func (r *Router) SetMembers(string) ([]api.SetMember, error) { return nil, errNoFirewall() }

// Explain tells what would happen to a packet.
func (r *Router) Explain(api.ExplainRequest) (api.Explanation, error) {
	return api.Explanation{}, errNoFirewall()
}

// ChangeSet adds an address to a set of the firewall, or takes it out.
func (r *Router) ChangeSet(api.Peer, api.SetChange, bool) error { return errNoFirewall() }

// FlushSessions ends the sessions that match.
func (r *Router) FlushSessions(api.Peer, api.NATFlush) (int, error) { return 0, errNoNAT() }

// AddForward adds a port forward to the running configuration.
func (r *Router) AddForward(api.Peer, api.ForwardSpec) error { return errNoNAT() }

// DeleteForward takes one out.
func (r *Router) DeleteForward(api.Peer, api.ForwardSpec) error { return errNoNAT() }

func errNoNAT() error {
	return &api.Error{Code: api.Conflict, Message: "NAT is not configured: a section `nat:` starts it"}
}

func errNoFirewall() error {
	return &api.Error{Code: api.Conflict, Message: "the firewall is not configured: a section `firewall:` starts it"}
}
