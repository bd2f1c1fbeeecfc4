package dhcp

import "strings"

// Limits of names in DNS (RFC 1035 section 2.3.4), in octets.
const (
	maxLabel = 63
	maxName  = 255
)

// AppendName writes a name in the wire format of DNS, without compression. It reports false, and writes nothing, for a name with an empty or too
// long label, or too long altogether. "" and "." are the root.
func AppendName(b []byte, name string) ([]byte, bool) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > maxName-2 {
		return b, false
	}
	start := len(b)
	for name != "" {
		label, rest, more := strings.Cut(name, ".")
		if label == "" || len(label) > maxLabel || more && rest == "" {
			return b[:start], false
		}
		b = append(append(b, byte(len(label))), label...)
		name = rest
	}
	return append(b, 0), true
}

// AppendSearch writes a search list as option 119 holds it (RFC 3397). Compression, which saves little and which old clients do not
// read, is not used. It reports false, and writes nothing, when a name is none.
func AppendSearch(b []byte, names ...string) ([]byte, bool) {
	start, ok := len(b), true
	for _, n := range names {
		if b, ok = AppendName(b, n); !ok || strings.Trim(n, ".") == "" {
			return b[:start], false
		}
	}
	return b, true
}

// DecodeSearch reads option 119, whole. Names come in lower case and without the last dot. A pointer must lead to an earlier place than every octet
// that the name has had so far, so that no name can loop; such, cut names, names that are too long and the root make it false.
func DecodeSearch(v []byte) (names []string, ok bool) {
	for at := 0; at < len(v); {
		name, next, ok := nameAt(v, at)
		if !ok || name == "" {
			return nil, false
		}
		names, at = append(names, name), next
	}
	return names, true
}

// nameAt reads a name, of which dots, zeros and the like within labels are no part, and tells where it ends.
func nameAt(v []byte, at int) (name string, next int, ok bool) {
	var b strings.Builder
	floor := at // the first octet of this piece of the name
	for {
		if at >= len(v) {
			return "", 0, false
		}
		n := int(v[at])
		switch {
		case n == 0:
			if next == 0 {
				next = at + 1
			}
			return b.String(), next, true
		case n&0xc0 == 0xc0:
			if at+1 >= len(v) {
				return "", 0, false
			}
			to := n&0x3f<<8 | int(v[at+1])
			if to >= floor {
				return "", 0, false
			}
			if next == 0 {
				next = at + 2
			}
			at, floor = to, to
		case n > maxLabel || at+1+n > len(v) || b.Len()+1+n > maxName-2:
			return "", 0, false
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			for _, c := range v[at+1 : at+1+n] {
				if c <= ' ' || c >= 0x7f || c == '.' {
					return "", 0, false
				}
				b.WriteByte(lower(c))
			}
			at += 1 + n
		}
	}
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// Label makes of what a client says of its name one label that may stand in DNS: the part before the first dot, in lower case, with what is neither letter, digit
// nor hyphen made hyphens, none of which stand at the ends (RFC 1123 section 2.1). "" when nothing is left, and for `localhost`, which is everybody's.
func Label(name string) string {
	name, _, _ = strings.Cut(name, ".")
	var b strings.Builder
	for i := 0; i < len(name) && b.Len() < maxLabel; i++ {
		switch c := lower(name[i]); {
		case c == 0:
			i = len(name)
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			b.WriteByte(c)
		case b.Len() > 0:
			b.WriteByte('-')
		}
	}
	label := strings.TrimRight(b.String(), "-")
	if label == "localhost" {
		return ""
	}
	return label
}

// Flags of option 81 (RFC 4702 section 2.1).
const (
	FQDNServerUpdates = 1 << iota // S: the server keeps the name's A record
	FQDNOverride                  // O: the server decided otherwise than the client asked
	FQDNEncoded                   // E: the name is in the wire format of DNS, not in ASCII
	FQDNNoUpdates                 // N: the server updates nothing
)

// FQDN is option 81.
type FQDN struct {
	Flags uint8
	Name  string // may be one label, which is then not yet fully qualified
}

// DecodeFQDN reads option 81. A name in wire format may end without its last octet, for a name that is not complete (section 2.3.1).
func DecodeFQDN(v []byte) (FQDN, bool) {
	if len(v) < 3 {
		return FQDN{}, false
	}
	f := FQDN{Flags: v[0] & 0x0f}
	v = v[3:] // after the two obsolete result codes
	if f.Flags&FQDNEncoded == 0 {
		f.Name = text(v)
		return f, true
	}
	if len(v) == 0 {
		return f, true
	}
	name, next, ok := nameAt(v, 0)
	if !ok {
		if name, next, ok = nameAt(append(v[:len(v):len(v)], 0), 0); ok {
			next--
		}
	}
	if !ok || next != len(v) {
		return FQDN{}, false
	}
	f.Name = name
	return f, true
}

// Append writes option 81, in the encoding that its flags say.
func (f FQDN) Append(b []byte) []byte {
	b = append(b, f.Flags, 255, 255) // the result codes: RFC 4702 section 2.2
	if f.Flags&FQDNEncoded == 0 {
		return append(b, f.Name...)
	}
	b, _ = AppendName(b, f.Name)
	return b
}
