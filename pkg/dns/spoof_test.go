package dns

import (
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestForgedRepliesAreCountedAndTheTrueOneAwaited(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	a := s.only()
	forge := func(change func(*Reply, *dns.Msg)) {
		t.Helper()
		m := reply(t, a, 0, "www.example.com. 300 A 192.0.2.66")
		ev := Reply{Ask: a.ID, From: a.Server}
		change(&ev, m)
		if ev.Payload == nil {
			ev.Payload = packed(t, m)
		}
		s.step(ev)
		s.silent(c)
	}
	for _, f := range []struct {
		why    Reason
		change func(*Reply, *dns.Msg)
	}{
		{ReasonReplyServer, func(ev *Reply, m *dns.Msg) { ev.From = at("9.9.9.10:53") }},
		{ReasonReplyServer, func(ev *Reply, m *dns.Msg) { ev.From = at("9.9.9.9:5353") }},
		{ReasonReplyID, func(ev *Reply, m *dns.Msg) { m.Id++ }},
		{ReasonReplyQuestion, func(ev *Reply, m *dns.Msg) { m.Question[0].Name = "www.example.net." }},
		{ReasonReplyQuestion, func(ev *Reply, m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA }},
		{ReasonReplyNoResponse, func(ev *Reply, m *dns.Msg) { m.Response = false }},
		{ReasonReplyOpcode, func(ev *Reply, m *dns.Msg) { m.Opcode = dns.OpcodeNotify }},
	} {
		before := s.m.Counters().Refused[f.why]
		forge(f.change)
		s.refused(f.why, before+1)
	}
	s.step(Reply{Ask: a.ID + 1, From: a.Server, Payload: packed(t, reply(t, a, 0, "www.example.com. 300 A 192.0.2.66"))})
	s.refused(ReasonReplyUnknown, 1)
	s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
	s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
	if got := s.answer(s.ask("www.example.com A")); got != "NOERROR www.example.com. A 192.0.2.1" {
		t.Fatalf("the cache holds %s", got)
	}
}

func TestWhoGuessesNumbersMakesTheQuestionGoByTCP(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	a := s.only()
	for i := range 8 {
		m := reply(t, a, 0, "www.example.com. 300 A 192.0.2.66")
		m.Id += uint16(1 + i)
		s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	}
	s.refused(ReasonReplyID, 8)
	s.refused(ReasonReplyGuessed, 1)
	b := s.only()
	if !b.Stream || b.ID == a.ID || b.Server != a.Server {
		t.Fatalf("asked %+v", b)
	}
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, reply(t, a, 0, "www.example.com. 300 A 192.0.2.66"))})
	s.silent(c)
	s.replies(b, 0, "www.example.com. 300 A 192.0.2.1")
	s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
}

func TestReplyMayRepeatTheQuestionInAnotherCase(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("wWw.Example.com A")
	m := reply(t, s.only(), 0, "www.example.com. 300 A 192.0.2.1")
	m.Question[0].Name = "WWW.EXAMPLE.COM."
	s.step(Reply{Ask: s.only().ID, From: s.only().Server, Payload: packed(t, m)})
	if got := s.message(c).Question[0].Name; got != "wWw.Example.com." {
		t.Errorf("the client's question came back as %s", got)
	}
}

func TestTruncatedReplyIsAskedForByTCP(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	a := s.only()
	m := reply(t, a, 0, "www.example.com. 300 A 192.0.2.1")
	m.Truncated = true
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	b := s.only()
	if !b.Stream || b.Server != a.Server {
		t.Fatalf("asked %+v", b)
	}
	s.replies(b, 0, "www.example.com. 300 A 192.0.2.1", "www.example.com. 300 A 192.0.2.2")
	s.expect(c, "NOERROR www.example.com. A 192.0.2.1 www.example.com. A 192.0.2.2")
}

func TestTruncatedReplyOfAServerWithoutTCPIsAFailure(t *testing.T) {
	s := newStation(t, two())
	c := s.ask("www.example.com A")
	first := s.asks()[0]
	m := reply(t, first, 0)
	m.Truncated = true
	s.step(Reply{Ask: first.ID, From: first.Server, Payload: packed(t, m)})
	for _, a := range s.asks() {
		if a.Stream {
			s.step(AskFailed{Ask: a.ID, Reason: "connection refused"})
		}
	}
	s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
	s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
}

