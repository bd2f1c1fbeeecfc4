package firewall

import (
	"strings"
	"testing"
	"time"
)

func TestMatchesReadAsTheConfigurationWritesThem(t *testing.T) {
	for _, c := range []struct {
		want string
		rule func(r *Rule)
	}{
		{"any", func(r *Rule) {}},
		{"tcp to 10.0.0.0/8 port 80,443", func(r *Rule) {
			r.Match.Protocol, r.Match.Destination, r.Match.DestPorts = 6, prefixes("10.0.0.0/8"), []PortRange{{80, 80}, {443, 443}}
		}},
		{"icmp from not 10.0.0.1,192.0.2.0/24 icmp_type echo_request icmp_code 0", func(r *Rule) {
			r.Match.Protocol, r.Match.ICMPType, r.Match.ICMPCode = 1, 8, 0
			r.Match.Source, r.Match.NotSource = prefixes("10.0.0.1/32", "192.0.2.0/24"), true
		}},
		{"udp source_set good source_port 1024-65535 not_destination_set bad", func(r *Rule) {
			r.Match.Protocol, r.Match.SourceSet, r.Match.DestinationSet, r.Match.SourcePorts = 17, "good", "!bad", []PortRange{{1024, 65535}}
		}},
		{"tcp flags syn,!ack state new,mapped dscp 46 length 64-128", func(r *Rule) {
			r.Match.Protocol, r.Match.TCPFlags, r.Match.TCPMask, r.Match.States = 6, 2, 18, New|Mapped
			r.Match.DSCP, r.Match.LengthMin, r.Match.LengthMax = 46, 64, 128
		}},
		{"protocol 89 length at least 100", func(r *Rule) { r.Match.Protocol, r.Match.LengthMin = 89, 100 }},
		{"icmp_type 42 length at most 100", func(r *Rule) { r.Match.ICMPType, r.Match.LengthMax = 42, 100 }},
		{"rate 10/s per source", func(r *Rule) { r.Rate = &Rate{Packets: 10, Per: time.Second, Burst: 10, PerHost: true} }},
		{"rate over 5/m burst 20 max_sessions 3 add_to bad add_for 1h0m0s", func(r *Rule) {
			r.Rate, r.Over, r.MaxHost = &Rate{Packets: 5, Per: time.Minute, Burst: 20}, true, 3
			r.AddTo, r.AddFor = "bad", time.Hour
		}},
	} {
		r := Rule{Match: Any()}
		c.rule(&r)
		if got := r.Words(); got != c.want {
			t.Errorf("%q, expected %q", got, c.want)
		}
	}
}

func TestActionsAndStatesAreReadAsTheyAreWritten(t *testing.T) {
	for a := range numActions {
		if got, err := ParseAction(a.String()); got != a || err != nil {
			t.Errorf("%v reads as %v: %v", a, got, err)
		}
	}
	for s := New; s <= Established; s <<= 1 {
		if got, err := ParseState(s.String()); got != s || err != nil {
			t.Errorf("%v reads as %v: %v", s, got, err)
		}
	}
	if (New|Related).String() != "new,related" || State(0).String() != "any" || Action(99).String() != "action 99" || State(0x41).String() != "new,state 0x40" {
		t.Error("states and actions that are several, none or unknown have other words")
	}
	for _, word := range []string{"", "Accept", "established,new", "nonsense"} {
		if _, err := ParseAction(word); err == nil || !strings.Contains(err.Error(), "accept") {
			t.Errorf("action %q: %v", word, err)
		}
		if _, err := ParseState(word); err == nil || !strings.Contains(err.Error(), "new") {
			t.Errorf("state %q: %v", word, err)
		}
	}
}

// RFC 792, RFC 1812 section 5.2.7.1 (code 13), RFC 9293 section 3.5.3 for the reset.
func TestRefusalsAreAnsweredInTheProtocolsOwnWay(t *testing.T) {
	for _, c := range []struct {
		action   Action
		protocol uint8
		reset    bool
		code     uint8
	}{
		{Reject, 6, true, 3}, {Reject, 17, false, 3}, {Reject, 1, false, 3},
		{RejectReset, 6, true, 3}, {RejectReset, 47, false, 3},
		{RejectAdmin, 6, false, 13}, {RejectAdmin, 17, false, 13},
		{RejectHost, 6, false, 1}, {RejectNetwork, 6, false, 0},
	} {
		if reset, code := c.action.Answer(c.protocol); reset != c.reset || !reset && code != c.code {
			t.Errorf("%v of protocol %d: reset %t, code %d", c.action, c.protocol, reset, code)
		}
		if !c.action.Rejects() || Accept.Rejects() || Drop.Rejects() {
			t.Errorf("%v: which actions answer?", c.action)
		}
	}
}

