package rip

import (
	"math/bits"
	"net/netip"

	"vrouterd/internal/packet"
)

// network is a prefix as the table is keyed by it: host bits are zero.
type network struct {
	addr packet.Addr
	bits uint8
}

func networkFrom(p netip.Prefix) network {
	p = p.Masked()
	return network{packet.AddrFrom(p.Addr()), uint8(max(p.Bits(), 0))}
}

func (n network) prefix() netip.Prefix { return netip.PrefixFrom(n.addr.Netip(), int(n.bits)) }

func (n network) mask() packet.Addr { return packet.Mask(int(n.bits)) }

func (n network) contains(a packet.Addr) bool { return a&n.mask() == n.addr }

// host reports whether a is an address that a station of the network can have: networks of
// 31 and 32 bits have no broadcast (RFC 3021).
func (n network) host(a packet.Addr) bool {
	return n.contains(a) && (n.bits >= 31 || a != n.addr && a != n.broadcast())
}

// broadcast is the directed broadcast address, or the limited one where there is none.
func (n network) broadcast() packet.Addr {
	if n.bits >= 31 {
		return packet.Broadcast
	}
	return n.addr | ^n.mask()
}

// classful is the class A, B or C network that an address is in.
func classful(a packet.Addr) network {
	length := uint8(24)
	switch {
	case a>>31 == 0:
		length = 8
	case a>>30 == 2:
		length = 16
	}
	return network{a & packet.Mask(int(length)), length}
}

// inferred is the network that a version 1 entry means at a port (RFC 1058 section 3.2).
func inferred(a packet.Addr, ports []attachment) network {
	class := classful(a)
	for _, at := range ports {
		if class.contains(at.net.addr) {
			return inferredAt(a, at.net)
		}
	}
	return inferredAt(a, network{})
}

// inferredAt is what stations on a network infer: the network's mask where it is a subnet of the address's class network, else the
// class's mask; a host where that leaves bits over.
func inferredAt(a packet.Addr, on network) network {
	if a == 0 {
		return network{}
	}
	n := classful(a)
	if on.bits >= n.bits && n.contains(on.addr) {
		n = network{a & on.mask(), on.bits}
	}
	if n.addr != a {
		return network{a, 32}
	}
	return n
}

// check climbs the part of the ladder that is about one entry's network.
func (e Entry) check() (network, BadReason) {
	length := bits.LeadingZeros32(^uint32(e.Mask))
	n := network{e.Addr, uint8(length)}
	switch {
	case packet.Mask(length) != e.Mask:
		return network{}, BadRouteMask
	case e.Addr&^e.Mask != 0:
		return network{}, BadRouteHostBits
	}
	return n, n.check()
}

// check refuses networks that no router may announce.
func (n network) check() BadReason {
	switch {
	case n == network{}: // the default route
		return BadNone
	case n.addr.IsZeroNet(), n.bits == 0:
		return BadRouteZeroNet
	case n.addr.IsLoopback():
		return BadRouteLoopback
	case n.addr.IsMulticast():
		return BadRouteMulticast
	case n.addr.IsClassE():
		return BadRouteClassE
	}
	return BadNone
}

// permits says whether the list lets a network pass.
func (l *PrefixList) permits(n network) bool {
	if l == nil {
		return true
	}
	for _, r := range l.Rules {
		if r.matches(n) {
			return !r.Deny
		}
	}
	return false
}

func (r PrefixRule) matches(n network) bool {
	own := networkFrom(r.Prefix)
	low, high := r.Min, r.Max
	switch {
	case low == 0 && high == 0:
		return n == own
	case high == 0:
		high = 32
	case low == 0:
		low = own.bits
	}
	return n.bits >= own.bits && n.bits >= low && n.bits <= high && own.contains(n.addr)
}

// offset is what the first matching line adds.
func offset(lines []Offset, n network) int {
	for _, o := range lines {
		if o.Filter.permits(n) {
			return int(o.Metric)
		}
	}
	return 0
}
