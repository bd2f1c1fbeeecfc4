package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

// socketDir is a directory that every user may pass, unlike t.TempDir.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vrc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start a server of backend; change may set options.
func start(t testing.TB, backend api.Backend, change func(*Options)) *Server {
	t.Helper()
	o := Options{Path: filepath.Join(socketDir(t), "r1.sock"), Backend: backend}
	if change != nil {
		change(&o)
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return s
}

// httpTo is a client of the socket; every request has its own connection.
func httpTo(t testing.TB, path string) *http.Client {
	tr := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func request(t testing.TB, c *http.Client, method, path, body string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://r"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

// eventually polls until ok holds, or fails with what was hoped for.
func eventually(t testing.TB, hope string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("in 10s not seen: %s", hope)
		case <-tick.C:
		}
	}
}

func refused(t testing.TB, body string) api.Error {
	t.Helper()
	var e api.ErrorBody
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" {
		t.Fatalf("a refusal is {error: {code, message}}; got %q", body)
	}
	return e.Error
}

func TestRefusalsHaveTheRightStatusAndASentence(t *testing.T) {
	s := start(t, controltest.New("r1"), nil)
	c := httpTo(t, s.Path())
	for _, k := range []struct {
		method, path, body string
		status             int
		code, says         string
	}{
		{"GET", "/", "", 404, api.NotFound, "there is no"},
		{"GET", "/v1/route", "", 404, api.NotFound, "openapi.yaml"},
		{"GET", "/v1/route/", "", 404, api.NotFound, "openapi.yaml"},
		{"POST", "/v1/ports", "", 405, api.Usage, "takes GET"},
		{"PATCH", "/v1/routes", "", 405, api.Usage, "DELETE or GET or POST"},
		{"GET", "/v1/ports?up=1", "", 400, api.Usage, "unknown parameter"},
		{"GET", "/v1/route/10.1", "", 400, api.Usage, "not an IPv4 address"},
		{"GET", "/v1/route/2001:db8::1", "", 400, api.Usage, "not an IPv4 address"},
		{"GET", "/v1/status", "hello", 400, api.Usage, "takes no body"},
		{"PUT", "/v1/ports/lan", "", 400, api.Usage, "not a JSON object"},
		{"PUT", "/v1/ports/lan", "{}", 400, api.Usage, "up: true or false"},
		{"PUT", "/v1/ports/lan", `{"up":"yes"}`, 400, api.Usage, `field "up" cannot be a string`},
		{"PUT", "/v1/ports/lan", `{"up":true} {}`, 400, api.Usage, "goes on after"},
		{"PUT", "/v1/ports/lan", `{"up":true,"sideways":1}`, 400, api.Usage, "sideways"},
		{"PUT", "/v1/ports/nix", `{"up":true}`, 404, api.NotFound, "no port"},
		{"POST", "/v1/routes", `{"to":"10.1.2.3/8"}`, 400, api.Usage, "10.0.0.0/8 is the network"},
		{"POST", "/v1/routes", `{"to":"10.0.0.0/8"}`, 400, api.Usage, "leads nowhere"},
		{"POST", "/v1/routes", `{"to":"10.0.0.0/8","via":["x"]}`, 400, api.Usage, "via"},
		{"POST", "/v1/routes", `{"to":"10.0.0.0/8","type":"hole"}`, 400, api.Usage, "one of unicast"},
		{"POST", "/v1/routes", `{"to":"10.0.0.0/8","type":"prohibit","port":"lan"}`, 400, api.Usage, "leads nowhere"},
		{"POST", "/v1/routes", `{"to":"10.0.0.0/8","port":"lan","distance":256}`, 400, api.Usage, "distance"},
		{"POST", "/v1/routes", `{"to":"10.9.0.0/16","port":"lan"}`, 409, api.Conflict, "already"},
		{"POST", "/v1/routes", strings.Repeat(" ", maxJSONBytes+1), 413, api.Usage, "longer than"},
		{"DELETE", "/v1/routes?to=10.0.0.0/8&metric=x", "", 400, api.Usage, `metric="x"`},
		{"DELETE", "/v1/routes?to=10.77.0.0/16", "", 404, api.NotFound, "no static route"},
		{"POST", "/v1/neighbors", `{"address":"10.0.0.9","port":"lan"}`, 400, api.Usage, "Ethernet address"},
		{"POST", "/v1/neighbors", `{"address":"10.0.0.9","mac":"02:00:00:00:00:01","port":""}`, 400, api.Usage, "port"},
		{"GET", "/v1/rip/nothing", "", 404, api.NotFound, "openapi.yaml"},
		{"POST", "/v1/rip/clear", `{"neighbor":"core"}`, 400, api.Usage, "not an IPv4 address"},
		{"POST", "/v1/rip/clear", `{"neighbor":"10.0.0.2","port":"core"}`, 400, api.Usage, "both given"},
		{"POST", "/v1/rip/clear", `{"neighbor":"10.0.0.99"}`, 404, api.NotFound, "no RIP neighbor"},
		{"POST", "/v1/rip/clear", `{"port":"nix"}`, 404, api.NotFound, "does not run on"},
		{"GET", "/v1/nat/sessions?adress=10.1.0.2", "", 400, api.Usage, "unknown parameter"},
		{"GET", "/v1/nat/sessions?address=lan", "", 400, api.Usage, "not an IPv4 address"},
		{"GET", "/v1/sessions?port=65536", "", 400, api.Usage, `port="65536"`},
		{"GET", "/v1/sessions?protocol=tpc", "", 400, api.Usage, "one of tcp, udp, icmp"},
		{"GET", "/v1/sessions?limit=0", "", 400, api.Usage, "from 1 to 10000"},
		{"GET", "/v1/nat/mappings?limit=10001", "", 400, api.Usage, "from 1 to 10000"},
		{"GET", "/v1/nat/mappings?cursor=nowhere", "", 400, api.Usage, "no page has told it"},
		{"GET", "/v1/dhcp/leases?address=10.1.0.5/24", "", 400, api.Usage, "10.1.0.0/24 is the network"},
		{"GET", "/v1/dhcp/leases?state=bond", "", 400, api.Usage, "one of offered, bound"},
		{"GET", "/v1/dhcp/leases?mac=02", "", 400, api.Usage, "Ethernet address"},
		{"GET", "/v1/dhcp/leases?cursor=2", "", 400, api.Usage, "no page has told it"},
		{"GET", "/v1/dhcp/leases?limit=0", "", 400, api.Usage, "from 1 to 10000"},
		{"DELETE", "/v1/dhcp/leases", "", 400, api.Usage, "not an IPv4 address"},
		{"DELETE", "/v1/dhcp/leases?address=10.77.0.1", "", 404, api.NotFound, "no lease"},
		{"POST", "/v1/dhcp/leases/flush", `{"state":"gone"}`, 400, api.Usage, "one of offered, bound"},
		{"POST", "/v1/dhcp/leases/flush", `{"subnet":"nix"}`, 404, api.NotFound, "no subnet"},
		{"POST", "/v1/dhcp/import", "no lease", 400, api.Usage, "line 1"},
		{"POST", "/v1/dhcp/import", "\xff", 400, api.Usage, "the file of leases is not UTF-8"},
		{"POST", "/v1/dhcp/release", `{}`, 400, api.Usage, "port: the name"},
		{"POST", "/v1/dhcp/renew", `{"port":"lan"}`, 409, api.Conflict, "does not get its address by DHCP"},
		{"POST", "/v1/dhcp/renew", `{"port":"nix"}`, 404, api.NotFound, "no port"},
		{"GET", "/v1/dns/cache?limit=10001", "", 400, api.Usage, "from 1 to 10000"},
		{"GET", "/v1/dns/names?name=" + strings.Repeat("x", 1025), "", 400, api.Usage, "longer than a name"},
		{"POST", "/v1/dns/flush", `{"names":"x"}`, 400, api.Usage, "names"},
		{"POST", "/v1/nat/flush", `{"address":"lan"}`, 400, api.Usage, "not an IPv4 address"},
		{"POST", "/v1/nat/flush", `{"port":70000}`, 400, api.Usage, "port"},
		{"POST", "/v1/nat/flush", `{"protocol":"256"}`, 400, api.Usage, "protocol"},
		{"POST", "/v1/nat/forwards", `{"protocol":"tcp","port":"80","to":"10.1.0.5"}`, 400, api.Usage, "in: the name"},
		{"POST", "/v1/nat/forwards", `{"in":"wan","protocol":"icmp","port":"80","to":"10.1.0.5"}`, 400, api.Usage, "tcp or udp"},
		{"POST", "/v1/nat/forwards", `{"in":"wan","protocol":"tcp","port":"90-80","to":"10.1.0.5"}`, 400, api.Usage, "runs backwards: write 80-90"},
		{"POST", "/v1/nat/forwards", `{"in":"wan","protocol":"tcp","port":"0","to":"10.1.0.5"}`, 400, api.Usage, "from 1 to 65535"},
		{"POST", "/v1/nat/forwards", `{"in":"wan","protocol":"tcp","port":"81"}`, 400, api.Usage, "to: the inside address"},
		{"POST", "/v1/nat/forwards", `{"in":"wan","protocol":"tcp","port":"81","to":"10.1.0.5:0"}`, 400, api.Usage, "not an inside address"},
		{"POST", "/v1/nat/forwards", `{"in":"wan","protocol":"tcp","port":"80","to":"10.1.0.6"}`, 409, api.Conflict, "forwarded already"},
		{"DELETE", "/v1/nat/forwards?in=wan&protocol=udp&port=80", "", 404, api.NotFound, "no forward"},
		{"DELETE", "/v1/nat/forwards?in=wan&port=80", "", 400, api.Usage, "tcp or udp"},
		{"GET", "/v1/firewall/sets/nix", "", 404, api.NotFound, "no set"},
		{"POST", "/v1/firewall/members", `{"address":"198.51.100.1"}`, 400, api.Usage, "set: the name"},
		{"POST", "/v1/firewall/members", `{"set":"barred","address":"10.0.0.0/8"}`, 400, api.Usage, "not an IPv4 address"},
		{"POST", "/v1/firewall/members", `{"set":"barred","address":"198.51.100.1","for":1}`, 400, api.Usage, "for: 1ns"},
		{"DELETE", "/v1/firewall/members?set=barred&address=10.9.9.9", "", 404, api.NotFound, "not in the set"},
		{"POST", "/v1/explain", `{"src":"10.1.0.2","dst":"203.0.113.7"}`, 400, api.Usage, "in: the name"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0","dst":"203.0.113.7"}`, 400, api.Usage, "src:"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","protocol":"tcp"}`, 400, api.Usage, "dport: the port of the destination"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","dport":80}`, 400, api.Usage, "icmp has no ports"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","protocol":"tcp","dport":80,"flags":"SX"}`, 400, api.Usage, "letters of FSRPAUEW"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","flags":"S"}`, 400, api.Usage, "only tcp has them"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","ttl":256}`, 400, api.Usage, "ttl"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","icmp_type":-1}`, 400, api.Usage, "icmp_type"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","length":27}`, 400, api.Usage, "length: 27 is not from 28"},
		{"POST", "/v1/explain", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","protocol":"47","dport":1}`, 400, api.Usage, "protocol 47 has no ports"},
		{"POST", "/v1/explain", `{"in":"nix","src":"10.1.0.2","dst":"203.0.113.7"}`, 404, api.NotFound, "no port"},
		{"GET", "/v1/events?last=-1", "", 400, api.Usage, `last="-1"`},
		{"GET", "/v1/events?since=yesterday", "", 400, api.Usage, `since="yesterday"`},
		{"PUT", "/v1/config?confirm=1ms", "name: x", 400, api.Usage, "1s to 24h"},
		{"PUT", "/v1/config", "ports: {}", 400, api.Usage, "begins with its name"},
		{"PUT", "/v1/config", "\xff", 400, api.Usage, "UTF-8"},
		{"POST", "/v1/config/confirm", "", 409, api.Conflict, "no change waits"},
		{"POST", "/v1/config/rollback", `{"revisions":0}`, 400, api.Usage, "revisions"},
		{"POST", "/v1/ping", `{"address":"x"}`, 400, api.Usage, "IPv4"},
		{"POST", "/v1/ping", `{"address":"10.0.0.1","count":100001}`, 400, api.Usage, "count"},
		{"POST", "/v1/ping", `{"address":"10.255.0.1"}`, 422, api.Failed, "no route"},
		{"POST", "/v1/traceroute", `{"address":"10.0.0.1","max_hops":256}`, 400, api.Usage, "max_hops"},
		{"POST", "/v1/capture", `{"filter":"bad"}`, 400, api.Usage, "filter"},
	} {
		status, header, body := request(t, c, k.method, k.path, k.body)
		e := refused(t, body)
		if status != k.status || e.Code != k.code || !strings.Contains(e.Message, k.says) {
			t.Errorf("%s %s %.60s: got %d %s %q; want %d %s … %q …", k.method, k.path, k.body, status, e.Code, e.Message, k.status, k.code, k.says)
		}
		if status == 405 && header.Get("Allow") == "" {
			t.Errorf("%s %s: a 405 lists what is allowed (RFC 9110 section 15.5.6)", k.method, k.path)
		}
	}
}