func TestExplanationsNameTheFirstConditionThatFails(t *testing.T) {
	p := mustCompile(t, Config{
		Zones: []Zone{{Name: "inside", Ports: []uint16{lan}}, {Name: "outside", Ports: []uint16{wan}}},
		Sets:  []Set{{Name: "bad", Prefixes: prefixes("203.0.113.0/24")}},
		Rules: []Rule{
			ruleOf("", 80, func(r *Rule) { r.From = "outside" }),
			ruleOf("", 80, func(r *Rule) { r.To = RouterZone }),
			ruleOf("", 80, func(r *Rule) { r.Match.Protocol = 17 }),
			ruleOf("", 80, func(r *Rule) { r.Match.Destination = prefixes("10.1.0.0/16") }),
			ruleOf("", 80, func(r *Rule) { r.Match.Source, r.Match.NotSource = prefixes("10.0.0.0/24", "10.9.9.9/32"), true }),
			ruleOf("", 80, func(r *Rule) { r.Match.SourceSet = "bad" }),
			ruleOf("", 443, nil),
			ruleOf("", 80, func(r *Rule) { r.Match.SourcePorts = []PortRange{{1, 1023}} }),
			ruleOf("", 80, func(r *Rule) { r.Match.TCPFlags, r.Match.TCPMask = 18, 18 }),
			ruleOf("", 80, func(r *Rule) { r.Match.States = Forwarded | Mapped }),
			ruleOf("", 80, func(r *Rule) { r.Match.DSCP = 46 }),
			ruleOf("", 80, func(r *Rule) { r.Match.LengthMin = 100 }),
			ruleOf("", 80, func(r *Rule) { r.Match.LengthMax = 50 }),
			ruleOf("", 80, func(r *Rule) { r.Rate, r.Over = &Rate{Packets: 5, Per: time.Second}, true }),
			{Match: Match{ICMPType: 8, ICMPCode: -1, DSCP: -1}},
			ruleOf("", 80, func(r *Rule) { r.Match.DestinationSet = "!bad"; r.MaxHost = 2 }),
			ruleOf("never reached", 80, nil),
		},
		Pairs: []Pair{{From: "inside", To: "outside", Action: Reject}},
	}, nil)
	k := tcp(lan, wan, "10.0.0.7", "10.0.0.8", 80)
	steps, v := p.Explain(1, &k, false)
	for i, want := range []string{
		"it comes from zone inside, not from zone outside",
		"it goes to zone outside, not to the router itself",
		"it is tcp, not udp",
		"destination 10.0.0.8 is not in 10.1.0.0/16",
		"source 10.0.0.7 is in 10.0.0.0/24,10.9.9.9",
		"source 10.0.0.7 is not in the set bad",
		"port 80 is not in 443",
		"source port 40000 is not in 1-1023",
		"the TCP flags are syn,!ack, not syn,ack",
		"its state is new, not forwarded,mapped",
		"the DSCP is 0, not 46",
		"it has 60 octets, fewer than 100",
		"it has 60 octets, more than 50",
		"it matches only beyond 5/s, which is taken as not exceeded",
		"it is tcp, not icmp",
		"tcp not_destination_set bad port 80 max_sessions 2 matches: accept, for a source with fewer than 2 sessions by this rule",
	} {
		switch {
		case i >= len(steps):
			t.Fatalf("%d steps only", len(steps))
		case steps[i].Text != want || steps[i].Rule != i || steps[i].Matched != (i == 15):
			t.Errorf("step %d: %+v, expected %q", i, steps[i], want)
		}
	}
	if len(steps) != 16 || v.Rule != 15 || v.Action != Accept {
		t.Errorf("%d steps to %+v", len(steps), v)
	}
	for _, c := range []struct {
		in, out uint16
		state   State
		want    string
	}{
		{lan, wan, New, "no rule matches, and the policy from zone inside to zone outside is reject"},
		{lan, bare, New, "no rule matches, and from zone inside to a port without a zone nothing is said: drop"},
		{wan, lan, Forwarded, "no rule matches, and a forward or mapping let it in: accept"},
		{wan, lan, Related, "no rule matches, and a session that passed foresaw it: accept"},
		{Router, lan, New, "no rule matches, and from the router itself to zone inside nothing is said: accept"},
	} {
		k := tcp(c.in, c.out, "10.0.0.7", "10.0.0.8", 99)
		k.State = c.state
		if steps, _ := p.Explain(1, &k, false); steps[len(steps)-1].Text != c.want {
			t.Errorf("%q, expected %q", steps[len(steps)-1].Text, c.want)
		}
	}
}
