package router

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/internal/simhost"
)

// resolving is a router that answers the hosts of lan1 and asks the host of lan2.
const resolving = two + `dns: {listen: lan1, upstream: 10.2.0.2, records: {here.lab: 10.1.0.7}, timeout: 5s, max_queries: 100, max_per_client: 60}
`

// upstream is a server on a simulated host that answers when the test lets it.
type upstream struct {
	mu    sync.Mutex
	asked []netip.AddrPort
	hold  map[string]chan struct{} // names whose answers wait
}

// upstreamAt serves on a host, by UDP: each name has the address 198.51.100.1.
func upstreamAt(t *testing.T, h *simhost.Host) *upstream {
	t.Helper()
	c, err := h.ListenUDP(dnsPort)
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{hold: map[string]chan struct{}{}}
	done, answering := make(chan struct{}), sync.WaitGroup{}
	t.Cleanup(func() {
		for _, wait := range u.hold {
			select {
			case <-wait:
			default:
				close(wait)
			}
		}
		c.Close()
		<-done
		answering.Wait()
	})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			q := new(mdns.Msg)
			if q.Unpack(b[:n]) != nil {
				continue
			}
			u.mu.Lock()
			u.asked = append(u.asked, netip.MustParseAddrPort(from.String()))
			wait := u.hold[q.Question[0].Name]
			u.mu.Unlock()
			answering.Go(func() {
				if wait != nil {
					<-wait
				}
				a := new(mdns.Msg)
				a.SetReply(q)
				rr, _ := mdns.NewRR(q.Question[0].Name + " 60 IN A 198.51.100.1")
				a.Answer = append(a.Answer, rr)
				out, _ := a.Pack()
				c.WriteTo(out, from)
			})
		}
	}()
	return u
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.asked)
}

// holds lets the answers about names wait; the function lets them go.
func (u *upstream) holds(names ...string) (release func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	wait := make(chan struct{})
	for _, name := range names {
		u.hold[name] = wait
	}
	return sync.OnceFunc(func() { close(wait) })
}

// packed is a question for an address.
func packed(id uint16, name string) []byte {
	q := new(mdns.Msg)
	q.SetQuestion(name, mdns.TypeA)
	q.Id = id
	b, _ := q.Pack()
	return b
}

func framed(messages ...[]byte) (b []byte) {
	for _, m := range messages {
		b = binary.BigEndian.AppendUint16(b, uint16(len(m)))
		b = append(b, m...)
	}
	return b
}

// answer reads a message of a connection.
func answer(t *testing.T, c net.Conn) *mdns.Msg {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	b, err := readDNSMessage(c)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	m := new(mdns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	return m
}

// asks sends a question by UDP until it is answered.
func (l *lab) asks(from *simhost.Host, server, name string) *mdns.Msg {
	l.t.Helper()
	c, err := from.DialUDP(netip.MustParseAddrPort(server))
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 4096)
	for range 20 {
		c.Write(packed(77, name))
		c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(b); err == nil {
			m := new(mdns.Msg)
			if err := m.Unpack(b[:n]); err != nil || m.Id != 77 {
				l.t.Fatalf("%v: %v", err, m)
			}
			return m
		}
	}
	l.t.Fatalf("%s does not answer about %s", server, name)
	return nil
}

func TestDNSPipelinedQuestionsAreAnsweredAsAnswersCome(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	release := upstreamAt(t, l.host("lan2")).holds("slow.example.")
	c := dialTCP(t, l.host("lan1"), "10.1.0.1:53")
	c.Write(framed(packed(1, "slow.example."), packed(2, "here.lab."), packed(3, "quick.example."))) // in one segment
	for range 2 {
		if m := answer(t, c); m.Id != 2 && m.Id != 3 || len(m.Answer) != 1 {
			t.Errorf("first came %v", m)
		}
	}
	release()
	if m := answer(t, c); m.Id != 1 || len(m.Answer) != 1 {
		t.Errorf("last came %v", m)
	}
	// And a message may come in pieces.
	whole := framed(packed(4, "here.lab."))
	for i := range whole {
		c.Write(whole[i : i+1])
	}
	if m := answer(t, c); m.Id != 4 {
		t.Errorf("it answers %v", m)
	}
}

