package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

// dialAs connects as another user: only one thread changes, and dies with its goroutine.
func dialAs(path string, uid, gid int, groups ...uint32) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked
		var first unsafe.Pointer
		if len(groups) > 0 {
			first = unsafe.Pointer(&groups[0])
		}
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0},
			{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
			{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- result{nil, fmt.Errorf("become uid %d: %w", uid, errno)}
				return
			}
		}
		conn, err := net.Dial("unix", path)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// as another user, one request; status 0 when the socket cannot be opened.
func requestAs(t *testing.T, s *Server, method, path, body string, uid, gid int, groups ...uint32) (int, string) {
	t.Helper()
	conn, err := dialAs(s.Path(), uid, gid, groups...)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return 0, err.Error()
		}
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}}
	status, _, answer := request(t, c, method, path, body)
	return status, answer
}

const stranger = 61234 // a uid and gid that nobody has

func groupID(t *testing.T, name string) int {
	t.Helper()
	g, err := user.LookupGroup(name)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(g.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPeerCredentialsDecide(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test becomes other users: run it as root")
	}
	const group = "daemon" // exists everywhere, and stands for vrouterd
	gid := groupID(t, group)
	s := start(t, controltest.New("r1"), func(o *Options) { o.Group = group })
	up := `{"up":true}`

	if status, _ := requestAs(t, s, "PUT", "/v1/ports/lan", up, 0, 0); status != 204 {
		t.Errorf("root got %d", status)
	}
	if status, _ := requestAs(t, s, "PUT", "/v1/ports/lan", up, stranger, gid); status != 204 {
		t.Errorf("a user whose own group it is got %d", status)
	}
	if status, _ := requestAs(t, s, "PUT", "/v1/ports/lan", up, stranger, stranger, 7, uint32(gid), 9); status != 204 {
		t.Errorf("a user with the group among others got %d", status)
	}
	if status, says := requestAs(t, s, "GET", "/v1/ports", "", stranger, stranger, 7); status != 0 {
		t.Errorf("a stranger got through the socket's mode: %d %s", status, says)
	}

	if err := s.SetReadOnly("all"); err != nil {
		t.Fatal(err)
	}
	if status, _ := requestAs(t, s, "GET", "/v1/ports", "", stranger, stranger); status != 200 {
		t.Errorf("read_only: all, and a stranger who reads got %d", status)
	}
	for _, forbidden := range [][3]string{
		{"PUT", "/v1/ports/lan", up}, {"GET", "/v1/config", ""}, {"PUT", "/v1/config", "name: r1"},
		{"POST", "/v1/capture", "{}"}, {"POST", "/v1/ping", `{"address":"10.1.0.2"}`},
	} {
		status, body := requestAs(t, s, forbidden[0], forbidden[1], forbidden[2], stranger, stranger)
		if e := refused(t, body); status != 403 || e.Code != api.Forbidden {
			t.Errorf("%s %s by a stranger got %d %+v", forbidden[0], forbidden[1], status, e)
		}
	}

	// A connection that was open already loses its right at once too.
	conn, err := dialAs(s.Path(), stranger, stranger)
	if err != nil {
		t.Fatal(err)
	}
	keep := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }}
	defer keep.CloseIdleConnections()
	if status, _, _ := request(t, &http.Client{Transport: keep}, "GET", "/v1/ports", ""); status != 200 {
		t.Fatalf("got %d", status)
	}
	if err := s.SetReadOnly("group"); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := request(t, &http.Client{Transport: keep}, "GET", "/v1/ports", ""); status != 403 {
		t.Errorf("after the right was taken away: %d", status)
	}
}

func TestTheSocketBelongsToTheGroup(t *testing.T) {
	s := start(t, controltest.New("r1"), func(o *Options) { o.Group = "daemon" })
	for _, k := range []struct {
		readOnly string
		mode     os.FileMode
	}{{"", 0o660}, {"all", 0o666}, {"group", 0o660}} {
		if k.readOnly != "" {
			if err := s.SetReadOnly(k.readOnly); err != nil {
				t.Fatal(err)
			}
		}
		var st unix.Stat_t
		if err := unix.Lstat(s.Path(), &st); err != nil {
			t.Fatal(err)
		}
		if mode := os.FileMode(st.Mode).Perm(); mode != k.mode {
			t.Errorf("read_only %q: mode %o, want %o", k.readOnly, mode, k.mode)
		}
		if os.Geteuid() == 0 && int(st.Gid) != groupID(t, "daemon") {
			t.Errorf("the socket's group is %d", st.Gid)
		}
	}
}

func TestOperatorsWithoutAGroup(t *testing.T) {
	o := lookupOperators("no-such-group-here", nil)
	if o.gid != -1 {
		t.Fatalf("gid %d", o.gid)
	}
	o.uid = 1000
	for uid, want := range map[int]bool{0: true, 1000: true, 1001: false} {
		p := &peer{Peer: api.Peer{UID: uid, GID: -1}}
		if o.include(p) != want {
			t.Errorf("uid %d: got %v", uid, !want)
		}
	}
}

func TestGroupsOfStatus(t *testing.T) {
	if got := groupsOfStatus("Name:\tx\nGroups:\t4 24 1000 \nNStgid:\t1\n"); !slices.Equal(got, []int{4, 24, 1000}) {
		t.Errorf("got %v", got)
	}
	if got := groupsOfStatus("Name:\tx\n"); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestStrangersCannotLockOperatorsOut(t *testing.T) {
	l := newListener(nil, operators{}, nil)
	guest, operator := &peer{}, &peer{operator: true}
	for i := range maxGuestConnections {
		if !l.admit(guest) {
			t.Fatalf("guest %d was refused", i)
		}
	}
	if l.admit(guest) {
		t.Error("a guest too many was let in")
	}
	if !l.admit(operator) {
		t.Error("guests kept an operator out")
	}
}

func TestConnectionsBeyondTheBoundAreToldSo(t *testing.T) {
	s := start(t, controltest.New("r1"), nil)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range maxConnections {
		c, err := net.Dial("unix", filepath.Clean(s.Path()))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	status, _, body := request(t, httpTo(t, s.Path()), "GET", "/v1/status", "")
	if e := refused(t, body); status != 503 || e.Code != api.Busy {
		t.Errorf("got %d %+v", status, e)
	}
	for _, c := range open {
		c.Close()
	}
	open = nil
	eventually(t, "room again", func() bool {
		status, _, _ := request(t, httpTo(t, s.Path()), "GET", "/v1/status", "")
		return status == 200
	})
}
