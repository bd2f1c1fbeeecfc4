package dns

import (
	"net/netip"

	"github.com/miekg/dns"
)

// never are addresses that a name of the world has only to lead a browser into the network of its user.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/127"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

var (
	compatible = netip.MustParsePrefix("::/96")        // RFC 4291 section 2.5.5.1
	translated = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
)

// privateAddr reports an address that is not of the world, in whatever clothes.
func privateAddr(a netip.Addr) bool {
	a = a.Unmap()
	if translated.Contains(a) || compatible.Contains(a) {
		b := a.As16()
		if v4 := netip.AddrFrom4([4]byte(b[12:])); privateAddr(v4) {
			return true
		}
	}
	for _, p := range never {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// isPrivate reports a record that holds such an address. Its form has been looked at.
func isPrivate(msg []byte, r record) bool {
	if r.class != classIN {
		return false
	}
	switch r.rtype {
	case typeA, typeAAAA:
		a, _ := netip.AddrFromSlice(msg[r.data:r.end])
		return privateAddr(a)
	case typeSVCB, typeHTTPS:
		return privateHint(msg, r)
	}
	return false
}

// privateHint reports hints of a service's addresses (RFC 9460 section 7.3). One that cannot be read holds none.
func privateHint(msg []byte, r record) bool {
	rr, _, err := dns.UnpackRR(msg[:r.end], r.at)
	if err != nil {
		return false
	}
	var values []dns.SVCBKeyValue
	switch rr := rr.(type) {
	case *dns.SVCB:
		values = rr.Value
	case *dns.HTTPS:
		values = rr.Value
	}
	for _, v := range values {
		switch v := v.(type) {
		case *dns.SVCBIPv4Hint:
			for _, ip := range v.Hint {
				if a, ok := netip.AddrFromSlice(ip); ok && privateAddr(a) {
					return true
				}
			}
		case *dns.SVCBIPv6Hint:
			for _, ip := range v.Hint {
				if a, ok := netip.AddrFromSlice(ip); ok && privateAddr(a) {
					return true
				}
			}
		}
	}
	return false
}

// mayBePrivate reports a question whose answer may hold private addresses: one to servers that are configured for its domain, or about a name that is allowed to.
func (m *Machine) mayBePrivate(f *flight) bool {
	if len(f.group.domain) > 1 {
		return true
	}
	for at := f.name; len(at) > 1; at = parent(at) {
		if m.allowed[string(at)] {
			return true
		}
	}
	return false
}