func TestDNSMoreQuestionsThanAConnectionMayHaveWaitTheirTurn(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	upstreamAt(t, l.host("lan2"))
	c := dialTCP(t, l.host("lan1"), "10.1.0.1:53")
	const n = 5 * maxDNSPipelined
	go func() {
		for i := range uint16(n) {
			c.Write(framed(packed(i, "here.lab.")))
		}
	}()
	seen := map[uint16]bool{}
	for range n {
		seen[answer(t, c).Id] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d questions were answered", len(seen), n)
	}
}

func TestDNSClientThatClosesItsSideGetsWhatItAskedFor(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	release := upstreamAt(t, l.host("lan2")).holds("slow.example.")
	c := dialTCP(t, l.host("lan1"), "10.1.0.1:53")
	c.Write(framed(packed(1, "slow.example."), packed(2, "here.lab.")))
	c.(interface{ CloseWrite() error }).CloseWrite()
	if m := answer(t, c); m.Id != 2 {
		t.Errorf("first came %v", m)
	}
	release()
	if m := answer(t, c); m.Id != 1 {
		t.Errorf("then came %v", m)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the router did not close its side: %v", err)
	}
}

func TestDNSConnectionThatIsSilentIsClosed(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	l.do(func() { l.dns.idle = 100 * time.Millisecond })
	for name, said := range map[string][]byte{
		"nothing": nil, "half a length": {0}, "half a message": framed(packed(1, "here.lab."))[:9], "no message": {0, 0}, "junk": {0, 3, 1, 2, 3},
	} {
		c := dialTCP(t, l.host("lan1"), "10.1.0.1:53")
		c.Write(said)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "timeout") {
			t.Errorf("%s: the connection is open still: %v", name, err)
		}
	}
	eventually(t, "the connections are forgotten", func() bool { return l.DNS()[0].Connections == 0 })
}

func TestDNSConnectionsAreBounded(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	open := func() net.Conn { return dialTCP(t, l.host("lan1"), "10.1.0.1:53") }
	alive := func(c net.Conn) bool {
		c.Write(framed(packed(1, "here.lab.")))
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := readDNSMessage(c)
		return err == nil
	}
	var all []net.Conn
	for range maxDNSStreamsPerClient {
		c := open()
		if all = append(all, c); !alive(c) {
			t.Fatal("a connection within the bound was closed")
		}
	}
	if alive(open()) {
		t.Error("one more than a client may have was served")
	}
	if l.dropped("dns_connections_of_client") != 1 {
		t.Errorf("counted: %d", l.dropped("dns_connections_of_client"))
	}
	all[0].Close()
	eventually(t, "there is room again", func() bool { return l.DNS()[0].Connections < maxDNSStreamsPerClient })
	if !alive(open()) {
		t.Error("there is no room though one has closed")
	}
	l.do(func() { // as if others had the rest
		for range maxDNSStreams {
			l.dns.streams[&dnsStream{}] = struct{}{}
		}
	})
	all[1].Close()
	if alive(open()) || l.dropped("dns_connections") != 1 {
		t.Errorf("one more than there may be in all was served; %d counted", l.dropped("dns_connections"))
	}
	l.do(func() {
		for s := range l.dns.streams {
			if s.conn == nil {
				delete(l.dns.streams, s)
			}
		}
	})
}

func TestDNSClientsThatGoLeaveNothingBehind(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	up := upstreamAt(t, l.host("lan2"))
	release := up.holds("a.example.", "b.example.")
	l.do(func() { l.dns.idle = 100 * time.Millisecond }) // so long it is waited for answers to who may have closed one side only
	for range 3 {
		c := dialTCP(t, l.host("lan1"), "10.1.0.1:53")
		c.Write(framed(packed(1, "a.example."), packed(2, "b.example.")))
		eventually(t, "the questions are on their way", func() bool { return up.count() >= 2 })
		c.Close()
	}
	empty := func() (ok bool) {
		l.do(func() { ok = len(l.dns.waiting) == 0 && len(l.dns.streams) == 0 && len(l.dns.clients) == 0 })
		return ok
	}
	eventually(t, "nobody waits any more", empty)
	release()
	eventually(t, "no question has a socket", func() (ok bool) {
		l.do(func() { ok = len(l.dns.asks) == 0 })
		return ok
	})
}

