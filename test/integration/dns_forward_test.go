package integration

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestDNSAnswersAreForwardedAndThenCached(t *testing.T) {
	e := newDNSLab(t, askAll)
	up := e.up.nameserver("10.2.0.2", answers(t, "www.example. 300 IN A 198.51.100.1", "www.example. 300 IN AAAA 2001:db8::1"))
	expect(t, e.dig("www.example"), "status: NOERROR", "198.51.100.1", "ra")
	expect(t, e.dig("WWW.eXample"), "status: NOERROR", "198.51.100.1", "WWW.eXample.") // in the asker's spelling
	expect(t, e.dig("+tcp", "www.example"), "198.51.100.1")
	expect(t, e.dig("+short", "www.example", "aaaa"), "2001:db8::1")
	if n := up.times("www.example.", "A"); n != 1 {
		t.Errorf("the upstream was asked %d times: %v", n, up.questions())
	}
	ttl := regexp.MustCompile(`www\.example\.\s+(\d+)\s+IN\s+A\s`)
	eventually(t, 10*time.Second, "the time to live to count down", func() error {
		out := e.dig("www.example")
		m := ttl.FindStringSubmatch(out)
		if m == nil {
			return fmt.Errorf("no time to live in:\n%s", out)
		}
		if n, _ := strconv.Atoi(m[1]); n >= 300 {
			return fmt.Errorf("it is %d", n)
		}
		return nil
	})
	row := e.r.rows("dns")[0]
	if row["cache_hits"].(float64) < 3 || row["queries_tcp"].(float64) != 1 {
		t.Errorf("show dns: %v", row)
	}
	// Forgotten, it is asked for anew.
	e.r.ctl("dns", "flush", "www.example")
	e.dig("www.example")
	if n := up.times("www.example.", "A"); n != 2 {
		t.Errorf("after the flush the upstream was asked %d times", n)
	}
}

func TestDNSLongAnswersAreTruncatedAndComeByTCP(t *testing.T) {
	e := newDNSLab(t, askAll)
	e.up.nameserver("10.2.0.2", answers(t, texts("long.example.", 4), texts("longer.example.", 7)))
	size := regexp.MustCompile(`MSG SIZE\s+rcvd: (\d+)`)
	for _, c := range []struct {
		name, edns string
		whole      bool
	}{
		{"long.example", "+noedns", false}, // 512 octets, RFC 1035
		{"long.example", "+bufsize=512", false},
		{"long.example", "+bufsize=1232", true},
		{"long.example", "+bufsize=100", false}, // less than 512 is 512, RFC 6891
		{"longer.example", "+bufsize=1232", false},
		{"longer.example", "+bufsize=4096", false}, // we send no fragments
	} {
		out := e.dig("+notcp", "+ignore", c.edns, c.name, "txt")
		n, _ := strconv.Atoi(size.FindStringSubmatch(out)[1])
		truncated := regexp.MustCompile(`flags: [^;]*\btc\b`).MatchString(out)
		if truncated == c.whole || n > 1232 || !c.whole && n > 512 && c.edns != "+bufsize=1232" && c.edns != "+bufsize=4096" {
			t.Errorf("%s %s: %d octets, truncated %v\n%s", c.name, c.edns, n, truncated, out)
		}
		// The client comes back by TCP, and has it whole.
		out = e.dig(c.edns, c.name, "txt")
		expect(t, out, "status: NOERROR", strings.Repeat("x", 200))
		if strings.Contains(out, "flags: qr tc") {
			t.Errorf("truncated by TCP:\n%s", out)
		}
	}
}

func TestDNSTruncatedAnswersOfTheUpstreamAreAskedForByTCP(t *testing.T) {
	e := newDNSLab(t, askAll)
	whole := answers(t, texts("long.example.", 4))
	up := e.up.nameserver("10.2.0.2", func(q *dns.Msg, tcp bool) *dns.Msg {
		a := whole(q, true)
		if !tcp {
			a.Answer, a.Truncated = nil, true
		}
		return a
	})
	out := e.dig("+notcp", "+ignore", "+bufsize=1232", "long.example", "txt")
	expect(t, out, "status: NOERROR", strings.Repeat("x", 200))
	asked := up.questions()
	if len(asked) != 2 || asked[0].tcp || !asked[1].tcp {
		t.Errorf("the upstream was asked %v", asked)
	}
}

func TestDNSAnswersOf64KBComeByTCP(t *testing.T) {
	e := newDNSLab(t, askAll)
	// 307 texts of 201 octets in records of 7: nearly all that the length of a message by TCP can say.
	var records []string
	for i := range 44 {
		records = append(records, strings.Replace(texts("huge.example.", 7), "xxxx", fmt.Sprintf("%04d", i), 1))
	}
	e.up.nameserver("10.2.0.2", answers(t, records...))
	out := e.dig("+notcp", "+ignore", "huge.example", "txt")
	expect(t, out, "flags: qr tc")
	out = e.dig("huge.example", "txt")
	expect(t, out, "status: NOERROR", "ANSWER: 44,", "0043")
}

