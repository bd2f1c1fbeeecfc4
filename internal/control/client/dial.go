// Package client speaks to a running vrouterd over its control socket.
//
// Dial finds the daemon: by socket path, by instance name, or, with neither, the
// only one that runs. Sockets that a dead daemon left behind do not count: a
// socket is live if something accepts on it. After that one method is one request.
package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Directory holds the sockets of all instances.
const Directory = "/run/vrouterd"

// dialTimeout is for connecting to a Unix socket: only a daemon that has stopped
// accepting takes this long.
const dialTimeout = 2 * time.Second

// Options say which daemon is meant.
type Options struct {
	Instance  string // the name in its configuration; "": any
	Socket    string // its path; wins over Instance
	Directory string // of sockets; "": Directory
}

// ErrNoDaemon is in the chain of every error that says that no daemon answers.
var ErrNoDaemon = errors.New("no daemon")

// NoDaemonError says which daemon was looked for and not found.
type NoDaemonError struct {
	message string
}

func (e *NoDaemonError) Error() string   { return e.message }
func (e *NoDaemonError) Is(t error) bool { return t == ErrNoDaemon }

// SeveralError says that several daemons run and none was chosen.
type SeveralError struct {
	Instances []string
}

func (e *SeveralError) Error() string {
	return fmt.Sprintf("several routers are running (%s): choose one with -n NAME", strings.Join(e.Instances, ", "))
}

// Client asks one daemon. It may be used by several goroutines.
type Client struct {
	path string
	http *http.Client
}

// Dial finds the daemon and checks that it lives. The error is a *NoDaemonError,
// a *SeveralError, or says why the socket cannot be used.
func Dial(o Options) (*Client, error) {
	if o.Directory == "" {
		o.Directory = Directory
	}
	path := o.Socket
	switch {
	case path != "":
	case o.Instance != "":
		if strings.ContainsAny(o.Instance, "/\x00") {
			return nil, &NoDaemonError{fmt.Sprintf("%q is no instance name: use -s for the path of a socket", o.Instance)}
		}
		path = filepath.Join(o.Directory, o.Instance+".sock")
	default:
		var err error
		if path, err = only(o.Directory); err != nil {
			return nil, err
		}
	}
	c := New(path)
	conn, err := c.dial(context.Background())
	if err != nil {
		return nil, c.explain(err)
	}
	conn.Close()
	return c, nil
}

// New is a Client of the socket at path, which need not exist yet.
func New(path string) *Client {
	c := &Client{path: path}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression: true,
		MaxIdleConns:       1,
	}}
	return c
}

// Path of the socket.
func (c *Client) Path() string { return c.path }

// Close gives up connections that wait for another request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "unix", c.path)
}

// only is the socket of the only daemon that runs.
func only(dir string) (string, error) {
	all, err := Instances(dir)
	if err != nil {
		return "", err
	}
	switch len(all) {
	case 0:
		return "", &NoDaemonError{fmt.Sprintf("no vrouterd is running (no live socket in %s): start one with vrouterd -c FILE", dir)}
	case 1:
		return filepath.Join(dir, all[0]+".sock"), nil
	}
	return "", &SeveralError{Instances: all}
}

// Instances are the names of the live daemons with a socket in dir, sorted. A
// daemon whose socket one may not use counts as live.
func Instances(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.sock"))
	if err != nil {
		return nil, err
	}
	var live []string
	for _, p := range paths {
		c, err := net.DialTimeout("unix", p, dialTimeout)
		if err == nil {
			c.Close()
		} else if dead(err) {
			continue
		}
		live = append(live, strings.TrimSuffix(filepath.Base(p), ".sock"))
	}
	slices.Sort(live)
	return live, nil
}

// dead tells that nothing listens, from that it may not be asked.
func dead(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTSOCK)
}

// explain a failed connection or request in a sentence.
func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return &NoDaemonError{fmt.Sprintf("no vrouterd answers on %s: the daemon that made it is gone; start it again", c.path)}
	case errors.Is(err, fs.ErrNotExist):
		if others, e := Instances(filepath.Dir(c.path)); e == nil && len(others) > 0 {
			return &NoDaemonError{fmt.Sprintf("no vrouterd has the socket %s: running are %s", c.path, strings.Join(others, ", "))}
		}
		return &NoDaemonError{fmt.Sprintf("no vrouterd has the socket %s: start one with vrouterd -c FILE", c.path)}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the socket %s may not be used by you: become root, or a member of the group that owns it", c.path)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("control socket %s: %w", c.path, unwrapURL(err))
}
