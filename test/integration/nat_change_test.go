package integration

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNATFollowsAnOutsideAddressThatChanges(t *testing.T) {
	e := newHome(t, masquerade, "p2")
	e.out.serveTCP(server1 + ":7")
	e.out.serveUDP(server1 + ":7")
	p2 := e.hosts["p2"]
	old := p2.converse("", server1+":7")
	s := p2.listenUDP("192.168.1.2:5000")
	if seen := asks(t, s, server1+":7"); seen.Addr().String() != publicAddress {
		t.Fatalf("the server saw %v", seen)
	}
	const changed = "83.215.152.195"
	e.r.write(strings.Replace(homePorts, publicAddress+"/24", changed+"/24", 1) + masquerade.yaml)
	e.r.ctl("config", "apply", e.r.file)
	// At once: no session is left on the address that is no longer ours.
	for _, s := range e.r.rows("nat", "sessions") {
		if strings.HasPrefix(fmt.Sprint(s["outside"]), publicAddress) {
			t.Errorf("a session on the old address: %v", s)
		}
	}
	for _, m := range e.r.rows("nat", "mappings") {
		if strings.HasPrefix(fmt.Sprint(m["outside"]), publicAddress) {
			t.Errorf("a mapping on the old address: %v", m)
		}
	}
	if seen := asks(t, s, server1+":7"); seen != netip.MustParseAddrPort(changed+":5000") {
		t.Errorf("after the change the server saw %v", seen)
	}
	if seen := p2.converse("", server1+":7").seen; !strings.HasPrefix(seen, changed+":") {
		t.Errorf("after the change the server saw %s", seen)
	}
	// The old connection is over: the server gets its segments from a stranger, and says so.
	eventually(t, 20*time.Second, "the old connection to end", func() error {
		if err := old.say(200 * time.Millisecond); verdict(err) == open {
			return fmt.Errorf("it still works")
		}
		return nil
	})
}

func TestNATFlushEndsWhatIsNamed(t *testing.T) {
	e := newHome(t, masquerade, "p2", "p5")
	e.out.serveUDP(server1 + ":7")
	e.out.serveUDP(server1 + ":8")
	one, two := e.hosts["p2"].listenUDP("192.168.1.2:5000"), e.hosts["p5"].listenUDP("192.168.1.5:5001")
	count := func(filter ...string) int { return len(e.r.rows(append([]string{"nat", "sessions"}, filter...)...)) }
	for _, to := range []string{server1 + ":7", server1 + ":8"} {
		asks(t, one, to)
		asks(t, two, to)
	}
	if n := count(); n != 4 {
		t.Fatalf("expected 4 sessions, got %d\n%s", n, e.r.ctl("show", "nat", "sessions"))
	}
	e.r.ctl("nat", "flush", "--address", "192.168.1.2", "--port", "8")
	if count() != 3 || count("--address", "192.168.1.2") != 1 {
		t.Fatalf("flush --address --port took the wrong ones:\n%s", e.r.ctl("show", "nat", "sessions"))
	}
	e.r.ctl("nat", "flush", "--address", "192.168.1.2")
	if count() != 2 || count("--address", "192.168.1.5") != 2 {
		t.Fatalf("flush --address took the wrong ones:\n%s", e.r.ctl("show", "nat", "sessions"))
	}
	e.r.ctl("nat", "flush")
	if count() != 0 || len(e.r.rows("nat", "mappings")) != 0 {
		t.Fatalf("something is left:\n%s%s", e.r.ctl("show", "nat", "sessions"), e.r.ctl("show", "nat", "mappings"))
	}
	asks(t, one, server1+":7") // and it goes on
}

