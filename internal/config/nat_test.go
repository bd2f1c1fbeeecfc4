package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// home is a router with a port inside, one outside and one that is neither, and sections.
func home(sections string) string {
	return `name: r1
ports:
  lan: {address: 192.168.1.1/24}
  wan: {address: 83.215.152.95/24}
  dmz: {address: 10.0.0.1/24}
routes: [{to: default, via: 83.215.152.1}]
` + sections
}

// TestTheInterfacesExamplesAreRead takes them word by word.
func TestTheInterfacesExamplesAreRead(t *testing.T) {
	c := mustParse(t, home(`nat:
  - {out: wan, type: masquerade}              # filtering: endpoint_independent (default), address_dependent, address_and_port_dependent
forwards:
  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5}        # port: 8000-8010; to: 192.168.1.5:8080

firewall:
  zones:
    lan: {ports: [lan]}
    wan: {ports: [wan]}
  policy: [{from: lan, to: wan, action: accept}, {from: wan, to: lan, action: drop}]
`))
	if want := []NATRule{{Out: "wan", Type: NATMasquerade, Filtering: FilterEndpointIndependent, Ports: PortRange{1024, 65535}, Pos: Pos{8, 5}}}; !reflect.DeepEqual(c.NAT, want) {
		t.Errorf("nat: got %+v", c.NAT)
	}
	if want := []Forward{{In: "wan", Protocol: 6, Ports: PortRange{80, 80}, To: netip.MustParseAddr("192.168.1.5"), ToPort: 80, Pos: Pos{10, 5}}}; !reflect.DeepEqual(c.Forwards, want) {
		t.Errorf("forwards: got %+v", c.Forwards)
	}
	want := &Firewall{
		Zones:  []Zone{{Name: "lan", Ports: []string{"lan"}, Pos: Pos{14, 5}}, {Name: "wan", Ports: []string{"wan"}, Pos: Pos{15, 5}}},
		Policy: []ZonePolicy{{From: "lan", To: "wan", Action: ActionAccept, Pos: Pos{16, 12}}, {From: "wan", To: "lan", Action: ActionDrop, Pos: Pos{16, 50}}},
		Pos:    Pos{13, 3},
	}
	if !reflect.DeepEqual(c.Firewall, want) {
		t.Errorf("firewall:\n got %+v\nwant %+v", c.Firewall, want)
	}
}

func TestWithoutTheSectionsThereIsNoNAT(t *testing.T) {
	c := mustParse(t, home("nat:\nforwards:\nsessions:\n"))
	if len(c.NAT) != 0 || len(c.Forwards) != 0 || c.PortMapping != nil || c.Firewall != nil {
		t.Errorf("got %+v", c)
	}
	want := Sessions{
		Max: 1 << 20, MaxHalfOpen: 1 << 17, UDP: 300 * time.Second, ICMP: time.Minute, Other: 10 * time.Minute,
		TCPEstablished: 7440 * time.Second, TCPTransitory: 240 * time.Second, TCPReset: 240 * time.Second, Loose: true, Window: "liberal",
	}
	if !reflect.DeepEqual(c.Sessions, want) {
		t.Errorf("sessions:\n got %+v\nwant %+v", c.Sessions, want)
	}
}

func TestEveryTypeOfNATIsRead(t *testing.T) {
	c := mustParse(t, home(`nat:
  - {out: wan, type: none, source: 192.168.1.0/24, destination: [10.9.0.0/16, 10.8.0.1], protocol: gre, name: tunnel, comment: as it is}
  - {out: wan, type: one_to_one, inside: 10.0.0.5, outside: 83.215.152.5}
  - {out: wan, type: snat, source: 10.0.0.0/25, protocol: 17, to: [83.215.152.6-83.215.152.8, 83.215.152.10], ports: 2000-2999, filtering: address_dependent}
  - {out: wan, type: snat, source: 10.0.0.128/25, to: [83.215.152.6-83.215.152.8, 83.215.152.10], filtering: address_and_port_dependent}
  - {out: wan, type: cgnat, source: 10.1.0.0/16, to: 198.51.100.0/30}
  - {out: wan, type: cgnat, source: 10.2.0.0/24, to: 198.51.100.8/29, block_size: 1024, deterministic: true}
`))
	n := c.NAT
	if got := fmt.Sprintf("%v %v %d %s %v%s", n[0].Source, n[0].Destination, n[0].Protocol, n[0].Name, n[0].Ports, n[0].Filtering); got != "[192.168.1.0/24] [10.9.0.0/16 10.8.0.1/32] 47 tunnel 0" {
		t.Errorf("none: %s", got)
	}
	if n[1].Inside.String() != "10.0.0.5" || n[1].Outside.String() != "83.215.152.5" {
		t.Errorf("one_to_one: %+v", n[1])
	}
	if !slices.Equal(n[2].To, addresses("83.215.152.6", "83.215.152.7", "83.215.152.8", "83.215.152.10")) || n[2].Ports != (PortRange{2000, 2999}) || n[2].Filtering != FilterAddressDependent {
		t.Errorf("snat: %+v", n[2])
	}
	if !slices.Equal(n[4].To, addresses("198.51.100.0", "198.51.100.1", "198.51.100.2", "198.51.100.3")) || n[4].BlockSize != 512 || n[4].MaxBlocks != 4 || n[4].Deterministic {
		t.Errorf("cgnat: %+v", n[4])
	}
	if n[5].BlockSize != 1024 || n[5].MaxBlocks != 1 || !n[5].Deterministic || len(n[5].To) != 8 {
		t.Errorf("deterministic: %+v", n[5])
	}
}

