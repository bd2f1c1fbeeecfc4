package dataplane

import (
	"encoding/binary"

	"vrouterd/internal/packet"
)

// IPv4 option types (RFC 791 section 3.1, RFC 2113).
const (
	optEnd         = 0
	optNop         = 1
	optRecordRoute = 7
	optTimestamp   = 68
	optLooseRoute  = 131
	optRouterAlert = 148
	optStrictRoute = 137
)

// optionSet says where in the IP header the options stand that a router acts on; 0: absent.
type optionSet struct {
	recordRoute uint8
	timestamp   uint8
	sourceRoute uint8
	strict      bool
	alert       bool
}

// parseOptions walks the options of a header. It returns the offset of the
// first offending octet, for the pointer of a parameter problem (RFC 792), or 0.
func parseOptions(header []byte) (set optionSet, bad uint8) {
	for i := packet.IPv4MinLen; i < len(header); {
		kind := header[i]
		if kind == optEnd {
			return set, 0
		}
		if kind == optNop {
			i++
			continue
		}
		if i+1 >= len(header) {
			return set, uint8(i)
		}
		n := int(header[i+1])
		if n < 2 || i+n > len(header) {
			return set, uint8(i + 1)
		}
		switch kind {
		case optRecordRoute, optLooseRoute, optStrictRoute:
			if n < 3 {
				return set, uint8(i + 1)
			}
			// The pointer counts from 1; the first slot is at 4, slots are 4 octets apart.
			if ptr := int(header[i+2]); ptr < 4 || ptr%4 != 0 {
				return set, uint8(i + 2)
			}
			at := &set.recordRoute
			if kind != optRecordRoute {
				at = &set.sourceRoute
				set.strict = kind == optStrictRoute
			}
			if *at != 0 { // at most once (RFC 791 section 3.1)
				return set, uint8(i)
			}
			*at = uint8(i)
		case optTimestamp:
			if n < 4 || set.timestamp != 0 {
				return set, uint8(i + 1)
			}
			if ptr := int(header[i+2]); ptr < 5 || (ptr-1)%4 != 0 {
				return set, uint8(i + 2)
			}
			if flag := header[i+3] & 0xf; flag != 0 && flag != 1 && flag != 3 {
				return set, uint8(i + 3)
			}
			set.timestamp = uint8(i)
		case optRouterAlert:
			if n != 4 {
				return set, uint8(i + 1)
			}
			set.alert = true
		}
		i += n
	}
	return set, 0
}

// ip4Options looks at the options of an arriving packet; false: it went no further.
func (w *worker) ip4Options(p *work, port *Port) bool {
	ip := p.ip()
	set, bad := parseOptions(ip.Header())
	if bad != 0 {
		w.reject(p, DropOptions, packet.ICMPParamProblem, 0, uint32(bad)<<24)
		return false
	}
	p.opts = set
	if set.sourceRoute != 0 && !w.tables.SourceRoute {
		w.reject(p, DropSourceRoute, packet.ICMPUnreachable, packet.ICMPSourceRouteFail, 0)
		return false
	}
	if set.alert && !p.alert {
		w.punt(p, Punt{Reason: PuntRouterAlert})
		return false
	}
	return true
}

// nextSourceRoute advances a source route whose current stop is this router
// (RFC 791 section 3.1); false when the route is at its end and the packet is ours.
func (w *worker) nextSourceRoute(p *work) bool {
	ip := p.ip()
	h := ip.Header()
	at := int(p.opts.sourceRoute)
	n, ptr := int(h[at+1]), int(h[at+2])
	if ptr+3 > n {
		return false
	}
	slot := h[at+ptr-1 : at+ptr+3]
	next := packet.Addr(binary.BigEndian.Uint32(slot))
	binary.BigEndian.PutUint32(slot, uint32(ip.Dst())) // recorded: the address it came to
	h[at+2] += 4
	ip.SetDst(next)
	ip.UpdateHeaderChecksum()
	return true
}

// stampOptions records this router in the options of a packet that leaves by
// the port: record route and timestamp (RFC 791 section 3.1, RFC 1812 section 5.3.13).
func (w *worker) stampOptions(p *work, egress *Port) {
	ip := p.ip()
	h := ip.Header()
	if at := int(p.opts.recordRoute); at != 0 {
		if n, ptr := int(h[at+1]), int(h[at+2]); ptr+3 <= n {
			binary.BigEndian.PutUint32(h[at+ptr-1:], uint32(egress.Address))
			h[at+2] += 4
		}
	}
	if at := int(p.opts.timestamp); at != 0 {
		w.stampTime(h[at:at+int(h[at+1])], egress)
	}
	ip.UpdateHeaderChecksum()
}

// stampTime fills one slot of a timestamp option: type, length, pointer,
// overflow<<4|flag, then words. Flag 0: times only; 1: address and time; 3: times at given addresses.
func (w *worker) stampTime(opt []byte, egress *Port) {
	n, ptr, flag := len(opt), int(opt[2]), opt[3]&0xf
	size := 8
	if flag == 0 {
		size = 4
	}
	if ptr-1+size > n {
		// No room is left: the overflow count goes up, and stays at its highest. A list
		// of given addresses is not an overflow, it is just through.
		if flag != 3 && opt[3]>>4 < 15 {
			opt[3] += 0x10
		}
		return
	}
	slot := opt[ptr-1:]
	now := w.d.midnight() // milliseconds since midnight UT
	switch flag {
	case 0:
		binary.BigEndian.PutUint32(slot, now)
	case 1:
		binary.BigEndian.PutUint32(slot, uint32(egress.Address))
		binary.BigEndian.PutUint32(slot[4:], now)
	case 3:
		if packet.Addr(binary.BigEndian.Uint32(slot)) != egress.Address {
			return
		}
		binary.BigEndian.PutUint32(slot[4:], now)
	}
	opt[2] += uint8(size)
}
