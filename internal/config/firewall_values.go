package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// namedNumber is a number of a header with a name.
type namedNumber struct {
	name   string
	number int
}

// icmpTypes are the types of ICMP that have a word (IANA, "ICMP Type Numbers").
func icmpTypes() []namedNumber {
	return []namedNumber{
		{"echo_reply", 0}, {"destination_unreachable", 3}, {"source_quench", 4}, {"redirect", 5}, {"echo_request", 8},
		{"router_advertisement", 9}, {"router_solicitation", 10}, {"time_exceeded", 11}, {"parameter_problem", 12},
		{"timestamp_request", 13}, {"timestamp_reply", 14}, {"address_mask_request", 17}, {"address_mask_reply", 18},
	}
}

// codePoints are the code points of DSCP that have a word (RFC 2474, 2597, 3246, 8622).
func codePoints() []namedNumber {
	all := []namedNumber{{"ef", 46}, {"le", 1}}
	for class := range 8 {
		all = append(all, namedNumber{fmt.Sprintf("cs%d", class), 8 * class})
	}
	for class := 1; class <= 4; class++ {
		for drop := 1; drop <= 3; drop++ {
			all = append(all, namedNumber{fmt.Sprintf("af%d%d", class, drop), 8*class + 2*drop})
		}
	}
	return all
}

// nameOfNumber is the word of a number, or the number.
func nameOfNumber(all []namedNumber, number int) string {
	for _, w := range all {
		if w.number == number {
			return w.name
		}
	}
	return strconv.Itoa(number)
}

// wordOrNumber is a word out of a list or the number itself, from 0 to most.
func wordOrNumber(all []namedNumber, most int) value[int] {
	number := withoutDefault(integer(0, most, 0))
	var names []string
	var enum []any
	for _, w := range all {
		names = append(names, w.name)
		enum = append(enum, w.name)
	}
	return value[int]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Enum: enum}, number.schema}},
		read: func(d *decoder, what string, n *yaml.Node) (int, bool) {
			if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" {
				return number.read(d, what, n)
			}
			i := slices.IndexFunc(all, func(w namedNumber) bool { return w.name == n.Value })
			if i < 0 {
				d.fail(n, "%s: there is no %q; %s, or give a number from 0 to %d", what, shorten(n.Value),
					strings.TrimSuffix(suggest(strings.ReplaceAll(n.Value, "-", "_"), "the words are", names), "?"), most)
				return 0, false
			}
			return all[i].number, true
		},
	}
}

// flagNames are the flags of TCP, beginning with the lowest bit (RFC 9293 section 3.1).
func flagNames() []string { return []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"} }

// flags is a list of words with commas: those that have to be set, and with a ! before them those that
// must not be.
func flags() value[tcpFlags] {
	names := flagNames()
	one := "!?(" + strings.Join(names, "|") + ")"
	return value[tcpFlags]{
		schema: &jsonschema.Schema{Type: "string", Pattern: "^" + one + "(, ?" + one + ")*$"},
		read: func(d *decoder, what string, n *yaml.Node) (tcpFlags, bool) {
			if !readScalar(d, what, "flags such as syn,!ack", n) {
				return tcpFlags{}, false
			}
			var f tcpFlags
			for i, word := range strings.Split(n.Value, ",") {
				if i > 0 {
					word = strings.TrimPrefix(word, " ")
				}
				name, not := strings.CutPrefix(word, "!")
				bit := slices.Index(names, name)
				if bit < 0 {
					d.fail(n, "%s: there is no flag %q; write those that have to be set, with ! before those that must not be, such as syn,!ack: the flags are %s",
						what, shorten(name), strings.Join(names, ", "))
					return tcpFlags{}, false
				}
				if f.mask&(1<<bit) != 0 {
					d.fail(n, "%s: %s stands twice: remove one", what, name)
					return tcpFlags{}, false
				}
				f.mask |= 1 << bit
				if !not {
					f.flags |= 1 << bit
				}
			}
			return f, true
		},
	}
}

// flagsText is what flags reads.
func flagsText(flags, mask uint8) string {
	var words []string
	for bit, name := range flagNames() {
		if mask&(1<<bit) != 0 {
			words = append(words, word(flags&(1<<bit) != 0, "", "!")+name)
		}
	}
	return strings.Join(words, ",")
}

// states of a packet with regard to sessions.
func states() value[[]placed[string]] {
	names := []string{"new", "invalid", "forwarded", "mapped", "related"}
	plain := withoutDefault(oneOf(names...))
	one := plain
	one.read = func(d *decoder, what string, n *yaml.Node) (string, bool) {
		if n.Kind == yaml.ScalarNode && n.Value == "established" {
			d.fail(n, "%s: a session is judged once, when it opens, and what belongs to it passes without a rule: remove this one", what)
			return "", false
		}
		return plain.read(d, what, n)
	}
	return several(one, len(names))
}

// lengths is an IP packet's length in octets, or a range.
func lengths() value[lengthRange] {
	v := numberRange(20, 65_535, "64-128")
	return value[lengthRange]{schema: v.schema, read: func(d *decoder, what string, n *yaml.Node) (lengthRange, bool) {
		r, ok := v.read(d, what, n)
		return lengthRange{r[0], r[1]}, ok
	}}
}

// maxRate bounds the packets of a rate and its burst.
const maxRate = 10_000_000

// ratePattern is how a rate is written; the decoder reads with it and the schema shows it.
const ratePattern = `^(over )?([0-9]{1,8})/(s|m|h)( burst [0-9]{1,8})?( per source)?$`

// rate is `10/s`, `5/m burst 20`, `over 100/s per source`.
func rate() value[RuleRate] {
	shape := regexp.MustCompile(ratePattern)
	return value[RuleRate]{
		schema: &jsonschema.Schema{Type: "string", Pattern: ratePattern},
		read: func(d *decoder, what string, n *yaml.Node) (RuleRate, bool) {
			if !readScalar(d, what, "a rate such as 10/s, 5/m burst 20 or over 100/s per source", n) {
				return RuleRate{}, false
			}
			m := shape.FindStringSubmatch(n.Value)
			if m == nil {
				d.fail(n, "%s wants a rate such as 10/s, 5/m burst 20 or over 100/s per source, not %s", what, kindName(n))
				return RuleRate{}, false
			}
			packets, ok1 := decimal(m[2])
			burst, ok2 := packets, true
			if m[4] != "" {
				burst, ok2 = decimal(strings.TrimPrefix(m[4], " burst "))
			}
			if !ok1 || !ok2 || packets < 1 || burst < 1 || packets > maxRate || burst > maxRate {
				d.fail(n, "%s is %s: give numbers from 1 to %d", what, n.Value, maxRate)
				return RuleRate{}, false
			}
			per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[m[3]]
			return RuleRate{Packets: packets, Per: per, Burst: burst, Over: m[1] != "", PerSource: m[5] != ""}, true
		},
	}
}

// String is what rate reads.
func (r RuleRate) String() string {
	unit := durationText(r.Per)
	switch r.Per {
	case time.Second:
		unit = "s"
	case time.Minute:
		unit = "m"
	case time.Hour:
		unit = "h"
	}
	s := word(r.Over, "over ", "") + strconv.Itoa(r.Packets) + "/" + unit
	if r.Burst != r.Packets {
		s += " burst " + strconv.Itoa(r.Burst)
	}
	return s + word(r.PerSource, " per source", "")
}
