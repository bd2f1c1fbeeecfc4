// Package simnet is a network in virtual time for tests: many nodes, the links between them, and one
// heap of what is to happen.
//
//	World: clock, heap, seed ---> Host: a Node with ports ---> Link: latency, loss, cuts ---> Host
//
// Nothing here waits. An hour of a hundred routers passes as fast as its events can be carried out, and
// the same seed gives the same run to the byte: one goroutine, one source of random numbers, and
// events of the same moment in the order in which they were planned.
//
// [World] knows no protocol: it carries messages of any type between nodes that answer to [Node]. What
// runs RIP on it is [Lab]: a [Graph] of routers, each with a stub network of its own, their routing tables, faults to inflict on
// them, and two judges: an [Oracle], which finds by breadth-first search what every
// table must say, and a walk along the next hops that finds loops and how long they last.
//
// # Files
//
// world.go (time and nodes), link.go (what may happen to a message), graph.go (topologies), lab.go and
// router.go (RIP on it), faults.go (what may happen to a lab), oracle.go, loops.go (the judges).
package simnet
