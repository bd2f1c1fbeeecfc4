package config

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"vrouterd/internal/packet"
)

// Patterns of the schema. They help an editor; the decoder is the judge.
const (
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	addressPattern  = `^[0-9]{1,3}(\.[0-9]{1,3}){3}$`
	prefixPattern   = `^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$`
	toPattern       = `^(default|[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2})$`
	macPattern      = `^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$`
	namePattern     = `^[A-Za-z0-9][A-Za-z0-9._-]*$`
)

// defaultTo is the JSON of a default.
func defaultTo(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // the defaults are constants of this package
	}
	return text
}

// readScalar refuses lists and mappings.
func readScalar(d *decoder, what, wanted string, n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode {
		d.fail(n, "%s wants %s, not %s", what, wanted, kindName(n))
		return false
	}
	return true
}

// text is a string of at most most octets; a number has to be quoted to be one.
func text(most int) value[string] {
	return value[string]{
		schema: &jsonschema.Schema{Type: "string", MinLength: jsonschema.Ptr(1), MaxLength: jsonschema.Ptr(most)},
		read: func(d *decoder, what string, n *yaml.Node) (string, bool) {
			switch {
			case !readScalar(d, what, "text", n):
				return "", false
			case n.ShortTag() != "!!str":
				d.fail(n, "%s wants text, not %s: write it in quotes, %q", what, kindName(n), shorten(n.Value))
			case n.Value == "":
				d.fail(n, "%s is empty; write a value or remove the key", what)
			case len(n.Value) > most:
				d.fail(n, "%s has %d octets: at most %d are allowed", what, len(n.Value), most)
			default:
				return n.Value, true
			}
			return "", false
		},
	}
}

// checked is text that check finds no fault with; check returns a sentence or "".
func checked(most int, pattern string, check func(string) string) value[string] {
	v := text(most)
	v.schema.Pattern = pattern
	plain := v.read
	v.read = func(d *decoder, what string, n *yaml.Node) (string, bool) {
		s, ok := plain(d, what, n)
		if !ok {
			return "", false
		}
		if fault := check(s); fault != "" {
			d.fail(n, "%s: %s", what, fault)
			return "", false
		}
		return s, true
	}
	return v
}

// integer is a whole number within a range.
func integer(least, most, standard int) value[int] {
	return value[int]{
		schema: &jsonschema.Schema{
			Type: "integer", Minimum: jsonschema.Ptr(float64(least)), Maximum: jsonschema.Ptr(float64(most)), Default: defaultTo(standard),
		},
		read: func(d *decoder, what string, n *yaml.Node) (int, bool) {
			if !readScalar(d, what, "a whole number", n) {
				return 0, false
			}
			i, err := strconv.Atoi(n.Value)
			switch {
			case n.ShortTag() != "!!int":
				d.fail(n, "%s wants a whole number from %d to %d, not %s", what, least, most, kindName(n))
			case strings.HasPrefix(n.Value, "0") && len(n.Value) > 1:
				// YAML 1.1 takes 010 for eight; nobody who writes it means that.
				d.fail(n, "%s: write %s without the leading zero, as a decimal number", what, shorten(n.Value))
			case err != nil || i < least || i > most:
				d.fail(n, "%s is %s: give a whole number from %d to %d", what, shorten(n.Value), least, most)
			default:
				return i, true
			}
			return 0, false
		},
	}
}

// boolean is true or false, and no other word for it.
func boolean(standard bool) value[bool] {
	return value[bool]{
		schema: &jsonschema.Schema{Type: "boolean", Default: defaultTo(standard)},
		read: func(d *decoder, what string, n *yaml.Node) (bool, bool) {
			switch {
			case !readScalar(d, what, "true or false", n):
				return false, false
			case n.ShortTag() != "!!bool":
				d.fail(n, "%s wants true or false, not %s", what, kindName(n))
				return false, false
			}
			return strings.EqualFold(n.Value, "true"), true
		},
	}
}

// oneOf is a word out of a few; the first is the default.
func oneOf[S ~string](choices ...S) value[S] {
	names, enum := make([]string, len(choices)), make([]any, len(choices))
	for i, c := range choices {
		names[i], enum[i] = string(c), string(c)
	}
	return value[S]{
		schema: &jsonschema.Schema{Enum: enum, Default: defaultTo(names[0])},
		read: func(d *decoder, what string, n *yaml.Node) (S, bool) {
			wanted := wordList(names)
			if !readScalar(d, what, wanted, n) {
				return "", false
			}
			if !slices.Contains(names, n.Value) {
				d.fail(n, "%s wants %s, not %s", what, wanted, kindName(n))
				return "", false
			}
			return S(n.Value), true
		},
	}
}

