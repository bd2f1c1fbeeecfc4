package client

import "strings"

// domain is option 15: a name in text. "": it is none.
func domain(v []byte) string {
	s := strings.TrimRight(string(v), "\x00")
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if s == "" || len(s) > 253 {
		return ""
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return ""
		}
	}
	return s
}

// validLabel reports a label of letters, digits, hyphens and underscores.
func validLabel(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// searchList reads option 119 (RFC 3397): names in the format of DNS, whose pointers count from the option's first octet. What follows a malformed name is
// not read. A name of which no host name can be made is left out.
func searchList(v []byte) (out []string) {
	for at := 0; at < len(v) && len(out) < maxSearch; {
		name, next, ok := nameAt(v, at)
		if !ok {
			return out
		}
		if d := domain([]byte(name)); d != "" {
			out = append(out, d)
		}
		at = next
	}
	return out
}

// nameAt reads the name at an offset, and tells where the next begins. A pointer leads only backwards from where its part of the name began, so that
// there is no loop.
func nameAt(v []byte, at int) (name string, next int, ok bool) {
	var labels []string
	length, start := 0, at
	for at < len(v) {
		n := int(v[at])
		switch {
		case n == 0:
			if next == 0 {
				next = at + 1
			}
			return strings.Join(labels, "."), next, true
		case n&0xc0 == 0xc0 && at+1 < len(v):
			to := (n&0x3f)<<8 | int(v[at+1])
			if to >= start {
				return "", 0, false
			}
			if next == 0 {
				next = at + 2
			}
			at, start = to, to
		case n > 63 || at+1+n > len(v) || length+n+1 > 255:
			return "", 0, false
		default:
			labels = append(labels, string(v[at+1:at+1+n]))
			length += n + 1
			at += 1 + n
		}
	}
	return "", 0, false
}
