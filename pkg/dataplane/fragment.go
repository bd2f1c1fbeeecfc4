package dataplane

import (
	"vrouterd/internal/packet"
)

// optionCopied reports the bit that asks for an option in every fragment (RFC 791 section 3.1).
func optionCopied(kind byte) bool { return kind&0x80 != 0 }

// fragment sends a packet in pieces that fit the port's MTU (RFC 791 section 3.2). The
// caller has seen that DF is not set, and has put the link-layer header in place.
func (w *worker) fragment(p *work, port *Port, id PortID) {
	if p.vnet.IsSuper() {
		// Cut to segments first; each of them may then have to be fragmented.
		w.eachSegment(p, func(s *work) {
			if s.len() > port.MTU {
				w.fragmentInto(s, port, id, w.third())
				return
			}
			w.transmit(s, port, id)
		})
		return
	}
	w.fragmentInto(p, port, id, w.scratch)
}

// fragmentInto builds the pieces of p one after the other in buf.
func (w *worker) fragmentInto(p *work, port *Port, id PortID, buf []byte) {
	complete(p) // a checksum over the whole cannot be left to the device
	p.vnet = packet.Vnet{}
	src := p.ip()
	hl := src.HeaderLen()
	payload := src.Payload()
	laterHeader := later(src.Header(), w.options[:])
	offset0, more0 := src.FragmentOffset(), src.MoreFragments()
	if offset0+len(payload) > maxPacket {
		w.drop(p, DropFragmentOffset) // its later pieces would have offsets that do not exist
		return
	}

	for from := 0; from < len(payload); {
		header := src.Header()
		if from > 0 || offset0 > 0 {
			header = laterHeader
		}
		room := port.MTU - len(header)
		if room < 8 {
			w.drop(p, DropFragmentationNeeded) // an MTU below 68 never gets here
			return
		}
		n, more := len(payload)-from, more0
		if n > room {
			n, more = room&^7, true // all but the last are whole units of 8 octets
		}
		f := work{buf: buf, end: headroom + len(header) + n, in: p.in, own: p.own}
		copy(f.link(), p.link())
		ip := packet.IPv4(f.buf[headroom:f.end])
		copy(ip, header)
		copy(ip[len(header):], payload[from:from+n])
		ip.SetTotalLen(len(ip))
		flags := uint16((offset0 + from) / 8)
		if more {
			flags |= packet.FlagMF
		}
		ip.SetFlagsFragment(flags)
		ip.UpdateHeaderChecksum()
		w.counters.fragments.Add(1)
		w.transmit(&f, port, id)
		from += n
	}
	if hl == src.TotalLen() { // nothing but a header: it cannot have been too big
		w.drop(p, DropTotalLength)
	}
}

// later makes the header of the fragments after the first: with only the options
// whose copied bit is set, padded to whole words.
func later(first []byte, room []byte) []byte {
	h := append(room[:0], first[:packet.IPv4MinLen]...)
	for i := packet.IPv4MinLen; i < len(first); {
		kind := first[i]
		if kind == optEnd {
			break
		}
		n := 1
		if kind != optNop {
			if i+1 >= len(first) {
				break
			}
			n = int(first[i+1])
			if n < 2 || i+n > len(first) {
				break
			}
			if optionCopied(kind) {
				h = append(h, first[i:i+n]...)
			}
		}
		i += n
	}
	for len(h)%4 != 0 {
		h = append(h, optEnd)
	}
	h[0] = 4<<4 | byte(len(h)/4)
	return h
}
