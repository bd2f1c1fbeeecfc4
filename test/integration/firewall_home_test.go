package integration

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// safeHome is what a home needs: one line.
var safeHome = policy{
	yaml: forwarding.yaml + "firewall: home\n",
	nft: forwarding.nft + `
table ip input {
  chain input { type filter hook input priority 0; policy accept;
    ct state established,related accept
    iifname "wan" icmp type echo-request accept
    iifname "wan" drop
  }
}
`}

func TestFirewallHomeShowsNothingToAScan(t *testing.T) {
	e := newHome(t, safeHome, "p2", "p5")
	e.hosts["p5"].serveWeb("192.168.1.5:80")
	e.out.gets(open, "tcp4", publicAddress+":80") // the neighbours know each other
	// A scan: a SYN and a datagram to each of the first thousand ports, from a host that notes every answer.
	answers := map[string]int{}
	tap := e.out.tap("eth0", func(ip []byte) {
		if netip.AddrFrom4([4]byte(ip[12:16])).String() != publicAddress {
			return
		}
		switch l4 := ip[20:]; {
		case ip[9] == unix.IPPROTO_TCP && l4[13]&2 != 0:
			answers[fmt.Sprintf("SYN-ACK from port %d", binary.BigEndian.Uint16(l4))]++
		case ip[9] == unix.IPPROTO_TCP:
			answers[fmt.Sprintf("reset from port %d", binary.BigEndian.Uint16(l4))]++
		case ip[9] == unix.IPPROTO_ICMP && l4[0] != 0:
			answers[fmt.Sprintf("ICMP type %d code %d", l4[0], l4[1])]++
		case ip[9] == unix.IPPROTO_UDP:
			answers["UDP"]++
		}
	})
	from, to := netip.MustParseAddr(server2), netip.MustParseAddr(publicAddress)
	s := e.out.sender()
	for port := range uint16(1000) {
		for _, protocol := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
			if port == 0 || s.send(probe{protocol: protocol, src: from, dst: to, sport: 50000, dport: port, id: port}.bytes()) != nil {
				continue
			}
		}
		if port%100 == 99 { // in step with the router
			e.out.ping(publicAddress, "-c", "1")
		}
	}
	// Ping is answered; the port that was forwarded, and no other, answers.
	e.out.ping(publicAddress)
	eventually(t, 20*time.Second, "the forwarded port to answer the scan", func() error {
		s.send(probe{protocol: unix.IPPROTO_TCP, src: from, dst: to, sport: 50001, dport: 80, id: 1}.bytes())
		tap.mu.Lock()
		defer tap.mu.Unlock()
		if answers["SYN-ACK from port 80"] == 0 {
			return fmt.Errorf("answers so far: %v", answers)
		}
		return nil
	})
	tap.mu.Lock()
	for what, n := range answers {
		if !strings.HasSuffix(what, " port 80") {
			t.Errorf("the scan got %d answers: %s", n, what)
		}
	}
	tap.mu.Unlock()
	e.out.gets(silent, "tcp4", publicAddress+":22")
	e.out.gets(silent, "udp4", publicAddress+":53")
	e.out.gets(silent, "tcp4", "192.168.1.2:22")
	e.out.pingFails("192.168.1.2", "-W", "1")
	// The inside is served as ever.
	e.out.serveWeb(server1 + ":80")
	e.hosts["p2"].run("curl", "-sS", "--max-time", "20", "http://"+server1+"/")
	e.hosts["p2"].ping(publicAddress)
	if e.r == nil {
		return
	}
	if n := e.r.drops("firewall"); n < 1800 {
		t.Errorf("expected the scan's packets among the drops, there are %d:\n%s", n, e.r.ctl("show", "drops"))
	}
	drop := 0.0
	for _, row := range e.r.rows("firewall") {
		if row["from"] == "outside" && row["to"] == "router" && row["action"] == "drop" {
			drop, _ = row["packets"].(float64)
		}
	}
	if drop < 1800 {
		t.Errorf("expected the policy from outside to the router to have counted the scan:\n%s", e.r.ctl("show", "firewall"))
	}
}

func TestFirewallHomeAnswersPingWithinItsRate(t *testing.T) {
	e := newHome(t, safeHome, "p2")
	e.hosts["p2"].ping(server1)
	e.out.ping(publicAddress)
	// Two thousand pingers at once, from outside: 100 a second are answered, the rest is dropped, and the inside
	// does not notice.
	answered := 0
	tap := e.out.tap("eth0", func(ip []byte) {
		if ip[9] == unix.IPPROTO_ICMP && ip[20] == 0 && netip.AddrFrom4([4]byte(ip[16:20])).String() == server2 {
			answered++
		}
	})
	s := e.out.sender()
	for id := range uint16(2000) {
		s.send(probe{protocol: unix.IPPROTO_ICMP, icmpType: 8, src: netip.MustParseAddr(server2), dst: netip.MustParseAddr(publicAddress), dport: id + 1, id: id + 1}.bytes())
		if id%200 == 199 { // in step with the router
			e.hosts["p2"].ping("192.168.1.1", "-c", "1")
		}
	}
	eventually(t, 20*time.Second, "the router to have dropped those beyond the rate", func() error {
		if e.r != nil && e.r.drops("firewall") < 500 {
			return fmt.Errorf("drops:\n%s", e.r.ctl("show", "drops"))
		}
		return nil
	})
	tap.mu.Lock()
	defer tap.mu.Unlock()
	if answered < 50 || e.r != nil && answered > 1500 {
		t.Errorf("expected some of 2,000 pings to be answered, and not all: it was %d", answered)
	}
}