func TestAForwardOfBothProtocolsIsTwo(t *testing.T) {
	c := mustParse(t, home("forwards:\n  - {in: wan, protocol: tcp_udp, port: 5000-5010, to: 192.168.1.5:6000, address: 83.215.152.95, source: [198.51.100.7], name: both}\n"))
	if len(c.Forwards) != 2 || c.Forwards[0].Protocol != 6 || c.Forwards[1].Protocol != 17 {
		t.Fatalf("got %+v", c.Forwards)
	}
	c.Forwards[1].Protocol = 6
	want := Forward{In: "wan", Protocol: 6, Ports: PortRange{5000, 5010}, Address: netip.MustParseAddr("83.215.152.95"), To: netip.MustParseAddr("192.168.1.5"), ToPort: 6000,
		Source: prefixes("198.51.100.7/32"), Name: "both", Pos: Pos{8, 5}}
	for _, f := range c.Forwards {
		if !reflect.DeepEqual(f, want) {
			t.Errorf("got %+v", f)
		}
	}
}

// TestForwardsThatDoNotOverlapAreAllowed has what is near to an overlap and is none.
func TestForwardsThatDoNotOverlapAreAllowed(t *testing.T) {
	mustParse(t, strings.Replace(home(`forwards:
  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5}
  - {in: wan, protocol: udp, port: 80, to: 192.168.1.6}
  - {in: dmz, protocol: tcp, port: 80, to: 192.168.1.7}
  - {in: wan, protocol: tcp, port: 81-89, to: 192.168.1.5}
  - {in: wan, protocol: tcp, port: 90, address: 83.215.152.95, to: 192.168.1.5}
  - {in: wan, protocol: tcp, port: 90, address: 83.215.152.96, to: 192.168.1.6}
`), "83.215.152.95/24", "[83.215.152.95/24, 83.215.152.96/24]", 1))
}

// TestAHostBeyondTheSubnetsMayBeForwardedTo: only what certainly leads nowhere is refused.
func TestAHostBeyondTheSubnetsMayBeForwardedTo(t *testing.T) {
	const forward = "forwards: [{in: wan, protocol: tcp, port: 80, to: 172.16.0.5}]\n"
	mustParse(t, home(forward)) // the default route may lead there
	without := strings.Replace(home(forward), "routes: [{to: default, via: 83.215.152.1}]", "routes: []", 1)
	if _, err := Parse("r1.yaml", []byte(without)); err == nil {
		t.Error("no route leads there")
	}
	mustParse(t, strings.Replace(without, "routes: []", "routes: [{to: 172.16.0.0/12, via: 10.0.0.2}]", 1))
	mustParse(t, without+"rip: {ports: {lan: }}\n")
}

// TestTimeoutsBelowTheRFCsAreForLabs: RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2, RFC 7857 section 2.
func TestTimeoutsBelowTheRFCsAreForLabs(t *testing.T) {
	const short = "udp: 2s, icmp: 1s, tcp_established: 5s, tcp_transitory: 3s, tcp_reset: 1s"
	if _, err := Parse("r1.yaml", []byte(home("sessions: {"+short+"}\n"))); err == nil || len(err.(Errors)) != 5 {
		t.Errorf("got %v", err)
	}
	s := mustParse(t, home("sessions: {"+short+", short_timeouts: true, max: 2048, max_per_host: 10, loose: false, window: off, helpers: ftp}\n")).Sessions
	if s.UDP != 2*time.Second || s.TCPReset != time.Second || !s.ShortTimeouts || s.Max != 2048 || s.MaxHalfOpen != 256 || s.MaxPerHost != 10 || s.Loose || s.Window != "off" || !slices.Equal(s.Helpers, []string{"ftp"}) {
		t.Errorf("got %+v", s)
	}
}

