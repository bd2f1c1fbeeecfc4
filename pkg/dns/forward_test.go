package dns

import (
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestQuestionGoesUpstreamAndItsAnswerBack(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.Example.com A")
	s.silent(c)
	a := s.only()
	if a.Server != at("9.9.9.9:53") || a.Stream || a.Port < 1024 {
		t.Fatalf("asked %+v", a)
	}
	s.replies(a, 0, "www.example.com. 300 A 192.0.2.1")
	s.expect(c, "NOERROR www.Example.com. A 192.0.2.1")
	if len(s.open) != 0 {
		t.Fatal("the ask was not closed")
	}
}

func TestCachedAnswerCountsDownAndEnds(t *testing.T) {
	s := newStation(t, one())
	s.replies(func() Ask { s.ask("www.example.com A"); return s.only() }(), 0, "www.example.com. 300 A 192.0.2.1")
	s.after(100*time.Second + 900*time.Millisecond)
	c := s.ask("WWW.example.com A")
	if m := s.message(c); m.Answer[0].Header().Ttl != 200 || m.Question[0].Name != "WWW.example.com." {
		t.Fatalf("got %v", m)
	}
	s.after(199*time.Second + 99*time.Millisecond)
	if m := s.message(s.ask("www.example.com A")); m.Answer[0].Header().Ttl != 1 {
		t.Fatalf("got %v", m)
	}
	s.after(time.Millisecond)
	s.silent(s.ask("www.example.com A"))
	s.only()
}

func TestNameOfALeaseIsAnsweredForwardAndReverse(t *testing.T) {
	s := newStation(t, one())
	s.step(lease("192.168.1.5", "Printer"))
	s.expect(s.ask("printer A"), "NOERROR aa printer. A 192.168.1.5")
	s.expect(s.ask("PRINTER.home.arpa A"), "NOERROR aa PRINTER.home.arpa. A 192.168.1.5")
	s.expect(s.ask("5.1.168.192.in-addr.arpa PTR"), "NOERROR aa 5.1.168.192.in-addr.arpa. PTR Printer.home.arpa.")
	s.expect(s.ask("printer AAAA"), "NOERROR aa authority printer. SOA 60")
	s.expect(s.ask("scanner.home.arpa A"), "NXDOMAIN aa authority home.arpa. SOA 60")
	s.expect(s.ask("scanner A"), "NXDOMAIN aa")
	s.expect(s.ask("6.1.168.192.in-addr.arpa PTR"), "NXDOMAIN aa authority 168.192.in-addr.arpa. SOA 60")
	s.step(Name{Source: "lease 192.168.1.5"})
	s.expect(s.ask("printer A"), "NXDOMAIN aa")
}

func TestEqualQuestionsShareOneUpstream(t *testing.T) {
	s := newStation(t, one())
	clients := []ClientID{s.ask("www.example.com A"), s.ask("WWW.example.com A edns 1232"), s.ask("www.EXAMPLE.com A")}
	s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
	s.expect(clients[0], "NOERROR www.example.com. A 192.0.2.1")
	s.expect(clients[1], "NOERROR WWW.example.com. A 192.0.2.1")
	s.expect(clients[2], "NOERROR www.EXAMPLE.com. A 192.0.2.1")
	if s.message(clients[0]).IsEdns0() != nil || s.message(clients[1]).IsEdns0() == nil {
		t.Error("EDNS is answered with EDNS, and only that")
	}
	if c := s.m.Counters(); c.Asked != 1 || c.Joined != 2 || c.Forwarded != 3 {
		t.Errorf("counted %+v", c)
	}
}

func TestQuestionsWithOtherTypeOrBitsAreAskedApart(t *testing.T) {
	s := newStation(t, one())
	for _, words := range []string{"www.example.com A", "www.example.com AAAA", "www.example.com A do", "www.example.com A cd", "www.example.com A do cd"} {
		s.ask(words)
	}
	all := s.asks()
	if len(all) != 5 {
		t.Fatalf("%d questions are open, expected 5", len(all))
	}
	for i, a := range all {
		q := new(dns.Msg)
		if err := q.Unpack(a.Payload); err != nil {
			t.Fatal(err)
		}
		o := q.IsEdns0()
		if o == nil || o.UDPSize() != 1232 || o.Do() != (i == 2 || i == 4) || q.CheckingDisabled != (i >= 3) || !q.RecursionDesired || !q.AuthenticatedData || len(o.Option) != 0 {
			t.Errorf("asked %v", q)
		}
		s.replies(a, 0, fmt.Sprintf("www.example.com. 300 TXT number%d", i))
	}
	s.replies(func() Ask { s.ask("www.example.com TXT"); return s.only() }(), 0, `www.example.com. 300 TXT "once"`)
	for range 2 {
		s.expect(s.ask("www.example.com TXT"), `NOERROR www.example.com. TXT "once"`)
	}
}

func TestNumbersAndPortsOfQuestionsAreRandom(t *testing.T) {
	s := newStation(t, one())
	numbers, ports, low := map[uint16]bool{}, map[uint16]bool{}, 0
	for i := range 140 {
		s.ask(fmt.Sprintf("host%d.example.com A", i))
	}
	for _, a := range s.asks() {
		numbers[get16(a.Payload, 0)], ports[a.Port] = true, true
		if a.Port < 1024 {
			low++
		}
	}
	if len(numbers) < 135 || len(ports) < 135 || low > 0 {
		t.Errorf("140 questions have %d numbers and %d ports, %d of them below 1024", len(numbers), len(ports), low)
	}
}

func TestOptionsOfTheClientAreNotPassedOn(t *testing.T) {
	s := newStation(t, one())
	q := message("www.example.com A edns 4096")
	o := q.IsEdns0()
	o.Option = append(o.Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{192, 168, 1, 0}}, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})
	c := s.sends("192.168.1.100:5000", false, packed(t, q))
	up := new(dns.Msg)
	if err := up.Unpack(s.only().Payload); err != nil || len(up.IsEdns0().Option) != 0 {
		t.Fatalf("asked %v, %v", up, err)
	}
	s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
	if o := s.message(c).IsEdns0(); o == nil || len(o.Option) != 0 || o.Version() != 0 || o.UDPSize() != 1232 {
		t.Errorf("answered with %v", o)
	}
}

