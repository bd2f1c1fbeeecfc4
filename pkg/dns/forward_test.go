package dns

import (
	"testing"
	"time"
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
