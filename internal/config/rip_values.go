package config

import (
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// instant is a moment in time (RFC 3339), with or without quotes.
func instant() value[time.Time] {
	return value[time.Time]{
		schema: &jsonschema.Schema{Type: "string", Format: "date-time"},
		read: func(d *decoder, what string, n *yaml.Node) (time.Time, bool) {
			if !readScalar(d, what, "a time such as 2026-07-01T00:00:00Z", n) {
				return time.Time{}, false
			}
			t, err := time.Parse(time.RFC3339, n.Value)
			day, notMoment := time.Parse(time.DateOnly, n.Value)
			switch {
			case notMoment == nil:
				d.fail(n, "%s: say at what time of the day, and in which zone: write %s", what, day.Format(time.RFC3339))
			case err != nil:
				d.fail(n, "%s wants a time such as 2026-07-01T00:00:00Z or 2026-07-01T02:00:00+02:00, not %s", what, kindName(n))
			case t.Year() < 1 || t.IsZero():
				d.fail(n, "%s: %s is before all use: leave the key out for no limit", what, shorten(n.Value))
			default:
				return t.UTC(), true
			}
			return time.Time{}, false
		},
	}
}

// secret is a text that no message repeats.
func secret() value[Secret] {
	return value[Secret]{
		schema: &jsonschema.Schema{Type: "string", MinLength: jsonschema.Ptr(1), MaxLength: jsonschema.Ptr(maxSecretHMAC)},
		read: func(d *decoder, what string, n *yaml.Node) (Secret, bool) {
			switch {
			case n.Kind != yaml.ScalarNode:
				d.fail(n, "%s wants text in quotes, not %s", what, kindName(n))
			case n.ShortTag() != "!!str":
				d.fail(n, "%s wants text: write it in quotes, so that it stays as it is", what)
			case strings.TrimSpace(n.Value) == "":
				d.fail(n, "%s is empty: write the text that the neighbours share", what)
			case strings.ContainsRune(n.Value, 0):
				d.fail(n, "%s: a NUL octet cannot stand in it, for shorter secrets are padded with them", what)
			case len(n.Value) > maxSecretHMAC:
				d.fail(n, "%s has %d octets: at most %d are allowed", what, len(n.Value), maxSecretHMAC)
			default:
				return Secret(n.Value), true
			}
			return "", false
		},
	}
}

// notMapping refuses what should be a mapping and is not, in words that do not repeat it:
// it may be a secret.
func notMapping(d *decoder, what, such string, n *yaml.Node) bool {
	if n.Kind == yaml.MappingNode {
		return false
	}
	kind := "a plain value"
	if n.Kind == yaml.SequenceNode {
		kind = "a list"
	}
	d.fail(n, "%s is a mapping such as %s, not %s", what, such, kind)
	return true
}