func TestPortMappingIsRead(t *testing.T) {
	c := mustParse(t, home("nat: [{out: wan, type: masquerade}]\nport_mapping: {ports: lan, pcp: false, upnp: true, max_lifetime: 1h, max_per_host: 5}\n"))
	if want := (&PortMapping{Ports: []string{"lan"}, NATPMP: true, UPnP: true, MaxLifetime: time.Hour, MaxPerHost: 5, Pos: Pos{8, 15}}); !reflect.DeepEqual(c.PortMapping, want) {
		t.Errorf("got %+v", c.PortMapping)
	}
}

func TestEveryKeyOfAFirewallRuleIsRead(t *testing.T) {
	c := mustParse(t, home(`firewall:
  zones: {in: {ports: lan}, out: {ports: [wan, dmz], comment: the rest}}
  sets:
    bad: {addresses: [10.66.0.0/16, 10.67.0.1], timeout: 1h, max: 100, comment: them}
    empty:
  rules:
    - {name: a, from: in, to: out, source: 192.168.1.0/25, destination: [10.0.0.0/8, 198.51.100.1], source_set: bad, not_destination_set: empty, protocol: tcp,
       port: [80, 8000-8010], source_port: 1024-65535, flags: "syn,!ack", state: [new, forwarded], dscp: ef, length: 40-100, rate: over 100/m burst 200 per source,
       add_to: empty, add_for: 10m, action: drop, log: true, comment: all}
    - {from: out, to: router, not_source: 10.0.0.0/8, not_destination: 10.0.0.1, protocol: icmp, icmp_type: destination_unreachable, icmp_code: 4, max_sessions: 3, action: accept}
    - {from: out, dscp: 7, length: 1500, rate: 5/h, not_source_set: bad, destination_set: bad, action: reject_network}
  access:
    - {in: wan, protocol: udp, port: 53, action: accept}
    - {out: dmz, protocol: 89, action: reject_admin}
`))
	any := FirewallRule{ICMPType: -1, ICMPCode: -1, DSCP: -1}
	a := any
	a.Name, a.From, a.To, a.Source, a.Destination, a.SourceSet, a.DestinationSet, a.Protocol = "a", "in", "out", prefixes("192.168.1.0/25"), prefixes("10.0.0.0/8", "198.51.100.1/32"), "bad", "!empty", 6
	a.Ports, a.SourcePorts, a.TCPFlags, a.TCPMask = []PortRange{{80, 80}, {8000, 8010}}, []PortRange{{1024, 65535}}, 0x02, 0x12
	a.States, a.DSCP, a.LengthMin, a.LengthMax = []string{"new", "forwarded"}, 46, 40, 100
	a.Rate = &RuleRate{Packets: 100, Per: time.Minute, Burst: 200, Over: true, PerSource: true}
	a.AddTo, a.AddFor, a.Action, a.Log, a.Comment, a.Pos = "empty", 10*time.Minute, ActionDrop, true, "all", Pos{13, 7}
	b := any
	b.From, b.To, b.Source, b.NotSource, b.Destination, b.NotDestination = "out", "router", prefixes("10.0.0.0/8"), true, prefixes("10.0.0.1/32"), true
	b.Protocol, b.ICMPType, b.ICMPCode, b.MaxSessions, b.Action, b.Pos = 1, 3, 4, 3, ActionAccept, Pos{16, 7}
	e := any
	e.From, e.DSCP, e.LengthMin, e.LengthMax, e.SourceSet, e.DestinationSet, e.Action, e.Pos = "out", 7, 1500, 1500, "!bad", "bad", ActionRejectNetwork, Pos{17, 7}
	e.Rate = &RuleRate{Packets: 5, Per: time.Hour, Burst: 5}
	for i, want := range []FirewallRule{a, b, e} {
		if !reflect.DeepEqual(c.Firewall.Rules[i], want) {
			t.Errorf("rule %d:\n got %+v\nwant %+v", i, c.Firewall.Rules[i], want)
		}
	}
	if x := c.Firewall.Access; len(x) != 2 || x[0].In != "wan" || x[0].Out != "" || x[1].Out != "dmz" || x[1].Protocol != 89 {
		t.Errorf("access: %+v", x)
	}
	want := []AddressSet{{"bad", prefixes("10.66.0.0/16", "10.67.0.1/32"), time.Hour, 100, "them", Pos{10, 5}}, {Name: "empty", Max: 65536, Pos: Pos{11, 5}}}
	if !reflect.DeepEqual(c.Firewall.Sets, want) {
		t.Errorf("sets: %+v", c.Firewall.Sets)
	}
}

