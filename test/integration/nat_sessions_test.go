package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowd is a home whose only host is the kernel end of the inside port, for tests with many sessions.
const crowd = unlimited + `
ports:
  lan: {netns: {p2}, device: eth0, address: 192.168.1.1/24, host: {address: 192.168.1.2/24, gateway: 192.168.1.1}}
  wan: {netns: {out}, device: eth0, address: 83.215.152.95/24, host: {address: 83.215.152.1/24}}
routes:
  - {to: default, via: 83.215.152.1}
nat:
  - {out: wan, type: masquerade}
firewall: home
`

// newCrowd raises it. Whatever is sent to 198.18.0.0/15 is swallowed outside, without a word.
func newCrowd(t *testing.T, more string) (*lab, *router) {
	t.Helper()
	l := newUnwatchedLab(t, "p2", "out")
	r := l.router("r1", crowd+more)
	out := l.hosts["out"]
	out.ip("addr", "add", server1+"/32", "dev", "lo")
	out.ip("route", "add", "blackhole", "198.18.0.0/15")
	out.sysctl("net/ipv4/ip_forward", "1")
	l.hosts["p2"].ping(server1)
	r.ctl("nat", "flush")
	return l, r
}

// flood sends probes until enough says so: a queue that is full on a busy machine loses some, and the
// next round makes up for them.
func (h *host) flood(count int, what func(i int) probe, enough func() error) {
	h.lab.t.Helper()
	packets := make([][]byte, count)
	for i := range packets {
		packets[i] = what(i).bytes()
	}
	s := h.sender()
	eventually(h.lab.t, 90*time.Second, "the flood to have made its sessions", func() error {
		if err := enough(); err == nil {
			return nil
		}
		for _, p := range packets {
			if err := s.send(p); err != nil {
				return err
			}
		}
		return enough()
	})
}

// page asks the socket for a page of sessions.
type page struct {
	Sessions []row  `json:"sessions"`
	Total    int    `json:"total"`
	Next     string `json:"next"`
}

func (r *router) page(query url.Values) (p page) {
	r.lab.t.Helper()
	r.request("GET", "/v1/nat/sessions?"+query.Encode(), nil, &p)
	return p
}

// request asks the router's socket, without a vrctl for each question.
func (r *router) request(method, path string, question, answer any) {
	r.lab.t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", r.socket())
	}}}
	defer c.CloseIdleConnections()
	var body []byte
	if question != nil {
		body, _ = json.Marshal(question)
	}
	ask, err := http.NewRequest(method, "http://r"+path, bytes.NewReader(body))
	if err != nil {
		r.lab.t.Fatal(err)
	}
	ask.Header.Set("Content-Type", "application/json")
	said, err := c.Do(ask)
	if err != nil {
		r.lab.t.Fatal(err)
	}
	defer said.Body.Close()
	text, err := io.ReadAll(said.Body)
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil || said.StatusCode != http.StatusOK {
		r.lab.t.Fatalf("%s %s %s: %s, %v: %.500s", method, path, body, said.Status, err, text)
	}
}

// sessions is how many there are now.
func (r *router) sessions() int {
	r.lab.t.Helper()
	return r.page(url.Values{"limit": {"1"}}).Total
}

