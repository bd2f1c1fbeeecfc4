// Package firewall judges packets.
//
//	stateless:  Access  every packet, at the door of a port, whatever session it belongs to
//	stateful:   Judge   the first packet of a session, between two zones, behind the lookup
//
// A [Policy] is compiled from the configuration and immutable, but for counters, rates and dynamic sets. Rules
// are classified by a bit vector for each field, so that a thousand rules cost a new session little more than ten; a
// linear evaluator in the tests is the oracle.
package firewall
