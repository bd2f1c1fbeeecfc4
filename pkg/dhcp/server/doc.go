// Package server is a DHCP server (RFC 2131, RFC 2132) for networks that are attached to the router, and for those that relay agents
// bring to it.
//
// # A pure machine
//
// There is no socket, clock, lock or goroutine here. [Machine.Step] takes the time and one [Event] and returns the [Action] list that the
// router carries out; [Machine.Next] tells when to call again with a [Tick].
//
//	datagram ---> decode ---> admit: a request, of somebody ---> locate: which networks
//	                                                                 |
//	          DISCOVER ---> choose ---> (Probe ... Probed) ---> offer |
//	          REQUEST  ---> judge ----> bind: Store, Send ACK         | or NAK, or a named refusal
//	          DECLINE  ---> rest                                      |
//	          RELEASE  ---> end: Store                                |
//	          INFORM, BOOTP                                           v
//	          a deadline passed: an offer is taken back, a lease expires, a declined address has rested
//
// # One address, one client
//
// All that is known of an address is one [binding]: the lease that is or was there, and over it the offer that waits for its client. So an address cannot be two clients'. Bindings are found
// by address, by client and by offer; each knows its place in the lists of its pool (offers, ended leases, resting addresses, the oldest first) and in one
// heap of deadlines. Every change of a lease is a Store, in the order in which it happened, and what was
// acknowledged was stored before. A server that begins from what is on disk, less what had not got there, knows every lease that a client was ever told
// of.
//
// # Finding an address
//
// Each range has a set of the addresses that are taken, in pages with a summary ([room]): the next free one behind any place is found in a few
// steps, in a /8 as in a full /16. What has ended is taken there too and waits in its list.
//
// When all addresses are given away, an offer that was let lie for five seconds goes to the next who asks, and then an address that rests is
// asked for by a probe and offered if it is nobody's. So neither hosts that ask under ever new names nor ones that decline everything
// keep others out for longer than that.
//
// # Options
//
// A client gets what it asks for (option 55), in its order, as other servers have it; one that does not say gets all. What stands in its own reservation it
// gets in any case. The subnet mask is always there. What is too long for it spills into `file` and `sname`, and what fits nowhere
// is left out, the least wanted first, and counted.
//
// # Names
//
// A client's name is its reservation's, else what options 81 or 12 say, made one label. A name moves to the client that took an address with it last; the names of
// reservations do not move. Every change is a [LeaseEvent], with the name before.
//
// # Files
//
// types.go, reason.go; machine.go (events in, deadlines), receive.go (the ladder), discover.go, request.go, others.go (the other messages), reply.go (what is said and
// to whom), manage.go (what operators and the router do to leases), configure.go, subnet.go, binding.go (the table), room.go (free
// addresses), show.go.
package server