func TestHomeIsExpanded(t *testing.T) {
	c := mustParse(t, home("nat: [{out: wan, type: masquerade}]\nfirewall: home\n"))
	at := Pos{8, 11}
	want := &Firewall{
		Home:  true,
		Zones: []Zone{{Name: "inside", Ports: []string{"lan", "dmz"}, Pos: at}, {Name: "outside", Ports: []string{"wan"}, Pos: at}},
		Rules: []FirewallRule{{
			Name: "ping", From: "outside", To: RouterZone, Protocol: 1, ICMPType: 8, ICMPCode: -1, DSCP: -1,
			Rate: &RuleRate{Packets: 100, Per: time.Second, Burst: 100}, Action: ActionAccept, Pos: at,
		}},
		Policy: []ZonePolicy{
			{From: "inside", To: "outside", Action: ActionAccept, Pos: at}, {From: "outside", To: "inside", Action: ActionDrop, Pos: at},
			{From: "outside", To: RouterZone, Action: ActionDrop, Pos: at}, {From: "outside", To: "outside", Action: ActionDrop, Pos: at},
		},
		Pos: at,
	}
	if !reflect.DeepEqual(c.Firewall, want) {
		t.Errorf("\n got %+v\nwant %+v", c.Firewall, want)
	}
}

// TestHomeMeansWhatItStandsFor writes the expansion out: the only difference is the word.
func TestHomeMeansWhatItStandsFor(t *testing.T) {
	const nat = "nat: [{out: wan, type: masquerade}]\n"
	word := mustParse(t, home(nat+"firewall: home\n"))
	long := mustParse(t, home(nat+`firewall:
  zones: {inside: {ports: [lan, dmz]}, outside: {ports: [wan]}}
  policy:
    - {from: inside, to: outside, action: accept}
    - {from: outside, to: inside, action: drop}
    - {from: outside, to: router, action: drop}
    - {from: outside, to: outside, action: drop}
  rules:
    - {name: ping, from: outside, to: router, protocol: icmp, icmp_type: echo_request, rate: 100/s, action: accept}
`))
	if got := Changes(word, long); !slices.Equal(got, []string{"firewall: home true -> false"}) {
		t.Errorf("got %q", got)
	}
}

func TestHomeLetsRIPInWhereItIsSpokenOutside(t *testing.T) {
	const sections = "nat: [{out: wan, type: masquerade}]\nfirewall: home\n"
	for rip, want := range map[string]int{"rip: {ports: {wan: }}": 2, "rip: {ports: {wan: {passive: true}, lan: }}": 1, "rip: {ports: {lan: }}": 1} {
		rules := mustParse(t, home(sections+rip)).Firewall.Rules
		if len(rules) != want {
			t.Errorf("%s: got %+v", rip, rules)
			continue
		}
		if r := rules[want-1]; want == 2 && (r.Protocol != 17 || !slices.Equal(r.Ports, []PortRange{{520, 520}}) || r.From != "outside" || r.To != RouterZone || r.Action != ActionAccept) {
			t.Errorf("%s: got %+v", rip, r)
		}
	}
}

// TestARuleForWhatIsInvalidMayStandBehindOneThatAcceptsAll: that one leaves it over.
func TestARuleForWhatIsInvalidMayStandBehindOneThatAcceptsAll(t *testing.T) {
	for rules, refused := range map[string]bool{
		"{from: router, action: accept}, {from: router, state: invalid, action: drop}":                            false,
		"{action: accept}, {from: router, state: [new, invalid], action: accept}":                                 false,
		"{from: router, action: accept}, {from: router, state: new, action: drop}":                                true,
		"{from: router, action: accept}, {from: router, protocol: tcp, action: drop}":                             true,
		"{from: router, action: drop}, {from: router, state: invalid, action: accept}":                            true,
		"{from: router, action: accept}, {action: drop}, {from: router, state: invalid, log: true, action: drop}": true,
	} {
		_, err := Parse("r1.yaml", []byte(home("firewall: {zones: {in: {ports: [lan, dmz, wan]}}, rules: ["+rules+"]}\n")))
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "never counts") {
			t.Errorf("%s: got %v", rules, err)
		}
	}
}

