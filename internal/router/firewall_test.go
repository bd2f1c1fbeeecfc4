package router

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

// countOf is how many packets a row of `show firewall` has decided about.
func (l *lab) countOf(kind, name string) uint64 {
	l.t.Helper()
	for _, row := range l.FirewallRules() {
		if row.Kind == kind && (row.Name == name || name == row.From+" "+row.To) {
			return row.Packets
		}
	}
	l.t.Fatalf("there is no %s %s", kind, name)
	return 0
}

// The table of docs/nat.md, "What passes": a new packet from outside and one of the other directions, under each of three configurations.
func TestWhatPassesIsAsDocumented(t *testing.T) {
	const drop, pass, served = "drop", "pass", "served"
	for _, c := range []struct {
		name, text                                        string
		toInside, toForward, toRouter, pingRouter, toZone string // from outside; the last: between the networks within
	}{
		{"nothing", homePorts, pass, pass, served, served, pass},
		{"nat", forwarded, drop, pass, served, served, pass},
		{"home", forwarded + "firewall: home\n", drop, pass, drop, served, pass},
		{"zones", forwarded + "firewall: {zones: {a: {ports: [lan]}, b: {ports: [srv]}, o: {ports: [wan]}}, policy: [{from: a, to: o, action: accept}, {from: o, to: router, action: drop}]}\n",
			drop, pass, drop, drop, drop},
		{"a zone and a port without", forwarded + "firewall: {zones: {a: {ports: [lan]}, o: {ports: [wan]}}}\n", drop, pass, served, served, drop},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := homeHosts()
			o := w.hosts["wan"]
			o.Gateway = netip.MustParseAddr("203.0.113.1")
			w.hosts["wan"] = o
			l := runStateful(t, w, c.text)
			far := l.host("wan")
			lan := taken(l.host("lan"), ofProtocol(packet.ProtoUDP))
			srv := taken(l.host("srv"), ofProtocol(packet.ProtoUDP))
			is := func(what, want string, got <-chan packet.IPv4, send func()) {
				t.Helper()
				before := l.Status().Drops
				send()
				verdict := ""
				eventually(t, what+" is decided", func() bool {
					switch {
					case len(got) > 0:
						<-got
						verdict = pass
					case l.Status().Drops > before:
						verdict = drop
					}
					return verdict != ""
				})
				if verdict != want {
					t.Errorf("%s: expected %s, got %s", what, want, verdict)
				}
			}
			is("inside", c.toInside, lan, func() { far.SendPacket(udp("203.0.113.9:1000", "192.168.1.2:9", nil)) })
			if c.text != homePorts {
				is("forward", c.toForward, srv, func() { far.SendPacket(udp("203.0.113.9:1000", "203.0.113.1:53", nil)) })
			}
			is("between networks within", c.toZone, srv, func() { l.host("lan").SendPacket(udp("192.168.1.2:1000", "192.168.5.5:9", nil)) })
			local := func(what, want string, send func()) {
				t.Helper()
				before, punts := l.dropped("firewall_drop"), l.counter("punt_local")
				send()
				verdict := ""
				eventually(t, what+" is decided", func() bool {
					switch {
					case l.counter("punt_local") > punts:
						verdict = served
					case l.dropped("firewall_drop") > before:
						verdict = drop
					}
					return verdict != ""
				})
				if verdict != want {
					t.Errorf("%s: expected %s, got %s", what, want, verdict)
				}
			}
			local("the router", c.toRouter, func() { far.SendPacket(udp("203.0.113.9:1000", "203.0.113.1:99", nil)) })
			local("a ping of the router", c.pingRouter, func() {
				go far.PingOnce(t.Context(), netip.MustParseAddr("203.0.113.1"), 8, time.Second)
			})
		})
	}
}

