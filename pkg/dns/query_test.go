package dns

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestQueriesThatAreNoneOfOursAreAnsweredWithTheRightCode(t *testing.T) {
	plain := func() []byte { return packed(t, message("www.example.com A")) }
	edns := func() []byte { return packed(t, message("www.example.com A edns 1232")) }
	set := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	for _, c := range []struct {
		what string
		b    []byte
		why  Reason
		code int // -1: no answer
	}{
		{"nothing", nil, ReasonShort, -1},
		{"eleven octets", plain()[:11], ReasonShort, -1},
		{"a response", set(plain(), 2, 0x81), ReasonNoQuery, -1},
		{"an update", set(plain(), 2, 5<<3), ReasonOpcode, 4},
		{"a notify", set(plain(), 2, 4<<3), ReasonOpcode, 4},
		{"no question", set(plain(), 5, 0)[:12], ReasonQuestions, 1},
		{"two questions", set(plain(), 5, 2), ReasonQuestions, 1},
		{"a header only", plain()[:12], ReasonMalformed, 1},
		{"half a name", plain()[:20], ReasonMalformed, 1},
		{"no class", plain()[:len(plain())-2], ReasonMalformed, 1},
		{"a pointer as the name", append(plain()[:12], 0xc0, 12, 0, 1, 0, 1), ReasonMalformed, 1},
		{"a label of 64", append(append(plain()[:12], 64), append(bytes.Repeat([]byte{'a'}, 64), 0, 0, 1, 0, 1)...), ReasonMalformed, 1},
		{"a name of 256", append(append(plain()[:12], bytes.Repeat([]byte{3, 'a', 'b', 'c'}, 64)...), 0, 0, 1, 0, 1), ReasonMalformed, 1},
		{"an answer in the query", set(plain(), 7, 1), ReasonMalformed, 1},
		{"octets behind the end", append(plain(), 0), ReasonMalformed, 1},
		{"an additional record that is not there", set(plain(), 11, 1), ReasonMalformed, 1},
		{"a thousand additional records", set(edns(), 10, 4), ReasonMalformed, 1},
		{"EDNS twice", set(append(edns(), edns()[len(edns())-11:]...), 11, 2), ReasonMalformed, 1},
		{"an option that is longer than EDNS", append(set(edns(), len(edns())-1, 4), 0, 10, 0, 9), ReasonMalformed, 1},
		{"EDNS version 1", set(edns(), len(edns())-5, 1), ReasonVersion, 16},
		{"class CHAOS", set(plain(), len(plain())-1, 3), ReasonClass, 5},
		{"class ANY", set(plain(), len(plain())-1, 255), ReasonClass, 5},
		{"a transfer", packed(t, message("example.com AXFR")), ReasonTransfer, 5},
		{"an incremental transfer", packed(t, message("example.com IXFR")), ReasonTransfer, 5},
		{"type 0", packed(t, message("example.com TYPE0")), ReasonType, 1},
		{"type OPT", packed(t, message("example.com OPT")), ReasonType, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			for _, stream := range []bool{false, true} {
				s := newStation(t, one())
				id := s.sends("192.168.1.100:5000", stream, c.b)
				s.refused(c.why, 1)
				if len(s.open) != 0 {
					t.Error("a question went upstream")
				}
				if c.code < 0 {
					if s.got[id] != nil || s.lost[id] != c.why {
						t.Errorf("answered with %x, dropped: %v", s.got[id], s.lost[id])
					}
					continue
				}
				m := s.message(id)
				if m.Rcode != c.code || !m.Response || m.Id != 4711 || m.Opcode != int(c.b[2]>>3) {
					t.Errorf("got %v", m)
				}
				if o := m.IsEdns0(); c.code == 16 && (o == nil || o.Version() != 0) {
					t.Error("who speaks a later EDNS is to be told of version 0")
				}
			}
		})
	}
}

func TestLongestNamesAreAnswered(t *testing.T) {
	s := newStation(t, one())
	name := ""
	for range 63 {
		name += "abc."
	}
	name = "a." + name
	c := s.ask(name + " A")
	s.replies(s.only(), 0, name+" 300 A 192.0.2.1")
	s.expect(c, "NOERROR "+name+" A 192.0.2.1")
}

