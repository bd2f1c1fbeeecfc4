package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/simhost"
)

// Explain against what happens: random configurations, random packets. What Explain says of a packet has to become of it when
// it is then sent: where it leaves and as what, or under which reason it is counted as dropped, and the session that it makes.
// What is left out: rates (explained as not exhausted), TCP segments of sessions that exist (numbers are not explained), and rules
// between zones about lengths (a session stays what its first packet after a change has made of it, whatever lengths follow).

// dice chooses among words.
type dice struct {
	*rand.Rand
	access bool // access rules and nothing else: no sessions
}

func (d dice) of(words ...string) string { return words[d.IntN(len(words))] }

func (d dice) sometimes(n int, text string) string {
	if d.IntN(n) == 0 {
		return text
	}
	return ""
}

// config is a configuration that may be refused.
func (d dice) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, `name: r1
ports:
  lan: {address: 192.168.1.1/24%s}
  srv: {address: 192.168.5.1/24%s}
  wan: {address: [203.0.113.1/24, 203.0.113.2/24]%s%s}
icmp: {rate: 0, per_destination: 0}
neighbors:
  - {port: lan, address: 192.168.1.2, mac: 02:00:00:00:aa:01}
  - {port: srv, address: 192.168.5.5, mac: 02:00:00:00:aa:05}
  - {port: wan, address: 203.0.113.9, mac: 02:00:00:00:aa:09}
routes:
  - {to: 0.0.0.0/0, via: 203.0.113.9}
  - {to: 10.66.0.0/16, type: blackhole}
  - {to: 10.67.0.0/16, type: prohibit}
  - {to: 10.68.0.0/16, type: unreachable}
`, d.sometimes(3, ", reverse_path: strict"), d.sometimes(4, ", mtu: 700"), d.sometimes(4, ", leak_guard: true"), d.sometimes(4, ", mtu: 600"))
	d.natText(&b)
	if !d.access && d.IntN(3) == 0 {
		fmt.Fprintf(&b, "sessions: {loose: %s, max_per_host: %s}\n", d.of("true", "false"), d.of("0", "5", "100"))
	}
	d.firewallText(&b)
	return b.String()
}

func (d dice) natText(b *strings.Builder) {
	if d.access || d.IntN(5) == 0 {
		return
	}
	b.WriteString("nat:\n")
	b.WriteString(d.sometimes(3, "  - {name: n-exempt, out: wan, type: none, source: 192.168.1.0/24, destination: 198.51.100.0/24}\n"))
	b.WriteString(d.sometimes(3, "  - {name: n-one, out: wan, type: one_to_one, inside: 192.168.5.5, outside: 203.0.113.60}\n"))
	b.WriteString(d.sometimes(3, "  - {name: n-snat, out: wan, type: snat, protocol: udp, source: 192.168.1.0/24, to: 203.0.113.40-203.0.113.42, filtering: address_dependent}\n"))
	b.WriteString(d.sometimes(4, "  - {name: n-cgnat, out: wan, type: cgnat, source: 192.168.5.0/24, to: 203.0.113.50, block_size: 64}\n"))
	fmt.Fprintf(b, "  - {name: n-masq, out: wan, type: masquerade, filtering: %s}\n", d.of("endpoint_independent", "address_dependent", "address_and_port_dependent"))
	if d.IntN(3) > 0 {
		fmt.Fprintf(b, "forwards:\n  - {name: f-web, in: wan, protocol: tcp, port: 80, to: 192.168.5.5}\n")
		b.WriteString(d.sometimes(2, "  - {name: f-dns, in: wan, protocol: tcp_udp, port: 53, to: 192.168.5.5:54}\n"))
		b.WriteString(d.sometimes(2, "  - {name: f-few, in: wan, protocol: udp, port: 4000-4010, to: 192.168.1.2:5000, source: 198.51.100.0/24}\n"))
	}
}

