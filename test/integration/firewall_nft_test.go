package integration

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Random rules, told to vrouterd and, in other words, to nftables, between two pairs of hosts with the same addresses. Random
// packets then go through both: what becomes of each, and what the rules have counted, must be the same.

// randomRule is one rule in both languages.
type randomRule struct{ yaml, nft, action string }

// The zones' addresses: eight in each, none of them a host's own, so that nothing but the routers answers.
const (
	zoneA = "172.16.1."
	zoneB = "172.16.2."
)

// rulesMaker makes rules and packets from a seed.
type rulesMaker struct{ *rand.Rand }

func (m rulesMaker) chance(percent int) bool { return m.IntN(100) < percent }

// prefix is one that holds some of a zone's eight addresses.
func (m rulesMaker) prefix(zone string) string {
	length := []int{24, 29, 30, 31, 32, 32, 32}[m.IntN(7)]
	last := m.IntN(8) &^ (1<<(32-length) - 1)
	return fmt.Sprintf("%s%d/%d", zone, last, length)
}

// ports is a port or a range, low enough that packets meet it often.
func (m rulesMaker) ports() (low, high int) {
	low = 1 + m.IntN(30)
	if high = low; m.chance(50) {
		high += m.IntN(12)
	}
	return low, high
}

func (m rulesMaker) rule(name string) randomRule {
	yaml, nft := []string{"name: " + name}, []string{}
	from, to := zoneA, zoneB
	switch m.IntN(5) {
	case 0: // either way
		if m.chance(50) {
			from, to = to, from
		}
	case 1:
		from, to = to, from
		yaml, nft = append(yaml, "from: zb", "to: za"), append(nft, `iifname "pb" oifname "pa"`)
	default:
		yaml, nft = append(yaml, "from: za", "to: zb"), append(nft, `iifname "pa" oifname "pb"`)
	}
	not := func(key, word string, zone string) {
		p := m.prefix(zone)
		if m.chance(15) {
			yaml, nft = append(yaml, "not_"+key+": "+p), append(nft, "ip "+word+" != "+p)
		} else {
			yaml, nft = append(yaml, key+": "+p), append(nft, "ip "+word+" "+p)
		}
	}
	if m.chance(85) {
		not("source", "saddr", from)
	}
	if m.chance(85) {
		not("destination", "daddr", to)
	}
	protocol := []string{"tcp", "tcp", "udp", "udp", "icmp", "icmp", ""}[m.IntN(7)]
	switch protocol {
	case "tcp", "udp":
		yaml, nft = append(yaml, "protocol: "+protocol), append(nft, "meta l4proto "+protocol)
		for _, p := range [][3]string{{"source_port", "sport", "30"}, {"port", "dport", "80"}} {
			var percent int
			fmt.Sscan(p[2], &percent)
			if !m.chance(percent) {
				continue
			}
			low, high := m.ports()
			if low == high {
				yaml, nft = append(yaml, fmt.Sprintf("%s: %d", p[0], low)), append(nft, fmt.Sprintf("%s %s %d", protocol, p[1], low))
			} else {
				yaml, nft = append(yaml, fmt.Sprintf("%s: %d-%d", p[0], low, high)), append(nft, fmt.Sprintf("%s %s %d-%d", protocol, p[1], low, high))
			}
		}
	case "icmp":
		yaml, nft = append(yaml, "protocol: icmp"), append(nft, "meta l4proto icmp")
		if m.chance(50) {
			kind := m.IntN(2)
			yaml = append(yaml, "icmp_type: "+[]string{"echo_request", "timestamp_request"}[kind])
			nft = append(nft, "icmp type "+[]string{"echo-request", "timestamp-request"}[kind])
		}
	}
	action := []string{"accept", "accept", "accept", "drop", "drop", "reject", "reject_admin", "reject_host", "reject_network"}[m.IntN(9)]
	yaml = append(yaml, "action: "+action)
	return randomRule{"{" + strings.Join(yaml, ", ") + "}", nftRule(strings.Join(nft, " "), action, name), action}
}

// nftRule is a rule that counts under a name.
func nftRule(match, action, name string) string {
	const line = "    %s counter %s comment %q\n"
	switch action {
	case "reject":
		tcp := match
		if !strings.Contains(match, "l4proto") {
			tcp = "meta l4proto tcp " + match
		}
		rest := fmt.Sprintf(line, match, "reject with icmp type port-unreachable", name)
		if strings.Contains(tcp, "l4proto tcp") {
			return fmt.Sprintf(line, tcp, "reject with tcp reset", name) + rest
		}
		return rest
	case "reject_admin":
		action = "reject with icmp type admin-prohibited"
	case "reject_host":
		action = "reject with icmp type host-unreachable"
	case "reject_network":
		action = "reject with icmp type net-unreachable"
	}
	return fmt.Sprintf(line, match, action, name)
}

