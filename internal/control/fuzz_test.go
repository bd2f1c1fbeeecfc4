package control

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

// FuzzRequest sends any method, path, query and body: the answer is a success or a
// refusal with a sentence, never a panic and never an internal error.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/v1/status", "", "")
	f.Add("PUT", "/v1/ports/lan", "", `{"up":true}`)
	f.Add("POST", "/v1/routes", "", `{"to":"10.7.0.0/16","via":["10.0.0.2"],"metric":5}`)
	f.Add("DELETE", "/v1/routes", "to=10.9.0.0/16&via=10.0.0.2", "")
	f.Add("GET", "/v1/route/10.9.1.1", "", "")
	f.Add("GET", "/v1/events", "last=3&since=2026-01-02T03:04:05Z&after=1", "")
	f.Add("POST", "/v1/ping", "", `{"address":"10.1.0.2","count":1}`)
	f.Add("POST", "/v1/traceroute", "", `{"address":"10.1.0.2"}`)
	f.Add("POST", "/v1/capture", "", `{"count":1,"ports":["lan"],"filter":"icmp"}`)
	f.Add("PUT", "/v1/config", "confirm=60s", "name: r1")
	f.Add("POST", "/v1/config/rollback", "", `{"revisions":1}`)
	f.Add("POST", "/v1/neighbors", "", `{"address":"10.1.0.9","mac":"02:00:00:00:00:09","port":"lan"}`)
	f.Add("POST", "/v1/routes", "", `{"to":"10.7.0.0/16","to":null,"via":[null]}`)
	f.Add("GET", "/v1/sessions", "address=10.1.0.2&port=40000&protocol=6&limit=2&cursor=1", "")
	f.Add("GET", "/v1/firewall/sets/barred", "", "")
	f.Add("POST", "/v1/nat/forwards", "", `{"in":"wan","protocol":"17","port":"8000-8010","to":"10.1.0.5:9000","name":"game"}`)
	f.Add("DELETE", "/v1/nat/forwards", "in=wan&protocol=tcp&port=80", "")
	f.Add("POST", "/v1/nat/flush", "", `{"port":53,"protocol":"udp"}`)
	f.Add("POST", "/v1/firewall/members", "", `{"set":"barred","address":"198.51.100.9","for":60000000000}`)
	f.Add("POST", "/v1/explain", "", `{"in":"lan","src":"10.1.0.2","dst":"203.0.113.7","protocol":"tcp","dport":80,"flags":"S."}`)
	f.Add("GET", "/v1/dhcp/leases", "address=10.1.0.0/24&state=bound&limit=2&cursor=10.1.0.5", "")
	f.Add("POST", "/v1/dhcp/import", "", "1767500000 02:00:00:00:00:31 10.1.0.131 nas *")
	f.Add("GET", "/v1/dns/cache", "name=example.net.&limit=1", "")
	f.Add("0", "/v1/ports/\n", "a\n=1", "")
	s, err := NewServer(Options{Path: socketDir(f) + "/r1.sock", Backend: controltest.New("r1")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	handler := s.routes()
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		if path == "/v1/events/stream" || strings.Contains(body, "count") && !strings.Contains(body, `"count":1`) {
			return // endless as they should be
		}
		r, err := http.NewRequest(method, "http://r/", strings.NewReader(body))
		if err != nil {
			return
		}
		r.URL = &url.URL{Path: path, RawQuery: query}
		r = r.WithContext(withPeer(r.Context(), &knownConn{peer: &peer{Peer: api.Peer{Name: "root"}, operator: true}}))
		if strings.HasPrefix(path, "/v1/capture") && !strings.Contains(body, `"count":1`) {
			return
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code < 300 {
			return
		}
		var e api.ErrorBody
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error.Message == "" {
			t.Fatalf("%d and no sentence: %q", w.Code, w.Body)
		}
		if w.Code >= 500 || strings.Contains(e.Error.Message, "\n") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}

// FuzzRaw sends octets that need not be HTTP at all; the server lives on.
func FuzzRaw(f *testing.F) {
	f.Add([]byte("GET /v1/status HTTP/1.1\r\nHost: r\r\n\r\n"))
	f.Add([]byte("POST /v1/routes HTTP/1.1\r\nHost: r\r\nContent-Length: 99\r\n\r\n{"))
	f.Add([]byte("POST /v1/routes HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"to\"\r\n0\r\n\r\n"))
	f.Add([]byte("GET / HTTP/9\r\n\x00\xff"))
	s := start(f, controltest.New("r1"), nil)
	f.Fuzz(func(t *testing.T, octets []byte) {
		conn, err := dialAsSelf(s.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(octets)
		conn.CloseWrite()
		if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			io.CopyN(io.Discard, resp.Body, 1<<16)
			resp.Body.Close()
		}
		if status, _, _ := request(t, httpTo(t, s.Path()), "GET", "/v1/status", ""); status != 200 {
			t.Fatalf("afterwards the server answers %d", status)
		}
	})
}
