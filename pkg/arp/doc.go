// Package arp is the router's address resolution: RFC 826 with the manners that
// RFC 1122 section 2.3.2, RFC 1812 section 3.3.2 and RFC 5227 ask for, and the
// neighbour states that operators know from Linux.
//
// # A pure machine
//
// There is no socket, clock, lock or goroutine here. [Machine.Step] takes the time
// and one [Event] and returns the [Action] list that the router carries out;
// [Machine.Next] tells when to call again with a [Tick]. The same events at the same
// times with the same seed give the same actions to the byte.
//
//	frame heard ---> door (decode) ---> ladder of named refusals ---> whom is it about?
//	                                                                   |       |
//	           own address: conflict, defence                     <----+       |
//	           asked for us or for a proxied address: answer      <------------+
//	           the sender: one input to its neighbour             <------------+
//	                                                                   |
//	dataplane: Resolve, Used, Confirm ---------------------------> transitions
//	deadline passed ---------------------------------------------> (state, input)
//	                                                                   |
//	                             Bind, Unbind, Watch, Release, Abandon, Send, Changed
//
// # Neighbour and adjacency
//
// A neighbour is what this machine knows of a station; an adjacency is the rewrite
// that the dataplane holds. [Bind] and [Unbind] keep the second in step with the
// first. A neighbour that is being confirmed (stale, delay, probe) keeps its
// adjacency, so that traffic never waits for an address that was good a moment ago.
//
// Packets along an adjacency do not pass through here, so use must be told. On
// [Watch] the router clears the adjacency's used mark, and sends [Used] when
// traffic has set it again. A reachable neighbour that goes quiet is thus never probed,
// while one that carries traffic is confirmed every half minute or so.
//
// # What is learned, and from whom
//
// A new neighbour comes only from an answer to a request of ours or from a request
// directed at us (RFC 826's merge: who asks is about to be sent something). Everything else,
// gratuitous or overheard, updates a neighbour that exists and creates none. Group
// and zero hardware addresses, our own addresses and senders that are not on-link at
// the arrival port teach nothing. A probe (sender 0.0.0.0, RFC 5227) is answered
// and teaches nothing. A second, different answer within a second of the first is ignored:
// the first station wins, and two of them cannot make the adjacency flap.
//
// # Bounds
//
// Whoever sweeps a /8 through the router makes it ask for millions of stations that
// do not exist. Four bounds keep that harmless: unresolved neighbours have a budget of
// their own and replace only each other; one station is asked at most once a
// second (RFC 1122 section 2.3.2.1), whatever happened to its entry in between; all
// broadcasts together obey a rate, with requests queued for their turn for at most about a
// second; waiting packets are bounded per neighbour in number and together in
// octets. Unicast probes do not count against the rate, so that a sweep cannot
// make a live neighbour fail. A full cache evicts failed, then unanswered, then the oldest
// stale entries; never one in use and never a permanent one.
//
// # Files
//
// doors: wire.go; words: types.go, config.go, reason.go; logic: machine.go (events in),
// input.go (the ladder), transitions.go (the table), neighbor.go (what the table's
// actions do), cache.go (room and eviction), ports.go and acd.go (our own
// addresses) and pace.go (rates).
package arp
