package simhost

import (
	"encoding/binary"
	"time"

	"vrouterd/internal/packet"
)

// read takes frames off the wire until it is closed.
func (h *Host) read() {
	defer close(h.done)
	buf := make([]byte, packet.VnetLen+packet.EthernetLen+65535)
	for {
		n, err := h.file.Read(buf)
		if err != nil || n == 0 {
			return
		}
		h.stats.received.Add(1)
		frame, v := buf[:n], packet.Vnet{}
		if h.options.VnetHdr {
			if n < packet.VnetLen {
				h.stats.malformed.Add(1)
				continue
			}
			v, frame = packet.ParseVnet(frame), frame[packet.VnetLen:]
		}
		if f := h.hook.Load(); f != nil && (*f)(frame) {
			h.stats.taken.Add(1)
			continue
		}
		h.receive(v, frame)
	}
}

func (h *Host) receive(v packet.Vnet, frame []byte) {
	ip := frame
	if !h.options.TUN {
		if len(frame) < packet.EthernetLen {
			h.stats.malformed.Add(1)
			return
		}
		e := packet.Ethernet(frame)
		if to := e.Dst(); to != h.options.MAC && to[0]&1 == 0 {
			h.stats.otherHost.Add(1)
			return
		}
		ip = e.Payload()
		switch e.Type() {
		case packet.EtherTypeARP:
			h.receiveARP(ip)
			return
		case packet.EtherTypeIPv4:
		default:
			h.stats.malformed.Add(1)
			return
		}
	}
	if packet.IPv4(ip).Validate() != packet.HeaderGood {
		h.stats.malformed.Add(1)
		return
	}
	if v.IsSuper() {
		h.stats.superFrames.Add(1)
		if v.GSOType&^packet.GSOECN == packet.GSOUDPL4 {
			for _, one := range split(packet.IPv4(ip), int(v.GSOSize)) {
				h.deliver(one)
			}
			return
		}
	}
	if v.Flags&packet.VnetNeedsChecksum != 0 {
		// The field holds the sum of the pseudo-header; the sum over all completes it.
		at, field := int(v.ChecksumAt), int(v.ChecksumAt)+int(v.ChecksumOff)
		if at > len(frame) || field+2 > len(frame) {
			h.stats.malformed.Add(1)
			return
		}
		binary.BigEndian.PutUint16(frame[field:], packet.Checksum(frame[at:]))
	}
	// A super-frame of TCP is one long segment to the stack, as it is to a kernel.
	h.deliver(ip)
}

// split makes the datagrams that a UDP super-frame stands for.
func split(ip packet.IPv4, size int) [][]byte {
	ip = ip[:ip.TotalLen()]
	if ip.Protocol() != packet.ProtoUDP || len(ip.Payload()) < packet.UDPLen || size == 0 {
		return nil
	}
	head := ip.HeaderLen() + packet.UDPLen
	var out [][]byte
	for data, id := ip[head:], ip.ID(); len(data) > 0; id++ {
		n := min(size, len(data))
		one := packet.IPv4(append(append(make([]byte, 0, head+n), ip[:head]...), data[:n]...))
		data = data[n:]
		one.SetTotalLen(len(one))
		one.SetID(id)
		one.UpdateHeaderChecksum()
		u := packet.UDP(one.Payload())
		u.SetLength(len(u))
		u.SetChecksum(0)
		sum := ^packet.Fold(packet.Sum(u, packet.PseudoHeaderSum(one.Src(), one.Dst(), packet.ProtoUDP, len(u))))
		if sum == 0 {
			sum = 0xffff
		}
		u.SetChecksum(sum)
		out = append(out, one)
	}
	return out
}

// deliver gives a packet, or the datagram that it completes, to the stack.
func (h *Host) deliver(ip []byte) {
	now := time.Now()
	if next := h.fragments.Next(); !next.IsZero() && !next.After(now) {
		h.fragments.Expire(now)
	}
	whole, verdict := h.fragments.Add(now, ip)
	if verdict.Lost() {
		h.stats.lost.Add(1)
	}
	if whole != nil {
		h.stack.Deliver(whole)
	}
}