func TestARejectIsAnsweredAsTheRuleSays(t *testing.T) {
	var rules strings.Builder
	cases := []struct {
		action     string
		reset      bool
		udp, other uint8 // codes
	}{
		{"reject", true, packet.ICMPPortUnreachable, 0},
		{"reject_reset", true, packet.ICMPPortUnreachable, 0},
		{"reject_admin", false, packet.ICMPAdminProhibited, packet.ICMPAdminProhibited},
		{"reject_host", false, packet.ICMPHostUnreachable, packet.ICMPHostUnreachable},
		{"reject_network", false, packet.ICMPNetUnreachable, packet.ICMPNetUnreachable},
	}
	for i, c := range cases {
		for _, p := range []string{"tcp", "udp"} {
			fmt.Fprintf(&rules, "    - {name: %s-%s, from: in, to: out, protocol: %s, port: %d, action: %s}\n", c.action, p, p, 100+i, c.action)
		}
	}
	l := runHome(t, home+"firewall:\n  zones: {in: {ports: [lan, srv]}, out: {ports: [wan]}}\n  rules:\n"+rules.String()+"  policy: [{from: in, to: out, action: accept}]\n")
	in := l.host("lan")
	l.pings(in, "203.0.113.9")
	got := taken(in, func(ip packet.IPv4) bool { return ip.Protocol() == 1 || ip.Protocol() == 6 })
	for i, c := range cases {
		in.SendPacket(tcp("192.168.1.2:4000", fmt.Sprintf("203.0.113.9:%d", 100+i), packet.TCPSyn))
		ip := next(t, c.action, got)
		if c.reset {
			if ip.Protocol() != 6 || packet.TCP(ip.Payload()).Flags() != packet.TCPRst|packet.TCPAck || ip.Src().String() != "203.0.113.9" {
				t.Errorf("%s: a SYN is answered by %s %x", c.action, flowOf(ip), []byte(ip))
			}
		} else if ip.Protocol() != 1 || ip[20] != packet.ICMPUnreachable || ip[21] != c.other {
			t.Errorf("%s: a SYN is answered by type %d code %d", c.action, ip[20], ip[21])
		}
		in.SendPacket(udp("192.168.1.2:4000", fmt.Sprintf("203.0.113.9:%d", 100+i), nil))
		if ip := next(t, c.action, got); ip.Protocol() != 1 || ip[20] != packet.ICMPUnreachable || ip[21] != c.udp || ip.Dst().String() != "192.168.1.2" {
			t.Errorf("%s: a datagram is answered by %x", c.action, []byte(ip))
		}
		for _, p := range []string{"tcp", "udp"} {
			if n := l.countOf("rule", c.action+"-"+p); n != 1 {
				t.Errorf("rule %s-%s counts %d", c.action, p, n)
			}
		}
	}
	if n := l.dropped("firewall_reject"); n != uint64(2*len(cases)) {
		t.Errorf("%d packets are counted as rejected", n)
	}
	if n := len(l.sessionsOf()); n != 1 { // that of the ping
		t.Errorf("%d sessions", n)
	}
	// gVisor's client is refused at once.
	in.OnFrame(nil)
	ctx, cancel := contextFor(t, 5*time.Second)
	defer cancel()
	if _, err := in.DialTCP(ctx, netip.MustParseAddrPort("203.0.113.9:100")); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("expected that it is refused, got %v", err)
	}
}

const logging = home + `firewall:
  zones: {in: {ports: [lan, srv]}, out: {ports: [wan]}}
  sets:
    bad: {addresses: [203.0.113.64/26], timeout: 1h}
    knocked: {timeout: 1s}
  rules:
    - {name: blocked, from: in, to: out, destination_set: bad, action: drop, log: true}
    - {name: knock, from: in, to: router, protocol: udp, port: 7000, action: drop, add_to: knocked}
    - {name: door, from: in, to: out, protocol: udp, port: 7001, not_source_set: knocked, action: drop}
  access:
    - {name: noleak, out: wan, protocol: udp, port: [135-139], action: reject_admin, log: true}
  policy: [{from: in, to: out, action: accept}, {from: out, to: router, action: drop, log: true}]
`

func TestALogLineNamesTheRuleAndItsLine(t *testing.T) {
	l := runHome(t, logging)
	in := l.host("lan")
	line := func(what string) string {
		for i, text := range strings.Split(logging, "\n") {
			if strings.Contains(text, what) {
				return fmt.Sprint(i + 1)
			}
		}
		return ""
	}
	in.SendPacket(udp("192.168.1.2:4000", "203.0.113.70:9", nil))
	e := l.happens("firewall_drop")
	if e.Fields["rule"] != "rule blocked" || e.Fields["line"] != line("blocked") || e.Fields["in"] != "lan" || e.Fields["out"] != "wan" ||
		!strings.Contains(e.Message, "udp 192.168.1.2:4000 -> 203.0.113.70:9") {
		t.Errorf("%+v, expected line %s", e, line("blocked"))
	}
	in.SendPacket(udp("192.168.1.2:4000", "203.0.113.9:137", nil))
	e = l.happens("firewall_reject_admin")
	if e.Fields["rule"] != "access rule noleak" || e.Fields["line"] != line("noleak") {
		t.Errorf("%+v, expected line %s", e, line("noleak"))
	}
	l.host("wan").SendPacket(udp("203.0.113.9:1000", "203.0.113.1:99", nil))
	eventually(t, "the policy's line", func() bool {
		e, _ = l.eventOf("firewall_drop")
		return e.Fields["rule"] == "policy out to router"
	})
	if e.Fields["out"] != "router" || e.Fields["line"] != line("from: out, to: router") {
		t.Errorf("%+v", e)
	}
	// A flood is counted whole and logged in part.
	for i := range 500 {
		in.SendPacket(udp("192.168.1.2:4000", fmt.Sprintf("203.0.113.%d:9", 64+i%64), nil))
	}
	eventually(t, "the flood is counted", func() bool { return l.countOf("rule", "blocked") == 501 })
	past, _ := l.Events(t.Context())
	n := 0
	for _, e := range past {
		if e.Fields["rule"] == "rule blocked" {
			n++
		}
	}
	if n == 0 || n > 250 {
		t.Errorf("%d of 501 packets are logged", n)
	}
}