func TestServerWithoutEDNSIsAskedWithout(t *testing.T) {
	for _, bare := range []bool{false, true} {
		s := newStation(t, one())
		c := s.ask("www.example.com A")
		a := s.only()
		m := reply(t, a, dns.RcodeFormatError)
		m.Extra = nil
		b := packed(t, m)
		if bare {
			b = b[:headerLen]
			put16(b, atQuestions, 0)
		}
		s.step(Reply{Ask: a.ID, From: a.Server, Payload: b})
		if q := new(dns.Msg); q.Unpack(s.only().Payload) != nil || q.IsEdns0() != nil {
			t.Fatalf("asked %v", q)
		}
		s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
		s.expect(c, "NOERROR www.example.com. A 192.0.2.1")
		s.ask("www.example.net A")
		if q := new(dns.Msg); q.Unpack(s.only().Payload) != nil || q.IsEdns0() != nil || !s.m.Upstreams(s.now)[0].NoEDNS {
			t.Fatalf("asked %v", q)
		}
		s.after(2 * time.Hour)
		s.ask("www.example.org A")
		if q := new(dns.Msg); q.Unpack(s.only().Payload) != nil || q.IsEdns0() == nil {
			t.Fatalf("after an hour asked %v", q)
		}
	}
}

func TestMalformedRepliesAreFailures(t *testing.T) {
	head := func(a Ask, answers, additional byte) []byte {
		b := append([]byte{}, a.Payload[:len(a.Payload)-optLen]...)
		b[2], b[3], b[7], b[11] = 0x81, 0x80, answers, additional
		return b
	}
	for what, make := range map[string]func(a Ask) []byte{
		"a name that points to itself": func(a Ask) []byte {
			b := head(a, 1, 0)
			return append(b, 0xc0, byte(len(b)), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		},
		"two names that point to each other": func(a Ask) []byte {
			b := head(a, 1, 0)
			return append(b, 0xc0, byte(len(b)+2), 0xc0, byte(len(b)), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		},
		"a loop in the target of an alias": func(a Ask) []byte {
			b := head(a, 1, 0)
			return append(b, 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 4, 1, 'a', 0xc0, byte(len(b)+12))
		},
		"a name that points into the header": func(a Ask) []byte {
			return append(head(a, 1, 0), 0xc0, 4, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		},
		"a name that goes on in the one that points to it": func(a Ask) []byte {
			b := append(head(a, 1, 0), 2, 'x')
			return append(b, 0xc0, byte(len(b)-2), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		},
		"a name that is read out of a TTL": func(a Ask) []byte {
			b := append(head(a, 2, 0), 0xc0, 12, 3, 231, 0, 1, 0, 0, 1, 'x', 0, 0)
			return append(b, 0xc0, byte(len(b)-4), 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		},
		"a length beyond the end": func(a Ask) []byte {
			return append(head(a, 1, 0), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 255, 255, 1, 2, 3, 4)
		},
		"more records than there are": func(a Ask) []byte {
			return append(head(a, 2, 0), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4)
		},
		"an address of three octets": func(a Ask) []byte {
			return append(head(a, 1, 0), 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 3, 1, 2, 3)
		},
		"an SOA without its numbers": func(a Ask) []byte {
			return append(head(a, 1, 0), 0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 9, 0, 4, 0xc0, 12, 0xc0, 12)
		},
		"EDNS among the answers": func(a Ask) []byte {
			return append(head(a, 1, 0), 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0)
		},
		"EDNS of a name": func(a Ask) []byte {
			return append(head(a, 0, 1), 0xc0, 12, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0)
		},
	} {
		s := newStation(t, one())
		c := s.ask("www.example.com A")
		a := s.only()
		s.step(Reply{Ask: a.ID, From: a.Server, Payload: make(a)})
		if got := s.answer(c); got != "SERVFAIL" || s.m.Counters().Refused[ReasonReplyMalformed] != 1 {
			t.Errorf("%s: the client got %s, malformed is counted %d times", what, got, s.m.Counters().Refused[ReasonReplyMalformed])
		}
	}
}

func TestRecordsBehindEDNSAreLeftOut(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	a := s.only()
	m := reply(t, a, 0, "www.example.com. 300 A 192.0.2.1", "additional", "ns.example.com. 300 A 192.0.2.2")
	m.Extra = append(m.Extra, m.Extra[0])
	m.Compress = false
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	if got := s.message(c); len(got.Extra) != 1 {
		t.Errorf("got %v", got)
	}
}
