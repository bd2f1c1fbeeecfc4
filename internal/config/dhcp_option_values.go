package config

import (
	"math"
	"net/netip"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// optionReader turns the value of one option into octets.
type optionReader struct {
	*decoder
	def optionDef
}

func (o *optionReader) title() string { return "option " + optionText(o.def.code) }

// octets reads a value by the kind of the option; hex: does for every kind.
func (o *optionReader) octets(n *yaml.Node) ([]byte, bool) {
	if isNull(n) {
		o.fail(n, "%s: the value is missing; write one or remove the line", o.title())
		return nil, false
	}
	if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, octetsPrefix) {
		b, ok := readOctets(n.Value)
		if !ok {
			o.fail(n, "%s: %q is not a number of octets such as hex:0102ff, two digits each", o.title(), shorten(n.Value))
		}
		return b, ok
	}
	switch o.def.kind {
	case kindAddress:
		return o.addresses(n, 1, 1)
	case kindAddresses:
		return o.addresses(n, 1, maxOptionAddrs)
	case kindPairs:
		return o.addresses(n, 2, maxOptionAddrs)
	case kindText:
		return o.text(n)
	case kindBool:
		return o.boolean(n)
	case kindUint8, kindUint16, kindUint32, kindInt32, kindUint8s, kindUint16s:
		return o.numbers(n)
	case kindDomains:
		return o.domains(n)
	case kindRoutes:
		return o.routes(n)
	case kindVendor:
		return o.vendor(n)
	}
	return o.guess(n)
}

// addresses reads an address or a list of them, whose number is a multiple of least.
func (o *optionReader) addresses(n *yaml.Node, least, most int) ([]byte, bool) {
	if most == 1 {
		a, ok := address().read(o.decoder, o.title(), n)
		return addressOctets(a), ok
	}
	all, ok := several(address(), most).read(o.decoder, o.title(), n)
	if ok && len(all)%least != 0 {
		o.fail(n, "%s wants pairs of addresses, one behind the other, and these are %d", o.title(), len(all))
		return nil, false
	}
	var b []byte
	for _, a := range all {
		b = append(b, addressOctets(a.v)...)
	}
	return b, ok
}

func addressOctets(a netip.Addr) []byte {
	if !a.IsValid() {
		return nil
	}
	b := a.As4()
	return b[:]
}

// text reads a text; a number is one too, since its kind leaves no doubt.
func (o *optionReader) text(n *yaml.Node) ([]byte, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		o.fail(n, "%s wants a text, not %s", o.title(), kindName(n))
	case n.Value == "":
		o.fail(n, "%s is empty; write a value or remove the line", o.title())
	case len(n.Value) > maxOptionText:
		o.fail(n, "%s has %d octets: at most %d are allowed", o.title(), len(n.Value), maxOptionText)
	default:
		return []byte(n.Value), true
	}
	return nil, false
}

func (o *optionReader) boolean(n *yaml.Node) ([]byte, bool) {
	yes, ok := boolean(false).read(o.decoder, o.title(), n)
	if yes {
		return []byte{1}, ok
	}
	return []byte{0}, ok
}

// numbers reads a whole number of the width of the kind, or a list of them where the kind has one.
func (o *optionReader) numbers(n *yaml.Node) ([]byte, bool) {
	width, least, most, list := 4, 0, math.MaxUint32, false
	switch o.def.kind {
	case kindUint8, kindUint8s:
		width, most, list = 1, math.MaxUint8, o.def.kind == kindUint8s
	case kindUint16, kindUint16s:
		width, most, list = 2, math.MaxUint16, o.def.kind == kindUint16s
	case kindInt32:
		least, most = math.MinInt32, math.MaxInt32
	}
	one := integer(least, most, 0)
	if !list {
		i, ok := one.read(o.decoder, o.title(), n)
		return appendNumber(nil, i, width), ok
	}
	all, ok := several(one, maxOptionText/width).read(o.decoder, o.title(), n)
	var b []byte
	for _, i := range all {
		b = appendNumber(b, i.v, width)
	}
	return b, ok
}

// appendNumber writes a number in so many octets, the highest first.
func appendNumber(b []byte, i, width int) []byte {
	for shift := 8 * (width - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(i>>shift))
	}
	return b
}

// domains reads names and writes them as RFC 1035 has them, without compression, which RFC 3397 allows to leave out.
func (o *optionReader) domains(n *yaml.Node) ([]byte, bool) {
	all, ok := several(domainName(), maxSearch).read(o.decoder, o.title(), n)
	var b []byte
	for _, name := range all {
		for label := range strings.SplitSeq(name.v, ".") {
			b = append(append(b, byte(len(label))), label...)
		}
		b = append(b, 0)
	}
	return b, ok
}