func wordList(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// duration is a Go duration within a range.
func duration(least, most, standard time.Duration) value[time.Duration] {
	shape := regexp.MustCompile(durationPattern)
	return value[time.Duration]{
		schema: &jsonschema.Schema{Type: "string", Pattern: durationPattern, Default: defaultTo(durationText(standard))},
		read: func(d *decoder, what string, n *yaml.Node) (time.Duration, bool) {
			if !readScalar(d, what, "a duration such as 30s", n) {
				return 0, false
			}
			got, err := time.ParseDuration(n.Value)
			switch {
			case n.ShortTag() == "!!int":
				d.fail(n, "%s: a duration needs its unit: write %ss for seconds", what, shorten(n.Value))
			case err != nil || !shape.MatchString(n.Value):
				d.fail(n, "%s wants a duration such as 30s, 1m30s or 500ms, not %s", what, kindName(n))
			case got < least || got > most:
				d.fail(n, "%s is %s: give a duration from %s to %s", what, shorten(n.Value), durationText(least), durationText(most))
			default:
				return got, true
			}
			return 0, false
		},
	}
}

// durationText writes 1h, where the standard library writes 1h0m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// address is an IPv4 address without a prefix length.
func address() value[netip.Addr] {
	return value[netip.Addr]{
		schema: &jsonschema.Schema{Type: "string", Pattern: addressPattern},
		read: func(d *decoder, what string, n *yaml.Node) (netip.Addr, bool) {
			if !readScalar(d, what, "an IPv4 address such as 10.1.0.2", n) {
				return netip.Addr{}, false
			}
			a, err := netip.ParseAddr(n.Value)
			p, notAddress := netip.ParsePrefix(n.Value)
			switch {
			case err == nil && a.Is4():
				return a, true
			case err == nil:
				d.fail(n, "%s: %s is an IPv6 address: this version routes IPv4 only", what, shorten(n.Value))
			case notAddress == nil:
				d.fail(n, "%s wants an address without a prefix length: write %s", what, p.Addr())
			default:
				d.fail(n, "%s: %q is not an IPv4 address such as 10.1.0.2", what, shorten(n.Value))
			}
			return netip.Addr{}, false
		},
	}
}

// interfacePrefix is an IPv4 address with the length of its subnet's prefix.
func interfacePrefix() value[netip.Prefix] {
	return value[netip.Prefix]{
		schema: &jsonschema.Schema{Type: "string", Pattern: prefixPattern},
		read: func(d *decoder, what string, n *yaml.Node) (netip.Prefix, bool) {
			return readPrefix(d, what, n, "24")
		},
	}
}

// network is an IPv4 prefix without host bits.
func network() value[netip.Prefix] {
	return value[netip.Prefix]{
		schema: &jsonschema.Schema{Type: "string", Pattern: prefixPattern},
		read: func(d *decoder, what string, n *yaml.Node) (netip.Prefix, bool) {
			p, ok := readPrefix(d, what, n, "32")
			if ok && p != p.Masked() {
				d.fail(n, "%s: %s has bits set behind its prefix: write %s", what, p, p.Masked())
				return netip.Prefix{}, false
			}
			return p, ok
		},
	}
}

// destination is a network, or the word default for all of them.
func destination() value[netip.Prefix] {
	plain := network()
	return value[netip.Prefix]{
		schema: &jsonschema.Schema{Type: "string", Pattern: toPattern},
		read: func(d *decoder, what string, n *yaml.Node) (netip.Prefix, bool) {
			if n.Kind == yaml.ScalarNode && n.Value == "default" {
				return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
			}
			return plain.read(d, what, n)
		},
	}
}

// readPrefix reads address/length; usual is the length to propose when it is missing.
func readPrefix(d *decoder, what string, n *yaml.Node, usual string) (netip.Prefix, bool) {
	if !readScalar(d, what, "an address with a prefix length such as 10.1.0.1/24", n) {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(n.Value)
	before, after, _ := strings.Cut(n.Value, "/")
	addr, notAddress := netip.ParseAddr(before)
	bits, dotted := maskBits(after)
	switch {
	case err == nil && p.Addr().Is4():
		return p, true
	case notAddress == nil && !addr.Is4():
		d.fail(n, "%s: %s is an IPv6 address: this version routes IPv4 only", what, shorten(n.Value))
	case notAddress == nil && after == "":
		d.fail(n, "%s: %s has no prefix length: write %s/%s", what, shorten(n.Value), addr, usual)
	case notAddress == nil && dotted:
		d.fail(n, "%s: write the mask as a prefix length: %s/%d", what, addr, bits)
	case notAddress == nil:
		d.fail(n, "%s: %q is not a prefix length: give a number from 0 to 32, such as %s/%s", what, shorten(after), addr, usual)
	default:
		d.fail(n, "%s: %q is not an IPv4 address with a prefix length such as 10.1.0.0/24", what, shorten(n.Value))
	}
	return netip.Prefix{}, false
}

// maskBits reads a dotted mask.
func maskBits(s string) (int, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return 0, false
	}
	for bits := 0; bits <= 32; bits++ {
		if packet.Mask(bits) == packet.AddrFrom(a) {
			return bits, true
		}
	}
	return 0, false
}

// station is the MAC address of one station.
func station() value[packet.MAC] {
	shape := regexp.MustCompile(macPattern)
	return value[packet.MAC]{
		schema: &jsonschema.Schema{Type: "string", Pattern: macPattern},
		read: func(d *decoder, what string, n *yaml.Node) (packet.MAC, bool) {
			if !readScalar(d, what, "a MAC address such as 02:00:5e:10:00:01", n) {
				return packet.MAC{}, false
			}
			m, err := packet.ParseMAC(n.Value)
			switch {
			case err != nil || !shape.MatchString(n.Value):
				d.fail(n, "%s: %q is not a MAC address of six octets such as 02:00:5e:10:00:01", what, shorten(n.Value))
			case m.IsGroup():
				single := m
				single[0] &^= 1
				d.fail(n, "%s: %s is a group address: one station's has an even first octet, such as %s", what, m, single)
			case m.IsZero():
				d.fail(n, "%s: no station has the address %s: give one such as 02:00:5e:10:00:01", what, m)
			default:
				return m, true
			}
			return packet.MAC{}, false
		},
	}
}

// several is one value or a list of them, most at most.
func several[V any](one value[V], most int) value[[]placed[V]] {
	return value[[]placed[V]]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			one.schema, {Type: "array", Items: one.schema.CloneSchemas(), MinItems: jsonschema.Ptr(1), MaxItems: jsonschema.Ptr(most)},
		}},
		read: func(d *decoder, what string, n *yaml.Node) ([]placed[V], bool) {
			if n.Kind != yaml.SequenceNode {
				v, ok := one.read(d, what, n)
				if !ok {
					return nil, false
				}
				return []placed[V]{{v: v, at: n}}, true
			}
			return readSeveral(d, what, n, one, most)
		},
	}
}

