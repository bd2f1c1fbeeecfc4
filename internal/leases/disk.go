package leases

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is where the journal lies: the file system, or what a test puts in its place.
type disk interface {
	// Open opens a file, or makes it, for reading from its beginning and appending.
	Open(path string) (file, error)
	// Create makes an empty file for appending, in place of one that may be there.
	Create(path string) (file, error)
	Rename(from, to string) error
	Remove(path string) error // none there is no error
	// SyncDirectory makes names in the directory of path durable.
	SyncDirectory(path string) error
}

type file interface {
	io.ReadWriteCloser
	Truncate(size int64) error
	Sync() error // makes what was written durable
	// Gone reports that no name leads to the file any longer: what is written to it is lost when it is closed.
	Gone() bool
}

// ErrLocked tells that another process has the journal open.
var ErrLocked = errors.New("another vrouterd has it open: two would give the same address to two hosts")

// fileSystem is the disk of a running router. Every file that it opens is locked against other processes
// for as long as it is open: the journal moves from one file to the next, and the lock with it.
type fileSystem struct{}

type lockedFile struct{ *os.File }

// Sync leaves out what the journal does not need, such as the time of the last change.
func (f lockedFile) Sync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

func (f lockedFile) Gone() bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && st.Nlink == 0
}

func (fileSystem) Open(path string) (file, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	for range 100 {
		f, err := openLocked(path, os.O_RDWR)
		if err != nil {
			return nil, err
		}
		// Another process may have put a new file in the place of the one that was opened, before it was locked.
		now, err := os.Stat(path)
		was, err2 := f.Stat()
		if err == nil && err2 == nil && os.SameFile(now, was) {
			return lockedFile{f}, nil
		}
		f.Close()
	}
	return nil, ErrLocked
}

func (fileSystem) Create(path string) (file, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	f, err := openLocked(path, os.O_WRONLY|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	return lockedFile{f}, nil
}

func openLocked(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("it cannot be locked: %w", err)
	}
	return f, nil
}

func (fileSystem) Rename(from, to string) error { return os.Rename(from, to) }

func (fileSystem) Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (fileSystem) SyncDirectory(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
