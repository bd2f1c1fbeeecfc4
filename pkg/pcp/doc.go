// Package pcp lets hosts ask for port mappings: NAT-PMP (RFC 6886) and PCP (RFC 6887), which share a port.
//
//	datagram -> Receive -> version -> NAT-PMP: address, map    -> Mapper -> answer
//	                               -> PCP: announce, map, options
//
// It is a pure machine: the NAT stands behind [Mapper], time is a parameter. Whoever asks is believed to be
// who its source address says, on the ports on which it may ask at all: a mapping leads to the asker and to nobody else.
// THIRD_PARTY is therefore an option that this server does not have, and PEER an operation that it does not have: dynamic mappings
// are endpoint-independent, and a host that wants one kept sends keepalives or maps it.
//
// The state that a client could lose is its mappings; they are gone when the router restarts, and the epoch, which begins at
// zero then, tells it (RFC 6886 section 3.6, RFC 6887 section 8.5); so it does when the outside address changes
// ([Server.ResetEpoch]). [Server.Announce] tells those who listen.
package pcp