func (d dice) firewallText(b *strings.Builder) {
	shape := 2
	if !d.access {
		shape = d.IntN(4)
	}
	switch shape {
	case 0:
		return
	case 1:
		b.WriteString(d.sometimes(1, "firewall: home\n"))
		return
	}
	action := func() string {
		return d.of("accept", "accept", "drop", "reject", "reject_admin", "reject_reset", "reject_host", "reject_network")
	}
	zones := []string{"a", "b", "o", "router"}
	match := func() string {
		return d.sometimes(3, ", source: "+d.of("192.168.1.0/24", "198.51.100.0/24", "192.168.5.5")) +
			d.sometimes(3, ", destination: "+d.of("192.168.5.5", "203.0.113.1", "198.51.100.0/24")) +
			d.of("", "", ", protocol: tcp", ", protocol: udp", ", protocol: tcp, port: 80", ", protocol: udp, port: [53, 54]",
				", protocol: icmp, icmp_type: echo_request", ", source_set: bad", ", length: 100-65535", ", protocol: tcp, flags: fin")
	}
	if d.access {
		b.WriteString("firewall:\n  sets: {bad: {addresses: [198.51.100.7, 192.168.5.0/25]}}\n")
		d.accessText(b, match, action)
		return
	}
	b.WriteString("firewall:\n  zones: {a: {ports: [lan]}, b: {ports: [srv]}, o: {ports: [wan]}}\n  sets: {bad: {addresses: [198.51.100.7, 192.168.5.0/25]}}\n  rules:\n")
	for i := range 1 + d.IntN(6) {
		fmt.Fprintf(b, "    - {name: r-%d, from: %s, to: %s%s%s, action: %s}\n", i, d.of(zones...), d.of(zones...), strings.Replace(match(), ", length: 100-65535", "", 1),
			d.sometimes(3, ", state: "+d.of("new", "mapped", "forwarded", "invalid")), action())
	}
	d.accessText(b, match, action)
	b.WriteString("  policy:\n")
	seen := map[string]bool{}
	for range 2 + d.IntN(4) {
		from, to := d.of(zones...), d.of(zones...)
		if from == to || seen[from+to] {
			continue
		}
		seen[from+to] = true
		fmt.Fprintf(b, "    - {from: %s, to: %s, action: %s}\n", from, to, d.of("accept", "accept", "drop", "reject"))
	}
}

func (d dice) accessText(b *strings.Builder, match, action func() string) {
	b.WriteString("  access:\n")
	for i := range 1 + d.IntN(3) {
		fmt.Fprintf(b, "    - {name: a-%d, %s: %s%s, action: %s}\n", i, d.of("in", "out"), d.of("lan", "srv", "wan"), match(), action())
	}
}

// request is a packet that means something to such configurations.
func (d dice) request() api.ExplainRequest {
	q := api.ExplainRequest{In: d.of("lan", "srv", "wan"), ICMPType: 8, TTL: 64}
	far := func() string { return d.of("203.0.113.9", "198.51.100.7", "198.51.100.8") }
	switch q.In {
	case "lan":
		q.Src = d.of("192.168.1.2", "192.168.1.2", "192.168.1.2", "192.168.1.3", "192.168.5.5")
	case "srv":
		q.Src = d.of("192.168.5.5", "192.168.5.5", "192.168.5.200")
	default:
		q.Src = far()
	}
	q.Dst = d.of(far(), far(), far(), "192.168.5.5", "192.168.1.2", "203.0.113.1", "203.0.113.1", "203.0.113.2", "192.168.1.2", "192.168.5.5", "203.0.113.41", "203.0.113.50", "203.0.113.60",
		"192.168.1.1", "10.66.0.1", "10.67.0.1", "10.68.0.1", "192.168.1.255", "203.0.113.255", "224.0.0.5", "255.255.255.255", "127.0.0.1", "240.0.0.1", "192.168.5.77")
	if d.IntN(2) == 0 {
		q.Dst = d.of(far(), far(), "192.168.5.5", "192.168.1.2", "203.0.113.1")
	}
	if d.IntN(30) == 0 {
		q.Src = d.of("127.0.0.1", "192.168.1.1", "224.0.0.1", "0.0.0.0")
	}
	ports := []int{53, 54, 80, 4000, 4005, 5000, 5005, 9}
	q.SrcPort, q.DstPort = ports[d.IntN(len(ports))], ports[d.IntN(len(ports))]
	switch q.Protocol = d.of("tcp", "udp", "udp", "icmp", "gre"); q.Protocol {
	case "tcp":
		q.TCPFlags = d.of("S", "S", "S", "S", "A", "SA", "R", "FA", "SF", "none")
	case "icmp":
		q.ICMPType = []int{8, 8, 8, 0, 13, 10}[d.IntN(6)]
		q.DstPort = 0
		if q.ICMPType == 13 { // an identifier of its own: which queries a session carries is not explained
			q.SrcPort = 13
		}
	case "gre":
		q.Protocol, q.SrcPort, q.DstPort = "47", 0, 0
	}
	if d.IntN(12) == 0 {
		q.TTL = 1
	}
	q.DF = d.IntN(2) == 0
	if d.IntN(4) == 0 {
		q.Length = 50 + d.IntN(900)
	}
	return q
}

