package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Lengths of names (RFC 1035 section 2.3.4), in octets as they are written.
const (
	maxLabel  = 63
	maxDomain = 253
)

// Patterns of the schema; the decoder is the judge.
const (
	labelPattern  = `^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`
	domainPattern = `^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?$`
)

// hostLabel is the name of a host without its domain (RFC 1123 section 2.1), in lower case.
func hostLabel() value[string] {
	return lowered(checked(maxLabel, labelPattern, func(s string) string {
		if strings.Contains(s, ".") {
			return fmt.Sprintf("%q has a dot: give the first label only, %q; the domain is added to it", shorten(s), shorten(strings.SplitN(s, ".", 2)[0]))
		}
		return checkLabel(s, false)
	}))
}

// domainName is a name of one or more labels, in lower case and without a dot at its end.
func domainName() value[string] {
	v := lowered(checked(maxDomain+1, domainPattern, checkDomain))
	plain := v.read
	v.read = func(d *decoder, what string, n *yaml.Node) (string, bool) {
		s, ok := plain(d, what, n)
		return strings.TrimSuffix(s, "."), ok
	}
	return v
}

// lowered is a text in lower case: the case of a name means nothing (RFC 4343).
func lowered(v value[string]) value[string] {
	return value[string]{schema: v.schema, read: func(d *decoder, what string, n *yaml.Node) (string, bool) {
		s, ok := v.read(d, what, n)
		return strings.ToLower(s), ok
	}}
}

// checkDomain finds fault with a name of one or more labels. Labels of records may begin with an underscore (RFC 8552).
func checkDomain(s string) string {
	s = strings.TrimSuffix(s, ".")
	switch {
	case s == "":
		return "the root is no name here: give one such as home.arpa"
	case len(s) > maxDomain:
		return fmt.Sprintf("the name has %d octets: at most %d are allowed (RFC 1035)", len(s), maxDomain)
	}
	for label := range strings.SplitSeq(s, ".") {
		if fault := checkLabel(label, true); fault != "" {
			return fault
		}
	}
	return ""
}

// checkLabel finds fault with one label of a name.
func checkLabel(s string, underscore bool) string {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || underscore && r == '_')
	}
	switch {
	case s == "":
		return "two dots in a row, or one at the beginning: give labels such as those of printer.home.arpa"
	case s == "*":
		return "a name with a star stands for many, which this version has not: write the names out"
	case len(s) > maxLabel:
		return fmt.Sprintf("%q has %d octets: a label has at most %d (RFC 1035)", shorten(s), len(s), maxLabel)
	case strings.ContainsFunc(s, bad):
		return fmt.Sprintf("%q cannot be in a name: use letters, digits and '-', and not '-' at the ends (RFC 1123)", shorten(s))
	case s[0] == '-' || s[len(s)-1] == '-':
		return fmt.Sprintf("%q begins or ends with '-', which the name of a host does not (RFC 1123)", shorten(s))
	}
	return ""
}

// upstreamServer is an address, with or without a port, which is 53 otherwise.
func upstreamServer() value[netip.AddrPort] {
	plain := hostAndPort()
	return value[netip.AddrPort]{schema: plain.schema, read: func(d *decoder, what string, n *yaml.Node) (netip.AddrPort, bool) {
		a, ok := plain.read(d, what, n)
		if ok && a.Port() == 0 {
			a = netip.AddrPortFrom(a.Addr(), dnsPort)
		}
		return a, ok
	}}
}

// serversOrNone is a server, a list of them, or the word none, which is an empty list.
func serversOrNone() value[[]placed[netip.AddrPort]] {
	plain := several(upstreamServer(), maxServers)
	return value[[]placed[netip.AddrPort]]{
		schema: &jsonschema.Schema{OneOf: append([]*jsonschema.Schema{{Enum: []any{"none"}}}, plain.schema.OneOf...)},
		read: func(d *decoder, what string, n *yaml.Node) ([]placed[netip.AddrPort], bool) {
			if n.Kind == yaml.ScalarNode && n.Value == "none" {
				return nil, true
			}
			return plain.read(d, what, n)
		},
	}
}
