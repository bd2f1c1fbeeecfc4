package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestCacheIsListedWithWhatItHolds(t *testing.T) {
	s := newStation(t, records())
	for _, c := range []struct {
		question string
		code     int
		records  []string
	}{
		{"B.example.com A", 0, []string{"b.example.com. 300 CNAME c.example.com.", "c.example.com. 300 A 192.0.2.1"}},
		{"b.example.com AAAA", 0, []string{"authority", "example.com. 60 SOA ns.example.com. root.example.com. 1 2 3 4 60"}},
		{"a.example.com A", 3, []string{"authority", "example.com. 60 SOA ns.example.com. root.example.com. 1 2 3 4 60"}},
		{"broken.example.net A", 2, nil},
		{"odd.example.net TYPE65000", 0, []string{`odd.example.net. 30 TYPE65000 \# 2 0102`}},
	} {
		s.ask(c.question)
		s.replies(s.only(), c.code, c.records...)
	}
	s.ask("nas A") // a name here is no answer of others that is kept
	s.ask("b.example.com A")
	s.after(2 * time.Second)
	list := func(below string) (out []string) {
		for _, r := range s.kept(below) {
			out = append(out, fmt.Sprint(r.Name, " ", r.Type, " ", r.State(), " ", r.TTL, " ", r.Hits, " ", strings.ReplaceAll(strings.Join(r.Records(1), ","), "\t", " ")))
		}
		return out
	}
	want := []string{
		"a.example.com A no_name 58s 0 ", "b.example.com A answer 4m58s 1 CNAME c.example.com.", "b.example.com AAAA no_data 58s 0 ",
		"broken.example.net A failure 3s 0 ", `odd.example.net TYPE65000 answer 28s 0 TYPE65000 \# 2 0102`,
	}
	if got := list(""); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := list("Example.com."); !slices.Equal(got, want[:3]) {
		t.Errorf("below example.com: %v", got)
	}
	s.after(29 * time.Second)
	s.step(lease("192.168.1.5", "printer"))
	if got := list(""); len(got) != 3 {
		t.Errorf("what no longer holds is listed: %v", got)
	}
}

func TestUpstreamsAreListedWithTheirHealth(t *testing.T) {
	c := two()
	c.Upstreams = append(c.Upstreams, Upstream{Domain: "corp.example", Servers: []netip.AddrPort{at("10.0.0.2:53"), at("9.9.9.9:53"), at("10.0.0.2:53")}})
	s := newStation(t, c)
	list := func() (out string) {
		for _, r := range s.m.Upstreams(s.now) {
			out += fmt.Sprint(r.Domain, " ", r.Server, " ", r.State, " ", r.Latency, " ", r.LastAnswer, " ", r.Outstanding, "\n")
		}
		return out
	}
	want := " 9.9.9.9:53 unknown 0s -1ns 0\n 1.1.1.1:53 unknown 0s -1ns 0\ncorp.example 10.0.0.2:53 unknown 0s -1ns 0\ncorp.example 9.9.9.9:53 unknown 0s -1ns 0\n"
	if got := list(); got != want {
		t.Errorf("got\n%sexpected\n%s", got, want)
	}
	s.ask("www.example.com A")
	s.after(10 * time.Millisecond)
	s.replies(s.asks()[0], 0, "www.example.com. 300 A 192.0.2.1")
	s.after(1990 * time.Millisecond)
	want = " 9.9.9.9:53 up 10ms 1.99s 0\n 1.1.1.1:53 silent 0s -1ns 0\ncorp.example 10.0.0.2:53 unknown 0s -1ns 0\ncorp.example 9.9.9.9:53 up 10ms 1.99s 0\n"
	if got := list(); got != want {
		t.Errorf("got\n%sexpected\n%s", got, want)
	}
	s.after(time.Second)
	s.ask("www.example.net A")
	s.after(7 * time.Second)
	if got := s.m.Upstreams(s.now)[1].State; got != UpstreamDown {
		t.Errorf("after three silences it is %v", got)
	}
	s.step(Configure{one()})
	if rows := s.m.Upstreams(s.now); len(rows) != 1 || rows[0].Latency != 10*time.Millisecond || rows[0].State != UpstreamDown {
		t.Errorf("after the configuration has changed: %+v", rows)
	}
}

func TestServersOfOneDomainInSeveralEntriesAreOneList(t *testing.T) {
	c := one()
	c.Upstreams = append(c.Upstreams, Upstream{Servers: []netip.AddrPort{at("1.1.1.1:53")}})
	if rows := newStation(t, c).m.Upstreams(start); len(rows) != 2 {
		t.Errorf("got %+v", rows)
	}
}

func TestRecordsThatFitNoMessageAreAFailure(t *testing.T) {
	c := one()
	c.Records = []Record{{Name: "long", TXT: []string{strings.Repeat("x", 256)}}}
	for i := range 300 {
		c.Records = append(c.Records, Record{Name: "huge", TXT: []string{fmt.Sprintf("%0250d", i)}})
	}
	s := newStation(t, c)
	s.expect(s.ask("long TXT"), "SERVFAIL")
	s.expect(s.ask("huge TXT"), "SERVFAIL")
	s.refused(ReasonTooLong, 2)
}

func TestWrongRepliesByTCPAreAFailure(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	a := s.only()
	m := reply(t, a, 0)
	m.Truncated = true
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	a = s.only()
	m = reply(t, a, 0, "www.example.com. 300 A 192.0.2.1")
	m.Id++
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	s.expect(c, "SERVFAIL")
	if len(s.open) != 0 {
		t.Error("the question is still open")
	}
}

func TestServerThatTruncatesByTCPIsAFailure(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	for range 2 {
		a := s.only()
		m := reply(t, a, 0, "www.example.com. 300 A 192.0.2.1")
		m.Truncated = true
		s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, m)})
	}
	s.expect(c, "SERVFAIL")
	s.refused(ReasonReplyMalformed, 1)
}

func TestServerThatKnowsNeitherEDNSNorTheQuestionIsAskedTwiceOnly(t *testing.T) {
	s := newStation(t, one())
	c := s.ask("www.example.com A do")
	s.replies(s.only(), dns.RcodeNotImplemented)
	s.replies(s.only(), dns.RcodeNotImplemented)
	s.expect(c, "NOTIMP")
	if s.m.Upstreams(s.now)[0].NoEDNS {
		t.Error("that it knows no EDNS is not proved")
	}
}