// probe is a packet from one zone to the other that no other probe has been or has answered.
func (m rulesMaker) probe(id uint16, used map[string]bool) probe {
	for {
		from, to := zoneA, zoneB
		if m.chance(40) {
			from, to = to, from
		}
		p := probe{id: id, src: netip.MustParseAddr(fmt.Sprint(from, m.IntN(8))), dst: netip.MustParseAddr(fmt.Sprint(to, m.IntN(8))),
			protocol: []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP}[m.IntN(3)]}
		switch p.protocol {
		case unix.IPPROTO_ICMP:
			p.dport, p.icmpType = id, []byte{8, 13}[m.IntN(2)]
		default:
			p.sport, p.dport = uint16(1+m.IntN(40)), uint16(1+m.IntN(40))
		}
		key := fmt.Sprint(p.protocol, p.src, p.sport, p.dst, p.dport)
		back := fmt.Sprint(p.protocol, p.dst, p.dport, p.src, p.sport)
		if !used[key] && !used[back] {
			used[key] = true
			return p
		}
	}
}

// String is the probe as a failure names it.
func (p probe) String() string {
	switch p.protocol {
	case unix.IPPROTO_TCP:
		return fmt.Sprintf("TCP SYN %v:%d > %v:%d", p.src, p.sport, p.dst, p.dport)
	case unix.IPPROTO_UDP:
		return fmt.Sprintf("UDP %v:%d > %v:%d", p.src, p.sport, p.dst, p.dport)
	}
	return fmt.Sprintf("ICMP type %d %v > %v", p.icmpType, p.src, p.dst)
}

// explain is the verdict that the router foretells.
func (r *router) explain(p probe) string {
	r.lab.t.Helper()
	question := map[string]any{"in": "b", "src": p.src.String(), "dst": p.dst.String(), "protocol": fmt.Sprint(p.protocol), "icmp_type": int(p.icmpType), "sport": int(p.sport), "dport": int(p.dport), "length": len(p.bytes())}
	if strings.HasPrefix(p.src.String(), zoneA) {
		question["in"] = "a"
	}
	if p.protocol == unix.IPPROTO_ICMP {
		question["sport"] = int(p.dport)
		delete(question, "dport")
	} else {
		delete(question, "icmp_type")
	}
	var answer struct {
		Verdict string `json:"verdict"`
	}
	r.request("POST", "/v1/explain", question, &answer)
	return answer.Verdict
}

// pair is two hosts with a router between them, and what they have seen of the probes.
type pair struct {
	a, b         *host
	fromA, fromB *sender
	taps         []*tap
	fates        map[uint16]string
}

func newPair(a, b *host) *pair {
	p := &pair{a: a, b: b, fromA: a.sender(), fromB: b.sender(), fates: map[uint16]string{}}
	hear := func(ip []byte) {
		id := binary.BigEndian.Uint16(ip[4:])
		l4 := ip[20:]
		switch {
		case ip[9] == unix.IPPROTO_ICMP && len(l4) >= 28 && l4[0] == 3:
			id = binary.BigEndian.Uint16(l4[8+4:])
			p.fates[id] = fmt.Sprintf("ICMP unreachable, code %d, from %v", l4[1], netip.AddrFrom4([4]byte(ip[12:16])))
		case ip[9] == unix.IPPROTO_TCP && len(l4) >= 20 && l4[13]&4 != 0:
			id = uint16((binary.BigEndian.Uint32(l4[8:]) - 1) >> 16)
			p.fates[id] = fmt.Sprintf("TCP reset from %v", netip.AddrFrom4([4]byte(ip[12:16])))
		case id != 0:
			p.fates[id] = "passes"
		}
	}
	p.taps = []*tap{a.tap("eth0", hear), b.tap("eth0", func(ip []byte) { // both write to one map
		p.taps[0].mu.Lock()
		defer p.taps[0].mu.Unlock()
		hear(ip)
	})}
	return p
}

// fate of a probe; "" as long as nothing has come of it.
func (p *pair) fate(id uint16) string {
	p.taps[0].mu.Lock()
	defer p.taps[0].mu.Unlock()
	return p.fates[id]
}

func (p *pair) forget() {
	p.taps[0].mu.Lock()
	defer p.taps[0].mu.Unlock()
	p.fates = map[uint16]string{}
}

func (p *pair) send(q probe) error {
	if strings.HasPrefix(q.src.String(), zoneA) {
		return p.fromA.send(q.bytes())
	}
	return p.fromB.send(q.bytes())
}

