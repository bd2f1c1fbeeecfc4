package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vrouterd/internal/daemon"
)

// execute runs a command line, and returns what it prints and its exit code.
func execute(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	read := func(f **os.File) (finish func() string) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		was := *f
		*f = w
		text := make(chan string)
		go func() { b, _ := io.ReadAll(r); r.Close(); text <- string(b) }()
		return func() string { *f = was; w.Close(); return <-text }
	}
	was := os.Args
	os.Args = append([]string{"vrouterd"}, args...)
	out, errs := read(&os.Stdout), read(&os.Stderr)
	code = run()
	os.Args = was
	return out(), errs(), code
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r1.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExitCodesAndMessages(t *testing.T) {
	good := file(t, "name: r1\nports:\n  lan: {address: 10.0.0.1/24}\n")
	bad := file(t, "name: r1\nprots: {}\nroutes:\n- {to: 10.0.0.0/8, via: 10.9.9.9}\n")
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string // "" for nothing
		lines  int    // of stderr
	}{
		"a good file":        {[]string{"check", good}, 0, "", "", 0},
		"a bad file":         {[]string{"check", bad}, exitUsage, "", bad + ":2:1: ", 2},
		"no such file":       {[]string{"check", good + ".not"}, exitUsage, "", "no such file", 1},
		"check nothing":      {[]string{"check"}, exitUsage, "", "", 1},
		"check two":          {[]string{"check", good, good}, exitUsage, "", "", 1},
		"nothing":            {nil, exitUsage, "", "vrouterd -c FILE", 1},
		"an unknown command": {[]string{"restart"}, exitUsage, "", `"restart"`, 1},
		"an unknown flag":    {[]string{"--fast"}, exitUsage, "", "--fast", 1},
		"too many workers":   {[]string{"-c", good, "--workers", "17"}, exitUsage, "", "1 to 16", 1},
		"run a bad file":     {[]string{"-c", bad}, exitUsage, "", bad + ":2:1: ", 2},
		"run no file":        {[]string{"-c", good + ".not"}, exitUsage, "", "no such file", 1},
		"version":            {[]string{"version"}, 0, "vrouterd dev", "", 0},
		"schema":             {[]string{"schema"}, 0, `"$schema"`, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := execute(t, c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if n := strings.Count(stderr, "\n"); n != c.lines {
				t.Errorf("%d lines, expected %d:\n%s", n, c.lines, stderr)
			}
			if c.stdout == "" && stdout != "" {
				t.Errorf("stdout is %q", stdout)
			}
		})
	}
}

func TestADaemonThatCannotStartIsNotAnErrorOfUsage(t *testing.T) {
	good := file(t, "name: r1\n")
	_, stderr, code := execute(t, "-c", good, "--socket-dir", good, "--state-dir", t.TempDir())
	if code != exitFailed || !strings.HasPrefix(stderr, "vrouterd: ") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if strings.Contains(stderr, daemon.ErrConfig.Error()) {
		t.Errorf("it is called a fault of the configuration: %q", stderr)
	}
}
