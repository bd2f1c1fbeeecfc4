// Package dataplane is the packet path: what happens to a frame between the
// port it arrives at and the port it leaves by.
//
//	worker.poll -> etherInput -> ip4Input -> ip4Lookup -> ip4Rewrite -> transmit
//	                  |             |            |            |
//	                  +- ARP        +- bad       +- local     +- neighbour unknown
//	                  v             v            v            v
//	                        punt (bounded, every reason named and counted) -> control plane
//
// The files stand in that order: worker.go reads, input.go checks, lookup.go
// decides, rewrite.go changes the headers, transmit.go writes. What a packet rarely
// meets stands behind them: options.go, fragment.go, segment.go, mss.go, icmp.go.
//
// # Sessions
//
// With [Tables.Stateful] a packet passes its session between ip4Input and ip4Rewrite; without, it pays one comparison
// with nil. track.go finds the session, and follows what it has stored: one lookup for filter, NAT, route and neighbour. Behind
// it stand, in the order in which a packet meets them: whole.go (fragments), revise.go (something has changed), inbound.go,
// judge.go and outbound.go (no session yet), related.go (ICMP errors), answer.go (what the control
// plane is asked for). What it rests upon, a generation that grows with every change, is explained in track.go.
//
// Addresses and ports are changed in ip4Rewrite, where the TTL is: behind all that may still refuse the packet. Until then a
// packet only notes its new destination (work.dst), and whatever quotes, keeps or captures it sees it as it came.
//
// # One worker, one packet, no waiting
//
// A worker is a goroutine that owns the reading side of some ports. It handles a
// packet from read to write: no channel, no lock and no allocation on the way.
// Ports are spread over the workers; any worker may write to any port.
//
// # What a packet is decided by
//
// The worker looks at two things. The FIB (package fib) maps a destination to the
// number of an adjacency, and is changed in place under the workers' eyes. The
// [Tables], which hold the ports and the adjacencies that those numbers mean, are an
// immutable snapshot behind an atomic pointer. The two meet without a lock by an order:
// the control plane publishes the tables that hold a new adjacency before a route names it,
// and gives its number to another adjacency only after no route names it and
// every worker has been between two batches (package rcu). A worker therefore looks up first
// and loads the tables second.
//
// Every attached neighbour is a /32 route to its own adjacency, so that a packet costs
// one lookup whether its destination is behind a gateway or on the wire. A connected
// prefix is the glean adjacency below them: "ask who has this address".
//
// # What a packet may cost the control plane
//
// Whatever a worker cannot finish goes to the control plane through the punt queues,
// two for each port: one for what is addressed to the router, one for packets that only
// want an error sent or a neighbour found. Both are bounded, so that a sweep of
// unknown addresses on one port cannot starve the ARP of another, nor of its own.
//
// # Super-frames
//
// A port with offload delivers up to 64 KB of TCP or UDP payload as one frame that stands
// for many, its checksum unfinished. It is forwarded whole: the MTU is compared with the size of its
// segments, checksums in it are adjusted and not computed, and only an egress without
// offload, or the router itself, makes it cost what its segments would (segment.go).
//
// Nothing here reads a clock: [Config.Clock] is handed in, and asked only for
// what is rare: an ICMP error, a capture, a timestamp option.
package dataplane
