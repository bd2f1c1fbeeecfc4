package dns

import (
	"encoding/binary"
	"slices"
)

// The header's fields and their bits (RFC 1035 section 4.1.1, RFC 4035 section 3.2 for AD and CD).
const (
	headerLen    = 12
	atID         = 0
	atFlags      = 2
	atQuestions  = 4
	atAnswers    = 6
	atAuthority  = 8
	atAdditional = 10

	flagResponse   = 0x8000
	maskOpcode     = 0x7800
	flagAuthority  = 0x0400
	flagTruncated  = 0x0200
	flagRecursion  = 0x0100 // desired
	flagAvailable  = 0x0080
	flagAuthentic  = 0x0020
	flagNoChecking = 0x0010
	maskCode       = 0x000f
)

// Types and classes that the forwarder knows by number.
const (
	typeA      = 1
	typeNS     = 2
	typeCNAME  = 5
	typeSOA    = 6
	typePTR    = 12
	typeAAAA   = 28
	typeOPT    = 41
	typeDS     = 43
	typeDNSKEY = 48
	typeSVCB   = 64
	typeHTTPS  = 65
	typeTSIG   = 250
	typeIXFR   = 251
	typeAXFR   = 252
	typeAny    = 255

	classIN = 1
)

// Response codes (RFC 1035 section 4.1.1, RFC 6891 section 9).
const (
	codeSuccess        = 0
	codeFormat         = 1
	codeFailure        = 2
	codeNoName         = 3
	codeNotImplemented = 4
	codeRefused        = 5
	codeVersion        = 16 // BADVERS: its upper bits are in OPT
)

const (
	maxName       = 255   // octets (RFC 1035 section 2.3.4)
	maxPointers   = 127   // in one name: more than a name has labels lead in a circle
	maxMessage    = 65535 // what the length of TCP can say
	plainSize     = 512   // octets of a UDP message without EDNS (RFC 1035 section 2.3.4)
	ourSize       = 1232  // octets of UDP that we take and send with EDNS: they fit any link unfragmented
	optLen        = 11    // OPT without options: root, type, class, TTL, length
	optDO         = 0x8000
	pointer       = 0xc0
	maxPointerTo  = 0x3fff
	recordTail    = 10 // type, class, TTL, length
	optionHeader  = 4
	questionTail  = 4 // type, class
	maxAdditional = 16
)

func get16(b []byte, at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }

func put16(b []byte, at int, v uint16) { binary.BigEndian.PutUint16(b[at:], v) }

func get32(b []byte, at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }

func put32(b []byte, at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }

// skipName is the place behind the name at a place of a message, and whether the name is sound: labels of at most 63
// octets, at most 255 in all, pointers only to what stands whole before (RFC 1035 section 4.1.4), and not to where one of the given
// TTLs is: those will change.
func skipName(msg []byte, at int, ttls []uint16) (next int, ok bool) {
	length, pointers, from := 0, 0, at
	for {
		if at >= len(msg) {
			return 0, false
		}
		c, end := int(msg[at]), at+1
		switch {
		case c == 0:
		case c < 64:
			at += 1 + c
			if length += 1 + c; length >= maxName {
				return 0, false
			}
			continue
		case c >= pointer:
			if end++; end > len(msg) {
				return 0, false
			}
		default:
			return 0, false
		}
		if next == 0 {
			next = end
		} else if overlaps(from, end, ttls) {
			return 0, false
		}
		if c == 0 {
			return next, true
		}
		to := (c&^pointer)<<8 | int(msg[at+1])
		if pointers++; pointers > maxPointers || to >= from || to < headerLen || runEnd(msg, to) > from {
			return 0, false
		}
		at, from = to, to
	}
}

// runEnd is the place behind the labels at a place, and behind the zero or the pointer that ends them. It looks no further than a name can reach.
func runEnd(msg []byte, at int) int {
	for last := at + maxName; at < len(msg) && at < last; {
		switch c := int(msg[at]); {
		case c == 0:
			return at + 1
		case c >= 64:
			return at + 2
		default:
			at += 1 + c
		}
	}
	return at + 1
}