// ofSession makes it a packet of a session, one way or the other.
func (d dice) ofSession(q *api.ExplainRequest, s *api.Session) {
	split := func(text string) (string, int) {
		a, port, _ := strings.Cut(text, ":")
		n := 0
		fmt.Sscan(port, &n)
		return a, n
	}
	from, to, in := s.Inside, s.Remote, s.InPort
	answer := d.IntN(2) == 0
	switch {
	case s.Direction == "out" && answer:
		from, to, in = s.Remote, s.Outside, s.OutPort
	case s.Direction == "in" && answer:
		from, to, in = s.Inside, s.Remote, s.OutPort
	case s.Direction == "in":
		from, to, in = s.Remote, s.Outside, s.InPort
	}
	if timestamps := strings.HasSuffix(s.Inside, ":13") || strings.HasSuffix(s.Outside, ":13"); in == "router" || s.Protocol == "tcp" || s.Protocol == "icmp" && timestamps {
		return
	}
	q.In, q.Protocol = in, s.Protocol
	q.Src, q.SrcPort = split(from)
	q.Dst, q.DstPort = split(to)
	switch s.Protocol {
	case "gre":
		q.Protocol = "47"
	case "icmp":
		q.SrcPort += q.DstPort // the identifier, whoever's it is shown as
		q.DstPort = 0
		q.ICMPType = 8
		if answer {
			q.ICMPType = 0
		}

	}
}

// seen is an IPv4 packet at the far end of a port.
type seen struct {
	port string
	ip   packet.IPv4
}

// accessSeed is the first seed whose configurations have access rules alone.
const accessSeed = 1000

func TestWhatExplainSaysIsWhatHappens(t *testing.T) {
	// 0, 1, 9, 59 and 60 have each found something: what goes with a session that ends with the packet.
	for _, seed := range []uint64{0, 1, 9, 59, 60, accessSeed} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := dice{rand.New(rand.NewPCG(seed+100, 7)), seed >= accessSeed}
			l := runStateful(t, homeHosts(), homePorts)
			got := make(chan seen, 1<<12)
			watched := map[*simhost.Host]bool{}
			id, verdicts, existing := uint16(0), map[string]int{}, 0
			for configs, refused := 0, 0; configs < 15; {
				text := d.config()
				if _, err := l.ConfigApply(tester, text, 0); err != nil {
					if refused++; refused > 30 {
						t.Fatal(err)
					}
					continue
				}
				configs++
				for _, name := range []string{"lan", "srv", "wan"} {
					if h := l.host(name); !watched[h] {
						watched[h] = true
						h.OnFrame(func(f []byte) bool {
							if packet.Ethernet(f).Type() != packet.EtherTypeIPv4 {
								return false
							}
							got <- seen{name, append(packet.IPv4{}, f[packet.EthernetLen:]...)}
							return true
						})
					}
				}
				for range 60 {
					q := d.request()
					if rows := l.sessionsOf(); len(rows) > 0 && d.IntN(3) == 0 {
						d.ofSession(&q, &rows[d.IntN(len(rows))])
					}
					id++
					e, ok := l.explainAndSend(q, id, got, text)
					if !ok {
						continue
					}
					verdicts[e.Verdict+" "+e.Reason]++
					if e.Exists {
						existing++
					}
					if t.Failed() {
						return
					}
				}
			}
			t.Logf("%v, %d of sessions that existed", verdicts, existing)
			if (existing < 100 || len(verdicts) < 15) && !d.access || len(verdicts) < 10 {
				t.Errorf("too little was tried: %v, %d of sessions that existed", verdicts, existing)
			}
		})
	}
}

