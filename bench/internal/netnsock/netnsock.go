// Package netnsock opens sockets inside network namespaces.
//
// A socket belongs for life to the namespace it was made in, whatever thread
// uses it later. So only its making happens inside the namespace, on a thread
// that is thrown away afterwards: it never goes back to the scheduler's
// pool in a foreign namespace.
package netnsock

import (
	"fmt"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// Open makes a socket in the namespace, which is a name known to `ip netns`, an
// absolute path, or "" for the caller's own, and hands it to prepare before
// anyone else sees it. The caller closes the descriptor.
func Open(netns string, domain, kind, protocol int, prepare func(fd int) error) (int, error) {
	type opened struct {
		fd  int
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		fd, err := open(netns, domain, kind, protocol, prepare)
		done <- opened{fd, err}
	}()
	o := <-done
	return o.fd, o.err
}

func open(netns string, domain, kind, protocol int, prepare func(fd int) error) (int, error) {
	if netns != "" {
		path := netns
		if !filepath.IsAbs(path) {
			path = "/run/netns/" + netns
		}
		ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, fmt.Errorf("open namespace %s: %w", path, err)
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return -1, fmt.Errorf("enter namespace %s: %w", path, err)
		}
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("open a socket: %w", err)
	}
	if err := prepare(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
