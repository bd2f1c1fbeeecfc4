package dns

import (
	"fmt"
	"testing"
	"time"
)

// lives asks, has it answered, and tells for how many seconds the answer is kept.
func lives(t *testing.T, c Config, question string, code int, records ...string) int {
	t.Helper()
	s := newStation(t, c)
	s.ask(question)
	s.replies(s.only(), code, records...)
	rows := s.kept("")
	if len(rows) == 0 {
		return 0
	}
	return int(rows[0].TTL / time.Second)
}

func TestAnswersAreKeptAsLongAsTheySay(t *testing.T) {
	const soa = "example.com. 3600 SOA ns.example.com. root.example.com. 1 2 3 4 "
	for _, c := range []struct {
		what    string
		code    int
		records []string
		want    int
	}{
		{"an answer", 0, []string{"www.example.com. 300 A 192.0.2.1"}, 300},
		{"the shortest of several", 0, []string{"www.example.com. 300 A 192.0.2.1", "www.example.com. 200 A 192.0.2.2"}, 200},
		{"authority counts", 0, []string{"www.example.com. 300 A 192.0.2.1", "authority", "example.com. 100 NS ns.example.com."}, 100},
		{"additional does not", 0, []string{"www.example.com. 300 A 192.0.2.1", "additional", "ns.example.com. 10 A 192.0.2.3"}, 300},
		{"TTL 0", 0, []string{"www.example.com. 0 A 192.0.2.1"}, 0},
		{"more than a day", 0, []string{"www.example.com. 604800 A 192.0.2.1"}, 86400},
		{"more than any", 0, []string{"www.example.com. 2147483648 A 192.0.2.1"}, 0},
		{"no such name", 3, []string{"authority", soa + "900"}, 900},
		{"no such name, TTL of the SOA", 3, []string{"authority", soa + "7200"}, 3600},
		{"no such name, for days", 3, []string{"authority", "example.com. 864000 SOA ns.example.com. root.example.com. 1 2 3 4 864000"}, 10800},
		{"no such name, not for how long", 3, nil, 0},
		{"no such type", 0, []string{"authority", soa + "60"}, 60},
		{"no such type, not for how long", 0, nil, 0},
		{"an alias of no such type", 0, []string{"www.example.com. 30 CNAME x.example.com.", "authority", soa + "60"}, 30},
		{"an alias of no such name", 3, []string{"www.example.com. 300 CNAME x.example.com.", "authority", soa + "60"}, 60},
		{"an alias that leads nowhere", 0, []string{"www.example.com. 300 CNAME x.example.com."}, 0},
		{"a failure", 2, nil, 5},
		{"a refusal", 5, nil, 5},
	} {
		t.Run(c.what, func(t *testing.T) {
			if got := lives(t, one(), "www.example.com A", c.code, c.records...); got != c.want {
				t.Errorf("kept for %d s, expected %d", got, c.want)
			}
		})
	}
}

func TestBoundsOfTTLsAreConfigured(t *testing.T) {
	c := one()
	c.MinTTL, c.MaxTTL = 30*time.Second, 10*time.Minute
	for ttl, want := range map[int]int{0: 30, 29: 30, 300: 300, 3600: 600} {
		if got := lives(t, c, "www.example.com A", 0, fmt.Sprintf("www.example.com. %d A 192.0.2.1", ttl)); got != want {
			t.Errorf("an answer for %d s is kept for %d s, expected %d", ttl, got, want)
		}
	}
}

func TestThatThereIsNothingIsAnsweredFromTheCache(t *testing.T) {
	s := newStation(t, one())
	s.ask("nobody.example.com A")
	s.replies(s.only(), 3, "authority", "example.com. 3600 SOA ns.example.com. root.example.com. 1 2 3 4 900")
	s.after(100 * time.Second)
	c := s.ask("nobody.example.com A")
	s.expect(c, "NXDOMAIN authority example.com. SOA 900")
	if ttl := s.message(c).Ns[0].Header().Ttl; ttl != 800 {
		t.Errorf("the SOA's TTL is %d, expected 800", ttl)
	}
	s.silent(s.ask("nobody.example.com AAAA"))
}

func TestFailureIsRememberedAMoment(t *testing.T) {
	s := newStation(t, one())
	s.ask("broken.example.com A")
	s.replies(s.only(), 2)
	s.expect(s.ask("broken.example.com A"), "SERVFAIL")
	s.after(5 * time.Second)
	s.silent(s.ask("broken.example.com A"))
}

