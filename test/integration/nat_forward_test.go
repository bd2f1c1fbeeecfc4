package integration

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// forwarding is a home that serves: the web on .5, and ports of every kind.
var forwarding = policy{
	yaml: masquerade.yaml + `
forwards:
  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5, name: web}
  - {in: wan, protocol: tcp, port: 8080, to: "192.168.1.5:80", name: remapped}
  - {in: wan, protocol: udp, port: 7000-7002, to: 192.168.1.2, name: range}
  - {in: wan, protocol: udp, port: 9000-9002, to: "192.168.1.2:7000", name: shifted range}
  - {in: wan, protocol: tcp, port: 2222, to: "192.168.1.5:80", source: [198.51.100.2/32], name: for one only}
`,
	nft: `
table ip nat {
  chain prerouting { type nat hook prerouting priority -100;
    ip daddr 83.215.152.95 tcp dport 80 dnat to 192.168.1.5
    ip daddr 83.215.152.95 tcp dport 8080 dnat to 192.168.1.5:80
    ip daddr 83.215.152.95 udp dport 7000-7002 dnat to 192.168.1.2
    ip daddr 83.215.152.95 udp dport 9000-9002 dnat ip to ip daddr . udp dport map { 83.215.152.95 . 9000 : 192.168.1.2 . 7000, 83.215.152.95 . 9001 : 192.168.1.2 . 7001, 83.215.152.95 . 9002 : 192.168.1.2 . 7002 }
    ip daddr 83.215.152.95 tcp dport 2222 ip saddr 198.51.100.2 dnat to 192.168.1.5:80
  }
  chain postrouting { type nat hook postrouting priority 100;
    oifname "wan" masquerade
    iifname "lan" oifname "lan" ct status dnat masquerade
  }
}
table ip filter {
  chain forward { type filter hook forward priority 0; policy accept;
    ct state established,related accept
    ct status dnat accept
    iifname "wan" drop
  }
}
`}

func TestNATForwardsPorts(t *testing.T) {
	e := newHome(t, forwarding, "p2", "p5")
	e.hosts["p5"].serveWeb("192.168.1.5:80")
	for _, port := range []int{6999, 7000, 7001, 7002, 7003} {
		e.hosts["p2"].serveUDP(fmt.Sprintf("192.168.1.2:%d", port))
	}
	// From outside, from an address of its own choice; the host inside sees the true source.
	page := e.out.run("curl", "-sS", "--max-time", "20", "--interface", server1, "http://"+publicAddress+"/")
	expect(t, page, "p5 was asked by "+server1+":")
	expect(t, e.out.run("curl", "-sS", "--max-time", "20", "http://"+publicAddress+":8080/"), "p5 was asked by 83.215.152.1:")
	expect(t, e.hosts["far"].run("curl", "-sS", "--max-time", "20", "http://"+publicAddress+"/"), "p5 was asked by "+farAddress+":")
	for outside, want := range map[int]string{7000: open, 7001: open, 7002: open, 9000: open, 9002: open} {
		e.out.gets(want, "udp4", fmt.Sprintf("%s:%d", publicAddress, outside))
	}
	// Neighbours of the range are not forwarded: the router itself has nothing there.
	for _, outside := range []int{6999, 7003, 9003} {
		if got := e.out.knock("udp4", fmt.Sprintf("%s:%d", publicAddress, outside), 300*time.Millisecond); got == open {
			t.Errorf("UDP port %d, next to a range, is open", outside)
		}
	}
	// The inside cannot be reached by its own addresses.
	e.out.gets(silent, "tcp4", "192.168.1.5:80")
	e.out.gets(silent, "udp4", "192.168.1.2:7000")
	// A forward for one source.
	expect(t, e.out.run("curl", "-sS", "--max-time", "20", "--interface", server2, "http://"+publicAddress+":2222/"), "p5 was asked by "+server2+":")
	if out, code := e.out.try("curl", "-sS", "--max-time", "1", "--interface", server1, "http://"+publicAddress+":2222/"); code == 0 {
		t.Errorf("the forward for one source served another: %s", out)
	}
	if e.r == nil {
		return
	}
	web, err := e.named("nat", "kind", "forward", "name", "web")
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := web["created"].(float64); n < 2 {
		t.Errorf("the forward is to count its sessions: %v", web)
	}
	if line, _ := web["line"].(float64); line == 0 || !strings.Contains(strings.Split(readText(e.r.file), "\n")[int(line)-1], "name: web") {
		t.Errorf("line %v of the configuration is not that of the forward:\n%s", web["line"], readText(e.r.file))
	}
}