// routes reads {to, via} or a text such as "10.0.0.0/8 via 10.1.0.1", or a list of them (RFC 3442). A next hop of 0.0.0.0 is on link.
func (o *optionReader) routes(n *yaml.Node) ([]byte, bool) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	if len(items) == 0 || len(items) > maxOptionAddrs {
		o.fail(n, "%s wants 1 to %d routes such as {to: 10.0.0.0/8, via: 10.1.0.1}, not %d", o.title(), maxOptionAddrs, len(items))
		return nil, false
	}
	type route struct {
		to  placed[netip.Prefix]
		via placed[netip.Addr]
	}
	keys := []key[route]{
		must(field("to", "", destination(), func(r *route) *placed[netip.Prefix] { return &r.to })),
		must(field("via", "", address(), func(r *route) *placed[netip.Addr] { return &r.via })),
	}
	before := len(o.errors)
	var b []byte
	for _, item := range items {
		var r route
		to, via, found := strings.Cut(item.Value, " via ")
		switch {
		case item.Kind == yaml.MappingNode:
			readMapping(o.decoder, "a route of "+o.title(), item, keys, &r)
		case item.Kind != yaml.ScalarNode || !found:
			o.fail(item, "%s wants a route such as {to: 10.0.0.0/8, via: 10.1.0.1} or the text \"10.0.0.0/8 via 10.1.0.1\", not %s", o.title(), kindName(item))
			continue
		default:
			at := *item
			at.Value = strings.TrimSpace(to)
			r.to.v, _ = destination().read(o.decoder, o.title(), &at)
			at.Value = strings.TrimSpace(via)
			r.via.v, _ = address().read(o.decoder, o.title(), &at)
		}
		if len(o.errors) == before {
			octets := addressOctets(r.to.v.Addr())
			b = append(append(b, byte(r.to.v.Bits())), octets[:(r.to.v.Bits()+7)/8]...)
			b = append(b, addressOctets(r.via.v)...)
		}
	}
	return b, len(o.errors) == before
}

// vendor reads a mapping of sub-options, which are guessed, or a text.
func (o *optionReader) vendor(n *yaml.Node) ([]byte, bool) {
	if n.Kind != yaml.MappingNode {
		return o.guess(n)
	}
	before := len(o.errors)
	var b []byte
	seen := make(map[int]bool)
	for i := 0; i < len(n.Content); i += 2 {
		name, content := n.Content[i], n.Content[i+1]
		code, isNumber := decimal(name.Value)
		switch {
		case name.Kind != yaml.ScalarNode || !isNumber || code < 1 || code > 254:
			o.fail(name, "%s: a sub-option has a number from 1 to 254", o.title())
			continue
		case seen[code]:
			o.fail(name, "%s: the sub-option %d stands twice: keep one of them", o.title(), code)
			continue
		}
		seen[code] = true
		octets, ok := (&optionReader{o.decoder, o.def}).sub(content)
		if ok && len(octets) > 255 {
			o.fail(content, "%s: the sub-option %d has %d octets: at most 255 are allowed", o.title(), code, len(octets))
		}
		b = append(append(b, byte(code), byte(len(octets))), octets...)
	}
	if len(n.Content) == 0 {
		o.fail(n, "%s is empty; write sub-options or remove the line", o.title())
	}
	return b, len(o.errors) == before
}

// sub reads the value of a sub-option.
func (o *optionReader) sub(n *yaml.Node) ([]byte, bool) {
	if n.Kind == yaml.MappingNode {
		o.fail(n, "%s: the value of a sub-option is an address, a number, a text or hex:0102ff, not a mapping", o.title())
		return nil, false
	}
	guessed := optionReader{o.decoder, optionDef{code: o.def.code}}
	return guessed.octets(n)
}

// guess reads the value of an option whose kind is not known by its look: addresses, a number in 1, 2 or 4 octets as it needs, true or
// false as one octet, pairs of digits with colons between them as octets, and any other text as it is.
func (o *optionReader) guess(n *yaml.Node) ([]byte, bool) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	var b []byte
	width, kinds := 0, make(map[string]bool)
	var numbers []int
	for _, item := range items {
		a, err := netip.ParseAddr(item.Value)
		switch {
		case item.Kind != yaml.ScalarNode || isNull(item):
			kinds["other"] = true
		case item.ShortTag() == "!!int":
			i, err := strconv.ParseInt(item.Value, 10, 64)
			if err != nil || i < math.MinInt32 || i > math.MaxUint32 {
				o.fail(item, "%s: %s does not fit in 32 bits: write the octets, hex:0102ff", o.title(), shorten(item.Value))
				return nil, false
			}
			numbers, width = append(numbers, int(i)), max(width, widthOf(i))
			kinds["number"] = true
		case item.ShortTag() == "!!bool":
			b = append(b, map[bool]byte{true: 1}[strings.EqualFold(item.Value, "true")])
			kinds["bool"] = true
		case err == nil && a.Is4():
			b = append(b, addressOctets(a)...)
			kinds["address"] = true
		case len(items) == 1 && strings.Contains(item.Value, ":") && isOctets(item.Value):
			return readOctets(octetsPrefix + item.Value)
		default:
			b = append(b, item.Value...)
			kinds["text"] = true
		}
	}
	for _, i := range numbers {
		b = appendNumber(b, i, width)
	}
	switch {
	case len(kinds) != 1 || kinds["other"] || kinds["text"] && len(items) > 1:
		o.fail(n, "%s wants an address, a number, a text, a list of addresses or of numbers, or octets such as hex:0102ff", o.title())
		return nil, false
	case len(b) == 0:
		o.fail(n, "%s is empty; write a value or remove the line", o.title())
		return nil, false
	}
	return b, true
}

// isOctets reports pairs of digits with colons between them.
func isOctets(s string) bool {
	_, ok := readOctets(octetsPrefix + s)
	return ok
}

// widthOf is how many octets a number needs: 1, 2 or 4.
func widthOf(i int64) int {
	switch {
	case i >= 0 && i <= math.MaxUint8:
		return 1
	case i >= 0 && i <= math.MaxUint16:
		return 2
	}
	return 4
}
