package integration

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// exchange sends octets to the router by UDP and returns what comes back within the limit; nil for nothing.
func (e *dnsLab) exchange(c net.Conn, message []byte, limit time.Duration) []byte {
	e.t.Helper()
	if _, err := c.Write(message); err != nil {
		e.t.Fatal(err)
	}
	b := make([]byte, 65536)
	c.SetReadDeadline(time.Now().Add(limit))
	n, err := c.Read(b)
	if err != nil {
		return nil
	}
	return b[:n]
}

// wire is a message from its header's words and what follows.
func wire(id, flags, questions, answers uint16, rest ...byte) (b []byte) {
	for _, w := range []uint16{id, flags, questions, answers, 0, 0} {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return append(b, rest...)
}

func TestDNSForgedAnswersAreNotBelieved(t *testing.T) {
	e := newDNSLab(t, "dns: {listen: lan, upstream: 10.2.0.2, timeout: 10s}\n")
	forger := e.up.listenUDP("10.2.0.3:53")    // another address
	elsewhere := e.up.listenUDP("10.2.0.2:54") // another port
	blind := e.up.sender()
	forged := func(q *dns.Msg, id uint16, name string) []byte {
		a := new(dns.Msg)
		a.SetReply(q)
		a.Id = id
		a.Question[0].Name = name
		a.Answer = []dns.RR{mustRR(name + " 3600 IN A 192.0.2.66")}
		b, _ := a.Pack()
		return b
	}
	var up *nameserver
	ready := make(chan struct{})
	up = e.up.nameserver("10.2.0.2", func(q *dns.Msg, _ bool) *dns.Msg {
		<-ready
		asked := up.questions()
		to := asked[len(asked)-1].from
		name := q.Question[0].Name
		forger.WriteToUDPAddrPort(forged(q, q.Id, name), to)
		elsewhere.WriteToUDPAddrPort(forged(q, q.Id, name), to)
		server := netip.MustParseAddrPort("10.2.0.2:53")
		blind.send(udpPacket(server, to, forged(q, q.Id+1, name)))                                       // another number
		blind.send(udpPacket(server, to, forged(q, q.Id, "other.example.")))                             // another question
		blind.send(udpPacket(server, netip.AddrPortFrom(to.Addr(), to.Port()^1), forged(q, q.Id, name))) // another port of ours
		blind.send(udpPacket(server, to, forged(q, q.Id, name)[:11]))                                    // no message
		a := new(dns.Msg)
		a.SetReply(q)
		a.Answer = []dns.RR{mustRR(name + " 3600 IN A 198.51.100.1")}
		return a
	})
	close(ready)
	for i := range 3 {
		out := e.dig("+short", fmt.Sprintf("n%d.example", i))
		expect(t, out, "198.51.100.1")
		if strings.Contains(out, "192.0.2.66") {
			t.Fatalf("a forged answer was believed:\n%s", out)
		}
	}
	for _, reason := range []string{"dns_reply_server", "dns_reply_id", "dns_reply_question", "dns_reply_short"} {
		if e.r.drops(reason) == 0 {
			t.Errorf("no %s is counted", reason)
		}
	}
	// Nothing of it is in the cache either.
	expect(t, e.dig("+short", "n0.example"), "198.51.100.1")
}

func TestDNSNamesThatPointInCirclesHurtNobody(t *testing.T) {
	e := newDNSLab(t, "dns: {listen: lan, upstream: 10.2.0.2, timeout: 300ms}\n")
	good := answers(t, "www.example. 60 IN A 198.51.100.1")
	circles := [][]byte{
		{0xc0, 12, 0, 1, 0, 1},                    // at itself
		{0xc0, 14, 0xc0, 12, 0, 1, 0, 1},          // at each other
		{1, 'a', 0xc0, 12, 0, 1, 0, 1},            // back to the beginning
		{0xc0, 0xff, 0, 1, 0, 1},                  // beyond the end
		{0xff, 0xff, 0xff, 0xff},                  // nowhere
		{63, 'a'},                                 // cut short
		bytes.Repeat([]byte{1, 'a'}, 200),         // without an end, too long
		append(bytes.Repeat([]byte{0x40}, 40), 0), // a label of a kind that there is not
	}
	var up net.PacketConn = e.up.listenUDP("10.2.0.2:53")
	go func() { // an upstream gone mad: it repeats the question and answers with a circle
		b := make([]byte, 4096)
		for n := 0; ; n++ {
			got, from, err := up.ReadFrom(b)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(b[:got]) != nil {
				continue
			}
			a := good(q, false)
			out, _ := a.Pack()
			if name := q.Question[0].Name; name != "www.example." {
				question := new(dns.Msg)
				question.SetReply(q)
				out, _ = question.Pack()
				binary.BigEndian.PutUint16(out[6:], 1)
				at := uint16(len(out))
				out = append(out, 0xc0|byte(at>>8), byte(at), 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4)
			}
			up.WriteTo(out, from)
		}
	}()
	c, err := e.pc.dial("udp4", "", "10.1.0.1:53", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, e.dig("+short", "www.example"), "198.51.100.1")
	for i, circle := range circles {
		c.Write(wire(uint16(i), 0x0100, 1, 0, circle...))
		c.Write(wire(uint16(i), 0x0100, 1, 1, append([]byte{1, 'b', 0, 0, 1, 0, 1}, circle...)...))
		c.Write(wire(uint16(i), 0x0100, 0xffff, 0xffff, circle...))
		c.Write(wire(uint16(i), 0x0100, 1, 0, circle...)[:min(12, 4+i)])
	}
	expect(t, e.dig("mad.example"), "status: SERVFAIL")
	expect(t, e.dig("+short", "www.example"), "198.51.100.1")
	if e.r.drops("dns_malformed", "dns_short", "dns_questions") == 0 || e.r.drops("dns_reply_malformed") == 0 {
		t.Errorf("drops: %v", e.r.rows("drops"))
	}
	// By TCP too: the connection goes on, or ends.
	for i, circle := range circles {
		m := wire(uint16(i), 0x0100, 1, 0, circle...)
		s := e.pc.connect("", "10.1.0.1:53")
		s.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...))
		s.SetReadDeadline(time.Now().Add(20 * time.Second))
		io.ReadFull(s, make([]byte, 2))
		s.Close()
	}
	expect(t, e.dig("+tcp", "+short", "www.example"), "198.51.100.1")
}

