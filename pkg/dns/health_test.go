package dns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// exchange asks for a new name, lets the living servers answer after their time, and tells how long the client waited.
func (s *station) exchange(living map[string]time.Duration) (took time.Duration) {
	s.t.Helper()
	began, c := s.now, s.ask(fmt.Sprintf("host%d.example.com A", s.last))
	for {
		var next Ask
		due := time.Time{}
		for _, a := range s.asks() {
			took, lives := living[a.Server.Addr().String()]
			answered := s.m.epoch.Add(s.m.asks[a.ID].sent + took)
			if lives && (due.IsZero() || answered.Before(due)) {
				next, due = a, answered
			}
		}
		tick := s.m.Next()
		switch {
		case s.got[c] != nil && due.IsZero():
			return took
		case !due.IsZero() && !tick.Before(due):
			s.now = due
			s.replies(next, 0, describeQuestion(s.t, next)+" 0 A 192.0.2.1")
		default:
			s.now = tick
			s.step(Tick{})
		}
		if took == 0 && s.got[c] != nil {
			took = s.now.Sub(began)
		}
		if s.now.Sub(began) > time.Minute {
			s.t.Fatal("the client waits for ever")
		}
	}
}

func describeQuestion(t testing.TB, a Ask) string { return reply(t, a, 0).Question[0].Name }

func TestSilentServerIsPassedOverAndTriedAgain(t *testing.T) {
	const quick = 10 * time.Millisecond
	s := newStation(t, two())
	both := map[string]time.Duration{"9.9.9.9": quick, "1.1.1.1": 3 * quick}
	for range 5 {
		if took := s.exchange(both); took != quick {
			t.Fatalf("with both servers the answer took %v", took)
		}
		s.after(time.Second)
	}
	only := map[string]time.Duration{"1.1.1.1": 3 * quick}
	if took := s.exchange(only); took != 2*time.Second+3*quick {
		t.Fatalf("the first answer without the first server took %v", took)
	}
	for i := range 40 {
		s.after(time.Second)
		if took := s.exchange(only); took != 3*quick {
			t.Fatalf("answer %d without the first server took %v", i, took)
		}
	}
	if len(s.down) != 1 || s.down[0] != (UpstreamEvent{at("9.9.9.9:53"), false}) {
		t.Fatalf("events: %v", s.down)
	}
	rows := s.m.Upstreams(s.now)
	if rows[0].State != UpstreamDown || rows[1].State != UpstreamUp || rows[0].Timeouts < 3 || rows[0].Timeouts > 12 || rows[1].Answers < 42 {
		t.Fatalf("upstreams: %+v", rows)
	}
	s.after(31 * time.Second)
	s.exchange(both)
	if len(s.down) != 2 || s.down[1] != (UpstreamEvent{at("9.9.9.9:53"), true}) {
		t.Fatalf("events: %v", s.down)
	}
	if took := s.exchange(both); took != quick {
		t.Fatalf("with the first server back the answer took %v", took)
	}
}

func TestWithoutAnyServerTheClientIsToldInTime(t *testing.T) {
	s := newStation(t, two())
	c := s.ask("www.example.com A")
	s.after(6*time.Second - time.Millisecond)
	s.silent(c)
	s.after(time.Millisecond)
	s.expect(c, "SERVFAIL")
	s.refused(ReasonDeadline, 1)
	if len(s.open) != 0 || len(s.m.asks) != 0 {
		t.Fatalf("%d questions are open", len(s.open))
	}
	s.expect(s.ask("www.example.com A"), "SERVFAIL")
	s.after(time.Second)
	s.silent(s.ask("www.example.com A"))
}

func TestLateAnswerOfASlowServerCounts(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	first := s.only()
	s.after(3 * time.Second)
	if len(s.open) != 2 {
		t.Fatalf("%d questions are open, expected the first and one more", len(s.open))
	}
	s.replies(first, 0, "www.example.com. 300 A 192.0.2.1")
	s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
	if len(s.open) != 0 {
		t.Fatalf("%d questions are still open", len(s.open))
	}
}

