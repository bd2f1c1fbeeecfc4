package igd

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// search is what miniupnpc sends.
func search(st string) []byte {
	return []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: " + st + "\r\nMAN: \"ssdp:discover\"\r\nMX: 2\r\n\r\n")
}

func asker(n int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 1, byte(n)}), 40000)
}

// headers reads a datagram as HTTP does.
func headers(t *testing.T, datagram []byte, start string) http.Header {
	t.Helper()
	line, rest, _ := bytes.Cut(datagram, []byte("\r\n"))
	if string(line) != start {
		t.Errorf("it starts with %q, want %q", line, start)
	}
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\n"+string(rest))), nil)
	if err != nil {
		t.Fatalf("%q: %v", datagram, err)
	}
	r.Body.Close()
	return r.Header
}

func TestASearchIsAnsweredWithWhereTheDescriptionIs(t *testing.T) {
	s, _ := gatewayServer(t)
	for st, location := range map[string]string{
		"upnp:rootdevice": "http://192.168.1.1:5000/igd1.xml",
		"urn:schemas-upnp-org:device:InternetGatewayDevice:1":     "http://192.168.1.1:5000/igd1.xml",
		"urn:schemas-upnp-org:service:WANIPConnection:1":          "http://192.168.1.1:5000/igd1.xml",
		"urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1": "http://192.168.1.1:5000/igd1.xml",
		"urn:schemas-upnp-org:device:InternetGatewayDevice:2":     "http://192.168.1.1:5000/igd2.xml",
		"urn:schemas-upnp-org:service:WANIPConnection:2":          "http://192.168.1.1:5000/igd2.xml",
		s.udn(1, "WANDevice"):                                     "http://192.168.1.1:5000/igd1.xml",
	} {
		got := s.Search(start, asker(10), router, search(st))
		if len(got) != 1 {
			t.Errorf("%s has %d answers, want 1", st, len(got))
			continue
		}
		h := headers(t, got[0], "HTTP/1.1 200 OK")
		if h.Get("ST") != st || h.Get("Location") != location || !strings.HasPrefix(h.Get("USN"), "uuid:") ||
			h.Get("Cache-Control") != "max-age=1800" || h.Get("Server") != "Linux UPnP/1.1 vrouterd/0.3-test" ||
			h.Get("Date") != "Sun, 01 Mar 2026 12:00:00 GMT" || h.Get("BOOTID.UPNP.ORG") != fmt.Sprint(start.Unix()) {
			t.Errorf("%s is answered with %v", st, h)
		}
		if _, ok := h["Ext"]; !ok {
			t.Errorf("%s is answered without EXT", st)
		}
	}
	if n := s.Stats().Searches; n != 7 {
		t.Errorf("%d searches are counted, want 7", n)
	}
}

func TestASearchForEverythingFindsEachDeviceAndServiceOnce(t *testing.T) {
	s, _ := gatewayServer(t)
	got := s.Search(start, asker(10), router, search("ssdp:all"))
	seen := map[string]bool{}
	for _, d := range got {
		h := headers(t, d, "HTTP/1.1 200 OK")
		seen[h.Get("USN")] = true
		if strings.HasSuffix(h.Get("ST"), ":2") {
			t.Errorf("version 2 is shown to who did not ask for it: %v", h)
		}
	}
	// Root device; for each of three devices identifier and type; three services.
	if len(got) != 10 || len(seen) != 10 {
		t.Errorf("there are %d answers with %d names, want 10 of each", len(got), len(seen))
	}
}

func TestIdentifiersSurviveRestartsAndDifferBetweenRouters(t *testing.T) {
	a, _ := gatewayServer(t)
	b, _ := gatewayServer(t)
	c, err := New(Options{Gateway: newTable(), Seed: []byte("another")}, Config{Port: 5000})
	if err != nil {
		t.Fatal(err)
	}
	const d = "WANDevice"
	if a.udn(1, d) != b.udn(1, d) || a.udn(1, d) == c.udn(1, d) || a.udn(1, d) == a.udn(2, d) || a.udn(1, d) == a.udn(1, "WANConnectionDevice") {
		t.Errorf("%s %s %s", a.udn(1, d), b.udn(1, d), c.udn(1, d))
	}
}