func TestCacheHoldsItsBoundsAndForgetsWhatIsLeastUsed(t *testing.T) {
	c := one()
	c.CacheSize, c.CacheOctets = 10, 20*(entryCost+64)
	s := newStation(t, c)
	put := func(i int) {
		s.ask(fmt.Sprintf("h%d.example.com A", i))
		if len(s.asks()) == 1 {
			s.replies(s.only(), 0, fmt.Sprintf("h%d.example.com. 300 A 192.0.2.1", i))
		}
	}
	for i := range 10 {
		put(i)
	}
	s.ask("h0.example.com A")
	for i := range 5 {
		put(10 + i)
	}
	if st := s.m.CacheStats(); st.Entries != 10 || st.Evicted != 5 || st.Kept != 15 {
		t.Fatalf("cache: %+v", st)
	}
	s.expect(s.ask("h0.example.com A"), "NOERROR h0.example.com. A 192.0.2.1")
	s.silent(s.ask("h1.example.com A"))

	s.ask("big.example.com TXT")
	records := []string{}
	for i := range 60 {
		records = append(records, fmt.Sprintf(`big.example.com. 300 TXT "%060d"`, i))
	}
	s.replies(s.asks()[1], 0, records...)
	if st := s.m.CacheStats(); st.Octets > c.CacheOctets || st.Entries > 7 {
		t.Fatalf("cache: %+v", st)
	}
	c.CacheSize, c.CacheOctets = 1, 1000
	s.step(Configure{c})
	if st := s.m.CacheStats(); st.Octets > 1000 || st.Entries > 1 {
		t.Fatalf("cache: %+v", st)
	}
}

func TestOneNameDoesNotFillTheCache(t *testing.T) {
	s := newStation(t, one())
	for i := range 100 {
		s.ask(fmt.Sprintf("www.example.com TYPE%d", 1000+i))
		s.replies(s.only(), 0, fmt.Sprintf(`www.example.com. 300 TYPE%d \# 1 00`, 1000+i))
	}
	if st := s.m.CacheStats(); st.Entries != maxPerName {
		t.Fatalf("cache: %+v", st)
	}
}

func TestFlushForgetsOneNameOrAll(t *testing.T) {
	s := newStation(t, one())
	for _, n := range []string{"a", "b", "c"} {
		s.ask(n + ".example.com A")
		s.replies(s.only(), 0, n+".example.com. 300 A 192.0.2.1")
	}
	flush := func(name string, want int) {
		t.Helper()
		if got := s.m.Step(s.now, Flush{name}); len(got) != 1 || got[0] != (Flushed{want}) {
			t.Fatalf("flushing %q: %v, expected %d", name, got, want)
		}
	}
	flush("A.example.com", 1)
	flush("nobody.example.com", 0)
	flush("..", 0)
	flush("", 2)
	if st := s.m.CacheStats(); st.Entries != 0 || st.Octets != 0 {
		t.Fatalf("cache: %+v", st)
	}
}

func TestConfigurationThatDecidesAboutAnswersEmptiesTheCache(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(*Config)
		want   int
	}{
		{"nothing", func(*Config) {}, 1},
		{"limits", func(c *Config) { c.MaxQueries, c.Timeout = 7, time.Second }, 1},
		{"upstreams", func(c *Config) { c.Upstreams = two().Upstreams }, 0},
		{"domain", func(c *Config) { c.Domain = "lan" }, 0},
		{"records", func(c *Config) { c.Records = []Record{{Name: "www.example.com"}} }, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := newStation(t, one())
			s.ask("www.example.com A")
			s.replies(s.only(), 0, "www.example.com. 300 A 192.0.2.1")
			late := s.ask("late.example.com A")
			cfg := one()
			c.change(&cfg)
			s.step(Configure{cfg})
			if st := s.m.CacheStats(); st.Entries != c.want {
				t.Fatalf("%d answers are kept, expected %d", st.Entries, c.want)
			}
			s.replies(s.only(), 0, "late.example.com. 300 A 192.0.2.1")
			s.expect(late, "NOERROR late.example.com. A 192.0.2.1")
			if st := s.m.CacheStats(); st.Entries != 2*c.want {
				t.Fatalf("%d answers are kept, expected %d: what was asked before the change is not kept", st.Entries, 2*c.want)
			}
		})
	}
}

func TestNamesThatNobodyHasDisplaceNoAnswers(t *testing.T) {
	c := records()
	c.CacheSize = 10
	s := newStation(t, c)
	for i := range 10 {
		s.ask(fmt.Sprintf("w%d.example.com A", i))
		s.replies(s.only(), 0, fmt.Sprintf("w%d.example.com. 300 A 192.0.2.1", i))
	}
	for i := range 100 {
		s.ask(fmt.Sprintf("nobody%d.home.arpa A", i))
		s.ask(fmt.Sprintf("%d.0.168.192.in-addr.arpa PTR", i))
	}
	if stats := s.m.CacheStats(); len(s.kept("")) != 10 || stats.Evicted != 0 {
		t.Errorf("%d answers are left, %d were displaced", len(s.kept("")), stats.Evicted)
	}
	s.ask("ads.example.com A")
	if stats := s.m.CacheStats(); stats.Evicted != 1 {
		t.Errorf("a name that somebody has is worth a place: %d were displaced", stats.Evicted)
	}
}