// overlaps reports whether one of the TTLs, in their order, has an octet between two places.
func overlaps(from, end int, ttls []uint16) bool {
	i, _ := slices.BinarySearchFunc(ttls, from, func(ttl uint16, from int) int { return int(ttl) + 4 - from - 1 })
	return i < len(ttls) && int(ttls[i]) < end
}

// record is where a resource record's parts are in its message.
type record struct {
	at        int // its owner's name
	rtype     uint16
	class     uint16
	ttlAt     int
	data, end int // RDATA, and what is behind
}

// readRecord reads the record at a place, and whether its name and lengths are sound.
func readRecord(msg []byte, at int, ttls []uint16) (r record, ok bool) {
	next, ok := skipName(msg, at, ttls)
	if !ok || next+recordTail > len(msg) {
		return r, false
	}
	r = record{at: at, rtype: get16(msg, next), class: get16(msg, next+2), ttlAt: next + 4, data: next + recordTail}
	r.end = r.data + int(get16(msg, next+8))
	return r, r.end <= len(msg)
}

// layout is the form of RDATA that holds names: octets before, names, octets behind.
type layout struct{ before, names, behind int }

// layouts are the types whose names may be compressed (RFC 1035 section 3.3, RFC 3597 section 4): a reader follows their pointers, so
// they are looked at before a message is passed on. All other RDATA is opaque here.
var layouts = map[uint16]layout{
	typeNS: {0, 1, 0}, 3: {0, 1, 0}, 4: {0, 1, 0}, typeCNAME: {0, 1, 0}, typeSOA: {0, 2, 20}, 7: {0, 1, 0}, 8: {0, 1, 0}, 9: {0, 1, 0},
	typePTR: {0, 1, 0}, 14: {0, 2, 0}, 15: {2, 1, 0}, 17: {0, 2, 0}, 18: {2, 1, 0}, 21: {2, 1, 0}, 26: {2, 2, 0}, 33: {6, 1, 0},
	36: {2, 1, 0}, 39: {0, 1, 0},
}

// soundData reports whether RDATA of a type that the forwarder knows has the form of that type.
func soundData(msg []byte, r record, ttls []uint16) bool {
	if r.class != classIN {
		return true
	}
	switch r.rtype {
	case typeA:
		return r.end-r.data == 4
	case typeAAAA:
		return r.end-r.data == 16
	}
	l, known := layouts[r.rtype]
	if !known {
		return true
	}
	at, ok := r.data+l.before, true
	for range l.names {
		if at >= r.end {
			return false
		}
		if at, ok = skipName(msg[:r.end], at, ttls); !ok {
			return false
		}
	}
	return at+l.behind == r.end
}

// appendName appends the name at a place of a message, whole and in lower case. The name has been looked at with skipName.
func appendName(b, msg []byte, at int) []byte {
	for {
		c := int(msg[at])
		switch {
		case c == 0:
			return append(b, 0)
		case c >= pointer:
			at = (c&^pointer)<<8 | int(msg[at+1])
		default:
			b = append(b, byte(c))
			for _, l := range msg[at+1 : at+1+c] {
				b = append(b, lower(l))
			}
			at += 1 + c
		}
	}
}

// lower is an octet of a name without its case (RFC 4343).
func lower(c byte) byte {
	if c-'A' < 26 {
		return c | 0x20
	}
	return c
}

// sameName compares two uncompressed names in any case.
func sameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// parent is an uncompressed name without its first label; nil for the root.
func parent(name []byte) []byte {
	if len(name) == 0 || name[0] == 0 {
		return nil
	}
	return name[1+int(name[0]):]
}

// labels counts an uncompressed name's labels; the root has none.
func labels(name []byte) (n int) {
	for ; len(name) > 1; name = parent(name) {
		n++
	}
	return n
}

// appendOPT appends our OPT record (RFC 6891 section 6.1.2), with the upper bits of a response code.
func appendOPT(b []byte, code int, do bool) []byte {
	flags := byte(0)
	if do {
		flags = optDO >> 8
	}
	return append(b, 0, 0, typeOPT, ourSize>>8, ourSize&0xff, byte(code>>4), 0, flags, 0, 0, 0)
}