func TestNATTwiceInARow(t *testing.T) {
	l := newLab(t, "p2", "p3", "out")
	const access = unlimited + `
ports:
  lan: {netns: {%s}, device: eth0, address: 192.168.1.1/24, host: {address: 192.168.1.%d/24, gateway: 192.168.1.1}}
  wan: {netns: {net}, device: %s-wan, bridge: access, address: 100.64.0.%d/10}
routes:
  - {to: default, via: 100.64.0.1}
nat:
  - {out: wan, type: masquerade}
forwards:
  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.%[2]d}
firewall: home
`
	// Two homes with the same addresses inside, behind one carrier.
	home := l.router("r1", fmt.Sprintf(access, "p2", 2, "r1", 2))
	l.router("r2", fmt.Sprintf(access, "p3", 2, "r2", 3))
	carrier := l.router("rc", unlimited+`
ports:
  access: {netns: {net}, device: rc-access, bridge: access, address: 100.64.0.1/10}
  up: {netns: {out}, device: eth0, address: 83.215.152.95/24, host: {address: 83.215.152.1/24}}
nat:
  - {out: up, type: cgnat, source: 100.64.0.0/10, to: 192.0.2.1, block_size: 512, max_blocks: 1}
routes:
  - {to: default, via: 83.215.152.1}
`)
	out := l.hosts["out"]
	out.ip("addr", "add", server1+"/32", "dev", "lo")
	out.ip("addr", "add", server2+"/32", "dev", "lo")
	out.ip("route", "add", "192.0.2.0/24", "via", publicAddress)
	out.unlimitICMP()
	out.serveWeb(server1 + ":80")
	out.serveUDP(server1 + ":7")
	out.serveSTUN(server1, server2)
	var ports [2]netip.AddrPort
	for i, name := range []string{"p2", "p3"} {
		h := l.hosts[name]
		expect(t, h.run("curl", "-sS", "--max-time", "20", "http://"+server1+"/"), "out was asked by 192.0.2.1:")
		h.ping(server1)
		h.ping(server1, "-s", "4000")
		trace := h.run("traceroute", "-n", "-q", "1", "-N", "1", "-w", "5", server1)
		expect(t, trace, "192.168.1.1", "100.64.0.1", server1)
		ports[i] = asks(t, h.listenUDP("192.168.1.2:5000"), server1+":7")
		// Behind the carrier's NAT every home still looks like one endpoint.
		if got := h.discover(); got.mapping != independent {
			t.Errorf("two NATs in a row: %s discovers %v", name, got)
		}
	}
	// Port blocks: 512 ports, aligned to their size, one block for each subscriber (RFC 6888 REQ-14).
	if ports[0].Port()/512 == ports[1].Port()/512 {
		t.Errorf("two subscribers in one block of 512 ports: %v and %v", ports[0], ports[1])
	}
	for i, address := range []string{"100.64.0.2", "100.64.0.3"} {
		for _, s := range carrier.rows("nat", "sessions", "--address", address) {
			seen, err := netip.ParseAddrPort(fmt.Sprint(s["outside"]))
			if err == nil && seen.Port() != 0 && seen.Port()/512 != ports[i].Port()/512 {
				t.Errorf("%s has port %v, outside of its block of %v", address, seen, ports[i])
			}
		}
	}
	eventually(t, 10*time.Second, "the log of blocks", func() error {
		for _, address := range []string{"100.64.0.2", "100.64.0.3"} {
			if err := contains(carrier.log()+carrier.ctl("show", "events"), address); err != nil {
				return err
			}
		}
		return nil
	})
	// The home's router notices that it is not the last one.
	eventually(t, 10*time.Second, "the notice of a second NAT", func() error {
		return contains(home.ctl("show", "events"), "100.64.0.2, which is not a public address")
	})
	// A neighbour behind the same carrier, by its address there.
	l.hosts["p3"].serveWeb("192.168.1.2:80")
	expect(t, l.hosts["p2"].run("curl", "-sS", "--max-time", "20", "http://100.64.0.3/"), "p3 was asked by 100.64.0.2:")
}

