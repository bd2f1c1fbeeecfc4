package capture

import "vrouterd/internal/packet"

// node is a condition of the filter's tree.
type node interface{ match(v *view) bool }

type andNode struct{ a, b node }

func (n andNode) match(v *view) bool { return n.a.match(v) && !v.short && n.b.match(v) }

type orNode struct{ a, b node }

func (n orNode) match(v *view) bool { return n.a.match(v) || !v.short && n.b.match(v) }

type notNode struct{ a node }

func (n notNode) match(v *view) bool { return !n.a.match(v) }

// direction says which end of a packet a value is compared with.
type direction uint8

const (
	eitherEnd direction = iota // src or dst, also the default
	sourceEnd
	targetEnd
	bothEnds
)

// ends applies a comparison to the ends that d names.
func (d direction) ends(v *view, source, target func() bool) bool {
	switch d {
	case sourceEnd:
		return source()
	case targetEnd:
		return target()
	case bothEnds:
		return source() && !v.short && target()
	}
	return source() || !v.short && target()
}

// protoNode is a protocol alone, or `proto N`.
type protoNode struct {
	number     uint32
	ip, ipv6   bool // over which network protocols
	etherProto bool // number is an EtherType
}

func (n protoNode) match(v *view) bool {
	if n.etherProto {
		return v.etherType(n.number)
	}
	if n.ip && v.etherType(etherIPv4) {
		return v.net(9, 1) == n.number
	}
	if n.ipv6 && !v.short && v.etherType(etherIPv6) {
		next := v.net(6, 1)
		return next == n.number || next == ipv6Fragment && v.net(ipv6Len, 1) == n.number
	}
	return false
}

const (
	ipv6Len      = 40
	ipv6Fragment = 44
	protoICMPv6  = 58
	protoSCTP    = 132
)

// hostNode is an IPv4 address or network in IP, ARP or RARP.
type hostNode struct {
	addr, mask packet.Addr
	dir        direction
	over       uint32 // one EtherType, or 0 for all three
}

func (n hostNode) match(v *view) bool {
	source, target := 12, 16
	switch {
	case n.over != etherARP && n.over != etherRARP && v.etherType(etherIPv4):
	case n.over != etherIPv4 && n.over != etherRARP && v.etherType(etherARP),
		n.over != etherIPv4 && n.over != etherARP && v.etherType(etherRARP):
		source, target = 14, 24
	default:
		return false
	}
	is := func(off int) func() bool {
		return func() bool { return packet.Addr(v.net(off, 4))&n.mask == n.addr }
	}
	return n.dir.ends(v, is(source), is(target))
}

// portNode is a range of TCP, UDP or SCTP ports.
type portNode struct {
	low, high uint32
	dir       direction
	proto     uint32 // 0: all three
}

func (n portNode) match(v *view) bool {
	at := func(base uint64, proto uint32) bool {
		if n.proto != 0 && proto != n.proto || proto != packet.ProtoTCP && proto != packet.ProtoUDP && proto != protoSCTP {
			return false
		}
		in := func(off uint64) func() bool {
			return func() bool { p := v.load(base+off, 2); return p >= n.low && p <= n.high }
		}
		return n.dir.ends(v, in(0), in(2))
	}
	switch {
	case v.etherType(etherIPv4):
		if proto := v.net(9, 1); v.firstFragment() && !v.short {
			return at(v.transport(), proto)
		}
	case !v.short && v.etherType(etherIPv6):
		return at(uint64(v.network)+ipv6Len, v.net(6, 1))
	}
	return false
}

// etherNode is a hardware address.
type etherNode struct {
	mac packet.MAC
	dir direction
}

func (n etherNode) match(v *view) bool {
	if !v.ethernet {
		return false
	}
	is := func(off uint64) func() bool {
		return func() bool {
			high := uint32(n.mac[0])<<8 | uint32(n.mac[1])
			low := uint32(n.mac[2])<<24 | uint32(n.mac[3])<<16 | uint32(n.mac[4])<<8 | uint32(n.mac[5])
			return v.load(off+2, 4) == low && v.load(off, 2) == high
		}
	}
	return n.dir.ends(v, is(6), is(0))
}

// groupNode is a multicast (or broadcast) hardware address as destination.
type groupNode struct{}

func (groupNode) match(v *view) bool { return v.ethernet && v.load(0, 1)&1 != 0 }

// ipGroupNode is an IPv4 destination from 224.0.0.0 on.
type ipGroupNode struct{}

func (ipGroupNode) match(v *view) bool { return v.etherType(etherIPv4) && v.net(16, 1) >= 224 }

// compareNode compares two computed numbers. Protocols that either side reads from are checked first.
type compareNode struct {
	a, b term
	op   string
}

func (n compareNode) match(v *view) bool {
	if !n.a.applies(v) || v.short || !n.b.applies(v) || v.short {
		return false
	}
	a, b := n.a.value(v), n.b.value(v)
	switch n.op {
	case "=", "==":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case ">":
		return a > b
	case "<=":
		return a <= b
	}
	return a >= b
}

// term is a computed number of 32 bits.
type term interface {
	applies(v *view) bool // the frame has the protocols that value reads from
	value(v *view) uint32
}

type number uint32

func (number) applies(*view) bool   { return true }
func (n number) value(*view) uint32 { return uint32(n) }

// lengthTerm is the length of the frame.
type lengthTerm struct{}

func (lengthTerm) applies(*view) bool { return true }

func (lengthTerm) value(v *view) uint32 { return uint32(len(v.frame)) }

// loadTerm is proto[offset:size].
type loadTerm struct {
	proto  string
	offset term
	size   int
}

func (t loadTerm) applies(v *view) bool {
	if !t.offset.applies(v) || v.short {
		return false
	}
	switch p := transports[t.proto]; {
	case t.proto == "ether":
		return true
	case p.number == 0:
		return v.etherType(networks[t.proto])
	default:
		return v.ipProto(p.number) && !v.short && v.firstFragment()
	}
}

func (t loadTerm) value(v *view) uint32 {
	base := uint64(v.network)
	switch {
	case t.proto == "ether":
		base = 0
	case transports[t.proto].number != 0:
		base = v.transport()
	}
	return v.load(base+uint64(t.offset.value(v)), t.size)
}

// mathTerm is a binary operation; a division by zero refuses the frame.
type mathTerm struct {
	a, b term
	op   string
}

// applies checks both sides. (tcpdump checks the left one only, so that 1 | ip[9] reads
// from packets that are not IPv4; that is not copied.)
func (t mathTerm) applies(v *view) bool { return t.a.applies(v) && !v.short && t.b.applies(v) }

func (t mathTerm) value(v *view) uint32 {
	a, b := t.a.value(v), t.b.value(v)
	switch t.op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "&":
		return a & b
	case "|":
		return a | b
	case "^":
		return a ^ b
	case "<<":
		return a << b
	case ">>":
		return a >> b
	}
	if b == 0 {
		v.short = true
		return 0
	}
	if t.op == "%" {
		return a % b
	}
	return a / b
}
