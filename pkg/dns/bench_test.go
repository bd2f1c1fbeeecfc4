package dns

import (
	"fmt"
	"testing"
	"time"
)

// filled is a forwarder that keeps answers for so many names, and the queries for them.
func filled(t testing.TB, names int, words string) (*Machine, []Query) {
	t.Helper()
	s := newStation(&testing.T{}, one())
	s.step(lease("192.168.1.5", "printer"))
	var queries []Query
	for i := range names {
		q := message(fmt.Sprintf("host%d.example.com A %s", i, words))
		c := s.sends("192.168.1.100:5000", false, packed(t, q))
		s.replies(s.only(), 0, fmt.Sprintf("host%d.example.com. 86400 CNAME www.example.com.", i), "www.example.com. 3600 A 192.0.2.1", "www.example.com. 3600 A 192.0.2.2")
		s.message(c)
		queries = append(queries, Query{Client: 1, From: at("192.168.1.100:5000"), Payload: packed(t, q)})
	}
	return s.m, queries
}

func TestAnswersThatAreKeptAreGivenWithoutAllocating(t *testing.T) {
	now := start.Add(17 * time.Second)
	for _, words := range []string{"", "edns 1232", "do", "cd"} {
		m, queries := filled(t, 50, words)
		local := packed(t, message("printer.home.arpa A "+words))
		m.Step(now, Query{Client: 1, From: at("192.168.1.100:5000"), Payload: local})
		queries = append(queries, Query{Client: 1, From: at("192.168.1.100:5000"), Payload: local}, Query{Client: 1, From: at("192.168.1.100:5000"), Payload: local, Stream: true})
		n := 0
		if a := testing.AllocsPerRun(1000, func() {
			if _, done := m.Quick(now, &queries[n%len(queries)]); !done {
				t.Fatal("a question that was answered before is not answered from the cache")
			}
			n++
		}); a != 0 {
			t.Errorf("%q: %v allocations an answer, expected none", words, a)
		}
	}
}

func benchmarkHits(b *testing.B, names int, words string) {
	m, queries := filled(b, names, words)
	now := start.Add(17 * time.Second)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, done := m.Quick(now, &queries[i%len(queries)]); !done {
			b.Fatal("not in the cache")
		}
	}
}

func BenchmarkCachedAnswer(b *testing.B)      { benchmarkHits(b, 1000, "") }
func BenchmarkCachedAnswerEDNS(b *testing.B)  { benchmarkHits(b, 1000, "edns 1232") }
func BenchmarkCachedAnswerOfFew(b *testing.B) { benchmarkHits(b, 10, "") }

func BenchmarkLocalAnswer(b *testing.B) {
	s := newStation(&testing.T{}, one())
	s.step(lease("192.168.1.5", "printer"))
	q := Query{Client: 1, From: at("192.168.1.100:5000"), Payload: packed(b, message("printer.home.arpa A"))}
	s.step(q)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, done := s.m.Quick(start, &q); !done {
			b.Fatal("not in the cache")
		}
	}
}

// BenchmarkQuestionUpstream is the whole way of a question that is not in the cache.
func BenchmarkQuestionUpstream(b *testing.B) {
	c := one()
	c.CacheSize = -1
	s := newStation(&testing.T{}, c)
	q := Query{Client: 1, From: at("192.168.1.100:5000"), Payload: packed(b, message("www.example.com A"))}
	var answer []byte
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		ask := s.m.Step(start, q)[0].(Ask)
		if answer == nil {
			answer = packed(b, reply(b, ask, 0, "www.example.com. 300 A 192.0.2.1"))
		}
		answer[0], answer[1] = ask.Payload[0], ask.Payload[1]
		s.m.Step(start, Reply{Ask: ask.ID, From: ask.Server, Payload: answer})
	}
}