// random sends all probes, in batches, each of which has passed when a last packet, always accepted, has
// come through in both directions.
func (p *pair) random(probes []probe) {
	t := p.a.lab.t
	t.Helper()
	const batch = 100
	for at := 0; at < len(probes); at += batch {
		for _, q := range probes[at:min(at+batch, len(probes))] {
			if err := p.send(q); err != nil {
				t.Fatalf("sending %v: %v", q, err)
			}
		}
		for i, zones := range [][2]string{{zoneA, zoneB}, {zoneB, zoneA}} {
			last := probe{protocol: unix.IPPROTO_UDP, src: netip.MustParseAddr(zones[0] + "1"), dst: netip.MustParseAddr(zones[1] + "1"),
				sport: uint16(50000 + at), dport: uint16(65000 + i), id: uint16(60000 + at/batch*2 + i)}
			eventually(t, 20*time.Second, "the end of a batch", func() error {
				if p.fate(last.id) == "passes" {
					return nil
				}
				last.sport++
				return errorf("not here", p.send(last))
			})
		}
	}
}

// errorf is the error, or one that says the text.
func errorf(text string, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s", text)
}

func TestFirewallAgreesWithNftablesOnRandomRules(t *testing.T) {
	l := newUnwatchedLab(t, "a", "b", "ka", "kb", "k")
	kernel := l.kernelBetween("k", "ka", "kb")
	ours := unlimited + `
ports:
  a: {netns: {a}, device: eth0, address: 10.1.0.1/24, host: {address: 10.1.0.2/24}}
  b: {netns: {b}, device: eth0, address: 10.2.0.1/24, host: {address: 10.2.0.2/24}}
routes:
  - {to: 172.16.1.0/24, via: 10.1.0.2}
  - {to: 172.16.2.0/24, via: 10.2.0.2}
`
	onlyKernel := os.Getenv("VROUTERD_TEST_NAT") == "kernel"
	var r *router
	pairs := []*pair{newPair(l.hosts["ka"], l.hosts["kb"])}
	if onlyKernel { // the kernel against itself: the test's own test
		l.addHost("k2")
		l.kernelBetween("k2", "a", "b")
		pairs = append(pairs, newPair(l.hosts["a"], l.hosts["b"]))
	} else {
		r = l.router("r1", ours)
		pairs = append(pairs, newPair(l.hosts["a"], l.hosts["b"]))
		for _, h := range []string{"a", "b"} {
			gateway := map[string]string{"a": "10.1.0.1", "b": "10.2.0.1"}[h]
			l.hosts[h].ip("route", "add", "default", "via", gateway)
			l.hosts[h].ping(gateway)
		}
	}
	id := uint16(0)
	for seed := range uint64(4) {
		m := rulesMaker{rand.New(rand.NewPCG(seed, 4))}
		rules := make([]randomRule, 20+40*int(seed))
		policy := []string{"accept", "drop"}[seed%2]
		for i := range rules {
			rules[i] = m.rule(fmt.Sprintf("r%d of %d", i, seed)) // counters of a name that stays go on
		}
		rules = l.withoutShadowed(ours, policy, rules)
		yaml, nft := bothLanguages(policy, rules)
		l.nft(kernel, nft)
		if onlyKernel {
			l.nft(l.hosts["k2"], nft)
			l.hosts["k2"].run("conntrack", "-F")
		} else {
			r.write(ours + yaml)
			r.ctl("config", "apply", r.file)
			r.ctl("nat", "flush")
		}
		l.hosts["k"].run("conntrack", "-F")
		used, probes := map[string]bool{}, make([]probe, 600)
		for i := range probes {
			id++
			probes[i] = m.probe(id, used)
		}
		explained := map[uint16]string{}
		for _, q := range probes[:200] {
			if r != nil {
				explained[q.id] = r.explain(q)
			}
		}
		for _, p := range pairs {
			p.forget()
			p.random(probes)
		}
		eventually(t, 10*time.Second, "the same fate of every packet with vrouterd and nftables", func() error {
			var differ []string
			for _, q := range probes {
				if want, got := pairs[0].fate(q.id), pairs[1].fate(q.id); got != want {
					differ = append(differ, fmt.Sprintf("%v: nftables %q, vrouterd %q", q, want, got))
				}
			}
			if differ == nil {
				return nil
			}
			return fmt.Errorf("seed %d: %d of %d differ:\n%s\nrules:\n%s\n%s", seed, len(differ), len(probes), strings.Join(differ[:min(len(differ), 20)], "\n"), yaml, nft)
		})
		// What explain had said before agrees with what has become of them.
		for _, q := range probes[:200] {
			said, fate := explained[q.id], pairs[1].fate(q.id)
			want := map[bool]string{true: "rejected", false: "dropped"}[fate != ""]
			if fate == "passes" {
				want = "forwarded"
			}
			if r != nil && said != want {
				t.Errorf("seed %d: explain says of %v %q, and %q has become of it", seed, q, said, fate)
			}
		}
		kinds := map[string]int{}
		for _, q := range probes {
			kinds[strings.Fields(pairs[0].fate(q.id) + " none")[0]]++
		}
		t.Logf("seed %d, %d rules: %v", seed, len(rules), kinds)
		if onlyKernel {
			continue
		}
		counted := nftCounters(kernel.run("nft", "list", "ruleset"))
		for _, row := range r.rows("firewall") {
			name := fmt.Sprint(row["name"])
			if want, ours := counted[name], row["packets"]; strings.HasPrefix(name, "r") && fmt.Sprint(ours) != fmt.Sprint(want) {
				t.Errorf("seed %d: rule %s has counted %v packets, in nftables %d", seed, name, ours, want)
			}
		}
	}
}

