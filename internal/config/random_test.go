package config

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// choices are values of a key, good ones and bad ones.
type choices struct {
	key    string
	often  int // in 10
	values []string
}

// entry writes a random mapping.
func entry(random *rand.Rand, all []choices) string {
	var parts []string
	for _, c := range all {
		if random.IntN(10) < c.often {
			parts = append(parts, c.key+": "+c.values[random.IntN(len(c.values))])
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// TestRandomSectionsHoldWhatTheFuzzerAsks makes sections of words that have a meaning, which random octets seldom
// have, and judges them as FuzzParse does.
func TestRandomSectionsHoldWhatTheFuzzerAsks(t *testing.T) {
	nets := []string{"10.0.0.0/8", "192.168.1.5", "[10.0.0.0/25, 10.0.0.200]", "10.0.0.1/8", "'!10.0.0.0/8'"}
	zones := []string{"in", "out", "router", "lan"}
	match := []choices{
		{"name", 3, []string{"a", "b", "c", "d", "e", "'7'", "7"}}, {"source", 3, nets}, {"not_source", 1, nets}, {"destination", 2, nets}, {"not_destination", 1, nets},
		{"source_set", 1, []string{"bad", "none"}}, {"not_destination_set", 1, []string{"bad", "worse"}}, {"protocol", 7, []string{"tcp", "tcp", "udp", "icmp", "47", "esp", "0"}},
		{"port", 2, []string{"80", "[80, 90-95]", "'81'", "9-8"}}, {"source_port", 1, []string{"1024-65535"}}, {"icmp_type", 1, []string{"echo_request", "3", "256"}}, {"icmp_code", 1, []string{"0"}},
		{"flags", 1, []string{"syn", "'!syn,ack'", "syn, ack", "fun"}}, {"dscp", 1, []string{"ef", "63", "0"}}, {"length", 1, []string{"100", "40 - 60", "19"}},
		{"rate", 2, []string{"10/s", "over 5/m burst 3 per source", "10"}}, {"add_to", 1, []string{"bad"}}, {"add_for", 1, []string{"1h"}}, {"log", 1, []string{"true"}},
		{"comment", 1, []string{"x"}}, {"action", 10, []string{"accept", "drop", "reject", "reject_host"}},
	}
	rule := append([]choices{{"from", 7, zones}, {"to", 7, zones}, {"state", 1, []string{"new", "[new, mapped]", "established"}}, {"max_sessions", 1, []string{"5", "0"}}}, match...)
	access := append([]choices{{"in", 9, []string{"lan", "wan", "dmz"}}, {"out", 1, []string{"lan"}}, {"from", 1, []string{"in"}}}, match...)
	nat := []choices{
		{"out", 10, []string{"wan", "wan", "dmz", "wam"}}, {"type", 10, []string{"masquerade", "masquerade", "snat", "none", "one_to_one", "cgnat"}}, {"source", 7, nets}, {"destination", 1, nets},
		{"protocol", 1, []string{"tcp", "50"}}, {"to", 3, []string{"198.51.100.1", "198.51.100.2-198.51.100.9", "[198.51.100.16/28, 198.51.100.50]", "9.9.9.9-1.1.1.1"}},
		{"inside", 2, []string{"10.0.0.7"}}, {"outside", 2, []string{"198.51.100.77", "83.215.152.95"}}, {"filtering", 1, []string{"address_dependent"}}, {"ports", 1, []string{"1024-2047", "5000"}},
		{"block_size", 1, []string{"64", "1024"}}, {"max_blocks", 1, []string{"2"}}, {"deterministic", 1, []string{"true"}}, {"name", 1, []string{"a", "b"}},
	}
	forward := []choices{
		{"in", 10, []string{"wan", "dmz", "wan"}}, {"protocol", 10, []string{"tcp", "udp", "tcp_udp"}}, {"port", 10, []string{"80", "443", "90-99", "1-1000", "65535"}},
		{"to", 10, []string{"192.168.1.5", "192.168.1.5:65530", "10.0.0.2:80", "192.168.1.1"}}, {"address", 1, []string{"83.215.152.95"}}, {"source", 2, nets}, {"name", 1, []string{"f", "g"}},
	}
	policy := []choices{{"from", 10, zones}, {"to", 10, zones}, {"action", 10, []string{"accept", "drop"}}, {"log", 2, []string{"true"}}}
	random := rand.New(rand.NewPCG(5, 6))
	list := func(most int, all []choices) string {
		var entries []string
		for range random.IntN(most) {
			entries = append(entries, entry(random, all))
		}
		return "[" + strings.Join(entries, ", ") + "]"
	}
	schema := resolved(t)
	right := 0
	const rounds = 400
	for range rounds {
		firewall := "home"
		if random.IntN(4) > 0 {
			firewall = fmt.Sprintf("{zones: {in: {ports: [lan, dmz]}, out: {ports: wan}}, sets: {bad: , worse: {addresses: %s}}, rules: %s, policy: %s, access: %s}",
				nets[random.IntN(3)], list(2, rule), list(2, policy), list(2, access))
		}
		if judge(t, schema, home(fmt.Sprintf("nat: %s\nforwards: %s\nfirewall: %s\n", list(3, nat), list(3, forward), firewall))) {
			right++
		}
	}
	if right < rounds/50 || right > rounds*49/50 {
		t.Errorf("%d of %d were right: the test tests one side only", right, rounds)
	}
}