func TestEmptyTablesAreArrays(t *testing.T) {
	f := controltest.New("r1")
	f.Empty = true
	s := start(t, f, nil)
	for _, noun := range []string{"ports", "routes", "fib", "neighbors", "drops", "counters", "events", "config/history", "rip", "rip/neighbors", "rip/ports", "nat", "firewall", "firewall/sets"} {
		if status, _, body := request(t, httpTo(t, s.Path()), "GET", "/v1/"+noun, ""); status != 200 || strings.TrimSpace(body) != "[]" {
			t.Errorf("%s: got %d %q, want an empty array", noun, status, body)
		}
	}
	status, _, body := request(t, httpTo(t, s.Path()), "POST", "/v1/rip/clear", "{}")
	if e := refused(t, body); status != 409 || e.Code != api.Conflict || !strings.Contains(e.Message, "not configured") {
		t.Errorf("without RIP there is nothing to clear: got %d %+v", status, e)
	}
}

// panicking is a Backend with a fault.
type panicking struct{ api.Backend }

func (panicking) Status() api.Status { panic("out of cheese") }

func TestAPanicCostsOneRequest(t *testing.T) {
	s := start(t, panicking{controltest.New("r1")}, nil)
	c := httpTo(t, s.Path())
	status, _, body := request(t, c, "GET", "/v1/status", "")
	if e := refused(t, body); status != 500 || e.Code != api.Internal || strings.Contains(e.Message, "cheese") {
		t.Errorf("got %d %+v", status, e)
	}
	if status, _, _ := request(t, c, "GET", "/v1/ports", ""); status != 200 {
		t.Errorf("the next request got %d", status)
	}
}

