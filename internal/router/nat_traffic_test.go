package router

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

func contextFor(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func TestMasqueradeCarriesABulkTransferBothWays(t *testing.T) {
	for _, vnet := range []bool{false, true} {
		t.Run(fmt.Sprintf("vnet=%v", vnet), func(t *testing.T) {
			w := homeHosts()
			w.vnet = vnet
			l := runStateful(t, w, home)
			from := serveTCP(t, l.host("wan"), 7)
			c := dialTCP(t, l.host("lan"), "203.0.113.9:7")
			echoes(t, c, pattern(1<<20))
			if who := <-from; who.Addr().String() != "203.0.113.1" || who.Port() != netip.MustParseAddrPort(c.LocalAddr().String()).Port() {
				t.Errorf("the far end talks to %v; expected the router's address and the port of %v", who, c.LocalAddr())
			}
			rows := l.sessionsOf()
			if len(rows) != 1 || rows[0].State != "established" || rows[0].Direction != "out" || rows[0].Inside != c.LocalAddr().String() ||
				!strings.HasPrefix(rows[0].Outside, "203.0.113.1:") || rows[0].Remote != "203.0.113.9:7" || rows[0].NAT == "" {
				t.Errorf("%+v", rows)
			}
			if rows[0].BytesOut < 1<<20 || rows[0].BytesIn < 1<<20 {
				t.Errorf("octets are not counted: %+v", rows[0])
			}
		})
	}
}

func TestPingAndUDPThroughMasquerade(t *testing.T) {
	l := runHome(t, home)
	a, far := l.host("lan"), l.host("wan")
	l.pings(a, "203.0.113.9")
	l.pings(l.host("srv"), "203.0.113.9")
	l.pings(a, "203.0.113.1")
	l.pings(a, "192.168.5.5") // between networks within nothing is translated
	to, err := far.ListenUDP(53)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	c, err := a.DialUDP(netip.MustParseAddrPort("203.0.113.9:53"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 20 {
		fmt.Fprintf(c, "question %d", i)
		buf := make([]byte, 100)
		to.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, who, err := to.ReadFrom(buf)
		if err != nil || string(buf[:n]) != fmt.Sprintf("question %d", i) || !strings.HasPrefix(who.String(), "203.0.113.1:") {
			t.Fatalf("%q from %v, %v", buf[:n], who, err)
		}
		to.WriteTo([]byte("answer"), who)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "answer" {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
}

const forwarded = home + `forwards:
  - {in: wan, protocol: tcp, port: 80, to: 192.168.5.5, name: web}
  - {in: wan, protocol: tcp, port: 8000-8003, to: "192.168.5.5:9000", name: range}
  - {in: wan, protocol: udp, port: 53, to: 192.168.5.5, name: dns}
`

// RFC 4787 REQ-9, RFC 5382 REQ-8: hairpinning, with the outside address as source.
func TestForwardsFromOutsideAndFromInside(t *testing.T) {
	l := runHome(t, forwarded)
	web, third := serveTCP(t, l.host("srv"), 80), serveTCP(t, l.host("srv"), 9003)
	far, in := l.host("wan"), l.host("lan")
	echoes(t, dialTCP(t, far, "203.0.113.1:80"), pattern(64<<10))
	if who := <-web; who.Addr().String() != "203.0.113.9" {
		t.Errorf("the server sees %v", who)
	}
	echoes(t, dialTCP(t, far, "203.0.113.1:8003"), pattern(1<<10))
	<-third
	echoes(t, dialTCP(t, in, "203.0.113.1:80"), pattern(64<<10))
	if who := <-web; who.Addr().String() != "203.0.113.1" {
		t.Errorf("hairpin: the server sees %v, expected the outside address", who)
	}
	echoes(t, dialTCP(t, in, "203.0.113.1:8003"), pattern(1<<10))
	// Its own forward, by the outside address: the host talks to itself.
	echoes(t, dialTCP(t, l.host("srv"), "203.0.113.1:80"), pattern(1<<10))
	dns, err := l.host("srv").ListenUDP(53)
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, who, err := dns.ReadFrom(buf)
			if err != nil {
				return
			}
			dns.WriteTo(buf[:n], who)
		}
	}()
	for _, h := range []interface {
		DialUDP(netip.AddrPort) (net.Conn, error)
	}{far, in} {
		c, err := h.DialUDP(netip.MustParseAddrPort("203.0.113.1:53"))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, "name?")
		buf := make([]byte, 10)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "name?" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		c.Close()
	}
	for _, row := range l.NATRules() {
		if row.Kind == "forward" && row.Name == "web" && row.Sessions != 3 {
			t.Errorf("three sessions came by the forward: %+v", row)
		}
	}
}

func TestOneToOneExemptionsAndPools(t *testing.T) {
	w := homeHosts()
	o := w.hosts["wan"]
	o.Gateway = netip.MustParseAddr("203.0.113.1") // the exempted one is answered without translation
	w.hosts["wan"] = o
	l := runStateful(t, w, homePorts+`nat:
  - {out: wan, type: none, source: 192.168.1.0/24, destination: 203.0.113.9, protocol: icmp}
  - {out: wan, type: one_to_one, inside: 192.168.5.5, outside: 198.51.100.5}
  - {out: wan, type: snat, source: 192.168.1.0/24, to: 198.51.100.6-198.51.100.9}
`)
	far := l.host("wan")
	got := taken(far, ofProtocol(packet.ProtoUDP))
	pings := make(chan string, 10)
	l.pings(l.host("lan"), "203.0.113.9")
	l.host("srv").SendPacket(udp("192.168.5.5:500", "203.0.113.9:53", nil))
	if s := flowOf(next(t, "1:1", got)); s != "udp 198.51.100.5:500 -> 203.0.113.9:53" {
		t.Error(s)
	}
	paired := ""
	for i := range 8 { // RFC 4787 REQ-2: paired pooling
		l.host("lan").SendPacket(udp(fmt.Sprintf("192.168.1.2:%d", 5000+i), "203.0.113.9:53", nil))
		ip := next(t, "pool", got)
		if src := ip.Src().String(); !strings.HasPrefix(src, "198.51.100.") || src < "198.51.100.6" || src > "198.51.100.9" || paired != "" && paired != src {
			t.Errorf("the source is %s, was %s", src, paired)
		} else {
			paired = src
		}
	}
	far.OnFrame(nil)
	serveTCP(t, l.host("srv"), 22)
	echoes(t, dialTCP(t, far, "198.51.100.5:22"), pattern(1000)) // 1:1 works both ways
	l.pings(far, "198.51.100.5")
	close(pings)
	exempt := false
	for _, s := range l.sessionsOf() {
		exempt = exempt || s.Protocol == "icmp" && s.Inside == s.Outside && strings.HasPrefix(s.Inside, "192.168.1.2")
	}
	if !exempt {
		t.Errorf("no session of the ping that is exempted: %+v", l.sessionsOf())
	}
}

// RFC 6888 REQ-12, REQ-14: blocks are logged, ports are not.
func TestCarrierGradeBlocksAreLogged(t *testing.T) {
	l := runHome(t, homePorts+"nat: [{out: wan, type: cgnat, to: 198.51.100.1, block_size: 64, max_blocks: 2}]\n")
	l.pings(l.host("wan"), "203.0.113.1") // so that nothing waits for ARP
	l.pings(l.host("lan"), "192.168.1.1")
	got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	refusals := taken(l.host("lan"), ofProtocol(packet.ProtoICMP))
	for i := range 128 {
		l.host("lan").SendPacket(udp(fmt.Sprintf("192.168.1.2:%d", 5000+i), "203.0.113.9:53", nil))
	}
	ports := map[uint16]bool{}
	for range 128 {
		ip := next(t, "block", got)
		ports[packet.UDP(ip.Payload()).SrcPort()/64] = true
	}
	if len(ports) != 2 {
		t.Errorf("128 ports are of %d blocks", len(ports))
	}
	l.host("lan").SendPacket(udp("192.168.1.2:6000", "203.0.113.9:53", nil))
	if ip := next(t, "refusal", refusals); ip[20] != packet.ICMPUnreachable || ip[21] != packet.ICMPAdminProhibited {
		t.Errorf("refused by type %d code %d", ip[20], ip[21])
	}
	if n := l.dropped("nat_no_blocks"); n != 1 {
		t.Errorf("%d packets are counted", n)
	}
	e := l.happens("nat_block_allocated")
	if e.Fields["subscriber"] != "192.168.1.2" || e.Fields["outside"] != "198.51.100.1" || e.Fields["ports"] == "" {
		t.Errorf("%+v", e)
	}
	// The other subscriber is not touched.
	l.host("srv").SendPacket(udp("192.168.5.5:6000", "203.0.113.9:53", nil))
	next(t, "another subscriber", got)
	if _, err := l.FlushSessions(tester, api.NATFlush{}); err != nil {
		t.Fatal(err)
	}
	l.happens("nat_block_freed")
}

// RFC 7422: no log is needed.
func TestDeterministicPortsFollowFromTheAddress(t *testing.T) {
	l := runHome(t, homePorts+"nat: [{out: wan, type: cgnat, source: 192.168.1.0/28, to: 198.51.100.1-198.51.100.2, deterministic: true}]\n")
	got := taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	first := uint16(0)
	for i := range 50 {
		l.host("lan").SendPacket(udp(fmt.Sprintf("192.168.1.2:%d", 5000+i), "203.0.113.9:53", nil))
		port := packet.UDP(next(t, "port", got).Payload()).SrcPort()
		if first == 0 {
			first = port
		}
		if int(port)-int(first) > 8192 || int(first)-int(port) > 8192 {
			t.Errorf("ports %d and %d are not of one subscriber", first, port)
		}
	}
	if _, logged := l.eventOf("nat_block_allocated"); logged {
		t.Error("a block is logged that follows from the address")
	}
}

// RFC 5508 REQ-4, REQ-5; traceroute works through the router.
func TestTracerouteThroughMasquerade(t *testing.T) {
	w := newWires()
	w.hosts["lan"] = host(1, "192.168.1.2/24", "192.168.1.1")
	w.hosts["wan"] = host(9, "203.0.113.9/24", "")
	l := runStateful(t, w, strings.Replace(home, "  srv: {address: 192.168.5.1/24}\n", "", 1)+"routes: [{to: 0.0.0.0/0, via: 203.0.113.9}]\n")
	far, in := l.host("wan"), l.host("lan")
	l.pings(in, "203.0.113.9")
	var hops []string
	if err := in.Traceroute(t.Context(), api.TracerouteRequest{Address: "203.0.113.9", MaxHops: 5, Probes: 1, Timeout: 5 * time.Second},
		func(h api.TracerouteHop) { hops = append(hops, h.Probes[0].From) }); err != nil || strings.Join(hops, " ") != "192.168.1.1 203.0.113.9" {
		t.Errorf("%v, %v", hops, err)
	}
	// The next router's errors come back to the host within, about the packet that it has sent.
	errors := taken(in, ofProtocol(packet.ProtoICMP))
	for _, kind := range [][2]uint8{{packet.ICMPTimeExceeded, 0}, {packet.ICMPUnreachable, packet.ICMPHostUnreachable}} {
		got := taken(far, ofProtocol(packet.ProtoUDP))
		in.SendPacket(udp("192.168.1.2:4000", "8.8.8.8:33434", []byte("data")))
		out := next(t, "probe", got)
		if s := flowOf(out); s != "udp 203.0.113.1:4000 -> 8.8.8.8:33434" {
			t.Fatal(s)
		}
		far.SendPacket(icmpError("203.0.113.9", "203.0.113.1", kind[0], kind[1], 0, out))
		back := next(t, "error", errors)
		inner := packet.IPv4(back[28:])
		if back[20] != kind[0] || back[21] != kind[1] || back.Dst().String() != "192.168.1.2" || back.Src().String() != "203.0.113.9" ||
			inner.Src().String() != "192.168.1.2" || packet.UDP(inner[20:]).SrcPort() != 4000 || inner.Dst().String() != "8.8.8.8" {
			t.Errorf("it is told %x", []byte(back))
		}
		if packet.Fold(packet.Sum(back[20:], 0)) != 0xffff || packet.Fold(packet.Sum(inner[:20], 0)) != 0xffff {
			t.Error("checksums of the translated error are wrong")
		}
	}
	if len(l.sessionsOf()) == 0 {
		t.Error("an error has ended the session (RFC 5382 REQ-10, RFC 5508 REQ-6)")
	}
}

// icmpError is an error about a packet.
func icmpError(src, dst string, kind, code uint8, rest uint32, about packet.IPv4) []byte {
	ip := packet.IPv4(make([]byte, 28+min(len(about), 548)))
	header(ip, netip.MustParseAddr(src), netip.MustParseAddr(dst), packet.ProtoICMP)
	ip[20], ip[21] = kind, code
	binary.BigEndian.PutUint32(ip[24:], rest)
	copy(ip[28:], about)
	binary.BigEndian.PutUint16(ip[22:], ^packet.Fold(packet.Sum(ip[20:], 0)))
	return ip
}

// RFC 4787 REQ-13, RFC 5508 section 7.1.1: fragmentation needed reaches the host and is about its own packet.
func TestThePathMTUIsFoundThroughMasquerade(t *testing.T) {
	w := homeHosts()
	o := w.hosts["wan"]
	o.MTU = 600
	w.hosts["wan"] = o
	l := runStateful(t, w, strings.Replace(home, "wan: {", "wan: {mtu: 600, mss_clamp: off, ", 1))
	in := l.host("lan")
	l.pings(in, "203.0.113.9")
	got := taken(in, func(ip packet.IPv4) bool { return ip.Protocol() == 1 && ip[20] == packet.ICMPUnreachable })
	big := packet.IPv4(udp("192.168.1.2:4000", "203.0.113.9:9", make([]byte, 1000)))
	big.SetFlagsFragment(packet.FlagDF)
	big.UpdateHeaderChecksum()
	in.SendPacket(big)
	ip := next(t, "fragmentation needed", got)
	if ip[21] != packet.ICMPFragNeeded || binary.BigEndian.Uint16(ip[26:]) != 600 || flowOf(packet.IPv4(ip[28:])) == "" || packet.IPv4(ip[28:]).Src().String() != "192.168.1.2" {
		t.Errorf("%x", []byte(ip))
	}
	in.OnFrame(nil)
	serveTCP(t, l.host("wan"), 7)
	echoes(t, dialTCP(t, in, "203.0.113.9:7"), pattern(100<<10))
	// And one that a router far away sends is translated within.
	far := l.host("wan")
	sent := taken(far, ofProtocol(packet.ProtoUDP))
	errs := taken(in, ofProtocol(packet.ProtoICMP))
	in.SendPacket(udp("192.168.1.2:4001", "203.0.113.9:9", make([]byte, 400)))
	far.SendPacket(icmpError("203.0.113.9", "203.0.113.1", packet.ICMPUnreachable, packet.ICMPFragNeeded, 300, next(t, "datagram", sent)))
	back := next(t, "far error", errs)
	if back[21] != packet.ICMPFragNeeded || binary.BigEndian.Uint16(back[26:]) != 300 || packet.IPv4(back[28:]).Src().String() != "192.168.1.2" {
		t.Errorf("%x", []byte(back))
	}
}

// RFC 4787 REQ-14: fragments, also out of order.
func TestFragmentsPassMasqueradeBothWays(t *testing.T) {
	l := runHome(t, home)
	in, far := l.host("lan"), l.host("wan")
	l.pings(in, "203.0.113.9")
	if p, err := in.PingOnce(t.Context(), far.Address(), 9000, 10*time.Second); err != nil || p.Result != "reply" || p.Bytes != 9008 {
		t.Fatalf("%+v, %v", p, err)
	}
	to, err := far.ListenUDP(0x8001)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	data := pattern(2800)
	whole := packet.IPv4(udp("192.168.1.2:4000", "203.0.113.9:32769", data))
	whole.SetID(99)
	pieces := cut(whole, 1000)
	for i := len(pieces) - 1; i >= 0; i-- {
		in.SendPacket(pieces[i])
	}
	buf := make([]byte, 10000)
	to.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, who, err := to.ReadFrom(buf)
	if err != nil || !bytes.Equal(buf[:n], data) || who.String() != "203.0.113.1:4000" {
		t.Errorf("%d octets from %v, %v", n, who, err)
	}
}

// cut makes fragments of a packet.
func cut(ip packet.IPv4, size int) (out [][]byte) {
	size &^= 7
	body := ip[20:]
	for at := 0; at < len(body); at += size {
		end := min(at+size, len(body))
		f := packet.IPv4(append(append([]byte{}, ip[:20]...), body[at:end]...))
		f.SetTotalLen(len(f))
		flags := uint16(at / 8)
		if end < len(body) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], flags)
		f.UpdateHeaderChecksum()
		out = append(out, f)
	}
	return out
}
