package config

import (
	"encoding/hex"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// The word for a lease that never ends, and how long that is on the wire (RFC 2131 section 3.3).
const (
	infinite      = "infinite"
	infiniteLease = math.MaxUint32 * time.Second
)

// Bounds of leases. The least is what leaves a second each for renewing and rebinding.
const (
	leastLease = 2 * time.Second
	mostLease  = 87_600 * time.Hour // ten years
)

// leaseText is the length of a lease as the configuration writes it; "" for none.
func leaseText(d time.Duration) string {
	if d == infiniteLease {
		return infinite
	}
	return timeText(d)
}

// leaseTime is a number of whole seconds, since a lease is counted in them. withInfinite allows the word for one that never
// ends.
func leaseTime(least, most time.Duration, withInfinite bool) value[time.Duration] {
	plain := withoutDefault(duration(least, most, 0))
	v := plain
	if withInfinite {
		v.schema = &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Enum: []any{infinite}}, plain.schema}}
	}
	v.read = func(d *decoder, what string, n *yaml.Node) (time.Duration, bool) {
		if withInfinite && n.Kind == yaml.ScalarNode && n.Value == infinite {
			return infiniteLease, true
		}
		got, ok := plain.read(d, what, n)
		if ok && got%time.Second != 0 {
			d.fail(n, "%s is %s: it counts in whole seconds; write %s", what, shorten(n.Value), durationText(got.Round(time.Second)))
			return 0, false
		}
		return got, ok
	}
	return v
}

// withDefault is a value whose default the schema tells of.
func withDefault[V any](v value[V], standard string) value[V] {
	v.schema.Default = defaultTo(standard)
	return v
}

// addressesOrNone is an address, a list of them, or the word none, which is an empty list.
func addressesOrNone(most int) value[[]placed[netip.Addr]] {
	plain := several(address(), most)
	return value[[]placed[netip.Addr]]{
		schema: &jsonschema.Schema{OneOf: append([]*jsonschema.Schema{{Enum: []any{"none"}}}, plain.schema.OneOf...)},
		read: func(d *decoder, what string, n *yaml.Node) ([]placed[netip.Addr], bool) {
			if n.Kind == yaml.ScalarNode && n.Value == "none" {
				return nil, true
			}
			return plain.read(d, what, n)
		},
	}
}

// octetsPrefix begins a text that stands for octets: hex:0102ff.
const octetsPrefix = "hex:"

// readOctets reads what stands behind hex: pairs of digits, with or without colons between them.
func readOctets(s string) ([]byte, bool) {
	digits, found := strings.CutPrefix(s, octetsPrefix)
	if !found {
		return nil, false
	}
	if strings.Contains(digits, ":") {
		for _, pair := range strings.Split(digits, ":") {
			if len(pair) != 2 {
				return nil, false
			}
		}
		digits = strings.ReplaceAll(digits, ":", "")
	}
	b, err := hex.DecodeString(digits)
	return b, err == nil && len(b) > 0
}

// clientID is a client's identifier (RFC 2132 section 9.14), as octets: hex: and the octets themselves, or a text, before which the type 0
// goes, that of what is no hardware address.
func clientID() value[string] {
	plain := text(maxOptionText)
	return value[string]{
		schema: plain.schema,
		read: func(d *decoder, what string, n *yaml.Node) (string, bool) {
			s, ok := plain.read(d, what, n)
			if !ok {
				return "", false
			}
			if !strings.HasPrefix(s, octetsPrefix) {
				return "\x00" + s, true
			}
			switch b, ok := readOctets(s); {
			case !ok:
				d.fail(n, "%s: %q is not a number of octets such as hex:01020000000009, two digits each", what, shorten(s))
			case len(b) < 2:
				d.fail(n, "%s: an identifier has at least 2 octets, a type and something more (RFC 2132 section 9.14)", what)
			case len(b) > maxOptionText:
				d.fail(n, "%s has %d octets: at most %d are allowed", what, len(b), maxOptionText)
			default:
				return string(b), true
			}
			return "", false
		},
	}
}

// clientIDText is an identifier as the configuration writes it.
func clientIDText(id []byte) string {
	if len(id) == 0 {
		return ""
	}
	if id[0] == 0 && len(id) > 1 && isPlain(string(id[1:])) {
		return string(id[1:])
	}
	return octetsPrefix + hex.EncodeToString(id)
}

// isPlain reports a text that messages can hold as it is.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// ownClientID is the identifier that a client sends: mac, off, or as clientID has it.
func ownClientID() value[rawClientID] {
	plain := clientID()
	return value[rawClientID]{
		schema: &jsonschema.Schema{Type: "string", MinLength: jsonschema.Ptr(1), MaxLength: jsonschema.Ptr(maxOptionText), Default: defaultTo("mac")},
		read: func(d *decoder, what string, n *yaml.Node) (rawClientID, bool) {
			if n.Kind == yaml.ScalarNode {
				switch n.Value {
				case "mac":
					return rawClientID{}, true
				case "off":
					return rawClientID{off: true}, true
				}
			}
			octets, ok := plain.read(d, what, n)
			return rawClientID{octets: octets}, ok
		},
	}
}

// optionCode is the number of an option that a client may ask for.
func optionCode() value[uint8] {
	number := withoutDefault(integer(1, 254, 0))
	return value[uint8]{schema: number.schema, read: func(d *decoder, what string, n *yaml.Node) (uint8, bool) {
		i, ok := number.read(d, what, n)
		return uint8(i), ok
	}}
}
