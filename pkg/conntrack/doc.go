// Package conntrack remembers the sessions that cross the router: the state that NAT and the
// firewall share.
//
//	Parse -> Key -> Table.Find -> Session.Update (state, window, timers, counters) -> Session.Route, Rewrite
//	                    |
//	                    +- nothing: the slow path decides, and Table.Create makes both directions at once
//
// # One entry, two keys
//
// A session is one entry of a slab, found by two keys: that of the packets of its original
// direction as they arrive, and that of the replies as they arrive. What NAT does is the difference of the
// two, so it needs no room of its own. An entry also holds, for each direction, the
// adjacency that its last packet was sent by, with the generation of the tables
// from which that followed: as long as nothing has changed, a packet of an established flow costs one lookup for
// filter, NAT, route and neighbour together.
//
// An entry has 112 octets; with its two references in the index a session costs less than 128 at a million. Neither entries nor
// index hold a pointer, so that the collector never looks into them.
//
// # Who may do what, when
//
// Finding takes no lock: the caller is in a read section of the [rcu.Domain], and an entry is
// used again only after a grace period. Changes of the index lock the shards of the keys, in their order; what changes inside
// an entry is guarded by the entry's own lock bit, or atomic. The locks of slab, rings of the wheel and hosts are taken last, one at a time.
//
// A session ends once: by whoever clears the bit "alive" in its word, under its lock bit. That one takes it out of the wheel and the
// index, off the counters, tells of it, and puts it to rest.
//
// # Time
//
// Time is a [Tick], handed in. A timer wheel holds the indices of entries; a packet only writes its time
// into the entry, and the wheel files it anew when it comes by. A session whose time is over is neither found nor in anybody's way, whether the
// wheel has met it or not.
//
// # Bounds
//
// Sessions in all, for each inside address, and TCP openings from outside that are not established are limited. Beyond a limit new sessions are
// refused, with a counted reason; but of the openings the oldest makes room for the new one, so that who completes a handshake gets
// in through a flood of SYNs. A live session is never ended for a new one. What attackers can do at most: a table full of their
// own sessions (they are outside: MaxHalfOpen, as long as nobody inside answers; they are inside: MaxPerHost).
// They cannot aim at a chain of the index (its hash has a secret seed), reset a connection whose numbers they do not see (the
// window, see [WindowMode]), nor keep alive what inside does not use (see [Session.Update]).
package conntrack