// explainAndSend compares; false: nothing to compare.
func (l *lab) explainAndSend(q api.ExplainRequest, id uint16, got <-chan seen, text string) (api.Explanation, bool) {
	t := l.t
	t.Helper()
	e, err := l.Explain(q)
	if err != nil {
		t.Errorf("%+v: %v", q, err)
		return e, false
	}
	if q.Protocol == "tcp" && (e.Exists || slices.ContainsFunc(e.Steps, func(s api.ExplainStep) bool {
		return s.Stage == "session" && strings.Contains(s.Text, "belongs to a session")
	})) {
		return e, false
	}
	l.checkLines(q, e, text)
	var ip packet.IPv4
	l.do(func() {
		w, _ := l.newWalk(&q)
		ip = w.ip
	})
	ip.SetID(id)
	if ip.Protocol() == 1 { // the router's own stack checks it; transit does not
		ip[22], ip[23] = 0, 0
		sum := ^packet.Fold(packet.Sum(ip[20:], 0))
		ip[22], ip[23] = byte(sum>>8), byte(sum)
	}
	ip.UpdateHeaderChecksum()
	before := map[string]uint64{}
	for _, one := range l.Drops() {
		before[one.Reason] = one.Packets
	}
	punts := map[string]uint64{"delivered": l.counter("punt_local"), "waits": l.counter("punt_resolve")}
	h := l.host(q.In)
	frame := make([]byte, packet.EthernetLen+len(ip))
	mac, _ := packet.ParseMAC(l.port(q.In).MAC)
	packet.Ethernet(frame).SetDst(mac)
	packet.Ethernet(frame).SetSrc(h.MAC())
	packet.Ethernet(frame).SetType(packet.EtherTypeIPv4)
	copy(frame[packet.EthernetLen:], ip)
	h.SendFrame(frame)

	happened := ""
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for happened == "" {
		select {
		case s := <-got:
			if s.ip.ID() == id && s.ip.TTL() == ip.TTL()-1 && s.ip.Protocol() == ip.Protocol() {
				happened = "forwarded " + s.port + " " + wholeFlow(s.ip, e.Packet)
			}
		case <-tick.C:
			switch {
			case e.Reason != "" && l.dropped(e.Reason) > before[e.Reason]:
				happened = e.Verdict + " " + e.Reason
			case e.Verdict == "delivered" && l.counter("punt_local") > punts["delivered"]:
				happened = "delivered"
			case e.Verdict == "waits" && l.counter("punt_resolve") > punts["waits"]:
				happened = "waits"
			}
		case <-deadline:
			happened = "something else:"
			for _, one := range l.Drops() {
				if one.Packets > before[one.Reason] {
					happened += " dropped " + one.Reason
				}
			}
			if l.counter("punt_local") > punts["delivered"] {
				happened += " delivered"
			}
			if l.counter("punt_resolve") > punts["waits"] {
				happened += " waits"
			}
		}
	}
	want := strings.TrimSpace(e.Verdict + " " + e.Reason)
	if e.Verdict == "forwarded" {
		want = "forwarded " + e.Out + " " + e.Packet
	}
	if happened != want {
		t.Errorf("%+v:\nexplained: %s\nhappened:  %s\n%s\n%s", q, want, happened, stepsText(e), text)
	}
	l.checkSession(q, e, text)
	return e, true
}

// wholeFlow words a packet; of a fragment, and of what is no proper TCP, only the addresses are known: the rest is taken as
// explained.
func wholeFlow(ip packet.IPv4, explained string) string {
	s := flowOf(ip)
	bare := fmt.Sprintf("%s %v -> %v", protocolName(ip.Protocol()), ip.Src(), ip.Dst())
	if !ip.IsFragment() && s != bare {
		return s
	}
	words := strings.Fields(explained)
	for i := range words {
		words[i], _, _ = strings.Cut(words[i], ":")
	}
	if strings.Join(words, " ") == bare {
		return explained
	}
	return s
}