func TestNATApplyKeepsTheSessionsThatAreStillAllowed(t *testing.T) {
	e := newHome(t, forwarding, "p2", "p5")
	e.out.serveTCP(server1 + ":7")
	e.out.serveTCP(server1 + ":8")
	e.out.serveUDP(server1 + ":7")
	p2 := e.hosts["p2"]
	e.hosts["p5"].serveTCP("192.168.1.5:80")
	e.out.serveWeb(server1 + ":8080")
	// A download that takes longer than all the changes.
	download := p2.start("curl", "-sS", "--max-time", "60", "--limit-rate", "3M", "-o", "/dev/null", "-w", "%{size_download}", "http://"+server1+":8080/large")
	kept, dropped := p2.converse("", server1+":7"), p2.converse("", server1+":8")
	served := e.out.converse("", publicAddress+":80")
	s := p2.listenUDP("192.168.1.2:5000")
	before := asks(t, s, server1+":7")
	alive := func(when string) {
		t.Helper()
		for what, c := range map[string]*conversation{"from inside": kept, "by the forward": served} {
			if err := c.say(20 * time.Second); err != nil {
				t.Fatalf("%s: the connection %s has ended: %v", when, what, err)
			}
		}
		if after := asks(t, s, server1+":7"); after != before {
			t.Errorf("%s: the mapping %v became %v", when, before, after)
		}
	}
	alive("at first")
	firewall := forwarding.yaml + `
firewall:
  zones: {inside: {ports: [lan]}, outside: {ports: [wan]}}
  policy:
    - {from: inside, to: outside, action: accept}
    - {from: outside, to: inside, action: drop}
    - {from: outside, to: router, action: drop}
`
	e.tell(policy{yaml: firewall})
	alive("with a firewall that allows them")
	if err := dropped.say(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	e.tell(policy{yaml: firewall + `
  rules:
    - {name: no port eight, from: inside, to: outside, protocol: tcp, port: 8, action: drop}
`})
	if dropped.say(time.Second) == nil {
		t.Error("a connection that the rules now forbid lives on")
	}
	alive("with a rule against another one")
	p2.gets(silent, "tcp4", server1+":8")
	// An unrelated forward more, and one that served goes.
	e.tell(policy{yaml: strings.Replace(firewall, "  - {in: wan, protocol: tcp, port: 80, to: 192.168.1.5, name: web}\n", "", 1)})
	if served.say(time.Second) == nil {
		t.Error("a connection lives on without the forward that let it in")
	}
	if err := kept.say(20 * time.Second); err != nil {
		t.Errorf("the connection from inside has ended: %v", err)
	}
	if got := download.wait(60 * time.Second); got != fmt.Sprint(largePage) {
		t.Errorf("of a download of %d octets through all the changes came: %s", largePage, got)
	}
}

func TestNATStandsAStormOfConfigurations(t *testing.T) {
	e := newUnwatchedHome(t, forwarding, "p2", "p5")
	e.out.ip("route", "add", "192.0.2.0/24", "via", publicAddress)
	e.out.ip("route", "add", "blackhole", "198.18.0.0/15")
	e.out.serveTCP(server1 + ":7")
	e.out.serveUDP(server1 + ":7")
	e.hosts["p5"].serveWeb("192.168.1.5:80")
	p2 := e.hosts["p2"]
	p2.ping(server1)
	// Traffic of every kind, most of it rubbish, from both sides.
	stop := make(chan struct{})
	var done sync.WaitGroup
	for i, h := range []*host{p2, e.out} {
		s, random := h.sender(), rand.New(rand.NewPCG(uint64(i), 7))
		done.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for range 20 {
					p := probe{protocol: []byte{6, 17, 1, 47}[random.IntN(4)], icmpType: 8, src: netip.AddrFrom4([4]byte{192, 168, 1, byte(2 + random.IntN(20))}),
						dst: netip.AddrFrom4([4]byte{198, 18, 0, byte(random.IntN(256))}), sport: uint16(random.IntN(3000)), dport: uint16(random.IntN(3000)), id: uint16(random.Uint32() | 1)}
					if h == e.out {
						p.src, p.dst = p.dst, []netip.Addr{netip.MustParseAddr(publicAddress), netip.MustParseAddr("192.0.2.1")}[random.IntN(2)]
					}
					s.send(p.bytes())
				}
				if c, err := h.dial("tcp4", "", server1+":7", 50*time.Millisecond); err == nil {
					c.Close()
				}
			}
		})
	}
	zones := "firewall:\n  zones: {inside: {ports: [lan]}, outside: {ports: [wan]}}\n  policy: [{from: inside, to: outside, action: accept}, {from: outside, to: router, action: reject}]\n"
	sections := []string{
		"", masquerade.yaml, forwarding.yaml, safeHome.yaml, asking.yaml, zones, forwarding.yaml + zones,
		masquerade.yaml + "sessions: {max: 2048, max_per_host: 100}\n",
		"nat: [{out: wan, type: snat, to: 192.0.2.0/28, filtering: address_dependent}]\n",
		"nat: [{out: wan, type: cgnat, to: 192.0.2.1, block_size: 64, max_blocks: 2}]\n" + zones,
		"nat: [{out: wan, type: one_to_one, inside: 192.168.1.2, outside: 192.0.2.1}, {out: wan, type: masquerade}]\n",
		masquerade.yaml + zones + "  access: [{in: lan, protocol: udp, port: 9, action: reject}, {out: wan, protocol: gre, action: drop}]\n",
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		e.tell(policy{yaml: sections[random.IntN(len(sections))]})
		switch random.IntN(4) {
		case 0:
			e.r.rows("nat", "sessions", "--limit", "50")
		case 1:
			e.r.rows("nat", "mappings", "--limit", "50")
			e.r.rows("firewall")
		case 2:
			e.r.ctl("nat", "flush", "--port", fmt.Sprint(1+random.IntN(3000)))
		case 3:
			e.r.try("explain", "--in", "lan", "--src", "192.168.1.2", "--dst", server1, "--proto", "tcp", "--dport", "7")
		}
	}
	close(stop)
	done.Wait()
	if !e.r.running() {
		t.Fatalf("the router has ended:\n%s", e.r.log())
	}
	e.tell(safeHome)
	if seen := p2.converse("", server1+":7").seen; !strings.HasPrefix(seen, publicAddress+":") {
		t.Errorf("after the storm the server sees %s", seen)
	}
	expect(t, p2.run("curl", "-sS", "--max-time", "20", "http://"+publicAddress+"/"), "p5 was asked by "+publicAddress+":")
	eventually(t, 30*time.Second, "no mapping without a session", func() error {
		e.r.ctl("nat", "flush") // what hosts still repeat opens sessions again, as it should
		if s, m := e.r.sessions(), len(e.r.rows("nat", "mappings")); s != 0 || m != 0 {
			return fmt.Errorf("%d sessions and %d mappings after a flush", s, m)
		}
		return nil
	})
}
