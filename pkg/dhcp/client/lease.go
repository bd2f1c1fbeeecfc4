package client

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"time"

	"vrouterd/internal/packet"
	"vrouterd/pkg/dhcp"
)

// infinite is the lease time that never ends, in seconds (RFC 2131 section 3.3).
const infinite = 0xffffffff

// What is kept of lists, however long they are.
const (
	maxAddresses = 16
	maxRoutes    = 256
	maxSearch    = 32
	leastMTU     = 576 // RFC 791: what every host takes; less is a mistake that would cut the uplink into pieces
)

// leaseOf is what an OFFER or ACK gives, counted from the moment when the message was sent that it answers. An option that is only of service, such as a name
// server, and makes no sense is left out; without address, mask and time there is no lease.
func (m *Machine) leaseOf(a *dhcp.Message, server packet.Addr) (*Lease, Reason) {
	mask := a.Options[dhcp.OptionSubnetMask]
	if mask == nil {
		return nil, IgnoredNoMask
	}
	if len(mask) != 4 {
		return nil, IgnoredMask
	}
	n := binary.BigEndian.Uint32(mask)
	length := bits.LeadingZeros32(^n)
	if length == 0 || n != uint32(packet.Mask(length)) {
		return nil, IgnoredMask
	}
	if !hostIn(a.YIAddr, length) || a.YIAddr == server {
		return nil, IgnoredAddress
	}
	l := &Lease{
		Addr: netip.PrefixFrom(a.YIAddr.Netip(), length), Server: server,
		Gateways: hosts(a.Options[dhcp.OptionRouter], a.YIAddr),
		DNS:      hosts(a.Options[dhcp.OptionDNS], 0),
		NTP:      hosts(a.Options[dhcp.OptionNTP], 0),
		Domain:   domain(a.Options[dhcp.OptionDomain]),
		Search:   search(a.Options[dhcp.OptionSearch]),
		Routes:   classlessRoutes(a.Options[dhcp.OptionClasslessRoutes]),
		Options:  map[uint8][]byte(a.Options),
		Acquired: m.sent,
	}
	if v := a.Options[dhcp.OptionMTU]; len(v) == 2 {
		if mtu := int(binary.BigEndian.Uint16(v)); mtu >= leastMTU {
			l.MTU = mtu
		}
	}
	return l, m.times(l, a)
}

// times sets T1, T2 and the end of a lease (RFC 2131 section 4.4.5).
func (m *Machine) times(l *Lease, a *dhcp.Message) Reason {
	n, told := a.Uint32(dhcp.OptionLeaseTime)
	if n == infinite {
		return ReasonNone
	}
	d := time.Duration(n) * time.Second
	if !told {
		d = defaultLease
	}
	if d == 0 {
		return IgnoredLeaseTime
	}
	half, most := d/2-m.within(d/32), d*7/8
	t1, t2 := seconds(a, dhcp.OptionRenewalTime, half), seconds(a, dhcp.OptionRebindingTime, most)
	if t1 <= 0 || t2 <= t1 || d <= t2 {
		t1, t2 = half, most
	}
	l.T1, l.T2, l.Expires = l.Acquired.Add(t1), l.Acquired.Add(t2), l.Acquired.Add(d)
	if m.over(l.Expires) {
		return IgnoredLeaseTime
	}
	return ReasonNone
}

// seconds is an option that holds a time, or what counts without it.
func seconds(a *dhcp.Message, code uint8, without time.Duration) time.Duration {
	if n, told := a.Uint32(code); told {
		return time.Duration(n) * time.Second
	}
	return without
}

// host reports an address that a host may have.
func host(a packet.Addr) bool {
	return !a.IsZeroNet() && !a.IsLoopback() && !a.IsMulticast() && !a.IsClassE()
}

// hostIn reports an address that a host may have in a network of this length: neither the network's own nor its broadcast address.
func hostIn(a packet.Addr, length int) bool {
	rest := a &^ packet.Mask(length)
	return host(a) && (length >= 31 || rest != 0 && rest != ^packet.Mask(length))
}

// hosts are the addresses of an option, each once, but for such as no host has and for one's own.
func hosts(v []byte, own packet.Addr) (out []packet.Addr) {
	for ; len(v) >= 4 && len(out) < maxAddresses; v = v[4:] {
		a := packet.Addr(binary.BigEndian.Uint32(v))
		if host(a) && a != own && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// classlessRoutes are those of option 121 (RFC 3442), but for such as lead by no host. nil: there are none, or the option is malformed, and the gateways
// count; one malformed route spoils all, as nobody can tell where the next begins.
func classlessRoutes(v []byte) []Route {
	all, _ := dhcp.DecodeRoutes(v)
	var out []Route
	for _, r := range all {
		if len(out) < maxRoutes && (r.Gateway == 0 || host(r.Gateway)) {
			out = append(out, r)
		}
	}
	return out
}

// search is option 119, but for names of which no host name can be made. nil: there is none, or the option is malformed.
func search(v []byte) (out []string) {
	names, _ := dhcp.DecodeSearch(v)
	for _, n := range names {
		if d := domain([]byte(n)); d != "" && len(out) < maxSearch {
			out = append(out, d)
		}
	}
	return out
}

// domain is option 15: a name in text. "": it is none.
func domain(v []byte) string {
	s := strings.ToLower(strings.TrimSuffix(strings.TrimRight(string(v), "\x00"), "."))
	if len(s) > 253 {
		return ""
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return ""
		}
	}
	return s
}

// clone is a copy that shares nothing.
func (l *Lease) clone() *Lease {
	if l == nil {
		return nil
	}
	c := *l
	c.Gateways, c.Routes, c.DNS = slices.Clone(l.Gateways), slices.Clone(l.Routes), slices.Clone(l.DNS)
	c.Search, c.NTP, c.Options = slices.Clone(l.Search), slices.Clone(l.NTP), maps.Clone(l.Options)
	for code, v := range c.Options {
		c.Options[code] = bytes.Clone(v)
	}
	return &c
}

// sameWay reports that address, network and gateways are the same.
func (l *Lease) sameWay(other *Lease) bool {
	return l.Addr == other.Addr && slices.Equal(l.Gateways, other.Gateways) && slices.Equal(l.Routes, other.Routes)
}
