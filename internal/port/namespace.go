package port

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// namedDir is where `ip netns` keeps the namespaces that have a name.
const namedDir = "/run/netns"

// namespace is an open network namespace with a netlink handle inside it, both
// kept for the life of their owner. While it is open the namespace lives, even when
// its name is gone; see [nsID.goneFrom].
type namespace struct {
	label  string // for messages: "the daemon's own namespace", or "namespace h1"
	path   string // "" for the daemon's own
	own    bool   // it is the daemon's own, whatever it was called
	id     nsID
	fd     netns.NsHandle
	handle *netlink.Handle
}

// nsID tells one namespace from another (namespaces(7): device and inode).
type nsID struct{ dev, ino uint64 }

// namespacePath turns the Netns of a Spec into a path; "" stays "".
func namespacePath(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(namedDir, name)
}

// openNamespace opens the namespace of spec and a netlink handle in it.
func openNamespace(spec Spec) (*namespace, error) {
	if spec.Netns != "" && !filepath.IsAbs(spec.Netns) && filepath.Base(spec.Netns) != spec.Netns || spec.Netns == ".." || spec.Netns == "." {
		return nil, &fault{kind: ErrSpec, text: fmt.Sprintf(
			"port %s: %q is neither the name of a network namespace nor an absolute path to one", spec.Name, spec.Netns)}
	}
	ns := &namespace{path: namespacePath(spec.Netns), label: "the daemon's own namespace", fd: netns.None()}
	current, err := ownNamespace()
	if err != nil {
		return nil, fmt.Errorf("port %s: opening the daemon's own namespace: %w", spec.Name, err)
	}
	if ns.path == "" {
		ns.fd, ns.own = current, true
	} else {
		defer current.Close()
		ns.label = "namespace " + spec.Netns
		if ns.fd, err = netns.GetFromPath(ns.path); err != nil {
			return nil, namespaceFault(spec, ns.path, err)
		}
		if err := isNetworkNamespace(ns.fd); err != nil {
			ns.fd.Close()
			return nil, &fault{kind: ErrNamespaceMissing, cause: err, text: fmt.Sprintf(
				"port %s: %s is not a network namespace: make it with `ip netns add`, in the mount namespace that the daemon sees",
				spec.Name, ns.path)}
		}
		ns.own = ns.fd.Equal(current)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.fd), &st); err != nil {
		ns.close()
		return nil, fmt.Errorf("port %s: %s: %w", spec.Name, ns.label, err)
	}
	ns.id = nsID{uint64(st.Dev), st.Ino}
	if err := ns.openHandle(); err != nil {
		ns.close()
		if errors.Is(err, unix.EPERM) {
			return nil, &fault{kind: ErrPermission, cause: err, text: fmt.Sprintf(
				"port %s: %s may not be entered: it belongs to another user namespace, in which vrouterd needs CAP_SYS_ADMIN",
				spec.Name, ns.label)}
		}
		return nil, fmt.Errorf("port %s: entering %s: %w", spec.Name, ns.label, err)
	}
	return ns, nil
}

// namespaceFault words the failure to open a namespace's file.
func namespaceFault(spec Spec, path string, err error) error {
	if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("port %s: opening network namespace %s: %w", spec.Name, path, err)
	}
	text := fmt.Sprintf("port %s: there is no network namespace %s", spec.Name, spec.Netns)
	if !filepath.IsAbs(spec.Netns) {
		text += fmt.Sprintf(": make it with `ip netns add %s`", spec.Netns)
	} else {
		text += ": its file, or the process it belongs to, is gone"
	}
	return &fault{kind: ErrNamespaceMissing, text: text, cause: err}
}

// isNetworkNamespace refuses a file that setns(2) would refuse: a plain file under
// /run/netns is what `ip netns add` looks like from a foreign mount namespace.
func isNetworkNamespace(fd netns.NsHandle) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(fd), &fs); err != nil {
		return err
	}
	if fs.Type != unix.NSFS_MAGIC {
		return errors.New("not a namespace")
	}
	kind, err := unix.IoctlRetInt(int(fd), unix.NS_GET_NSTYPE)
	if err != nil {
		return err
	}
	if kind != unix.CLONE_NEWNET {
		return errors.New("a namespace of another kind")
	}
	return nil
}

// ownNamespace is the one that every thread of the daemon is in by rule.
func ownNamespace() (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return netns.Get()
}

// do runs fn on a thread that is in the namespace. fn must start no goroutine.
//
// The thread is not the caller's: should the way back fail, the goroutine made for
// the purpose ends while it is locked to its thread, and the runtime ends that thread
// with it. A caller locked to a lost thread would have to go on in the wrong
// namespace for ever.
func (ns *namespace) do(fn func() error) error {
	if ns.own {
		return fn()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		old, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		if err = netns.Set(ns.fd); err == nil {
			err = fn()
		}
		if back := netns.Set(old); back == nil {
			runtime.UnlockOSThread()
		}
		old.Close()
		done <- err
	}()
	return <-done
}

// goneFrom reports that the namespace can no longer be reached under path: the name
// was deleted, or another namespace has taken it. The namespace itself lives for
// as long as a descriptor or a device holds it.
func (id nsID) goneFrom(path string) bool {
	if path == "" {
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESRCH)
	}
	return nsID{uint64(st.Dev), st.Ino} != id
}

// clone opens the same namespace a second time, with a netlink handle of its own.
func (ns *namespace) clone() (*namespace, error) {
	fd, err := unix.FcntlInt(uintptr(ns.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
	}
	twin := &namespace{label: ns.label, path: ns.path, own: ns.own, id: ns.id, fd: netns.NsHandle(fd)}
	if err := twin.openHandle(); err != nil {
		twin.close()
		return nil, err
	}
	return twin, nil
}

// openHandle opens the netlink handle on a thread that has entered already: netlink's
// own way in and out unlocks the thread even when it could not return.
func (ns *namespace) openHandle() error {
	return ns.do(func() (err error) {
		ns.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
}

// close may be called twice.
func (ns *namespace) close() {
	if ns.handle != nil {
		ns.handle.Close()
		ns.handle = nil
	}
	if ns.fd.IsOpen() {
		ns.fd.Close()
	}
}

// dump repeats a netlink dump that a concurrent change has interrupted. The error
// stands after a number of attempts: decisions such as "nobody is left in this
// bridge" are not taken on half a list.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const attempts = 16
	for n := 1; ; n++ {
		got, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || n == attempts {
			return got, err
		}
	}
}
