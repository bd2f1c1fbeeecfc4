package router

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/packet"
	"vrouterd/pkg/conntrack"
)

// ftpServer speaks just enough FTP for one listing over an active data connection.
func ftpServer(l *lab, accept func() (net.Conn, error)) error {
	c, err := accept()
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(c, "220 ready\r\n")
	lines := bufio.NewScanner(c)
	var to netip.AddrPort
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "PORT "):
			var n [6]int
			if _, err := fmt.Sscanf(line, "PORT %d,%d,%d,%d,%d,%d", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5]); err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(n[0]), byte(n[1]), byte(n[2]), byte(n[3])}), uint16(n[4]<<8|n[5]))
			if to.Addr().String() != "203.0.113.1" {
				return fmt.Errorf("the server was told of %v", to)
			}
			fmt.Fprint(c, "200 ok\r\n")
		case line == "LIST":
			ctx, cancel := contextFor(l.t, 5*time.Second)
			d, err := l.host("wan").DialTCP(ctx, to)
			cancel()
			if err != nil {
				return fmt.Errorf("data connection to %v: %w", to, err)
			}
			fmt.Fprint(d, "a file\r\n")
			d.Close()
			fmt.Fprint(c, "226 done\r\n")
			return nil
		}
	}
	return lines.Err()
}

// RFC 5508 REQ-8, RFC 7857: a full table refuses new sessions, and leaves the others alone.
func TestAFullTableRefusesAndTells(t *testing.T) {
	l := runHome(t, home+"sessions: {max: 1024, max_per_host: 1000}\n")
	in, far := l.host("lan"), l.host("wan")
	l.pings(in, "203.0.113.9")
	l.pings(l.host("srv"), "203.0.113.9")
	live := serveTCP(t, far, 7)
	c := dialTCP(t, in, "203.0.113.9:7")
	<-live
	refusals := taken(in, ofProtocol(packet.ProtoICMP))
	sink := taken(far, ofProtocol(packet.ProtoUDP))
	for i := range 1100 {
		in.SendPacket(udp(fmt.Sprintf("192.168.1.2:%d", 5000+i), "203.0.113.9:9", nil))
	}
	eventually(t, "the host's limit", func() bool { return l.dropped("session_host_limit") >= 102 })
	if ip := next(t, "refusal", refusals); ip[20] != packet.ICMPUnreachable || ip[21] != packet.ICMPAdminProhibited || packet.IPv4(ip[28:]).Src().String() != "192.168.1.2" {
		t.Errorf("%x", []byte(ip))
	}
	if n := l.hostSessions("192.168.1.2"); n != 1000 {
		t.Errorf("the host has %d sessions", n)
	}
	for i := range 100 {
		l.host("srv").SendPacket(udp(fmt.Sprintf("192.168.5.5:%d", 5000+i), "203.0.113.9:9", nil))
	}
	eventually(t, "the table is full", func() bool { return l.dropped("session_table_full") > 50 })
	echoes(t, c, pattern(10000)) // live sessions are untouched
	m := l.stateful.mappings.Counts().Mappings
	if s := l.stateful.sessions.Len(); m > s || s > 1024 {
		t.Errorf("%d sessions have %d mappings: refused ones have left some", s, m)
	}
	for len(sink) > 0 {
		<-sink
	}
}