// zones are staff, students and servers (the department of the textbooks).
const zones = unlimited + `
ports:
  staff: {netns: {staff}, device: eth0, address: 138.37.94.1/24, host: {address: 138.37.94.2/24, gateway: 138.37.94.1}}
  students: {netns: {student}, device: eth0, address: 138.37.88.1/24, host: {address: 138.37.88.2/24, gateway: 138.37.88.1}}
  servers: {netns: {server}, device: eth0, address: 138.37.95.241/29, host: {address: [138.37.95.242/29, 138.37.95.243/29], gateway: 138.37.95.241}}
firewall:
  zones:
    staff: {ports: [staff]}
    students: {ports: [students]}
    servers: {ports: [servers]}
  sets:
    web: {addresses: [138.37.95.242]}
  rules:
    - {name: students see the web, from: students, to: servers, protocol: tcp, port: 80, destination_set: web, action: accept}
    - {name: no telnet, to: servers, protocol: tcp, port: 23, action: reject}
    - {name: no talk, to: servers, protocol: udp, port: 517, action: reject}
    - {name: closed by order, from: staff, to: servers, protocol: tcp, port: 8000-8010, action: reject_admin, log: true}
    - {name: no such host, from: staff, to: servers, protocol: tcp, port: 9000, action: reject_host}
  policy:
    - {from: staff, to: servers, action: accept}
    - {from: staff, to: students, action: accept}
    - {from: students, to: router, action: drop}
`

func TestFirewallZonesAsClientsSeeThem(t *testing.T) {
	l := newLab(t, "staff", "student", "server")
	r := l.router("r1", zones)
	staff, student, server := l.hosts["staff"], l.hosts["student"], l.hosts["server"]
	const web, other = "138.37.95.242", "138.37.95.243"
	for _, address := range []string{web, other} {
		server.serveTCP(address + ":80")
		server.serveTCP(address + ":22")
		server.serveTCP(address + ":23")
		server.serveTCP(address + ":8005")
		server.serveUDP(address + ":53")
		server.serveUDP(address + ":517")
		server.serveTCP(address + ":9000")
	}
	staff.serveTCP("138.37.94.2:22")
	student.serveTCP("138.37.88.2:22")
	for _, c := range []struct {
		from              *host
		network, to, want string
	}{
		{student, "tcp4", web + ":80", open},
		{student, "tcp4", other + ":80", silent}, // not in the set
		{student, "tcp4", web + ":22", silent},   // pairs that nobody named are dropped
		{student, "udp4", web + ":53", silent},
		{student, "tcp4", web + ":23", refused}, // a reset by the router
		{student, "udp4", web + ":517", refused},
		{student, "tcp4", "138.37.94.2:22", silent},
		{staff, "tcp4", web + ":22", open},
		{staff, "tcp4", other + ":80", open},
		{staff, "udp4", other + ":53", open},
		{staff, "tcp4", web + ":23", refused},
		{staff, "tcp4", web + ":8005", unreachable},
		{staff, "tcp4", web + ":9000", unreachable},
		{staff, "tcp4", "138.37.88.2:22", open},
		{server, "tcp4", "138.37.94.2:22", silent},
		{server, "tcp4", "138.37.88.2:22", silent},
	} {
		c.from.gets(c.want, c.network, c.to)
	}
	// As real clients say it: refused is 7 in curl, timed out 28.
	for to, want := range map[string]int{web + ":23": 7, web + ":22": 28} {
		limit := "20"
		if want == 28 {
			limit = "1"
		}
		if out, code := student.try("curl", "-sS", "--max-time", limit, "http://"+to+"/"); code != want {
			t.Errorf("curl to %s: expected exit status %d, got %d: %s", to, want, code, out)
		}
	}
	// The router itself: to the students it is dead, to everybody else not named, so it answers.
	student.pingFails("138.37.88.1", "-W", "1")
	staff.ping("138.37.94.1")
	server.ping("138.37.95.241")
	// Rules count, and name their lines.
	for name, least := range map[string]float64{"students see the web": 1, "no telnet": 2, "no talk": 1, "closed by order": 1, "no such host": 1} {
		row := find(r.rows("firewall"), "name", name)
		if row == nil {
			t.Fatalf("no rule %q in\n%s", name, r.ctl("show", "firewall"))
		}
		if n, _ := row["packets"].(float64); n < least {
			t.Errorf("rule %q: expected at least %v packets counted, got %v", name, least, row["packets"])
		}
		if line, _ := row["line"].(float64); line == 0 || !strings.Contains(strings.Split(readText(r.file), "\n")[int(line)-1], name) {
			t.Errorf("rule %q is said to be in line %v:\n%s", name, row["line"], readText(r.file))
		}
	}
	// The log names rule, line and packet.
	eventually(t, 10*time.Second, "the rule's log", func() error {
		text := r.log() + r.ctl("show", "events")
		for _, piece := range []string{"closed by order", "138.37.94.2", "8005"} {
			if err := contains(text, piece); err != nil {
				return err
			}
		}
		return nil
	})
	// And explain says before what would happen.
	said := r.ctl("explain", "--in", "students", "--src", "138.37.88.2", "--dst", web, "--proto", "tcp", "--sport", "4000", "--dport", "23")
	expect(t, said, "no telnet")
	said = r.ctl("explain", "--in", "students", "--src", "138.37.88.2", "--dst", web, "--proto", "tcp", "--sport", "4000", "--dport", "80")
	expect(t, said, "students see the web", "servers")
}

