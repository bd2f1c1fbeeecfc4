package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// records are static names.
const records = `
dns:
  listen: lan
  domain: home.arpa
  upstream: 10.2.0.2
  records:
    printer: 10.1.0.50
    nas: [10.1.0.60, 10.1.0.61]
    www.other.example: 198.51.100.77
    files: {cname: nas.home.arpa}
    note: {txt: "hello there"}
`

func TestDNSStaticRecordsAreAnsweredForwardAndReverse(t *testing.T) {
	e := newDNSLab(t, records)
	up := e.up.nameserver("10.2.0.2", answers(t))
	for _, name := range []string{"printer.home.arpa", "printer", "PRINTER.Home.Arpa"} {
		expect(t, e.dig(name), "status: NOERROR", "10.1.0.50")
	}
	expect(t, e.dig("+short", "nas.home.arpa"), "10.1.0.60", "10.1.0.61")
	expect(t, e.dig("+short", "files.home.arpa"), "nas.home.arpa.", "10.1.0.60")
	expect(t, e.dig("+short", "note.home.arpa", "txt"), "hello there")
	expect(t, e.dig("+short", "www.other.example"), "198.51.100.77")
	expect(t, e.dig("+short", "-x", "10.1.0.50"), "printer.home.arpa.")
	// There is no more of these names, and nobody else is asked for it.
	expect(t, e.dig("printer.home.arpa", "aaaa"), "status: NOERROR", "ANSWER: 0", "SOA")
	expect(t, e.dig("nobody.home.arpa"), "status: NXDOMAIN", "SOA")
	if q := up.questions(); len(q) != 0 {
		t.Errorf("the upstream was asked %v", q)
	}
}

func TestDNSPrivateReverseNamesAreNotAskedForElsewhere(t *testing.T) {
	e := newDNSLab(t, askAll)
	up := e.up.nameserver("10.2.0.2", answers(t, "7.100.9.9.in-addr.arpa. 60 IN PTR www.example."))
	for _, address := range []string{"10.1.0.77", "192.168.3.4", "172.20.1.1", "169.254.1.1", "127.0.0.1", "10.255.255.255"} {
		out := e.dig("-x", address)
		if !strings.Contains(out, "status: NXDOMAIN") && !strings.Contains(out, "localhost") {
			t.Errorf("%s:\n%s", address, out)
		}
	}
	for _, name := range []string{"localhost", "a.localhost", "x.invalid", "y.onion", "16.172.in-addr.arpa", "168.192.in-addr.arpa"} {
		e.dig(name)
	}
	if q := up.questions(); len(q) != 0 {
		t.Errorf("the upstream was asked %v", q)
	}
	expect(t, e.dig("+short", "-x", "9.9.100.7"), "www.example.")
}

func TestDNSProtectsAgainstRebinding(t *testing.T) {
	const protected = `
dns: {listen: lan, upstream: 10.2.0.2, rebind_protection: true, rebind_allow: [lab.example]}
`
	e := newDNSLab(t, protected)
	e.up.nameserver("10.2.0.2", answers(t, "evil.example. 60 IN A 192.168.1.1", "evil.example. 60 IN A 198.51.100.5",
		"in.lab.example. 60 IN A 192.168.1.2", "good.example. 60 IN A 198.51.100.1"))
	out := e.dig("evil.example")
	if strings.Contains(out, "192.168.1.1") {
		t.Errorf("a private address came from upstream:\n%s", out)
	}
	expect(t, e.dig("+short", "good.example"), "198.51.100.1")
	expect(t, e.dig("+short", "in.lab.example"), "192.168.1.2")
	e.reload(askAll)
	expect(t, e.dig("+short", "evil.example"), "192.168.1.1")
}

