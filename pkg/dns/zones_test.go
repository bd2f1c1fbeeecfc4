package dns

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSpecialNamesAreAnsweredHere(t *testing.T) {
	s := newStation(t, one())
	s.expectAll(map[string]string{
		"localhost A":                "NOERROR aa localhost. A 127.0.0.1",
		"a.LOCALHOST AAAA":           "NOERROR aa a.LOCALHOST. AAAA ::1",
		"localhost MX":               "NOERROR aa authority localhost. SOA 10800",
		"1.0.0.127.in-addr.arpa PTR": "NOERROR aa 1.0.0.127.in-addr.arpa. PTR localhost.",
		"2.0.0.127.in-addr.arpa PTR": "NXDOMAIN aa authority 127.in-addr.arpa. SOA 60",
		"x.invalid A":                "NXDOMAIN aa authority invalid. SOA 10800",
		"abc.onion A":                "NXDOMAIN aa authority onion. SOA 10800",
		"printer.local A":            "NXDOMAIN aa authority local. SOA 10800",
		"x.test A":                   "NXDOMAIN aa authority test. SOA 10800",
		"_dns.resolver.arpa SVCB":    "NOERROR aa authority resolver.arpa. SOA 10800",
		"1." + strings.Repeat("0.", 31) + "ip6.arpa PTR": "NOERROR aa 1." + strings.Repeat("0.", 31) + "ip6.arpa. PTR localhost.",
	})
}

func TestPrivateReverseLookupsAreNotLeaked(t *testing.T) {
	s := newStation(t, one())
	for _, a := range []string{
		"10.1.2.3", "172.16.0.1", "172.31.255.1", "192.168.77.1", "169.254.1.1", "0.1.2.3", "127.1.2.3", "100.64.0.1", "100.127.1.1",
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "255.255.255.255", "fd12::1", "fe80::1", "fea0::1", "::", "2001:db8::1",
	} {
		name := reverseName(a)
		if got := s.answer(s.ask(name + " PTR")); !strings.HasPrefix(got, "NXDOMAIN aa authority ") {
			t.Errorf("%s: %s", name, got)
		}
	}
	s.refused(ReasonPrivateReverse, 18)
	s.expectAll(map[string]string{
		"1.168.192.in-addr.arpa SOA":                   "NOERROR aa authority 168.192.in-addr.arpa. SOA 60",
		"168.192.in-addr.arpa SOA":                     "NOERROR aa 168.192.in-addr.arpa. SOA 60",
		"168.192.in-addr.arpa NS":                      "NOERROR aa authority 168.192.in-addr.arpa. SOA 60",
		"lb._dns-sd._udp.0.1.168.192.in-addr.arpa PTR": "NXDOMAIN aa authority 168.192.in-addr.arpa. SOA 60",
	})
	for _, a := range []string{"9.9.9.9", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "192.167.1.1", "2620:fe::9"} {
		s.silent(s.ask(reverseName(a) + " PTR"))
	}
	if len(s.open) != 7 {
		t.Errorf("%d public addresses were asked for, expected 7", len(s.open))
	}
	c := one()
	c.PrivateReverse = true
	s = newStation(t, c)
	s.silent(s.ask("3.2.1.10.in-addr.arpa PTR"))
	s.only()
}

func reverseName(a string) string {
	addr := netip.MustParseAddr(a)
	name := "in-addr.arpa"
	for i, b := range addr.AsSlice() {
		const hex = "0123456789abcdef"
		if addr.Is6() {
			if i == 0 {
				name = "ip6.arpa"
			}
			name = string(hex[b&15]) + "." + string(hex[b>>4]) + "." + name
			continue
		}
		name = netip.AddrFrom4([4]byte{0, 0, 0, b}).String()[6:] + "." + name
	}
	return name
}

func TestNamesOfTheDomainAndBareNamesAreNotLeaked(t *testing.T) {
	s := newStation(t, one())
	for _, q := range []string{"nobody A", "nobody AAAA", "nobody HTTPS", "nobody MX", "nobody ANY", "nobody.home.arpa A", "x.y.home.arpa TXT", "_ldap._tcp.home.arpa SRV"} {
		if got := s.answer(s.ask(q)); !strings.HasPrefix(got, "NXDOMAIN aa") {
			t.Errorf("%s: %s", q, got)
		}
	}
	s.refused(ReasonBareName, 5)
	s.refused(ReasonLocalDomain, 3)
	for _, q := range []string{"com NS", "com DS", "com DNSKEY", "com SOA", ". NS", ". DNSKEY"} { // whoever validates needs these
		s.silent(s.ask(q))
	}
}

