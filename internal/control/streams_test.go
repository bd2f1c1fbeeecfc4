package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"vrouterd/internal/control/api"
	"vrouterd/internal/control/controltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// streaming opens a stream and returns its answer; cancel is the client going away.
func streaming(t *testing.T, s *Server, method, path, body string) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://r"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := httpTo(t, s.Path()).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		data, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s: %d %s", path, resp.StatusCode, data)
	}
	return resp, cancel
}

func TestEventsComeAsTheyHappen(t *testing.T) {
	f := controltest.New("r1")
	s := start(t, f, nil)
	resp, cancel := streaming(t, s, "GET", "/v1/events/stream?last=1", "")
	lines := bufio.NewScanner(resp.Body)
	next := func() (e api.Event) {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the stream ended: %v", lines.Err())
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := next(); e.Sequence != 3 {
		t.Errorf("the last event kept comes first; got %+v", e)
	}
	f.Happen("port_up", "wan", "Port wan is up.")
	if e := next(); e.Sequence != 4 || e.Subject != "wan" {
		t.Errorf("got %+v", e)
	}
	cancel()
	eventually(t, "the daemon forgets the reader that went", func() bool { return f.Readers() == 0 })
}

func TestEventSelection(t *testing.T) {
	s := start(t, controltest.New("r1"), nil)
	for query, want := range map[string][]uint64{
		"": {1, 2, 3}, "?last=2": {2, 3}, "?after=1": {2, 3}, "?after=3": {}, "?since=2026-01-02T03:04:06Z": {2, 3},
		"?since=2026-01-02T03:04:06Z&last=1": {3}, "?last=0": {1, 2, 3},
	} {
		_, _, body := request(t, httpTo(t, s.Path()), "GET", "/v1/events"+query, "")
		var got []api.Event
		if err := json.Unmarshal([]byte(body), &got); err != nil || len(got) != len(want) {
			t.Errorf("%s: %v %s, want events %v", query, err, body, want)
			continue
		}
		for i := range got {
			if got[i].Sequence != want[i] {
				t.Errorf("%s: event %d is number %d, want %d", query, i, got[i].Sequence, want[i])
			}
		}
	}
}

func TestASlowReaderIsBoundedAndToldOfItsLoss(t *testing.T) {
	f := controltest.New("r1")
	f.EventsIn = 16
	s := start(t, f, nil)
	conn, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /v1/events/stream?after=3 HTTP/1.1\r\nHost: r\r\n\r\n")
	eventually(t, "the stream is open", func() bool { return f.Readers() == 1 })
	// The socket's buffers and the 16 places fill up; nobody waits for the reader.
	text := strings.Repeat("x", 4096)
	for range 2000 {
		f.Happen("noise", "lan", text)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<16)
	got := 0
	// As long as the reader catches up, more happens: the loss is told before the next event.
	for lines.Scan() {
		var e api.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == "events_lost" {
			return
		}
		got++
		f.Happen("noise", "lan", "more")
	}
	t.Fatalf("after %d events the stream ended (%v) and no loss was told", got, lines.Err())
}

func TestAStreamEndsCleanlyWhenTheServerStops(t *testing.T) {
	f := controltest.New("r1")
	s := start(t, f, nil)
	resp, _ := streaming(t, s, "GET", "/v1/events/stream", "")
	go s.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
}

func TestAReaderThatNeverReadsDoesNotHoldTheStopUp(t *testing.T) {
	f := controltest.New("r1")
	s := start(t, f, nil)
	conn, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /v1/events/stream HTTP/1.1\r\nHost: r\r\n\r\n")
	eventually(t, "the stream is open", func() bool { return f.Readers() == 1 })
	text := strings.Repeat("x", 64<<10)
	for range 100 {
		f.Happen("noise", "lan", text)
	}
	s.Close()
	eventually(t, "the reader is let go", func() bool { return f.Readers() == 0 })
}

func TestAnErrorInTheMiddleIsTheLastLine(t *testing.T) {
	s := start(t, controltest.New("r1"), nil)
	resp, _ := streaming(t, s, "POST", "/v1/traceroute", `{"address":"10.8.0.1","max_hops":2}`)
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	if e := refused(t, all[len(all)-1]); len(all) != 3 || e.Code != api.Failed {
		t.Errorf("got %d lines, the last %+v", len(all), e)
	}
}

func TestACaptureThatFailsSaysWhyInTheTrailer(t *testing.T) {
	f := controltest.New("r1")
	f.Packets = []byte("packets")
	s := start(t, f, nil)
	resp, _ := streaming(t, s, "POST", "/v1/capture", `{"count":13}`)
	data, err := io.ReadAll(resp.Body)
	if err != nil || string(data) != "packets" {
		t.Fatalf("got %q %v", data, err)
	}
	if got := resp.Trailer.Get(errorTrailer); !strings.Contains(got, "went away") {
		t.Errorf("the trailer says %q", got)
	}
}

func TestCaptureFlushesAndEndsWithItsClient(t *testing.T) {
	f := controltest.New("r1")
	f.Packets = []byte("packets")
	s := start(t, f, nil)
	resp, cancel := streaming(t, s, "POST", "/v1/capture", `{"ports":["lan"]}`)
	first := make([]byte, len(f.Packets))
	if _, err := io.ReadFull(resp.Body, first); err != nil || !bytes.Equal(first, f.Packets) {
		t.Fatalf("got %q %v: what is captured comes at once", first, err)
	}
	cancel()
	eventually(t, "the place for a stream is free again", func() bool { return len(s.streams) == 0 })
}

func TestStreamsAreBounded(t *testing.T) {
	f := controltest.New("r1")
	s := start(t, f, nil)
	var cancels []context.CancelFunc
	for range maxStreams {
		_, cancel := streaming(t, s, "GET", "/v1/events/stream", "")
		cancels = append(cancels, cancel)
	}
	status, _, body := request(t, httpTo(t, s.Path()), "GET", "/v1/events/stream", "")
	if e := refused(t, body); status != 503 || e.Code != api.Busy {
		t.Errorf("got %d %+v", status, e)
	}
	if status, _, _ := request(t, httpTo(t, s.Path()), "GET", "/v1/status", ""); status != 200 {
		t.Errorf("streams kept a table out: %d", status)
	}
	for _, cancel := range cancels {
		cancel()
	}
	eventually(t, "all readers are gone", func() bool { return f.Readers() == 0 && len(s.streams) == 0 })
}

func TestCancelledStreamsLeaveNoGoroutine(t *testing.T) {
	f := controltest.New("r1")
	s := start(t, f, nil)
	before := runtime.NumGoroutine()
	for _, k := range [][3]string{
		{"GET", "/v1/events/stream", ""},
		{"POST", "/v1/ping", `{"address":"10.1.0.2","count":100000}`},
		{"POST", "/v1/capture", `{}`},
	} {
		if k[1] == "/v1/capture" {
			f.Packets = []byte("p")
		}
		_, cancel := streaming(t, s, k[0], k[1], k[2])
		cancel()
	}
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
}
