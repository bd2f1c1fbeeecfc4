package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"vrouterd/internal/control/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering listens and gives every request the same octets for an answer.
func answering(t *testing.T, octets string) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r1.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				io.Copy(io.Discard, r.Body)
				io.WriteString(conn, octets)
			}
			conn.Close()
		}
	}()
	c := New(path)
	t.Cleanup(func() { c.Close(); l.Close(); <-done })
	return c
}

func TestAnswersThatAreNoneAreErrorsThatSaySo(t *testing.T) {
	ctx := context.Background()
	for octets, says := range map[string]string{
		"":                                     "EOF",
		"HTTP/1.1 200 OK\r\n\r\n<html>":        "cannot be read",
		"HTTP/1.1 404 Not Found\r\n\r\n<html>": "is it a vrouterd?",
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[": "went away in the middle",
	} {
		_, err := answering(t, octets).Ports(ctx)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want … %s …", octets, err, says)
		}
	}
}

func TestAStreamThatIsCutOffIsNoGoodEnd(t *testing.T) {
	c := answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"sequence\": 1}\n\r\n")
	got := 0
	err := c.Ping(context.Background(), api.PingRequest{}, func(api.PingReply) error { got++; return nil })
	if got != 1 || err == nil || !strings.Contains(err.Error(), "went away") {
		t.Errorf("%d replies and %v", got, err)
	}
}

func TestTheLastLineMayBeARefusal(t *testing.T) {
	c := answering(t, "HTTP/1.1 200 OK\r\n\r\n{\"sequence\":1}\n{\"error\":{\"code\":\"failed\",\"message\":\"m\"}}\n")
	err := c.Ping(context.Background(), api.PingRequest{}, func(api.PingReply) error { return nil })
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.Failed {
		t.Errorf("got %v", err)
	}
}

func TestDialTellsDeadFromLive(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(Options{Directory: dir})
	if !errors.Is(err, ErrNoDaemon) {
		t.Errorf("nothing there: %v", err)
	}
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "a.sock"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	for _, o := range []Options{{Directory: dir}, {Directory: dir, Instance: "a"}, {Socket: filepath.Join(dir, "a.sock")}, {Directory: dir, Instance: "../x"}} {
		if _, err := Dial(o); !errors.Is(err, ErrNoDaemon) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	for _, name := range []string{"b", "c"} {
		l, err := net.Listen("unix", filepath.Join(dir, name+".sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := Dial(Options{Directory: dir})
		var several *SeveralError
		switch {
		case name == "b" && (err != nil || !strings.HasSuffix(c.Path(), "/b.sock")):
			t.Errorf("the only live one is meant: %v", err)
		case name == "c" && (!errors.As(err, &several) || strings.Join(several.Instances, " ") != "b c"):
			t.Errorf("two live ones: %v", err)
		}
	}
}