func TestPagesFiltersAndFlush(t *testing.T) {
	l := runHome(t, home)
	in := l.host("lan")
	l.pings(in, "203.0.113.9")
	l.pings(l.host("srv"), "203.0.113.9")
	taken(l.host("wan"), ofProtocol(packet.ProtoUDP))
	for i := range 250 {
		in.SendPacket(udp(fmt.Sprintf("192.168.1.2:%d", 5000+i), "203.0.113.9:9", nil))
	}
	eventually(t, "all are there", func() bool { return l.stateful.sessions.Len() == 252 })
	for _, what := range []struct {
		name string
		page func(q api.SessionQuery) (n int, total int, next string)
	}{
		{"sessions", func(q api.SessionQuery) (int, int, string) {
			p, err := l.Sessions(q)
			if err != nil {
				t.Fatal(err)
			}
			return len(p.Sessions), p.Total, p.Next
		}},
		{"mappings", func(q api.SessionQuery) (int, int, string) {
			p, err := l.NATMappings(q)
			if err != nil {
				t.Fatal(err)
			}
			return len(p.Mappings), p.Total, p.Next
		}},
	} {
		seen, pages := 0, 0
		for cursor := ""; ; pages++ {
			n, total, next := what.page(api.SessionQuery{Protocol: "udp", Limit: 100, Cursor: cursor})
			if n > 100 || total != 252 {
				t.Errorf("%s: a page of %d, %d in all", what.name, n, total)
			}
			seen += n
			if cursor = next; next == "" {
				break
			}
		}
		if seen != 250 || pages < 2 {
			t.Errorf("%s: %d in %d pages", what.name, seen, pages)
		}
		for q, want := range map[api.SessionQuery]int{
			{Address: "192.168.5.5"}: 1, {Port: 5003}: 1, {Protocol: "icmp"}: 2, {Address: "203.0.113.1", Protocol: "udp"}: 250, {Protocol: "tcp"}: 0,
		} {
			if n, _, _ := what.page(q); n != want {
				t.Errorf("%s %+v: %d, expected %d", what.name, q, n, want)
			}
		}
	}
	metrics := l.Metrics()
	for _, line := range []string{"vrouterd_nat_sessions 252", `vrouterd_sessions{protocol="udp"} 250`, `vrouterd_sessions{protocol="icmp"} 2`, "vrouterd_nat_mappings 252"} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %q in the metrics", line)
		}
	}
	_, err := l.Sessions(api.SessionQuery{Cursor: "nonsense"})
	expectError(t, err, api.Usage, "cursor")
	if n, err := l.FlushSessions(tester, api.NATFlush{Address: "192.168.5.5"}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := l.FlushSessions(tester, api.NATFlush{Protocol: "udp", Port: 5007}); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if e := l.happens("sessions_flushed"); e.Fields["sessions"] != "1" {
		t.Errorf("%+v", e)
	}
	if n := l.stateful.sessions.Len(); n != 250 {
		t.Errorf("%d are left", n)
	}
}

// manySessions puts sessions into the table as workers would.
func (l *lab) manySessions(n int) {
	l.t.Helper()
	domain := l.dp.Domain()
	reader := domain.Register()
	now := l.sessionTick()
	for i := range n {
		there := conntrack.MakeKey(packet.ProtoUDP, packet.Addr(0x0a000000+uint32(i)), 5000, 0xcb007109, 53)
		domain.Enter(reader)
		p := conntrack.Parsed{Key: there, Class: conntrack.ClassOpens, Count: 1, Length: 100}
		_, why := l.stateful.sessions.Create(now, &conntrack.New{Original: there, Reply: there.Reverse(), In: 1, Out: 2, Inside: there.Src}, &p)
		domain.Exit(reader)
		if why != conntrack.ReasonNone {
			l.t.Fatal(why)
		}
	}
}

// Tables of a hundred thousand rows are walked while the loop turns, and expiry takes its bounded share of a step.
func TestAHundredThousandSessionsDoNotHoldTheLoop(t *testing.T) {
	l := runHome(t, home)
	const n = 100_000
	l.manySessions(n)
	hold, held := make(chan struct{}), make(chan struct{})
	page := func(q api.SessionQuery) (rows int) {
		for cursor := ""; ; {
			q.Cursor = cursor
			p, err := l.Sessions(q)
			if err != nil {
				t.Fatal(err)
			}
			rows += len(p.Sessions)
			if cursor = p.Next; cursor == "" {
				return rows
			}
		}
	}
	if rows := page(api.SessionQuery{Limit: 10000}); rows != n {
		t.Errorf("%d rows", rows)
	}
	if rows := page(api.SessionQuery{Address: "10.1.2.3"}); rows != 1 {
		t.Errorf("%d rows of one address", rows)
	}
	// The table's lock, as it were, is held by another reader of pages: the loop turns all the same.
	l.stateful.paging <- struct{}{}
	go func() { close(held); l.Sessions(api.SessionQuery{}); close(hold) }()
	<-held
	l.pings(l.host("lan"), "203.0.113.9")
	<-l.stateful.paging
	<-hold
	later := l.sessionTick() + conntrack.Ticks(400*time.Second)
	steps := 0
	for ended := 0; ended < n; steps++ {
		l.do(func() {
			gone, _ := l.stateful.sessions.Expire(later, expireBudget)
			if gone > expireBudget {
				t.Errorf("a step ended %d sessions", gone)
			}
			ended += gone
		})
		if steps > 10*n/expireBudget {
			t.Fatalf("%d steps have ended %d sessions", steps, ended)
		}
	}
	if steps < n/expireBudget {
		t.Errorf("%d steps", steps)
	}
}
