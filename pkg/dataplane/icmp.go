package dataplane

import (
	"vrouterd/internal/packet"
)

// quoteLimit bounds an ICMP error to 576 octets (RFC 1812 section 4.3.2.3).
const quoteLimit = 576 - packet.IPv4MinLen - packet.ICMPLen

// reject drops a packet whose source is owed an ICMP error, and asks the control
// plane to send it where one is allowed. It is counted first: whoever has the error finds the count.
func (w *worker) reject(p *work, why DropReason, kind, code uint8, rest uint32) {
	w.drop(p, why)
	if w.errorAllowed(p) {
		w.puntError(p, Punt{Reason: PuntError, Drop: why, Type: kind, Code: code, Rest: rest})
	}
}

// errorAllowed holds an ICMP error back where RFC 1812 section 4.3.2.7 forbids it:
// about an ICMP error, a later fragment, a broadcast or multicast, or to a source
// that is no single host.
func (w *worker) errorAllowed(p *work) bool {
	ip := p.ip()
	src, dst := ip.Src(), ip.Dst()
	if p.group || ip.FragmentOffset() > 0 ||
		dst.IsMulticast() || dst == packet.Broadcast ||
		src.IsZeroNet() || src.IsLoopback() || src.IsMulticast() || src.IsClassE() ||
		w.isBroadcast(dst) || w.isBroadcast(src) {
		return false
	}
	if ip.Protocol() == packet.ProtoICMP {
		body := ip.Payload()
		return len(body) >= packet.ICMPLen && !packet.ICMP(body).IsError()
	}
	return true
}

// isBroadcast reports the broadcast address of a connected subnet.
func (w *worker) isBroadcast(a packet.Addr) bool {
	return w.adjacency(w.d.fib.Lookup(a)).Kind == BroadcastTo
}

// puntError queues what an ICMP error quotes: the packet as it is on the wire, no
// more of it than fits. Before that a token is taken, so that a flood of bad packets
// costs a counter each and not the control plane's time.
func (w *worker) puntError(p *work, to Punt) {
	if !w.takeErrorToken() {
		w.counters.suppressed.Add(1)
		return
	}
	to.Port, to.Own = p.in, p.own
	w.copyLink(p, &to)
	quote := p
	if p.vnet.IsSuper() {
		// What the source's device would have sent first.
		headers := p.headersLen()
		n := min(int(p.vnet.GSOSize), p.len()-headers)
		quote = w.segment(p, headers, 0, n, 0, n == p.len()-headers)
	} else if p.partial() {
		complete(p)
	}
	ip := quote.ip()
	n := min(len(ip), quoteLimit)
	to.Packet = append(make([]byte, 0, n), ip[:n]...)
	if !w.queueOf(p.in).push(to) {
		w.counters.suppressed.Add(1)
		return
	}
	w.counters.punts[to.Reason].Add(1)
	w.d.Ring()
}

// Return tells the source of a punted packet that it went no further in the control
// plane, which has counted it under a reason of its own: why is what captures show.
func (i Injector) Return(punt *Punt, why DropReason, kind, code uint8) {
	w := i.w
	w.begin()
	defer w.end()
	p := w.loadPunt(punt)
	if w.tables.Taps != nil {
		w.tap(StageDrop, p, p.in, why, w.isEthernet(p.in))
	}
	if w.errorAllowed(p) {
		w.puntError(p, Punt{Reason: PuntError, Drop: why, Type: kind, Code: code})
	}
}

// errorBurst is how many errors a worker may ask for at once.
const errorBurst = 64

// takeErrorToken is a token bucket that refills at the error rate. It only
// shields the control plane; the limits that users set are kept there, exactly.
func (w *worker) takeErrorToken() bool {
	limit := w.d.errorRate.Load()
	if limit == 0 {
		return true
	}
	now := w.d.clock()
	if elapsed := now - w.tokensAt; elapsed > 0 {
		w.tokens = min(errorBurst+float64(limit)/10, w.tokens+float64(elapsed)*float64(limit)/1e9)
		w.tokensAt = now
	}
	if w.tokens < 1 {
		return false
	}
	w.tokens--
	return true
}

// ICMPError builds the ICMP error for a punt of reason PuntError or PuntRedirect,
// from src to the source of the quoted packet (RFC 792, RFC 1812 section 4.3.2). The quoted
// packet's fields are as its source has sent them.
func ICMPError(p *Punt, src packet.Addr) []byte {
	quoted := p.Packet
	n := packet.IPv4MinLen + packet.ICMPLen + len(quoted)
	out := packet.IPv4(make([]byte, n))
	out[0] = 4<<4 | packet.IPv4MinLen/4
	out.SetTOS(0xc0) // precedence 6, internetwork control (RFC 1812 section 4.3.2.5)
	out.SetTotalLen(n)
	out.SetTTL(64)
	out.SetProtocol(packet.ProtoICMP)
	out.SetSrc(src)
	out.SetDst(packet.IPv4(quoted).Src())
	out.UpdateHeaderChecksum()

	m := packet.ICMP(out.Payload())
	m.SetType(p.Type)
	m.SetCode(p.Code)
	m.SetRest(p.Rest)
	copy(m.Payload(), quoted)
	m.SetChecksum(packet.Checksum(m))
	return out
}