func TestNATHairpinReachesTheForwardFromInside(t *testing.T) {
	e := newHome(t, forwarding, "p2", "p5")
	e.hosts["p5"].serveWeb("192.168.1.5:80")
	e.hosts["p2"].serveUDP("192.168.1.2:7000")
	// RFC 4787 REQ-9, RFC 5382 REQ-8: from inside by the public address, and the server
	// sees no inside address, so that its answer comes back through the router.
	for _, port := range []string{"80", "8080"} {
		page := e.hosts["p2"].run("curl", "-sS", "--max-time", "20", "http://"+publicAddress+":"+port+"/")
		if strings.Contains(page, "asked by 192.168.1.2:") {
			t.Errorf("the answer could have gone past the router: %s", page)
		}
		if e.r != nil { // RFC 4787 REQ-9a; the kernel takes the address of its LAN port
			expect(t, page, "p5 was asked by "+publicAddress+":")
		}
	}
	// The server itself, by its own public address.
	expect(t, e.hosts["p5"].run("curl", "-sS", "--max-time", "20", "http://"+publicAddress+"/"), "p5 was asked by ")
	e.hosts["p5"].gets(open, "udp4", publicAddress+":7000")
	if e.r == nil {
		return
	}
	// Between two mappings, without any forward: both speak by their outside addresses.
	e.out.serveUDP(server1 + ":7")
	one, two := e.hosts["p2"].listenUDP("192.168.1.2:5000"), e.hosts["p5"].listenUDP("192.168.1.5:5001")
	first, second := asks(t, one, server1+":7"), asks(t, two, server1+":7")
	eventually(t, 20*time.Second, "a datagram between two mappings", func() error {
		one.WriteToUDPAddrPort([]byte("by the hairpin"), second)
		from, ok := hears(two, "by the hairpin", 500*time.Millisecond)
		if !ok {
			return fmt.Errorf("nothing came")
		}
		if from != first {
			t.Fatalf("RFC 4787 REQ-9a: expected it from %v, it is from %v", first, from)
		}
		return nil
	})
	eventually(t, 20*time.Second, "the answer between two mappings", func() error {
		two.WriteToUDPAddrPort([]byte("and back"), first)
		if from, ok := hears(one, "and back", 500*time.Millisecond); !ok || from != second {
			return fmt.Errorf("from %v, %v", from, ok)
		}
		return nil
	})
}

func TestNATForwardsComeAndGoLive(t *testing.T) {
	e := newHome(t, masquerade, "p2", "p5")
	if e.r == nil {
		t.Fatal("this test is vrouterd's own")
	}
	e.hosts["p5"].serveTCP("192.168.1.5:22")
	to := publicAddress + ":2022"
	if got := e.out.knock("tcp4", to, 300*time.Millisecond); got == open {
		t.Fatal("the port is open before it is forwarded")
	}
	e.r.ctl("nat", "forward", "add", "in", "wan", "protocol", "tcp", "port", "2022", "to", "192.168.1.5:22")
	c := e.out.converse("", to)
	if err := c.say(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	expect(t, e.r.ctl("config", "show"), "2022", "192.168.1.5:22")
	e.r.ctl("nat", "forward", "del", "in", "wan", "protocol", "tcp", "port", "2022")
	if got := e.out.knock("tcp4", to, 300*time.Millisecond); got == open {
		t.Error("the port is still open after its forward was deleted")
	}
	// What it had let in is not allowed any longer.
	if c.say(time.Second) == nil {
		t.Error("the connection lives on without the forward that let it in")
	}
	if out, code := e.r.try("nat", "forward", "del", "in", "wan", "protocol", "tcp", "port", "2022"); code != 1 {
		t.Errorf("deleting a forward that is not there: expected exit status 1, got %d: %s", code, out)
	}
}

func TestNATOneToOneTranslatesBothWays(t *testing.T) {
	e := newHome(t, policy{
		yaml: `
nat:
  - {out: wan, type: one_to_one, inside: 192.168.1.10, outside: 192.0.2.10}
  - {out: wan, type: none, destination: 198.51.100.2}
  - {out: wan, type: masquerade}
`,
		nft: `
table ip nat {
  chain prerouting { type nat hook prerouting priority -100;
    ip daddr 192.0.2.10 dnat to 192.168.1.10
  }
  chain postrouting { type nat hook postrouting priority 100;
    oifname "wan" ip saddr 192.168.1.10 snat to 192.0.2.10
    ip daddr 198.51.100.2 accept
    oifname "wan" masquerade
  }
}
`}, "p2", "p10")
	e.out.ip("route", "add", "192.0.2.0/24", "via", publicAddress)
	p2, p10 := e.hosts["p2"], e.hosts["p10"]
	for _, server := range []string{server1, server2} {
		e.out.serveTCP(server + ":7")
		e.out.serveUDP(server + ":7")
	}
	p10.serveWeb("192.168.1.10:80")
	p10.serveUDP("192.168.1.10:53")
	if seen := p10.converse("192.168.1.10:4000", server1+":7").seen; seen != "192.0.2.10:4000" {
		t.Errorf("1:1: expected the server to see 192.0.2.10:4000, it saw %s", seen)
	}
	if seen := asks(t, p10.listenUDP("192.168.1.10:123"), server1+":7"); seen != netip.MustParseAddrPort("192.0.2.10:123") {
		t.Errorf("1:1 leaves ports alone: the server saw %v", seen)
	}
	expect(t, e.out.run("curl", "-sS", "--max-time", "20", "http://192.0.2.10/"), "p10 was asked by 83.215.152.1:")
	e.out.gets(open, "udp4", "192.0.2.10:53")
	expect(t, e.out.ping("192.0.2.10"), " 0% packet loss")
	expect(t, e.out.run("tracepath", "-n", "192.0.2.10"), "reached")
	// A port where nobody listens: the host's own refusal comes back by its outside address.
	e.out.gets(refused, "udp4", "192.0.2.10:9999")
	e.out.gets(refused, "tcp4", "192.0.2.10:9999")
	// Exempt: not translated, though masquerade would have matched.
	if seen := p2.converse("", server2+":7").seen; !strings.HasPrefix(seen, "192.168.1.2:") {
		t.Errorf("exempt from NAT: the server saw %s", seen)
	}
	if seen := p2.converse("", server1+":7").seen; !strings.HasPrefix(seen, publicAddress+":") {
		t.Errorf("not exempt: the server saw %s", seen)
	}
}
