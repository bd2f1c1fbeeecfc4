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

// TestRandomSectionsOfDHCPAndDNSHoldWhatTheFuzzerAsks does the same for what hosts get from the router.
func TestRandomSectionsOfDHCPAndDNSHoldWhatTheFuzzerAsks(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	list := func(least, most int, all []choices) string {
		var entries []string
		for range least + random.IntN(most) {
			entries = append(entries, entry(random, all))
		}
		return "[" + strings.Join(entries, ", ") + "]"
	}
	options := []string{"{}", "{42: 192.168.1.1}", "{66: boot, 26: 1400}", "{121: 10.0.0.0/8 via 192.168.1.2}", "{43: {1: x}, 224: [1, 300]}", "{ntp_servers: [192.168.1.3, 10.0.0.1]}", "{51: 5}", "{19: x}"}
	ranges := []string{"192.168.1.100-192.168.1.199", "192.168.1.0/25", "[192.168.1.10, 192.168.1.20-192.168.1.29]", "192.168.1.90-192.168.1.120", "192.168.1.1-192.168.1.4", "192.168.1.77", "192.168.1.40-192.168.1.44", "10.1.0.9"}
	leases := []string{"1h", "12h", "2s", "infinite", "30m", "1500ms"}
	macs := []string{`"02:00:00:00:00:01"`, `"02:00:00:00:00:02"`, `"02:00:00:00:00:03"`}
	hosts := []string{"192.168.1.5", "192.168.1.6", "192.168.1.110", "192.168.1.1", "10.1.0.5"}
	reservation := []choices{{"mac", 10, macs}, {"address", 10, hosts[:3]}, {"name", 5, []string{"a", "B", "printer", "a.b"}}, {"lease", 1, leases}, {"options", 1, options}}
	pool := []choices{{"name", 10, []string{"p", "q"}}, {"vendor", 10, []string{"x", "y"}}, {"range", 5, []string{"192.168.1.200-192.168.1.210", "192.168.1.150"}}, {"options", 8, options[:6]}}
	lan := []choices{
		{"range", 9, ranges}, {"lease", 2, leases}, {"min_lease", 1, leases[2:]}, {"max_lease", 1, leases[:4]}, {"renew", 1, leases[4:]}, {"rebind", 1, leases},
		{"exclude", 1, []string{"192.168.1.110", "192.168.1.3"}}, {"gateway", 3, []string{"none", "192.168.1.1", "[192.168.1.1, 192.168.1.2]", "10.1.0.1"}}, {"dns", 3, []string{"none", "9.9.9.9", "[192.168.1.1, 9.9.9.9]", "127.0.0.1"}},
		{"ntp", 1, hosts}, {"domain", 2, []string{"home.arpa", "Example.", "a b"}}, {"search", 1, []string{"a", "[a, b.c]"}}, {"options", 3, options}, {"network", 1, []string{"192.168.1.0/24", "10.1.0.0/24"}},
		{"inspection", 2, []string{"off", "log", "drop"}}, {"probe", 1, []string{"false"}}, {"authoritative", 1, []string{"false"}}, {"rapid_commit", 1, []string{"true"}},
		{"next_server", 1, hosts}, {"boot_file", 1, []string{"x"}}, {"comment", 1, []string{"x"}},
	}
	relay := []choices{{"servers", 10, []string{"10.0.0.5", "[10.0.0.5, 10.0.0.6]", "10.0.0.7", "10.0.0.8", "10.0.0.9", "10.0.0.10", "192.168.1.1"}}, {"option_82", 8, []string{"true"}}, {"circuit_id", 1, []string{"c"}}, {"max_hops", 1, []string{"4"}}}
	far := []choices{{"network", 10, []string{"10.5.0.0/24", "10.5.0.0/25", "10.5.0.0/23", "10.5.0.0/26", "10.5.0.0/22", "10.4.0.0/15", "10.1.0.0/16"}}, {"range", 9, []string{"10.5.0.0/25", "10.5.0.10-10.5.0.20"}}, {"gateway", 10, []string{"none", "10.5.0.1"}}, {"inspection", 1, []string{"log", "off", "off"}}}
	upstream := []choices{{"domain", 10, []string{"a", "b.c", "home.arpa"}}, {"servers", 10, []string{"none", "10.0.0.5", "[10.0.0.5, '10.0.0.6:54']"}}}
	record := []choices{{"address", 9, []string{"192.168.1.9", "[192.168.1.9, 0.0.0.0]"}}, {"cname", 1, []string{"a", "b", "printer", "x.y"}}, {"txt", 2, []string{"x", "[x, y]"}}, {"ttl", 2, []string{"5s", "1h"}}}
	dns := []choices{
		{"listen", 10, []string{"lan", "[lan, two]", "[two]", "core", "core", "up"}}, {"domain", 7, []string{"home.arpa", "a"}}, {"cache", 1, []string{"0", "5"}}, {"min_ttl", 1, []string{"1s", "30m"}}, {"max_ttl", 1, []string{"1m", "1h"}},
		{"max_queries", 1, []string{"5", "500"}}, {"max_per_client", 1, []string{"5", "50"}}, {"rebind_protection", 4, []string{"true"}}, {"rebind_allow", 2, []string{"a", "[a, b]"}},
	}
	schema := resolved(t)
	right := 0
	const rounds = 200
	for range rounds {
		section := strings.TrimSuffix(entry(random, lan), "}")
		if random.IntN(2) == 0 {
			section += ", reservations: " + list(0, 3, reservation)
		}
		if random.IntN(3) == 0 {
			section += ", pools: " + list(0, 3, pool)
		}
		section = strings.Replace(section+"}", "{, ", "{", 1)
		names := strings.TrimSuffix(entry(random, dns), "}")
		if random.IntN(2) == 0 {
			names += ", upstream: [9.9.9.9, " + strings.TrimPrefix(list(1, 2, upstream), "[")
		}
		if random.IntN(2) == 0 {
			names += fmt.Sprintf(", records: {a: %s, b.home.arpa: %s}", entry(random, record), entry(random, record))
		}
		source := dhcpOn(fmt.Sprintf("dhcp:\n  lan: %s\n  two: {relay: %s}\n  far: %s\ndns: %s}\n", section, entry(random, relay), entry(random, far), names))
		if random.IntN(3) == 0 {
			source = strings.Replace(source, "  core:", "  up: {address: dhcp}\n  core:", 1)
		}
		if judge(t, schema, source) {
			right++
		}
	}
	if right < rounds/50 || right > rounds*49/50 {
		t.Errorf("%d of %d were right: the test tests one side only", right, rounds)
	}
}