func TestUpstreamOfADomainGoesBeforeSpecialNames(t *testing.T) {
	c := one()
	for _, d := range []string{"test", "local", "168.192.in-addr.arpa", "lan", "sub.home.arpa", "home.arpa"} {
		c.Upstreams = append(c.Upstreams, Upstream{Domain: d, Servers: []netip.AddrPort{at("10.0.0.2:53")}})
	}
	for _, q := range []string{"x.test A", "test A", "printer.local A", "9.1.168.192.in-addr.arpa PTR", "lan A", "x.sub.home.arpa A"} {
		s := newStation(t, c)
		s.ask(q)
		if got := s.only().Server; got != at("10.0.0.2:53") {
			t.Errorf("%s is asked of %v", q, got)
		}
	}
	s := newStation(t, c)
	s.expect(s.ask("x.home.arpa A"), "NXDOMAIN aa authority home.arpa. SOA 60") // the router's own domain is never asked for
	s.expect(s.ask("1.1.10.in-addr.arpa PTR"), "NOERROR aa authority 10.in-addr.arpa. SOA 60")
}

func TestPrivateAddressesFromUpstreamAreRefused(t *testing.T) {
	c := one()
	c.RebindProtection, c.RebindAllow = true, []string{"Plex.direct"}
	c.Upstreams = append(c.Upstreams, Upstream{Domain: "corp.example", Servers: []netip.AddrPort{at("10.0.0.2:53")}})
	for _, r := range []string{
		"A 10.1.2.3", "A 172.20.1.1", "A 192.168.1.1", "A 127.0.0.1", "A 169.254.1.1", "A 0.0.0.0", "A 0.1.2.3", "A 100.64.1.1", "A 255.255.255.255",
		"AAAA ::1", "AAAA ::", "AAAA fd00::1", "AAAA fe80::1", "AAAA ::ffff:192.168.1.1", "AAAA 64:ff9b::c0a8:101", "AAAA ::192.168.1.1",
		"HTTPS 1 . ipv4hint=192.0.2.1,192.168.1.1", "HTTPS 1 . ipv6hint=fd00::1", "SVCB 1 . ipv4hint=127.0.0.1",
	} {
		rtype := strings.Fields(r)[0]
		s := newStation(t, c)
		q := s.ask("evil.example.com " + rtype)
		s.replies(s.only(), 0, "evil.example.com. 300 CNAME x.example.com.", "x.example.com. 300 "+r)
		if got := s.answer(q); got != "REFUSED" || s.m.Counters().Refused[ReasonReplyRebind] != 1 {
			t.Errorf("%s: %s", r, got)
		}
		s.expect(s.ask("evil.example.com "+rtype), "REFUSED")
		if len(s.open) != 0 {
			t.Error("the refused question was asked again")
		}
		for _, name := range []string{"a-b.plex.direct", "www.corp.example"} {
			q = s.ask(name + " " + rtype)
			s.replies(s.only(), 0, name+". 300 "+r)
			if got := s.answer(q); !strings.HasPrefix(got, "NOERROR "+name) {
				t.Errorf("%s %s: %s", name, r, got)
			}
		}
	}
	for _, r := range []string{"A 192.0.2.1", "AAAA 2001:db8::1", "AAAA ::ffff:192.0.2.1", "HTTPS 1 . ipv4hint=192.0.2.1", "AAAA 64:ff9b::c000:201"} {
		s := newStation(t, c)
		q := s.ask("www.example.com " + strings.Fields(r)[0])
		s.replies(s.only(), 0, "www.example.com. 300 "+r)
		if got := s.answer(q); !strings.HasPrefix(got, "NOERROR www") {
			t.Errorf("%s: %s", r, got)
		}
	}
	s := newStation(t, one())
	q := s.ask("www.example.com A")
	s.replies(s.only(), 0, "www.example.com. 300 A 192.168.1.1")
	s.expect(q, "NOERROR www.example.com. A 192.168.1.1")
}
