// Package nat decides what addresses and ports a new session gets on the other side.
//
//	new packet -> Mappings.Inbound:  is it for a mapping, a forward, a 1:1 address?  -> new destination
//	           -> (route, filter)
//	           -> Mappings.Outbound: which outside address and port is it to have?   -> new source
//	           -> conntrack.Create
//	session over -> Mappings.Release
//
// It is asked once a session; packets that follow are rewritten from the session alone ([Translate]).
//
// # Policy and mappings
//
// A [Policy] is what the configuration says: immutable, part of the dataplane's snapshot. [Mappings] is what
// has come of it: endpoint-independent mappings (RFC 4787 section 4.1), of an inside address and port to an outside address and
// port, shared by all sessions of that inside port; blocks of ports for subscribers; explicit mappings of
// NAT-PMP, PCP, UPnP and helpers. It may be used from every worker at once.
//
// A policy finds the first rule of a port by sets of bits, one for each interval of sources and of destinations, so that a
// thousand rules cost what ten do; and a forward by a search among the ports of its address.
//
// # Where things are
//
//	inside address -> shard (a lock)  mappings by inside port; pairing; blocks; permissions; explicit mappings
//	outside address -> directory      a bitmap of ports and a table of port -> mapping for each protocol, without a lock
//
// All that belongs to an inside host is in one shard, so that a new session takes one lock. The port is taken in the outside address's
// bitmap by compare-and-swap, since hosts of all shards share it; a scan of the bitmap, from a random word on, finds
// one when the inside port's own number cannot be kept. What arrives from outside finds its mapping by the table, and takes the
// lock of that mapping's shard. Mappings hold no pointer.
//
// # References
//
// A dynamic mapping lives as long as a session is over it (RFC 4787 REQ-6 and the timeouts are the session table's): Inbound and
// Outbound each take one reference for the session that is to be made, where they say so (Mapped), and
// [Mappings.Release] gives back what a session held. A hairpin between two inside hosts holds two: one to the mapping that
// stands for its source, and one to that of its destination. What is refused between Inbound and Outbound is given back by
// [Mappings.ReleaseTarget]. Sessions by a forward hold a mapping as well, made by the first: so nobody else gets the
// port while they live, even if the forward goes, and what the forwarded host sends from its port leaves by the
// forwarded one.
//
// The router's own sessions hold mappings of their port to itself, so that no inside host gets that port.
//
// # Filtering
//
// A dynamic mapping lets in anybody, or those addresses that a live session over it, opened from inside, goes to, or
// nobody (replies have their session). A packet from inside to an outside address is a hairpin, and comes, for the filter
// and for the receiver, from the outside address that its source is translated to (RFC 4787 REQ-9); if that host sends to an outside
// address itself, its permission is for that.
//
// # When the policy changes
//
// Rules are known by what they say, not by their place: a mapping goes on under the rule that says the same, or under another
// that the host meets and that has the mapping's outside address. [Mappings.Retain] finds those for which there is none,
// and [Mappings.Stands] tells which sessions those are, for the control plane to flush. Until Retain comes by, new
// sessions already get only what the new policy has.
package nat