// bothLanguages is a rule set for vrouterd and for nftables.
func bothLanguages(policy string, rules []randomRule) (yaml, nft string) {
	yaml = `firewall:
  zones: {za: {ports: [a]}, zb: {ports: [b]}}
  policy:
    - {from: za, to: zb, action: ` + policy + `}
    - {from: zb, to: za, action: reject}
  rules:
    - {name: end of a batch, protocol: udp, port: 65000-65001, action: accept}
`
	nft = `table ip filter {
  chain forward { type filter hook forward priority 0; policy drop;
    ct state established,related accept
    udp dport 65000-65001 accept
`
	for _, r := range rules {
		yaml += "    - " + r.yaml + "\n"
		nft += r.nft
	}
	nft += nftRule(`iifname "pa" oifname "pb"`, policy, "a to b") + nftRule(`iifname "pb" oifname "pa"`, "reject", "b to a") + "  }\n}\n"
	return yaml, nft
}

// withoutShadowed leaves out the rules that could never count, which vrouterd refuses: it names their lines.
func (l *lab) withoutShadowed(ours, policy string, rules []randomRule) []randomRule {
	l.t.Helper()
	yaml, _ := bothLanguages(policy, rules)
	text := l.fill(ours + yaml)
	file := filepath.Join(l.dir, "random.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	out, code := l.try(binaries+"/vrouterd", "check", file)
	if code == 0 {
		return rules
	}
	lines, shadowed := strings.Split(text, "\n"), map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m):(\d+):\d+: .* matches everything that this one could`).FindAllStringSubmatch(out, -1) {
		n, _ := strconv.Atoi(m[1])
		shadowed[strings.TrimPrefix(lines[n-1], "    - ")] = true
	}
	left := slices.DeleteFunc(slices.Clone(rules), func(r randomRule) bool { return shadowed[r.yaml] })
	if len(left) == len(rules) {
		l.t.Fatalf("vrouterd check: %s\n%s", out, text)
	}
	return l.withoutShadowed(ours, policy, left) // the first fifty errors are told
}

// nftCounters are the packets counted, by comment.
func nftCounters(ruleset string) map[string]int {
	all := map[string]int{}
	for _, m := range regexp.MustCompile(`counter packets (\d+) .*comment "([^"]*)"`).FindAllStringSubmatch(ruleset, -1) {
		var n int
		fmt.Sscan(m[1], &n)
		all[m[2]] += n
	}
	return all
}

// kernelBetween makes a host the router between two others, with the addresses and routes that vrouterd has.
func (l *lab) kernelBetween(router, a, b string) *host {
	l.t.Helper()
	k := l.hosts[router]
	for port, h := range map[string]*host{"pa": l.hosts[a], "pb": l.hosts[b]} {
		number := map[string]string{"pa": "1", "pb": "2"}[port]
		k.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", h.ns)
		k.ip("addr", "add", "10."+number+".0.1/24", "dev", port)
		k.ip("link", "set", port, "up")
		h.ip("addr", "add", "10."+number+".0.2/24", "dev", "eth0")
		h.ip("link", "set", "eth0", "up")
		h.ip("route", "add", "default", "via", "10."+number+".0.1")
	}
	for port, number := range map[string]string{"pa": "1", "pb": "2"} {
		k.ip("route", "add", "172.16."+number+".0/24", "via", "10."+number+".0.2", "dev", port)
	}
	k.sysctl("net/ipv4/ip_forward", "1")
	k.unlimitICMP()
	for _, h := range []string{a, b} {
		gateway := map[string]string{a: "10.1.0.1", b: "10.2.0.1"}[h]
		l.hosts[h].ping(gateway)
	}
	return k
}
