package dhcp

import (
	"encoding/binary"
	"net/netip"

	"vrouterd/internal/packet"
)

// Route is a classless static route (RFC 3442).
type Route struct {
	To      netip.Prefix // masked, IPv4
	Gateway packet.Addr  // 0: To is on the link
}

// AppendRoutes writes routes as option 121 holds them: of each destination only the octets that its length needs.
func AppendRoutes(b []byte, routes ...Route) []byte {
	for _, r := range routes {
		to := r.To.Masked().Addr().As4()
		b = append(b, byte(r.To.Bits()))
		b = append(b, to[:(r.To.Bits()+7)/8]...)
		b = binary.BigEndian.AppendUint32(b, uint32(r.Gateway))
	}
	return b
}

// DecodeRoutes reads option 121. It reports false for lengths above 32 and for what ends in the middle of a route; bits behind
// a prefix's length do not count (RFC 3442).
func DecodeRoutes(v []byte) (routes []Route, ok bool) {
	for len(v) > 0 {
		bits := int(v[0])
		octets := (bits + 7) / 8
		if bits > 32 || len(v) < 1+octets+4 {
			return nil, false
		}
		var to [4]byte
		copy(to[:], v[1:1+octets])
		routes = append(routes, Route{
			To:      netip.PrefixFrom(netip.AddrFrom4(to), bits).Masked(),
			Gateway: addrAt(v, 1+octets),
		})
		v = v[1+octets+4:]
	}
	return routes, true
}

// DecodeAddrs reads an option that holds addresses, at least one (3, 6, 42, 150 and others).
func DecodeAddrs(v []byte) (addresses []packet.Addr, ok bool) {
	if len(v) == 0 || len(v)%4 != 0 {
		return nil, false
	}
	for ; len(v) > 0; v = v[4:] {
		addresses = append(addresses, addrAt(v, 0))
	}
	return addresses, true
}

// SubOptions are those of the relay agent's information (RFC 3046 section 2.0) and of vendor-specific information by code.
type SubOptions map[uint8][]byte

// DecodeSubOptions reads a list of code, length and value. There is neither padding nor an end in it. What lies about its length, or comes
// twice, makes it false. The values are parts of v.
func DecodeSubOptions(v []byte) (SubOptions, bool) {
	subs := SubOptions{}
	for len(v) > 0 {
		if len(v) < 2 || len(v) < 2+int(v[1]) {
			return nil, false
		}
		if _, twice := subs[v[0]]; twice {
			return nil, false
		}
		subs[v[0]] = v[2 : 2+int(v[1])]
		v = v[2+int(v[1]):]
	}
	return subs, true
}

// Append writes sub-options in the order of their codes; values longer than 255 octets, which cannot be split here, are cut.
func (s SubOptions) Append(b []byte) []byte {
	for code := range 256 {
		if v, has := s[uint8(code)]; has {
			v = v[:min(len(v), 255)]
			b = append(append(b, byte(code), byte(len(v))), v...)
		}
	}
	return b
}

// Addr is a sub-option that holds one address; 0 when it is absent or of another length.
func (s SubOptions) Addr(code uint8) packet.Addr {
	if v := s[code]; len(v) == 4 {
		return addrAt(v, 0)
	}
	return 0
}
