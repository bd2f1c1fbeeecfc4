package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestNATLetsTheWebThrough(t *testing.T) {
	e := newHome(t, masquerade, "p2", "p5")
	e.out.serveWeb(server1 + ":80")
	for _, name := range []string{"p2", "p5"} {
		page := e.hosts[name].run("curl", "-sS", "--max-time", "20", "http://"+server1+"/")
		expect(t, page, "out was asked by "+publicAddress+":")
	}
	// Inside connections keep to their inside addresses.
	e.hosts["p5"].serveWeb("192.168.1.5:8080")
	expect(t, e.hosts["p2"].run("curl", "-sS", "--max-time", "20", "http://192.168.1.5:8080/"), "p5 was asked by 192.168.1.2:")
}

func TestNATLetsDNSThrough(t *testing.T) {
	e := newHome(t, masquerade, "p2")
	e.out.start("dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--edns-packet-max=4096", "--no-daemon", "--bind-interfaces", "--pid-file=",
		"--listen-address="+server1, "--address=/www.example/"+server1, "--txt-record=long.example,"+strings.Repeat(strings.Repeat("x", 200)+",", 18)+"end")
	p2 := e.hosts["p2"]
	eventually(t, 20*time.Second, "an answer by DNS", func() error {
		out, _ := p2.try("dig", "+short", "+tries=1", "+time=2", "@"+server1, "www.example")
		return contains(out, server1)
	})
	expect(t, p2.run("dig", "+tcp", "+short", "@"+server1, "www.example"), server1)
	// An answer of some 4,000 octets comes in fragments.
	out := p2.run("dig", "+notcp", "+ignore", "+bufsize=4096", "@"+server1, "long.example", "txt")
	expect(t, out, "status: NOERROR", "end", "flags: qr aa")
	if strings.Contains(out, "Truncated") {
		t.Errorf("the answer was cut short:\n%s", out)
	}
}

func TestNATLetsPingThrough(t *testing.T) {
	e := newHome(t, masquerade, "p2", "p5")
	// Both inside hosts use one identifier at one time towards one host.
	var both []*process
	for _, name := range []string{"p2", "p5"} {
		both = append(both, e.hosts[name].start("ping", "-n", "-e", "777", "-c", "20", "-i", "0.02", "-W", "5", server1))
	}
	for _, p := range both {
		expect(t, p.wait(30*time.Second), " 0% packet loss")
	}
	e.hosts["p2"].ping(farAddress)
	e.hosts["p2"].ping("192.168.1.1")
	e.hosts["p2"].ping(publicAddress) // the router's outside address from inside
}

func TestNATTracerouteShowsTheHopsBehind(t *testing.T) {
	e := newHome(t, masquerade, "p2")
	for _, kind := range []string{"-U", "-I", "-T"} {
		out := e.hosts["p2"].run("traceroute", kind, "-n", "-q", "1", "-N", "1", "-w", "5", farAddress)
		hops := strings.Split(strings.TrimSpace(out), "\n")[1:]
		for i, address := range []string{"192.168.1.1", "83.215.152.1", farAddress} {
			if i >= len(hops) || !strings.Contains(hops[i], address) {
				t.Fatalf("traceroute %s: expected hop %d to be %s in:\n%s", kind, i+1, address, out)
			}
		}
	}
}

func TestNATTracepathFindsTheSmallLinkBehind(t *testing.T) {
	e := newHome(t, masquerade, "p2")
	// "Fragmentation needed" from behind NAT comes to the host that has sent, and speaks of its packet.
	expect(t, e.hosts["p2"].run("tracepath", "-n", farAddress), "pmtu 1300", "reached")
	e.hosts["far"].serveTCP(farAddress + ":7")
	c := e.hosts["p2"].converse("", farAddress+":7")
	long := strings.Repeat("x", 200_000) + "\n"
	c.SetDeadline(time.Now().Add(30 * time.Second))
	go c.Write([]byte(long))
	if back, err := c.lines.ReadString('\n'); err != nil || back != long {
		t.Fatalf("200,000 octets over the small link: %d came back, %v", len(back), err)
	}
}

