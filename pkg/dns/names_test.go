package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/packet"
)

func reservation(address, name string) Name {
	return Name{Source: "reservation " + address, Name: name, Addr: packet.AddrFrom(netip.MustParseAddr(address))}
}

func addrs(all ...string) (out []netip.Addr) {
	for _, a := range all {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// expectAll asks questions and compares the answers, twice: the second comes from the cache.
func (s *station) expectAll(want map[string]string) {
	s.t.Helper()
	for range 2 {
		for question, answer := range want {
			if got := s.answer(s.ask(question)); got != answer {
				s.t.Errorf("%s: got\n  %s\nexpected\n  %s", question, got, answer)
			}
		}
	}
	if len(s.open) != 0 {
		s.t.Errorf("%d questions went upstream", len(s.open))
	}
}

func records() Config {
	c := one()
	c.Records = []Record{
		{Name: "nas", Addresses: addrs("192.168.1.2", "fd00::2"), TTL: time.Hour},
		{Name: "files", CNAME: "nas"},
		{Name: "web.home.arpa.", CNAME: "files.home.arpa"},
		{Name: "a.b.c.home.arpa", TXT: []string{"hello", "world"}},
		{Name: "Ads.Example.com", Addresses: addrs("0.0.0.0")},
		{Name: "also-nas", Addresses: addrs("192.168.1.2")},
		{Name: "round1", CNAME: "round2"},
		{Name: "round2", CNAME: "round1"},
		{Name: "nobody", CNAME: "missing.home.arpa"},
		{Name: "www", CNAME: "www.example.net"},
	}
	return c
}

func TestRecordsAreAnswered(t *testing.T) {
	s := newStation(t, records())
	s.expectAll(map[string]string{
		"nas A":                        "NOERROR aa nas. A 192.168.1.2",
		"NAS.home.arpa A":              "NOERROR aa NAS.home.arpa. A 192.168.1.2",
		"nas AAAA":                     "NOERROR aa nas. AAAA fd00::2",
		"nas.home.arpa MX":             "NOERROR aa authority home.arpa. SOA 60",
		"also-nas ANY":                 "NOERROR aa also-nas. A 192.168.1.2",
		"files ANY":                    "NOERROR aa files. CNAME nas.home.arpa.",
		"files A":                      "NOERROR aa files. CNAME nas.home.arpa. nas.home.arpa. A 192.168.1.2",
		"files CNAME":                  "NOERROR aa files. CNAME nas.home.arpa.",
		"web.home.arpa AAAA":           "NOERROR aa web.home.arpa. CNAME files.home.arpa. files.home.arpa. CNAME nas.home.arpa. nas.home.arpa. AAAA fd00::2",
		"web.home.arpa MX":             "NOERROR aa web.home.arpa. CNAME files.home.arpa. files.home.arpa. CNAME nas.home.arpa. authority home.arpa. SOA 60",
		"nobody A":                     "NXDOMAIN aa nobody. CNAME missing.home.arpa. authority home.arpa. SOA 60",
		"a.b.c.home.arpa TXT":          `NOERROR aa a.b.c.home.arpa. TXT "hello" "world"`,
		"b.c.home.arpa TXT":            "NOERROR aa authority home.arpa. SOA 60",
		"c.home.arpa A":                "NOERROR aa authority home.arpa. SOA 60",
		"d.c.home.arpa A":              "NXDOMAIN aa authority home.arpa. SOA 60",
		"ads.example.com A":            "NOERROR aa ads.example.com. A 0.0.0.0",
		"ads.example.com AAAA":         "NOERROR aa authority ads.example.com. SOA 60",
		"home.arpa SOA":                "NOERROR aa home.arpa. SOA 60",
		"home.arpa A":                  "NOERROR aa authority home.arpa. SOA 60",
		"2.1.168.192.in-addr.arpa PTR": "NOERROR aa 2.1.168.192.in-addr.arpa. PTR nas.home.arpa.",
		"2.1.168.192.in-addr.arpa A":   "NOERROR aa authority 168.192.in-addr.arpa. SOA 60",
		"2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa PTR": "NOERROR aa 2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR nas.home.arpa.",
	})
	s.expect(s.ask("round1 A"), "SERVFAIL")
	s.refused(ReasonAliasLoop, 1)
	if ttl := s.message(s.ask("nas A")).Answer[0].Header().Ttl; ttl != 3600 {
		t.Errorf("the record's TTL is %d, expected its own of an hour", ttl)
	}
	s.after(time.Hour)
	if ttl := s.message(s.ask("nas A")).Answer[0].Header().Ttl; ttl != 3600 {
		t.Errorf("after an hour the record's TTL is %d: names here do not age", ttl)
	}
}

func TestAliasOfANameElsewhereIsFollowed(t *testing.T) {
	s := newStation(t, records())
	first := s.ask("WWW.home.arpa A edns 1232")
	if q := describeQuestion(t, s.only()); q != "www.example.net." {
		t.Fatalf("asked for %s", q)
	}
	s.replies(s.only(), 0, "www.example.net. 300 CNAME cdn.example.org.", "cdn.example.org. 300 A 192.0.2.1")
	want := "WWW.home.arpa. CNAME www.example.net. www.example.net. CNAME cdn.example.org. cdn.example.org. A 192.0.2.1"
	s.expect(first, "NOERROR "+want)
	s.after(100 * time.Second)
	again := s.ask("WWW.home.arpa A")
	s.expect(again, "NOERROR "+want)
	if m := s.message(again); m.Answer[0].Header().Ttl != 60 || m.Answer[1].Header().Ttl != 200 || m.Answer[2].Header().Ttl != 200 || m.Id != 4711 {
		t.Errorf("got %v", m)
	}
	s.expect(s.ask("www.example.net A"), "NOERROR www.example.net. CNAME cdn.example.org. cdn.example.org. A 192.0.2.1")

	c := s.ask("www.home.arpa AAAA")
	s.replies(s.only(), 3, "authority", "example.net. 300 SOA ns.example.net. root.example.net. 1 2 3 4 300")
	s.expect(c, "NXDOMAIN www.home.arpa. CNAME www.example.net. authority example.net. SOA 300")
}

func TestNamesOfLeasesWhereThereIsNoDomain(t *testing.T) {
	c := one()
	c.Domain = ""
	s := newStation(t, c)
	s.step(lease("192.168.1.5", "printer"))
	s.expectAll(map[string]string{
		"printer A":                    "NOERROR aa printer. A 192.168.1.5",
		"printer.home.arpa A":          "NXDOMAIN aa authority home.arpa. SOA 10800",
		"5.1.168.192.in-addr.arpa PTR": "NOERROR aa 5.1.168.192.in-addr.arpa. PTR printer.",
	})
}

func TestRecordsGoBeforeReservationsAndTheseBeforeLeases(t *testing.T) {
	s := newStation(t, one())
	s.step(lease("192.168.1.50", "printer"))
	s.step(lease("192.168.1.51", "PRINTER"))
	s.expect(s.ask("printer A"), "NOERROR aa printer. A 192.168.1.50")
	s.step(reservation("192.168.1.6", "printer"))
	s.expect(s.ask("printer A"), "NOERROR aa printer. A 192.168.1.6")
	s.step(lease("192.168.1.6", "thief"))
	s.expect(s.ask("6.1.168.192.in-addr.arpa PTR"), "NOERROR aa 6.1.168.192.in-addr.arpa. PTR printer.home.arpa.")
	c := one()
	c.Records = []Record{{Name: "printer", Addresses: addrs("192.168.1.7")}, {Name: "server", Addresses: addrs("192.168.1.6")}}
	s.step(Configure{c})
	s.expect(s.ask("printer A"), "NOERROR aa printer. A 192.168.1.7")
	s.expect(s.ask("6.1.168.192.in-addr.arpa PTR"), "NOERROR aa 6.1.168.192.in-addr.arpa. PTR server.home.arpa.")
	s.expect(s.ask("thief A"), "NOERROR aa thief. A 192.168.1.6")

	s.step(Configure{one()})
	s.step(Name{Source: "reservation 192.168.1.6"})
	s.expect(s.ask("printer A"), "NOERROR aa printer. A 192.168.1.50")
	s.step(Name{Source: "lease 192.168.1.50"})
	s.expect(s.ask("printer A"), "NOERROR aa printer. A 192.168.1.51")
	s.expect(s.ask("6.1.168.192.in-addr.arpa PTR"), "NOERROR aa 6.1.168.192.in-addr.arpa. PTR thief.home.arpa.")
	s.step(lease("192.168.1.51", "scanner"))
	s.expect(s.ask("printer A"), "NXDOMAIN aa")
	s.expect(s.ask("scanner A"), "NOERROR aa scanner. A 192.168.1.51")
}

func TestNamesAreListedWithTheirSources(t *testing.T) {
	c := one()
	c.Records = []Record{{Name: "nas", Addresses: addrs("192.168.1.2")}, {Name: "files", CNAME: "nas"}, {Name: "nas", TXT: []string{"x"}}}
	s := newStation(t, c)
	s.step(lease("192.168.1.50", "Printer"))
	s.step(lease("192.168.1.51", "printer"))
	var got []string
	for _, r := range s.names() {
		got = append(got, fmt.Sprint(r.Name, " ", r.Type, " ", r.Value, " ", r.Source, " ", r.Hidden))
	}
	want := []string{
		"files.home.arpa CNAME nas.home.arpa record false", "nas.home.arpa A 192.168.1.2 record false", "nas.home.arpa TXT x record false",
		"Printer.home.arpa A 192.168.1.50 lease 192.168.1.50 false", "printer.home.arpa A 192.168.1.51 lease 192.168.1.51 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.step(reservation("192.168.1.60", "tv"))
	s.step(lease("192.168.1.60", "tv")) // says nothing new
	s.step(lease("192.168.1.2", "nas"))
	s.step(lease("192.168.1.61", "nas"))
	if answered, hidden := s.m.NameCount(); answered != 5 || hidden != 2 || len(s.names()) != 7 {
		t.Errorf("%d rows are answered, %d hidden, %d listed", answered, hidden, len(s.names()))
	}
}

func TestHostsMayNotClaimEveryName(t *testing.T) {
	s := newStation(t, one())
	bad := []string{"wpad", "ISATAP", "localhost", "-a", "a-", "a b", "a.b", "ä", strings.Repeat("a", 64), "\x00"}
	for i, n := range bad {
		s.step(lease(fmt.Sprintf("192.168.1.%d", 10+i), n))
	}
	if rows := s.names(); len(rows) != 0 {
		t.Errorf("names: %v", rows)
	}
	s.refused(ReasonNameInvalid, uint64(len(bad)))
	s.step(lease("192.168.1.10", "my_host-1"))
	s.step(reservation("192.168.1.11", "wpad"))
	if rows := s.names(); len(rows) != 2 {
		t.Errorf("names: %v", rows)
	}
}

func TestAddressInTheClientsNetworkComesFirstAndOthersTakeTurns(t *testing.T) {
	c := one()
	c.Networks = []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("192.168.2.0/24")}
	c.Records = []Record{{Name: "nas", Addresses: addrs("192.168.2.9", "192.168.1.9", "192.168.3.9", "192.168.3.10")}}
	s := newStation(t, c)
	for from, want := range map[string]string{"192.168.1.100:5000": "192.168.1.9", "192.168.2.100:5000": "192.168.2.9"} {
		seen := map[string]bool{}
		for range 8 {
			m := s.message(s.sends(from, false, packed(t, message("nas A"))))
			if got := recordText(m.Answer[0]); got != "nas. A "+want || len(m.Answer) != 4 {
				t.Fatalf("to %s came %v", from, m.Answer)
			}
			seen[recordText(m.Answer[1])] = true
		}
		if len(seen) < 2 {
			t.Errorf("the other addresses do not take turns: %v", seen)
		}
	}
}

func TestNameThatAppearsIsAnsweredAtOnce(t *testing.T) {
	c := one()
	c.PrivateReverse = true
	s := newStation(t, c)
	s.expect(s.ask("printer A"), "NXDOMAIN aa")
	s.ask("5.1.168.192.in-addr.arpa PTR")
	s.replies(s.only(), 0, "5.1.168.192.in-addr.arpa. 300 PTR wrong.example.")
	s.ask("6.1.168.192.in-addr.arpa PTR")
	s.step(lease("192.168.1.5", "printer"))
	s.step(lease("192.168.1.6", "scanner"))
	s.replies(s.only(), 0, "6.1.168.192.in-addr.arpa. 300 PTR wrong.example.")
	s.expectAll(map[string]string{
		"printer A":                    "NOERROR aa printer. A 192.168.1.5",
		"5.1.168.192.in-addr.arpa PTR": "NOERROR aa 5.1.168.192.in-addr.arpa. PTR printer.home.arpa.",
		"6.1.168.192.in-addr.arpa PTR": "NOERROR aa 6.1.168.192.in-addr.arpa. PTR scanner.home.arpa.",
	})
}

func TestTenThousandNamesComeAndGo(t *testing.T) {
	s := newStation(t, one())
	name := func(i int) Name {
		return Name{Source: fmt.Sprint("lease ", i), Name: fmt.Sprint("host", i), Addr: packet.Addr(0x0a000000 + i)}
	}
	for i := range 10000 {
		s.step(name(i))
	}
	s.expect(s.ask("host4711.home.arpa A"), "NOERROR aa host4711.home.arpa. A 10.0.18.103")
	s.step(Configure{Config{Domain: "lan"}})
	s.expect(s.ask("host4711.lan A"), "NOERROR aa host4711.lan. A 10.0.18.103")
	for i := range 10000 {
		s.step(Name{Source: name(i).Source})
	}
	if n := &s.m.names; len(n.nodes) != 0 || len(n.reverse) != 0 || len(n.claims) != 0 {
		t.Fatalf("left are %d names, %d reverse names, %d claims", len(n.nodes), len(n.reverse), len(n.claims))
	}
	for i := range maxNames + 5 {
		s.step(name(i))
	}
	s.refused(ReasonNameLimit, 5)
}

func TestRouterHasItsOwnName(t *testing.T) {
	c := one()
	c.Router, c.RouterAddresses = "Gate", addrs("192.168.1.1", "192.168.2.1")
	c.Networks = []netip.Prefix{netip.MustParsePrefix("192.168.2.0/24"), netip.MustParsePrefix("192.168.1.0/24")}
	c.Records = []Record{{Name: "printers", Addresses: addrs("192.168.2.1")}}
	s := newStation(t, c)
	s.step(lease("192.168.1.50", "gate")) // a host that would be the router
	s.expectAll(map[string]string{
		"gate.home.arpa AAAA":          "NOERROR aa authority home.arpa. SOA 60",
		"1.1.168.192.in-addr.arpa PTR": "NOERROR aa 1.1.168.192.in-addr.arpa. PTR Gate.home.arpa.",
		"1.2.168.192.in-addr.arpa PTR": "NOERROR aa 1.2.168.192.in-addr.arpa. PTR printers.home.arpa.",
	})
	for _, name := range []string{"gate", "gate.home.arpa"} {
		s.expect(s.ask(name+" A"), "NOERROR aa "+name+". A 192.168.1.1 "+name+". A 192.168.2.1")
	}
	if r := s.names()[0]; r.Name != "Gate.home.arpa" || r.Source != "router" || r.Hidden {
		t.Errorf("listed is %+v", r)
	}
	c.Records = append(c.Records, Record{Name: "gate", Addresses: addrs("192.168.1.7")})
	s.step(Configure{c})
	s.expect(s.ask("gate A"), "NOERROR aa gate. A 192.168.1.7") // a record has the name whole
	for _, name := range []string{"localhost", "-x", "wpad", strings.Repeat("x", 64), ""} {
		c.Router = name
		s.step(Configure{c})
		if rows := s.names(); slices.ContainsFunc(rows, func(r NameRow) bool { return r.Source == "router" }) {
			t.Errorf("the router is called %q: %+v", name, rows)
		}
	}
}

func TestRouterHasItsOwnNameWithoutADomain(t *testing.T) {
	s := newStation(t, Config{Router: "gate", RouterAddresses: addrs("192.168.1.1")})
	s.expect(s.ask("gate A"), "NOERROR aa gate. A 192.168.1.1")
	s.expect(s.ask("1.1.168.192.in-addr.arpa PTR"), "NOERROR aa 1.1.168.192.in-addr.arpa. PTR gate.")
}