func TestDNSIsServedOnTheListedPortsOnly(t *testing.T) {
	w := twoHosts()
	l := run(t, w, resolving)
	upstreamAt(t, l.host("lan2"))
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", "www.example."); len(m.Answer) != 1 || m.Rcode != 0 {
		t.Errorf("inside gets %v", m)
	}
	// The address of lan1 from lan2, and that of lan2 from anywhere: closed ports.
	for from, to := range map[string]string{"lan2": "10.1.0.1", "lan1": "10.2.0.1"} {
		h := l.host(from)
		refused := make(chan struct{}, 16)
		h.OnFrame(func(frame []byte) bool {
			ip := packet.IPv4(packet.Ethernet(frame).Payload())
			if packet.Ethernet(frame).Type() == packet.EtherTypeIPv4 && ip.Protocol() == packet.ProtoICMP &&
				packet.ICMP(ip.Payload()).Type() == packet.ICMPUnreachable && packet.ICMP(ip.Payload()).Code() == packet.ICMPPortUnreachable {
				refused <- struct{}{}
			}
			return false
		})
		c, err := h.DialUDP(netip.MustParseAddrPort(to + ":53"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write(packed(1, "here.lab."))
		select {
		case <-refused:
		case <-time.After(10 * time.Second):
			t.Errorf("%s to %s by UDP: no port unreachable", from, to)
		}
		ctx, cancel := contextFor(t, 10*time.Second)
		if c, err := h.DialTCP(ctx, netip.MustParseAddrPort(to+":53")); err == nil {
			c.Close()
			t.Errorf("%s to %s by TCP: connected", from, to)
		} else if !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s to %s by TCP: %v", from, to, err)
		}
		cancel()
	}
	for in, want := range map[string]string{"lan1": "DNS answers", "lan2": "not the hosts of port lan2"} {
		e, err := l.Explain(api.ExplainRequest{In: in, Src: l.host(in).Address().String(), Dst: "10.1.0.1", Protocol: "udp", SrcPort: 4000, DstPort: 53})
		if err != nil || e.Verdict != "delivered" || !strings.Contains(e.Steps[len(e.Steps)-1].Text, want) {
			t.Errorf("explain from %s: %+v, %v", in, e, err)
		}
	}
	if n := l.dropped("dns_port_not_listed"); n < 2 {
		t.Errorf("%d counted", n)
	}
}

func TestDNSAnswersFromTheAddressThatWasAskedAndFollowsAddresses(t *testing.T) {
	l := run(t, twoHosts(), strings.Replace(resolving, "10.1.0.1/24}", "[10.1.0.1/24, 10.1.0.9/24]}", 1))
	for _, a := range []string{"10.1.0.1:53", "10.1.0.9:53"} { // the client's sockets take nothing from elsewhere
		if m := l.asks(l.host("lan1"), a, "here.lab."); len(m.Answer) != 1 {
			t.Errorf("%s: %v", a, m)
		}
		c := dialTCP(t, l.host("lan1"), a)
		c.Write(framed(packed(1, "here.lab.")))
		answer(t, c)
	}
	l.apply(strings.Replace(resolving, "10.1.0.1/24}", "10.1.0.10/24}", 1))
	l.asks(l.host("lan1"), "10.1.0.10:53", "here.lab.")
	var served int
	l.do(func() { served = len(l.dns.served) })
	if served != 1 {
		t.Errorf("%d addresses are served", served)
	}
	l.apply(two)
	l.do(func() { served = len(l.dns.served) })
	if served != 0 || len(l.DNS()) != 0 {
		t.Errorf("%d addresses are served without the section", served)
	}
	l.apply(resolving)
	l.asks(l.host("lan1"), "10.1.0.1:53", "here.lab.")
	c := dialTCP(t, l.host("lan1"), "10.1.0.1:53") // where there were connections before
	c.Write(framed(packed(1, "here.lab.")))
	answer(t, c)
}

