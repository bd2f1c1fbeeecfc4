package igd

import (
	"bytes"
	"crypto/sha256"
	"fmt"
)

// Paths of the HTTP side. What stands behind the last two is the name of a service.
const (
	rootPath    = "/igd%d.xml" // version
	scpdPath    = "/scpd/%s-%d.xml"
	controlPath = "/control/"
	eventPath   = "/event/"
)

// udn is the identifier of a device of the tree of a version: the same after a restart, another for every router.
func (s *Server) udn(tree int, name string) string {
	h := sha256.New()
	// A hash takes everything.
	_, _ = fmt.Fprintf(h, "vrouterd igd %d %s ", tree, name)
	_, _ = h.Write(s.seed)
	u := h.Sum(nil)[:16]
	u[6] = u[6]&0x0f | 0x80 // version 8: of our own making (RFC 9562 section 5.8)
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// documents are all of them, by their paths. Nothing in them changes while the router runs.
func (s *Server) documents() map[string][]byte {
	all := map[string][]byte{}
	for tree := 1; tree <= 2; tree++ {
		all[fmt.Sprintf(rootPath, tree)] = s.rootDocument(tree)
		for _, v := range s.services {
			all[fmt.Sprintf(scpdPath, v.name, min(tree, v.version))] = scpd(v, min(tree, v.version))
		}
	}
	return all
}

// rootDocument describes the device (UDA section 2.1).
func (s *Server) rootDocument(tree int) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?>` + "\n" + `<root xmlns="urn:schemas-upnp-org:device-1-0">`)
	fmt.Fprintf(&b, "<specVersion><major>1</major><minor>%d</minor></specVersion>", tree-1)
	s.describeDevice(&b, s.root, tree)
	b.WriteString("</root>\n")
	return b.Bytes()
}

func (s *Server) describeDevice(b *bytes.Buffer, d *device, tree int) {
	b.WriteString("<device>")
	for _, f := range [...][2]string{
		{"deviceType", d.deviceType(tree)}, {"friendlyName", s.name}, {"manufacturer", "vrouterd"}, {"modelDescription", "IPv4 router"},
		{"modelName", "vrouterd"}, {"modelNumber", s.version}, {"serialNumber", "1"}, {"UDN", s.udn(tree, d.name)},
	} {
		b.WriteString("<" + f[0] + ">")
		escape(b, f[1])
		b.WriteString("</" + f[0] + ">")
	}
	b.WriteString("<serviceList>")
	for _, v := range d.services {
		fmt.Fprintf(b, "<service><serviceType>%s</serviceType><serviceId>urn:upnp-org:serviceId:%s</serviceId>", v.serviceType(tree), v.id)
		fmt.Fprintf(b, "<SCPDURL>"+scpdPath+"</SCPDURL>", v.name, min(tree, v.version))
		fmt.Fprintf(b, "<controlURL>%s</controlURL><eventSubURL>%s</eventSubURL></service>", controlPath+v.name, eventPath+v.name)
	}
	b.WriteString("</serviceList>")
	if len(d.devices) > 0 {
		b.WriteString("<deviceList>")
		for _, part := range d.devices {
			s.describeDevice(b, part, tree)
		}
		b.WriteString("</deviceList>")
	}
	b.WriteString("</device>")
}

// scpd describes a service (UDA section 2.3).
func scpd(v *service, version int) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0"?>` + "\n" + `<scpd xmlns="urn:schemas-upnp-org:service-1-0">`)
	fmt.Fprintf(&b, "<specVersion><major>1</major><minor>%d</minor></specVersion><actionList>", version-1)
	for _, a := range v.actions {
		if a.since > version {
			continue
		}
		fmt.Fprintf(&b, "<action><name>%s</name>", a.name)
		if len(a.in)+len(a.out) > 0 {
			b.WriteString("<argumentList>")
			describeArguments(&b, "in", a.in)
			describeArguments(&b, "out", a.out)
			b.WriteString("</argumentList>")
		}
		b.WriteString("</action>")
	}
	b.WriteString("</actionList><serviceStateTable>")
	for _, x := range v.variables {
		if x.since > version {
			continue
		}
		fmt.Fprintf(&b, `<stateVariable sendEvents="no"><name>%s</name><dataType>%s</dataType>`, x.name, x.kind)
		if len(x.allowed) > 0 {
			b.WriteString("<allowedValueList>")
			for _, a := range x.allowed {
				fmt.Fprintf(&b, "<allowedValue>%s</allowedValue>", a)
			}
			b.WriteString("</allowedValueList>")
		}
		b.WriteString("</stateVariable>")
	}
	b.WriteString("</serviceStateTable></scpd>\n")
	return b.Bytes()
}

func describeArguments(b *bytes.Buffer, direction string, arguments []argument) {
	for _, a := range arguments {
		fmt.Fprintf(b, "<argument><name>%s</name><direction>%s</direction><relatedStateVariable>%s</relatedStateVariable></argument>",
			a.name, direction, a.variable)
	}
}
