package router

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
)

const asking = home + "port_mapping: {ports: [lan], max_per_host: 3}\n"

// asks sends a request to the router and returns the answer's payload.
func asks(t *testing.T, l *lab, from string, request []byte, got <-chan packet.IPv4) []byte {
	t.Helper()
	h := l.host(from)
	gateway := strings.Join(strings.Split(h.Address().String(), ".")[:3], ".") + ".1"
	h.SendPacket(udp(h.Address().String()+":5350", gateway+":5351", request))
	for {
		ip := next(t, "answer", got)
		if u := packet.UDP(ip.Payload()); u.SrcPort() == 5351 && u.DstPort() == 5350 && !ip.Dst().IsMulticast() {
			return u.Payload()
		}
	}
}

// natPMPMap is a request for a mapping (RFC 6886 section 3.3).
func natPMPMap(op byte, inside, outside uint16, lifetime uint32) []byte {
	b := []byte{0, op, 0, 0}
	b = binary.BigEndian.AppendUint16(b, inside)
	b = binary.BigEndian.AppendUint16(b, outside)
	return binary.BigEndian.AppendUint32(b, lifetime)
}

// pcpMapRequest is RFC 6887 section 11.1.
func pcpMapRequest(client string, protocol byte, inside, outside uint16, lifetime uint32, nonce byte) []byte {
	b := make([]byte, 60)
	b[0], b[1] = 2, 1
	binary.BigEndian.PutUint32(b[4:], lifetime)
	a := netip.MustParseAddr(client).As16()
	copy(b[8:], a[:])
	b[24], b[36] = nonce, protocol
	binary.BigEndian.PutUint16(b[40:], inside)
	binary.BigEndian.PutUint16(b[42:], outside)
	b[54], b[55] = 0xff, 0xff
	return b
}

func TestAHostAsksForAMappingByNATPMP(t *testing.T) {
	l := runHome(t, asking)
	in, far := l.host("lan"), l.host("wan")
	l.pings(in, "192.168.1.1")
	got := taken(in, ofProtocol(packet.ProtoUDP))
	if a := asks(t, l, "lan", []byte{0, 0}, got); len(a) != 12 || a[1] != 128 || a[3] != 0 || netip.AddrFrom4([4]byte(a[8:])).String() != "203.0.113.1" {
		t.Errorf("outside address: %x", a)
	}
	a := asks(t, l, "lan", natPMPMap(2, 8080, 8080, 3600), got)
	if len(a) != 16 || a[3] != 0 || binary.BigEndian.Uint16(a[10:]) != 8080 || binary.BigEndian.Uint32(a[12:]) != 3600 {
		t.Fatalf("%x", a)
	}
	if e := l.happens("mapping_added"); e.Fields["inside"] != "192.168.1.2:8080" || e.Fields["outside"] != "203.0.113.1:8080" || e.Fields["by"] != "nat_pmp" {
		t.Errorf("%+v", e)
	}
	page, err := l.NATMappings(api.SessionQuery{Port: 8080})
	if err != nil || len(page.Mappings) != 1 || page.Mappings[0].By != "nat_pmp" || page.Mappings[0].ExpiresSeconds < 3500 {
		t.Fatalf("%+v, %v", page, err)
	}
	serveTCP(t, in, 8080)
	c := dialTCP(t, far, "203.0.113.1:8080")
	echoes(t, c, pattern(10000))
	// Renewed, and a second one by PCP; the third is the last that it may have.
	asks(t, l, "lan", natPMPMap(2, 8080, 8080, 7200), got)
	a = asks(t, l, "lan", pcpMapRequest("192.168.1.2", 17, 9000, 9100, 600, 1), got)
	if len(a) != 60 || a[0] != 2 || a[1] != 0x81 || a[3] != 0 || binary.BigEndian.Uint16(a[42:]) != 9100 || binary.BigEndian.Uint32(a[4:]) != 600 {
		t.Fatalf("%x", a)
	}
	far.SendPacket(udp("203.0.113.9:1234", "203.0.113.1:9100", []byte("hello")))
	if s := flowOf(next(t, "by PCP", got)); s != "udp 203.0.113.9:1234 -> 192.168.1.2:9000" {
		t.Error(s)
	}
	asks(t, l, "lan", natPMPMap(1, 9001, 9001, 600), got)
	if a = asks(t, l, "lan", natPMPMap(1, 9002, 9002, 600), got); a[3] != 4 {
		t.Errorf("out of resources is said as %d", a[3])
	}
	if n := l.stateful.mappings.Counts().Explicit; n != 3 {
		t.Errorf("%d mappings", n)
	}
	if !strings.Contains(l.Metrics(), "vrouterd_nat_explicit_mappings 3") {
		t.Error("the metrics do not count them")
	}
	// With a wrong address it is not for us, with another nonce it is another's (RFC 6887 sections 8.1, 11.3.1).
	if a = asks(t, l, "lan", pcpMapRequest("192.168.1.3", 17, 9000, 9100, 600, 1), got); a[3] != 12 {
		t.Errorf("a mismatch is said as %d", a[3])
	}
	if a = asks(t, l, "lan", pcpMapRequest("192.168.1.2", 17, 9000, 9100, 0, 2), got); a[3] != 2 {
		t.Errorf("another's mapping is ended: %d", a[3])
	}
	// Ended: what came in by it ends too.
	if a = asks(t, l, "lan", natPMPMap(2, 8080, 0, 0), got); a[3] != 0 || binary.BigEndian.Uint32(a[12:]) != 0 {
		t.Errorf("%x", a)
	}
	if e := l.happens("mapping_removed"); e.Fields["outside"] != "203.0.113.1:8080" || e.Fields["by"] != "nat_pmp" {
		t.Errorf("%+v", e)
	}
	for _, s := range l.sessionsOf() {
		if s.Protocol == "tcp" {
			t.Errorf("a session outlives its mapping: %+v", s)
		}
	}
}

