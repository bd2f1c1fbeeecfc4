package firewall

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

func TestWhatIsWrongIsRefusedWithItsPlace(t *testing.T) {
	rule := func(change func(r *Rule)) func(c *Config) {
		return func(c *Config) {
			r := Rule{Name: "mine", Line: 7, Match: Any()}
			change(&r)
			c.Rules = append(c.Rules, r)
		}
	}
	access := func(change func(r *Rule)) func(c *Config) {
		return func(c *Config) {
			r := Rule{Line: 7, Match: Any()}
			change(&r)
			c.Access = append(c.Access, r)
		}
	}
	for _, x := range []struct {
		want  string
		wrong func(c *Config)
	}{
		{"rule mine: there is no zone \"b\" to come from", rule(func(r *Rule) { r.From = "b" })},
		{"rule mine: there is no zone \"b\" to go to", rule(func(r *Rule) { r.To = "b" })},
		{"it names a port", rule(func(r *Rule) { r.In = 1 })},
		{"there is no set \"t\"", rule(func(r *Rule) { r.Match.SourceSet = "!t" })},
		{"there is no set \"t\"", rule(func(r *Rule) { r.Match.DestinationSet = "t" })},
		{"there is no set \"t\" to add to", rule(func(r *Rule) { r.AddTo = "t" })},
		{"80-79 runs backwards", rule(func(r *Rule) { r.Match.DestPorts = []PortRange{{80, 79}} })},
		{"no packet is \"icmp port 80\"", rule(func(r *Rule) { r.Match.Protocol, r.Match.DestPorts = 1, []PortRange{{80, 80}} })},
		{"no packet is \"tcp icmp_type echo_reply\"", rule(func(r *Rule) { r.Match.Protocol, r.Match.ICMPType = 6, 0 })},
		{"no packet is", rule(func(r *Rule) { r.Match.Protocol, r.Match.TCPMask = 17, 2 })},
		{"IPv4", rule(func(r *Rule) { r.Match.Source = prefixes("2001:db8::/32") })},
		{"IPv4", rule(func(r *Rule) { r.Match.Destination = []netip.Prefix{{}} })},
		{"any source but none", rule(func(r *Rule) { r.Match.NotSource = true })},
		{"ICMP type 256", rule(func(r *Rule) { r.Match.ICMPType = 256 })},
		{"DSCP 64", rule(func(r *Rule) { r.Match.DSCP = 64 })},
		{"not all in the mask", rule(func(r *Rule) { r.Match.TCPFlags, r.Match.TCPMask = 3, 2 })},
		{"there is no state 0x40", rule(func(r *Rule) { r.Match.States = 0x40 })},
		{"a length from 90 to 80", rule(func(r *Rule) { r.Match.LengthMin, r.Match.LengthMax = 90, 80 })},
		{"there is no action 9", rule(func(r *Rule) { r.Action = 9 })},
		{"has none", rule(func(r *Rule) { r.Over = true })},
		{"a rate of 0/s", rule(func(r *Rule) { r.Rate = &Rate{Per: time.Second} })},
		{"a rate of 1/0s", rule(func(r *Rule) { r.Rate = &Rate{Packets: 1} })},
		{"max_sessions", rule(func(r *Rule) { r.MaxHost = -1 })},
		{"add_for", rule(func(r *Rule) { r.AddFor = -1 })},
		{"access rule number 1: it wants one port", access(func(r *Rule) {})},
		{"it wants one port", access(func(r *Rule) { r.In, r.Out = 1, 2 })},
		{"it names a zone", access(func(r *Rule) { r.In, r.From = 1, "a" })},
		{"max_sessions", access(func(r *Rule) { r.In, r.MaxHost = 1, 1 })},
		{"zone a: port number 3 is in zone z already", func(c *Config) {
			c.Zones = append(c.Zones, Zone{Name: "z", Line: 7, Ports: []uint16{3}})
			c.Zones[0], c.Zones[1] = c.Zones[1], Zone{Name: "a", Line: 7, Ports: []uint16{1, 3}}
		}},
		{"zone b: port number 0 is in zone router already", func(c *Config) { c.Zones = append(c.Zones, Zone{Name: "b", Line: 7, Ports: []uint16{0}}) }},
		{"zone \"router\"", func(c *Config) { c.Zones = append(c.Zones, Zone{Name: "router", Line: 7}) }},
		{"zone \"a\"", func(c *Config) { c.Zones = append(c.Zones, Zone{Name: "a", Line: 7}) }},
		{"zone \"\"", func(c *Config) { c.Zones = append(c.Zones, Zone{Line: 7}) }},
		{"both have to be zones", func(c *Config) { c.Pairs = append(c.Pairs, Pair{From: "a", Line: 7}) }},
		{"there is no action 9", func(c *Config) { c.Pairs = append(c.Pairs, Pair{From: "a", To: "a", Action: 9, Line: 7}) }},
		{"stands on line 3 already", func(c *Config) {
			c.Pairs = append(c.Pairs, Pair{From: "a", To: "a", Line: 3}, Pair{From: "a", To: "a", Line: 7})
		}},
		{"set \"s\"", func(c *Config) { c.Sets = append(c.Sets, Set{Name: "s", Line: 7}) }},
		{"set \"!s\"", func(c *Config) { c.Sets = append(c.Sets, Set{Name: "!s", Line: 7}) }},
		{"set x: its addresses", func(c *Config) { c.Sets = append(c.Sets, Set{Name: "x", Line: 7, Prefixes: prefixes("::/0")}) }},
		{"set x: neither", func(c *Config) { c.Sets = append(c.Sets, Set{Name: "x", Line: 7, Max: -1}) }},
	} {
		c := Config{Zones: []Zone{{Name: "a", Ports: []uint16{1}}}, Sets: []Set{{Name: "s"}}}
		x.wrong(&c)
		_, err := Compile(c, nil)
		if err == nil || !strings.Contains(err.Error(), x.want) || !strings.HasPrefix(err.Error(), "line 7: ") {
			t.Errorf("expected an error about line 7 with %q, got %v", x.want, err)
		}
	}
	if _, err := Compile(Config{Rules: make([]Rule, MaxRules+1)}, nil); err == nil {
		t.Error("more rules than sessions can name are accepted")
	}
}

