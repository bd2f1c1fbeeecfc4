package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/internal/control/api"
)

// peer is one connection's caller, as the kernel tells it at connect time.
type peer struct {
	api.Peer
	groups   []int
	operator bool
}

// operators says who may change the router.
type operators struct {
	uid   int // the daemon's own
	gid   int // of the group; -1: there is none
	group string
}

func lookupOperators(group string, log *slog.Logger) operators {
	o := operators{uid: os.Geteuid(), gid: -1, group: group}
	if group == "" {
		return o
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		var unknown user.UnknownGroupError
		if !errors.As(err, &unknown) {
			log.Warn("control: cannot look the group up: only root may use the socket", "group", group, "error", err)
		}
		return o
	}
	if gid, err := strconv.Atoi(g.Gid); err == nil {
		o.gid = gid
	}
	return o
}

func (o operators) include(p *peer) bool {
	return p.UID == 0 || p.UID == o.uid ||
		o.gid >= 0 && (p.GID == o.gid || slices.Contains(p.groups, o.gid))
}

// identify asks the kernel who is at the other end.
func identify(c *net.UnixConn, o operators) (*peer, error) {
	cred, err := credentials(c)
	if err != nil {
		return nil, err
	}
	p := &peer{Peer: api.Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}}
	p.groups = supplementaryGroups(c, p.PID)
	p.operator = o.include(p)
	p.Name = userName(p.UID)
	return p, nil
}

// userName of uid, or the number where it has none.
func userName(uid int) string {
	if uid == 0 {
		return "root"
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return "uid " + strconv.Itoa(uid)
}

func credentials(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); e != nil {
		return nil, e
	}
	return cred, err
}

// supplementaryGroups of the peer. SO_PEERGROUPS (Linux 4.13) tells those at connect
// time; /proc, the fallback, those that the process with this number has now.
func supplementaryGroups(c *net.UnixConn, pid int) []int {
	if groups, err := peerGroups(c); err == nil {
		return groups
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil
	}
	return groupsOfStatus(string(status))
}

func groupsOfStatus(status string) []int {
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(line, "Groups:")
		if !ok {
			continue
		}
		var groups []int
		for _, f := range strings.Fields(rest) {
			if g, err := strconv.Atoi(f); err == nil {
				groups = append(groups, g)
			}
		}
		return groups
	}
	return nil
}

func peerGroups(c *net.UnixConn) ([]int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	buf := make([]uint32, 64)
	var got []uint32
	var errno unix.Errno
	if err := raw.Control(func(fd uintptr) {
		for {
			size := uint32(len(buf) * 4)
			_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
				uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
			if errno == unix.ERANGE && int(size) > len(buf)*4 { // size now says what it takes
				buf = make([]uint32, size/4)
				continue
			}
			got = buf[:min(int(size/4), len(buf))]
			return
		}
	}); err != nil {
		return nil, err
	}
	if errno != 0 {
		return nil, errno
	}
	groups := make([]int, len(got))
	for i, g := range got {
		groups[i] = int(g)
	}
	return groups, nil
}

// peerKey of a request's context.
type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	if kc, ok := c.(*knownConn); ok {
		return context.WithValue(ctx, peerKey{}, kc.peer)
	}
	return ctx
}

// listener accepts connections with a known peer, and no more than there is
// room for. Peers that are not operators share a smaller room, so that they
// cannot lock the operators out.
type listener struct {
	*socket
	operator operators
	log      *slog.Logger
	all      atomic.Int32
	guests   atomic.Int32
	turned   atomic.Int32 // being told that there is no room
}

func newListener(s *socket, o operators, log *slog.Logger) *listener {
	return &listener{socket: s, operator: o, log: log}
}

// knownConn is a connection whose peer the kernel has told.
type knownConn struct {
	*net.UnixConn
	peer   *peer
	from   *listener
	closed atomic.Bool
}

const fullAnswer = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" +
	`{"error":{"code":"busy","message":"too many connections to the control socket: close some and try again"}}` + "\n"

// Accept waits for the next connection that there is room for; others are
// answered "busy" and closed.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := identify(c, l.operator)
		if err != nil {
			l.log.Debug("control: the kernel does not tell who connects", "error", err)
			c.Close()
			continue
		}
		kc := &knownConn{UnixConn: c, peer: p, from: l}
		if l.admit(p) {
			return kc, nil
		}
		l.turnAway(kc)
	}
}

// turnAway says "busy". The peer's request is read before the connection is
// closed, because closing with octets unread takes the answer back; when too many
// are being told already, they are closed without a word.
func (l *listener) turnAway(c *knownConn) {
	if l.turned.Add(1) > maxTurnedAway {
		l.turned.Add(-1)
		c.Close()
		return
	}
	go func() {
		defer l.turned.Add(-1)
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Second))
		c.Write([]byte(fullAnswer))
		c.CloseWrite()
		io.Copy(io.Discard, io.LimitReader(c, maxJSONBytes))
	}()
}

func (l *listener) admit(p *peer) bool {
	all, guests := l.all.Add(1), int32(0)
	if !p.operator {
		guests = l.guests.Add(1)
	}
	return all <= maxConnections && guests <= maxGuestConnections
}

// Close gives the connection's room back, once.
func (c *knownConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.from.all.Add(-1)
		if !c.peer.operator {
			c.from.guests.Add(-1)
		}
	}
	return c.UnixConn.Close()
}

// Close is the Server's to do: it also removes the file.
func (l *listener) Close() error { return l.UnixListener.Close() }
