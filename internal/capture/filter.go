package capture

import (
	"fmt"

	"vrouterd/internal/packet"
)

// Filter decides which frames a capture keeps. It is immutable and may be used by several goroutines.
type Filter struct {
	root     node // nil: everything matches
	ethernet bool
}

// CompileFilter reads an expression in tcpdump's language for frames that begin with an Ethernet header,
// or with the IP header. An empty expression matches everything. What needs an Ethernet header (arp,
// ether host) is legal for the latter and matches nothing, so that one expression serves a
// capture on ports of both kinds. Supported are
//
//	host, net, port, portrange, with src, dst, src or dst, src and dst, and ip, arp, rarp, tcp, udp, sctp before them
//	net with /LENGTH, mask ADDRESS, or fewer than four octets
//	ether host, src, dst, proto; ip proto, ip6 proto, proto; broadcast, multicast, ip multicast
//	ip, ip6, arp, rarp, tcp, udp, sctp, icmp, icmp6, igmp alone
//	less, greater, len, and comparisons such as tcp[tcpflags] & tcp-syn != 0 or ip[8] < 2
//	and, or, not (&&, ||, !), parentheses, and lists: port 80 or 443, host (10.0.0.1 or 10.0.0.2)
//
// Host names, IPv6 addresses, VLAN and MPLS are refused. The error names the place in the
// expression and says what was expected.
func CompileFilter(expr string, ethernet bool) (*Filter, error) {
	tokens, err := lex(expr)
	if err != nil {
		return nil, fmt.Errorf("filter %q: %w", expr, err)
	}
	f := &Filter{ethernet: ethernet}
	if len(tokens) == 1 { // only the end
		return f, nil
	}
	p := parser{tokens: tokens}
	root, err := p.expression()
	if err == nil && p.peek().kind != tokenEnd {
		err = p.unexpected("and, or, or the end")
	}
	if err != nil {
		return nil, fmt.Errorf("filter %q: %w", expr, err)
	}
	f.root = root
	return f, nil
}

// Match reports whether the filter keeps a whole frame. Any frame is legal, the empty one too.
func (f *Filter) Match(frame []byte) bool {
	if f == nil || f.root == nil {
		return true
	}
	v := view{frame: frame, ethernet: f.ethernet}
	if f.ethernet {
		v.network = packet.EthernetLen
	}
	return f.root.match(&v) && !v.short
}

// view is a frame under evaluation.
type view struct {
	frame    []byte
	ethernet bool
	network  int  // where the network header begins
	short    bool // a read went beyond the end: the frame is refused, whatever the rest says
}

// load reads a big-endian number of size octets.
func (v *view) load(off uint64, size int) uint32 {
	if off+uint64(size) > uint64(len(v.frame)) {
		v.short = true
		return 0
	}
	var n uint32
	for _, b := range v.frame[off : off+uint64(size)] {
		n = n<<8 | uint32(b)
	}
	return n
}

// net reads from the network header.
func (v *view) net(off, size int) uint32 { return v.load(uint64(v.network+off), size) }

// etherType tells whether the frame carries a protocol; a raw one tells by its version.
func (v *view) etherType(t uint32) bool {
	switch {
	case v.ethernet:
		return v.load(12, 2) == t
	case t == etherIPv4:
		return v.net(0, 1)>>4 == 4
	case t == etherIPv6:
		return v.net(0, 1)>>4 == 6
	}
	return false
}

// ipProto tells whether the frame is IPv4 with a protocol.
func (v *view) ipProto(proto uint32) bool { return v.etherType(etherIPv4) && v.net(9, 1) == proto }

// firstFragment tells whether an IPv4 packet holds the beginning of its payload.
func (v *view) firstFragment() bool { return v.net(6, 2)&packet.FragOffsetMask == 0 }

// transport is where an IPv4 packet's payload begins.
func (v *view) transport() uint64 { return uint64(v.network) + uint64(v.net(0, 1)&0xf)*4 }

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherRARP = 0x8035
	etherIPv6 = 0x86dd
)