func TestNATShowsAHundredThousandSessionsPageByPage(t *testing.T) {
	const count = 100_000
	l, r := newCrowd(t, "")
	l.hosts["p2"].flood(count, func(i int) probe {
		return probe{protocol: unix.IPPROTO_UDP, src: netip.MustParseAddr("192.168.1.2"), dst: netip.AddrFrom4([4]byte{198, 18, byte(i / 1000), 1}),
			sport: uint16(2000 + i%1000), dport: 9, id: 1}
	}, func() error {
		if n := r.sessions(); n < count {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	// The first page is a page.
	if rows := r.rows("nat", "sessions", "--limit", "25"); len(rows) != 25 {
		t.Errorf("show nat sessions --limit 25: %d rows", len(rows))
	}
	// All pages together are all sessions, each once.
	seen := map[string]bool{}
	query := url.Values{"limit": {"10000"}, "protocol": {"udp"}}
	for pages := 1; ; pages++ {
		p := r.page(query)
		if len(p.Sessions) > 10_000 {
			t.Fatalf("a page of %d sessions", len(p.Sessions))
		}
		for _, s := range p.Sessions {
			key := fmt.Sprint(s["inside"], " ", s["remote"])
			if seen[key] {
				t.Fatalf("session %s is on two pages", key)
			}
			seen[key] = true
		}
		if p.Next == "" {
			break
		}
		query.Set("cursor", p.Next)
	}
	if len(seen) != count {
		t.Errorf("the pages show %d of %d sessions", len(seen), count)
	}
	// Filters find few among many.
	if n := len(r.rows("nat", "sessions", "--port", "2007", "--limit", "1000")); n != 100 {
		t.Errorf("show nat sessions --port 2007: expected 100 rows, got %d", n)
	}
	if n := len(r.rows("nat", "sessions", "--address", "198.18.42.1", "--limit", "10000")); n != 1000 {
		t.Errorf("show nat sessions --address 198.18.42.1: expected 1000 rows, got %d", n)
	}
	// A thousand inside ports are a thousand mappings, whatever they talk to (RFC 4787 REQ-1).
	if rows := r.rows("nat", "mappings", "--limit", "10000"); len(rows) < 1000 || len(rows) > 1010 {
		t.Errorf("expected 1000 mappings, got %d", len(rows))
	}
	r.ctl("nat", "flush", "--port", "2007")
	if n := len(r.rows("nat", "sessions", "--port", "2007")); n != 0 {
		t.Errorf("%d sessions are left after nat flush --port 2007", n)
	}
}

func TestNATRefusesBeyondAMillionSessionsAndKeepsTheLiveOnes(t *testing.T) {
	const most = 1 << 20
	l, r := newCrowd(t, "sessions: {other: 1s}\n")
	out, p2 := l.hosts["out"], l.hosts["p2"]
	out.serveTCP(server1 + ":7")
	live := p2.converse("192.168.1.2:1025", server1+":7")
	before := r.resident()
	p2.flood(1_100_000, func(i int) probe {
		return probe{protocol: unix.IPPROTO_UDP, src: netip.MustParseAddr("192.168.1.2"), dst: netip.AddrFrom4([4]byte{198, 18, byte(i / 50_000), 1}),
			sport: uint16(10_000 + i%50_000), dport: 9, id: 1}
	}, func() error {
		if n := r.sessions(); n < most || r.drops("table_full") == 0 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	if n := r.sessions(); n > most {
		t.Errorf("%d sessions, and at most %d may be", n, most)
	}
	// 128 octets a session, the index of its two keys, a mapping for each inside port, and what the
	// collector leaves free.
	grown := r.resident() - before
	if grown > most*(128+64)+100<<20 {
		t.Errorf("a million sessions took %d MB", grown>>20)
	}
	table := metric(t, r, "vrouterd_session_table_bytes")
	if table > most*(128+40) {
		t.Errorf("the session table has %.0f octets for each session", table/most)
	}
	t.Logf("a million sessions: %d MB more resident, %.0f octets of the table for each", grown>>20, table/most)
	if err := live.say(20 * time.Second); err != nil {
		t.Errorf("the session from before the flood has ended: %v", err)
	}
	// A new one is refused, and the host that asks is told (RFC 5508 REQ-8).
	if got := p2.knock("tcp4", server1+":7", time.Second); got == open {
		t.Error("a session beyond the limit was made")
	}
	r.ctl("nat", "flush", "--port", "9")
	if n := r.sessions(); n > 20 {
		t.Errorf("%d sessions are left after the flush", n)
	}
	p2.converse("", server1+":7")
	// Expiry frees all: protocols without ports have the shortest timeout that may be set.
	p2.flood(100_000, func(i int) probe {
		return probe{protocol: 253, src: netip.MustParseAddr("192.168.1.2"), dst: netip.AddrFrom4([4]byte{198, 19, byte(i >> 8), byte(i)}), id: 1}
	}, func() error {
		if n := len(r.rows("nat", "sessions", "--protocol", "253", "--limit", "1000")); n < 1000 {
			return fmt.Errorf("%d sessions of protocol 253", n)
		}
		return nil
	})
	eventually(t, 30*time.Second, "all of them to expire", func() error {
		if n := r.sessions(); n > 20 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	if err := live.say(20 * time.Second); err != nil {
		t.Errorf("the session from before the flood has ended: %v", err)
	}
}

// metric is the value of a metric without labels.
func metric(t *testing.T, r *router, name string) (value float64) {
	t.Helper()
	text := r.lab.must("curl", "-sS", "--fail", "--max-time", "20", "--unix-socket", r.socket(), "http://vrouterd/metrics")
	for line := range strings.Lines(text) {
		if number, found := strings.CutPrefix(line, name+" "); found {
			if _, err := fmt.Sscan(number, &value); err != nil {
				t.Fatalf("metric %s is %q", name, number)
			}
			return value
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// resident is the memory that the daemon has, in octets.
func (r *router) resident() (octets int) {
	r.lab.t.Helper()
	for line := range strings.Lines(readText(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))) {
		if text, found := strings.CutPrefix(line, "VmRSS:"); found {
			fmt.Sscan(text, &octets)
		}
	}
	return octets << 10
}

func TestNATLimitsTheSessionsOfEachHost(t *testing.T) {
	e := newUnwatchedHome(t, policy{yaml: masquerade.yaml + "sessions: {max_per_host: 50}\n"}, "p2", "p5")
	e.out.ip("route", "add", "blackhole", "198.18.0.0/15")
	e.hosts["p2"].ping(server1)
	e.hosts["p2"].flood(200, func(i int) probe {
		return probe{protocol: unix.IPPROTO_UDP, src: netip.MustParseAddr("192.168.1.2"), dst: netip.MustParseAddr("198.18.0.1"), sport: uint16(2000 + i), dport: 9, id: 1}
	}, func() error {
		if e.r.drops("host_limit") < 100 {
			return fmt.Errorf("the limit is not among the drops")
		}
		return nil
	})
	if n := len(e.r.rows("nat", "sessions", "--address", "192.168.1.2")); n > 50 {
		t.Errorf("192.168.1.2 has %d sessions, 50 are allowed", n)
	}
	e.hosts["p5"].ping(server1) // the others are not concerned
}

func TestNATIsBoundedUnderAFloodOfSYNsFromOutside(t *testing.T) {
	e := newUnwatchedHome(t, policy{yaml: forwarding.yaml + "firewall: home\nsessions: {max: 65536, max_half_open: 1000}\n"}, "p2", "p5")
	e.hosts["p5"].serveTCP("192.168.1.5:80")
	// Nobody answers for the addresses that the SYNs pretend to come from.
	live := e.out.converse("", publicAddress+":80")
	for _, p := range []string{"p5"} { // answers to the flood go nowhere
		e.hosts[p].ip("route", "add", "blackhole", "198.18.0.0/15")
	}
	e.out.flood(20_000, func(i int) probe {
		return probe{protocol: unix.IPPROTO_TCP, src: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), dst: netip.MustParseAddr(publicAddress),
			sport: uint16(1024 + i), dport: 80, id: uint16(i | 1)}
	}, func() error {
		if n := e.r.sessions(); n < 1000 {
			return fmt.Errorf("%d sessions", n)
		}
		return nil
	})
	if n := e.r.sessions(); n > 1100 {
		t.Errorf("%d sessions, and 1,000 half-open ones are allowed", n)
	}
	if err := live.say(20 * time.Second); err != nil {
		t.Errorf("the connection from before the flood has ended: %v", err)
	}
	e.out.converse("", publicAddress+":80") // there are as many openings as there may be, and it gets in
	e.hosts["p2"].ping(server1)
	e.out.serveTCP(server1 + ":7")
	e.hosts["p2"].converse("", server1+":7")
}

func TestNATLivesThroughStormsOfResetsAndFINs(t *testing.T) {
	e := newUnwatchedHome(t, safeHome, "p2", "p5")
	e.out.serveTCP(server1 + ":7")
	p2 := e.hosts["p2"]
	live := p2.converse("192.168.1.2:40000", server1+":7")
	// Blind segments to the outside port, with every flag that ends or opens a connection: none of them may end the session
	// (RFC 7857 section 2.2).
	s := e.out.sender()
	send := func() error {
		for i := range 500 {
			for _, flags := range []byte{4, 4 | 16, 1, 1 | 16, 2, 2 | 16, 1 | 2, 0, 63} {
				ip := probe{protocol: unix.IPPROTO_TCP, src: netip.MustParseAddr(server1), dst: netip.MustParseAddr(publicAddress),
					sport: 7, dport: 40000, id: uint16(i*131 | 1)}.bytes()
				ip[33] = flags
				fixTCP(ip)
				if err := s.send(ip); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for range 3 {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		if err := live.say(20 * time.Second); err != nil {
			t.Fatalf("the connection has ended: %v", err)
		}
	}
	if _, err := e.named("nat sessions", "inside", "192.168.1.2:40000", "state", "established"); err != nil {
		t.Error(err)
	}
}