// RFC 6886 section 3.4, RFC 6887 section 15.
func TestForwardsOfTheConfigurationAreNotDeletedByHosts(t *testing.T) {
	l := runHome(t, asking+"forwards: [{in: wan, protocol: udp, port: 7000-7009, to: 192.168.1.2:9000}]\n")
	in, far := l.host("lan"), l.host("wan")
	l.pings(in, "192.168.1.1")
	got := taken(in, ofProtocol(packet.ProtoUDP))
	for _, c := range []struct {
		what    string
		request []byte
		code    byte
	}{
		{"the forward", natPMPMap(1, 9003, 0, 0), 2},
		{"the forward, by PCP", pcpMapRequest("192.168.1.2", 17, 9009, 0, 0, 1), 2},
		{"all of UDP", natPMPMap(1, 0, 0, 0), 2},
		{"all, by PCP", pcpMapRequest("192.168.1.2", 0, 0, 0, 0, 1), 2},
		{"a port beside it", natPMPMap(1, 9010, 0, 0), 0},
		{"the same of TCP", natPMPMap(2, 9003, 0, 0), 0},
		{"all of TCP", natPMPMap(2, 0, 0, 0), 0},
		{"another mapping of the port", natPMPMap(1, 9003, 8003, 600), 0},
		{"its end", natPMPMap(1, 9003, 0, 0), 0},
	} {
		if a := asks(t, l, "lan", c.request, got); a[3] != c.code {
			t.Errorf("%s: %x", c.what, a)
		}
	}
	far.SendPacket(udp("203.0.113.9:1234", "203.0.113.1:7003", []byte("hello")))
	if s := flowOf(next(t, "by the forward", got)); s != "udp 203.0.113.9:1234 -> 192.168.1.2:9003" {
		t.Error(s)
	}
}

// RFC 6886 section 3.2.1, RFC 6887 section 14.1.3.
func TestAChangedAddressIsAnnounced(t *testing.T) {
	l := runHome(t, asking)
	announced := taken(l.host("lan"), func(ip packet.IPv4) bool { return ip.Dst().String() == "224.0.0.1" })
	l.apply(strings.Replace(asking, "203.0.113.1/24", "203.0.113.7/24", 1))
	for {
		u := packet.UDP(next(t, "announcement", announced).Payload())
		if b := u.Payload(); u.DstPort() == 5350 && b[0] == 0 && len(b) == 12 && netip.AddrFrom4([4]byte(b[8:])).String() == "203.0.113.7" {
			return
		}
	}
}

