package integration

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// The tests of DNS stand between a host inside, which asks, and one outside, on which the servers are that the router asks.
//
//	pc 10.1.0.2 -- lan 10.1.0.1 [router] 10.2.0.1 wan -- 10.2.0.2 and 10.2.0.3 up

const dnsPorts = unlimited + `
ports:
  lan: {netns: {pc}, device: eth0, address: 10.1.0.1/24, host: {address: 10.1.0.2/24, gateway: 10.1.0.1}}
  wan: {netns: {up}, device: eth0, address: 10.2.0.1/24, host: {address: 10.2.0.2/24}}
`

// askAll sends all questions to the first server.
const askAll = `
dns: {listen: lan, domain: home.arpa, upstream: 10.2.0.2}
`

// dnsLab is that network.
type dnsLab struct {
	*lab
	r  *router
	pc *host
	up *host
}

func newDNSLab(t *testing.T, yaml string) *dnsLab {
	t.Helper()
	return raiseDNSLab(newLab(t, "pc", "up"), yaml)
}

// newUnwatchedDNSLab is for tests of many packets.
func newUnwatchedDNSLab(t *testing.T, yaml string) *dnsLab {
	t.Helper()
	return raiseDNSLab(newUnwatchedLab(t, "pc", "up"), yaml)
}

func raiseDNSLab(l *lab, yaml string) *dnsLab {
	l.t.Helper()
	e := &dnsLab{lab: l, pc: l.hosts["pc"], up: l.hosts["up"]}
	e.r = l.router("r1", dnsPorts+yaml)
	e.up.ip("addr", "add", "10.2.0.3/24", "dev", "eth0")
	return e
}

// dig asks the router for a name and returns what dig says.
func (e *dnsLab) dig(args ...string) string {
	e.t.Helper()
	return e.pc.run(append([]string{"dig", "@10.1.0.1", "+time=10", "+tries=1"}, args...)...)
}

// reload gives the router another section of DNS.
func (e *dnsLab) reload(yaml string) {
	e.t.Helper()
	e.r.write(dnsPorts + yaml)
	e.r.ctl("config", "apply", e.r.file)
}

// nameserver is a server whose answers a test scripts.
type nameserver struct {
	mu    sync.Mutex
	asked []question
	stop  func()
}

type question struct {
	name, kind string // in lower case; such as AAAA
	tcp        bool
	from       netip.AddrPort
	id         uint16
}

// script answers a question: nil is silence.
type script func(q *dns.Msg, tcp bool) *dns.Msg

// nameserver serves at an address of the host, port 53, by UDP and TCP, until the test ends or stop is called.
func (h *host) nameserver(address string, answer script) *nameserver {
	h.lab.t.Helper()
	n := &nameserver{}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		tcp := w.RemoteAddr().Network() == "tcp"
		from, _ := netip.ParseAddrPort(w.RemoteAddr().String())
		one := question{name: strings.ToLower(q.Question[0].Name), kind: dns.Type(q.Question[0].Qtype).String(), tcp: tcp, from: from, id: q.Id}
		n.mu.Lock()
		n.asked = append(n.asked, one)
		n.mu.Unlock()
		if a := answer(q, tcp); a != nil {
			w.WriteMsg(a)
		}
	})
	byUDP := &dns.Server{PacketConn: h.listenUDP(address + ":53"), Handler: handler, UDPSize: 65535}
	byTCP := &dns.Server{Listener: h.listenTCP(address + ":53"), Handler: handler}
	for _, s := range []*dns.Server{byUDP, byTCP} {
		begun := make(chan struct{})
		s.NotifyStartedFunc = func() { close(begun) }
		go s.ActivateAndServe()
		<-begun
	}
	n.stop = sync.OnceFunc(func() { byUDP.Shutdown(); byTCP.Shutdown() })
	h.lab.t.Cleanup(n.stop)
	return n
}

// times is how often a name was asked for, of any type when kind is "".
func (n *nameserver) times(name, kind string) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, q := range n.asked {
		if q.name == name && (kind == "" || q.kind == kind) {
			count++
		}
	}
	return count
}

// questions are all that were asked so far.
func (n *nameserver) questions() []question {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]question(nil), n.asked...)
}

// answers is a script that answers with records as zone files write them, by name and type; other names do not exist.
func answers(t *testing.T, records ...string) script {
	t.Helper()
	known := map[string][]dns.RR{}
	names := map[string]bool{}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatalf("record %q: %v", text, err)
		}
		name := strings.ToLower(rr.Header().Name)
		key := name + " " + dns.Type(rr.Header().Rrtype).String()
		known[key] = append(known[key], rr)
		names[name] = true
	}
	return func(q *dns.Msg, tcp bool) *dns.Msg {
		a := new(dns.Msg)
		a.SetReply(q)
		a.RecursionAvailable = true
		name := strings.ToLower(q.Question[0].Name)
		a.Answer = known[name+" "+dns.Type(q.Question[0].Qtype).String()]
		if len(a.Answer) == 0 {
			if !names[name] {
				a.Rcode = dns.RcodeNameError
			}
			a.Ns = []dns.RR{mustRR("example. 300 IN SOA ns.example. root.example. 1 7200 3600 86400 120")}
		}
		if size := limitOf(q); !tcp {
			a.Truncate(size)
		}
		return a
	}
}

// limitOf is how large an answer by UDP may be.
func limitOf(q *dns.Msg) int {
	if o := q.IsEdns0(); o != nil {
		return int(o.UDPSize())
	}
	return dns.MinMsgSize
}

func mustRR(text string) dns.RR {
	rr, err := dns.NewRR(text)
	if err != nil {
		panic(fmt.Sprintf("record %q: %v", text, err))
	}
	return rr
}

// texts is a record of n texts of 200 octets each.
func texts(name string, n int) string {
	return name + " 300 IN TXT " + strings.TrimSpace(strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, n))
}