func TestDNSServesTheResolverOfTheCLibrary(t *testing.T) {
	e := newDNSLab(t, records)
	e.up.nameserver("10.2.0.2", answers(t, "www.example. 60 IN A 198.51.100.1", "www.example. 60 IN AAAA 2001:db8::1"))
	file := filepath.Join(e.dir, "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 10.1.0.1\nsearch home.arpa\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The machine's own resolv.conf stays as it is.
	getent := func(args ...string) string {
		return e.pc.run(append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec getent "$@"`, file}, args...)...)
	}
	expect(t, getent("ahostsv4", "www.example"), "198.51.100.1")
	expect(t, getent("-A", "ahosts", "www.example"), "198.51.100.1", "2001:db8::1") // A and AAAA at once, from one socket
	expect(t, getent("ahostsv4", "printer"), "10.1.0.50")
	expect(t, getent("hosts", "10.1.0.50"), "printer.home.arpa")
}

func TestDNSFollowsAChangedConfiguration(t *testing.T) {
	e := newDNSLab(t, askAll)
	e.up.nameserver("10.2.0.2", answers(t, "www.example. 300 IN A 198.51.100.1"))
	e.up.nameserver("10.2.0.3", answers(t, "www.example. 300 IN A 198.51.100.2"))
	expect(t, e.dig("+short", "www.example"), "198.51.100.1")
	e.reload("dns: {listen: lan, upstream: 10.2.0.3, records: {router.test: 10.1.0.1}}\n")
	expect(t, e.dig("+short", "www.example"), "198.51.100.2") // what the other server said is forgotten
	expect(t, e.dig("+short", "router.test"), "10.1.0.1")
	// Another port: the first one's hosts meet a closed port, by either transport.
	e.reload("dns: {listen: wan, upstream: 10.2.0.3}\n")
	e.pc.gets(refused, "udp4", "10.1.0.1:53")
	e.pc.gets(refused, "tcp4", "10.1.0.1:53")
	e.pc.gets(refused, "udp4", "10.2.0.1:53")
	e.pc.gets(refused, "tcp4", "10.2.0.1:53")
	expect(t, e.up.run("dig", "@10.2.0.1", "+short", "+time=10", "www.example"), "198.51.100.2")
	e.reload("")
	e.up.gets(refused, "udp4", "10.2.0.1:53")
	e.up.gets(refused, "tcp4", "10.2.0.1:53")
	e.reload(askAll)
	expect(t, e.dig("+tcp", "+short", "www.example"), "198.51.100.1")
	// A change that is none keeps the cache.
	e.up.shell("nft add table ip f; nft add chain ip f in '{ type filter hook input priority 0; }'; nft add rule ip f in drop")
	e.reload(strings.Replace(askAll, "{", "{cache: 5000, ", 1))
	expect(t, e.dig("+short", "www.example"), "198.51.100.1")
}

func TestDNSIsServedToInsideAndNotToOutside(t *testing.T) {
	e := newHome(t, policy{yaml: safeHome.yaml + "dns: {listen: lan, domain: home.arpa, upstream: 198.51.100.1, records: {router: 192.168.1.1}}\n"}, "p2")
	e.out.nameserver(server1, answers(t, "www.example. 60 IN A 198.51.100.9"))
	p2 := e.hosts["p2"]
	for _, address := range []string{"192.168.1.1"} {
		for _, transport := range []string{"+notcp", "+tcp"} {
			eventually(t, 20*time.Second, "an answer "+transport, func() error {
				out, _ := p2.try("dig", "@"+address, transport, "+short", "+time=2", "+tries=1", "www.example")
				return contains(out, "198.51.100.9")
			})
		}
	}
	for _, address := range []string{publicAddress, "192.168.1.1"} {
		e.out.gets(silent, "udp4", address+":53")
		e.out.gets(silent, "tcp4", address+":53")
	}
	// Without a firewall it is as closed as any port.
	e.r.write(homePorts + masquerade.yaml + "dns: {listen: lan, upstream: 198.51.100.1}\n")
	e.r.ctl("config", "apply", e.r.file)
	e.out.gets(refused, "udp4", "192.168.1.1:53")
	e.out.gets(refused, "tcp4", "192.168.1.1:53")
	expect(t, p2.run("dig", "@192.168.1.1", "+short", "+time=10", "www.example"), "198.51.100.9")
}

func TestDNSQuestionsUpstreamLeaveNoSessionsBehind(t *testing.T) {
	e := newHome(t, policy{yaml: safeHome.yaml + "dns: {listen: lan, upstream: 198.51.100.1}\n"}, "p2")
	e.out.nameserver(server1, func(q *dns.Msg, _ bool) *dns.Msg {
		a := new(dns.Msg)
		a.SetReply(q)
		a.Answer = []dns.RR{mustRR(q.Question[0].Name + " 60 IN A 198.51.100.9")}
		return a
	})
	for i := range 20 {
		out := e.hosts["p2"].run("dig", "@192.168.1.1", "+short", "+time=10", fmt.Sprintf("n%d.example", i))
		expect(t, out, "198.51.100.9")
	}
	left := 0
	for _, s := range e.r.rows("sessions") {
		if strings.Contains(fmt.Sprint(s), server1+":53") {
			left++
		}
	}
	if left > 0 {
		t.Errorf("%d sessions of questions that are answered: %v", left, e.r.rows("sessions"))
	}
}
