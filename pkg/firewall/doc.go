// Package firewall judges packets.
//
//	stateless:  Access  every packet, at the door of a port, whatever session it belongs to
//	stateful:   Judge   the first packet of a session, between two zones, behind the lookup
//
//	            key, zones                    flags, states, sets          rate, sessions of the source
//	packet ---> classifier ---> candidates ---> rule.match ------------------> the first that matches
//	            (bit vectors)   in their order                                       |
//	                                     none: the pair's policy, the default <------+-> count, add to a set, log
//
// A [Policy] is compiled from the configuration and immutable, but for counters, rates, limits and dynamic sets. Several
// workers judge at once, by an old and a new policy while one follows the other.
//
// # Classifier
//
// For each field (source, destination, both ports, protocol, pair of zones) a table of intervals says which rules a value does
// not refuse, as a bit vector (Lakshman and Stiliadis, SIGCOMM 1998); the AND of six vectors are the candidates. Negations are
// intervals as well. Vectors are cut into blocks of 512 rules, a cache line; each different block of a
// field is stored once, and a row of a table is a list of block numbers. Number 0 is the empty block: where a field
// has it, 512 rules are passed over by one comparison. This is what aggregated bit vectors are after (Baboescu and Varghese,
// SIGCOMM 2001), and it bounds memory: rows grow with rules times rules over 512, blocks with the rules.
//
// What the classifier cannot know (members of sets, flags, ICMP types, states, DSCP, lengths, rates) the candidate itself looks
// at. A rule set in which hundreds of rules differ in nothing else is gone through one by one.
//
// # Stable verdicts
//
// [Verdict.Stable] says that key and ports alone have decided, so that the verdict may be kept with the session. It is false as
// soon as any rule up to the one that decides asks for something else, and could match this key. Addresses of a set count as settled
// where the configuration puts them in, where they were added for good, and where they are not members and no rule adds to the set;
// since users change sets by hand, whoever keeps verdicts forgets them after [Policy.AddMember] and [Policy.DeleteMember].
// What is kept is not judged again, and neither counted nor logged. No session has packets that are [Invalid]: a stable verdict
// of Judge for others does not speak of them.
//
// # Rates, limits, logs
//
// A rate is a token bucket in one word (see meter); time comes in tenths of a second, and a bucket holds at least what one
// brings. A super-frame counts as its packets; one that is larger than the bucket passes a full one, and leaves a debt. Buckets
// of each source are bounded: 65536 for a rule. A source without a bucket that finds no room among those that are not full
// again shares one with all others in its case, so that a flood of invented sources gets one source's rate, while those who had
// a bucket keep it. Sources whose sessions a rule counts are bounded by about a million; one that finds no room has used up its
// limit. Both are counted ([RuleCount.Crowded]). Of each rule and pair 10 packets a second are logged, and 20 at once; the
// others are counted ([RuleCount.LogsSuppressed]).
//
// # What goes on
//
// Rules go on in the next policy by name, or, without one, by content: the counter, the bucket (unless the rate is another),
// the sessions of each source and the number, [Verdict.ID]. A session keeps this number, not an index, so that it still names
// its rule, and is taken off the right count, when rules have come and gone ([Policy.RuleOf], [Policy.Ended]). The number of a
// rule that has gone is not given away while sessions are counted under it, and after that as late as possible.
//
// # Files
//
// config.go, words.go: what is configured, and its words; compile.go, compile_rule.go, identity.go: from configuration to
// policy; policy.go: the doors; rule.go: one rule; classifier.go, classifier_build.go, ranges.go: bit vectors; rate.go,
// hosts.go: buckets and limits; set.go, members.go: sets; counts.go, explain.go: for the operator.
//
// A linear evaluator in the tests reads the configuration as it is written, and is the oracle for all of this.
package firewall
