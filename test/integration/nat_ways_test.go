package integration

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNATOnPortsOfEveryKind(t *testing.T) {
	for _, c := range []struct{ lan, wan string }{
		{"offload: off", "offload: auto"},
		{"offload: auto", "offload: off"},
		{"offload: off", "offload: off"},
		{"offload: auto", "offload: auto, kind: tun"},
		{"offload: auto, mtu: 9000", "offload: auto, mtu: 1280"},
	} {
		t.Run(c.lan+" and "+c.wan, func(t *testing.T) {
			l := newUnwatchedLab(t, "p2", "out")
			r := l.router("r1", unlimited+`
ports:
  lan: {netns: {p2}, device: eth0, `+c.lan+`, address: 192.168.1.1/24, host: {address: 192.168.1.2/24, gateway: 192.168.1.1}}
  wan: {netns: {out}, device: eth0, `+c.wan+`, address: 83.215.152.95/24, host: {address: 83.215.152.1/24}}
routes:
  - {to: default, port: wan, via: 83.215.152.1}
nat:
  - {out: wan, type: masquerade}
firewall: home
`)
			p2 := l.hosts["p2"]
			p2.ping("83.215.152.1", "-s", "4000")
			for _, options := range [][]string{nil, {"-R"}} {
				if got := l.throughput("p2", "out", "83.215.152.1", options...).End.Received.Bytes; got < 1<<20 {
					t.Errorf("iperf3 %v: only %.0f octets arrived in a second", options, got)
				}
			}
			l.hosts["out"].serveUDP("83.215.152.1:7")
			s := p2.listenUDP("")
			eventually(t, 20*time.Second, "8,000 octets and back", func() error {
				s.WriteToUDPAddrPort(make([]byte, 8000), netip.MustParseAddrPort("83.215.152.1:7"))
				s.SetReadDeadline(time.Now().Add(time.Second))
				if n, err := s.Read(make([]byte, 10000)); err != nil || n < 8000 {
					return fmt.Errorf("%d octets came back: %v", n, err)
				}
				return nil
			})
			if strings.Contains(c.wan, "mtu") {
				// The router itself asks for less, before translation: of the packet as its source knows it.
				expect(t, p2.run("tracepath", "-n", "83.215.152.1"), "pmtu 1280", "reached")
			}
			if n := r.drops("checksum", "truncated", "invalid"); n != 0 {
				t.Errorf("%d packets were dropped as bad:\n%s", n, r.ctl("show", "drops"))
			}
		})
	}
}

