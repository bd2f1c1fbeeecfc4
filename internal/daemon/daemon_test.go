package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vrouterd/internal/config"
	"vrouterd/internal/control/api"
	"vrouterd/internal/control/client"
	"vrouterd/internal/port"
	"vrouterd/internal/router"
)

// A daemon without ports needs no privileges, and is a whole one otherwise.
const portless = "name: r1\n"

type book struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) has(words string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.text.String(), words)
}

type running struct {
	*client.Client
	t    *testing.T
	opt  Options
	log  *book
	done chan error
	stop func() error
}

// options of a daemon with directories of its own.
func options(t *testing.T, text string) (Options, *book) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vr") // short, as a socket's path has to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "r1.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &book{}
	return Options{
		ConfigPath: file, SocketDir: filepath.Join(dir, "run"), StateDir: filepath.Join(dir, "state"),
		Workers: 1, Version: "test", Log: slog.New(slog.NewTextHandler(b, nil)),
	}, b
}

// launch starts a daemon and waits until its socket answers.
func launch(t *testing.T, opt Options, b *book) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, opt: opt, log: b, done: make(chan error, 1), Client: client.New(filepath.Join(opt.SocketDir, "r1.sock"))}
	go func() { r.done <- Run(ctx, opt) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		r.Client.Close()
		return <-r.done
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(b.text.String())
		}
	})
	eventually(t, "the socket answers", func() bool { _, err := r.Status(context.Background()); return err == nil })
	return r
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(15 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

func start(t *testing.T, text string) *running {
	t.Helper()
	opt, b := options(t, text)
	return launch(t, opt, b)
}

func hangup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

const hole = "routes: [{to: 10.0.0.0/8, type: blackhole}]\n"

func TestADaemonServesAndLeavesNothing(t *testing.T) {
	r := start(t, portless)
	s, err := r.Status(t.Context())
	if err != nil || s.Name != "r1" || !s.Ready || s.Version != "test" || s.ConfigFile != r.opt.ConfigPath {
		t.Errorf("%+v, %v", s, err)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(r.opt.SocketDir, "r1.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestSIGHUPReloads(t *testing.T) {
	for _, name := range []string{portless, "ports: {}\n"} { // also where the file's name is the router's
		r := start(t, name+"# mine\n")
		if err := os.WriteFile(r.opt.ConfigPath, []byte(name+hole), 0o644); err != nil {
			t.Fatal(err)
		}
		hangup(t)
		eventually(t, "the route is there", func() bool { routes, _ := r.Routes(t.Context()); return len(routes) == 1 })
		h, err := r.ConfigHistory(t.Context())
		if err != nil || len(h) != 2 || h[0].Author != "SIGHUP" {
			t.Errorf("%+v, %v", h, err)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestAReloadThatIsRefusedChangesNothing(t *testing.T) {
	r := start(t, portless+hole)
	for name, spoil := range map[string]func() error{
		"vanished":     func() error { return os.Remove(r.opt.ConfigPath) },
		"a directory":  func() error { return os.Mkdir(r.opt.ConfigPath, 0o755) },
		"not a config": func() error { return os.WriteFile(r.opt.ConfigPath, []byte("porst: {}\n"), 0o644) },
		"binary":       func() error { return os.WriteFile(r.opt.ConfigPath, []byte{0, 1, 2, 0xff}, 0o644) },
		"another name": func() error { return os.WriteFile(r.opt.ConfigPath, []byte("name: r2\n"), 0o644) },
		"endless":      func() error { return os.Symlink("/dev/zero", r.opt.ConfigPath) },
	} {
		os.RemoveAll(r.opt.ConfigPath)
		if name == "vanished" {
			os.WriteFile(r.opt.ConfigPath, nil, 0o644)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		r.log.mu.Lock()
		r.log.text.Reset()
		r.log.mu.Unlock()
		hangup(t)
		eventually(t, name+": the refusal is logged", func() bool { return r.log.has("reload refused, the router is unchanged") })
		if text, err := r.ConfigText(t.Context()); err != nil || text != portless+hole {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	if err := r.AddRoute(t.Context(), api.RouteSpec{To: "11.0.0.0/8", Type: "blackhole"}); err != nil {
		t.Error(err)
	}
}

func TestASecondDaemonOfOneNameIsRefusedAndHarmsNothing(t *testing.T) {
	r := start(t, portless)
	err := Run(t.Context(), r.opt)
	if err == nil || errors.Is(err, ErrConfig) {
		t.Fatalf("expected a refusal, got %v", err)
	}
	if _, err := r.Status(t.Context()); err != nil {
		t.Errorf("the first daemon no longer answers: %v", err)
	}
	if err := r.AddRoute(t.Context(), api.RouteSpec{To: "11.0.0.0/8", Type: "blackhole"}); err != nil {
		t.Error(err)
	}
}

func TestADeadDaemonsSocketIsReplaced(t *testing.T) {
	opt, b := options(t, portless)
	if err := os.MkdirAll(opt.SocketDir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(opt.SocketDir, "r1.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	launch(t, opt, b)
}

func TestWhatCannotStartSaysSoInOneSentence(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(t *testing.T, o *Options)
		config bool
	}{
		"no file":         {func(_ *testing.T, o *Options) { o.ConfigPath += ".not" }, true},
		"a directory":     {func(_ *testing.T, o *Options) { o.ConfigPath = filepath.Dir(o.ConfigPath) }, true},
		"endless":         {func(_ *testing.T, o *Options) { o.ConfigPath = "/dev/zero" }, true},
		"no socket there": {func(_ *testing.T, o *Options) { o.SocketDir = o.ConfigPath }, false},
		"too long":        {func(_ *testing.T, o *Options) { o.SocketDir += strings.Repeat("/long", 30) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			opt, _ := options(t, portless)
			c.spoil(t, &opt)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := Run(ctx, opt)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v", err)
			}
			if errors.Is(err, ErrConfig) != c.config {
				t.Errorf("is it the configuration's fault? %v", err)
			}
		})
	}
}

func TestAStateDirectoryThatCannotBeUsedIsNoReasonNotToRoute(t *testing.T) {
	opt, b := options(t, portless)
	opt.StateDir = opt.ConfigPath // a file
	r := launch(t, opt, b)
	if err := r.AddRoute(t.Context(), api.RouteSpec{To: "11.0.0.0/8", Type: "blackhole"}); err != nil {
		t.Error(err)
	}
	if _, err := r.ConfigRollback(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if !b.has("history") {
		t.Error("nothing is said of it")
	}
}

func TestCorruptRevisionsAreToldOfAndLeftAlone(t *testing.T) {
	opt, b := options(t, portless)
	dir := filepath.Join(opt.StateDir, "r1")
	if err := os.MkdirAll(filepath.Join(dir, "revision-000009.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"", "\x00\xff", "# vrouterd revision 3\n# octets: 99999999999999999999\n", strings.Repeat("#", 1<<20)} {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("revision-%06d.yaml", i+1)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := launch(t, opt, b)
	if h, err := r.ConfigHistory(t.Context()); err != nil || len(h) != 1 || h[0].Number != 10 {
		t.Errorf("%+v, %v", h, err)
	}
	if !b.has("cannot be read") {
		t.Error("nothing is said of it")
	}
}

func TestTheHistorySurvivesARestart(t *testing.T) {
	opt, b := options(t, portless)
	r := launch(t, opt, b)
	if err := r.AddRoute(t.Context(), api.RouteSpec{To: "11.0.0.0/8", Type: "blackhole"}); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = launch(t, opt, b)
	h, err := r.ConfigHistory(t.Context())
	if err != nil || len(h) != 3 || h[0].Author != "startup" || h[2].Author != "startup" {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := r.ConfigRollback(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if routes, _ := r.Routes(t.Context()); len(routes) != 1 {
		t.Errorf("%+v", routes)
	}
}

func TestSystemdIsToldHowItGoes(t *testing.T) {
	opt, b := options(t, portless)
	path := filepath.Join(filepath.Dir(opt.ConfigPath), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "20000")
	said := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		l.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("%s was not said: %v", want, err)
			}
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	r := launch(t, opt, b)
	said("READY=1")
	said("WATCHDOG=1")
	hangup(t)
	said("RELOADING=1\nMONOTONIC_USEC=")
	said("READY=1")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	said("STOPPING=1")
}

func TestAHugeConfigurationIsRefusedByItsSize(t *testing.T) {
	opt, _ := options(t, portless+strings.Repeat("#\n", config.MaxSize/2))
	err := Run(t.Context(), opt)
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "larger") {
		t.Errorf("%v", err)
	}
}

// nowhere is an attacher whose namespaces do not exist.
type nowhere struct{}

func (nowhere) Open(port.Spec) (router.Device, error) { return nil, port.ErrNamespaceMissing }
func (nowhere) Watch(string, router.Device) error     { return nil }
func (nowhere) Unwatch(string)                        {}
func (nowhere) Events() <-chan port.Event             { return nil }

func TestSystemdIsAskedToWaitForPortsThatAreNotThereYet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := router.New(router.Options{Workers: 1, Attach: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- r.Run(ctx) }()
	text := "name: r1\nports: {lan: {netns: gone, address: 10.0.0.1/24}}\n"
	c, err := config.Parse("r1.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(c, text); err != nil {
		t.Fatal(err)
	}
	go func() { done <- sayReady(ctx, r, notifier{path}, slog.New(slog.DiscardHandler), 10*time.Millisecond) }()
	buf := make([]byte, 4096)
	for range 2 {
		l.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := l.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "EXTEND_TIMEOUT_USEC=30000\n") {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