// TestAnOutsideWithoutAZoneIsRefusedOnlyWhereItIsOpen: the ports in no zone reach each other.
func TestAnOutsideWithoutAZoneIsRefusedOnlyWhereItIsOpen(t *testing.T) {
	const nat = "nat: [{out: wan, type: masquerade}]\n"
	for section, open := range map[string]bool{
		"firewall: {zones: {in: {ports: [lan, dmz]}}}":                                                        false,
		"firewall: {zones: {in: {ports: [lan]}}}":                                                             true,
		"firewall: {zones: {out: {ports: [wan]}}}":                                                            false,
		"firewall: {rules: [{protocol: tcp, action: drop}]}":                                                  true,
		"firewall: {access: [{in: wan, protocol: tcp, action: drop}]}":                                        false,
		"firewall: {sets: {a: }, zones: {in: {ports: [lan, dmz]}}, rules: [{protocol: tcp, action: accept}]}": false,
	} {
		if _, err := Parse("r1.yaml", []byte(home(nat+section+"\n"))); (err != nil) != open {
			t.Errorf("%s: got %v", section, err)
		}
		mustParse(t, home(section+"\n")) // without nat there is no outside
	}
}

func TestALineOfTheTextIsFound(t *testing.T) {
	const text = "a\n  b: c  \r\n\nlast"
	for line, want := range map[int]string{-1: "", 0: "", 1: "a", 2: "b: c", 3: "", 4: "last", 5: "", 99: ""} {
		if got := SourceLine(text, line); got != want {
			t.Errorf("line %d is %q, want %q", line, got, want)
		}
	}
	source := home("nat:\n  - {out: wan, type: masquerade}\n")
	if got := SourceLine(source, mustParse(t, source).NAT[0].Pos.Line); got != "- {out: wan, type: masquerade}" {
		t.Errorf("got %q", got)
	}
}

// TestPoolsAreBounded: a few lines must not fill the memory.
func TestPoolsAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "  - {out: wan, type: snat, source: 10.%d.0.0/16, to: 20.%d.0.0/16}\n", i, i)
	}
	_, err := Parse("r1.yaml", []byte(home("nat:\n"+b.String())))
	if err == nil || err.Error() != "r1.yaml:24:54: to: with this one the pools of all rules have 1114112 addresses: at most 1048576 are allowed" {
		t.Errorf("got %v", err)
	}
}

// manyRules is a configuration of n rules of every kind.
func manyRules(n int) string {
	var b strings.Builder
	b.WriteString(home("nat:\n"))
	for i := range n {
		fmt.Fprintf(&b, "  - {out: wan, type: snat, source: 10.%d.%d.0/24, to: 20.%d.%d.1}\n", i>>8, i&0xff, i>>8, i&0xff)
	}
	b.WriteString("forwards:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {in: wan, protocol: tcp_udp, port: %d, to: 192.168.1.5:80, name: f%d}\n", i+1, i)
	}
	b.WriteString("firewall:\n  zones: {in: {ports: [lan, dmz]}, out: {ports: wan}}\n  sets:\n    bad:\n      addresses:\n")
	for i := range n {
		fmt.Fprintf(&b, "        - 30.%d.%d.0/24\n", i>>8, i&0xff)
	}
	for _, section := range []string{"rules:\n", "access:\n"} {
		b.WriteString("  " + section)
		for i := range n {
			place := "from: in, to: out"
			if section == "access:\n" {
				place = "in: lan"
			}
			fmt.Fprintf(&b, "    - {%s, source: 10.%d.%d.0/24, protocol: tcp, port: [80, 443, 8000-%d], rate: 10/s per source, action: drop}\n", place, i>>8, i&0xff, 8001+i)
		}
	}
	return b.String()
}

func TestTenThousandRulesAreRead(t *testing.T) {
	c := mustParse(t, manyRules(10_000))
	if len(c.NAT) != 10_000 || len(c.Forwards) != 20_000 || len(c.Firewall.Rules) != 10_000 || len(c.Firewall.Access) != 10_000 || len(c.Firewall.Sets[0].Addresses) != 10_000 {
		t.Errorf("%d nat rules, %d forwards, %d rules", len(c.NAT), len(c.Forwards), len(c.Firewall.Rules))
	}
	if got := Changes(c, c); len(got) > 0 {
		t.Errorf("it differs from itself: %d changes", len(got))
	}
	_, err := Parse("r1.yaml", []byte(home("forwards:\n"+strings.Repeat("  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5}\n", maxRules+1))))
	if err == nil || !strings.Contains(err.Error(), "forwards: the list has 10001 entries: at most 10000 are allowed") {
		t.Errorf("got %v", err)
	}
}

func BenchmarkParseTenThousandRulesOfEachKind(b *testing.B) {
	source := []byte(manyRules(10_000))
	for b.Loop() {
		if _, err := Parse("r1.yaml", source); err != nil {
			b.Fatal(err)
		}
	}
}