func TestNATHidesTheInsideInErrorsOfInsideHosts(t *testing.T) {
	e := newHome(t, forwarding, "p2", "p5")
	// RFC 5508 REQ-5 and REQ-6: an error by an inside host is seen to come from the outside address.
	c, err := e.out.dial("udp4", server1+":4321", publicAddress+":7000", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	text := e.out.sees("icmp[0] == 3", func() { c.Write([]byte("anybody there?")) })
	expect(t, text, publicAddress+" > "+server1, publicAddress+" udp port 7000 unreachable")
	if strings.Contains(text, "192.168.1.") {
		t.Errorf("an inside address is seen outside:\n%s", text)
	}
}

func TestNATLetsTwoHomesPunchHoles(t *testing.T) {
	// Two homes at one provider. Each knows the other's mapping; both begin at once. RFC 5382 REQ-2 (simultaneous open) and
	// REQ-4 (an unsolicited SYN is not answered for 6 seconds, so that it does not end the other's attempt).
	l := newLab(t, "p2", "p3", "out")
	const side = unlimited + `
ports:
  lan: {netns: {%s}, device: eth0, address: 192.168.1.1/24, host: {address: 192.168.1.2/24, gateway: 192.168.1.1}}
  wan: {netns: {net}, device: %s-wan, bridge: provider, address: 83.215.152.%d/24}
nat:
  - {out: wan, type: masquerade}
%s`
	text := func(i int, firewall string) string {
		return fmt.Sprintf(side, []string{"p2", "p3"}[i], fmt.Sprintf("r%d", i), 95+i, firewall)
	}
	routers := []*router{l.router("r0", text(0, "")), l.router("r1", text(1, ""))}
	for _, firewall := range []string{"", "firewall: home\n"} {
		t.Run("firewall: "+firewall, func(t *testing.T) {
			for i, r := range routers {
				r.write(text(i, firewall))
				r.ctl("config", "apply", r.file)
			}
			l.hosts["p2"].ping("83.215.152.96")
			port := 4000 + len(firewall)
			addresses := map[string]string{"p2": fmt.Sprintf("83.215.152.95:%d", port), "p3": fmt.Sprintf("83.215.152.96:%d", port)}
			type result struct {
				c   net.Conn
				err error
			}
			results := map[string]chan result{"p2": make(chan result, 1), "p3": make(chan result, 1)}
			for name, other := range map[string]string{"p2": "p3", "p3": "p2"} {
				go func() {
					c, err := l.hosts[name].dial("tcp4", fmt.Sprintf("192.168.1.2:%d", port), addresses[other], 20*time.Second)
					results[name] <- result{c, err}
				}()
			}
			one, two := <-results["p2"], <-results["p3"]
			if one.err != nil || two.err != nil {
				t.Fatalf("both open at once: %v and %v", one.err, two.err)
			}
			one.c.Write([]byte("through both"))
			buffer := make([]byte, 100)
			two.c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if n, err := two.c.Read(buffer); err != nil || string(buffer[:n]) != "through both" {
				t.Fatalf("over the hole came %q, %v", buffer[:n], err)
			}
		})
	}
}

func TestNATAnswersAnUnsolicitedSYNLate(t *testing.T) {
	t.Parallel() // it waits long and does little
	e := newHome(t, masquerade, "p2")
	// RFC 5382 REQ-4: no answer for 6 seconds, then ICMP.
	if got := e.out.knock("tcp4", publicAddress+":22222", 3*time.Second); got != silent {
		t.Errorf("within 3 seconds the SYN got: %s", got)
	}
	if got := e.out.knock("tcp4", publicAddress+":22223", 20*time.Second); got != refused {
		t.Errorf("after 6 seconds the SYN was to be refused by ICMP, it got: %s", got)
	}
}

func TestNATLetsNobodyOutsideTakeAPortFromTheInside(t *testing.T) {
	e := newHome(t, masquerade, "p2")
	e.out.serveTCP(server1 + ":7")
	e.out.serveUDP(server1 + ":8")
	e.hosts["p2"].ping(server1)
	// Unsolicited packets for the very ports that the inside is going to use, from where it is going to: nothing of them
	// may stand in its way.
	s := e.out.sender()
	for _, p := range []probe{{protocol: unix.IPPROTO_UDP, sport: 8, dport: 5000}, {protocol: unix.IPPROTO_TCP, sport: 7, dport: 5001}} {
		p.src, p.dst, p.id = netip.MustParseAddr(server1), netip.MustParseAddr(publicAddress), 9
		s.send(p.bytes())
	}
	e.out.ping(publicAddress) // they have arrived
	c := e.hosts["p2"].listenUDP("192.168.1.2:5000")
	t.Logf("the server sees %v", asks(t, c, server1+":8"))
	t.Logf("the server sees %v", e.hosts["p2"].converse("192.168.1.2:5001", server1+":7").seen)
}

func TestNATTakesUpConnectionsFromBeforeARestart(t *testing.T) {
	e := newUnwatchedHome(t, masquerade, "p2")
	e.out.serveTCP(server1 + ":7")
	c := e.hosts["p2"].converse("192.168.1.2:45000", server1+":7")
	if err := c.say(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	e.r.stop()
	e.r.start()
	e.r.ready()
	e.out.ip("route", "replace", "192.168.1.0/24", "via", publicAddress)
	// `sessions: loose` is the default: the port is free and is kept, so the connection lives on.
	if err := c.say(60 * time.Second); err != nil {
		t.Fatalf("the connection did not survive the router's restart: %v", err)
	}
}

func TestNATComesAndGoesLive(t *testing.T) {
	e := newHome(t, policy{}, "p2", "p5")
	e.out.serveTCP(server1 + ":7")
	p2 := e.hosts["p2"]
	for _, c := range []struct{ yaml, seen string }{
		{"", "192.168.1.2:"},
		{masquerade.yaml, publicAddress + ":"},
		{"firewall: {zones: {in: {ports: [lan]}, out: {ports: [wan]}}, policy: [{from: in, to: out, action: accept}]}\n", "192.168.1.2:"},
		{safeHome.yaml, publicAddress + ":"},
		{"nat: [{out: wan, type: snat, to: 192.0.2.7}]\n", "192.0.2.7:"},
		{"", "192.168.1.2:"},
	} {
		e.tell(policy{yaml: c.yaml})
		e.out.ip("route", "replace", "192.0.2.0/24", "via", publicAddress)
		if seen := p2.converse("", server1+":7").seen; !strings.HasPrefix(seen, c.seen) {
			t.Errorf("with %q the server saw %s", c.yaml, seen)
		}
		p2.ping(server1)
	}
}

func TestNATKeepsLyingPacketsOut(t *testing.T) {
	e := newHome(t, forwarding, "p2", "p5")
	e.out.serveTCP(server1 + ":7")
	live := e.hosts["p2"].converse("192.168.1.2:40000", server1+":7")
	s := e.out.sender()
	public := netip.MustParseAddr(publicAddress)
	from := netip.MustParseAddr(server1)
	tcp := probe{protocol: unix.IPPROTO_TCP, src: from, dst: public, sport: 7, dport: 40000, id: 9}.bytes()
	lies := map[string]func() []byte{
		"a TCP header longer than the packet": func() []byte { b := clone(tcp); b[32] = 0xf0; fixTCP(b); return b },
		"a TCP header shorter than its least": func() []byte { b := clone(tcp); b[32] = 0x10; fixTCP(b); return b },
		"half a TCP header":                   func() []byte { return shorten(tcp, 30) },
		"a UDP length beyond the packet": func() []byte {
			b := probe{protocol: unix.IPPROTO_UDP, src: from, dst: public, sport: 7, dport: 7000, id: 9}.bytes()
			b[25] = 200
			return b
		},
		"half a UDP header": func() []byte {
			return shorten(probe{protocol: unix.IPPROTO_UDP, src: from, dst: public, sport: 7, dport: 7000, id: 9}.bytes(), 24)
		},
		"port 0": func() []byte {
			return probe{protocol: unix.IPPROTO_UDP, src: from, dst: public, sport: 0, dport: 7000, id: 9}.bytes()
		},
		"an ICMP error that quotes nothing":       func() []byte { return icmpError(from, public, nil) },
		"an ICMP error that quotes half a header": func() []byte { return icmpError(from, public, tcp[:12]) },
		"an ICMP error about nobody's session": func() []byte {
			return icmpError(from, public, probe{protocol: 6, src: public, dst: from, sport: 1, dport: 2, id: 9}.bytes())
		},
		"an ICMP error about an ICMP error":     func() []byte { return icmpError(from, public, icmpError(public, from, tcp)) },
		"an ICMP error whose inner length lies": func() []byte { b := clone(tcp); b[0] = 0x4f; return icmpError(from, public, b) },
		"an ICMP error about an inner fragment": func() []byte { b := clone(tcp); b[6], b[7] = 0x20, 0x10; return icmpError(from, public, b) },
		"all flags set":                         func() []byte { b := clone(tcp); b[33] = 0xff; fixTCP(b); return b },
		"no flag set":                           func() []byte { b := clone(tcp); b[33] = 0; fixTCP(b); return b },
		"a packet that says it comes from inside": func() []byte {
			return probe{protocol: 17, src: netip.MustParseAddr("192.168.1.5"), dst: public, sport: 7, dport: 7000, id: 9}.bytes()
		},
		"a packet that says it comes from the router": func() []byte {
			return probe{protocol: 17, src: public, dst: public, sport: 7000, dport: 7000, id: 9}.bytes()
		},
	}
	for what, lie := range lies {
		for range 50 {
			if err := s.send(lie()); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		if err := live.say(20 * time.Second); err != nil {
			t.Fatalf("after %s the connection has ended: %v", what, err)
		}
	}
	if n := e.r.sessions(); n > 150 {
		t.Errorf("lies have made %d sessions:\n%s", n, e.r.ctl("show", "nat", "sessions"))
	}
	t.Logf("drops:\n%s", e.r.ctl("show", "drops"))
}

func clone(b []byte) []byte { return append([]byte{}, b...) }

// shorten cuts an IP packet and says so in its header.
func shorten(ip []byte, length int) []byte {
	b := clone(ip[:length])
	binary.BigEndian.PutUint16(b[2:], uint16(length))
	fixIP(b)
	return b
}

// icmpError is "port unreachable" about a packet, whatever that is.
func icmpError(src, dst netip.Addr, quoted []byte) []byte {
	ip := probe{protocol: unix.IPPROTO_ICMP, icmpType: 3, src: src, dst: dst, id: 9}.bytes()[:28]
	ip[21] = 3
	ip = append(ip, quoted...)
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	fixIP(ip)
	fixICMP(ip)
	return ip
}
