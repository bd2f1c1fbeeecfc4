package dataplane

import (
	"vrouterd/internal/packet"
)

// complete finishes a checksum that the sender left to the device: the field
// holds the folded pseudo-header sum, and the payload's is added to it.
func complete(p *work) {
	if !p.partial() {
		return
	}
	ip := p.ip()
	at, off := int(p.vnet.ChecksumAt), int(p.vnet.ChecksumOff)
	body := ip[at:]
	sum := ^packet.Fold(packet.Sum(body, 0))
	if sum == 0 && ip.Protocol() == packet.ProtoUDP {
		sum = 0xffff // a UDP sum of zero would mean "none" (RFC 768)
	}
	body[off], body[off+1] = byte(sum>>8), byte(sum)
	p.vnet.Flags &^= packet.VnetNeedsChecksum
	p.vnet.ChecksumAt, p.vnet.ChecksumOff = 0, 0
}

// completeWhole finishes a TCP super-frame as if it were one large segment, for the
// router itself: a stream has no boundaries, and the stack behind it takes it so.
func completeWhole(p *work) {
	if p.vnet.IsSuper() {
		// The pseudo-header sum of a super-frame may leave out the length or
		// hold it; it is set anew for the length at hand.
		ip := p.ip()
		body := ip.Payload()
		off := int(p.vnet.ChecksumOff)
		pseudo := packet.Fold(packet.PseudoHeaderSum(ip.Src(), ip.Dst(), ip.Protocol(), len(body)))
		body[off], body[off+1] = byte(pseudo>>8), byte(pseudo)
	}
	complete(p)
	p.vnet = packet.Vnet{}
}

// finishInSoftware does for an egress without offload what the device would have
// done: completes the checksum, and cuts a super-frame into its segments.
func (w *worker) finishInSoftware(p *work, port *Port, id PortID) {
	if !p.vnet.IsSuper() {
		complete(p)
		w.transmit(p, port, id)
		return
	}
	w.eachSegment(p, func(s *work) { w.transmit(s, port, id) })
}

// eachSegment calls send for every packet that a super-frame stands for, in order.
// The segment lives in the worker's second buffer and is borrowed for the call.
func (w *worker) eachSegment(p *work, send func(*work)) {
	ip := p.ip()
	headers := p.headersLen()
	size := int(p.vnet.GSOSize)
	payload := ip[headers:]
	for i, from := 0, 0; from == 0 || from < len(payload); i, from = i+1, from+size {
		last := from+size >= len(payload)
		s := w.segment(p, headers, from, min(size, len(payload)-from), i, last)
		send(s)
	}
}

// segment builds one packet of a super-frame, complete and with its checksums.
func (w *worker) segment(p *work, headers, from, n, index int, last bool) *work {
	src := p.ip()
	s := &w.piece
	*s = work{buf: w.scratch, end: headroom + headers + n, in: p.in, own: p.own, opts: p.opts}
	copy(s.link(), p.link())
	ip := packet.IPv4(s.buf[headroom:s.end])
	copy(ip, src[:headers])
	copy(ip[headers:], src[headers+from:headers+from+n])
	ip.SetTotalLen(headers + n)
	ip.SetID(src.ID() + uint16(index))
	ip.UpdateHeaderChecksum()

	body := ip.Payload()
	pseudo := packet.PseudoHeaderSum(ip.Src(), ip.Dst(), ip.Protocol(), len(body))
	if ip.Protocol() == packet.ProtoTCP {
		tcp := packet.TCP(body)
		tcp.SetSeq(tcp.Seq() + uint32(from))
		flags := tcp.Flags()
		if !last {
			flags &^= packet.TCPFin | packet.TCPPsh // they belong to the last octet
		}
		if index > 0 {
			flags &^= packet.TCPCwr // RFC 3168 section 6.1.2: once a window
		}
		tcp.SetFlags(flags)
		tcp.SetChecksum(0)
		tcp.SetChecksum(^packet.Fold(packet.Sum(body, pseudo)))
		return s
	}
	udp := packet.UDP(body)
	udp.SetLength(len(body))
	udp.SetChecksum(0)
	sum := ^packet.Fold(packet.Sum(body, pseudo))
	if sum == 0 {
		sum = 0xffff
	}
	udp.SetChecksum(sum)
	return s
}