func TestALiveSocketIsRefusedWithThePid(t *testing.T) {
	s := start(t, controltest.New("r1"), nil)
	_, err := NewServer(Options{Path: s.Path(), Backend: controltest.New("r1")})
	var running *RunningError
	if !errors.As(err, &running) || running.PID != os.Getpid() || running.Instance != "r1" {
		t.Fatalf("got %v; want that instance r1 is running with pid %d", err, os.Getpid())
	}
	if status, _, _ := request(t, httpTo(t, s.Path()), "GET", "/v1/status", ""); status != 200 {
		t.Errorf("the first daemon was hurt: %d", status)
	}
}

func TestAStaleSocketIsReplacedAndTheNewOneRemovedAtTheEnd(t *testing.T) {
	path := filepath.Join(socketDir(t), "r1.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	s, err := NewServer(Options{Path: path, Backend: controltest.New("r1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestAServerRemovesNoOthersSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "r1.sock")
	first, err := NewServer(Options{Path: path, Backend: controltest.New("r1")})
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(path) // somebody cleaned up, and another daemon started
	second, err := NewServer(Options{Path: path, Backend: controltest.New("r1")})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the second daemon's socket is gone: %v", err)
	}
}

func TestPathsThatCannotBeASocketAreRefused(t *testing.T) {
	dir := socketDir(t)
	file := filepath.Join(dir, "r1.sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		file: "no socket is in the way",
		filepath.Join(dir, strings.Repeat("x", 120)+".sock"): "shorter instance name",
	} {
		if _, err := NewServer(Options{Path: path}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want … %s …", err, says)
		}
	}
}