func TestAnswerHoldsToWhatTheClientCanTake(t *testing.T) {
	records := []string{}
	for i := range 40 {
		records = append(records, fmt.Sprintf("www.example.com. 300 A 192.0.2.%d", i))
	}
	for i := range 10 {
		records = append(records, fmt.Sprintf(`www.example.com. 300 TXT "%0100d"`, i))
	}
	s := newStation(t, one())
	s.ask("www.example.com ANY")
	s.replies(s.only(), 0, records...)
	for words, want := range map[string]int{"": 0, "edns 100": 0, "edns 512": 0, "edns 800": 40, "edns 1232": 40, "edns 65535": 40} {
		c := s.ask("www.example.com ANY " + words)
		m := s.message(c)
		limit := 512
		if o := message("www.example.com ANY " + words).IsEdns0(); o != nil {
			limit = min(max(int(o.UDPSize()), 512), 1232)
			if m.IsEdns0() == nil {
				t.Errorf("%q: EDNS is missing", words)
			}
		}
		if len(s.got[c]) > limit || !m.Truncated || len(m.Answer) != want {
			t.Errorf("%q: %d octets, truncated %v, %d records, expected %d", words, len(s.got[c]), m.Truncated, len(m.Answer), want)
		}
	}
	m := s.message(s.sends("192.168.1.100:5000", true, packed(t, message("www.example.com ANY"))))
	if m.Truncated || len(m.Answer) != 50 {
		t.Errorf("by TCP: truncated %v, %d records", m.Truncated, len(m.Answer))
	}
	if c := s.m.Counters(); c.Truncated != 7 {
		t.Errorf("%d truncated answers are counted, expected 7", c.Truncated)
	}
}

func TestOnlyAdditionalRecordsAreLeftOutWithoutSayingSo(t *testing.T) {
	records := []string{"www.example.com. 300 A 192.0.2.1", "authority", "example.com. 300 NS ns.example.com.", "additional"}
	for i := range 40 {
		records = append(records, fmt.Sprintf(`ns%d.example.com. 300 TXT "%060d"`, i, i))
	}
	s := newStation(t, one())
	c := s.ask("www.example.com A")
	s.replies(s.only(), 0, records...)
	if m := s.message(c); m.Truncated || len(m.Answer) != 1 || len(m.Ns) != 1 || len(m.Extra) == 0 || len(m.Extra) >= 40 || len(s.got[c]) > 512 {
		t.Errorf("got %v", m)
	}
}

func TestMessagesOf64KPass(t *testing.T) {
	s := newStation(t, one())
	c := s.sends("192.168.1.100:5000", true, packed(t, message("www.example.com TXT edns 1232")))
	a := s.only()
	m := reply(t, a, 0)
	m.Extra = nil
	text := string(bytes.Repeat([]byte{'x'}, 200))
	for i := 0; m.Len() < 65535-240; i++ {
		m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: "www.example.com.", Rrtype: dns.TypeTXT, Class: 1, Ttl: 300}, Txt: []string{text}})
	}
	rest := 65535 - m.Len() - 13
	m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: "www.example.com.", Rrtype: dns.TypeTXT, Class: 1, Ttl: 300}, Txt: []string{text[:rest]}})
	b := packed(t, m)
	if len(b) != 65535 {
		t.Fatalf("the reply has %d octets", len(b))
	}
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: b})
	if got := s.message(c); len(s.got[c]) > 65535 || !got.Truncated || len(got.Answer) != 0 {
		t.Errorf("with EDNS the largest message does not fit: got %d octets", len(s.got[c]))
	}
	if c := s.sends("192.168.1.100:5000", true, packed(t, message("www.example.com TXT"))); len(s.got[c]) != 65535 {
		t.Errorf("got %d octets", len(s.got[c]))
	}
	if got := s.message(s.ask("www.example.com TXT")); !got.Truncated {
		t.Error("by UDP it is truncated")
	}
	// The worst of them: as many of the shortest records as there is room for.
	c = s.sends("192.168.1.100:5000", true, packed(t, message("a.example TYPE999")))
	a = s.asks()[0]
	b = append([]byte{}, a.Payload[:len(a.Payload)-optLen]...)
	b[2], b[3], b[11] = 0x81, 0x80, 0
	n := (65535 - len(b)) / 11
	put16(b, atAnswers, uint16(n))
	for range n {
		b = append(b, 0, 3, 231, 0, 1, 0, 0, 1, 0, 0, 0)
	}
	s.step(Reply{Ask: a.ID, From: a.Server, Payload: b})
	if len(s.got[c]) != len(b) {
		t.Errorf("got %d octets, expected %d", len(s.got[c]), len(b))
	}
	s.after(10 * time.Second)
	m = s.message(s.ask("a.example TYPE999 edns 1232"))
	if !m.Truncated {
		t.Error("by UDP it is truncated")
	}
}

