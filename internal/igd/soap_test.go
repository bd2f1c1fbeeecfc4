package igd

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

const wanIP1, wanIP2 = "urn:schemas-upnp-org:service:WANIPConnection:1", "urn:schemas-upnp-org:service:WANIPConnection:2"

// body is a request as miniupnpc 2.2.4 writes it, octet by octet.
func body(service, action, args string) string {
	return "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" " +
		"s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:" + action + " xmlns:u=\"" + service + "\">" +
		args + "</u:" + action + "></s:Body></s:Envelope>\r\n"
}

func TestARequestIsAnActionWithArguments(t *testing.T) {
	m, err := parseCall([]byte(body(wanIP1, "DeletePortMapping", "<NewRemoteHost></NewRemoteHost><NewExternalPort>5000</NewExternalPort><NewProtocol>TCP</NewProtocol>")))
	if err != nil || m.service != wanIP1 || m.action != "DeletePortMapping" || len(m.args) != 3 || m.args["NewExternalPort"] != "5000" || m.args["NewRemoteHost"] != "" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestRequestsOfOtherClientsAreRead(t *testing.T) {
	for name, text := range map[string]string{
		"a default namespace, a header, line breaks and comments": `<?xml version="1.0" encoding="utf-8"?>
<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/">
 <Header><x xmlns="y">1</x></Header><!-- c -->
 <Body>
  <GetStatusInfo xmlns="` + wanIP1 + `">
   <A xmlns:dt="urn:schemas-microsoft-com:datatypes" dt:dt="string"> b <!-- c --></A>
  </GetStatusInfo>
 </Body>
</Envelope>`,
		"no declaration": `<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Body><m:GetStatusInfo xmlns:m="` + wanIP1 +
			`"><A> b </A></m:GetStatusInfo></SOAP-ENV:Body></SOAP-ENV:Envelope>`,
	} {
		m, err := parseCall([]byte(text))
		if err != nil || m.service != wanIP1 || m.action != "GetStatusInfo" || strings.TrimSpace(m.args["A"]) != "b" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestABareAmpersandIsTakenAsOne(t *testing.T) {
	m, err := parseCall([]byte(body(wanIP1, "AddPortMapping", "<D>you & me &amp; &lt;</D>")))
	if err != nil || m.args["D"] != "you & me & <" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	good := body(wanIP1, "X", "")
	for name, text := range map[string]string{
		"nothing":                 "",
		"not an envelope":         "<a/>",
		"another namespace":       strings.Replace(good, "soap/envelope", "soap/other", 1),
		"cut short":               good[:len(good)-20],
		"no action":               `<s:Envelope xmlns:s="` + soapEnvelope + `"><s:Body></s:Body></s:Envelope>`,
		"two actions":             strings.Replace(good, "</s:Body>", "<u:Y xmlns:u='z'/></s:Body>", 1),
		"an argument twice":       body(wanIP1, "X", "<A>1</A><A>2</A>"),
		"too many arguments":      body(wanIP1, "X", "<A/><B/><C/><D/><E/><F/><G/><H/><I/><J/><K/><L/><M/><N/><O/><P/><Q/>"),
		"elements in an argument": body(wanIP1, "X", "<A><B/></A>"),
		"text between arguments":  body(wanIP1, "X", "hello"),
		"a document type":         strings.Replace(good, "\r\n<s:", `<!DOCTYPE a [<!ENTITY b "c">]><s:`, 1),
		"another encoding":        strings.Replace(good, `version="1.0"`, `version="1.0" encoding="utf-16"`, 1),
		"something before Body":   strings.Replace(good, "<s:Body>", "<s:Other/><s:Body>", 1),
	} {
		if m, err := parseCall([]byte(text)); err == nil {
			t.Errorf("%s: read as %+v", name, m)
		}
	}
}

func TestArgumentsHaveTheTypesOfTheirVariables(t *testing.T) {
	for _, c := range []struct {
		kind, text string
		ok         bool
		number     uint32
		flag       bool
	}{
		{"ui2", " 65535 ", true, 65535, false}, {"ui2", "65536", false, 0, false}, {"ui2", "-1", false, 0, false}, {"ui2", "", false, 0, false},
		{"ui2", "0x10", false, 0, false}, {"ui4", "4294967295", true, 1<<32 - 1, false}, {"ui4", "4294967296", false, 0, false},
		{"boolean", "1", true, 0, true}, {"boolean", "True", true, 0, true}, {"boolean", "no", true, 0, false}, {"boolean", "2", false, 0, false},
		{"string", "anything", true, 0, false},
	} {
		v, ok := (variable{kind: c.kind}).decode(c.text)
		if ok != c.ok || ok && (v.number != c.number || v.flag != c.flag) {
			t.Errorf("%s %q: %+v, %v", c.kind, c.text, v, ok)
		}
	}
	p := variable{kind: "string", allowed: []string{"TCP", "UDP"}}
	if v, ok := p.decode("udp"); !ok || v.text != "UDP" {
		t.Errorf("udp is %+v, %v", v, ok)
	}
	if _, ok := p.decode("ICMP"); ok {
		t.Error("ICMP is taken for a protocol with ports")
	}
}

func TestAFaultNamesTheError(t *testing.T) {
	if f := string(fault(Conflict)); !strings.Contains(f, "<faultstring>UPnPError</faultstring>") ||
		!strings.Contains(f, "<errorCode>718</errorCode><errorDescription>ConflictInMappingEntry</errorDescription>") {
		t.Errorf("the fault is %s", f)
	}
	wellFormed(t, fault(Conflict))
}

// wellFormed fails when a document is not XML.
func wellFormed(t *testing.T, document []byte) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(document)))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
	}
}

func FuzzCall(f *testing.F) {
	f.Add(body(wanIP1, "GetStatusInfo", ""))
	f.Add(body(wanIP1, "AddPortMapping", addition("5000", "TCP", "4000", "192.168.1.10", "1", "a & b", "600")))
	f.Add(body(wanIP2, "GetListOfPortMappings", "<NewStartPort>0</NewStartPort>"))
	f.Add(`<s:Envelope xmlns:s="` + soapEnvelope + `"><s:Header/><s:Body><a/></s:Body></s:Envelope>`)
	s, g := gatewayServer(f)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseCall([]byte(text))
		if err != nil {
			return
		}
		if len(m.args) > maxArgs {
			t.Errorf("%d arguments", len(m.args))
		}
		values, a, err := s.do(t.Context(), *s.config.Load(), host, s.services["WANIPConnection"], m, m.service+"#"+m.action)
		if err != nil {
			wellFormed(t, fault(codeOf(err)))
			return
		}
		if len(values) != len(a.out) {
			t.Errorf("%s answers %d values, want %d", a.name, len(values), len(a.out))
		}
		wellFormed(t, answer(m, a, values))
		for _, m := range g.all() {
			if m.Internal.Addr() != host || m.External == 0 || m.Internal.Port() == 0 || m.Lease <= 0 || len(m.Description) > maxDescription {
				t.Errorf("a mapping is %+v", m)
			}
		}
	})
}