func TestAnnouncementsComeAndAreTakenBack(t *testing.T) {
	s, _ := gatewayServer(t)
	alive, bye := s.Alive(start, router), s.ByeBye(start, router)
	if len(alive) != 10 || len(bye) != 10 {
		t.Fatalf("%d come and %d go, want 10 of each", len(alive), len(bye))
	}
	for i := range alive {
		a, b := headers(t, alive[i], "NOTIFY * HTTP/1.1"), headers(t, bye[i], "NOTIFY * HTTP/1.1")
		if a.Get("NTS") != "ssdp:alive" || a.Get("HOST") != "239.255.255.250:1900" || a.Get("Location") != "http://192.168.1.1:5000/igd1.xml" ||
			a.Get("Cache-Control") == "" || a.Get("NT") == "" {
			t.Errorf("it comes with %v", a)
		}
		if b.Get("NTS") != "ssdp:byebye" || b.Get("Location") != "" || a.Get("USN") != b.Get("USN") || a.Get("NT") != b.Get("NT") {
			t.Errorf("it goes with %v", b)
		}
	}
}

func TestAnnouncementsAreRenewedBeforeTheyLapse(t *testing.T) {
	if 2*AliveEvery >= maxAge {
		t.Errorf("every %v is too seldom for %v: one that is lost must not matter", AliveEvery, maxAge)
	}
}

func TestStrangersAndOtherThingsAreNotAnswered(t *testing.T) {
	s, _ := gatewayServer(t)
	for _, from := range []string{"203.0.113.5:1900", "192.168.1.10:0", "0.0.0.0:1900", "239.255.255.250:1900", "255.255.255.255:1900", "[::1]:1900", "192.168.1.1:1900"} {
		if got := s.Search(start, netip.MustParseAddrPort(from), router, search("ssdp:all")); got != nil {
			t.Errorf("%s is answered", from)
		}
	}
	if n := s.Stats().Strangers; n != 7 {
		t.Errorf("%d strangers are counted, want 7", n)
	}
	for _, text := range []string{
		"", "\r\n", "M-SEARCH", "NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\n\r\n", "M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n",
		"M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\n\r\n", "M-SEARCH /x HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nST: ssdp:all\r\n\r\n",
		"M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\nno colon\r\nST: ssdp:all\r\n\r\n",
		"M-SEARCH * HTTP/1.1\r\nMAN: \"ssdp:discover\"\r\n\r\nST: ssdp:all\r\n\r\n",
		string(search("ssdp:all")) + strings.Repeat("A: b\r\n", 300), string(search("ssdp:all\x00")),
	} {
		if got := s.Search(start, asker(10), router, []byte(text)); got != nil {
			t.Errorf("%q is answered", text)
		}
	}
	if n := s.Stats().NoSearches; n != 11 {
		t.Errorf("%d are counted as no searches, want 11", n)
	}
	for _, st := range []string{"urn:schemas-upnp-org:device:MediaServer:1", "urn:schemas-upnp-org:service:WANIPConnection:3", "uuid:0"} {
		if got := s.Search(start, asker(10), router, search(st)); got != nil {
			t.Errorf("%q is answered", st)
		}
	}
	if n := s.Stats().OtherTargets; n != 3 {
		t.Errorf("%d are counted as for others, want 3", n)
	}
}

func TestAFloodOfSearchesIsAnsweredToABound(t *testing.T) {
	s, _ := gatewayServer(t)
	ask := func(n int, at time.Time) int { return len(s.Search(at, asker(n), router, search("ssdp:all"))) }
	one := 0
	for range 100 {
		one += ask(10, start)
	}
	if one != perHost {
		t.Errorf("one host has %d answers in a second, want %d", one, perHost)
	}
	if ask(11, start) == 0 {
		t.Error("another host waits for the one that floods")
	}
	all := one + 10
	for n := 20; n < 250; n++ {
		all += ask(n, start)
	}
	if all != perSecond {
		t.Errorf("all hosts have %d answers in a second, want %d", all, perSecond)
	}
	if ask(10, start.Add(time.Second)) == 0 {
		t.Error("the next second has no answers")
	}
	if s.Stats().Limited == 0 {
		t.Error("what is not answered is not counted")
	}
}

func FuzzSearch(f *testing.F) {
	f.Add(search("ssdp:all"))
	f.Add(search("upnp:rootdevice"))
	f.Add([]byte("M-SEARCH * HTTP/1.1\nST:ssdp:all\nMAN:ssdp:discover\n\n"))
	f.Add([]byte("NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\n\r\n"))
	s, _ := gatewayServer(f)
	at := start
	f.Fuzz(func(t *testing.T, datagram []byte) {
		at = at.Add(time.Second)
		total := 0
		for _, a := range s.Search(at, asker(10), router, datagram) {
			total += len(a)
			headers(t, a, "HTTP/1.1 200 OK")
		}
		if total > 10*512 {
			t.Errorf("%d octets answer %d", total, len(datagram))
		}
	})
}
