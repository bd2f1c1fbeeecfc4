package igd

import (
	"bufio"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// addition are the arguments of AddPortMapping as miniupnpc writes them.
func addition(external, protocol, internal, client, enabled, description, lease string) string {
	return "<NewRemoteHost></NewRemoteHost><NewExternalPort>" + external + "</NewExternalPort><NewProtocol>" + protocol +
		"</NewProtocol><NewInternalPort>" + internal + "</NewInternalPort><NewInternalClient>" + client + "</NewInternalClient><NewEnabled>" +
		enabled + "</NewEnabled><NewPortMappingDescription>" + description + "</NewPortMappingDescription><NewLeaseDuration>" +
		lease + "</NewLeaseDuration>"
}

func key(external, protocol string) string {
	return "<NewRemoteHost></NewRemoteHost><NewExternalPort>" + external + "</NewExternalPort><NewProtocol>" + protocol + "</NewProtocol>"
}

// request is one that came from a host to the router's address.
func request(from netip.Addr, method, path, text string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(text))
	r.RemoteAddr = netip.AddrPortFrom(from, 40000).String()
	r.Host = "192.168.1.1:5000"
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(router, 5000))
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
}

func send(s *Server, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// ask has an action done for a host and returns its answer, or its error code.
func ask(t *testing.T, s *Server, from netip.Addr, service, action, args string) (map[string]string, Code) {
	t.Helper()
	name := strings.Split(service, ":")[3]
	r := request(from, "POST", controlPath+name, body(service, action, args))
	r.Header.Set("SOAPAction", `"`+service+"#"+action+`"`)
	r.Header.Set("Content-Type", "text/xml")
	w := send(s, r)
	wellFormed(t, w.Body.Bytes())
	if w.Header().Get("Content-Type") != `text/xml; charset="utf-8"` || len(w.Header().Values("EXT")) != 1 {
		t.Errorf("%s has the headers %v", action, w.Header())
	}
	if w.Code == http.StatusInternalServerError {
		var f struct {
			Code Code `xml:"Body>Fault>detail>UPnPError>errorCode"`
		}
		if err := xml.Unmarshal(w.Body.Bytes(), &f); err != nil || f.Code == 0 {
			t.Fatalf("%s: the fault is %s, %v", action, w.Body, err)
		}
		return nil, f.Code
	}
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d", action, w.Code)
	}
	m, err := parseCall(w.Body.Bytes())
	if err != nil || m.service != service || m.action != action+"Response" {
		t.Fatalf("%s is answered with %s, %v", action, w.Body, err)
	}
	return m.args, 0
}

// expectCode has an action done that must fail so; 0: that must not fail.
func expectCode(t *testing.T, s *Server, from netip.Addr, service, action, args string, want Code) {
	t.Helper()
	if _, c := ask(t, s, from, service, action, args); c != want {
		t.Errorf("%s %s by %v: code %d, want %d", action, args, from, c, want)
	}
}