func dialAsSelf(path string) (*net.UnixConn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
}

func TestOfManyDaemonsThatStartAtOnceOneWins(t *testing.T) {
	path := filepath.Join(socketDir(t), "r1.sock")
	const many = 8
	type outcome struct {
		server *Server
		err    error
	}
	outcomes := make(chan outcome, many)
	for range many {
		go func() {
			s, err := NewServer(Options{Path: path, Backend: controltest.New("r1")})
			outcomes <- outcome{s, err}
		}()
	}
	won := 0
	for range many {
		o := <-outcomes
		var running *RunningError
		switch {
		case o.err == nil:
			won++
			defer o.server.Close()
		case !errors.As(o.err, &running):
			t.Errorf("a loser is told %v", o.err)
		}
	}
	if won != 1 {
		t.Errorf("%d daemons have the socket", won)
	}
}

// placed is a Backend whose refusals are wrapped with the place.
type placed struct{ api.Backend }

func (placed) ConfigCheck(string) error {
	return fmt.Errorf("3:7: %w", &api.Error{Code: api.Usage, Message: "no such port"})
}

func TestAWrappedRefusalKeepsItsPlace(t *testing.T) {
	s := start(t, placed{controltest.New("r1")}, nil)
	status, _, body := request(t, httpTo(t, s.Path()), "POST", "/v1/config/check", "name: r1")
	if e := refused(t, body); status != 400 || e.Message != "3:7: no such port" {
		t.Errorf("got %d %+v", status, e)
	}
}
