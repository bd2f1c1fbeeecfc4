package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

// on a screen of some width, what does a command print?
func (s *stage) on(t *testing.T, width int, line string) string {
	t.Helper()
	s.out.Reset()
	s.err.Reset()
	s.app.screen = screen{terminal: true, width: width}
	if code := s.app.run(context.Background(), strings.Fields(line)); code != exitDone {
		t.Fatalf("%s: exit code %d %s", line, code, s.err)
	}
	return s.out.String()
}

func TestSessionsOnANarrowTerminalKeepWhoAndHow(t *testing.T) {
	s := newStage(t)
	const want = `PROTO  INSIDE          REMOTE              DIR  STATE         EXPIRES
tcp    10.1.0.2:40000  203.0.113.7:443     out  established     2h03m
`
	if got := s.on(t, 72, "show sessions --limit 3"); !strings.HasPrefix(got, want) {
		t.Errorf("72 columns:\n%swant\n%s", got, want)
	}
	const wider = "PROTO  INSIDE          OUTSIDE          REMOTE              DIR  STATE         IDLE  EXPIRES\n"
	if got := s.on(t, 94, "show sessions --limit 3"); !strings.HasPrefix(got, wider) {
		t.Errorf("94 columns:\n%swant\n%s", got, wider)
	}
}

func TestTheFirewallOnANarrowTerminalKeepsItsSentences(t *testing.T) {
	s := newStage(t)
	const want = `KIND     NAME     FROM     TO       MATCH                            ACTION  LOG  PACKETS
access   spoofed  wan      any      source 10.0.0.0/8                drop    log       12
rule     barred   outside  any      source in set barred             drop            3456
`
	if got := s.on(t, 90, "show firewall"); !strings.HasPrefix(got, want) {
		t.Errorf("90 columns:\n%swant\n%s", got, want)
	}
	const narrow = `TYPE        PORT  MATCH               OUTSIDE    TO             SESSIONS
none        wan   source 10.1.1.0/24                                   0
masquerade  wan   any source          192.0.2.1                        4
`
	if got := s.on(t, 74, "show nat"); !strings.HasPrefix(got, narrow) {
		t.Errorf("74 columns:\n%swant\n%s", got, narrow)
	}
}

func TestAnExplanationIsALineAStageWhereThereIsRoom(t *testing.T) {
	const line = "explain --in wan --src 203.0.113.1 --dst 192.0.2.1 --proto tcp --dport 80"
	const narrow = `input        pass       The packet came in by wan.
session      new        No session has these addresses and ports;
                        the packet may open one.
nat_inbound  translate  The forward web sends it to 10.1.0.5:8080.
                        r1.yaml:16: {in: wan, protocol: tcp, port…
lookup       forward    10.1.0.0/24 is connected to lan.
filter       accept     No rule matches, and a forward has let it
                        in.
                        r1.yaml:19: firewall:
output       pass       It leaves by lan to 02:00:00:00:00:05.

verdict  forwarded through lan
packet   tcp 203.0.113.1:49152 > 10.1.0.5:8080, flags S, ttl 63,
         length 40
session  would make the tcp session 10.1.0.5:8080 as 192.0.2.1:80
         with 203.0.113.1:49152 (syn_sent)
`
	s := newStage(t)
	if got := s.on(t, 66, line); got != narrow {
		t.Errorf("66 columns:\n%swant\n%s", got, narrow)
	}
	for _, width := range []int{30, 40, 66, 80, 132, 200} {
		for l := range strings.Lines(s.on(t, width, line)) {
			if got := len([]rune(strings.TrimSuffix(l, "\n"))); width >= 40 && got > width {
				t.Errorf("on %d columns a line has %d: %q", width, got, l)
			}
		}
	}
	if got := s.on(t, 200, line); strings.Count(got, "\n") != 10 {
		t.Errorf("on 200 columns a stage is a line:\n%s", got)
	}
}