// Half a page of memory for each rule, whatever the rules.
func TestMemoryIsBoundedByTheNumberOfRules(t *testing.T) {
	random, _ := manyRules(10000)
	nested, wide := Config{}, Config{}
	d := seeded(1)
	for i := range 10000 {
		m := Any()
		m.Source = []netip.Prefix{netip.PrefixFrom(addr4(0x0a000000), i%33)}
		m.Destination = []netip.Prefix{netip.PrefixFrom(addr4(0x0a000000+packet.Addr(i)<<8), 32-i%25)}
		nested.Rules = append(nested.Rules, Rule{Match: m})
		m = Any()
		m.Protocol = 6
		a, b := uint16(d.n(65536)), uint16(d.n(65536))
		m.SourcePorts = []PortRange{{min(a, b), max(a, b)}}
		a, b = uint16(d.n(65536)), uint16(d.n(65536))
		m.DestPorts = []PortRange{{min(a, b), max(a, b)}}
		m.Source = []netip.Prefix{netip.PrefixFrom(addr4(d.addr()), d.n(33))}
		m.Destination, m.NotDestination = []netip.Prefix{netip.PrefixFrom(addr4(d.addr()), 32)}, true
		wide.Rules = append(wide.Rules, Rule{Match: m})
	}
	for what, c := range map[string]Config{"random": random, "nested": nested, "wide": wide} {
		for _, n := range []int{10, 1000, 10000} {
			p := mustCompile(t, Config{Zones: c.Zones, Rules: c.Rules[:n]}, nil)
			if kib := p.Bytes() / 1024; kib > 600+n*3/2 {
				t.Errorf("%s: %d rules take %d KiB", what, n, kib)
			} else {
				t.Logf("%s: %d rules take %d KiB", what, n, kib)
			}
		}
	}
}