func TestDNSQuestionsHavePortsThatNobodyGuesses(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	up := upstreamAt(t, l.host("lan2"))
	for i := range 40 {
		l.asks(l.host("lan1"), "10.1.0.1:53", string(rune('a'+i%26))+string(rune('a'+i/26))+".example.")
	}
	ports := map[uint16]bool{}
	low := 0
	up.mu.Lock()
	defer up.mu.Unlock()
	for _, a := range up.asked {
		ports[a.Port()] = true
		if a.Port() < 32768 {
			low++
		}
		if a.Port() < 1024 || a.Addr().String() != "10.2.0.1" {
			t.Errorf("asked from %v", a)
		}
	}
	if len(ports) < 38 || low < 5 || low > 35 {
		t.Errorf("%d questions came from %d ports, %d of them in the lower half", len(up.asked), len(ports), low)
	}
}

func TestDNSServerWithoutAServiceIsPassedOverAtOnce(t *testing.T) {
	l := run(t, twoHosts(), strings.Replace(resolving, "timeout: 5s", "timeout: 30s", 1))
	l.pings(l.host("lan1"), "10.2.0.2") // there is a host, and no server: it says so by ICMP
	began := time.Now()
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", "www.example."); m.Rcode != mdns.RcodeServerFailure {
		t.Errorf("the answer is %v", m)
	}
	if d := l.DNS()[0]; d.Upstreams[0].Failures == 0 || d.Upstreams[0].Timeouts != 0 {
		t.Errorf("after %v: %+v", time.Since(began), d.Upstreams)
	}
}

func TestDNSFloodOfNamesIsBounded(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	// Nobody answers: questions pile up, to the bound of the client.
	hole, err := l.host("lan2").ListenUDP(dnsPort)
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	c, err := l.host("lan1").DialUDP(netip.MustParseAddrPort("10.1.0.1:53"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	most := 0
	eventually(t, "the client's bound is met", func() bool {
		for i := range 50 {
			c.Write(packed(uint16(i), mdns.Fqdn(strings.Repeat("x", 1+i)+time.Now().Format("150405.000000000"))))
		}
		l.do(func() { most = max(most, len(l.dns.asks), len(l.dns.waiting)) })
		return l.dropped("dns_client_limit") > 100
	})
	if most > 60 || most == 0 {
		t.Errorf("%d questions were under way, 60 are allowed", most)
	}
	// Others are served meanwhile.
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", "here.lab."); len(m.Answer) != 1 {
		t.Errorf("the answer is %v", m)
	}
}

func TestDNSTablesAndMetricsTellWhatHappened(t *testing.T) {
	l := run(t, twoHosts(), strings.Replace(resolving, "records:", "domain: home.arpa, records:", 1))
	upstreamAt(t, l.host("lan2"))
	for _, name := range []string{"www.example.", "www.example.", "here.lab.", "nobody.home.arpa."} {
		l.asks(l.host("lan1"), "10.1.0.1:53", name)
	}
	d := l.DNS()[0]
	if d.Queries < 4 || d.CacheHits == 0 || d.AnsweredLocally < 1 || d.Names != 2 || d.Domain != "home.arpa" || len(d.Listen) != 1 ||
		len(d.Upstreams) != 1 || d.Upstreams[0].State != "up" || d.Upstreams[0].Address != "10.2.0.2:53" || d.AverageSeconds <= 0 {
		t.Errorf("show dns: %+v", d)
	}
	if d.NoSuchName != 1 || len(d.NoSuchNames) != 1 || d.NoSuchNames[0].Reason != "dns_local_domain" || d.Refused != 0 {
		t.Errorf("that nobody has a name is no refusal: %+v, %+v", d.NoSuchNames, d.Refusals)
	}
	cache, err := l.DNSCache(query("www.example", 10))
	if err != nil || len(cache.Entries) != 1 || cache.Entries[0].State != "answer" || len(cache.Entries[0].Answers) != 1 || cache.Entries[0].TTLSeconds > 60 {
		t.Errorf("show dns cache: %+v %v", cache, err)
	}
	names, err := l.DNSNames(query("", 10))
	if err != nil || names.Total != 2 || names.Names[1].Name != "here.lab" || names.Names[1].Source != "record" || names.Names[1].Value != "10.1.0.7" {
		t.Errorf("show dns names: %+v %v", names, err)
	}
	for _, want := range []string{`vrouterd_dns_upstream_up{domain="",server="10.2.0.2:53"} 1`, "vrouterd_dns_cache_entries", `name="dns_answers_cached"`, `vrouterd_counter_total{name="dns_local_domain"} 1`} {
		if !strings.Contains(l.Metrics(), want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	if n, err := l.FlushDNS(tester, "www.example"); n != 1 || err != nil {
		t.Errorf("%d flushed, %v", n, err)
	}
	l.apply(two)
	if _, err := l.FlushDNS(tester, ""); err == nil {
		t.Error("flushed without DNS")
	}
}

func TestDNSKnowsTheNamesThatDHCPTells(t *testing.T) {
	const named = two + "dns: {listen: lan1, domain: home.arpa, upstream: 10.2.0.2}\n"
	l := run(t, twoHosts(), two)
	tell := func(source nameSource, name, address string) {
		l.do(func() { l.dnsName(source, name, packet.AddrFrom(netip.MustParseAddr(address))) })
	}
	tell(nameOfLease, "pc", "10.1.0.20") // before there is DNS
	tell(nameOfLease, "tv.elsewhere.example", "10.1.0.21")
	l.apply(named)
	tell(nameOfReservation, "nas", "10.1.0.22")
	for name, want := range map[string]string{"pc.home.arpa.": "10.1.0.20", "pc.": "10.1.0.20", "tv.home.arpa.": "10.1.0.21", "nas.home.arpa.": "10.1.0.22"} {
		if m := l.asks(l.host("lan1"), "10.1.0.1:53", name); len(m.Answer) != 1 || !strings.Contains(m.Answer[0].String(), want) {
			t.Errorf("%s: %v", name, m)
		}
	}
	tell(nameOfLease, "", "10.1.0.20")
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", "pc.home.arpa."); m.Rcode != mdns.RcodeNameError {
		t.Errorf("a name whose lease has ended: %v", m)
	}
	tell(nameOfLease, "laptop", "10.1.0.21") // the same address, another name
	l.apply(two)
	l.apply(named)
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", "tv.home.arpa."); m.Rcode != mdns.RcodeNameError {
		t.Errorf("the name before: %v", m)
	}
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", "laptop.home.arpa."); len(m.Answer) != 1 {
		t.Errorf("the name after: %v", m)
	}
}