func TestSetsTakeEffectOnTheNextPacket(t *testing.T) {
	l := runHome(t, logging)
	in := l.host("lan")
	l.pings(in, "203.0.113.9")
	got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	say := func() { in.SendPacket(udp("192.168.1.2:4000", "203.0.113.9:9", nil)) }
	say()
	next(t, "before", got)
	if err := l.ChangeSet(tester, api.SetChange{Set: "bad", Address: "203.0.113.9"}, true); err != nil {
		t.Fatal(err)
	}
	say()
	eventually(t, "the session is dropped", func() bool { return l.dropped("firewall_drop") == 1 })
	members, err := l.SetMembers("bad")
	if err != nil || len(members) != 2 {
		t.Fatalf("%+v, %v", members, err)
	}
	for _, m := range members {
		if m.Dynamic && (m.Address != "203.0.113.9" || m.ExpiresSeconds < 3590 || m.ExpiresSeconds > 3600) {
			t.Errorf("%+v", m)
		}
	}
	if err := l.ChangeSet(tester, api.SetChange{Set: "bad", Address: "203.0.113.9"}, false); err != nil {
		t.Fatal(err)
	}
	say()
	next(t, "after", got)
	if len(got) != 0 {
		t.Error("more came than should")
	}
	expectError(t, l.ChangeSet(tester, api.SetChange{Set: "nosuch", Address: "203.0.113.9"}, true), api.NotFound, "nosuch", "bad", "knocked")
}

// A rule adds whom it meets; after the set's time they are out again.
func TestASourceThatARuleAddsLeavesTheSetByItself(t *testing.T) {
	l := runHome(t, logging)
	in := l.host("lan")
	l.pings(in, "203.0.113.9")
	got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	in.SendPacket(udp("192.168.1.2:4000", "203.0.113.9:7001", nil))
	eventually(t, "the door is shut", func() bool { return l.countOf("rule", "door") == 1 })
	in.SendPacket(udp("192.168.1.2:4000", "192.168.1.1:7000", nil))
	eventually(t, "it has knocked", func() bool { return l.countOf("rule", "knock") == 1 })
	in.SendPacket(udp("192.168.1.2:4000", "203.0.113.9:7001", nil))
	next(t, "through the door", got)
	l.FlushSessions(tester, api.NATFlush{})
	eventually(t, "the set is empty", func() bool {
		rows := l.FirewallSets()
		return len(rows) == 2 && rows[1].Name == "knocked" && rows[1].Members == 0
	})
	in.SendPacket(udp("192.168.1.2:4000", "203.0.113.9:7001", nil))
	eventually(t, "the door is shut again", func() bool { return l.countOf("rule", "door") == 2 })
}

func TestARuleThatForbidsEndsSessionsWithTheNextPacket(t *testing.T) {
	l := runHome(t, home+"firewall: home\n")
	in := l.host("lan")
	serveTCP(t, l.host("wan"), 7)
	c, other := dialTCP(t, in, "203.0.113.9:7"), dialTCP(t, l.host("srv"), "203.0.113.9:7")
	echoes(t, c, pattern(1000))
	echoes(t, other, pattern(1000))
	l.apply(home + `firewall:
  zones: {inside: {ports: [lan, srv]}, outside: {ports: [wan]}}
  rules: [{name: quiet, from: inside, to: outside, source: 192.168.1.0/24, action: reject}]
  policy: [{from: inside, to: outside, action: accept}, {from: outside, to: inside, action: drop}, {from: outside, to: router, action: drop}]
`)
	fmt.Fprint(c, "more")
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if n, err := c.Read(make([]byte, 10)); err == nil {
		t.Errorf("%d octets came back over a session that is forbidden", n)
	}
	echoes(t, other, pattern(1000))
	for _, s := range l.sessionsOf() {
		if strings.HasPrefix(s.Inside, "192.168.1.2") {
			t.Errorf("a forbidden session lives: %+v", s)
		}
	}
}

func TestCapsOfRulesCountLiveSessions(t *testing.T) {
	l := runHome(t, home+`firewall:
  zones: {in: {ports: [lan, srv]}, out: {ports: [wan]}}
  rules:
    - {name: few, from: in, to: out, protocol: udp, max_sessions: 3, action: accept}
    - {name: more, from: in, to: out, protocol: udp, action: drop}
`)
	in := l.host("lan")
	l.pings(in, "192.168.1.1")
	l.pings(l.host("wan"), "203.0.113.1")
	got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	open := func(n int) {
		for i := range n {
			in.SendPacket(udp(fmt.Sprintf("192.168.1.2:%d", 4000+i), "203.0.113.9:9", nil))
		}
	}
	open(10)
	eventually(t, "seven are too many", func() bool { return l.countOf("rule", "more") == 7 })
	for range 3 {
		next(t, "three pass", got)
	}
	if n := l.hostSessions("192.168.1.2"); n != 4 { // and that of the ping
		t.Errorf("%d sessions count for the host", n)
	}
	if n, err := l.FlushSessions(tester, api.NATFlush{Protocol: "udp"}); n != 3 || err != nil {
		t.Errorf("flushed %d, %v", n, err)
	}
	open(3)
	for range 3 {
		next(t, "three pass again", got)
	}
	if n := l.countOf("rule", "more"); n != 7 {
		t.Errorf("%d were refused", n)
	}
}
