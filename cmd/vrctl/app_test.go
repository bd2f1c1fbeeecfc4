package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control"
	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

// stage is a daemon and an app that speaks to it, in one process.
type stage struct {
	fake     *controltest.Fake
	app      *app
	out, err *bytes.Buffer
}

func newStage(t *testing.T) *stage {
	return newStageOf(t, func(f *controltest.Fake) api.Backend { return f })
}

// newStageOf is a stage whose daemon differs from the fake.
func newStageOf(t *testing.T, other func(*controltest.Fake) api.Backend) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{fake: controltest.New("r1"), out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	var fault error
	if s.fake.Packets, fault = capturedPackets(); fault != nil {
		t.Fatal(fault)
	}
	server, fault := control.NewServer(control.Options{Path: filepath.Join(dir, "r1.sock"), Backend: other(s.fake)})
	if fault != nil {
		t.Fatal(fault)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	s.app = &app{in: strings.NewReader(""), out: s.out, err: s.err, env: func(name string) string {
		if name == "VROUTERD_RUNTIME_DIR" {
			return dir
		}
		return ""
	}}
	return s
}

// interrupted runs a command line, and Ctrl-C comes when its output has the words.
func (s *stage) interrupted(t *testing.T, words string, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	read, write := io.Pipe()
	s.app.out = write
	ended := make(chan int, 1)
	go func() {
		ended <- s.app.run(ctx, args)
		write.Close()
	}()
	var all strings.Builder
	in := bufio.NewReader(read)
	for {
		line, err := in.ReadString('\n')
		all.WriteString(line)
		if strings.Contains(line, words) {
			cancel()
		}
		if err != nil {
			break
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("%v: %q never came in %q", args, words, all.String())
	}
	return <-ended, all.String()
}

func TestCtrlCEndsStreamsWell(t *testing.T) {
	for _, k := range []struct {
		words string
		args  string
		after string
	}{
		{"Port wan is down", "events --last 3", ""},
		{`"sequence":3`, "events --json --since 2026-01-01T00:00:00Z", ""},
		{"icmp_seq=3", "ping 10.1.0.2 -i 1ms", "packet loss"},
		{"ethertype 0x88cc", "capture", ""},
		{"lan", "show ports --watch=50ms", ""},
	} {
		s := newStage(t)
		code, out := s.interrupted(t, k.words, strings.Fields(k.args)...)
		if code != exitDone || s.err.Len() > 0 || !strings.Contains(out, k.after) {
			t.Errorf("%s: exit code %d, stderr %q, output %q", k.args, code, s.err, out)
		}
	}
}

func TestCtrlCEndsAWaitWith130(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if code := s.app.run(ctx, []string{"wait", "port", "wan", "up"}); code != exitInterrupted || s.err.Len() > 0 {
		t.Errorf("exit code %d, %q", code, s.err)
	}
}

func TestWatchRepeatsAndPaintsInPlaceOnATerminal(t *testing.T) {
	s := newStage(t)
	s.app.screen = screen{terminal: true, color: true, width: 60, height: 6}
	s.app.out = s.out
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	turns := 0
	s.app.out = writerFunc(func(b []byte) (int, error) {
		turns++
		if turns == 2 {
			cancel()
		}
		return s.out.Write(b)
	})
	if code := s.app.run(ctx, []string{"show", "ports", "--watch=50ms"}); code != exitDone {
		t.Fatalf("exit code %d %s", code, s.err)
	}
	text := s.out.String()
	if strings.Count(text, "\x1b[2J") != 1 || strings.Count(text, "\x1b[H") != 2 {
		t.Errorf("one clean screen and two paintings are wanted: %q", text)
	}
	if !strings.Contains(text, "… and 4 lines") {
		t.Errorf("what does not fit the screen is told of: %q", text)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestTablesFitTheTerminal(t *testing.T) {
	s := newStage(t)
	for _, width := range []int{20, 40, 60, 79, 80, 100, 132} {
		for _, noun := range []string{"ports", "routes", "drops", "events", "neighbors", "rip", "rip neighbors", "rip ports",
			"nat", "nat sessions", "nat mappings", "sessions", "firewall", "firewall set", "firewall set barred"} {
			s.out.Reset()
			s.app.screen = screen{terminal: true, width: width}
			if code := s.app.run(context.Background(), strings.Fields("show "+noun)); code != exitDone {
				t.Fatalf("exit code %d %s", code, s.err)
			}
			for line := range strings.Lines(s.out.String()) {
				if got := len([]rune(strings.TrimSuffix(line, "\n"))); got > width {
					t.Errorf("show %s on %d columns has a line of %d: %q", noun, width, got, line)
				}
			}
		}
	}
}

func TestANarrowTableGivesUpColumnsBeforeItsSentences(t *testing.T) {
	for width, want := range map[int]string{
		80:  "TIME                 MESSAGE",
		100: "TIME                 KIND        MESSAGE",
		120: "TIME                 KIND        SUBJECT           MESSAGE",
	} {
		table := newTable("", column{title: "TIME"}, column{title: "KIND", spare: true}, column{title: "SUBJECT", spare: true},
			column{title: "MESSAGE", flexible: true, least: 56})
		table.add(text("2026-01-02 09:04:05"), text("port_downs"), text("10.0.0.2 on core"), text(strings.Repeat("message ", 12)))
		got, _, _ := strings.Cut(table.draw(screen{width: width}), "\n")
		if got != want {
			t.Errorf("%d columns: %q, expected %q", width, got, want)
		}
	}
}

func TestColorsStandOnATerminalOnlyAndPadNothing(t *testing.T) {
	s := newStage(t)
	show := func(sc screen) string {
		s.out.Reset()
		s.app.screen = sc
		if code := s.app.run(context.Background(), []string{"show", "ports"}); code != exitDone {
			t.Fatalf("exit code %d %s", code, s.err)
		}
		return s.out.String()
	}
	bare, colored := show(screen{}), show(screen{terminal: true, color: true})
	if strings.Contains(bare, "\x1b") || !strings.Contains(colored, "\x1b[32mup\x1b[0m") {
		t.Errorf("bare %q, colored %q", bare, colored)
	}
	var stripped strings.Builder
	for i, part := range strings.Split(colored, "\x1b[") {
		if _, rest, ok := strings.Cut(part, "m"); ok && i > 0 {
			part = rest
		}
		stripped.WriteString(part)
	}
	if stripped.String() != bare {
		t.Errorf("without its colors:\n%s\nwant:\n%s", stripped.String(), bare)
	}
}