func TestNobodyElseIsAnswered(t *testing.T) {
	for _, name := range []string{"srv", "wan"} {
		l := runHome(t, asking)
		h := l.host(name)
		l.pings(h, strings.Replace(map[string]string{"srv": "192.168.5.1", "wan": "203.0.113.1"}[name], "", "", 1))
		got := taken(h, func(ip packet.IPv4) bool { return true })
		gateway := map[string]string{"srv": "192.168.5.1", "wan": "203.0.113.1"}[name]
		for i := range 5 {
			h.SendPacket(udp(fmt.Sprintf("%v:%d", h.Address(), 6000+i), gateway+":5351", natPMPMap(2, 22, 22, 3600)))
			h.SendPacket(udp(fmt.Sprintf("%v:%d", h.Address(), 7000+i), gateway+":5351", pcpMapRequest(h.Address().String(), 6, 22, 22, 3600, 1)))
		}
		for range 10 {
			if ip := next(t, "refusal", got); ip.Protocol() != 1 || ip[20] != packet.ICMPUnreachable || ip[21] != packet.ICMPPortUnreachable {
				t.Errorf("%s is answered: %s", name, flowOf(ip))
			}
		}
		if n := l.stateful.mappings.Counts().Explicit; n != 0 {
			t.Errorf("%s has opened %d ports", name, n)
		}
	}
}

func TestAMappingExpires(t *testing.T) {
	l := runHome(t, asking)
	in := l.host("lan")
	l.pings(in, "192.168.1.1")
	got := taken(in, ofProtocol(packet.ProtoUDP))
	if a := asks(t, l, "lan", natPMPMap(1, 9001, 9001, 120), got); a[3] != 0 {
		t.Fatalf("%x", a)
	}
	l.do(func() { // two minutes later
		gone, _ := l.stateful.mappings.Expire(l.sessionTick() + 1201)
		for i := range gone {
			l.mappingEvent("mapping_expired", &gone[i], "expired")
		}
	})
	if e := l.happens("mapping_expired"); e.Fields["outside"] != "203.0.113.1:9001" {
		t.Errorf("%+v", e)
	}
	if n := l.stateful.mappings.Counts(); n.Explicit != 0 || n.Mappings != 0 && l.stateful.sessions.Len() == 0 {
		t.Errorf("%+v", n)
	}
}

// Active FTP, seen from the server: PORT names the outside address, and the data connection gets in.
func TestActiveFTPGetsItsDataConnection(t *testing.T) {
	for _, firewall := range []string{"", "firewall: home\n"} {
		t.Run(firewall, func(t *testing.T) {
			l := runHome(t, home+"sessions: {helpers: [ftp]}\n"+firewall)
			in, far := l.host("lan"), l.host("wan")
			l.pings(in, "203.0.113.9")
			listener, err := far.ListenTCP(21)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			data, err := in.ListenTCP(0)
			if err != nil {
				t.Fatal(err)
			}
			defer data.Close()
			port := netip.MustParseAddrPort(data.Addr().String()).Port()
			served := make(chan error, 1)
			go func() { served <- ftpServer(l, listener.Accept) }()
			c := dialTCP(t, in, "203.0.113.9:21")
			c.SetDeadline(time.Now().Add(10 * time.Second))
			buf := make([]byte, 200)
			if n, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "220 ") {
				t.Fatalf("%q, %v", buf[:n], err)
			}
			fmt.Fprintf(c, "PORT 192,168,1,2,%d,%d\r\n", port>>8, port&255)
			accepted := make(chan string, 1)
			go func() {
				d, err := data.Accept()
				if err != nil {
					accepted <- err.Error()
					return
				}
				defer d.Close()
				d.SetDeadline(time.Now().Add(10 * time.Second))
				b := make([]byte, 100)
				n, _ := d.Read(b)
				accepted <- string(b[:n])
			}()
			if n, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "200 ") {
				t.Fatalf("%q, %v", buf[:n], err)
			}
			fmt.Fprint(c, "LIST\r\n")
			select {
			case got := <-accepted:
				if got != "a file\r\n" {
					t.Errorf("the data connection brings %q", got)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no data connection")
			}
			if n, err := c.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "226 ") { // and the control connection's numbers fit
				t.Errorf("%q, %v", buf[:n], err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if e := l.happens("mapping_added"); e.Fields["by"] != "helper" {
				t.Errorf("%+v", e)
			}
			if _, err := l.FlushSessions(tester, api.NATFlush{}); err != nil {
				t.Fatal(err)
			}
			c.Close()
			eventually(t, "the helper is gone with its session", func() bool {
				l.FlushSessions(tester, api.NATFlush{})
				n := 0
				l.do(func() { n = len(l.stateful.helpers.ftp) })
				return n == 0
			})
		})
	}
}
