// Package rip speaks RIP version 2 (RFC 2453, authentication RFC 4822) and version 1 (RFC 1058).
//
// # A pure machine
//
// There is no socket, clock, lock or goroutine here. [Machine.Step] takes the time and one
// [Event] and returns the [Action] list that the router carries out; [Machine.Next] tells when to
// call again with a [Tick]. The same events at the same times with the same seed give the same
// actions to the byte.
//
//	datagram ---> ladder of named refusals ---> authentication ---> request: answer to the asker
//	                                                                     |
//	                                            response: entry by entry v
//	                                 a path of one neighbour to one prefix: new, changed, or gone
//	PortUp, Redistribute, Configure ---> what the router announces itself |
//	a deadline passed: a path is gone                                     v
//	                                              choose ---> Install, Withdraw (the RIB)
//	                                                |
//	                                              touch: last in the list of changes
//	                                                |
//	                  trigger, periodic timer, request ---> jobs of a port ---> pace ---> Send
//
// # The table
//
// Every neighbour's path to a prefix is kept, not the best alone, and each ages by itself. When
// the best goes, the next best takes over in the same Step; only a prefix with no path left is
// lost, announced with metric 16 for the garbage time, and then forgotten. What a
// neighbour says of its own path always counts, be it worse; metric 16 removes it. Paths
// of equal metric are used together, up to [Config].MaxPaths.
//
// A prefix that the router announces on its own account (the network of a port, a redistributed
// route, the default route) hides what neighbours say of it in announcements, but not from the RIB, which
// then has something to fall back to.
//
// Entries stand in one list in the order of their last change. An update is a cursor
// in that list: a whole table begins at its head, a triggered update at the first entry that changed since the port's last one, so
// that a change costs what has changed. An entry that changes moves to the tail, and the cursors that
// stand on it move on.
//
// Timeouts cost no search either: the paths of a port share one time to live, so that the order in
// which they were refreshed is that of their deadlines.
//
// # Who is told what
//
// Split horizon goes by port, as FRR and BIRD have it: a route of which any path in use
// leads through the port is announced there with metric 16 (poisoned), not at all (simple), or like any other (none).
// The network of a port is another matter: a port with addresses in two networks speaks to each from its own
// address, and tells each of the other but not of itself.
//
// Each entry remembers the ports where it was announced as reachable. What was is taken
// back when a filter, a rule or split horizon silences it later; what never was is not mentioned
// when it is lost. That is also what a stopping router poisons.
//
// # When
//
// A whole table goes out on each port every 30 s give or take a sixth, by the machine's own random numbers. A
// change triggers an update after 10 ms, or, while a table of many packets is arriving, when that
// pauses; the next one waits out a random hold of 1 to 5 s (RFC 2453 section 3.10.1), in
// proportion less where the update interval is below 30 s. The loss of a port, a new configuration and shutdown do
// not wait: nobody should send traffic to a dead end for the sake of a hold.
//
// Neighbours lose bursts (their socket buffers held 65 packets in FRR 8.4 and 166 in BIRD 2.0). So
// 40 packets leave a port in a row at most, then there is a gap of 50 ms.
//
// # Who is believed
//
// A datagram climbs a ladder, and each rung has a name, a sentence and a counter ([BadReason]). What
// fails below RIP (a foreign source, a wrong destination, a low TTL) is counted at the port; everything
// later also at its neighbour. A bad entry does not spoil the others of its packet.
//
// Where authentication is on, it is needed for requests too: the table is nobody
// else's business. A digest counts with the exact key id, within its lifetime, and with
// a sequence number not below the last of the same neighbour and key. What was seen outlives the neighbour's row and, by
// [SaveState], the router. Our own numbers follow the clock and are reserved in blocks that are made durable before use,
// so that neither a crash nor a clock set back makes them fall.
//
// # Bounds
//
// Neighbours, prefixes, paths, paths of one neighbour, packets a second of one neighbour, whole tables
// that somebody asks for, and updates that wait: each has a limit, and a refusal is counted. Neighbours that never sent
// anything good make room for others first, so that forged sources replace only each other.
//
// # Files
//
// wire: wire.go (packets), auth.go (digests and their check), network.go (what a prefix may be). types: types.go,
// rows.go, config.go, defaults.go, reason.go. logic: machine.go (events in, deadlines), input.go (the ladder),
// table.go and choose.go (the table), output.go (jobs, pace, what is said to whom), port.go,
// neighbor.go, configure.go (live change), sequence.go (what survives a restart), show.go, slots.go (sets of ports).
package rip
