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
// # Who may do what, when
//
// Finding takes no lock: the caller is in a read section of the [rcu.Domain], and an entry is
// used again only after a grace period. Changes of the index lock one shard at a time; what changes inside
// an entry is guarded by the entry's own lock bit. Entries and index hold no pointer, so that
// the collector never looks into them.
//
// # Time
//
// Time is a [Tick], handed in. A timer wheel holds the indices of entries; a packet only writes its time
// into the entry, and the wheel files it anew when it comes by.
package conntrack