func TestAHostMapsAPortToItself(t *testing.T) {
	s, g := gatewayServer(t)
	expectCode(t, s, host, wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.10", "1", "a game", "600"), 0)
	want := Mapping{Key{TCP, 5000, netip.Addr{}}, netip.MustParseAddrPort("192.168.1.10:4000"), 10 * time.Minute, "a game"}
	if got := g.all(); len(got) != 1 || got[0] != want {
		t.Fatalf("the mappings are %+v, want %+v", got, want)
	}
	got, _ := ask(t, s, host, wanIP1, "GetSpecificPortMappingEntry", key("5000", "TCP"))
	if got["NewInternalPort"] != "4000" || got["NewInternalClient"] != "192.168.1.10" || got["NewEnabled"] != "1" ||
		got["NewPortMappingDescription"] != "a game" || got["NewLeaseDuration"] != "600" {
		t.Errorf("the entry is %v", got)
	}
	expectCode(t, s, host, wanIP1, "DeletePortMapping", key("5000", "TCP"), 0)
	expectCode(t, s, host, wanIP1, "DeletePortMapping", key("5000", "TCP"), NoSuchEntry)
	expectCode(t, s, host, wanIP1, "GetSpecificPortMappingEntry", key("5000", "TCP"), NoSuchEntry)
}

func TestAHostGetsNothingForOthers(t *testing.T) {
	s, g := gatewayServer(t)
	expectCode(t, s, other, wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.10", "1", "", "600"), NotAuthorized)
	expectCode(t, s, host, wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.10", "1", "", "600"), 0)
	expectCode(t, s, other, wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.11", "1", "", "600"), Conflict)
	expectCode(t, s, other, wanIP1, "DeletePortMapping", key("5000", "TCP"), NotAuthorized)
	expectCode(t, s, other, wanIP1, "GetSpecificPortMappingEntry", key("5000", "TCP"), NotAuthorized)
	expectCode(t, s, other, wanIP1, "GetGenericPortMappingEntry", "<NewPortMappingIndex>0</NewPortMappingIndex>", BadIndex)
	expectCode(t, s, other, wanIP2, "DeletePortMappingRange", span("1", "65535", "TCP", ""), RangeNotFound)
	expectCode(t, s, other, wanIP1, "ForceTermination", "", NotAuthorized)
	expectCode(t, s, other, "urn:schemas-upnp-org:service:Layer3Forwarding:1", "SetDefaultConnectionService", "<NewDefaultConnectionService>x</NewDefaultConnectionService>", NotAuthorized)
	if len(g.all()) != 1 {
		t.Errorf("the mappings are %+v", g.all())
	}
}

func TestArgumentsOfAMappingAreChecked(t *testing.T) {
	s, g := gatewayServer(t)
	const me = "192.168.1.10"
	for _, c := range []struct {
		service, args string
		want          Code
	}{
		{wanIP1, "", InvalidArgs},
		{wanIP1, addition("70000", "TCP", "4000", me, "1", "", "0"), InvalidArgs},
		{wanIP1, addition("5000", "SCTP", "4000", me, "1", "", "0"), InvalidArgs},
		{wanIP1, addition("5000", "TCP", "4000", "", "1", "", "0"), InvalidArgs},
		{wanIP1, addition("5000", "TCP", "4000", "my-name", "1", "", "0"), InvalidArgs},
		{wanIP1, addition("5000", "TCP", "4000", me, "1", "", "-1"), InvalidArgs},
		{wanIP1, addition("0", "TCP", "4000", me, "1", "", "0"), NoWildcardExternal},
		{wanIP1, addition("5000", "TCP", "0", me, "1", "", "0"), InvalidArgs},
		{wanIP2, addition("5000", "TCP", "0", me, "1", "", "0"), NoWildcardInternal},
		{wanIP1, addition("5000", "TCP", "4000", me, "0", "", "0"), ActionFailed},
		{wanIP1, strings.Replace(addition("5000", "TCP", "4000", me, "1", "", "0"), "<NewRemoteHost>", "<NewRemoteHost>example.org", 1), InvalidArgs},
		{wanIP1, strings.Replace(addition("5000", "TCP", "4000", me, "1", "", "0"), "<NewRemoteHost>", "<NewRemoteHost>224.0.0.1", 1), InvalidArgs},
	} {
		expectCode(t, s, host, c.service, "AddPortMapping", c.args, c.want)
	}
	if len(g.all()) != 0 {
		t.Errorf("the mappings are %+v", g.all())
	}
}

func TestLeasesHaveAnEnd(t *testing.T) {
	s, g := gatewayServer(t) // whose longest lease is an hour
	for lease, want := range map[string]time.Duration{"0": time.Hour, "1": time.Second, "3600": time.Hour, "4294967295": time.Hour} {
		expectCode(t, s, host, wanIP1, "AddPortMapping", addition("5000", "UDP", "4000", "192.168.1.10", "1", "", lease), 0)
		if got := g.all()[0].Lease; got != want {
			t.Errorf("lease %s becomes %v, want %v", lease, got, want)
		}
	}
	// What is about to end does not look as if it never would.
	g.mappings[Key{UDP, 5000, netip.Addr{}}] = Mapping{Key{UDP, 5000, netip.Addr{}}, netip.AddrPortFrom(host, 4000), time.Millisecond, ""}
	if got, _ := ask(t, s, host, wanIP1, "GetSpecificPortMappingEntry", key("5000", "UDP")); got["NewLeaseDuration"] != "1" {
		t.Errorf("the last moment of a lease is %q", got["NewLeaseDuration"])
	}
}

func TestARemoteHostIsPartOfTheName(t *testing.T) {
	s, g := gatewayServer(t)
	args := addition("5000", "TCP", "4000", "192.168.1.10", "1", "", "600")
	for _, remote := range []string{"", "0.0.0.0", "9.9.9.9"} {
		expectCode(t, s, host, wanIP1, "AddPortMapping", strings.Replace(args, "<NewRemoteHost>", "<NewRemoteHost>"+remote, 1), 0)
	}
	if len(g.all()) != 2 {
		t.Errorf("the mappings are %+v, want one for anybody and one for 9.9.9.9", g.all())
	}
	got, _ := ask(t, s, host, wanIP1, "GetGenericPortMappingEntry", "<NewPortMappingIndex>1</NewPortMappingIndex>")
	if got["NewRemoteHost"] != "9.9.9.9" {
		t.Errorf("the second entry is %v", got)
	}
}

func TestTheListOfMappingsIsWalkedByIndex(t *testing.T) {
	s, _ := gatewayServer(t)
	for _, p := range []string{"5002", "5000", "5001"} {
		expectCode(t, s, host, wanIP1, "AddPortMapping", addition(p, "TCP", "4000", "192.168.1.10", "1", "", "600"), 0)
	}
	expectCode(t, s, other, wanIP1, "AddPortMapping", addition("4999", "TCP", "4000", "192.168.1.11", "1", "", "600"), 0)
	var ports []string
	for i := 0; ; i++ {
		got, c := ask(t, s, host, wanIP1, "GetGenericPortMappingEntry", fmt.Sprintf("<NewPortMappingIndex>%d</NewPortMappingIndex>", i))
		if c != 0 {
			if c != BadIndex {
				t.Errorf("the end is code %d, want 713", c)
			}
			break
		}
		ports = append(ports, got["NewExternalPort"])
	}
	if !slices.Equal(ports, []string{"5000", "5001", "5002"}) {
		t.Errorf("the ports are %v", ports)
	}
}

func span(from, to, protocol, number string) string {
	args := "<NewStartPort>" + from + "</NewStartPort><NewEndPort>" + to + "</NewEndPort><NewProtocol>" + protocol + "</NewProtocol><NewManage>1</NewManage>"
	if number != "" {
		args += "<NewNumberOfPorts>" + number + "</NewNumberOfPorts>"
	}
	return args
}

func TestVersion2FindsAnotherPortAndHandlesRanges(t *testing.T) {
	s, g := gatewayServer(t)
	expectCode(t, s, other, wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.11", "1", "", "600"), 0)
	got, c := ask(t, s, host, wanIP2, "AddAnyPortMapping", addition("5000", "TCP", "4000", "192.168.1.10", "1", "a]]&gt;b &lt;&amp;&gt;", "600"))
	if c != 0 || got["NewReservedPort"] != "5001" {
		t.Errorf("the port is %v, code %d", got, c)
	}
	if _, c := ask(t, s, host, wanIP2, "AddAnyPortMapping", addition("0", "TCP", "4001", "192.168.1.10", "1", "", "600")); c != 0 {
		t.Errorf("any port at all: code %d", c)
	}
	got, _ = ask(t, s, host, wanIP2, "GetListOfPortMappings", span("1000", "65535", "TCP", "0"))
	var list struct {
		Entries []struct {
			Port        int    `xml:"NewExternalPort"`
			Description string `xml:"NewDescription"`
		} `xml:"PortMappingEntry"`
	}
	if err := xml.Unmarshal([]byte(got["NewPortListing"]), &list); err != nil || len(list.Entries) != 1 || list.Entries[0].Port != 5001 || list.Entries[0].Description != "a]]>b <&>" {
		t.Errorf("the list is %s: %+v, %v", got["NewPortListing"], list, err)
	}
	expectCode(t, s, host, wanIP2, "GetListOfPortMappings", span("2", "1", "TCP", "0"), Inconsistent)
	expectCode(t, s, host, wanIP2, "GetListOfPortMappings", span("1", "65535", "UDP", "0"), RangeNotFound)
	expectCode(t, s, host, wanIP2, "DeletePortMappingRange", span("0", "65535", "TCP", ""), 0)
	if left := g.all(); len(left) != 1 || left[0].Internal.Addr() != other {
		t.Errorf("what is left is %+v, want what the other host has", left)
	}
	// Version 1 does not know them.
	expectCode(t, s, host, wanIP1, "AddAnyPortMapping", addition("0", "TCP", "4001", "192.168.1.10", "1", "", "600"), InvalidAction)
}

func TestRefusalsOfTheGatewayAreTold(t *testing.T) {
	s, g := gatewayServer(t)
	for err, want := range map[error]Code{
		OnlyAnyRemote: OnlyAnyRemote, fmt.Errorf("no room: %w", NoPortMaps): NoPortMaps, errors.New("the router is on fire"): ActionFailed, context.DeadlineExceeded: ActionFailed,
	} {
		g.refuse = err
		expectCode(t, s, host, wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.10", "1", "", "600"), want)
	}
	if n := s.Stats().Faults; n != 4 {
		t.Errorf("%d faults are counted, want 4", n)
	}
}

func TestTheStateOfTheOutsideIsTold(t *testing.T) {
	s, g := gatewayServer(t)
	g.link = Link{Up: true, Uptime: 90 * time.Second, UpRate: 100e9, DownRate: 1e6, BytesSent: 1<<32 + 7, BytesReceived: 8, PacketsSent: 9, PacketsReceived: 10}
	const common = "urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1"
	for _, c := range []struct{ service, action, argument, want string }{
		{wanIP1, "GetExternalIPAddress", "NewExternalIPAddress", "81.2.69.142"},
		{wanIP1, "GetStatusInfo", "NewConnectionStatus", "Connected"},
		{wanIP1, "GetStatusInfo", "NewUptime", "90"},
		{wanIP1, "GetConnectionTypeInfo", "NewConnectionType", "IP_Routed"},
		{wanIP1, "GetNATRSIPStatus", "NewNATEnabled", "1"},
		{common, "GetCommonLinkProperties", "NewLayer1UpstreamMaxBitRate", "4294967295"},
		{common, "GetCommonLinkProperties", "NewLayer1DownstreamMaxBitRate", "1000000"},
		{common, "GetCommonLinkProperties", "NewPhysicalLinkStatus", "Up"},
		{common, "GetTotalBytesSent", "NewTotalBytesSent", "7"},
		{common, "GetTotalBytesReceived", "NewTotalBytesReceived", "8"},
		{common, "GetTotalPacketsSent", "NewTotalPacketsSent", "9"},
		{common, "GetTotalPacketsReceived", "NewTotalPacketsReceived", "10"},
		{"urn:schemas-upnp-org:service:Layer3Forwarding:1", "GetDefaultConnectionService", "NewDefaultConnectionService",
			s.udn(1, "WANConnectionDevice") + ",urn:upnp-org:serviceId:WANIPConn1"},
	} {
		if got, code := ask(t, s, host, c.service, c.action, ""); got[c.argument] != c.want {
			t.Errorf("%s: %s is %q, want %q (code %d)", c.action, c.argument, got[c.argument], c.want, code)
		}
	}
	expectCode(t, s, host, wanIP1, "RequestConnection", "", 0)
	g.down = true
	if got, _ := ask(t, s, host, wanIP1, "GetStatusInfo", ""); got["NewConnectionStatus"] != "Disconnected" {
		t.Errorf("without an address the status is %v", got)
	}
	expectCode(t, s, host, wanIP1, "RequestConnection", "", ConnectionFailed)
}

func TestDescriptionsAreBoundedAndPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"a\x00b\nc": "abc", " x ": "x", "\xff": "", strings.Repeat("é", 100): strings.Repeat("é", 64), strings.Repeat("€", 100): strings.Repeat("€", 42),
	} {
		if got := describe(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestEveryDocumentThatTheRootNamesIsThere(t *testing.T) {
	s, _ := gatewayServer(t)
	for tree := 1; tree <= 2; tree++ {
		w := send(s, request(host, "GET", fmt.Sprintf(rootPath, tree), ""))
		wellFormed(t, w.Body.Bytes())
		type service struct {
			Type    string `xml:"serviceType"`
			SCPD    string `xml:"SCPDURL"`
			Control string `xml:"controlURL"`
		}
		var services []service
		d := xml.NewDecoder(w.Body)
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "service" {
				var v service
				if err := d.DecodeElement(&v, &e); err != nil {
					t.Fatal(err)
				}
				services = append(services, v)
			}
		}
		if len(services) != 3 {
			t.Errorf("version %d has %d services, want 3", tree, len(services))
		}
		for _, v := range services {
			w := send(s, request(host, "GET", v.SCPD, ""))
			wellFormed(t, w.Body.Bytes())
			if w.Code != http.StatusOK || strings.Contains(v.Type, "WANIPConnection") && strings.Contains(w.Body.String(), "AddAnyPortMapping") != (tree == 2) {
				t.Errorf("%s: %d %s", v.SCPD, w.Code, w.Body)
			}
		}
	}
}

// Every argument must have a variable of its own in the document, or strict clients refuse the whole service.
func TestArgumentsReferToVariablesThatAreDescribed(t *testing.T) {
	s, _ := gatewayServer(t)
	for _, v := range s.services {
		for _, a := range v.actions {
			for _, x := range slices.Concat(a.in, a.out) {
				i := slices.IndexFunc(v.variables, func(k variable) bool { return k.name == x.variable })
				if i < 0 || v.variables[i].since > a.since {
					t.Errorf("%s %s: %s has no variable %s", v.name, a.name, x.name, x.variable)
				}
			}
		}
	}
}

func TestOnlyTheRoutersOwnAddressIsItsName(t *testing.T) {
	s, _ := gatewayServer(t)
	for _, name := range []string{"evil.example:5000", "localhost:5000", "192.168.1.2:5000", "192.168.1.1:80", "192.168.1.1", "", "[::1]:5000"} {
		r := request(host, "GET", "/igd1.xml", "")
		r.Host = name
		if w := send(s, r); w.Code != http.StatusForbidden || w.Body.Len() != 0 {
			t.Errorf("the name %q gets %d", name, w.Code)
		}
	}
	if n := s.Stats().WrongHost; n != 7 {
		t.Errorf("%d are counted, want 7", n)
	}
	r := request(host, "GET", "/igd1.xml", "").WithContext(context.Background())
	if w := send(s, r); w.Code != http.StatusForbidden {
		t.Errorf("where the local address is not known it gets %d", w.Code)
	}
}

func TestStrangersGetNothing(t *testing.T) {
	s, _ := gatewayServer(t)
	if w := send(s, request(netip.MustParseAddr("203.0.113.9"), "GET", "/igd1.xml", "")); w.Code != http.StatusForbidden || w.Body.Len() != 0 {
		t.Errorf("a stranger gets %d", w.Code)
	}
	if err := s.Configure(Config{Port: 5000}); err != nil { // which permits nobody
		t.Fatal(err)
	}
	if w := send(s, request(host, "GET", "/igd1.xml", "")); w.Code != http.StatusForbidden {
		t.Errorf("a host gets %d although nobody may ask", w.Code)
	}
}

func TestNobodyIsCalledBack(t *testing.T) {
	s, _ := gatewayServer(t)
	r := request(host, "SUBSCRIBE", "/event/WANIPConnection", "")
	r.Header.Set("CALLBACK", "<http://203.0.113.9/>")
	r.Header.Set("NT", "upnp:event")
	if w := send(s, r); w.Code != http.StatusNotImplemented {
		t.Errorf("a subscription gets %d, want 501", w.Code)
	}
	for path, file := range s.files {
		if strings.Contains(string(file), `sendEvents="yes"`) {
			t.Errorf("%s promises events", path)
		}
	}
}

func TestRequestsThatMakeNoSenseAreRefused(t *testing.T) {
	s, g := gatewayServer(t)
	good := body(wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.10", "1", "", "0"))
	post := func(action, text string) *http.Request {
		r := request(host, "POST", "/control/WANIPConnection", text)
		if action != "" {
			r.Header.Set("SOAPAction", action)
		}
		return r
	}
	fromPage := post(`"`+wanIP1+`#AddPortMapping"`, good)
	fromPage.Header.Set("Origin", "http://evil.example")
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"another path":          {request(host, "GET", "/", ""), 404},
		"another service":       {request(host, "POST", "/control/X", good), 404},
		"a document is posted":  {request(host, "POST", "/igd1.xml", ""), 405},
		"a control is got":      {request(host, "GET", "/control/WANIPConnection", ""), 405},
		"a form of a page":      {post("", good), 400},
		"a script of a page":    {fromPage, 400},
		"no XML":                {post(`"`+wanIP1+`#AddPortMapping"`, "NewExternalPort=1"), 400},
		"too long":              {post(`"`+wanIP1+`#AddPortMapping"`, good+strings.Repeat(" ", maxBody)), 413},
		"the header disagrees":  {post(`"`+wanIP1+`#GetStatusInfo"`, good), 500},
		"another version":       {post(`"x"`, strings.ReplaceAll(good, wanIP1, "urn:schemas-upnp-org:service:WANIPConnection:3")), 500},
		"another service's URL": {post(`"x"`, body("urn:schemas-upnp-org:service:Layer3Forwarding:1", "GetDefaultConnectionService", "")), 500},
	} {
		if w := send(s, c.r); w.Code != c.want {
			t.Errorf("%s: status %d, want %d", name, w.Code, c.want)
		}
	}
	if len(g.all()) != 0 {
		t.Errorf("a mapping was made: %+v", g.all())
	}
}

// served is a server on the loopback device.
func served(t *testing.T, permitted func(netip.Addr) bool) (*Server, string) {
	t.Helper()
	s, _ := gatewayServer(t)
	if err := s.Configure(Config{Port: 5000, Permitted: permitted}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving ends with %v", err)
		}
	})
	return s, l.Addr().String()
}

// first is the first line that a connection gives; "" when it is closed without one.
func first(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(8 * time.Second)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err, ok := errors.AsType[net.Error](err); ok && err.Timeout() {
		t.Fatal("the connection neither answers nor ends")
	}
	return strings.TrimSpace(line)
}

func dial(t *testing.T, at string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp4", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestConnectionsOfStrangersEndAtOnce(t *testing.T) {
	s, at := served(t, lan.Contains)
	if got := first(t, dial(t, at)); got != "" || s.Stats().Strangers != 1 {
		t.Errorf("a stranger gets %q, counted %d", got, s.Stats().Strangers)
	}
}

func TestAHostHasABoundedNumberOfConnections(t *testing.T) {
	s, at := served(t, netip.Addr.IsLoopback)
	get := "GET /igd1.xml HTTP/1.1\r\nHost: " + at + "\r\n\r\n"
	var open []net.Conn
	for range maxPerHost {
		c := dial(t, at)
		if _, err := io.WriteString(c, get); err != nil {
			t.Fatal(err)
		}
		if got := first(t, c); got != "HTTP/1.1 200 OK" {
			t.Fatalf("the answer is %q", got)
		}
		open = append(open, c)
	}
	if got := first(t, dial(t, at)); got != "" || s.Stats().Crowded != 1 {
		t.Errorf("one too many gets %q, counted %d", got, s.Stats().Crowded)
	}
	open[0].Close()
	// Until the server has noticed the end, the next is still one too many.
	for deadline := time.Now().Add(8 * time.Second); ; {
		c := dial(t, at)
		if _, err := io.WriteString(c, get); err == nil && first(t, c) == "HTTP/1.1 200 OK" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a closed connection is not given to the next")
		}
	}
}
