package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets of the hosts in the test's own process. A socket belongs to the namespace that its
// thread was in when it was made, so it can be used from everywhere afterwards.

// listenUDP is a UDP socket on the host; "" is any address and port.
func (h *host) listenUDP(address string) *net.UDPConn {
	h.lab.t.Helper()
	if address == "" {
		address = "0.0.0.0:0"
	}
	var c *net.UDPConn
	err := h.in(func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
		return err
	})
	if err != nil {
		h.lab.t.Fatalf("%s: UDP socket at %s: %v", h.name, address, err)
	}
	h.lab.t.Cleanup(func() { c.Close() })
	return c
}

// listenTCP listens on the host.
func (h *host) listenTCP(address string) net.Listener {
	h.lab.t.Helper()
	var l net.Listener
	err := h.in(func() (err error) {
		l, err = net.Listen("tcp4", address)
		return err
	})
	if err != nil {
		h.lab.t.Fatalf("%s: listening at %s: %v", h.name, address, err)
	}
	h.lab.t.Cleanup(func() { l.Close() })
	return l
}

// dial connects from the host; local is an address and port, or "".
func (h *host) dial(network, local, remote string, limit time.Duration) (net.Conn, error) {
	h.lab.t.Helper()
	d := net.Dialer{Timeout: limit}
	if local != "" {
		from := netip.MustParseAddrPort(local)
		// Several connections from one port, as a host has them that punches holes.
		d.Control = func(_, _ string, c syscall.RawConn) (err error) {
			c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
			return err
		}
		if network == "tcp4" {
			d.LocalAddr = net.TCPAddrFromAddrPort(from)
		} else {
			d.LocalAddr = net.UDPAddrFromAddrPort(from)
		}
	}
	var c net.Conn
	err := h.in(func() (err error) {
		c, err = d.Dial(network, remote)
		return err
	})
	if err == nil {
		h.lab.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// connect is dial for a TCP connection that has to come about.
func (h *host) connect(local, remote string) net.Conn {
	h.lab.t.Helper()
	c, err := h.dial("tcp4", local, remote, 20*time.Second)
	if err != nil {
		h.lab.t.Fatalf("%s: %v", h.name, err)
	}
	return c
}

// serveUDP answers every datagram at an address of the host with "SOURCE PAYLOAD", where
// SOURCE is whom the host saw it come from.
func (h *host) serveUDP(address string) {
	h.lab.t.Helper()
	c := h.listenUDP(address)
	go func() {
		buffer := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			} else if err == nil {
				c.WriteToUDPAddrPort(fmt.Appendf(nil, "%v %s", from, buffer[:n]), from)
			}
		}
	}()
}

// serveTCP tells each client "SOURCE" and then answers every line with itself.
func (h *host) serveTCP(address string) {
	h.lab.t.Helper()
	l := h.listenTCP(address)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, c.RemoteAddr())
				io.Copy(c, c)
			}()
		}
	}()
}

// largePage is how many octets /large of serveWeb has.
const largePage = 8 << 20

// serveWeb is a web server whose page names the server and whom it saw ask.
func (h *host) serveWeb(address string) {
	h.lab.t.Helper()
	l := h.listenTCP(address)
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			w.Write(make([]byte, largePage))
			return
		}
		fmt.Fprintf(w, "%s was asked by %s\n", h.name, r.RemoteAddr)
	}))
}

// conversation is a TCP connection to serveTCP.
type conversation struct {
	net.Conn
	lines *bufio.Reader
	seen  string // who the server says that it talks to
}

// converse opens a connection to serveTCP.
func (h *host) converse(local, remote string) *conversation {
	h.lab.t.Helper()
	c := &conversation{Conn: h.connect(local, remote)}
	c.lines = bufio.NewReader(c)
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	line, err := c.lines.ReadString('\n')
	if err != nil {
		h.lab.t.Fatalf("%s: the first line of the server at %s: %v", h.name, remote, err)
	}
	c.seen = strings.TrimSpace(line)
	return c
}

// say sends a line and waits for its answer.
func (c *conversation) say(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	c.SetDeadline(deadline)
	if _, err := fmt.Fprintln(c, "are you there?"); err != nil {
		return err
	}
	line, err := c.lines.ReadString('\n')
	if err == nil && line != "are you there?\n" {
		err = fmt.Errorf("the answer was %q", line)
	}
	return err
}

// What comes of knocking at a port.
const (
	open        = "open"        // somebody answered
	refused     = "refused"     // a reset, or ICMP port unreachable
	unreachable = "unreachable" // another ICMP unreachable
	silent      = "silent"      // nothing came back
)

// verdict names what an error of a socket means.
func verdict(err error) string {
	var late net.Error
	switch {
	case err == nil:
		return open
	case errors.Is(err, unix.ECONNREFUSED):
		return refused
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return unreachable
	case errors.As(err, &late) && late.Timeout():
		return silent
	}
	return err.Error()
}

// knock says what a host gets that tries a port, waiting at most limit for an answer. Behind an open UDP
// port serveUDP has to stand.
func (h *host) knock(network, to string, limit time.Duration) string {
	h.lab.t.Helper()
	c, err := h.dial(network, "", to, limit)
	if err != nil {
		return verdict(err)
	}
	defer c.Close()
	if network == "tcp4" {
		return open
	}
	// A datagram may be lost to a busy machine: it is sent anew.
	for deadline := time.Now().Add(limit); ; {
		c.Write([]byte("knock"))
		c.SetReadDeadline(time.Now().Add(min(limit, 500*time.Millisecond)))
		if _, err = c.Read(make([]byte, 100)); verdict(err) != silent || time.Now().After(deadline) {
			return verdict(err)
		}
	}
}

// gets fails the test unless knocking has the outcome. Silence is waited for only shortly: it is what
// all failures look like, so no test is flaky for it.
func (h *host) gets(want, network, to string) {
	h.lab.t.Helper()
	limit := 20 * time.Second
	if want == silent {
		limit = 300 * time.Millisecond
	}
	if got := h.knock(network, to, limit); got != want {
		h.lab.t.Errorf("%s knocks at %s %s: expected %s, got %s", h.name, strings.TrimSuffix(network, "4"), to, want, got)
	}
}

// asks sends a datagram from a socket to serveUDP and returns whom the server saw. It is sent until
// it is answered.
func asks(t *testing.T, c *net.UDPConn, to string) (seen netip.AddrPort) {
	t.Helper()
	server := netip.MustParseAddrPort(to)
	buffer := make([]byte, 65536)
	eventually(t, 20*time.Second, "an answer from "+to+" to "+c.LocalAddr().String(), func() error {
		if _, err := c.WriteToUDPAddrPort([]byte("who am I?"), server); err != nil {
			return err
		}
		c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		for {
			n, from, err := c.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return err
			}
			text, _, _ := strings.Cut(string(buffer[:n]), " ")
			if from == server {
				seen, err = netip.ParseAddrPort(text)
				return err
			}
		}
	})
	return seen
}

// hears tells whether a datagram that begins with the text comes in before the limit.
func hears(c *net.UDPConn, text string, limit time.Duration) (from netip.AddrPort, ok bool) {
	buffer := make([]byte, 65536)
	c.SetReadDeadline(time.Now().Add(limit))
	for {
		n, from, err := c.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return netip.AddrPort{}, false
		}
		if strings.HasPrefix(string(buffer[:n]), text) {
			return from, true
		}
	}
}