func TestNATCarriesTCPAndUDPBothWays(t *testing.T) {
	e := newUnwatchedHome(t, masquerade, "p2")
	for _, options := range [][]string{nil, {"-R"}, {"-P", "4"}, {"--bidir"}} {
		if got := e.throughput("p2", "out", server1, options...).End.Received.Bytes; got < 10<<20 {
			t.Errorf("iperf3 %v: only %.0f octets arrived in a second", options, got)
		}
	}
	for _, options := range [][]string{{"-l", "1400"}, {"-R", "-l", "64"}, {"-l", "4000"}, {"-R", "-l", "4000"}} { // the last ones in fragments
		var lost []string
		for range 3 { // as in TestUDPFlowsThroughTheRouter
			// iperf3's server answers from the address nearest to the client, whatever it was asked at.
			got := e.throughput("p2", "out", "83.215.152.1", append([]string{"-u", "-b", "5M"}, options...)...).End.Sum
			if got.Packets >= 50 && got.LostPackets <= got.Packets/20 {
				lost = nil
				break
			}
			lost = append(lost, fmt.Sprintf("%.0f of %.0f", got.LostPackets, got.Packets))
		}
		if lost != nil {
			t.Errorf("iperf3 -u %v: lost %v packets", options, lost)
		}
	}
	// No packet leaves with an inside address.
	if e.r != nil {
		rows := e.r.rows("nat", "sessions")
		if s := find(rows, "protocol", "tcp"); s == nil || !strings.HasPrefix(fmt.Sprint(s["outside"]), publicAddress+":") {
			t.Errorf("expected TCP sessions with outside %s: %v", publicAddress, rows)
		}
	}
}

func TestNATTellsTheInsideWhatTheOutsideRefuses(t *testing.T) {
	e := newHome(t, policy{yaml: forwarding.yaml + "firewall: home\n", nft: forwarding.nft}, "p2", "p5")
	p2 := e.hosts["p2"]
	// RFC 5508 REQ-4, RFC 5382 REQ-4: errors and resets about a session come back to who has it.
	p2.gets(refused, "udp4", server1+":9999")
	p2.gets(refused, "tcp4", server1+":9999")
	e.out.ip("route", "add", "unreachable", "198.51.100.64/26")
	e.out.ip("route", "add", "prohibit", "198.51.100.128/26")
	p2.gets(unreachable, "tcp4", "198.51.100.65:80")
	p2.gets(unreachable, "tcp4", "198.51.100.129:80")
	// And the other way: a forward to a host that does not listen.
	e.out.gets(refused, "tcp4", publicAddress+":80")
	e.out.gets(refused, "udp4", publicAddress+":7000")
	if e.r != nil { // the router has sessions of its own
		expect(t, e.r.ctl("ping", "-c", "2", server1), "2 received")
	}
}

func TestNATCarriesTCPAndUDPFromOutsideByAForward(t *testing.T) {
	e := newUnwatchedHome(t, policy{
		yaml: masquerade.yaml + `
forwards:
  - {in: wan, protocol: tcp, port: 5201, to: 192.168.1.2}
  - {in: wan, protocol: udp, port: 5201, to: 192.168.1.2}
firewall: home
`,
		nft: strings.NewReplacer("table ip nat {", `table ip nat {
  chain prerouting { type nat hook prerouting priority -100;
    ip daddr 83.215.152.95 tcp dport 5201 dnat to 192.168.1.2
    ip daddr 83.215.152.95 udp dport 5201 dnat to 192.168.1.2
  }`, "    iifname", "    ct status dnat accept\n    iifname").Replace(masquerade.nft),
	}, "p2")
	for _, options := range [][]string{nil, {"-R"}} {
		if got := e.throughput("out", "p2", publicAddress, options...).End.Received.Bytes; got < 10<<20 {
			t.Errorf("iperf3 %v: only %.0f octets arrived in a second", options, got)
		}
	}
	for _, options := range [][]string{{"-u", "-b", "2M"}, {"-u", "-b", "2M", "-R"}} {
		if got := e.throughput("out", "p2", publicAddress, options...).End.Sum; got.Packets < 50 || got.LostPackets > got.Packets/2 {
			t.Errorf("iperf3 %v: %.0f of %.0f packets were lost", options, got.LostPackets, got.Packets)
		}
	}
}

