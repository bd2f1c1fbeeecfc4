package igd

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const (
	soapEnvelope = "http://schemas.xmlsoap.org/soap/envelope/"
	soapEncoding = "http://schemas.xmlsoap.org/soap/encoding/"
)

// Bounds of a request.
const (
	maxBody = 8 << 10 // octets
	maxArgs = 16
)

// message is a SOAP request: an action of a service, and its arguments as they were written.
type message struct {
	service string // urn:schemas-upnp-org:service:WANIPConnection:1
	action  string
	args    map[string]string
}

// parseCall reads a SOAP request (UDA section 3.1.1): an envelope, perhaps with a header, whose body is one element, the action,
// whose elements are arguments. Whatever else XML can do is refused.
func parseCall(body []byte) (m message, err error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = false // miniupnpc sends descriptions as they are: with a bare ampersand in them, too
	if _, err := open(d, soapEnvelope, "Envelope"); err != nil {
		return m, err
	}
	for {
		e, err := open(d, soapEnvelope, "")
		if err != nil {
			return m, err
		}
		if e.Name.Local == "Body" {
			break
		}
		if e.Name.Local != "Header" {
			return m, fmt.Errorf("soap: %s stands where Body should", e.Name.Local)
		}
		if err := d.Skip(); err != nil {
			return m, fmt.Errorf("soap: header: %w", err)
		}
	}
	e, err := open(d, "", "")
	if err != nil {
		return m, err
	}
	m = message{service: e.Name.Space, action: e.Name.Local, args: map[string]string{}}
	for {
		t, err := token(d)
		if err != nil {
			return m, err
		}
		switch t := t.(type) {
		case xml.EndElement: // of the action
			return m, finish(d)
		case xml.StartElement:
			text, err := leaf(d)
			if err != nil {
				return m, err
			}
			if _, twice := m.args[t.Name.Local]; twice || len(m.args) == maxArgs {
				return m, fmt.Errorf("soap: argument %s is there twice, or is one too many", t.Name.Local)
			}
			m.args[t.Name.Local] = text
		case xml.CharData:
			if len(bytes.TrimSpace(t)) != 0 {
				return m, errors.New("soap: text between arguments")
			}
		}
	}
}

// token is the next that means something: comments and the declaration do not. A document type is refused: entities could be
// declared in it.
func token(d *xml.Decoder) (xml.Token, error) {
	for {
		t, err := d.Token()
		if err == io.EOF {
			return nil, errors.New("soap: the request ends within an element")
		}
		if err != nil {
			return nil, fmt.Errorf("soap: %w", err)
		}
		switch t.(type) {
		case xml.Directive:
			return nil, errors.New("soap: a document type is not allowed")
		case xml.Comment, xml.ProcInst:
		default:
			return t, nil
		}
	}
}

// open is the start of the next element, which must have the name; "" for any.
func open(d *xml.Decoder, space, name string) (xml.StartElement, error) {
	for {
		t, err := token(d)
		if err != nil {
			return xml.StartElement{}, err
		}
		switch t := t.(type) {
		case xml.CharData:
			if len(bytes.TrimSpace(t)) == 0 {
				continue
			}
		case xml.StartElement:
			if (space == "" || t.Name.Space == space) && (name == "" || t.Name.Local == name) {
				return t, nil
			}
		}
		return xml.StartElement{}, fmt.Errorf("soap: an element %s was expected", strings.TrimSpace(space+" "+name))
	}
}

// leaf is the text of an element that has no others within, up to its end.
func leaf(d *xml.Decoder) (string, error) {
	var text strings.Builder
	for {
		t, err := token(d)
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			return text.String(), nil
		default:
			return "", errors.New("soap: an argument has elements within")
		}
	}
}

// finish reads the ends of body and envelope.
func finish(d *xml.Decoder) error {
	for ends := 0; ends < 2; {
		t, err := token(d)
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.EndElement:
			ends++
		case xml.CharData:
			if len(bytes.TrimSpace(t)) == 0 {
				continue
			}
			return errors.New("soap: text behind the action")
		default:
			return errors.New("soap: more than one action")
		}
	}
	return nil
}

// value is an argument, checked against its variable.
type value struct {
	text   string
	number uint32
	flag   bool
}

// decode checks a request's arguments against an action. Their order, and what the action does not know, are not minded.
func (v *service) decode(a *action, args map[string]string) (map[string]value, error) {
	values := map[string]value{}
	for _, in := range a.in {
		text, ok := args[in.name]
		if !ok {
			return nil, fmt.Errorf("argument %s is missing: %w", in.name, InvalidArgs)
		}
		decoded, ok := v.variable(in.variable).decode(text)
		if !ok {
			return nil, fmt.Errorf("argument %s cannot be %q: %w", in.name, text, InvalidArgs)
		}
		values[in.name] = decoded
	}
	return values, nil
}

// decode reads a value of the variable's type (UDA section 2.3).
func (x variable) decode(text string) (v value, ok bool) {
	v.text = text
	plain := strings.TrimSpace(text)
	switch x.kind {
	case "ui2", "ui4":
		bits := 16
		if x.kind == "ui4" {
			bits = 32
		}
		n, err := strconv.ParseUint(plain, 10, bits)
		v.number = uint32(n)
		return v, err == nil
	case "boolean":
		switch strings.ToLower(plain) {
		case "1", "true", "yes":
			v.flag = true
			return v, true
		case "0", "false", "no":
			return v, true
		}
		return v, false
	}
	if len(x.allowed) == 0 {
		return v, true
	}
	i := slices.IndexFunc(x.allowed, func(a string) bool { return strings.EqualFold(a, plain) })
	if i < 0 {
		return v, false
	}
	v.text = x.allowed[i]
	return v, true
}

// answer is a SOAP response (UDA section 3.1.2).
func answer(m message, a *action, values []string) []byte {
	var b bytes.Buffer
	envelope(&b, func() {
		fmt.Fprintf(&b, `<u:%sResponse xmlns:u="`, a.name)
		escape(&b, m.service)
		b.WriteString(`">`)
		for i, out := range a.out {
			fmt.Fprintf(&b, "<%s>", out.name)
			if out.variable == portListing {
				// A document within the document. Clients that read no escapes are out there; it has none
				// of what ends such a section, since > is escaped in it.
				b.WriteString("<![CDATA[" + values[i] + "]]>")
			} else {
				escape(&b, values[i])
			}
			fmt.Fprintf(&b, "</%s>", out.name)
		}
		fmt.Fprintf(&b, "</u:%sResponse>", a.name)
	})
	return b.Bytes()
}

// fault is a SOAP fault (UDA section 3.1.3).
func fault(c Code) []byte {
	var b bytes.Buffer
	envelope(&b, func() {
		b.WriteString(`<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>` +
			`<UPnPError xmlns="urn:schemas-upnp-org:control-1-0">`)
		fmt.Fprintf(&b, "<errorCode>%d</errorCode><errorDescription>%s</errorDescription>", uint16(c), c.Name())
		b.WriteString(`</UPnPError></detail></s:Fault>`)
	})
	return b.Bytes()
}

func envelope(b *bytes.Buffer, body func()) {
	b.WriteString(`<?xml version="1.0"?>` + "\n" + `<s:Envelope xmlns:s="` + soapEnvelope + `" s:encodingStyle="` + soapEncoding + `"><s:Body>`)
	body()
	b.WriteString("</s:Body></s:Envelope>\n")
}

// escape writes text as XML. What XML cannot hold becomes the replacement character.
func escape(b *bytes.Buffer, text string) {
	// A buffer takes everything.
	_ = xml.EscapeText(b, []byte(text))
}
