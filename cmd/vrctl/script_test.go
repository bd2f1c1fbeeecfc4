package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"vrouterd/internal/control"
	"vrouterd/internal/control/controltest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"vrctl": func() { os.Exit(vrctl()) }})
}

// running daemons of one script, by name.
type running map[string]*daemon

type daemon struct {
	fake *controltest.Fake
	stop func() error
}

type runningKey struct{}

// TestScripts runs the command lines of testdata/script against a daemon that routes
// nothing, over a real socket. VRCTL_UPDATE=1 writes what is printed into them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: os.Getenv("VRCTL_UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			dir := filepath.Join(e.WorkDir, "run")
			e.Setenv("VROUTERD_RUNTIME_DIR", dir)
			e.Setenv("TZ", "UTC")
			all := running{}
			e.Values[runningKey{}] = all
			e.Defer(func() {
				for _, d := range all {
					if err := d.stop(); err != nil {
						t.Errorf("the daemon stopped with %v", err)
					}
				}
			})
			return os.MkdirAll(dir, 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"daemon": startDaemon,
			"stale":  leaveSocket,
			"code":   wantCode,
			"usage":  wantUsage,
			"same":   wantSame,
		},
	})
}

// daemon NAME [empty] [silent] [many]: a daemon runs; its tables are empty; its pings get no answer; it
// has a hundred thousand sessions.
func startDaemon(ts *testscript.TestScript, neg bool, args []string) {
	f := controltest.New(args[0])
	f.Packets = packets(ts)
	for _, word := range args[1:] {
		switch word {
		case "empty":
			f.Empty = true
		case "many":
			f.Many = 99_994
		case "silent":
			f.NoReply = true
		default:
			ts.Fatalf("daemon: %q is unknown", word)
		}
	}
	s, err := control.NewServer(control.Options{Path: ts.MkAbs("run/" + args[0] + ".sock"), Backend: f})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	ts.Value(runningKey{}).(running)[args[0]] = &daemon{fake: f, stop: func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			return errors.New("it does not stop")
		}
	}}
}

// stale NAME: a socket is left by a daemon that is dead.
func leaveSocket(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: ts.MkAbs("run/" + args[0] + ".sock"), Net: "unix"})
	ts.Check(err)
	l.SetUnlinkOnClose(false)
	ts.Check(l.Close())
}

func packets(ts *testscript.TestScript) []byte {
	data, err := capturedPackets()
	ts.Check(err)
	return data
}

// code N COMMAND...: the command ends with this exit code, its stderr is one
// sentence, and both are there for stdout and stderr to look at.
func wantCode(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
	if said := strings.TrimSpace(ts.ReadFile("stderr")); strings.Contains(said, "\n") {
		ts.Fatalf("one sentence is wanted, not %q", said)
	}
}

// usage SAYING COMMAND...: exit code 2, and a sentence with these words.
func wantUsage(ts *testscript.TestScript, neg bool, args []string) {
	wantCode(ts, neg, append([]string{"2"}, args[1:]...))
	if said := ts.ReadFile("stderr"); !strings.Contains(said, args[0]) || !strings.HasPrefix(said, "vrctl: ") {
		ts.Fatalf("it says %q, want … %s …", said, args[0])
	}
}

// same 'COMMAND' 'COMMAND': both print the same.
func wantSame(ts *testscript.TestScript, neg bool, args []string) {
	var out [2]string
	for i, line := range args {
		words := strings.Fields(line)
		ts.Check(ts.Exec(words[0], words[1:]...))
		out[i] = ts.ReadFile("stdout")
	}
	if out[0] != out[1] || out[0] == "" {
		ts.Fatalf("%s and %s differ:\n%s\n%s", args[0], args[1], out[0], out[1])
	}
}