// checkSession compares the session that was announced with those that are there.
func (l *lab) checkSession(q api.ExplainRequest, e api.Explanation, text string) {
	l.t.Helper()
	if e.Session == nil {
		return
	}
	want := *e.Session
	same := func(s api.Session) bool {
		return s.Protocol == want.Protocol && s.Inside == want.Inside && s.Outside == want.Outside && s.Remote == want.Remote &&
			s.Direction == want.Direction && (e.Exists || s.InPort == want.InPort && s.OutPort == want.OutPort) && s.NAT == want.NAT && s.Rule == want.Rule // a session may change its ports with the packet
	}
	if e.Verdict == "delivered" && q.Protocol == "tcp" {
		return // what answers it may have ended it already
	}
	var rows []api.Session
	for deadline := time.Now().Add(5 * time.Second); !slices.ContainsFunc(rows, same); { // another packet may have waited for ARP
		if rows = l.sessionsOf(); time.Now().Before(deadline) {
			continue
		}
		l.t.Errorf("%+v: the session is not there: %+v\nthere are: %+v\n%s\n%s", q, want, rows, stepsText(e), text)
		return
	}
}

// checkLines holds each step against the line that it names.
func (l *lab) checkLines(q api.ExplainRequest, e api.Explanation, text string) {
	l.t.Helper()
	lines := strings.Split(text, "\n")
	named := func(name string) bool {
		return slices.ContainsFunc(e.Steps, func(s api.ExplainStep) bool { return strings.Contains(s.Source, name) })
	}
	for _, s := range e.Steps {
		if s.Line > 0 && strings.TrimSpace(lines[s.Line-1]) != s.Source {
			l.t.Errorf("step %+v does not quote line %d", s, s.Line)
		}
		for _, prefix := range []string{"rule r-", "access rule a-"} {
			if i := strings.Index(s.Text, prefix); i == 0 {
				name := strings.TrimSuffix(strings.Fields(strings.TrimPrefix(s.Text, strings.Fields(prefix)[0]+" "))[0], ":")
				if prefix[0] == 'a' {
					name = strings.TrimSuffix(strings.Fields(s.Text)[2], ":")
				}
				if !strings.Contains(s.Source, "name: "+name+",") {
					l.t.Errorf("step %q has the line %q", s.Text, s.Source)
				}
			}
		}
	}
	if e.Session != nil && e.Session.NAT != "" && !named("name: "+e.Session.NAT) {
		l.t.Errorf("%+v: no step has the line of %s:\n%s", q, e.Session.NAT, stepsText(e))
	}
	if e.Verdict == "" || len(e.Steps) == 0 {
		l.t.Errorf("%+v: no verdict: %+v", q, e)
	}
}

func stepsText(e api.Explanation) string {
	var b strings.Builder
	for _, s := range e.Steps {
		fmt.Fprintf(&b, "  %s %s: %s (%d %s)\n", s.Stage, s.Decision, s.Text, s.Line, s.Source)
	}
	return b.String()
}

func TestExplainRefusesWhatIsNoPacket(t *testing.T) {
	l := runHome(t, home)
	for _, q := range []api.ExplainRequest{
		{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", Protocol: "tcp"},
		{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", Protocol: "udp", DstPort: 70000},
		{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", Protocol: "icmp", ICMPType: 11},
		{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", Protocol: "icmp", ICMPType: 300},
		{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", TTL: 256, ICMPType: 8},
		{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", Length: 20, ICMPType: 8},
		{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", Protocol: "tcp", DstPort: 1, TCPFlags: "X"},
	} {
		_, err := l.Explain(q)
		expectError(t, err, api.Usage)
	}
	_, err := l.Explain(api.ExplainRequest{In: "nosuch", Src: "192.168.1.2", Dst: "203.0.113.9"})
	expectError(t, err, api.NotFound, "nosuch", "lan")
	before := fmt.Sprint(l.stateful.sessions.Counts(), l.stateful.mappings.Counts(), l.Drops())
	for range 10 {
		if _, err := l.Explain(api.ExplainRequest{In: "lan", Src: "192.168.1.2", Dst: "203.0.113.9", Protocol: "udp", DstPort: 53}); err != nil {
			t.Fatal(err)
		}
	}
	if after := fmt.Sprint(l.stateful.sessions.Counts(), l.stateful.mappings.Counts(), l.Drops()); after != before {
		t.Errorf("explaining has changed something:\n%s\n%s", before, after)
	}
}