func TestRecordsOfUnknownTypesPassUntouched(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("odd.example.com TYPE65280")
	a := s.only()
	m := reply(t, a, 0, `odd.example.com. 300 CLASS1 TYPE65280 \# 7 c00c0001ff0000`, `odd.example.com. 60 CLASS1 TYPE65280 \# 0`)
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	s.expect(c, "NOERROR odd.example.com. TYPE65280 c00c0001ff0000 odd.example.com. TYPE65280 ")
}

func TestAuthenticDataIsToldToWhomItConcerns(t *testing.T) {
	s := newStation(t, one())
	for _, words := range []string{"", " do"} {
		s.ask("www.example.com A" + words)
		a := s.only()
		m := reply(t, a, 0, "www.example.com. 300 A 192.0.2.1")
		m.AuthenticatedData = true
		s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	}
	s.expect(s.ask("www.example.com A"), "NOERROR www.example.com. A 192.0.2.1")
	s.expect(s.ask("www.example.com A ad"), "NOERROR ad www.example.com. A 192.0.2.1")
	s.expect(s.ask("www.example.com A do"), "NOERROR ad www.example.com. A 192.0.2.1")
}

func TestQueryWithoutRecursionIsAnsweredFromHereOnly(t *testing.T) {
	s := newStation(t, one())
	s.step(lease("192.168.1.5", "printer"))
	s.expect(s.ask("www.example.com A norec"), "REFUSED")
	s.refused(ReasonNotRecursive, 1)
	s.replies(func() Ask { s.ask("www.example.com A"); return s.only() }(), 0, "www.example.com. 300 A 192.0.2.1")
	c := s.ask("www.example.com A norec")
	s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
	if m := s.message(c); m.RecursionDesired || !m.RecursionAvailable {
		t.Errorf("got %v", m)
	}
	s.expect(s.ask("printer A norec"), "NOERROR aa printer. A 192.168.1.5")
}

func TestChainOfAliasesIsPassedAsItComes(t *testing.T) {
	s := newStation(t, one())
	s.ask("www.example.com A")
	s.replies(s.only(), 0, "www.example.com. 300 CNAME a.example.net.", "a.example.net. 20 CNAME b.example.net.", "b.example.net. 60 A 192.0.2.1")
	want := "NOERROR www.example.com. CNAME a.example.net. a.example.net. CNAME b.example.net. b.example.net. A 192.0.2.1"
	s.after(19 * time.Second)
	s.expect(s.ask("www.example.com A"), want)
	s.silent(s.ask("b.example.net A")) // kept under the question only
	s.after(time.Second)
	s.silent(s.ask("www.example.com A")) // the shortest TTL of the chain counts
}

func TestWhatNobodyAskedForIsNotKept(t *testing.T) {
	s := newStation(t, one())
	s.ask("www.example.com A")
	s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1", "bank.example. 300 A 192.0.2.66", "authority", "bank.example. 300 NS ns.evil.example.",
		"additional", "ns.evil.example. 300 A 192.0.2.66", "bank.example. 300 A 192.0.2.66")
	for _, name := range []string{"bank.example A", "bank.example NS", "ns.evil.example A"} {
		s.silent(s.ask(name))
	}
}

func TestTypeAnyIsPassed(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com ANY")
	s.replies(s.only(), 0, `www.example.com. 300 HINFO "RFC8482" ""`)
	s.expect(c, `NOERROR www.example.com. HINFO "RFC8482" ""`)
	s.expect(s.ask("www.example.com ANY"), `NOERROR www.example.com. HINFO "RFC8482" ""`)
}
