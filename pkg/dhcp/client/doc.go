// Package client is a DHCP client (RFC 2131 section 4.4) for one port of the router, its uplink: one machine a port.
//
// # A pure machine
//
// There is no socket, clock, lock or goroutine here. [Machine.Step] takes the time and one [Event] and returns the [Action]
// list that the router carries out in order; [Machine.Next] tells when to call again with a [Tick]. The same events at the same times with
// the same seed give the same actions to the byte.
//
//	datagram ---> ladder of named refusals ---> OFFER, ACK, NAK that count
//	                                                   |
//	LinkUp, LinkDown, Renew, Release, Checked ... ---> table: state x input ---> steps, next state
//	a deadline has passed --------------------------->                             |
//	                                                          Send, Check, Use, Drop, Save, Note
//
// The table is in transitions.go; testdata/transitions.txt prints it.
//
// # What the RFC leaves open
//
// The first acceptable offer is taken. Waiting for better ones would cost every start a few seconds, for a choice between servers that
// one operator runs. A server that offered and then did not answer a REQUEST is passed over in the first round of the next attempt.
//
// The first message leaves at once. The delay of 1 to 10 s (section 4.4.1) is to keep a building of hosts apart after a power failure; a router has one
// uplink, and a lab is to be up in a second. What is repeated is spread by a second either way, as the RFC says.
// A client that is refused again and again waits longer and longer, to 64 s.
//
// # A lease outlives its server
//
// An address is used until its lease expires, whatever happens meanwhile: a restart, a link that was down, a server that is gone. After those
// it is confirmed (INIT-REBOOT). If nobody says yes or no to that, the client begins anew with DISCOVER while it keeps using the address: the
// RFC would have it wait for T1, but a client that was moved to a network with a server that is silent about strangers would be cut off until then.
//
// A lease counts from the moment when the REQUEST was sent that the server answered (section 4.4.1). T1 and T2 of the server are used when
// 0 < T1 < T2 < lease, otherwise half and seven eighths of the lease, T1 with some random advance. Renewal is repeated after half of what is left until
// T2, then until the end, but not sooner than after a minute, or a sixteenth of a lease that is shorter than 16 minutes, or a quarter of a second.
//
// # Files
//
// types.go, reason.go; machine.go (events in, deadlines), transitions.go (the table), input.go (the ladder), steps.go (what a transition does),
// output.go (messages), lease.go (what a server's options say).
package client
