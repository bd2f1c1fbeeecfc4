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
			// Some room, but not enough for an address, is an error (RFC 791).
			if ptr := int(header[i+2]); ptr < 4 || ptr%4 != 0 || ptr <= n && ptr+3 > n {
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
			if set.timestamp != 0 {
				return set, uint8(i)
			}
			if n < 4 {
				return set, uint8(i + 1)
			}
			flag := header[i+3] & 0xf
			if flag != 0 && flag != 1 && flag != 3 {
				return set, uint8(i + 3)
			}
			ptr := int(header[i+2])
			if ptr < 5 || (ptr-1)%4 != 0 || ptr <= n && ptr-1+stampSize(flag) > n {
				return set, uint8(i + 2)
			}
			if ptr > n && flag != 3 && header[i+3]>>4 == 15 {
				return set, uint8(i + 3) // the overflow count itself overflows (RFC 791)
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

// nextSourceRoute sends a packet whose source route has this router as its current
// stop to the next one (RFC 791 section 3.1); false when the route is at its end and
// the packet is ours.
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
	if martian(ip.Src(), next, w.tables.ClassE) != dropNone || next.IsMulticast() || next == packet.Broadcast {
		// What may not stand in the destination may not come there by this way.
		w.reject(p, DropSourceRoute, packet.ICMPUnreachable, packet.ICMPSourceRouteFail, 0)
		return true
	}
	// The slot is to hold our address towards the next stop. Until the egress
	// is known (stampOptions), that which the packet came to keeps the place.
	binary.BigEndian.PutUint32(slot, uint32(ip.Dst()))
	h[at+2] += 4
	ip.SetDst(next)
	ip.UpdateHeaderChecksum()
	w.ip4Forward(p)
	return true
}

// visited is the slot of a source route that was filled last, when this router
// has filled it. It says so by holding one of the router's addresses, which a packet
// that has waited for its neighbour still does.
func (w *worker) visited(p *work) []byte {
	h := p.ip().Header()
	at := int(p.opts.sourceRoute)
	n, ptr := int(h[at+1]), int(h[at+2])
	if ptr < 8 || ptr-1 > n {
		return nil
	}
	slot := h[at+ptr-5 : at+ptr-1]
	if !w.isOwn(packet.Addr(binary.BigEndian.Uint32(slot))) {
		return nil
	}
	return slot
}

// strictGood holds a strict source route to its word: the packet has come by way of
// this router because the route says so, and the next stop is on the wire that it leaves by.
func (w *worker) strictGood(p *work, egress *Port, a *Adjacency) bool {
	dst := p.dst()
	return w.visited(p) != nil && (a.NextHop == dst || !egress.Ethernet && onLink(egress, dst))
}

// isOwn reports an address of the router.
func (w *worker) isOwn(a packet.Addr) bool {
	return w.adjacency(w.d.fib.Lookup(a)).Kind == Local
}

// stampOptions records this router in the options of a packet that leaves by
// the port: record route and timestamp (RFC 791 section 3.1, RFC 1812 section 5.3.13).
func (w *worker) stampOptions(p *work, egress *Port) {
	ip := p.ip()
	h := ip.Header()
	address := egress.Address
	if address == 0 && int(p.in) < len(w.tables.Ports) {
		address = w.tables.Ports[p.in].Address // an unnumbered port: what else it is known by
	}
	if p.opts.sourceRoute != 0 && !p.own {
		if slot := w.visited(p); slot != nil {
			binary.BigEndian.PutUint32(slot, uint32(address))
		}
	}
	if at := int(p.opts.recordRoute); at != 0 {
		if n, ptr := int(h[at+1]), int(h[at+2]); ptr+3 <= n {
			binary.BigEndian.PutUint32(h[at+ptr-1:], uint32(address))
			h[at+2] += 4
		}
	}
	if at := int(p.opts.timestamp); at != 0 {
		w.stampTime(h[at:at+int(h[at+1])], address)
	}
	ip.UpdateHeaderChecksum()
}

// stampSize is what one entry of a timestamp option takes.
func stampSize(flag byte) int {
	if flag == 0 {
		return 4
	}
	return 8
}

// stampTime fills one slot of a timestamp option: type, length, pointer,
// overflow<<4|flag, then words. Flag 0: times only; 1: address and time; 3: times at given addresses.
func (w *worker) stampTime(opt []byte, address packet.Addr) {
	n, ptr, flag := len(opt), int(opt[2]), opt[3]&0xf
	size := stampSize(flag)
	if ptr-1+size > n {
		// No room is left: the overflow count goes up. A list of given addresses is
		// not an overflow, it is just through.
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
		binary.BigEndian.PutUint32(slot, uint32(address))
		binary.BigEndian.PutUint32(slot[4:], now)
	case 3:
		// Any address of the router will do (RFC 1812 section 5.3.13.6).
		if !w.isOwn(packet.Addr(binary.BigEndian.Uint32(slot))) {
			return
		}
		binary.BigEndian.PutUint32(slot[4:], now)
	}
	opt[2] += uint8(size)
}