func TestWhatRunsUnsavedIsNotTheFile(t *testing.T) {
	steps := []api.ExplainStep{{Stage: "filter", Decision: "drop", Text: "No.", Line: 7, Source: "  - {action: drop}"}}
	const want = "filter  drop  No.  running:7: {action: drop}\n\nverdict  dropped\n"
	if got := explanation(screen{}, api.Explanation{Verdict: "dropped", Steps: steps}, "running"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestAllOfAHundredThousandSessionsComeInTheirOrder(t *testing.T) {
	s := newStage(t)
	s.fake.Many = 99_994
	if code := s.app.run(context.Background(), strings.Fields("--json show sessions")); code != exitDone {
		t.Fatalf("exit code %d %s", code, s.err)
	}
	var all []api.Session
	if err := json.Unmarshal(s.out.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 100_000 || s.err.Len() > 0 {
		t.Fatalf("%d sessions, stderr %q: a script that says no limit gets all", len(all), s.err)
	}
	if rows := strings.Count(s.out.String(), "\n"); rows != len(all) {
		t.Errorf("%d lines: a row a line is wanted", rows)
	}
	s.out.Reset()
	s.app.json = false
	if code := s.app.run(context.Background(), strings.Fields("show sessions --limit 0")); code != exitDone {
		t.Fatalf("exit code %d %s", code, s.err)
	}
	lines := strings.Split(strings.TrimSuffix(s.out.String(), "\n"), "\n")
	if len(lines) != 100_001 {
		t.Fatalf("%d lines: a title and a row a session are wanted", len(lines))
	}
	for i, row := range all {
		if !strings.Contains(lines[i+1], " "+row.Inside+" ") {
			t.Fatalf("line %d is %q, not the session of %s", i+1, lines[i+1], row.Inside)
		}
	}
}

// faulty is a daemon that breaks down after the first page of sessions, or whose pages go round.
type faulty struct {
	api.Backend
	round bool
}

func (f faulty) Sessions(q api.SessionQuery) (api.SessionPage, error) {
	if q.Cursor != "" && !f.round {
		return api.SessionPage{}, &api.Error{Code: api.Failed, Message: "the table is being rebuilt: try again"}
	}
	q.Cursor = ""
	return f.Backend.Sessions(q)
}

func TestPagesThatBreakDownAreAnErrorAfterTheRowsThatCame(t *testing.T) {
	for round, says := range map[bool]string{false: "vrctl: the table is being rebuilt: try again\n", true: "vrctl: the daemon's pages have no end: the next of one is itself\n"} {
		s := newStageOf(t, func(f *controltest.Fake) api.Backend { return faulty{f, round} })
		s.fake.Many = 30_000
		if code := s.app.run(context.Background(), strings.Fields("show sessions --limit 0")); code != exitFailed || s.err.String() != says {
			t.Errorf("exit code %d, %q, want %q", code, s.err, says)
		}
		if lines := strings.Count(s.out.String(), "\n"); lines < pageRows {
			t.Errorf("%d lines: the first page is wanted", lines)
		}
	}
}

func TestVerdictsInWords(t *testing.T) {
	for _, k := range []struct {
		e    api.Explanation
		want string
	}{
		{api.Explanation{Verdict: "forwarded", Out: "wan"}, "forwarded through wan"},
		{api.Explanation{Verdict: "delivered"}, "delivered"},
		{api.Explanation{Verdict: "dropped", Reason: "ttl_exceeded"}, "dropped (ttl_exceeded)"},
		{api.Explanation{Verdict: "waits", Out: "lan"}, "waiting for its neighbor through lan"},
	} {
		if got := verdictWords(k.e); got != k.want {
			t.Errorf("got %q, want %q", got, k.want)
		}
	}
}

func TestAnExplanationIsColoredByWhatIsDecided(t *testing.T) {
	steps := []api.ExplainStep{{Stage: "input", Decision: "pass", Text: "Yes."}, {Stage: "filter", Decision: "drop", Text: "No."}}
	got := explanation(screen{color: true}, api.Explanation{Verdict: "dropped", Steps: steps}, "")
	for _, want := range []string{"\x1b[32mpass\x1b[0m", "\x1b[31mdrop\x1b[0m", "\x1b[31mdropped\x1b[0m"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

func TestALongTablesColumnsOnlyEverWiden(t *testing.T) {
	first := newTable("", column{title: "A"}, column{title: "B"})
	first.add(text("10.0.0.1"), text("x"))
	out := first.draw(screen{})
	second := first.follow(screen{})
	second.add(text("10.1"), text("y"))
	second.add(text("10.100.100.100"), text("z"))
	out += second.draw(screen{})
	third := second.follow(screen{})
	third.add(text("10.2"), text("w"))
	out += third.draw(screen{})
	const want = `A         B
10.0.0.1  x
10.1            y
10.100.100.100  z
10.2            w
`
	if out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestWatchRepeatsALongTableWithItsNote(t *testing.T) {
	s := newStage(t)
	s.fake.Many = 5000
	code, out := s.interrupted(t, "more: --limit 0", "show", "sessions", "--limit", "2", "--watch=50ms")
	if code != exitDone || !strings.Contains(out, "\n… 5,004 more: --limit 0 shows all\n") || strings.Count(out, "10.1.0.2:40000  192") != 1 {
		t.Errorf("exit code %d, %s%s", code, out, s.err)
	}
}

func TestGroupedNumbers(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 98765: "98,765", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestASlipIsNotAnotherWord(t *testing.T) {
	for _, k := range [][2]string{
		{"tpc", "did you mean tcp?"}, {"TCP", "did you mean tcp?"}, {"sctp", "tcp, udp and icmp are"}, {"gre", "tcp, udp and icmp are"}, {"", "tcp, udp and icmp are"},
	} {
		if got := meant(k[0], protocols); got != k[1] {
			t.Errorf("%q: got %q, want %q", k[0], got, k[1])
		}
	}
	if got := fmt.Sprint(meant("x", nil), meant("x", []string{"one"})); got != "there are noneone is" {
		t.Error(got)
	}
	for _, k := range []struct {
		a, b string
		n    int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"pign", "ping", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}} {
		if got := distance(k.a, k.b); got != k.n {
			t.Errorf("%q to %q: %d, want %d", k.a, k.b, got, k.n)
		}
	}
}