func TestFailureOfOneServerIsAskedOfTheNext(t *testing.T) {
	for _, code := range []int{2, 4, 5, 1, 9} {
		s := newStation(t, two())
		s.exchange(map[string]time.Duration{"9.9.9.9": time.Millisecond, "1.1.1.1": 50 * time.Millisecond})
		s.after(time.Second)
		c := s.ask("www.example.com A do")
		s.replies(s.only(), code)
		refusals := uint64(1)
		if a := s.only(); a.Server == at("9.9.9.9:53") && (code == 1 || code == 4) { // once more without EDNS
			s.replies(a, code)
			refusals++
		}
		if s.only().Server != at("1.1.1.1:53") {
			t.Fatalf("after code %d asked %v", code, s.only().Server)
		}
		s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
		s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
		s.refused(ReasonReplyFailure, refusals)
		if row := s.m.Upstreams(s.now)[0]; row.State != UpstreamUp || row.Failures != refusals || row.NoEDNS {
			t.Errorf("code %d: %+v", code, row)
		}
	}
}

func TestWhatAllServersRefuseIsRefused(t *testing.T) {
	s := newStation(t, two())
	c := s.ask("www.example.com A")
	for _, a := range s.asks() {
		s.replies(a, 5)
	}
	s.expect(c, "REFUSED")
	s.refused(ReasonUpstreamsFailed, 1)
}

func TestServerThatRefusesEverythingComesLast(t *testing.T) {
	s := newStation(t, two())
	s.exchange(map[string]time.Duration{"9.9.9.9": time.Millisecond, "1.1.1.1": 2 * time.Millisecond})
	for i := range 6 {
		s.ask(fmt.Sprintf("name%d.example.com A", i))
		for _, a := range s.asks() {
			if a.Server == at("9.9.9.9:53") {
				s.replies(a, 5)
			}
		}
		for _, a := range s.asks() {
			s.replies(a, 0, describeQuestion(t, a)+" 0 A 192.0.2.1")
		}
	}
	s.ask("www.example.com A")
	if got := s.asks()[0].Server; got != at("1.1.1.1:53") {
		t.Errorf("%v is asked first", got)
	}
}

func TestServerThatCannotBeReachedIsPassedOverAtOnce(t *testing.T) {
	s := newStation(t, two())
	c := s.ask("www.example.com A")
	for _, a := range s.asks() {
		if a.Server == at("9.9.9.9:53") {
			s.step(AskFailed{Ask: a.ID, Reason: "connection refused"})
		}
	}
	s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
	s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
	s.ask("www.example.net A")
	if got := s.only().Server; got != at("1.1.1.1:53") {
		t.Errorf("%v is asked next", got)
	}
}

func TestServerThatOnlySendsReferralsIsPassedOver(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	a := s.only()
	m := reply(t, a, 0, "authority", "com. 300 NS a.gtld-servers.net.")
	m.RecursionAvailable = false
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	s.expect(c, "SERVFAIL")
	s.refused(ReasonReplyReferral, 1)
}

func TestMostSpecificUpstreamIsAsked(t *testing.T) {
	c := one()
	c.Upstreams = append(c.Upstreams, Upstream{Domain: "corp.example", Servers: []netip.AddrPort{at("10.0.0.2:53")}},
		Upstream{Domain: "lab.Corp.example", Servers: []netip.AddrPort{at("10.0.0.3:5353")}},
		Upstream{Domain: "ads.example"}, Upstream{Domain: "10.in-addr.arpa", Servers: []netip.AddrPort{at("10.0.0.2:53")}})
	for name, want := range map[string]string{
		"www.example.com A": "9.9.9.9:53", "corp.example A": "10.0.0.2:53", "www.CORP.example A": "10.0.0.2:53", "x.lab.corp.example A": "10.0.0.3:5353",
		"notcorp.example A": "9.9.9.9:53", "5.0.0.10.in-addr.arpa PTR": "10.0.0.2:53", "5.4.3.9.in-addr.arpa PTR": "9.9.9.9:53",
	} {
		s := newStation(t, c)
		s.ask(name)
		if got := s.only().Server.String(); got != want {
			t.Errorf("%s is asked of %s, expected %s", name, got, want)
		}
	}
	s := newStation(t, c)
	s.expect(s.ask("banner.ads.example A"), "NXDOMAIN aa authority ads.example. SOA 60")
	s.refused(ReasonBlocked, 1)
	c.Upstreams = c.Upstreams[1:]
	s = newStation(t, c)
	s.expect(s.ask("www.example.com A"), "SERVFAIL")
	s.refused(ReasonNoUpstream, 1)
	c.LocalOnly = true
	s.step(Configure{c})
	s.expect(s.ask("www.example.com A"), "REFUSED")
	s.refused(ReasonLocalOnly, 1)
}