func TestDNSNamesAndTypesThatDoNotExistAreAskedForOnce(t *testing.T) {
	e := newDNSLab(t, askAll)
	up := e.up.nameserver("10.2.0.2", answers(t, "www.example. 300 IN A 198.51.100.1"))
	for range 3 {
		expect(t, e.dig("nobody.example"), "status: NXDOMAIN", "SOA")
		expect(t, e.dig("www.example", "mx"), "status: NOERROR", "ANSWER: 0", "SOA")
	}
	expect(t, e.dig("nobody.example", "aaaa"), "status: NXDOMAIN")
	if a, b := up.times("nobody.example.", "A"), up.times("www.example.", "MX"); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times: %v", a, b, up.questions())
	}
}

func TestDNSTypesThatNobodyKnowsPass(t *testing.T) {
	e := newDNSLab(t, askAll)
	e.up.nameserver("10.2.0.2", answers(t, `odd.example. 300 IN TYPE65280 \# 5 0102030405`, "svc.example. 300 IN HTTPS 1 . alpn=h2"))
	for range 2 { // from the upstream, from the cache
		expect(t, e.dig("odd.example", "TYPE65280"), "status: NOERROR", `\# 5 0102030405`)
		expect(t, e.dig("svc.example", "HTTPS"), "status: NOERROR", "h2")
	}
}

func TestDNSADeadUpstreamIsPassedOverAndUsedAgainWhenItIsBack(t *testing.T) {
	e := newDNSLab(t, `
dns: {listen: lan, upstream: [10.2.0.2, 10.2.0.3], timeout: 300ms}
`)
	say := func(who string) script {
		return func(q *dns.Msg, _ bool) *dns.Msg {
			a := new(dns.Msg)
			a.SetReply(q)
			a.Answer = []dns.RR{mustRR(q.Question[0].Name + " 300 IN TXT " + who)}
			return a
		}
	}
	n := 0
	ask := func() string {
		n++
		return e.dig("+short", fmt.Sprintf("n%d.example", n), "txt")
	}
	first := e.up.nameserver("10.2.0.2", say("first"))
	second := e.up.nameserver("10.2.0.3", say("second"))
	expect(t, ask(), "")
	// One goes: the port is closed, which ICMP tells, and every name is still answered.
	first.stop()
	for range 5 {
		expect(t, ask(), "second")
	}
	// The other falls silent as well, while the first is back.
	e.up.nameserver("10.2.0.2", say("first"))
	e.up.shell("nft add table ip f; nft add chain ip f in '{ type filter hook input priority 0; }'; nft add rule ip f in ip daddr 10.2.0.3 drop")
	second.stop()
	eventually(t, 20*time.Second, "the upstream that is back to be asked", func() error { return contains(ask(), "first") })
	for range 5 {
		expect(t, ask(), "first")
	}
	// One that stays silent when it is tried again is told of.
	eventually(t, 20*time.Second, "the event of the upstream that is silent", func() error {
		ask()
		return contains(fmt.Sprint(e.r.rows("events")), "DNS server 10.2.0.3:53 does not answer")
	})
}

func TestDNSDomainsHaveUpstreamsOfTheirOwn(t *testing.T) {
	e := newDNSLab(t, `
dns:
  listen: lan
  upstream:
    - 10.2.0.2
    - {domain: corp.example, servers: 10.2.0.3}
    - {domain: gone.example, servers: none}
`)
	general := e.up.nameserver("10.2.0.2", answers(t, "www.example. 60 IN A 198.51.100.1", "pub.corp.example. 60 IN A 198.51.100.2"))
	corp := e.up.nameserver("10.2.0.3", answers(t, "git.corp.example. 60 IN A 198.51.100.3"))
	expect(t, e.dig("+short", "www.example"), "198.51.100.1")
	expect(t, e.dig("+short", "git.corp.example"), "198.51.100.3")
	expect(t, e.dig("pub.corp.example"), "status: NXDOMAIN")
	expect(t, e.dig("x.gone.example"), "status: NXDOMAIN")
	for _, q := range general.questions() {
		if strings.HasSuffix(q.name, "corp.example.") || strings.HasSuffix(q.name, "gone.example.") {
			t.Errorf("the general upstream was asked for %s", q.name)
		}
	}
	if n := len(corp.questions()); n != 2 {
		t.Errorf("the domain's upstream was asked %d times", n)
	}
}