func TestDNSFloodsOfNamesAreBoundedAndOthersAreServed(t *testing.T) {
	e := newUnwatchedDNSLab(t, `
dns: {listen: lan, upstream: 10.2.0.2, timeout: 1s, max_queries: 200, max_per_client: 100, cache: 500, records: {here.lab: 10.1.0.9}}
`)
	e.pc.ip("addr", "add", "10.1.0.3/24", "dev", "eth0")
	e.up.listenUDP("10.2.0.2:53") // it never answers
	for _, from := range []string{"10.1.0.2:0", "10.1.0.3:0"} {
		c, err := e.pc.dial("udp4", from, "10.1.0.1:53", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10_000 {
			q := new(dns.Msg)
			q.SetQuestion(fmt.Sprintf("n%d.%s.example.", i, strings.Repeat("x", 60)), dns.TypeA)
			b, _ := q.Pack()
			c.Write(b)
		}
		row := e.r.rows("dns")[0]
		if n := row["outstanding"].(float64); n > 200 {
			t.Errorf("%v questions are under way", n)
		}
	}
	if e.r.drops("dns_client_limit", "dns_query_limit") == 0 {
		t.Errorf("drops: %v", e.r.rows("drops"))
	}
	// What is known here is answered meanwhile.
	eventually(t, 20*time.Second, "an answer during the flood", func() error {
		out, _ := e.pc.try("dig", "@10.1.0.1", "+short", "+time=1", "+tries=1", "here.lab")
		return contains(out, "10.1.0.9")
	})
	row := e.r.rows("dns")[0]
	if n := row["cache_entries"].(float64); n > 500 {
		t.Errorf("%v answers are kept", n)
	}
}

func TestDNSJunkIsCountedAndNeverAnsweredWithMore(t *testing.T) {
	e := newDNSLab(t, askAll)
	up := e.up.nameserver("10.2.0.2", answers(t, "www.example. 60 IN A 198.51.100.1"))
	c, err := e.pc.dial("udp4", "", "10.1.0.1:53", 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for what, one := range map[string]struct {
		message []byte
		code    int // -1: silence
	}{
		"a response":      {wire(1, 0x8180, 1, 0, 3, 'w', 'w', 'w', 0, 0, 1, 0, 1), -1},
		"too short":       {[]byte{0, 1, 1}, -1},
		"an update":       {wire(2, 5<<11, 1, 0, 3, 'w', 'w', 'w', 0, 0, 6, 0, 1), dns.RcodeNotImplemented},
		"two questions":   {wire(3, 0x0100, 2, 0, 1, 'a', 0, 0, 1, 0, 1, 1, 'b', 0, 0, 1, 0, 1), dns.RcodeFormatError},
		"class chaos":     {wire(4, 0x0100, 1, 0, 7, 'v', 'e', 'r', 's', 'i', 'o', 'n', 4, 'b', 'i', 'n', 'd', 0, 0, 16, 0, 3), -2},
		"a zone transfer": {wire(5, 0x0100, 1, 0, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 252, 0, 1), -2},
	} {
		got := e.exchange(c, one.message, 500*time.Millisecond)
		switch {
		case one.code == -1 && got != nil:
			t.Errorf("%s is answered: %x", what, got)
		case one.code == -1:
		case got == nil:
			t.Errorf("%s is not answered", what)
		case len(got) > len(one.message)+11:
			t.Errorf("%s: %d octets answer %d", what, len(got), len(one.message))
		case one.code >= 0 && int(got[3]&15) != one.code || one.code == -2 && got[3]&15 == 0:
			t.Errorf("%s: response code %d", what, got[3]&15)
		}
	}
	if n := len(up.questions()); n != 0 {
		t.Errorf("the upstream was asked %v", up.questions())
	}
}

// udpPacket is a whole IPv4 packet with any source.
func udpPacket(from, to netip.AddrPort, payload []byte) []byte {
	ip := make([]byte, 28+len(payload))
	ip[0], ip[8], ip[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], from.Addr().AsSlice())
	copy(ip[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(ip[20:], from.Port())
	binary.BigEndian.PutUint16(ip[22:], to.Port())
	binary.BigEndian.PutUint16(ip[24:], uint16(8+len(payload)))
	copy(ip[28:], payload)
	fixIP(ip)
	return ip
}
