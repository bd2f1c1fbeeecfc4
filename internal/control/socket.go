package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is sun_path of unix(7) without its terminating zero.
const maxPath = 107

// socket is the listening end and the file that names it.
type socket struct {
	*net.UnixListener
	path string
	self fs.FileInfo // the file that this daemon made, so that it removes no other's
}

// listen makes the socket at path, and replaces one that a dead daemon left. The
// file is born with mode 0600 and opened to others when it has its owner, so that
// no client ever finds it too open. The directory is locked meanwhile: of two
// daemons that start at once exactly one wins.
func listen(path string, gid int, open bool) (*socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("control socket %s: the path has %d octets and a Unix socket takes %d: choose a shorter instance name", path, len(path), maxPath)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("control socket directory: %w", err)
	}
	unlock, err := lockDirectory(dir)
	if err != nil {
		return nil, fmt.Errorf("control socket directory %s: %w", dir, err)
	}
	defer unlock()
	if err := refuseLive(path); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket left by a dead daemon: %w", err)
	}
	config := net.ListenConfig{Control: bornClosed}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	s := &socket{UnixListener: l.(*net.UnixListener), path: path}
	s.SetUnlinkOnClose(false)
	if err := s.open(gid, open); err != nil {
		l.Close()
		os.Remove(path)
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return s, nil
}

// bornClosed gives the socket the mode that Linux gives the file at bind.
func bornClosed(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
		return e
	}
	return err
}

// open the file to its group, and to everybody where the configuration says so.
func (s *socket) open(gid int, everybody bool) (err error) {
	if gid >= 0 {
		// Only root may give a file to a group that it is not in; a daemon of an
		// ordinary user keeps its own group.
		if err := os.Chown(s.path, -1, gid); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if err := s.setMode(everybody); err != nil {
		return err
	}
	s.self, err = os.Lstat(s.path)
	return err
}

// setMode of the file: connecting to a Unix socket takes write permission.
func (s *socket) setMode(open bool) error {
	mode := fs.FileMode(0o660)
	if open {
		mode = 0o666
	}
	return os.Chmod(s.path, mode)
}

// close stops listening and removes the file if it is still this daemon's.
func (s *socket) close() error {
	err := s.UnixListener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil // http.Server has closed it
	}
	if now, e := os.Lstat(s.path); e == nil && os.SameFile(now, s.self) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}

// refuseLive tells a socket somebody listens on (*RunningError) from one that a
// dead daemon left behind (nil) and from a file that is no socket at all.
func refuseLive(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("control socket %s: a file that is no socket is in the way: remove it", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	running := &RunningError{Instance: strings.TrimSuffix(filepath.Base(path), ".sock")}
	if err != nil {
		return running // its queue is full, or it is another user's: it lives
	}
	defer c.Close()
	if cred, err := credentials(c.(*net.UnixConn)); err == nil {
		running.PID = int(cred.Pid)
	}
	return running
}

// lockDirectory holds other daemons' starts back until unlock is called.
func lockDirectory(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(d.Fd()), unix.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return func() { d.Close() }, nil
}
