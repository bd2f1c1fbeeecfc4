// Package daemon is one run of vrouterd: what is started in which order, what the
// signals do, and how all of it ends.
//
//	configuration -> router -> ports -> control socket -> ready
//
// The order is that of need: nobody is told that the router is ready before its
// ports forward, and the socket is there before that is said. It ends in reverse, and
// leaves nothing behind.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"vrouterd/internal/config"
	"vrouterd/internal/control"
	"vrouterd/internal/router"
)

// Options of a run.
type Options struct {
	ConfigPath string
	SocketDir  string // default /run/vrouterd
	StateDir   string // default /var/lib/vrouterd; revisions are kept below it
	Workers    int    // 0: as many as suit the machine
	Version    string
	Log        *slog.Logger
}

// Defaults of the directories.
const (
	SocketDir = "/run/vrouterd"
	StateDir  = "/var/lib/vrouterd"
	group     = "vrouterd"
)

// ErrConfig is a fault of the configuration: exit code 2.
var ErrConfig = errors.New("configuration refused")

// Run runs a router until it is told to stop by SIGTERM or SIGINT.
func Run(ctx context.Context, opt Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	text, c, err := load(opt.ConfigPath)
	if err != nil {
		return err
	}
	if err := router.CheckPorts(c); err != nil {
		return err
	}
	tune(opt.Workers)

	attach := router.NewTUNTAP()
	defer attach.Close()
	r, err := router.New(router.Options{
		Workers: opt.Workers, Version: opt.Version, ConfigPath: absolute(opt.ConfigPath),
		StateDir: filepath.Join(opt.StateDir, c.Name), Log: opt.Log, Attach: attach,
	})
	if err != nil {
		return err
	}
	// The router outlives the other tasks, so that a request under way gets its answer.
	routerCtx, stopRouter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRouter()
	routerDone := make(chan error, 1)
	go func() { routerDone <- r.Run(routerCtx) }()
	finish := func(err error) error {
		stopRouter()
		return errors.Join(err, <-routerDone)
	}

	server, err := openSocket(ctx, control.Options{
		Path: filepath.Join(opt.SocketDir, c.Name+".sock"), Group: group,
		ReadOnly: c.Control.ReadOnly, Backend: r, Log: opt.Log,
	})
	if err != nil {
		return finish(err)
	}
	if err := r.Start(c, text); err != nil {
		return finish(errors.Join(err, server.Close()))
	}
	r.OnReadOnly(server.SetReadOnly)

	n := newNotifier()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Serve(ctx) })
	g.Go(func() error {
		return sayReady(ctx, r, n, opt.Log.With("version", opt.Version, "file", opt.ConfigPath), patience)
	})
	g.Go(func() error { return reloads(ctx, hup, r, n, opt) })
	g.Go(func() error { return feed(ctx, r, n) })
	err = g.Wait()
	n.send("STOPPING=1")
	opt.Log.Info("stopping")
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return finish(err)
}

// goneWithin is how long a new run waits for the one before it to be gone: a killed process
// holds its socket until the kernel has cleared it away.
const goneWithin = time.Second

// openSocket makes the control socket.
func openSocket(ctx context.Context, o control.Options) (*control.Server, error) {
	deadline := time.Now().Add(goneWithin)
	for {
		server, err := control.NewServer(o)
		var other *control.RunningError
		if !errors.As(err, &other) || time.Now().After(deadline) {
			return server, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// load reads and validates the configuration file.
func load(path string) (string, *config.Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer file.Close()
	// Beyond the limit it is refused; a device that never ends must not fill the memory.
	text, err := io.ReadAll(io.LimitReader(file, config.MaxSize+1))
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := config.Parse(path, text)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return string(text), c, nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// tune leaves the Go scheduler a processor for everyone else: workers keep theirs
// while they are in a system call that it is not told of. The heap of a router is a few
// megabytes and its hot path makes no garbage: what does is a neighbour's large table, which a
// heap that may grow to three times its size takes in with a third less processor time.
func tune(workers int) {
	if workers == 0 {
		workers = router.DefaultWorkers()
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + workers)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

// patience is how often systemd is asked to wait on for ports that are not there yet; it
// would end the daemon otherwise.
const patience = 10 * time.Second

// sayReady tells systemd, and the log, once packets forward.
func sayReady(ctx context.Context, r *router.Router, n notifier, log *slog.Logger, every time.Duration) error {
	for {
		soon, cancel := context.WithTimeout(ctx, every)
		err := r.WaitReady(soon)
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return nil // stopped before
		}
		n.send(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=waiting for ports that are not up", (3 * every).Microseconds()))
	}
	log.Info("ready")
	if err := n.send("READY=1\nSTATUS=every enabled port is up"); err != nil {
		log.Warn("systemd does not listen", "error", err)
	}
	return nil
}

// reloads applies the configuration file again at every SIGHUP. A file that is
// refused changes nothing.
func reloads(ctx context.Context, hup <-chan os.Signal, r *router.Router, n notifier, opt Options) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
		}
		n.reloading()
		text, _, err := load(opt.ConfigPath)
		if err == nil {
			_, err = r.Reload(text)
		}
		if err != nil {
			var faults config.Errors
			if errors.As(err, &faults) {
				err = faults // every line begins with its place, the first one too
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				opt.Log.Error("reload refused, the router is unchanged", "reason", line)
			}
		}
		n.send("READY=1")
	}
}

// feed gives systemd's watchdog a sign of life as long as the control loop turns and no
// worker hangs.
func feed(ctx context.Context, r *router.Router, n notifier) error {
	every := watchdog()
	if every == 0 {
		return nil
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			soon, cancel := context.WithTimeout(ctx, every/2)
			if r.Alive(soon) {
				n.send("WATCHDOG=1")
			}
			cancel()
		}
	}
}