func TestRepeatedQueryIsAnsweredOnce(t *testing.T) {
	s := newStation(t, one())
	b := packed(t, message("www.example.com A"))
	first := s.sends("192.168.1.100:5000", false, b)
	second := s.sends("192.168.1.100:5000", false, b)
	other := s.sends("192.168.1.100:5001", false, b)
	if s.lost[second] != ReasonRepeated {
		t.Fatalf("the repeated query: %v", s.lost[second])
	}
	s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
	s.message(first)
	s.message(other)
}

func TestLimitsHoldAndAreCounted(t *testing.T) {
	c := one()
	c.MaxQueries, c.MaxPerClient, c.MaxWaiting = 10, 4, 3
	s := newStation(t, c)
	var all []ClientID
	for i := range 6 {
		all = append(all, s.sends("192.168.1.1:5000", false, packed(t, message(fmt.Sprintf("a%d.example.com A", i)))))
	}
	s.refused(ReasonClientLimit, 2)
	s.expect(all[5], "SERVFAIL")
	for i := range 12 {
		s.sends(fmt.Sprintf("192.168.2.%d:5000", i), false, packed(t, message(fmt.Sprintf("b%d.example.com A", i))))
	}
	s.refused(ReasonQueryLimit, 6)
	for i := range 4 {
		s.sends(fmt.Sprintf("192.168.3.%d:5000", i), false, packed(t, message("a1.example.com A")))
	}
	s.refused(ReasonWaitingLimit, 2)
	s.refused(ReasonClientLimit, 2)
	if st := s.m.CacheStats(); st.Outstanding != 10 {
		t.Errorf("%d questions are upstream, expected 10", st.Outstanding)
	}
	s.after(7 * time.Second)
	if len(s.m.clients)+len(s.m.flights)+len(s.m.asks)+len(s.m.timers)+len(s.open) != 0 {
		t.Error("something is left of questions that are over")
	}
	s.silent(s.sends("192.168.1.1:5000", false, packed(t, message("c.example.com A"))))
}

func TestClientOfTCPThatGoesIsForgotten(t *testing.T) {
	s := newStation(t, one())
	s.last++
	gone := s.last
	for i := range 3 {
		s.step(Query{Client: s.last, From: at("192.168.1.100:5000"), Stream: true, Payload: packed(t, message(fmt.Sprintf("h%d.example.com A", i)))})
	}
	other := s.ask("h1.example.com A")
	actions := s.m.Step(s.now, Gone{gone})
	if len(actions) != 3 || actions[0] != (Dropped{gone, ReasonGone}) {
		t.Fatalf("got %v", actions)
	}
	s.refused(ReasonGone, 3)
	s.step(Gone{gone})
	s.step(Gone{other})
	for _, a := range s.asks() {
		s.replies(a, 0, describeQuestion(t, a)+" 300 A 192.0.2.1")
	}
	s.expect(other, "NOERROR h1.example.com. A 192.0.2.1")
	s.expect(s.ask("h2.example.com A"), "NOERROR h2.example.com. A 192.0.2.1")
	if len(s.m.clients)+len(s.m.streams) != 0 {
		t.Errorf("left: %v, %v", s.m.clients, s.m.streams)
	}
}

func TestEveryReasonHasItsWords(t *testing.T) {
	seen := map[string]bool{}
	for r := range NumReasons {
		if r.String() == "" || seen[r.String()] || r.Description() == "" || r.Description()[len(r.Description())-1] != '.' {
			t.Errorf("reason %d: %q, %q", r, r.String(), r.Description())
		}
		seen[r.String()] = true
	}
	if NumReasons.String() != "unknown" || ReasonShort.AboutReply() || !ReasonReplyID.AboutReply() {
		t.Error("reasons are not what they are said to be")
	}
}

func TestThatNobodyHasANameIsNoRefusal(t *testing.T) {
	c := one()
	c.Upstreams = append(c.Upstreams, Upstream{Domain: "blocked.example"})
	s := newStation(t, c)
	for question, why := range map[string]Reason{
		"nobody.home.arpa A": ReasonLocalDomain, "nobody A": ReasonBareName, "x.invalid A": ReasonSpecialName,
		"1.0.168.192.in-addr.arpa PTR": ReasonPrivateReverse, "x.blocked.example A": ReasonBlocked,
	} {
		s.ask(question)
		if s.m.Counters().Refused[why] != 1 || !why.NoSuchName() {
			t.Errorf("%s: %v is counted %d times, and is an answer: %v", question, why, s.m.Counters().Refused[why], why.NoSuchName())
		}
	}
	for why := range NumReasons {
		if _, refused := codes[why]; why.NoSuchName() && (refused || why.AboutReply()) {
			t.Errorf("%v refuses", why)
		}
	}
}