func TestDNSPagesOfTheCacheHaveEachAnswerOnce(t *testing.T) {
	l := run(t, twoHosts(), resolving)
	upstreamAt(t, l.host("lan2"))
	for i := range 26 {
		l.asks(l.host("lan1"), "10.1.0.1:53", string(rune('a'+i))+".example.")
	}
	seen := map[string]int{}
	q := query("example", 7)
	for pages := 0; ; pages++ {
		p, err := l.DNSCache(q)
		if err != nil || pages > 10 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, e := range p.Entries {
			seen[e.Name]++
		}
		if q.Cursor = p.Next; p.Next == "" {
			break
		}
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", name, n)
		}
	}
	if len(seen) != 26 {
		t.Errorf("%d of 26", len(seen))
	}
}

func query(name string, limit int) api.DNSQuery { return api.DNSQuery{Name: name, Limit: limit} }

func TestDNSKnowsTheRouterByItsOwnName(t *testing.T) {
	const own = two + "dns: {listen: lan1, domain: home.arpa, upstream: none}\n"
	l := run(t, twoHosts(), own)
	name := l.Status().Name
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", name+".home.arpa."); len(m.Answer) != 1 || !strings.Contains(m.Answer[0].String(), "10.1.0.1") {
		t.Errorf("%s: %v", name, m)
	}
	if m := l.asks(l.host("lan1"), "10.1.0.1:53", "www.example."); m.Rcode != mdns.RcodeRefused {
		t.Errorf("where nobody else is asked: %v", m)
	}
	l.apply(strings.Replace(own, "10.1.0.1/24}", "10.1.0.10/24}", 1))
	if m := l.asks(l.host("lan1"), "10.1.0.10:53", name+"."); len(m.Answer) != 1 || !strings.Contains(m.Answer[0].String(), "10.1.0.10") {
		t.Errorf("after its address has changed: %v", m)
	}
}
