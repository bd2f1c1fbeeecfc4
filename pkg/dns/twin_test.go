package dns

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// slowAnswer is what a client is to get, worked out with a whole decoded message: the upstream's reply, so many seconds old.
func slowAnswer(query, reply *dns.Msg, age uint32, stream bool) *dns.Msg {
	m := reply.Copy()
	m.Id, m.Question = query.Id, query.Question
	m.RecursionDesired, m.RecursionAvailable, m.CheckingDisabled = query.RecursionDesired, true, query.CheckingDisabled
	m.Authoritative, m.Zero = false, false
	o := query.IsEdns0()
	if !query.AuthenticatedData && (o == nil || !o.Do()) {
		m.AuthenticatedData = false
	}
	m.Extra = nil
	for _, rr := range reply.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			break
		}
		m.Extra = append(m.Extra, dns.Copy(rr))
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			rr.Header().Ttl -= min(age, rr.Header().Ttl)
			if rr.Header().Name == reply.Question[0].Name && reply.Compress {
				rr.Header().Name = query.Question[0].Name
			}
		}
	}
	if o != nil {
		m.SetEdns0(1232, o.Do())
	}
	return m
}

func spell(rng *rand.Rand, name string) string {
	b := []byte(name)
	for i := range b {
		if rng.IntN(2) == 0 && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 0x20
		}
	}
	return string(b)
}

// TestFastAnswersAreThoseOfTheSlowTwin compares what is patched into a kept message with what is worked out from a decoded one.
func TestFastAnswersAreThoseOfTheSlowTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	pool := []string{
		"%s %d A 192.0.2.1", "%s %d A 192.0.2.2", "%s %d AAAA 2001:db8::1", `%s %d TXT "some text"`, "%s %d MX 10 mail.example.com.", "%s %d CNAME www.example.com.",
		"%s %d SRV 1 2 3 srv.example.com.", `%s %d TYPE65000 \# 5 0102030405`, "%s %d NS ns.example.com.", "%s %d CAA 0 issue \"x\"",
		"%s %d DS 1 2 3 ABCDEF", "%s %d RRSIG A 8 2 300 20300101000000 20290101000000 1 example.com. AAAA", "%s %d HTTPS 1 . alpn=h2",
	}
	owners := []string{"www.example.com.", "example.com.", "a.b.www.example.com.", "other.example."}
	truncated, whole := 0, 0
	for n := range 2000 {
		s := newStation(t, one())
		first := message("www.example.com A" + []string{"", " edns 1232", " do"}[rng.IntN(3)])
		first.CheckingDisabled = rng.IntN(3) == 0
		s.sends("192.168.1.100:5000", rng.IntN(2) == 0, packed(t, first))
		a := s.only()
		records := []string{"www.example.com. 86400 A 192.0.2.99"}
		for _, section := range []string{"", "authority", "additional"} {
			if section != "" {
				records = append(records, section)
			}
			for range rng.IntN(8) * (1 + rng.IntN(2)*rng.IntN(8)) {
				records = append(records, fmt.Sprintf(pool[rng.IntN(len(pool))], owners[rng.IntN(len(owners))], 1000+rng.IntN(3600)))
			}
		}
		up := reply(t, a, 0, records...)
		up.AuthenticatedData, up.Authoritative, up.Compress = rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(4) > 0
		s.step(Reply{Ask: a.ID, From: a.Server, Payload: packed(t, up)})

		age := uint32(rng.IntN(1000))
		s.after(time.Duration(age)*time.Second + time.Duration(rng.IntN(1000))*time.Millisecond)
		query := first.Copy()
		query.Id, query.Question[0].Name = uint16(rng.Uint32()), spell(rng, "www.example.com.")
		query.RecursionDesired, query.AuthenticatedData = rng.IntN(2) == 0, rng.IntN(2) == 0
		stream := rng.IntN(2) == 0
		q := Query{Client: 99, From: at("192.168.1.100:5000"), Stream: stream, Payload: packed(t, query)}
		fast, done := s.m.Quick(s.now, &q)
		if !done {
			t.Fatalf("%d: not in the cache: %v", n, up)
		}
		got := new(dns.Msg)
		if err := got.Unpack(fast); err != nil {
			t.Fatalf("%d: %x: %v", n, fast, err)
		}
		want := slowAnswer(query, up, age, stream)
		if got.Truncated || len(got.Extra) != len(want.Extra) {
			truncated++
			checkCut(t, got, want, len(fast))
			continue
		}
		whole++
		if sentence(got) != sentence(want) {
			t.Fatalf("%d: fast\n%s\nslow\n%s", n, sentence(got), sentence(want))
		}
	}
	if truncated < 300 || whole < 300 {
		t.Errorf("%d answers were cut, %d were whole: both are to be compared", truncated, whole)
	}
}

// sentence is all of a message, with names in lower case where compression may have lent them another's.
func sentence(m *dns.Msg) string { return fmt.Sprint(m.MsgHdr, m.Question, lowered(m)) }

func lowered(m *dns.Msg) (out []string) {
	for i, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			rr = dns.Copy(rr)
			rr.Header().Name = dns.CanonicalName(rr.Header().Name)
			out = append(out, fmt.Sprint(i, " ", lowerTargets(rr)))
		}
	}
	return out
}

// lowerTargets writes a record with the names in its data in lower case: they too may point into the question.
func lowerTargets(rr dns.RR) string {
	if o, is := rr.(*dns.OPT); is {
		return fmt.Sprint("OPT ", o.UDPSize(), o.Do(), o.Version(), len(o.Option))
	}
	switch rr.Header().Rrtype {
	case dns.TypeCNAME, dns.TypeNS, dns.TypeMX, dns.TypeSRV:
		return dns.CanonicalName(rr.String())
	}
	return rr.String()
}

// checkCut looks at an answer that was cut against the whole one: it holds whole sets from the beginning, no more than fits, and says so.
func checkCut(t *testing.T, got, want *dns.Msg, size int) {
	t.Helper()
	limit := 512
	o := want.IsEdns0()
	if o != nil {
		limit = 1232
	}
	if size > limit || (got.IsEdns0() != nil) != (o != nil) {
		t.Fatalf("%d octets, of %d: %v", size, limit, got)
	}
	strip := func(m *dns.Msg) (out []string) {
		m = m.Copy()
		if o != nil {
			m.Extra = m.Extra[:len(m.Extra)-1]
		}
		return lowered(m)
	}
	have, all := strip(got), strip(want)
	for i, line := range have {
		if line != all[i] {
			t.Fatalf("record %d is %s, expected %s", i, line, all[i])
		}
	}
	needed := len(want.Answer) + len(want.Ns)
	if got.Truncated != (len(have) < needed) {
		t.Fatalf("%d of %d records that are needed are there, truncated: %v", len(have), needed, got.Truncated)
	}
	if n := len(have); n > 0 && n < len(all) {
		rrs := append(append(append([]dns.RR{}, want.Answer...), want.Ns...), want.Extra...)
		a, b := rrs[n-1].Header(), rrs[n].Header()
		if a.Rrtype == b.Rrtype && dns.CanonicalName(a.Name) == dns.CanonicalName(b.Name) && n != len(want.Answer) && n != needed {
			t.Fatalf("the set of %v is cut in two", a)
		}
	}
}
