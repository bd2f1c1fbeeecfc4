package config

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"
)

// Protocols that rules name.
const (
	protoICMP uint8 = 1
	protoTCP  uint8 = 6
	protoUDP  uint8 = 17
)

// How many addresses the pool of a rule has at most, and those of all rules together.
const (
	maxPool  = 65_536
	maxPools = 1 << 20
)

// protocols are those that have a word; the others are numbers of IANA's registry.
func protocols() []namedNumber {
	return []namedNumber{{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"igmp", 2}, {"gre", 47}, {"esp", 50}, {"ah", 51}, {"sctp", 132}}
}

// protocolText is a protocol as the configuration writes it; "" for any.
func protocolText(p uint8) string {
	if p == 0 {
		return ""
	}
	return nameOfNumber(protocols(), int(p))
}

// protocol is a word or a number from 1 to 255.
func protocol() value[uint8] {
	all := protocols()
	number := withoutDefault(integer(1, 255, 0))
	var names []string
	var enum []any
	for _, p := range all {
		names = append(names, p.name)
		enum = append(enum, p.name)
	}
	return value[uint8]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Enum: enum}, number.schema}},
		read: func(d *decoder, what string, n *yaml.Node) (uint8, bool) {
			if !readScalar(d, what, "a protocol such as tcp, udp, icmp or 47", n) {
				return 0, false
			}
			if n.ShortTag() == "!!int" {
				i, ok := number.read(d, what, n)
				return uint8(i), ok
			}
			i := slices.IndexFunc(all, func(p namedNumber) bool { return p.name == n.Value })
			switch {
			case i >= 0:
				return uint8(all[i].number), true
			case n.Value == forwardBoth:
				d.fail(n, "%s: only forwards know tcp_udp: write one rule for tcp and one for udp", what)
			default:
				d.fail(n, "%s wants %s or a number from 1 to 255, not %s", what, strings.Join(names, ", "), kindName(n))
			}
			return 0, false
		},
	}
}

// networkOrHost is a network, or one address, which is a network of 32 bits. negated says that there is
// a key for any but these, which begins with not_.
func networkOrHost(negated bool) value[netip.Prefix] {
	plain := network()
	return value[netip.Prefix]{
		schema: &jsonschema.Schema{Type: "string", Pattern: `^[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?$`},
		read: func(d *decoder, what string, n *yaml.Node) (netip.Prefix, bool) {
			if n.Kind == yaml.ScalarNode {
				if a, err := netip.ParseAddr(n.Value); err == nil && a.Is4() {
					return netip.PrefixFrom(a, 32), true
				}
				if negated && strings.HasPrefix(n.Value, "!") {
					d.fail(n, "%s: for anything but it, write `not_%s: %s`", what, what, shorten(n.Value[1:]))
					return netip.Prefix{}, false
				}
			}
			return plain.read(d, what, n)
		},
	}
}

// readRange splits `a-b`; one value is a range of itself.
func readRange(s string) (first, last string) {
	first, last, found := strings.Cut(s, "-")
	if !found {
		return first, first
	}
	return strings.TrimSpace(first), strings.TrimSpace(last)
}

// decimal reads digits and nothing else.
func decimal(s string) (int, bool) {
	if s == "" || len(s) > 9 || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	i, err := strconv.Atoi(s)
	return i, err == nil
}

// numberRange is a whole number or a range of them, such as 8000-8010.
func numberRange(least, most int, example string) value[[2]int] {
	return value[[2]int]{
		schema: &jsonschema.Schema{OneOf: []*jsonschema.Schema{
			withoutDefault(integer(least, most, 0)).schema,
			{Type: "string", Pattern: `^[0-9]{1,5}( ?- ?[0-9]{1,5})?$`},
		}},
		read: func(d *decoder, what string, n *yaml.Node) ([2]int, bool) {
			if !readScalar(d, what, "a number or a range such as "+example, n) {
				return [2]int{}, false
			}
			a, b := readRange(n.Value)
			first, ok1 := decimal(a)
			last, ok2 := decimal(b)
			tag := n.ShortTag()
			switch {
			case !ok1 || !ok2 || tag != "!!int" && tag != "!!str" || strings.Contains(n.Value, "  "):
				d.fail(n, "%s wants a number from %d to %d or a range such as %s, not %s", what, least, most, example, kindName(n))
			case first > last:
				d.fail(n, "%s: the range %s runs backwards: write %d-%d", what, shorten(n.Value), last, first)
			case first < least || last > most:
				d.fail(n, "%s is %s: give numbers from %d to %d", what, shorten(n.Value), least, most)
			default:
				return [2]int{first, last}, true
			}
			return [2]int{}, false
		},
	}
}

// portRange is a TCP or UDP port or a range of them.
func portRange() value[PortRange] {
	v := numberRange(1, 65_535, "8000-8010")
	return value[PortRange]{schema: v.schema, read: func(d *decoder, what string, n *yaml.Node) (PortRange, bool) {
		r, ok := v.read(d, what, n)
		return PortRange{uint16(r[0]), uint16(r[1])}, ok
	}}
}