// listOf is a list of values.
func listOf[V any](one value[V], most int) value[[]placed[V]] {
	v := several(one, most)
	v.schema = v.schema.OneOf[1]
	v.read = func(d *decoder, what string, n *yaml.Node) ([]placed[V], bool) {
		if n.Kind == yaml.ScalarNode {
			d.fail(n, "%s wants a list: write [%s]", what, shorten(n.Value))
			return nil, false
		}
		return readSeveral(d, what, n, one, most)
	}
	return v
}

// readSeveral keeps the good elements of a list, so that what refers to them
// is still checked, and reports whether all were good.
func readSeveral[V any](d *decoder, what string, n *yaml.Node, one value[V], most int) ([]placed[V], bool) {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		d.fail(n, "%s: the list is empty; fill it or remove the key", what)
		return nil, false
	}
	if len(n.Content) > most {
		d.fail(n, "%s: the list has %d entries: at most %d are allowed", what, len(n.Content), most)
		return nil, false
	}
	var all []placed[V]
	ok := true
	readList(d, what, "a value", n, func(element *yaml.Node) {
		v, good := one.read(d, what, element)
		if good {
			all = append(all, placed[V]{v: v, at: element})
		}
		ok = ok && good
	})
	return all, ok && n.Kind == yaml.SequenceNode
}