func TestNATShowsItsSessionsAndMappings(t *testing.T) {
	e := newHome(t, masquerade, "p2", "p5")
	e.out.serveUDP(server1 + ":7")
	c := e.hosts["p2"].listenUDP("192.168.1.2:40000")
	seen := asks(t, c, server1+":7")
	if seen != netip.MustParseAddrPort(publicAddress+":40000") {
		t.Errorf("a free port is to be kept (RFC 4787 section 4.2.1): 40000 became %v", seen)
	}
	// So it is with TCP (RFC 5382 REQ-1): one inside port is one outside port, whoever is at the other end. The second
	// host has the same port and gets another one, in the same way.
	e.out.serveTCP(server1 + ":7")
	e.out.serveTCP(server2 + ":7")
	for _, c := range []struct{ host, from string }{{"p2", "192.168.1.2:41000"}, {"p5", "192.168.1.5:41000"}} {
		first := e.hosts[c.host].converse(c.from, server1+":7")
		second := e.hosts[c.host].converse(c.from, server2+":7")
		if first.seen != second.seen && e.r != nil { // the kernel's mappings depend on the destination
			t.Errorf("RFC 5382 REQ-1: %s is %s to one server and %s to another", c.from, first.seen, second.seen)
		}
	}
	if e.r == nil {
		return
	}
	session, err := e.named("nat sessions", "protocol", "udp", "inside", "192.168.1.2:40000", "outside", seen.String(), "remote", server1+":7")
	if err != nil {
		t.Fatal(err)
	}
	for key, least := range map[string]float64{"packets_out": 1, "packets_in": 1, "bytes_out": 37, "bytes_in": 37, "expires_seconds": 200} {
		if got, _ := session[key].(float64); got < least {
			t.Errorf("%s of the session: expected at least %v, it is %v", key, least, session[key])
		}
	}
	mapping, err := e.named("nat mappings", "protocol", "udp", "inside", "192.168.1.2:40000", "outside", seen.String(), "by", "traffic")
	if err != nil {
		t.Fatal(err)
	}
	if mapping["sessions"] != 1.0 {
		t.Errorf("expected one session over the mapping: %v", mapping)
	}
	// The same socket to another server: one mapping more would break games and calls.
	e.out.serveUDP(server2 + ":9")
	if again := asks(t, c, server2+":9"); again != seen {
		t.Errorf("RFC 4787 REQ-1: the mapping is %v to one server and %v to another", seen, again)
	}
	// Filters of the tables.
	for _, filter := range [][]string{{"address", "192.168.1.5"}, {"port", "40000"}, {"protocol", "udp"}} {
		if n := len(e.r.rows("nat", "sessions", "--"+filter[0], filter[1])); n != 2 {
			t.Errorf("show nat sessions --%s %s: expected 2 rows, got %d", filter[0], filter[1], n)
		}
	}
	if n := len(e.r.rows("nat", "sessions", "--protocol", "icmp")); n != 0 {
		t.Errorf("expected no ICMP sessions, got %d", n)
	}
	if rule, err := e.named("nat", "type", "masquerade", "port", "wan"); err != nil {
		t.Error(err)
	} else if n, _ := rule["sessions"].(float64); n < 2 {
		text, _ := json.Marshal(rule)
		t.Errorf("expected the rule to count its sessions: %s", text)
	}
}