func TestFirewallSetsChangeLive(t *testing.T) {
	l := newLab(t, "staff", "student", "server")
	r := l.router("r1", zones)
	student, server := l.hosts["student"], l.hosts["server"]
	server.serveTCP("138.37.95.243:80")
	student.gets(silent, "tcp4", "138.37.95.243:80")
	r.ctl("firewall", "set", "add", "web", "138.37.95.243")
	student.gets(open, "tcp4", "138.37.95.243:80")
	if find(r.rows("firewall", "set", "web"), "address", "138.37.95.243", "dynamic", "true") == nil {
		t.Errorf("the added address is not in the set:\n%s", r.ctl("show", "firewall", "set", "web"))
	}
	r.ctl("firewall", "set", "del", "web", "138.37.95.243")
	student.gets(silent, "tcp4", "138.37.95.243:80")
}

func TestFirewallShutsOutWhoKnocksTooOften(t *testing.T) {
	l := newLab(t, "staff", "student", "server")
	r := l.router("r1", strings.NewReplacer(`  sets:
`, `  sets:
    knockers: {timeout: 1h}
`, `  rules:
`, `  rules:
    - {name: knocked, source_set: knockers, action: drop}
    - {name: guessers, to: servers, protocol: tcp, port: 22, rate: over 3/m per source, add_to: knockers, action: drop, log: true}
    - {name: ssh, to: servers, protocol: tcp, port: 22, action: accept}
`).Replace(zones))
	staff, student, server := l.hosts["staff"], l.hosts["student"], l.hosts["server"]
	server.serveTCP("138.37.95.242:22")
	server.serveTCP("138.37.95.242:80")
	for range 3 {
		student.gets(open, "tcp4", "138.37.95.242:22")
	}
	student.gets(open, "tcp4", "138.37.95.242:80")
	student.gets(silent, "tcp4", "138.37.95.242:22")
	student.gets(silent, "tcp4", "138.37.95.242:80") // shut out altogether
	staff.gets(open, "tcp4", "138.37.95.242:22")     // the others are not concerned
	member := find(r.rows("firewall", "set", "knockers"), "address", "138.37.88.2", "dynamic", "true")
	if left, _ := member["expires_seconds"].(float64); left < 3000 || left > 3600 {
		t.Errorf("expected 138.37.88.2 in the set for an hour:\n%s", r.ctl("show", "firewall", "set", "knockers"))
	}
	r.ctl("firewall", "set", "del", "knockers", "138.37.88.2")
	student.gets(open, "tcp4", "138.37.95.242:80")
	text := l.must("curl", "-sS", "--fail", "--max-time", "10", "--unix-socket", r.socket(), "http://vrouterd/metrics")
	expect(t, text, `vrouterd_firewall_rule_packets_total{action="drop"`, `rule="guessers"`, "vrouterd_sessions{", "vrouterd_session_table_bytes")
}

func TestFirewallAccessRulesMeetEveryPacket(t *testing.T) {
	l := newLab(t, "staff", "student", "server")
	r := l.router("r1", zones)
	staff, server := l.hosts["staff"], l.hosts["server"]
	server.serveTCP("138.37.95.242:7")
	c := staff.converse("", "138.37.95.242:7")
	if err := c.say(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	// Stateless: replies of a session that exists are packets, too.
	with := zones + `
  access:
    - {name: no replies from port seven, in: servers, protocol: tcp, source_port: 7, action: drop}
`
	r.write(with)
	r.ctl("config", "apply", r.file)
	if c.say(time.Second) == nil {
		t.Error("an access rule let a packet of an established session pass")
	}
	r.write(zones)
	r.ctl("config", "apply", r.file)
	c = staff.converse("", "138.37.95.242:7")
	if err := c.say(20 * time.Second); err != nil {
		t.Fatal(err)
	}
}