func (r PortRange) String() string {
	if r.Min == r.Max {
		return strconv.Itoa(int(r.Min))
	}
	return strconv.Itoa(int(r.Min)) + "-" + strconv.Itoa(int(r.Max))
}

// addressSpan is an address, a range `a-b`, or a prefix, which means all its addresses.
func addressSpan() value[addressRange] {
	return value[addressRange]{
		schema: &jsonschema.Schema{Type: "string", Pattern: `^[0-9.]+( ?- ?[0-9.]+|/[0-9]{1,2})?$`},
		read: func(d *decoder, what string, n *yaml.Node) (addressRange, bool) {
			if !readScalar(d, what, "an address, a range such as 198.51.100.1-198.51.100.4, or a list of them", n) {
				return addressRange{}, false
			}
			if strings.Contains(n.Value, "/") {
				p, ok := network().read(d, what, n)
				return addressRange{p.Addr(), lastOf(p)}, ok
			}
			a, b := readRange(n.Value)
			first, err1 := netip.ParseAddr(a)
			last, err2 := netip.ParseAddr(b)
			switch {
			case err1 != nil || err2 != nil || strings.Contains(n.Value, "  "):
				d.fail(n, "%s: %q is neither an IPv4 address nor a range such as 198.51.100.1-198.51.100.4", what, shorten(n.Value))
			case !first.Is4() || !last.Is4():
				d.fail(n, "%s: %s is an IPv6 address: this version routes IPv4 only", what, shorten(n.Value))
			case last.Less(first):
				d.fail(n, "%s: the range %s runs backwards: write %s-%s", what, shorten(n.Value), last, first)
			default:
				return addressRange{first, last}, true
			}
			return addressRange{}, false
		},
	}
}

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	return addressOf(number(p.Addr()) | uint32(uint64(1)<<(32-p.Bits())-1))
}

// number is an address as a number, and addressOf the other way round.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addressOf(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// size is how many addresses a range has.
func (r addressRange) size() int {
	if !r.first.IsValid() {
		return 0
	}
	return int(int64(number(r.last)) - int64(number(r.first)) + 1)
}

func (r addressRange) overlaps(s addressRange) bool {
	return r.first.IsValid() && s.first.IsValid() && !r.last.Less(s.first) && !s.last.Less(r.first)
}

func (r addressRange) String() string {
	if r.first == r.last {
		return r.first.String()
	}
	return r.first.String() + "-" + r.last.String()
}

// expanded lists the addresses of ranges.
func expanded(all []placed[addressRange]) []netip.Addr {
	var out []netip.Addr
	for _, r := range all {
		for a := r.v.first; a.IsValid(); a = a.Next() {
			out = append(out, a)
			if a == r.v.last {
				break
			}
		}
	}
	return out
}

// hostAndPort is an address, with or without a port: 192.168.1.5:8080.
func hostAndPort() value[netip.AddrPort] {
	plain := address()
	return value[netip.AddrPort]{
		schema: &jsonschema.Schema{Type: "string", Pattern: `^[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]{1,5})?$`},
		read: func(d *decoder, what string, n *yaml.Node) (netip.AddrPort, bool) {
			if n.Kind != yaml.ScalarNode || strings.Count(n.Value, ":") != 1 {
				a, ok := plain.read(d, what, n)
				return netip.AddrPortFrom(a, 0), ok
			}
			before, after, _ := strings.Cut(n.Value, ":")
			a, err := netip.ParseAddr(before)
			port, ok := decimal(after)
			switch {
			case err != nil || !a.Is4():
				d.fail(n, "%s: %q is not an IPv4 address with a port such as 192.168.1.5:8080", what, shorten(n.Value))
			case strings.Contains(after, "-"):
				d.fail(n, "%s: give the first port only: the others of the range follow it", what)
			case !ok || port < 1 || port > 65_535:
				d.fail(n, "%s: %q is not a port: give a number from 1 to 65535, such as %s:8080", what, shorten(after), a)
			default:
				return netip.AddrPortFrom(a, uint16(port)), true
			}
			return netip.AddrPort{}, false
		},
	}
}

// powerOfTwo is a whole number within a range that is a power of two.
func powerOfTwo(least, most, standard int) value[int] {
	v := integer(least, most, standard)
	var powers []string
	v.schema.Type, v.schema.Minimum, v.schema.Maximum = "", nil, nil
	for p := least; p <= most; p *= 2 {
		v.schema.Enum = append(v.schema.Enum, p)
		powers = append(powers, strconv.Itoa(p))
	}
	plain := v.read
	v.read = func(d *decoder, what string, n *yaml.Node) (int, bool) {
		i, ok := plain(d, what, n)
		if ok && !slices.Contains(powers, strconv.Itoa(i)) {
			d.fail(n, "%s is %d: give a power of two, %s", what, i, wordList(powers))
			return 0, false
		}
		return i, ok
	}
	return v
}
