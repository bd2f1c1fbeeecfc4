// Package nat decides what addresses and ports a new session gets on the other side.
//
//	new packet -> Mappings.Inbound:  is it for a mapping, a forward, a 1:1 address?  -> new destination
//	           -> (route, filter)
//	           -> Mappings.Outbound: which outside address and port is it to have?   -> new source
//	           -> conntrack.Create
//
// It is asked once a session; packets that follow are rewritten from the session alone ([Translate]).
//
// A [Policy] is what the configuration says: immutable, part of the dataplane's snapshot. [Mappings] is what
// has come of it: endpoint-independent mappings (RFC 4787 section 4.1), of an inside address and port to an outside address and
// port, shared by all sessions of that inside port; blocks of ports for subscribers; explicit mappings of
// NAT-PMP, PCP, UPnP and helpers. It is sharded and may be used from every worker at once.
package nat
